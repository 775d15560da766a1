// SPDX-License-Identifier: MIT
/*
 * The device's end against a raw writer that makes every shape of chain: the legal odd ones are understood, each illegal one
 * breaks the queue with exactly its reason and touches nothing.
 */
#include "virtq/test_raw.h"

#include "base/iov.h"

/* ---- illegal ---- */

static const struct raw_ring ILLEGAL[] = {
	{ .name = "index runs away",
	  .reason = "the available index is more than the ring size ahead",
	  .ahead = SIZE + 1 },
	{ .name = "index goes back",
	  .reason = "the available index is more than the ring size ahead",
	  .ahead = 65535 },
	{ .name = "head is the size",
	  .reason = "an available entry names no descriptor",
	  .head = SIZE },
	{ .name = "head is huge",
	  .reason = "an available entry names no descriptor",
	  .head = 65535 },
	{ .name = "next is the size",
	  .reason = "a descriptor's next lies outside its table",
	  .descs = { { DATA, 1, NEXT, SIZE } } },
	{ .name = "next is huge",
	  .reason = "a descriptor's next lies outside its table",
	  .descs = { { DATA, 1, NEXT, 65535 } } },
	{ .name = "points to itself",
	  .reason = "a chain is longer than the ring",
	  .descs = { { DATA, 1, NEXT, 0 } } },
	{ .name = "two in a circle",
	  .reason = "a chain is longer than the ring",
	  .descs = { { DATA, 1, NEXT, 1 }, { DATA, 1, NEXT, 0 } } },
	{ .name = "circle of empty ones",
	  .reason = "a chain is longer than the ring",
	  .descs = { { DATA, 0, NEXT, 0 } } },
	{ .name = "readable after writable",
	  .reason = "a readable descriptor after a writable one",
	  .descs = { { DATA, 1, WRITE | NEXT, 1 }, { DATA, 1, 0, 0 } } },
	{ .name = "readable after an empty writable",
	  .reason = "a readable descriptor after a writable one",
	  .descs = { { DATA, 0, WRITE | NEXT, 1 }, { DATA, 1, 0, 0 } } },
	{ .name = "below memory",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { TEST_GUEST - 1, 1, 0, 0 } } },
	{ .name = "behind memory",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { END, 1, WRITE, 0 } } },
	{ .name = "ends behind memory",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { END - 1, 2, 0, 0 } } },
	{ .name = "longest",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { DATA, UINT32_MAX, WRITE, 0 } } },
	{ .name = "wraps",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { UINT64_MAX, 2, 0, 0 } } },
	{ .name = "second one outside",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { DATA, 1, NEXT, 1 }, { 0, 1, 0, 0 } } },
	{ .name = "indirect without feature",
	  .reason = "an indirect descriptor without the feature",
	  .no_indirect = true,
	  .descs = { { TABLE, 16, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, 0, 0 } } },
	{ .name = "indirect with next",
	  .reason = "an indirect descriptor has a next one",
	  .descs = { { TABLE, 16, INDIRECT | NEXT, 1 }, { DATA, 1, 0, 0 } },
	  .indirect = { { DATA, 1, 0, 0 } } },
	{ .name = "empty table",
	  .reason = "the length of an indirect table is not a multiple of 16",
	  .descs = { { TABLE, 0, INDIRECT, 0 } } },
	{ .name = "table too short for one",
	  .reason = "the length of an indirect table is not a multiple of 16",
	  .descs = { { TABLE, 15, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, 0, 0 } } },
	{ .name = "table of one and a bit",
	  .reason = "the length of an indirect table is not a multiple of 16",
	  .descs = { { TABLE, 17, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, 0, 0 } } },
	{ .name = "table in table",
	  .reason = "an indirect table inside an indirect table",
	  .descs = { { TABLE, 32, INDIRECT, 0 } },
	  .indirect = { { TABLE + 16, 16, INDIRECT, 0 }, { DATA, 1, 0, 0 } } },
	{ .name = "table names itself",
	  .reason = "an indirect table inside an indirect table",
	  .descs = { { TABLE, 16, INDIRECT, 0 } },
	  .indirect = { { TABLE, 16, INDIRECT, 0 } } },
	{ .name = "the ring's own descriptors are the table",
	  .reason = "an indirect table inside an indirect table",
	  .descs = { { DESC, 16 * SIZE, INDIRECT, 0 } } },
	{ .name = "table outside memory",
	  .reason = "an indirect table lies outside guest memory",
	  .descs = { { END, 16, INDIRECT, 0 } } },
	{ .name = "table starts below memory",
	  .reason = "an indirect table lies outside guest memory",
	  .descs = { { TEST_GUEST - 16, 32, INDIRECT, 0 } } },
	{ .name = "table wraps",
	  .reason = "an indirect table lies outside guest memory",
	  .descs = { { UINT64_MAX - 15, 32, INDIRECT, 0 } } },
	{ .name = "used part of a table outside memory",
	  .reason = "an indirect table lies outside guest memory",
	  .table = END - 16,
	  .descs = { { END - 16, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 } } },
	{ .name = "descriptor of a table half outside memory",
	  .reason = "an indirect table lies outside guest memory",
	  .descs = { { END - 8, 16, INDIRECT, 0 } } },
	{ .name = "next in table is its length",
	  .reason = "a descriptor's next lies outside its table",
	  .descs = { { TABLE, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 2 }, { DATA, 1, 0, 0 }, { DATA, 1, 0, 0 } } },
	{ .name = "circle in table",
	  .reason = "a chain is longer than any ring",
	  .descs = { { TABLE, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 }, { DATA, 1, NEXT, 0 } } },
	{ .name = "readable in table after writable in ring",
	  .reason = "a readable descriptor after a writable one",
	  .descs = { { DATA, 1, NEXT | WRITE, 1 }, { TABLE, 16, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, 0, 0 } } },
	{ .name = "table's data outside memory",
	  .reason = "a descriptor lies outside guest memory",
	  .descs = { { TABLE, 16, INDIRECT, 0 } },
	  .indirect = { { END, 1, 0, 0 } } },
};

