/* SPDX-License-Identifier: MIT */
/* A lane while it runs: new memory maps, new file descriptors, and on a thread of its own. */
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

/* ---- memory maps ---- */

static struct mem_map *second_map(struct world *world)
{
	struct mem_map *map;

	assert_int_equal(mem_map_build_local(world->f.memory, FIXTURE_GUEST, FIXTURE_MEMORY, &map),
			 0);
	return map;
}

static int set_map(struct world *world, struct mem_map *map, const struct virtq_memory *memory)
{
	lane_command_set_map(world->f.lane, map, memory, fixture_answered, &world->f);
	return fixture_wait_answer(&world->f);
}

static void test_set_map_when_in_flight_then_the_old_one_lives_until_the_last_is_done(void **state)
{
	struct world *world = *state;
	struct mem_map *map = second_map(world);

	start_and_kick(world);
	hold(world, 3);
	assert_int_equal(world->f.map->refs, 2);
	assert_int_equal(set_map(world, map, &world->f.ring.memory), 0);
	assert_int_equal(world->f.map->refs, 2);
	assert_int_equal(map->refs, 2);
	hold(world, 1);               /* on the new map */
	fake_let_go(&world->fake, 3); /* the newest and two old ones */
	assert_int_equal(world->f.map->refs, 2);
	fake_let_go(&world->fake, 1);
	assert_int_equal(world->f.map->refs, 1);
	fixture_wait_taken(&world->f, 4);
	assert_int_equal(fixture_stop(&world->f), 4);
	assert_int_equal(map->refs, 1);
	mem_map_unref(map);
}

static void test_set_map_when_idle_then_the_old_one_goes_at_once(void **state)
{
	struct world *world = *state;
	struct mem_map *map = second_map(world);

	start_and_kick(world);
	for (unsigned i = 0; i < 10; i++) {
		struct mem_map *now = i % 2 ? world->f.map : map, *old = i % 2 ? map : world->f.map;

		assert_int_equal(set_map(world, now, &world->f.ring.memory), 0);
		assert_int_equal(now->refs, 2);
		assert_int_equal(old->refs, 1);
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait_taken(&world->f, i + 1);
	}
	assert_int_equal(fixture_stop(&world->f), 10);
	assert_int_equal(map->refs, 1);
	mem_map_unref(map);
}

static void test_set_map_when_ring_is_not_in_it_then_the_lane_breaks(void **state)
{
	struct world *world = *state;
	struct mem_map *map = mem_map_new();
	struct virtq_memory nowhere = { 0 };

	start_and_kick(world);
	hold(world, 1);
	assert_int_equal(set_map(world, map, &nowhere), 0);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_string_equal(world->f.broken_reason,
			    "the ring does not lie in guest memory any more");
	fake_let_go(&world->fake, 1);
	assert_int_equal(world->f.map->refs, 1);
	fixture_turns(&world->f, 10);
	assert_int_equal(fixture_take(&world->f), 0);
	assert_int_equal(fixture_stop(&world->f), 1);
	mem_map_unref(map);
}

static void test_set_map_when_stopped_then_nothing_is_kept(void **state)
{
	struct world *world = *state;
	struct mem_map *map = second_map(world);

	assert_int_equal(set_map(world, map, &world->f.ring.memory), 0);
	assert_int_equal(map->refs, 1);
	mem_map_unref(map);
}

/* ---- file descriptors ---- */

static int dup_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	assert_true(copy >= 0);
	return copy;
}

