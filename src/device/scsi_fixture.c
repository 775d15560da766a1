/* SPDX-License-Identifier: MIT */
/* For tests: see scsi_fixture.h. */
#include "device/scsi_fixture.h"

#include "base/endian.h"
#include "base/fd.h"
#include "base/iov.h"

#include <fcntl.h>
#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define RING_BYTES 0x4000u
#define DISK_BYTES (1u << 20)

/* ---- disks ---- */

struct spy_node {
	struct block_node node;
	struct scsi_spy *spy;
};

/* A driver may look at its channel after a completion, whatever that has led to. */
struct spy_channel {
	struct block_channel channel;
	struct loop_timer timer;
	struct block_request *first; /* newest first */
};

static void spy_complete(struct scsi_spy *spy, struct block_request *request, int result)
{
	for (uint64_t done = 0; result == 0 && request->op == BLOCK_READ && done < request->bytes;
	     done += BLOCK_SECTOR)
		iov_fill(request->iov, request->iov_count, done,
			 (int)((request->offset + done) / BLOCK_SECTOR), BLOCK_SECTOR);
	store_relaxed(&spy->writing, false);
	sub_release(&spy->active, 1);
	block_complete(request, result);
}

static struct scsi_spy *spy_of(const struct block_channel *channel)
{
	return container_of(channel->node, struct spy_node, node)->spy;
}

static void spy_fired(struct loop_timer *timer)
{
	struct spy_channel *channel = container_of(timer, struct spy_channel, timer);
	struct block_request *request = channel->first, *next;

	channel->first = NULL;
	for (; request; request = next) {
		next = request->next;
		spy_complete(spy_of(&channel->channel), request, 0);
	}
}

static void spy_wait(struct spy_channel *channel, struct block_request *request)
{
	struct loop *loop = channel->channel.loop;

	request->next = channel->first;
	channel->first = request;
	channel->timer.fire = spy_fired;
	if (channel->timer.deadline_ns == 0)
		loop_timer_set(loop, &channel->timer, loop_now(loop) + SCSI_FIXTURE_SLOW_NS);
}

static void spy_submit(struct block_channel *channel, struct block_request *request)
{
	struct scsi_spy *spy = spy_of(channel);

	add_relaxed(&spy->count, 1);
	add_relaxed(&spy->active, 1);
	if (spy->slow) { /* what writes there is alone (COMPARE AND WRITE) */
		assert(!load_relaxed(&spy->writing));
		assert(request->op != BLOCK_WRITE || load_relaxed(&spy->active) == 1);
		store_relaxed(&spy->writing, request->op == BLOCK_WRITE);
		spy_wait(container_of(channel, struct spy_channel, channel), request);
		return;
	}
	if (!spy->later) {
		spy_complete(spy, request, 0);
		return;
	}
	spy->last_op = request->op;
	assert_true(spy->held_count < SCSI_FIXTURE_HELD);
	spy->held[spy->held_count++] = request;
}

void scsi_spy_let_go(struct scsi_spy *spy, unsigned index, int result)
{
	struct block_request *request = spy->held[index];

	assert_true(index < spy->held_count);
	memmove(&spy->held[index], &spy->held[index + 1],
		(--spy->held_count - index) * sizeof(spy->held[0]));
	spy_complete(spy, request, result);
}

void scsi_spy_let_all_go(struct scsi_spy *spy)
{
	spy->later = false;
	while (spy->held_count > 0)
		scsi_spy_let_go(spy, 0, 0);
}

static int spy_resize(struct block_node *node, uint64_t size, struct error *error)
{
	store_relaxed(&node->size, size);
	return 0;
}

static struct block_node *spy_open(struct block_graph *graph, struct scsi_spy *spy, unsigned index)
{
	static const struct block_driver driver = {
		.name = "spy",
		.node_size = sizeof(struct spy_node),
		.channel_size = sizeof(struct spy_channel),
		.resize = spy_resize,
		.submit = spy_submit,
	};
	struct block_node *node;
	struct error error = { 0 };
	char name[16];

