// SPDX-License-Identifier: MIT
/* Index arithmetic, compared with plain counting. */
#include "virtq/event.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_distance_when_wrapping_then_still_counts(void **state)
{
	assert_int_equal(ring_distance(5, 5), 0);
	assert_int_equal(ring_distance(5, 9), 4);
	assert_int_equal(ring_distance(65530, 2), 8);
	assert_int_equal(ring_distance(2, 1), 65535);
}

static void test_event_passed_when_any_move_then_as_counted_one_by_one(void **state)
{
	static const uint16_t starts[] = { 0, 1, 100, 32767, 32768, 65530, 65535 };

	for (size_t s = 0; s < ARRAY_SIZE(starts); s++) {
		for (unsigned moved = 0; moved < 40; moved++) {
			for (int distance = -45; distance < 45; distance++) {
				uint16_t old_index = starts[s];
				uint16_t new_index = (uint16_t)(old_index + moved);
				uint16_t event = (uint16_t)(old_index + distance);
				bool passed = false;

				for (uint16_t i = old_index; i != new_index; i++)
					passed |= i == event;
				assert_int_equal(ring_event_passed(event, old_index, new_index),
						 passed);
			}
		}
	}
}

static void test_mark_when_index_moves_on_forever_then_stays_behind(void **state)
{
	uint16_t mark = 65000, index = 65000;
	uint64_t moved = 0;

	for (unsigned step = 1; step <= 1024; step++) {
		uint16_t next = (uint16_t)(index + step);

		mark = ring_mark_keep(mark, index, next);
		index = next;
		moved += step;
		assert_int_equal(ring_distance(mark, index), moved < 65536 ? moved : 65535);
	}
	/* Only the event that lies ahead has not been passed. */
	assert_false(ring_event_passed(index, mark, index));
	assert_true(ring_event_passed((uint16_t)(index - 1), mark, index));
	assert_true(ring_event_passed((uint16_t)(index + 2), mark, index));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_distance_when_wrapping_then_still_counts),
		cmocka_unit_test(test_event_passed_when_any_move_then_as_counted_one_by_one),
		cmocka_unit_test(test_mark_when_index_moves_on_forever_then_stays_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
