// SPDX-License-Identifier: MIT
/*
 * The front end: connecting, negotiating, configuration space, status, the back end's own messages.
 * System calls: socket, setsockopt, connect, socketpair, shutdown, poll, and those of conn.c.
 */
#include "vhost_user/frontend_internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define BIT(number) (1ull << (number))
#define VHU_EVENTS_MAX 64 /* messages of the back end in one call */
#define BIT_30 BIT(VHU_F_PROTOCOL_FEATURES)
#define PROTOCOL_WANTED                                                                       \
	(BIT(VHU_PROTOCOL_MQ) | BIT(VHU_PROTOCOL_REPLY_ACK) | BIT(VHU_PROTOCOL_BACKEND_REQ) | \
	 BIT(VHU_PROTOCOL_CONFIG) | BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) |                   \
	 BIT(VHU_PROTOCOL_STATUS))

/* ---- connecting ---- */

/* A server that does not accept, with a full backlog, would hold connect() up: the send timeout bounds that. */
static int connect_until(const struct sockaddr_un *address, unsigned timeout_ms)
{
	struct timeval limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000 }, none = { 0, 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	do {
		ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	} while (ret < 0 && errno == EINTR);
	if (ret < 0) {
		ret = errno == EAGAIN ? -ETIMEDOUT : -errno;
		fd_close(&fd);
		return ret;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	return fd;
}

static int frontend_attach(int fd, unsigned timeout_ms, uint64_t deadline,
			   struct vhu_frontend **ret_frontend, struct error *error);

int vhu_frontend_open(const char *path, unsigned timeout_ms, struct vhu_frontend **ret_frontend,
		      struct error *error)
{
	return vhu_frontend_open_until(path, timeout_ms, UINT64_MAX, ret_frontend, error);
}

/* At least a millisecond: none would be no limit. */
static unsigned timeout_until(uint64_t deadline, unsigned timeout_ms)
{
	uint64_t now = clock_ns(), left_ms = now < deadline ? (deadline - now) / NS_PER_MS : 0;

	return (unsigned)MIN((uint64_t)timeout_ms, MAX(left_ms, 1ull));
}

int vhu_frontend_open_until(const char *path, unsigned timeout_ms, uint64_t deadline,
			    struct vhu_frontend **ret_frontend, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	int fd, ret;

	if (length == 0 || length >= sizeof(address.sun_path))
		return error_set(error, length ? -ENAMETOOLONG : -EINVAL,
				 "socket path '%s' must have 1 to %zu bytes", path,
				 sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, length);
	fd = connect_until(&address, timeout_until(deadline, timeout_ms));
	if (fd < 0)
		return error_set(error, fd, "cannot connect to '%s': %s", path,
				 strerrordesc_np(-fd));
	ret = frontend_attach(fd, timeout_ms, deadline, ret_frontend, error);
	if (ret < 0 && error)
		error_prefix(error,
			     ret == -ETIMEDOUT ? "'%s' hangs or serves another client" : "'%s'",
			     path);
	return ret;
}

/* ---- negotiating ---- */

/* Our end of the back end's own channel. A back end that wants none after all has none. */
static int open_channel(struct vhu_frontend *frontend, struct error *error)
{
	struct vhu_message message = vhu_message_make(VHU_SET_BACKEND_REQ_FD, 0);
	int pair[2], ret;

	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(error, -errno, "cannot make a socket pair: %s",
				 strerrordesc_np(errno));
	message.fds[message.fd_count++] = pair[1];
	ret = vhu_frontend_tell(frontend, &message, error);
	fd_close(&pair[1]);
	if (ret < 0) {
		fd_close(&pair[0]);
		return ret == -EREMOTEIO ? 0 : ret;
	}
	vhu_conn_init(&frontend->channel, pair[0]);
	return 0;
}

static int read_limits(struct vhu_frontend *frontend, struct error *error)
{
	uint64_t queues = 1, slots = VHU_BASELINE_REGIONS;
	int ret = 0;

	if (vhu_frontend_has(frontend, VHU_PROTOCOL_MQ))
		ret = vhu_frontend_ask_u64(frontend, VHU_GET_QUEUE_NUM, &queues, error);
	if (ret == 0 && vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		ret = vhu_frontend_ask_u64(frontend, VHU_GET_MAX_MEM_SLOTS, &slots, error);
	if (ret < 0)
		return ret;
	if (queues == 0 || slots == 0)
		return error_set(error, -EPROTO,
				 "the back end offers %" PRIu64 " queues and %" PRIu64
				 " memory slots",
				 queues, slots);
	frontend->queue_max = (unsigned)MIN(queues, VHU_VRING_INDEX_MASK + 1);
	frontend->mem_slots = (unsigned)MIN(slots, MEM_MAP_REGIONS_MAX);
	return 0;
}

static int negotiate_protocol(struct vhu_frontend *frontend, struct error *error)
{
	uint64_t offered;
	int ret;

	if (!(frontend->features & BIT_30))
		return 0;
	ret = vhu_frontend_ask_u64(frontend, VHU_GET_PROTOCOL_FEATURES, &offered, error);
	if (ret == 0) /* not acknowledged: REPLY_ACK is not negotiated before it */
		ret = vhu_frontend_tell_u64(frontend, VHU_SET_PROTOCOL_FEATURES,
					    offered & PROTOCOL_WANTED, error);
	if (ret == 0)
		frontend->protocol_features = offered & PROTOCOL_WANTED;
	return ret;
}

static int frontend_negotiate(struct vhu_frontend *frontend, struct error *error)
{
	struct vhu_message owner = vhu_message_make(VHU_SET_OWNER, 0);
	int ret = vhu_frontend_tell(frontend, &owner, error);

	if (ret == 0)
		ret = vhu_frontend_ask_u64(frontend, VHU_GET_FEATURES, &frontend->features, error);
	if (ret == 0)
		ret = negotiate_protocol(frontend, error);
	if (ret == 0)
		ret = read_limits(frontend, error);
	if (ret == 0)
		ret = open_channel(frontend, error);
	return ret;
}

static int frontend_attach(int fd, unsigned timeout_ms, uint64_t deadline,
			   struct vhu_frontend **ret_frontend, struct error *error)
{
	struct vhu_frontend *frontend = calloc(1, sizeof(*frontend));
	int ret;

	if (!frontend) {
		fd_close(&fd);
		return error_set(error, -ENOMEM, "out of memory");
	}
	vhu_conn_init(&frontend->conn, fd);
	vhu_conn_init(&frontend->channel, -1);
	frontend->timeout_ms = timeout_ms;
	frontend->deadline = deadline;
	frontend->queue_max = 1;
	frontend->mem_slots = VHU_BASELINE_REGIONS;
	ret = frontend_negotiate(frontend, error);
	if (ret < 0) {
		vhu_frontend_close(frontend);
		return ret;
	}
	*ret_frontend = frontend;
	return 0;
}

int vhu_frontend_attach(int fd, unsigned timeout_ms, struct vhu_frontend **ret_frontend,
			struct error *error)
{
	return frontend_attach(fd, timeout_ms, UINT64_MAX, ret_frontend, error);
}

void vhu_frontend_no_deadline(struct vhu_frontend *frontend)
{
	frontend->deadline = UINT64_MAX;
}

void vhu_frontend_close(struct vhu_frontend *frontend)
{
	if (!frontend)
		return;
	vhu_conn_fini(&frontend->channel);
	vhu_conn_fini(&frontend->conn);
	free(frontend);
}

int vhu_frontend_hang_up(struct vhu_frontend *frontend, unsigned timeout_ms, struct error *error)
{
	struct pollfd peer = { .fd = frontend->conn.fd, .events = POLLRDHUP };
	uint64_t end = clock_ns() + timeout_ms * NS_PER_MS, now;
	int ret;

	if (!frontend->broken)
		frontend->broken = -ECONNRESET;
	shutdown(frontend->conn.fd, SHUT_WR);
	do {
		now = clock_ns();
		ret = poll(&peer, 1,
			   now < end ? (int)((end - now + NS_PER_MS - 1) / NS_PER_MS) : 0);
	} while (ret < 0 && errno == EINTR);
	if (ret > 0)
		return 0;
	return error_set(error, ret < 0 ? -errno : -ETIMEDOUT,
			 "the back end does not let go of the connection");
}

int vhu_frontend_fd(const struct vhu_frontend *frontend)
{
	return frontend->conn.fd;
}

int vhu_frontend_backend_fd(const struct vhu_frontend *frontend)
{
	return frontend->channel.fd;
}

uint64_t vhu_frontend_features(const struct vhu_frontend *frontend)
{
	return frontend->features;
}

uint64_t vhu_frontend_protocol_features(const struct vhu_frontend *frontend)
{
	return frontend->protocol_features;
}

unsigned vhu_frontend_queue_max(const struct vhu_frontend *frontend)
{
	return frontend->queue_max;
}

unsigned vhu_frontend_mem_slots(const struct vhu_frontend *frontend)
{
	return frontend->mem_slots;
}

int vhu_frontend_set_features(struct vhu_frontend *frontend, uint64_t features, struct error *error)
{
	uint64_t acked = features | (frontend->features & BIT_30);
	int ret;

	if (acked & ~frontend->features)
		return error_set(error, -EINVAL, "features 0x%" PRIx64 " were not offered",
				 acked & ~frontend->features);
	ret = vhu_frontend_tell_u64(frontend, VHU_SET_FEATURES, acked, error);
	if (ret == 0)
		ret = vhu_frontend_barrier(frontend, error);
	if (ret == 0)
		frontend->acked = acked;
	return ret;
}

int vhu_frontend_set_status(struct vhu_frontend *frontend, uint8_t status, struct error *error)
{
	int ret;

	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_STATUS))
		return 0;
	ret = vhu_frontend_tell_u64(frontend, VHU_SET_STATUS, status, error);
	return ret < 0 ? ret : vhu_frontend_barrier(frontend, error);
}

