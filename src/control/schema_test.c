/* SPDX-License-Identifier: MIT */
/* What fits the types of the schema, and the sentences about what does not. */
#include "control/schema.h"

#include "control/qmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct check {
	const char *type, *json;
	const char *sentence; /* NULL: it fits */
};

static void check_all(const struct check *checks, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct error error = { .text = "" };
		json_t *value = json_loads(checks[i].json, JSON_DECODE_ANY, NULL);
		int result;

		assert_non_null(value);
		result = qmp_schema_check(checks[i].type, value, &error);
		json_decref(value);
		assert_string_equal(error.text, checks[i].sentence ? checks[i].sentence : "");
		assert_int_equal(result, checks[i].sentence ? error.code : 0);
		assert_true(result <= 0);
	}
}

#define CHECK_ALL(checks) check_all(checks, ARRAY_SIZE(checks))

static void test_members(void **state)
{
	static const struct check checks[] = {
		{ "block_resize", "{\"node-name\": \"n\", \"size\": 1}", NULL },
		{ "block_resize", "{\"size\": 1}", "Parameter 'node-name' is missing" },
		{ "block_resize", "{\"node-name\": \"n\"}", "Parameter 'size' is missing" },
		{ "block_resize", "{\"node-name\": \"n\", \"size\": 1, \"x\": 1}",
		  "Parameter 'x' is unexpected" },
		{ "block_resize", "{\"node-name\": 1, \"size\": 1}",
		  "Invalid parameter type for 'node-name', expected: string" },
		{ "block_resize", "{\"node-name\": null, \"size\": 1}",
		  "Invalid parameter type for 'node-name', expected: string" },
		{ "block_resize", "{\"node-name\": \"n\", \"size\": \"1\"}",
		  "Invalid parameter type for 'size', expected: integer" },
		{ "block_resize", "{\"node-name\": \"n\", \"size\": 1.0}",
		  "Invalid parameter type for 'size', expected: integer" },
		{ "quit", "{}", NULL },
		{ "quit", "{\"now\": true}", "Parameter 'now' is unexpected" },
		{ "query-named-block-nodes", "{\"flat\": 1}",
		  "Invalid parameter type for 'flat', expected: boolean" },
		{ "qom-set", "{\"path\": \"a\", \"property\": \"b\", \"value\": [null]}", NULL },
		{ "DEVICE_DELETED", "{\"path\": \"/a\"}", NULL },
		{ "VersionTriple", "{\"major\": -1, \"minor\": 0, \"micro\": 0}", NULL },
	};

	CHECK_ALL(checks);
}

static void test_unions(void **state)
{
	static const struct check checks[] = {
		{ "blockdev-add", "{\"driver\": \"ram\", \"node-name\": \"n\", \"size\": 1}",
		  NULL },
		{ "blockdev-add", "{\"size\": 1}", "Parameter 'driver' is missing" },
		{ "blockdev-add", "{\"driver\": \"floppy\"}",
		  "Parameter 'driver' does not accept value 'floppy'" },
		{ "blockdev-add", "{\"driver\": 1}",
		  "Invalid parameter type for 'driver', expected: string" },
		{ "blockdev-add", "{\"driver\": \"ram\"}", "Parameter 'size' is missing" },
		{ "blockdev-add", "{\"driver\": \"ram\", \"size\": -1}",
		  "Parameter 'size' expects uint64_t" },
		{ "blockdev-add", "{\"driver\": \"ram\", \"size\": 1, \"filename\": \"f\"}",
		  "Parameter 'filename' is unexpected" },
		{ "blockdev-add",
		  "{\"driver\": \"file\", \"filename\": \"f\", \"cache\": {\"direct\": 1}}",
		  "Invalid parameter type for 'cache.direct', expected: boolean" },
		{ "blockdev-add",
		  "{\"driver\": \"file\", \"filename\": \"f\", \"cache\": {\"driect\": true}}",
		  "Parameter 'cache.driect' is unexpected" },
		{ "blockdev-add", "{\"driver\": \"file\", \"filename\": \"f\", \"cache\": []}",
		  "Invalid parameter type for 'cache', expected: object" },
	};

	CHECK_ALL(checks);
}

static void test_arrays(void **state)
{
#define EXPORT \
	"{\"type\": \"vhost-user-scsi\", \"id\": \"e\", \"addr\": {\"type\": \"unix\", \"path\": \"p\"}, "
	static const struct check checks[] = {
		{ "block-export-add",
		  EXPORT "\"iothread-vq-mapping\": [{\"iothread\": \"a\", \"vqs\": [0, 65535]}]}",
		  NULL },
		{ "block-export-add",
		  EXPORT "\"iothread-vq-mapping\": [{\"iothread\": \"a\"}, {\"vqs\": [0]}]}",
		  "Parameter 'iothread-vq-mapping[1].iothread' is missing" },
		{ "block-export-add",
		  EXPORT "\"iothread-vq-mapping\": [{\"iothread\": \"a\", \"vqs\": [0, 65536]}]}",
		  "Parameter 'iothread-vq-mapping[0].vqs[1]' expects uint16_t" },
		{ "block-export-add", EXPORT "\"iothread-vq-mapping\": {}}",
		  "Invalid parameter type for 'iothread-vq-mapping', expected: array" },
		{ "block-export-add", EXPORT "\"node-name\": \"n\"}",
		  "Parameter 'node-name' is unexpected" },
		{ "block-export-add", EXPORT "\"num-queues\": -1}",
		  "Parameter 'num-queues' expects uint16_t" },
	};

	CHECK_ALL(checks);
}

