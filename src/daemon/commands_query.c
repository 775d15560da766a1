/* SPDX-License-Identifier: MIT */
/* query-iothreads, query-block-exports, query-named-block-nodes: what there is, and where it runs. */
#include "daemon/commands.h"

#include "base/cpu_list.h"
#include "daemon/blockdev.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CPUS_TEXT_MAX 256

static void set_int(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, json_string(text));
}

/* ---- threads ---- */

/* proc(5): field 39 of stat; the second one is a name in brackets, in which anything may stand. */
static int read_last_cpu(pid_t tid)
{
	char path[64], text[1024];
	const char *at;
	FILE *file;
	unsigned field;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	at = strrchr(text, ')');
	for (field = 2; at && field < 39; field++)
		at = strchr(at + 1, ' ');
	return at ? (int)strtol(at, NULL, 10) : -1;
}

static void set_last_cpu(json_t *object, pid_t tid)
{
	int cpu = read_last_cpu(tid);

	if (cpu >= 0)
		set_int(object, "last-cpu", (uint64_t)cpu);
}

/* ---- query-iothreads ---- */

static void list_queues_of(const struct export_spec *spec, const char *iothread, json_t *list)
{
	struct export_queue_info info;
	unsigned i;

	for (i = 0; i < export_queue_count(spec->export); i++)
		if (export_get_queue(spec->export, i, &info) && info.iothread &&
		    !strcmp(info.iothread, iothread))
			json_array_append_new(list, json_pack("{s:s, s:s}", "export", spec->id,
							      "queue", info.name));
}

static json_t *describe_iothread(const struct server *server, const struct iothread *iothread)
{
	const struct export_spec *spec;
	json_t *object = json_object(), *queues = json_array();
	struct poll_params poll;
	char cpus[CPUS_TEXT_MAX];
	cpu_set_t set;

	iothread_get_poll(iothread, &poll);
	iothread_get_cpus(iothread, &set);
	set_text(object, "id", iothread_id(iothread));
	set_int(object, "thread-id", (uint64_t)iothread_tid(iothread));
	set_int(object, "poll-max-ns", poll.max_ns);
	set_int(object, "poll-grow", poll.grow);
	set_int(object, "poll-shrink", poll.shrink);
	set_int(object, "aio-max-batch", 0);
	set_text(object, "cpus", cpu_list_format(&set, cpus, sizeof(cpus)));
	set_last_cpu(object, iothread_tid(iothread));
	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export)
		list_queues_of(spec, iothread_id(iothread), queues);
	json_object_set_new(object, "queues", queues);
	return object;
}

static void query_iothreads(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct server *server = opaque;
	const struct iothread *iothread;
	json_t *list = json_array();
	unsigned i;

	for (i = 0; (iothread = iothreads_get(server->iothreads, i)); i++)
		json_array_append_new(list, describe_iothread(server, iothread));
	qmp_return(call, list);
}

/* ---- query-block-exports ---- */

static json_t *describe_queue(const struct export_queue_info *info)
{
	json_t *object = json_object();

	set_text(object, "queue", info->name);
	set_text(object, "iothread", info->iothread ? info->iothread : "main");
	set_int(object, "thread-id", (uint64_t)info->tid);
	set_text(object, "cpus", info->cpus);
	set_last_cpu(object, info->tid);
	set_text(object, "state", info->state);
	set_int(object, "in-flight", info->stats.in_flight);
	set_int(object, "requests", info->stats.requests);
	set_int(object, "kicks", info->stats.kicks);
	set_int(object, "calls", info->stats.calls);
	return object;
}

static json_t *describe_queues(const struct export *export)
{
	struct export_queue_info info;
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < export_queue_count(export); i++)
		if (export_get_queue(export, i, &info))
			json_array_append_new(list, describe_queue(&info));
	return list;
}

static json_t *describe_device(const struct device_spec *spec)
{
	const struct scsi_unit *unit = device_unit(spec->device);
	struct scsi_lun_stats stats;
	uint16_t target, lun;
	char wwn[24];
	json_t *object = json_object();

	scsi_lun_get_address(device_lun(spec->device), &target, &lun);
	scsi_lun_get_stats(device_lun(spec->device), &stats);
	snprintf(wwn, sizeof(wwn), "0x%016" PRIx64, scsi_unit_wwn(unit));
	set_text(object, "id", spec->id);
	set_text(object, "drive", spec->drive);
	set_int(object, "scsi-id", target);
	set_int(object, "lun", lun);
	set_text(object, "serial", scsi_unit_serial(unit));
	set_text(object, "wwn", wwn);
	set_int(object, "requests", stats.commands);
	set_int(object, "in-flight", stats.in_flight);
	set_int(object, "held", stats.held);
	return object;
}

