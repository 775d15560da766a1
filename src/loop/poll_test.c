// SPDX-License-Identifier: MIT
/* The poller protocol, one turn at a time, with a fake source that keeps count of what it is told. */
#include "loop/test_loop.h"

struct fake {
	struct loop_poller poller;
	struct loop *loop;
	unsigned work;         /* what its next looks find */
	unsigned work_at_ask;  /* arrives just when notifications are enabled */
	unsigned work_at_look; /* arrives after so many looks in vain, counted down */
	unsigned looks, hits, asks, suppressions;
	bool notified;              /* notifications are on */
	struct loop_poller *victim; /* is removed by its next look */
	bool leaves_at_ask;         /* removes itself when notifications are enabled */
};

static bool fake_poll(struct loop_poller *poller)
{
	struct fake *fake = container_of(poller, struct fake, poller);

	assert_false(fake->notified);
	fake->looks++;
	if (fake->work_at_look && --fake->work_at_look == 0)
		fake->work++;
	if (fake->victim) {
		loop_poller_remove(fake->loop, fake->victim);
		fake->victim = NULL;
	}
	if (fake->work == 0)
		return false;
	fake->work--;
	fake->hits++;
	return true;
}

static bool fake_enable(struct loop_poller *poller)
{
	struct fake *fake = container_of(poller, struct fake, poller);

	fake->asks++;
	fake->notified = true;
	fake->work += fake->work_at_ask;
	fake->work_at_ask = 0;
	if (fake->leaves_at_ask)
		loop_poller_remove(fake->loop, &fake->poller);
	return fake->work > 0;
}

static void fake_suppress(struct loop_poller *poller)
{
	struct fake *fake = container_of(poller, struct fake, poller);

	fake->suppressions++;
	fake->notified = false;
}

static void fake_add(struct fake *fake, struct loop *loop)
{
	*fake = (struct fake){ .poller = { fake_poll, fake_enable, fake_suppress }, .loop = loop };
	fake->notified = true;
	loop_poller_add(loop, &fake->poller);
}

static struct loop *poll_loop_new(uint64_t max_ns)
{
	struct loop *loop = test_loop_new();
	const struct poll_params params = { .max_ns = max_ns };

	loop_set_poll_params(loop, &params);
	return loop;
}

/* A turn that sleeps, but not long. */
static void turn_to_sleep(struct loop *loop)
{
	uint64_t waits = test_loop_stats(loop).waits;

	loop_turn(loop, NS_PER_US);
	assert_int_equal(test_loop_stats(loop).waits, waits + 1);
}

static void turn_without_sleep(struct loop *loop)
{
	uint64_t waits = test_loop_stats(loop).waits;

	loop_turn(loop, UINT64_MAX);
	assert_int_equal(test_loop_stats(loop).waits, waits);
}

