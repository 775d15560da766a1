// SPDX-License-Identifier: MIT
/* The managed mode against the fake disk: requests, full queues, stopping, devices that go away or misbehave. */
#include "driver/managed.h"
#include "driver/reaper.h"
#include "driver/test_managed.h"

#define ROUNDS 200

static const struct fake_setup honest;
static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };

/* ---- requests ---- */

static void test_request_when_written_then_it_reads_back(void **state)
{
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, NULL, NULL);
	memset(it.disk.buffer + 512, 0x5a, 512);
	request = test_request(&it, RINGLANE_OP_WRITE, 1);
	test_submit(&it, &request);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(fake_disk_bytes(it.disk.fake)[512], 0x5a);
	memset(it.disk.buffer + 512, 0, 512);
	request.op = RINGLANE_OP_READ;
	test_submit(&it, &request);
	assert_int_equal(test_tally_wait(&it.tally, 2), 2);
	assert_int_equal(it.disk.buffer[512 + 511], 0x5a);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
}

struct arrival {
	struct test_tally *tally;
	unsigned *order, *count;
	unsigned number;
};

static void arrival_done(void *opaque, int result)
{
	struct arrival *arrival = opaque;

	arrival->order[(*arrival->count)++ % 32] = arrival->number;
	test_tally_done(arrival->tally, result);
}

/* One batch, which the device takes as a whole. */
static void test_requests_when_completed_in_another_order_then_each_is_told_once(void **state)
{
	const struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_SINGLE };
	const struct fake_setup setup = { .trick = FAKE_REVERSES };
	struct ringlane_request requests[32];
	struct arrival arrivals[32];
	unsigned order[32], count = 0;
	struct test_managed it;

	test_managed_open(&it, &setup, &two, &options);
	for (unsigned i = 0; i < 32; i++) {
		arrivals[i] = (struct arrival){ &it.tally, order, &count, i };
		requests[i] = test_request(&it, RINGLANE_OP_READ, i);
		requests[i].done = arrival_done;
		requests[i].user_data = &arrivals[i];
	}
	assert_int_equal(ringlane_managed_submit(it.managed, requests, 32), 32);
	assert_int_equal(test_tally_wait(&it.tally, 32), 32);
	assert_int_equal(it.tally.failed, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(order[i], 31 - i);
	test_managed_close(&it);
}

static void test_request_when_of_each_kind_then_it_arrives(void **state)
{
	const struct ringlane_range range = { 0, 4096 };
	struct ringlane_request requests[6];
	struct test_managed it;
	struct iovec iov[2];

	test_managed_open(&it, &honest, NULL, NULL);
	iov[0] = (struct iovec){ it.disk.buffer, 512 };
	iov[1] = (struct iovec){ it.disk.buffer + 8192, 1024 };
	for (unsigned i = 0; i < 6; i++)
		requests[i] = test_request(&it, (enum ringlane_op)i, 100 + 8 * i);
	requests[RINGLANE_OP_WRITE].iov = iov;
	requests[RINGLANE_OP_WRITE].iov_count = 2;
	requests[RINGLANE_OP_DISCARD].ranges = requests[RINGLANE_OP_WRITE_ZEROES].ranges = &range;
	requests[RINGLANE_OP_DISCARD].range_count = 1;
	requests[RINGLANE_OP_WRITE_ZEROES].range_count = 1;
	requests[RINGLANE_OP_WRITE_ZEROES].flags = RINGLANE_UNMAP;
	memset(it.disk.buffer + 8192, 7, 1024);
	assert_int_equal(ringlane_managed_submit(it.managed, requests, 6), 6);
	assert_int_equal(test_tally_wait(&it.tally, 6), 6);
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(fake_disk_bytes(it.disk.fake)[0], 0xee); /* the flag has arrived */
	assert_int_equal(fake_disk_bytes(it.disk.fake)[108 * 512 + 512 + 1023], 7);
	assert_memory_equal(requests[RINGLANE_OP_GET_ID].data, FAKE_ID, 20);
	test_managed_close(&it);
}

