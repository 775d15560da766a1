/* SPDX-License-Identifier: MIT */
/*
 * The managed way of use, inside: queues that threads share, what is in them, flows, and the threads that reap.
 *
 * Who is who. A request that was accepted lives in a slot: of its queue's array while it is in the ring, of the managed
 * device's own pool while it is held. A slot is taken and given back under the lock of its array; what is in it belongs
 * to the owner of the slot meanwhile.
 *
 * Locks, outermost first; whoever holds one takes only those below it, and none while a callback runs:
 *
 *     managed.flows_lock   the list of flows
 *     flow.lock            the flow's held requests: their order
 *     queue.lock           ring, slots, whether the queue takes requests
 *     managed.pool_lock    free slots of held requests
 *     reaper.lock          what others want from a reaper
 */
#ifndef RINGLANE_DRIVER_MANAGED_H
#define RINGLANE_DRIVER_MANAGED_H

#include "driver/affinity.h"
#include "driver/device.h"
#include "driver/iopoll.h"
#include "driver/steering.h"

#include <pthread.h>
#include <ringlane/managed.h>

#define MANAGED_WEIGHT_MAX 256u
#define MANAGED_REAPERS_MAX 256u
#define MANAGED_HELD_MAX 1024u     /* slots of held requests */
#define MANAGED_TICK_NS 1000000ull /* between two looks at held requests, at orphaned queues */
#define MANAGED_STOP_MS_DEFAULT 5000u
#define MANAGED_LUNS_MAX 256u /* with flows of their own; a power of two */
#define MANAGED_QUIESCE_MS_DEFAULT 1000u

enum managed_slot_state {
	SLOT_FREE,
	SLOT_IN_FLIGHT, /* in the ring, or about to be published by whoever holds the queue's lock */
	SLOT_HELD,      /* in a flow's list, or on its way to a reaper with its result */
};

struct managed_request {
	struct ringlane_request want; /* the caller's words; all that is needed to submit it again */
	struct ringlane_flow *flow;
	struct managed_request *next; /* free ones, held ones, finished ones */
	uint64_t deadline_ns;         /* UINT64_MAX: none */
	uint64_t tag;                 /* SCSI: for ABORT TASK */
	int result;
	unsigned cpu;     /* of the submitter */
	unsigned replays; /* how often it was put into a new ring */
	enum managed_slot_state state;
};

struct managed_queue {
	/* what the lock guards; submitters and the reaper */
	cache_aligned pthread_mutex_t lock;
	struct ringlane_queue *queue;
	struct managed_request *free;
	unsigned used; /* slots that are not free */
	int closed;    /* 0, or what a submitter is told; read by all */
	bool paused;   /* the keeper has it: nobody else touches the ring */
	bool told;     /* the keeper knows that the ring is broken */
	struct managed_request *replay_first,
		*replay_last; /* in flight, to be put into the new ring before anything else */
	bool unkicked;        /* something was queued since the last publishing */
	/* figures, written under the lock, read by all */
	uint64_t submitted, batches, kicks, full;
	uint64_t polls, polls_empty; /* by submitters */
	/* the reaper's */
	cache_aligned struct iopoll_source source;
	uint64_t completed, failed, local;
	uint64_t ended; /* of a poll queue: its requests whose callbacks have returned; atomic */
	struct reaper *reaper;
	struct ringlane_managed *managed;
	struct gate *gate;
	bool polled; /* by submitters: it asks for no calls, and its reaper is but its deputy */
	bool sought; /* its deputy shall look at it; atomic */
	/* under keeper.lock */
	bool offline; /* its last CPU went */
	bool muted;   /* and it is quiet: asks for no calls; atomic */
	bool masked;  /* and its interrupt was given back to the kernel */
	bool adopted; /* it is not quiet yet, or lacks its interrupt: its reaper looks at every tick; atomic */
	uint64_t drain_deadline_ns;
	/* set up once */
	struct managed_request *slots;
	unsigned slot_count, index;
};
static_assert(sizeof(struct managed_queue) % CACHE_LINE == 0, "queues do not share lines");

