/* SPDX-License-Identifier: MIT */
/*
 * Monitors: sockets where clients control the daemon by QMP. Several clients at once, on the main loop, without waiting for any of
 * them: one that does not read is not read from either, and nobody else notices. Knows no commands. Main thread.
 */
#ifndef RINGLANE_DAEMON_MONITOR_H
#define RINGLANE_DAEMON_MONITOR_H

#include "control/qmp.h"
#include "daemon/config.h"
#include "loop/loop.h"

#define MONITOR_CLIENTS_MAX 64 /* further ones wait until one goes */

struct monitors;

struct monitors_config {
	struct loop *loop;
	const struct qmp_handler *handlers;
	unsigned handler_count;
	void *opaque; /* of the handlers */
};

int monitors_new(const struct monitors_config *config, struct monitors **ret_monitors,
		 struct error *error);
/* Makes a socket; clients are served when the loop runs. The sentence says which chardev. */
int monitors_listen(struct monitors *monitors, const struct monitor_spec *spec,
		    struct error *error);
/* Takes data. */
void monitors_event(struct monitors *monitors, const char *name, json_t *data);
/* Removes the socket files, in case of a hasty end. */
void monitors_unlink(struct monitors *monitors);
/* Says goodbye to everybody. done when nothing is with the loop any more, perhaps before this returns. No call is out. */
void monitors_close(struct monitors *monitors, void (*done)(void *opaque), void *opaque);
void monitors_free(struct monitors *monitors); /* never listened, or closed; NULL is fine */

#endif