static void test_poller_when_added_is_looked_at_once_even_without_polling(void **state)
{
	struct loop *loop = poll_loop_new(0);
	struct fake fake;

	fake_add(&fake, loop);
	turn_to_sleep(loop);
	assert_int_equal(fake.looks, 1);
	assert_true(fake.notified);
	turn_to_sleep(loop);
	assert_int_equal(fake.looks, 1); /* rests */
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_polling_is_off_is_drained_after_a_hit_and_asked_again(void **state)
{
	struct loop *loop = poll_loop_new(0);
	struct fake fake;

	fake_add(&fake, loop);
	turn_to_sleep(loop);
	fake.work = 3;
	loop_poller_hit(loop, &fake.poller);
	for (unsigned i = 1; i <= 3; i++) {
		turn_without_sleep(loop);
		assert_int_equal(fake.hits, i);
		assert_false(fake.notified);
	}
	turn_to_sleep(loop);
	assert_true(fake.notified);
	assert_int_equal(fake.asks, 2);
	assert_int_equal(fake.suppressions, 2);
	assert_true(fake.poller.window.ns == 0);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_work_comes_while_it_is_asked_prevents_the_sleep(void **state)
{
	const uint64_t max_ns[] = { 0, NS_PER_US, POLL_MAX_NS_DEFAULT };

	for (unsigned i = 0; i < ARRAY_SIZE(max_ns); i++) {
		struct loop *loop = poll_loop_new(max_ns[i]);
		struct fake fake;

		fake_add(&fake, loop);
		fake.work_at_ask = 1;
		turn_without_sleep(loop);
		assert_int_equal(fake.asks, 1);
		turn_without_sleep(loop);
		assert_int_equal(fake.hits, 1);
		loop_poller_remove(loop, &fake.poller);
		loop_free(loop);
	}
}

static void test_pollers_when_one_has_work_at_the_ask_keep_a_consistent_state(void **state)
{
	struct loop *loop = poll_loop_new(NS_PER_S);
	struct fake fakes[3];

	for (unsigned i = 0; i < 3; i++) {
		fake_add(&fakes[i], loop);
		fakes[i].poller.window.ns = 1;
	}
	fakes[1].work_at_ask = 1;
	turn_without_sleep(loop);
	assert_true(fakes[0].notified);
	assert_false(fakes[2].notified); /* was not asked any more */
	turn_without_sleep(loop);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(fakes[i].notified);
		assert_int_equal(fakes[i].hits, i == 1);
		assert_int_equal(fakes[i].suppressions, i == 2 ? 1 : 2);
		loop_poller_remove(loop, &fakes[i].poller);
	}
	loop_free(loop);
}

static void test_poller_when_its_window_is_open_is_caught_without_a_sleep(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1000 * NS_PER_S;
	fake.work_at_look = 1000;
	turn_without_sleep(loop);
	assert_int_equal(fake.looks, 1000);
	assert_int_equal(fake.hits, 1);
	assert_int_equal(fake.asks, 0);
	assert_int_equal(test_loop_stats(loop).poll_hits, 1);
	assert_int_equal(test_loop_stats(loop).poll_misses, 0);
	assert_true(fake.poller.window.ns == 1000 * NS_PER_S);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_caught_later_than_its_own_window_grows_it(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct fake quick, slow;

	fake_add(&quick, loop);
	fake_add(&slow, loop);
	quick.poller.window.ns = 1000 * NS_PER_S;
	slow.poller.window.ns = 1;
	slow.work_at_look = 1000;
	turn_without_sleep(loop);
	assert_int_equal(slow.hits, 1);
	assert_true(slow.poller.window.ns == 2);
	loop_poller_remove(loop, &quick.poller);
	loop_poller_remove(loop, &slow.poller);
	loop_free(loop);
}

static void test_poller_when_its_window_closes_sleeps_and_a_late_hit_adapts_it(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1;
	turn_to_sleep(loop);
	assert_int_equal(test_loop_stats(loop).poll_misses, 1);
	assert_true(fake.looks >= 2);
	assert_true(fake.notified);
	loop_poller_hit(loop, &fake.poller);
	loop_poller_hit(loop, &fake.poller); /* the same wait: counts once */
	assert_true(fake.poller.window.ns == 2);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_hit_after_more_than_max_shrinks(void **state)
{
	struct loop *loop = poll_loop_new(1);
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1;
	turn_to_sleep(loop);
	loop_poller_hit(loop, &fake.poller);
	assert_true(fake.poller.window.ns == 0);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_its_first_notification_comes_starts_its_window(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct fake fake;

	fake_add(&fake, loop);
	turn_to_sleep(loop);
	assert_false(fake.poller.active);
	loop_poller_hit(loop, &fake.poller);
	assert_true(fake.poller.active);
	assert_true(fake.poller.window.ns == POLL_WINDOW_START_NS);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_polling_is_switched_off_opens_no_window(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	const struct poll_params off = { .max_ns = 0 };
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1000 * NS_PER_S;
	loop_set_poll_params(loop, &off);
	turn_to_sleep(loop);
	assert_int_equal(fake.looks, 1);
	assert_false(fake.poller.active);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_idle_for_long_leaves_until_it_is_hit(void **state)
{
	struct loop *loop = poll_loop_new(NS_PER_S);
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1000;
	fake.poller.last_hit_ns = clock_ns() - POLL_IDLE_NS; /* as if it had waited so long */
	turn_to_sleep(loop);
	assert_false(fake.poller.active);
	assert_true(fake.notified);
	assert_true(fake.poller.window.ns == 0);
	fake.work = 1;
	loop_poller_hit(loop, &fake.poller);
	turn_without_sleep(loop);
	assert_int_equal(fake.hits, 1);
	assert_true(fake.poller.active);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_poller_when_idle_beside_a_busy_one_leaves_too(void **state)
{
	struct loop *loop = poll_loop_new(NS_PER_S);
	struct fake busy, idle;

	fake_add(&busy, loop);
	fake_add(&idle, loop);
	busy.work = 1000;
	idle.poller.last_hit_ns = clock_ns() - POLL_IDLE_NS;
	while (busy.work)
		turn_without_sleep(loop);
	assert_true(busy.poller.active);
	assert_false(idle.poller.active);
	assert_true(idle.notified);
	assert_int_equal(idle.asks, 1);
	loop_poller_remove(loop, &busy.poller);
	loop_poller_remove(loop, &idle.poller);
	loop_free(loop);
}

static void test_pollers_when_all_are_busy_get_one_batch_each_per_turn(void **state)
{
	struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
	struct fake fakes[5];

	for (unsigned i = 0; i < 5; i++) {
		fake_add(&fakes[i], loop);
		fakes[i].work = 100;
	}
	for (unsigned turn = 1; turn <= 100; turn++) {
		turn_without_sleep(loop);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(fakes[i].hits, turn);
	}
	for (unsigned i = 0; i < 5; i++)
		loop_poller_remove(loop, &fakes[i].poller);
	loop_free(loop);
}

static void test_pollers_when_one_removes_any_other_or_itself_the_rest_is_looked_at(void **state)
{
	for (unsigned remover = 0; remover < 4; remover++) {
		for (unsigned victim = 0; victim < 4; victim++) {
			struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
			struct fake fakes[4];

			for (unsigned i = 0; i < 4; i++) {
				fake_add(&fakes[i], loop);
				fakes[i].work = 2;
			}
			fakes[remover].victim = &fakes[victim].poller;
			turn_without_sleep(loop);
			turn_without_sleep(loop);
			for (unsigned i = 0; i < 4; i++) {
				unsigned missed = i == victim ? 1 + (victim > remover) : 0;

				assert_int_equal(fakes[i].looks, 2 - missed);
				if (i != victim)
					loop_poller_remove(loop, &fakes[i].poller);
			}
			loop_free(loop);
		}
	}
}

static void test_poller_when_it_leaves_while_it_is_asked_is_not_touched_again(void **state)
{
	struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
	struct fake fakes[3];

	for (unsigned i = 0; i < 3; i++)
		fake_add(&fakes[i], loop);
	fakes[1].leaves_at_ask = true;
	turn_to_sleep(loop);
	assert_false(fakes[1].poller.added);
	assert_true(fakes[0].notified && fakes[2].notified);
	turn_to_sleep(loop);
	assert_int_equal(fakes[1].looks, 1);
	loop_poller_remove(loop, &fakes[0].poller);
	loop_poller_remove(loop, &fakes[2].poller);
	loop_free(loop);
}

static void count_timer(struct loop_timer *timer)
{
	timer->fire = NULL;
}

static void test_window_when_a_timer_is_due_earlier_ends_there(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct loop_timer timer = { .fire = count_timer };
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1000 * NS_PER_S;
	loop_timer_set(loop, &timer, 1);
	turn_without_sleep(loop);
	assert_null(timer.fire);
	assert_int_equal(test_loop_stats(loop).poll_misses, 1);
	assert_in_range(fake.looks, 1, 100); /* until the first look at the clock */
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void note_message(struct loop_message *message)
{
	message->fn = NULL;
}

static unsigned nops_done;

static void note_nop(struct loop_op *op, int result, uint32_t cqe_flags)
{
	nops_done++;
}

static void nop_queue(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_nop(sqe);
	loop_sqe_bind(loop, sqe, op);
}

static void test_window_when_an_op_is_queued_submits_it_and_ends_with_its_completion(void **state)
{
	struct loop *loop = poll_loop_new(1000 * NS_PER_S);
	struct loop_op op = { note_nop };
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.window.ns = 1000 * NS_PER_S;
	nops_done = 0;
	nop_queue(loop, &op);
	turn_without_sleep(loop);
	assert_int_equal(nops_done, 1);
	assert_in_range(fake.looks, 1, 2);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static struct loop_op queued_op = { note_nop };

/* Always has work, and each time queues an operation; ends the loop when ten are done. */
static bool poll_and_queue(struct loop_poller *poller)
{
	struct fake *fake = container_of(poller, struct fake, poller);

	fake->looks++;
	if (nops_done >= 10)
		loop_stop(fake->loop);
	else
		nop_queue(fake->loop, &queued_op);
	return true;
}

static void test_loop_run_when_a_poller_never_stops_submits_in_each_turn(void **state)
{
	struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
	struct fake fake;

	fake_add(&fake, loop);
	fake.poller.poll = poll_and_queue;
	nops_done = 0;
	loop_run(loop);
	assert_in_range(fake.looks, 11, 14);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

#define BUSY_NOPS 10000 /* more than the completion ring holds */

static void test_loop_when_a_poller_never_stops_runs_messages_and_completions(void **state)
{
	struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
	struct loop_message message = { .fn = note_message };
	struct loop_op op = { note_nop };
	struct fake fake;

	fake_add(&fake, loop);
	fake.work = UINT32_MAX;
	turn_without_sleep(loop);
	loop_post(loop, &message);
	turn_without_sleep(loop);
	assert_null(message.fn);
	nops_done = 0;
	for (unsigned i = 0; i < BUSY_NOPS; i++)
		nop_queue(loop, &op);
	for (unsigned i = 0; i < 10; i++)
		turn_without_sleep(loop);
	assert_int_equal(nops_done, BUSY_NOPS);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

static void test_loop_when_a_poller_has_work_enters_the_kernel_not_at_all(void **state)
{
	struct loop *loop = poll_loop_new(POLL_MAX_NS_DEFAULT);
	struct loop_stats before, after;
	struct fake fake;

	fake_add(&fake, loop);
	loop_turn(loop, 0);
	fake.work = 1000;
	before = test_loop_stats(loop);
	while (fake.work)
		turn_without_sleep(loop);
	after = test_loop_stats(loop);
	assert_int_equal(after.submits, before.submits);
	assert_int_equal(after.poll_hits, before.poll_hits + 1000);
	loop_poller_remove(loop, &fake.poller);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_poller_when_added_is_looked_at_once_even_without_polling),
		cmocka_unit_test(
			test_poller_when_polling_is_off_is_drained_after_a_hit_and_asked_again),
		cmocka_unit_test(test_poller_when_work_comes_while_it_is_asked_prevents_the_sleep),
		cmocka_unit_test(test_pollers_when_one_has_work_at_the_ask_keep_a_consistent_state),
		cmocka_unit_test(test_poller_when_its_window_is_open_is_caught_without_a_sleep),
		cmocka_unit_test(test_poller_when_caught_later_than_its_own_window_grows_it),
		cmocka_unit_test(
			test_poller_when_its_window_closes_sleeps_and_a_late_hit_adapts_it),
		cmocka_unit_test(test_poller_when_hit_after_more_than_max_shrinks),
		cmocka_unit_test(test_poller_when_its_first_notification_comes_starts_its_window),
		cmocka_unit_test(test_poller_when_polling_is_switched_off_opens_no_window),
		cmocka_unit_test(test_poller_when_idle_for_long_leaves_until_it_is_hit),
		cmocka_unit_test(test_poller_when_idle_beside_a_busy_one_leaves_too),
		cmocka_unit_test(test_pollers_when_all_are_busy_get_one_batch_each_per_turn),
		cmocka_unit_test(
			test_pollers_when_one_removes_any_other_or_itself_the_rest_is_looked_at),
		cmocka_unit_test(test_poller_when_it_leaves_while_it_is_asked_is_not_touched_again),
		cmocka_unit_test(test_window_when_a_timer_is_due_earlier_ends_there),
		cmocka_unit_test(
			test_window_when_an_op_is_queued_submits_it_and_ends_with_its_completion),
		cmocka_unit_test(test_loop_run_when_a_poller_never_stops_submits_in_each_turn),
		cmocka_unit_test(test_loop_when_a_poller_never_stops_runs_messages_and_completions),
		cmocka_unit_test(test_loop_when_a_poller_has_work_enters_the_kernel_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
