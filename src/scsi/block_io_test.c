/* SPDX-License-Identifier: MIT */
/* READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH, WRITE ATOMIC. */
#include "scsi/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define DISK (1u << 20)
#define FUA 0x08

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed + i + i / 251);
}

/* ---- CDBs of all lengths ---- */

/* READ or WRITE of so many blocks; returns how long the CDB is. */
static size_t make_cdb(uint8_t cdb[16], uint8_t opcode, uint32_t lba, uint16_t blocks)
{
	memset(cdb, 0, 16);
	cdb[0] = opcode;
	switch (opcode) {
	case 0x08:
	case 0x0a:
		be24_put(cdb + 1, lba);
		cdb[4] = (uint8_t)blocks;
		return 6;
	case 0x28:
	case 0x2a:
		be32_put(cdb + 2, lba);
		be16_put(cdb + 7, blocks);
		return 10;
	case 0xa8:
	case 0xaa:
		be32_put(cdb + 2, lba);
		be32_put(cdb + 6, blocks);
		return 12;
	default:
		be64_put(cdb + 2, lba);
		be32_put(cdb + 10, blocks);
		return 16;
	}
}

static const uint8_t reads[] = { 0x08, 0x28, 0xa8, 0x88 };
static const uint8_t writes[] = { 0x0a, 0x2a, 0xaa, 0x8a };

static void test_io_when_of_any_length_then_the_bytes_are_where_they_belong(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t out[5 * BLOCK], in[5 * BLOCK], disk[5 * BLOCK], cdb[16];

	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		uint32_t lba = 300 + 17 * i;

		fill(out, sizeof(out), i);
		scsi_do_out(f, FIRST, cdb, make_cdb(cdb, writes[i], lba, 5), out, sizeof(out));
		scsi_assert_good(f);
		scsi_assert_residual(f, SCSI_FITS, 0);
		scsi_fixture_peek(f, 0, lba * BLOCK, disk, sizeof(disk));
		assert_memory_equal(disk, out, sizeof(disk));
		for (unsigned j = 0; j < ARRAY_SIZE(reads); j++) {
			memset(in, 0xee, sizeof(in));
			scsi_do_in(f, FIRST, cdb, make_cdb(cdb, reads[j], lba, 5), in, sizeof(in));
			scsi_assert_good(f);
			scsi_assert_residual(f, SCSI_FITS, 0);
			assert_memory_equal(in, out, sizeof(in));
		}
	}
}

/* No more than the CDB names, however long the buffer is. */
static void test_write_when_the_buffer_is_longer_then_the_next_block_stays(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t out[2 * BLOCK], disk[2 * BLOCK], zero[BLOCK] = { 0 }, cdb[16];

	fill(out, sizeof(out), 1);
	scsi_do_out(f, FIRST, cdb, make_cdb(cdb, 0x2a, 0, 1), out, sizeof(out));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, BLOCK);
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	assert_memory_equal(disk, out, BLOCK);
	assert_memory_equal(disk + BLOCK, zero, BLOCK);
}

static void test_read_6_when_of_no_blocks_then_256(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t *disk = malloc(256 * BLOCK), *in = calloc(1, 256 * BLOCK), cdb[16];

	fill(disk, 256 * BLOCK, 3);
	scsi_fixture_poke(f, 0, BLOCK, disk, 256 * BLOCK);
	scsi_do_in(f, FIRST, cdb, make_cdb(cdb, 0x08, 1, 0), in, 256 * BLOCK);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	assert_memory_equal(in, disk, 256 * BLOCK);
	free(disk);
	free(in);
}

static void test_io_when_of_no_blocks_then_good_and_nothing_moves(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[BLOCK], cdb[16];

	memset(data, 0x77, sizeof(data));
	scsi_do_in(f, FIRST, cdb, make_cdb(cdb, 0x28, 5, 0), data, BLOCK);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, BLOCK);
	assert_int_equal(data[0], 0x77);
	scsi_do_out(f, FIRST, cdb, make_cdb(cdb, 0x8a, 5, 0), data, BLOCK);
	scsi_assert_good(f);
	scsi_do(f, FIRST, cdb, make_cdb(cdb, 0x88, 5, 0));
	scsi_assert_good(f);
	scsi_fixture_peek(f, 0, 5 * BLOCK, data, BLOCK);
	assert_int_equal(data[0], 0);
}

