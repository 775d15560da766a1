// SPDX-License-Identifier: MIT
/*
 * Theory of operation: a map is an array of regions sorted by guest address, a region holds a reference to the mmap
 * behind it. A changed map is a new array that takes references to the mappings that stay, so nothing that stays is
 * ever mapped twice or moved. Building is all or nothing: the half-built map owns what it has and is dropped.
 *
 * Made on the thread that owns the connection; references are counted atomically, so any thread may drop the last one.
 *
 * A front end's file is checked to be long enough before it is mapped, since touching what lies past the end of a file
 * kills the process. That it stays so long is up to the front end (seals on the file make it sure); mem/fault.h is for one that
 * does not keep to it.
 *
 * System calls: fstat, fstatfs, mmap, madvise, munmap.
 */
#include "mem/map.h"

#include "base/atomic.h"
#include "base/overflow.h"
#include "mem/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

struct mem_mapping {
	unsigned refs; /* atomic; one for each region of each map */
	void *addr;
	size_t size;  /* 0: borrowed, not ours to unmap */
	bool damaged; /* its owner took pages away: mem/fault.h */
};

static struct mem_mapping *mapping_ref(struct mem_mapping *mapping)
{
	add_relaxed(&mapping->refs, 1);
	return mapping;
}

/* Pairs with itself on other threads: whoever drops the last reference sees all uses done. */
static void mapping_unref(struct mem_mapping *mapping)
{
	if (sub_acq_rel(&mapping->refs, 1) != 1)
		return;
	if (mapping->size) {
		mem_fault_remove(mapping->addr);
		munmap(mapping->addr, mapping->size);
	}
	free(mapping);
}

static struct mem_map *map_alloc(unsigned count)
{
	struct mem_map *map = calloc(1, sizeof(*map) + count * sizeof(map->regions[0]));

	if (map)
		map->refs = 1;
	return map;
}

static struct mem_region region_copy(const struct mem_region *region)
{
	struct mem_region copy = *region;

	copy.mapping = mapping_ref(region->mapping);
	return copy;
}

static int desc_check(const struct mem_region_desc *desc, struct error *error)
{
	uint64_t end;

	if (!desc->size)
		return error_set(error, -EINVAL, "memory region at 0x%" PRIx64 " has size 0",
				 desc->guest_addr);
	if (add_overflows(desc->guest_addr, desc->size, &end) ||
	    add_overflows(desc->user_addr, desc->size, &end) ||
	    add_overflows(desc->mmap_offset, desc->size, &end) || end > INT64_MAX)
		return error_set(error, -EINVAL,
				 "memory region at 0x%" PRIx64 " with 0x%" PRIx64
				 " bytes wraps around",
				 desc->guest_addr, desc->size);
	return 0;
}

/* Where a mapping of this file may start: pages, or the huge pages it consists of. */
static uint64_t file_granule(int fd)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct statfs info;

	if (fstatfs(fd, &info) < 0 || (uint64_t)info.f_type != HUGETLBFS_MAGIC)
		return page;
	return MAX(page, (uint64_t)info.f_bsize);
}

static int file_check(const struct mem_region_desc *desc, struct error *error)
{
	struct stat info;

	if (fstat(desc->fd, &info) < 0)
		return error_set(error, -errno, "memory region at 0x%" PRIx64 ": no file: %s",
				 desc->guest_addr, strerrordesc_np(errno));
	if (S_ISCHR(info.st_mode)) /* such as devdax: has no size, its mmap() checks */
		return 0;
	if (!S_ISREG(info.st_mode))
		return error_set(error, -EINVAL,
				 "memory region at 0x%" PRIx64 ": its file cannot be mapped",
				 desc->guest_addr);
	if (!range_fits(desc->mmap_offset, desc->size, (uint64_t)info.st_size))
		return error_set(error, -EINVAL,
				 "memory region at 0x%" PRIx64 ": its file has %" PRIu64
				 " bytes, the region needs %" PRIu64,
				 desc->guest_addr, (uint64_t)info.st_size,
				 desc->mmap_offset + desc->size);
	return 0;
}