/* ---- configuration space ---- */

static struct vhu_message config_message(enum vhu_request request, uint32_t offset, uint32_t size)
{
	struct vhu_message message =
		vhu_message_make(request, (uint32_t)offsetof(struct vhu_config, bytes) + size);

	message.payload.config.offset = offset;
	message.payload.config.size = size;
	return message;
}

/*
 * How many bytes of the reply are configuration, 0 when it is an error. Errors have three forms: no payload, a head that says
 * 0 bytes, or less data than was asked for; the last is a prefix of the truth, and taken as that.
 */
static uint32_t config_bytes(const struct vhu_message *reply, uint32_t asked)
{
	uint32_t head = offsetof(struct vhu_config, bytes);

	if (reply->header.size <= head)
		return 0;
	return MIN(MIN(reply->payload.config.size, reply->header.size - head), asked);
}

/* Back ends refuse sizes beyond the structure they know; nearly all ignore the offset, so only the size can be varied. */
int vhu_frontend_get_config(struct vhu_frontend *frontend, void *bytes, uint32_t size,
			    uint32_t *ret_size, struct error *error)
{
	const uint32_t sizes[] = { MIN(size, VHU_CONFIG_MAX), 96, 72, 60, 36, 24, 8 };

	memset(bytes, 0, size);
	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIG))
		return error_set(error, -ENOTSUP,
				 "the back end has no configuration space (CONFIG)");
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct vhu_message request = config_message(VHU_GET_CONFIG, 0, sizes[i]), reply;
		uint32_t got;
		int ret;

		if (sizes[i] == 0 || sizes[i] > size || (i > 0 && sizes[i] == sizes[0]))
			continue;
		ret = vhu_frontend_ask(frontend, &request, &reply, error);
		if (ret < 0)
			return ret;
		got = config_bytes(&reply, sizes[i]);
		if (got > 0) {
			memcpy(bytes, reply.payload.config.bytes, got);
			*ret_size = got;
			return 0;
		}
	}
	return error_set(error, -EREMOTEIO, "GET_CONFIG: the back end refused every size");
}

