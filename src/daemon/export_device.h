/* SPDX-License-Identifier: MIT */
/*
 * What an export asks of the device behind it: one table per kind of device, so that the life of the socket and the connection
 * (export.c, export_ring.c) is written once. export_blk.c and export_scsi.c have the tables. Main thread.
 */
#ifndef RINGLANE_DAEMON_EXPORT_DEVICE_H
#define RINGLANE_DAEMON_EXPORT_DEVICE_H

#include "base/error.h"
#include "device/lane.h"

struct export;

#define EXPORT_QUEUE_NAME_MAX 16

struct export_device {
	uint64_t protocol_features;
	unsigned fixed_queues; /* the first ones, which no mapping counts: the main loop serves them */

	/* make sets export->device. */
	int (*make)(struct export *export, struct error *error);
	void (*free)(void *device); /* lanes are stopped and freed */
	uint64_t (*features)(const void *device);
	void (*set_acked)(void *device, uint64_t features);
	void (*get_config)(const void *device, uint32_t offset, void *bytes, uint32_t size);
	int (*set_config)(void *device, uint32_t offset, const void *bytes, uint32_t size);
	void (*reset)(void *device);
	const struct lane_ops *(*lane_ops)(unsigned index);
	const char *(*queue_name)(unsigned index, char *text, size_t size);
	/* A lane has been made for this queue. NULL: the device does not care. */
	void (*set_loop)(void *device, unsigned index, struct loop *loop);
	/* The lanes are stopped and will be freed: done when the device needs their loops no more, perhaps before this returns. */
	void (*forget_loops)(void *device, void (*done)(void *opaque), void *opaque);
	/* The size of the disk behind it, as its configuration space tells; NULL: it has none there. */
	uint64_t (*size)(const struct export *export);
};

extern const struct export_device export_blk, export_scsi;

#endif
