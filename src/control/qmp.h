/* SPDX-License-Identifier: MIT */
/*
 * QMP, QEMU's machine protocol: JSON in, JSON out. Knows no devices, no sockets, no loop: its owner brings bytes and takes bytes.
 *
 * What commands and events there are, with their members and types, is one file: schema.json beside this. The build makes the
 * tables that check arguments before a handler sees them, the answer of query-qmp-schema, and docs/qmp.md from it.
 *
 *   qmp_server   commands, events, the sessions that are open
 *   qmp_session  one client: greeting, capabilities negotiation, then commands one after another (the next one is looked at when the
 *                one before has been answered), and events once negotiated
 *   qmp_call     one command being executed; may be answered later
 *
 * A client that does not read: while QMP_OUTPUT_PAUSE bytes wait for it no further command of it is looked at; events that do not fit into
 * QMP_OUTPUT_MAX are dropped for it. Nobody else notices. All on one thread.
 */
#ifndef RINGLANE_CONTROL_QMP_H
#define RINGLANE_CONTROL_QMP_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QMP_INPUT_MAX (1u << 20) /* bytes of one command */
#define QMP_OUTPUT_PAUSE (64u << 10)
#define QMP_OUTPUT_MAX (1u << 20)

struct qmp_server;
struct qmp_session;
struct qmp_call;

/* ---- commands ---- */

/* arguments: an object that fits the schema; borrowed until the call is answered. Ends in exactly one qmp_return or qmp_fail. */
typedef void qmp_handler_fn(struct qmp_call *call, json_t *arguments, void *opaque);

struct qmp_handler {
	const char *command; /* in the schema */
	qmp_handler_fn *run;
};

struct qmp_server_config {
	/* Exactly the commands of the schema but those that the protocol answers itself (qmp_capabilities, query-version,
	 * query-commands, query-qmp-schema); asserted. */
	const struct qmp_handler *handlers;
	unsigned handler_count;
	void *opaque;
	/* A session has bytes to send now, and had none before. May come from within feed, sent, qmp_event, qmp_return, qmp_fail. */
	void (*output)(struct qmp_session *session, void *session_opaque);
};

int qmp_server_new(const struct qmp_server_config *config, struct qmp_server **ret_server);
void qmp_server_free(
	struct qmp_server *server); /* no session is open, no call is out; NULL is fine */
/* To each session that has negotiated. Takes data (an object or NULL); the timestamp is added. */
void qmp_event(struct qmp_server *server, const char *name, json_t *data);

/* Takes value; NULL: the empty object. The session may have been closed: then the answer goes nowhere. */
void qmp_return(struct qmp_call *call, json_t *value);
/* Class GenericError, or DeviceNotFound for -ENODEV, CommandNotFound for -ENOSYS; error->text is the sentence. */
void qmp_fail(struct qmp_call *call, const struct error *error);

/* ---- sessions ---- */

/* The greeting is there to be sent at once. */
int qmp_session_new(struct qmp_server *server, void *opaque, struct qmp_session **ret_session);
/* What is sent from now on is spread over lines, for people. */
void qmp_session_set_pretty(struct qmp_session *session);
/* A call of it that is out stays valid and is answered into nothing. Handlers may call it; output() too, for its own session. */
void qmp_session_close(struct qmp_session *session);
/* Bytes from the client. -EMSGSIZE: a command longer than QMP_INPUT_MAX, the client is to be dropped. Bytes that are no JSON are
 * answered with an error. */
int qmp_session_feed(struct qmp_session *session, const void *bytes, size_t size);
/* Is reading from it any use now? False while a command is out or too much output waits; asked after feed, sent and output. */
bool qmp_session_wants_input(const struct qmp_session *session);
/* What is to be sent; valid until the next call with this session. */
const void *qmp_session_output(const struct qmp_session *session, size_t *ret_size);
void qmp_session_sent(struct qmp_session *session, size_t size);

/* ---- the schema ---- */

/* Does an object fit the type of a command's arguments (or of a named struct or union)? One sentence, QEMU's words: "Parameter 'x'
 * is missing", "Parameter 'x' is unexpected", "Invalid parameter type for 'x', expected: string". */
int qmp_schema_check(const char *type_or_command, const json_t *object, struct error *error);
/* Is this what a command returns according to the schema? For tests. */
int qmp_schema_check_return(const char *command, const json_t *value, struct error *error);
/* As query-qmp-schema answers it: QEMU's SchemaInfo list. The caller owns it. */
json_t *qmp_schema_introspect(void);

#endif
