// SPDX-License-Identifier: MIT
/* A line on the standard error, twice a second, when that is a terminal. */
#include "tools/bench_progress.h"

#include "base/atomic.h"
#include "base/clock.h"

#include <time.h>
#include <unistd.h>

#define PERIOD_NS (NS_PER_S / 2)

void bench_progress_init(struct bench_progress *progress, const struct bench_options *options,
			 struct bench_job *const *jobs, unsigned job_count)
{
	pthread_condattr_t attributes;

	*progress = (struct bench_progress){
		.options = options,
		.jobs = jobs,
		.job_count = job_count,
		.visible = !options->no_progress && isatty(STDERR_FILENO),
		.start_ns = clock_ns(),
	};
	progress->last_ns = progress->start_ns;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&progress->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&progress->lock, NULL);
}

void bench_progress_job_done(struct bench_progress *progress)
{
	pthread_mutex_lock(&progress->lock);
	progress->done++;
	pthread_cond_signal(&progress->changed);
	pthread_mutex_unlock(&progress->lock);
}

static uint64_t ios_done(const struct bench_progress *progress)
{
	uint64_t ios = 0;

	for (unsigned i = 0; i < progress->job_count; i++)
		for (unsigned side = 0; side < BENCH_DIRECTIONS; side++)
			ios += load_relaxed(&progress->jobs[i]->progress[side]);
	return ios;
}

/* 0 to 100: by time when the time decides, else by requests. */
static double percent_done(const struct bench_progress *progress, uint64_t now_ns, uint64_t ios)
{
	const struct bench_options *options = progress->options;
	uint64_t total_ns = options->runtime_ns + options->ramp_ns;
	uint64_t blocks = options->size / options->block_size;
	double by_time = 0, by_ios = 0;

	if (options->runtime_ns)
		by_time = (double)(now_ns - progress->start_ns) * 100.0 / (double)total_ns;
	if (options->verify)
		blocks = blocks / options->jobs * (options->verify_only ? 1 : 2);
	if (!options->time_based)
		by_ios = (double)ios * 100.0 / ((double)blocks * (double)progress->job_count);
	return MIN(MAX(by_time, by_ios), 100.0);
}

static void line_print(struct bench_progress *progress)
{
	uint64_t now_ns = clock_ns(), ios = ios_done(progress);
	double seconds = (double)(now_ns - progress->last_ns) / 1e9;
	double percent = percent_done(progress, now_ns, ios);
	double elapsed = (double)(now_ns - progress->start_ns) / 1e9;
	double iops = ios >= progress->last_ios ? (double)(ios - progress->last_ios) / seconds : 0;
	unsigned eta = percent > 0 ? (unsigned)(elapsed * (100 - percent) / percent + 0.5) : 0;

	fprintf(stderr, "\r%s: %u jobs [%5.1f%%] %.1fk IOPS, %.1f MiB/s, eta %02u:%02u \033[K",
		progress->options->name, progress->job_count - progress->done, percent, iops / 1e3,
		iops * (double)progress->options->block_size / (1 << 20), eta / 60, eta % 60);
	progress->last_ns = now_ns;
	progress->last_ios = ios;
}

static struct timespec deadline_next(void)
{
	uint64_t ns = clock_ns() + PERIOD_NS;

	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

void bench_progress_show(struct bench_progress *progress, unsigned started)
{
	pthread_mutex_lock(&progress->lock);
	while (progress->done < started) {
		struct timespec deadline = deadline_next();

		if (!progress->visible) {
			pthread_cond_wait(&progress->changed, &progress->lock);
			continue;
		}
		if (pthread_cond_timedwait(&progress->changed, &progress->lock, &deadline) != 0)
			line_print(progress);
	}
	pthread_mutex_unlock(&progress->lock);
	if (progress->visible)
		fprintf(stderr, "\r\033[K");
}
