/* SPDX-License-Identifier: MIT */
/* MODE SENSE: headers, block descriptors, which pages are told, page control. */
#include "scsi/fixture.h"

#include <string.h>

#define BYTES 252

/* Returns how many bytes came; those beyond are 0xee. */
static unsigned sense_6(struct scsi_fixture *f, uint8_t byte_1, uint8_t page, uint8_t subpage,
			uint8_t *bytes)
{
	memset(bytes, 0xee, BYTES);
	scsi_do_in(f, FIRST, CDB(0x1a, byte_1, page, subpage, BYTES, 0), bytes, BYTES);
	return BYTES - (unsigned)f->run.task.residual;
}

static unsigned sense_10(struct scsi_fixture *f, uint8_t byte_1, uint8_t page, uint8_t *bytes)
{
	scsi_do_in(f, FIRST, CDB(0x5a, byte_1, page, 0, 0, 0, 0, 0, BYTES, 0), bytes, BYTES);
	return BYTES - (unsigned)f->run.task.residual;
}

/* The page codes, with their subpages, from offset on. */
static void assert_pages(const uint8_t *bytes, unsigned offset, unsigned size,
			 const uint16_t *wanted, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool has_subpage = bytes[offset] & 0x40;
		uint8_t subpage = has_subpage ? bytes[offset + 1] : 0;

		assert_true(offset + 4 <= size);
		assert_int_equal((bytes[offset] & 0x3f) << 8 | subpage, wanted[i]);
		offset += has_subpage ? be16_get(bytes + offset + 2) + 4u : bytes[offset + 1] + 2u;
	}
	assert_int_equal(offset, size);
}

#define PAGES(...) \
	((const uint16_t[]){ __VA_ARGS__ }), ARRAY_SIZE(((const uint16_t[]){ __VA_ARGS__ }))

static void test_sense_6_when_all_pages_then_header_descriptor_and_pages(void **state)
{
	struct scsi_fixture *f = *state;
	const uint8_t header[] = { 0, 0, 0x10, 8, 0, 0, 0x08, 0, 0, 0, 2, 0 }; /* 2048 * 512 */
	uint8_t bytes[BYTES];
	unsigned size = sense_6(f, 0, 0x3f, 0, bytes);

	scsi_assert_good(f);
	assert_int_equal(bytes[0], size - 1);
	assert_memory_equal(bytes + 1, header + 1, sizeof(header) - 1);
	assert_pages(bytes, 12, size, PAGES(0x0100, 0x0800, 0x0a00, 0x1c00));
}

static void test_sense_6_when_dbd_then_no_descriptor(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];
	unsigned size = sense_6(f, 0x08, 0x08, 0, bytes);

	scsi_assert_good(f);
	assert_int_equal(bytes[3], 0);
	assert_pages(bytes, 4, size, PAGES(0x0800));
}

static void test_sense_when_subpages_are_asked_for_then_those_come(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];
	unsigned size = sense_6(f, 0x08, 0x3f, 0xff, bytes);

	assert_pages(bytes, 4, size, PAGES(0x0100, 0x0800, 0x0a00, 0x0a01, 0x1c00));
	size = sense_6(f, 0x08, 0x0a, 0xff, bytes);
	assert_pages(bytes, 4, size, PAGES(0x0a00, 0x0a01));
	size = sense_6(f, 0x08, 0x0a, 0x01, bytes);
	assert_pages(bytes, 4, size, PAGES(0x0a01));
	size = sense_6(f, 0x08, 0x0a, 0x00, bytes);
	assert_pages(bytes, 4, size, PAGES(0x0a00));
}

static void test_sense_when_the_page_is_not_there_then_its_field_is_named(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	sense_6(f, 0, 0x02, 0, bytes);
	scsi_assert_bad_cdb(f, 2, 5);
	sense_6(f, 0, 0x02, 0xff, bytes);
	scsi_assert_bad_cdb(f, 2, 5);
	sense_6(f, 0, 0x08, 0x01, bytes);
	scsi_assert_bad_cdb(f, 3, -1);
	sense_6(f, 0, 0x3f, 0x01, bytes);
	scsi_assert_bad_cdb(f, 3, -1);
}

static void test_sense_10_when_long_lba_is_accepted_then_a_long_descriptor(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];
	unsigned size = sense_10(f, 0x10, 0x08, bytes);

	scsi_assert_good(f);
	assert_int_equal(be16_get(bytes), size - 2);
	assert_int_equal(bytes[3], 0x10);
	assert_int_equal(bytes[4], 1); /* LONGLBA */
	assert_int_equal(be16_get(bytes + 6), 16);
	assert_int_equal(be64_get(bytes + 8), 2048);
	assert_int_equal(be32_get(bytes + 20), 512);
	assert_pages(bytes, 24, size, PAGES(0x0800));
}

