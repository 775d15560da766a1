/* SPDX-License-Identifier: MIT */
/*
 * error: fails requests on purpose. A request matches when its operation is in the mask and it touches the range; every
 * n-th match fails with the configured error and never reaches the node under it. Matches are counted per node, over all
 * loops.
 *
 * submit runs on the channel's loop; open on the main thread.
 */
#include "block/block.h"

#include <errno.h>

#define ERROR_OPS_ALL (2u * (1u << BLOCK_STATUS) - 1)

struct error_node {
	struct block_node node;
	unsigned op_mask;
	int error;
	uint64_t every;
	uint64_t start, end; /* bytes */
	uint64_t matches;    /* atomic */
};

static bool error_matches(const struct error_node *node, const struct block_request *request)
{
	if (!(node->op_mask & 1u << request->op))
		return false;
	if (request->op == BLOCK_FLUSH)
		return true;
	/* The gate made sure that offset + bytes does not overflow. */
	return request->offset < node->end && request->offset + request->bytes > node->start;
}

static void error_submit(struct block_channel *channel, struct block_request *request)
{
	struct error_node *node = container_of(channel->node, struct error_node, node);

	if (error_matches(node, request) && (add_relaxed(&node->matches, 1) + 1) % node->every == 0)
		block_complete(request, node->error);
	else
		block_forward(channel, request);
}

static const struct block_driver error_driver = {
	.name = "error",
	.node_size = sizeof(struct error_node),
	.resize = block_filter_resize,
	.child_resized = block_filter_child_resized,
	.submit = error_submit,
};

static int error_setup(struct block_node *node, const struct block_error_config *config,
		       struct error *error)
{
	struct error_node *filter = container_of(node, struct error_node, node);

	if (config->op_mask & ~ERROR_OPS_ALL)
		return error_set(error, -EINVAL, "Node '%s': there are no operations 0x%x",
				 node->name, config->op_mask & ~ERROR_OPS_ALL);
	if (config->error > 0 || config->error < -4095)
		return error_set(error, -EINVAL, "Node '%s': %d is not a negative errno",
				 node->name, config->error);
	filter->op_mask = config->op_mask ? config->op_mask : ERROR_OPS_ALL;
	filter->error = config->error ? config->error : -EIO;
	filter->every = MAX(config->every, 1ull);
	filter->start = config->offset;
	filter->end = UINT64_MAX;
	if (config->bytes > 0 && config->bytes < UINT64_MAX - config->offset)
		filter->end = config->offset + config->bytes;
	return block_node_set_child(node, config->child, error);
}

int block_error_open(struct block_graph *graph, const struct block_error_config *config,
		     struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	int ret;

	ret = block_node_alloc(&error_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	ret = error_setup(node, config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
