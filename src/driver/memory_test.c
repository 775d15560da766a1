// SPDX-License-Identifier: MIT
/* The table of regions, alone and under a device. */
#include "driver/test_disk.h"

#include "driver/memory.h"
#include "mem/dma.h"
#include "vhost_user/wire.h"

#include <sys/mman.h>
#include <unistd.h>

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

#define PAGE 4096u
#define DELTA 0xfffffffff0000000ull /* the device's addresses are lower */

static void *at(uintptr_t addr)
{
	return (void *)addr;
}

/* Whatever is reached has the device's address. */
static bool reaches(struct memory_cursor *cursor, const struct memory *memory, const void *addr,
		    size_t size)
{
	uint64_t device_addr;

	if (!memory_translate(cursor, memory, addr, size, &device_addr))
		return false;
	assert_int_equal(device_addr, (uintptr_t)addr + DELTA);
	return true;
}

static void test_table_when_regions_come_and_go_then_only_they_are_reached(void **state)
{
	struct memory_cursor cursor;
	struct memory memory;

	assert_int_equal(memory_init(&memory), 0);
	memory_cursor_add(&memory, &cursor);
	assert_false(reaches(&cursor, &memory, at(PAGE), 1));
	assert_int_equal(memory_add(&memory, at(8 * PAGE), PAGE, DELTA), 0);
	assert_int_equal(memory_add(&memory, at(2 * PAGE), 2 * PAGE, DELTA), 0);
	assert_int_equal(memory_add(&memory, at(4 * PAGE), PAGE, DELTA), 0);
	assert_true(reaches(&cursor, &memory, at(8 * PAGE), PAGE));
	assert_false(reaches(&cursor, &memory, at(8 * PAGE), PAGE + 1));
	assert_true(reaches(&cursor, &memory, at(2 * PAGE), 2 * PAGE));
	assert_false(reaches(&cursor, &memory, at(3 * PAGE), 2 * PAGE));
	assert_true(reaches(&cursor, &memory, at(5 * PAGE - 1), 1));
	assert_false(reaches(&cursor, &memory, at(5 * PAGE), 1));
	assert_false(reaches(&cursor, &memory, at(9 * PAGE), 1));
	assert_false(reaches(&cursor, &memory, at(UINTPTR_MAX), 1));
	assert_false(reaches(&cursor, &memory, at(8 * PAGE), SIZE_MAX));
	assert_true(memory_overlaps(&memory, at(PAGE), PAGE + 1));
	assert_false(memory_overlaps(&memory, at(PAGE), PAGE));
	assert_int_equal(memory_remove(&memory, at(3 * PAGE)), -ENOENT);
	assert_true(reaches(&cursor, &memory, at(2 * PAGE), 1));
	assert_int_equal(memory_remove(&memory, at(2 * PAGE)), 0);
	assert_false(reaches(&cursor, &memory, at(2 * PAGE), 1));
	assert_true(reaches(&cursor, &memory, at(4 * PAGE), PAGE));
	memory_fini(&memory);
}

static void test_table_when_regions_have_other_deltas_then_each_has_its_own(void **state)
{
	struct memory_cursor cursor;
	struct memory memory;
	uint64_t addr;

	assert_int_equal(memory_init(&memory), 0);
	memory_cursor_add(&memory, &cursor);
	assert_int_equal(memory_add(&memory, at(PAGE), PAGE, 0), 0);
	assert_int_equal(memory_add(&memory, at(4 * PAGE), PAGE, 16 * PAGE), 0);
	assert_true(memory_translate(&cursor, &memory, at(PAGE + 8), 8, &addr));
	assert_int_equal(addr, PAGE + 8);
	assert_true(memory_translate(&cursor, &memory, at(4 * PAGE + 8), 8, &addr));
	assert_int_equal(addr, 20 * PAGE + 8);
	memory_fini(&memory);
}

/* ---- under a device ---- */

