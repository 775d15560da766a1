/* SPDX-License-Identifier: MIT */
/*
 * Adaptive completion polling, pure arithmetic: how long a source that has just come back with too little is worth
 * watching before its thread sleeps, and for how many completions the sleep is worth waking up once.
 *
 * What it learns from is the gap between completions, an exponentially weighted moving average (1/8 for the new one).
 * While the gap is below spin_ns_max the next completion is waited for by polling, two gaps long; where completions are
 * rarer the thread sleeps at once and is woken by the first of them. A sleep after a busy time asks for the n-th next
 * completion (virtio 1.3, 2.7.10: used_event), n of at most half of what is in flight, so that whoever waits for its own
 * one before it asks for more is not slowed down to the pace of the slowest, and never without a deadline.
 */
#ifndef RINGLANE_DRIVER_IOPOLL_WINDOW_H
#define RINGLANE_DRIVER_IOPOLL_WINDOW_H

#include <stdint.h>

struct iopoll_window_params {
	uint64_t spin_ns_max;     /* 0: never polls for what is not there yet */
	uint64_t coalesce_ns_max; /* a completion may be this late; 0: none is */
	unsigned coalesce_max;    /* completions for one interrupt; 0 and 1: each has its own */
};

#define IOPOLL_SPIN_NS_DEFAULT 30000ull
#define IOPOLL_COALESCE_NS_DEFAULT 50000ull
#define IOPOLL_COALESCE_DEFAULT 16u

struct iopoll_window {
	uint64_t gap_ns;  /* average; UINT64_MAX: nothing learnt yet */
	uint64_t last_ns; /* when the last completions were found */
};

/* What to ask the device for before going to sleep. */
struct iopoll_sleep {
	unsigned skip;        /* completions that need no interrupt */
	uint64_t deadline_ns; /* look without an interrupt then; UINT64_MAX: never */
};

void iopoll_window_init(struct iopoll_window *window, uint64_t now_ns);
/* count (not 0) completions were found. */
void iopoll_window_learn(struct iopoll_window *window, const struct iopoll_window_params *params,
			 unsigned count, uint64_t now_ns);
/* The time until which polling on is worth it; in the past when it is not. in_flight: what may still complete. */
uint64_t iopoll_window_spin_until(const struct iopoll_window *window,
				  const struct iopoll_window_params *params, unsigned in_flight);
struct iopoll_sleep iopoll_window_sleep(const struct iopoll_window *window,
					const struct iopoll_window_params *params,
					unsigned in_flight, uint64_t now_ns);

#endif
