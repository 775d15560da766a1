// SPDX-License-Identifier: MIT
/*
 * A managed disk under a closed load of 4 KiB reads: what the ways to poll, weights and policies make of latency, throughput, CPU time
 * and fairness.
 *
 *     iopoll_bench URI [--queues=N] [--depth=N] [--iopoll=on|off|adaptive] [--weight=N] [--seconds=S]
 *                      [--threads=N] [--policy=picked|sticky|per-cpu] [--cpus=LIST] [--submit-cpu=N]
 *
 * Without threads each queue has `depth` requests in flight, and each completion's callback submits the next one to the same queue:
 * all happens on one reaper. With threads each of them has a flow and `depth` requests of its own, and sleeps on a semaphore
 * for completions, which reapers on the CPUs of --cpus tell it.
 *
 * Prints one line of JSON.
 */
#include "base/clock.h"
#include "base/histogram.h"

#include <getopt.h>
#include <pthread.h>
#include <ringlane/managed.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define QUEUES_MAX 64
#define THREADS_MAX 64
#define BLOCK 4096u

struct options {
	const char *uri, *cpus;
	unsigned queues, depth, weight, threads;
	enum ringlane_iopoll iopoll;
	enum ringlane_policy policy;
	int submit_cpu;
	double seconds;
};

struct bench;

/* Where the requests of a queue, or of a thread, come from. One thread at a time completes them: histogram and count are its. */
struct lane {
	struct bench *bench;
	pthread_mutex_t lock; /* with threads: reapers may be several */
	struct histogram histogram;
	sem_t completions;
	struct ticket *tickets, *free;
	pthread_t thread;
	struct ringlane_flow *flow;
	unsigned index, out;
	uint64_t done;
};

struct ticket {
	struct lane *lane;
	struct ringlane_request request;
	uint64_t submitted_ns;
	struct ticket *next; /* free ones */
};

struct bench {
	struct options options;
	struct ringlane_device *device;
	struct ringlane_managed *managed;
	struct lane *lanes;
	unsigned lane_count;
	uint64_t begin_ns, end_ns;
	sem_t over; /* a lane without a thread has nothing in flight any more */
};

static void die(const char *what)
{
	fprintf(stderr, "iopoll_bench: %s\n", what);
	exit(1);
}

/* ---- load ---- */

static void ticket_submit(struct ticket *ticket)
{
	ticket->submitted_ns = clock_ns();
	if (ringlane_managed_submit(ticket->lane->bench->managed, &ticket->request, 1) != 1)
		die("a request was refused");
}

static void ticket_count(struct ticket *ticket, int result, uint64_t now_ns)
{
	struct lane *lane = ticket->lane;

	if (result != 0)
		die("a request failed");
	if (now_ns < lane->bench->begin_ns || now_ns >= lane->bench->end_ns)
		return;
	histogram_add(&lane->histogram, now_ns - ticket->submitted_ns);
	lane->done++;
}

/* On the reaper: the next one follows at once. */
static void again_done(void *opaque, int result)
{
	struct ticket *ticket = opaque;
	struct lane *lane = ticket->lane;
	uint64_t now_ns = clock_ns();

	ticket_count(ticket, result, now_ns);
	if (now_ns < lane->bench->end_ns)
		ticket_submit(ticket);
	else if (--lane->out == 0)
		sem_post(&lane->bench->over);
}

/* The lane's thread submits it again. */
static void tell_done(void *opaque, int result)
{
	struct ticket *ticket = opaque;
	struct lane *lane = ticket->lane;

	pthread_mutex_lock(&lane->lock);
	ticket_count(ticket, result, clock_ns());
	ticket->next = lane->free;
	lane->free = ticket;
	pthread_mutex_unlock(&lane->lock);
	sem_post(&lane->completions);
}

