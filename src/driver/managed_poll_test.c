// SPDX-License-Identifier: MIT
/*
 * Poll queues of managed devices: their completions are found by those who submit, and by a reaper when nobody looks and something
 * is wrong. Queue 0 has an interrupt, queue 1 is polled, unless it says otherwise.
 */
#include "driver/reaper.h"
#include "driver/test_managed.h"

#define COUNT 40
#define POLLED 1

static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
static const struct ringlane_managed_options one_polled = { .poll_queues = 1 };

static struct ringlane_managed_stats stats_of(struct test_managed *it)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(it->managed, &stats);
	return stats;
}

static void submit_polled(struct test_managed *it, enum ringlane_op op, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ringlane_request request = test_request(it, op, i);

		request.flags = RINGLANE_POLLED;
		test_submit(it, &request);
	}
}

/* Until the reapers have taken their first looks: a mode is answered after that, and another look. */
static void looks_over(struct test_managed *it)
{
	assert_int_equal(ringlane_managed_set_iopoll(it->managed, RINGLANE_IOPOLL_ADAPTIVE), 0);
}

/* Until so many are done in all. */
static void poll_until(struct test_managed *it, unsigned count)
{
	test_until((ringlane_managed_poll(it->managed), test_tally_wait(&it->tally, 0) >= count));
	assert_int_equal(test_tally_wait(&it->tally, 0), count);
}

/* ---- when all is well ---- */

struct visitor {
	struct test_tally *tally;
	pthread_t thread; /* of the last callback */
};

static void visitor_done(void *opaque, int result)
{
	struct visitor *visitor = opaque;

	visitor->thread = pthread_self();
	test_tally_done(visitor->tally, result);
}

static void test_polled_request_when_done_then_its_poller_calls_back(void **state)
{
	struct test_managed it;
	struct visitor visitor = { .tally = &it.tally };
	struct ringlane_request request;
	uint64_t interrupts;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &one_polled);
	looks_over(&it);
	interrupts = test_queue_stats(&it, POLLED).interrupts;
	for (unsigned i = 1; i <= COUNT; i++) {
		request = test_request(&it, RINGLANE_OP_READ, i);
		request.flags = RINGLANE_POLLED;
		request.done = visitor_done;
		request.user_data = &visitor;
		test_submit(&it, &request);
		test_until(fake_disk_taken(it.disk.fake) == i);
		assert_int_equal(test_tally_wait(&it.tally, 0), i - 1);
		poll_until(&it, i);
		assert_true(pthread_equal(visitor.thread, pthread_self()));
	}
	assert_int_equal(test_queue_stats(&it, POLLED).submitted, COUNT);
	assert_int_equal(test_queue_stats(&it, POLLED).completed, COUNT);
	assert_int_equal(test_queue_stats(&it, POLLED).interrupts, interrupts);
	assert_true(test_queue_stats(&it, POLLED).polls >= COUNT);
	assert_int_equal(ringlane_managed_poll(it.managed), 0);
	test_managed_close(&it);
}

static void test_requests_when_of_both_kinds_then_each_has_its_queues(void **state)
{
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &one_polled);
	assert_int_equal(stats_of(&it).poll_queues, 1);
	assert_false(test_queue_stats(&it, 0).polled);
	assert_true(test_queue_stats(&it, POLLED).polled);
	memset(it.disk.buffer, 0x5e, 512 * COUNT);
	submit_polled(&it, RINGLANE_OP_WRITE, COUNT);
	poll_until(&it, COUNT);
	memset(it.disk.buffer, 0, 512 * COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		struct ringlane_request request = test_request(&it, RINGLANE_OP_READ, i);

		test_submit(&it, &request);
	}
	assert_int_equal(test_tally_wait(&it.tally, 2 * COUNT), 2 * COUNT); /* without a poll */
	assert_int_equal(it.tally.failed, 0);
	for (unsigned i = 0; i < 512 * COUNT; i++)
		assert_int_equal(it.disk.buffer[i], 0x5e);
	assert_int_equal(test_queue_stats(&it, 0).submitted, COUNT);
	assert_int_equal(test_queue_stats(&it, POLLED).submitted, COUNT);
	test_managed_close(&it);
}

static void test_polled_request_when_there_are_no_poll_queues_then_as_any_other(void **state)
{
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, NULL);
	submit_polled(&it, RINGLANE_OP_READ, COUNT);
	assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
	assert_int_equal(ringlane_managed_poll(it.managed), 0);
	test_managed_close(&it);
}

