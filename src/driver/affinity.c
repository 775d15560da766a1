// SPDX-License-Identifier: MIT
/*
 * The spread itself; see affinity.h. Pure: masks in, masks out. A mask operation fails only for want of memory; failures are
 * collected and looked at where a step ends.
 */
#include "driver/affinity.h"

#include <errno.h>
#include <stdlib.h>

/* A node or a cluster that takes part in a stage, and what it gets. */
struct share {
	unsigned order; /* among equally large ones */
	unsigned cpus, queues;
	hwloc_const_bitmap_t set;
};

struct grouping {
	const struct topology *topology;
	hwloc_bitmap_t *masks;
	unsigned count; /* masks */
	unsigned at;    /* the mask that is filled next */
	hwloc_bitmap_t in_stage, in_node,
		left; /* CPUs that are still to be given away, by what they are given to */
	struct share *nodes, *clusters; /* room for all of the topology's */
	int failed;
};

/* ---- proportions ---- */

static int share_compare(const void *left, const void *right)
{
	const struct share *a = left, *b = right;

	if (a->cpus != b->cpus)
		return a->cpus < b->cpus ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

/*
 * queues over shares, at least as many as there are: the smallest share first, each its part of what is left, rounded
 * down but never to 0. So none gets more queues than it has CPUs, as long as there are not more queues than CPUs.
 */
static void shares_allot(struct share *shares, unsigned count, unsigned queues)
{
	unsigned cpus_left = 0;

	for (unsigned i = 0; i < count; i++)
		cpus_left += shares[i].cpus;
	queues = MIN(queues, cpus_left);
	qsort(shares, count, sizeof(shares[0]), share_compare);
	for (unsigned i = 0; i < count; i++) {
		uint64_t part = (uint64_t)queues * shares[i].cpus / cpus_left;

		shares[i].queues = part ? (unsigned)part : 1;
		assert(shares[i].queues <= shares[i].cpus && shares[i].queues <= queues);
		cpus_left -= shares[i].cpus;
		queues -= shares[i].queues;
	}
}

static unsigned weight_of_both(hwloc_const_bitmap_t a, hwloc_const_bitmap_t b)
{
	unsigned count = 0;

	TOPOLOGY_FOREACH(cpu, a)
	count += (unsigned)hwloc_bitmap_isset(b, (unsigned)cpu);
	return count;
}

/* ---- CPUs to queues ---- */

static void cpu_move(struct grouping *grouping, hwloc_bitmap_t mask, int cpu)
{
	grouping->failed |= hwloc_bitmap_clr(grouping->left, (unsigned)cpu);
	grouping->failed |= hwloc_bitmap_set(mask, (unsigned)cpu);
}

/* The lowest CPU that is left, its siblings while there is room, and again. */
static void mask_take(struct grouping *grouping, hwloc_bitmap_t mask, unsigned room)
{
	const struct topology *topology = grouping->topology;

	while (room > 0 && !hwloc_bitmap_iszero(grouping->left)) {
		int first = hwloc_bitmap_first(grouping->left);
		int core = topology->cpus[first].core;

		cpu_move(grouping, mask, first);
		room--;
		if (core < 0)
			continue;
		TOPOLOGY_FOREACH(cpu, topology->cores.sets[core].cpus)
		{
			if (room == 0)
				break;
			if (!hwloc_bitmap_isset(grouping->left, (unsigned)cpu))
				continue;
			cpu_move(grouping, mask, cpu);
			room--;
		}
	}
}

/* The CPUs of within that are also share's, over its queues: the first ones get one more when it does not come out even. */
static void share_assign(struct grouping *grouping, const struct share *share,
			 hwloc_const_bitmap_t within)
{
	unsigned base = share->cpus / share->queues, more = share->cpus % share->queues;

	grouping->failed |= hwloc_bitmap_and(grouping->left, within, share->set);
	for (unsigned i = 0; i < share->queues; i++) {
		mask_take(grouping, grouping->masks[grouping->at], base + (i < more));
		grouping->at = (grouping->at + 1) % grouping->count;
	}
}

/* The clusters of grouping->in_node. 0: it has CPUs of none; more than queues: no use either. */
static unsigned clusters_find(struct grouping *grouping)
{
	const struct topology_sets *clusters = &grouping->topology->clusters;
	unsigned count = 0, cpus = 0;

	for (unsigned i = 0; i < clusters->count; i++) {
		hwloc_const_bitmap_t set = clusters->sets[i].cpus;
		unsigned weight = weight_of_both(set, grouping->in_node);

		if (!weight)
			continue;
		grouping->failed |= hwloc_bitmap_and(grouping->left, set, grouping->in_node);
		grouping->clusters[count++] = (struct share){
			.order = (unsigned)hwloc_bitmap_first(grouping->left),
			.cpus = weight,
			.set = set,
		};
		cpus += weight;
	}
	return cpus == (unsigned)hwloc_bitmap_weight(grouping->in_node) ? count : 0;
}

static void node_assign(struct grouping *grouping, const struct share *node)
{
	unsigned count;

	grouping->failed |= hwloc_bitmap_and(grouping->in_node, grouping->in_stage, node->set);
	count = clusters_find(grouping);
	if (count == 0 || count > node->queues) {
		share_assign(grouping, node, grouping->in_node);
		return;
	}
	shares_allot(grouping->clusters, count, node->queues);
	for (unsigned i = 0; i < count; i++)
		share_assign(grouping, &grouping->clusters[i], grouping->in_node);
}

/* ---- stages ---- */

static unsigned nodes_find(struct grouping *grouping)
{
	const struct topology_sets *nodes = &grouping->topology->nodes;
	unsigned count = 0;

	for (unsigned i = 0; i < nodes->count; i++) {
		unsigned weight = weight_of_both(nodes->sets[i].cpus, grouping->in_stage);

		if (weight)
			grouping->nodes[count++] =
				(struct share){ i, weight, 0, nodes->sets[i].cpus };
	}
	return count;
}

/* Not more queues than nodes: each takes whole ones, in turn. */
static void nodes_deal(struct grouping *grouping, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		hwloc_bitmap_t mask = grouping->masks[grouping->at];

		grouping->failed |= hwloc_bitmap_and(grouping->in_node, grouping->in_stage,
						     grouping->nodes[i].set);
		grouping->failed |= hwloc_bitmap_or(mask, mask, grouping->in_node);
		grouping->at = (grouping->at + 1) % grouping->count;
	}
}

