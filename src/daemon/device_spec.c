/* SPDX-License-Identifier: MIT */
/* `--device scsi-hd,…`: a disk behind an adapter. Its keys, and what must hold between devices, exports and nodes. Pure; main thread. */
#include "daemon/blockdev.h"
#include "daemon/config.h"

#include "scsi/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct device_spec, member)

static const struct schema_field fields[] = {
	{ "driver", SCHEMA_CHOICE, AT(driver), "what to add", SCHEMA_REQUIRED,
	  .choices = "scsi-hd" },
	{ "id", SCHEMA_STRING, AT(id), "its name; one is made when not given" },
	{ "drive", SCHEMA_STRING, AT(drive), "the node to show", SCHEMA_REQUIRED },
	{ "bus", SCHEMA_STRING, AT(bus), "the adapter: EXPORT.0", SCHEMA_REQUIRED },
	{ "channel", SCHEMA_NUMBER, AT(channel), "only 0", .fallback = "0" },
	{ "scsi-id", SCHEMA_NUMBER, AT(scsi_id), "target; a free one when not given",
	  .max = SCSI_TARGETS_MAX - 1 },
	{ "lun", SCHEMA_NUMBER, AT(lun), "logical unit; a free one when not given",
	  .max = SCSI_LUNS_MAX - 1 },
	{ "serial", SCHEMA_STRING, AT(serial),
	  "serial number; made of the node's name when not given" },
	{ "wwn", SCHEMA_NUMBER, AT(wwn),
	  "world wide name (NAA); made of vendor and serial when not given" },
	{ "vendor", SCHEMA_STRING, AT(vendor), "vendor: RINGLANE when not given" },
	{ "product", SCHEMA_STRING, AT(product), "product: Ringlane disk when not given" },
	{ "ver", SCHEMA_STRING, AT(revision), "revision; Ringlane's version when not given" },
	{ "device_id", SCHEMA_STRING, AT(device_id),
	  "vendor specific name of the disk; the serial when not given" },
	{ "share-rw", SCHEMA_BOOL, AT(share_rw), "let other adapters show the same node",
	  .fallback = "off" },
	{ "logical_block_size", SCHEMA_SIZE, AT(logical_block_size),
	  "block size; the smallest that is possible when not given" },
	{ "rotation_rate", SCHEMA_NUMBER, AT(rotation_rate),
	  "rotations per minute; 1: does not rotate", .fallback = "0", .max = UINT16_MAX },
	{ "state", SCHEMA_STRING, AT(state_path),
	  "file that keeps persistent reservations and saved mode pages" },
};

static const struct schema schema = { "scsi-hd", "a disk behind a vhost-user-scsi export", fields,
				      ARRAY_SIZE(fields) };

/* ---- one device ---- */

static int name_device(struct config *config, struct device_spec *spec, struct error *error)
{
	unsigned number = 0;

	if (spec->id)
		return config_check_id("id", spec->id, error);
	do {
		snprintf(spec->made_id, sizeof(spec->made_id), "scsi-hd%u", number++);
	} while (config_find_device(config, spec->made_id));
	spec->id = spec->made_id;
	return 0;
}

static int check_values(const struct config *config, struct device_spec *spec, struct error *error)
{
	if (config_find_device(config, spec->id))
		return error_set(error, -EEXIST, "Duplicate device ID '%s'", spec->id);
	if (spec->channel)
		return error_set(error, -EINVAL, "Parameter 'channel' expects 0, there is one");
	if (schema_get(spec->tree, "logical_block_size") &&
	    (spec->logical_block_size == 0 || spec->logical_block_size > UINT32_MAX))
		return error_set(
			error, -EINVAL,
			"Parameter 'logical_block_size' expects 512 or a larger power of two");
	spec->has_scsi_id = schema_get(spec->tree, "scsi-id") != NULL;
	spec->has_lun = schema_get(spec->tree, "lun") != NULL;
	return 0;
}

static int read_spec(struct config *config, struct device_spec *spec, struct error *error)
{
	int result = schema_read(&schema, spec->tree, spec, error);

	if (result == 0)
		result = name_device(config, spec, error);
	return result ? result : check_values(config, spec, error);
}

