// SPDX-License-Identifier: MIT
/* Interrupts of a VFIO device, in a folder that looks like /proc. */
#include "driver/test_proc.h"

#define ADDRESS "0000:00:04.0"

/* As Linux 6.1 and 6.6 write it: counters by CPU, chip, trigger, actions; other devices have like names. */
#define INTERRUPTS                                                                                        \
	"            CPU0       CPU1       \n"                                                            \
	"   0:         42          0   IO-APIC   2-edge      timer\n"                                     \
	"  39:          0          0   PCI-MSI 65536-edge      vfio-msix[0](0000:00:04.00)\n"             \
	"  40:          0          0   PCI-MSI 65536-edge      vfio-msix[0](0000:00:04.0)\n"              \
	"  41:          1         17   PCI-MSI 65537-edge      vfio-msix[1](0000:00:04.0)\n"              \
	"  42:          1         17   PCI-MSIX-0000:00:04.0  10-edge      vfio-msix[10](0000:00:04.0)\n" \
	" 143:          0          0   PCI-MSI 81920-edge      vfio-msix[0](0000:01:00.1)\n"              \
	" 144:          0          0   PCI-MSI 81920-edge      other, vfio-msix[2](0000:00:04.0)\n"       \
	" 145:          0          0   PCI-MSI 81920-edge      xvfio-msix[3](0000:00:04.0)\n"             \
	" NMI:          0          0   vfio-msix[4](0000:00:04.0)\n"                                      \
	" ERR:          0"

static int setup(void **state)
{
	static struct fake_proc proc;

	proc_init(&proc, INTERRUPTS, 39, 42);
	*state = &proc;
	return 0;
}

static int teardown(void **state)
{
	return proc_fini(*state);
}

/* Vectors 0 and 1, wanted on CPUs 0-1 and 2-3. */
static struct irq_affinity two_vectors(const struct fake_proc *proc, enum irq_mode mode)
{
	hwloc_bitmap_t masks[] = { test_mask("0-1"), test_mask("2-3") };
	static const unsigned vectors[] = { 0, 1 };
	struct irq_affinity irqs;

	assert_int_equal(irq_affinity_init(&irqs,
					   &(struct irq_affinity_options){
						   .proc = proc->path,
						   .address = ADDRESS,
						   .mode = mode,
						   .count = 2,
						   .vectors = vectors,
						   .masks = (const hwloc_const_bitmap_t *)masks },
					   NULL),
			 0);
	hwloc_bitmap_free(masks[0]);
	hwloc_bitmap_free(masks[1]);
	return irqs;
}

static int verify(struct irq_affinity *irqs, const char *online)
{
	hwloc_bitmap_t mask = test_mask(online);
	int ret = irq_affinity_verify(irqs, mask, NULL);

	hwloc_bitmap_free(mask);
	return ret;
}

/* ---- one interrupt ---- */

static void test_find_when_names_are_alike_then_only_the_exact_one(void **state)
{
	const struct fake_proc *proc = *state;
	struct error error = { 0 };

	assert_int_equal(irq_find(proc->path, ADDRESS, 0, NULL), 40);
	assert_int_equal(irq_find(proc->path, ADDRESS, 1, NULL), 41);
	assert_int_equal(irq_find(proc->path, ADDRESS, 10, NULL), 42);
	assert_int_equal(irq_find(proc->path, ADDRESS, 2, NULL), 144);
	assert_int_equal(irq_find(proc->path, "0000:01:00.1", 0, NULL), 143);
	assert_int_equal(irq_find(proc->path, ADDRESS, 4, NULL), -ENOENT);
	assert_int_equal(irq_find(proc->path, ADDRESS, 3, &error), -ENOENT);
	assert_non_null(
		strstr(error.text, "has no vfio-msix[3](" ADDRESS "): the vector is not set up"));
}

static void test_find_when_the_file_is_long_then_all_of_it_is_read(void **state)
{
	const struct fake_proc *proc = *state;
	size_t size = 400000, used = 0;
	char *text = malloc(size);

	assert_non_null(text);
	for (unsigned i = 100; used < size - 300; i++)
		used += (size_t)snprintf(text + used, size - used, "%4u: %100s some[%u]\n", i, "0",
					 i);
	snprintf(text + used, size - used, "9999: 0 0 PCI-MSI 1-edge vfio-msix[0](" ADDRESS ")\n");
	proc_write(proc, "interrupts", text);
	assert_int_equal(irq_find(proc->path, ADDRESS, 0, NULL), 9999);
	free(text);
}

