// SPDX-License-Identifier: MIT
/*
 * The back end's table of requests, and what is common to them: checks, refusals, replies, waiting for the owner.
 * The owner's thread. System calls: those of conn.c; fcntl, fstat for descriptors that came.
 */
#include "vhost_user/backend_internal.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL_SUPPORTED                                                              \
	(1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |                     \
	 1ull << VHU_PROTOCOL_BACKEND_REQ | 1ull << VHU_PROTOCOL_CONFIG |               \
	 1ull << VHU_PROTOCOL_RESET_DEVICE | 1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS | \
	 1ull << VHU_PROTOCOL_STATUS)

/* What becomes of a refused request when no REPLY_ACK tells the front end. */
enum vhu_refusal {
	REFUSAL_ENDS,        /* the connection: the two sides would disagree about what holds */
	REFUSAL_IS_IGNORED,  /* nothing hangs on it */
	REFUSAL_IS_ANSWERED, /* by an empty reply, as the request defines it */
};

/* Where the payload names a ring. */
enum vhu_ring_field {
	RING_NONE,
	RING_WORD, /* a 32-bit word at its start */
	RING_BITS, /* the low bits of a 64-bit word */
};

/* What must hold about the protocol feature. Questions are answered as soon as we offer it, because front ends differ in
 * whether they ask before or after they negotiate. */
enum vhu_feature_need { NEEDS_NOTHING, NEEDS_OFFER, NEEDS_NEGOTIATION };

struct vhu_handler {
	vhu_handle_fn *handle;
	enum vhu_feature_need need;
	enum vhu_protocol_feature feature;
	uint16_t size_min, size_max;
	uint8_t fds_min, fds_max;
	enum vhu_ring_field ring;
	bool while_stopped; /* only while that ring does not run */
	bool replies;       /* has a reply of its own */
	enum vhu_refusal refusal;
};

#define OFFERED(name) .need = NEEDS_OFFER, .feature = VHU_PROTOCOL_##name
#define NEGOTIATED(name) .need = NEEDS_NEGOTIATION, .feature = VHU_PROTOCOL_##name
#define SIZE(bytes) .size_min = (bytes), .size_max = (bytes)
#define U64 SIZE(sizeof(uint64_t))
#define STATE SIZE(sizeof(struct vhu_vring_state)), .ring = RING_WORD
#define VRING_FD U64, .ring = RING_BITS, .fds_max = 1

static const struct vhu_handler handlers[VHU_REQUEST_MAX] = {
	[VHU_GET_FEATURES] = { vhu_handle_get_features, .replies = true },
	[VHU_SET_FEATURES] = { vhu_handle_set_features, U64 },
	[VHU_SET_OWNER] = { vhu_handle_nothing },
	/* Deprecated and of no agreed meaning: QEMU sends it where it has no RESET_DEVICE. */
	[VHU_RESET_OWNER] = { vhu_handle_nothing },
	[VHU_SET_MEM_TABLE] = { vhu_handle_set_mem_table, .size_min = 8,
				.size_max = sizeof(struct vhu_memory),
				.fds_max = VHU_BASELINE_REGIONS },
	[VHU_SET_VRING_NUM] = { vhu_handle_set_vring_num, STATE, .while_stopped = true },
	[VHU_SET_VRING_ADDR] = { vhu_handle_set_vring_addr, SIZE(sizeof(struct vhu_vring_addr)),
				 .ring = RING_WORD, .while_stopped = true },
	[VHU_SET_VRING_BASE] = { vhu_handle_set_vring_base, STATE, .while_stopped = true },
	[VHU_GET_VRING_BASE] = { vhu_handle_get_vring_base, STATE, .replies = true },
	[VHU_SET_VRING_KICK] = { vhu_handle_set_vring_kick, VRING_FD },
	[VHU_SET_VRING_CALL] = { vhu_handle_set_vring_call, VRING_FD },
	[VHU_SET_VRING_ERR] = { vhu_handle_set_vring_err, VRING_FD, .refusal = REFUSAL_IS_IGNORED },
	[VHU_GET_PROTOCOL_FEATURES] = { vhu_handle_get_protocol_features, .replies = true },
	[VHU_SET_PROTOCOL_FEATURES] = { vhu_handle_set_protocol_features, U64 },
	[VHU_GET_QUEUE_NUM] = { vhu_handle_get_queue_num, OFFERED(MQ), .replies = true },
	[VHU_SET_VRING_ENABLE] = { vhu_handle_set_vring_enable, STATE },
	[VHU_SET_BACKEND_REQ_FD] = { vhu_handle_set_backend_req_fd, NEGOTIATED(BACKEND_REQ),
				     .size_max = 8, .fds_min = 1, .fds_max = 1,
				     .refusal = REFUSAL_IS_IGNORED },
	/* The bytes after the head are room for the answer, which some front ends send along. */
	[VHU_GET_CONFIG] = { vhu_handle_get_config, OFFERED(CONFIG), .size_min = 12,
			     .size_max = VHU_PAYLOAD_MAX, .replies = true,
			     .refusal = REFUSAL_IS_ANSWERED },
	[VHU_SET_CONFIG] = { vhu_handle_set_config, NEGOTIATED(CONFIG), .size_min = 12,
			     .size_max = VHU_PAYLOAD_MAX, .refusal = REFUSAL_IS_IGNORED },
	[VHU_RESET_DEVICE] = { vhu_handle_reset_device, NEGOTIATED(RESET_DEVICE) },
	[VHU_GET_MAX_MEM_SLOTS] = { vhu_handle_get_max_mem_slots, OFFERED(CONFIGURE_MEM_SLOTS),
				    .replies = true },
	[VHU_ADD_MEM_REG] = { vhu_handle_add_mem_reg, NEGOTIATED(CONFIGURE_MEM_SLOTS),
			      SIZE(sizeof(struct vhu_single_region)), .fds_min = 1, .fds_max = 1 },
	/* The standard has no descriptor here, some front ends send one. */
	[VHU_REM_MEM_REG] = { vhu_handle_rem_mem_reg, NEGOTIATED(CONFIGURE_MEM_SLOTS),
			      SIZE(sizeof(struct vhu_single_region)), .fds_max = 1 },
	[VHU_SET_STATUS] = { vhu_handle_set_status, NEGOTIATED(STATUS), U64 },
	[VHU_GET_STATUS] = { vhu_handle_get_status, OFFERED(STATUS), .replies = true },
};

