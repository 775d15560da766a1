/* SPDX-License-Identifier: MIT */
/* See qmp_rig.h. Each command is answered at once but for those in special[]. */
#include "control/qmp_rig.h"

#include "control/schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct rig rig;

void close_client(struct client *client)
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

int rig_setup(void **state)
{
	struct qmp_server_config config = { .opaque = &rig, .output = note_output };
	unsigned i;

	rig = (struct rig){ 0 };
	assert_in_range(qmp_command_count, 5, RIG_HANDLERS_MAX);
	for (i = 0; i < qmp_command_count; i++)
		if (!is_protocol(qmp_commands[i].name))
			rig.handlers[rig.count++] =
				(struct qmp_handler){ qmp_commands[i].name,
						      choose_handler(qmp_commands[i].name) };
	config.handlers = rig.handlers;
	config.handler_count = rig.count;
	return qmp_server_new(&config, &rig.server);
}

int rig_teardown(void **state)
{
	qmp_server_free(rig.server);
	return 0;
}

/* ---- a client ---- */

const char *receive(struct client *client)
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

void feed(struct client *client, const char *text)
{
	assert_int_equal(qmp_session_feed(client->session, text, strlen(text)), 0);
}

void connect_client(struct client *client)
{
	*client = (struct client){ 0 };
	assert_int_equal(qmp_session_new(rig.server, client, &client->session), 0);
}

void open_client(struct client *client)
{
	connect_client(client);
	feed(client, HELLO);
	receive(client);
	client->outputs = 0;
}

void expect(struct client *client, const char *command, const char *answer)
{
	feed(client, command);
	assert_string_equal(receive(client), answer);
}
