/* SPDX-License-Identifier: MIT */
/*
 * Data of files and block devices: reads, writes, flushes.
 *
 * Theory of operation. What is in memory is moved at once, by a plain call with RWF_NOWAIT: a trip through a queue to the
 * kernel and back costs more than the copy. Only what the call could not do (not cached, or no such call on this file
 * system) goes to the loop's io_uring, and only the rest of it. Direct I/O always goes to the ring.
 *
 * Buffered writes: a file system without RWF_NOWAIT writes (ext4) leaves the choice between an ordinary pwritev, which
 * copies into the page cache and waits only when the kernel throttles writers or must read a page first, and the ring,
 * which hands every such write to a kernel thread. Measured on ext4, 4 KiB into cached pages: at once 1.6 us of CPU at any
 * depth; through the ring 24 us at depth 1 and 2.8 us on two CPUs at depth 64. So we write at once as long as that is
 * quick; a write that took longer than WRITE_SLOW_NS sends those that follow through the ring for a while, twice as long
 * each time it happens again.
 *
 * Transfers that move less than they should are continued; a read that finds the end of the file fails with -EIO (the
 * file shrank under us). Memory that direct I/O cannot use goes through an aligned copy, BOUNCE_MAX at a time.
 *
 * After a failed flush of the page cache every later one fails as well: what was lost then is not known any more.
 *
 * Everything runs on the channel's loop.
 */
#include "block/file.h"

#include "base/clock.h"
#include "base/iov.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>

#define BOUNCE_MAX (1u << 20)
#define WRITE_SLOW_NS NS_PER_MS
#define WRITE_BACKOFF_MIN_NS (100 * NS_PER_MS)
#define WRITE_BACKOFF_MAX_NS (3200 * NS_PER_MS)

static struct file_node *file_of(const struct block_request *request)
{
	return file_node_of(request->channel->node);
}

void file_io_finish(struct block_request *request, int result)
{
	free(request->bounce);
	request->bounce = NULL;
	block_complete(request, result);
}

/* The caller's list loses what was moved; with a copy it stays whole and progress tells the place in it. */
static void io_advance(struct block_request *request, size_t bytes)
{
	request->progress += bytes;
	if (!request->bounce)
		iov_advance(&request->iov, &request->iov_count, bytes);
}

/* ---- through the ring ---- */

static void io_start(struct block_request *request);

static void io_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);
	const struct file_node *file = file_of(request);
	bool aligned = (uint32_t)result % file->node.limits.request_alignment == 0;

	if (result == -EINTR || result == -EAGAIN) {
		io_start(request);
		return;
	}
	if (result <= 0) {
		file_io_finish(request, result < 0 ? result : -EIO);
		return;
	}
	if (request->bounce && request->op == BLOCK_READ)
		iov_from_buffer(request->iov, request->iov_count, request->progress,
				request->bounce, (size_t)result);
	io_advance(request, (size_t)result);
	if (request->progress == request->bytes)
		file_io_finish(request, 0);
	else if (file->direct && !aligned)
		file_io_finish(request, -EIO); /* the end of the file */
	else
		io_start(request);
}

static void io_prepare_bounce(struct io_uring_sqe *sqe, struct block_request *request)
{
	unsigned bytes = (unsigned)MIN(request->bytes - request->progress, BOUNCE_MAX);
	uint64_t offset = request->offset + request->progress;
	int fd = file_of(request)->fd;

	if (request->op == BLOCK_READ) {
		io_uring_prep_read(sqe, fd, request->bounce, bytes, offset);
		return;
	}
	iov_to_buffer(request->iov, request->iov_count, request->progress, request->bounce, bytes);
	io_uring_prep_write(sqe, fd, request->bounce, bytes, offset);
}

static void io_prepare(struct io_uring_sqe *sqe, struct block_request *request)
{
	uint64_t offset = request->offset + request->progress;
	unsigned count = MIN(request->iov_count, IOV_MAX);
	int fd = file_of(request)->fd;

	if (request->bounce)
		io_prepare_bounce(sqe, request);
	else if (request->op == BLOCK_READ && count == 1)
		io_uring_prep_read(sqe, fd, request->iov->iov_base, (unsigned)request->iov->iov_len,
				   offset);
	else if (request->op == BLOCK_READ)
		io_uring_prep_readv(sqe, fd, request->iov, count, offset);
	else if (count == 1)
		io_uring_prep_write(sqe, fd, request->iov->iov_base,
				    (unsigned)request->iov->iov_len, offset);
	else
		io_uring_prep_writev(sqe, fd, request->iov, count, offset);
}

/* Hands what is left of a read or write to the kernel. */
static void io_start(struct block_request *request)
{
	struct loop *loop = request->channel->loop;
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_prepare(sqe, request);
	if ((request->flags & BLOCK_FUA) && !file_of(request)->no_flush)
		sqe->rw_flags = RWF_DSYNC;
	request->ring_op.done = io_done;
	loop_sqe_bind(loop, sqe, &request->ring_op);
}

/* ---- at once ---- */

