/* SPDX-License-Identifier: MIT */
/* Text with keys to a tree: tables of good lines with the JSON they mean, and of bad lines with the sentence they get. */
#include "daemon/keyval.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct good_line {
	const char *text, *implied_key, *json;
};

struct bad_line {
	const char *text, *implied_key, *sentence;
};

static const struct good_line good_lines[] = {
	{ "", NULL, "{}" },
	{ "a=b", NULL, "{\"a\":\"b\"}" },
	{ "a=", NULL, "{\"a\":\"\"}" },
	{ "a=b,", NULL, "{\"a\":\"b\"}" },
	{ "a=b,c=d", NULL, "{\"a\":\"b\",\"c\":\"d\"}" },
	{ "a=b=c", NULL, "{\"a\":\"b=c\"}" },
	{ "a=x,a=y", NULL, "{\"a\":\"y\"}" },
	{ "a=b,,c", NULL, "{\"a\":\"b,c\"}" },
	{ "a=,,", NULL, "{\"a\":\",\"}" },
	{ "a=,,,b=c", NULL, "{\"a\":\",\",\"b\":\"c\"}" },
	{ "file", "driver", "{\"driver\":\"file\"}" },
	{ "fi,,le,a=b", "driver", "{\"driver\":\"fi,le\",\"a\":\"b\"}" },
	{ "a=b", "driver", "{\"a\":\"b\"}" },
	{ "cache.direct=on,cache.no-flush=off", NULL,
	  "{\"cache\":{\"direct\":\"on\",\"no-flush\":\"off\"}}" },
	{ "v.0=a,v.1=b", NULL, "{\"v\":[\"a\",\"b\"]}" },
	{ "v.1=b,v.0=a", NULL, "{\"v\":[\"a\",\"b\"]}" },
	{ "m.0.t=x,m.0.q.0=1,m.0.q.1=2,m.1.t=y", NULL,
	  "{\"m\":[{\"t\":\"x\",\"q\":[\"1\",\"2\"]},{\"t\":\"y\"}]}" },
	{ "v.10=k,v.0=a,v.1=b,v.2=c,v.3=d,v.4=e,v.5=f,v.6=g,v.7=h,v.8=i,v.9=j", NULL,
	  "{\"v\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\"]}" },
	{ "{\"a\": {\"b\": [1, true]}}", "driver", "{\"a\":{\"b\":[1,true]}}" },
};

static const struct bad_line bad_lines[] = {
	{ "a", NULL, "Expected '=' after parameter 'a'" },
	{ "a=b,c", NULL, "Expected '=' after parameter 'c'" },
	{ "file,c", "driver", "Expected '=' after parameter 'c'" },
	{ ",a=b", "driver", "Expected '=' after parameter ''" },
	{ "=b", NULL, "Invalid parameter ''" },
	{ "a.=b", NULL, "Invalid parameter 'a.'" },
	{ ".a=b", NULL, "Invalid parameter '.a'" },
	{ "a..b=c", NULL, "Invalid parameter 'a..b'" },
	{ "a b=c", NULL, "Invalid parameter 'a b'" },
	{ "a=x,a.b=y", NULL, "Parameters 'a' and 'a.b' exclude each other" },
	{ "a.b=y,a=x", NULL, "Parameters 'a' and 'a.*' exclude each other" },
	{ "v.0=a,v.2=c", NULL, "Parameter 'v.1' is missing" },
	{ "v.1=a", NULL, "Parameter 'v.0' is missing" },
	{ "v.0=a,v.x=c", NULL, "Parameters 'v.*' are used inconsistently" },
	{ "0=a", NULL, "Parameters '*' are used inconsistently" },
	{ "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=b", NULL,
	  "Parameter 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a' has too many parts" },
	{ "{\"a\": 1, \"a\": 2}", NULL, "JSON, column 12: duplicate object key near '\"a\"'" },
	{ "{\"a\": 1} x", NULL, "JSON, column 10: end of file expected near 'x'" },
};

static void test_keyval_when_well_formed_then_tree(void **state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good_lines); i++) {
		const struct good_line *line = &good_lines[i];
		struct error error = { 0 };
		json_t *tree = NULL, *wanted = json_loads(line->json, 0, NULL);
		char *text;

		assert_non_null(wanted);
		assert_int_equal(keyval_parse(line->text, line->implied_key, &tree, &error), 0);
		text = json_dumps(tree, JSON_COMPACT);
		if (!json_equal(tree, wanted))
			fail_msg("'%s' became %s", line->text, text);
		free(text);
		json_decref(tree);
		json_decref(wanted);
	}
}

static void test_keyval_when_malformed_then_sentence_names_key(void **state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		struct error error = { 0 };
		json_t *tree = NULL;

		if (keyval_parse(bad_lines[i].text, bad_lines[i].implied_key, &tree, &error) == 0)
			fail_msg("'%s' was accepted", bad_lines[i].text);
		assert_null(tree);
		assert_string_equal(error.text, bad_lines[i].sentence);
	}
}

static void test_keyval_when_value_is_no_utf8_then_bytes_are_kept(void **state)
{
	struct error error;
	json_t *tree;

	assert_int_equal(keyval_parse("filename=/a/\xff\xfe", NULL, &tree, &error), 0);
	assert_string_equal(json_string_value(json_object_get(tree, "filename")), "/a/\xff\xfe");
	json_decref(tree);
}

static void test_keyval_when_key_is_huge_then_refused(void **state)
{
	char text[2048];
	struct error error;
	json_t *tree;

	memset(text, 'k', sizeof(text));
	memcpy(text + sizeof(text) - 4, "=ab", 4);
	assert_int_not_equal(keyval_parse(text, NULL, &tree, &error), 0);
	assert_int_not_equal(keyval_parse(text + sizeof(text) - 200, NULL, &tree, &error), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keyval_when_well_formed_then_tree),
		cmocka_unit_test(test_keyval_when_malformed_then_sentence_names_key),
		cmocka_unit_test(test_keyval_when_value_is_no_utf8_then_bytes_are_kept),
		cmocka_unit_test(test_keyval_when_key_is_huge_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
