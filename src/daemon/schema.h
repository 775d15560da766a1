/* SPDX-License-Identifier: MIT */
/*
 * What keys an option takes, as data: one table per kind of object drives reading, the sentences about mistakes, and --help.
 *
 * A value from dotted keys is a string and is understood by the field's type; a value from JSON may also have the type itself.
 * Pure; any thread.
 */
#ifndef RINGLANE_DAEMON_SCHEMA_H
#define RINGLANE_DAEMON_SCHEMA_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum schema_type {
	SCHEMA_STRING, /* const char *, lives as long as the tree */
	SCHEMA_BOOL,   /* bool: on, off, true, false, yes, no */
	SCHEMA_NUMBER, /* uint64_t, between min and max (0 = no bound) */
	SCHEMA_SIZE,   /* uint64_t in bytes; suffixes K M G T P E, powers of 1024 */
	SCHEMA_CHOICE, /* unsigned: index into choices, words separated by '|' */
	SCHEMA_TREE,   /* json_t *, borrowed: the caller looks inside */
};

enum schema_need { SCHEMA_OPTIONAL, SCHEMA_REQUIRED };

struct schema_field {
	const char *name; /* dotted */
	enum schema_type type;
	size_t offset; /* of the target's member */
	const char *help;
	enum schema_need need;
	const char *
		fallback; /* text that stands for a missing value; NULL leaves the target as it is */
	const char *choices;
	uint64_t min, max;
};

struct schema {
	const char *name;
	const char *help;
	const struct schema_field *fields;
	unsigned count;
};

/* Fills target. -EINVAL names the key: the first unexpected one, else the first field that is missing or wrong. */
int schema_read(const struct schema *schema, const json_t *tree, void *target, struct error *error);
/* The value under a dotted key, or NULL. */
json_t *schema_get(const json_t *tree, const char *name);
/* The string under a dotted key; fallback when there is none or it is empty. */
const char *schema_get_string(const json_t *tree, const char *name, const char *fallback);
/* One line for each key. */
void schema_print(const struct schema *schema, FILE *file);

/* A number in decimal or, after 0x, in hexadecimal; or a size with its suffix, from text. False when it is none or too large. */
bool schema_parse_number(const char *text, uint64_t *ret_value);
bool schema_parse_size(const char *text, uint64_t *ret_value);

#endif
