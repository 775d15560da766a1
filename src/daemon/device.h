/* SPDX-License-Identifier: MIT */
/*
 * Devices: SCSI disks behind adapters. Devices of one node show one disk, on different adapters.
 *
 * Main thread. What may be there together was checked with the specs (device_spec.c); what only the disk and the adapter know (names
 * that are too long, addresses that are taken) is found out here.
 */
#ifndef RINGLANE_DAEMON_DEVICE_H
#define RINGLANE_DAEMON_DEVICE_H

#include "block/block.h"
#include "daemon/config.h"
#include "device/scsi.h"

struct devices;
struct device;
struct devices_drain;

struct devices_config {
	struct loop *loop;
	struct block_graph *graph;
	void (*idle)(void *opaque); /* no disk is left */
	void *opaque;
};

/* NULL: no memory. */
struct devices *devices_new(const struct devices_config *config);
void devices_free(struct devices *devices); /* idle; NULL is fine */
bool devices_are_idle(const struct devices *devices);

/* Sets spec->device. A driver that runs behind the adapter is told. The export is there. */
int device_new(struct devices *devices, struct device_spec *spec, struct error *error);
/*
 * Commands that are being executed are finished, then gone() is called; spec->device is NULL then, and the node is not used any more.
 * May be called before this returns. Not twice.
 */
void device_remove(struct device *device, void (*gone)(struct device_spec *spec, void *opaque),
		   void *opaque);
bool device_is_leaving(const struct device *device);
struct scsi_lun *device_lun(const struct device *device);
struct scsi_unit *device_unit(const struct device *device);

/* Tells the drivers of disks whose size has changed. */
void devices_check_sizes(struct devices *devices);
/*
 * Holds back the commands of all disks that show this node or one that lies on it: done when none is being executed, perhaps before
 * this returns; it is followed by devices_release(), in done or later. False: no memory, nothing has happened. A disk that is added
 * meanwhile is held back from its start.
 */
bool devices_drain(struct devices *devices, const struct block_node *node,
		   void (*done)(struct devices_drain *drain, void *opaque), void *opaque);
void devices_release(struct devices_drain *drain);

#endif