/* The same CPU's queue is full: the next one takes it, and is polled as well. */
static void test_poll_queues_when_one_is_full_then_the_next_is_used(void **state)
{
	const struct ringlane_options three = { .queues = 3,
						.queue_size = 8,
						.timeout_ms = TEST_DEADLINE_MS };
	const struct ringlane_managed_options options = { .poll_queues = 2 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct ringlane_request request;
	struct test_managed it;
	unsigned accepted = 0;

	test_managed_open(&it, &setup, &three, &options);
	do {
		request = test_request(&it, RINGLANE_OP_READ, accepted);
		request.flags = RINGLANE_POLLED;
	} while (ringlane_managed_submit(it.managed, &request, 1) == 1 && ++accepted < 100);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -EAGAIN);
	assert_true(test_queue_stats(&it, 1).submitted > 0);
	assert_true(test_queue_stats(&it, 2).submitted > 0);
	assert_int_equal(test_queue_stats(&it, 0).submitted, 0);
	test_until(fake_disk_taken(it.disk.fake) == accepted);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	poll_until(&it, accepted);
	test_managed_close(&it);
}

/* To the n-th CPU that we may use. False: there are not so many. */
static bool move_to(const cpu_set_t *mine, unsigned n)
{
	unsigned cpu = 0;
	cpu_set_t there;

	while (cpu < CPU_SETSIZE && (!CPU_ISSET(cpu, mine) || n--))
		cpu++;
	if (cpu == CPU_SETSIZE)
		return false;
	CPU_ZERO(&there);
	CPU_SET(cpu, &there);
	return sched_setaffinity(0, sizeof(there), &there) == 0;
}

/* Whoever has moved finds something in its new queue at each look, and what it left behind all the same. */
static void test_poller_when_it_has_moved_then_the_old_queue_is_not_forgotten(void **state)
{
	const struct ringlane_options three = { .queues = 3, .timeout_ms = TEST_DEADLINE_MS };
	const struct ringlane_managed_options options = { .poll_queues = 2 };
	struct ringlane_request request;
	struct test_managed it;
	struct test_tally old;
	cpu_set_t mine;

	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	if (CPU_COUNT(&mine) < 2)
		skip();
	test_managed_open(&it, &(struct fake_setup){ 0 }, &three, &options);
	for (unsigned i = 0; i < it.managed->reaper_count; i++) /* their first looks */
		reaper_park(&it.managed->reapers[i]);
	test_tally_init(&old);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	request.flags = RINGLANE_POLLED;
	request.user_data = &old;
	assert_true(move_to(&mine, 0));
	test_submit(&it, &request);
	assert_true(move_to(&mine, 1));
	request.user_data = &it.tally;
	for (unsigned i = 1; i <= COUNT; i++) {
		test_submit(&it, &request);
		test_until(virtq_driver_has_work(&it.managed->queues[1].queue->ring) +
				   virtq_driver_has_work(&it.managed->queues[2].queue->ring) ==
			   1 + !test_tally_wait(&old, 0));
		assert_true(ringlane_managed_poll(it.managed) >= 1);
	}
	assert_int_equal(test_tally_wait(&old, 0), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(mine), &mine), 0);
	test_until((ringlane_managed_poll(it.managed), test_tally_wait(&it.tally, 0)) == COUNT);
	for (unsigned i = 0; i < it.managed->reaper_count; i++)
		reaper_unpark(&it.managed->reapers[i]);
	test_managed_close(&it);
}

static void test_start_when_no_interrupt_queue_would_be_left_then_einval(void **state)
{
	struct ringlane_managed_options options = { .poll_queues = 2 };
	struct ringlane_managed *managed;
	struct ringlane_error error;
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &two);

	assert_int_equal(ringlane_managed_start(disk.device, &options, &managed, &error), -EINVAL);
	assert_non_null(strstr(error.text, "at least one must have an interrupt"));
	test_disk_close(&disk);
}

