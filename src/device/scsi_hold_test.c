/* SPDX-License-Identifier: MIT */
/* Who runs when: drain, exclusive commands, task attributes, unplug, stop. */
#include "device/scsi_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COMPARE_AND_WRITE 0x89
#define READ_10 0x28

static int setup(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ .queues = 3 });
	*state = world;
	return 0;
}

/* Disk 0 is LUN 0 of target 0 of both adapters. */
static int setup_two_adapters(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ .adapters = 2 });
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	scsi_world_close(*state);
	free(*state);
	return 0;
}

static void wait_held(struct scsi_world *world, unsigned disk, unsigned count)
{
	scsi_wait(world, world->spies[disk].held_count == count);
}

static void wait_back(struct scsi_world *world, const struct scsi_chain *chain)
{
	scsi_wait(world, !chain->out);
}

static struct scsi_lun_stats stats_of(struct scsi_world *world, unsigned adapter, unsigned target)
{
	struct scsi_lun_stats stats;

	scsi_lun_get_stats(scsi_world_lun(world, adapter, target, 0), &stats);
	return stats;
}

static struct scsi_chain *submit_with(struct scsi_world *world, unsigned attribute, uint8_t lba)
{
	return scsi_submit(world, &(struct scsi_command){ .attribute = (uint8_t)attribute,
							  .cdb = { READ_10, [5] = lba, [8] = 1 },
							  .in_bytes = 512 });
}

/* Of all zeros, as the disk is at block 0. */
static struct scsi_chain *submit_alone(struct scsi_world *world, unsigned adapter, unsigned queue)
{
	return scsi_submit(world, &(struct scsi_command){ .adapter = adapter,
							  .queue = queue,
							  .tag = 77,
							  .cdb = { COMPARE_AND_WRITE, [13] = 1 },
							  .out_bytes = 1024 });
}

/* ---- drain ---- */

static void drain(struct scsi_world *world, unsigned disk)
{
	unsigned done = world->done;

	scsi_fixture_drain(world->spies[disk].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == done + 1);
}

static void test_drain_when_commands_run_then_it_waits_for_all_lanes(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3];

	world->spies[0].later = true;
	for (unsigned i = 0; i < 3; i++)
		chains[i] = scsi_submit_read(world, i, 0, i);
	wait_held(world, 0, 3);
	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	for (unsigned i = 0; i < 3; i++) {
		scsi_world_turns(world, 10);
		assert_int_equal(world->done, 0);
		scsi_spy_let_go(&world->spies[0], 0, 0);
	}
	scsi_wait(world, world->done == 1);
	for (unsigned i = 0; i < 3; i++)
		scsi_assert_good(chains[i]);
	scsi_disk_release(world->spies[0].disk);
}

static void test_drain_when_commands_come_then_held_until_the_last_release(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3];

	drain(world, 0);
	drain(world, 0);
	for (unsigned i = 0; i < 3; i++)
		chains[i] = scsi_submit_read(world, i, 0, i);
	scsi_world_turns(world, 10);
	scsi_disk_release(world->spies[0].disk);
	scsi_world_turns(world, 10);
	assert_int_equal(world->spies[0].count, 0);
	assert_int_equal(stats_of(world, 0, 0).held, 3);
	assert_int_equal(stats_of(world, 0, 0).in_flight, 0);
	scsi_disk_release(world->spies[0].disk);
	for (unsigned i = 0; i < 3; i++) {
		wait_back(world, chains[i]);
		scsi_assert_good(chains[i]);
	}
	assert_int_equal(stats_of(world, 0, 0).held, 0);
}

static void test_drain_when_one_disk_then_the_others_run(void **state)
{
	struct scsi_world *world = *state;

	drain(world, 0);
	for (unsigned i = 0; i < 3; i++) {
		struct scsi_chain *held = scsi_submit_read(world, i, 0, i);
		struct scsi_chain *chain = scsi_submit_read(world, i, 1, i);

		wait_back(world, chain);
		scsi_assert_good(chain);
		assert_true(held->out);
	}
	assert_int_equal(stats_of(world, 0, 0).held, 3);
	scsi_disk_release(world->spies[0].disk);
	scsi_wait(world, stats_of(world, 0, 0).held == 0);
}

static void test_drain_when_two_adapters_show_it_then_both_are_quiet(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_command command = { .adapter = 1,
					.cdb = { READ_10, [8] = 1 },
					.in_bytes = 512 };
	struct scsi_chain *chain, *held;

	world->spies[0].later = true;
	chain = scsi_submit(world, &command);
	wait_held(world, 0, 1);
	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_world_turns(world, 10);
	assert_int_equal(world->done, 0);
	held = scsi_submit(world, &command);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_wait(world, world->done == 1);
	assert_false(chain->out);
	scsi_world_turns(world, 10);
	assert_true(held->out);
	scsi_disk_release(world->spies[0].disk);
	wait_back(world, held);
}

