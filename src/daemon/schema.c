/* SPDX-License-Identifier: MIT */
/*
 * Reads a tree by a table of fields: see schema.h.
 *
 * First the tree is walked for keys that no field knows, so that a misspelt key is named before anything else is said; then
 * each field looks for its value. One reader per type, found by a table.
 */
#include "daemon/schema.h"

#include "base/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_TEXT 512

static bool parse_hex(const char *digits, uint64_t *ret_value)
{
	size_t length = strspn(digits, "0123456789abcdefABCDEF");

	if (length == 0 || length > 16 || digits[length])
		return false;
	*ret_value = strtoull(digits, NULL, 16);
	return true;
}

bool schema_parse_number(const char *text, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!text[0])
		return false;
	if (text[0] == '0' && (text[1] | 0x20) == 'x')
		return parse_hex(text + 2, ret_value);
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || mul_overflows(value, 10u, &value) ||
		    add_overflows(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*ret_value = value;
	return true;
}

bool schema_parse_size(const char *text, uint64_t *ret_value)
{
	static const char suffixes[] = "BKMGTPE";
	size_t length = strlen(text);
	const char *suffix;
	char digits[32];
	uint64_t value;

	if (length == 0 || length >= sizeof(digits))
		return false;
	suffix = strchr(suffixes, text[length - 1] & ~0x20);
	snprintf(digits, sizeof(digits), "%.*s", (int)(suffix ? length - 1 : length), text);
	if (!schema_parse_number(digits, &value) ||
	    (suffix && mul_overflows(value, 1ull << (10 * (suffix - suffixes)), &value)))
		return false;
	*ret_value = value;
	return true;
}

/* ---- readers: value is never NULL ---- */

static int read_string(const struct schema_field *field, const json_t *value, void *target,
		       struct error *error)
{
	if (!json_is_string(value))
		return error_set(error, -EINVAL, "Parameter '%s' expects a string", field->name);
	*(const char **)target = json_string_value(value);
	return 0;
}

static int find_word(const char *word, const char *const *words, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (!strcmp(words[i], word))
			return (int)i;
	return -1;
}

static int read_bool(const struct schema_field *field, const json_t *value, void *target,
		     struct error *error)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "n", "y" };
	int index = -1;

	if (json_is_boolean(value))
		index = json_is_true(value);
	else if (json_is_string(value))
		index = find_word(json_string_value(value), words, ARRAY_SIZE(words));
	if (index < 0)
		return error_set(error, -EINVAL, "Parameter '%s' expects 'on' or 'off'",
				 field->name);
	*(bool *)target = index & 1;
	return 0;
}

static bool to_number(const json_t *value, bool (*parse)(const char *, uint64_t *),
		      uint64_t *ret_number)
{
	if (json_is_string(value))
		return parse(json_string_value(value), ret_number);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret_number = (uint64_t)json_integer_value(value);
	return true;
}

static int read_number(const struct schema_field *field, const json_t *value, void *target,
		       struct error *error)
{
	uint64_t max = field->max ? field->max : UINT64_MAX, number;

	if (to_number(value, schema_parse_number, &number) && number >= field->min &&
	    number <= max) {
		*(uint64_t *)target = number;
		return 0;
	}
	if (field->max)
		return error_set(error, -EINVAL,
				 "Parameter '%s' expects a number from %llu to %llu", field->name,
				 (unsigned long long)field->min, (unsigned long long)max);
	return error_set(error, -EINVAL, "Parameter '%s' expects a non-negative number below 2^64",
			 field->name);
}

static int read_size(const struct schema_field *field, const json_t *value, void *target,
		     struct error *error)
{
	uint64_t size;

	if (!to_number(value, schema_parse_size, &size))
		return error_set(
			error, -EINVAL,
			"Parameter '%s' expects a size: a whole number, then nothing or one of K M G T P E",
			field->name);
	*(uint64_t *)target = size;
	return 0;
}

/* "auto|on|off" -> "auto, on, off" */
static void format_choices(const char *choices, char *text, size_t size)
{
	size_t used = 0;

	for (; *choices && used + 3 < size; choices++) {
		text[used++] = *choices == '|' ? ',' : *choices;
		if (*choices == '|')
			text[used++] = ' ';
	}
	text[used] = '\0';
}

static int find_choice(const char *choices, const char *word)
{
	size_t length = strlen(word);
	int index;

	for (index = 0;; index++) {
		size_t end = strcspn(choices, "|");

		if (end == length && !memcmp(choices, word, length))
			return index;
		if (!choices[end])
			return -1;
		choices += end + 1;
	}
}

