// SPDX-License-Identifier: MIT
/* See fake_kernel.h. Files are event fds, so that what is not closed is found by counting open files. */
#include "vfio/fake_kernel.h"

#include "base/fd.h"
#include "base/overflow.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REGION_SHIFT 40

static struct fake_kernel *self_of(const struct vfio_kernel *kernel)
{
	return (struct fake_kernel *)container_of(kernel, struct fake_kernel, base);
}

void fake_kernel_trace(struct fake_kernel *fake, const char *format, ...)
{
	size_t used = strlen(fake->trace);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fake->trace + used, sizeof(fake->trace) - used, format, arguments);
	va_end(arguments);
}

/* ---- files ---- */

static int fake_open(const struct vfio_kernel *kernel, const char *path)
{
	struct fake_kernel *fake = self_of(kernel);
	const char *name = strrchr(path, '/') + 1;
	int fd;

	if (fake->refused_path && strcmp(name, fake->refused_path) == 0)
		return -fake->refused_errno;
	fd = event_fd_new();
	if (strcmp(name, "vfio") == 0)
		fake->container_fd = fd;
	else
		fake->group_fd = fd;
	return fd;
}

static int config_transfer(struct fake_kernel *fake, void *bytes, size_t size, uint64_t offset,
			   bool write)
{
	bool master = fake_kernel_masters(fake);

	if (!range_fits(offset, size, sizeof(fake->config)))
		return -EINVAL;
	if (!write) {
		memcpy(bytes, fake->config + offset, size);
		return (int)size;
	}
	memcpy(fake->config + offset, bytes, size);
	if (fake_kernel_masters(fake) != master)
		fake_kernel_trace(fake, master ? "master-off " : "master-on ");
	return (int)size;
}

static int bar_transfer(struct fake_kernel *fake, unsigned bar, void *bytes, size_t size,
			uint64_t offset, bool write)
{
	struct fake_bar *at = &fake->bars[bar];
	uint32_t value = 0;

	assert(range_fits(offset, size, at->size) && offset % size == 0);
	if (write) {
		memcpy(&value, bytes, size);
		at->write(fake->owner, offset, (unsigned)size, value);
	} else {
		value = at->read(fake->owner, offset, (unsigned)size);
		memcpy(bytes, &value, size);
	}
	return (int)size;
}

static int transfer(struct fake_kernel *fake, int fd, void *bytes, size_t size, uint64_t offset,
		    bool write)
{
	unsigned region = (unsigned)(offset >> REGION_SHIFT);

	offset &= (1ull << REGION_SHIFT) - 1;
	if (fd != fake->device_fd)
		return -EBADF;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return config_transfer(fake, bytes, size, offset, write);
	return bar_transfer(fake, region, bytes, size, offset, write);
}

static int fake_read(const struct vfio_kernel *kernel, int fd, void *bytes, size_t size,
		     uint64_t offset)
{
	return transfer(self_of(kernel), fd, bytes, size, offset, false);
}

static int fake_write(const struct vfio_kernel *kernel, int fd, const void *bytes, size_t size,
		      uint64_t offset)
{
	return transfer(self_of(kernel), fd, (void *)bytes, size, offset, true);
}

static int fake_map(const struct vfio_kernel *kernel, int fd, uint64_t offset, size_t size,
		    void **ret_address)
{
	const struct fake_bar *bar = &self_of(kernel)->bars[offset >> REGION_SHIFT];
	off_t first = (off_t)(offset & ((1ull << REGION_SHIFT) - 1));
	void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bar->memory_fd, first);

	if (address == MAP_FAILED)
		return -errno;
	*ret_address = address;
	return 0;
}

static void fake_unmap(const struct vfio_kernel *kernel, void *address, size_t size)
{
	munmap(address, size);
}

/* ---- the IOMMU ---- */

