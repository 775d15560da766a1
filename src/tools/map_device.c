// SPDX-License-Identifier: MIT
/*
 * `ringlane map URI`: opens a device, spreads its queues over this machine's CPUs as the managed mode does, and shows which CPU
 * uses which queue and where that queue's interrupt goes now. Nothing is read, written or moved. The main thread.
 */
#include "tools/map.h"
#include "tools/map_table.h"
#include "tools/tools.h"

#include <errno.h>
#include <jansson.h>
#include <ringlane/affinity.h>
#include <stdio.h>
#include <stdlib.h>

#define CELL_MAX 32
#define LIST_MAX 256

struct shown_queue {
	char cpus[LIST_MAX]; /* that it is for */
	bool has_interrupt;
	struct ringlane_interrupt interrupt;
};

struct shown_device {
	struct ringlane_info info;
	struct ringlane_topology *topology;
	struct ringlane_spread *spread;
	unsigned queue_count, interrupt_count; /* that CPUs use: the poll queues come last */
	unsigned poll_first;                   /* of the device's queues */
	struct shown_queue *queues;
};

/* ---- asking ---- */

/* That a device has no interrupts is no failure. */
static int queue_read(const struct ringlane_device *device, unsigned index,
		      const struct shown_device *shown, struct error *error)
{
	struct shown_queue *queue = &shown->queues[index];
	int ret;

	ringlane_spread_cpus(shown->spread, index, queue->cpus, sizeof(queue->cpus));
	if (index >= shown->interrupt_count)
		return 0;
	ret = ringlane_interrupt_get(device, index, &queue->interrupt, public_error(error));
	queue->has_interrupt = ret == 0;
	return ret == -ENOTSUP ? 0 : ret;
}

static int spread_make(const struct map_options *options, struct shown_device *shown,
		       struct error *error)
{
	const struct ringlane_topology_options machine = { .isolated = options->isolated };
	const struct ringlane_spread_options wanted = { .queues = shown->info.queues,
							.poll_queues =
								(unsigned)options->poll_queues,
							.allowed = options->allowed,
							.keep_isolated = options->keep_isolated };
	int ret = ringlane_topology_open(&machine, &shown->topology, public_error(error));

	if (ret == 0)
		ret = ringlane_spread_new(shown->topology, &wanted, &shown->spread,
					  public_error(error));
	if (ret < 0)
		return ret;
	shown->interrupt_count =
		ringlane_spread_queue_count(shown->spread, RINGLANE_INTERRUPT_QUEUES);
	shown->queue_count = shown->interrupt_count +
			     ringlane_spread_queue_count(shown->spread, RINGLANE_POLL_QUEUES);
	shown->poll_first = shown->info.queues - (unsigned)options->poll_queues;
	shown->queues = calloc(shown->queue_count, sizeof(shown->queues[0]));
	return shown->queues ? 0 : error_set(error, -ENOMEM, "out of memory");
}

static int device_read(const char *uri, const struct map_options *options,
		       struct shown_device *shown, struct error *error)
{
	const struct ringlane_options open_options = { .queues = (unsigned)options->queues };
	struct ringlane_device *device;
	int ret = ringlane_open(uri, &open_options, &device, public_error(error));

	if (ret < 0)
		return ret;
	ringlane_get_info(device, &shown->info);
	ret = spread_make(options, shown, error);
	for (unsigned i = 0; i < shown->queue_count && ret == 0; i++)
		ret = queue_read(device, i, shown, error);
	ringlane_close(device);
	return ret;
}

static void shown_fini(struct shown_device *shown)
{
	ringlane_spread_free(shown->spread);
	ringlane_topology_close(shown->topology);
	free(shown->queues);
}

/* ---- telling ---- */

/* The device's number of a queue of the spread, which leaves out those without CPUs. */
static int queue_number(const struct shown_device *shown, unsigned index)
{
	return (int)(index < shown->interrupt_count ?
			     index :
			     index - shown->interrupt_count + shown->poll_first);
}

static const struct table_column columns[] = {
	{ "CPU", 1 },          { "node", 1 },       { "queue", 1 },
	{ "queue's CPUs", 0 }, { "vector", 1 },     { "interrupt", 1 },
	{ "goes to", 0 },      { "poll queue", 1 }, { "poll queue's CPUs", 0 },
	{ NULL, 0 },
};

/* Those of poll queues are left out where there are none. */
static const struct table_column columns_no_poll[] = {
	{ "CPU", 1 },    { "node", 1 },      { "queue", 1 },   { "queue's CPUs", 0 },
	{ "vector", 1 }, { "interrupt", 1 }, { "goes to", 0 }, { NULL, 0 },
};