static void test_request_when_wrong_then_it_is_refused_and_the_others_are_not(void **state)
{
	struct ringlane_request requests[3];
	struct test_managed it;

	test_managed_open(&it, &honest, &two, NULL);
	for (unsigned i = 0; i < 3; i++)
		requests[i] = test_request(&it, RINGLANE_OP_READ, i);
	requests[1].bytes = 100;
	requests[2].op = (enum ringlane_op)77;
	assert_int_equal(ringlane_managed_submit(it.managed, requests, 3), 1);
	assert_int_equal(ringlane_managed_submit(it.managed, requests + 1, 2), -EINVAL);
	assert_int_equal(ringlane_managed_submit(it.managed, requests + 2, 1), -EINVAL);
	requests[1] = test_request(&it, RINGLANE_OP_READ, 1);
	requests[1].data = &requests; /* memory that the device does not reach */
	assert_int_equal(ringlane_managed_submit(it.managed, requests + 1, 1), -EFAULT);
	assert_int_equal(ringlane_managed_submit(it.managed, requests, 0), 0);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	assert_int_equal(it.tally.done, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(test_queue_stats(&it, i).in_flight, 0);
	test_managed_close(&it);
}

/*
 * The place in steering that a full ring gives back is the one that was leaked once: the target was pinned for ever. No flow wants to
 * move, and have its requests held, because the test's thread was put on another CPU.
 */
static void test_submit_when_a_queue_is_full_then_nothing_leaks(void **state)
{
	static const enum ringlane_order orders[] = { RINGLANE_ORDERED, RINGLANE_RELAXED };
	const struct ringlane_managed_options staying = { .move_ns = 3600 * NS_PER_S };
	const struct fake_setup holds = { .trick = FAKE_HOLDS, .queue_max = 2 };
	const struct ringlane_options small = { .queue_size = 16, .queues = 2 };

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		struct ringlane_request request;
		struct ringlane_flow *flow;
		struct test_managed it;
		unsigned accepted = 0;
		int ret;

		test_managed_open(&it, &holds, &small, &staying);
		flow = ringlane_flow_new(it.managed, orders[i]);
		request = test_request(&it, RINGLANE_OP_READ, 1);
		request.flow = flow;
		while ((ret = ringlane_managed_submit(it.managed, &request, 1)) == 1)
			accepted++;
		assert_int_equal(ret, -EAGAIN);
		/* an ordered flow has one queue, a relaxed one spills over */
		assert_int_equal(test_queue_stats(&it, 0).in_flight +
					 test_queue_stats(&it, 1).in_flight,
				 accepted);
		assert_int_equal(!test_queue_stats(&it, 0).in_flight ||
					 !test_queue_stats(&it, 1).in_flight,
				 orders[i] == RINGLANE_ORDERED);
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -EAGAIN);
		fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
		test_until(fake_disk_taken(it.disk.fake) == accepted);
		fake_disk_release(it.disk.fake);
		assert_int_equal(test_tally_wait(&it.tally, accepted), accepted);
		assert_true(steer_flow_is_idle(&flow->steer));
		for (unsigned k = 0; k < ROUNDS; k++) {
			test_submit(&it, &request);
			assert_int_equal(test_tally_wait(&it.tally, accepted + k + 1),
					 accepted + k + 1);
		}
		assert_int_equal(it.tally.failed, 0);
		assert_int_equal(
			test_queue_stats(&it, 0).in_flight + test_queue_stats(&it, 1).in_flight, 0);
		ringlane_flow_free(flow);
		test_managed_close(&it);
	}
}

/* ---- callbacks ---- */

struct chain {
	struct test_managed *it;
	struct ringlane_request request;
	unsigned left;
};

static void chain_done(void *opaque, int result)
{
	struct chain *chain = opaque;

	if (--chain->left)
		test_submit(chain->it, &chain->request);
	else
		test_tally_done(&chain->it->tally, result);
}

static void test_callback_when_it_submits_then_the_slot_is_free_already(void **state)
{
	static const enum ringlane_iopoll ways[] = { RINGLANE_IOPOLL_OFF, RINGLANE_IOPOLL_ON,
						     RINGLANE_IOPOLL_ADAPTIVE };
	const struct ringlane_options tiny = { .queue_size = 4, .queues = 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct ringlane_managed_options options = { .iopoll = ways[i] };
		struct test_managed it;
		struct chain chain = { .it = &it, .left = ROUNDS };

		test_managed_open(&it, &honest, &tiny, &options);
		chain.request = test_request(&it, RINGLANE_OP_READ, 0);
		chain.request.done = chain_done;
		chain.request.user_data = &chain;
		test_submit(&it, &chain.request);
		assert_int_equal(test_tally_wait(&it.tally, 1), 1);
		test_managed_close(&it);
		assert_int_equal(chain.left, 0);
	}
}