int device_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct device_spec *spec = calloc(1, sizeof(*spec));

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	spec->tree = tree;
	if (read_spec(config, spec, error)) {
		device_spec_free(spec);
		return error->code;
	}
	snprintf(spec->origin, sizeof(spec->origin), "--device %s", spec->id);
	STAILQ_INSERT_TAIL(&config->devices, spec, next);
	return 0;
}

void device_spec_free(struct device_spec *spec)
{
	json_decref(spec->tree);
	free(spec);
}

void device_spec_print_help(FILE *file)
{
	schema_print(&schema, file);
}

/* ---- between devices, exports and nodes ---- */

static int find_bus(const struct config *config, struct device_spec *spec, struct error *error)
{
	size_t length = strlen(spec->bus);
	char id[CONFIG_ID_MAX + 1] = "";

	if (length > 2 && length - 2 < sizeof(id) && !strcmp(spec->bus + length - 2, ".0"))
		snprintf(id, sizeof(id), "%.*s", (int)length - 2, spec->bus);
	spec->export = config_find_export(config, id);
	if (!spec->export)
		return error_set(error, -ENOENT, "Bus '%s' not found", spec->bus);
	if (spec->export->type != EXPORT_SCSI)
		return error_set(error, -EINVAL,
				 "Bus '%s': export '%s' is no SCSI adapter (type=vhost-user-scsi)",
				 spec->bus, id);
	if (spec->export->leaving)
		return error_set(error, -EBUSY, "Bus '%s' is going away", spec->bus);
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Devices of one node are one disk, so they cannot say different things of it. */
static const char *find_difference(const struct device_spec *a, const struct device_spec *b)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{ "serial", same_text(a->serial, b->serial) },
		{ "wwn", a->wwn == b->wwn },
		{ "vendor", same_text(a->vendor, b->vendor) },
		{ "product", same_text(a->product, b->product) },
		{ "ver", same_text(a->revision, b->revision) },
		{ "device_id", same_text(a->device_id, b->device_id) },
		{ "logical_block_size", a->logical_block_size == b->logical_block_size },
		{ "rotation_rate", a->rotation_rate == b->rotation_rate },
		{ "state", same_text(a->state_path, b->state_path) },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (!keys[i].same)
			return keys[i].key;
	return NULL;
}

static int check_others(const struct config *config, const struct device_spec *spec,
			struct error *error)
{
	const struct device_spec *other;

	STAILQ_FOREACH(other, &config->devices, next)
	{
		const char *key;

		if (other == spec || !other->use.node)
			continue;
		if (other->use.node != spec->use.node) {
			if (spec->state_path && same_text(spec->state_path, other->state_path))
				return error_set(error, -EINVAL,
						 "state file '%s' is that of device '%s' already",
						 spec->state_path, other->id);
			continue;
		}
		if (other->export == spec->export)
			return error_set(error, -EEXIST,
					 "bus '%s' shows node '%s' already, as device '%s'",
					 spec->bus, spec->drive, other->id);
		key = find_difference(spec, other);
		if (key)
			return error_set(
				error, -EINVAL,
				"node '%s' is the disk of device '%s' too, and their '%s' differs",
				spec->drive, other->id, key);
	}
	return 0;
}

static int claim_node(struct config *config, struct device_spec *spec, struct error *error)
{
	struct blockdev_spec *node = config_find_blockdev(config, spec->drive);
	int result;

	if (!node)
		return error_set(error, -ENOENT, "Cannot find node-name '%s'", spec->drive);
	spec->read_only = blockdev_spec_read_only(node) != NULL;
	spec->use = (struct node_use){ .node = node,
				       .kind = "device",
				       .id = spec->id,
				       .writes = !spec->read_only,
				       .shares = spec->share_rw };
	result = check_others(config, spec, error);
	if (result == 0)
		result = node_use_add(config, &spec->use, error);
	if (result)
		spec->use.node = NULL;
	else if (!spec->read_only)
		blockdev_spec_mark_written(node);
	return result;
}

int device_spec_check(struct config *config, struct device_spec *spec, struct error *error)
{
	int result = find_bus(config, spec, error);

	return result ? result : claim_node(config, spec, error);
}

int device_specs_check(struct config *config, struct error *error)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &config->devices, next)
	if (device_spec_check(config, spec, error))
		return error_prefix(error, "%s", spec->origin);
	return 0;
}
