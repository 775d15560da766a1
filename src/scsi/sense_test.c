/* SPDX-License-Identifier: MIT */
/* Sense data, byte by byte (SPC-4, 4.5), and the unit attentions of a nexus. */
#include "scsi/fixture.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

static void expect(const struct scsi_sense *sense, bool descriptor, const uint8_t *bytes,
		   unsigned size)
{
	uint8_t found[SCSI_SENSE_MAX];

	memset(found, 0xee, sizeof(found));
	assert_int_equal(scsi_sense_format(sense, descriptor, found), size);
	assert_memory_equal(found, bytes, size);
}

static void test_sense_when_plain_then_key_and_code(void **state)
{
	const struct scsi_sense sense = { .key = SCSI_MEDIUM_ERROR,
					  .asc = SCSI_ASC_UNRECOVERED_READ_ERROR };

	expect(&sense, false, (const uint8_t[18]){ 0x70, 0, 3, [7] = 10, [12] = 0x11 }, 18);
	expect(&sense, true, (const uint8_t[8]){ 0x72, 3, 0x11, 0 }, 8);
}

static void test_sense_when_it_has_information_then_valid(void **state)
{
	const struct scsi_sense sense = { .key = SCSI_MISCOMPARE,
					  .asc = SCSI_ASC_MISCOMPARE_DURING_VERIFY,
					  .has_information = true,
					  .information = 0x12345678 };

	expect(&sense, false,
	       (const uint8_t[18]){ 0xf0, 0, 0xe, 0x12, 0x34, 0x56, 0x78, 10, [12] = 0x1d }, 18);
	expect(&sense, true,
	       (const uint8_t[20]){ 0x72, 0xe, 0x1d, 0, [7] = 12, 0, 10, 0x80, 0, 0, 0, 0, 0, 0x12,
				    0x34, 0x56, 0x78 },
	       20);
}

/* Fixed format has four bytes for it: what is larger is left out, not cut. */
static void test_sense_when_information_is_large_then_only_a_descriptor_has_it(void **state)
{
	const struct scsi_sense sense = { .key = SCSI_MISCOMPARE,
					  .asc = SCSI_ASC_MISCOMPARE_DURING_VERIFY,
					  .has_information = true,
					  .information = 0x123456789aull };

	expect(&sense, false, (const uint8_t[18]){ 0x70, 0, 0xe, [7] = 10, [12] = 0x1d }, 18);
	expect(&sense, true,
	       (const uint8_t[20]){ 0x72, 0xe, 0x1d, 0, [7] = 12, 0, 10, 0x80, 0, 0, 0, 0, 0x12,
				    0x34, 0x56, 0x78, 0x9a },
	       20);
}

static void test_sense_when_a_field_is_wrong_then_pointer(void **state)
{
	struct scsi_sense sense = { .key = SCSI_ILLEGAL_REQUEST,
				    .asc = SCSI_ASC_INVALID_FIELD_IN_CDB,
				    .has_field = true,
				    .field_in_cdb = true,
				    .field_byte = 0x102,
				    .field_bit = 5 };

	expect(&sense, false,
	       (const uint8_t[18]){ 0x70, 0, 5, [7] = 10, [12] = 0x24, [15] = 0xcd, 1, 2 }, 18);
	expect(&sense, true,
	       (const uint8_t[16]){ 0x72, 5, 0x24, 0, [7] = 8, 2, 6, 0, 0, 0xcd, 1, 2 }, 16);
	sense.field_in_cdb = false;
	sense.field_bit = -1;
	expect(&sense, false,
	       (const uint8_t[18]){ 0x70, 0, 5, [7] = 10, [12] = 0x24, [15] = 0x80, 1, 2 }, 18);
}

static void test_sense_when_all_at_once_then_both_descriptors(void **state)
{
	const struct scsi_sense sense = { .key = SCSI_NOT_READY,
					  .asc = SCSI_ASC_NOT_READY_SANITIZE_IN_PROGRESS,
					  .has_information = true,
					  .information = 7,
					  .has_progress = true,
					  .progress = 0x8001 };

	expect(&sense, false,
	       (const uint8_t[18]){ 0xf0, 0, 2, [6] = 7, 10, [12] = 0x04, 0x1b, [15] = 0x80, 0x80,
				    1 },
	       18);
	expect(&sense, true,
	       (const uint8_t[28]){ 0x72, 2, 0x04, 0x1b, [7] = 20, 0, 10, 0x80, [19] = 7, 2, 6, 0,
				    0, 0x80, 0x80, 1 },
	       28);
}

