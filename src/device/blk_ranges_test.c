/* SPDX-License-Identifier: MIT */
/* virtio-blk DISCARD and WRITE_ZEROES: ranges, their flags and bounds, and how several end in one status. */
#include "device/blk_fixture.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER 16u
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define DISK (1u << 20)
#define SECTORS (DISK / 512)

static int open_with(void **state, const struct blk_world_config *config)
{
	struct blk_world *world = calloc(1, sizeof(*world));

	blk_world_open(world, config);
	*state = world;
	return 0;
}

static int setup(void **state)
{
	return open_with(state, &(struct blk_world_config){ 0 });
}

static int setup_4k(void **state)
{
	return open_with(state, &(struct blk_world_config){ .logical_block_size = 4096 });
}

static int setup_no_discard(void **state)
{
	return open_with(state, &(struct blk_world_config){ .spy_no_discard = true });
}

static int teardown(void **state)
{
	blk_world_close(*state);
	free(*state);
	return 0;
}

static void assert_seen(const struct blk_world *world, unsigned index, enum block_op op,
			uint64_t offset, uint64_t bytes)
{
	const struct blk_seen *seen = &world->spy.seen[index];

	assert_true(index < world->spy.count);
	assert_int_equal(seen->op, op);
	assert_int_equal(seen->offset, offset);
	assert_int_equal(seen->bytes, bytes);
}

#define RANGE(sector_, sectors_, flags_)                                    \
	{                                                                   \
		.sector = sector_, .num_sectors = sectors_, .flags = flags_ \
	}

static const struct {
	const char *what;
	uint32_t type;
	struct virtio_blk_discard_write_zeroes ranges[4];
	unsigned count;
	uint8_t status;
} range_cases[] = {
	{ "one", VIRTIO_BLK_T_DISCARD, { RANGE(8, 16, 0) }, 1, OK },
	{ "several",
	  VIRTIO_BLK_T_DISCARD,
	  { RANGE(8, 16, 0), RANGE(0, 8, 0), RANGE(100, 1, 0) },
	  3,
	  OK },
	{ "none", VIRTIO_BLK_T_DISCARD, { RANGE(0, 0, 0) }, 0, IOERR },
	{ "the last sector", VIRTIO_BLK_T_DISCARD, { RANGE(SECTORS - 1, 1, 0) }, 1, OK },
	{ "past the end", VIRTIO_BLK_T_DISCARD, { RANGE(SECTORS - 1, 2, 0) }, 1, IOERR },
	{ "second past the end: none is done",
	  VIRTIO_BLK_T_DISCARD,
	  { RANGE(0, 8, 0), RANGE(SECTORS, 1, 0) },
	  2,
	  IOERR },
	{ "longer than offered", VIRTIO_BLK_T_DISCARD, { RANGE(0, 513, 0) }, 1, IOERR },
	{ "second longer than offered: none is done",
	  VIRTIO_BLK_T_DISCARD,
	  { RANGE(0, 8, 0), RANGE(0, 513, 0) },
	  2,
	  IOERR },
	{ "as long as offered", VIRTIO_BLK_T_DISCARD, { RANGE(0, 512, 0) }, 1, OK },
	{ "sector overflows", VIRTIO_BLK_T_DISCARD, { RANGE(UINT64_MAX, 1, 0) }, 1, IOERR },
	{ "bytes overflow", VIRTIO_BLK_T_DISCARD, { RANGE(1ull << 55, 1, 0) }, 1, IOERR },
	{ "count overflows", VIRTIO_BLK_T_DISCARD, { RANGE(0, UINT32_MAX, 0) }, 1, IOERR },
	{ "discard with unmap", VIRTIO_BLK_T_DISCARD, { RANGE(0, 8, 1) }, 1, UNSUPP },
	{ "discard with unknown flag", VIRTIO_BLK_T_DISCARD, { RANGE(0, 8, 2) }, 1, UNSUPP },
	{ "second with unmap: none is done",
	  VIRTIO_BLK_T_DISCARD,
	  { RANGE(0, 8, 0), RANGE(8, 8, 1) },
	  2,
	  UNSUPP },
	{ "zeroes", VIRTIO_BLK_T_WRITE_ZEROES, { RANGE(8, 16, 0) }, 1, OK },
	{ "zeroes with unmap",
	  VIRTIO_BLK_T_WRITE_ZEROES,
	  { RANGE(8, 16, 1), RANGE(24, 8, 0) },
	  2,
	  OK },
	{ "zeroes with unknown flag", VIRTIO_BLK_T_WRITE_ZEROES, { RANGE(8, 16, 3) }, 1, UNSUPP },
	{ "zeroes with highest flag",
	  VIRTIO_BLK_T_WRITE_ZEROES,
	  { RANGE(8, 16, 1u << 31) },
	  1,
	  UNSUPP },
	{ "zeroes past the end",
	  VIRTIO_BLK_T_WRITE_ZEROES,
	  { RANGE(0, 8, 1), RANGE(SECTORS, 8, 1) },
	  2,
	  IOERR },
};

