// SPDX-License-Identifier: MIT
/* What the VFIO transport does with a device that it could open. */
#include "driver/test_vfio.h"

#include <linux/pci_regs.h>

/* ---- running ---- */

static void test_requests_reach_the_device_by_its_addresses_and_come_back(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	assert_true(rig.pci.status & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(rig.pci.config_vector, 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(rig.pci.queues[i].vector, 1 + i);
		queue_reads(&rig, i);
	}
	rig_fini(&rig);
}

static void test_features_of_the_transport_are_taken_when_offered(void **state)
{
	struct transport_facts facts;
	struct rig rig;

	rig_init(&rig);
	rig.pci.features |= 1ull << VIRTIO_F_ORDER_PLATFORM | 1ull << VIRTIO_F_SR_IOV;
	rig_open(&rig);
	rig.transport->ops->get_facts(rig.transport, &facts);
	assert_true(rig.pci.acked ==
		    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
		     1ull << VIRTIO_F_ORDER_PLATFORM | 1ull << VIRTIO_F_RING_RESET));
	assert_true(facts.features_own == (rig.pci.acked & ~(1ull << VIRTIO_F_VERSION_1)));
	assert_int_equal(facts.queue_max, 3);
	assert_int_equal(facts.queue_size_max, 256);
	assert_int_equal(facts.mem_slots, FAKE_MAPS_MAX);
	rig_fini(&rig);
}

/* It would confirm the reset of a queue and go on with what is in flight. */
static void test_reset_of_queues_is_not_negotiated_with_qemu(void **state)
{
	const uint16_t vendor = htole16(0x1af4);
	struct transport_facts facts;
	struct rig rig;

	rig_init(&rig);
	memcpy(rig.kernel.config + PCI_SUBSYSTEM_VENDOR_ID, &vendor, sizeof(vendor));
	rig_open(&rig);
	rig.transport->ops->get_facts(rig.transport, &facts);
	assert_true(facts.features >> VIRTIO_F_RING_RESET & 1);
	assert_false(facts.features_own >> VIRTIO_F_RING_RESET & 1);
	assert_false(rig.pci.acked >> VIRTIO_F_RING_RESET & 1);
	rig_fini(&rig);
}

static void test_queue_size_is_that_of_the_shortest(void **state)
{
	struct transport_facts facts;
	struct rig rig;

	rig_init(&rig);
	rig.pci.queues[2].size_max = 100;
	rig_open(&rig);
	rig.transport->ops->get_facts(rig.transport, &facts);
	assert_int_equal(facts.queue_size_max, 64);
	rig_fini(&rig);
}

static void test_doorbell_that_cannot_be_mapped_is_rung_by_the_kick_fd(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.bars[FAKE_PCI_DOORBELLS].mapped = false;
	rig_start(&rig);
	assert_null(rig.queues[1]->doorbell.reg);
	assert_int_equal(rig.kernel.doorbell.fd, rig.queues[1]->kick_fd);
	assert_int_equal(rig.kernel.doorbell.data, 1);
	assert_int_equal(rig.kernel.doorbell.flags, VFIO_DEVICE_IOEVENTFD_16);
	assert_int_equal(ringlane_read(rig.queues[1], rig.data, BLOCK, 0, NULL), 0);
	assert_int_equal(ringlane_submit(rig.queues[1]), 1);
	assert_true(event_fd_clear(rig.queues[1]->kick_fd));
	rig_fini(&rig);
}

/* ---- the order of things ---- */

static void test_close_resets_then_takes_the_bus_then_unmaps(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	rig.kernel.trace[0] = '\0';
	rig_close(&rig);
	assert_string_equal(rig.kernel.trace, "virtio-reset master-off unmap ");
	assert_int_equal(rig.pci.status, 0);
	rig_fini(&rig);
}

static void test_start_gives_memory_and_interrupts_before_the_bus(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	assert_string_equal(rig.kernel.trace, "irq0+1 irq0+1 virtio-reset map irq0+3 master-on ");
	rig_fini(&rig);
}

