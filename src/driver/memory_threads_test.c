// SPDX-License-Identifier: MIT
/*
 * The table of regions while a queue's thread reads it. Alone in its file, because the thread sanitizer runs it; with a back
 * end in the same process that tool does not see the ring's order, which goes through two mappings of one memory.
 */
#include "driver/memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096u

static void *at(uintptr_t addr)
{
	return (void *)addr;
}

struct race {
	struct memory memory;
	struct memory_cursor cursor;
	bool quit;
	unsigned rounds;
};

static bool reaches(struct race *race, const void *addr)
{
	uint64_t device_addr;

	return memory_translate(&race->cursor, &race->memory, addr, PAGE, &device_addr);
}

/* The first region stays: it must always be reached, whatever becomes of the others. */
static void *race_read(void *opaque)
{
	struct race *race = opaque;

	while (!load_acquire(&race->quit)) {
		bool stays = reaches(race, at(PAGE));

		reaches(race, at(16 * PAGE));
		if (!stays)
			return race;
		add_relaxed(&race->rounds, 1);
	}
	return NULL;
}

static void test_table_when_a_queue_reads_meanwhile_then_it_sees_whole_tables(void **state)
{
	struct race *race = aligned_alloc(CACHE_LINE, sizeof(*race));
	pthread_t thread;
	void *failed;

	assert_non_null(race);
	memset(race, 0, sizeof(*race));
	assert_int_equal(memory_init(&race->memory), 0);
	memory_cursor_add(&race->memory, &race->cursor);
	assert_int_equal(memory_add(&race->memory, at(PAGE), PAGE, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, race_read, race), 0);
	for (unsigned i = 0; i < 2000 || load_relaxed(&race->rounds) < 100; i++) {
		assert_int_equal(memory_add(&race->memory, at(16 * PAGE), PAGE, 0), 0);
		assert_int_equal(memory_remove(&race->memory, at(16 * PAGE)), 0);
	}
	store_release(&race->quit, true);
	pthread_join(thread, &failed);
	assert_null(failed);
	memory_fini(&race->memory);
	free(race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_when_a_queue_reads_meanwhile_then_it_sees_whole_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
