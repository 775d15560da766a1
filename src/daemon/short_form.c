/* SPDX-License-Identifier: MIT */
/*
 * The back-end program convention of vhost-user: one disk, described by --socket-path or --fd, --blk-file and --read-only. It is
 * rewritten as one --blockdev and one --export, so that everything after it is the same. Main thread.
 */
#include "daemon/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define NODE "blk-file"
#define EXPORT "disk"

static int check(const struct config *config, struct error *error)
{
	const struct short_form *form = &config->short_form;
	const char *given = form->socket_path ? "--socket-path" :
			    form->fd_text     ? "--fd" :
			    form->blk_file    ? "--blk-file" :
						"--read-only";

	if (!STAILQ_EMPTY(&config->exports) || !STAILQ_EMPTY(&config->blockdevs))
		return error_set(error, -EINVAL,
				 "%s cannot be used together with --blockdev and --export", given);
	if (form->socket_path && form->fd_text)
		return error_set(error, -EINVAL, "--socket-path and --fd exclude each other");
	if (!form->blk_file)
		return error_set(error, -EINVAL, "%s needs --blk-file", given);
	if (!form->socket_path && !form->fd_text)
		return error_set(error, -EINVAL, "%s needs --socket-path or --fd", given);
	return 0;
}

static void set(json_t *tree, const char *key, const char *value)
{
	json_object_set_new_nocheck(tree, key, json_string_nocheck(value));
}

static json_t *make_blockdev(const struct short_form *form)
{
	json_t *tree = json_object();
	struct stat status;
	bool is_device = stat(form->blk_file, &status) == 0 && S_ISBLK(status.st_mode);

	set(tree, "driver", is_device ? "host_device" : "file");
	set(tree, "node-name", NODE);
	set(tree, "filename", form->blk_file);
	set(tree, "discard", "unmap");
	set(tree, "read-only", form->read_only ? "on" : "off");
	return tree;
}

static json_t *make_export(const struct short_form *form)
{
	json_t *tree = json_object(), *address = json_object();

	set(address, "type", form->socket_path ? "unix" : "fd");
	if (form->socket_path)
		set(address, "path", form->socket_path);
	else
		set(address, "str", form->fd_text);
	set(tree, "type", "vhost-user-blk");
	set(tree, "id", EXPORT);
	set(tree, "node-name", NODE);
	set(tree, "writable", form->read_only ? "off" : "on");
	json_object_set_new(tree, "addr", address);
	return tree;
}

/* What is said about these objects names the options that the user wrote, and the disk's serial is made of the file's name. */
static void name_origin(struct config *config)
{
	struct blockdev_spec *blockdev = STAILQ_FIRST(&config->blockdevs);
	const char *path = config->short_form.blk_file, *base = strrchr(path, '/');
	struct export_spec *export = STAILQ_FIRST(&config->exports);

	snprintf(blockdev->origin, sizeof(blockdev->origin), "--blk-file");
	snprintf(export->origin, sizeof(export->origin), "%s",
		 config->short_form.socket_path ? "--socket-path" : "--fd");
	export_spec_make_serial(export, base ? base + 1 : path, path);
}

int short_form_add(struct config *config, struct error *error)
{
	const struct short_form *form = &config->short_form;
	int result;

	if (!form->socket_path && !form->fd_text && !form->blk_file && !form->read_only)
		return 0;
	result = check(config, error);
	if (result == 0)
		result = config_add(config, CONFIG_BLOCKDEV, make_blockdev(form), error);
	if (result == 0)
		result = config_add(config, CONFIG_EXPORT, make_export(form), error);
	if (result == 0)
		name_origin(config);
	return result;
}
