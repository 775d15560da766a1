// SPDX-License-Identifier: MIT
/* Requests of every kind, full and wrapping rings, refusals, waiting. */
#include "driver/queue.h"
#include "driver/test_disk.h"

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sched.h>

#define DISK_BYTES (2048u * 512u)

static const struct fake_setup honest;
static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

static void pattern_fill(uint8_t *bytes, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8));
}

/* ---- data ---- */

static void test_write_when_read_back_then_the_same(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	uint8_t *other = disk.buffer + 65536;

	pattern_fill(disk.buffer, 65536, 1);
	assert_int_equal(ringlane_write(disk.queue, disk.buffer, 65536, 4096, &disk), 0);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 1);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 0);
	assert_memory_equal(fake_disk_bytes(disk.fake) + 4096, disk.buffer, 65536);
	assert_int_equal(ringlane_read(disk.queue, other, 65536, 4096, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_memory_equal(other, disk.buffer, 65536);
	test_disk_close(&disk);
}

/* count segments of unequal lengths, with holes between them, that add up to a whole number of blocks. */
static unsigned segments_make(struct iovec *iov, unsigned count, uint8_t *memory)
{
	unsigned total = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned bytes = i + 1 < count ? 1 + (i * 37) % 200 : 512 - total % 512;

		iov[i] = (struct iovec){ memory, bytes };
		memory += bytes + 13;
		total += bytes;
	}
	return total;
}

