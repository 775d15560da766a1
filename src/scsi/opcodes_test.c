/* SPDX-License-Identifier: MIT */
/* The table agrees with itself, and what its masks leave out is refused. */
#include "scsi/fixture.h"

#include <string.h>

#define SERVICE_ACTION 0x1f

#define FOR_EACH_ROW(row)                                                                          \
	for (const struct scsi_opcode *row = scsi_opcodes; row < scsi_opcodes + scsi_opcode_count; \
	     row++)

/* SPC-4, 4.2.5.1: the group of the code says how long the CDB is. */
static unsigned group_bytes(uint8_t opcode)
{
	static const unsigned bytes[] = { 6, 10, 10, 0, 16, 12, 0, 0 };

	return bytes[opcode >> 5];
}

static void make_cdb(const struct scsi_opcode *row, uint8_t cdb[16])
{
	memset(cdb, 0, 16);
	cdb[0] = row->opcode;
	if (row->service_action >= 0)
		cdb[1] = (uint8_t)row->service_action;
}

static void test_rows_when_read_in_order_then_ascend(void **state)
{
	for (unsigned i = 1; i < scsi_opcode_count; i++) {
		const struct scsi_opcode *a = &scsi_opcodes[i - 1], *b = &scsi_opcodes[i];

		assert_true(a->opcode < b->opcode ||
			    (a->opcode == b->opcode && a->service_action >= 0 &&
			     a->service_action < b->service_action));
	}
}

static void test_rows_when_measured_then_usage_is_as_long_as_the_cdb(void **state)
{
	FOR_EACH_ROW(row)
	{
		assert_int_equal(row->cdb_bytes, group_bytes(row->opcode));
		assert_int_equal(row->usage[0], row->opcode);
		if (row->service_action >= 0)
			assert_int_equal(row->usage[1] & SERVICE_ACTION, row->service_action);
		assert_int_equal(row->usage[row->cdb_bytes - 1], 0); /* CONTROL */
		for (unsigned i = row->cdb_bytes; i < sizeof(row->usage); i++)
			assert_int_equal(row->usage[i], 0);
		assert_non_null(row->execute);
		assert_non_null(row->name);
	}
}

/* Where a layout has its numbers all bits are used: none is read that was not checked. */
static void test_rows_when_they_have_a_layout_then_its_bits_are_used(void **state)
{
	static const struct {
		unsigned lba, lba_bytes, length, length_bytes;
	} fields[] = {
		[SCSI_CDB_BLOCKS_6] = { 2, 2, 4, 1 },
		[SCSI_CDB_BLOCKS_10] = { 2, 4, 7, 2 },
		[SCSI_CDB_BLOCKS_12] = { 2, 4, 6, 4 },
		[SCSI_CDB_BLOCKS_16] = { 2, 8, 10, 4 },
		[SCSI_CDB_ATOMIC_16] = { 2, 8, 12, 2 },
		[SCSI_CDB_COMPARE_16] = { 2, 8, 13, 1 },
		[SCSI_CDB_LBA_16] = { 2, 8, 10, 4 },
		[SCSI_CDB_LENGTH_8_AT_4] = { 0, 0, 4, 1 },
		[SCSI_CDB_LENGTH_16_AT_3] = { 0, 0, 3, 2 },
		[SCSI_CDB_LENGTH_16_AT_7] = { 0, 0, 7, 2 },
		[SCSI_CDB_LENGTH_32_AT_5] = { 0, 0, 5, 4 },
		[SCSI_CDB_LENGTH_32_AT_6] = { 0, 0, 6, 4 },
		[SCSI_CDB_LENGTH_32_AT_10] = { 0, 0, 10, 4 },
	};

	FOR_EACH_ROW(row)
	{
		for (unsigned i = 0; i < fields[row->layout].lba_bytes; i++)
			assert_int_equal(row->usage[fields[row->layout].lba + i], 0xff);
		for (unsigned i = 0; i < fields[row->layout].length_bytes; i++)
			assert_int_equal(row->usage[fields[row->layout].length + i], 0xff);
	}
}

static bool takes_blocks(const struct scsi_opcode *row)
{
	return row->data == SCSI_DATA_OUT_BLOCKS || row->data == SCSI_DATA_OUT_BLOCK ||
	       row->data == SCSI_DATA_OUT_TWICE;
}

static void test_rows_when_they_write_then_they_conflict_and_are_protected(void **state)
{
	FOR_EACH_ROW(row)
	{
		if (takes_blocks(row))
			assert_true(row->flags & SCSI_OP_WRITES);
		if (row->flags & SCSI_OP_WRITES)
			assert_int_equal(row->reservation, SCSI_RES_WRITE);
		if (row->data == SCSI_DATA_IN_BLOCKS) {
			assert_int_equal(row->reservation, SCSI_RES_READ);
			assert_false(row->flags & SCSI_OP_WRITES);
		}
		if (row->flags & SCSI_OP_FUA)
			assert_true(row->usage[1] & 0x08);
		if (row->flags & SCSI_OP_PROTECT)
			assert_int_equal(row->usage[1] & 0xe0, 0);
	}
}

