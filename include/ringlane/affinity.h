/* SPDX-License-Identifier: MIT */
/**
 * libringlane: which CPUs each queue of a device is for.
 *
 * A spread gives each queue a set of CPUs, by the rule of Linux's own drivers (group_cpus_evenly): NUMA nodes in proportion,
 * then clusters, SMT siblings together; CPUs that are there before those that may come. It is what a thread that serves a
 * queue is pinned to, where a queue's interrupt goes, and which queue a submitter on some CPU should use.
 *
 *     struct ringlane_topology *machine;
 *     struct ringlane_spread *spread;
 *     struct ringlane_error error;
 *     char cpus[256];
 *
 *     ringlane_topology_open(NULL, &machine, &error);
 *     ringlane_spread_new(machine, &(struct ringlane_spread_options){ .queues = 4 }, &spread, &error);
 *     ringlane_spread_cpus(spread, 0, cpus, sizeof(cpus));
 *
 * CPUs have the operating system's numbers, which may have holes. Lists of them are text as the kernel writes it: "0-3,8".
 * None of these objects needs a device. They do not change once made: any number of threads may read one.
 */
#ifndef RINGLANE_AFFINITY_H
#define RINGLANE_AFFINITY_H

#include <ringlane/ringlane.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- machines ---- */

struct ringlane_topology;

/** Lists may be NULL: what the description, or the system, says. */
struct ringlane_topology_options {
	const char *
		description; /* hwloc's synthetic syntax, "numa:2 core:4 pu:2"; NULL: this machine */
	const char *possible; /* of a description: the only CPUs that it has */
	const char *present;  /* of a description: those that are there, the others may come */
	const char *isolated; /* those that no queue shall use (isolcpus=) */
};

/**
 * options may be NULL. hwloc numbers the CPUs of a description core by core; `pu:2(indexes=0,4,1,5,...)` says otherwise.
 *
 * Returns 0; -EINVAL or -ERANGE a description or list that makes no sense; -ENOMEM; -EIO and other -errno when this machine
 * does not tell what it is.
 */
RINGLANE_API int ringlane_topology_open(const struct ringlane_topology_options *options,
					struct ringlane_topology **ret_topology,
					struct ringlane_error *error);
/** Spreads that were made from it stay. NULL is fine. */
RINGLANE_API void ringlane_topology_close(struct ringlane_topology *topology);
/** CPU numbers are below. */
RINGLANE_API unsigned ringlane_topology_cpu_count(const struct ringlane_topology *topology);

/** Nodes have the system's numbers; the others are counted from 0. -1: not told. */
struct ringlane_cpu {
	int node, cluster, core, cache; /* cache: the last level */
	bool present, allowed, isolated;
};

/** -ENOENT when no such CPU is possible. */
RINGLANE_API int ringlane_topology_get_cpu(const struct ringlane_topology *topology, unsigned cpu,
					   struct ringlane_cpu *ret_cpu);

/* ---- spreads ---- */

struct ringlane_spread;

struct ringlane_spread_options {
	unsigned queues; /* altogether, up to 65535; 0: one for each CPU, and poll_queues */
	unsigned poll_queues; /* how many of them, the last ones, have no interrupt: a spread of their own */
	const char
		*allowed; /* CPUs that may be used; NULL: what the process's control group allows */
	const char *poll_allowed; /* the same for the poll queues; NULL: as allowed */
	const char *const
		*cpus;      /* a list for each of `queues`, instead of the rule; NULL: the rule */
	bool keep_isolated; /* isolated CPUs are used, as Linux does */
};

/**
 * Returns 0; -EINVAL no CPU is left, queues or lists that make no sense; -ERANGE; -ENOMEM. There are fewer queues than asked
 * for when there are fewer CPUs: ask ringlane_spread_queue_count.
 */
RINGLANE_API int ringlane_spread_new(const struct ringlane_topology *topology,
				     const struct ringlane_spread_options *options,
				     struct ringlane_spread **ret_spread,
				     struct ringlane_error *error);
