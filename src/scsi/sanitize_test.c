/* SPDX-License-Identifier: MIT */
/* SANITIZE: what is on the disk afterwards, what others are told meanwhile, how it fails, and how it ends. */
#include "scsi/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 512u
#define DISK_BYTES (1u << 20)

#define BLOCK_ERASE CDB(0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0)
#define BLOCK_ERASE_IMMED CDB(0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0)
#define BLOCK_ERASE_AUSE CDB(0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0)
#define EXIT_FAILURE_MODE CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0)
#define TEST_UNIT_READY CDB(0x00, 0, 0, 0, 0, 0)

static void fill_disk(struct scsi_fixture *f, unsigned unit, uint8_t byte)
{
	uint8_t *bytes = malloc(DISK_BYTES);

	assert_non_null(bytes);
	memset(bytes, byte, DISK_BYTES);
	scsi_fixture_poke(f, unit, 0, bytes, DISK_BYTES);
	free(bytes);
}

/* Each block has the pattern from its beginning. */
static void check_pattern(struct scsi_fixture *f, unsigned unit, const uint8_t *pattern,
			  size_t size)
{
	uint8_t *found = malloc(DISK_BYTES);

	assert_non_null(found);
	scsi_fixture_peek(f, unit, 0, found, DISK_BYTES);
	for (size_t at = 0; at < DISK_BYTES; at++)
		assert_int_equal(found[at], pattern[at % BLOCK % size]);
	free(found);
}

static void check_byte(struct scsi_fixture *f, unsigned unit, uint8_t byte)
{
	check_pattern(f, unit, &byte, 1);
}

/* flags: byte 0 of the list; the pattern counts up from `first`. */
static size_t make_list(uint8_t list[4 + BLOCK], uint8_t flags, uint16_t size, uint8_t first)
{
	list[0] = flags;
	list[1] = 0;
	be16_put(list + 2, size);
	for (unsigned i = 0; i < BLOCK; i++)
		list[4 + i] = (uint8_t)(first + i);
	return 4u + size;
}

static void do_overwrite(struct scsi_fixture *f, const uint8_t *list, size_t size)
{
	scsi_do_out(f, FIRST,
		    CDB(0x48, 0x01, 0, 0, 0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size, 0), list,
		    size);
}

/* Waits until no job runs any more. */
static void wait_for_end(struct scsi_fixture *f, struct scsi_unit *unit)
{
	bool ended = false;

	while (!ended) {
		scsi_fixture_turn(f);
		ended = !(load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZING);
	}
}

/* ---- what is on the disk ---- */

static void test_block_erase_then_zeroes(void **state)
{
	struct scsi_fixture *f = *state;

	fill_disk(f, 0, 'x');
	scsi_do(f, FIRST, BLOCK_ERASE);
	scsi_assert_good(f);
	check_byte(f, 0, 0);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
	assert_int_equal(f->exclusive_count, 1);
}

static void test_block_erase_when_the_node_makes_no_zeroes_then_they_are_written(void **state)
{
	struct block_error_config config = { .name = "bad",
					     .op_mask = 1u << BLOCK_WRITE_ZEROES,
					     .error = -ENOTSUP };
	struct scsi_fixture *f = *state;
	struct block_node *bad = NULL;

	fill_disk(f, 0, 'x');
	config.child = f->node;
	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, BLOCK_ERASE);
	scsi_assert_good(f);
	check_byte(f, 0, 0);
}

static void test_overwrite_then_the_pattern_in_each_block(void **state)
{
	static const uint16_t sizes[] = { BLOCK, BLOCK / 2, 4, 1, 7, 300 };
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = make_list(list, 1, sizes[i], (uint8_t)(i + 3));

		do_overwrite(f, list, size);
		scsi_assert_good(f);
		scsi_assert_residual(f, SCSI_FITS, 0);
		check_pattern(f, 0, list + 4, sizes[i]);
	}
}

static void test_overwrite_when_inverted_then_every_other_pass(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK];

	do_overwrite(f, list, make_list(list, 0x80 | 1, 1, 0x3c));
	scsi_assert_good(f);
	check_byte(f, 0, 0x3c);
	do_overwrite(f, list, make_list(list, 0x80 | 2, 1, 0x3c));
	scsi_assert_good(f);
	check_byte(f, 0, 0xc3);
	do_overwrite(f, list, make_list(list, 0x80 | 31, 1, 0x3c));
	scsi_assert_good(f);
	check_byte(f, 0, 0x3c);
	do_overwrite(f, list, make_list(list, 2, 1, 0x3d));
	scsi_assert_good(f);
	check_byte(f, 0, 0x3d);
}

