// SPDX-License-Identifier: MIT
/*
 * A job: one thread, one queue (or a share of one), a fixed number of requests in flight.
 *
 * Each turn of the loop begins as many requests as there are free slots, submits them together, takes a batch of
 * completions and looks at the clock once. With --verify a pass writes each block of the region at most once, waits for
 * all of it, and then reads back exactly the blocks that it wrote.
 *
 * System calls: those of the library, getrusage, pthread_setaffinity_np.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "tools/bench_work.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define EMPTY_TURNS_PER_CLOCK 1024
#define DRAIN_NS_MAX (30 * NS_PER_S)

static const char *const verbs[] = { "read", "write" };

/* ---- one request ---- */

static bool job_checks(const struct bench_job *job)
{
	return job->options->verify && (job->verifying || !rw_has_writes(job->options->rw));
}

static inline uint32_t direction_next(struct bench_job *job)
{
	switch (job->options->rw) {
	case RW_READ:
	case RW_RANDREAD:
		return BENCH_READ;
	case RW_WRITE:
	case RW_RANDWRITE:
		return job->verifying ? BENCH_READ : BENCH_WRITE;
	}
	return job->verifying || work_mixed_reads(&job->work) ? BENCH_READ : BENCH_WRITE;
}

static inline uint64_t block_in_order(struct bench_work *work)
{
	uint64_t block = work->next++;

	if (unlikely(work->next == work->count))
		work->next = 0;
	return block;
}

/* With a pass to keep, what is written or checked has its turn; reads in between go anywhere. */
static inline uint64_t block_next(struct bench_job *job, uint32_t direction)
{
	struct bench_work *work = &job->work;
	bool random = rw_is_random(job->options->rw);

	if (likely(!job->options->verify))
		return random ? multiply_high(random_next(&work->random), work->count) :
				block_in_order(work);
	if (direction == BENCH_READ && !job_checks(job))
		return multiply_high(random_next(&work->random), work->count);
	/* Not at the end of a pass already: how far it came is to be seen afterwards. */
	if (unlikely(work->next == work->count))
		work->next = 0;
	return random ? permutation_at(work, work->next++) : work->next++;
}

static void slot_prepare(struct bench_job *job, struct bench_slot *slot)
{
	size_t size = job->options->block_size;

	slot->check = slot->direction == BENCH_READ && job_checks(job);
	if (slot->direction == BENCH_WRITE)
		bench_block_fill(slot->buffer, size, slot->offset, job->stamp);
	else if (slot->check)
		memset(slot->buffer, 0xa5, size);
}

static int request_begin(struct bench_job *job, struct bench_slot *slot)
{
	size_t size = job->options->block_size;

	slot->direction = direction_next(job);
	slot->offset = (job->work.first + block_next(job, slot->direction)) * size;
	slot->start_ns = job->now_ns;
	if (unlikely(job->options->verify))
		slot_prepare(job, slot);
	return bench_port_begin(job, slot);
}

/* The first failure ends the job; requests in flight are still waited for. */
static void job_fail(struct bench_job *job, int code, const struct bench_slot *slot,
		     const char *what)
{
	job->left = 0;
	if (job->error.code)
		return;
	job->result.error = -code;
	if (slot)
		error_set(&job->error, code, "job %u: %s at %llu: %s", job->index,
			  verbs[slot->direction], (unsigned long long)slot->offset, what);
	else
		error_set(&job->error, code, "job %u: %s", job->index, what);
}

static void loop_fail(struct bench_job *job, int code)
{
	job_fail(job, code, NULL,
		 code == -ECONNRESET ? "the back end is gone" :
		 code == -EPROTO     ? "the device broke the rules of the ring" :
				       strerrordesc_np(-code));
}

static void request_check(struct bench_job *job, const struct bench_slot *slot)
{
	uint64_t stamp = job->verifying && !job->options->verify_only ? job->stamp : 0;
	const char *wrong =
		bench_block_check(slot->buffer, job->options->block_size, slot->offset, stamp);
	char what[128];

	if (!wrong)
		return;
	snprintf(what, sizeof(what), "the block is not what was written: %s", wrong);
	job_fail(job, -EILSEQ, slot, what);
}

