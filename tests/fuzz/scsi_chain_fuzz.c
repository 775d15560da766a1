// SPDX-License-Identifier: MIT
/*
 * A guest that puts anything into the control, event and request queue of a virtio-scsi adapter, while LUNs come and go and are drained.
 *
 * Chains are well formed unless the input writes over the rings; what lies in them (requests, TMFs, sizes, directions) is the input's.
 * One loop plays the main thread and the IOThread. Whatever happens, each adapter can be stopped and freed afterwards with nothing in
 * flight: that is asserted by the functions that free it.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "block/block.h"
#include "device/scsi.h"
#include "fuzz.h"

#include <linux/virtio_config.h>
#include <linux/virtio_scsi.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE 16u
#define QUEUES 3u
#define LUNS 3u
#define MEMORY_BYTES 8192u
#define SEGMENTS_MAX 6u
#define TURNS_MAX 100000u

struct shared {
	struct virtq_desc desc[QUEUES][RING_SIZE] cache_aligned;
	uint8_t avail[QUEUES][64] cache_aligned;
	uint8_t used[QUEUES][192] cache_aligned;
	uint8_t memory[MEMORY_BYTES];
};

struct rig {
	struct loop *loop;
	struct block_graph *graph;
	struct scsi_disk *disks[2];
	struct scsi_device *device;
	struct shared *shared;
	struct mem_map *map;
	struct lane *lanes[QUEUES];
	struct virtq_driver rings[QUEUES];
	struct virtq_driver_slot slots[QUEUES][RING_SIZE];
	int kick_fds[QUEUES];
	struct scsi_lun *luns[LUNS];
	unsigned drains_asked, drains; /* drains: that are done and not released */
	unsigned asked, answers;
};

static void must(int result)
{
	if (result < 0)
		abort();
}

static void answered(void *opaque, struct lane *lane, int result)
{
	((struct rig *)opaque)->answers++;
}

static void done(void *opaque)
{
	((struct rig *)opaque)->answers++;
}

struct rig_drain {
	struct scsi_drain drain;
	struct rig *rig;
};

static void drained(void *opaque)
{
	struct rig_drain *drain = opaque;

	drain->rig->drains++;
	drain->rig->drains_asked--;
	free(drain);
}

static void drain(struct rig *rig)
{
	struct rig_drain *drain = malloc(sizeof(*drain));

	if (!drain)
		abort();
	*drain = (struct rig_drain){ { .done = drained, .opaque = drain }, rig };
	rig->drains_asked++;
	scsi_disk_drain(rig->disks[0], &drain->drain);
}

static void broken(void *opaque, unsigned index, const char *reason)
{
}

/* All that was asked for has been answered. */
static void settle(struct rig *rig)
{
	for (unsigned i = 0; rig->answers < rig->asked; i++) {
		if (i == TURNS_MAX)
			abort(); /* something was never answered */
		loop_turn(rig->loop, NS_PER_MS);
	}
}

/* ---- life ---- */

static void open_disks(struct rig *rig)
{
	static const char *const names[] = { "a", "b" };
	struct error error;

	rig->graph = block_graph_new();
	for (unsigned i = 0; i < 2; i++) {
		struct block_ram_config ram = { .name = names[i], .size = 1 << 20 };
		struct scsi_unit_config unit = { .loop = rig->loop };

		must(block_ram_open(rig->graph, &ram, &unit.node, &error));
		must(scsi_disk_new(&unit, &rig->disks[i], &error));
	}
}

