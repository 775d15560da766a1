/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs a queue is for: Linux's group_cpus_evenly as a pure function over a topology, and what its users ask for beside it.
 *
 * The rule (lib/group_cpus.c; two stages: present CPUs, then those that may come later): nodes get queues in proportion to
 * their CPUs, the smallest node first and at least one each; so do clusters inside of a node that has a queue for each; inside,
 * a queue takes the lowest CPU that is left, then its SMT siblings, until it has its share. With fewer queues than nodes a queue
 * takes whole nodes. Among equally large nodes the lowest number comes first; among clusters the one with the lowest CPU.
 *
 * Linux leaves the order of equally large ones to a heap sort, which differs between versions: 6.1 begins with the second of two
 * equal nodes. Number the nodes the other way round to compare with it.
 *
 * Control path. Nothing here changes its arguments; any thread.
 */
#ifndef RINGLANE_DRIVER_AFFINITY_H
#define RINGLANE_DRIVER_AFFINITY_H

#include "driver/topology.h"

#include <sched.h>
#include <stdint.h>

#define AFFINITY_QUEUES_MAX \
	65535u /* a map's entry is 16 bits wide, and AFFINITY_NO_QUEUE is one of them */
#define AFFINITY_NO_QUEUE UINT16_MAX

/* How good a spread is. Clusters of one CPU each do not count as such. */
struct affinity_figures {
	unsigned largest, smallest; /* CPUs of a queue */
	unsigned cores;             /* that have SMT siblings */
	unsigned split_cores;       /* whose siblings are in more than one queue */
	unsigned cluster_crossings; /* queues with CPUs of more than one cluster */
	unsigned domain_crossings;  /* of more than one last-level cache */
	unsigned node_crossings;    /* of more than one NUMA node */
	unsigned cpus_without; /* possible CPUs that are in no queue: not allowed, or isolated */
};

/* Independent of the topology it was made from. */
struct affinity_spread {
	unsigned count;        /* queues that have CPUs: at most as many as asked for */
	hwloc_bitmap_t *masks; /* one for each, disjoint, none empty */
	struct affinity_figures figures;
};

struct affinity_options {
	unsigned queues;              /* 1 to AFFINITY_QUEUES_MAX */
	hwloc_const_bitmap_t allowed; /* NULL: what the topology allows */
	bool keep_isolated;           /* isolated CPUs take part, as they do in Linux */
};

/*
 * Possible CPUs that are allowed and not isolated, over options->queues. Result: fewer queues than asked for when there are
 * fewer CPUs. -EINVAL when no CPU is left or queues is out of range, -ENOMEM. *ret_spread is written on success only.
 */
int affinity_spread_evenly(const struct topology *topology, const struct affinity_options *options,
			   struct affinity_spread *ret_spread, struct error *error);
/*
 * A mask for each queue, said by somebody: as it is, isolated CPUs or not. -EINVAL for an empty one, a CPU that cannot be there
 * or one that is in two; -ENOMEM.
 */
int affinity_spread_explicit(const struct topology *topology, const hwloc_const_bitmap_t *masks,
			     unsigned count, struct affinity_spread *ret_spread,
			     struct error *error);
/* Also of one that is all zeroes. */
void affinity_spread_fini(struct affinity_spread *spread);

/* What a spread's figures are made by; called by whoever makes a spread. */
void affinity_figures_fill(const struct topology *topology, struct affinity_spread *spread);

/*
 * queue_of_cpu[0 .. cpu_count-1]: the queue whose mask a CPU is in, and first_queue added. A possible CPU that is in none
 * (isolated, not allowed) submits all the same: it gets the least used queue of its core, else of its cluster, cache,
 * node, machine. A number that is not possible gets one in turn, so that no entry is ever out of range.
 * -ENOMEM.
 */
int affinity_map_fill(const struct topology *topology, const struct affinity_spread *spread,
		      unsigned first_queue, uint16_t *queue_of_cpu, unsigned cpu_count);

/* A queue's mask for sched_setaffinity. -ERANGE when a CPU is beyond what cpu_set_t holds, the others are set all the same. */
int affinity_spread_cpu_set(const struct affinity_spread *spread, unsigned queue,
			    cpu_set_t *ret_set);

#endif
