/* SPDX-License-Identifier: MIT */
/* STATUS: what each disk says about where it stores something. */
#include "block/test_rig.h"

#include <errno.h>
#include <string.h>

#define PAGE 4096u
#define SIZE (64 * PAGE)

struct extent {
	uint64_t bytes;
	bool hole;
};

static int status_of(struct rig *rig, struct block_channel *channel, uint64_t offset,
		     uint64_t bytes, struct extent *ret_extent)
{
	struct rig_io io;
	int ret;

	rig_io_init(&io, BLOCK_STATUS, offset, NULL, bytes);
	rig_io_submit(channel, &io);
	ret = rig_io_wait(rig, &io);
	*ret_extent = (struct extent){ io.request.extent.bytes, io.request.extent.hole };
	return ret;
}

static void check_status(struct rig *rig, struct block_channel *channel, uint64_t offset,
			 uint64_t bytes, struct extent expected)
{
	struct extent extent;

	assert_int_equal(status_of(rig, channel, offset, bytes, &extent), 0);
	assert_int_equal(extent.bytes, expected.bytes);
	assert_int_equal(extent.hole, expected.hole);
}

static struct block_node *open_ram(struct rig *rig, uint64_t size)
{
	const struct block_ram_config config = { .name = "ram", .size = size };
	struct block_node *node = NULL;

	assert_int_equal(block_ram_open(rig->graph, &config, &node, NULL), 0);
	if (!node->limits.has_status) {
		print_message("no pagemap\n");
		skip();
	}
	return node;
}

/* Pages 8 and 9 hold data. */
static void write_data(struct rig *rig, struct block_channel *channel)
{
	static char data[2 * PAGE];

	memset(data, 'x', sizeof(data));
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 8 * PAGE, data, sizeof(data)), 0);
}

/* For disks that keep track of pages: data in the middle of a hole, then gone again. */
static void check_hole_and_data(struct rig *rig, struct block_channel *channel)
{
	check_status(rig, channel, 0, SIZE, (struct extent){ SIZE, true });
	write_data(rig, channel);
	check_status(rig, channel, 0, SIZE, (struct extent){ 8 * PAGE, true });
	check_status(rig, channel, 512, PAGE, (struct extent){ PAGE, true });
	check_status(rig, channel, 8 * PAGE, SIZE - 8 * PAGE, (struct extent){ 2 * PAGE, false });
	check_status(rig, channel, 9 * PAGE + 512, 512, (struct extent){ 512, false });
	check_status(rig, channel, 9 * PAGE + 512, PAGE, (struct extent){ PAGE - 512, false });
	check_status(rig, channel, 10 * PAGE, SIZE - 10 * PAGE,
		     (struct extent){ SIZE - 10 * PAGE, true });
	assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, 8 * PAGE, NULL, PAGE), 0);
	check_status(rig, channel, 0, SIZE, (struct extent){ 9 * PAGE, true });
	check_status(rig, channel, 9 * PAGE, PAGE, (struct extent){ PAGE, false });
}

static void test_status_of_ram_when_written_and_discarded_then_pages(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = rig_channel(rig, open_ram(rig, SIZE));

	check_hole_and_data(rig, channel);
	block_channel_close(channel);
}

static void test_status_of_ram_when_a_hole_was_read_then_still_a_hole(void **state)
{
	static char buffer[SIZE];
	struct rig *rig = *state;
	struct block_channel *channel = rig_channel(rig, open_ram(rig, SIZE));

	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, SIZE), 0);
	check_status(rig, channel, 0, SIZE, (struct extent){ SIZE, true });
	block_channel_close(channel);
}

static void test_status_of_ram_when_very_long_then_a_part_of_it(void **state)
{
	const uint64_t size = 1ull << 30;
	struct rig *rig = *state;
	struct block_channel *channel = rig_channel(rig, open_ram(rig, size));
	struct extent extent;

	assert_int_equal(status_of(rig, channel, 0, size, &extent), 0);
	assert_true(extent.hole);
	assert_in_range(extent.bytes, PAGE, size / 2);
	block_channel_close(channel);
}

