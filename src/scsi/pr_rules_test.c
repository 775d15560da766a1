/* SPDX-License-Identifier: MIT */
/* The rules of registering, reserving and releasing, as tables. */
#include "scsi/test_pr_rules.h"

/* ---- what conflicts: SPC-4, table 66 ---- */

static void test_conflicts_when_reserved_then_as_the_table_says(void **state)
{
	enum { R = SCSI_CONFLICT_READ, W = SCSI_CONFLICT_WRITE };
	static const struct {
		enum pr_type type;
		uint32_t holder, registrant, stranger;
	} cases[] = {
		{ PR_NONE, 0, 0, 0 },
		{ PR_WRITE_EXCLUSIVE, 0, W, W },
		{ PR_EXCLUSIVE_ACCESS, 0, R | W, R | W },
		{ PR_WRITE_EXCLUSIVE_REGISTRANTS, 0, 0, W },
		{ PR_EXCLUSIVE_ACCESS_REGISTRANTS, 0, 0, R | W },
		{ PR_WRITE_EXCLUSIVE_ALL, 0, 0, W },
		{ PR_EXCLUSIVE_ACCESS_ALL, 0, 0, R | W },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pr_table table = three(cases[i].type);

		assert_int_equal(pr_table_conflicts(&table, A), cases[i].holder);
		assert_int_equal(pr_table_conflicts(&table, B), cases[i].registrant);
		assert_int_equal(pr_table_conflicts(&table, STRANGER), cases[i].stranger);
	}
}

/* ---- REGISTER ---- */

static void test_register_when_new_then_key_zero_is_expected(void **state)
{
	struct pr_table table = three(PR_NONE);

	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = STRANGER, .key = 1,
				.action_key = 2),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = STRANGER,
				.action_key = 2, .port = 4, .all_ports = true, .aptpl = true),
			 PR_GOOD);
	assert_int_equal(change.table.count, 4);
	assert_int_equal(change.table.registrations[3].initiator, STRANGER);
	assert_int_equal(change.table.registrations[3].key, 2);
	assert_int_equal(change.table.registrations[3].port, 4);
	assert_true(change.table.registrations[3].all_ports);
	assert_true(change.table.aptpl);
	assert_int_equal(change.table.generation, 8);
	assert_int_equal(change.notice_count, 0);
}

static void test_register_when_known_then_its_key_is_expected(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .action_key = 1),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .key = KEY_B),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .key = KEY_A,
				.action_key = 1),
			 PR_GOOD);
	assert_int_equal(key_of(A), 1);
	assert_int_equal(change.table.count, 3);
	assert_int_equal(change.table.holder, A);
	assert_int_equal(change.table.generation, 8);
}

static void test_register_when_nothing_to_do_then_generation_stays(void **state)
{
	struct pr_table table = three(PR_NONE);

	table.aptpl = true;
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = STRANGER), PR_GOOD);
	assert_false(change.changed);
	assert_int_equal(DECIDE(table, .action = PR_REGISTER_AND_IGNORE, .initiator = STRANGER,
				.key = 5),
			 PR_GOOD);
	assert_false(change.changed);
}

static void test_register_and_ignore_when_known_then_key_is_not_looked_at(void **state)
{
	struct pr_table table = three(PR_NONE);

	assert_int_equal(DECIDE(table, .action = PR_REGISTER_AND_IGNORE, .initiator = B,
				.key = KEY_OTHER, .action_key = 9),
			 PR_GOOD);
	assert_int_equal(key_of(B), 9);
	assert_int_equal(DECIDE(table, .action = PR_REGISTER_AND_IGNORE, .initiator = B,
				.key = KEY_OTHER),
			 PR_GOOD);
	assert_int_equal(change.table.count, 2);
	assert_int_equal(change.table.registrations[1].initiator, C);
}

static void test_unregister_when_holder_then_by_type(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct pr_table table = three(types[i]);
		enum scsi_asc expected = is_registrants_only(types[i]) ?
						 SCSI_ASC_RESERVATIONS_RELEASED :
						 SCSI_ASC_NONE;

		assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .key = KEY_A),
				 PR_GOOD);
		assert_int_equal(change.table.count, 2);
		assert_int_equal(change.table.type, is_all(types[i]) ? types[i] : PR_NONE);
		assert_all_told(SCSI_ASC_NONE, expected, expected);
		assert_int_equal(change.table.generation, 8);
	}
}