static void test_sense_when_the_mode_page_wants_descriptors_then_descriptors(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	assert_int_equal(f->run.task.sense[0], 0x70);
	store_relaxed(&f->unit->d_sense, 1);
	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	assert_int_equal(f->run.task.sense[0], 0x72);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

/* ---- attentions ---- */

static const enum scsi_asc in_order[] = {
	SCSI_ASC_POWER_ON_OR_RESET,
	SCSI_ASC_BUS_RESET,
	SCSI_ASC_BUS_DEVICE_RESET,
	SCSI_ASC_NEXUS_LOSS,
	SCSI_ASC_COMMANDS_CLEARED_BY_ANOTHER,
	SCSI_ASC_RESERVATIONS_PREEMPTED,
	SCSI_ASC_RESERVATIONS_RELEASED,
	SCSI_ASC_REGISTRATIONS_PREEMPTED,
	SCSI_ASC_CAPACITY_CHANGED,
	SCSI_ASC_MODE_PARAMETERS_CHANGED,
	SCSI_ASC_REPORTED_LUNS_CHANGED,
	SCSI_ASC_INQUIRY_DATA_CHANGED,
};

static void test_attentions_when_established_backwards_then_told_in_order(void **state)
{
	struct scsi_fixture *f = *state;

	for (unsigned i = ARRAY_SIZE(in_order); i-- > 0;) {
		scsi_nexus_attention(f->nexuses[FIRST], in_order[i]);
		scsi_nexus_attention(f->nexuses[FIRST], in_order[i]); /* twice is once */
	}
	for (unsigned i = 0; i < ARRAY_SIZE(in_order); i++) {
		assert_int_equal(scsi_nexus_peek_attention(f->nexuses[FIRST]), in_order[i]);
		scsi_do(f, FIRST, CDB(0, 0, 0, 0, 0, 0));
		scsi_assert_sense(f, SCSI_UNIT_ATTENTION, in_order[i]);
	}
	scsi_do(f, FIRST, CDB(0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static void test_attentions_when_of_one_initiator_then_the_other_hears_nothing(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_unit_lock(f->unit);
	scsi_unit_attention_others(f->unit, f->nexuses[FIRST], SCSI_ASC_MODE_PARAMETERS_CHANGED);
	scsi_unit_unlock(f->unit);
	scsi_do(f, FIRST, CDB(0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_do(f, SECOND, CDB(0, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_UNIT_ATTENTION, SCSI_ASC_MODE_PARAMETERS_CHANGED);
}

static void test_attentions_when_one_is_cleared_then_the_others_stay(void **state)
{
	struct scsi_nexus *nexus = ((struct scsi_fixture *)*state)->nexuses[FIRST];

	scsi_nexus_attention(nexus, SCSI_ASC_REPORTED_LUNS_CHANGED);
	scsi_nexus_attention(nexus, SCSI_ASC_CAPACITY_CHANGED);
	or_relaxed(&nexus->slow, SCSI_CONFLICT_READ);
	scsi_nexus_clear_attention(nexus, SCSI_ASC_REPORTED_LUNS_CHANGED);
	assert_int_equal(scsi_nexus_take_attention(nexus), SCSI_ASC_CAPACITY_CHANGED);
	assert_int_equal(scsi_nexus_take_attention(nexus), SCSI_ASC_NONE);
	assert_int_equal(load_relaxed(&nexus->slow), SCSI_CONFLICT_READ);
	and_relaxed(&nexus->slow, ~(uint32_t)SCSI_CONFLICT_READ);
}

#define TAKERS 4
#define ROUNDS 20000
#define TIME_NS (2 * NS_PER_S) /* of the rounds: with one CPU each is a turn of the scheduler */

struct race {
	struct scsi_nexus *nexus;
	uint32_t established, taken;
	bool over;
};

static void *take_all(void *opaque)
{
	struct race *race = opaque;

	/* what is left when the establisher has ended is taken too */
	while (!load_acquire(&race->over) || scsi_nexus_peek_attention(race->nexus)) {
		if (scsi_nexus_take_attention(race->nexus))
			add_relaxed(&race->taken, 1);
	}
	return NULL;
}

/* Only one attention, established anew when it is gone: what is taken is what was established. */
static void test_attentions_when_taken_from_many_threads_then_each_once(void **state)
{
	struct scsi_fixture *f = *state;
	struct race race = { .nexus = f->nexuses[FIRST] };
	uint64_t end_ns = clock_ns() + TIME_NS;
	pthread_t threads[TAKERS];

	for (unsigned i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_all, &race), 0);
	do {
		if (scsi_nexus_peek_attention(race.nexus))
			continue;
		race.established++;
		scsi_nexus_attention(race.nexus, SCSI_ASC_CAPACITY_CHANGED);
	} while (race.established < ROUNDS && clock_ns() < end_ns);
	store_release(&race.over, true);
	for (unsigned i = 0; i < TAKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.taken, race.established);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sense_when_plain_then_key_and_code),
		cmocka_unit_test(test_sense_when_it_has_information_then_valid),
		cmocka_unit_test(
			test_sense_when_information_is_large_then_only_a_descriptor_has_it),
		cmocka_unit_test(test_sense_when_a_field_is_wrong_then_pointer),
		cmocka_unit_test(test_sense_when_all_at_once_then_both_descriptors),
		scsi_test(test_sense_when_the_mode_page_wants_descriptors_then_descriptors),
		scsi_test(test_attentions_when_established_backwards_then_told_in_order),
		scsi_test(test_attentions_when_of_one_initiator_then_the_other_hears_nothing),
		scsi_test(test_attentions_when_one_is_cleared_then_the_others_stay),
		scsi_test(test_attentions_when_taken_from_many_threads_then_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
