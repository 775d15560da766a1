/* SPDX-License-Identifier: MIT */
/*
 * The parts of the QMP server; nobody else includes this.
 *
 * qmp.c          server, what a command is, dispatch, answers, events
 * qmp_session.c  bytes in and out, one command after another, life of a session
 */
#ifndef RINGLANE_CONTROL_QMP_INTERNAL_H
#define RINGLANE_CONTROL_QMP_INTERNAL_H

#include "control/json_stream.h"
#include "control/qmp.h"
#include "control/schema.h"

#include <sys/queue.h>

struct qmp_server {
	struct qmp_server_config config;
	LIST_HEAD(, qmp_session) sessions;
	unsigned calls;                       /* out, those of closed sessions too */
	const struct qmp_handler *handlers[]; /* by number of the command */
};

struct qmp_session {
	struct qmp_server *server;
	void *opaque;
	LIST_ENTRY(qmp_session) next;
	struct json_stream input;
	char *output;
	size_t output_head, output_size, output_capacity;
	struct qmp_call *call; /* that is out */
	unsigned users;        /* functions that are at work with it: it outlives them */
	bool negotiated, pretty, advancing;
	bool closed; /* the last user frees it */
	int fault;   /* -ENOMEM, -EMSGSIZE: it is over, the next feed says so */
};

struct qmp_call {
	struct qmp_server *server;
	struct qmp_session *session; /* NULL: closed */
	json_t *request;             /* holds id and arguments */
	json_t *arguments;
};

/* qmp.c: executes one command; what is wrong with it is answered. request is the callee's. */
void qmp_execute(struct qmp_session *session, json_t *request);
/* An answer without a call. Takes id, which may be NULL. */
void qmp_session_refuse(struct qmp_session *session, const char *class, const char *text,
			json_t *id);

json_t *qmp_greeting(void);

/* qmp_session.c */
enum qmp_urgency { QMP_ANSWER, QMP_EVENT };
/* Takes message. An event that does not fit is dropped. */
void qmp_session_send(struct qmp_session *session, json_t *message, enum qmp_urgency urgency);
/* Looks at the next commands while that is possible. */
void qmp_session_advance(struct qmp_session *session);
void qmp_session_use(struct qmp_session *session);
void qmp_session_unuse(struct qmp_session *session);

#endif
