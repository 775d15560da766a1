/* SPDX-License-Identifier: MIT */
/* Negotiation, the form of commands and answers, commands in pieces. */
#include "control/qmp_rig.h"

#include "control/schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- negotiation ---- */

static void test_greeting_comes_at_once(void **state)
{
	struct client client;
	json_t *greeting, *version;
	struct error error;

	connect_client(&client);
	greeting = json_loads(receive(&client), 0, NULL);
	version = json_object_get(json_object_get(greeting, "QMP"), "version");
	assert_int_equal(qmp_schema_check("VersionInfo", version, &error), 0);
	assert_true(
		json_is_array(json_object_get(json_object_get(greeting, "QMP"), "capabilities")));
	json_decref(greeting);
	assert_int_equal(client.outputs, 0);
	close_client(&client);
}

static void test_nothing_before_negotiation(void **state)
{
	struct client client;

	connect_client(&client);
	receive(&client);
	expect(&client, "{\"execute\": \"query-version\"}",
	       ERROR("CommandNotFound",
		     "Expecting capabilities negotiation with 'qmp_capabilities'"));
	expect(&client, "{\"execute\": \"nonsense\"}",
	       ERROR("CommandNotFound",
		     "Expecting capabilities negotiation with 'qmp_capabilities'"));
	expect(&client,
	       "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}",
	       ERROR("GenericError", "Capability oob not available"));
	qmp_event(rig.server, "SHUTDOWN", json_object());
	expect(&client, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}}",
	       DONE);
	expect(&client, HELLO,
	       ERROR("CommandNotFound",
		     "Capabilities negotiation is already complete, command ignored"));
	assert_int_equal(rig.ran, 0);
	close_client(&client);
}

/* ---- commands ---- */

static void test_form_of_commands(void **state)
{
	static const char *const cases[][2] = {
		{ "[]", ERROR("GenericError", "QMP input must be a JSON object") },
		{ "7\n", ERROR("GenericError", "QMP input must be a JSON object") },
		{ "{}", ERROR("GenericError", "QMP input lacks member 'execute'") },
		{ "{\"execute\": 1}",
		  ERROR("GenericError", "QMP input member 'execute' must be a string") },
		{ "{\"execute\": \"quit\", \"arguments\": []}",
		  ERROR("GenericError", "QMP input member 'arguments' must be an object") },
		{ "{\"execute\": \"quit\", \"x\": 1}",
		  ERROR("GenericError", "QMP input member 'x' is unexpected") },
		{ "{\"exec-oob\": \"quit\"}",
		  ERROR("GenericError", "QMP input member 'exec-oob' is unexpected") },
		{ "{\"execute\": \"nonsense\"}",
		  ERROR("CommandNotFound", "The command nonsense has not been found") },
		{ "{\"execute\": \"block_resize\"}",
		  ERROR("GenericError", "Parameter 'node-name' is missing") },
		{ "{\"execute\": \"quit\", \"arguments\": {\"a\": 1}}",
		  ERROR("GenericError", "Parameter 'a' is unexpected") },
		{ "hello\n",
		  ERROR("GenericError", "JSON parse error, invalid token near 'hello'") },
		{ "{\"execute\": \"a\\u001b[1m\"}",
		  ERROR("CommandNotFound", "The command a?[1m has not been found") },
		{ "\"\xe9\"\n",
		  "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, unable to decode byte 0xe9" },
	};
	struct client client;
	size_t i;

	open_client(&client);
	for (i = 0; i < ARRAY_SIZE(cases) - 1; i++)
		expect(&client, cases[i][0], cases[i][1]);
	feed(&client, cases[i][0]);
	assert_memory_equal(receive(&client), cases[i][1], strlen(cases[i][1]));
	assert_int_equal(rig.ran, 0);
	expect(&client, "{\"execute\": \"quit\"}", DONE);
	assert_int_equal(rig.ran, 1);
	close_client(&client);
}

static void test_ids_come_back(void **state)
{
	static const char *const ids[] = { "7",    "\"x\"", "null", "[1, {}]", "{\"a\": [\"b\"]}",
					   "true", "0.5" };
	char command[128], answer[256];
	struct client client;
	size_t i;

	open_client(&client);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		snprintf(command, sizeof(command), "{\"execute\": \"quit\", \"id\": %s}", ids[i]);
		snprintf(answer, sizeof(answer), "{\"return\": {}, \"id\": %s}\r\n", ids[i]);
		expect(&client, command, answer);
		snprintf(command, sizeof(command), "{\"id\": %s, \"execute\": \"no\"}", ids[i]);
		snprintf(
			answer, sizeof(answer),
			"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command no has not been found\"}, \"id\": %s}\r\n",
			ids[i]);
		expect(&client, command, answer);
		snprintf(command, sizeof(command), "{\"id\": %s, \"execute\": 1}", ids[i]);
		feed(&client, command);
		snprintf(answer, sizeof(answer), "\"id\": %s}\r\n", ids[i]);
		assert_non_null(strstr(receive(&client), answer));
	}
	close_client(&client);
}

static void test_classes_of_errors(void **state)
{
	struct client client;

	open_client(&client);
	expect(&client, "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"d0\"}}",
	       ERROR("DeviceNotFound", "'d0' fails?"));
	expect(&client, "{\"execute\": \"object-del\", \"arguments\": {\"id\": \"t\\u00e9\"}}",
	       ERROR("GenericError", "'t?\?' fails?"));
	close_client(&client);
}

