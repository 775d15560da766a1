/* SPDX-License-Identifier: MIT */
/* PERSISTENT RESERVE OUT and IN, with what they tell and refuse. */
#include "scsi/test_pr.h"

enum { K1 = 0x1111, K2 = 0x2222, K3 = 0x3333 };

static const enum pr_type types[] = {
	PR_WRITE_EXCLUSIVE,
	PR_EXCLUSIVE_ACCESS,
	PR_WRITE_EXCLUSIVE_REGISTRANTS,
	PR_EXCLUSIVE_ACCESS_REGISTRANTS,
	PR_WRITE_EXCLUSIVE_ALL,
	PR_EXCLUSIVE_ACCESS_ALL,
};

static bool is_all(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- PERSISTENT RESERVE OUT ---- */

static void test_register_when_done_then_keys_are_told(void **state)
{
	struct scsi_fixture *f = *state;

	ASSERT_KEYS(f, );
	assert_int_equal(pr_generation(f), 0);
	PR(f, SECOND, PR_REGISTER_AND_IGNORE, .key = 99, .action_key = K2);
	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	ASSERT_KEYS(f, K2, K1);
	assert_int_equal(pr_generation(f), 2);
	PR(f, FIRST, PR_REGISTER, .action_key = K3); /* registered: key 0 is wrong */
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	PR(f, SECOND, PR_REGISTER, .key = K2, .action_key = K3);
	scsi_assert_good(f);
	ASSERT_KEYS(f, K3, K1);
	PR(f, SECOND, PR_REGISTER, .key = K3);
	ASSERT_KEYS(f, K1);
	assert_int_equal(pr_generation(f), 4);
}

static void test_reserve_and_release_when_each_type_then_told_as_reserved(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		bool one_alone = types[i] == PR_WRITE_EXCLUSIVE || types[i] == PR_EXCLUSIVE_ACCESS;

		PR(f, FIRST, PR_RESERVE, types[i], .key = K1);
		scsi_assert_good(f);
		assert_reserved(f, is_all(types[i]) ? 0 : K1, types[i]);
		PR(f, FIRST, PR_RELEASE, types[i] ^ 2, .key = K1);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST,
				  SCSI_ASC_INVALID_RELEASE_OF_PERSISTENT_RESERVATION);
		PR(f, FIRST, PR_RELEASE, types[i], .key = K1);
		scsi_assert_good(f);
		assert_not_reserved(f);
		assert_told(f, FIRST, SCSI_ASC_NONE);
		assert_told(f, SECOND, one_alone ? SCSI_ASC_NONE : SCSI_ASC_RESERVATIONS_RELEASED);
	}
	assert_int_equal(pr_generation(f), 2);
}

static void test_reserve_when_scope_or_type_unknown_then_pointed_at(void **state)
{
	struct scsi_fixture *f = *state;

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, 0x11, .key = K1);
	scsi_assert_bad_cdb(f, 2, 7);
	PR(f, FIRST, PR_RESERVE, 0x02, .key = K1);
	scsi_assert_bad_cdb(f, 2, 3);
	assert_not_reserved(f);
}

static void test_unregister_when_holder_then_registrants_are_told(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS_REGISTRANTS, .key = K1);
	PR(f, FIRST, PR_REGISTER, .key = K1);
	scsi_assert_good(f);
	assert_not_reserved(f);
	assert_told(f, SECOND, SCSI_ASC_RESERVATIONS_RELEASED);
	assert_told(f, FIRST, SCSI_ASC_NONE);
}

static void test_clear_when_reserved_then_others_are_told(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	PR(f, SECOND, PR_CLEAR, .key = K2);
	scsi_assert_good(f);
	assert_told(f, FIRST, SCSI_ASC_RESERVATIONS_PREEMPTED);
	assert_told(f, SECOND, SCSI_ASC_NONE);
	assert_not_reserved(f);
	ASSERT_KEYS(f, );
	assert_int_equal(pr_generation(f), 3);
}

static void test_preempt_when_holder_then_it_is_shut_out_and_told(void **state)
{
	struct scsi_fixture *f = *state;

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_WRITE_EXCLUSIVE, .key = K1);
	PR(f, SECOND, PR_PREEMPT, PR_EXCLUSIVE_ACCESS, .key = K2, .action_key = K1);
	scsi_assert_good(f);
	assert_told(f, FIRST, SCSI_ASC_REGISTRATIONS_PREEMPTED);
	assert_told(f, SECOND, SCSI_ASC_NONE);
	assert_reserved(f, K2, PR_EXCLUSIVE_ACCESS);
	ASSERT_KEYS(f, K2);
	assert_true(conflicts(f, FIRST, READS));
	assert_int_equal(f->abort_count, 0);
	assert_int_equal(pr_generation(f), 3);
}

