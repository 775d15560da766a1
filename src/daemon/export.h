/* SPDX-License-Identifier: MIT */
/*
 * An export: a disk, the socket where front ends find it, and the connection of the one that is there.
 *
 * This is where the protocol and the device meet: neither knows the other. Main thread; lanes are reached by their commands.
 */
#ifndef RINGLANE_DAEMON_EXPORT_H
#define RINGLANE_DAEMON_EXPORT_H

#include "block/block.h"
#include "daemon/config.h"
#include "daemon/iothreads.h"
#include "loop/loop.h"

struct export;

struct export_config {
	const struct export_spec *spec;
	struct loop *loop; /* the main loop */
	struct iothreads *iothreads;
	struct block_node *node;
	/* No client is there, and none can come any more. */
	void (*ended)(void *opaque);
	void *opaque;
};

/* Checks the disk and maps the queues; opens nothing. */
int export_new(const struct export_config *config, struct export **ret_export, struct error *error);
/* Makes the socket. From here on a client may connect; it is served when the loop runs. */
int export_listen(struct export *export, struct error *error);
/* Finishes what is in flight, closes everything, removes the socket, then calls ended(). */
void export_shut_down(struct export *export);
/* Removes the socket file, in case of a hasty end. */
void export_unlink(struct export *export);
void export_free(struct export *export); /* never listened, or ended; NULL is fine */
const char *export_id(const struct export *export);
/* The size of the node may have changed: tells the front end when it did. */
void export_check_size(struct export *export);
/* Drops the client if it has taken away memory that it had shared. */
void export_check_memory(struct export *export);
/* A line for each queue that is set up. */
void export_print_map(const struct export *export);

#endif