static void test_find_when_there_is_no_file_then_it_is_named(void **state)
{
	struct error error = { 0 };

	assert_int_equal(irq_find("/nowhere", ADDRESS, 0, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nowhere/interrupts: No such file"));
}

static void test_read_when_odd_then_it_says_so(void **state)
{
	const struct fake_proc *proc = *state;
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	struct error error = { 0 };

	proc_add_irq(proc, 50, "\n");
	assert_irq(proc, 50, "");
	proc_add_irq(proc, 50, "what");
	assert_int_equal(irq_affinity_read(proc->path, 50, cpus, &error), -EINVAL);
	assert_non_null(strstr(error.text, "'what' is no CPU list"));
	assert_int_equal(irq_affinity_read(proc->path, 51, cpus, &error), -ENOENT);
	assert_string_equal(error.text, "interrupt 51 has gone");
	hwloc_bitmap_free(cpus);
}

static void test_write_when_refused_then_the_sentence_says_why(void **state)
{
	const struct fake_proc *proc = *state;
	hwloc_bitmap_t cpus = test_mask("1-2");
	struct error error = { 0 };
	char path[256];

	assert_int_equal(irq_affinity_write(proc->path, 40, cpus, NULL), 0);
	assert_int_equal(irq_affinity_write(proc->path, 99, cpus, &error), -ENOENT);
	assert_string_equal(error.text, "interrupt 99 has gone");
	/* A device that takes no byte stands for a CPU without vectors. */
	proc_remove_irq(proc, 41);
	snprintf(path, sizeof(path), "%s/irq/41/smp_affinity_list", proc->path);
	assert_int_equal(symlink("/dev/full", path), 0);
	assert_int_equal(irq_affinity_write(proc->path, 41, cpus, &error), -ENOSPC);
	assert_string_equal(error.text, "interrupt 41: the CPUs 1-2 have no vector left");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(irq_affinity_write(proc->path, 41, cpus, &error), -EISDIR);
	assert_non_null(strstr(error.text, "interrupt 41 to CPUs 1-2: Is a directory"));
	assert_int_equal(rmdir(path), 0);
	hwloc_bitmap_free(cpus);
}

static void test_write_when_an_error_is_known_then_it_is_explained(void **state)
{
	static const struct {
		int code, result;
		const char *sentence;
	} cases[] = {
		{ -EIO, -EPERM, "interrupt 7: the kernel lets nobody else say where it goes" },
		{ -EPERM, -EPERM, "interrupt 7: the kernel lets nobody else say where it goes" },
		{ -EACCES, -EACCES, "interrupt 7: only root may say where it goes" },
		{ -EROFS, -EACCES, "interrupt 7: only root may say where it goes" },
		{ -EINVAL, -EINVAL, "interrupt 7: none of the CPUs 4-5 is online" },
		{ -ENOENT, -ENOENT, "interrupt 7 has gone" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error = { 0 };

		assert_int_equal(irq_write_explain(cases[i].code, 7, "4-5", &error),
				 cases[i].result);
		assert_string_equal(error.text, cases[i].sentence);
	}
}

/* ---- a device ---- */

static void test_apply_when_vectors_are_there_then_they_go_where_wanted(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_MANAGED);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	assert_irq(*state, 40, "0-1");
	assert_irq(*state, 41, "2-3");
	assert_irq(*state, 39, "0-7");
	assert_int_equal(verify(&irqs, "0-7"), 0);
	irq_affinity_fini(&irqs);
}

static void test_apply_when_a_vector_is_missing_then_the_others_are_set(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_MANAGED);
	struct error error = { 0 };

	proc_write(*state, "interrupts", " 41: 0 0 PCI-MSI 1-edge vfio-msix[1](" ADDRESS ")\n");
	assert_int_equal(irq_affinity_apply(&irqs, &error), -ENOENT);
	assert_non_null(strstr(error.text, "vfio-msix[0]"));
	assert_int_equal(irqs.vectors[0].state, IRQ_UNKNOWN);
	assert_irq(*state, 41, "2-3");
	irq_affinity_fini(&irqs);
}

static void test_apply_when_vectors_are_set_up_anew_then_the_new_ones_are_found(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_HINT);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	proc_add_irq(*state, 40, "5\n");
	assert_int_equal(verify(&irqs, "0-7"), 1);
	assert_int_equal(irqs.vectors[0].state, IRQ_FOREIGN);
	proc_add_irq(*state, 70, "0-7\n");
	proc_write(*state, "interrupts",
		   " 70: 0 0 PCI-MSI 1-edge vfio-msix[0](" ADDRESS ")\n"
		   " 41: 0 0 PCI-MSI 1-edge vfio-msix[1](" ADDRESS ")\n");
	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	assert_irq(*state, 70, "0-1");
	assert_irq(*state, 40, "5");
	irq_affinity_fini(&irqs);
}