static void test_drain_when_no_lun_shows_it_then_done(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_lun *lun;
	struct scsi_chain *chain;

	drain(world, 3);
	lun = scsi_world_add_lun(world, 0, 3, 9, 0); /* is held from the beginning */
	chain = scsi_submit_read(world, 0, 9, 1);
	scsi_world_turns(world, 10);
	assert_true(chain->out);
	scsi_disk_release(world->spies[3].disk);
	wait_back(world, chain);
	assert_int_equal(scsi_status(chain), SCSI_CHECK_CONDITION); /* power on */
	scsi_world_remove_lun(world, lun);
}

struct nested {
	struct scsi_world *world;
	unsigned times;
};

static void release_and_drain(void *opaque)
{
	struct nested *nested = opaque;

	if (nested->times++ < 3)
		scsi_fixture_drain(nested->world->spies[0].disk, release_and_drain, nested);
	scsi_disk_release(nested->world->spies[0].disk);
}

static void test_drain_when_done_drains_again_then_each_has_its_turn(void **state)
{
	struct scsi_world *world = *state;
	struct nested nested = { .world = world };

	scsi_fixture_drain(world->spies[0].disk, release_and_drain, &nested);
	scsi_wait(world, nested.times == 4);
	wait_back(world, scsi_submit_read(world, 0, 0, 1));
}

/* ---- stop ---- */

static void test_stop_when_commands_are_held_then_it_waits_for_the_release(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_ring *ring = scsi_ring_of(world, 0, SCSI_QUEUE_FIRST);
	unsigned answers = world->answers;
	struct scsi_chain *chain;

	drain(world, 0);
	chain = scsi_submit_read(world, 0, 0, 1);
	scsi_world_turns(world, 10);
	scsi_ring_stop_begin(ring);
	scsi_world_turns(world, 10);
	assert_int_equal(world->answers, answers);
	scsi_disk_release(world->spies[0].disk);
	scsi_wait(world, world->answers == answers + 1);
	scsi_world_turns(world, 1);
	scsi_assert_good(chain);
	assert_true(world->result > 0);
	assert_int_equal(world->result, ring->driver.avail_next);
}

static void test_forget_when_drained_meanwhile_then_the_main_thread_has_the_queues(void **state)
{
	struct scsi_world *world = *state;

	wait_back(world, scsi_submit_read(world, 0, 0, 1));
	for (unsigned i = 0; i < world->ring_count; i++)
		scsi_ring_stop(scsi_ring_of(world, 0, i));
	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_device_forget_loops(world->adapters[0].device, scsi_fixture_done, world);
	scsi_wait(world, world->done == 2);
	for (unsigned i = SCSI_QUEUE_FIRST; i < world->ring_count; i++) {
		struct scsi_ring *ring = scsi_ring_of(world, 0, i);

		assert_null(world->adapters[0].device->queues[i - SCSI_QUEUE_FIRST].loop);
		scsi_device_set_loop(world->adapters[0].device, i, ring->loop);
		scsi_ring_start(ring);
	}
	{
		struct scsi_chain *chain = scsi_submit_read(world, 0, 0, 1);

		scsi_world_turns(world, 10);
		assert_true(chain->out);
		scsi_disk_release(world->spies[0].disk);
		wait_back(world, chain);
		scsi_assert_good(chain);
	}
}

/* ---- exclusive commands ---- */

static void test_exclusive_when_others_run_then_it_waits_and_holds_back(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *older, *alone, *younger, *elsewhere;

	world->spies[0].later = true;
	older = scsi_submit_read(world, 0, 0, 1);
	wait_held(world, 0, 1);
	alone = submit_alone(world, 0, 1);
	scsi_world_turns(world, 10);
	younger = scsi_submit_read(world, 2, 0, 3);
	elsewhere = scsi_submit_read(world, 2, 1, 4);
	wait_back(world, elsewhere);
	assert_int_equal(world->spies[0].held_count, 1);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, older);
	/* it reads what it compares, then writes; nobody else comes in between */
	wait_held(world, 0, 1);
	assert_int_equal(world->spies[0].last_op, BLOCK_READ);
	scsi_world_turns(world, 10);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_held(world, 0, 1);
	assert_int_equal(world->spies[0].last_op, BLOCK_WRITE);
	scsi_world_turns(world, 10);
	assert_true(younger->out);
	assert_int_equal(world->spies[0].held_count, 1);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, alone);
	scsi_assert_good(alone);
	wait_held(world, 0, 1);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, younger);
	scsi_assert_good(younger);
}

