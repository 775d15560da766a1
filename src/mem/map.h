/* SPDX-License-Identifier: MIT */
/*
 * What a guest address means: a table of regions, each mapped here.
 *
 * A map is immutable once published and reference counted. A change makes a new map that shares the mappings of the old
 * one (each mapping has a count of its own), so lanes move over one by one and the memory of a removed region goes away
 * with the last map that knows it. Maps are made on one thread (the one that owns the connection) and read on any.
 *
 * A cursor belongs to one reader and remembers two regions (headers often lie in another one than data): while they are used, a
 * translation is two compares.
 */
#ifndef RINGLANE_MEM_MAP_H
#define RINGLANE_MEM_MAP_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define MEM_MAP_REGIONS_MAX 512
/* Of all regions together: far above any guest's memory, far below what a process can address, so that one front end, with an old
 * map and a new one, leaves room for the others. */
#define MEM_MAP_BYTES_MAX (1ull << 44)

struct mem_mapping; /* one mmap, reference counted */

struct mem_region {
	uint64_t guest_addr; /* what descriptors carry */
	uint64_t size;       /* bytes, not 0, no wrap in either space */
	uint64_t user_addr;  /* what SET_VRING_ADDR carries: the front end's own address */
	uint8_t *host;       /* where guest_addr is mapped here */
	struct mem_mapping *mapping;
};

struct mem_map {
	unsigned refs; /* atomic */
	unsigned count;
	struct mem_region regions[]; /* sorted by guest_addr, disjoint */
};

/* What a front end says about one region; the fd is borrowed. */
struct mem_region_desc {
	uint64_t guest_addr, size, user_addr, mmap_offset;
	int fd;
};

/* An empty map. Never fails except for memory (NULL). */
struct mem_map *mem_map_new(void);
/*
 * A map of exactly these regions; all of them are checked and mapped, or none. -EINVAL: no size, wrap, overlap in guest
 * addresses (not in user addresses: memory may appear twice), a file that is too short or cannot be mapped; -E2BIG: too many regions
 * or bytes.
 */
int mem_map_build(const struct mem_region_desc *descs, unsigned count, struct mem_map **ret_map,
		  struct error *error);
/* base plus one / base minus the region with the same guest_addr, user_addr and size (-ENOENT). base stays as it is. */
int mem_map_add(const struct mem_map *base, const struct mem_region_desc *desc,
		struct mem_map **ret_map, struct error *error);
int mem_map_remove(const struct mem_map *base, const struct mem_region_desc *desc,
		   struct mem_map **ret_map, struct error *error);
/* A map over memory of this process: for tests and for in-process rings. host is borrowed, and its own address is the
 * region's user_addr. -EINVAL size/wrap, -ENOMEM. */
int mem_map_build_local(void *host, uint64_t guest_addr, uint64_t size, struct mem_map **ret_map);

/* Has the front end taken memory away that it had shared (mem/fault.h)? */
bool mem_map_is_damaged(const struct mem_map *map);

struct mem_map *mem_map_ref(struct mem_map *map);
void mem_map_unref(struct mem_map *map); /* NULL is fine */

/* The host pointer of [user_addr, +size), which must lie in one region; NULL otherwise. For ring addresses. */
void *mem_map_user(const struct mem_map *map, uint64_t user_addr, uint64_t size);
/* The same by guest address. */
void *mem_map_guest(const struct mem_map *map, uint64_t guest_addr, uint64_t size);

/* A region as a cursor remembers it; size 0 holds nothing. */
struct mem_window {
	uint64_t first, size;
	uint8_t *host;
};

struct mem_cursor {
	const struct mem_map *map;
	struct mem_window windows[2];
	unsigned oldest; /* the one that the next seek replaces */
};

static inline void mem_cursor_init(struct mem_cursor *cursor, const struct mem_map *map)
{
	*cursor = (struct mem_cursor){ .map = map };
}

/* Looks into the map and remembers what it finds; NULL when no region holds addr. */
const struct mem_window *mem_cursor_seek(struct mem_cursor *cursor, uint64_t addr);

/* The region that holds addr, or NULL. */
static inline const struct mem_window *mem_cursor_find(struct mem_cursor *cursor, uint64_t addr)
{
	const struct mem_window *windows = cursor->windows;

	if (likely(addr - windows[0].first < windows[0].size))
		return &windows[0];
	if (likely(addr - windows[1].first < windows[1].size))
		return &windows[1];
	return mem_cursor_seek(cursor, addr);
}

/* Translates the longest run from addr, at most size bytes. Returns NULL (nothing there) or the pointer and *ret_run >= 1. */
static inline void *mem_cursor_run(struct mem_cursor *cursor, uint64_t addr, uint64_t size,
				   uint64_t *ret_run)
{
	const struct mem_window *window = mem_cursor_find(cursor, addr);

	if (unlikely(!window))
		return NULL;
	*ret_run = MIN(size, window->size - (addr - window->first));
	return window->host + (addr - window->first);
}

#endif
