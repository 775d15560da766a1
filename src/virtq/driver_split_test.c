// SPDX-License-Identifier: MIT
/*
 * The driver's end alone: what it puts into the ring, when it refuses, and what a hostile device cannot do to it.
 */
#include "virtq/test_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#define SIZE 8u
#define TABLE_LEN 6
#define TABLES_ADDR 0x5000000ull
#define BASE 65533u
#define CANARY 0x5a

struct fixture {
	struct virtq_driver driver;
	struct virtq_memory ring;
	struct virtq_driver_slot slots[SIZE];
	struct virtq_desc tables[SIZE * TABLE_LEN];
};

static void fixture_init(struct fixture *fixture, bool indirect, bool event_idx)
{
	struct virtq_config config = {
		.size = SIZE, .base = BASE, .indirect = indirect, .event_idx = event_idx
	};
	const struct virtq_driver_tables tables = { .slots = fixture->slots,
						    .tables = fixture->tables,
						    .tables_addr = TABLES_ADDR,
						    .table_len = TABLE_LEN };

	memset(fixture, CANARY, sizeof(*fixture));
	fixture->ring = config.memory = test_ring_new(SIZE);
	memset(fixture->ring.desc, CANARY, virtq_desc_bytes(SIZE));
	memset(fixture->ring.avail, CANARY, virtq_avail_bytes(SIZE));
	memset(fixture->ring.used, CANARY, virtq_used_bytes(SIZE));
	assert_int_equal(virtq_driver_init(&fixture->driver, &config, &tables), 0);
}

static void fixture_fini(struct fixture *fixture)
{
	test_ring_free(&fixture->ring);
}

/* out readable and in writable descriptors of 10 bytes each. */
static int add(struct fixture *fixture, unsigned out, unsigned in, uint16_t *ret_head)
{
	struct virtq_sg sg[2 * SIZE];

	for (unsigned i = 0; i < out + in; i++)
		sg[i] = (struct virtq_sg){ .addr = 0x1000 + i, .len = 10 };
	return virtq_driver_add(&fixture->driver, sg, out, in, ret_head);
}

static void add_and_publish(struct fixture *fixture, unsigned out, unsigned in, uint16_t *ret_head)
{
	assert_int_equal(add(fixture, out, in, ret_head), 0);
	virtq_driver_publish(&fixture->driver);
}

/* What a device does: an entry at the next place, then the index. */
static void raw_use(struct fixture *fixture, uint32_t id, uint32_t len)
{
	struct virtq_used *used = fixture->ring.used;
	uint16_t index = le16_get(used->idx);

	used->ring[index % SIZE] = (struct virtq_used_elem){ le32_make(id), le32_make(len) };
	used->idx = le16_make((uint16_t)(index + 1));
}

static void chain_check(const struct virtq_desc *table, unsigned index, unsigned out, unsigned in)
{
	for (unsigned i = 0; i < out + in; i++) {
		unsigned flags = le16_get(table[index].flags);

		assert_int_equal(le64_get(table[index].addr), 0x1000 + i);
		assert_int_equal(le32_get(table[index].len), 10);
		assert_int_equal(flags & VRING_DESC_F_WRITE, i < out ? 0 : VRING_DESC_F_WRITE);
		assert_int_equal(flags & VRING_DESC_F_INDIRECT, 0);
		assert_int_equal(flags & VRING_DESC_F_NEXT, i + 1 < out + in);
		index = le16_get(table[index].next);
	}
}

/* ---- submitting ---- */

static void test_add_when_direct_then_chain_in_the_ring(void **state)
{
	struct fixture fixture;
	uint16_t head;

	fixture_init(&fixture, false, false);
	assert_int_equal(add(&fixture, 2, 3, &head), 0);
	chain_check(fixture.ring.desc, head, 2, 3);
	assert_int_equal(le16_get(fixture.ring.avail->ring[BASE % SIZE]), head);
	assert_int_equal(le16_get(fixture.ring.avail->idx), BASE); /* not yet visible */
	assert_int_equal(fixture.driver.free_count, SIZE - 5);
	virtq_driver_publish(&fixture.driver);
	assert_int_equal(le16_get(fixture.ring.avail->idx), BASE + 1);
	fixture_fini(&fixture);
}

