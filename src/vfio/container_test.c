// SPDX-License-Identifier: MIT
/* Opening a group and mapping memory, against a kernel that refuses one thing at a time. */
#include "vfio/test_fds.h"

#include "vfio/container.h"
#include "vfio/fake_kernel.h"
#include "vfio/sysfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PAGE 4096u
#define HUGE (2u << 20)

static uint8_t *memory_new(size_t size)
{
	uint8_t *memory = aligned_alloc(HUGE, (size + HUGE - 1) / HUGE * HUGE);

	assert_non_null(memory);
	return memory;
}

static void open_good(struct fake_kernel *fake, struct vfio_container *container)
{
	struct error error = { 0 };

	if (vfio_container_open(&fake->base, FAKE_ADDRESS, container, &error) < 0)
		fail_msg("open: %s", error.text);
}

static uint64_t map_good(struct vfio_container *container, void *addr, size_t size)
{
	struct error error = { 0 };
	uint64_t iova = 0;

	if (vfio_container_map(container, addr, size, &iova, &error) < 0)
		fail_msg("map: %s", error.text);
	return iova;
}

/* ---- opening ---- */

struct refusal {
	const char *driver, *neighbour; /* who has the functions */
	unsigned long request;
	const char *path;
	int code; /* of the request or path */
	bool no_iommu, not_viable;
	int expected;
	const char *sentence; /* a part of it */
};

static void check_refusal(const struct refusal *refusal)
{
	struct vfio_container container;
	struct error error = { 0 };
	struct fake_kernel fake;

	fake_kernel_init(&fake);
	fake_kernel_bind(&fake, FAKE_ADDRESS, refusal->driver);
	fake_kernel_bind(&fake, FAKE_NEIGHBOUR, refusal->neighbour);
	if (refusal->no_iommu)
		fake_kernel_no_iommu(&fake);
	fake.refused = refusal->request;
	fake.refused_path = refusal->path;
	fake.refused_errno = refusal->code;
	fake.not_viable = refusal->not_viable;
	assert_int_equal(vfio_container_open(&fake.base, FAKE_ADDRESS, &container, &error),
			 refusal->expected);
	if (!strstr(error.text, refusal->sentence))
		fail_msg("'%s' is not in '%s'", refusal->sentence, error.text);
	fake_kernel_fini(&fake);
}

