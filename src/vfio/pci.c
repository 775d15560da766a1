// SPDX-License-Identifier: MIT
/*
 * See pci.h.
 *
 * System calls: those of the table of kernel.h.
 */
#include "vfio/pci.h"

#include "base/fd.h"
#include "base/mmio.h"
#include "base/overflow.h"
#include "vfio/sysfs.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGION_SIZE_MAX (64u << 10) /* of what is told about a region */

static int call(const struct vfio_pci *pci, unsigned long request, void *argument)
{
	return pci->kernel->ioctl(pci->kernel, pci->fd, request, argument);
}

/* ---- regions ---- */

/* Asks twice: how long the answer is, then for all of it. */
static int region_get(const struct vfio_pci *pci, unsigned index,
		      struct vfio_region_info **ret_region)
{
	struct vfio_region_info head = { .argsz = sizeof(head), .index = index };
	int ret = call(pci, VFIO_DEVICE_GET_REGION_INFO, &head);
	struct vfio_region_info *region;
	uint32_t size;

	if (ret < 0)
		return ret;
	size = MIN(MAX(head.argsz, (uint32_t)sizeof(head)), REGION_SIZE_MAX);
	region = calloc(1, size);
	if (!region)
		return -ENOMEM;
	region->argsz = size;
	region->index = index;
	ret = call(pci, VFIO_DEVICE_GET_REGION_INFO, region);
	if (ret < 0) {
		free(region);
		return ret;
	}
	region->argsz = size;
	*ret_region = region;
	return 0;
}

/* The first area that may be mapped of a region that may not be mapped as a whole; each capability lies behind the last. */
static bool sparse_area(const struct vfio_region_info *region, uint64_t *ret_first,
			uint64_t *ret_size)
{
	uint32_t offset = region->flags & VFIO_REGION_INFO_FLAG_CAPS ? region->cap_offset : 0;
	uint32_t before = 0;

	while (offset > before &&
	       range_fits(offset, sizeof(struct vfio_info_cap_header), region->argsz)) {
		const struct vfio_region_info_cap_sparse_mmap *sparse =
			(const void *)((const uint8_t *)region + offset);

		if (sparse->header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
			if (!range_fits(offset, sizeof(*sparse) + sizeof(sparse->areas[0]),
					region->argsz) ||
			    !sparse->nr_areas)
				return false;
			*ret_first = sparse->areas[0].offset;
			*ret_size = sparse->areas[0].size;
			return true;
		}
		before = offset;
		offset = sparse->header.next;
	}
	*ret_first = 0;
	*ret_size = region->size;
	return true;
}

/* A BAR that cannot be mapped is read and written: no failure. */
static void bar_map(const struct vfio_pci *pci, const struct vfio_region_info *region,
		    struct vfio_pci_bar *bar)
{
	uint64_t first, size;
	void *map;

	if (!(region->flags & VFIO_REGION_INFO_FLAG_MMAP) || !sparse_area(region, &first, &size))
		return;
	if (!size || !range_fits(first, size, bar->size))
		return;
	if (pci->kernel->map(pci->kernel, pci->fd, bar->offset + first, size, &map) < 0)
		return;
	bar->map = map;
	bar->map_first = first;
	bar->map_size = size;
}

static int bar_open(struct vfio_pci *pci, unsigned index, struct error *error)
{
	struct vfio_region_info *region = NULL;
	int ret = region_get(pci, index, &region);

	if (ret < 0)
		return error_set(error, ret, "%s: BAR %u: %s", pci->address, index,
				 strerrordesc_np(-ret));
	pci->bars[index] = (struct vfio_pci_bar){ .size = region->size, .offset = region->offset };
	if (region->size)
		bar_map(pci, region, &pci->bars[index]);
	free(region);
	return 0;
}