static void test_add_when_direct_or_indirect_then_by_the_rule(void **state)
{
	/* with `used` descriptors gone, is a chain of `count` put into a table? */
	static const struct {
		unsigned used, count;
		bool indirect;
	} cases[] = { { 0, 1, false }, { 7, 1, false }, { 0, 2, false }, { 4, 2, false },
		      { 5, 2, true },  { 7, 2, true },  { 0, 3, false }, { 2, 3, false },
		      { 3, 3, true },  { 0, 4, false }, { 1, 4, true },  { 0, 5, true },
		      { 7, 6, true },  { 0, 7, false }, { 1, 7, false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned count = cases[i].count, taken;
		struct fixture fixture;
		struct virtq_desc desc;
		uint16_t head;

		fixture_init(&fixture, true, false);
		for (unsigned used = 0; used < cases[i].used; used++)
			assert_int_equal(add(&fixture, 1, 0, &head), 0);
		assert_int_equal(add(&fixture, 1, count - 1, &head), 0);
		taken = SIZE - fixture.driver.free_count - cases[i].used;
		assert_int_equal(taken, cases[i].indirect ? 1 : count);
		desc = fixture.ring.desc[head];
		if (cases[i].indirect) {
			assert_int_equal(le16_get(desc.flags), VRING_DESC_F_INDIRECT);
			assert_int_equal(le64_get(desc.addr),
					 TABLES_ADDR + head * TABLE_LEN * 16ull);
			assert_int_equal(le32_get(desc.len), count * 16);
			chain_check(&fixture.tables[head * TABLE_LEN], 0, 1, count - 1);
		} else {
			chain_check(fixture.ring.desc, head, 1, count - 1);
		}
		fixture_fini(&fixture);
	}
}

static void test_add_when_chain_is_impossible_then_einval_and_nothing_taken(void **state)
{
	const struct virtq_sg huge[2] = { { 0, UINT32_MAX }, { 0, 1 } };
	struct fixture fixture;
	uint16_t head = 99;

	fixture_init(&fixture, true, false);
	assert_int_equal(add(&fixture, 0, 0, &head), -EINVAL);
	assert_int_equal(add(&fixture, SIZE, 1, &head), -EINVAL);
	assert_int_equal(virtq_driver_add(&fixture.driver, huge, UINT32_MAX, 1, &head), -EINVAL);
	assert_int_equal(virtq_driver_add(&fixture.driver, huge, UINT32_MAX, 2, &head), -EINVAL);
	assert_int_equal(virtq_driver_add(&fixture.driver, huge, 0, 2, &head), -EINVAL);
	assert_int_equal(fixture.driver.free_count, SIZE);
	assert_int_equal(head, 99);
	assert_int_equal(virtq_driver_add(&fixture.driver, huge, 1, 1, &head), 0);
	fixture_fini(&fixture);
}

static void test_add_when_ring_is_full_then_enospc_until_taken(void **state)
{
	uint16_t heads[SIZE], head;
	struct fixture fixture;
	uint32_t written;

	fixture_init(&fixture, false, false);
	for (unsigned i = 0; i < SIZE; i++)
		add_and_publish(&fixture, 1, 0, &heads[i]);
	assert_int_equal(add(&fixture, 1, 0, &head), -ENOSPC);
	raw_use(&fixture, heads[3], 0);
	raw_use(&fixture, heads[6], 0);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
	assert_int_equal(head, heads[3]);
	assert_int_equal(add(&fixture, 1, 1, &head), -ENOSPC);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
	assert_int_equal(head, heads[6]);
	assert_int_equal(add(&fixture, 1, 1, &head), 0);
	chain_check(fixture.ring.desc, head, 1, 1);
	fixture_fini(&fixture);
}

/* ---- a hostile device ---- */

struct raw_used {
	const char *reason;
	uint32_t id, len;
	unsigned repeat, ahead; /* entries written; index moved without entries */
};

/* Outstanding: chain 0 (descriptors 0 to 2, 20 writable bytes), chain 3 (nothing writable), not published: chain 4. */
static const struct raw_used HOSTILE[] = {
	{ "a used entry names no descriptor", SIZE, 0, 1, 0 },
	{ "a used entry names no descriptor", UINT32_MAX, 0, 1, 0 },
	{ "a used entry names no descriptor", 65536, 0, 1, 0 },
	{ "a used entry names a chain that is not outstanding", 7, 0, 1, 0 },
	{ "a used entry names a chain that is not outstanding", 1, 0, 1, 0 },
	{ "a used entry names a chain that is not outstanding", 0, 20, 2, 0 },
	{ "a used entry says that more was written than there is room", 0, 21, 1, 0 },
	{ "a used entry says that more was written than there is room", 0, UINT32_MAX, 1, 0 },
	{ "a used entry says that more was written than there is room", 3, 1, 1, 0 },
	{ "the used index is ahead of what was made available", 0, 0, 3, 0 },
	{ "the used index is ahead of what was made available", 0, 0, 0, SIZE },
	{ "the used index is ahead of what was made available", 0, 0, 0, 65535 },
};

static void hostile_check(const struct raw_used *raw)
{
	struct fixture fixture, before;
	uint8_t desc[16 * SIZE];
	uint16_t head, expected = 99;
	uint32_t written = 99;
	int ret;

	fixture_init(&fixture, false, true);
	add_and_publish(&fixture, 1, 2, &head);
	assert_int_equal(head, 0);
	add_and_publish(&fixture, 1, 0, &head);
	assert_int_equal(head, 3);
	assert_int_equal(add(&fixture, 1, 0, &head), 0);
	memcpy(desc, fixture.ring.desc, sizeof(desc));
	for (unsigned i = 0; i < raw->repeat; i++)
		raw_use(&fixture, raw->id, raw->len);
	fixture.ring.used->idx =
		le16_make((uint16_t)(le16_get(fixture.ring.used->idx) + raw->ahead));
	assert_true(virtq_driver_has_work(&fixture.driver));
	head = expected;
	while ((ret = virtq_driver_take(&fixture.driver, &head, &written)) == 1)
		assert_int_equal(raw->repeat, 2);
	assert_int_equal(ret, -EPROTO);
	assert_string_equal(fixture.driver.broken, raw->reason);
	assert_true(raw->repeat == 2 || (head == expected && written == 99));
	before = fixture;
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), -EPROTO);
	assert_int_equal(add(&fixture, 1, 0, &head), -EPROTO);
	virtq_driver_publish(&fixture.driver);
	assert_false(virtq_driver_has_work(&fixture.driver));
	assert_false(virtq_driver_should_kick(&fixture.driver));
	virtq_driver_calls_suppress(&fixture.driver);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 0));
	assert_memory_equal(&fixture, &before, sizeof(before));
	assert_memory_equal(fixture.ring.desc, desc, sizeof(desc));
	assert_int_equal(le16_get(fixture.ring.avail->idx), (BASE + 2) & 0xffff);
	assert_int_equal(le16_get(fixture.ring.avail->ring[SIZE]), BASE);
	fixture_fini(&fixture);
}

