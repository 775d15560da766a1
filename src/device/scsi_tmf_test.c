/* SPDX-License-Identifier: MIT */
/* The control queue: task management functions, asynchronous notifications, what is malformed. */
#include "device/scsi_fixture.h"

#include "base/endian.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ_10 0x28
#define COMPARE_AND_WRITE 0x89
#define NO_RESPONSE_ROOM "a control request without room for its response"
#define UNKNOWN "a control request of a kind or size that nobody knows"

static int setup_adapters(void **state, unsigned adapters)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ .adapters = adapters, .queues = 3 });
	*state = world;
	return 0;
}

static int setup(void **state)
{
	return setup_adapters(state, 1);
}

/* Disks 0 and 1 are seen by two initiators. */
static int setup_two_adapters(void **state)
{
	return setup_adapters(state, 2);
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

/* One in each queue, with tags 100, 101, …; the disk keeps them. */
static void keep(struct scsi_world *world, unsigned disk, struct scsi_chain *chains[3])
{
	world->spies[disk].later = true;
	for (unsigned i = 0; i < 3; i++)
		chains[i] = scsi_submit_read(world, i, disk, 100 + i);
	wait_held(world, disk, 3);
}

static void drain(struct scsi_world *world, unsigned disk)
{
	unsigned done = world->done;

	scsi_fixture_drain(world->spies[disk].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == done + 1);
}

static struct scsi_chain *submit_alone(struct scsi_world *world, unsigned adapter, uint64_t tag)
{
	return scsi_submit(world, &(struct scsi_command){ .adapter = adapter,
							  .tag = tag,
							  .cdb = { COMPARE_AND_WRITE, [13] = 1 },
							  .out_bytes = 1024 });
}

/* ---- nothing there ---- */

static const struct {
	unsigned subtype, target, lun;
	uint8_t response;
} idle_cases[] = {
	{ VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0, 0 },
	{ VIRTIO_SCSI_T_TMF_CLEAR_ACA, 0, 0, VIRTIO_SCSI_S_FUNCTION_REJECTED },
	{ 8, 0, 0, VIRTIO_SCSI_S_FUNCTION_REJECTED },
	{ UINT32_MAX, 0, 0, VIRTIO_SCSI_S_FUNCTION_REJECTED },
	{ VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 1, VIRTIO_SCSI_S_INCORRECT_LUN },
	{ VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 300, VIRTIO_SCSI_S_INCORRECT_LUN },
	{ VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 7, 0 }, /* the target is what counts */
	{ VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 9, 0, VIRTIO_SCSI_S_BAD_TARGET },
	{ VIRTIO_SCSI_T_TMF_QUERY_TASK, 9, 0, VIRTIO_SCSI_S_BAD_TARGET },
};

static void test_tmf_when_nothing_runs_then_answered(void **state)
{
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(idle_cases); i++)
		assert_int_equal(scsi_run_tmf(world, idle_cases[i].subtype, idle_cases[i].target,
					      idle_cases[i].lun, 1),
				 idle_cases[i].response);
}

/* ---- ABORT TASK, ABORT TASK SET ---- */

static void test_abort_task_when_the_disk_has_it_then_awaited(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *tmf;

	keep(world, 0, chains);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 101);
	scsi_world_turns(world, 10);
	assert_true(tmf->out);
	/* other LUNs never notice */
	wait_back(world, scsi_submit_read(world, 1, 1, 1));
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, chains[0]);
	scsi_assert_good(chains[0]);
	scsi_world_turns(world, 10);
	assert_true(tmf->out);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
	assert_int_equal(scsi_response(chains[1]), VIRTIO_SCSI_S_ABORTED);
	assert_true(chains[2]->out);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, chains[2]);
	scsi_assert_good(chains[2]);
}

static void test_abort_task_when_tag_is_of_another_lun_then_untouched(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3];

	keep(world, 0, chains);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 1, 0, 101), 0);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 999), 0);
	scsi_spy_let_all_go(&world->spies[0]);
	for (unsigned i = 0; i < 3; i++) {
		wait_back(world, chains[i]);
		scsi_assert_good(chains[i]);
	}
}

