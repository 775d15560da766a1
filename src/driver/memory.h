/* SPDX-License-Identifier: MIT */
/*
 * Memory that the device can reach, and the question "can it, and at which address?" on the hot path.
 *
 * The owner's thread adds and removes regions; queue threads look addresses up at the same time, without a lock. The
 * table of ranges is immutable and replaced as a whole; a queue's cursor names the table it reads (a hazard pointer), and
 * an old table is freed when no cursor names it. While one region is used over and over, a look-up is one load of a line
 * that nobody writes and two compares.
 */
#ifndef RINGLANE_DRIVER_MEMORY_H
#define RINGLANE_DRIVER_MEMORY_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/error.h"
#include "mem/dma.h"

#include <stdbool.h>
#include <stdint.h>

struct memory_range {
	uintptr_t first;
	size_t size;
	uint64_t delta; /* added to an address gives the device's, modulo 2^64 */
};

struct memory_table {
	struct memory_table *retired_next;
	unsigned count;
	struct memory_range ranges[]; /* sorted, disjoint */
};

struct memory_cursor {
	const struct memory_table *table; /* written by the queue's thread, read by the owner's */
	struct memory_range range;        /* of the last hit; size 0: none */
	struct memory_cursor *next;       /* all cursors of one memory; fixed while queues run */
};

struct memory {
	cache_aligned const struct memory_table *table; /* what counts now */
	cache_aligned struct memory_table *retired;
	struct memory_cursor *cursors;
};

/* -ENOMEM. */
int memory_init(struct memory *memory);
/* No cursor is in use any more. */
void memory_fini(struct memory *memory);
/* Before the queue's thread starts. */
void memory_cursor_add(struct memory *memory, struct memory_cursor *cursor);
/* Does a range that is there overlap this one? */
bool memory_overlaps(const struct memory *memory, const void *addr, size_t size);
/* Owner's thread. addr and size of a range that overlaps nothing / of one that was added. -ENOMEM */
int memory_add(struct memory *memory, const void *addr, size_t size, uint64_t delta);
int memory_remove(struct memory *memory, const void *addr);

/* The slow half of memory_translate. */
bool memory_cursor_seek(struct memory_cursor *cursor, const struct memory *memory, uintptr_t addr);

/* Queue's thread: does [addr, addr + size) lie in one region? Then *ret_addr is where the device finds it. */
static inline bool memory_translate(struct memory_cursor *cursor, const struct memory *memory,
				    const void *addr, size_t size, uint64_t *ret_addr)
{
	uintptr_t offset = (uintptr_t)addr - cursor->range.first;

	/* Only the address of the table counts here; memory_cursor_seek orders what is in it. */
	if (unlikely(offset >= cursor->range.size ||
		     load_relaxed(&memory->table) != cursor->table)) {
		if (!memory_cursor_seek(cursor, memory, (uintptr_t)addr))
			return false;
		offset = (uintptr_t)addr - cursor->range.first;
	}
	*ret_addr = (uintptr_t)addr + cursor->range.delta;
	return size <= cursor->range.size - offset;
}

#endif