static void test_take_when_device_writes_nonsense_then_broken_for_its_reason(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(HOSTILE); i++)
		hostile_check(&HOSTILE[i]);
}

static void test_take_when_lengths_are_vague_then_no_more_than_fits(void **state)
{
	struct fixture fixture;
	uint16_t first, head;
	uint32_t written, room;

	fixture_init(&fixture, false, false);
	fixture.driver.lengths_are_vague = true;
	add_and_publish(&fixture, 2, 2, &first);
	room = fixture.driver.slots[first].writable;
	raw_use(&fixture, first, UINT32_MAX);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
	assert_int_equal(head, first);
	assert_true(written > 0 && written == room);
	fixture_fini(&fixture);
}

static void test_peek_when_chains_are_finished_then_told_in_order_and_not_taken(void **state)
{
	uint16_t heads[3], ids[4] = { 99, 99, 99, 99 }, head;
	struct fixture fixture;
	uint32_t written;

	fixture_init(&fixture, false, false);
	for (unsigned i = 0; i < 3; i++)
		add_and_publish(&fixture, 1, 0, &heads[i]);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 4), 0);
	raw_use(&fixture, heads[2], 0);
	raw_use(&fixture, heads[0], 0);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 1), 1);
	assert_int_equal(ids[0], heads[2]);
	assert_int_equal(ids[1], 99);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 4), 2);
	assert_int_equal(ids[1], heads[0]);
	assert_int_equal(ids[2], 99);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
	assert_int_equal(head, heads[2]);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 4), 1);
	assert_int_equal(ids[0], heads[0]);
	fixture_fini(&fixture);
}

