/* SPDX-License-Identifier: MIT */
/* iothread-vq-mapping: each rule by its sentence, which rule comes first, and where queues go. */
#include "device/vq_map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct iothread {
	const char *id;
};

static struct iothread iothreads[] = { { "t0" }, { "t1" }, { "t2" }, { "t3" } };

static struct iothread *find(void *opaque, const char *id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(iothreads); i++)
		if (strcmp(iothreads[i].id, id) == 0)
			return &iothreads[i];
	return NULL;
}

#define VQS(...) \
	(const uint16_t[]){ __VA_ARGS__ }, sizeof((uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t)

/* ---- refusals ---- */

#define MIXED "either all items in iothread-vq-mapping must have vqs or none of them must have it"

static const struct {
	const char *what;
	unsigned num_queues;
	struct vq_map_entry entries[4];
	int code;
	const char *sentence;
} refusals[] = {
	{ "unknown iothread",
	  1,
	  { { "nope" } },
	  -ENOENT,
	  "IOThread \"nope\" object does not exist" },
	{ "unknown iothread in second place",
	  1,
	  { { "t0" }, { "x" } },
	  -ENOENT,
	  "IOThread \"x\" object does not exist" },
	{ "empty name", 1, { { "" } }, -ENOENT, "IOThread \"\" object does not exist" },
	{ "same iothread twice",
	  2,
	  { { "t0" }, { "t1" }, { "t0" } },
	  -EINVAL,
	  "duplicate IOThread name \"t0\" in iothread-vq-mapping" },
	{ "first has vqs, second has none", 2, { { "t0", VQS(0, 1) }, { "t1" } }, -EINVAL, MIXED },
	{ "first has none, second has vqs", 2, { { "t0" }, { "t1", VQS(0, 1) } }, -EINVAL, MIXED },
	{ "empty vqs among others",
	  2,
	  { { "t0", VQS(0, 1) }, { "t1", (const uint16_t[]){ 0 }, 0 } },
	  -EINVAL,
	  MIXED },
	{ "index equal to num_queues",
	  2,
	  { { "t0", VQS(0, 1, 2) } },
	  -EINVAL,
	  "vq index 2 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ "largest index",
	  2,
	  { { "t0", VQS(65535) } },
	  -EINVAL,
	  "vq index 65535 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ "vq in two elements",
	  2,
	  { { "t0", VQS(0) }, { "t1", VQS(1, 0) } },
	  -EINVAL,
	  "cannot assign vq 0 to IOThread \"t1\" because it is already assigned" },
	{ "vq twice in one element",
	  2,
	  { { "t0", VQS(1, 1) } },
	  -EINVAL,
	  "cannot assign vq 1 to IOThread \"t0\" because it is already assigned" },
	{ "missing vq",
	  2,
	  { { "t0", VQS(0) } },
	  -EINVAL,
	  "missing vq 1 IOThread assignment in iothread-vq-mapping" },
	{ "lowest missing vq is named",
	  4,
	  { { "t0", VQS(3) }, { "t1", VQS(1) } },
	  -EINVAL,
	  "missing vq 0 IOThread assignment in iothread-vq-mapping" },
	{ "no vqs at all for many queues",
	  130,
	  { { "t0", VQS(0) } },
	  -EINVAL,
	  "missing vq 1 IOThread assignment in iothread-vq-mapping" },
	/* which rule wins */
	{ "unknown before duplicate",
	  1,
	  { { "t0" }, { "x" }, { "t0" } },
	  -ENOENT,
	  "IOThread \"x\" object does not exist" },
	{ "unknown twice is unknown",
	  1,
	  { { "x" }, { "x" } },
	  -ENOENT,
	  "IOThread \"x\" object does not exist" },
	{ "unknown before mixed",
	  2,
	  { { "t0", VQS(0) }, { "x" } },
	  -ENOENT,
	  "IOThread \"x\" object does not exist" },
	{ "duplicate before mixed",
	  2,
	  { { "t0", VQS(0) }, { "t0" } },
	  -EINVAL,
	  "duplicate IOThread name \"t0\" in iothread-vq-mapping" },
	{ "mixed before out of range", 2, { { "t0" }, { "t1", VQS(9) } }, -EINVAL, MIXED },
	{ "an element's index before the next one's name",
	  2,
	  { { "t0", VQS(9) }, { "x" } },
	  -EINVAL,
	  "vq index 9 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ "indices in their order: range first",
	  2,
	  { { "t0", VQS(0, 9, 0) } },
	  -EINVAL,
	  "vq index 9 for IOThread \"t0\" must be less than num_queues 2 in iothread-vq-mapping" },
	{ "indices in their order: repeat first",
	  2,
	  { { "t0", VQS(0, 0, 9) } },
	  -EINVAL,
	  "cannot assign vq 0 to IOThread \"t0\" because it is already assigned" },
	{ "repeat before missing",
	  3,
	  { { "t0", VQS(0, 0) } },
	  -EINVAL,
	  "cannot assign vq 0 to IOThread \"t0\" because it is already assigned" },
};

static unsigned entry_count(const struct vq_map_entry entries[4])
{
	unsigned count = 0;

	while (count < 4 && entries[count].iothread)
		count++;
	return count;
}

static void test_validate_when_a_rule_is_broken_then_its_sentence(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct vq_map_list list = { refusals[i].entries, entry_count(refusals[i].entries) };
		struct error error = { 0 };
		int rc = vq_map_validate(&list, refusals[i].num_queues, find, NULL, &error);

		if (rc != refusals[i].code || strcmp(error.text, refusals[i].sentence))
			fail_msg("%s: %d \"%s\"", refusals[i].what, rc, error.text);
		assert_int_equal(error.code, rc);
		assert_int_equal(vq_map_validate(&list, refusals[i].num_queues, find, NULL, NULL),
				 rc);
	}
}

