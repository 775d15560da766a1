// SPDX-License-Identifier: MIT
/* A job of the bench on devices that break the rules: it ends, and soon. */
#include "tools/bench.h"

#include "tools/bench_work.h"

#include "driver/test_disk.h"

#include <time.h>

#define DEPTH 4
#define DEADLINE_S 15 /* less than a job waits for requests that do not come back */

struct rig {
	struct test_disk disk;
	struct bench_options options;
	struct bench_port port;
	struct bench_slot slots[DEPTH];
	struct bench_slot *free_slots[DEPTH];
	bool stop;
};

static void finished(struct bench_job *job, void *opaque)
{
}

static struct bench_job *job_new(struct rig *rig)
{
	struct bench_job *job = aligned_alloc(CACHE_LINE, sizeof(*job));

	assert_non_null(job);
	*job = (struct bench_job){
		.options = &rig->options,
		.port = &rig->port,
		.cpu = -1,
		.finished = finished,
		.stop = &rig->stop,
		.slots = rig->slots,
		.free_slots = rig->free_slots,
		.free_count = DEPTH,
		.wake_fd = -1,
		.work = { .count = 256, .half_bits = permutation_half_bits(256) },
	};
	for (unsigned i = 0; i < DEPTH; i++) {
		rig->slots[i] =
			(struct bench_slot){ .job = job, .buffer = rig->disk.buffer + i * 4096 };
		rig->free_slots[i] = &rig->slots[i];
	}
	return job;
}

static void job_run(struct bench_job *job)
{
	struct timespec deadline;
	pthread_t thread;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += DEADLINE_S;
	assert_int_equal(pthread_create(&thread, NULL, bench_job_run, job), 0);
	assert_int_equal(pthread_timedjoin_np(thread, NULL, &deadline), 0);
}

static void test_job_when_the_ring_breaks_then_it_does_not_wait(void **state)
{
	static const enum fake_trick tricks[] = { FAKE_BAD_ID, FAKE_TWICE, FAKE_LENGTH,
						  FAKE_INDEX_JUMPS };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(tricks); i++) {
		const struct fake_setup setup = { .trick = tricks[i / 2], .honest_first = 9 };
		const struct ringlane_options one_queue = { .queues = 1 };
		struct rig rig = {
			.disk = test_disk_open(&setup, &one_queue),
			.options = { .rw = RW_RANDREAD,
				     .block_size = 4096,
				     .depth = DEPTH,
				     .jobs = 1,
				     .hipri = i % 2 },
		};
		struct bench_job *job;

		rig.port.queue = rig.disk.queue;
		job = job_new(&rig);
		job_run(job);
		assert_int_equal(job->error.code, -EPROTO);
		assert_int_equal(job->result.error, EPROTO);
		test_disk_close(&rig.disk);
		free(job);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_when_the_ring_breaks_then_it_does_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
