// SPDX-License-Identifier: MIT
/*
 * The loop itself: its life, who owns it, the order of a turn, and deferred calls. See loop.h.
 *
 * A turn that finds work reads plain memory only: the head of the message list, the tail of the
 * completion ring, what the pollers look at. The kernel is entered to submit what the turn queued,
 * to run completions that it announces in shared memory, and to sleep.
 */
#include "base/clock.h"
#include "loop/loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local struct loop *loop_of_thread;

int loop_new(struct loop **ret_loop, struct error *error)
{
	struct loop *loop = aligned_alloc(_Alignof(struct loop), sizeof(*loop));
	int ret;

	if (!loop)
		return error_set(error, -ENOMEM, "not enough memory for a loop");
	*loop = (struct loop){ .wake_fd = -1, .poll = { .max_ns = POLL_MAX_NS_DEFAULT } };
	loop->defer_end = &loop->defer_first;
	ret = loop_ring_init(loop, error);
	if (ret < 0)
		goto free_loop;
	ret = loop_messages_init(loop, error);
	if (ret < 0)
		goto fini_ring;
	*ret_loop = loop;
	return 0;

fini_ring:
	loop_ring_fini(loop);
free_loop:
	free(loop);
	return ret;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!loop->running);
	loop_ring_fini(loop);
	loop_messages_fini(loop);
	if (loop_of_thread == loop)
		loop_of_thread = NULL;
	free(loop);
}

bool loop_is_mine(const struct loop *loop)
{
	return loop_of_thread == loop;
}

struct loop *loop_current(void)
{
	return loop_of_thread;
}

void loop_adopt(struct loop *loop)
{
	if (loop->owner == 0) {
		loop->owner = gettid();
		loop_of_thread = loop;
		loop_ring_adopt(loop);
		loop_messages_adopt(loop);
	}
	assert(loop->owner == gettid());
	loop_of_thread = loop;
}

uint64_t loop_now(struct loop *loop)
{
	if (!loop->now_fresh) {
		loop->now_ns = clock_ns();
		loop->now_fresh = true;
	}
	return loop->now_ns;
}

/* ---- deferred calls ---- */

void loop_defer(struct loop *loop, struct loop_defer *defer)
{
	assert(loop_is_mine(loop));
	if (defer->queued)
		return;
	defer->queued = true;
	defer->next = NULL;
	*loop->defer_end = defer;
	loop->defer_end = &defer->next;
	loop->defer_count++;
}

static void defer_unlink(struct loop *loop, struct loop_defer **link)
{
	struct loop_defer *defer = *link;

	*link = defer->next;
	if (!defer->next)
		loop->defer_end = link;
	defer->queued = false;
	loop->defer_count--;
}

void loop_defer_cancel(struct loop *loop, struct loop_defer *defer)
{
	struct loop_defer **link = &loop->defer_first;

	assert(loop_is_mine(loop));
	if (!defer->queued)
		return;
	while (*link != defer)
		link = &(*link)->next;
	defer_unlink(loop, link);
}

/* Those that are queued by these wait for the next turn, which does not sleep then. */
static void defers_run(struct loop *loop)
{
	for (unsigned left = loop->defer_count; left && loop->defer_first; left--) {
		struct loop_defer *defer = loop->defer_first;

		defer_unlink(loop, &loop->defer_first);
		defer->fn(defer); /* may queue it again or free it */
	}
}

/* ---- the turn ---- */

static void turn_wait(struct loop *loop, uint64_t wait_ns_max)
{
	uint64_t wait_ns;

	if (wait_ns_max == 0 || loop_has_work(loop))
		return;
	wait_ns = MIN(wait_ns_max, loop_timers_wait_ns(loop));
	if (wait_ns == 0 || !loop_poll_arm(loop) || loop_has_work(loop))
		return;
	if (!loop_messages_sleep(loop))
		return;
	loop_ring_wait(loop, wait_ns);
	loop_messages_awake(loop);
	loop->now_fresh = false;
}

/* The next turn's wait submits in the same call, if it comes to a wait at once. */
static bool turn_may_leave_sqes(const struct loop *loop)
{
	return loop->running && !loop->watched && !loop_has_work(loop);
}

void loop_turn(struct loop *loop, uint64_t wait_ns_max)
{
	bool busy;

	assert(loop_is_mine(loop));
	loop_count(loop, turns);
	loop->now_fresh = false;
	if (loop_messages_run(loop))
		wait_ns_max = 0; /* whoever counts turns wants to see first what they did */
	busy = loop_poll(loop, wait_ns_max);
	if (!busy)
		turn_wait(loop, wait_ns_max);
	if (loop_ring_must_enter(loop))
		loop_ring_submit(loop);
	loop_ring_dispatch(loop);
	loop_timers_run(loop, busy);
	defers_run(loop);
	if (loop_ring_has_sqes(loop) && !turn_may_leave_sqes(loop))
		loop_ring_submit(loop);
}

void loop_run(struct loop *loop)
{
	loop_adopt(loop);
	assert(!loop->running);
	loop->running = true;
	while (!loop->stopping)
		loop_turn(loop, LOOP_FOREVER);
	loop->stopping = loop->running = false;
	loop_ring_release(loop);
}

void loop_stop(struct loop *loop)
{
	assert(loop_is_mine(loop));
	loop->stopping = true;
}

void loop_get_stats(const struct loop *loop, struct loop_stats *ret_stats)
{
	ret_stats->turns = load_relaxed(&loop->stats.turns);
	ret_stats->waits = load_relaxed(&loop->stats.waits);
	ret_stats->poll_hits = load_relaxed(&loop->stats.poll_hits);
	ret_stats->poll_misses = load_relaxed(&loop->stats.poll_misses);
	ret_stats->submits = load_relaxed(&loop->stats.submits);
	ret_stats->messages = load_relaxed(&loop->stats.messages);
}
