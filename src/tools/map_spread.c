// SPDX-License-Identifier: MIT
/* `ringlane map --topology`: how queues spread over the CPUs of a machine, for a person or for a comparison. The main thread. */
#include "tools/map.h"
#include "tools/map_table.h"
#include "tools/tools.h"

#include <errno.h>
#include <jansson.h>
#include <ringlane/affinity.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 64
#define NOTE_MAX 128
#define SEPARATOR '/'

/* ---- what is asked for ---- */

static int out_of_memory(struct error *error)
{
	return error_set(error, -ENOMEM, "out of memory");
}

static unsigned count_lists(const char *text)
{
	unsigned count = 1;

	for (; *text; text++)
		count += *text == SEPARATOR;
	return count;
}

/* "0-1/2-3" becomes two texts inside of copy. */
static void lists_split(char *copy, const char **lists)
{
	for (unsigned count = 0; copy; count++) {
		char *separator = strchr(copy, SEPARATOR);

		lists[count] = copy;
		if (separator)
			*separator++ = '\0';
		copy = separator;
	}
}

static int spread_new_from_lists(const struct map_options *options,
				 const struct ringlane_topology *topology,
				 struct ringlane_spread_options *wanted,
				 struct ringlane_spread **ret_spread, struct error *error)
{
	unsigned count = count_lists(options->queue_cpus);
	const char **lists = calloc(count, sizeof(*lists));
	char *copy = strdup(options->queue_cpus);
	int ret;

	if (wanted->queues && wanted->queues != count) {
		ret = error_set(error, -EINVAL, "%u queues, but CPU lists for %u", wanted->queues,
				count);
	} else if (!lists || !copy) {
		ret = out_of_memory(error);
	} else {
		lists_split(copy, lists);
		wanted->queues = count;
		wanted->cpus = lists;
		ret = ringlane_spread_new(topology, wanted, ret_spread, public_error(error));
	}
	free(lists);
	free(copy);
	return ret;
}

static int spread_new(const struct map_options *options, const struct ringlane_topology *topology,
		      struct ringlane_spread **ret_spread, struct error *error)
{
	struct ringlane_spread_options wanted = { .queues = (unsigned)options->queues,
						  .poll_queues = (unsigned)options->poll_queues,
						  .allowed = options->allowed,
						  .poll_allowed = options->poll_allowed,
						  .keep_isolated = options->keep_isolated };

	if (options->queue_cpus)
		return spread_new_from_lists(options, topology, &wanted, ret_spread, error);
	return ringlane_spread_new(topology, &wanted, ret_spread, public_error(error));
}

/* ---- cells ---- */

static unsigned count_queues(const struct ringlane_spread *spread)
{
	return ringlane_spread_queue_count(spread, RINGLANE_INTERRUPT_QUEUES) +
	       ringlane_spread_queue_count(spread, RINGLANE_POLL_QUEUES);
}

static bool queue_is_polled(const struct ringlane_spread *spread, unsigned queue)
{
	return queue >= ringlane_spread_queue_count(spread, RINGLANE_INTERRUPT_QUEUES);
}

/* NULL: no memory. */
static char *queue_cpus(const struct ringlane_spread *spread, unsigned queue)
{
	int length = ringlane_spread_cpus(spread, queue, NULL, 0);
	char *text = length < 0 ? NULL : malloc((size_t)length + 1);

	if (text)
		ringlane_spread_cpus(spread, queue, text, (size_t)length + 1);
	return text;
}

/* Is a CPU in the mask of the queue that it uses? Others are guests there. */
static bool text_has_cpu(const char *list, unsigned cpu)
{
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (cpu >= first && cpu <= last)
			return true;
		list = *end ? end + 1 : end;
	}
	return false;
}

static const char *number(int value, char *text)
{
	if (value < 0)
		return "-";
	snprintf(text, CELL_MAX, "%d", value);
	return text;
}

static void note_add(char *note, const char *word)
{
	size_t used = strlen(note);

	snprintf(note + used, NOTE_MAX - used, "%s%s", used ? ", " : "", word);
}

static void note_fill(const struct ringlane_cpu *cpu, bool is_guest, char *note)
{
	note[0] = '\0';
	if (!cpu->present)
		note_add(note, "not present");
	if (!cpu->allowed)
		note_add(note, "not allowed");
	if (cpu->isolated)
		note_add(note, "isolated");
	if (is_guest)
		note_add(note, "in no queue's CPUs");
}

/* ---- for a person ---- */

static const struct table_column queue_columns[] = {
	{ "queue", 1 },
	{ "class", 0 },
	{ "CPUs", 0 },
	{ NULL, 0 },
};