/* Spreads in_stage from masks[at] on; returns how many masks were given something (each time one is counts). */
static unsigned stage_run(struct grouping *grouping)
{
	unsigned count = nodes_find(grouping), done = 0;

	if (count == 0)
		return 0;
	if (grouping->count <= count) {
		nodes_deal(grouping, count);
		return grouping->count;
	}
	shares_allot(grouping->nodes, count, grouping->count);
	for (unsigned i = 0; i < count; i++) {
		node_assign(grouping, &grouping->nodes[i]);
		done += grouping->nodes[i].queues;
	}
	return done;
}

/* Both stages over usable; returns how many masks have CPUs: those are the first ones. */
static unsigned stages_run(struct grouping *grouping, hwloc_const_bitmap_t usable)
{
	hwloc_const_bitmap_t present = grouping->topology->present;
	unsigned done;

	grouping->failed |= hwloc_bitmap_and(grouping->in_stage, usable, present);
	done = stage_run(grouping);
	grouping->at = done >= grouping->count ? 0 : done;
	grouping->failed |= hwloc_bitmap_andnot(grouping->in_stage, usable, present);
	done += stage_run(grouping);
	return MIN(done, grouping->count);
}

/* ---- spreads ---- */

static int spread_init(struct affinity_spread *spread, unsigned count)
{
	*spread = (struct affinity_spread){ .masks = calloc(count, sizeof(spread->masks[0])) };
	if (!spread->masks)
		return -ENOMEM;
	for (; spread->count < count; spread->count++) {
		spread->masks[spread->count] = hwloc_bitmap_alloc();
		if (!spread->masks[spread->count])
			return -ENOMEM;
	}
	return 0;
}

static void spread_truncate(struct affinity_spread *spread, unsigned count)
{
	while (spread->count > count)
		hwloc_bitmap_free(spread->masks[--spread->count]);
}

void affinity_spread_fini(struct affinity_spread *spread)
{
	spread_truncate(spread, 0);
	free(spread->masks);
	*spread = (struct affinity_spread){ 0 };
}

static void grouping_fini(struct grouping *grouping)
{
	hwloc_bitmap_free(grouping->in_stage);
	hwloc_bitmap_free(grouping->in_node);
	hwloc_bitmap_free(grouping->left);
	free(grouping->nodes);
	free(grouping->clusters);
}