static int region_map(const struct mem_region_desc *desc, struct mem_region *ret_region,
		      struct error *error)
{
	uint64_t granule, start, size;
	struct mem_mapping *mapping;
	int ret = file_check(desc, error);
	void *addr;

	if (ret < 0)
		return ret;
	granule = file_granule(desc->fd);
	start = desc->mmap_offset & ~(granule - 1);
	size = (desc->mmap_offset - start + desc->size + granule - 1) & ~(granule - 1);
	mapping = malloc(sizeof(*mapping));
	if (!mapping)
		return error_set(error, -ENOMEM, "out of memory");
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, desc->fd,
		    (off_t)start);
	if (addr == MAP_FAILED) {
		ret = -errno;
		free(mapping);
		return error_set(error, ret,
				 "memory region at 0x%" PRIx64 ": cannot map its file: %s",
				 desc->guest_addr, strerrordesc_np(-ret));
	}
	madvise(addr, size, MADV_DONTDUMP);
	*mapping = (struct mem_mapping){ .refs = 1, .addr = addr, .size = size };
	if (!mem_fault_add(addr, size, granule, &mapping->damaged)) {
		mapping_unref(mapping);
		return error_set(error, -ENOMEM, "too many memory regions of all front ends");
	}
	*ret_region = (struct mem_region){
		.guest_addr = desc->guest_addr,
		.size = desc->size,
		.user_addr = desc->user_addr,
		.host = (uint8_t *)addr + (desc->mmap_offset - start),
		.mapping = mapping,
	};
	return 0;
}

