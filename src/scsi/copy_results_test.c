/* SPDX-License-Identifier: MIT */
/* RECEIVE COPY RESULTS: what is told of copies that run, that went well, that failed. */
#include "scsi/test_copy_list.h"

#include <string.h>

static void do_results(struct scsi_fixture *f, uint8_t action, uint8_t list_id, uint8_t bytes[256])
{
	memset(bytes, 0xee, 256);
	scsi_do_in(f, FIRST, CDB(0x84, action, list_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0),
		   bytes, 256);
}

static void check_status(struct scsi_fixture *f, uint8_t list_id, uint8_t status, uint16_t segments,
			 uint32_t bytes_copied)
{
	uint8_t bytes[256];

	do_results(f, 0x00, list_id, bytes);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 256 - 12);
	assert_int_equal(be32_get(bytes), 8);
	assert_int_equal(bytes[4], status);
	assert_int_equal(be16_get(bytes + 5), segments);
	assert_int_equal(bytes[7], 0);
	assert_int_equal(be32_get(bytes + 8), bytes_copied);
}

static void check_forgotten(struct scsi_fixture *f, uint8_t list_id)
{
	static const uint8_t actions[] = { 0x00, 0x01, 0x04 };
	uint8_t bytes[256];

	for (unsigned i = 0; i < ARRAY_SIZE(actions); i++) {
		do_results(f, actions[i], list_id, bytes);
		scsi_assert_bad_cdb(f, 2, -1);
	}
}

static void test_results_when_operating_parameters_then_what_lists_may_hold(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[256];

	do_results(f, 0x03, 0, bytes);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 256 - 46);
	assert_int_equal(be32_get(bytes), 42);
	assert_int_equal(bytes[4], 1);
	assert_int_equal(be16_get(bytes + 8), 8);
	assert_int_equal(be16_get(bytes + 10), 64);
	assert_int_equal(be32_get(bytes + 12), 8 * 32 + 64 * 28);
	assert_int_equal(bytes[43], 2);
	assert_int_equal(bytes[44], 0x02);
	assert_int_equal(bytes[45], 0xe4);
}

static void test_results_when_nothing_was_copied_then_no_such_list(void **state)
{
	check_forgotten(*state, 1);
}

static void test_results_when_copied_then_told_once_and_per_nexus(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[256];
	struct list list;

	make_list(f, &list, 9, (struct segment){ .blocks = 5, .to = 50 });
	list_add_segment(&list, (struct segment){ .blocks = 0, .to = 50 });
	list_add_segment(&list, (struct segment){ .blocks = 7, .to = 60 });
	do_copy(f, &list);
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0x84, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), bytes, 256);
	scsi_assert_bad_cdb(f, 2, -1);
	do_results(f, 0x01, 9, bytes);
	scsi_assert_good(f);
	assert_int_equal(be32_get(bytes), 0);
	do_results(f, 0x04, 9, bytes);
	scsi_assert_good(f);
	assert_int_equal(be32_get(bytes), 0);
	check_status(f, 9, 1, 3, 12 * BLOCK);
	check_forgotten(f, 9);
}

static void test_results_when_the_list_does_not_want_them_then_none(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	list_begin(&list, 9, 2);
	list_add_unit(&list, f->unit);
	list_add_segment(&list, (struct segment){ .blocks = 5, .to = 50 });
	do_copy(f, &list);
	scsi_assert_good(f);
	check_forgotten(f, 9);
}

/* As a driver that asks again would see it: the old result must not be taken for the new one. */
static void test_results_when_a_later_list_is_refused_then_nothing_of_the_earlier_one(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 5, .to = 50 });
	do_copy(f, &list);
	scsi_assert_good(f);
	make_list(f, &list, 1, (struct segment){ .blocks = 5, .to = DISK_BLOCKS - 1 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_NONE);
	check_forgotten(f, 1);
}

static void test_results_when_more_than_are_kept_then_the_oldest_goes(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	for (uint8_t id = 1; id <= 5; id++) {
		make_list(f, &list, id, (struct segment){ .blocks = id, .to = 50 });
		do_copy(f, &list);
		scsi_assert_good(f);
	}
	check_forgotten(f, 1);
	for (uint8_t id = 2; id <= 5; id++)
		check_status(f, id, 1, 1, id * BLOCK);
}

