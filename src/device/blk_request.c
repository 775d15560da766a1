/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk: one request from its chain to its status (virtio 1.3, 5.2.6).
 *
 * Theory of operation. The 16 bytes of the header are copied out of guest memory once, from wherever the readable part has them;
 * what is readable behind them is the data of a WRITE or the ranges of a DISCARD or WRITE_ZEROES. The status is the last writable
 * byte; what is writable before it is the data of a READ or GET_ID. No layout of descriptors is assumed (virtio 1.3, 2.7.4), but
 * the usual one, header and status in descriptors of their own, needs no more than two compares.
 *
 * A chain that is not understood is answered with IOERR when it has a status byte, and breaks the queue when it has none. Whether
 * the request lies inside the disk and may be written is decided by the block gate; block size, and all ranges before the first is
 * executed, here.
 *
 * `written` is always the whole writable part. A used length counts from its start, so only the whole covers the status byte,
 * which is its end; drivers take what lies before a status that is not OK for undefined.
 *
 * All of it runs on the lane's loop.
 */
#include "base/iov.h"
#include "base/overflow.h"
#include "device/blk_internal.h"

#include <errno.h>
#include <string.h>

#define HEADER_BYTES sizeof(struct virtio_blk_outhdr)
#define SECTOR_SHIFT 9

static_assert(HEADER_BYTES == 16, "virtio 1.3, 5.2.6");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "virtio 1.3, 5.2.6");

/* ---- the end ---- */

static void request_finish(struct blk_request *request, uint8_t status)
{
	const struct virtq_chain *chain = &request->base.chain;

	/* published by lane_flush: the driver sees it before the used entry */
	store_relaxed(chain->last_writable, status);
	lane_complete(&request->base, (uint32_t)MIN(chain->writable_bytes, UINT32_MAX));
}

