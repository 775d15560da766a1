// SPDX-License-Identifier: MIT
/* The back end's requests that concern the device as a whole. The owner's thread. */
#include "vhost_user/backend_internal.h"

#include "base/fd.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <sys/socket.h>

#define BIT_30 (1ull << VHU_F_PROTOCOL_FEATURES)

static int reply_u64(struct vhu_backend *backend, uint64_t value)
{
	backend->reply = vhu_message_make(0, sizeof(value));
	backend->reply.payload.u64 = value;
	return 0;
}

/* ---- features ---- */

static uint64_t features_offered(const struct vhu_backend *backend)
{
	return backend->ops->get_features(backend->opaque) | BIT_30;
}

int vhu_handle_get_features(struct vhu_backend *backend, struct vhu_message *message)
{
	return reply_u64(backend, features_offered(backend));
}

/* vhost-user, "Ring states": without bit 30 the rings are enabled from here on, with it they begin disabled. */
static int features_are_set(struct vhu_backend *backend, int result)
{
	bool auto_enabled = !(backend->now.value & BIT_30);

	if (result < 0)
		return result;
	backend->features = backend->now.value;
	if (auto_enabled || backend->auto_enabled)
		vhu_backend_enable_rings(backend, auto_enabled);
	backend->auto_enabled = auto_enabled;
	return 0;
}

int vhu_handle_set_features(struct vhu_backend *backend, struct vhu_message *message)
{
	uint64_t features = message->payload.u64, offered = features_offered(backend);

	if (features & ~offered)
		return error_set(&backend->error, -EINVAL,
				 "features 0x%" PRIx64 " were not offered", features & ~offered);
	if (vhu_backend_any_running(backend))
		return features == backend->features ?
			       0 :
			       error_set(&backend->error, -EBUSY,
					 "rings are running with other features");
	backend->now.value = features;
	return vhu_backend_follow(backend,
				  backend->ops->set_features(backend->opaque, features & ~BIT_30),
				  features_are_set);
}

int vhu_handle_get_protocol_features(struct vhu_backend *backend, struct vhu_message *message)
{
	return reply_u64(backend, backend->protocol_offered);
}

int vhu_handle_set_protocol_features(struct vhu_backend *backend, struct vhu_message *message)
{
	uint64_t features = message->payload.u64;

	if (features & ~backend->protocol_offered)
		return error_set(&backend->error, -EINVAL,
				 "protocol features 0x%" PRIx64 " were not offered",
				 features & ~backend->protocol_offered);
	backend->protocol_features = features;
	return 0;
}

int vhu_handle_get_queue_num(struct vhu_backend *backend, struct vhu_message *message)
{
	return reply_u64(backend, backend->queue_max);
}

int vhu_handle_get_max_mem_slots(struct vhu_backend *backend, struct vhu_message *message)
{
	return reply_u64(backend, MEM_MAP_REGIONS_MAX);
}

int vhu_handle_nothing(struct vhu_backend *backend, struct vhu_message *message)
{
	return 0;
}

/* ---- configuration space ---- */

int vhu_handle_get_config(struct vhu_backend *backend, struct vhu_message *message)
{
	const struct vhu_config *asked = &message->payload.config;
	uint32_t offset = asked->offset, size = asked->size;
	struct vhu_config *answer = &backend->reply.payload.config;

	if (size == 0 || size > VHU_CONFIG_MAX)
		return error_set(&backend->error, -EINVAL, "%u bytes, 1 to %u may be read", size,
				 VHU_CONFIG_MAX);
	backend->reply = vhu_message_make(0, (uint32_t)offsetof(struct vhu_config, bytes) + size);
	answer->offset = offset;
	answer->size = size;
	answer->flags = asked->flags;
	return backend->ops->get_config(backend->opaque, offset, answer->bytes, size);
}

static int config_is_set(struct vhu_backend *backend, int result)
{
	return result;
}

int vhu_handle_set_config(struct vhu_backend *backend, struct vhu_message *message)
{
	const struct vhu_config *config = &message->payload.config;
	uint32_t room = message->header.size - (uint32_t)offsetof(struct vhu_config, bytes);

	if (config->size == 0 || config->size > room)
		return error_set(&backend->error, -EINVAL, "%u bytes are announced, %u are there",
				 config->size, room);
	return vhu_backend_follow(backend,
				  backend->ops->set_config(backend->opaque, config->offset,
							   config->bytes, config->size,
							   config->flags),
				  config_is_set);
}

int vhu_handle_set_backend_req_fd(struct vhu_backend *backend, struct vhu_message *message)
{
	int type;
	socklen_t size = sizeof(type);

	if (getsockopt(message->fds[0], SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_STREAM)
		return error_set(&backend->error, -EINVAL, "the descriptor is no stream socket");
	fd_close(&backend->channel_fd);
	backend->channel_fd = vhu_message_take_fd(message, 0);
	return 0;
}

/* ---- reset ---- */

static int reset_is_done(struct vhu_backend *backend, int result)
{
	if (result < 0)
		return result;
	vhu_backend_reset_rings(backend);
	backend->features = 0;
	backend->auto_enabled = false;
	backend->status = 0;
	return 0;
}

static int rings_are_stopped(struct vhu_backend *backend, int result)
{
	if (result < 0)
		return result;
	return vhu_backend_follow(backend, backend->ops->reset(backend->opaque), reset_is_done);
}

/*
 * What the negotiation of the device made goes; what belongs to the connection stays: protocol features, memory table,
 * channel (front ends that add and remove regions send only differences afterwards). Rings are stopped one by one in order
 * to know their bases: QEMU 7 sends status 0 before it asks for them by GET_VRING_BASE, with the guest still alive.
 */
int vhu_handle_reset_device(struct vhu_backend *backend, struct vhu_message *message)
{
	return vhu_backend_stop_rings(backend, rings_are_stopped);
}

int vhu_handle_set_status(struct vhu_backend *backend, struct vhu_message *message)
{
	if (message->payload.u64 == 0)
		return vhu_handle_reset_device(backend, message);
	if (message->payload.u64 > UINT8_MAX)
		return error_set(&backend->error, -EINVAL, "0x%" PRIx64 " is no status",
				 message->payload.u64);
	backend->status = (uint8_t)message->payload.u64;
	return 0;
}

int vhu_handle_get_status(struct vhu_backend *backend, struct vhu_message *message)
{
	return reply_u64(backend, backend->status);
}
