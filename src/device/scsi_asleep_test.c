/* SPDX-License-Identifier: MIT */
/*
 * Loops that sleep and have nothing of a LUN are not woken because something is done to it; what they must know, they know when they
 * wake up. Request queue 0 is on the main loop, request queue 1 on an IOThread of its own; what is done, is done to target 0.
 */
#include "device/scsi_fixture.h"
#include "loop/iothread.h"

#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define READ_10 0x28
#define COMPARE_AND_WRITE 0x89

struct asleep {
	struct scsi_world world;
	struct iothread *thread;
	struct loop *loop; /* its */
	struct loop_message ping;
	bool posted; /* atomic: whoever has posted the ping is out */
	bool pinged;
};

static int setup(void **state)
{
	struct asleep *test = calloc(1, sizeof(*test));
	struct iothread_config thread = { .id = "t0" };
	struct scsi_world_config config = { 0 };
	struct error error = { 0 };

	if (iothread_new(&thread, &test->thread, &error) < 0)
		fail_msg("%s", error.text);
	test->loop = config.loops[1] = iothread_loop(test->thread);
	scsi_world_open(&test->world, &config);
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct asleep *test = *state;

	scsi_world_stop(&test->world);
	iothread_free(test->thread);
	scsi_world_free(&test->world);
	free(test);
	return 0;
}

static struct scsi_chain *read_there(struct asleep *test, unsigned target)
{
	struct scsi_chain *chain = scsi_submit_read(&test->world, 1, target, 1);

	scsi_wait(&test->world, !chain->out);
	return chain;
}

static void ping_back(struct loop_message *message)
{
	container_of(message, struct asleep, ping)->pinged = true;
}

/* Who posts may wake the loop after that has seen the message: such a wake-up is there, and seen in this turn, once it is out. */
static void ping_there(struct loop_message *message)
{
	struct asleep *test = container_of(message, struct asleep, ping);

	while (!load_acquire(&test->posted)) /* pairs with settle */
		sched_yield();
	message->fn = ping_back;
	loop_post(test->world.loop, message);
}

/* For good: nothing that it has begun, a call say, is left to wake it, nor the ping itself. */
static void settle(struct asleep *test)
{
	test->pinged = test->posted = false;
	test->ping.fn = ping_there;
	loop_post(test->loop, &test->ping);
	store_release(&test->posted, true); /* pairs with ping_there */
	scsi_wait(&test->world, test->pinged && loop_is_asleep(test->loop));
}

static struct loop_stats stats_of(const struct asleep *test)
{
	struct loop_stats stats;

	loop_get_stats(test->loop, &stats);
	return stats;
}

static void assert_sleeps_since(struct asleep *test, struct loop_stats before)
{
	scsi_world_turns(&test->world, 10);
	assert_true(loop_is_asleep(test->loop));
	assert_int_equal(stats_of(test).turns, before.turns);
}

static bool is_held(struct asleep *test)
{
	struct scsi_lun_stats stats;

	scsi_lun_get_stats(scsi_world_lun(&test->world, 0, 0, 0), &stats);
	return stats.held == 1;
}

static void drain_and_release(struct asleep *test)
{
	struct scsi_world *world = &test->world;
	unsigned done = world->done;

	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == done + 1);
	scsi_disk_release(world->spies[0].disk);
	scsi_wait(world, world->spies[0].disk->phase == SCSI_DISK_RUNS);
}

static void manage(struct asleep *test, unsigned subtype)
{
	assert_int_equal(scsi_run_tmf(&test->world, subtype, 0, 0, 0), VIRTIO_SCSI_S_OK);
}

static void do_everything_but_unplug(struct asleep *test)
{
	struct scsi_command compare = {
		.cdb = { COMPARE_AND_WRITE, [13] = 1 },
		.out_bytes = 1024,
	};

	drain_and_release(test);
	manage(test, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET);
	manage(test, VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET);
	manage(test, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET);
	manage(test, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET);
	manage(test, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET);
	scsi_clear_attention(&test->world, 0, 0);
	scsi_run(&test->world, &compare);
	scsi_wait(&test->world, test->world.spies[0].disk->phase == SCSI_DISK_RUNS);
}

static void test_loop_when_it_has_nothing_of_the_lun_then_it_sleeps_on(void **state)
{
	struct asleep *test = *state;
	struct loop_stats before;

	scsi_assert_good(read_there(test, 1));
	settle(test);
	before = stats_of(test);
	for (unsigned i = 0; i < 5; i++) {
		do_everything_but_unplug(test);
		scsi_world_remove_lun(&test->world, scsi_world_lun(&test->world, 0, 0, 0));
		scsi_world_add_lun(&test->world, 0, 0, 0, 0);
	}
	assert_sleeps_since(test, before);
	scsi_assert_good(read_there(test, 1));
	assert_true(stats_of(test).turns > before.turns);
}

/* Its channel must be closed by itself. */
static void test_loop_when_it_has_used_the_lun_then_only_its_removal_wakes_it(void **state)
{
	struct asleep *test = *state;
	struct loop_stats before;

	scsi_assert_good(read_there(test, 0));
	settle(test);
	before = stats_of(test);
	do_everything_but_unplug(test);
	assert_sleeps_since(test, before);
	scsi_world_remove_lun(&test->world, scsi_world_lun(&test->world, 0, 0, 0));
	assert_int_equal(stats_of(test).messages - before.messages, 1);
	assert_int_equal(scsi_response(read_there(test, 0)), VIRTIO_SCSI_S_BAD_TARGET);
}

static void test_loop_when_it_wakes_while_the_lun_is_held_then_its_command_waits(void **state)
{
	struct asleep *test = *state;
	struct scsi_world *world = &test->world;

	for (unsigned i = 1; i <= 5; i++) {
		unsigned count = world->spies[0].count;
		struct loop_stats before;
		struct scsi_chain *chain;

		settle(test);
		before = stats_of(test);
		scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
		scsi_wait(world, world->done == i);
		assert_sleeps_since(test, before);
		chain = scsi_submit_read(world, 1, 0, i);
		scsi_wait(world, is_held(test));
		settle(test);
		assert_true(chain->out);
		assert_int_equal(world->spies[0].count, count);
		scsi_disk_release(world->spies[0].disk);
		scsi_wait(world, !chain->out);
		scsi_assert_good(chain);
		scsi_wait(world, world->spies[0].disk->phase == SCSI_DISK_RUNS);
	}
}

static void test_reset_when_a_sleeping_loop_has_commands_then_they_are_ended(void **state)
{
	struct asleep *test = *state;
	struct scsi_world *world = &test->world;
	struct scsi_chain *held, *reset;

	scsi_fixture_drain(world->spies[0].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == 1);
	held = scsi_submit_read(world, 1, 0, 1);
	scsi_wait(world, is_held(test));
	settle(test);
	reset = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	scsi_wait(world, !reset->out);
	assert_false(held->out);
	assert_int_equal(scsi_response(held), VIRTIO_SCSI_S_RESET);
	scsi_disk_release(world->spies[0].disk);
}

#define asleep_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		asleep_case(test_loop_when_it_has_nothing_of_the_lun_then_it_sleeps_on),
		asleep_case(test_loop_when_it_has_used_the_lun_then_only_its_removal_wakes_it),
		asleep_case(test_loop_when_it_wakes_while_the_lun_is_held_then_its_command_waits),
		asleep_case(test_reset_when_a_sleeping_loop_has_commands_then_they_are_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