static void tickets_make(struct lane *lane)
{
	const struct options *options = &lane->bench->options;
	struct ticket *tickets = calloc(options->depth, sizeof(*tickets));
	char *buffer =
		ringlane_mem_alloc(lane->bench->device, options->depth * (size_t)BLOCK, NULL);

	if (!tickets || !buffer)
		die("out of memory");
	for (unsigned i = 0; i < options->depth; i++) {
		tickets[i].lane = lane;
		tickets[i].request = (struct ringlane_request){
			.op = RINGLANE_OP_READ,
			.data = buffer + (size_t)i * BLOCK,
			.bytes = BLOCK,
			.offset = (uint64_t)BLOCK * (lane->index * options->depth + i),
			.queue = lane->index,
			.flow = lane->flow,
			.done = options->threads ? tell_done : again_done,
			.user_data = &tickets[i],
		};
	}
	lane->tickets = tickets;
}

static void cpu_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static struct ticket *lane_wait(struct lane *lane)
{
	struct ticket *ticket;

	sem_wait(&lane->completions);
	pthread_mutex_lock(&lane->lock);
	ticket = lane->free;
	lane->free = ticket->next;
	pthread_mutex_unlock(&lane->lock);
	return ticket;
}

static void *lane_run(void *opaque)
{
	struct lane *lane = opaque;
	const struct options *options = &lane->bench->options;

	cpu_pin(options->submit_cpu);
	for (unsigned i = 0; i < options->depth; i++)
		ticket_submit(&lane->tickets[i]);
	while (clock_ns() < lane->bench->end_ns)
		ticket_submit(lane_wait(lane));
	for (unsigned i = 0; i < options->depth; i++)
		lane_wait(lane);
	return NULL;
}

/* ---- the run ---- */

static void bench_open(struct bench *bench)
{
	struct options *options = &bench->options;
	const struct ringlane_options device = {
		.queues = options->queues,
		.mem_size = (size_t)(QUEUES_MAX + THREADS_MAX) * options->depth * BLOCK,
	};
	const struct ringlane_managed_options managed = {
		.policy = options->policy,
		.iopoll = options->iopoll,
		.weight = options->weight,
		.reapers = options->threads ? 0 : 1,
		.cpus = options->cpus,
	};
	struct ringlane_error error;
	struct ringlane_info info;

	if (ringlane_open(options->uri, &device, &bench->device, &error) < 0 ||
	    ringlane_managed_start(bench->device, &managed, &bench->managed, &error) < 0)
		die(error.text);
	ringlane_get_info(bench->device, &info);
	if (info.queues != options->queues)
		die("the device has fewer queues");
	bench->lane_count = options->threads ? options->threads : options->queues;
	bench->lanes = calloc(bench->lane_count, sizeof(*bench->lanes));
	if (!bench->lanes)
		die("out of memory");
	for (unsigned i = 0; i < bench->lane_count; i++) {
		struct lane *lane = &bench->lanes[i];

		lane->bench = bench;
		lane->index = i;
		lane->out = options->depth;
		histogram_init(&lane->histogram);
		pthread_mutex_init(&lane->lock, NULL);
		sem_init(&lane->completions, 0, 0);
		lane->flow = ringlane_flow_new(bench->managed, RINGLANE_ORDER_DEFAULT);
		tickets_make(lane);
	}
}

static void threads_run(struct bench *bench)
{
	for (unsigned i = 0; i < bench->lane_count; i++)
		if (pthread_create(&bench->lanes[i].thread, NULL, lane_run, &bench->lanes[i]))
			die("no thread");
	for (unsigned i = 0; i < bench->lane_count; i++)
		pthread_join(bench->lanes[i].thread, NULL);
}

