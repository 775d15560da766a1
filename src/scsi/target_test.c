/* SPDX-License-Identifier: MIT */
/* The checks that each command goes through: their order, and what each says. */
#include "scsi/fixture.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS 2048u /* of the fixture's disk */
#define TUR CDB(0x00, 0, 0, 0, 0, 0)

static void set_unit(struct scsi_fixture *f, uint32_t bits)
{
	or_relaxed(&f->unit->slow, bits);
}

static void clear_unit(struct scsi_fixture *f, uint32_t bits)
{
	and_relaxed(&f->unit->slow, ~bits);
}

/* ---- the order ---- */

/* A WRITE (10) to which everything objects; one objection after the other is withdrawn. */
static void test_order_when_everything_objects_then_one_after_the_other(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t write[] = { 0x2a, 0x80, 0xff, 0, 0, 0, 0, 0, 1, 0 };
	uint8_t block[512] = { 1 };

	f->attribute = SCSI_ACA;
	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0)); /* RESERVE (6), refused: ACA too */
	f->attribute = SCSI_SIMPLE;
	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	f->attribute = SCSI_ACA;
	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_CAPACITY_CHANGED);
	set_unit(f, SCSI_UNIT_SANITIZING | SCSI_UNIT_STOPPED | SCSI_UNIT_WRITE_PROTECTED |
			    SCSI_UNIT_SWP);

	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_bad_cdb(f, 1, 7); /* WRPROTECT */
	write[1] = 0;
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_MESSAGE);
	f->attribute = SCSI_SIMPLE;
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	clear_unit(f, SCSI_UNIT_SANITIZING);
	scsi_do(f, SECOND, CDB(0x17, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	set_unit(f, SCSI_UNIT_SANITIZING);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_SANITIZE_IN_PROGRESS);
	clear_unit(f, SCSI_UNIT_SANITIZING);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	clear_unit(f, SCSI_UNIT_STOPPED);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	clear_unit(f, SCSI_UNIT_WRITE_PROTECTED);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_DATA_PROTECT, SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	clear_unit(f, SCSI_UNIT_SWP);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	write[2] = 0;
	scsi_do_out(f, FIRST, write, sizeof(write), block, 256);
	scsi_assert_residual(f, SCSI_OVERFLOW, 256);
	scsi_do_out(f, FIRST, write, sizeof(write), block, 512);
	scsi_assert_good(f);
}

/* ---- no unit ---- */

static void test_no_unit_when_told_what_it_is_then_says_there_is_none(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	f->without_unit = true;
	scsi_do(f, FIRST, TUR);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LOGICAL_UNIT_NOT_SUPPORTED);
	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LOGICAL_UNIT_NOT_SUPPORTED);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
	scsi_assert_good(f);
	assert_int_equal(data[0], 0x7f);
	scsi_do(f, FIRST, CDB(0x12, 0x02, 0, 0, 96, 0));
	scsi_assert_bad_cdb(f, 1, 1);
}

static void test_no_unit_when_sense_is_asked_for_then_it_is_data(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[18];

	f->without_unit = true;
	scsi_do_in(f, FIRST, CDB(0x03, 0, 0, 0, 18, 0), data, sizeof(data));
	scsi_assert_good(f);
	assert_int_equal(data[0], 0x70);
	assert_int_equal(data[2], SCSI_ILLEGAL_REQUEST);
	assert_int_equal(be16_get(data + 12), SCSI_ASC_LOGICAL_UNIT_NOT_SUPPORTED);
	scsi_do_in(f, FIRST, CDB(0x03, 1, 0, 0, 18, 0), data, sizeof(data));
	scsi_assert_good(f);
	assert_int_equal(data[0], 0x72);
	scsi_assert_residual(f, SCSI_FITS, 10);
}

static void test_well_known_unit_when_asked_then_has_four_commands(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	f->well_known = true;
	f->lun_count = 1;
	scsi_do(f, FIRST, TUR);
	scsi_assert_good(f);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
	scsi_assert_good(f);
	assert_int_equal(data[0], 0x1e);
	scsi_do_in(f, FIRST, CDB(0x03, 0, 0, 0, 18, 0), data, 18);
	scsi_assert_good(f);
	assert_int_equal(data[2], SCSI_NO_SENSE);
	scsi_do_in(f, FIRST, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

/* ---- the command ---- */

static void test_opcode_when_unknown_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

static void test_service_action_when_unknown_then_a_bad_field(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 1, 4);
}

static void test_cdb_when_the_transport_cannot_carry_it_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_task *task = &f->run.task;
	struct scsi_run_data none = { 0 };

	scsi_run_start(f, &f->run, FIRST, TUR, &none);
	scsi_assert_good(f);
	/* the same slot again, as a device uses it */
	task->cdb[0] = 0x88;
	task->cdb_length = 12;
	scsi_task_execute(task);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	task->cdb_length = 16;
	scsi_task_execute(task);
	scsi_assert_status(f, SCSI_GOOD);
}

