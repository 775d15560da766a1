/* SPDX-License-Identifier: MIT */
/* For tests: see lane_fake.h. */
#include "device/lane_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int fake_start(struct lane *lane)
{
	struct fake *fake = lane_device(lane);

	assert_true(loop_is_mine(lane_loop(lane)));
	fake->features = lane_features(lane);
	if (fake->start_result == 0)
		fake->started++;
	lane_set_private(lane, fake);
	return fake->start_result;
}

static void fake_stop(struct lane *lane)
{
	struct fake *fake = lane_private(lane);

	assert_int_equal(fake->held_count, 0);
	fake->stopped++;
}

static void fake_execute(struct lane *lane, struct lane_request *request)
{
	struct fake *fake = lane_private(lane);

	fake->executed++;
	if (fake->mode == FAKE_LATER)
		fake->held[fake->held_count++] = request;
	else if (fake->mode == FAKE_FAIL || fake->executed == fake->fail_at)
		lane_fail(request, "the fake refuses");
	else
		lane_complete(request, 1);
}

void fake_let_go(struct fake *fake, unsigned count)
{
	while (count-- > 0)
		lane_complete(fake->held[--fake->held_count], 1);
}

const struct lane_ops *fake_lane_ops(void)
{
	static const struct lane_ops ops = {
		.request_size = sizeof(struct lane_request),
		.start = fake_start,
		.stop = fake_stop,
		.execute = fake_execute,
	};

	return &ops;
}

static int setup_world(void **state, bool event_idx)
{
	struct world *world = calloc(1, sizeof(*world));
	struct lane_fixture_config config = { .ops = fake_lane_ops(),
					      .device = &world->fake,
					      .event_idx = event_idx };

	fixture_open(&world->f, &config);
	*state = world;
	return 0;
}

int setup(void **state)
{
	return setup_world(state, false);
}

int setup_event_idx(void **state)
{
	return setup_world(state, true);
}

int teardown(void **state)
{
	struct world *world = *state;

	fixture_close(&world->f);
	free(world);
	return 0;
}

void start_and_kick(struct world *world)
{
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_kick_always(&world->f);
	fixture_turns(&world->f, 4);
}

void hold(struct world *world, unsigned count)
{
	unsigned held = world->fake.held_count;

	world->fake.mode = FAKE_LATER;
	for (unsigned i = 0; i < count; i++)
		fixture_add_small(&world->f);
	fixture_kick(&world->f);
	fixture_wait(&world->f, world->fake.held_count == held + count);
}

unsigned in_flight(struct world *world)
{
	struct lane_stats stats;

	lane_get_stats(world->f.lane, &stats);
	return stats.in_flight;
}

int set_enabled(struct world *world, bool enabled)
{
	lane_command_enable(world->f.lane, enabled, fixture_answered, &world->f);
	return fixture_wait_answer(&world->f);
}
