// SPDX-License-Identifier: MIT
/* The window's arithmetic, in tables. */
#include "driver/iopoll_window.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct iopoll_window_params params = {
	.spin_ns_max = 20000,
	.coalesce_ns_max = 50000,
	.coalesce_max = 16,
};

static void test_window_when_new_then_it_sleeps_for_the_first(void **state)
{
	struct iopoll_window window;
	struct iopoll_sleep sleep;

	iopoll_window_init(&window, 7);
	assert_true(iopoll_window_spin_until(&window, &params, 8) == 0);
	sleep = iopoll_window_sleep(&window, &params, 64, 7);
	assert_int_equal(sleep.skip, 0);
	assert_true(sleep.deadline_ns == UINT64_MAX);
}

static void test_window_when_the_gap_is_steady_then_it_is_learnt(void **state)
{
	static const uint64_t gaps[] = { 100, 1000, 10000, 60000 };

	for (unsigned i = 0; i < ARRAY_SIZE(gaps); i++) {
		struct iopoll_window window;
		uint64_t now_ns = 1;

		iopoll_window_init(&window, now_ns);
		for (unsigned k = 0; k < 64; k++) {
			now_ns += 4 * gaps[i];
			iopoll_window_learn(&window, &params, 4, now_ns);
		}
		assert_in_range(window.gap_ns, gaps[i] - gaps[i] / 10, gaps[i] + gaps[i] / 10);
	}
}

/* Twenty batches after a pause of a day it is as before. */
static void test_window_when_there_was_a_pause_then_it_recovers_soon(void **state)
{
	struct iopoll_window window = { .gap_ns = 2000, .last_ns = 0 };
	uint64_t now_ns = 86400ull * 1000000000;

	for (unsigned i = 0; i < 10; i++)
		iopoll_window_learn(&window, &params, 1, now_ns += 86400ull * 1000000000);
	assert_true(window.gap_ns > params.spin_ns_max);
	for (unsigned i = 0; i < 20; i++)
		iopoll_window_learn(&window, &params, 1, now_ns += 2000);
	assert_true(window.gap_ns < params.spin_ns_max);
}

static void test_window_when_the_clock_goes_back_then_no_harm(void **state)
{
	struct iopoll_window window = { .gap_ns = 1600, .last_ns = 1000000 };

	iopoll_window_learn(&window, &params, 1, 999);
	assert_int_equal(window.gap_ns, 1400);
}

struct spin_case {
	uint64_t gap_ns, max_ns;
	unsigned in_flight;
	uint64_t window_ns;
};

static const struct spin_case spin_cases[] = {
	{ 2000, 20000, 1, 4000 },   { 100, 20000, 1, 1000 },         { 15000, 20000, 1, 20000 },
	{ 20000, 20000, 1, 20000 }, { 20001, 20000, 1, 0 },          { 2000, 20000, 0, 0 },
	{ 2000, 0, 1, 0 },          { UINT64_MAX, 20000, 1, 0 },     { 0, 0, 1, 0 },
	{ 100, 500, 1, 500 },       { UINT64_MAX - 1, 20000, 1, 0 },
};

static void test_spin_when_gaps_are_short_then_two_of_them(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(spin_cases); i++) {
		const struct spin_case *it = &spin_cases[i];
		const struct iopoll_window window = { .gap_ns = it->gap_ns, .last_ns = 1000000 };
		const struct iopoll_window_params some = { .spin_ns_max = it->max_ns };
		uint64_t until = iopoll_window_spin_until(&window, &some, it->in_flight);

		assert_int_equal(until, it->window_ns ? 1000000 + it->window_ns : 0);
	}
}

struct sleep_case {
	uint64_t gap_ns, late_ns;
	unsigned max, in_flight, skip;
};

static const struct sleep_case sleep_cases[] = {
	{ 1000, 50000, 16, 64, 15 }, /* the most */
	{ 1000, 50000, 16, 8, 3 },   /* half of what is in flight */
	{ 1000, 50000, 16, 3, 0 },   { 1000, 50000, 16, 0, 0 },
	{ 10000, 50000, 16, 64, 4 }, /* what comes in time */
	{ 40000, 50000, 16, 64, 0 }, { 60000, 50000, 16, 64, 0 },
	{ 1000, 0, 16, 64, 0 },      { 0, 0, 16, 64, 0 },
	{ 0, 50000, 16, 64, 15 },    { 1000, 50000, 0, 64, 0 },
	{ 1000, 50000, 1, 64, 0 },   { UINT64_MAX, 50000, 16, 64, 0 },
};

static void test_sleep_when_completions_are_dense_then_one_interrupt_for_several(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sleep_cases); i++) {
		const struct sleep_case *it = &sleep_cases[i];
		const struct iopoll_window window = { .gap_ns = it->gap_ns };
		const struct iopoll_window_params some = { .coalesce_ns_max = it->late_ns,
							   .coalesce_max = it->max };
		struct iopoll_sleep sleep =
			iopoll_window_sleep(&window, &some, it->in_flight, 1000);

		assert_int_equal(sleep.skip, it->skip);
		if (sleep.skip)
			assert_int_equal(sleep.deadline_ns, 1000 + it->late_ns);
		else
			assert_true(sleep.deadline_ns == UINT64_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_when_new_then_it_sleeps_for_the_first),
		cmocka_unit_test(test_window_when_the_gap_is_steady_then_it_is_learnt),
		cmocka_unit_test(test_window_when_there_was_a_pause_then_it_recovers_soon),
		cmocka_unit_test(test_window_when_the_clock_goes_back_then_no_harm),
		cmocka_unit_test(test_spin_when_gaps_are_short_then_two_of_them),
		cmocka_unit_test(
			test_sleep_when_completions_are_dense_then_one_interrupt_for_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