/* ---- larger blocks, a tail ---- */

static void test_capacity_when_the_node_has_a_tail_then_it_is_left_out(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	const struct scsi_unit_config config = { .logical_block_size = 4096 };
	uint8_t block[4096], back[4096], cdb[16];

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", DISK + BLOCK), &config);
	scsi_fixture_clear_attentions(f);
	assert_int_equal(scsi_unit_blocks(f->unit), DISK / 4096);
	fill(block, sizeof(block), 9);
	scsi_do_out(f, FIRST, cdb, make_cdb(cdb, 0x2a, DISK / 4096 - 1, 1), block, sizeof(block));
	scsi_assert_good(f);
	scsi_fixture_peek(f, 0, DISK - 4096, back, sizeof(back));
	assert_memory_equal(back, block, sizeof(block));
	scsi_do_out(f, FIRST, cdb, make_cdb(cdb, 0x2a, DISK / 4096, 1), block, sizeof(block));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_fixture_free(f);
}

/* ---- what goes to the node: by its log ---- */

struct logged {
	struct scsi_fixture *f;
	char path[128];
};

static struct logged logged_new(void)
{
	struct logged l = { .f = scsi_fixture_new() };
	struct block_node *node = NULL;
	struct block_log_config config = { .name = "log", .filename = l.path };

	snprintf(l.path, sizeof(l.path), "%s", scsi_fixture_path(l.f, "log"));
	config.child = scsi_fixture_ram(l.f, "disk", DISK);
	assert_int_equal(block_log_open(l.f->graph, &config, &node, NULL), 0);
	scsi_fixture_add(l.f, node, NULL);
	scsi_fixture_clear_attentions(l.f);
	return l;
}

/* What was submitted since the log was last read, as "read write-fua flush …". */
static void expect_ops(struct logged *l, long *position, const char *expected)
{
	FILE *file = fopen(l->path, "r");
	char line[256], ops[256] = "", op[32];

	assert_non_null(file);
	scsi_fixture_turn(l->f); /* the log is written at the end of a turn */
	fseek(file, *position, SEEK_SET);
	while (fgets(line, sizeof(line), file)) {
		size_t length = strlen(ops);

		if (strstr(line, "result=") || sscanf(line, "%*s %*s %31s", op) != 1)
			continue;
		snprintf(ops + length, sizeof(ops) - length, "%s%s%s", length ? " " : "", op,
			 strstr(line, " fua") ? "-fua" : "");
	}
	*position = ftell(file);
	fclose(file);
	assert_string_equal(ops, expected);
}

