// SPDX-License-Identifier: MIT
/* CPU lists: text to set, set to text, and what is refused. */
#include "base/cpu_list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parse_when_list_is_good_then_format_gives_it_back(void **state)
{
	static const struct {
		const char *text, *formatted;
		int count;
	} cases[] = {
		{ "0", "0", 1 },
		{ "0-3,8", "0-3,8", 5 },
		{ "0,1,2", "0-2", 3 },
		{ "8,0-3\n", "0-3,8", 5 },
		{ "1023", "1023", 1 },
		{ "5-5", "5", 1 },
		{ "0-1023", "0-1023", 1024 },
		{ "2-4,3-6", "2-6", 5 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cpu_set_t set;
		char text[64];

		assert_int_equal(cpu_list_parse(cases[i].text, &set, NULL), 0);
		assert_int_equal(CPU_COUNT(&set), cases[i].count);
		assert_string_equal(cpu_list_format(&set, text, sizeof(text)), cases[i].formatted);
	}
}

static void test_parse_when_list_is_bad_then_refused_and_set_untouched(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{ "", -EINVAL },      { ",", -EINVAL },      { "1,", -EINVAL },
		{ "-1", -EINVAL },    { "3-1", -EINVAL },    { "1-", -EINVAL },
		{ "1-2-3", -EINVAL }, { "a", -EINVAL },      { "1 2", -EINVAL },
		{ "+1", -EINVAL },    { "0x1", -EINVAL },    { "1\n\n", -EINVAL },
		{ "1024", -ERANGE },  { "0-1024", -ERANGE }, { "99999999999999999999", -ERANGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error = { 0 };
		cpu_set_t set;

		CPU_ZERO(&set);
		assert_int_equal(cpu_list_parse(cases[i].text, &set, &error), cases[i].code);
		assert_int_equal(error.code, cases[i].code);
		assert_int_equal(CPU_COUNT(&set), 0);
	}
}

static void test_format_when_buffer_is_small_then_whole_ranges_only(void **state)
{
	char text[8];
	cpu_set_t set;

	assert_int_equal(cpu_list_parse("0-3,100-200", &set, NULL), 0);
	assert_string_equal(cpu_list_format(&set, text, sizeof(text)), "0-3");
	assert_string_equal(cpu_list_format(&set, text, 4), "0-3");
	assert_string_equal(cpu_list_format(&set, text, 3), "");
	assert_string_equal(cpu_list_format(&set, text, 1), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_when_list_is_good_then_format_gives_it_back),
		cmocka_unit_test(test_parse_when_list_is_bad_then_refused_and_set_untouched),
		cmocka_unit_test(test_format_when_buffer_is_small_then_whole_ranges_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
