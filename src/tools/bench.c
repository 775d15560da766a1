// SPDX-License-Identifier: MIT
/*
 * `ringlane bench`: checks what is wanted against what the disk has, lays out memory and jobs, runs them, shows progress
 * and reports. The main thread.
 */
#include "tools/bench.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/cpu_list.h"
#include "base/fd.h"
#include "tools/bench_progress.h"
#include "tools/bench_work.h"
#include "tools/tools.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUEUE_SIZE_MIN 256u
#define QUEUE_SIZE_MAX 1024u
#define DESCS_PER_REQUEST 3u

struct bench {
	struct bench_options options;
	struct options_parsed given;
	struct ringlane_device *disk;
	struct ringlane_info info;
	uint8_t *memory;
	struct ringlane_managed *managed; /* NULL: each job has a queue, or a share of one */
	struct bench_port *ports;
	unsigned port_count;
	struct bench_job **jobs;
	unsigned job_count; /* made */
	unsigned started;
	struct bench_progress progress;
	FILE *output; /* until the report is written */
	uint64_t start_ns, end_ns;
	uint64_t stamp;    /* of blocks to verify: grows from run to run */
	char lun_name[32]; /* of jobs that fail; "" when there are no LUNs */
};

static bool stop; /* atomic; set by a signal or by a job that failed */

/* ---- the disk ---- */

static unsigned jobs_per_queue(const struct bench_options *options, unsigned queues)
{
	return ((unsigned)options->jobs + queues - 1) / MAX(queues, 1u);
}

/* A power of two that holds what the jobs of a queue keep in flight. */
static unsigned queue_size_for(const struct bench_options *options, unsigned queues)
{
	uint64_t descs = DESCS_PER_REQUEST * options->depth * jobs_per_queue(options, queues);
	unsigned size = QUEUE_SIZE_MIN;

	if (options->queue_size)
		return (unsigned)options->queue_size;
	while (size < descs && size < QUEUE_SIZE_MAX)
		size *= 2;
	return size;
}

static size_t memory_bytes(const struct bench_options *options)
{
	return options->jobs * options->depth * options->block_size;
}

static int disk_open_with(struct bench *bench, unsigned queues, unsigned queue_size,
			  struct error *error)
{
	const struct ringlane_options options = {
		.queues = queues,
		.queue_size = queue_size,
		.read_only = !rw_has_writes(bench->options.rw) || bench->options.verify_only,
		.mem_size = memory_bytes(&bench->options),
	};
	int ret = ringlane_open(bench->options.uri, &options, &bench->disk, public_error(error));

	if (ret == 0)
		ringlane_get_info(bench->disk, &bench->info);
	return ret;
}

static void disk_name(struct bench *bench)
{
	const struct ringlane_lun *lun = ringlane_lun_default(bench->disk);
	struct ringlane_lun_info info;

	if (!lun)
		return;
	ringlane_lun_get_info(lun, &info);
	snprintf(bench->lun_name, sizeof(bench->lun_name), "target %u, LUN %u: ", info.unit.target,
		 info.unit.lun);
}

/* 0: one per CPU, if the disk has so many. */
static unsigned queues_wanted(const struct bench_options *options)
{
	if (options->queues || options->managed)
		return (unsigned)options->queues;
	return (unsigned)MIN(options->jobs, 256);
}

/* How many queues there are is known only afterwards; fewer than jobs may want longer rings: then once more. */
static int disk_open(struct bench *bench, struct error *error)
{
	const struct bench_options *options = &bench->options;
	unsigned wanted = queues_wanted(options);
	int ret = disk_open_with(bench, wanted, queue_size_for(options, wanted), error);

	if (ret < 0)
		return ret;
	if (options->queues > bench->info.queues)
		return error_set(error, -EINVAL, "--queues=%llu: the disk has %u",
				 (unsigned long long)options->queues, bench->info.queues);
	if (queue_size_for(options, bench->info.queues) == bench->info.queue_size)
		return 0;
	ringlane_close(bench->disk);
	bench->disk = NULL;
	return disk_open_with(bench, wanted, queue_size_for(options, bench->info.queues), error);
}

