/* SPDX-License-Identifier: MIT */
/*
 * Two passes. The first makes a tree of the words: an object for what lies between dots, a string for a value, a list of one element
 * for a value that is JSON itself. The second gives each of them its type. See ctl_arguments.h.
 */
#include "tools/ctl_arguments.h"

#include "base/overflow.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 512

static json_t *convert(const json_t *schema, const json_t *type, const json_t *node,
		       struct error *error);

/* ---- the tree ---- */

static json_t *make_leaf(const char *text)
{
	json_t *value = *text == '{' || *text == '[' ? json_loads(text, 0, NULL) : NULL;

	return value ? json_pack("[o]", value) : json_string(text);
}

/* key is consumed. */
static int add_leaf(json_t *tree, char *key, json_t *leaf, struct error *error)
{
	const char *part = strsep(&key, ".");
	json_t *below;

	for (; key; part = strsep(&key, ".")) {
		below = json_object_get(tree, part);
		if (!below && json_object_set_new(tree, part, json_object()) == 0)
			below = json_object_get(tree, part);
		if (!json_is_object(below))
			return error_set(error, -EINVAL, "'%s' has a value and members", part);
		tree = below;
	}
	if (json_object_get(tree, part))
		return error_set(error, -EINVAL, "'%s' is given twice", part);
	if (json_object_set(tree, part, leaf) < 0)
		return error_set(error, -EINVAL, "a key is no UTF-8");
	return 0;
}

static int add_object(json_t *tree, const char *word, struct error *error)
{
	json_error_t reason;
	json_t *object = json_loads(word, JSON_REJECT_DUPLICATES, &reason), *value;
	const char *name;
	int result = 0;

	if (!object)
		return error_set(error, -EINVAL, "'%s' is no JSON: %s", word, reason.text);
	json_object_foreach(object, name, value)
	{
		if (json_object_get(tree, name))
			result = error_set(error, -EINVAL, "'%s' is given twice", name);
		else
			json_object_set_new(tree, name, json_pack("[O]", value));
	}
	json_decref(object);
	return result;
}

static int add_word(json_t *tree, const char *word, struct error *error)
{
	size_t length = strcspn(word, "=");
	char key[KEY_MAX];
	json_t *leaf;
	int result;

	if (*word == '{')
		return add_object(tree, word, error);
	if (!word[length] || length == 0)
		return error_set(error, -EINVAL, "'%s' is not KEY=VALUE", word);
	if (length >= sizeof(key))
		return error_set(error, -EINVAL, "the key of '%s' is too long", word);
	memcpy(key, word, length);
	key[length] = '\0';
	leaf = make_leaf(word + length + 1);
	if (!leaf)
		return error_set(error, -EINVAL, "the value of '%s' is no UTF-8", key);
	result = add_leaf(tree, key, leaf, error);
	json_decref(leaf);
	return result;
}

/* ---- the schema ---- */

static const char *get_word(const json_t *object, const char *name)
{
	const char *word = json_string_value(json_object_get(object, name));

	return word ? word : "";
}

static const json_t *find_in(const json_t *list, const char *key, const char *word)
{
	size_t index;
	json_t *item;

	json_array_foreach(list, index, item)
	{
		if (!strcmp(get_word(item, key), word))
			return item;
	}
	return NULL;
}

static const json_t *find_type(const json_t *schema, const json_t *from, const char *key)
{
	return from ? find_in(schema, "name", get_word(from, key)) : NULL;
}

static bool is_meta(const json_t *type, const char *meta)
{
	return !strcmp(get_word(type, "meta-type"), meta);
}

static bool is_string_type(const json_t *type)
{
	return is_meta(type, "enum") || !strcmp(get_word(type, "json-type"), "string");
}

/* Of the types that an alternate may have, the one that fits what was written. */
static const json_t *choose_alternative(const json_t *schema, const json_t *type,
					const json_t *node)
{
	const json_t *alternative = NULL;
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(type, "members"), index, item)
	{
		bool is_object;

		alternative = find_type(schema, item, "type");
		is_object = is_meta(alternative, "object") || is_meta(alternative, "array");
		if (json_is_object(node) ? is_object : is_string_type(alternative))
			return alternative;
	}
	return alternative;
}

/* The value of an object's tag, as a word or as JSON. */
static const char *get_tag(const json_t *type, const json_t *node)
{
	const json_t *tag = json_object_get(node, get_word(type, "tag"));
	const char *word = json_string_value(json_is_array(tag) ? json_array_get(tag, 0) : tag);

	return word ? word : "";
}

