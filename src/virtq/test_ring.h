/* SPDX-License-Identifier: MIT */
/*
 * For the tests of this folder: guest memory in several regions, a ring in exactly sized allocations (so that a sanitizer
 * sees each byte too far), both ends of it, and a seeded generator.
 *
 * The memory is one file. `flat` is how the driver sees it, in one piece; the device's map has a region for each page, next
 * to one another in guest addresses but mapped one by one, so that everything which is longer than a page crosses a border.
 */
#ifndef RINGLANE_VIRTQ_TEST_RING_H
#define RINGLANE_VIRTQ_TEST_RING_H

#include "base/fd.h"
#include "virtq/virtq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST_GUEST 0x100000000ull
#define TEST_PAGE 4096u

struct test_memory {
	uint8_t *flat;
	size_t size; /* at most MEM_MAP_REGIONS_MAX pages: larger ones get larger regions */
	struct mem_map *map;
};

struct test_random {
	uint64_t state; /* not 0 */
};

static inline uint32_t test_random(struct test_random *random)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 7;
	random->state ^= random->state << 17;
	return (uint32_t)(random->state >> 32);
}

/* 0 to bound - 1 */
static inline unsigned test_random_below(struct test_random *random, unsigned bound)
{
	return test_random(random) % bound;
}

static inline void test_memory_init(struct test_memory *memory, size_t size)
{
	struct mem_region_desc descs[MEM_MAP_REGIONS_MAX];
	size_t region = TEST_PAGE, count;
	fd_auto fd = memfd_create("ring-test", MFD_CLOEXEC);

	size = (size + TEST_PAGE - 1) / TEST_PAGE * TEST_PAGE;
	while (size / region >= MEM_MAP_REGIONS_MAX)
		region += TEST_PAGE;
	count = (size + region - 1) / region;
	memory->size = count * region;
	assert_int_equal(ftruncate(fd, (off_t)memory->size), 0);
	memory->flat = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(memory->flat != MAP_FAILED);
	for (size_t i = 0; i < count; i++)
		descs[i] = (struct mem_region_desc){ .guest_addr = TEST_GUEST + i * region,
						     .user_addr = i * region,
						     .size = region,
						     .mmap_offset = i * region,
						     .fd = fd };
	assert_int_equal(mem_map_build(descs, (unsigned)count, &memory->map, NULL), 0);
}

static inline void test_memory_fini(struct test_memory *memory)
{
	mem_map_unref(memory->map);
	munmap(memory->flat, memory->size);
}

static inline struct virtq_memory test_ring_new(unsigned size)
{
	return (struct virtq_memory){ .desc = calloc(1, virtq_desc_bytes(size)),
				      .avail = calloc(1, virtq_avail_bytes(size)),
				      .used = calloc(1, virtq_used_bytes(size)) };
}

static inline void test_ring_free(struct virtq_memory *memory)
{
	free(memory->desc);
	free(memory->avail);
	free(memory->used);
}

#endif
