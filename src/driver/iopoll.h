/* SPDX-License-Identifier: MIT */
/*
 * Completion polling with a budget: which source a thread polls next, for how long, and when the source's interrupt is
 * asked for again. Pure scheduling: no thread, no file descriptor, the clock is the caller's.
 *
 * An interrupt (a call event fd, MSI-X) only schedules its source, and stays off while the source is scheduled. A pass
 * takes the sources in turn; a turn handles at most `weight` completions. One that used all of it goes to the tail of the
 * others that are ready. A shorter one gets its interrupt back and is looked at once more, because what came between the
 * last look and that would be announced by nobody. A pass ends after `pass_budget` completions, after `slice_ns`, or when
 * nobody in a whole round had a full turn; whoever runs it looks at the rest of the world then and runs the next.
 *
 *   mode      an interrupt...
 *   OFF       drains its source completely, at once
 *   ON        schedules it
 *   ADAPTIVE  schedules it; a short turn may be followed by polling on for a while, and the interrupt asked for may be
 *             that of the n-th next completion, with a deadline (iopoll_window.h)
 *
 * The mode changes while requests are under way. To OFF a scheduled source is drained and armed first; ops->switched
 * tells when it is no longer scheduled.
 *
 * All calls on the thread that owns the iopoll; ops may call iopoll_schedule, iopoll_set_mode and nothing else.
 */
#ifndef RINGLANE_DRIVER_IOPOLL_H
#define RINGLANE_DRIVER_IOPOLL_H

#include "driver/iopoll_window.h"

#include <stdbool.h>
#include <stdint.h>

#define IOPOLL_WEIGHT_DEFAULT 32u
#define IOPOLL_PASS_BUDGET_DEFAULT 256u
#define IOPOLL_SLICE_NS_DEFAULT 1000000ull
/* Turns of a source that is drained: the thread has other things to do than what a device and a caller give each other. */
#define IOPOLL_DRAIN_TURNS_MAX 1024u

enum iopoll_mode { IOPOLL_OFF, IOPOLL_ON, IOPOLL_ADAPTIVE };

struct iopoll_source;

struct iopoll_ops {
	/*
	 * Handles up to budget completions and returns how many; fewer than budget: there were no more just then.
	 * -errno: the source is dead. It will not be polled again unless scheduled.
	 */
	int (*poll)(struct iopoll_source *source, unsigned budget);
	/* No interrupts, please. */
	void (*disarm)(struct iopoll_source *source);
	/* An interrupt for the completion after the next skip, please. True: there is one already, so look again. */
	bool (*rearm)(struct iopoll_source *source, unsigned skip);
	/* How many completions may still come. */
	unsigned (*in_flight)(struct iopoll_source *source);
	/* A change to OFF that had to wait has happened. */
	void (*switched)(struct iopoll_source *source);
};

/* What became of a source's turns; read by other threads with load_relaxed. */
struct iopoll_counts {
	uint64_t interrupts;  /* that scheduled or drained */
	uint64_t polls;       /* turns */
	uint64_t full;        /* turns that used their whole weight */
	uint64_t empty;       /* turns that found nothing */
	uint64_t rearm_races; /* completions came while the interrupt was asked for */
	uint64_t coalesced;   /* sleeps that skip completions */
	uint64_t deadlines;   /* ...that were ended by their deadline */
};

struct iopoll_source {
	const struct iopoll_ops *ops;
	struct iopoll_source *next_ready, *next; /* of the ready ones; of all */
	struct iopoll_window window;
	uint64_t deadline_ns; /* of a sleep that skips completions; UINT64_MAX: none */
	enum iopoll_mode mode;
	bool scheduled;     /* ready, or having its turn */
	bool switching_off; /* mode is OFF, and the source still scheduled as it was before */
	struct iopoll_counts counts;
};

struct iopoll_params {
	unsigned weight, pass_budget; /* completions; a weight is at most the budget */
	uint64_t slice_ns;
	struct iopoll_window_params window;
	uint64_t (*clock)(void *opaque);
	void *opaque;
};

struct iopoll {
	struct iopoll_params params;
	struct iopoll_source *all, *head, *tail;
	unsigned ready; /* sources between head and tail */
};

enum iopoll_outcome {
	IOPOLL_IDLE, /* nothing is scheduled */
	IOPOLL_SPIN, /* the device is caught up with, but some are worth watching */
	IOPOLL_MORE, /* the budget or the slice was used up */
};

/* Fields of params that are 0 get their defaults, except those of the window; the clock is needed. */
void iopoll_init(struct iopoll *iopoll, const struct iopoll_params *params);
/* The source is new, or comes from another iopoll (which has removed it); it is disarmed or armed, not scheduled. */
void iopoll_add(struct iopoll *iopoll, struct iopoll_source *source, const struct iopoll_ops *ops,
		enum iopoll_mode mode);
void iopoll_remove(struct iopoll *iopoll, struct iopoll_source *source);
/* The source's interrupt came, or there may be completions without one. Nothing when it is scheduled already. */
void iopoll_schedule(struct iopoll *iopoll, struct iopoll_source *source);
/* True: done. False: a change to OFF; ops->switched will tell. */
bool iopoll_set_mode(struct iopoll_source *source, enum iopoll_mode mode);
enum iopoll_outcome iopoll_run(struct iopoll *iopoll);
/* The earliest deadline of a sleeping source, UINT64_MAX: none. */
uint64_t iopoll_deadline_ns(const struct iopoll *iopoll);
/* Schedules those whose deadline has passed. */
void iopoll_expire(struct iopoll *iopoll, uint64_t now_ns);

#endif
