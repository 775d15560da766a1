/* SPDX-License-Identifier: MIT */
/* UNMAP and WRITE SAME: lists that are wrong, what reads as zeroes afterwards, what else is left alone. */
#include "scsi/fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define DISK_BLOCKS 2048u

struct range {
	uint64_t lba;
	uint32_t blocks;
};

/* 'x' everywhere. */
static void fill_disk(struct scsi_fixture *f)
{
	uint8_t *bytes = malloc(DISK_BLOCKS * BLOCK);

	assert_non_null(bytes);
	memset(bytes, 'x', DISK_BLOCKS * BLOCK);
	scsi_fixture_poke(f, 0, 0, bytes, DISK_BLOCKS * BLOCK);
	free(bytes);
}

static void check_blocks(struct scsi_fixture *f, uint64_t lba, uint64_t blocks, uint8_t byte)
{
	uint8_t found[BLOCK], expected[BLOCK];

	memset(expected, byte, sizeof(expected));
	for (uint64_t i = 0; i < blocks; i++) {
		scsi_fixture_peek(f, 0, (lba + i) * BLOCK, found, BLOCK);
		assert_memory_equal(found, expected, BLOCK);
	}
}

/* Another disk over the first one, on which this operation fails. */
static void use_bad_disk(struct scsi_fixture *f, enum block_op op, int error)
{
	struct block_error_config config = {
		.name = "bad", .child = f->node, .op_mask = 1u << op, .error = error
	};
	struct block_node *bad = NULL;

	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
}

/* A disk that cannot give space back. */
static void use_thick_disk(struct scsi_fixture *f)
{
	f->node->limits.discard_max = 0;
}

/* ---- UNMAP ---- */

#define UNMAP_LIST_MAX (8 + 300 * 16)

static size_t unmap_list(uint8_t list[UNMAP_LIST_MAX], const struct range *ranges, unsigned count)
{
	memset(list, 0, UNMAP_LIST_MAX);
	be16_put(list, (uint16_t)(6 + count * 16));
	be16_put(list + 2, (uint16_t)(count * 16));
	for (unsigned i = 0; i < count; i++) {
		be64_put(list + 8 + i * 16, ranges[i].lba);
		be32_put(list + 8 + i * 16 + 8, ranges[i].blocks);
	}
	return 8 + count * 16;
}

static void do_unmap_list(struct scsi_fixture *f, const uint8_t *list, size_t size)
{
	scsi_do_out(f, FIRST, CDB(0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size, 0),
		    list, size);
}

static void do_unmap(struct scsi_fixture *f, const struct range *ranges, unsigned count)
{
	uint8_t list[UNMAP_LIST_MAX];

	do_unmap_list(f, list, unmap_list(list, ranges, count));
}

static void test_unmap_when_several_ranges_then_all_of_them_and_nothing_else(void **state)
{
	static const struct range ranges[] = { { 3, 5 }, { 100, 0 }, { 64, 16 }, { 2047, 1 } };
	struct scsi_fixture *f = *state;

	fill_disk(f);
	do_unmap(f, ranges, 4);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	check_blocks(f, 0, 3, 'x');
	check_blocks(f, 3, 5, 0);
	check_blocks(f, 8, 56, 'x');
	check_blocks(f, 64, 16, 0);
	check_blocks(f, 80, 1967, 'x');
	check_blocks(f, 2047, 1, 0);
}

static void test_unmap_when_there_is_nothing_to_do_then_good(void **state)
{
	static const struct range nothing[] = { { 0, 0 }, { DISK_BLOCKS, 0 } };
	struct scsi_fixture *f = *state;
	uint8_t list[UNMAP_LIST_MAX];

	fill_disk(f);
	scsi_do(f, FIRST, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	do_unmap(f, NULL, 0);
	scsi_assert_good(f);
	do_unmap(f, nothing, 2);
	scsi_assert_good(f);
	/* a descriptor that is cut does not count */
	unmap_list(list, &(struct range){ 0, 8 }, 1);
	be16_put(list + 2, 15);
	do_unmap_list(f, list, 8 + 15);
	scsi_assert_good(f);
	check_blocks(f, 0, DISK_BLOCKS, 'x');
}

static void test_unmap_when_lengths_are_wrong_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[UNMAP_LIST_MAX];

	fill_disk(f);
	unmap_list(list, (struct range[]){ { 0, 8 }, { 8, 8 } }, 2);
	for (size_t size = 1; size < 8 + 32; size++) {
		do_unmap_list(f, list, size);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	}
	check_blocks(f, 0, 16, 'x');
}

