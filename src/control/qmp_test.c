/* SPDX-License-Identifier: MIT */
/* A server with handlers for all commands, its clients in memory. */
#include "control/qmp.h"

#include "control/schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HANDLERS_MAX 64
#define GREETING_BEGIN "{\"QMP\": {\"version\": {\"qemu\": {\"major\": "
#define DONE "{\"return\": {}}\r\n"
#define HELLO "{\"execute\": \"qmp_capabilities\"}"

struct client {
	struct qmp_session *session;
	unsigned outputs; /* how often it was told of output */
	bool closes;      /* when told */
};

static struct rig {
	struct qmp_server *server;
	struct qmp_handler handlers[HANDLERS_MAX];
	unsigned count;
	struct qmp_call *waiting[8]; /* calls of blockdev-add: answered by the test */
	unsigned waits, ran;
	struct client *victim; /* closed by object-add */
} rig;

static void close_client(struct client *client)
{
	qmp_session_close(client->session);
	client->session = NULL;
}

static void run_any(struct qmp_call *call, json_t *arguments, void *opaque)
{
	assert_ptr_equal(opaque, &rig);
	assert_true(json_is_object(arguments));
	rig.ran++;
	qmp_return(call, NULL);
}

static void run_later(struct qmp_call *call, json_t *arguments, void *opaque)
{
	assert_in_range(rig.waits, 0, ARRAY_SIZE(rig.waiting) - 1);
	rig.waiting[rig.waits++] = call;
}

/* Gives back what it got. */
static void run_echo(struct qmp_call *call, json_t *arguments, void *opaque)
{
	qmp_return(call, json_incref(json_object_get(arguments, "value")));
}

static void run_fail(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error;
	const char *id = json_string_value(json_object_get(arguments, "id"));

	error_set(&error, *id == 'd' ? -ENODEV : -EBUSY, "'%s' fails\xff", id);
	qmp_fail(call, &error);
}

static void run_close(struct qmp_call *call, json_t *arguments, void *opaque)
{
	close_client(rig.victim);
	qmp_return(call, NULL);
}

static void note_output(struct qmp_session *session, void *opaque)
{
	struct client *client = opaque;

	assert_ptr_equal(client->session, session);
	client->outputs++;
	if (client->closes)
		close_client(client);
}

static const struct qmp_handler special[] = {
	{ "blockdev-add", run_later }, { "qom-set", run_echo },     { "device_del", run_fail },
	{ "object-del", run_fail },    { "object-add", run_close },
};

static bool is_protocol(const char *name)
{
	return !strncmp(name, "qmp_", 4) || !strcmp(name, "query-version") ||
	       !strcmp(name, "query-commands") || !strcmp(name, "query-qmp-schema");
}

static qmp_handler_fn *choose_handler(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(special); i++)
		if (!strcmp(special[i].command, name))
			return special[i].run;
	return run_any;
}

static int setup(void **state)
{
	struct qmp_server_config config = { .opaque = &rig, .output = note_output };
	unsigned i;

	rig = (struct rig){ 0 };
	assert_in_range(qmp_command_count, 5, HANDLERS_MAX);
	for (i = 0; i < qmp_command_count; i++)
		if (!is_protocol(qmp_commands[i].name))
			rig.handlers[rig.count++] =
				(struct qmp_handler){ qmp_commands[i].name,
						      choose_handler(qmp_commands[i].name) };
	config.handlers = rig.handlers;
	config.handler_count = rig.count;
	return qmp_server_new(&config, &rig.server);
}

static int teardown(void **state)
{
	qmp_server_free(rig.server);
	return 0;
}

/* ---- a client ---- */

/* All that waits, at once; valid until the next call with the session. */
static const char *receive(struct client *client)
{
	static char text[2 * QMP_OUTPUT_MAX];
	size_t size;
	const char *bytes = qmp_session_output(client->session, &size);

	assert_in_range(size, 0, sizeof(text) - 1);
	memcpy(text, bytes ? bytes : "", size);
	text[size] = '\0';
	qmp_session_sent(client->session, size);
	return text;
}

static void feed(struct client *client, const char *text)
{
	assert_int_equal(qmp_session_feed(client->session, text, strlen(text)), 0);
}

