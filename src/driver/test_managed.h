/* SPDX-License-Identifier: MIT */
/*
 * For tests of the managed mode: counts what was called back, and waits for it with a deadline. One waiting thread.
 */
#ifndef RINGLANE_DRIVER_TEST_MANAGED_H
#define RINGLANE_DRIVER_TEST_MANAGED_H

#include "driver/test_disk.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "driver/keeper.h"

#include <pthread.h>
#include <ringlane/managed.h>
#include <sched.h>

struct test_tally {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned done, failed;
	int last; /* result */
};

static inline void test_tally_init(struct test_tally *tally)
{
	pthread_condattr_t attributes;

	memset(tally, 0, sizeof(*tally));
	pthread_mutex_init(&tally->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&tally->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* A ringlane_done_fn. */
static inline void test_tally_done(void *opaque, int result)
{
	struct test_tally *tally = opaque;

	pthread_mutex_lock(&tally->lock);
	tally->done++;
	tally->failed += result != 0;
	tally->last = result;
	pthread_cond_signal(&tally->changed);
	pthread_mutex_unlock(&tally->lock);
}

/* What was done by then: count, unless the deadline has passed. */
static inline unsigned test_tally_wait(struct test_tally *tally, unsigned count)
{
	uint64_t end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS;
	const struct timespec time = { .tv_sec = (time_t)(end / NS_PER_S),
				       .tv_nsec = (long)(end % NS_PER_S) };
	unsigned done;
	int ret = 0;

	pthread_mutex_lock(&tally->lock);
	while (tally->done < count && ret == 0)
		ret = pthread_cond_timedwait(&tally->changed, &tally->lock, &time);
	done = tally->done;
	pthread_mutex_unlock(&tally->lock);
	return done;
}

struct test_managed {
	struct test_disk disk;
	struct ringlane_managed *managed;
	struct test_tally tally;
};

static inline void test_managed_start(struct test_managed *it,
				      const struct ringlane_managed_options *options)
{
	struct ringlane_error error = { 0 };

	test_tally_init(&it->tally);
	if (ringlane_managed_start(it->disk.device, options, &it->managed, &error) < 0)
		fail_msg("start: %s", error.text);
}

static inline void test_managed_open(struct test_managed *it, const struct fake_setup *setup,
				     const struct ringlane_options *device_options,
				     const struct ringlane_managed_options *options)
{
	it->disk = test_disk_open(setup, device_options);
	test_managed_start(it, options);
}

static inline void test_managed_close(struct test_managed *it)
{
	ringlane_managed_free(it->managed);
	test_disk_close(&it->disk);
}

/* A read or write of one sector, its own part of the buffer. */
static inline struct ringlane_request test_request(struct test_managed *it, enum ringlane_op op,
						   unsigned sector)
{
	return (struct ringlane_request){
		.op = op,
		.data = it->disk.buffer + 512 * (sector % (TEST_BUFFER_BYTES / 512)),
		.bytes = 512,
		.offset = 512ull * sector,
		.done = test_tally_done,
		.user_data = &it->tally,
	};
}

/* One request, or the test fails. */
static inline void test_submit(struct test_managed *it, const struct ringlane_request *request)
{
	assert_int_equal(ringlane_managed_submit(it->managed, request, 1), 1);
}

static inline struct ringlane_queue_stats test_queue_stats(struct test_managed *it, unsigned queue)
{
	struct ringlane_queue_stats stats;

	assert_int_equal(ringlane_managed_get_queue_stats(it->managed, queue, &stats), 0);
	return stats;
}

/*
 * The error ladder by hand: the keeper's thread has ended, the test does its work, and says what time it is. So nothing depends
 * on how fast anybody is.
 */
static inline void test_ladder_take(struct ringlane_managed *managed)
{
	keeper_stop(managed->keeper);
	store_release(&managed->keeper->quit, false);
}

/* One rung up, when something is late. */
static inline void test_ladder_climb(struct ringlane_managed *managed)
{
	static uint64_t later_ns;

	later_ns += 1000 * NS_PER_S;
	managed_ladder_look(managed->keeper, clock_ns() + later_ns);
}

/* A look at a time when nothing was late yet: the next trouble begins at the foot. */
static inline void test_ladder_leave(struct ringlane_managed *managed)
{
	managed_ladder_look(managed->keeper, 0);
}

/* Until what() is true; a deadline, and the CPU for others in between. */
#define test_until(what)                                                       \
	do {                                                                   \
		uint64_t test_end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS; \
                                                                               \
		while (!(what) && clock_ns() < test_end)                       \
			sched_yield();                                         \
		assert_true(what);                                             \
	} while (0)

#endif