static void test_preempt_and_abort_when_marked_then_answered_after_the_abort(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	uint8_t list[PR_LIST_BYTES];

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	f->hold_abort = true;
	pr_list(list, K2, K1, 0);
	scsi_run_start(f, &run, SECOND, PR_OUT_CDB(PR_PREEMPT_AND_ABORT, PR_EXCLUSIVE_ACCESS, 24),
		       &(struct scsi_run_data){ .out = list, .out_bytes = sizeof(list) });
	scsi_fixture_turn(f);
	assert_int_equal(run.done_count, 0);
	assert_true(f->aborted[FIRST] && !f->aborted[SECOND]);
	assert_true(f->nexuses[FIRST]->slow & SCSI_CONFLICT_READ); /* shut out before the abort */
	scsi_fixture_grant(f);
	scsi_run_wait(&run);
	assert_int_equal(run.task.status, SCSI_GOOD);
	scsi_run_fini(&run);
	assert_told(f, FIRST, SCSI_ASC_REGISTRATIONS_PREEMPTED);
}

static void test_preempt_and_abort_when_abandoned_then_done_once(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_run run = { 0 };
	uint8_t list[PR_LIST_BYTES];

	register_both(f, K1, K2);
	f->hold_abort = true;
	pr_list(list, K2, K1, 0);
	scsi_run_start(f, &run, SECOND, PR_OUT_CDB(PR_PREEMPT_AND_ABORT, 0, 24),
		       &(struct scsi_run_data){ .out = list, .out_bytes = sizeof(list) });
	scsi_fixture_abandon(f);
	scsi_run_wait(&run);
	assert_null(run.task.state);
	scsi_run_fini(&run);
	assert_told(f, FIRST, SCSI_ASC_REGISTRATIONS_PREEMPTED);
	ASSERT_KEYS(f, K2);
}

static void test_preempt_and_abort_when_nobody_is_here_then_no_abort(void **state)
{
	struct scsi_fixture *f = *state;

	PR(f, SECOND, PR_REGISTER, .action_key = K2);
	PR(f, SECOND, PR_PREEMPT_AND_ABORT, .key = K2, .action_key = K1);
	scsi_assert_status(f, SCSI_RESERVATION_CONFLICT);
	assert_int_equal(f->abort_count, 0);
}

/* ---- parameter lists ---- */

static void test_list_when_length_is_wrong_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t list[PR_LIST_BYTES_MAX + 1] = { 0 };

	be64_put(list + 8, K1);
	for (unsigned size = 0; size <= 64; size++) {
		if (size == PR_LIST_BYTES)
			continue;
		scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	}
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, sizeof(list)), list, sizeof(list));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	ASSERT_KEYS(f, );
}

static void test_aptpl_when_there_is_no_state_file_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	PR(f, FIRST, PR_REGISTER, .action_key = K1, .flags = FLAG_APTPL);
	scsi_assert_bad_parameter(f, 20, 0);
	PR(f, FIRST, PR_REGISTER_AND_IGNORE, .action_key = K1, .flags = FLAG_APTPL);
	scsi_assert_bad_parameter(f, 20, 0);
	ASSERT_KEYS(f, );
	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, PR_WRITE_EXCLUSIVE, .key = K1, .flags = FLAG_APTPL);
	scsi_assert_good(f); /* means nothing there */
}

/* SPEC_I_PT with the ids of n initiators; returns the bytes of the list. */
static unsigned others_list(uint8_t *list, uint64_t action_key, const uint64_t *ids, unsigned n)
{
	memset(list, 0, 28 + 24 * n);
	pr_list(list, 0, action_key, FLAG_SPEC_I_PT);
	be32_put(list + 24, 24 * n);
	for (unsigned i = 0; i < n; i++)
		pr_transport_id_put(list + 28 + 24 * i, ids[i]);
	return 28 + 24 * n;
}

static void test_register_when_others_are_named_then_they_are_registered(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t ids[] = { initiator_id(f, SECOND), 0x5000000000000001 };
	uint8_t list[128];
	unsigned size = others_list(list, K1, ids, 2);

	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_good(f);
	ASSERT_KEYS(f, K1, K1, K1);
	/* it is found by its initiator */
	PR(f, SECOND, PR_RESERVE, PR_WRITE_EXCLUSIVE, .key = K1);
	scsi_assert_good(f);
}

