// SPDX-License-Identifier: MIT
/* The device's end: indices that wrap, what is visible when, and who is told. */
#include "virtq/test_raw.h"

/* Makes one-descriptor chains available until avail->idx is BASE + ahead. */
static void raw_offer(const struct fixture *fixture, unsigned ahead)
{
	const struct raw_desc desc = { DATA, 1, 0, 0 };

	for (unsigned i = 0; i < SIZE; i++) {
		raw_put(fixture, DESC + 16ull * i, &desc, 1);
		raw_put16(fixture, AVAIL + 4 + 2 * i, i);
	}
	raw_put16(fixture, AVAIL + 2, BASE + ahead);
}

static void test_init_when_size_cannot_be_served_then_refused(void **state)
{
	static const uint16_t sizes[] = { 0, 3, 5, 1023, 2048, 32768, 65535 };
	struct virtq_config config = { .memory = test_ring_new(1) };
	struct virtq_driver_slot slot;
	const struct virtq_driver_tables tables = { .slots = &slot };
	struct virtq_device device;
	struct virtq_driver driver;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		config.size = sizes[i];
		assert_int_equal(virtq_device_init(&device, &config, NULL), -EINVAL);
		assert_int_equal(virtq_driver_init(&driver, &config, &tables), -EINVAL);
	}
	config.size = 1;
	assert_int_equal(virtq_device_init(&device, &config, NULL), 0);
	assert_int_equal(virtq_driver_init(&driver, &config, &tables), 0);
	test_ring_free(&config.memory);
}

static void test_ring_when_indices_wrap_then_entries_follow_one_another(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, false);
	raw_offer(&fixture, SIZE);
	for (unsigned i = 0; i < SIZE; i++) {
		assert_int_equal(pop(&fixture), 1);
		assert_int_equal(fixture.chain.head, (BASE + i) % SIZE);
		virtq_device_push(&fixture.device, fixture.chain.head, i);
	}
	assert_int_equal(pop(&fixture), 0);
	assert_int_equal(raw_get16(&fixture, USED + 2), BASE); /* nothing is visible yet */
	virtq_device_publish(&fixture.device);
	assert_int_equal(raw_get16(&fixture, USED + 2), (BASE + SIZE) & 0xffff);
	for (unsigned i = 0; i < SIZE; i++) {
		struct virtq_used_elem elem;

		memcpy(&elem, guest(&fixture, USED + 4 + 8 * ((BASE + i) % SIZE)), sizeof(elem));
		assert_int_equal(le32_get(elem.id), (BASE + i) % SIZE);
		assert_int_equal(le32_get(elem.len), i);
	}
	fixture_fini(&fixture);
}

static void test_unpop_when_popped_then_the_same_chain_comes_again(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, false);
	raw_offer(&fixture, 1);
	assert_int_equal(pop(&fixture), 1);
	assert_false(virtq_device_has_work(&fixture.device));
	virtq_device_unpop(&fixture.device);
	assert_true(virtq_device_has_work(&fixture.device));
	fixture.chain.head = 99;
	assert_int_equal(pop(&fixture), 1);
	assert_int_equal(fixture.chain.head, BASE % SIZE);
	assert_int_equal(pop(&fixture), 0);
	fixture_fini(&fixture);
}

static void test_remap_when_map_is_replaced_then_ring_goes_on_in_the_new_one(void **state)
{
	struct mem_map *map;
	struct fixture fixture;
	uint8_t *host = malloc(TEST_PAGE);

	fixture_init(&fixture, false, false);
	raw_offer(&fixture, 2);
	assert_int_equal(pop(&fixture), 1);
	assert_int_equal(mem_map_build_local(host, TEST_GUEST, TEST_PAGE, &map), 0);
	memcpy(host, fixture.memory.flat, TEST_PAGE);
	memset(fixture.memory.flat, 0xff, TEST_PAGE);
	virtq_device_remap(&fixture.device,
			   &(struct virtq_memory){ (struct virtq_desc *)host,
						   (struct virtq_avail *)(host + 0x100),
						   (struct virtq_used *)(host + 0x200) },
			   map);
	assert_int_equal(pop(&fixture), 1);
	assert_int_equal(fixture.chain.head, (BASE + 1) % SIZE);
	assert_ptr_equal(fixture.iov[0].iov_base, host + (DATA - TEST_GUEST));
	assert_int_equal(pop(&fixture), 0);
	mem_map_unref(map);
	free(host);
	fixture_fini(&fixture);
}

