/* SPDX-License-Identifier: MIT */
/* Files and block devices: what open refuses and finds out, sizes, and what cannot be seen in the model. */
#include "block/file.h"
#include "block/test_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

static struct block_node *file_open(struct rig *rig, struct block_file_config config)
{
	struct block_node *node = NULL;
	struct error error = { 0 };
	int ret;

	config.name = "disk";
	ret = block_file_open(rig->graph, &config, &node, &error);
	if (ret < 0)
		print_message("%s\n", error.text);
	assert_int_equal(ret, 0);
	return node;
}

/* The usual one. */
static struct block_node *image_open(struct rig *rig, uint64_t size)
{
	return file_open(rig, (struct block_file_config){
				      .filename = rig_file_make(rig, "image", size),
				      .discard_unmap = true,
			      });
}

static void expect_refused(struct rig *rig, struct block_file_config config, int result,
			   const char *sentence)
{
	struct block_node *node = NULL;
	struct error error = { 0 };

	config.name = "disk";
	assert_int_equal(block_file_open(rig->graph, &config, &node, &error), result);
	assert_null(node);
	assert_null(block_graph_find(rig->graph, "disk"));
	if (!strstr(error.text, sentence))
		fail_msg("'%s' does not say '%s'", error.text, sentence);
	if (config.filename && *config.filename && !strstr(error.text, config.filename))
		fail_msg("'%s' does not name '%s'", error.text, config.filename);
}

/* ---- refusals ---- */

static void test_open_when_missing_then_sentence(void **state)
{
	expect_refused(*state, (struct block_file_config){ .filename = "no/such/file" }, -ENOENT,
		       "Could not open 'no/such/file': No such file or directory");
	expect_refused(*state, (struct block_file_config){ .filename = NULL }, -EINVAL,
		       "'file' needs a filename");
	expect_refused(*state, (struct block_file_config){ .filename = "", .host_device = true },
		       -EINVAL, "'host_device' needs a filename");
}

static void test_open_when_kind_is_wrong_then_sentence(void **state)
{
	struct rig *rig = *state;
	char fifo[128];

	expect_refused(rig, (struct block_file_config){ .filename = "/dev/null" }, -EINVAL,
		       "'file' driver requires '/dev/null' to be a regular file");
	expect_refused(rig, (struct block_file_config){ .filename = rig->dir, .read_only = true },
		       -EINVAL, "to be a regular file");
	expect_refused(rig, (struct block_file_config){ .filename = rig->dir }, -EISDIR,
		       "Is a directory");
	expect_refused(rig,
		       (struct block_file_config){ .filename = rig_file_make(rig, "image", MIB),
						   .host_device = true },
		       -EINVAL, "'host_device' driver requires");
	snprintf(fifo, sizeof(fifo), "%s/fifo", rig->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	expect_refused(rig, (struct block_file_config){ .filename = fifo, .read_only = true },
		       -EINVAL, "to be a regular file");
}

static void test_open_when_size_is_odd_then_sentence(void **state)
{
	struct rig *rig = *state;

	expect_refused(rig,
		       (struct block_file_config){ .filename = rig_file_make(rig, "empty", 0) },
		       -EINVAL, "is empty");
	expect_refused(rig,
		       (struct block_file_config){ .filename = rig_file_make(rig, "odd", 1025) },
		       -EINVAL, "is 1025 bytes, which is not a multiple of 512");
}

static void test_open_when_refused_then_file_is_as_before(void **state)
{
	struct rig *rig = *state;
	struct stat before, after;

	rig_file_make(rig, "odd", 1025);
	assert_int_equal(stat(rig->path, &before), 0);
	expect_refused(rig, (struct block_file_config){ .filename = rig->path }, -EINVAL, "1025");
	assert_int_equal(stat(rig->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_int_equal(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
}

static void test_open_when_device_is_given_to_file_then_sentence(void **state)
{
	struct rig *rig = *state;
	const char *device = rig_device_make(rig, MIB, 512);

	expect_refused(rig, (struct block_file_config){ .filename = device }, -EINVAL,
		       "needs driver 'host_device'");
}

/* ---- what open finds out ---- */

static void test_open_when_file_is_fine_then_geometry(void **state)
{
	struct block_node *node = image_open(*state, 3 * MIB + 512);

	assert_string_equal(node->driver->name, "file");
	assert_int_equal(block_node_size(node), 3 * MIB + 512);
	assert_int_equal(node->limits.request_alignment, 512);
	assert_int_equal(node->limits.memory_alignment, 1);
	assert_int_equal(node->limits.discard_max, BLOCK_SPACE_MAX);
	assert_int_equal(node->limits.write_zeroes_max, BLOCK_SPACE_MAX);
	assert_true(node->limits.physical_block_size >= 512);
}

static void test_open_when_device_is_fine_then_geometry(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_device_make(rig, 2 * MIB, 4096),
					    .host_device = true,
					    .direct = true };
	struct block_node *node = file_open(rig, config);

	assert_string_equal(node->driver->name, "host_device");
	assert_int_equal(block_node_size(node), 2 * MIB);
	assert_int_equal(node->limits.request_alignment, 4096);
	assert_true(node->limits.physical_block_size >= 4096);
	assert_int_equal(node->limits.discard_max, 0); /* discard=unmap was not given */
}

static void test_discard_when_not_unmap_then_not_supported(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_file_make(rig, "image", MIB) };
	struct block_channel *channel = rig_channel(rig, file_open(rig, config));

	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 0, NULL, 4096), -ENOTSUP);
	block_channel_close(channel);
}

