// SPDX-License-Identifier: MIT
/*
 * A queue and its jobs. A queue of one job is used directly. A shared one is locked around submitting and reaping; who
 * reaps hands each completion to the job that it belongs to, through that job's inbox, and wakes the job when it sleeps.
 * The managed way is in bench_managed.c.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/fd.h"
#include "tools/bench.h"

#include <poll.h>

#define SLEEP_MS_MAX 100 /* so that a job sees that it shall end */

void bench_port_enter(struct bench_port *port)
{
	if (port->shared)
		pthread_mutex_lock(&port->lock);
}

void bench_port_leave(struct bench_port *port)
{
	if (port->shared)
		pthread_mutex_unlock(&port->lock);
}

int bench_port_begin(struct bench_job *job, struct bench_slot *slot)
{
	size_t size = job->options->block_size;
	struct ringlane_queue *queue = job->port->queue;
	int ret;

	if (job->port->managed) {
		bench_managed_begin(job, slot);
		return 0;
	}
	if (slot->direction == BENCH_READ)
		ret = ringlane_read(queue, slot->buffer, size, slot->offset, slot);
	else
		ret = ringlane_write(queue, slot->buffer, size, slot->offset, slot);
	if (job->answers && ret == 0)
		ringlane_scsi_want_result(queue, &job->answers[slot - job->slots]);
	return ret;
}

static int reap_alone(struct bench_job *job, struct ringlane_completion *completions)
{
	const struct bench_options *options = job->options;
	struct ringlane_queue *queue = job->port->queue;

	if (!options->hipri)
		return ringlane_wait(queue, completions, 1, BENCH_BATCH, SLEEP_MS_MAX,
				     options->poll_ns);
	ringlane_submit(queue);
	return ringlane_reap(queue, completions, BENCH_BATCH);
}

void bench_port_hand_over(const struct ringlane_completion *completion)
{
	struct bench_job *owner = ((struct bench_slot *)completion->user_data)->job;

	owner->inbox[owner->inbox_count++] = *completion;
	if (owner->sleeping) {
		owner->sleeping = false;
		event_fd_signal(owner->wake_fd);
	}
}

int bench_port_take(struct bench_job *job, struct ringlane_completion *completions)
{
	unsigned count = MIN(job->inbox_count, (unsigned)BENCH_BATCH);

	for (unsigned i = 0; i < count; i++)
		completions[i] = job->inbox[--job->inbox_count];
	return (int)count;
}

/* Under the lock. */
static int take_locked(struct bench_job *job, struct ringlane_completion *completions)
{
	struct ringlane_completion found[BENCH_BATCH];
	int ret;

	if (job->inbox_count)
		return bench_port_take(job, completions);
	ret = ringlane_reap(job->port->queue, found, BENCH_BATCH);
	for (int i = 0; i < ret; i++)
		bench_port_hand_over(&found[i]);
	return ret < 0 ? ret : bench_port_take(job, completions);
}

static int take(struct bench_job *job, struct ringlane_completion *completions)
{
	int ret;

	bench_port_enter(job->port);
	ringlane_submit(job->port->queue);
	ret = take_locked(job, completions);
	bench_port_leave(job->port);
	return ret;
}

/* Until the device calls or another job has something for us. */
static int sleep_shared(struct bench_job *job, struct ringlane_completion *completions)
{
	struct ringlane_queue *queue = job->port->queue;
	struct pollfd fds[] = { { .fd = ringlane_queue_fd(queue), .events = POLLIN },
				{ .fd = job->wake_fd, .events = POLLIN } };
	bool ready;

	bench_port_enter(job->port);
	ready = job->inbox_count || ringlane_queue_arm(queue);
	job->sleeping = !ready;
	bench_port_leave(job->port);
	if (!ready)
		poll(fds, ARRAY_SIZE(fds), SLEEP_MS_MAX);
	bench_port_enter(job->port);
	job->sleeping = false;
	event_fd_clear(job->wake_fd);
	bench_port_leave(job->port);
	return take(job, completions);
}

static int reap_shared(struct bench_job *job, struct ringlane_completion *completions)
{
	const struct bench_options *options = job->options;
	int ret = take(job, completions);
	uint64_t end;

	if (ret || options->hipri)
		return ret;
	for (end = options->poll_ns ? clock_ns() + options->poll_ns : 0; end && clock_ns() < end;) {
		cpu_relax();
		ret = take(job, completions);
		if (ret)
			return ret;
	}
	return sleep_shared(job, completions);
}

int bench_port_reap(struct bench_job *job, struct ringlane_completion *completions)
{
	if (job->port->managed)
		return bench_managed_reap(job, completions);
	return job->port->shared ? reap_shared(job, completions) : reap_alone(job, completions);
}
