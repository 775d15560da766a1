/* SPDX-License-Identifier: MIT */
/* virtio-blk requests, one at a time: every type, every odd shape, every refusal. What reaches the disk is seen by a spy. */
#include "base/atomic.h"
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

static int setup_read_only(void **state)
{
	return open_with(state, &(struct blk_world_config){ .read_only = true });
}

static int setup_4k(void **state)
{
	return open_with(state, &(struct blk_world_config){ .logical_block_size = 4096 });
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

static uint8_t run_simple(struct blk_world *world, uint32_t type, uint64_t sector,
			  uint32_t out_bytes, uint32_t in_bytes)
{
	static uint8_t data[DISK * 2];

	return blk_run(world, type, sector, data, out_bytes, data, in_bytes);
}

/* ---- types ---- */

static void test_request_when_of_each_type_then_the_disk_sees_it(void **state)
{
	struct blk_world *world = *state;

	assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 8, 0, 4096), OK);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 16, 1024, 0), OK);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_FLUSH, 0, 0, 0), OK);
	assert_int_equal(world->spy.count, 3);
	assert_seen(world, 0, BLOCK_READ, 4096, 4096);
	assert_seen(world, 1, BLOCK_WRITE, 8192, 1024);
	assert_seen(world, 2, BLOCK_FLUSH, 0, 0);
}

static void test_request_when_type_is_unknown_then_unsupp(void **state)
{
	static const uint32_t types[] = { 2,  3,  5,  7,           9,           10,        12,
					  14, 15, 16, 0x80000000u, 0x80000001u, UINT32_MAX };
	struct blk_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(run_simple(world, types[i], 0, 512, 0), UNSUPP);
		assert_int_equal(run_simple(world, types[i], 0, 0, 512), UNSUPP);
	}
	assert_int_equal(world->spy.count, 0);
}

static void test_get_id_when_asked_then_the_serial_padded(void **state)
{
	static const char serial[BLK_ID_BYTES] = "ringlane-test";
	struct blk_world *world = *state;
	char id[64];

	for (uint32_t room = 1; room <= sizeof(id); room++) {
		memset(id, 0x55, sizeof(id));
		assert_int_equal(blk_run(world, VIRTIO_BLK_T_GET_ID, 0, NULL, 0, id, room), OK);
		assert_memory_equal(id, serial, MIN(room, (uint32_t)BLK_ID_BYTES));
		for (uint32_t i = BLK_ID_BYTES; i < room; i++)
			assert_int_equal(id[i], 0); /* as it was in guest memory */
	}
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_GET_ID, 0, NULL, 0, NULL, 0), OK);
	assert_int_equal(world->spy.count, 0);
}

/* ---- bounds ---- */

static void test_request_when_outside_or_misaligned_then_ioerr(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t bytes;
		uint8_t status;
	} cases[] = {
		{ 0, 0, OK },
		{ SECTORS, 0, OK },
		{ SECTORS + 1, 0, IOERR },
		{ SECTORS - 1, 512, OK },
		{ 0, DISK, OK },
		{ SECTORS, 512, IOERR },
		{ SECTORS - 1, 1024, IOERR },
		{ 0, DISK + 512, IOERR },
		{ 0, 1, IOERR },
		{ 0, 511, IOERR },
		{ 0, 513, IOERR },
		{ UINT64_MAX, 512, IOERR },
		{ UINT64_MAX / 512, 512, IOERR },
		{ UINT64_MAX / 512 + 1, 512, IOERR },
		{ (1ull << 55) + 3, 512, IOERR },
		{ 1ull << 63, 512, IOERR },
	};
	struct blk_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t expected = cases[i].status;

		world->spy.count = 0;
		assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, cases[i].sector, 0,
					    cases[i].bytes),
				 expected);
		assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, cases[i].sector,
					    cases[i].bytes, 0),
				 expected);
		assert_int_equal(world->spy.count, expected == OK && cases[i].bytes ? 2 : 0);
	}
}

