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
	/* rarely looked at */
	uint32_t secure_erase_ranges;
	uint64_t secure_erase_max;
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

enum queue_kind {
	QUEUE_BLK,
	QUEUE_SCSI,    /* request queue */
	QUEUE_CONTROL, /* of virtio-scsi */
	QUEUE_EVENT,   /* of virtio-scsi */
};

struct scsi_slot;
struct scsi_targets;

/* What only request queues of virtio-scsi have (scsi.h). */
struct queue_scsi {
	/* set up once */
	const struct ringlane_lun *lun; /* of the functions that name none; NULL: there is none */
	uint16_t cdb_size, sense_size;
	uint32_t request_bytes, response_bytes; /* with these */
	uint8_t *scratch;                       /* shared memory: QUEUE_SCRATCH_BYTES */
	struct scsi_slot *slots;                /* by id */
	struct scsi_targets *targets;           /* by id */
	struct ringlane_completion *stash;      /* reaped while something else was waited for */
	/* written for each request */
	uint64_t tag;       /* of the last one */
	uint16_t id_queued; /* its id */
	unsigned stashed, stash_first;
	bool scratch_busy; /* a command that was given up may write to it */
};

#define QUEUE_SCRATCH_BYTES 16384u /* and a block of zeros behind it */
#define QUEUE_ZEROES_BYTES 4096u

/* Requests that came out of a ring that was made anew; not reaped yet. */
struct queue_returned {
	struct ringlane_completion *completions;
	size_t room;
	unsigned first, count;
};

struct ringlane_queue {
	/* set up once */
	cache_aligned const struct queue_limits *limits;
	const struct memory *memory;
	uint64_t shared_delta;       /* from an address in the shared memory to the device's */
	struct queue_line *lines;    /* shared memory, by id: of virtio-blk */
	uint8_t *wire;               /* the same of the others: a request, then its response */
	uint8_t *wire_responses;     /* the first of those responses */
	uint8_t wire_shift;          /* 1 << this to the next request */
	struct queue_ranges *ranges; /* shared memory, by id; NULL when no request has ranges */
	void **user_data;            /* by id */
	struct virtq_sg *sg;         /* scratch: seg_max + 2 */
	int kick_fd, call_fd;
	int gone_fd; /* borrowed from the transport */
	short gone_events;
	struct doorbell doorbell; /* instead of kick_fd */
	unsigned depth;
	enum queue_kind kind;
	/* written for each request */
	cache_aligned struct virtq_driver ring;
	struct memory_cursor cursor;
	unsigned in_flight;
	uint16_t id_last;     /* of the last completion */
	unsigned empty_reaps; /* in a row */
	bool gone;
	struct queue_scsi scsi;
	struct queue_returned returned;
};
static_assert(sizeof(struct ringlane_queue) % CACHE_LINE == 0, "queues do not share lines");

static inline uint8_t *queue_request(const struct ringlane_queue *queue, unsigned id)
{
	return queue->wire + ((size_t)id << queue->wire_shift);
}

static inline uint8_t *queue_response(const struct ringlane_queue *queue, unsigned id)
{
	return queue->wire_responses + ((size_t)id << queue->wire_shift);
}

/* The device's address of what lies in the queue's part of the shared memory. */
static inline uint64_t queue_shared_addr(const struct ringlane_queue *queue, const void *addr)
{
	return (uintptr_t)addr + queue->shared_delta;
}

struct queue_setup {
	enum queue_kind kind;
	uint64_t tag_base;             /* SCSI: tags are above it */
	uint16_t cdb_size, sense_size; /* SCSI */
	const struct queue_limits *limits;
	struct memory *memory;
	uint16_t size;
	bool indirect, event_idx, has_ranges;
	int gone_fd;
	short gone_events;
	uint64_t shared_delta;
};

/* Bytes of shared memory that one queue takes, whole pages. */
size_t queue_shared_bytes(const struct queue_setup *setup);
/* shared: that many bytes, zeroed, of memory that the device reaches. */
int queue_new(const struct queue_setup *setup, void *shared, struct ringlane_queue **ret_queue,
	      struct error *error);
/* The device does not know it any more. NULL is fine. */
void queue_free(struct ringlane_queue *queue);
/* The ring and what belongs to it, as new. */
void queue_ring_make(struct ringlane_queue *queue, const struct queue_setup *setup);

/* queue_recover.c: the queue is quiet. */

/* So that queue_renew cannot fail. -ENOMEM */
int queue_returned_reserve(struct ringlane_queue *queue);
/*
 * The device does not know the ring any more, which is made anew. What is in flight comes out of ringlane_reap next: what the
 * device had finished as it says, the rest, in the order of submission, with result. Returns how many.
 */
unsigned queue_renew(struct ringlane_queue *queue, const struct queue_setup *setup, int result);
/* One that had come out of the ring and was taken from the list is there again after all. */
void queue_returned_add(struct ringlane_queue *queue, void *user_data, int result);
/* Up to max of those. */
unsigned queue_returned_take(struct ringlane_queue *queue, struct ringlane_completion *completions,
			     unsigned max);

/*
 * The two halves of ringlane_submit, for a queue that threads share: what was queued becomes visible and it is decided
 * whether the device wants a kick, under the queue's lock; the kick itself needs none, and is made after unlocking.
 */
bool queue_publish(struct ringlane_queue *queue);
void queue_ring(const struct ringlane_queue *queue);

/* For reaping functions of other kinds. took: what virtq_driver_take said when it gave nothing. Returns 0 or -errno. */
int queue_reap_nothing(struct ringlane_queue *queue, int took);
/* Sleeps until the device calls, is gone, or clock_ns() reaches the deadline; whether it shall call is as before. */
void queue_sleep(struct ringlane_queue *queue, uint64_t deadline);

#endif