/** NULL is fine. */
RINGLANE_API void ringlane_spread_free(struct ringlane_spread *spread);

enum ringlane_queue_class {
	RINGLANE_INTERRUPT_QUEUES, /* from 0 on */
	RINGLANE_POLL_QUEUES,      /* after them */
};

/** Queues of a class that have CPUs. */
RINGLANE_API unsigned ringlane_spread_queue_count(const struct ringlane_spread *spread,
						  enum ringlane_queue_class queue_class);
/**
 * The list of a queue's CPUs; queues of both classes are counted through. As snprintf: returns the length, and cuts what does
 * not fit. -ENOENT: there is no such queue.
 */
RINGLANE_API int ringlane_spread_cpus(const struct ringlane_spread *spread, unsigned queue,
				      char *text, size_t size);
/**
 * The queue that a submitter on a CPU should use: the one the CPU is in, else the least used one that is near. -ENOENT: there
 * is no queue of that class.
 */
RINGLANE_API int ringlane_spread_queue_of_cpu(const struct ringlane_spread *spread,
					      enum ringlane_queue_class queue_class, unsigned cpu);

/** How good a spread is. */
struct ringlane_spread_figures {
	unsigned largest, smallest;  /* CPUs of a queue */
	unsigned cores, split_cores; /* with SMT; and with siblings in more than one queue */
	unsigned cluster_crossings;  /* queues with CPUs of more than one cluster */
	unsigned cache_crossings;    /* of more than one last-level cache */
	unsigned node_crossings;     /* of more than one node */
	unsigned cpus_without;       /* CPUs that are in no queue */
};

/** All 0 when there is no queue of that class. */
RINGLANE_API void ringlane_spread_get_figures(const struct ringlane_spread *spread,
					      enum ringlane_queue_class queue_class,
					      struct ringlane_spread_figures *ret_figures);

/* ---- interrupts ---- */

/*
 * Of devices over VFIO; those over vhost-user call by event fds, and all functions say -ENOTSUP. On the thread that owns the
 * device. Placing takes root's rights.
 */

/** What is done when somebody else moves an interrupt: a person, irqbalance. */
enum ringlane_interrupt_mode {
	RINGLANE_INTERRUPTS_MANAGED, /* it is put back */
	RINGLANE_INTERRUPTS_HINT,    /* it is left there for good */
	RINGLANE_INTERRUPTS_LEAVE,   /* nothing is placed at all */
};

/**
 * Sends the interrupt of each queue to the CPUs that the spread has for it (queues that share a vector: to those of all of them).
 * One whose CPUs are all offline stays where it is until ringlane_interrupts_verify finds one online.
 *
 * Returns 0, or the first failure, with the others placed: -EPERM the kernel does not let anybody, -EACCES not root, -ENOENT
 * the interrupt is not there.
 */
RINGLANE_API int ringlane_interrupts_place(struct ringlane_device *device,
					   const struct ringlane_spread *spread,
					   enum ringlane_interrupt_mode mode,
					   struct ringlane_error *error);
/**
 * Looks again, as it should be done now and then, when CPUs come or go, and after the device was reset: interrupts get other
 * numbers, the kernel moves one whose last CPU goes, and does not move it back.
 *
 * Returns how many were not where they should be, put right or not; or as ringlane_interrupts_place; 0 when nobody placed any.
 */
RINGLANE_API int ringlane_interrupts_verify(struct ringlane_device *device,
					    struct ringlane_error *error);

struct ringlane_interrupt {
	unsigned vector; /* of the device */
	int number;      /* the kernel's, as in /proc/interrupts */
	char cpus[256];  /* where it may go: smp_affinity_list */
};

/** The interrupt of a queue, as it is now. -ENOENT: there is no such queue, or interrupt. */
RINGLANE_API int ringlane_interrupt_get(const struct ringlane_device *device, unsigned queue,
					struct ringlane_interrupt *ret_interrupt,
					struct ringlane_error *error);

#ifdef __cplusplus
}
#endif

#endif
