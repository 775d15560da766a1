/* SPDX-License-Identifier: MIT */
/* Arithmetic on numbers that a peer chose. */
#ifndef RINGLANE_BASE_OVERFLOW_H
#define RINGLANE_BASE_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#define add_overflows(a, b, ret) __builtin_add_overflow((a), (b), (ret))
#define mul_overflows(a, b, ret) __builtin_mul_overflow((a), (b), (ret))

/* Does [offset, offset + length) lie inside [0, size)? An empty range at size does. */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

#endif