static void connect_client(struct client *client)
{
	*client = (struct client){ 0 };
	assert_int_equal(qmp_session_new(rig.server, client, &client->session), 0);
}

static void open_client(struct client *client)
{
	connect_client(client);
	feed(client, HELLO);
	receive(client);
	client->outputs = 0;
}

static void expect(struct client *client, const char *command, const char *answer)
{
	feed(client, command);
	assert_string_equal(receive(client), answer);
}

#define ERROR(class, sentence) \
	"{\"error\": {\"class\": \"" class "\", \"desc\": \"" sentence "\"}}\r\n"

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

#define ECHO(value)                                                                                          \
	"{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"p\", \"property\": \"q\", \"value\": " value \
	"}}"

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

/* ---- calls that are answered later ---- */

#define LATER \
	"{\"execute\": \"blockdev-add\", \"id\": \"later\", \"arguments\": {\"driver\": \"null-co\"}}"

static void test_the_next_command_waits_for_the_answer(void **state)
{
	struct client client, other;

	open_client(&client);
	open_client(&other);
	feed(&client, LATER "{\"execute\": \"quit\", \"id\": 1}{\"execute\": \"quit\", \"id\": 2}");
	assert_int_equal(rig.ran, 0);
	assert_false(qmp_session_wants_input(client.session));
	expect(&other, "{\"execute\": \"quit\"}", DONE);
	assert_true(qmp_session_wants_input(other.session));
	qmp_return(rig.waiting[0], json_pack("[i]", 5));
	assert_int_equal(rig.ran, 3);
	assert_int_equal(client.outputs, 1);
	assert_string_equal(receive(&client),
			    "{\"return\": [5], \"id\": \"later\"}\r\n"
			    "{\"return\": {}, \"id\": 1}\r\n{\"return\": {}, \"id\": 2}\r\n");
	assert_true(qmp_session_wants_input(client.session));
	close_client(&client);
	close_client(&other);
}

static void test_what_comes_while_a_call_is_out_has_a_bound(void **state)
{
	static char bytes[QMP_INPUT_MAX];
	struct client client;

	memset(bytes, ' ', sizeof(bytes));
	open_client(&client);
	feed(&client, LATER);
	assert_int_equal(qmp_session_feed(client.session, bytes, sizeof(bytes)), 0);
	assert_int_equal(qmp_session_feed(client.session, bytes, 1), -EMSGSIZE);
	close_client(&client);
	qmp_return(rig.waiting[0], NULL);
}

static void test_answers_to_a_closed_session_go_nowhere(void **state)
{
	struct error error;
	struct client client;

	open_client(&client);
	feed(&client, LATER "{\"execute\": \"quit\"}");
	close_client(&client);
	open_client(&client);
	feed(&client, LATER);
	close_client(&client);
	assert_int_equal(rig.waits, 2);
	qmp_return(rig.waiting[0], json_pack("[i]", 5));
	error_set(&error, -EIO, "too late");
	qmp_fail(rig.waiting[1], &error);
	assert_int_equal(rig.ran, 0);
}

#define CLOSE \
	"{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": \"iothread\", \"id\": \"t\"}}"

static void test_a_handler_closes_its_own_session(void **state)
{
	struct client client;

	open_client(&client);
	rig.victim = &client;
	assert_int_equal(qmp_session_feed(client.session, CLOSE "{\"execute\": \"quit\"}",
					  sizeof(CLOSE "{\"execute\": \"quit\"}") - 1),
			 0);
	assert_null(client.session);
	assert_int_equal(rig.ran, 0);
}

static void test_a_handler_closes_another_session(void **state)
{
	struct client client, other;

	open_client(&client);
	open_client(&other);
	rig.victim = &other;
	expect(&client, CLOSE, DONE);
	assert_null(other.session);
	close_client(&client);
}

static void test_output_may_close_the_session(void **state)
{
	struct client client, other;

	open_client(&client);
	open_client(&other);
	client.closes = true;
	qmp_event(rig.server, "DEVICE_DELETED", json_pack("{s:s}", "path", "/p"));
	assert_null(client.session);
	assert_non_null(strstr(receive(&other), "DEVICE_DELETED"));
	other.closes = true;
	assert_int_equal(qmp_session_feed(other.session, "{\"execute\": \"quit\"} {}", 22), 0);
	assert_null(other.session);
	assert_int_equal(rig.ran, 1);
}

