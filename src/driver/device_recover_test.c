// SPDX-License-Identifier: MIT
/* Reset and reconnect, with a device that hangs, dies at every step, comes back changed, or does not let go. */
#include "driver/test_disk.h"

#include "base/compiler.h"

#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>

#define COUNT 5
#define TURNS_MAX 20

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };
static const struct ringlane_options impatient = { .queues = 1, .timeout_ms = 50 };

/* Requests with user_data 1 to count, each 512 bytes of its own. */
static void reads_submit(struct test_disk *disk, unsigned count)
{
	for (uintptr_t i = 1; i <= count; i++)
		assert_int_equal(ringlane_read(disk->queue, disk->buffer + i * 512, 512, i * 512,
					       (void *)i),
				 0);
	ringlane_submit(disk->queue);
}

/* They come out, in order, with that result, and nothing else does. */
static void expect_returned(struct test_disk *disk, unsigned first, unsigned last, int result)
{
	struct ringlane_completion completions[COUNT + 1];
	unsigned count = last - first + 1;

	assert_int_equal(ringlane_wait(disk->queue, completions, count, COUNT + 1, 0, 0), count);
	for (unsigned i = 0; i < count; i++) {
		assert_ptr_equal(completions[i].user_data, (void *)(uintptr_t)(first + i));
		assert_int_equal(completions[i].result, result);
	}
	assert_int_equal(ringlane_queue_in_flight(disk->queue), 0);
	assert_int_equal(ringlane_reap(disk->queue, completions, 1), 0);
}

static void reset_ok(struct test_disk *disk)
{
	struct ringlane_error error;

	if (ringlane_reset(disk->device, &error) < 0)
		fail_msg("reset: %s", error.text);
}

static void reconnect_ok(struct test_disk *disk)
{
	struct ringlane_error error;

	if (ringlane_reconnect(disk->device, TEST_DEADLINE_MS, &error) < 0)
		fail_msg("reconnect: %s", error.text);
}

/* More requests than the ring has entries, each with data of its own. */
static void expect_works(struct test_disk *disk)
{
	uint8_t *other = disk->buffer + 65536;

	for (unsigned i = 0; i < 300; i++) {
		uint64_t offset = i % 100 * 4096;

		memset(disk->buffer, (int)(i + 1), 4096);
		assert_int_equal(ringlane_write(disk->queue, disk->buffer, 4096, offset, NULL), 0);
		assert_int_equal(test_finish(disk, 1), 0);
		assert_int_equal(ringlane_read(disk->queue, other, 4096, offset, NULL), 0);
		assert_int_equal(test_finish(disk, 1), 0);
		assert_memory_equal(other, disk->buffer, 4096);
	}
}

typedef unsigned figure_fn(const struct fake_disk *fake);

static void wait_figure(const struct test_disk *disk, figure_fn *figure, unsigned count)
{
	struct pollfd none;

	for (unsigned i = 0; i < TEST_DEADLINE_MS && figure(disk->fake) < count; i++)
		poll(&none, 0, 1);
	assert_int_equal(figure(disk->fake), count);
}

static void wait_taken(const struct test_disk *disk, unsigned count)
{
	wait_figure(disk, fake_disk_taken, count);
}

/* ---- reset ---- */

static void test_reset_when_requests_are_dropped_then_ecanceled_and_it_works_again(void **state)
{
	static const uint64_t features_off[] = { 0, 1ull << VIRTIO_RING_F_EVENT_IDX,
						 1ull << VIRTIO_RING_F_INDIRECT_DESC };

	for (unsigned i = 0; i < sizeof(features_off) / sizeof(features_off[0]); i++) {
		const struct fake_setup setup = { .features_off = features_off[i],
						  .trick = FAKE_DROPS,
						  .tricks_max = COUNT };
		struct test_disk disk = test_disk_open(&setup, &one_queue);

		reads_submit(&disk, COUNT);
		wait_taken(&disk, COUNT);
		reset_ok(&disk);
		assert_int_equal(ringlane_queue_in_flight(disk.queue), COUNT);
		expect_returned(&disk, 1, COUNT, -ECANCELED);
		expect_works(&disk);
		test_disk_close(&disk);
	}
}

