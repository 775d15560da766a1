/* SPDX-License-Identifier: MIT */
/* Names, references and sizes of nodes. */
#include "block/test_rig.h"

#include <errno.h>
#include <string.h>

#define MIB (1ull << 20)

static struct block_node *null_open(struct rig *rig, const char *name, uint64_t size)
{
	struct block_null_config config = { .name = name, .size = size };
	struct block_node *node = NULL;

	assert_int_equal(block_null_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static struct block_node *raw_open(struct rig *rig, const char *name, struct block_node *child)
{
	struct block_raw_config config = { .name = name, .child = child };
	struct block_node *node = NULL;

	assert_int_equal(block_raw_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static void test_find_when_inserted_then_found_by_name(void **state)
{
	struct rig *rig = *state;
	struct block_node *a = null_open(rig, "a", MIB), *b = null_open(rig, "b-2.x_Y", MIB);

	assert_ptr_equal(block_graph_find(rig->graph, "a"), a);
	assert_ptr_equal(block_graph_find(rig->graph, "b-2.x_Y"), b);
	assert_null(block_graph_find(rig->graph, "c"));
	assert_null(block_graph_find(rig->graph, ""));
}

static void test_open_when_name_is_bad_then_refused_with_sentence(void **state)
{
	struct rig *rig = *state;
	const char *const names[] = { NULL,
				      "",
				      "1a",
				      "-a",
				      "a b",
				      "a/b",
				      "ä",
				      "a%s",
				      "a12345678901234567890123456789012345678901234567890123456789"
				      "1234" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct block_null_config config = { .name = names[i] };
		struct block_node *node = NULL;
		struct error error = { 0 };

		assert_int_equal(block_null_open(rig->graph, &config, &node, &error), -EINVAL);
		assert_null(node);
		assert_non_null(strstr(error.text, "node-name"));
	}
}

static void test_open_when_name_is_taken_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_node *first = null_open(rig, "disk", MIB), *second = NULL;
	struct block_null_config config = { .name = "disk" };
	struct error error = { 0 };

	assert_int_equal(block_null_open(rig->graph, &config, &second, &error), -EEXIST);
	assert_null(second);
	assert_non_null(strstr(error.text, "'disk'"));
	assert_ptr_equal(block_graph_find(rig->graph, "disk"), first);
}

static void test_remove_when_referenced_then_busy(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = null_open(rig, "child", MIB);
	struct block_node *top = raw_open(rig, "top", child);
	struct error error = { 0 };

	assert_int_equal(child->refs, 1);
	assert_int_equal(block_graph_remove(rig->graph, child, &error), -EBUSY);
	assert_non_null(strstr(error.text, "'child'"));
	block_node_ref(top);
	assert_int_equal(block_graph_remove(rig->graph, top, &error), -EBUSY);
	block_node_unref(top);
	assert_int_equal(block_graph_remove(rig->graph, top, &error), 0);
	assert_int_equal(child->refs, 0);
	assert_int_equal(block_graph_remove(rig->graph, child, &error), 0);
	assert_null(block_graph_find(rig->graph, "child"));
}

static void test_open_when_too_deep_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = null_open(rig, "n", MIB), *refused = NULL;
	struct block_raw_config config = { .name = "deep" };
	struct error error = { 0 };
	char name[8] = "f0";

	for (unsigned i = 0; i < BLOCK_FRAMES_MAX; i++, name[1]++)
		node = raw_open(rig, name, node);
	config.child = node;
	assert_int_equal(block_raw_open(rig->graph, &config, &refused, &error), -EINVAL);
	assert_null(refused);
	assert_int_equal(node->refs, 0);
}

static void test_open_when_filter_has_no_child_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_delay_config config = { .name = "slow" };
	struct block_node *node = NULL;
	struct error error = { 0 };

	assert_int_equal(block_delay_open(rig->graph, &config, &node, &error), -EINVAL);
	assert_non_null(strstr(error.text, "'slow'"));
}

static void test_resize_when_child_changes_then_parents_follow(void **state)
{
	struct rig *rig = *state;
	struct block_node *child = null_open(rig, "child", MIB);
	struct block_node *middle = raw_open(rig, "middle", child);
	struct block_delay_config config = { .name = "top", .child = middle };
	struct block_node *top = NULL;

	assert_int_equal(block_delay_open(rig->graph, &config, &top, NULL), 0);
	assert_int_equal(block_node_resize(child, 2 * MIB, NULL), 0);
	assert_int_equal(block_node_size(middle), 2 * MIB);
	assert_int_equal(block_node_size(top), 2 * MIB);
	assert_int_equal(block_node_resize(top, 3 * MIB, NULL), 0);
	assert_int_equal(block_node_size(child), 3 * MIB);
	assert_int_equal(block_node_size(middle), 3 * MIB);
	assert_int_equal(block_node_size(top), 3 * MIB);
}

static void test_resize_when_it_makes_no_sense_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = null_open(rig, "disk", MIB);
	struct block_ram_config config = { .name = "memory", .size = MIB };
	struct block_node *ram = NULL;
	struct error error = { 0 };

	assert_int_equal(block_node_resize(node, 100, &error), -EINVAL);
	assert_int_equal(block_node_resize(node, UINT64_MAX - 511, &error), -EINVAL);
	node->read_only = true;
	assert_int_equal(block_node_resize(node, 2 * MIB, &error), -EROFS);
	assert_int_equal(block_node_size(node), MIB);
	assert_int_equal(block_ram_open(rig->graph, &config, &ram, NULL), 0);
	assert_int_equal(block_node_resize(ram, 2 * MIB, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "'ram'"));
}

static void count_visit(struct block_node *node, void *opaque)
{
	(*(unsigned *)opaque)++;
}

static void test_each_when_nodes_exist_then_all_are_visited(void **state)
{
	struct rig *rig = *state;
	unsigned count = 0;

	block_graph_each(rig->graph, count_visit, &count);
	assert_int_equal(count, 0);
	raw_open(rig, "top", null_open(rig, "child", MIB));
	block_graph_each(rig->graph, count_visit, &count);
	assert_int_equal(count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_find_when_inserted_then_found_by_name),
		rig_test(test_open_when_name_is_bad_then_refused_with_sentence),
		rig_test(test_open_when_name_is_taken_then_refused),
		rig_test(test_remove_when_referenced_then_busy),
		rig_test(test_open_when_too_deep_then_refused),
		rig_test(test_open_when_filter_has_no_child_then_refused),
		rig_test(test_resize_when_child_changes_then_parents_follow),
		rig_test(test_resize_when_it_makes_no_sense_then_refused),
		rig_test(test_each_when_nodes_exist_then_all_are_visited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
