/* SPDX-License-Identifier: MIT */
/* object-add, object-del, qom-set: IOThreads. */
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>

static void object_add(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };

	command_answer(call, server_add_iothread(opaque, json_incref(arguments), &error), &error);
}

static void object_del(struct qmp_call *call, json_t *arguments, void *opaque)
{
	struct error error = { 0 };
	const char *id = command_text(arguments, "id");

	command_answer(call, server_remove_iothread(opaque, id, &error), &error);
}

/* ---- qom-set ---- */

static struct iothread *find_object(struct server *server, const char *path)
{
	static const char prefix[] = "/objects/";

	if (!strncmp(path, prefix, strlen(prefix)))
		path += strlen(prefix);
	return iothreads_find(server->iothreads, path);
}

static uint64_t *find_property(struct poll_params *params, const char *name)
{
	if (!strcmp(name, "poll-max-ns"))
		return &params->max_ns;
	if (!strcmp(name, "poll-grow"))
		return &params->grow;
	return strcmp(name, "poll-shrink") ? NULL : &params->shrink;
}

static int set_property(struct iothread *iothread, const char *name, const json_t *value,
			struct error *error)
{
	struct poll_params params;
	uint64_t *property;
	int result;

	iothread_get_poll(iothread, &params);
	property = find_property(&params, name);
	if (!property)
		return error_set(error, -EINVAL, "Property 'iothread.%s' not found", name);
	if (!json_is_integer(value))
		return error_set(error, -EINVAL,
				 "Invalid parameter type for '%s', expected: integer", name);
	if (json_integer_value(value) < 0)
		return error_set(error, -EINVAL, "%s value must be in range [0, %lld]", name,
				 (long long)INT64_MAX);
	*property = (uint64_t)json_integer_value(value);
	result = iothread_set_poll(iothread, &params);
	return result ? error_set(error, result, "out of memory") : 0;
}

static void qom_set(struct qmp_call *call, json_t *arguments, void *opaque)
{
	const char *path = command_text(arguments, "path");
	struct iothread *iothread = find_object(opaque, path);
	struct error error = { 0 };
	int result;

	if (iothread)
		result = set_property(iothread, command_text(arguments, "property"),
				      json_object_get(arguments, "value"), &error);
	else
		result = error_set(&error, -ENODEV, "Device '%s' not found", path);
	command_answer(call, result, &error);
}

static const struct qmp_handler handlers[] = {
	{ "object-add", object_add },
	{ "object-del", object_del },
	{ "qom-set", qom_set },
};

const struct command_table commands_iothread = { handlers, ARRAY_SIZE(handlers) };
