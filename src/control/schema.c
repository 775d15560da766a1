/* SPDX-License-Identifier: MIT */
/*
 * Does a value fit a type? Pure; any thread. The depth of the recursion is that of the value, which the parser bounds.
 *
 * Sentences are QEMU's, for there are programs that look for them.
 */
#include "control/schema.h"

#include "control/qmp.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where a value is, for the sentence about it: addr.path, iothread-vq-mapping[0].vqs. */
struct place {
	const struct place *parent; /* NULL: the whole */
	const char *name;           /* NULL: an element of an array */
	size_t index;
};

struct place_text {
	char text[256];
};

static int check_value(const struct qmp_type *type, const json_t *value, const struct place *place,
		       struct error *error);

static size_t place_append(const struct place *place, char *text, size_t size)
{
	size_t used;
	int more;

	if (!place->parent)
		return 0;
	used = place_append(place->parent, text, size);
	if (place->name)
		more = snprintf(text + used, size - used, "%s%s", used ? "." : "", place->name);
	else
		more = snprintf(text + used, size - used, "[%zu]", place->index);
	return MIN(used + (size_t)more, size - 1);
}

static const char *place_print(const struct place *place, struct place_text *text)
{
	text->text[0] = '\0';
	place_append(place, text->text, sizeof(text->text));
	return text->text;
}

static int refuse_kind(const struct place *place, const char *expected, struct error *error)
{
	struct place_text text;

	return error_set(error, -EINVAL, "Invalid parameter type for '%s', expected: %s",
			 place_print(place, &text), expected);
}

static int refuse_member(const struct place *parent, const char *name, const char *what,
			 struct error *error)
{
	const struct place place = { parent, name, 0 };
	struct place_text text;

	return error_set(error, -EINVAL, "Parameter '%s' is %s", place_print(&place, &text), what);
}

static int check_integer(const struct qmp_type *type, const json_t *value,
			 const struct place *place, struct error *error)
{
	json_int_t number = json_integer_value(value);
	struct place_text text;

	if (!json_is_integer(value))
		return refuse_kind(place, "integer", error);
	if (number < type->min || number > type->max)
		return error_set(error, -ERANGE, "Parameter '%s' expects %s_t",
				 place_print(place, &text),
				 type->max == INT64_MAX ? "uint64" : type->name);
	return 0;
}

static int check_array(const struct qmp_type *type, const json_t *value, const struct place *place,
		       struct error *error)
{
	struct place at = { .parent = place };
	int result = 0;

	if (!json_is_array(value))
		return refuse_kind(place, "array", error);
	for (; at.index < json_array_size(value) && result == 0; at.index++)
		result = check_value(type->element, json_array_get(value, at.index), &at, error);
	return result;
}

static int check_enum(const struct qmp_type *type, const json_t *value, const struct place *place,
		      struct error *error)
{
	const char *word = json_string_value(value);
	const char *const *known;
	struct place_text text;

	if (!word)
		return refuse_kind(place, "string", error);
	for (known = type->values; *known; known++)
		if (!strcmp(*known, word))
			return 0;
	return error_set(error, -EINVAL, "Parameter '%s' does not accept value '%s'",
			 place_print(place, &text), word);
}

static const struct qmp_member *find_member(const struct qmp_type *type, const char *name)
{
	unsigned i;

	for (i = 0; i < type->member_count; i++)
		if (!strcmp(type->members[i].name, name))
			return &type->members[i];
	return NULL;
}

/* What the tag adds; NULL when there is no tag, or no value of it that we know. */
static const struct qmp_type *find_variant(const struct qmp_type *type, const json_t *value)
{
	const char *word = type->tag ? json_string_value(json_object_get(value, type->tag)) : NULL;
	unsigned i;

	for (i = 0; word && i < type->variant_count; i++)
		if (!strcmp(type->variants[i].value, word))
			return type->variants[i].type;
	return NULL;
}

static int check_members(const struct qmp_type *type, const json_t *value,
			 const struct place *place, struct error *error)
{
	int result = 0;
	unsigned i;

	for (i = 0; i < type->member_count && result == 0; i++) {
		const struct qmp_member *member = &type->members[i];
		const struct place at = { place, member->name, 0 };
		const json_t *item = json_object_get(value, member->name);

		if (item)
			result = check_value(member->type, item, &at, error);
		else if (!member->optional)
			result = refuse_member(place, member->name, "missing", error);
	}
	return result;
}