/* A head, the number of maps, and the ranges: capabilities one behind the other. */
static int get_info(const struct fake_kernel *fake, struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info head = {
		.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
		.iova_pgsizes = 0x40201000,
		.cap_offset = sizeof(head),
	};
	struct vfio_iommu_type1_info_dma_avail avail = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL },
		.avail = fake->maps_avail,
	};
	struct vfio_iommu_type1_info_cap_iova_range ranges = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE },
		.nr_iovas = fake->range_count,
	};
	size_t ranges_at = sizeof(head) + sizeof(avail);
	size_t size = ranges_at + sizeof(ranges) + sizeof(fake->ranges);
	uint8_t bytes[512] = { 0 };

	assert(size <= sizeof(bytes));
	head.argsz = (uint32_t)size;
	if (!fake->no_ranges)
		avail.header.next = (uint32_t)ranges_at;
	if (fake->cap_loop) {
		avail.header.id = 99;
		avail.header.next = head.cap_offset;
	}
	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), &avail, sizeof(avail));
	memcpy(bytes + ranges_at, &ranges, sizeof(ranges));
	memcpy(bytes + ranges_at + sizeof(ranges), fake->ranges, sizeof(fake->ranges));
	memcpy(info, bytes, MIN(info->argsz, head.argsz));
	return 0;
}

static bool overlaps(const struct fake_kernel *fake, const struct vfio_iommu_type1_dma_map *map)
{
	for (unsigned i = 0; i < fake->map_count; i++)
		if (fake->maps[i].iova < map->iova + map->size &&
		    map->iova < fake->maps[i].iova + fake->maps[i].size)
			return true;
	return false;
}

static int map_dma(struct fake_kernel *fake, const struct vfio_iommu_type1_dma_map *map)
{
	bool inside = fake->no_ranges || fake->cap_loop;

	for (unsigned i = 0; i < fake->range_count; i++)
		inside |= map->iova >= fake->ranges[i].first &&
			  map->iova + map->size - 1 <= fake->ranges[i].last;
	if (!inside || fake->map_count == FAKE_MAPS_MAX)
		return -EINVAL;
	if (overlaps(fake, map))
		return -EEXIST;
	fake->maps[fake->map_count++] =
		(struct vfio_map){ map->iova, map->size, (const void *)(uintptr_t)map->vaddr };
	fake_kernel_trace(fake, "map ");
	return 0;
}

static int unmap_dma(struct fake_kernel *fake, struct vfio_iommu_type1_dma_unmap *unmap)
{
	for (unsigned i = 0; i < fake->map_count; i++) {
		if (fake->maps[i].iova != unmap->iova || fake->maps[i].size != unmap->size)
			continue;
		fake->maps[i] = fake->maps[--fake->map_count];
		fake_kernel_trace(fake, "unmap ");
		return 0;
	}
	unmap->size = 0;
	return 0;
}

void *fake_kernel_reach(const struct fake_kernel *fake, uint64_t iova, uint64_t size)
{
	for (unsigned i = 0; i < fake->map_count; i++) {
		const struct vfio_map *map = &fake->maps[i];

		if (iova >= map->iova && range_fits(iova - map->iova, size, map->size))
			return (uint8_t *)(uintptr_t)map->addr + (iova - map->iova);
	}
	return NULL;
}

/* ---- the device ---- */

static int get_region(const struct fake_kernel *fake, struct vfio_region_info *region)
{
	region->offset = (uint64_t)region->index << REGION_SHIFT;
	region->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	region->size = 0;
	if (region->index == VFIO_PCI_CONFIG_REGION_INDEX)
		region->size = sizeof(fake->config);
	if (region->index >= VFIO_PCI_BARS)
		return 0;
	region->size = fake->bars[region->index].size;
	if (fake->bars[region->index].mapped)
		region->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	return 0;
}

