/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi (virtio 1.3, 5.6): an adapter with a control queue, an event queue and request queues; the LUNs behind it.
 *
 * Queue 0 is `ctrl`, 1 is `event`, the others are request queues, which people count from 0. ctrl and event are lanes on the main
 * loop; each request queue is a lane on the IOThread that it is mapped to. The event queue is never polled.
 *
 *   scsi_device  the adapter: one initiator
 *   scsi_disk    one disk: a scsi_unit, and who shows it. Two adapters may show one disk
 *   scsi_lun     a disk at an address (target, LUN) of an adapter: a scsi_nexus, and for each request queue what that lane alone
 *                touches: channel, tasks, what is held back
 *
 * Threads. Devices, disks and LUNs belong to the main thread. Lanes find LUNs in an immutable table, which is replaced whole; the
 * old one is freed when each loop that could look into it has answered a message. What concerns the tasks of other lanes (TMFs,
 * drain, unplug, exclusive commands) is one message to each distinct loop that is awake or has something of the LUN, a counter on the
 * main thread, and an answer when the last one has answered. No thread ever waits.
 */
#ifndef RINGLANE_DEVICE_SCSI_H
#define RINGLANE_DEVICE_SCSI_H

#include "device/lane.h"
#include "scsi/unit.h"

#include <sys/queue.h>

#define SCSI_QUEUE_CTRL 0u
#define SCSI_QUEUE_EVENT 1u
#define SCSI_QUEUE_FIRST 2u /* request queue */
#define SCSI_SEG_MAX 126u
#define SCSI_CDB_SIZE_DEFAULT 32u
#define SCSI_SENSE_SIZE_DEFAULT 96u

struct scsi_device_config {
	struct loop *main_loop;
	uint16_t num_queues;           /* request queues */
	uint32_t cdb_size, sense_size; /* bytes of the two fields of a request; 0: the defaults */
	struct scsi_port_ids ports;
};

struct scsi_device;
struct scsi_disk;
struct scsi_lun;

/* ---- the adapter: main thread ---- */

int scsi_device_new(const struct scsi_device_config *config, struct scsi_device **ret_device,
		    struct error *error);
void scsi_device_free(
	struct scsi_device *device); /* no LUN, lanes stopped, loops forgotten; NULL is fine */
/* index: of the virtqueue, ctrl and event included. */
const struct lane_ops *scsi_lane_ops(unsigned index);
/* "ctrl", "event", "0", "1", … */
const char *scsi_queue_name(unsigned index, char *text, size_t size);
uint64_t scsi_device_features(const struct scsi_device *device); /* offered */
/* A front end may offer the driver more than we do (CHANGE, T10_PI): what is acknowledged counts. */
void scsi_device_set_acked(struct scsi_device *device, uint64_t features);
void scsi_device_get_config(const struct scsi_device *device, uint32_t offset, void *bytes,
			    uint32_t size);
/* sense_size and cdb_size can be written: -EINVAL otherwise, and out of range. */
int scsi_device_set_config(struct scsi_device *device, uint32_t offset, const void *bytes,
			   uint32_t size);
/* Device reset, or the client has gone: I_T nexus loss for each LUN; configuration as at the start. Lanes are stopped. */
void scsi_device_reset(struct scsi_device *device);

/* The loop that serves this virtqueue (a request queue) from now on; its lane has been made and was not started. */
void scsi_device_set_loop(struct scsi_device *device, unsigned index, struct loop *loop);
/* The lanes are stopped and will be freed, their IOThreads may go: done when no message to a loop is out any more. May be called
 * before this returns. */
void scsi_device_forget_loops(struct scsi_device *device, void (*done)(void *opaque), void *opaque);

/* ---- disks and LUNs: main thread ---- */

int scsi_disk_new(const struct scsi_unit_config *config, struct scsi_disk **ret_disk,
		  struct error *error);
/* No LUN shows it. Ends what runs in the background first. done on the main loop, perhaps before this returns. NULL is not fine. */
void scsi_disk_free(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque);
struct scsi_unit *scsi_disk_unit(const struct scsi_disk *disk);

/* A free address: target and lun are given, or -1 for any. QEMU's way: LUN 0 of the first target that has none. -ENOSPC, -EEXIST. */
int scsi_device_pick_address(const struct scsi_device *device, int target, int lun,
			     uint16_t *ret_target, uint16_t *ret_lun, struct error *error);
/* Hot plug: a driver that runs gets TRANSPORT_RESET / RESCAN and REPORTED LUNS DATA HAS CHANGED. -EEXIST: the address is taken. */
int scsi_device_add_lun(struct scsi_device *device, struct scsi_disk *disk, uint16_t target,
			uint16_t lun, struct scsi_lun **ret_lun, struct error *error);
/*
 * Unplug: commands that are there are finished, later ones find no LUN; the driver gets TRANSPORT_RESET / REMOVED; then done. The LUN
 * is gone when done is called. Not twice.
 */
void scsi_lun_remove(struct scsi_lun *lun, void (*done)(void *opaque), void *opaque);
void scsi_lun_get_address(const struct scsi_lun *lun, uint16_t *ret_target, uint16_t *ret_lun);

/* done and opaque are the caller's to fill; the disk's from scsi_disk_drain() on until done is called. */
struct scsi_drain {
	void (*done)(void *opaque);
	void *opaque;
	STAILQ_ENTRY(scsi_drain) next;
};
/*
 * Drain: done when no command of this disk is being executed, on any adapter; commands that come are held back until
 * scsi_disk_release(). Other disks never notice. May be nested; each drain has its release.
 */
void scsi_disk_drain(struct scsi_disk *disk, struct scsi_drain *drain);
void scsi_disk_release(struct scsi_disk *disk);
/* A new disk, which no LUN shows yet: as after a drain that was answered. */
void scsi_disk_begin_drained(struct scsi_disk *disk);
/* The size of the node has changed: unit attention, and PARAM_CHANGE to drivers that took CHANGE. */
void scsi_disk_capacity_changed(struct scsi_disk *disk);

/* For people: relaxed counts. commands: that have begun, uses by an EXTENDED COPY included. */
struct scsi_lun_stats {
	uint64_t commands;
	unsigned in_flight, held;
};
void scsi_lun_get_stats(const struct scsi_lun *lun, struct scsi_lun_stats *ret_stats);

#endif