static void test_reset_of_a_queue_leaves_the_others_and_it_starts_anew(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	rig.kernel.trace[0] = '\0';
	assert_int_equal(rig.transport->ops->queue_reset(rig.transport, 1, &error), 0);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(rig.pci.queues[i].enable, i != 1);
	assert_true(rig.pci.status & VIRTIO_CONFIG_S_DRIVER_OK);
	queue_reads(&rig, 0);
	assert_int_equal(queue_start(&rig, 1, &error), 0);
	assert_int_equal(rig.pci.queues[1].enable, 1);
	assert_int_equal(rig.pci.queues[1].vector, 2);
	queue_reads(&rig, 1);
	assert_string_equal(rig.kernel.trace, "");
	assert_int_equal(rig.transport->ops->queue_reset(rig.transport, QUEUES, &error), -ENOTSUP);
	rig_fini(&rig);
}

static void test_stop_of_a_queue_resets_the_device_once(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(rig.transport->ops->queue_stop(rig.transport, i, &error), 0);
	assert_int_equal(rig.pci.resets, 2); /* at the beginning, and now */
	assert_int_equal(rig.pci.status, 0);
	rig_fini(&rig);
}

static void test_start_after_a_stop_negotiates_again(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	for (unsigned i = 0; i < QUEUES; i++)
		rig.transport->ops->queue_stop(rig.transport, i, &error);
	if (queues_start(&rig, &error) < 0)
		fail_msg("start: %s", error.text);
	assert_true(rig.pci.acked >> VIRTIO_F_ACCESS_PLATFORM & 1);
	queue_reads(&rig, 1);
	rig_fini(&rig);
}

static void test_reset_leaves_memory_and_features_and_nothing_else(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	queue_reads(&rig, 0);
	assert_int_equal(rig.transport->ops->reset(rig.transport, QUEUES, &error), 0);
	assert_int_equal(rig.pci.resets, 2);
	assert_true(rig.pci.acked >> VIRTIO_F_ACCESS_PLATFORM & 1);
	assert_false(rig.pci.status & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(rig.kernel.map_count, 1);
	if (queues_start(&rig, &error) < 0)
		fail_msg("start: %s", error.text);
	queue_reads(&rig, 1);
	rig_fini(&rig);
}

static void test_device_that_does_not_reset_is_reset_by_the_kernel(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	assert_int_equal(rig_open_with(&rig, TIMEOUT_SHORT_MS, &error), 0);
	assert_int_equal(rig.transport->ops->set_features(rig.transport, rig.pci.features, &error),
			 0);
	queues_make(&rig);
	assert_int_equal(queues_start(&rig, &error), 0);
	rig.pci.trick = FAKE_PCI_NEVER_RESETS;
	assert_int_equal(rig.transport->ops->queue_stop(rig.transport, 0, &error), 0);
	assert_int_equal(rig.kernel.resets, 1);
	rig.pci.broken = NULL;
	rig_fini(&rig);
}

static void test_device_that_nobody_can_reset_is_not_said_to_be_stopped(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig.kernel.can_reset = false;
	assert_int_equal(rig_open_with(&rig, TIMEOUT_SHORT_MS, &error), 0);
	assert_int_equal(rig.transport->ops->set_features(rig.transport, rig.pci.features, &error),
			 0);
	queues_make(&rig);
	assert_int_equal(queues_start(&rig, &error), 0);
	rig.pci.trick = FAKE_PCI_NEVER_RESETS;
	assert_int_equal(rig.transport->ops->queue_stop(rig.transport, 0, &error), -ETIMEDOUT);
	assert_false(fake_kernel_masters(&rig.kernel));
	rig_fini(&rig); /* which finds the bus taken and the memory unmapped */
}

/* ---- vectors ---- */

static void test_queues_share_vectors_where_the_kernel_has_fewer(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].available = 2;
	rig_start(&rig);
	assert_int_equal(rig.pci.config_vector, 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(rig.pci.queues[i].vector, 1);
		queue_reads(&rig, i);
	}
	rig_fini(&rig);
}

