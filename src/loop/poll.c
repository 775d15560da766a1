// SPDX-License-Identifier: MIT
/*
 * Adaptive polling: which sources are looked at without a system call, for how long, and which are
 * asked to notify. The loop's thread calls everything here.
 *
 * Each poller is in one of these states:
 *
 *   resting     not active: its notifications are on, nobody looks at it. A notification
 *               (loop_poller_hit) makes it watched. A new poller starts as if one had come.
 *   watched     active, suppressed: looked at once in each turn, and all the time while the loop
 *               has a window open. It becomes asked when the loop is about to sleep.
 *   asked       active, not suppressed: its notifications are on because the loop sleeps or was
 *               about to. If work came while they were off, notify_enable says so and the loop does
 *               not sleep. The next look makes it watched again. It goes to rest at once when its
 *               window is 0 (polling is off or does not pay), or when it brought nothing for
 *               POLL_IDLE_NS.
 *
 * So no work is lost: a source is either looked at before the loop sleeps, after its notifications
 * were enabled, or its notifications were on all the time.
 *
 * A turn looks once at each watched source, one batch each, however busy one of them is. When
 * nobody has anything, the loop polls as long as the longest window of the active sources, but not
 * beyond the next timer. The time that a source let us wait is counted from the moment at which
 * the loop ran out of work, as in QEMU: a source that follows soon after another event (a disk's
 * completion, say) is worth watching, however long that other event took.
 *
 * Clock reads cost more than looks: there is none in a turn that finds work at its first looks,
 * else one every POLL_LOOKS_PER_CLOCK looks.
 */
#include "base/clock.h"
#include "loop/loop_internal.h"

#define POLL_LOOKS_PER_CLOCK 16
/* A loop that never sleeps looks for idle sources once in so many turns (power of two), … */
#define POLL_SWEEP_TURNS 64
/* … but not more often than this. */
#define POLL_SWEEP_NS (POLL_IDLE_NS / 4)

/* ---- the list of active pollers ---- */

static void watched_add(struct loop *loop, struct loop_poller *poller)
{
	struct loop_poller *first = loop->watched;

	poller->active = true;
	poller->next = first ? first : poller;
	poller->prev = first ? first->prev : poller;
	poller->next->prev = poller;
	poller->prev->next = poller;
	if (!first)
		loop->watched = poller;
}

static void watched_remove(struct loop *loop, struct loop_poller *poller)
{
	struct loop_poller *next = poller->next == loop->watched ? NULL : poller->next;

	if (loop->look_next == poller)
		loop->look_next = next;
	poller->prev->next = poller->next;
	poller->next->prev = poller->prev;
	if (loop->watched == poller)
		loop->watched = next;
	poller->active = false;
}

/* Steps through the active pollers while callbacks may remove any of them. */
static struct loop_poller *watched_step(struct loop *loop)
{
	struct loop_poller *poller = loop->look_next;

	if (poller)
		loop->look_next = poller->next == loop->watched ? NULL : poller->next;
	return poller;
}

/* ---- adding and hits ---- */

void loop_poller_add(struct loop *loop, struct loop_poller *poller)
{
	assert(loop_is_mine(loop));
	assert(!poller->added);
	poller->window.ns = 0;
	poller->last_hit_ns = loop_now(loop);
	poller->added = true;
	poller->suppressed = poller->hit = false;
	watched_add(loop, poller);
}

void loop_poller_remove(struct loop *loop, struct loop_poller *poller)
{
	assert(loop_is_mine(loop));
	assert(poller->added);
	if (poller->active)
		watched_remove(loop, poller);
	if (loop->looking == poller)
		loop->looking = NULL;
	poller->added = false;
}

static uint64_t waited_ns(struct loop *loop)
{
	return loop->wait_start_ns ? loop_now(loop) - loop->wait_start_ns : 0;
}

void loop_poller_hit(struct loop *loop, struct loop_poller *poller)
{
	assert(loop_is_mine(loop));
	assert(poller->added);
	if (!poller->suppressed && !poller->hit) /* the first one after we had asked for it */
		poll_window_update(&poller->window, &loop->poll, waited_ns(loop));
	poller->hit = true;
	if (!poller->active)
		watched_add(loop, poller);
}

void loop_set_poll_params(struct loop *loop, const struct poll_params *params)
{
	assert(loop_is_mine(loop));
	loop->poll = *params;
}

/* ---- looking ---- */

static bool poller_look(struct loop *loop, struct loop_poller *poller)
{
	bool found;

	loop->looking = poller;
	if (!poller->suppressed) {
		poller->suppressed = true;
		poller->notify_suppress(poller);
	}
	found = poller->poll(poller);
	if (!found || loop->looking != poller)
		return found;
	poller->hit = true;
	if (unlikely(loop->polled_ns > poller->window.ns))
		poll_window_update(&poller->window, &loop->poll, loop->polled_ns);
	return true;
}