/* Two are queued and not even submitted. */
static void test_reset_when_some_are_finished_then_those_keep_their_result(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS, .honest_first = 2, .tricks_max = 1 };
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	struct ringlane_completion completions[COUNT];

	reads_submit(&disk, 3);
	wait_taken(&disk, 3);
	for (uintptr_t i = 4; i <= COUNT; i++)
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, (void *)i), 0);
	reset_ok(&disk);
	for (unsigned i = 0; i < COUNT; i++) { /* one at a time */
		assert_int_equal(ringlane_reap(disk.queue, &completions[i], 1), 1);
		assert_ptr_equal(completions[i].user_data, (void *)(uintptr_t)(i + 1));
		assert_int_equal(completions[i].result, i < 2 ? 0 : -ECANCELED);
	}
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 0);
	expect_works(&disk);
	test_disk_close(&disk);
}

static void test_reset_when_repeated_before_reaping_then_each_comes_once(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS };
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	struct ringlane_completion completion;

	reads_submit(&disk, COUNT);
	reset_ok(&disk);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 1);
	assert_ptr_equal(completion.user_data, (void *)1);
	reset_ok(&disk);
	fake_disk_set_trick(disk.fake, FAKE_HONEST);
	/* Those that came back are before what is submitted now. */
	assert_int_equal(ringlane_flush(disk.queue, (void *)77), 0);
	ringlane_submit(disk.queue);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), COUNT);
	assert_int_equal(ringlane_queue_arm(disk.queue), 1);
	for (uintptr_t i = 2; i <= COUNT; i++) {
		assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 1);
		assert_ptr_equal(completion.user_data, (void *)i);
		assert_int_equal(completion.result, -ECANCELED);
	}
	assert_int_equal(ringlane_wait(disk.queue, &completion, 1, 1, TEST_DEADLINE_MS, 0), 1);
	assert_ptr_equal(completion.user_data, (void *)77);
	assert_int_equal(completion.result, 0);
	test_disk_close(&disk);
}

static void test_reset_when_a_kick_was_lost_then_it_works_again(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_LOSES_KICK, .tricks_max = 1 };
	struct test_disk disk = test_disk_open(&setup, &one_queue);

	reads_submit(&disk, COUNT);
	wait_figure(&disk, fake_disk_tricks, 1);
	reset_ok(&disk);
	expect_returned(&disk, 1, COUNT, -ECANCELED);
	expect_works(&disk);
	test_disk_close(&disk);
}

static void test_reset_when_the_ring_was_broken_then_it_works_again(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_NOT_OUTSTANDING, FAKE_TWICE,
						  FAKE_LENGTH, FAKE_INDEX_JUMPS };

	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		const struct fake_setup setup = { .trick = tricks[i], .tricks_max = 1 };
		struct test_disk disk = test_disk_open(&setup, &one_queue);
		struct ringlane_completion completions[2];
		int got = 0, ret;

		reads_submit(&disk, 2);
		do {
			ret = ringlane_wait(disk.queue, completions, 1, 1, TEST_DEADLINE_MS, 0);
			got += MAX(ret, 0);
		} while (ret > 0);
		assert_int_equal(ret, -EPROTO);
		reset_ok(&disk);
		assert_int_equal(ringlane_reap(disk.queue, completions, 2), 2 - got);
		assert_int_equal(completions[0].result, -ECANCELED);
		expect_works(&disk);
		test_disk_close(&disk);
	}
}

static void test_reset_when_there_are_several_queues_then_each_is_new(void **state)
{
	const struct ringlane_options options = { .queues = 4, .timeout_ms = TEST_DEADLINE_MS };
	const struct fake_setup setup = { .trick = FAKE_DROPS, .tricks_max = 4 };
	struct test_disk disk = test_disk_open(&setup, &options);

	for (unsigned i = 0; i < 4; i++) {
		disk.queue = ringlane_queue_get(disk.device, i);
		reads_submit(&disk, 1);
	}
	wait_taken(&disk, 4);
	reset_ok(&disk);
	for (unsigned i = 0; i < 4; i++) {
		disk.queue = ringlane_queue_get(disk.device, i);
		expect_returned(&disk, 1, 1, -ECANCELED);
		expect_works(&disk);
	}
	test_disk_close(&disk);
}

