/* SPDX-License-Identifier: MIT */
/* `--chardev socket,…` and `--monitor …`: where clients of the control protocol come from. Pure; main thread. */
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHARDEV_AT(member) offsetof(struct chardev_spec, member)
#define MONITOR_AT(member) offsetof(struct monitor_spec, member)

static const struct schema_field chardev_fields[] = {
	{ "backend", SCHEMA_CHOICE, CHARDEV_AT(backend), "what it is", SCHEMA_REQUIRED,
	  .choices = "socket" },
	{ "id", SCHEMA_STRING, CHARDEV_AT(id), "its name", SCHEMA_REQUIRED },
	{ "path", SCHEMA_STRING, CHARDEV_AT(path), "path of the Unix socket", SCHEMA_REQUIRED },
	{ "server", SCHEMA_CHOICE, CHARDEV_AT(server), "always so: clients connect to us",
	  .fallback = "on", .choices = "on" },
	{ "wait", SCHEMA_CHOICE, CHARDEV_AT(wait), "always so: clients may come later",
	  .fallback = "off", .choices = "off" },
};

static const struct schema chardev_schema = { "socket", "a Unix socket", chardev_fields,
					      ARRAY_SIZE(chardev_fields) };

static const struct schema_field monitor_fields[] = {
	{ "chardev", SCHEMA_STRING, MONITOR_AT(chardev_id), "the chardev that it listens on",
	  SCHEMA_REQUIRED },
	{ "mode", SCHEMA_CHOICE, MONITOR_AT(mode), "always so: QMP", .fallback = "control",
	  .choices = "control" },
	{ "pretty", SCHEMA_BOOL, MONITOR_AT(pretty), "spread answers over lines, for people",
	  .fallback = "off" },
};

static const struct schema monitor_schema = { "monitor", "the control protocol", monitor_fields,
					      ARRAY_SIZE(monitor_fields) };

/* ---- chardevs ---- */

static int read_chardev(const struct config *config, struct chardev_spec *spec, struct error *error)
{
	const struct chardev_spec *other;
	int result = schema_read(&chardev_schema, spec->tree, spec, error);

	if (result == 0)
		result = config_check_id("id", spec->id, error);
	if (result)
		return result;
	if (!spec->path[0])
		return error_set(error, -EINVAL, "Parameter 'path' must not be empty");
	STAILQ_FOREACH(other, &config->chardevs, next)
	if (!strcmp(other->id, spec->id))
		return error_set(error, -EEXIST, "Chardev with id '%s' already exists", spec->id);
	return 0;
}

int chardev_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct chardev_spec *spec = calloc(1, sizeof(*spec));
	int result;

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	spec->tree = tree;
	result = read_chardev(config, spec, error);
	if (result) {
		chardev_spec_free(spec);
		return result;
	}
	snprintf(spec->origin, sizeof(spec->origin), "--chardev %s", spec->id);
	STAILQ_INSERT_TAIL(&config->chardevs, spec, next);
	return 0;
}

void chardev_spec_free(struct chardev_spec *spec)
{
	json_decref(spec->tree);
	free(spec);
}

void chardev_spec_print_help(FILE *file)
{
	schema_print(&chardev_schema, file);
}

/* ---- monitors ---- */

int monitor_spec_add(struct config *config, json_t *tree, struct error *error)
{
	struct monitor_spec *spec = calloc(1, sizeof(*spec));
	int result;

	if (!spec) {
		json_decref(tree);
		return error_set(error, -ENOMEM, "out of memory");
	}
	spec->tree = tree;
	result = schema_read(&monitor_schema, tree, spec, error);
	if (result) {
		monitor_spec_free(spec);
		return result;
	}
	STAILQ_INSERT_TAIL(&config->monitors, spec, next);
	return 0;
}

void monitor_spec_free(struct monitor_spec *spec)
{
	json_decref(spec->tree);
	free(spec);
}

void monitor_spec_print_help(FILE *file)
{
	schema_print(&monitor_schema, file);
}

static struct chardev_spec *find_chardev(const struct config *config, const char *id)
{
	struct chardev_spec *spec;

	STAILQ_FOREACH(spec, &config->chardevs, next)
	if (!strcmp(spec->id, id))
		return spec;
	return NULL;
}

static const struct monitor_spec *find_monitor_of(const struct config *config,
						  const struct chardev_spec *chardev)
{
	const struct monitor_spec *spec;

	STAILQ_FOREACH(spec, &config->monitors, next)
	if (spec->chardev == chardev)
		return spec;
	return NULL;
}

int monitor_specs_check(struct config *config, struct error *error)
{
	struct chardev_spec *chardev;
	struct monitor_spec *spec;

	STAILQ_FOREACH(spec, &config->monitors, next)
	{
		chardev = find_chardev(config, spec->chardev_id);
		if (!chardev)
			return error_set(error, -ENOENT, "--monitor: chardev '%s' not found",
					 spec->chardev_id);
		if (find_monitor_of(config, chardev))
			return error_set(error, -EBUSY,
					 "--monitor: chardev '%s' is that of another monitor",
					 chardev->id);
		spec->chardev = chardev;
	}
	STAILQ_FOREACH(chardev, &config->chardevs, next)
	if (!find_monitor_of(config, chardev))
		return error_set(error, -EINVAL, "%s: no monitor uses it", chardev->origin);
	return 0;
}
