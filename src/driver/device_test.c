// SPDX-License-Identifier: MIT
/* Opening, describing, resizing, losing and closing a device. */
#include "driver/test_disk.h"

#include "base/fd.h"
#include "vhost_user/wire.h"

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

static int open_error(const char *uri, const struct ringlane_options *options,
		      const char *expected_text)
{
	struct ringlane_device *device = NULL;
	struct ringlane_error error = { 0 };
	int ret = ringlane_open(uri, options, &device, &error);

	assert_true(ret < 0);
	assert_null(device);
	assert_int_equal(error.code, ret);
	assert_non_null(strstr(error.text, expected_text));
	assert_int_equal(ringlane_open(uri, options, &device, NULL), ret);
	return ret;
}

static int open_fake_error(const struct fake_setup *setup, const char *expected_text)
{
	struct fake_disk *fake = fake_disk_new(setup);
	int ret = open_error(fake_disk_uri(fake), &one_queue, expected_text);

	fake_disk_free(fake);
	return ret;
}

static void test_open_when_uri_is_bad_then_einval(void **state)
{
	assert_int_equal(open_error("", NULL, "vhost-user-blk:PATH"), -EINVAL);
	assert_int_equal(open_error("/run/disk.sock", NULL, "'/run/disk.sock'"), -EINVAL);
	assert_int_equal(open_error("vhost-user-blk:", NULL, "lacks the path"), -EINVAL);
	assert_int_equal(open_error("vfio:0000:00:01.0", NULL, "no disk's URI"), -EINVAL);
}

static void test_open_when_nobody_listens_then_error_names_the_path(void **state)
{
	assert_int_equal(open_error("vhost-user-blk:/nowhere/disk.sock", NULL,
				    "/nowhere/disk.sock"),
			 -ENOENT);
}

static void *accept_and_close(void *opaque)
{
	int listener = *(int *)opaque;
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	for (unsigned i = 0; i < 2 && poll(&ready, 1, TEST_DEADLINE_MS) == 1; i++)
		close(accept(listener, NULL, NULL));
	return NULL;
}

/* A socket that takes connections and never speaks, and one that closes them. */
static void test_open_when_back_end_says_nothing_then_it_ends(void **state)
{
	const struct ringlane_options options = { .timeout_ms = 30 };
	char folder[] = "/tmp/ringlane-mute-XXXXXX", path[64], uri[96];
	pthread_t thread;
	int listener;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	snprintf(uri, sizeof(uri), "vhost-user-blk:%s", path);
	listener = unix_listen(path, NULL);
	assert_true(listener >= 0);
	assert_int_equal(open_error(uri, &options, "GET_FEATURES"), -ETIMEDOUT);
	fd_close(&listener);
	listener = unix_listen(path, NULL);
	assert_int_equal(pthread_create(&thread, NULL, accept_and_close, &listener), 0);
	assert_true(open_error(uri, &one_queue, "") < 0);
	pthread_join(thread, NULL);
	fd_close(&listener);
	unlink(path);
	rmdir(folder);
}

static void test_open_when_queue_size_is_bad_then_einval(void **state)
{
	static const unsigned sizes[] = { 1, 2, 3, 100, 2048, 1u << 31 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct ringlane_options options = { .queue_size = sizes[i] };

		assert_int_equal(open_error("vhost-user-blk:/x", &options, "power of two"),
				 -EINVAL);
	}
}

static void test_open_when_device_is_legacy_then_enotsup(void **state)
{
	const struct fake_setup setup = { .features_off = 1ull << VIRTIO_F_VERSION_1 };

	assert_int_equal(open_fake_error(&setup, "VERSION_1"), -ENOTSUP);
}

static void test_open_when_there_is_no_config_then_enotsup(void **state)
{
	const struct fake_setup setup = { .protocol_features_off = 1ull << VHU_PROTOCOL_CONFIG };

	assert_int_equal(open_fake_error(&setup, "no configuration"), -ENOTSUP);
}

static void test_open_when_config_is_nonsense_then_eproto(void **state)
{
	struct fake_setup setup = { .config = fake_config(2048) };

	setup.config.blk_size = htole32(3000);
	assert_int_equal(open_fake_error(&setup, "3000"), -EPROTO);
	setup.config.blk_size = 0;
	assert_int_equal(open_fake_error(&setup, "block size of 0"), -EPROTO);
	setup.config = fake_config(UINT64_MAX);
	assert_int_equal(open_fake_error(&setup, "capacity"), -EPROTO);
}