static void test_set_call_when_a_call_was_missed_then_the_new_one_is_signalled(void **state)
{
	struct world *world = *state;
	unsigned fds;

	start_and_kick(world);
	fds = fixture_fd_count();
	lane_command_set_call(world->f.lane, -1, fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(fixture_fd_count(), fds - 1);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_signals(world->f.call_fd), 0);
	lane_command_set_call(world->f.lane, dup_of(world->f.call_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(fixture_signals(world->f.call_fd), 1); /* only once */
	assert_int_equal(fixture_fd_count(), fds);
	assert_int_equal(fixture_stop(&world->f), 1);
}

/* The old one may have been taken back before the call was written to it. */
static void test_set_call_when_replaced_then_the_new_one_is_called_too(void **state)
{
	struct world *world = *state;
	int fresh = event_fd_new();

	start_and_kick(world);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	fixture_signals(world->f.call_fd);
	lane_command_set_call(world->f.lane, dup_of(fresh), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(fixture_signals(fresh), 1);
	assert_int_equal(fixture_signals(world->f.call_fd), 0);
	assert_int_equal(fixture_stop(&world->f), 1);
	close(fresh);
}

static void test_set_kick_when_running_then_only_the_new_one_counts(void **state)
{
	struct world *world = *state;
	struct poll_params off = { .max_ns = 0 };
	fd_auto old = world->f.kick_fd;
	unsigned fds;

	loop_set_poll_params(world->f.loop, &off);
	start_and_kick(world);
	fds = fixture_fd_count();
	world->f.kick_fd = event_fd_new();
	lane_command_set_kick(world->f.lane, dup_of(world->f.kick_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(fixture_fd_count(), fds + 1); /* ours */
	for (unsigned i = 1; i <= 5; i++) {
		fixture_add_small(&world->f);
		fixture_kick(&world->f);
		fixture_wait_taken(&world->f, i);
	}
	assert_int_equal(fixture_stop(&world->f), 5);
}

static void test_set_kick_when_old_kick_was_not_seen_then_the_ring_is_looked_at(void **state)
{
	struct world *world = *state;
	struct poll_params off = { .max_ns = 0 };
	fd_auto old = world->f.kick_fd;

	loop_set_poll_params(world->f.loop, &off);
	start_and_kick(world);
	lane_command_set_kick(world->f.lane, -1, fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	for (unsigned i = 0; i < 4; i++)
		loop_turn(world->f.loop, NS_PER_MS); /* nobody polls any more */
	fixture_add_small(&world->f);
	event_fd_signal(old); /* nobody listens */
	loop_turn(world->f.loop, NS_PER_MS);
	assert_int_equal(world->fake.executed, 0);
	world->f.kick_fd = event_fd_new();
	lane_command_set_kick(world->f.lane, dup_of(world->f.kick_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_set_kick_when_waiting_then_the_new_one_starts_the_ring(void **state)
{
	struct world *world = *state;
	fd_auto old = world->f.kick_fd;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	world->f.kick_fd = event_fd_new();
	lane_command_set_kick(world->f.lane, dup_of(world->f.kick_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	event_fd_signal(old);
	fixture_add_small(&world->f);
	fixture_turns(&world->f, 10);
	assert_int_equal(world->fake.executed, 0);
	fixture_kick(&world->f);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_set_kick_when_waiting_and_old_kick_was_not_seen_then_the_ring_runs(void **state)
{
	struct world *world = *state;
	fd_auto old = world->f.kick_fd;

	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_add_small(&world->f);
	event_fd_signal(old); /* the lane gets the command before it hears this */
	world->f.kick_fd = event_fd_new();
	lane_command_set_kick(world->f.lane, dup_of(world->f.kick_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	fixture_wait_taken(&world->f, 1);
	assert_int_equal(fixture_stop(&world->f), 1);
}

static void test_kick_when_it_cannot_be_waited_for_then_the_lane_breaks(void **state)
{
	struct world *world = *state;
	struct lane_start start = fixture_start_args(&world->f);

	close(start.kick_fd);
	start.kick_fd = open("/", O_PATH | O_CLOEXEC);
	assert_true(start.kick_fd >= 0);
	lane_command_start(world->f.lane, &start, fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_string_equal(world->f.broken_reason,
			    "the kick file descriptor cannot be waited for");
	assert_int_equal(fixture_stop(&world->f), 0);
}

static void test_set_err_when_broken_then_it_is_signalled(void **state)
{
	struct world *world = *state;

	world->fake.mode = FAKE_FAIL;
	start_and_kick(world);
	fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait(&world->f, world->f.broken_count == 1);
	assert_int_equal(fixture_signals(world->f.err_fd), 1);
	lane_command_set_err(world->f.lane, dup_of(world->f.err_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(fixture_signals(world->f.err_fd), 1);
	assert_true(fixture_stop(&world->f) >= 0);
}

static void test_commands_when_stopped_then_fds_are_closed(void **state)
{
	struct world *world = *state;
	unsigned fds = fixture_fd_count();

	lane_command_set_call(world->f.lane, dup_of(world->f.call_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	lane_command_set_kick(world->f.lane, dup_of(world->f.kick_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	lane_command_set_err(world->f.lane, dup_of(world->f.err_fd), fixture_answered, &world->f);
	assert_int_equal(fixture_wait_answer(&world->f), 0);
	assert_int_equal(set_enabled(world, true), 0);
	assert_int_equal(fixture_fd_count(), fds);
}

/* ---- a lane on a thread of its own ---- */

static void wait_taken_by_call(struct world *world, unsigned taken)
{
	uint64_t deadline_ns = clock_ns() + FIXTURE_DEADLINE_S * NS_PER_S;

	while (fixture_take(&world->f), world->f.taken < taken)
		if (clock_ns() > deadline_ns)
			fail_msg("only %u of %u completions came", world->f.taken, taken);
	assert_int_equal(world->f.taken, taken);
}

static void thread_rounds(struct world *world, unsigned rounds, unsigned total)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned count = 1 + i % 30;

		for (unsigned j = 0; j < count; j++)
			fixture_add_small(&world->f);
		fixture_kick(&world->f);
		total += count;
		wait_taken_by_call(world, total);
	}
	world->f.ring.base = (uint16_t)total;
}

static void test_lane_when_on_an_iothread_then_it_serves_and_stops(void **state)
{
	struct iothread_config thread = { .id = "lane", .poll = { .max_ns = POLL_MAX_NS_DEFAULT } };
	struct world *world = calloc(1, sizeof(*world));
	struct lane_fixture_config config = { .ops = fake_lane_ops(), .device = &world->fake };
	struct iothread *iothread;

	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		memset(world, 0, sizeof(*world));
		assert_int_equal(iothread_new(&thread, &iothread, NULL), 0);
		config.lane_loop = iothread_loop(iothread);
		config.event_idx = event_idx;
		fixture_open(&world->f, &config);
		for (unsigned i = 0; i < 20; i++) {
			unsigned before = world->f.taken;

			assert_int_equal(fixture_start(&world->f, 0), 0);
			thread_rounds(world, 30, before);
			assert_int_equal(fixture_stop(&world->f), world->f.ring.base);
		}
		iothread_free(iothread); /* its last words were to our loop */
		fixture_close(&world->f);
	}
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lane_case(
			test_set_map_when_in_flight_then_the_old_one_lives_until_the_last_is_done),
		lane_case(test_set_map_when_idle_then_the_old_one_goes_at_once),
		lane_case(test_set_map_when_ring_is_not_in_it_then_the_lane_breaks),
		lane_case(test_set_map_when_stopped_then_nothing_is_kept),
		lane_case(test_set_call_when_a_call_was_missed_then_the_new_one_is_signalled),
		lane_case(test_set_call_when_replaced_then_the_new_one_is_called_too),
		lane_case(test_set_kick_when_running_then_only_the_new_one_counts),
		lane_case(test_set_kick_when_old_kick_was_not_seen_then_the_ring_is_looked_at),
		lane_case(test_set_kick_when_waiting_then_the_new_one_starts_the_ring),
		lane_case(test_set_kick_when_waiting_and_old_kick_was_not_seen_then_the_ring_runs),
		lane_case(test_kick_when_it_cannot_be_waited_for_then_the_lane_breaks),
		lane_case(test_set_err_when_broken_then_it_is_signalled),
		lane_case(test_commands_when_stopped_then_fds_are_closed),
		cmocka_unit_test(test_lane_when_on_an_iothread_then_it_serves_and_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
