// SPDX-License-Identifier: MIT
/* Managed devices in trouble: each rung of the ladder, back ends that go and come back. */
#include "driver/keeper.h"
#include "driver/test_managed.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define COUNT 40

static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
static const struct ringlane_options impatient = { .queues = 1, .timeout_ms = 50 };
static const struct ringlane_options one = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

/* Late at once; the ladder is climbed by hand. */
static const struct ringlane_managed_options laddered = {
	.timeout_ns = 1,
	.step_ns = TEST_DEADLINE_MS * NS_PER_MS,
};

static void laddered_open(struct test_managed *it, const struct fake_setup *setup,
			  const struct ringlane_options *options)
{
	test_managed_open(it, setup, options, &laddered);
	test_ladder_take(it->managed);
}

/* So many rungs, and down again if that was enough. Returns how many requests are done. */
static unsigned climb(struct test_managed *it, unsigned rungs)
{
	for (unsigned i = 0; i < rungs; i++)
		test_ladder_climb(it->managed);
	test_ladder_leave(it->managed);
	return test_tally_wait(&it->tally, 0);
}

#define TO_POLL 1
#define TO_KICK 2
#define TO_RESET 3

static struct ringlane_managed_stats stats_of(struct test_managed *it)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(it->managed, &stats);
	return stats;
}

static void submit_count(struct test_managed *it, enum ringlane_op op, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct ringlane_request request = test_request(it, op, i);

		test_submit(it, &request);
	}
}

/* ---- the ladder ---- */

/* The reaper may look just before it would have slept, but not each time: until one was found by the ladder. */
static void test_call_when_lost_then_a_look_at_the_ring_finds_it(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_LOSES_CALL };
	uint64_t end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS;
	struct test_managed it;

	laddered_open(&it, &setup, &one);
	for (unsigned i = 1; i <= COUNT || (!stats_of(&it).late_polls && clock_ns() < end); i++) {
		submit_count(&it, RINGLANE_OP_READ, 1);
		test_until(climb(&it, TO_POLL) ==
			   i); /* the first look may be before the device is done */
	}
	assert_int_equal(it.tally.failed, 0);
	assert_true(stats_of(&it).late_polls >= 1);
	assert_int_equal(stats_of(&it).late_kicks, 0);
	test_managed_close(&it);
}

static void test_kick_when_lost_then_it_is_kicked_again(void **state)
{
	static const uint64_t features_off[] = { 0, 1ull << VIRTIO_RING_F_EVENT_IDX };

	for (unsigned i = 0; i < 2; i++) {
		const struct fake_setup setup = { .features_off = features_off[i],
						  .trick = FAKE_LOSES_KICK,
						  .tricks_max = 1 };
		struct test_managed it;

		laddered_open(&it, &setup, &one);
		submit_count(&it, RINGLANE_OP_WRITE, 1);
		test_until(climb(&it, TO_KICK) ==
			   1); /* two kicks may be one to the device, and lost */
		assert_int_equal(it.tally.failed, 0);
		assert_true(stats_of(&it).late_kicks >= 1);
		assert_int_equal(stats_of(&it).resets, 0);
		test_managed_close(&it);
	}
}

static void test_requests_when_dropped_then_reset_and_replayed(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS, .tricks_max = COUNT };
	struct test_managed it;

	laddered_open(&it, &setup, &two);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	test_until(fake_disk_taken(it.disk.fake) == COUNT);
	climb(&it, TO_RESET);
	assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(stats_of(&it).resets, 1);
	assert_int_equal(stats_of(&it).replayed, COUNT);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	assert_int_equal(test_tally_wait(&it.tally, 2 * COUNT), 2 * COUNT);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
}

/* A write must not happen twice unless its owner says so. */
static void test_write_when_dropped_then_etimedout_unless_replayable(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS, .tricks_max = 1 };

	for (unsigned i = 0; i < 2; i++) {
		struct ringlane_request request;
		struct test_managed it;

		laddered_open(&it, &setup, &one);
		request = test_request(&it, RINGLANE_OP_WRITE, 3);
		request.flags = i ? RINGLANE_REPLAYABLE : 0;
		memset(request.data, 0x77, 512);
		test_submit(&it, &request);
		test_until(fake_disk_taken(it.disk.fake) == 1);
		climb(&it, TO_RESET);
		assert_int_equal(test_tally_wait(&it.tally, 1), 1);
		assert_int_equal(it.tally.last, i ? 0 : -ETIMEDOUT);
		assert_int_equal(fake_disk_bytes(it.disk.fake)[3 * 512], i ? 0x77 : 0);
		assert_int_equal(stats_of(&it).resets, 1);
		test_managed_close(&it);
	}
}