/* Of all lanes of both adapters, one at a time. */
static void test_exclusive_when_many_then_one_after_another(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[12];

	world->spies[0].later = true;
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++)
		chains[i] = submit_alone(world, i % 2, i / 2 % 2);
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		for (unsigned step = 0; step < 2; step++) {
			wait_held(world, 0, 1);
			scsi_world_turns(world, 5);
			assert_int_equal(world->spies[0].held_count, 1);
			assert_int_equal(world->spies[0].last_op, step ? BLOCK_WRITE : BLOCK_READ);
			scsi_spy_let_go(&world->spies[0], 0, 0);
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		wait_back(world, chains[i]);
		scsi_assert_good(chains[i]);
	}
}

static void test_exclusive_when_they_end_at_once_then_all_run(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[15];

	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++)
		chains[i] = submit_alone(world, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		wait_back(world, chains[i]);
		scsi_assert_good(chains[i]);
	}
	wait_back(world, scsi_submit_read(world, 1, 0, 1));
}

static void test_exclusive_when_drained_then_after_the_release(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *alone, *older;

	world->spies[0].later = true;
	older = scsi_submit_read(world, 0, 0, 1);
	alone = submit_alone(world, 0, 1);
	wait_held(world, 0, 1);
	scsi_world_turns(world, 5);
	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	scsi_wait(world, world->done == 1);
	wait_back(world, older);
	scsi_world_turns(world, 10);
	assert_int_equal(world->spies[0].held_count, 0);
	scsi_disk_release(world->spies[0].disk);
	wait_held(world, 0, 1);
	/* while it runs, a drain waits for it */
	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_world_turns(world, 10);
	assert_int_equal(world->done, 1);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_wait(world, world->done == 2);
	wait_back(world, alone);
	scsi_assert_good(alone);
	scsi_disk_release(world->spies[0].disk);
}

/* ---- task attributes ---- */

static void test_ordered_when_older_run_then_it_waits_and_holds_younger(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *spy = &world->spies[0];
	struct scsi_chain *chains[5], *elsewhere;

	spy->later = true;
	chains[0] = submit_with(world, SCSI_SIMPLE, 0);
	chains[1] = submit_with(world, SCSI_SIMPLE, 1);
	wait_held(world, 0, 2);
	chains[2] = submit_with(world, SCSI_ORDERED, 2);
	chains[3] = submit_with(world, SCSI_SIMPLE, 3);
	chains[4] = submit_with(world, SCSI_ORDERED, 4);
	scsi_world_turns(world, 10);
	assert_int_equal(spy->held_count, 2);
	elsewhere = scsi_submit_read(world, 1, 0, 9); /* another queue: the driver's business */
	wait_held(world, 0, 3);
	scsi_spy_let_go(spy, 0, 0);
	scsi_world_turns(world, 10);
	assert_int_equal(spy->held_count, 2);
	scsi_spy_let_go(spy, 0, 0);
	wait_held(world, 0, 2);
	assert_int_equal(spy->held[1]->offset, 2 * 512);
	scsi_world_turns(world, 10);
	assert_int_equal(spy->held_count, 2);
	scsi_spy_let_go(spy, 1, 0);
	wait_held(world, 0, 2);
	assert_int_equal(spy->held[1]->offset, 3 * 512);
	scsi_world_turns(world, 10);
	scsi_spy_let_go(spy, 1, 0);
	wait_held(world, 0, 2);
	assert_int_equal(spy->held[1]->offset, 4 * 512);
	scsi_spy_let_all_go(spy);
	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		wait_back(world, chains[i]);
		scsi_assert_good(chains[i]);
	}
	wait_back(world, elsewhere);
}

static void test_head_of_queue_when_others_wait_then_it_runs(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *spy = &world->spies[0];
	struct scsi_chain *older, *ordered, *head;

	spy->later = true;
	older = submit_with(world, SCSI_SIMPLE, 0);
	ordered = submit_with(world, SCSI_ORDERED, 1);
	head = submit_with(world, SCSI_HEAD_OF_QUEUE, 2);
	wait_held(world, 0, 2);
	assert_int_equal(spy->held[1]->offset, 2 * 512);
	scsi_spy_let_go(spy, 0, 0);
	scsi_world_turns(world, 10);
	assert_int_equal(spy->held_count, 1); /* ORDERED waits for it too */
	scsi_spy_let_all_go(spy);
	wait_back(world, ordered);
	assert_false(older->out);
	assert_false(head->out);
}

