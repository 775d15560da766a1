/* SPDX-License-Identifier: MIT */
/*
 * A thread that takes the completions of its queues and calls back. It sleeps in epoll on the call fds, on an event fd by
 * which others tell it what they want, and on the transport's fd that hangs up when the device is gone.
 */
#ifndef RINGLANE_DRIVER_REAPER_H
#define RINGLANE_DRIVER_REAPER_H

#include "driver/managed.h"

struct reaper_done {
	ringlane_done_fn done;
	void *user_data;
	struct ringlane_flow *flow;
	int result;
	unsigned cpu;
};

/* Completions that a thread has taken from a queue and is to tell. */
struct reaper_batch {
	unsigned taken;
	struct ringlane_completion completions[MANAGED_WEIGHT_MAX];
	struct reaper_done done[MANAGED_WEIGHT_MAX];
};

/* What others want; each change is followed by a signal of the control fd. */
struct reaper_wishes {
	enum iopoll_mode mode;
	unsigned mode_ticket;             /* counts wishes */
	struct managed_request *finished; /* slots of the pool with a result: to be called back */
	bool drain;                       /* tell (drained) when nothing is in flight */
	bool cancel;                      /* finish what is in flight with cancel_result */
	int cancel_result;
	bool park; /* touch no ring until it is taken back */
	bool quit;
};

struct reaper {
	cache_aligned struct iopoll iopoll;
	struct ringlane_managed *managed;
	unsigned index;
	int epoll_fd, control_fd;
	unsigned mode_applied; /* the ticket of that wish */
	bool is_gone;          /* the device */
	bool draining, quit;   /* wishes that are known */
	bool answers;          /* somebody may be waiting */
	uint64_t tick_ns;      /* when held requests and adopted queues are looked at next */
	bool has_polled;       /* poll queues among its own */
	struct reaper_batch batch;
	unsigned adopted; /* queues to look at every tick; atomic, written under keeper.lock */
	/* what the lock guards */
	cache_aligned pthread_mutex_t lock;
	pthread_cond_t changed; /* mode_done, drained */
	struct reaper_wishes wishes;
	struct managed_request *finished_last; /* of wishes.finished */
	unsigned mode_done;                    /* the last ticket that has been fulfilled */
	bool drained, parked;
	/* owner's thread */
	bool started;
	pthread_t thread;
};

/* reaper: zeroed. */
void reaper_init(struct reaper *reaper, struct ringlane_managed *managed, unsigned index);
/* Its queues know it. */
int reaper_start(struct reaper *reaper, enum iopoll_mode mode, struct error *error);
/* The thread ends at once; nothing is in flight. Calls of other threads do no harm until reaper_fini. */
void reaper_stop(struct reaper *reaper);
void reaper_fini(struct reaper *reaper);
bool reaper_is_me(const struct reaper *reaper);
/* It has parked when this returns, between two turns; a callback that does not return keeps us waiting. */
void reaper_park(struct reaper *reaper);
void reaper_unpark(struct reaper *reaper);

/* reaper_queue.c: on the reaper's thread. What its poll does: */
extern const struct iopoll_ops reaper_source_ops;
/* What has been completed is told as it is, the rest of what is in flight with this result. */
void reaper_queue_finish(struct managed_queue *mq, int result);

/* Any thread: looks at a poll queue once. How many were done. */
int reaper_queue_poll(struct managed_queue *mq);
/* Is the caller in a callback that reaper_queue_poll has made? */
bool reaper_queue_calls_back(const struct ringlane_managed *managed);
/* With the queue's lock: nothing is in flight, and of nothing the callback has not returned. */
bool reaper_queue_is_done(const struct managed_queue *mq);

/* Any thread; not to be waited for on the reaper itself. */
unsigned reaper_set_mode(struct reaper *reaper, enum iopoll_mode mode);
void reaper_wait_mode(struct reaper *reaper, unsigned ticket);
/* Look at a queue, as if the device had called. */
void reaper_seek(struct managed_queue *mq);
/* A slot of the pool, its result filled in. */
void reaper_finish(struct reaper *reaper, struct managed_request *request);
/* Something has been held: look at it from now on. */
void reaper_wake(struct reaper *reaper);
/* Nothing is submitted any more. True: nothing is in flight; false: the time (clock_ns) is over. */
bool reaper_drain(struct reaper *reaper, uint64_t deadline_ns);
void reaper_cancel(struct reaper *reaper, int result);

#endif
