/* SPDX-License-Identifier: MIT */
/*
 * Messages of vhost-user over a stream socket: the framing that both sides share.
 *
 * A message is a header, `size` bytes of payload and up to VHU_FDS_MAX file descriptors, which travel with its first bytes.
 * The stream may be cut anywhere. The size is checked before any payload is read. A descriptor that was received belongs to
 * the message; whoever gets the message closes what it does not keep with vhu_message_close_fds(). Descriptors arrive
 * close-on-exec.
 *
 * No call changes the socket's own flags: each system call says itself that it must not wait, nor raise SIGPIPE. One thread
 * at a time.
 */
#ifndef RINGLANE_VHOST_USER_CONN_H
#define RINGLANE_VHOST_USER_CONN_H

#include "base/error.h"
#include "vhost_user/wire.h"

#include <stdbool.h>

struct vhu_message {
	struct vhu_header header;
	union vhu_payload payload;
	int fds[VHU_FDS_MAX]; /* -1: taken */
	unsigned fd_count;
};

struct vhu_conn {
	int fd;
	uint32_t have; /* bytes of `in` that are there, header and payload */
	struct vhu_message in;
};

/* A request with nothing in it. */
struct vhu_message vhu_message_make(uint32_t request, uint32_t payload_size);
void vhu_message_close_fds(struct vhu_message *message);
/* The index-th descriptor; it is the caller's from now on. -1 when there is none. */
int vhu_message_take_fd(struct vhu_message *message, unsigned index);
static inline bool vhu_message_flag(const struct vhu_message *message, uint32_t flag)
{
	return message->header.flags & flag;
}

/* Takes fd. */
void vhu_conn_init(struct vhu_conn *conn, int fd);
/* Closes the socket and what a half-read message brought. */
void vhu_conn_fini(struct vhu_conn *conn);

/*
 * 1: a whole message, moved into *ret_message. 0: no more now. -ECONNRESET: the peer closed, between two messages. Other
 * -errno with a sentence: the stream is unusable from now on.
 */
int vhu_conn_receive(struct vhu_conn *conn, struct vhu_message *ret_message, struct error *error);
/* The same, waiting: 1, -ETIMEDOUT at deadline_ns (of clock_ns()), or -errno. Always with a sentence. */
int vhu_conn_receive_until(struct vhu_conn *conn, uint64_t deadline_ns,
			   struct vhu_message *ret_message, struct error *error);

/*
 * The whole message, its descriptors (borrowed) with the first byte. Waits for room until deadline_ns; 0 = not at all:
 * -EAGAIN. -ECONNRESET when the peer is gone. After an error the stream is unusable, except -EAGAIN: nothing was sent.
 */
int vhu_conn_send(struct vhu_conn *conn, const struct vhu_message *message, uint64_t deadline_ns,
		  struct error *error);

#endif