static void test_abort_task_when_it_is_held_then_at_once(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3];

	drain(world, 0);
	for (unsigned i = 0; i < 3; i++)
		chains[i] = scsi_submit_read(world, 0, 0, i);
	scsi_world_turns(world, 10);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 1), 0);
	assert_int_equal(scsi_response(chains[1]), VIRTIO_SCSI_S_ABORTED);
	assert_true(chains[0]->out && chains[2]->out);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 2), 0);
	assert_int_equal(scsi_response(chains[2]), VIRTIO_SCSI_S_ABORTED);
	chains[2] = scsi_submit_read(world, 0, 0, 3); /* behind the last that is left */
	scsi_world_turns(world, 10);
	scsi_disk_release(world->spies[0].disk);
	wait_back(world, chains[2]);
	scsi_assert_good(chains[0]);
	scsi_assert_good(chains[2]);
	assert_int_equal(world->spies[0].count, 2);
}

/* The ORDERED one goes; what waited for it need not wait any more. */
static void test_abort_task_when_others_wait_behind_it_then_they_run(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_command command = { .cdb = { READ_10, [8] = 1 }, .in_bytes = 512 };
	struct scsi_chain *older, *ordered, *younger;

	world->spies[0].later = true;
	older = scsi_submit(world, &command);
	command.tag = 5;
	command.attribute = SCSI_ORDERED;
	ordered = scsi_submit(world, &command);
	command.tag = 6;
	command.attribute = SCSI_SIMPLE;
	younger = scsi_submit(world, &command);
	wait_held(world, 0, 1);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 5), 0);
	assert_int_equal(scsi_response(ordered), VIRTIO_SCSI_S_ABORTED);
	wait_held(world, 0, 2);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, younger);
	wait_back(world, older);
}

static void test_abort_task_when_it_waits_to_be_alone_then_at_once(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *reader, *alone;

	world->spies[0].later = true;
	reader = scsi_submit_read(world, 1, 0, 1);
	wait_held(world, 0, 1);
	alone = submit_alone(world, 0, 7);
	scsi_world_turns(world, 10);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 7), 0);
	assert_int_equal(scsi_response(alone), VIRTIO_SCSI_S_ABORTED);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, reader);
	scsi_assert_good(reader);
	/* its turn comes and finds nobody; the disk runs again, and the next has its turn */
	wait_back(world, scsi_submit_read(world, 0, 0, 8));
	alone = submit_alone(world, 0, 9);
	wait_back(world, alone);
	scsi_assert_good(alone);
}

static void test_abort_task_set_when_all_lanes_have_some_then_all_of_the_lun(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *others[3], *tmf, *late;

	keep(world, 0, chains);
	keep(world, 1, others);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 0);
	scsi_world_turns(world, 10);
	late = scsi_submit_read(world, 0, 0, 200); /* came after it: untouched */
	wait_held(world, 0, 4);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(tmf->out);
		scsi_spy_let_go(&world->spies[0], 0, i == 1 ? -EIO : 0);
		scsi_world_turns(world, 5);
	}
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(scsi_response(chains[i]), VIRTIO_SCSI_S_ABORTED);
		assert_int_equal(chains[i]->written, 108);
		assert_true(others[i]->out);
	}
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_spy_let_all_go(&world->spies[1]);
	wait_back(world, late);
	scsi_assert_good(late);
}

