// SPDX-License-Identifier: MIT
/* Machines from descriptions, and this one. */
#include "driver/test_topology.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static struct topology open_machine(const struct topology_options *options)
{
	struct topology topology;
	struct error error = { 0 };

	if (topology_open(options, &topology, &error) < 0)
		fail_msg("%s", error.text);
	return topology;
}

static void assert_mask(hwloc_const_bitmap_t mask, const char *expected)
{
	char list[1024];

	topology_list_format(mask, list, sizeof(list));
	assert_string_equal(list, expected);
}

/* "[0-3][4-7]" */
static void assert_sets(const struct topology_sets *sets, const char *expected)
{
	char text[TEST_TEXT_MAX] = "", list[256];
	size_t used = 0;

	for (unsigned i = 0; i < sets->count; i++) {
		topology_list_format(sets->sets[i].cpus, list, sizeof(list));
		used += (size_t)snprintf(text + used, sizeof(text) - used, "[%s]", list);
	}
	assert_string_equal(text, expected);
}

static void test_description_when_simple_then_pus_are_numbered_core_by_core(void **state)
{
	struct topology topology =
		open_machine(&(struct topology_options){ .description = "numa:2 core:4 pu:2" });

	assert_mask(topology.possible, "0-15");
	assert_mask(topology.present, "0-15");
	assert_mask(topology.allowed, "0-15");
	assert_mask(topology.isolated, "");
	assert_sets(&topology.nodes, "[0-7][8-15]");
	assert_sets(&topology.cores, "[0-1][2-3][4-5][6-7][8-9][10-11][12-13][14-15]");
	assert_sets(&topology.clusters, "");
	assert_int_equal(topology.cpu_count, 16);
	assert_int_equal(topology.cpus[9].node, 1);
	assert_int_equal(topology.cpus[9].core, 4);
	assert_int_equal(topology.cpus[9].cluster, -1);
	topology_fini(&topology);
}

static void test_description_when_it_has_indexes_then_numbers_are_those(void **state)
{
	struct topology topology = open_machine(&(struct topology_options){
		.description = "numa:2(indexes=1,0) core:2 pu:2(indexes=0,4,1,5,2,6,3,9)" });

	assert_mask(topology.possible, "0-6,9");
	assert_sets(&topology.nodes, "[2-3,6,9][0-1,4-5]");
	assert_sets(&topology.cores, "[0,4][1,5][2,6][3,9]");
	assert_int_equal(topology.cpu_count, 10);
	assert_int_equal(topology.cpus[7].node, -1);
	topology_fini(&topology);
}

static void test_description_when_some_cpus_are_possible_then_nodes_differ(void **state)
{
	struct topology topology = open_machine(&(struct topology_options){
		.description = "numa:2 pu:5(indexes=0,6,7,8,9,1,2,3,4,5)",
		.possible = "0-5",
		.present = "0-2",
		.isolated = "2,7" });

	assert_mask(topology.possible, "0-5");
	assert_mask(topology.present, "0-2");
	assert_mask(topology.isolated, "2");
	assert_sets(&topology.nodes, "[0][1-5]");
	topology_fini(&topology);
}

static void test_description_when_it_has_caches_then_they_are_clusters_and_domains(void **state)
{
	struct topology topology = open_machine(
		&(struct topology_options){ .description = "numa:1 l3:2 l2:2 core:1 pu:2" });

	assert_sets(&topology.clusters, "[0-1][2-3][4-5][6-7]");
	assert_sets(&topology.domains, "[0-3][4-7]");
	topology_fini(&topology);
}

static void test_description_when_it_has_groups_then_they_are_clusters(void **state)
{
	struct topology topology = open_machine(
		&(struct topology_options){ .description = "pack:2 numa:1 group:2 core:2 pu:1" });

	assert_sets(&topology.clusters, "[0-1][2-3][4-5][6-7]");
	assert_sets(&topology.domains, "[0-3][4-7]");
	topology_fini(&topology);
}

