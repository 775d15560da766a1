// SPDX-License-Identifier: MIT
/* Timers against a model, and how they end a wait. */
#include "loop/test_loop.h"

struct test_timer {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t deadline_ns; /* the model's: 0 = not set */
	unsigned *fired;
	uint64_t fired_ns;
};

static void count_fire(struct loop_timer *timer)
{
	struct test_timer *test = container_of(timer, struct test_timer, timer);

	test->fired_ns = clock_ns();
	test->deadline_ns = 0;
	++*test->fired;
}

static void test_timer_when_due_fires_once_and_not_before(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	struct test_timer test = { .timer.fire = count_fire, .fired = &fired };
	uint64_t deadline_ns = clock_ns() + NS_PER_MS;

	loop_timer_set(loop, &test.timer, deadline_ns);
	test_loop_until(loop, &fired, 1);
	assert_true(test.fired_ns >= deadline_ns);
	assert_true(test.timer.deadline_ns == 0);
	loop_turn(loop, NS_PER_MS);
	assert_int_equal(fired, 1);
	loop_free(loop);
}

/* A thread that is put aside may come to the turn when the timer is due: then there is no wait, and it is set for later. */
static void test_timer_when_earlier_than_the_wait_ends_it(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0, rounds = 0;
	struct test_timer test = { .timer.fire = count_fire, .fired = &fired };

	do {
		loop_timer_set(loop, &test.timer, clock_ns() + (NS_PER_MS << rounds));
		rounds++;
		while (fired < rounds)
			loop_turn(loop, UINT64_MAX); /* would sleep for ever */
	} while (test_loop_stats(loop).waits == 0 && rounds < 14);
	assert_true(test_loop_stats(loop).waits > 0);
	loop_free(loop);
}

static void test_timer_when_cleared_does_not_fire(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	struct test_timer a = { .timer.fire = count_fire, .fired = &fired }, b = a;

	loop_timer_set(loop, &a.timer, 1);
	loop_timer_set(loop, &b.timer, 2);
	loop_timer_clear(loop, &a.timer);
	loop_timer_clear(loop, &a.timer); /* again: nothing happens */
	test_loop_until(loop, &fired, 1);
	loop_turn(loop, 0);
	assert_int_equal(fired, 1);
	assert_true(a.fired_ns == 0);
	loop_free(loop);
}

static void fire_again(struct loop_timer *timer)
{
	struct test_timer *test = container_of(timer, struct test_timer, timer);

	++*test->fired;
	loop_timer_set(test->loop, timer, 1);
}

static void test_timer_when_set_in_the_past_by_itself_fires_once_per_turn(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	struct test_timer test = { .timer.fire = fire_again, .loop = loop, .fired = &fired };

	loop_timer_set(loop, &test.timer, 0); /* a deadline of 0 is the past, too */
	for (unsigned turn = 1; turn <= 5; turn++) {
		loop_turn(loop, NS_PER_S);
		assert_int_equal(fired, turn);
	}
	loop_timer_clear(loop, &test.timer);
	loop_free(loop);
}

static struct loop_timer *timer_to_clear;

static void fire_clear_other(struct loop_timer *timer)
{
	loop_timer_clear(container_of(timer, struct test_timer, timer)->loop, timer_to_clear);
	count_fire(timer);
}

static void test_timer_when_cleared_by_one_that_fires_with_it_does_not_fire(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	struct test_timer a = { .timer.fire = fire_clear_other, .loop = loop, .fired = &fired };
	struct test_timer b = { .timer.fire = count_fire, .fired = &fired };

	timer_to_clear = &b.timer;
	loop_timer_set(loop, &a.timer, 1);
	loop_timer_set(loop, &b.timer, 2);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(loop, 0);
	assert_int_equal(fired, 1);
	assert_true(b.fired_ns == 0);
	loop_free(loop);
}

static bool poll_always(struct loop_poller *poller)
{
	return true;
}

static bool notify_nothing(struct loop_poller *poller)
{
	return false;
}

static void suppress_nothing(struct loop_poller *poller)
{
}

static void test_timer_when_a_poller_never_stops_still_fires(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	struct test_timer test = { .timer.fire = count_fire, .fired = &fired };
	struct loop_poller busy = { poll_always, notify_nothing, suppress_nothing };

	loop_poller_add(loop, &busy);
	loop_timer_set(loop, &test.timer, 1);
	for (unsigned i = 0; i < 64; i++)
		loop_turn(loop, UINT64_MAX);
	assert_int_equal(fired, 1);
	loop_poller_remove(loop, &busy);
	loop_free(loop);
}

/* ---- the heap against a model: an array that is searched ---- */

#define MODEL_TIMERS 200

static struct test_timer model[MODEL_TIMERS];
static uint64_t model_order_ns; /* deadlines that fire must not decrease within a turn */

static void fire_model(struct loop_timer *timer)
{
	struct test_timer *test = container_of(timer, struct test_timer, timer);

	assert_true(test->deadline_ns != 0);
	assert_true(test->deadline_ns >= model_order_ns);
	assert_true(test->deadline_ns <= clock_ns());
	model_order_ns = test->deadline_ns;
	test->deadline_ns = 0;
	++*test->fired;
}

static uint64_t model_earliest_ns(void)
{
	uint64_t earliest_ns = UINT64_MAX;

	for (unsigned i = 0; i < MODEL_TIMERS; i++)
		if (model[i].deadline_ns)
			earliest_ns = MIN(earliest_ns, model[i].deadline_ns);
	return earliest_ns;
}

static void model_change(struct loop *loop, uint64_t *seed)
{
	struct test_timer *test = &model[test_random(seed, MODEL_TIMERS)];

	if (test_random(seed, 3) == 0) {
		loop_timer_clear(loop, &test->timer);
		test->deadline_ns = 0;
	} else {
		test->deadline_ns = clock_ns() + test_random(seed, 30000);
		loop_timer_set(loop, &test->timer, test->deadline_ns);
	}
}

static void test_timers_when_set_moved_and_cleared_at_random_fire_in_order(void **state)
{
	struct loop *loop = test_loop_new();
	unsigned fired = 0;
	uint64_t seed = 1, asked_ns, deadline_ns;

	for (unsigned i = 0; i < MODEL_TIMERS; i++)
		model[i] = (struct test_timer){ .timer.fire = fire_model, .fired = &fired };
	for (unsigned round = 0; round < 500; round++) {
		for (unsigned change = test_random(&seed, 20); change; change--)
			model_change(loop, &seed);
		model_order_ns = 0;
		asked_ns = clock_ns();
		loop_turn(loop, 0);
		assert_true(model_earliest_ns() > asked_ns); /* nobody was forgotten */
	}
	deadline_ns = clock_ns() + TEST_DEADLINE_NS;
	while (model_earliest_ns() != UINT64_MAX && clock_ns() < deadline_ns)
		model_order_ns = 0, loop_turn(loop, NS_PER_MS);
	assert_true(model_earliest_ns() == UINT64_MAX);
	assert_true(fired > MODEL_TIMERS);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timer_when_due_fires_once_and_not_before),
		cmocka_unit_test(test_timer_when_earlier_than_the_wait_ends_it),
		cmocka_unit_test(test_timer_when_cleared_does_not_fire),
		cmocka_unit_test(test_timer_when_set_in_the_past_by_itself_fires_once_per_turn),
		cmocka_unit_test(test_timer_when_cleared_by_one_that_fires_with_it_does_not_fire),
		cmocka_unit_test(test_timer_when_a_poller_never_stops_still_fires),
		cmocka_unit_test(test_timers_when_set_moved_and_cleared_at_random_fire_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