static void test_abort_when_asked_many_times_then_each_waits(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *tmfs[6];

	keep(world, 0, chains);
	tmfs[0] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 100);
	tmfs[1] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 0);
	tmfs[2] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	tmfs[3] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 101);
	tmfs[4] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0);
	tmfs[5] = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET, 0, 0, 0);
	scsi_world_turns(world, 10);
	for (unsigned i = 0; i < 6; i++)
		assert_true(tmfs[i]->out);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, tmfs[0]);
	scsi_world_turns(world, 10);
	assert_true(tmfs[1]->out && tmfs[2]->out && tmfs[4]->out && tmfs[5]->out);
	scsi_spy_let_all_go(&world->spies[0]);
	for (unsigned i = 0; i < 6; i++) {
		wait_back(world, tmfs[i]);
		assert_int_equal(scsi_tmf_response(tmfs[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(scsi_response(chains[i]), VIRTIO_SCSI_S_ABORTED);
	scsi_clear_attention(world, 0, 0);
	scsi_assert_good(scsi_run(world, &(struct scsi_command){ 0 }));
}

/* ---- QUERY ---- */

static void test_query_when_present_then_succeeded(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *held;

	keep(world, 0, chains);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 102),
			 VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 103), 0);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK, 1, 0, 102), 0);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0, 0),
			 VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 1, 0, 0), 0);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, chains[2]);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0, 0), 0);
	drain(world, 0);
	held = scsi_submit_read(world, 0, 0, 9);
	scsi_world_turns(world, 10);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 9),
			 VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
	scsi_disk_release(world->spies[0].disk);
	wait_back(world, held);
}

/* ---- CLEAR TASK SET ---- */

static void test_clear_task_set_when_others_have_commands_then_theirs_too(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *own, *others, *tmf;

	world->spies[0].later = true;
	own = scsi_submit_read(world, 0, 0, 1);
	others = scsi_submit(world, &(struct scsi_command){ .adapter = 1,
							    .cdb = { READ_10, [8] = 1 },
							    .in_bytes = 512 });
	wait_held(world, 0, 2);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET, 0, 0, 0);
	scsi_world_turns(world, 10);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
	assert_int_equal(scsi_response(own), VIRTIO_SCSI_S_ABORTED);
	assert_int_equal(scsi_response(others), VIRTIO_SCSI_S_ABORTED);
	assert_int_equal(scsi_take_attention(world, 0, 0), 0);
	assert_int_equal(scsi_take_attention(world, 1, 0), SCSI_ASC_COMMANDS_CLEARED_BY_ANOTHER);
	/* who had none hears nothing */
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET, 0, 0, 0), 0);
	assert_int_equal(scsi_take_attention(world, 1, 0), 0);
}

/* ---- resets ---- */

static void test_lun_reset_when_commands_run_then_all_of_all_initiators(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[4], *others[3], *tmf, *late;

	keep(world, 0, chains);
	chains[3] = scsi_submit(world, &(struct scsi_command){ .adapter = 1,
							       .cdb = { READ_10, [8] = 1 },
							       .in_bytes = 512 });
	wait_held(world, 0, 4);
	keep(world, 1, others);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	scsi_world_turns(world, 10);
	late = scsi_submit_read(world, 2, 0, 300);
	scsi_world_turns(world, 10);
	assert_int_equal(world->spies[0].held_count, 4); /* held back until the reset is done */
	for (unsigned i = 0; i < 4; i++) {
		assert_true(tmf->out);
		scsi_spy_let_go(&world->spies[0], 0, 0);
		scsi_world_turns(world, 5);
	}
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(scsi_response(chains[i]), VIRTIO_SCSI_S_RESET);
	/* the first command behind the reset hears of it */
	wait_back(world, late);
	scsi_assert_sense(late, SCSI_UNIT_ATTENTION, SCSI_ASC_BUS_DEVICE_RESET);
	assert_int_equal(scsi_take_attention(world, 1, 0), SCSI_ASC_BUS_DEVICE_RESET);
	assert_int_equal(scsi_take_attention(world, 0, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(others[i]->out);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_spy_let_all_go(&world->spies[1]);
	wait_back(world, others[2]);
	assert_int_equal(scsi_take_attention(world, 0, 1), 0);
}

static void test_lun_reset_when_commands_are_held_then_at_once(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *held, *late;

	drain(world, 0);
	held = scsi_submit_read(world, 0, 0, 1);
	scsi_world_turns(world, 10);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0), 0);
	assert_int_equal(scsi_response(held), VIRTIO_SCSI_S_RESET);
	late = scsi_submit_read(world, 0, 0, 2);
	scsi_world_turns(world, 10);
	assert_true(late->out); /* the drain goes on */
	scsi_disk_release(world->spies[0].disk);
	wait_back(world, late);
	scsi_assert_sense(late, SCSI_UNIT_ATTENTION, SCSI_ASC_BUS_DEVICE_RESET);
}

