// SPDX-License-Identifier: MIT
/* Adaptive polling, pure arithmetic; any thread. See poll_window.h for the meaning of the knobs. */
#include "loop/poll_window.h"

#include "base/compiler.h"
#include "base/overflow.h"

static uint64_t window_grown(uint64_t ns, const struct poll_params *params)
{
	uint64_t grow = params->grow ? params->grow : POLL_GROW_DEFAULT;

	if (ns == 0)
		ns = POLL_WINDOW_START_NS;
	else if (mul_overflows(ns, grow, &ns))
		ns = params->max_ns;
	return MIN(ns, params->max_ns);
}

static uint64_t window_shrunk(uint64_t ns, const struct poll_params *params)
{
	return params->shrink ? MIN(ns / params->shrink, params->max_ns) : 0;
}

void poll_window_update(struct poll_window *window, const struct poll_params *params,
			uint64_t waited_ns)
{
	if (params->max_ns == 0)
		window->ns = 0;
	else if (waited_ns <= window->ns)
		window->ns = MIN(window->ns, params->max_ns);
	else if (waited_ns > params->max_ns)
		window->ns = window_shrunk(window->ns, params);
	else if (waited_ns < params->max_ns)
		window->ns = window_grown(window->ns, params);
}
