// SPDX-License-Identifier: MIT
/* The spread, example by example. */
#include "driver/test_topology.h"

#define CPUS_MAX 32

/* Spreads and returns the text. */
static char *spread(const struct topology *topology, const struct affinity_options *options,
		    char *text)
{
	struct affinity_spread spread;
	struct error error = { 0 };

	if (affinity_spread_evenly(topology, options, &spread, &error) < 0)
		fail_msg("%s", error.text);
	test_spread_text(&spread, text);
	affinity_spread_fini(&spread);
	return text;
}

static void assert_spread(const struct test_machine *machine, unsigned queues, const char *expected)
{
	struct topology topology = test_topology(machine);
	char text[TEST_TEXT_MAX];

	assert_string_equal(spread(&topology, &(struct affinity_options){ .queues = queues }, text),
			    expected);
	topology_fini(&topology);
}

/* ---- what group_cpus_evenly gives, computed by an independent model ---- */

static const struct test_machine eight = { .possible = "0-7" };
static const struct test_machine threads = { .possible = "0-7",
					     .cores = { "0,4", "1,5", "2,6", "3,7" } };
static const struct test_machine six_and_two = { .possible = "0-7", .nodes = { "0-5", "6-7" } };
static const struct test_machine three_nodes = { .possible = "0-15",
						 .nodes = { "0", "1-3", "4-15" } };
static const struct test_machine half_present = { .possible = "0-7", .present = "0-3" };
static const struct test_machine quarter_present = { .possible = "0-15", .present = "0-3" };
static const struct test_machine clusters = { .possible = "0-15",
					      .clusters = { "0-3", "4-7", "8-11", "12-15" } };
static const struct test_machine sixteen = { .possible = "0-15" };
static const struct test_machine two_nodes = { .possible = "0-7", .nodes = { "0-3", "4-7" } };

