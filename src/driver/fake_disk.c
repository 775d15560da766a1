// SPDX-License-Identifier: MIT
/*
 * The test's back end: vhost_user/backend.h and the device's end of the ring on one thread. Other threads speak to it by
 * an event fd and atomic fields.
 */
#include "driver/fake_disk.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "base/iov.h"
#include "vhost_user/backend.h"
#include "vhost_user/wire.h"
#include "virtq/virtq.h"

#include <assert.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RINGS_MAX 8
#define IOV_MAX_FAKE 1024
#define SECTORS_DEFAULT 2048

struct fake_ring {
	bool running;
	struct virtq_device q;
	int kick_fd, call_fd;
};

struct fake_disk {
	struct fake_setup setup;
	char folder[64], uri[128];
	uint8_t *bytes;
	pthread_t thread;
	int listen_fd, wake_fd;
	/* the thread's */
	struct vhu_backend *backend;
	struct mem_map *map;
	struct fake_ring rings[RINGS_MAX];
	uint64_t acked;
	bool dead;
	/* atomic */
	bool quit, hang_up;
	uint64_t sectors, sectors_told;
	unsigned taken;
};

/* ---- requests ---- */

static uint8_t transfer(struct fake_disk *disk, const struct virtq_chain *chain, struct iovec *iov,
			uint64_t offset, bool from_device)
{
	uint64_t size = from_device ? chain->writable_bytes - 1 : chain->readable_bytes - 16;

	if (offset + size > disk->setup.config.capacity * 512)
		return VIRTIO_BLK_S_IOERR;
	if (from_device)
		iov_from_buffer(iov + chain->readable_count, chain->writable_count, 0,
				disk->bytes + offset, size);
	else
		iov_to_buffer(iov, chain->readable_count, 16, disk->bytes + offset, size);
	return VIRTIO_BLK_S_OK;
}

/* Discarded and zeroed ranges read as zeros; a range with the unmap flag as 0xee, so that a test can tell. */
static uint8_t zero_ranges(struct fake_disk *disk, const struct virtq_chain *chain,
			   struct iovec *iov)
{
	unsigned count = (unsigned)((chain->readable_bytes - 16) / 16);

