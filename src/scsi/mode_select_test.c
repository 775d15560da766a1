/* SPDX-License-Identifier: MIT */
/* MODE SELECT: what is taken, what is refused and where, what takes effect and when. */
#include "scsi/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PF 0x10
#define SP 0x01

#define HEADER_6 0, 0, 0, 0
#define CACHING(bits) 0x08, 0x12, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define CONTROL(byte_2, byte_4) 0x0a, 0x0a, byte_2, 0x10, byte_4, 0, 0, 0, 0xff, 0xff, 0, 0
#define EXCEPTIONS(flags, mrie) 0x1c, 0x0a, flags, mrie, 0, 0, 0, 0, 0, 0, 0, 0
#define WCE 0x04
#define GLTSD 0x02
#define D_SENSE 0x04
#define SWP 0x08

static void select_6(struct scsi_fixture *f, uint8_t flags, const uint8_t *bytes, size_t size)
{
	scsi_do_out(f, FIRST, CDB(0x15, flags, 0, 0, (uint8_t)size, 0), bytes, size);
}

static void select_10(struct scsi_fixture *f, uint8_t flags, const uint8_t *bytes, size_t size)
{
	scsi_do_out(f, FIRST, CDB(0x55, flags, 0, 0, 0, 0, 0, 0, (uint8_t)size, 0), bytes, size);
}

static void assert_unchanged(struct scsi_fixture *f)
{
	struct scsi_mode_values initial;

	scsi_mode_default(&initial);
	assert_memory_equal(&f->unit->mode, &initial, sizeof(initial));
	assert_memory_equal(&f->unit->mode_saved, &initial, sizeof(initial));
	assert_int_equal(f->unit->write_through, 0);
	assert_int_equal(f->unit->slow, 0);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[SECOND]), SCSI_ASC_NONE);
}

static void test_select_when_wce_goes_off_then_writes_are_made_stable(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CACHING(0)));
	scsi_assert_good(f);
	assert_int_equal(f->unit->write_through, 1);
	assert_int_equal(f->exclusive_count, 1);
	select_10(f, PF, CDB(0, 0, 0, 0, 0, 0, 0, 0, CACHING(WCE)));
	scsi_assert_good(f);
	assert_int_equal(f->unit->write_through, 0);
}

/* A disk whose FLUSH fails shows whether there was one. */
static struct scsi_fixture *fixture_without_flush(void)
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
	return f;
}

static void test_select_when_the_flush_fails_then_nothing_changes(void **state)
{
	struct scsi_fixture *f = fixture_without_flush();

	select_6(f, PF, CDB(HEADER_6, CACHING(0)));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	assert_unchanged(f);
	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD, SWP)));
	scsi_assert_sense(f, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	assert_unchanged(f);
	/* what leaves nothing behind in the cache needs no flush */
	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD | D_SENSE, 0)));
	scsi_assert_good(f);
	scsi_fixture_free(f);
}

static void test_select_when_d_sense_is_set_then_sense_has_descriptors(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD | D_SENSE, 0)));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	assert_int_equal(f->run.task.sense[0], 0x72);
	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD, 0)));
	scsi_assert_good(f);
	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	assert_int_equal(f->run.task.sense[0], 0x70);
}

static void test_select_when_swp_is_set_then_nothing_is_written(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t block[512] = { 0 }, mode[4];

	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD, SWP)));
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
	scsi_assert_sense(f, SCSI_DATA_PROTECT, SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	scsi_do_in(f, FIRST, CDB(0x1a, 0x08, 0x08, 0, 4, 0), mode, 4);
	assert_int_equal(mode[2] & 0x80, 0x80); /* WP */
	select_6(f, PF, CDB(HEADER_6, CONTROL(GLTSD, 0)));
	scsi_assert_good(f);
	scsi_do_out(f, FIRST, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
	scsi_assert_good(f);
}

static void test_select_when_something_changes_then_the_others_are_told(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CACHING(WCE)));
	scsi_assert_good(f);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[SECOND]), SCSI_ASC_NONE);
	select_6(f, PF, CDB(HEADER_6, CACHING(0)));
	scsi_assert_good(f);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[FIRST]), SCSI_ASC_NONE);
	assert_int_equal(scsi_nexus_peek_attention(f->nexuses[SECOND]),
			 SCSI_ASC_MODE_PARAMETERS_CHANGED);
}