static void stopper_done(void *opaque, int result)
{
	struct chain *chain = opaque;
	int ret = ringlane_managed_stop(chain->it->managed);

	ret = ret == -EDEADLK ?
		      ringlane_managed_set_iopoll(chain->it->managed, RINGLANE_IOPOLL_OFF) :
		      -EINVAL;
	test_tally_done(&chain->it->tally, ret);
}

static void test_callback_when_it_would_wait_for_itself_then_it_does_not(void **state)
{
	struct test_managed it;
	struct chain chain = { .it = &it };

	test_managed_open(&it, &honest, NULL, NULL);
	chain.request = test_request(&it, RINGLANE_OP_READ, 0);
	chain.request.done = stopper_done;
	chain.request.user_data = &chain;
	test_submit(&it, &chain.request);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(it.tally.last, 0);
	test_managed_close(&it);
}

/* ---- the end ---- */

static void test_stop_when_requests_are_in_flight_then_they_finish(void **state)
{
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &honest, NULL, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	for (unsigned i = 0; i < 50; i++)
		test_submit(&it, &request);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	assert_int_equal(it.tally.done, 50);
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -ESHUTDOWN);
	assert_int_equal(ringlane_managed_set_iopoll(it.managed, RINGLANE_IOPOLL_OFF), -ESHUTDOWN);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	test_managed_close(&it);
}

struct stop_case {
	enum fake_trick trick;
	unsigned timeout_ms; /* of what the device is asked */
	int result;
};

static void test_stop_when_the_device_finishes_nothing_then_all_is_cancelled_once(void **state)
{
	static const struct stop_case cases[] = {
		{ FAKE_DROPS, TEST_DEADLINE_MS, -ECANCELED }, /* stops, though */
		{ FAKE_HOLDS, 100, -ETIMEDOUT },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_setup setup = { .trick = cases[i].trick };
		const struct ringlane_options asking = { .timeout_ms = cases[i].timeout_ms };
		const struct ringlane_managed_options options = { .stop_ms = 20 };
		struct ringlane_request request;
		struct test_managed it;

		it.disk = test_disk_open_hasty(&setup, &asking);
		test_managed_start(&it, &options);
		request = test_request(&it, RINGLANE_OP_READ, 0);
		for (unsigned k = 0; k < 50; k++)
			test_submit(&it, &request);
		test_until(fake_disk_taken(it.disk.fake) == 50);
		assert_int_equal(ringlane_managed_stop(it.managed), cases[i].result);
		assert_int_equal(it.tally.done, 50);
		assert_int_equal(it.tally.failed, 50);
		assert_int_equal(it.tally.last, cases[i].result);
		test_managed_close(&it);
	}
}

static void test_device_when_gone_then_all_is_told_once(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &setup, &two, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	for (unsigned i = 0; i < 50; i++)
		test_submit(&it, &request);
	test_until(fake_disk_taken(it.disk.fake) == 50);
	fake_disk_hang_up(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 50), 50);
	assert_int_equal(it.tally.failed, 50);
	assert_int_equal(it.tally.last, -ECONNRESET);
	test_until(!test_queue_stats(&it, 0).active && !test_queue_stats(&it, 1).active);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -ECONNRESET);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	assert_int_equal(it.tally.done, 50);
	test_managed_close(&it);
}

/* The last completion is found in a turn that is not the last one: no interrupt tells that the rest will never come. */
static void test_device_when_gone_with_completions_then_the_rest_is_told_too(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	const struct ringlane_options one = { .queues = 1 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &setup, &one, NULL);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	for (unsigned i = 0; i < 3; i++)
		test_submit(&it, &request);
	test_until(fake_disk_taken(it.disk.fake) == 3);
	fake_disk_set_trick(it.disk.fake, FAKE_DIES_TOLD);
	test_submit(&it, &request);
	assert_int_equal(test_tally_wait(&it.tally, 4), 4);
	assert_int_equal(it.tally.failed, 3);
	test_managed_close(&it);
}

