// SPDX-License-Identifier: MIT
/*
 * The rung that resets a queue alone. The fake disk's transport gets the function that it lacks: what GET_VRING_BASE does to one
 * ring is what VIRTIO_F_RING_RESET promises.
 */
#include "driver/device.h"
#include "driver/test_managed.h"

#include <linux/virtio_config.h>

#define COUNT 10

struct rig {
	struct test_managed it;
	struct transport_ops ops;
	struct test_tally other; /* of queue 1 */
	struct test_tally
		meanwhile; /* of what came for queue 0 while it was reset: held, or done by the other */
	unsigned resets; /* of the queue */
	bool works;
};

static struct rig
	*the_rig; /* of the test that runs: the transport's functions have no other way to it */

static struct ringlane_request request_make(enum ringlane_op op, unsigned queue, unsigned sector)
{
	struct ringlane_request request = test_request(&the_rig->it, op, sector);

	request.queue = queue;
	if (queue == 1)
		request.user_data = &the_rig->other;
	return request;
}

static void submit(enum ringlane_op op, unsigned queue, unsigned sector)
{
	const struct ringlane_request request = request_make(op, queue, sector);

	test_submit(&the_rig->it, &request);
}

/* While it goes on the other queue works, and requests for this one are accepted. */
static int queue_reset(struct transport *transport, unsigned index, struct error *error)
{
	struct ringlane_request request;

	assert_int_equal(index, 0);
	the_rig->resets++;
	submit(RINGLANE_OP_READ, 1, 100);
	assert_int_equal(test_tally_wait(&the_rig->other, 1), 1);
	request = request_make(RINGLANE_OP_READ, 0, 101);
	request.user_data = &the_rig->meanwhile;
	test_submit(&the_rig->it, &request);
	assert_int_equal(test_tally_wait(&the_rig->it.tally, 0), 0);
	if (!the_rig->works)
		return error_set(error, -ETIMEDOUT, "the queue does not stop");
	return transport->ops->queue_stop(transport, index, error);
}

static void rig_open(struct rig *rig, const struct fake_setup *setup, bool works, bool negotiated)
{
	static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
	static const struct ringlane_managed_options options = {
		.policy = RINGLANE_POLICY_PICKED,
		.reapers = 2,
		.timeout_ns = 1,
		.step_ns = TEST_DEADLINE_MS * NS_PER_MS,
	};
	struct ringlane_device *device;

	*rig = (struct rig){ .works = works };
	the_rig = rig;
	rig->it.disk = test_disk_open(setup, &two);
	device = rig->it.disk.device;
	rig->ops = *device->transport->ops;
	rig->ops.queue_reset = queue_reset;
	device->transport->ops = &rig->ops;
	if (negotiated)
		device->info.features_acked |= 1ull << VIRTIO_F_RING_RESET;
	test_tally_init(&rig->other);
	test_tally_init(&rig->meanwhile);
	test_managed_start(&rig->it, &options);
	test_ladder_take(rig->it.managed);
}

static struct ringlane_managed_stats stats_of(const struct rig *rig)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(rig->it.managed, &stats);
	return stats;
}

/* Queue 0 loses its first requests: reads, and one write. Then the rungs up to the one that is tested. */
static void trouble_make(struct rig *rig)
{
	memset(rig->it.disk.buffer, 0x77, 512 * COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		submit(i ? RINGLANE_OP_READ : RINGLANE_OP_WRITE, 0, i);
	test_until(fake_disk_taken(rig->it.disk.fake) == COUNT);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(test_tally_wait(&rig->it.tally, 0), 0);
		test_ladder_climb(rig->it.managed);
	}
}

static const struct fake_setup drops = { .trick = FAKE_DROPS, .tricks_max = COUNT };

static void test_queue_when_reset_alone_then_the_other_one_runs_on(void **state)
{
	struct rig rig;

	rig_open(&rig, &drops, true, true);
	trouble_make(&rig);
	assert_int_equal(test_tally_wait(&rig.it.tally, COUNT), COUNT);
	assert_int_equal(test_tally_wait(&rig.meanwhile, 1), 1);
	assert_int_equal(rig.meanwhile.failed, 0);
	assert_int_equal(rig.it.tally.failed, 1); /* the write: late, and not done twice */
	assert_int_equal(fake_disk_bytes(rig.it.disk.fake)[0], 0);
	assert_int_equal(rig.resets, 1);
	assert_int_equal(stats_of(&rig).queue_resets, 1);
	assert_int_equal(stats_of(&rig).replayed, COUNT - 1);
	assert_int_equal(stats_of(&rig).resets, 0);
	test_ladder_leave(rig.it.managed);
	for (unsigned i = 0; i < COUNT; i++)
		submit(RINGLANE_OP_READ, i % 2, i);
	assert_int_equal(test_tally_wait(&rig.it.tally, COUNT + COUNT / 2), COUNT + COUNT / 2);
	assert_int_equal(test_tally_wait(&rig.other, 1 + COUNT / 2), 1 + COUNT / 2);
	assert_int_equal(rig.it.tally.failed + rig.other.failed, 1);
	test_managed_close(&rig.it);
}

/* Nothing is given back that was not let go of; the device is next. */
static void test_queue_when_it_does_not_stop_then_the_device_is_reset(void **state)
{
	struct rig rig;

	rig_open(&rig, &drops, false, true);
	trouble_make(&rig);
	assert_int_equal(stats_of(&rig).queue_resets, 0);
	assert_int_equal(stats_of(&rig).replayed, 0);
	test_ladder_climb(rig.it.managed);
	assert_int_equal(test_tally_wait(&rig.it.tally, COUNT), COUNT);
	assert_int_equal(test_tally_wait(&rig.meanwhile, 1), 1);
	assert_int_equal(rig.meanwhile.failed, 0);
	assert_int_equal(rig.it.tally.failed, 1);
	assert_int_equal(rig.resets, 1);
	assert_int_equal(stats_of(&rig).resets, 1);
	test_managed_close(&rig.it);
}

static void test_queue_when_that_is_not_negotiated_then_the_device_is_reset(void **state)
{
	struct rig rig;

	rig_open(&rig, &drops, true, false);
	trouble_make(&rig);
	assert_int_equal(test_tally_wait(&rig.it.tally, COUNT), COUNT);
	assert_int_equal(rig.resets, 0);
	assert_int_equal(stats_of(&rig).resets, 1);
	test_managed_close(&rig.it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_queue_when_reset_alone_then_the_other_one_runs_on),
		driver_test(test_queue_when_it_does_not_stop_then_the_device_is_reset),
		driver_test(test_queue_when_that_is_not_negotiated_then_the_device_is_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