/* ---- events, and clients that do not read ---- */

static void test_events_have_a_timestamp(void **state)
{
	struct client client;
	json_t *event, *stamp;

	open_client(&client);
	qmp_event(rig.server, "BLOCK_EXPORT_DELETED", json_pack("{s:s}", "id", "e"));
	assert_int_equal(client.outputs, 1);
	event = json_loads(receive(&client), 0, NULL);
	stamp = json_object_get(event, "timestamp");
	assert_int_equal(json_object_size(event), 3);
	assert_string_equal(json_string_value(json_object_get(event, "event")),
			    "BLOCK_EXPORT_DELETED");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "data"), "id")), "e");
	assert_true(json_integer_value(json_object_get(stamp, "seconds")) > 1700000000);
	assert_in_range(json_integer_value(json_object_get(stamp, "microseconds")), 0, 999999);
	json_decref(event);
	close_client(&client);
}

static void test_a_client_that_does_not_read_is_not_read_from(void **state)
{
	struct client client, other;
	unsigned fed, ran, rounds = 0;
	size_t size;

	open_client(&client);
	open_client(&other);
	for (fed = 0; qmp_session_wants_input(client.session); fed++)
		feed(&client, "{\"execute\": \"quit\"}");
	qmp_session_output(client.session, &size);
	assert_in_range(size, QMP_OUTPUT_PAUSE, QMP_OUTPUT_PAUSE + sizeof(DONE) - 2);
	assert_int_equal(client.outputs, 1);
	ran = rig.ran;
	feed(&client, "{\"execute\": \"quit\"}{\"execute\": \"quit\"}");
	assert_int_equal(rig.ran, ran);
	expect(&other, "{\"execute\": \"quit\"}", DONE);
	for (; size; rounds++) {
		qmp_session_sent(client.session, MIN(size, 1000));
		qmp_session_output(client.session, &size);
	}
	assert_int_equal(rig.ran, ran + 3);
	assert_in_range(rounds, 60, 70);
	assert_true(qmp_session_wants_input(client.session));
	close_client(&client);
	close_client(&other);
}

static void test_events_that_do_not_fit_are_dropped(void **state)
{
	struct client client, other;
	unsigned i;
	size_t size, before = 0;

	open_client(&client);
	open_client(&other);
	for (i = 0; i < 20000; i++) {
		qmp_event(rig.server, "BLOCK_EXPORT_DELETED",
			  json_pack("{s:s}", "id", "an export with a long name"));
		assert_non_null(strstr(receive(&other), "BLOCK_EXPORT_DELETED"));
		qmp_session_output(client.session, &size);
		assert_true(size >= before && size <= QMP_OUTPUT_MAX);
		before = size;
	}
	assert_in_range(size, QMP_OUTPUT_MAX - 200, QMP_OUTPUT_MAX);
	assert_int_equal(client.outputs, 1);
	receive(&client);
	expect(&client, "{\"execute\": \"quit\"}", DONE);
	close_client(&client);
	close_client(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(greeting_comes_at_once),
		TEST(nothing_before_negotiation),
		TEST(form_of_commands),
		TEST(ids_come_back),
		TEST(classes_of_errors),
		TEST(values_pass_unchanged),
		TEST(what_the_protocol_answers_fits_the_schema),
		TEST(pretty_is_the_same_on_more_lines),
		TEST(cut_anywhere_the_answers_are_the_same),
		TEST(too_long_a_command),
		TEST(long_commands_work),
		TEST(the_next_command_waits_for_the_answer),
		TEST(what_comes_while_a_call_is_out_has_a_bound),
		TEST(answers_to_a_closed_session_go_nowhere),
		TEST(a_handler_closes_its_own_session),
		TEST(a_handler_closes_another_session),
		TEST(output_may_close_the_session),
		TEST(events_have_a_timestamp),
		TEST(a_client_that_does_not_read_is_not_read_from),
		TEST(events_that_do_not_fit_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
