/* SPDX-License-Identifier: MIT */
/* For the tests of this folder: a captive loop, a graph, a directory, and requests that are waited for. */
#ifndef RINGLANE_BLOCK_TEST_RIG_H
#define RINGLANE_BLOCK_TEST_RIG_H

#include "block/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RIG_IOV_MAX 64

struct rig {
	struct loop *loop;
	struct block_graph *graph;
	char dir[64];
	char path[128];     /* of the file that rig_file_make made */
	char device[32];    /* of rig_device_make, "" = none */
	int device_fd;      /* keeps it */
	int memory_fd;      /* behind it */
	bool tmpfs_mounted; /* on dir/small */
};

struct rig_io {
	struct block_request request;
	struct iovec iov[RIG_IOV_MAX];
	unsigned done_count;
	int result;
};

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

/* cmocka's set-up and tear-down; *state is the rig. Everything in the directory goes with it. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* A file of size bytes in the rig's directory; returns its path. */
const char *rig_file_make(struct rig *rig, const char *name, uint64_t size);
/* A loop device over memory (rig->memory_fd), or skips the test with a reason. Returns its path. */
const char *rig_device_make(struct rig *rig, uint64_t size, uint32_t block_size);
void rig_device_resize(struct rig *rig, uint64_t size);
/* Mounts a file system of 64 KiB on <dir>/small, or skips the test with a reason. */
void rig_tmpfs_mount(struct rig *rig);
struct block_channel *rig_channel(struct rig *rig, struct block_node *node);

/* One buffer in one piece. */
void rig_io_init(struct rig_io *io, enum block_op op, uint64_t offset, void *buffer,
		 uint64_t bytes);
void rig_io_submit(struct block_channel *channel, struct rig_io *io);
/* Turns the loop until it is done; fails the test after a deadline. Returns the result. */
int rig_io_wait(struct rig *rig, struct rig_io *io);
/* All of it. */
int rig_do(struct rig *rig, struct block_channel *channel, enum block_op op, uint64_t offset,
	   void *buffer, uint64_t bytes);
int rig_do_flags(struct rig *rig, struct block_channel *channel, enum block_op op, unsigned flags,
		 uint64_t offset, void *buffer, uint64_t bytes);

/* A sequence that is the same in each run. */
uint64_t rig_random(uint64_t *state);

#endif
