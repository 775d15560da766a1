// SPDX-License-Identifier: MIT
/*
 * Both ends on two threads, for the thread sanitizer and for the orders that one thread cannot show: polling ends, ends that
 * act only when they were notified, and a driver that changes descriptors while they are read.
 */
#include "virtq/test_ring.h"

#include "base/atomic.h"
#include "base/clock.h"

#include <linux/virtio_ring.h>
#include <pthread.h>

#define REQUESTS 20000u
#define DEADLINE_NS (60 * NS_PER_S)
#define SIZE_MOST 64u

struct slot {
	uint64_t question, answer, scratch;
};

struct shared {
	struct virtq_config config;
	struct mem_map *map;
	struct slot slots[SIZE_MOST];
	struct virtq_desc tables[SIZE_MOST * 4] __attribute__((aligned(16)));
	bool notified;                                   /* ends act only when they are told */
	unsigned kick cache_aligned, call cache_aligned; /* atomic: the event fds of this test */
	bool stop cache_aligned;                         /* atomic */
	uint64_t deadline_ns;
};

static void bell_ring(unsigned *bell)
{
	store_release(bell, 1); /* pairs with bell_wait */
}

/* False: nobody rang, or it is over. */
static bool bell_wait(const struct shared *shared, unsigned *bell)
{
	while (!exchange_acquire(bell, 0)) { /* pairs with bell_ring */
		if (load_relaxed(&shared->stop) || clock_ns() > shared->deadline_ns)
			return false;
		sched_yield();
	}
	return true;
}

/* ---- device's thread ---- */

static bool device_serve(struct virtq_device *device)
{
	struct virtq_chain chain;
	struct iovec iov[4];
	unsigned served = 0;

	while (virtq_device_pop(device, iov, 4, &chain) == 1) {
		const uint64_t *question = iov[0].iov_base;
		uint64_t *answer = iov[1].iov_base;

		*answer = ~*question;
		virtq_device_push(device, chain.head, 8);
		if (++served % 5 == 0)
			virtq_device_publish(device);
	}
	virtq_device_publish(device);
	return served;
}

static void device_turn(struct shared *shared, struct virtq_device *device)
{
	if (!shared->notified) {
		if (!device_serve(device))
			sched_yield();
		return;
	}
	virtq_device_kicks_suppress(device);
	do {
		if (device_serve(device) && virtq_device_should_call(device))
			bell_ring(&shared->call);
	} while (virtq_device_kicks_enable(device));
	bell_wait(shared, &shared->kick);
}

static void *device_run(void *opaque)
{
	struct shared *shared = opaque;
	struct virtq_device device;

	if (virtq_device_init(&device, &shared->config, shared->map) < 0)
		return NULL;
	while (!load_relaxed(&shared->stop) && clock_ns() < shared->deadline_ns)
		device_turn(shared, &device);
	return device.broken ? NULL : shared;
}

/* ---- driver's thread: the test's own ---- */

struct counts {
	unsigned added, finished;
	unsigned free_count;
	unsigned free[SIZE_MOST]; /* slots */
	unsigned slot_of[SIZE_MOST];
};

static void driver_fill(struct shared *shared, struct virtq_driver *driver, struct counts *counts)
{
	while (counts->added < REQUESTS && counts->free_count) {
		struct slot *slot = &shared->slots[counts->free[counts->free_count - 1]];
		const struct virtq_sg sg[3] = { { (uintptr_t)&slot->question, 8 },
						{ (uintptr_t)&slot->answer, 8 },
						{ (uintptr_t)&slot->scratch, 8 } };
		uint16_t head;

		slot->question = counts->added * 0x9e3779b97f4a7c15ull;
		slot->answer = 0;
		if (virtq_driver_add(driver, sg, 1, shared->config.size > 2 ? 2 : 1, &head) < 0)
			break;
		counts->slot_of[head] = counts->free[--counts->free_count];
		if (++counts->added % 3 == 0)
			virtq_driver_publish(driver);
	}
	virtq_driver_publish(driver);
}

static unsigned driver_reap(struct shared *shared, struct virtq_driver *driver,
			    struct counts *counts)
{
	unsigned reaped = 0;
	uint32_t written;
	uint16_t head;

	while (virtq_driver_take(driver, &head, &written) == 1) {
		const struct slot *slot = &shared->slots[counts->slot_of[head]];

		assert_int_equal(written, 8);
		assert_true(slot->answer == ~slot->question);
		counts->free[counts->free_count++] = counts->slot_of[head];
		counts->finished++;
		reaped++;
	}
	assert_null(driver->broken);
	return reaped;
}

static bool driver_turn(struct shared *shared, struct virtq_driver *driver, struct counts *counts)
{
	virtq_driver_calls_suppress(driver);
	driver_fill(shared, driver, counts);
	if (!shared->notified) {
		if (!driver_reap(shared, driver, counts))
			sched_yield();
		return clock_ns() < shared->deadline_ns;
	}
	if (virtq_driver_should_kick(driver))
		bell_ring(&shared->kick);
	if (driver_reap(shared, driver, counts) || virtq_driver_calls_enable(driver, 0))
		return true;
	return bell_wait(shared, &shared->call);
}

