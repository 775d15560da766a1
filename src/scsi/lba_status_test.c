/* SPDX-License-Identifier: MIT */
/* GET LBA STATUS: what is said to be mapped. */
#include "scsi/fixture.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define PAGE_BLOCKS 8u
#define DISK_BLOCKS 2048u

struct range {
	uint64_t lba;
	uint32_t blocks;
};

/* 'x' everywhere. */
static void fill_disk(struct scsi_fixture *f)
{
	uint8_t *bytes = malloc(DISK_BLOCKS * BLOCK);

	assert_non_null(bytes);
	memset(bytes, 'x', DISK_BLOCKS * BLOCK);
	scsi_fixture_poke(f, 0, 0, bytes, DISK_BLOCKS * BLOCK);
	free(bytes);
}

static void do_unmap(struct scsi_fixture *f, uint64_t lba, uint32_t blocks)
{
	uint8_t list[24] = { 0, 22, 0, 16 };

	be64_put(list + 8, lba);
	be32_put(list + 16, blocks);
	scsi_do_out(f, FIRST, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), list, sizeof(list));
	scsi_assert_good(f);
}

/* Up to 15 descriptors; returns how many there are. */
static unsigned get_status(struct scsi_fixture *f, uint16_t lba, uint8_t bytes[248])
{
	unsigned count;

	memset(bytes, 0xee, 248);
	scsi_do_in(f, FIRST,
		   CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, (uint8_t)(lba >> 8), (uint8_t)lba, 0, 0, 0,
		       248, 0, 0),
		   bytes, 248);
	scsi_assert_good(f);
	assert_int_equal((be32_get(bytes) + 4 - 8) % 16, 0);
	count = (be32_get(bytes) + 4 - 8) / 16;
	scsi_assert_residual(f, SCSI_FITS, 248 - 8 - 16 * count);
	return count;
}

static void check_descriptor(const uint8_t *bytes, unsigned index, struct range range,
			     uint8_t status)
{
	const uint8_t *descriptor = bytes + 8 + 16 * index;

	assert_int_equal(be64_get(descriptor), range.lba);
	assert_int_equal(be32_get(descriptor + 8), range.blocks);
	assert_int_equal(descriptor[12], status);
}

static void skip_without_status(struct scsi_fixture *f)
{
	if (f->node->limits.has_status)
		return;
	print_message("no pagemap\n");
	skip();
}

static void test_status_when_parts_were_unmapped_then_each_is_told(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[248];

	skip_without_status(f);
	fill_disk(f);
	assert_int_equal(get_status(f, 0, bytes), 1);
	check_descriptor(bytes, 0, (struct range){ 0, DISK_BLOCKS }, 0);
	do_unmap(f, 16, 2 * PAGE_BLOCKS);
	do_unmap(f, 64, PAGE_BLOCKS);
	assert_int_equal(get_status(f, 3, bytes), 5);
	check_descriptor(bytes, 0, (struct range){ 3, 13 }, 0);
	check_descriptor(bytes, 1, (struct range){ 16, 16 }, 1);
	check_descriptor(bytes, 2, (struct range){ 32, 32 }, 0);
	check_descriptor(bytes, 3, (struct range){ 64, 8 }, 1);
	check_descriptor(bytes, 4, (struct range){ 72, DISK_BLOCKS - 72 }, 0);
	assert_int_equal(get_status(f, 17, bytes), 4);
	check_descriptor(bytes, 0, (struct range){ 17, 15 }, 1);
}

/* As the node keeps pages, a block of which it keeps the page is mapped. */
static void test_status_when_a_part_of_a_page_was_unmapped_then_still_mapped(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[248];

	skip_without_status(f);
	fill_disk(f);
	do_unmap(f, 0, 3);
	assert_int_equal(get_status(f, 3, bytes), 1);
	check_descriptor(bytes, 0, (struct range){ 3, DISK_BLOCKS - 3 }, 0);
}

static void test_status_when_more_extents_than_room_then_the_first_ones(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[248];

	skip_without_status(f);
	fill_disk(f);
	for (unsigned i = 0; i < 20; i++)
		do_unmap(f, 16 * i + 8, PAGE_BLOCKS);
	assert_int_equal(get_status(f, 0, bytes), 15);
	check_descriptor(bytes, 14, (struct range){ 112, 8 }, 0);
}

static void test_status_when_the_length_is_short_then_cut(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[16];

	memset(bytes, 0xee, sizeof(bytes));
	scsi_do_in(f, FIRST, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0), bytes, 16);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 4);
	assert_int_equal(be32_get(bytes), 20);
	assert_int_equal(bytes[11], 0);
	assert_int_equal(bytes[12], 0xee);
	scsi_do(f, FIRST, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static void test_status_when_outside_then_refused(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[24];

	scsi_do_in(f, FIRST, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 24, 0, 0), bytes, 24);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	scsi_do_in(f, FIRST,
		   CDB(0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 24, 0,
		       0),
		   bytes, 24);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

static void test_status_when_the_disk_is_thick_or_does_not_know_then_mapped(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[248];

	f->node->limits.has_status = false;
	assert_int_equal(get_status(f, 5, bytes), 1);
	check_descriptor(bytes, 0, (struct range){ 5, DISK_BLOCKS - 5 }, 0);
	f->node->limits.has_status = true;
	f->node->limits.discard_max = 0;
	assert_int_equal(get_status(f, 5, bytes), 1);
	check_descriptor(bytes, 0, (struct range){ 5, DISK_BLOCKS - 5 }, 0);
}

/* The node answers for a part of the disk at a time; what is alike becomes one. */
static void test_status_when_the_disk_is_large_then_extents_are_joined(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t bytes[248];

	skip_without_status(f);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "large", 1ull << 30), NULL);
	scsi_fixture_clear_attentions(f);
	assert_int_equal(get_status(f, 0, bytes), 1);
	check_descriptor(bytes, 0, (struct range){ 0, 1u << 21 }, 1);
}

/* 4 Ti blocks that read as zeroes: longer than a descriptor can say. */
static void test_status_when_an_extent_is_longer_than_a_descriptor_then_several(void **state)
{
	const struct block_null_config config = { .name = "zeroes",
						  .size = 3ull << 41,
						  .read_zeroes = true };
	struct scsi_fixture *f = *state;
	struct block_node *null = NULL;
	uint8_t bytes[248];

	assert_int_equal(block_null_open(f->graph, &config, &null, NULL), 0);
	f->target_unit = scsi_fixture_add(f, null, NULL);
	scsi_fixture_clear_attentions(f);
	assert_int_equal(get_status(f, 0, bytes), 4);
	check_descriptor(bytes, 0, (struct range){ 0, UINT32_MAX }, 1);
	check_descriptor(bytes, 1, (struct range){ UINT32_MAX, UINT32_MAX }, 1);
	check_descriptor(bytes, 3, (struct range){ 3ull * UINT32_MAX, 3 }, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_status_when_parts_were_unmapped_then_each_is_told),
		scsi_test(test_status_when_a_part_of_a_page_was_unmapped_then_still_mapped),
		scsi_test(test_status_when_more_extents_than_room_then_the_first_ones),
		scsi_test(test_status_when_the_length_is_short_then_cut),
		scsi_test(test_status_when_outside_then_refused),
		scsi_test(test_status_when_the_disk_is_thick_or_does_not_know_then_mapped),
		scsi_test(test_status_when_the_disk_is_large_then_extents_are_joined),
		scsi_test(test_status_when_an_extent_is_longer_than_a_descriptor_then_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
