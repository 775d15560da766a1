/* SPDX-License-Identifier: MIT */
/* The gate, frames and channels, over a driver of our own that keeps what it gets. */
#include "block/test_rig.h"

#include <errno.h>
#include <string.h>

#define DISK_SIZE (1u << 20)

/* Holds one request until the test completes it. */
static struct block_request *held;
static unsigned held_count, opened, closed;
static int open_result;

static void hold_submit(struct block_channel *channel, struct block_request *request)
{
	assert_ptr_equal(request->channel, channel);
	held = request;
	held_count++;
}

static int hold_channel_open(struct block_channel *channel)
{
	opened += open_result == 0;
	return open_result;
}

static void hold_channel_close(struct block_channel *channel)
{
	closed++;
}

static const struct block_driver hold_driver = {
	.name = "hold",
	.channel_open = hold_channel_open,
	.channel_close = hold_channel_close,
	.submit = hold_submit,
};

static struct block_node *hold_node_make(struct rig *rig, const char *name)
{
	struct block_node *node = NULL;

	held = NULL;
	held_count = opened = closed = 0;
	open_result = 0;
	assert_int_equal(block_node_alloc(&hold_driver, name, &node, NULL), 0);
	node->size = DISK_SIZE;
	node->limits.request_alignment = 4096;
	node->limits.discard_max = 65536;
	node->limits.write_zeroes_max = 32768;
	assert_int_equal(block_graph_insert(rig->graph, node, NULL), 0);
	return node;
}

static char buffer[65536];

struct gate_case {
	enum block_op op;
	unsigned flags;
	uint64_t offset, bytes;
	bool read_only, no_discard, no_zeroes;
	int result; /* 0 with passes false: done at once */
	bool passes;
};

static const struct gate_case gate_cases[] = {
	{ BLOCK_READ, 0, 0, 4096, .passes = true },
	{ BLOCK_WRITE, 0, DISK_SIZE - 4096, 4096, .passes = true },
	{ BLOCK_WRITE, BLOCK_FUA, 0, 4096, .passes = true },
	{ BLOCK_DISCARD, 0, 0, 65536, .passes = true },
	{ BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP | BLOCK_FUA, 0, 32768, .passes = true },
	/* no such operation or flag; before everything else */
	{ (enum block_op)5, 0, 0, 4096, .result = -ENOTSUP },
	{ (enum block_op) - 1, 0, 0, 4096, .result = -ENOTSUP },
	{ BLOCK_READ, BLOCK_FUA, 0, 4096, .result = -ENOTSUP },
	{ BLOCK_WRITE, BLOCK_MAY_UNMAP, 0, 4096, .result = -ENOTSUP },
	{ BLOCK_WRITE, 4, 0, 4096, .result = -ENOTSUP },
	{ BLOCK_DISCARD, 0, 1, 1, .read_only = true, .no_discard = true, .result = -ENOTSUP },
	{ BLOCK_WRITE_ZEROES, 0, 0, 4096, .no_zeroes = true, .result = -ENOTSUP },
	/* read-only, before alignment */
	{ BLOCK_READ, 0, 0, 4096, .read_only = true, .passes = true },
	{ BLOCK_FLUSH, 0, 0, 0, .read_only = true, .passes = true },
	{ BLOCK_WRITE, 0, 1, 4096, .read_only = true, .result = -EROFS },
	{ BLOCK_DISCARD, 0, 0, 4096, .read_only = true, .result = -EROFS },
	{ BLOCK_WRITE_ZEROES, 0, 0, 4096, .read_only = true, .result = -EROFS },
	{ BLOCK_WRITE, 0, 0, 0, .read_only = true, .result = -EROFS },
	/* alignment and limits, before range */
	{ BLOCK_READ, 0, 512, 4096, .result = -EINVAL },
	{ BLOCK_READ, 0, 0, 512, .result = -EINVAL },
	{ BLOCK_READ, 0, UINT64_MAX, 4096, .result = -EINVAL },
	{ BLOCK_DISCARD, 0, 0, 65536 + 4096, .result = -EINVAL },
	{ BLOCK_WRITE_ZEROES, 0, 0, 32768 + 4096, .result = -EINVAL },
	/* range */
	{ BLOCK_READ, 0, DISK_SIZE, 4096, .result = -EIO },
	{ BLOCK_READ, 0, DISK_SIZE - 4096, 8192, .result = -EIO },
	{ BLOCK_WRITE, 0, UINT64_MAX - 4095, 4096, .result = -EIO },
	{ BLOCK_WRITE, 0, UINT64_MAX - 4095, 8192, .result = -EIO },
	{ BLOCK_READ, 0, 4096, UINT64_MAX - 4095, .result = -EIO },
	{ BLOCK_DISCARD, 0, DISK_SIZE + 4096, 0, .result = -EIO },
	/* nothing to do */
	{ BLOCK_READ, 0, DISK_SIZE, 0, .result = 0 },
	{ BLOCK_WRITE, 0, 0, 0, .result = 0 },
	{ BLOCK_DISCARD, 0, 0, 0, .result = 0 },
	{ BLOCK_WRITE_ZEROES, 0, 0, 0, .result = 0 },
	/* a flush has no range */
	{ BLOCK_FLUSH, 0, 0, 0, .passes = true },
	{ BLOCK_FLUSH, 0, 77, 99, .passes = true },
};

