// SPDX-License-Identifier: MIT
/* Flows of a managed device that have to wait: for a queue, for their move; and what becomes of held requests at the end. */
#include "driver/managed.h"
#include "driver/test_managed.h"

static const struct ringlane_options two = { .queues = 2 };

static unsigned held_now(struct test_managed *it)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(it->managed, &stats);
	return stats.held_now;
}

static void gates_set(struct test_managed *it, bool open)
{
	for (unsigned i = 0; i < 2; i++) {
		struct gate *gate = it->managed->queues[i].gate;

		if (open)
			gate_open(gate);
		else
			gate_close(gate);
	}
}

static const enum ringlane_order orders[] = { RINGLANE_ORDERED, RINGLANE_RELAXED };

static void test_request_when_no_queue_takes_any_then_it_waits_for_one(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		const struct fake_setup honest = { 0 };
		struct ringlane_request request;
		struct test_managed it;

		test_managed_open(&it, &honest, &two, NULL);
		request = test_request(&it, RINGLANE_OP_READ, 0);
		request.flow = ringlane_flow_new(it.managed, orders[i]);
		gates_set(&it, false);
		for (unsigned k = 0; k < 20; k++)
			test_submit(&it, &request);
		assert_int_equal(held_now(&it), 20);
		assert_int_equal(fake_disk_taken(it.disk.fake), 0);
		gates_set(&it, true);
		assert_int_equal(test_tally_wait(&it.tally, 20), 20);
		assert_int_equal(it.tally.failed, 0);
		/* the reaper that has put the last one into a ring may be slower than the one that tells it */
		test_until(held_now(&it) == 0);
		test_submit(&it, &request); /* nothing is in its way any more */
		assert_int_equal(held_now(&it), 0);
		assert_int_equal(test_tally_wait(&it.tally, 21), 21);
		test_managed_close(&it);
	}
}

static void test_stop_when_requests_are_held_then_they_are_cancelled_once(void **state)
{
	const struct fake_setup honest = { 0 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, &two, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	gates_set(&it, false);
	for (unsigned i = 0; i < 20; i++)
		test_submit(&it, &request);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	assert_int_equal(it.tally.done, 20);
	assert_int_equal(it.tally.failed, 20);
	assert_int_equal(it.tally.last, -ECANCELED);
	assert_int_equal(held_now(&it), 0);
	test_managed_close(&it);
}

static void test_hold_when_there_is_no_room_then_eagain(void **state)
{
	const struct fake_setup honest = { 0 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, &two, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	gates_set(&it, false);
	for (unsigned i = 0; i < MANAGED_HELD_MAX; i++)
		test_submit(&it, &request);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -EAGAIN);
	gates_set(&it, true);
	assert_int_equal(test_tally_wait(&it.tally, MANAGED_HELD_MAX), MANAGED_HELD_MAX);
	test_submit(&it, &request);
	assert_int_equal(test_tally_wait(&it.tally, MANAGED_HELD_MAX + 1), MANAGED_HELD_MAX + 1);
	test_managed_close(&it);
}

/* A request that is wrong is found when it is posted, which is after it was accepted. */
static void test_request_when_held_and_wrong_then_its_callback_tells(void **state)
{
	const struct fake_setup honest = { 0 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, &two, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	request.bytes = 100;
	gates_set(&it, false);
	test_submit(&it, &request);
	gates_set(&it, true);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(it.tally.last, -EINVAL);
	assert_true(gate_is_idle(it.managed->queues[0].gate));
	assert_true(gate_is_idle(it.managed->queues[1].gate));
	test_managed_close(&it);
}

static void test_device_when_gone_then_held_requests_are_told(void **state)
{
	const struct fake_setup honest = { 0 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, &two, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	gates_set(&it, false);
	for (unsigned i = 0; i < 20; i++)
		test_submit(&it, &request);
	fake_disk_hang_up(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 20), 20);
	assert_int_equal(it.tally.last, -ECONNRESET);
	test_managed_close(&it);
}

/* The map says the other queue from now on, and the flow is never idle: it moves when what it has is done, not before. */
static void test_flow_when_it_wants_to_move_then_new_requests_wait_for_the_old(void **state)
{
	const struct fake_setup holds = { .trick = FAKE_HOLDS };
	const struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
							  .move_ns = 1,
							  .hold_ns = 60 * NS_PER_S };
	struct ringlane_managed_stats stats;
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &holds, &two, &options);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	request.flow = ringlane_flow_new(it.managed, RINGLANE_ORDERED);
	test_submit(&it, &request);
	test_until(fake_disk_taken(it.disk.fake) == 1);
	request.queue = 1;
	test_submit(&it, &request); /* stays: it has only begun to be used from elsewhere */
	for (unsigned i = 0; i < 5; i++)
		test_submit(&it, &request);
	assert_in_range(held_now(&it), 5, 6);
	assert_int_equal(ringlane_flow_queue(request.flow), 0);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 7), 7);
	assert_int_equal(ringlane_flow_queue(request.flow), 1);
	assert_in_range(test_queue_stats(&it, 1).completed, 5, 6);
	ringlane_managed_get_stats(it.managed, &stats);
	assert_int_equal(stats.moved, 1);
	assert_int_equal(stats.wishes, 1);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_request_when_no_queue_takes_any_then_it_waits_for_one),
		driver_test(test_stop_when_requests_are_held_then_they_are_cancelled_once),
		driver_test(test_hold_when_there_is_no_room_then_eagain),
		driver_test(test_request_when_held_and_wrong_then_its_callback_tells),
		driver_test(test_device_when_gone_then_held_requests_are_told),
		driver_test(test_flow_when_it_wants_to_move_then_new_requests_wait_for_the_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
