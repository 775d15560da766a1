/* SPDX-License-Identifier: MIT */
/*
 * One small thread for the blocking calls that io_uring cannot do. Jobs run one after another, in the order of posting;
 * done() runs on the loop that asked.
 */
#ifndef RINGLANE_BLOCK_WORKER_H
#define RINGLANE_BLOCK_WORKER_H

#include "loop/loop.h"

struct worker;

/* Embedded in the asker's object until done() is called. */
struct worker_job {
	void (*run)(struct worker_job *job);  /* the worker's thread */
	void (*done)(struct worker_job *job); /* loop */
	struct loop *loop;
	/* the worker's */
	struct worker_job *next;
	struct loop_message message;
};

int worker_new(struct worker **ret_worker);
/* Main thread; no job is under way. NULL is allowed. */
void worker_free(struct worker *worker);
/* Any thread. */
void worker_post(struct worker *worker, struct worker_job *job);

#endif
