/* SPDX-License-Identifier: MIT */
/*
 * Whole lanes inside one process: driver's end, ring, lane, virtio-blk or virtio-scsi, null node; each lane on one thread that plays both sides.
 *
 * Two uses: instructions per request under callgrind (`lane_bench --requests=N`: they repeat, so a test bounds them), and the
 * proof that lanes do not touch each other (`--lanes=1` against `--lanes=2` with a CPU for each).
 *
 *     lane_bench [--lanes=N] [--depth=N] [--requests=N | --seconds=S] [--direct] [--scsi]
 *
 * prints requests per second of all lanes together. --direct keeps descriptors in the ring (no indirect tables). --scsi: virtio-scsi, READ (10), instead of virtio-blk.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/fd.h"
#include "block/block.h"
#include "device/blk.h"
#include "device/lane.h"
#include "device/scsi.h"

#include <getopt.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_scsi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RING_SIZE 256u
#define DATA_BYTES 4096u
#define LANES_MAX 16u

struct slot {
	struct virtio_blk_outhdr header;
	uint8_t status;
	struct virtio_scsi_cmd_req request cache_aligned;
	struct virtio_scsi_cmd_resp response cache_aligned;
} cache_aligned;

/* What the two sides share: laid out by hand in one mapping. */
struct shared {
	struct virtq_desc desc[RING_SIZE] cache_aligned;
	uint8_t avail[6 + 2 * RING_SIZE] cache_aligned;
	uint8_t used[6 + 8 * RING_SIZE] cache_aligned;
	struct virtq_desc tables[RING_SIZE * 4] cache_aligned;
	struct slot slots[RING_SIZE];
	uint8_t data[RING_SIZE][DATA_BYTES] cache_aligned;
};

struct side {
	struct shared *shared;
	struct virtq_driver driver;
	struct virtq_driver_slot shadow[RING_SIZE];
	struct lane *lane;
	struct blk_device *device;
	struct scsi_device *adapter; /* with --scsi */
	struct scsi_disk *disk;
	struct scsi_lun *lun;
	struct block_graph *graph;
	struct loop *loop;
	bool answered;
	/* what the thread was asked for and what it did */
	unsigned index;
	uint64_t requests, done, elapsed_ns;
} cache_aligned;

static struct {
	unsigned lanes, depth;
	uint64_t requests, seconds;
	bool direct, scsi;
	pthread_barrier_t start;
} bench = { .lanes = 1, .depth = 64, .seconds = 1 };

static void die(const char *what)
{
	fprintf(stderr, "lane_bench: %s\n", what);
	exit(1);
}

static void answered(void *opaque, struct lane *lane, int result)
{
	struct side *side = opaque;

	side->answered = true;
	if (result < 0)
		die("the lane refused a command");
}

static void broken(void *opaque, unsigned index, const char *reason)
{
	die(reason);
}

static void turn_until_answered(struct side *side)
{
	while (!side->answered)
		loop_turn(side->loop, NS_PER_MS);
	side->answered = false;
}

static struct virtq_config ring_config(struct side *side)
{
	struct shared *shared = side->shared;

	return (struct virtq_config){
		.layout = VIRTQ_SPLIT,
		.size = RING_SIZE,
		.indirect = !bench.direct,
		.event_idx = true,
		.memory = { shared->desc, (struct virtq_avail *)shared->avail,
			    (struct virtq_used *)shared->used },
	};
}

static void side_open_adapter(struct side *side, struct block_node *node)
{
	struct scsi_unit_config unit = { .node = node, .loop = side->loop };
	struct scsi_device_config config = { .main_loop = side->loop,
					     .num_queues = 1,
					     .ports = { 0x3000000000000001, 0x3000000000000002,
							1 } };
	struct error error;

	if (scsi_disk_new(&unit, &side->disk, &error) < 0 ||
	    scsi_device_new(&config, &side->adapter, &error) < 0 ||
	    scsi_device_add_lun(side->adapter, side->disk, 0, 0, &side->lun, &error) < 0)
		die(error.text);
}

static void side_open_device(struct side *side)
{
	struct block_null_config null = { .name = "null", .size = 1ull << 40 };
	struct blk_config blk = { .serial = "bench", .num_queues = 1, .writable = true };
	struct error error;

	side->graph = block_graph_new();
	if (block_null_open(side->graph, &null, &blk.node, &error) < 0)
		die(error.text);
	if (bench.scsi)
		side_open_adapter(side, blk.node);
	else if (blk_device_new(&blk, &side->device, &error) < 0)
		die(error.text);
}