static void test_readv_writev_when_scattered_then_data_is_in_order(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);

	for (unsigned count = 1; count <= 32; count++) {
		struct iovec out[32], in[32];
		unsigned total = segments_make(out, count, disk.buffer);
		uint8_t *at = fake_disk_bytes(disk.fake) + 512;

		segments_make(in, count, disk.buffer + 65536);
		pattern_fill(disk.buffer, 65536, count);
		assert_int_equal(ringlane_writev(disk.queue, out, count, 512, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		for (unsigned i = 0; i < count; at += out[i++].iov_len)
			assert_memory_equal(at, out[i].iov_base, out[i].iov_len);
		memset(disk.buffer + 65536, 0, 65536);
		assert_int_equal(ringlane_readv(disk.queue, in, count, 512, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		for (unsigned i = 0; i < count; i++)
			assert_memory_equal(in[i].iov_base, out[i].iov_base, out[i].iov_len);
		assert_int_equal(total % 512, 0);
	}
	test_disk_close(&disk);
}

static void test_readv_when_segments_are_empty_or_too_many_then_as_said(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	struct iovec iov[40];

	for (unsigned i = 0; i < 40; i++)
		iov[i] = (struct iovec){ disk.buffer + 512 * i, 512 };
	assert_int_equal(ringlane_readv(disk.queue, iov, 33, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_readv(disk.queue, iov, 0, 0, NULL), -EINVAL);
	for (unsigned i = 0; i < 40; i += 5)
		iov[i].iov_len = 0;
	assert_int_equal(ringlane_readv(disk.queue, iov, 40, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	iov[3].iov_len = SIZE_MAX - 100;
	assert_int_equal(ringlane_readv(disk.queue, iov, 40, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 0);
	test_disk_close(&disk);
}

static void test_write_when_segments_are_limited_then_it_is_cut(void **state)
{
	struct fake_setup setup = { .config = fake_config(2048) };
	struct test_disk disk;

	setup.config.size_max = htole32(1000);
	disk = test_disk_open(&setup, &one_queue);
	pattern_fill(disk.buffer, 31 * 1024, 5);
	assert_int_equal(ringlane_write(disk.queue, disk.buffer, 31 * 1024, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_memory_equal(fake_disk_bytes(disk.fake), disk.buffer, 31 * 1024);
	assert_int_equal(ringlane_write(disk.queue, disk.buffer, 32 * 1024, 0, NULL), -EINVAL);
	test_disk_close(&disk);
}

/* ---- rings ---- */

static void test_ring_when_size_and_features_vary_then_data_survives_many_turns(void **state)
{
	static const uint64_t features_off[] = {
		0,
		1ull << VIRTIO_RING_F_INDIRECT_DESC,
		1ull << VIRTIO_RING_F_EVENT_IDX,
		1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX,
	};
	static const unsigned sizes[] = { 4, 8, 64, 1024 };

	for (unsigned c = 0; c < 16; c++) {
		const struct fake_setup setup = { .features_off = features_off[c / 4] };
		const struct ringlane_options options = { .queues = 1, .queue_size = sizes[c % 4] };
		struct test_disk disk = test_disk_open(&setup, &options);
		unsigned depth = ringlane_queue_depth(disk.queue);

		assert_true(depth >= 1 && depth <= sizes[c % 4]);
		for (unsigned turn = 0; turn < 40; turn++) {
			unsigned count = 1 + turn * 3 % depth;

			pattern_fill(disk.buffer, count * 512, turn);
			for (unsigned i = 0; i < count; i++)
				assert_int_equal(ringlane_write(disk.queue, disk.buffer + i * 512,
								512, i * 512, NULL),
						 0);
			assert_int_equal(test_finish(&disk, count), 0);
			assert_memory_equal(fake_disk_bytes(disk.fake), disk.buffer, count * 512);
		}
		test_disk_close(&disk);
	}
}

/* More requests than a 16-bit index counts, through a ring of eight. */
static void test_ring_when_indices_wrap_then_nothing_is_lost(void **state)
{
	const struct ringlane_options options = { .queues = 1, .queue_size = 8 };
	struct test_disk disk = test_disk_open(&honest, &options);
	struct ringlane_completion completions[2];

	for (uintptr_t i = 0; i < 70000; i += 2) {
		int got = 0;

		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, (void *)i), 0);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, (void *)(i + 1)),
				 0);
		got = ringlane_wait(disk.queue, completions, 2, 2, TEST_DEADLINE_MS, 1000);
		assert_int_equal(got, 2);
		assert_int_equal((uintptr_t)completions[0].user_data, i);
		assert_int_equal((uintptr_t)completions[1].user_data, i + 1);
	}
	test_disk_close(&disk);
}

static void test_queue_when_full_then_eagain_and_all_of_it_completes(void **state)
{
	const struct fake_setup setup = { .trick = FAKE_REVERSES };
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	struct ringlane_completion completions[512];
	bool seen[512] = { false };
	unsigned count = 0, done = 0;

	while (ringlane_read(disk.queue, disk.buffer, 512, 0, (void *)(uintptr_t)count) == 0)
		count++;
	assert_true(count >= ringlane_queue_depth(disk.queue) && count <= 256);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), -EAGAIN);
	assert_int_equal(ringlane_flush(disk.queue, NULL), -EAGAIN);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), count);
	while (done < count) {
		int got = ringlane_wait(disk.queue, completions, count - done, 512,
					TEST_DEADLINE_MS, 0);

		assert_true(got > 0);
		for (int i = 0; i < got; i++) {
			uintptr_t id = (uintptr_t)completions[i].user_data;

			assert_int_equal(completions[i].result, 0);
			assert_true(id < count && !seen[id]);
			seen[id] = true;
		}
		done += (unsigned)got;
	}
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 0);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

static void test_submit_when_nothing_is_queued_then_no_kick(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);

	assert_int_equal(ringlane_submit(disk.queue), 0);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(fake_disk_taken(disk.fake), 0);
	assert_int_equal(ringlane_submit(disk.queue), 1);
	assert_int_equal(ringlane_submit(disk.queue), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

/* ---- refusals ---- */

static void test_request_when_it_does_not_fit_the_disk_then_einval(void **state)
{
	struct fake_setup setup = { .config = fake_config(2048) };
	struct test_disk disk;

	setup.config.blk_size = htole32(4096);
	disk = test_disk_open(&setup, &one_queue);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 0, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 4096, 512, NULL), -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 4096, DISK_BYTES, NULL), -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 8192, DISK_BYTES - 4096, NULL),
			 -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 4096, UINT64_MAX - 4095, NULL),
			 -EINVAL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 4096, DISK_BYTES - 4096, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

