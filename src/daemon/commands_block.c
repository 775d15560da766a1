/* SPDX-License-Identifier: MIT */
/* blockdev-add, blockdev-del, block_resize. */
#include "daemon/commands.h"
#include "daemon/drain.h"

#include <errno.h>
#include <stdlib.h>

static void blockdev_add(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };

	command_answer(call, server_add_node(opaque, json_deep_copy(arguments), &error), &error);
}

static void blockdev_del(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };
	const char *name = command_text(arguments, "node-name");

	command_answer(call, server_remove_node(opaque, name, &error), &error);
}

/* ---- block_resize ---- */

struct resize {
	struct server *server;
	struct qmp_call *call;
	struct block_node *node; /* a reference */
	uint64_t size;
};

/* Nothing is in flight that could lie beyond the new end; what comes later is held against the new size. */
static void resize_drained(struct drain *drain, void *opaque)
{
	struct resize *resize = opaque;
	struct error error = { 0 };
	int result = block_node_resize(resize->node, resize->size, &error);

	server_check_sizes(resize->server);
	drain_end(drain);
	block_node_unref(resize->node);
	command_answer(resize->call, result, &error);
	free(resize);
}

static int begin_resize(struct server *server, struct qmp_call *call, const char *name,
			json_int_t size, struct error *error)
{
	struct block_node *node = block_graph_find(server->graph, name);
	struct resize *resize;

	if (!node)
		return error_set(error, -ENOENT, "Cannot find device='' nor node-name='%s'", name);
	if (size <= 0)
		return error_set(error, -EINVAL, "Parameter 'size' expects a >0 size");
	resize = calloc(1, sizeof(*resize));
	if (!resize)
		return error_set(error, -ENOMEM, "out of memory");
	*resize = (struct resize){ server, call, block_node_ref(node), (uint64_t)size };
	if (drain_begin(server, node, resize_drained, resize))
		return 0;
	block_node_unref(node);
	free(resize);
	return error_set(error, -ENOMEM, "out of memory");
}

static void block_resize(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };
	json_int_t size = json_integer_value(json_object_get(arguments, "size"));

	if (begin_resize(opaque, call, command_text(arguments, "node-name"), size, &error))
		qmp_fail(call, &error);
}

static const struct qmp_handler handlers[] = {
	{ "blockdev-add", blockdev_add },
	{ "blockdev-del", blockdev_del },
	{ "block_resize", block_resize },
};

const struct command_table commands_block = { handlers, ARRAY_SIZE(handlers) };
