/* SPDX-License-Identifier: MIT */
/* delay, error and log over other disks. */
#include "block/test_rig.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (1ull << 20)

static struct block_node *ram_open(struct rig *rig)
{
	struct block_ram_config config = { .name = "memory", .size = MIB };
	struct block_node *node = NULL;

	assert_int_equal(block_ram_open(rig->graph, &config, &node, NULL), 0);
	return node;
}

/* ---- delay ---- */

static struct block_channel *delay_open(struct rig *rig, struct block_delay_config config)
{
	struct block_node *node = NULL;

	config.name = "slow";
	config.child = ram_open(rig);
	assert_int_equal(block_delay_open(rig->graph, &config, &node, NULL), 0);
	return rig_channel(rig, node);
}

static void test_delay_when_latency_then_not_done_before_it_is_over(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel =
		delay_open(rig, (struct block_delay_config){ .latency_ns = 2 * NS_PER_MS });
	uint64_t start_ns = clock_ns();
	char written[512] = "late", found[512];
	struct rig_io io;

	rig_io_init(&io, BLOCK_WRITE, 0, written, 512);
	rig_io_submit(channel, &io);
	assert_int_equal(io.done_count, 0);
	assert_int_equal(channel->in_flight, 1);
	assert_int_equal(rig_io_wait(rig, &io), 0);
	assert_true(clock_ns() - start_ns >= 2 * NS_PER_MS);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, found, 512), 0);
	assert_memory_equal(found, written, 512);
	block_channel_close(channel);
}

static void test_delay_when_busy_then_time_is_spent_inside_submit(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel =
		delay_open(rig, (struct block_delay_config){ .busy_ns = NS_PER_MS });
	uint64_t start_ns = clock_ns();
	char buffer[512];
	struct rig_io io;

	rig_io_init(&io, BLOCK_READ, 0, buffer, 512);
	rig_io_submit(channel, &io);
	assert_int_equal(io.done_count, 1);
	assert_true(clock_ns() - start_ns >= NS_PER_MS);
	block_channel_close(channel);
}

static void test_delay_when_times_are_absurd_then_refused(void **state)
{
	struct rig *rig = *state;
	const struct block_delay_config configs[] = {
		{ .name = "slow", .latency_ns = UINT64_MAX },
		{ .name = "slow", .busy_ns = NS_PER_S },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(configs); i++) {
		struct block_delay_config config = configs[i];
		struct block_node *node = NULL;
		struct error error = { 0 };

		config.child = block_graph_find(rig->graph, "memory");
		config.child = config.child ? config.child : ram_open(rig);
		assert_int_equal(block_delay_open(rig->graph, &config, &node, &error), -EINVAL);
		assert_non_null(strstr(error.text, "'slow'"));
		assert_int_equal(config.child->refs, 0);
	}
}

/* ---- error ---- */

static struct block_channel *error_open(struct rig *rig, struct block_error_config config)
{
	struct block_node *node = NULL;

	config.name = "bad";
	config.child = ram_open(rig);
	assert_int_equal(block_error_open(rig->graph, &config, &node, NULL), 0);
	return rig_channel(rig, node);
}

static void test_error_when_every_third_write_then_counted(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = error_open(
		rig, (struct block_error_config){
			     .op_mask = 1u << BLOCK_WRITE, .error = -ENOSPC, .every = 3 });
	char buffer[512];

	for (unsigned i = 1; i <= 12; i++) {
		assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, 512), 0);
		assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, 512),
				 i % 3 ? 0 : -ENOSPC);
		assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	assert_int_equal(channel->in_flight, 0);
	block_channel_close(channel);
}

struct range_case {
	uint64_t offset, bytes;
	int result;
};

static void test_error_when_range_then_requests_that_touch_it(void **state)
{
	static const struct range_case cases[] = {
		{ 0, 4096, 0 },    { 0, 4608, -EIO }, { 4096, 512, -EIO },  { 7680, 512, -EIO },
		{ 8192, 4096, 0 }, { 0, MIB, -EIO },  { 6144, 8192, -EIO },
	};
	struct rig *rig = *state;
	struct block_channel *channel =
		error_open(rig, (struct block_error_config){ .offset = 4096, .bytes = 4096 });

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(rig_do(rig, channel, BLOCK_DISCARD, cases[i].offset, NULL,
					cases[i].bytes),
				 cases[i].result);
	assert_int_equal(rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	block_channel_close(channel);
}

static void test_error_when_write_fails_then_data_is_untouched(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel =
		error_open(rig, (struct block_error_config){ .op_mask = 1u << BLOCK_WRITE });
	char buffer[512], zeroes[512] = { 0 };

	memset(buffer, 9, 512);
	assert_int_equal(rig_do(rig, channel, BLOCK_WRITE, 0, buffer, 512), -EIO);
	assert_int_equal(rig_do(rig, channel, BLOCK_READ, 0, buffer, 512), 0);
	assert_memory_equal(buffer, zeroes, 512);
	block_channel_close(channel);
}

static void test_error_when_options_are_wrong_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_error_config configs[] = {
		{ .name = "bad", .op_mask = 2u << BLOCK_STATUS },
		{ .name = "bad", .error = 5 },
		{ .name = "bad", .error = -5000 },
	};
	struct block_node *child = ram_open(rig);

	for (unsigned i = 0; i < ARRAY_SIZE(configs); i++) {
		struct block_node *node = NULL;
		struct error error = { 0 };

		configs[i].child = child;
		assert_int_equal(block_error_open(rig->graph, &configs[i], &node, &error), -EINVAL);
		assert_non_null(strstr(error.text, "'bad'"));
	}
}