/* More than one piece and more than one turn, with an end that is not a piece's. */
static void test_overwrite_when_the_disk_is_large_then_to_the_last_block(void **state)
{
	const size_t size = (9u << 20) + BLOCK;
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK], *found = malloc(size);

	assert_non_null(found);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "large", size), NULL);
	scsi_fixture_clear_attentions(f);
	do_overwrite(f, list, make_list(list, 1, 1, 0x77));
	scsi_assert_good(f);
	scsi_fixture_peek(f, f->target_unit, 0, found, size);
	for (size_t at = 0; at < size; at++)
		assert_int_equal(found[at], 0x77);
	free(found);
}

/* ---- what is refused ---- */

static void test_overwrite_when_the_list_has_a_wrong_length_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK + 1] = { 0 };

	fill_disk(f, 0, 'x');
	make_list(list, 1, BLOCK, 0);
	for (size_t size = 0; size < 5; size++) {
		do_overwrite(f, list, size);
		scsi_assert_bad_cdb(f, 7, -1);
	}
	do_overwrite(f, list, 4 + BLOCK + 1);
	scsi_assert_bad_cdb(f, 7, -1);
	do_overwrite(f, list, 4 + BLOCK - 1);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	check_byte(f, 0, 'x');
}

static void test_overwrite_when_a_field_is_wrong_then_said_which(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK];

	fill_disk(f, 0, 'x');
	make_list(list, 0, BLOCK, 0); /* no passes */
	do_overwrite(f, list, sizeof(list));
	scsi_assert_bad_parameter(f, 0, 4);
	make_list(list, 0x21, BLOCK, 0); /* TEST */
	do_overwrite(f, list, sizeof(list));
	scsi_assert_bad_parameter(f, 0, 6);
	make_list(list, 1, 0, 0);
	do_overwrite(f, list, sizeof(list));
	scsi_assert_bad_parameter(f, 2, -1);
	make_list(list, 1, BLOCK + 1, 0);
	do_overwrite(f, list, sizeof(list));
	scsi_assert_bad_parameter(f, 2, -1);
	check_byte(f, 0, 'x');
}

static void test_sanitize_when_crypto_erase_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x48, 0x03, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 1, 4);
}

static void test_sanitize_when_write_protected_then_refused(void **state)
{
	const struct scsi_unit_config config = { .read_only = true };
	struct scsi_fixture *f = *state;

	fill_disk(f, 0, 'x');
	scsi_fixture_restart(f, 0, &config);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, BLOCK_ERASE);
	scsi_assert_sense(f, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	check_byte(f, 0, 'x');
}

/* ---- while it runs ---- */

/* units[1]: a disk on which each piece takes so long. */
static struct scsi_unit *add_slow_disk(struct scsi_fixture *f, uint64_t latency_ns)
{
	struct block_delay_config config = { .name = "slow", .latency_ns = latency_ns };
	struct block_node *slow = NULL;

	config.child = scsi_fixture_ram(f, "under", DISK_BYTES);
	assert_int_equal(block_delay_open(f->graph, &config, &slow, NULL), 0);
	f->target_unit = scsi_fixture_add(f, slow, NULL);
	scsi_fixture_clear_attentions(f);
	fill_disk(f, f->target_unit, 'x');
	return f->units[f->target_unit].unit;
}

static void check_in_progress(struct scsi_fixture *f)
{
	const uint8_t *specific = scsi_sense_specific_of(&f->run.task);

	scsi_assert_sense(f, SCSI_NOT_READY, SCSI_ASC_NOT_READY_SANITIZE_IN_PROGRESS);
	assert_int_equal(specific[0] & 0x80, 0x80);
}

