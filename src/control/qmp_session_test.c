/* SPDX-License-Identifier: MIT */
/* Calls that are answered later, sessions that are closed meanwhile, events, clients that do not read. */
#include "control/qmp_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- calls that are answered later ---- */

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
	const struct CMUnitTest tests[] = {
		RIG_TEST(the_next_command_waits_for_the_answer),
		RIG_TEST(what_comes_while_a_call_is_out_has_a_bound),
		RIG_TEST(answers_to_a_closed_session_go_nowhere),
		RIG_TEST(a_handler_closes_its_own_session),
		RIG_TEST(a_handler_closes_another_session),
		RIG_TEST(output_may_close_the_session),
		RIG_TEST(events_have_a_timestamp),
		RIG_TEST(a_client_that_does_not_read_is_not_read_from),
		RIG_TEST(events_that_do_not_fit_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
