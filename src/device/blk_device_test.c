/* SPDX-License-Identifier: MIT */
/* virtio-blk as the driver sees it before the first request: refusals, features, configuration space, write cache. */
#include "device/blk_fixture.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIT(bit) (1ull << (bit))
#define WCE_OFFSET 32u

/* ---- refusals ---- */

static const struct {
	uint64_t size;
	uint32_t alignment, logical_block_size;
	const char *serial;
	uint16_t num_queues;
	bool node_read_only, writable;
	const char *sentence;
} refusals[] = {
	{ .logical_block_size = 256,
	  .sentence = "logical block size 256 is not a power of two from 512 to 2097152" },
	{ .logical_block_size = 1536,
	  .sentence = "logical block size 1536 is not a power of two from 512 to 2097152" },
	{ .logical_block_size = 4u << 20,
	  .sentence = "logical block size 4194304 is not a power of two from 512 to 2097152" },
	{ .alignment = 4096,
	  .logical_block_size = 512,
	  .sentence = "logical block size 512 is smaller than the 4096 bytes that node 'n' needs" },
	{ .size = 1536,
	  .logical_block_size = 1024,
	  .sentence = "size 1536 of node 'n' is not a multiple of the logical block size 1024" },
	{ .serial = "123456789012345678901",
	  .sentence = "serial '123456789012345678901' is longer than 20 bytes" },
	{ .num_queues = UINT16_MAX, .sentence = "a disk needs at least one queue" },
	{ .node_read_only = true, .writable = true, .sentence = "node 'n' is read-only" },
};

static struct block_node *null_node(struct block_graph *graph, uint64_t size, bool read_only)
{
	struct block_null_config config = { .name = "n",
					    .size = size ? size : 4096,
					    .read_only = read_only };
	struct block_node *node;

	assert_int_equal(block_null_open(graph, &config, &node, NULL), 0);
	return node;
}

static void test_new_when_config_is_wrong_then_a_sentence(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct block_graph *graph = block_graph_new();
		struct blk_config config = {
			.node = null_node(graph, refusals[i].size, refusals[i].node_read_only),
			.serial = refusals[i].serial,
			.logical_block_size = refusals[i].logical_block_size,
			.num_queues = refusals[i].num_queues == UINT16_MAX ? 0 : 1,
			.writable = refusals[i].writable,
		};
		struct blk_device *device = NULL;
		struct error error = { 0 };

		if (refusals[i].alignment)
			config.node->limits.request_alignment = refusals[i].alignment;
		assert_int_equal(blk_device_new(&config, &device, &error), -EINVAL);
		assert_string_equal(error.text, refusals[i].sentence);
		assert_null(device);
		assert_int_equal(config.node->refs, 0);
		block_graph_free(graph);
	}
}

static void test_new_when_serial_is_20_bytes_then_accepted(void **state)
{
	struct block_graph *graph = block_graph_new();
	struct blk_config config = { .node = null_node(graph, 0, false),
				     .serial = "12345678901234567890",
				     .num_queues = 1 };
	struct blk_device *device;

	assert_int_equal(blk_device_new(&config, &device, NULL), 0);
	assert_int_equal(config.node->refs, 1);
	blk_device_free(device);
	assert_int_equal(config.node->refs, 0);
	block_graph_free(graph);
}

/* ---- features ---- */

#define ALWAYS                                                                                 \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |                          \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_SIZE_MAX) |    \
	 BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) | \
	 BIT(VIRTIO_BLK_F_FLUSH))
#define SPACE (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))

static void test_features_when_offered_then_as_the_node_can(void **state)
{
	static const struct {
		bool read_only, no_discard;
		uint64_t features;
	} cases[] = {
		{ false, false, ALWAYS | SPACE | BIT(VIRTIO_BLK_F_CONFIG_WCE) },
		{ false, true, ALWAYS | BIT(VIRTIO_BLK_F_CONFIG_WCE) },
		{ true, false, ALWAYS | BIT(VIRTIO_BLK_F_RO) },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blk_world_config config = { .read_only = cases[i].read_only,
						   .spy_no_discard = cases[i].no_discard };
		struct blk_world *world = calloc(1, sizeof(*world));

		blk_world_open(world, &config);
		assert_int_equal(blk_device_features(world->device), cases[i].features);
		blk_world_close(world);
		free(world);
	}
}