/* Every function of a broken end. */
static void broken_check(struct fixture *fixture, const char *reason)
{
	struct virtq_device *device = &fixture->device;

	assert_int_equal(pop(fixture), -EPROTO);
	virtq_device_unpop(device);
	virtq_device_push(device, 0, 1);
	virtq_device_publish(device);
	assert_false(virtq_device_has_work(device));
	assert_false(virtq_device_should_call(device));
	virtq_device_kicks_suppress(device);
	assert_false(virtq_device_kicks_enable(device));
	assert_string_equal(device->broken, reason);
}

static void illegal_check(const struct raw_ring *raw, bool event_idx)
{
	static const struct raw_ring good = { .descs = { { DATA, 1, 0, 0 } } };
	uint8_t before[2 * TEST_PAGE];
	struct virtq_chain untouched;
	struct fixture fixture;

	fixture_init(&fixture, !raw->no_indirect, event_idx);
	untouched = fixture.chain;
	virtq_device_push(&fixture.device, 1, 1); /* never published */
	raw_write(&fixture, raw);
	memcpy(before, fixture.memory.flat, sizeof(before));
	assert_true(virtq_device_has_work(&fixture.device));
	assert_int_equal(pop(&fixture), -EPROTO);
	if (strcmp(fixture.device.broken, raw->reason))
		fail_msg("%s: %s", raw->name, fixture.device.broken);
	assert_memory_equal(&fixture.chain, &untouched, sizeof(untouched));
	broken_check(&fixture, raw->reason);
	assert_memory_equal(fixture.memory.flat, before, sizeof(before));
	/* a driver that behaves again is not listened to */
	raw_write(&fixture, &good);
	memcpy(before, fixture.memory.flat, sizeof(before));
	broken_check(&fixture, raw->reason);
	assert_memory_equal(fixture.memory.flat, before, sizeof(before));
	fixture_fini(&fixture);
}

static void test_pop_when_ring_is_illegal_then_broken_for_its_reason(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(ILLEGAL); i++) {
		illegal_check(&ILLEGAL[i], false);
		illegal_check(&ILLEGAL[i], true);
	}
}

/* ---- legal ---- */

