// SPDX-License-Identifier: MIT
/* Reflected polynomial 0x82f63b78; all ones before and after, as in RFC 3720, B.4. */
#include "tools/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u

/* Four bits at a time: a table small enough to be written out by the compiler and to stay in the cache. */
static uint32_t nibble(uint32_t crc)
{
	for (int bit = 0; bit < 4; bit++)
		crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
	return crc;
}

uint32_t crc32c_portable(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint32_t table[16], crc = ~0u;

	for (uint32_t i = 0; i < 16; i++)
		table[i] = nibble(i);
	while (size--) {
		crc ^= *at++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t crc = ~0u;

	for (; size >= 8; size -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		crc = __builtin_ia32_crc32di(crc, word);
	}
	while (size--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at++);
	return ~(uint32_t)crc;
}

uint32_t crc32c(const void *bytes, size_t size)
{
	return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(bytes, size) :
						  crc32c_portable(bytes, size);
}
#else
uint32_t crc32c(const void *bytes, size_t size)
{
	return crc32c_portable(bytes, size);
}
#endif
