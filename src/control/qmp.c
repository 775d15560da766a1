/* SPDX-License-Identifier: MIT */
/* What a command is, who executes it, how it is answered. Sentences about the form of commands are QEMU's. */
#include "control/qmp_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static qmp_handler_fn run_capabilities, run_version, run_commands, run_schema;

/* What the protocol answers itself. */
static const struct qmp_handler protocol[] = {
	{ "qmp_capabilities", run_capabilities },
	{ "query-version", run_version },
	{ "query-commands", run_commands },
	{ "query-qmp-schema", run_schema },
};

/* ---- messages ---- */

/* Text may come from anywhere: what is no UTF-8 is replaced. */
static json_t *make_string(const char *text)
{
	json_t *string = json_string(text);
	char *tamed, *c;

	if (string)
		return string;
	tamed = strdup(text);
	for (c = tamed; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	string = tamed ? json_string(tamed) : NULL;
	free(tamed);
	return string;
}

/* Takes value and id, which may be NULL; NULL without memory. */
static json_t *make_answer(const char *key, json_t *value, json_t *id)
{
	return json_pack("{s:o, s:o*}", key, value, "id", id);
}

void qmp_session_refuse(struct qmp_session *session, const char *class, const char *text,
			json_t *id)
{
	json_t *error = json_pack("{s:s, s:o}", "class", class, "desc", make_string(text));

	qmp_session_send(session, make_answer("error", error, id), QMP_ANSWER);
}

static json_t *make_version(void)
{
	int major = 0, minor = 0, micro = 0;

	sscanf(RINGLANE_VERSION, "%d.%d.%d", &major, &minor, &micro);
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", major, "minor", minor,
			 "micro", micro, "package", "ringlane-" RINGLANE_VERSION);
}

json_t *qmp_greeting(void)
{
	return json_pack("{s:{s:o, s:[]}}", "QMP", "version", make_version(), "capabilities");
}

void qmp_event(struct qmp_server *server, const char *name, json_t *data)
{
	struct qmp_session *session, *next;
	struct timespec now;
	json_t *event;

	assert(qmp_find_event(name));
	clock_gettime(CLOCK_REALTIME, &now);
	event = json_pack("{s:{s:I, s:I}, s:s, s:o*}", "timestamp", "seconds",
			  (json_int_t)now.tv_sec, "microseconds", (json_int_t)(now.tv_nsec / 1000),
			  "event", name, "data", data);
	for (session = LIST_FIRST(&server->sessions); session && event; session = next) {
		next = LIST_NEXT(session, next);
		if (session->negotiated)
			qmp_session_send(session, json_incref(event), QMP_EVENT);
	}
	json_decref(event);
}

/* ---- answers ---- */

/* The call is over; returns its session in use, or NULL. */
static struct qmp_session *end_call(struct qmp_call *call, json_t **ret_id)
{
	struct qmp_session *session = call->session;

	*ret_id = json_incref(json_object_get(call->request, "id"));
	call->server->calls--;
	json_decref(call->arguments);
	json_decref(call->request);
	free(call);
	if (!session)
		return NULL;
	session->call = NULL;
	qmp_session_use(session);
	return session;
}

static void after_answer(struct qmp_session *session)
{
	qmp_session_advance(session);
	qmp_session_unuse(session);
}

void qmp_return(struct qmp_call *call, json_t *value)
{
	json_t *id;
	struct qmp_session *session = end_call(call, &id);

	if (!session) {
		json_decref(value);
		json_decref(id);
		return;
	}
	qmp_session_send(session, make_answer("return", value ? value : json_object(), id),
			 QMP_ANSWER);
	after_answer(session);
}

static const char *class_of(int code)
{
	switch (code) {
	case -ENODEV:
		return "DeviceNotFound";
	case -ENOSYS:
		return "CommandNotFound";
	default:
		return "GenericError";
	}
}

void qmp_fail(struct qmp_call *call, const struct error *error)
{
	json_t *id;
	struct qmp_session *session = end_call(call, &id);

	if (!session) {
		json_decref(id);
		return;
	}
	qmp_session_refuse(session, class_of(error->code), error->text, id);
	after_answer(session);
}

/* ---- what the protocol answers itself ---- */

static void run_capabilities(struct qmp_call *call, json_t *arguments, void *opaque)
{
	json_t *enable = json_object_get(arguments, "enable");
	struct error error;

	if (json_array_size(enable)) {
		error_set(&error, -EINVAL, "Capability %s not available",
			  json_string_value(json_array_get(enable, 0)));
		qmp_fail(call, &error);
		return;
	}
	call->session->negotiated = true;
	qmp_return(call, NULL);
}

static void run_version(struct qmp_call *call, json_t *arguments, void *opaque)
{
	qmp_return(call, make_version());
}