/* The column of poll queues is left out where there are none. */
static const struct table_column cpu_columns[] = {
	{ "CPU", 1 },   { "node", 1 },       { "cluster", 1 }, { "core", 1 }, { "cache", 1 },
	{ "queue", 1 }, { "poll queue", 1 }, { "", 0 },        { NULL, 0 },
};
static const struct table_column cpu_columns_no_poll[] = {
	{ "CPU", 1 },   { "node", 1 },  { "cluster", 1 }, { "core", 1 },
	{ "cache", 1 }, { "queue", 1 }, { "", 0 },        { NULL, 0 },
};

static int print_queues(const struct ringlane_spread *spread)
{
	unsigned count = count_queues(spread);
	struct table table;
	int ret = 0;

	table_init(&table, queue_columns);
	for (unsigned queue = 0; queue < count && ret == 0; queue++) {
		char *cpus = queue_cpus(spread, queue), index[CELL_MAX];
		const char *cells[] = { number((int)queue, index),
					queue_is_polled(spread, queue) ? "poll" : "interrupt",
					cpus };

		ret = cpus ? table_add(&table, cells) : -ENOMEM;
		free(cpus);
	}
	if (ret == 0)
		table_print(&table, stdout);
	table_fini(&table);
	return ret;
}

static int add_cpu(struct table *table, const struct ringlane_topology *topology,
		   const struct ringlane_spread *spread, unsigned cpu)
{
	char texts[7][CELL_MAX], note[NOTE_MAX], *cpus;
	struct ringlane_cpu place;
	int queue, poll_queue;

	if (ringlane_topology_get_cpu(topology, cpu, &place) < 0)
		return 0;
	queue = ringlane_spread_queue_of_cpu(spread, RINGLANE_INTERRUPT_QUEUES, cpu);
	poll_queue = ringlane_spread_queue_of_cpu(spread, RINGLANE_POLL_QUEUES, cpu);
	cpus = queue_cpus(spread, (unsigned)queue);
	if (!cpus)
		return -ENOMEM;
	note_fill(&place, !text_has_cpu(cpus, cpu), note);
	free(cpus);
	return table_add(table,
			 (const char *const[]){
				 number((int)cpu, texts[0]), number(place.node, texts[1]),
				 number(place.cluster, texts[2]), number(place.core, texts[3]),
				 number(place.cache, texts[4]), number(queue, texts[5]),
				 poll_queue < 0 ? note : number(poll_queue, texts[6]), note });
}

static int print_cpus(const struct ringlane_topology *topology,
		      const struct ringlane_spread *spread)
{
	struct table table;
	int ret = 0;

	table_init(&table, ringlane_spread_queue_count(spread, RINGLANE_POLL_QUEUES) ?
				   cpu_columns :
				   cpu_columns_no_poll);
	for (unsigned cpu = 0; cpu < ringlane_topology_cpu_count(topology) && ret == 0; cpu++)
		ret = add_cpu(&table, topology, spread, cpu);
	if (ret == 0)
		table_print(&table, stdout);
	table_fini(&table);
	return ret;
}

static void print_figures(const struct ringlane_spread *spread, enum ringlane_queue_class class,
			  const char *name)
{
	struct ringlane_spread_figures figures;

	if (ringlane_spread_queue_count(spread, class) == 0)
		return;
	ringlane_spread_get_figures(spread, class, &figures);
	printf("%s\n"
	       "  CPUs of a queue: largest %u, smallest %u\n"
	       "  cores with split siblings: %u of %u\n"
	       "  queues across clusters: %u, caches: %u, nodes: %u\n"
	       "  CPUs in no queue: %u\n",
	       name, figures.largest, figures.smallest, figures.split_cores, figures.cores,
	       figures.cluster_crossings, figures.cache_crossings, figures.node_crossings,
	       figures.cpus_without);
}

static int print_normal(const struct map_options *options, const struct ringlane_topology *topology,
			const struct ringlane_spread *spread)
{
	unsigned count = count_queues(spread);
	int ret;

	printf("queues: %u", count);
	if (options->queues > count)
		printf(" (%u asked for: the others would have no CPU)", (unsigned)options->queues);
	putchar('\n');
	ret = print_queues(spread);
	puts("\nCPUs");
	if (ret == 0)
		ret = print_cpus(topology, spread);
	putchar('\n');
	print_figures(spread, RINGLANE_INTERRUPT_QUEUES, "figures");
	print_figures(spread, RINGLANE_POLL_QUEUES, "figures of the poll queues");
	return ret;
}

/* ---- for programs ---- */