static void gate_case_run(struct block_channel *channel, const struct gate_case *c)
{
	struct block_node *node = channel->node;
	unsigned before = held_count;
	struct rig_io io;

	node->read_only = c->read_only;
	node->limits.discard_max = c->no_discard ? 0 : 65536;
	node->limits.write_zeroes_max = c->no_zeroes ? 0 : 32768;
	rig_io_init(&io, c->op, c->offset, buffer, c->bytes);
	io.request.flags = c->flags;
	rig_io_submit(channel, &io);
	assert_int_equal(held_count - before, c->passes);
	assert_int_equal(io.done_count, !c->passes);
	assert_int_equal(io.result, c->result);
	assert_int_equal(channel->in_flight, c->passes);
	if (c->passes)
		block_complete(&io.request, 0);
	assert_int_equal(channel->in_flight, 0);
	assert_int_equal(io.done_count, 1);
}

static void test_gate_when_request_comes_then_checked_in_order(void **state)
{
	struct block_channel *channel = rig_channel(*state, hold_node_make(*state, "disk"));

	for (unsigned i = 0; i < ARRAY_SIZE(gate_cases); i++) {
		print_message("case %u\n", i);
		gate_case_run(channel, &gate_cases[i]);
	}
	block_channel_close(channel);
}

static void test_gate_when_iov_is_longer_then_shortened(void **state)
{
	struct block_channel *channel = rig_channel(*state, hold_node_make(*state, "disk"));
	struct rig_io io;

	rig_io_init(&io, BLOCK_READ, 0, buffer, 4096);
	io.iov[0].iov_len = 1000;
	io.iov[1] = (struct iovec){ .iov_base = buffer + 1000, .iov_len = 9000 };
	io.iov[2] = (struct iovec){ .iov_base = buffer + 10000, .iov_len = 9000 };
	io.request.iov_count = 3;
	rig_io_submit(channel, &io);
	assert_int_equal(held_count, 1);
	assert_int_equal(io.request.iov_count, 2);
	assert_int_equal(io.iov[0].iov_len, 1000);
	assert_int_equal(io.iov[1].iov_len, 3096);
	block_complete(&io.request, 0);
	block_channel_close(channel);
}