static void test_info_when_open_then_it_tells_what_the_device_said(void **state)
{
	struct fake_setup setup = { .config = fake_config(4096) };
	struct test_disk disk;
	struct ringlane_info info;

	setup.config.blk_size = htole32(4096);
	setup.config.physical_block_exp = 1;
	setup.config.opt_io_size = htole32(16);
	disk = test_disk_open(&setup, &one_queue);
	ringlane_get_info(disk.device, &info);
	assert_int_equal(info.capacity, 4096 * 512);
	assert_int_equal(info.logical_block_size, 4096);
	assert_int_equal(info.physical_block_size, 8192);
	assert_int_equal(info.optimal_io_size, 65536);
	assert_int_equal(info.seg_max, 32);
	assert_int_equal(info.discard_max, 1024 * 512);
	assert_int_equal(info.discard_ranges, 8);
	assert_int_equal(info.discard_alignment, 4096);
	assert_int_equal(info.write_zeroes_max, 512 * 512);
	assert_int_equal(info.queues, 1);
	assert_int_equal(info.queue_max, 4);
	assert_int_equal(info.queue_size, 256);
	assert_true(info.flush && info.write_cache && info.write_zeroes_may_unmap);
	assert_false(info.read_only);
	assert_true(info.features_acked >> VIRTIO_F_VERSION_1 & 1);
	assert_false(info.features_acked >> VIRTIO_BLK_F_GEOMETRY & 1);
	test_disk_close(&disk);
}

/* Each line: a back end that lacks something, and what is left. */
static void test_open_when_features_are_missing_then_it_works_without(void **state)
{
	static const struct {
		uint64_t features_off, protocol_features_off;
		unsigned queues, seg_max;
		bool discard, flush;
	} cases[] = {
		{ 0, 0, 4, 32, true, true },
		{ 1ull << VIRTIO_BLK_F_MQ, 0, 1, 32, true, true },
		{ 0, 1ull << VHU_PROTOCOL_MQ, 1, 32, true, true },
		{ 1ull << VIRTIO_BLK_F_SEG_MAX, 0, 4, 1, true, true },
		{ 1ull << VIRTIO_BLK_F_DISCARD, 0, 4, 32, false, true },
		{ 1ull << VIRTIO_BLK_F_FLUSH, 0, 4, 32, true, false },
		{ 0, 1ull << VHU_PROTOCOL_REPLY_ACK, 4, 32, true, true },
		{ 0, 1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS, 4, 32, true, true },
		{ 0, 1ull << VHU_PROTOCOL_BACKEND_REQ, 4, 32, true, true },
		{ 0, ~(1ull << VHU_PROTOCOL_CONFIG), 1, 32, true, true },
		{ ~(1ull << VIRTIO_F_VERSION_1), 0, 1, 1, false, false },
		{ ~(1ull << VIRTIO_F_VERSION_1), ~(1ull << VHU_PROTOCOL_CONFIG), 1, 1, false,
		  false },
	};
	const struct ringlane_options options = { .queues = 64, .timeout_ms = TEST_DEADLINE_MS };

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct fake_setup setup = {
			.features_off = cases[i].features_off,
			.protocol_features_off = cases[i].protocol_features_off,
		};
		struct test_disk disk = test_disk_open(&setup, &options);
		struct ringlane_info info;

		ringlane_get_info(disk.device, &info);
		assert_int_equal(info.queues, cases[i].queues);
		assert_int_equal(info.seg_max, cases[i].seg_max);
		assert_int_equal(info.discard_max != 0, cases[i].discard);
		assert_int_equal(info.flush, cases[i].flush);
		memset(disk.buffer, 0x31 + (int)i, 512);
		assert_int_equal(ringlane_write(disk.queue, disk.buffer, 512, 512, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		assert_int_equal(fake_disk_bytes(disk.fake)[512], 0x31 + i);
		test_disk_close(&disk);
	}
}

static void test_queues_when_not_said_then_one_per_cpu_that_fits(void **state)
{
	const struct fake_setup setup = { .queue_max = 1 };
	struct test_disk disk = test_disk_open(&setup, NULL);
	struct ringlane_info info;

	ringlane_get_info(disk.device, &info);
	assert_int_equal(info.queues, 1);
	assert_null(ringlane_queue_get(disk.device, 1));
	test_disk_close(&disk);
}

static void test_queues_when_several_then_each_carries_requests(void **state)
{
	const struct ringlane_options options = { .queues = 4, .timeout_ms = TEST_DEADLINE_MS };
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &options);

	for (unsigned i = 0; i < 4; i++) {
		disk.queue = ringlane_queue_get(disk.device, i);
		memset(disk.buffer, 0x41 + (int)i, 512);
		assert_int_equal(ringlane_write(disk.queue, disk.buffer, 512, 512 * i, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
		assert_int_equal(fake_disk_bytes(disk.fake)[512 * i], 0x41 + i);
	}
	test_disk_close(&disk);
}

static void wait_readable(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&ready, 1, TEST_DEADLINE_MS), 1);
}