static void test_unmap_when_one_range_is_outside_then_nothing_is_unmapped(void **state)
{
	static const struct range bad[] = { { DISK_BLOCKS, 1 },
					    { DISK_BLOCKS + 1, 0 },
					    { 1, DISK_BLOCKS },
					    { UINT64_MAX, 2 },
					    { UINT64_MAX, 0 } };
	struct scsi_fixture *f = *state;

	fill_disk(f);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		do_unmap(f, (struct range[]){ { 0, 8 }, bad[i] }, 2);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	}
	check_blocks(f, 0, DISK_BLOCKS, 'x');
}

static void test_unmap_when_more_descriptors_than_allowed_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	struct range ranges[SCSI_UNMAP_DESCRIPTORS_MAX + 1];

	fill_disk(f);
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct range){ i, 1 };
	do_unmap(f, ranges, ARRAY_SIZE(ranges));
	scsi_assert_bad_parameter(f, 2, -1);
	check_blocks(f, 0, 1, 'x');
	do_unmap(f, ranges, SCSI_UNMAP_DESCRIPTORS_MAX);
	scsi_assert_good(f);
	check_blocks(f, 0, SCSI_UNMAP_DESCRIPTORS_MAX, 0);
	check_blocks(f, SCSI_UNMAP_DESCRIPTORS_MAX, 1, 'x');
}

static void test_unmap_when_more_blocks_than_allowed_then_refused(void **state)
{
	const struct block_null_config config = { .name = "null", .size = 16ull << 30 };
	struct scsi_fixture *f = *state;
	struct block_node *null = NULL;

	assert_int_equal(block_null_open(f->graph, &config, &null, NULL), 0);
	f->target_unit = scsi_fixture_add(f, null, NULL);
	scsi_fixture_clear_attentions(f);
	do_unmap(f, (struct range[]){ { 0, SCSI_UNMAP_BLOCKS_MAX } }, 1);
	scsi_assert_good(f);
	do_unmap(f, (struct range[]){ { 0, SCSI_UNMAP_BLOCKS_MAX }, { 9, 1 } }, 2);
	scsi_assert_bad_parameter(f, 8 + 16 + 8, -1);
}

static void test_unmap_when_the_disk_cannot_then_unknown_command(void **state)
{
	struct scsi_fixture *f = *state;

	use_thick_disk(f);
	do_unmap(f, (struct range[]){ { 0, 8 } }, 1);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

/* A file system without holes is found out when it is tried. */
static void test_unmap_when_the_node_finds_that_it_cannot_then_blocks_stay(void **state)
{
	struct scsi_fixture *f = *state;

	fill_disk(f);
	use_bad_disk(f, BLOCK_DISCARD, -ENOTSUP);
	do_unmap(f, (struct range[]){ { 0, 8 }, { 16, 8 } }, 2);
	scsi_assert_good(f);
	check_blocks(f, 0, 24, 'x');
}

static void test_unmap_when_the_disk_fails_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;

	use_bad_disk(f, BLOCK_DISCARD, -EIO);
	do_unmap(f, (struct range[]){ { 0, 8 } }, 1);
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
}

static void test_unmap_when_longer_than_the_node_takes_then_in_pieces(void **state)
{
	struct scsi_fixture *f = *state;

	fill_disk(f);
	f->node->limits.discard_max = 3 * BLOCK;
	do_unmap(f, (struct range[]){ { 1, 100 }, { 200, 2 } }, 2);
	scsi_assert_good(f);
	check_blocks(f, 0, 1, 'x');
	check_blocks(f, 1, 100, 0);
	check_blocks(f, 101, 99, 'x');
	check_blocks(f, 200, 2, 0);
	check_blocks(f, 202, 1, 'x');
}

/* ---- WRITE SAME ---- */

#define SAME_10(flags, lba, blocks) \
	CDB(0x41, flags, 0, 0, 0, lba, 0, (uint8_t)((blocks) >> 8), (uint8_t)(blocks), 0)
#define SAME_16(flags, lba, blocks)                                                \
	CDB(0x93, flags, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, (uint8_t)((blocks) >> 8), \
	    (uint8_t)(blocks), 0, 0)