static void test_open_where_something_is_in_the_way_says_what(void **state)
{
	static const struct refusal refusals[] = {
		{ .driver = "", .expected = -ENODEV, .sentence = "bound to no driver" },
		{ .driver = "virtio-pci",
		  .expected = -EBUSY,
		  .sentence = FAKE_ADDRESS " belongs to the driver virtio-pci" },
		{ .no_iommu = true, .expected = -ENODEV, .sentence = "no IOMMU group" },
		{ .path = "vfio",
		  .code = ENOENT,
		  .expected = -ENOENT,
		  .sentence = "module vfio is not loaded" },
		{ .path = "vfio", .code = EACCES, .expected = -EACCES, .sentence = "/vfio: " },
		{ .request = VFIO_CHECK_EXTENSION,
		  .code = ENOTTY,
		  .expected = -ENOTSUP,
		  .sentence = "vfio_iommu_type1" },
		{ .request = VFIO_GET_API_VERSION,
		  .code = ENOTTY,
		  .expected = -ENOTSUP,
		  .sentence = "unknown version" },
		{ .path = FAKE_GROUP,
		  .code = ENOENT,
		  .expected = -ENOENT,
		  .sentence = "no device of IOMMU group 7 is bound" },
		{ .path = FAKE_GROUP,
		  .code = EACCES,
		  .expected = -EACCES,
		  .sentence = "no permission for" },
		{ .path = FAKE_GROUP,
		  .code = EBUSY,
		  .expected = -EBUSY,
		  .sentence = "IOMMU group 7 is in use already" },
		{ .not_viable = true,
		  .neighbour = "xhci_hcd",
		  .expected = -EPERM,
		  .sentence = "other devices in it: " FAKE_NEIGHBOUR " (xhci_hcd)" },
		{ .request = VFIO_GROUP_SET_CONTAINER,
		  .code = EINVAL,
		  .expected = -EINVAL,
		  .sentence = "gets no container" },
		{ .request = VFIO_SET_IOMMU,
		  .code = EPERM,
		  .expected = -EPERM,
		  .sentence = "does not remap interrupts" },
		{ .request = VFIO_SET_IOMMU,
		  .code = ENODEV,
		  .expected = -ENODEV,
		  .sentence = "gets no IOMMU" },
		{ .request = VFIO_IOMMU_GET_INFO,
		  .code = EINVAL,
		  .expected = -EINVAL,
		  .sentence = "what the IOMMU has" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct refusal refusal = refusals[i];

		refusal.driver = refusal.driver ? refusal.driver : "vfio-pci";
		refusal.neighbour = refusal.neighbour ? refusal.neighbour : "";
		check_refusal(&refusal);
	}
}

static void test_open_of_a_function_that_is_not_there_says_so(void **state)
{
	struct vfio_container container;
	struct error error = { 0 };
	struct fake_kernel fake;

	fake_kernel_init(&fake);
	assert_int_equal(vfio_container_open(&fake.base, "0000:07:00.0", &container, &error),
			 -ENODEV);
	assert_string_equal(error.text, "there is no PCI function 0000:07:00.0");
	fake_kernel_fini(&fake);
}

static void test_address_is_valid_only_in_the_long_form(void **state)
{
	static const char *const bad[] = {
		"",
		"00:04.0",
		"0000:00:04",
		"0000:00:04.0 ",
		"0000:00:04.00",
		"../0:00:04.0",
		"000g:00:04.0",
	};

	assert_true(vfio_address_is_valid("0000:00:04.0"));
	assert_true(vfio_address_is_valid("00aF:fe:1f.7"));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(vfio_address_is_valid(bad[i]));
}

/* ---- maps ---- */

static void test_map_gives_addresses_that_reach_the_memory(void **state)
{
	uint8_t *memory = memory_new(2 * HUGE);
	struct vfio_container container;
	struct fake_kernel fake;
	uint64_t first, second;

	fake_kernel_init(&fake);
	open_good(&fake, &container);
	first = map_good(&container, memory, HUGE);
	second = map_good(&container, memory + HUGE, PAGE);
	assert_ptr_equal(fake_kernel_reach(&fake, first, HUGE), memory);
	assert_ptr_equal(fake_kernel_reach(&fake, second + 1, PAGE - 1), memory + HUGE + 1);
	assert_int_equal(vfio_container_unmap(&container, memory, NULL), 0);
	assert_null(fake_kernel_reach(&fake, first, 1));
	assert_int_equal(vfio_container_unmap(&container, memory, NULL), -ENOENT);
	vfio_container_close(&container);
	assert_int_equal(fake.map_count, 0);
	fake_kernel_fini(&fake);
	free(memory);
}

static void test_map_without_the_kernels_ranges_stays_out_of_the_interrupts_window(void **state)
{
	struct vfio_container container;
	struct fake_kernel fake;
	uint64_t iova;

	fake_kernel_init(&fake);
	fake.no_ranges = true;
	open_good(&fake, &container);
	/* the fake does not touch it */
	iova = map_good(&container, (void *)(uintptr_t)HUGE, 0xfd000000);
	assert_true(iova + 0xfd000000 <= 0xfee00000);
	assert_int_equal(map_good(&container, (void *)(uintptr_t)PAGE, 0xfd000000), 0xff001000);
	vfio_container_close(&container);
	fake_kernel_fini(&fake);
}

static void test_map_where_capabilities_go_in_circles_ends(void **state)
{
	struct vfio_container container;
	struct fake_kernel fake;

	fake_kernel_init(&fake);
	fake.cap_loop = true;
	open_good(&fake, &container);
	map_good(&container, (void *)(uintptr_t)PAGE, PAGE);
	vfio_container_close(&container);
	fake_kernel_fini(&fake);
}

static void test_map_of_what_is_no_whole_page_is_refused(void **state)
{
	struct vfio_container container;
	struct fake_kernel fake;
	uint64_t iova;

	fake_kernel_init(&fake);
	open_good(&fake, &container);
	assert_int_equal(vfio_container_map(&container, (void *)1, PAGE, &iova, NULL), -EINVAL);
	assert_int_equal(vfio_container_map(&container, (void *)(uintptr_t)PAGE, 5, &iova, NULL),
			 -EINVAL);
	assert_int_equal(vfio_container_map(&container, (void *)(uintptr_t)PAGE, 0, &iova, NULL),
			 -EINVAL);
	map_good(&container, (void *)(uintptr_t)PAGE, PAGE);
	assert_int_equal(vfio_container_map(&container, (void *)(uintptr_t)PAGE, PAGE, &iova, NULL),
			 -EEXIST);
	vfio_container_close(&container);
	fake_kernel_fini(&fake);
}

static void test_map_refused_by_the_kernel_names_the_limit_and_keeps_the_address(void **state)
{
	static const struct {
		int code;
		const char *sentence;
	} cases[] = {
		{ ENOMEM, "RLIMIT_MEMLOCK is 64 KiB" },
		{ ENOSPC, "dma_entry_limit" },
		{ EFAULT, "not writable" },
		{ EINVAL, "Invalid argument" },
	};
	struct vfio_container container;
	struct error error = { 0 };
	struct fake_kernel fake;
	struct rlimit limit;
	uint64_t iova, good;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 64 << 10, limit.rlim_max }),
			 0);
	fake_kernel_init(&fake);
	open_good(&fake, &container);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.refused = VFIO_IOMMU_MAP_DMA;
		fake.refused_errno = cases[i].code;
		assert_int_equal(vfio_container_map(&container, (void *)(uintptr_t)PAGE, PAGE,
						    &iova, &error),
				 -cases[i].code);
		assert_non_null(strstr(error.text, cases[i].sentence));
	}
	fake.refused = 0;
	good = map_good(&container, (void *)(uintptr_t)PAGE, PAGE);
	assert_int_equal(good, IOVA_FIRST);
	vfio_container_close(&container);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	fake_kernel_fini(&fake);
}

