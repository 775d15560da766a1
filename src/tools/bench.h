/* SPDX-License-Identifier: MIT */
/*
 * `ringlane bench`: options, jobs and results.
 *
 * bench.c opens the disk, starts a thread for each job and reports; bench_job.c is the loop that such a thread runs;
 * bench_work.h decides what is read and written next; bench_port.c lets several jobs share a queue; bench_managed.c is the
 * managed way instead; bench_verify.c makes and checks the contents of blocks; bench_report.c and bench_json.c print.
 *
 * A job's time-keeping: one look at the clock for each batch of completions. It ends the requests of the batch and begins
 * those that are submitted next, so at a queue depth of 1 a latency is a whole turn of the loop, submission included.
 */
#ifndef RINGLANE_TOOLS_BENCH_H
#define RINGLANE_TOOLS_BENCH_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/histogram.h"
#include "tools/options.h"

#include <pthread.h>
#include <ringlane/managed.h>
#include <ringlane/ringlane.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

#define BENCH_BATCH 64 /* completions taken at once */

/* In the order of the names in bench_options.c. */
enum bench_rw { RW_READ, RW_WRITE, RW_RANDREAD, RW_RANDWRITE, RW_MIXED, RW_RANDMIXED };
enum bench_format { FORMAT_NORMAL, FORMAT_JSON };
enum bench_verify_kind { VERIFY_NONE, VERIFY_CRC32C };
enum bench_direction { BENCH_READ, BENCH_WRITE, BENCH_DIRECTIONS };

struct bench_options {
	const char *uri, *name, *output, *cpus_allowed;
	unsigned rw, format, verify;
	uint64_t block_size, depth, jobs, queues, queue_size;
	uint64_t size, offset;
	uint64_t runtime_ns, ramp_ns, poll_ns;
	uint64_t read_percent, seed;
	unsigned policy, iopoll, replay;
	uint64_t weight, reapers, timeout_ns, poll_queues;
	bool managed;
	bool time_based, hipri, verify_only, group_reporting, no_progress;
};

extern const struct option_table bench_table;
void bench_options_init(struct bench_options *options);
/* What the table cannot say: which options fit together. */
int bench_options_check(struct bench_options *options, struct error *error);

static inline bool rw_is_random(unsigned rw)
{
	return rw == RW_RANDREAD || rw == RW_RANDWRITE || rw == RW_RANDMIXED;
}

static inline bool rw_has_writes(unsigned rw)
{
	return rw != RW_READ && rw != RW_RANDREAD;
}

static inline bool rw_has_reads(unsigned rw)
{
	return rw != RW_WRITE && rw != RW_RANDWRITE;
}

/* What was measured in one direction. */
struct bench_side {
	uint64_t ios, bytes;
	uint64_t runtime_ns; /* of the phases that had this direction */
	struct histogram latency;
};

struct bench_result {
	struct bench_side sides[BENCH_DIRECTIONS];
	uint64_t runtime_ns;     /* measured, that is, without the ramp */
	double user_s, system_s; /* CPU of the job's thread in that time */
	uint64_t switches, major_faults, minor_faults;
	int error; /* errno */
};

struct bench_job;

/* One request's place: its buffer is fixed. */
struct bench_slot {
	struct bench_job *job;
	uint8_t *buffer;
	uint64_t start_ns, offset;
	uint32_t direction; /* enum bench_direction */
	uint32_t check;     /* verify the contents when it is done */
};

/* A queue and the jobs that use it; or, when managed is set, one job and its flow. */
struct bench_port {
	struct ringlane_queue *queue;
	struct ringlane_managed *managed;
	struct ringlane_flow *flow;
	bool shared; /* by several jobs: lock it */
	cache_aligned pthread_mutex_t lock;
};

/* The stream of blocks that a job goes through. See bench_work.h. */
struct bench_work {
	uint64_t first, count; /* blocks of the region */
	uint64_t next;         /* of this pass */
	uint64_t random;       /* state */
	uint64_t mix_limit;    /* a random word below it makes a read */
	uint64_t pass_seed;
	unsigned half_bits; /* of the permutation */
};

