/* SPDX-License-Identifier: MIT */
/*
 * Adaptive polling, pure arithmetic: how long a source is worth watching before the thread sleeps.
 *
 * Meaning of the knobs as QEMU's iothread object has it. An event that came within the window
 * leaves it as it is. One that came later, but within max_ns, starts the window at 4 us or
 * multiplies it by grow (2 when 0), up to max_ns. One that took longer than max_ns divides it by
 * shrink (sets it to 0 when shrink is 0). max_ns 0 keeps it at 0: no polling.
 */
#ifndef RINGLANE_LOOP_POLL_WINDOW_H
#define RINGLANE_LOOP_POLL_WINDOW_H

#include <stdint.h>

#define POLL_MAX_NS_DEFAULT 32768ull
#define POLL_WINDOW_START_NS 4000ull
#define POLL_GROW_DEFAULT 2ull

struct poll_params {
	uint64_t max_ns, grow, shrink;
};

struct poll_window {
	uint64_t ns;
};

/* An event came waited_ns after we began to wait for it (polling time included). */
void poll_window_update(struct poll_window *window, const struct poll_params *params,
			uint64_t waited_ns);

#endif
