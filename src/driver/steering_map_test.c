// SPDX-License-Identifier: MIT
/* The map of CPUs to queues: holes, CPUs that it does not know, and being replaced. */
#include "driver/steering_rig.h"

#include <errno.h>
#include <stdio.h>

static const struct map_case {
	const char *what;
	uint16_t queue_of_cpu[8];
	unsigned cpu_count;
	unsigned cpu;
	int queue;
} map_cases[] = {
	/* CPUs 0, 2, 5 are there: the kernel's version mixed their number with their rank */
	{ "sparse, first", { 0, STEER_NONE, 1, STEER_NONE, STEER_NONE, 2 }, 6, 0, 0 },
	{ "sparse, second", { 0, STEER_NONE, 1, STEER_NONE, STEER_NONE, 2 }, 6, 2, 1 },
	{ "sparse, last", { 0, STEER_NONE, 1, STEER_NONE, STEER_NONE, 2 }, 6, 5, 2 },
	{ "in a hole", { 0, STEER_NONE, 1, STEER_NONE, STEER_NONE, 2 }, 6, 3, 3 },
	{ "first beyond the map", { 3, 2, 1, 0 }, 4, 4, 0 },
	{ "far beyond the map", { 3, 2, 1, 0 }, 4, 1023, 3 },
	{ "the largest number", { 3, 2, 1, 0 }, 4, UINT32_MAX, 3 },
	{ "an empty map", { 0 }, 0, 6, 2 },
};

static void test_map_when_ids_have_holes_then_each_cpu_has_a_queue(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(map_cases); i++) {
		const struct map_case *c = &map_cases[i];
		struct steer_map_spec spec = { c->queue_of_cpu, c->cpu_count, NULL };
		struct rig rig;
		int queue;

		rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
		assert_int_equal(steering_set_map(&rig.steering, &spec), 0);
		queue = enter(&rig, c->cpu);
		if (queue != c->queue)
			fail_msg("%s: %d, not %d", c->what, queue, c->queue);
		steering_fini(&rig.steering);
	}
}

static void test_map_when_it_is_swapped_then_idle_flows_follow_and_busy_ones_finish(void **state)
{
	static const uint16_t other[] = { 3, 3, 3, 3, 3, 3, 3, 3 };
	struct steer_map_spec spec = { other, ARRAY_SIZE(other), domain_of_queue };
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	assert_int_equal(steering_set_map(&rig.steering, &spec), 0);
	assert_int_equal(enter(&rig, 0), 0);
	assert_false(leave(&rig, 0));
	assert_true(leave(&rig, 0));
	assert_int_equal(enter(&rig, 0), 3);
	assert_true(leave(&rig, 3));
	steering_fini(&rig.steering);
}

static void test_map_when_it_comes_back_then_no_new_one_is_made(void **state)
{
	static const uint16_t other[] = { 3, 3 };
	struct steer_map_spec one = { queue_of_cpu, ARRAY_SIZE(queue_of_cpu), domain_of_queue };
	struct steer_map_spec two = { other, ARRAY_SIZE(other), NULL };
	const struct steer_map *first;
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	first = rig.steering.map;
	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(steering_set_map(&rig.steering, &two), 0);
		assert_ptr_not_equal(rig.steering.map, first);
		assert_int_equal(steering_set_map(&rig.steering, &one), 0);
		assert_ptr_equal(rig.steering.map, first);
	}
	assert_int_equal(rig.steering.map_count, 2);
	one.domain_of_queue = NULL; /* differs in this alone */
	assert_int_equal(steering_set_map(&rig.steering, &one), 0);
	assert_int_equal(rig.steering.map_count, 3);
	steering_fini(&rig.steering);
}

static void test_map_when_there_are_too_many_then_the_old_one_counts_until_trimmed(void **state)
{
	uint16_t queues[12] = { 0 };
	struct steer_map_spec spec = { queues, ARRAY_SIZE(queues), NULL };
	const struct steer_map *last;
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	for (unsigned i = 1; i < STEER_MAPS_MAX; i++) {
		for (unsigned bit = 0; bit < 12; bit++)
			queues[bit] = i >> bit & 1;
		assert_int_equal(steering_set_map(&rig.steering, &spec), 0);
	}
	last = rig.steering.map;
	queues[11] = 2;
	assert_int_equal(steering_set_map(&rig.steering, &spec), -ENOSPC);
	assert_ptr_equal(rig.steering.map, last);
	steering_trim_maps(&rig.steering);
	assert_int_equal(rig.steering.map_count, 1);
	assert_ptr_equal(rig.steering.map, last);
	assert_int_equal(steering_set_map(&rig.steering, &spec), 0);
	assert_int_equal(enter(&rig, 11), 2);
	steering_fini(&rig.steering);
}

static void test_init_when_something_is_wrong_then_it_says_so(void **state)
{
	static const uint16_t wrong[] = { 0, 4 };
	struct steering_config config = { .policy = &steer_policy_sticky };
	struct steer_map_spec spec = { wrong, 2, NULL };
	struct steering steering;
	struct rig rig;

	assert_int_equal(steering_init(&steering, &config), -EINVAL);
	config.queue_count = STEER_QUEUES_MAX + 1;
	assert_int_equal(steering_init(&steering, &config), -EINVAL);
	config.queue_count = 4;
	config.map = spec;
	assert_int_equal(steering_init(&steering, &config), -EINVAL);
	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(steering_set_map(&rig.steering, &spec), -EINVAL);
	assert_int_equal(enter(&rig, 2), 1);
	steering_fini(&rig.steering);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_when_ids_have_holes_then_each_cpu_has_a_queue),
		cmocka_unit_test(
			test_map_when_it_is_swapped_then_idle_flows_follow_and_busy_ones_finish),
		cmocka_unit_test(test_map_when_it_comes_back_then_no_new_one_is_made),
		cmocka_unit_test(
			test_map_when_there_are_too_many_then_the_old_one_counts_until_trimmed),
		cmocka_unit_test(test_init_when_something_is_wrong_then_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
