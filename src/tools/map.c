// SPDX-License-Identifier: MIT
/*
 * `ringlane map`: asks a control socket for exports and IOThreads, and shows who serves what; or shows how queues spread over a
 * machine (map_spread.c). The main thread.
 */
#include "tools/map.h"

#include "base/clock.h"
#include "control/client.h"
#include "tools/map_table.h"
#include "tools/options.h"
#include "tools/tools.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_NS (30 * NS_PER_S)
#define CELL_MAX 64
#define QUEUES_MAX 65535

static const char *const format_names[] = { "normal", "json", "masks", NULL };

#define MAP_TEXT(option, field_name, word, text)                                  \
	{                                                                         \
		.name = option, .value = word, .help = text, .kind = OPTION_TEXT, \
		.offset = offsetof(struct map_options, field_name)                \
	}

static const struct option_spec specs[] = {
	{ .name = "format",
	  .value = "FORMAT",
	  .help = "how to say it (normal)",
	  .kind = OPTION_CHOICE,
	  .offset = offsetof(struct map_options, format),
	  .choices = format_names },
	{ .name = "all",
	  .help = "show the queues too that the client has not set up",
	  .kind = OPTION_FLAG,
	  .offset = offsetof(struct map_options, all) },
	{ .name = "timeout",
	  .value = "SECONDS",
	  .help = "longest wait for an answer, 0: for ever (30)",
	  .kind = OPTION_SECONDS,
	  .offset = offsetof(struct map_options, timeout_ns) },
	MAP_TEXT("topology", topology, "MACHINE", "a machine in hwloc's words (this one)"),
	{ .name = "queues",
	  .value = "N",
	  .help = "spread N queues over its CPUs (one for each)",
	  .kind = OPTION_NUMBER,
	  .offset = offsetof(struct map_options, queues),
	  .min = 1,
	  .max = QUEUES_MAX },
	{ .name = "poll-queues",
	  .value = "N",
	  .help = "of them the last N without interrupts (0)",
	  .kind = OPTION_NUMBER,
	  .offset = offsetof(struct map_options, poll_queues),
	  .max = QUEUES_MAX - 1 },
	MAP_TEXT("allowed", allowed, "LIST", "CPUs that may be used (all)"),
	MAP_TEXT("poll-allowed", poll_allowed, "LIST", "CPUs for poll queues (as allowed)"),
	MAP_TEXT("isolated", isolated, "LIST", "CPUs that are not used (the kernel's)"),
	{ .name = "keep-isolated",
	  .help = "use isolated CPUs, as Linux does",
	  .kind = OPTION_FLAG,
	  .offset = offsetof(struct map_options, keep_isolated) },
	MAP_TEXT("possible", possible, "LIST", "CPUs that the described machine has (all)"),
	MAP_TEXT("present", present, "LIST", "those that are there already (all)"),
	MAP_TEXT("queue-cpus", queue_cpus, "LIST/LIST...",
		 "CPUs of each queue, instead of the rule"),
	{ .name = NULL },
};

static const struct option_table options_table = {
	.command = "ringlane map",
	.positional = "[SOCKET | URI]",
	.summary =
		"Shows what the daemon with the control socket SOCKET serves: the queues of each export, the IOThread\n"
		"and the CPUs of each queue, requests in flight, the disks behind SCSI adapters.\n"
		"Of the device at URI: which CPU uses which queue, and where the queue's interrupt goes.\n"
		"Without either: how queues spread over the CPUs of a machine, described or this one.",
	.specs = specs,
};

enum map_kind { MAP_DAEMON, MAP_MACHINE, MAP_DEVICE };

static const char *const kind_names[] = { "a SOCKET", "a machine", "a URI" };
static const char *const of_daemon[] = { "all", "timeout", NULL };
static const char *const of_device[] = { "queues",   "poll-queues",   "allowed",
					 "isolated", "keep-isolated", NULL };

static enum map_kind kind_of(const char *positional)
{
	if (!positional)
		return MAP_MACHINE;
	if (!strncmp(positional, "vhost-user-", 11) || !strncmp(positional, "vfio-", 5))
		return MAP_DEVICE;
	return MAP_DAEMON;
}