static void test_head_of_queue_when_drained_then_the_first_afterwards(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *spy = &world->spies[0];

	drain(world, 0);
	spy->later = true;
	submit_with(world, SCSI_SIMPLE, 1);
	submit_with(world, SCSI_HEAD_OF_QUEUE, 2);
	scsi_world_turns(world, 10);
	assert_int_equal(spy->held_count, 0);
	scsi_disk_release(spy->disk);
	wait_held(world, 0, 2);
	assert_int_equal(spy->held[0]->offset, 2 * 512);
	assert_int_equal(spy->held[1]->offset, 1 * 512);
	scsi_spy_let_all_go(spy);
}

/* ---- unplug ---- */

static void test_remove_when_commands_run_then_they_finish(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *late;

	world->spies[1].later = true;
	for (unsigned i = 0; i < 3; i++)
		chains[i] = scsi_submit_read(world, i, 1, i);
	wait_held(world, 1, 3);
	scsi_lun_remove(scsi_world_lun(world, 0, 1, 0), scsi_fixture_done, world);
	scsi_world_turns(world, 10);
	late = scsi_submit_read(world, 0, 1, 9);
	wait_back(world, late);
	assert_int_equal(scsi_response(late), VIRTIO_SCSI_S_BAD_TARGET);
	for (unsigned i = 0; i < 3; i++) {
		scsi_world_turns(world, 10);
		assert_int_equal(world->done, 0);
		scsi_spy_let_go(&world->spies[1], 0, 0);
	}
	scsi_wait(world, world->done == 1);
	for (unsigned i = 0; i < 3; i++)
		scsi_assert_good(chains[i]);
}

static void test_remove_when_commands_are_held_then_they_finish(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain, *alone;

	drain(world, 1);
	chain = scsi_submit_read(world, 0, 1, 1);
	alone = scsi_submit(world, &(struct scsi_command){ .target = 1,
							   .cdb = { COMPARE_AND_WRITE, [13] = 1 },
							   .out_bytes = 1024 });
	scsi_world_turns(world, 10);
	scsi_lun_remove(scsi_world_lun(world, 0, 1, 0), scsi_fixture_done, world);
	scsi_world_turns(world, 20);
	assert_int_equal(world->done, 1);
	scsi_disk_release(world->spies[1].disk);
	scsi_wait(world, world->done == 2);
	scsi_assert_good(chain);
	scsi_assert_good(alone);
}

/* The address is free again, the disk may come back elsewhere. */
static void test_remove_when_done_then_address_and_disk_can_be_used(void **state)
{
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < 5; i++) {
		scsi_world_remove_lun(world, scsi_world_lun(world, 0, 1, 0));
		scsi_world_add_lun(world, 0, 1 + i % 2, 1, 0);
		scsi_clear_attention(world, 0, 1);
		scsi_assert_good(scsi_run(world, &(struct scsi_command){ .target = 1 }));
	}
}

#define hold_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define two_case(test) cmocka_unit_test_setup_teardown(test, setup_two_adapters, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		hold_case(test_drain_when_commands_run_then_it_waits_for_all_lanes),
		hold_case(test_drain_when_commands_come_then_held_until_the_last_release),
		hold_case(test_drain_when_one_disk_then_the_others_run),
		two_case(test_drain_when_two_adapters_show_it_then_both_are_quiet),
		hold_case(test_drain_when_no_lun_shows_it_then_done),
		hold_case(test_drain_when_done_drains_again_then_each_has_its_turn),
		hold_case(test_stop_when_commands_are_held_then_it_waits_for_the_release),
		hold_case(test_forget_when_drained_meanwhile_then_the_main_thread_has_the_queues),
		hold_case(test_exclusive_when_others_run_then_it_waits_and_holds_back),
		two_case(test_exclusive_when_many_then_one_after_another),
		hold_case(test_exclusive_when_they_end_at_once_then_all_run),
		hold_case(test_exclusive_when_drained_then_after_the_release),
		hold_case(test_ordered_when_older_run_then_it_waits_and_holds_younger),
		hold_case(test_head_of_queue_when_others_wait_then_it_runs),
		hold_case(test_head_of_queue_when_drained_then_the_first_afterwards),
		hold_case(test_remove_when_commands_run_then_they_finish),
		hold_case(test_remove_when_commands_are_held_then_they_finish),
		hold_case(test_remove_when_done_then_address_and_disk_can_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
