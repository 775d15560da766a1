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
	unsigned queue_count; /* that CPUs use */
	struct shown_queue *queues;
};

/* ---- asking ---- */

/* That a device has no interrupts is no failure. */
static int queue_read(const struct ringlane_device *device, unsigned index,
		      const struct shown_device *shown, struct error *error)
{
	struct shown_queue *queue = &shown->queues[index];
	int ret = ringlane_interrupt_get(device, index, &queue->interrupt, public_error(error));

	ringlane_spread_cpus(shown->spread, index, queue->cpus, sizeof(queue->cpus));
	queue->has_interrupt = ret == 0;
	return ret == -ENOTSUP ? 0 : ret;
}

static int spread_make(const struct map_options *options, struct shown_device *shown,
		       struct error *error)
{
	const struct ringlane_topology_options machine = { .isolated = options->isolated };
	const struct ringlane_spread_options wanted = { .queues = shown->info.queues,
							.allowed = options->allowed,
							.keep_isolated = options->keep_isolated };
	int ret = ringlane_topology_open(&machine, &shown->topology, public_error(error));

	if (ret == 0)
		ret = ringlane_spread_new(shown->topology, &wanted, &shown->spread,
					  public_error(error));
	if (ret < 0)
		return ret;
	shown->queue_count = ringlane_spread_queue_count(shown->spread, RINGLANE_INTERRUPT_QUEUES);
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

static const struct table_column columns[] = {
	{ "CPU", 1 },    { "node", 1 },      { "queue", 1 },   { "queue's CPUs", 0 },
	{ "vector", 1 }, { "interrupt", 1 }, { "goes to", 0 }, { NULL, 0 },
};

static int add_cpu(struct table *table, const struct shown_device *shown, unsigned cpu)
{
	char number[CELL_MAX], node[CELL_MAX], index[CELL_MAX], vector[CELL_MAX], irq[CELL_MAX];
	const struct shown_queue *queue;
	struct ringlane_cpu place;
	int used;

	if (ringlane_topology_get_cpu(shown->topology, cpu, &place) < 0)
		return 0;
	used = ringlane_spread_queue_of_cpu(shown->spread, RINGLANE_INTERRUPT_QUEUES, cpu);
	queue = &shown->queues[used];
	snprintf(number, sizeof(number), "%u", cpu);
	snprintf(node, sizeof(node), "%d", place.node);
	snprintf(index, sizeof(index), "%d", used);
	snprintf(vector, sizeof(vector), "%u", queue->interrupt.vector);
	snprintf(irq, sizeof(irq), "%d", queue->interrupt.number);
	return table_add(table,
			 (const char *const[]){ number, node, index, queue->cpus,
						queue->has_interrupt ? vector : "-",
						queue->has_interrupt ? irq : "-",
						queue->has_interrupt ? queue->interrupt.cpus :
								       "call eventfd" });
}

static int print_normal(const char *uri, const struct shown_device *shown)
{
	struct table table;
	int ret = 0;

	printf("%s: %u of %u queues\n", uri, shown->info.queues, shown->info.queue_max);
	if (shown->queue_count < shown->info.queues)
		printf("  %u queues have no CPU of their own\n",
		       shown->info.queues - shown->queue_count);
	table_init(&table, columns);
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
		json_t *object = json_pack("{s:i, s:s}", "queue", i, "cpus", queue->cpus);

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
		if (ringlane_topology_get_cpu(shown->topology, cpu, &place) < 0)
			continue;
		json_array_append_new(
			cpus, json_pack("{s:i, s:i, s:i}", "cpu", cpu, "node", place.node, "queue",
					ringlane_spread_queue_of_cpu(
						shown->spread, RINGLANE_INTERRUPT_QUEUES, cpu)));
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
