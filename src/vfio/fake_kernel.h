/* SPDX-License-Identifier: MIT */
/*
 * For tests: the kernel behind struct vfio_kernel, with one PCI function in a group of its own, in memory. It can refuse
 * any request, has as many vectors as a test likes, and writes down what was asked of it. One thread.
 */
#ifndef RINGLANE_VFIO_FAKE_KERNEL_H
#define RINGLANE_VFIO_FAKE_KERNEL_H

#include "vfio/iova.h"
#include "vfio/kernel.h"
#include "vfio/pci.h"

#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_ADDRESS "0000:00:04.0"
#define FAKE_NEIGHBOUR "0000:00:04.1"
#define FAKE_GROUP "7"
#define FAKE_VECTORS_MAX 32
#define FAKE_MAPS_MAX 16
#define FAKE_RANGES_MAX 8

struct fake_bar {
	uint64_t size;
	bool mapped; /* can be */
	int memory_fd;
	uint8_t *memory; /* of a BAR that can be mapped */
	/* of one that cannot */
	uint32_t (*read)(void *owner, uint64_t offset, unsigned width);
	void (*write)(void *owner, uint64_t offset, unsigned width, uint32_t value);
};

struct fake_irq {
	unsigned count;     /* that the function says it has */
	unsigned available; /* that can be had; 0: count */
	unsigned enabled;
	int fds[FAKE_VECTORS_MAX]; /* duplicates, -1 */
};

struct fake_kernel {
	struct vfio_kernel base;
	char folder[64], sysfs[128], dev[128];
	/* a test sets these before vfio_container_open */
	unsigned long refused; /* the request that gets refused_errno */
	int refused_errno;
	const char *refused_path; /* the file whose open gets refused_errno */
	bool not_viable, no_ranges, cap_loop, noresize, can_reset;
	struct iova_range ranges[FAKE_RANGES_MAX];
	unsigned range_count, maps_avail;
	struct fake_irq irqs[VFIO_PCI_NUM_IRQS];
	uint8_t config[VFIO_PCI_CONFIG_SIZE];
	struct fake_bar bars[VFIO_PCI_BARS];
	void *owner; /* of the callbacks */
	/* what happened */
	int container_fd, group_fd, device_fd;
	struct vfio_map maps[FAKE_MAPS_MAX];
	unsigned map_count;
	unsigned resets;
	struct vfio_device_ioeventfd doorbell; /* the last that was registered */
	char trace[4096];                      /* words, each with a space behind it */
};

void fake_kernel_init(struct fake_kernel *fake);
void fake_kernel_fini(struct fake_kernel *fake);
/* Sets who has a function: "" nobody. */
void fake_kernel_bind(struct fake_kernel *fake, const char *address, const char *driver);
/* The function has no group. */
void fake_kernel_no_iommu(struct fake_kernel *fake);
/* A BAR whose memory is memory; it can be mapped. */
void fake_kernel_bar_memory(struct fake_kernel *fake, unsigned bar, uint64_t size);
/* Is the function bus master? */
bool fake_kernel_masters(const struct fake_kernel *fake);
/* The device's address as memory, NULL when the IOMMU does not let it there (or not for all of size bytes). */
void *fake_kernel_reach(const struct fake_kernel *fake, uint64_t iova, uint64_t size);
/* The device raises an interrupt. False: nobody listens, or it may not. */
bool fake_kernel_raise(struct fake_kernel *fake, unsigned vector);
/* The kernel signals one of another kind. */
void fake_kernel_signal(struct fake_kernel *fake, unsigned index);
/* Also for the callbacks. */
void fake_kernel_trace(struct fake_kernel *fake, const char *format, ...) printf_like(2, 3);

#endif
