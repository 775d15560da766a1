/* SPDX-License-Identifier: MIT */
/**
 * libringlane, the managed way: submit from any thread, completions by callback.
 *
 * A managed device owns all queues of an opened ringlane_device. Each request is steered to a queue; threads of the library,
 * the reapers, take completions and call back. Order is kept by flows: what is submitted to one ordered flow reaches the
 * device in that order.
 *
 *     struct ringlane_managed *managed;
 *     struct ringlane_request request = {
 *             .op = RINGLANE_OP_READ, .data = buffer, .bytes = 4096, .offset = 0,
 *             .done = on_read, .user_data = me,
 *     };
 *
 *     if (ringlane_managed_start(device, NULL, &managed, &error) == 0)
 *             ringlane_managed_submit(managed, &request, 1);
 *
 * Submitting, flows, statistics and ringlane_managed_set_iopoll are for any thread, callbacks included, and never wait for the
 * device. Starting, stopping and freeing are for the thread that owns the device. Nothing is allocated per request.
 */
#ifndef RINGLANE_MANAGED_H
#define RINGLANE_MANAGED_H

#include <ringlane/affinity.h>
#include <ringlane/ringlane.h>
#include <ringlane/scsi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ringlane_managed;
struct ringlane_flow;

/* ---- starting and stopping ---- */

/** Where a request goes. `flow` below is an ordered one; a relaxed flow's requests are placed one by one. */
enum ringlane_policy {
	RINGLANE_POLICY_DEFAULT, /* STICKY for SCSI, PER_CPU for block devices */
	RINGLANE_POLICY_STICKY, /* a busy flow stays in its queue, an idle one takes that of the submitting CPU */
	RINGLANE_POLICY_PER_CPU, /* the queue of the submitting CPU; flows are relaxed unless they say otherwise */
	RINGLANE_POLICY_LEAST_LOADED, /* the emptiest queue of those that share a cache with the submitting CPU */
	RINGLANE_POLICY_SINGLE, /* the first queue */
	RINGLANE_POLICY_PICKED, /* request.queue */
};

/** What an interrupt (the device's call) does. */
enum ringlane_iopoll {
	RINGLANE_IOPOLL_ON, /* schedules its queue; queues of one reaper take turns of `weight` completions */
	RINGLANE_IOPOLL_OFF, /* drains its queue completely, at once */
	RINGLANE_IOPOLL_ADAPTIVE, /* as ON; polls on while completions are dense, one interrupt for several otherwise */
};

/** What is submitted again by itself when a device was reset or has come back. */
enum ringlane_replay {
	RINGLANE_REPLAY_SAFE, /* reads, flushes, and what has RINGLANE_REPLAYABLE set */
	RINGLANE_REPLAY_NONE, /* nothing: requests fail with -ECONNRESET */
	RINGLANE_REPLAY_ALL,  /* writes too */
};

/** What becomes of a queue when its CPUs go and come. */
enum ringlane_queue_event {
	RINGLANE_QUEUE_ACTIVE,   /* a CPU of it is back: takes requests */
	RINGLANE_QUEUE_INACTIVE, /* its last CPU went, and its requests are done: has no interrupt */
	RINGLANE_QUEUE_ORPHANED, /* they were not done in options.quiesce_ms: looked for every ms on other CPUs */
};

/** Members that are 0 have the value said here. */
struct ringlane_managed_options {
	enum ringlane_policy policy;
	enum ringlane_iopoll iopoll;
	enum ringlane_replay replay;
	/* how many of the queues, the last ones, have no interrupt and are polled by submitters (RINGLANE_POLLED): those are
	 * spread over the CPUs apart; none */
	unsigned poll_queues;
	unsigned reapers;     /* threads; one per queue, at most one per CPU */
	unsigned weight;      /* completions of a turn, at most 256; 32 */
	unsigned pass_budget; /* completions of a pass over all ready queues; 256 */
	uint64_t slice_ns;    /* time of a pass; 1 ms */
	uint64_t spin_ns;     /* ADAPTIVE: polls on for at most this long; 30 us */
	uint64_t coalesce_ns; /* ADAPTIVE: a completion is at most this late; 50 us */
	unsigned coalesce;    /* ADAPTIVE: completions for one interrupt, at most; 16 */
	const char
		*cpus; /* "0-3,8": CPUs that queues are spread over; all that the process may use */
	const char *const *queue_cpus; /* such a list for each queue, instead of a spread; NULL */
	enum ringlane_interrupt_mode
		interrupts;  /* of a device over VFIO; see ringlane_interrupts_place */
	uint64_t timeout_ns; /* of a request that says nothing; none */
	unsigned stop_ms;    /* ringlane_managed_stop waits so long for the device; 5000 */
	uint64_t move_ns; /* a flow that is never idle wants to follow its submitter after this; 10 ms */
	uint64_t hold_ns; /* its new requests are held for at most this long meanwhile; 5 ms */
	/* how long a device that is gone is looked for; 0: not at all, its requests fail with -ECONNRESET. Also lets a
	 * device be reset that broke the rules of a ring. */
	unsigned reconnect_ms;
	uint64_t step_ns;    /* of the error ladder: what a step is waited for; 100 ms */
	unsigned quiesce_ms; /* a queue without CPUs waits so long for its requests; 1000 */
	/* On a thread of the library or in ringlane_prepare_offline; must not call that. NULL: nobody wants to know. */
	void (*queue_event)(void *data, unsigned queue, enum ringlane_queue_event event);
	void *queue_event_data;
	const char *cpu_folder; /* has the file `online`; /sys/devices/system/cpu */
};

