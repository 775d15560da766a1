// SPDX-License-Identifier: MIT
/* Words of a command line to the arguments of commands, with the schema and without. */
#include "control/qmp.h"
#include "tools/ctl_arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 6

struct sample {
	const char *command;
	const char *words[WORDS_MAX];
	const char *expected; /* JSON with sorted keys, or a sentence behind '!' */
};

static void check_sample(const json_t *schema, const struct sample *sample)
{
	struct error error = { .text = "" };
	json_t *arguments = NULL;
	char text[sizeof(error.text) + 1], *dumped;
	unsigned count = 0;
	int result;

	while (count < WORDS_MAX && sample->words[count])
		count++;
	result = ctl_arguments_make(schema, sample->command, sample->words, count, &arguments,
				    &error);
	if (result) {
		assert_int_equal(result, error.code);
		assert_null(arguments);
		snprintf(text, sizeof(text), "!%s", error.text);
		assert_string_equal(text, sample->expected);
		return;
	}
	dumped = json_dumps(arguments, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(dumped, sample->expected);
	free(dumped);
	json_decref(arguments);
}

static void check_samples(const json_t *schema, const struct sample *samples, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		check_sample(schema, &samples[i]);
}

static void test_types_come_from_the_schema(void **state)
{
	static const struct sample samples[] = {
		{ "block_resize",
		  { "node-name=7", "size=1G" },
		  "{\"node-name\":\"7\",\"size\":1073741824}" },
		{ "block_resize",
		  { "node-name=true", "size=-0x10k" },
		  "{\"node-name\":\"true\",\"size\":-16384}" },
		{ "block_resize", { "size=1.5G" }, "{\"size\":\"1.5G\"}" },
		{ "block_resize", { "size=" }, "{\"size\":\"\"}" },
		{ "block_resize", { "size=9223372036854775807" }, "{\"size\":9223372036854775807}" },
		{ "block_resize",
		  { "size=9223372036854775808" },
		  "{\"size\":\"9223372036854775808\"}" },
		{ "block_resize", { "size=8E" }, "{\"size\":\"8E\"}" },
		{ "block_resize", { "size=7E" }, "{\"size\":8070450532247928832}" },
		{ "block_resize", { "size=1kk" }, "{\"size\":\"1kk\"}" },
		{ "query-named-block-nodes", { "flat=on" }, "{\"flat\":true}" },
		{ "query-named-block-nodes", { "flat=no" }, "{\"flat\":false}" },
		{ "query-named-block-nodes", { "flat=1" }, "{\"flat\":\"1\"}" },
		{ "qom-set",
		  { "path=1", "property=poll-max-ns", "value=1000" },
		  "{\"path\":\"1\",\"property\":\"poll-max-ns\",\"value\":1000}" },
		{ "qom-set", { "value=x=y" }, "{\"value\":\"x=y\"}" },
		{ "object-add",
		  { "qom-type=iothread", "id=1", "cpus=0-3,8", "poll-max-ns=32k" },
		  "{\"cpus\":\"0-3,8\",\"id\":\"1\",\"poll-max-ns\":32768,\"qom-type\":\"iothread\"}" },
		{ "object-add",
		  { "qom-type=iothread", "id=t", "cpus.0=1", "cpus.1=3" },
		  "{\"cpus\":[1,3],\"id\":\"t\",\"qom-type\":\"iothread\"}" },
		{ "device_add",
		  { "driver=scsi-hd", "wwn=0x5000c50015ea71ac", "lun=1" },
		  "{\"driver\":\"scsi-hd\",\"lun\":1,\"wwn\":\"0x5000c50015ea71ac\"}" },
		{ "query-version", { NULL }, "{}" },
	};
	json_t *schema = qmp_schema_introspect();

	check_samples(schema, samples, ARRAY_SIZE(samples));
	json_decref(schema);
}

static void test_dots_make_members_and_lists(void **state)
{
	static const struct sample samples[] = {
		{ "blockdev-add",
		  { "driver=file", "node-name=1", "filename=2", "cache.direct=on" },
		  "{\"cache\":{\"direct\":true},\"driver\":\"file\",\"filename\":\"2\",\"node-name\":\"1\"}" },
		{ "blockdev-add",
		  { "file=n", "driver=delay", "latency-ns=5" },
		  "{\"driver\":\"delay\",\"file\":\"n\",\"latency-ns\":5}" },
		{ "blockdev-add",
		  { "file.size=1M", "driver=delay", "file.driver=ram" },
		  "{\"driver\":\"delay\",\"file\":{\"driver\":\"ram\",\"size\":1048576}}" },
		{ "blockdev-add",
		  { "driver=error", "ops.1=write", "ops.0=read" },
		  "{\"driver\":\"error\",\"ops\":[\"read\",\"write\"]}" },
		{ "block-export-add",
		  { "iothread-vq-mapping.0.iothread=0", "iothread-vq-mapping.0.vqs.0=1",
		    "iothread-vq-mapping.0.vqs.1=2", "addr.path=/a.b", "addr.type=unix" },
		  "{\"addr\":{\"path\":\"/a.b\",\"type\":\"unix\"},"
		  "\"iothread-vq-mapping\":[{\"iothread\":\"0\",\"vqs\":[1,2]}]}" },
		{ "block-export-add",
		  { "iothread-vq-mapping.1.iothread=a" },
		  "!a list of 1 elements has no element 0" },
	};
	json_t *schema = qmp_schema_introspect();

	check_samples(schema, samples, ARRAY_SIZE(samples));
	json_decref(schema);
}

static void test_json_is_taken_as_it_is(void **state)
{
	static const struct sample samples[] = {
		{ "block-export-add",
		  { "iothread-vq-mapping=[{\"iothread\": \"a\", \"vqs\": [\"0\"]}]" },
		  "{\"iothread-vq-mapping\":[{\"iothread\":\"a\",\"vqs\":[\"0\"]}]}" },
		{ "blockdev-add",
		  { "driver=raw", "file={\"driver\": \"ram\", \"size\": \"1\"}" },
		  "{\"driver\":\"raw\",\"file\":{\"driver\":\"ram\",\"size\":\"1\"}}" },
		{ "blockdev-add",
		  { "{\"driver\": \"ram\", \"size\": \"1\"}", "node-name=1" },
		  "{\"driver\":\"ram\",\"node-name\":\"1\",\"size\":\"1\"}" },
		{ "blockdev-add",
		  { "{\"driver\": \"ram\"}", "size=1k" },
		  "{\"driver\":\"ram\",\"size\":1024}" },
		{ "blockdev-add",
		  { "filename=[not JSON", "driver=file" },
		  "{\"driver\":\"file\",\"filename\":\"[not JSON\"}" },
		{ "blockdev-add",
		  { "driver=ram", "{\"driver\": \"ram\"}" },
		  "!'driver' is given twice" },
	};
	json_t *schema = qmp_schema_introspect();

	check_samples(schema, samples, ARRAY_SIZE(samples));
	json_decref(schema);
}

static void test_without_a_schema_values_look_like_what_they_are(void **state)
{
	static const struct sample samples[] = {
		{ "x",
		  { "a=1", "b=-2", "c=1G", "d=0x10", "e=01" },
		  "{\"a\":1,\"b\":-2,\"c\":\"1G\",\"d\":\"0x10\",\"e\":\"01\"}" },
		{ "x",
		  { "a=true", "b=false", "c=on", "d=null", "e=\"7\"" },
		  "{\"a\":true,\"b\":false,\"c\":\"on\",\"d\":null,\"e\":\"7\"}" },
		{ "x",
		  { "a.b.0=1", "a.b.1.c=x", "a.d=", "f.0=1" },
		  "{\"a\":{\"b\":[1,{\"c\":\"x\"}],\"d\":\"\"},\"f\":[1]}" },
	};

	check_samples(NULL, samples, ARRAY_SIZE(samples));
}

static void test_words_that_are_refused(void **state)
{
	static const struct sample samples[] = {
		{ "x", { "a" }, "!'a' is not KEY=VALUE" },
		{ "x", { "=a" }, "!'=a' is not KEY=VALUE" },
		{ "x", { "" }, "!'' is not KEY=VALUE" },
		{ "x", { "a=1", "a=1" }, "!'a' is given twice" },
		{ "x", { "a=1", "a.b=1" }, "!'a' has a value and members" },
		{ "x", { "a.b=1", "a=1" }, "!'a' is given twice" },
		{ "x", { "a={}", "a.b=1" }, "!'a' has a value and members" },
		{ "x", { "a=\xff" }, "!the value of 'a' is no UTF-8" },
		{ "x", { "\xff=1" }, "!a key is no UTF-8" },
		{ "x", { "{\"a\": 1" }, "!'{\"a\": 1' is no JSON: '}' expected near end of file" },
	};
	char word[2000];
	const char *words[] = { word };
	json_t *arguments = NULL;
	struct error error;

	check_samples(NULL, samples, ARRAY_SIZE(samples));
	memset(word, 'k', sizeof(word));
	memcpy(word + sizeof(word) - 3, "=1", 3);
	assert_true(ctl_arguments_make(NULL, "x", words, 1, &arguments, &error) < 0);
	assert_memory_equal(error.text, "the key of 'kkk", 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types_come_from_the_schema),
		cmocka_unit_test(test_dots_make_members_and_lists),
		cmocka_unit_test(test_json_is_taken_as_it_is),
		cmocka_unit_test(test_without_a_schema_values_look_like_what_they_are),
		cmocka_unit_test(test_words_that_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