static void test_read_only_when_writing_then_refused_and_opened_for_reading(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_file_make(rig, "image", MIB),
					    .read_only = true };
	struct block_node *node = file_open(rig, config);
	struct block_channel *channel = rig_channel(rig, node);
	char buffer[512];

	assert_int_equal(fcntl(file_node_of(node)->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, 512), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, 512), -EROFS);
	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(block_node_resize(node, 2 * MIB, NULL), -EROFS);
	block_channel_close(channel);
}

/* ---- data ---- */

static void test_read_when_cached_then_done_inside_submit(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = rig_channel(rig, image_open(rig, MIB));
	char written[4096], found[4096];
	struct rig_io io;

	memset(written, 0x77, sizeof(written));
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 8192, written, 4096), 0);
	rig_io_init(&io, BLOCK_READ, 8192, found, 4096);
	rig_io_submit(channel, &io);
	if (io.done_count == 0)
		print_message("this file system has no cached reads without waiting\n");
	assert_int_equal(rig_io_wait(rig, &io), 0);
	assert_memory_equal(found, written, 4096);
	block_channel_close(channel);
}

static void test_read_when_not_cached_then_data_from_disk(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = image_open(rig, MIB);
	struct block_channel *channel = rig_channel(rig, node);
	char *written = malloc(MIB), *found = malloc(MIB);

	for (size_t i = 0; i < MIB; i++)
		written[i] = (char)(i / 512 + i);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, written, MIB), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(posix_fadvise(file_node_of(node)->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 4096, found, 4096), 0); /* cached again */
	assert_memory_equal(found, written + 4096, 4096);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, found, MIB), 0); /* partly */
	assert_memory_equal(found, written, MIB);
	free(written);
	free(found);
	block_channel_close(channel);
}

static void test_write_when_last_ones_were_slow_then_goes_through_ring(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = image_open(rig, MIB);
	struct block_channel *channel = rig_channel(rig, node);
	struct file_channel *file_channel = container_of(channel, struct file_channel, channel);
	char written[4096], found[4096];
	struct rig_io io;

	file_node_of(node)->no_nowait_write = true;
	file_channel->write_inline_from_ns = UINT64_MAX;
	memset(written, 0x31, sizeof(written));
	rig_io_init(&io, BLOCK_WRITE, 4096, written, 4096);
	rig_io_submit(channel, &io);
	assert_int_equal(io.done_count, 0);
	assert_int_equal(rig_io_wait(rig, &io), 0);
	assert_int_equal(pread(file_node_of(node)->fd, found, 4096, 4096), 4096);
	assert_memory_equal(found, written, 4096);
	file_channel->write_inline_from_ns = 0;
	rig_io_init(&io, BLOCK_WRITE, 4096, written, 4096);
	rig_io_submit(channel, &io);
	assert_int_equal(io.done_count, 1);
	block_channel_close(channel);
}

#define PIECES 2048

static void through_ring(struct block_channel *channel)
{
	struct file_node *file = file_node_of(channel->node);

	file->no_nowait_read = file->no_nowait_write = true;
	file->in_memory = false;
	container_of(channel, struct file_channel, channel)->write_inline_from_ns = UINT64_MAX;
}

