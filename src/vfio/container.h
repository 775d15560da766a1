/* SPDX-License-Identifier: MIT */
/*
 * The IOMMU as a device's protection: one group in one container (type1v2), and the memory that its devices reach.
 *
 * A group is what the IOMMU cannot tell apart; it can be used when no device in it belongs to a driver of the kernel, and
 * by one container at a time. Memory is pinned while it is mapped, and counts against RLIMIT_MEMLOCK. Regions are few and
 * large: each costs one of the kernel's maps.
 *
 * Each failure says in a sentence which of all this is the reason. On the thread that owns the device.
 */
#ifndef RINGLANE_VFIO_CONTAINER_H
#define RINGLANE_VFIO_CONTAINER_H

#include "base/error.h"
#include "vfio/iova.h"
#include "vfio/kernel.h"

#include <stddef.h>
#include <stdint.h>

#define VFIO_ADDRESS_MAX 32 /* characters of a PCI function's address, with the end */

struct vfio_map {
	uint64_t iova;
	uint64_t size;
	const void *addr;
};

struct vfio_container {
	const struct vfio_kernel *kernel;
	int fd, group_fd;
	unsigned group;
	uint64_t page_size; /* the smallest that the IOMMU has */
	struct iova_space space;
	unsigned map_count, map_max;
	struct vfio_map *maps;
};

/* address: 0000:00:04.0, of a function that is bound to vfio-pci. On failure nothing is left to be closed. */
int vfio_container_open(const struct vfio_kernel *kernel, const char *address,
			struct vfio_container *ret_container, struct error *error);
/* The devices are closed. What is still mapped is unmapped. */
void vfio_container_close(struct vfio_container *container);

/*
 * Whole pages. -ENOSPC: no address or no map is left; -ENOMEM: they cannot be pinned; -EEXIST: memory that is mapped
 * already; -EINVAL: no whole pages.
 */
int vfio_container_map(struct vfio_container *container, void *addr, size_t size,
		       uint64_t *ret_iova, struct error *error);
/* addr: of a whole map. -ENOENT */
int vfio_container_unmap(struct vfio_container *container, const void *addr, struct error *error);
/* How many regions there can be, about. */
unsigned vfio_container_maps_max(const struct vfio_container *container);

#endif
