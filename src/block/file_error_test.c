/* SPDX-License-Identifier: MIT */
/* What the world does to a file: no room, too big, a failed flush; and the ways to zero and to free. */
#include "block/file.h"
#include "block/test_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define FILE_LIMIT (512u << 10)
#define CACHESTAT 451 /* the same on all architectures but alpha */

static struct block_node *file_open(struct rig *rig, struct block_file_config config)
{
	struct block_node *node = NULL;
	struct error error = { 0 };
	int ret;

	config.name = "disk";
	ret = block_file_open(rig->graph, &config, &node, &error);
	if (ret < 0 && config.direct) {
		print_message("skipped: %s\n", error.text);
		skip();
	}
	assert_int_equal(ret, 0);
	return node;
}

static struct block_node *image_open(struct rig *rig, uint64_t size)
{
	return file_open(rig, (struct block_file_config){
				      .filename = rig_file_make(rig, "image", size),
				      .discard_unmap = true,
			      });
}

/* ---- EFBIG ---- */

static struct rlimit limit_before;

static void limit_set(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct rlimit limit;

	assert_int_equal(sigaction(SIGXFSZ, &ignore, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit_before), 0);
	limit = limit_before;
	limit.rlim_cur = FILE_LIMIT;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void too_big_run(struct rig *rig, struct block_file_config config, bool through_ring)
{
	struct block_channel *channel;
	char *buffer = aligned_alloc(4096, 65536);
	int results[3];

	config.filename = rig_file_make(rig, "image", MIB);
	channel = rig_channel(rig, file_open(rig, config));
	if (through_ring)
		container_of(channel, struct file_channel, channel)->write_inline_from_ns =
			UINT64_MAX;
	memset(buffer, 1, 65536);
	limit_set();
	results[0] = rig_do(rig, channel, BLOCK_WRITE, FILE_LIMIT - 65536, buffer, 65536);
	results[1] = rig_do(rig, channel, BLOCK_WRITE, FILE_LIMIT, buffer, 4096);
	/* Half of it fits: the write is short, goes on, and fails. */
	results[2] = rig_do(rig, channel, BLOCK_WRITE, FILE_LIMIT - 32768, buffer, 65536);
	setrlimit(RLIMIT_FSIZE, &limit_before);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], -EFBIG);
	assert_int_equal(results[2], -EFBIG);
	free(buffer);
	block_channel_close(channel);
}

static void test_write_when_file_may_not_be_so_big_then_carried(void **state)
{
	too_big_run(*state, (struct block_file_config){ 0 }, false);
}

static void test_write_when_too_big_through_ring_then_carried(void **state)
{
	too_big_run(*state, (struct block_file_config){ 0 }, true);
}

static void test_direct_when_file_may_not_be_so_big_then_carried(void **state)
{
	too_big_run(*state, (struct block_file_config){ .direct = true }, false);
}

/* ---- ENOSPC ---- */

static void test_write_when_no_room_then_carried_and_rest_is_readable(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel;
	char *written, *found;
	struct block_node *node;

	rig_tmpfs_mount(rig);
	written = malloc(32768);
	found = malloc(32768);
	node = file_open(rig, (struct block_file_config){
				      .filename = rig_file_make(rig, "small/image", MIB),
				      .discard_unmap = true,
			      });
	channel = rig_channel(rig, node);
	memset(written, 5, 32768);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, written, 32768), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 32768, written, 32768), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 65536, written, 32768), -ENOSPC);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE_ZEROES, 131072, NULL, 32768), -ENOSPC);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 32768, found, 32768), 0);
	assert_memory_equal(found, written, 32768);
	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 0, NULL, 32768), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 65536, written, 32768), 0);
	free(written);
	free(found);
	block_channel_close(channel);
}

/* ---- flush ---- */

static void test_flush_when_one_failed_then_all_later_fail(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = image_open(rig, MIB);
	struct block_channel *channel = rig_channel(rig, node);
	struct file_node *file = file_node_of(node);
	int kept = dup(file->fd), pipe_fds[2], first;

	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(dup2(pipe_fds[1], file->fd), file->fd); /* cannot be flushed */
	first = rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0);
	assert_int_equal(dup2(kept, file->fd), file->fd);
	assert_true(first < 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), first);
	close(kept);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	block_channel_close(channel);
}

