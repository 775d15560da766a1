// SPDX-License-Identifier: MIT
/* Scatter lists. */
#include "base/iov.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char bytes[16];
static const struct iovec LIST[] = { { bytes, 3 },
				     { bytes + 3, 0 },
				     { bytes + 3, 5 },
				     { bytes + 8, 4 } };

static void list_reset(void)
{
	memcpy(bytes, "abcdefghijklmnop", sizeof(bytes));
}

static void test_copy_when_any_offset_and_size_then_same_as_flat(void **state)
{
	for (size_t offset = 0; offset < 15; offset++) {
		for (size_t size = 0; size < 15; size++) {
			size_t expected = offset < 12 ? MIN(size, 12 - offset) : 0;
			char out[16] = { 0 }, flat[16];

			list_reset();
			assert_int_equal(iov_to_buffer(LIST, 4, offset, out, size), expected);
			assert_memory_equal(out, bytes + offset, expected);
			assert_int_equal(out[expected], 0);
			memcpy(flat, bytes, sizeof(flat));
			memcpy(flat + offset, "ABCDEFGHIJKLMNOP", expected);
			assert_int_equal(iov_from_buffer(LIST, 4, offset, "ABCDEFGHIJKLMNOP", size),
					 expected);
			assert_memory_equal(bytes, flat, sizeof(flat));
			memset(flat + offset, 'z', expected);
			assert_int_equal(iov_fill(LIST, 4, offset, 'z', size), expected);
			assert_memory_equal(bytes, flat, sizeof(flat));
		}
	}
}

static void test_advance_when_any_count_then_rest_begins_there(void **state)
{
	list_reset();
	for (size_t skip = 0; skip <= 13; skip++) {
		struct iovec copy[4], *iov = copy;
		unsigned count = 4;
		char first;

		memcpy(copy, LIST, sizeof(copy));
		iov_advance(&iov, &count, skip);
		assert_int_equal(iov_size(iov, count), skip < 12 ? 12 - skip : 0);
		if (skip < 12) {
			assert_int_equal(iov_to_buffer(iov, count, 0, &first, 1), 1);
			assert_int_equal(first, bytes[skip]);
			assert_true(iov->iov_len > 0);
		} else {
			assert_int_equal(count, 0);
		}
	}
}

static void test_truncate_when_any_size_then_that_much_is_left(void **state)
{
	for (size_t size = 0; size <= 14; size++) {
		struct iovec copy[4];
		unsigned count = 4;

		memcpy(copy, LIST, sizeof(copy));
		iov_truncate(copy, &count, size);
		assert_int_equal(iov_size(copy, count), MIN(size, 12));
		assert_true(size > 0 || count == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_when_any_offset_and_size_then_same_as_flat),
		cmocka_unit_test(test_advance_when_any_count_then_rest_begins_there),
		cmocka_unit_test(test_truncate_when_any_size_then_that_much_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
