/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk: the device that its lanes share.
 *
 * Theory of operation. What a driver is offered follows from the node and from whether the export may be written; it is decided
 * once, at blk_device_new(). The only thing that changes later is the write cache mode, and the node's size.
 *
 * Write cache (virtio 1.3, 5.2.6.2). A finished write is stable at once when neither FLUSH nor CONFIG_WCE was negotiated, or when
 * CONFIG_WCE was and `writeback` is 0; else a later FLUSH makes it stable. So the mode is `writeback` for drivers that know
 * CONFIG_WCE, and "has it FLUSH?" for those that do not. With CONFIG_WCE but without FLUSH `writeback` starts as 0 (5.2.5.2).
 *
 * The main thread calls everything here, but for the two lane operations, which run on the lane's loop.
 */
#include "device/blk_internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE(bit) (1ull << (bit))

/* ---- checks ---- */

static bool is_power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static int check_block_size(const struct block_node *node, uint32_t block_size, struct error *error)
{
	if (!is_power_of_two(block_size) || block_size < BLK_LOGICAL_BLOCK_MIN ||
	    block_size > BLK_LOGICAL_BLOCK_MAX)
		return error_set(error, -EINVAL,
				 "logical block size %u is not a power of two from %u to %u",
				 block_size, BLK_LOGICAL_BLOCK_MIN, BLK_LOGICAL_BLOCK_MAX);
	if (block_size < node->limits.request_alignment)
		return error_set(
			error, -EINVAL,
			"logical block size %u is smaller than the %u bytes that node '%s' needs",
			block_size, node->limits.request_alignment, node->name);
	if (block_node_size(node) % block_size)
		return error_set(
			error, -EINVAL,
			"size %llu of node '%s' is not a multiple of the logical block size %u",
			(unsigned long long)block_node_size(node), node->name, block_size);
	return 0;
}

static int check_config(const struct blk_config *config, uint32_t block_size, struct error *error)
{
	if (config->serial && strlen(config->serial) > BLK_ID_BYTES)
		return error_set(error, -EINVAL, "serial '%s' is longer than %d bytes",
				 config->serial, BLK_ID_BYTES);
	if (config->num_queues == 0)
		return error_set(error, -EINVAL, "a disk needs at least one queue");
	if (config->writable && config->node->read_only)
		return error_set(error, -EINVAL, "node '%s' is read-only", config->node->name);
	return check_block_size(config->node, block_size, error);
}

/* ---- life ---- */

static uint32_t range_sectors_max(const struct blk_device *device, uint64_t bytes_max)
{
	uint64_t bytes = MIN(bytes_max, BLK_RANGE_BYTES_MAX);

	if (!device->writable)
		return 0;
	return (uint32_t)((bytes & ~(uint64_t)device->misaligned) / BLOCK_SECTOR);
}

int blk_device_new(const struct blk_config *config, struct blk_device **ret_device,
		   struct error *error)
{
	const struct block_limits *limits = &config->node->limits;
	uint32_t block_size = config->logical_block_size;
	struct blk_device *device;
	int ret;

	if (block_size == 0)
		block_size = MAX(BLK_LOGICAL_BLOCK_MIN, limits->request_alignment);
	ret = check_config(config, block_size, error);
	if (ret < 0)
		return ret;
	device = calloc(1, sizeof(*device));
	if (!device)
		return error_set(error, -ENOMEM, "not enough memory for a disk");
	device->node = block_node_ref(config->node);
	device->block_size = block_size;
	device->misaligned = block_size - 1;
	device->writable = config->writable;
	device->num_queues = config->num_queues;
	device->discard_sectors_max = range_sectors_max(device, limits->discard_max);
	device->zeroes_sectors_max = range_sectors_max(device, limits->write_zeroes_max);
	if (config->serial)
		memcpy(device->serial, config->serial, strlen(config->serial));
	blk_device_reset(device);
	*ret_device = device;
	return 0;
}

void blk_device_free(struct blk_device *device)
{
	if (!device)
		return;
	block_node_unref(device->node);
	free(device);
}

/* ---- features and write cache ---- */

uint64_t blk_device_features(const struct blk_device *device)
{
	uint64_t features = FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
			    FEATURE(VIRTIO_RING_F_EVENT_IDX) | FEATURE(VIRTIO_BLK_F_MQ) |
			    FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) |
			    FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY) |
			    FEATURE(VIRTIO_BLK_F_FLUSH);

	features |= device->writable ? FEATURE(VIRTIO_BLK_F_CONFIG_WCE) : FEATURE(VIRTIO_BLK_F_RO);
	if (device->discard_sectors_max)
		features |= FEATURE(VIRTIO_BLK_F_DISCARD);
	if (device->zeroes_sectors_max)
		features |= FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	return features;
}

/* Lanes read it without order: a write that crosses the change may be of either kind (virtio 1.3, 5.2.6.2). */
static void write_cache_update(struct blk_device *device)
{
	bool writeback = device->acked & FEATURE(VIRTIO_BLK_F_CONFIG_WCE) ?
				 device->wce :
				 device->acked & FEATURE(VIRTIO_BLK_F_FLUSH);

	store_relaxed(&device->write_through, !writeback);
}

/* A front end may tell the same features again: what the driver wrote into `writeback` stays. */
void blk_device_set_acked(struct blk_device *device, uint64_t features)
{
	device->acked = features;
	if ((features & FEATURE(VIRTIO_BLK_F_CONFIG_WCE)) &&
	    !(features & FEATURE(VIRTIO_BLK_F_FLUSH)))
		device->wce = 0;
	write_cache_update(device);
}

int blk_device_set_config(struct blk_device *device, uint32_t offset, const void *bytes,
			  uint32_t size)
{
	uint8_t wce;

	if (offset != offsetof(struct virtio_blk_config, wce) || size != sizeof(wce))
		return -EINVAL;
	memcpy(&wce, bytes, sizeof(wce));
	if (!device->writable || wce > 1)
		return -EINVAL;
	device->wce = wce;
	write_cache_update(device);
	return 0;
}

void blk_device_reset(struct blk_device *device)
{
	device->acked = 0;
	device->wce = 1;
	write_cache_update(device);
}

/* ---- lanes ---- */

static int blk_lane_start(struct lane *lane)
{
	const struct blk_device *device = lane_device(lane);
	struct block_channel *channel;
	int ret = block_channel_open(device->node, lane_loop(lane), &channel);

	if (ret < 0)
		return ret;
	lane_set_private(lane, channel);
	return 0;
}

static void blk_lane_stop(struct lane *lane)
{
	block_channel_close(lane_private(lane));
	lane_set_private(lane, NULL);
}

const struct lane_ops *blk_lane_ops(void)
{
	static const struct lane_ops ops = {
		.request_size = sizeof(struct blk_request),
		.start = blk_lane_start,
		.stop = blk_lane_stop,
		.execute = blk_execute,
	};

	return &ops;
}
