/* SPDX-License-Identifier: MIT */
/*
 * For tests: a virtio-blk device over some node, a running lane, and requests in every shape.
 *
 * The node is a spy unless the test brings one: it writes down what reaches it, answers what it was told, at once or when the test
 * lets go, and stores nothing.
 */
#ifndef RINGLANE_DEVICE_BLK_FIXTURE_H
#define RINGLANE_DEVICE_BLK_FIXTURE_H

#include "device/blk.h"
#include "device/lane_fixture.h"

#define BLK_FIXTURE_CUTS 40
#define BLK_FIXTURE_SEEN 64
#define BLK_STATUS_NONE 0xee /* what a status byte holds before the device writes it */

struct blk_seen {
	enum block_op op;
	unsigned flags, iov_count;
	uint64_t offset, bytes;
};

struct blk_spy {
	bool later;       /* keep it */
	unsigned fail_at; /* number of the request (from 1) that gets fail_result; 0 = none */
	int fail_result;
	unsigned count;
	struct blk_seen seen[BLK_FIXTURE_SEEN];
	struct block_request *held;
};

struct blk_world {
	struct lane_fixture f;
	struct block_graph *graph;
	struct block_node *node;
	struct blk_device *device;
	struct blk_spy spy;
};

struct blk_world_config {
	/* Opens the node; NULL: the spy. */
	struct block_node *(*open_node)(struct block_graph *graph);
	uint64_t spy_size; /* bytes; 0: 1 MiB */
	uint32_t spy_alignment, logical_block_size;
	bool spy_no_discard;
	bool read_only, event_idx;
	uint64_t acked; /* 0: FLUSH */
};

void blk_world_open(struct blk_world *world, const struct blk_world_config *config);
void blk_world_close(struct blk_world *world);
void blk_spy_let_go(struct blk_spy *spy, int result);

/* Readable bytes and their descriptors, writable bytes (status included) and theirs; lengths end with 0. */
struct blk_shape {
	uint8_t *out, *in; /* guest memory */
	uint32_t out_cuts[BLK_FIXTURE_CUTS], in_cuts[BLK_FIXTURE_CUTS];
};

/* Guest memory for a request: the header is written; one descriptor for each of header, data, status. */
struct blk_shape blk_shape(struct blk_world *world, uint32_t type, uint64_t sector,
			   uint32_t out_bytes, uint32_t in_bytes);
uint32_t blk_shape_in_bytes(const struct blk_shape *shape); /* status included */
uint8_t blk_shape_status(const struct blk_shape *shape);
void blk_submit_shape(struct blk_world *world, const struct blk_shape *shape);
/* Submits, waits until it is finished, checks the used length. Returns the status. */
uint8_t blk_run_shape(struct blk_world *world, const struct blk_shape *shape);
/* Submits, waits until the lane breaks. Returns the reason. */
const char *blk_break_shape(struct blk_world *world, const struct blk_shape *shape);

/* A usual request. */
uint8_t blk_run(struct blk_world *world, uint32_t type, uint64_t sector, const void *out,
		uint32_t out_bytes, void *ret_in, uint32_t in_bytes);

#endif
