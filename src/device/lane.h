/* SPDX-License-Identifier: MIT */
/*
 * A lane: one virtqueue on one loop, with everything that serves it.
 *
 * States, on the lane's loop:
 *   STOPPED   no ring. start -> WAITING
 *   WAITING   ring set up, not kicked yet. first kick -> RUNNING; stop -> STOPPED
 *   RUNNING   pops, executes, completes. disable -> PAUSED; a broken rule -> BROKEN; stop -> DRAINING
 *   PAUSED    completes what is in flight, pops nothing. enable -> RUNNING; stop -> DRAINING
 *   DRAINING  completes what is in flight, pops nothing; when the last is done the stop is answered -> STOPPED
 *   BROKEN    like PAUSED until stopped; the reason was reported once
 *
 * Commands come from the main loop as messages, at most one per lane at a time, and are answered there by a message. Slots
 * (requests with their scatter lists) are allocated at start, `size` of them, used last-in first-out so that a lane that
 * completes at once touches one; they are freed at stop. Within the lane: no lock, no allocation per request.
 *
 * Batches: requests that complete inside the device's execute() are published every LANE_PUBLISH entries and at the end of the
 * batch; those that complete later at the end of the loop's turn. One call decision per batch.
 *
 * A lane whose device has `kicked` is never polled: the device takes a chain when it has something to put into it (lane_take), and
 * hears of each kick. Chains may lie in its ring for ever; kicks stay asked for.
 */
#ifndef RINGLANE_DEVICE_LANE_H
#define RINGLANE_DEVICE_LANE_H

#include "loop/loop.h"
#include "mem/map.h"
#include "virtq/virtq.h"

#include <stdbool.h>
#include <stdint.h>

#define LANE_IOV_MAX \
	160           /* entries of a slot: 126 data segments, header, status, region boundaries */
#define LANE_BATCH 64 /* chains of one poll */
#define LANE_BATCH_BYTES \
	(4u << 20) /* no further chain after so many: other lanes of the loop wait */
#define LANE_PUBLISH 8

struct lane_map; /* a memory map as one lane uses it: counts the requests that still point into it */

/* What a device may know of its lane; the rest of the lane lies behind it. */
struct lane {
	void *device;
	void *private;     /* the device's own, per lane: a channel */
	uint64_t features; /* negotiated */
};

/* A device's request begins with this. */
struct lane_request {
	struct virtq_chain chain;
	struct iovec *iov; /* LANE_IOV_MAX entries, chain's first; the device may change them */
	/* the lane's */
	struct lane *lane;
	struct lane_map *map;
	struct lane_request *next_free;
};

struct lane_ops {
	size_t request_size; /* a slot is zeroed once, when the lane starts */
	/* On the lane's loop: a slot is used for the first time. NULL: zeroes are what it wants. */
	void (*prepare)(struct lane *lane, struct lane_request *request);
	bool answer_first; /* the device answers at the beginning of the writable part, not at its end */
	/* On the lane's loop. start opens channels; lane->device and lane->features are set. */
	int (*start)(struct lane *lane);
	void (*stop)(struct lane *lane); /* nothing is in flight */
	/* Executes; ends in exactly one lane_complete() or lane_fail(), now or later on this loop. */
	void (*execute)(struct lane *lane, struct lane_request *request);
	/* Instead of execute, for a lane that is not polled: it runs now, or was kicked while it ran. On the lane's loop. */
	void (*kicked)(struct lane *lane);
};

struct lane_start {
	struct virtq_config virtq;
	struct mem_map *map;          /* the lane takes a reference */
	int kick_fd, call_fd, err_fd; /* the lane owns them from now on */
	uint64_t features;            /* negotiated */
	bool enabled;
};

/* requests: completed. batches: polls that found something. */
struct lane_stats {
	uint64_t requests, batches, calls, kicks;
	unsigned in_flight;
};

struct lane_config {
	const struct lane_ops *ops;
	void *device;
	unsigned index;
	bool held;              /* as after lane_hold() */
	struct loop *loop;      /* serves the ring */
	struct loop *main_loop; /* gets the answers */
	/* main loop: the ring broke; reason is a constant sentence */
	void (*broken)(void *opaque, unsigned index, const char *reason);
	void *opaque;
};

/* Main thread. Costs a few hundred bytes. */
int lane_new(const struct lane_config *config, struct lane **ret_lane);
void lane_free(struct lane *lane); /* stopped */
unsigned lane_index(const struct lane *lane);
struct loop *lane_loop(const struct lane *lane);
static inline void *lane_device(const struct lane *lane)
{
	return lane->device;
}
static inline uint64_t lane_features(const struct lane *lane)
{
	return lane->features;
}
/* For the device: its per-lane pointer (a channel). */
static inline void lane_set_private(struct lane *lane, void *pointer)
{
	lane->private = pointer;
}
static inline void *lane_private(const struct lane *lane)
{
	return lane->private;
}
void lane_get_stats(const struct lane *lane,
		    struct lane_stats *ret_stats); /* any thread, relaxed */

/*
 * Commands: main thread, one at a time per lane; done comes on the main loop, never before the command function returned.
 * result: 0 or -errno; stop: the next avail index. -EALREADY: start of a started lane, stop of a stopped one. The others change
 * nothing on a stopped lane (an fd is closed all the same) and answer 0. File descriptors belong to the lane from the call on.
 */
typedef void lane_done_fn(void *opaque, struct lane *lane, int result);
void lane_command_start(struct lane *lane, const struct lane_start *start, lane_done_fn *done,
			void *opaque);
void lane_command_stop(struct lane *lane, lane_done_fn *done, void *opaque);
void lane_command_enable(struct lane *lane, bool enabled, lane_done_fn *done, void *opaque);
void lane_command_set_call(struct lane *lane, int fd, lane_done_fn *done, void *opaque);
void lane_command_set_kick(struct lane *lane, int fd, lane_done_fn *done, void *opaque);
void lane_command_set_err(struct lane *lane, int fd, lane_done_fn *done, void *opaque);
/* The lane uses the new map for what it pops from now on; requests in flight keep the old one alive. memory: NULL pointers when
 * the ring does not lie in the map any more: the lane breaks. */
void lane_command_set_map(struct lane *lane, struct mem_map *map, const struct virtq_memory *memory,
			  lane_done_fn *done, void *opaque);

/*
 * Held: nothing is taken from the ring until lane_release(); done when nothing is in flight any more. Main thread, one at a time, in turns;
 * beside the commands, one of which may be out too. done comes on the main loop, never before this returned. Not for a lane that is
 * not polled.
 */
void lane_hold(struct lane *lane, void (*done)(void *opaque), void *opaque);
void lane_release(struct lane *lane, void (*done)(void *opaque), void *opaque);

/* For devices, on the lane's loop. written: bytes put into the writable part. */
void lane_complete(struct lane_request *request, uint32_t written);
/* The next chain of a lane that is not polled; NULL: there is none (the driver will kick when it adds one), or the lane does not
 * run. Ends like any other; a lane that stops waits for it. */
struct lane_request *lane_take(struct lane *lane);
/* All slots that were ever used, in flight or not: index 0 … count - 1. */
unsigned lane_slot_count(const struct lane *lane);
struct lane_request *lane_slot(const struct lane *lane, unsigned index);
/* The chain cannot be answered at all: the queue breaks with this constant sentence; the request is gone. */
void lane_fail(struct lane_request *request, const char *reason);

#endif