static const struct raw_ring LEGAL[] = {
	{ .name = "empty descriptors are nothing",
	  .descs = { { 0, 0, NEXT, 1 },
		     { DATA, 3, NEXT, 2 },
		     { UINT64_MAX, 0, WRITE | NEXT, 3 },
		     { DATA, 5, WRITE, 0 } },
	  .readable = 1,
	  .writable = 1,
	  .readable_bytes = 3,
	  .writable_bytes = 5 },
	{ .name = "nothing but an empty one", .descs = { { 0, 0, 0, 0 } } },
	{ .name = "as long as the ring, backwards",
	  .head = 3,
	  .descs = { { DATA, 1, 0, 9 },
		     { DATA, 1, NEXT, 0 },
		     { DATA, 1, NEXT, 1 },
		     { DATA, 1, NEXT, 2 } },
	  .readable = 4,
	  .readable_bytes = 4 },
	{ .name = "over the border",
	  .descs = { { BORDER - 3, 10, NEXT, 1 }, { BORDER - 1, 2, WRITE, 0 } },
	  .readable = 2,
	  .writable = 2,
	  .readable_bytes = 10,
	  .writable_bytes = 2 },
	{ .name = "all of memory",
	  .descs = { { TEST_GUEST, 2 * TEST_PAGE, WRITE, 0 } },
	  .writable = 2,
	  .writable_bytes = 2 * TEST_PAGE },
	{ .name = "unknown flags",
	  .descs = { { DATA, 1, 0xfff8, 1 } },
	  .readable = 1,
	  .readable_bytes = 1 },
	{ .name = "table of one, marked writable",
	  .descs = { { TABLE, 16, INDIRECT | WRITE, 3 } },
	  .indirect = { { DATA, 2, 0, 0 } },
	  .readable = 1,
	  .readable_bytes = 2 },
	{ .name = "ring, then table",
	  .descs = { { DATA, 1, NEXT, 3 }, { 0 }, { 0 }, { TABLE, 96, INDIRECT, 0 } },
	  .indirect = { { DATA, 2, NEXT, 5 }, { 0 }, { 0 }, { 0 }, { 0 }, { DATA, 4, WRITE, 0 } },
	  .readable = 2,
	  .writable = 1,
	  .readable_bytes = 3,
	  .writable_bytes = 4 },
	{ .name = "table longer than the ring",
	  .descs = { { TABLE, 16 * 5, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 },
			{ DATA, 1, NEXT, 2 },
			{ DATA, 1, NEXT, 3 },
			{ DATA, 1, NEXT, 4 },
			{ DATA, 1, 0, 0 } },
	  .readable = 5,
	  .readable_bytes = 5 },
	{ .name = "ring and table together longer than the ring",
	  .descs = { { DATA, 1, NEXT, 1 }, { DATA, 1, NEXT, 2 }, { TABLE, 48, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 }, { DATA, 1, NEXT, 2 }, { DATA, 1, 0, 0 } },
	  .readable = 5,
	  .readable_bytes = 5 },
	{ .name = "as many as the ring, in a table",
	  .descs = { { TABLE, 64, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 },
			{ DATA, 1, NEXT, 2 },
			{ DATA, 1, NEXT, 3 },
			{ DATA, 1, 0, 0 } },
	  .readable = 4,
	  .readable_bytes = 4 },
	{ .name = "table at an odd address",
	  .table = TABLE + 1,
	  .descs = { { TABLE + 1, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 }, { DATA, 7, WRITE, 0 } },
	  .readable = 1,
	  .writable = 1,
	  .readable_bytes = 1,
	  .writable_bytes = 7 },
	{ .name = "table over the border, between descriptors",
	  .table = BORDER - 16,
	  .descs = { { BORDER - 16, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 }, { DATA, 7, WRITE, 0 } },
	  .readable = 1,
	  .writable = 1,
	  .readable_bytes = 1,
	  .writable_bytes = 7 },
	{ .name = "table over the border, within a descriptor",
	  .table = BORDER - 21,
	  .descs = { { BORDER - 21, 48, INDIRECT, 0 } },
	  .indirect = { { DATA, 1, NEXT, 1 }, { DATA, 2, NEXT, 2 }, { BORDER - 1, 7, WRITE, 0 } },
	  .readable = 2,
	  .writable = 2,
	  .readable_bytes = 3,
	  .writable_bytes = 7 },
	{ .name = "unused part of a table outside memory",
	  .table = END - 16,
	  .descs = { { END - 16, 32, INDIRECT, 0 } },
	  .indirect = { { DATA, 9, 0, 0 } },
	  .readable = 1,
	  .readable_bytes = 9 },
};

