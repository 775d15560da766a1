// SPDX-License-Identifier: MIT
/*
 * Timers: a pairing heap through the timers themselves, so nothing is allocated and setting one
 * cannot fail. Set, move and look at the earliest: O(1); take one out: O(log n) amortised.
 *
 * The loop's thread calls everything here. Reading the clock costs about as much as a small
 * request, so a busy turn looks at it only now and then; a turn that waited or polled looks always.
 */
#include "base/clock.h"
#include "loop/loop_internal.h"

/* A busy loop looks at the clock once in so many turns. Power of two. */
#define TIMERS_BUSY_TURNS 8

/*
 * Each timer has its first child and its next sibling; prev is the parent of a first child, else
 * the sibling before it, and NULL for the root.
 */
static struct loop_timer *heap_merge(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *later;

	if (!a || !b)
		return a ? a : b;
	later = b->deadline_ns < a->deadline_ns ? a : b;
	a = later == b ? a : b;
	later->prev = a;
	later->sibling = a->child;
	if (later->sibling)
		later->sibling->prev = later;
	a->child = later;
	return a;
}

/* Makes one heap of a list of siblings: merges pairs from left to right, then those backwards. */
static struct loop_timer *heap_merge_pairs(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL, *heap = NULL;

	while (first) {
		struct loop_timer *a = first, *b = a->sibling;

		first = b ? b->sibling : NULL;
		a->sibling = NULL;
		if (b)
			b->sibling = NULL;
		a = heap_merge(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		struct loop_timer *next = pairs->sibling;

		pairs->sibling = NULL;
		heap = heap_merge(heap, pairs);
		pairs = next;
	}
	if (heap)
		heap->prev = NULL;
	return heap;
}

static void heap_cut(struct loop_timer *timer)
{
	if (timer->prev->child == timer)
		timer->prev->child = timer->sibling;
	else
		timer->prev->sibling = timer->sibling;
	if (timer->sibling)
		timer->sibling->prev = timer->prev;
	timer->prev = timer->sibling = NULL;
}

static struct loop_timer *heap_take(struct loop_timer *root, struct loop_timer *timer)
{
	struct loop_timer *children = heap_merge_pairs(timer->child);

	timer->child = NULL;
	if (timer == root)
		return children;
	heap_cut(timer);
	return heap_merge(root, children);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	assert(loop_is_mine(loop));
	loop_timer_clear(loop, timer);
	timer->deadline_ns = MAX(deadline_ns, 1ull);
	timer->child = timer->sibling = timer->prev = NULL;
	loop->timers = heap_merge(loop->timers, timer);
	loop->timer_count++;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	assert(loop_is_mine(loop));
	if (timer->deadline_ns == 0)
		return;
	loop->timers = heap_take(loop->timers, timer);
	loop->timer_count--;
	timer->deadline_ns = 0;
}

uint64_t loop_timers_wait_ns(struct loop *loop)
{
	uint64_t now_ns;

	if (!loop->timers)
		return LOOP_FOREVER;
	now_ns = loop_now(loop);
	return loop->timers->deadline_ns > now_ns ? loop->timers->deadline_ns - now_ns : 0;
}

void loop_timers_run(struct loop *loop, bool busy)
{
	if (likely(!loop->timers))
		return;
	if (busy && !loop->now_fresh && loop->stats.turns % TIMERS_BUSY_TURNS)
		return;
	/* One that sets itself again in the past waits for the next turn. */
	for (unsigned left = loop->timer_count; left && loop_timers_wait_ns(loop) == 0; left--) {
		struct loop_timer *timer = loop->timers;

		loop_timer_clear(loop, timer);
		timer->fire(timer); /* may set it again or free it */
	}
}
