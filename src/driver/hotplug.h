/* SPDX-License-Identifier: MIT */
/*
 * CPUs that come and go, as seen from user space: what the kernel tells by netlink, sysfs read again now and then in case
 * nothing is told (containers) or something was lost, and a poke by whoever notices that it runs on a CPU that is thought
 * to be away. All three end in one readable fd; sysfs alone is believed.
 *
 * The kernel tells when it has happened: nobody can drain before a CPU goes by this (ringlane_prepare_offline is for that).
 */
#ifndef RINGLANE_DRIVER_HOTPLUG_H
#define RINGLANE_DRIVER_HOTPLUG_H

#include "base/error.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hotplug;

struct hotplug_options {
	const char *folder; /* NULL: /sys/devices/system/cpu */
	unsigned period_ms; /* between two looks at sysfs; 0: 2000 */
	bool has_source;    /* for tests: source_fd is used instead of a netlink socket */
	int source_fd; /* brings uevents as datagrams, all of them trusted; closed here, also when opening fails */
};

struct hotplug_change {
	cpu_set_t online;
	cpu_set_t went; /* were away at some time since the last read, also those that are back */
	cpu_set_t came; /* are online and were away at some time */
	bool missed;    /* events were lost: any other may have been away and back */
};

/* What a datagram of the kernel says about a CPU. Pure. */
struct hotplug_event {
	unsigned cpu;
	bool online;
};

/* False: anything but "this CPU went online / offline". */
bool hotplug_event_parse(const char *bytes, size_t size, struct hotplug_event *ret_event);

/* Without netlink it works by reading sysfs alone. -errno: sysfs cannot be read, out of files or memory. */
int hotplug_open(const struct hotplug_options *options, struct hotplug **ret_hotplug,
		 struct error *error);
/* NULL is fine. */
void hotplug_close(struct hotplug *hotplug);

/* The thread that owns it. fd: readable when hotplug_read may have something to say. */
int hotplug_fd(const struct hotplug *hotplug);
void hotplug_get_online(const struct hotplug *hotplug, cpu_set_t *ret_online);
/* Never blocks. 1: *ret_change; 0: nothing changed; -errno: sysfs cannot be read, what was known stays. */
int hotplug_read(struct hotplug *hotplug, struct hotplug_change *ret_change);

/* Any thread. generation: another one after each change. */
uint32_t hotplug_generation(const struct hotplug *hotplug);
bool hotplug_cpu_is_online(const struct hotplug *hotplug, unsigned cpu);
/* Makes the fd readable and the next read look at sysfs. */
void hotplug_poke(struct hotplug *hotplug);

#endif
