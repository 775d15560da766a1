/* SPDX-License-Identifier: MIT */
/* For tests of lanes: a device that completes at once, or keeps requests until the test lets go of them. */
#ifndef RINGLANE_DEVICE_LANE_FAKE_H
#define RINGLANE_DEVICE_LANE_FAKE_H

#include "device/lane_fixture.h"

enum fake_mode { FAKE_AT_ONCE, FAKE_LATER, FAKE_FAIL };

struct fake {
	enum fake_mode mode;
	int start_result;
	unsigned fail_at; /* number of the request (from 1) that fails; 0 = none */
	unsigned started, stopped, executed, held_count;
	uint64_t features;
	struct lane_request *held[FIXTURE_RING_MAX];
};

struct world {
	struct lane_fixture f;
	struct fake fake;
};

const struct lane_ops *fake_lane_ops(void);
void fake_let_go(struct fake *fake, unsigned count);

/* cmocka's: state is a struct world. */
int setup(void **state);
int setup_event_idx(void **state);
int teardown(void **state);

void start_and_kick(struct world *world);
/* Adds chains and waits until the device keeps them. */
void hold(struct world *world, unsigned count);
unsigned in_flight(struct world *world);
int set_enabled(struct world *world, bool enabled);

#define lane_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define lane_case_event_idx(test) cmocka_unit_test_setup_teardown(test, setup_event_idx, teardown)

#endif
