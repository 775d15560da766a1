/* SPDX-License-Identifier: MIT */
/*
 * Each disk against a model: a buffer in memory that is changed in the same way. Random requests, several in flight on
 * disjoint parts, cut into odd pieces of odd memory; what is read must be what the model says, and so must the file in
 * the end. The sequence is the same in each run.
 */
#include "block/test_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PARTS 4
#define PART_SIZE (192u << 10)
#define DISK_SIZE (PARTS * PART_SIZE)
#define IO_BYTES_MAX (64u << 10)
#define ROUNDS 400

struct model {
	struct rig *rig;
	struct block_channel *channel;
	uint64_t random;
	uint32_t alignment;
	unsigned char disk[DISK_SIZE];
};

struct model_io {
	struct rig_io io;
	unsigned char memory[IO_BYTES_MAX + 4096];
	unsigned char data[IO_BYTES_MAX]; /* what is written */
	unsigned char *place;             /* in memory, where the first piece begins */
};

static uint64_t model_below(struct model *model, uint64_t limit)
{
	return rig_random(&model->random) % limit;
}

/* The memory in up to RIG_IOV_MAX pieces of any length, some of them empty; for direct I/O sometimes in pieces that fit. */
static void model_cut(struct model *model, struct model_io *io, uint64_t bytes)
{
	unsigned char *place = io->memory + (model_below(model, 2) ? model_below(model, 4096) : 0);
	unsigned count = 1 + (unsigned)model_below(model, RIG_IOV_MAX);
	uint64_t unit = model_below(model, 2) ? 1 : model->alignment, piece;

	io->place = place;
	for (unsigned i = 0; i < count; i++) {
		piece = i + 1 == count ? bytes : model_below(model, bytes / unit + 1) * unit;
		piece = i + 1 == count ? piece : MIN(piece, bytes / 4 / unit * unit);
		io->io.iov[i] = (struct iovec){ .iov_base = place, .iov_len = piece };
		place += piece;
		bytes -= piece;
	}
	io->io.request.iov_count = count;
}

static enum block_op model_op(struct model *model)
{
	static const enum block_op ops[] = { BLOCK_READ,    BLOCK_READ,         BLOCK_READ,
					     BLOCK_WRITE,   BLOCK_WRITE,        BLOCK_WRITE,
					     BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_FLUSH };

	return ops[model_below(model, ARRAY_SIZE(ops))];
}

static unsigned model_flags(struct model *model, enum block_op op)
{
	unsigned flags = 0;

	if (op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES)
		flags |= model_below(model, 8) == 0 ? BLOCK_FUA : 0;
	if (op == BLOCK_WRITE_ZEROES)
		flags |= model_below(model, 2) ? BLOCK_MAY_UNMAP : 0;
	return flags;
}

static void model_submit(struct model *model, struct model_io *io, unsigned part)
{
	uint64_t units = PART_SIZE / model->alignment;
	uint64_t start = model_below(model, units);
	uint64_t length =
		1 + model_below(model, MIN(units - start, IO_BYTES_MAX / model->alignment));
	uint64_t bytes = length * model->alignment;

	rig_io_init(&io->io, model_op(model), part * (uint64_t)PART_SIZE + start * model->alignment,
		    NULL, bytes);
	io->io.request.flags = model_flags(model, io->io.request.op);
	model_cut(model, io, bytes);
	for (uint64_t i = 0; io->io.request.op == BLOCK_WRITE && i < bytes; i++)
		io->place[i] = io->data[i] = (unsigned char)rig_random(&model->random);
	rig_io_submit(model->channel, &io->io);
}

static void model_check(struct model *model, struct model_io *io)
{
	const struct block_request *request = &io->io.request;
	unsigned char *expected = model->disk + request->offset;

	assert_int_equal(rig_io_wait(model->rig, &io->io), 0);
	switch (request->op) {
	case BLOCK_READ:
		assert_memory_equal(io->place, expected, request->bytes);
		break;
	case BLOCK_WRITE:
		memcpy(expected, io->data, request->bytes);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		memset(expected, 0, request->bytes);
		break;
	case BLOCK_FLUSH:
	case BLOCK_STATUS:
		break;
	}
}

static void model_rounds(struct model *model, struct model_io *ios)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned part = 0; part < PARTS; part++)
			model_submit(model, &ios[part], part);
		for (unsigned part = 0; part < PARTS; part++)
			model_check(model, &ios[part]);
	}
	assert_int_equal(rig_do(model->rig, model->channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(model->channel->in_flight, 0);
}

static void model_check_disk(struct model *model)
{
	static _Alignas(4096) unsigned char whole[DISK_SIZE];
	struct rig *rig = model->rig;
	int fd;

	assert_int_equal(rig_do(rig, model->channel, BLOCK_READ, 0, whole, DISK_SIZE), 0);
	assert_memory_equal(whole, model->disk, DISK_SIZE);
	if (!rig->path[0])
		return;
	memset(whole, 0xff, DISK_SIZE);
	fd = open(rig->path, O_RDONLY | O_CLOEXEC); /* somebody else sees the same */
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, whole, DISK_SIZE, 0), DISK_SIZE);
	assert_memory_equal(whole, model->disk, DISK_SIZE);
	close(fd);
}

