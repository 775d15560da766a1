/* SPDX-License-Identifier: MIT */
/* EXTENDED COPY: what is copied, what is refused and how. */
#include "scsi/test_copy_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Other bytes in each block of units[unit]; returns a copy of the disk. */
static uint8_t *fill_disk(struct scsi_fixture *f, unsigned unit, uint8_t seed)
{
	uint8_t *bytes = malloc(DISK_BYTES);

	assert_non_null(bytes);
	for (size_t at = 0; at < DISK_BYTES; at++)
		bytes[at] = (uint8_t)(at / BLOCK * 5 + at + seed);
	scsi_fixture_poke(f, unit, 0, bytes, DISK_BYTES);
	return bytes;
}

static void check_disk(struct scsi_fixture *f, unsigned unit, const uint8_t *expected)
{
	uint8_t *found = malloc(DISK_BYTES);

	assert_non_null(found);
	scsi_fixture_peek(f, unit, 0, found, DISK_BYTES);
	assert_memory_equal(found, expected, DISK_BYTES);
	free(found);
}

/* A second disk like the first. */
static struct scsi_unit *add_disk(struct scsi_fixture *f, const struct scsi_unit_config *config)
{
	unsigned index = scsi_fixture_add(f, scsi_fixture_ram(f, "second", DISK_BYTES), config);

	scsi_fixture_clear_attentions(f);
	return f->units[index].unit;
}

/* ---- copying ---- */

static void test_copy_when_no_list_then_good(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static void test_copy_within_a_disk_then_copied(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t *disk = fill_disk(f, 0, 0);
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 100, .from = 3, .to = 1948 });
	do_copy(f, &list);
	scsi_assert_good(f);
	scsi_assert_residual(f, SCSI_FITS, 0);
	memcpy(disk + 1948 * BLOCK, disk + 3 * BLOCK, 100 * BLOCK);
	check_disk(f, 0, disk);
	free(disk);
}

static void test_copy_when_several_segments_between_disks_then_all_in_order(void **state)
{
	struct scsi_fixture *f = *state;
	struct scsi_unit *second = add_disk(f, NULL);
	uint8_t *disks[2] = { fill_disk(f, 0, 0), fill_disk(f, 1, 77) };
	struct list list;

	list_begin(&list, 7, 2);
	list_add_unit(&list, f->unit);
	list_add_unit(&list, second);
	list_add_segment(&list, (struct segment){ 0, 1, 16, .from = 8, .to = 0 });
	list_add_segment(&list, (struct segment){ 0, 1, 0, .from = 0, .to = 0 });
	list_add_segment(&list, (struct segment){ 1, 0, 20, .from = 0, .to = 2028 });
	do_copy(f, &list);
	scsi_assert_good(f);
	memcpy(disks[1], disks[0] + 8 * BLOCK, 16 * BLOCK);
	memcpy(disks[0] + 2028 * BLOCK, disks[1], 20 * BLOCK);
	check_disk(f, 0, disks[0]);
	check_disk(f, 1, disks[1]);
	free(disks[0]);
	free(disks[1]);
}

/* More than a piece and more than a turn. */
static void test_copy_when_long_then_to_the_last_byte(void **state)
{
	const size_t half = 6u << 20;
	struct scsi_fixture *f = *state;
	uint8_t *bytes = malloc(half), *found = malloc(half);
	struct scsi_unit *unit;
	struct list list;

	assert_non_null(bytes);
	assert_non_null(found);
	for (size_t at = 0; at < half; at++)
		bytes[at] = (uint8_t)(at / 1000 + at);
	f->target_unit = scsi_fixture_add(f, scsi_fixture_ram(f, "long", 2 * half), NULL);
	unit = f->units[f->target_unit].unit;
	scsi_fixture_clear_attentions(f);
	scsi_fixture_poke(f, f->target_unit, 0, bytes, half);
	list_begin(&list, 0, 3);
	list_add_unit(&list, unit);
	list_add_segment(&list, (struct segment){ .blocks = (uint16_t)(half / BLOCK),
						  .to = half / BLOCK });
	do_copy(f, &list);
	scsi_assert_good(f);
	scsi_fixture_peek(f, f->target_unit, half, found, half);
	assert_memory_equal(found, bytes, half);
	free(bytes);
	free(found);
}

