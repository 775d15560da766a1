/* SPDX-License-Identifier: MIT */
/* See socket_file.h. */
#include "daemon/socket_file.h"

#include "base/fd.h"
#include "daemon/process.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int socket_file_listen(struct socket_file *file, const char *path, struct error *error)
{
	struct stat status;
	int fd = unix_listen(path, error);

	if (fd < 0)
		return fd;
	file->path = process_absolute_path(path);
	if (!file->path) {
		unlink(path);
		fd_close(&fd);
		return error_set(error, -ENOMEM, "out of memory");
	}
	if (stat(path, &status) == 0) {
		file->device = status.st_dev;
		file->inode = status.st_ino;
	}
	return fd;
}

void socket_file_unlink(struct socket_file *file)
{
	struct stat status;

	if (file->path && lstat(file->path, &status) == 0 && status.st_dev == file->device &&
	    status.st_ino == file->inode)
		unlink(file->path);
	free(file->path);
	file->path = NULL;
}
