// SPDX-License-Identifier: MIT
/* What the driver does with the registers of the modern interface, and what it makes of a device that lies. */
#include "driver/test_virtio_pci.h"

/* ---- status and features ---- */

static void test_reset_waits_until_the_device_says_so(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.fake.slow = 5;
	rig.fake.status = VIRTIO_CONFIG_S_DRIVER_OK;
	assert_int_equal(virtio_pci_reset(&rig.pci, NULL), 0);
	assert_int_equal(rig.fake.reads_left, 0);
	virtio_pci_greet(&rig.pci);
	assert_int_equal(rig.fake.status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	rules_kept(&rig);
}

static void test_reset_that_never_ends_is_given_up(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig.pci.timeout_ms = TIMEOUT_SHORT_MS;
	rig.fake.trick = FAKE_PCI_NEVER_RESETS;
	assert_int_equal(virtio_pci_reset(&rig.pci, &error), -ETIMEDOUT);
	assert_non_null(strstr(error.text, "has not finished its reset within 30 ms"));
}

static void test_device_that_is_gone_is_noticed_by_everything(void **state)
{
	const struct virtio_pci_queue queue = { .size = 16, .desc = 1, .avail = 2, .used = 3 };
	struct error error = { 0 };
	uint8_t bytes[60];
	uint64_t offset;
	struct rig rig;
	uint32_t size;
	unsigned bar;

	rig_init(&rig);
	rig.fake.trick = FAKE_PCI_GONE;
	assert_int_equal(virtio_pci_reset(&rig.pci, &error), -ENODEV);
	assert_int_equal(virtio_pci_set_features(&rig.pci, 0, &error), -ENODEV);
	assert_int_equal(virtio_pci_get_config(&rig.pci, bytes, 60, &size, &error), -ENODEV);
	assert_int_equal(virtio_pci_run(&rig.pci, &error), -ENODEV);
	assert_int_equal(virtio_pci_queue_reset(&rig.pci, 0, &error), -ENODEV);
	assert_int_equal(virtio_pci_set_config_vector(&rig.pci, 0, &error), -ENOSPC);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 0, &queue, &error), -ENOENT);
	assert_int_equal(virtio_pci_queue_doorbell(&rig.pci, 0, &bar, &offset, &error), -EPROTO);
}

static void test_features_are_read_and_written_in_two_halves(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.fake.features |= 0x123;
	rig_negotiate(&rig);
	assert_true(rig.fake.acked == rig.fake.features);
	assert_true(rig.fake.acked >> VIRTIO_F_VERSION_1 & 1);
	rules_kept(&rig);
}

static void test_features_that_the_device_does_not_accept_are_an_error(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig.fake.trick = FAKE_PCI_REFUSES_FEATURES;
	virtio_pci_reset(&rig.pci, NULL);
	virtio_pci_greet(&rig.pci);
	assert_int_equal(virtio_pci_set_features(&rig.pci, 0x1000, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "0x1000"));
}

static void test_reset_of_queues_is_not_offered_without_its_register(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	fake_pci_init_bare(&rig.fake, VIRTIO_ID_BLOCK);
	fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_COMMON_CFG,
							    .bar = 2,
							    .length = 56 });
	fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_NOTIFY_CFG,
							    .bar = 4,
							    .length = 64 });
	rig_attach(&rig);
	assert_false(virtio_pci_features(&rig.pci) >> VIRTIO_F_RING_RESET & 1);
	assert_int_equal(virtio_pci_queue_reset(&rig.pci, 0, &error), -ENOTSUP);
}

static void test_run_of_a_device_that_wants_a_reset_is_an_error(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_negotiate(&rig);
	rig.fake.trick = FAKE_PCI_NEEDS_RESET;
	assert_int_equal(virtio_pci_run(&rig.pci, &error), -EIO);
	rules_kept(&rig);
}

/* ---- configuration ---- */

static void test_config_is_read_in_the_widths_of_its_fields(void **state)
{
	struct virtio_blk_config config;
	struct error error = { 0 };
	struct rig rig;
	uint32_t size;

	rig_init(&rig);
	for (unsigned i = 0; i < 60; i++)
		rig.fake.config[i] = (uint8_t)(i + 1);
	assert_int_equal(virtio_pci_get_config(&rig.pci, &config, sizeof(config), &size, &error),
			 0);
	assert_int_equal(size, 60);
	assert_memory_equal(&config, rig.fake.config, 60);
	for (unsigned i = 60; i < sizeof(config); i++)
		assert_int_equal(((uint8_t *)&config)[i], 0);
	rules_kept(&rig);
}

