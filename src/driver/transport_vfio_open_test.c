// SPDX-License-Identifier: MIT
/* Devices that the VFIO transport does not take: each with a sentence, none leaves anything behind. */
#include "driver/test_vfio.h"

static void check_open_fails(struct rig *rig, unsigned timeout_ms, int expected,
			     const char *sentence)
{
	struct error error = { 0 };

	assert_int_equal(rig_open_with(rig, timeout_ms, &error), expected);
	if (!strstr(error.text, sentence))
		fail_msg("'%s' is not in '%s'", sentence, error.text);
	rig_fini(rig);
}

static void test_open_of_a_device_around_the_iommu_is_refused(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.features &= ~(1ull << VIRTIO_F_ACCESS_PLATFORM);
	check_open_fails(&rig, TIMEOUT_MS, -ENOTSUP, "around the IOMMU");
}

static void test_open_without_msix_is_refused(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].count = 0;
	check_open_fails(&rig, TIMEOUT_MS, -ENOTSUP, "no MSI-X interrupts");
}

static void test_open_of_another_kind_names_the_uri_to_use(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.config[2] = 0x48;
	check_open_fails(&rig, TIMEOUT_MS, -ENODEV, "virtio-scsi (vfio-scsi:)");
}

static void test_open_of_a_device_that_never_resets_is_given_up(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.trick = FAKE_PCI_NEVER_RESETS;
	check_open_fails(&rig, TIMEOUT_SHORT_MS, -ETIMEDOUT, "has not finished its reset");
}

static void test_open_of_a_device_that_is_gone_fails(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.trick = FAKE_PCI_GONE;
	check_open_fails(&rig, TIMEOUT_MS, -ENODEV, "has been removed");
}

static void test_open_of_a_device_without_queues_fails(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.queue_count = 0;
	check_open_fails(&rig, TIMEOUT_MS, -EPROTO, "0 queues");
}

static void test_open_of_a_device_with_queues_too_short_fails(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.queues[1].size_max = 3;
	check_open_fails(&rig, TIMEOUT_MS, -EPROTO, "the shortest of 2 entries");
}

static void test_open_where_the_group_cannot_be_had_leaves_nothing(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.refused_path = FAKE_GROUP;
	rig.kernel.refused_errno = EBUSY;
	check_open_fails(&rig, TIMEOUT_MS, -EBUSY, "in use already");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vfio_test(test_open_of_a_device_around_the_iommu_is_refused),
		vfio_test(test_open_without_msix_is_refused),
		vfio_test(test_open_of_another_kind_names_the_uri_to_use),
		vfio_test(test_open_of_a_device_that_never_resets_is_given_up),
		vfio_test(test_open_of_a_device_that_is_gone_fails),
		vfio_test(test_open_of_a_device_without_queues_fails),
		vfio_test(test_open_of_a_device_with_queues_too_short_fails),
		vfio_test(test_open_where_the_group_cannot_be_had_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
