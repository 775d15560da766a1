// SPDX-License-Identifier: MIT
/* The arithmetic of iopoll_window.h. On the thread that owns the window. */
#include "driver/iopoll_window.h"

#include "base/compiler.h"

#define WEIGHT_SHIFT 3      /* a new gap counts 1/8 */
#define SPIN_GAPS 2         /* polled for so many gaps */
#define SPIN_NS_MIN 1000ull /* below that a clock is all that would be read */
#define GAP_SPIN_TIMES \
	4 /* a longer gap counts as this many times spin_ns_max: a pause is forgotten soon */
#define GAP_NS_MAX 100000ull /* the same, where nobody spins */

void iopoll_window_init(struct iopoll_window *window, uint64_t now_ns)
{
	*window = (struct iopoll_window){ .gap_ns = UINT64_MAX, .last_ns = now_ns };
}

static uint64_t gap_max(const struct iopoll_window_params *params)
{
	if (!params->spin_ns_max || params->spin_ns_max > UINT64_MAX / GAP_SPIN_TIMES)
		return GAP_NS_MAX;
	return params->spin_ns_max * GAP_SPIN_TIMES;
}

void iopoll_window_learn(struct iopoll_window *window, const struct iopoll_window_params *params,
			 unsigned count, uint64_t now_ns)
{
	uint64_t passed = now_ns > window->last_ns ? now_ns - window->last_ns : 0;
	uint64_t gap = MIN(passed / count, gap_max(params));

	if (window->gap_ns == UINT64_MAX)
		window->gap_ns = gap;
	else
		window->gap_ns += (gap >> WEIGHT_SHIFT) - (window->gap_ns >> WEIGHT_SHIFT);
	window->last_ns = now_ns;
}

uint64_t iopoll_window_spin_until(const struct iopoll_window *window,
				  const struct iopoll_window_params *params, unsigned in_flight)
{
	if (!in_flight || window->gap_ns > params->spin_ns_max || !params->spin_ns_max)
		return 0;
	return window->last_ns +
	       MIN(MAX(window->gap_ns * SPIN_GAPS, SPIN_NS_MIN), params->spin_ns_max);
}

struct iopoll_sleep iopoll_window_sleep(const struct iopoll_window *window,
					const struct iopoll_window_params *params,
					unsigned in_flight, uint64_t now_ns)
{
	const struct iopoll_sleep first = { .skip = 0, .deadline_ns = UINT64_MAX };
	uint64_t wanted = MIN(params->coalesce_max, in_flight / 2);

	if (window->gap_ns == UINT64_MAX)
		return first;
	if (window->gap_ns)
		wanted = MIN(wanted, params->coalesce_ns_max / window->gap_ns);
	else if (!params->coalesce_ns_max)
		wanted = 0;
	if (wanted <= 1)
		return first;
	return (struct iopoll_sleep){ .skip = (unsigned)wanted - 1,
				      .deadline_ns = now_ns + params->coalesce_ns_max };
}