/**
 * Takes over the queues of the device, none of which may have requests in flight, and starts the reapers. options may be NULL.
 * Only ringlane_event, ringlane_get_info, the memory functions and those of interrupts may be used on the device until
 * ringlane_managed_free. Each queue's interrupt is sent to the CPUs that the queue is spread over, where there is one and the
 * process may, and looked after every few seconds, when CPUs come or go, and after a reset.
 *
 * Returns 0; -EINVAL an option; -EBUSY requests in flight; -ENOMEM, -EAGAIN, -EMFILE.
 */
RINGLANE_API int ringlane_managed_start(struct ringlane_device *device,
					const struct ringlane_managed_options *options,
					struct ringlane_managed **ret_managed,
					struct ringlane_error *error);
/**
 * From now on nothing is accepted (-ESHUTDOWN). Waits for what is in flight, and cancels what the device does not finish in
 * options.stop_ms: each accepted request is completed once before this returns. Then the reapers are gone. The second call
 * does nothing.
 *
 * Returns 0; -ECANCELED some requests were cancelled, and the queues are of no use any more; -ETIMEDOUT the same, and the
 * device did not say that it has let go of their memory, which must not be used for anything else before ringlane_close;
 * -EDEADLK called by a callback.
 */
RINGLANE_API int ringlane_managed_stop(struct ringlane_managed *managed);
/** Stops if need be. No thread is in any function of it, or will be. Frees its flows. NULL is fine. */
RINGLANE_API void ringlane_managed_free(struct ringlane_managed *managed);

/* ---- flows ---- */

enum ringlane_order {
	RINGLANE_ORDER_DEFAULT, /* as the policy: ordered for STICKY and SINGLE, relaxed for the others */
	RINGLANE_ORDERED,       /* first in, first out; a full queue is -EAGAIN while it is busy */
	RINGLANE_RELAXED,       /* no order; a full queue spills over to another one */
};

/** NULL: out of memory. */
RINGLANE_API struct ringlane_flow *ringlane_flow_new(struct ringlane_managed *managed,
						     enum ringlane_order order);
/** All its requests have been completed, or are being completed by the calling callback. NULL is fine. */
RINGLANE_API void ringlane_flow_free(struct ringlane_flow *flow);
/** The queue that it was in last. */
RINGLANE_API unsigned ringlane_flow_queue(const struct ringlane_flow *flow);

/* ---- requests ---- */

enum ringlane_op {
	RINGLANE_OP_READ,
	RINGLANE_OP_WRITE,
	RINGLANE_OP_FLUSH,
	RINGLANE_OP_DISCARD,
	RINGLANE_OP_WRITE_ZEROES,
	RINGLANE_OP_GET_ID,
	RINGLANE_OP_SECURE_ERASE,
	RINGLANE_OP_COMPARE_AND_WRITE, /* SCSI: data is twice bytes long, as ringlane_lun_compare_and_write */
	RINGLANE_OP_COMMAND,           /* SCSI: any, by ringlane_lun_command */
};

enum ringlane_request_flags {
	RINGLANE_REPLAYABLE = 2, /* may be done twice; RINGLANE_UNMAP is 1 */
	/* goes to the poll queue of the submitting CPU and keeps no order: the caller finds its completion by
	 * ringlane_managed_poll. Nothing when there are no poll queues. */
	RINGLANE_POLLED = 4,
};

/**
 * result: 0 or -errno as in struct ringlane_completion; -ECONNRESET the device is gone; -ECANCELED and -ETIMEDOUT as
 * ringlane_managed_stop. On a reaper's thread, which must not be kept waiting, or in ringlane_managed_poll; it may submit, free the flow,
 * or switch polling.
 */
typedef void (*ringlane_done_fn)(void *user_data, int result);

/** Copied; what it points to stays until it is done. */
struct ringlane_request {
	enum ringlane_op op;
	unsigned flags; /* RINGLANE_UNMAP, RINGLANE_REPLAYABLE, RINGLANE_POLLED */
	void *data;     /* of READ, WRITE, GET_ID (20 bytes): memory that the device reaches */
	size_t bytes;
	const struct iovec *iov; /* instead of data, when iov_count is not 0 */
	unsigned iov_count;
	unsigned range_count; /* of DISCARD, WRITE_ZEROES, SECURE_ERASE */
	const struct ringlane_range *ranges;
	uint64_t offset;
	struct ringlane_flow
		*flow; /* NULL: that of the LUN or disk, of the order that the policy says */
	const struct ringlane_lun *lun;              /* SCSI; NULL: the default one */
	const struct ringlane_scsi_command *command; /* of COMMAND; its user_data is not used */
	/* SCSI: NULL, or as ringlane_scsi_want_result, before done is called */
	struct ringlane_scsi_result *scsi_result;
	unsigned queue;        /* RINGLANE_POLICY_PICKED */
	uint64_t timeout_ns;   /* 0: as the options say */
	ringlane_done_fn done; /* NULL: nobody wants to know */
	void *user_data;
};

