// SPDX-License-Identifier: MIT
/* Histograms: precision of percentiles, merging, edges. */
#include "base/histogram.h"

#include "base/compiler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct histogram one, two, both;

static void test_percentile_when_one_value_then_at_most_1_6_percent_too_high(void **state)
{
	for (uint64_t value = 1; value < 1ull << 41; value = value * 9 / 8 + 1) {
		uint64_t got;

		histogram_init(&one);
		histogram_add(&one, value);
		histogram_add(&one, 1ull << 50);
		got = histogram_percentile(&one, 50);
		assert_true(got >= value);
		assert_true((double)(got - value) <= 0.016 * (double)value);
	}
}

static void test_percentile_when_uniform_then_near_the_exact_one(void **state)
{
	static const double percents[] = { 1, 25, 50, 90, 99, 99.9 };

	histogram_init(&one);
	for (uint64_t value = 1; value <= 100000; value++)
		histogram_add(&one, value);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		double exact = percents[i] * 1000,
		       got = (double)histogram_percentile(&one, percents[i]);

		assert_true(got >= exact && got <= exact * 1.016);
	}
	assert_int_equal(histogram_percentile(&one, 0), 1);
	assert_int_equal(histogram_percentile(&one, 100), 100000);
	assert_true(fabs(histogram_mean(&one) - 50000.5) < 0.01);
	assert_true(fabs(histogram_stddev(&one) - 28867.5) < 1);
}

static void test_percentile_when_empty_or_past_the_end_then_0_or_max(void **state)
{
	histogram_init(&one);
	assert_int_equal(histogram_percentile(&one, 99), 0);
	assert_true(histogram_mean(&one) == 0 && histogram_stddev(&one) == 0);
	histogram_add(&one, UINT64_MAX);
	assert_true(histogram_percentile(&one, 99) == UINT64_MAX);
	assert_true(one.min == UINT64_MAX);
}

static void test_small_values_when_added_then_exact(void **state)
{
	for (uint64_t value = 0; value < 128; value++) {
		histogram_init(&one);
		histogram_add(&one, value);
		histogram_add(&one, 1000);
		assert_int_equal(histogram_percentile(&one, 50), value);
	}
}

static void test_merge_when_two_halves_then_same_as_one(void **state)
{
	histogram_init(&one);
	histogram_init(&two);
	histogram_init(&both);
	histogram_merge(&both, &one);
	assert_int_equal(both.count, 0);
	for (uint64_t i = 1; i < 5000; i++) {
		histogram_add(i % 3 ? &one : &two, i * i);
		histogram_add(&both, i * i);
	}
	histogram_merge(&two, &one);
	assert_int_equal(two.count, both.count);
	assert_int_equal(two.min, both.min);
	assert_int_equal(two.max, both.max);
	assert_memory_equal(two.buckets, both.buckets, sizeof(two.buckets));
}

static void test_count_below_when_asked_then_at_most_a_bucket_less(void **state)
{
	histogram_init(&one);
	assert_int_equal(histogram_count_below(&one, UINT64_MAX), 0);
	for (uint64_t value = 0; value < 100000; value++)
		histogram_add(&one, value);
	assert_int_equal(histogram_count_below(&one, 0), 0);
	assert_int_equal(histogram_count_below(&one, 1), 1);
	assert_int_equal(histogram_count_below(&one, 128), 128);
	assert_int_equal(histogram_count_below(&one, 200000), 100000);
	for (uint64_t value = 100; value < 100000; value += 77)
		assert_in_range(histogram_count_below(&one, value), value - value / 63, value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentile_when_one_value_then_at_most_1_6_percent_too_high),
		cmocka_unit_test(test_percentile_when_uniform_then_near_the_exact_one),
		cmocka_unit_test(test_percentile_when_empty_or_past_the_end_then_0_or_max),
		cmocka_unit_test(test_small_values_when_added_then_exact),
		cmocka_unit_test(test_count_below_when_asked_then_at_most_a_bucket_less),
		cmocka_unit_test(test_merge_when_two_halves_then_same_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
