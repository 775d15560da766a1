// SPDX-License-Identifier: MIT
/* Memory maps: what is refused, what is shared, what a cursor finds, and when memory goes away. */
#include "mem/map.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PAGE 4096ull
#define FILE_PAGES 16
#define USER 0x7f0000000000ull

static int memory_fd;

static int file_make(void **state)
{
	memory_fd = memfd_create("map-test", MFD_CLOEXEC);
	return ftruncate(memory_fd, (off_t)(FILE_PAGES * PAGE));
}

static int file_close(void **state)
{
	fd_close(&memory_fd);
	return 0;
}

/* How often the test's file is mapped in this process. */
static unsigned mappings_count(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "memfd:map-test") != NULL;
	fclose(maps);
	return count;
}

/* Pages [first, first + count) of the file, at guest address 16 times as far. */
static struct mem_region_desc pages(uint64_t first, uint64_t count)
{
	return (struct mem_region_desc){ .guest_addr = first * 16 * PAGE,
					 .size = count * PAGE,
					 .user_addr = USER + first * PAGE,
					 .mmap_offset = first * PAGE,
					 .fd = memory_fd };
}

static void test_build_when_a_region_is_bad_then_nothing_is_mapped(void **state)
{
	uint64_t end = FILE_PAGES * PAGE;
	const struct {
		uint64_t guest, size, user, offset;
		int fd;
		const char *words;
	} cases[] = {
		{ 0x100000, 0, 0, 0, memory_fd, "size 0" },
		{ UINT64_MAX - 100, 4096, 0, 0, memory_fd, "wraps" },
		{ 0x100000, UINT64_MAX, 0, 0, memory_fd, "wraps" },
		{ 0x100000, 4096, UINT64_MAX - 100, 0, memory_fd, "wraps" },
		{ 0x100000, 4096, 0, UINT64_MAX - 100, memory_fd, "wraps" },
		{ 0x100000, 4096, 0, INT64_MAX - 100, memory_fd, "wraps" },
		{ 0x100000, end + 1, 0, 0, memory_fd, "its file has 65536 bytes" },
		{ 0x100000, 4096, 0, end - 4095, memory_fd, "the region needs 65537" },
		{ 0x100000, 4096, 0, end, memory_fd, "its file has" },
		{ 0x100000, 4096, 0, 0, -1, "no file" },
		{ 0, 4096, 0, 0, memory_fd, "overlap" },
		{ PAGE - 1, 1, 0, 0, memory_fd, "overlap" },
		{ 16 * PAGE - 1, 4096, 0, 0, memory_fd, "overlap" },
		{ 16 * PAGE - 1, 2, 0, 0, memory_fd, "overlap" },
		{ 17 * PAGE - 1, 4096, 0, 0, memory_fd, "overlap" },
		{ 0, 64 * PAGE, 0, 0, memory_fd, "overlap" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem_region_desc descs[3] = { pages(0, 1), pages(1, 1) };
		struct mem_map *map = NULL;
		struct error error = { 0 };

		descs[2] = (struct mem_region_desc){ .guest_addr = cases[i].guest,
						     .size = cases[i].size,
						     .user_addr = cases[i].user,
						     .mmap_offset = cases[i].offset,
						     .fd = cases[i].fd };
		assert_int_equal(mem_map_build(descs, 3, &map, &error),
				 cases[i].fd < 0 ? -EBADF : -EINVAL);
		assert_non_null(strstr(error.text, cases[i].words));
		assert_null(map);
		assert_int_equal(mappings_count(), 0);
	}
}

static void test_build_when_fd_cannot_be_mapped_then_refused(void **state)
{
	struct mem_region_desc desc = pages(0, 1);
	struct error error = { 0 };
	struct mem_map *map = NULL;
	fd_auto event = event_fd_new();
	fd_auto read_only = -1;
	char path[64];

	desc.fd = event;
	assert_int_equal(mem_map_build(&desc, 1, &map, &error), -EINVAL);
	assert_non_null(strstr(error.text, "cannot be mapped"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory_fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	desc.fd = read_only;
	assert_int_equal(mem_map_build(&desc, 1, &map, &error), -EACCES);
	assert_null(map);
}

static void test_build_when_regions_only_touch_then_accepted_and_sorted(void **state)
{
	struct mem_region_desc descs[3] = { pages(2, 1), pages(0, 1), pages(1, 1) };
	struct mem_map *map;

	for (unsigned i = 0; i < 3; i++)
		descs[i].guest_addr /= 16;
	assert_int_equal(mem_map_build(descs, 3, &map, NULL), 0);
	assert_int_equal(map->count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(map->regions[i].guest_addr, i * PAGE);
	mem_map_unref(map);
}

static void test_build_when_user_addresses_overlap_then_accepted(void **state)
{
	struct mem_region_desc descs[2] = { pages(0, 1), pages(1, 1) };
	struct mem_map *map;

	descs[1].user_addr = descs[0].user_addr;
	assert_int_equal(mem_map_build(descs, 2, &map, NULL), 0);
	mem_map_unref(map);
}

static void test_regions_when_513_then_refused(void **state)
{
	struct mem_region_desc *descs = calloc(MEM_MAP_REGIONS_MAX + 1, sizeof(*descs));
	struct mem_map *map, *more = NULL, *fewer;

	for (uint64_t i = 0; i <= MEM_MAP_REGIONS_MAX; i++) {
		descs[i] = pages(0, 1);
		descs[i].guest_addr = i * PAGE;
	}
	assert_int_equal(mem_map_build(descs, MEM_MAP_REGIONS_MAX + 1, &map, NULL), -E2BIG);
	assert_int_equal(mem_map_build(descs, MEM_MAP_REGIONS_MAX, &map, NULL), 0);
	assert_int_equal(mem_map_add(map, &descs[MEM_MAP_REGIONS_MAX], &more, NULL), -E2BIG);
	assert_null(more);
	assert_int_equal(mem_map_remove(map, &descs[7], &fewer, NULL), 0);
	assert_int_equal(mem_map_add(fewer, &descs[MEM_MAP_REGIONS_MAX], &more, NULL), 0);
	assert_null(mem_map_guest(more, 7 * PAGE, 1));
	assert_non_null(mem_map_guest(more, MEM_MAP_REGIONS_MAX * PAGE, 1));
	mem_map_unref(map);
	mem_map_unref(fewer);
	mem_map_unref(more);
	assert_int_equal(mappings_count(), 0);
	free(descs);
}

/* A file without blocks is as long as one likes: it must not take all addresses of the process. */
static void test_regions_when_more_bytes_than_any_guest_then_refused(void **state)
{
	fd_auto fd = memfd_create("map-test", MFD_CLOEXEC);
	uint64_t half = MEM_MAP_BYTES_MAX / 2;
	struct mem_region_desc descs[2] = {
		{ .guest_addr = 0, .size = half, .fd = fd },
		{ .guest_addr = half, .size = half + PAGE, .user_addr = half, .fd = fd },
	};
	struct mem_map *map, *more = NULL;

	assert_int_equal(ftruncate(fd, (off_t)(half + PAGE)), 0);
	assert_int_equal(mem_map_build(descs, 2, &map, NULL), -E2BIG);
	assert_int_equal(mem_map_build(descs, 1, &map, NULL), 0);
	assert_int_equal(mem_map_add(map, &descs[1], &more, NULL), -E2BIG);
	assert_null(more);
	descs[1].size = half;
	assert_int_equal(mem_map_add(map, &descs[1], &more, NULL), 0);
	mem_map_unref(map);
	mem_map_unref(more);
	assert_int_equal(mappings_count(), 0);
}

static void test_add_and_remove_when_maps_share_then_last_unref_unmaps(void **state)
{
	struct mem_region_desc a = pages(0, 1), b = pages(4, 2);
	struct mem_map *empty = mem_map_new(), *first, *second, *third;
	void *host;

	assert_int_equal(mem_map_add(empty, &a, &first, NULL), 0);
	assert_int_equal(mem_map_add(first, &b, &second, NULL), 0);
	assert_int_equal(mem_map_remove(second, &a, &third, NULL), 0);
	assert_int_equal(empty->count, 0);
	assert_int_equal(first->count, 1);
	assert_int_equal(mappings_count(), 2);
	host = mem_map_guest(first, 0, 1);
	assert_ptr_equal(mem_map_guest(second, 0, 1), host);
	assert_null(mem_map_guest(third, 0, 1));

	mem_map_unref(empty);
	mem_map_unref(first);
	assert_int_equal(mappings_count(), 2);
	memset(mem_map_guest(second, 0, PAGE), 1, PAGE);
	assert_ptr_equal(mem_map_ref(second), second);
	mem_map_unref(second);
	assert_int_equal(mappings_count(), 2);
	mem_map_unref(second);
	assert_int_equal(mappings_count(), 1);
	mem_map_unref(third);
	assert_int_equal(mappings_count(), 0);
	mem_map_unref(NULL);
}

static void test_add_when_it_fails_then_base_is_unharmed(void **state)
{
	struct mem_region_desc a = pages(0, 1), again = pages(0, 2);
	struct mem_map *map, *none = NULL;
	struct error error = { 0 };

	assert_int_equal(mem_map_build(&a, 1, &map, NULL), 0);
	assert_int_equal(mem_map_add(map, &again, &none, &error), -EINVAL);
	assert_non_null(strstr(error.text, "overlap"));
	assert_null(none);
	assert_int_equal(map->count, 1);
	memset(mem_map_guest(map, 0, PAGE), 1, PAGE);
	mem_map_unref(map);
	assert_int_equal(mappings_count(), 0);
}

static void test_remove_when_not_exactly_that_region_then_enoent(void **state)
{
	struct mem_region_desc a = pages(1, 2), wrong;
	struct mem_map *map, *none = NULL;

	assert_int_equal(mem_map_build(&a, 1, &map, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		wrong = a;
		wrong.guest_addr += i == 0 ? 1 : 0;
		wrong.size -= i == 1 ? 1 : 0;
		wrong.user_addr += i == 2 ? 1 : 0;
		wrong.guest_addr += i == 3 ? 100 * PAGE : 0;
		assert_int_equal(mem_map_remove(map, &wrong, &none, NULL), -ENOENT);
	}
	assert_null(none);
	mem_map_unref(map);
}

static void test_host_when_offset_is_not_page_aligned_then_right_bytes(void **state)
{
	struct mem_region_desc desc = pages(1, 1);
	struct mem_map *map;
	char text[5] = "";

	assert_int_equal(pwrite(memory_fd, "lane", 5, 5000), 5);
	desc.mmap_offset = 5000;
	assert_int_equal(mem_map_build(&desc, 1, &map, NULL), 0);
	assert_string_equal(mem_map_guest(map, desc.guest_addr, 5), "lane");
	memcpy(mem_map_guest(map, desc.guest_addr + PAGE - 5, 5), "ring", 5);
	assert_int_equal(pread(memory_fd, text, 5, 5000 + 4096 - 5), 5);
	assert_string_equal(text, "ring");
	mem_map_unref(map);
	assert_int_equal(mappings_count(), 0);
}

static void test_lookup_when_range_leaves_the_region_then_null(void **state)
{
	struct mem_region_desc descs[2] = { pages(1, 2), pages(8, 1) };
	struct mem_map *map;
	static const struct {
		uint64_t offset, size; /* from the first region's start */
		bool found;
	} cases[] = {
		{ 0, 1, true },
		{ 0, 2 * PAGE, true },
		{ 0, 2 * PAGE + 1, false },
		{ 2 * PAGE - 1, 1, true },
		{ 2 * PAGE, 1, false },
		{ 2 * PAGE - 1, 2, false },
		{ -1ull, 2, false },
		{ 1, -1ull, false },
		{ 2 * PAGE, 0, false },
	};

	assert_int_equal(mem_map_build(descs, 2, &map, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		void *guest =
			mem_map_guest(map, descs[0].guest_addr + cases[i].offset, cases[i].size);
		void *user = mem_map_user(map, descs[0].user_addr + cases[i].offset, cases[i].size);

		assert_int_equal(guest != NULL, cases[i].found);
		assert_ptr_equal(user, guest);
	}
	mem_map_unref(map);
}

static void test_cursor_when_regions_touch_then_runs_end_at_the_border(void **state)
{
	struct mem_region_desc descs[3] = { pages(0, 1), pages(1, 1), pages(2, 1) };
	struct mem_cursor cursor;
	struct mem_map *map;
	uint64_t run;

	descs[1].guest_addr = PAGE; /* adjacent to 0; a hole follows */
	assert_int_equal(mem_map_build(descs, 3, &map, NULL), 0);
	mem_cursor_init(&cursor, map);
	assert_ptr_equal(mem_cursor_run(&cursor, 100, 10, &run), map->regions[0].host + 100);
	assert_int_equal(run, 10);
	assert_ptr_equal(mem_cursor_run(&cursor, 100, 10000, &run), map->regions[0].host + 100);
	assert_int_equal(run, PAGE - 100);
	assert_ptr_equal(mem_cursor_run(&cursor, PAGE, 10000, &run), map->regions[1].host);
	assert_int_equal(run, PAGE);
	assert_null(mem_cursor_run(&cursor, 2 * PAGE, 1, &run));
	assert_ptr_equal(mem_cursor_run(&cursor, PAGE - 1, 1, &run), map->regions[0].host + 4095);
	assert_ptr_equal(mem_cursor_run(&cursor, 32 * PAGE, 1, &run), map->regions[2].host);
	assert_null(mem_cursor_run(&cursor, UINT64_MAX, UINT64_MAX, &run));
	mem_map_unref(map);
}

static void test_cursor_when_two_regions_alternate_then_both_are_remembered(void **state)
{
	struct mem_region_desc descs[3] = { pages(0, 1), pages(1, 1), pages(2, 1) };
	const struct mem_window *low, *high;
	struct mem_cursor cursor;
	struct mem_map *map;

	descs[1].guest_addr = PAGE;
	assert_int_equal(mem_map_build(descs, 3, &map, NULL), 0);
	mem_cursor_init(&cursor, map);
	low = mem_cursor_find(&cursor, 100);
	high = mem_cursor_find(&cursor, 32 * PAGE);
	assert_ptr_not_equal(low, high);
	for (unsigned i = 0; i < 4; i++) {
		assert_ptr_equal(mem_cursor_find(&cursor, i), low);
		assert_ptr_equal(mem_cursor_find(&cursor, 32 * PAGE + i), high);
	}
	/* a third one takes the place of the older */
	assert_ptr_equal(mem_cursor_find(&cursor, PAGE), low);
	assert_ptr_equal(low->host, map->regions[1].host);
	assert_ptr_equal(mem_cursor_find(&cursor, 32 * PAGE), high);
	mem_map_unref(map);
}

static void test_cursor_when_map_is_empty_then_nothing_found(void **state)
{
	struct mem_map *map = mem_map_new();
	struct mem_cursor cursor;
	uint64_t run;

	mem_cursor_init(&cursor, map);
	assert_null(mem_cursor_run(&cursor, 0, 1, &run));
	assert_null(mem_map_guest(map, 0, 1));
	assert_null(mem_map_user(map, 0, 1));
	mem_map_unref(map);
}

static void test_local_when_unmapped_then_memory_is_still_ours(void **state)
{
	char *memory = malloc(PAGE);
	struct mem_map *map = NULL;

	assert_int_equal(mem_map_build_local(memory, 0, 0, &map), -EINVAL);
	assert_int_equal(mem_map_build_local(memory, UINT64_MAX, 2, &map), -EINVAL);
	assert_null(map);
	assert_int_equal(mem_map_build_local(memory, 0x1000, PAGE, &map), 0);
	assert_ptr_equal(mem_map_guest(map, 0x1001, 1), memory + 1);
	assert_ptr_equal(mem_map_user(map, (uintptr_t)memory + 1, 1), memory + 1);
	mem_map_unref(map);
	memset(memory, 1, PAGE);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_build_when_a_region_is_bad_then_nothing_is_mapped, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(test_build_when_fd_cannot_be_mapped_then_refused,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(
			test_build_when_regions_only_touch_then_accepted_and_sorted, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(test_build_when_user_addresses_overlap_then_accepted,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(test_regions_when_513_then_refused, file_make,
						file_close),
		cmocka_unit_test_setup_teardown(
			test_regions_when_more_bytes_than_any_guest_then_refused, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(
			test_add_and_remove_when_maps_share_then_last_unref_unmaps, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(test_add_when_it_fails_then_base_is_unharmed,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(test_remove_when_not_exactly_that_region_then_enoent,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(
			test_host_when_offset_is_not_page_aligned_then_right_bytes, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(test_lookup_when_range_leaves_the_region_then_null,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(
			test_cursor_when_regions_touch_then_runs_end_at_the_border, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(
			test_cursor_when_two_regions_alternate_then_both_are_remembered, file_make,
			file_close),
		cmocka_unit_test_setup_teardown(test_cursor_when_map_is_empty_then_nothing_found,
						file_make, file_close),
		cmocka_unit_test_setup_teardown(test_local_when_unmapped_then_memory_is_still_ours,
						file_make, file_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
