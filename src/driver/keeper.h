/* SPDX-License-Identifier: MIT */
/*
 * The keeper of a managed device: a thread that sleeps until something is wrong. It watches the connection, the deadlines of
 * requests (one look at all of them now and then, no timer per request), the machine's CPUs, and where the interrupts of a
 * VFIO device go.
 *
 * Recovery: submitters are kept out by gates (what they bring is held), reapers are parked, so that the keeper alone
 * touches the rings. Requests that came out of a ring that was made anew are put in again, oldest first, when they may be done
 * twice; the others end. Then everybody goes on.
 */
#ifndef RINGLANE_DRIVER_KEEPER_H
#define RINGLANE_DRIVER_KEEPER_H

#include "driver/hotplug.h"
#include "driver/ladder.h"
#include "driver/managed.h"

#define KEEPER_REPLAYS_MAX 5

#define FOR_EACH_QUEUE(mq, managed)                        \
	for (struct managed_queue *mq = (managed)->queues; \
	     mq < (managed)->queues + (managed)->queue_count; mq++)

struct keeper {
	struct ringlane_managed *managed;
	int epoll_fd, control_fd;
	struct hotplug *hotplug; /* NULL: CPUs are not watched */
	struct ladder *ladders;  /* one for each queue */
	struct ladder_config ladder_config;
	bool given_up;          /* the device will not be found again */
	bool has_interrupts;    /* they were placed when the keeper started */
	uint64_t interrupts_ns; /* when they are looked at again */
	/* any thread */
	bool broken;    /* atomic: a ring is; set by reapers */
	bool quit;      /* atomic */
	uint32_t poked; /* atomic: generation of the CPUs that somebody doubted, and 1 */
	/* what the lock guards: gates' states, who is away. The device's lock may be taken with it */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	cpu_set_t online, leaving;
	bool quiet; /* recovery: no gate is opened */
	/* figures; atomic, written by the keeper */
	uint64_t queue_resets, resets, reconnects;
	uint64_t replayed; /* by reapers too */
	unsigned zombies;
	/* owner's thread */
	bool started;
	pthread_t thread;
};

/* Before the reapers start; its thread after them. */
int keeper_init(struct keeper *keeper, struct ringlane_managed *managed, struct error *error);
int keeper_start(struct keeper *keeper, struct error *error);
/* The thread ends; a recovery that goes on is given up, and those who wait for it go on. */
void keeper_stop(struct keeper *keeper);
void keeper_fini(struct keeper *keeper);
/* Any thread: look at the state of things. */
void keeper_wake(struct keeper *keeper);
/* The keeper's thread: interrupts may have moved, or have other numbers now. */
void keeper_doubt_interrupts(struct keeper *keeper);
/* The keeper's thread: reconnects, unless that was given up. */
void keeper_find_again(struct keeper *keeper);
/* A reaper: the ring of a queue is broken. */
void keeper_tell_broken(struct keeper *keeper);

/* managed_recover.c, on the keeper's thread. */

/* True: the device works (again). */
bool managed_reset(struct keeper *keeper);
bool managed_queue_reset(struct keeper *keeper, struct managed_queue *mq);
bool managed_reconnect(struct keeper *keeper);
/* With the queue's lock: puts requests that wait for that into the ring. True: some are in, to be published. */
bool managed_replay_pump(struct managed_queue *mq);
/*
 * A reaper, with the queue's lock: a SCSI command came back because task management ended it. True: it is in the ring again,
 * to be published. False: it is done, *result says how.
 */
bool managed_replay_ended(struct managed_queue *mq, struct managed_request *slot, int *result);

/* managed_ladder.c, on the keeper's thread. Returns whether requests with deadlines are in flight. */
bool managed_ladder_look(struct keeper *keeper, uint64_t now_ns);
void managed_ladder_init(struct keeper *keeper);

/* managed_hotplug.c */

/* Keeper's thread: what the sources say. */
void managed_cpus_read(struct keeper *keeper);
/* Keeper's thread: gates that wait for their requests. True: some do. */
bool managed_cpus_look(struct keeper *keeper, uint64_t now_ns);
/*
 * Once, after the keeper's thread has begun: poll queues give their interrupts back to the kernel, and what another managed device before
 * could not have again is tried for.
 */
void managed_interrupts_begin(struct keeper *keeper);
/* The keeper's thread has ended: interrupts that were given back are had again, and nobody waits for gates any more. */
void managed_interrupts_return(struct keeper *keeper);
/* Opens what recovery has closed. */
void managed_gates_open(struct keeper *keeper);
/* A submitter's cheap check. */
void managed_cpu_doubt(struct keeper *keeper, unsigned cpu);

#endif
