/* SPDX-License-Identifier: MIT */
/* A lane that is not polled: its device takes chains when it wants some. */
#include "device/lane_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct manual {
	struct lane_fixture f;
	unsigned kicked;
	bool take_in_kicked; /* all that is there */
	unsigned took;
};

static int manual_start(struct lane *lane)
{
	return 0;
}

static void manual_stop(struct lane *lane)
{
}

static bool take_one(struct manual *manual)
{
	struct lane_request *request = lane_take(manual->f.lane);

	if (!request)
		return false;
	manual->took++;
	lane_complete(request, 1);
	return true;
}

static void manual_kicked(struct lane *lane)
{
	struct manual *manual = lane_device(lane);

	manual->kicked++;
	while (manual->take_in_kicked && take_one(manual))
		;
}

static const struct lane_ops manual_ops = {
	.request_size = sizeof(struct lane_request),
	.start = manual_start,
	.stop = manual_stop,
	.kicked = manual_kicked,
};

static int setup_manual(void **state, bool event_idx)
{
	struct manual *manual = calloc(1, sizeof(*manual));
	struct lane_fixture_config config = { .ops = &manual_ops,
					      .device = manual,
					      .event_idx = event_idx };

	fixture_open(&manual->f, &config);
	*state = manual;
	return 0;
}

static int setup(void **state)
{
	return setup_manual(state, false);
}

static int setup_event_idx(void **state)
{
	return setup_manual(state, true);
}

static int teardown(void **state)
{
	struct manual *manual = *state;

	fixture_close(&manual->f);
	free(manual);
	return 0;
}

static void test_take_when_not_kicked_yet_then_nothing(void **state)
{
	struct manual *manual = *state;

	assert_null(lane_take(manual->f.lane));
	fixture_add_small(&manual->f);
	assert_int_equal(fixture_start(&manual->f, 0), 0);
	fixture_turns(&manual->f, 10);
	assert_int_equal(manual->kicked, 0);
	assert_null(lane_take(manual->f.lane));
	assert_int_equal(fixture_stop(&manual->f), 0);
}

static void test_take_when_it_runs_then_one_chain_each(void **state)
{
	struct manual *manual = *state;

	assert_int_equal(fixture_start(&manual->f, 0), 0);
	fixture_add_small(&manual->f);
	fixture_add_small(&manual->f);
	fixture_kick(&manual->f);
	fixture_wait(&manual->f, manual->kicked == 1);
	fixture_turns(&manual->f, 10);
	assert_int_equal(fixture_take(&manual->f), 0);

	assert_true(take_one(manual));
	fixture_wait_taken(&manual->f, 1);
	assert_int_equal(fixture_signals(manual->f.call_fd), 1);
	assert_true(take_one(manual));
	assert_false(take_one(manual));
	fixture_wait_taken(&manual->f, 2);
	assert_int_equal(fixture_stop(&manual->f), 2);
}

static void
test_stop_when_chains_are_left_then_base_is_exact_and_the_kick_is_given_back(void **state)
{
	struct manual *manual = *state;

	assert_int_equal(fixture_start(&manual->f, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		fixture_add_small(&manual->f);
	fixture_kick(&manual->f);
	fixture_wait(&manual->f, manual->kicked == 1);
	assert_true(take_one(manual));
	assert_int_equal(fixture_stop(&manual->f), 1);
	assert_int_equal(fixture_take(&manual->f), 1);
	assert_int_equal(fixture_signals(manual->f.kick_fd), 1);
	assert_null(lane_take(manual->f.lane));
}

/* The driver may say nothing while chains are left, but must when the device has found none. */
static void test_take_when_there_was_none_then_the_next_chain_is_kicked(void **state)
{
	struct manual *manual = *state;

	manual->take_in_kicked = true;
	assert_int_equal(fixture_start(&manual->f, 0), 0);
	for (unsigned round = 1; round <= 200; round++) {
		fixture_add_small(&manual->f);
		fixture_kick(&manual->f);
		fixture_wait_taken(&manual->f, round);
		assert_int_equal(manual->took, round);
	}
	assert_int_equal(fixture_stop(&manual->f), 200);
}

static void test_enable_when_it_was_disabled_then_the_device_hears(void **state)
{
	struct manual *manual = *state;

	assert_int_equal(fixture_start(&manual->f, 0), 0);
	fixture_add_small(&manual->f);
	fixture_kick(&manual->f);
	fixture_wait(&manual->f, manual->kicked == 1);
	lane_command_enable(manual->f.lane, false, fixture_answered, &manual->f);
	assert_int_equal(fixture_wait_answer(&manual->f), 0);
	assert_null(lane_take(manual->f.lane));
	lane_command_enable(manual->f.lane, true, fixture_answered, &manual->f);
	assert_int_equal(fixture_wait_answer(&manual->f), 0);
	assert_int_equal(manual->kicked, 2);
	assert_true(take_one(manual));
	fixture_wait_taken(&manual->f, 1);
	assert_int_equal(fixture_stop(&manual->f), 1);
}

static void test_take_when_the_ring_is_broken_then_said_once_and_nothing(void **state)
{
	struct manual *manual = *state;

	assert_int_equal(fixture_start(&manual->f, 0), 0);
	fixture_add_small(&manual->f);
	manual->f.ring.memory.avail->ring[0] = (struct le16){ htole16(999) };
	fixture_kick(&manual->f);
	fixture_wait(&manual->f, manual->kicked == 1);
	assert_null(lane_take(manual->f.lane));
	assert_null(lane_take(manual->f.lane));
	fixture_wait(&manual->f, manual->f.broken_count == 1);
	fixture_kick_always(&manual->f);
	fixture_turns(&manual->f, 10);
	assert_int_equal(manual->kicked, 1);
	assert_int_equal(manual->f.broken_count, 1);
	fixture_stop(&manual->f);
}

#define manual_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		manual_case(test_take_when_not_kicked_yet_then_nothing),
		manual_case(test_take_when_it_runs_then_one_chain_each),
		manual_case(
			test_stop_when_chains_are_left_then_base_is_exact_and_the_kick_is_given_back),
		manual_case(test_take_when_there_was_none_then_the_next_chain_is_kicked),
		cmocka_unit_test_setup_teardown(
			test_take_when_there_was_none_then_the_next_chain_is_kicked,
			setup_event_idx, teardown),
		manual_case(test_enable_when_it_was_disabled_then_the_device_hears),
		manual_case(test_take_when_the_ring_is_broken_then_said_once_and_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
