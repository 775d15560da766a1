/* SPDX-License-Identifier: MIT */
/*
 * How a driver reaches its device: the control path. Each transport embeds struct transport and fills in a table of
 * operations. Nothing here is called per request: a queue rings its device by the kick fd that it gave to queue_start, or
 * by a doorbell that it got.
 *
 * All calls from the thread that owns the device (see ringlane.h); each blocks at most for the timeout of open.
 */
#ifndef RINGLANE_DRIVER_TRANSPORT_H
#define RINGLANE_DRIVER_TRANSPORT_H

#include "base/error.h"
#include "driver/doorbell.h"
#include "mem/dma.h"

#include <stdbool.h>
#include <stdint.h>

struct transport_facts {
	uint64_t features;     /* virtio bits that the device offers */
	uint64_t features_own; /* those of them that set_features adds */
	uint64_t protocol_features;
	unsigned queue_max;
	uint16_t queue_size_max; /* entries of a ring; 0: not told */
	unsigned mem_slots;
};

struct transport_ring {
	uint16_t size;
	const void *desc, *avail, *used;                 /* in this process */
	uint64_t desc_device, avail_device, used_device; /* as the device sees them */
	int kick_fd, call_fd;                            /* borrowed until queue_stop */
};

/* How a queue calls: by a vector of a PCI function. */
struct transport_vector {
	const char *address; /* of the function */
	unsigned number;     /* several queues may share one */
	bool is_off;         /* nobody wants its interrupt: queue_mask */
};

struct transport;

struct transport_ops {
	/* Frees the transport. The device may go on writing to memory it was given until then. */
	void (*close)(struct transport *transport);
	void (*get_facts)(const struct transport *transport, struct transport_facts *ret_facts);
	/* The bits of the transport itself are added to features. */
	int (*set_features)(struct transport *transport, uint64_t features, struct error *error);
	/* Zeroes bytes first; *ret_size: how many of them the device has. */
	int (*get_config)(struct transport *transport, void *bytes, uint32_t size,
			  uint32_t *ret_size, struct error *error);
	/* Some bytes of it, which the driver may write. -ENOTSUP: the device has no configuration space. */
	int (*set_config)(struct transport *transport, uint32_t offset, const void *bytes,
			  uint32_t size, struct error *error);
	/* Shares the region and sets its device_addr. -ENOSPC: no further region. */
	int (*mem_add)(struct transport *transport, struct dma_region *region, struct error *error);
	int (*mem_remove)(struct transport *transport, const struct dma_region *region,
			  struct error *error);
	int (*queue_start)(struct transport *transport, unsigned index,
			   const struct transport_ring *ring, struct error *error);
	/* After queue_start: how the queue rings the device. NULL: by the kick fd. */
	void (*queue_doorbell)(const struct transport *transport, unsigned index,
			       struct doorbell *ret_doorbell);
	/* Finishes what is in flight. */
	int (*queue_stop)(struct transport *transport, unsigned index, struct error *error);
	/*
	 * One ring stops while the others run on, VIRTIO_F_RING_RESET having been negotiated. 0: confirmed, the device touches
	 * none of its memory any more, and queue_start is next. -errno: nothing is confirmed, and reset still works. NULL: it cannot.
	 */
	int (*queue_reset)(struct transport *transport, unsigned index, struct error *error);
	/*
	 * Rings [0, count) stop. 0: it is confirmed, the device touches no memory any more, and is as after set_features with
	 * the regions it has: queue_start and start are next. -errno: nothing is confirmed; after -ETIMEDOUT no other call
	 * works but hang_up and close.
	 */
	int (*reset)(struct transport *transport, unsigned count, struct error *error);
	/*
	 * Makes the device let go and waits until it is seen to be gone: it touches no memory any more. 0: gone; -ETIMEDOUT.
	 * With reconnect; both NULL: a device that is gone stays so.
	 */
	int (*hang_up)(struct transport *transport, unsigned timeout_ms, struct error *error);
	/*
	 * After hang_up: looks for the device, once. 0: as after opening, nothing that it was told holds. This and what follows,
	 * up to start, ends by the deadline (clock_ns()).
	 */
	int (*reconnect)(struct transport *transport, uint64_t deadline, struct error *error);
	/* NULL: it calls by the call fd, and there is no interrupt. */
	void (*queue_vector)(const struct transport *transport, unsigned index,
			     struct transport_vector *ret_vector);
	/*
	 * The queue wants no interrupt until queue_unmask. When no other queue wants that of the vector either, it alone is given
	 * back to the kernel. What the device raises meanwhile may be lost: the ring is to be looked at after queue_unmask. Both hold over
	 * queue_stop, reset and start. -errno: it is as before. With queue_vector.
	 */
	int (*queue_mask)(struct transport *transport, unsigned index, struct error *error);
	int (*queue_unmask)(struct transport *transport, unsigned index, struct error *error);
	/* The driver is ready: DRIVER_OK. */
	int (*start)(struct transport *transport, struct error *error);
	/* Has gone_events when the device is gone; other readiness means nothing. */
	int (*gone_fd)(const struct transport *transport);
	/* Readable when event() has something to say; -1: never. */
	int (*event_fd)(const struct transport *transport);
	/* 1: the configuration changed, 0: nothing, -errno: there will be no more events. */
	int (*event)(struct transport *transport);
};

struct transport {
	const struct transport_ops *ops;
	short gone_events; /* of poll(2), on gone_fd */
};

/* device_id: VIRTIO_ID_*, what the function must be. */
int transport_vfio_open(const char *address, unsigned device_id, unsigned timeout_ms,
			struct transport **ret_transport, struct error *error);
int transport_vhost_user_open(const char *path, unsigned timeout_ms,
			      struct transport **ret_transport, struct error *error);

#endif
