/* SPDX-License-Identifier: MIT */
/* What outlives a daemon: registrations, reservation and saved mode pages; and what a state file says when it must not be used. */
#include "scsi/state_internal.h"
#include "scsi/test_pr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { K1 = 0x1111, K2 = 0x2222 };

/* ---- a disk with a state file ---- */

static char state_path[160];

static struct scsi_unit_config config_of(void)
{
	return (struct scsi_unit_config){ .serial = "S1", .state_path = state_path };
}

static int setup(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct scsi_unit_config config = config_of();

	snprintf(state_path, sizeof(state_path), "%s", scsi_fixture_path(f, "disk.state"));
	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 1 << 20), &config);
	scsi_fixture_clear_attentions(f);
	*state = f;
	return 0;
}
#define state_test(f) cmocka_unit_test_setup_teardown(f, setup, scsi_fixture_teardown)

static void restart(struct scsi_fixture *f)
{
	struct scsi_unit_config config = config_of();

	scsi_fixture_restart(f, 0, &config);
	scsi_fixture_clear_attentions(f);
}

static size_t file_read(const char *path, char *bytes)
{
	int fd = open(path, O_RDONLY);
	ssize_t size;

	assert_true(fd >= 0);
	size = read(fd, bytes, STATE_BYTES_MAX);
	assert_true(size >= 0);
	close(fd);
	return (size_t)size;
}

static void file_write(const char *path, const char *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static const char *other_path(struct scsi_fixture *f)
{
	return scsi_fixture_path(f, "other.state");
}

/* Another unit that wants this file: what it is told. Returns the error. */
static int open_with(struct scsi_fixture *f, const char *path, const char *serial,
		     struct error *error)
{
	struct scsi_unit_config config = {
		.node = f->node,
		.loop = f->loop,
		.serial = serial,
		.state_path = path,
	};
	struct scsi_unit *unit = NULL;
	int result = scsi_unit_new(&config, &unit, error);

	if (result == 0)
		scsi_unit_free(unit);
	return result;
}

static void assert_refused(struct scsi_fixture *f, const char *path, const char *why)
{
	struct error error = { 0 };

	assert_true(open_with(f, path, "S1", &error) < 0);
	assert_non_null(strstr(error.text, path));
	if (!strstr(error.text, why))
		fail_msg("'%s' does not say '%s'", error.text, why);
}

static void register_to_stay(struct scsi_fixture *f)
{
	PR(f, FIRST, PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL);
	scsi_assert_good(f);
	PR(f, SECOND, PR_REGISTER, .action_key = K2, .flags = FLAG_APTPL);
	scsi_assert_good(f);
}

/* ---- what outlives a restart ---- */

static void test_aptpl_when_restarted_then_all_is_there(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[1024];

	register_to_stay(f);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	scsi_assert_good(f);
	restart(f);
	/* before the first command */
	assert_true(f->nexuses[SECOND]->slow & SCSI_CONFLICT_WRITE);
	assert_false(f->nexuses[FIRST]->slow & SCSI_CONFLICT_WRITE);
	ASSERT_KEYS(f, K1, K2);
	assert_reserved(f, K1, PR_EXCLUSIVE_ACCESS);
	assert_int_equal(pr_generation(f), 0);
	assert_true(conflicts(f, SECOND, READS));
	assert_false(conflicts(f, FIRST, WRITES));
	pr_in(f, FIRST, REPORT_CAPABILITIES, bytes);
	assert_int_equal(bytes[2], 0x0d); /* SIP_C, ATP_C, PTPL_C */
	assert_int_equal(bytes[3], 0xb1); /* PTPL_A */
}

static void test_aptpl_when_each_change_then_it_is_kept(void **state)
{
	struct scsi_fixture *f = *state;

	register_to_stay(f);
	PR(f, FIRST, PR_RESERVE, PR_WRITE_EXCLUSIVE, .key = K1);
	PR(f, FIRST, PR_RELEASE, PR_WRITE_EXCLUSIVE, .key = K1);
	restart(f);
	assert_not_reserved(f);
	PR(f, FIRST, PR_RESERVE, PR_WRITE_EXCLUSIVE, .key = K1);
	PR(f, SECOND, PR_PREEMPT, PR_EXCLUSIVE_ACCESS_ALL, .key = K2, .action_key = K1);
	restart(f);
	ASSERT_KEYS(f, K2);
	assert_reserved(f, 0, PR_EXCLUSIVE_ACCESS_ALL);
	PR(f, SECOND, PR_CLEAR, .key = K2);
	restart(f);
	ASSERT_KEYS(f, );
	assert_not_reserved(f);
}

static void test_aptpl_when_taken_back_then_nothing_is_kept(void **state)
{
	struct scsi_fixture *f = *state;

	register_to_stay(f);
	/* what was received last holds for all */
	PR(f, SECOND, PR_REGISTER, .key = K2, .action_key = K2);
	scsi_assert_good(f);
	ASSERT_KEYS(f, K1, K2);
	restart(f);
	ASSERT_KEYS(f, );
}

static void test_registration_when_without_aptpl_then_gone_after_restart(void **state)
{
	struct scsi_fixture *f = *state;
	char before[STATE_BYTES_MAX], after[STATE_BYTES_MAX];
	size_t size = file_read(state_path, before);

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	assert_int_equal(file_read(state_path, after), size);
	assert_memory_equal(before, after, size); /* nothing was written for it */
	restart(f);
	ASSERT_KEYS(f, );
	assert_false(conflicts(f, SECOND, WRITES));
}

static void test_register_and_move_when_aptpl_then_kept(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[48] = { 0 };

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	be64_put(list, K1);
	be64_put(list + 8, K2);
	list[17] = 0x03; /* UNREG, APTPL */
	be16_put(list + 18, 2);
	be32_put(list + 20, 24);
	pr_transport_id_put(list + 24, initiator_id(f, SECOND));
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER_AND_MOVE, 0, 48), list, 48);
	scsi_assert_good(f);
	restart(f);
	assert_reserved(f, K2, PR_EXCLUSIVE_ACCESS);
	assert_false(conflicts(f, SECOND, WRITES));
}

