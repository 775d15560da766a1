// SPDX-License-Identifier: MIT
/*
 * The same load on a virtio-blk or a virtio-scsi disk by libringlane, over vhost-user: 4 KiB random reads, a thread and a queue for each
 * job.
 *
 *     disk_load [--scsi=T:L]... [--jobs=N] [--depth=N] [--seconds=S] [--cpus=A,B,…] [--size=BYTES] [--sleep] [--tolerate]
 *               [--reset=T:L [--resets-per-s=N]] SOCKET...
 *
 * Without --scsi the disk is virtio-blk. With several, job i reads LUN i modulo their number; with several sockets, by device i
 * modulo theirs, each of which has a queue for every job. --sleep waits for interrupts instead of polling. --tolerate counts failed
 * reads instead of ending (a LUN that is reset or unplugged). --reset sends LOGICAL UNIT RESET after LOGICAL UNIT RESET to that LUN of
 * the first device through the control queue meanwhile.
 *
 * Prints one JSON object: for each job reads per second, latency in microseconds, failed reads; and how many resets were answered.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/histogram.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <ringlane/scsi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING_SIZE 256u
#define DEPTH_MAX 64u
#define DATA_BYTES 4096u
#define JOBS_MAX 16u
#define DEVICES_MAX 4u
#define GIVE_UP_NS (30 * NS_PER_S)

struct lun {
	unsigned target, lun;
};

struct request {
	uint64_t begun_ns;
	void *data;
};

struct job {
	struct ringlane_device *device;
	struct ringlane_queue *queue;
	struct ringlane_lun *lun; /* NULL: virtio-blk */
	struct request requests[DEPTH_MAX];
	struct request *free[DEPTH_MAX];
	unsigned free_count;
	pthread_t thread;
	int cpu; /* -1: anywhere */
	uint64_t random, end_ns;
	uint64_t reads, failed, elapsed_ns;
	struct histogram latency;
} cache_aligned;

static struct {
	struct lun luns[JOBS_MAX];
	unsigned lun_count, jobs, depth, cpu_count;
	int cpus[JOBS_MAX];
	uint64_t seconds, size;
	bool sleeps, tolerate, resets;
	struct lun reset;
	uint64_t resets_per_s; /* 0: as many as there can be */
	unsigned device_count;
	const char *sockets[DEVICES_MAX];
	struct ringlane_device *devices[DEVICES_MAX];
	uint64_t reset_count, reset_failed;
	bool stop;
} load = { .jobs = 1, .depth = 64, .seconds = 2, .size = 1ull << 30 };

static void die(const char *what)
{
	fprintf(stderr, "disk_load: %s\n", what);
	exit(1);
}

/* ---- one request ---- */

static uint64_t random_next(struct job *job)
{
	job->random ^= job->random << 13;
	job->random ^= job->random >> 7;
	job->random ^= job->random << 17;
	return job->random;
}

static void begin(struct job *job, uint64_t now_ns)
{
	struct request *request = job->free[--job->free_count];
	uint64_t offset = random_next(job) % (load.size / DATA_BYTES) * DATA_BYTES;
	int ret;

	if (job->lun)
		ret = ringlane_lun_read(job->queue, job->lun, request->data, DATA_BYTES, offset,
					request);
	else
		ret = ringlane_read(job->queue, request->data, DATA_BYTES, offset, request);
	if (ret < 0)
		die("a read was refused");
	request->begun_ns = now_ns;
}

static void end(struct job *job, const struct ringlane_completion *completion, uint64_t now_ns)
{
	struct request *request = completion->user_data;

	job->free[job->free_count++] = request;
	if (completion->result == 0) {
		job->reads++;
		histogram_add(&job->latency, now_ns - request->begun_ns);
		return;
	}
	if (!load.tolerate)
		die("a read failed");
	job->failed++;
}

static unsigned end_all(struct job *job, const struct ringlane_completion *done, int count)
{
	uint64_t now_ns;

	if (count < 0)
		die("the device is gone or broke the ring");
	if (count == 0)
		return 0;
	now_ns = clock_ns();
	for (int i = 0; i < count; i++)
		end(job, &done[i], now_ns);
	return (unsigned)count;
}

static unsigned reap(struct job *job)
{
	struct ringlane_completion done[DEPTH_MAX];

	return end_all(job, done, ringlane_reap(job->queue, done, load.depth));
}