static void test_alloc_when_freed_then_it_is_not_reached_any_more(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	uint8_t *more = ringlane_mem_alloc(disk.device, 100, NULL);

	assert_non_null(more);
	assert_int_equal((uintptr_t)more % PAGE, 0);
	assert_int_equal(ringlane_read(disk.queue, more, 512, 0, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	ringlane_mem_free(disk.device, more);
	assert_int_equal(ringlane_read(disk.queue, more, 512, 0, NULL), -EFAULT);
	ringlane_mem_free(disk.device, NULL);
	assert_null(ringlane_mem_alloc(disk.device, 0, NULL));
	test_disk_close(&disk);
}

static void test_register_when_memory_is_the_callers_then_requests_use_it(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_error error;
	int fd = memfd_create("test", MFD_CLOEXEC);
	uint8_t *mine;

	assert_int_equal(ftruncate(fd, 8 * PAGE), 0);
	mine = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4 * PAGE);
	assert_ptr_not_equal(mine, MAP_FAILED);
	assert_int_equal(ringlane_read(disk.queue, mine, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_mem_register(disk.device, mine, 4 * PAGE, fd, 4 * PAGE, &error),
			 0);
	assert_int_equal(ringlane_mem_register(disk.device, mine, PAGE, fd, 0, &error), -EEXIST);
	close(fd);
	memset(mine, 0x77, 512);
	assert_int_equal(ringlane_write(disk.queue, mine, 512, 1024, NULL), 0);
	assert_int_equal(test_finish(&disk, 1), 0);
	assert_int_equal(fake_disk_bytes(disk.fake)[1024], 0x77);
	assert_int_equal(ringlane_mem_unregister(disk.device, mine, &error), 0);
	assert_int_equal(ringlane_write(disk.queue, mine, 512, 1024, NULL), -EFAULT);
	assert_int_equal(ringlane_mem_unregister(disk.device, mine, &error), -ENOENT);
	munmap(mine, 4 * PAGE);
	test_disk_close(&disk);
}

static void test_register_when_arguments_are_bad_then_einval(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_error error;
	uint8_t *page = at(0x10000000);

	assert_int_equal(ringlane_mem_register(disk.device, page + 1, PAGE, 0, 0, &error), -EINVAL);
	assert_int_equal(ringlane_mem_register(disk.device, page, 0, 0, 0, &error), -EINVAL);
	assert_int_equal(ringlane_mem_register(disk.device, page, 100, 0, 0, &error), -EINVAL);
	assert_int_equal(ringlane_mem_register(disk.device, page, PAGE, 0, 8, &error), -EINVAL);
	assert_int_equal(ringlane_mem_register(disk.device, at(UINTPTR_MAX - PAGE + 1), 2 * PAGE, 0,
					       0, &error),
			 -EINVAL);
	assert_int_equal(ringlane_mem_register(disk.device, page, PAGE, -1, 0, &error), -EBADF);
	/* allocated memory is freed, not unregistered */
	assert_int_equal(ringlane_mem_unregister(disk.device, disk.buffer, &error), -ENOENT);
	test_disk_close(&disk);
}

/* Without CONFIGURE_MEM_SLOTS a back end has eight regions, and the whole table is sent again. */
static void test_alloc_when_slots_run_out_then_a_sentence_and_a_way_back(void **state)
{
	const struct fake_setup setup = { .protocol_features_off =
						  1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS };
	struct test_disk disk = test_disk_open(&setup, &one_queue);
	struct ringlane_error error = { 0 };
	uint8_t *more[16];
	unsigned count = 0;

	while ((more[count] = ringlane_mem_alloc(disk.device, PAGE, &error)) != NULL)
		count++;
	assert_int_equal(count, 6); /* the rings and the test's buffer have two */
	assert_int_equal(error.code, -ENOSPC);
	assert_non_null(strstr(error.text, "8 regions"));
	ringlane_mem_free(disk.device, more[2]);
	more[2] = ringlane_mem_alloc(disk.device, PAGE, &error);
	assert_non_null(more[2]);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(ringlane_read(disk.queue, more[i], 512, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
	}
	test_disk_close(&disk);
}

static void test_alloc_when_mem_size_is_given_then_it_comes_from_the_rings_region(void **state)
{
	const struct ringlane_options options = { .queues = 1,
						  .mem_size = TEST_BUFFER_BYTES + 2 * PAGE };
	const struct fake_setup setup = { .protocol_features_off =
						  1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS };
	struct test_disk disk = test_disk_open(&setup, &options);
	uint8_t *more[16], *again;

	assert_int_equal((uintptr_t)disk.buffer % PAGE, 0);
	for (unsigned i = 0; i < 9;
	     i++) /* two from the arena, seven regions: eight with the rings' */
		assert_non_null(more[i] = ringlane_mem_alloc(disk.device, i ? PAGE : 100, NULL));
	assert_ptr_equal(more[0], disk.buffer + TEST_BUFFER_BYTES);
	assert_ptr_equal(more[1], more[0] + PAGE);
	assert_null(ringlane_mem_alloc(disk.device, PAGE, NULL));
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(ringlane_read(disk.queue, more[i], 512, 0, NULL), 0);
		assert_int_equal(test_finish(&disk, 1), 0);
	}
	assert_int_equal(ringlane_read(disk.queue, more[1] + PAGE, 512, 0, NULL), -EFAULT);
	memset(disk.buffer, 0x11, TEST_BUFFER_BYTES);
	ringlane_mem_free(disk.device, disk.buffer);
	ringlane_mem_free(disk.device, more[1]);
	ringlane_mem_free(disk.device, more[0]);
	again = ringlane_mem_alloc(disk.device, PAGE, NULL);
	assert_ptr_equal(again, disk.buffer);
	assert_int_equal(again[0] | again[PAGE - 1], 0);
	test_disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_table_when_regions_come_and_go_then_only_they_are_reached),
		driver_test(test_table_when_regions_have_other_deltas_then_each_has_its_own),
		driver_test(test_alloc_when_freed_then_it_is_not_reached_any_more),
		driver_test(test_register_when_memory_is_the_callers_then_requests_use_it),
		driver_test(test_register_when_arguments_are_bad_then_einval),
		driver_test(test_alloc_when_slots_run_out_then_a_sentence_and_a_way_back),
		driver_test(test_alloc_when_mem_size_is_given_then_it_comes_from_the_rings_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
