/* SPDX-License-Identifier: MIT */
/* Byte streams, whole and cut at every place, and what is found in them. */
#include "control/json_stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CUT "!JSON parse error, it ends within a value "
#define MISMATCH "!JSON parse error, brackets do not match "
#define DEEP "!JSON parse error, more than 64 levels of nesting "

struct found {
	char text[4096]; /* values as compact JSON and errors behind '!', each with a space behind it */
	size_t size;
};

static void note(struct found *found, const char *text)
{
	int more =
		snprintf(found->text + found->size, sizeof(found->text) - found->size, "%s ", text);

	assert_in_range(more, 0, sizeof(found->text) - found->size - 1);
	found->size += (size_t)more;
}

static void take_all(struct json_stream *stream, struct found *found)
{
	char text[sizeof(((struct error *)0)->text) + 1];
	struct error error;
	json_t *value;
	char *dumped;
	int result;

	while ((result = json_stream_next(stream, &value, &error)) != 0) {
		if (result < 0) {
			assert_int_equal(result, -EINVAL);
			snprintf(text, sizeof(text), "!%s", error.text);
			note(found, text);
			continue;
		}
		dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		note(found, dumped);
		free(dumped);
		json_decref(value);
	}
}

/* In pieces of these sizes: first, then the rest in pieces of step. */
static void find_in_pieces(const char *bytes, size_t size, size_t first, size_t step,
			   struct found *found)
{
	struct json_stream stream;
	size_t at = 0, piece = first;

	*found = (struct found){ 0 };
	json_stream_init(&stream, 1000);
	while (at < size) {
		piece = MIN(piece, size - at);
		assert_int_equal(json_stream_append(&stream, bytes + at, piece), 0);
		at += piece;
		piece = step;
		take_all(&stream, found);
		assert_true(json_stream_pending(&stream) <= at);
	}
	json_stream_fini(&stream);
}

static void expect(const char *bytes, size_t size, const char *expected)
{
	struct found found;
	size_t cut;

	for (cut = 0; cut <= size; cut++) {
		find_in_pieces(bytes, size, cut, size, &found);
		assert_string_equal(found.text, expected);
	}
	find_in_pieces(bytes, size, 1, 1, &found);
	assert_string_equal(found.text, expected);
}

#define EXPECT(bytes, expected) expect(bytes, sizeof(bytes) - 1, expected)

static void test_values_in_one_or_many_pieces(void **state)
{
	EXPECT("{}", "{} ");
	EXPECT("{\"a\": [1, {\"b\": null}]}{\"c\":2}\r\n\t {}",
	       "{\"a\":[1,{\"b\":null}]} {\"c\":2} {} ");
	EXPECT("[[],[{}]] {}", "[[],[{}]] {} ");
	EXPECT("42\n\"x\"\ntrue{}", "42 \"x\" true {} ");
	EXPECT(" \r\n\t", "");
	EXPECT("{\"a\":", "");
}

static void test_strings_with_anything(void **state)
{
	EXPECT("{\"}\":\"{[\"}", "{\"}\":\"{[\"} ");
	EXPECT("{\"a\":\"\\\"}\\\\\"}{}", "{\"a\":\"\\\"}\\\\\"} {} ");
	EXPECT("[\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\"]",
	       "[\"\xc3\xa9\xf0\x9f\x98\x80/\\b\\f\\n\\r\\t\"] ");
	EXPECT("[\"\xc3\xa9\"]", "[\"\xc3\xa9\"] ");
}

static void test_after_what_is_no_json(void **state)
{
	EXPECT("{\"a\": \"b\n{}", CUT "{} ");
	EXPECT("{\"a\": \"b\\\n{}", CUT "{} ");
	EXPECT("{\"a\": [1}{}", MISMATCH "{} ");
	EXPECT("[1}[2]", MISMATCH "[2] ");
	EXPECT("{\"a\": \xff{}", CUT "{} ");
	EXPECT("{\"a\": \"\xff{}", CUT "{} ");
	EXPECT("\xff\xff{}\xff", "{} ");
	EXPECT("{,}{}", "!JSON parse error, string or '}' expected near ',' {} ");
	EXPECT("{\"a\":1,\"a\":2}{}", "!JSON parse error, duplicate object key near '\"a\"' {} ");
	EXPECT("[99999999999999999999]{}",
	       "!JSON parse error, too big integer near '99999999999999999999' {} ");
	EXPECT("[\"\\ud800\"]{}",
	       "!JSON parse error, invalid Unicode '\\uD800' near '\"\\ud800\"' {} ");
}

