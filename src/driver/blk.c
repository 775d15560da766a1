// SPDX-License-Identifier: MIT
/*
 * Requests of virtio-blk (virtio 1.3, 5.2.6), encoded into chains: the header alone in the first descriptor, the status
 * alone in the last, the data in between, because there are devices that know no other framing.
 *
 * The id of a chain is the descriptor at its head, which is the head of the ring's free list before the chain is added;
 * the request's line, ranges and user_data are found by it.
 *
 * On the queue's thread. No system calls.
 */
#include "driver/scsi.h"
#include "driver/transfer.h"

#include <endian.h>
#include <errno.h>

#define SECTOR_SHIFT 9

/* What the device may and may not do with the middle of a chain. */
enum direction { TO_DEVICE, FROM_DEVICE };

/* ---- the chain ---- */

static inline struct queue_line *line_fill(struct ringlane_queue *queue, uint32_t type,
					   uint64_t offset)
{
	struct queue_line *line = &queue->lines[queue->ring.free_head];

	line->header.type = htole32(type);
	line->header.ioprio = 0;
	line->header.sector = htole64(offset >> SECTOR_SHIFT);
	store_relaxed(&line->status, QUEUE_STATUS_NEVER);
	return line;
}

/* sg[0] and sg[data_count + 1] are filled here. Afterwards the request is the ring's. */
static always_inline int chain_add(struct ringlane_queue *queue, struct queue_line *line,
				   struct virtq_sg *sg, unsigned data_count,
				   enum direction direction, void *user_data)
{
	unsigned in = direction == FROM_DEVICE ? data_count + 1 : 1;
	uint16_t id;
	int ret;

	sg[0] = (struct virtq_sg){ queue_shared_addr(queue, &line->header), sizeof(line->header) };
	sg[data_count + 1] =
		(struct virtq_sg){ queue_shared_addr(queue, &line->status), sizeof(line->status) };
	ret = virtq_driver_add(&queue->ring, sg, data_count + 2 - in, in, &id);
	if (unlikely(ret < 0))
		return ret == -ENOSPC ? -EAGAIN : ret;
	assert(&queue->lines[id] == line);
	queue->user_data[id] = user_data;
	queue->in_flight++;
	return 0;
}

/* For requests that need not be as fast as a plain read or write. */
static never_inline int request_add(struct ringlane_queue *queue, struct queue_line *line,
				    struct virtq_sg *sg, unsigned data_count,
				    enum direction direction, void *user_data)
{
	return chain_add(queue, line, sg, data_count, direction, user_data);
}

/* ---- read and write ---- */

static never_inline int transfer_scattered(struct ringlane_queue *queue, uint32_t type,
					   const struct iovec *iov, unsigned iov_count,
					   uint64_t offset, void *user_data)
{
	enum direction direction = type == VIRTIO_BLK_T_IN ? FROM_DEVICE : TO_DEVICE;
	const struct queue_limits *limits = queue->limits;
	uint64_t bytes;
	int ret = transfer_bytes(iov, iov_count, QUEUE_REQUEST_MAX, &bytes), count;

	if (ret == 0)
		ret = transfer_check(queue, limits, bytes, offset);
	if (ret < 0)
		return ret;
	count = transfer_segments(queue, limits, iov, iov_count, 1);
	if (count < 0)
		return count;
	return chain_add(queue, line_fill(queue, type, offset), queue->sg, (unsigned)count,
			 direction, user_data);
}

static always_inline int transfer_plain(struct ringlane_queue *queue, uint32_t type, void *data,
					size_t bytes, uint64_t offset, void *user_data)
{
	enum direction direction = type == VIRTIO_BLK_T_IN ? FROM_DEVICE : TO_DEVICE;
	struct virtq_sg sg[3];
	int ret;

	if (unlikely(bytes > queue->limits->segment_bytes_max)) {
		const struct iovec iov = { data, bytes };

		return transfer_scattered(queue, type, &iov, 1, offset, user_data);
	}
	ret = transfer_check(queue, queue->limits, bytes, offset);
	if (unlikely(ret < 0))
		return ret;
	if (unlikely(!memory_translate(&queue->cursor, queue->memory, data, bytes, &sg[1].addr)))
		return -EFAULT;
	sg[1].len = (uint32_t)bytes;
	return chain_add(queue, line_fill(queue, type, offset), sg, 1, direction, user_data);
}

/* These two apart, so that a request on its way to SCSI does not save and restore the registers that they need. */
static never_inline int blk_read(struct ringlane_queue *queue, void *data, size_t bytes,
				 uint64_t offset, void *user_data)
{
	return transfer_plain(queue, VIRTIO_BLK_T_IN, data, bytes, offset, user_data);
}

static never_inline int blk_write(struct ringlane_queue *queue, const void *data, size_t bytes,
				  uint64_t offset, void *user_data)
{
	if (unlikely(queue->limits->read_only))
		return -EROFS;
	return transfer_plain(queue, VIRTIO_BLK_T_OUT, (void *)data, bytes, offset, user_data);
}

