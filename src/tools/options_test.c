// SPDX-License-Identifier: MIT
/* Command lines: what is understood, and the sentence for what is not. */
#include "tools/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct target {
	bool flag;
	uint64_t number, size, time_ns;
	const char *text;
	unsigned choice;
};

static const char *const colours[] = { "red", "green", NULL };

#define AT(field) offsetof(struct target, field)

static const struct option_spec specs[] = {
	{ .name = "flag", .kind = OPTION_FLAG, .offset = AT(flag) },
	{ .name = "number",
	  .value = "N",
	  .kind = OPTION_NUMBER,
	  .offset = AT(number),
	  .min = 2,
	  .max = 9 },
	{ .name = "size", .value = "N", .kind = OPTION_SIZE, .offset = AT(size) },
	{ .name = "time", .value = "T", .kind = OPTION_SECONDS, .offset = AT(time_ns) },
	{ .name = "text", .value = "W", .kind = OPTION_TEXT, .offset = AT(text) },
	{ .name = "choice",
	  .value = "C",
	  .kind = OPTION_CHOICE,
	  .offset = AT(choice),
	  .choices = colours },
	{ .name = NULL },
};

static const struct option_table table = { .command = "x", .positional = "Y", .specs = specs };

struct outcome {
	int ret;
	struct target target;
	struct options_parsed parsed;
	struct error error;
};

/* words: up to four, NULL ends them. */
static struct outcome parse(const char *const *words)
{
	struct outcome outcome = { 0 };
	int count = 0;

	while (count < 4 && words[count])
		count++;
	outcome.ret = options_parse(&table, count, (char **)words, &outcome.target, &outcome.parsed,
				    &outcome.error);
	return outcome;
}

static void test_words_when_good_then_the_target_has_them(void **state)
{
	struct outcome o = parse((const char *[4]){ "--flag", "--number=5", "--text", "a=b" });

	assert_int_equal(o.ret, 0);
	assert_true(o.target.flag);
	assert_int_equal(o.target.number, 5);
	assert_string_equal(o.target.text, "a=b");
	assert_int_equal(o.parsed.count, 3);
	assert_string_equal(o.parsed.given[0].value, "1");
	assert_string_equal(o.parsed.given[2].spec->name, "text");
	assert_true(parse((const char *[4]){ "--flag=1" }).target.flag);
	assert_false(parse((const char *[4]){ "--flag", "--flag=0" }).target.flag);
	o = parse((const char *[4]){ "uri", "--choice", "green", "--text=" });
	assert_int_equal(o.ret, 0);
	assert_int_equal(o.target.choice, 1);
	assert_string_equal(o.parsed.positional, "uri");
	assert_string_equal(o.target.text, "");
	assert_int_equal(parse((const char *[4]){ "--flag", "--help", "--bad" }).ret, 1);
	assert_int_equal(parse((const char *[4]){ "-h" }).ret, 1);
}

static void test_words_when_the_table_takes_them_then_kept_in_order(void **state)
{
	struct option_table takes_two = table;
	struct options_parsed parsed;
	struct target target = { 0 };
	struct error error;
	char *words[] = { "a", "b", "--flag", "c=1", "d" };

	takes_two.words_max = 2;
	assert_int_equal(options_parse(&takes_two, 4, words, &target, &parsed, &error), 0);
	assert_string_equal(parsed.positional, "a");
	assert_int_equal(parsed.word_count, 2);
	assert_string_equal(parsed.words[0], "b");
	assert_string_equal(parsed.words[1], "c=1");
	assert_true(target.flag);
	assert_int_equal(options_parse(&takes_two, 5, words, &target, &parsed, &error), -EINVAL);
	assert_string_equal(error.text, "'d' is one argument too many");
}

