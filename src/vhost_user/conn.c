// SPDX-License-Identifier: MIT
/* System calls: recvmsg, sendmsg, poll, close. */
#include "vhost_user/conn.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CONTROL_SIZE CMSG_SPACE(VHU_FDS_MAX * sizeof(int))

static_assert(sizeof(struct vhu_header) == 12, "header of the wire");
static_assert(sizeof(struct vhu_config) == VHU_PAYLOAD_MAX, "longest payload");
static_assert(sizeof(struct vhu_memory) <= VHU_PAYLOAD_MAX, "longest payload");

union conn_control {
	struct cmsghdr align;
	char bytes[CONTROL_SIZE];
};

struct vhu_message vhu_message_make(uint32_t request, uint32_t payload_size)
{
	struct vhu_message message;

	memset(&message, 0, sizeof(message));
	message.header = (struct vhu_header){ request, VHU_VERSION, payload_size };
	return message;
}

void vhu_message_close_fds(struct vhu_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		fd_close(&message->fds[i]);
	message->fd_count = 0;
}

int vhu_message_take_fd(struct vhu_message *message, unsigned index)
{
	int fd;

	if (index >= message->fd_count)
		return -1;
	fd = message->fds[index];
	message->fds[index] = -1;
	return fd;
}

void vhu_conn_init(struct vhu_conn *conn, int fd)
{
	memset(conn, 0, sizeof(*conn));
	conn->fd = fd;
}

void vhu_conn_fini(struct vhu_conn *conn)
{
	vhu_message_close_fds(&conn->in);
	conn->have = 0;
	fd_close(&conn->fd);
}

/* Adopts one descriptor, or closes it when the message has as many as it may have. */
static int message_add_fd(struct vhu_message *message, int fd)
{
	if (message->fd_count == VHU_FDS_MAX) {
		fd_close(&fd);
		return -EPROTO;
	}
	message->fds[message->fd_count++] = fd;
	return 0;
}

/* The kernel has installed these descriptors already: each one is kept or closed. */
static int message_add_rights(struct vhu_message *message, struct cmsghdr *control)
{
	size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int ret = 0;

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
		if (message_add_fd(message, fd) < 0)
			ret = -EPROTO;
	}
	return ret;
}

static int conn_take_control(struct vhu_conn *conn, struct msghdr *header, struct error *error)
{
	int ret = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    message_add_rights(&conn->in, c) < 0)
			ret = -EPROTO;
	if (header->msg_flags & MSG_CTRUNC)
		ret = -EPROTO;
	if (ret < 0)
		return error_set(error, ret,
				 "a message brings more file descriptors than can be received");
	return 0;
}