/* The only three that answer whatever is in the way, and of a LUN that is not there (SAM-5, 5.14). */
static void test_rows_when_they_answer_anywhere_then_they_are_three(void **state)
{
	FOR_EACH_ROW(row)
	{
		bool three = row->opcode == 0x03 || row->opcode == 0x12 || row->opcode == 0xa0;

		assert_int_equal(!!(row->flags & SCSI_OP_NO_ATTENTION), three);
		assert_int_equal(!!(row->flags & SCSI_OP_WITHOUT_UNIT), three);
		assert_int_equal(!!(row->flags & SCSI_OP_WELL_KNOWN), three || row->opcode == 0x00);
	}
}

static void test_find_when_asked_for_each_row_then_finds_it(void **state)
{
	FOR_EACH_ROW(row)
	{
		uint8_t cdb[16];
		bool known;

		make_cdb(row, cdb);
		if (row->service_action >= 0)
			cdb[1] |= 0xe0; /* bits beside the service action do not matter */
		assert_ptr_equal(scsi_opcode_find(cdb, &known), row);
		assert_true(known);
	}
}

static bool is_in_table(unsigned opcode, unsigned service_action, bool *ret_known)
{
	bool found = false;

	*ret_known = false;
	FOR_EACH_ROW(row)
	{
		if (row->opcode != opcode)
			continue;
		*ret_known = true;
		found |= row->service_action < 0 || row->service_action == (int)service_action;
	}
	return found;
}

static void test_find_when_asked_for_all_codes_then_knows_those_of_the_table(void **state)
{
	for (unsigned code = 0; code < 256; code++) {
		for (unsigned action = 0; action <= SERVICE_ACTION; action++) {
			const uint8_t cdb[16] = { (uint8_t)code, (uint8_t)action };
			bool known, expected;
			bool found = is_in_table(code, action, &expected);

			assert_int_equal(scsi_opcode_find(cdb, &known) != NULL, found);
			assert_int_equal(known, expected);
		}
	}
}

static bool selects_action(const struct scsi_opcode *row, unsigned byte, unsigned bit)
{
	return row->service_action >= 0 && byte == 1 && bit < 5;
}

static void check_bits(struct scsi_fixture *f, const struct scsi_opcode *row)
{
	for (unsigned byte = 1; byte < row->cdb_bytes; byte++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t cdb[16];

			if (selects_action(row, byte, bit) || row->usage[byte] >> bit & 1)
				continue;
			make_cdb(row, cdb);
			cdb[byte] |= (uint8_t)(1 << bit);
			scsi_do(f, FIRST, cdb, row->cdb_bytes);
			scsi_assert_bad_cdb(f, byte, (int)bit);
		}
	}
}

static void test_bits_when_the_mask_leaves_them_out_then_refused_by_name(void **state)
{
	FOR_EACH_ROW(row)
	check_bits(*state, row);
}

/* All that is refused at once: the first byte and its leftmost bit are named. */
static void test_bits_when_several_are_wrong_then_the_first_is_named(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x28, 0x05, 0, 0, 0, 0, 0xe0, 0, 0, 0x04));
	scsi_assert_bad_cdb(f, 1, 2);
	scsi_do(f, FIRST, CDB(0x28, 0x00, 0, 0, 0, 0, 0xe0, 0, 0, 0x04));
	scsi_assert_bad_cdb(f, 6, 7);
	scsi_do(f, FIRST, CDB(0x28, 0x00, 0, 0, 0, 0, 0x00, 0, 0, 0x44));
	scsi_assert_bad_cdb(f, 9, 6);
}

/* What lies behind a short CDB is not part of it. */
static void test_bits_when_behind_the_cdb_then_nobody_looks(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST,
		CDB(0x00, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		    0xff));
	scsi_assert_good(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_when_read_in_order_then_ascend),
		cmocka_unit_test(test_rows_when_measured_then_usage_is_as_long_as_the_cdb),
		cmocka_unit_test(test_rows_when_they_have_a_layout_then_its_bits_are_used),
		cmocka_unit_test(test_rows_when_they_write_then_they_conflict_and_are_protected),
		cmocka_unit_test(test_rows_when_they_answer_anywhere_then_they_are_three),
		cmocka_unit_test(test_find_when_asked_for_each_row_then_finds_it),
		cmocka_unit_test(test_find_when_asked_for_all_codes_then_knows_those_of_the_table),
		scsi_test(test_bits_when_the_mask_leaves_them_out_then_refused_by_name),
		scsi_test(test_bits_when_several_are_wrong_then_the_first_is_named),
		scsi_test(test_bits_when_behind_the_cdb_then_nobody_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