static void test_config_that_changes_while_it_is_read_is_read_again(void **state)
{
	struct error error = { 0 };
	uint8_t bytes[60];
	struct rig rig;
	uint32_t size;

	rig_init(&rig);
	rig.fake.trick = FAKE_PCI_CONFIG_CHANGES_ONCE;
	assert_int_equal(virtio_pci_get_config(&rig.pci, bytes, sizeof(bytes), &size, &error), 0);
	assert_int_equal(bytes[0], 1);
}

static void test_config_that_changes_all_the_time_is_given_up(void **state)
{
	struct error error = { 0 };
	uint8_t bytes[60];
	struct rig rig;
	uint32_t size;

	rig_init(&rig);
	rig.fake.trick = FAKE_PCI_CONFIG_CHANGES_ALWAYS;
	assert_int_equal(virtio_pci_get_config(&rig.pci, bytes, 20, &size, &error), -EPROTO);
	rig.pci.device.length = 0;
	assert_int_equal(virtio_pci_get_config(&rig.pci, bytes, 20, &size, &error), -ENOTSUP);
}

static void test_config_is_written_in_whole_fields(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	fake_pci_init(&rig.fake, VIRTIO_ID_SCSI);
	rig_attach(&rig);
	assert_int_equal(virtio_pci_set_config(&rig.pci, 20, "\x60\0\0\0\x20\0\0\0", 8, &error), 0);
	assert_memory_equal(rig.fake.config + 20, "\x60\0\0\0\x20\0\0\0", 8);
	rules_kept(&rig);
	assert_int_equal(virtio_pci_set_config(&rig.pci, 21, "abcd", 4, &error), -EINVAL);
	assert_int_equal(virtio_pci_set_config(&rig.pci, 20, "abcd", 2, &error), -EINVAL);
	assert_int_equal(virtio_pci_set_config(&rig.pci, 36, "abcd", 4, &error), -EINVAL);
	assert_int_equal(virtio_pci_set_config(&rig.pci, UINT32_MAX, "a", 1, &error), -EINVAL);
	rig.pci.device.length = 22;
	assert_int_equal(virtio_pci_set_config(&rig.pci, 20, "abcd", 4, &error), -EINVAL);
	rig.pci.device.length = 0;
	assert_int_equal(virtio_pci_set_config(&rig.pci, 20, "abcd", 4, &error), -ENOTSUP);
}

/* ---- queues ---- */

static const struct virtio_pci_queue good_queue = {
	.size = 128,
	.vector = 2,
	.desc = 0x123456789000,
	.avail = 0x22345678a000,
	.used = 0x32345678b000,
};

static void test_queue_started_is_what_was_asked_for(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_negotiate(&rig);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 1, &good_queue, &error), 0);
	assert_int_equal(rig.fake.queues[1].size, 128);
	assert_int_equal(rig.fake.queues[1].vector, 2);
	assert_true(rig.fake.queues[1].desc == good_queue.desc);
	assert_true(rig.fake.queues[1].avail == good_queue.avail);
	assert_true(rig.fake.queues[1].used == good_queue.used);
	assert_int_equal(rig.fake.queues[1].enable, 1);
	assert_int_equal(virtio_pci_set_config_vector(&rig.pci, 3, &error), 0);
	assert_int_equal(rig.fake.config_vector, 3);
	assert_int_equal(virtio_pci_run(&rig.pci, &error), 0);
	rules_kept(&rig);
}

static void test_queue_that_cannot_be_started_says_why(void **state)
{
	static const struct {
		enum fake_pci_trick trick;
		unsigned index;
		uint16_t size, vector;
		int expected;
	} cases[] = {
		{ FAKE_PCI_HONEST, 3, 16, 0, -ENOENT },
		{ FAKE_PCI_HONEST, 1, 512, 0, -EINVAL },
		{ FAKE_PCI_HONEST, 1, 16, 4, -ENOSPC },
		{ FAKE_PCI_REFUSES_VECTORS, 1, 16, 0, -ENOSPC },
		{ FAKE_PCI_FORGETS_SIZE, 1, 16, 0, -EPROTO },
		{ FAKE_PCI_NEVER_ENABLES, 1, 16, 0, -EPROTO },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct virtio_pci_queue queue = good_queue;
		struct error error = { 0 };
		struct rig rig;

		rig_init(&rig);
		rig_negotiate(&rig);
		rig.fake.trick = cases[i].trick;
		queue.size = cases[i].size;
		queue.vector = cases[i].vector;
		assert_int_equal(virtio_pci_queue_start(&rig.pci, cases[i].index, &queue, &error),
				 cases[i].expected);
		assert_int_equal(rig.fake.queues[1].enable, 0);
		rules_kept(&rig);
	}
}

