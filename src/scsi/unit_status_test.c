/* SPDX-License-Identifier: MIT */
/* How the unit is: readiness, sense, start and stop, removal, capacity, defects. */
#include "scsi/fixture.h"

#include <errno.h>
#include <string.h>

#define TEST_UNIT_READY CDB(0x00, 0, 0, 0, 0, 0)
#define START_STOP(byte_3, byte_4) CDB(0x1b, 0, 0, byte_3, byte_4, 0)
#define STOP START_STOP(0, 0x00)
#define START START_STOP(0, 0x01)

static unsigned got(const struct scsi_fixture *f)
{
	assert_int_equal(f->run.task.fit, SCSI_FITS);
	return (unsigned)(f->run.task.in_bytes - f->run.task.residual);
}

static void read_block(struct scsi_fixture *f, enum scsi_who who)
{
	uint8_t block[512];

	scsi_do_in(f, who, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
}

/* ---- TEST UNIT READY, START STOP UNIT ---- */

static void test_stop_when_done_then_no_medium_command_until_start(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
	scsi_do(f, FIRST, STOP);
	scsi_assert_good(f);
	for (enum scsi_who who = FIRST; who <= SECOND; who++) {
		scsi_do(f, who, TEST_UNIT_READY);
		scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
		read_block(f, who);
		scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	}
	scsi_do(f, SECOND, START);
	scsi_assert_good(f);
	read_block(f, FIRST);
	scsi_assert_good(f);
}

static void test_start_stop_when_immediate_then_the_same(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x1b, 0x01, 0, 0, 0x00, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	scsi_do(f, FIRST, CDB(0x1b, 0x01, 0, 0, 0x01, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

static void test_stop_when_the_flush_fails_then_still_started(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct block_error_config config = {
		.name = "broken",
		.child = scsi_fixture_ram(f, "disk", 1 << 20),
		.op_mask = 1 << BLOCK_FLUSH,
		.error = -EIO,
	};
	struct block_node *node = NULL;

	assert_int_equal(block_error_open(f->graph, &config, &node, NULL), 0);
	scsi_fixture_add(f, node, NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, STOP);
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
	scsi_do(f, FIRST, START_STOP(0, 0x04)); /* NO_FLUSH */
	scsi_assert_good(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	scsi_fixture_free(f);
}

static void test_start_stop_when_the_medium_should_move_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, START_STOP(0, 0x02));
	scsi_assert_bad_cdb(f, 4, 1);
	scsi_do(f, FIRST, START_STOP(0, 0x03));
	scsi_assert_bad_cdb(f, 4, 1);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

static void test_start_stop_when_a_power_condition_is_named_then_only_active(void **state)
{
	struct scsi_fixture *f = *state;

	for (unsigned condition = 1; condition < 16; condition++) {
		scsi_do(f, FIRST, START_STOP(0, (uint8_t)(condition << 4)));
		if (condition == 1)
			scsi_assert_good(f);
		else
			scsi_assert_bad_cdb(f, 4, 7);
		scsi_do(f, FIRST, TEST_UNIT_READY);
		scsi_assert_good(f);
	}
	scsi_do(f, FIRST, START_STOP(0x01, 0x10));
	scsi_assert_bad_cdb(f, 3, 3);
	scsi_do(f, FIRST, STOP);
	scsi_do(f, FIRST, START_STOP(0, 0x10));
	scsi_assert_good(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

static void test_stop_when_the_unit_is_reset_then_started(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, STOP);
	scsi_unit_reset(f->unit);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

/* ---- REQUEST SENSE ---- */

static void request_sense(struct scsi_fixture *f, bool descriptor, uint8_t bytes[96])
{
	scsi_do_in(f, FIRST, CDB(0x03, descriptor, 0, 0, 96, 0), bytes, 96);
	scsi_assert_good(f);
}

static void assert_request_sense(struct scsi_fixture *f, enum scsi_sense_key key, unsigned asc)
{
	uint8_t bytes[96];

	request_sense(f, false, bytes);
	assert_int_equal(bytes[2], key);
	assert_int_equal(be16_get(bytes + 12), asc);
}

static void test_request_sense_when_all_is_well_then_no_sense_in_either_format(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t fixed[18] = { 0x70, 0, 0, 0, 0, 0, 0, 10 };
	const uint8_t descriptor[8] = { 0x72 };
	uint8_t bytes[96];

	request_sense(f, false, bytes);
	assert_int_equal(got(f), 18);
	assert_memory_equal(bytes, fixed, 18);
	request_sense(f, true, bytes);
	assert_int_equal(got(f), 8);
	assert_memory_equal(bytes, descriptor, 8);
}

static void test_request_sense_when_an_attention_is_pending_then_told_once(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_CAPACITY_CHANGED);
	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_BUS_DEVICE_RESET);
	scsi_do(f, FIRST, CDB(0x03, 0, 0, 0, 0, 0));
	scsi_assert_good(f); /* nobody looked: nothing is lost */
	assert_request_sense(f, SCSI_UNIT_ATTENTION, SCSI_ASC_BUS_DEVICE_RESET);
	assert_request_sense(f, SCSI_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
	assert_request_sense(f, SCSI_NO_SENSE, SCSI_ASC_NONE);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

static void test_request_sense_when_not_ready_then_says_why(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, STOP);
	assert_request_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	or_relaxed(&f->unit->slow, SCSI_UNIT_SANITIZE_FAILED);
	assert_request_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
}

static void test_request_sense_when_an_exception_is_tested_then_told_until_it_ends(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t select[] = { 0, 0, 0, 0, 0x1c, 0x0a, 0x04, 6, 0, 0, 0, 0, 0, 0, 0, 0 };

	scsi_do_out(f, FIRST, CDB(0x15, 0x10, 0, 0, sizeof(select), 0), select, sizeof(select));
	scsi_assert_good(f);
	assert_request_sense(f, SCSI_NO_SENSE, SCSI_ASC_FAILURE_PREDICTION_FALSE);
	assert_request_sense(f, SCSI_NO_SENSE, SCSI_ASC_FAILURE_PREDICTION_FALSE);
	select[7] = 0; /* MRIE: no reporting */
	scsi_do_out(f, FIRST, CDB(0x15, 0x10, 0, 0, sizeof(select), 0), select, sizeof(select));
	scsi_assert_good(f);
	assert_request_sense(f, SCSI_NO_SENSE, SCSI_ASC_NONE);
}

/* ---- PREVENT ALLOW MEDIUM REMOVAL ---- */

static void prevent(struct scsi_fixture *f, enum scsi_who who, uint8_t value)
{
	scsi_do(f, who, CDB(0x1e, 0, 0, 0, value, 0));
}

static void test_prevent_when_anybody_does_then_prevented_until_all_allow(void **state)
{
	struct scsi_fixture *f = *state;

	assert_false(scsi_unit_removal_prevented(f->unit));
	prevent(f, FIRST, 1);
	scsi_assert_good(f);
	prevent(f, SECOND, 1);
	assert_true(scsi_unit_removal_prevented(f->unit));
	prevent(f, FIRST, 0);
	scsi_assert_good(f);
	assert_true(scsi_unit_removal_prevented(f->unit));
	scsi_nexus_lost(f->nexuses[SECOND], SCSI_ASC_NEXUS_LOSS);
	assert_false(scsi_unit_removal_prevented(f->unit));
}

static void test_prevent_when_obsolete_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	prevent(f, FIRST, 2);
	scsi_assert_bad_cdb(f, 4, 1);
	prevent(f, FIRST, 3);
	scsi_assert_bad_cdb(f, 4, 1);
	assert_false(scsi_unit_removal_prevented(f->unit));
}

/* ---- READ CAPACITY ---- */

#define READ_CAPACITY_10 CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0)
#define READ_CAPACITY_16(length) CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0)

static void test_capacity_10_when_asked_then_last_block_and_size(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t wanted[8] = { 0, 0, 0x07, 0xff, 0, 0, 2, 0 };
	uint8_t bytes[8];

	scsi_do_in(f, FIRST, READ_CAPACITY_10, bytes, 8);
	scsi_assert_good(f);
	assert_int_equal(got(f), 8);
	assert_memory_equal(bytes, wanted, 8);
}

static void test_capacity_16_when_asked_then_what_inquiry_says_too(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[32], provisioning[8];

	f->node->limits.physical_block_size = 4096;
	scsi_do_in(f, FIRST, READ_CAPACITY_16(32), bytes, 32);
	scsi_assert_good(f);
	assert_int_equal(got(f), 32);
	assert_int_equal(be64_get(bytes), 2047);
	assert_int_equal(be32_get(bytes + 8), 512);
	assert_int_equal(bytes[12], 0); /* no protection information */
	assert_int_equal(bytes[13], 3);
	scsi_do_in(f, FIRST, CDB(0x12, 1, 0xb2, 0, 8, 0), provisioning, 8);
	scsi_assert_good(f);
	assert_int_equal(bytes[14] >> 7, provisioning[5] >> 7);         /* LBPME, LBPU */
	assert_int_equal(bytes[14] >> 6 & 1, provisioning[5] >> 2 & 1); /* LBPRZ */
	assert_int_equal(bytes[14], 0xc0);                              /* a ram disk deallocates */
}

static void test_capacity_16_when_nothing_can_be_unmapped_then_fully_provisioned(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[32];

	f->node->limits.discard_max = 0;
	scsi_do_in(f, FIRST, READ_CAPACITY_16(32), bytes, 32);
	scsi_assert_good(f);
	assert_int_equal(bytes[13], 0);
	assert_int_equal(bytes[14], 0);
}

static void test_capacity_16_when_the_allocation_length_is_short_then_cut(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[255];

	for (unsigned length = 0; length < sizeof(bytes); length++) {
		scsi_do_in(f, FIRST, READ_CAPACITY_16((uint8_t)length), bytes, length);
		scsi_assert_good(f);
		assert_int_equal(got(f), MIN(length, 32u));
	}
}

static void test_capacity_when_the_disk_is_large_then_only_16_can_tell(void **state)
{
	const struct {
		uint64_t blocks;
		uint32_t last;
	} rows[] = {
		{ 0xffffffffull, 0xfffffffe },
		{ 0x100000000ull, 0xffffffff },
		{ 0x100000001ull, 0xffffffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scsi_fixture *f = scsi_fixture_new();
		struct block_null_config config = { .name = "big", .size = rows[i].blocks * 512 };
		struct block_node *node = NULL;
		uint8_t bytes[32];

		assert_int_equal(block_null_open(f->graph, &config, &node, NULL), 0);
		scsi_fixture_add(f, node, NULL);
		scsi_fixture_clear_attentions(f);
		scsi_do_in(f, FIRST, READ_CAPACITY_10, bytes, 8);
		assert_int_equal(be32_get(bytes), rows[i].last);
		scsi_do_in(f, FIRST, READ_CAPACITY_16(32), bytes, 32);
		assert_int_equal(be64_get(bytes), rows[i].blocks - 1);
		scsi_fixture_free(f);
	}
}

static void test_capacity_when_there_is_no_block_then_no_medium(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t size = f->node->size;
	uint8_t bytes[32];

	store_relaxed(&f->node->size, 511);
	scsi_do_in(f, FIRST, READ_CAPACITY_10, bytes, 8);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_MEDIUM_NOT_PRESENT);
	scsi_do_in(f, FIRST, READ_CAPACITY_16(32), bytes, 32);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_MEDIUM_NOT_PRESENT);
	store_relaxed(&f->node->size, size);
}

/* ---- READ DEFECT DATA ---- */

static void test_defects_when_asked_then_empty_lists_in_the_wanted_format(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[32];

	for (uint8_t flags = 0; flags < 0x20; flags++) {
		const uint8_t wanted[8] = { 0, flags };
		bool known = (flags & 7) < 6;

		scsi_do_in(f, FIRST, CDB(0x37, 0, flags, 0, 0, 0, 0, 0, 32, 0), bytes, 32);
		if (known) {
			scsi_assert_good(f);
			assert_int_equal(got(f), 4);
			assert_memory_equal(bytes, wanted, 4);
		} else {
			scsi_assert_bad_cdb(f, 2, 2);
		}
		scsi_do_in(f, FIRST, CDB(0xb7, flags, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), bytes, 32);
		if (known) {
			scsi_assert_good(f);
			assert_int_equal(got(f), 8);
			assert_memory_equal(bytes, wanted, 8);
		} else {
			scsi_assert_bad_cdb(f, 1, 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_stop_when_done_then_no_medium_command_until_start),
		scsi_test(test_start_stop_when_immediate_then_the_same),
		cmocka_unit_test(test_stop_when_the_flush_fails_then_still_started),
		scsi_test(test_start_stop_when_the_medium_should_move_then_refused),
		scsi_test(test_start_stop_when_a_power_condition_is_named_then_only_active),
		scsi_test(test_stop_when_the_unit_is_reset_then_started),
		scsi_test(test_request_sense_when_all_is_well_then_no_sense_in_either_format),
		scsi_test(test_request_sense_when_an_attention_is_pending_then_told_once),
		scsi_test(test_request_sense_when_not_ready_then_says_why),
		scsi_test(test_request_sense_when_an_exception_is_tested_then_told_until_it_ends),
		scsi_test(test_prevent_when_anybody_does_then_prevented_until_all_allow),
		scsi_test(test_prevent_when_obsolete_then_refused),
		scsi_test(test_capacity_10_when_asked_then_last_block_and_size),
		scsi_test(test_capacity_16_when_asked_then_what_inquiry_says_too),
		scsi_test(test_capacity_16_when_nothing_can_be_unmapped_then_fully_provisioned),
		scsi_test(test_capacity_16_when_the_allocation_length_is_short_then_cut),
		cmocka_unit_test(test_capacity_when_the_disk_is_large_then_only_16_can_tell),
		scsi_test(test_capacity_when_there_is_no_block_then_no_medium),
		scsi_test(test_defects_when_asked_then_empty_lists_in_the_wanted_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
