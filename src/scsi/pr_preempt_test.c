/* SPDX-License-Identifier: MIT */
/* The rules of preempting and moving; all rules at random. */
#include "scsi/test_pr_rules.h"

/* ---- PREEMPT ---- */

static void test_preempt_when_not_entitled_then_conflict(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = STRANGER,
				.action_key = KEY_A, .type = 1),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_C,
				.action_key = KEY_A, .type = 1),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_OTHER, .type = 1),
			 PR_CONFLICT);
}

static void test_preempt_when_holders_key_then_reservation_changes_hands(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_A, .type = PR_WRITE_EXCLUSIVE),
			 PR_GOOD);
	assert_int_equal(change.table.holder, B);
	assert_int_equal(change.table.count, 2);
	assert_int_equal(change.table.generation, 8);
	assert_all_told(SCSI_ASC_REGISTRATIONS_PREEMPTED, SCSI_ASC_NONE, SCSI_ASC_NONE);
	assert_false(aborted(A));

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_A, .type = PR_EXCLUSIVE_ACCESS_ALL),
			 PR_GOOD);
	assert_int_equal(change.table.type, PR_EXCLUSIVE_ACCESS_ALL);
	assert_all_told(SCSI_ASC_REGISTRATIONS_PREEMPTED, SCSI_ASC_NONE,
			SCSI_ASC_RESERVATIONS_RELEASED);
}

static void test_preempt_when_new_type_unknown_then_refused(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_A, .type = 2),
			 PR_BAD_CDB);
	/* not looked at when no reservation is taken */
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_C, .type = 2, .scope = 3),
			 PR_GOOD);
}

static void test_preempt_when_another_key_then_only_registrations_go(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_C, .type = PR_EXCLUSIVE_ACCESS),
			 PR_GOOD);
	assert_int_equal(change.table.holder, A);
	assert_int_equal(change.table.type, PR_WRITE_EXCLUSIVE);
	assert_int_equal(key_of(C), 0);
	assert_all_told(SCSI_ASC_NONE, SCSI_ASC_NONE, SCSI_ASC_REGISTRATIONS_PREEMPTED);
}

static void test_preempt_when_key_is_shared_then_all_who_have_it_go(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	table.registrations[2].key = KEY_A;
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT_AND_ABORT, .initiator = B, .key = KEY_B,
				.action_key = KEY_A, .type = PR_WRITE_EXCLUSIVE),
			 PR_GOOD);
	assert_int_equal(change.table.count, 1);
	assert_all_told(SCSI_ASC_REGISTRATIONS_PREEMPTED, SCSI_ASC_NONE,
			SCSI_ASC_REGISTRATIONS_PREEMPTED);
	assert_true(aborted(A) && aborted(C) && !aborted(B));
}

static void test_preempt_when_own_key_then_the_sender_is_not_told(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	/* who holds stays, and may change the type */
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT_AND_ABORT, .initiator = A, .key = KEY_A,
				.action_key = KEY_A, .type = PR_EXCLUSIVE_ACCESS),
			 PR_GOOD);
	assert_int_equal(change.table.count, 3);
	assert_int_equal(change.table.holder, A);
	assert_int_equal(change.table.type, PR_EXCLUSIVE_ACCESS);
	assert_false(aborted(A));
	assert_all_told(SCSI_ASC_NONE, SCSI_ASC_RESERVATIONS_RELEASED,
			SCSI_ASC_RESERVATIONS_RELEASED);
	/* who does not hold removes itself */
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT_AND_ABORT, .initiator = B, .key = KEY_B,
				.action_key = KEY_B, .type = PR_EXCLUSIVE_ACCESS),
			 PR_GOOD);
	assert_int_equal(key_of(B), 0);
	assert_int_equal(change.table.type, PR_WRITE_EXCLUSIVE);
	assert_true(aborted(B));
	assert_all_told(SCSI_ASC_NONE, SCSI_ASC_NONE, SCSI_ASC_NONE);
}

static void test_preempt_when_key_is_zero_then_only_of_all_registrants(void **state)
{
	struct pr_table table = three(PR_NONE);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.type = 1),
			 PR_BAD_PARAMETER);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		table = three(types[i]);
		assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
					.type = PR_WRITE_EXCLUSIVE),
				 is_all(types[i]) ? PR_GOOD : PR_BAD_PARAMETER);
		if (!is_all(types[i]))
			continue;
		assert_int_equal(change.table.count, 1);
		assert_int_equal(change.table.holder, B);
		assert_all_told(SCSI_ASC_REGISTRATIONS_PREEMPTED, SCSI_ASC_NONE,
				SCSI_ASC_REGISTRATIONS_PREEMPTED);
	}
}

static void test_preempt_when_all_registrants_then_a_key_removes_registrations(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE_ALL);

	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = B, .key = KEY_B,
				.action_key = KEY_A, .type = PR_EXCLUSIVE_ACCESS),
			 PR_GOOD);
	assert_int_equal(change.table.type, PR_WRITE_EXCLUSIVE_ALL);
	assert_int_equal(change.table.count, 2);
	assert_all_told(SCSI_ASC_REGISTRATIONS_PREEMPTED, SCSI_ASC_NONE, SCSI_ASC_NONE);
	/* the last one takes the reservation along */
	table.count = 1;
	assert_int_equal(DECIDE(table, .action = PR_PREEMPT, .initiator = A, .key = KEY_A,
				.action_key = KEY_A),
			 PR_GOOD);
	assert_int_equal(change.table.type, PR_NONE);
}

/* ---- REGISTER AND MOVE ---- */

#define MOVE(table, ...) \
	DECIDE(table, .action = PR_REGISTER_AND_MOVE, .other_count = 1, .move_port = 3, __VA_ARGS__)

