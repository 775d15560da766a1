// SPDX-License-Identifier: MIT
/* System calls: close, fcntl, eventfd2, preadv2, write, socket, bind, listen, connect, lstat, unlink, pidfd_open, poll. Any thread. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 16
#define LISTENER_END_STEP_MS 10
#define LISTENER_END_TRIES 100

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd < 0)
		return;
	close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int event_fd_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void event_fd_signal(int fd)
{
	uint64_t one = 1;
	ssize_t written;

	do {
		written = write(fd, &one, sizeof(one));
	} while (written < 0 && errno == EINTR);
}

/* O_NONBLOCK belongs to all who share the descriptor: a peer can take it away, so each call says itself that it must not wait. */
bool event_fd_clear(int fd)
{
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };
	ssize_t got;

	do {
		got = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	} while (got < 0 && errno == EINTR);
	return got == (ssize_t)sizeof(count);
}

static int address_make(const char *path, struct sockaddr_un *ret_address, struct error *error)
{
	size_t length = strlen(path);

	if (length == 0)
		return error_set(error, -EINVAL, "the path of a socket is empty");
	if (length >= sizeof(ret_address->sun_path))
		return error_set(
			error, -ENAMETOOLONG,
			"socket path '%s' is longer than %zu bytes, the limit of the system", path,
			sizeof(ret_address->sun_path) - 1);
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_address->sun_path, path, length + 1);
	return 0;
}

static int address_connect(const struct sockaddr_un *address, int flags)
{
	fd_auto fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int connected;

	if (fd < 0)
		return -errno;
	do {
		connected = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	} while (connected < 0 && errno == EINTR);
	if (connected < 0)
		return -errno;
	connected = fd;
	fd = -1;
	return connected;
}

/* Of a process that called listen(). A zombie has ended too. */
static bool process_has_ended(pid_t pid)
{
	fd_auto fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return errno == ESRCH;
	return poll(&end, 1, 0) == 1;
}

static bool listener_has_ended(int fd)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);

	/* pid 0: it lives where we cannot see it */
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0 &&
	       process_has_ended(peer.pid);
}

/*
 * -ECONNREFUSED when nobody listens. The kernel takes the io_uring of a process that was killed apart after its end, and what
 * waits in it holds the socket open until then: such a listener is waited for. One that stays was handed to somebody who lives.
 */
static int listener_probe(const struct sockaddr_un *address)
{
	for (unsigned i = 0; i < LISTENER_END_TRIES; i++) {
		fd_auto fd = address_connect(address, SOCK_NONBLOCK);

		if (fd < 0)
			return fd;
		if (!listener_has_ended(fd))
			return 0;
		poll(NULL, 0, LISTENER_END_STEP_MS);
	}
	return 0;
}

/* Makes room at a path where bind() found something: only a socket that nobody serves any more may go. */
static int stale_remove(const struct sockaddr_un *address, struct error *error)
{
	const char *path = address->sun_path;
	struct stat info;
	int probe;

	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0 :
					 error_set(error, -errno, "cannot look at '%s': %s", path,
						   strerrordesc_np(errno));
	if (!S_ISSOCK(info.st_mode))
		return error_set(error, -EEXIST, "'%s' exists and is not a socket", path);
	probe = listener_probe(address);
	if (probe == -ENOENT)
		return 0;
	/* A full backlog or a socket of another type answers with other errors: it lives. */
	if (probe != -ECONNREFUSED)
		return error_set(error, -EADDRINUSE, "socket '%s' is in use by another process",
				 path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(error, -errno, "cannot remove the stale socket '%s': %s", path,
				 strerrordesc_np(errno));
	return 0;
}

static int address_bind(int fd, const struct sockaddr_un *address, struct error *error)
{
	int ret;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 0;
	if (errno == EADDRINUSE) {
		ret = stale_remove(address, error);
		if (ret < 0)
			return ret;
		if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
	}
	return error_set(error, -errno, "cannot bind socket '%s': %s", address->sun_path,
			 strerrordesc_np(errno));
}

int unix_listen(const char *path, struct error *error)
{
	struct sockaddr_un address;
	fd_auto fd = -1;
	int ret = address_make(path, &address, error);

	if (ret < 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(error, -errno, "cannot make a socket: %s", strerrordesc_np(errno));
	ret = address_bind(fd, &address, error);
	if (ret < 0)
		return ret;
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return error_set(error, -errno, "cannot listen on '%s': %s", path,
				 strerrordesc_np(errno));
	ret = fd;
	fd = -1;
	return ret;
}

int unix_connect(const char *path, struct error *error)
{
	struct sockaddr_un address;
	int ret = address_make(path, &address, error);

	if (ret < 0)
		return ret;
	ret = address_connect(&address, 0);
	if (ret < 0)
		return error_set(error, ret, "cannot connect to '%s': %s", path,
				 strerrordesc_np(-ret));
	return ret;
}