static void test_sanitize_when_immediate_then_others_are_told_until_it_is_done(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_slow_disk(f, 20000000);
	uint8_t bytes[96];

	scsi_do(f, FIRST, BLOCK_ERASE_IMMED);
	scsi_assert_good(f);
	scsi_do(f, SECOND, TEST_UNIT_READY);
	check_in_progress(f);
	scsi_do_in(f, FIRST, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0);
	check_in_progress(f);
	scsi_do(f, FIRST, BLOCK_ERASE_IMMED);
	check_in_progress(f);
	scsi_do_in(f, FIRST, CDB(0x12, 0, 0, 0, 96, 0), bytes, 96);
	scsi_assert_good(f);
	wait_for_end(f, unit);
	scsi_do(f, SECOND, TEST_UNIT_READY);
	scsi_assert_good(f);
	check_byte(f, f->target_unit, 0);
}

/* Many passes over a disk of one piece: each adds a part. */
static void test_sanitize_then_its_progress_grows(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_slow_disk(f, 1000000);
	uint8_t list[4 + BLOCK];
	size_t size = make_list(list, 16, 1, 1);
	unsigned last = 0, steps = 0;
	uint16_t progress = 0;

	scsi_do_out(f, FIRST, CDB(0x48, 0x81, 0, 0, 0, 0, 0, 0, (uint8_t)size, 0), list, size);
	scsi_assert_good(f);
	while (load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZING) {
		scsi_unit_lock(unit);
		assert_true(scsi_sanitize_progress(unit, &progress));
		scsi_unit_unlock(unit);
		assert_true(progress >= last);
		steps += progress > last;
		last = progress;
		scsi_fixture_turn(f);
	}
	assert_true(steps >= 8);
	scsi_unit_lock(unit);
	assert_false(scsi_sanitize_progress(unit, &progress));
	scsi_unit_unlock(unit);
}

static void test_sanitize_when_the_waiting_command_is_aborted_then_the_job_goes_on(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_slow_disk(f, 20000000);
	struct scsi_run run = { 0 };

	scsi_run_start(f, &run, FIRST, BLOCK_ERASE, &(struct scsi_run_data){ 0 });
	assert_int_equal(run.done_count, 0);
	scsi_task_cancel(&run.task);
	assert_int_equal(run.done_count, 1);
	assert_int_equal(run.task.status, SCSI_TASK_ABORTED);
	assert_true(load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZING);
	wait_for_end(f, unit);
	assert_int_equal(run.done_count, 1);
	assert_false(load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZE_FAILED);
	check_byte(f, f->target_unit, 0);
	scsi_run_fini(&run);
}

/* The answer is a message; who aborts after it was sent gets the answer. */
static void test_sanitize_when_aborted_after_it_has_ended_then_answered_once(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };

	scsi_run_start(f, &run, FIRST, BLOCK_ERASE, &(struct scsi_run_data){ 0 });
	while (load_relaxed(&f->unit->slow) & SCSI_UNIT_SANITIZING) {
		assert_int_equal(run.done_count, 0);
		scsi_fixture_turn(f);
	}
	if (run.done_count == 0)
		scsi_task_cancel(&run.task);
	scsi_run_wait(&run);
	assert_int_equal(run.task.status, SCSI_GOOD);
	scsi_run_fini(&run);
}

