// SPDX-License-Identifier: MIT
/*
 * Which CPUs the queues of a managed device are for (affinity.h): the map that steering goes by, and where reapers run. On
 * the thread that starts the device.
 *
 * A reaper runs on the CPUs of all its queues together. That it cannot be put there (its CPUs are away) is no error: it
 * runs wherever it may.
 *
 * System calls: sched_getaffinity, sched_setaffinity.
 */
#include "driver/managed.h"

#include "base/cpu_list.h"
#include "driver/interrupts.h"
#include "driver/reaper.h"
#include "driver/spread.h"

#include <errno.h>
#include <stdlib.h>

/* Those of the options that the process may use. */
static int cpus_allowed(const struct ringlane_managed_options *options, cpu_set_t *ret_set,
			struct error *error)
{
	cpu_set_t mine, wanted;
	int ret;

	if (sched_getaffinity(0, sizeof(mine), &mine) < 0)
		return error_set(error, -errno, "sched_getaffinity: %s", strerrordesc_np(errno));
	*ret_set = mine;
	if (!options->cpus)
		return 0;
	ret = cpu_list_parse(options->cpus, &wanted, error);
	if (ret < 0)
		return ret;
	CPU_AND(ret_set, &mine, &wanted);
	if (!CPU_COUNT(ret_set))
		return error_set(error, -EINVAL, "the process may use none of the CPUs %s",
				 options->cpus);
	return 0;
}

static hwloc_bitmap_t bitmap_of(const cpu_set_t *set)
{
	hwloc_bitmap_t bitmap = hwloc_bitmap_alloc();

	for (unsigned cpu = 0; bitmap && cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, set))
			hwloc_bitmap_set(bitmap, cpu);
	return bitmap;
}

static int spread_make(const struct ringlane_managed *managed, struct managed_class *class,
		       struct error *error)
{
	const char *const *lists = managed->options.queue_cpus;
	struct affinity_options options = { .queues = class->count };
	cpu_set_t allowed;
	hwloc_bitmap_t bitmap;
	int ret = cpus_allowed(&managed->options, &allowed, error);

	if (ret < 0)
		return ret;
	if (lists)
		return spread_by_lists(&managed->topology, lists + class->first, class->count,
				       &class->spread, error);
	bitmap = bitmap_of(&allowed);
	if (!bitmap)
		return error_set(error, -ENOMEM, "out of memory");
	options.allowed = bitmap;
	ret = affinity_spread_evenly(&managed->topology, &options, &class->spread, error);
	hwloc_bitmap_free(bitmap);
	return ret;
}

/* Which queues share a cache: the domain of the first CPU of each. */
static void domains_fill(const struct topology *topology, const struct affinity_spread *spread,
			 uint16_t *domain_of_queue)
{
	for (unsigned i = 0; i < spread->count; i++) {
		int cpu = hwloc_bitmap_first(spread->masks[i]);
		int domain = topology->cpus[cpu].domain;

		domain_of_queue[i] = (uint16_t)MAX(domain, 0);
	}
}

static int steering_make(struct ringlane_managed *managed, struct managed_class *class,
			 const struct steer_policy *policy, uint16_t *queue_of_cpu,
			 uint16_t *domain_of_queue)
{
	const struct steering_config config = {
		.policy = policy,
		.queue_count = class->count,
		.map = { queue_of_cpu, managed->topology.cpu_count, domain_of_queue },
		.limits = { .away_ns = managed->options.move_ns,
			    .hold_ns = managed->options.hold_ns },
	};
	int ret = affinity_map_fill(&managed->topology, &class->spread, 0, queue_of_cpu,
				    managed->topology.cpu_count);

	if (ret < 0)
		return ret;
	domains_fill(&managed->topology, &class->spread, domain_of_queue);
	ret = steering_init(&class->steering, &config);
	for (unsigned i = 0; ret == 0 && i < class->count; i++)
		managed->queues[class->first + i].gate = steering_gate(&class->steering, i);
	return ret;
}

