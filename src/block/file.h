/* SPDX-License-Identifier: MIT */
/* What the parts of the file driver share: file.c opens, file_lock.c locks, file_io.c moves data, file_space.c frees it,
 * file_status.c tells what is there. */
#ifndef RINGLANE_BLOCK_FILE_H
#define RINGLANE_BLOCK_FILE_H

#include "block/block.h"
#include "block/worker.h"

struct file_node {
	struct block_node node;
	/* set by open */
	int fd; /* -1 until opened */
	char *filename;
	bool host_device, direct, no_flush, discard_unmap;
	bool in_memory;         /* tmpfs: plain calls never wait for a disk */
	uint32_t logical_block; /* bytes: of the device; of a file the sector */
	struct worker *
		worker; /* atomic; NULL until there is one: host_device that can discard, file that was asked for STATUS */
	/* learned by any channel, only ever switched on; relaxed */
	bool no_nowait_read, no_nowait_write;
	bool no_punch, no_zero_range, no_discard;
	int flush_error; /* -errno of a failed flush: the page cache can no longer be trusted to reach the disk */
};

struct file_channel {
	struct block_channel channel;
	uint64_t write_inline_from_ns; /* buffered writes go through the ring until then */
	uint64_t write_backoff_ns;
};

static inline struct file_node *file_node_of(struct block_node *node)
{
	return container_of(node, struct file_node, node);
}

/* Size, alignments and limits of what is open, into node->size, node->limits and the fields above. Main thread. */
int file_probe(struct file_node *file, struct error *error);
int file_probe_size(const struct file_node *file, uint64_t *ret_size, struct error *error);
/* Takes the locks that QEMU's tools know. -EAGAIN when somebody else has the image. Main thread. */
int file_lock_take(int fd, const struct block_file_config *config, struct error *error);

/* READ and WRITE. The channel's loop, like all that follows. */
void file_io_submit(struct block_channel *channel, struct block_request *request);
/* Flushes; the request is completed with the flush's result. */
void file_io_flush(struct block_request *request);
/* Frees what the request holds and completes it. */
void file_io_finish(struct block_request *request, int result);
/* DISCARD and WRITE_ZEROES. */
void file_space_submit(struct block_channel *channel, struct block_request *request);
/* STATUS, of a regular file. */
void file_status_submit(struct block_channel *channel, struct block_request *request);

#endif
