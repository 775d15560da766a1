/* SPDX-License-Identifier: MIT */
/*
 * An export: a device, the socket where front ends find it, and the connection of the one that is there.
 *
 * This is where the protocol and the device meet: neither knows the other. Main thread; lanes are reached by their commands.
 */
#ifndef RINGLANE_DAEMON_EXPORT_H
#define RINGLANE_DAEMON_EXPORT_H

#include "block/block.h"
#include "daemon/config.h"
#include "daemon/iothreads.h"
#include "device/lane.h"
#include "loop/loop.h"

#include <sys/queue.h>

struct export;
struct scsi_device;

struct export_config {
	const struct export_spec *spec;
	struct loop *loop; /* the main loop */
	struct iothreads *iothreads;
	struct block_node *node; /* NULL: an adapter, whose disks come by themselves */
	uint16_t relative_port;  /* 1 …: of an adapter, among all */
	bool drained;            /* from the start, until export_release() */
	/* No client is there, and none can come any more. */
	void (*ended)(struct export *export, void *opaque);
	void *opaque;
};

/* Checks the disk and maps the queues; opens nothing. The IOThreads of the mapping cannot be deleted from here on. */
int export_new(const struct export_config *config, struct export **ret_export, struct error *error);
/* Makes the socket. From here on a client may connect; it is served when the loop runs. */
int export_listen(struct export *export, struct error *error);
/* Finishes what is in flight, closes everything, removes the socket, then calls ended(). */
void export_shut_down(struct export *export);
bool export_is_ended(const struct export *export);
bool export_is_connected(const struct export *export);
/* Removes the socket file, in case of a hasty end. */
void export_unlink(struct export *export);
void export_free(struct export *export); /* never listened, or ended; NULL is fine */
const char *export_id(const struct export *export);
struct scsi_device *export_scsi_device(const struct export *export); /* NULL: it is none */
const struct block_node *export_node(const struct export *export);   /* NULL: an adapter */
/*
 * Holds back the requests of its client: done when none is being executed, perhaps before this returns. Each drain has its
 * export_release(), in done or later; the export is there until then. It has not ended, and is no adapter.
 */
struct export_drain {
	void (*done)(void *opaque);
	void *opaque;
	STAILQ_ENTRY(export_drain) next;
};
void export_drain(struct export *export, struct export_drain *drain);
void export_release(struct export *export);
/* The size of the node may have changed: tells the front end when it did. */
void export_check_size(struct export *export);
/* Drops the client if it has taken away memory that it had shared. */
void export_check_memory(struct export *export);

/* A queue as people see it. */
struct export_queue_info {
	char name[16]; /* "ctrl", "event", "0", … */
	char cpus[128];
	const char *iothread; /* NULL: the main loop */
	pid_t tid;
	const char *state;
	bool set_up; /* by the client that is there */
	struct lane_stats stats;
};

unsigned export_queue_count(const struct export *export);
/* False when nobody knows yet who will serve it: it is not mapped, and no client has set it up. */
bool export_get_queue(const struct export *export, unsigned index,
		      struct export_queue_info *ret_info);
/* A line for each queue that is set up. */
void export_print_map(const struct export *export);

#endif