static void play(unsigned size, bool indirect, bool event_idx, bool notified)
{
	struct shared *shared = aligned_alloc(CACHE_LINE, sizeof(*shared));
	struct virtq_driver_slot shadow[SIZE_MOST];
	struct counts counts = { .free_count = size };
	struct virtq_driver_tables tables = { .slots = shadow, .table_len = 4 };
	struct virtq_driver driver;
	pthread_t thread;
	void *sound;

	*shared = (struct shared){ .notified = notified,
				   .deadline_ns = clock_ns() + DEADLINE_NS,
				   .config = { .size = (uint16_t)size,
					       .indirect = indirect,
					       .event_idx = event_idx,
					       .memory = test_ring_new(size) } };
	assert_int_equal(
		mem_map_build_local(shared, (uintptr_t)shared, sizeof(*shared), &shared->map), 0);
	for (unsigned i = 0; i < size; i++)
		counts.free[i] = i;
	tables.tables = shared->tables;
	tables.tables_addr = (uintptr_t)shared->tables;
	assert_int_equal(virtq_driver_init(&driver, &shared->config, &tables), 0);
	assert_int_equal(pthread_create(&thread, NULL, device_run, shared), 0);
	while (counts.finished < REQUESTS && driver_turn(shared, &driver, &counts))
		;
	store_relaxed(&shared->stop, true);
	assert_int_equal(pthread_join(thread, &sound), 0);
	assert_ptr_equal(sound, shared);
	assert_int_equal(counts.finished, REQUESTS); /* less: a notification was lost */
	test_ring_free(&shared->config.memory);
	mem_map_unref(shared->map);
	free(shared);
}

static void play_features(bool notified)
{
	for (unsigned features = 0; features < 4; features++) {
		play(2, features & 1, features & 2, notified);
		play(SIZE_MOST, features & 1, features & 2, notified);
	}
}

static void test_threads_when_both_poll_then_all_requests_finish(void **state)
{
	play_features(false);
}

static void test_threads_when_both_sleep_then_no_notification_is_lost(void **state)
{
	play_features(true);
}

/* ---- a driver that changes its mind ---- */

struct flipped {
	struct virtq_memory ring;
	uint8_t *data;
	bool stop;
};

/* The descriptor is good, or its length, address, flags or next are not; always one of the two, never for long. */
static void *flip(void *opaque)
{
	struct flipped *flipped = opaque;
	uint64_t *words = (uint64_t *)&flipped->ring.desc[0];
	const uint64_t good[2] = { htole64(TEST_GUEST), htole64(16) };
	const uint64_t bad[4][2] = { { htole64(TEST_GUEST - 1), htole64(16) },
				     { htole64(TEST_GUEST), htole64(UINT32_MAX) },
				     { htole64(TEST_GUEST),
				       htole64(16 | 1ull << 32 | 65535ull << 48) },
				     { htole64(TEST_GUEST), htole64(24 | 4ull << 32) } };

	for (unsigned i = 0; !load_relaxed(&flipped->stop); i++) {
		store_relaxed(&words[0], bad[i % 4][0]);
		store_relaxed(&words[1], bad[i % 4][1]);
		store_relaxed(&words[0], good[0]);
		store_relaxed(&words[1], good[1]);
	}
	return NULL;
}

static void test_pop_when_descriptor_changes_meanwhile_then_good_copy_or_broken(void **state)
{
	struct flipped flipped = { .ring = test_ring_new(1), .data = malloc(TEST_PAGE) };
	struct virtq_config config = { .size = 1, .memory = flipped.ring, .indirect = true };
	uint64_t deadline_ns = clock_ns() + DEADLINE_NS;
	unsigned good = 0, broken = 0;
	struct mem_map *map;
	pthread_t thread;

	flipped.ring.desc[0].addr = le64_make(TEST_GUEST);
	flipped.ring.desc[0].len = le32_make(16);
	flipped.ring.avail->idx = le16_make(1);
	assert_int_equal(mem_map_build_local(flipped.data, TEST_GUEST, TEST_PAGE, &map), 0);
	assert_int_equal(pthread_create(&thread, NULL, flip, &flipped), 0);
	for (unsigned i = 0; i < 200000 || (!good && clock_ns() < deadline_ns); i++) {
		struct virtq_device device;
		struct virtq_chain chain;
		struct iovec iov[2];

		assert_int_equal(virtq_device_init(&device, &config, map), 0);
		if (virtq_device_pop(&device, iov, 2, &chain) < 0) {
			assert_non_null(device.broken);
			broken++;
			continue;
		}
		assert_int_equal(chain.readable_count, 1);
		assert_ptr_equal(iov[0].iov_base, flipped.data);
		assert_int_equal(iov[0].iov_len, 16);
		good++;
	}
	store_relaxed(&flipped.stop, true);
	pthread_join(thread, NULL);
	assert_true(good > 0);
	assert_true(good + broken >= 200000);
	mem_map_unref(map);
	test_ring_free(&flipped.ring);
	free(flipped.data);
}