/* ---- attentions, reservations, readiness, protection ---- */

static void test_attention_when_pending_then_three_commands_go_on(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_CAPACITY_CHANGED);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do_in(f, FIRST, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0)); /* neither told nor lost */
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[FIRST]), SCSI_ASC_CAPACITY_CHANGED);
	/* REQUEST SENSE tells it as data */
	scsi_do_in(f, FIRST, CDB(0x03, 0, 0, 0, 18, 0), data, 18);
	scsi_assert_good(f);
	assert_int_equal(data[2], SCSI_UNIT_ATTENTION);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[FIRST]), SCSI_ASC_NONE);
}

/* SPC-2, table 10; SBC-4, table 13: by what they ask for. */
static void test_reservation_when_starting_or_allowing_then_no_conflict(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_do(f, FIRST, CDB(0x1b, 0, 0, 0, 0x01, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x1b, 0, 0, 0, 0x00, 0));
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	scsi_do(f, FIRST, CDB(0x1b, 0, 0, 0, 0x11, 0));
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	scsi_do(f, FIRST, CDB(0x1e, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x1e, 0, 0, 0, 1, 0));
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
}

static void test_ready_when_sanitizing_has_failed_then_only_another_one_helps(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[18];

	set_unit(f, SCSI_UNIT_SANITIZE_FAILED);
	scsi_do(f, FIRST, TUR);
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
	scsi_do(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
	scsi_do_in(f, FIRST, CDB(0x03, 0, 0, 0, 18, 0), data, 18);
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x48, 0x02, 0, 0, 0, 0, 0, 0, 1, 0));
	scsi_assert_bad_cdb(f, 8, 0); /* it came as far as its own bits; let in below */
	scsi_do(f, FIRST, CDB(0x48, 0x9f, 0, 0, 0, 0, 0, 0, 0, 0));
	assert_true(f->run.task.status == SCSI_GOOD ||
		    scsi_sense_asc_of(&f->run.task) != SCSI_ASC_SANITIZE_FAILED);
	clear_unit(f, SCSI_UNIT_SANITIZE_FAILED);
}

static void test_ready_when_stopped_then_what_needs_no_medium_goes_on(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[32];

	set_unit(f, SCSI_UNIT_STOPPED);
	scsi_do(f, FIRST, TUR);
	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
	scsi_do_in(f, FIRST, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), data, 32);
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x1b, 0, 0, 0, 1, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, TUR);
	scsi_assert_good(f);
}

static void test_protection_when_read_only_then_what_writes_is_refused(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	const struct scsi_unit_config config = { .read_only = true };
	uint8_t block[512];

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 1 << 20), &config);
	scsi_fixture_clear_attentions(f);
	for (unsigned i = 0; i < scsi_opcode_count; i++) {
		const struct scsi_opcode *row = &scsi_opcodes[i];
		uint8_t cdb[16] = { row->opcode,
				    (uint8_t)(row->service_action < 0 ? 0 : row->service_action) };

		if (!(row->flags & SCSI_OP_WRITES))
			continue;
		scsi_do(f, FIRST, cdb, row->cdb_bytes);
		scsi_assert_sense(f, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	}
	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512);
	scsi_assert_good(f);
	scsi_fixture_free(f);
}

/* ---- blocks ---- */

static const struct {
	uint64_t lba;
	uint32_t blocks;
	bool inside;
} ranges[] = {
	{ 0, 0, true },           { BLOCKS - 1, 0, true },  { BLOCKS, 0, false },
	{ BLOCKS + 1, 0, false }, { UINT64_MAX, 0, false }, { 0, BLOCKS, true },
	{ 0, BLOCKS + 1, false }, { BLOCKS - 1, 1, true },  { BLOCKS, 1, false },
	{ BLOCKS - 1, 2, false }, { UINT64_MAX, 1, false }, { UINT64_MAX, UINT32_MAX, false },
	{ 1ull << 63, 1, false }, { 0, UINT32_MAX, false },
};

static void test_range_when_at_the_end_then_exact(void **state)
{
	struct scsi_fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint8_t cdb[16] = { 0x8f }; /* VERIFY (16), no data */

		be64_put(cdb + 2, ranges[i].lba);
		be32_put(cdb + 10, ranges[i].blocks);
		scsi_do(f, FIRST, cdb, sizeof(cdb));
		if (ranges[i].inside)
			scsi_assert_good(f);
		else
			scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	}
}

