/* SPDX-License-Identifier: MIT */
/* VERIFY and WRITE AND VERIFY: what is compared, what a difference is called, how long runs are cut. */
#include "scsi/fixture.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512u

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i / BLOCK + i * 7 + seed);
}

static void test_verify_10_when_nothing_is_sent_then_the_medium_is_read(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x2f, 0x10, 0, 0, 0, 3, 0, 0, 5, 0));
	scsi_assert_good(f);
}

static void test_verify_when_no_blocks_then_good(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x2f, 0x02, 0, 0, 0, 3, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x2e, 0x02, 0, 0, 0, 3, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static void test_verify_when_data_is_the_same_then_good(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[5 * BLOCK];

	fill(data, sizeof(data), 1);
	scsi_fixture_poke(f, 0, 3 * BLOCK, data, sizeof(data));
	scsi_do_out(f, FIRST, CDB(0x2f, 0x02, 0, 0, 0, 3, 0, 0, 5, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0xaf, 0x02, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0x8f, 0x02, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0), data,
		    sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
}

/* Each byte counts, the last one of each piece of memory too. */
static void test_verify_when_one_byte_differs_then_miscompare_in_its_block(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[6 * BLOCK];

	fill(data, sizeof(data), 1);
	scsi_fixture_poke(f, 0, 3 * BLOCK, data, sizeof(data));
	for (size_t at = 0; at < sizeof(data); at += 127) {
		data[at] ^= 0x20;
		scsi_do_out(f, FIRST, CDB(0x2f, 0x02, 0, 0, 0, 3, 0, 0, 6, 0), data, sizeof(data));
		scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
		scsi_assert_information(f, 3 + at / BLOCK);
		data[at] ^= 0x20;
	}
}

static void test_verify_when_not_compared_then_other_data_is_good(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[2 * BLOCK];

	memset(data, 'x', sizeof(data));
	scsi_do_out(f, FIRST, CDB(0x2f, 0x00, 0, 0, 0, 3, 0, 0, 2, 0), data, sizeof(data));
	scsi_assert_good(f);
}

static void test_verify_when_all_blocks_are_like_the_one_then_good(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[4 * BLOCK];

	fill(data, BLOCK, 9);
	for (unsigned i = 1; i < 4; i++)
		memcpy(data + i * BLOCK, data, BLOCK);
	scsi_fixture_poke(f, 0, 8 * BLOCK, data, sizeof(data));
	scsi_do_out(f, FIRST, CDB(0x2f, 0x06, 0, 0, 0, 8, 0, 0, 4, 0), data, BLOCK);
	scsi_assert_good(f);
	data[3 * BLOCK - 1] ^= 1;
	scsi_fixture_poke(f, 0, 8 * BLOCK, data, sizeof(data));
	scsi_do_out(f, FIRST, CDB(0x2f, 0x06, 0, 0, 0, 8, 0, 0, 4, 0), data, BLOCK);
	scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
	scsi_assert_information(f, 10);
}

static void test_verify_when_bytchk_is_reserved_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[BLOCK] = { 0 };

	scsi_do_out(f, FIRST, CDB(0x2f, 0x04, 0, 0, 0, 0, 0, 0, 1, 0), data, sizeof(data));
	scsi_assert_bad_cdb(f, 1, 2);
	scsi_do_out(f, FIRST, CDB(0x2e, 0x04, 0, 0, 0, 0, 0, 0, 1, 0), data, sizeof(data));
	scsi_assert_bad_cdb(f, 1, 2);
	scsi_do_out(f, FIRST, CDB(0x2e, 0x06, 0, 0, 0, 0, 0, 0, 1, 0), data, sizeof(data));
	scsi_assert_bad_cdb(f, 1, 2);
}

/* More than one piece and more than one turn: 8 MiB of a disk that completes inside submit. */
static void test_verify_when_it_is_long_then_in_pieces_to_the_last_block(void **state)
{
	const uint64_t size = 8ull << 20;
	struct scsi_fixture *f = *state;
	uint8_t *data = malloc(size);

	assert_non_null(data);
	fill(data, size, 3);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "long", size), NULL);
	scsi_fixture_clear_attentions(f);
	scsi_fixture_poke(f, f->target_unit, 0, data, size);
	scsi_do_out(f, FIRST, CDB(0x2f, 0x02, 0, 0, 0, 0, 0, 0x40, 0, 0), data, size);
	scsi_assert_good(f);
	data[size - 1] ^= 1;
	scsi_do_out(f, FIRST, CDB(0x2f, 0x02, 0, 0, 0, 0, 0, 0x40, 0, 0), data, size);
	scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
	scsi_assert_information(f, 0x3fff);
	free(data);
}

