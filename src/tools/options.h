/* SPDX-License-Identifier: MIT */
/*
 * Command lines: one table per subcommand drives parsing and --help. Options are `--key=value`, `--key value` or, for a
 * flag, `--key`; what is no option is the positional argument, and words after it where the table allows them.
 */
#ifndef RINGLANE_TOOLS_OPTIONS_H
#define RINGLANE_TOOLS_OPTIONS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define OPTIONS_GIVEN_MAX 64
#define OPTIONS_WORDS_MAX 128

enum option_kind {
	OPTION_FLAG,    /* bool */
	OPTION_NUMBER,  /* uint64_t */
	OPTION_SIZE,    /* uint64_t, bytes: 4k, 1m, 2g, 1t count in 1024 */
	OPTION_SECONDS, /* uint64_t, nanoseconds: 10, 10s, 5m, 1h, 200ms */
	OPTION_TEXT,    /* const char * */
	OPTION_CHOICE,  /* unsigned: index in choices */
};

struct option_spec {
	const char *name;  /* without the dashes; NULL ends a table */
	const char *value; /* what --help calls the value; NULL for a flag */
	const char *help;
	enum option_kind kind;
	size_t offset;              /* in the target */
	uint64_t min, max;          /* of numbers and sizes; max 0: no limit */
	const char *const *choices; /* NULL ends them */
};

struct option_table {
	const char *command;    /* "ringlane bench" */
	const char *positional; /* "URI" */
	unsigned words_max;     /* after it, at most OPTIONS_WORDS_MAX */
	const char *summary;
	const struct option_spec *specs;
	const char *notes; /* below the options; may be NULL */
};

struct option_given {
	const struct option_spec *spec;
	const char *value; /* "1" for a flag */
};

struct options_parsed {
	const char *positional; /* NULL: there was none */
	unsigned count;
	struct option_given given[OPTIONS_GIVEN_MAX];
	unsigned word_count;
	const char *words[OPTIONS_WORDS_MAX];
};

/* 0: parsed; 1: --help was asked for; -errno with a sentence. argv[0] is the first word after the subcommand. */
int options_parse(const struct option_table *table, int argc, char **argv, void *target,
		  struct options_parsed *parsed, struct error *error);
void options_print_help(const struct option_table *table);

#endif