	snprintf(name, sizeof(name), "spy%u", index);
	assert_int_equal(block_node_alloc(&driver, name, &node, &error), 0);
	container_of(node, struct spy_node, node)->spy = spy;
	node->size = DISK_BYTES;
	node->limits = (struct block_limits){ .request_alignment = 512,
					      .memory_alignment = 1,
					      .physical_block_size = 512 };
	if (block_graph_insert(graph, node, &error) < 0)
		fail_msg("%s", error.text);
	return node;
}

static void disks_open(struct scsi_world *world, bool slow)
{
	struct error error = { 0 };

	for (unsigned i = 0; i < SCSI_FIXTURE_DISKS; i++) {
		struct scsi_spy *spy = &world->spies[i];
		struct scsi_unit_config config = { .loop = world->loop };

		spy->slow = slow;
		spy->node = spy_open(world->graph, spy, i);
		config.node = spy->node;
		if (scsi_disk_new(&config, &spy->disk, &error) < 0)
			fail_msg("%s", error.text);
	}
}

/* ---- turning ---- */

static void ring_take(struct scsi_ring *ring)
{
	uint32_t written;
	uint16_t head;
	int rc;

	if (!ring->lane)
		return;
	while ((rc = virtq_driver_take(&ring->driver, &head, &written))) {
		struct scsi_chain *chain = ring->by_head[head];

		assert_int_equal(rc, 1);
		assert_true(chain->out);
		chain->out = false;
		chain->written = written;
	}
}

static void world_take(struct scsi_world *world)
{
	for (unsigned a = 0; a < world->adapter_count; a++)
		for (unsigned i = world->ring_count;
		     i-- > 0;) /* ctrl last: its effects came before */
			ring_take(&world->adapters[a].rings[i]);
}

void scsi_world_turn(struct scsi_world *world, uint64_t deadline_ns)
{
	if (clock_ns() > deadline_ns)
		fail_msg("deadline: waited %d s in vain", SCSI_FIXTURE_DEADLINE_S);
	loop_turn(world->loop, NS_PER_MS);
	world_take(world);
}

void scsi_world_turns(struct scsi_world *world, unsigned count)
{
	while (count-- > 0)
		loop_turn(world->loop, 0);
	world_take(world);
}

void scsi_fixture_done(void *opaque)
{
	struct scsi_world *world = opaque;

	assert_true(loop_is_mine(world->loop));
	world->done++;
}

struct test_drain {
	struct scsi_drain drain;
	void (*done)(void *opaque);
	void *opaque;
};

static void drain_done(void *opaque)
{
	struct test_drain drain = *(struct test_drain *)opaque;

	free(opaque);
	drain.done(drain.opaque);
}

void scsi_fixture_drain(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque)
{
	struct test_drain *drain = malloc(sizeof(*drain));

	assert_non_null(drain);
	*drain = (struct test_drain){ { .done = drain_done, .opaque = drain }, done, opaque };
	scsi_disk_drain(disk, &drain->drain);
}

static void lane_answered(void *opaque, struct lane *lane, int result)
{
	struct scsi_world *world = opaque;

	world->answers++;
	world->result = result;
}

/* ---- rings ---- */

struct scsi_ring *scsi_ring_of(struct scsi_world *world, unsigned adapter, unsigned index)
{
	return &world->adapters[adapter].rings[index];
}

void *scsi_guest_alloc(struct scsi_world *world, size_t size)
{
	uint8_t *host = world->memory + world->allocated;

	world->allocated += (size + 15) / 16 * 16;
	assert_true(world->allocated <= SCSI_FIXTURE_MEMORY);
	return host;
}

uint64_t scsi_guest_address(const struct scsi_world *world, const void *host)
{
	return SCSI_FIXTURE_GUEST + (uint64_t)((const uint8_t *)host - world->memory);
}

static void ring_broke(void *opaque, unsigned index, const char *reason)
{
	struct scsi_ring *ring = opaque;

	ring->broken_count++;
	ring->broken_reason = reason;
}

