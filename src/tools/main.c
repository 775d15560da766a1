// SPDX-License-Identifier: MIT
/* `ringlane`: a table of subcommands, each a thin face of libringlane or of the control socket. */
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "bench", "measure a disk, in fio's words", tool_bench },
	{ "ctl", "send a command to a daemon's control socket", tool_ctl },
	{ "info", "show what a disk's back end offers", tool_info },
	{ "map", "show who serves what, and how queues spread over CPUs", tool_map },
};

static void help_print(void)
{
	printf("usage: ringlane COMMAND [ARGUMENTS]\n\n"
	       "Drives virtio disks from user space, and asks the daemon that serves them.\n\ncommands:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	printf("\nURIs of disks:\n"
	       "  vhost-user-blk:PATH, vhost-user-scsi:PATH[?target=T&lun=L]   a back end's Unix socket\n"
	       "  vfio-blk:ADDRESS, vfio-scsi:ADDRESS[?target=T&lun=L]         a PCI function, 0000:00:04.0\n");
	printf("\noptions:\n"
	       "  --help    show this help; ringlane COMMAND --help tells more\n"
	       "  --version show the version\n");
}

int tool_fail(const char *command, const struct error *error)
{
	fprintf(stderr, "%s: %s\n", command, error->text);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "ringlane: a command is wanted, see ringlane --help\n");
		return 1;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help_print();
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("ringlane %s\n", ringlane_version());
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 2, argv + 2);
	fprintf(stderr, "ringlane: there is no command '%s', see ringlane --help\n", argv[1]);
	return 1;
}
