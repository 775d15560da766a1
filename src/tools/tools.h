/* SPDX-License-Identifier: MIT */
/* The subcommands. Each takes the words after its name and returns the exit status. */
#ifndef RINGLANE_TOOLS_TOOLS_H
#define RINGLANE_TOOLS_TOOLS_H

#include "base/error.h"

#include <ringlane/ringlane.h>

int tool_bench(int argc, char **argv);
int tool_ctl(int argc, char **argv);
int tool_info(int argc, char **argv);
int tool_map(int argc, char **argv);

/* Says "COMMAND: the sentence" on the standard error and returns 1. */
int tool_fail(const char *command, const struct error *error);

static_assert(sizeof(struct ringlane_error) == sizeof(struct error) &&
		      offsetof(struct ringlane_error, text) == offsetof(struct error, text),
	      "the library's error object is the internal one");

static inline struct ringlane_error *public_error(struct error *error)
{
	return (struct ringlane_error *)error;
}

#endif