static int get_irq(const struct fake_kernel *fake, struct vfio_irq_info *info)
{
	if (info->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info->count = fake->irqs[info->index].count;
	info->flags = VFIO_IRQ_INFO_EVENTFD;
	if (fake->noresize && info->index == VFIO_PCI_MSIX_IRQ_INDEX)
		info->flags |= VFIO_IRQ_INFO_NORESIZE;
	return 0;
}

static void irq_free(struct fake_irq *irq)
{
	for (unsigned i = 0; i < FAKE_VECTORS_MAX; i++)
		fd_close(&irq->fds[i]);
	irq->enabled = 0;
}

/* As vfio_pci_set_msi_trigger: disable, trigger, or set; a positive number when there are fewer. */
static int set_irqs(struct fake_kernel *fake, const struct vfio_irq_set *set)
{
	struct fake_irq *irq = &fake->irqs[set->index];
	unsigned available = irq->available ? irq->available : irq->count;

	if (set->flags == (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)) {
		if (set->count && (set->start >= irq->enabled || irq->fds[set->start] < 0))
			return -EINVAL;
		if (set->count)
			event_fd_signal(irq->fds[set->start]);
		else
			irq_free(irq);
		return 0;
	}
	if (set->start + set->count > irq->count)
		return -EINVAL;
	if (irq->enabled && set->start + set->count > irq->enabled)
		return -EINVAL;
	if (!irq->enabled && set->count > available)
		return (int)available;
	for (unsigned i = 0; i < set->count; i++) {
		int32_t fd;

		memcpy(&fd, set->data + i * sizeof(fd), sizeof(fd));
		fd_close(&irq->fds[set->start + i]);
		irq->fds[set->start + i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	irq->enabled = MAX(irq->enabled, set->start + set->count);
	fake_kernel_trace(fake, "irq%u+%u ", set->start, set->count);
	return 0;
}

bool fake_kernel_raise(struct fake_kernel *fake, unsigned vector)
{
	const struct fake_irq *irq = &fake->irqs[VFIO_PCI_MSIX_IRQ_INDEX];

	if (!fake_kernel_masters(fake) || vector >= irq->enabled || irq->fds[vector] < 0)
		return false;
	event_fd_signal(irq->fds[vector]);
	return true;
}

void fake_kernel_signal(struct fake_kernel *fake, unsigned index)
{
	event_fd_signal(fake->irqs[index].fds[0]);
}

/* A reset forgets what was written to the command register, as real ones do. */
static int device_reset(struct fake_kernel *fake)
{
	if (!fake->can_reset)
		return -ENOTTY;
	fake->resets++;
	fake->config[PCI_COMMAND] = 0;
	fake_kernel_trace(fake, "reset ");
	return 0;
}

static int device_info(const struct fake_kernel *fake, struct vfio_device_info *info)
{
	info->flags = VFIO_DEVICE_FLAGS_PCI | (fake->can_reset ? VFIO_DEVICE_FLAGS_RESET : 0);
	info->num_regions = VFIO_PCI_NUM_REGIONS;
	info->num_irqs = VFIO_PCI_NUM_IRQS;
	return 0;
}

static int fake_ioctl(const struct vfio_kernel *kernel, int fd, unsigned long request,
		      void *argument)
{
	struct fake_kernel *fake = self_of(kernel);

	if (request == fake->refused)
		return -fake->refused_errno;
	switch (request) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return (uintptr_t)argument == VFIO_TYPE1v2_IOMMU;
	case VFIO_GROUP_GET_STATUS:
		((struct vfio_group_status *)argument)->flags =
			fake->not_viable ? 0 : VFIO_GROUP_FLAGS_VIABLE;
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
		return *(int *)argument == fake->container_fd ? 0 : -EINVAL;
	case VFIO_SET_IOMMU:
		return 0;
	case VFIO_IOMMU_GET_INFO:
		return get_info(fake, argument);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(fake, argument);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(fake, argument);
	case VFIO_GROUP_GET_DEVICE_FD:
		return fake->device_fd = event_fd_new();
	case VFIO_DEVICE_GET_INFO:
		return device_info(fake, argument);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region(fake, argument);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq(fake, argument);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(fake, argument);
	case VFIO_DEVICE_RESET:
		return device_reset(fake);
	case VFIO_DEVICE_IOEVENTFD:
		memcpy(&fake->doorbell, argument, sizeof(fake->doorbell));
		return 0;
	default:
		return -ENOTTY;
	}
}

bool fake_kernel_masters(const struct fake_kernel *fake)
{
	return fake->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

/* ---- sysfs ---- */

/* With the folders above it. */
static void folder_make(const char *path)
{
	char part[512], *slash = part;

	snprintf(part, sizeof(part), "%s", path);
	while ((slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		mkdir(part, 0700);
		*slash = '/';
	}
	assert(mkdir(part, 0700) == 0 || errno == EEXIST);
}

static void link_set(const struct fake_kernel *fake, const char *address, const char *link,
		     const char *target)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", fake->sysfs, address, link);
	unlink(path);
	if (target)
		assert(symlink(target, path) == 0);
}

void fake_kernel_bind(struct fake_kernel *fake, const char *address, const char *driver)
{
	char target[128];

	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	link_set(fake, address, "driver", driver[0] ? target : NULL);
}

void fake_kernel_no_iommu(struct fake_kernel *fake)
{
	link_set(fake, FAKE_ADDRESS, "iommu_group", NULL);
}

static void function_add(struct fake_kernel *fake, const char *address)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", fake->sysfs, address);
	folder_make(path);
	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/" FAKE_GROUP "/devices/%s",
		 fake->sysfs, address);
	folder_make(path);
	link_set(fake, address, "iommu_group", "../../../kernel/iommu_groups/" FAKE_GROUP);
}

/* ---- beginning and end ---- */

void fake_kernel_bar_memory(struct fake_kernel *fake, unsigned bar, uint64_t size)
{
	struct fake_bar *at = &fake->bars[bar];

	at->size = size;
	at->mapped = true;
	at->memory_fd = memfd_create("bar", MFD_CLOEXEC);
	assert(ftruncate(at->memory_fd, (off_t)size) == 0);
	at->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, at->memory_fd, 0);
	assert(at->memory != MAP_FAILED);
}