static void test_alternates(void **state)
{
	static const struct check checks[] = {
		{ "blockdev-add", "{\"driver\": \"delay\", \"file\": \"n\"}", NULL },
		{ "blockdev-add",
		  "{\"driver\": \"delay\", \"file\": {\"driver\": \"ram\", \"size\": 1}}", NULL },
		{ "blockdev-add", "{\"driver\": \"delay\", \"file\": {\"driver\": \"ram\"}}",
		  "Parameter 'file.size' is missing" },
		{ "blockdev-add", "{\"driver\": \"delay\", \"file\": 1}",
		  "Invalid parameter type for 'file', expected: BlockdevRef" },
		{ "object-add", "{\"qom-type\": \"iothread\", \"id\": \"t\", \"cpus\": [0, 3]}",
		  NULL },
		{ "object-add", "{\"qom-type\": \"iothread\", \"id\": \"t\", \"cpus\": \"0-3\"}",
		  NULL },
		{ "object-add", "{\"qom-type\": \"iothread\", \"id\": \"t\", \"cpus\": [\"0\"]}",
		  "Invalid parameter type for 'cpus[0]', expected: integer" },
		{ "device_add",
		  "{\"driver\": \"scsi-hd\", \"drive\": \"n\", \"bus\": \"e.0\", \"wwn\": 5764607523034234880}",
		  NULL },
		{ "device_add",
		  "{\"driver\": \"scsi-hd\", \"drive\": \"n\", \"bus\": \"e.0\", \"wwn\": true}",
		  "Invalid parameter type for 'wwn', expected: WorldWideName" },
	};

	CHECK_ALL(checks);
}

/* A value that nests as deeply as the parser lets through, and a name longer than a sentence. */
static void test_sentences_have_a_bound(void **state)
{
	struct error error;
	char name[1000];
	json_t *top = json_string("n"), *outer;
	unsigned depth;

	for (depth = 0; depth < 60; depth++) {
		outer = json_pack("{s:s, s:o}", "driver", "delay", "file", top);
		top = outer;
	}
	assert_int_equal(qmp_schema_check("blockdev-add", top, &error), 0);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	json_object_set_new(json_object_get(top, "file"), name, json_true());
	assert_true(qmp_schema_check("blockdev-add", top, &error) < 0);
	assert_memory_equal(error.text, "Parameter 'file.xxx", 19);
	json_decref(top);
}

static void test_what_commands_return(void **state)
{
	struct error error = { .text = "" };
	json_t *empty = json_object(), *list = json_pack("[{s:s}]", "name", "quit");

	assert_int_equal(qmp_schema_check_return("quit", empty, &error), 0);
	assert_int_equal(qmp_schema_check_return("query-commands", list, &error), 0);
	assert_true(qmp_schema_check_return("quit", list, &error) < 0);
	assert_string_equal(error.text, "Invalid parameter type for 'return', expected: nothing");
	json_object_set_new(json_array_get(list, 0), "x", json_true());
	assert_true(qmp_schema_check_return("query-commands", list, &error) < 0);
	assert_string_equal(error.text, "Parameter 'return[0].x' is unexpected");
	json_decref(empty);
	json_decref(list);
}

/* Each type that introspection mentions is there, and commands are those of the tables. */
static json_t *find_info(json_t *infos, const char *name)
{
	size_t index;
	json_t *info;

	json_array_foreach(infos, index, info)
	{
		if (!strcmp(json_string_value(json_object_get(info, "name")), name))
			return info;
	}
	return NULL;
}

static void check_mentioned(json_t *infos, json_t *value)
{
	static const char *const keys[] = { "type", "arg-type", "ret-type", "element-type" };
	const char *key;
	size_t i, index;
	json_t *item;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		item = json_object_get(value, keys[i]);
		if (item)
			assert_non_null(find_info(infos, json_string_value(item)));
	}
	json_array_foreach(value, index, item) check_mentioned(infos, item);
	json_object_foreach(value, key, item) check_mentioned(infos, item);
}

static void test_introspection_is_complete(void **state)
{
	json_t *infos = qmp_schema_introspect(), *info;
	unsigned i;

	assert_non_null(infos);
	check_mentioned(infos, infos);
	for (i = 0; i < qmp_command_count; i++) {
		info = find_info(infos, qmp_commands[i].name);
		assert_string_equal(json_string_value(json_object_get(info, "meta-type")),
				    "command");
	}
	info = find_info(infos, "BlockdevOptions");
	assert_string_equal(json_string_value(json_object_get(info, "tag")), "driver");
	info = json_array_get(json_object_get(find_info(infos, "block-export-del-arg"), "members"),
			      1);
	assert_string_equal(json_string_value(json_object_get(info, "name")), "mode");
	assert_true(json_is_null(json_object_get(info, "default")));
	json_decref(infos);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_unions),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_alternates),
		cmocka_unit_test(test_sentences_have_a_bound),
		cmocka_unit_test(test_what_commands_return),
		cmocka_unit_test(test_introspection_is_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
