/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI, the modern interface (virtio 1.3, 4.1), on top of any way to reach a function's registers.
 *
 * Registers are accessed with the width of their field, 64-bit ones as two halves. Whatever the device says is checked
 * against its BARs before it is used, and each wait for it has an end, so that a function that answers nonsense (or ones,
 * because it has been taken away) gives an error.
 *
 * A queue is never disabled by writing 0 to queue_enable: it is reset with the device, or alone where
 * VIRTIO_F_RING_RESET was negotiated. The interrupt status register is not touched: there are only MSI-X interrupts here.
 *
 * On the thread that owns the device. Blocks for timeout_ms at most.
 */
#ifndef RINGLANE_DRIVER_VIRTIO_PCI_H
#define RINGLANE_DRIVER_VIRTIO_PCI_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_PCI_NO_VECTOR 0xffff

struct virtio_pci_access;

struct virtio_pci_access_ops {
	/* size 1, 2 or 4; -errno outside of the configuration space. */
	int (*config_read)(const struct virtio_pci_access *access, uint32_t offset, unsigned size,
			   uint32_t *ret_value);
	/* 0: the function does not have this BAR. */
	uint64_t (*bar_size)(const struct virtio_pci_access *access, unsigned bar);
	/* Inside of the BAR, aligned; width 1, 2 or 4. What cannot be read reads as ones. */
	uint32_t (*read)(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
			 unsigned width);
	void (*write)(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
		      unsigned width, uint32_t value);
};

struct virtio_pci_access {
	const struct virtio_pci_access_ops *ops;
};

/* A structure's place, inside of its BAR; length 0: there is none. */
struct virtio_pci_window {
	unsigned bar;
	uint64_t offset;
	uint32_t length;
};

struct virtio_pci {
	const struct virtio_pci_access *access;
	unsigned timeout_ms;
	unsigned device_id; /* VIRTIO_ID_* */
	/*
	 * QEMU and its kin: the reset of a queue is confirmed at once, and what was in flight is completed all the same, into
	 * memory and into the ring that was started meanwhile (7.2; only network devices have a reset of their own).
	 */
	bool resets_no_queue;
	struct virtio_pci_window common, notify, isr, device;
	uint32_t notify_multiplier;
};

/* -ENODEV: no virtio device; -ENOTSUP: it lacks the modern interface. The device is not touched. */
int virtio_pci_init(const struct virtio_pci_access *access, unsigned timeout_ms,
		    struct virtio_pci *ret_pci, struct error *error);

/*
 * The device has forgotten everything and reaches no memory any more. -ETIMEDOUT: it did not say so, it might still do
 * anything; -ENODEV: it is not there any more.
 */
int virtio_pci_reset(const struct virtio_pci *pci, struct error *error);
/* Tells the reset device that it was noticed and has a driver. */
void virtio_pci_greet(const struct virtio_pci *pci);
uint8_t virtio_pci_status(const struct virtio_pci *pci);
/* The device may use its queues from now on. -EIO: it does not want to. */
int virtio_pci_run(const struct virtio_pci *pci, struct error *error);

/* Offered; without those for which registers are missing. */
uint64_t virtio_pci_features(const struct virtio_pci *pci);
/* -ENOTSUP: the device does not accept this choice. */
int virtio_pci_set_features(const struct virtio_pci *pci, uint64_t features, struct error *error);

/*
 * Zeroes bytes first; *ret_size: how many of them the device has. All of one generation. -EPROTO: it never stops
 * changing.
 */
int virtio_pci_get_config(const struct virtio_pci *pci, void *bytes, uint32_t size,
			  uint32_t *ret_size, struct error *error);
/* Whole fields. -ENOTSUP: the device has no configuration; -EINVAL: these are no fields of it. */
int virtio_pci_set_config(const struct virtio_pci *pci, uint32_t offset, const void *bytes,
			  uint32_t size, struct error *error);
/* VIRTIO_PCI_NO_VECTOR: no interrupt. -ENOSPC: the device refuses. */
int virtio_pci_set_config_vector(const struct virtio_pci *pci, uint16_t vector,
				 struct error *error);

struct virtio_pci_queue {
	uint16_t size;
	uint16_t vector; /* or VIRTIO_PCI_NO_VECTOR */
	uint64_t desc, avail, used;
};

unsigned virtio_pci_queue_count(const struct virtio_pci *pci);
/* The longest ring that the queue takes, a power of two; 0: there is no such queue. */
uint16_t virtio_pci_queue_size_max(const struct virtio_pci *pci, unsigned index);
/*
 * -ENOENT: no such queue; -EBUSY: it is running; -EINVAL: too long; -ENOSPC: the vector is refused; -EPROTO: the device
 * does not keep what was written.
 */
int virtio_pci_queue_start(const struct virtio_pci *pci, unsigned index,
			   const struct virtio_pci_queue *queue, struct error *error);
/* Only with VIRTIO_F_RING_RESET. The queue is as after a reset of the device. -ETIMEDOUT, -ENOTSUP, -ENODEV */
int virtio_pci_queue_reset(const struct virtio_pci *pci, unsigned index, struct error *error);
/* Where the queue's index is written, 16 bits wide. -EPROTO: outside of what the device has for that. */
int virtio_pci_queue_doorbell(const struct virtio_pci *pci, unsigned index, unsigned *ret_bar,
			      uint64_t *ret_offset, struct error *error);

#endif
