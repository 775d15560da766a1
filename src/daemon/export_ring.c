/* SPDX-License-Identifier: MIT */
/*
 * Operations of a connection (vhu_backend_ops) as commands to lanes (lane_command_*).
 *
 * A lane takes one command at a time, and the protocol has one operation out at a time, so an operation answers VHU_PENDING
 * while its commands are on their way. Operations on all lanes (a new memory map, reset) send one command to each lane that
 * runs and count the answers. Main thread; the answers arrive on the main loop.
 */
#include "daemon/export_internal.h"
#include "daemon/log.h"

#include "base/fd.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* ---- commands to many lanes ---- */

static void lane_answered(void *opaque, struct lane *lane, int result)
{
	struct export *export = opaque;

	if (result < 0 && export->lanes_result == 0)
		export->lanes_result = result;
	if (--export->lanes_out == 0)
		export->lanes_done(export, export->lanes_result);
}

static void lane_stopped_with_others(void *opaque, struct lane *lane, int result)
{
	struct export *export = opaque;

	export->queues[lane_index(lane)].running = false;
	lane_answered(opaque, lane, result);
}

/* Answers may not arrive before all commands are sent: they come as messages. */
static void begin_many(struct export *export, void (*done)(struct export *export, int result))
{
	export->lanes_out = 0;
	export->lanes_result = 0;
	export->lanes_done = done;
}

bool export_stop_lanes(struct export *export, void (*done)(struct export *export, int result))
{
	unsigned i;

	begin_many(export, done);
	for (i = 0; i < export->queue_count; i++) {
		if (!export->queues[i].running)
			continue;
		export->lanes_out++;
		export->queues[i].stopping = true;
		lane_command_stop(export->queues[i].lane, lane_stopped_with_others, export);
	}
	return export->lanes_out > 0;
}

void export_forget_rings(struct export *export)
{
	unsigned i;

	for (i = 0; i < export->queue_count; i++) {
		struct export_queue *queue = &export->queues[i];

		assert(!queue->running);
		if (queue->lane)
			lane_free(queue->lane);
		if (queue->used)
			iothread_unref(queue->used);
		queue->lane = NULL;
		queue->used = NULL;
	}
	mem_map_unref(export->map);
	export->map = NULL;
	export->features = 0;
	export->type->reset(export->device);
}

/* ---- the device ---- */

static uint64_t op_get_features(void *opaque)
{
	struct export *export = opaque;

	return export->type->features(export->device);
}

static int op_set_features(void *opaque, uint64_t features)
{
	struct export *export = opaque;

	export->features = features;
	export->type->set_acked(export->device, features);
	return 0;
}

static unsigned op_queue_max(void *opaque)
{
	struct export *export = opaque;

	return export->queue_count;
}

static int op_get_config(void *opaque, uint32_t offset, void *bytes, uint32_t size)
{
	struct export *export = opaque;

	if (export->type->size)
		export->told_size = export->type->size(export);
	export->type->get_config(export->device, offset, bytes, size);
	return 0;
}

static int op_set_config(void *opaque, uint32_t offset, const void *bytes, uint32_t size,
			 uint32_t flags)
{
	struct export *export = opaque;

	/* flags tell a driver's write from a migration's, and not all front ends mean the same by them; the byte is the same */
	return export->type->set_config(export->device, offset, bytes, size);
}

/* ---- memory ---- */

static struct virtq_memory virtq_memory_of(const struct vhu_ring_memory *memory)
{
	return (struct virtq_memory){ memory->desc, memory->avail, memory->used };
}

static int op_set_map(void *opaque, struct mem_map *map)
{
	struct export *export = opaque;
	unsigned i;

	mem_map_unref(export->map);
	export->map = mem_map_ref(map);
	begin_many(export, export_operation_done);
	for (i = 0; i < export->queue_count; i++) {
		struct vhu_ring_memory place = { 0 };
		struct virtq_memory memory;

		if (!export->queues[i].running)
			continue;
		/* a ring that the new map does not hold gets NULL pointers: that lane breaks, and says so */
		if (vhu_backend_ring_memory(export->backend, i, map, &place))
			place = (struct vhu_ring_memory){ 0 };
		memory = virtq_memory_of(&place);
		export->lanes_out++;
		lane_command_set_map(export->queues[i].lane, map, &memory, lane_answered, export);
	}
	export->operation_out = export->lanes_out > 0;
	return export->operation_out ? VHU_PENDING : 0;
}

/* ---- one ring ---- */

static void ring_broke(void *opaque, unsigned index, const char *reason)
{
	struct export *export = opaque;

	char name[EXPORT_QUEUE_NAME_MAX];

	export->queues[index].broken = true;
	log_line_limited(&export->said, "export %s: queue %s: %s", export->spec->id,
			 export->type->queue_name(index, name, sizeof(name)), reason);
}

static int queue_make_lane(struct export_queue *queue, unsigned index, struct iothread *iothread,
			   struct error *error)
{
	struct export *export = queue->export;
	struct lane_config config = {
		.ops = export->type->lane_ops(index),
		.device = export->device,
		.index = index,
		.held = export_lanes_are_held(export),
		.loop = iothread ? iothread_loop(iothread) : export->loop,
		.main_loop = export->loop,
		.broken = ring_broke,
		.opaque = export,
	};
	int result = lane_new(&config, &queue->lane);

	if (result)
		return error_set(error, result, "out of memory");
	if (iothread)
		iothread_ref(iothread);
	queue->used = iothread;
	if (export->type->set_loop)
		export->type->set_loop(export->device, index, config.loop);
	return 0;
}

