// SPDX-License-Identifier: MIT
/*
 * Load on a managed device whose back end is killed and started again by somebody else: every sector that is written has its
 * number and a round in it, and is read back. Any error, wrong data or stall ends the program with 1. Says "runs" after the first round.
 *
 * usage: replay_load URI SECONDS [FILE]       ends earlier when FILE is there
 */
#include "base/clock.h"

#include <pthread.h>
#include <ringlane/managed.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 32
#define BLOCK 4096u
#define STALL_NS (120 * NS_PER_S)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned pending;
static int failure;

static void on_done(void *opaque, int result)
{
	pthread_mutex_lock(&lock);
	pending--;
	if (result < 0)
		failure = result;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static int pending_wait(void)
{
	struct timespec end;
	int ret = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += (time_t)(STALL_NS / NS_PER_S);
	pthread_mutex_lock(&lock);
	while (pending && ret == 0)
		ret = pthread_cond_timedwait(&changed, &lock, &end);
	if (ret)
		failure = -ret;
	ret = failure;
	pthread_mutex_unlock(&lock);
	return ret;
}

static void pattern_fill(uint8_t *data, unsigned slot, unsigned round)
{
	uint32_t *words = (uint32_t *)data;

	for (unsigned i = 0; i < BLOCK / sizeof(*words); i++)
		words[i] = slot << 24 ^ round << 8 ^ i;
}

/* One request for each slot; they are all done when this returns. */
static int slots_run(struct ringlane_managed *managed, enum ringlane_op op, uint8_t *data)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct ringlane_request request = {
			.op = op,
			.flags = RINGLANE_REPLAYABLE, /* the same data again */
			.data = data + i * BLOCK,
			.bytes = BLOCK,
			.offset = (uint64_t)i * BLOCK,
			.done = on_done,
		};
		int ret;

		pthread_mutex_lock(&lock);
		pending++;
		pthread_mutex_unlock(&lock);
		ret = ringlane_managed_submit(managed, &request, 1);
		if (ret < 0)
			return ret;
	}
	return pending_wait();
}

static int round_run(struct ringlane_managed *managed, uint8_t *out, uint8_t *in, unsigned round)
{
	int ret;

	for (unsigned i = 0; i < SLOTS; i++)
		pattern_fill(out + i * BLOCK, i, round);
	memset(in, 0, SLOTS * BLOCK);
	ret = slots_run(managed, RINGLANE_OP_WRITE, out);
	if (ret == 0)
		ret = slots_run(managed, RINGLANE_OP_READ, in);
	if (ret == 0 && memcmp(in, out, SLOTS * BLOCK)) {
		fprintf(stderr, "round %u: what was read is not what was written\n", round);
		return 1;
	}
	if (ret < 0)
		fprintf(stderr, "round %u: %s\n", round, strerrordesc_np(-ret));
	return ret;
}

int main(int argc, char **argv)
{
	const struct ringlane_managed_options options = { .reconnect_ms = 60000 };
	struct ringlane_managed_stats stats;
	struct ringlane_managed *managed;
	struct ringlane_device *device;
	struct ringlane_error error;
	uint64_t end;
	uint8_t *out, *in;
	unsigned round = 0;
	int ret;

	if (argc < 3)
		return 2;
	if (ringlane_open(argv[1], NULL, &device, &error) < 0 ||
	    ringlane_managed_start(device, &options, &managed, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	out = ringlane_mem_alloc(device, SLOTS * BLOCK, NULL);
	in = ringlane_mem_alloc(device, SLOTS * BLOCK, NULL);
	end = clock_ns() + strtoull(argv[2], NULL, 10) * NS_PER_S;
	do {
		ret = out && in ? round_run(managed, out, in, ++round) : 1;
		if (round == 1) {
			puts("runs");
			fflush(stdout);
		}
	} while (ret == 0 && clock_ns() < end && (argc < 4 || access(argv[3], F_OK) < 0));
	ringlane_managed_get_stats(managed, &stats);
	printf("rounds %u reconnects %llu replayed %llu quiesced %llu\n", round,
	       (unsigned long long)stats.reconnects, (unsigned long long)stats.replayed,
	       (unsigned long long)stats.quiesced);
	ringlane_managed_free(managed);
	ringlane_close(device);
	return ret != 0;
}
