// SPDX-License-Identifier: MIT
/* Arithmetic on a peer's numbers. */
#include "base/overflow.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_range_fits_when_at_the_edges_then_exact(void **state)
{
	static const struct {
		uint64_t offset, length, size;
		bool fits;
	} cases[] = {
		{ 0, 0, 0, true },
		{ 0, 1, 0, false },
		{ 10, 0, 10, true },
		{ 11, 0, 10, false },
		{ 9, 1, 10, true },
		{ 9, 2, 10, false },
		{ UINT64_MAX, 1, 10, false },
		{ 1, UINT64_MAX, 10, false },
		{ 0, UINT64_MAX, UINT64_MAX, true },
		{ 2, UINT64_MAX - 1, UINT64_MAX, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(range_fits(cases[i].offset, cases[i].length, cases[i].size),
				 cases[i].fits);
}

static void test_add_and_mul_when_result_does_not_fit_then_reported(void **state)
{
	uint32_t narrow;
	uint64_t wide;

	assert_false(add_overflows(UINT64_MAX - 1, 1, &wide));
	assert_int_equal(wide, UINT64_MAX);
	assert_true(add_overflows(UINT64_MAX, 1, &wide));
	assert_true(add_overflows(UINT32_MAX, 1, &narrow));
	assert_false(mul_overflows(1ull << 32, (1ull << 32) - 1, &wide));
	assert_true(mul_overflows(1ull << 32, 1ull << 32, &wide));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range_fits_when_at_the_edges_then_exact),
		cmocka_unit_test(test_add_and_mul_when_result_does_not_fit_then_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
