/* SPDX-License-Identifier: MIT */
/*
 * What the files of virtio-blk share; nobody else includes this.
 *
 * blk.c          the device: checks, features, write cache mode, channels
 * blk_config.c   the configuration space
 * blk_request.c  one request
 */
#ifndef RINGLANE_DEVICE_BLK_INTERNAL_H
#define RINGLANE_DEVICE_BLK_INTERNAL_H

#include "base/atomic.h"
#include "device/blk.h"

#include <linux/virtio_blk.h>

/* One range of a DISCARD or WRITE_ZEROES fits a guest's 32 bits of bytes at every block size. */
#define BLK_RANGE_BYTES_MAX (1ull << 30)
/*
 * Bytes of one segment, and with it of a request: descriptors may name the same memory again and again, so that without a limit
 * one small guest could keep a thread busy for half a minute. SeaBIOS 1.16 takes the low 16 bits of BLK_SIZE_MAX * BLK_SEG_MAX for
 * the bytes that a request may have, and asks for nothing, for ever, when they are 0: here they are 57344.
 */
#define BLK_SIZE_MAX ((4u << 20) - 15 * 4096)
#define BLK_REQUEST_MAX ((uint64_t)BLK_SIZE_MAX * BLK_SEG_MAX)
#define BLK_LOGICAL_BLOCK_MIN 512u
#define BLK_LOGICAL_BLOCK_MAX (2u << 20)

static_assert(BLK_SEG_MAX + 2 <= LANE_IOV_MAX, "a request of seg_max segments fits a slot");

struct blk_device {
	/* constant while there are lanes */
	struct block_node *node;
	uint32_t block_size;          /* bytes, logical */
	uint32_t misaligned;          /* bits that no offset and length has */
	uint32_t discard_sectors_max; /* of one range; 0 = not offered */
	uint32_t zeroes_sectors_max;
	bool writable;
	uint16_t num_queues;
	char serial[BLK_ID_BYTES];

	/* main thread */
	uint64_t acked;
	uint8_t wce; /* what the configuration space says */

	/* written by the main thread, read by lanes for each write (relaxed: no data depends on it) */
	uint8_t write_through;
};

struct blk_range {
	uint64_t offset, bytes;
	unsigned flags; /* of the block layer */
};

struct blk_request {
	struct lane_request base; /* must be first */
	struct blk_device *device;
	struct block_channel *channel;
	/* the readable part behind the header, the writable part before the status */
	struct iovec *out, *in;
	unsigned out_count, in_count;
	struct block_request block;
	/* DISCARD, WRITE_ZEROES */
	unsigned range_count, range_next;
	bool range_submitting, range_ended;
	uint8_t range_status;
	struct blk_range ranges[BLK_RANGES_MAX];
};

void blk_execute(struct lane *lane, struct lane_request *request);

#endif