static void test_description_when_it_has_nothing_but_nodes_then_those_are_domains(void **state)
{
	struct topology topology =
		open_machine(&(struct topology_options){ .description = "numa:2 pu:2" });

	assert_sets(&topology.domains, "[0-1][2-3]");
	topology_fini(&topology);
}

static void test_description_when_wrong_then_it_says_why(void **state)
{
	static const struct {
		struct topology_options options;
		int result;
		const char *sentence;
	} cases[] = {
		{ { .description = "bogus:3" },
		  -EINVAL,
		  "'bogus:3' is no description of a machine" },
		{ { .description = "" }, -EINVAL, "is no description" },
		{ { .description = "core:0" }, -EINVAL, "is no description" },
		{ { .description = "pu:2(indexes=0,8192)" }, -ERANGE, "CPU 8192" },
		{ { .description = "pu:4", .present = "0-7" },
		  -EINVAL,
		  "present CPUs: the machine has no" },
		{ { .description = "pu:4", .possible = "9" },
		  -EINVAL,
		  "possible CPUs: the machine has no" },
		{ { .description = "pu:4", .isolated = "x" },
		  -EINVAL,
		  "isolated CPUs: 'x' is no CPU list" },
		{ { .present = "0" }, -EINVAL, "of a description only" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology topology;
		struct error error = { 0 };

		assert_int_equal(topology_open(&cases[i].options, &topology, &error),
				 cases[i].result);
		assert_non_null(strstr(error.text, cases[i].sentence));
	}
}

static void test_this_machine_when_opened_then_the_cpus_of_the_process_are_there(void **state)
{
	struct topology topology = open_machine(&(struct topology_options){ 0 });
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set)) {
			assert_true(hwloc_bitmap_isset(topology.present, (unsigned)cpu));
			assert_true(hwloc_bitmap_isset(topology.allowed, (unsigned)cpu));
			assert_true(topology.cpus[cpu].node >= 0);
		}
	topology_fini(&topology);
}

/* ---- this machine, with what Linux says about it replaced ---- */

struct fake_root {
	char path[64];
};

static void fake_write(const struct fake_root *root, const char *name, const char *text)
{
	char command[512], path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/%s", root->path, name);
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		snprintf(command, sizeof(command), "%.*s", (int)(at - path), path);
		assert_true(mkdir(command, 0700) == 0 || errno == EEXIST);
	}
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	return remove(path);
}

static void fake_init(struct fake_root *root)
{
	snprintf(root->path, sizeof(root->path), "/tmp/ringlane-topology-XXXXXX");
	assert_non_null(mkdtemp(root->path));
}

