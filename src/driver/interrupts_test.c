// SPDX-License-Identifier: MIT
/* Interrupts of a device: from its queues' vectors to where they go. */
#include "driver/test_proc.h"

#include "driver/interrupts.h"

#define ADDRESS "0000:00:04.0"
#define QUEUES 3
#define RING_FIRST 2

/* Vector 0 is the configuration's. */
#define INTERRUPTS                                                \
	" 60: 0 0 PCI-MSI 65536-edge vfio-msix[0](" ADDRESS ")\n" \
	" 61: 0 0 PCI-MSI 65537-edge vfio-msix[1](" ADDRESS ")\n" INTERRUPT_2 INTERRUPT_3
#define INTERRUPT_2 " 62: 0 0 PCI-MSI 65538-edge vfio-msix[2](" ADDRESS ")\n"
#define INTERRUPT_3 " 63: 0 0 PCI-MSI 65539-edge vfio-msix[3](" ADDRESS ")\n"

/* What is masked; that is all that a test's transport knows. */
static bool masked[QUEUES];

static void queue_vector_own(const struct transport *transport, unsigned index,
			     struct transport_vector *ret_vector)
{
	*ret_vector = (struct transport_vector){ ADDRESS, index - RING_FIRST + 1,
						 masked[index - RING_FIRST] };
}

static void queue_vector_shared(const struct transport *transport, unsigned index,
				struct transport_vector *ret_vector)
{
	*ret_vector = (struct transport_vector){ .address = ADDRESS, .number = 1 };
}

static int queue_mask(struct transport *transport, unsigned index, struct error *error)
{
	masked[index - RING_FIRST] = true;
	return 0;
}

static bool kernel_refuses;

static int queue_unmask(struct transport *transport, unsigned index, struct error *error)
{
	if (kernel_refuses)
		return error_set(error, -ENOSPC, "no interrupt left");
	masked[index - RING_FIRST] = false;
	return 0;
}

static const struct transport_ops ops_own = { .queue_vector = queue_vector_own,
					      .queue_mask = queue_mask,
					      .queue_unmask = queue_unmask };
static const struct transport_ops ops_shared = { .queue_vector = queue_vector_shared };
static const struct transport_ops ops_none = { 0 };

struct test_device {
	struct fake_proc proc;
	struct transport transport;
	struct ringlane_device device;
	struct topology topology;
	struct affinity_spread spread;
};

static void test_device_init(struct test_device *test, const struct transport_ops *ops)
{
	*test = (struct test_device){ .transport = { .ops = ops } };
	test->device = (struct ringlane_device){ .transport = &test->transport,
						 .ring_first = RING_FIRST,
						 .info = { .queues = QUEUES } };
	proc_init(&test->proc, INTERRUPTS, 60, 63);
	test->topology = test_topology(&(struct test_machine){ .possible = "0-5" });
	assert_int_equal(affinity_spread_evenly(&test->topology,
						&(struct affinity_options){ .queues = QUEUES },
						&test->spread, NULL),
			 0);
}

static void test_device_fini(struct test_device *test)
{
	interrupts_free(&test->device);
	affinity_spread_fini(&test->spread);
	topology_fini(&test->topology);
	assert_int_equal(proc_fini(&test->proc), 0);
}

static int place(struct test_device *test, enum irq_mode mode)
{
	return interrupts_place(&test->device, &test->spread, mode, test->proc.path, NULL);
}

static void test_place_when_each_queue_has_a_vector_then_each_goes_to_its_cpus(void **state)
{
	struct ringlane_interrupt interrupt;
	struct test_device test;

	test_device_init(&test, &ops_own);
	assert_int_equal(place(&test, IRQ_MODE_MANAGED), 0);
	assert_irq(&test.proc, 60, "0-7");
	assert_irq(&test.proc, 61, "0-1");
	assert_irq(&test.proc, 62, "2-3");
	assert_irq(&test.proc, 63, "4-5");
	assert_int_equal(interrupts_get(&test.device, 1, test.proc.path, &interrupt, NULL), 0);
	assert_int_equal(interrupt.vector, 2);
	assert_int_equal(interrupt.number, 62);
	assert_string_equal(interrupt.cpus, "2-3");
	assert_int_equal(interrupts_get(&test.device, QUEUES, test.proc.path, &interrupt, NULL),
			 -ENOENT);
	test_device_fini(&test);
}

static void test_place_when_queues_share_a_vector_then_it_goes_to_the_cpus_of_all(void **state)
{
	struct test_device test;

	test_device_init(&test, &ops_shared);
	assert_int_equal(place(&test, IRQ_MODE_MANAGED), 0);
	assert_irq(&test.proc, 61, "0-5");
	assert_irq(&test.proc, 62, "0-7");
	test_device_fini(&test);
}

