/* SPDX-License-Identifier: MIT */
/*
 * For tests: a fake disk, opened, with a buffer. Setup and teardown functions for cmocka's fixtures count open files, so
 * that a test that leaks one fails.
 */
#ifndef RINGLANE_DRIVER_TEST_DISK_H
#define RINGLANE_DRIVER_TEST_DISK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "driver/fake_disk.h"

#include <errno.h>
#include <ringlane/ringlane.h>

#define TEST_DEADLINE_MS 10000
#define TEST_BUFFER_BYTES (1u << 20)

struct test_disk {
	struct fake_disk *fake;
	struct ringlane_device *device;
	struct ringlane_queue *queue; /* the first */
	uint8_t *buffer;              /* TEST_BUFFER_BYTES that the device reaches */
};

/* False: not in the time that options give the device; nothing is left open but the fake. */
static inline bool test_disk_try(struct test_disk *disk, const struct ringlane_options *options,
				 struct ringlane_error *error)
{
	if (ringlane_open(fake_disk_uri(disk->fake), options, &disk->device, error) < 0)
		return false;
	disk->queue = ringlane_queue_get(disk->device, 0);
	assert_non_null(disk->queue);
	disk->buffer = ringlane_mem_alloc(disk->device, TEST_BUFFER_BYTES, error);
	if (!disk->buffer)
		ringlane_close(disk->device);
	return disk->buffer != NULL;
}

static inline struct test_disk test_disk_open(const struct fake_setup *setup,
					      const struct ringlane_options *options)
{
	struct test_disk disk = { .fake = fake_disk_new(setup) };
	struct ringlane_error error = { 0 };

	if (!test_disk_try(&disk, options, &error))
		fail_msg("open: %s", error.text);
	return disk;
}

/*
 * With a timeout that a test wants to see the end of: so short that a machine with much to do may not open the device in it,
 * which is tried again.
 */
static inline struct test_disk test_disk_open_hasty(const struct fake_setup *setup,
						    const struct ringlane_options *options)
{
	uint64_t end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS;
	struct test_disk disk = { .fake = fake_disk_new(setup) };
	struct ringlane_error error = { 0 };

	while (!test_disk_try(&disk, options, &error))
		if (clock_ns() >= end)
			fail_msg("open: %s", error.text);
	return disk;
}

static inline void test_disk_close(struct test_disk *disk)
{
	ringlane_close(disk->device);
	fake_disk_free(disk->fake);
}

/* Submits and waits for count completions; the result of the last. */
static inline int test_finish(struct test_disk *disk, unsigned count)
{
	struct ringlane_completion completion = { .result = -ETIME };

	for (unsigned i = 0; i < count; i++) {
		int ret = ringlane_wait(disk->queue, &completion, 1, 1, TEST_DEADLINE_MS, 0);

		assert_int_equal(ret, 1);
	}
	return completion.result;
}

static inline int test_fds_before(void **state)
{
	*state = (void *)(uintptr_t)fake_open_fds();
	return 0;
}

static inline int test_fds_after(void **state)
{
	unsigned before = (unsigned)(uintptr_t)*state, after = fake_open_fds();

	if (before != after)
		fprintf(stderr, "%u files open before, %u after\n", before, after);
	return before == after ? 0 : -1;
}

#define driver_test(function) \
	cmocka_unit_test_setup_teardown(function, test_fds_before, test_fds_after)

#endif
