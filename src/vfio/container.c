// SPDX-License-Identifier: MIT
/*
 * See container.h.
 *
 * System calls: those of the table of kernel.h, getrlimit, sysconf.
 */
#include "vfio/container.h"

#include "base/fd.h"
#include "base/overflow.h"
#include "vfio/sysfs.h"

#include <errno.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define INFO_SIZE_MAX (64u << 10)
#define HUGE_PAGE (2u << 20)
#define MAPS_MAX_DEFAULT 65535 /* of a kernel that does not say */
#define STRANGERS_SIZE 256

/* Without the kernel's word: what all IOMMUs have, around the window of message signalled interrupts. */
static const struct iova_range ranges_default[] = {
	{ 0, 0xfedfffff },
	{ 0xfef00000, (1ull << 39) - 1 },
};

static int call(const struct vfio_container *container, int fd, unsigned long request,
		void *argument)
{
	return container->kernel->ioctl(container->kernel, fd, request, argument);
}

/* ---- opening ---- */

static int container_file_open(struct vfio_container *container, struct error *error)
{
	const struct vfio_kernel *kernel = container->kernel;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/vfio", kernel->dev);
	container->fd = kernel->open(kernel, path);
	if (container->fd == -ENOENT || container->fd == -ENODEV)
		return error_set(error, container->fd,
				 "there is no %s: the kernel's module vfio is not loaded", path);
	if (container->fd < 0)
		return error_set(error, container->fd, "%s: %s", path,
				 strerrordesc_np(-container->fd));
	if (call(container, container->fd, VFIO_GET_API_VERSION, NULL) != VFIO_API_VERSION)
		return error_set(error, -ENOTSUP, "the kernel's VFIO has an unknown version");
	if (call(container, container->fd, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1v2_IOMMU) <= 0)
		return error_set(error, -ENOTSUP,
				 "the kernel's VFIO knows no type1v2 IOMMU: is the module "
				 "vfio_iommu_type1 loaded?");
	return 0;
}

static int group_file_open(struct vfio_container *container, struct error *error)
{
	const struct vfio_kernel *kernel = container->kernel;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%u", kernel->dev, container->group);
	container->group_fd = kernel->open(kernel, path);
	switch (container->group_fd) {
	case -ENOENT:
		return error_set(error, -ENOENT,
				 "there is no %s: no device of IOMMU group %u is bound to vfio-pci",
				 path, container->group);
	case -EACCES:
	case -EPERM:
		return error_set(error, container->group_fd,
				 "no permission for %s: the administrator can give it away (chown)",
				 path);
	case -EBUSY:
		return error_set(error, -EBUSY, "IOMMU group %u is in use already (%s)",
				 container->group, path);
	}
	if (container->group_fd < 0)
		return error_set(error, container->group_fd, "%s: %s", path,
				 strerrordesc_np(-container->group_fd));
	return 0;
}

static int group_check(const struct vfio_container *container, struct error *error)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int ret = call(container, container->group_fd, VFIO_GROUP_GET_STATUS, &status);
	char strangers[STRANGERS_SIZE];

	if (ret < 0)
		return error_set(error, ret, "IOMMU group %u: %s", container->group,
				 strerrordesc_np(-ret));
	if (status.flags & VFIO_GROUP_FLAGS_VIABLE)
		return 0;
	vfio_sysfs_strangers(container->kernel, container->group, strangers, sizeof(strangers));
	return error_set(error, -EPERM,
			 "IOMMU group %u cannot be used while drivers of the kernel have other "
			 "devices in it: %s",
			 container->group, strangers[0] ? strangers : "which ones is not known");
}

static int iommu_set(const struct vfio_container *container, struct error *error)
{
	int fd = container->fd;
	int ret = call(container, container->group_fd, VFIO_GROUP_SET_CONTAINER, &fd);

	if (ret < 0)
		return error_set(error, ret, "IOMMU group %u gets no container: %s",
				 container->group, strerrordesc_np(-ret));
	ret = call(container, container->fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU);
	if (ret == -EPERM)
		return error_set(
			error, ret,
			"the IOMMU of group %u does not remap interrupts, so that the device "
			"could raise any: VFIO refuses",
			container->group);
	if (ret < 0)
		return error_set(error, ret, "IOMMU group %u gets no IOMMU: %s", container->group,
				 strerrordesc_np(-ret));
	return 0;
}

/* ---- what the IOMMU has ---- */

