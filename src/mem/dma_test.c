// SPDX-License-Identifier: MIT
/* Memory that a device may reach. */
#include "mem/dma.h"

#include "mem/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_alloc_when_size_is_odd_then_whole_zeroed_resident_pages(void **state)
{
	struct dma_region region;
	struct stat info;
	uint8_t *bytes;

	assert_int_equal(dma_region_alloc(4097, &region, NULL), 0);
	assert_int_equal(region.size, 8192);
	assert_int_equal(region.fd_offset, 0);
	assert_int_equal(fstat(region.fd, &info), 0);
	assert_int_equal(info.st_size, 8192);
	assert_int_equal(info.st_blocks, 16);
	bytes = region.addr;
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(bytes[i], 0);
	dma_region_free(&region);
	assert_null(region.addr);
	assert_int_equal(region.fd, -1);
}

static void test_alloc_when_done_then_size_is_sealed_and_fd_closes_on_exec(void **state)
{
	struct dma_region region;

	assert_int_equal(dma_region_alloc(4096, &region, NULL), 0);
	assert_int_equal(fcntl(region.fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(fcntl(region.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(region.fd, 0), -1);
	assert_int_equal(ftruncate(region.fd, 8192), -1);
	dma_region_free(&region);
}

static void test_alloc_when_size_is_impossible_then_one_sentence(void **state)
{
	static const size_t sizes[] = { 0, SIZE_MAX, (size_t)INT64_MAX };
	struct dma_region region;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct error error = { 0 };

		assert_int_equal(dma_region_alloc(sizes[i], &region, &error), -EINVAL);
		assert_non_null(strstr(error.text, "bytes of shared memory"));
	}
}

static void test_alloc_when_size_is_more_than_there_is_then_not_tried(void **state)
{
	struct error error = { 0 };
	struct dma_region region;

	assert_int_equal(dma_region_alloc(1ull << 50, &region, &error), -ENOMEM);
	assert_string_equal(
		error.text,
		"cannot allocate 1125899906842624 bytes of shared memory: the machine has less");
}

static void test_holds_when_at_the_edges_then_exact(void **state)
{
	char memory[100];
	const struct dma_region region = { .addr = memory + 10, .size = 80, .fd = -1 };
	static const struct {
		int offset;
		size_t size;
		bool held;
	} cases[] = {
		{ 0, 80, true },  { 0, 81, false }, { -1, 2, false },        { 79, 1, true },
		{ 80, 1, false }, { 79, 2, false }, { 10, SIZE_MAX, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(dma_region_holds(&region, memory + 10 + cases[i].offset,
						  cases[i].size),
				 cases[i].held);
}

static void test_region_when_mapped_by_the_other_side_then_same_bytes(void **state)
{
	struct dma_region region;
	struct mem_region_desc desc;
	struct mem_map *map;

	assert_int_equal(dma_region_alloc(4096, &region, NULL), 0);
	desc = (struct mem_region_desc){ .guest_addr = (uintptr_t)region.addr,
					 .user_addr = (uintptr_t)region.addr,
					 .size = region.size,
					 .mmap_offset = region.fd_offset,
					 .fd = region.fd };
	assert_int_equal(mem_map_build(&desc, 1, &map, NULL), 0);
	memcpy((char *)region.addr + 7, "lane", 5);
	assert_string_equal(mem_map_guest(map, (uintptr_t)region.addr + 7, 5), "lane");
	dma_region_free(&region);
	mem_map_unref(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_when_size_is_odd_then_whole_zeroed_resident_pages),
		cmocka_unit_test(test_alloc_when_done_then_size_is_sealed_and_fd_closes_on_exec),
		cmocka_unit_test(test_alloc_when_size_is_impossible_then_one_sentence),
		cmocka_unit_test(test_alloc_when_size_is_more_than_there_is_then_not_tried),
		cmocka_unit_test(test_holds_when_at_the_edges_then_exact),
		cmocka_unit_test(test_region_when_mapped_by_the_other_side_then_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