/* Some bytes of the message that is under way. 0: none now. */
static int conn_read(struct vhu_conn *conn, void *to, size_t size, struct error *error)
{
	union conn_control control;
	struct iovec iov = { to, size };
	struct msghdr header = { .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t got;
	int ret;

	do {
		got = recvmsg(conn->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got < 0)
		return error_set(error, -errno, "cannot receive: %s", strerrordesc_np(errno));
	ret = conn_take_control(conn, &header, error);
	if (ret < 0)
		return ret;
	if (got == 0 && conn->have == 0)
		return error_set(error, -ECONNRESET, "the peer closed the connection");
	if (got == 0)
		return error_set(error, -EPROTO,
				 "the peer closed the connection in the middle of a message");
	return (int)got;
}

static int header_check(const struct vhu_header *header, struct error *error)
{
	uint32_t version = header->flags & VHU_FLAG_VERSION_MASK;

	if (version != VHU_VERSION)
		return error_set(error, -EPROTO, "request %u has protocol version %u instead of %u",
				 header->request, version, VHU_VERSION);
	if (header->size > VHU_PAYLOAD_MAX)
		return error_set(error, -EMSGSIZE,
				 "request %u has a payload of %u bytes, the longest is %u",
				 header->request, header->size, VHU_PAYLOAD_MAX);
	return 0;
}

/* Bytes of the message under way that are known to be missing. */
static uint32_t conn_missing(const struct vhu_conn *conn)
{
	uint32_t whole = sizeof(struct vhu_header);

	if (conn->have >= whole)
		whole += conn->in.header.size;
	return whole - conn->have;
}

static char *conn_position(struct vhu_conn *conn)
{
	if (conn->have < sizeof(struct vhu_header))
		return (char *)&conn->in.header + conn->have;
	return (char *)&conn->in.payload + conn->have - sizeof(struct vhu_header);
}

int vhu_conn_receive(struct vhu_conn *conn, struct vhu_message *ret_message, struct error *error)
{
	uint32_t missing = conn_missing(conn);
	int ret;

	/* Each round reads at least a byte of at most 12 + VHU_PAYLOAD_MAX. */
	while (missing > 0) {
		ret = conn_read(conn, conn_position(conn), missing, error);
		if (ret <= 0)
			return ret;
		conn->have += (uint32_t)ret;
		if (conn->have == sizeof(struct vhu_header)) {
			ret = header_check(&conn->in.header, error);
			if (ret < 0)
				return ret;
		}
		missing = conn_missing(conn);
	}
	*ret_message = conn->in;
	vhu_conn_init(conn, conn->fd);
	return 1;
}

/* 0 when the socket is ready (or in error: the next call says so). */
static int conn_wait(struct vhu_conn *conn, short events, uint64_t deadline_ns)
{
	struct pollfd entry = { conn->fd, events, 0 };
	uint64_t now = clock_ns();
	struct timespec left;
	int ready;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	left.tv_sec = (time_t)((deadline_ns - now) / NS_PER_S);
	left.tv_nsec = (long)((deadline_ns - now) % NS_PER_S);
	ready = ppoll(&entry, 1, &left, NULL);
	return ready < 0 && errno != EINTR ? -errno : 0;
}

int vhu_conn_receive_until(struct vhu_conn *conn, uint64_t deadline_ns,
			   struct vhu_message *ret_message, struct error *error)
{
	int ret;

	for (;;) {
		ret = vhu_conn_receive(conn, ret_message, error);
		if (ret != 0)
			return ret;
		ret = conn_wait(conn, POLLIN, deadline_ns);
		if (ret < 0)
			return error_set(error, ret, "no answer: %s", strerrordesc_np(-ret));
	}
}

static void attach_fds(struct msghdr *header, union conn_control *control,
		       const struct vhu_message *message)
{
	size_t size = message->fd_count * sizeof(int);
	struct cmsghdr *c = &control->align;

	if (message->fd_count == 0)
		return;
	memset(control, 0, sizeof(*control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(c), message->fds, size);
	header->msg_control = control;
	header->msg_controllen = CMSG_SPACE(size);
}

/* What is left after the first `sent` bytes. Returns the bytes that went out, or -errno. */
static ssize_t conn_write(struct vhu_conn *conn, const struct vhu_message *message, size_t sent)
{
	size_t head = sizeof(message->header), in_head = MIN(sent, head);
	struct iovec iov[2] = {
		{ (char *)&message->header + in_head, head - in_head },
		{ (char *)&message->payload + (sent - in_head),
		  message->header.size - (sent - in_head) },
	};
	struct msghdr header = { .msg_iov = iov, .msg_iovlen = 2 };
	union conn_control control;
	ssize_t written;

	if (sent == 0)
		attach_fds(&header, &control, message);
	do {
		written = sendmsg(conn->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : written;
}

static int send_error(int code, struct error *error)
{
	if (code == -EPIPE || code == -ECONNRESET)
		return error_set(error, -ECONNRESET, "the peer closed the connection");
	return error_set(error, code, "cannot send: %s", strerrordesc_np(-code));
}

int vhu_conn_send(struct vhu_conn *conn, const struct vhu_message *message, uint64_t deadline_ns,
		  struct error *error)
{
	size_t size = sizeof(message->header) + message->header.size, sent = 0;

	assert(message->header.size <= VHU_PAYLOAD_MAX && message->fd_count <= VHU_FDS_MAX);
	while (sent < size) {
		ssize_t written = conn_write(conn, message, sent);

		if (written == -EAGAIN && deadline_ns)
			written = conn_wait(conn, POLLOUT, deadline_ns);
		else if (written == -EAGAIN && sent > 0)
			written = -EIO; /* half a message went out: the stream is lost */
		if (written < 0)
			return send_error((int)written, error);
		sent += (size_t)written;
	}
	return 0;
}