static void test_gate_when_iov_is_shorter_then_refused(void **state)
{
	struct block_channel *channel = rig_channel(*state, hold_node_make(*state, "disk"));
	struct rig_io io;

	rig_io_init(&io, BLOCK_WRITE, 0, buffer, 4096);
	io.iov[0].iov_len = 4095;
	rig_io_submit(channel, &io);
	assert_int_equal(io.result, -EINVAL);
	rig_io_init(&io, BLOCK_WRITE, 0, buffer, 4096);
	io.request.iov_count = 0;
	rig_io_submit(channel, &io);
	assert_int_equal(io.result, -EINVAL);
	assert_int_equal(held_count, 0);
	block_channel_close(channel);
}

static void test_gate_when_node_grows_then_range_follows(void **state)
{
	struct block_node *node = hold_node_make(*state, "disk");
	struct block_channel *channel = rig_channel(*state, node);
	struct rig_io io;

	store_relaxed(&node->size, 2 * (uint64_t)DISK_SIZE);
	rig_io_init(&io, BLOCK_READ, DISK_SIZE, buffer, 4096);
	rig_io_submit(channel, &io);
	assert_int_equal(held_count, 1);
	block_complete(&io.request, 0);
	store_relaxed(&node->size, DISK_SIZE);
	assert_int_equal(rig_do(*state, channel, BLOCK_READ, DISK_SIZE, buffer, 4096), -EIO);
	block_channel_close(channel);
}

/* ---- frames ---- */

static char order[8];

static void frame_done(struct block_request *request, int result)
{
	const char *mark = block_frame_pop(request);

	order[strlen(order)] = *mark;
	block_complete(request, result - 1);
}

static void test_complete_when_frames_are_pushed_then_last_runs_first(void **state)
{
	struct block_channel *channel = rig_channel(*state, hold_node_make(*state, "disk"));
	struct rig_io io;

	memset(order, 0, sizeof(order));
	rig_io_init(&io, BLOCK_READ, 0, buffer, 4096);
	rig_io_submit(channel, &io);
	block_frame_push(&io.request, frame_done, "a");
	block_frame_push(&io.request, frame_done, "b");
	block_frame_push(&io.request, frame_done, "c");
	assert_int_equal(channel->in_flight, 1);
	block_complete(held, -10);
	assert_string_equal(order, "cba");
	assert_int_equal(io.result, -13);
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
}

/* ---- channels ---- */

static void test_channel_when_node_has_child_then_both_open_and_close(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = hold_node_make(rig, "child"), *node = NULL;
	struct block_raw_config config = { .name = "top", .child = child };
	struct block_channel *channel;
	struct rig_io io;

	assert_int_equal(block_raw_open(rig->graph, &config, &node, NULL), 0);
	channel = rig_channel(rig, node);
	assert_int_equal(opened, 1);
	assert_ptr_equal(channel->child->node, child);
	rig_io_init(&io, BLOCK_FLUSH, 0, NULL, 0);
	rig_io_submit(channel, &io);
	assert_ptr_equal(held->channel, channel->child);
	assert_int_equal(channel->in_flight, 1);
	assert_int_equal(channel->child->in_flight, 0);
	block_complete(held, 0);
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
	assert_int_equal(closed, 1);
}

static void test_channel_when_driver_fails_then_error_comes_back(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = hold_node_make(rig, "child"), *node = NULL;
	struct block_raw_config config = { .name = "top", .child = child };
	struct block_channel *channel = NULL;

	assert_int_equal(block_raw_open(rig->graph, &config, &node, NULL), 0);
	open_result = -ENOMEM;
	assert_int_equal(block_channel_open(node, rig->loop, &channel), -ENOMEM);
	assert_null(channel);
	assert_int_equal(opened, 0);
	assert_int_equal(closed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_gate_when_request_comes_then_checked_in_order),
		rig_test(test_gate_when_iov_is_longer_then_shortened),
		rig_test(test_gate_when_iov_is_shorter_then_refused),
		rig_test(test_gate_when_node_grows_then_range_follows),
		rig_test(test_complete_when_frames_are_pushed_then_last_runs_first),
		rig_test(test_channel_when_node_has_child_then_both_open_and_close),
		rig_test(test_channel_when_driver_fails_then_error_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