static unsigned sleep_and_reap(struct job *job)
{
	struct ringlane_completion done[DEPTH_MAX];
	int timeout_ms = (int)(GIVE_UP_NS / NS_PER_MS);

	return end_all(job, done, ringlane_wait(job->queue, done, 1, load.depth, timeout_ms, 0));
}

/* ---- jobs ---- */

static void submit(struct job *job, uint64_t now_ns)
{
	while (job->free_count > 0)
		begin(job, now_ns);
	ringlane_submit(job->queue);
}

static void *job_run(void *opaque)
{
	struct job *job = opaque;
	uint64_t start = clock_ns(), last = start, now;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (job->cpu >= 0)
		CPU_SET((unsigned)job->cpu, &cpus);
	if (job->cpu >= 0)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	for (now = start; now < job->end_ns || job->free_count < load.depth; now = clock_ns()) {
		if (now < job->end_ns)
			submit(job, now);
		if ((load.sleeps ? sleep_and_reap(job) : reap(job)) > 0)
			last = now;
		else if (now - last > GIVE_UP_NS)
			die("a read was never answered");
	}
	job->elapsed_ns = clock_ns() - start;
	return NULL;
}

/* ---- resets ---- */

static void wait_until(uint64_t time_ns)
{
	struct timespec at = { (time_t)(time_ns / NS_PER_S), (long)(time_ns % NS_PER_S) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void *resets_run(void *opaque)
{
	uint64_t next_ns = clock_ns();

	while (!load_relaxed(&load.stop)) {
		int ret = ringlane_scsi_manage(load.devices[0], RINGLANE_SCSI_LOGICAL_UNIT_RESET,
					       load.reset.target, load.reset.lun, 0,
					       (unsigned)(GIVE_UP_NS / NS_PER_MS));

		if (ret == -ETIMEDOUT)
			die("a reset was never answered");
		if (ret < 0)
			load.reset_failed++;
		else
			load.reset_count++;
		if (load.resets_per_s)
			wait_until(next_ns += NS_PER_S / load.resets_per_s);
	}
	return opaque;
}

/* ---- the whole ---- */

static struct lun parse_lun(const char *text)
{
	struct lun lun;

	if (sscanf(text, "%u:%u", &lun.target, &lun.lun) != 2)
		die("a LUN is TARGET:LUN");
	return lun;
}

static void parse_cpus(const char *text)
{
	for (;;) {
		char *end;
		unsigned long cpu = strtoul(text, &end, 10);

		if (end == text || cpu >= CPU_SETSIZE || load.cpu_count == JOBS_MAX)
			die("--cpus takes numbers of CPUs with commas between");
		load.cpus[load.cpu_count++] = (int)cpu;
		if (!*end)
			return;
		text = end + 1;
	}
}

static void parse_one(int option)
{
	switch (option) {
	case 's':
		if (load.lun_count < JOBS_MAX)
			load.luns[load.lun_count++] = parse_lun(optarg);
		break;
	case 'j':
		load.jobs = (unsigned)strtoul(optarg, NULL, 10);
		break;
	case 'd':
		load.depth = (unsigned)strtoul(optarg, NULL, 10);
		break;
	case 't':
		load.seconds = strtoull(optarg, NULL, 10);
		break;
	case 'b':
		load.size = strtoull(optarg, NULL, 10);
		break;
	case 'c':
		parse_cpus(optarg);
		break;
	case 'S':
		load.sleeps = true;
		break;
	case 'T':
		load.tolerate = true;
		break;
	case 'r':
		load.resets = true;
		load.reset = parse_lun(optarg);
		break;
	case 'p':
		load.resets_per_s = strtoull(optarg, NULL, 10);
		break;
	default:
		exit(1);
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "scsi", required_argument, NULL, 's' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "depth", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 't' },
		{ "size", required_argument, NULL, 'b' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "sleep", no_argument, NULL, 'S' },
		{ "tolerate", no_argument, NULL, 'T' },
		{ "reset", required_argument, NULL, 'r' },
		{ "resets-per-s", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		parse_one(c);
	for (; optind < argc && load.device_count < DEVICES_MAX; optind++)
		load.sockets[load.device_count++] = argv[optind];
	if (optind < argc || !load.device_count || load.jobs < 1 || load.jobs > JOBS_MAX ||
	    load.depth < 1 || load.depth > DEPTH_MAX || load.size < DATA_BYTES)
		die("1 to 4 SOCKETs, 1 to 16 jobs, a depth of 1 to 64, at least 4096 bytes");
	if (load.resets && !load.lun_count)
		die("--reset needs --scsi");
}

static void print_results(const struct job *jobs)
{
	printf("{\"resets\": %llu, \"failed_resets\": %llu, \"jobs\": [",
	       (unsigned long long)load.reset_count, (unsigned long long)load.reset_failed);
	for (unsigned i = 0; i < load.jobs; i++) {
		const struct job *job = &jobs[i];

		printf("%s{\"iops\": %.0f, \"failed\": %llu, \"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}",
		       i ? ", " : "", (double)job->reads * 1e9 / (double)job->elapsed_ns,
		       (unsigned long long)job->failed, histogram_mean(&job->latency) / 1e3,
		       (double)histogram_percentile(&job->latency, 50) / 1e3,
		       (double)histogram_percentile(&job->latency, 99) / 1e3,
		       (double)job->latency.max / 1e3);
	}
	printf("]}\n");
}

static void open_device(const char *socket, struct ringlane_device **ret_device)
{
	struct ringlane_options options = { .queues = load.jobs, .queue_size = RING_SIZE };
	struct ringlane_error error;
	struct ringlane_info info;
	char uri[300];

	options.mem_size = (size_t)load.jobs * load.depth * DATA_BYTES;
	if (load.lun_count)
		snprintf(uri, sizeof(uri), "vhost-user-scsi:%s", socket);
	else
		snprintf(uri, sizeof(uri), "vhost-user-blk:%s", socket);
	if (ringlane_open(uri, &options, ret_device, &error) < 0)
		die(error.text);
	ringlane_get_info(*ret_device, &info);
	if (info.queues < load.jobs)
		die("the device has fewer queues than there are jobs");
}

/* With --tolerate it may be away at the moment. */
static void open_lun(struct job *job, struct lun lun)
{
	uint64_t limit = clock_ns() + GIVE_UP_NS;
	struct ringlane_error error;

	while (ringlane_lun_open(job->device, job->queue, lun.target, lun.lun, &job->lun, &error) <
	       0)
		if (!load.tolerate || clock_ns() > limit)
			die(error.text);
}

static void open_job(struct job *job, unsigned index)
{
	struct ringlane_error error;
	uint8_t *data;

	job->device = load.devices[index % load.device_count];
	job->queue = ringlane_queue_get(job->device, index);
	data = ringlane_mem_alloc(job->device, (size_t)load.depth * DATA_BYTES, &error);
	if (!data)
		die(error.text);
	if (ringlane_queue_depth(job->queue) < load.depth)
		die("a queue does not hold so many requests");
	job->random = 88172645463325252ull + index;
	job->cpu = load.cpu_count ? load.cpus[index % load.cpu_count] : -1;
	histogram_init(&job->latency);
	for (unsigned i = 0; i < load.depth; i++) {
		job->requests[i].data = data + (size_t)i * DATA_BYTES;
		job->free[job->free_count++] = &job->requests[i];
	}
	if (load.lun_count)
		open_lun(job, load.luns[index % load.lun_count]);
}

static void close_all(struct job *jobs)
{
	for (unsigned i = 0; i < load.jobs; i++)
		ringlane_lun_close(jobs[i].lun);
	for (unsigned i = 0; i < load.device_count; i++)
		ringlane_close(load.devices[i]);
}

int main(int argc, char **argv)
{
	static struct job jobs[JOBS_MAX];
	pthread_t resetter;
	uint64_t now;

	parse(argc, argv);
	for (unsigned i = 0; i < load.device_count; i++)
		open_device(load.sockets[i], &load.devices[i]);
	for (unsigned i = 0; i < load.jobs; i++)
		open_job(&jobs[i], i);
	now = clock_ns();
	for (unsigned i = 0; i < load.jobs; i++) {
		jobs[i].end_ns = now + load.seconds * NS_PER_S;
		if (pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]))
			die("no thread");
	}
	if (load.resets && pthread_create(&resetter, NULL, resets_run, NULL))
		die("no thread");
	for (unsigned i = 0; i < load.jobs; i++)
		pthread_join(jobs[i].thread, NULL);
	store_relaxed(&load.stop, true);
	if (load.resets)
		pthread_join(resetter, NULL);
	print_results(jobs);
	close_all(jobs);
	return 0;
}
