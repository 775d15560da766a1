// SPDX-License-Identifier: MIT
/* The fake as the owner of a vhost-user back end. On the fake's thread. */
#include "driver/fake_disk_internal.h"

#include "base/atomic.h"
#include "base/fd.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

static uint64_t get_features(void *opaque)
{
	const struct fake_disk *disk = opaque;
	static const uint8_t bits[] = {
		VIRTIO_F_VERSION_1,        VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX,
		VIRTIO_BLK_F_SEG_MAX,      VIRTIO_BLK_F_BLK_SIZE,       VIRTIO_BLK_F_TOPOLOGY,
		VIRTIO_BLK_F_FLUSH,        VIRTIO_BLK_F_CONFIG_WCE,     VIRTIO_BLK_F_MQ,
		VIRTIO_BLK_F_DISCARD,      VIRTIO_BLK_F_WRITE_ZEROES,   VIRTIO_BLK_F_SIZE_MAX,
		VIRTIO_BLK_F_SECURE_ERASE, VIRTIO_BLK_F_GEOMETRY,
	};
	uint64_t features = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		features |= 1ull << bits[i];
	if (disk->setup.read_only)
		features |= 1ull << VIRTIO_BLK_F_RO;
	return features & ~disk->setup.features_off;
}

static int set_features(void *opaque, uint64_t features)
{
	((struct fake_disk *)opaque)->acked = features;
	return 0;
}

static unsigned queue_max(void *opaque)
{
	return ((struct fake_disk *)opaque)->setup.queue_max;
}

static int get_config(void *opaque, uint32_t offset, void *bytes, uint32_t size)
{
	struct fake_disk *disk = opaque;
	struct virtio_blk_config config = disk->setup.config;
	uint32_t length;

	config.capacity = load_relaxed(&disk->sectors);
	memset(bytes, 0, size);
	length = offset < sizeof(config) ? MIN(size, (uint32_t)sizeof(config) - offset) : 0;
	memcpy(bytes, (uint8_t *)&config + offset, length);
	return 0;
}

static int set_config(void *opaque, uint32_t offset, const void *bytes, uint32_t size,
		      uint32_t flags)
{
	struct fake_disk *disk = opaque;

	if (offset != offsetof(struct virtio_blk_config, wce) || size != 1)
		return -EINVAL;
	disk->setup.config.wce = *(const uint8_t *)bytes;
	return 0;
}

static int set_map(void *opaque, struct mem_map *map)
{
	struct fake_disk *disk = opaque;

	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++) {
		struct vhu_ring_memory memory;
		struct virtq_memory where;

		if (!disk->rings[i].running)
			continue;
		if (vhu_backend_ring_memory(disk->backend, i, map, &memory) < 0)
			return -EFAULT;
		where = (struct virtq_memory){ memory.desc, memory.avail, memory.used };
		virtq_device_remap(&disk->rings[i].q, &where, map);
	}
	mem_map_unref(disk->map);
	disk->map = mem_map_ref(map);
	return 0;
}

static int ring_start(void *opaque, unsigned index, const struct vhu_ring *given)
{
	struct fake_disk *disk = opaque;
	struct fake_ring *ring = &disk->rings[index];
	const struct virtq_config config = {
		.size = given->size,
		.base = given->base,
		.indirect = disk->acked >> VIRTIO_RING_F_INDIRECT_DESC & 1,
		.event_idx = disk->acked >> VIRTIO_RING_F_EVENT_IDX & 1,
		.memory = { given->memory.desc, given->memory.avail, given->memory.used },
	};
	int err_fd = given->err_fd;

	fd_close(&err_fd);
	ring->kick_fd = given->kick_fd;
	ring->call_fd = given->call_fd;
	ring->running = true;
	return virtq_device_init(&ring->q, &config, disk->map);
}

/* What is held has to be finished first. */
static int ring_stop(void *opaque, unsigned index, uint16_t *ret_base)
{
	struct fake_disk *disk = opaque;
	struct fake_ring *ring = &disk->rings[index];

	if (ring->held_count || load_relaxed(&disk->trick) == FAKE_HOLDS) {
		disk->stopping = index;
		return VHU_PENDING;
	}
	*ret_base = ring->q.avail_next;
	fake_ring_forget(ring);
	return 0;
}

void fake_stop_finish(struct fake_disk *disk)
{
	struct fake_ring *ring = &disk->rings[disk->stopping];
	uint16_t base = ring->q.avail_next;

	if (!disk->backend || !vhu_backend_pending(disk->backend))
		return;
	fake_ring_forget(ring);
	if (vhu_backend_complete(disk->backend, base) < 0)
		disk->dead = true;
}

static int ring_set_call(void *opaque, unsigned index, int fd)
{
	struct fake_ring *ring = &((struct fake_disk *)opaque)->rings[index];

	fd_close(&ring->call_fd);
	ring->call_fd = fd;
	return 0;
}

static int ring_set_kick(void *opaque, unsigned index, int fd)
{
	struct fake_ring *ring = &((struct fake_disk *)opaque)->rings[index];

	fd_close(&ring->kick_fd);
	ring->kick_fd = fd;
	return 0;
}

static int ring_set_err(void *opaque, unsigned index, int fd)
{
	fd_close(&fd);
	return 0;
}

static int ring_set_enabled(void *opaque, unsigned index, bool enabled)
{
	return 0;
}

static int reset(void *opaque)
{
	return 0;
}

const struct vhu_backend_ops fake_disk_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.queue_max = queue_max,
	.get_config = get_config,
	.set_config = set_config,
	.set_map = set_map,
	.ring_start = ring_start,
	.ring_stop = ring_stop,
	.ring_set_call = ring_set_call,
	.ring_set_kick = ring_set_kick,
	.ring_set_err = ring_set_err,
	.ring_set_enabled = ring_set_enabled,
	.reset = reset,
};
