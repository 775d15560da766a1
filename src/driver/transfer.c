// SPDX-License-Identifier: MIT
/* See transfer.h. */
#include "driver/transfer.h"

int transfer_bytes(const struct iovec *iov, unsigned count, uint64_t bytes_max, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		if (add_overflows(bytes, (uint64_t)iov[i].iov_len, &bytes))
			return -EINVAL;
	*ret_bytes = bytes;
	return bytes > bytes_max ? -EINVAL : 0;
}

/* Cuts a piece into segments that the device takes; returns how many segments there are now, or -errno. */
static int segments_append(struct ringlane_queue *queue, const struct queue_limits *limits,
			   const struct iovec *piece, struct virtq_sg *sg, unsigned count)
{
	uint32_t limit = limits->segment_bytes_max;
	size_t left = piece->iov_len;
	uint64_t addr;

	if (!memory_translate(&queue->cursor, queue->memory, piece->iov_base, left, &addr))
		return -EFAULT;
	while (left && count < limits->seg_max) {
		uint32_t bytes = (uint32_t)MIN(left, (size_t)limit);

		sg[count++] = (struct virtq_sg){ addr, bytes };
		addr += bytes;
		left -= bytes;
	}
	return left ? -EINVAL : (int)count;
}

int transfer_segments(struct ringlane_queue *queue, const struct queue_limits *limits,
		      const struct iovec *iov, unsigned iov_count, unsigned first)
{
	int count = 0;

	for (unsigned i = 0; i < iov_count; i++) {
		if (!iov[i].iov_len)
			continue;
		count = segments_append(queue, limits, &iov[i], queue->sg + first, (unsigned)count);
		if (count < 0)
			return count;
	}
	return count;
}

int transfer_check_ranges(const struct ringlane_queue *queue, const struct queue_limits *limits,
			  const struct ringlane_range *ranges, unsigned count, unsigned count_max,
			  uint64_t bytes_max)
{
	uint64_t capacity = load_relaxed(&limits->capacity);

	if (limits->read_only)
		return -EROFS;
	if (!bytes_max || !queue->ranges)
		return -EOPNOTSUPP;
	if (!count || count > count_max)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		if (!ranges[i].bytes || ranges[i].bytes > bytes_max)
			return -EINVAL;
		if ((ranges[i].bytes | ranges[i].offset) & limits->block_mask)
			return -EINVAL;
		if (!range_fits(ranges[i].offset, ranges[i].bytes, capacity))
			return -EINVAL;
	}
	return queue_room(queue);
}
