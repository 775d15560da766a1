// SPDX-License-Identifier: MIT
/* The interrupt of one queue is given back to the kernel and had again, while the others are left alone. */
#include "driver/test_vfio.h"

#define VECTOR_OF(index) (1 + (index))

static int mask(struct rig *rig, unsigned index, struct error *error)
{
	return rig->transport->ops->queue_mask(rig->transport, index, error);
}

static int unmask(struct rig *rig, unsigned index, struct error *error)
{
	return rig->transport->ops->queue_unmask(rig->transport, index, error);
}

static bool is_off(struct rig *rig, unsigned index)
{
	struct transport_vector vector;

	rig->transport->ops->queue_vector(rig->transport, index, &vector);
	return vector.is_off;
}

/* Is the event fd of a vector set in the kernel? */
static bool is_set(const struct rig *rig, unsigned vector)
{
	return rig->kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].fds[vector] >= 0;
}

static void test_mask_when_a_queue_has_a_vector_then_it_alone_is_freed(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	rig.kernel.trace[0] = '\0';
	assert_int_equal(mask(&rig, 1, NULL), 0);
	assert_string_equal(rig.kernel.trace, "irq2+1 ");
	assert_false(fake_kernel_raise(&rig.kernel, VECTOR_OF(1)));
	assert_true(is_off(&rig, 1));
	assert_false(is_off(&rig, 0));
	queue_reads(&rig, 0);
	assert_int_equal(mask(&rig, 1, NULL), 0); /* it is */
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	assert_string_equal(rig.kernel.trace, "irq2+1 irq2+1 ");
	assert_false(is_off(&rig, 1));
	queue_reads(&rig, 1);
	queue_reads(&rig, 0);
	rig_fini(&rig);
}

/* What the device raised meanwhile told nobody; what it completed lies in the ring. */
static void test_unmask_when_a_completion_came_in_between_then_the_ring_has_it(void **state)
{
	struct ringlane_completion completion = { .result = -ETIME };
	struct ringlane_queue *queue;
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	queue = rig.queues[1];
	assert_int_equal(ringlane_read(queue, rig.data, BLOCK, 0, NULL), 0);
	assert_int_equal(ringlane_queue_arm(queue), 0);
	assert_int_equal(ringlane_submit(queue), 1);
	assert_int_equal(mask(&rig, 1, NULL), 0);
	device_run(&rig, 1);
	assert_false(fake_kernel_raise(&rig.kernel, VECTOR_OF(1)));
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	assert_false(is_readable(ringlane_queue_fd(queue)));
	assert_int_equal(ringlane_reap(queue, &completion, 1), 1);
	assert_int_equal(completion.result, 0);
	rig_fini(&rig);
}

static void test_mask_when_queues_share_a_vector_then_the_last_one_frees_it(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].available = 2;
	rig_start(&rig);
	rig.kernel.trace[0] = '\0';
	assert_int_equal(mask(&rig, 0, NULL), 0);
	assert_string_equal(rig.kernel.trace, "");
	assert_false(is_off(&rig, 0));
	queue_reads(&rig, 1);
	assert_int_equal(mask(&rig, 1, NULL), 0);
	assert_string_equal(rig.kernel.trace, "irq1+1 ");
	assert_true(is_off(&rig, 0) && is_off(&rig, 1));
	assert_int_equal(unmask(&rig, 0, NULL), 0);
	assert_string_equal(rig.kernel.trace, "irq1+1 irq1+1 ");
	queue_reads(&rig, 0);
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	assert_string_equal(rig.kernel.trace, "irq1+1 irq1+1 ");
	queue_reads(&rig, 1);
	rig_fini(&rig);
}

static void test_mask_when_the_vector_is_the_configurations_too_then_it_stays(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.kernel.irqs[VFIO_PCI_MSIX_IRQ_INDEX].count = 1;
	rig_start(&rig);
	rig.kernel.trace[0] = '\0';
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(mask(&rig, i, NULL), 0);
	assert_string_equal(rig.kernel.trace, "");
	assert_false(is_off(&rig, 0));
	assert_true(fake_kernel_raise(&rig.kernel, 0));
	assert_true(becomes_readable(rig.transport->ops->event_fd(rig.transport)));
	rig_fini(&rig);
}

static void test_reset_when_a_queue_is_masked_then_it_is_so_afterwards(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	assert_int_equal(mask(&rig, 1, NULL), 0);
	assert_int_equal(rig.transport->ops->reset(rig.transport, QUEUES, &error), 0);
	if (queues_start(&rig, &error) < 0)
		fail_msg("start: %s", error.text);
	assert_true(is_set(&rig, 0) && is_set(&rig, VECTOR_OF(0)));
	assert_false(is_set(&rig, VECTOR_OF(1)));
	queue_reads(&rig, 0);
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	queue_reads(&rig, 1);
	rig_fini(&rig);
}

static void test_mask_when_the_device_does_not_run_then_start_does_it(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	queues_make(&rig);
	assert_int_equal(mask(&rig, 0, NULL), 0);
	assert_int_equal(mask(&rig, 1, NULL), 0);
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	if (queues_start(&rig, &error) < 0)
		fail_msg("start: %s", error.text);
	assert_false(is_set(&rig, VECTOR_OF(0)));
	queue_reads(&rig, 1);
	assert_int_equal(unmask(&rig, 0, NULL), 0);
	queue_reads(&rig, 0);
	rig_fini(&rig);
}

static void test_mask_when_the_kernel_refuses_then_it_is_as_before(void **state)
{
	struct error error = { 0 };
	struct rig rig;

	rig_init(&rig);
	rig_start(&rig);
	rig.kernel.refused = VFIO_DEVICE_SET_IRQS;
	rig.kernel.refused_errno = ENOSPC;
	assert_int_equal(mask(&rig, 1, NULL), -ENOSPC);
	assert_false(is_off(&rig, 1));
	queue_reads(&rig, 1);
	rig.kernel.refused = 0;
	assert_int_equal(mask(&rig, 1, NULL), 0);
	rig.kernel.refused = VFIO_DEVICE_SET_IRQS;
	assert_int_equal(unmask(&rig, 1, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "vector 2: No space left"));
	assert_true(is_off(&rig, 1));
	rig.kernel.refused = 0;
	assert_int_equal(unmask(&rig, 1, NULL), 0);
	queue_reads(&rig, 1);
	assert_int_equal(mask(&rig, rig.pci.queue_count, NULL), -ENOENT);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vfio_test(test_mask_when_a_queue_has_a_vector_then_it_alone_is_freed),
		vfio_test(test_unmask_when_a_completion_came_in_between_then_the_ring_has_it),
		vfio_test(test_mask_when_queues_share_a_vector_then_the_last_one_frees_it),
		vfio_test(test_mask_when_the_vector_is_the_configurations_too_then_it_stays),
		vfio_test(test_reset_when_a_queue_is_masked_then_it_is_so_afterwards),
		vfio_test(test_mask_when_the_device_does_not_run_then_start_does_it),
		vfio_test(test_mask_when_the_kernel_refuses_then_it_is_as_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
