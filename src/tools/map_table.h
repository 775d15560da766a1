/* SPDX-License-Identifier: MIT */
/* A table of text, each column as wide as its widest cell. Cells may come from anybody: what could speak to a terminal is replaced. */
#ifndef RINGLANE_TOOLS_MAP_TABLE_H
#define RINGLANE_TOOLS_MAP_TABLE_H

#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

struct table_column {
	const char *title; /* NULL ends the columns */
	int is_number;     /* to the right */
};

struct table {
	const struct table_column *columns;
	unsigned column_count, row_count;
	char **cells; /* row by row */
};

/* Titles are the first row. */
void table_init(struct table *table, const struct table_column *columns);
void table_fini(struct table *table);
/* column_count texts, copied. -ENOMEM. */
int table_add(struct table *table, const char *const *texts);
/* Nothing when there are only titles. */
void table_print(const struct table *table, FILE *file);

#endif
