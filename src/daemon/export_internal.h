/* SPDX-License-Identifier: MIT */
/*
 * What export.c (life of the socket and the connection), export_ring.c (the connection's operations on lanes) and export_drain.c
 * (quiet times) share.
 *
 * States of an export:
 *   IDLE      no connection. accept -> SERVING; shut down -> ENDED
 *   SERVING   one connection. It ends, or shut down -> CLOSING
 *   CLOSING   the operation that is out is waited for, then all lanes are stopped, then the socket is let go of, then the device
 *             forgets the loops, then everything that belongs to the connection is freed -> IDLE, or ENDED
 *   ENDED     nothing is open
 *
 * An operation of the connection is out from the time its handler answers VHU_PENDING until export_operation_done().
 */
#ifndef RINGLANE_DAEMON_EXPORT_INTERNAL_H
#define RINGLANE_DAEMON_EXPORT_INTERNAL_H

#include "daemon/export.h"
#include "daemon/export_device.h"
#include "daemon/log.h"
#include "daemon/socket_file.h"
#include "device/lane.h"
#include "vhost_user/backend.h"
#include "vhost_user/wire.h"

enum export_state { EXPORT_IDLE, EXPORT_SERVING, EXPORT_CLOSING, EXPORT_ENDED };

enum export_quiet {
	EXPORT_RUNS,      /* -> HOLDING when there is a drain */
	EXPORT_HOLDING,   /* the lanes have been told. -> QUIET when all have answered */
	EXPORT_QUIET,     /* nothing is in flight. -> RELEASING when the last drain was released */
	EXPORT_RELEASING, /* the lanes have been told. -> RUNS */
};

struct export_queue {
	struct export *export;
	struct iothread *mapped; /* by the options, a reference; NULL: automatic, or the main loop */
	struct iothread *used;   /* by the lane, a reference; NULL: the main loop */
	struct lane *lane;       /* made when the ring first starts, kept until the client goes */
	bool running;            /* started and not yet stopped */
	/* for people, while it runs */
	bool broken, paused, stopping;
	uint64_t kicks_before; /* it was started last */
};

struct export
{
	struct export_config config;
	const struct export_spec *spec;
	struct loop *loop;
	enum export_state state;
	bool shutting_down;
	struct socket_file socket;
	uint64_t told_size; /* of the disk, as the front end knows it */
	const struct export_device *type;
	void *device;
	int listen_fd;
	struct loop_fd listener, connection;
	struct loop_timer accept_again;
	struct loop_defer finish, read_on;
	struct log_limit said; /* because of its clients */
	enum export_quiet quiet;
	STAILQ_HEAD(, export_drain) drains; /* not answered yet */
	unsigned drained;                   /* answered and not released */
	unsigned quiet_out;                 /* lanes that have not answered */
	bool quiet_stepping,
		quiet_awaited; /* the latter by the end of a connection, or of the export */
	/* of the connection */
	struct vhu_backend *backend;
	struct mem_map *map;
	uint64_t features;
	bool operation_out;
	unsigned lanes_out; /* commands of the operation that are not answered yet */
	int lanes_result;
	void (*lanes_done)(struct export * export, int result);
	unsigned queue_count;
	struct export_queue queues[];
};

const struct vhu_backend_ops *export_backend_ops(void);
/* Sends a stop to each lane that runs; false when there is none. lanes_done is called when the last one has answered. */
bool export_stop_lanes(struct export *export, void (*done)(struct export *export, int result));
/* Nobody is connected: quiet, as after an export_drain() that was answered. */
void export_begin_drained(struct export *export);
/* A lane that is made now is made held. */
bool export_lanes_are_held(const struct export *export);
/* Frees lanes and lets go of IOThreads and memory: all lanes are stopped. */
void export_forget_rings(struct export *export);
/* The answer to what the connection asked for is known. */
void export_operation_done(struct export *export, int result);

#endif