static uint8_t status_of(int result)
{
	if (likely(result == 0))
		return VIRTIO_BLK_S_OK;
	return result == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static void request_done(struct block_request *block, int result)
{
	request_finish(container_of(block, struct blk_request, block), status_of(result));
}

static void request_submit(struct blk_request *request)
{
	block_submit(request->channel, &request->block);
}

/* ---- taking the chain apart ---- */

/* Moves request->out behind the header. */
static bool header_take(struct blk_request *request, struct virtio_blk_outhdr *header)
{
	if (likely(request->out_count && request->out->iov_len == HEADER_BYTES)) {
		memcpy(header, request->out->iov_base, HEADER_BYTES);
		__asm__ volatile("" ::: "memory"); /* read once: the guest may write there now */
		request->out++;
		request->out_count--;
		return true;
	}
	if (iov_to_buffer(request->out, request->out_count, 0, header, HEADER_BYTES) < HEADER_BYTES)
		return false;
	iov_advance(&request->out, &request->out_count, HEADER_BYTES);
	return true;
}

/* Shortens request->in by the status. */
static void status_take(struct blk_request *request)
{
	struct iovec *last = &request->in[request->in_count - 1];

	if (likely(last->iov_len == 1))
		request->in_count--;
	else
		last->iov_len--;
}

/* False: the request has been answered. */
static bool request_parse(struct blk_request *request, struct virtio_blk_outhdr *header)
{
	const struct virtq_chain *chain = &request->base.chain;

	if (unlikely(!chain->last_writable)) {
		lane_fail(&request->base, "a request without a writable byte for its status");
		return false;
	}
	request->out = request->base.iov;
	request->out_count = chain->readable_count;
	request->in = request->out + request->out_count;
	request->in_count = chain->writable_count;
	if (unlikely(chain->overflow || !header_take(request, header))) {
		request_finish(request, VIRTIO_BLK_S_IOERR);
		return false;
	}
	status_take(request);
	return true;
}

/* ---- READ, WRITE, FLUSH ---- */

/* Bytes of [sector, …); false when it cannot be expressed, is too long or no multiple of the block size. */
static bool request_place(struct blk_request *request, uint64_t sector, uint64_t bytes)
{
	if (unlikely(sector >> (64 - SECTOR_SHIFT) || bytes > BLK_REQUEST_MAX))
		return false;
	request->block.offset = sector << SECTOR_SHIFT;
	request->block.bytes = bytes;
	return !((request->block.offset | bytes) & request->device->misaligned);
}

static void execute_read(struct blk_request *request, uint64_t sector)
{
	struct block_request *block = &request->block;

	if (unlikely(!request_place(request, sector, request->base.chain.writable_bytes - 1))) {
		request_finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	block->op = BLOCK_READ;
	block->flags = 0;
	block->iov = request->in;
	block->iov_count = request->in_count;
	block->done = request_done;
	request_submit(request);
}

static unsigned write_flags(const struct blk_request *request)
{
	return load_relaxed(&request->device->write_through) ? BLOCK_FUA : 0;
}

static void execute_write(struct blk_request *request, uint64_t sector)
{
	struct block_request *block = &request->block;
	uint64_t bytes = request->base.chain.readable_bytes - HEADER_BYTES;

	if (unlikely(!request->device->writable || !request_place(request, sector, bytes))) {
		request_finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	block->op = BLOCK_WRITE;
	block->flags = write_flags(request);
	block->iov = request->out;
	block->iov_count = request->out_count;
	block->done = request_done;
	request_submit(request);
}

static void execute_flush(struct blk_request *request)
{
	struct block_request *block = &request->block;

	block->op = BLOCK_FLUSH;
	block->flags = 0;
	block->offset = block->bytes = 0;
	block->iov = NULL;
	block->iov_count = 0;
	block->done = request_done;
	request_submit(request);
}

/* ---- GET_ID ---- */

static void execute_get_id(struct blk_request *request)
{
	iov_from_buffer(request->in, request->in_count, 0, request->device->serial, BLK_ID_BYTES);
	request_finish(request, VIRTIO_BLK_S_OK);
}

/* ---- DISCARD, WRITE_ZEROES ---- */

/* One after the other; those that end inside submit need no recursion. */
static void ranges_run(struct blk_request *request)
{
	while (request->range_next < request->range_count) {
		const struct blk_range *range = &request->ranges[request->range_next++];

		request->block.offset = range->offset;
		request->block.bytes = range->bytes;
		request->block.flags = range->flags;
		request->range_submitting = true;
		request->range_ended = false;
		request_submit(request);
		request->range_submitting = false;
		if (!request->range_ended)
			return;
	}
	request_finish(request, request->range_status);
}

/* The first error ends it. */
static void range_done(struct block_request *block, int result)
{
	struct blk_request *request = container_of(block, struct blk_request, block);

	request->range_ended = true;
	if (result < 0) {
		request->range_status = status_of(result);
		request->range_next = request->range_count;
	}
	if (!request->range_submitting)
		ranges_run(request);
}

/* virtio 1.3, 5.2.6.2: unknown flags, and unmap for DISCARD, are UNSUPP. */
static uint8_t range_check_flags(enum block_op op, uint32_t flags, unsigned *ret_flags)
{
	if (flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
		return VIRTIO_BLK_S_UNSUPP;
	if (op == BLOCK_DISCARD && flags)
		return VIRTIO_BLK_S_UNSUPP;
	*ret_flags = flags ? BLOCK_MAY_UNMAP : 0;
	return VIRTIO_BLK_S_OK;
}

static uint8_t range_check(const struct blk_request *request,
			   const struct virtio_blk_discard_write_zeroes *wire, uint32_t sectors_max,
			   struct blk_range *ret_range)
{
	uint64_t sector = le64toh(wire->sector), sectors = le32toh(wire->num_sectors);
	const struct blk_device *device = request->device;

	if (sectors > sectors_max || sector >> (64 - SECTOR_SHIFT))
		return VIRTIO_BLK_S_IOERR;
	ret_range->offset = sector << SECTOR_SHIFT;
	ret_range->bytes = sectors << SECTOR_SHIFT;
	if ((ret_range->offset | ret_range->bytes) & device->misaligned)
		return VIRTIO_BLK_S_IOERR;
	if (!range_fits(ret_range->offset, ret_range->bytes, block_node_size(device->node)))
		return VIRTIO_BLK_S_IOERR;
	return range_check_flags(request->block.op, le32toh(wire->flags), &ret_range->flags);
}

/* Copies and checks all of them. */
static uint8_t ranges_take(struct blk_request *request, uint32_t sectors_max, unsigned flags)
{
	uint64_t bytes = request->base.chain.readable_bytes - HEADER_BYTES;
	struct virtio_blk_discard_write_zeroes wire;

	if (bytes == 0 || bytes % sizeof(wire) || bytes / sizeof(wire) > BLK_RANGES_MAX)
		return VIRTIO_BLK_S_IOERR;
	request->range_count = (unsigned)(bytes / sizeof(wire));
	for (unsigned i = 0; i < request->range_count; i++) {
		uint8_t status;

		iov_to_buffer(request->out, request->out_count, i * sizeof(wire), &wire,
			      sizeof(wire));
		status = range_check(request, &wire, sectors_max, &request->ranges[i]);
		if (status != VIRTIO_BLK_S_OK)
			return status;
		request->ranges[i].flags |= flags;
	}
	return VIRTIO_BLK_S_OK;
}

static void execute_ranges(struct blk_request *request, enum block_op op, uint32_t sectors_max,
			   unsigned flags)
{
	uint8_t status = VIRTIO_BLK_S_UNSUPP;

	request->block.op = op;
	if (sectors_max > 0)
		status = ranges_take(request, sectors_max, flags);
	if (status != VIRTIO_BLK_S_OK) {
		request_finish(request, status);
		return;
	}
	request->block.iov = NULL;
	request->block.iov_count = 0;
	request->block.done = range_done;
	request->range_next = 0;
	request->range_status = VIRTIO_BLK_S_OK;
	ranges_run(request);
}

/* ---- all of them ---- */

static void execute_type(struct blk_request *request, uint32_t type, uint64_t sector)
{
	struct blk_device *device = request->device;

	switch (type) {
	case VIRTIO_BLK_T_IN:
		execute_read(request, sector);
		break;
	case VIRTIO_BLK_T_OUT:
		execute_write(request, sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		execute_flush(request);
		break;
	case VIRTIO_BLK_T_GET_ID:
		execute_get_id(request);
		break;
	case VIRTIO_BLK_T_DISCARD:
		execute_ranges(request, BLOCK_DISCARD, device->discard_sectors_max, 0);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		execute_ranges(request, BLOCK_WRITE_ZEROES, device->zeroes_sectors_max,
			       write_flags(request));
		break;
	default:
		request_finish(request, VIRTIO_BLK_S_UNSUPP);
	}
}

void blk_execute(struct lane *lane, struct lane_request *base)
{
	struct blk_request *request = container_of(base, struct blk_request, base);
	struct virtio_blk_outhdr header;

	request->device = lane_device(lane);
	request->channel = lane_private(lane);
	if (request_parse(request, &header))
		execute_type(request, le32toh(header.type), le64toh(header.sector));
}
