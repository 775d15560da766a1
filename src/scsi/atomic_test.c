/* SPDX-License-Identifier: MIT */
/* COMPARE AND WRITE and ORWRITE: what they find, what they write, and that nobody comes in between. */
#include "scsi/fixture.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512u

/* COMPARE AND WRITE of two blocks at block 5. */
#define COMPARE_2 CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0)
#define ORWRITE_2 CDB(0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0)

/* The disk has 'a' there; data: what it is compared with, then what is to be written. */
static void put_a(struct scsi_fixture *f, uint8_t data[4 * BLOCK])
{
	memset(data, 'a', 2 * BLOCK);
	memset(data + 2 * BLOCK, 'b', 2 * BLOCK);
	scsi_fixture_poke(f, 0, 5 * BLOCK, data, 2 * BLOCK);
}

static void check_disk(struct scsi_fixture *f, uint8_t byte)
{
	uint8_t found[4 * BLOCK], expected[4 * BLOCK] = { 0 };

	memset(expected + BLOCK, byte, 2 * BLOCK);
	scsi_fixture_peek(f, 0, 4 * BLOCK, found, sizeof(found));
	assert_memory_equal(found, expected, sizeof(found));
}

static void test_compare_when_equal_then_written_alone(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];

	put_a(f, data);
	scsi_do_out(f, FIRST, COMPARE_2, data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	check_disk(f, 'b');
	assert_int_equal(f->exclusive_count, 1);
}

static void test_compare_when_not_twice_the_blocks_then_refused(void **state)
{
	static const size_t sizes[] = { 0, 2 * BLOCK, 4 * BLOCK - 1, 4 * BLOCK + 1, 6 * BLOCK };
	struct scsi_fixture *f = *state;
	uint8_t data[6 * BLOCK] = { 0 };

	put_a(f, data);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		scsi_do_out(f, FIRST, COMPARE_2, data, sizes[i]);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	}
	/* a count of 256 has no room in its byte, and is none */
	scsi_do_out(f, FIRST, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0), data, BLOCK);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	check_disk(f, 'a');
}

static void test_compare_when_a_byte_differs_then_its_offset_and_nothing_written(void **state)
{
	static const unsigned places[] = { 0, 1, 340, 341, 511, 512, 700, 1023 };
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];

	put_a(f, data);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		data[places[i]] = 'x';
		scsi_do_out(f, FIRST, COMPARE_2, data, sizeof(data));
		scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
		scsi_assert_information(f, places[i]);
		check_disk(f, 'a');
		data[places[i]] = 'a';
	}
}

/* What the data holds when the command begins to run counts: two that want the same block, one wins. */
static void test_compare_when_two_want_the_same_then_one_of_them_wins(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];
	struct scsi_run runs[2] = { 0 };

	put_a(f, data);
	f->hold_exclusive = true;
	for (unsigned i = 0; i < 2; i++)
		scsi_run_start(f, &runs[i], (enum scsi_who)i, COMPARE_2,
			       &(struct scsi_run_data){ .out = data, .out_bytes = sizeof(data) });
	scsi_fixture_grant(f);
	scsi_run_wait(&runs[0]);
	assert_int_equal(runs[0].task.status, SCSI_GOOD);
	scsi_fixture_grant(f);
	scsi_run_wait(&runs[1]);
	assert_int_equal(scsi_sense_key_of(&runs[1].task), SCSI_MISCOMPARE);
	check_disk(f, 'b');
	scsi_run_fini(&runs[0]);
	scsi_run_fini(&runs[1]);
}

static void test_compare_when_aborted_while_it_waits_then_nothing_written(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];
	struct scsi_run run = { 0 };

	put_a(f, data);
	f->hold_exclusive = true;
	scsi_run_start(f, &run, FIRST, COMPARE_2,
		       &(struct scsi_run_data){ .out = data, .out_bytes = sizeof(data) });
	assert_int_equal(run.done_count, 0);
	scsi_fixture_abandon(f);
	assert_int_equal(run.done_count, 1);
	check_disk(f, 'a');
	scsi_run_fini(&run);
}