/* The type of a member of an object or of the variant that its tag selects. */
static const json_t *find_member_type(const json_t *schema, const json_t *type, const json_t *node,
				      const char *name)
{
	const json_t *member = find_in(json_object_get(type, "members"), "name", name);
	const json_t *variant;

	if (!member && json_object_get(type, "tag")) {
		variant = find_in(json_object_get(type, "variants"), "case", get_tag(type, node));
		variant = find_type(schema, variant, "type");
		member = find_in(json_object_get(variant, "members"), "name", name);
	}
	return find_type(schema, member, "type");
}

/* ---- values ---- */

/* Decimal or 0x…, and perhaps a suffix that counts in 1024. */
static json_t *parse_integer(const char *text)
{
	static const char suffixes[] = "KMGTPE";
	bool is_negative = *text == '-';
	const char *digits = text + is_negative;
	int base = digits[0] == '0' && (digits[1] | 32) == 'x' ? 16 : 10;
	int64_t number, factor = 1;
	const char *suffix;
	char *end;

	if (!isdigit((unsigned char)*digits))
		return NULL;
	errno = 0;
	number = strtoll(text, &end, base);
	suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
	if (errno || (*end && (!suffix || end[1])))
		return NULL;
	if (suffix)
		factor = INT64_C(1) << 10 * (suffix - suffixes + 1);
	return mul_overflows(number, factor, &number) ? NULL : json_integer(number);
}

static json_t *parse_boolean(const char *text)
{
	static const char *const words[] = { "false", "true", "off", "on", "no", "yes" };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i]))
			return json_boolean(i & 1);
	return NULL;
}

/* What is JSON by itself, but for strings; without suffixes and on or off. */
static json_t *parse_anything(const char *text)
{
	return json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *convert_leaf(const json_t *type, const char *text)
{
	const char *kind = get_word(type, "json-type");
	json_t *value = NULL;

	if (!strcmp(kind, "int"))
		value = parse_integer(text);
	else if (!strcmp(kind, "boolean"))
		value = parse_boolean(text);
	else if (!type || !strcmp(kind, "number") || !strcmp(kind, "value"))
		value = parse_anything(text);
	return value ? value : json_string(text);
}

static bool is_list(const json_t *type, const json_t *node)
{
	const char *name;
	json_t *item;

	if (type && !is_meta(type, "builtin"))
		return is_meta(type, "array");
	json_object_foreach((json_t *)node, name, item)
	{
		if (name[strspn(name, "0123456789")])
			return false;
	}
	return true;
}

static json_t *convert_list(const json_t *schema, const json_t *type, const json_t *node,
			    struct error *error)
{
	size_t index, count = json_object_size(node);
	json_t *list = json_array();
	char name[24];

	for (index = 0; index < count; index++) {
		const json_t *element = find_type(schema, type, "element-type");
		json_t *item;

		snprintf(name, sizeof(name), "%zu", index);
		item = json_object_get(node, name);
		if (!item)
			error_set(error, -EINVAL, "a list of %zu elements has no element %zu",
				  count, index);
		item = item ? convert(schema, element, item, error) : NULL;
		if (!item) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *convert_object(const json_t *schema, const json_t *type, const json_t *node,
			      struct error *error)
{
	json_t *object = json_object(), *item;
	const char *name;

	json_object_foreach((json_t *)node, name, item)
	{
		item = convert(schema, find_member_type(schema, type, node, name), item, error);
		if (!item) {
			json_decref(object);
			return NULL;
		}
		json_object_set_new(object, name, item);
	}
	return object;
}

/* NULL: there is a sentence. */
static json_t *convert(const json_t *schema, const json_t *type, const json_t *node,
		       struct error *error)
{
	if (json_is_array(node))
		return json_incref(json_array_get(node, 0));
	if (is_meta(type, "alternate"))
		type = choose_alternative(schema, type, node);
	if (json_is_string(node))
		return convert_leaf(type, json_string_value(node));
	if (is_list(type, node))
		return convert_list(schema, type, node, error);
	return convert_object(schema, type, node, error);
}

int ctl_arguments_make(const json_t *schema, const char *command, const char *const *words,
		       unsigned count, json_t **ret_arguments, struct error *error)
{
	const json_t *type = find_in(schema, "name", command);
	json_t *tree = json_object(), *arguments;
	int result = 0;
	unsigned i;

	for (i = 0; i < count && result == 0; i++)
		result = add_word(tree, words[i], error);
	if (result) {
		json_decref(tree);
		return result;
	}
	arguments = convert_object(schema, find_type(schema, type, "arg-type"), tree, error);
	json_decref(tree);
	if (!arguments)
		return error->code;
	*ret_arguments = arguments;
	return 0;
}
