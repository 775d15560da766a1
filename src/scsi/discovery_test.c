/* SPDX-License-Identifier: MIT */
/* What there is: LUNs, commands, task management functions, ports. */
#include "scsi/fixture.h"

#include <string.h>

#define BYTES 4096

static unsigned got(const struct scsi_fixture *f)
{
	return (unsigned)(f->run.task.in_bytes - f->run.task.residual);
}

/* ---- REPORT LUNS ---- */

static void set_luns(struct scsi_fixture *f, unsigned count)
{
	f->lun_count = count;
	for (unsigned i = 0; i < count; i++)
		be64_put((uint8_t *)&f->luns[i], (uint64_t)(0x4000 | i) << 48);
}

static void report_luns(struct scsi_fixture *f, uint8_t select, uint8_t *bytes, unsigned size)
{
	scsi_do_in(f, FIRST,
		   CDB(0xa0, 0, select, 0, 0, 0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size, 0, 0),
		   bytes, size);
}

static void test_luns_when_selected_then_those(void **state)
{
	struct scsi_fixture *f = *state;
	const struct {
		uint8_t select;
		unsigned luns, well_known;
	} rows[] = {
		{ 0x00, 3, 0 }, { 0x01, 0, 1 }, { 0x02, 3, 1 },
		{ 0x10, 0, 0 }, { 0x11, 3, 0 }, { 0x12, 0, 0 },
	};

	set_luns(f, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned count = rows[i].luns + rows[i].well_known;
		uint8_t bytes[BYTES];

		report_luns(f, rows[i].select, bytes, BYTES);
		scsi_assert_good(f);
		assert_int_equal(got(f), 8 + 8 * count);
		assert_int_equal(be32_get(bytes), 8 * count);
		assert_int_equal(be32_get(bytes + 4), 0);
		for (unsigned lun = 0; lun < rows[i].luns; lun++)
			assert_int_equal(be64_get(bytes + 8 + 8 * lun), (uint64_t)(0x4000 | lun)
										<< 48);
		if (rows[i].well_known)
			assert_int_equal(be64_get(bytes + 8 * count), 0xc101ull << 48);
	}
}

static void test_luns_when_the_selection_is_reserved_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	for (unsigned select = 0; select < 256; select++) {
		bool known = select <= 2 || (select >= 0x10 && select <= 0x12);

		report_luns(f, (uint8_t)select, bytes, sizeof(bytes));
		if (known)
			scsi_assert_good(f);
		else
			scsi_assert_bad_cdb(f, 2, -1);
	}
}

static void test_luns_when_there_are_many_then_all_or_as_many_as_fit(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	set_luns(f, SCSI_FIXTURE_LUNS_MAX);
	report_luns(f, 0x02, bytes, BYTES);
	scsi_assert_good(f);
	assert_int_equal(got(f), 8 + 8 * (SCSI_FIXTURE_LUNS_MAX + 1));
	for (unsigned length = 0; length < 40; length++) {
		report_luns(f, 0x02, bytes, length);
		scsi_assert_good(f);
		assert_int_equal(got(f), length);
		if (length >= 4)
			assert_int_equal(be32_get(bytes), 8 * (SCSI_FIXTURE_LUNS_MAX + 1));
	}
}

static void test_luns_when_reported_then_their_change_is_no_news(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_REPORTED_LUNS_CHANGED);
	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_CAPACITY_CHANGED);
	report_luns(f, 0xff, bytes, sizeof(bytes));
	scsi_assert_bad_cdb(f, 2, -1);
	report_luns(f, 0, bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(scsi_nexus_take_attention(f->nexuses[FIRST]), SCSI_ASC_CAPACITY_CHANGED);
	assert_int_equal(scsi_nexus_take_attention(f->nexuses[FIRST]), SCSI_ASC_NONE);
}

