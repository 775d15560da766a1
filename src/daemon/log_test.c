/* SPDX-License-Identifier: MIT */
/* How many lines a peer can cause: a table of times and what may be said at them. */
#include "daemon/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_log_when_lines_are_many_then_a_burst_and_silence(void **state)
{
	struct log_limit limit = { 0 };
	unsigned i;

	for (i = 0; i < LOG_BURST; i++)
		assert_int_equal(log_ask(&limit, 1000 + i), LOG_SAY);
	assert_int_equal(log_ask(&limit, 2000), LOG_SAY_LAST);
	for (i = 0; i < 3 * LOG_BURST; i++)
		assert_int_equal(log_ask(&limit, 2001 + i), LOG_BE_QUIET);
	assert_int_equal(log_ask(&limit, 1000 + LOG_WINDOW_NS - 1), LOG_BE_QUIET);
}

static void test_log_when_the_window_has_ended_then_said_again(void **state)
{
	struct log_limit limit = { 0 };
	unsigned i;

	for (i = 0; i < 2 * LOG_BURST; i++)
		log_ask(&limit, 1000);
	for (i = 0; i < LOG_BURST; i++)
		assert_int_equal(log_ask(&limit, 1000 + LOG_WINDOW_NS), LOG_SAY);
	assert_int_equal(log_ask(&limit, 1000 + LOG_WINDOW_NS), LOG_SAY_LAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_when_lines_are_many_then_a_burst_and_silence),
		cmocka_unit_test(test_log_when_the_window_has_ended_then_said_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
