/* SPDX-License-Identifier: MIT */
/* null-co, and the line of waiting requests behind its latency. */
#include "block/test_rig.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

static struct block_node *null_open(struct rig *rig, struct block_null_config config)
{
	struct block_node *node = NULL;

	config.name = "disk";
	assert_int_equal(block_null_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static void test_open_when_nothing_is_given_then_defaults(void **state)
{
	struct block_node *node = null_open(*state, (struct block_null_config){ 0 });

	assert_int_equal(block_node_size(node), 1ull << 30);
	assert_int_equal(node->limits.request_alignment, 512);
	assert_false(node->read_only);
	assert_string_equal(node->driver->name, "null-co");
}

static void test_open_when_options_are_wrong_then_refused(void **state)
{
	struct rig *rig = *state;
	const struct block_null_config configs[] = {
		{ .name = "disk", .size = 513 },
		{ .name = "disk", .latency_ns = UINT64_MAX },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(configs); i++) {
		struct block_node *node = NULL;
		struct error error = { 0 };

		assert_int_equal(block_null_open(rig->graph, &configs[i], &node, &error), -EINVAL);
		assert_null(node);
		assert_non_null(strstr(error.text, "'disk'"));
	}
	assert_null(block_graph_find(rig->graph, "disk"));
}

static void test_read_when_default_then_buffer_untouched_and_done_inside_submit(void **state)
{
	struct block_node *node = null_open(*state, (struct block_null_config){ 0 });
	struct block_channel *channel = rig_channel(*state, node);
	char buffer[512];
	struct rig_io io;

	memset(buffer, 0x5a, sizeof(buffer));
	for (int op = BLOCK_READ; op <= BLOCK_WRITE_ZEROES; op++) {
		rig_io_init(&io, (enum block_op)op, 0, buffer, sizeof(buffer));
		rig_io_submit(channel, &io);
		assert_int_equal(io.done_count, 1);
		assert_int_equal(io.result, 0);
	}
	for (unsigned i = 0; i < sizeof(buffer); i++)
		assert_int_equal(buffer[i], 0x5a);
	block_channel_close(channel);
}

static void test_read_when_read_zeroes_then_exactly_the_bytes_are_zero(void **state)
{
	struct block_node *node =
		null_open(*state, (struct block_null_config){ .read_zeroes = true });
	struct block_channel *channel = rig_channel(*state, node);
	char buffer[1024];
	struct rig_io io;

	memset(buffer, 0x5a, sizeof(buffer));
	rig_io_init(&io, BLOCK_READ, 0, buffer, 512);
	io.iov[0].iov_len = 100;
	io.iov[1] = (struct iovec){ .iov_base = buffer + 200, .iov_len = 700 };
	io.request.iov_count = 2;
	rig_io_submit(channel, &io);
	assert_int_equal(rig_io_wait(*state, &io), 0);
	for (unsigned i = 0; i < sizeof(buffer); i++)
		assert_int_equal(buffer[i], i < 100 || (i >= 200 && i < 612) ? 0 : 0x5a);
	block_channel_close(channel);
}

/* ---- latency ---- */

#define LINE_COUNT 16
#define LATENCY_NS (2 * NS_PER_MS)

struct line_io {
	struct rig_io io;
	unsigned *next;
	unsigned place; /* in the order of completion */
	uint64_t submit_ns, done_ns;
};

static void line_done(struct block_request *request, int result)
{
	struct line_io *line = container_of(request, struct line_io, io.request);

	assert_int_equal(result, 0);
	line->io.done_count++;
	line->done_ns = clock_ns();
	line->place = (*line->next)++;
}

static void test_latency_when_many_wait_then_each_waits_its_time_in_order(void **state)
{
	struct rig *rig = *state;
	struct block_node *node =
		null_open(rig, (struct block_null_config){ .latency_ns = LATENCY_NS });
	struct block_channel *channel = rig_channel(rig, node);
	struct line_io lines[LINE_COUNT];
	unsigned next = 0;

	for (unsigned i = 0; i < LINE_COUNT; i++) {
		rig_io_init(&lines[i].io, BLOCK_WRITE, 0, NULL, 512);
		lines[i].next = &next;
		lines[i].io.request.done = line_done;
		lines[i].submit_ns = clock_ns();
		block_submit(channel, &lines[i].io.request);
	}
	assert_int_equal(next, 0);
	assert_int_equal(channel->in_flight, LINE_COUNT);
	for (unsigned i = 0; i < LINE_COUNT; i++) {
		rig_io_wait(rig, &lines[i].io);
		assert_int_equal(lines[i].place, i);
		assert_true(lines[i].done_ns - lines[i].submit_ns >= LATENCY_NS);
	}
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
}

/* Submits itself again from its own completion. */
struct chain_io {
	struct rig_io io;
	struct block_channel *channel;
	unsigned left;
};

static void chain_done(struct block_request *request, int result)
{
	struct chain_io *chain = container_of(request, struct chain_io, io.request);

	if (--chain->left == 0)
		chain->io.done_count++;
	else
		block_submit(chain->channel, request);
}

static void test_latency_when_submitted_again_from_done_then_served_again(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = null_open(rig, (struct block_null_config){ .latency_ns = 10000 });
	struct chain_io chains[2] = { 0 };
	struct block_channel *channel = rig_channel(rig, node);

	for (unsigned i = 0; i < 2; i++) {
		rig_io_init(&chains[i].io, BLOCK_READ, 0, NULL, 512);
		chains[i].channel = channel;
		chains[i].left = 20;
		chains[i].io.request.done = chain_done;
		block_submit(channel, &chains[i].io.request);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(rig, &chains[i].io), 0);
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_open_when_nothing_is_given_then_defaults),
		rig_test(test_open_when_options_are_wrong_then_refused),
		rig_test(test_read_when_default_then_buffer_untouched_and_done_inside_submit),
		rig_test(test_read_when_read_zeroes_then_exactly_the_bytes_are_zero),
		rig_test(test_latency_when_many_wait_then_each_waits_its_time_in_order),
		rig_test(test_latency_when_submitted_again_from_done_then_served_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
