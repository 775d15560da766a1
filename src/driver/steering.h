/* SPDX-License-Identifier: MIT */
/*
 * Which queue does a request go to? Pure bookkeeping: knows no ring, no thread and no clock; steer_enter and
 * steer_leave are for any thread, lock nothing, allocate nothing, and nobody waits for anybody.
 *
 * A flow is what keeps its order: a LUN, a target, whatever the caller says. While an ordered flow has requests in
 * flight, all of them are in one queue, so they stay first in, first out; when it is idle, the next request picks the
 * queue anew. This holds by construction, because {generation, queue, outstanding} is one word: the queue is only ever
 * replaced by a compare-exchange that finds outstanding == 0. A relaxed flow has no order to keep: each request goes
 * where the policy wants it, the flow's line is not even written, and so many CPUs can use one flow.
 *
 * A policy is an object that says where a request belongs. Where CPUs belong is a map, immutable and replaced as a
 * whole; where nobody may go is said by gates (gate.h).
 *
 * Bounded stickiness. An ordered flow that never gets idle cannot move. When it has been used from elsewhere for
 * limits.away_ns, or for limits.away_requests requests in a row, it wants to move: steer_enter answers -EBUSY, and the
 * caller holds what is new until the flow is idle, which the next steer_leave tells. If that has not happened after
 * limits.hold_ns the flow goes on where it is and does not ask again for limits.rest_ns: steering never starves a flow.
 *
 *     STAYS --used from elsewhere too long--> HOLDS --idle--> STAYS, in the new queue
 *       ^                                       |
 *       +---limits.rest_ns--- RESTS <--limits.hold_ns
 *
 * What this is decided by (struct steer_flow, "advice") is written without synchronisation: a lost update makes a move
 * come a little earlier or later and can break neither the order nor a bound.
 *
 * Holding, for the caller (docs/models/hold.pml proves that no request is left behind): the holder puts the request on
 * the flow's list, calls steer_hold, and tries steer_enter once more. Who gets true from steer_leave calls
 * steer_has_held, and if that is true too takes the list and tries its requests, oldest first, each with the CPU it
 * came from. New requests go behind the list while it is not empty. A hold also ends by itself, so while something is
 * held the list is tried every limits.hold_ns or so, whatever happens.
 *
 * Maps are kept until steering_fini, and a map that was used before is used again: CPUs that come and go make few
 * different maps. So a reader does not have to announce itself, which would cost two atomic additions per request.
 */
#ifndef RINGLANE_DRIVER_STEERING_H
#define RINGLANE_DRIVER_STEERING_H

#include "driver/gate.h"

#define STEER_QUEUES_MAX 0xffffu
#define STEER_NONE 0xffffu       /* of a map: this CPU has no queue of its own */
#define STEER_NO_WISH UINT32_MAX /* policy "picked": as the submitter's CPU */
#define STEER_MAPS_MAX 1024u     /* different ones */

struct steer_map {
	struct steer_map *next; /* all maps of one steering object */
	unsigned cpu_count, queue_count;
	uint16_t *domain_of_queue; /* behind queue_of_cpu */
	uint16_t queue_of_cpu[];   /* by the system's CPU number; holes are STEER_NONE */
};

/* What a map is made from; copied. */
struct steer_map_spec {
	const uint16_t *queue_of_cpu; /* below the number of queues, or STEER_NONE */
	unsigned cpu_count;
	const uint16_t *domain_of_queue; /* who shares a cache; NULL: all do */
};

/* 0 in a member: the usual value; UINT64_MAX and UINT32_MAX: never. */
struct steer_limits {
	uint64_t away_ns;       /* 10 ms */
	uint32_t away_requests; /* 1024 */
	uint64_t hold_ns;       /* 5 ms */
	uint64_t rest_ns;       /* 250 ms */
};

/* One request, as far as steering is concerned. */
struct steer_submit {
	unsigned cpu;    /* of the submitter, the system's number */
	unsigned wish;   /* policy "picked" only: the queue that the caller wants */
	unsigned tries;  /* how many queues were full for this request already: 0 at first */
	uint64_t now_ns; /* any clock, the same for all requests */
};

enum steer_order {
	STEER_AS_POLICY, /* sticky and single keep the order, the others do not */
	STEER_ORDERED,
	STEER_RELAXED,
};

struct steer_flow {
	/* written for each request of an ordered flow */
	/* {generation:16, queue:16, outstanding:32}; the generation counts the changes of the queue, wraps, and is for who
	 * watches: nothing depends on it */
	cache_aligned uint64_t word;
	/* advice: relaxed, never trusted */
	uint64_t away_since_ns;
	uint64_t hold_until_ns; /* 0: neither holds nor rests */
	uint32_t away_requests; /* in a row */
	/* figures */
	uint32_t moves; /* changes of the queue */
	uint32_t holds; /* how often it wanted to move */
	/* of steer_hold */
	uint32_t held;
	/* set up once */
	bool relaxed;
};
static_assert(sizeof(struct steer_flow) == CACHE_LINE, "a flow is one line");