static void test_results_when_a_disk_fails_under_way_then_details(void **state)
{
	struct scsi_fixture *f = *state;
	struct block_node *node = scsi_fixture_ram(f, "second", DISK_BYTES), *bad = NULL;
	struct block_error_config config = { .name = "bad",
					     .child = node,
					     .op_mask = 1u << BLOCK_WRITE,
					     .offset = 100 * BLOCK,
					     .bytes = BLOCK };
	uint8_t bytes[256];
	struct list list;

	assert_int_equal(block_error_open(f->graph, &config, &bad, NULL), 0);
	scsi_fixture_add(f, bad, NULL);
	scsi_fixture_clear_attentions(f);
	list_begin(&list, 3, 0);
	list_add_unit(&list, f->unit);
	list_add_unit(&list, f->units[1].unit);
	list_add_segment(&list, (struct segment){ 0, 1, .blocks = 8, .to = 50 });
	list_add_segment(&list, (struct segment){ 0, 1, .blocks = 8, .to = 99 });
	list_add_segment(&list, (struct segment){ 0, 1, .blocks = 8, .to = 200 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	check_status(f, 3, 2, 1, 8 * BLOCK);
	do_results(f, 0x04, 3, bytes);
	scsi_assert_good(f);
	assert_int_equal(bytes[56], 2);
	assert_int_equal(be32_get(bytes), 56 + be16_get(bytes + 58));
	assert_int_equal(bytes[60] & 0x7f, 0x70);
	assert_int_equal(bytes[62], SCSI_COPY_ABORTED);
	assert_int_equal(be16_get(bytes + 72), SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	check_forgotten(f, 3);
}

static void copy_with_id(struct scsi_fixture *f, uint8_t list_id)
{
	struct list list;

	make_list(f, &list, list_id, (struct segment){ .blocks = 5, .to = 50 });
	do_copy(f, &list);
	scsi_assert_good(f);
}

static void test_results_when_the_nexus_is_lost_or_the_unit_reset_then_forgotten(void **state)
{
	struct scsi_fixture *f = *state;

	copy_with_id(f, 1);
	scsi_nexus_lost(f->nexuses[SECOND], SCSI_ASC_NEXUS_LOSS);
	check_status(f, 1, 1, 1, 5 * BLOCK);
	copy_with_id(f, 1);
	scsi_nexus_lost(f->nexuses[FIRST], SCSI_ASC_NEXUS_LOSS);
	scsi_fixture_clear_attentions(f);
	check_forgotten(f, 1);
	copy_with_id(f, 2);
	scsi_unit_reset(f->unit);
	scsi_fixture_clear_attentions(f);
	check_forgotten(f, 2);
}

/* A disk that needs a while, so that others see the copy while it runs. */
static void start_slow_copy(struct scsi_fixture *f, struct scsi_run *run, uint8_t list_id)
{
	static struct list list;

	list_begin(&list, list_id, 0);
	list_add_unit(&list, f->units[1].unit);
	list_add_segment(&list, (struct segment){ .blocks = 5, .to = 50 });
	f->target_unit = 0;
	scsi_run_start(f, run, FIRST,
		       CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (uint8_t)list.size, 0, 0),
		       &(struct scsi_run_data){ .out = list.bytes, .out_bytes = list.size });
}

static void add_slow_disk(struct scsi_fixture *f, uint64_t latency_ns)
{
	const struct block_null_config config = { .name = "slow",
						  .size = DISK_BYTES,
						  .latency_ns = latency_ns };
	struct block_node *node = NULL;

	assert_int_equal(block_null_open(f->graph, &config, &node, NULL), 0);
	scsi_fixture_add(f, node, NULL);
	scsi_fixture_clear_attentions(f);
}

static void test_results_while_copying_then_in_progress_and_its_identifier_is_taken(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	struct list list;

	add_slow_disk(f, 50000000);
	start_slow_copy(f, &run, 4);
	assert_int_equal(run.done_count, 0);
	assert_int_equal(f->peers_out, 1);
	check_status(f, 4, 0, 0, 0);
	list_begin(&list, 4, 0);
	list_add_unit(&list, f->unit);
	scsi_do_out(f, FIRST, CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0), list.bytes,
		    48);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_OPERATION_IN_PROGRESS);
	scsi_run_wait(&run);
	assert_int_equal(run.task.status, SCSI_GOOD);
	check_status(f, 4, 1, 1, 5 * BLOCK);
	scsi_run_fini(&run);
}

static void test_copy_when_more_than_allowed_run_then_busy(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run runs[5] = { 0 };

	add_slow_disk(f, 50000000);
	for (uint8_t i = 0; i < 5; i++)
		start_slow_copy(f, &runs[i], (uint8_t)(i + 1));
	assert_int_equal(runs[4].done_count, 1);
	assert_int_equal(runs[4].task.status, SCSI_BUSY);
	for (unsigned i = 0; i < 5; i++) {
		scsi_run_wait(&runs[i]);
		scsi_run_fini(&runs[i]);
	}
	assert_int_equal(f->peers_out, 0);
}

static void test_copy_when_aborted_then_it_ends_and_lets_go_of_the_disks(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };

	add_slow_disk(f, 1000000);
	start_slow_copy(f, &run, 4);
	scsi_task_cancel(&run.task);
	assert_int_equal(run.done_count, 0);
	scsi_run_wait(&run);
	assert_int_not_equal(run.task.status, SCSI_GOOD);
	assert_int_equal(f->peers_out, 0);
	check_status(f, 4, 2, 0, 0);
	scsi_run_fini(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_results_when_operating_parameters_then_what_lists_may_hold),
		scsi_test(test_results_when_nothing_was_copied_then_no_such_list),
		scsi_test(test_results_when_copied_then_told_once_and_per_nexus),
		scsi_test(test_results_when_the_list_does_not_want_them_then_none),
		scsi_test(
			test_results_when_a_later_list_is_refused_then_nothing_of_the_earlier_one),
		scsi_test(test_results_when_more_than_are_kept_then_the_oldest_goes),
		scsi_test(test_results_when_a_disk_fails_under_way_then_details),
		scsi_test(test_results_while_copying_then_in_progress_and_its_identifier_is_taken),
		scsi_test(test_copy_when_more_than_allowed_run_then_busy),
		scsi_test(test_copy_when_aborted_then_it_ends_and_lets_go_of_the_disks),
		scsi_test(test_results_when_the_nexus_is_lost_or_the_unit_reset_then_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
