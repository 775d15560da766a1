/* SPDX-License-Identifier: MIT */
/*
 * log: writes a line when a request comes by and one when it is completed:
 *
 *     12.345678901 7 read offset=4096 bytes=4096
 *     12.345690012 7 read offset=4096 bytes=4096 result=0
 *
 * with the monotonic time in seconds and a number that both lines share. Lines of all channels go to one buffered stream
 * and are flushed when a turn ends and when a channel is closed. This filter is for finding out what happens; it allocates
 * per request and takes the stream's lock.
 *
 * submit runs on the channel's loop; open and close on the main thread.
 */
#include "block/block.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log_node {
	struct block_node node;
	FILE *stream;     /* NULL until opened */
	uint64_t next_id; /* atomic */
};

struct log_channel {
	struct block_channel channel;
	struct loop_defer flush;
};

struct log_record {
	struct log_channel *channel;
	uint64_t id, offset;
};

static struct log_node *log_node_of(const struct log_channel *channel)
{
	return container_of(channel->channel.node, struct log_node, node);
}

static const char *op_name(enum block_op op)
{
	static const char *const names[] = {
		[BLOCK_READ] = "read",
		[BLOCK_WRITE] = "write",
		[BLOCK_FLUSH] = "flush",
		[BLOCK_DISCARD] = "discard",
		[BLOCK_WRITE_ZEROES] = "write_zeroes",
		[BLOCK_STATUS] = "status",
	};

	return (unsigned)op < ARRAY_SIZE(names) ? names[op] : "?";
}

/* tail: what only one of the two lines has. */
static void log_line(const struct log_record *record, const struct block_request *request,
		     const char *tail)
{
	uint64_t now_ns = clock_ns();
	struct log_channel *channel = record->channel;

	fprintf(log_node_of(channel)->stream, "%llu.%09llu %llu %s offset=%llu bytes=%llu%s%s%s\n",
		(unsigned long long)(now_ns / NS_PER_S), (unsigned long long)(now_ns % NS_PER_S),
		(unsigned long long)record->id, op_name(request->op),
		(unsigned long long)record->offset, (unsigned long long)request->bytes,
		request->flags & BLOCK_FUA ? " fua" : "",
		request->flags & BLOCK_MAY_UNMAP ? " unmap" : "", tail);
	loop_defer(channel->channel.loop, &channel->flush);
}

static void log_done(struct block_request *request, int result)
{
	struct log_record *record = block_frame_pop(request);
	char tail[32];

	snprintf(tail, sizeof(tail), " result=%d", result);
	log_line(record, request, tail);
	free(record);
	block_complete(request, result);
}

static void log_submit(struct block_channel *base, struct block_request *request)
{
	struct log_channel *channel = container_of(base, struct log_channel, channel);
	struct log_record *record = malloc(sizeof(*record));

	if (!record) {
		block_complete(request, -ENOMEM);
		return;
	}
	*record = (struct log_record){
		.channel = channel,
		.id = add_relaxed(&log_node_of(channel)->next_id, 1),
		.offset = request->offset,
	};
	log_line(record, request, "");
	block_frame_push(request, log_done, record);
	block_forward(base, request);
}

static void log_flush(struct loop_defer *defer)
{
	fflush(log_node_of(container_of(defer, struct log_channel, flush))->stream);
}

static int log_channel_open(struct block_channel *base)
{
	container_of(base, struct log_channel, channel)->flush.fn = log_flush;
	return 0;
}

static void log_channel_close(struct block_channel *base)
{
	struct log_channel *channel = container_of(base, struct log_channel, channel);

	loop_defer_cancel(base->loop, &channel->flush);
	log_flush(&channel->flush);
}

static void log_close(struct block_node *node)
{
	struct log_node *log = container_of(node, struct log_node, node);

	if (log->stream)
		fclose(log->stream);
}

static const struct block_driver log_driver = {
	.name = "log",
	.node_size = sizeof(struct log_node),
	.channel_size = sizeof(struct log_channel),
	.close = log_close,
	.resize = block_filter_resize,
	.child_resized = block_filter_child_resized,
	.channel_open = log_channel_open,
	.channel_close = log_channel_close,
	.submit = log_submit,
};

static int log_setup(struct block_node *node, const struct block_log_config *config,
		     struct error *error)
{
	struct log_node *log = container_of(node, struct log_node, node);

	if (!config->filename || !*config->filename)
		return error_set(error, -EINVAL, "Node '%s': driver 'log' needs a filename",
				 node->name);
	log->stream = fopen(config->filename, "ae");
	if (!log->stream)
		return error_set(error, -errno, "Node '%s': could not open '%s': %s", node->name,
				 config->filename, strerrordesc_np(errno));
	return block_node_set_child(node, config->child, error);
}

int block_log_open(struct block_graph *graph, const struct block_log_config *config,
		   struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	int ret;

	ret = block_node_alloc(&log_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	ret = log_setup(node, config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
