// SPDX-License-Identifier: MIT
/*
 * The round robin of iopoll.h. On the thread that owns the iopoll; the counters alone are read elsewhere, so they are
 * written by plain atomic stores of their only writer.
 */
#include "driver/iopoll.h"

#include "base/atomic.h"
#include "base/compiler.h"

#include <stddef.h>

static inline void count(uint64_t *counter)
{
	store_relaxed(counter, *counter + 1);
}

/* ---- the ready ones ---- */

static void ready_push(struct iopoll *iopoll, struct iopoll_source *source)
{
	source->next_ready = NULL;
	if (iopoll->ready++)
		iopoll->tail->next_ready = source;
	else
		iopoll->head = source;
	iopoll->tail = source;
}

static struct iopoll_source *ready_pop(struct iopoll *iopoll)
{
	struct iopoll_source *source = iopoll->head;

	iopoll->head = source->next_ready;
	iopoll->ready--;
	return source;
}

static void ready_remove(struct iopoll *iopoll, const struct iopoll_source *source)
{
	for (unsigned left = iopoll->ready; left; left--) {
		struct iopoll_source *first = ready_pop(iopoll);

		if (first != source)
			ready_push(iopoll, first);
	}
}

/* ---- making ---- */

void iopoll_init(struct iopoll *iopoll, const struct iopoll_params *params)
{
	*iopoll = (struct iopoll){ .params = *params };
	if (!iopoll->params.weight)
		iopoll->params.weight = IOPOLL_WEIGHT_DEFAULT;
	if (!iopoll->params.pass_budget)
		iopoll->params.pass_budget = IOPOLL_PASS_BUDGET_DEFAULT;
	if (!iopoll->params.slice_ns)
		iopoll->params.slice_ns = IOPOLL_SLICE_NS_DEFAULT;
	iopoll->params.weight = MIN(iopoll->params.weight, iopoll->params.pass_budget);
}

static uint64_t clock_of(const struct iopoll *iopoll)
{
	return iopoll->params.clock(iopoll->params.opaque);
}

void iopoll_add(struct iopoll *iopoll, struct iopoll_source *source, const struct iopoll_ops *ops,
		enum iopoll_mode mode)
{
	source->ops = ops;
	source->mode = mode;
	source->scheduled = source->switching_off = false;
	source->deadline_ns = UINT64_MAX;
	iopoll_window_init(&source->window, clock_of(iopoll));
	source->next = iopoll->all;
	iopoll->all = source;
}

void iopoll_remove(struct iopoll *iopoll, struct iopoll_source *source)
{
	struct iopoll_source **at = &iopoll->all;

	while (*at && *at != source)
		at = &(*at)->next;
	if (*at)
		*at = source->next;
	ready_remove(iopoll, source);
	source->scheduled = source->switching_off = false;
}

/* ---- one source ---- */

static int turn(struct iopoll_source *source, unsigned budget)
{
	int done = source->ops->poll(source, budget);

	count(&source->counts.polls);
	if (done == 0)
		count(&source->counts.empty);
	else if (done == (int)budget)
		count(&source->counts.full);
	return done;
}

/* True: armed. False: there is something to be seen; disarmed again. */
static bool rearm(struct iopoll_source *source, unsigned skip)
{
	if (!source->ops->rearm(source, skip))
		return true;
	source->ops->disarm(source);
	count(&source->counts.rearm_races);
	return false;
}

/* True: nothing is left, and the source is armed or dead. */
static bool drain(struct iopoll *iopoll, struct iopoll_source *source)
{
	unsigned weight = iopoll->params.weight;

	for (unsigned i = 0; i < IOPOLL_DRAIN_TURNS_MAX; i++) {
		int done = turn(source, weight);

		if (done < 0 || (done < (int)weight && rearm(source, 0)))
			return true;
	}
	return false;
}

/* It is no longer scheduled. */
static void finish(struct iopoll_source *source)
{
	bool switched = source->switching_off;

	source->scheduled = source->switching_off = false;
	if (switched)
		source->ops->switched(source);
}

static void turn_drain(struct iopoll *iopoll, struct iopoll_source *source)
{
	if (drain(iopoll, source))
		finish(source);
	else
		ready_push(iopoll, source);
}

