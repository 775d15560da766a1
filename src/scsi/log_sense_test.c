/* SPDX-License-Identifier: MIT */
/* LOG SENSE. */
#include "scsi/fixture.h"

#include <string.h>

#define BYTES 255
#define CUMULATIVE 0x40

static unsigned log_sense(struct scsi_fixture *f, uint8_t page, uint8_t subpage, uint16_t pointer,
			  uint8_t *bytes)
{
	scsi_do_in(f, FIRST,
		   CDB(0x4d, 0, page, subpage, 0, (uint8_t)(pointer >> 8), (uint8_t)pointer, 0,
		       BYTES, 0),
		   bytes, BYTES);
	return BYTES - (unsigned)f->run.task.residual;
}

static void test_log_when_pages_are_asked_for_then_each_of_them_answers(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t wanted[] = { 0x00, 0, 0, 5, 0x00, 0x02, 0x03, 0x05, 0x2f };
	uint8_t list[BYTES], bytes[BYTES];
	unsigned size = log_sense(f, 0x00, 0, 0, list);

	scsi_assert_good(f);
	assert_int_equal(size, sizeof(wanted));
	assert_memory_equal(list, wanted, sizeof(wanted));
	for (unsigned i = 4; i < size; i++) {
		unsigned page_bytes = log_sense(f, CUMULATIVE | list[i], 0, 0, bytes);

		scsi_assert_good(f);
		assert_int_equal(bytes[0], list[i]);
		assert_int_equal(be16_get(bytes + 2), page_bytes - 4);
	}
}

static void test_log_when_subpages_are_asked_for_then_page_and_subpage_each(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t wanted[] = { 0x40, 0xff, 0,    12, 0x00, 0, 0x00, 0xff,
				   0x02, 0,    0x03, 0,  0x05, 0, 0x2f, 0 };
	uint8_t bytes[BYTES];

	assert_int_equal(log_sense(f, 0x00, 0xff, 0, bytes), sizeof(wanted));
	scsi_assert_good(f);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void test_log_when_counters_are_asked_for_then_nothing_was_corrected(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	assert_int_equal(log_sense(f, CUMULATIVE | 0x03, 0, 0, bytes), 4 + 5 * 12);
	for (unsigned i = 0; i < 5; i++) {
		const uint8_t *parameter = bytes + 4 + 12 * i;

		assert_int_equal(be16_get(parameter), i);
		assert_int_equal(parameter[2], 0x22);
		assert_int_equal(parameter[3], 8);
		assert_int_equal(be64_get(parameter + 4), 0);
	}
}

static void test_log_when_a_pointer_is_given_then_from_there(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	assert_int_equal(log_sense(f, CUMULATIVE | 0x02, 0, 3, bytes), 4 + 2 * 12);
	assert_int_equal(be16_get(bytes + 2), 24);
	assert_int_equal(be16_get(bytes + 4), 3);
	log_sense(f, CUMULATIVE | 0x02, 0, 5, bytes);
	scsi_assert_bad_cdb(f, 5, -1);
	log_sense(f, CUMULATIVE | 0x02, 0, 0x0100, bytes);
	scsi_assert_bad_cdb(f, 5, -1);
	log_sense(f, 0x00, 0, 1, bytes);
	scsi_assert_bad_cdb(f, 5, -1);
}

static void test_log_when_thresholds_of_counters_are_asked_for_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	for (unsigned control = 0; control < 4; control++) {
		log_sense(f, (uint8_t)(control << 6 | 0x05), 0, 0, bytes);
		if (control & 1)
			scsi_assert_good(f);
		else
			scsi_assert_bad_cdb(f, 2, 7);
		log_sense(f, (uint8_t)(control << 6 | 0x2f), 0, 0, bytes);
		scsi_assert_good(f);
	}
}

static void test_log_when_an_exception_is_tested_then_the_page_tells_it(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t wanted[] = { 0x2f, 0, 0, 7, 0, 0, 0x23, 3, 0, 0, 0xff };
	const uint8_t select[] = { 0, 0, 0, 0, 0x1c, 0x0a, 0x04, 6, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t bytes[BYTES];

	assert_int_equal(log_sense(f, CUMULATIVE | 0x2f, 0, 0, bytes), sizeof(wanted));
	assert_memory_equal(bytes, wanted, sizeof(wanted));
	scsi_do_out(f, FIRST, CDB(0x15, 0x10, 0, 0, sizeof(select), 0), select, sizeof(select));
	scsi_assert_good(f);
	log_sense(f, CUMULATIVE | 0x2f, 0, 0, bytes);
	assert_int_equal(be16_get(bytes + 8), SCSI_ASC_FAILURE_PREDICTION_FALSE);
}

static void test_log_when_there_is_no_such_page_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	log_sense(f, CUMULATIVE | 0x0d, 0, 0, bytes);
	scsi_assert_bad_cdb(f, 2, 5);
	log_sense(f, CUMULATIVE | 0x02, 0xff, 0, bytes);
	scsi_assert_bad_cdb(f, 3, -1);
	log_sense(f, 0x00, 0x01, 0, bytes);
	scsi_assert_bad_cdb(f, 3, -1);
}

static void test_log_when_saving_is_asked_for_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x4d, 0x01, 0, 0, 0, 0, 0, 0, BYTES, 0));
	scsi_assert_bad_cdb(f, 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_log_when_pages_are_asked_for_then_each_of_them_answers),
		scsi_test(test_log_when_subpages_are_asked_for_then_page_and_subpage_each),
		scsi_test(test_log_when_counters_are_asked_for_then_nothing_was_corrected),
		scsi_test(test_log_when_a_pointer_is_given_then_from_there),
		scsi_test(test_log_when_thresholds_of_counters_are_asked_for_then_refused),
		scsi_test(test_log_when_an_exception_is_tested_then_the_page_tells_it),
		scsi_test(test_log_when_there_is_no_such_page_then_refused),
		scsi_test(test_log_when_saving_is_asked_for_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