static int add_cpu(struct table *table, const struct shown_device *shown, unsigned cpu)
{
	char number[CELL_MAX], node[CELL_MAX], index[CELL_MAX], vector[CELL_MAX], irq[CELL_MAX];
	char poll[CELL_MAX];
	const struct shown_queue *queue;
	struct ringlane_cpu place;
	int used, polled;

	if (ringlane_topology_get_cpu(shown->topology, cpu, &place) < 0)
		return 0;
	used = ringlane_spread_queue_of_cpu(shown->spread, RINGLANE_INTERRUPT_QUEUES, cpu);
	queue = &shown->queues[used];
	snprintf(number, sizeof(number), "%u", cpu);
	snprintf(node, sizeof(node), "%d", place.node);
	snprintf(index, sizeof(index), "%d", used);
	snprintf(vector, sizeof(vector), "%u", queue->interrupt.vector);
	snprintf(irq, sizeof(irq), "%d", queue->interrupt.number);
	polled = ringlane_spread_queue_of_cpu(shown->spread, RINGLANE_POLL_QUEUES, cpu);
	snprintf(poll, sizeof(poll), "%d", polled < 0 ? polled : queue_number(shown, polled));
	return table_add(table,
			 (const char *const[]){
				 number, node, index, queue->cpus,
				 queue->has_interrupt ? vector : "-",
				 queue->has_interrupt ? irq : "-",
				 queue->has_interrupt ? queue->interrupt.cpus : "call eventfd",
				 poll, polled < 0 ? "" : shown->queues[polled].cpus });
}

static int print_normal(const char *uri, const struct shown_device *shown)
{
	struct table table;
	int ret = 0;

	printf("%s: %u of %u queues\n", uri, shown->info.queues, shown->info.queue_max);
	if (shown->queue_count < shown->info.queues)
		printf("  %u queues have no CPU of their own\n",
		       shown->info.queues - shown->queue_count);
	table_init(&table, shown->queue_count > shown->interrupt_count ? columns : columns_no_poll);
	for (unsigned cpu = 0; cpu < ringlane_topology_cpu_count(shown->topology) && ret == 0;
	     cpu++)
		ret = add_cpu(&table, shown, cpu);
	table_print(&table, stdout);
	table_fini(&table);
	return ret;
}

static json_t *queues_json(const struct shown_device *shown)
{
	json_t *queues = json_array();

	for (unsigned i = 0; i < shown->queue_count; i++) {
		const struct shown_queue *queue = &shown->queues[i];
		json_t *object = json_pack("{s:i, s:s}", "queue", queue_number(shown, i), "cpus",
					   queue->cpus);

		if (i >= shown->interrupt_count)
			json_object_set_new(object, "class", json_string("poll"));
		if (queue->has_interrupt) {
			json_object_set_new(object, "vector",
					    json_integer(queue->interrupt.vector));
			json_object_set_new(object, "interrupt",
					    json_integer(queue->interrupt.number));
			json_object_set_new(object, "interrupt-cpus",
					    json_string(queue->interrupt.cpus));
		}
		json_array_append_new(queues, object);
	}
	return queues;
}

static json_t *cpus_json(const struct shown_device *shown)
{
	json_t *cpus = json_array();
	struct ringlane_cpu place;

	for (unsigned cpu = 0; cpu < ringlane_topology_cpu_count(shown->topology); cpu++) {
		int queue, poll;
		json_t *object;

		if (ringlane_topology_get_cpu(shown->topology, cpu, &place) < 0)
			continue;
		queue = ringlane_spread_queue_of_cpu(shown->spread, RINGLANE_INTERRUPT_QUEUES, cpu);
		poll = ringlane_spread_queue_of_cpu(shown->spread, RINGLANE_POLL_QUEUES, cpu);
		object = json_pack("{s:i, s:i, s:i}", "cpu", cpu, "node", place.node, "queue",
				   queue);
		if (poll >= 0)
			json_object_set_new(object, "poll-queue",
					    json_integer(queue_number(shown, (unsigned)poll)));
		json_array_append_new(cpus, object);
	}
	return cpus;
}

static int print_json(const struct shown_device *shown)
{
	json_t *map =
		json_pack("{s:o, s:o}", "queues", queues_json(shown), "cpus", cpus_json(shown));
	int ret = map ? json_dumpf(map, stdout, JSON_INDENT(2)) : -1;

	json_decref(map);
	putchar('\n');
	return ret < 0 ? -EIO : 0;
}

int map_device(const char *uri, const struct map_options *options, struct error *error)
{
	struct shown_device shown = { 0 };
	int ret = device_read(uri, options, &shown, error);

	if (ret == 0) {
		ret = options->format == MAP_JSON ? print_json(&shown) : print_normal(uri, &shown);
		if (ret < 0)
			error_set(error, ret, "cannot write");
	}
	shown_fini(&shown);
	return ret;
}
