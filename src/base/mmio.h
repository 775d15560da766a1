/* SPDX-License-Identifier: MIT */
/*
 * Registers of a device that are mapped into this process: little endian, read and written with the width of the
 * register, each access exactly once.
 */
#ifndef RINGLANE_BASE_MMIO_H
#define RINGLANE_BASE_MMIO_H

#include <endian.h>
#include <stdint.h>

static inline uint8_t mmio_read8(const void *reg)
{
	return *(const volatile uint8_t *)reg;
}
static inline uint16_t mmio_read16(const void *reg)
{
	return le16toh(*(const volatile uint16_t *)reg);
}
static inline uint32_t mmio_read32(const void *reg)
{
	return le32toh(*(const volatile uint32_t *)reg);
}
static inline void mmio_write8(void *reg, uint8_t value)
{
	*(volatile uint8_t *)reg = value;
}
static inline void mmio_write16(void *reg, uint16_t value)
{
	*(volatile uint16_t *)reg = htole16(value);
}
static inline void mmio_write32(void *reg, uint32_t value)
{
	*(volatile uint32_t *)reg = htole32(value);
}

/*
 * What was written to memory is seen by a device (that reads memory coherently) before a register that is written after
 * this. On x86 a store to uncached memory waits for the stores before it: only the compiler has to be told. Others: a
 * barrier that reaches beyond the CPUs.
 */
static inline void mmio_fence(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("" : : : "memory");
#elif defined(__aarch64__)
	__asm__ volatile("dmb oshst" : : : "memory");
#else
	__sync_synchronize();
#endif
}

#endif
