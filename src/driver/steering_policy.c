// SPDX-License-Identifier: MIT
/*
 * The policies. They look at the map, the gates and the request, change nothing, and any thread calls them.
 *
 * sticky and per-cpu send a request to the same place; they differ in what flows do that do not say: with sticky (the
 * usual one for SCSI) a flow keeps its order, with per-cpu (the usual one for virtio-blk, as in the kernel) it does
 * not.
 */
#include "driver/steering.h"

#include <string.h>

static bool is_active(const struct steer_choice *choice, unsigned queue)
{
	return gate_is_active(steering_gate(choice->steering, queue));
}

/* A home that is closed is no reason to leave. */
static bool keeps_home(const struct steer_choice *choice, unsigned home, unsigned queue)
{
	return queue == home || !is_active(choice, home);
}

/* ---- the queue of the CPU ---- */

static unsigned cpu_home(const struct steer_choice *choice)
{
	return steer_map_queue(choice->map, choice->submit->cpu);
}

static bool cpu_keeps(const struct steer_choice *choice, unsigned queue)
{
	return keeps_home(choice, cpu_home(choice), queue);
}

const struct steer_policy steer_policy_sticky = {
	.name = "sticky",
	.ordered = true,
	.home = cpu_home,
	.keeps = cpu_keeps,
};

const struct steer_policy steer_policy_per_cpu = {
	.name = "per-cpu",
	.home = cpu_home,
	.keeps = cpu_keeps,
};

/* ---- the least loaded queue that shares a cache with the CPU's ---- */

/* The CPU's own queue if others are no better, or if none of the domain is active. */
static unsigned loaded_home(const struct steer_choice *choice)
{
	unsigned count = choice->steering->queue_count;
	unsigned home = cpu_home(choice), best = home;
	uint64_t load_best = UINT64_MAX;

	for (unsigned i = 0; i < count; i++) {
		unsigned queue = (home + i) % count;
		uint64_t load;

		if (choice->map->domain_of_queue[queue] != choice->map->domain_of_queue[home] ||
		    !is_active(choice, queue))
			continue;
		load = gate_count(steering_gate(choice->steering, queue));
		if (load < load_best) {
			load_best = load;
			best = queue;
		}
	}
	return best;
}

/* A busy flow is not torn away for the sake of load, only for the sake of the cache. */
static bool loaded_keeps(const struct steer_choice *choice, unsigned queue)
{
	const uint16_t *domain = choice->map->domain_of_queue;

	return domain[queue] == domain[cpu_home(choice)] || !is_active(choice, loaded_home(choice));
}

const struct steer_policy steer_policy_least_loaded = {
	.name = "least-loaded",
	.home = loaded_home,
	.keeps = loaded_keeps,
};

/* ---- one queue ---- */

static unsigned single_home(const struct steer_choice *choice)
{
	return 0;
}

static bool single_keeps(const struct steer_choice *choice, unsigned queue)
{
	return keeps_home(choice, 0, queue);
}

const struct steer_policy steer_policy_single = {
	.name = "single",
	.ordered = true,
	.home = single_home,
	.keeps = single_keeps,
};

/* ---- the caller's wish ---- */

static unsigned picked_home(const struct steer_choice *choice)
{
	unsigned wish = choice->submit->wish;

	return wish < choice->steering->queue_count ? wish : cpu_home(choice);
}

static bool picked_keeps(const struct steer_choice *choice, unsigned queue)
{
	return keeps_home(choice, picked_home(choice), queue);
}

const struct steer_policy steer_policy_picked = {
	.name = "picked",
	.home = picked_home,
	.keeps = picked_keeps,
};

const struct steer_policy *steer_policy_find(const char *name)
{
	static const struct steer_policy *const policies[] = {
		&steer_policy_sticky, &steer_policy_per_cpu, &steer_policy_least_loaded,
		&steer_policy_single, &steer_policy_picked,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	return NULL;
}
