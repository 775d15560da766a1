/* SPDX-License-Identifier: MIT */
/* System calls: fork, setsid, chdir, pipe2, dup2, fcntl (locks), setrlimit. See process.h. */
#include "daemon/process.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void process_prepare(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct rlimit files;
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(&fd);
	sigaction(SIGPIPE, &ignore, NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* ---- background ---- */

/* The child writes one byte when it is ready; an end of file without it means that it has failed, and has said why. */
static void wait_for_child(int fd)
{
	char ready;
	ssize_t got;

	do {
		got = read(fd, &ready, 1);
	} while (got < 0 && errno == EINTR);
	_exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int process_daemonize(int *ret_ready_fd, struct error *error)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return error_set(error, -errno, "--daemonize: %s", strerrordesc_np(errno));
	pid = fork();
	if (pid < 0) {
		int result = error_set(error, -errno, "--daemonize: cannot fork: %s",
				       strerrordesc_np(errno));

		fd_close(&ends[0]);
		fd_close(&ends[1]);
		return result;
	}
	if (pid > 0) {
		fd_close(&ends[1]);
		wait_for_child(ends[0]);
	}
	fd_close(&ends[0]);
	setsid();
	*ret_ready_fd = ends[1];
	return 0;
}

void process_ready(int *ready_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;

	if (chdir("/") < 0)
		errno = 0; /* a working directory that stays where it was is not worth an end */
	for (fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	fd_close(&null);
	if (write(*ready_fd, "", 1) < 0)
		errno = 0; /* the parent was killed: nobody waits */
	fd_close(ready_fd);
}

/* ---- pid file ---- */

char *process_absolute_path(const char *path)
{
	char *folder, *absolute = NULL;

	if (path[0] == '/')
		return strdup(path);
	folder = getcwd(NULL, 0);
	if (folder && asprintf(&absolute, "%s/%s", folder, path) < 0)
		absolute = NULL;
	free(folder);
	return absolute;
}

static int pidfile_fail(struct pidfile *pidfile, int code, const char *path, const char *what,
			struct error *error)
{
	fd_close(&pidfile->fd);
	return error_set(error, code, "--pidfile: cannot %s '%s': %s", what, path,
			 strerrordesc_np(-code));
}

/* The lock is gone with its process, so a pid file that a crash left behind is in nobody's way. */
static int pidfile_lock(struct pidfile *pidfile, const char *path, struct error *error)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat status;

	pidfile->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (pidfile->fd < 0)
		return pidfile_fail(pidfile, -errno, path, "open", error);
	if (fstat(pidfile->fd, &status) || !S_ISREG(status.st_mode))
		return pidfile_fail(pidfile, -EINVAL, path, "use", error);
	if (fcntl(pidfile->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return pidfile_fail(pidfile, -errno, path, "lock", error);
	fd_close(&pidfile->fd);
	return error_set(error, -EAGAIN, "--pidfile: '%s' is that of a process that runs", path);
}

int pidfile_write(struct pidfile *pidfile, const char *path, struct error *error)
{
	char text[32];
	int length, result = pidfile_lock(pidfile, path, error);

	if (result)
		return result;
	pidfile->path = process_absolute_path(path);
	if (!pidfile->path)
		return pidfile_fail(pidfile, -ENOMEM, path, "use", error);
	length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(pidfile->fd, 0) == 0 &&
	    pwrite(pidfile->fd, text, (size_t)length, 0) == length)
		return 0;
	result = error_set(error, errno ? -errno : -EIO, "--pidfile: cannot write '%s': %s", path,
			   strerrordesc_np(errno));
	pidfile_remove(pidfile);
	return result;
}

void pidfile_remove(struct pidfile *pidfile)
{
	if (pidfile->path)
		unlink(pidfile->path);
	free(pidfile->path);
	pidfile->path = NULL;
	fd_close(&pidfile->fd);
}