/* Each replay is dropped too: it ends. */
static void test_request_when_dropped_for_ever_then_etimedout(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS };
	struct test_managed it;

	laddered_open(&it, &setup, &one);
	submit_count(&it, RINGLANE_OP_READ, 1);
	for (unsigned i = 0; i <= KEEPER_REPLAYS_MAX; i++) {
		assert_int_equal(stats_of(&it).replayed, i);
		climb(&it, TO_RESET);
	}
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(it.tally.last, -ETIMEDOUT);
	assert_int_equal(stats_of(&it).replayed, KEEPER_REPLAYS_MAX);
	test_managed_close(&it);
}

/* The device does not confirm that it stopped: nothing is given back until it has. */
static void test_device_when_it_does_not_stop_then_requests_are_zombies(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct ringlane_request request;
	struct test_managed it;

	it.disk = test_disk_open_hasty(&setup, &impatient);
	test_managed_start(&it, &laddered);
	test_ladder_take(it.managed);
	submit_count(&it, RINGLANE_OP_READ, 3);
	test_until(fake_disk_taken(it.disk.fake) == 3);
	assert_int_equal(climb(&it, TO_RESET), 0);
	assert_int_equal(stats_of(&it).zombies, 3);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -ETIMEDOUT);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 3), 3);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
}

/* ---- the back end goes and comes back ---- */

static const struct ringlane_managed_options reconnecting = {
	.reconnect_ms = TEST_DEADLINE_MS,
	.replay = RINGLANE_REPLAY_ALL,
};

static void test_back_end_when_it_dies_at_any_step_then_no_error_is_seen(void **state)
{
	static const enum fake_trick deaths[] = { FAKE_DIES_AT_KICK, FAKE_DIES, FAKE_DIES_DONE,
						  FAKE_DIES_TOLD };

	for (unsigned i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
		const struct fake_setup setup = { .trick = deaths[i],
						  .honest_first = i ? 7 : 0, /* kicks may be rare */
						  .tricks_max = 3 };
		struct test_managed it;

		test_managed_open(&it, &setup, &two, &reconnecting);
		memset(it.disk.buffer, 0x3c, 512 * COUNT);
		submit_count(&it, RINGLANE_OP_WRITE, COUNT);
		assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
		assert_int_equal(it.tally.failed, 0);
		for (unsigned n = 0; n < COUNT; n++)
			assert_int_equal(fake_disk_bytes(it.disk.fake)[512 * n], 0x3c);
		submit_count(&it, RINGLANE_OP_READ, COUNT);
		assert_int_equal(test_tally_wait(&it.tally, 2 * COUNT), 2 * COUNT);
		assert_int_equal(it.tally.failed, 0);
		test_until(stats_of(&it).reconnects >= 1);
		test_managed_close(&it);
	}
}

static void test_back_end_when_away_for_a_while_then_requests_wait(void **state)
{
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &reconnecting);
	fake_disk_set_trick(it.disk.fake, FAKE_DROPS);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	fake_disk_go_away(it.disk.fake);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	test_until(stats_of(&it).replayed >= 1);
	assert_int_equal(it.tally.done, 0);
	fake_disk_come_back(it.disk.fake, &(struct fake_setup){ 0 });
	assert_int_equal(test_tally_wait(&it.tally, 2 * COUNT), 2 * COUNT);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
}

static void test_write_when_back_end_dies_and_it_is_not_replayable_then_econnreset(void **state)
{
	const struct ringlane_managed_options options = { .reconnect_ms = TEST_DEADLINE_MS };
	const struct fake_setup setup = { .trick = FAKE_DIES, .tricks_max = 1 };
	struct test_managed it;

	test_managed_open(&it, &setup, &one, &options);
	submit_count(&it, RINGLANE_OP_WRITE, 1);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	assert_int_equal(it.tally.last, -ECONNRESET);
	submit_count(&it, RINGLANE_OP_WRITE, 1);
	assert_int_equal(test_tally_wait(&it.tally, 2), 2);
	assert_int_equal(it.tally.last, 0);
	test_managed_close(&it);
}