static void test_unregister_when_not_holder_then_reservation_stays(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct pr_table table = three(types[i]);

		assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = B, .key = KEY_B),
				 PR_GOOD);
		assert_int_equal(change.table.type, types[i]);
		assert_int_equal(change.notice_count, 0);
	}
}

static void test_unregister_when_last_of_all_registrants_then_released(void **state)
{
	struct pr_table table = three(PR_EXCLUSIVE_ACCESS_ALL);

	table.count = 1;
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .key = KEY_A),
			 PR_GOOD);
	assert_int_equal(change.table.count, 0);
	assert_int_equal(change.table.type, PR_NONE);
}

static void test_register_when_others_are_named_then_all_or_none(void **state)
{
	struct pr_table table = three(PR_NONE);

	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = STRANGER,
				.action_key = 5, .specify_others = true, .others = { 0xe, B, 0xf },
				.other_count = 3),
			 PR_GOOD);
	assert_int_equal(change.table.count, 6);
	assert_int_equal(key_of(0xe), 5);
	assert_int_equal(key_of(0xf), 5);
	assert_int_equal(key_of(B), KEY_B); /* was registered: keeps its own */
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = A, .key = KEY_A,
				.action_key = 5, .specify_others = true),
			 PR_BAD_CDB);
}

static void test_register_when_full_then_no_room(void **state)
{
	struct pr_table table = { 0 };

	for (unsigned i = 0; i < PR_REGISTRATIONS_MAX; i++) {
		assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = i + 1,
					.action_key = 1),
				 PR_GOOD);
		table = change.table;
	}
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = 0xfff, .action_key = 1),
			 PR_NO_ROOM);
	table.count--;
	assert_int_equal(DECIDE(table, .action = PR_REGISTER, .initiator = 0xfff, .action_key = 1,
				.specify_others = true, .others = { 0xffe }, .other_count = 1),
			 PR_NO_ROOM);
	table.type = PR_WRITE_EXCLUSIVE;
	table.holder = 1;
	table.count++;
	assert_int_equal(DECIDE(table, .action = PR_REGISTER_AND_MOVE, .initiator = 1, .key = 1,
				.action_key = 1, .others = { 0xfff }, .other_count = 1),
			 PR_NO_ROOM);
}

/* ---- RESERVE, RELEASE, CLEAR ---- */

static void test_reserve_when_free_then_held(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct pr_table table = three(PR_NONE);

		assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = B, .key = KEY_B,
					.type = types[i]),
				 PR_GOOD);
		assert_int_equal(change.table.type, types[i]);
		assert_true(pr_table_holds(&change.table, B));
		assert_int_equal(pr_table_holds(&change.table, C), is_all(types[i]));
		assert_int_equal(change.table.generation, 7);
		assert_int_equal(change.notice_count, 0);
	}
}

static void test_reserve_when_not_entitled_then_conflict(void **state)
{
	struct pr_table table = three(PR_NONE);

	assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = STRANGER,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = B, .key = KEY_A,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_CONFLICT);
}

static void test_reserve_when_scope_or_type_unknown_then_refused(void **state)
{
	struct pr_table table = three(PR_NONE);

	for (unsigned type = 0; type < 16; type++) {
		bool known = type == 1 || type == 3 || (type >= 5 && type <= 8);

		assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = B, .key = KEY_B,
					.type = (uint8_t)type),
				 known ? PR_GOOD : PR_BAD_CDB);
	}
	for (unsigned scope = 1; scope < 16; scope++)
		assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = B, .key = KEY_B,
					.scope = (uint8_t)scope, .type = 1),
				 PR_BAD_CDB);
}

static void test_reserve_when_reserved_then_only_the_same_by_a_holder(void **state)
{
	for (unsigned held = 0; held < ARRAY_SIZE(types); held++) {
		struct pr_table table = three(types[held]);

		for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
			assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = A,
						.key = KEY_A, .type = types[i]),
					 i == held ? PR_GOOD : PR_CONFLICT);
			assert_int_equal(DECIDE(table, .action = PR_RESERVE, .initiator = B,
						.key = KEY_B, .type = types[i]),
					 i == held && is_all(types[i]) ? PR_GOOD : PR_CONFLICT);
		}
	}
}