static void test_request_when_memory_is_not_the_devices_then_efault(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	static uint8_t mine[4096];
	const struct iovec iov[] = { { disk.buffer, 512 }, { mine, 512 } };
	uint8_t *end = disk.buffer + TEST_BUFFER_BYTES;

	assert_int_equal(ringlane_read(disk.queue, mine, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_read(disk.queue, NULL, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_read(disk.queue, end, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_read(disk.queue, end - 511, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer - 1, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_readv(disk.queue, iov, 2, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_get_id(disk.queue, (char *)mine, NULL), -EFAULT);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 0);
	assert_int_equal(ringlane_read(disk.queue, end - 512, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

static void check_writes_refused(const struct fake_setup *setup,
				 const struct ringlane_options *options)
{
	struct test_disk disk = test_disk_open(setup, options);
	const struct ringlane_range range = { 0, 512 };
	const struct iovec iov = { disk.buffer, 512 };
	struct ringlane_info info;

	ringlane_get_info(disk.device, &info);
	assert_true(info.read_only);
	assert_int_equal(ringlane_write(disk.queue, disk.buffer, 512, 0, NULL), -EROFS);
	assert_int_equal(ringlane_writev(disk.queue, &iov, 1, 0, NULL), -EROFS);
	assert_int_equal(ringlane_discard(disk.queue, &range, 1, NULL), -EROFS);
	assert_int_equal(ringlane_write_zeroes(disk.queue, &range, 1, 0, NULL), -EROFS);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

static void test_write_when_disk_is_read_only_then_erofs(void **state)
{
	const struct ringlane_options wish = { .queues = 1, .read_only = true };
	const struct fake_setup setup = { .read_only = true };

	check_writes_refused(&setup, &one_queue);
	check_writes_refused(&honest, &wish);
}

/* ---- the other requests ---- */

static void test_flush_and_id_when_supported_then_they_answer(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);

	assert_int_equal(ringlane_flush(disk.queue, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(ringlane_get_id(disk.queue, (char *)disk.buffer + 100, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_memory_equal(disk.buffer + 100, FAKE_ID, 20);
	assert_int_equal(disk.buffer[120], 0);
	test_disk_close(&disk);
}

static void test_requests_when_not_offered_then_eopnotsupp(void **state)
{
	const struct fake_setup setup = {
		.features_off = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |
				1ull << VIRTIO_BLK_F_WRITE_ZEROES,
	};
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	const struct ringlane_range range = { 0, 512 };

	assert_int_equal(ringlane_flush(disk.queue, NULL), -EOPNOTSUPP);
	assert_int_equal(ringlane_discard(disk.queue, &range, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(ringlane_write_zeroes(disk.queue, &range, 1, 0, NULL), -EOPNOTSUPP);
	test_disk_close(&disk);
}

static void test_ranges_when_several_then_each_is_zeroed_and_no_more(void **state)
{
	const struct ringlane_range ranges[] = { { 512, 512 }, { 4096, 1024 }, { 8192, 512 } };
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	uint8_t *bytes = fake_disk_bytes(disk.fake);

	memset(bytes, 0x55, 16384);
	assert_int_equal(ringlane_discard(disk.queue, ranges, 3, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	for (unsigned i = 0; i < 16384; i++) {
		bool inside = (i >= 512 && i < 1024) || (i >= 4096 && i < 5120) ||
			      (i >= 8192 && i < 8704);

		assert_int_equal(bytes[i], inside ? 0 : 0x55);
	}
	assert_int_equal(ringlane_write_zeroes(disk.queue, ranges, 1, RINGLANE_UNMAP, NULL), 0);
	assert_int_equal(ringlane_write_zeroes(disk.queue, ranges + 1, 2, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 2), 0);
	assert_int_equal(bytes[512], 0xee);
	assert_int_equal(bytes[4096], 0);
	test_disk_close(&disk);
}

static void test_secure_erase_when_offered_then_the_ranges_are_gone(void **state)
{
	const struct fake_setup without = { .features_off = 1ull << VIRTIO_BLK_F_SECURE_ERASE };
	const struct ringlane_range ranges[] = { { 512, 512 }, { 4096, 1024 }, { 8192, 512 } };
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_info info;

	ringlane_get_info(disk.device, &info);
	assert_int_equal(info.secure_erase_max, 256 * 512);
	assert_int_equal(info.secure_erase_ranges, 2);
	assert_int_equal(info.secure_erase_alignment, 8 * 512);
	memset(fake_disk_bytes(disk.fake), 0x77, 16384);
	assert_int_equal(ringlane_secure_erase(disk.queue, ranges, 3, NULL), -EINVAL);
	assert_int_equal(ringlane_secure_erase(disk.queue, ranges, 2, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	for (unsigned i = 0; i < 16384; i += 512)
		assert_int_equal(fake_disk_bytes(disk.fake)[i],
				 i == 512 || i == 4096 || i == 4608 ? 0 : 0x77);
	test_disk_close(&disk);
	disk = test_disk_open(&without, &one_queue);
	assert_int_equal(ringlane_secure_erase(disk.queue, ranges, 1, NULL), -EOPNOTSUPP);
	test_disk_close(&disk);
}

static void test_ranges_when_out_of_limits_then_einval(void **state)
{
	static const struct ringlane_range bad[] = {
		{ 0, 0 },
		{ 100, 512 },
		{ 0, 100 },
		{ DISK_BYTES, 512 },
		{ DISK_BYTES - 512, 1024 },
		{ 0, 1024 * 512 + 512 },
		{ UINT64_MAX - 511, 512 },
	};
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	struct ringlane_range ranges[9];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ringlane_discard(disk.queue, &bad[i], 1, NULL), -EINVAL);
	for (unsigned i = 0; i < 9; i++)
		ranges[i] = (struct ringlane_range){ i * 512, 512 };
	assert_int_equal(ringlane_discard(disk.queue, ranges, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_discard(disk.queue, ranges, 9, NULL), -EINVAL);
	assert_int_equal(ringlane_write_zeroes(disk.queue, ranges, 1, 2, NULL), -EINVAL);
	assert_int_equal(ringlane_discard(disk.queue, ranges, 8, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	test_disk_close(&disk);
}

/* ---- waiting ---- */

static void test_wait_when_nothing_is_in_flight_then_it_returns_at_once(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	struct ringlane_completion completion;

	assert_int_equal(ringlane_wait(disk.queue, &completion, 1, 1, -1, 0), 0);
	assert_int_equal(ringlane_wait(disk.queue, &completion, 1, 1, -1, 1000000), 0);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 0);
	assert_int_equal(ringlane_reap(disk.queue, &completion, 0), 0);
	test_disk_close(&disk);
}

static void test_wait_when_min_is_more_than_in_flight_then_all_of_them(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	struct ringlane_completion completions[8];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(ringlane_wait(disk.queue, completions, 8, 8, -1, 0), 3);
	test_disk_close(&disk);
}

/* So that no time has to be long enough for a device on a busy machine. */
static void wait_for_work(const struct test_disk *disk)
{
	uint64_t end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS;

	while (!virtq_driver_has_work(&disk->queue->ring) && clock_ns() < end)
		sched_yield();
}

static void test_wait_when_device_holds_then_timeout_with_nothing(void **state)
{
	const struct ringlane_options options = { .queues = 1, .timeout_ms = 50 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS, .honest_first = 1 };
	struct test_disk disk = test_disk_open_hasty(&setup, &options);
	struct ringlane_completion completions[2];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	ringlane_submit(disk.queue);
	wait_for_work(&disk);
	assert_int_equal(ringlane_wait(disk.queue, completions, 2, 2, 20, 0), 1);
	assert_int_equal(ringlane_wait(disk.queue, completions, 1, 2, 5, 1000000), 0);
	assert_int_equal(ringlane_wait(disk.queue, completions, 1, 2, 0, 0), 0);
	assert_int_equal(ringlane_queue_in_flight(disk.queue), 1);
	test_disk_close(&disk);
}

/* virtio 1.3, 2.7.10: used_event lies behind the available ring and names the entry that shall bring a call. */
static void test_wait_when_many_are_wanted_then_one_call_is_asked_for(void **state)
{
	const struct ringlane_options options = { .queues = 1, .timeout_ms = 50 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_disk disk = test_disk_open_hasty(&setup, &options);
	const struct virtq_driver *ring = &disk.queue->ring;
	struct ringlane_completion completions[64];

	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(ringlane_wait(disk.queue, completions, 48, 64, 0, 0), 0);
	assert_int_equal(le16toh(ring->memory.avail->ring[ring->size].raw), 47);
	assert_int_equal(ringlane_wait(disk.queue, completions, 1, 64, 0, 0), 0);
	assert_int_equal(le16toh(ring->memory.avail->ring[ring->size].raw), 0);
	test_disk_close(&disk);
}

/* Each wait that slept would have named the entry that shall bring a call. */
static void test_wait_when_spinning_for_ever_then_no_call_is_asked_for(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	const struct virtq_driver *ring = &disk.queue->ring;
	struct ringlane_completion completion;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(ringlane_wait(disk.queue, &completion, 1, 1, -1, UINT64_MAX), 1);
	}
	assert_int_equal(le16toh(ring->memory.avail->ring[ring->size].raw), 0);
	test_disk_close(&disk);
}

static void test_arm_when_device_calls_then_the_fd_is_readable(void **state)
{
	struct test_disk disk = test_disk_open(&honest, &one_queue);
	struct pollfd ready = { .fd = ringlane_queue_fd(disk.queue), .events = POLLIN };
	struct ringlane_completion completion;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(ringlane_queue_arm(disk.queue), 0);
		assert_int_equal(poll(&ready, 1, 0), 0);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		ringlane_submit(disk.queue);
		assert_int_equal(poll(&ready, 1, TEST_DEADLINE_MS), 1);
		assert_int_equal(ringlane_queue_arm(disk.queue), 1);
		assert_int_equal(ringlane_reap(disk.queue, &completion, 1), 1);
		ringlane_queue_disarm(disk.queue);
	}
	test_disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_write_when_read_back_then_the_same),
		driver_test(test_readv_writev_when_scattered_then_data_is_in_order),
		driver_test(test_readv_when_segments_are_empty_or_too_many_then_as_said),
		driver_test(test_write_when_segments_are_limited_then_it_is_cut),
		driver_test(test_ring_when_size_and_features_vary_then_data_survives_many_turns),
		driver_test(test_ring_when_indices_wrap_then_nothing_is_lost),
		driver_test(test_queue_when_full_then_eagain_and_all_of_it_completes),
		driver_test(test_submit_when_nothing_is_queued_then_no_kick),
		driver_test(test_request_when_it_does_not_fit_the_disk_then_einval),
		driver_test(test_request_when_memory_is_not_the_devices_then_efault),
		driver_test(test_write_when_disk_is_read_only_then_erofs),
		driver_test(test_flush_and_id_when_supported_then_they_answer),
		driver_test(test_requests_when_not_offered_then_eopnotsupp),
		driver_test(test_ranges_when_several_then_each_is_zeroed_and_no_more),
		driver_test(test_secure_erase_when_offered_then_the_ranges_are_gone),
		driver_test(test_ranges_when_out_of_limits_then_einval),
		driver_test(test_wait_when_nothing_is_in_flight_then_it_returns_at_once),
		driver_test(test_wait_when_min_is_more_than_in_flight_then_all_of_them),
		driver_test(test_wait_when_device_holds_then_timeout_with_nothing),
		driver_test(test_wait_when_many_are_wanted_then_one_call_is_asked_for),
		driver_test(test_wait_when_spinning_for_ever_then_no_call_is_asked_for),
		driver_test(test_arm_when_device_calls_then_the_fd_is_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
