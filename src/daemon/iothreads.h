/* SPDX-License-Identifier: MIT */
/*
 * The IOThreads of the daemon: those of `--object iothread`, and automatic ones for queues that are mapped to none.
 *
 * Automatic IOThreads are made when a queue first needs one, at most one for each CPU that the process may use, and are not
 * pinned: the scheduler places them. A queue gets the one that serves the fewest, so queues that start one after another go
 * round robin. Main thread.
 */
#ifndef RINGLANE_DAEMON_IOTHREADS_H
#define RINGLANE_DAEMON_IOTHREADS_H

#include "daemon/config.h"
#include "loop/iothread.h"

struct iothreads;

/* Starts those that the config names. */
int iothreads_new(const struct config *config, struct iothreads **ret_iothreads,
		  struct error *error);
void iothreads_free(struct iothreads *iothreads); /* nobody refers to them; NULL is fine */
/* One more with a name, which nobody has. */
int iothreads_add(struct iothreads *iothreads, const struct iothread_spec *spec,
		  struct error *error);
/* One with a name that nobody refers to. */
void iothreads_remove(struct iothreads *iothreads, struct iothread *iothread);
/* Those with a name first; NULL: there are no more. */
struct iothread *iothreads_get(const struct iothreads *iothreads, unsigned index);
struct iothread *iothreads_find(const struct iothreads *iothreads, const char *id);
/* One of the automatic ones; without a reference. */
int iothreads_pick(struct iothreads *iothreads, struct iothread **ret_iothread,
		   struct error *error);

#endif