static void test_luns_when_there_is_no_unit_then_told_all_the_same(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	set_luns(f, 2);
	f->without_unit = true;
	report_luns(f, 0, bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(got(f), 24);
	f->without_unit = false;
	f->well_known = true;
	report_luns(f, 0, bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(got(f), 24);
}

/* The first look finds three, the second two: one was unplugged meanwhile. Or one has come. */
static unsigned second_look;

static unsigned list_that_changes(struct scsi_task *task, uint64_t *luns, unsigned max)
{
	if (max == 0)
		return 3;
	for (unsigned i = 0; i < MIN(max, second_look); i++)
		be64_put((uint8_t *)&luns[i], (uint64_t)(0x4001 + i) << 48);
	return second_look;
}

static void nothing_pends(struct scsi_task *task)
{
}

static void assert_done_good(struct scsi_task *task)
{
	assert_int_equal(task->status, SCSI_GOOD);
}

static void test_luns_when_they_change_meanwhile_then_none_is_made_up(void **state)
{
	const struct scsi_task_ops ops = { .list_luns = list_that_changes,
					   .luns_reported = nothing_pends };

	for (second_look = 2; second_look <= 4; second_look++) {
		unsigned count = MIN(second_look, 3u);
		uint8_t bytes[64];
		struct iovec in = { .iov_base = bytes, .iov_len = sizeof(bytes) };
		struct scsi_task task = {
			.ops = &ops,
			.cdb = { 0xa0, [9] = 64 },
			.cdb_length = 32,
			.in = &in,
			.in_count = 1,
			.in_bytes = sizeof(bytes),
			.done = assert_done_good,
		};

		scsi_task_execute(&task);
		assert_int_equal(task.residual, sizeof(bytes) - 8 - 8 * count);
		assert_int_equal(be32_get(bytes), 8 * count);
		assert_int_equal(be64_get(bytes + 8 * count), (0x4000ull + count) << 48);
	}
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

#define RCTD 0x80

static unsigned report_opcodes(struct scsi_fixture *f, uint8_t options, uint8_t opcode,
			       uint16_t action, uint8_t *bytes)
{
	scsi_do_in(f, FIRST,
		   CDB(0xa3, 0x0c, options, opcode, (uint8_t)(action >> 8), (uint8_t)action, 0, 0,
		       BYTES >> 8, 0, 0, 0),
		   bytes, BYTES);
	return got(f);
}

static void assert_timeouts(const uint8_t *bytes)
{
	const uint8_t wanted[12] = { 0, 10 };

	assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void check_all(struct scsi_fixture *f, bool timeouts)
{
	unsigned each = timeouts ? 20 : 8;
	uint8_t bytes[BYTES];
	unsigned size = report_opcodes(f, timeouts ? RCTD : 0, 0, 0, bytes);

	scsi_assert_good(f);
	assert_int_equal(size, 4 + each * scsi_opcode_count);
	assert_int_equal(be32_get(bytes), size - 4);
	for (unsigned i = 0; i < scsi_opcode_count; i++) {
		const struct scsi_opcode *opcode = &scsi_opcodes[i];
		const uint8_t *descriptor = bytes + 4 + each * i;
		bool has_action = opcode->service_action >= 0;

		assert_int_equal(descriptor[0], opcode->opcode);
		assert_int_equal(be16_get(descriptor + 2), has_action ? opcode->service_action : 0);
		assert_int_equal(descriptor[5], (timeouts ? 2 : 0) | has_action);
		assert_int_equal(be16_get(descriptor + 6), opcode->cdb_bytes);
		if (timeouts)
			assert_timeouts(descriptor + 8);
	}
}

static void test_opcodes_when_all_are_asked_for_then_the_table(void **state)
{
	check_all(*state, false);
	check_all(*state, true);
}

static void assert_one(struct scsi_fixture *f, uint8_t options, const struct scsi_opcode *opcode)
{
	unsigned action = (unsigned)MAX(opcode->service_action, 0);
	uint8_t bytes[BYTES];
	unsigned size = report_opcodes(f, options, opcode->opcode, (uint16_t)action, bytes);

	scsi_assert_good(f);
	assert_int_equal(bytes[1], (options & RCTD) | 3);
	assert_int_equal(be16_get(bytes + 2), opcode->cdb_bytes);
	assert_int_equal(size, 4u + opcode->cdb_bytes + (options & RCTD ? 12 : 0));
	assert_int_equal(bytes[4], opcode->opcode);
	assert_memory_equal(bytes + 4, opcode->usage, opcode->cdb_bytes);
	if (opcode->service_action >= 0)
		assert_int_equal(bytes[5] & 0x1f, opcode->service_action);
	if (options & RCTD)
		assert_timeouts(bytes + 4 + opcode->cdb_bytes);
}

static void test_opcodes_when_one_is_asked_for_then_its_usage(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	for (unsigned i = 0; i < scsi_opcode_count; i++) {
		const struct scsi_opcode *opcode = &scsi_opcodes[i];
		bool has_action = opcode->service_action >= 0;

		assert_one(f, has_action ? 2 : 1, opcode);
		assert_one(f, has_action ? RCTD | 2 : RCTD | 1, opcode);
		assert_one(f, 3, opcode);
		/* with action what has none, without what has some */
		report_opcodes(f, has_action ? 1 : 2, opcode->opcode, 0, bytes);
		scsi_assert_bad_cdb(f, 2, 2);
	}
}

static void assert_not_supported(struct scsi_fixture *f, uint8_t options, uint8_t opcode,
				 uint16_t action)
{
	const uint8_t wanted[4] = { 0, 1, 0, 0 };
	uint8_t bytes[BYTES];

	assert_int_equal(report_opcodes(f, options, opcode, action, bytes), 4);
	scsi_assert_good(f);
	assert_memory_equal(bytes, wanted, 4);
}

static void test_opcodes_when_there_is_no_such_command_then_not_supported(void **state)
{
	struct scsi_fixture *f = *state;

	assert_not_supported(f, 1, 0x04, 0);        /* FORMAT UNIT */
	assert_not_supported(f, RCTD | 1, 0x04, 0); /* nothing has timeouts */
	assert_not_supported(f, 2, 0x7f, 9);
	assert_not_supported(f, 3, 0xff, 0);
	assert_not_supported(f, 2, 0xa3, 0x1f);
	assert_not_supported(f, 2, 0xa3, 0x10a); /* an action has 16 bits here */
	assert_not_supported(f, 3, 0xa3, 0x1f);
	assert_not_supported(f, 3, 0x28, 1);
}

static void test_opcodes_when_an_action_is_given_that_is_not_asked_about_then_ignored(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	report_opcodes(f, 1, 0x28, 7, bytes);
	scsi_assert_good(f);
	assert_int_equal(bytes[1], 3);
}

static void test_opcodes_when_the_options_are_reserved_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	for (uint8_t options = 4; options < 8; options++) {
		report_opcodes(f, options, 0x28, 0, bytes);
		scsi_assert_bad_cdb(f, 2, 2);
	}
}

/* ---- REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS ---- */

static void test_tmfs_when_asked_then_all_but_those_of_aca(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t basic[4] = { 0xdc, 0x03 }, extended[16] = { 0xdc, 0x03, 0, 12 };
	uint8_t bytes[32];

	scsi_do_in(f, FIRST, CDB(0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), bytes, 32);
	scsi_assert_good(f);
	assert_int_equal(got(f), 4);
	assert_memory_equal(bytes, basic, 4);
	scsi_do_in(f, FIRST, CDB(0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 32, 0, 0), bytes, 32);
	scsi_assert_good(f);
	assert_int_equal(got(f), 16);
	assert_memory_equal(bytes, extended, 16);
}

/* ---- REPORT TARGET PORT GROUPS ---- */

static unsigned report_groups(struct scsi_fixture *f, uint8_t format, uint8_t *bytes)
{
	scsi_do_in(f, SECOND,
		   CDB(0xa3, (uint8_t)(format << 5 | 0x0a), 0, 0, 0, 0, 0, 0, 0, 64, 0, 0), bytes,
		   64);
	return got(f);
}

static const uint8_t one_group[] = {
	0, 0x01, 0, SCSI_TARGET_PORT_GROUP, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
};

static void test_groups_when_asked_then_one_with_the_ports_of_all_adapters(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	assert_int_equal(report_groups(f, 0, bytes), 4 + sizeof(one_group));
	scsi_assert_good(f);
	assert_int_equal(be32_get(bytes), sizeof(one_group));
	assert_memory_equal(bytes + 4, one_group, sizeof(one_group));
}

static void test_groups_when_the_header_is_extended_then_the_same_behind_it(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	assert_int_equal(report_groups(f, 1, bytes), 8 + sizeof(one_group));
	assert_int_equal(be32_get(bytes), 4 + sizeof(one_group));
	assert_int_equal(be32_get(bytes + 4), 0x10000000);
	assert_memory_equal(bytes + 8, one_group, sizeof(one_group));
	report_groups(f, 2, bytes);
	assert_int_equal(scsi_sense_asc_of(&f->run.task), SCSI_ASC_INVALID_FIELD_IN_CDB);
}

/* One byte counts the ports. */
static void test_groups_when_there_are_too_many_ports_then_the_first_255(void **state)
{
	struct scsi_fixture *f = *state;
	static struct scsi_nexus *more[300];
	uint8_t bytes[2048];

	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		struct scsi_nexus_config config = {
			.unit = f->unit,
			.ports = { .initiator = 0x3000000000001000ull + i,
				   .relative_target_port = (uint16_t)(i + 3) },
		};

		assert_int_equal(scsi_nexus_new(&config, &more[i], NULL), 0);
	}
	scsi_do_in(f, FIRST, CDB(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0), bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(got(f), 4 + 8 + 4 * 255);
	assert_int_equal(bytes[4 + 7], 255);
	assert_int_equal(be16_get(bytes + 4 + 8 + 4 * 254 + 2), 255);
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++)
		scsi_nexus_free(more[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_luns_when_selected_then_those),
		scsi_test(test_luns_when_the_selection_is_reserved_then_refused),
		scsi_test(test_luns_when_there_are_many_then_all_or_as_many_as_fit),
		scsi_test(test_luns_when_reported_then_their_change_is_no_news),
		scsi_test(test_luns_when_there_is_no_unit_then_told_all_the_same),
		cmocka_unit_test(test_luns_when_they_change_meanwhile_then_none_is_made_up),
		scsi_test(test_opcodes_when_all_are_asked_for_then_the_table),
		scsi_test(test_opcodes_when_one_is_asked_for_then_its_usage),
		scsi_test(test_opcodes_when_there_is_no_such_command_then_not_supported),
		scsi_test(
			test_opcodes_when_an_action_is_given_that_is_not_asked_about_then_ignored),
		scsi_test(test_opcodes_when_the_options_are_reserved_then_refused),
		scsi_test(test_tmfs_when_asked_then_all_but_those_of_aca),
		scsi_test(test_groups_when_asked_then_one_with_the_ports_of_all_adapters),
		scsi_test(test_groups_when_the_header_is_extended_then_the_same_behind_it),
		scsi_test(test_groups_when_there_are_too_many_ports_then_the_first_255),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