/* A request without a row. */
static const struct vhu_handler unknown = { .handle = NULL };

int vhu_backend_new(int fd, uint64_t protocol_features, const struct vhu_backend_ops *ops,
		    void *opaque, struct vhu_backend **ret_backend)
{
	unsigned count = MIN(ops->queue_max(opaque), VHU_QUEUES_MAX);
	struct vhu_backend *backend =
		calloc(1, sizeof(*backend) + count * sizeof(backend->rings[0]));

	if (!backend) {
		fd_close(&fd);
		return -ENOMEM;
	}
	vhu_conn_init(&backend->conn, fd);
	backend->ops = ops;
	backend->opaque = opaque;
	backend->protocol_offered = protocol_features & PROTOCOL_SUPPORTED;
	backend->channel_fd = -1;
	backend->queue_max = count;
	for (unsigned i = 0; i < count; i++)
		vhu_backend_ring_init(&backend->rings[i]);
	backend->map = mem_map_new();
	if (!backend->map) {
		vhu_backend_free(backend);
		return -ENOMEM;
	}
	*ret_backend = backend;
	return 0;
}

void vhu_backend_free(struct vhu_backend *backend)
{
	if (!backend)
		return;
	for (unsigned i = 0; i < backend->queue_max; i++)
		vhu_backend_ring_fini(&backend->rings[i]);
	mem_map_unref(backend->now.map);
	mem_map_unref(backend->map);
	fd_close(&backend->channel_fd);
	vhu_conn_fini(&backend->conn);
	free(backend);
}

int vhu_backend_fd(const struct vhu_backend *backend)
{
	return backend->conn.fd;
}

const char *vhu_backend_reason(const struct vhu_backend *backend)
{
	return backend->error.text;
}

bool vhu_backend_pending(const struct vhu_backend *backend)
{
	return backend->now.then;
}

/* ---- checks ---- */

static bool feature_holds(const struct vhu_backend *backend, const struct vhu_handler *handler)
{
	uint64_t bit = 1ull << handler->feature;

	switch (handler->need) {
	case NEEDS_OFFER:
		return backend->protocol_offered & bit;
	case NEEDS_NEGOTIATION:
		return backend->protocol_features & bit;
	case NEEDS_NOTHING:
		break;
	}
	return true;
}

static int check_shape(const struct vhu_handler *handler, const struct vhu_message *message,
		       struct error *error)
{
	uint32_t size = message->header.size;

	if (size < handler->size_min || size > handler->size_max)
		return error_set(error, -EINVAL, "a payload of %u bytes, %u to %u were expected",
				 size, handler->size_min, handler->size_max);
	if (message->fd_count < handler->fds_min || message->fd_count > handler->fds_max)
		return error_set(error, -EINVAL, "%u file descriptors, %u to %u were expected",
				 message->fd_count, handler->fds_min, handler->fds_max);
	return 0;
}

static int check_ring(struct vhu_backend *backend, const struct vhu_message *message)
{
	const struct vhu_handler *handler = backend->now.handler;
	unsigned index = message->payload.state.index;

	if (handler->ring == RING_NONE)
		return 0;
	if (handler->ring == RING_BITS)
		index = message->payload.u64 & VHU_VRING_INDEX_MASK;
	if (index >= backend->queue_max)
		return error_set(&backend->error, -EINVAL, "there is no ring %u, there are %u",
				 index, backend->queue_max);
	if (handler->while_stopped && backend->rings[index].running)
		return error_set(&backend->error, -EBUSY, "ring %u is running", index);
	backend->now.ring = index;
	return 0;
}