static int read_choice(const struct schema_field *field, const json_t *value, void *target,
		       struct error *error)
{
	const char *word = json_is_true(value)  ? "on" :
			   json_is_false(value) ? "off" :
						  json_string_value(value);
	int index = word ? find_choice(field->choices, word) : -1;
	char text[256];

	if (index < 0) {
		format_choices(field->choices, text, sizeof(text));
		return error_set(error, -EINVAL, "Parameter '%s' does not accept '%s', only: %s",
				 field->name, word ? word : "a value of this type", text);
	}
	*(unsigned *)target = (unsigned)index;
	return 0;
}

static int read_tree(const struct schema_field *field, const json_t *value, void *target,
		     struct error *error)
{
	*(const json_t **)target = value;
	return 0;
}

static const struct {
	int (*read)(const struct schema_field *, const json_t *, void *, struct error *);
	const char *placeholder;
} types[] = {
	[SCHEMA_STRING] = { read_string, "TEXT" }, [SCHEMA_BOOL] = { read_bool, "on|off" },
	[SCHEMA_NUMBER] = { read_number, "N" },    [SCHEMA_SIZE] = { read_size, "SIZE" },
	[SCHEMA_CHOICE] = { read_choice, NULL },   [SCHEMA_TREE] = { read_tree, "..." },
};

/* ---- the tree ---- */

json_t *schema_get(const json_t *tree, const char *name)
{
	char part[128];

	for (;;) {
		size_t length = strcspn(name, ".");

		snprintf(part, sizeof(part), "%.*s", (int)length, name);
		tree = json_object_get(tree, part);
		if (!tree || !name[length])
			return (json_t *)tree;
		name += length + 1;
	}
}

const char *schema_get_string(const json_t *tree, const char *name, const char *fallback)
{
	const char *text = json_string_value(schema_get(tree, name));

	return text && text[0] ? text : fallback;
}

static const struct schema_field *find_field(const struct schema *schema, const char *name)
{
	unsigned i;

	for (i = 0; i < schema->count; i++)
		if (!strcmp(schema->fields[i].name, name))
			return &schema->fields[i];
	return NULL;
}

static int refuse_unknown(const struct schema *schema, const json_t *tree, const char *prefix,
			  struct error *error)
{
	char path[PATH_MAX_TEXT];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)tree, key, value)
	{
		int result = 0;

		snprintf(path, sizeof(path), "%s%s", prefix, key);
		if (!strchr(key, '.') && find_field(schema, path))
			continue;
		if (strchr(key, '.') || json_object_size(value) == 0)
			return error_set(error, -EINVAL, "Parameter '%s' is unexpected", path);
		if (strlen(path) + 1 < sizeof(path))
			memcpy(path + strlen(path), ".", 2);
		result = refuse_unknown(schema, value, path, error);
		if (result)
			return result;
	}
	return 0;
}

static int read_field(const struct schema_field *field, const json_t *tree, void *target,
		      struct error *error)
{
	json_t *value = schema_get(tree, field->name);
	json_t *made = NULL;
	int result = 0;

	if (!value && field->need == SCHEMA_REQUIRED)
		return error_set(error, -EINVAL, "Parameter '%s' is missing", field->name);
	if (!value && field->fallback && field->type == SCHEMA_STRING)
		*(const char **)((char *)target + field->offset) = field->fallback;
	else if (!value && field->fallback)
		value = made = json_string(field->fallback);
	if (value)
		result = types[field->type].read(field, value, (char *)target + field->offset,
						 error);
	json_decref(made);
	return result;
}

int schema_read(const struct schema *schema, const json_t *tree, void *target, struct error *error)
{
	int result = refuse_unknown(schema, tree, "", error);
	unsigned i;

	for (i = 0; i < schema->count && result == 0; i++)
		result = read_field(&schema->fields[i], tree, target, error);
	return result;
}

void schema_print(const struct schema *schema, FILE *file)
{
	char text[128];
	unsigned i;

	for (i = 0; i < schema->count; i++) {
		const struct schema_field *field = &schema->fields[i];

		snprintf(text, sizeof(text), "%s=%s", field->name,
			 field->choices ? field->choices : types[field->type].placeholder);
		fprintf(file, "      %-34s %s", text, field->help);
		if (field->need == SCHEMA_REQUIRED)
			fprintf(file, " (required)");
		else if (field->fallback)
			fprintf(file, " (%s)", field->fallback);
		fputc('\n', file);
	}
}