static void ring_place(struct scsi_ring *ring)
{
	uint8_t *memory = scsi_guest_alloc(ring->world, RING_BYTES);
	struct virtq_driver_tables tables = { .slots = ring->slots };

	ring->config.size = SCSI_FIXTURE_RING_SIZE;
	ring->config.memory = (struct virtq_memory){
		.desc = (void *)memory,
		.avail = (void *)(memory + 0x1000),
		.used = (void *)(memory + 0x2000),
	};
	assert_int_equal(virtq_driver_init(&ring->driver, &ring->config, &tables), 0);
}

static void ring_open(struct scsi_world *world, struct scsi_adapter *adapter, unsigned index,
		      const struct scsi_world_config *config)
{
	struct scsi_ring *ring = &adapter->rings[index];
	struct loop *loop = index < SCSI_QUEUE_FIRST ? NULL :
						       config->loops[index - SCSI_QUEUE_FIRST];
	struct lane_config lane = {
		.ops = scsi_lane_ops(index),
		.device = adapter->device,
		.index = index,
		.loop = loop ? loop : world->loop,
		.main_loop = world->loop,
		.broken = ring_broke,
		.opaque = ring,
	};

	ring->world = world;
	ring->index = index;
	ring->loop = lane.loop;
	ring->config = (struct virtq_config){ .layout = VIRTQ_SPLIT,
					      .indirect = true,
					      .event_idx = config->event_idx };
	ring_place(ring);
	ring->kick_fd = event_fd_new();
	ring->call_fd = event_fd_new();
	assert_int_equal(lane_new(&lane, &ring->lane), 0);
	scsi_device_set_loop(adapter->device, index, lane.loop);
}

void scsi_ring_start(struct scsi_ring *ring)
{
	struct scsi_world *world = ring->world;
	unsigned answers = world->answers;
	struct lane_start start = {
		.virtq = ring->config,
		.map = world->map,
		.kick_fd = fcntl(ring->kick_fd, F_DUPFD_CLOEXEC, 0),
		.call_fd = fcntl(ring->call_fd, F_DUPFD_CLOEXEC, 0),
		.err_fd = -1,
		.enabled = true,
	};

	lane_command_start(ring->lane, &start, lane_answered, world);
	scsi_wait(world, world->answers == answers + 1);
	assert_int_equal(world->result, 0);
	ring->running = true;
}

void scsi_ring_stop_begin(struct scsi_ring *ring)
{
	lane_command_stop(ring->lane, lane_answered, ring->world);
	ring->running = false;
}

int scsi_ring_stop(struct scsi_ring *ring)
{
	struct scsi_world *world = ring->world;
	unsigned answers = world->answers;

	scsi_ring_stop_begin(ring);
	scsi_wait(world, world->answers == answers + 1);
	assert_true(world->result >= 0);
	ring->config.base = (uint16_t)world->result;
	return world->result;
}

/* ---- adapters ---- */

static void adapter_open(struct scsi_world *world, unsigned index,
			 const struct scsi_world_config *config)
{
	struct scsi_adapter *adapter = &world->adapters[index];
	struct scsi_device_config device = {
		.main_loop = world->loop,
		.num_queues = (uint16_t)(world->ring_count - SCSI_QUEUE_FIRST),
		.cdb_size = config->cdb_size,
		.sense_size = config->sense_size,
		.ports = { .initiator = 0x3000000000000010ull + index,
			   .target = 0x3000000000000020ull + index,
			   .relative_target_port = (uint16_t)(index + 1) },
	};
	struct error error = { 0 };
	uint64_t acked = 1ull << VIRTIO_SCSI_F_HOTPLUG | 1ull << VIRTIO_SCSI_F_CHANGE;

	if (scsi_device_new(&device, &adapter->device, &error) < 0)
		fail_msg("%s", error.text);
	scsi_device_set_acked(adapter->device, config->acked ? config->acked : acked);
	for (unsigned i = 0; i < world->ring_count; i++)
		ring_open(world, adapter, i, config);
	for (unsigned i = 0; i < 2 && !config->no_luns; i++)
		scsi_world_add_lun(world, index, i, i, 0);
	for (unsigned i = 0; i < world->ring_count && !config->stopped; i++) {
		scsi_ring_start(&adapter->rings[i]);
		event_fd_signal(adapter->rings[i].kick_fd);
	}
	for (unsigned i = 0; i < 2 && !config->no_luns && !config->stopped; i++)
		scsi_clear_attention(world, index, i);
}

