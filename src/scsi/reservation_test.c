/* SPDX-License-Identifier: MIT */
/* What a reservation means for everybody's commands: through whole commands of two initiators. */
#include "scsi/test_pr.h"

enum { K1 = 0x1111, K2 = 0x2222 };

static bool is_all(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- SPC-2 ---- */

static void test_reserve_when_taken_then_only_the_holder_passes(void **state)
{
	struct scsi_fixture *f = *state;

	assert_false(conflicts(f, FIRST, RESERVES));
	assert_false(conflicts(f, FIRST, RESERVES)); /* again is fine */
	for (enum command_class class = READS; class <= RESERVES; class ++)
		assert_true(conflicts(f, SECOND, class));
	for (enum command_class class = READS; class <= ALWAYS; class ++)
		assert_false(conflicts(f, FIRST, class));
	assert_false(conflicts(f, SECOND, LETS_GO)); /* not its own: nothing happens */
	assert_true(conflicts(f, SECOND, RESERVES));
	assert_false(conflicts(f, FIRST, LETS_GO));
	assert_false(conflicts(f, SECOND, RESERVES));
	assert_true(conflicts(f, FIRST, WRITES));
	assert_false(conflicts(f, SECOND, LETS_GO));
	assert_false(conflicts(f, FIRST, WRITES));
}

static void test_reserve_when_taken_then_some_commands_of_others_pass(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t data[255];

	assert_false(conflicts(f, FIRST, RESERVES));
	scsi_do_in(f, SECOND, CDB(0x03, 0, 0, 0, 18, 0), data, 18); /* REQUEST SENSE */
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), data, 8); /* READ CAPACITY */
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), data, 32);
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255, 0), data, 255); /* LOG SENSE */
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0), data,
		   255); /* RTPG */
	scsi_assert_good(f);
	scsi_do_in(f, SECOND, CDB(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0), data, 255);
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	scsi_do(f, SECOND, CDB(0x1e, 0, 0, 0, 0, 0)); /* ALLOW MEDIUM REMOVAL */
	scsi_assert_good(f);
	scsi_do(f, SECOND, CDB(0x1b, 0, 0, 0, 0, 0)); /* STOP */
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
}

static void test_reserve_10_when_taken_then_release_6_ends_it(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	assert_true(conflicts(f, SECOND, READS));
	assert_false(conflicts(f, FIRST, LETS_GO));
	assert_false(conflicts(f, SECOND, READS));
	assert_false(conflicts(f, SECOND, RESERVES));
	scsi_do(f, SECOND, CDB(0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	assert_false(conflicts(f, FIRST, READS));
}

static void test_reserve_when_for_others_or_extents_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x16, 0x10, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 1, 4);
	scsi_do(f, FIRST, CDB(0x16, 0x01, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 1, 0);
	scsi_do(f, FIRST, CDB(0x56, 0x10, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 1, 4);
	scsi_do(f, FIRST, CDB(0x57, 0, 0, 1, 0, 0, 0, 0, 0, 0));
	scsi_assert_bad_cdb(f, 3, 0);
	assert_false(conflicts(f, SECOND, WRITES));
}

static void test_reserve_when_nexus_lost_or_unit_reset_then_released(void **state)
{
	struct scsi_fixture *f = *state;

	assert_false(conflicts(f, FIRST, RESERVES));
	scsi_nexus_lost(f->nexuses[SECOND], SCSI_ASC_NEXUS_LOSS); /* not the holder */
	scsi_fixture_clear_attentions(f);
	assert_true(conflicts(f, SECOND, READS));
	scsi_nexus_lost(f->nexuses[FIRST], SCSI_ASC_NEXUS_LOSS);
	scsi_fixture_clear_attentions(f);
	assert_false(conflicts(f, SECOND, RESERVES));
	scsi_unit_reset(f->unit);
	scsi_fixture_clear_attentions(f);
	assert_false(conflicts(f, FIRST, RESERVES));
}

static void test_reserve_when_anybody_is_registered_then_conflict(void **state)
{
	struct scsi_fixture *f = *state;

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	for (enum scsi_who who = FIRST; who <= SECOND; who++) {
		assert_true(conflicts(f, who, RESERVES));
		assert_true(conflicts(f, who, LETS_GO));
		assert_false(conflicts(f, who, WRITES));
	}
	PR(f, FIRST, PR_REGISTER, .key = K1);
	assert_false(conflicts(f, SECOND, RESERVES));
}

static void test_persistent_when_reserved_the_old_way_then_conflict_for_all(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64];

	assert_false(conflicts(f, FIRST, RESERVES));
	for (enum scsi_who who = FIRST; who <= SECOND; who++) {
		PR(f, who, PR_REGISTER, .action_key = K1);
		scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
		scsi_do_in(f, who, PR_IN_CDB(READ_KEYS, 64), bytes, 64);
		scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	}
	assert_false(conflicts(f, FIRST, LETS_GO));
	ASSERT_KEYS(f, );
}

/* ---- persistent: what passes ---- */

/* SPC-4, table 66: who sends what under which type. */
static void test_persistent_when_reserved_then_conflicts_as_the_table_says(void **state)
{
	static const struct {
		enum pr_type type;
		/* of the other initiator, registered and not: READS, WRITES, ASKS */
		bool registered[3], stranger[3];
	} cases[] = {
		{ PR_WRITE_EXCLUSIVE, { false, true, false }, { false, true, false } },
		{ PR_EXCLUSIVE_ACCESS, { true, true, true }, { true, true, true } },
		{ PR_WRITE_EXCLUSIVE_REGISTRANTS, { false, false, false }, { false, true, false } },
		{ PR_EXCLUSIVE_ACCESS_REGISTRANTS, { false, false, false }, { true, true, true } },
		{ PR_WRITE_EXCLUSIVE_ALL, { false, false, false }, { false, true, false } },
		{ PR_EXCLUSIVE_ACCESS_ALL, { false, false, false }, { true, true, true } },
	};
	struct scsi_fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		register_both(f, K1, K2);
		PR(f, FIRST, PR_RESERVE, cases[i].type, .key = K1);
		scsi_assert_good(f);
		for (enum command_class class = READS; class <= ASKS; class ++) {
			assert_false(conflicts(f, FIRST, class));
			assert_int_equal(conflicts(f, SECOND, class), cases[i].registered[class]);
		}
		PR(f, SECOND, PR_REGISTER, .key = K2);
		for (enum command_class class = READS; class <= ASKS; class ++)
			assert_int_equal(conflicts(f, SECOND, class), cases[i].stranger[class]);
		assert_false(conflicts(f, SECOND, ALWAYS));
		assert_reserved(f, is_all(cases[i].type) ? 0 : K1, cases[i].type);
		PR(f, FIRST, PR_CLEAR, .key = K1);
		scsi_assert_good(f);
		assert_false(conflicts(f, SECOND, WRITES));
	}
}