static void test_write_same_then_each_block_has_it(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t block[BLOCK], found[BLOCK];

	for (unsigned i = 0; i < BLOCK; i++)
		block[i] = (uint8_t)(i * 3 + 1);
	scsi_do_out(f, FIRST, SAME_10(0, 4, 5), block, BLOCK);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	for (unsigned i = 4; i < 9; i++) {
		scsi_fixture_peek(f, 0, i * BLOCK, found, BLOCK);
		assert_memory_equal(found, block, BLOCK);
	}
	check_blocks(f, 3, 1, 0);
	check_blocks(f, 9, 1, 0);
}

static void check_zeroed(struct scsi_fixture *f, uint64_t lba, uint64_t blocks)
{
	scsi_assert_good(f);
	check_blocks(f, 0, lba, 'x');
	check_blocks(f, lba, blocks, 0);
	check_blocks(f, lba + blocks, DISK_BLOCKS - lba - blocks, 'x');
	fill_disk(f);
}

static void test_write_same_when_zeroes_then_zeroes(void **state)
{
	static const uint8_t zeroes[BLOCK];
	struct scsi_fixture *f = *state;

	fill_disk(f);
	scsi_do_out(f, FIRST, SAME_10(0, 5, 100), zeroes, BLOCK);
	check_zeroed(f, 5, 100);
	scsi_do_out(f, FIRST, SAME_10(0x08, 6, 100), zeroes, BLOCK);
	check_zeroed(f, 6, 100);
	scsi_do_out(f, FIRST, SAME_16(0x08, 7, 1000), zeroes, BLOCK);
	check_zeroed(f, 7, 1000);
	/* NDOB: no data */
	scsi_do(f, FIRST, SAME_16(0x01, 8, 100));
	check_zeroed(f, 8, 100);
	scsi_do(f, FIRST, SAME_16(0x09, 9, 100));
	check_zeroed(f, 9, 100);
}

static void test_write_same_when_unmapping_something_else_than_zeroes_then_written(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t block[BLOCK];

	memset(block, 'q', sizeof(block));
	scsi_do_out(f, FIRST, SAME_16(0x08, 5, 100), block, BLOCK);
	scsi_assert_good(f);
	check_blocks(f, 5, 100, 'q');
	check_blocks(f, 105, 1, 0);
	/* one last byte makes the difference */
	memset(block, 0, sizeof(block));
	block[BLOCK - 1] = 1;
	scsi_do_out(f, FIRST, SAME_16(0x08, 5, 1), block, BLOCK);
	scsi_fixture_peek(f, 0, 5 * BLOCK, block, BLOCK);
	assert_int_equal(block[BLOCK - 1], 1);
}

static void test_write_same_when_the_disk_cannot_unmap_then_only_that_is_refused(void **state)
{
	static const uint8_t zeroes[BLOCK];
	struct scsi_fixture *f = *state;

	fill_disk(f);
	use_thick_disk(f);
	scsi_do_out(f, FIRST, SAME_16(0x08, 5, 10), zeroes, BLOCK);
	scsi_assert_bad_cdb(f, 1, 3);
	scsi_do_out(f, FIRST, SAME_16(0x00, 5, 10), zeroes, BLOCK);
	check_zeroed(f, 5, 10);
}

static void test_write_same_when_no_blocks_then_refused(void **state)
{
	static const uint8_t zeroes[BLOCK];
	struct scsi_fixture *f = *state;

	fill_disk(f);
	scsi_do_out(f, FIRST, SAME_10(0, 7, 0), zeroes, BLOCK);
	scsi_assert_bad_cdb(f, 7, -1);
	scsi_do_out(f, FIRST, SAME_16(0, 9, 0), zeroes, BLOCK);
	scsi_assert_bad_cdb(f, 10, -1);
	check_blocks(f, 0, DISK_BLOCKS, 'x');
}

static void test_write_same_when_not_one_block_of_data_then_refused(void **state)
{
	static const uint8_t zeroes[2 * BLOCK];
	static const size_t sizes[] = { 0, BLOCK / 2, BLOCK + 1, 2 * BLOCK };
	struct scsi_fixture *f = *state;

	fill_disk(f);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		scsi_do_out(f, FIRST, SAME_10(0x08, 7, 2), zeroes, sizes[i]);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
		scsi_do_out(f, FIRST, SAME_16(0x08, 9, 2), zeroes, sizes[i]);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	}
	/* NDOB: none */
	scsi_do_out(f, FIRST, SAME_16(0x09, 9, 2), zeroes, BLOCK);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	check_blocks(f, 0, DISK_BLOCKS, 'x');
}

