/* SPDX-License-Identifier: MIT */
/*
 * One queue of a device: the driver's end of a ring, the requests in it, and what one thread needs to submit and reap
 * them. Everything that is written per request lies in this object's own cache lines or in the queue's part of the
 * memory that is shared with the device.
 *
 * What the device can reach: the ring, and for each descriptor a line with the header and the status of the request
 * whose chain begins there (its id), room for ranges, and an indirect table. What it cannot: everything in
 * struct ringlane_queue and user_data.
 */
#ifndef RINGLANE_DRIVER_QUEUE_H
#define RINGLANE_DRIVER_QUEUE_H

#include "driver/doorbell.h"
#include "driver/memory.h"
#include "virtq/virtq.h"

#include <linux/virtio_blk.h>
#include <ringlane/ringlane.h>
#include <stdbool.h>
#include <stdint.h>

#define QUEUE_RANGES_MAX 16 /* of a discard or write zeroes request */
#define QUEUE_TABLE_MAX 34  /* descriptors of an indirect table: header, 32 segments, status */
#define QUEUE_REQUEST_MAX (1u << 30) /* bytes */
#define QUEUE_STATUS_NEVER 0xff      /* no device writes this */

/* What requests are checked against; lines of its own, read by all queues, capacity written at a resize. */
struct queue_limits {
	cache_aligned uint64_t capacity; /* bytes; atomic */
	uint64_t block_mask;
	uint64_t discard_max, write_zeroes_max; /* bytes of a range */
	uint32_t discard_ranges, write_zeroes_ranges;
	uint32_t seg_max;
	uint32_t segment_bytes_max;
	bool read_only, flush;
};

/* virtio 1.3, 5.2.6: what comes before and after the data, in one line of the cache. */
struct queue_line {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint8_t unused[47];
};
static_assert(sizeof(struct queue_line) == CACHE_LINE,
	      "a request's header and status share a line");

struct queue_ranges {
	struct virtio_blk_discard_write_zeroes range[QUEUE_RANGES_MAX];
};
static_assert(sizeof(struct queue_ranges) % CACHE_LINE == 0, "ranges do not share lines");

struct ringlane_queue {
	/* set up once */
	cache_aligned const struct queue_limits *limits;
	const struct memory *memory;
	uint64_t shared_delta;       /* from an address in the shared memory to the device's */
	struct queue_line *lines;    /* shared memory, by id */
	struct queue_ranges *ranges; /* shared memory, by id; NULL when no request has ranges */
	void **user_data;            /* by id */
	struct virtq_sg *sg;         /* scratch: seg_max + 2 */
	int kick_fd, call_fd;
	int gone_fd; /* borrowed from the transport */
	short gone_events;
	struct doorbell doorbell; /* instead of kick_fd */
	unsigned depth;
	/* written for each request */
	cache_aligned struct virtq_driver ring;
	struct memory_cursor cursor;
	unsigned in_flight;
	uint16_t id_last;     /* of the last completion */
	unsigned empty_reaps; /* in a row */
	bool gone;
};
static_assert(sizeof(struct ringlane_queue) % CACHE_LINE == 0, "queues do not share lines");

struct queue_setup {
	const struct queue_limits *limits;
	struct memory *memory;
	uint16_t size;
	bool indirect, event_idx, has_ranges;
	int gone_fd;
	short gone_events;
	uint64_t shared_delta;
};

/* Bytes of shared memory that one queue takes, a multiple of the cache line. */
size_t queue_shared_bytes(const struct queue_setup *setup);
/* shared: that many bytes, zeroed, of memory that the device reaches. */
int queue_new(const struct queue_setup *setup, void *shared, struct ringlane_queue **ret_queue,
	      struct error *error);
/* The device does not know it any more. NULL is fine. */
void queue_free(struct ringlane_queue *queue);

/*
 * The two halves of ringlane_submit, for a queue that threads share: what was queued becomes visible and it is decided
 * whether the device wants a kick, under the queue's lock; the kick itself needs none, and is made after unlocking.
 */
bool queue_publish(struct ringlane_queue *queue);
void queue_ring(const struct ringlane_queue *queue);

#endif