static void test_lun_reset_when_an_exclusive_command_runs_then_awaited(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *alone, *next, *tmf;

	world->spies[0].later = true;
	alone = submit_alone(world, 0, 1);
	wait_held(world, 0, 1);
	next = submit_alone(world, 0, 2); /* held back */
	scsi_world_turns(world, 10);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	scsi_world_turns(world, 10);
	assert_true(tmf->out);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, tmf);
	assert_int_equal(scsi_response(alone), VIRTIO_SCSI_S_RESET);
	assert_int_equal(scsi_response(next), VIRTIO_SCSI_S_RESET);
	scsi_clear_attention(world, 0, 0);
	alone = submit_alone(world, 0, 3);
	wait_back(world, alone);
	scsi_assert_good(alone);
}

static void test_nexus_reset_when_target_has_luns_then_all_of_them(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *second, *tmf;

	scsi_world_add_lun(world, 0, 2, 0, 4);
	scsi_clear_attention(world, 0, 0);
	while (scsi_status(scsi_run(world, &(struct scsi_command){ .lun = 4 })))
		;
	keep(world, 0, chains);
	world->spies[2].later = true;
	second = scsi_submit(world, &(struct scsi_command){ .lun = 4,
							    .cdb = { READ_10, [8] = 1 },
							    .in_bytes = 512 });
	wait_held(world, 2, 1);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0);
	scsi_world_turns(world, 10);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_world_turns(world, 10);
	assert_true(tmf->out);
	scsi_spy_let_all_go(&world->spies[2]);
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
	assert_int_equal(scsi_response(chains[0]), VIRTIO_SCSI_S_RESET);
	assert_int_equal(scsi_response(second), VIRTIO_SCSI_S_RESET);
	assert_int_equal(scsi_take_attention(world, 0, 0), SCSI_ASC_NEXUS_LOSS);
	scsi_assert_sense(scsi_run(world, &(struct scsi_command){ .lun = 4 }), SCSI_UNIT_ATTENTION,
			  SCSI_ASC_NEXUS_LOSS);
	assert_int_equal(scsi_take_attention(world, 0, 1), 0);
}

static void test_nexus_reset_when_another_initiator_has_commands_then_untouched(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *others;

	world->spies[0].later = true;
	others = scsi_submit(world, &(struct scsi_command){ .adapter = 1,
							    .cdb = { READ_10, [8] = 1 },
							    .in_bytes = 512 });
	wait_held(world, 0, 1);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0), 0);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, others);
	scsi_assert_good(others);
	assert_int_equal(scsi_take_attention(world, 1, 0), 0);
}

static void test_remove_when_a_reset_is_out_then_after_it(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chains[3], *tmf;

	keep(world, 1, chains);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0, 0);
	scsi_world_turns(world, 10);
	scsi_lun_remove(scsi_world_lun(world, 0, 1, 0), scsi_fixture_done, world);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0, 0),
			 VIRTIO_SCSI_S_BAD_TARGET);
	assert_int_equal(world->done, 0);
	scsi_spy_let_all_go(&world->spies[1]);
	scsi_wait(world, world->done == 1);
	wait_back(world, tmf);
	assert_int_equal(scsi_tmf_response(tmf), 0);
}

static void test_stop_of_ctrl_when_a_tmf_is_out_then_it_waits(void **state)
{
	struct scsi_world *world = *state;
	unsigned answers = world->answers;
	struct scsi_chain *chains[3], *tmf;

	keep(world, 0, chains);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 0);
	scsi_world_turns(world, 10);
	scsi_ring_stop_begin(scsi_ring_of(world, 0, SCSI_QUEUE_CTRL));
	scsi_world_turns(world, 10);
	assert_int_equal(world->answers, answers);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_wait(world, world->answers == answers + 1);
	scsi_world_turns(world, 1);
	assert_int_equal(scsi_tmf_response(tmf), 0);
}

/* ---- asynchronous notifications, malformed requests ---- */