/* The managed way says itself when queues are full. */
static int depth_check(const struct bench *bench, struct error *error)
{
	unsigned depth = ringlane_queue_depth(ringlane_queue_get(bench->disk, 0));
	unsigned sharers = jobs_per_queue(&bench->options, bench->info.queues);

	if (bench->options.managed || bench->options.depth * sharers <= depth)
		return 0;
	return error_set(
		error, -EINVAL,
		"--iodepth=%llu with %u jobs on a queue: a queue of %u entries takes %u requests",
		(unsigned long long)bench->options.depth, sharers, bench->info.queue_size, depth);
}

static int disk_check(struct bench *bench, struct error *error)
{
	struct bench_options *options = &bench->options;
	const struct ringlane_info *info = &bench->info;
	uint64_t room = info->capacity - MIN(options->offset, info->capacity);

	if (options->block_size % info->logical_block_size)
		return error_set(error, -EINVAL, "--bs=%llu: the disk has blocks of %u bytes",
				 (unsigned long long)options->block_size, info->logical_block_size);
	if (rw_has_writes(options->rw) && !options->verify_only && info->read_only)
		return error_set(error, -EROFS, "the disk is read-only");
	if (options->size > room)
		return error_set(error, -EINVAL,
				 "--size and --offset reach beyond the disk's %llu bytes",
				 (unsigned long long)info->capacity);
	if (!options->size)
		options->size = room;
	if (options->size < options->block_size * (options->verify ? options->jobs : 1))
		return error_set(error, -EINVAL, "the region has %llu bytes: too few for --bs",
				 (unsigned long long)options->size);
	return depth_check(bench, error);
}

/* ---- jobs ---- */

/* Jobs share the region; to be verified, each has a part of its own. */
static void work_init(const struct bench_options *options, unsigned index, struct bench_work *work)
{
	uint64_t blocks = options->size / options->block_size;

	*work = (struct bench_work){
		.first = options->offset / options->block_size,
		.count = blocks,
		.random = options->seed * 0x9e3779b97f4a7c15ull + index * 0xd1b54a32d192ed03ull,
		.mix_limit = options->read_percent == 100 ?
				     UINT64_MAX :
				     UINT64_MAX / 100 * options->read_percent,
	};
	if (options->verify) {
		work->count = blocks / options->jobs;
		work->first += index * work->count;
	}
	work->half_bits = permutation_half_bits(work->count);
}