static void test_write_same_when_longer_than_allowed_then_refused(void **state)
{
	const struct block_null_config config = { .name = "null", .size = 16ull << 30 };
	static const uint8_t zeroes[BLOCK];
	struct scsi_fixture *f = *state;
	struct block_node *null = NULL;

	assert_int_equal(block_null_open(f->graph, &config, &null, NULL), 0);
	f->target_unit = scsi_fixture_add(f, null, NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do_out(f, FIRST, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0), zeroes,
		    BLOCK);
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), zeroes,
		    BLOCK);
	scsi_assert_bad_cdb(f, 10, -1);
}

static void test_write_same_when_the_node_makes_no_zeroes_then_they_are_written(void **state)
{
	static const uint8_t zeroes[BLOCK];
	struct scsi_fixture *f = *state;

	fill_disk(f);
	use_bad_disk(f, BLOCK_WRITE_ZEROES, -ENOTSUP);
	scsi_do_out(f, FIRST, SAME_16(0, 5, 1000), zeroes, BLOCK);
	check_zeroed(f, 5, 1000);
	f->target_unit = 0;
	f->node->limits.write_zeroes_max = 0;
	scsi_do_out(f, FIRST, SAME_16(0, 5, 1000), zeroes, BLOCK);
	check_zeroed(f, 5, 1000);
}

static void test_write_same_when_the_disk_fails_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t block[BLOCK] = { 1 };

	use_bad_disk(f, BLOCK_WRITE, -EIO);
	scsi_do_out(f, FIRST, SAME_10(0, 0, 9), block, BLOCK);
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
}

/* More than one piece, more than one turn. */
static void test_write_same_when_it_is_long_then_to_the_last_byte(void **state)
{
	const size_t size = 9u << 20;
	struct scsi_fixture *f = *state;
	uint8_t block[BLOCK], *found = malloc(size);

	assert_non_null(found);
	for (unsigned i = 0; i < BLOCK; i++)
		block[i] = (uint8_t)i;
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "long", size), NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do_out(f, FIRST, SAME_10(0, 1, size / BLOCK - 1), block, BLOCK);
	scsi_assert_good(f);
	scsi_fixture_peek(f, f->target_unit, 0, found, size);
	for (size_t at = 0; at < size; at++)
		assert_true(found[at] == (at < BLOCK ? 0 : (uint8_t)at));
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_unmap_when_several_ranges_then_all_of_them_and_nothing_else),
		scsi_test(test_unmap_when_there_is_nothing_to_do_then_good),
		scsi_test(test_unmap_when_lengths_are_wrong_then_refused),
		scsi_test(test_unmap_when_one_range_is_outside_then_nothing_is_unmapped),
		scsi_test(test_unmap_when_more_descriptors_than_allowed_then_refused),
		scsi_test(test_unmap_when_more_blocks_than_allowed_then_refused),
		scsi_test(test_unmap_when_the_disk_cannot_then_unknown_command),
		scsi_test(test_unmap_when_the_node_finds_that_it_cannot_then_blocks_stay),
		scsi_test(test_unmap_when_the_disk_fails_then_said_so),
		scsi_test(test_unmap_when_longer_than_the_node_takes_then_in_pieces),
		scsi_test(test_write_same_then_each_block_has_it),
		scsi_test(test_write_same_when_zeroes_then_zeroes),
		scsi_test(test_write_same_when_unmapping_something_else_than_zeroes_then_written),
		scsi_test(test_write_same_when_the_disk_cannot_unmap_then_only_that_is_refused),
		scsi_test(test_write_same_when_no_blocks_then_refused),
		scsi_test(test_write_same_when_not_one_block_of_data_then_refused),
		scsi_test(test_write_same_when_longer_than_allowed_then_refused),
		scsi_test(test_write_same_when_the_node_makes_no_zeroes_then_they_are_written),
		scsi_test(test_write_same_when_the_disk_fails_then_said_so),
		scsi_test(test_write_same_when_it_is_long_then_to_the_last_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
