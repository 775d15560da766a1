/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share; nobody else includes it.
 *
 * loop.c      life, ownership, the turn, deferred calls
 * ring.c      the io_uring: entering the kernel, queueing operations, calling their ends
 * readiness.c multishot polls on file descriptors
 * messages.c  the list that other threads post to, and how a sleeping loop is woken
 * poll.c      the pollers: who is watched, for how long, and who is told to notify
 * timers.c    a pairing heap
 */
#ifndef RINGLANE_LOOP_LOOP_INTERNAL_H
#define RINGLANE_LOOP_LOOP_INTERNAL_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "loop/loop.h"

#include <sched.h>
#include <sys/types.h>

#define LOOP_FOREVER UINT64_MAX

struct loop {
	/* Other threads write these; we look at the first each turn. */
	struct loop_message *messages cache_aligned; /* newest first */
	bool sleeping;                               /* the poster that takes it down signals */
	unsigned posting; /* threads that are inside loop_post(); they may still look at us */

	/* Ours, each turn. */
	struct io_uring ring cache_aligned;
	struct loop_poller *watched;   /* the active pollers, a doubly linked list */
	struct loop_poller *look_next; /* cursor of the round that runs */
	struct loop_poller *looking;   /* whose callback runs; NULL once it was removed meanwhile */
	struct loop_timer *timers;     /* root: the earliest */
	struct loop_defer *defer_first, **defer_end;
	unsigned defer_count;
	bool stopping, running, now_fresh;
	uint64_t now_ns;
	uint64_t wait_start_ns;            /* when this turn ran out of work, 0 when it has not */
	uint64_t polled_ns;                /* since then, as of the last look at the clock */
	uint64_t ops_in_flight, fds_armed; /* the latter are among the former */
	struct poll_params poll;
	struct loop_stats stats; /* written by us with store_relaxed, read by anybody */

	/* Ours, seldom. */
	uint64_t sweep_ns; /* when idle pollers were last looked for */
	unsigned timer_count;
	pid_t owner; /* the thread that adopted, 0 */
	int wake_fd; /* an event fd that is polled by the ring */
	struct loop_fd wake;
	bool ring_registered;
};

/* Only the owner counts, so no read-modify-write is needed. */
#define loop_count(loop, counter) store_relaxed(&(loop)->stats.counter, (loop)->stats.counter + 1)

/* ring.c */
int loop_ring_init(struct loop *loop, struct error *error);
void loop_ring_fini(struct loop *loop);
void loop_ring_adopt(struct loop *loop);
void loop_ring_confine_workers(struct loop *loop, const cpu_set_t *cpus);
void loop_ring_release(struct loop *loop); /* before the owner's thread ends */
void loop_ring_submit(struct loop *loop);  /* queued SQEs, and runs what the kernel holds back */
void loop_ring_wait(struct loop *loop, uint64_t wait_ns); /* submits, sleeps */
void loop_ring_dispatch(struct loop *loop);

static inline bool loop_ring_has_sqes(const struct loop *loop)
{
	return io_uring_sq_ready(&loop->ring) != 0;
}

/* Completions that wait in the kernel for us to enter it. pairs with the kernel's atomic_or */
static inline bool loop_ring_must_enter(const struct loop *loop)
{
	return load_relaxed(loop->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Completions to dispatch; what they say is read after an acquire in loop_ring_dispatch. */
static inline bool loop_ring_has_cqes(const struct loop *loop)
{
	return load_relaxed(loop->ring.cq.ktail) != *loop->ring.cq.khead;
}

/* messages.c */
int loop_messages_init(struct loop *loop, struct error *error);
void loop_messages_fini(struct loop *loop);
void loop_messages_adopt(struct loop *loop);
bool loop_messages_run(struct loop *loop);   /* true: there were some */
bool loop_messages_sleep(struct loop *loop); /* false: one is there, do not sleep */
void loop_messages_awake(struct loop *loop);

static inline bool loop_messages_any(const struct loop *loop)
{
	return load_relaxed(&loop->messages) != NULL;
}

/* poll.c */
bool loop_poll(struct loop *loop, uint64_t wait_ns_max); /* true: do not wait */
bool loop_poll_arm(struct loop *loop);                   /* false: one has work, do not sleep */

/* timers.c */
void loop_timers_run(struct loop *loop, bool busy);
/* How long until the earliest timer; LOOP_FOREVER when none is set. */
uint64_t loop_timers_wait_ns(struct loop *loop);

/* loop.c: is there anything to do without polling or waiting? Plain loads only. */
static inline bool loop_has_work(const struct loop *loop)
{
	return loop_messages_any(loop) || loop_ring_has_cqes(loop) || loop_ring_must_enter(loop) ||
	       loop->defer_first || loop->stopping;
}

#endif