static void test_request_when_not_in_whole_logical_blocks_then_ioerr(void **state)
{
	struct blk_world *world = *state;

	assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 8, 0, 4096), OK);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 8, 0, 512), IOERR);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 1, 0, 4096), IOERR);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 8, 4096, 0), OK);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 4, 4096, 0), IOERR);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 8, 5120, 0), IOERR);
	assert_int_equal(world->spy.count, 2);
}

static void test_request_when_the_disk_fails_then_its_status(void **state)
{
	static const struct {
		int result;
		uint8_t status;
	} cases[] = { { 0, OK },
		      { -EIO, IOERR },
		      { -ENOSPC, IOERR },
		      { -EROFS, IOERR },
		      { -ENOTSUP, UNSUPP } };
	struct blk_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		world->spy.fail_at = world->spy.count + 1;
		world->spy.fail_result = cases[i].result;
		assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 0, 0, 512), cases[i].status);
		world->spy.fail_at = world->spy.count + 1;
		assert_int_equal(run_simple(world, VIRTIO_BLK_T_FLUSH, 0, 0, 0), cases[i].status);
	}
}

/* ---- read-only ---- */

static void test_read_only_when_written_then_ioerr_and_nothing_is_written(void **state)
{
	struct blk_world *world = *state;
	struct virtio_blk_discard_write_zeroes range = { .num_sectors = htole32(8) };

	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 0, 512, 0), IOERR);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_OUT, 0, 0, 0), IOERR);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_DISCARD, 0, &range, sizeof(range), NULL, 0),
			 UNSUPP);
	assert_int_equal(blk_run(world, VIRTIO_BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), NULL,
				 0),
			 UNSUPP);
	assert_int_equal(world->spy.count, 0);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_IN, 0, 0, 512), OK);
	assert_int_equal(run_simple(world, VIRTIO_BLK_T_FLUSH, 0, 0, 0), OK);
}

/* ---- shapes ---- */

/* The next way to cut `bytes` into at most three pieces; false after the last. */
static bool next_cut(uint32_t cuts[4], uint32_t bytes)
{
	if (cuts[0] == 0) {
		cuts[0] = bytes;
		return true;
	}
	if (cuts[1] == 0) {
		cuts[0] = 1;
		cuts[1] = bytes - 1;
		return true;
	}
	if (cuts[2] == 0 && cuts[0] + 1 < bytes) {
		cuts[0]++;
		cuts[1]--;
		return true;
	}
	if (cuts[2] == 0) {
		cuts[0] = cuts[1] = 1;
		cuts[2] = bytes - 2;
		return true;
	}
	if (cuts[2] > 1) {
		cuts[1]++;
		cuts[2]--;
		return true;
	}
	cuts[0]++;
	cuts[1] = 1;
	if (cuts[0] + 2 > bytes)
		return false;
	cuts[2] = bytes - cuts[0] - 1;
	return true;
}

static void read_with_header_cut(struct blk_world *world, const uint32_t cuts[4], bool share_status)
{
	struct blk_shape shape;

	fixture_free_all(&world->f);
	shape = blk_shape(world, VIRTIO_BLK_T_IN, 6, 0, 1024);
	memcpy(shape.out_cuts, cuts, 4 * sizeof(cuts[0]));
	memcpy(shape.in_cuts, share_status ? (uint32_t[4]){ 512, 513 } : (uint32_t[4]){ 1024, 1 },
	       16);
	assert_int_equal(blk_run_shape(world, &shape), OK);
	assert_int_equal(world->spy.count, 1);
	assert_seen(world, 0, BLOCK_READ, 3072, 1024);
	world->spy.count = 0;
}

/* The last piece of the header also begins the data. */
static void write_with_header_cut(struct blk_world *world, const uint32_t cuts[4], uint32_t share)
{
	struct blk_shape shape;
	unsigned last = 0;

	fixture_free_all(&world->f);
	shape = blk_shape(world, VIRTIO_BLK_T_OUT, 6, 1024, 0);
	memcpy(shape.out_cuts, cuts, 4 * sizeof(cuts[0]));
	while (shape.out_cuts[last + 1])
		last++;
	shape.out_cuts[last] += share;
	shape.out_cuts[last + 1] = 1024 - share;
	assert_int_equal(blk_run_shape(world, &shape), OK);
	assert_int_equal(world->spy.count, 1);
	assert_seen(world, 0, BLOCK_WRITE, 3072, 1024);
	world->spy.count = 0;
}