/* More pieces than the kernel takes at once. */
static void many_pieces_run(struct rig *rig, bool direct)
{
	struct block_file_config config = { .filename = rig_file_make(rig, "image", MIB),
					    .direct = direct };
	struct block_channel *channel = rig_channel(rig, file_open(rig, config));
	char *written = aligned_alloc(4096, PIECES * 512), *found = calloc(PIECES, 512);
	struct iovec *iov = calloc(PIECES, sizeof(*iov));
	struct rig_io io;

	for (size_t i = 0; i < PIECES * 512; i++)
		written[i] = (char)(i / 512 * 7 + i);
	for (unsigned turn = 0; turn < 4; turn++) {
		bool write = turn % 2 == 0; /* first written, then read back */

		if (turn == 2) /* and all of it through the ring */
			through_ring(channel);
		for (size_t i = 0; i < PIECES; i++)
			iov[i] = (struct iovec){ (write ? written : found) + i * 512, 512 };
		rig_io_init(&io, write ? BLOCK_WRITE : BLOCK_READ, 0, NULL, PIECES * 512);
		io.request.iov = iov;
		io.request.iov_count = PIECES;
		rig_io_submit(channel, &io);
		assert_int_equal(rig_io_wait(rig, &io), 0);
	}
	assert_memory_equal(found, written, PIECES * 512);
	free(iov);
	free(found);
	free(written);
	block_channel_close(channel);
}

static void test_io_when_pieces_are_many_then_all_moved(void **state)
{
	many_pieces_run(*state, false);
}

static bool direct_is_there(struct rig *rig)
{
	int fd = open(rig_file_make(rig, "probe", 4096), O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void skip_without_direct(struct rig *rig)
{
	if (direct_is_there(rig))
		return;
	print_message("skipped: no O_DIRECT on this file system\n");
	skip();
}

static void test_direct_when_pieces_are_many_then_copied(void **state)
{
	skip_without_direct(*state);
	many_pieces_run(*state, true);
}

static void test_direct_when_memory_is_odd_and_long_then_copied_in_parts(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .direct = true };
	size_t size = 2 * MIB + 4096 * 3;
	struct block_channel *channel;
	char *memory, *found;

	skip_without_direct(rig);
	memory = malloc(size + 1);
	found = malloc(size + 3);
	config.filename = rig_file_make(rig, "image", 4 * MIB);
	channel = rig_channel(rig, file_open(rig, config));
	for (size_t i = 0; i < size; i++)
		memory[1 + i] = (char)(i / 4096 * 3 + i);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 4096, memory + 1, size), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 4096, found + 3, size), 0);
	assert_memory_equal(found + 3, memory + 1, size);
	free(memory);
	free(found);
	block_channel_close(channel);
}

/* Each piece begins where it may and ends where it may not. */
static void test_direct_when_pieces_have_odd_lengths_then_moved(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .direct = true };
	struct block_channel *channel;
	char *memory, found[4096];
	struct rig_io io;

	skip_without_direct(rig);
	config.filename = rig_file_make(rig, "image", MIB);
	channel = rig_channel(rig, file_open(rig, config));
	memory = aligned_alloc(4096, 8192);
	memset(memory, 1, 4096);
	memset(memory + 4096, 2, 4096);
	rig_io_init(&io, BLOCK_WRITE, 0, memory, 4096);
	io.iov[0].iov_len = 100;
	io.iov[1] = (struct iovec){ .iov_base = memory + 4096, .iov_len = 3996 };
	io.request.iov_count = 2;
	rig_io_submit(channel, &io);
	assert_int_equal(rig_io_wait(rig, &io), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, found, 4096), 0);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(found[i], i < 100 ? 1 : 2);
	free(memory);
	block_channel_close(channel);
}

/* ---- sizes ---- */

static void shrunk_run(struct rig *rig, bool direct)
{
	struct block_file_config config = { .filename = rig_file_make(rig, "image", MIB),
					    .direct = direct };
	struct block_node *node = file_open(rig, config);
	struct block_channel *channel = rig_channel(rig, node);
	char *buffer = aligned_alloc(4096, 65536);

	assert_int_equal(truncate(rig->path, 65536 + 512), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, 65536), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 65536, buffer, 4096), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 32768, buffer, 65536), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, MIB - 4096, buffer, 4096), -EIO);
	assert_int_equal(truncate(rig->path, 65536 + 100), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 32768, buffer, 65536), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 65536, buffer, 512), -EIO);
	free(buffer);
	block_channel_close(channel);
}

