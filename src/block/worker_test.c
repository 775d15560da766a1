/* SPDX-License-Identifier: MIT */
/* The thread for blocking calls: where jobs run, in which order, where they end. */
#include "block/test_rig.h"
#include "block/worker.h"

#include "base/clock.h"

#include <unistd.h>

#define JOBS 32

struct test_job {
	struct worker_job job;
	unsigned *started, *finished; /* the worker's, the loop's */
	unsigned start_place, finish_place;
	pid_t ran_on, done_on;
};

static void job_run(struct worker_job *base)
{
	struct test_job *job = container_of(base, struct test_job, job);

	job->start_place = (*job->started)++;
	job->ran_on = gettid();
}

static void job_done(struct worker_job *base)
{
	struct test_job *job = container_of(base, struct test_job, job);

	job->finish_place = (*job->finished)++;
	job->done_on = gettid();
}

static void test_post_when_many_jobs_then_in_order_and_done_on_loop(void **state)
{
	struct rig *rig = *state;
	uint64_t deadline_ns = clock_ns() + 20 * NS_PER_S;
	struct test_job jobs[JOBS] = { 0 };
	unsigned started = 0, finished = 0;
	struct worker *worker = NULL;

	assert_int_equal(worker_new(&worker), 0);
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct test_job){
			.job = { .run = job_run, .done = job_done, .loop = rig->loop },
			.started = &started,
			.finished = &finished,
		};
		worker_post(worker, &jobs[i].job);
	}
	while (finished < JOBS) {
		assert_true(clock_ns() < deadline_ns);
		loop_turn(rig->loop, NS_PER_MS);
	}
	worker_free(worker);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(jobs[i].start_place, i);
		assert_int_equal(jobs[i].finish_place, i);
		assert_int_equal(jobs[i].done_on, gettid());
		assert_int_not_equal(jobs[i].ran_on, gettid());
		assert_int_equal(jobs[i].ran_on, jobs[0].ran_on);
	}
}

static void test_free_when_never_used_then_thread_ends(void **state)
{
	struct worker *worker = NULL;

	assert_int_equal(worker_new(&worker), 0);
	assert_non_null(worker);
	worker_free(worker);
	worker_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_post_when_many_jobs_then_in_order_and_done_on_loop),
		rig_test(test_free_when_never_used_then_thread_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