static void test_header_when_cut_anyhow_then_it_is_understood(void **state)
{
	struct blk_world *world = *state;
	uint32_t cuts[4] = { 0 };
	unsigned count = 0;

	while (next_cut(cuts, HEADER)) {
		assert_int_equal(cuts[0] + cuts[1] + cuts[2], HEADER);
		read_with_header_cut(world, cuts, false);
		read_with_header_cut(world, cuts, true);
		write_with_header_cut(world, cuts, 0);
		write_with_header_cut(world, cuts, 1);
		write_with_header_cut(world, cuts, 700);
		write_with_header_cut(world, cuts, 1024);
		count++;
	}
	assert_int_equal(count, 1 + 15 + 105);
}

static void test_data_when_in_many_descriptors_then_all_of_them_reach_the_disk(void **state)
{
	struct blk_world *world = *state;

	for (uint32_t piece = 1; piece <= 100; piece += 9) {
		struct blk_shape shape;
		uint32_t bytes = 0;
		unsigned i = 0;

		fixture_free_all(&world->f);
		shape = blk_shape(world, VIRTIO_BLK_T_IN, 0, 0, 512);
		for (; i < 30 && bytes + piece < 512; i++, bytes += piece)
			shape.in_cuts[i] = piece;
		shape.in_cuts[i++] = 513 - bytes; /* status included */
		shape.in_cuts[i] = 0;
		assert_int_equal(blk_run_shape(world, &shape), OK);
		assert_seen(world, world->spy.count - 1, BLOCK_READ, 0, 512);
		assert_int_equal(world->spy.seen[world->spy.count - 1].iov_count, i);
	}
}

static void test_read_when_data_is_also_readable_then_it_is_not_written_there(void **state)
{
	struct blk_world *world = *state;
	struct blk_shape shape = blk_shape(world, VIRTIO_BLK_T_IN, 0, 512, 512);

	assert_int_equal(blk_run_shape(world, &shape), OK);
	assert_seen(world, 0, BLOCK_READ, 0, 512);
	assert_int_equal(world->spy.seen[0].iov_count, 1);
}

static void test_write_when_more_is_writable_then_only_the_status_counts(void **state)
{
	struct blk_world *world = *state;
	struct blk_shape shape = blk_shape(world, VIRTIO_BLK_T_OUT, 0, 512, 100);

	assert_int_equal(blk_run_shape(world, &shape), OK);
	assert_seen(world, 0, BLOCK_WRITE, 0, 512);
}

/* ---- malformed ---- */

static void test_request_when_header_is_short_then_ioerr(void **state)
{
	struct blk_world *world = *state;

	for (uint32_t bytes = 0; bytes < HEADER; bytes++) {
		struct blk_shape shape = blk_shape(world, VIRTIO_BLK_T_IN, 0, 0, 512);

		shape.out_cuts[0] = bytes;
		shape.out_cuts[1] = 0;
		assert_int_equal(blk_run_shape(world, &shape), IOERR);
		shape = blk_shape(world, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		shape.out_cuts[0] = bytes / 2;
		shape.out_cuts[1] = bytes / 2 ? bytes - bytes / 2 : 0;
		assert_int_equal(blk_run_shape(world, &shape), IOERR);
	}
	assert_int_equal(world->spy.count, 0);
}

static void test_request_when_nothing_is_writable_then_the_lane_breaks(void **state)
{
	struct blk_world *world = *state;
	struct blk_shape shape = blk_shape(world, VIRTIO_BLK_T_OUT, 0, 512, 0);

	shape.in_cuts[0] = 0;
	assert_string_equal(blk_break_shape(world, &shape),
			    "a request without a writable byte for its status");
	assert_int_equal(world->spy.count, 0);
}

/* The same 4 MiB of guest memory again and again, on a disk that is larger than that. */
static uint8_t run_repeated(struct blk_world *world, unsigned times)
{
	struct fixture_header {
		struct virtio_blk_outhdr header;
		uint8_t status;
	} *place = fixture_alloc(&world->f, sizeof(*place));
	struct virtq_sg sg[BLK_SEG_MAX + 2];
	uint8_t *data = fixture_alloc(&world->f, 4u << 20);
	unsigned taken = world->f.taken + 1;

	place->header.type = htole32(VIRTIO_BLK_T_IN);
	place->status = BLK_STATUS_NONE;
	sg[0] = (struct virtq_sg){ fixture_guest(&world->f, &place->header), 16 };
	for (unsigned i = 0; i < times; i++)
		sg[i + 1] = (struct virtq_sg){ fixture_guest(&world->f, data), 4u << 20 };
	sg[times + 1] = (struct virtq_sg){ fixture_guest(&world->f, &place->status), 1 };
	fixture_add(&world->f, sg, 1, times + 1);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, taken);
	fixture_free_all(&world->f);
	return place->status;
}

