/* SPDX-License-Identifier: MIT */
/* For tests: machines by lists of CPUs, and spreads as text. */
#ifndef RINGLANE_DRIVER_TEST_TOPOLOGY_H
#define RINGLANE_DRIVER_TEST_TOPOLOGY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "driver/affinity.h"

#include <errno.h>

#define TEST_SETS_MAX 16
#define TEST_TEXT_MAX 4096

/* Lists; sets end with NULL. */
struct test_machine {
	const char *possible;
	const char *present; /* NULL: all */
	const char *isolated;
	const char *nodes[TEST_SETS_MAX]; /* none: one with everything */
	const char *clusters[TEST_SETS_MAX];
	const char *cores[TEST_SETS_MAX];
	const char *domains[TEST_SETS_MAX];
};

static inline hwloc_bitmap_t test_mask(const char *list)
{
	hwloc_bitmap_t mask = hwloc_bitmap_alloc();

	assert_non_null(mask);
	if (list)
		assert_int_equal(topology_list_parse(list, mask, NULL), 0);
	return mask;
}

static inline void test_sets_fill(struct topology_sets *sets, const char *const *lists)
{
	for (unsigned i = 0; lists[i]; i++) {
		hwloc_bitmap_t mask = test_mask(lists[i]);

		assert_int_equal(topology_sets_add(sets, i, mask), 0);
		hwloc_bitmap_free(mask);
	}
}

static inline void test_mask_fill(hwloc_bitmap_t mask, const char *list)
{
	if (list)
		assert_int_equal(topology_list_parse(list, mask, NULL), 0);
}

static inline struct topology test_topology(const struct test_machine *machine)
{
	struct topology topology;

	assert_int_equal(topology_init(&topology), 0);
	test_mask_fill(topology.possible, machine->possible);
	test_mask_fill(topology.present, machine->present ? machine->present : machine->possible);
	test_mask_fill(topology.isolated, machine->isolated);
	test_sets_fill(&topology.nodes, machine->nodes);
	test_sets_fill(&topology.clusters, machine->clusters);
	test_sets_fill(&topology.cores, machine->cores);
	test_sets_fill(&topology.domains, machine->domains);
	assert_int_equal(topology_finish(&topology, NULL), 0);
	return topology;
}

/* "[0-2][3,4]": as the reference writes it, but with ranges wherever there are neighbours. */
static inline char *test_spread_text(const struct affinity_spread *spread, char *text)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < spread->count; i++) {
		char list[256];

		topology_list_format(spread->masks[i], list, sizeof(list));
		used += (size_t)snprintf(text + used, TEST_TEXT_MAX - used, "[%s]", list);
	}
	return text;
}

#endif