static void test_select_when_the_second_page_is_bad_then_the_first_changes_nothing(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CACHING(0), CONTROL(0, 0)));
	scsi_assert_bad_parameter(f, 4 + 20 + 2, 1); /* GLTSD */
	assert_unchanged(f);
	select_6(f, PF, CDB(HEADER_6, CACHING(0), EXCEPTIONS(0x0c, 6)));
	scsi_assert_bad_parameter(f, 4 + 20 + 2, 2); /* TEST */
	assert_unchanged(f);
}

static void test_select_when_two_pages_are_good_then_both_take_effect(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CACHING(0), CONTROL(GLTSD | D_SENSE, 0)));
	scsi_assert_good(f);
	assert_int_equal(f->unit->mode.wce, 0);
	assert_int_equal(f->unit->mode.d_sense, 1);
}

static void test_select_when_a_page_is_not_ours_then_it_is_named(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, 0x02, 0x02, 0, 0));
	scsi_assert_bad_parameter(f, 4, 5);
	select_6(f, PF, CDB(HEADER_6, 0x48, 0x01, 0, 0)); /* a subpage of caching */
	scsi_assert_bad_parameter(f, 4, 5);
	select_6(f, PF, CDB(HEADER_6, 0x4a, 0x00, 0, 0x1c)); /* subpage 0 has no subpage format */
	scsi_assert_bad_parameter(f, 4, 5);
	select_6(f, PF, CDB(HEADER_6, 0x08, 0x0a, WCE, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_bad_parameter(f, 5, -1); /* PAGE LENGTH of SCSI-2 */
	assert_unchanged(f);
}

static void test_select_when_a_subpage_is_as_it_is_then_good(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[4 + 32] = { HEADER_6, 0x4a, 0x01, 0, 0x1c };

	select_6(f, PF, bytes, sizeof(bytes));
	scsi_assert_good(f);
	bytes[4 + 4] = 0x01; /* IALUAE */
	select_6(f, PF, bytes, sizeof(bytes));
	scsi_assert_bad_parameter(f, 8, 0);
}

/* Each length that ends inside of something. */
static void test_select_when_the_list_is_cut_then_length_error(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t bytes[] = { 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, CACHING(0) };

	for (unsigned size = 0; size <= sizeof(bytes); size++) {
		select_6(f, PF, bytes, size);
		if (size == 0 || size == 12 || size == sizeof(bytes))
			scsi_assert_good(f);
		else
			scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST,
					  SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		assert_int_equal(f->unit->mode.wce, size < sizeof(bytes));
	}
}

static void test_select_10_when_the_list_is_cut_then_length_error(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t bytes[] = { 0, 0, 0, 0, 1, 0, 0, 16, /* LONGLBA */
				  0, 0, 0, 0, 0, 0, 8, 0,  0, 0, 0, 0, 0, 0, 2, 0, CACHING(0) };

	for (unsigned size = 0; size <= sizeof(bytes); size++) {
		select_10(f, PF, bytes, size);
		if (size == 0 || size == 24 || size == sizeof(bytes))
			scsi_assert_good(f);
		else
			scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST,
					  SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		assert_int_equal(f->unit->mode.wce, size < sizeof(bytes));
	}
}

static void test_select_when_the_medium_should_change_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0));
	scsi_assert_bad_parameter(f, 9, -1); /* 4096 bytes each */
	select_6(f, PF, CDB(0, 0, 0, 8, 0, 0, 4, 0, 0, 0, 2, 0));
	scsi_assert_bad_parameter(f, 4, -1); /* half of it */
	select_6(f, PF, CDB(0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0));
	scsi_assert_good(f);
	select_6(f, PF, CDB(0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 2, 0));
	scsi_assert_good(f);
	select_6(f, PF, CDB(0, 0, 0, 16, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 2, 0));
	scsi_assert_bad_parameter(f, 3, -1); /* two of them */
	select_6(f, PF, CDB(0, 1, 0, 0));
	scsi_assert_bad_parameter(f, 1, -1); /* MEDIUM TYPE */
	select_10(f, PF, CDB(0, 0, 0, 0, 1, 0, 0, 8, 0, 0, 8, 0, 0, 0, 2, 0));
	scsi_assert_bad_parameter(f, 6, -1); /* a short one where long ones are said */
	select_10(f, PF,
		  CDB(0, 0, 0, 0, 1, 0, 0, 16, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0));
	scsi_assert_bad_parameter(f, 20, -1);
	select_10(f, PF,
		  CDB(0, 0, 0, 0, 1, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0));
	scsi_assert_bad_parameter(f, 8, -1);
}

