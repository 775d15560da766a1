/* SPDX-License-Identifier: MIT */
/*
 * Which block comes next, and whether it is read or written. Pure; no division, no memory of what was done.
 *
 * Plain random work draws blocks independently. Work to be verified must write each block once in a pass: a permutation of
 * the block numbers (a Feistel network over the next power of four, walked until it lands inside) gives the i-th block, and
 * the first n blocks of a pass can be named again when they are checked.
 */
#ifndef RINGLANE_TOOLS_BENCH_WORK_H
#define RINGLANE_TOOLS_BENCH_WORK_H

#include "tools/bench.h"

static inline uint64_t multiply_high(uint64_t a, uint64_t b)
{
	return (uint64_t)((unsigned __int128)a * b >> 64);
}

/* Two halves of one product, folded. */
static inline uint64_t mix64(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

static inline uint64_t random_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return mix64(*state, *state ^ 0xd6e8feb86659fd93ull);
}

/* Even, so that both halves of the network have the same width. */
static inline unsigned permutation_half_bits(uint64_t count)
{
	unsigned bits = count > 1 ? 64 - (unsigned)__builtin_clzll(count - 1) : 1;

	return (bits + 1) / 2;
}

static inline uint64_t permutation_step(const struct bench_work *work, uint64_t value)
{
	uint64_t mask = (1ull << work->half_bits) - 1;
	uint64_t left = value >> work->half_bits, right = value & mask;

	for (uint64_t round = 1; round <= 4; round++) {
		uint64_t key = work->pass_seed + round * 0xa24baed4963ee407ull;
		uint64_t next = (left ^ mix64(right ^ key, 0x9fb21c651e98df25ull)) & mask;

		left = right;
		right = next;
	}
	return left << work->half_bits | right;
}

/* At most four values lie outside for each inside on average: the walk is short. */
static inline uint64_t permutation_at(const struct bench_work *work, uint64_t index)
{
	do {
		index = permutation_step(work, index);
	} while (index >= work->count);
	return index;
}

static inline bool work_mixed_reads(struct bench_work *work)
{
	return random_next(&work->random) < work->mix_limit;
}

#endif
