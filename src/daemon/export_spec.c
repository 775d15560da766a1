/* SPDX-License-Identifier: MIT */
/*
 * `--export TYPE,…`: its keys, and what must hold between exports, nodes and IOThreads.
 *
 * Pure, but for looking at inherited file descriptors. Main thread.
 */
#include "daemon/blockdev.h"
#include "daemon/config.h"

#include "device/scsi.h"
#include "vhost_user/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define AT(member) offsetof(struct export_spec, member)

#define FIELDS_OF_ALL                                                                           \
	{ "type",          SCHEMA_CHOICE,                                                       \
	  AT(type),        "what to serve as",                                                  \
	  SCHEMA_REQUIRED, .choices = "vhost-user-blk|vhost-user-scsi" },                       \
		{ "id", SCHEMA_STRING, AT(id), "its name", SCHEMA_REQUIRED },                   \
		{ "addr.type",     SCHEMA_CHOICE,       AT(address), "where clients come from", \
		  SCHEMA_REQUIRED, .choices = "unix|fd" },                                      \
		{ "addr.path", SCHEMA_STRING, AT(path), "unix: path of the socket" },           \
	{                                                                                       \
		"addr.str", SCHEMA_STRING, AT(fd_text), "fd: number of an inherited socket"     \
	}

#define FIELDS_OF_THREADS                                                                    \
	{ "iothread", SCHEMA_STRING, AT(iothread), "the IOThread of all queues" },           \
		{ "iothread-vq-mapping", SCHEMA_TREE, AT(map_value),                         \
		  "which IOThread serves which queues: .N.iothread=ID and .N.vqs.M=QUEUE" }, \
	{                                                                                    \
		"fixed-iothread", SCHEMA_BOOL, AT(fixed_iothread),                           \
			"always so: queues do not move", .fallback = "on"                    \
	}

static const struct schema_field blk_fields[] = {
	FIELDS_OF_ALL,
	{ "node-name", SCHEMA_STRING, AT(node_name), "the node to serve", SCHEMA_REQUIRED },
	{ "writable", SCHEMA_BOOL, AT(writable), "let the guest write", .fallback = "off" },
	{ "num-queues", SCHEMA_NUMBER, AT(num_queues), "virtqueues offered", .fallback = "128",
	  .min = 1, .max = VHU_QUEUES_MAX },
	{ "logical-block-size", SCHEMA_SIZE, AT(logical_block_size),
	  "block size of the disk; the smallest that is possible when not given" },
	{ "serial", SCHEMA_STRING, AT(serial),
	  "serial number, at most 20 bytes; made of the id when not given" },
	FIELDS_OF_THREADS,
	{ "writethrough", SCHEMA_CHOICE, AT(writethrough), "not forced: the guest decides",
	  .fallback = "off", .choices = "off" },
};

static const struct schema_field scsi_fields[] = {
	FIELDS_OF_ALL,
	{ "num-queues", SCHEMA_NUMBER, AT(num_queues), "request queues offered", .fallback = "128",
	  .min = 1, .max = VHU_QUEUES_MAX - SCSI_QUEUE_FIRST },
	FIELDS_OF_THREADS,
	{ "cdb-size", SCHEMA_NUMBER, AT(cdb_size), "bytes of the CDB in a request",
	  .fallback = "32", .min = 16, .max = SCSI_CDB_MAX },
	{ "sense-size", SCHEMA_NUMBER, AT(sense_size), "bytes of the sense data in a response",
	  .fallback = "96", .min = 18, .max = SCSI_SENSE_MAX },
};

static const struct schema schemas[] = {
	[EXPORT_BLK] = { "vhost-user-blk", "a virtio disk", blk_fields, ARRAY_SIZE(blk_fields) },
	[EXPORT_SCSI] = { "vhost-user-scsi", "a virtio SCSI adapter; its disks come by --device",
			  scsi_fields, ARRAY_SIZE(scsi_fields) },
};

const char *export_type_name(unsigned type)
{
	return schemas[type].name;
}

/* A type that nobody knows is refused by any of them. */
static const struct schema *find_schema(const json_t *tree)
{
	const char *type = schema_get_string(tree, "type", "");

	return &schemas[strcmp(type, schemas[EXPORT_SCSI].name) ? EXPORT_BLK : EXPORT_SCSI];
}

/* ---- one export ---- */

