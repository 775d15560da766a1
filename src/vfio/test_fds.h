/* SPDX-License-Identifier: MIT */
/* For tests: fixtures that fail a test which leaks a file. */
#ifndef RINGLANE_VFIO_TEST_FDS_H
#define RINGLANE_VFIO_TEST_FDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>

static inline unsigned test_open_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

static inline int test_fds_before(void **state)
{
	*state = (void *)(uintptr_t)test_open_fds();
	return 0;
}

static inline int test_fds_after(void **state)
{
	unsigned before = (unsigned)(uintptr_t)*state, after = test_open_fds();

	if (before != after)
		fprintf(stderr, "%u files open before, %u after\n", before, after);
	return before == after ? 0 : -1;
}

#define vfio_test(function) \
	cmocka_unit_test_setup_teardown(function, test_fds_before, test_fds_after)

#endif
