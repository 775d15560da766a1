/* SPDX-License-Identifier: MIT */
/* Waiting for the jobs, with a line on the terminal about how far they are. The main thread, except job_done. */
#ifndef RINGLANE_TOOLS_BENCH_PROGRESS_H
#define RINGLANE_TOOLS_BENCH_PROGRESS_H

#include "tools/bench.h"

struct bench_progress {
	const struct bench_options *options;
	struct bench_job *const *jobs;
	unsigned job_count;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned done; /* jobs; under the lock */
	bool visible;
	uint64_t start_ns, last_ns, last_ios;
};

void bench_progress_init(struct bench_progress *progress, const struct bench_options *options,
			 struct bench_job *const *jobs, unsigned job_count);
/* Returns when `started` jobs are done. */
void bench_progress_show(struct bench_progress *progress, unsigned started);
/* From the job's thread, as its last act. */
void bench_progress_job_done(struct bench_progress *progress);

#endif
