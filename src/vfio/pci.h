/* SPDX-License-Identifier: MIT */
/*
 * A PCI function that VFIO gave to this process: its configuration space, its BARs, the right to be bus master, reset.
 *
 * A BAR's registers are reached by a mapping where the kernel allows one, else by reads and writes of the device's file.
 * Reads that fail give ones in all bits, as a function does that is not there any more. On the thread that owns the
 * device; only what vfio_pci_bar_pointer gives may be used by others.
 */
#ifndef RINGLANE_VFIO_PCI_H
#define RINGLANE_VFIO_PCI_H

#include "base/error.h"
#include "vfio/container.h"

#include <stdbool.h>
#include <stdint.h>

#define VFIO_PCI_BARS 6
#define VFIO_PCI_CONFIG_SIZE 256 /* what is looked at of the configuration space */

struct vfio_pci_bar {
	uint64_t size;      /* 0: there is none */
	uint64_t offset;    /* in the device's file */
	uint8_t *map;       /* NULL: not mapped */
	uint64_t map_first; /* of the BAR */
	uint64_t map_size;
};

struct vfio_pci {
	const struct vfio_kernel *kernel;
	int fd;
	char address[VFIO_ADDRESS_MAX];
	bool can_reset;
	unsigned irq_count; /* kinds of interrupts, VFIO_PCI_*_IRQ_INDEX */
	uint64_t config_offset;
	uint64_t config_size;
	struct vfio_pci_bar bars[VFIO_PCI_BARS];
};

/* The function's memory is switched on, bus mastering off. On failure nothing is left to be closed. */
int vfio_pci_open(const struct vfio_container *container, const char *address,
		  struct vfio_pci *ret_pci, struct error *error);
/* Switches bus mastering off first: afterwards the device reaches no memory. */
void vfio_pci_close(struct vfio_pci *pci);

/* -EIO, -EINVAL: outside of the space. size 1, 2 or 4. */
int vfio_pci_config_read(const struct vfio_pci *pci, uint32_t offset, unsigned size,
			 uint32_t *ret_value);
int vfio_pci_config_write(const struct vfio_pci *pci, uint32_t offset, unsigned size,
			  uint32_t value);
/* Without the right to be bus master the function neither reads nor writes memory, nor interrupts. */
int vfio_pci_bus_master_enable(const struct vfio_pci *pci, struct error *error);
int vfio_pci_bus_master_disable(const struct vfio_pci *pci, struct error *error);
/* -ENOTSUP: the function knows no reset. Configuration space as after vfio_pci_open. */
int vfio_pci_reset(const struct vfio_pci *pci, struct error *error);

/* width 1, 2 or 4; the caller has checked offset against the BAR's size and its alignment. */
uint32_t vfio_pci_bar_read(const struct vfio_pci *pci, unsigned bar, uint64_t offset,
			   unsigned width);
void vfio_pci_bar_write(const struct vfio_pci *pci, unsigned bar, uint64_t offset, unsigned width,
			uint32_t value);
/* Where these bytes are mapped, or NULL. */
void *vfio_pci_bar_pointer(const struct vfio_pci *pci, unsigned bar, uint64_t offset,
			   uint64_t size);
/* The kernel writes value to the register whenever the event fd is signalled. For registers that are not mapped. */
int vfio_pci_bar_write_on_event(const struct vfio_pci *pci, unsigned bar, uint64_t offset,
				unsigned width, uint32_t value, int event_fd, struct error *error);

#endif