	for (unsigned i = 0; i < count; i++) {
		struct virtio_blk_discard_write_zeroes range;
		uint64_t offset, size;

		iov_to_buffer(iov, chain->readable_count, 16 + 16 * i, &range, sizeof(range));
		offset = le64toh(range.sector) * 512;
		size = (uint64_t)le32toh(range.num_sectors) * 512;
		if (offset + size > disk->setup.config.capacity * 512)
			return VIRTIO_BLK_S_IOERR;
		memset(disk->bytes + offset, range.flags ? 0xee : 0, size);
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t request_run(struct fake_disk *disk, const struct virtq_chain *chain,
			   struct iovec *iov)
{
	struct virtio_blk_outhdr header;

	iov_to_buffer(iov, chain->readable_count, 0, &header, sizeof(header));
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		return transfer(disk, chain, iov, le64toh(header.sector) * 512, true);
	case VIRTIO_BLK_T_OUT:
		return transfer(disk, chain, iov, le64toh(header.sector) * 512, false);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return zero_ranges(disk, chain, iov);
	case VIRTIO_BLK_T_FLUSH:
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		iov_from_buffer(iov + chain->readable_count, chain->writable_count, 0, FAKE_ID,
				VIRTIO_BLK_ID_BYTES);
		return VIRTIO_BLK_S_OK;
	}
	return VIRTIO_BLK_S_UNSUPP;
}

/* ---- rings ---- */

static void used_write(struct fake_ring *ring, uint32_t id, uint32_t written)
{
	struct virtq_used_elem *elem = &ring->q.memory.used->ring[ring->q.used_next & ring->q.mask];

	store_relaxed(&elem->id.raw, htole32(id));
	store_relaxed(&elem->len.raw, htole32(written));
	ring->q.used_next++;
}

static void chain_finish(struct fake_disk *disk, struct fake_ring *ring,
			 const struct virtq_chain *chain, struct iovec *iov, enum fake_trick trick)
{
	uint8_t status = request_run(disk, chain, iov);

	if (trick == FAKE_WRITES_STATUS)
		status = disk->setup.status;
	if (trick != FAKE_NO_STATUS)
		store_relaxed(chain->last_writable, status);
	switch (trick) {
	case FAKE_BAD_ID:
		used_write(ring, ring->q.size, 0);
		return;
	case FAKE_NOT_OUTSTANDING:
		used_write(ring, (chain->head + ring->q.size / 2u) & ring->q.mask, 0);
		return;
	case FAKE_LENGTH:
		used_write(ring, chain->head, (uint32_t)chain->writable_bytes + 1);
		return;
	case FAKE_INDEX_JUMPS:
		ring->q.used_next += 100;
		return;
	default:
		used_write(ring, chain->head, (uint32_t)chain->writable_bytes);
		if (trick == FAKE_TWICE)
			used_write(ring, chain->head, 1);
	}
}

static void used_reverse(struct fake_ring *ring, uint16_t from)
{
	struct virtq_used_elem *elems = ring->q.memory.used->ring;
	uint16_t to = ring->q.used_next;

	for (; (uint16_t)(to - from) > 1; from++, to--) {
		struct virtq_used_elem *a = &elems[from & ring->q.mask];
		struct virtq_used_elem *b = &elems[(to - 1) & ring->q.mask], swap = *a;

		*a = *b;
		*b = swap;
	}
}

static void ring_call(struct fake_ring *ring, bool always)
{
	virtq_device_publish(&ring->q);
	if (!virtq_device_should_call(&ring->q) && !always)
		return;
	if (ring->call_fd >= 0)
		event_fd_signal(ring->call_fd);
}

/* Takes all that is there. */
static void ring_drain(struct fake_disk *disk, struct fake_ring *ring)
{
	struct iovec iov[IOV_MAX_FAKE];
	struct virtq_chain chain;
	uint16_t first = ring->q.used_next;
	enum fake_trick trick = FAKE_HONEST;

	while (!disk->dead && virtq_device_pop(&ring->q, iov, IOV_MAX_FAKE, &chain) == 1) {
		if (add_relaxed(&disk->taken, 1) >= disk->setup.honest_first)
			trick = disk->setup.trick;
		if (trick == FAKE_DIES)
			disk->dead = true;
		else if (trick != FAKE_HOLDS)
			chain_finish(disk, ring, &chain, iov, trick);
	}
	if (disk->dead || ring->q.used_next == first)
		return;
	if (trick == FAKE_REVERSES)
		used_reverse(ring, first);
	ring_call(ring, trick > FAKE_REVERSES);
}

static void ring_process(struct fake_disk *disk, struct fake_ring *ring)
{
	event_fd_clear(ring->kick_fd);
	do {
		ring_drain(disk, ring);
	} while (!disk->dead && virtq_device_kicks_enable(&ring->q));
}

static void ring_forget(struct fake_ring *ring)
{
	if (!ring->running)
		return;
	fd_close(&ring->kick_fd);
	fd_close(&ring->call_fd);
	ring->running = false;
}

/* ---- vhost-user ---- */

static uint64_t get_features(void *opaque)
{
	const struct fake_disk *disk = opaque;
	static const uint8_t bits[] = {
		VIRTIO_F_VERSION_1,    VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX,
		VIRTIO_BLK_F_SEG_MAX,  VIRTIO_BLK_F_BLK_SIZE,       VIRTIO_BLK_F_TOPOLOGY,
		VIRTIO_BLK_F_FLUSH,    VIRTIO_BLK_F_CONFIG_WCE,     VIRTIO_BLK_F_MQ,
		VIRTIO_BLK_F_DISCARD,  VIRTIO_BLK_F_WRITE_ZEROES,   VIRTIO_BLK_F_SIZE_MAX,
		VIRTIO_BLK_F_GEOMETRY,
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
	return -EINVAL;
}

static int set_map(void *opaque, struct mem_map *map)
{
	struct fake_disk *disk = opaque;

	for (unsigned i = 0; i < RINGS_MAX; i++) {
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

static int ring_stop(void *opaque, unsigned index, uint16_t *ret_base)
{
	struct fake_disk *disk = opaque;
	struct fake_ring *ring = &disk->rings[index];

	*ret_base = ring->q.avail_next;
	ring_forget(ring);
	return disk->setup.trick == FAKE_HOLDS ? VHU_PENDING : 0;
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

static const struct vhu_backend_ops ops = {
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

/* ---- the thread ---- */

static void client_accept(struct fake_disk *disk)
{
	const uint64_t features = 1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |
				  1ull << VHU_PROTOCOL_BACKEND_REQ | 1ull << VHU_PROTOCOL_CONFIG |
				  1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS |
				  1ull << VHU_PROTOCOL_STATUS | 1ull << VHU_PROTOCOL_RESET_DEVICE;
	int fd = accept4(disk->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	disk->dead = false;
	if (vhu_backend_new(fd, features & ~disk->setup.protocol_features_off, &ops, disk,
			    &disk->backend) < 0)
		disk->backend = NULL;
}

static void client_forget(struct fake_disk *disk)
{
	for (unsigned i = 0; i < RINGS_MAX; i++)
		ring_forget(&disk->rings[i]);
	if (disk->backend)
		vhu_backend_free(disk->backend);
	disk->backend = NULL;
	mem_map_unref(disk->map);
	disk->map = NULL;
}

static void wishes_grant(struct fake_disk *disk)
{
	uint64_t sectors = load_acquire(&disk->sectors);

	event_fd_clear(disk->wake_fd);
	if (load_acquire(&disk->hang_up))
		disk->dead = true;
	store_relaxed(&disk->hang_up, false);
	if (disk->backend && sectors != disk->sectors_told)
		vhu_backend_config_changed(disk->backend);
	disk->sectors_told = sectors;
}

static void turn(struct fake_disk *disk)
{
	struct pollfd fds[2 + RINGS_MAX] = { { .fd = disk->wake_fd, .events = POLLIN } };
	int status = 0;

	fds[1].fd = disk->backend ? vhu_backend_fd(disk->backend) : disk->listen_fd;
	fds[1].events = POLLIN;
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		fds[2 + i].fd = disk->rings[i].running ? disk->rings[i].kick_fd : -1;
		fds[2 + i].events = POLLIN;
	}
	poll(fds, ARRAY_SIZE(fds), -1);
	wishes_grant(disk);
	if (fds[1].revents && !disk->backend)
		client_accept(disk);
	else if (fds[1].revents)
		status = vhu_backend_readable(disk->backend);
	for (unsigned i = 0; i < RINGS_MAX; i++)
		if (fds[2 + i].revents && disk->rings[i].running)
			ring_process(disk, &disk->rings[i]);
	if (status < 0 || disk->dead)
		client_forget(disk);
}

static void *thread_run(void *opaque)
{
	struct fake_disk *disk = opaque;

	while (!load_acquire(&disk->quit))
		turn(disk);
	client_forget(disk);
	return NULL;
}

/* ---- the test's side ---- */

struct virtio_blk_config fake_config(uint64_t sectors)
{
	return (struct virtio_blk_config){
		.capacity = htole64(sectors),
		.seg_max = htole32(32),
		.blk_size = htole32(512),
		.wce = 1,
		.num_queues = htole16(4),
		.max_discard_sectors = htole32(1024),
		.max_discard_seg = htole32(8),
		.discard_sector_alignment = htole32(8),
		.max_write_zeroes_sectors = htole32(512),
		.max_write_zeroes_seg = htole32(8),
		.write_zeroes_may_unmap = 1,
	};
}

struct fake_disk *fake_disk_new(const struct fake_setup *setup)
{
	struct fake_disk *disk = calloc(1, sizeof(*disk));
	char path[96];
	bool made;

	assert(disk);
	disk->setup = *setup;
	if (!disk->setup.queue_max)
		disk->setup.queue_max = 4;
	if (!disk->setup.config.capacity)
		disk->setup.config = fake_config(SECTORS_DEFAULT);
	disk->sectors = disk->sectors_told = disk->setup.config.capacity;
	disk->bytes = calloc(MIN(disk->sectors, (uint64_t)1 << 16), 512);
	snprintf(disk->folder, sizeof(disk->folder), "/tmp/ringlane-fake-XXXXXX");
	made = mkdtemp(disk->folder) != NULL;
	assert(disk->bytes && made);
	snprintf(path, sizeof(path), "%s/socket", disk->folder);
	snprintf(disk->uri, sizeof(disk->uri), "vhost-user-blk:%s", path);
	disk->listen_fd = unix_listen(path, NULL);
	disk->wake_fd = event_fd_new();
	assert(disk->listen_fd >= 0 && disk->wake_fd >= 0);
	for (unsigned i = 0; i < RINGS_MAX; i++)
		disk->rings[i].kick_fd = disk->rings[i].call_fd = -1;
	made = pthread_create(&disk->thread, NULL, thread_run, disk) == 0;
	assert(made);
	return disk;
}

void fake_disk_free(struct fake_disk *disk)
{
	char path[96];

	store_release(&disk->quit, true);
	event_fd_signal(disk->wake_fd);
	pthread_join(disk->thread, NULL);
	fd_close(&disk->listen_fd);
	fd_close(&disk->wake_fd);
	snprintf(path, sizeof(path), "%s/socket", disk->folder);
	unlink(path);
	rmdir(disk->folder);
	free(disk->bytes);
	free(disk);
}

const char *fake_disk_uri(const struct fake_disk *disk)
{
	return disk->uri;
}

uint8_t *fake_disk_bytes(struct fake_disk *disk)
{
	return disk->bytes;
}

void fake_disk_resize(struct fake_disk *disk, uint64_t sectors)
{
	store_release(&disk->sectors, sectors);
	event_fd_signal(disk->wake_fd);
}

void fake_disk_hang_up(struct fake_disk *disk)
{
	store_release(&disk->hang_up, true);
	event_fd_signal(disk->wake_fd);
}

unsigned fake_disk_taken(const struct fake_disk *disk)
{
	return load_relaxed(&disk->taken);
}

unsigned fake_open_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}