static int check_unexpected(const struct qmp_type *type, const struct qmp_type *variant,
			    const json_t *value, const struct place *place, struct error *error)
{
	const char *name;
	json_t *item;

	json_object_foreach((json_t *)value, name, item)
	{
		if (!find_member(type, name) && !(variant && find_member(variant, name)))
			return refuse_member(place, name, "unexpected", error);
	}
	return 0;
}

static int check_object(const struct qmp_type *type, const json_t *value, const struct place *place,
			struct error *error)
{
	const struct qmp_type *variant = find_variant(type, value);
	int result;

	if (!json_is_object(value))
		return refuse_kind(place, "object", error);
	result = check_members(type, value, place, error);
	if (result == 0 && variant)
		result = check_members(variant, value, place, error);
	return result ? result : check_unexpected(type, variant, value, place, error);
}

static json_type json_type_of(enum qmp_kind kind)
{
	switch (kind) {
	case QMP_INTEGER:
		return JSON_INTEGER;
	case QMP_ARRAY:
		return JSON_ARRAY;
	case QMP_OBJECT:
		return JSON_OBJECT;
	default:
		return JSON_STRING;
	}
}

static int check_alternate(const struct qmp_type *type, const json_t *value,
			   const struct place *place, struct error *error)
{
	unsigned i;

	for (i = 0; i < type->member_count; i++)
		if (json_type_of(type->members[i].type->kind) == json_typeof(value))
			return check_value(type->members[i].type, value, place, error);
	return refuse_kind(place, type->name, error);
}

static int check_value(const struct qmp_type *type, const json_t *value, const struct place *place,
		       struct error *error)
{
	switch (type->kind) {
	case QMP_STRING:
		return json_is_string(value) ? 0 : refuse_kind(place, "string", error);
	case QMP_INTEGER:
		return check_integer(type, value, place, error);
	case QMP_NUMBER:
		return json_is_number(value) ? 0 : refuse_kind(place, "number", error);
	case QMP_BOOLEAN:
		return json_is_boolean(value) ? 0 : refuse_kind(place, "boolean", error);
	case QMP_ANY:
		return 0;
	case QMP_ARRAY:
		return check_array(type, value, place, error);
	case QMP_ENUM:
		return check_enum(type, value, place, error);
	case QMP_OBJECT:
		return check_object(type, value, place, error);
	case QMP_ALTERNATE:
		return check_alternate(type, value, place, error);
	}
	return -EINVAL;
}

/* ---- by name ---- */

static const struct qmp_message *find_message(const struct qmp_message *messages, unsigned count,
					      const char *name)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (!strcmp(messages[i].name, name))
			return &messages[i];
	return NULL;
}

const struct qmp_message *qmp_find_command(const char *name)
{
	return find_message(qmp_commands, qmp_command_count, name);
}

const struct qmp_message *qmp_find_event(const char *name)
{
	return find_message(qmp_events, qmp_event_count, name);
}

static const struct qmp_type *find_type(const char *name)
{
	const struct qmp_message *message = qmp_find_command(name);
	unsigned i;

	if (!message)
		message = qmp_find_event(name);
	if (message)
		return message->members;
	for (i = 0; i < qmp_type_count; i++)
		if (!strcmp(qmp_types[i].name, name))
			return &qmp_types[i];
	return NULL;
}

int qmp_schema_check(const char *type_or_command, const json_t *object, struct error *error)
{
	static const struct place whole;
	const struct qmp_type *type = find_type(type_or_command);

	assert(type);
	return check_value(type, object, &whole, error);
}

int qmp_schema_check_return(const char *command, const json_t *value, struct error *error)
{
	static const struct place outside;
	const struct place whole = { &outside, "return", 0 };
	const struct qmp_message *message = qmp_find_command(command);

	assert(message);
	if (!message->returns)
		return json_is_object(value) && json_object_size(value) == 0 ?
			       0 :
			       refuse_kind(&whole, "nothing", error);
	return check_value(message->returns, value, &whole, error);
}

json_t *qmp_schema_introspect(void)
{
	return json_loads(qmp_introspection, 0, NULL);
}
