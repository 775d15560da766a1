// SPDX-License-Identifier: MIT
/*
 * Two QMP clients that send anything, in pieces of any size, read when they like, and leave with a command out. The first byte of each
 * step says what happens, so that the fuzzer learns sequences.
 */
#include "control/qmp.h"
#include "fuzz.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CALLS_MAX 4
#define SESSIONS 2

static struct qmp_call *calls[CALLS_MAX]; /* that are answered later */
static unsigned call_count;

static void answer(struct qmp_call *call, bool fails)
{
	struct error error;

	if (fails) {
		error_set(&error, -EINVAL, "refused");
		qmp_fail(call, &error);
		return;
	}
	qmp_return(call, json_pack("{s:i}", "ok", 1));
}

/* Now or later, by the number of arguments. */
static void run(struct qmp_call *call, json_t *arguments, void *opaque)
{
	if (call_count < CALLS_MAX && json_object_size(arguments) % 2)
		calls[call_count++] = call;
	else
		answer(call, json_object_size(arguments) % 3 == 2);
}

static void answer_one(void)
{
	if (call_count == 0)
		return;
	call_count--;
	answer(calls[call_count], call_count % 2);
}

static struct qmp_session *feed(struct qmp_session *session, const uint8_t *data, size_t size)
{
	if (qmp_session_feed(session, data, size) < 0) {
		qmp_session_close(session);
		return NULL;
	}
	return session;
}

static void read_some(struct qmp_session *session, size_t wanted)
{
	size_t size;
	const char *bytes = qmp_session_output(session, &size);

	assert(size == 0 || bytes);
	assert(size <= QMP_OUTPUT_MAX + QMP_INPUT_MAX);
	qmp_session_sent(session, size < wanted ? size : wanted);
}

static void step(struct qmp_server *server, struct qmp_session *sessions[SESSIONS],
		 struct fuzz_bytes *bytes)
{
	uint8_t verb = fuzz_byte(bytes);
	struct qmp_session **session = &sessions[verb % SESSIONS];
	size_t size = fuzz_u16(bytes);

	size = size < bytes->size ? size : bytes->size;
	if (!*session) {
		qmp_session_new(server, NULL, session);
		return;
	}
	switch (verb / SESSIONS % 8) {
	case 0:
		qmp_session_close(*session);
		*session = NULL;
		break;
	case 1:
		answer_one();
		break;
	case 2:
		read_some(*session, size);
		break;
	case 3:
		qmp_event(server, "SHUTDOWN",
			  json_pack("{s:b,s:s}", "guest", 0, "reason", "host-qmp-quit"));
		break;
	default:
		*session = feed(*session, bytes->data, size);
		bytes->data += size;
		bytes->size -= size;
	}
}

static void output(struct qmp_session *session, void *opaque)
{
}

static bool protocol_answers(const char *command)
{
	static const char *const own[] = { "qmp_capabilities", "query-version", "query-commands",
					   "query-qmp-schema" };

	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(own[i], command))
			return true;
	return false;
}

/* A handler for every command of the schema. */
static unsigned handlers_fill(struct qmp_handler *handlers, unsigned max)
{
	static json_t *schema;
	unsigned count = 0;
	size_t index;
	json_t *entry;

	if (!schema)
		schema = qmp_schema_introspect();
	json_array_foreach(schema, index, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));
		const char *kind = json_string_value(json_object_get(entry, "meta-type"));

		if (!strcmp(kind, "command") && !protocol_answers(name) && count < max)
			handlers[count++] = (struct qmp_handler){ name, run };
	}
	return count;
}

static struct qmp_server *server_open(void)
{
	static struct qmp_handler handlers[64];
	struct qmp_server_config config = { .handlers = handlers, .output = output };
	struct qmp_server *server;

	config.handler_count = handlers_fill(handlers, ARRAY_SIZE(handlers));
	return qmp_server_new(&config, &server) == 0 ? server : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct qmp_session *sessions[SESSIONS] = { 0 };
	struct qmp_server *server = server_open();

	assert(server);
	while (bytes.size > 0)
		step(server, sessions, &bytes);
	for (unsigned i = 0; i < SESSIONS; i++)
		if (sessions[i])
			qmp_session_close(sessions[i]);
	while (call_count > 0)
		answer_one();
	qmp_server_free(server);
	return 0;
}
