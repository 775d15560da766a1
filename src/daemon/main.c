/* SPDX-License-Identifier: MIT */
/* ringlaned: reads the command line, goes to the background if wanted, and serves. Errors are one line and exit status 1. */
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/process.h"
#include "daemon/server.h"

#include <stdlib.h>

static void print_version(void)
{
	puts("ringlaned " RINGLANE_VERSION);
}

static void print_capabilities(void)
{
	puts("{\n  \"type\": \"block\",\n  \"features\": [\n    \"read-only\",\n    \"blk-file\"\n  ]\n}");
}

static int print(enum config_action action)
{
	switch (action) {
	case CONFIG_RUN:
		break;
	case CONFIG_HELP:
		options_print_help(stdout);
		break;
	case CONFIG_VERSION:
		print_version();
		break;
	case CONFIG_CAPABILITIES:
		print_capabilities();
		break;
	case CONFIG_OBJECT_HELP:
		iothread_spec_print_help(stdout);
		break;
	case CONFIG_BLOCKDEV_HELP:
		blockdev_spec_print_help(stdout);
		break;
	case CONFIG_EXPORT_HELP:
		export_spec_print_help(stdout);
		break;
	case CONFIG_DEVICE_HELP:
		device_spec_print_help(stdout);
		break;
	case CONFIG_CHARDEV_HELP:
		chardev_spec_print_help(stdout);
		break;
	case CONFIG_MONITOR_HELP:
		monitor_spec_print_help(stdout);
		break;
	}
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(struct config *config, struct error *error)
{
	struct server *server;
	int ready_fd = -1, status;

	if (config->daemonize && process_daemonize(&ready_fd, error))
		return EXIT_FAILURE;
	if (server_new(config, &server, error))
		return EXIT_FAILURE;
	if (config->daemonize)
		process_ready(&ready_fd);
	status = server_run(server);
	server_free(server);
	return status;
}

int main(int argc, char **argv)
{
	struct error error = { 0 };
	struct config config;
	int status;

	process_prepare();
	config_init(&config);
	if (config_parse(&config, argc, argv, &error))
		status = EXIT_FAILURE;
	else if (config.action != CONFIG_RUN)
		status = print(config.action);
	else
		status = serve(&config, &error);
	if (error.code)
		log_line("%s", error.text);
	config_fini(&config);
	return status;
}