/**
 * Submits in this order. Never waits for the device. Returns how many were accepted, each of which will be done once; when that is
 * none: -EAGAIN queues (or the room for held requests) are full: try again when some are done; -ESHUTDOWN; -ECONNRESET;
 * -EPROTO; or what ringlane_read and the others say about the first.
 */
RINGLANE_API int ringlane_managed_submit(struct ringlane_managed *managed,
					 const struct ringlane_request *requests, unsigned count);
/**
 * Looks once at the poll queue of the calling CPU, and when that has nothing, or now and then, at another one, takes up to
 * options.weight completions of each and calls back. Any thread but in callbacks; never waits. What nobody polls for is done by
 * a reaper when its deadline has passed, when its queue's CPUs are gone for too long, after a reset, and when the device stops.
 *
 * Returns how many were done, perhaps of other threads.
 */
RINGLANE_API int ringlane_managed_poll(struct ringlane_managed *managed);

/* ---- while it runs ---- */

/**
 * Waits until every queue works the new way: to RINGLANE_IOPOLL_OFF until no queue is scheduled any more. A callback does not
 * wait: it is so when it has returned, for its own queue, and soon for the others.
 */
RINGLANE_API int ringlane_managed_set_iopoll(struct ringlane_managed *managed,
					     enum ringlane_iopoll iopoll);

/** Since the start, except where it says otherwise. */
struct ringlane_queue_stats {
	uint64_t submitted, completed,
		failed;   /* failed: of the completed, with a result other than 0 */
	uint64_t batches; /* submissions made visible together */
	uint64_t kicks;
	uint64_t full; /* a request did not fit */
	uint64_t interrupts;
	uint64_t polls;       /* turns */
	uint64_t polls_full;  /* turns that handled a whole weight */
	uint64_t polls_empty; /* turns that found nothing */
	uint64_t rearm_races; /* completions that came while the interrupt was asked for */
	uint64_t coalesced;   /* sleeps that skip interrupts */
	uint64_t deadlines;   /* those that ended without one */
	uint64_t local;       /* completed by the CPU that had submitted */
	unsigned in_flight;   /* now */
	unsigned reaper;      /* index */
	bool active;          /* now: takes requests */
	bool polled;          /* a poll queue; polls and polls_empty are those of submitters too */
};

struct ringlane_managed_stats {
	uint64_t held;     /* requests that had to wait for their flow's move or for a queue */
	uint64_t moved;    /* changes of a flow's queue */
	uint64_t wishes;   /* a flow that is never idle wanted to move */
	unsigned held_now; /* now */
	/* steps of the error ladder that were taken */
	uint64_t late_polls, late_kicks, aborts, lun_resets, nexus_resets;
	uint64_t queue_resets, resets, reconnects; /* that worked */
	uint64_t replayed;                         /* requests that were put into a ring again */
	unsigned zombies; /* of a device that did not let go: neither done nor coming back before it does */
	uint64_t quiesced, orphaned; /* queues whose last CPU went */
	unsigned queues, reapers;
	unsigned poll_queues; /* of the queues */
};

RINGLANE_API void ringlane_managed_get_stats(struct ringlane_managed *managed,
					     struct ringlane_managed_stats *ret_stats);
/** -EINVAL: there is no such queue. */
RINGLANE_API int ringlane_managed_get_queue_stats(const struct ringlane_managed *managed,
						  unsigned queue,
						  struct ringlane_queue_stats *ret_stats);

/* ---- CPUs ---- */

/*
 * CPUs that go and come are noticed by themselves, but only when it has happened. A script that takes one away can have it
 * drained first: prepare, then write 0 to its file `online`; write 1, then finish. Any thread, not callbacks.
 */

/**
 * Queues that no other CPU is left for take no more requests, and what they have is waited for. Returns 0; -ETIMEDOUT: it goes on, and is
 * polled for; -EBUSY: no queue would be left; -EINVAL; -EDEADLK called by a callback; -ESHUTDOWN the device stops.
 */
RINGLANE_API int ringlane_prepare_offline(struct ringlane_managed *managed, unsigned cpu,
					  unsigned timeout_ms);
/** It is back, or did not go after all. Returns 0; -EINVAL; -ESHUTDOWN. */
RINGLANE_API int ringlane_finish_online(struct ringlane_managed *managed, unsigned cpu);

#ifdef __cplusplus
}
#endif

#endif