/* Nothing is given back: the device may still write. When it does so properly after all, that counts. */
static void test_reset_when_stop_is_not_confirmed_then_requests_stay(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_disk disk = test_disk_open_hasty(&setup, &impatient);
	struct ringlane_completion completion;

	reads_submit(&disk, COUNT);
	wait_taken(&disk, COUNT);
	assert_int_equal(ringlane_reset(disk.device, NULL), -ETIMEDOUT);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 0);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), COUNT);
	assert_int_equal(ringlane_reset(disk.device, NULL), -ETIMEDOUT);
	assert_int_equal(ringlane_reconnect(disk.device, 30, NULL), -ETIMEDOUT);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 0);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), COUNT);
	fake_disk_set_trick(disk.fake, FAKE_HONEST);
	fake_disk_release(disk.fake);
	reconnect_ok(&disk);
	expect_returned(&disk, 1, COUNT, 0);
	expect_works(&disk);
	test_disk_close(&disk);
}

/* ---- reconnect ---- */

/* Until the queue says that its device is gone; completions before that are counted. */
static unsigned wait_gone(struct test_disk *disk)
{
	struct ringlane_completion completion;
	unsigned got = 0;
	int ret;

	do {
		ret = ringlane_wait(disk->queue, &completion, 1, 1, TEST_DEADLINE_MS, 0);
		if (ret > 0)
			assert_int_equal(completion.result, 0);
		got += ret > 0;
	} while (ret > 0);
	assert_int_equal(ret, -ECONNRESET);
	return got;
}

static void test_reconnect_when_it_died_at_any_step_of_a_request_then_it_works_again(void **state)
{
	static const enum fake_trick deaths[] = { FAKE_DIES_AT_KICK, FAKE_DIES, FAKE_DIES_DONE,
						  FAKE_DIES_TOLD };

	for (unsigned i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
		const struct fake_setup setup = { .trick = deaths[i], .tricks_max = 1 };
		struct test_disk disk = test_disk_open(&setup, &one_queue);
		unsigned finished = 0;

		memset(fake_disk_bytes(disk.fake), 0x5a, 8192);
		reads_submit(&disk, 1);
		if (deaths[i] == FAKE_DIES_TOLD) {
			assert_int_equal(test_finish(&disk, 1), 0);
			finished = 1;
		} else {
			assert_int_equal(wait_gone(&disk), 0);
		}
		reconnect_ok(&disk);
		if (!finished)
			expect_returned(&disk, 1, 1, -ECONNRESET);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 4096, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		assert_int_equal(disk.buffer[511], 0x5a);
		expect_works(&disk);
		assert_int_equal(fake_disk_clients(disk.fake), 2);
		test_disk_close(&disk);
	}
}

/* Some messages may share a turn of the back end: then this one goes through. */
static void test_open_when_hung_up_on_early_or_late_then_a_clean_error(void **state)
{
	unsigned failed = 0;

	for (unsigned turn = 1; turn <= TURNS_MAX; turn++) {
		const struct fake_setup setup = { .dies_at_turn = turn };
		struct fake_disk *fake = fake_disk_new(&setup);
		struct ringlane_device *device = NULL;
		struct ringlane_error error = { 0 };
		int ret = ringlane_open(fake_disk_uri(fake), &one_queue, &device, &error);

		if (ret < 0) {
			assert_int_equal(ret, -ECONNRESET);
			assert_int_equal(error.code, ret);
			failed++;
		}
		ringlane_close(device);
		fake_disk_free(fake);
	}
	assert_true(failed > 0);
}

