// SPDX-License-Identifier: MIT
/* The window's arithmetic as a table of cases. */
#include "loop/poll_window.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct window_case {
	const char *what;
	struct poll_params params; /* max, grow, shrink */
	uint64_t before_ns, waited_ns, after_ns;
} window_cases[] = {
	{ "closed, soon: starts", { 32768, 0, 0 }, 0, 1000, 4000 },
	{ "closed, at once: stays closed", { 32768, 0, 0 }, 0, 0, 0 },
	{ "start is limited by max", { 3000, 0, 0 }, 0, 1000, 3000 },
	{ "within the window: stays", { 32768, 0, 0 }, 8000, 7999, 8000 },
	{ "at the window's end: stays", { 32768, 0, 0 }, 8000, 8000, 8000 },
	{ "just later: doubles", { 32768, 0, 0 }, 8000, 8001, 16000 },
	{ "just under max: doubles", { 32768, 0, 0 }, 8000, 32767, 16000 },
	{ "at max: neither", { 32768, 0, 0 }, 8000, 32768, 8000 },
	{ "over max: closed", { 32768, 0, 0 }, 8000, 32769, 0 },
	{ "over max, shrink 2: halves", { 32768, 0, 2 }, 8000, 32769, 4000 },
	{ "over max, shrink 1: stays", { 32768, 0, 1 }, 8000, 32769, 8000 },
	{ "over max, shrink larger than window", { 32768, 0, 9000 }, 8000, 32769, 0 },
	{ "grow 3", { 100000, 3, 0 }, 8000, 9000, 24000 },
	{ "grow 1: stays", { 100000, 1, 0 }, 8000, 9000, 8000 },
	{ "growth is limited by max", { 32768, 0, 0 }, 20000, 30000, 32768 },
	{ "growth beyond 64 bits is limited",
	  { UINT64_MAX - 1, UINT64_MAX, 0 },
	  8000,
	  9000,
	  UINT64_MAX - 1 },
	{ "full window, event within: stays", { 32768, 0, 0 }, 32768, 100, 32768 },
	{ "no polling: closed", { 0, 0, 0 }, 8000, 100, 0 },
	{ "no polling, shrink 2: closed", { 0, 0, 2 }, 8000, 9000, 0 },
	{ "max was lowered: follows", { 4000, 0, 0 }, 8000, 100, 4000 },
	{ "max was lowered, shrink: follows", { 1000, 0, 2 }, 8000, 9000, 1000 },
};

static void test_poll_window_update_in_each_case_gives_the_window_of_the_table(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(window_cases); i++) {
		const struct window_case *c = &window_cases[i];
		struct poll_window window = { .ns = c->before_ns };

		poll_window_update(&window, &c->params, c->waited_ns);
		if (window.ns != c->after_ns)
			fail_msg("%s: %ju, not %ju", c->what, (uintmax_t)window.ns,
				 (uintmax_t)c->after_ns);
	}
}

static void
test_poll_window_update_when_events_come_regularly_grows_until_it_catches_them(void **state)
{
	const struct poll_params params = { .max_ns = 100000 };
	struct poll_window window = { .ns = 0 };
	unsigned late = 0;

	for (unsigned i = 0; i < 20; i++) {
		late += window.ns < 30000;
		poll_window_update(&window, &params, 30000);
	}
	assert_int_equal(late, 4); /* 0, 4000, 8000, 16000 */
	assert_int_equal(window.ns, 32000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_poll_window_update_in_each_case_gives_the_window_of_the_table),
		cmocka_unit_test(
			test_poll_window_update_when_events_come_regularly_grows_until_it_catches_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
