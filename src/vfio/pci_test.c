// SPDX-License-Identifier: MIT
/* A function's registers, command register and interrupts, against a kernel in memory. */
#include "vfio/test_fds.h"

#include "base/fd.h"
#include "vfio/container.h"
#include "vfio/fake_kernel.h"
#include "vfio/irq.h"
#include "vfio/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

struct rig {
	struct fake_kernel fake;
	struct vfio_container container;
	struct vfio_pci pci;
	uint64_t offset; /* of the last access to a BAR that is not mapped */
	unsigned width;
	uint32_t value;
};

static uint32_t on_read(void *owner, uint64_t offset, unsigned width)
{
	struct rig *rig = owner;

	rig->offset = offset;
	rig->width = width;
	return rig->value;
}

static void on_write(void *owner, uint64_t offset, unsigned width, uint32_t value)
{
	struct rig *rig = owner;

	rig->offset = offset;
	rig->width = width;
	rig->value = value;
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){ 0 };
	fake_kernel_init(&rig->fake);
	rig->fake.owner = rig;
	rig->fake.bars[2] = (struct fake_bar){
		.size = 256, .memory_fd = -1, .read = on_read, .write = on_write
	};
	fake_kernel_bar_memory(&rig->fake, 4, 4096);
}

static void rig_open(struct rig *rig)
{
	struct error error = { 0 };
	int ret = vfio_container_open(&rig->fake.base, FAKE_ADDRESS, &rig->container, &error);

	if (ret == 0)
		ret = vfio_pci_open(&rig->container, FAKE_ADDRESS, &rig->pci, &error);
	if (ret < 0)
		fail_msg("open: %s", error.text);
}

static void rig_fini(struct rig *rig)
{
	vfio_pci_close(&rig->pci);
	vfio_container_close(&rig->container);
	fake_kernel_fini(&rig->fake);
}

/* ---- registers ---- */

static void test_registers_of_a_mapped_bar_are_its_memory(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	vfio_pci_bar_write(&rig.pci, 4, 8, 4, 0x12345678);
	vfio_pci_bar_write(&rig.pci, 4, 12, 2, 0xabcd);
	vfio_pci_bar_write(&rig.pci, 4, 14, 1, 0xef);
	assert_memory_equal(rig.fake.bars[4].memory + 8, "\x78\x56\x34\x12\xcd\xab\xef", 7);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 4, 8, 4), 0x12345678);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 4, 8, 2), 0x5678);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 4, 14, 1), 0xef);
	assert_ptr_equal(vfio_pci_bar_pointer(&rig.pci, 4, 4094, 2), rig.pci.bars[4].map + 4094);
	assert_null(vfio_pci_bar_pointer(&rig.pci, 4, 4095, 2));
	rig_fini(&rig);
}

static void test_registers_of_a_bar_that_is_not_mapped_are_accessed_by_their_width(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_null(vfio_pci_bar_pointer(&rig.pci, 2, 0, 4));
	vfio_pci_bar_write(&rig.pci, 2, 20, 2, 0x1234);
	assert_int_equal(rig.offset, 20);
	assert_int_equal(rig.width, 2);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 2, 21, 1), 0x34);
	assert_int_equal(rig.width, 1);
	rig_fini(&rig);
}

static void test_registers_of_a_function_that_has_gone_read_as_ones(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	rig.fake.device_fd = -1; /* the fake answers no more */
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 2, 0, 1), 0xff);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 2, 0, 2), 0xffff);
	assert_int_equal(vfio_pci_bar_read(&rig.pci, 2, 0, 4), 0xffffffff);
	rig_fini(&rig);
}

static void test_config_space_ends_where_the_kernel_says(void **state)
{
	struct rig rig;
	uint32_t value;

	rig_init(&rig);
	rig_open(&rig);
	memcpy(rig.fake.config + 252, "\x01\x02\x03\x04", 4);
	assert_int_equal(vfio_pci_config_read(&rig.pci, 252, 4, &value), 0);
	assert_int_equal(value, 0x04030201);
	assert_int_equal(vfio_pci_config_read(&rig.pci, 255, 1, &value), 0);
	assert_int_equal(value, 4);
	assert_int_equal(vfio_pci_config_read(&rig.pci, 255, 2, &value), -EINVAL);
	assert_int_equal(vfio_pci_config_write(&rig.pci, UINT32_MAX, 4, 0), -EINVAL);
	rig_fini(&rig);
}