static int print_masks(const struct ringlane_spread *spread)
{
	unsigned count = count_queues(spread);

	for (unsigned queue = 0; queue < count; queue++) {
		char *cpus = queue_cpus(spread, queue);

		if (!cpus)
			return -ENOMEM;
		puts(cpus);
		free(cpus);
	}
	return 0;
}

static json_t *figures_json(const struct ringlane_spread *spread, enum ringlane_queue_class class)
{
	struct ringlane_spread_figures figures;

	ringlane_spread_get_figures(spread, class, &figures);
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "largest", figures.largest,
			 "smallest", figures.smallest, "cores", figures.cores, "split-cores",
			 figures.split_cores, "cluster-crossings", figures.cluster_crossings,
			 "cache-crossings", figures.cache_crossings, "node-crossings",
			 figures.node_crossings, "cpus-without", figures.cpus_without);
}

static json_t *queues_json(const struct ringlane_spread *spread)
{
	unsigned count = count_queues(spread);
	json_t *queues = json_array();

	for (unsigned queue = 0; queue < count; queue++) {
		char *cpus = queue_cpus(spread, queue);

		json_array_append_new(
			queues, json_pack("{s:i, s:s, s:s}", "queue", queue, "class",
					  queue_is_polled(spread, queue) ? "poll" : "interrupt",
					  "cpus", cpus ? cpus : ""));
		free(cpus);
	}
	return queues;
}

static void json_add_number(json_t *object, const char *name, int value)
{
	if (value >= 0)
		json_object_set_new(object, name, json_integer(value));
}

static json_t *cpus_json(const struct ringlane_topology *topology,
			 const struct ringlane_spread *spread)
{
	json_t *cpus = json_array();

	for (unsigned cpu = 0; cpu < ringlane_topology_cpu_count(topology); cpu++) {
		struct ringlane_cpu place;
		json_t *object;

		if (ringlane_topology_get_cpu(topology, cpu, &place) < 0)
			continue;
		object = json_pack("{s:i, s:b, s:b, s:b}", "cpu", cpu, "present", place.present,
				   "allowed", place.allowed, "isolated", place.isolated);
		json_add_number(object, "node", place.node);
		json_add_number(object, "cluster", place.cluster);
		json_add_number(object, "core", place.core);
		json_add_number(object, "cache", place.cache);
		json_add_number(object, "queue",
				ringlane_spread_queue_of_cpu(spread, RINGLANE_INTERRUPT_QUEUES,
							     cpu));
		json_add_number(object, "poll-queue",
				ringlane_spread_queue_of_cpu(spread, RINGLANE_POLL_QUEUES, cpu));
		json_array_append_new(cpus, object);
	}
	return cpus;
}

static int print_json(const struct ringlane_topology *topology,
		      const struct ringlane_spread *spread)
{
	json_t *map = json_pack("{s:o, s:o, s:o}", "queues", queues_json(spread), "cpus",
				cpus_json(topology, spread), "figures",
				figures_json(spread, RINGLANE_INTERRUPT_QUEUES));
	int ret;

	if (!map)
		return -ENOMEM;
	if (ringlane_spread_queue_count(spread, RINGLANE_POLL_QUEUES))
		json_object_set_new(map, "poll-figures",
				    figures_json(spread, RINGLANE_POLL_QUEUES));
	ret = json_dumpf(map, stdout, JSON_INDENT(2));
	json_decref(map);
	putchar('\n');
	return ret < 0 ? -EIO : 0;
}

/* ---- all of it ---- */

static int print_spread(const struct map_options *options, const struct ringlane_topology *topology,
			const struct ringlane_spread *spread, struct error *error)
{
	int ret;

	switch (options->format) {
	case MAP_MASKS:
		ret = print_masks(spread);
		break;
	case MAP_JSON:
		ret = print_json(topology, spread);
		break;
	default:
		ret = print_normal(options, topology, spread);
	}
	return ret < 0 ? error_set(error, ret, "cannot write") : 0;
}

int map_spread(const struct map_options *options, struct error *error)
{
	struct ringlane_topology *topology;
	struct ringlane_spread *spread;
	int ret = ringlane_topology_open(
		&(struct ringlane_topology_options){ .description = options->topology,
						     .possible = options->possible,
						     .present = options->present,
						     .isolated = options->isolated },
		&topology, public_error(error));

	if (ret < 0)
		return ret;
	ret = spread_new(options, topology, &spread, error);
	if (ret == 0) {
		ret = print_spread(options, topology, spread, error);
		ringlane_spread_free(spread);
	}
	ringlane_topology_close(topology);
	return ret;
}
