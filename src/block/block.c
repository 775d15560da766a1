/* SPDX-License-Identifier: MIT */
/*
 * The data path that all drivers share: the gate, the frames of filters, the channels.
 *
 * Theory of operation. A request enters through block_submit() at the top channel, is checked once, and wanders down by
 * block_forward() until some driver completes it. block_complete() runs the frames that filters pushed, the last one
 * first; each pops itself, looks, and calls block_complete() again; without frames the request goes back to its submitter,
 * who may reuse it at once. Nothing is allocated or locked on this way.
 *
 * Everything here belongs to the loop of the channel.
 */
#include "block/block.h"

#include "base/iov.h"
#include "base/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned gate_flags_allowed(enum block_op op)
{
	switch (op) {
	case BLOCK_WRITE:
		return BLOCK_FUA;
	case BLOCK_WRITE_ZEROES:
		return BLOCK_FUA | BLOCK_MAY_UNMAP;
	default:
		return 0;
	}
}

/* The longest request of this kind, 0 when the node has no such operation. */
static uint64_t gate_bytes_max(const struct block_limits *limits, enum block_op op)
{
	switch (op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
	case BLOCK_FLUSH:
		return UINT64_MAX;
	case BLOCK_DISCARD:
		return limits->discard_max;
	case BLOCK_WRITE_ZEROES:
		return limits->write_zeroes_max;
	case BLOCK_STATUS:
		return limits->has_status ? UINT64_MAX : 0;
	}
	return 0;
}

static bool gate_iov_fits(struct block_request *request)
{
	size_t size;

	if (request->op != BLOCK_READ && request->op != BLOCK_WRITE)
		return true;
	if (likely(request->iov_count == 1 && request->iov[0].iov_len == request->bytes))
		return true;
	size = iov_size(request->iov, request->iov_count);
	if (size > request->bytes)
		iov_truncate(request->iov, &request->iov_count, request->bytes);
	return size >= request->bytes;
}

/* 0 or the refusal. */
static int gate_check(const struct block_node *node, struct block_request *request)
{
	uint64_t bytes_max = gate_bytes_max(&node->limits, request->op);
	uint64_t misaligned = node->limits.request_alignment - 1;

	if (bytes_max == 0 || (request->flags & ~gate_flags_allowed(request->op)))
		return -ENOTSUP;
	if (request->op == BLOCK_FLUSH)
		return 0;
	if (node->read_only && request->op != BLOCK_READ && request->op != BLOCK_STATUS)
		return -EROFS;
	if (((request->offset | request->bytes) & misaligned) || request->bytes > bytes_max)
		return -EINVAL;
	if (!range_fits(request->offset, request->bytes, block_node_size(node)))
		return -EIO;
	return gate_iov_fits(request) ? 0 : -EINVAL;
}

void block_submit(struct block_channel *channel, struct block_request *request)
{
	int refusal = gate_check(channel->node, request);

	if (unlikely(refusal || (request->bytes == 0 && request->op != BLOCK_FLUSH))) {
		request->done(request, refusal);
		return;
	}
	request->frame_count = 0;
	request->progress = 0;
	request->bounce = NULL;
	request->top = channel;
	request->channel = channel;
	channel->in_flight++;
	channel->node->driver->submit(channel, request);
}

void block_complete(struct block_request *request, int result)
{
	assert(result <= 0);
	if (request->frame_count > 0) {
		request->frames[request->frame_count - 1].done(request, result);
		return;
	}
	assert(request->top->in_flight > 0);
	request->top->in_flight--;
	request->done(request, result);
}

void block_frame_push(struct block_request *request, block_done_fn *done, void *opaque)
{
	assert(request->frame_count < BLOCK_FRAMES_MAX);
	request->frames[request->frame_count++] =
		(struct block_frame){ .done = done, .opaque = opaque };
}

void *block_frame_pop(struct block_request *request)
{
	assert(request->frame_count > 0);
	return request->frames[--request->frame_count].opaque;
}

void block_forward(struct block_channel *channel, struct block_request *request)
{
	request->channel = channel->child;
	channel->child->node->driver->submit(channel->child, request);
}

/* ---- channels ---- */

static int channel_start(struct block_channel *channel)
{
	const struct block_driver *driver = channel->node->driver;
	int ret;

	if (channel->node->child) {
		ret = block_channel_open(channel->node->child, channel->loop, &channel->child);
		if (ret < 0)
			return ret;
	}
	ret = driver->channel_open ? driver->channel_open(channel) : 0;
	if (ret < 0 && channel->child)
		block_channel_close(channel->child);
	return ret;
}

int block_channel_open(struct block_node *node, struct loop *loop,
		       struct block_channel **ret_channel)
{
	size_t size = MAX(node->driver->channel_size, sizeof(struct block_channel));
	struct block_channel *channel;
	int ret;

	assert(loop_is_mine(loop));
	/* Lanes do not share cache lines. */
	channel = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
	if (!channel)
		return -ENOMEM;
	memset(channel, 0, size);
	channel->node = node;
	channel->loop = loop;
	ret = channel_start(channel);
	if (ret < 0) {
		free(channel);
		return ret;
	}
	*ret_channel = channel;
	return 0;
}

void block_channel_close(struct block_channel *channel)
{
	assert(loop_is_mine(channel->loop));
	assert(channel->in_flight == 0);
	if (channel->node->driver->channel_close)
		channel->node->driver->channel_close(channel);
	if (channel->child)
		block_channel_close(channel->child);
	free(channel);
}
