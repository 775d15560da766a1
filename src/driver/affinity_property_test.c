// SPDX-License-Identifier: MIT
/* What holds for each spread over each machine: many random ones, the same in every run. */
#include "driver/test_topology.h"

#define MACHINES 3000
#define CPUS_MAX 96
#define NUMBERS_MAX 160 /* CPU numbers are below: there are holes */

static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % limit);
}

/* Each of among is kept with a chance of percent. */
static void mask_thin(hwloc_bitmap_t mask, hwloc_const_bitmap_t among, unsigned percent)
{
	hwloc_bitmap_zero(mask);
	TOPOLOGY_FOREACH(cpu, among)
	if (random_below(100) < percent)
		hwloc_bitmap_set(mask, (unsigned)cpu);
}

/* Cuts a mask into sets of random sizes, of neighbours or of CPUs from all over. */
static void mask_cut(hwloc_const_bitmap_t mask, unsigned size_max, struct topology_sets *sets)
{
	hwloc_bitmap_t left = hwloc_bitmap_dup(mask), set = hwloc_bitmap_alloc();
	bool neighbours = random_below(2);

	while (!hwloc_bitmap_iszero(left)) {
		unsigned size = 1 + random_below(size_max);

		hwloc_bitmap_zero(set);
		TOPOLOGY_FOREACH(cpu, left)
		{
			if (size == 0)
				break;
			if (!neighbours && random_below(2) && cpu != hwloc_bitmap_first(left))
				continue;
			hwloc_bitmap_set(set, (unsigned)cpu);
			size--;
		}
		hwloc_bitmap_andnot(left, left, set);
		assert_int_equal(topology_sets_add(sets, sets->count, set), 0);
	}
	hwloc_bitmap_free(left);
	hwloc_bitmap_free(set);
}

/* Cores and clusters lie inside of nodes, as they do. */
static void nodes_cut(struct topology *topology, unsigned core_max, unsigned cluster_max)
{
	for (unsigned i = 0; i < topology->nodes.count; i++) {
		mask_cut(topology->nodes.sets[i].cpus, core_max, &topology->cores);
		if (cluster_max)
			mask_cut(topology->nodes.sets[i].cpus, cluster_max, &topology->clusters);
	}
}

static struct topology random_topology(void)
{
	unsigned percent = random_below(3) ? 100 : 10 + random_below(90);
	struct topology topology;

	assert_int_equal(topology_init(&topology), 0);
	for (unsigned i = 1 + random_below(CPUS_MAX); i > 0; i--)
		hwloc_bitmap_set(topology.possible, random_below(NUMBERS_MAX));
	mask_thin(topology.present, topology.possible, percent);
	if (hwloc_bitmap_iszero(topology.present))
		hwloc_bitmap_copy(topology.present, topology.possible);
	if (random_below(3) == 0)
		mask_thin(topology.isolated, topology.possible, 20);
	mask_cut(topology.possible, 1 + random_below(CPUS_MAX), &topology.nodes);
	nodes_cut(&topology, 1 + random_below(4), random_below(3) ? 0 : 1 + random_below(16));
	assert_int_equal(topology_finish(&topology, NULL), 0);
	return topology;
}

struct example {
	struct topology topology;
	hwloc_bitmap_t allowed, usable;
	unsigned queues;
	struct affinity_spread spread;
};

static bool example_init(struct example *example)
{
	struct affinity_options options = { 0 };

	*example = (struct example){ .topology = random_topology(),
				     .allowed = hwloc_bitmap_alloc(),
				     .usable = hwloc_bitmap_alloc(),
				     .queues = 1 + random_below(random_below(2) ? 8 : CPUS_MAX) };
	mask_thin(example->allowed, example->topology.possible, random_below(3) ? 100 : 60);
	hwloc_bitmap_andnot(example->usable, example->allowed, example->topology.isolated);
	options =
		(struct affinity_options){ .queues = example->queues, .allowed = example->allowed };
	if (affinity_spread_evenly(&example->topology, &options, &example->spread, NULL) == 0)
		return true;
	assert_true(hwloc_bitmap_iszero(example->usable));
	return false;
}

static void example_fini(struct example *example)
{
	affinity_spread_fini(&example->spread);
	topology_fini(&example->topology);
	hwloc_bitmap_free(example->allowed);
	hwloc_bitmap_free(example->usable);
}

/* check is called for many examples; machine numbers help to find one again. */
static void for_each_example(void (*check)(const struct example *))
{
	unsigned checked = 0;

	random_state = 0x9e3779b97f4a7c15;
	for (unsigned i = 0; i < MACHINES; i++) {
		struct example example;

		if (example_init(&example)) {
			check(&example);
			checked++;
		}
		example_fini(&example);
	}
	assert_true(checked > MACHINES * 9 / 10);
}

/* ---- properties ---- */

