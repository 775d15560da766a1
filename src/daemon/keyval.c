/* SPDX-License-Identifier: MIT */
/*
 * Dotted keys and JSON objects to one tree: see keyval.h.
 *
 * Dotted keys are first put into nested objects, whatever they look like; then every object whose keys are all numbers is
 * turned into an array. So the order of keys does not matter and holes in a list are found when all keys are known.
 */
#include "daemon/keyval.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 127  /* characters of one fragment of a key */
#define DEPTH_MAX 16 /* fragments of a key */
#define LIST_MAX 4096

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_number(const char *text)
{
	return text[0] && strspn(text, DIGITS) == strlen(text);
}

static bool is_fragment(const char *text, size_t length)
{
	if (length == 0 || length > KEY_MAX)
		return false;
	return strspn(text, LETTERS DIGITS "-_") >= length;
}

/* The object under name, made when it is missing; NULL when something else is there. */
static json_t *enter_object(json_t *object, const char *name)
{
	json_t *child = json_object_get(object, name);

	if (!child) {
		child = json_object();
		if (json_object_set_new(object, name, child))
			return NULL;
	}
	return json_is_object(child) ? child : NULL;
}

static int set_leaf(json_t *object, const char *name, const char *key, const char *value,
		    struct error *error)
{
	if (json_is_object(json_object_get(object, name)))
		return error_set(error, -EINVAL, "Parameters '%s' and '%s.*' exclude each other",
				 key, key);
	/* a file name may be any bytes, so UTF-8 is not asked for */
	if (json_object_set_new_nocheck(object, name, json_string_nocheck(value)))
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

static int put_value(json_t *tree, const char *key, const char *value, struct error *error)
{
	const char *fragment = key;
	char name[KEY_MAX + 1];
	unsigned depth;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		size_t length = strcspn(fragment, ".");

		if (!is_fragment(fragment, length))
			return error_set(error, -EINVAL, "Invalid parameter '%s'", key);
		snprintf(name, sizeof(name), "%.*s", (int)length, fragment);
		if (!fragment[length])
			return set_leaf(tree, name, key, value, error);
		tree = enter_object(tree, name);
		if (!tree)
			return error_set(error, -EINVAL,
					 "Parameters '%.*s' and '%s' exclude each other",
					 (int)(fragment + length - key), key, key);
		fragment += length + 1;
	}
	return error_set(error, -EINVAL, "Parameter '%s' has too many parts", key);
}

/* Copies the value up to a single comma into value, which has room for the rest of the text; returns what follows. */
static const char *copy_value(const char *text, char *value)
{
	while (*text) {
		if (*text == ',' && *++text != ',')
			break;
		*value++ = *text++;
	}
	*value = '\0';
	return text;
}

static int parse_pair(const char **cursor, const char *implied_key, json_t *tree, char *scratch,
		      struct error *error)
{
	size_t length = strcspn(*cursor, "=,");
	char key[4 * KEY_MAX];

	if ((*cursor)[length] == '=') {
		if (length >= sizeof(key))
			return error_set(error, -EINVAL, "Invalid parameter '%.60s...'", *cursor);
		snprintf(key, sizeof(key), "%.*s", (int)length, *cursor);
		*cursor = copy_value(*cursor + length + 1, scratch);
		return put_value(tree, key, scratch, error);
	}
	if (!implied_key || length == 0)
		return error_set(error, -EINVAL, "Expected '=' after parameter '%.*s'", (int)length,
				 *cursor);
	*cursor = copy_value(*cursor, scratch);
	return put_value(tree, implied_key, scratch, error);
}

static int parse_pairs(const char *text, const char *implied_key, json_t *tree, struct error *error)
{
	char *scratch = strdup(text);
	int result = scratch ? 0 : error_set(error, -ENOMEM, "out of memory");

	while (result == 0 && *text) {
		result = parse_pair(&text, implied_key, tree, scratch, error);
		implied_key = NULL;
	}
	free(scratch);
	return result;
}

static int numbers_to_array(json_t *object, const char *path, json_t **ret_array,
			    struct error *error)
{
	size_t count = json_object_size(object), index;
	json_t *array = json_array();
	char name[24];

	for (index = 0; index < count && index < LIST_MAX; index++) {
		json_t *item;

		snprintf(name, sizeof(name), "%zu", index);
		item = json_object_get(object, name);
		if (!item) {
			json_decref(array);
			return error_set(error, -EINVAL, "Parameter '%s.%zu' is missing", path,
					 index);
		}
		json_array_append(array, item);
	}
	*ret_array = array;
	return 0;
}

static int judge_keys(json_t *object, const char *path, bool *ret_list, struct error *error)
{
	unsigned numbers = 0, names = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) * (is_number(key) ? &numbers : &names) += 1;
	if (numbers && (names || !path[0]))
		return error_set(error, -EINVAL, "Parameters '%s%s*' are used inconsistently", path,
				 path[0] ? "." : "");
	*ret_list = numbers > 0;
	return 0;
}

/* Turns the objects under *node, and it itself, into arrays where their keys are numbers. */
static int make_lists(json_t **node, const char *path, struct error *error)
{
	bool is_list = false;
	char child_path[512];
	const char *key;
	json_t *value, *array = NULL;
	void *next;
	int result;

	json_object_foreach_safe(*node, next, key, value)
	{
		json_t *child = json_incref(value);

		snprintf(child_path, sizeof(child_path), "%s%s%s", path, path[0] ? "." : "", key);
		result = json_is_object(child) ? make_lists(&child, child_path, error) : 0;
		json_object_set_new(*node, key, child);
		if (result)
			return result;
	}
	result = judge_keys(*node, path, &is_list, error);
	if (result || !is_list)
		return result;
	result = numbers_to_array(*node, path, &array, error);
	if (result)
		return result;
	json_decref(*node);
	*node = array;
	return 0;
}

static int parse_json(const char *text, json_t **ret_tree, struct error *error)
{
	json_error_t reason;
	json_t *tree = json_loads(text, JSON_REJECT_DUPLICATES, &reason);

	if (!tree)
		return error_set(error, -EINVAL, "JSON, column %d: %s", reason.column, reason.text);
	*ret_tree = tree;
	return 0;
}

int keyval_parse(const char *text, const char *implied_key, json_t **ret_tree, struct error *error)
{
	json_t *tree;
	int result;

	if (text[0] == '{')
		return parse_json(text, ret_tree, error);
	tree = json_object();
	result = parse_pairs(text, implied_key, tree, error);
	if (result == 0)
		result = make_lists(&tree, "", error);
	if (result) {
		json_decref(tree);
		return result;
	}
	*ret_tree = tree;
	return 0;
}
