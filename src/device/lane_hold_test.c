/* SPDX-License-Identifier: MIT */
/* A lane that is held: what is in flight is finished, what comes waits in the ring, whatever else happens to the lane. */
#include "device/lane_fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void told(void *opaque)
{
	(*(unsigned *)opaque)++;
}

static void lane_hold_and_wait(struct world *world)
{
	unsigned quiet = 0;

	lane_hold(world->f.lane, told, &quiet);
	fixture_wait(&world->f, quiet == 1);
}

static void lane_release_and_wait(struct world *world)
{
	unsigned released = 0;

	lane_release(world->f.lane, told, &released);
	fixture_wait(&world->f, released == 1);
}

/* Two chains that were made available and kicked stay in the ring. */
static void add_two_in_vain(struct world *world)
{
	unsigned executed = world->fake.executed;

	fixture_add_small(&world->f);
	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->fake.executed, executed);
}

static void test_hold_when_requests_are_in_flight_then_told_behind_the_last(void **state)
{
	struct world *world = *state;
	unsigned quiet = 0;

	start_and_kick(world);
	hold(world, 2);
	lane_hold(world->f.lane, told, &quiet);
	add_two_in_vain(world);
	fake_let_go(&world->fake, 1);
	fixture_turns(&world->f, 20);
	assert_int_equal(quiet, 0);
	fake_let_go(&world->fake, 1);
	fixture_wait(&world->f, quiet == 1);
	assert_int_equal(fixture_take(&world->f), 2); /* the driver has them already */
	assert_int_equal(in_flight(world), 0);
	add_two_in_vain(world);
	world->fake.mode = FAKE_AT_ONCE;
	lane_release_and_wait(world);
	fixture_wait_taken(&world->f, 6); /* without another kick */
	assert_int_equal(fixture_stop(&world->f), 6);
}

static void test_hold_when_idle_then_told_and_may_be_repeated(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	for (unsigned i = 1; i <= 5; i++) {
		lane_hold_and_wait(world);
		add_two_in_vain(world);
		lane_release_and_wait(world);
		fixture_wait_taken(&world->f, 2 * i);
		fixture_turns(&world->f, i % 2 ? 0 : 20);
	}
	assert_int_equal(fixture_stop(&world->f), 10);
}

static void test_held_when_stopped_and_started_then_still_held(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	lane_hold_and_wait(world);
	add_two_in_vain(world);
	assert_int_equal(fixture_stop(&world->f), 0);
	fixture_restart_ring(&world->f, 64);
	start_and_kick(world);
	add_two_in_vain(world);
	lane_release_and_wait(world);
	fixture_wait_taken(&world->f, 2);
	assert_int_equal(fixture_stop(&world->f), 2);
}

static void test_hold_when_a_stop_waits_for_requests_then_both_are_told(void **state)
{
	struct world *world = *state;
	unsigned quiet = 0;

	start_and_kick(world);
	hold(world, 1);
	lane_command_stop(world->f.lane, fixture_answered, &world->f);
	lane_hold(world->f.lane, told, &quiet);
	fixture_turns(&world->f, 20);
	assert_int_equal(quiet + world->f.answers, 1); /* the start's answer */
	fake_let_go(&world->fake, 1);
	assert_int_equal(fixture_wait_answer(&world->f), 1);
	fixture_wait(&world->f, quiet == 1);
	lane_release_and_wait(world);
}

static void test_held_when_disabled_and_enabled_then_nothing_is_taken(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	lane_hold_and_wait(world);
	assert_int_equal(set_enabled(world, false), 0);
	assert_int_equal(set_enabled(world, true), 0);
	add_two_in_vain(world);
	assert_int_equal(set_enabled(world, false), 0);
	lane_release_and_wait(world);
	add_two_in_vain(world);
	assert_int_equal(set_enabled(world, true), 0);
	fixture_wait_taken(&world->f, 4);
	assert_int_equal(fixture_stop(&world->f), 4);
}

static void test_hold_when_stopped_or_broken_then_told_at_once(void **state)
{
	struct world *world = *state;

	lane_hold_and_wait(world);
	lane_release_and_wait(world);
	start_and_kick(world);
	world->fake.mode = FAKE_FAIL;
	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	lane_hold_and_wait(world);
	lane_release_and_wait(world);
	add_two_in_vain(world);
	assert_int_equal(fixture_stop(&world->f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lane_case(test_hold_when_requests_are_in_flight_then_told_behind_the_last),
		lane_case_event_idx(
			test_hold_when_requests_are_in_flight_then_told_behind_the_last),
		lane_case(test_hold_when_idle_then_told_and_may_be_repeated),
		lane_case_event_idx(test_hold_when_idle_then_told_and_may_be_repeated),
		lane_case(test_held_when_stopped_and_started_then_still_held),
		lane_case(test_hold_when_a_stop_waits_for_requests_then_both_are_told),
		lane_case(test_held_when_disabled_and_enabled_then_nothing_is_taken),
		lane_case(test_hold_when_stopped_or_broken_then_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