static void test_copy_when_blocks_differ_in_size_then_dc_says_whose_are_counted(void **state)
{
	struct scsi_fixture *f = *state;
	const struct scsi_unit_config config = { .logical_block_size = 4096 };
	struct scsi_unit *second = add_disk(f, &config);
	uint8_t *disks[2] = { fill_disk(f, 0, 0), fill_disk(f, 1, 77) };
	struct list list;

	list_begin(&list, 0, 3);
	list_add_unit(&list, f->unit);
	list_add_unit(&list, second);
	list_add_segment(&list, (struct segment){ 0, 1, 16, .from = 3, .to = 5 });
	list_add_segment(&list, (struct segment){ 0, 1, 2, .from = 100, .to = 9,
						  .destination_counts = true });
	do_copy(f, &list);
	scsi_assert_good(f);
	memcpy(disks[1] + 5 * 4096, disks[0] + 3 * BLOCK, 16 * BLOCK);
	memcpy(disks[1] + 9 * 4096, disks[0] + 100 * BLOCK, 2 * 4096);
	check_disk(f, 1, disks[1]);
	/* half a block would have to be padded */
	list_begin(&list, 0, 3);
	list_add_unit(&list, f->unit);
	list_add_unit(&list, second);
	list_add_segment(&list, (struct segment){ 0, 1, 12, .from = 3, .to = 5 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_UNEXPECTED_INEXACT_SEGMENT);
	check_disk(f, 1, disks[1]);
	free(disks[0]);
	free(disks[1]);
}

/* ---- lists that are wrong ---- */

static void test_copy_when_the_list_is_cut_then_length_error(void **state)
{
	struct scsi_fixture *f = *state;
	uint8_t *disk = fill_disk(f, 0, 0);
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	for (size_t size = 1; size < list.size; size++) {
		do_copy_size(f, &list, size);
		scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	}
	/* the last segment is cut inside the list */
	be32_put(list.bytes + 8, 27);
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	check_disk(f, 0, disk);
	free(disk);
}

static void test_copy_when_there_are_too_many_descriptors_then_said_which(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	list_begin(&list, 1, 0);
	for (unsigned i = 0; i < 9; i++)
		list_add_unit(&list, f->unit);
	list_add_segment(&list, (struct segment){ .blocks = 1, .to = 9 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_TARGET_DESCRIPTORS);

	list_begin(&list, 1, 0);
	list_add_unit(&list, f->unit);
	for (unsigned i = 0; i < 65; i++)
		list_add_segment(&list, (struct segment){ .blocks = 1, .to = 9 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_TOO_MANY_SEGMENT_DESCRIPTORS);

	/* more than the list may be long is an error of length, whatever is in it */
	list_begin(&list, 1, 0);
	for (unsigned i = 0; i < 9; i++)
		list_add_unit(&list, f->unit);
	for (unsigned i = 0; i < 64; i++)
		list_add_segment(&list, (struct segment){ .blocks = 1, .to = 9 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_copy_when_as_many_descriptors_as_allowed_then_good(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	list_begin(&list, 0, 3);
	for (unsigned i = 0; i < 8; i++)
		list_add_unit(&list, f->unit);
	for (unsigned i = 0; i < 64; i++)
		list_add_segment(&list, (struct segment){ (uint16_t)(i % 8), 7, .blocks = 1,
							  .to = 9 + i });
	do_copy(f, &list);
	scsi_assert_good(f);
}

static void test_copy_when_a_type_is_unknown_then_said_which(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16] = 0xe0;
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_TARGET_DESCRIPTOR);
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 32] = 0x03;
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_UNSUPPORTED_SEGMENT_DESCRIPTOR);
}

static void test_copy_when_a_field_is_wrong_then_said_which(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[1] = 0x08; /* reserved usage */
	do_copy(f, &list);
	scsi_assert_bad_parameter(f, 1, 4);
	list.bytes[1] = 0x18; /* no list identifier, but there is one */
	do_copy(f, &list);
	scsi_assert_bad_parameter(f, 0, -1);
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 32 + 3] = 0x17; /* length of the segment */
	do_copy(f, &list);
	scsi_assert_bad_parameter(f, 16 + 32 + 2, -1);
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	be32_put(list.bytes + 12, 8); /* inline data */
	list.size += 8;
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INLINE_DATA_LENGTH_EXCEEDED);
}

/* ---- disks that cannot be used ---- */

static void test_copy_when_a_disk_is_not_there_then_not_reachable(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 15] ^= 1; /* another name */
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 5] = 0x13; /* the name of a port */
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
}

static void test_copy_when_a_disk_is_something_else_then_wrong_type(void **state)
{
	struct scsi_fixture *f = *state;
	struct list list;

	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 1] = 0x01; /* a tape */
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_INCORRECT_COPY_TARGET_TYPE);
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	be24_put(list.bytes + 16 + 29, 4096);
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_INCORRECT_COPY_TARGET_TYPE);
	/* LU ID TYPE and NUL are obsolete and count for nothing */
	make_list(f, &list, 1, (struct segment){ .blocks = 1, .to = 9 });
	list.bytes[16 + 1] = 0xe0;
	do_copy(f, &list);
	scsi_assert_good(f);
}

