/* SPDX-License-Identifier: MIT */
/* PREEMPT AND ABORT: one initiator ends the commands of another, in all lanes. */
#include "device/scsi_fixture.h"

#include "base/endian.h"

#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ_10 0x28
#define PR_OUT 0x5f

/* Disks 0 and 1 are seen by two initiators. */
static int setup(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ .adapters = 2, .queues = 3 });
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

static struct scsi_chain *submit_pr(struct scsi_world *world, unsigned adapter, unsigned action,
				    uint8_t key, uint8_t action_key)
{
	struct scsi_chain *chain = scsi_chain_new(world, 51 + 24, 108);
	const uint8_t cdb[10] = { PR_OUT, (uint8_t)action, 1 /* write exclusive */, [8] = 24 };

	chain->out_part[0] = 1;
	memcpy(chain->out_part + 19, cdb, sizeof(cdb));
	chain->out_part[51 + 7] = key;
	chain->out_part[51 + 15] = action_key;
	scsi_chain_submit(scsi_ring_of(world, adapter, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ .out_cuts = { 51 } });
	return chain;
}

static void run_pr(struct scsi_world *world, unsigned adapter, unsigned action, uint8_t key,
		   uint8_t action_key)
{
	struct scsi_chain *chain = submit_pr(world, adapter, action, key, action_key);

	wait_back(world, chain);
	scsi_assert_good(chain);
}

#define REGISTER 0
#define RESERVE 1
#define PREEMPT_AND_ABORT 5

static void test_preempt_and_abort_when_the_other_has_commands_then_aborted(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *others[2], *own, *preempt;
	struct scsi_command command = {
		.adapter = 1, .queue = 1, .cdb = { READ_10, [8] = 1 }, .in_bytes = 512
	};

	run_pr(world, 0, REGISTER, 0, 1);
	run_pr(world, 1, REGISTER, 0, 2);
	run_pr(world, 1, RESERVE, 2, 0);
	world->spies[0].later = true;
	for (unsigned i = 0; i < 2; i++)
		others[i] = scsi_submit(world, &command);
	wait_held(world, 0, 2);
	own = scsi_submit_read(world, 1, 0, 1);
	wait_held(world, 0, 3);
	preempt = submit_pr(world, 0, PREEMPT_AND_ABORT, 1, 2);
	scsi_world_turns(world, 20);
	assert_true(preempt->out);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	scsi_world_turns(world, 10);
	assert_true(preempt->out);
	scsi_spy_let_go(&world->spies[0], 0, 0);
	wait_back(world, preempt);
	scsi_assert_good(preempt);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(scsi_response(others[i]), VIRTIO_SCSI_S_ABORTED);
	assert_true(own->out);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, own);
	scsi_assert_good(own);
	assert_int_equal(scsi_take_attention(world, 1, 0), SCSI_ASC_REGISTRATIONS_PREEMPTED);
}

/* It waits for the other's command; then it is aborted itself. Its slot is used again before the answer to it comes. */
static void test_abort_when_preempt_and_abort_waits_then_at_once(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *others, *preempt, *again;
	struct scsi_command command = { .adapter = 1,
					.cdb = { READ_10, [8] = 1 },
					.in_bytes = 512 };

	run_pr(world, 0, REGISTER, 0, 1);
	run_pr(world, 1, REGISTER, 0, 2);
	world->spies[0].later = true;
	others = scsi_submit(world, &command);
	wait_held(world, 0, 1);
	preempt = submit_pr(world, 0, PREEMPT_AND_ABORT, 1, 2);
	scsi_world_turns(world, 20);
	assert_int_equal(scsi_run_tmf(world, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 0), 0);
	assert_int_equal(scsi_response(preempt), VIRTIO_SCSI_S_ABORTED);
	again = scsi_submit_read(world, 0, 0, 1);
	wait_held(world, 0, 2);
	scsi_spy_let_all_go(&world->spies[0]);
	wait_back(world, again);
	scsi_assert_good(again);
	wait_back(world, others);
	assert_int_equal(scsi_response(others), VIRTIO_SCSI_S_ABORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_preempt_and_abort_when_the_other_has_commands_then_aborted, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_abort_when_preempt_and_abort_waits_then_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
