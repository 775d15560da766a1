/* SPDX-License-Identifier: MIT */
/* A named thread that runs one loop: what `--object iothread` makes. Created and destroyed by the main thread. */
#ifndef RINGLANE_LOOP_IOTHREAD_H
#define RINGLANE_LOOP_IOTHREAD_H

#include "loop/loop.h"

#include <sched.h>
#include <sys/types.h>

#define IOTHREAD_ID_MAX 63

struct iothread_config {
	const char *id;
	struct poll_params poll;
	bool pinned;    /* cpus is meant */
	cpu_set_t cpus; /* where the thread may run */
};

struct iothread;

/* The thread runs its loop when this returns. Errors: no thread, no io_uring, cpus that do not exist (-EINVAL). */
int iothread_new(const struct iothread_config *config, struct iothread **ret_iothread,
		 struct error *error);
/* Stops the loop, joins the thread. Nothing may use it any more (refs == 0 is asserted). */
void iothread_free(struct iothread *iothread);

const char *iothread_id(const struct iothread *iothread);
struct loop *iothread_loop(struct iothread *iothread);
pid_t iothread_tid(const struct iothread *iothread);
void iothread_get_cpus(const struct iothread *iothread,
		       cpu_set_t *ret_cpus); /* as sched_getaffinity says */
void iothread_get_poll(const struct iothread *iothread, struct poll_params *ret_params);
/* Its loop goes by them from its next turn on. Main thread; -ENOMEM, then nothing has changed. */
int iothread_set_poll(struct iothread *iothread, const struct poll_params *params);
/* Who uses it: objects with references cannot be deleted. Main thread. */
void iothread_ref(struct iothread *iothread);
void iothread_unref(struct iothread *iothread);
unsigned iothread_refs(const struct iothread *iothread);

#endif
