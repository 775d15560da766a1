/* SPDX-License-Identifier: MIT */
/*
 * What is added while others are served: IOThreads, nodes, exports, devices. The way of each is that of the command line: the tree is
 * read to a spec, the spec is checked against the others, what it says is made; when that fails the spec goes again.
 */
#include "daemon/server_internal.h"

#include "daemon/blockdev.h"

#include <errno.h>

/* Takes the tree when it refuses. */
static int refuse_late(const struct server *server, json_t *tree, struct error *error)
{
	if (!server->stopping)
		return 0;
	json_decref(tree);
	return error_set(error, -ESHUTDOWN, "ringlaned is ending");
}

int server_add_iothread(struct server *server, json_t *tree, struct error *error)
{
	struct config *config = server->config;
	struct iothread_spec *spec;
	int result = refuse_late(server, tree, error);

	if (result == 0)
		result = iothread_spec_add(config, tree, error);
	if (result)
		return result;
	spec = CONFIG_LAST(&config->iothreads, iothread_spec);
	result = iothreads_add(server->iothreads, spec, error);
	if (result)
		config_remove_iothread(config, spec);
	return result;
}

int server_remove_iothread(struct server *server, const char *id, struct error *error)
{
	struct iothread_spec *spec = config_find_iothread(server->config, id);
	struct iothread *iothread = spec ? iothreads_find(server->iothreads, id) : NULL;

	if (!iothread)
		return error_set(error, -ENOENT, "object '%s' not found", id);
	if (iothread_refs(iothread))
		return error_set(error, -EBUSY, "object '%s' is in use, can not be deleted", id);
	iothreads_remove(server->iothreads, iothread);
	config_remove_iothread(server->config, spec);
	return 0;
}

/* ---- nodes ---- */

/* Children stand before their parents, so this is the order to open them in; it leaves those that are open when it fails. */
static int open_nodes_after(struct server *server, struct blockdev_spec *last, struct error *error)
{
	struct blockdev_spec *spec = last ? STAILQ_NEXT(last, next) :
					    STAILQ_FIRST(&server->config->blockdevs);
	struct block_node *node;

	for (; spec; spec = STAILQ_NEXT(spec, next)) {
		int result;

		spec->written = spec->optional = spec->lock_now = true;
		result = spec->driver->open(server->graph, spec, &node, error);
		if (result)
			return result;
	}
	return 0;
}

/* Nobody uses them yet. Newest first, so parents before children. */
static void close_nodes_after(struct server *server, const struct blockdev_spec *last)
{
	struct blockdev_spec *spec;
	struct block_node *node;

	while ((spec = CONFIG_LAST(&server->config->blockdevs, blockdev_spec)) != last) {
		node = block_graph_find(server->graph, spec->name);
		if (node)
			block_graph_remove(server->graph, node, NULL);
		config_remove_blockdev(server->config, spec);
	}
}

int server_add_node(struct server *server, json_t *tree, struct error *error)
{
	struct config *config = server->config;
	struct blockdev_spec *last = CONFIG_LAST(&config->blockdevs, blockdev_spec);
	int result = refuse_late(server, tree, error);

	if (result == 0)
		result = blockdev_spec_add(config, tree, error);
	if (result)
		return result;
	result = open_nodes_after(server, last, error);
	if (result)
		close_nodes_after(server, last);
	return result;
}

static bool is_child_of_another(const struct config *config, const struct blockdev_spec *node)
{
	const struct blockdev_spec *spec;

	STAILQ_FOREACH(spec, &config->blockdevs, next)
	if (spec->child == node)
		return true;
	return false;
}

static bool is_used(const struct config *config, const struct blockdev_spec *node)
{
	const struct node_use *use;

	STAILQ_FOREACH(use, &config->uses, next)
	if (use->node == node)
		return true;
	return is_child_of_another(config, node);
}

int server_remove_node(struct server *server, const char *name, struct error *error)
{
	struct config *config = server->config;
	struct blockdev_spec *spec = config_find_blockdev(config, name), *child;
	int result;

	if (!spec)
		return error_set(error, -ENOENT, "Failed to find node with node-name='%s'", name);
	if (spec->is_inline)
		return error_set(error, -EPERM,
				 "Node '%s' belongs to the node over it, and goes with that", name);
	if (is_used(config, spec))
		return error_set(error, -EBUSY, "Node '%s' is in use", name);
	do {
		child = spec->child && spec->child->is_inline ? spec->child : NULL;
		result = block_graph_remove(server->graph,
					    block_graph_find(server->graph, spec->name), error);
		if (result)
			return result;
		config_remove_blockdev(config, spec);
		spec = child;
	} while (spec && !is_used(config, spec));
	return 0;
}

/* ---- exports and devices ---- */

static int start_export(struct server *server, struct export_spec *spec, struct error *error)
{
	int result = export_spec_check(server->config, spec, error);

	if (result == 0)
		result = server_make_export(server, spec, error);
	if (result == 0)
		result = export_listen(spec->export, error);
	return result;
}

int server_add_export(struct server *server, json_t *tree, struct error *error)
{
	struct export_spec *spec;
	int result = refuse_late(server, tree, error);

	if (result == 0)
		result = export_spec_add(server->config, tree, error);
	if (result)
		return result;
	spec = CONFIG_LAST(&server->config->exports, export_spec);
	result = start_export(server, spec, error);
	if (result == 0)
		return 0;
	export_free(spec->export);
	config_remove_export(server->config, spec);
	return result;
}

int server_add_device(struct server *server, json_t *tree, struct error *error)
{
	struct device_spec *spec;
	int result = refuse_late(server, tree, error);

	if (result == 0)
		result = device_spec_add(server->config, tree, error);
	if (result)
		return result;
	spec = CONFIG_LAST(&server->config->devices, device_spec);
	result = device_spec_check(server->config, spec, error);
	if (result == 0)
		result = device_new(server->devices, spec, error);
	if (result)
		config_remove_device(server->config, spec);
	return result;
}