static int config_open(struct vfio_pci *pci, struct error *error)
{
	struct vfio_region_info *region = NULL;
	int ret = region_get(pci, VFIO_PCI_CONFIG_REGION_INDEX, &region);

	if (ret < 0)
		return error_set(error, ret, "%s: configuration space: %s", pci->address,
				 strerrordesc_np(-ret));
	pci->config_offset = region->offset;
	pci->config_size = MIN(region->size, (uint64_t)VFIO_PCI_CONFIG_SIZE);
	free(region);
	return 0;
}

/* ---- configuration space ---- */

int vfio_pci_config_read(const struct vfio_pci *pci, uint32_t offset, unsigned size,
			 uint32_t *ret_value)
{
	uint32_t raw = 0;
	int ret;

	if (!range_fits(offset, size, pci->config_size))
		return -EINVAL;
	ret = pci->kernel->read(pci->kernel, pci->fd, &raw, size, pci->config_offset + offset);
	if (ret != (int)size)
		return ret < 0 ? ret : -EIO;
	*ret_value = le32toh(raw);
	return 0;
}

int vfio_pci_config_write(const struct vfio_pci *pci, uint32_t offset, unsigned size,
			  uint32_t value)
{
	uint32_t raw = htole32(value);
	int ret;

	if (!range_fits(offset, size, pci->config_size))
		return -EINVAL;
	ret = pci->kernel->write(pci->kernel, pci->fd, &raw, size, pci->config_offset + offset);
	if (ret != (int)size)
		return ret < 0 ? ret : -EIO;
	return 0;
}

static int command_change(const struct vfio_pci *pci, uint32_t set, uint32_t clear,
			  struct error *error)
{
	uint32_t command = 0;
	int ret = vfio_pci_config_read(pci, PCI_COMMAND, 2, &command);

	if (ret == 0)
		ret = vfio_pci_config_write(pci, PCI_COMMAND, 2, (command & ~clear) | set);
	if (ret == 0)
		ret = vfio_pci_config_read(pci, PCI_COMMAND, 2, &command);
	if (ret < 0)
		return error_set(error, ret, "%s: command register: %s", pci->address,
				 strerrordesc_np(-ret));
	if ((command & set) != set || (command & clear))
		return error_set(error, -EIO, "%s: the command register does not change",
				 pci->address);
	return 0;
}

int vfio_pci_bus_master_enable(const struct vfio_pci *pci, struct error *error)
{
	return command_change(pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0, error);
}

int vfio_pci_bus_master_disable(const struct vfio_pci *pci, struct error *error)
{
	return command_change(pci, 0, PCI_COMMAND_MASTER, error);
}

/* ---- opening ---- */

static int device_file_open(const struct vfio_container *container, struct vfio_pci *pci,
			    struct error *error)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int ret;

	pci->fd = pci->kernel->ioctl(pci->kernel, container->group_fd, VFIO_GROUP_GET_DEVICE_FD,
				     pci->address);
	if (pci->fd < 0)
		return error_set(error, pci->fd, "%s is not given away by VFIO: %s", pci->address,
				 strerrordesc_np(-pci->fd));
	ret = call(pci, VFIO_DEVICE_GET_INFO, &info);
	if (ret < 0)
		return error_set(error, ret, "%s: %s", pci->address, strerrordesc_np(-ret));
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) ||
	    info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return error_set(error, -ENOTSUP, "%s is no PCI function for VFIO", pci->address);
	pci->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	pci->irq_count = info.num_irqs;
	return 0;
}

int vfio_pci_open(const struct vfio_container *container, const char *address,
		  struct vfio_pci *ret_pci, struct error *error)
{
	struct vfio_pci pci = { .kernel = container->kernel };
	int ret;

	if (!vfio_address_is_valid(address))
		return error_set(error, -EINVAL, "'%s' is no address of a PCI function", address);
	snprintf(pci.address, sizeof(pci.address), "%s", address);
	ret = device_file_open(container, &pci, error);
	if (ret == 0)
		ret = config_open(&pci, error);
	for (unsigned i = 0; ret == 0 && i < VFIO_PCI_BARS; i++)
		ret = bar_open(&pci, i, error);
	if (ret == 0)
		ret = command_change(&pci, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER, error);
	if (ret < 0) {
		vfio_pci_close(&pci);
		return ret;
	}
	*ret_pci = pci;
	return 0;
}