/* A request has failed: the sentence of its LUN, when it has answered, else that of the error. */
static void request_fail(struct bench_job *job, const struct bench_slot *slot, int code)
{
	const struct ringlane_scsi_result *answer =
		job->answers ? &job->answers[slot - job->slots] : NULL;
	char sentence[160], what[256];

	if (!answer || answer->response == RINGLANE_SCSI_NONE) {
		job_fail(job, code, slot, strerrordesc_np(-code));
		return;
	}
	ringlane_scsi_strerror(answer, sentence, sizeof(sentence));
	snprintf(what, sizeof(what), "%s%s", job->disk, sentence);
	job_fail(job, code, slot, what);
}

static inline void request_end(struct bench_job *job, const struct ringlane_completion *completion)
{
	struct bench_slot *slot = completion->user_data;
	struct bench_side *side = &job->result.sides[slot->direction];

	job->free_slots[job->free_count++] = slot;
	job->in_flight--;
	if (unlikely(completion->result < 0)) {
		if (completion->result == -ECONNRESET)
			loop_fail(job, completion->result);
		else
			request_fail(job, slot, completion->result);
		return;
	}
	side->ios++;
	histogram_add(&side->latency, job->now_ns - slot->start_ns);
	if (unlikely(slot->check))
		request_check(job, slot);
}

/* ---- the loop ---- */

static void requests_begin(struct bench_job *job)
{
	int ret = 0;

	if (!job->left || !job->free_count)
		return;
	bench_port_enter(job->port);
	while (job->left && job->free_count) {
		ret = request_begin(job, job->free_slots[job->free_count - 1]);
		if (unlikely(ret < 0))
			break;
		job->free_count--;
		job->in_flight++;
		job->left--;
	}
	bench_port_leave(job->port);
	if (unlikely(ret < 0))
		job_fail(job, ret, job->free_slots[job->free_count - 1], strerrordesc_np(-ret));
}

static void measure_begin(struct bench_job *job)
{
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++) {
		job->result.sides[i].ios = 0;
		histogram_init(&job->result.sides[i].latency);
	}
	getrusage(RUSAGE_THREAD, &job->usage_start);
	job->measure_start_ns = job->now_ns;
	if (job->options->runtime_ns)
		job->end_ns = job->now_ns + job->options->runtime_ns;
	job->ramping = false;
}

static void clock_look(struct bench_job *job)
{
	job->now_ns = clock_ns();
	if (unlikely(job->now_ns >= job->end_ns || load_relaxed(job->stop)))
		job->left = 0;
	if (unlikely(job->ramping && job->now_ns >= job->ramp_end_ns))
		measure_begin(job);
}

static void requests_end(struct bench_job *job, const struct ringlane_completion *completions,
			 unsigned count)
{
	clock_look(job);
	for (unsigned i = 0; i < count; i++)
		request_end(job, &completions[i]);
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++)
		store_relaxed(&job->progress[i], job->result.sides[i].ios);
}

/* Nothing came for a while. -ETIMEDOUT: nothing will. */
static int turn_empty(struct bench_job *job)
{
	uint64_t last_ns = job->now_ns;

	clock_look(job);
	if (job->left || job->now_ns - last_ns < DRAIN_NS_MAX) {
		job->now_ns = job->left ? job->now_ns : last_ns;
		return 0;
	}
	job_fail(job, -ETIMEDOUT, NULL, "the device does not complete its requests");
	return -ETIMEDOUT;
}

/* Whoever never sleeps does not look at the clock each time. */
static bool job_spins(const struct bench_job *job)
{
	return job->options->hipri || job->options->poll_queues;
}

/* Until nothing is left to begin and nothing is in flight. */
static int job_loop(struct bench_job *job)
{
	struct ringlane_completion completions[BENCH_BATCH];
	unsigned empty = 0, empty_max = job_spins(job) ? EMPTY_TURNS_PER_CLOCK : 1;

	job->now_ns = clock_ns();
	while (job->left || job->in_flight) {
		int ret;

		requests_begin(job);
		ret = bench_port_reap(job, completions);
		if (unlikely(ret < 0)) {
			loop_fail(job, ret);
			return ret;
		}
		if (ret > 0) {
			requests_end(job, completions, (unsigned)ret);
			empty = 0;
		} else if (++empty >= empty_max) {
			empty = 0;
			if (turn_empty(job) < 0)
				return -ETIMEDOUT;
		}
	}
	return job->error.code;
}