static void test_numbers_when_they_have_suffixes_then_scaled(void **state)
{
	static const struct {
		const char *word;
		uint64_t size, time_ns;
	} cases[] = {
		{ "--size=0", 0, 0 },
		{ "--size=512", 512, 0 },
		{ "--size=4k", 4096, 0 },
		{ "--size=4K", 4096, 0 },
		{ "--size=4KiB", 4096, 0 },
		{ "--size=0x10", 16, 0 },
		{ "--size=3m", 3 << 20, 0 },
		{ "--size=2g", 2ull << 30, 0 },
		{ "--size=1t", 1ull << 40, 0 },
		{ "--time=10", 0, 10000000000ull },
		{ "--time=10s", 0, 10000000000ull },
		{ "--time=250ms", 0, 250000000ull },
		{ "--time=2m", 0, 120000000000ull },
		{ "--time=1h", 0, 3600000000000ull },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome o = parse((const char *[4]){ cases[i].word });

		assert_int_equal(o.ret, 0);
		assert_int_equal(o.target.size, cases[i].size);
		assert_int_equal(o.target.time_ns, cases[i].time_ns);
	}
}

static void test_words_when_bad_then_a_sentence_names_them(void **state)
{
	static const struct {
		const char *words[4];
		int code;
		const char *text;
	} cases[] = {
		{ { "--nope" }, -EINVAL, "there is no option --nope, see --help" },
		{ { "--nope=1" }, -EINVAL, "there is no option --nope, see --help" },
		{ { "--num=3" }, -EINVAL, "there is no option --num, see --help" },
		{ { "-n" }, -EINVAL, "there is no option -n, see --help" },
		{ { "a", "b" }, -EINVAL, "'b' is one argument too many" },
		{ { "--flag=on" }, -EINVAL, "--flag takes no value but 0 and 1" },
		{ { "--flag=" }, -EINVAL, "--flag takes no value but 0 and 1" },
		{ { "--number" }, -EINVAL, "--number needs a value" },
		{ { "--number=" }, -EINVAL, "--number=: a number is wanted" },
		{ { "--number=4k" }, -EINVAL, "--number=4k: a number is wanted" },
		{ { "--number=-4" }, -EINVAL, "--number=-4: a number is wanted" },
		{ { "--number= 4" }, -EINVAL, "--number= 4: a number is wanted" },
		{ { "--number=1" }, -ERANGE, "--number=1 is out of range (2 to 9)" },
		{ { "--number=10" }, -ERANGE, "--number=10 is out of range (2 to 9)" },
		{ { "--size=4x" }, -EINVAL, "--size=4x: a size such as 4k is wanted" },
		{ { "--size=4 k" }, -EINVAL, "--size=4 k: a size such as 4k is wanted" },
		{ { "--size=99999999t" },
		  -ERANGE,
		  "--size=99999999t is out of range (0 to 18446744073709551615)" },
		{ { "--size=99999999999999999999" },
		  -ERANGE,
		  "--size=99999999999999999999 is out of range (0 to 18446744073709551615)" },
		{ { "--time=1d" }, -EINVAL, "--time=1d: a time such as 10 or 500ms is wanted" },
		{ { "--choice=blue" }, -EINVAL, "--choice=blue: there are red green" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome o = parse(cases[i].words);

		assert_int_equal(o.ret, cases[i].code);
		assert_string_equal(o.error.text, cases[i].text);
	}
}

static void test_words_when_too_many_then_refused(void **state)
{
	char *words[OPTIONS_GIVEN_MAX + 1];
	struct options_parsed parsed;
	struct target target = { 0 };
	struct error error;

	for (unsigned i = 0; i <= OPTIONS_GIVEN_MAX; i++)
		words[i] = "--flag";
	assert_int_equal(options_parse(&table, OPTIONS_GIVEN_MAX, words, &target, &parsed, &error),
			 0);
	assert_int_equal(options_parse(&table, OPTIONS_GIVEN_MAX + 1, words, &target, &parsed,
				       &error),
			 -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_when_good_then_the_target_has_them),
		cmocka_unit_test(test_words_when_the_table_takes_them_then_kept_in_order),
		cmocka_unit_test(test_numbers_when_they_have_suffixes_then_scaled),
		cmocka_unit_test(test_words_when_bad_then_a_sentence_names_them),
		cmocka_unit_test(test_words_when_too_many_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