struct ringlane_flow {
	struct steer_flow steer;
	/* held requests, oldest first */
	cache_aligned pthread_mutex_t lock;
	struct managed_request *held_first, *held_last;
	uint64_t lun_address; /* of a LUN's own flow */
	struct ringlane_managed *managed;
	/* under flows_lock */
	struct ringlane_flow *next, *previous;
};

/* Queues with interrupts, or poll queues: what they are spread over, and how requests come to them. */
struct managed_class {
	cache_aligned struct steering steering;
	struct affinity_spread spread;
	unsigned first, count; /* of all queues */
};

struct ringlane_managed {
	/* read for each request */
	cache_aligned struct managed_class classes[2]; /* by enum ringlane_queue_class */
	struct ringlane_flow *poll_flow; /* of all polled requests; NULL: there are no poll queues */
	struct managed_queue *queues;
	unsigned queue_count, reaper_count;
	struct ringlane_device *device;
	struct ringlane_managed_options options;
	struct ringlane_flow *flow; /* the disk's, or the default LUN's */
	/* what the map was made from */
	struct topology topology;
	struct reaper *reapers;
	struct keeper *keeper;
	bool has_deadlines; /* atomic; set once */
	/* written now and then */
	cache_aligned bool stopping; /* atomic; set once */
	bool stopped;                /* owner's thread */
	uint64_t quiesced, orphaned; /* atomic, written under keeper.lock */
	pthread_mutex_t flows_lock;
	struct ringlane_flow *flows;
	/* those of LUNs, by a hash of the address: published once, whole */
	struct ringlane_flow *lun_flows[MANAGED_LUNS_MAX];
	uint64_t moved, wishes; /* of flows that are gone; flows_lock */
	pthread_mutex_t pool_lock;
	struct managed_request *pool, *pool_free;
	unsigned held_now; /* slots of the pool in use; written under pool_lock, read atomically */
	uint64_t held;     /* the same */
};

/* Queues of a class, counted through. */
static inline unsigned managed_class_of(const struct ringlane_managed *managed, unsigned queue)
{
	return queue < managed->classes[RINGLANE_INTERRUPT_QUEUES].count ?
		       RINGLANE_INTERRUPT_QUEUES :
		       RINGLANE_POLL_QUEUES;
}

static inline unsigned managed_class_of_flow(const struct ringlane_managed *managed,
					     const struct ringlane_flow *flow)
{
	return likely(flow != managed->poll_flow) ? RINGLANE_INTERRUPT_QUEUES :
						    RINGLANE_POLL_QUEUES;
}

/* As steer_enter and steer_leave, with queues of both classes counted through. */
static inline int managed_enter(struct ringlane_managed *managed, struct ringlane_flow *flow,
				const struct steer_submit *submit)
{
	struct managed_class *class = &managed->classes[managed_class_of_flow(managed, flow)];
	int queue = steer_enter(&class->steering, &flow->steer, submit);

	return likely(queue >= 0) ? queue + (int)class->first : queue;
}

static inline bool managed_exit(struct ringlane_managed *managed, struct ringlane_flow *flow,
				unsigned queue)
{
	struct managed_class *class = &managed->classes[managed_class_of(managed, queue)];

	return steer_leave(&class->steering, &flow->steer, queue - class->first);
}

/* Neighbours of a queue have the same reaper. */
static inline unsigned managed_reaper_of(const struct ringlane_managed *managed, unsigned queue)
{
	const struct managed_class *class = &managed->classes[managed_class_of(managed, queue)];

	return (queue - class->first) * managed->reaper_count / class->count;
}

/* ---- managed_affinity.c: owner's thread ---- */