static int backend_check(struct vhu_backend *backend, const struct vhu_message *message)
{
	const struct vhu_handler *handler = backend->now.handler;
	int ret;

	if (!handler->handle)
		return error_set(&backend->error, -EOPNOTSUPP, "not supported");
	if (!feature_holds(backend, handler))
		return error_set(&backend->error, -EPERM, "protocol feature %d was not negotiated",
				 handler->feature);
	ret = check_shape(handler, message, &backend->error);
	return ret < 0 ? ret : check_ring(backend, message);
}

/* ---- replies ---- */

static int backend_end(struct vhu_backend *backend, int code)
{
	backend->ended = code;
	return code;
}

static int backend_send(struct vhu_backend *backend)
{
	int ret;

	backend->reply.header.request = backend->now.header.request;
	backend->reply.header.flags = VHU_VERSION | VHU_FLAG_REPLY;
	ret = vhu_conn_send(&backend->conn, &backend->reply, 0, &backend->error);
	if (ret == -EAGAIN)
		ret = error_set(&backend->error, -ENOBUFS,
				"the front end does not read the replies");
	return ret < 0 ? backend_end(backend, ret) : 0;
}

static bool wants_ack(const struct vhu_backend *backend)
{
	return !backend->now.handler->replies && backend->now.header.flags & VHU_FLAG_NEED_REPLY &&
	       backend->protocol_features & 1ull << VHU_PROTOCOL_REPLY_ACK;
}

static int backend_ack(struct vhu_backend *backend, uint64_t value)
{
	backend->reply = vhu_message_make(0, sizeof(value));
	backend->reply.payload.u64 = value;
	return backend_send(backend);
}

static void name_refusal(struct vhu_backend *backend, int code)
{
	const char *name = vhu_request_name(backend->now.header.request);

	if (!backend->error.code)
		error_set(&backend->error, code, "%s", strerrordesc_np(-code));
	if (name)
		error_prefix(&backend->error, "%s", name);
	else
		error_prefix(&backend->error, "request %u", backend->now.header.request);
}

static int backend_refuse(struct vhu_backend *backend, int code)
{
	name_refusal(backend, code);
	if (wants_ack(backend))
		return backend_ack(backend, (uint64_t)-code);
	switch (backend->now.handler->refusal) {
	case REFUSAL_IS_ANSWERED:
		backend->reply = vhu_message_make(0, 0);
		return backend_send(backend);
	case REFUSAL_IS_IGNORED:
		return 0;
	case REFUSAL_ENDS:
		break;
	}
	return backend_end(backend, code);
}

/* The handler, or what followed it, has returned. */
static int backend_settle(struct vhu_backend *backend, int result)
{
	if (result == 0)
		result = vhu_backend_start_rings(backend);
	if (result == VHU_PENDING)
		return 0;
	if (result < 0)
		return backend_refuse(backend, result);
	if (backend->now.handler->replies)
		return backend_send(backend);
	return wants_ack(backend) ? backend_ack(backend, 0) : 0;
}

/* ---- requests ---- */

int vhu_backend_follow(struct vhu_backend *backend, int result, vhu_then_fn *then)
{
	if (result != VHU_PENDING)
		return then(backend, result);
	backend->now.then = then;
	return VHU_PENDING;
}

static int backend_dispatch(struct vhu_backend *backend, struct vhu_message *message)
{
	uint32_t request = message->header.request;
	bool known = request < VHU_REQUEST_MAX && handlers[request].handle;
	int ret;

	backend->error.code = 0;
	backend->now = (struct vhu_now){ .handler = known ? &handlers[request] : &unknown,
					 .header = message->header,
					 .ring = VHU_QUEUES_MAX };
	ret = backend_check(backend, message);
	if (ret == 0)
		ret = backend->now.handler->handle(backend, message);
	vhu_message_close_fds(message);
	return backend_settle(backend, ret);
}

int vhu_backend_readable(struct vhu_backend *backend)
{
	for (unsigned i = 0; i < VHU_BUDGET; i++) {
		struct vhu_message message;
		int ret;

		if (backend->ended || vhu_backend_pending(backend))
			return backend->ended;
		ret = vhu_conn_receive(&backend->conn, &message, &backend->error);
		if (ret < 0)
			return backend_end(backend, ret);
		if (ret == 0)
			return 0;
		backend_dispatch(backend, &message);
	}
	return backend->ended ? backend->ended : !vhu_backend_pending(backend);
}

int vhu_backend_complete(struct vhu_backend *backend, int result)
{
	vhu_then_fn *then = backend->now.then;

	assert(then && result <= UINT16_MAX);
	backend->now.then = NULL;
	return backend_settle(backend, then(backend, result));
}

int vhu_backend_config_changed(struct vhu_backend *backend)
{
	struct vhu_message message = vhu_message_make(VHU_BACKEND_CONFIG_CHANGE_MSG, 0);
	struct vhu_conn channel;
	int ret;

	if (backend->channel_fd < 0)
		return -ENOTCONN;
	vhu_conn_init(&channel, backend->channel_fd);
	ret = vhu_conn_send(&channel, &message, 0, NULL);
	if (ret == 0 || ret == -EAGAIN) /* a full channel has such a message in it already */
		return 0;
	fd_close(&backend->channel_fd);
	return -ENOTCONN;
}