static void test_compare_when_no_blocks_then_good(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

/* Blocks of 16 KiB: the longest one does not fit into one piece. */
static void
test_compare_when_longer_than_a_piece_then_all_is_compared_before_it_is_written(void **state)
{
	const size_t half = 255u << 14, disk = 300u << 14;
	const struct scsi_unit_config config = { .logical_block_size = 1u << 14 };
	struct scsi_fixture *f = *state;
	uint8_t *data = calloc(2, half), *found = malloc(half);

	assert_non_null(data);
	assert_non_null(found);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "big", disk), &config);
	scsi_fixture_clear_attentions(f);
	memset(data + half, 'b', half);
	data[half - 1] = 1;
	scsi_do_out(f, FIRST, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0), data,
		    2 * half);
	scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
	scsi_assert_information(f, half - 1);
	data[half - 1] = 0;
	scsi_fixture_peek(f, f->target_unit, 0, found, half);
	assert_memory_equal(found, data, half);
	scsi_do_out(f, FIRST, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0), data,
		    2 * half);
	scsi_assert_good(f);
	scsi_fixture_peek(f, f->target_unit, 0, found, half);
	assert_memory_equal(found, data + half, half);
	free(found);
	free(data);
}

/* The disk fails this operation in block 6. */
static void use_bad_disk(struct scsi_fixture *f, enum block_op op)
{
	struct block_error_config config = { .name = "bad",
					     .child = f->node,
					     .op_mask = 1u << op,
					     .offset = 6 * BLOCK,
					     .bytes = BLOCK };
	struct block_node *bad = NULL;

	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
}

static void test_compare_when_the_disk_cannot_read_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];

	put_a(f, data);
	use_bad_disk(f, BLOCK_READ);
	scsi_do_out(f, FIRST, COMPARE_2, data, sizeof(data));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_UNRECOVERED_READ_ERROR);
	check_disk(f, 'a');
}

static void test_compare_when_the_disk_cannot_write_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];

	put_a(f, data);
	use_bad_disk(f, BLOCK_WRITE);
	scsi_do_out(f, FIRST, COMPARE_2, data, sizeof(data));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	check_disk(f, 'a');
}

static void test_orwrite_then_bits_are_added(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[2 * BLOCK];

	memset(data, 0x81, sizeof(data));
	scsi_fixture_poke(f, 0, 5 * BLOCK, data, sizeof(data));
	memset(data, 0x24, sizeof(data));
	scsi_do_out(f, FIRST, ORWRITE_2, data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	check_disk(f, 0xa5);
	assert_int_equal(f->exclusive_count, 1);
}

static void test_orwrite_when_no_blocks_then_good(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static void test_orwrite_when_longer_than_a_piece_then_to_the_last_byte(void **state)
{
	const size_t size = (5u << 20) + BLOCK;
	struct scsi_fixture *f = *state;
	uint8_t *data = malloc(size), *found = malloc(size);

	assert_non_null(data);
	assert_non_null(found);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "big", size), NULL);
	scsi_fixture_clear_attentions(f);
	memset(data, 0x40, size);
	scsi_fixture_poke(f, f->target_unit, 0, data, size);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i / BLOCK);
	scsi_do_out(f, FIRST, CDB(0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0x01, 0, 0), data,
		    size);
	scsi_assert_good(f);
	scsi_fixture_peek(f, f->target_unit, 0, found, size);
	for (size_t i = 0; i < size; i++)
		data[i] |= 0x40;
	assert_memory_equal(found, data, size);
	free(found);
	free(data);
}

static void test_orwrite_when_the_disk_cannot_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[2 * BLOCK] = { 1 };

	use_bad_disk(f, BLOCK_WRITE);
	scsi_do_out(f, FIRST, ORWRITE_2, data, sizeof(data));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	check_disk(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_compare_when_equal_then_written_alone),
		scsi_test(test_compare_when_not_twice_the_blocks_then_refused),
		scsi_test(test_compare_when_a_byte_differs_then_its_offset_and_nothing_written),
		scsi_test(test_compare_when_two_want_the_same_then_one_of_them_wins),
		scsi_test(test_compare_when_aborted_while_it_waits_then_nothing_written),
		scsi_test(test_compare_when_no_blocks_then_good),
		scsi_test(
			test_compare_when_longer_than_a_piece_then_all_is_compared_before_it_is_written),
		scsi_test(test_compare_when_the_disk_cannot_read_then_said_so),
		scsi_test(test_compare_when_the_disk_cannot_write_then_said_so),
		scsi_test(test_orwrite_then_bits_are_added),
		scsi_test(test_orwrite_when_no_blocks_then_good),
		scsi_test(test_orwrite_when_longer_than_a_piece_then_to_the_last_byte),
		scsi_test(test_orwrite_when_the_disk_cannot_then_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
