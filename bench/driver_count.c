/* SPDX-License-Identifier: MIT */
/*
 * What a 4 KiB read costs the driver when a real back end is at the other end. For counting instructions: run under
 *
 *     valgrind --tool=callgrind --toggle-collect=driver_submit --toggle-collect=driver_reap --toggle-collect=reaper_run*
 *     driver_count [--managed] [--policy=sticky|per-cpu] [--depth=N] --requests=N URI
 *
 * it counts these functions and what they call, not the time in which the device works: requests go in, the program watches the
 * ring until the device has finished them all and wants to be kicked again, and only then they are reaped. So the counts
 * repeat. --managed: by ringlane_managed_submit, and reaped by a reaper that sleeps until the device calls.
 *
 * The device may not poll (an IOThread with poll-max-ns=0).
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "driver/device.h"

#include <getopt.h>
#include <ringlane/managed.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u
#define DEPTH_MAX 64u
#define GIVE_UP_NS (30 * NS_PER_S)

static struct {
	bool managed;
	enum ringlane_policy policy;
	unsigned depth;
	unsigned long requests;
	struct ringlane_device *device;
	struct ringlane_managed *way; /* NULL: unmanaged */
	struct ringlane_queue *queue;
	uint8_t *data;
	struct ringlane_request wanted[DEPTH_MAX];
	unsigned done; /* atomic with --managed */
	uint64_t limit_ns;
} bench = { .depth = 1, .policy = RINGLANE_POLICY_PER_CPU };

static void die(const char *what)
{
	fprintf(stderr, "driver_count: %s\n", what);
	exit(1);
}

/* ---- what is counted ---- */

never_inline void driver_submit(void);
never_inline void driver_reap(void);

static void submit_unmanaged(void)
{
	for (unsigned i = 0; i < bench.depth; i++)
		if (ringlane_read(bench.queue, bench.data + (size_t)i * BLOCK, BLOCK,
				  (uint64_t)i * BLOCK, NULL) < 0)
			die("a read was refused");
	ringlane_submit(bench.queue);
}

void driver_submit(void)
{
	if (!bench.managed)
		submit_unmanaged();
	else if (ringlane_managed_submit(bench.way, bench.wanted, bench.depth) != (int)bench.depth)
		die("a read was refused");
}

void driver_reap(void)
{
	struct ringlane_completion completions[DEPTH_MAX];
	int count = ringlane_reap(bench.queue, completions, DEPTH_MAX);

	for (int i = 0; i < count; i++)
		if (completions[i].result)
			die("a read failed");
	bench.done += (unsigned)count;
}

static void read_done(void *user_data, int result)
{
	if (result)
		die("a read failed");
	store_release(&bench.done, bench.done + 1); /* with load_acquire in reap_managed */
}

/* ---- what is not ---- */

/* What the other side stores: an index, or the event behind a ring's elements (virtio 1.3, 2.7.6 and 2.7.8). */
static uint16_t field_get(const struct le16 *field)
{
	return le16toh(load_acquire(&field->raw));
}

static void give_up_after(void)
{
	if (clock_ns() > bench.limit_ns)
		die("a read was never answered");
}

/* No system call: a reaper under valgrind does not run meanwhile. */
static void device_wait(uint16_t index)
{
	const struct virtq_driver *ring = &bench.queue->ring;
	const struct virtq_used *used = ring->memory.used;
	const struct le16 *kick_at = (const struct le16 *)&used->ring[ring->size];

	while (field_get(&used->idx) != index || field_get(kick_at) != index)
		give_up_after();
}

static void reap_managed(unsigned done, uint16_t index)
{
	const struct virtq_driver *ring = &bench.queue->ring;
	const struct le16 *call_at = &ring->memory.avail->ring[ring->size];

	while (load_acquire(&bench.done) != done || field_get(call_at) != index) {
		give_up_after();
		sched_yield();
	}
}

static void run(void)
{
	for (unsigned done = bench.depth; done <= bench.requests; done += bench.depth) {
		uint16_t index = (uint16_t)(bench.queue->ring.used_next + bench.depth);

		bench.limit_ns = clock_ns() + GIVE_UP_NS;
		driver_submit();
		device_wait(index);
		if (bench.managed)
			reap_managed(done, index);
		else
			driver_reap();
		if (bench.done != done)
			die("a read was lost");
	}
}

/* ---- set-up ---- */

static void options_parse(int argc, char **argv)
{
	static const struct option known[] = { { "managed", no_argument, NULL, 'm' },
					       { "policy", required_argument, NULL, 'p' },
					       { "depth", required_argument, NULL, 'd' },
					       { "requests", required_argument, NULL, 'r' },
					       { 0 } };

	for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (c) {
		case 'm':
			bench.managed = true;
			break;
		case 'p':
			bench.policy = strcmp(optarg, "sticky") == 0 ? RINGLANE_POLICY_STICKY :
								       RINGLANE_POLICY_PER_CPU;
			break;
		case 'd':
			bench.depth = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			bench.requests = strtoul(optarg, NULL, 10);
			break;
		default:
			exit(1);
		}
	}
	if (optind + 1 != argc || bench.depth < 1 || bench.depth > DEPTH_MAX)
		die("one URI and --depth=1…64 are wanted");
}

static void bench_open(const char *uri)
{
	const struct ringlane_options options = { .queues = 1, .mem_size = DEPTH_MAX * BLOCK };
	const struct ringlane_managed_options managed = { .policy = bench.policy, .reapers = 1 };
	struct ringlane_error error;

	if (ringlane_open(uri, &options, &bench.device, &error) < 0)
		die(error.text);
	bench.data = ringlane_mem_alloc(bench.device, DEPTH_MAX * BLOCK, &error);
	if (!bench.data)
		die(error.text);
	bench.queue = ringlane_queue_get(bench.device, 0);
	if (!bench.queue->ring.event_idx)
		die("the device does not say when it wants to be kicked");
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		bench.wanted[i] = (struct ringlane_request){ .op = RINGLANE_OP_READ,
							     .data = bench.data + (size_t)i * BLOCK,
							     .bytes = BLOCK,
							     .offset = (uint64_t)i * BLOCK,
							     .done = read_done };
	if (bench.managed && ringlane_managed_start(bench.device, &managed, &bench.way, &error) < 0)
		die(error.text);
}

int main(int argc, char **argv)
{
	options_parse(argc, argv);
	bench_open(argv[optind]);
	run();
	ringlane_managed_free(bench.way);
	ringlane_close(bench.device);
	return 0;
}