void vfio_pci_close(struct vfio_pci *pci)
{
	if (pci->fd >= 0 && pci->config_size)
		vfio_pci_bus_master_disable(pci, NULL);
	for (unsigned i = 0; i < VFIO_PCI_BARS; i++) {
		if (pci->bars[i].map)
			pci->kernel->unmap(pci->kernel, pci->bars[i].map, pci->bars[i].map_size);
		pci->bars[i] = (struct vfio_pci_bar){ 0 };
	}
	fd_close(&pci->fd);
}

int vfio_pci_reset(const struct vfio_pci *pci, struct error *error)
{
	int ret;

	if (!pci->can_reset)
		return error_set(error, -ENOTSUP, "%s cannot be reset by the kernel", pci->address);
	ret = call(pci, VFIO_DEVICE_RESET, NULL);
	if (ret < 0)
		return error_set(error, ret, "%s: reset: %s", pci->address, strerrordesc_np(-ret));
	return command_change(pci, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER, error);
}

/* ---- BARs ---- */

void *vfio_pci_bar_pointer(const struct vfio_pci *pci, unsigned bar, uint64_t offset, uint64_t size)
{
	const struct vfio_pci_bar *at = &pci->bars[bar];

	if (!at->map || offset < at->map_first ||
	    !range_fits(offset - at->map_first, size, at->map_size))
		return NULL;
	return at->map + (offset - at->map_first);
}

uint32_t vfio_pci_bar_read(const struct vfio_pci *pci, unsigned bar, uint64_t offset,
			   unsigned width)
{
	const void *reg = vfio_pci_bar_pointer(pci, bar, offset, width);
	uint32_t raw = 0;

	if (!reg) {
		if (pci->kernel->read(pci->kernel, pci->fd, &raw, width,
				      pci->bars[bar].offset + offset) != (int)width)
			raw = UINT32_MAX >> (32 - 8 * width);
		return le32toh(raw);
	}
	switch (width) {
	case 1:
		return mmio_read8(reg);
	case 2:
		return mmio_read16(reg);
	default:
		return mmio_read32(reg);
	}
}

/* What cannot be written has no effect: what depends on it is read back. */
void vfio_pci_bar_write(const struct vfio_pci *pci, unsigned bar, uint64_t offset, unsigned width,
			uint32_t value)
{
	void *reg = vfio_pci_bar_pointer(pci, bar, offset, width);
	uint32_t raw = htole32(value);

	if (!reg) {
		pci->kernel->write(pci->kernel, pci->fd, &raw, width,
				   pci->bars[bar].offset + offset);
		return;
	}
	mmio_fence();
	switch (width) {
	case 1:
		mmio_write8(reg, (uint8_t)value);
		return;
	case 2:
		mmio_write16(reg, (uint16_t)value);
		return;
	default:
		mmio_write32(reg, value);
	}
}

int vfio_pci_bar_write_on_event(const struct vfio_pci *pci, unsigned bar, uint64_t offset,
				unsigned width, uint32_t value, int event_fd, struct error *error)
{
	struct vfio_device_ioeventfd event = {
		.argsz = sizeof(event),
		.flags = width == 2 ? VFIO_DEVICE_IOEVENTFD_16 : VFIO_DEVICE_IOEVENTFD_32,
		.offset = pci->bars[bar].offset + offset,
		.data = value,
	};
	int ret;

	event.fd = -1; /* what was registered before; there may be nothing */
	call(pci, VFIO_DEVICE_IOEVENTFD, &event);
	event.fd = event_fd;
	ret = call(pci, VFIO_DEVICE_IOEVENTFD, &event);
	if (ret < 0)
		return error_set(error, ret,
				 "%s: the doorbell in BAR %u can neither be mapped nor rung by an "
				 "event: %s",
				 pci->address, bar, strerrordesc_np(-ret));
	return 0;
}