static void test_garbage_ends_with_its_line(void **state)
{
	EXPECT("GET / HTTP/1.1\r\n{}", "!JSON parse error, invalid token near 'GET' {} ");
	EXPECT("}]{}", "!JSON parse error, unexpected token near '}' {} ");
	EXPECT("]\n]\n{}",
	       "!JSON parse error, unexpected token near ']' !JSON parse error, unexpected token near ']' {} ");
	EXPECT("1 2\n{}", "!JSON parse error, end of file expected near '2' {} ");
	EXPECT("12\xff{}", "12 {} ");
}

/* The library may say what it likes about a NUL; it is one mistake, and no string ends there. */
static void test_nul_bytes_are_mistakes(void **state)
{
	static const char *const cases[] = { "{\"a\": \"b~c\"}{}", "{~}{}", "~~\n{}",
					     "[\"\\u0000\"]{}" };
	char bytes[32];
	struct found found;
	size_t i, at, size, cut;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size = strlen(cases[i]);
		for (at = 0; at < size; at++)
			bytes[at] = cases[i][at] == '~' ? '\0' : cases[i][at];
		for (cut = 0; cut < size; cut++) {
			find_in_pieces(bytes, size, cut, 1, &found);
			assert_memory_equal(found.text, "!JSON parse error", 17);
			assert_string_equal(found.text + found.size - 4, " {} ");
			assert_null(strchr(found.text + 1, '!'));
		}
	}
}

static void test_nesting_is_bounded(void **state)
{
	char bytes[512], values[512];
	unsigned depth = JSON_STREAM_DEPTH;

	memset(bytes, '[', depth);
	memset(bytes + depth, ']', depth);
	memcpy(bytes + 2 * depth, "{}", 2);
	snprintf(values, sizeof(values), "%.*s {} ", (int)(2 * depth), bytes);
	expect(bytes, 2 * depth + 2, values);

	memset(bytes, '[', 400);
	memcpy(bytes + 400, "\n{}", 3);
	expect(bytes, 403, DEEP "{} ");
	memcpy(bytes + 400, "\xff{}", 3);
	expect(bytes, 403, DEEP "{} ");
}

static void test_what_waits_is_counted(void **state)
{
	struct json_stream stream;
	struct error error;
	json_t *value;

	json_stream_init(&stream, 1000);
	assert_int_equal(json_stream_append(&stream, "  {}{\"a\"", 8), 0);
	assert_int_equal(json_stream_pending(&stream), 8);
	assert_int_equal(json_stream_next(&stream, &value, &error), 1);
	json_decref(value);
	assert_int_equal(json_stream_pending(&stream), 4);
	assert_int_equal(json_stream_next(&stream, &value, &error), 0);
	assert_int_equal(json_stream_pending(&stream), 4);
	json_stream_fini(&stream);
}

static void test_too_long_a_value(void **state)
{
	struct json_stream stream;
	struct error error;
	json_t *value;

	json_stream_init(&stream, 6);
	assert_int_equal(json_stream_append(&stream, "[1234][12345]{}", 15), 0);
	assert_int_equal(json_stream_next(&stream, &value, &error), 1);
	json_decref(value);
	assert_int_equal(json_stream_next(&stream, &value, &error), -EMSGSIZE);
	assert_int_equal(json_stream_next(&stream, &value, &error), 1);
	json_decref(value);
	json_stream_fini(&stream);
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 16;
}

/* The same bytes give the same values however they are cut; and a line of its own is understood after anything. */
static void test_random_bytes_then_a_command(void **state)
{
	static const char alphabet[] = "{}[]\",:\\ \n\xff\x01"
				       "1atu";
	struct found whole, cut;
	char bytes[72];
	unsigned seed = 1, round;
	size_t i;

	for (round = 0; round < 20000; round++) {
		for (i = 0; i < 60; i++)
			bytes[i] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
		memcpy(bytes + 60, "\n\xff\n[\"end\"]", 10);
		find_in_pieces(bytes, 70, 70, 70, &whole);
		find_in_pieces(bytes, 70, next_random(&seed) % 70, 1 + next_random(&seed) % 7,
			       &cut);
		assert_string_equal(whole.text, cut.text);
		assert_string_equal(whole.text + whole.size - 8, "[\"end\"] ");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_in_one_or_many_pieces),
		cmocka_unit_test(test_strings_with_anything),
		cmocka_unit_test(test_after_what_is_no_json),
		cmocka_unit_test(test_garbage_ends_with_its_line),
		cmocka_unit_test(test_nul_bytes_are_mistakes),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_what_waits_is_counted),
		cmocka_unit_test(test_too_long_a_value),
		cmocka_unit_test(test_random_bytes_then_a_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