static void model_run(struct rig *rig, struct block_node *node)
{
	struct model *model = calloc(1, sizeof(*model));
	struct model_io *ios = calloc(PARTS, sizeof(*ios));

	assert_non_null(model);
	assert_non_null(ios);
	assert_int_equal(block_node_size(node), DISK_SIZE);
	model->rig = rig;
	model->random = 42;
	model->alignment = node->limits.request_alignment;
	model->channel = rig_channel(rig, node);
	model_rounds(model, ios);
	model_check_disk(model);
	block_channel_close(model->channel);
	free(ios);
	free(model);
}

static struct block_node *ram_open(struct rig *rig, uint64_t size)
{
	struct block_ram_config config = { .name = "memory", .size = size };
	struct block_node *node = NULL;

	assert_int_equal(block_ram_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

static void test_ram_when_used_at_random_then_like_model(void **state)
{
	model_run(*state, ram_open(*state, DISK_SIZE));
}

static void test_raw_when_window_over_ram_then_like_model(void **state)
{
	struct rig *rig = *state;
	struct block_raw_config config = { .name = "window",
					   .child = ram_open(rig, DISK_SIZE + 3 * 512),
					   .offset = 512,
					   .size = DISK_SIZE,
					   .has_size = true };
	struct block_channel *channel = rig_channel(rig, config.child);
	unsigned char guard[512], found[512];
	struct block_node *node = NULL;

	memset(guard, 0xa5, sizeof(guard));
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, guard, 512), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, DISK_SIZE + 512, guard, 512), 0);
	assert_int_equal(block_raw_open(rig->graph, &config, &node, NULL), 0);
	model_run(rig, node);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, found, 512), 0);
	assert_memory_equal(found, guard, 512);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, DISK_SIZE + 512, found, 512), 0);
	assert_memory_equal(found, guard, 512);
	block_channel_close(channel);
}

static void test_delay_when_over_ram_then_like_model(void **state)
{
	struct rig *rig = *state;
	struct block_delay_config config = { .name = "slow",
					     .child = ram_open(rig, DISK_SIZE),
					     .latency_ns = 20000,
					     .busy_ns = 1000 };
	struct block_node *node = NULL;

	assert_int_equal(block_delay_open(rig->graph, &config, &node, NULL), 0);
	model_run(rig, node);
}

static void file_run(struct rig *rig, struct block_file_config config)
{
	struct block_node *node = NULL;
	struct error error = { 0 };

	config.name = "disk";
	config.filename = rig_file_make(rig, "image", DISK_SIZE);
	if (block_file_open(rig->graph, &config, &node, &error) < 0) {
		print_message("skipped: %s\n", error.text);
		assert_true(config.direct); /* only direct I/O may be missing here */
		skip();
	}
	model_run(rig, node);
}

static void test_file_when_buffered_then_like_model(void **state)
{
	file_run(*state, (struct block_file_config){ .discard_unmap = true });
}

static void test_file_when_direct_then_like_model(void **state)
{
	file_run(*state, (struct block_file_config){ .direct = true, .discard_unmap = true });
}

static void test_file_when_not_flushed_then_like_model(void **state)
{
	file_run(*state, (struct block_file_config){ .discard_unmap = true, .no_flush = true });
}

static void device_run(struct rig *rig, bool direct, uint32_t block_size)
{
	struct block_file_config config = {
		.name = "disk", .host_device = true, .direct = direct, .discard_unmap = true
	};
	struct block_node *node = NULL;

	config.filename = rig_device_make(rig, DISK_SIZE, block_size);
	assert_int_equal(block_file_open(rig->graph, &config, &node, NULL), 0);
	assert_true(node->limits.discard_max > 0);
	model_run(rig, node);
}

static void test_device_when_buffered_then_like_model(void **state)
{
	device_run(*state, false, 512);
}

static void test_device_when_direct_then_like_model(void **state)
{
	device_run(*state, true, 4096);
}

/* In memory there are no NOWAIT calls and other ways are taken. */
static void test_file_when_on_tmpfs_then_like_model(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .name = "disk", .discard_unmap = true };
	struct block_node *node = NULL;
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", fd);
	config.filename = rig->path;
	assert_int_equal(block_file_open(rig->graph, &config, &node, NULL), 0);
	model_run(rig, node);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_ram_when_used_at_random_then_like_model),
		rig_test(test_raw_when_window_over_ram_then_like_model),
		rig_test(test_delay_when_over_ram_then_like_model),
		rig_test(test_file_when_buffered_then_like_model),
		rig_test(test_file_when_direct_then_like_model),
		rig_test(test_file_when_not_flushed_then_like_model),
		rig_test(test_device_when_buffered_then_like_model),
		rig_test(test_device_when_direct_then_like_model),
		rig_test(test_file_when_on_tmpfs_then_like_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