static void mode_saved(struct scsi_task *task, int result)
{
	task->residual = (uint64_t)-result;
	task->done(task);
}

/* As MODE SELECT with SP does. Returns 0 or -errno. */
static int save_mode(struct scsi_fixture *f, uint8_t read_retries)
{
	struct scsi_run *run = &f->run;

	/* a task of the fixture, which has ended: it has nexus, loop and done() */
	scsi_do(f, FIRST, CDB(0x00, 0, 0, 0, 0, 0));
	run->done_count = 0;
	f->unit->mode_saved.read_retries = read_retries;
	scsi_state_save(&run->task, mode_saved);
	scsi_run_wait(run);
	return -(int)run->task.residual;
}

static void test_mode_when_saved_then_there_after_restart(void **state)
{
	struct scsi_fixture *f = *state;

	register_to_stay(f);
	assert_int_equal(save_mode(f, 5), 0);
	restart(f);
	assert_int_equal(f->unit->mode.read_retries, 5);
	assert_int_equal(f->unit->mode_saved.read_retries, 5);
	ASSERT_KEYS(f, K1, K2);
	PR(f, FIRST, PR_CLEAR, .key = K1);
	restart(f);
	assert_int_equal(f->unit->mode.read_retries, 5);
}

/* ---- one change after another ---- */

static void start(struct scsi_fixture *f, struct scsi_run *run, enum scsi_who who,
		  struct pr_arguments a)
{
	uint8_t list[PR_LIST_BYTES];

	pr_list(list, a.key, a.action_key, a.flags);
	scsi_run_start(f, run, who, PR_OUT_CDB(a.action, a.scope_type, PR_LIST_BYTES),
		       &(struct scsi_run_data){ .out = list, .out_bytes = sizeof(list) });
}

static void finish(struct scsi_run *run, enum scsi_status status)
{
	scsi_run_wait(run);
	assert_int_equal(run->task.status, status);
	assert_null(run->task.state);
	scsi_run_fini(run);
}

static void test_change_when_another_is_being_saved_then_it_waits(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run runs[3] = { 0 };

	/* the first is with the writer; the others are looked at when it has been */
	start(f, &runs[0], FIRST,
	      (struct pr_arguments){ PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL });
	start(f, &runs[1], FIRST, (struct pr_arguments){ PR_RESERVE, PR_WRITE_EXCLUSIVE, K1 });
	start(f, &runs[2], FIRST, (struct pr_arguments){ PR_REGISTER, .key = 9 });
	assert_int_equal(runs[0].done_count + runs[1].done_count + runs[2].done_count, 0);
	finish(&runs[0], SCSI_GOOD);
	finish(&runs[1], SCSI_GOOD);
	finish(&runs[2], SCSI_RESERVATION_CONFLICT);
	restart(f);
	assert_reserved(f, K1, PR_WRITE_EXCLUSIVE);
}

static void test_old_reserve_when_a_registration_is_being_saved_then_it_waits(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run registers = { 0 }, reserves = { 0 };

	start(f, &registers, FIRST,
	      (struct pr_arguments){ PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL });
	scsi_run_start(f, &reserves, SECOND, CDB(0x16, 0, 0, 0, 0, 0),
		       &(struct scsi_run_data){ 0 });
	assert_int_equal(reserves.done_count, 0);
	finish(&registers, SCSI_GOOD);
	finish(&reserves, SCSI_RESERVATION_CONFLICT);
}

