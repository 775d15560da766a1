/* SPDX-License-Identifier: MIT */
/* What the tests of this folder share: a loop of the test's own thread, and waiting with a deadline. */
#ifndef RINGLANE_LOOP_TEST_LOOP_H
#define RINGLANE_LOOP_TEST_LOOP_H

#include "base/clock.h"
#include "base/compiler.h"
#include "loop/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST_DEADLINE_NS (20 * NS_PER_S)

static inline struct loop *test_loop_new(void)
{
	struct error error = { 0 };
	struct loop *loop = NULL;

	if (loop_new(&loop, &error) < 0)
		fail_msg("%s", error.text);
	loop_adopt(loop);
	return loop;
}

/* Turns until *value is at least wanted. The deadline is for each step on the way: many steps are slow on a busy machine. */
static inline void test_loop_until(struct loop *loop, const unsigned *value, unsigned wanted)
{
	uint64_t deadline_ns = clock_ns() + TEST_DEADLINE_NS;

	while (*value < wanted) {
		unsigned before = *value;

		if (clock_ns() > deadline_ns)
			fail_msg("only %u of %u, and no more for 20 s", *value, wanted);
		loop_turn(loop, NS_PER_S);
		if (*value != before)
			deadline_ns = clock_ns() + TEST_DEADLINE_NS;
	}
}

static inline struct loop_stats test_loop_stats(const struct loop *loop)
{
	struct loop_stats stats;

	loop_get_stats(loop, &stats);
	return stats;
}

/* The same numbers in each run. */
static inline unsigned test_random(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*seed >> 33) % below;
}

#endif
