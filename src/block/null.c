/* SPDX-License-Identifier: MIT */
/*
 * null-co: a disk that stores nothing. Writes vanish; reads leave the buffers as they are, or give zeroes with
 * read-zeroes=on. It has QEMU's options and defaults and is the yardstick for everything above it: without latency a
 * request is complete when submit returns. With latency each waits so long, many at a time. One that reads as zeroes is a hole
 * as a whole; of the other one nothing can be said.
 *
 * submit runs on the channel's loop; open and resize on the main thread.
 */
#include "block/block.h"
#include "block/delay_line.h"

#include "base/clock.h"
#include "base/iov.h"

#include <errno.h>

#define NULL_LATENCY_MAX (3600 * NS_PER_S)

struct null_node {
	struct block_node node;
	uint64_t latency_ns;
	bool read_zeroes;
};

struct null_channel {
	struct block_channel channel;
	bool read_zeroes, delayed;
	struct delay_line line;
};

static void null_finish(struct block_request *request)
{
	struct null_channel *channel = container_of(request->channel, struct null_channel, channel);

	if (request->op == BLOCK_READ && channel->read_zeroes)
		iov_fill(request->iov, request->iov_count, 0, 0, request->bytes);
	if (request->op == BLOCK_STATUS)
		request->extent = (struct block_extent){ .bytes = request->bytes, .hole = true };
	block_complete(request, 0);
}

static void null_submit(struct block_channel *base, struct block_request *request)
{
	struct null_channel *channel = container_of(base, struct null_channel, channel);

	if (channel->delayed)
		delay_line_add(&channel->line, request);
	else
		null_finish(request);
}

static int null_channel_open(struct block_channel *base)
{
	struct null_channel *channel = container_of(base, struct null_channel, channel);
	const struct null_node *node = container_of(base->node, struct null_node, node);

	channel->read_zeroes = node->read_zeroes;
	channel->delayed = node->latency_ns > 0;
	delay_line_init(&channel->line, base->loop, node->latency_ns, null_finish);
	return 0;
}

static void null_channel_close(struct block_channel *base)
{
	delay_line_fini(&container_of(base, struct null_channel, channel)->line);
}

static int null_resize(struct block_node *node, uint64_t size, struct error *error)
{
	store_relaxed(&node->size, size);
	return 0;
}

static const struct block_driver null_driver = {
	.name = "null-co",
	.node_size = sizeof(struct null_node),
	.channel_size = sizeof(struct null_channel),
	.resize = null_resize,
	.channel_open = null_channel_open,
	.channel_close = null_channel_close,
	.submit = null_submit,
};

static int null_check(const struct block_null_config *config, struct error *error)
{
	if (config->size % BLOCK_SECTOR)
		return error_set(error, -EINVAL, "Node '%s': size %llu is not a multiple of %u",
				 config->name, (unsigned long long)config->size, BLOCK_SECTOR);
	if (config->latency_ns > NULL_LATENCY_MAX)
		return error_set(error, -EINVAL,
				 "Node '%s': latency-ns %llu is longer than an hour", config->name,
				 (unsigned long long)config->latency_ns);
	return 0;
}

int block_null_open(struct block_graph *graph, const struct block_null_config *config,
		    struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	struct null_node *null;
	int ret;

	ret = block_node_alloc(&null_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	null = container_of(node, struct null_node, node);
	null->latency_ns = config->latency_ns;
	null->read_zeroes = config->read_zeroes;
	node->read_only = config->read_only;
	node->size = config->size ? config->size : BLOCK_NULL_SIZE_DEFAULT;
	node->limits.discard_max = BLOCK_SPACE_MAX;
	node->limits.write_zeroes_max = BLOCK_SPACE_MAX;
	node->limits.discard_zeroes = config->read_zeroes;
	node->limits.has_status = config->read_zeroes;
	ret = null_check(config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
