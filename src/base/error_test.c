// SPDX-License-Identifier: MIT
/* The error object. */
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_when_given_a_sentence_then_code_and_text(void **state)
{
	struct error error = { 0 };

	assert_int_equal(error_set(&error, -EINVAL, "iothread '%s' does not exist", "io7"),
			 -EINVAL);
	assert_int_equal(error.code, -EINVAL);
	assert_string_equal(error.text, "iothread 'io7' does not exist");
	assert_int_equal(error_prefix(&error, "--export %s", "a"), -EINVAL);
	assert_string_equal(error.text, "--export a: iothread 'io7' does not exist");
}

static void test_set_when_nobody_wants_the_text_then_code_only(void **state)
{
	assert_int_equal(error_set(NULL, -EIO, "%d", 1), -EIO);
}

static void test_set_when_text_holds_control_characters_then_tamed(void **state)
{
	struct error error;

	error_set(&error, -EINVAL, "a%sb", "\n\033[31m\177");
	assert_string_equal(error.text, "a??[31m?b");
}

static void test_set_when_text_is_long_then_cut_and_terminated(void **state)
{
	char text[2 * sizeof(((struct error *)0)->text)];
	struct error error;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&error, -EINVAL, "%s", text);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
	error_prefix(&error, "%s", text);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_when_given_a_sentence_then_code_and_text),
		cmocka_unit_test(test_set_when_nobody_wants_the_text_then_code_only),
		cmocka_unit_test(test_set_when_text_holds_control_characters_then_tamed),
		cmocka_unit_test(test_set_when_text_is_long_then_cut_and_terminated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