static void test_everything_shares_the_only_vector(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].count = 1;
	rig_start(&rig);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(rig.pci.queues[i].vector, 0);
		queue_reads(&rig, i);
	}
	assert_true(becomes_readable(rig.transport->ops->event_fd(rig.transport)));
	rig_fini(&rig);
}

static void test_queues_share_vectors_where_the_device_refuses_some(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.pci.vector_count = 2;
	rig_start(&rig);
	assert_int_equal(rig.pci.queues[0].vector, 1);
	assert_int_equal(rig.pci.queues[1].vector, 1);
	queue_reads(&rig, 1);
	rig_fini(&rig);
}

static void test_start_where_the_device_refuses_all_vectors_fails(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	queues_make(&rig);
	rig.pci.trick = FAKE_PCI_REFUSES_VECTORS;
	assert_int_equal(queues_start(&rig, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "refuses vector 0"));
	rig_fini(&rig);
}

/* ---- events ---- */

static void test_config_change_is_an_event(void **state)
{
	const struct transport_ops *ops;
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	ops = rig.transport->ops;
	assert_int_equal(ops->event(rig.transport), 0);
	fake_pci_config_change(&rig.pci);
	assert_true(fake_kernel_raise(&rig.kernel, rig.pci.config_vector));
	assert_true(is_readable(ops->event_fd(rig.transport)));
	assert_int_equal(ops->event(rig.transport), 1);
	assert_int_equal(ops->event(rig.transport), 0);
	assert_false(is_readable(ops->gone_fd(rig.transport)));
	rig_fini(&rig);
}

static void test_device_that_wants_a_reset_is_gone(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	rig.pci.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	assert_true(fake_kernel_raise(&rig.kernel, rig.pci.config_vector));
	assert_int_equal(rig.transport->ops->event(rig.transport), 0);
	assert_true(is_readable(rig.transport->ops->gone_fd(rig.transport)));
	rig_fini(&rig);
}

static void test_kernel_that_wants_the_device_back_makes_it_gone(void **state)
{
	static const unsigned indices[] = { VFIO_PCI_REQ_IRQ_INDEX, VFIO_PCI_ERR_IRQ_INDEX };

	for (unsigned i = 0; i < ARRAY_SIZE(indices); i++) {
		struct rig rig;

		rig_init(&rig);
		rig_start(&rig);
		assert_int_equal(rig.transport->gone_events, POLLIN);
		assert_false(is_readable(rig.transport->ops->gone_fd(rig.transport)));
		fake_kernel_signal(&rig.kernel, indices[i]);
		assert_true(is_readable(rig.transport->ops->gone_fd(rig.transport)));
		rig_fini(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vfio_test(test_requests_reach_the_device_by_its_addresses_and_come_back),
		vfio_test(test_features_of_the_transport_are_taken_when_offered),
		vfio_test(test_reset_of_queues_is_not_negotiated_with_qemu),
		vfio_test(test_queue_size_is_that_of_the_shortest),
		vfio_test(test_doorbell_that_cannot_be_mapped_is_rung_by_the_kick_fd),
		vfio_test(test_close_resets_then_takes_the_bus_then_unmaps),
		vfio_test(test_start_gives_memory_and_interrupts_before_the_bus),
		vfio_test(test_reset_of_a_queue_leaves_the_others_and_it_starts_anew),
		vfio_test(test_stop_of_a_queue_resets_the_device_once),
		vfio_test(test_start_after_a_stop_negotiates_again),
		vfio_test(test_reset_leaves_memory_and_features_and_nothing_else),
		vfio_test(test_device_that_does_not_reset_is_reset_by_the_kernel),
		vfio_test(test_device_that_nobody_can_reset_is_not_said_to_be_stopped),
		vfio_test(test_queues_share_vectors_where_the_kernel_has_fewer),
		vfio_test(test_everything_shares_the_only_vector),
		vfio_test(test_queues_share_vectors_where_the_device_refuses_some),
		vfio_test(test_start_where_the_device_refuses_all_vectors_fails),
		vfio_test(test_config_change_is_an_event),
		vfio_test(test_device_that_wants_a_reset_is_gone),
		vfio_test(test_kernel_that_wants_the_device_back_makes_it_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
