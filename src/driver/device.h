/* SPDX-License-Identifier: MIT */
/* What is behind struct ringlane_device. Owned by one thread; queues have threads of their own (queue.h). */
#ifndef RINGLANE_DRIVER_DEVICE_H
#define RINGLANE_DRIVER_DEVICE_H

#include "driver/blk_config.h"
#include "driver/memory.h"
#include "driver/queue.h"
#include "driver/scsi.h"
#include "driver/transport.h"
#include "mem/dma.h"

#include <pthread.h>
#include <ringlane/ringlane.h>

struct device_region {
	struct dma_region dma; /* the fd is ours */
	bool owned;            /* the mapping is ours too */
};

/* What options.mem_size bought: given away from the front, and free again when all of it has come back. */
struct device_arena {
	uint8_t *first;
	size_t size, used;
	unsigned live; /* pieces given away */
};

enum device_kind { DEVICE_BLK, DEVICE_SCSI };

struct ringlane_device {
	struct queue_limits limits;
	pthread_mutex_t lock; /* the owner's functions, and the keeper's of a managed device */
	struct memory memory;
	struct transport *transport;
	int event_fd; /* epoll: the transport's event_fd and gone_fd */
	struct ringlane_info info;
	struct dma_region shared; /* rings and lines of all queues, then the arena */
	struct device_arena arena;
	enum device_kind kind;
	unsigned ring_first; /* the ring of queue 0 */
	unsigned ring_count; /* all rings: those before, info.queues, and perhaps one of the device's own */
	unsigned started; /* rings [0, started) are known to the device */
	struct ringlane_queue **rings;
	struct ringlane_queue **queues;  /* rings + ring_first */
	struct scsi_adapter scsi;        /* DEVICE_SCSI */
	struct irq_affinity *interrupts; /* interrupts.c; NULL: nobody has placed them */
	struct device_region *regions;
	unsigned region_count;
};

static_assert(sizeof(struct ringlane_error) == sizeof(struct error) &&
		      offsetof(struct ringlane_error, text) == offsetof(struct error, text),
	      "the public error object is the internal one");

static inline struct error *error_of(struct ringlane_error *error)
{
	return (struct error *)error;
}

/* The device lets go of all requests, and of the rings until they are started again. -errno: it did not say so. */
int device_queues_stop(struct ringlane_device *device);

/* device_memory.c: memory that requests may use, inside device->shared, which the device knows. */
int device_arena_init(struct ringlane_device *device, uint8_t *first, size_t size,
		      struct error *error);
/* Undoes what ringlane_mem_* did and was not undone; the transport is closed. */
void device_regions_free(struct ringlane_device *device);

/* device.c: steps of opening that device_recover.c takes again. */
int device_config_read(struct ringlane_device *device, struct ringlane_info *info,
		       struct error *error);
bool device_is_gone(const struct ringlane_device *device);
int device_events_watch(struct ringlane_device *device, struct error *error);
/* See queue_renew: all of them. */
void device_rings_renew(struct ringlane_device *device, int result);
/* One ring alone. Can the device do that? */
bool device_can_reset_ring(const struct ringlane_device *device);
/* Its queue is quiet. As ringlane_reset; when it fails, that is still possible. */
int device_ring_reset(struct ringlane_device *device, unsigned ring, struct error *error);
/* Tells the device its rings, and that the driver is ready. */
int device_rings_start(struct ringlane_device *device, struct error *error);

/* device_recover.c: for who brings its own waiting (managed mode). The queues are quiet. */

/* The device is gone for sure, or stays at most timeout_ms; what was in flight comes back with -ECONNRESET. */
int device_let_go(struct ringlane_device *device, unsigned timeout_ms, struct error *error);
/* One attempt, after device_let_go. */
int device_reconnect_once(struct ringlane_device *device, uint64_t deadline, struct error *error);
/* Not worth another attempt. */
bool device_error_is_final(int code);

#endif
