// SPDX-License-Identifier: MIT
/* What a spread is used for, and how good it is; see affinity.h. Pure. */
#include "driver/affinity.h"

#include <errno.h>
#include <stdlib.h>

/* ---- figures ---- */

/* How many of sets a mask has CPUs of; 2 stands for more than one. */
static unsigned count_touched(hwloc_const_bitmap_t mask, const struct topology_sets *sets)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sets->count && count < 2; i++)
		count += (unsigned)hwloc_bitmap_intersects(mask, sets->sets[i].cpus);
	return count;
}

/* Sets of one CPU each say nothing about who is close to whom. */
static bool sets_mean_something(const struct topology_sets *sets)
{
	for (unsigned i = 0; i < sets->count; i++)
		if (hwloc_bitmap_weight(sets->sets[i].cpus) > 1)
			return true;
	return false;
}

static unsigned count_crossings(const struct affinity_spread *spread,
				const struct topology_sets *sets)
{
	unsigned count = 0;

	if (!sets_mean_something(sets))
		return 0;
	for (unsigned i = 0; i < spread->count; i++)
		count += count_touched(spread->masks[i], sets) > 1;
	return count;
}

/* The queue a CPU is in, or -1. */
static int queue_find(const struct affinity_spread *spread, unsigned cpu)
{
	for (unsigned i = 0; i < spread->count; i++)
		if (hwloc_bitmap_isset(spread->masks[i], cpu))
			return (int)i;
	return -1;
}

static bool core_is_split(const struct affinity_spread *spread, hwloc_const_bitmap_t core)
{
	int queue = -1;

	TOPOLOGY_FOREACH(cpu, core)
	{
		int other = queue_find(spread, (unsigned)cpu);

		if (queue >= 0 && other >= 0 && queue != other)
			return true;
		queue = other >= 0 ? other : queue;
	}
	return false;
}

void affinity_figures_fill(const struct topology *topology, struct affinity_spread *spread)
{
	struct affinity_figures figures = { .smallest = UINT32_MAX };
	unsigned cpus = 0;

	for (unsigned i = 0; i < spread->count; i++) {
		unsigned weight = (unsigned)hwloc_bitmap_weight(spread->masks[i]);

		figures.largest = MAX(figures.largest, weight);
		figures.smallest = MIN(figures.smallest, weight);
		cpus += weight;
	}
	for (unsigned i = 0; i < topology->cores.count; i++) {
		figures.cores += hwloc_bitmap_weight(topology->cores.sets[i].cpus) > 1;
		figures.split_cores += core_is_split(spread, topology->cores.sets[i].cpus);
	}
	figures.cluster_crossings = count_crossings(spread, &topology->clusters);
	figures.domain_crossings = count_crossings(spread, &topology->domains);
	figures.node_crossings = count_crossings(spread, &topology->nodes);
	figures.cpus_without = (unsigned)hwloc_bitmap_weight(topology->possible) - cpus;
	spread->figures = figures;
}

/* ---- CPU to queue ---- */

struct filling {
	const struct affinity_spread *spread;
	unsigned first_queue, cpu_count;
	uint16_t *queue_of_cpu;
	unsigned *used; /* CPUs that a queue has got, its own included */
};

/* The least used queue with a CPU of near (NULL: any), or -1; the lowest of equals. */
static int queue_near(const struct filling *filling, hwloc_const_bitmap_t near)
{
	int best = -1;

	for (unsigned i = 0; i < filling->spread->count; i++) {
		if (near && !hwloc_bitmap_intersects(filling->spread->masks[i], near))
			continue;
		if (best < 0 || filling->used[i] < filling->used[best])
			best = (int)i;
	}
	return best;
}

static hwloc_const_bitmap_t set_at(const struct topology_sets *sets, int index)
{
	return index >= 0 ? sets->sets[index].cpus : NULL;
}

static unsigned queue_for_guest(const struct filling *filling, const struct topology *topology,
				unsigned cpu)
{
	const struct topology_cpu *place = &topology->cpus[cpu];
	hwloc_const_bitmap_t near[] = { set_at(&topology->cores, place->core),
					set_at(&topology->clusters, place->cluster),
					set_at(&topology->domains, place->domain),
					set_at(&topology->nodes, place->node) };

	for (unsigned i = 0; i < ARRAY_SIZE(near); i++) {
		int queue = near[i] ? queue_near(filling, near[i]) : -1;

		if (queue >= 0)
			return (unsigned)queue;
	}
	return (unsigned)queue_near(filling, NULL);
}

static void owners_fill(const struct filling *filling)
{
	for (unsigned i = 0; i < filling->spread->count; i++) {
		TOPOLOGY_FOREACH(cpu, filling->spread->masks[i])
		{
			if ((unsigned)cpu < filling->cpu_count)
				filling->queue_of_cpu[cpu] = (uint16_t)(filling->first_queue + i);
			filling->used[i]++;
		}
	}
}

int affinity_map_fill(const struct topology *topology, const struct affinity_spread *spread,
		      unsigned first_queue, uint16_t *queue_of_cpu, unsigned cpu_count)
{
	struct filling filling = {
		.spread = spread,
		.first_queue = first_queue,
		.cpu_count = cpu_count,
		.queue_of_cpu = queue_of_cpu,
		.used = calloc(spread->count, sizeof(filling.used[0])),
	};

	assert(spread->count > 0 && first_queue + spread->count <= AFFINITY_QUEUES_MAX);
	if (!filling.used)
		return -ENOMEM;
	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		queue_of_cpu[cpu] = AFFINITY_NO_QUEUE;
	owners_fill(&filling);
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		unsigned queue = cpu % spread->count;

		if (queue_of_cpu[cpu] != AFFINITY_NO_QUEUE)
			continue;
		if (hwloc_bitmap_isset(topology->possible, cpu)) {
			queue = queue_for_guest(&filling, topology, cpu);
			filling.used[queue]++;
		}
		queue_of_cpu[cpu] = (uint16_t)(first_queue + queue);
	}
	free(filling.used);
	return 0;
}

int affinity_spread_cpu_set(const struct affinity_spread *spread, unsigned queue,
			    cpu_set_t *ret_set)
{
	int ret = 0;

	assert(queue < spread->count);
	CPU_ZERO(ret_set);
	TOPOLOGY_FOREACH(cpu, spread->masks[queue])
	{
		if (cpu < CPU_SETSIZE)
			CPU_SET(cpu, ret_set);
		else
			ret = -ERANGE;
	}
	return ret;
}