/* The first region that ends behind addr; map->count when none does. */
static unsigned map_find(const struct mem_map *map, uint64_t addr)
{
	unsigned low = 0, high = map->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct mem_region *region = &map->regions[middle];

		if (region->guest_addr + region->size <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool map_has_room(const struct mem_map *map, uint64_t bytes)
{
	for (unsigned i = 0; i < map->count; i++)
		bytes += MIN(map->regions[i].size, MEM_MAP_BYTES_MAX); /* cannot overflow */
	return bytes <= MEM_MAP_BYTES_MAX;
}

/* Maps one more region into a map that nobody else has yet and that has room. */
static int map_insert(struct mem_map *map, const struct mem_region_desc *desc, struct error *error)
{
	unsigned index = map_find(map, desc->guest_addr);
	struct mem_region *at = &map->regions[index], region;
	int ret = desc_check(desc, error);

	if (ret < 0)
		return ret;
	if (index < map->count && at->guest_addr < desc->guest_addr + desc->size)
		return error_set(error, -EINVAL,
				 "memory regions at 0x%" PRIx64 " and 0x%" PRIx64 " overlap",
				 at->guest_addr, desc->guest_addr);
	if (!map_has_room(map, desc->size))
		return error_set(error, -E2BIG,
				 "more than %llu TiB of memory with the region at 0x%" PRIx64,
				 MEM_MAP_BYTES_MAX >> 40, desc->guest_addr);
	ret = region_map(desc, &region, error);
	if (ret < 0)
		return ret;
	memmove(at + 1, at, (map->count - index) * sizeof(*at));
	*at = region;
	map->count++;
	return 0;
}

static int too_many(struct error *error)
{
	return error_set(error, -E2BIG, "more than %d memory regions", MEM_MAP_REGIONS_MAX);
}

struct mem_map *mem_map_new(void)
{
	return map_alloc(0);
}

int mem_map_build(const struct mem_region_desc *descs, unsigned count, struct mem_map **ret_map,
		  struct error *error)
{
	struct mem_map *map;

	if (count > MEM_MAP_REGIONS_MAX)
		return too_many(error);
	map = map_alloc(count);
	if (!map)
		return error_set(error, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		int ret = map_insert(map, &descs[i], error);

		if (ret < 0) {
			mem_map_unref(map);
			return ret;
		}
	}
	*ret_map = map;
	return 0;
}

int mem_map_add(const struct mem_map *base, const struct mem_region_desc *desc,
		struct mem_map **ret_map, struct error *error)
{
	struct mem_map *map;
	int ret;

	if (base->count >= MEM_MAP_REGIONS_MAX)
		return too_many(error);
	map = map_alloc(base->count + 1);
	if (!map)
		return error_set(error, -ENOMEM, "out of memory");
	for (; map->count < base->count; map->count++)
		map->regions[map->count] = region_copy(&base->regions[map->count]);
	ret = map_insert(map, desc, error);
	if (ret < 0) {
		mem_map_unref(map);
		return ret;
	}
	*ret_map = map;
	return 0;
}

static bool region_is(const struct mem_region *region, const struct mem_region_desc *desc)
{
	return region->guest_addr == desc->guest_addr && region->user_addr == desc->user_addr &&
	       region->size == desc->size;
}

int mem_map_remove(const struct mem_map *base, const struct mem_region_desc *desc,
		   struct mem_map **ret_map, struct error *error)
{
	unsigned index = map_find(base, desc->guest_addr);
	struct mem_map *map;

	if (index == base->count || !region_is(&base->regions[index], desc))
		return error_set(error, -ENOENT,
				 "no memory region at 0x%" PRIx64 " with 0x%" PRIx64 " bytes",
				 desc->guest_addr, desc->size);
	map = map_alloc(base->count - 1);
	if (!map)
		return error_set(error, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < base->count; i++)
		if (i != index)
			map->regions[map->count++] = region_copy(&base->regions[i]);
	*ret_map = map;
	return 0;
}

int mem_map_build_local(void *host, uint64_t guest_addr, uint64_t size, struct mem_map **ret_map)
{
	struct mem_region_desc desc = { .guest_addr = guest_addr, .size = size };
	struct mem_mapping *mapping;
	struct mem_map *map;
	int ret = desc_check(&desc, NULL);

	if (ret < 0)
		return ret;
	map = map_alloc(1);
	mapping = malloc(sizeof(*mapping));
	if (!map || !mapping) {
		free(map);
		free(mapping);
		return -ENOMEM;
	}
	*mapping = (struct mem_mapping){ .refs = 1, .addr = host };
	map->count = 1;
	map->regions[0] = (struct mem_region){ .guest_addr = guest_addr,
					       .size = size,
					       .user_addr = (uintptr_t)host,
					       .host = host,
					       .mapping = mapping };
	*ret_map = map;
	return 0;
}

struct mem_map *mem_map_ref(struct mem_map *map)
{
	add_relaxed(&map->refs, 1);
	return map;
}

/* Pairs with itself on other threads. */
void mem_map_unref(struct mem_map *map)
{
	if (!map || sub_acq_rel(&map->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < map->count; i++)
		mapping_unref(map->regions[i].mapping);
	free(map);
}

void *mem_map_user(const struct mem_map *map, uint64_t user_addr, uint64_t size)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_region *region = &map->regions[i];
		uint64_t offset = user_addr - region->user_addr;

		if (offset < region->size && range_fits(offset, size, region->size))
			return region->host + offset;
	}
	return NULL;
}

void *mem_map_guest(const struct mem_map *map, uint64_t guest_addr, uint64_t size)
{
	unsigned index = map_find(map, guest_addr);
	const struct mem_region *region = &map->regions[index];
	uint64_t offset;

	if (index == map->count || guest_addr < region->guest_addr)
		return NULL;
	offset = guest_addr - region->guest_addr;
	return range_fits(offset, size, region->size) ? region->host + offset : NULL;
}

const struct mem_window *mem_cursor_seek(struct mem_cursor *cursor, uint64_t addr)
{
	unsigned index = map_find(cursor->map, addr);
	const struct mem_region *region = &cursor->map->regions[index];
	struct mem_window *window = &cursor->windows[cursor->oldest];

	if (index == cursor->map->count || addr < region->guest_addr)
		return NULL;
	*window = (struct mem_window){
		.first = region->guest_addr,
		.size = region->size,
		.host = region->host,
	};
	cursor->oldest ^= 1;
	return window;
}

bool mem_map_is_damaged(const struct mem_map *map)
{
	for (unsigned i = 0; i < map->count; i++)
		if (load_relaxed(&map->regions[i].mapping->damaged))
			return true;
	return false;
}