static void test_flush_when_no_flush_then_done_inside_submit(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_file_make(rig, "image", MIB),
					    .no_flush = true };
	struct block_channel *channel = rig_channel(rig, file_open(rig, config));
	struct rig_io io;

	rig_io_init(&io, BLOCK_FLUSH, 0, NULL, 0);
	rig_io_submit(channel, &io);
	assert_int_equal(io.done_count, 1);
	assert_int_equal(io.result, 0);
	block_channel_close(channel);
}

/* Dirty pages of the file; -1 when the kernel cannot tell (before 6.5). */
static int64_t dirty_pages(const struct block_node *node)
{
	struct {
		uint64_t offset, bytes;
	} range = { 0, block_node_size(node) };
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} pages;
	const struct file_node *file = container_of(node, struct file_node, node);

	if (syscall(CACHESTAT, file->fd, &range, &pages, 0) < 0)
		return -1;
	return (int64_t)(pages.dirty + pages.writeback);
}

static void test_fua_when_done_then_nothing_is_dirty(void **state)
{
	static const struct {
		enum block_op op;
		unsigned flags;
	} cases[] = { { BLOCK_WRITE, BLOCK_FUA }, { BLOCK_WRITE_ZEROES, BLOCK_FUA } };
	struct rig *rig = *state;
	struct block_node *node = image_open(rig, MIB);
	struct block_channel *channel = rig_channel(rig, node);
	char *buffer = calloc(1, 65536);

	file_node_of(node)->no_zero_range = true; /* so that zeroes are written */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(rig_do_flags(rig, channel, cases[i].op, cases[i].flags, 65536 * i,
					      buffer, 65536),
				 0);
		if (dirty_pages(node) < 0)
			print_message("the kernel does not tell about dirty pages\n");
		else
			assert_int_equal(dirty_pages(node), 0);
	}
	free(buffer);
	block_channel_close(channel);
}

/* ---- room ---- */

static uint64_t room_of(const struct block_node *node)
{
	const struct file_node *file = container_of(node, struct file_node, node);
	struct stat stat;

	assert_int_equal(fsync(file->fd), 0);
	assert_int_equal(fstat(file->fd, &stat), 0);
	assert_int_equal(stat.st_size, block_node_size(node));
	return (uint64_t)stat.st_blocks * 512;
}

static struct block_channel *full_image_open(struct rig *rig, uint64_t size)
{
	struct block_channel *channel = rig_channel(rig, image_open(rig, size));
	char *buffer = malloc(size);

	memset(buffer, 0xee, size);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, size), 0);
	free(buffer);
	return channel;
}

static void expect_bytes(struct rig *rig, struct block_channel *channel, uint64_t offset,
			 uint64_t size, int byte)
{
	char *found = malloc(size);

	memset(found, 0x11, size);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, offset, found, size), 0);
	for (uint64_t i = 0; i < size; i++)
		if ((unsigned char)found[i] != byte)
			fail_msg("byte %llu is 0x%02x", (unsigned long long)(offset + i),
				 (unsigned char)found[i]);
	free(found);
}

static void test_discard_when_file_then_room_is_given_back(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = full_image_open(rig, MIB);
	uint64_t before = room_of(channel->node);
	int ret;

	ret = rig_do(rig, channel, BLOCK_DISCARD, 65536, NULL, MIB / 2);
	if (ret == -ENOTSUP) {
		block_channel_close(channel);
		print_message("skipped: no holes on this file system\n");
		skip();
	}
	assert_int_equal(ret, 0);
	assert_true(room_of(channel->node) + MIB / 2 <= before);
	expect_bytes(rig, channel, 0, 65536, 0xee);
	expect_bytes(rig, channel, 65536, MIB / 2, 0);
	expect_bytes(rig, channel, 65536 + MIB / 2, MIB / 2 - 65536, 0xee);
	block_channel_close(channel);
}

