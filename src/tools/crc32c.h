/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli), with the processor's instruction where there is one. Pure; any thread. */
#ifndef RINGLANE_TOOLS_CRC32C_H
#define RINGLANE_TOOLS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *bytes, size_t size);
/* The same by table, for machines without the instruction and to test it. */
uint32_t crc32c_portable(const void *bytes, size_t size);

#endif