/* ---- configuration space ---- */

static void test_config_when_read_then_every_field(void **state)
{
	struct blk_world_config config = { .logical_block_size = 1024 };
	struct blk_world *world = calloc(1, sizeof(*world));
	struct virtio_blk_config got;

	blk_world_open(world, &config);
	blk_device_get_config(world->device, 0, &got, sizeof(got));
	assert_int_equal(le64toh(got.capacity), 2048);
	assert_int_equal(le32toh(got.size_max), (4 << 20) - 15 * 4096);
	/* what SeaBIOS takes for the size of a request: several blocks of any size */
	assert_in_range((uint16_t)(le32toh(got.size_max) * le32toh(got.seg_max)), 8 * 4096, 65535);
	assert_int_equal(le32toh(got.seg_max), 126);
	assert_int_equal(le32toh(got.blk_size), 1024);
	assert_int_equal(got.physical_block_exp, 2);
	assert_int_equal(got.alignment_offset, 0);
	assert_int_equal(le16toh(got.min_io_size), 4);
	assert_int_equal(le32toh(got.opt_io_size), 64);
	assert_int_equal(got.wce, 1);
	assert_int_equal(le16toh(got.num_queues), 4);
	assert_int_equal(le32toh(got.max_discard_sectors), 512);
	assert_int_equal(le32toh(got.max_discard_seg), 32);
	assert_int_equal(le32toh(got.discard_sector_alignment), 16);
	assert_int_equal(le32toh(got.max_write_zeroes_sectors), 512);
	assert_int_equal(le32toh(got.max_write_zeroes_seg), 32);
	assert_int_equal(got.write_zeroes_may_unmap, 1);
	blk_world_close(world);
	free(world);
}

static void test_config_when_read_in_pieces_or_past_the_end_then_zeros_follow(void **state)
{
	struct blk_world_config config = { 0 };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint8_t whole[256], piece[256];

	blk_world_open(world, &config);
	blk_device_get_config(world->device, 0, whole, sizeof(whole));
	for (size_t i = sizeof(struct virtio_blk_config); i < sizeof(whole); i++)
		assert_int_equal(whole[i], 0);
	for (uint32_t offset = 0; offset <= 100; offset++) {
		for (uint32_t size = 0; size <= 40; size++) {
			memset(piece, 0x55, sizeof(piece));
			blk_device_get_config(world->device, offset, piece, size);
			assert_memory_equal(piece, whole + offset, size);
			assert_int_equal(piece[size], 0x55);
		}
	}
	memset(piece, 0x55, sizeof(piece));
	blk_device_get_config(world->device, UINT32_MAX, piece, 8);
	assert_memory_equal(piece, whole + 200, 8);
	blk_world_close(world);
	free(world);
}

static void test_config_when_node_is_resized_then_the_new_capacity_in_whole_blocks(void **state)
{
	struct blk_world_config config = { .logical_block_size = 4096 };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint64_t capacity;

	blk_world_open(world, &config);
	assert_int_equal(block_node_resize(world->node, (2 << 20) + 512, NULL), 0);
	blk_device_get_config(world->device, 0, &capacity, sizeof(capacity));
	assert_int_equal(le64toh(capacity), 4096);
	blk_world_close(world);
	free(world);
}

static void test_set_config_when_not_writeback_then_einval(void **state)
{
	struct blk_world_config config = { 0 };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint8_t bytes[64] = { 0 }, two = 2;

	blk_world_open(world, &config);
	for (uint32_t offset = 0; offset < 64; offset++)
		assert_int_equal(blk_device_set_config(world->device, offset, bytes, 1),
				 offset == WCE_OFFSET ? 0 : -EINVAL);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, bytes, 0), -EINVAL);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, bytes, 2), -EINVAL);
	assert_int_equal(blk_device_set_config(world->device, 0, bytes, 60), -EINVAL);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &two, 1), -EINVAL);
	blk_world_close(world);
	free(world);
}