static void test_sense_10_when_long_lba_is_not_accepted_then_a_short_descriptor(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];
	unsigned size = sense_10(f, 0, 0x08, bytes);

	assert_int_equal(bytes[4], 0);
	assert_int_equal(be16_get(bytes + 6), 8);
	assert_int_equal(be32_get(bytes + 8), 2048);
	assert_pages(bytes, 16, size, PAGES(0x0800));
	size = sense_10(f, 0x18, 0x08, bytes);
	assert_int_equal(bytes[4], 0);
	assert_int_equal(be16_get(bytes + 6), 0);
	assert_pages(bytes, 8, size, PAGES(0x0800));
}

static void test_sense_when_more_blocks_than_the_field_holds_then_all_ones(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct block_null_config config = { .name = "big", .size = 3ull << 40 };
	struct block_node *node = NULL;
	uint8_t bytes[BYTES];

	assert_int_equal(block_null_open(f->graph, &config, &node, NULL), 0);
	scsi_fixture_add(f, node, NULL);
	scsi_fixture_clear_attentions(f);
	sense_6(f, 0, 0x08, 0, bytes);
	scsi_assert_good(f);
	assert_int_equal(be32_get(bytes + 4), UINT32_MAX);
	sense_10(f, 0x10, 0x08, bytes);
	assert_int_equal(be64_get(bytes + 8), (3ull << 40) / 512);
	scsi_fixture_free(f);
}

static void test_sense_when_page_control_differs_then_other_values(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	f->unit->mode.wce = 0;
	sense_6(f, 0x08, 0x00 | 0x08, 0, bytes); /* current */
	assert_int_equal(bytes[4 + 2], 0);
	sense_6(f, 0x08, 0x40 | 0x08, 0, bytes); /* changeable */
	assert_int_equal(bytes[4 + 2], 0x04);
	sense_6(f, 0x08, 0x80 | 0x08, 0, bytes); /* default */
	assert_int_equal(bytes[4 + 2], 0x04);
	sense_6(f, 0x08, 0x40 | 0x0a, 0, bytes);
	assert_int_equal(bytes[4 + 3], 0); /* constant bits are not changeable */
}

static void test_sense_when_nothing_is_saved_then_no_saved_values(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	sense_6(f, 0, 0xc0 | 0x08, 0, bytes);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
	sense_6(f, 0x08, 0x3f, 0, bytes);
	assert_int_equal(bytes[4] & 0x80, 0); /* PS */
}

static void test_sense_when_write_protected_then_wp(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[BYTES];

	scsi_fixture_restart(f, 0, &(struct scsi_unit_config){ .read_only = true });
	scsi_fixture_clear_attentions(f);
	sense_6(f, 0, 0x08, 0, bytes);
	assert_int_equal(bytes[2], 0x90);
}

static void test_sense_when_the_allocation_length_is_short_then_cut(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t all[BYTES], bytes[4];
	unsigned size = sense_6(f, 0, 0x3f, 0, all);

	scsi_do_in(f, FIRST, CDB(0x1a, 0, 0x3f, 0, 4, 0), bytes, 4);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	assert_memory_equal(bytes, all, 4);
	assert_int_equal(bytes[0], size - 1); /* what there would be */
	scsi_do(f, FIRST, CDB(0x1a, 0, 0x3f, 0, 0, 0));
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_sense_6_when_all_pages_then_header_descriptor_and_pages),
		scsi_test(test_sense_6_when_dbd_then_no_descriptor),
		scsi_test(test_sense_when_subpages_are_asked_for_then_those_come),
		scsi_test(test_sense_when_the_page_is_not_there_then_its_field_is_named),
		scsi_test(test_sense_10_when_long_lba_is_accepted_then_a_long_descriptor),
		scsi_test(test_sense_10_when_long_lba_is_not_accepted_then_a_short_descriptor),
		cmocka_unit_test(test_sense_when_more_blocks_than_the_field_holds_then_all_ones),
		scsi_test(test_sense_when_page_control_differs_then_other_values),
		scsi_test(test_sense_when_nothing_is_saved_then_no_saved_values),
		scsi_test(test_sense_when_write_protected_then_wp),
		scsi_test(test_sense_when_the_allocation_length_is_short_then_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