static int spread_group(const struct topology *topology, hwloc_const_bitmap_t usable,
			struct affinity_spread *spread)
{
	struct grouping grouping = {
		.topology = topology,
		.masks = spread->masks,
		.count = spread->count,
		.in_stage = hwloc_bitmap_alloc(),
		.in_node = hwloc_bitmap_alloc(),
		.left = hwloc_bitmap_alloc(),
		.nodes = calloc(topology->nodes.count, sizeof(struct share)),
		.clusters = calloc(topology->clusters.count + 1, sizeof(struct share)),
	};
	int ret = -ENOMEM;

	if (grouping.in_stage && grouping.in_node && grouping.left && grouping.nodes &&
	    grouping.clusters) {
		spread_truncate(spread, stages_run(&grouping, usable));
		ret = grouping.failed ? -ENOMEM : 0;
	}
	grouping_fini(&grouping);
	return ret;
}

/* CPUs that may be in a queue. */
static int usable_fill(const struct topology *topology, const struct affinity_options *options,
		       hwloc_bitmap_t usable)
{
	int failed = hwloc_bitmap_and(usable, topology->possible,
				      options->allowed ? options->allowed : topology->allowed);

	if (!options->keep_isolated)
		failed |= hwloc_bitmap_andnot(usable, usable, topology->isolated);
	return failed ? -ENOMEM : 0;
}

int affinity_spread_evenly(const struct topology *topology, const struct affinity_options *options,
			   struct affinity_spread *ret_spread, struct error *error)
{
	struct affinity_spread spread = { 0 };
	hwloc_bitmap_t usable = hwloc_bitmap_alloc();
	unsigned cpus;
	int ret;

	if (!usable || usable_fill(topology, options, usable) < 0) {
		ret = error_set(error, -ENOMEM, "out of memory");
		goto out_free;
	}
	cpus = (unsigned)hwloc_bitmap_weight(usable);
	if (options->queues == 0 || options->queues > AFFINITY_QUEUES_MAX) {
		ret = error_set(error, -EINVAL, "%u queues: there can be 1 to %u", options->queues,
				AFFINITY_QUEUES_MAX);
		goto out_free;
	}
	if (cpus == 0) {
		ret = error_set(
			error, -EINVAL,
			"no CPU is left: none of those that may be there is allowed and not isolated");
		goto out_free;
	}
	ret = spread_init(&spread, MIN(options->queues, cpus));
	if (ret == 0)
		ret = spread_group(topology, usable, &spread);
	if (ret < 0) {
		affinity_spread_fini(&spread);
		error_set(error, ret, "out of memory");
		goto out_free;
	}
	affinity_figures_fill(topology, &spread);
	*ret_spread = spread;
out_free:
	hwloc_bitmap_free(usable);
	return ret;
}

/* ---- said by somebody ---- */

static int mask_check(const struct topology *topology, const hwloc_const_bitmap_t *masks,
		      unsigned queue, struct error *error)
{
	if (hwloc_bitmap_iszero(masks[queue]))
		return error_set(error, -EINVAL, "queue %u is given no CPU", queue);
	TOPOLOGY_FOREACH(cpu, masks[queue])
	{
		if (!hwloc_bitmap_isset(topology->possible, (unsigned)cpu))
			return error_set(error, -EINVAL,
					 "queue %u is given CPU %d, which cannot be there", queue,
					 cpu);
		for (unsigned other = 0; other < queue; other++)
			if (hwloc_bitmap_isset(masks[other], (unsigned)cpu))
				return error_set(error, -EINVAL,
						 "CPU %d is given to queue %u and to queue %u", cpu,
						 other, queue);
	}
	return 0;
}

int affinity_spread_explicit(const struct topology *topology, const hwloc_const_bitmap_t *masks,
			     unsigned count, struct affinity_spread *ret_spread,
			     struct error *error)
{
	struct affinity_spread spread;
	int ret = 0;

	if (count == 0 || count > AFFINITY_QUEUES_MAX)
		return error_set(error, -EINVAL, "%u queues: there can be 1 to %u", count,
				 AFFINITY_QUEUES_MAX);
	for (unsigned i = 0; i < count && ret == 0; i++)
		ret = mask_check(topology, masks, i, error);
	if (ret < 0)
		return ret;
	ret = spread_init(&spread, count);
	for (unsigned i = 0; i < count && ret == 0; i++)
		ret = hwloc_bitmap_copy(spread.masks[i], masks[i]) < 0 ? -ENOMEM : 0;
	if (ret < 0) {
		affinity_spread_fini(&spread);
		return error_set(error, ret, "out of memory");
	}
	affinity_figures_fill(topology, &spread);
	*ret_spread = spread;
	return 0;
}
