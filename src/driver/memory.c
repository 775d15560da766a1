// SPDX-License-Identifier: MIT
/* See memory.h. The owner's thread makes tables; memory_cursor_seek is called by queue threads. */
#include "driver/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct memory_table *table_new(unsigned count)
{
	struct memory_table *table = malloc(sizeof(*table) + count * sizeof(table->ranges[0]));

	if (table)
		*table = (struct memory_table){ .count = count };
	return table;
}

/* The number of ranges that begin at or before addr. */
static unsigned table_rank(const struct memory_table *table, uintptr_t addr)
{
	unsigned low = 0, high = table->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (table->ranges[middle].first <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool table_is_named(const struct memory *memory, const struct memory_table *table)
{
	const struct memory_cursor *cursor;

	for (cursor = memory->cursors; cursor; cursor = cursor->next)
		if (load_acquire(&cursor->table) == table)
			return true;
	return false;
}

static void retired_free(struct memory *memory)
{
	struct memory_table **link = &memory->retired;

	while (*link) {
		struct memory_table *table = *link;

		if (table_is_named(memory, table)) {
			link = &table->retired_next;
			continue;
		}
		*link = table->retired_next;
		free(table);
	}
}

/* The store is seen before the cursors are read: pairs with the fence in memory_cursor_seek. */
static void table_publish(struct memory *memory, struct memory_table *table)
{
	struct memory_table *old = (struct memory_table *)memory->table;

	store_release(&memory->table, table);
	fence_full();
	old->retired_next = memory->retired;
	memory->retired = old;
	retired_free(memory);
}

int memory_init(struct memory *memory)
{
	*memory = (struct memory){ .table = table_new(0) };
	return memory->table ? 0 : -ENOMEM;
}

void memory_fini(struct memory *memory)
{
	memory->cursors = NULL;
	retired_free(memory);
	free((struct memory_table *)memory->table);
	memory->table = NULL;
}

void memory_cursor_add(struct memory *memory, struct memory_cursor *cursor)
{
	*cursor = (struct memory_cursor){ .next = memory->cursors };
	memory->cursors = cursor;
}

bool memory_overlaps(const struct memory *memory, const void *addr, size_t size)
{
	const struct memory_table *table = memory->table;
	uintptr_t first = (uintptr_t)addr;

	for (unsigned i = 0; i < table->count; i++) {
		const struct memory_range *range = &table->ranges[i];

		if (first < range->first + range->size && range->first < first + size)
			return true;
	}
	return false;
}

int memory_add(struct memory *memory, const void *addr, size_t size, uint64_t delta)
{
	const struct memory_table *old = memory->table;
	unsigned at = table_rank(old, (uintptr_t)addr);
	struct memory_table *table = table_new(old->count + 1);

	if (!table)
		return -ENOMEM;
	memcpy(table->ranges, old->ranges, at * sizeof(old->ranges[0]));
	table->ranges[at] = (struct memory_range){ (uintptr_t)addr, size, delta };
	memcpy(table->ranges + at + 1, old->ranges + at,
	       (old->count - at) * sizeof(old->ranges[0]));
	table_publish(memory, table);
	return 0;
}

int memory_remove(struct memory *memory, const void *addr)
{
	const struct memory_table *old = memory->table;
	unsigned at = table_rank(old, (uintptr_t)addr);
	struct memory_table *table;

	if (at == 0 || old->ranges[at - 1].first != (uintptr_t)addr)
		return -ENOENT;
	table = table_new(old->count - 1);
	if (!table)
		return -ENOMEM;
	memcpy(table->ranges, old->ranges, (at - 1) * sizeof(old->ranges[0]));
	memcpy(table->ranges + at - 1, old->ranges + at,
	       (old->count - at) * sizeof(old->ranges[0]));
	table_publish(memory, table);
	return 0;
}

/*
 * Names the table, then looks whether it still counts: if so, the owner has seen or will see the name before it frees
 * the table. Pairs with the fence in table_publish.
 */
static const struct memory_table *table_take(struct memory_cursor *cursor,
					     const struct memory *memory)
{
	const struct memory_table *table = load_acquire(&memory->table);

	for (;;) {
		const struct memory_table *now;

		store_release(&cursor->table, table);
		fence_full();
		now = load_acquire(&memory->table);
		if (now == table)
			return table;
		table = now;
	}
}

bool memory_cursor_seek(struct memory_cursor *cursor, const struct memory *memory, uintptr_t addr)
{
	const struct memory_table *table = table_take(cursor, memory);
	unsigned at = table_rank(table, addr);

	cursor->range = (struct memory_range){ 0 };
	if (at == 0 || addr - table->ranges[at - 1].first >= table->ranges[at - 1].size)
		return false;
	cursor->range = table->ranges[at - 1];
	return true;
}