static int read_fd(struct export_spec *spec, struct error *error)
{
	int domain = 0, type = 0, listens = 0;
	socklen_t size = sizeof(int);
	uint64_t number;

	if (!spec->fd_text)
		return error_set(error, -EINVAL, "Parameter 'addr.str' is missing");
	if (!schema_parse_number(spec->fd_text, &number) || number > INT32_MAX)
		return error_set(
			error, -EINVAL,
			"Parameter 'addr.str' expects the number of an inherited file descriptor");
	spec->fd = (int)number;
	if (fcntl(spec->fd, F_GETFD) < 0)
		return error_set(error, -EBADF, "file descriptor %d is not open", spec->fd);
	if (getsockopt(spec->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) ||
	    getsockopt(spec->fd, SOL_SOCKET, SO_TYPE, &type, &size) || domain != AF_UNIX ||
	    type != SOCK_STREAM)
		return error_set(error, -ENOTSOCK, "file descriptor %d is not a Unix stream socket",
				 spec->fd);
	getsockopt(spec->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
	spec->fd_listens = listens != 0;
	return 0;
}

static int read_address(struct export_spec *spec, struct error *error)
{
	const char *foreign = spec->address == EXPORT_UNIX ? "addr.str" : "addr.path";

	if (schema_get(spec->tree, foreign))
		return error_set(error, -EINVAL, "Parameter '%s' is unexpected with addr.type=%s",
				 foreign, schema_get_string(spec->tree, "addr.type", ""));
	if (spec->address == EXPORT_FD)
		return read_fd(spec, error);
	if (!spec->path)
		return error_set(error, -EINVAL, "Parameter 'addr.path' is missing");
	if (!spec->path[0])
		return error_set(error, -EINVAL, "Parameter 'addr.path' must not be empty");
	return 0;
}

void export_spec_make_serial(struct export_spec *spec, const char *name, const char *hashed)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *hashed; hashed++)
		hash = (hash ^ (unsigned char)*hashed) * 16777619u;
	snprintf(spec->serial_text, sizeof(spec->serial_text), "%.11s-%08x", name, hash);
}

static int read_serial(struct export_spec *spec, struct error *error)
{
	const char *text = spec->serial ? spec->serial : spec->id;

	if (spec->serial && strlen(text) > BLK_ID_BYTES)
		return error_set(error, -EINVAL,
				 "Parameter 'serial' is %zu bytes long, a disk can tell %d",
				 strlen(text), BLK_ID_BYTES);
	if (strlen(text) > BLK_ID_BYTES)
		export_spec_make_serial(spec, text, text);
	else
		snprintf(spec->serial_text, sizeof(spec->serial_text), "%s", text);
	return 0;
}

/* ---- the mapping ---- */

static int read_vqs(struct export_spec *spec, size_t element, json_t *list, uint16_t **cursor,
		    struct error *error)
{
	struct vq_map_entry *entry = &spec->entries[element];
	size_t index;
	json_t *item;

	entry->vqs = *cursor;
	json_array_foreach(list, index, item)
	{
		uint64_t number = UINT64_MAX;

		if (json_is_integer(item) && json_integer_value(item) >= 0)
			number = (uint64_t)json_integer_value(item);
		else if (json_is_string(item))
			schema_parse_number(json_string_value(item), &number);
		if (number > UINT16_MAX)
			return error_set(
				error, -EINVAL,
				"Parameter 'iothread-vq-mapping.%zu.vqs.%zu' expects a number from 0 to 65535",
				element, index);
		*(*cursor)++ = (uint16_t)number;
	}
	entry->vq_count = (unsigned)json_array_size(list);
	return 0;
}

static int read_map_element(struct export_spec *spec, size_t element, json_t *value,
			    uint16_t **cursor, struct error *error)
{
	static const struct schema_field element_fields[] = {
		{ "iothread", SCHEMA_STRING, 0, "id of an IOThread", SCHEMA_REQUIRED },
		{ "vqs", SCHEMA_TREE, sizeof(void *), "its queues" },
	};
	static const struct schema element_schema = { "mapping", "", element_fields,
						      ARRAY_SIZE(element_fields) };
	struct {
		const char *iothread;
		json_t *vqs;
	} read = { 0 };

	if (!json_is_object(value))
		return error_set(error, -EINVAL,
				 "Parameter 'iothread-vq-mapping.%zu' expects iothread and vqs",
				 element);
	if (schema_read(&element_schema, value, &read, error))
		return error_prefix(error, "iothread-vq-mapping.%zu", element);
	if (read.vqs && !json_is_array(read.vqs))
		return error_set(error, -EINVAL,
				 "Parameter 'iothread-vq-mapping.%zu.vqs' expects a list", element);
	spec->entries[element].iothread = read.iothread;
	return read_vqs(spec, element, read.vqs, cursor, error);
}

static size_t count_vqs(const json_t *map)
{
	size_t index, count = 0;
	json_t *item;

	json_array_foreach((json_t *)map, index, item)
		count += json_array_size(json_object_get(item, "vqs"));
	return count;
}