/* Nobody knows whether the device still writes to what is in the broken ring. The other queues go on. */
static void test_ring_when_broken_then_its_requests_wait_for_the_stop(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_TWICE }; /* good is 0, 1 */
	const struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
							  .stop_ms = 20 };

	for (unsigned good = 0; good < ARRAY_SIZE(tricks); good++) {
		const struct fake_setup setup = { .trick = FAKE_HOLDS };
		struct ringlane_request request;
		struct test_managed it;

		test_managed_open(&it, &setup, &two, &options);
		request = test_request(&it, RINGLANE_OP_READ, 0);
		request.queue = 1;
		test_submit(&it, &request);
		test_until(fake_disk_taken(it.disk.fake) == 1);
		fake_disk_set_trick(it.disk.fake, tricks[good]);
		test_submit(&it, &request);
		test_until(!test_queue_stats(&it, 1).active);
		fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
		for (unsigned i = 0; i < 10; i++)
			test_submit(&it, &request);
		assert_int_equal(test_tally_wait(&it.tally, 10 + good), 10 + good);
		assert_int_equal(it.tally.failed, 0);
		assert_int_equal(test_queue_stats(&it, 0).completed, 10);
		fake_disk_release(it.disk.fake);
		assert_int_equal(ringlane_managed_stop(it.managed), -ECANCELED);
		assert_int_equal(it.tally.done, 12);
		assert_int_equal(it.tally.failed, 2 - good);
		assert_int_equal(it.tally.last, -ECANCELED);
		test_managed_close(&it);
	}
}

/* Its reaper has not seen it yet: no caller is told what another queue can do. */
static void test_ring_when_broken_just_now_then_another_queue_takes_the_request(void **state)
{
	static const enum ringlane_order orders[] = { RINGLANE_ORDERED, RINGLANE_RELAXED };
	const struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
							  .reapers = 2,
							  .stop_ms = 20 };

	for (unsigned i = 0; i < 2; i++) {
		struct ringlane_request request;
		struct managed_queue *mq;
		struct test_managed it;

		test_managed_open(&it, &honest, &two, &options);
		mq = &it.managed->queues[1];
		reaper_park(mq->reaper);
		mq->queue->ring.broken = "the test says so";
		request = test_request(&it, RINGLANE_OP_READ, 0);
		request.queue = 1;
		request.flow = ringlane_flow_new(it.managed, orders[i]);
		test_submit(&it, &request);
		assert_int_equal(test_tally_wait(&it.tally, 1), 1);
		assert_int_equal(it.tally.failed, 0);
		assert_int_equal(test_queue_stats(&it, 0).completed, 1);
		reaper_unpark(mq->reaper);
		ringlane_flow_free(request.flow);
		test_managed_close(&it);
	}
}

/* ---- CPUs ---- */

/* The first two that we may use. False: there is one. */
static bool two_cpus(unsigned cpus[2])
{
	unsigned found = 0;
	cpu_set_t mine;

	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &mine))
			cpus[found++] = cpu;
	return found == 2;
}

static void pin(pthread_t thread, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(pthread_setaffinity_np(thread, sizeof(set), &set), 0);
}

/* Given crosswise: reapers run there, and requests of a CPU go to its queue. */
static void test_queues_when_their_cpus_are_given_then_reapers_and_requests_go_there(void **state)
{
	char lists[2][16];
	const char *queue_cpus[] = { lists[1], lists[0] };
	const struct ringlane_managed_options options = { .queue_cpus = queue_cpus };
	struct test_managed it;
	cpu_set_t mine, set;
	unsigned cpus[2];

	if (!two_cpus(cpus))
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned i = 0; i < 2; i++)
		snprintf(lists[i], sizeof(lists[i]), "%u", cpus[i]);
	test_managed_open(&it, &honest, &two, &options);
	for (unsigned i = 0; i < 2; i++) {
		struct ringlane_request request = test_request(&it, RINGLANE_OP_READ, i);

		assert_int_equal(pthread_getaffinity_np(it.managed->queues[i].reaper->thread,
							sizeof(set), &set),
				 0);
		assert_int_equal(CPU_COUNT(&set), 1);
		assert_true(CPU_ISSET(cpus[1 - i], &set));
		pin(pthread_self(), cpus[1 - i]);
		test_submit(&it, &request);
		assert_int_equal(test_queue_stats(&it, i).submitted, 1);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(mine), &mine), 0);
	assert_int_equal(test_tally_wait(&it.tally, 2), 2);
	test_managed_close(&it);
}

static void test_queues_when_their_cpus_make_no_sense_then_it_says_so(void **state)
{
	static const char *const wrong[][2] = { { "0", "0" }, { "0", "" }, { "0", "x" } };
	struct test_disk disk = test_disk_open(&honest, &two);

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		const struct ringlane_managed_options options = { .queue_cpus = wrong[i] };
		struct ringlane_managed *managed;
		struct ringlane_error error = { 0 };

		assert_int_equal(ringlane_managed_start(disk.device, &options, &managed, &error),
				 -EINVAL);
		assert_true(strlen(error.text) > 0);
	}
	test_disk_close(&disk);
}