/* The IOThread stays the same until the client goes, so that what a person saw in the map stays true. */
static int queue_prepare(struct export_queue *queue, unsigned index, struct error *error)
{
	struct export *export = queue->export;
	struct iothread *iothread = queue->mapped;
	int result = 0;

	if (queue->lane)
		return 0;
	if (!iothread && index >= export->type->fixed_queues)
		result = iothreads_pick(export->config.iothreads, &iothread, error);
	return result ? result : queue_make_lane(queue, index, iothread, error);
}

static void say_cannot_start(struct export *export, unsigned index, const char *reason)
{
	char name[EXPORT_QUEUE_NAME_MAX];

	log_line_limited(&export->said, "export %s: queue %s cannot start: %s", export->spec->id,
			 export->type->queue_name(index, name, sizeof(name)), reason);
}

static void ring_started(void *opaque, struct lane *lane, int result)
{
	struct export_queue *queue = opaque;

	queue->running = result == 0;
	if (result < 0)
		say_cannot_start(queue->export, lane_index(lane), strerrordesc_np(-result));
	export_operation_done(queue->export, result);
}

static void ring_close_fds(const struct vhu_ring *ring)
{
	int fds[] = { ring->kick_fd, ring->call_fd, ring->err_fd };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i]);
}

static void note_start(struct export_queue *queue)
{
	struct lane_stats stats;

	lane_get_stats(queue->lane, &stats);
	queue->kicks_before = stats.kicks;
	queue->broken = queue->paused = queue->stopping = false;
}

static int op_ring_start(void *opaque, unsigned index, const struct vhu_ring *ring)
{
	struct export *export = opaque;
	struct export_queue *queue = &export->queues[index];
	struct error error;
	struct lane_start start;

	assert(index < export->queue_count && !queue->running);
	if (queue_prepare(queue, index, &error)) {
		say_cannot_start(export, index, error.text);
		ring_close_fds(ring);
		return error.code;
	}
	start = (struct lane_start){
		.virtq = { .layout = VIRTQ_SPLIT,
			   .size = ring->size,
			   .base = ring->base,
			   .indirect = export->features & (1ull << VIRTIO_RING_F_INDIRECT_DESC),
			   .event_idx = export->features & (1ull << VIRTIO_RING_F_EVENT_IDX),
			   .memory = virtq_memory_of(&ring->memory) },
		.map = export->map,
		.kick_fd = ring->kick_fd,
		.call_fd = ring->call_fd,
		.err_fd = ring->err_fd,
		.features = export->features,
		.enabled = true,
	};
	export->operation_out = true;
	note_start(queue);
	lane_command_start(queue->lane, &start, ring_started, queue);
	return VHU_PENDING;
}

static void ring_stopped(void *opaque, struct lane *lane, int result)
{
	struct export_queue *queue = opaque;

	queue->running = false;
	export_operation_done(queue->export, result);
}

static void ring_changed(void *opaque, struct lane *lane, int result)
{
	struct export_queue *queue = opaque;

	export_operation_done(queue->export, result);
}

static int op_ring_stop(void *opaque, unsigned index, uint16_t *ret_base)
{
	struct export *export = opaque;
	struct export_queue *queue = &export->queues[index];

	if (!queue->running)
		return -EINVAL;
	export->operation_out = true;
	queue->stopping = true;
	lane_command_stop(queue->lane, ring_stopped, queue);
	return VHU_PENDING;
}

typedef void lane_command_fd_fn(struct lane *lane, int fd, lane_done_fn *done, void *opaque);

static int change_fd(struct export *export, unsigned index, int fd, lane_command_fd_fn *command)
{
	struct export_queue *queue = &export->queues[index];

	if (!queue->running) {
		fd_close(&fd);
		return -EINVAL;
	}
	export->operation_out = true;
	command(queue->lane, fd, ring_changed, queue);
	return VHU_PENDING;
}

static int op_ring_set_call(void *opaque, unsigned index, int fd)
{
	return change_fd(opaque, index, fd, lane_command_set_call);
}

static int op_ring_set_kick(void *opaque, unsigned index, int fd)
{
	return change_fd(opaque, index, fd, lane_command_set_kick);
}

static int op_ring_set_err(void *opaque, unsigned index, int fd)
{
	return change_fd(opaque, index, fd, lane_command_set_err);
}

static int op_ring_set_enabled(void *opaque, unsigned index, bool enabled)
{
	struct export *export = opaque;
	struct export_queue *queue = &export->queues[index];

	if (!queue->running)
		return -EINVAL;
	export->operation_out = true;
	queue->paused = !enabled;
	lane_command_enable(queue->lane, enabled, ring_changed, queue);
	return VHU_PENDING;
}

/* ---- all rings ---- */

static void reset_done(struct export *export, int result)
{
	export->type->reset(export->device);
	export->features = 0;
	export_operation_done(export, 0);
}

static int op_reset(void *opaque)
{
	struct export *export = opaque;

	export->operation_out = export_stop_lanes(export, reset_done);
	if (export->operation_out)
		return VHU_PENDING;
	export->type->reset(export->device);
	export->features = 0;
	return 0;
}

const struct vhu_backend_ops *export_backend_ops(void)
{
	static const struct vhu_backend_ops ops = {
		.get_features = op_get_features,
		.set_features = op_set_features,
		.queue_max = op_queue_max,
		.get_config = op_get_config,
		.set_config = op_set_config,
		.set_map = op_set_map,
		.ring_start = op_ring_start,
		.ring_stop = op_ring_stop,
		.ring_set_call = op_ring_set_call,
		.ring_set_kick = op_ring_set_kick,
		.ring_set_err = op_ring_set_err,
		.ring_set_enabled = op_ring_set_enabled,
		.reset = op_reset,
	};

	return &ops;
}