/* Polling is switched for queues with interrupts; it does not wait for the others. */
static void test_iopoll_when_switched_then_poll_queues_stay_what_they_are(void **state)
{
	static const enum ringlane_iopoll modes[] = { RINGLANE_IOPOLL_OFF, RINGLANE_IOPOLL_ADAPTIVE,
						      RINGLANE_IOPOLL_ON };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_managed it;

	test_managed_open(&it, &setup, &two, &one_polled);
	submit_polled(&it, RINGLANE_OP_READ, COUNT);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ringlane_managed_set_iopoll(it.managed, modes[i]), 0);
		assert_int_equal(it.managed->queues[POLLED].source.mode, IOPOLL_ON);
	}
	test_until(fake_disk_taken(it.disk.fake) == COUNT);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	poll_until(&it, COUNT);
	test_managed_close(&it);
}

/* ---- when nobody polls ---- */

static const struct ringlane_managed_options laddered = {
	.poll_queues = 1,
	.timeout_ns = 1,
	.step_ns = TEST_DEADLINE_MS * NS_PER_MS,
};

/* The first rung, again and again: the device, or the reaper, may take its time. */
static void late_look(struct test_managed *it)
{
	test_ladder_leave(it->managed);
	test_ladder_climb(it->managed);
}

static void test_request_when_late_and_nobody_polls_then_the_ladder_finds_it(void **state)
{
	/* each with the rung that helps: a look, a kick, a reset */
	static const enum fake_trick tricks[] = { FAKE_HONEST, FAKE_LOSES_KICK, FAKE_DROPS };

	for (unsigned i = 0; i < 3; i++) {
		const struct fake_setup setup = { .trick = tricks[i], .tricks_max = 1 };
		struct ringlane_managed_stats stats;
		struct test_managed it;

		test_managed_open(&it, &setup, &two, &laddered);
		looks_over(&it);
		test_ladder_take(it.managed);
		submit_polled(&it, RINGLANE_OP_READ, 1);
		test_until(fake_disk_taken(it.disk.fake) || fake_disk_tricks(it.disk.fake));
		for (unsigned rung = 0; rung <= i; rung++)
			test_ladder_climb(it.managed);
		test_until((late_look(&it), test_tally_wait(&it.tally, 0)) == 1);
		assert_int_equal(it.tally.last, 0);
		stats = stats_of(&it);
		assert_true(stats.late_polls >= 1);
		assert_true(stats.late_kicks >= (i > 0));
		assert_true(stats.resets >= (i > 1));
		test_ladder_leave(it.managed);
		submit_polled(&it, RINGLANE_OP_READ, COUNT);
		poll_until(&it, 1 + COUNT);
		test_managed_close(&it);
	}
}

static void test_stop_when_nobody_polls_then_what_is_in_flight_is_done(void **state)
{
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &one_polled);
	submit_polled(&it, RINGLANE_OP_READ, COUNT);
	assert_int_equal(ringlane_managed_stop(it.managed), 0);
	assert_int_equal(test_tally_wait(&it.tally, 0), COUNT);
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(ringlane_managed_poll(it.managed), 0);
	test_managed_close(&it);
}

/* A callback on a poller's thread that goes on while the device stops. */
struct slow_caller {
	struct test_managed it;
	bool entered, stopped, was_early; /* atomic */
	int refusals[2];                  /* of functions that wait for callbacks */
};

#define LOOKS 20 /* of a reaper that is asked whether all is done */

static void slow_done(void *opaque, int result)
{
	struct slow_caller *slow = opaque;
	const uint64_t *looks = &slow->it.managed->queues[POLLED].source.counts.polls;
	uint64_t end;

	slow->refusals[0] = ringlane_managed_stop(slow->it.managed);
	slow->refusals[1] = ringlane_prepare_offline(slow->it.managed, 0, 0);
	store_release(&slow->entered, true);
	test_until(load_relaxed(&slow->it.managed->stopping));
	end = load_relaxed(looks) + LOOKS;
	test_until(load_relaxed(looks) >= end || load_acquire(&slow->stopped));
	store_relaxed(&slow->was_early, load_acquire(&slow->stopped));
	test_tally_done(&slow->it.tally, result);
}

static void *slow_poll(void *opaque)
{
	struct slow_caller *slow = opaque;

	while (!load_acquire(&slow->entered))
		ringlane_managed_poll(slow->it.managed);
	return NULL;
}