static void fake_fini(struct fake_root *root)
{
	assert_int_equal(nftw(root->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_this_machine_when_linux_says_more_then_it_is_believed(void **state)
{
	struct fake_root root;
	struct topology topology;

	fake_init(&root);
	fake_write(&root, "possible", "0-7\n");
	fake_write(&root, "present", "0-3\n");
	fake_write(&root, "isolated", "1,3\n");
	fake_write(&root, "cpu0/topology/cluster_cpus_list", "0,2\n");
	fake_write(&root, "cpu1/topology/cluster_cpus_list", "1,3\n");
	topology = open_machine(&(struct topology_options){ .root = root.path });
	assert_mask(topology.possible, "0-7");
	assert_mask(topology.present, "0-3");
	assert_mask(topology.isolated, "1,3");
	assert_sets(&topology.clusters, "[0,2][1,3]");
	assert_int_equal(topology.cpus[7].node, 0);
	topology_fini(&topology);
	topology = open_machine(&(struct topology_options){ .root = root.path, .isolated = "2" });
	assert_mask(topology.isolated, "2");
	topology_fini(&topology);
	fake_fini(&root);
}

static void test_this_machine_when_linux_says_nothing_then_hwloc_is_believed(void **state)
{
	struct fake_root root;
	struct topology topology;

	fake_init(&root);
	fake_write(&root, "isolated", "\n");
	topology = open_machine(&(struct topology_options){ .root = root.path });
	assert_true(hwloc_bitmap_weight(topology.present) >= 1);
	assert_true(hwloc_bitmap_isequal(topology.present, topology.possible));
	assert_sets(&topology.clusters, "");
	topology_fini(&topology);
	fake_fini(&root);
}

static void test_this_machine_when_a_file_makes_no_sense_then_it_is_named(void **state)
{
	struct topology topology;
	struct error error = { 0 };
	struct fake_root root;

	fake_init(&root);
	fake_write(&root, "isolated", "what\n");
	assert_int_equal(topology_open(&(struct topology_options){ .root = root.path }, &topology,
				       &error),
			 -EINVAL);
	assert_non_null(strstr(error.text, "/isolated: 'what?' is no CPU list"));
	fake_fini(&root);
}

/* ---- lists ---- */

static void test_list_when_parsed_then_it_is_strict(void **state)
{
	static const struct {
		const char *text;
		int result;
		const char *again;
	} cases[] = {
		{ "0", 0, "0" },           { "0-3,8\n", 0, "0-3,8" },
		{ "3,1,2", 0, "1-3" },     { "8191", 0, "8191" },
		{ "8192", -ERANGE, NULL }, { "0-8192", -ERANGE, NULL },
		{ "", -EINVAL, NULL },     { "3-", -EINVAL, NULL },
		{ "3-1", -EINVAL, NULL },  { "1,", -EINVAL, NULL },
		{ " 1", -EINVAL, NULL },   { "-1", -EINVAL, NULL },
		{ "0x3", -EINVAL, NULL },  { "99999999999999999999", -ERANGE, NULL },
	};
	hwloc_bitmap_t mask = hwloc_bitmap_alloc();

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(topology_list_parse(cases[i].text, mask, NULL), cases[i].result);
		if (cases[i].again)
			assert_mask(mask, cases[i].again);
	}
	hwloc_bitmap_free(mask);
}

/* ---- by hand ---- */

static void test_finish_when_nodes_overlap_then_the_lower_number_has_the_cpu(void **state)
{
	struct topology topology = test_topology(
		&(struct test_machine){ .possible = "0-5", .nodes = { "0-3", "2-4", "0-3" } });

	assert_sets(&topology.nodes, "[0-3,5][4][]");
	topology_fini(&topology);
}

static void test_finish_when_there_is_no_cpu_then_it_is_refused(void **state)
{
	struct topology topology;

	assert_int_equal(topology_init(&topology), 0);
	assert_int_equal(hwloc_bitmap_set(topology.possible, 3), 0);
	assert_int_equal(topology_finish(&topology, NULL), -EINVAL);
	topology_fini(&topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_description_when_simple_then_pus_are_numbered_core_by_core),
		cmocka_unit_test(test_description_when_it_has_indexes_then_numbers_are_those),
		cmocka_unit_test(test_description_when_some_cpus_are_possible_then_nodes_differ),
		cmocka_unit_test(
			test_description_when_it_has_caches_then_they_are_clusters_and_domains),
		cmocka_unit_test(test_description_when_it_has_groups_then_they_are_clusters),
		cmocka_unit_test(
			test_description_when_it_has_nothing_but_nodes_then_those_are_domains),
		cmocka_unit_test(test_description_when_wrong_then_it_says_why),
		cmocka_unit_test(
			test_this_machine_when_opened_then_the_cpus_of_the_process_are_there),
		cmocka_unit_test(test_this_machine_when_linux_says_more_then_it_is_believed),
		cmocka_unit_test(test_this_machine_when_linux_says_nothing_then_hwloc_is_believed),
		cmocka_unit_test(test_this_machine_when_a_file_makes_no_sense_then_it_is_named),
		cmocka_unit_test(test_list_when_parsed_then_it_is_strict),
		cmocka_unit_test(test_finish_when_nodes_overlap_then_the_lower_number_has_the_cpu),
		cmocka_unit_test(test_finish_when_there_is_no_cpu_then_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
