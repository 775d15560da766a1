/* SPDX-License-Identifier: MIT */
/* A lane with a fake device on a real loop: start, batches, stop, pause. */
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

/* ---- start ---- */

static void test_start_when_not_kicked_then_nothing_is_taken(void **state)
{
	struct world *world = *state;

	fixture_add_small(&world->f);
	assert_int_equal(fixture_start(&world->f, 0xabc), 0);
	assert_int_equal(world->fake.started, 1);
	assert_int_equal(world->fake.features, 0xabc);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->fake.executed, 0);
	assert_int_equal(fixture_stop(&world->f), 0);
}

static void test_start_when_kicked_then_the_ring_is_served(void **state)
{
	struct world *world = *state;

	fixture_add_small(&world->f);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(world->f.written, 1);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_start_when_kicked_before_then_the_ring_is_served(void **state)
{
	struct world *world = *state;

	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void
test_start_when_ring_says_no_kick_from_before_then_the_driver_is_asked_again(void **state)
{
	struct world *world = *state;

	world->f.ring.memory.used->flags = le16_make(1);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_start_when_started_then_ealready_and_fds_closed(void **state)
{
	struct world *world = *state;
	unsigned fds;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	fds = fixture_fd_count();
	assert_int_equal(fixture_start(&world->f, 0), -EALREADY);
	assert_int_equal(fixture_fd_count(), fds);
	assert_int_equal(world->fake.started, 1);
	assert_int_equal(fixture_stop(&world->f), 0);
}

static void test_start_when_device_refuses_then_its_error_and_nothing_kept(void **state)
{
	struct world *world = *state;
	unsigned fds = fixture_fd_count();

	world->fake.start_result = -EIO;
	assert_int_equal(fixture_start(&world->f, 0), -EIO);
	assert_int_equal(fixture_fd_count(), fds);
	assert_int_equal(world->f.map->refs, 1);
	world->fake.start_result = 0;
	start_and_kick(world);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_start_when_size_is_bad_then_einval(void **state)
{
	struct world *world = *state;
	unsigned fds = fixture_fd_count();

	world->f.ring.size = 3;
	assert_int_equal(fixture_start(&world->f, 0), -EINVAL);
	assert_int_equal(fixture_fd_count(), fds);
	assert_int_equal(world->fake.started, 0);
}

/* ---- batches, publishing, calls ---- */

static void test_batch_when_ring_is_full_then_each_is_completed_once(void **state)
{
	struct world *world = *state;
	struct lane_stats stats;
	unsigned total = 0;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	for (unsigned round = 0; round < 50; round++) {
		unsigned count = 1 + round * 7 % 32; /* 32 chains of 2 descriptors fill 64 */

		for (unsigned i = 0; i < count; i++)
			fixture_add_small(&world->f);
		fixture_kick(&world->f);
		total += count;
		fixture_wait_taken(&world->f, total);
	}
	lane_get_stats(world->f.lane, &stats);
	assert_int_equal(stats.requests, total);
	assert_int_equal(stats.in_flight, 0);
	assert_int_equal(world->fake.executed, total);
	assert_true(stats.batches >= 50 && stats.batches <= total);
	assert_true(stats.kicks >= 1);
	assert_int_equal(stats.calls, fixture_signals(world->f.call_fd));
	assert_int_equal(fixture_stop(&world->f), total);
}

/* 16 chains that are all there: 4 MiB each end a batch after the first, so that other lanes get their turn. */
static void test_batch_when_requests_are_large_then_it_ends_early(void **state)
{
	struct world *world = *state;
	const uint64_t start = fixture_guest(&world->f, world->f.memory);
	const struct virtq_sg sg[] = { { start, 2u << 20 }, { start + (4u << 20), 2u << 20 } };
	struct lane_stats stats;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	for (unsigned i = 0; i < 16; i++)
		fixture_add(&world->f, sg, 1, 1);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 16);
	lane_get_stats(world->f.lane, &stats);
	assert_int_equal(stats.batches, 16);
	assert_int_equal(fixture_stop(&world->f), 16);
}

static void test_batch_when_ready_together_then_one_call(void **state)
{
	struct world *world = *state;

	for (unsigned i = 0; i < 32; i++)
		fixture_add_small(&world->f);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 32);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(fixture_stop(&world->f), 32);
}

static void test_complete_when_later_then_one_call_at_the_turns_end(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 20);
	assert_int_equal(in_flight(world), 20);
	fake_let_go(&world->fake, 20);
	assert_int_equal(fixture_take(&world->f), 0); /* not published before */
	fixture_wait_taken(&world->f, 20);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(in_flight(world), 0);
	assert_int_equal(fixture_stop(&world->f), 20);
}

static void serve_one(struct world *world, unsigned number)
{
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, number);
}

