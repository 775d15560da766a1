/* SPDX-License-Identifier: MIT */
/* Files are cut while they are mapped: touching them must leave zeroes, a mark and a living process. */
#include "mem/fault.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "mem/map.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define PAGES 8u

static int event_fd;

static int setup(void **state)
{
	event_fd = event_fd_new();
	return event_fd < 0;
}

/* cmocka takes SIGBUS for itself when it begins a test. */
static void guard(void)
{
	assert_int_equal(mem_fault_guard(event_fd), 0);
}

static int teardown(void **state)
{
	fd_close(&event_fd);
	return 0;
}

static int file_make(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	return fd;
}

static struct mem_map *map_make(int fd)
{
	struct mem_region_desc desc = { .guest_addr = 0, .size = PAGES * PAGE, .fd = fd };
	struct mem_map *map = NULL;

	assert_int_equal(mem_map_build(&desc, 1, &map, NULL), 0);
	return map;
}

static void test_fault_when_file_is_cut_then_zeroes_and_mark(void **state)
{
	fd_auto fd = file_make();
	struct mem_map *map = map_make(fd);
	uint8_t *bytes = mem_map_guest(map, 0, PAGES * PAGE);

	guard();
	memset(bytes, 0x5a, PAGES * PAGE);
	assert_false(mem_map_is_damaged(map));
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_int_equal(load_relaxed(&bytes[4 * PAGE + 7]), 0);
	assert_true(mem_map_is_damaged(map));
	assert_true(event_fd_clear(event_fd));
	/* the page that was touched and all behind it, nothing before */
	store_relaxed(&bytes[PAGES * PAGE - 1], 1);
	assert_int_equal(load_relaxed(&bytes[PAGES * PAGE - 1]), 1);
	assert_false(event_fd_clear(event_fd));
	assert_int_equal(load_relaxed(&bytes[2 * PAGE - 1]), 0x5a);
	assert_int_equal(load_relaxed(&bytes[2 * PAGE]), 0);
	assert_true(event_fd_clear(event_fd));
	mem_map_unref(map);
}

static void test_fault_when_other_map_is_whole_then_not_marked(void **state)
{
	fd_auto cut = file_make(), whole = file_make();
	struct mem_map *map_cut = map_make(cut), *map_whole = map_make(whole);
	uint8_t *bytes = mem_map_guest(map_cut, 0, PAGE);

	guard();
	assert_int_equal(ftruncate(cut, 0), 0);
	store_relaxed(&bytes[0], 1);
	assert_true(mem_map_is_damaged(map_cut));
	assert_false(mem_map_is_damaged(map_whole));
	mem_map_unref(map_cut);
	mem_map_unref(map_whole);
	event_fd_clear(event_fd);
}

static void test_fault_when_memory_was_not_added_then_process_dies(void **state)
{
	fd_auto fd = file_make();
	uint8_t *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	int status;
	pid_t pid;

	assert_true(bytes != MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), 0);
	guard();
	pid = fork();
	if (pid == 0)
		_exit(load_relaxed(&bytes[0]));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	munmap(bytes, PAGE);
}

static void test_fault_when_added_and_removed_often_then_room_stays(void **state)
{
	fd_auto fd = file_make();

	for (unsigned i = 0; i < 20000; i++)
		mem_map_unref(map_make(fd));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault_when_file_is_cut_then_zeroes_and_mark),
		cmocka_unit_test(test_fault_when_other_map_is_whole_then_not_marked),
		cmocka_unit_test(test_fault_when_memory_was_not_added_then_process_dies),
		cmocka_unit_test(test_fault_when_added_and_removed_often_then_room_stays),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
