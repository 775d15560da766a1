/* SPDX-License-Identifier: MIT */
/*
 * argv, option by option. The table below is all there is to say about an option: how it is written, what its help is, and
 * which function takes its value. Long options may be written `--name value` or `--name=value`.
 *
 * Main thread, before anything is opened.
 */
#include "daemon/options.h"

#include "daemon/keyval.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef int option_take_fn(struct config *config, const char *value, struct error *error);

struct option {
	const char *name;
	char letter;
	const char *argument; /* NULL: takes none */
	const char *help;
	option_take_fn *take;
};

/* A word alone, as older command lines have it, is a switch: server,nowait. */
static const struct {
	const char *word, *pair;
} switches[] = { { "server", "server=on" },
		 { "wait", "wait=on" },
		 { "nowait", "wait=off" },
		 { "pretty", "pretty=on" } };

static const char *find_pair(const char *text, size_t length)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(switches); i++)
		if (strlen(switches[i].word) == length && !memcmp(text, switches[i].word, length))
			return switches[i].pair;
	return NULL;
}

/* The same text with such words as pairs; the caller frees it. Not the first one, which may be the value of an implied key. */
static char *spell_switches(const char *text)
{
	char *spelt = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&spelt, &size);
	bool is_key = false; /* a doubled comma is part of a value */

	while (file && *text) {
		size_t length = strcspn(text, ",");
		const char *pair = is_key ? find_pair(text, length) : NULL;

		fprintf(file, "%.*s", pair ? INT_MAX : (int)length, pair ? pair : text);
		text += length;
		length = strspn(text, ",");
		is_key = length & 1;
		fprintf(file, "%.*s", (int)length, text);
		text += length;
	}
	if (file)
		fclose(file);
	return spelt;
}

static int take_tree(struct config *config, const char *value, const char *implied_key,
		     enum config_kind kind, struct error *error)
{
	json_t *tree;
	int result = keyval_parse(value, implied_key, &tree, error);

	return result ? result : config_add(config, kind, tree, error);
}

static int take_help_or_tree(struct config *config, const char *value, enum config_action help,
			     const char *implied_key, enum config_kind kind, struct error *error)
{
	if (!strcmp(value, "help") || !strcmp(value, "?")) {
		config->action = help;
		return 0;
	}
	return take_tree(config, value, implied_key, kind, error);
}

static int take_object(struct config *config, const char *value, struct error *error)
{
	return take_help_or_tree(config, value, CONFIG_OBJECT_HELP, "qom-type", CONFIG_OBJECT,
				 error);
}

static int take_blockdev(struct config *config, const char *value, struct error *error)
{
	return take_help_or_tree(config, value, CONFIG_BLOCKDEV_HELP, "driver", CONFIG_BLOCKDEV,
				 error);
}

static int take_export(struct config *config, const char *value, struct error *error)
{
	return take_help_or_tree(config, value, CONFIG_EXPORT_HELP, "type", CONFIG_EXPORT, error);
}

static int take_device(struct config *config, const char *value, struct error *error)
{
	return take_help_or_tree(config, value, CONFIG_DEVICE_HELP, "driver", CONFIG_DEVICE, error);
}

static int take_switches(struct config *config, const char *value, enum config_action help,
			 const char *implied_key, enum config_kind kind, struct error *error)
{
	char *spelt = spell_switches(value);
	int result = spelt ? take_help_or_tree(config, spelt, help, implied_key, kind, error) :
			     error_set(error, -ENOMEM, "out of memory");

	free(spelt);
	return result;
}

static int take_chardev(struct config *config, const char *value, struct error *error)
{
	return take_switches(config, value, CONFIG_CHARDEV_HELP, "backend", CONFIG_CHARDEV, error);
}

static int take_monitor(struct config *config, const char *value, struct error *error)
{
	return take_switches(config, value, CONFIG_MONITOR_HELP, "chardev", CONFIG_MONITOR, error);
}

static int take_pidfile(struct config *config, const char *value, struct error *error)
{
	config->pidfile = value;
	return 0;
}

static int take_daemonize(struct config *config, const char *value, struct error *error)
{
	config->daemonize = true;
	return 0;
}

static int take_socket_path(struct config *config, const char *value, struct error *error)
{
	config->short_form.socket_path = value;
	return 0;
}

static int take_fd(struct config *config, const char *value, struct error *error)
{
	config->short_form.fd_text = value;
	return 0;
}

static int take_blk_file(struct config *config, const char *value, struct error *error)
{
	config->short_form.blk_file = value;
	return 0;
}

static int take_read_only(struct config *config, const char *value, struct error *error)
{
	config->short_form.read_only = true;
	return 0;
}

static int take_capabilities(struct config *config, const char *value, struct error *error)
{
	config->action = CONFIG_CAPABILITIES;
	return 0;
}

static int take_help(struct config *config, const char *value, struct error *error)
{
	config->action = CONFIG_HELP;
	return 0;
}

static int take_version(struct config *config, const char *value, struct error *error)
{
	config->action = CONFIG_VERSION;
	return 0;
}

