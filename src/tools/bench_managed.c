// SPDX-License-Identifier: MIT
/*
 * The managed way: each job has a flow of a managed device, submits from its own thread, and gets its completions through its
 * inbox, where the callbacks put them on the reapers' threads. What the device has no room for at the moment stays pending.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "tools/bench.h"
#include "tools/tools.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define SLEEP_MS_MAX 100 /* so that a job sees that it shall end */
#define PENDING_MS_MAX 1 /* until room is asked for again */

int bench_managed_start(const struct bench_options *options, struct ringlane_device *disk,
			struct ringlane_managed **ret_managed, struct error *error)
{
	const struct ringlane_managed_options managed = {
		.policy = options->policy,
		.iopoll = options->iopoll,
		.replay = options->replay,
		.reapers = (unsigned)options->reapers,
		.weight = (unsigned)options->weight,
		.poll_queues = (unsigned)options->poll_queues,
		.timeout_ns = options->timeout_ns,
		.cpus = options->cpus_allowed,
	};

	return ringlane_managed_start(disk, &managed, ret_managed, public_error(error));
}

/* On a reaper's thread. */
static void on_done(void *user_data, int result)
{
	const struct ringlane_completion completion = { .user_data = user_data, .result = result };
	struct bench_port *port = ((struct bench_slot *)user_data)->job->port;

	pthread_mutex_lock(&port->lock);
	bench_port_hand_over(&completion);
	pthread_mutex_unlock(&port->lock);
}

void bench_managed_begin(struct bench_job *job, struct bench_slot *slot)
{
	job->pending[job->pending_count++] = (struct ringlane_request){
		.op = slot->direction == BENCH_READ ? RINGLANE_OP_READ : RINGLANE_OP_WRITE,
		/* nobody else writes these blocks meanwhile; without poll queues the second flag is nothing */
		.flags = RINGLANE_REPLAYABLE | RINGLANE_POLLED,
		.data = slot->buffer,
		.bytes = job->options->block_size,
		.offset = slot->offset,
		.flow = job->port->flow,
		.scsi_result = job->answers ? &job->answers[slot - job->slots] : NULL,
		.done = on_done,
		.user_data = slot,
	};
}

/* 0, also when there was no room for all. */
static int pending_submit(struct bench_job *job)
{
	int ret;

	if (!job->pending_count)
		return 0;
	ret = ringlane_managed_submit(job->port->managed, job->pending, job->pending_count);
	if (ret < 0)
		return ret == -EAGAIN ? 0 : ret;
	job->pending_count -= (unsigned)ret;
	memmove(job->pending, job->pending + ret, job->pending_count * sizeof(*job->pending));
	return 0;
}

static int inbox_take(struct bench_job *job, struct ringlane_completion *completions, bool sleeps)
{
	int ret;

	pthread_mutex_lock(&job->port->lock);
	ret = bench_port_take(job, completions);
	job->sleeping = sleeps && ret == 0;
	pthread_mutex_unlock(&job->port->lock);
	return ret;
}

static int inbox_spin(struct bench_job *job, struct ringlane_completion *completions)
{
	uint64_t end = clock_ns() + job->options->poll_ns;
	int ret;

	do {
		cpu_relax();
		ret = inbox_take(job, completions, false);
	} while (ret == 0 && clock_ns() < end);
	return ret;
}

static int inbox_sleep(struct bench_job *job, struct ringlane_completion *completions)
{
	struct pollfd wake = { .fd = job->wake_fd, .events = POLLIN };
	int ret = inbox_take(job, completions, true);

	if (ret)
		return ret;
	poll(&wake, 1, job->pending_count ? PENDING_MS_MAX : SLEEP_MS_MAX);
	event_fd_clear(job->wake_fd);
	return inbox_take(job, completions, false);
}

int bench_managed_reap(struct bench_job *job, struct ringlane_completion *completions)
{
	bool polls = job->options->poll_queues != 0;
	int ret = pending_submit(job);

	if (polls)
		ringlane_managed_poll(job->port->managed);
	if (ret == 0)
		ret = inbox_take(job, completions, false);
	if (ret == 0 && job->options->poll_ns)
		ret = inbox_spin(job, completions);
	if (ret || job->options->hipri || polls)
		return ret;
	return inbox_sleep(job, completions);
}

/* Only what happened. */
static void trouble_print(const struct ringlane_managed_stats *stats, FILE *stream)
{
	const struct {
		const char *name;
		uint64_t count;
	} kinds[] = {
		{ "looks at a ring", stats->late_polls },
		{ "second kicks", stats->late_kicks },
		{ "ABORT TASK", stats->aborts },
		{ "LUN resets", stats->lun_resets },
		{ "nexus resets", stats->nexus_resets },
		{ "queue resets", stats->queue_resets },
		{ "device resets", stats->resets },
		{ "reconnects", stats->reconnects },
		{ "requests sent again", stats->replayed },
		{ "requests not given back", stats->zombies },
		{ "queues without CPUs", stats->quiesced },
		{ "queues adopted", stats->orphaned },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].count)
			fprintf(stream, "  %s: %llu\n", kinds[i].name,
				(unsigned long long)kinds[i].count);
}

void bench_managed_report(struct ringlane_managed *managed, FILE *stream)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(managed, &stats);
	fprintf(stream, "\nManaged: %u queues, ", stats.queues);
	if (stats.poll_queues)
		fprintf(stream, "%u of them polled, ", stats.poll_queues);
	fprintf(stream, "%u reapers, %llu requests held, %llu flows moved\n", stats.reapers,
		(unsigned long long)stats.held, (unsigned long long)stats.moved);
	trouble_print(&stats, stream);
	for (unsigned i = 0; i < stats.queues; i++) {
		struct ringlane_queue_stats queue;

		if (ringlane_managed_get_queue_stats(managed, i, &queue) < 0 || !queue.submitted)
			continue;
		fprintf(stream,
			"  queue %2u: %s=%u, submitted=%llu, kicks=%llu, interrupts=%llu, polls=%llu "
			"(full=%llu, empty=%llu)\n",
			i, queue.polled ? "polled, deputy" : "reaper", queue.reaper,
			(unsigned long long)queue.submitted, (unsigned long long)queue.kicks,
			(unsigned long long)queue.interrupts, (unsigned long long)queue.polls,
			(unsigned long long)queue.polls_full,
			(unsigned long long)queue.polls_empty);
	}
}