static void test_persistent_when_reserved_then_start_and_allow_pass(void **state)
{
	struct scsi_fixture *f = *state;

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	scsi_do(f, SECOND, CDB(0x1b, 0, 0, 0, 1, 0));
	scsi_assert_good(f);
	scsi_do(f, SECOND, CDB(0x1b, 0, 0, 0, 0, 0));
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	scsi_do(f, SECOND, CDB(0x1e, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	scsi_do(f, SECOND, CDB(0x1e, 0, 0, 0, 1, 0));
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
}

/* ---- what outlives a nexus ---- */

static void test_registration_when_nexus_lost_or_unit_reset_then_stays(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	scsi_nexus_lost(f->nexuses[FIRST], SCSI_ASC_NEXUS_LOSS);
	scsi_unit_reset(f->unit);
	scsi_fixture_clear_attentions(f);
	ASSERT_KEYS(f, K1, K2);
	assert_reserved(f, K1, PR_EXCLUSIVE_ACCESS);
	assert_true(conflicts(f, SECOND, READS));
	assert_false(conflicts(f, FIRST, WRITES));
}

static struct scsi_nexus *nexus_again(struct scsi_fixture *f, enum scsi_who who, uint16_t port)
{
	struct scsi_nexus_config config = {
		.unit = f->unit,
		.ports = f->nexuses[who]->ports,
	};
	struct scsi_nexus *nexus = NULL;

	config.ports.relative_target_port = port;
	scsi_nexus_free(f->nexuses[who]);
	assert_int_equal(scsi_nexus_new(&config, &nexus, NULL), 0);
	f->nexuses[who] = f->units[0].nexuses[who] = nexus;
	scsi_fixture_clear_attentions(f);
	return nexus;
}

static void test_registration_when_initiator_comes_back_then_found_again(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[1024];

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	nexus_again(f, FIRST, 7); /* ports are numbered anew in each run */
	nexus_again(f, SECOND, 8);
	assert_false(conflicts(f, FIRST, WRITES));
	assert_true(conflicts(f, SECOND, READS));
	pr_in(f, FIRST, READ_FULL_STATUS, bytes);
	assert_int_equal(be16_get(bytes + 8 + 18), 7);
	PR(f, FIRST, PR_RELEASE, PR_EXCLUSIVE_ACCESS, .key = K1);
	scsi_assert_good(f);
	assert_not_reserved(f);
}

static void test_reserve_when_holder_leaves_then_released(void **state)
{
	struct scsi_fixture *f = *state;

	assert_false(conflicts(f, FIRST, RESERVES));
	nexus_again(f, FIRST, 1);
	assert_false(conflicts(f, SECOND, RESERVES));
}

static void test_conflict_bits_when_nothing_is_reserved_then_zero(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	assert_int_not_equal(f->nexuses[SECOND]->slow, 0);
	PR(f, FIRST, PR_CLEAR, .key = K1);
	scsi_fixture_clear_attentions(f);
	assert_int_equal(f->nexuses[FIRST]->slow, 0);
	assert_int_equal(f->nexuses[SECOND]->slow, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_reserve_when_taken_then_only_the_holder_passes),
		scsi_test(test_reserve_when_taken_then_some_commands_of_others_pass),
		scsi_test(test_reserve_10_when_taken_then_release_6_ends_it),
		scsi_test(test_reserve_when_for_others_or_extents_then_refused),
		scsi_test(test_reserve_when_nexus_lost_or_unit_reset_then_released),
		scsi_test(test_reserve_when_anybody_is_registered_then_conflict),
		scsi_test(test_persistent_when_reserved_the_old_way_then_conflict_for_all),
		scsi_test(test_persistent_when_reserved_then_conflicts_as_the_table_says),
		scsi_test(test_persistent_when_reserved_then_start_and_allow_pass),
		scsi_test(test_registration_when_nexus_lost_or_unit_reset_then_stays),
		scsi_test(test_registration_when_initiator_comes_back_then_found_again),
		scsi_test(test_reserve_when_holder_leaves_then_released),
		scsi_test(test_conflict_bits_when_nothing_is_reserved_then_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