static void set_flag(void *opaque)
{
	*(bool *)opaque = true;
}

static void test_jobs_when_ended_while_saving_then_done_after_the_write(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	bool ended = false;

	start(f, &run, FIRST,
	      (struct pr_arguments){ PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL });
	scsi_unit_end_jobs(f->unit, set_flag, &ended);
	scsi_fixture_wait(f, &ended);
	assert_int_equal(f->unit->reservations->table.count, 1);
	finish(&run, SCSI_GOOD);
	restart(f);
	ASSERT_KEYS(f, K1);
}

static void test_save_when_jobs_have_ended_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	bool ended = false;

	scsi_unit_end_jobs(f->unit, set_flag, &ended);
	scsi_fixture_wait(f, &ended);
	PR(f, FIRST, PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL);
	scsi_assert_sense(f, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	ASSERT_KEYS(f, );
}

/* ---- when writing fails, and when somebody dies in between ---- */

/* The directory goes away under the daemon: nothing can be written there, by root neither. */
static void lose_directory(struct scsi_fixture *f)
{
	unlink(state_path);
	assert_int_equal(rmdir(f->dir), 0);
}

static void test_change_when_it_cannot_be_saved_then_nothing_changes(void **state)
{
	struct scsi_fixture *f = *state;
	uint32_t generation;

	register_to_stay(f);
	generation = pr_generation(f);
	lose_directory(f);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	scsi_assert_sense(f, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	PR(f, FIRST, PR_CLEAR, .key = K1);
	scsi_assert_sense(f, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	assert_not_reserved(f);
	ASSERT_KEYS(f, K1, K2);
	assert_int_equal(pr_generation(f), generation);
	assert_told(f, SECOND, SCSI_ASC_NONE);
	assert_false(conflicts(f, SECOND, WRITES));
	assert_int_equal(save_mode(f, 3), -ENOENT);
}

static void test_start_when_somebody_died_while_writing_then_the_old_state_holds(void **state)
{
	struct scsi_fixture *f = *state;
	char bytes[STATE_BYTES_MAX], path_new[200];
	size_t size;

	register_to_stay(f);
	size = file_read(state_path, bytes);
	snprintf(path_new, sizeof(path_new), "%s.new", state_path);
	for (size_t part = 0; part <= size; part += 61) {
		file_write(path_new, bytes, part);
		restart(f);
		ASSERT_KEYS(f, K1, K2);
	}
	/* and it is in nobody's way */
	file_write(path_new, bytes, size - 1);
	PR(f, FIRST, PR_REGISTER, .key = K1, .action_key = 7, .flags = FLAG_APTPL);
	scsi_assert_good(f);
	assert_int_equal(access(path_new, F_OK), -1);
	restart(f);
	ASSERT_KEYS(f, 7, K2);
}

static void test_start_when_nothing_is_there_then_a_file_is_made(void **state)
{
	struct scsi_fixture *f = *state;
	struct error error = { 0 };
	struct stat status;

	assert_int_equal(open_with(f, other_path(f), "S2", &error), 0);
	assert_int_equal(stat(other_path(f), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(open_with(f, other_path(f), "S2", &error), 0); /* and read again */
	assert_true(open_with(f, "no-such-directory/x", "S2", &error) < 0);
	assert_non_null(strstr(error.text, "no-such-directory/x"));
}

/* ---- files that must not be used ---- */

static void test_start_when_any_byte_is_damaged_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	char bytes[STATE_BYTES_MAX];
	size_t size;

	register_to_stay(f);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	size = file_read(state_path, bytes);
	file_write(other_path(f), bytes, size);
	assert_int_equal(open_with(f, other_path(f), "S1", NULL), 0); /* as it is, it is fine */
	for (size_t i = 0; i < size; i++) {
		struct error error = { 0 };
		char before = bytes[i];

		bytes[i] ^= (char)(1 << (i % 7));
		file_write(other_path(f), bytes, size);
		if (open_with(f, other_path(f), "S1", &error) == 0)
			fail_msg("byte %zu changed, and nobody noticed", i);
		assert_non_null(strstr(error.text, "state file"));
		bytes[i] = before;
	}
	for (size_t part = 0; part < size; part++) {
		file_write(other_path(f), bytes, part);
		assert_int_equal(open_with(f, other_path(f), "S1", NULL), -EINVAL);
	}
	bytes[size] = '\n';
	file_write(other_path(f), bytes, size + 1);
	assert_refused(f, other_path(f), "damaged");
}

static void test_start_when_file_is_foreign_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	char bytes[STATE_BYTES_MAX + 1];
	size_t size;

	file_write(other_path(f), "a shopping list\n", 16);
	assert_refused(f, other_path(f), "not a state file");
	memset(bytes, 'x', sizeof(bytes));
	file_write(other_path(f), bytes, sizeof(bytes));
	assert_refused(f, other_path(f), "not a state file");
	size = file_read(state_path, bytes);
	bytes[20] = '2';
	file_write(other_path(f), bytes, size);
	assert_refused(f, other_path(f), "version 2");
	assert_refused(f, f->dir, "cannot open");
	mkfifo(scsi_fixture_path(f, "fifo"), 0600);
	assert_refused(f, scsi_fixture_path(f, "fifo"), "state file");
}

static void test_start_when_state_is_of_another_disk_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	char bytes[STATE_BYTES_MAX];
	struct error error = { 0 };

	file_write(other_path(f), bytes, file_read(state_path, bytes));
	assert_true(open_with(f, other_path(f), "S9", &error) < 0);
	assert_non_null(strstr(error.text, "belongs to the disk with wwn"));
}

static void test_start_when_file_is_in_use_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	assert_refused(f, state_path, "in use");
	/* the file that took the name is locked as well */
	register_to_stay(f);
	assert_refused(f, state_path, "in use");
}

