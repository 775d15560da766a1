/* SPDX-License-Identifier: MIT */
/* For tests: a folder that looks like /proc to whoever places interrupts. */
#ifndef RINGLANE_DRIVER_TEST_PROC_H
#define RINGLANE_DRIVER_TEST_PROC_H

#include "driver/test_topology.h"

#include "driver/irq_affinity.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_proc {
	char path[64];
};

static inline void proc_write(const struct fake_proc *proc, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", proc->path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static inline void proc_add_irq(const struct fake_proc *proc, int number, const char *cpus)
{
	char path[256], name[64];

	snprintf(path, sizeof(path), "%s/irq/%d", proc->path, number);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	snprintf(name, sizeof(name), "irq/%d/smp_affinity_list", number);
	proc_write(proc, name, cpus);
}

static inline void proc_remove_irq(const struct fake_proc *proc, int number)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/irq/%d/smp_affinity_list", proc->path, number);
	assert_int_equal(unlink(path), 0);
}

static inline void assert_irq(const struct fake_proc *proc, int number, const char *expected)
{
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	char list[64];

	assert_int_equal(irq_affinity_read(proc->path, number, cpus, NULL), 0);
	topology_list_format(cpus, list, sizeof(list));
	assert_string_equal(list, expected);
	hwloc_bitmap_free(cpus);
}

static inline int remove_entry(const char *path, const struct stat *status, int kind,
			       struct FTW *where)
{
	return remove(path);
}

/* With these lines in /proc/interrupts, and interrupts [first, last] that go everywhere. */
static inline void proc_init(struct fake_proc *proc, const char *interrupts, int first, int last)
{
	char path[128];

	snprintf(proc->path, sizeof(proc->path), "/tmp/ringlane-proc-XXXXXX");
	assert_non_null(mkdtemp(proc->path));
	snprintf(path, sizeof(path), "%s/irq", proc->path);
	assert_int_equal(mkdir(path, 0700), 0);
	proc_write(proc, "interrupts", interrupts);
	for (int number = first; number <= last; number++)
		proc_add_irq(proc, number, "0-7\n");
}

static inline int proc_fini(const struct fake_proc *proc)
{
	return nftw(proc->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