static void ranges_to_wire(struct virtio_blk_discard_write_zeroes *wire,
			   const struct virtio_blk_discard_write_zeroes *ranges, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		wire[i] = (struct virtio_blk_discard_write_zeroes){ htole64(ranges[i].sector),
								    htole32(ranges[i].num_sectors),
								    htole32(ranges[i].flags) };
}

static void test_ranges_when_given_then_all_are_checked_before_the_first_is_done(void **state)
{
	struct blk_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(range_cases); i++) {
		const struct virtio_blk_discard_write_zeroes *ranges = range_cases[i].ranges;
		struct virtio_blk_discard_write_zeroes wire[4];
		unsigned count = range_cases[i].count;
		bool discard = range_cases[i].type == VIRTIO_BLK_T_DISCARD;
		uint8_t status;

		world->spy.count = 0;
		ranges_to_wire(wire, ranges, count);
		status = blk_run(world, range_cases[i].type, 0, wire, count * HEADER, NULL, 0);
		if (status != range_cases[i].status)
			fail_msg("%s: status %d", range_cases[i].what, status);
		assert_int_equal(world->spy.count, status == OK ? count : 0);
		for (unsigned j = 0; j < world->spy.count; j++) {
			assert_seen(world, j, discard ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES,
				    ranges[j].sector * 512, ranges[j].num_sectors * 512);
			assert_int_equal(world->spy.seen[j].flags,
					 ranges[j].flags ? BLOCK_MAY_UNMAP : 0);
		}
	}
}

static void test_ranges_when_not_in_whole_entries_then_ioerr(void **state)
{
	struct virtio_blk_discard_write_zeroes wire[BLK_RANGES_MAX + 1] = { 0 };
	struct blk_world *world = *state;

	for (uint32_t bytes = 0; bytes <= 3 * HEADER; bytes++)
		assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, wire, bytes, NULL, 0),
				 bytes && bytes % HEADER == 0 ? OK : IOERR);
	assert_int_equal(world->spy.count, 0); /* of no length: nothing to do */
	ranges_to_wire(wire, (struct virtio_blk_discard_write_zeroes[33]){ RANGE(0, 8, 0) }, 33);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, wire, BLK_RANGES_MAX * HEADER,
				 NULL, 0),
			 OK);
	assert_int_equal(world->spy.count, 1);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, wire,
				 (BLK_RANGES_MAX + 1) * HEADER, NULL, 0),
			 IOERR);
	assert_int_equal(world->spy.count, 1);
}

static void run_ranges_later(struct blk_world *world, unsigned count, int result, uint8_t status)
{
	struct virtio_blk_discard_write_zeroes wire[4];
	unsigned taken = world->f.taken;
	struct blk_shape shape;

	ranges_to_wire(wire,
		       (struct virtio_blk_discard_write_zeroes[4]){
			       RANGE(0, 8, 0), RANGE(8, 8, 0), RANGE(16, 8, 0), RANGE(24, 8, 0) },
		       4);
	world->spy.count = 0;
	shape = blk_shape(world, VIRTIO_BLK_T_DISCARD, 0, sizeof(wire), 0);
	memcpy(shape.out + HEADER, wire, sizeof(wire));
	blk_submit_shape(world, &shape);
	for (unsigned i = 1; i <= count; i++) {
		fixture_wait(&world->f, world->spy.held);
		assert_int_equal(world->spy.count, i);
		assert_int_equal(fixture_take(&world->f), 0);
		memset(shape.out + HEADER, 0xff, sizeof(wire)); /* copied before */
		blk_spy_let_go(&world->spy, i == count ? result : 0);
	}
	fixture_wait_taken(&world->f, taken + 1);
	assert_int_equal(world->spy.count, count);
	assert_int_equal(blk_shape_status(&shape), status);
}