static void test_values_pass_unchanged(void **state)
{
	struct client client;

	open_client(&client);
	expect(&client, ECHO("\"\\u00e9\\ud83d\\ude00\\\"\\\\\\n\xc3\xa9\""),
	       "{\"return\": \"\\u00E9\\uD83D\\uDE00\\\"\\\\\\n\\u00E9\"}\r\n");
	expect(&client, ECHO("[9223372036854775807, -9223372036854775808, {\"a\": null}]"),
	       "{\"return\": [9223372036854775807, -9223372036854775808, {\"a\": null}]}\r\n");
	close_client(&client);
}

static void test_what_the_protocol_answers_fits_the_schema(void **state)
{
	static const char *const names[] = { "query-version", "query-commands",
					     "query-qmp-schema" };
	struct client client;
	char command[64];
	struct error error;
	json_t *answer;
	size_t i;

	open_client(&client);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(command, sizeof(command), "{\"execute\": \"%s\"}", names[i]);
		feed(&client, command);
		answer = json_loads(receive(&client), 0, NULL);
		assert_int_equal(qmp_schema_check_return(names[i],
							 json_object_get(answer, "return"), &error),
				 0);
		if (i)
			assert_true(json_array_size(json_object_get(answer, "return")) >=
				    qmp_command_count);
		json_decref(answer);
	}
	close_client(&client);
}

static void test_pretty_is_the_same_on_more_lines(void **state)
{
	struct client client;

	open_client(&client);
	qmp_session_set_pretty(client.session);
	expect(&client, "{\"execute\": \"quit\"}", "{\n    \"return\": {}\n}\r\n");
	close_client(&client);
}

/* ---- pieces ---- */

static const char conversation[] = HELLO "{\"execute\":\"quit\",\"id\":1}\n garbage\n" ECHO(
	"\"}{\\\"\"") "{\"a\": \"\n{\"execute\":\n\"no\"}\xff[{}{\"execute\": \"quit\", \"id\": 2}";

static const char transcript[] = DONE "{\"return\": {}, \"id\": 1}\r\n" ERROR(
	"GenericError",
	"JSON parse error, invalid token near 'garbage'") "{\"return\": \"}{\\\"\"}\r\n" ERROR("GenericError",
											       "JSON parse error, it ends within a value")
	ERROR("CommandNotFound", "The command no has not been found");

static void converse(size_t first, size_t step)
{
	static char all[4096];
	struct client client;
	size_t at = 0, size = first, used = 0;

	connect_client(&client);
	receive(&client);
	while (at < sizeof(conversation) - 1) {
		size = MIN(size, sizeof(conversation) - 1 - at);
		assert_int_equal(qmp_session_feed(client.session, conversation + at, size), 0);
		at += size;
		size = step;
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s", receive(&client));
	}
	assert_string_equal(all, transcript);
	close_client(&client);
}

static void test_cut_anywhere_the_answers_are_the_same(void **state)
{
	size_t size = sizeof(conversation) - 1, first, step;

	for (first = 0; first <= size; first++)
		converse(first, size);
	for (step = 1; step < 20; step++)
		converse(step, step);
}

static void test_too_long_a_command(void **state)
{
	static char bytes[QMP_INPUT_MAX + 2];
	struct client client;

	memset(bytes, ' ', sizeof(bytes));
	open_client(&client);
	assert_int_equal(qmp_session_feed(client.session, bytes, sizeof(bytes)), 0);
	memset(bytes, 'x', sizeof(bytes));
	bytes[0] = '[';
	assert_int_equal(qmp_session_feed(client.session, bytes, QMP_INPUT_MAX), 0);
	assert_int_equal(qmp_session_feed(client.session, "xx", 1), -EMSGSIZE);
	close_client(&client);
	open_client(&client);
	bytes[0] = '{';
	bytes[QMP_INPUT_MAX + 1] = '}';
	assert_int_equal(qmp_session_feed(client.session, bytes, sizeof(bytes)), -EMSGSIZE);
	assert_string_equal(receive(&client), "");
	close_client(&client);
}

static void test_long_commands_work(void **state)
{
	static char bytes[QMP_INPUT_MAX];
	size_t head = strlen("{\"execute\": \"quit\", \"id\": \"");
	struct client client;

	memset(bytes, 'x', sizeof(bytes));
	memcpy(bytes, "{\"execute\": \"quit\", \"id\": \"", head);
	memcpy(bytes + sizeof(bytes) - 2, "\"}", 2);
	open_client(&client);
	assert_int_equal(qmp_session_feed(client.session, bytes, sizeof(bytes)), 0);
	assert_int_equal(rig.ran, 1);
	assert_int_equal(strlen(receive(&client)),
			 strlen("{\"return\": {}, \"id\": \"\"}\r\n") + sizeof(bytes) - head - 2);
	close_client(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(greeting_comes_at_once),
		RIG_TEST(nothing_before_negotiation),
		RIG_TEST(form_of_commands),
		RIG_TEST(ids_come_back),
		RIG_TEST(classes_of_errors),
		RIG_TEST(values_pass_unchanged),
		RIG_TEST(what_the_protocol_answers_fits_the_schema),
		RIG_TEST(pretty_is_the_same_on_more_lines),
		RIG_TEST(cut_anywhere_the_answers_are_the_same),
		RIG_TEST(too_long_a_command),
		RIG_TEST(long_commands_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