/* Asks twice: how long the answer is, then for all of it. */
static int info_get(const struct vfio_container *container, struct vfio_iommu_type1_info **ret_info,
		    struct error *error)
{
	struct vfio_iommu_type1_info head = { .argsz = sizeof(head) };
	struct vfio_iommu_type1_info *info;
	int ret = call(container, container->fd, VFIO_IOMMU_GET_INFO, &head);
	uint32_t size;

	if (ret < 0)
		return error_set(error, ret, "what the IOMMU has: %s", strerrordesc_np(-ret));
	size = MIN(MAX(head.argsz, (uint32_t)sizeof(head)), INFO_SIZE_MAX);
	info = calloc(1, size);
	if (!info)
		return error_set(error, -ENOMEM, "out of memory");
	info->argsz = size;
	ret = call(container, container->fd, VFIO_IOMMU_GET_INFO, info);
	if (ret < 0) {
		free(info);
		return error_set(error, ret, "what the IOMMU has: %s", strerrordesc_np(-ret));
	}
	info->argsz = size;
	*ret_info = info;
	return 0;
}

/* A capability of at least so many bytes, or NULL. Each one lies behind the one before, so the chain has an end. */
static const struct vfio_info_cap_header *info_find(const struct vfio_iommu_type1_info *info,
						    uint16_t id, size_t size)
{
	uint32_t offset = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0, before = 0;

	while (offset > before &&
	       range_fits(offset, sizeof(struct vfio_info_cap_header), info->argsz)) {
		const struct vfio_info_cap_header *header =
			(const void *)((const uint8_t *)info + offset);

		if (header->id == id)
			return range_fits(offset, size, info->argsz) ? header : NULL;
		before = offset;
		offset = header->next;
	}
	return NULL;
}

/* Some kernels put capabilities at multiples of four only: copied, not pointed to. */
static int space_init(struct vfio_container *container, const struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range told = { 0 };
	struct vfio_iova_range range;
	struct iova_range *ranges;
	const uint8_t *at = (const uint8_t *)info_find(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
						       sizeof(told));
	size_t size;
	int ret;

	if (at)
		memcpy(&told, at, sizeof(told));
	size = sizeof(told) + (size_t)told.nr_iovas * sizeof(range);
	if (!at || !range_fits((size_t)(at - (const uint8_t *)info), size, info->argsz))
		return iova_space_init(&container->space, ranges_default,
				       ARRAY_SIZE(ranges_default));
	ranges = calloc((size_t)told.nr_iovas + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	for (uint32_t i = 0; i < told.nr_iovas; i++) {
		memcpy(&range, at + sizeof(told) + i * sizeof(range), sizeof(range));
		ranges[i] = (struct iova_range){ range.start, range.end };
	}
	ret = iova_space_init(&container->space, ranges, told.nr_iovas);
	free(ranges);
	return ret;
}

static int info_use(struct vfio_container *container, struct error *error)
{
	const struct vfio_iommu_type1_info_dma_avail *avail;
	struct vfio_iommu_type1_info *info = NULL;
	int ret = info_get(container, &info, error);
	long page = sysconf(_SC_PAGESIZE);

	if (ret < 0)
		return ret;
	container->page_size = (uint64_t)page;
	if (info->flags & VFIO_IOMMU_INFO_PGSIZES && info->iova_pgsizes)
		container->page_size =
			MAX(info->iova_pgsizes & -info->iova_pgsizes, container->page_size);
	avail = (const void *)info_find(info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(*avail));
	container->map_max = avail ? avail->avail : MAPS_MAX_DEFAULT;
	ret = space_init(container, info);
	free(info);
	return ret < 0 ? error_set(error, ret, "out of memory") : 0;
}

int vfio_container_open(const struct vfio_kernel *kernel, const char *address,
			struct vfio_container *ret_container, struct error *error)
{
	struct vfio_container container = { .kernel = kernel, .fd = -1, .group_fd = -1 };
	int ret = vfio_sysfs_group(kernel, address, &container.group, error);

	if (ret == 0)
		ret = container_file_open(&container, error);
	if (ret == 0)
		ret = group_file_open(&container, error);
	if (ret == 0)
		ret = group_check(&container, error);
	if (ret == 0)
		ret = iommu_set(&container, error);
	if (ret == 0)
		ret = info_use(&container, error);
	if (ret < 0) {
		vfio_container_close(&container);
		return ret;
	}
	*ret_container = container;
	return 0;
}

/* ---- maps ---- */

unsigned vfio_container_maps_max(const struct vfio_container *container)
{
	return container->map_max;
}

static struct vfio_map *map_find(const struct vfio_container *container, const void *addr)
{
	for (unsigned i = 0; i < container->map_count; i++)
		if (container->maps[i].addr == addr)
			return &container->maps[i];
	return NULL;
}

static int map_refused(int code, size_t size, struct error *error)
{
	double mib = (double)size / (1 << 20);
	struct rlimit limit = { 0 };

	switch (code) {
	case -ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &limit);
		if (limit.rlim_cur == RLIM_INFINITY)
			return error_set(error, code, "%.1f MiB cannot be pinned for the device",
					 mib);
		return error_set(error, code,
				 "%.1f MiB cannot be pinned for the device: RLIMIT_MEMLOCK is %llu "
				 "KiB (ulimit -l, LimitMEMLOCK=), or there is no memory",
				 mib, (unsigned long long)(limit.rlim_cur >> 10));
	case -ENOSPC:
		return error_set(error, code,
				 "the kernel's limit of regions for a device is reached "
				 "(dma_entry_limit of vfio_iommu_type1)");
	case -EFAULT:
		return error_set(error, code,
				 "%.1f MiB cannot be pinned for the device: it is not mapped, not "
				 "writable, or a file's of a file system that forbids it",
				 mib);
	default:
		return error_set(error, code, "%.1f MiB cannot be mapped for the device: %s", mib,
				 strerrordesc_np(-code));
	}
}

