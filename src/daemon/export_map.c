/* SPDX-License-Identifier: MIT */
/* Which thread serves which queue of an export, for people. Main thread. */
#include "daemon/export_internal.h"

#include "base/cpu_list.h"

#include <unistd.h>

unsigned export_queue_count(const struct export *export)
{
	return export->queue_count;
}

/* Who serves it, or will. */
static const struct iothread *thread_of(const struct export_queue *queue)
{
	return queue->lane ? queue->used : queue->mapped;
}

static bool is_known(const struct export *export, unsigned index)
{
	const struct export_queue *queue = &export->queues[index];

	return queue->lane || queue->mapped || index < export->type->fixed_queues;
}

static void get_thread(const struct iothread *iothread, struct export_queue_info *info)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (iothread) {
		info->iothread = iothread_id(iothread);
		info->tid = iothread_tid(iothread);
		iothread_get_cpus(iothread, &set);
	} else {
		info->iothread = NULL;
		info->tid = gettid();
		sched_getaffinity(0, sizeof(set), &set);
	}
	cpu_list_format(&set, info->cpus, sizeof(info->cpus));
}

/* The words of the schema's ExportQueueState. */
static const char *name_state(const struct export_queue *queue, const struct lane_stats *stats)
{
	if (!queue->running)
		return "stopped";
	if (queue->stopping)
		return "draining";
	if (queue->broken)
		return "broken";
	if (queue->paused)
		return "paused";
	return stats->kicks == queue->kicks_before ? "waiting" : "running";
}

bool export_get_queue(const struct export *export, unsigned index,
		      struct export_queue_info *ret_info)
{
	const struct export_queue *queue = &export->queues[index];
	char name[EXPORT_QUEUE_NAME_MAX];

	if (!is_known(export, index))
		return false;
	*ret_info = (struct export_queue_info){ .set_up = queue->lane };
	snprintf(ret_info->name, sizeof(ret_info->name), "%s",
		 export->type->queue_name(index, name, sizeof(name)));
	get_thread(thread_of(queue), ret_info);
	if (queue->lane)
		lane_get_stats(queue->lane, &ret_info->stats);
	ret_info->state = name_state(queue, &ret_info->stats);
	return true;
}

static void print_queue(const struct export *export, const struct export_queue_info *info)
{
	log_line(
		"export %s: queue %s: %s%s, tid %d, cpus %s, %s, requests %llu, in flight %u, batches %llu, kicks %llu, calls %llu",
		export->spec->id, info->name, info->iothread ? "iothread " : "main loop",
		info->iothread ? info->iothread : "", (int)info->tid, info->cpus, info->state,
		(unsigned long long)info->stats.requests, info->stats.in_flight,
		(unsigned long long)info->stats.batches, (unsigned long long)info->stats.kicks,
		(unsigned long long)info->stats.calls);
}

void export_print_map(const struct export *export)
{
	struct export_queue_info info;
	unsigned i, count = 0;

	for (i = 0; i < export->queue_count; i++) {
		if (!export_get_queue(export, i, &info) || !info.set_up)
			continue;
		print_queue(export, &info);
		count++;
	}
	if (count == 0)
		log_line("export %s: no queue is set up", export->spec->id);
}
