// SPDX-License-Identifier: MIT
/*
 * libringlane on a real adapter, whose URI (without a LUN) is the argument: who is there, LUN 0 and LUN 1 of target 0, commands,
 * task management. Both disks are overwritten; LUN 0 has 4 MiB or more and 512 byte blocks; LUN 2 takes long for each read. There is one
 * queue beside the one that is used.
 */
#include <ringlane/managed.h>

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DEADLINE_MS 60000
#define BUFFER_BYTES (1u << 20)

static const char *uri;

struct scene {
	struct ringlane_device *device;
	struct ringlane_queue *queue;
	struct ringlane_lun *luns[3];
	uint8_t *buffer;
};

static int scene_open(void **state)
{
	const struct ringlane_options options = { .queues = 1, .timeout_ms = DEADLINE_MS };
	struct scene *scene = calloc(1, sizeof(*scene));
	struct ringlane_error error = { 0 };

	if (ringlane_open(uri, &options, &scene->device, &error) < 0 ||
	    ringlane_lun_open(scene->device, NULL, 0, 0, &scene->luns[0], &error) < 0 ||
	    ringlane_lun_open(scene->device, NULL, 0, 1, &scene->luns[1], &error) < 0 ||
	    ringlane_lun_open(scene->device, NULL, 0, 2, &scene->luns[2], &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	scene->queue = ringlane_queue_get(scene->device, 0);
	scene->buffer = ringlane_mem_alloc(scene->device, BUFFER_BYTES, NULL);
	*state = scene;
	return scene->buffer ? 0 : -1;
}

static int scene_close(void **state)
{
	struct scene *scene = *state;

	ringlane_lun_close(scene->luns[0]);
	ringlane_lun_close(scene->luns[1]);
	ringlane_lun_close(scene->luns[2]);
	ringlane_close(scene->device);
	free(scene);
	return 0;
}

static int finish(struct ringlane_queue *queue, int queued)
{
	struct ringlane_completion completion;

	if (queued < 0)
		return queued;
	if (ringlane_wait(queue, &completion, 1, 1, DEADLINE_MS, 0) != 1)
		return -ETIME;
	return completion.result;
}

static int write_blocks(struct scene *scene, unsigned lun, uint64_t offset, int byte, size_t bytes)
{
	memset(scene->buffer, byte, bytes);
	return finish(scene->queue, ringlane_lun_write(scene->queue, scene->luns[lun],
						       scene->buffer, bytes, offset, NULL));
}

static void check_blocks(struct scene *scene, unsigned lun, uint64_t offset, int byte, size_t bytes)
{
	memset(scene->buffer, ~byte, bytes);
	assert_int_equal(finish(scene->queue,
				ringlane_lun_read(scene->queue, scene->luns[lun], scene->buffer,
						  bytes, offset, NULL)),
			 0);
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(scene->buffer[i], (uint8_t)byte);
}

/* ---- who is there ---- */

static void test_scan_when_three_luns_then_all_are_told(void **state)
{
	struct scene *scene = *state;
	struct ringlane_scsi_unit units[8] = { 0 };
	struct ringlane_lun_info info;

	assert_int_equal(ringlane_scsi_scan(scene->device, NULL, units, 8, NULL), 3);
	for (unsigned i = 0; i < 3; i++) {
		ringlane_lun_get_info(scene->luns[i], &info);
		assert_int_equal(units[i].target, 0);
		assert_int_equal(units[i].lun, i);
		assert_int_equal(units[i].type, 0);
		assert_true(units[i].vendor[0] && units[i].product[0] && units[i].revision[0]);
		assert_memory_equal(&units[i], &info.unit, sizeof(units[i]));
		assert_true(info.serial[0] && info.wwn);
		assert_int_equal(info.logical_block_size, 512);
	}
	assert_int_equal(ringlane_scsi_scan(scene->device, scene->queue, units, 0, NULL), 3);
}

static void test_lun_when_it_is_not_there_then_enxio(void **state)
{
	struct scene *scene = *state;
	struct ringlane_error error;
	struct ringlane_lun *lun;

	assert_int_equal(ringlane_lun_open(scene->device, NULL, 0, 77, &lun, &error), -ENXIO);
	assert_string_equal(error.text, "target 0 has no LUN 77");
	assert_int_equal(ringlane_lun_open(scene->device, NULL, 9, 0, &lun, &error), -ENXIO);
	assert_string_equal(error.text,
			    "target 9, LUN 0: INQUIRY: BAD TARGET: there is no such target");
	assert_int_equal(ringlane_lun_open(scene->device, NULL, 256, 0, &lun, &error), -EINVAL);
	assert_int_equal(ringlane_lun_open(scene->device, NULL, 0, 16384, &lun, &error), -EINVAL);
}

/* ---- the block face ---- */

static void test_luns_when_written_then_each_has_its_own_data(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(write_blocks(scene, 0, 0, 0x11, 65536), 0);
	assert_int_equal(write_blocks(scene, 1, 0, 0x22, 65536), 0);
	check_blocks(scene, 0, 0, 0x11, 65536);
	check_blocks(scene, 1, 0, 0x22, 65536);
	assert_int_equal(
		finish(scene->queue, ringlane_lun_flush(scene->queue, scene->luns[1], NULL)), 0);
}

static void test_segments_when_odd_then_data_is_right(void **state)
{
	struct scene *scene = *state;
	uint8_t *buffer = scene->buffer;
	const struct iovec out[] = { { buffer, 700 }, { buffer + 700, 1 }, { buffer + 701, 3395 } };
	const struct iovec in[] = { { buffer + 8192, 4095 }, { buffer + 8192 + 4095, 1 } };

	for (unsigned i = 0; i < 4096; i++)
		buffer[i] = (uint8_t)(i * 7);
	assert_int_equal(finish(scene->queue, ringlane_lun_writev(scene->queue, scene->luns[0], out,
								  3, 1048576, NULL)),
			 0);
	assert_int_equal(finish(scene->queue, ringlane_lun_readv(scene->queue, scene->luns[0], in,
								 2, 1048576, NULL)),
			 0);
	assert_memory_equal(buffer, buffer + 8192, 4096);
}

static void test_compare_and_write_when_equal_and_not_then_written_or_eilseq(void **state)
{
	struct scene *scene = *state;
	uint8_t *buffer = scene->buffer;

	assert_int_equal(write_blocks(scene, 0, 4096, 0x33, 512), 0);
	memset(buffer, 0x33, 512);
	memset(buffer + 512, 0x44, 512);
	assert_int_equal(finish(scene->queue,
				ringlane_lun_compare_and_write(scene->queue, scene->luns[0], buffer,
							       512, 4096, NULL)),
			 0);
	check_blocks(scene, 0, 4096, 0x44, 512);
	memset(buffer, 0x33, 512);
	memset(buffer + 512, 0x55, 512);
	assert_int_equal(finish(scene->queue,
				ringlane_lun_compare_and_write(scene->queue, scene->luns[0], buffer,
							       512, 4096, NULL)),
			 -EILSEQ);
	check_blocks(scene, 0, 4096, 0x44, 512);
}

static void test_unmap_when_several_ranges_then_only_they_are_zero(void **state)
{
	struct scene *scene = *state;
	const struct ringlane_range ranges[] = { { 8192, 4096 }, { 20480, 8192 } };
	struct ringlane_lun_info info;

	ringlane_lun_get_info(scene->luns[0], &info);
	assert_true(info.discard_ranges >= 2 && info.unmapped_reads_zero);
	assert_int_equal(write_blocks(scene, 0, 0, 0x66, 32768), 0);
	assert_int_equal(finish(scene->queue, ringlane_lun_discard(scene->queue, scene->luns[0],
								   ranges, 2, NULL)),
			 0);
	check_blocks(scene, 0, 0, 0x66, 8192);
	check_blocks(scene, 0, 8192, 0, 4096);
	check_blocks(scene, 0, 12288, 0x66, 8192);
	check_blocks(scene, 0, 20480, 0, 8192);
	check_blocks(scene, 0, 28672, 0x66, 4096);
}

static void test_write_zeroes_when_it_may_unmap_or_not_then_the_range_is_zero(void **state)
{
	struct scene *scene = *state;
	const struct ringlane_range range = { 4096, 8192 };

	for (unsigned flags = 0; flags <= RINGLANE_UNMAP; flags++) {
		assert_int_equal(write_blocks(scene, 1, 0, 0x77, 16384), 0);
		assert_int_equal(finish(scene->queue,
					ringlane_lun_write_zeroes(scene->queue, scene->luns[1],
								  &range, flags, NULL)),
				 0);
		check_blocks(scene, 1, 0, 0x77, 4096);
		check_blocks(scene, 1, 4096, 0, 8192);
		check_blocks(scene, 1, 12288, 0x77, 4096);
	}
}

static void test_write_cache_when_switched_then_info_says_so(void **state)
{
	struct scene *scene = *state;
	struct ringlane_lun_info info;

	for (unsigned on = 0; on < 2; on++) {
		struct ringlane_error error = { 0 };

		assert_int_equal(ringlane_lun_set_write_cache(scene->luns[0], NULL, on, &error), 0);
		ringlane_lun_get_info(scene->luns[0], &info);
		assert_int_equal(info.write_cache, on);
	}
}

/* ---- commands ---- */

static struct ringlane_scsi_result run_command(struct scene *scene, const uint8_t *cdb,
					       unsigned cdb_len,
					       enum ringlane_scsi_direction direction, size_t bytes,
					       int expected)
{
	const struct iovec iov = { scene->buffer, bytes };
	struct ringlane_scsi_result result;
	const struct ringlane_scsi_command command = {
		.cdb = cdb,
		.cdb_len = cdb_len,
		.direction = direction,
		.iov = &iov,
		.iov_count = direction != RINGLANE_SCSI_NO_DATA,
		.result = &result,
	};

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(finish(scene->queue,
				ringlane_lun_command(scene->queue, scene->luns[0], &command)),
			 expected);
	assert_int_equal(ringlane_scsi_strerror(&result, NULL, 0), expected);
	return result;
}

static void test_command_when_less_data_comes_then_the_residual_tells(void **state)
{
	struct scene *scene = *state;
	const uint8_t capacity[10] = { 0x25 };
	struct ringlane_scsi_result result;

	result = run_command(scene, capacity, sizeof(capacity), RINGLANE_SCSI_DATA_IN, 64, 0);
	assert_int_equal(result.response, RINGLANE_SCSI_OK);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.residual, 64 - 8);
	assert_int_equal(result.sense_len, 0);
	assert_int_equal(scene->buffer[6], 2); /* 512 */
}

static void test_command_when_refused_then_sense_data_and_a_sentence(void **state)
{
	struct scene *scene = *state;
	const uint8_t unknown[6] = { 0xff },
		      past[10] = { 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1 };
	struct ringlane_scsi_result result;
	char text[128];

	result =
		run_command(scene, unknown, sizeof(unknown), RINGLANE_SCSI_NO_DATA, 0, -EOPNOTSUPP);
	assert_int_equal(result.status, 2);
	ringlane_scsi_strerror(&result, text, sizeof(text));
	assert_string_equal(text,
			    "ILLEGAL REQUEST: invalid command operation code (sense 5/20/00)");
	run_command(scene, past, sizeof(past), RINGLANE_SCSI_DATA_IN, 512, -ERANGE);
}

static void test_command_when_malformed_then_einval(void **state)
{
	struct scene *scene = *state;
	const struct iovec iov = { scene->buffer, 512 };
	const uint8_t cdb[64] = { 0 };
	const struct ringlane_scsi_command commands[] = {
		{ .cdb = cdb, .cdb_len = 0 },
		{ .cdb = cdb, .cdb_len = 33 },
		{ .cdb = NULL, .cdb_len = 6 },
		{ .cdb = cdb, .cdb_len = 6, .attribute = 4 },
		{ .cdb = cdb, .cdb_len = 6, .direction = 3, .iov = &iov, .iov_count = 1 },
		{ .cdb = cdb, .cdb_len = 6, .iov = &iov, .iov_count = 1 },
		{ .cdb = cdb, .cdb_len = 6, .direction = RINGLANE_SCSI_DATA_IN },
	};

	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_int_equal(ringlane_lun_command(scene->queue, scene->luns[0], &commands[i]),
				 -EINVAL);
}

/* ---- task management ---- */

static void test_functions_when_no_task_is_there_then_complete(void **state)
{
	struct scene *scene = *state;
	const enum ringlane_scsi_function functions[] = {
		RINGLANE_SCSI_ABORT_TASK,      RINGLANE_SCSI_ABORT_TASK_SET,
		RINGLANE_SCSI_CLEAR_TASK_SET,  RINGLANE_SCSI_QUERY_TASK,
		RINGLANE_SCSI_QUERY_TASK_SET,  RINGLANE_SCSI_LOGICAL_UNIT_RESET,
		RINGLANE_SCSI_I_T_NEXUS_RESET,
	};

	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		assert_int_equal(ringlane_scsi_manage(scene->device, functions[i], 0, 0, 1, 0), 0);
	assert_int_equal(ringlane_scsi_manage(scene->device, RINGLANE_SCSI_CLEAR_ACA, 0, 0, 0, 0),
			 -EOPNOTSUPP);
	assert_int_equal(ringlane_scsi_manage(scene->device, RINGLANE_SCSI_QUERY_TASK, 0, 9, 0, 0),
			 -ENXIO);
	assert_int_equal(ringlane_scsi_manage(scene->device, RINGLANE_SCSI_QUERY_TASK, 9, 0, 0, 0),
			 -ENXIO);
	assert_int_equal(ringlane_scsi_manage(scene->device, 8, 0, 0, 0, 0), -EINVAL);
}

static void test_task_when_it_runs_then_it_is_found_and_aborted(void **state)
{
	struct scene *scene = *state;
	struct ringlane_completion completion;
	uint64_t tag;
	int found;

	assert_int_equal(
		ringlane_lun_read(scene->queue, scene->luns[2], scene->buffer, 512, 0, scene), 0);
	tag = ringlane_scsi_tag(scene->queue);
	/* 0: the device looks by itself. It may not have taken it yet. */
	assert_true(ringlane_submit(scene->queue) >= 0);
	do {
		found = ringlane_scsi_manage(scene->device, RINGLANE_SCSI_QUERY_TASK, 0, 2, tag, 0);
	} while (found == 0 && ringlane_reap(scene->queue, &completion, 1) == 0);
	assert_int_equal(found, 1);
	assert_int_equal(
		ringlane_scsi_manage(scene->device, RINGLANE_SCSI_QUERY_TASK, 0, 2, tag + 1, 0), 0);
	assert_int_equal(
		ringlane_scsi_manage(scene->device, RINGLANE_SCSI_ABORT_TASK, 0, 2, tag, 0), 0);
	/* Its completion came before the function's. */
	assert_int_equal(ringlane_reap(scene->queue, &completion, 1), 1);
	assert_ptr_equal(completion.user_data, scene);
	assert_int_equal(completion.result, -ECANCELED);
}

/* A command that is waited for on a queue does not take away the wake-up of those who sleep on it. */
static void test_queue_when_lent_while_armed_then_its_sleeper_is_woken(void **state)
{
	struct scene *scene = *state;
	struct pollfd fd = { .fd = ringlane_queue_fd(scene->queue), .events = POLLIN };
	struct ringlane_completion completion;
	int ret;

	assert_int_equal(
		ringlane_lun_read(scene->queue, scene->luns[2], scene->buffer, 512, 0, scene), 0);
	ringlane_submit(scene->queue);
	assert_int_equal(ringlane_queue_arm(scene->queue), 0);
	assert_int_equal(ringlane_lun_refresh(scene->luns[0], scene->queue, NULL), 0);
	assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
	while ((ret = ringlane_reap(scene->queue, &completion, 1)) == 0) /* a late call */
		if (!ringlane_queue_arm(scene->queue))
			assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
	assert_int_equal(ret, 1);
	assert_int_equal(completion.result, 0);
	ringlane_queue_disarm(scene->queue);
}

/* Blocks are asked for again; a command as bytes hears what happened. */
static void test_unit_when_it_was_reset_then_commands_hear_and_requests_do_not(void **state)
{
	struct scene *scene = *state;
	const uint8_t ready[6] = { 0x00 };

	assert_int_equal(write_blocks(scene, 0, 0, 1, 512), 0); /* what is pending goes */
	assert_int_equal(ringlane_scsi_manage(scene->device, RINGLANE_SCSI_LOGICAL_UNIT_RESET, 0, 0,
					      0, 0),
			 0);
	assert_int_equal(write_blocks(scene, 0, 0, 2, 512), 0);
	check_blocks(scene, 0, 0, 2, 512);
	assert_int_equal(ringlane_scsi_manage(scene->device, RINGLANE_SCSI_LOGICAL_UNIT_RESET, 0, 0,
					      0, 0),
			 0);
	run_command(scene, ready, sizeof(ready), RINGLANE_SCSI_NO_DATA, 0, -ERESTART);
	run_command(scene, ready, sizeof(ready), RINGLANE_SCSI_NO_DATA, 0, 0);
}

/* ---- the managed way ---- */

struct answer {
	sem_t came;
	int result;
};

static void answer_done(void *opaque, int result)
{
	struct answer *answer = opaque;

	answer->result = result;
	sem_post(&answer->came);
}

/* The result, or what submitting said. */
static int manage(struct ringlane_managed *managed, struct ringlane_request request)
{
	struct answer answer;
	struct timespec end;
	int ret;

	sem_init(&answer.came, 0, 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += DEADLINE_MS / 1000;
	request.done = answer_done;
	request.user_data = &answer;
	do { /* attentions that are pending */
		ret = ringlane_managed_submit(managed, &request, 1);
		if (ret == 1) {
			assert_int_equal(sem_timedwait(&answer.came, &end), 0);
			ret = answer.result;
		}
	} while (ret == -ERESTART);
	sem_destroy(&answer.came);
	return ret;
}

static void test_managed_when_requests_name_luns_then_each_is_served(void **state)
{
	static const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 36, 0 };
	struct scene *scene = *state;
	const struct iovec iov = { scene->buffer, 36 };
	struct ringlane_scsi_result result;
	const struct ringlane_scsi_command command = {
		.cdb = inquiry,
		.cdb_len = sizeof(inquiry),
		.direction = RINGLANE_SCSI_DATA_IN,
		.iov = &iov,
		.iov_count = 1,
		.result = &result,
	};
	struct ringlane_request request = { .data = scene->buffer, .bytes = 4096 };
	struct ringlane_managed *managed;

	assert_int_equal(ringlane_managed_start(scene->device, NULL, &managed, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		memset(scene->buffer, 0x60 + (int)i, 4096);
		request.op = RINGLANE_OP_WRITE;
		request.lun = scene->luns[i];
		assert_int_equal(manage(managed, request), 0);
	}
	memset(scene->buffer, 0x60, 512); /* what is there, then what shall be */
	memset(scene->buffer + 512, 0x70, 512);
	request = (struct ringlane_request){ .op = RINGLANE_OP_COMPARE_AND_WRITE,
					     .data = scene->buffer,
					     .bytes = 512,
					     .lun = scene->luns[0] };
	assert_int_equal(manage(managed, request), 0);
	assert_int_equal(manage(managed, request), -EILSEQ);
	request = (struct ringlane_request){ .op = RINGLANE_OP_COMMAND, .lun = scene->luns[1] };
	assert_int_equal(manage(managed, request), -EINVAL); /* which one? */
	request.command = &command;
	memset(scene->buffer, 0, 36);
	assert_int_equal(manage(managed, request), 0);
	assert_int_equal(result.response, RINGLANE_SCSI_OK);
	assert_true(scene->buffer[4] >= 31); /* SPC-4, 6.4.2: additional length */
	request = (struct ringlane_request){ .op = RINGLANE_OP_FLUSH, .lun = scene->luns[1] };
	assert_int_equal(manage(managed, request), 0);
	assert_int_equal(ringlane_managed_stop(managed), 0);
	ringlane_managed_free(managed);
	check_blocks(scene, 0, 0, 0x70, 512);
	check_blocks(scene, 0, 512, 0x60, 3584);
	check_blocks(scene, 1, 0, 0x61, 4096);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan_when_three_luns_then_all_are_told),
		cmocka_unit_test(test_lun_when_it_is_not_there_then_enxio),
		cmocka_unit_test(test_luns_when_written_then_each_has_its_own_data),
		cmocka_unit_test(test_segments_when_odd_then_data_is_right),
		cmocka_unit_test(test_compare_and_write_when_equal_and_not_then_written_or_eilseq),
		cmocka_unit_test(test_unmap_when_several_ranges_then_only_they_are_zero),
		cmocka_unit_test(test_write_zeroes_when_it_may_unmap_or_not_then_the_range_is_zero),
		cmocka_unit_test(test_write_cache_when_switched_then_info_says_so),
		cmocka_unit_test(test_command_when_less_data_comes_then_the_residual_tells),
		cmocka_unit_test(test_command_when_refused_then_sense_data_and_a_sentence),
		cmocka_unit_test(test_command_when_malformed_then_einval),
		cmocka_unit_test(test_task_when_it_runs_then_it_is_found_and_aborted),
		cmocka_unit_test(test_queue_when_lent_while_armed_then_its_sleeper_is_woken),
		cmocka_unit_test(test_functions_when_no_task_is_there_then_complete),
		cmocka_unit_test(test_managed_when_requests_name_luns_then_each_is_served),
		cmocka_unit_test(
			test_unit_when_it_was_reset_then_commands_hear_and_requests_do_not),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: driver_scsi_test URI\n");
		return 1;
	}
	uri = argv[1];
	return cmocka_run_group_tests(tests, scene_open, scene_close);
}