static void test_complete_when_calls_are_suppressed_then_none(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	serve_one(world, 1);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	virtq_driver_calls_suppress(&world->f.driver);
	serve_one(world, 2);
	assert_int_equal(fixture_signals(world->f.call_fd), 0);
	assert_false(virtq_driver_calls_enable(&world->f.driver, 0));
	serve_one(world, 3);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(fixture_stop(&world->f), 3);
}

static void test_poll_when_switched_off_then_kicks_are_enough(void **state)
{
	struct world *world = *state;
	struct poll_params off = { .max_ns = 0 };

	loop_set_poll_params(world->f.loop, &off);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	for (unsigned i = 1; i <= 100; i++) {
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait_taken(&world->f, i);
	}
	assert_int_equal(fixture_stop(&world->f), 100);
}

/* ---- stop ---- */

static void test_stop_when_in_flight_then_it_waits_for_the_last(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 3);
	fixture_add_small(&world->f);
	lane_command_stop(world->f.lane, fixture_answered, &world->f);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->f.answers, 1);
	fake_let_go(&world->fake, 2);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->f.answers, 1);
	assert_int_equal(world->fake.stopped, 0);
	fake_let_go(&world->fake, 1);
	assert_int_equal(fixture_wait_answer(&world->f), 3); /* the fourth was never taken */
	assert_int_equal(world->fake.executed, 3);
	assert_int_equal(world->fake.stopped, 1);
	fixture_take(&world->f);
	assert_int_equal(world->f.taken, 3);
}

static void test_stop_when_never_kicked_then_base_is_the_given_one(void **state)
{
	struct world *world = *state;

	world->f.ring.base = 41;
	assert_int_equal(fixture_start(&world->f, 0), 0);
	assert_int_equal(fixture_stop(&world->f), 41);
	assert_int_equal(world->fake.started, 1);
	assert_int_equal(world->fake.stopped, 1);
}

static void test_stop_when_stopped_then_ealready(void **state)
{
	struct world *world = *state;

	assert_int_equal(fixture_stop(&world->f), -EALREADY);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	assert_int_equal(fixture_stop(&world->f), 0);
	assert_int_equal(fixture_stop(&world->f), -EALREADY);
	assert_int_equal(world->fake.stopped, 1);
}