static int read_map(struct export_spec *spec, struct error *error)
{
	size_t index, count = json_array_size(spec->map_value);
	uint16_t *cursor;
	json_t *item;
	int result;

	if (!spec->map_value)
		return 0;
	if (!json_is_array(spec->map_value))
		return error_set(error, -EINVAL, "Parameter 'iothread-vq-mapping' expects a list");
	spec->entries = calloc(count + 1, sizeof(*spec->entries));
	spec->vqs = cursor = calloc(count_vqs(spec->map_value) + 1, sizeof(*spec->vqs));
	if (!spec->entries || !spec->vqs)
		return error_set(error, -ENOMEM, "out of memory");
	json_array_foreach(spec->map_value, index, item)
	{
		result = read_map_element(spec, index, item, &cursor, error);
		if (result)
			return result;
	}
	spec->map = (struct vq_map_list){ .entries = spec->entries, .count = (unsigned)count };
	return 0;
}

static int refuse_duplicate(const struct config *config, const struct export_spec *spec,
			    struct error *error)
{
	const struct export_spec *other;

	STAILQ_FOREACH(other, &config->exports, next)
	{
		if (!strcmp(other->id, spec->id))
			return error_set(error, -EEXIST, "Export with ID '%s' already exists",
					 spec->id);
		if (other->address != spec->address)
			continue;
		if (spec->address == EXPORT_UNIX && !strcmp(other->path, spec->path))
			return error_set(error, -EEXIST,
					 "socket '%s' is that of export '%s' already", spec->path,
					 other->id);
		if (spec->address == EXPORT_FD && other->fd == spec->fd)
			return error_set(error, -EEXIST,
					 "file descriptor %d is that of export '%s' already",
					 spec->fd, other->id);
	}
	return 0;
}

static int read_spec(struct config *config, struct export_spec *spec, struct error *error)
{
	int result = schema_read(find_schema(spec->tree), spec->tree, spec, error);

	if (result == 0)
		result = config_check_id("id", spec->id, error);
	if (result == 0)
		result = read_address(spec, error);
	if (result == 0 && spec->type == EXPORT_BLK)
		result = read_serial(spec, error);
	if (result == 0)
		result = read_map(spec, error);
	if (result == 0)
		result = refuse_duplicate(config, spec, error);
	return result;
}

int export_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct export_spec *spec = calloc(1, sizeof(*spec));

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	*spec = (struct export_spec){ .tree = tree, .fd = -1 };
	snprintf(spec->origin, sizeof(spec->origin), "--export %s",
		 schema_get_string(tree, "id", "vhost-user-blk"));
	if (read_spec(config, spec, error)) {
		export_spec_free(spec);
		return error->code;
	}
	STAILQ_INSERT_TAIL(&config->exports, spec, next);
	return 0;
}

void export_spec_free(struct export_spec *spec)
{
	json_decref(spec->tree);
	free(spec->entries);
	free(spec->vqs);
	free(spec);
}

void export_spec_print_help(FILE *file)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(schemas); i++) {
		fprintf(file, "  %s: %s\n", schemas[i].name, schemas[i].help);
		schema_print(&schemas[i], file);
	}
}

/* ---- between exports ---- */

/* The validation asks only whether there is one. */
static struct iothread *find_iothread(void *opaque, const char *id)
{
	return (struct iothread *)config_find_iothread(opaque, id);
}

static int check_threads(struct config *config, const struct export_spec *spec, struct error *error)
{
	if (spec->iothread && spec->map.count)
		return error_set(
			error, -EINVAL,
			"iothread and iothread-vq-mapping properties cannot be set at the same time");
	if (spec->iothread && !config_find_iothread(config, spec->iothread))
		return error_set(error, -ENOENT, "iothread '%s' not found", spec->iothread);
	if (!spec->map.count)
		return 0;
	return vq_map_validate(&spec->map, (unsigned)spec->num_queues, find_iothread, config,
			       error);
}

static int claim_node(struct config *config, struct export_spec *spec, struct error *error)
{
	struct blockdev_spec *node = config_find_blockdev(config, spec->node_name);
	const struct blockdev_spec *read_only = node ? blockdev_spec_read_only(node) : NULL;
	int result;

	if (!node)
		return error_set(error, -ENOENT, "Cannot find node-name '%s'", spec->node_name);
	if (spec->writable && read_only)
		return error_set(error, -EROFS, "Cannot export read-only node '%s' as writable",
				 read_only->name);
	spec->use = (struct node_use){
		.node = node, .kind = "export", .id = spec->id, .writes = spec->writable
	};
	result = node_use_add(config, &spec->use, error);
	if (result)
		spec->use.node = NULL;
	else if (spec->writable)
		blockdev_spec_mark_written(node);
	return result;
}

int export_spec_check(struct config *config, struct export_spec *spec, struct error *error)
{
	int result = check_threads(config, spec, error);

	if (result == 0 && spec->type == EXPORT_BLK)
		result = claim_node(config, spec, error);
	return result;
}

int export_specs_check(struct config *config, struct error *error)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &config->exports, next)
	if (export_spec_check(config, spec, error))
		return error_prefix(error, "%s", spec->origin);
	return 0;
}
