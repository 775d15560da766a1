// SPDX-License-Identifier: MIT
/* Messages between threads: none lost, in order for each sender, and no wake-up is missed. */
#include "base/atomic.h"
#include "loop/test_loop.h"

#include <pthread.h>
#include <sched.h>

/* ---- many senders, one loop ---- */

#define SENDERS 4
#define SENDER_MESSAGES 3000

struct numbered {
	struct loop_message message;
	unsigned sender, number;
};

static struct numbered numbered[SENDERS][SENDER_MESSAGES];
static unsigned next_number[SENDERS], received;
static struct loop *receiver;

static void receive_numbered(struct loop_message *message)
{
	struct numbered *got = container_of(message, struct numbered, message);

	assert_true(loop_is_mine(receiver));
	assert_int_equal(got->number, next_number[got->sender]);
	next_number[got->sender]++;
	received++;
}

static void *send_all(void *opaque)
{
	unsigned sender = (unsigned)(uintptr_t)opaque;

	for (unsigned i = 0; i < SENDER_MESSAGES; i++) {
		struct numbered *message = &numbered[sender][i];

		*message = (struct numbered){ .message.fn = receive_numbered, sender, i };
		loop_post(receiver, &message->message);
	}
	return NULL;
}

static void test_messages_from_several_threads_arrive_in_order_and_none_is_lost(void **state)
{
	pthread_t threads[SENDERS];

	receiver = test_loop_new();
	for (uintptr_t i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, send_all, (void *)i), 0);
	test_loop_until(receiver, &received, SENDERS * SENDER_MESSAGES);
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(next_number[i], SENDER_MESSAGES);
	}
	assert_int_equal(test_loop_stats(receiver).messages, SENDERS * SENDER_MESSAGES);
	loop_free(receiver);
}

/* ---- two loops that wake each other ---- */

#define PING_ROUNDS 5000

static struct loop *near_loop, *far_loop; /* the test's thread runs the near one */
static struct loop_message ping, pong;
static unsigned pings, pongs;

static void receive_ping(struct loop_message *message)
{
	assert_true(loop_is_mine(far_loop));
	pings++;
	loop_post(near_loop, &pong);
}

static void receive_pong(struct loop_message *message)
{
	assert_true(loop_is_mine(near_loop));
	if (++pongs < PING_ROUNDS)
		loop_post(far_loop, &ping);
}

static void stop_far_loop(struct loop_message *message)
{
	loop_stop(far_loop);
}

static void *run_far_loop(void *opaque)
{
	loop_run(far_loop);
	return NULL;
}

static void test_messages_when_two_loops_sleep_in_turns_always_wake_them(void **state)
{
	struct loop_message stop = { .fn = stop_far_loop };
	struct error error;
	pthread_t thread;

	near_loop = test_loop_new();
	assert_int_equal(loop_new(&far_loop, &error), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_far_loop, NULL), 0);
	ping.fn = receive_ping;
	pong.fn = receive_pong;
	loop_post(far_loop, &ping);
	/* A far loop that misses its wake-up sleeps for ever, so this ends at the deadline. */
	test_loop_until(near_loop, &pongs, PING_ROUNDS);
	loop_post(far_loop, &stop);
	pthread_join(thread, NULL);
	assert_int_equal(pings, PING_ROUNDS);
	loop_free(far_loop);
	loop_free(near_loop);
}

/* ---- a message that comes just when the loop goes to sleep ---- */

#define SLEEP_ROUNDS 30000

static unsigned heard;

static void receive_and_tell(struct loop_message *message)
{
	store_release(&heard, heard + 1); /* pairs with wait_until_heard */
}

static bool wait_until_heard(unsigned wanted)
{
	uint64_t deadline_ns = clock_ns() + TEST_DEADLINE_NS;

	while (load_acquire(&heard) != wanted) { /* pairs with receive_and_tell */
		if (clock_ns() > deadline_ns)
			return false;
		sched_yield();
	}
	return true;
}

static void test_message_when_posted_just_as_the_loop_goes_to_sleep_is_heard(void **state)
{
	struct loop_message message = { .fn = receive_and_tell }, stop = { .fn = stop_far_loop };
	struct error error;
	uint64_t seed = 1;
	pthread_t thread;

	assert_int_equal(loop_new(&far_loop, &error), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_far_loop, NULL), 0);
	for (unsigned i = 1; i <= SLEEP_ROUNDS; i++) {
		for (unsigned delay = test_random(&seed, 1000); delay; delay--)
			(void)load_relaxed(&heard); /* up to about a microsecond */
		loop_post(far_loop, &message);
		if (!wait_until_heard(i))
			fail_msg("message %u was not heard", i);
	}
	loop_post(far_loop, &stop);
	pthread_join(thread, NULL);
	loop_free(far_loop);
}

/* ---- the last message ---- */

struct last {
	struct loop_message message;
	struct loop *loop;
};

static void stop_for_good(struct loop_message *message)
{
	loop_stop(container_of(message, struct last, message)->loop);
}

static void *post_last(void *opaque)
{
	struct last *last = opaque;

	loop_post(last->loop, &last->message);
	return NULL;
}

/* Whoever posts it may not have come back when the loop is freed; a sanitizer would see it look at the loop. */
static void test_loop_when_freed_by_its_last_message_then_the_poster_is_out(void **state)
{
	for (unsigned i = 0; i < 500; i++) {
		struct last last = { .message = { .fn = stop_for_good }, .loop = test_loop_new() };
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, post_last, &last), 0);
		loop_run(last.loop);
		loop_free(last.loop);
		pthread_join(thread, NULL);
	}
}

/* ---- one thread ---- */

static unsigned self_posts;

static void post_itself(struct loop_message *message)
{
	if (++self_posts < 3)
		loop_post(loop_current(), message);
}

static void test_message_when_posted_again_by_itself_runs_in_the_next_turn(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_message message = { .fn = post_itself };

	loop_post(loop, &message);
	for (unsigned turn = 1; turn <= 3; turn++) {
		loop_turn(loop, UINT64_MAX); /* does not sleep after a message */
		assert_int_equal(self_posts, turn);
	}
	assert_int_equal(test_loop_stats(loop).waits, 0);
	loop_free(loop);
}

static void test_message_when_the_loop_does_not_sleep_costs_no_system_call(void **state)
{
	struct loop *loop = test_loop_new();
	struct loop_message message = { .fn = post_itself };
	struct loop_stats before;

	self_posts = 3;
	loop_turn(loop, 0); /* sets up the poll of the event fd */
	before = test_loop_stats(loop);
	loop_post(loop, &message);
	loop_turn(loop, 0);
	assert_int_equal(self_posts, 4);
	assert_int_equal(test_loop_stats(loop).submits, before.submits);
	assert_int_equal(test_loop_stats(loop).waits, before.waits);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_messages_from_several_threads_arrive_in_order_and_none_is_lost),
		cmocka_unit_test(test_messages_when_two_loops_sleep_in_turns_always_wake_them),
		cmocka_unit_test(test_message_when_posted_just_as_the_loop_goes_to_sleep_is_heard),
		cmocka_unit_test(test_loop_when_freed_by_its_last_message_then_the_poster_is_out),
		cmocka_unit_test(test_message_when_posted_again_by_itself_runs_in_the_next_turn),
		cmocka_unit_test(test_message_when_the_loop_does_not_sleep_costs_no_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
