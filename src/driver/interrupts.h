/* SPDX-License-Identifier: MIT */
/* The interrupts of an opened device, and where they go. See <ringlane/affinity.h>. The device's thread. */
#ifndef RINGLANE_DRIVER_INTERRUPTS_H
#define RINGLANE_DRIVER_INTERRUPTS_H

#include "driver/affinity.h"
#include "driver/device.h"
#include "driver/irq_affinity.h"

#include <ringlane/affinity.h>

enum irq_mode interrupts_mode(enum ringlane_interrupt_mode mode);
/* proc: a folder like /proc, NULL: that. -ENOTSUP: the device has no interrupts. */
int interrupts_place(struct ringlane_device *device, const struct affinity_spread *spread,
		     enum irq_mode mode, const char *proc, struct error *error);
int interrupts_verify(struct ringlane_device *device, hwloc_const_bitmap_t online,
		      struct error *error);
int interrupts_get(const struct ringlane_device *device, unsigned queue, const char *proc,
		   struct ringlane_interrupt *ret_interrupt, struct error *error);
/*
 * The interrupt of a queue that is quiet is given back to the kernel, and had again, where it belongs: see queue_mask in
 * transport.h. Of a device whose interrupts can be masked.
 */
static inline bool interrupts_can_be_masked(const struct ringlane_device *device)
{
	return device->transport->ops->queue_mask != NULL;
}

bool interrupts_is_masked(const struct ringlane_device *device, unsigned queue);
int interrupts_mask(struct ringlane_device *device, unsigned queue, struct error *error);
int interrupts_unmask(struct ringlane_device *device, unsigned queue, struct error *error);
/* Forgets them; they stay where they are. */
void interrupts_free(struct ringlane_device *device);

#endif
