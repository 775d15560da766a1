/* SPDX-License-Identifier: MIT */
/*
 * What steering adds to a request: pairs of steer_enter and steer_leave, no ring.
 *
 *     steer_bench [--policy=NAME] [--threads=N] [--busy] [--shared] [--pairs=N | --seconds=S]
 *
 * prints the nanoseconds of a pair, as a thread sees them. Each thread has a CPU and, but for --shared, a flow of its
 * own. --busy: one request of each flow is in flight all the time, so it never gets idle and its queue is not chosen
 * anew. --pairs is for counting instructions.
 */
#include "base/clock.h"
#include "driver/steering.h"

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 16u
#define PAIRS_PER_CLOCK 1024u

struct side {
	cache_aligned struct steer_flow flow;
	struct steer_flow *used; /* its own or the first one's */
	unsigned index;
	pthread_t thread;
	uint64_t pairs, held, elapsed_ns;
};

static struct {
	const struct steer_policy *policy;
	unsigned threads;
	bool busy, shared;
	uint64_t pairs, seconds;
	struct steering steering;
	pthread_barrier_t start;
} bench = { .policy = &steer_policy_sticky, .threads = 1, .seconds = 1 };

static void die(const char *what)
{
	fprintf(stderr, "steer_bench: %s\n", what);
	exit(1);
}

static void pin(unsigned index)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(index % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

static void play_pairs(struct side *side, uint64_t count, uint64_t now_ns)
{
	struct steer_submit submit = { .cpu = side->index,
				       .wish = STEER_NO_WISH,
				       .now_ns = now_ns };

	for (uint64_t i = 0; i < count; i++) {
		int queue = steer_enter(&bench.steering, side->used, &submit);

		if (queue < 0)
			side->held++;
		else
			steer_leave(&bench.steering, side->used, (unsigned)queue);
	}
	side->pairs += count;
}

static void *side_thread(void *opaque)
{
	struct side *side = opaque;
	struct steer_submit submit = { .cpu = side->index, .wish = STEER_NO_WISH };
	uint64_t start, now;

	pin(side->index);
	if (bench.busy && steer_enter(&bench.steering, side->used, &submit) < 0)
		die("no place");
	pthread_barrier_wait(&bench.start);
	start = now = clock_ns();
	if (bench.pairs)
		play_pairs(side, bench.pairs, now);
	while (!bench.pairs && now - start < bench.seconds * NS_PER_S) {
		play_pairs(side, PAIRS_PER_CLOCK, now);
		now = clock_ns();
	}
	side->elapsed_ns = clock_ns() - start;
	return NULL;
}

static void sides_run(struct side *sides)
{
	for (unsigned i = 0; i < bench.threads; i++) {
		sides[i].index = i;
		sides[i].used = &sides[bench.shared ? 0 : i].flow;
		steer_flow_init(&sides[i].flow, &bench.steering, STEER_AS_POLICY);
	}
	for (unsigned i = 0; i < bench.threads; i++)
		if (pthread_create(&sides[i].thread, NULL, side_thread, &sides[i]))
			die("no thread");
	for (unsigned i = 0; i < bench.threads; i++)
		pthread_join(sides[i].thread, NULL);
}

/* Of a pair that got a place: tries that were held take time too, and are told. */
static void report(const struct side *sides)
{
	uint64_t done = 0, held = 0, elapsed_ns = 0;

	for (unsigned i = 0; i < bench.threads; i++) {
		done += sides[i].pairs - sides[i].held;
		held += sides[i].held;
		elapsed_ns += sides[i].elapsed_ns;
	}
	printf("%.2f\n", (double)elapsed_ns / (double)MAX(done, 1));
	if (held)
		fprintf(stderr, "steer_bench: %.2f %% of the tries were held\n",
			100.0 * (double)held / (double)(done + held));
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "policy", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "pairs", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "busy", no_argument, NULL, 'b' },
		{ "shared", no_argument, NULL, 'S' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'p':
			bench.policy = steer_policy_find(optarg);
			break;
		case 't':
			bench.threads = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			bench.pairs = strtoull(optarg, NULL, 10);
			break;
		case 's':
			bench.seconds = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			bench.busy = true;
			break;
		case 'S':
			bench.shared = true;
			break;
		default:
			exit(1);
		}
	}
	if (!bench.policy || bench.threads < 1 || bench.threads > THREADS_MAX)
		die("no such policy, or threads not 1 to 16");
}

int main(int argc, char **argv)
{
	static struct side sides[THREADS_MAX];
	struct steering_config config = { .queue_count = THREADS_MAX };

	parse(argc, argv);
	config.policy = bench.policy;
	if (steering_init(&bench.steering, &config) < 0)
		die("no memory");
	pthread_barrier_init(&bench.start, NULL, bench.threads);
	sides_run(sides);
	report(sides);
	steering_fini(&bench.steering);
	return 0;
}