int vhu_frontend_set_config(struct vhu_frontend *frontend, uint32_t offset, const void *bytes,
			    uint32_t size, struct error *error)
{
	struct vhu_message message;
	int ret;

	if (size == 0 || size > VHU_CONFIG_MAX)
		return error_set(error, -EINVAL,
				 "%u bytes of configuration, 1 to %u may be written", size,
				 VHU_CONFIG_MAX);
	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIG))
		return error_set(error, -ENOTSUP,
				 "the back end has no configuration space (CONFIG)");
	message = config_message(VHU_SET_CONFIG, offset, size);
	memcpy(message.payload.config.bytes, bytes, size);
	ret = vhu_frontend_tell(frontend, &message, error);
	return ret < 0 ? ret : vhu_frontend_barrier(frontend, error);
}

/* ---- the back end's own messages ---- */

static int channel_answer(struct vhu_frontend *frontend, const struct vhu_message *message,
			  uint64_t value)
{
	struct vhu_message reply = vhu_message_make(message->header.request, sizeof(value));

	if (!vhu_message_flag(message, VHU_FLAG_NEED_REPLY))
		return 0;
	reply.header.flags |= VHU_FLAG_REPLY;
	reply.payload.u64 = value;
	return vhu_conn_send(&frontend->channel, &reply, 0, NULL);
}

/* 1 when message says that the configuration changed; anything else is not supported. */
static int channel_handle(struct vhu_frontend *frontend, struct vhu_message *message)
{
	bool changed = message->header.request == VHU_BACKEND_CONFIG_CHANGE_MSG;
	int ret;

	vhu_message_close_fds(message);
	ret = channel_answer(frontend, message, changed ? 0 : EOPNOTSUPP);
	return ret < 0 ? ret : changed;
}

int vhu_frontend_backend_event(struct vhu_frontend *frontend)
{
	struct vhu_message message;
	int changed = 0, ret;

	if (frontend->channel.fd < 0)
		return -ENOTCONN;
	for (unsigned i = 0; i < VHU_EVENTS_MAX; i++) {
		ret = vhu_conn_receive(&frontend->channel, &message, NULL);
		if (ret == 0)
			break;
		if (ret > 0)
			ret = channel_handle(frontend, &message);
		if (ret < 0) {
			vhu_conn_fini(&frontend->channel);
			return changed ? changed : ret;
		}
		changed |= ret;
	}
	return changed;
}
