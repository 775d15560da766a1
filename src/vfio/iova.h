/* SPDX-License-Identifier: MIT */
/*
 * Which addresses of a device's address space are given away. What may be used are the ranges that the IOMMU has; those
 * leave out what is reserved (on x86 the window of message signalled interrupts) and what the device's bus or the
 * IOMMU's page tables cannot express (39 bits are common).
 *
 * Pure. First fit over a sorted table: there are few and large maps.
 */
#ifndef RINGLANE_VFIO_IOVA_H
#define RINGLANE_VFIO_IOVA_H

#include <stdint.h>

struct iova_range {
	uint64_t first, last; /* both inside */
};

struct iova_space {
	struct iova_range *usable; /* sorted, disjoint */
	unsigned usable_count;
	struct iova_range *taken; /* sorted, disjoint */
	unsigned taken_count;
};

/* ranges: in any order; those that make no sense are left out. -ENOMEM */
int iova_space_init(struct iova_space *space, const struct iova_range *ranges, unsigned count);
void iova_space_fini(struct iova_space *space);
/*
 * size bytes, none of them below IOVA_FIRST, at an address that is the same as like modulo align (a power of two).
 * -ENOSPC, -ENOMEM, -EINVAL: size 0.
 */
int iova_take(struct iova_space *space, uint64_t size, uint64_t align, uint64_t like,
	      uint64_t *ret_first);
/* What iova_take gave. -ENOENT */
int iova_give_back(struct iova_space *space, uint64_t first);

/* Nothing below: neither NULL nor what old buses use. */
#define IOVA_FIRST (16u << 20)

#endif
