/* SPDX-License-Identifier: MIT */
/* What sysfs says of a PCI function before anything of it is opened. Any thread; blocks as files do. */
#ifndef RINGLANE_VFIO_SYSFS_H
#define RINGLANE_VFIO_SYSFS_H

#include "base/error.h"
#include "vfio/kernel.h"

#include <stdbool.h>

/* Is text the address of a PCI function: 0000:00:04.0? */
bool vfio_address_is_valid(const char *text);
/*
 * The function's IOMMU group, after it was made sure that a driver of VFIO has it. -ENODEV: no such function, no group;
 * -EBUSY: another driver has it.
 */
int vfio_sysfs_group(const struct vfio_kernel *kernel, const char *address, unsigned *ret_group,
		     struct error *error);
/* "0000:00:05.0 (virtio-pci), ...": what in the group belongs to drivers of the kernel; cut to size. */
void vfio_sysfs_strangers(const struct vfio_kernel *kernel, unsigned group, char *text,
			  size_t size);

#endif
