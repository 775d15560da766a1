/* SPDX-License-Identifier: MIT */
/* For tests of steering: four queues, eight CPUs, a flow, and a clock that the test sets. */
#ifndef RINGLANE_DRIVER_STEERING_RIG_H
#define RINGLANE_DRIVER_STEERING_RIG_H

#include "driver/steering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS 1000000ull

/* CPUs 0 to 7 on four queues, two of them in each cache domain. */
static const uint16_t queue_of_cpu[] = { 0, 0, 1, 1, 2, 2, 3, 3 };
static const uint16_t domain_of_queue[] = { 0, 0, 1, 1 };

struct rig {
	struct steering_config config;
	struct steering steering;
	struct steer_flow flow;
	uint64_t now_ns;
};

static inline void rig_init(struct rig *rig, const struct steer_policy *policy,
			    enum steer_order order)
{
	const struct steering_config config = {
		.policy = policy,
		.queue_count = 4,
		.map = { queue_of_cpu, ARRAY_SIZE(queue_of_cpu), domain_of_queue },
		.limits = { .away_ns = 10 * MS,
			    .away_requests = 8,
			    .hold_ns = 2 * MS,
			    .rest_ns = 50 * MS },
	};

	*rig = (struct rig){ .config = config, .now_ns = 1000 * MS };
	assert_int_equal(steering_init(&rig->steering, &config), 0);
	steer_flow_init(&rig->flow, &rig->steering, order);
}

static inline int enter(struct rig *rig, unsigned cpu)
{
	struct steer_submit submit = { .cpu = cpu, .wish = STEER_NO_WISH, .now_ns = rig->now_ns };

	return steer_enter(&rig->steering, &rig->flow, &submit);
}

static inline bool leave(struct rig *rig, unsigned queue)
{
	return steer_leave(&rig->steering, &rig->flow, queue);
}

#endif
