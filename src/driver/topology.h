/* SPDX-License-Identifier: MIT */
/*
 * A machine as those see it who spread queues over CPUs: which CPUs there are, and which of them are close to each other.
 *
 * Every number is the operating system's: CPU 5 is Linux's CPU 5 and bit 5 of each mask. Numbers may have holes, and are never
 * made dense. The view is built once, on the control path, and then only read; any thread may. It comes from hwloc (this
 * machine or a description, topology_load.c) or from a test that adds sets by hand.
 *
 * Beware of descriptions: hwloc numbers the PUs of "core:2 pu:2" core by core (0,1 and 2,3), many PCs number first threads
 * first (0,2 and 1,3). To say so, use hwloc's own syntax: "core:2 pu:2(indexes=0,2,1,3)".
 */
#ifndef RINGLANE_DRIVER_TOPOLOGY_H
#define RINGLANE_DRIVER_TOPOLOGY_H

#include "base/error.h"

#include <hwloc.h>
#include <stdbool.h>

#define TOPOLOGY_CPUS_MAX 8192u /* CPU numbers are below: as many as Linux can be built for */

struct topology_set {
	unsigned id; /* NUMA nodes: the system's number; others: in the order in which they were added */
	hwloc_bitmap_t cpus;
};

struct topology_sets {
	unsigned count;
	struct topology_set *sets;
};

/* Where a CPU is: indexes in the sets, -1 for not told. */
struct topology_cpu {
	int node, cluster, core, domain;
};

struct topology {
	hwloc_bitmap_t possible;    /* may ever be there */
	hwloc_bitmap_t present;     /* is there, online or not */
	hwloc_bitmap_t allowed;     /* by the control group */
	hwloc_bitmap_t isolated;    /* taken out of the scheduler's domains (isolcpus=) */
	struct topology_sets nodes; /* by number; each possible CPU is in one; may have no CPU */
	/* Of present CPUs only, as in the kernel: nobody knows these of a CPU that has not been there yet. */
	struct topology_sets clusters; /* what Linux calls so; on x86: share an L2 */
	struct topology_sets cores;    /* SMT siblings */
	struct topology_sets domains;  /* share the last-level cache */
	struct topology_cpu *cpus;
	unsigned cpu_count; /* the highest possible CPU and 1; size of cpus */
};

/* An empty machine, to which sets are added. -ENOMEM. */
int topology_init(struct topology *topology);
/* Also of a half-built one, or one that is all zeroes. */
void topology_fini(struct topology *topology);
/* A copy of cpus. -ENOMEM. */
int topology_sets_add(struct topology_sets *sets, unsigned id, hwloc_const_bitmap_t cpus);
/*
 * After the last set: makes what the struct promises true (nodes that overlap: a CPU belongs to the one with the lower number;
 * possible CPUs of no node: the first node) and fills cpus. -EINVAL without a present CPU, -ENOMEM.
 */
int topology_finish(struct topology *topology, struct error *error);

struct topology_options {
	const char *description; /* hwloc's synthetic syntax; NULL: this machine */
	/* CPU lists, NULL for what the description or the system says. */
	const char *
		possible; /* of a description: the others are not there at all, which makes odd machines */
	const char *present; /* of a description */
	const char *isolated;
	const char *root; /* before /sys; NULL: "" */
};

/* -EINVAL with a sentence about the description or list, -ENOMEM, -errno of what cannot be read. */
int topology_open(const struct topology_options *options, struct topology *ret_topology,
		  struct error *error);

/* CPUs of this machine that are online. root as above. */
int topology_online_read(const char *root, hwloc_bitmap_t ret_cpus, struct error *error);

/* "0-3,8" as base/cpu_list.h has it, but without its limit. -EINVAL, -ERANGE, -ENOMEM; cpus is then half changed. */
int topology_list_parse(const char *text, hwloc_bitmap_t cpus, struct error *error);
/* As snprintf. */
int topology_list_format(hwloc_const_bitmap_t cpus, char *text, size_t size);

/* The CPUs of a mask in a loop; ends for a finite mask. */
#define TOPOLOGY_FOREACH(cpu, mask) \
	for (int cpu = hwloc_bitmap_first(mask); cpu >= 0; cpu = hwloc_bitmap_next(mask, cpu))

#endif
