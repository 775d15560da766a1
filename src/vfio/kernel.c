// SPDX-License-Identifier: MIT
/*
 * The real kernel.
 *
 * System calls: open, ioctl, pread, pwrite, mmap, munmap.
 */
#include "vfio/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int real_open(const struct vfio_kernel *kernel, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int real_ioctl(const struct vfio_kernel *kernel, int fd, unsigned long request,
		      void *argument)
{
	int ret = ioctl(fd, request, argument);

	return ret < 0 ? -errno : ret;
}

static int real_read(const struct vfio_kernel *kernel, int fd, void *bytes, size_t size,
		     uint64_t offset)
{
	ssize_t ret = pread(fd, bytes, size, (off_t)offset);

	return ret < 0 ? -errno : (int)ret;
}

static int real_write(const struct vfio_kernel *kernel, int fd, const void *bytes, size_t size,
		      uint64_t offset)
{
	ssize_t ret = pwrite(fd, bytes, size, (off_t)offset);

	return ret < 0 ? -errno : (int)ret;
}

static int real_map(const struct vfio_kernel *kernel, int fd, uint64_t offset, size_t size,
		    void **ret_address)
{
	void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (address == MAP_FAILED)
		return -errno;
	*ret_address = address;
	return 0;
}

static void real_unmap(const struct vfio_kernel *kernel, void *address, size_t size)
{
	munmap(address, size);
}

const struct vfio_kernel vfio_kernel_real = {
	.sysfs = "/sys",
	.dev = "/dev/vfio",
	.open = real_open,
	.ioctl = real_ioctl,
	.read = real_read,
	.write = real_write,
	.map = real_map,
	.unmap = real_unmap,
};