static void test_stop_when_a_poller_calls_back_then_it_is_waited_for(void **state)
{
	const struct ringlane_managed_options options = { .poll_queues = 1,
							  .stop_ms = TEST_DEADLINE_MS };
	struct slow_caller slow = { .entered = false };
	struct ringlane_request request;
	pthread_t poller;

	test_managed_open(&slow.it, &(struct fake_setup){ 0 }, &two, &options);
	reaper_park(&slow.it.managed->reapers[0]); /* its first look */
	for (unsigned i = 0; i < 2; i++) {
		request = test_request(&slow.it, RINGLANE_OP_READ, i);
		request.flags = RINGLANE_POLLED;
		if (i == 0)
			request.done = slow_done, request.user_data = &slow;
		test_submit(&slow.it, &request);
	}
	test_until(fake_disk_taken(slow.it.disk.fake) == 2);
	assert_int_equal(pthread_create(&poller, NULL, slow_poll, &slow), 0);
	test_until(load_acquire(&slow.entered));
	reaper_unpark(&slow.it.managed->reapers[0]);
	assert_int_equal(ringlane_managed_stop(slow.it.managed), 0);
	store_release(&slow.stopped, true);
	assert_int_equal(test_tally_wait(&slow.it.tally, 0), 2);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_false(slow.was_early);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(slow.refusals[i], -EDEADLK);
	test_managed_close(&slow.it);
}

static void test_stop_when_the_device_does_not_finish_then_each_is_cancelled_once(void **state)
{
	const struct ringlane_managed_options options = { .poll_queues = 1, .stop_ms = 10 };
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ .trick = FAKE_DROPS }, &two, &options);
	submit_polled(&it, RINGLANE_OP_READ, COUNT);
	assert_int_equal(ringlane_managed_stop(it.managed), -ECANCELED);
	assert_int_equal(test_tally_wait(&it.tally, 0), COUNT);
	assert_int_equal(it.tally.failed, COUNT);
	test_managed_close(&it);
}

/* ---- when the device is in trouble ---- */

static const struct ringlane_managed_options reconnecting = {
	.poll_queues = 1,
	.reconnect_ms = TEST_DEADLINE_MS,
	.replay = RINGLANE_REPLAY_ALL,
};

static void test_back_end_when_it_dies_at_any_step_then_pollers_see_no_error(void **state)
{
	static const enum fake_trick deaths[] = { FAKE_DIES_AT_KICK, FAKE_DIES, FAKE_DIES_DONE,
						  FAKE_DIES_TOLD };

	for (unsigned i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
		const struct fake_setup setup = { .trick = deaths[i],
						  .honest_first = i ? 7 : 0,
						  .tricks_max = 3 };
		struct test_managed it;

		test_managed_open(&it, &setup, &two, &reconnecting);
		submit_polled(&it, RINGLANE_OP_WRITE, COUNT);
		poll_until(&it, COUNT);
		submit_polled(&it, RINGLANE_OP_READ, COUNT);
		poll_until(&it, 2 * COUNT);
		assert_int_equal(it.tally.failed, 0);
		test_until(stats_of(&it).reconnects >= 1);
		test_managed_close(&it);
	}
}

static void test_poll_queue_when_broken_and_it_may_be_mended_then_no_error_is_seen(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_NOT_OUTSTANDING, FAKE_TWICE,
						  FAKE_LENGTH, FAKE_INDEX_JUMPS };

	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		const struct fake_setup setup = { .trick = tricks[i],
						  .honest_first = 5,
						  .tricks_max = 1 };
		struct test_managed it;

		test_managed_open(&it, &setup, &two, &reconnecting);
		submit_polled(&it, RINGLANE_OP_READ, COUNT);
		poll_until(&it, COUNT);
		assert_int_equal(it.tally.failed, 0);
		test_until((ringlane_managed_poll(it.managed), stats_of(&it).resets) == 1);
		test_managed_close(&it);
	}
}

/* The other class lives; what the broken ring had is told when it is certain that the device has let go. */
static void test_poll_queue_when_broken_for_good_then_eproto_and_the_others_live(void **state)
{
	const struct ringlane_managed_options options = { .poll_queues = 1, .stop_ms = 10 };
	const struct fake_setup setup = { .trick = FAKE_BAD_ID, .tricks_max = 1 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &setup, &two, &options);
	submit_polled(&it, RINGLANE_OP_READ, 1);
	test_until((ringlane_managed_poll(it.managed), !test_queue_stats(&it, POLLED).active));
	request = test_request(&it, RINGLANE_OP_READ, 1);
	request.flags = RINGLANE_POLLED;
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -EPROTO);
	request.flags = 0;
	test_submit(&it, &request);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(it.tally.last, 0);
	ringlane_managed_stop(it.managed);
	assert_int_equal(test_tally_wait(&it.tally, 0), 2);
	test_managed_close(&it);
}

