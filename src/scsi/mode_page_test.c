/* SPDX-License-Identifier: MIT */
/* The pages, bit by bit. */
#include "scsi/mode_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct expected_page {
	uint8_t page, subpage;
	uint8_t initial[SCSI_MODE_PAGE_MAX], changeable[SCSI_MODE_PAGE_MAX];
};

/* clang-format off */
static const struct expected_page expected[] = {
	{ 0x01, 0, { 0x01, 0x0a, 0xc0 }, { 0x01, 0x0a } },
	{ 0x08, 0, { 0x08, 0x12, 0x04 }, { 0x08, 0x12, 0x04 } },
	{ 0x0a, 0, { 0x0a, 0x0a, 0x02, 0x10, 0, 0, 0, 0, 0xff, 0xff },
		   { 0x0a, 0x0a, 0x04, 0x00, 0x08 } },
	{ 0x0a, 1, { 0x4a, 0x01, 0x00, 0x1c }, { 0x4a, 0x01, 0x00, 0x1c } },
	{ 0x1c, 0, { 0x1c, 0x0a, 0x00, 0x06 }, { 0x1c, 0x0a, 0x1c, 0x0f } },
};
/* clang-format on */

static void test_pages_when_formatted_then_as_the_standard_lays_them_out(void **state)
{
	struct scsi_mode_values values;

	scsi_mode_default(&values);
	assert_int_equal(scsi_mode_page_count, ARRAY_SIZE(expected));
	for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct scsi_mode_page *page =
			scsi_mode_page_find(expected[i].page, expected[i].subpage);
		uint8_t bytes[SCSI_MODE_PAGE_MAX];

		assert_ptr_equal(page, &scsi_mode_pages[i]); /* ascending, as the table here */
		scsi_mode_page_format(page, &values, bytes);
		assert_memory_equal(bytes, expected[i].initial, page->bytes);
		scsi_mode_page_format_changeable(page, bytes);
		assert_memory_equal(bytes, expected[i].changeable, page->bytes);
	}
}

static void test_find_when_there_is_no_such_page_then_null(void **state)
{
	assert_null(scsi_mode_page_find(0x02, 0));
	assert_null(scsi_mode_page_find(0x08, 1));
	assert_null(scsi_mode_page_find(SCSI_MODE_ALL_PAGES, 0));
	assert_null(scsi_mode_page_find(0x0a, SCSI_MODE_ALL_SUBPAGES));
}

static void flip_each_constant_bit(const struct scsi_mode_page *page)
{
	uint8_t bytes[SCSI_MODE_PAGE_MAX], mask[SCSI_MODE_PAGE_MAX];
	struct scsi_mode_values values, before;
	struct scsi_mode_fault fault;

	scsi_mode_default(&before);
	scsi_mode_page_format(page, &before, bytes);
	scsi_mode_page_format_changeable(page, mask);
	for (unsigned at = page->header_bytes * 8u; at < page->bytes * 8u; at++) {
		uint8_t bit = (uint8_t)(1 << at % 8);

		if (mask[at / 8] & bit)
			continue;
		values = before;
		bytes[at / 8] ^= bit;
		assert_false(scsi_mode_page_take(page, bytes, &values, &fault));
		assert_int_equal(fault.byte, at / 8);
		assert_int_equal(fault.bit, at % 8);
		bytes[at / 8] ^= bit;
	}
}

static void test_take_when_a_constant_bit_differs_then_it_is_named(void **state)
{
	for (unsigned i = 0; i < scsi_mode_page_count; i++)
		flip_each_constant_bit(&scsi_mode_pages[i]);
}

static void test_take_when_a_switch_is_flipped_then_only_its_value_changes(void **state)
{
	const struct {
		uint8_t page, byte, bit, member;
	} rows[] = {
		{ 0x08, 2, 0x04, offsetof(struct scsi_mode_values, wce) },
		{ 0x0a, 2, 0x04, offsetof(struct scsi_mode_values, d_sense) },
		{ 0x0a, 4, 0x08, offsetof(struct scsi_mode_values, swp) },
		{ 0x1c, 2, 0x10, offsetof(struct scsi_mode_values, ewasc) },
		{ 0x1c, 2, 0x08, offsetof(struct scsi_mode_values, dexcpt) },
		{ 0x1c, 2, 0x04, offsetof(struct scsi_mode_values, test) },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct scsi_mode_page *page = scsi_mode_page_find(rows[i].page, 0);
		struct scsi_mode_values values, wanted;
		uint8_t bytes[SCSI_MODE_PAGE_MAX];
		struct scsi_mode_fault fault;

		scsi_mode_default(&values);
		wanted = values;
		((uint8_t *)&wanted)[rows[i].member] ^= 1;
		scsi_mode_page_format(page, &values, bytes);
		bytes[rows[i].byte] ^= rows[i].bit;
		assert_true(scsi_mode_page_take(page, bytes, &values, &fault));
		assert_memory_equal(&values, &wanted, sizeof(values));
	}
}

static void test_take_when_mrie_is_no_method_of_ours_then_refused(void **state)
{
	const struct scsi_mode_page *page = scsi_mode_page_find(0x1c, 0);

	for (uint8_t mrie = 0; mrie < 16; mrie++) {
		bool known = mrie == 0 || mrie == 6;
		struct scsi_mode_values values;
		uint8_t bytes[SCSI_MODE_PAGE_MAX];
		struct scsi_mode_fault fault;

		scsi_mode_default(&values);
		scsi_mode_page_format(page, &values, bytes);
		bytes[3] = mrie;
		assert_int_equal(scsi_mode_page_take(page, bytes, &values, &fault), known);
		if (known) {
			assert_int_equal(values.mrie, mrie);
			continue;
		}
		assert_int_equal(fault.byte, 3);
		assert_int_equal(fault.bit, 3);
	}
}

static void test_take_when_what_is_disabled_is_tested_then_refused(void **state)
{
	const struct scsi_mode_page *page = scsi_mode_page_find(0x1c, 0);
	struct scsi_mode_values values;
	uint8_t bytes[SCSI_MODE_PAGE_MAX];
	struct scsi_mode_fault fault;

	scsi_mode_default(&values);
	scsi_mode_page_format(page, &values, bytes);
	bytes[2] |= 0x08 | 0x04;
	assert_false(scsi_mode_page_take(page, bytes, &values, &fault));
	assert_int_equal(fault.byte, 2);
	assert_int_equal(fault.bit, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_when_formatted_then_as_the_standard_lays_them_out),
		cmocka_unit_test(test_find_when_there_is_no_such_page_then_null),
		cmocka_unit_test(test_take_when_a_constant_bit_differs_then_it_is_named),
		cmocka_unit_test(test_take_when_a_switch_is_flipped_then_only_its_value_changes),
		cmocka_unit_test(test_take_when_mrie_is_no_method_of_ours_then_refused),
		cmocka_unit_test(test_take_when_what_is_disabled_is_tested_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