/* A device that leaves has no LUN any more that could be asked. */
static json_t *describe_devices(const struct server *server, const struct export_spec *export)
{
	const struct device_spec *spec;
	json_t *list = json_array();

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (spec->export == export && spec->device && !device_is_leaving(spec->device))
		json_array_append_new(list, describe_device(spec));
	return list;
}

static json_t *describe_export(const struct server *server, const struct export_spec *spec)
{
	json_t *object = json_object();

	set_text(object, "id", spec->id);
	set_text(object, "type", export_type_name(spec->type));
	if (spec->use.node)
		set_text(object, "node-name", spec->use.node->name);
	json_object_set_new(object, "shutting-down", json_boolean(spec->leaving));
	json_object_set_new(object, "connected", json_boolean(export_is_connected(spec->export)));
	json_object_set_new(object, "queues", describe_queues(spec->export));
	if (spec->type == EXPORT_SCSI)
		json_object_set_new(object, "devices", describe_devices(server, spec));
	return object;
}

static void query_block_exports(struct qmp_call *call, json_t *arguments, void *opaque)
{
	const struct server *server = opaque;
	const struct export_spec *spec;
	json_t *list = json_array();

	STAILQ_FOREACH(spec, &server->config->exports, next)
	json_array_append_new(list, describe_export(server, spec));
	qmp_return(call, list);
}

/* ---- query-named-block-nodes ---- */

/* A name of a file may be any bytes; JSON has only UTF-8. */
static json_t *make_filename(const struct blockdev_spec *spec)
{
	const char *name = spec->values.filename;
	json_t *text = json_string(name ? name : spec->driver->schema.name);

	return text ? text : json_string("?");
}

static json_t *describe_image(const struct blockdev_spec *spec, const struct block_node *node)
{
	json_t *object = json_object();
	struct stat status;

	json_object_set_new(object, "filename", make_filename(spec));
	set_text(object, "format", spec->driver->schema.name);
	set_int(object, "virtual-size", block_node_size(node));
	if (!strcmp(spec->driver->schema.name, "file") && stat(spec->values.filename, &status) == 0)
		set_int(object, "actual-size", (uint64_t)status.st_blocks * 512);
	return object;
}

static json_t *describe_node(const struct blockdev_spec *spec, const struct block_node *node)
{
	static const char *const unlimited[] = {
		"backing_file_depth", "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr",
		"write_threshold"
	};
	const struct blockdev_values *values = &spec->values;
	json_t *object = json_object();
	size_t i;

	set_text(object, "node-name", spec->name);
	set_text(object, "drv", spec->driver->schema.name);
	json_object_set_new(object, "file", make_filename(spec));
	json_object_set_new(object, "ro", json_boolean(node->read_only));
	json_object_set_new(object, "encrypted", json_false());
	set_text(object, "detect_zeroes", "off");
	for (i = 0; i < ARRAY_SIZE(unlimited); i++)
		set_int(object, unlimited[i], 0);
	if (spec->child)
		json_object_set_new(object, "children",
				    json_pack("[{s:s, s:s}]", "child", "file", "node-name",
					      spec->child->name));
	json_object_set_new(object, "cache",
			    json_pack("{s:b, s:b, s:b}", "writeback", 1, "direct", values->direct,
				      "no-flush", values->no_flush));
	json_object_set_new(object, "image", describe_image(spec, node));
	return object;
}

static void query_named_block_nodes(struct qmp_call *call, json_t *arguments, void *opaque)
{
	const struct server *server = opaque;
	const struct blockdev_spec *spec;
	json_t *list = json_array();

	STAILQ_FOREACH(spec, &server->config->blockdevs, next)
	{
		const struct block_node *node = block_graph_find(server->graph, spec->name);

		if (node)
			json_array_append_new(list, describe_node(spec, node));
	}
	qmp_return(call, list);
}

static const struct qmp_handler handlers[] = {
	{ "query-iothreads", query_iothreads },
	{ "query-block-exports", query_block_exports },
	{ "query-named-block-nodes", query_named_block_nodes },
};

const struct command_table commands_query = { handlers, ARRAY_SIZE(handlers) };
