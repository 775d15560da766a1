/* SPDX-License-Identifier: MIT */
/*
 * `--blockdev`: from keys to specs, and from specs to open nodes.
 *
 * A node that lies under another one is named, and then was described before, or is described inline (`file.driver=…`); an
 * inline node stands in the list before its parent too. So the list is in the order in which nodes can be opened.
 */
#include "daemon/blockdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a raw node's inline child has from it, as in qemu-storage-daemon. */
static const char *const inherited[] = { "cache", "discard", "detect-zeroes", "auto-read-only",
					 "read-only" };

static const struct blockdev_driver *find_driver(const char *name)
{
	unsigned i;

	for (i = 0; i < blockdev_driver_count; i++)
		if (!strcmp(blockdev_drivers[i].schema.name, name))
			return &blockdev_drivers[i];
	return NULL;
}

static int refuse_driver(const char *name, struct error *error)
{
	char names[256] = "";
	unsigned i;

	for (i = 0; i < blockdev_driver_count; i++) {
		size_t used = strlen(names);

		snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
			 blockdev_drivers[i].schema.name);
	}
	return error_set(error, -EINVAL, "Unknown driver '%s', known are %s", name, names);
}

/* Moves keys for the image from a raw node to its inline child, where the child does not say otherwise. */
static void inherit_keys(json_t *tree)
{
	json_t *child = json_object_get(tree, "file");
	size_t i;

	if (!json_is_object(child) || strcmp(schema_get_string(tree, "driver", ""), "raw") != 0)
		return;
	for (i = 0; i < ARRAY_SIZE(inherited); i++) {
		json_t *value = json_object_get(tree, inherited[i]);

		if (!value)
			continue;
		if (!json_object_get(child, inherited[i]))
			json_object_set(child, inherited[i], value);
		if (strcmp(inherited[i], "read-only") != 0)
			json_object_del(tree, inherited[i]);
	}
}

static int add_node(struct config *config, json_t *tree, const struct blockdev_spec *parent,
		    struct blockdev_spec **ret_spec, struct error *error);

static int find_child(struct config *config, struct blockdev_spec *spec, struct error *error)
{
	json_t *file = spec->values.file;

	if (!spec->driver->has_child)
		return 0;
	if (json_is_object(file)) {
		if (add_node(config, json_incref(file), spec, &spec->child, error))
			return error_prefix(error, "file");
		return 0;
	}
	if (!json_is_string(file))
		return error_set(error, -EINVAL,
				 "Parameter 'file' expects a node-name or the keys of a node");
	spec->child = config_find_blockdev(config, json_string_value(file));
	if (!spec->child)
		return error_set(
			error, -ENOENT,
			"Cannot find node-name '%s' (a node is described before it is used)",
			json_string_value(file));
	return 0;
}

static int name_node(struct config *config, struct blockdev_spec *spec,
		     const struct blockdev_spec *parent, struct error *error)
{
	const char *name = spec->values.node_name;
	char made[CONFIG_ID_MAX + 16];
	int result;

	if (!name && !parent)
		return error_set(error, -EINVAL, "Parameter 'node-name' is missing");
	if (!name) {
		snprintf(made, sizeof(made), "%s.file", parent->name);
		name = made;
	}
	result = config_check_id("node-name", name, error);
	if (result)
		return result;
	if (config_find_blockdev(config, name))
		return error_set(error, -EEXIST, "Duplicate nodes with node-name='%s'", name);
	memcpy(spec->name, name, strlen(name) + 1);
	return 0;
}

static int read_node(struct config *config, struct blockdev_spec *spec,
		     const struct blockdev_spec *parent, struct error *error)
{
	const char *driver = schema_get_string(spec->tree, "driver", NULL);
	int result;

	if (!driver)
		return error_set(error, -EINVAL, "Parameter 'driver' is missing");
	spec->driver = find_driver(driver);
	if (!spec->driver)
		return refuse_driver(driver, error);
	inherit_keys(spec->tree);
	result = schema_read(&spec->driver->schema, spec->tree, &spec->values, error);
	if (result)
		return result;
	spec->has_size = schema_get(spec->tree, "size") != NULL;
	result = name_node(config, spec, parent, error);
	if (result == 0 && spec->driver->check)
		result = spec->driver->check(spec, error);
	return result ? result : find_child(config, spec, error);
}

static int add_node(struct config *config, json_t *tree, const struct blockdev_spec *parent,
		    struct blockdev_spec **ret_spec, struct error *error)
{
	struct blockdev_spec *spec = calloc(1, sizeof(*spec));
	int result;

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	spec->tree = tree;
	spec->is_inline = parent != NULL;
	result = read_node(config, spec, parent, error);
	if (result == 0 && config_find_blockdev(config, spec->name))
		result = error_set(error, -EEXIST, "Duplicate nodes with node-name='%s'",
				   spec->name);
	if (result) {
		blockdev_spec_free(spec);
		return result;
	}
	snprintf(spec->origin, sizeof(spec->origin), "--blockdev %s", spec->name);
	STAILQ_INSERT_TAIL(&config->blockdevs, spec, next);
	*ret_spec = spec;
	return 0;
}

int blockdev_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct blockdev_spec *last = CONFIG_LAST(&config->blockdevs, blockdev_spec), *spec;
	int result = add_node(config, tree, NULL, &spec, error);

	if (result)
		config_remove_blockdevs_after(config, last); /* inline nodes under it */
	return result;
}

void blockdev_spec_free(struct blockdev_spec *spec)
{
	json_decref(spec->tree);
	free(spec);
}

void blockdev_spec_print_help(FILE *file)
{
	unsigned i;

	for (i = 0; i < blockdev_driver_count; i++) {
		fprintf(file, "  %s: %s\n", blockdev_drivers[i].schema.name,
			blockdev_drivers[i].schema.help);
		schema_print(&blockdev_drivers[i].schema, file);
	}
}

int blockdevs_open(const struct config *config, struct block_graph *graph, struct error *error)
{
	struct blockdev_spec *spec;
	struct block_node *node;

	STAILQ_FOREACH(spec, &config->blockdevs, next)
	if (spec->driver->open(graph, spec, &node, error) < 0)
		return error_prefix(error, "%s", spec->origin);
	return 0;
}
