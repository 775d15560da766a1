/* SPDX-License-Identifier: MIT */
/* Lanes that break: by their device, by a hostile ring, while draining, and what is left. */
#include "base/clock.h"
#include "base/fd.h"
#include "device/lane_fake.h"
#include "loop/iothread.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- breaking ---- */

static void test_fail_when_called_then_the_lane_breaks_once(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 2);
	world->fake.mode = FAKE_FAIL;
	for (unsigned i = 0; i < 5; i++)
		fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait(&world->f, world->f.broken_count > 0);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->f.broken_count, 1);
	assert_string_equal(world->f.broken_reason, "the fake refuses");
	assert_int_equal(fixture_signals(world->f.err_fd), 1);
	assert_int_equal(world->fake.executed, 3); /* two held, one failed, four never reached it */
	assert_int_equal(in_flight(world), 2);
	fake_let_go(&world->fake, 2);
	fixture_turns(&world->f, 20);
	assert_int_equal(fixture_take(&world->f), 0); /* a broken ring is not written */
	assert_true(fixture_stop(&world->f) >= 0);
}

static void test_fail_when_others_were_completed_before_then_the_driver_sees_those(void **state)
{
	struct world *world = *state;

	world->fake.fail_at = 3;
	assert_int_equal(fixture_start(&world->f, 0), 0);
	for (unsigned i = 0; i < 5; i++)
		fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_int_equal(fixture_take(&world->f), 2);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(in_flight(world), 0);
	assert_true(fixture_stop(&world->f) >= 0);
}

static void test_broken_when_stopped_then_it_can_start_again(void **state)
{
	struct world *world = *state;

	for (unsigned round = 1; round <= 3; round++) {
		fixture_restart_ring(&world->f, 64);
		world->f.taken = 0;
		world->fake.mode = FAKE_FAIL;
		start_and_kick(world);
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait(&world->f, world->f.broken_count == round);
		assert_int_equal(set_enabled(world, false), 0);
		assert_int_equal(set_enabled(world, true), 0);
		assert_true(fixture_stop(&world->f) >= 0);
		fixture_restart_ring(&world->f, 64);
		world->fake.mode = FAKE_AT_ONCE;
		start_and_kick(world);
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait_taken(&world->f, 1);
		assert_int_equal(fixture_stop(&world->f), 1);
	}
}

static void test_fail_when_draining_then_the_stop_is_answered(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 3);
	lane_command_stop(world->f.lane, fixture_answered, &world->f);
	fixture_turns(&world->f, 10);
	lane_fail(world->fake.held[--world->fake.held_count], "late");
	lane_fail(world->fake.held[--world->fake.held_count], "later still");
	fixture_turns(&world->f, 10);
	assert_int_equal(world->f.answers, 1);
	fake_let_go(&world->fake, 1);
	assert_int_equal(fixture_wait_answer(&world->f), 3);
	assert_int_equal(world->f.broken_count, 1);
	assert_string_equal(world->f.broken_reason, "late");
	assert_int_equal(fixture_signals(world->f.err_fd), 1);
}

/* Makes head available once more, behind the driver's back. */
static void offer_again(struct world *world, uint16_t head)
{
	struct virtq_avail *avail = world->f.ring.memory.avail;
	uint16_t index = le16_get(avail->idx);

	avail->ring[index % world->f.ring.size] = le16_make(head);
	__atomic_store_n(&avail->idx.raw, htole16((uint16_t)(index + 1)), __ATOMIC_RELEASE);
}

static void test_ring_when_a_chain_in_flight_is_offered_again_then_it_breaks(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 3);
	offer_again(world, 0);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_string_equal(world->f.broken_reason,
			    "a chain that is in flight was made available again");
	assert_int_equal(world->fake.executed, 3);
	fake_let_go(&world->fake, 3);
	assert_true(fixture_stop(&world->f) >= 0);
}

static void test_ring_when_more_in_flight_than_entries_then_it_breaks(void **state)
{
	struct world *world = *state;
	struct virtq_desc *desc = world->f.ring.memory.desc;

	fixture_restart_ring(&world->f, 4);
	for (unsigned i = 0; i < 4; i++)
		desc[i] = (struct virtq_desc){ .addr = le64_make(FIXTURE_GUEST + 0x10000),
					       .len = le32_make(1) };
	world->fake.mode = FAKE_LATER;
	start_and_kick(world);
	for (uint16_t i = 0; i < 4; i++)
		offer_again(world, i);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, world->fake.held_count == 4);
	offer_again(world, 2);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_string_equal(world->f.broken_reason,
			    "more chains in flight than the ring has entries");
	fake_let_go(&world->fake, 4);
	assert_true(fixture_stop(&world->f) >= 0);
}

static void test_ring_when_a_descriptor_is_bad_then_it_breaks_with_the_rings_reason(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	offer_again(world, 9999);
	fixture_kick_always(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_non_null(world->f.broken_reason);
	assert_int_equal(world->fake.executed, 0);
	assert_int_equal(fixture_signals(world->f.err_fd), 1);
	assert_true(fixture_stop(&world->f) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lane_case(test_fail_when_called_then_the_lane_breaks_once),
		lane_case(test_fail_when_others_were_completed_before_then_the_driver_sees_those),
		lane_case(test_broken_when_stopped_then_it_can_start_again),
		lane_case(test_fail_when_draining_then_the_stop_is_answered),
		lane_case(test_ring_when_a_chain_in_flight_is_offered_again_then_it_breaks),
		lane_case(test_ring_when_more_in_flight_than_entries_then_it_breaks),
		lane_case(test_ring_when_a_descriptor_is_bad_then_it_breaks_with_the_rings_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
