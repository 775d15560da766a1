/* SPDX-License-Identifier: MIT */
/* A node that nobody reads or writes for a while. Main thread. */
#ifndef RINGLANE_DAEMON_DRAIN_H
#define RINGLANE_DAEMON_DRAIN_H

#include "daemon/server_internal.h"

struct drain;

/*
 * Holds back what comes for this node or one that lies on it, through exports and SCSI disks: done when nothing is being executed,
 * perhaps before this returns; it is followed by drain_end(), in done or later. False: no memory, nothing has happened. What is
 * added meanwhile is held back from its start.
 */
bool drain_begin(struct server *server, const struct block_node *node,
		 void (*done)(struct drain *drain, void *opaque), void *opaque);
void drain_end(struct drain *drain);
/* This node, or one that it lies on, is being drained. */
bool drain_covers(const struct server *server, const struct block_node *node);

#endif
