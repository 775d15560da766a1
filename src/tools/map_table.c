// SPDX-License-Identifier: MIT
/* See map_table.h. */
#include "tools/map_table.h"

#include "base/compiler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDENT 2
#define GAP 2

void table_init(struct table *table, const struct table_column *columns)
{
	*table = (struct table){ .columns = columns };
	while (columns[table->column_count].title)
		table->column_count++;
	assert(table->column_count <= TABLE_COLUMNS_MAX);
}

void table_fini(struct table *table)
{
	unsigned i;

	for (i = 0; i < table->row_count * table->column_count; i++)
		free(table->cells[i]);
	free(table->cells);
}

/* A copy that is one line. */
static char *copy_tamed(const char *text)
{
	char *copy = strdup(text);
	unsigned char *c;

	for (c = (unsigned char *)copy; c && *c; c++)
		if (*c < ' ' || *c >= 0x7f)
			*c = '?';
	return copy;
}

int table_add(struct table *table, const char *const *texts)
{
	unsigned used = table->row_count * table->column_count, i;
	char **grown = reallocarray(table->cells, used + table->column_count, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	table->cells = grown;
	for (i = 0; i < table->column_count; i++) {
		grown[used + i] = copy_tamed(texts[i]);
		if (!grown[used + i])
			break;
	}
	if (i == table->column_count) {
		table->row_count++;
		return 0;
	}
	while (i)
		free(grown[used + --i]);
	return -ENOMEM;
}

static const char *cell_text(const struct table *table, unsigned row, unsigned column)
{
	return row ? table->cells[(row - 1) * table->column_count + column] :
		     table->columns[column].title;
}

/* Empty cells at a row's end are left out. */
static void print_row(const struct table *table, unsigned row, const int *widths, FILE *file)
{
	unsigned column, last = table->column_count - 1;

	while (last > 0 && !*cell_text(table, row, last))
		last--;
	for (column = 0; column <= last; column++) {
		int width = table->columns[column].is_number ? widths[column] :
			    column < last                    ? -widths[column] :
							       0;

		fprintf(file, "%*s%*s", column ? GAP : INDENT, "", width,
			cell_text(table, row, column));
	}
	fputc('\n', file);
}

void table_print(const struct table *table, FILE *file)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };
	unsigned row, column;

	if (table->row_count == 0)
		return;
	for (row = 0; row <= table->row_count; row++)
		for (column = 0; column < table->column_count; column++)
			widths[column] =
				MAX(widths[column], (int)strlen(cell_text(table, row, column)));
	for (row = 0; row <= table->row_count; row++)
		print_row(table, row, widths, file);
}
