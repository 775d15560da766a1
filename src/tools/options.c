// SPDX-License-Identifier: MIT
/* Parses and explains; see options.h. */
#include "tools/options.h"

#include "base/clock.h"
#include "base/overflow.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct suffix {
	const char *text;
	uint64_t factor;
};

static const struct suffix suffixes_none[] = { { "", 1 }, { NULL, 0 } };
static const struct suffix suffixes_size[] = {
	{ "", 1 },
	{ "b", 1 },
	{ "k", 1ull << 10 },
	{ "kb", 1ull << 10 },
	{ "kib", 1ull << 10 },
	{ "m", 1ull << 20 },
	{ "mb", 1ull << 20 },
	{ "mib", 1ull << 20 },
	{ "g", 1ull << 30 },
	{ "gb", 1ull << 30 },
	{ "gib", 1ull << 30 },
	{ "t", 1ull << 40 },
	{ "tb", 1ull << 40 },
	{ "tib", 1ull << 40 },
	{ NULL, 0 },
};
static const struct suffix suffixes_time[] = {
	{ "", NS_PER_S },
	{ "s", NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ NULL, 0 },
};

static int number_parse(const char *text, const struct suffix *suffixes, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno)
		return -ERANGE;
	for (; suffixes->text; suffixes++) {
		if (strcasecmp(end, suffixes->text) != 0)
			continue;
		return mul_overflows((uint64_t)number, suffixes->factor, ret_number) ? -ERANGE : 0;
	}
	return -EINVAL;
}

static int store_number(const struct option_spec *spec, const char *text,
			const struct suffix *suffixes, void *field, struct error *error)
{
	uint64_t number;
	int ret = number_parse(text, suffixes, &number);

	if (ret == -EINVAL)
		return error_set(error, ret, "--%s=%s: %s is wanted", spec->name, text,
				 spec->kind == OPTION_NUMBER ? "a number" :
				 spec->kind == OPTION_SIZE   ? "a size such as 4k" :
							       "a time such as 10 or 500ms");
	if (ret < 0 || number < spec->min || (spec->max && number > spec->max))
		return error_set(error, -ERANGE, "--%s=%s is out of range (%llu to %llu)",
				 spec->name, text, (unsigned long long)spec->min,
				 (unsigned long long)(spec->max ? spec->max : UINT64_MAX));
	*(uint64_t *)field = number;
	return 0;
}

static int store_choice(const struct option_spec *spec, const char *text, void *field,
			struct error *error)
{
	char list[256];
	size_t used = 0;

	for (unsigned i = 0; spec->choices[i]; i++) {
		if (strcmp(text, spec->choices[i]) == 0) {
			*(unsigned *)field = i;
			return 0;
		}
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, " %s",
						 spec->choices[i]);
	}
	return error_set(error, -EINVAL, "--%s=%s: there are%s", spec->name, text, list);
}

/* fio's users write --time_based=1 as often as --time_based. */
static int store_flag(const struct option_spec *spec, const char *text, void *field,
		      struct error *error)
{
	if (text && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		return error_set(error, -EINVAL, "--%s takes no value but 0 and 1", spec->name);
	*(bool *)field = !text || text[0] == '1';
	return 0;
}

static int store(const struct option_spec *spec, const char *text, void *target,
		 struct error *error)
{
	void *field = (char *)target + spec->offset;

	switch (spec->kind) {
	case OPTION_FLAG:
		return store_flag(spec, text, field, error);
	case OPTION_NUMBER:
		return store_number(spec, text, suffixes_none, field, error);
	case OPTION_SIZE:
		return store_number(spec, text, suffixes_size, field, error);
	case OPTION_SECONDS:
		return store_number(spec, text, suffixes_time, field, error);
	case OPTION_TEXT:
		*(const char **)field = text;
		return 0;
	case OPTION_CHOICE:
		return store_choice(spec, text, field, error);
	}
	return -EINVAL;
}

static const struct option_spec *spec_find(const struct option_table *table, const char *name,
					   size_t length)
{
	const struct option_spec *spec;

	for (spec = table->specs; spec->name; spec++)
		if (strncmp(spec->name, name, length) == 0 && !spec->name[length])
			return spec;
	return NULL;
}

/* One option and, when it stands apart, its value. Returns the words used, or -errno. */
static int option_parse(const struct option_table *table, int argc, char **argv, void *target,
			struct options_parsed *parsed, struct error *error)
{
	const char *name = argv[0] + 2, *value = strchr(name, '=');
	size_t length = value ? (size_t)(value - name) : strlen(name);
	const struct option_spec *spec = spec_find(table, name, length);
	int used = 1, ret;

	if (!spec)
		return error_set(error, -EINVAL, "there is no option --%.*s, see --help",
				 (int)length, name);
	if (parsed->count == OPTIONS_GIVEN_MAX)
		return error_set(error, -E2BIG, "too many options");
	if (value) {
		value++;
	} else if (spec->kind != OPTION_FLAG) {
		if (argc < 2)
			return error_set(error, -EINVAL, "--%s needs a value", spec->name);
		value = argv[1];
		used = 2;
	}
	ret = store(spec, value, target, error);
	if (ret < 0)
		return ret;
	parsed->given[parsed->count++] = (struct option_given){ spec, value ? value : "1" };
	return used;
}

int options_parse(const struct option_table *table, int argc, char **argv, void *target,
		  struct options_parsed *parsed, struct error *error)
{
	*parsed = (struct options_parsed){ 0 };
	for (int i = 0, used; i < argc; i += used) {
		used = 1;
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return 1;
		if (strncmp(argv[i], "--", 2) == 0) {
			used = option_parse(table, argc - i, argv + i, target, parsed, error);
			if (used < 0)
				return used;
		} else if (argv[i][0] == '-') {
			return error_set(error, -EINVAL, "there is no option %s, see --help",
					 argv[i]);
		} else if (!parsed->positional) {
			parsed->positional = argv[i];
		} else if (parsed->word_count < table->words_max) {
			parsed->words[parsed->word_count++] = argv[i];
		} else {
			return error_set(error, -EINVAL, "'%s' is one argument too many", argv[i]);
		}
	}
	return 0;
}

/* ---- help ---- */

#define HELP_COLUMN 30

static void help_line(const struct option_spec *spec)
{
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", spec->name, spec->value ? "=" : "",
		 spec->value ? spec->value : "");
	printf("  %-*s %s", HELP_COLUMN - 3, left, spec->help);
	for (unsigned i = 0; spec->choices && spec->choices[i]; i++)
		printf("%s%s", i ? ", " : ": ", spec->choices[i]);
	putchar('\n');
}

void options_print_help(const struct option_table *table)
{
	const struct option_spec *spec;

	printf("usage: %s %s [--OPTION=VALUE...]\n\n%s\n\noptions:\n", table->command,
	       table->positional, table->summary);
	for (spec = table->specs; spec->name; spec++)
		help_line(spec);
	printf("  %-*s show this help\n", HELP_COLUMN - 3, "--help");
	if (table->notes)
		printf("\n%s\n", table->notes);
}