static const struct option options[] = {
	{ "blockdev", 0, "KEYS|JSON", "add a node: a disk, or a layer over one", take_blockdev },
	{ "object", 0, "KEYS|JSON", "add an IOThread", take_object },
	{ "export", 0, "KEYS|JSON", "serve a disk or a SCSI adapter on a socket", take_export },
	{ "device", 0, "KEYS|JSON", "put a disk behind a SCSI adapter", take_device },
	{ "chardev", 0, "KEYS|JSON", "name a socket for --monitor", take_chardev },
	{ "monitor", 0, "KEYS|JSON", "let clients control this daemon there, by QMP",
	  take_monitor },
	{ "pidfile", 0, "PATH", "write the process id there once everything listens",
	  take_pidfile },
	{ "daemonize", 0, NULL, "go to the background once everything listens", take_daemonize },
	{ "socket-path", 0, "PATH", "short form: listen on this Unix socket", take_socket_path },
	{ "fd", 0, "N", "short form: serve this inherited socket", take_fd },
	{ "blk-file", 0, "PATH", "short form: the image or block device", take_blk_file },
	{ "read-only", 0, NULL, "short form: refuse writes", take_read_only },
	{ "print-capabilities", 0, NULL, "print what this back end can do, as JSON",
	  take_capabilities },
	{ "help", 'h', NULL, "print this", take_help },
	{ "version", 'V', NULL, "print the version", take_version },
};

/* qemu-storage-daemon has these; its users are told what we have instead. */
static const struct {
	const char *name, *instead;
} foreign[] = {
	{ "nbd-server", "only vhost-user is served" },
	{ "trace", "there are no trace points" },
};

static const struct option *find_option(const char *text, size_t length)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		if (length == 2 && text[0] == '-' && text[1] == options[i].letter)
			return &options[i];
		if (length > 2 && !strncmp(text, "--", 2) &&
		    strlen(options[i].name) == length - 2 &&
		    !memcmp(text + 2, options[i].name, length - 2))
			return &options[i];
	}
	return NULL;
}

static int refuse_option(const char *text, size_t length, struct error *error)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(foreign); i++)
		if (length > 2 && strlen(foreign[i].name) == length - 2 &&
		    !memcmp(text + 2, foreign[i].name, length - 2))
			return error_set(error, -EINVAL,
					 "option '--%s' of qemu-storage-daemon is not known: %s",
					 foreign[i].name, foreign[i].instead);
	if (text[0] != '-')
		return error_set(error, -EINVAL, "unexpected argument '%s'", text);
	return error_set(error, -EINVAL, "unknown option '%.*s'", (int)length, text);
}

/* Takes the option at argv[*index] and its value; leaves *index at the last word that was used. */
static int take_option(struct config *config, int argc, char **argv, int *index,
		       struct error *error)
{
	const char *text = argv[*index];
	size_t length = strcspn(text, "=");
	const struct option *option = find_option(text, length);
	const char *value = text[length] ? text + length + 1 : NULL;

	if (!option)
		return refuse_option(text, length, error);
	if (!option->argument && value)
		return error_set(error, -EINVAL, "option '--%s' takes no value", option->name);
	if (option->argument && !value) {
		if (*index + 1 >= argc)
			return error_set(error, -EINVAL, "option '--%s' needs a value: %s",
					 option->name, option->argument);
		value = argv[++*index];
	}
	if (option->take(config, value, error) == 0)
		return 0;
	/* a sentence that does not say which object it is about at least says which option */
	return error->text[0] == '-' ? error->code : error_prefix(error, "--%s", option->name);
}

int options_parse(struct config *config, int argc, char **argv, struct error *error)
{
	int index, result;

	for (index = 1; index < argc; index++) {
		result = take_option(config, argc, argv, &index, error);
		if (result || config->action != CONFIG_RUN)
			return result;
	}
	return 0;
}

void options_print_help(FILE *file)
{
	char text[64];
	size_t i;

	fputs("usage: ringlaned [OPTION]...\n"
	      "Serve disks to virtual machines over vhost-user, each virtqueue on the IOThread it is mapped to.\n\n",
	      file);
	for (i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *option = &options[i];

		snprintf(text, sizeof(text), "--%s%s%s", option->name, option->argument ? " " : "",
			 option->argument ? option->argument : "");
		if (option->letter)
			fprintf(file, "  -%c, %-26s %s\n", option->letter, text, option->help);
		else
			fprintf(file, "      %-26s %s\n", text, option->help);
	}
	fputs("\nKEYS is key=value,... as qemu-storage-daemon takes it (a comma in a value is doubled); JSON is an object.\n",
	      file);
	fputs("\nKeys of --object iothread:\n", file);
	iothread_spec_print_help(file);
	fputs("\nKeys of --blockdev, by driver:\n", file);
	blockdev_spec_print_help(file);
	fputs("\nKeys of --export, by type:\n", file);
	export_spec_print_help(file);
	fputs("\nKeys of --device scsi-hd:\n", file);
	device_spec_print_help(file);
	fputs("\nKeys of --chardev socket:\n", file);
	chardev_spec_print_help(file);
	fputs("\nKeys of --monitor:\n", file);
	monitor_spec_print_help(file);
	fputs("\nSignals: TERM and INT finish what is in flight and exit; HUP reads the sizes of all images again;\n"
	      "USR1 prints which IOThread serves which queue.\n",
	      file);
}
