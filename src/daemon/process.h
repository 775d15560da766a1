/* SPDX-License-Identifier: MIT */
/* What a daemon is to the system: background, pid file, limits. Main thread. */
#ifndef RINGLANE_DAEMON_PROCESS_H
#define RINGLANE_DAEMON_PROCESS_H

#include "base/error.h"

/* Descriptors 0, 1 and 2 are open afterwards, SIGPIPE is ignored, and as many descriptors may be opened as the system allows. */
void process_prepare(void);

/*
 * Forks; the parent waits and exits 0 when the child says that it is ready, 1 when it ends before. The child returns, with the
 * descriptor for process_ready(). Before any thread is made.
 */
int process_daemonize(int *ret_ready_fd, struct error *error);
/* Lets the parent go; stdin, stdout and stderr lead nowhere from now on. */
void process_ready(int *ready_fd);

struct pidfile {
	int fd;     /* locked while we live; -1: none */
	char *path; /* absolute */
};

/* -EAGAIN: another process holds it. */
int pidfile_write(struct pidfile *pidfile, const char *path, struct error *error);
void pidfile_remove(struct pidfile *pidfile);

/* path as it is found from any working directory; NULL: no memory. The caller frees it. */
char *process_absolute_path(const char *path);

#endif
