/* SPDX-License-Identifier: MIT */
/*
 * Adaptive polling, pure arithmetic: how long a source is worth watching before the thread sleeps.
 *
 * Meaning of the knobs as QEMU's iothread object has it: a window starts at 4 us, is multiplied by grow (2 when 0) while
 * events come later than the window but within max_ns, and is divided by shrink (set to 0 when shrink is 0) when an event
 * took longer than max_ns.
 */
#ifndef RINGLANE_LOOP_POLL_WINDOW_H
#define RINGLANE_LOOP_POLL_WINDOW_H

#include <stdint.h>

#define POLL_MAX_NS_DEFAULT 32768ull
#define POLL_WINDOW_START_NS 4000ull

struct poll_params { uint64_t max_ns, grow, shrink; };
struct poll_window { uint64_t ns; };

/* An event came waited_ns after we began to wait for it (polling time included). */
void poll_window_update(struct poll_window *window, const struct poll_params *params, uint64_t waited_ns);

#endif