static void test_select_when_the_cdb_asks_for_more_than_there_is_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, 0, CDB(HEADER_6, CACHING(0)));
	scsi_assert_bad_cdb(f, 1, 4); /* PF */
	select_6(f, PF | SP, CDB(HEADER_6, CACHING(0)));
	scsi_assert_bad_cdb(f, 1, 0); /* SP without a state file */
	assert_unchanged(f);
}

static void test_select_when_it_is_aborted_while_it_waits_then_nothing_changes(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t bytes[] = { HEADER_6, CACHING(0) };
	struct scsi_run_data data = { .out = bytes, .out_bytes = sizeof(bytes) };
	struct scsi_run run = { 0 };

	f->hold_exclusive = true;
	scsi_run_start(f, &run, FIRST, CDB(0x15, PF, 0, 0, sizeof(bytes), 0), &data);
	assert_int_equal(run.done_count, 0);
	scsi_fixture_abandon(f);
	assert_int_equal(run.done_count, 1);
	scsi_run_fini(&run);
	assert_unchanged(f);
}

static void test_select_when_the_unit_is_reset_then_back_to_the_saved(void **state)
{
	struct scsi_fixture *f = *state;

	select_6(f, PF, CDB(HEADER_6, CACHING(0), CONTROL(GLTSD, SWP)));
	scsi_assert_good(f);
	scsi_unit_reset(f->unit);
	scsi_fixture_clear_attentions(f);
	assert_unchanged(f);
}

/* ---- with a state file ---- */

static void restart_with_state(struct scsi_fixture *f)
{
	struct scsi_unit_config config = { .state_path = scsi_fixture_path(f, "state") };

	scsi_fixture_restart(f, 0, &config);
	scsi_fixture_clear_attentions(f);
}

static void sense_caching(struct scsi_fixture *f, uint8_t control, uint8_t bytes[24])
{
	scsi_do_in(f, FIRST, CDB(0x1a, 0x08, control | 0x08, 0, 24, 0), bytes, 24);
	scsi_assert_good(f);
}

static void test_select_when_saved_then_there_after_a_restart(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[24];

	restart_with_state(f);
	sense_caching(f, 0xc0, bytes);
	assert_int_equal(bytes[4], 0x88); /* PS */
	assert_int_equal(bytes[6], WCE);
	select_6(f, PF | SP, CDB(HEADER_6, CACHING(0)));
	scsi_assert_good(f);
	restart_with_state(f);
	sense_caching(f, 0xc0, bytes);
	assert_int_equal(bytes[6], 0);
	sense_caching(f, 0x00, bytes);
	assert_int_equal(bytes[6], 0);
	assert_int_equal(f->unit->write_through, 1);
	sense_caching(f, 0x80, bytes);
	assert_int_equal(bytes[6], WCE);
}

