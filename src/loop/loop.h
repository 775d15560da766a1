/* SPDX-License-Identifier: MIT */
/*
 * One event loop per thread over one io_uring: readiness, timers, disk I/O, messages from other loops, adaptive polling.
 *
 * A turn, in this order:
 *   1. messages     what other threads posted; if there was anything, this turn neither polls for long nor waits
 *   2. poll         one look at each active poller. When none of them has anything: looking at them, at the completion
 *                   ring and at the message list (shared memory, no system call) while a poller's window is open
 *   3. wait         when there was nothing at all: pollers are told to ask for notifications again; when one of them
 *                   then finds work, the wait is skipped; else io_uring_enter until a completion, a message or the
 *                   next timer. Queued SQEs travel in the same call
 *   4. completions  each CQE's operation is called
 *   5. timers       those that are due
 *   6. turn end     deferred calls (batches: publish, signal), then queued SQEs are submitted, unless the next turn
 *                   will wait at once and take them along
 *
 * Everything here except loop_post() belongs to the loop's own thread and asserts it.
 */
#ifndef RINGLANE_LOOP_LOOP_H
#define RINGLANE_LOOP_LOOP_H

#include "base/error.h"
#include "loop/poll_window.h"

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Make it after fork (a daemon's first one), not before: the child would not own it. */
int loop_new(struct loop **ret_loop, struct error *error);
/* After loop_run has returned: from any thread. A loop that was only adopted: from its own thread. Pending messages
 * must have been delivered, no operation may be in flight; sources of loop_fd_add may be left behind. NULL is fine. */
void loop_free(struct loop *loop);
/* Makes the loop the calling thread's own and runs turns until loop_stop. */
void loop_run(struct loop *loop);
/* Own thread only; from elsewhere post a message that calls it. loop_run returns after this turn. */
void loop_stop(struct loop *loop);
bool loop_is_mine(const struct loop *loop);
/* Takes ownership, for good, without running: for tests and for set-up before loop_run. A thread that adopted several
 * loops switches between them by adopting again. */
void loop_adopt(struct loop *loop);
/* One turn; never waits longer than wait_ns_max, and not at all when it ran messages or a poller had work. */
void loop_turn(struct loop *loop, uint64_t wait_ns_max);
/* The loop that the calling thread runs or adopted last, or NULL. */
struct loop *loop_current(void);
/* Monotonic time in ns, at most a turn old, refreshed after each wait. Reads the clock once per turn, when called. */
uint64_t loop_now(struct loop *loop);

/* ---- messages ------------------------------------------------------------------------------------------------ */

/* Embedded in the sender's object, at most once in flight; fn runs on the target loop, in posting order per sender. */
struct loop_message {
	struct loop_message *next;
	void (*fn)(struct loop_message *message);
};

/* Any thread. Lock free. Wakes the target only when it sleeps. The loop must outlive the call, not only fn. */
void loop_post(struct loop *loop, struct loop_message *message);
/*
 * Any thread. True: it sleeps now. What the caller stored before this it will see before it does anything else, and the caller sees
 * all that it did before it fell asleep. So who has nothing to say but "look again when you are up" need not wake it. False: perhaps
 * it sleeps all the same.
 */
bool loop_is_asleep(const struct loop *loop);

/* ---- operations of the ring ---------------------------------------------------------------------------------- */

/* What an SQE points to: lives in the object that owns the request, until done() is called without IORING_CQE_F_MORE. */
struct loop_op {
	void (*done)(struct loop_op *op, int result, uint32_t cqe_flags);
};

/* An SQE with user_data set to op; never NULL (submits when the queue is full). The caller fills the rest with
 * io_uring_prep_* first, then calls loop_sqe_bind. It is submitted with the turn. */
struct io_uring_sqe *loop_sqe(struct loop *loop);
void loop_sqe_bind(struct loop *loop, struct io_uring_sqe *sqe, struct loop_op *op);
/* Asks the kernel to cancel; op->done still comes (with -ECANCELED or its result). */
void loop_op_cancel(struct loop *loop, struct loop_op *op);

/* ---- readiness ------------------------------------------------------------------------------------------------ */

/*
 * Multishot poll: ready() on each edge. An event fd need not be read: each signal is a new edge (and its counter is
 * cleared by the owner when it stops, so that nobody is woken by old signals).
 * Everything else is edge-triggered too: read until EAGAIN. ready() may be called without need after an edge was seen.
 * A descriptor that cannot be polled is reported once with POLLNVAL or POLLERR.
 * loop_fd_remove is asynchronous: ready() is not called any more; removed() is called when the kernel has let go, then
 * the fd may be closed and the source reused or freed.
 */
struct loop_fd {
	struct loop_op op;
	struct loop *loop;
	int fd;
	unsigned events; /* POLLIN, … */
	void (*ready)(struct loop_fd *source, unsigned revents);
	void (*removed)(struct loop_fd *source); /* set by loop_fd_remove */
	bool armed, removing;
};

void loop_fd_add(struct loop *loop, struct loop_fd *source); /* fd, events and ready are set */
void loop_fd_remove(
	struct loop_fd *source,
	void (*removed)(struct loop_fd *source)); /* removed may be called before this returns */

/* ---- signals to a peer ---- */

/*
 * An event fd that a peer shares and may have made blocking: raising it never waits for the peer. Owns its fd. A signal without
 * an fd (-1) is remembered and made up for when it gets one.
 */
struct loop_signal {
	struct loop_op op;
	struct loop *loop;
	int fd, next_fd;
	bool has_next;
	bool busy;  /* a write is with the kernel */
	bool again; /* it must be followed by another */
	bool last;
	void (*ended)(struct loop_signal *signal);
};

void loop_signal_init(struct loop *loop, struct loop_signal *signal, int fd);
/* The write is submitted with the turn. */
void loop_signal_raise(struct loop_signal *signal);
/* From now on fd; the old one is closed when the kernel has let go of it. */
void loop_signal_replace(struct loop_signal *signal, int fd);
/* The same, and it is signalled once, whatever the old one was told. */
void loop_signal_renew(struct loop_signal *signal, int fd);
/* No more of it: what was raised has been signalled, or could not be, when ended() is called; perhaps before this returns. */
void loop_signal_end(struct loop_signal *signal, void (*ended)(struct loop_signal *signal));

/* ---- timers --------------------------------------------------------------------------------------------------- */

/* Zeroed but for fire before its first use; must not be freed while set. */
struct loop_timer {
	uint64_t deadline_ns; /* 0 = not set */
	void (*fire)(struct loop_timer *timer);
	/* the loop's: a heap */
	struct loop_timer *child, *sibling, *prev;
};

/* Moves it when it is set. fire() runs once, at the end of a turn, never before the deadline, and
 * may set it again. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* ---- turn end ------------------------------------------------------------------------------------------------- */

struct loop_defer {
	struct loop_defer *next;
	bool queued;
	void (*fn)(struct loop_defer *defer);
};

/* fn runs once at the end of this turn, in the order of the calls; what is deferred by a deferred call runs at the end
 * of the next turn, which does not wait. Idempotent while queued. */
void loop_defer(struct loop *loop, struct loop_defer *defer);
void loop_defer_cancel(struct loop *loop, struct loop_defer *defer);

/* ---- adaptive polling ----------------------------------------------------------------------------------------- */

/*
 * A source that can be looked at without a system call. The loop keeps a window per source; the loop polls as long as the
 * longest open window of its sources. A source that brought nothing for POLL_IDLE_NS leaves the polled set until
 * loop_poller_hit() (its kick arrived) and never keeps others from being polled.
 */
#define POLL_IDLE_NS (1000000000ull)

struct loop_poller {
	/* Does the work that is there, at most a batch; true when there was any. Called with
	 * notifications suppressed. May remove any poller, itself included. */
	bool (*poll)(struct loop_poller *poller);
	/* The loop is about to sleep: ask the peer for notifications, then look again; true when
	 * work came meanwhile. */
	bool (*notify_enable)(struct loop_poller *poller);
	/* The loop is going to look by itself. */
	void (*notify_suppress)(struct loop_poller *poller);
	/* the loop's */
	struct loop_poller *next, *prev; /* while active */
	struct poll_window window;
	uint64_t last_hit_ns;
	bool added;      /* between loop_poller_add and loop_poller_remove */
	bool active;     /* is looked at each turn */
	bool suppressed; /* by us */
	bool hit;        /* brought something since last_hit_ns was written */
};

/* It is looked at once in the next turn, whatever the state of its notifications is. */
void loop_poller_add(struct loop *loop, struct loop_poller *poller);
/* Leaves the notifications as they are: on only if the loop sleeps or the source was idle. */
void loop_poller_remove(struct loop *loop, struct loop_poller *poller);
/* The notification of this source arrived: adapt its window and look at it in the next turn.
 * Harmless when it came although we had not asked for it. */
void loop_poller_hit(struct loop *loop, struct loop_poller *poller);

/* Own thread; takes effect with the next turn. max_ns 0 switches polling off. */
void loop_set_poll_params(struct loop *loop, const struct poll_params *params);

/* Counters a person may see; read from any thread (relaxed). */
struct loop_stats {
	uint64_t turns, waits, poll_hits, poll_misses, submits, messages;
};
void loop_get_stats(const struct loop *loop, struct loop_stats *ret_stats);

#endif