static void test_register_when_others_are_named_wrongly_then_nothing_is_done(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t ids[] = { initiator_id(f, SECOND) };
	uint8_t list[64];
	unsigned size = others_list(list, K1, ids, 1);

	list[28] = 0x05; /* iSCSI */
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_bad_parameter(f, 28, -1);
	others_list(list, K1, (const uint64_t[]){ 0 }, 1);
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_bad_parameter(f, 32, -1);
	others_list(list, K1, ids, 1);
	list[27] = 23;
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size - 1), list, size - 1);
	scsi_assert_bad_parameter(f, 24, -1);
	list[27] = 48;
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, 24), list, 24); /* no length at all */
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	PR(f, FIRST, PR_REGISTER_AND_IGNORE, .action_key = K1, .flags = FLAG_SPEC_I_PT);
	scsi_assert_bad_parameter(f, 20, 3);
	ASSERT_KEYS(f, );
}

static void test_register_when_too_many_are_named_then_no_room(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t ids[PR_REGISTRATIONS_MAX];
	uint8_t list[PR_LIST_BYTES_MAX];
	unsigned size;

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = 0x100 + i;
	size = others_list(list, K1, ids, ARRAY_SIZE(ids));
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INSUFFICIENT_REGISTRATION_RESOURCES);
	ASSERT_KEYS(f, );
	size = others_list(list, K1, ids, ARRAY_SIZE(ids) - 1);
	scsi_do_out(f, FIRST, PR_OUT_CDB(PR_REGISTER, 0, size), list, size);
	scsi_assert_good(f);
}

/* ---- REGISTER AND MOVE ---- */

struct move {
	uint64_t key, action_key, initiator;
	uint16_t port;
	uint8_t flags; /* UNREG 2, APTPL 1 */
};

static void move(struct scsi_fixture *f, enum scsi_who who, struct move m)
{
	uint8_t list[48];

	memset(list, 0, sizeof(list));
	be64_put(list, m.key);
	be64_put(list + 8, m.action_key);
	list[17] = m.flags;
	be16_put(list + 18, m.port);
	be32_put(list + 20, 24);
	pr_transport_id_put(list + 24, m.initiator);
	scsi_do_out(f, who, PR_OUT_CDB(PR_REGISTER_AND_MOVE, 0, 48), list, 48);
}
#define MOVE(f, who, ...) move(f, who, (struct move){ __VA_ARGS__ })

static void test_move_when_holder_then_the_other_holds(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t other = initiator_id(f, SECOND);

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	MOVE(f, FIRST, .key = K1, .action_key = K2, .initiator = other, .port = 2, .flags = 2);
	scsi_assert_good(f);
	assert_reserved(f, K2, PR_EXCLUSIVE_ACCESS);
	ASSERT_KEYS(f, K2);
	assert_false(conflicts(f, SECOND, WRITES));
	assert_true(conflicts(f, FIRST, READS));
	assert_told(f, SECOND, SCSI_ASC_NONE);
}

static void test_move_when_named_wrongly_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint64_t other = initiator_id(f, SECOND);

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS, .key = K1);
	MOVE(f, FIRST, .key = K1, .action_key = K2, .initiator = other, .port = 1);
	scsi_assert_bad_parameter(f, 18, -1); /* it is at port 2 */
	MOVE(f, FIRST, .key = K1, .action_key = K2, .initiator = 0x77, .port = 9);
	scsi_assert_bad_parameter(f, 18, -1); /* there is none */
	MOVE(f, FIRST, .key = K1, .action_key = K2, .port = 2);
	scsi_assert_bad_parameter(f, 28, -1);
	MOVE(f, FIRST, .key = K1, .action_key = K2, .initiator = initiator_id(f, FIRST), .port = 1);
	scsi_assert_bad_parameter(f, 24, -1);
	MOVE(f, FIRST, .key = K1, .action_key = K2, .initiator = other, .port = 2, .flags = 1);
	scsi_assert_bad_parameter(f, 17, 0); /* APTPL */
	PR(f, FIRST, PR_REGISTER_AND_MOVE, .key = K1, .action_key = K2);
	scsi_assert_bad_parameter(f, 20, -1); /* without a TransportID */
	assert_reserved(f, K1, PR_EXCLUSIVE_ACCESS);
	ASSERT_KEYS(f, K1);
}

/* ---- PERSISTENT RESERVE IN ---- */

static void test_capabilities_when_asked_then_as_they_are(void **state)
{
	struct scsi_fixture *f = *state;
	/* SIP_C, ATP_C; TMV, ALLOW COMMANDS 3; all six types */
	static const uint8_t expected[8] = { 0, 8, 0x0c, 0xb0, 0xea, 0x01, 0, 0 };
	uint8_t bytes[1024];

	assert_int_equal(pr_in(f, FIRST, REPORT_CAPABILITIES, bytes), 8);
	assert_memory_equal(bytes, expected, 8);
}