/* Nothing is said of the chains yet; only that memory behind the ring's is not touched. */
static void test_peek_when_device_writes_nonsense_then_ids_are_below_size(void **state)
{
	struct fixture fixture;
	uint16_t head, ids[2];
	uint32_t written;

	fixture_init(&fixture, false, false);
	add_and_publish(&fixture, 1, 0, &head);
	raw_use(&fixture, UINT32_MAX, 0);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 2), 1);
	assert_true(ids[0] < SIZE);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), -EPROTO);
	assert_int_equal(virtq_driver_peek(&fixture.driver, ids, 2), 0);
	fixture_fini(&fixture);
}

static void test_driver_when_device_scribbles_over_descriptors_then_unharmed(void **state)
{
	struct fixture fixture;
	uint16_t first, head;
	uint32_t written;

	fixture_init(&fixture, false, false);
	add_and_publish(&fixture, 2, 2, &first);
	memset(fixture.ring.desc, 0xff, virtq_desc_bytes(SIZE));
	memset(fixture.ring.avail->ring, 0xff, 2 * SIZE);
	raw_use(&fixture, first, 20);
	assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
	assert_int_equal(head, first);
	assert_int_equal(written, 20);
	assert_int_equal(fixture.driver.free_count, SIZE);
	assert_int_equal(add(&fixture, 3, 5, &head), 0);
	chain_check(fixture.ring.desc, head, 3, 5);
	fixture_fini(&fixture);
}

/* ---- notifications ---- */

static void test_kick_when_plain_then_flag_decides(void **state)
{
	struct fixture fixture;
	uint16_t head;

	fixture_init(&fixture, false, false);
	add_and_publish(&fixture, 1, 0, &head);
	assert_true(virtq_driver_should_kick(&fixture.driver));
	fixture.ring.used->flags = le16_make(VRING_USED_F_NO_NOTIFY);
	add_and_publish(&fixture, 1, 0, &head);
	assert_false(virtq_driver_should_kick(&fixture.driver));
	fixture_fini(&fixture);
}

static void test_kick_when_event_idx_then_once_as_the_event_is_passed(void **state)
{
	struct le16 *avail_event;
	struct fixture fixture;
	uint16_t head;

	fixture_init(&fixture, false, true);
	avail_event = (struct le16 *)&fixture.ring.used->ring[SIZE];
	fixture.ring.used->flags = le16_make(VRING_USED_F_NO_NOTIFY); /* means nothing here */
	add_and_publish(&fixture, 1, 0, &head);
	assert_true(virtq_driver_should_kick(&fixture.driver)); /* the first is always wanted */
	add_and_publish(&fixture, 1, 0, &head);
	assert_false(virtq_driver_should_kick(&fixture.driver));
	*avail_event = le16_make((uint16_t)(BASE + 3));
	add_and_publish(&fixture, 1, 0, &head);
	assert_false(virtq_driver_should_kick(&fixture.driver));
	assert_int_equal(add(&fixture, 1, 0, &head), 0);
	add_and_publish(&fixture, 1, 0, &head);
	assert_true(virtq_driver_should_kick(&fixture.driver));
	assert_false(virtq_driver_should_kick(&fixture.driver));
	fixture_fini(&fixture);
}

