// SPDX-License-Identifier: MIT
/*
 * The transport over a Unix socket: a thin face of vhost_user/frontend.h, which knows what back ends lack. An address in
 * this process is the address that the device uses.
 */
#include "driver/transport.h"

#include "vhost_user/frontend.h"
#include "vhost_user/wire.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_RUNNING                                                                        \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_DRIVER_OK)

struct transport_vhost_user {
	struct transport base;
	struct vhu_frontend *frontend;
	unsigned region_count, region_max;
	unsigned timeout_ms;
	char path[]; /* of the socket */
};

static struct transport_vhost_user *self_of(const struct transport *transport)
{
	return container_of(transport, struct transport_vhost_user, base);
}

static void close_vhost_user(struct transport *transport)
{
	vhu_frontend_close(self_of(transport)->frontend);
	free(self_of(transport));
}

static void get_facts_vhost_user(const struct transport *transport,
				 struct transport_facts *ret_facts)
{
	const struct vhu_frontend *frontend = self_of(transport)->frontend;

	*ret_facts = (struct transport_facts){
		.features = vhu_frontend_features(frontend),
		.protocol_features = vhu_frontend_protocol_features(frontend),
		.queue_max = vhu_frontend_queue_max(frontend),
		.mem_slots = self_of(transport)->region_max,
	};
}

static int set_features_vhost_user(struct transport *transport, uint64_t features,
				   struct error *error)
{
	struct vhu_frontend *frontend = self_of(transport)->frontend;

	features |= vhu_frontend_features(frontend) & (1ull << VHU_F_PROTOCOL_FEATURES);
	return vhu_frontend_set_features(frontend, features, error);
}

static int get_config_vhost_user(struct transport *transport, void *bytes, uint32_t size,
				 uint32_t *ret_size, struct error *error)
{
	return vhu_frontend_get_config(self_of(transport)->frontend, bytes, size, ret_size, error);
}

static int set_config_vhost_user(struct transport *transport, uint32_t offset, const void *bytes,
				 uint32_t size, struct error *error)
{
	return vhu_frontend_set_config(self_of(transport)->frontend, offset, bytes, size, error);
}

static int mem_add_vhost_user(struct transport *transport, struct dma_region *region,
			      struct error *error)
{
	struct transport_vhost_user *self = self_of(transport);
	int ret;

	if (self->region_count == self->region_max)
		return error_set(error, -ENOSPC, "the back end takes %u regions of memory, no more",
				 self->region_max);
	if (self->region_count)
		ret = vhu_frontend_add_mem(self->frontend, region, error);
	else
		ret = vhu_frontend_set_mem(self->frontend, region, 1, error);
	if (ret < 0)
		return ret;
	region->device_addr = (uintptr_t)region->addr;
	self->region_count++;
	return 0;
}

static int mem_remove_vhost_user(struct transport *transport, const struct dma_region *region,
				 struct error *error)
{
	struct transport_vhost_user *self = self_of(transport);
	int ret = vhu_frontend_remove_mem(self->frontend, region, error);

	if (ret == 0)
		self->region_count--;
	return ret;
}

static int queue_start_vhost_user(struct transport *transport, unsigned index,
				  const struct transport_ring *ring, struct error *error)
{
	const struct vhu_frontend_ring wire = {
		.size = ring->size,
		.desc = (uintptr_t)ring->desc,
		.avail = (uintptr_t)ring->avail,
		.used = (uintptr_t)ring->used,
		.kick_fd = ring->kick_fd,
		.call_fd = ring->call_fd,
	};

	return vhu_frontend_ring_start(self_of(transport)->frontend, index, &wire, error);
}

static int queue_stop_vhost_user(struct transport *transport, unsigned index, struct error *error)
{
	uint16_t base;

	return vhu_frontend_ring_stop(self_of(transport)->frontend, index, &base, error);
}

/* Back ends finish what is in flight before they answer, some stop all rings at the first request: both is fine here. */
static int reset_vhost_user(struct transport *transport, unsigned count, struct error *error)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < count; i++)
		ret = queue_stop_vhost_user(transport, i, error);
	return ret;
}

static int hang_up_vhost_user(struct transport *transport, unsigned timeout_ms, struct error *error)
{
	return vhu_frontend_hang_up(self_of(transport)->frontend, timeout_ms, error);
}

static int reconnect_vhost_user(struct transport *transport, uint64_t deadline, struct error *error)
{
	struct transport_vhost_user *self = self_of(transport);
	struct vhu_frontend *frontend;
	int ret = vhu_frontend_open_until(self->path, self->timeout_ms, deadline, &frontend, error);

	if (ret < 0)
		return ret;
	vhu_frontend_close(self->frontend);
	self->frontend = frontend;
	self->region_count = 0;
	self->region_max = vhu_frontend_mem_slots(frontend);
	return 0;
}

static int start_vhost_user(struct transport *transport, struct error *error)
{
	struct vhu_frontend *frontend = self_of(transport)->frontend;
	int ret = vhu_frontend_set_status(frontend, STATUS_RUNNING, error);

	vhu_frontend_no_deadline(frontend);
	return ret;
}

static int gone_fd_vhost_user(const struct transport *transport)
{
	return vhu_frontend_fd(self_of(transport)->frontend);
}

static int event_fd_vhost_user(const struct transport *transport)
{
	return vhu_frontend_backend_fd(self_of(transport)->frontend);
}

static int event_vhost_user(struct transport *transport)
{
	return vhu_frontend_backend_event(self_of(transport)->frontend);
}

static const struct transport_ops ops_vhost_user = {
	.close = close_vhost_user,
	.get_facts = get_facts_vhost_user,
	.set_features = set_features_vhost_user,
	.get_config = get_config_vhost_user,
	.set_config = set_config_vhost_user,
	.mem_add = mem_add_vhost_user,
	.mem_remove = mem_remove_vhost_user,
	.queue_start = queue_start_vhost_user,
	.queue_stop = queue_stop_vhost_user,
	.reset = reset_vhost_user,
	.hang_up = hang_up_vhost_user,
	.reconnect = reconnect_vhost_user,
	.start = start_vhost_user,
	.gone_fd = gone_fd_vhost_user,
	.event_fd = event_fd_vhost_user,
	.event = event_vhost_user,
};

int transport_vhost_user_open(const char *path, unsigned timeout_ms,
			      struct transport **ret_transport, struct error *error)
{
	size_t path_bytes = strlen(path) + 1;
	struct transport_vhost_user *self = calloc(1, sizeof(*self) + path_bytes);
	int ret;

	if (!self)
		return error_set(error, -ENOMEM, "out of memory");
	ret = vhu_frontend_open(path, timeout_ms, &self->frontend, error);
	if (ret < 0) {
		free(self);
		return ret;
	}
	memcpy(self->path, path, path_bytes);
	self->timeout_ms = timeout_ms;
	self->base.ops = &ops_vhost_user;
	self->base.gone_events = POLLRDHUP;
	self->region_max = vhu_frontend_mem_slots(self->frontend);
	*ret_transport = &self->base;
	return 0;
}
