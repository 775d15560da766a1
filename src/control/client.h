/* SPDX-License-Identifier: MIT */
/*
 * The other end of QMP, for tools: one connection, blocking, with a time limit for each wait. The server may be anybody: what it says is
 * checked, and bounded by QMP_CLIENT_VALUE_MAX. One thread at a time.
 */
#ifndef RINGLANE_CONTROL_CLIENT_H
#define RINGLANE_CONTROL_CLIENT_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

#define QMP_CLIENT_VALUE_MAX (64u << 20)
#define QMP_CLIENT_EVENTS_MAX 10000 /* that wait; later ones are dropped */

struct qmp_client;

/*
 * Connects to the Unix socket and negotiates. timeout_ns: longest wait for an answer or for sending, 0: for ever. A sentence for each
 * of: no socket, nobody listens, another protocol (-EPROTO), no greeting (-ETIMEDOUT).
 */
int qmp_client_open(const char *path, uint64_t timeout_ns, struct qmp_client **ret_client,
		    struct error *error);
void qmp_client_close(struct qmp_client *client); /* NULL is fine */

/* Sends one command as it is and waits for its answer: an object with return or error, the caller's. Takes request. */
int qmp_client_call(struct qmp_client *client, json_t *request, json_t **ret_answer,
		    struct error *error);
/* One command. Takes arguments, NULL: none. *ret_value is the caller's. -EREMOTEIO: the server refused, in the server's words. */
int qmp_client_execute(struct qmp_client *client, const char *command, json_t *arguments,
		       json_t **ret_value, struct error *error);
/* The next event, the caller's. -ETIMEDOUT: none within timeout_ns (0: no limit). -ECONNRESET: the server has gone. */
int qmp_client_event(struct qmp_client *client, uint64_t timeout_ns, json_t **ret_event,
		     struct error *error);

#endif