/* ---- phases ---- */

static int phase_run(struct bench_job *job, bool reads, bool writes)
{
	const bool took_part[] = { reads, writes };
	int ret;

	job->now_ns = job->measure_start_ns = clock_ns();
	ret = job_loop(job);
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++)
		if (took_part[i])
			job->result.sides[i].runtime_ns += job->now_ns - job->measure_start_ns;
	job->result.runtime_ns += job->now_ns - job->measure_start_ns;
	return ret;
}

static int run_plain(struct bench_job *job)
{
	unsigned rw = job->options->rw;

	job->left = job->options->time_based ? UINT64_MAX : job->work.count;
	return phase_run(job, rw_has_reads(rw), rw_has_writes(rw));
}

/* How far a pass came is in work.next: the blocks with a smaller number in its order were written. */
static int pass_write(struct bench_job *job)
{
	unsigned rw = job->options->rw;

	job->work.next = 0;
	job->verifying = false;
	job->left = job->work.count;
	return phase_run(job, rw_has_reads(rw), true);
}

static int pass_check(struct bench_job *job)
{
	uint64_t end_ns = job->end_ns;
	int ret;

	job->left = job->options->verify_only ? job->work.count : job->work.next;
	job->work.next = 0;
	job->verifying = true;
	job->end_ns = UINT64_MAX;
	ret = phase_run(job, true, false);
	job->end_ns = end_ns;
	return ret;
}

static int run_verified(struct bench_job *job)
{
	int ret = 0;

	do {
		job->pass++;
		job->work.pass_seed = job->options->seed << 32 | (job->pass & UINT32_MAX);
		job->stamp++;
		if (!job->options->verify_only)
			ret = pass_write(job);
		if (ret == 0)
			ret = pass_check(job);
	} while (ret == 0 && job->options->time_based && job->now_ns < job->end_ns &&
		 !load_relaxed(job->stop));
	return ret;
}

/* ---- the thread ---- */

static void cpu_pin(const struct bench_job *job)
{
	cpu_set_t set;

	if (job->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(job->cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static double seconds_between(const struct timeval *from, const struct timeval *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_usec - from->tv_usec) / 1e6;
}

static void usage_end(struct bench_job *job)
{
	struct bench_result *result = &job->result;
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	result->user_s = seconds_between(&job->usage_start.ru_utime, &usage.ru_utime);
	result->system_s = seconds_between(&job->usage_start.ru_stime, &usage.ru_stime);
	result->switches = (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw - job->usage_start.ru_nvcsw -
				      job->usage_start.ru_nivcsw);
	result->major_faults = (uint64_t)(usage.ru_majflt - job->usage_start.ru_majflt);
	result->minor_faults = (uint64_t)(usage.ru_minflt - job->usage_start.ru_minflt);
}

static void times_set(struct bench_job *job)
{
	uint64_t start = clock_ns();

	job->ramping = job->options->ramp_ns != 0;
	job->ramp_end_ns = start + job->options->ramp_ns;
	job->end_ns = UINT64_MAX;
	if (job->options->runtime_ns)
		job->end_ns = job->ramp_end_ns + job->options->runtime_ns;
}

void *bench_job_run(void *opaque)
{
	struct bench_job *job = opaque;

	cpu_pin(job);
	times_set(job);
	getrusage(RUSAGE_THREAD, &job->usage_start);
	if (job->options->verify && rw_has_writes(job->options->rw))
		run_verified(job);
	else
		run_plain(job);
	usage_end(job);
	for (unsigned i = 0; i < BENCH_DIRECTIONS; i++)
		job->result.sides[i].bytes = job->result.sides[i].ios * job->options->block_size;
	job->finished(job, job->finished_opaque);
	return NULL;
}
