// SPDX-License-Identifier: MIT
/* Signals to a peer: told once or more, never waited for, replaced and ended while the peer makes the write wait. */
#include "base/fd.h"
#include "loop/test_loop.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

static unsigned ended;

static void signal_ended(struct loop_signal *signal)
{
	ended++;
}

/* What the peer sees, since it looked last. */
static uint64_t counter_take(int fd)
{
	uint64_t value;

	return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static int dup_of(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* The peer makes every write to it wait. */
static void fill(int fd)
{
	const uint64_t value = UINT64_MAX - 1;

	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
	assert_int_equal(write(fd, &value, sizeof(value)), sizeof(value));
}

static void end(struct loop *loop, struct loop_signal *signal)
{
	ended = 0;
	loop_signal_end(signal, signal_ended);
	test_loop_until(loop, &ended, 1);
	assert_int_equal(ended, 1);
	assert_int_equal(signal->fd, -1);
	loop_free(loop);
}

static void test_signal_when_raised_then_peer_is_told(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new();

	loop_signal_init(loop, &signal, dup_of(peer));
	loop_turn(loop, 0);
	assert_int_equal(counter_take(peer), 0);
	for (unsigned i = 0; i < 3; i++) {
		loop_signal_raise(&signal);
		loop_turn(loop, 0);
		assert_int_equal(counter_take(peer), 1);
	}
	end(loop, &signal);
	assert_int_equal(counter_take(peer), 0);
	fd_close(&peer);
}

static void test_signal_when_raised_twice_in_a_turn_then_told_after_the_second(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new();

	loop_signal_init(loop, &signal, dup_of(peer));
	loop_signal_raise(&signal);
	loop_signal_raise(&signal);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_int_equal(counter_take(peer), 2);
	end(loop, &signal);
	fd_close(&peer);
}

static void test_signal_when_raised_and_ended_then_told_first(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new();

	loop_signal_init(loop, &signal, dup_of(peer));
	loop_signal_raise(&signal);
	loop_signal_raise(&signal);
	end(loop, &signal);
	assert_int_equal(counter_take(peer), 2);
	fd_close(&peer);
}

static void test_signal_when_without_fd_then_made_up_for(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new();

	loop_signal_init(loop, &signal, -1);
	loop_signal_raise(&signal);
	loop_turn(loop, 0);
	loop_signal_replace(&signal, dup_of(peer));
	loop_turn(loop, 0);
	assert_int_equal(counter_take(peer), 1);
	loop_signal_replace(&signal, -1);
	loop_turn(loop, 0);
	end(loop, &signal);
	assert_int_equal(counter_take(peer), 0);
	fd_close(&peer);
}

static void test_signal_when_renewed_then_the_new_one_is_told_once(void **state)
{
	int peer = event_fd_new(), other = event_fd_new();

	for (unsigned raised = 0; raised < 3; raised++) {
		struct loop *loop = test_loop_new();
		struct loop_signal signal;

		loop_signal_init(loop, &signal, dup_of(peer));
		for (unsigned i = 0; i < raised; i++)
			loop_signal_raise(&signal);
		loop_signal_renew(&signal, dup_of(other));
		while (signal.busy)
			loop_turn(loop, 0);
		end(loop, &signal);
		counter_take(peer); /* the first of them may have come through */
		assert_int_equal(counter_take(other), 1);
	}
	fd_close(&peer);
	fd_close(&other);
}

static void test_signal_when_peer_blocks_then_nobody_waits(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new(), other = event_fd_new();

	loop_signal_init(loop, &signal, dup_of(peer));
	fill(peer);
	for (unsigned i = 0; i < 4; i++) {
		loop_signal_raise(&signal);
		loop_turn(loop, NS_PER_MS);
	}
	assert_true(signal.busy);
	loop_signal_replace(&signal, dup_of(other));
	while (counter_take(other) == 0)
		loop_turn(loop, NS_PER_MS);
	end(loop, &signal);
	assert_int_equal(counter_take(peer), UINT64_MAX - 1);
	fd_close(&peer);
	fd_close(&other);
}

static void test_signal_when_peer_blocks_then_it_can_be_ended(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_signal signal;
	int peer = event_fd_new();

	loop_signal_init(loop, &signal, dup_of(peer));
	fill(peer);
	loop_signal_raise(&signal);
	loop_turn(loop, NS_PER_MS);
	loop_signal_raise(&signal);
	end(loop, &signal);
	fd_close(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signal_when_raised_then_peer_is_told),
		cmocka_unit_test(
			test_signal_when_raised_twice_in_a_turn_then_told_after_the_second),
		cmocka_unit_test(test_signal_when_raised_and_ended_then_told_first),
		cmocka_unit_test(test_signal_when_without_fd_then_made_up_for),
		cmocka_unit_test(test_signal_when_renewed_then_the_new_one_is_told_once),
		cmocka_unit_test(test_signal_when_peer_blocks_then_nobody_waits),
		cmocka_unit_test(test_signal_when_peer_blocks_then_it_can_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
