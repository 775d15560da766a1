/* SPDX-License-Identifier: MIT */
/*
 * The two halves of a lane; nobody else includes this.
 *
 * lane.c          the data path: poll, pop, execute, complete, publish, call
 * lane_life.c     made, freed, statistics
 * lane_control.c  commands: start, stop, pause, new file descriptors, new memory map, breaking
 * lane_hold.c     hold and release
 */
#ifndef RINGLANE_DEVICE_LANE_INTERNAL_H
#define RINGLANE_DEVICE_LANE_INTERNAL_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "device/lane.h"

enum lane_state {
	LANE_STOPPED,
	LANE_WAITING,
	LANE_RUNNING,
	LANE_PAUSED,
	LANE_DRAINING,
	LANE_BROKEN,
};

struct lane_map {
	struct mem_map *map; /* a reference */
	unsigned in_flight;  /* requests that point into it */
};

enum lane_verb {
	LANE_START,
	LANE_STOP,
	LANE_ENABLE,
	LANE_DISABLE,
	LANE_SET_CALL,
	LANE_SET_KICK,
	LANE_SET_ERR,
	LANE_SET_MAP,
};

/* One at a time. The main thread fills it before it posts, the lane's loop answers with the same message. */
struct lane_command {
	struct loop_message message;
	enum lane_verb verb;
	bool busy; /* main thread's */
	int fd;
	int result;
	struct lane_start start;
	struct lane_map *map;
	struct virtq_memory memory;
	lane_done_fn *done;
	void *opaque;
};

/* There and back like a command, but beside it. */
struct lane_hold {
	struct loop_message message;
	bool busy;  /* main thread's */
	bool waits; /* the lane's: for what is in flight */
	void (*done)(void *opaque);
	void *opaque;
};

struct lane_impl {
	/* data path: the lane's loop, for each request */
	struct lane lane cache_aligned; /* must be first */
	const struct lane_ops *ops;
	struct lane_request *free; /* last in, first out */
	struct lane_map *map;      /* what new requests point to */
	uint8_t *taken;            /* by head: this chain is in flight */
	unsigned in_flight;
	unsigned pushed; /* since the last call decision */
	enum lane_state state;
	/* execute() is running, with this map: the batch publishes, not the turn's end. NULL: it is not */
	struct lane_map *batch_map;
	struct lane_stats stats; /* store_relaxed; read by anybody */
	struct virtq_device q cache_aligned;

	/* the lane's loop, once in a batch */
	struct loop_poller poller cache_aligned;
	struct loop_defer turn_end;

	/* the lane's loop, seldom */
	struct loop_fd kick;
	bool has_kick; /* kick is with the loop */
	bool enabled;
	bool held;        /* takes nothing, whatever its state is */
	bool reported;    /* the broken ring */
	bool stopping;    /* a stop waits for its answer */
	unsigned signals; /* that a stop still waits for */
	struct loop_signal call, err;
	struct loop_signal kick_back; /* to whoever has the ring next */
	void *slots;
	size_t slots_bytes;
	unsigned slots_used; /* the others were never touched */

	/* both */
	struct lane_command command;
	struct lane_hold hold;
	struct loop_message broken_message;
	const char *broken_reason;

	/* constant */
	struct loop *loop, *main_loop;
	unsigned index;
	void (*broken)(void *opaque, unsigned index, const char *reason);
	void *opaque;
};

static inline struct lane_impl *lane_impl(struct lane *lane)
{
	return (struct lane_impl *)lane;
}

/* Only the lane's loop counts, so no read-modify-write is needed. */
#define lane_count(lane, counter, by) \
	store_relaxed(&(lane)->stats.counter, (lane)->stats.counter + (by))

/* lane.c */
bool lane_poll(struct loop_poller *poller);
bool lane_notify_enable(struct loop_poller *poller);
void lane_notify_suppress(struct loop_poller *poller);
/* Shows the driver what was pushed and calls it if it wants that. */
void lane_flush(struct lane_impl *lane);

/* lane_control.c */
void lane_turn_end(struct loop_defer *defer);
void lane_rest(struct lane_impl *lane); /* its next state is the caller's */
/* The ring is dead until it is stopped: said once, to the main loop and to the front end. */
void lane_break(struct lane_impl *lane, const char *reason);
void lane_map_free(struct lane_map *map); /* NULL is fine */
/* A slot that was never used, put on the free list; NULL when all have been. */
struct lane_request *lane_slot_new(struct lane_impl *lane);

/* lane_hold.c */
void lane_hold_turn_end(struct lane_impl *lane);

#endif
