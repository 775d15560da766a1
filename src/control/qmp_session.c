/* SPDX-License-Identifier: MIT */
/*
 * One client: its bytes in and out. A session is in use while a function works with it, because handlers and the owner's output()
 * may close it; the last user frees it.
 */
#include "control/qmp_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t count_output(const struct qmp_session *session)
{
	return session->output_size - session->output_head;
}

void qmp_session_use(struct qmp_session *session)
{
	session->users++;
}

void qmp_session_unuse(struct qmp_session *session)
{
	if (--session->users || !session->closed)
		return;
	json_stream_fini(&session->input);
	free(session->output);
	free(session);
}

/* ---- output ---- */

static void forget_sent(struct qmp_session *session)
{
	memmove(session->output, session->output + session->output_head, count_output(session));
	session->output_size -= session->output_head;
	session->output_head = 0;
}

static int append_output(const char *bytes, size_t size, void *opaque)
{
	struct qmp_session *session = opaque;
	size_t wanted = session->output_size + size, capacity;
	char *grown;

	if (wanted > session->output_capacity) {
		capacity = MAX(wanted, 2 * session->output_capacity);
		grown = realloc(session->output, capacity);
		if (!grown)
			return -1;
		session->output = grown;
		session->output_capacity = capacity;
	}
	memcpy(session->output + session->output_size, bytes, size);
	session->output_size = wanted;
	return 0;
}

static bool append_message(struct qmp_session *session, const json_t *message)
{
	size_t flags = JSON_ENSURE_ASCII | (session->pretty ? JSON_INDENT(4) : 0);

	return json_dump_callback(message, append_output, session, flags) == 0 &&
	       append_output("\r\n", 2, session) == 0;
}

void qmp_session_send(struct qmp_session *session, json_t *message, enum qmp_urgency urgency)
{
	size_t before = count_output(session);

	if (session->closed) {
		json_decref(message);
		return;
	}
	if (session->output_head)
		forget_sent(session);
	if (!message || !append_message(session, message)) {
		session->output_size = before;
		if (urgency == QMP_ANSWER)
			session->fault = -ENOMEM;
	} else if (urgency == QMP_EVENT && session->output_size > QMP_OUTPUT_MAX) {
		session->output_size = before;
	}
	json_decref(message);
	if (before == 0 && session->output_size)
		session->server->config.output(session, session->opaque);
}

const void *qmp_session_output(const struct qmp_session *session, size_t *ret_size)
{
	*ret_size = count_output(session);
	return session->output + session->output_head;
}

void qmp_session_sent(struct qmp_session *session, size_t size)
{
	assert(size <= count_output(session));
	session->output_head += size;
	if (count_output(session) == 0)
		session->output_head = session->output_size = 0;
	qmp_session_use(session);
	qmp_session_advance(session);
	qmp_session_unuse(session);
}

/* ---- input ---- */

static bool may_advance(const struct qmp_session *session)
{
	return !session->closed && !session->fault && !session->call &&
	       count_output(session) < QMP_OUTPUT_PAUSE;
}

void qmp_session_advance(struct qmp_session *session)
{
	struct error error;
	json_t *request;
	int result = 1;

	if (session->advancing)
		return;
	session->advancing = true;
	while (result && may_advance(session)) {
		result = json_stream_next(&session->input, &request, &error);
		if (result > 0)
			qmp_execute(session, request);
		else if (result == -EMSGSIZE)
			session->fault = result;
		else if (result < 0)
			qmp_session_refuse(session, "GenericError", error.text, NULL);
	}
	session->advancing = false;
}

static int check_input(const struct qmp_session *session)
{
	if (session->fault)
		return session->fault;
	return json_stream_pending(&session->input) > QMP_INPUT_MAX ? -EMSGSIZE : 0;
}

int qmp_session_feed(struct qmp_session *session, const void *bytes, size_t size)
{
	int result = json_stream_append(&session->input, bytes, size);

	if (result)
		return result;
	qmp_session_use(session);
	qmp_session_advance(session);
	result = session->closed ? 0 : check_input(session);
	qmp_session_unuse(session);
	return result;
}

bool qmp_session_wants_input(const struct qmp_session *session)
{
	return session->fault || may_advance(session);
}

/* ---- life ---- */

int qmp_session_new(struct qmp_server *server, void *opaque, struct qmp_session **ret_session)
{
	struct qmp_session *session = calloc(1, sizeof(*session));
	json_t *greeting = qmp_greeting();

	if (!session || !greeting) {
		free(session);
		json_decref(greeting);
		return -ENOMEM;
	}
	session->server = server;
	session->opaque = opaque;
	json_stream_init(&session->input, QMP_INPUT_MAX);
	if (!append_message(session, greeting))
		session->fault = -ENOMEM;
	json_decref(greeting);
	LIST_INSERT_HEAD(&server->sessions, session, next);
	*ret_session = session;
	return 0;
}

void qmp_session_set_pretty(struct qmp_session *session)
{
	session->pretty = true;
}

void qmp_session_close(struct qmp_session *session)
{
	assert(!session->closed);
	if (session->call)
		session->call->session = NULL;
	LIST_REMOVE(session, next);
	session->closed = true;
	qmp_session_use(session);
	qmp_session_unuse(session);
}