/* ---- options and figures ---- */

static void test_start_when_options_are_wrong_then_it_says_so(void **state)
{
	static const struct ringlane_managed_options wrong[] = {
		{ .policy = (enum ringlane_policy)99 },
		{ .iopoll = (enum ringlane_iopoll)99 },
		{ .replay = (enum ringlane_replay)99 },
		{ .weight = 257 },
	};
	struct test_disk disk = test_disk_open(&honest, NULL);

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct ringlane_managed *managed;
		struct ringlane_error error = { 0 };

		assert_int_equal(ringlane_managed_start(disk.device, &wrong[i], &managed, &error),
				 -EINVAL);
		assert_true(error.text[0]);
	}
	test_disk_close(&disk);
}

static void test_start_when_requests_are_in_flight_then_busy(void **state)
{
	struct test_disk disk = test_disk_open(&honest, NULL);
	struct ringlane_managed *managed;

	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(ringlane_managed_start(disk.device, NULL, &managed, NULL), -EBUSY);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(ringlane_managed_start(disk.device, NULL, &managed, NULL), 0);
	ringlane_managed_free(managed);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0); /* the queues are the caller's again */
	test_disk_close(&disk);
}

static void test_stats_when_requests_were_done_then_they_add_up(void **state)
{
	const struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED };
	const struct ringlane_options four = { .queues = 4 };
	struct ringlane_managed_stats all;
	struct ringlane_queue_stats stats;
	struct ringlane_request requests[40];
	struct test_managed it;

	test_managed_open(&it, &honest, &four, &options);
	for (unsigned i = 0; i < 40; i++) {
		requests[i] = test_request(&it, RINGLANE_OP_READ, i);
		requests[i].queue = i < 30 ? 2 : 3;
	}
	assert_int_equal(ringlane_managed_submit(it.managed, requests, 40), 40);
	assert_int_equal(test_tally_wait(&it.tally, 40), 40);
	stats = test_queue_stats(&it, 2);
	assert_int_equal(stats.submitted, 30);
	assert_int_equal(stats.completed, 30);
	assert_int_equal(stats.batches, 1);
	assert_in_range(stats.kicks, 1, 1);
	assert_in_range(stats.interrupts, 1, 32);
	assert_in_range(stats.polls, 1, 100);
	assert_true(stats.active);
	assert_int_equal(test_queue_stats(&it, 3).submitted, 10);
	assert_int_equal(test_queue_stats(&it, 0).submitted, 0);
	ringlane_managed_get_stats(it.managed, &all);
	assert_int_equal(all.queues, 4);
	assert_int_equal(all.held, 0);
	assert_int_equal(ringlane_managed_get_queue_stats(it.managed, 4, &stats), -EINVAL);
	test_managed_close(&it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_request_when_written_then_it_reads_back),
		driver_test(test_requests_when_completed_in_another_order_then_each_is_told_once),
		driver_test(test_request_when_of_each_kind_then_it_arrives),
		driver_test(test_request_when_wrong_then_it_is_refused_and_the_others_are_not),
		driver_test(test_submit_when_a_queue_is_full_then_nothing_leaks),
		driver_test(test_callback_when_it_submits_then_the_slot_is_free_already),
		driver_test(test_callback_when_it_would_wait_for_itself_then_it_does_not),
		driver_test(test_stop_when_requests_are_in_flight_then_they_finish),
		driver_test(test_stop_when_the_device_finishes_nothing_then_all_is_cancelled_once),
		driver_test(test_device_when_gone_then_all_is_told_once),
		driver_test(test_device_when_gone_with_completions_then_the_rest_is_told_too),
		driver_test(test_ring_when_broken_just_now_then_another_queue_takes_the_request),
		driver_test(test_ring_when_broken_then_its_requests_wait_for_the_stop),
		driver_test(
			test_queues_when_their_cpus_are_given_then_reapers_and_requests_go_there),
		driver_test(test_queues_when_their_cpus_make_no_sense_then_it_says_so),
		driver_test(test_start_when_options_are_wrong_then_it_says_so),
		driver_test(test_start_when_requests_are_in_flight_then_busy),
		driver_test(test_stats_when_requests_were_done_then_they_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
