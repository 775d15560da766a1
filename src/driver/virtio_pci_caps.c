// SPDX-License-Identifier: MIT
/*
 * Which virtio device a PCI function is, and where its structures are (virtio 1.3, 4.1.2 and 4.1.4). The first usable
 * capability of each type wins; what is reserved, or points outside of its BAR, is passed over.
 */
#include "base/compiler.h"
#include "base/overflow.h"
#include "driver/virtio_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_TRANSITIONAL 0x1000 /* up to DEVICE_MODERN - 1; the type is the subsystem's number */
#define DEVICE_MODERN 0x1040       /* and the type */
#define DEVICE_LAST 0x107f
#define BARS 6
#define CAPS_FIRST 0x40
#define CAPS_MAX ((256 - CAPS_FIRST) / 4) /* a longer list goes in circles */
#define NOTIFY_CAP_LENGTH (sizeof(struct virtio_pci_notify_cap))
#define CAP(field) offsetof(struct virtio_pci_cap, field)

/* 0xff... where there is nothing, as PCI has it. */
static uint32_t config_read(const struct virtio_pci *pci, uint32_t offset, unsigned size)
{
	uint32_t value;

	if (pci->access->ops->config_read(pci->access, offset, size, &value) < 0)
		return UINT32_MAX >> (32 - 8 * size);
	return value;
}

/* ---- what it is ---- */

static int identify(struct virtio_pci *pci, struct error *error)
{
	uint32_t vendor = config_read(pci, PCI_VENDOR_ID, 2);
	uint32_t device = config_read(pci, PCI_DEVICE_ID, 2);

	if (vendor != VENDOR_VIRTIO || device < DEVICE_TRANSITIONAL || device > DEVICE_LAST)
		return error_set(error, -ENODEV, "the PCI function %04x:%04x is no virtio device",
				 vendor, device);
	pci->device_id = device >= DEVICE_MODERN ? device - DEVICE_MODERN :
						   config_read(pci, PCI_SUBSYSTEM_ID, 2);
	pci->resets_no_queue = config_read(pci, PCI_SUBSYSTEM_VENDOR_ID, 2) == VENDOR_VIRTIO;
	return 0;
}

/* ---- where its structures are ---- */

/* What a structure must have at least, and how it must lie. */
static const struct {
	uint32_t length, align;
	uint32_t cap_length;
} needs[] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = { sizeof(struct virtio_pci_common_cfg), 4,
					sizeof(struct virtio_pci_cap) },
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = { 2, 2, NOTIFY_CAP_LENGTH },
	[VIRTIO_PCI_CAP_ISR_CFG] = { 1, 1, sizeof(struct virtio_pci_cap) },
	[VIRTIO_PCI_CAP_DEVICE_CFG] = { 1, 4, sizeof(struct virtio_pci_cap) },
};

static struct virtio_pci_window *window_of(struct virtio_pci *pci, uint32_t type)
{
	switch (type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		return &pci->common;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		return &pci->notify;
	case VIRTIO_PCI_CAP_ISR_CFG:
		return &pci->isr;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		return &pci->device;
	default:
		return NULL;
	}
}

static bool window_fits(const struct virtio_pci *pci, uint32_t type, uint32_t cap_length,
			const struct virtio_pci_window *window)
{
	uint64_t bar_size;

	if (cap_length < needs[type].cap_length || window->bar >= BARS)
		return false;
	if (window->length < needs[type].length || window->offset % needs[type].align)
		return false;
	bar_size = pci->access->ops->bar_size(pci->access, window->bar);
	return range_fits(window->offset, window->length, bar_size);
}

static void cap_use(struct virtio_pci *pci, uint32_t cap)
{
	uint32_t cap_length = config_read(pci, cap + CAP(cap_len), 1);
	uint32_t type = config_read(pci, cap + CAP(cfg_type), 1);
	struct virtio_pci_window *window = window_of(pci, type);
	const struct virtio_pci_window found = {
		.bar = config_read(pci, cap + CAP(bar), 1),
		.offset = config_read(pci, cap + CAP(offset), 4),
		.length = config_read(pci, cap + CAP(length), 4),
	};

	if (!window || window->length || !window_fits(pci, type, cap_length, &found))
		return;
	*window = found;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		pci->notify_multiplier =
			config_read(pci, cap + (uint32_t)sizeof(struct virtio_pci_cap), 4);
}

static void caps_walk(struct virtio_pci *pci)
{
	uint32_t cap;

	if (!(config_read(pci, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return;
	cap = config_read(pci, PCI_CAPABILITY_LIST, 1) & ~3u;
	for (unsigned i = 0; i < CAPS_MAX && cap >= CAPS_FIRST; i++) {
		if (config_read(pci, cap + CAP(cap_vndr), 1) == PCI_CAP_ID_VNDR)
			cap_use(pci, cap);
		cap = config_read(pci, cap + CAP(cap_next), 1) & ~3u;
	}
}

int virtio_pci_init(const struct virtio_pci_access *access, unsigned timeout_ms,
		    struct virtio_pci *ret_pci, struct error *error)
{
	struct virtio_pci pci = { .access = access, .timeout_ms = timeout_ms };
	int ret = identify(&pci, error);

	if (ret < 0)
		return ret;
	caps_walk(&pci);
	if (!pci.common.length || !pci.notify.length)
		return error_set(error, -ENOTSUP,
				 "the device has no usable modern interface (virtio 1.0): its %s "
				 "structure is missing",
				 pci.common.length ? "notification" : "common configuration");
	*ret_pci = pci;
	return 0;
}
