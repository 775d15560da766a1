// SPDX-License-Identifier: MIT
/* Steering on one thread, with a clock that the test sets: where requests go, what is held and for how long. */
#include "driver/steering_rig.h"

#include <errno.h>
#include <stdio.h>

static int enter_again(struct rig *rig, unsigned cpu, unsigned tries)
{
	struct steer_submit submit = {
		.cpu = cpu, .wish = STEER_NO_WISH, .tries = tries, .now_ns = rig->now_ns
	};

	return steer_enter(&rig->steering, &rig->flow, &submit);
}

static void close_gates(struct rig *rig, unsigned mask)
{
	for (unsigned queue = 0; queue < 4; queue++)
		if (mask & (1u << queue))
			gate_close(steering_gate(&rig->steering, queue));
}

/* ---- an ordered flow ---- */

static void test_ordered_flow_when_it_has_requests_in_flight_then_it_stays(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 4), 2);
	assert_int_equal(enter(&rig, 0), 2);
	assert_false(leave(&rig, 2));
	assert_int_equal(enter(&rig, 6), 2);
	assert_false(leave(&rig, 2));
	assert_true(leave(&rig, 2));
	assert_int_equal(enter(&rig, 0), 0);
	assert_int_equal(rig.flow.moves, 2);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

/* What Linux did from 2013 on: the count was taken, the ring was full, and nobody gave the count back. */
static void test_enter_when_the_post_fails_then_the_target_is_idle_and_not_pinned(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(enter(&rig, 0), 0);
		assert_true(leave(&rig, 0)); /* the ring was full */
	}
	assert_true(steer_flow_is_idle(&rig.flow));
	assert_true(gate_is_idle(steering_gate(&rig.steering, 0)));
	assert_int_equal(enter(&rig, 7), 3);
	assert_true(leave(&rig, 3));
	steering_fini(&rig.steering);
}

static void test_enter_when_the_ring_is_full_then_an_idle_flow_gets_the_next_queue(void **state)
{
	static const int order[] = { 2, 3, 0, 1, -EAGAIN };
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	for (unsigned tries = 0; tries < ARRAY_SIZE(order); tries++) {
		int queue = enter_again(&rig, 5, tries);

		assert_int_equal(queue, order[tries]);
		if (queue >= 0)
			assert_true(leave(&rig, (unsigned)queue));
	}
	assert_int_equal(enter(&rig, 5), 2);
	assert_int_equal(enter_again(&rig, 5, 1), 2); /* not idle: it stays */
	assert_false(leave(&rig, 2));
	assert_true(leave(&rig, 2));
	steering_fini(&rig.steering);
}

static void test_flow_when_its_generation_wraps_then_nothing_else_changes(void **state)
{
	struct rig rig;
	unsigned last = 0;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	rig.flow.word = 0xffffull << 48 | 3ull << 32;
	assert_int_equal(enter(&rig, 0), 0);
	assert_int_equal(rig.flow.word, 1);
	assert_true(leave(&rig, 0));
	for (unsigned i = 1; i < 70000; i++) {
		unsigned cpu = i % 2 * 2;
		int queue = enter(&rig, cpu);

		assert_int_equal(queue, i % 2);
		assert_int_equal(steer_word_generation(rig.flow.word), ++last & 0xffff);
		assert_true(leave(&rig, (unsigned)queue));
	}
	steering_fini(&rig.steering);
}

static void test_enter_when_the_count_is_full_then_it_is_held_and_nothing_is_taken(void **state)
{
	struct rig rig;
	uint64_t word = 7ull << 48 | 1ull << 32 | UINT32_MAX;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	rig.flow.word = word;
	assert_int_equal(enter(&rig, 2), -EBUSY);
	assert_int_equal(rig.flow.word, word);
	assert_true(gate_is_idle(steering_gate(&rig.steering, 1)));
	rig.flow.word--;
	assert_int_equal(enter(&rig, 2), 1);
	assert_int_equal(rig.flow.word, word);
	steering_fini(&rig.steering);
}

/* ---- bounded stickiness ---- */

/* Sustained load: a request comes in before another one is over. What came, or -EBUSY. */
static int load_step(struct rig *rig, unsigned cpu)
{
	int queue = enter(rig, cpu);

	if (queue >= 0)
		assert_false(leave(rig, (unsigned)queue));
	return queue;
}