static struct scsi_chain *submit_ctrl(struct scsi_world *world, uint32_t type, uint32_t out_bytes,
				      uint32_t in_bytes)
{
	struct scsi_chain *chain = scsi_chain_new(world, out_bytes, in_bytes);
	struct le32 wire = le32_make(type);

	memcpy(chain->out_part, &wire, MIN(sizeof(wire), out_bytes));
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_CTRL), chain,
			  &(struct scsi_shape){ 0 });
	return chain;
}

static void test_notifications_when_asked_for_then_there_are_none(void **state)
{
	struct scsi_world *world = *state;

	for (uint32_t type = VIRTIO_SCSI_T_AN_QUERY; type <= VIRTIO_SCSI_T_AN_SUBSCRIBE; type++) {
		struct scsi_chain *chain = submit_ctrl(world, type, 16, 5);

		wait_back(world, chain);
		assert_int_equal(chain->written, 5);
		assert_memory_equal(chain->in_part, (const uint8_t[5]){ 0 }, 5);
	}
}

static const struct {
	uint32_t type, out_bytes, in_bytes;
	const char *reason;
} malformed[] = {
	{ VIRTIO_SCSI_T_TMF, 24, 0, NO_RESPONSE_ROOM },
	{ VIRTIO_SCSI_T_TMF, 23, 1, UNKNOWN },
	{ VIRTIO_SCSI_T_TMF, 0, 1, UNKNOWN },
	{ VIRTIO_SCSI_T_AN_QUERY, 15, 5, UNKNOWN },
	{ VIRTIO_SCSI_T_AN_QUERY, 16, 4, NO_RESPONSE_ROOM },
	{ VIRTIO_SCSI_T_AN_SUBSCRIBE, 16, 0, NO_RESPONSE_ROOM },
	{ 3, 24, 5, UNKNOWN },
	{ UINT32_MAX, 24, 5, UNKNOWN },
};

static void test_ctrl_when_malformed_then_that_queue_breaks(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(malformed); i++) {
		struct scsi_world *world;
		struct scsi_ring *ring;

		setup(state);
		world = *state;
		ring = scsi_ring_of(world, 0, SCSI_QUEUE_CTRL);
		submit_ctrl(world, malformed[i].type, malformed[i].out_bytes,
			    malformed[i].in_bytes);
		scsi_wait(world, ring->broken_count == 1);
		assert_string_equal(ring->broken_reason, malformed[i].reason);
		scsi_assert_good(scsi_run(world, &(struct scsi_command){ 0 }));
		teardown(state);
	}
}

#define tmf_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define two_case(test) cmocka_unit_test_setup_teardown(test, setup_two_adapters, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmf_case(test_tmf_when_nothing_runs_then_answered),
		tmf_case(test_abort_task_when_the_disk_has_it_then_awaited),
		tmf_case(test_abort_task_when_tag_is_of_another_lun_then_untouched),
		tmf_case(test_abort_task_when_it_is_held_then_at_once),
		tmf_case(test_abort_task_when_others_wait_behind_it_then_they_run),
		tmf_case(test_abort_task_when_it_waits_to_be_alone_then_at_once),
		tmf_case(test_abort_task_set_when_all_lanes_have_some_then_all_of_the_lun),
		tmf_case(test_abort_when_asked_many_times_then_each_waits),
		tmf_case(test_query_when_present_then_succeeded),
		two_case(test_clear_task_set_when_others_have_commands_then_theirs_too),
		two_case(test_lun_reset_when_commands_run_then_all_of_all_initiators),
		tmf_case(test_lun_reset_when_commands_are_held_then_at_once),
		tmf_case(test_lun_reset_when_an_exclusive_command_runs_then_awaited),
		tmf_case(test_nexus_reset_when_target_has_luns_then_all_of_them),
		two_case(test_nexus_reset_when_another_initiator_has_commands_then_untouched),
		tmf_case(test_remove_when_a_reset_is_out_then_after_it),
		tmf_case(test_stop_of_ctrl_when_a_tmf_is_out_then_it_waits),
		tmf_case(test_notifications_when_asked_for_then_there_are_none),
		cmocka_unit_test(test_ctrl_when_malformed_then_that_queue_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
