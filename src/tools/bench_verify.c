// SPDX-License-Identifier: MIT
/*
 * Contents of a block: a header that names where and in which pass it was written, then pseudo-random words, all of it
 * under a CRC. A block that was lost, torn, written elsewhere or left from an earlier pass is told apart. Pure.
 */
#include "tools/bench_work.h"
#include "tools/crc32c.h"

#include <string.h>

#define MAGIC 0x656e616c676e6972ull

struct block_header {
	uint64_t magic, offset, stamp;
	uint32_t size;
	uint32_t crc; /* of the whole block with this field 0 */
};

static uint32_t block_crc(const void *block, size_t size, struct block_header header)
{
	header.crc = 0;
	return crc32c(&header, sizeof(header)) ^
	       crc32c((const uint8_t *)block + sizeof(header), size - sizeof(header));
}

void bench_block_fill(void *block, size_t size, uint64_t offset, uint64_t stamp)
{
	struct block_header header = {
		.magic = MAGIC, .offset = offset, .stamp = stamp, .size = (uint32_t)size
	};
	uint64_t state = mix64(offset ^ MAGIC, stamp << 1 | 1);
	uint8_t *at = (uint8_t *)block + sizeof(header), *end = (uint8_t *)block + size;

	for (; at < end; at += sizeof(uint64_t)) {
		uint64_t word = random_next(&state);

		memcpy(at, &word, sizeof(word));
	}
	header.crc = block_crc(block, size, header);
	memcpy(block, &header, sizeof(header));
}

const char *bench_block_check(const void *block, size_t size, uint64_t offset, uint64_t stamp)
{
	struct block_header header;

	memcpy(&header, block, sizeof(header));
	if (header.magic != MAGIC)
		return "it was never written";
	if (header.crc != block_crc(block, size, header))
		return "its CRC is wrong";
	if (header.size != size)
		return "it was written with another block size";
	if (header.offset != offset)
		return "it belongs to another offset";
	if (stamp && header.stamp != stamp)
		return "it is older than what was written last";
	return NULL;
}
