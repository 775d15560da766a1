/* SPDX-License-Identifier: MIT */
/*
 * The commands of the control protocol: one file per subject, each with a table. A handler gets arguments that fit the schema, and
 * ends in one answer. Main thread.
 */
#ifndef RINGLANE_DAEMON_COMMANDS_H
#define RINGLANE_DAEMON_COMMANDS_H

#include "control/qmp.h"
#include "daemon/server_internal.h"

struct command_table {
	const struct qmp_handler *handlers;
	unsigned count;
};

extern const struct command_table commands_block, commands_device, commands_export,
	commands_iothread, commands_query;

/* All of them, in one table that the caller frees; NULL: no memory. */
struct qmp_handler *commands_collect(unsigned *ret_count);

/* The answer of a command that returns nothing. */
void command_answer(struct qmp_call *call, int result, const struct error *error);
/* A string argument; NULL: it was not given. */
const char *command_text(const json_t *arguments, const char *name);

#endif
