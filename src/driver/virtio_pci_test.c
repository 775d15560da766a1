// SPDX-License-Identifier: MIT
/* The modern interface, against registers in memory: what the driver does, and what it makes of a device that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "driver/fake_pci.h"
#include "driver/virtio_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define TIMEOUT_MS 10000    /* of what comes to its end */
#define TIMEOUT_SHORT_MS 30 /* of what does not */

struct rig {
	struct fake_pci fake;
	struct virtio_pci pci;
};

static void rig_attach(struct rig *rig)
{
	struct error error = { 0 };

	if (virtio_pci_init(&rig->fake.access, TIMEOUT_MS, &rig->pci, &error) < 0)
		fail_msg("init: %s", error.text);
}

static void rig_init(struct rig *rig)
{
	fake_pci_init(&rig->fake, VIRTIO_ID_BLOCK);
	rig_attach(rig);
}

/* Reset, greeted, features agreed on. */
static void rig_negotiate(struct rig *rig)
{
	struct error error = { 0 };
	int ret = virtio_pci_reset(&rig->pci, &error);

	virtio_pci_greet(&rig->pci);
	if (ret == 0)
		ret = virtio_pci_set_features(&rig->pci, virtio_pci_features(&rig->pci), &error);
	if (ret < 0)
		fail_msg("negotiate: %s", error.text);
}

static void rules_kept(const struct rig *rig)
{
	if (rig->fake.broken)
		fail_msg("a rule was broken: %s", rig->fake.broken);
}

/* ---- finding the structures ---- */

static int init_fails(struct rig *rig)
{
	struct error error = { 0 };
	int ret = virtio_pci_init(&rig->fake.access, TIMEOUT_MS, &rig->pci, &error);

	assert_true(ret < 0);
	assert_int_equal(error.code, ret);
	return ret;
}

static void test_init_of_a_good_device_finds_its_structures(void **state)
{
	struct rig rig;

	rig_init(&rig);
	assert_int_equal(rig.pci.device_id, VIRTIO_ID_BLOCK);
	assert_int_equal(rig.pci.common.bar, FAKE_PCI_REGISTERS);
	assert_int_equal(rig.pci.notify.offset, FAKE_PCI_NOTIFY_AT);
	assert_int_equal(rig.pci.notify_multiplier, FAKE_PCI_MULTIPLIER);
	assert_int_equal(rig.pci.device.length, 60);
	rules_kept(&rig);
}

static void test_init_of_a_transitional_device_takes_its_type_from_the_subsystem(void **state)
{
	struct rig rig;

	fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
	memcpy(rig.fake.space + PCI_DEVICE_ID, "\x04\x10", 2);
	rig.fake.space[PCI_SUBSYSTEM_ID] = VIRTIO_ID_SCSI;
	rig_attach(&rig);
	assert_int_equal(rig.pci.device_id, VIRTIO_ID_SCSI);
}

static void test_init_of_something_else_says_that_it_is_no_virtio_device(void **state)
{
	static const struct {
		unsigned offset;
		uint16_t value;
	} others[] = {
		{ PCI_VENDOR_ID, 0x8086 },
		{ PCI_DEVICE_ID, 0x0fff },
		{ PCI_DEVICE_ID, 0x1080 },
		{ PCI_VENDOR_ID, 0xffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct rig rig;

		fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
		memcpy(rig.fake.space + others[i].offset, &others[i].value, 2);
		assert_int_equal(init_fails(&rig), -ENODEV);
	}
}

/* A structure that must not be used, in front of the good ones: it is passed over. */
static void test_init_passes_over_structures_that_cannot_be_used(void **state)
{
	static const struct fake_pci_cap bad[] = {
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 6, .length = 60 }, /* reserved BAR */
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 255, .length = 60 },
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 1, .length = 60 }, /* not there */
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 2, .length = 55 }, /* too short */
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 2, .length = 60, .offset = 2 },
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 2, .length = 60, .offset = 4040 },
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 2, .length = UINT32_MAX, .offset = 8 },
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG,
		  .bar = 2,
		  .length = 60,
		  .offset = UINT32_MAX - 3 },
		{ .type = VIRTIO_PCI_CAP_COMMON_CFG, .bar = 2, .length = 60, .cap_length = 15 },
		{ .type = VIRTIO_PCI_CAP_NOTIFY_CFG, .bar = 4, .length = 1 },
		{ .type = VIRTIO_PCI_CAP_NOTIFY_CFG, .bar = 4, .length = 64, .offset = 1 },
		{ .type = VIRTIO_PCI_CAP_NOTIFY_CFG, .bar = 4, .length = 64, .cap_length = 16 },
		{ .type = 0, .bar = 2, .length = 60 },   /* reserved type */
		{ .type = 200, .bar = 2, .length = 60 }, /* reserved type */
		{ .type = VIRTIO_PCI_CAP_PCI_CFG, .bar = 2, .length = 4 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rig rig;

		fake_pci_init_bare(&rig.fake, VIRTIO_ID_BLOCK);
		fake_pci_cap_add(&rig.fake, &bad[i]);
		assert_int_equal(init_fails(&rig), -ENOTSUP);
		fake_pci_cap_add(&rig.fake,
				 &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_COMMON_CFG,
							 .bar = 2,
							 .length = 56,
							 .offset = 64 });
		assert_int_equal(init_fails(&rig), -ENOTSUP);
		fake_pci_cap_add(&rig.fake,
				 &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_NOTIFY_CFG,
							 .bar = 4,
							 .length = 2 });
		rig_attach(&rig);
		assert_int_equal(rig.pci.common.offset, 64);
		assert_int_equal(rig.pci.notify.length, 2);
	}
}

