// SPDX-License-Identifier: MIT
/*
 * The back end's memory table: each change makes a new map, which replaces the old one when the owner has taken it.
 * A ring need not lie in the map; it is started as soon as it does. The owner's thread.
 */
#include "vhost_user/backend_internal.h"

#include <errno.h>
#include <stddef.h>

static struct mem_region_desc region_desc(const struct vhu_region *region, int fd)
{
	return (struct mem_region_desc){ .guest_addr = region->guest_addr,
					 .size = region->size,
					 .user_addr = region->user_addr,
					 .mmap_offset = region->mmap_offset,
					 .fd = fd };
}

static int map_is_set(struct vhu_backend *backend, int result)
{
	struct mem_map *map = backend->now.map;

	backend->now.map = NULL;
	if (result < 0) {
		mem_map_unref(map);
		return result;
	}
	mem_map_unref(backend->map);
	backend->map = map;
	return 0;
}

static int backend_set_map(struct vhu_backend *backend, struct mem_map *map)
{
	backend->now.map = map;
	return vhu_backend_follow(backend, backend->ops->set_map(backend->opaque, map), map_is_set);
}

int vhu_handle_set_mem_table(struct vhu_backend *backend, struct vhu_message *message)
{
	const struct vhu_memory *memory = &message->payload.memory;
	struct mem_region_desc descs[VHU_BASELINE_REGIONS];
	unsigned count = memory->count;
	struct mem_map *map;
	int ret;

	if (count > VHU_BASELINE_REGIONS)
		return error_set(&backend->error, -E2BIG, "%u regions, at most %u are allowed",
				 count, VHU_BASELINE_REGIONS);
	if (message->header.size < offsetof(struct vhu_memory, regions[count]))
		return error_set(&backend->error, -EINVAL,
				 "a payload of %u bytes is too short for %u regions",
				 message->header.size, count);
	if (message->fd_count != count)
		return error_set(&backend->error, -EINVAL, "%u file descriptors for %u regions",
				 message->fd_count, count);
	for (unsigned i = 0; i < count; i++)
		descs[i] = region_desc(&memory->regions[i], message->fds[i]);
	ret = mem_map_build(descs, count, &map, &backend->error);
	return ret < 0 ? ret : backend_set_map(backend, map);
}

int vhu_handle_add_mem_reg(struct vhu_backend *backend, struct vhu_message *message)
{
	struct mem_region_desc desc = region_desc(&message->payload.region.region, message->fds[0]);
	struct mem_map *map;
	int ret = mem_map_add(backend->map, &desc, &map, &backend->error);

	return ret < 0 ? ret : backend_set_map(backend, map);
}

int vhu_handle_rem_mem_reg(struct vhu_backend *backend, struct vhu_message *message)
{
	struct mem_region_desc desc = region_desc(&message->payload.region.region, -1);
	struct mem_map *map;
	int ret = mem_map_remove(backend->map, &desc, &map, &backend->error);

	return ret < 0 ? ret : backend_set_map(backend, map);
}