static void test_calls_when_plain_then_flag_tells(void **state)
{
	struct fixture fixture;
	uint16_t head;

	fixture_init(&fixture, false, false);
	virtq_driver_calls_suppress(&fixture.driver);
	assert_int_equal(le16_get(fixture.ring.avail->flags), VRING_AVAIL_F_NO_INTERRUPT);
	add_and_publish(&fixture, 1, 0, &head);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 5));
	assert_int_equal(le16_get(fixture.ring.avail->flags), 0);
	virtq_driver_calls_suppress(&fixture.driver);
	virtq_driver_calls_suppress(&fixture.driver);
	assert_int_equal(le16_get(fixture.ring.avail->flags), VRING_AVAIL_F_NO_INTERRUPT);
	raw_use(&fixture, head, 0);
	assert_true(virtq_driver_calls_enable(&fixture.driver, 5));
	assert_int_equal(le16_get(fixture.ring.avail->flags), 0);
	assert_int_equal(le16_get(fixture.ring.avail->ring[SIZE]), 0);
	fixture_fini(&fixture);
}

static void test_calls_when_event_idx_then_event_is_placed_within_what_is_out(void **state)
{
	struct fixture fixture;
	uint16_t heads[4];
	struct le16 *used_event;

	fixture_init(&fixture, false, true);
	used_event = &fixture.ring.avail->ring[SIZE];
	virtq_driver_calls_suppress(&fixture.driver);
	assert_int_equal(le16_get(fixture.ring.avail->flags), 0);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 3)); /* nothing is out */
	assert_int_equal(le16_get(*used_event), BASE);
	for (unsigned i = 0; i < 4; i++)
		add_and_publish(&fixture, 1, 0, &heads[i]);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 2));
	assert_int_equal(le16_get(*used_event), (BASE + 2) & 0xffff);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 1000));
	assert_int_equal(le16_get(*used_event), (BASE + 3) & 0xffff);
	raw_use(&fixture, heads[0], 0);
	raw_use(&fixture, heads[1], 0);
	assert_false(virtq_driver_calls_enable(&fixture.driver, 2)); /* the event is still ahead */
	assert_true(virtq_driver_calls_enable(&fixture.driver, 1));
	assert_true(virtq_driver_calls_enable(&fixture.driver, 0));
	fixture_fini(&fixture);
}

static void test_kick_when_not_decided_for_65536_entries_then_kicked(void **state)
{
	struct fixture fixture;
	uint32_t written;
	uint16_t head;

	fixture_init(&fixture, false, true);
	add_and_publish(&fixture, 1, 0, &head);
	assert_true(virtq_driver_should_kick(&fixture.driver));
	*(struct le16 *)&fixture.ring.used->ring[SIZE] = le16_make((uint16_t)(BASE + 10));
	for (unsigned i = 0; i < 65536 + 2; i++) {
		raw_use(&fixture, head, 0);
		assert_int_equal(virtq_driver_take(&fixture.driver, &head, &written), 1);
		add_and_publish(&fixture, 1, 0, &head);
	}
	assert_true(virtq_driver_should_kick(&fixture.driver));
	assert_false(virtq_driver_should_kick(&fixture.driver));
	fixture_fini(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_when_direct_then_chain_in_the_ring),
		cmocka_unit_test(test_add_when_direct_or_indirect_then_by_the_rule),
		cmocka_unit_test(test_add_when_chain_is_impossible_then_einval_and_nothing_taken),
		cmocka_unit_test(test_add_when_ring_is_full_then_enospc_until_taken),
		cmocka_unit_test(test_take_when_device_writes_nonsense_then_broken_for_its_reason),
		cmocka_unit_test(test_take_when_lengths_are_vague_then_no_more_than_fits),
		cmocka_unit_test(
			test_peek_when_chains_are_finished_then_told_in_order_and_not_taken),
		cmocka_unit_test(test_peek_when_device_writes_nonsense_then_ids_are_below_size),
		cmocka_unit_test(test_driver_when_device_scribbles_over_descriptors_then_unharmed),
		cmocka_unit_test(test_kick_when_plain_then_flag_decides),
		cmocka_unit_test(test_kick_when_event_idx_then_once_as_the_event_is_passed),
		cmocka_unit_test(test_calls_when_plain_then_flag_tells),
		cmocka_unit_test(test_calls_when_event_idx_then_event_is_placed_within_what_is_out),
		cmocka_unit_test(test_kick_when_not_decided_for_65536_entries_then_kicked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