static void test_ranges_when_done_later_then_one_after_the_other_and_one_status(void **state)
{
	struct blk_world *world = *state;

	world->spy.later = true;
	run_ranges_later(world, 4, 0, OK);
	run_ranges_later(world, 4, -EIO, IOERR);
	run_ranges_later(world, 2, -EIO, IOERR); /* the first error ends it */
	run_ranges_later(world, 1, -ENOTSUP, UNSUPP);
	run_ranges_later(world, 4, 0, OK);
}

static void test_ranges_when_one_fails_at_once_then_the_rest_is_not_tried(void **state)
{
	struct virtio_blk_discard_write_zeroes wire[3];
	struct blk_world *world = *state;

	ranges_to_wire(wire,
		       (struct virtio_blk_discard_write_zeroes[3]){ RANGE(0, 8, 0), RANGE(8, 8, 0),
								    RANGE(16, 8, 0) },
		       3);
	world->spy.fail_at = 2;
	world->spy.fail_result = -ENOSPC;
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_WRITE_ZEROES, 0, wire, sizeof(wire), NULL, 0),
			 IOERR);
	assert_int_equal(world->spy.count, 2);
}

static void test_ranges_when_write_through_then_zeroes_are_stable(void **state)
{
	struct virtio_blk_discard_write_zeroes wire = { .num_sectors = htole32(8),
							.flags = htole32(1) };
	struct blk_world *world = *state;

	blk_device_set_acked(world->device, 0);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_WRITE_ZEROES, 0, &wire, sizeof(wire), NULL, 0),
			 OK);
	assert_int_equal(world->spy.seen[0].flags, BLOCK_FUA | BLOCK_MAY_UNMAP);
	wire.flags = 0;
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &wire, sizeof(wire), NULL, 0), OK);
	assert_int_equal(world->spy.seen[1].flags, 0);
}

static void test_ranges_when_the_node_cannot_then_unsupp(void **state)
{
	struct virtio_blk_discard_write_zeroes wire = { .num_sectors = htole32(8) };
	struct blk_world *world = *state;

	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &wire, sizeof(wire), NULL, 0),
			 UNSUPP);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_WRITE_ZEROES, 0, &wire, sizeof(wire), NULL, 0),
			 UNSUPP);
	assert_int_equal(world->spy.count, 0);
}

static void test_ranges_when_not_in_whole_logical_blocks_then_ioerr(void **state)
{
	struct virtio_blk_discard_write_zeroes good = { htole64(8), htole32(16), 0 }, bad[] = {
		{ htole64(4), htole32(8), 0 },
		{ htole64(8), htole32(4), 0 },
	};
	struct blk_world *world = *state;

	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &good, sizeof(good), NULL, 0), OK);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &bad[0], HEADER, NULL, 0), IOERR);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &bad[1], HEADER, NULL, 0), IOERR);
	assert_int_equal(world->spy.count, 1);
}

#define blk_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define blk_case_with(test, setup_with) cmocka_unit_test_setup_teardown(test, setup_with, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		blk_case(test_ranges_when_given_then_all_are_checked_before_the_first_is_done),
		blk_case(test_ranges_when_not_in_whole_entries_then_ioerr),
		blk_case(test_ranges_when_done_later_then_one_after_the_other_and_one_status),
		blk_case(test_ranges_when_one_fails_at_once_then_the_rest_is_not_tried),
		blk_case(test_ranges_when_write_through_then_zeroes_are_stable),
		blk_case_with(test_ranges_when_the_node_cannot_then_unsupp, setup_no_discard),
		blk_case_with(test_ranges_when_not_in_whole_logical_blocks_then_ioerr, setup_4k),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
