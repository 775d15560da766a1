/* SPDX-License-Identifier: MIT */
/* File descriptors: closing once, signalling event fds, sockets at a path. */
#ifndef RINGLANE_BASE_FD_H
#define RINGLANE_BASE_FD_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Closes *fd unless it is negative, and sets it to -1. */
void fd_close(int *fd);
#define fd_auto __attribute__((cleanup(fd_close), unused)) int

int fd_set_nonblocking(int fd);
/* A non-blocking, close-on-exec event fd, or -errno. */
int event_fd_new(void);
/*
 * Adds 1; a counter that is full already says what we want to say, so that is no error. A peer may have sent something
 * else than an event fd: the process ignores SIGPIPE and has made the fd non-blocking.
 */
void event_fd_signal(int fd);
/* Takes the counter to 0. Returns false when it was 0 (or is no event fd). Never waits, whatever the fd's flags are. */
bool event_fd_clear(int fd);

/*
 * Listen on a Unix socket. A live socket (somebody answers connect) is refused with -EADDRINUSE; a stale one is
 * replaced; anything that is not a socket is refused with -EEXIST. Returns the fd (non-blocking, close-on-exec) or -errno.
 */
int unix_listen(const char *path, struct error *error);
/* A blocking, close-on-exec socket, or -errno. */
int unix_connect(const char *path, struct error *error);

#endif