static void test_pop_when_ring_is_odd_but_legal_then_understood(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(LEGAL); i++) {
		const struct raw_ring *raw = &LEGAL[i];
		struct fixture fixture;
		unsigned count;

		fixture_init(&fixture, true, true);
		raw_write(&fixture, raw);
		if (pop(&fixture) != 1)
			fail_msg("%s: %s", raw->name, fixture.device.broken);
		assert_int_equal(fixture.chain.head, raw->head);
		assert_false(fixture.chain.overflow);
		assert_int_equal(fixture.chain.readable_count, raw->readable);
		assert_int_equal(fixture.chain.writable_count, raw->writable);
		assert_int_equal(fixture.chain.readable_bytes, raw->readable_bytes);
		assert_int_equal(fixture.chain.writable_bytes, raw->writable_bytes);
		count = raw->readable + raw->writable;
		assert_int_equal(iov_size(fixture.iov, count),
				 raw->readable_bytes + raw->writable_bytes);
		if (raw->writable)
			assert_ptr_equal(fixture.chain.last_writable,
					 (uint8_t *)fixture.iov[count - 1].iov_base +
						 fixture.iov[count - 1].iov_len - 1);
		else
			assert_null(fixture.chain.last_writable);
		assert_int_equal(pop(&fixture), 0);
		assert_null(fixture.device.broken);
		fixture_fini(&fixture);
	}
}

static void test_pop_when_data_cross_regions_then_pieces_are_the_right_bytes(void **state)
{
	static const struct raw_ring raw = { .descs = { { BORDER - 3, 8, 0, 0 } } };
	struct fixture fixture;
	char text[8];

	fixture_init(&fixture, false, false);
	memcpy(guest(&fixture, BORDER - 3), "ringlane", 8);
	raw_write(&fixture, &raw);
	assert_int_equal(pop(&fixture), 1);
	assert_int_equal(fixture.iov[0].iov_len, 3);
	assert_int_equal(iov_to_buffer(fixture.iov, 2, 0, text, 8), 8);
	assert_memory_equal(text, "ringlane", 8);
	fixture_fini(&fixture);
}

static void test_pop_when_iov_is_short_then_overflow_and_status_byte_known(void **state)
{
	static const struct raw_ring raw = { .descs = { { DATA, 16, NEXT, 1 },
							{ DATA, 10, WRITE | NEXT, 2 },
							{ BORDER - 1, 10, WRITE | NEXT, 3 },
							{ DATA + 100, 1, WRITE, 0 } } };

	for (unsigned iov_max = 2; iov_max <= 6; iov_max++) {
		struct virtq_chain *chain;
		struct fixture fixture;
		struct iovec canary;

		fixture_init(&fixture, false, false);
		canary = fixture.iov[iov_max];
		chain = &fixture.chain;
		raw_write(&fixture, &raw);
		assert_int_equal(virtq_device_pop(&fixture.device, fixture.iov, iov_max, chain), 1);
		assert_int_equal(chain->overflow, iov_max < 5);
		assert_int_equal(chain->readable_count, 1);
		assert_int_equal(chain->writable_count, MIN(iov_max, 5) - 1);
		assert_int_equal(chain->readable_bytes, 16);
		assert_int_equal(chain->writable_bytes, 21);
		*chain->last_writable = 77;
		assert_int_equal(*guest(&fixture, DATA + 100), 77);
		assert_memory_equal(&fixture.iov[iov_max], &canary, sizeof(canary));
		fixture_fini(&fixture);
	}
}

