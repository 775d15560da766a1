// SPDX-License-Identifier: MIT
/*
 * Memory that requests may use: allocated here, or registered by the caller. On the thread that owns the device; the
 * queues go on meanwhile. A region is told to the device before queues accept addresses in it, and taken from the queues
 * before it is taken from the device.
 *
 * System calls: fcntl (duplicates the caller's fd), sysconf.
 */
#include "base/fd.h"
#include "base/overflow.h"
#include "driver/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void region_fini(struct device_region *region)
{
	if (region->owned)
		dma_region_free(&region->dma);
	fd_close(&region->dma.fd);
}

void device_regions_free(struct ringlane_device *device)
{
	for (unsigned i = 0; i < device->region_count; i++)
		region_fini(&device->regions[i]);
	free(device->regions);
}

/* Takes the region over on success. */
static int region_add(struct ringlane_device *device, struct device_region *region,
		      struct error *error)
{
	struct transport *transport = device->transport;
	struct device_region *regions;
	int ret;

	regions = reallocarray(device->regions, device->region_count + 1, sizeof(*regions));
	if (!regions)
		return error_set(error, -ENOMEM, "out of memory");
	device->regions = regions;
	ret = transport->ops->mem_add(transport, &region->dma, error);
	if (ret < 0)
		return ret;
	ret = memory_add(&device->memory, region->dma.addr, region->dma.size,
			 dma_region_delta(&region->dma));
	if (ret < 0) {
		transport->ops->mem_remove(transport, &region->dma, NULL);
		return error_set(error, ret, "out of memory");
	}
	regions[device->region_count++] = *region;
	return 0;
}

static struct device_region *region_find(struct ringlane_device *device, const void *addr,
					 bool owned)
{
	for (unsigned i = 0; i < device->region_count; i++) {
		struct device_region *region = &device->regions[i];

		if (region->dma.addr == addr && region->owned == owned)
			return region;
	}
	return NULL;
}

/* The region is forgotten here even when the device cannot be told any more. */
static int region_remove(struct ringlane_device *device, struct device_region *region,
			 struct error *error)
{
	int ret = memory_remove(&device->memory, region->dma.addr);

	if (ret < 0)
		return error_set(error, ret, "out of memory");
	ret = device->transport->ops->mem_remove(device->transport, &region->dma, error);
	region_fini(region);
	*region = device->regions[--device->region_count];
	return ret;
}

/* ---- the arena ---- */

int device_arena_init(struct ringlane_device *device, uint8_t *first, size_t size,
		      struct error *error)
{
	if (!size)
		return 0;
	device->arena = (struct device_arena){ .first = first, .size = size };
	if (memory_add(&device->memory, first, size, dma_region_delta(&device->shared)) < 0)
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

/* NULL: there is no room, or size is nothing. */
static void *arena_alloc(struct device_arena *arena, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *piece;

	if (!size || size > arena->size - arena->used)
		return NULL;
	piece = arena->first + arena->used;
	arena->used = MIN((arena->used + size + page - 1) / page * page, arena->size);
	arena->live++;
	return memset(piece, 0, size);
}

static bool arena_holds(const struct device_arena *arena, const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)arena->first < arena->size;
}

static void arena_free(struct device_arena *arena)
{
	if (arena->live && --arena->live == 0)
		arena->used = 0;
}

/* ---- memory of ours ---- */

static void *mem_alloc(struct ringlane_device *device, size_t size, struct ringlane_error *error)
{
	struct device_region region = { .owned = true };
	void *piece = arena_alloc(&device->arena, size);

	if (piece)
		return piece;
	if (dma_region_alloc(size, &region.dma, error_of(error)) < 0)
		return NULL;
	if (region_add(device, &region, error_of(error)) < 0) {
		region_fini(&region);
		return NULL;
	}
	return region.dma.addr;
}

static void mem_free(struct ringlane_device *device, void *addr)
{
	struct device_region *region;

	if (arena_holds(&device->arena, addr)) {
		arena_free(&device->arena);
		return;
	}
	region = addr ? region_find(device, addr, true) : NULL;
	if (region)
		region_remove(device, region, NULL);
}

/* ---- memory of the caller ---- */

static int register_check(const struct ringlane_device *device, const void *addr, size_t size,
			  uint64_t offset, struct error *error)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end;

	if (!size || (((uintptr_t)addr | size | offset) & (page - 1)))
		return error_set(error, -EINVAL, "memory to register must be whole pages");
	if (add_overflows((uintptr_t)addr, size, &end) || offset > INT64_MAX - size)
		return error_set(error, -EINVAL, "memory to register is too large");
	if (memory_overlaps(&device->memory, addr, size))
		return error_set(error, -EEXIST, "memory to register overlaps what is registered");
	return 0;
}

static int mem_register(struct ringlane_device *device, void *addr, size_t size, int fd,
			uint64_t offset, struct ringlane_error *public_error)
{
	struct error *error = error_of(public_error);
	struct device_region region = {
		.dma = { .addr = addr, .size = size, .fd = -1, .fd_offset = offset },
	};
	int ret = register_check(device, addr, size, offset, error);

	if (ret < 0)
		return ret;
	region.dma.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (region.dma.fd < 0)
		return error_set(error, -errno, "memory to register: fd %d: %s", fd,
				 strerrordesc_np(errno));
	ret = region_add(device, &region, error);
	if (ret < 0)
		region_fini(&region);
	return ret;
}

static int mem_unregister(struct ringlane_device *device, void *addr,
			  struct ringlane_error *public_error)
{
	struct device_region *region = region_find(device, addr, false);

	if (!region)
		return error_set(error_of(public_error), -ENOENT,
				 "no memory is registered at this address");
	return region_remove(device, region, error_of(public_error));
}

/* ---- the same, locked: a managed device's keeper may be finding the device again ---- */

void *ringlane_mem_alloc(struct ringlane_device *device, size_t size, struct ringlane_error *error)
{
	void *addr;

	pthread_mutex_lock(&device->lock);
	addr = mem_alloc(device, size, error);
	pthread_mutex_unlock(&device->lock);
	return addr;
}

void ringlane_mem_free(struct ringlane_device *device, void *addr)
{
	pthread_mutex_lock(&device->lock);
	mem_free(device, addr);
	pthread_mutex_unlock(&device->lock);
}

int ringlane_mem_register(struct ringlane_device *device, void *addr, size_t size, int fd,
			  uint64_t offset, struct ringlane_error *error)
{
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = mem_register(device, addr, size, fd, offset, error);
	pthread_mutex_unlock(&device->lock);
	return ret;
}

int ringlane_mem_unregister(struct ringlane_device *device, void *addr,
			    struct ringlane_error *error)
{
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = mem_unregister(device, addr, error);
	pthread_mutex_unlock(&device->lock);
	return ret;
}
