/* SPDX-License-Identifier: MIT */
/*
 * For tests: CPUs of this machine that go and come as a file says. Queues are spread over two of them, of which one goes.
 */
#ifndef RINGLANE_DRIVER_TEST_CPUS_H
#define RINGLANE_DRIVER_TEST_CPUS_H

#include "driver/test_managed.h"

#include <unistd.h>

struct cpus {
	char folder[64], path[96];
	unsigned events[3];
	char both[32];        /* that queues are spread over */
	unsigned stays, goes; /* one for each queue */
};

static inline void cpus_write(const struct cpus *cpus, bool all)
{
	char fresh[112];
	FILE *file;

	snprintf(fresh, sizeof(fresh), "%s.new", cpus->path);
	file = fopen(fresh, "w");
	assert_non_null(file);
	fprintf(file, all ? "0-1023\n" : "0-%u,%u-1023\n", cpus->goes - 1, cpus->goes + 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, cpus->path), 0);
}

static inline void cpus_event(void *data, unsigned queue, enum ringlane_queue_event event)
{
	struct cpus *cpus = data;

	add_relaxed(&cpus->events[event], 1);
}

/* False: the machine has one CPU for us. */
static inline bool cpus_make(struct cpus *cpus, struct ringlane_managed_options *options)
{
	unsigned count = 0;
	cpu_set_t mine;

	*cpus = (struct cpus){ .stays = 0 };
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mine)) {
			cpus->stays = count++ ? cpus->stays : cpu;
			cpus->goes = cpu;
		}
	if (count < 2)
		return false;
	snprintf(cpus->both, sizeof(cpus->both), "%u,%u", cpus->stays, cpus->goes);
	options->cpus = cpus->both;
	snprintf(cpus->folder, sizeof(cpus->folder), "/tmp/ringlane-cpus-XXXXXX");
	assert_non_null(mkdtemp(cpus->folder));
	snprintf(cpus->path, sizeof(cpus->path), "%s/online", cpus->folder);
	cpus_write(cpus, true);
	options->cpu_folder = cpus->folder;
	options->queue_event = cpus_event;
	options->queue_event_data = cpus;
	return true;
}

static inline void cpus_free(struct cpus *cpus)
{
	unlink(cpus->path);
	rmdir(cpus->folder);
}

#endif
