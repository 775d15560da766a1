/* SPDX-License-Identifier: MIT */
/*
 * delay: makes the node under it slow. latency-ns holds each request back without costing CPU, many at a time, as a distant
 * disk would; busy-ns burns CPU time of the loop's thread for each request, as an expensive driver would. Both give
 * benches a back end whose cost per request is known.
 *
 * submit runs on the channel's loop; open on the main thread.
 */
#include "block/block.h"
#include "block/delay_line.h"

#include "base/clock.h"

#include <errno.h>

#define DELAY_LATENCY_MAX (3600 * NS_PER_S)
#define DELAY_BUSY_MAX (10 * NS_PER_MS)

struct delay_node {
	struct block_node node;
	uint64_t latency_ns, busy_ns;
};

struct delay_channel {
	struct block_channel channel;
	struct delay_line line;
};

static void delay_burn(uint64_t busy_ns)
{
	uint64_t end_ns = clock_ns() + busy_ns;

	while (clock_ns() < end_ns)
		cpu_relax();
}

static void delay_due(struct block_request *request)
{
	block_forward(request->channel, request);
}

static void delay_submit(struct block_channel *base, struct block_request *request)
{
	struct delay_channel *channel = container_of(base, struct delay_channel, channel);
	const struct delay_node *node = container_of(base->node, struct delay_node, node);

	if (node->busy_ns > 0)
		delay_burn(node->busy_ns);
	if (node->latency_ns > 0)
		delay_line_add(&channel->line, request);
	else
		block_forward(base, request);
}

static int delay_channel_open(struct block_channel *base)
{
	struct delay_channel *channel = container_of(base, struct delay_channel, channel);
	const struct delay_node *node = container_of(base->node, struct delay_node, node);

	delay_line_init(&channel->line, base->loop, node->latency_ns, delay_due);
	return 0;
}

static void delay_channel_close(struct block_channel *base)
{
	delay_line_fini(&container_of(base, struct delay_channel, channel)->line);
}

static const struct block_driver delay_driver = {
	.name = "delay",
	.node_size = sizeof(struct delay_node),
	.channel_size = sizeof(struct delay_channel),
	.resize = block_filter_resize,
	.child_resized = block_filter_child_resized,
	.channel_open = delay_channel_open,
	.channel_close = delay_channel_close,
	.submit = delay_submit,
};

static int delay_setup(struct block_node *node, const struct block_delay_config *config,
		       struct error *error)
{
	struct delay_node *delay = container_of(node, struct delay_node, node);

	if (config->latency_ns > DELAY_LATENCY_MAX)
		return error_set(error, -EINVAL,
				 "Node '%s': latency-ns %llu is longer than an hour", node->name,
				 (unsigned long long)config->latency_ns);
	if (config->busy_ns > DELAY_BUSY_MAX)
		return error_set(error, -EINVAL, "Node '%s': busy-ns %llu is longer than 10 ms",
				 node->name, (unsigned long long)config->busy_ns);
	delay->latency_ns = config->latency_ns;
	delay->busy_ns = config->busy_ns;
	return block_node_set_child(node, config->child, error);
}

int block_delay_open(struct block_graph *graph, const struct block_delay_config *config,
		     struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	int ret;

	ret = block_node_alloc(&delay_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	ret = delay_setup(node, config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