static void test_doorbell_that_is_not_mapped_is_rung_by_an_event(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(vfio_pci_bar_write_on_event(&rig.pci, 2, 0x40, 2, 3, 77, NULL), 0);
	assert_int_equal(rig.fake.doorbell.flags, VFIO_DEVICE_IOEVENTFD_16);
	assert_int_equal(rig.fake.doorbell.data, 3);
	assert_int_equal(rig.fake.doorbell.fd, 77);
	assert_int_equal(rig.fake.doorbell.offset, rig.pci.bars[2].offset + 0x40);
	rig_fini(&rig);
}

/* ---- bus mastering and reset ---- */

static void test_close_takes_the_bus_before_it_lets_go(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_false(fake_kernel_masters(&rig.fake));
	assert_true(rig.fake.config[PCI_COMMAND] & PCI_COMMAND_MEMORY);
	assert_int_equal(vfio_pci_bus_master_enable(&rig.pci, &error), 0);
	assert_true(fake_kernel_masters(&rig.fake));
	rig_fini(&rig);
	assert_string_equal(rig.fake.trace, "master-on master-off ");
}

static void test_open_of_a_function_that_is_bus_master_takes_that_away(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.fake.config[PCI_COMMAND] = PCI_COMMAND_MASTER;
	rig_open(&rig);
	assert_false(fake_kernel_masters(&rig.fake));
	rig_fini(&rig);
}

static void test_reset_leaves_memory_on_and_the_bus_off(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(vfio_pci_reset(&rig.pci, &error), 0);
	assert_int_equal(rig.fake.resets, 1);
	assert_int_equal(rig.fake.config[PCI_COMMAND], PCI_COMMAND_MEMORY);
	rig_fini(&rig);
}

static void test_reset_of_a_function_without_one_is_not_tried(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig.fake.can_reset = false;
	rig_open(&rig);
	assert_int_equal(vfio_pci_reset(&rig.pci, &error), -ENOTSUP);
	rig_fini(&rig);
}

static void test_open_that_is_refused_on_the_way_leaves_nothing_open(void **state)
{
	static const unsigned long requests[] = { VFIO_GROUP_GET_DEVICE_FD, VFIO_DEVICE_GET_INFO,
						  VFIO_DEVICE_GET_REGION_INFO };
	struct rig rig;

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		struct error error = { 0 };

		rig_init(&rig);
		assert_int_equal(vfio_container_open(&rig.fake.base, FAKE_ADDRESS, &rig.container,
						     &error),
				 0);
		rig.fake.refused = requests[i];
		rig.fake.refused_errno = EIO;
		assert_int_equal(vfio_pci_open(&rig.container, FAKE_ADDRESS, &rig.pci, &error),
				 -EIO);
		assert_non_null(strstr(error.text, FAKE_ADDRESS));
		vfio_container_close(&rig.container);
		fake_kernel_fini(&rig.fake);
	}
}

/* ---- interrupts ---- */

static void irq_open(struct rig *rig, struct vfio_irq *irq)
{
	struct error error = { 0 };

	rig_open(rig);
	assert_int_equal(vfio_irq_init(&rig->pci, VFIO_PCI_MSIX_IRQ_INDEX, irq, &error), 0);
	assert_int_equal(vfio_pci_bus_master_enable(&rig->pci, &error), 0);
}