/* An empty disk has no block 0, but an empty command at its start asks for nothing: SYNCHRONIZE CACHE of all. */
static void test_range_when_the_disk_is_empty_then_only_nothing_at_the_start(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();

	scsi_fixture_add(f, scsi_fixture_file(f, "disk", 1 << 20), NULL);
	scsi_fixture_clear_attentions(f);
	assert_int_equal(block_node_resize(f->node, 0, NULL), 0);
	scsi_do(f, FIRST, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_do(f, FIRST, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_fixture_free(f);
}

static void test_length_when_longer_than_the_limit_then_the_field_is_named(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	uint32_t most = SCSI_TRANSFER_BYTES_MAX / 512;
	uint8_t cdb[16] = { 0x88 };

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 128 << 20), NULL);
	scsi_fixture_clear_attentions(f);
	be32_put(cdb + 10, most + 1);
	scsi_do(f, FIRST, cdb, sizeof(cdb));
	scsi_assert_bad_cdb(f, 10, -1);
	be32_put(cdb + 10, most);
	scsi_do(f, FIRST, cdb, sizeof(cdb)); /* as far as the buffer */
	scsi_assert_residual(f, SCSI_OVERFLOW, SCSI_TRANSFER_BYTES_MAX);
	cdb[0] = 0x8f; /* VERIFY without data: no limit */
	be32_put(cdb + 10, most + 1);
	scsi_do(f, FIRST, cdb, sizeof(cdb));
	scsi_assert_good(f);
	scsi_fixture_free(f);
}

/* ---- buffers ---- */

static void test_buffer_when_longer_than_the_command_then_residual(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[2048];

	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, sizeof(data) - 512);
	scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, sizeof(data) - 1024);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 36, 0), data, sizeof(data));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, sizeof(data) - 36);
	scsi_do_in(f, FIRST, TUR, data, 512);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 512);
}

static void test_buffer_when_shorter_than_the_blocks_then_nothing_is_done(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[1024], disk[1024];

	memset(data, 0x55, sizeof(data));
	scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0), data, 1023);
	scsi_assert_residual(f, SCSI_OVERFLOW, 1);
	assert_int_equal(f->run.task.status, SCSI_CHECK_CONDITION);
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	for (unsigned i = 0; i < sizeof(disk); i++)
		assert_int_equal(disk[i], 0);
	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0), data, 1000);
	scsi_assert_residual(f, SCSI_OVERFLOW, 24);
	assert_int_equal(data[0], 0x55);
	/* data in the wrong direction is no data */
	scsi_do_in(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), data, 512);
	scsi_assert_residual(f, SCSI_OVERFLOW, 512);
	scsi_do_out(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), data, 512);
	scsi_assert_residual(f, SCSI_OVERFLOW, 512);
}

