/* SPDX-License-Identifier: MIT */
/*
 * The parsed command line as a whole: see config.h. The kinds of objects have files of their own; here is what holds them.
 */
#include "daemon/config.h"

#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define LABEL_MAX 128

/* How options say which object they are about: by the first key that is there, or by a word. */
static const struct {
	const char *option, *key, *other_key, *word;
	int (*add)(struct config *config, json_t *tree, struct error *error);
} kinds[] = {
	[CONFIG_OBJECT] = { "--object", "id", "id", "iothread", iothread_spec_add },
	[CONFIG_BLOCKDEV] = { "--blockdev", "node-name", "driver", NULL, blockdev_spec_add },
	[CONFIG_EXPORT] = { "--export", "id", "id", "vhost-user-blk", export_spec_add },
	[CONFIG_DEVICE] = { "--device", "id", "id", "scsi-hd", device_spec_add },
	[CONFIG_CHARDEV] = { "--chardev", "id", "id", "socket", chardev_spec_add },
	[CONFIG_MONITOR] = { "--monitor", "chardev", "chardev", NULL, monitor_spec_add },
};

int config_add(struct config *config, enum config_kind kind, json_t *tree, struct error *error)
{
	const char *word = schema_get_string(tree, kinds[kind].other_key, kinds[kind].word);
	char label[LABEL_MAX];

	word = schema_get_string(tree, kinds[kind].key, word);
	snprintf(label, sizeof(label), "%s%s%s", kinds[kind].option, word ? " " : "",
		 word ? word : "");
	return kinds[kind].add(config, tree, error) ? error_prefix(error, "%s", label) : 0;
}

void config_init(struct config *config)
{
	*config = (struct config){ .action = CONFIG_RUN };
	STAILQ_INIT(&config->iothreads);
	STAILQ_INIT(&config->blockdevs);
	STAILQ_INIT(&config->exports);
	STAILQ_INIT(&config->devices);
	STAILQ_INIT(&config->chardevs);
	STAILQ_INIT(&config->monitors);
	STAILQ_INIT(&config->uses);
}

static void free_monitors(struct config *config)
{
	struct chardev_spec *chardev;
	struct monitor_spec *monitor;

	while ((monitor = STAILQ_FIRST(&config->monitors))) {
		STAILQ_REMOVE_HEAD(&config->monitors, next);
		monitor_spec_free(monitor);
	}
	while ((chardev = STAILQ_FIRST(&config->chardevs))) {
		STAILQ_REMOVE_HEAD(&config->chardevs, next);
		chardev_spec_free(chardev);
	}
}

void config_fini(struct config *config)
{
	while (!STAILQ_EMPTY(&config->devices))
		config_remove_device(config, STAILQ_FIRST(&config->devices));
	while (!STAILQ_EMPTY(&config->exports))
		config_remove_export(config, STAILQ_FIRST(&config->exports));
	config_remove_blockdevs_after(config, NULL);
	while (!STAILQ_EMPTY(&config->iothreads))
		config_remove_iothread(config, STAILQ_FIRST(&config->iothreads));
	free_monitors(config);
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

void config_remove_iothread(struct config *config, struct iothread_spec *spec)
{
	STAILQ_REMOVE(&config->iothreads, spec, iothread_spec, next);
	iothread_spec_free(spec);
}

void config_remove_blockdev(struct config *config, struct blockdev_spec *spec)
{
	STAILQ_REMOVE(&config->blockdevs, spec, blockdev_spec, next);
	blockdev_spec_free(spec);
}

void config_remove_blockdevs_after(struct config *config, struct blockdev_spec *spec)
{
	struct blockdev_spec *victim;

	while ((victim = spec ? STAILQ_NEXT(spec, next) : STAILQ_FIRST(&config->blockdevs)))
		config_remove_blockdev(config, victim);
}

/* A node that nobody uses yet may be written by whoever comes through a monitor. */
static void mark_unused(struct config *config)
{
	struct blockdev_spec *spec;
	struct node_use *use;

	STAILQ_FOREACH(spec, &config->blockdevs, next)
	spec->unused = true;
	STAILQ_FOREACH(use, &config->uses, next)
	for (spec = use->node; spec; spec = spec->child)
		spec->unused = false;
	STAILQ_FOREACH(spec, &config->blockdevs, next)
	if (spec->unused)
		spec->written = spec->optional = true;
}

int config_parse(struct config *config, int argc, char **argv, struct error *error)
{
	int result = options_parse(config, argc, argv, error);

	if (result || config->action != CONFIG_RUN)
		return result;
	result = short_form_add(config, error);
	if (result)
		return result;
	if (STAILQ_EMPTY(&config->exports) && STAILQ_EMPTY(&config->monitors))
		return error_set(
			error, -EINVAL,
			"nothing to serve: give --export, or --socket-path and --blk-file (see --help)");
	result = export_specs_check(config, error);
	if (result == 0)
		result = device_specs_check(config, error);
	if (result == 0)
		result = monitor_specs_check(config, error);
	if (result == 0 && !STAILQ_EMPTY(&config->monitors))
		mark_unused(config);
	return result;
}