static void test_back_end_when_it_stays_away_then_econnreset_for_all(void **state)
{
	const struct ringlane_managed_options options = { .reconnect_ms = 30 };
	struct ringlane_request request;
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &options);
	fake_disk_set_trick(it.disk.fake, FAKE_DROPS);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	fake_disk_go_away(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
	assert_int_equal(it.tally.failed, COUNT);
	assert_int_equal(it.tally.last, -ECONNRESET);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	assert_int_equal(ringlane_managed_submit(it.managed, &request, 1), -ECONNRESET);
	test_managed_close(&it);
}

/* Stopping does not wait for a back end that may never come. */
static void test_stop_when_the_back_end_is_looked_for_then_it_ends(void **state)
{
	struct test_managed it;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &reconnecting);
	fake_disk_set_trick(it.disk.fake, FAKE_DROPS);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	fake_disk_go_away(it.disk.fake);
	test_until(stats_of(&it).replayed >= 1);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	ringlane_managed_stop(it.managed);
	assert_int_equal(it.tally.done, 2 * COUNT);
	assert_int_equal(it.tally.failed, 2 * COUNT);
	test_managed_close(&it);
}

static void test_ring_when_broken_and_it_may_be_mended_then_no_error_is_seen(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_NOT_OUTSTANDING, FAKE_TWICE,
						  FAKE_LENGTH, FAKE_INDEX_JUMPS };

	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		const struct fake_setup setup = { .trick = tricks[i],
						  .honest_first = 5,
						  .tricks_max = 1 };
		struct test_managed it;

		test_managed_open(&it, &setup, &one, &reconnecting);
		submit_count(&it, RINGLANE_OP_READ, COUNT);
		assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
		assert_int_equal(it.tally.failed, 0);
		assert_int_equal(stats_of(&it).resets, 1);
		test_managed_close(&it);
	}
}

/* ---- order ---- */

struct order {
	struct test_managed it;
	unsigned seen[COUNT], count;
};

struct step {
	struct order *order;
	unsigned number;
};

static void order_done(void *opaque, int result)
{
	struct step *step = opaque;
	struct order *order = step->order;

	order->seen[order->count++ % COUNT] = step->number;
	test_tally_done(&order->it.tally, result);
}

/* The first half is in the ring, the second is held; the fake finishes what it takes in the order of the ring. */
static void test_ordered_flow_when_replayed_then_it_keeps_its_order(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS };
	struct ringlane_flow *flow;
	struct step steps[COUNT];
	struct order order = { .count = 0 };

	test_managed_open(&order.it, &setup, &two, &reconnecting);
	flow = ringlane_flow_new(order.it.managed, RINGLANE_ORDERED);
	assert_non_null(flow);
	for (unsigned i = 0; i < COUNT; i++) {
		struct ringlane_request request =
			test_request(&order.it, RINGLANE_OP_READ, COUNT - i);

		if (i == COUNT / 2)
			fake_disk_go_away(order.it.disk.fake);
		steps[i] = (struct step){ &order, i };
		request.flow = flow;
		request.done = order_done;
		request.user_data = &steps[i];
		test_submit(&order.it, &request);
	}
	fake_disk_come_back(order.it.disk.fake, &(struct fake_setup){ 0 });
	assert_int_equal(test_tally_wait(&order.it.tally, COUNT), COUNT);
	assert_int_equal(order.it.tally.failed, 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(order.seen[i], i);
	ringlane_flow_free(flow);
	test_managed_close(&order.it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_call_when_lost_then_a_look_at_the_ring_finds_it),
		driver_test(test_kick_when_lost_then_it_is_kicked_again),
		driver_test(test_requests_when_dropped_then_reset_and_replayed),
		driver_test(test_write_when_dropped_then_etimedout_unless_replayable),
		driver_test(test_request_when_dropped_for_ever_then_etimedout),
		driver_test(test_device_when_it_does_not_stop_then_requests_are_zombies),
		driver_test(test_back_end_when_it_dies_at_any_step_then_no_error_is_seen),
		driver_test(test_back_end_when_away_for_a_while_then_requests_wait),
		driver_test(test_write_when_back_end_dies_and_it_is_not_replayable_then_econnreset),
		driver_test(test_back_end_when_it_stays_away_then_econnreset_for_all),
		driver_test(test_stop_when_the_back_end_is_looked_for_then_it_ends),
		driver_test(test_ring_when_broken_and_it_may_be_mended_then_no_error_is_seen),
		driver_test(test_ordered_flow_when_replayed_then_it_keeps_its_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
