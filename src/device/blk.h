/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (virtio 1.3, 5.2): configuration space, features, and the execution of one request over the block gate.
 *
 * The device is shared by its lanes and read-mostly: geometry comes from the node, write cache mode is one atomic byte. Each lane
 * has a channel of its own. Knows no transport.
 */
#ifndef RINGLANE_DEVICE_BLK_H
#define RINGLANE_DEVICE_BLK_H

#include "block/block.h"
#include "device/lane.h"

#define BLK_ID_BYTES 20
#define BLK_SEG_MAX 126u
#define BLK_RANGES_MAX 32u /* segments of one DISCARD or WRITE_ZEROES */

struct blk_config {
	struct block_node *node; /* the device takes a reference */
	const char *serial;      /* at most BLK_ID_BYTES */
	uint32_t logical_block_size; /* bytes: 512 … 2 MiB, power of two, at least the node's alignment; 0 = the smallest possible */
	uint16_t num_queues;
	bool writable;
};

struct blk_device;

/* Main thread. Checks serial, block size against the node, size against block size: one sentence, -EINVAL. */
int blk_device_new(const struct blk_config *config, struct blk_device **ret_device,
		   struct error *error);
void blk_device_free(struct blk_device *device); /* its lanes are stopped */
const struct lane_ops *blk_lane_ops(void);
uint64_t blk_device_features(const struct blk_device *device); /* offered */
/* A driver has these (none before: each write is made stable). virtio 1.3, 5.2.6.2 says what makes a write stable. */
void blk_device_set_acked(struct blk_device *device, uint64_t features);
/* Any offset and size; what lies past the structure reads as zeros. */
void blk_device_get_config(const struct blk_device *device, uint32_t offset, void *bytes,
			   uint32_t size);
/* Only `writeback` can be written: -EINVAL otherwise. */
int blk_device_set_config(struct blk_device *device, uint32_t offset, const void *bytes,
			  uint32_t size);
/* Device reset: write cache mode as at the start. */
void blk_device_reset(struct blk_device *device);

#endif
