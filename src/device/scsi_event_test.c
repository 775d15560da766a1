/* SPDX-License-Identifier: MIT */
/* The event queue: hot plug, capacity changes, events that found no buffer. */
#include "device/scsi_fixture.h"

#include <linux/virtio_config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MISSED 0x80000000u
#define NO_EVENT 0u
#define TRANSPORT_RESET 1u
#define PARAM_CHANGE 3u
#define RESCAN 1u
#define REMOVED 2u
#define CAPACITY (0x2au | 0x09u << 8)

static int setup_acked(void **state, uint64_t acked, bool event_idx)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world,
			&(struct scsi_world_config){ .acked = acked, .event_idx = event_idx });
	*state = world;
	return 0;
}

static int setup(void **state)
{
	return setup_acked(state, 0, false);
}

static int setup_event_idx(void **state)
{
	return setup_acked(state, 0, true);
}

static int setup_nothing_acked(void **state)
{
	return setup_acked(state, 1ull << VIRTIO_F_VERSION_1, false);
}

static int teardown(void **state)
{
	scsi_world_close(*state);
	free(*state);
	return 0;
}

static void wait_event(struct scsi_world *world, const struct scsi_chain *chain)
{
	scsi_wait(world, !chain->out);
}

static void test_add_when_there_is_a_buffer_then_rescan(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffers[3];

	for (unsigned i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = scsi_event_buffer(world, 16);
	scsi_world_add_lun(world, 0, 2, 5, 0);
	wait_event(world, buffers[0]);
	scsi_assert_event(buffers[0], TRANSPORT_RESET, 5, 0, RESCAN);
	scsi_world_add_lun(world, 0, 3, 6, 300);
	wait_event(world, buffers[1]);
	scsi_assert_event(buffers[1], TRANSPORT_RESET, 6, 0x412c, RESCAN);
	scsi_world_turns(world, 5);
	assert_true(buffers[2]->out);
}

static void test_remove_when_there_is_a_buffer_then_removed_and_gone_before(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffer = scsi_event_buffer(world, 64);
	struct scsi_command command = { .target = 1 };

	scsi_world_remove_lun(world, scsi_world_lun(world, 0, 1, 0));
	wait_event(world, buffer);
	scsi_assert_event(buffer, TRANSPORT_RESET, 1, 0, REMOVED);
	assert_int_equal(scsi_response(scsi_run(world, &command)), VIRTIO_SCSI_S_BAD_TARGET);
}

static void test_capacity_when_it_changes_then_param_change(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffer = scsi_event_buffer(world, 16);

	scsi_disk_capacity_changed(world->spies[1].disk);
	wait_event(world, buffer);
	scsi_assert_event(buffer, PARAM_CHANGE, 1, 0, CAPACITY);
	assert_int_equal(scsi_take_attention(world, 0, 1), SCSI_ASC_CAPACITY_CHANGED);
	assert_int_equal(scsi_take_attention(world, 0, 0), 0);
}

static void test_event_when_no_buffer_then_the_next_says_missed(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *first, *second, *third;

	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_disk_capacity_changed(world->spies[1].disk);
	scsi_world_turns(world, 5);
	first = scsi_event_buffer(world, 16);
	wait_event(world, first);
	scsi_assert_event(first, NO_EVENT | MISSED, 0, 0, 0);
	second = scsi_event_buffer(world, 16);
	third = scsi_event_buffer(world, 16);
	scsi_disk_capacity_changed(world->spies[0].disk);
	wait_event(world, second);
	scsi_assert_event(second, PARAM_CHANGE, 0, 0, CAPACITY);
	scsi_world_turns(world, 5);
	assert_true(third->out);
}

/* The buffer is there, but its kick is not seen yet when the next event comes. */
static void test_event_when_buffer_came_meanwhile_then_it_says_missed_itself(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffer;

	scsi_disk_capacity_changed(world->spies[0].disk);
	buffer = scsi_event_buffer(world, 16);
	scsi_disk_capacity_changed(world->spies[1].disk);
	wait_event(world, buffer);
	scsi_assert_event(buffer, PARAM_CHANGE | MISSED, 1, 0, CAPACITY);
}

static void test_event_when_feature_is_not_acknowledged_then_none(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffer = scsi_event_buffer(world, 16);

	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_world_add_lun(world, 0, 2, 5, 0);
	scsi_world_remove_lun(world, scsi_world_lun(world, 0, 5, 0));
	scsi_world_turns(world, 10);
	assert_true(buffer->out);
}

static void test_event_when_ring_never_ran_then_nothing_was_missed(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));
	struct scsi_ring *ring;
	struct scsi_chain *buffer;

	scsi_world_open(world, &(struct scsi_world_config){ .stopped = true });
	ring = scsi_ring_of(world, 0, SCSI_QUEUE_EVENT);
	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_ring_start(ring);
	scsi_disk_capacity_changed(world->spies[0].disk);
	buffer = scsi_event_buffer(world, 16);
	scsi_world_turns(world, 10);
	assert_true(buffer->out);
	scsi_disk_capacity_changed(world->spies[0].disk);
	wait_event(world, buffer);
	scsi_assert_event(buffer, PARAM_CHANGE, 0, 0, CAPACITY);
	scsi_world_close(world);
	free(world);
}