/* The second client is hung up on, perhaps after it has made friends; the third is not. */
static void test_reconnect_when_hung_up_on_early_or_late_then_it_is_tried_again(void **state)
{
	for (unsigned turn = 1; turn <= TURNS_MAX; turn++) {
		const struct fake_setup again = { .dies_at_turn = turn, .dying_clients = 2 };
		struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);

		fake_disk_set_trick(disk.fake, FAKE_DROPS);
		reads_submit(&disk, COUNT);
		fake_disk_go_away(disk.fake);
		fake_disk_come_back(disk.fake, &again);
		reconnect_ok(&disk);
		expect_returned(&disk, 1, COUNT, -ECONNRESET);
		if (fake_disk_clients(disk.fake) == 2) {
			fake_disk_hang_up(disk.fake);
			reconnect_ok(&disk);
		}
		assert_int_equal(fake_disk_clients(disk.fake), 3);
		expect_works(&disk);
		test_disk_close(&disk);
	}
}

static void *come_back_later(void *opaque)
{
	struct pollfd none;

	poll(&none, 0, 20);
	fake_disk_come_back(opaque, &(struct fake_setup){ 0 });
	return NULL;
}

static void test_reconnect_when_nobody_is_there_then_it_waits_for_it(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_error error;
	pthread_t thread;

	fake_disk_set_trick(disk.fake, FAKE_DROPS);
	reads_submit(&disk, COUNT);
	fake_disk_go_away(disk.fake);
	assert_int_equal(ringlane_reconnect(disk.device, 20, &error), -ENOENT);
	assert_non_null(strstr(error.text, "socket"));
	expect_returned(&disk, 1, COUNT, -ECONNRESET);
	reads_submit(&disk, COUNT); /* who does not care that it is gone */
	assert_int_equal(pthread_create(&thread, NULL, come_back_later, disk.fake), 0);
	reconnect_ok(&disk);
	pthread_join(thread, NULL);
	expect_returned(&disk, 1, COUNT, -ECONNRESET);
	expect_works(&disk);
	test_disk_close(&disk);
}

static void test_reconnect_when_it_is_another_disk_then_enodev(void **state)
{
	static const struct fake_setup fewer_features = { .features_off =
								  1ull << VIRTIO_RING_F_EVENT_IDX };
	static const struct fake_setup read_only = { .read_only = true };
	static const struct fake_setup fewer_queues = { .queue_max = 1 };
	struct fake_setup smaller = { .config = fake_config(2047) };
	struct fake_setup blocks = { .config = fake_config(2048) };
	struct fake_setup segments = { .config = fake_config(2048) };
	struct fake_setup ranges = { .config = fake_config(2048) };
	const struct fake_setup *others[] = { &fewer_features, &read_only, &fewer_queues, &smaller,
					      &blocks,         &segments,  &ranges };
	const struct ringlane_options two_queues = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &two_queues);
	struct ringlane_error error;

	blocks.config.blk_size = htole32(4096);
	segments.config.seg_max = htole32(31);
	ranges.config.max_discard_sectors = htole32(1023);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		fake_disk_go_away(disk.fake);
		fake_disk_come_back(disk.fake, others[i]);
		assert_int_equal(ringlane_reconnect(disk.device, TEST_DEADLINE_MS, &error),
				 -ENODEV);
		assert_non_null(strstr(error.text, "what is back"));
		assert_int_equal(ringlane_event(disk.device), -ECONNRESET);
	}
	fake_disk_go_away(disk.fake);
	fake_disk_come_back(disk.fake, &(struct fake_setup){ 0 });
	reconnect_ok(&disk);
	assert_int_equal(ringlane_event(disk.device), 0);
	expect_works(&disk);
	test_disk_close(&disk);
}