/* All in one region; the last byte of the writable part, 0 where there is none. */
static void test_pop_when_iov_is_short_in_one_region_then_nothing_behind_it_written(void **state)
{
	static const struct {
		struct raw_ring raw;
		uint64_t last_writable;
	} cases[] = {
		{ { .descs = { { DATA, 1, NEXT, 1 },
			       { DATA, 2, NEXT, 2 },
			       { DATA, 3, NEXT, 3 },
			       { DATA + 8, 4, WRITE, 0 } } },
		  DATA + 11 },
		{ { .descs = { { DATA, 1, NEXT, 1 },
			       { DATA, 2, NEXT, 2 },
			       { DATA, 3, NEXT, 3 },
			       { DATA, 4, 0, 0 } } },
		  0 },
		{ { .descs = { { DATA, 1, NEXT, 1 },
			       { DATA, 2, NEXT, 2 },
			       { DATA, 3, NEXT, 3 },
			       { DATA, 0, WRITE, 0 } } },
		  0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture fixture;
		struct iovec canary;

		fixture_init(&fixture, false, false);
		canary = fixture.iov[2];
		raw_write(&fixture, &cases[i].raw);
		assert_int_equal(virtq_device_pop(&fixture.device, fixture.iov, 2, &fixture.chain),
				 1);
		assert_true(fixture.chain.overflow);
		assert_int_equal(fixture.chain.readable_count, 2);
		assert_int_equal(fixture.chain.writable_count, 0);
		assert_ptr_equal(fixture.chain.last_writable,
				 cases[i].last_writable ? mem_map_guest(fixture.memory.map,
									cases[i].last_writable, 1) :
							  NULL);
		assert_memory_equal(&fixture.iov[2], &canary, sizeof(canary));
		fixture_fini(&fixture);
	}
}

static void test_pop_when_iov_is_short_then_rules_still_hold(void **state)
{
	static const struct raw_ring raw = { .descs = { { DATA, 1, NEXT, 1 },
							{ DATA, 1, NEXT, 2 },
							{ DATA, 1, NEXT, 3 },
							{ END, 1, WRITE, 0 } } };
	struct fixture fixture;

	fixture_init(&fixture, false, false);
	raw_write(&fixture, &raw);
	assert_int_equal(virtq_device_pop(&fixture.device, fixture.iov, 2, &fixture.chain),
			 -EPROTO);
	assert_string_equal(fixture.device.broken, "a descriptor lies outside guest memory");
	fixture_fini(&fixture);
}

/* ---- single reads ---- */

static void test_chain_when_memory_changes_after_pop_then_copies_hold(void **state)
{
	static const struct raw_ring raw = {
		.head = 2,
		.descs = { { 0 }, { 0 }, { DATA, 5, NEXT, 3 }, { TABLE, 32, INDIRECT, 0 } },
		.indirect = { { DATA + 64, 6, NEXT, 1 }, { DATA + 128, 7, WRITE, 0 } }
	};
	struct virtq_used_elem elem;
	struct virtq_chain chain;
	struct iovec iov[3];
	struct fixture fixture;

	fixture_init(&fixture, true, false);
	raw_write(&fixture, &raw);
	assert_int_equal(pop(&fixture), 1);
	chain = fixture.chain;
	memcpy(iov, fixture.iov, sizeof(iov));
	memset(guest(&fixture, DESC), 0xff, 16 * SIZE);
	memset(guest(&fixture, AVAIL + 4), 0xff, 2 * SIZE);
	memset(guest(&fixture, TABLE), 0xff, 32);
	assert_memory_equal(&fixture.chain, &chain, sizeof(chain));
	assert_memory_equal(fixture.iov, iov, sizeof(iov));
	assert_int_equal(chain.head, 2);
	assert_ptr_equal((uint8_t *)iov[1].iov_base,
			 mem_map_guest(fixture.memory.map, DATA + 64, 6));
	virtq_device_push(&fixture.device, chain.head, 7);
	memcpy(&elem, guest(&fixture, USED + 4 + 8 * (BASE % SIZE)), sizeof(elem));
	assert_int_equal(le32_get(elem.id), 2);
	assert_int_equal(le32_get(elem.len), 7);
	fixture_fini(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pop_when_ring_is_illegal_then_broken_for_its_reason),
		cmocka_unit_test(test_pop_when_ring_is_odd_but_legal_then_understood),
		cmocka_unit_test(test_pop_when_data_cross_regions_then_pieces_are_the_right_bytes),
		cmocka_unit_test(test_pop_when_iov_is_short_then_overflow_and_status_byte_known),
		cmocka_unit_test(
			test_pop_when_iov_is_short_in_one_region_then_nothing_behind_it_written),
		cmocka_unit_test(test_pop_when_iov_is_short_then_rules_still_hold),
		cmocka_unit_test(test_chain_when_memory_changes_after_pop_then_copies_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