static void start_lane(struct rig *rig, unsigned index)
{
	struct shared *shared = rig->shared;
	struct virtq_config virtq = {
		.layout = VIRTQ_SPLIT,
		.size = RING_SIZE,
		.memory = { shared->desc[index], (struct virtq_avail *)shared->avail[index],
			    (struct virtq_used *)shared->used[index] },
	};
	struct virtq_driver_tables tables = { .slots = rig->slots[index] };
	struct lane_config config = {
		.ops = scsi_lane_ops(index),
		.device = rig->device,
		.index = index,
		.loop = rig->loop,
		.main_loop = rig->loop,
		.broken = broken,
	};
	struct lane_start start = {
		.virtq = virtq,
		.map = rig->map,
		.kick_fd = event_fd_new(),
		.call_fd = event_fd_new(),
		.err_fd = -1,
		.features = 1ull << VIRTIO_F_VERSION_1,
		.enabled = true,
	};

	must(virtq_driver_init(&rig->rings[index], &virtq, &tables));
	must(lane_new(&config, &rig->lanes[index]));
	if (index >= SCSI_QUEUE_FIRST)
		scsi_device_set_loop(rig->device, index, rig->loop);
	rig->kick_fds[index] = start.kick_fd;
	rig->asked++;
	lane_command_start(rig->lanes[index], &start, answered, rig);
	settle(rig);
}

static void open_all(struct rig *rig)
{
	struct scsi_device_config config = {
		.num_queues = 1, .ports = { 0x3000000000000001, 0x3000000000000002, 1 }
	};
	struct error error;

	must(loop_new(&rig->loop, &error));
	loop_adopt(rig->loop);
	config.main_loop = rig->loop;
	open_disks(rig);
	must(scsi_device_new(&config, &rig->device, &error));
	scsi_device_set_acked(rig->device, scsi_device_features(rig->device));
	must(scsi_device_add_lun(rig->device, rig->disks[0], 0, 0, &rig->luns[0], &error));
	must(scsi_device_add_lun(rig->device, rig->disks[1], 0, 1, &rig->luns[1], &error));
	rig->shared = aligned_alloc(4096, (sizeof(*rig->shared) + 4095) / 4096 * 4096);
	memset(rig->shared, 0, sizeof(*rig->shared));
	must(mem_map_build_local(rig->shared, (uintptr_t)rig->shared, sizeof(*rig->shared),
				 &rig->map));
	for (unsigned i = 0; i < QUEUES; i++)
		start_lane(rig, i);
}

static void remove_lun(struct rig *rig, unsigned index)
{
	struct scsi_lun *lun = rig->luns[index];

	rig->luns[index] = NULL;
	rig->asked++;
	scsi_lun_remove(lun, done, rig);
}

static void end_drains(struct rig *rig)
{
	for (unsigned i = 0; rig->drains_asked || rig->drains; i++) {
		for (; rig->drains > 0; rig->drains--)
			scsi_disk_release(rig->disks[0]);
		if (i == TURNS_MAX)
			abort(); /* a drain that does not end */
		loop_turn(rig->loop, 0);
	}
}

static void close_all(struct rig *rig)
{
	end_drains(rig);
	rig->asked += QUEUES;
	for (unsigned i = 0; i < QUEUES; i++)
		lane_command_stop(rig->lanes[i], answered, rig);
	settle(rig);
	rig->asked++;
	scsi_device_forget_loops(rig->device, done, rig);
	settle(rig);
	for (unsigned i = 0; i < QUEUES; i++)
		lane_free(rig->lanes[i]);
	for (unsigned i = 0; i < LUNS; i++)
		if (rig->luns[i])
			remove_lun(rig, i);
	settle(rig);
	scsi_device_free(rig->device);
	rig->asked += 2;
	for (unsigned i = 0; i < 2; i++)
		scsi_disk_free(rig->disks[i], done, rig);
	settle(rig);
	mem_map_unref(rig->map);
	block_graph_free(rig->graph);
	loop_free(rig->loop);
	free(rig->shared);
}

/* ---- steps ---- */

static void add_chain(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	struct virtq_sg sg[SEGMENTS_MAX];
	unsigned out = fuzz_byte(bytes) % 4, in = fuzz_byte(bytes) % 3 + (out == 0);
	uint16_t head;

	for (unsigned i = 0; i < out + in; i++) {
		uint32_t offset = fuzz_u16(bytes) % MEMORY_BYTES, size = fuzz_u16(bytes);

		size = size % (MEMORY_BYTES - offset) + 1;
		sg[i] = (struct virtq_sg){ (uintptr_t)rig->shared->memory + offset, size };
		if (i == 0 && out > 0)
			fuzz_fill(bytes, rig->shared->memory + offset, MIN(size, 64u));
	}
	if (virtq_driver_add(&rig->rings[queue], sg, out, in, &head) < 0)
		return;
	virtq_driver_publish(&rig->rings[queue]);
	event_fd_signal(rig->kick_fds[queue]);
}