static void side_open_ring(struct side *side)
{
	struct virtq_config config = ring_config(side);
	struct shared *shared = side->shared;
	struct virtq_driver_tables tables = {
		.slots = side->shadow,
		.tables = bench.direct ? NULL : shared->tables,
		.tables_addr = (uintptr_t)shared->tables,
		.table_len = 4,
	};
	struct lane_config lane = {
		.ops = bench.scsi ? scsi_lane_ops(SCSI_QUEUE_FIRST) : blk_lane_ops(),
		.device = bench.scsi ? (void *)side->adapter : side->device,
		.index = bench.scsi ? SCSI_QUEUE_FIRST : 0,
		.loop = side->loop,
		.main_loop = side->loop,
		.broken = broken,
	};
	struct lane_start start = {
		.virtq = config,
		.kick_fd = event_fd_new(),
		.call_fd = event_fd_new(),
		.err_fd = -1,
		.enabled = true,
		.features = (1ull << VIRTIO_F_VERSION_1) | (1ull << VIRTIO_BLK_F_FLUSH),
	};
	int kick_fd = start.kick_fd;

	if (virtq_driver_init(&side->driver, &config, &tables) < 0)
		die("the ring was refused");
	if (mem_map_build_local(shared, (uintptr_t)shared, sizeof(*shared), &start.map) < 0)
		die("no memory map");
	if (lane_new(&lane, &side->lane) < 0)
		die("no lane");
	if (bench.scsi)
		scsi_device_set_loop(side->adapter, SCSI_QUEUE_FIRST, side->loop);
	lane_command_start(side->lane, &start, answered, side);
	turn_until_answered(side);
	mem_map_unref(start.map);
	event_fd_signal(kick_fd);
}