static void test_queue_that_runs_is_not_started_again(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_negotiate(&rig);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 1, &good_queue, &error), 0);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 1, &good_queue, &error), -EBUSY);
	rules_kept(&rig);
}

static void test_queue_size_is_the_power_of_two_below_what_the_device_says(void **state)
{
	static const struct {
		uint16_t told, used;
	} cases[] = { { 0, 0 },     { 1, 1 },         { 3, 2 },     { 256, 256 },
		      { 257, 256 }, { 32768, 32768 }, { 32769, 0 }, { 65535, 0 } };
	struct rig rig;

	rig_init(&rig);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		rig.fake.queues[2].size = cases[i].told;
		assert_int_equal(virtio_pci_queue_size_max(&rig.pci, 2), cases[i].used);
	}
	assert_int_equal(virtio_pci_queue_size_max(&rig.pci, 3), 0);
}

static void test_queue_reset_alone_leaves_the_others_running(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_negotiate(&rig);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 0, &good_queue, &error), 0);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 1, &good_queue, &error), 0);
	rig.fake.slow = 3;
	assert_int_equal(virtio_pci_queue_reset(&rig.pci, 1, &error), 0);
	assert_int_equal(rig.fake.queues[0].enable, 1);
	assert_int_equal(rig.fake.queues[1].enable, 0);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 1, &good_queue, &error), 0);
	rules_kept(&rig);
}

static void test_queue_reset_that_never_ends_is_given_up(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_negotiate(&rig);
	assert_int_equal(virtio_pci_queue_start(&rig.pci, 0, &good_queue, &error), 0);
	rig.pci.timeout_ms = TIMEOUT_SHORT_MS;
	rig.fake.trick = FAKE_PCI_NEVER_RESETS_QUEUES;
	assert_int_equal(virtio_pci_queue_reset(&rig.pci, 0, &error), -ETIMEDOUT);
}

static void test_doorbells_are_a_multiple_apart(void **state)
{
	static const struct {
		uint32_t multiplier;
		uint16_t notify_off;
		int expected;
		uint64_t offset;
	} cases[] = {
		{ 4, 2, 0, FAKE_PCI_NOTIFY_AT + 8 },
		{ 0, 7, 0, FAKE_PCI_NOTIFY_AT }, /* one for all */
		{ 2, 31, 0, FAKE_PCI_NOTIFY_AT + 62 },
		{ 2, 32, -EPROTO, 0 }, /* behind the end */
		{ 1, 3, -EPROTO, 0 },  /* not aligned */
		{ UINT32_MAX, 65535, -EPROTO, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error = { 0 };
		uint64_t offset = 0;
		struct rig rig;
		unsigned bar;

		rig_init(&rig);
		rig.pci.notify_multiplier = cases[i].multiplier;
		rig.fake.queues[1].notify_off = cases[i].notify_off;
		assert_int_equal(virtio_pci_queue_doorbell(&rig.pci, 1, &bar, &offset, &error),
				 cases[i].expected);
		assert_int_equal(offset, cases[i].offset);
		rules_kept(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_waits_until_the_device_says_so),
		cmocka_unit_test(test_reset_that_never_ends_is_given_up),
		cmocka_unit_test(test_device_that_is_gone_is_noticed_by_everything),
		cmocka_unit_test(test_features_are_read_and_written_in_two_halves),
		cmocka_unit_test(test_features_that_the_device_does_not_accept_are_an_error),
		cmocka_unit_test(test_reset_of_queues_is_not_offered_without_its_register),
		cmocka_unit_test(test_run_of_a_device_that_wants_a_reset_is_an_error),
		cmocka_unit_test(test_config_is_read_in_the_widths_of_its_fields),
		cmocka_unit_test(test_config_that_changes_while_it_is_read_is_read_again),
		cmocka_unit_test(test_config_that_changes_all_the_time_is_given_up),
		cmocka_unit_test(test_config_is_written_in_whole_fields),
		cmocka_unit_test(test_queue_started_is_what_was_asked_for),
		cmocka_unit_test(test_queue_that_cannot_be_started_says_why),
		cmocka_unit_test(test_queue_that_runs_is_not_started_again),
		cmocka_unit_test(test_queue_size_is_the_power_of_two_below_what_the_device_says),
		cmocka_unit_test(test_queue_reset_alone_leaves_the_others_running),
		cmocka_unit_test(test_queue_reset_that_never_ends_is_given_up),
		cmocka_unit_test(test_doorbells_are_a_multiple_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