/* Reads the machine, spreads the queues over CPUs, and makes the map. */
int managed_steering_init(struct ringlane_managed *managed, const struct steer_policy *policy,
			  struct error *error);
void managed_steering_fini(struct ringlane_managed *managed);
/* Sends interrupts where their queues are; that it cannot be done (no VFIO, not root) is no error. */
void managed_interrupts_place(struct ringlane_managed *managed);
/* The CPUs that a queue is for. False: it has none of its own. */
bool managed_queue_cpus(const struct managed_queue *mq, cpu_set_t *ret_set);
/* CPUs that queues may be spread over. */
unsigned managed_cpu_count(const struct ringlane_managed_options *options);
/* Puts a reaper's thread where its queues are, or where it can be when those CPUs are not among those that are left. */
void managed_pin_left(const struct ringlane_managed *managed, unsigned reaper,
		      const cpu_set_t *left);
/* Puts a reaper's thread where its queues are. */
void managed_pin(const struct ringlane_managed *managed, unsigned reaper, pthread_t thread);

/* ---- managed_submit.c: any thread ---- */

struct managed_post {
	struct ringlane_managed *managed;
	struct managed_queue *locked; /* its lock is ours, and something may be unpublished */
	uint64_t now_ns;
	unsigned cpu;
};

/* Puts a request into the ring of the queue that steering has said; the queue stays locked. -EAGAIN: it is full; -EBUSY: hold it. */
int managed_post_add(struct managed_post *post, unsigned queue, const struct managed_request *from);
/* The slot's request becomes a chain of the ring. */
int managed_ring_add(struct ringlane_queue *queue, struct managed_request *slot);
/* Publishes, unlocks, and kicks if need be. */
void managed_post_end(struct managed_post *post);
/* Gives back a place that steer_enter took. No lock is held. Held requests of the flow go on if it is idle. */
void managed_leave(struct ringlane_managed *managed, struct ringlane_flow *flow, unsigned queue);

/*
 * What managed_post_add said: the ring is broken, its reaper is about to say so, and others take requests. Closes the gate:
 * steering goes elsewhere from now on.
 */
bool managed_queue_is_lost(struct ringlane_managed *managed, const struct ringlane_flow *flow,
			   unsigned queue, int error);

/* Why no queue takes a request of the flow, now and for good; 0: one may. */
int managed_closed(const struct ringlane_managed *managed, const struct ringlane_flow *flow);

/* managed.c: is the caller in a callback, on whatever thread? */
bool managed_calls_back(const struct ringlane_managed *managed);
/* managed.c, any thread: it takes no more requests, for the first reason that is given. */
void managed_queue_close(struct managed_queue *mq, int error);

/* ---- managed_flow.c: any thread ---- */

/* The request goes behind those that its flow holds. -EAGAIN: no room. No lock is held. */
int managed_flow_hold(struct ringlane_managed *managed, const struct managed_request *request);
/* Tries the held requests, oldest first. No lock is held. */
void managed_flow_try(struct ringlane_flow *flow);
/* Tries those of all flows; when the device stops, they are finished with -ECANCELED. */
void managed_flows_try(struct ringlane_managed *managed);
struct ringlane_flow *managed_flow_new(struct ringlane_managed *managed, enum steer_order order);
/* That of all polled requests. */
struct ringlane_flow *managed_poll_flow_new(struct ringlane_managed *managed);
/* A LUN's own flow. NULL: it has none yet. */
struct ringlane_flow *managed_lun_flow_find(struct ringlane_managed *managed,
					    const struct ringlane_lun *lun);
/* No queue's lock is held. That of the disk when there is no other to be had. */
struct ringlane_flow *managed_lun_flow_add(struct ringlane_managed *managed,
					   const struct ringlane_lun *lun);
int managed_pool_init(struct ringlane_managed *managed);
void managed_pool_give(struct ringlane_managed *managed, struct managed_request *request);

#endif