/* Large regions keep their place in huge pages, so that the IOMMU can use some. */
static int iova_find(struct vfio_container *container, const void *addr, size_t size,
		     uint64_t *ret_iova, struct error *error)
{
	uint64_t align = size >= HUGE_PAGE ? MAX(HUGE_PAGE, container->page_size) :
					     container->page_size;
	int ret = iova_take(&container->space, size, align, (uintptr_t)addr, ret_iova);

	if (ret == -ENOSPC)
		return error_set(error, ret, "the device's address space has no room for %zu bytes",
				 size);
	return ret < 0 ? error_set(error, ret, "out of memory") : 0;
}

static int map_check(const struct vfio_container *container, const void *addr, size_t size,
		     struct error *error)
{
	if (!size || (((uintptr_t)addr | size) & (container->page_size - 1)))
		return error_set(error, -EINVAL,
				 "memory for a device must be whole pages of %llu bytes",
				 (unsigned long long)container->page_size);
	if (map_find(container, addr))
		return error_set(error, -EEXIST, "the device has this memory already");
	if (container->map_count >= container->map_max)
		return error_set(error, -ENOSPC, "the device takes %u regions of memory, no more",
				 container->map_max);
	return 0;
}

int vfio_container_map(struct vfio_container *container, void *addr, size_t size,
		       uint64_t *ret_iova, struct error *error)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)addr,
		.size = size,
	};
	struct vfio_map *maps;
	uint64_t iova = 0;
	int ret = map_check(container, addr, size, error);

	if (ret < 0)
		return ret;
	maps = reallocarray(container->maps, container->map_count + 1, sizeof(*maps));
	if (!maps)
		return error_set(error, -ENOMEM, "out of memory");
	container->maps = maps;
	ret = iova_find(container, addr, size, &iova, error);
	if (ret < 0)
		return ret;
	map.iova = iova;
	ret = call(container, container->fd, VFIO_IOMMU_MAP_DMA, &map);
	if (ret < 0) {
		iova_give_back(&container->space, iova);
		return map_refused(ret, size, error);
	}
	maps[container->map_count++] = (struct vfio_map){ iova, size, addr };
	*ret_iova = iova;
	return 0;
}

/* An address that could not be unmapped is not given away again: the device might still reach what was there. */
int vfio_container_unmap(struct vfio_container *container, const void *addr, struct error *error)
{
	struct vfio_map *map = map_find(container, addr);
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap) };
	int ret;

	if (!map)
		return error_set(error, -ENOENT, "the device has no region at this address");
	unmap.iova = map->iova;
	unmap.size = map->size;
	ret = call(container, container->fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
	if (ret >= 0 && unmap.size != map->size)
		ret = -EIO;
	if (ret < 0)
		return error_set(error, ret, "a region cannot be unmapped from the device: %s",
				 strerrordesc_np(-ret));
	iova_give_back(&container->space, map->iova);
	*map = container->maps[--container->map_count];
	return 0;
}

void vfio_container_close(struct vfio_container *container)
{
	while (container->map_count) {
		struct vfio_map *last = &container->maps[container->map_count - 1];

		/* What fails here is unmapped when the file is closed. */
		if (vfio_container_unmap(container, last->addr, NULL) < 0)
			container->map_count--;
	}
	free(container->maps);
	container->maps = NULL;
	iova_space_fini(&container->space);
	fd_close(&container->group_fd);
	fd_close(&container->fd);
}