int ringlane_read(struct ringlane_queue *queue, void *data, size_t bytes, uint64_t offset,
		  void *user_data)
{
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_read(queue, data, bytes, offset, user_data);
	return blk_read(queue, data, bytes, offset, user_data);
}

int ringlane_write(struct ringlane_queue *queue, const void *data, size_t bytes, uint64_t offset,
		   void *user_data)
{
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_write(queue, data, bytes, offset, user_data);
	return blk_write(queue, data, bytes, offset, user_data);
}

int ringlane_readv(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		   uint64_t offset, void *user_data)
{
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_readv(queue, iov, count, offset, user_data);
	return transfer_scattered(queue, VIRTIO_BLK_T_IN, iov, count, offset, user_data);
}

int ringlane_writev(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		    uint64_t offset, void *user_data)
{
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_writev(queue, iov, count, offset, user_data);
	if (queue->limits->read_only)
		return -EROFS;
	return transfer_scattered(queue, VIRTIO_BLK_T_OUT, iov, count, offset, user_data);
}

/* ---- the others ---- */

int ringlane_flush(struct ringlane_queue *queue, void *user_data)
{
	struct virtq_sg sg[2];
	int ret = queue_room(queue);

	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_flush(queue, user_data);
	if (!queue->limits->flush)
		return -EOPNOTSUPP;
	if (ret < 0)
		return ret;
	return request_add(queue, line_fill(queue, VIRTIO_BLK_T_FLUSH, 0), sg, 0, TO_DEVICE,
			   user_data);
}

int ringlane_get_id(struct ringlane_queue *queue, char *id, void *user_data)
{
	struct virtq_sg sg[3];
	int ret = queue_room(queue);

	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_get_id(queue, id, user_data);
	if (ret < 0)
		return ret;
	if (!memory_translate(&queue->cursor, queue->memory, id, VIRTIO_BLK_ID_BYTES, &sg[1].addr))
		return -EFAULT;
	sg[1].len = VIRTIO_BLK_ID_BYTES;
	return request_add(queue, line_fill(queue, VIRTIO_BLK_T_GET_ID, 0), sg, 1, FROM_DEVICE,
			   user_data);
}

struct ranges_kind {
	uint32_t type, wire_flags, count_max;
	uint64_t bytes_max;
};

static int ranges_queue(struct ringlane_queue *queue, const struct ranges_kind *kind,
			const struct ringlane_range *ranges, unsigned count, void *user_data)
{
	struct virtio_blk_discard_write_zeroes *wire;
	struct virtq_sg sg[3];
	int ret = transfer_check_ranges(queue, queue->limits, ranges, count, kind->count_max,
					kind->bytes_max);

	if (ret < 0)
		return ret;
	wire = queue->ranges[queue->ring.free_head].range;
	for (unsigned i = 0; i < count; i++)
		wire[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = htole64(ranges[i].offset >> SECTOR_SHIFT),
			.num_sectors = htole32((uint32_t)(ranges[i].bytes >> SECTOR_SHIFT)),
			.flags = htole32(kind->wire_flags),
		};
	sg[1] = (struct virtq_sg){ queue_shared_addr(queue, wire),
				   (uint32_t)(count * sizeof(*wire)) };
	return request_add(queue, line_fill(queue, kind->type, 0), sg, 1, TO_DEVICE, user_data);
}

int ringlane_discard(struct ringlane_queue *queue, const struct ringlane_range *ranges,
		     unsigned count, void *user_data)
{
	const struct ranges_kind kind = {
		.type = VIRTIO_BLK_T_DISCARD,
		.count_max = queue->limits->discard_ranges,
		.bytes_max = queue->limits->discard_max,
	};

	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_discard(queue, ranges, count, user_data);
	return ranges_queue(queue, &kind, ranges, count, user_data);
}

int ringlane_secure_erase(struct ringlane_queue *queue, const struct ringlane_range *ranges,
			  unsigned count, void *user_data)
{
	const struct ranges_kind kind = {
		.type = VIRTIO_BLK_T_SECURE_ERASE,
		.count_max = queue->limits->secure_erase_ranges,
		.bytes_max = queue->limits->secure_erase_max,
	};

	if (queue->kind != QUEUE_BLK)
		return -EOPNOTSUPP;
	return ranges_queue(queue, &kind, ranges, count, user_data);
}

int ringlane_write_zeroes(struct ringlane_queue *queue, const struct ringlane_range *ranges,
			  unsigned count, unsigned flags, void *user_data)
{
	const struct ranges_kind kind = {
		.type = VIRTIO_BLK_T_WRITE_ZEROES,
		.wire_flags = flags & RINGLANE_UNMAP ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0,
		.count_max = queue->limits->write_zeroes_ranges,
		.bytes_max = queue->limits->write_zeroes_max,
	};

	if (flags & ~(unsigned)RINGLANE_UNMAP)
		return -EINVAL;
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_write_zeroes(queue, ranges, count, flags, user_data);
	return ranges_queue(queue, &kind, ranges, count, user_data);
}