static void test_kicks_when_plain_then_flag_tells(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, false);
	virtq_device_kicks_suppress(&fixture.device);
	assert_int_equal(raw_get16(&fixture, USED), VRING_USED_F_NO_NOTIFY);
	assert_false(virtq_device_kicks_enable(&fixture.device));
	assert_int_equal(raw_get16(&fixture, USED), 0);
	virtq_device_kicks_suppress(&fixture.device);
	virtq_device_kicks_suppress(&fixture.device);
	assert_int_equal(raw_get16(&fixture, USED), VRING_USED_F_NO_NOTIFY);
	raw_offer(&fixture, 1);
	assert_true(virtq_device_kicks_enable(&fixture.device));
	assert_int_equal(raw_get16(&fixture, USED), 0);
	assert_int_equal(raw_get16(&fixture, USED + 4 + 8 * SIZE), 0);
	fixture_fini(&fixture);
}

static void test_kicks_when_event_idx_then_event_tells_and_flags_stay_zero(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, true);
	virtq_device_kicks_suppress(&fixture.device);
	assert_int_equal(raw_get16(&fixture, USED), 0);
	assert_false(virtq_device_kicks_enable(&fixture.device));
	assert_int_equal(raw_get16(&fixture, USED + 4 + 8 * SIZE), BASE);
	raw_offer(&fixture, 3);
	assert_true(virtq_device_kicks_enable(&fixture.device));
	while (pop(&fixture) == 1)
		;
	assert_int_equal(raw_get16(&fixture, USED + 4 + 8 * SIZE), BASE);
	assert_false(virtq_device_kicks_enable(&fixture.device));
	assert_int_equal(raw_get16(&fixture, USED + 4 + 8 * SIZE), (BASE + 3) & 0xffff);
	assert_int_equal(raw_get16(&fixture, USED), 0);
	fixture_fini(&fixture);
}

static void push_and_publish(struct fixture *fixture, unsigned count)
{
	while (count--)
		virtq_device_push(&fixture->device, 0, 0);
	virtq_device_publish(&fixture->device);
}

static void test_call_when_plain_then_flag_decides(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, false);
	push_and_publish(&fixture, 1);
	assert_true(virtq_device_should_call(&fixture.device));
	raw_put16(&fixture, AVAIL, VRING_AVAIL_F_NO_INTERRUPT);
	push_and_publish(&fixture, 1);
	assert_false(virtq_device_should_call(&fixture.device));
	fixture_fini(&fixture);
}

static void test_call_when_event_idx_then_once_as_the_event_is_passed(void **state)
{
	/* used->idx is BASE + 1 before, BASE + 1 + pushed after */
	static const struct {
		unsigned event, pushed;
		bool call;
	} cases[] = { { 0, 2, false }, { 1, 1, true }, { 1, 0, false }, { 2, 1, false },
		      { 2, 2, true },  { 3, 3, true }, { 4, 3, false }, { 0x8001, 3, false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture fixture;

		fixture_init(&fixture, false, true);
		raw_put16(&fixture, AVAIL, VRING_AVAIL_F_NO_INTERRUPT); /* means nothing here */
		raw_put16(&fixture, AVAIL + 4 + 2 * SIZE, BASE + 100);
		push_and_publish(&fixture, 1);
		assert_true(virtq_device_should_call(&fixture.device)); /* the first is unknown */
		raw_put16(&fixture, AVAIL + 4 + 2 * SIZE, BASE + cases[i].event);
		push_and_publish(&fixture, cases[i].pushed);
		assert_int_equal(virtq_device_should_call(&fixture.device), cases[i].call);
		push_and_publish(&fixture, 0);
		assert_false(virtq_device_should_call(&fixture.device));
		fixture_fini(&fixture);
	}
}

static void test_call_when_not_decided_for_65536_entries_then_called(void **state)
{
	struct fixture fixture;

	fixture_init(&fixture, false, true);
	push_and_publish(&fixture, 1);
	assert_true(virtq_device_should_call(&fixture.device));
	raw_put16(&fixture, AVAIL + 4 + 2 * SIZE, BASE + 10);
	for (unsigned i = 0; i < 65536 / SIZE; i++)
		push_and_publish(&fixture, SIZE);
	push_and_publish(&fixture, 2);
	assert_true(virtq_device_should_call(&fixture.device));
	assert_false(virtq_device_should_call(&fixture.device));
	fixture_fini(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_when_size_cannot_be_served_then_refused),
		cmocka_unit_test(test_ring_when_indices_wrap_then_entries_follow_one_another),
		cmocka_unit_test(test_unpop_when_popped_then_the_same_chain_comes_again),
		cmocka_unit_test(test_remap_when_map_is_replaced_then_ring_goes_on_in_the_new_one),
		cmocka_unit_test(test_kicks_when_plain_then_flag_tells),
		cmocka_unit_test(test_kicks_when_event_idx_then_event_tells_and_flags_stay_zero),
		cmocka_unit_test(test_call_when_plain_then_flag_decides),
		cmocka_unit_test(test_call_when_event_idx_then_once_as_the_event_is_passed),
		cmocka_unit_test(test_call_when_not_decided_for_65536_entries_then_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
