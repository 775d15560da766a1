// SPDX-License-Identifier: MIT
/*
 * The front end's memory table. With CONFIGURE_MEM_SLOTS regions are added and removed one by one, without it the whole table
 * is sent each time. `regions` is what the back end is known to have.
 */
#include "vhost_user/frontend_internal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static struct vhu_region wire_region(const struct dma_region *region)
{
	uint64_t addr = (uintptr_t)region->addr;

	return (struct vhu_region){ addr, region->size, addr, region->fd_offset };
}

static int check_region(const struct dma_region *region, struct error *error)
{
	if (region->fd < 0)
		return error_set(error, -EINVAL,
				 "memory at %p has no file that a back end could map",
				 region->addr);
	if (region->size == 0)
		return error_set(error, -EINVAL, "memory at %p is empty", region->addr);
	return 0;
}

static int check_count(const struct vhu_frontend *frontend, unsigned count, struct error *error)
{
	if (count <= frontend->mem_slots)
		return 0;
	return error_set(error, -E2BIG, "%u memory regions, the back end takes %u", count,
			 frontend->mem_slots);
}

static int send_table(struct vhu_frontend *frontend, const struct dma_region *regions,
		      unsigned count, struct error *error)
{
	struct vhu_message message = vhu_message_make(
		VHU_SET_MEM_TABLE, (uint32_t)offsetof(struct vhu_memory, regions[count]));
	int ret;

	message.payload.memory.count = count;
	for (unsigned i = 0; i < count; i++) {
		message.payload.memory.regions[i] = wire_region(&regions[i]);
		message.fds[message.fd_count++] = regions[i].fd;
	}
	ret = vhu_frontend_tell(frontend, &message, error);
	return ret < 0 ? ret : vhu_frontend_barrier(frontend, error);
}

static int send_one(struct vhu_frontend *frontend, enum vhu_request request,
		    const struct dma_region *region, struct error *error)
{
	struct vhu_message message = vhu_message_make(request, sizeof(struct vhu_single_region));
	int ret;

	message.payload.region.region = wire_region(region);
	if (request == VHU_ADD_MEM_REG)
		message.fds[message.fd_count++] = region->fd;
	ret = vhu_frontend_tell(frontend, &message, error);
	return ret < 0 ? ret : vhu_frontend_barrier(frontend, error);
}

static int find_region(const struct vhu_frontend *frontend, const struct dma_region *region)
{
	for (unsigned i = 0; i < frontend->region_count; i++)
		if (frontend->regions[i].addr == region->addr &&
		    frontend->regions[i].size == region->size)
			return (int)i;
	return -ENOENT;
}

static void drop_region(struct dma_region *regions, unsigned *count, unsigned index)
{
	*count -= 1;
	memmove(&regions[index], &regions[index + 1], (*count - index) * sizeof(regions[0]));
}

/* The table with region in addition, or without the one at index, sent as a whole. */
static int resend_table(struct vhu_frontend *frontend, const struct dma_region *added,
			unsigned removed, struct error *error)
{
	struct dma_region regions[VHU_BASELINE_REGIONS];
	unsigned count = frontend->region_count;
	int ret;

	memcpy(regions, frontend->regions, count * sizeof(regions[0]));
	if (added)
		regions[count++] = *added;
	else
		drop_region(regions, &count, removed);
	ret = send_table(frontend, regions, count, error);
	/* One that shall go is never sent again, also when that is refused: its number may be another file's by then. */
	if (ret < 0 && added)
		return ret;
	memcpy(frontend->regions, regions, count * sizeof(regions[0]));
	frontend->region_count = count;
	return ret;
}

int vhu_frontend_add_mem(struct vhu_frontend *frontend, const struct dma_region *region,
			 struct error *error)
{
	int ret = check_region(region, error);

	if (ret == 0)
		ret = check_count(frontend, frontend->region_count + 1, error);
	if (ret < 0)
		return ret;
	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		return resend_table(frontend, region, 0, error);
	ret = send_one(frontend, VHU_ADD_MEM_REG, region, error);
	if (ret == 0)
		frontend->regions[frontend->region_count++] = *region;
	return ret;
}

int vhu_frontend_remove_mem(struct vhu_frontend *frontend, const struct dma_region *region,
			    struct error *error)
{
	int index = find_region(frontend, region), ret;

	if (index < 0)
		return error_set(error, index, "memory at %p was not shared", region->addr);
	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		return resend_table(frontend, NULL, (unsigned)index, error);
	ret = send_one(frontend, VHU_REM_MEM_REG, region, error);
	if (ret == 0)
		drop_region(frontend->regions, &frontend->region_count, (unsigned)index);
	return ret;
}

static int replace_one_by_one(struct vhu_frontend *frontend, const struct dma_region *regions,
			      unsigned count, struct error *error)
{
	int ret = 0;

	while (ret == 0 && frontend->region_count > 0) {
		struct dma_region last = frontend->regions[frontend->region_count - 1];

		ret = vhu_frontend_remove_mem(frontend, &last, error);
	}
	for (unsigned i = 0; ret == 0 && i < count; i++)
		ret = vhu_frontend_add_mem(frontend, &regions[i], error);
	return ret;
}

int vhu_frontend_set_mem(struct vhu_frontend *frontend, const struct dma_region *regions,
			 unsigned count, struct error *error)
{
	int ret = check_count(frontend, count, error);

	for (unsigned i = 0; ret == 0 && i < count; i++)
		ret = check_region(&regions[i], error);
	if (ret < 0)
		return ret;
	if (vhu_frontend_has(frontend, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		return replace_one_by_one(frontend, regions, count, error);
	ret = send_table(frontend, regions, count, error);
	if (ret < 0)
		return ret;
	memcpy(frontend->regions, regions, count * sizeof(regions[0]));
	frontend->region_count = count;
	return 0;
}