static void test_stop_when_ring_holds_chains_then_the_kick_is_handed_back(void **state)
{
	struct world *world = *state;
	uint16_t base;

	start_and_kick(world);
	lane_command_enable(world->f.lane, false, fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	base = (uint16_t)fixture_stop(&world->f);
	assert_int_equal(base, 0);
	assert_int_equal(world->fake.executed, 0);
	/* nobody kicks any more, yet the next start serves it */
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_stop_when_ring_is_empty_then_the_kick_is_cleared(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
	assert_int_equal(fixture_signals(world->f.kick_fd), 0);
}

static void test_stop_when_polled_then_the_driver_is_asked_for_kicks(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	world->f.ring.base = (uint16_t)fixture_stop(&world->f);
	fixture_add_small(&world->f);
	assert_true(virtq_driver_should_kick(&world->f.driver));
	fixture_kick_always(&world->f);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_wait_taken(&world->f, 2);
	assert_int_equal(fixture_stop(&world->f), 2);
}

static void test_restart_when_repeated_then_nothing_leaks_and_indices_go_on(void **state)
{
	struct world *world = *state;
	unsigned fds = fixture_fd_count();

	for (unsigned i = 1; i <= 100; i++) {
		assert_int_equal(fixture_start(&world->f, 0), 0);
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait_taken(&world->f, i);
		world->f.ring.base = (uint16_t)fixture_stop(&world->f);
		assert_int_equal(world->f.ring.base, i);
		assert_int_equal(fixture_fd_count(), fds);
		assert_int_equal(world->f.map->refs, 1);
	}
	assert_int_equal(world->fake.started, 100);
	assert_int_equal(world->fake.stopped, 100);
}

/* ---- disable and enable ---- */

static void test_disable_when_running_then_nothing_is_taken_until_enabled(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	assert_int_equal(set_enabled(world, false), 0);
	fixture_add_small(&world->f);
	fixture_kick_always(&world->f);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->fake.executed, 0);
	assert_int_equal(set_enabled(world, true), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_disable_when_in_flight_then_they_complete(void **state)
{
	struct world *world = *state;

	start_and_kick(world);
	hold(world, 2);
	assert_int_equal(set_enabled(world, false), 0);
	fake_let_go(&world->fake, 2);
	fixture_wait_taken(&world->f, 2);
	assert_int_equal(fixture_signals(world->f.call_fd), 1);
	assert_int_equal(fixture_stop(&world->f), 2);
}

static void test_disabled_when_started_and_kicked_then_enable_serves(void **state)
{
	struct world *world = *state;
	struct lane_start start = fixture_start_args(&world->f);

	start.enabled = false;
	lane_command_start(world->f.lane, &start, fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->fake.executed, 0);
	assert_int_equal(set_enabled(world, true), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_enable_when_not_kicked_then_it_still_waits(void **state)
{
	struct world *world = *state;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	assert_int_equal(set_enabled(world, false), 0);
	assert_int_equal(set_enabled(world, true), 0);
	fixture_add_small(&world->f);
	fixture_turns(&world->f, 20);
	assert_int_equal(world->fake.executed, 0);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lane_case(test_start_when_not_kicked_then_nothing_is_taken),
		lane_case(test_start_when_kicked_then_the_ring_is_served),
		lane_case(test_start_when_kicked_before_then_the_ring_is_served),
		lane_case(
			test_start_when_ring_says_no_kick_from_before_then_the_driver_is_asked_again),
		lane_case(test_start_when_started_then_ealready_and_fds_closed),
		lane_case(test_start_when_device_refuses_then_its_error_and_nothing_kept),
		lane_case(test_start_when_size_is_bad_then_einval),
		lane_case(test_batch_when_ring_is_full_then_each_is_completed_once),
		lane_case_event_idx(test_batch_when_ring_is_full_then_each_is_completed_once),
		lane_case(test_batch_when_requests_are_large_then_it_ends_early),
		lane_case(test_batch_when_ready_together_then_one_call),
		lane_case(test_complete_when_later_then_one_call_at_the_turns_end),
		lane_case(test_complete_when_calls_are_suppressed_then_none),
		lane_case_event_idx(test_complete_when_calls_are_suppressed_then_none),
		lane_case(test_poll_when_switched_off_then_kicks_are_enough),
		lane_case_event_idx(test_poll_when_switched_off_then_kicks_are_enough),
		lane_case(test_stop_when_in_flight_then_it_waits_for_the_last),
		lane_case(test_stop_when_never_kicked_then_base_is_the_given_one),
		lane_case(test_stop_when_stopped_then_ealready),
		lane_case(test_stop_when_ring_holds_chains_then_the_kick_is_handed_back),
		lane_case(test_stop_when_ring_is_empty_then_the_kick_is_cleared),
		lane_case(test_stop_when_polled_then_the_driver_is_asked_for_kicks),
		lane_case_event_idx(test_stop_when_polled_then_the_driver_is_asked_for_kicks),
		lane_case(test_restart_when_repeated_then_nothing_leaks_and_indices_go_on),
		lane_case_event_idx(
			test_restart_when_repeated_then_nothing_leaks_and_indices_go_on),
		lane_case(test_disable_when_running_then_nothing_is_taken_until_enabled),
		lane_case(test_disable_when_in_flight_then_they_complete),
		lane_case(test_disabled_when_started_and_kicked_then_enable_serves),
		lane_case(test_enable_when_not_kicked_then_it_still_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
