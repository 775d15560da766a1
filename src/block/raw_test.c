/* SPDX-License-Identifier: MIT */
/* Windows: what fits, where requests land, what happens when the child changes. The data is in model_test.c. */
#include "block/test_rig.h"

#include <errno.h>
#include <string.h>

#define MIB (1ull << 20)

static struct block_node *ram_open(struct rig *rig)
{
	struct block_ram_config config = { .name = "memory", .size = MIB };
	struct block_node *node = NULL;

	assert_int_equal(block_ram_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static struct block_node *null_open(struct rig *rig)
{
	struct block_null_config config = { .name = "null", .size = MIB };
	struct block_node *node = NULL;

	assert_int_equal(block_null_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static struct block_node *raw_open(struct rig *rig, struct block_raw_config config)
{
	struct block_node *node = NULL;

	config.name = "window";
	assert_int_equal(block_raw_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

struct window_case {
	uint64_t offset, size;
	bool has_size;
	int result;
	uint64_t disk_size;
	const char *sentence;
};

static const struct window_case window_cases[] = {
	{ 0, 0, false, 0, MIB, NULL },
	{ 512, 0, false, 0, MIB - 512, NULL },
	{ MIB, 0, false, 0, 0, NULL },
	{ 0, MIB, true, 0, MIB, NULL },
	{ 4096, 8192, true, 0, 8192, NULL },
	{ MIB - 512, 512, true, 0, 512, NULL },
	{ 0, 0, true, 0, 0, NULL },
	{ 1, 0, false, -EINVAL, 0, "offset 1 is not a multiple of 512" },
	{ 0, 513, true, -EINVAL, 0, "size 513 is not a multiple of 512" },
	{ MIB + 512, 0, false, -EINVAL, 0, "beyond the end of node 'memory' (1048576 bytes)" },
	{ 512, MIB, true, -EINVAL, 0, "do not fit into node 'memory' (1048576 bytes)" },
	{ 512, UINT64_MAX - 511, true, -EINVAL, 0, "do not fit" },
	{ UINT64_MAX - 511, 512, true, -EINVAL, 0, "beyond the end" },
};

static void test_open_when_window_is_given_then_by_table(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = ram_open(rig);

	for (unsigned i = 0; i < ARRAY_SIZE(window_cases); i++) {
		const struct window_case *c = &window_cases[i];
		struct block_raw_config config = { .name = "window",
						   .child = child,
						   .offset = c->offset,
						   .size = c->size,
						   .has_size = c->has_size };
		struct block_node *node = NULL;
		struct error error = { 0 };

		assert_int_equal(block_raw_open(rig->graph, &config, &node, &error), c->result);
		if (c->result == 0) {
			assert_int_equal(block_node_size(node), c->disk_size);
			assert_int_equal(block_graph_remove(rig->graph, node, NULL), 0);
		} else {
			assert_non_null(strstr(error.text, "'window'"));
			assert_non_null(strstr(error.text, c->sentence));
		}
		assert_int_equal(child->refs, 0);
	}
}

static void test_io_when_at_the_edges_then_inside_window_only(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = raw_open(rig, (struct block_raw_config){ .child = ram_open(rig),
									   .offset = 4096,
									   .size = 8192,
									   .has_size = true });
	struct block_channel *channel = rig_channel(rig, node);
	char buffer[4096];
	struct rig_io io;

	rig_io_init(&io, BLOCK_WRITE, 4096, buffer, 4096);
	rig_io_submit(channel, &io);
	assert_int_equal(rig_io_wait(rig, &io), 0);
	assert_int_equal(io.request.offset, 4096); /* as it was submitted */
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 8192, buffer, 512), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 7680, NULL, 1024), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	block_channel_close(channel);
}

static void test_io_when_child_shrank_then_error_behind_its_end(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = null_open(rig);
	struct block_node *node = raw_open(
		rig, (struct block_raw_config){ .child = child, .size = MIB, .has_size = true });
	struct block_channel *channel = rig_channel(rig, node);
	char buffer[512];

	assert_int_equal(block_node_resize(child, MIB / 2, NULL), 0);
	assert_int_equal(block_node_size(node), MIB);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, MIB / 2 - 512, buffer, 512), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, MIB / 2, buffer, 512), -EIO);
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
}

static void test_resize_when_size_is_own_then_refused_else_child_changes(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = null_open(rig), *node;
	struct error error = { 0 };

	node = raw_open(rig,
			(struct block_raw_config){
				.child = child, .offset = 4096, .size = 8192, .has_size = true });
	assert_int_equal(block_node_resize(node, 4096, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "fixed-size"));
	assert_int_equal(block_graph_remove(rig->graph, node, NULL), 0);
	node = raw_open(rig, (struct block_raw_config){ .child = child, .offset = 4096 });
	assert_int_equal(block_node_resize(node, 2 * MIB, &error), 0);
	assert_int_equal(block_node_size(child), 2 * MIB + 4096);
	assert_int_equal(block_node_size(node), 2 * MIB);
	assert_int_equal(block_node_resize(child, 512, &error), 0);
	assert_int_equal(block_node_size(node), 0);
	assert_int_equal(block_node_resize(node, INT64_MAX - 511, &error), -EINVAL);
}

static void test_open_when_read_only_then_writes_are_refused(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = raw_open(rig, (struct block_raw_config){ .child = ram_open(rig),
									   .read_only = true });
	struct block_channel *channel = rig_channel(rig, node);
	char buffer[512];

	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, 512), -EROFS);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, 512), 0);
	block_channel_close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_open_when_window_is_given_then_by_table),
		rig_test(test_io_when_at_the_edges_then_inside_window_only),
		rig_test(test_io_when_child_shrank_then_error_behind_its_end),
		rig_test(test_resize_when_size_is_own_then_refused_else_child_changes),
		rig_test(test_open_when_read_only_then_writes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