static void side_open(struct side *side)
{
	struct error error;

	side->shared = mmap(NULL, sizeof(*side->shared), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (side->shared == MAP_FAILED)
		die("no memory");
	if (loop_new(&side->loop, &error) < 0)
		die(error.text);
	loop_adopt(side->loop);
	side_open_device(side);
	side_open_ring(side);
}

static void side_answered(void *opaque)
{
	((struct side *)opaque)->answered = true;
}

static void side_forget_loops(struct side *side)
{
	scsi_device_forget_loops(side->adapter, side_answered, side);
	turn_until_answered(side);
}

static void side_close_adapter(struct side *side)
{
	scsi_lun_remove(side->lun, side_answered, side);
	turn_until_answered(side);
	scsi_device_free(side->adapter);
	scsi_disk_free(side->disk, side_answered, side);
	turn_until_answered(side);
}

static void side_close(struct side *side)
{
	lane_command_stop(side->lane, answered, side);
	turn_until_answered(side);
	if (bench.scsi)
		side_forget_loops(side);
	lane_free(side->lane);
	if (bench.scsi)
		side_close_adapter(side);
	blk_device_free(side->device);
	block_graph_free(side->graph);
	loop_free(side->loop);
	munmap(side->shared, sizeof(*side->shared));
}

static void submit_scsi(struct side *side, unsigned id, uint64_t block)
{
	struct slot *slot = &side->shared->slots[id];
	struct virtq_sg sg[3] = {
		{ (uintptr_t)&slot->request, sizeof(slot->request) },
		{ (uintptr_t)&slot->response, sizeof(slot->response) },
		{ (uintptr_t)side->shared->data[id], DATA_BYTES },
	};
	uint32_t lba = htobe32((uint32_t)(block * (DATA_BYTES / 512)));
	uint16_t head;

	slot->request = (struct virtio_scsi_cmd_req){ .lun = { 1, 0, 0x40, 0 }, .tag = id };
	slot->request.cdb[0] = 0x28;
	memcpy(slot->request.cdb + 2, &lba, sizeof(lba));
	slot->request.cdb[8] = DATA_BYTES / 512;
	slot->response.response = 0xff;
	if (virtq_driver_add(&side->driver, sg, 1, 2, &head) < 0)
		die("the ring is full");
}

static bool slot_succeeded(const struct slot *slot)
{
	if (bench.scsi)
		return slot->response.response == VIRTIO_SCSI_S_OK && slot->response.status == 0;
	return slot->status == VIRTIO_BLK_S_OK;
}

static void submit_blk(struct side *side, unsigned id, uint64_t sector)
{
	struct slot *slot = &side->shared->slots[id];
	struct virtq_sg sg[3] = {
		{ (uintptr_t)&slot->header, sizeof(slot->header) },
		{ (uintptr_t)side->shared->data[id], DATA_BYTES },
		{ (uintptr_t)&slot->status, 1 },
	};
	uint16_t head;

	slot->header.type = VIRTIO_BLK_T_IN;
	slot->header.sector = sector * (DATA_BYTES / 512);
	slot->status = 0xff;
	if (virtq_driver_add(&side->driver, sg, 1, 2, &head) < 0)
		die("the ring is full");
}

/* One round: depth requests in, the lane's turns, depth completions out. */
static void play_round(struct side *side)
{
	unsigned reaped = 0;

	for (unsigned i = 0; i < bench.depth; i++)
		if (bench.scsi)
			submit_scsi(side, i, side->done + i);
		else
			submit_blk(side, i, side->done + i);
	virtq_driver_publish(&side->driver);
	if (virtq_driver_should_kick(&side->driver))
		loop_turn(side->loop, 0);
	while (reaped < bench.depth) {
		uint32_t written;
		uint16_t head;
		int taken = virtq_driver_take(&side->driver, &head, &written);

		if (taken < 0)
			die("the lane broke the ring");
		if (taken == 0)
			loop_turn(side->loop, NS_PER_MS);
		reaped += (unsigned)taken;
	}
	for (unsigned i = 0; i < bench.depth; i++)
		/* the first command of an initiator is told that there was a reset */
		if (!slot_succeeded(&side->shared->slots[i]) && (!bench.scsi || side->done > 0))
			die("a request failed");
	side->done += bench.depth;
}

static bool side_is_done(const struct side *side, uint64_t start)
{
	if (bench.requests)
		return side->done >= bench.requests;
	return side->done % (bench.depth * 64u) == 0 &&
	       clock_ns() - start > bench.seconds * NS_PER_S;
}

static void *side_thread(void *opaque)
{
	struct side *side = opaque;
	uint64_t start;
	cpu_set_t cpus;

	if (bench.lanes > 1 || !bench.requests) {
		CPU_ZERO(&cpus);
		CPU_SET(side->index % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
	}
	side_open(side);
	pthread_barrier_wait(&bench.start);
	start = clock_ns();
	while (!side_is_done(side, start))
		play_round(side);
	side->elapsed_ns = clock_ns() - start;
	side_close(side);
	return NULL;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "lanes", required_argument, NULL, 'l' },
		{ "depth", required_argument, NULL, 'd' },
		{ "requests", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 's' },
		{ "direct", no_argument, NULL, 'D' },
		{ "scsi", no_argument, NULL, 'S' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'l':
			bench.lanes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			bench.depth = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			bench.requests = strtoull(optarg, NULL, 10);
			break;
		case 's':
			bench.seconds = strtoull(optarg, NULL, 10);
			break;
		case 'D':
			bench.direct = true;
			break;
		case 'S':
			bench.scsi = true;
			break;
		default:
			exit(1);
		}
	}
	if (bench.lanes < 1 || bench.lanes > LANES_MAX || bench.depth < 1 ||
	    bench.depth > RING_SIZE / (bench.direct ? 3 : 1))
		die("lanes must be 1 to 16, depth 1 to 256 (85 with --direct)");
}

int main(int argc, char **argv)
{
	static struct side sides[LANES_MAX];
	pthread_t threads[LANES_MAX];
	double rate = 0;

	parse(argc, argv);
	pthread_barrier_init(&bench.start, NULL, bench.lanes);
	for (unsigned i = 0; i < bench.lanes; i++) {
		sides[i].index = i;
		if (pthread_create(&threads[i], NULL, side_thread, &sides[i]))
			die("no thread");
	}
	for (unsigned i = 0; i < bench.lanes; i++) {
		pthread_join(threads[i], NULL);
		rate += (double)sides[i].done * 1e9 / (double)sides[i].elapsed_ns;
	}
	printf("%.0f\n", rate);
	return 0;
}