/* The usual shape, so that most inputs get past the framing: one request, its data out, its answer, its data in. */
static void add_request(struct rig *rig, struct fuzz_bytes *bytes)
{
	struct virtio_scsi_cmd_req *request = (void *)rig->shared->memory;
	uint32_t out_bytes = fuzz_u16(bytes) % 4096, in_bytes = fuzz_u16(bytes) % 4096;
	struct virtq_sg sg[4] = { { (uintptr_t)request, sizeof(*request) } };
	unsigned out = 1, in = 1;
	uint16_t head;

	memset(request, 0, sizeof(*request));
	request->lun[0] = 1;
	request->lun[2] = 0x40;
	request->lun[3] = fuzz_byte(bytes) % 4;
	request->tag = fuzz_byte(bytes);
	request->task_attr = fuzz_byte(bytes) % 4;
	fuzz_fill(bytes, request->cdb, 16);
	if (out_bytes) {
		fuzz_fill(bytes, rig->shared->memory + 512, MIN(out_bytes, 256u));
		sg[out++] = (struct virtq_sg){ (uintptr_t)rig->shared->memory + 512, out_bytes };
	}
	sg[out] = (struct virtq_sg){ (uintptr_t)rig->shared->memory + 256, 108 };
	if (in_bytes && !out_bytes)
		sg[out + in++] =
			(struct virtq_sg){ (uintptr_t)rig->shared->memory + 512, in_bytes };
	if (virtq_driver_add(&rig->rings[2], sg, out, in, &head) < 0)
		return;
	virtq_driver_publish(&rig->rings[2]);
	event_fd_signal(rig->kick_fds[2]);
}

static void reap(struct rig *rig)
{
	uint32_t written;
	uint16_t head;

	for (unsigned i = 0; i < QUEUES; i++)
		while (virtq_driver_take(&rig->rings[i], &head, &written) > 0)
			;
}

static void add_lun(struct rig *rig, unsigned index)
{
	struct error error;

	if (rig->luns[index])
		remove_lun(rig, index);
	else if (index != 2)
		scsi_device_add_lun(rig->device, rig->disks[index], (uint16_t)(index * 5), 1,
				    &rig->luns[index], &error);
}

static void scribble(struct rig *rig, struct fuzz_bytes *bytes)
{
	uint32_t offset = fuzz_u16(bytes) % (uint32_t)offsetof(struct shared, memory);
	uint32_t size = fuzz_byte(bytes) % 16;

	fuzz_fill(bytes, (uint8_t *)rig->shared + offset,
		  MIN(size, (uint32_t)sizeof(*rig->shared) - offset));
}

static void step(struct rig *rig, struct fuzz_bytes *bytes)
{
	uint8_t verb = fuzz_byte(bytes);

	switch (verb % 16) {
	case 0:
		scribble(rig, bytes);
		break;
	case 1:
		add_lun(rig, verb / 16 % LUNS);
		break;
	case 2:
		drain(rig);
		break;
	case 3:
		if (rig->drains > 0) {
			rig->drains--;
			scsi_disk_release(rig->disks[0]);
		}
		break;
	case 4:
		scsi_disk_capacity_changed(rig->disks[verb / 16 % 2]);
		break;
	case 5:
	case 6:
	case 7:
		add_chain(rig, verb / 16 % QUEUES, bytes);
		break;
	case 8:
		reap(rig);
		break;
	case 9:
		loop_turn(rig->loop, 0);
		break;
	default:
		add_request(rig, bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct rig rig = { 0 };

	open_all(&rig);
	while (bytes.size > 0)
		step(&rig, &bytes);
	close_all(&rig);
	return 0;
}