static void run_commands(struct qmp_call *call, json_t *arguments, void *opaque)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < qmp_command_count; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", qmp_commands[i].name));
	qmp_return(call, list);
}

static void run_schema(struct qmp_call *call, json_t *arguments, void *opaque)
{
	qmp_return(call, qmp_schema_introspect());
}

/* ---- what a command is ---- */

static int check_member(const char *name, const json_t *value, struct error *error)
{
	if (!strcmp(name, "execute"))
		return json_is_string(value) ?
			       0 :
			       error_set(error, -EINVAL,
					 "QMP input member 'execute' must be a string");
	if (!strcmp(name, "arguments"))
		return json_is_object(value) ?
			       0 :
			       error_set(error, -EINVAL,
					 "QMP input member 'arguments' must be an object");
	if (!strcmp(name, "id"))
		return 0;
	return error_set(error, -EINVAL, "QMP input member '%s' is unexpected", name);
}

static int check_request(const json_t *request, struct error *error)
{
	const char *name;
	json_t *value;

	if (!json_is_object(request))
		return error_set(error, -EINVAL, "QMP input must be a JSON object");
	json_object_foreach((json_t *)request, name, value)
	{
		if (check_member(name, value, error))
			return error->code;
	}
	if (!json_object_get(request, "execute"))
		return error_set(error, -EINVAL, "QMP input lacks member 'execute'");
	return 0;
}

static int find_handler(const struct qmp_session *session, const char *name,
			const struct qmp_handler **ret_handler, struct error *error)
{
	const struct qmp_message *command = qmp_find_command(name);
	const struct qmp_handler *handler =
		command ? session->server->handlers[command - qmp_commands] : NULL;
	bool negotiates = handler && handler->run == run_capabilities;

	if (!session->negotiated && !negotiates)
		return error_set(error, -ENOSYS,
				 "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (session->negotiated && negotiates)
		return error_set(error, -ENOSYS,
				 "Capabilities negotiation is already complete, command ignored");
	if (!handler)
		return error_set(error, -ENOSYS, "The command %s has not been found", name);
	*ret_handler = handler;
	return 0;
}

/* arguments: the caller's reference is taken. */
static int begin_call(struct qmp_session *session, json_t *request, json_t *arguments,
		      struct qmp_call **ret_call, struct error *error)
{
	struct qmp_call *call = calloc(1, sizeof(*call));

	if (!call || !arguments) {
		free(call);
		json_decref(arguments);
		return error_set(error, -ENOMEM, "out of memory");
	}
	*call = (struct qmp_call){ session->server, session, json_incref(request), arguments };
	session->server->calls++;
	session->call = call;
	*ret_call = call;
	return 0;
}

static int run_request(struct qmp_session *session, json_t *request, struct error *error)
{
	const char *name = json_string_value(json_object_get(request, "execute"));
	json_t *arguments = json_object_get(request, "arguments");
	const struct qmp_handler *handler = NULL;
	struct qmp_call *call = NULL;
	int result = find_handler(session, name, &handler, error);

	if (result)
		return result;
	arguments = arguments ? json_incref(arguments) : json_object();
	result = arguments ? qmp_schema_check(name, arguments, error) : 0;
	if (result) {
		json_decref(arguments);
		return result;
	}
	result = begin_call(session, request, arguments, &call, error);
	if (result == 0)
		handler->run(call, arguments, session->server->config.opaque);
	return result;
}

void qmp_execute(struct qmp_session *session, json_t *request)
{
	struct error error;
	int result = check_request(request, &error);

	if (result == 0)
		result = run_request(session, request, &error);
	if (result)
		qmp_session_refuse(session, class_of(error.code), error.text,
				   json_incref(json_object_get(request, "id")));
	json_decref(request);
}

/* ---- the server ---- */

static void add_handlers(struct qmp_server *server, const struct qmp_handler *handlers,
			 unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		const struct qmp_message *command = qmp_find_command(handlers[i].command);

		assert(command && !server->handlers[command - qmp_commands]);
		server->handlers[command - qmp_commands] = &handlers[i];
	}
}

int qmp_server_new(const struct qmp_server_config *config, struct qmp_server **ret_server)
{
	struct qmp_server *server =
		calloc(1, sizeof(*server) + qmp_command_count * sizeof(const struct qmp_handler *));
	unsigned i;

	if (!server)
		return -ENOMEM;
	server->config = *config;
	LIST_INIT(&server->sessions);
	add_handlers(server, protocol, ARRAY_SIZE(protocol));
	add_handlers(server, config->handlers, config->handler_count);
	for (i = 0; i < qmp_command_count; i++)
		assert(server->handlers[i]);
	*ret_server = server;
	return 0;
}

void qmp_server_free(struct qmp_server *server)
{
	if (!server)
		return;
	assert(LIST_EMPTY(&server->sessions) && server->calls == 0);
	free(server);
}
