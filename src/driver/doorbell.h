/* SPDX-License-Identifier: MIT */
/* A device's register that tells it to look at a queue (virtio 1.3, 4.1.5.2). Any thread. */
#ifndef RINGLANE_DRIVER_DOORBELL_H
#define RINGLANE_DRIVER_DOORBELL_H

#include "base/mmio.h"

#include <stdint.h>

struct doorbell {
	void *reg; /* NULL: there is none, the device is told in another way */
	uint16_t value;
};

/* What was published before is seen by the device that this wakes. */
static inline void doorbell_ring(const struct doorbell *doorbell)
{
	mmio_fence();
	mmio_write16(doorbell->reg, doorbell->value);
}

#endif