static void test_copy_when_a_segment_is_outside_then_nothing_is_copied(void **state)
{
	static const struct segment bad[] = {
		{ .blocks = 10, .from = 0, .to = DISK_BLOCKS - 9 },
		{ .blocks = 10, .from = DISK_BLOCKS - 9, .to = 0 },
		{ .blocks = 1, .from = UINT64_MAX, .to = 0 },
		{ .blocks = 1, .from = 0, .to = UINT64_MAX },
		{ .blocks = 1, .from = 1ull << 55, .to = 0 },
	};
	struct scsi_fixture *f = *state;
	uint8_t *disk = fill_disk(f, 0, 0);
	struct list list;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		make_list(f, &list, 1, (struct segment){ .blocks = 5, .from = 5, .to = 50 });
		list_add_segment(&list, bad[i]);
		do_copy(f, &list);
		scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_NONE);
	}
	make_list(f, &list, 1, (struct segment){ .destination = 1, .blocks = 5, .to = 50 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	make_list(f, &list, 1, (struct segment){ .source = 1, .blocks = 5, .to = 50 });
	do_copy(f, &list);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	check_disk(f, 0, disk);
	free(disk);
}

static void copy_between(struct scsi_fixture *f, unsigned from, unsigned to)
{
	struct list list;

	list_begin(&list, 0, 3);
	list_add_unit(&list, f->units[from].unit);
	list_add_unit(&list, f->units[to].unit);
	list_add_segment(&list, (struct segment){ 0, 1, .blocks = 5, .from = 0, .to = 50 });
	do_copy(f, &list);
}

static void test_copy_when_the_destination_is_read_only_then_aborted(void **state)
{
	struct scsi_fixture *f = *state;
	const struct scsi_unit_config config = { .read_only = true };

	add_disk(f, &config);
	copy_between(f, 0, 1);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	copy_between(f, 1, 0);
	scsi_assert_good(f);
}

static void test_copy_when_a_disk_is_not_ready_then_aborted(void **state)
{
	static const uint32_t reasons[] = { SCSI_UNIT_STOPPED, SCSI_UNIT_SANITIZING,
					    SCSI_UNIT_SANITIZE_FAILED };
	struct scsi_fixture *f = *state;
	struct scsi_unit *second = add_disk(f, NULL);

	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++) {
		or_relaxed(&second->slow, reasons[i]);
		copy_between(f, 0, 1);
		scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
		copy_between(f, 1, 0);
		scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
		and_relaxed(&second->slow, ~reasons[i]);
	}
	copy_between(f, 0, 1);
	scsi_assert_good(f);
}

static void test_copy_when_another_initiator_reserved_a_disk_then_aborted(void **state)
{
	struct scsi_fixture *f = *state;

	add_disk(f, NULL);
	f->target_unit = 1;
	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	f->target_unit = 0;
	copy_between(f, 0, 1);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	copy_between(f, 1, 0);
	scsi_assert_sense(f, SCSI_COPY_ABORTED, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	f->target_unit = 1;
	scsi_do(f, SECOND, CDB(0x17, 0, 0, 0, 0, 0));
	f->target_unit = 0;
	copy_between(f, 0, 1);
	scsi_assert_good(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_copy_when_no_list_then_good),
		scsi_test(test_copy_within_a_disk_then_copied),
		scsi_test(test_copy_when_several_segments_between_disks_then_all_in_order),
		scsi_test(test_copy_when_long_then_to_the_last_byte),
		scsi_test(test_copy_when_blocks_differ_in_size_then_dc_says_whose_are_counted),
		scsi_test(test_copy_when_the_list_is_cut_then_length_error),
		scsi_test(test_copy_when_there_are_too_many_descriptors_then_said_which),
		scsi_test(test_copy_when_as_many_descriptors_as_allowed_then_good),
		scsi_test(test_copy_when_a_type_is_unknown_then_said_which),
		scsi_test(test_copy_when_a_field_is_wrong_then_said_which),
		scsi_test(test_copy_when_a_disk_is_not_there_then_not_reachable),
		scsi_test(test_copy_when_a_disk_is_something_else_then_wrong_type),
		scsi_test(test_copy_when_a_segment_is_outside_then_nothing_is_copied),
		scsi_test(test_copy_when_the_destination_is_read_only_then_aborted),
		scsi_test(test_copy_when_a_disk_is_not_ready_then_aborted),
		scsi_test(test_copy_when_another_initiator_reserved_a_disk_then_aborted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