void iopoll_schedule(struct iopoll *iopoll, struct iopoll_source *source)
{
	if (source->scheduled)
		return;
	source->scheduled = true;
	source->deadline_ns = UINT64_MAX;
	count(&source->counts.interrupts);
	source->ops->disarm(source);
	if (source->mode == IOPOLL_OFF)
		turn_drain(iopoll, source);
	else
		ready_push(iopoll, source);
}

bool iopoll_set_mode(struct iopoll_source *source, enum iopoll_mode mode)
{
	bool was_off = source->mode == IOPOLL_OFF;

	source->mode = mode;
	source->switching_off = mode == IOPOLL_OFF && source->scheduled &&
				(source->switching_off || !was_off);
	return !source->switching_off;
}

/* ---- passes ---- */

/* True: to be looked at again soon. */
static bool watch(struct iopoll *iopoll, struct iopoll_source *source, unsigned done,
		  uint64_t now_ns)
{
	const struct iopoll_window_params *params = &iopoll->params.window;

	if (done)
		iopoll_window_learn(&source->window, params, done, now_ns);
	return now_ns <
	       iopoll_window_spin_until(&source->window, params, source->ops->in_flight(source));
}

static bool settle_adaptive(struct iopoll *iopoll, struct iopoll_source *source, uint64_t now_ns)
{
	struct iopoll_sleep sleep = iopoll_window_sleep(&source->window, &iopoll->params.window,
							source->ops->in_flight(source), now_ns);

	if (!rearm(source, sleep.skip))
		return false;
	source->deadline_ns = sleep.deadline_ns;
	if (sleep.skip)
		count(&source->counts.coalesced);
	return true;
}

/* After a turn that is not the end of a dead source's. */
static void turn_end(struct iopoll *iopoll, struct iopoll_source *source, unsigned done,
		     uint64_t now_ns)
{
	bool adaptive = source->mode == IOPOLL_ADAPTIVE, settled;

	if (source->mode == IOPOLL_OFF) {
		turn_drain(iopoll, source);
		return;
	}
	if ((adaptive && watch(iopoll, source, done, now_ns)) || done == iopoll->params.weight) {
		ready_push(iopoll, source);
		return;
	}
	settled = adaptive ? settle_adaptive(iopoll, source, now_ns) : rearm(source, 0);
	if (settled)
		finish(source);
	else
		ready_push(iopoll, source);
}

enum iopoll_outcome iopoll_run(struct iopoll *iopoll)
{
	const struct iopoll_params *params = &iopoll->params;
	unsigned left = params->pass_budget, shorts = 0; /* turns in a row */
	uint64_t end_ns = clock_of(iopoll) + params->slice_ns, now_ns;

	while (iopoll->ready) {
		struct iopoll_source *source = ready_pop(iopoll);
		int done = turn(source, params->weight);

		now_ns = clock_of(iopoll);
		if (done < 0)
			finish(source);
		else
			turn_end(iopoll, source, (unsigned)done, now_ns);
		shorts = done == (int)params->weight ? 0 : shorts + source->scheduled;
		left -= (unsigned)MAX(done, 0);
		if (shorts && shorts >= iopoll->ready)
			break;
		if (left < params->weight || now_ns >= end_ns)
			return iopoll->ready ? IOPOLL_MORE : IOPOLL_IDLE;
	}
	return iopoll->ready ? IOPOLL_SPIN : IOPOLL_IDLE;
}

/* ---- sleeps that have an end ---- */

uint64_t iopoll_deadline_ns(const struct iopoll *iopoll)
{
	uint64_t earliest = UINT64_MAX;

	for (const struct iopoll_source *source = iopoll->all; source; source = source->next)
		earliest = MIN(earliest, source->deadline_ns);
	return earliest;
}

void iopoll_expire(struct iopoll *iopoll, uint64_t now_ns)
{
	for (struct iopoll_source *source = iopoll->all; source; source = source->next) {
		if (source->deadline_ns > now_ns)
			continue;
		count(&source->counts.deadlines);
		iopoll_schedule(iopoll, source);
	}
}