static void test_device_when_gone_then_polled_requests_are_told_once(void **state)
{
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ .trick = FAKE_DROPS }, &two, &one_polled);
	submit_polled(&it, RINGLANE_OP_READ, COUNT);
	test_until(fake_disk_taken(it.disk.fake) == COUNT);
	fake_disk_hang_up(it.disk.fake);
	poll_until(&it, COUNT);
	assert_int_equal(it.tally.failed, COUNT);
	assert_int_equal(it.tally.last, -ECONNRESET);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	request.flags = RINGLANE_POLLED;
	test_until(ringlane_managed_submit(it.managed, &request, 1) == -ECONNRESET);
	test_managed_close(&it);
}

/* Whoever is called back by a poller while the keeper begins a recovery. */
static void pause_done(void *opaque, int result)
{
	struct test_managed *it = opaque;
	struct managed_queue *mq = &it->managed->queues[POLLED];

	pthread_mutex_lock(&mq->lock);
	mq->paused = true;
	pthread_mutex_unlock(&mq->lock);
	test_tally_done(&it->tally, result);
}

/* Looks at the socket are far between: with the CPU for others after each poll they would not come for minutes. */
static void poll_often(struct test_managed *it)
{
	for (unsigned i = 0; i < 1000; i++)
		ringlane_managed_poll(it->managed);
}

/* The keeper has the ring from then on: what the poller has not taken is not its to end. */
static void
test_device_when_gone_and_recovery_begins_then_pollers_leave_the_ring_alone(void **state)
{
	const struct ringlane_options large = { .queues = 2,
						.queue_size = 1024,
						.timeout_ms = TEST_DEADLINE_MS };
	struct ringlane_request request;
	struct managed_queue *mq;
	struct test_managed it;
	unsigned count = MANAGED_WEIGHT_MAX + COUNT;

	test_managed_open(&it, &(struct fake_setup){ .trick = FAKE_DROPS }, &large, &one_polled);
	mq = &it.managed->queues[POLLED];
	reaper_park(mq->reaper);
	for (unsigned i = 0; i < count; i++) {
		request = test_request(&it, RINGLANE_OP_READ, i);
		request.flags = RINGLANE_POLLED;
		request.done = pause_done;
		request.user_data = &it;
		test_submit(&it, &request);
	}
	test_until(fake_disk_taken(it.disk.fake) == count);
	fake_disk_hang_up(it.disk.fake);
	test_until((poll_often(&it), test_tally_wait(&it.tally, 0)) > 0);
	assert_int_equal(test_tally_wait(&it.tally, 0), MANAGED_WEIGHT_MAX);
	assert_int_equal(mq->used, COUNT);
	mq->paused = false;
	reaper_unpark(mq->reaper);
	assert_int_equal(test_tally_wait(&it.tally, count), count);
	assert_int_equal(it.tally.last, -ECONNRESET);
	test_managed_close(&it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_polled_request_when_done_then_its_poller_calls_back),
		driver_test(test_requests_when_of_both_kinds_then_each_has_its_queues),
		driver_test(test_polled_request_when_there_are_no_poll_queues_then_as_any_other),
		driver_test(test_poll_queues_when_one_is_full_then_the_next_is_used),
		driver_test(test_poller_when_it_has_moved_then_the_old_queue_is_not_forgotten),
		driver_test(test_start_when_no_interrupt_queue_would_be_left_then_einval),
		driver_test(test_iopoll_when_switched_then_poll_queues_stay_what_they_are),
		driver_test(test_request_when_late_and_nobody_polls_then_the_ladder_finds_it),
		driver_test(test_stop_when_nobody_polls_then_what_is_in_flight_is_done),
		driver_test(test_stop_when_a_poller_calls_back_then_it_is_waited_for),
		driver_test(test_stop_when_the_device_does_not_finish_then_each_is_cancelled_once),
		driver_test(test_back_end_when_it_dies_at_any_step_then_pollers_see_no_error),
		driver_test(test_poll_queue_when_broken_and_it_may_be_mended_then_no_error_is_seen),
		driver_test(test_poll_queue_when_broken_for_good_then_eproto_and_the_others_live),
		driver_test(test_device_when_gone_then_polled_requests_are_told_once),
		driver_test(
			test_device_when_gone_and_recovery_begins_then_pollers_leave_the_ring_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
