/* SPDX-License-Identifier: MIT */
/* device_add, device_del. */
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>

#define DEVICE_PATH "/machine/peripheral/"

static void device_add(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };

	command_answer(call, server_add_device(opaque, json_incref(arguments), &error), &error);
}

static int begin_removal(struct server *server, const char *id, struct error *error)
{
	struct device_spec *spec;

	if (!strncmp(id, DEVICE_PATH, strlen(DEVICE_PATH)))
		id += strlen(DEVICE_PATH);
	spec = config_find_device(server->config, id);
	if (!spec)
		return error_set(error, -ENODEV, "Device '%s' not found", id);
	if (!spec->device || device_is_leaving(spec->device))
		return error_set(error, -EBUSY, "Device %s is already in the process of unplug",
				 id);
	server_remove_device(server, spec);
	return 0;
}

/* Answered at once; the event tells when it is gone. */
static void device_del(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };

	command_answer(call, begin_removal(opaque, command_text(arguments, "id"), &error), &error);
}

static const struct qmp_handler handlers[] = {
	{ "device_add", device_add },
	{ "device_del", device_del },
};

const struct command_table commands_device = { handlers, ARRAY_SIZE(handlers) };
