/* SPDX-License-Identifier: MIT */
/*
 * The running daemon: main loop, IOThreads, nodes, exports and signals, made in this order from a config that was checked and
 * taken down in the reverse one. Main thread.
 */
#ifndef RINGLANE_DAEMON_SERVER_H
#define RINGLANE_DAEMON_SERVER_H

#include "daemon/config.h"

struct server;

/* Everything is open and listens, or nothing is and the sentence says why. What goes while it serves, goes from the config too. */
int server_new(struct config *config, struct server **ret_server, struct error *error);
/* Serves until a signal ends it or no client can come any more. Returns the exit status. */
int server_run(struct server *server);
void server_free(struct server *server);

#endif
