/* SPDX-License-Identifier: MIT */
/* Units and nexuses: made, lost, reset, freed. */
#include "scsi/fixture.h"

#include <errno.h>

#define TUR CDB(0x00, 0, 0, 0, 0, 0)

static void expect_attention(struct scsi_fixture *f, enum scsi_who who, enum scsi_asc asc)
{
	scsi_do(f, who, TUR);
	scsi_assert_sense(f, SCSI_UNIT_ATTENTION, asc);
	scsi_do(f, who, TUR);
	scsi_assert_good(f);
}

static void test_nexus_when_new_then_power_on(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 1 << 20), NULL);
	expect_attention(f, FIRST, SCSI_ASC_POWER_ON_OR_RESET);
	expect_attention(f, SECOND, SCSI_ASC_POWER_ON_OR_RESET);
	scsi_fixture_free(f);
}

static void test_nexus_when_the_initiator_has_one_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_nexus_config config = {
		.unit = f->unit, .ports = f->nexuses[FIRST]->ports, .target = 3, .lun = 4
	};
	struct scsi_nexus *nexus = NULL;
	struct error error = { 0 };

	assert_int_equal(scsi_nexus_new(&config, &nexus, &error), -EEXIST);
	assert_string_equal(error.text, "this adapter already shows node 'disk'");
	config.ports.initiator++;
	config.ports.initiator |= 0x1000;
	assert_int_equal(scsi_nexus_new(&config, &nexus, NULL), 0);
	assert_ptr_equal(scsi_nexus_unit(nexus), f->unit);
	scsi_nexus_free(nexus);
}

/* What was pending is forgotten, what the initiator held is given back, what others have stays. */
static void test_nexus_when_lost_then_only_that_is_told(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x16, 0, 0, 0, 0, 0)); /* RESERVE */
	scsi_assert_good(f);
	scsi_do(f, SECOND, TUR);
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	f->nexuses[FIRST]->removal_prevented = true;
	f->nexuses[SECOND]->removal_prevented = true;
	scsi_nexus_attention(f->nexuses[FIRST], SCSI_ASC_CAPACITY_CHANGED);

	scsi_nexus_lost(f->nexuses[FIRST], SCSI_ASC_NEXUS_LOSS);
	expect_attention(f, FIRST, SCSI_ASC_NEXUS_LOSS);
	scsi_do(f, SECOND, TUR);
	scsi_assert_good(f);
	assert_true(scsi_unit_removal_prevented(f->unit));
	scsi_nexus_lost(f->nexuses[SECOND], SCSI_ASC_NEXUS_LOSS);
	assert_false(scsi_unit_removal_prevented(f->unit));
}

static void test_unit_when_reset_then_as_at_the_start(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	f->nexuses[SECOND]->removal_prevented = true;
	or_relaxed(&f->unit->slow, SCSI_UNIT_STOPPED);
	scsi_unit_lock(f->unit);
	f->unit->mode.wce = 0;
	scsi_mode_apply(f->unit);
	scsi_unit_unlock(f->unit);
	assert_int_equal(load_relaxed(&f->unit->write_through), 1);

	scsi_unit_reset(f->unit);
	expect_attention(f, FIRST, SCSI_ASC_BUS_DEVICE_RESET);
	expect_attention(f, SECOND, SCSI_ASC_BUS_DEVICE_RESET);
	assert_false(scsi_unit_removal_prevented(f->unit));
	assert_int_equal(load_relaxed(&f->unit->write_through), 0);
}

static void test_unit_when_its_size_changes_then_everybody_hears(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_unit_capacity_changed(f->unit);
	expect_attention(f, FIRST, SCSI_ASC_CAPACITY_CHANGED);
	expect_attention(f, SECOND, SCSI_ASC_CAPACITY_CHANGED);
}

static void test_abort_when_marked_then_taken_once(void **state)
{
	struct scsi_nexus *nexus = ((struct scsi_fixture *)*state)->nexuses[SECOND];

	assert_false(scsi_nexus_take_abort(nexus));
	nexus->abort_marked = true;
	assert_true(scsi_nexus_take_abort(nexus));
	assert_false(scsi_nexus_take_abort(nexus));
}

static void test_nexuses_when_listed_then_by_port(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_nexus_config config = {
		.unit = f->unit, .ports = { 0x30000000000000ffull, 0x3000000000000fffull, 1 }
	};
	struct scsi_nexus *nexus, *other;
	unsigned port = 0;

	assert_int_equal(scsi_nexus_new(&config, &nexus, NULL), 0);
	TAILQ_FOREACH(other, &f->unit->nexuses, next)
	{
		assert_true(other->ports.relative_target_port >= port);
		port = other->ports.relative_target_port;
	}
	assert_int_equal(port, 2);
	scsi_nexus_free(nexus);
}

static void mark(void *opaque)
{
	*(bool *)opaque = true;
}

static void test_jobs_when_there_are_none_then_ended_at_once(void **state)
{
	struct scsi_fixture *f = *state;
	bool ended = false;

	scsi_unit_end_jobs(f->unit, mark, &ended);
	assert_true(ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nexus_when_new_then_power_on),
		scsi_test(test_nexus_when_the_initiator_has_one_then_refused),
		scsi_test(test_nexus_when_lost_then_only_that_is_told),
		scsi_test(test_unit_when_reset_then_as_at_the_start),
		scsi_test(test_unit_when_its_size_changes_then_everybody_hears),
		scsi_test(test_abort_when_marked_then_taken_once),
		scsi_test(test_nexuses_when_listed_then_by_port),
		scsi_test(test_jobs_when_there_are_none_then_ended_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