static void check_file(struct rig *rig, const char *path)
{
	const struct block_file_config config = { .name = "file",
						  .filename = path,
						  .discard_unmap = true };
	struct block_node *node = NULL;
	struct block_channel *channel;

	assert_int_equal(block_file_open(rig->graph, &config, &node, NULL), 0);
	channel = rig_channel(rig, node);
	check_hole_and_data(rig, channel);
	block_channel_close(channel);
}

static void test_status_of_file_when_written_and_discarded_then_blocks(void **state)
{
	check_file(*state, rig_file_make(*state, "disk", SIZE));
}

static void test_status_of_file_on_tmpfs_then_the_same(void **state)
{
	rig_tmpfs_mount(*state);
	check_file(*state, rig_file_make(*state, "small/disk", SIZE));
}

static void test_status_of_null_when_it_reads_zeroes_then_all_is_a_hole(void **state)
{
	const struct block_null_config config = { .name = "zeroes",
						  .size = SIZE,
						  .read_zeroes = true };
	struct rig *rig = *state;
	struct block_node *node = NULL;
	struct block_channel *channel;

	assert_int_equal(block_null_open(rig->graph, &config, &node, NULL), 0);
	channel = rig_channel(rig, node);
	write_data(rig, channel);
	check_status(rig, channel, 512, SIZE - 512, (struct extent){ SIZE - 512, true });
	block_channel_close(channel);
}

static void test_status_of_null_when_nothing_is_known_then_refused(void **state)
{
	const struct block_null_config config = { .name = "null", .size = SIZE };
	struct rig *rig = *state;
	struct block_node *node = NULL;
	struct block_channel *channel;
	struct extent extent;

	assert_int_equal(block_null_open(rig->graph, &config, &node, NULL), 0);
	channel = rig_channel(rig, node);
	assert_int_equal(status_of(rig, channel, 0, SIZE, &extent), -ENOTSUP);
	block_channel_close(channel);
}

static void test_status_of_raw_when_it_has_an_offset_then_counted_from_there(void **state)
{
	struct rig *rig = *state;
	struct block_node *ram = open_ram(rig, SIZE), *raw = NULL;
	const struct block_raw_config config = {
		.name = "raw", .child = ram, .offset = 6 * PAGE, .read_only = true
	};
	struct block_channel *channel = rig_channel(rig, ram);

	write_data(rig, channel);
	block_channel_close(channel);
	assert_int_equal(block_raw_open(rig->graph, &config, &raw, NULL), 0);
	channel = rig_channel(rig, raw);
	check_status(rig, channel, 0, SIZE - 6 * PAGE, (struct extent){ 2 * PAGE, true });
	check_status(rig, channel, 2 * PAGE, PAGE, (struct extent){ PAGE, false });
	block_channel_close(channel);
}

static void test_status_when_outside_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = rig_channel(rig, open_ram(rig, SIZE));
	struct extent extent;

	assert_int_equal(status_of(rig, channel, SIZE, 512, &extent), -EIO);
	assert_int_equal(status_of(rig, channel, 0, SIZE + 512, &extent), -EIO);
	block_channel_close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_status_of_ram_when_written_and_discarded_then_pages),
		rig_test(test_status_of_ram_when_a_hole_was_read_then_still_a_hole),
		rig_test(test_status_of_ram_when_very_long_then_a_part_of_it),
		rig_test(test_status_of_file_when_written_and_discarded_then_blocks),
		rig_test(test_status_of_file_on_tmpfs_then_the_same),
		rig_test(test_status_of_null_when_it_reads_zeroes_then_all_is_a_hole),
		rig_test(test_status_of_null_when_nothing_is_known_then_refused),
		rig_test(test_status_of_raw_when_it_has_an_offset_then_counted_from_there),
		rig_test(test_status_when_outside_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
