// SPDX-License-Identifier: MIT
/* Devices that break the rules, say nothing, or die: the queue ends with a reason, and nothing hangs. */
#include "driver/test_disk.h"

#include <linux/virtio_blk.h>
#include <poll.h>

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

/* Waits for a negative answer, whatever completions come before it. */
static int wait_for_error(struct test_disk *disk, uint64_t spin_ns)
{
	struct ringlane_completion completions[8];
	int ret;

	do {
		ret = ringlane_wait(disk->queue, completions, 1, 8, TEST_DEADLINE_MS, spin_ns);
	} while (ret > 0);
	return ret;
}

static void test_ring_when_its_rules_are_broken_then_eproto_for_good(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_NOT_OUTSTANDING, FAKE_TWICE,
						  FAKE_LENGTH, FAKE_INDEX_JUMPS };

	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		const struct fake_setup setup = { .trick = tricks[i], .honest_first = 3 };
		struct test_disk disk = test_disk_open(&setup, &one_queue);
		struct ringlane_completion completion;

		for (unsigned n = 0; n < 3; n++) {
			assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
			assert_int_equal(test_finish(&disk, 1), 0);
		}
		for (unsigned n = 0; n < 2; n++)
			assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(wait_for_error(&disk, 0), -EPROTO);
		assert_int_equal(ringlane_reap(disk.queue, &completion, 1), -EPROTO);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), -EPROTO);
		assert_int_equal(ringlane_flush(disk.queue, NULL), -EPROTO);
		assert_int_equal(ringlane_submit(disk.queue), 0);
		assert_int_equal(ringlane_queue_arm(disk.queue), 1);
		assert_true(wait_for_error(&disk, 1000) == -EPROTO);
		test_disk_close(&disk);
	}
}

/* A status that is not the preset one has been written, whatever the used entry says. */
static void test_lengths_when_too_short_then_the_status_counts(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_LENGTH_0 };
	struct test_disk disk = test_disk_open(&setup, &one_queue);

	memset(disk.buffer, 0x2d, 512);
	assert_int_equal(ringlane_write(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	memset(disk.buffer, 0, 512);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(disk.buffer[i], 0x2d);
	test_disk_close(&disk);
}

static void test_one_queue_when_broken_then_the_other_lives(void **state)
{
	const struct ringlane_options two_queues = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
	const struct fake_setup setup = { .trick = FAKE_NOT_OUTSTANDING, .honest_first = 1 };
	struct test_disk disk = test_disk_open(&setup, &two_queues);

	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(wait_for_error(&disk, 0), -EPROTO);
	disk.queue = ringlane_queue_get(disk.device, 1);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(ringlane_submit(disk.queue), 1);
	test_disk_close(&disk);
}

static void test_status_when_any_byte_then_the_result_follows(void **state)
{
	for (unsigned status = 0; status < 256; status++) {
		const struct fake_setup setup = { .trick = FAKE_WRITES_STATUS,
						  .status = (uint8_t)status };
		struct test_disk disk = test_disk_open(&setup, &one_queue);
		int expected = status == VIRTIO_BLK_S_OK     ? 0 :
			       status == VIRTIO_BLK_S_IOERR  ? -EIO :
			       status == VIRTIO_BLK_S_UNSUPP ? -EOPNOTSUPP :
							       -EPROTO;

		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), expected);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), expected);
		test_disk_close(&disk);
		status += status >= 4 && status < 250 ? 40 : 0;
	}
}

/* The line had a good status from the request before. */
static void test_status_when_it_is_not_written_then_that_is_no_success(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_NO_STATUS, .honest_first = 1 };
	struct test_disk disk = test_disk_open(&setup, &one_queue);

	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), -EPROTO);
	test_disk_close(&disk);
}

static void test_wait_when_back_end_dies_then_econnreset(void **state)
{
	static const uint64_t spins_ns[] = { 0, 1000, 50000000 };

	for (unsigned i = 0; i < 3; i++) {
		const struct fake_setup setup = { .trick = FAKE_DIES, .honest_first = 2 };
		struct test_disk disk = test_disk_open(&setup, &one_queue);

		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(wait_for_error(&disk, spins_ns[i]), -ECONNRESET);
		assert_int_equal(wait_for_error(&disk, spins_ns[i]), -ECONNRESET);
		assert_int_equal(ringlane_queue_arm(disk.queue), 1);
		test_disk_close(&disk);
	}
}

static void test_reap_when_back_end_dies_then_polling_ends_too(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_DIES };
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	struct ringlane_completion completion;
	int ret;

	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	ringlane_submit(disk.queue);
	do {
		ret = ringlane_reap(disk.queue, &completion, 1);
	} while (ret == 0);
	assert_int_equal(ret, -ECONNRESET);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 1), -ECONNRESET);
	test_disk_close(&disk);
}

static void test_wait_when_others_were_done_before_the_end_then_they_come_first(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_completion completions[8];
	struct pollfd gone;
	int ret;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	ringlane_submit(disk.queue);
	while (fake_disk_taken(disk.fake) < 4)
		;
	fake_disk_hang_up(disk.fake);
	assert_int_equal(ringlane_wait(disk.queue, completions, 4, 8, TEST_DEADLINE_MS, 0), 4);
	/* It may answer one more before it does as it was told. */
	gone = (struct pollfd){ .fd = ringlane_event_fd(disk.device), .events = POLLIN };
	do { /* the channel of events may hang up first */
		assert_int_equal(poll(&gone, 1, TEST_DEADLINE_MS), 1);
		ret = ringlane_event(disk.device);
	} while (ret == 0);
	assert_int_equal(ret, -ECONNRESET);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(wait_for_error(&disk, 0), -ECONNRESET);
	test_disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_ring_when_its_rules_are_broken_then_eproto_for_good),
		driver_test(test_lengths_when_too_short_then_the_status_counts),
		driver_test(test_one_queue_when_broken_then_the_other_lives),
		driver_test(test_status_when_any_byte_then_the_result_follows),
		driver_test(test_status_when_it_is_not_written_then_that_is_no_success),
		driver_test(test_wait_when_back_end_dies_then_econnreset),
		driver_test(test_reap_when_back_end_dies_then_polling_ends_too),
		driver_test(test_wait_when_others_were_done_before_the_end_then_they_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