static void test_reconnect_when_it_has_grown_then_info_and_events_follow(void **state)
{
	const struct fake_setup larger = { .config = fake_config(4096) };
	struct test_disk disk = test_disk_open(&larger, &one_queue);
	struct ringlane_info info;
	struct pollfd event = { .fd = ringlane_event_fd(disk.device), .events = POLLIN };

	test_disk_close(&disk);
	disk = test_disk_open(&larger, &one_queue);
	fake_disk_resize(disk.fake, 1024);
	event.fd = ringlane_event_fd(disk.device);
	assert_int_equal(poll(&event, 1, TEST_DEADLINE_MS), 1);
	assert_int_equal(ringlane_event(disk.device), 1);
	fake_disk_go_away(disk.fake);
	fake_disk_come_back(disk.fake, &larger);
	reconnect_ok(&disk);
	ringlane_get_info(disk.device, &info);
	assert_int_equal(info.capacity, 4096 * 512);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 4095 * 512, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(poll(&event, 1, 0), 0);
	fake_disk_resize(disk.fake, 2048);
	assert_int_equal(poll(&event, 1, TEST_DEADLINE_MS), 1);
	assert_int_equal(ringlane_event(disk.device), 1);
	test_disk_close(&disk);
}

/* Memory that was got in each way is known to the new back end. */
static void test_reconnect_when_there_is_memory_of_all_kinds_then_it_can_be_used(void **state)
{
	const struct ringlane_options options = { .queues = 1,
						  .timeout_ms = TEST_DEADLINE_MS,
						  .mem_size = 65536 };
	static const uint64_t slots_off[] = { 0, 1ull << 15 /* CONFIGURE_MEM_SLOTS */ };

	for (unsigned i = 0; i < 2; i++) {
		const struct fake_setup setup = { .protocol_features_off = slots_off[i] };
		struct test_disk disk = test_disk_open(&setup, &options);
		void *small = ringlane_mem_alloc(disk.device, 4096, NULL);

		assert_non_null(small);
		fake_disk_hang_up(disk.fake);
		reconnect_ok(&disk);
		memset(fake_disk_bytes(disk.fake), 0x17, 4096);
		assert_int_equal(ringlane_read(disk.queue, small, 4096, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		assert_int_equal(*(uint8_t *)small, 0x17);
		expect_works(&disk);
		ringlane_mem_free(disk.device, disk.buffer);
		disk.buffer = ringlane_mem_alloc(disk.device, TEST_BUFFER_BYTES, NULL);
		assert_non_null(disk.buffer);
		expect_works(&disk);
		test_disk_close(&disk);
	}
}

static void test_reconnect_when_the_device_lives_then_it_is_hung_up_on(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DROPS, .tricks_max = COUNT };
	struct test_disk disk = test_disk_open(&setup, &one_queue);

	reads_submit(&disk, COUNT);
	wait_taken(&disk, COUNT);
	reconnect_ok(&disk);
	expect_returned(&disk, 1, COUNT, -ECONNRESET);
	expect_works(&disk);
	assert_int_equal(fake_disk_clients(disk.fake), 2);
	test_disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_reset_when_requests_are_dropped_then_ecanceled_and_it_works_again),
		driver_test(test_reset_when_some_are_finished_then_those_keep_their_result),
		driver_test(test_reset_when_repeated_before_reaping_then_each_comes_once),
		driver_test(test_reset_when_a_kick_was_lost_then_it_works_again),
		driver_test(test_reset_when_the_ring_was_broken_then_it_works_again),
		driver_test(test_reset_when_there_are_several_queues_then_each_is_new),
		driver_test(test_reset_when_stop_is_not_confirmed_then_requests_stay),
		driver_test(
			test_reconnect_when_it_died_at_any_step_of_a_request_then_it_works_again),
		driver_test(test_open_when_hung_up_on_early_or_late_then_a_clean_error),
		driver_test(test_reconnect_when_hung_up_on_early_or_late_then_it_is_tried_again),
		driver_test(test_reconnect_when_nobody_is_there_then_it_waits_for_it),
		driver_test(test_reconnect_when_it_is_another_disk_then_enodev),
		driver_test(test_reconnect_when_it_has_grown_then_info_and_events_follow),
		driver_test(test_reconnect_when_there_is_memory_of_all_kinds_then_it_can_be_used),
		driver_test(test_reconnect_when_the_device_lives_then_it_is_hung_up_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
