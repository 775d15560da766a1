// SPDX-License-Identifier: MIT
/* The configuration space, short, hostile, and with features that hide fields. Pure. */
#include "driver/blk_config.h"

#include "driver/queue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct virtio_blk_config config_full(void)
{
	return (struct virtio_blk_config){
		.capacity = htole64(100),
		.size_max = htole32(8192),
		.seg_max = htole32(64),
		.blk_size = htole32(1024),
		.physical_block_exp = 2,
		.opt_io_size = htole32(4),
		.wce = 0,
		.num_queues = htole16(3),
		.max_discard_sectors = htole32(UINT32_MAX),
		.max_discard_seg = htole32(1000),
		.discard_sector_alignment = htole32(8),
		.max_write_zeroes_sectors = htole32(7),
		.max_write_zeroes_seg = 0,
		.write_zeroes_may_unmap = 9,
	};
}

static int parse(const struct virtio_blk_config *config, uint32_t size, uint64_t features,
		 struct ringlane_info *info)
{
	struct error error;

	*info = (struct ringlane_info){ .features_acked = features };
	return blk_config_parse(config, size, info, &error);
}

static void test_config_when_all_features_then_all_fields(void **state)
{
	const struct virtio_blk_config config = config_full();
	struct ringlane_info info;

	assert_int_equal(parse(&config, sizeof(config), blk_features_known(), &info), 0);
	assert_int_equal(info.capacity, 51200);
	assert_int_equal(info.size_max, 8192);
	assert_int_equal(info.seg_max, 64);
	assert_int_equal(info.logical_block_size, 1024);
	assert_int_equal(info.physical_block_size, 4096);
	assert_int_equal(info.optimal_io_size, 4096);
	assert_int_equal(info.queue_max, 3);
	assert_int_equal(info.discard_max, UINT32_MAX * 512ull);
	assert_int_equal(info.discard_ranges, QUEUE_RANGES_MAX);
	assert_int_equal(info.write_zeroes_max, 7 * 512);
	assert_int_equal(info.write_zeroes_ranges, 1);
	assert_true(info.write_zeroes_may_unmap && info.flush && info.read_only);
	assert_false(info.write_cache);
}

static void check_defaults(uint32_t size, uint64_t features)
{
	const struct virtio_blk_config config = config_full();
	struct ringlane_info info;

	assert_int_equal(parse(&config, size, features, &info), 0);
	assert_int_equal(info.capacity, 51200);
	assert_int_equal(info.seg_max, 1);
	assert_int_equal(info.size_max, 0);
	assert_int_equal(info.logical_block_size, 512);
	assert_int_equal(info.physical_block_size, 512);
	assert_int_equal(info.queue_max, 1);
	assert_int_equal(info.discard_max, 0);
	assert_int_equal(info.write_zeroes_max, 0);
}

static void test_config_when_features_or_bytes_are_missing_then_defaults(void **state)
{
	check_defaults(sizeof(struct virtio_blk_config), 1ull << VIRTIO_F_VERSION_1);
	check_defaults(8, blk_features_known());
	check_defaults(11, blk_features_known());
}

/* Without CONFIG_WCE there is a cache as soon as there is FLUSH. */
static void test_cache_when_features_differ_then_as_the_standard_says(void **state)
{
	const uint64_t flush = 1ull << VIRTIO_BLK_F_FLUSH, wce = 1ull << VIRTIO_BLK_F_CONFIG_WCE;
	struct virtio_blk_config config = config_full();
	struct ringlane_info info;

	assert_int_equal(parse(&config, sizeof(config), flush, &info), 0);
	assert_true(info.flush && info.write_cache);
	assert_int_equal(parse(&config, sizeof(config), flush | wce, &info), 0);
	assert_true(info.flush && !info.write_cache);
	config.wce = 1;
	assert_int_equal(parse(&config, sizeof(config), flush | wce, &info), 0);
	assert_true(info.flush && info.write_cache);
	assert_int_equal(parse(&config, sizeof(config), 0, &info), 0);
	assert_false(info.flush || info.write_cache);
}

static void test_config_when_impossible_then_eproto(void **state)
{
	static const uint32_t block_sizes[] = { 0, 1, 256, 513, 3u << 10, 1u << 21, UINT32_MAX };
	struct virtio_blk_config config = config_full();
	struct ringlane_info info;

	for (unsigned i = 0; i < ARRAY_SIZE(block_sizes); i++) {
		config.blk_size = htole32(block_sizes[i]);
		assert_int_equal(parse(&config, sizeof(config), blk_features_known(), &info),
				 -EPROTO);
	}
	config = config_full();
	config.capacity = htole64(1ull << 54);
	assert_int_equal(parse(&config, sizeof(config), blk_features_known(), &info), -EPROTO);
	config.capacity = htole64((1ull << 54) - 1);
	assert_int_equal(parse(&config, sizeof(config), blk_features_known(), &info), 0);
	assert_int_equal(parse(&config, 7, blk_features_known(), &info), -EPROTO);
	assert_int_equal(parse(&config, 0, blk_features_known(), &info), -EPROTO);
}

static void test_config_when_extreme_then_nothing_overflows(void **state)
{
	struct virtio_blk_config config;
	struct ringlane_info info;

	memset(&config, 0xff, sizeof(config));
	config.capacity = 0;
	config.blk_size = htole32(1u << 20);
	assert_int_equal(parse(&config, sizeof(config), blk_features_known(), &info), 0);
	assert_int_equal(info.capacity, 0);
	assert_true(info.physical_block_size >= info.logical_block_size);
	assert_int_equal(info.optimal_io_size, (uint64_t)UINT32_MAX << 20);
	assert_int_equal(info.discard_ranges, QUEUE_RANGES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_when_all_features_then_all_fields),
		cmocka_unit_test(test_config_when_features_or_bytes_are_missing_then_defaults),
		cmocka_unit_test(test_cache_when_features_differ_then_as_the_standard_says),
		cmocka_unit_test(test_config_when_impossible_then_eproto),
		cmocka_unit_test(test_config_when_extreme_then_nothing_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
