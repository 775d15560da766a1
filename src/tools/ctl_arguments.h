/* SPDX-License-Identifier: MIT */
/*
 * KEY=VALUE words to the arguments of a QMP command. Dots in a key are members of members, numbers between dots elements of lists. A
 * value that is a JSON object or list is taken as it is; any other one gets the type that the schema has for its key, and without a
 * schema looks like what it is: integer, true, false, null, or else a string. A word that is a JSON object gives several members.
 * Pure.
 */
#ifndef RINGLANE_TOOLS_CTL_ARGUMENTS_H
#define RINGLANE_TOOLS_CTL_ARGUMENTS_H

#include "base/error.h"

#include <jansson.h>

/* schema: what query-qmp-schema answered, or NULL. *ret_arguments is the caller's. A value that does not look like its type is left a
 * string: the server says what is wrong with it. */
int ctl_arguments_make(const json_t *schema, const char *command, const char *const *words,
		       unsigned count, json_t **ret_arguments, struct error *error);

#endif