struct steer_policy;

struct steering {
	/* read for each request, written when the map changes */
	cache_aligned const struct steer_map *map;
	const struct steer_policy *policy;
	struct gate *gates; /* one for each queue */
	unsigned queue_count;
	struct steer_limits limits;
	/* owner's thread */
	cache_aligned struct steer_map *maps;
	unsigned map_count;
};

/* What a policy decides by. */
struct steer_choice {
	const struct steering *steering;
	const struct steer_map *map;
	const struct steer_submit *submit;
};

/* Any thread calls these; they only look. */
struct steer_policy {
	const char *name;
	bool ordered; /* STEER_AS_POLICY */
	/* Where this request belongs, whether the queue is active or not; below queue_count. */
	unsigned (*home)(const struct steer_choice *choice);
	/* Is a flow that is in this queue well placed for the request, or as well as can be now? */
	bool (*keeps)(const struct steer_choice *choice, unsigned queue);
};

extern const struct steer_policy steer_policy_sticky;  /* ordered flows at the queue of the CPU */
extern const struct steer_policy steer_policy_per_cpu; /* each request at the queue of its CPU */
extern const struct steer_policy steer_policy_least_loaded; /* within the cache domain */
extern const struct steer_policy steer_policy_single;       /* queue 0 while it is active */
extern const struct steer_policy steer_policy_picked;       /* the caller's wish */
/* NULL: there is none of that name. */
const struct steer_policy *steer_policy_find(const char *name);

struct steering_config {
	const struct steer_policy *policy;
	unsigned queue_count;
	struct steer_map_spec map; /* all zero: CPU i has queue i % queue_count */
	struct steer_limits limits;
};

/* All gates are active. -EINVAL: no queue, or a map that names queues which do not exist; -ENOMEM */
int steering_init(struct steering *steering, const struct steering_config *config);
/* Nobody is in any call. */
void steering_fini(struct steering *steering);
/*
 * Replaces the map; owner's thread, while others steer. Who is in steer_enter decides by the old or the new one, never
 * by parts of both. On an error the old map stays: -EINVAL, -ENOMEM, -ENOSPC (STEER_MAPS_MAX).
 */
int steering_set_map(struct steering *steering, const struct steer_map_spec *spec);
/* Frees the maps that do not count any more. Owner's thread, and nobody is in any call. */
void steering_trim_maps(struct steering *steering);

static inline struct gate *steering_gate(const struct steering *steering, unsigned queue)
{
	return &steering->gates[queue];
}

/* flow: aligned to a cache line. */
void steer_flow_init(struct steer_flow *flow, const struct steering *steering,
		     enum steer_order order);

/*
 * Takes a place for one request, in the flow and in the gate of the queue that is returned; steer_leave gives both
 * back. -EBUSY: an ordered flow wants to move, or its queue is closed while it has requests there: hold this request.
 * -EAGAIN: as many active queues as there are were full (submit->tries). -ENXIO: no queue is active. A relaxed flow
 * never gets -EBUSY.
 */
int steer_enter(struct steering *steering, struct steer_flow *flow,
		const struct steer_submit *submit);
/*
 * The request is over, or could not be posted: queue is what steer_enter returned for it. True: an ordered flow has
 * become idle, what is held may go. The flow is not touched any more then. After a full ring: steer_leave, then
 * steer_enter with one try more (it stays in its queue if it is ordered and not idle).
 */
bool steer_leave(struct steering *steering, struct steer_flow *flow, unsigned queue);

/* The caller has put a request on its list: see above. Pairs with steer_has_held. */
static inline void steer_hold(struct steer_flow *flow)
{
	store_relaxed(&flow->held, 1);
	fence_full();
}

/* After steer_leave said true. Pairs with steer_hold. */
static inline bool steer_has_held(struct steer_flow *flow)
{
	fence_full();
	return load_relaxed(&flow->held);
}

/* The list is empty; with the lock that guards it. */
static inline void steer_unhold(struct steer_flow *flow)
{
	store_relaxed(&flow->held, 0);
}

static inline unsigned steer_word_generation(uint64_t word)
{
	return (unsigned)(word >> 48);
}

static inline unsigned steer_word_queue(uint64_t word)
{
	return (unsigned)(word >> 32) & 0xffff;
}

static inline uint32_t steer_word_outstanding(uint64_t word)
{
	return (uint32_t)word;
}

/* Of an ordered flow; acquires what was done before the steer_leave that made it idle. */
static inline bool steer_flow_is_idle(const struct steer_flow *flow)
{
	return steer_word_outstanding(load_acquire(&flow->word)) == 0;
}

/* The queue of a CPU. One that the map does not know (a hole, or plugged in later) is spread by its number. */
static inline unsigned steer_map_queue(const struct steer_map *map, unsigned cpu)
{
	unsigned queue = likely(cpu < map->cpu_count) ? map->queue_of_cpu[cpu] : STEER_NONE;

	return likely(queue != STEER_NONE) ? queue : cpu % map->queue_count;
}

#endif