static int class_init(struct ringlane_managed *managed, struct managed_class *class,
		      const struct steer_policy *policy, struct error *error)
{
	uint16_t *queue_of_cpu, *domain_of_queue;
	int ret = spread_make(managed, class, error);

	if (ret < 0)
		return ret;
	queue_of_cpu = calloc(managed->topology.cpu_count, sizeof(*queue_of_cpu));
	domain_of_queue = calloc(class->count, sizeof(*domain_of_queue));
	ret = -ENOMEM;
	if (queue_of_cpu && domain_of_queue)
		ret = steering_make(managed, class, policy, queue_of_cpu, domain_of_queue);
	free(queue_of_cpu);
	free(domain_of_queue);
	return ret < 0 ? error_set(error, ret, "out of memory") : 0;
}

/* Polled requests go to the queue of their CPU, as the kernel's do, whatever the policy of the others is. */
int managed_steering_init(struct ringlane_managed *managed, const struct steer_policy *policy,
			  struct error *error)
{
	const struct topology_options this_machine = { 0 };
	struct managed_class *classes = managed->classes;
	int ret = topology_open(&this_machine, &managed->topology, error);

	if (ret == 0)
		ret = class_init(managed, &classes[RINGLANE_INTERRUPT_QUEUES], policy, error);
	if (ret == 0 && classes[RINGLANE_POLL_QUEUES].count)
		ret = class_init(managed, &classes[RINGLANE_POLL_QUEUES], &steer_policy_per_cpu,
				 error);
	return ret;
}

void managed_interrupts_place(struct ringlane_managed *managed)
{
	enum ringlane_interrupt_mode mode = managed->options.interrupts;

	if (mode != RINGLANE_INTERRUPTS_LEAVE)
		interrupts_place(managed->device,
				 &managed->classes[RINGLANE_INTERRUPT_QUEUES].spread,
				 interrupts_mode(mode), NULL, NULL);
}

void managed_steering_fini(struct ringlane_managed *managed)
{
	for (unsigned i = 0; i < ARRAY_SIZE(managed->classes); i++) {
		if (managed->classes[i].steering.gates)
			steering_fini(&managed->classes[i].steering);
		affinity_spread_fini(&managed->classes[i].spread);
	}
	topology_fini(&managed->topology);
}

unsigned managed_cpu_count(const struct ringlane_managed_options *options)
{
	cpu_set_t set;

	return cpus_allowed(options, &set, NULL) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

bool managed_queue_cpus(const struct managed_queue *mq, cpu_set_t *ret_set)
{
	const struct ringlane_managed *managed = mq->managed;
	const struct managed_class *class = &managed->classes[managed_class_of(managed, mq->index)];

	if (mq->index - class->first >= class->spread.count)
		return false;
	affinity_spread_cpu_set(&class->spread, mq->index - class->first, ret_set);
	return true;
}

/* Poll queues do not count: it seldom does anything for them. */
static void reaper_cpus(const struct ringlane_managed *managed, unsigned reaper, cpu_set_t *ret_set)
{
	cpu_set_t mask;

	CPU_ZERO(ret_set);
	for (unsigned i = 0; i < managed->classes[RINGLANE_INTERRUPT_QUEUES].count; i++) {
		const struct managed_queue *mq = &managed->queues[i];

		if (mq->reaper->index == reaper && managed_queue_cpus(mq, &mask))
			CPU_OR(ret_set, ret_set, &mask);
	}
}

void managed_pin(const struct ringlane_managed *managed, unsigned reaper, pthread_t thread)
{
	cpu_set_t set;

	reaper_cpus(managed, reaper, &set);
	if (CPU_COUNT(&set))
		pthread_setaffinity_np(thread, sizeof(set), &set);
}

void managed_pin_left(const struct ringlane_managed *managed, unsigned reaper,
		      const cpu_set_t *left)
{
	const struct reaper *it = &managed->reapers[reaper];
	cpu_set_t own;

	reaper_cpus(managed, reaper, &own);
	if (!CPU_COUNT(&own) || !it->started)
		return;
	CPU_AND(&own, &own, left);
	pthread_setaffinity_np(it->thread, sizeof(own), CPU_COUNT(&own) ? &own : left);
}
