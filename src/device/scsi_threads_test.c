/* SPDX-License-Identifier: MIT */
/*
 * Everything at once: four request queues on two IOThreads, two adapters that share a disk, commands of all kinds, while TMFs, drains,
 * unplug, hot plug and stopped rings go on. The race detector is the better half of this test; the other half: each chain comes back
 * once, with an answer that may be; a disk that is drained does nothing; who must be alone is alone.
 */
#include "device/scsi_fixture.h"
#include "loop/iothread.h"

#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ_10 0x28
#define COMPARE_AND_WRITE 0x89
#define ROUNDS 300u
#define COMMANDS 80u
#define TMFS 6u
#define QUEUES 4u

struct stress {
	struct scsi_world *world;
	struct iothread *threads[2];
	uint64_t seed;
	struct scsi_chain *commands[COMMANDS], *tmfs[TMFS];
	unsigned command_count, tmf_count;
	struct scsi_lun *guest; /* comes and goes; NULL while it is away */
	unsigned drained;       /* disks, a bit each */
	unsigned good, aborted, reset, absent;
};

static unsigned draw(struct stress *stress, unsigned below)
{
	stress->seed = stress->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(stress->seed >> 33) % below;
}

/* ---- set up ---- */

static int setup(void **state)
{
	struct stress *stress = calloc(1, sizeof(*stress));
	struct scsi_world_config config = { .adapters = 2, .queues = QUEUES, .slow = true };
	struct error error = { 0 };

	stress->world = calloc(1, sizeof(*stress->world));
	stress->seed = 1;
	for (unsigned i = 0; i < 2; i++) {
		struct iothread_config thread = { .id = i ? "t1" : "t0",
						  .poll = { .max_ns = i ? 0 : 32768 } };

		if (iothread_new(&thread, &stress->threads[i], &error) < 0)
			fail_msg("%s", error.text);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		config.loops[i] = iothread_loop(stress->threads[i % 2]);
	scsi_world_open(stress->world, &config);
	*state = stress;
	return 0;
}

static int teardown(void **state)
{
	struct stress *stress = *state;

	scsi_world_stop(stress->world);
	for (unsigned i = 0; i < 2; i++)
		iothread_free(stress->threads[i]);
	scsi_world_free(stress->world);
	free(stress->world);
	free(stress);
	return 0;
}

/* ---- commands ---- */

static void submit_some(struct stress *stress)
{
	struct scsi_command command = {
		.adapter = draw(stress, 2),
		.queue = draw(stress, QUEUES),
		.target = (uint8_t)draw(stress, 3),
		.tag = stress->command_count,
		.attribute = (uint8_t)draw(stress, 8), /* SIMPLE mostly */
		.cdb = { READ_10, [5] = 9, [8] = 1 },
		.in_bytes = 512,
	};

	if (command.attribute == SCSI_ACA)
		command.attribute = SCSI_SIMPLE;
	if (draw(stress, 8) == 0) {
		command.cdb[0] = COMPARE_AND_WRITE;
		command.cdb[5] = command.cdb[8] = 0;
		command.cdb[13] = 1;
		command.in_bytes = 0;
		command.out_bytes = 1024;
	}
	stress->commands[stress->command_count++] = scsi_submit(stress->world, &command);
}

static void submit_tmf(struct stress *stress)
{
	static const unsigned subtypes[] = {
		VIRTIO_SCSI_T_TMF_ABORT_TASK,      VIRTIO_SCSI_T_TMF_ABORT_TASK_SET,
		VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET,  VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET,
		VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, VIRTIO_SCSI_T_TMF_QUERY_TASK,
		VIRTIO_SCSI_T_TMF_QUERY_TASK_SET,
	};

	if (stress->tmf_count == TMFS)
		return;
	stress->tmfs[stress->tmf_count++] =
		scsi_submit_tmf(stress->world, subtypes[draw(stress, ARRAY_SIZE(subtypes))],
				draw(stress, 3), 0, draw(stress, COMMANDS));
}

/* ---- the main thread's ---- */

struct drained {
	struct stress *stress;
	unsigned disk;
};

static void is_drained(void *opaque)
{
	struct drained *drained = opaque;
	struct scsi_spy *spy = &drained->stress->world->spies[drained->disk];

	assert_int_equal(load_acquire(&spy->active), 0);
	drained->stress->drained |= 1u << drained->disk;
	free(drained);
}

static void drain(struct stress *stress)
{
	struct drained *drained = calloc(1, sizeof(*drained));

	*drained = (struct drained){ stress, draw(stress, 2) };
	scsi_fixture_drain(stress->world->spies[drained->disk].disk, is_drained, drained);
	scsi_wait(stress->world, stress->drained);
	loop_turn(stress->world->loop, 0);
	for (unsigned disk = 0; disk < 2; disk++)
		if (stress->drained & 1u << disk) {
			assert_int_equal(load_acquire(&stress->world->spies[disk].active), 0);
			scsi_disk_release(stress->world->spies[disk].disk);
		}
	stress->drained = 0;
}

static void guest_is_gone(void *opaque)
{
	struct stress *stress = opaque;

	stress->guest = NULL;
}

static void plug_or_unplug(struct stress *stress)
{
	struct scsi_lun_stats stats;

	if (!stress->guest) {
		stress->guest = scsi_world_add_lun(stress->world, 0, 2, 2, 0);
		return;
	}
	scsi_lun_get_stats(stress->guest, &stats);
	if (scsi_world_lun(stress->world, 0, 2, 0))
		scsi_lun_remove(stress->guest, guest_is_gone, stress);
}

static void stop_and_start(struct stress *stress)
{
	struct scsi_ring *ring = scsi_ring_of(stress->world, draw(stress, 2),
					      SCSI_QUEUE_FIRST + draw(stress, QUEUES));

	scsi_ring_stop(ring);
	scsi_ring_start(ring);
}

static void do_something(struct stress *stress)
{
	switch (draw(stress, 32)) {
	case 0:
	case 1:
	case 2:
		submit_tmf(stress);
		break;
	case 3:
		drain(stress);
		break;
	case 4:
	case 5:
		plug_or_unplug(stress);
		break;
	case 6:
		stop_and_start(stress);
		break;
	case 7:
		scsi_disk_capacity_changed(stress->world->spies[draw(stress, 3)].disk);
		break;
	default:
		if (stress->command_count < COMMANDS)
			submit_some(stress);
		scsi_world_turns(stress->world, 1);
	}
}

/* ---- the end of a round ---- */

static void check_command(struct stress *stress, const struct scsi_chain *chain)
{
	switch (scsi_response(chain)) {
	case VIRTIO_SCSI_S_OK:
		stress->good += scsi_status(chain) == SCSI_GOOD;
		break;
	case VIRTIO_SCSI_S_ABORTED:
		stress->aborted++;
		break;
	case VIRTIO_SCSI_S_RESET:
		stress->reset++;
		break;
	case VIRTIO_SCSI_S_BAD_TARGET:
		stress->absent++;
		break;
	default:
		fail_msg("a response that cannot be: %u", scsi_response(chain));
	}
}

static bool is_anything_out(const struct stress *stress)
{
	for (unsigned i = 0; i < stress->command_count; i++)
		if (stress->commands[i]->out)
			return true;
	for (unsigned i = 0; i < stress->tmf_count; i++)
		if (stress->tmfs[i]->out)
			return true;
	return stress->guest && !scsi_world_lun(stress->world, 0, 2, 0);
}

static void run_round(struct stress *stress)
{
	size_t allocated = stress->world->allocated;

	stress->command_count = stress->tmf_count = 0;
	for (unsigned i = 0; i < 2 * COMMANDS; i++)
		do_something(stress);
	scsi_wait(stress->world, !is_anything_out(stress));
	for (unsigned i = 0; i < stress->command_count; i++)
		check_command(stress, stress->commands[i]);
	stress->world->allocated = allocated;
}

static void
test_adapters_when_everything_happens_at_once_then_each_command_is_answered(void **state)
{
	struct stress *stress = *state;

	for (unsigned i = 0; i < ROUNDS; i++)
		run_round(stress);
	assert_true(stress->good > ROUNDS * COMMANDS / 10);
	assert_true(stress->aborted > 0 && stress->reset > 0 && stress->absent > 0);
}

/* ---- loops that go ---- */

static void test_adapter_when_its_loops_are_forgotten_then_they_may_go(void **state)
{
	struct stress *stress = *state;
	struct scsi_world *world = stress->world;
	struct scsi_chain *chain;
	unsigned done;

	for (unsigned round = 0; round < 20; round++) {
		size_t allocated = world->allocated;

		chain = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
		for (unsigned i = 0; i < 8; i++)
			submit_some(stress);
		for (unsigned i = world->ring_count; i-- > 0;)
			scsi_ring_stop(scsi_ring_of(world, 0, i));
		done = world->done;
		scsi_device_forget_loops(world->adapters[0].device, scsi_fixture_done, world);
		scsi_wait(world, world->done == done + 1);
		assert_int_equal(world->adapters[0].device->out, 0);
		plug_or_unplug(stress); /* on the main thread alone */
		scsi_wait(world, !stress->guest == !scsi_world_lun(world, 0, 2, 0));
		for (unsigned i = 0; i < world->ring_count; i++) {
			struct scsi_ring *ring = scsi_ring_of(world, 0, i);

			scsi_device_set_loop(world->adapters[0].device, i, ring->loop);
			scsi_ring_start(ring);
		}
		scsi_wait(world, !chain->out && !is_anything_out(stress));
		world->allocated = allocated;
		stress->command_count = 0;
	}
}

/* ---- a LUN that goes ---- */

/* The main thread looks whether the channel of a loop that sleeps is closed, while that loop wakes up and closes it. */
static void test_lun_when_it_goes_while_a_lane_is_stopped_then_both_end(void **state)
{
	struct stress *stress = *state;
	struct scsi_world *world = stress->world;
	struct scsi_ring *ring = scsi_ring_of(world, 0, SCSI_QUEUE_FIRST + 1); /* never polled */

	for (unsigned round = 0; round < 3 * ROUNDS; round++) {
		size_t allocated = world->allocated;
		unsigned answers = world->answers;
		uint64_t moment_ns;

		stress->guest = scsi_world_add_lun(world, 0, 2, 2, 0);
		scsi_run(world, &(struct scsi_command){ .queue = 1,
							.target = 2,
							.cdb = { READ_10, [8] = 1 },
							.in_bytes = 512 });
		scsi_wait(world, loop_is_asleep(ring->loop));
		scsi_ring_stop_begin(ring);
		moment_ns = clock_ns() + draw(stress, 60000);
		while (clock_ns() < moment_ns)
			; /* any moment of the stop */
		scsi_lun_remove(stress->guest, guest_is_gone, stress);
		scsi_wait(world, !stress->guest && world->answers > answers);
		ring->config.base = (uint16_t)world->result;
		scsi_ring_start(ring);
		world->allocated = allocated;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_adapters_when_everything_happens_at_once_then_each_command_is_answered,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_adapter_when_its_loops_are_forgotten_then_they_may_go, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_lun_when_it_goes_while_a_lane_is_stopped_then_both_end, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
