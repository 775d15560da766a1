/* SPDX-License-Identifier: MIT */
/* The command line: one table drives parsing and --help (and through it the check of the manual page). */
#ifndef RINGLANE_DAEMON_OPTIONS_H
#define RINGLANE_DAEMON_OPTIONS_H

#include "daemon/config.h"

/* Hands each option to the part of config that it is for. */
int options_parse(struct config *config, int argc, char **argv, struct error *error);
void options_print_help(FILE *file);

#endif