static void test_read_when_file_shrank_then_error(void **state)
{
	shrunk_run(*state, false);
}

static void test_direct_when_file_shrank_then_error(void **state)
{
	skip_without_direct(*state);
	shrunk_run(*state, true);
}

static void test_resize_when_file_then_disk_and_file_change(void **state)
{
	struct rig *rig = *state;
	struct block_node *node = image_open(rig, MIB);
	struct block_channel *channel = rig_channel(rig, node);
	char buffer[512] = "edge";
	struct stat stat;

	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 2 * MIB - 512, buffer, 512), -EIO);
	assert_int_equal(block_node_resize(node, 2 * MIB, NULL), 0);
	assert_int_equal(block_node_size(node), 2 * MIB);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 2 * MIB - 512, buffer, 512), 0);
	assert_int_equal(block_node_resize(node, MIB / 2, NULL), 0);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, MIB / 2, buffer, 512), -EIO);
	assert_int_equal(fstat(file_node_of(node)->fd, &stat), 0);
	assert_int_equal(stat.st_size, MIB / 2);
	block_channel_close(channel);
}

static void test_refresh_when_somebody_changed_file_then_all_nodes_follow(void **state)
{
	struct rig *rig = *state;
	struct block_raw_config config = { .name = "top", .child = image_open(rig, MIB) };
	struct block_node *top = NULL;
	struct error error = { 0 };

	assert_int_equal(block_raw_open(rig->graph, &config, &top, NULL), 0);
	assert_int_equal(truncate(rig->path, 3 * MIB), 0);
	assert_int_equal(block_node_refresh(top, &error), 0); /* has none of its own */
	assert_int_equal(block_node_size(top), MIB);
	assert_int_equal(block_node_refresh(config.child, &error), 0);
	assert_int_equal(block_node_size(config.child), 3 * MIB);
	assert_int_equal(block_node_size(top), 3 * MIB);
	assert_int_equal(truncate(rig->path, 3 * MIB + 1), 0);
	assert_int_equal(block_node_refresh(config.child, &error), -EINVAL);
	assert_non_null(strstr(error.text, rig->path));
	assert_int_equal(block_node_size(top), 3 * MIB);
}

static void test_resize_when_device_then_looks_again(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .filename = rig_device_make(rig, MIB, 512),
					    .host_device = true };
	struct block_node *node = file_open(rig, config);
	struct error error = { 0 };

	assert_int_equal(block_node_resize(node, 2 * MIB, &error), -EINVAL);
	assert_non_null(strstr(error.text, "Cannot grow device"));
	rig_device_resize(rig, 2 * MIB);
	assert_int_equal(block_node_size(node), MIB);
	assert_int_equal(block_node_resize(node, 2 * MIB, &error), 0);
	assert_int_equal(block_node_size(node), 2 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_open_when_missing_then_sentence),
		rig_test(test_open_when_kind_is_wrong_then_sentence),
		rig_test(test_open_when_size_is_odd_then_sentence),
		rig_test(test_open_when_refused_then_file_is_as_before),
		rig_test(test_open_when_device_is_given_to_file_then_sentence),
		rig_test(test_open_when_file_is_fine_then_geometry),
		rig_test(test_open_when_device_is_fine_then_geometry),
		rig_test(test_discard_when_not_unmap_then_not_supported),
		rig_test(test_read_only_when_writing_then_refused_and_opened_for_reading),
		rig_test(test_read_when_cached_then_done_inside_submit),
		rig_test(test_read_when_not_cached_then_data_from_disk),
		rig_test(test_write_when_last_ones_were_slow_then_goes_through_ring),
		rig_test(test_io_when_pieces_are_many_then_all_moved),
		rig_test(test_direct_when_pieces_are_many_then_copied),
		rig_test(test_direct_when_memory_is_odd_and_long_then_copied_in_parts),
		rig_test(test_direct_when_pieces_have_odd_lengths_then_moved),
		rig_test(test_read_when_file_shrank_then_error),
		rig_test(test_direct_when_file_shrank_then_error),
		rig_test(test_resize_when_file_then_disk_and_file_change),
		rig_test(test_refresh_when_somebody_changed_file_then_all_nodes_follow),
		rig_test(test_resize_when_device_then_looks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
