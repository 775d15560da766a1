/* SPDX-License-Identifier: MIT */
/*
 * The interrupts of one kind (MSI-X; error; request to let go) of a VFIO device, each an event fd that the kernel
 * signals.
 *
 * Two generations of kernels: until 6.4 all vectors are allocated at once, and a change of their number means to disable
 * and enable them all (NORESIZE); later ones can be added one by one. A single vector's event fd can be set and taken
 * away alone with both. After vfio_irq_enable the numbers in /proc/interrupts may be others; after vfio_irq_set the
 * number of this vector may be.
 *
 * On the thread that owns the device. System calls: ioctl.
 */
#ifndef RINGLANE_VFIO_IRQ_H
#define RINGLANE_VFIO_IRQ_H

#include "base/error.h"
#include "vfio/pci.h"

#include <stdbool.h>

#define VFIO_IRQ_MAX 2048 /* vectors that MSI-X has at most */

struct vfio_irq {
	const struct vfio_pci *pci;
	unsigned index;   /* VFIO_PCI_*_IRQ_INDEX */
	unsigned max;     /* vectors of the function */
	unsigned enabled; /* vectors [0, enabled) are allocated */
	bool noresize;
};

/* -ENOTSUP: the function has none of this kind, or they cannot be had as event fds. */
int vfio_irq_init(const struct vfio_pci *pci, unsigned index, struct vfio_irq *ret_irq,
		  struct error *error);
/*
 * Vectors [0, count), and no others, each signalling fds[i] (-1: none yet); those before are gone. Returns 0; a positive
 * number: only so many can be had, and none is enabled; -errno.
 */
int vfio_irq_enable(struct vfio_irq *irq, const int *fds, unsigned count, struct error *error);
/* One of the enabled vectors; fd -1: it signals nothing and its interrupt is freed. */
int vfio_irq_set(const struct vfio_irq *irq, unsigned vector, int fd, struct error *error);
int vfio_irq_disable(struct vfio_irq *irq, struct error *error);
/* As if the device had raised it: the event fd is signalled. */
int vfio_irq_trigger(const struct vfio_irq *irq, unsigned vector, struct error *error);

#endif
