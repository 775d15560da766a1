// SPDX-License-Identifier: MIT
/* The ladder's walk: every rung in turn, its time, and back to the ground. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/ladder.h"

#define ALL UINT32_MAX
#define BIT(rung) (1u << (rung))

static void test_ladder_when_nothing_is_late_then_nothing_is_done(void **state)
{
	const struct ladder_config config = { ALL, 10 };
	struct ladder ladder = { 0 };

	for (uint64_t now = 0; now < 1000; now++)
		assert_int_equal(ladder_step(&ladder, &config, false, now), LADDER_GROUND);
}

static void test_ladder_when_it_stays_late_then_each_rung_once_in_turn(void **state)
{
	const struct ladder_config config = { ALL, 10 };
	struct ladder ladder = { 0 };
	enum ladder_rung expected = LADDER_POLL;

	for (uint64_t now = 0; now < 1000; now++) {
		enum ladder_rung rung = ladder_step(&ladder, &config, true, now);

		if (rung != LADDER_GROUND)
			assert_int_equal(rung, expected++);
	}
	assert_int_equal(expected, LADDER_RUNGS);
	for (enum ladder_rung rung = LADDER_POLL; rung < LADDER_RUNGS; rung++)
		assert_int_equal(ladder.taken[rung], 1);
}

static void test_ladder_when_rungs_are_missing_then_they_are_passed_by(void **state)
{
	static const struct {
		uint32_t rungs;
		enum ladder_rung order[4];
	} cases[] = {
		{ 0, { LADDER_FAIL } },
		{ BIT(LADDER_POLL) | BIT(LADDER_KICK), { LADDER_POLL, LADDER_KICK, LADDER_FAIL } },
		{ BIT(LADDER_KICK) | BIT(LADDER_DEVICE_RESET),
		  { LADDER_KICK, LADDER_DEVICE_RESET, LADDER_FAIL } },
		{ BIT(LADDER_RECONNECT), { LADDER_RECONNECT, LADDER_FAIL } },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ladder_config config = { cases[i].rungs, 10 };
		struct ladder ladder = { 0 };
		unsigned at = 0;

		for (uint64_t now = 0; now < 200; now += 20)
			for (enum ladder_rung rung = ladder_step(&ladder, &config, true, now);
			     rung != LADDER_GROUND; rung = LADDER_GROUND)
				assert_int_equal(rung, cases[i].order[at++]);
		assert_int_equal(cases[i].order[at - 1], LADDER_FAIL);
	}
}

static void test_ladder_when_a_rung_helps_then_the_next_trouble_begins_at_the_foot(void **state)
{
	const struct ladder_config config = { ALL, 10 };
	struct ladder ladder = { 0 };

	assert_int_equal(ladder_step(&ladder, &config, true, 0), LADDER_POLL);
	assert_int_equal(ladder_step(&ladder, &config, true, 9), LADDER_GROUND);
	assert_int_equal(ladder_step(&ladder, &config, true, 10), LADDER_KICK);
	assert_int_equal(ladder_step(&ladder, &config, false, 11), LADDER_GROUND);
	assert_int_equal(ladder_step(&ladder, &config, true, 12), LADDER_POLL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ladder_when_nothing_is_late_then_nothing_is_done),
		cmocka_unit_test(test_ladder_when_it_stays_late_then_each_rung_once_in_turn),
		cmocka_unit_test(test_ladder_when_rungs_are_missing_then_they_are_passed_by),
		cmocka_unit_test(
			test_ladder_when_a_rung_helps_then_the_next_trouble_begins_at_the_foot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