static void *zeroed(size_t count, size_t size)
{
	size_t bytes = (count * size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	void *memory = aligned_alloc(CACHE_LINE, bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

static void job_free(struct bench_job *job)
{
	if (!job)
		return;
	fd_close(&job->wake_fd);
	free(job->slots);
	free(job->free_slots);
	free(job->inbox);
	free(job->pending);
	free(job->answers);
	free(job);
}

static void job_finished(struct bench_job *job, void *opaque);

static bool job_alloc(struct bench_job *job, uint64_t depth, bool has_luns)
{
	job->wake_fd = event_fd_new();
	job->slots = zeroed(depth, sizeof(*job->slots));
	job->free_slots = zeroed(depth, sizeof(struct bench_slot *));
	job->inbox = zeroed(depth, sizeof(*job->inbox));
	job->pending = zeroed(depth, sizeof(*job->pending));
	job->answers = has_luns ? zeroed(depth, sizeof(*job->answers)) : NULL;
	return job->wake_fd >= 0 && job->slots && job->free_slots && job->inbox && job->pending &&
	       (job->answers || !has_luns);
}

static struct bench_job *job_new(struct bench *bench, unsigned index, int cpu)
{
	const struct bench_options *options = &bench->options;
	struct bench_job *job = zeroed(1, sizeof(*job));

	if (!job)
		return NULL;
	job->options = options;
	job->port = &bench->ports[index % bench->port_count];
	job->index = index;
	job->cpu = cpu;
	job->stamp = bench->stamp;
	job->stop = &stop;
	job->finished = job_finished;
	job->finished_opaque = &bench->progress;
	job->disk = bench->lun_name;
	if (!job_alloc(job, options->depth, bench->lun_name[0])) {
		job_free(job);
		return NULL;
	}
	work_init(options, index, &job->work);
	for (unsigned i = 0; i < options->depth; i++) {
		uint64_t slot = index * options->depth + options->depth - 1 - i;

		job->slots[i].job = job;
		job->slots[i].buffer = bench->memory + slot * options->block_size;
		job->free_slots[job->free_count++] = &job->slots[i];
	}
	return job;
}

/* The next CPU of the set after cpu, in turn. */
static int cpu_next(const cpu_set_t *set, int cpu)
{
	do {
		cpu = (cpu + 1) % CPU_SETSIZE;
	} while (!CPU_ISSET(cpu, set));
	return cpu;
}

static int port_init(struct bench *bench, unsigned index)
{
	struct bench_port *port = &bench->ports[index];

	pthread_mutex_init(&port->lock, NULL);
	port->managed = bench->managed;
	if (port->managed) {
		port->flow = ringlane_flow_new(port->managed, RINGLANE_ORDER_DEFAULT);
		return port->flow ? 0 : -ENOMEM;
	}
	port->queue = ringlane_queue_get(bench->disk, index);
	port->shared = bench->options.jobs > bench->port_count;
	return 0;
}

static int ports_make(struct bench *bench, struct error *error)
{
	int ret = 0;

	if (bench->options.managed)
		ret = bench_managed_start(&bench->options, bench->disk, &bench->managed, error);
	if (ret < 0)
		return ret;
	bench->port_count = bench->managed ? (unsigned)bench->options.jobs : bench->info.queues;
	bench->ports = zeroed(bench->port_count, sizeof(*bench->ports));
	for (unsigned i = 0; bench->ports && ret == 0 && i < bench->port_count; i++)
		ret = port_init(bench, i);
	return bench->ports && ret == 0 ? 0 : error_set(error, -ENOMEM, "out of memory");
}

static int jobs_make(struct bench *bench, struct error *error)
{
	const struct bench_options *options = &bench->options;
	cpu_set_t cpus;
	int cpu = -1, ret = ports_make(bench, error);
	struct timespec now;

	disk_name(bench);
	clock_gettime(CLOCK_REALTIME, &now);
	bench->stamp = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	if (ret == 0 && options->cpus_allowed)
		ret = cpu_list_parse(options->cpus_allowed, &cpus, error);
	if (ret < 0)
		return ret;
	bench->memory = ringlane_mem_alloc(bench->disk, memory_bytes(options), public_error(error));
	bench->jobs = zeroed(options->jobs, sizeof(struct bench_job *));
	if (!bench->memory)
		return error->code;
	while (bench->jobs && bench->job_count < options->jobs) {
		if (options->cpus_allowed)
			cpu = cpu_next(&cpus, cpu);
		bench->jobs[bench->job_count] = job_new(bench, bench->job_count, cpu);
		if (!bench->jobs[bench->job_count])
			break;
		bench->job_count++;
	}
	if (bench->job_count < options->jobs)
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

/* ---- running ---- */

static void job_finished(struct bench_job *job, void *opaque)
{
	if (job->error.code)
		store_relaxed(&stop, true);
	bench_progress_job_done(opaque);
}

static void signal_stop(int number)
{
	store_relaxed(&stop, true);
}

/* The first ends the run with a report, which a device that hangs holds up; the second ends us. */
static void signals_catch(void)
{
	struct sigaction action = { .sa_handler = signal_stop,
				    .sa_flags = (int)(SA_RESTART | SA_RESETHAND) };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* A job whose CPU does not exist runs elsewhere; that would be a lie, so it is refused first. */
static int cpus_check(const struct bench *bench, struct error *error)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 0;
	for (unsigned i = 0; i < bench->job_count; i++)
		if (bench->jobs[i]->cpu >= 0 && !CPU_ISSET(bench->jobs[i]->cpu, &set))
			return error_set(error, -EINVAL,
					 "--cpus_allowed=%s: CPU %d may not be used here",
					 bench->options.cpus_allowed, bench->jobs[i]->cpu);
	return 0;
}

static int jobs_run(struct bench *bench, struct error *error)
{
	int ret = cpus_check(bench, error);

	if (ret < 0)
		return ret;
	signals_catch();
	bench_progress_init(&bench->progress, &bench->options, bench->jobs, bench->job_count);
	bench->start_ns = clock_ns();
	while (ret == 0 && bench->started < bench->job_count) {
		struct bench_job *job = bench->jobs[bench->started];

		ret = -pthread_create(&job->thread, NULL, bench_job_run, job);
		if (ret == 0)
			bench->started++;
	}
	if (ret < 0) {
		store_relaxed(&stop, true);
		error_set(error, ret, "cannot make a thread: %s", strerrordesc_np(-ret));
	}
	bench_progress_show(&bench->progress, bench->started);
	for (unsigned i = 0; i < bench->started; i++)
		pthread_join(bench->jobs[i]->thread, NULL);
	bench->end_ns = clock_ns();
	return ret;
}

/* ---- reporting ---- */

/* Before the run: it would be a pity afterwards. */
static int output_open(struct bench *bench, struct error *error)
{
	const char *path = bench->options.output;

	bench->output = path ? fopen(path, "we") : stdout;
	return bench->output ?
		       0 :
		       error_set(error, -errno, "--output=%s: %s", path, strerrordesc_np(errno));
}

static int report(struct bench *bench, struct error *error)
{
	const struct bench_options *options = &bench->options;
	const struct bench_report what = {
		.options = options,
		.given = &bench->given,
		.jobs = bench->jobs,
		.job_count = bench->job_count,
		.elapsed_ns = bench->end_ns - bench->start_ns,
		.queues = bench->info.queues,
	};
	FILE *stream = bench->output;
	int ret;

	bench->output = NULL;
	ret = options->format == FORMAT_JSON ? bench_report_json(&what, stream) :
					       bench_report_normal(&what, stream);
	if (bench->managed && options->format == FORMAT_NORMAL)
		bench_managed_report(bench->managed, stream);
	if (ret == 0 && fflush(stream) != 0)
		ret = -errno;
	if (stream != stdout && fclose(stream) != 0 && ret == 0)
		ret = -errno;
	return ret < 0 ?
		       error_set(error, ret, "cannot write the report: %s", strerrordesc_np(-ret)) :
		       0;
}

static int bench_run(struct bench *bench, struct error *error)
{
	int ret = disk_open(bench, error);

	if (ret == 0)
		ret = disk_check(bench, error);
	if (ret == 0)
		ret = jobs_make(bench, error);
	if (ret == 0)
		ret = output_open(bench, error);
	if (ret == 0)
		ret = jobs_run(bench, error);
	if (ret == 0)
		ret = report(bench, error);
	for (unsigned i = 0; ret == 0 && i < bench->job_count; i++)
		if (bench->jobs[i]->error.code) {
			*error = bench->jobs[i]->error;
			ret = error->code;
		}
	return ret;
}

/* Reapers first: they call back into jobs. */
static void bench_fini(struct bench *bench)
{
	ringlane_managed_free(bench->managed);
	for (unsigned i = 0; i < bench->job_count; i++)
		job_free(bench->jobs[i]);
	if (bench->output && bench->output != stdout)
		fclose(bench->output);
	free(bench->jobs);
	free(bench->ports);
	ringlane_close(bench->disk);
}

int tool_bench(int argc, char **argv)
{
	struct bench bench = { 0 };
	struct error error = { 0 };
	int ret;

	bench_options_init(&bench.options);
	ret = options_parse(&bench_table, argc, argv, &bench.options, &bench.given, &error);
	if (ret == 1) {
		options_print_help(&bench_table);
		return 0;
	}
	bench.options.uri = bench.given.positional;
	if (ret == 0 && !bench.options.uri)
		ret = error_set(&error, -EINVAL, "a URI is wanted, see --help");
	if (ret == 0)
		ret = bench_options_check(&bench.options, &error);
	if (ret == 0)
		ret = bench_run(&bench, &error);
	bench_fini(&bench);
	return ret < 0 ? tool_fail(bench_table.command, &error) : 0;
}
