// SPDX-License-Identifier: MIT
/* Which blocks a job goes through, what is in them, and how results are summed. */
#include "tools/bench_work.h"
#include "tools/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_permutation_when_walked_then_each_block_once(void **state)
{
	static const uint64_t counts[] = { 1, 2, 3, 4, 5, 16, 17, 100, 1023, 1024, 1025, 70000 };

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		struct bench_work work = { .count = counts[i], .pass_seed = 7 + i };
		uint8_t *seen = calloc(counts[i], 1);

		assert_non_null(seen);
		work.half_bits = permutation_half_bits(counts[i]);
		for (uint64_t n = 0; n < counts[i]; n++) {
			uint64_t block = permutation_at(&work, n);

			assert_true(block < counts[i]);
			assert_int_equal(seen[block]++, 0);
		}
		free(seen);
	}
}

static void test_permutation_when_the_seed_differs_then_the_order_does(void **state)
{
	struct bench_work a = { .count = 1000, .pass_seed = 1 },
			  b = { .count = 1000, .pass_seed = 2 };
	unsigned same = 0, in_place = 0;

	a.half_bits = b.half_bits = permutation_half_bits(1000);
	for (uint64_t n = 0; n < 1000; n++) {
		same += permutation_at(&a, n) == permutation_at(&b, n);
		in_place += permutation_at(&a, n) == n;
	}
	assert_true(same < 20);
	assert_true(in_place < 20);
}

/* 16 bins, 64000 draws: each holds 4000; six standard deviations are 370. */
static void test_random_when_drawn_then_spread_evenly(void **state)
{
	uint64_t seed = 1;
	unsigned bins[16] = { 0 };

	for (unsigned i = 0; i < 64000; i++)
		bins[multiply_high(random_next(&seed), 16)]++;
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(bins[i], 3630, 4370);
}

static void test_mix_when_all_or_nothing_then_no_exception(void **state)
{
	struct bench_work none = { .random = 1, .mix_limit = 0 };
	struct bench_work all = { .random = 1, .mix_limit = UINT64_MAX };

	for (unsigned i = 0; i < 10000; i++) {
		assert_false(work_mixed_reads(&none));
		assert_true(work_mixed_reads(&all));
	}
}

/* RFC 3720, B.4, and the check value of the usual catalogues. */
static void test_crc_when_of_known_bytes_then_the_known_values(void **state)
{
	uint8_t bytes[32];

	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x8a9136aau);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x46dd794eu);
	for (unsigned size = 0; size <= 32; size++)
		assert_int_equal(crc32c(bytes, size), crc32c_portable(bytes, size));
}

static void test_block_when_sound_then_no_complaint(void **state)
{
	uint8_t block[4096];

	for (unsigned size = 512; size <= 4096; size += 512) {
		bench_block_fill(block, size, 8192, 5);
		assert_null(bench_block_check(block, size, 8192, 5));
		assert_null(bench_block_check(block, size, 8192, 0));
	}
}

/* Each single bit, and each way to be the wrong block. */
static void test_block_when_anything_is_wrong_then_told(void **state)
{
	uint8_t block[512];

	bench_block_fill(block, 512, 4096, 5);
	for (unsigned bit = 0; bit < 512 * 8; bit++) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_non_null(bench_block_check(block, 512, 4096, 0));
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_string_equal(bench_block_check(block, 512, 4608, 5), "it belongs to another offset");
	assert_string_equal(bench_block_check(block, 512, 4096, 6),
			    "it is older than what was written last");
	memset(block, 0, sizeof(block));
	assert_string_equal(bench_block_check(block, 512, 4096, 5), "it was never written");
}

/* Half of a block from the pass before must not look like the other half. */
static void test_block_when_of_the_next_pass_then_nothing_but_the_head_is_alike(void **state)
{
	uint8_t blocks[2][512];

	for (uint64_t stamp = 1; stamp < 5; stamp++) {
		bench_block_fill(blocks[0], 512, 4096, stamp);
		bench_block_fill(blocks[1], 512, 4096, stamp + 1);
		for (unsigned at = 32; at < 512; at += 8)
			assert_memory_not_equal(blocks[0] + at, blocks[1] + at, 8);
	}
}

static void test_results_when_merged_then_summed(void **state)
{
	struct bench_result *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

	assert_true(a && b);
	a->sides[BENCH_READ] = (struct bench_side){ .ios = 3, .bytes = 12, .runtime_ns = 5 };
	b->sides[BENCH_READ] = (struct bench_side){ .ios = 4, .bytes = 16, .runtime_ns = 9 };
	histogram_add(&a->sides[BENCH_READ].latency, 100);
	histogram_add(&b->sides[BENCH_READ].latency, 50);
	a->runtime_ns = 6;
	b->runtime_ns = 9;
	b->user_s = 0.5;
	b->error = 5;
	bench_result_merge(a, b);
	assert_int_equal(a->sides[BENCH_READ].ios, 7);
	assert_int_equal(a->sides[BENCH_READ].bytes, 28);
	assert_int_equal(a->sides[BENCH_READ].runtime_ns, 9);
	assert_int_equal(a->sides[BENCH_READ].latency.min, 50);
	assert_int_equal(a->sides[BENCH_READ].latency.count, 2);
	assert_int_equal(a->runtime_ns, 15);
	assert_true(a->user_s > 0.4);
	assert_int_equal(a->error, 5);
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_permutation_when_walked_then_each_block_once),
		cmocka_unit_test(test_permutation_when_the_seed_differs_then_the_order_does),
		cmocka_unit_test(test_random_when_drawn_then_spread_evenly),
		cmocka_unit_test(test_mix_when_all_or_nothing_then_no_exception),
		cmocka_unit_test(test_crc_when_of_known_bytes_then_the_known_values),
		cmocka_unit_test(test_block_when_sound_then_no_complaint),
		cmocka_unit_test(test_block_when_anything_is_wrong_then_told),
		cmocka_unit_test(
			test_block_when_of_the_next_pass_then_nothing_but_the_head_is_alike),
		cmocka_unit_test(test_results_when_merged_then_summed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
