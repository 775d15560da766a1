/* SPDX-License-Identifier: MIT */
/*
 * Driver side: memory that the device may reach. A region is shared once, requests then only name addresses in it.
 * With vhost-user the device's address of a byte is its address in this process; behind an IOMMU it is another one.
 */
#ifndef RINGLANE_MEM_DMA_H
#define RINGLANE_MEM_DMA_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dma_region {
	void *addr;
	size_t size;
	int fd; /* what a vhost-user back end maps; -1 when the transport pins pages itself */
	uint64_t fd_offset;
	uint64_t device_addr; /* of the first byte, as the device sees it; known once the region is shared */
};

/* What is added to an address in this process to get the device's, modulo 2^64. */
static inline uint64_t dma_region_delta(const struct dma_region *region)
{
	return region->device_addr - (uintptr_t)region->addr;
}

/* A shared anonymous file of size bytes (rounded up to pages), mapped and zeroed, populated, sealed against shrinking. */
int dma_region_alloc(size_t size, struct dma_region *ret_region, struct error *error);
void dma_region_free(struct dma_region *region);
static inline bool dma_region_holds(const struct dma_region *region, const void *addr, size_t size)
{
	uintptr_t offset = (uintptr_t)addr - (uintptr_t)region->addr;

	return offset < region->size && size <= region->size - offset;
}

#endif