static void
test_verify_when_it_is_long_then_others_have_their_turn_and_it_can_be_aborted(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };

	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "long", 64ull << 20), NULL);
	scsi_fixture_clear_attentions(f);
	scsi_run_start(f, &run, FIRST, CDB(0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0),
		       &(struct scsi_run_data){ 0 });
	assert_int_equal(run.done_count, 0);
	scsi_task_cancel(&run.task);
	scsi_run_wait(&run);
	assert_int_not_equal(run.task.status, SCSI_GOOD);
	assert_null(run.task.state);
	scsi_run_fini(&run);
}

static void test_verify_when_the_medium_cannot_be_read_then_said_so(void **state)
{
	struct scsi_fixture *f = *state;
	struct block_node *bad = NULL;
	struct block_error_config config = { .name = "bad",
					     .child = f->node,
					     .op_mask = 1u << BLOCK_READ,
					     .offset = 7 * BLOCK,
					     .bytes = BLOCK };

	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, CDB(0x2f, 0, 0, 0, 0, 8, 0, 0, 5, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x2f, 0, 0, 0, 0, 3, 0, 0, 5, 0));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_UNRECOVERED_READ_ERROR);
}

static void check_written(struct scsi_fixture *f, const uint8_t *cdb, size_t cdb_bytes,
			  unsigned seed)
{
	uint8_t data[3 * BLOCK], found[3 * BLOCK];

	fill(data, sizeof(data), seed);
	scsi_do_out(f, FIRST, cdb, cdb_bytes, data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	scsi_fixture_peek(f, 0, 4 * BLOCK, found, sizeof(found));
	assert_memory_equal(found, data, sizeof(data));
}

static void test_write_and_verify_then_written(void **state)
{
	struct scsi_fixture *f = *state;

	check_written(f, CDB(0x2e, 0x10, 0, 0, 0, 4, 0, 0, 3, 0), 1);
	check_written(f, CDB(0x2e, 0x02, 0, 0, 0, 4, 0, 0, 3, 0), 2);
	check_written(f, CDB(0xae, 0x02, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0), 3);
	check_written(f, CDB(0x8e, 0x02, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0), 4);
}

/* A disk that forgets what it is told. */
static void test_write_and_verify_when_the_medium_has_something_else_then_miscompare(void **state)
{
	const struct block_null_config config = { .name = "null", .read_zeroes = true };
	struct scsi_fixture *f = *state;
	struct block_node *null = NULL;
	uint8_t data[3 * BLOCK] = { 0 };

	assert_int_equal(block_null_open(f->graph, &config, &null, NULL), 0);
	f->target_unit = scsi_fixture_add(f, null, NULL);
	scsi_fixture_clear_attentions(f);
	data[2 * BLOCK] = 1;
	scsi_do_out(f, FIRST, CDB(0x2e, 0x00, 0, 0, 0, 4, 0, 0, 3, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0x2e, 0x02, 0, 0, 0, 4, 0, 0, 3, 0), data, sizeof(data));
	scsi_assert_sense(f, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
	scsi_assert_information(f, 6);
}

static void test_write_and_verify_when_writing_fails_then_nothing_is_verified(void **state)
{
	struct scsi_fixture *f = *state;
	struct block_node *bad = NULL;
	struct block_error_config config = { .name = "bad",
					     .child = f->node,
					     .op_mask = 1u << BLOCK_WRITE };
	uint8_t data[BLOCK] = { 1 };

	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do_out(f, FIRST, CDB(0x2e, 0x02, 0, 0, 0, 0, 0, 0, 1, 0), data, sizeof(data));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_verify_10_when_nothing_is_sent_then_the_medium_is_read),
		scsi_test(test_verify_when_no_blocks_then_good),
		scsi_test(test_verify_when_data_is_the_same_then_good),
		scsi_test(test_verify_when_one_byte_differs_then_miscompare_in_its_block),
		scsi_test(test_verify_when_not_compared_then_other_data_is_good),
		scsi_test(test_verify_when_all_blocks_are_like_the_one_then_good),
		scsi_test(test_verify_when_bytchk_is_reserved_then_refused),
		scsi_test(test_verify_when_it_is_long_then_in_pieces_to_the_last_block),
		scsi_test(
			test_verify_when_it_is_long_then_others_have_their_turn_and_it_can_be_aborted),
		scsi_test(test_verify_when_the_medium_cannot_be_read_then_said_so),
		scsi_test(test_write_and_verify_then_written),
		scsi_test(test_write_and_verify_when_the_medium_has_something_else_then_miscompare),
		scsi_test(test_write_and_verify_when_writing_fails_then_nothing_is_verified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
