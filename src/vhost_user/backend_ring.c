// SPDX-License-Identifier: MIT
/*
 * The life of a ring on the back end's side: set up by several requests in any order, started when complete, stopped by
 * GET_VRING_BASE or a reset. The owner's thread.
 *
 * stopped  NUM, ADDR, BASE, fds and ENABLE are remembered; complete -> starting
 * starting the owner has been asked and has the fds; success -> running, failure -> stopped, without fds
 * running  KICK, CALL, ERR and ENABLE are passed on; GET_VRING_BASE, reset -> stopping
 * stopping the owner finishes what is in flight -> stopped: base is the next index, the rest must be sent again
 *
 * Starting and stopping last as long as the request that caused them; nothing else is handled meanwhile.
 */
#include "vhost_user/backend_internal.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/stat.h>

#define DESC_SIZE 16u

void vhu_backend_ring_init(struct vhu_backend_ring *ring)
{
	*ring = (struct vhu_backend_ring){ .kick_fd = -1, .call_fd = -1, .err_fd = -1 };
}

void vhu_backend_ring_fini(struct vhu_backend_ring *ring)
{
	fd_close(&ring->kick_fd);
	fd_close(&ring->call_fd);
	fd_close(&ring->err_fd);
}

/* What must come again before the next start. Call and err may have been sent ahead of time: they stay. */
static void ring_forget(struct vhu_backend_ring *ring)
{
	fd_close(&ring->kick_fd);
	ring->num_set = ring->addr_set = ring->base_set = false;
}

static struct vhu_backend_ring *ring_now(struct vhu_backend *backend)
{
	return &backend->rings[backend->now.ring];
}

bool vhu_backend_ring_running(const struct vhu_backend *backend, unsigned index)
{
	return index < backend->queue_max && backend->rings[index].running;
}

bool vhu_backend_any_running(const struct vhu_backend *backend)
{
	for (unsigned i = 0; i < backend->queue_max; i++)
		if (backend->rings[i].running)
			return true;
	return false;
}

void vhu_backend_enable_rings(struct vhu_backend *backend, bool enabled)
{
	for (unsigned i = 0; i < backend->queue_max; i++)
		backend->rings[i].enabled = enabled;
}

void vhu_backend_reset_rings(struct vhu_backend *backend)
{
	for (unsigned i = 0; i < backend->queue_max; i++)
		ring_forget(&backend->rings[i]);
	vhu_backend_enable_rings(backend, false);
}

/* ---- set up ---- */

int vhu_handle_set_vring_num(struct vhu_backend *backend, struct vhu_message *message)
{
	uint32_t size = message->payload.state.num;
	struct vhu_backend_ring *ring = ring_now(backend);

	if (size == 0 || size > VHU_RING_SIZE_MAX || (size & (size - 1)))
		return error_set(&backend->error, -EINVAL,
				 "ring %u: %u entries, must be a power of two up to %u",
				 backend->now.ring, size, VHU_RING_SIZE_MAX);
	ring->size = (uint16_t)size;
	ring->num_set = true;
	return 0;
}

/* virtio 1.3, 2.7: descriptors at 16, available ring at 2, used ring at 4 bytes. */
static bool ring_is_aligned(uint64_t desc, uint64_t avail, uint64_t used)
{
	return !(desc & 15) && !(avail & 1) && !(used & 3);
}

int vhu_handle_set_vring_addr(struct vhu_backend *backend, struct vhu_message *message)
{
	const struct vhu_vring_addr *addr = &message->payload.addr;
	struct vhu_backend_ring *ring = ring_now(backend);

	if (!ring_is_aligned(addr->desc, addr->avail, addr->used))
		return error_set(&backend->error, -EINVAL, "ring %u: an address is not aligned",
				 backend->now.ring);
	ring->addr = *addr;
	ring->addr_set = true;
	return 0;
}

int vhu_handle_set_vring_base(struct vhu_backend *backend, struct vhu_message *message)
{
	uint32_t base = message->payload.state.num;
	struct vhu_backend_ring *ring = ring_now(backend);

	if (base > UINT16_MAX)
		return error_set(&backend->error, -EINVAL, "ring %u: %u is no ring index",
				 backend->now.ring, base);
	ring->base = (uint16_t)base;
	ring->base_set = true;
	return 0;
}