static void test_release_when_holder_then_others_are_told_by_type(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct pr_table table = three(types[i]);
		enum scsi_asc expected = is_registrants_only(types[i]) || is_all(types[i]) ?
						 SCSI_ASC_RESERVATIONS_RELEASED :
						 SCSI_ASC_NONE;

		assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = A, .key = KEY_A,
					.type = types[i]),
				 PR_GOOD);
		assert_int_equal(change.table.type, PR_NONE);
		assert_int_equal(change.table.count, 3);
		assert_int_equal(change.table.generation, 7);
		assert_all_told(SCSI_ASC_NONE, expected, expected);
	}
}

static void test_release_when_scope_or_type_differ_then_invalid_release(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = A, .key = KEY_A,
				.type = PR_EXCLUSIVE_ACCESS),
			 PR_INVALID_RELEASE);
	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = A, .key = KEY_A,
				.type = PR_WRITE_EXCLUSIVE, .scope = 1),
			 PR_INVALID_RELEASE);
}

static void test_release_when_nothing_is_held_then_good_and_nothing_changes(void **state)
{
	struct pr_table table = three(PR_WRITE_EXCLUSIVE);

	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = B, .key = KEY_B,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_GOOD);
	assert_false(change.changed);
	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = B, .key = KEY_A,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = STRANGER,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_CONFLICT);
	table = three(PR_NONE);
	assert_int_equal(DECIDE(table, .action = PR_RELEASE, .initiator = A, .key = KEY_A,
				.type = PR_WRITE_EXCLUSIVE),
			 PR_GOOD);
	assert_false(change.changed);
}

static void test_clear_when_registered_then_all_is_gone(void **state)
{
	struct pr_table table = three(PR_EXCLUSIVE_ACCESS);

	assert_int_equal(DECIDE(table, .action = PR_CLEAR, .initiator = STRANGER), PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_CLEAR, .initiator = B, .key = KEY_A),
			 PR_CONFLICT);
	assert_int_equal(DECIDE(table, .action = PR_CLEAR, .initiator = B, .key = KEY_B), PR_GOOD);
	assert_int_equal(change.table.count, 0);
	assert_int_equal(change.table.type, PR_NONE);
	assert_int_equal(change.table.generation, 8);
	assert_all_told(SCSI_ASC_RESERVATIONS_PREEMPTED, SCSI_ASC_NONE,
			SCSI_ASC_RESERVATIONS_PREEMPTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conflicts_when_reserved_then_as_the_table_says),
		cmocka_unit_test(test_register_when_new_then_key_zero_is_expected),
		cmocka_unit_test(test_register_when_known_then_its_key_is_expected),
		cmocka_unit_test(test_register_when_nothing_to_do_then_generation_stays),
		cmocka_unit_test(test_register_and_ignore_when_known_then_key_is_not_looked_at),
		cmocka_unit_test(test_unregister_when_holder_then_by_type),
		cmocka_unit_test(test_unregister_when_not_holder_then_reservation_stays),
		cmocka_unit_test(test_unregister_when_last_of_all_registrants_then_released),
		cmocka_unit_test(test_register_when_others_are_named_then_all_or_none),
		cmocka_unit_test(test_register_when_full_then_no_room),
		cmocka_unit_test(test_reserve_when_free_then_held),
		cmocka_unit_test(test_reserve_when_not_entitled_then_conflict),
		cmocka_unit_test(test_reserve_when_scope_or_type_unknown_then_refused),
		cmocka_unit_test(test_reserve_when_reserved_then_only_the_same_by_a_holder),
		cmocka_unit_test(test_release_when_holder_then_others_are_told_by_type),
		cmocka_unit_test(test_release_when_scope_or_type_differ_then_invalid_release),
		cmocka_unit_test(test_release_when_nothing_is_held_then_good_and_nothing_changes),
		cmocka_unit_test(test_clear_when_registered_then_all_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