/* One look at each. */
static bool poll_round(struct loop *loop)
{
	struct loop_poller *poller;
	bool found = false;

	loop->look_next = loop->watched;
	while ((poller = watched_step(loop)))
		found |= poller_look(loop, poller);
	return found;
}

static uint64_t window_ns(const struct loop *loop)
{
	const struct loop_poller *poller = loop->watched;
	uint64_t ns = 0;

	do
		ns = MAX(ns, poller->window.ns);
	while ((poller = poller->next) != loop->watched);
	ns = MIN(ns, loop->poll.max_ns); /* which may have changed since */
	return MIN(ns, POLL_IDLE_NS);    /* so that idle sources are found */
}

static bool window_is_open(struct loop *loop, uint64_t limit_ns)
{
	loop->now_ns = clock_ns();
	if (loop->wait_start_ns == 0)
		loop->wait_start_ns = loop->now_ns;
	loop->polled_ns = loop->now_ns - loop->wait_start_ns;
	return loop->polled_ns < limit_ns &&
	       (!loop->timers || loop->timers->deadline_ns > loop->now_ns);
}

static bool poll_until(struct loop *loop, uint64_t limit_ns)
{
	for (unsigned looks = 1;; looks++) {
		cpu_relax();
		if (poll_round(loop) || loop_has_work(loop))
			return true;
		if (looks % POLL_LOOKS_PER_CLOCK == 0 && !window_is_open(loop, limit_ns))
			return false;
	}
}

static bool poll_window_run(struct loop *loop, uint64_t limit_ns)
{
	bool found;

	if (loop_ring_has_sqes(loop))
		loop_ring_submit(loop); /* they must not wait for us to find something */
	found = poll_until(loop, limit_ns);
	if (found)
		loop_count(loop, poll_hits);
	else
		loop_count(loop, poll_misses);
	loop->now_fresh = false;
	return found;
}

/* ---- asking and resting ---- */

/* True when it has work. */
static bool poller_ask(struct loop *loop, struct loop_poller *poller)
{
	bool found;

	loop->looking = poller;
	if (!poller->suppressed)
		return false;
	poller->suppressed = false;
	found = poller->notify_enable(poller);
	if (loop->looking == poller && found) {
		poll_window_update(&poller->window, &loop->poll, waited_ns(loop));
		poller->hit = true;
	}
	return found;
}

static bool poller_is_idle(struct loop *loop, struct loop_poller *poller)
{
	if (poller->hit) {
		poller->hit = false;
		poller->last_hit_ns = loop_now(loop);
		return false;
	}
	return loop_now(loop) - poller->last_hit_ns >= POLL_IDLE_NS;
}

static void poller_rest(struct loop *loop, struct loop_poller *poller)
{
	poll_window_update(&poller->window, &loop->poll, UINT64_MAX); /* longer than any window */
	watched_remove(loop, poller);
}

bool loop_poll_arm(struct loop *loop)
{
	struct loop_poller *poller;

	if (loop->wait_start_ns == 0)
		loop->wait_start_ns = loop_now(loop);
	loop->look_next = loop->watched;
	while ((poller = watched_step(loop))) {
		if (poller_ask(loop, poller))
			return false;
		if (loop->looking != poller) /* was removed meanwhile */
			continue;
		if (poller_is_idle(loop, poller))
			poller_rest(loop, poller);
		else if (poller->window.ns == 0 || loop->poll.max_ns == 0)
			watched_remove(loop, poller);
	}
	return true;
}

/* What loop_poll_arm does for a loop that never gets there. */
static void poll_sweep(struct loop *loop)
{
	struct loop_poller *poller;

	if (loop_now(loop) - loop->sweep_ns < POLL_SWEEP_NS)
		return;
	loop->sweep_ns = loop_now(loop);
	loop->look_next = loop->watched;
	while ((poller = watched_step(loop)))
		if (poller_is_idle(loop, poller) && !poller_ask(loop, poller) &&
		    loop->looking == poller)
			poller_rest(loop, poller);
}

bool loop_poll(struct loop *loop, uint64_t wait_ns_max)
{
	uint64_t limit_ns;

	loop->wait_start_ns = loop->polled_ns = 0;
	if (!loop->watched)
		return false;
	if (poll_round(loop)) {
		loop_count(loop, poll_hits);
		if (unlikely(loop->stats.turns % POLL_SWEEP_TURNS == 0) && loop->watched)
			poll_sweep(loop);
		return true;
	}
	if (wait_ns_max == 0 || loop_has_work(loop) || !loop->watched)
		return false;
	limit_ns = MIN(window_ns(loop), wait_ns_max);
	return limit_ns && poll_window_run(loop, limit_ns);
}
