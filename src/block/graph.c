/* SPDX-License-Identifier: MIT */
/*
 * The named nodes of a process: who is there, who stands on whom, how big they are.
 *
 * Theory of operation. A driver's open makes a node (block_node_alloc), fills it and inserts it; until then nobody else
 * sees it and block_node_discard() undoes everything. A node that others use (exports, filters above it) has references and
 * cannot be removed. A change of size travels upwards: each parent whose size depends on its child takes it over.
 *
 * Main thread only. The one thing that other threads read is node->size.
 */
#include "block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct block_graph {
	struct block_node *nodes; /* newest first, so parents stand before their children */
};

struct block_graph *block_graph_new(void)
{
	return calloc(1, sizeof(struct block_graph));
}

static void node_free(struct block_node *node)
{
	if (node->driver->close)
		node->driver->close(node);
	if (node->child)
		block_node_unref(node->child);
	free(node);
}

void block_graph_free(struct block_graph *graph)
{
	struct block_node *node;

	if (!graph)
		return;
	while ((node = graph->nodes)) {
		assert(node->refs == 0);
		graph->nodes = node->list_next;
		node_free(node);
	}
	free(graph);
}

struct block_node *block_graph_find(struct block_graph *graph, const char *name)
{
	for (struct block_node *node = graph->nodes; node; node = node->list_next)
		if (strcmp(node->name, name) == 0)
			return node;
	return NULL;
}

int block_graph_remove(struct block_graph *graph, struct block_node *node, struct error *error)
{
	struct block_node **link = &graph->nodes;

	if (node->refs > 0)
		return error_set(error, -EBUSY, "Node '%s' is in use", node->name);
	while (*link && *link != node)
		link = &(*link)->list_next;
	assert(*link);
	*link = node->list_next;
	node_free(node);
	return 0;
}

void block_graph_each(struct block_graph *graph, block_node_visit_fn *visit, void *opaque)
{
	for (struct block_node *node = graph->nodes; node; node = node->list_next)
		visit(node, opaque);
}

/* ---- making a node ---- */

static bool name_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool name_is_well_formed(const char *name)
{
	if (!name_is_letter(name[0]))
		return false;
	for (; *name; name++)
		if (!name_is_letter(*name) && !strchr("0123456789-._", *name))
			return false;
	return true;
}

int block_node_alloc(const struct block_driver *driver, const char *name,
		     struct block_node **ret_node, struct error *error)
{
	size_t size = MAX(driver->node_size, sizeof(struct block_node));
	struct block_node *node;

	if (!name || !*name)
		return error_set(error, -EINVAL, "Node of driver '%s' needs a node-name",
				 driver->name);
	if (strlen(name) > BLOCK_NODE_NAME_MAX)
		return error_set(error, -EINVAL, "node-name '%.80s' is longer than %d characters",
				 name, BLOCK_NODE_NAME_MAX);
	if (!name_is_well_formed(name))
		return error_set(error, -EINVAL,
				 "Invalid node-name: '%s' (a letter, then letters, digits, '-', "
				 "'.', '_')",
				 name);
	node = calloc(1, size);
	if (!node)
		return error_set(error, -ENOMEM, "No memory for node '%s'", name);
	node->driver = driver;
	memcpy(node->name, name, strlen(name) + 1);
	node->limits = (struct block_limits){
		.request_alignment = BLOCK_SECTOR,
		.memory_alignment = 1,
		.physical_block_size = BLOCK_SECTOR,
	};
	*ret_node = node;
	return 0;
}

int block_node_set_child(struct block_node *node, struct block_node *child, struct error *error)
{
	if (!child)
		return error_set(error, -EINVAL, "Node '%s': driver '%s' needs a node under it",
				 node->name, node->driver->name);
	if (child->depth + 1 > BLOCK_FRAMES_MAX)
		return error_set(error, -EINVAL,
				 "Node '%s' over '%s': more than %d nodes over one another",
				 node->name, child->name, BLOCK_FRAMES_MAX);
	node->child = block_node_ref(child);
	node->depth = child->depth + 1;
	node->read_only = child->read_only;
	node->limits = child->limits;
	node->size = block_node_size(child);
	return 0;
}

static bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* What a driver found out about its disk must make sense before anybody computes with it. */
static int node_check_limits(const struct block_node *node, struct error *error)
{
	const struct block_limits *limits = &node->limits;
	uint32_t alignment = limits->request_alignment;

	if (!is_power_of_two(alignment) || alignment > 65536)
		return error_set(error, -EINVAL, "Node '%s': request alignment %u is not usable",
				 node->name, alignment);
	if (!is_power_of_two(limits->memory_alignment))
		return error_set(error, -EINVAL, "Node '%s': memory alignment %u is not usable",
				 node->name, limits->memory_alignment);
	if (!is_power_of_two(limits->physical_block_size))
		return error_set(error, -EINVAL, "Node '%s': physical block size %u is not usable",
				 node->name, limits->physical_block_size);
	if (node->size > INT64_MAX)
		return error_set(error, -EFBIG, "Node '%s': size %llu is too large", node->name,
				 (unsigned long long)node->size);
	if (node->size % alignment)
		return error_set(error, -EINVAL, "Node '%s': size %llu is not a multiple of %u",
				 node->name, (unsigned long long)node->size, alignment);
	return 0;
}

int block_graph_insert(struct block_graph *graph, struct block_node *node, struct error *error)
{
	int ret;

	if (block_graph_find(graph, node->name))
		return error_set(error, -EEXIST, "Duplicate nodes with node-name='%s'", node->name);
	ret = node_check_limits(node, error);
	if (ret < 0)
		return ret;
	node->graph = graph;
	node->list_next = graph->nodes;
	graph->nodes = node;
	return 0;
}

void block_node_discard(struct block_node *node)
{
	if (node)
		node_free(node);
}

int block_graph_add(struct block_graph *graph, struct block_node *node, int result,
		    struct block_node **ret_node, struct error *error)
{
	if (result == 0)
		result = block_graph_insert(graph, node, error);
	if (result == 0)
		*ret_node = node;
	else
		block_node_discard(node);
	return result;
}

struct block_node *block_node_ref(struct block_node *node)
{
	node->refs++;
	return node;
}

void block_node_unref(struct block_node *node)
{
	assert(node->refs > 0);
	node->refs--;
}

bool block_node_lies_on(const struct block_node *upper, const struct block_node *node)
{
	for (; upper; upper = upper->child)
		if (upper == node)
			return true;
	return false;
}

/* ---- size ---- */

static void node_tell_parents(struct block_node *child)
{
	struct block_node *node = child->graph ? child->graph->nodes : NULL;

	for (; node; node = node->list_next) {
		if (node->child != child || !node->driver->child_resized)
			continue;
		node->driver->child_resized(node);
		node_tell_parents(node); /* bounded by BLOCK_FRAMES_MAX */
	}
}

int block_node_resize(struct block_node *node, uint64_t size, struct error *error)
{
	uint32_t alignment = MAX(node->limits.request_alignment, BLOCK_SECTOR);
	int ret;

	if (!node->driver->resize)
		return error_set(error, -ENOTSUP, "Node '%s': driver '%s' cannot be resized",
				 node->name, node->driver->name);
	if (node->read_only)
		return error_set(error, -EROFS, "Node '%s' is read-only", node->name);
	if (size > INT64_MAX || size % alignment)
		return error_set(error, -EINVAL, "Node '%s': size %llu is not a multiple of %u",
				 node->name, (unsigned long long)size, alignment);
	ret = node->driver->resize(node, size, error);
	if (ret < 0)
		return ret;
	node_tell_parents(node);
	return 0;
}

int block_node_refresh(struct block_node *node, struct error *error)
{
	uint64_t before = block_node_size(node);
	int ret;

	if (!node->driver->refresh)
		return 0;
	ret = node->driver->refresh(node, error);
	if (ret < 0)
		return ret;
	if (block_node_size(node) != before)
		node_tell_parents(node);
	return 0;
}

int block_filter_resize(struct block_node *node, uint64_t size, struct error *error)
{
	return block_node_resize(node->child, size, error);
}

void block_filter_child_resized(struct block_node *node)
{
	store_relaxed(&node->size, block_node_size(node->child));
}