/* ---- both decide at the same moment ---- */

#define MEETINGS_MAX 30000u
#define MEETINGS_NS (NS_PER_S / 2)
#define MEETINGS_OVER UINT32_MAX

/* Two threads go through a number of gates together; the driver's thread says when it is over. */
struct meeting {
	unsigned driver cache_aligned, device cache_aligned; /* atomic: gates reached */
	struct virtq_device queue;
	bool called, look_again; /* what the device's end said last */
};

static void gate_wait(const unsigned *other, unsigned gate)
{
	for (unsigned spins = 0; load_acquire(other) < gate; spins++) /* pairs with gate_open */
		if (spins > 200)
			sched_yield();
}

static void gate_open(unsigned *mine, unsigned gate)
{
	store_release(mine, gate); /* pairs with gate_wait */
}

/* Some time that the compiler does not take away: the ends shall meet a little earlier or later each time. */
static void dawdle(const struct meeting *meeting, unsigned loops)
{
	while (loops--)
		(void)load_relaxed(&meeting->driver);
}

/* Odd gates: the driver publishes while we ask for kicks. Even ones: we publish while it asks for calls. */
static void *meeting_device(void *opaque)
{
	struct meeting *meeting = opaque;
	struct virtq_chain chain;
	struct iovec iov[2];

	for (unsigned gate = 1;; gate++) {
		gate_wait(&meeting->driver, gate);
		if (load_relaxed(&meeting->driver) == MEETINGS_OVER)
			return NULL;
		if (gate % 2) {
			virtq_device_kicks_suppress(&meeting->queue);
			meeting->look_again = virtq_device_kicks_enable(&meeting->queue);
		} else if (virtq_device_pop(&meeting->queue, iov, 2, &chain) == 1) {
			virtq_device_push(&meeting->queue, chain.head, 0);
			virtq_device_publish(&meeting->queue);
			meeting->called = virtq_device_should_call(&meeting->queue);
		}
		gate_open(&meeting->device, gate);
	}
}

/* Two gates: whatever happened first, somebody must have noticed it. */
static void meet(struct meeting *meeting, struct virtq_driver *driver, unsigned gate)
{
	const struct virtq_sg sg = { (uintptr_t)meeting, 1 };
	bool kicked, look_again;
	uint32_t written;
	uint16_t head;

	assert_int_equal(virtq_driver_add(driver, &sg, 1, 0, &head), 0);
	gate_open(&meeting->driver, gate);
	dawdle(meeting, gate * 7 % 509);
	virtq_driver_publish(driver);
	kicked = virtq_driver_should_kick(driver);
	gate_wait(&meeting->device, gate);
	assert_true(kicked || meeting->look_again);
	virtq_driver_calls_suppress(driver);
	gate_open(&meeting->driver, gate + 1);
	dawdle(meeting, gate * 7 % 509);
	look_again = virtq_driver_calls_enable(driver, 0);
	gate_wait(&meeting->device, gate + 1);
	assert_true(meeting->called || look_again);
	assert_int_equal(virtq_driver_take(driver, &head, &written), 1);
}

static void meet_often(bool event_idx)
{
	struct meeting *meeting = aligned_alloc(CACHE_LINE, sizeof(*meeting));
	struct virtq_config config = { .size = 4,
				       .event_idx = event_idx,
				       .memory = test_ring_new(4) };
	struct virtq_driver_slot slots[4];
	const struct virtq_driver_tables tables = { .slots = slots };
	uint64_t deadline_ns = clock_ns() + MEETINGS_NS;
	struct virtq_driver driver;
	struct mem_map *map;
	pthread_t thread;

	memset(meeting, 0, sizeof(*meeting));
	assert_int_equal(mem_map_build_local(meeting, (uintptr_t)meeting, sizeof(*meeting), &map),
			 0);
	assert_int_equal(virtq_driver_init(&driver, &config, &tables), 0);
	assert_int_equal(virtq_device_init(&meeting->queue, &config, map), 0);
	assert_int_equal(pthread_create(&thread, NULL, meeting_device, meeting), 0);
	for (unsigned i = 0; i < MEETINGS_MAX && (i < 100 || clock_ns() < deadline_ns); i++)
		meet(meeting, &driver, 2 * i + 1);
	gate_open(&meeting->driver, MEETINGS_OVER);
	assert_int_equal(pthread_join(thread, NULL), 0);
	mem_map_unref(map);
	test_ring_free(&config.memory);
	free(meeting);
}

static void test_notify_when_both_ends_decide_at_once_then_one_of_them_acts(void **state)
{
	meet_often(false);
	meet_often(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_when_both_poll_then_all_requests_finish),
		cmocka_unit_test(test_threads_when_both_sleep_then_no_notification_is_lost),
		cmocka_unit_test(
			test_pop_when_descriptor_changes_meanwhile_then_good_copy_or_broken),
		cmocka_unit_test(test_notify_when_both_ends_decide_at_once_then_one_of_them_acts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
