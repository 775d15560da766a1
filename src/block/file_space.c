/* SPDX-License-Identifier: MIT */
/*
 * DISCARD and WRITE_ZEROES of files and block devices.
 *
 * Theory of operation. Zeroes are asked from the kernel in up to three ways, from cheap to dear, each one when the one
 * before is not supported here (which is remembered): punching a hole, when the request allows to unmap and the user said
 * discard=unmap; zeroing the range; writing zeroes. All three keep the size and go through the ring; the kernel
 * understands the first two for block devices too. request->progress counts the bytes written in the third way.
 *
 * A discard punches a hole into a file. A block device gets BLKDISCARD, which the ring cannot do: the node's worker thread
 * calls it. A discard is advice, so it covers the whole blocks in its range only.
 *
 * Everything but discard_run() belongs to the channel's loop.
 */
#include "block/file.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define ZEROES_SIZE (1u << 20)

/* Never written to: reading it costs no memory. */
static char zeroes[ZEROES_SIZE] __attribute__((aligned(65536)));

static struct file_node *file_of(const struct block_request *request)
{
	return file_node_of(request->channel->node);
}

static bool is_unsupported(int result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL || result == -ENODEV;
}

static void space_fallocate(struct block_request *request, int mode,
			    void (*done)(struct loop_op *op, int result, uint32_t cqe_flags))
{
	struct loop *loop = request->channel->loop;
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_fallocate(sqe, file_of(request)->fd, mode | FALLOC_FL_KEEP_SIZE,
				(off_t)request->offset, (off_t)request->bytes);
	request->ring_op.done = done;
	loop_sqe_bind(loop, sqe, &request->ring_op);
}

/* ---- zeroes ---- */

static void zeroes_start(struct block_request *request);

static void zeroes_finish(struct block_request *request, int result)
{
	if (result == 0 && (request->flags & BLOCK_FUA))
		file_io_flush(request);
	else
		file_io_finish(request, result);
}

static void zeroes_written(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);

	if (result == 0)
		result = -EIO;
	if (result < 0 && result != -EINTR && result != -EAGAIN) {
		zeroes_finish(request, result);
		return;
	}
	request->progress += (uint64_t)MAX(result, 0);
	if (request->progress == request->bytes)
		zeroes_finish(request, 0);
	else
		zeroes_start(request);
}

static void zeroes_write(struct block_request *request)
{
	uint64_t left = request->bytes - request->progress;
	struct loop *loop = request->channel->loop;
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_write(sqe, file_of(request)->fd, zeroes, (unsigned)MIN(left, ZEROES_SIZE),
			    request->offset + request->progress);
	request->ring_op.done = zeroes_written;
	loop_sqe_bind(loop, sqe, &request->ring_op);
}

static void zeroes_ranged(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);

	if (is_unsupported(result)) {
		store_relaxed(&file_of(request)->no_zero_range, true);
		zeroes_start(request);
	} else if (result == -EINTR || result == -EAGAIN) {
		zeroes_start(request);
	} else {
		zeroes_finish(request, MIN(result, 0));
	}
}

static void zeroes_punched(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);

	if (is_unsupported(result)) {
		store_relaxed(&file_of(request)->no_punch, true);
		zeroes_start(request);
	} else if (result == -EINTR || result == -EAGAIN) {
		zeroes_start(request);
	} else {
		zeroes_finish(request, MIN(result, 0));
	}
}

/* The cheapest way that is not known to be closed. */
static void zeroes_start(struct block_request *request)
{
	struct file_node *file = file_of(request);
	bool whole_blocks = ((request->offset | request->bytes) & (file->logical_block - 1)) == 0;
	bool unmap = (request->flags & BLOCK_MAY_UNMAP) && file->discard_unmap;

	if (request->progress > 0 || !whole_blocks)
		zeroes_write(request);
	else if (unmap && !load_relaxed(&file->no_punch))
		space_fallocate(request, FALLOC_FL_PUNCH_HOLE, zeroes_punched);
	else if (!load_relaxed(&file->no_zero_range))
		space_fallocate(request, FALLOC_FL_ZERO_RANGE, zeroes_ranged);
	else
		zeroes_write(request);
}

/* ---- discard of a file ---- */

static void discard_done(struct block_request *request, int result)
{
	struct file_node *file = file_of(request);

	if (is_unsupported(result)) {
		store_relaxed(&file->no_discard, true);
		result = -ENOTSUP;
	}
	file_io_finish(request, MIN(result, 0));
}

static void discard_punched(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct block_request *request = container_of(op, struct block_request, ring_op);

	if (result == -EINTR || result == -EAGAIN)
		space_fallocate(request, FALLOC_FL_PUNCH_HOLE, discard_punched);
	else
		discard_done(request, result);
}

/* ---- discard of a block device ---- */

struct discard_job {
	struct worker_job job;
	struct block_request *request;
	int fd, result;
	uint64_t range[2]; /* offset and length, as the ioctl takes them */
};

static void discard_run(struct worker_job *base)
{
	struct discard_job *job = container_of(base, struct discard_job, job);

	job->result = ioctl(job->fd, BLKDISCARD, job->range) < 0 ? -errno : 0;
}

static void discard_job_done(struct worker_job *base)
{
	struct discard_job *job = container_of(base, struct discard_job, job);
	struct block_request *request = job->request;
	int result = job->result;

	free(job);
	discard_done(request, result);
}

static void discard_device(struct file_node *file, struct block_request *request)
{
	uint64_t block = file->logical_block;
	uint64_t start = (request->offset + block - 1) / block * block;
	uint64_t end = (request->offset + request->bytes) / block * block;
	struct discard_job *job;

	if (start >= end) {
		file_io_finish(request, 0);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		file_io_finish(request, -ENOMEM);
		return;
	}
	*job = (struct discard_job){
		.job = { .run = discard_run,
			 .done = discard_job_done,
			 .loop = request->channel->loop },
		.request = request,
		.fd = file->fd,
		.range = { start, end - start },
	};
	worker_post(file->worker, &job->job);
}

void file_space_submit(struct block_channel *channel, struct block_request *request)
{
	struct file_node *file = file_node_of(channel->node);

	if (request->op == BLOCK_WRITE_ZEROES)
		zeroes_start(request);
	else if (load_relaxed(&file->no_discard))
		file_io_finish(request, -ENOTSUP);
	else if (file->host_device)
		discard_device(file, request);
	else
		space_fallocate(request, FALLOC_FL_PUNCH_HOLE, discard_punched);
}
