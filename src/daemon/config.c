/* SPDX-License-Identifier: MIT */
/*
 * The parsed command line as a whole: see config.h. The kinds of objects have files of their own; here is what holds them.
 */
#include "daemon/config.h"

#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

void config_init(struct config *config)
{
	*config = (struct config){ .action = CONFIG_RUN };
	STAILQ_INIT(&config->iothreads);
	STAILQ_INIT(&config->blockdevs);
	STAILQ_INIT(&config->exports);
	STAILQ_INIT(&config->devices);
	STAILQ_INIT(&config->uses);
}

void config_fini(struct config *config)
{
	struct iothread_spec *iothread;
	struct blockdev_spec *blockdev;
	struct export_spec *export;
	struct device_spec *device;

	while ((device = STAILQ_FIRST(&config->devices))) {
		STAILQ_REMOVE_HEAD(&config->devices, next);
		device_spec_free(device);
	}
	while ((export = STAILQ_FIRST(&config->exports))) {
		STAILQ_REMOVE_HEAD(&config->exports, next);
		export_spec_free(export);
	}
	while ((blockdev = STAILQ_FIRST(&config->blockdevs))) {
		STAILQ_REMOVE_HEAD(&config->blockdevs, next);
		blockdev_spec_free(blockdev);
	}
	while ((iothread = STAILQ_FIRST(&config->iothreads))) {
		STAILQ_REMOVE_HEAD(&config->iothreads, next);
		iothread_spec_free(iothread);
	}
}

int config_check_id(const char *key, const char *id, struct error *error)
{
	const char *at;

	for (at = id; *at; at++)
		if (!(isascii(*at) && isalnum(*at)) && !strchr("-._", *at))
			break;
	if (*at || !isalpha((unsigned char)id[0]))
		return error_set(
			error, -EINVAL,
			"Parameter '%s' expects an identifier: a letter, then letters, digits, '-', '.' and '_'",
			key);
	if (at - id > CONFIG_ID_MAX)
		return error_set(error, -EINVAL, "Parameter '%s' is longer than %d characters", key,
				 CONFIG_ID_MAX);
	return 0;
}

struct iothread_spec *config_find_iothread(const struct config *config, const char *id)
{
	struct iothread_spec *spec;

	STAILQ_FOREACH(spec, &config->iothreads, next)
	if (!strcmp(spec->id, id))
		return spec;
	return NULL;
}

struct blockdev_spec *config_find_blockdev(const struct config *config, const char *name)
{
	struct blockdev_spec *spec;

	STAILQ_FOREACH(spec, &config->blockdevs, next)
	if (!strcmp(spec->name, name))
		return spec;
	return NULL;
}

struct export_spec *config_find_export(const struct config *config, const char *id)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &config->exports, next)
	if (!strcmp(spec->id, id))
		return spec;
	return NULL;
}

struct device_spec *config_find_device(const struct config *config, const char *id)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &config->devices, next)
	if (!strcmp(spec->id, id))
		return spec;
	return NULL;
}

void config_remove_export(struct config *config, struct export_spec *spec)
{
	node_use_remove(config, &spec->use);
	STAILQ_REMOVE(&config->exports, spec, export_spec, next);
	export_spec_free(spec);
}

void config_remove_device(struct config *config, struct device_spec *spec)
{
	node_use_remove(config, &spec->use);
	STAILQ_REMOVE(&config->devices, spec, device_spec, next);
	device_spec_free(spec);
}

int config_parse(struct config *config, int argc, char **argv, struct error *error)
{
	int result = options_parse(config, argc, argv, error);

	if (result || config->action != CONFIG_RUN)
		return result;
	result = short_form_add(config, error);
	if (result)
		return result;
	if (STAILQ_EMPTY(&config->exports))
		return error_set(
			error, -EINVAL,
			"nothing to serve: give --export, or --socket-path and --blk-file (see --help)");
	result = export_specs_check(config, error);
	return result ? result : device_specs_check(config, error);
}