static void callbacks_run(struct bench *bench)
{
	for (unsigned i = 0; i < bench->lane_count; i++)
		for (unsigned k = 0; k < bench->options.depth; k++)
			ticket_submit(&bench->lanes[i].tickets[k]);
	for (unsigned i = 0; i < bench->lane_count; i++)
		sem_wait(&bench->over);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(struct bench *bench, double cpu)
{
	struct ringlane_queue_stats sum = { 0 }, stats;
	struct histogram *all = &bench->lanes[0].histogram;
	uint64_t least = UINT64_MAX, most = 0, done = 0;

	for (unsigned i = 0; i < bench->lane_count; i++) {
		least = bench->lanes[i].done < least ? bench->lanes[i].done : least;
		most = bench->lanes[i].done > most ? bench->lanes[i].done : most;
		done += bench->lanes[i].done;
		if (i)
			histogram_merge(all, &bench->lanes[i].histogram);
	}
	for (unsigned i = 0; ringlane_managed_get_queue_stats(bench->managed, i, &stats) == 0;
	     i++) {
		sum.interrupts += stats.interrupts;
		sum.kicks += stats.kicks;
		sum.local += stats.local;
		sum.completed += stats.completed;
	}
	printf("{\"iops\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu\": %.3f, "
	       "\"share_ratio\": %.3f, \"interrupts_per_k\": %.1f, \"kicks_per_k\": %.1f, "
	       "\"local\": %.3f}\n",
	       (double)done / bench->options.seconds, (double)histogram_percentile(all, 50) / 1e3,
	       (double)histogram_percentile(all, 99) / 1e3, cpu,
	       (double)most / (double)(least ? least : 1),
	       (double)sum.interrupts * 1e3 / (double)(sum.completed ? sum.completed : 1),
	       (double)sum.kicks * 1e3 / (double)(sum.completed ? sum.completed : 1),
	       (double)sum.local / (double)(sum.completed ? sum.completed : 1));
}

/* The first tenth warms up. */
static void bench_run(struct bench *bench)
{
	double cpu = cpu_seconds();
	uint64_t start_ns = clock_ns();

	bench->begin_ns = start_ns + (uint64_t)(bench->options.seconds * 1e8);
	bench->end_ns = bench->begin_ns + (uint64_t)(bench->options.seconds * 1e9);
	sem_init(&bench->over, 0, 0);
	if (bench->options.threads)
		threads_run(bench);
	else
		callbacks_run(bench);
	report(bench, (cpu_seconds() - cpu) * 1e9 / (double)(clock_ns() - start_ns));
}

/* ---- options ---- */

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value > max)
		die("a number is missing or too large");
	return (unsigned)value;
}

static unsigned word(const char *text, const char *const *words)
{
	for (unsigned i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	die("an unknown word");
	return 0;
}

static void option_set(struct options *options, int option, const char *value)
{
	static const char *const ways[] = { "on", "off", "adaptive", NULL };
	static const char *const policies[] = { "default", "sticky", "per-cpu", "least-loaded",
						"single",  "picked", NULL };

	switch (option) {
	case 'q':
		options->queues = number(value, QUEUES_MAX);
		return;
	case 'd':
		options->depth = number(value, 80); /* what a ring of 256 holds for sure */
		return;
	case 'w':
		options->weight = number(value, 256);
		return;
	case 't':
		options->threads = number(value, THREADS_MAX);
		return;
	case 'i':
		options->iopoll = (enum ringlane_iopoll)word(value, ways);
		return;
	case 'p':
		options->policy = (enum ringlane_policy)word(value, policies);
		return;
	case 'c':
		options->cpus = value;
		return;
	case 'u':
		options->submit_cpu = (int)number(value, CPU_SETSIZE - 1);
		return;
	case 's':
		options->seconds = strtod(value, NULL);
		return;
	default:
		die("an unknown option: see the head of bench/iopoll_bench.c");
	}
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "queues", required_argument, NULL, 'q' },
		{ "depth", required_argument, NULL, 'd' },
		{ "weight", required_argument, NULL, 'w' },
		{ "threads", required_argument, NULL, 't' },
		{ "iopoll", required_argument, NULL, 'i' },
		{ "policy", required_argument, NULL, 'p' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "submit-cpu", required_argument, NULL, 'u' },
		{ "seconds", required_argument, NULL, 's' },
		{ 0 },
	};
	struct bench bench = {
		.options = { .queues = 1,
			     .depth = 1,
			     .seconds = 1,
			     .submit_cpu = -1,
			     .policy = RINGLANE_POLICY_PICKED },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0)
		option_set(&bench.options, option, optarg);
	if (optind + 1 != argc || !bench.options.queues || !bench.options.depth ||
	    bench.options.seconds <= 0)
		die("usage: iopoll_bench URI [OPTION...]: see the head of bench/iopoll_bench.c");
	bench.options.uri = argv[optind];
	bench_open(&bench);
	bench_run(&bench);
	ringlane_managed_free(bench.managed);
	ringlane_close(bench.device);
	for (unsigned i = 0; i < bench.lane_count; i++)
		free(bench.lanes[i].tickets);
	free(bench.lanes);
	return 0;
}