static void adapter_forget(struct scsi_world *world, struct scsi_adapter *adapter)
{
	unsigned done = world->done;

	scsi_device_forget_loops(adapter->device, scsi_fixture_done, world);
	scsi_wait(world, world->done == done + 1);
}

static void adapter_close(struct scsi_world *world, struct scsi_adapter *adapter)
{
	struct scsi_lun *lun;

	for (unsigned i = 0; i < world->ring_count; i++)
		if (adapter->rings[i].running)
			scsi_ring_stop(&adapter->rings[i]);
	adapter_forget(world, adapter);
	while ((lun = TAILQ_FIRST(&adapter->device->luns)))
		scsi_world_remove_lun(world, lun);
	for (unsigned i = 0; i < world->ring_count; i++) {
		lane_free(adapter->rings[i].lane);
		adapter->rings[i].lane = NULL;
		fd_close(&adapter->rings[i].kick_fd);
		fd_close(&adapter->rings[i].call_fd);
	}
	adapter_forget(world, adapter);
	scsi_device_free(adapter->device);
}

struct scsi_lun *scsi_world_lun(struct scsi_world *world, unsigned adapter, unsigned target,
				unsigned lun)
{
	return scsi_table_find(world->adapters[adapter].device->table, target, lun);
}

struct scsi_lun *scsi_world_add_lun(struct scsi_world *world, unsigned adapter, unsigned disk,
				    unsigned target, unsigned number)
{
	struct error error = { 0 };
	struct scsi_lun *lun;

	if (scsi_device_add_lun(world->adapters[adapter].device, world->spies[disk].disk,
				(uint16_t)target, (uint16_t)number, &lun, &error) < 0)
		fail_msg("%s", error.text);
	return lun;
}

void scsi_world_remove_lun(struct scsi_world *world, struct scsi_lun *lun)
{
	unsigned done = world->done;

	scsi_lun_remove(lun, scsi_fixture_done, world);
	scsi_wait(world, world->done == done + 1);
}

/* ---- the world ---- */

void scsi_world_open(struct scsi_world *world, const struct scsi_world_config *config)
{
	struct error error = { 0 };

	memset(world, 0, sizeof(*world));
	if (loop_new(&world->loop, &error) < 0)
		fail_msg("%s", error.text);
	loop_adopt(world->loop);
	world->memory = mmap(NULL, SCSI_FIXTURE_MEMORY, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(world->memory, MAP_FAILED);
	assert_int_equal(mem_map_build_local(world->memory, SCSI_FIXTURE_GUEST, SCSI_FIXTURE_MEMORY,
					     &world->map),
			 0);
	world->graph = block_graph_new();
	world->ring_count = SCSI_QUEUE_FIRST + (config->queues ? config->queues : 2);
	assert_true(world->ring_count <= SCSI_FIXTURE_RINGS);
	disks_open(world, config->slow);
	world->adapter_count = 0;
	for (unsigned i = 0; i < MAX(config->adapters, 1u); i++) {
		world->adapter_count++;
		adapter_open(world, i, config);
	}
}

void scsi_world_stop(struct scsi_world *world)
{
	for (unsigned i = 0; i < world->adapter_count; i++)
		adapter_close(world, &world->adapters[i]);
	for (unsigned i = 0; i < SCSI_FIXTURE_DISKS; i++) {
		unsigned done = world->done;

		assert_int_equal(world->spies[i].held_count, 0);
		scsi_disk_free(world->spies[i].disk, scsi_fixture_done, world);
		scsi_wait(world, world->done == done + 1);
		assert_int_equal(world->spies[i].node->refs, 0);
	}
	block_graph_free(world->graph);
}

void scsi_world_free(struct scsi_world *world)
{
	assert_int_equal(world->map->refs, 1);
	mem_map_unref(world->map);
	munmap(world->memory, SCSI_FIXTURE_MEMORY);
	loop_free(world->loop);
}

void scsi_world_close(struct scsi_world *world)
{
	scsi_world_stop(world);
	scsi_world_free(world);
}