static void test_verify_when_managed_then_ours_is_put_back(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_MANAGED);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	proc_add_irq(*state, 40, "6\n");
	assert_int_equal(verify(&irqs, "0-7"), 1);
	assert_irq(*state, 40, "0-1");
	assert_int_equal(irqs.vectors[0].state, IRQ_OURS);
	irq_affinity_fini(&irqs);
}

static void test_verify_when_hint_then_the_administrator_is_right_for_ever(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_HINT);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	assert_irq(*state, 40, "0-1");
	proc_add_irq(*state, 40, "6\n");
	assert_int_equal(verify(&irqs, "0-7"), 1);
	assert_int_equal(irqs.vectors[0].state, IRQ_FOREIGN);
	proc_add_irq(*state, 40, "7\n");
	assert_int_equal(verify(&irqs, "0-7"), 1);
	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	assert_int_equal(verify(&irqs, "2-7"), 1);
	assert_irq(*state, 40, "7");
	assert_irq(*state, 41, "2-3");
	proc_add_irq(*state, 40, "0,1\n");
	assert_int_equal(verify(&irqs, "0-7"), 0);
	assert_int_equal(irqs.vectors[0].state, IRQ_OURS);
	irq_affinity_fini(&irqs);
}

static void test_verify_when_the_kernel_moved_it_then_it_comes_back_with_its_cpu(void **state)
{
	static const enum irq_mode modes[] = { IRQ_MODE_MANAGED, IRQ_MODE_HINT };

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		struct irq_affinity irqs = two_vectors(*state, modes[i]);

		assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
		proc_add_irq(*state, 41, "0-1,4-7\n");
		assert_int_equal(verify(&irqs, "0-1,4-7"), 1);
		assert_int_equal(irqs.vectors[1].state, IRQ_DISPLACED);
		assert_irq(*state, 41, "0-1,4-7");
		assert_int_equal(verify(&irqs, "0-1,3-7"), 1);
		assert_int_equal(irqs.vectors[1].state, IRQ_OURS);
		assert_irq(*state, 41, "2-3");
		irq_affinity_fini(&irqs);
	}
}

static void test_verify_when_hint_and_changed_while_displaced_then_it_is_left(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_HINT);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	proc_add_irq(*state, 41, "0-1\n");
	assert_int_equal(verify(&irqs, "0-1"), 1);
	proc_add_irq(*state, 41, "1\n");
	assert_int_equal(verify(&irqs, "0-3"), 1);
	assert_int_equal(irqs.vectors[1].state, IRQ_FOREIGN);
	assert_irq(*state, 41, "1");
	irq_affinity_fini(&irqs);
}

/* It is in no file, and where it is afterwards nobody but the kernel has said. */
static void test_verify_when_a_vector_was_off_then_it_is_placed_when_it_is_back(void **state)
{
	static const enum irq_mode modes[] = { IRQ_MODE_MANAGED, IRQ_MODE_HINT };

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		struct irq_affinity irqs = two_vectors(*state, modes[i]);

		proc_write(*state, "interrupts", INTERRUPTS);
		assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
		irq_affinity_set_off(&irqs, 1, true);
		proc_write(*state, "interrupts",
			   " 40: 0 0 PCI-MSI 1-edge vfio-msix[0](" ADDRESS ")\n");
		proc_add_irq(*state, 41, "0-7\n");
		assert_int_equal(verify(&irqs, "0-7"), 0);
		assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
		assert_irq(*state, 41, "0-7");
		irq_affinity_set_off(&irqs, 1, false);
		proc_write(*state, "interrupts", INTERRUPTS);
		assert_int_equal(verify(&irqs, "0-7"), 1);
		assert_irq(*state, 41, "2-3");
		irq_affinity_fini(&irqs);
	}
}

static void test_verify_when_hint_and_foreign_before_it_was_off_then_it_is_left(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_HINT);

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	proc_add_irq(*state, 41, "6\n");
	assert_int_equal(verify(&irqs, "0-7"), 1);
	irq_affinity_set_off(&irqs, 1, true);
	assert_int_equal(verify(&irqs, "0-7"), 0);
	irq_affinity_set_off(&irqs, 1, false);
	assert_int_equal(verify(&irqs, "0-7"), 1);
	assert_irq(*state, 41, "6");
	irq_affinity_fini(&irqs);
}