/* Moves what can be moved now. 0 when that was all, else -errno; progress may have grown in both cases. */
static int io_move(const struct file_node *file, struct block_request *request, int flags)
{
	while (request->progress < request->bytes) {
		off_t offset = (off_t)(request->offset + request->progress);
		int count = (int)MIN(request->iov_count, IOV_MAX);
		ssize_t moved;

		if (request->op == BLOCK_READ)
			moved = preadv2(file->fd, request->iov, count, offset, flags);
		else
			moved = pwritev2(file->fd, request->iov, count, offset, flags);
		if (moved > 0)
			io_advance(request, (size_t)moved);
		else if (moved == 0)
			return -EIO;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* After io_move: the ring does what it could not do without waiting. */
static void io_continue(struct block_request *request, int result)
{
	if (result == -EAGAIN || result == -EOPNOTSUPP)
		io_start(request);
	else
		file_io_finish(request, result);
}

static void io_read_cached(struct file_node *file, struct block_request *request)
{
	int result = -EOPNOTSUPP;

	if (file->in_memory)
		result = io_move(file, request, 0);
	else if (!load_relaxed(&file->no_nowait_read))
		result = io_move(file, request, RWF_NOWAIT);
	if (result == -EOPNOTSUPP)
		store_relaxed(&file->no_nowait_read, true);
	io_continue(request, result);
}

static void io_write_adapt(struct file_channel *channel, uint64_t now_ns, uint64_t spent_ns)
{
	if (likely(spent_ns <= WRITE_SLOW_NS)) {
		channel->write_backoff_ns = WRITE_BACKOFF_MIN_NS;
		return;
	}
	channel->write_backoff_ns = MAX(channel->write_backoff_ns, WRITE_BACKOFF_MIN_NS);
	channel->write_inline_from_ns = now_ns + channel->write_backoff_ns;
	channel->write_backoff_ns = MIN(2 * channel->write_backoff_ns, WRITE_BACKOFF_MAX_NS);
}

/* The ordinary call, watched. */
static int io_write_watched(const struct file_node *file, struct file_channel *channel,
			    struct block_request *request)
{
	uint64_t start_ns = clock_ns(), end_ns;
	int result;

	if (start_ns < channel->write_inline_from_ns)
		return -EAGAIN;
	result = io_move(file, request, 0);
	end_ns = clock_ns();
	io_write_adapt(channel, end_ns, end_ns - start_ns);
	return result;
}

static void io_write_cached(struct file_node *file, struct block_request *request)
{
	struct file_channel *channel = container_of(request->channel, struct file_channel, channel);
	int result = -EOPNOTSUPP;

	if (!file->in_memory && !load_relaxed(&file->no_nowait_write)) {
		result = io_move(file, request, RWF_NOWAIT);
		if (result == -EOPNOTSUPP)
			store_relaxed(&file->no_nowait_write, true);
	}
	if (result == -EOPNOTSUPP)
		result = io_write_watched(file, channel, request);
	io_continue(request, result);
}

/* ---- direct ---- */

static bool io_memory_is_aligned(const struct file_node *file, const struct block_request *request)
{
	uintptr_t address_mask = file->node.limits.memory_alignment - 1;
	size_t length_mask = file->node.limits.request_alignment - 1;

	for (unsigned i = 0; i < request->iov_count; i++) {
		const struct iovec *iov = &request->iov[i];

		if (((uintptr_t)iov->iov_base & address_mask) || (iov->iov_len & length_mask))
			return false;
	}
	return true;
}

static void io_direct(const struct file_node *file, struct block_request *request)
{
	const struct block_limits *limits = &file->node.limits;
	size_t alignment = MAX(MAX(limits->memory_alignment, limits->request_alignment), 4096u);

	if (unlikely(!io_memory_is_aligned(file, request))) {
		size_t bytes = MIN(request->bytes, BOUNCE_MAX);

		bytes = (bytes + alignment - 1) / alignment * alignment;
		request->bounce = aligned_alloc(alignment, bytes);
		if (!request->bounce) {
			file_io_finish(request, -ENOMEM);
			return;
		}
	}
	io_start(request);
}

void file_io_submit(struct block_channel *channel, struct block_request *request)
{
	struct file_node *file = file_node_of(channel->node);

	if (file->direct)
		io_direct(file, request);
	else if (request->op == BLOCK_READ)
		io_read_cached(file, request);
	else if (unlikely(request->flags & BLOCK_FUA) && !file->no_flush)
		io_start(request);
	else
		io_write_cached(file, request);
}

/* ---- flush ---- */

static void io_flush_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);
	struct file_node *file = file_of(request);

	if (result == -EINTR || result == -EAGAIN) {
		file_io_flush(request);
		return;
	}
	if (result < 0 && !file->direct)
		store_relaxed(&file->flush_error, result);
	file_io_finish(request, MIN(result, 0));
}

void file_io_flush(struct block_request *request)
{
	struct loop *loop = request->channel->loop;
	struct file_node *file = file_of(request);
	int earlier = load_relaxed(&file->flush_error);
	struct io_uring_sqe *sqe;

	if (file->no_flush || file->node.read_only || earlier < 0) {
		file_io_finish(request, earlier);
		return;
	}
	sqe = loop_sqe(loop);
	io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
	request->ring_op.done = io_flush_done;
	loop_sqe_bind(loop, sqe, &request->ring_op);
}