int vhu_backend_ring_memory(const struct vhu_backend *backend, unsigned index,
			    const struct mem_map *map, struct vhu_ring_memory *ret_memory)
{
	const struct vhu_backend_ring *ring = &backend->rings[index];
	uint64_t size = ring->size;
	struct vhu_ring_memory memory = {
		/* virtio 1.3, 2.7: both rings end with an event index, used or not. */
		.desc = mem_map_user(map, ring->addr.desc, DESC_SIZE * size),
		.avail = mem_map_user(map, ring->addr.avail, 6 + 2 * size),
		.used = mem_map_user(map, ring->addr.used, 6 + 8 * size),
	};

	if (!memory.desc || !memory.avail || !memory.used)
		return -EFAULT;
	if (!ring_is_aligned((uintptr_t)memory.desc, (uintptr_t)memory.avail,
			     (uintptr_t)memory.used))
		return -EFAULT;
	*ret_memory = memory;
	return 0;
}

/* ---- start ---- */

static bool ring_is_ready(const struct vhu_backend_ring *ring)
{
	return !ring->running && ring->num_set && ring->addr_set && ring->base_set &&
	       ring->kick_fd >= 0 && ring->enabled;
}

static int ring_is_started(struct vhu_backend *backend, int result)
{
	struct vhu_backend_ring *ring = &backend->rings[backend->now.start_next++];

	ring->running = result >= 0;
	if (result < 0)
		ring_forget(ring);
	return result;
}

static int ring_start(struct vhu_backend *backend, unsigned index,
		      const struct vhu_ring_memory *memory)
{
	struct vhu_backend_ring *ring = &backend->rings[index];
	struct vhu_ring given = { .size = ring->size,
				  .base = ring->base,
				  .memory = *memory,
				  .kick_fd = ring->kick_fd,
				  .call_fd = ring->call_fd,
				  .err_fd = ring->err_fd };

	ring->kick_fd = ring->call_fd = ring->err_fd = -1;
	return vhu_backend_follow(backend, backend->ops->ring_start(backend->opaque, index, &given),
				  ring_is_started);
}

/* A ring outside of the memory table waits for more regions, unless it is what this very request completed. */
static int ring_is_elsewhere(struct vhu_backend *backend, unsigned index)
{
	backend->now.start_next++;
	if (index != backend->now.ring || backend->map->count == 0)
		return 0;
	ring_forget(&backend->rings[index]);
	return error_set(&backend->error, -EFAULT,
			 "ring %u does not lie in one region of the memory table", index);
}

int vhu_backend_start_rings(struct vhu_backend *backend)
{
	int ret = 0;

	while (ret == 0 && backend->now.start_next < backend->queue_max) {
		unsigned index = backend->now.start_next;
		struct vhu_ring_memory memory;

		if (!ring_is_ready(&backend->rings[index]))
			backend->now.start_next++;
		else if (vhu_backend_ring_memory(backend, index, backend->map, &memory) < 0)
			ret = ring_is_elsewhere(backend, index);
		else
			ret = ring_start(backend, index, &memory);
	}
	return ret;
}

/* ---- stop ---- */

static void ring_is_stopped(struct vhu_backend_ring *ring, uint16_t base)
{
	ring->running = false;
	ring->base = base;
	ring_forget(ring);
}

/* 0: it is stopped. The base may be 1, so this is not for vhu_backend_follow(). */
static int ring_stop(struct vhu_backend *backend, unsigned index, vhu_then_fn *then)
{
	struct vhu_backend_ring *ring = &backend->rings[index];
	uint16_t base = ring->base;
	int result = 0;

	if (ring->running)
		result = backend->ops->ring_stop(backend->opaque, index, &base);
	if (result == VHU_PENDING)
		backend->now.then = then;
	if (result == 0)
		ring_is_stopped(ring, base);
	return result;
}

static int reply_base(struct vhu_backend *backend)
{
	unsigned index = backend->now.ring;

	backend->reply = vhu_message_make(0, sizeof(struct vhu_vring_state));
	backend->reply.payload.state =
		(struct vhu_vring_state){ index, backend->rings[index].base };
	return 0;
}

static int base_is_known(struct vhu_backend *backend, int result)
{
	if (result < 0)
		return result;
	ring_is_stopped(ring_now(backend), (uint16_t)result);
	return reply_base(backend);
}

int vhu_handle_get_vring_base(struct vhu_backend *backend, struct vhu_message *message)
{
	int result = ring_stop(backend, backend->now.ring, base_is_known);

	return result == 0 ? reply_base(backend) : result;
}

static int stop_goes_on(struct vhu_backend *backend, int result)
{
	if (result < 0)
		return result;
	ring_is_stopped(&backend->rings[backend->now.stop_next], (uint16_t)result);
	return vhu_backend_stop_rings(backend, backend->now.stopped);
}

