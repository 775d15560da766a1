// SPDX-License-Identifier: MIT
/* Builds the view of a machine and completes it; see topology.h. Control path; any thread, each with a view of its own. */
#include "driver/topology.h"

#include "base/cpu_list.h"

#include <errno.h>
#include <stdlib.h>

/* ---- sets ---- */

int topology_sets_add(struct topology_sets *sets, unsigned id, hwloc_const_bitmap_t cpus)
{
	struct topology_set *more =
		reallocarray(sets->sets, sets->count + 1, sizeof(struct topology_set));
	hwloc_bitmap_t copy;

	if (!more)
		return -ENOMEM;
	sets->sets = more;
	copy = hwloc_bitmap_dup(cpus);
	if (!copy)
		return -ENOMEM;
	sets->sets[sets->count++] = (struct topology_set){ id, copy };
	return 0;
}

static void sets_fini(struct topology_sets *sets)
{
	for (unsigned i = 0; i < sets->count; i++)
		hwloc_bitmap_free(sets->sets[i].cpus);
	free(sets->sets);
	*sets = (struct topology_sets){ 0 };
}

static int set_compare(const void *left, const void *right)
{
	unsigned a = ((const struct topology_set *)left)->id;
	unsigned b = ((const struct topology_set *)right)->id;

	return (a > b) - (a < b);
}

/* Each set keeps only CPUs of mask that no earlier one has. */
static int sets_part(struct topology_sets *sets, hwloc_const_bitmap_t mask)
{
	hwloc_bitmap_t left = hwloc_bitmap_dup(mask);
	int failed = !left;

	for (unsigned i = 0; i < sets->count && !failed; i++) {
		failed |= hwloc_bitmap_and(sets->sets[i].cpus, sets->sets[i].cpus, left);
		failed |= hwloc_bitmap_andnot(left, left, sets->sets[i].cpus);
	}
	hwloc_bitmap_free(left);
	return failed ? -ENOMEM : 0;
}

static void sets_drop_empty(struct topology_sets *sets)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < sets->count; i++) {
		if (hwloc_bitmap_iszero(sets->sets[i].cpus))
			hwloc_bitmap_free(sets->sets[i].cpus);
		else
			sets->sets[kept++] = sets->sets[i];
	}
	sets->count = kept;
}

/* ---- the view ---- */

int topology_init(struct topology *topology)
{
	*topology = (struct topology){
		.possible = hwloc_bitmap_alloc(),
		.present = hwloc_bitmap_alloc(),
		.allowed = hwloc_bitmap_alloc_full(),
		.isolated = hwloc_bitmap_alloc(),
	};
	if (topology->possible && topology->present && topology->allowed && topology->isolated)
		return 0;
	topology_fini(topology);
	return -ENOMEM;
}

void topology_fini(struct topology *topology)
{
	hwloc_bitmap_free(topology->possible);
	hwloc_bitmap_free(topology->present);
	hwloc_bitmap_free(topology->allowed);
	hwloc_bitmap_free(topology->isolated);
	sets_fini(&topology->nodes);
	sets_fini(&topology->clusters);
	sets_fini(&topology->cores);
	sets_fini(&topology->domains);
	free(topology->cpus);
	*topology = (struct topology){ 0 };
}

/* Possible CPUs of which no node is known are the first node's: that is where the kernel puts them, too. */
static int nodes_complete(struct topology *topology)
{
	struct topology_sets *nodes = &topology->nodes;
	hwloc_bitmap_t rest;
	int ret = 0;

	if (nodes->count == 0)
		return topology_sets_add(nodes, 0, topology->possible);
	qsort(nodes->sets, nodes->count, sizeof(nodes->sets[0]), set_compare);
	ret = sets_part(nodes, topology->possible);
	rest = hwloc_bitmap_dup(topology->possible);
	if (ret < 0 || !rest) {
		hwloc_bitmap_free(rest);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < nodes->count; i++)
		ret |= hwloc_bitmap_andnot(rest, rest, nodes->sets[i].cpus);
	ret |= hwloc_bitmap_or(nodes->sets[0].cpus, nodes->sets[0].cpus, rest);
	hwloc_bitmap_free(rest);
	return ret ? -ENOMEM : 0;
}

static int sets_complete(struct topology_sets *sets, hwloc_const_bitmap_t present)
{
	int ret = sets_part(sets, present);

	sets_drop_empty(sets);
	return ret;
}

static void index_fill(struct topology *topology)
{
	static const struct topology_cpu nowhere = { -1, -1, -1, -1 };
	const struct topology_sets *sets[] = { &topology->nodes, &topology->clusters,
					       &topology->cores, &topology->domains };

	for (unsigned cpu = 0; cpu < topology->cpu_count; cpu++)
		topology->cpus[cpu] = nowhere;
	for (unsigned kind = 0; kind < ARRAY_SIZE(sets); kind++) {
		for (unsigned i = 0; i < sets[kind]->count; i++) {
			TOPOLOGY_FOREACH(cpu, sets[kind]->sets[i].cpus)
			{
				struct topology_cpu *place = &topology->cpus[cpu];
				int *index[] = { &place->node, &place->cluster, &place->core,
						 &place->domain };

				*index[kind] = (int)i;
			}
		}
	}
}

int topology_finish(struct topology *topology, struct error *error)
{
	int last = hwloc_bitmap_last(topology->possible), failed = 0;

	if (!hwloc_bitmap_intersects(topology->present, topology->possible) || last < 0)
		return error_set(error, -EINVAL, "a machine without a CPU");
	failed |= hwloc_bitmap_and(topology->present, topology->present, topology->possible);
	failed |= hwloc_bitmap_and(topology->allowed, topology->allowed, topology->possible);
	failed |= hwloc_bitmap_and(topology->isolated, topology->isolated, topology->possible);
	if (failed || nodes_complete(topology) < 0 ||
	    sets_complete(&topology->clusters, topology->present) < 0 ||
	    sets_complete(&topology->cores, topology->present) < 0 ||
	    sets_complete(&topology->domains, topology->present) < 0)
		return error_set(error, -ENOMEM, "out of memory");
	topology->cpu_count = (unsigned)last + 1;
	topology->cpus = calloc(topology->cpu_count, sizeof(topology->cpus[0]));
	if (!topology->cpus)
		return error_set(error, -ENOMEM, "out of memory");
	index_fill(topology);
	return 0;
}

/* ---- lists ---- */

static int bitmap_add(void *cpus, unsigned first, unsigned last)
{
	return hwloc_bitmap_set_range(cpus, first, (int)last) < 0 ? -ENOMEM : 0;
}

int topology_list_parse(const char *text, hwloc_bitmap_t cpus, struct error *error)
{
	const struct cpu_list_sink sink = { .limit = TOPOLOGY_CPUS_MAX,
					    .add = bitmap_add,
					    .opaque = cpus };

	hwloc_bitmap_zero(cpus);
	return cpu_list_read(text, &sink, error);
}

int topology_list_format(hwloc_const_bitmap_t cpus, char *text, size_t size)
{
	return hwloc_bitmap_list_snprintf(text, size, cpus);
}
