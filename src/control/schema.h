/* SPDX-License-Identifier: MIT */
/*
 * The types of schema.json as tables; scripts/qmp-schema.py writes their definitions. For this folder alone.
 *
 * An object with a tag is a union: which members it has beside its own depends on the value of the tag. Members of an alternate are
 * told apart by the kind of JSON value.
 */
#ifndef RINGLANE_CONTROL_SCHEMA_H
#define RINGLANE_CONTROL_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

enum qmp_kind {
	QMP_STRING,
	QMP_INTEGER, /* between min and max */
	QMP_NUMBER,
	QMP_BOOLEAN,
	QMP_ANY,
	QMP_ARRAY,
	QMP_ENUM,
	QMP_OBJECT,
	QMP_ALTERNATE,
};

struct qmp_type;

struct qmp_member {
	const char *name;
	const struct qmp_type *type;
	bool optional;
};

struct qmp_variant {
	const char *value; /* of the tag */
	const struct qmp_type *type;
};

struct qmp_type {
	const char *name;
	enum qmp_kind kind;
	json_int_t min, max;
	const struct qmp_type *element;
	const char *const *values; /* NULL ends them */
	const struct qmp_member *members;
	unsigned member_count;
	const char *tag;
	const struct qmp_variant *variants;
	unsigned variant_count;
};

/* A command with its arguments, or an event with its data. */
struct qmp_message {
	const char *name;
	const struct qmp_type *members; /* an object */
	const struct qmp_type *returns; /* NULL: the empty object */
};

extern const struct qmp_type qmp_types[];
extern const unsigned qmp_type_count;
extern const struct qmp_message qmp_commands[];
extern const unsigned qmp_command_count;
extern const struct qmp_message qmp_events[];
extern const unsigned qmp_event_count;
extern const char qmp_introspection[]; /* JSON */

/* NULL: there is none of this name. */
const struct qmp_message *qmp_find_command(const char *name);
const struct qmp_message *qmp_find_event(const char *name);

#endif