static void test_init_takes_the_first_of_each_type(void **state)
{
	struct rig rig;

	fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
	fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_COMMON_CFG,
							    .bar = 2,
							    .length = 60,
							    .offset = 1024 });
	rig_attach(&rig);
	assert_int_equal(rig.pci.common.offset, 0);
}

static void test_init_accepts_a_longer_capability(void **state)
{
	struct rig rig;

	fake_pci_init_bare(&rig.fake, VIRTIO_ID_BLOCK);
	fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_COMMON_CFG,
							    .bar = 2,
							    .length = 60,
							    .cap_length = 40 });
	fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_NOTIFY_CFG,
							    .bar = 4,
							    .length = 64,
							    .cap_length = 60 });
	rig_attach(&rig);
}

static void test_init_where_the_list_goes_in_circles_ends(void **state)
{
	struct rig rig;
	unsigned cap;

	fake_pci_init_bare(&rig.fake, VIRTIO_ID_BLOCK);
	cap = fake_pci_cap_add(&rig.fake, &(struct fake_pci_cap){ .type = 77 });
	rig.fake.space[cap + 1] = (uint8_t)cap;
	assert_int_equal(init_fails(&rig), -ENOTSUP);
	/* with what is needed inside of the circle it is enough */
	fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
	rig.fake.space[rig.fake.cap_last + 1] = 0x40;
	rig_attach(&rig);
}

static void test_init_where_the_list_leads_out_of_it_ends(void **state)
{
	static const uint8_t firsts[] = { 0, 4, 0x3c, 0xfc, 0xff };

	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		struct rig rig;

		fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
		rig.fake.space[PCI_CAPABILITY_LIST] = firsts[i];
		assert_int_equal(init_fails(&rig), -ENOTSUP);
	}
}

static void test_init_without_a_capability_list_does_not_look_for_one(void **state)
{
	struct rig rig;

	fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
	rig.fake.space[PCI_STATUS] = 0;
	assert_int_equal(init_fails(&rig), -ENOTSUP);
}

/* Nothing is known of the outcome except that there is one. */
static void test_init_with_any_configuration_space_comes_to_an_end(void **state)
{
	uint64_t random = 88172645463325252ull;

	for (unsigned round = 0; round < 2000; round++) {
		struct rig rig;
		unsigned bar;
		uint64_t offset;

		fake_pci_init(&rig.fake, VIRTIO_ID_BLOCK);
		for (unsigned i = 0; i < 1 + round % 40; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			rig.fake.space[0x34 + random % (256 - 0x34)] = (uint8_t)(random >> 32);
		}
		if (virtio_pci_init(&rig.fake.access, 1, &rig.pci, NULL) < 0)
			continue;
		assert_true(rig.pci.common.offset + rig.pci.common.length <= FAKE_PCI_BAR_SIZE);
		assert_true(rig.pci.device.offset + rig.pci.device.length <= FAKE_PCI_BAR_SIZE);
		if (virtio_pci_queue_doorbell(&rig.pci, round % 3, &bar, &offset, NULL) == 0)
			assert_true(offset + 2 <= FAKE_PCI_BAR_SIZE && offset % 2 == 0);
	}
}

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
		cmocka_unit_test(test_init_of_a_good_device_finds_its_structures),
		cmocka_unit_test(
			test_init_of_a_transitional_device_takes_its_type_from_the_subsystem),
		cmocka_unit_test(test_init_of_something_else_says_that_it_is_no_virtio_device),
		cmocka_unit_test(test_init_passes_over_structures_that_cannot_be_used),
		cmocka_unit_test(test_init_takes_the_first_of_each_type),
		cmocka_unit_test(test_init_accepts_a_longer_capability),
		cmocka_unit_test(test_init_where_the_list_goes_in_circles_ends),
		cmocka_unit_test(test_init_where_the_list_leads_out_of_it_ends),
		cmocka_unit_test(test_init_without_a_capability_list_does_not_look_for_one),
		cmocka_unit_test(test_init_with_any_configuration_space_comes_to_an_end),
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