static void test_request_when_longer_than_told_then_ioerr(void **state)
{
	struct blk_world_config config = { .spy_size = 1ull << 40 };
	struct blk_world *world = calloc(1, sizeof(*world));

	blk_world_open(world, &config);
	fixture_stop(&world->f);
	fixture_restart_ring(&world->f, 256);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	assert_int_equal(run_repeated(world, 124), OK);
	assert_int_equal(run_repeated(world, 125), IOERR);
	blk_world_close(world);
	free(world);
}

/* An indirect table of its own: more descriptors than a slot takes. */
static void test_request_when_too_many_descriptors_then_ioerr(void **state)
{
	struct blk_world *world = *state;
	unsigned count = LANE_IOV_MAX + 20;
	struct virtq_desc *ring, *table;
	struct blk_shape shape;

	fixture_stop(&world->f);
	fixture_restart_ring(&world->f, 256);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	shape = blk_shape(world, VIRTIO_BLK_T_OUT, 0, 4096, 0);
	table = fixture_alloc(&world->f, count * sizeof(*table));
	ring = world->f.ring.memory.desc;
	for (unsigned i = 0; i < count; i++)
		table[i] = (struct virtq_desc){ le64_make(fixture_guest(&world->f, shape.out) + i),
						le32_make(1), le16_make(1),
						le16_make((uint16_t)(i + 1)) };
	table[count - 1] = (struct virtq_desc){ le64_make(fixture_guest(&world->f, shape.in)),
						le32_make(1), le16_make(2), le16_make(0) };
	ring[0] = (struct virtq_desc){ le64_make(fixture_guest(&world->f, table)),
				       le32_make(count * (uint32_t)sizeof(*table)), le16_make(4),
				       le16_make(0) };
	world->f.ring.memory.avail->ring[0] = le16_make(0);
	world->f.ring.memory.avail->idx = le16_make(1);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, load_relaxed(shape.in) != BLK_STATUS_NONE);
	assert_int_equal(shape.in[0], IOERR);
	assert_int_equal(world->spy.count, 0);
}

#define blk_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define blk_case_with(test, setup_with) cmocka_unit_test_setup_teardown(test, setup_with, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		blk_case(test_request_when_of_each_type_then_the_disk_sees_it),
		blk_case(test_request_when_type_is_unknown_then_unsupp),
		blk_case(test_get_id_when_asked_then_the_serial_padded),
		blk_case(test_request_when_outside_or_misaligned_then_ioerr),
		blk_case_with(test_request_when_not_in_whole_logical_blocks_then_ioerr, setup_4k),
		blk_case(test_request_when_the_disk_fails_then_its_status),
		blk_case_with(test_read_only_when_written_then_ioerr_and_nothing_is_written,
			      setup_read_only),
		blk_case(test_header_when_cut_anyhow_then_it_is_understood),
		blk_case(test_data_when_in_many_descriptors_then_all_of_them_reach_the_disk),
		blk_case(test_read_when_data_is_also_readable_then_it_is_not_written_there),
		blk_case(test_write_when_more_is_writable_then_only_the_status_counts),
		blk_case(test_request_when_header_is_short_then_ioerr),
		blk_case(test_request_when_nothing_is_writable_then_the_lane_breaks),
		cmocka_unit_test(test_request_when_longer_than_told_then_ioerr),
		blk_case(test_request_when_too_many_descriptors_then_ioerr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