struct bench_job {
	/* set up by the main thread */
	cache_aligned const struct bench_options *options;
	struct bench_port *port;
	unsigned index;
	int cpu; /* -1: wherever the scheduler wants */
	pthread_t thread;
	void (*finished)(struct bench_job *job, void *opaque);
	void *finished_opaque;
	const bool *stop; /* atomic: somebody wants all jobs to end */
	struct bench_slot *slots;
	struct ringlane_scsi_result *answers; /* one for each slot; NULL: no SCSI disk */
	const char *disk; /* which, before a failure's words: "" or "target 0, LUN 0: " */
	/* the thread's */
	cache_aligned struct bench_work work;
	struct bench_slot **free_slots;
	unsigned free_count;
	unsigned in_flight;
	uint64_t left;   /* blocks to begin in this phase */
	uint64_t now_ns; /* at the last batch */
	uint64_t end_ns, ramp_end_ns, measure_start_ns;
	bool ramping, verifying;
	uint64_t pass;
	uint64_t stamp; /* of the blocks of this pass; no earlier pass or run had it */
	struct rusage usage_start;
	struct ringlane_request *pending; /* managed: begun and not accepted yet */
	unsigned pending_count;
	/* completions that another job of the port, or a reaper, took from the queue; under the port's lock */
	cache_aligned struct ringlane_completion *inbox;
	unsigned inbox_count;
	bool sleeping;
	int wake_fd;
	/* read by the main thread while it runs */
	cache_aligned uint64_t progress[BENCH_DIRECTIONS]; /* atomic: requests done */
	/* results */
	struct bench_result result;
	struct error error;
};

/* The job's thread: runs it and, as its last act, calls job->finished. opaque is the job. */
void *bench_job_run(void *opaque);

/* ---- bench_port.c: on the job's thread ---- */

/* Around bench_port_begin: a shared port is locked. */
void bench_port_enter(struct bench_port *port);
void bench_port_leave(struct bench_port *port);
/* Queues the slot's request. -errno as ringlane_read. */
int bench_port_begin(struct bench_job *job, struct bench_slot *slot);
/*
 * Submits and takes completions of this job, up to BENCH_BATCH; waits a while when the options allow to sleep. 0: none
 * yet. Not inside enter and leave.
 */
int bench_port_reap(struct bench_job *job, struct ringlane_completion *completions);
/* Under the port's lock: a completion goes to the job that it belongs to, which is woken when it sleeps. */
void bench_port_hand_over(const struct ringlane_completion *completion);
/* Under the port's lock: up to BENCH_BATCH of what was handed over. */
int bench_port_take(struct bench_job *job, struct ringlane_completion *completions);

/* ---- bench_managed.c: the managed way ---- */

int bench_managed_start(const struct bench_options *options, struct ringlane_device *disk,
			struct ringlane_managed **ret_managed, struct error *error);
void bench_managed_begin(struct bench_job *job, struct bench_slot *slot);
int bench_managed_reap(struct bench_job *job, struct ringlane_completion *completions);
void bench_managed_report(struct ringlane_managed *managed, FILE *stream);

/* ---- bench_verify.c ---- */

/* A block of size bytes (512 at least) at offset, of the pass over the disk that stamp names. */
void bench_block_fill(void *block, size_t size, uint64_t offset, uint64_t stamp);
/* NULL: sound; otherwise what is wrong. stamp 0: of any pass. */
const char *bench_block_check(const void *block, size_t size, uint64_t offset, uint64_t stamp);

/* ---- results ---- */

void bench_result_merge(struct bench_result *into, const struct bench_result *from);

struct bench_report {
	const struct bench_options *options;
	const struct options_parsed *given;
	struct bench_job *const *jobs;
	unsigned job_count;
	uint64_t elapsed_ns;
	unsigned queues;
};

int bench_report_normal(const struct bench_report *report, FILE *stream);
int bench_report_json(const struct bench_report *report, FILE *stream);

/* The percentiles of fio's reports. */
extern const double bench_percentiles[];
extern const unsigned bench_percentile_count;

#endif
