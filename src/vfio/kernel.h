/* SPDX-License-Identifier: MIT */
/*
 * The system calls by which this folder speaks to the kernel, as a table, so that tests can be the kernel. Any thread.
 *
 * Everything returns what the system call does, or -errno.
 */
#ifndef RINGLANE_VFIO_KERNEL_H
#define RINGLANE_VFIO_KERNEL_H

#include <stddef.h>
#include <stdint.h>

struct vfio_kernel {
	const char *sysfs; /* "/sys" */
	const char *dev;   /* "/dev/vfio" */
	int (*open)(const struct vfio_kernel *kernel, const char *path);
	int (*ioctl)(const struct vfio_kernel *kernel, int fd, unsigned long request,
		     void *argument);
	int (*read)(const struct vfio_kernel *kernel, int fd, void *bytes, size_t size,
		    uint64_t offset);
	int (*write)(const struct vfio_kernel *kernel, int fd, const void *bytes, size_t size,
		     uint64_t offset);
	/* *ret_address may be read and written. */
	int (*map)(const struct vfio_kernel *kernel, int fd, uint64_t offset, size_t size,
		   void **ret_address);
	void (*unmap)(const struct vfio_kernel *kernel, void *address, size_t size);
};

extern const struct vfio_kernel vfio_kernel_real;

#endif