static void test_select_when_not_saved_then_gone_after_a_restart(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[24];

	restart_with_state(f);
	select_6(f, PF, CDB(HEADER_6, CACHING(0)));
	scsi_assert_good(f);
	sense_caching(f, 0xc0, bytes);
	assert_int_equal(bytes[6], WCE);
	restart_with_state(f);
	assert_unchanged(f);
}

/* As tools do it: the data of MODE SENSE, with its lengths, PS, WP and DPOFUA bits. */
static void test_select_when_what_was_sensed_comes_back_then_good(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[252];

	restart_with_state(f);
	scsi_do_in(f, FIRST, CDB(0x1a, 0, 0x3f, 0xff, sizeof(bytes), 0), bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(bytes[12], 0x81);
	select_6(f, PF | SP, bytes, bytes[0] + 1u);
	scsi_assert_good(f);
	scsi_do_in(f, FIRST, CDB(0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 0, sizeof(bytes), 0), bytes,
		   sizeof(bytes));
	scsi_assert_good(f);
	select_10(f, PF, bytes, be16_get(bytes) + 2u);
	scsi_assert_good(f);
	assert_unchanged(f);
}

/* SPC-4: what is saved is all that can be saved, not only what was sent. */
static void test_select_when_saved_without_a_list_then_the_current_values(void **state)
{
	struct scsi_fixture *f = *state;

	restart_with_state(f);
	select_6(f, PF, CDB(HEADER_6, CACHING(0)));
	scsi_do(f, FIRST, CDB(0x15, PF | SP, 0, 0, 0, 0));
	scsi_assert_good(f);
	restart_with_state(f);
	assert_int_equal(f->unit->mode.wce, 0);
}

static void test_select_when_it_cannot_be_saved_then_nothing_changes(void **state)
{
	struct scsi_fixture *f = *state;
	char in_the_way[128];

	restart_with_state(f);
	/* where the new file is to be written */
	snprintf(in_the_way, sizeof(in_the_way), "%s.new", scsi_fixture_path(f, "state"));
	assert_int_equal(mkdir(in_the_way, 0700), 0);
	select_6(f, PF | SP, CDB(HEADER_6, CACHING(0)));
	scsi_assert_sense(f, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	assert_unchanged(f);
	assert_int_equal(rmdir(in_the_way), 0);
	select_6(f, PF | SP, CDB(HEADER_6, CACHING(0)));
	scsi_assert_good(f);
	assert_int_equal(f->unit->mode_saved.wce, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_select_when_wce_goes_off_then_writes_are_made_stable),
		cmocka_unit_test(test_select_when_the_flush_fails_then_nothing_changes),
		scsi_test(test_select_when_d_sense_is_set_then_sense_has_descriptors),
		scsi_test(test_select_when_swp_is_set_then_nothing_is_written),
		scsi_test(test_select_when_something_changes_then_the_others_are_told),
		scsi_test(test_select_when_the_second_page_is_bad_then_the_first_changes_nothing),
		scsi_test(test_select_when_two_pages_are_good_then_both_take_effect),
		scsi_test(test_select_when_a_page_is_not_ours_then_it_is_named),
		scsi_test(test_select_when_a_subpage_is_as_it_is_then_good),
		scsi_test(test_select_when_the_list_is_cut_then_length_error),
		scsi_test(test_select_10_when_the_list_is_cut_then_length_error),
		scsi_test(test_select_when_the_medium_should_change_then_refused),
		scsi_test(test_select_when_the_cdb_asks_for_more_than_there_is_then_refused),
		scsi_test(test_select_when_it_is_aborted_while_it_waits_then_nothing_changes),
		scsi_test(test_select_when_the_unit_is_reset_then_back_to_the_saved),
		scsi_test(test_select_when_saved_then_there_after_a_restart),
		scsi_test(test_select_when_not_saved_then_gone_after_a_restart),
		scsi_test(test_select_when_what_was_sensed_comes_back_then_good),
		scsi_test(test_select_when_saved_without_a_list_then_the_current_values),
		scsi_test(test_select_when_it_cannot_be_saved_then_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