/* ---- log ---- */

static struct block_channel *log_open(struct rig *rig)
{
	struct block_error_config bad = { .name = "bad", .op_mask = 1u << BLOCK_DISCARD };
	struct block_raw_config window = { .name = "window", .offset = 4096 };
	struct block_log_config config = { .name = "log", .filename = rig->path };
	struct block_node *node = NULL;

	bad.child = ram_open(rig);
	assert_int_equal(block_error_open(rig->graph, &bad, &window.child, NULL), 0);
	assert_int_equal(block_raw_open(rig->graph, &window, &config.child, NULL), 0);
	snprintf(rig->path, sizeof(rig->path), "%s/log", rig->dir);
	assert_int_equal(block_log_open(rig->graph, &config, &node, NULL), 0);
	return rig_channel(rig, node);
}

static void expect_line(FILE *file, const char *expected)
{
	unsigned long long s, ns;
	char line[256];
	int length = 0;

	assert_non_null(fgets(line, sizeof(line), file));
	assert_int_equal(sscanf(line, "%llu.%9llu %n", &s, &ns, &length), 2);
	assert_true(length > 10);
	assert_string_equal(line + length, expected);
}

static void test_log_when_requests_pass_then_lines(void **state)
{
	struct rig *rig = *state;
	struct block_channel *channel = log_open(rig);
	char buffer[1024] = { 0 };
	FILE *file;

	rig_do_flags(rig, channel, BLOCK_WRITE, BLOCK_FUA, 512, buffer, 1024);
	rig_do(rig, channel, BLOCK_FLUSH, 0, NULL, 0);
	loop_turn(rig->loop, 0);
	file = fopen(rig->path, "re"); /* flushed by the turn's end */
	assert_non_null(file);
	expect_line(file, "0 write offset=512 bytes=1024 fua\n");
	expect_line(file, "0 write offset=512 bytes=1024 fua result=0\n");
	expect_line(file, "1 flush offset=0 bytes=0\n");
	expect_line(file, "1 flush offset=0 bytes=0 result=0\n");
	rig_do(rig, channel, BLOCK_DISCARD, 0, NULL, 512);
	rig_do_flags(rig, channel, BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP, 0, NULL, 512);
	block_channel_close(channel);
	expect_line(file, "2 discard offset=0 bytes=512\n");
	expect_line(file, "2 discard offset=0 bytes=512 result=-5\n");
	expect_line(file, "3 write_zeroes offset=0 bytes=512 unmap\n");
	expect_line(file, "3 write_zeroes offset=0 bytes=512 unmap result=0\n");
	assert_null(fgets(buffer, sizeof(buffer), file));
	fclose(file);
}

static void test_log_when_file_cannot_be_opened_then_refused(void **state)
{
	struct rig *rig = *state;
	struct block_log_config config = { .name = "log",
					   .child = ram_open(rig),
					   .filename = "no/such/dir/log" };
	struct block_node *node = NULL;
	struct error error = { 0 };

	assert_int_equal(block_log_open(rig->graph, &config, &node, &error), -ENOENT);
	assert_non_null(strstr(error.text, "'no/such/dir/log'"));
	config.filename = NULL;
	assert_int_equal(block_log_open(rig->graph, &config, &node, &error), -EINVAL);
	assert_int_equal(config.child->refs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_delay_when_latency_then_not_done_before_it_is_over),
		rig_test(test_delay_when_busy_then_time_is_spent_inside_submit),
		rig_test(test_delay_when_times_are_absurd_then_refused),
		rig_test(test_error_when_every_third_write_then_counted),
		rig_test(test_error_when_range_then_requests_that_touch_it),
		rig_test(test_error_when_write_fails_then_data_is_untouched),
		rig_test(test_error_when_options_are_wrong_then_refused),
		rig_test(test_log_when_requests_pass_then_lines),
		rig_test(test_log_when_file_cannot_be_opened_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