static void test_event_when_disk_is_resized_then_info_and_limits_follow(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_info info;

	assert_int_equal(ringlane_event(disk.device), 0);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 1000 * 512, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	fake_disk_resize(disk.fake, 1000);
	wait_readable(ringlane_event_fd(disk.device));
	assert_int_equal(ringlane_event(disk.device), 1);
	ringlane_get_info(disk.device, &info);
	assert_int_equal(info.capacity, 1000 * 512);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 1000 * 512, NULL), -EINVAL);
	assert_int_equal(ringlane_event(disk.device), 0);
	test_disk_close(&disk);
}

static void test_write_cache_when_switched_then_device_and_info_know(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_info info;

	for (unsigned on = 0; on < 2; on++) {
		assert_int_equal(ringlane_set_write_cache(disk.device, on, NULL), 0);
		ringlane_get_info(disk.device, &info);
		assert_int_equal(info.write_cache, on);
		assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
	}
	test_disk_close(&disk);
}

static void test_write_cache_when_device_cannot_switch_then_eopnotsupp(void **state)
{
	const struct fake_setup setup = { .features_off = 1ull << VIRTIO_BLK_F_CONFIG_WCE };
	struct test_disk disk = test_disk_open(&setup, &one_queue);

	assert_int_equal(ringlane_set_write_cache(disk.device, false, NULL), -EOPNOTSUPP);
	test_disk_close(&disk);
}

static void test_event_when_back_end_is_gone_then_econnreset(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	int ret;

	fake_disk_hang_up(disk.fake);
	do { /* its other channel may be closed first */
		wait_readable(ringlane_event_fd(disk.device));
		ret = ringlane_event(disk.device);
	} while (ret == 0);
	assert_int_equal(ret, -ECONNRESET);
	assert_int_equal(ringlane_event(disk.device), -ECONNRESET);
	assert_null(ringlane_mem_alloc(disk.device, 4096, NULL));
	test_disk_close(&disk);
}

static void test_close_when_requests_never_finish_then_it_ends(void **state)
{
	const struct ringlane_options options = { .queues = 4, .timeout_ms = 50 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_disk disk = test_disk_open_hasty(&setup, &options);

	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	assert_int_equal(ringlane_submit(disk.queue), 1);
	test_disk_close(&disk);
}

static void test_close_when_null_or_requests_are_queued_then_nothing_happens(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);

	ringlane_close(NULL);
	assert_int_equal(ringlane_read(disk.queue, disk.buffer, 512, 0, NULL), 0);
	test_disk_close(&disk);
}

static void test_open_when_repeated_on_one_back_end_then_each_time_works(void **state)
{
	struct fake_disk *fake = fake_disk_new(&(struct fake_setup){ 0 });

	for (unsigned i = 0; i < 20; i++) {
		struct ringlane_device *device;

		assert_int_equal(ringlane_open(fake_disk_uri(fake), &one_queue, &device, NULL), 0);
		ringlane_close(device);
	}
	fake_disk_free(fake);
}

static void test_version_when_asked_then_it_is_the_projects(void **state)
{
	assert_string_equal(ringlane_version(), RINGLANE_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_open_when_uri_is_bad_then_einval),
		driver_test(test_open_when_nobody_listens_then_error_names_the_path),
		driver_test(test_open_when_back_end_says_nothing_then_it_ends),
		driver_test(test_open_when_queue_size_is_bad_then_einval),
		driver_test(test_open_when_device_is_legacy_then_enotsup),
		driver_test(test_open_when_there_is_no_config_then_enotsup),
		driver_test(test_open_when_config_is_nonsense_then_eproto),
		driver_test(test_info_when_open_then_it_tells_what_the_device_said),
		driver_test(test_open_when_features_are_missing_then_it_works_without),
		driver_test(test_queues_when_not_said_then_one_per_cpu_that_fits),
		driver_test(test_queues_when_several_then_each_carries_requests),
		driver_test(test_event_when_disk_is_resized_then_info_and_limits_follow),
		driver_test(test_write_cache_when_switched_then_device_and_info_know),
		driver_test(test_write_cache_when_device_cannot_switch_then_eopnotsupp),
		driver_test(test_event_when_back_end_is_gone_then_econnreset),
		driver_test(test_close_when_requests_never_finish_then_it_ends),
		driver_test(test_close_when_null_or_requests_are_queued_then_nothing_happens),
		driver_test(test_open_when_repeated_on_one_back_end_then_each_time_works),
		driver_test(test_version_when_asked_then_it_is_the_projects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