/* ---- assignment ---- */

static const struct {
	const char *what;
	unsigned num_queues;
	struct vq_map_entry entries[4];
	const char *threads; /* for each queue the digit of its thread */
} assignments[] = {
	{ "one for all", 3, { { "t1" } }, "111" },
	{ "round robin in list order", 7, { { "t2" }, { "t0" }, { "t1" } }, "2012012" },
	{ "as many as queues", 3, { { "t0" }, { "t1" }, { "t2" } }, "012" },
	{ "more iothreads than queues: extras get nothing",
	  2,
	  { { "t0" }, { "t1" }, { "t2" } },
	  "01" },
	{ "one queue, four iothreads", 1, { { "t3" }, { "t2" }, { "t1" }, { "t0" } }, "3" },
	{ "all vqs empty is round robin",
	  3,
	  { { "t0", (const uint16_t[]){ 0 }, 0 }, { "t1", (const uint16_t[]){ 0 }, 0 } },
	  "010" },
	{ "explicit", 3, { { "t0", VQS(1) }, { "t1", VQS(0, 2) } }, "101" },
	{ "explicit, indices in any order",
	  4,
	  { { "t3", VQS(3, 0) }, { "t1", VQS(2, 1) } },
	  "3113" },
};

static void test_apply_when_valid_then_each_queue_has_its_iothread(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(assignments); i++) {
		unsigned num_queues = assignments[i].num_queues;
		struct vq_map_list list = { assignments[i].entries,
					    entry_count(assignments[i].entries) };
		struct iothread *got[8] = { NULL }, *sentinel = &iothreads[3];
		struct error error = { 0 };

		got[num_queues] = sentinel;
		if (vq_map_validate(&list, num_queues, find, NULL, &error) < 0)
			fail_msg("%s: %s", assignments[i].what, error.text);
		vq_map_apply(&list, num_queues, find, NULL, got);
		for (unsigned vq = 0; vq < num_queues; vq++)
			if (got[vq] != &iothreads[assignments[i].threads[vq] - '0'])
				fail_msg("%s: vq %u", assignments[i].what, vq);
		assert_ptr_equal(got[num_queues], sentinel);
	}
}

static void test_apply_when_many_queues_then_round_robin_holds_to_the_last(void **state)
{
	struct vq_map_entry entries[] = { { "t0" }, { "t1" }, { "t2" } };
	struct vq_map_list list = { entries, 3 };
	static struct iothread *got[1024];

	assert_int_equal(vq_map_validate(&list, 1024, find, NULL, NULL), 0);
	vq_map_apply(&list, 1024, find, NULL, got);
	for (unsigned vq = 0; vq < 1024; vq++)
		assert_ptr_equal(got[vq], &iothreads[vq % 3]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_validate_when_a_rule_is_broken_then_its_sentence),
		cmocka_unit_test(test_apply_when_valid_then_each_queue_has_its_iothread),
		cmocka_unit_test(test_apply_when_many_queues_then_round_robin_holds_to_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