static void test_sanitize_when_the_unit_is_reset_then_it_goes_on(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_slow_disk(f, 20000000);

	scsi_do(f, FIRST, BLOCK_ERASE_IMMED);
	scsi_unit_reset(unit);
	scsi_fixture_clear_attentions(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	check_in_progress(f);
	wait_for_end(f, unit);
	check_byte(f, f->target_unit, 0);
}

static void set_flag(void *opaque)
{
	*(bool *)opaque = true;
}

static void test_sanitize_when_the_unit_ends_then_it_stops_between_two_pieces(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_slow_disk(f, 5000000);
	uint8_t list[4 + BLOCK];
	size_t size = make_list(list, 31, 1, 0x55);
	bool ended = false;

	scsi_do_out(f, FIRST, CDB(0x48, 0x81, 0, 0, 0, 0, 0, 0, (uint8_t)size, 0), list, size);
	scsi_assert_good(f);
	scsi_unit_end_jobs(unit, set_flag, &ended);
	assert_false(ended);
	scsi_fixture_wait(f, &ended);
	assert_null(unit->sanitize);
	assert_true(load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZE_FAILED);
	/* no new one begins */
	scsi_do(f, FIRST, BLOCK_ERASE);
	scsi_assert_status(f, SCSI_BUSY);
}

static void test_sanitize_when_the_unit_ends_before_the_job_began_then_told(void **state)
{
	struct scsi_fixture *f = *state;
	bool ended = false;

	fill_disk(f, 0, 'x');
	scsi_do(f, FIRST, BLOCK_ERASE_IMMED);
	scsi_unit_end_jobs(f->unit, set_flag, &ended);
	scsi_fixture_wait(f, &ended);
	check_byte(f, 0, 'x');
}

/* A file of four pieces that take 20 ms each; the next commands go to it. */
static struct block_node *use_slow_disk(struct scsi_fixture *f)
{
	struct block_file_config config = { .name = "file" };
	struct block_delay_config delay = { .name = "slow", .latency_ns = 20000000 };
	struct block_node *slow = NULL;

	config.filename = scsi_fixture_path(f, "disk");
	close(open(config.filename, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	assert_int_equal(truncate(config.filename, 4 << 20), 0);
	assert_int_equal(block_file_open(f->graph, &config, &delay.child, NULL), 0);
	assert_int_equal(block_delay_open(f->graph, &delay, &slow, NULL), 0);
	f->target_unit = scsi_fixture_add(f, slow, NULL);
	scsi_fixture_clear_attentions(f);
	return slow;
}

static void overwrite_in_background(struct scsi_fixture *f)
{
	uint8_t list[4 + BLOCK];

	scsi_do_out(f, FIRST, CDB(0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0), list,
		    make_list(list, 1, 1, 0x5a));
	scsi_assert_good(f);
}

/* 65536: it has ended. */
static unsigned progress_of(struct scsi_unit *unit)
{
	uint16_t progress = 0;
	bool runs;

	scsi_unit_lock(unit);
	runs = scsi_sanitize_progress(unit, &progress);
	scsi_unit_unlock(unit);
	return runs ? progress : 65536;
}

/* Whether it is before the job begins or between any two of its pieces. */
static void test_sanitize_when_held_then_it_stands_still_until_released(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit;
	unsigned holds = 0;

	use_slow_disk(f);
	unit = f->units[f->target_unit].unit;
	overwrite_in_background(f);
	while (load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZING) {
		bool still = false;
		unsigned progress, later;

		scsi_unit_hold_jobs(unit, set_flag, &still);
		scsi_fixture_wait(f, &still);
		progress = progress_of(unit);
		for (unsigned turn = 0; turn < 10; turn++)
			scsi_fixture_turn(f);
		later = progress_of(unit);
		assert_true(later == progress || later == 65536);
		holds += later == progress;
		scsi_unit_release_jobs(unit);
	}
	assert_in_range(holds, 4, 6);
	assert_int_equal(load_relaxed(&unit->slow), 0);
}

/* What is gone needs no overwriting; what came is overwritten too. */
static void check_resized(struct scsi_fixture *f, uint64_t size)
{
	struct block_node *slow = use_slow_disk(f);
	struct scsi_unit *unit = f->units[f->target_unit].unit;
	uint8_t found[BLOCK];

	overwrite_in_background(f);
	scsi_fixture_turn(f);
	assert_int_equal(block_node_resize(slow, size, NULL), 0);
	wait_for_end(f, unit);
	assert_int_equal(load_relaxed(&unit->slow), 0);
	scsi_fixture_peek(f, f->target_unit, size - BLOCK, found, BLOCK);
	assert_int_equal(found[BLOCK - 1], 0x5a);
}

static void test_sanitize_when_the_disk_grows_then_to_the_new_end(void **state)
{
	check_resized(*state, 6 << 20);
}

static void test_sanitize_when_the_disk_shrinks_then_to_the_new_end(void **state)
{
	check_resized(*state, 2 << 20);
}

/* ---- when it fails ---- */

/* units[1]: fails this operation. */
static struct scsi_unit *add_bad_disk(struct scsi_fixture *f, enum block_op op, uint64_t every)
{
	struct block_error_config config = { .name = "bad", .op_mask = 1u << op, .every = every };
	struct block_node *bad = NULL;

	config.child = f->node;
	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	f->target_unit = scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
	return f->units[f->target_unit].unit;
}

static void check_failed(struct scsi_fixture *f)
{
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
}

static void test_sanitize_when_a_piece_fails_then_only_another_one_helps(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[4 + BLOCK];

	add_bad_disk(f, BLOCK_WRITE, 2);
	do_overwrite(f, list, make_list(list, 2, 1, 1));
	check_failed(f);
	scsi_do(f, SECOND, TEST_UNIT_READY);
	check_failed(f);
	/* AUSE was 0: no way out without sanitizing */
	scsi_do(f, FIRST, EXIT_FAILURE_MODE);
	scsi_assert_bad_cdb(f, 1, 4);
	scsi_do(f, FIRST, BLOCK_ERASE_AUSE);
	scsi_assert_bad_cdb(f, 1, 5);
	scsi_do(f, SECOND, TEST_UNIT_READY);
	check_failed(f);
	scsi_do(f, FIRST, BLOCK_ERASE);
	scsi_assert_good(f);
	scsi_do(f, SECOND, TEST_UNIT_READY);
	scsi_assert_good(f);
	scsi_do(f, FIRST, EXIT_FAILURE_MODE);
	scsi_assert_good(f);
}

static void test_sanitize_when_it_fails_and_ause_was_set_then_failure_can_be_left(void **state)
{
	struct scsi_fixture *f = *state;

	add_bad_disk(f, BLOCK_WRITE_ZEROES, 1);
	scsi_do(f, FIRST, BLOCK_ERASE_AUSE);
	check_failed(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	check_failed(f);
	scsi_do(f, FIRST, EXIT_FAILURE_MODE);
	scsi_assert_good(f);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	scsi_assert_good(f);
}

static void test_sanitize_when_the_flush_fails_then_failed(void **state)
{
	struct scsi_fixture *f = *state;

	add_bad_disk(f, BLOCK_FLUSH, 1);
	scsi_do(f, FIRST, BLOCK_ERASE);
	check_failed(f);
}

static void test_sanitize_when_immediate_and_it_fails_then_told_to_the_next(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *unit = add_bad_disk(f, BLOCK_WRITE_ZEROES, 1);

	scsi_do(f, FIRST, BLOCK_ERASE_IMMED);
	scsi_assert_good(f);
	wait_for_end(f, unit);
	scsi_do(f, FIRST, TEST_UNIT_READY);
	check_failed(f);
}

static void test_exit_failure_mode_when_nothing_failed_then_good(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, EXIT_FAILURE_MODE);
	scsi_assert_good(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_block_erase_then_zeroes),
		scsi_test(test_block_erase_when_the_node_makes_no_zeroes_then_they_are_written),
		scsi_test(test_overwrite_then_the_pattern_in_each_block),
		scsi_test(test_overwrite_when_inverted_then_every_other_pass),
		scsi_test(test_overwrite_when_the_disk_is_large_then_to_the_last_block),
		scsi_test(test_overwrite_when_the_list_has_a_wrong_length_then_refused),
		scsi_test(test_overwrite_when_a_field_is_wrong_then_said_which),
		scsi_test(test_sanitize_when_crypto_erase_then_refused),
		scsi_test(test_sanitize_when_write_protected_then_refused),
		scsi_test(test_sanitize_when_immediate_then_others_are_told_until_it_is_done),
		scsi_test(test_sanitize_then_its_progress_grows),
		scsi_test(test_sanitize_when_the_waiting_command_is_aborted_then_the_job_goes_on),
		scsi_test(test_sanitize_when_aborted_after_it_has_ended_then_answered_once),
		scsi_test(test_sanitize_when_the_unit_is_reset_then_it_goes_on),
		scsi_test(test_sanitize_when_the_unit_ends_then_it_stops_between_two_pieces),
		scsi_test(test_sanitize_when_the_unit_ends_before_the_job_began_then_told),
		scsi_test(test_sanitize_when_held_then_it_stands_still_until_released),
		scsi_test(test_sanitize_when_the_disk_grows_then_to_the_new_end),
		scsi_test(test_sanitize_when_the_disk_shrinks_then_to_the_new_end),
		scsi_test(test_sanitize_when_a_piece_fails_then_only_another_one_helps),
		scsi_test(test_sanitize_when_it_fails_and_ause_was_set_then_failure_can_be_left),
		scsi_test(test_sanitize_when_the_flush_fails_then_failed),
		scsi_test(test_sanitize_when_immediate_and_it_fails_then_told_to_the_next),
		scsi_test(test_exit_failure_mode_when_nothing_failed_then_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