void fake_kernel_init(struct fake_kernel *fake)
{
	*fake = (struct fake_kernel){
		.base = { .open = fake_open,
			  .ioctl = fake_ioctl,
			  .read = fake_read,
			  .write = fake_write,
			  .map = fake_map,
			  .unmap = fake_unmap },
		.folder = "/tmp/ringlane-vfio-XXXXXX",
		.noresize = true,
		.can_reset = true,
		.ranges = { { 0, 0xfedfffff }, { 0xfef00000, (1ull << 39) - 1 } },
		.range_count = 2,
		.maps_avail = FAKE_MAPS_MAX,
		.irqs = { [VFIO_PCI_MSIX_IRQ_INDEX] = { .count = 5 },
			  [VFIO_PCI_ERR_IRQ_INDEX] = { .count = 1 },
			  [VFIO_PCI_REQ_IRQ_INDEX] = { .count = 1 } },
		.device_fd = -1,
	};
	for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		memset(fake->irqs[i].fds, 0xff, sizeof(fake->irqs[i].fds));
	for (unsigned i = 0; i < VFIO_PCI_BARS; i++)
		fake->bars[i].memory_fd = -1;
	assert(mkdtemp(fake->folder));
	snprintf(fake->sysfs, sizeof(fake->sysfs), "%s/sys", fake->folder);
	snprintf(fake->dev, sizeof(fake->dev), "%s/dev", fake->folder);
	fake->base.sysfs = fake->sysfs;
	fake->base.dev = fake->dev;
	function_add(fake, FAKE_ADDRESS);
	function_add(fake, FAKE_NEIGHBOUR);
	fake_kernel_bind(fake, FAKE_ADDRESS, "vfio-pci");
}

static void function_remove(struct fake_kernel *fake, const char *address)
{
	char path[512];

	link_set(fake, address, "driver", NULL);
	link_set(fake, address, "iommu_group", NULL);
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", fake->sysfs, address);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/" FAKE_GROUP "/devices/%s",
		 fake->sysfs, address);
	rmdir(path);
}

void fake_kernel_fini(struct fake_kernel *fake)
{
	static const char *const folders[] = {
		("/kernel/iommu_groups/" FAKE_GROUP "/devices"),
		("/kernel/iommu_groups/" FAKE_GROUP),
		"/kernel/iommu_groups",
		"/kernel",
		"/bus/pci/devices",
		"/bus/pci",
		"/bus",
		"",
	};
	char path[512];

	function_remove(fake, FAKE_ADDRESS);
	function_remove(fake, FAKE_NEIGHBOUR);
	for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s%s", fake->sysfs, folders[i]);
		rmdir(path);
	}
	assert(rmdir(fake->folder) == 0);
	for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		irq_free(&fake->irqs[i]);
	for (unsigned i = 0; i < VFIO_PCI_BARS; i++) {
		if (fake->bars[i].memory)
			munmap(fake->bars[i].memory, fake->bars[i].size);
		fd_close(&fake->bars[i].memory_fd);
	}
}