/* A file that refuses as the kernel does cannot be had here; the caller's list of CPUs says the same. */
static void test_verify_when_its_cpus_were_never_there_then_it_waits_for_one(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_HINT);

	assert_int_equal(verify(&irqs, "0-1"), 2);
	assert_irq(*state, 40, "0-1");
	assert_irq(*state, 41, "0-7");
	assert_int_equal(irqs.vectors[1].state, IRQ_DISPLACED);
	assert_int_equal(verify(&irqs, "0-2"), 1);
	assert_irq(*state, 41, "2-3");
	assert_int_equal(verify(&irqs, "0-2"), 0);
	irq_affinity_fini(&irqs);
}

static void test_verify_when_an_interrupt_is_gone_then_it_says_so(void **state)
{
	struct irq_affinity irqs = two_vectors(*state, IRQ_MODE_MANAGED);
	struct error error = { 0 };

	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	proc_remove_irq(*state, 40);
	proc_add_irq(*state, 41, "0\n");
	assert_int_equal(irq_affinity_verify(&irqs, NULL, &error), -ENOENT);
	assert_string_equal(error.text, "interrupt 40 has gone");
	assert_int_equal(irqs.vectors[0].state, IRQ_UNKNOWN);
	assert_irq(*state, 41, "2-3");
	irq_affinity_fini(&irqs);
}

static void test_apply_when_refused_then_it_is_tried_again(void **state)
{
	const struct fake_proc *proc = *state;
	struct irq_affinity irqs = two_vectors(proc, IRQ_MODE_HINT);
	char path[256];

	/* Reads as an empty list, takes nothing. */
	proc_remove_irq(proc, 40);
	snprintf(path, sizeof(path), "%s/irq/40/smp_affinity_list", proc->path);
	assert_int_equal(symlink("/proc/self/environ", path), 0);
	assert_true(irq_affinity_apply(&irqs, NULL) < 0);
	assert_irq(proc, 41, "2-3");
	assert_int_equal(unlink(path), 0);
	proc_add_irq(proc, 40, "0-7\n");
	assert_int_equal(irq_affinity_apply(&irqs, NULL), 0);
	assert_irq(proc, 40, "0-1");
	irq_affinity_fini(&irqs);
}

static void test_init_when_a_mask_is_empty_then_it_is_refused(void **state)
{
	hwloc_bitmap_t mask = hwloc_bitmap_alloc();
	struct irq_affinity irqs;
	struct error error = { 0 };
	static const unsigned vectors[] = { 5 };

	assert_int_equal(irq_affinity_init(&irqs,
					   &(struct irq_affinity_options){
						   .address = ADDRESS,
						   .count = 1,
						   .vectors = vectors,
						   .masks = (const hwloc_const_bitmap_t *)&mask },
					   &error),
			 -EINVAL);
	assert_string_equal(error.text, "vector 5 is given no CPU");
	hwloc_bitmap_free(mask);
}

#define IRQ_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IRQ_TEST(test_find_when_names_are_alike_then_only_the_exact_one),
		IRQ_TEST(test_find_when_the_file_is_long_then_all_of_it_is_read),
		IRQ_TEST(test_find_when_there_is_no_file_then_it_is_named),
		IRQ_TEST(test_read_when_odd_then_it_says_so),
		IRQ_TEST(test_write_when_refused_then_the_sentence_says_why),
		IRQ_TEST(test_write_when_an_error_is_known_then_it_is_explained),
		IRQ_TEST(test_apply_when_vectors_are_there_then_they_go_where_wanted),
		IRQ_TEST(test_apply_when_a_vector_is_missing_then_the_others_are_set),
		IRQ_TEST(test_apply_when_vectors_are_set_up_anew_then_the_new_ones_are_found),
		IRQ_TEST(test_verify_when_managed_then_ours_is_put_back),
		IRQ_TEST(test_verify_when_hint_then_the_administrator_is_right_for_ever),
		IRQ_TEST(test_verify_when_the_kernel_moved_it_then_it_comes_back_with_its_cpu),
		IRQ_TEST(test_verify_when_hint_and_changed_while_displaced_then_it_is_left),
		IRQ_TEST(test_verify_when_a_vector_was_off_then_it_is_placed_when_it_is_back),
		IRQ_TEST(test_verify_when_hint_and_foreign_before_it_was_off_then_it_is_left),
		IRQ_TEST(test_verify_when_its_cpus_were_never_there_then_it_waits_for_one),
		IRQ_TEST(test_verify_when_an_interrupt_is_gone_then_it_says_so),
		IRQ_TEST(test_apply_when_refused_then_it_is_tried_again),
		IRQ_TEST(test_init_when_a_mask_is_empty_then_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
