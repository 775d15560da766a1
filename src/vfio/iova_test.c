// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "vfio/iova.h"

#include <errno.h>

#define PAGE 4096ull
#define FIRST ((uint64_t)IOVA_FIRST)

/* What intel-iommu of 39 bits has. */
static const struct iova_range vtd[] = { { 0xfef00000, (1ull << 39) - 1 }, { 0, 0xfedfffff } };

static struct iova_space space_of(const struct iova_range *ranges, unsigned count)
{
	struct iova_space space;

	assert_int_equal(iova_space_init(&space, ranges, count), 0);
	return space;
}

static uint64_t take(struct iova_space *space, uint64_t size, uint64_t align, uint64_t like)
{
	uint64_t first = UINT64_MAX;

	assert_int_equal(iova_take(space, size, align, like, &first), 0);
	return first;
}

static void test_take_with_room_below_the_window_begins_at_the_first_page(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));

	assert_int_equal(take(&space, PAGE, PAGE, 0), FIRST);
	assert_int_equal(take(&space, PAGE, PAGE, 0), FIRST + PAGE);
	iova_space_fini(&space);
}

static void test_take_of_more_than_lies_below_the_window_goes_above_it(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));

	assert_int_equal(take(&space, 4ull << 30, PAGE, 0), 0xfef00000);
	iova_space_fini(&space);
}

static void test_take_of_all_that_a_range_has_fills_it_to_the_last_byte(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));
	uint64_t low = 0xfee00000 - FIRST, high = (1ull << 39) - 0xfef00000, first;

	assert_int_equal(take(&space, high, PAGE, 0), 0xfef00000);
	assert_int_equal(take(&space, low, PAGE, 0), FIRST);
	assert_int_equal(iova_take(&space, PAGE, PAGE, 0, &first), -ENOSPC);
	assert_int_equal(iova_give_back(&space, FIRST), 0);
	assert_int_equal(take(&space, low, PAGE, 0), FIRST);
	iova_space_fini(&space);
}

static void test_take_beyond_the_address_width_has_no_room(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));
	uint64_t first;

	assert_int_equal(iova_take(&space, 1ull << 39, PAGE, 0, &first), -ENOSPC);
	assert_int_equal(iova_take(&space, UINT64_MAX, PAGE, 0, &first), -ENOSPC);
	assert_int_equal(iova_take(&space, 0, PAGE, 0, &first), -EINVAL);
	iova_space_fini(&space);
}

static void test_take_in_a_gap_reuses_what_was_given_back(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));
	uint64_t a = take(&space, 4 * PAGE, PAGE, 0), b = take(&space, PAGE, PAGE, 0);

	assert_int_equal(iova_give_back(&space, a), 0);
	assert_int_equal(iova_give_back(&space, a), -ENOENT);
	assert_int_equal(take(&space, 5 * PAGE, PAGE, 0), b + PAGE);
	assert_int_equal(take(&space, 3 * PAGE, PAGE, 0), a);
	assert_int_equal(take(&space, PAGE, PAGE, 0), a + 3 * PAGE);
	iova_space_fini(&space);
}

static void test_take_like_an_address_keeps_its_place_in_a_huge_page(void **state)
{
	struct iova_space space = space_of(vtd, ARRAY_SIZE(vtd));
	uint64_t huge = 2ull << 20, first;

	take(&space, PAGE, PAGE, 0);
	first = take(&space, 2 * huge, huge, 0x7f1234567000);
	assert_int_equal(first % huge, 0x7f1234567000 % huge);
	assert_int_equal(take(&space, PAGE, PAGE, 0), FIRST + PAGE);
	iova_space_fini(&space);
}

static void test_init_with_ranges_that_make_no_sense_leaves_them_out(void **state)
{
	static const struct iova_range ranges[] = {
		{ 0x9000000, 0x8000000 },          /* ends before it begins */
		{ 0, 0xfff },                      /* below all that is used */
		{ 0x2000000, 0x2ffffff },          /* good */
		{ 0x2800000, 0x4000000 },          /* overlaps it */
		{ UINT64_MAX - 4095, UINT64_MAX }, /* the last page there is */
	};
	struct iova_space space = space_of(ranges, ARRAY_SIZE(ranges));
	uint64_t first;

	assert_int_equal(take(&space, 0x1000000, PAGE, 0), 0x2000000);
	assert_int_equal(take(&space, PAGE, PAGE, 0), UINT64_MAX - 4095);
	assert_int_equal(iova_take(&space, PAGE, PAGE, 0, &first), -ENOSPC);
	iova_space_fini(&space);
}

static void test_take_where_there_is_no_range_has_no_room(void **state)
{
	struct iova_space space = space_of(NULL, 0);
	uint64_t first;

	assert_int_equal(iova_take(&space, PAGE, PAGE, 0, &first), -ENOSPC);
	iova_space_fini(&space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_with_room_below_the_window_begins_at_the_first_page),
		cmocka_unit_test(test_take_of_more_than_lies_below_the_window_goes_above_it),
		cmocka_unit_test(test_take_of_all_that_a_range_has_fills_it_to_the_last_byte),
		cmocka_unit_test(test_take_beyond_the_address_width_has_no_room),
		cmocka_unit_test(test_take_in_a_gap_reuses_what_was_given_back),
		cmocka_unit_test(test_take_like_an_address_keeps_its_place_in_a_huge_page),
		cmocka_unit_test(test_init_with_ranges_that_make_no_sense_leaves_them_out),
		cmocka_unit_test(test_take_where_there_is_no_range_has_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