static void test_event_when_ring_is_stopped_for_a_while_then_missed(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_ring *ring = scsi_ring_of(world, 0, SCSI_QUEUE_EVENT);
	struct scsi_chain *buffer = scsi_event_buffer(world, 16);

	scsi_world_turns(world, 10);
	assert_int_equal(scsi_ring_stop(ring), 0);
	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_ring_start(ring);
	wait_event(world, buffer); /* whoever stops a ring gives back its kick */
	scsi_assert_event(buffer, NO_EVENT | MISSED, 0, 0, 0);
}

static void test_reset_when_events_were_missed_then_forgotten(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *buffer;

	scsi_disk_capacity_changed(world->spies[0].disk);
	for (unsigned i = 0; i < world->ring_count; i++)
		scsi_ring_stop(scsi_ring_of(world, 0, i));
	scsi_device_reset(world->adapters[0].device);
	scsi_ring_start(scsi_ring_of(world, 0, SCSI_QUEUE_EVENT));
	buffer = scsi_event_buffer(world, 16);
	scsi_world_turns(world, 10);
	assert_true(buffer->out);
}

static void test_event_when_buffer_is_too_short_then_the_queue_breaks(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_ring *ring = scsi_ring_of(world, 0, SCSI_QUEUE_EVENT);

	scsi_event_buffer(world, 15);
	scsi_world_turns(world, 5);
	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_wait(world, ring->broken_count == 1);
	assert_string_equal(ring->broken_reason, "an event buffer that is too short");
	scsi_disk_capacity_changed(world->spies[0].disk);
	scsi_assert_good(scsi_run(world, &(struct scsi_command){ .target = 1 }));
}

static void test_luns_when_they_come_and_go_then_attention_at_their_target(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_lun *lun = scsi_world_add_lun(world, 0, 2, 0, 4);

	assert_int_equal(scsi_take_attention(world, 0, 0), SCSI_ASC_REPORTED_LUNS_CHANGED);
	assert_int_equal(scsi_take_attention(world, 0, 1), 0);
	scsi_world_remove_lun(world, lun);
	assert_int_equal(scsi_take_attention(world, 0, 0), SCSI_ASC_REPORTED_LUNS_CHANGED);
	assert_int_equal(scsi_take_attention(world, 0, 0), 0);
	assert_int_equal(scsi_take_attention(world, 0, 1), 0);
}

/* SPC-3, 6.21: for all units of the target. */
static void test_luns_when_reported_then_no_unit_of_the_target_tells_of_a_change(void **state)
{
	const struct scsi_command report = { .cdb = { 0xa0, [9] = 64 }, .in_bytes = 64 };
	const struct scsi_command other = { .lun = 4 };
	struct scsi_world *world = *state;
	struct scsi_lun *lun = scsi_world_add_lun(world, 0, 2, 0, 4);
	struct scsi_lun *third;

	scsi_assert_good(scsi_run(world, &report));
	assert_int_equal(scsi_take_attention(world, 0, 0), 0);
	scsi_assert_sense(scsi_run(world, &other), SCSI_UNIT_ATTENTION, SCSI_ASC_POWER_ON_OR_RESET);
	third = scsi_world_add_lun(world, 0, 3, 0, 5);
	scsi_assert_good(scsi_run(world, &report));
	scsi_assert_good(scsi_run(world, &other));
	scsi_world_remove_lun(world, third);
	scsi_world_add_lun(world, 0, 3, 1, 5);
	scsi_assert_good(
		scsi_run(world, &report)); /* of target 0: target 1 has an inventory of its own */
	scsi_assert_good(scsi_run(world, &other));
	assert_int_equal(scsi_take_attention(world, 0, 1), SCSI_ASC_REPORTED_LUNS_CHANGED);
	scsi_world_remove_lun(world, lun);
}

#define event_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		event_case(test_add_when_there_is_a_buffer_then_rescan),
		event_case(test_remove_when_there_is_a_buffer_then_removed_and_gone_before),
		event_case(test_capacity_when_it_changes_then_param_change),
		event_case(test_event_when_no_buffer_then_the_next_says_missed),
		cmocka_unit_test_setup_teardown(test_event_when_no_buffer_then_the_next_says_missed,
						setup_event_idx, teardown),
		event_case(test_event_when_buffer_came_meanwhile_then_it_says_missed_itself),
		cmocka_unit_test_setup_teardown(
			test_event_when_feature_is_not_acknowledged_then_none, setup_nothing_acked,
			teardown),
		cmocka_unit_test(test_event_when_ring_never_ran_then_nothing_was_missed),
		event_case(test_event_when_ring_is_stopped_for_a_while_then_missed),
		event_case(test_reset_when_events_were_missed_then_forgotten),
		event_case(test_event_when_buffer_is_too_short_then_the_queue_breaks),
		event_case(test_luns_when_they_come_and_go_then_attention_at_their_target),
		event_case(test_luns_when_reported_then_no_unit_of_the_target_tells_of_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
