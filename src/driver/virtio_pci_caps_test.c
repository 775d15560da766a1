// SPDX-License-Identifier: MIT
/* Finding the structures of the modern interface in a configuration space, hostile ones included. */
#include "driver/test_virtio_pci.h"

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
