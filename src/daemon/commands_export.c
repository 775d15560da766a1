/* SPDX-License-Identifier: MIT */
/* block-export-add, block-export-del, quit. */
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>

static void block_export_add(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };

	command_answer(call, server_add_export(opaque, json_incref(arguments), &error), &error);
}

static int begin_removal(struct server *server, const char *id, bool hard, struct error *error)
{
	struct export_spec *spec = config_find_export(server->config, id);

	if (!spec)
		return error_set(error, -ENOENT, "Export '%s' is not found", id);
	if (spec->leaving)
		return error_set(error, -EBUSY, "Export '%s' is already shutting down", id);
	if (!hard && export_is_connected(spec->export))
		return error_set(error, -EBUSY, "export '%s' still in use", id);
	server_remove_export(server, spec);
	return 0;
}

static void block_export_del(struct qmp_call *call, json_t *arguments, void *opaque)
{
	const char *mode = command_text(arguments, "mode");
	bool hard = mode && !strcmp(mode, "hard");
	struct error error = { 0 };

	command_answer(call, begin_removal(opaque, command_text(arguments, "id"), hard, &error),
		       &error);
}

static void quit(struct qmp_call *call, json_t *arguments, void *opaque)
{
	qmp_return(call, NULL);
	server_shut_down(opaque, "host-qmp-quit");
}

static const struct qmp_handler handlers[] = {
	{ "block-export-add", block_export_add },
	{ "block-export-del", block_export_del },
	{ "quit", quit },
};

const struct command_table commands_export = { handlers, ARRAY_SIZE(handlers) };