static void check_partition(const struct example *example)
{
	hwloc_bitmap_t seen = hwloc_bitmap_alloc();

	for (unsigned i = 0; i < example->spread.count; i++) {
		assert_false(hwloc_bitmap_iszero(example->spread.masks[i]));
		assert_false(hwloc_bitmap_intersects(example->spread.masks[i], seen));
		hwloc_bitmap_or(seen, seen, example->spread.masks[i]);
	}
	assert_true(hwloc_bitmap_isequal(seen, example->usable));
	hwloc_bitmap_free(seen);
}

static void check_count(const struct example *example)
{
	unsigned cpus = (unsigned)hwloc_bitmap_weight(example->usable);

	assert_int_equal(example->spread.count, MIN(cpus, example->queues));
}

/* Present CPUs of each node that has some, and the queues whose present CPUs are all of it. */
static void check_nodes(const struct example *example)
{
	const struct topology_sets *nodes = &example->topology.nodes;
	hwloc_bitmap_t present = hwloc_bitmap_alloc(), own = hwloc_bitmap_alloc();
	unsigned with_cpus = 0;

	hwloc_bitmap_and(present, example->usable, example->topology.present);
	for (unsigned i = 0; i < nodes->count; i++)
		with_cpus += (unsigned)hwloc_bitmap_intersects(nodes->sets[i].cpus, present);
	for (unsigned i = 0; i < nodes->count && example->spread.count > with_cpus; i++) {
		unsigned queues = 0;

		if (!hwloc_bitmap_intersects(nodes->sets[i].cpus, present))
			continue;
		for (unsigned q = 0; q < example->spread.count; q++) {
			hwloc_bitmap_and(own, example->spread.masks[q], present);
			queues += !hwloc_bitmap_iszero(own) &&
				  hwloc_bitmap_isincluded(own, nodes->sets[i].cpus);
		}
		assert_true(queues >= 1);
	}
	hwloc_bitmap_free(present);
	hwloc_bitmap_free(own);
}

/* One node, all present, no clusters: sizes differ by at most one. */
static void check_even(const struct example *example)
{
	const struct affinity_figures *figures = &example->spread.figures;

	if (example->topology.nodes.count == 1 && example->topology.clusters.count == 0 &&
	    hwloc_bitmap_isequal(example->topology.present, example->topology.possible))
		assert_true(figures->largest - figures->smallest <= 1);
	assert_true(figures->smallest >= 1 && figures->smallest <= figures->largest);
}

/* Present CPUs of one node in a queue never leave a core half taken twice: at most one core of a queue is begun, one ended. */
static void check_siblings(const struct example *example)
{
	const struct topology_sets *cores = &example->topology.cores;
	unsigned split = 0;

	for (unsigned i = 0; i < cores->count; i++) {
		unsigned touched = 0;

		for (unsigned q = 0; q < example->spread.count; q++)
			touched += (unsigned)hwloc_bitmap_intersects(example->spread.masks[q],
								     cores->sets[i].cpus);
		split += touched > 1;
	}
	assert_int_equal(split, example->spread.figures.split_cores);
	/* A queue ends at most in the middle of one core of each node or cluster it has; with one node, of one. */
	if (example->topology.nodes.count == 1 && example->topology.clusters.count == 0)
		assert_true(split < example->spread.count || split == 0);
}

static void check_map(const struct example *example)
{
	const struct topology *topology = &example->topology;
	uint16_t queue_of_cpu[NUMBERS_MAX];

	assert_int_equal(
		affinity_map_fill(topology, &example->spread, 3, queue_of_cpu, NUMBERS_MAX), 0);
	for (unsigned cpu = 0; cpu < NUMBERS_MAX; cpu++) {
		unsigned queue = queue_of_cpu[cpu] - 3u;

		assert_true(queue < example->spread.count);
		if (hwloc_bitmap_isset(example->usable, cpu))
			assert_true(hwloc_bitmap_isset(example->spread.masks[queue], cpu));
	}
}

static void test_spread_when_random_then_each_cpu_is_in_one_queue(void **state)
{
	for_each_example(check_partition);
}

static void test_spread_when_random_then_no_queue_is_left_out(void **state)
{
	for_each_example(check_count);
}

static void test_spread_when_random_then_each_node_has_a_queue(void **state)
{
	for_each_example(check_nodes);
}

static void test_spread_when_random_then_queues_are_as_large(void **state)
{
	for_each_example(check_even);
}

static void test_spread_when_random_then_siblings_are_together(void **state)
{
	for_each_example(check_siblings);
}

static void test_map_when_random_then_each_cpu_has_a_queue(void **state)
{
	for_each_example(check_map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spread_when_random_then_each_cpu_is_in_one_queue),
		cmocka_unit_test(test_spread_when_random_then_no_queue_is_left_out),
		cmocka_unit_test(test_spread_when_random_then_each_node_has_a_queue),
		cmocka_unit_test(test_spread_when_random_then_queues_are_as_large),
		cmocka_unit_test(test_spread_when_random_then_siblings_are_together),
		cmocka_unit_test(test_map_when_random_then_each_cpu_has_a_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