/* A file that was put together by hand, checksum and all, and makes no sense. */
static void test_decode_when_table_is_unsound_then_refused(void **state)
{
	struct state_content content = { .wwn = 1, .table = { .aptpl = true } }, again;
	char text[STATE_BYTES_MAX];
	struct error error = { 0 };
	size_t size;

	content.table.registrations[0] = (struct pr_registration){ .initiator = 5, .key = 6 };
	content.table.count = 1;
	content.table.type = PR_WRITE_EXCLUSIVE;
	content.table.holder = 5;
	size = state_encode(&content, text);
	assert_int_equal(state_decode(text, size, &again, &error), 0);
	assert_int_equal(again.table.holder, 5);
	content.table.holder = 7;
	size = state_encode(&content, text);
	assert_int_equal(state_decode(text, size, &again, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no sense"));
}

static void test_encode_when_full_then_it_fits(void **state)
{
	static struct state_content content, again;
	char text[STATE_BYTES_MAX];
	size_t size;

	content = (struct state_content){ .wwn = UINT64_MAX, .table = { .aptpl = true } };
	memset(&content.mode, 0xff, sizeof(content.mode));
	for (unsigned i = 0; i < PR_REGISTRATIONS_MAX; i++)
		content.table.registrations[i] = (struct pr_registration){
			.initiator = UINT64_MAX - i,
			.key = UINT64_MAX,
			.port = UINT16_MAX,
			.all_ports = true,
		};
	content.table.count = PR_REGISTRATIONS_MAX;
	content.table.type = PR_EXCLUSIVE_ACCESS_ALL;
	size = state_encode(&content, text);
	assert_true(size < STATE_BYTES_MAX);
	assert_int_equal(state_decode(text, size, &again, NULL), 0);
	assert_int_equal(again.table.count, PR_REGISTRATIONS_MAX);
	assert_int_equal(again.mode.write_retries, 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		state_test(test_aptpl_when_restarted_then_all_is_there),
		state_test(test_aptpl_when_each_change_then_it_is_kept),
		state_test(test_aptpl_when_taken_back_then_nothing_is_kept),
		state_test(test_registration_when_without_aptpl_then_gone_after_restart),
		state_test(test_register_and_move_when_aptpl_then_kept),
		state_test(test_mode_when_saved_then_there_after_restart),
		state_test(test_change_when_another_is_being_saved_then_it_waits),
		state_test(test_old_reserve_when_a_registration_is_being_saved_then_it_waits),
		state_test(test_jobs_when_ended_while_saving_then_done_after_the_write),
		state_test(test_save_when_jobs_have_ended_then_refused),
		state_test(test_change_when_it_cannot_be_saved_then_nothing_changes),
		state_test(test_start_when_somebody_died_while_writing_then_the_old_state_holds),
		state_test(test_start_when_nothing_is_there_then_a_file_is_made),
		state_test(test_start_when_any_byte_is_damaged_then_refused),
		state_test(test_start_when_file_is_foreign_then_refused),
		state_test(test_start_when_state_is_of_another_disk_then_refused),
		state_test(test_start_when_file_is_in_use_then_refused),
		cmocka_unit_test(test_decode_when_table_is_unsound_then_refused),
		cmocka_unit_test(test_encode_when_full_then_it_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