static void test_vectors_signal_the_event_fds_that_were_set(void **state)
{
	int fds[] = { event_fd_new(), event_fd_new(), -1 };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	irq_open(&rig, &irq);
	assert_int_equal(irq.max, 5);
	assert_true(irq.noresize);
	assert_int_equal(vfio_irq_enable(&irq, fds, 3, NULL), 0);
	assert_true(fake_kernel_raise(&rig.fake, 1));
	assert_false(event_fd_clear(fds[0]));
	assert_true(event_fd_clear(fds[1]));
	assert_false(fake_kernel_raise(&rig.fake, 2));
	assert_int_equal(vfio_irq_set(&irq, 2, fds[0], NULL), 0);
	assert_true(fake_kernel_raise(&rig.fake, 2));
	assert_true(event_fd_clear(fds[0]));
	rig_fini(&rig);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void test_vector_taken_away_alone_leaves_the_others(void **state)
{
	int fds[] = { event_fd_new(), event_fd_new() };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	irq_open(&rig, &irq);
	assert_int_equal(vfio_irq_enable(&irq, fds, 2, NULL), 0);
	assert_int_equal(vfio_irq_set(&irq, 0, -1, NULL), 0);
	assert_false(fake_kernel_raise(&rig.fake, 0));
	assert_true(fake_kernel_raise(&rig.fake, 1));
	assert_int_equal(vfio_irq_set(&irq, 2, fds[0], NULL), -EINVAL);
	rig_fini(&rig);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void test_vectors_fewer_than_asked_for_are_told_by_their_number(void **state)
{
	int fds[] = { event_fd_new(), -1, -1, -1, -1, -1 };
	struct error error = { 0 };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	rig.fake.irqs[VFIO_PCI_MSIX_IRQ_INDEX].available = 2;
	irq_open(&rig, &irq);
	assert_int_equal(vfio_irq_enable(&irq, fds, 5, &error), 2);
	assert_int_equal(irq.enabled, 0);
	assert_int_equal(vfio_irq_enable(&irq, fds, 2, &error), 0);
	assert_int_equal(vfio_irq_enable(&irq, fds, 6, &error), -EINVAL);
	rig_fini(&rig);
	fd_close(&fds[0]);
}

static void test_vectors_enabled_again_in_another_number_are_disabled_first(void **state)
{
	int fds[] = { event_fd_new(), -1, -1, -1, -1 };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	irq_open(&rig, &irq);
	assert_int_equal(vfio_irq_enable(&irq, fds, 1, NULL), 0);
	assert_int_equal(vfio_irq_enable(&irq, fds, 5, NULL), 0);
	assert_int_equal(rig.fake.irqs[VFIO_PCI_MSIX_IRQ_INDEX].enabled, 5);
	assert_int_equal(vfio_irq_disable(&irq, NULL), 0);
	assert_int_equal(rig.fake.irqs[VFIO_PCI_MSIX_IRQ_INDEX].enabled, 0);
	rig_fini(&rig);
	fd_close(&fds[0]);
}

static void test_trigger_signals_as_if_the_device_had(void **state)
{
	int fds[] = { event_fd_new() };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	irq_open(&rig, &irq);
	assert_int_equal(vfio_irq_enable(&irq, fds, 1, NULL), 0);
	assert_int_equal(vfio_irq_trigger(&irq, 0, NULL), 0);
	assert_true(event_fd_clear(fds[0]));
	assert_int_equal(vfio_irq_trigger(&irq, 1, NULL), -EINVAL);
	rig_fini(&rig);
	fd_close(&fds[0]);
}

static void test_interrupts_that_the_function_lacks_are_not_supported(void **state)
{
	struct error error = { 0 };
	struct vfio_irq irq;
	struct rig rig;

	rig_init(&rig);
	rig.fake.irqs[VFIO_PCI_MSIX_IRQ_INDEX].count = 0;
	rig_open(&rig);
	assert_int_equal(vfio_irq_init(&rig.pci, VFIO_PCI_MSIX_IRQ_INDEX, &irq, &error), -ENOTSUP);
	assert_int_equal(vfio_irq_init(&rig.pci, 99, &irq, &error), -ENOTSUP);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vfio_test(test_registers_of_a_mapped_bar_are_its_memory),
		vfio_test(test_registers_of_a_bar_that_is_not_mapped_are_accessed_by_their_width),
		vfio_test(test_registers_of_a_function_that_has_gone_read_as_ones),
		vfio_test(test_config_space_ends_where_the_kernel_says),
		vfio_test(test_doorbell_that_is_not_mapped_is_rung_by_an_event),
		vfio_test(test_close_takes_the_bus_before_it_lets_go),
		vfio_test(test_open_of_a_function_that_is_bus_master_takes_that_away),
		vfio_test(test_reset_leaves_memory_on_and_the_bus_off),
		vfio_test(test_reset_of_a_function_without_one_is_not_tried),
		vfio_test(test_open_that_is_refused_on_the_way_leaves_nothing_open),
		vfio_test(test_vectors_signal_the_event_fds_that_were_set),
		vfio_test(test_vector_taken_away_alone_leaves_the_others),
		vfio_test(test_vectors_fewer_than_asked_for_are_told_by_their_number),
		vfio_test(test_vectors_enabled_again_in_another_number_are_disabled_first),
		vfio_test(test_trigger_signals_as_if_the_device_had),
		vfio_test(test_interrupts_that_the_function_lacks_are_not_supported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