int vhu_backend_stop_rings(struct vhu_backend *backend, vhu_then_fn *then)
{
	struct vhu_now *now = &backend->now;

	now->stopped = then;
	for (; now->stop_next < backend->queue_max; now->stop_next++) {
		int result = ring_stop(backend, now->stop_next, stop_goes_on);

		if (result != 0)
			return result;
	}
	return then(backend, 0);
}

/* ---- descriptors, enable ---- */

/* An event fd and nothing else: writing to a pipe, a tty or a file of somebody's file system could block a lane. */
static bool is_event_like(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0;
}

static int vring_fd_take(struct vhu_backend *backend, struct vhu_message *message, int *ret_fd)
{
	bool none = message->payload.u64 & VHU_VRING_NOFD;

	if (none != (message->fd_count == 0))
		return error_set(&backend->error, -EINVAL, "ring %u: %s", backend->now.ring,
				 none ? "a descriptor came although bit 8 says that none comes" :
					"no descriptor came");
	if (!none && (!is_event_like(message->fds[0]) || fd_set_nonblocking(message->fds[0]) < 0))
		return error_set(&backend->error, -EINVAL, "ring %u: the descriptor is no event fd",
				 backend->now.ring);
	*ret_fd = vhu_message_take_fd(message, 0);
	return 0;
}

static int is_passed_on(struct vhu_backend *backend, int result)
{
	return result;
}

static int fd_replace(int *slot, int fd)
{
	fd_close(slot);
	*slot = fd;
	return 0;
}

/* Without a descriptor the back end would have to poll. To take back one that was not used yet is fine. */
static int check_polled(struct vhu_backend *backend, const struct vhu_message *message)
{
	const struct vhu_backend_ring *ring = ring_now(backend);

	if (!(message->payload.u64 & VHU_VRING_NOFD) || (!ring->running && ring->kick_fd >= 0))
		return 0;
	return error_set(&backend->error, -ENOTSUP,
			 "ring %u: polling instead of a kick is not supported", backend->now.ring);
}

int vhu_handle_set_vring_kick(struct vhu_backend *backend, struct vhu_message *message)
{
	struct vhu_backend_ring *ring = ring_now(backend);
	int fd = -1, ret = check_polled(backend, message);

	if (ret == 0)
		ret = vring_fd_take(backend, message, &fd);
	if (ret < 0)
		return ret;
	if (!ring->running)
		return fd_replace(&ring->kick_fd, fd);
	return vhu_backend_follow(
		backend, backend->ops->ring_set_kick(backend->opaque, backend->now.ring, fd),
		is_passed_on);
}

int vhu_handle_set_vring_call(struct vhu_backend *backend, struct vhu_message *message)
{
	struct vhu_backend_ring *ring = ring_now(backend);
	int fd = -1, ret = vring_fd_take(backend, message, &fd);

	if (ret < 0)
		return ret;
	if (!ring->running)
		return fd_replace(&ring->call_fd, fd);
	return vhu_backend_follow(
		backend, backend->ops->ring_set_call(backend->opaque, backend->now.ring, fd),
		is_passed_on);
}

int vhu_handle_set_vring_err(struct vhu_backend *backend, struct vhu_message *message)
{
	struct vhu_backend_ring *ring = ring_now(backend);
	int fd = -1, ret = vring_fd_take(backend, message, &fd);

	if (ret < 0)
		return ret;
	if (!ring->running)
		return fd_replace(&ring->err_fd, fd);
	return vhu_backend_follow(
		backend, backend->ops->ring_set_err(backend->opaque, backend->now.ring, fd),
		is_passed_on);
}

static int ring_is_enabled(struct vhu_backend *backend, int result)
{
	if (result < 0)
		return result;
	ring_now(backend)->enabled = backend->now.value;
	return 0;
}

int vhu_handle_set_vring_enable(struct vhu_backend *backend, struct vhu_message *message)
{
	struct vhu_backend_ring *ring = ring_now(backend);
	bool enable = message->payload.state.num;

	if (message->payload.state.num > 1)
		return error_set(&backend->error, -EINVAL, "ring %u: %u is neither 0 nor 1",
				 backend->now.ring, message->payload.state.num);
	backend->now.value = enable;
	if (!ring->running || ring->enabled == enable)
		return ring_is_enabled(backend, 0);
	return vhu_backend_follow(
		backend, backend->ops->ring_set_enabled(backend->opaque, backend->now.ring, enable),
		ring_is_enabled);
}
