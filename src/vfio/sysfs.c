// SPDX-License-Identifier: MIT
/*
 * See sysfs.h.
 *
 * System calls: readlink, access, opendir.
 */
#include "vfio/sysfs.h"

#include "vfio/container.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 64

bool vfio_address_is_valid(const char *text)
{
	static const char shape[] = "hhhh:hh:hh.h";

	for (size_t i = 0; i < sizeof(shape); i++) {
		if (shape[i] == 'h' ? !isxdigit((unsigned char)text[i]) : text[i] != shape[i])
			return false;
	}
	return true;
}

/* The last part of what a link points to, "" when there is no link. */
static void link_name(const char *path, char *ret_name, size_t size)
{
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	target[MAX(length, 0)] = '\0';
	slash = strrchr(target, '/');
	snprintf(ret_name, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static void device_link(const struct vfio_kernel *kernel, const char *address, const char *link,
			char *ret_name, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", kernel->sysfs, address, link);
	link_name(path, ret_name, size);
}

static bool is_vfio(const char *driver)
{
	return strstr(driver, "vfio") != NULL;
}

static int driver_check(const struct vfio_kernel *kernel, const char *address, struct error *error)
{
	char driver[NAME_SIZE];

	device_link(kernel, address, "driver", driver, sizeof(driver));
	if (!driver[0])
		return error_set(
			error, -ENODEV,
			"%s is bound to no driver: bind it to vfio-pci first (driver_override)",
			address);
	if (!is_vfio(driver))
		return error_set(error, -EBUSY,
				 "%s belongs to the driver %s: unbind it and bind it to vfio-pci",
				 address, driver);
	return 0;
}

int vfio_sysfs_group(const struct vfio_kernel *kernel, const char *address, unsigned *ret_group,
		     struct error *error)
{
	char path[PATH_MAX], name[NAME_SIZE], *end;
	unsigned long group;
	int ret;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", kernel->sysfs, address);
	if (access(path, F_OK) < 0)
		return error_set(error, -ENODEV, "there is no PCI function %s", address);
	ret = driver_check(kernel, address, error);
	if (ret < 0)
		return ret;
	device_link(kernel, address, "iommu_group", name, sizeof(name));
	group = strtoul(name, &end, 10);
	if (!name[0] || *end || group > UINT_MAX)
		return error_set(
			error, -ENODEV,
			"%s is in no IOMMU group: there is no IOMMU, or it is off (firmware settings; "
			"intel_iommu=on on the kernel's command line)",
			address);
	*ret_group = (unsigned)group;
	return 0;
}

void vfio_sysfs_strangers(const struct vfio_kernel *kernel, unsigned group, char *text, size_t size)
{
	char path[PATH_MAX], driver[NAME_SIZE];
	const struct dirent *entry;
	size_t used = 0;
	DIR *folder;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", kernel->sysfs, group);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		device_link(kernel, entry->d_name, "driver", driver, sizeof(driver));
		if (!driver[0] || is_vfio(driver) || used >= size)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s (%s)", used ? ", " : "",
					 entry->d_name, driver);
	}
	if (folder)
		closedir(folder);
}