static void test_set_config_when_read_only_then_einval(void **state)
{
	struct blk_world_config config = { .read_only = true };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint8_t wce = 0;

	blk_world_open(world, &config);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &wce, 1), -EINVAL);
	blk_world_close(world);
	free(world);
}

/* ---- write cache: virtio 1.3, 5.2.6.2 ---- */

static unsigned flags_of_write(struct blk_world *world)
{
	uint8_t data[512] = { 0 };

	world->spy.count = 0;
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_OUT, 0, data, sizeof(data), NULL, 0), 0);
	assert_int_equal(world->spy.count, 1);
	return world->spy.seen[0].flags;
}

static uint8_t config_wce(struct blk_world *world)
{
	uint8_t wce;

	blk_device_get_config(world->device, WCE_OFFSET, &wce, 1);
	return wce;
}

static void
test_write_cache_when_features_are_negotiated_then_writes_are_stable_or_not(void **state)
{
	static const struct {
		uint64_t acked;
		uint8_t wce;
		unsigned flags;
	} cases[] = {
		{ 0, 1, BLOCK_FUA },
		{ BIT(VIRTIO_F_VERSION_1), 1, BLOCK_FUA },
		{ BIT(VIRTIO_BLK_F_FLUSH), 1, 0 },
		{ BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE), 1, 0 },
		{ BIT(VIRTIO_BLK_F_CONFIG_WCE), 0, BLOCK_FUA },
	};
	struct blk_world_config config = { 0 };
	struct blk_world *world = calloc(1, sizeof(*world));

	blk_world_open(world, &config);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		blk_device_reset(world->device);
		blk_device_set_acked(world->device, cases[i].acked);
		assert_int_equal(config_wce(world), cases[i].wce);
		assert_int_equal(flags_of_write(world), cases[i].flags);
	}
	blk_world_close(world);
	free(world);
}

static void test_write_cache_when_driver_switches_then_it_follows(void **state)
{
	uint64_t both = BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);
	struct blk_world_config config = { .acked = both };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint8_t on = 1, off = 0;

	blk_world_open(world, &config);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &off, 1), 0);
	assert_int_equal(config_wce(world), 0);
	assert_int_equal(flags_of_write(world), BLOCK_FUA);
	blk_device_set_acked(world->device, both); /* told again: the driver's choice stays */
	assert_int_equal(flags_of_write(world), BLOCK_FUA);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &on, 1), 0);
	assert_int_equal(flags_of_write(world), 0);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &off, 1), 0);
	blk_device_reset(world->device);
	assert_int_equal(config_wce(world), 1);
	blk_world_close(world);
	free(world);
}

static void test_write_cache_when_config_wce_is_not_acked_then_the_byte_does_not_count(void **state)
{
	struct blk_world_config config = { .acked = BIT(VIRTIO_BLK_F_FLUSH) };
	struct blk_world *world = calloc(1, sizeof(*world));
	uint8_t off = 0;

	blk_world_open(world, &config);
	assert_int_equal(blk_device_set_config(world->device, WCE_OFFSET, &off, 1), 0);
	assert_int_equal(flags_of_write(world), 0);
	blk_world_close(world);
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_when_config_is_wrong_then_a_sentence),
		cmocka_unit_test(test_new_when_serial_is_20_bytes_then_accepted),
		cmocka_unit_test(test_features_when_offered_then_as_the_node_can),
		cmocka_unit_test(test_config_when_read_then_every_field),
		cmocka_unit_test(test_config_when_read_in_pieces_or_past_the_end_then_zeros_follow),
		cmocka_unit_test(
			test_config_when_node_is_resized_then_the_new_capacity_in_whole_blocks),
		cmocka_unit_test(test_set_config_when_not_writeback_then_einval),
		cmocka_unit_test(test_set_config_when_read_only_then_einval),
		cmocka_unit_test(
			test_write_cache_when_features_are_negotiated_then_writes_are_stable_or_not),
		cmocka_unit_test(test_write_cache_when_driver_switches_then_it_follows),
		cmocka_unit_test(
			test_write_cache_when_config_wce_is_not_acked_then_the_byte_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
