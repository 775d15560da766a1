/* SPDX-License-Identifier: MIT */
/*
 * What reads and writes have in common, whatever the device: a range of the disk that is checked, and the caller's memory cut
 * into segments that the device takes. On the queue's thread.
 */
#ifndef RINGLANE_DRIVER_TRANSFER_H
#define RINGLANE_DRIVER_TRANSFER_H

#include "base/overflow.h"
#include "driver/queue.h"

#include <errno.h>

/* -EAGAIN: full; -EPROTO: broken. */
static inline int queue_room(const struct ringlane_queue *queue)
{
	if (likely(queue->ring.free_count && !queue->ring.broken))
		return 0;
	return queue->ring.broken ? -EPROTO : -EAGAIN;
}

static inline int transfer_check(const struct ringlane_queue *queue,
				 const struct queue_limits *limits, uint64_t bytes, uint64_t offset)
{
	if (unlikely(!bytes || ((bytes | offset) & limits->block_mask)))
		return -EINVAL;
	if (unlikely(!range_fits(offset, bytes, load_relaxed(&limits->capacity))))
		return -EINVAL;
	return queue_room(queue);
}

/* The sum of the pieces, at most bytes_max. -EINVAL */
int transfer_bytes(const struct iovec *iov, unsigned count, uint64_t bytes_max,
		   uint64_t *ret_bytes);
/* Fills queue->sg from [first] on; returns how many segments, at most limits->seg_max. -EFAULT, -EINVAL: too many. */
int transfer_segments(struct ringlane_queue *queue, const struct queue_limits *limits,
		      const struct iovec *iov, unsigned iov_count, unsigned first);
/* Of what a discard or write zeroes request has. count_max, bytes_max: of the kind of request. Not read-only, room. */
int transfer_check_ranges(const struct ringlane_queue *queue, const struct queue_limits *limits,
			  const struct ringlane_range *ranges, unsigned count, unsigned count_max,
			  uint64_t bytes_max);

#endif
