/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the server share: server.c makes and serves, server_end.c lets things go.
 *
 * The specs of the config are the registry of what exists: each export and each device hangs at its spec, and a spec is removed
 * when its object is gone. Main thread.
 */
#ifndef RINGLANE_DAEMON_SERVER_INTERNAL_H
#define RINGLANE_DAEMON_SERVER_INTERNAL_H

#include "daemon/device.h"
#include "daemon/export.h"
#include "daemon/iothreads.h"
#include "daemon/monitor.h"
#include "daemon/process.h"
#include "daemon/server.h"

struct server {
	struct config *config;
	struct loop *loop;
	struct iothreads *iothreads;
	struct block_graph *graph;
	struct devices *devices;
	LIST_HEAD(, drain) drains; /* that have not ended */
	struct monitors *monitors;
	struct qmp_handler *handlers;
	struct pidfile pidfile;
	int signal_fd, fault_fd;
	struct loop_fd signals, faults;
	struct loop_defer reap; /* something has ended */
	bool stopping;          /* everything ends, and then the loop */
	bool ending;            /* nothing is left but our own sources */
};

int server_make_export(struct server *server, struct export_spec *spec, struct error *error);
/* Tells those that see a disk whose size has changed. */
void server_check_sizes(struct server *server);

/* server_add.c: while others are served. Each takes the tree; when it fails nothing has changed. */

int server_add_iothread(struct server *server, json_t *tree, struct error *error);
int server_add_node(struct server *server, json_t *tree, struct error *error);
int server_add_export(struct server *server, json_t *tree, struct error *error);
int server_add_device(struct server *server, json_t *tree, struct error *error);
/* Those that nobody uses. */
int server_remove_iothread(struct server *server, const char *id, struct error *error);
int server_remove_node(struct server *server, const char *name, struct error *error);

/* server_end.c */

void server_end_init(struct server *server);
void server_export_ended(struct export *export, void *opaque);
/* Ends the export; its devices go with it. */
void server_remove_export(struct server *server, struct export_spec *spec);
void server_remove_device(struct server *server, struct device_spec *spec);
/* Ends everything, then the loop. cause: of the event SHUTDOWN. */
void server_shut_down(struct server *server, const char *cause);
/* Does not wait for requests. */
void server_end_at_once(struct server *server);

#endif