/* Data up to an allocation length is cut, and the command succeeds. */
static void test_buffer_when_shorter_than_the_answer_then_cut(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[96];

	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), data, 10);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_OVERFLOW, 86);
	scsi_do(f, FIRST, CDB(0x12, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
}

static const struct {
	const char *what;
	uint8_t cdb[16];
	size_t cdb_bytes, wants;
} movers[] = {
	{ "WRITE (6) of 0 is 256", { 0x0a }, 6, 256 * 512 },
	{ "WRITE (12)", { 0xaa, [9] = 3 }, 12, 3 * 512 },
	{ "WRITE (16)", { 0x8a, [13] = 3 }, 16, 3 * 512 },
	{ "WRITE ATOMIC (16)", { 0x9c, [13] = 8 }, 16, 8 * 512 },
	{ "ORWRITE (16)", { 0x8b, [13] = 3 }, 16, 3 * 512 },
	{ "VERIFY (10), BYTCHK 1", { 0x2f, 0x02, [8] = 3 }, 10, 3 * 512 },
	{ "VERIFY (12), BYTCHK 3", { 0xaf, 0x06, [9] = 3 }, 12, 512 },
	{ "WRITE AND VERIFY (16)", { 0x8e, [13] = 3 }, 16, 3 * 512 },
	{ "UNMAP", { 0x42, [8] = 24 }, 10, 24 },
	{ "MODE SELECT (6)", { 0x15, 0x10, [4] = 12 }, 6, 12 },
	{ "PERSISTENT RESERVE OUT", { 0x5f, [8] = 24 }, 10, 24 },
};

static void test_buffer_when_one_byte_short_then_each_command_says_so(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t *data = calloc(1, 256 * 512);

	for (unsigned i = 0; i < ARRAY_SIZE(movers); i++) {
		scsi_do_out(f, FIRST, movers[i].cdb, movers[i].cdb_bytes, data,
			    movers[i].wants - 1);
		if (f->run.task.fit != SCSI_OVERFLOW)
			fail_msg("%s", movers[i].what);
		scsi_assert_residual(f, SCSI_OVERFLOW, 1);
		scsi_do_out(f, FIRST, movers[i].cdb, movers[i].cdb_bytes, data, movers[i].wants);
		if (f->run.task.fit != SCSI_FITS)
			fail_msg("%s", movers[i].what);
	}
	free(data);
}

/* ---- alone on the unit ---- */

static const uint8_t or_one[16] = { 0x8b, [13] = 1 };

static void start_orwrite(struct scsi_fixture *f, struct scsi_run *run, const uint8_t block[512])
{
	const struct scsi_run_data data = { .out = block, .out_bytes = 512 };

	f->hold_exclusive = true;
	scsi_run_start(f, run, FIRST, or_one, sizeof(or_one), &data);
	assert_int_equal(run->done_count, 0);
}

static void test_exclusive_when_granted_then_runs(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	uint8_t block[512] = { 0x11 }, disk[512];

	start_orwrite(f, &run, block);
	scsi_fixture_grant(f);
	scsi_run_wait(&run);
	assert_int_equal(run.task.status, SCSI_GOOD);
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	assert_int_equal(disk[0], 0x11);
	scsi_run_fini(&run);
}

/* While it waited another initiator reserved the unit, or the disk shrank. */
static void test_exclusive_when_the_world_changes_meanwhile_then_checked_again(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct scsi_run run = { 0 }, later = { 0 };
	uint8_t block[512] = { 0x11 };

	scsi_fixture_add(f, scsi_fixture_file(f, "disk", 1 << 20), NULL);
	scsi_fixture_clear_attentions(f);
	start_orwrite(f, &run, block);
	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_fixture_grant(f);
	assert_int_equal(run.task.status, SCSI_RESERVATION_CONFLICT);
	scsi_run_fini(&run);

	f->hold_exclusive = false;
	scsi_do(f, SECOND, CDB(0x17, 0, 0, 0, 0, 0));
	start_orwrite(f, &later, block);
	assert_int_equal(block_node_resize(f->node, 0, NULL), 0);
	scsi_fixture_grant(f);
	assert_int_equal(later.task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(scsi_sense_asc_of(&later.task), SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_run_fini(&later);
	scsi_fixture_free(f);
}

static void test_exclusive_when_abandoned_then_ends_once(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	uint8_t block[512] = { 0x11 }, disk[512];

	start_orwrite(f, &run, block);
	scsi_fixture_abandon(f);
	assert_int_equal(run.done_count, 1);
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	assert_int_equal(disk[0], 0);
	scsi_run_fini(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_order_when_everything_objects_then_one_after_the_other),
		scsi_test(test_no_unit_when_told_what_it_is_then_says_there_is_none),
		scsi_test(test_no_unit_when_sense_is_asked_for_then_it_is_data),
		scsi_test(test_well_known_unit_when_asked_then_has_four_commands),
		scsi_test(test_opcode_when_unknown_then_refused),
		scsi_test(test_service_action_when_unknown_then_a_bad_field),
		scsi_test(test_cdb_when_the_transport_cannot_carry_it_then_refused),
		scsi_test(test_attention_when_pending_then_three_commands_go_on),
		scsi_test(test_reservation_when_starting_or_allowing_then_no_conflict),
		scsi_test(test_ready_when_sanitizing_has_failed_then_only_another_one_helps),
		scsi_test(test_ready_when_stopped_then_what_needs_no_medium_goes_on),
		cmocka_unit_test(test_protection_when_read_only_then_what_writes_is_refused),
		scsi_test(test_range_when_at_the_end_then_exact),
		cmocka_unit_test(test_range_when_the_disk_is_empty_then_only_nothing_at_the_start),
		cmocka_unit_test(test_length_when_longer_than_the_limit_then_the_field_is_named),
		scsi_test(test_buffer_when_longer_than_the_command_then_residual),
		scsi_test(test_buffer_when_shorter_than_the_blocks_then_nothing_is_done),
		scsi_test(test_buffer_when_shorter_than_the_answer_then_cut),
		scsi_test(test_buffer_when_one_byte_short_then_each_command_says_so),
		scsi_test(test_exclusive_when_granted_then_runs),
		cmocka_unit_test(
			test_exclusive_when_the_world_changes_meanwhile_then_checked_again),
		scsi_test(test_exclusive_when_abandoned_then_ends_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
