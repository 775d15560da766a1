/* SPDX-License-Identifier: MIT */
/*
 * What a request costs the driver's end: queueing, submitting, reaping. For counting instructions.
 *
 *     driver_bench [--scsi] [--depth=N] [--segments=N] [--no-indirect] --requests=N
 *
 * The device is on the same thread and costs a few dozen instructions per request: it gives back each chain with a good status.
 */
#include "driver/scsi.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE 256u
#define BLOCK 4096u
#define SEGMENTS_MAX 32u

static struct {
	bool scsi, direct;
	unsigned depth, segments;
	unsigned long requests;
	struct queue_limits limits;
	struct ringlane_lun lun;
	struct memory memory;
	struct ringlane_queue *queue;
	uint8_t *data;
} bench = { .depth = 1, .segments = 1 };

static void die(const char *what)
{
	fprintf(stderr, "driver_bench: %s\n", what);
	exit(1);
}

static void queue_make(void)
{
	struct queue_setup setup = {
		.kind = bench.scsi ? QUEUE_SCSI : QUEUE_BLK,
		.cdb_size = 32,
		.sense_size = 96,
		.limits = &bench.limits,
		.memory = &bench.memory,
		.size = RING_SIZE,
		.indirect = !bench.direct,
		.event_idx = true,
		.has_ranges = true,
		.gone_fd = -1,
	};
	size_t bytes;
	uint8_t *shared;

	bench.limits = (struct queue_limits){
		.capacity = 1ull << 30,
		.block_mask = 511,
		.seg_max = SEGMENTS_MAX,
		.segment_bytes_max = QUEUE_REQUEST_MAX,
		.flush = true,
	};
	bytes = queue_shared_bytes(&setup); /* whole pages, with tables of the limits' length */
	shared = aligned_alloc(4096, bytes);
	bench.lun = (struct ringlane_lun){ .limits = bench.limits,
					   .block_shift = 9,
					   .request_max = 1 << 20,
					   .address = scsi_address(0, 0) };
	bench.data = malloc(SEGMENTS_MAX * BLOCK);
	if (!shared || !bench.data || memory_init(&bench.memory) < 0 ||
	    memory_add(&bench.memory, bench.data, SEGMENTS_MAX * BLOCK, 0) < 0)
		die("out of memory");
	memset(shared, 0, bytes);
	if (queue_new(&setup, shared, &bench.queue, NULL) < 0)
		die("no queue");
	bench.queue->scsi.lun = &bench.lun;
}

/* The status of a chain is found by its id, as the driver finds it. */
static void device_answer(unsigned id)
{
	struct ringlane_queue *queue = bench.queue;

	if (bench.scsi)
		memset(queue_response(queue, id), 0, SCSI_RESPONSE_BYTES);
	else
		queue->lines[id].status = 0;
}

static void device_run(uint16_t *next)
{
	const struct virtq_memory *memory = &bench.queue->ring.memory;
	uint16_t end = le16_get(memory->avail->idx);

	for (; *next != end; (*next)++) {
		uint16_t id = le16_get(memory->avail->ring[*next & (RING_SIZE - 1)]);

		device_answer(id);
		memory->used->ring[*next & (RING_SIZE - 1)] =
			(struct virtq_used_elem){ le32_make(id), le32_make(1) };
	}
	memory->used->idx = le16_make(end);
}

static void request_queue(const struct iovec *iov)
{
	int ret = bench.segments == 1 ? ringlane_read(bench.queue, bench.data, BLOCK, 0, NULL) :
					ringlane_readv(bench.queue, iov, bench.segments, 0, NULL);

	if (ret < 0)
		die("a request was refused");
}

static void run(void)
{
	struct ringlane_completion completions[RING_SIZE];
	struct iovec iov[SEGMENTS_MAX];
	uint16_t next = 0;

	for (unsigned i = 0; i < bench.segments; i++)
		iov[i] = (struct iovec){ bench.data + i * BLOCK, BLOCK };
	for (unsigned long done = 0; done < bench.requests; done += bench.depth) {
		for (unsigned i = 0; i < bench.depth; i++)
			request_queue(iov);
		queue_publish(bench.queue);
		device_run(&next);
		if (ringlane_reap(bench.queue, completions, RING_SIZE) != (int)bench.depth)
			die("a request was lost");
		for (unsigned i = 0; i < bench.depth; i++)
			if (completions[i].result)
				die("a request failed");
	}
}

static void options_parse(int argc, char **argv)
{
	static const struct option table[] = { { "scsi", no_argument, NULL, 's' },
					       { "no-indirect", no_argument, NULL, 'i' },
					       { "depth", required_argument, NULL, 'd' },
					       { "segments", required_argument, NULL, 'g' },
					       { "requests", required_argument, NULL, 'r' },
					       { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		switch (option) {
		case 's':
			bench.scsi = true;
			break;
		case 'i':
			bench.direct = true;
			break;
		case 'd':
			bench.depth = (unsigned)strtoull(optarg, NULL, 10);
			break;
		case 'g':
			bench.segments = (unsigned)strtoull(optarg, NULL, 10);
			break;
		case 'r':
			bench.requests = strtoul(optarg, NULL, 10);
			break;
		default:
			exit(1);
		}
	}
	if (bench.depth < 1 || bench.depth > RING_SIZE / 4 || bench.segments < 1 ||
	    bench.segments > SEGMENTS_MAX)
		die("--depth=1…64 and --segments=1…32 are wanted");
}

int main(int argc, char **argv)
{
	options_parse(argc, argv);
	queue_make();
	run();
	queue_free(bench.queue);
	return 0;
}
