/* SPDX-License-Identifier: MIT */
/* A lane on a thread of its own that is held and let go again and again while it works. The race detector is the better half of this test. */
#include "device/lane_fixture.h"
#include "loop/iothread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 2000u
#define CHAINS 8u

/* A device that completes what it has been given at the end of the turn. */
struct late {
	struct loop_defer defer;
	struct lane_request *requests[FIXTURE_RING_MAX];
	unsigned count;
};

static void late_complete(struct loop_defer *defer)
{
	struct late *late = container_of(defer, struct late, defer);

	while (late->count > 0)
		lane_complete(late->requests[--late->count], 1);
}

static int late_start(struct lane *lane)
{
	return 0;
}

static void late_stop(struct lane *lane)
{
}

static void late_execute(struct lane *lane, struct lane_request *request)
{
	struct late *late = lane_device(lane);

	late->requests[late->count++] = request;
	loop_defer(lane_loop(lane), &late->defer);
}

static const struct lane_ops late_ops = {
	.request_size = sizeof(struct lane_request),
	.start = late_start,
	.stop = late_stop,
	.execute = late_execute,
};

static void told(void *opaque)
{
	(*(unsigned *)opaque)++;
}

static void test_lane_when_held_while_it_works_then_all_is_taken(void **state)
{
	struct late late = { .defer = { .fn = late_complete } };
	struct lane_fixture f = { 0 };
	struct lane_fixture_config config = { .ops = &late_ops, .device = &late };
	struct iothread_config thread = { .id = "t0" };
	struct iothread *iothread;
	unsigned answers = 0;
	uint64_t moment_ns;

	assert_int_equal(iothread_new(&thread, &iothread, NULL), 0);
	config.lane_loop = iothread_loop(iothread);
	fixture_open(&f, &config);
	assert_int_equal(fixture_start(&f, 0), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < CHAINS; i++)
			fixture_add_small(&f);
		fixture_kick_always(&f);
		moment_ns = clock_ns() + round * 997 % 40000;
		while (clock_ns() < moment_ns)
			; /* any moment of its work */
		lane_hold(f.lane, told, &answers);
		fixture_wait(&f, answers == 2 * round - 1);
		lane_release(f.lane, told, &answers);
		fixture_wait(&f, answers == 2 * round);
		/* else the next hold is sent while the lane begins to work */
		if (round % 4 == 0)
			fixture_wait_taken(&f, CHAINS * round);
	}
	assert_int_equal(fixture_stop(&f), (uint16_t)(CHAINS * ROUNDS));
	iothread_free(iothread);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lane_when_held_while_it_works_then_all_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