static void test_map_beyond_the_kernels_number_of_maps_is_refused_here(void **state)
{
	struct vfio_container container;
	struct error error = { 0 };
	struct fake_kernel fake;
	uint64_t iova;

	fake_kernel_init(&fake);
	fake.maps_avail = 1;
	open_good(&fake, &container);
	assert_int_equal(vfio_container_maps_max(&container), 1);
	map_good(&container, (void *)(uintptr_t)PAGE, PAGE);
	assert_int_equal(vfio_container_map(&container, (void *)(uintptr_t)HUGE, PAGE, &iova,
					    &error),
			 -ENOSPC);
	assert_non_null(strstr(error.text, "takes 1 regions of memory"));
	vfio_container_close(&container);
	fake_kernel_fini(&fake);
}

static void test_unmap_that_fails_does_not_give_the_address_away_again(void **state)
{
	struct vfio_container container;
	struct fake_kernel fake;
	uint64_t first;

	fake_kernel_init(&fake);
	open_good(&fake, &container);
	first = map_good(&container, (void *)(uintptr_t)PAGE, PAGE);
	fake.map_count = 0; /* the kernel finds nothing to unmap */
	assert_int_equal(vfio_container_unmap(&container, (void *)(uintptr_t)PAGE, NULL), -EIO);
	assert_int_not_equal(map_good(&container, (void *)(uintptr_t)HUGE, PAGE), first);
	vfio_container_close(&container);
	fake_kernel_fini(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vfio_test(test_open_where_something_is_in_the_way_says_what),
		vfio_test(test_open_of_a_function_that_is_not_there_says_so),
		vfio_test(test_address_is_valid_only_in_the_long_form),
		vfio_test(test_map_gives_addresses_that_reach_the_memory),
		vfio_test(test_map_without_the_kernels_ranges_stays_out_of_the_interrupts_window),
		vfio_test(test_map_where_capabilities_go_in_circles_ends),
		vfio_test(test_map_of_what_is_no_whole_page_is_refused),
		vfio_test(test_map_refused_by_the_kernel_names_the_limit_and_keeps_the_address),
		vfio_test(test_map_beyond_the_kernels_number_of_maps_is_refused_here),
		vfio_test(test_unmap_that_fails_does_not_give_the_address_away_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
