// SPDX-License-Identifier: MIT
/* The fake's rings: requests, and what it does wrong with them. On the fake's thread. */
#include "driver/fake_disk_internal.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "base/iov.h"

#include <assert.h>
#include <endian.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

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
	case VIRTIO_BLK_T_SECURE_ERASE:
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

/* ---- what goes wrong ---- */

/* The next thing to happen is a trick of this kind: counts it. */
static bool trick_play(struct fake_disk *disk, enum fake_trick trick)
{
	if (load_relaxed(&disk->trick) != trick)
		return false;
	if (load_relaxed(&disk->taken) < disk->setup.honest_first)
		return false;
	if (disk->setup.tricks_max && load_relaxed(&disk->tricks) >= disk->setup.tricks_max)
		return false;
	add_relaxed(&disk->tricks, 1);
	return true;
}

/* Tricks with a kick or a call are no tricks with a request. */
static bool is_of_requests(enum fake_trick trick)
{
	return trick != FAKE_HONEST && trick != FAKE_LOSES_KICK && trick != FAKE_LOSES_CALL &&
	       trick != FAKE_DIES_AT_KICK;
}

/* What is done with the request that has just been taken. */
static enum fake_trick request_trick(struct fake_disk *disk)
{
	enum fake_trick trick = load_relaxed(&disk->trick);
	unsigned taken = add_relaxed(&disk->taken, 1);

	if (!is_of_requests(trick) || taken < disk->setup.honest_first)
		return FAKE_HONEST;
	if (disk->setup.tricks_max && load_relaxed(&disk->tricks) >= disk->setup.tricks_max)
		return FAKE_HONEST;
	add_relaxed(&disk->tricks, 1);
	return trick;
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

	if (trick == FAKE_DIES_DONE) {
		disk->dead = true;
		return;
	}
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
	case FAKE_LENGTH_0:
		used_write(ring, chain->head, 0);
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

static void ring_call(struct fake_disk *disk, struct fake_ring *ring, bool always)
{
	virtq_device_publish(&ring->q);
	if (!virtq_device_should_call(&ring->q) && !always)
		return;
	if (trick_play(disk, FAKE_LOSES_CALL))
		return;
	if (ring->call_fd >= 0)
		event_fd_signal(ring->call_fd);
}

static void chain_hold(struct fake_ring *ring, const struct virtq_chain *chain,
		       const struct iovec *iov)
{
	size_t bytes = (chain->readable_count + chain->writable_count) * sizeof(*iov);
	struct fake_held *held = &ring->held[ring->held_count++];

	assert(ring->held_count <= FAKE_HELD_MAX);
	*held = (struct fake_held){ *chain, malloc(bytes) };
	assert(held->iov);
	memcpy(held->iov, iov, bytes);
}

static void chain_handle(struct fake_disk *disk, struct fake_ring *ring,
			 const struct virtq_chain *chain, struct iovec *iov, enum fake_trick trick)
{
	switch (trick) {
	case FAKE_DIES:
		disk->dead = true;
		return;
	case FAKE_HOLDS:
		chain_hold(ring, chain, iov);
		return;
	case FAKE_DROPS:
		return;
	default:
		chain_finish(disk, ring, chain, iov, trick);
	}
}

static void request_watch(const struct fake_disk *disk, const struct virtq_chain *chain,
			  const struct iovec *iov)
{
	struct virtio_blk_outhdr header;

	if (!disk->setup.watch)
		return;
	iov_to_buffer(iov, chain->readable_count, 0, &header, sizeof(header));
	disk->setup.watch(disk->setup.watch_opaque, le64toh(header.sector));
}

/* Takes all that is there. */
static void ring_drain(struct fake_disk *disk, struct fake_ring *ring)
{
	struct iovec iov[FAKE_IOV_MAX];
	struct virtq_chain chain;
	uint16_t first = ring->q.used_next;
	enum fake_trick trick = FAKE_HONEST;
	bool dies_told = false;

	while (!disk->dead && virtq_device_pop(&ring->q, iov, FAKE_IOV_MAX, &chain) == 1) {
		request_watch(disk, &chain, iov);
		trick = request_trick(disk);
		dies_told |= trick == FAKE_DIES_TOLD;
		chain_handle(disk, ring, &chain, iov, trick);
	}
	if (disk->dead || ring->q.used_next == first)
		return;
	if (trick == FAKE_REVERSES)
		used_reverse(ring, first);
	disk->dead = dies_told;
	if (dies_told)
		virtq_device_publish(&ring->q);
	else
		ring_call(disk, ring, trick > FAKE_REVERSES);
}

void fake_ring_process(struct fake_disk *disk, struct fake_ring *ring)
{
	event_fd_clear(ring->kick_fd);
	if (trick_play(disk, FAKE_LOSES_KICK))
		return;
	if (trick_play(disk, FAKE_DIES_AT_KICK)) {
		disk->dead = true;
		return;
	}
	do {
		ring_drain(disk, ring);
	} while (!disk->dead && virtq_device_kicks_enable(&ring->q));
}

static void held_drop(struct fake_ring *ring)
{
	for (unsigned i = 0; i < ring->held_count; i++)
		free(ring->held[i].iov);
	ring->held_count = 0;
}

void fake_ring_release(struct fake_disk *disk, struct fake_ring *ring)
{
	if (!ring->held_count)
		return;
	for (unsigned i = 0; i < ring->held_count; i++)
		chain_finish(disk, ring, &ring->held[i].chain, ring->held[i].iov, FAKE_HONEST);
	held_drop(ring);
	ring_call(disk, ring, false);
}

void fake_ring_forget(struct fake_ring *ring)
{
	if (!ring->running)
		return;
	held_drop(ring);
	fd_close(&ring->kick_fd);
	fd_close(&ring->call_fd);
	ring->running = false;
}
