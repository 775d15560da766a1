/* SPDX-License-Identifier: MIT */
/*
 * raw: a window of a child, [offset, offset + size), or all of it from offset on. It moves the request's offset on the way
 * down and back on the way up. Without a size of its own it follows its child when that is resized; with one its size is
 * fixed, and requests that the child no longer covers fail with -EIO.
 *
 * submit runs on the channel's loop; open and resize on the main thread.
 */
#include "block/block.h"

#include "base/overflow.h"

#include <errno.h>

struct raw_node {
	struct block_node node;
	uint64_t offset; /* bytes, in the child */
	bool has_size;
};

static void raw_done(struct block_request *request, int result)
{
	const struct raw_node *raw = block_frame_pop(request);

	request->offset -= raw->offset;
	block_complete(request, result);
}

static void raw_submit(struct block_channel *channel, struct block_request *request)
{
	struct raw_node *raw = container_of(channel->node, struct raw_node, node);

	if (request->op != BLOCK_FLUSH && raw->offset > 0) {
		request->offset += raw->offset;
		block_frame_push(request, raw_done, raw);
	}
	if (request->op != BLOCK_FLUSH &&
	    !range_fits(request->offset, request->bytes, block_node_size(raw->node.child)))
		block_complete(request, -EIO);
	else
		block_forward(channel, request);
}

static void raw_child_resized(struct block_node *node)
{
	const struct raw_node *raw = container_of(node, struct raw_node, node);
	uint64_t size = block_node_size(node->child);

	if (!raw->has_size)
		store_relaxed(&node->size, size > raw->offset ? size - raw->offset : 0);
}

static int raw_resize(struct block_node *node, uint64_t size, struct error *error)
{
	const struct raw_node *raw = container_of(node, struct raw_node, node);
	uint64_t child_size;

	if (raw->has_size)
		return error_set(
			error, -ENOTSUP,
			"Node '%s': cannot resize a fixed-size window (it was given a size)",
			node->name);
	if (add_overflows(size, raw->offset, &child_size))
		return error_set(error, -EFBIG, "Node '%s': size %llu is too large", node->name,
				 (unsigned long long)size);
	return block_node_resize(node->child, child_size, error);
}

static const struct block_driver raw_driver = {
	.name = "raw",
	.node_size = sizeof(struct raw_node),
	.resize = raw_resize,
	.child_resized = raw_child_resized,
	.submit = raw_submit,
};

static int raw_check(const struct block_raw_config *config, const struct block_node *node,
		     struct error *error)
{
	unsigned long long child_size = block_node_size(node->child);
	uint32_t alignment = MAX(node->limits.request_alignment, BLOCK_SECTOR);

	if (config->offset % alignment)
		return error_set(error, -EINVAL, "Node '%s': offset %llu is not a multiple of %u",
				 node->name, (unsigned long long)config->offset, alignment);
	if (config->has_size && config->size % alignment)
		return error_set(error, -EINVAL, "Node '%s': size %llu is not a multiple of %u",
				 node->name, (unsigned long long)config->size, alignment);
	if (config->offset > child_size)
		return error_set(
			error, -EINVAL,
			"Node '%s': offset %llu is beyond the end of node '%s' (%llu bytes)",
			node->name, (unsigned long long)config->offset, node->child->name,
			child_size);
	if (config->has_size && !range_fits(config->offset, config->size, child_size))
		return error_set(error, -EINVAL,
				 "Node '%s': offset %llu and size %llu do not fit into node '%s' "
				 "(%llu bytes)",
				 node->name, (unsigned long long)config->offset,
				 (unsigned long long)config->size, node->child->name, child_size);
	return 0;
}

static int raw_setup(struct block_node *node, const struct block_raw_config *config,
		     struct error *error)
{
	struct raw_node *raw = container_of(node, struct raw_node, node);
	int ret;

	ret = block_node_set_child(node, config->child, error);
	if (ret < 0)
		return ret;
	ret = raw_check(config, node, error);
	if (ret < 0)
		return ret;
	raw->offset = config->offset;
	raw->has_size = config->has_size;
	node->read_only |= config->read_only;
	node->size = config->has_size ? config->size : node->size - config->offset;
	return 0;
}

int block_raw_open(struct block_graph *graph, const struct block_raw_config *config,
		   struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	int ret;

	ret = block_node_alloc(&raw_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	ret = raw_setup(node, config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