static void test_flow_when_loaded_from_elsewhere_then_it_moves_within_the_bound(void **state)
{
	struct rig rig;
	unsigned requests = 0;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	while (load_step(&rig, 6) == 0)
		requests++;
	assert_int_equal(requests, 7); /* the eighth is held */
	assert_int_equal(rig.flow.hold_until_ns, rig.now_ns + 2 * MS);
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	assert_true(leave(&rig, 0));
	assert_int_equal(enter(&rig, 6), 3);
	assert_int_equal(rig.flow.hold_until_ns, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(load_step(&rig, 6), 3);
	assert_true(leave(&rig, 3));
	assert_int_equal(rig.flow.holds, 1);
	steering_fini(&rig.steering);
}

static void test_flow_when_used_from_elsewhere_for_long_then_time_counts_too(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	assert_int_equal(load_step(&rig, 6), 0);
	rig.now_ns += 10 * MS - 1;
	assert_int_equal(load_step(&rig, 6), 0);
	rig.now_ns++;
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

static void test_flow_when_it_does_not_get_idle_then_it_goes_on_and_rests(void **state)
{
	struct rig rig;
	unsigned requests = 0;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0); /* never over */
	while (load_step(&rig, 6) == 0)
		;
	rig.now_ns += 2 * MS - 1;
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	rig.now_ns++;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(load_step(&rig, 6), 0);
	rig.now_ns += 50 * MS - 1;
	assert_int_equal(load_step(&rig, 6), 0);
	rig.now_ns++;
	assert_int_equal(load_step(&rig, 6), 0); /* begins to count again */
	while (load_step(&rig, 6) == 0)
		requests++;
	assert_int_equal(requests, 7);
	assert_int_equal(rig.flow.holds, 2);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

static void test_flow_when_used_from_home_between_then_it_stays(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(load_step(&rig, i % 8 == 7 ? 1 : 6), 0);
		rig.now_ns += MS;
	}
	assert_int_equal(rig.flow.holds, 0);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

/* Who was told -EBUSY relies on the end of the hold: requests from home do not take it back. */
static void test_flow_when_used_from_home_during_a_hold_then_the_hold_keeps_its_end(void **state)
{
	struct rig rig;
	uint64_t end;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	while (load_step(&rig, 6) == 0)
		;
	end = rig.flow.hold_until_ns;
	assert_int_equal(load_step(&rig, 1), 0);
	assert_int_equal(rig.flow.hold_until_ns, end);
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	rig.now_ns = end;
	assert_int_equal(load_step(&rig, 6), 0);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

static void test_flow_when_limits_are_for_ever_then_it_never_wants_to_move(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	steering_fini(&rig.steering);
	rig.config.limits = (struct steer_limits){ UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX };
	assert_int_equal(steering_init(&rig.steering, &rig.config), 0);
	assert_int_equal(enter(&rig, 0), 0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(load_step(&rig, 6), 0);
		rig.now_ns += 1000000 * MS;
	}
	assert_int_equal(rig.flow.holds, 0);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

/* Threads read the clock and are preempted: the times come out of order. */
static void test_flow_when_a_time_is_late_then_no_bound_breaks(void **state)
{
	struct rig rig;
	uint64_t end;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	assert_int_equal(enter(&rig, 0), 0);
	while (load_step(&rig, 6) == 0)
		;
	end = rig.flow.hold_until_ns;
	rig.now_ns -= 500 * MS;
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	assert_int_equal(rig.flow.hold_until_ns, end);
	rig.now_ns = end;
	assert_int_equal(load_step(&rig, 6), 0);
	rig.now_ns = end - MS;
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	assert_int_equal(rig.flow.hold_until_ns, end);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

/* ---- relaxed flows ---- */

static void test_relaxed_flow_when_the_cpu_changes_then_it_moves_at_once(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_per_cpu, STEER_AS_POLICY);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		assert_int_equal(enter(&rig, cpu), queue_of_cpu[cpu]);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		assert_false(leave(&rig, queue_of_cpu[cpu]));
	assert_int_equal(rig.flow.word, 0);
	steering_fini(&rig.steering);
}

static void test_relaxed_flow_when_rings_are_full_then_it_spills_near_first(void **state)
{
	static const int order[] = { 1, 0, 2, 3, -EAGAIN };
	struct rig rig;

	rig_init(&rig, &steer_policy_per_cpu, STEER_AS_POLICY);
	for (unsigned tries = 0; tries < ARRAY_SIZE(order); tries++)
		assert_int_equal(enter_again(&rig, 3, tries), order[tries]);
	steering_fini(&rig.steering);
}

/* ---- gates ---- */

static const struct gate_case {
	const char *what;
	const struct steer_policy *policy;
	enum steer_order order;
	unsigned closed; /* mask of queues */
	unsigned cpu;
	int queue;
} gate_cases[] = {
	{ "open", &steer_policy_sticky, STEER_AS_POLICY, 0x0, 2, 1 },
	{ "near first", &steer_policy_sticky, STEER_AS_POLICY, 0x2, 2, 0 },
	{ "then far, in rotation", &steer_policy_sticky, STEER_AS_POLICY, 0x3, 2, 2 },
	{ "the last", &steer_policy_sticky, STEER_AS_POLICY, 0x7, 2, 3 },
	{ "none", &steer_policy_sticky, STEER_AS_POLICY, 0xf, 2, -ENXIO },
	{ "relaxed: near first", &steer_policy_per_cpu, STEER_AS_POLICY, 0x8, 7, 2 },
	{ "relaxed: far", &steer_policy_per_cpu, STEER_AS_POLICY, 0xc, 7, 0 },
	{ "relaxed: none", &steer_policy_per_cpu, STEER_AS_POLICY, 0xf, 7, -ENXIO },
	{ "ordered by wish", &steer_policy_per_cpu, STEER_ORDERED, 0x8, 7, 2 },
	{ "single", &steer_policy_single, STEER_AS_POLICY, 0x0, 7, 0 },
	{ "single, closed", &steer_policy_single, STEER_AS_POLICY, 0x1, 7, 1 },
	{ "least loaded", &steer_policy_least_loaded, STEER_AS_POLICY, 0x4, 4, 3 },
	{ "least loaded, far", &steer_policy_least_loaded, STEER_AS_POLICY, 0xc, 4, 0 },
	{ "least loaded, none", &steer_policy_least_loaded, STEER_AS_POLICY, 0xf, 4, -ENXIO },
	{ "picked, no wish", &steer_policy_picked, STEER_AS_POLICY, 0x1, 0, 1 },
};

static void test_idle_flow_when_gates_are_closed_then_it_gets_the_next_queue(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(gate_cases); i++) {
		const struct gate_case *c = &gate_cases[i];
		struct rig rig;
		int queue;

		rig_init(&rig, c->policy, c->order);
		close_gates(&rig, c->closed);
		queue = enter(&rig, c->cpu);
		if (queue != c->queue)
			fail_msg("%s: %d, not %d", c->what, queue, c->queue);
		for (unsigned q = 0; q < 4; q++)
			assert_int_equal(gate_count(steering_gate(&rig.steering, q)),
					 (int)q == queue);
		steering_fini(&rig.steering);
	}
}

static void test_ordered_flow_when_its_gate_closes_then_it_is_held_until_idle(void **state)
{
	struct rig rig;
	struct gate *gate;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	gate = steering_gate(&rig.steering, 0);
	assert_int_equal(enter(&rig, 0), 0);
	assert_false(gate_close(gate));
	assert_int_equal(enter(&rig, 0), -EBUSY);
	assert_int_equal(rig.flow.hold_until_ns, 0);
	steer_hold(&rig.flow);
	assert_int_equal(enter(&rig, 0), -EBUSY);
	assert_true(leave(&rig, 0));
	assert_true(steer_has_held(&rig.flow));
	assert_true(gate_settle(gate));
	assert_int_equal(enter(&rig, 0), 1);
	steer_unhold(&rig.flow);
	assert_true(leave(&rig, 1));
	assert_false(steer_has_held(&rig.flow));
	gate_open(gate);
	assert_int_equal(enter(&rig, 0), 0);
	assert_true(leave(&rig, 0));
	steering_fini(&rig.steering);
}

static void test_busy_flow_when_its_home_is_closed_then_it_does_not_want_to_move(void **state)
{
	struct rig rig;

	rig_init(&rig, &steer_policy_sticky, STEER_AS_POLICY);
	close_gates(&rig, 0x8);
	assert_int_equal(enter(&rig, 6), 2);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(load_step(&rig, 6), 2);
	gate_open(steering_gate(&rig.steering, 3));
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(load_step(&rig, 6), 2);
	assert_int_equal(load_step(&rig, 6), -EBUSY);
	assert_true(leave(&rig, 2));
	assert_int_equal(enter(&rig, 6), 3);
	assert_true(leave(&rig, 3));
	steering_fini(&rig.steering);
}

static void
test_relaxed_flow_when_a_gate_closes_under_it_then_it_leaves_the_closed_one(void **state)
{
	struct rig rig;
	struct gate *gate;

	rig_init(&rig, &steer_policy_per_cpu, STEER_AS_POLICY);
	gate = steering_gate(&rig.steering, 0);
	assert_int_equal(enter(&rig, 0), 0);
	assert_false(gate_close(gate));
	assert_int_equal(enter(&rig, 0), 1);
	assert_false(leave(&rig, 0));
	assert_true(gate_settle(gate));
	assert_false(leave(&rig, 1));
	steering_fini(&rig.steering);
}

/* ---- policies ---- */

static void test_least_loaded_when_queues_differ_then_the_domain_shares_the_load(void **state)
{
	static const int order[] = { 2, 3, 2, 3, 2 };
	struct rig rig;

	rig_init(&rig, &steer_policy_least_loaded, STEER_AS_POLICY);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(enter(&rig, 5), order[i]);
	assert_false(leave(&rig, 2));
	assert_false(leave(&rig, 2));
	assert_int_equal(enter(&rig, 7), 2); /* its own has two, this one */
	assert_int_equal(enter(&rig, 7), 3); /* as many: its own */
	steering_fini(&rig.steering);
}

static void test_picked_when_the_caller_wishes_then_it_is_so_while_the_queue_is_active(void **state)
{
	struct steer_submit submit = { .cpu = 0, .wish = 3 };
	struct rig rig;

	rig_init(&rig, &steer_policy_picked, STEER_AS_POLICY);
	assert_int_equal(steer_enter(&rig.steering, &rig.flow, &submit), 3);
	close_gates(&rig, 0x8);
	assert_int_equal(steer_enter(&rig.steering, &rig.flow, &submit), 2);
	submit.wish = 4;
	assert_int_equal(steer_enter(&rig.steering, &rig.flow, &submit), 0);
	steering_fini(&rig.steering);
}

static void test_policy_find_when_asked_by_name_then_it_is_found(void **state)
{
	assert_ptr_equal(steer_policy_find("sticky"), &steer_policy_sticky);
	assert_ptr_equal(steer_policy_find("per-cpu"), &steer_policy_per_cpu);
	assert_ptr_equal(steer_policy_find("least-loaded"), &steer_policy_least_loaded);
	assert_ptr_equal(steer_policy_find("single"), &steer_policy_single);
	assert_ptr_equal(steer_policy_find("picked"), &steer_policy_picked);
	assert_null(steer_policy_find("random"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordered_flow_when_it_has_requests_in_flight_then_it_stays),
		cmocka_unit_test(
			test_enter_when_the_post_fails_then_the_target_is_idle_and_not_pinned),
		cmocka_unit_test(
			test_enter_when_the_ring_is_full_then_an_idle_flow_gets_the_next_queue),
		cmocka_unit_test(test_flow_when_its_generation_wraps_then_nothing_else_changes),
		cmocka_unit_test(
			test_enter_when_the_count_is_full_then_it_is_held_and_nothing_is_taken),
		cmocka_unit_test(
			test_flow_when_loaded_from_elsewhere_then_it_moves_within_the_bound),
		cmocka_unit_test(test_flow_when_used_from_elsewhere_for_long_then_time_counts_too),
		cmocka_unit_test(test_flow_when_it_does_not_get_idle_then_it_goes_on_and_rests),
		cmocka_unit_test(test_flow_when_used_from_home_between_then_it_stays),
		cmocka_unit_test(
			test_flow_when_used_from_home_during_a_hold_then_the_hold_keeps_its_end),
		cmocka_unit_test(test_flow_when_limits_are_for_ever_then_it_never_wants_to_move),
		cmocka_unit_test(test_flow_when_a_time_is_late_then_no_bound_breaks),
		cmocka_unit_test(test_relaxed_flow_when_the_cpu_changes_then_it_moves_at_once),
		cmocka_unit_test(test_relaxed_flow_when_rings_are_full_then_it_spills_near_first),
		cmocka_unit_test(test_idle_flow_when_gates_are_closed_then_it_gets_the_next_queue),
		cmocka_unit_test(test_ordered_flow_when_its_gate_closes_then_it_is_held_until_idle),
		cmocka_unit_test(
			test_busy_flow_when_its_home_is_closed_then_it_does_not_want_to_move),
		cmocka_unit_test(
			test_relaxed_flow_when_a_gate_closes_under_it_then_it_leaves_the_closed_one),
		cmocka_unit_test(
			test_least_loaded_when_queues_differ_then_the_domain_shares_the_load),
		cmocka_unit_test(
			test_picked_when_the_caller_wishes_then_it_is_so_while_the_queue_is_active),
		cmocka_unit_test(test_policy_find_when_asked_by_name_then_it_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