static void test_full_status_when_registered_then_everybody_is_described(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[1024];
	const uint8_t *one = bytes + 8, *two = bytes + 8 + 48;

	PR(f, FIRST, PR_REGISTER, .action_key = K1);
	PR(f, SECOND, PR_REGISTER, .action_key = K2, .flags = FLAG_ALL_TG_PT);
	PR(f, FIRST, PR_RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, .key = K1);
	assert_int_equal(pr_in(f, FIRST, READ_FULL_STATUS, bytes), 8 + 2 * 48);
	assert_int_equal(be32_get(bytes), 2);
	assert_int_equal(be32_get(bytes + 4), 2 * 48);
	assert_int_equal(be64_get(one), K1);
	assert_int_equal(one[12], 0x01); /* R_HOLDER */
	assert_int_equal(one[13], PR_WRITE_EXCLUSIVE_REGISTRANTS);
	assert_int_equal(be16_get(one + 18), 1);
	assert_int_equal(be32_get(one + 20), 24);
	assert_int_equal(one[24], 0x06);
	assert_int_equal(be64_get(one + 28), initiator_id(f, FIRST));
	assert_int_equal(be64_get(two), K2);
	assert_int_equal(two[12], 0x02); /* ALL_TG_PT */
	assert_int_equal(two[13], 0);
	assert_int_equal(be64_get(two + 28), initiator_id(f, SECOND));
}

static void test_full_status_when_all_registrants_then_all_hold(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[1024];

	register_both(f, K1, K2);
	PR(f, FIRST, PR_RESERVE, PR_EXCLUSIVE_ACCESS_ALL, .key = K1);
	pr_in(f, FIRST, READ_FULL_STATUS, bytes);
	for (unsigned at = 8; at < 8 + 2 * 48; at += 48) {
		assert_int_equal(bytes[at + 12], 0x01);
		assert_int_equal(bytes[at + 13], PR_EXCLUSIVE_ACCESS_ALL);
	}
}

static void test_read_keys_when_allocation_is_short_then_length_is_of_all(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[12];

	register_both(f, K1, K2);
	memset(bytes, 0x5a, sizeof(bytes));
	scsi_do_in(f, FIRST, PR_IN_CDB(READ_KEYS, 8), bytes, sizeof(bytes));
	scsi_assert_good(f);
	assert_int_equal(be32_get(bytes + 4), 16);
	assert_int_equal(bytes[8], 0x5a);
	scsi_assert_residual(f, SCSI_FITS, 4);
}

static void test_service_actions_when_unknown_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[64] = { 0 };

	for (unsigned action = 4; action < 0x20; action++) {
		scsi_do_in(f, FIRST, PR_IN_CDB((uint8_t)action, 64), bytes, 64);
		scsi_assert_bad_cdb(f, 1, 4);
	}
	for (unsigned action = 8; action < 0x20; action++) {
		scsi_do_out(f, FIRST, PR_OUT_CDB((uint8_t)action, 0, 24), bytes, 24);
		scsi_assert_bad_cdb(f, 1, 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_register_when_done_then_keys_are_told),
		scsi_test(test_reserve_and_release_when_each_type_then_told_as_reserved),
		scsi_test(test_reserve_when_scope_or_type_unknown_then_pointed_at),
		scsi_test(test_unregister_when_holder_then_registrants_are_told),
		scsi_test(test_clear_when_reserved_then_others_are_told),
		scsi_test(test_preempt_when_holder_then_it_is_shut_out_and_told),
		scsi_test(test_preempt_and_abort_when_marked_then_answered_after_the_abort),
		scsi_test(test_preempt_and_abort_when_abandoned_then_done_once),
		scsi_test(test_preempt_and_abort_when_nobody_is_here_then_no_abort),
		scsi_test(test_list_when_length_is_wrong_then_refused),
		scsi_test(test_aptpl_when_there_is_no_state_file_then_refused),
		scsi_test(test_register_when_others_are_named_then_they_are_registered),
		scsi_test(test_register_when_others_are_named_wrongly_then_nothing_is_done),
		scsi_test(test_register_when_too_many_are_named_then_no_room),
		scsi_test(test_move_when_holder_then_the_other_holds),
		scsi_test(test_move_when_named_wrongly_then_refused),
		scsi_test(test_capabilities_when_asked_then_as_they_are),
		scsi_test(test_full_status_when_registered_then_everybody_is_described),
		scsi_test(test_full_status_when_all_registrants_then_all_hold),
		scsi_test(test_read_keys_when_allocation_is_short_then_length_is_of_all),
		scsi_test(test_service_actions_when_unknown_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