static void test_zeroes_when_unmap_is_allowed_then_only_then_room_is_given_back(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = full_image_open(rig, MIB);
	struct file_node *file = file_node_of(channel->node);
	uint64_t before = room_of(channel->node);

	assert_int_equal(rig_do_flags(rig, channel, BLOCK_WRITE_ZEROES, BLOCK_FUA, 0, NULL, 65536),
			 0);
	assert_true(room_of(channel->node) >= before);
	assert_int_equal(rig_do_flags(rig, channel, BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP, 65536,
				      NULL, 65536),
			 0);
	if (!file->no_punch)
		assert_true(room_of(channel->node) + 65536 <= before);
	expect_bytes(rig, channel, 0, 131072, 0);
	expect_bytes(rig, channel, 131072, 65536, 0xee);
	block_channel_close(channel);
}

static void test_zeroes_when_discard_is_not_unmap_then_room_is_kept(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = full_image_open(rig, MIB);
	uint64_t before = room_of(channel->node);

	file_node_of(channel->node)->discard_unmap = false;
	assert_int_equal(
		rig_do_flags(rig, channel, BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP, 0, NULL, 65536), 0);
	assert_true(room_of(channel->node) >= before);
	expect_bytes(rig, channel, 0, 65536, 0);
	block_channel_close(channel);
}

/* Longer than the block of zeroes that is written at once. */
static void test_zeroes_when_kernel_has_no_way_then_written(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = full_image_open(rig, 4 * MIB);
	struct file_node *file = file_node_of(channel->node);

	file->no_punch = file->no_zero_range = true;
	assert_int_equal(rig_do_flags(rig, channel, BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP, 512, NULL,
				      3 * MIB - 1024),
			 0);
	expect_bytes(rig, channel, 0, 512, 0xee);
	expect_bytes(rig, channel, 512, 3 * MIB - 1024, 0);
	expect_bytes(rig, channel, 3 * MIB - 512, MIB + 512, 0xee);
	block_channel_close(channel);
}

/* A buffered device takes sectors, its kernel calls take blocks. */
static void test_zeroes_when_range_is_no_whole_blocks_then_written(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_device_make(rig, MIB, 4096),
					    .host_device = true,
					    .discard_unmap = true };
	struct block_channel *channel = rig_channel(rig, file_open(rig, config));
	char *buffer = malloc(65536);

	memset(buffer, 0xee, 65536);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, 65536), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE_ZEROES, 512, NULL, 8192), 0);
	expect_bytes(rig, channel, 0, 512, 0xee);
	expect_bytes(rig, channel, 512, 8192, 0);
	expect_bytes(rig, channel, 8704, 4096, 0xee);
	assert_false(file_node_of(channel->node)->no_zero_range); /* nothing was learned from it */
	/* A discard takes the whole blocks inside; none is fine too. */
	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 16384 - 512, NULL, 4096 + 1024), 0);
	expect_bytes(rig, channel, 16384 - 512, 512, 0xee);
	expect_bytes(rig, channel, 16384, 4096, 0);
	expect_bytes(rig, channel, 16384 + 4096, 512, 0xee);
	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 32768 + 512, NULL, 1024), 0);
	expect_bytes(rig, channel, 32768, 4096, 0xee);
	free(buffer);
	block_channel_close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_write_when_file_may_not_be_so_big_then_carried),
		rig_test(test_write_when_too_big_through_ring_then_carried),
		rig_test(test_direct_when_file_may_not_be_so_big_then_carried),
		rig_test(test_write_when_no_room_then_carried_and_rest_is_readable),
		rig_test(test_flush_when_one_failed_then_all_later_fail),
		rig_test(test_flush_when_no_flush_then_done_inside_submit),
		rig_test(test_fua_when_done_then_nothing_is_dirty),
		rig_test(test_discard_when_file_then_room_is_given_back),
		rig_test(test_zeroes_when_unmap_is_allowed_then_only_then_room_is_given_back),
		rig_test(test_zeroes_when_discard_is_not_unmap_then_room_is_kept),
		rig_test(test_zeroes_when_kernel_has_no_way_then_written),
		rig_test(test_zeroes_when_range_is_no_whole_blocks_then_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