static void test_move_when_holder_then_the_other_holds(void **state)
{
	struct pr_table table = three(PR_EXCLUSIVE_ACCESS);

	assert_int_equal(MOVE(table, .initiator = A, .key = KEY_A, .action_key = 5,
			      .others = { STRANGER }, .aptpl = true),
			 PR_GOOD);
	assert_int_equal(change.table.holder, STRANGER);
	assert_int_equal(change.table.type, PR_EXCLUSIVE_ACCESS);
	assert_int_equal(change.table.count, 4);
	assert_int_equal(key_of(STRANGER), 5);
	assert_int_equal(pr_table_find(&change.table, STRANGER)->port, 3);
	assert_true(change.table.aptpl);
	assert_int_equal(change.table.generation, 8);
	assert_int_equal(change.notice_count, 0);

	assert_int_equal(MOVE(table, .initiator = A, .key = KEY_A, .action_key = 5, .others = { B },
			      .unregister = true),
			 PR_GOOD);
	assert_int_equal(change.table.holder, B);
	assert_int_equal(key_of(B), 5);
	assert_int_equal(key_of(A), 0);
}

static void test_move_when_not_entitled_then_refused(void **state)
{
	struct pr_table table = three(PR_EXCLUSIVE_ACCESS), all = three(PR_EXCLUSIVE_ACCESS_ALL),
			none = three(PR_NONE);

	assert_int_equal(MOVE(table, .initiator = STRANGER, .action_key = 5, .others = { B }),
			 PR_CONFLICT);
	assert_int_equal(MOVE(table, .initiator = A, .key = KEY_B, .action_key = 5,
			      .others = { B }),
			 PR_CONFLICT);
	assert_int_equal(MOVE(table, .initiator = B, .key = KEY_B, .action_key = 5,
			      .others = { C }),
			 PR_BAD_CDB);
	assert_int_equal(MOVE(none, .initiator = B, .key = KEY_B, .action_key = 5, .others = { C }),
			 PR_BAD_CDB);
	assert_int_equal(MOVE(all, .initiator = A, .key = KEY_A, .action_key = 5, .others = { B }),
			 PR_CONFLICT);
	assert_int_equal(MOVE(table, .initiator = A, .key = KEY_A, .others = { B }),
			 PR_BAD_PARAMETER);
	assert_int_equal(MOVE(table, .initiator = A, .key = KEY_A, .action_key = 5,
			      .others = { A }),
			 PR_BAD_PARAMETER);
}

/* ---- at random ---- */

static uint64_t seed = 20250807;

static unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static struct pr_command random_command(const struct pr_table *table)
{
	static const uint64_t initiators[] = { A, B, C, STRANGER };
	struct pr_command command = {
		.action = (enum pr_action)random_below(8),
		.initiator = initiators[random_below(4)],
		.type = (uint8_t)random_below(9),
		.action_key = random_below(4),
		.others = { initiators[random_below(4)] },
		.other_count = 1,
		.unregister = random_below(2),
	};
	const struct pr_registration *own = pr_table_find(table, command.initiator);

	if (own && random_below(8))
		command.key = own->key;
	return command;
}

/* Whatever is sent, the table stays sound, and nobody is told what does not concern him. */
static void test_rules_when_anything_is_sent_then_table_stays_sound(void **state)
{
	struct pr_table table = { 0 };
	unsigned changes = 0;

	for (unsigned i = 0; i < 50000; i++) {
		struct pr_command command = random_command(&table);

		if (decide(&table, command) != PR_GOOD)
			continue;
		assert_int_equal(told(command.initiator), SCSI_ASC_NONE);
		for (unsigned n = 0; n < change.notice_count; n++)
			assert_non_null(pr_table_find(&table, change.notices[n].initiator));
		changes += change.changed;
		table = change.table;
	}
	assert_true(changes > 5000);
}

static void test_table_when_unsound_then_noticed(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_true(pr_table_is_sound(&table));
	table.holder = STRANGER;
	assert_false(pr_table_is_sound(&table));
	table = three(PR_WRITE_EXCLUSIVE_ALL);
	table.holder = A;
	assert_false(pr_table_is_sound(&table));
	table = three(PR_NONE);
	table.holder = A;
	assert_false(pr_table_is_sound(&table));
	table = three(PR_NONE);
	table.registrations[2].initiator = A;
	assert_false(pr_table_is_sound(&table));
	table = three(PR_NONE);
	table.registrations[1].key = 0;
	assert_false(pr_table_is_sound(&table));
	table = three((enum pr_type)2);
	assert_false(pr_table_is_sound(&table));
	table = three(PR_NONE);
	table.count = PR_REGISTRATIONS_MAX + 1;
	assert_false(pr_table_is_sound(&table));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preempt_when_not_entitled_then_conflict),
		cmocka_unit_test(test_preempt_when_holders_key_then_reservation_changes_hands),
		cmocka_unit_test(test_preempt_when_new_type_unknown_then_refused),
		cmocka_unit_test(test_preempt_when_another_key_then_only_registrations_go),
		cmocka_unit_test(test_preempt_when_key_is_shared_then_all_who_have_it_go),
		cmocka_unit_test(test_preempt_when_own_key_then_the_sender_is_not_told),
		cmocka_unit_test(test_preempt_when_key_is_zero_then_only_of_all_registrants),
		cmocka_unit_test(
			test_preempt_when_all_registrants_then_a_key_removes_registrations),
		cmocka_unit_test(test_move_when_holder_then_the_other_holds),
		cmocka_unit_test(test_move_when_not_entitled_then_refused),
		cmocka_unit_test(test_rules_when_anything_is_sent_then_table_stays_sound),
		cmocka_unit_test(test_table_when_unsound_then_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
