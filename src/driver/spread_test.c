// SPDX-License-Identifier: MIT
/* The public face of topologies and spreads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"

#include <errno.h>
#include <ringlane/affinity.h>

static struct ringlane_topology *open_machine(const struct ringlane_topology_options *options)
{
	struct ringlane_topology *topology;
	struct ringlane_error error = { 0 };

	if (ringlane_topology_open(options, &topology, &error) < 0)
		fail_msg("%s", error.text);
	return topology;
}

static void assert_cpus(const struct ringlane_spread *spread, unsigned queue, const char *expected)
{
	char text[256];

	assert_int_equal(ringlane_spread_cpus(spread, queue, text, sizeof(text)), strlen(expected));
	assert_string_equal(text, expected);
}

static void test_spread_when_by_rule_then_lists_and_map_agree(void **state)
{
	struct ringlane_topology *topology = open_machine(
		&(struct ringlane_topology_options){ .description = "numa:2 core:2 pu:2" });
	struct ringlane_spread *spread;

	assert_int_equal(ringlane_spread_new(topology,
					     &(struct ringlane_spread_options){ .queues = 4 },
					     &spread, NULL),
			 0);
	assert_int_equal(ringlane_topology_cpu_count(topology), 8);
	ringlane_topology_close(topology);
	assert_int_equal(ringlane_spread_queue_count(spread, RINGLANE_INTERRUPT_QUEUES), 4);
	assert_int_equal(ringlane_spread_queue_count(spread, RINGLANE_POLL_QUEUES), 0);
	assert_cpus(spread, 0, "0-1");
	assert_cpus(spread, 3, "6-7");
	assert_int_equal(ringlane_spread_cpus(spread, 4, NULL, 0), -ENOENT);
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_INTERRUPT_QUEUES, 5), 2);
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_INTERRUPT_QUEUES, 8 + 5), 2);
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_POLL_QUEUES, 5), -ENOENT);
	ringlane_spread_free(spread);
}

static void
test_spread_when_some_queues_are_polled_then_they_have_a_spread_of_their_own(void **state)
{
	struct ringlane_topology *topology =
		open_machine(&(struct ringlane_topology_options){ .description = "core:8 pu:1" });
	struct ringlane_spread *spread;
	struct ringlane_spread_figures figures;

	assert_int_equal(
		ringlane_spread_new(topology,
				    &(struct ringlane_spread_options){
					    .queues = 6, .poll_queues = 2, .poll_allowed = "4-7" },
				    &spread, NULL),
		0);
	assert_cpus(spread, 0, "0-1");
	assert_cpus(spread, 3, "6-7");
	assert_cpus(spread, 4, "4-5");
	assert_cpus(spread, 5, "6-7");
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_INTERRUPT_QUEUES, 7), 3);
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_POLL_QUEUES, 7), 5);
	assert_int_equal(ringlane_spread_queue_of_cpu(spread, RINGLANE_POLL_QUEUES, 0), 4);
	ringlane_spread_get_figures(spread, RINGLANE_POLL_QUEUES, &figures);
	assert_int_equal(figures.cpus_without, 4);
	ringlane_spread_free(spread);
	ringlane_topology_close(topology);
}

static void test_spread_when_lists_are_given_then_they_are_taken(void **state)
{
	static const char *const lists[] = { "6,7", "0-3", "5" };
	struct ringlane_topology *topology =
		open_machine(&(struct ringlane_topology_options){ .description = "core:4 pu:2" });
	struct ringlane_spread *spread;
	struct ringlane_spread_figures figures;

	assert_int_equal(ringlane_spread_new(topology,
					     &(struct ringlane_spread_options){
						     .queues = 3, .poll_queues = 1, .cpus = lists },
					     &spread, NULL),
			 0);
	assert_cpus(spread, 0, "6-7");
	assert_cpus(spread, 1, "0-3");
	assert_cpus(spread, 2, "5");
	ringlane_spread_get_figures(spread, RINGLANE_INTERRUPT_QUEUES, &figures);
	assert_int_equal(figures.largest, 4);
	assert_int_equal(figures.smallest, 2);
	assert_int_equal(figures.cores, 4);
	assert_int_equal(figures.split_cores, 0);
	ringlane_spread_free(spread);
	ringlane_topology_close(topology);
}

static void test_spread_when_no_number_is_given_then_one_for_each_cpu(void **state)
{
	struct ringlane_topology *topology = open_machine(&(struct ringlane_topology_options){
		.description = "core:4 pu:1", .isolated = "1" });
	struct ringlane_spread *spread;
	struct ringlane_cpu cpu;

	assert_int_equal(ringlane_spread_new(topology, &(struct ringlane_spread_options){ 0 },
					     &spread, NULL),
			 0);
	assert_int_equal(ringlane_spread_queue_count(spread, RINGLANE_INTERRUPT_QUEUES), 3);
	assert_cpus(spread, 1, "2");
	assert_int_equal(ringlane_topology_get_cpu(topology, 1, &cpu), 0);
	assert_true(cpu.isolated && cpu.present && cpu.allowed);
	assert_int_equal(cpu.node, 0);
	assert_int_equal(cpu.core, 1);
	assert_int_equal(cpu.cluster, -1);
	assert_int_equal(ringlane_topology_get_cpu(topology, 4, &cpu), -ENOENT);
	ringlane_spread_free(spread);
	ringlane_topology_close(topology);
}

static void test_spread_when_the_text_is_short_then_the_list_is_cut(void **state)
{
	struct ringlane_topology *topology =
		open_machine(&(struct ringlane_topology_options){ .description = "core:4 pu:1" });
	struct ringlane_spread *spread;
	char text[3];

	assert_int_equal(ringlane_spread_new(topology,
					     &(struct ringlane_spread_options){ .queues = 1 },
					     &spread, NULL),
			 0);
	assert_int_equal(ringlane_spread_cpus(spread, 0, text, sizeof(text)), 3);
	assert_string_equal(text, "0-");
	ringlane_spread_free(spread);
	ringlane_topology_close(topology);
}

static void test_spread_when_options_are_wrong_then_it_says_why(void **state)
{
	static const char *const twice[] = { "0", "0-1" }, *const nonsense[] = { "0", "zero" };
	static const struct {
		struct ringlane_spread_options options;
		int result;
		const char *sentence;
	} cases[] = {
		{ { .queues = 65536 }, -EINVAL, "65536 queues" },
		{ { .queues = 2, .poll_queues = 2 },
		  -EINVAL,
		  "at least one must have an interrupt" },
		{ { .poll_queues = 65536 }, -EINVAL, "65536 poll queues" },
		{ { .queues = 2, .allowed = "7-" }, -EINVAL, "allowed CPUs: '7-' is no CPU list" },
		{ { .queues = 2, .allowed = "99999" }, -ERANGE, "allowed CPUs: CPU list '99999'" },
		{ { .queues = 2, .allowed = "9" }, -EINVAL, "no CPU is left" },
		{ { .queues = 2, .poll_queues = 1, .poll_allowed = "9" },
		  -EINVAL,
		  "poll queues: no CPU is left" },
		{ { .queues = 2, .cpus = twice },
		  -EINVAL,
		  "CPU 0 is given to queue 0 and to queue 1" },
		{ { .queues = 2, .cpus = nonsense }, -EINVAL, "'zero' is no CPU list" },
		{ { .cpus = twice }, -EINVAL, "for no queue" },
	};
	struct ringlane_topology *topology =
		open_machine(&(struct ringlane_topology_options){ .description = "core:4 pu:1" });

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ringlane_spread *spread;
		struct ringlane_error error = { 0 };

		assert_int_equal(ringlane_spread_new(topology, &cases[i].options, &spread, &error),
				 cases[i].result);
		assert_non_null(strstr(error.text, cases[i].sentence));
		assert_int_equal(ringlane_spread_new(topology, &cases[i].options, &spread, NULL),
				 cases[i].result);
	}
	ringlane_topology_close(topology);
}

static void test_topology_when_it_cannot_be_had_then_it_says_why(void **state)
{
	struct ringlane_topology *topology;
	struct ringlane_error error = { 0 };

	assert_int_equal(
		ringlane_topology_open(&(struct ringlane_topology_options){ .description = "what" },
				       &topology, &error),
		-EINVAL);
	assert_non_null(strstr(error.text, "'what' is no description"));
	assert_int_equal(
		ringlane_topology_open(&(struct ringlane_topology_options){ .description = "pu:2",
									    .present = "x" },
				       &topology, NULL),
		-EINVAL);
	ringlane_topology_close(NULL);
	ringlane_spread_free(NULL);
}

static void test_this_machine_when_opened_then_it_can_be_spread(void **state)
{
	struct ringlane_topology *topology = open_machine(NULL);
	struct ringlane_spread *spread;

	assert_int_equal(ringlane_spread_new(topology,
					     &(struct ringlane_spread_options){ .queues = 1 },
					     &spread, NULL),
			 0);
	assert_int_equal(ringlane_spread_queue_count(spread, RINGLANE_INTERRUPT_QUEUES), 1);
	ringlane_spread_free(spread);
	ringlane_topology_close(topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spread_when_by_rule_then_lists_and_map_agree),
		cmocka_unit_test(
			test_spread_when_some_queues_are_polled_then_they_have_a_spread_of_their_own),
		cmocka_unit_test(test_spread_when_lists_are_given_then_they_are_taken),
		cmocka_unit_test(test_spread_when_no_number_is_given_then_one_for_each_cpu),
		cmocka_unit_test(test_spread_when_the_text_is_short_then_the_list_is_cut),
		cmocka_unit_test(test_spread_when_options_are_wrong_then_it_says_why),
		cmocka_unit_test(test_topology_when_it_cannot_be_had_then_it_says_why),
		cmocka_unit_test(test_this_machine_when_opened_then_it_can_be_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
