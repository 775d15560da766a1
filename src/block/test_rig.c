/* SPDX-License-Identifier: MIT */
/* See test_rig.h. */
#include "block/test_rig.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RIG_DEADLINE_NS (20 * NS_PER_S)

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	loop_adopt(rig->loop);
	rig->graph = block_graph_new();
	assert_non_null(rig->graph);
	snprintf(rig->dir, sizeof(rig->dir), "block-test-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	*state = rig;
	return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	return remove(path);
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	block_graph_free(rig->graph);
	loop_free(rig->loop);
	nftw(rig->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

const char *rig_file_make(struct rig *rig, const char *name, uint64_t size)
{
	int fd;

	snprintf(rig->path, sizeof(rig->path), "%s/%s", rig->dir, name);
	fd = open(rig->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	return rig->path;
}

struct block_channel *rig_channel(struct rig *rig, struct block_node *node)
{
	struct block_channel *channel = NULL;

	assert_int_equal(block_channel_open(node, rig->loop, &channel), 0);
	return channel;
}

static void rig_io_done(struct block_request *request, int result)
{
	struct rig_io *io = container_of(request, struct rig_io, request);

	io->done_count++;
	io->result = result;
}

void rig_io_init(struct rig_io *io, enum block_op op, uint64_t offset, void *buffer, uint64_t bytes)
{
	memset(io, 0, sizeof(*io));
	io->iov[0] = (struct iovec){ .iov_base = buffer, .iov_len = bytes };
	io->request = (struct block_request){
		.op = op,
		.offset = offset,
		.bytes = bytes,
		.iov = io->iov,
		.iov_count = 1,
	};
}

void rig_io_submit(struct block_channel *channel, struct rig_io *io)
{
	io->request.done = rig_io_done;
	block_submit(channel, &io->request);
}

int rig_io_wait(struct rig *rig, struct rig_io *io)
{
	uint64_t deadline_ns = clock_ns() + RIG_DEADLINE_NS;

	while (io->done_count == 0) {
		assert_true(clock_ns() < deadline_ns);
		loop_turn(rig->loop, 100 * NS_PER_MS);
	}
	assert_int_equal(io->done_count, 1);
	return io->result;
}

int rig_do_flags(struct rig *rig, struct block_channel *channel, enum block_op op, unsigned flags,
		 uint64_t offset, void *buffer, uint64_t bytes)
{
	struct rig_io io;

	rig_io_init(&io, op, offset, buffer, bytes);
	io.request.flags = flags;
	rig_io_submit(channel, &io);
	return rig_io_wait(rig, &io);
}

int rig_do(struct rig *rig, struct block_channel *channel, enum block_op op, uint64_t offset,
	   void *buffer, uint64_t bytes)
{
	return rig_do_flags(rig, channel, op, 0, offset, buffer, bytes);
}

/* splitmix64 */
uint64_t rig_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}