static void test_place_when_there_are_no_interrupts_then_it_says_so(void **state)
{
	struct ringlane_interrupt interrupt;
	struct test_device test;

	test_device_init(&test, &ops_none);
	assert_int_equal(place(&test, IRQ_MODE_MANAGED), -ENOTSUP);
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), -ENOTSUP);
	assert_int_equal(interrupts_get(&test.device, 0, test.proc.path, &interrupt, NULL),
			 -ENOTSUP);
	test_device_fini(&test);
}

static void test_verify_when_somebody_moved_one_then_as_the_mode_says(void **state)
{
	struct test_device test;

	test_device_init(&test, &ops_own);
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 0);
	assert_int_equal(place(&test, IRQ_MODE_HINT), 0);
	proc_add_irq(&test.proc, 62, "5\n");
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 1);
	assert_irq(&test.proc, 62, "5");
	assert_int_equal(place(&test, IRQ_MODE_MANAGED), 0);
	assert_irq(&test.proc, 62, "2-3");
	proc_add_irq(&test.proc, 62, "5\n");
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 1);
	assert_irq(&test.proc, 62, "2-3");
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 0);
	test_device_fini(&test);
}

static void test_verify_when_a_reset_made_new_interrupts_then_they_are_placed(void **state)
{
	struct test_device test;

	test_device_init(&test, &ops_own);
	assert_int_equal(place(&test, IRQ_MODE_HINT), 0);
	proc_add_irq(&test.proc, 80, "0-7\n");
	proc_write(&test.proc, "interrupts",
		   " 80: 0 0 PCI-MSI 65537-edge vfio-msix[1](" ADDRESS
		   ")\n" INTERRUPT_2 INTERRUPT_3);
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 1);
	assert_irq(&test.proc, 80, "0-1");
	test_device_fini(&test);
}

/* Vector 1 was freed, and is the interrupt 90 when it is back. */
static void test_unmask_when_it_is_another_interrupt_then_it_goes_where_the_queue_is(void **state)
{
	struct ringlane_interrupt interrupt;
	struct test_device test;

	test_device_init(&test, &ops_own);
	assert_int_equal(place(&test, IRQ_MODE_HINT), 0);
	assert_int_equal(interrupts_mask(&test.device, 0, NULL), 0);
	proc_write(&test.proc, "interrupts", INTERRUPT_2 INTERRUPT_3);
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 0);
	assert_int_equal(place(&test, IRQ_MODE_HINT), 0);
	assert_int_equal(interrupts_get(&test.device, 0, test.proc.path, &interrupt, NULL),
			 -ENOENT);
	proc_write(&test.proc, "interrupts",
		   INTERRUPT_2 INTERRUPT_3 " 90: 0 0 PCI-MSI 65537-edge vfio-msix[1](" ADDRESS
					   ")\n");
	proc_add_irq(&test.proc, 90, "0-7\n");
	kernel_refuses = true;
	assert_int_equal(interrupts_unmask(&test.device, 0, NULL), -ENOSPC);
	assert_irq(&test.proc, 90, "0-7");
	kernel_refuses = false;
	assert_int_equal(interrupts_unmask(&test.device, 0, NULL), 0);
	assert_irq(&test.proc, 90, "0-1");
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 0);
	test_device_fini(&test);
}

/* Nobody looked in between; that it is elsewhere when it is back is the kernel's doing, not somebody's will. */
static void test_unmask_when_the_kernel_put_it_elsewhere_then_a_hint_is_given_again(void **state)
{
	struct test_device test;

	test_device_init(&test, &ops_own);
	assert_int_equal(place(&test, IRQ_MODE_HINT), 0);
	assert_int_equal(interrupts_mask(&test.device, 0, NULL), 0);
	proc_add_irq(&test.proc, 61, "0-7\n");
	assert_int_equal(interrupts_unmask(&test.device, 0, NULL), 0);
	assert_irq(&test.proc, 61, "0-1");
	proc_add_irq(&test.proc, 61, "5\n");
	assert_int_equal(interrupts_verify(&test.device, NULL, NULL), 1);
	assert_irq(&test.proc, 61, "5");
	test_device_fini(&test);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_place_when_each_queue_has_a_vector_then_each_goes_to_its_cpus),
		cmocka_unit_test(
			test_place_when_queues_share_a_vector_then_it_goes_to_the_cpus_of_all),
		cmocka_unit_test(test_place_when_there_are_no_interrupts_then_it_says_so),
		cmocka_unit_test(test_verify_when_somebody_moved_one_then_as_the_mode_says),
		cmocka_unit_test(test_verify_when_a_reset_made_new_interrupts_then_they_are_placed),
		cmocka_unit_test(
			test_unmask_when_it_is_another_interrupt_then_it_goes_where_the_queue_is),
		cmocka_unit_test(
			test_unmask_when_the_kernel_put_it_elsewhere_then_a_hint_is_given_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