static void test_spread_when_golden_then_as_linux(void **state)
{
	static const struct {
		const struct test_machine *machine;
		unsigned queues;
		const char *expected;
	} cases[] = {
		{ &eight, 3, "[0-2][3-5][6-7]" },                                        /* A */
		{ &threads, 4, "[0,4][1,5][2,6][3,7]" },                                 /* B */
		{ &threads, 3, "[0-1,4][2-3,6][5,7]" },                                  /* C */
		{ &six_and_two, 4, "[6-7][0-1][2-3][4-5]" },                             /* D */
		{ &six_and_two, 2, "[0-5][6-7]" },                                       /* E */
		{ &three_nodes, 8, "[0][1-3][4-5][6-7][8-9][10-11][12-13][14-15]" },     /* F */
		{ &half_present, 8, "[0][1][2][3][4][5][6][7]" },                        /* G */
		{ &half_present, 4, "[0,4][1,5][2,6][3,7]" },                            /* H */
		{ &quarter_present, 6, "[0,8-9][1,10-11][2,12-13][3,14-15][4-5][6-7]" }, /* I */
		{ &clusters, 4, "[0-3][4-7][8-11][12-15]" },                             /* J */
		{ &clusters, 6, "[0-3][4-7][8-9][10-11][12-13][14-15]" },                /* K */
		{ &sixteen, 6, "[0-2][3-5][6-8][9-11][12-13][14-15]" },                  /* L */
		{ &two_nodes, 1, "[0-7]" },                                              /* M */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_spread(cases[i].machine, cases[i].queues, cases[i].expected);
}

static void test_spread_when_numbers_have_holes_then_they_are_kept(void **state)
{
	assert_spread(&(struct test_machine){ .possible = "1,3,8-9" }, 2, "[1,3][8-9]");
	assert_spread(&(struct test_machine){ .possible = "2,5,1000", .nodes = { "5", "2,1000" } },
		      3, "[5][2][1000]");
}

static void test_spread_when_more_queues_than_cpus_then_one_for_each(void **state)
{
	assert_spread(&(struct test_machine){ .possible = "0-3" }, 9, "[0][1][2][3]");
	assert_spread(&half_present, 65535, "[0][1][2][3][4][5][6][7]");
}

static void test_spread_when_nodes_are_as_large_then_the_lowest_is_first(void **state)
{
	assert_spread(&two_nodes, 4, "[0-1][2-3][4-5][6-7]");
	assert_spread(&(struct test_machine){ .possible = "0-7", .nodes = { "4-7", "0-3" } }, 4,
		      "[4-5][6-7][0-1][2-3]");
}

static void test_spread_when_clusters_exceed_the_nodes_queues_then_they_do_not_count(void **state)
{
	assert_spread(&clusters, 3, "[0-5][6-10][11-15]");
}

static void
test_spread_when_the_present_are_fewer_than_nodes_then_each_stage_deals_nodes(void **state)
{
	const struct test_machine machine = { .possible = "0-5",
					      .present = "0,2,4",
					      .nodes = { "0-1", "2-3", "4-5" } };

	assert_spread(&machine, 2, "[0-1,4-5][2-3]");
}

static void test_spread_when_a_cpu_is_not_there_then_nobody_knows_its_siblings(void **state)
{
	const struct test_machine machine = { .possible = "0-7",
					      .present = "0-3",
					      .cores = { "0-1", "2-3", "4,6", "5,7" } };

	assert_spread(&machine, 2, "[0-1,4-5][2-3,6-7]");
}

/* ---- what there is beside it ---- */

static void assert_allowed(const struct test_machine *machine, const char *allowed, unsigned queues,
			   const char *expected)
{
	struct topology topology = test_topology(machine);
	hwloc_bitmap_t mask = test_mask(allowed);
	char text[TEST_TEXT_MAX];

	assert_string_equal(spread(&topology,
				   &(struct affinity_options){ .queues = queues, .allowed = mask },
				   text),
			    expected);
	hwloc_bitmap_free(mask);
	topology_fini(&topology);
}

static void test_spread_when_half_is_allowed_then_only_that_is_used(void **state)
{
	assert_allowed(&eight, "0-3", 2, "[0-1][2-3]");
	assert_allowed(&threads, "0,1,4,5", 2, "[0,4][1,5]");
	assert_allowed(&two_nodes, "2-4,99", 2, "[2-3][4]");
	assert_allowed(&half_present, "3-4", 3, "[3][4]");
}

static void test_spread_when_cpus_are_isolated_then_they_are_left_out(void **state)
{
	const struct test_machine machine = { .possible = "0-7", .isolated = "2-5" };

	assert_spread(&machine, 2, "[0-1][6-7]");
	assert_allowed(&machine, "0-3", 2, "[0][1]");
}

static void test_spread_when_isolated_are_kept_then_as_linux(void **state)
{
	struct topology topology =
		test_topology(&(struct test_machine){ .possible = "0-7", .isolated = "2-5" });
	char text[TEST_TEXT_MAX];

	spread(&topology, &(struct affinity_options){ .queues = 2, .keep_isolated = true }, text);
	assert_string_equal(text, "[0-3][4-7]");
	topology_fini(&topology);
}

static void test_spread_when_nothing_is_left_then_it_says_so(void **state)
{
	struct topology topology =
		test_topology(&(struct test_machine){ .possible = "0-3", .isolated = "0-3" });
	struct affinity_spread spread;
	struct error error = { 0 };

	assert_int_equal(affinity_spread_evenly(&topology,
						&(struct affinity_options){ .queues = 2 }, &spread,
						&error),
			 -EINVAL);
	assert_non_null(strstr(error.text, "no CPU is left"));
	topology_fini(&topology);
}

static void test_spread_when_queues_are_out_of_range_then_it_is_refused(void **state)
{
	static const unsigned queues[] = { 0, AFFINITY_QUEUES_MAX + 1, UINT32_MAX };
	struct topology topology = test_topology(&eight);
	struct affinity_spread spread;

	for (unsigned i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(
			affinity_spread_evenly(&topology,
					       &(struct affinity_options){ .queues = queues[i] },
					       &spread, NULL),
			-EINVAL);
	topology_fini(&topology);
}

/* ---- explicit ---- */

static int spread_lists(const struct topology *topology, const char *const *lists, unsigned count,
			struct affinity_spread *ret_spread, struct error *error)
{
	hwloc_bitmap_t masks[4] = { NULL };
	int ret;

	assert_true(count <= ARRAY_SIZE(masks));
	for (unsigned i = 0; i < count; i++)
		masks[i] = test_mask(lists[i]);
	ret = affinity_spread_explicit(topology, (const hwloc_const_bitmap_t *)masks, count,
				       ret_spread, error);
	for (unsigned i = 0; i < count; i++)
		hwloc_bitmap_free(masks[i]);
	return ret;
}

static void test_explicit_when_masks_are_disjoint_then_they_are_taken(void **state)
{
	struct topology topology = test_topology(&threads);
	struct affinity_spread spread;
	char text[TEST_TEXT_MAX];

	assert_int_equal(spread_lists(&topology, (const char *const[]){ "3,7", "0-1" }, 2, &spread,
				      NULL),
			 0);
	assert_string_equal(test_spread_text(&spread, text), "[3,7][0-1]");
	assert_int_equal(spread.figures.cpus_without, 4);
	affinity_spread_fini(&spread);
	topology_fini(&topology);
}

static void test_explicit_when_masks_are_wrong_then_it_says_which(void **state)
{
	static const struct {
		const char *lists[3];
		unsigned count;
		const char *sentence;
	} cases[] = {
		{ { "0", "0-1" }, 2, "CPU 0 is given to queue 0 and to queue 1" },
		{ { "0", NULL }, 2, "queue 1 is given no CPU" },
		{ { "7-8" }, 1, "queue 0 is given CPU 8, which cannot be there" },
		{ { NULL }, 0, "0 queues" },
	};
	struct topology topology = test_topology(&eight);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct affinity_spread spread;
		struct error error = { 0 };

		assert_int_equal(spread_lists(&topology, cases[i].lists, cases[i].count, &spread,
					      &error),
				 -EINVAL);
		assert_non_null(strstr(error.text, cases[i].sentence));
	}
	topology_fini(&topology);
}

/* ---- figures ---- */

static struct affinity_figures figures(const struct test_machine *machine, unsigned queues)
{
	struct topology topology = test_topology(machine);
	struct affinity_figures figures;
	struct affinity_spread spread;

	assert_int_equal(affinity_spread_evenly(&topology,
						&(struct affinity_options){ .queues = queues },
						&spread, NULL),
			 0);
	figures = spread.figures;
	affinity_spread_fini(&spread);
	topology_fini(&topology);
	return figures;
}

static void test_figures_when_siblings_are_apart_then_cores_are_split(void **state)
{
	struct affinity_figures whole = figures(&threads, 4), split = figures(&threads, 3);

	assert_int_equal(whole.split_cores, 0);
	assert_int_equal(split.split_cores, 2);
	assert_int_equal(split.largest, 3);
	assert_int_equal(split.smallest, 2);
}

static void test_figures_when_a_queue_spans_sets_then_it_crosses(void **state)
{
	const struct test_machine machine = { .possible = "0-7",
					      .isolated = "7",
					      .nodes = { "0-3", "4-7" },
					      .clusters = { "0-1", "2-3", "4-5", "6-7" },
					      .domains = { "0-3", "4-7" } };
	struct affinity_figures one = figures(&machine, 1), two = figures(&machine, 2);

	assert_int_equal(one.node_crossings, 1);
	assert_int_equal(one.domain_crossings, 1);
	assert_int_equal(one.cluster_crossings, 1);
	assert_int_equal(one.cpus_without, 1);
	assert_int_equal(two.node_crossings, 0);
	assert_int_equal(two.domain_crossings, 0);
	assert_int_equal(two.cluster_crossings, 2);
}

static void test_figures_when_clusters_are_single_cpus_then_nothing_crosses(void **state)
{
	const struct test_machine machine = { .possible = "0-3",
					      .clusters = { "0", "1", "2", "3" } };

	assert_int_equal(figures(&machine, 2).cluster_crossings, 0);
}

/* ---- CPU to queue ---- */

static void assert_map(const struct test_machine *machine, unsigned queues, unsigned first,
		       const uint16_t *expected, unsigned count)
{
	struct topology topology = test_topology(machine);
	uint16_t queue_of_cpu[CPUS_MAX];
	struct affinity_spread spread;

	assert_int_equal(affinity_spread_evenly(&topology,
						&(struct affinity_options){ .queues = queues },
						&spread, NULL),
			 0);
	assert_int_equal(affinity_map_fill(&topology, &spread, first, queue_of_cpu, count), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(queue_of_cpu[i], expected[i]);
	affinity_spread_fini(&spread);
	topology_fini(&topology);
}

static void test_map_when_all_cpus_are_spread_then_each_has_its_queue(void **state)
{
	assert_map(&threads, 4, 10, (const uint16_t[]){ 10, 11, 12, 13, 10, 11, 12, 13 }, 8);
}

static void test_map_when_a_cpu_is_isolated_then_it_uses_the_nearest_queue(void **state)
{
	const struct test_machine siblings = { .possible = "0-7",
					       .isolated = "5,7",
					       .cores = { "0,4", "1,5", "2,6", "3,7" } };
	const struct test_machine nodes = { .possible = "0-7",
					    .isolated = "2-3,7",
					    .nodes = { "0-3", "4-7" } };

	/* [0,4][1-2][3,6]: 5 goes to its sibling 1's, 7 to 3's */
	assert_map(&siblings, 3, 0, (const uint16_t[]){ 0, 1, 1, 2, 0, 1, 2, 2 }, 8);
	/* [0][1][4][5][6]: 2 and 3 are shared out among their node's queues, 7 has the first of its own */
	assert_map(&nodes, 5, 0, (const uint16_t[]){ 0, 1, 0, 1, 2, 3, 4, 2 }, 8);
}

static void test_map_when_numbers_have_holes_then_no_entry_is_out_of_range(void **state)
{
	assert_map(&(struct test_machine){ .possible = "1,4" }, 2, 0,
		   (const uint16_t[]){ 0, 0, 0, 1, 1, 1, 0 }, 7);
}

static void test_map_when_it_is_shorter_than_the_machine_then_it_ends_there(void **state)
{
	assert_map(&eight, 8, 0, (const uint16_t[]){ 0, 1, 2 }, 3);
}

static void test_cpu_set_when_a_cpu_is_beyond_it_then_it_says_so(void **state)
{
	struct topology topology =
		test_topology(&(struct test_machine){ .possible = "3,1023,1024" });
	struct affinity_spread spread;
	cpu_set_t set;

	assert_int_equal(affinity_spread_evenly(&topology,
						&(struct affinity_options){ .queues = 2 }, &spread,
						NULL),
			 0);
	assert_int_equal(affinity_spread_cpu_set(&spread, 0, &set), 0);
	assert_true(CPU_ISSET(3, &set) && CPU_ISSET(1023, &set) && CPU_COUNT(&set) == 2);
	assert_int_equal(affinity_spread_cpu_set(&spread, 1, &set), -ERANGE);
	affinity_spread_fini(&spread);
	topology_fini(&topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spread_when_golden_then_as_linux),
		cmocka_unit_test(test_spread_when_numbers_have_holes_then_they_are_kept),
		cmocka_unit_test(test_spread_when_more_queues_than_cpus_then_one_for_each),
		cmocka_unit_test(test_spread_when_nodes_are_as_large_then_the_lowest_is_first),
		cmocka_unit_test(
			test_spread_when_clusters_exceed_the_nodes_queues_then_they_do_not_count),
		cmocka_unit_test(
			test_spread_when_the_present_are_fewer_than_nodes_then_each_stage_deals_nodes),
		cmocka_unit_test(
			test_spread_when_a_cpu_is_not_there_then_nobody_knows_its_siblings),
		cmocka_unit_test(test_spread_when_half_is_allowed_then_only_that_is_used),
		cmocka_unit_test(test_spread_when_cpus_are_isolated_then_they_are_left_out),
		cmocka_unit_test(test_spread_when_isolated_are_kept_then_as_linux),
		cmocka_unit_test(test_spread_when_nothing_is_left_then_it_says_so),
		cmocka_unit_test(test_spread_when_queues_are_out_of_range_then_it_is_refused),
		cmocka_unit_test(test_explicit_when_masks_are_disjoint_then_they_are_taken),
		cmocka_unit_test(test_explicit_when_masks_are_wrong_then_it_says_which),
		cmocka_unit_test(test_figures_when_siblings_are_apart_then_cores_are_split),
		cmocka_unit_test(test_figures_when_a_queue_spans_sets_then_it_crosses),
		cmocka_unit_test(test_figures_when_clusters_are_single_cpus_then_nothing_crosses),
		cmocka_unit_test(test_map_when_all_cpus_are_spread_then_each_has_its_queue),
		cmocka_unit_test(test_map_when_a_cpu_is_isolated_then_it_uses_the_nearest_queue),
		cmocka_unit_test(test_map_when_numbers_have_holes_then_no_entry_is_out_of_range),
		cmocka_unit_test(test_map_when_it_is_shorter_than_the_machine_then_it_ends_there),
		cmocka_unit_test(test_cpu_set_when_a_cpu_is_beyond_it_then_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