static void test_fua_when_asked_for_or_the_cache_is_off_then_stable(void **state)
{
	struct logged l = logged_new();
	struct scsi_fixture *f = l.f;
	uint8_t block[BLOCK] = { 0 };
	long position = 0;

	scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	expect_ops(&l, &position, "write");
	scsi_do_out(f, FIRST, CDB(0x2a, 0x10, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK); /* DPO */
	expect_ops(&l, &position, "write");
	scsi_do_out(f, FIRST, CDB(0x2a, FUA, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	expect_ops(&l, &position, "write-fua");
	scsi_do_out(f, FIRST, CDB(0x0a, FUA, 0, 0, 1, 0), block, BLOCK); /* bits of the LBA */
	assert_int_equal(f->run.task.status, SCSI_CHECK_CONDITION);
	expect_ops(&l, &position, "");
	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	expect_ops(&l, &position, "read");
	scsi_do_in(f, FIRST, CDB(0x28, FUA, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	scsi_assert_good(f);
	expect_ops(&l, &position, "flush read");
	store_relaxed(&f->unit->write_through, 1);
	scsi_do_in(f, FIRST, CDB(0x28, FUA, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	expect_ops(&l, &position, "read");
	scsi_do_out(f, FIRST, CDB(0x0a, 0, 0, 0, 1, 0), block, BLOCK);
	scsi_assert_good(f);
	expect_ops(&l, &position, "write-fua");
	scsi_fixture_free(f);
}

static void test_cache_when_synchronized_then_flushed_and_prefetch_reads_nothing(void **state)
{
	struct logged l = logged_new();
	struct scsi_fixture *f = l.f;
	long position = 0;

	scsi_do(f, FIRST, CDB(0x35, 0, 0, 0, 0, 8, 0, 0, 4, 0));
	scsi_assert_good(f);
	expect_ops(&l, &position, "flush");
	scsi_do(f, FIRST, CDB(0x91, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)); /* IMMED */
	scsi_assert_good(f);
	expect_ops(&l, &position, "flush");
	scsi_do(f, FIRST, CDB(0x34, 0x02, 0, 0, 0, 8, 0, 0, 4, 0));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 0));
	scsi_assert_good(f);
	expect_ops(&l, &position, "");
	scsi_do(f, FIRST, CDB(0x35, 0, 0, 0, 0xff, 0, 0, 0, 1, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_do(f, FIRST, CDB(0x34, 0, 0, 0, 0xff, 0, 0, 0, 1, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	expect_ops(&l, &position, "");
	scsi_fixture_free(f);
}

/* ---- errors of the node ---- */

static const struct {
	enum block_op op;
	int error;
	enum scsi_status status;
	enum scsi_sense_key key;
	enum scsi_asc asc;
} errors[] = {
	{ BLOCK_READ, -EIO, SCSI_CHECK_CONDITION, SCSI_MEDIUM_ERROR,
	  SCSI_ASC_UNRECOVERED_READ_ERROR },
	{ BLOCK_WRITE, -EIO, SCSI_CHECK_CONDITION, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR },
	{ BLOCK_FLUSH, -EIO, SCSI_CHECK_CONDITION, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR },
	{ BLOCK_WRITE, -ENOSPC, SCSI_CHECK_CONDITION, SCSI_DATA_PROTECT,
	  SCSI_ASC_SPACE_ALLOCATION_FAILED },
	{ BLOCK_WRITE, -EDQUOT, SCSI_CHECK_CONDITION, SCSI_DATA_PROTECT,
	  SCSI_ASC_SPACE_ALLOCATION_FAILED },
	{ BLOCK_WRITE, -EROFS, SCSI_CHECK_CONDITION, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED },
	{ BLOCK_READ, -EINVAL, SCSI_CHECK_CONDITION, SCSI_HARDWARE_ERROR,
	  SCSI_ASC_INTERNAL_TARGET_FAILURE },
	{ BLOCK_READ, -ENOMEM, SCSI_BUSY, SCSI_NO_SENSE, SCSI_ASC_NONE },
};

static struct scsi_fixture *failing_new(enum block_op op, int error)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct block_node *node = NULL;
	struct block_error_config config = { .name = "error", .op_mask = 1u << op, .error = error };

	config.child = scsi_fixture_ram(f, "disk", DISK);
	assert_int_equal(block_error_open(f->graph, &config, &node, NULL), 0);
	scsi_fixture_add(f, node, NULL);
	scsi_fixture_clear_attentions(f);
	return f;
}

static void do_op(struct scsi_fixture *f, enum block_op op)
{
	uint8_t block[BLOCK] = { 0 };

	if (op == BLOCK_READ)
		scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	else if (op == BLOCK_WRITE)
		scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	else
		scsi_do(f, FIRST, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

static void test_io_when_the_node_fails_then_the_sense_says_how(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		struct scsi_fixture *f = failing_new(errors[i].op, errors[i].error);

		do_op(f, errors[i].op);
		if (errors[i].status == SCSI_CHECK_CONDITION)
			scsi_assert_sense(f, errors[i].key, errors[i].asc);
		else
			scsi_assert_status(f, errors[i].status);
		/* nothing that counts has been moved */
		scsi_assert_residual(f, SCSI_FITS, errors[i].op == BLOCK_FLUSH ? 0 : BLOCK);
		scsi_fixture_free(f);
	}
}

static void test_fua_read_when_the_flush_fails_then_the_read_fails(void **state)
{
	struct scsi_fixture *f = failing_new(BLOCK_FLUSH, -EIO);
	uint8_t block[BLOCK];

	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	scsi_assert_good(f);
	scsi_do_in(f, FIRST, CDB(0x28, FUA, 0, 0, 0, 0, 0, 0, 1, 0), block, BLOCK);
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	scsi_fixture_free(f);
}

/* ---- several at once ---- */

#define RUNS 16u

static void test_io_when_many_are_out_then_each_ends_once(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct scsi_run runs[RUNS];
	uint8_t blocks[RUNS][BLOCK], disk[RUNS * BLOCK];

	scsi_fixture_add(f, scsi_fixture_file(f, "disk", DISK), NULL);
	scsi_fixture_clear_attentions(f);
	memset(runs, 0, sizeof(runs));
	for (unsigned i = 0; i < RUNS; i++) {
		const struct scsi_run_data data = { .out = blocks[i], .out_bytes = BLOCK };
		uint8_t cdb[16];

		fill(blocks[i], BLOCK, i);
		scsi_run_start(f, &runs[i], i % 2 ? SECOND : FIRST, cdb,
			       make_cdb(cdb, writes[i % 4], i, 1), &data);
	}
	for (unsigned i = 0; i < RUNS; i++) {
		scsi_run_wait(&runs[i]);
		assert_int_equal(runs[i].task.status, SCSI_GOOD);
		scsi_run_fini(&runs[i]);
	}
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	assert_memory_equal(disk, blocks, sizeof(disk));
	scsi_fixture_free(f);
}

/* ---- WRITE ATOMIC ---- */

static void do_atomic(struct scsi_fixture *f, uint64_t lba, uint16_t blocks, const uint8_t *data)
{
	uint8_t cdb[16] = { 0x9c };

	be64_put(cdb + 2, lba);
	be16_put(cdb + 12, blocks);
	scsi_do_out(f, FIRST, cdb, sizeof(cdb), data, blocks * BLOCK);
}

static void test_write_atomic_when_aligned_then_written(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	uint8_t data[32 * BLOCK], disk[32 * BLOCK];
	uint32_t unit_blocks;

	scsi_fixture_add(f, scsi_fixture_file(f, "disk", DISK), NULL);
	scsi_fixture_clear_attentions(f);
	unit_blocks = scsi_unit_atomic_blocks(f->unit);
	if (unit_blocks < 2 || unit_blocks > 16)
		skip(); /* a file system of other blocks */
	fill(data, sizeof(data), 5);
	do_atomic(f, unit_blocks, (uint16_t)unit_blocks, data);
	scsi_assert_good(f);
	assert_int_equal(f->exclusive_count, 0); /* the disk below does it */
	do_atomic(f, 0, (uint16_t)(2 * unit_blocks), data);
	scsi_assert_good(f);
	assert_int_equal(f->exclusive_count, 1); /* nobody sees half of it */
	scsi_fixture_peek(f, 0, 0, disk, sizeof(disk));
	assert_memory_equal(disk, data, 2 * unit_blocks * BLOCK);
	do_atomic(f, 1, (uint16_t)unit_blocks, data);
	scsi_assert_bad_cdb(f, 2, -1);
	do_atomic(f, 0, 1, data);
	scsi_assert_bad_cdb(f, 12, -1);
	do_atomic(f, 0, 0, data);
	scsi_assert_good(f);
	scsi_fixture_free(f);
}

static void test_write_atomic_when_blocks_are_physical_then_any_place(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[3 * BLOCK], disk[3 * BLOCK];

	fill(data, sizeof(data), 6);
	do_atomic(f, 7, 3, data);
	scsi_assert_good(f);
	scsi_fixture_peek(f, 0, 7 * BLOCK, disk, sizeof(disk));
	assert_memory_equal(disk, data, sizeof(data));
	do_atomic(f, DISK / BLOCK - 1, 3, data);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_io_when_of_any_length_then_the_bytes_are_where_they_belong),
		scsi_test(test_write_when_the_buffer_is_longer_then_the_next_block_stays),
		scsi_test(test_read_6_when_of_no_blocks_then_256),
		scsi_test(test_io_when_of_no_blocks_then_good_and_nothing_moves),
		cmocka_unit_test(test_capacity_when_the_node_has_a_tail_then_it_is_left_out),
		cmocka_unit_test(test_fua_when_asked_for_or_the_cache_is_off_then_stable),
		cmocka_unit_test(
			test_cache_when_synchronized_then_flushed_and_prefetch_reads_nothing),
		cmocka_unit_test(test_io_when_the_node_fails_then_the_sense_says_how),
		cmocka_unit_test(test_fua_read_when_the_flush_fails_then_the_read_fails),
		cmocka_unit_test(test_io_when_many_are_out_then_each_ends_once),
		cmocka_unit_test(test_write_atomic_when_aligned_then_written),
		scsi_test(test_write_atomic_when_blocks_are_physical_then_any_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
