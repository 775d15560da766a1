/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: the adapter that its lanes share.
 *
 * Theory of operation. What lanes read of it for each request is one word (how requests are laid out) and the pointer to the table of
 * LUNs. Which loop serves which request queue is known before its lane starts, and forgotten when all lanes are stopped and no message
 * is out: in between each queue is that loop's alone.
 *
 * Main thread, but for the lane operations, which run on the lane's loop.
 */
#include "device/scsi_internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>

#define FEATURE(bit) (1ull << (bit))

/* ---- life ---- */

static int check_config(const struct scsi_device_config *config, struct error *error)
{
	if (config->num_queues == 0)
		return error_set(error, -EINVAL, "an adapter needs at least one request queue");
	if (config->cdb_size &&
	    (config->cdb_size < SCSI_CDB_SIZE_MIN || config->cdb_size > SCSI_CDB_MAX))
		return error_set(error, -EINVAL, "the CDB size %u is not from %u to %u bytes",
				 config->cdb_size, SCSI_CDB_SIZE_MIN, SCSI_CDB_MAX);
	if (config->sense_size > SCSI_SENSE_SIZE_MAX)
		return error_set(error, -EINVAL, "the sense size %u is larger than %u bytes",
				 config->sense_size, SCSI_SENSE_SIZE_MAX);
	return 0;
}

static int queues_alloc(struct scsi_device *device)
{
	device->queues = aligned_alloc(CACHE_LINE, device->num_queues * sizeof(*device->queues));
	if (!device->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < device->num_queues; i++)
		device->queues[i] = (struct scsi_queue){ .device = device, .index = i };
	return 0;
}

static void forget_now(struct loop_defer *defer);

int scsi_device_new(const struct scsi_device_config *config, struct scsi_device **ret_device,
		    struct error *error)
{
	struct scsi_device *device;
	int ret = check_config(config, error);

	if (ret < 0)
		return ret;
	device = aligned_alloc(_Alignof(struct scsi_device), sizeof(*device));
	if (!device)
		return error_set(error, -ENOMEM, "not enough memory for an adapter");
	*device = (struct scsi_device){
		.main_loop = config->main_loop,
		.ports = config->ports,
		.num_queues = config->num_queues,
		.cdb_size_default =
			(uint16_t)(config->cdb_size ? config->cdb_size : SCSI_CDB_SIZE_DEFAULT),
		.sense_size_default = (uint16_t)(config->sense_size ? config->sense_size :
								      SCSI_SENSE_SIZE_DEFAULT),
		.forget = { .fn = forget_now },
	};
	TAILQ_INIT(&device->luns);
	scsi_layout_reset(device);
	if (queues_alloc(device) == 0)
		device->table = scsi_table_new(device);
	if (!device->table) {
		scsi_device_free(device);
		return error_set(error, -ENOMEM, "not enough memory for an adapter");
	}
	*ret_device = device;
	return 0;
}

void scsi_device_free(struct scsi_device *device)
{
	if (!device)
		return;
	assert(TAILQ_EMPTY(&device->luns) && device->out == 0);
	assert(!device->forgotten && !device->event.lane);
	scsi_table_free(device->table);
	free(device->queues);
	free(device);
}

/* ---- features ---- */

uint64_t scsi_device_features(const struct scsi_device *device)
{
	return FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
	       FEATURE(VIRTIO_RING_F_EVENT_IDX) | FEATURE(VIRTIO_SCSI_F_HOTPLUG) |
	       FEATURE(VIRTIO_SCSI_F_CHANGE);
}

void scsi_device_set_acked(struct scsi_device *device, uint64_t features)
{
	device->acked = features;
	scsi_layout_set_pi(device, features & FEATURE(VIRTIO_SCSI_F_T10_PI));
}

void scsi_device_reset(struct scsi_device *device)
{
	struct scsi_lun *lun;

	assert(loop_is_mine(device->main_loop));
	device->acked = 0;
	scsi_layout_reset(device);
	scsi_event_reset(device);
	TAILQ_FOREACH(lun, &device->luns, next_of_device)
	scsi_nexus_lost(lun->nexus, SCSI_ASC_POWER_ON_OR_RESET);
}

const char *scsi_queue_name(unsigned index, char *text, size_t size)
{
	if (index == SCSI_QUEUE_CTRL)
		return "ctrl";
	if (index == SCSI_QUEUE_EVENT)
		return "event";
	snprintf(text, size, "%u", index - SCSI_QUEUE_FIRST);
	return text;
}

/* ---- loops ---- */

void scsi_device_set_loop(struct scsi_device *device, unsigned index, struct loop *loop)
{
	assert(loop_is_mine(device->main_loop));
	if (index >= SCSI_QUEUE_FIRST)
		device->queues[index - SCSI_QUEUE_FIRST].loop = loop;
}

/* The last message may have come back and another gone out since this was deferred. */
static void forget_now(struct loop_defer *defer)
{
	struct scsi_device *device = container_of(defer, struct scsi_device, forget);
	void (*done)(void *opaque) = device->forgotten;

	if (device->out > 0)
		return;
	for (unsigned i = 0; i < device->num_queues; i++) {
		assert(!device->queues[i].lane);
		device->queues[i].loop = NULL;
	}
	device->forgotten = NULL;
	done(device->forgotten_opaque);
}

void scsi_device_back(struct scsi_device *device, unsigned count)
{
	assert(device->out >= count);
	device->out -= count;
	if (device->out == 0 && device->forgotten)
		loop_defer(device->main_loop, &device->forget);
}

void scsi_device_forget_loops(struct scsi_device *device, void (*done)(void *opaque), void *opaque)
{
	assert(loop_is_mine(device->main_loop) && !device->forgotten);
	device->forgotten = done;
	device->forgotten_opaque = opaque;
	if (device->out == 0)
		loop_defer(device->main_loop, &device->forget);
}

/* ---- lanes of request queues ---- */

static int request_lane_start(struct lane *lane)
{
	struct scsi_device *device = lane_device(lane);
	struct scsi_queue *queue = &device->queues[lane_index(lane) - SCSI_QUEUE_FIRST];

	assert(queue->loop == lane_loop(lane));
	queue->lane_loop = lane_loop(lane);
	queue->lane = lane;
	lane_set_private(lane, queue);
	return 0;
}

static void request_lane_stop(struct lane *lane)
{
	struct scsi_queue *queue = lane_private(lane);

	queue->recent = NULL;
	while (queue->open)
		scsi_lun_queue_close(queue->open);
	queue->lane = NULL;
	lane_set_private(lane, NULL);
}

const struct lane_ops *scsi_lane_ops(unsigned index)
{
	static const struct lane_ops ops = {
		.request_size = sizeof(struct scsi_request),
		.answer_first = true,
		.prepare = scsi_request_prepare,
		.start = request_lane_start,
		.stop = request_lane_stop,
		.execute = scsi_transfer_execute,
	};

	if (index == SCSI_QUEUE_CTRL)
		return scsi_ctrl_ops();
	if (index == SCSI_QUEUE_EVENT)
		return scsi_event_ops();
	return &ops;
}