static bool list_has(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/* Does an option (other than --format) go with what is shown? */
static bool spec_fits(const struct option_spec *spec, enum map_kind kind)
{
	switch (kind) {
	case MAP_DAEMON:
		return list_has(of_daemon, spec->name);
	case MAP_DEVICE:
		return list_has(of_device, spec->name);
	default:
		return !list_has(of_daemon, spec->name);
	}
}

/* ---- asking ---- */

/* exports and iothreads, as the daemon answers. */
static int map_read(const char *path, uint64_t timeout_ns, json_t **ret_map, struct error *error)
{
	json_t *exports = NULL, *iothreads = NULL;
	struct qmp_client *client;
	int result = qmp_client_open(path, timeout_ns, &client, error);

	if (result)
		return result;
	result = qmp_client_execute(client, "query-block-exports", NULL, &exports, error);
	if (result == 0)
		result = qmp_client_execute(client, "query-iothreads", NULL, &iothreads, error);
	qmp_client_close(client);
	if (result) {
		json_decref(exports);
		return error_prefix(error, "%s", path);
	}
	*ret_map = json_pack("{s:o, s:o}", "exports", exports, "iothreads", iothreads);
	return *ret_map ? 0 : error_set(error, -ENOMEM, "out of memory");
}

/* ---- cells ---- */

/* A member as text; what is not there is "-". */
static const char *cell(const json_t *object, const char *name, char *text)
{
	const json_t *value = json_object_get(object, name);

	if (json_is_string(value))
		return json_string_value(value);
	if (!json_is_integer(value))
		return "-";
	snprintf(text, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return text;
}

/* One row: the members that the columns are called by. */
static int add_row(struct table *table, const json_t *object, const char *const *names)
{
	char texts[TABLE_COLUMNS_MAX][CELL_MAX];
	const char *cells[TABLE_COLUMNS_MAX];
	unsigned i;

	for (i = 0; i < table->column_count; i++)
		cells[i] = cell(object, names[i], texts[i]);
	return table_add(table, cells);
}

/* ---- exports ---- */

static const struct table_column queue_columns[] = {
	{ "queue", 0 }, { "iothread", 0 }, { "thread", 1 },    { "cpus", 0 },
	{ "last", 1 },  { "state", 0 },    { "in flight", 1 }, { "requests", 1 },
	{ "kicks", 1 }, { "calls", 1 },    { NULL, 0 },
};
static const char *const queue_members[] = {
	"queue", "iothread",  "thread-id", "cpus",  "last-cpu",
	"state", "in-flight", "requests",  "kicks", "calls",
};

static const struct table_column device_columns[] = {
	{ "device", 0 }, { "drive", 0 },     { "target", 1 }, { "lun", 1 },      { "serial", 0 },
	{ "wwn", 0 },    { "in flight", 1 }, { "held", 1 },   { "requests", 1 }, { NULL, 0 },
};
static const char *const device_members[] = {
	"id", "drive", "scsi-id", "lun", "serial", "wwn", "in-flight", "held", "requests",
};

static bool is_stopped(const json_t *queue)
{
	const char *state = json_string_value(json_object_get(queue, "state"));

	return state && !strcmp(state, "stopped");
}

static int print_queues(const json_t *queues, bool all)
{
	unsigned stopped = 0;
	struct table table;
	size_t index;
	json_t *queue;
	int result = 0;

	table_init(&table, queue_columns);
	json_array_foreach((json_t *)queues, index, queue)
	{
		if (!all && is_stopped(queue))
			stopped++;
		else if (result == 0)
			result = add_row(&table, queue, queue_members);
	}
	table_print(&table, stdout);
	table_fini(&table);
	if (stopped)
		printf("  %u queue%s not set up by the client\n", stopped, stopped > 1 ? "s" : "");
	return result;
}

static int print_devices(const json_t *devices)
{
	struct table table;
	size_t index;
	json_t *device;
	int result = 0;

	table_init(&table, device_columns);
	json_array_foreach((json_t *)devices, index, device)
	{
		if (result == 0)
			result = add_row(&table, device, device_members);
	}
	table_print(&table, stdout);
	table_fini(&table);
	return result;
}

/* Printed through a table's cell, so that it is tamed. */
static int print_heading(const char *text)
{
	static const struct table_column columns[] = { { "", 0 }, { NULL, 0 } };
	struct table table;
	int result;

	table_init(&table, columns);
	result = table_add(&table, &text);
	if (result == 0)
		puts(table.cells[0]);
	table_fini(&table);
	return result;
}

static int print_export(const json_t *export, bool all)
{
	char id[CELL_MAX], type[CELL_MAX], heading[512];
	const char *node = json_string_value(json_object_get(export, "node-name"));
	bool is_connected = json_is_true(json_object_get(export, "connected"));
	bool is_ending = json_is_true(json_object_get(export, "shutting-down"));
	int result;

	snprintf(heading, sizeof(heading), "export %s: %s%s%s, %s%s", cell(export, "id", id),
		 cell(export, "type", type), node ? ", node " : "", node ? node : "",
		 is_connected ? "connected" : "no client", is_ending ? ", being deleted" : "");
	result = print_heading(heading);
	if (result == 0)
		result = print_queues(json_object_get(export, "queues"), all || !is_connected);
	if (result == 0)
		result = print_devices(json_object_get(export, "devices"));
	putchar('\n');
	return result;
}

/* ---- IOThreads ---- */

static const struct table_column iothread_columns[] = {
	{ "iothread", 0 },   { "thread", 1 }, { "cpus", 0 }, { "last", 1 },
	{ "polls (ns)", 1 }, { "queues", 0 }, { NULL, 0 },
};
static const char *const iothread_members[] = {
	"id", "thread-id", "cpus", "last-cpu", "poll-max-ns", "queues",
};

/* "e/0-2, f/ctrl" would hide gaps: each queue has its name, and what does not fit is counted. */
static void list_queues(const json_t *queues, char *text, size_t size)
{
	size_t index, used = 0, more, room = size - sizeof(", 1000000 more");
	char export[CELL_MAX], queue[CELL_MAX], word[300];
	json_t *item;

	snprintf(text, size, "-");
	json_array_foreach((json_t *)queues, index, item)
	{
		more = (size_t)snprintf(word, sizeof(word), "%s%.128s/%.128s", index ? ", " : "",
					cell(item, "export", export), cell(item, "queue", queue));
		if (used + more > room) {
			snprintf(text + used, size - used, ", %zu more",
				 json_array_size(queues) - index);
			return;
		}
		memcpy(text + used, word, more + 1);
		used += more;
	}
}

static int add_iothread(struct table *table, const json_t *iothread)
{
	char texts[TABLE_COLUMNS_MAX][CELL_MAX], queues[200];
	const char *cells[TABLE_COLUMNS_MAX];
	unsigned i;

	for (i = 0; i < table->column_count - 1; i++)
		cells[i] = cell(iothread, iothread_members[i], texts[i]);
	list_queues(json_object_get(iothread, "queues"), queues, sizeof(queues));
	cells[i] = queues;
	return table_add(table, cells);
}

static int print_iothreads(const json_t *iothreads)
{
	struct table table;
	size_t index;
	json_t *iothread;
	int result = 0;

	table_init(&table, iothread_columns);
	json_array_foreach((json_t *)iothreads, index, iothread)
	{
		if (result == 0)
			result = add_iothread(&table, iothread);
	}
	puts(table.row_count ? "IOThreads" : "IOThreads: none");
	table_print(&table, stdout);
	table_fini(&table);
	return result;
}

/* ---- all of it ---- */

static int print_normal(const json_t *map, bool all)
{
	const json_t *exports = json_object_get(map, "exports");
	size_t index;
	json_t *export;
	int result = 0;

	if (json_array_size(exports) == 0)
		puts("exports: none\n");
	json_array_foreach((json_t *)exports, index, export)
	{
		if (result == 0)
			result = print_export(export, all);
	}
	return result ? result : print_iothreads(json_object_get(map, "iothreads"));
}

static int print_json(const json_t *map)
{
	int result = json_dumpf(map, stdout, JSON_INDENT(2));

	putchar('\n');
	return result < 0 ? -EIO : 0;
}

/* Each option goes with what is shown. */
static int options_check(const struct map_options *options, const struct options_parsed *parsed,
			 struct error *error)
{
	enum map_kind kind = kind_of(parsed->positional);

	for (unsigned i = 0; i < parsed->count; i++) {
		const struct option_spec *spec = parsed->given[i].spec;

		if (spec->offset == offsetof(struct map_options, format))
			continue;
		if (!spec_fits(spec, kind))
			return error_set(error, -EINVAL, "--%s does not go with %s", spec->name,
					 kind_names[kind]);
	}
	if (kind != MAP_MACHINE && options->format == MAP_MASKS)
		return error_set(error, -EINVAL, "--format=masks does not go with %s",
				 kind_names[kind]);
	if (kind == MAP_MACHINE && parsed->count == 0)
		return error_set(
			error, -EINVAL,
			"a SOCKET is wanted, a URI, or --queues for this machine, see --help");
	return 0;
}

static int map_daemon(const char *path, const struct map_options *options, struct error *error)
{
	json_t *map = NULL;
	int result = map_read(path, options->timeout_ns, &map, error);

	if (result)
		return result;
	result = options->format == MAP_JSON ? print_json(map) : print_normal(map, options->all);
	json_decref(map);
	return result ? error_set(error, -EIO, "cannot write") : 0;
}

static int show(const char *positional, const struct map_options *options, struct error *error)
{
	switch (kind_of(positional)) {
	case MAP_DAEMON:
		return map_daemon(positional, options, error);
	case MAP_DEVICE:
		return map_device(positional, options, error);
	default:
		return map_spread(options, error);
	}
}

int tool_map(int argc, char **argv)
{
	struct map_options options = { .timeout_ns = TIMEOUT_NS };
	struct options_parsed parsed;
	struct error error = { 0 };
	int result = options_parse(&options_table, argc, argv, &options, &parsed, &error);

	if (result == 1) {
		options_print_help(&options_table);
		return 0;
	}
	if (result == 0)
		result = options_check(&options, &parsed, &error);
	if (result == 0)
		result = show(parsed.positional, &options, &error);
	if (result == 0 && fflush(stdout) != 0)
		result = error_set(&error, -EIO, "cannot write");
	return result ? tool_fail(options_table.command, &error) : 0;
}
