/* SPDX-License-Identifier: MIT */
/* Which thread serves which queue of an export, for people. Main thread. */
#include "daemon/export_internal.h"

#include "base/cpu_list.h"

#include <unistd.h>

unsigned export_queue_count(const struct export *export)
{
	return export->queue_count;
}

static void get_thread(const struct export_queue *queue, struct export_queue_info *info)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (queue->used) {
		info->iothread = iothread_id(queue->used);
		info->tid = iothread_tid(queue->used);
		iothread_get_cpus(queue->used, &set);
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

	if (!queue->lane)
		return false;
	snprintf(ret_info->name, sizeof(ret_info->name), "%s",
		 export->type->queue_name(index, name, sizeof(name)));
	get_thread(queue, ret_info);
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
		if (!export_get_queue(export, i, &info))
			continue;
		print_queue(export, &info);
		count++;
	}
	if (count == 0)
		log_line("export %s: no queue is set up", export->spec->id);
}
