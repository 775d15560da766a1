// SPDX-License-Identifier: MIT
/* A gate on one thread: its states, what leads from one to the other, and who gets in. */
struct gate;
static void between_looks(struct gate *gate);
#define GATE_BETWEEN_LOOKS(gate) between_looks(gate)
#include "driver/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* Taken once, between the two looks of gate_enter, as another thread might. */
static bool (*step_between)(struct gate *gate);

static void between_looks(struct gate *gate)
{
	bool (*step)(struct gate *) = step_between;

	step_between = NULL;
	if (step)
		assert_true(step(gate));
}

static bool close_and_settle(struct gate *gate)
{
	return gate_close(gate) && gate_settle(gate);
}

enum step { CLOSE, SETTLE, ORPHAN, OPEN, ENTER, LEAVE };

static const struct gate_case {
	const char *what;
	enum gate_state before;
	unsigned inside;
	enum step step;
	bool answer;
	enum gate_state after;
	unsigned inside_after;
} gate_cases[] = {
	{ "enter an active one", GATE_ACTIVE, 0, ENTER, true, GATE_ACTIVE, 1 },
	{ "enter a draining one", GATE_DRAINING, 1, ENTER, false, GATE_DRAINING, 1 },
	{ "enter an inactive one", GATE_INACTIVE, 0, ENTER, false, GATE_INACTIVE, 0 },
	{ "enter an orphaned one", GATE_ORPHANED, 2, ENTER, false, GATE_ORPHANED, 2 },
	{ "the last leaves an active one", GATE_ACTIVE, 1, LEAVE, false, GATE_ACTIVE, 0 },
	{ "one of two leaves a draining one", GATE_DRAINING, 2, LEAVE, false, GATE_DRAINING, 1 },
	{ "the last leaves a draining one", GATE_DRAINING, 1, LEAVE, true, GATE_DRAINING, 0 },
	{ "the last leaves an orphaned one", GATE_ORPHANED, 1, LEAVE, true, GATE_ORPHANED, 0 },
	{ "close an idle one", GATE_ACTIVE, 0, CLOSE, true, GATE_DRAINING, 0 },
	{ "close a busy one", GATE_ACTIVE, 3, CLOSE, false, GATE_DRAINING, 3 },
	{ "close twice, busy", GATE_DRAINING, 1, CLOSE, false, GATE_DRAINING, 1 },
	{ "close twice, idle", GATE_DRAINING, 0, CLOSE, true, GATE_DRAINING, 0 },
	{ "close an inactive one", GATE_INACTIVE, 0, CLOSE, true, GATE_INACTIVE, 0 },
	{ "close an orphaned one", GATE_ORPHANED, 1, CLOSE, false, GATE_ORPHANED, 1 },
	{ "settle an idle one", GATE_DRAINING, 0, SETTLE, true, GATE_INACTIVE, 0 },
	{ "settle a busy one", GATE_DRAINING, 1, SETTLE, false, GATE_DRAINING, 1 },
	{ "settle twice", GATE_INACTIVE, 0, SETTLE, true, GATE_INACTIVE, 0 },
	{ "settle an active one", GATE_ACTIVE, 0, SETTLE, false, GATE_ACTIVE, 0 },
	{ "settle an orphaned, busy one", GATE_ORPHANED, 1, SETTLE, false, GATE_ORPHANED, 1 },
	{ "settle an orphaned, idle one", GATE_ORPHANED, 0, SETTLE, true, GATE_INACTIVE, 0 },
	{ "orphan a draining one", GATE_DRAINING, 4, ORPHAN, true, GATE_ORPHANED, 4 },
	{ "orphan an active one", GATE_ACTIVE, 4, ORPHAN, false, GATE_ACTIVE, 4 },
	{ "orphan an inactive one", GATE_INACTIVE, 0, ORPHAN, false, GATE_INACTIVE, 0 },
	{ "open a draining one", GATE_DRAINING, 2, OPEN, true, GATE_ACTIVE, 2 },
	{ "open an inactive one", GATE_INACTIVE, 0, OPEN, true, GATE_ACTIVE, 0 },
	{ "open an orphaned one", GATE_ORPHANED, 2, OPEN, true, GATE_ACTIVE, 2 },
	{ "open an active one", GATE_ACTIVE, 2, OPEN, true, GATE_ACTIVE, 2 },
};

static bool step_do(struct gate *gate, enum step step)
{
	switch (step) {
	case CLOSE:
		return gate_close(gate);
	case SETTLE:
		return gate_settle(gate);
	case ORPHAN:
		return gate_orphan(gate);
	case ENTER:
		return gate_enter(gate);
	case LEAVE:
		return gate_leave(gate);
	default:
		gate_open(gate);
		return true;
	}
}

/* By the calls that lead there. */
static struct gate gate_make(enum gate_state state, unsigned inside)
{
	struct gate gate = { 0 };

	for (unsigned i = 0; i < inside; i++)
		assert_true(gate_enter(&gate));
	if (state != GATE_ACTIVE)
		gate_close(&gate);
	if (state == GATE_INACTIVE)
		assert_true(gate_settle(&gate));
	if (state == GATE_ORPHANED)
		assert_true(gate_orphan(&gate));
	return gate;
}

static void test_gate_when_a_step_is_taken_then_it_is_as_the_table_says(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(gate_cases); i++) {
		const struct gate_case *c = &gate_cases[i];
		struct gate gate = gate_make(c->before, c->inside);
		bool answer = step_do(&gate, c->step);

		if (answer != c->answer || gate_state(&gate) != c->after ||
		    gate_count(&gate) != c->inside_after ||
		    gate_is_idle(&gate) != (c->inside_after == 0))
			fail_msg("%s: answer %d, state %s, %u inside", c->what, answer,
				 gate_state_name(gate_state(&gate)), (unsigned)gate_count(&gate));
	}
}

static void
test_enter_when_the_gate_closes_after_the_first_look_then_the_place_is_given_back(void **state)
{
	static const struct {
		bool (*step)(struct gate *gate);
		enum gate_state after;
	} cases[] = { { gate_close, GATE_DRAINING }, { close_and_settle, GATE_INACTIVE } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gate gate = { 0 };

		step_between = cases[i].step;
		assert_false(gate_enter(&gate));
		assert_null(step_between);
		assert_true(gate_is_idle(&gate));
		assert_int_equal(gate_state(&gate), cases[i].after);
	}
}

static void test_gates_when_in_an_array_then_they_share_no_lines(void **state)
{
	static struct gate gates[2];

	assert_int_equal((uintptr_t)&gates[1] - (uintptr_t)&gates[0], 2 * CACHE_LINE);
	assert_int_equal((uintptr_t)&gates[0] % (2 * CACHE_LINE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gate_when_a_step_is_taken_then_it_is_as_the_table_says),
		cmocka_unit_test(
			test_enter_when_the_gate_closes_after_the_first_look_then_the_place_is_given_back),
		cmocka_unit_test(test_gates_when_in_an_array_then_they_share_no_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
