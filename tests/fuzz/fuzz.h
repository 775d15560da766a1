/* SPDX-License-Identifier: MIT */
/* What a fuzz target is: libFuzzer calls it with inputs of its own, replay.c with those of the corpus. */
#ifndef RINGLANE_TESTS_FUZZ_H
#define RINGLANE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input is eaten from its front; what is not there is zeros. */
struct fuzz_bytes {
	const uint8_t *data;
	size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_bytes *bytes)
{
	if (bytes->size == 0)
		return 0;
	bytes->size--;
	return *bytes->data++;
}
static inline uint32_t fuzz_u16(struct fuzz_bytes *bytes)
{
	uint32_t low = fuzz_byte(bytes);

	return low | (uint32_t)fuzz_byte(bytes) << 8;
}
static inline void fuzz_fill(struct fuzz_bytes *bytes, void *buffer, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buffer)[i] = fuzz_byte(bytes);
}

#endif
