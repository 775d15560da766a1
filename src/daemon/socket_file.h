/* SPDX-License-Identifier: MIT */
/* A Unix socket that we listen on, and its file, which goes when we go. Main thread. */
#ifndef RINGLANE_DAEMON_SOCKET_FILE_H
#define RINGLANE_DAEMON_SOCKET_FILE_H

#include "base/error.h"

#include <sys/types.h>

struct socket_file {
	char *path;   /* absolute; NULL: none */
	dev_t device; /* what it was when we made it */
	ino_t inode;
};

/* Returns the listening descriptor or -errno. */
int socket_file_listen(struct socket_file *file, const char *path, struct error *error);
/* Removes the file. Somebody may have put a socket of his own there meanwhile: that one stays. */
void socket_file_unlink(struct socket_file *file);

#endif
