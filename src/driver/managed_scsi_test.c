// SPDX-License-Identifier: MIT
/*
 * Managed SCSI devices in trouble: the rungs of the ladder that task management has, and what a reset and a reconnect have to
 * bring back. The ladder is climbed by hand.
 */
#include "driver/test_managed.h"
#include "driver/test_scsi.h"

#include "base/fd.h"
#include "driver/scsi.h"

#define FOREVER_NS (UINT64_MAX / 4)

struct rig {
	struct test_scsi scsi;
	struct ringlane_lun *luns[2];
	struct ringlane_managed *managed;
	struct test_tally late,
		patient; /* requests that are late at once, and those that never are */
};

static const struct ringlane_options one = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };
static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };

static void rig_open(struct rig *rig, const struct fake_scsi_setup *setup,
		     const struct ringlane_options *device_options,
		     const struct ringlane_managed_options *options)
{
	struct ringlane_error error = { 0 };

	*rig = (struct rig){ .scsi = test_scsi_open(setup, device_options) };
	for (unsigned i = 0; i < 2; i++)
		if (ringlane_lun_open(rig->scsi.device, NULL, 0, i, &rig->luns[i], &error) < 0)
			fail_msg("lun %u: %s", i, error.text);
	test_tally_init(&rig->late);
	test_tally_init(&rig->patient);
	if (ringlane_managed_start(rig->scsi.device, options, &rig->managed, &error) < 0)
		fail_msg("start: %s", error.text);
}

static void rig_close(struct rig *rig)
{
	ringlane_managed_free(rig->managed);
	for (unsigned i = 0; i < 2; i++)
		ringlane_lun_close(rig->luns[i]);
	test_scsi_close(&rig->scsi);
}

static struct ringlane_managed_stats stats_of(const struct rig *rig)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(rig->managed, &stats);
	return stats;
}

static void submit(struct rig *rig, unsigned lun, enum ringlane_op op, unsigned sector, bool late)
{
	const struct ringlane_request request = {
		.op = op,
		.data = rig->scsi.buffer + 512 * sector,
		.bytes = 512,
		.offset = 512ull * sector,
		.lun = rig->luns[lun],
		.timeout_ns = late ? 1 : FOREVER_NS,
		.done = test_tally_done,
		.user_data = late ? &rig->late : &rig->patient,
	};

	assert_int_equal(ringlane_managed_submit(rig->managed, &request, 1), 1);
}

/* The device holds what is submitted between these two, and nothing else. */
static unsigned hold_begin(struct rig *rig)
{
	fake_scsi_set_trick(rig->scsi.fake, FAKE_SCSI_HOLDS);
	return fake_scsi_taken(rig->scsi.fake);
}

static void hold_end(struct rig *rig, unsigned taken)
{
	test_until(fake_scsi_taken(rig->scsi.fake) == taken);
	fake_scsi_set_trick(rig->scsi.fake, FAKE_SCSI_HONEST);
}

/* ---- the rungs ---- */

/* Looks at the ring and kicks do not help; then this many functions are tried. */
static void climb(struct rig *rig, unsigned functions)
{
	for (unsigned i = 0; i < 2 + functions; i++) {
		assert_int_equal(test_tally_wait(&rig->late, 0), 0);
		test_ladder_climb(rig->managed);
	}
}

static const unsigned functions[] = {
	RINGLANE_SCSI_ABORT_TASK,
	RINGLANE_SCSI_LOGICAL_UNIT_RESET,
	RINGLANE_SCSI_I_T_NEXUS_RESET,
};

/* From index on: the functions came in order, for LUN 1 alone. */
static void functions_check(const struct rig *rig, unsigned index, unsigned count)
{
	assert_int_equal(fake_scsi_managed(rig->scsi.fake), index + count);
	for (unsigned i = 0; i < count; i++) {
		struct fake_scsi_tmf tmf = fake_scsi_tmf(rig->scsi.fake, index + i);

		assert_int_equal(tmf.subtype, functions[i]);
		assert_int_equal(tmf.target, 0);
		assert_int_equal(tmf.lun, 1);
	}
}

static void stats_check(const struct rig *rig, unsigned rung, unsigned times)
{
	struct ringlane_managed_stats stats = stats_of(rig);

	assert_int_equal(stats.late_polls, times);
	assert_int_equal(stats.late_kicks, times);
	assert_int_equal(stats.aborts, times);
	assert_int_equal(stats.lun_resets, rung >= 2 ? times : 0);
	assert_int_equal(stats.nexus_resets, rung >= 3 ? times : 0);
	assert_int_equal(stats.resets, rung >= 4 ? times : 0);
	assert_int_equal(stats.zombies, 0);
}

/* A command that is ended: a read is put in again, a write is late. rung: the one that helps. */
static void rung_check(struct rig *rig, unsigned rung, enum ringlane_op op)
{
	unsigned before = fake_scsi_managed(rig->scsi.fake), done = rig->late.done;
	unsigned taken = hold_begin(rig);

	rig->late.done = 0;
	submit(rig, 1, op, 3, true);
	submit(rig, 0, RINGLANE_OP_READ, 4, false);
	hold_end(rig, taken + 2);
	climb(rig, rung);
	assert_int_equal(test_tally_wait(&rig->late, 1), 1);
	assert_int_equal(rig->late.last, op == RINGLANE_OP_READ ? 0 : -ETIMEDOUT);
	functions_check(rig, before, MIN(rung, 3u));
	test_ladder_leave(rig->managed);
	rig->late.done += done;
}

/* The other LUN's command is still where it was, and comes to an end of its own. */
static void other_check(struct rig *rig, bool untouched)
{
	if (untouched)
		assert_int_equal(test_tally_wait(&rig->patient, 0), 0);
	fake_scsi_release(rig->scsi.fake);
	assert_int_equal(test_tally_wait(&rig->patient, 1), 1);
	assert_int_equal(rig->patient.failed, 0);
	rig->patient.done = 0;
}

static const struct ringlane_managed_options by_hand = {
	.step_ns = TEST_DEADLINE_MS * NS_PER_MS, /* what an answer is waited for */
};

static void test_command_when_a_rung_ends_it_then_no_further_one_is_climbed(void **state)
{
	for (unsigned rung = 1; rung <= 4; rung++) {
		const struct fake_scsi_setup setup = { .luns = 2, .lets_go = rung < 4 ? rung : 0 };
		struct rig rig;

		rig_open(&rig, &setup, &one, &by_hand);
		test_ladder_take(rig.managed);
		memset(rig.scsi.buffer, 0x5a, 4096);
		rung_check(&rig, rung, RINGLANE_OP_WRITE);
		other_check(&rig, rung <= 2);
		stats_check(&rig, rung, 1);
		rung_check(&rig, rung, RINGLANE_OP_READ);
		other_check(&rig, rung <= 2);
		stats_check(&rig, rung, 2);
		assert_int_equal(rig.late.done, 2);
		assert_int_equal(rig.late.failed, 1);
		assert_int_equal(rig.scsi.buffer[3 * 512], 0); /* it was never written */
		rig_close(&rig);
	}
}

/* Two of one LUN are late, one is not: two are aborted, by their tags. */
static void test_commands_when_some_are_late_then_those_are_aborted(void **state)
{
	const struct fake_scsi_setup setup = { .luns = 2, .lets_go = FAKE_SCSI_LETS_GO_AT_ABORT };
	struct fake_scsi_tmf tmfs[2];
	struct rig rig;
	unsigned taken;

	rig_open(&rig, &setup, &one, &by_hand);
	test_ladder_take(rig.managed);
	taken = hold_begin(&rig);
	submit(&rig, 1, RINGLANE_OP_WRITE, 1, true);
	submit(&rig, 1, RINGLANE_OP_WRITE, 2, false);
	submit(&rig, 0, RINGLANE_OP_WRITE, 3, true);
	hold_end(&rig, taken + 3);
	climb(&rig, 1);
	assert_int_equal(test_tally_wait(&rig.late, 2), 2);
	assert_int_equal(rig.late.last, -ETIMEDOUT);
	assert_int_equal(fake_scsi_managed(rig.scsi.fake), 2);
	for (unsigned i = 0; i < 2; i++)
		tmfs[i] = fake_scsi_tmf(rig.scsi.fake, i);
	assert_int_equal(tmfs[0].lun + tmfs[1].lun, 1);
	assert_true(tmfs[0].tag != tmfs[1].tag);
	other_check(&rig, true);
	rig_close(&rig);
}

/* Commands of both LUNs are late, in turns: each LUN and the target are reset once. */
static void test_resets_when_many_commands_are_late_then_one_for_each_lun_and_target(void **state)
{
	const struct fake_scsi_setup setup = { .luns = 2,
					       .lets_go = FAKE_SCSI_LETS_GO_AT_NEXUS_RESET };
	unsigned counts[3] = { 0 }, taken;
	struct rig rig;

	rig_open(&rig, &setup, &one, &by_hand);
	test_ladder_take(rig.managed);
	taken = hold_begin(&rig);
	for (unsigned i = 0; i < 6; i++)
		submit(&rig, i % 2, RINGLANE_OP_READ, i, true);
	hold_end(&rig, taken + 6);
	climb(&rig, 3);
	assert_int_equal(test_tally_wait(&rig.late, 6), 6);
	assert_int_equal(rig.late.failed, 0);
	assert_int_equal(stats_of(&rig).replayed, 6);
	for (unsigned i = 0; i < fake_scsi_managed(rig.scsi.fake); i++)
		for (unsigned k = 0; k < 3; k++)
			counts[k] += fake_scsi_tmf(rig.scsi.fake, i).subtype == functions[k];
	assert_int_equal(counts[0], 6);
	assert_int_equal(counts[1], 2);
	assert_int_equal(counts[2], 1);
	rig_close(&rig);
}

/* One function of each rung is waited for, for a step, and then the device is reset, which brings its events back too. */
static void test_control_queue_when_it_never_answers_then_the_device_is_reset(void **state)
{
	const struct ringlane_managed_options options = { .step_ns = 10 * NS_PER_MS };
	const struct fake_scsi_setup setup = { .ring_max = 6, .luns = 2, .silent_control = true };
	const struct virtio_scsi_event event = { .event = VIRTIO_SCSI_T_EVENTS_MISSED };
	struct rig rig;

	rig_open(&rig, &setup, &two, &options);
	test_ladder_take(rig.managed);
	for (unsigned round = 1; round <= 3; round++) {
		unsigned taken = hold_begin(&rig);

		rig.late.done = 0;
		for (unsigned i = 0; i < 6; i++)
			submit(&rig, i % 2, RINGLANE_OP_READ, i, true);
		hold_end(&rig, taken + 6);
		while (stats_of(&rig).resets < round) {
			assert_int_equal(test_tally_wait(&rig.late, 0), 0);
			assert_true(stats_of(&rig).nexus_resets <= 2 * round);
			test_ladder_climb(rig.managed);
		}
		assert_int_equal(test_tally_wait(&rig.late, 6), 6);
		assert_int_equal(rig.late.failed, 0);
		assert_true(fake_scsi_managed(rig.scsi.fake) <= 2 * 3 * round);
	}
	assert_true(fake_scsi_send_event(rig.scsi.fake, &event, sizeof(event), sizeof(event)));
	rig_close(&rig);
}

/* It is ended again each time it is put in. */
static void test_command_when_aborted_for_ever_then_etimedout(void **state)
{
	const struct fake_scsi_setup setup = { .luns = 2, .lets_go = FAKE_SCSI_LETS_GO_AT_ABORT };
	unsigned taken;
	struct rig rig;

	rig_open(&rig, &setup, &one, &by_hand);
	test_ladder_take(rig.managed);
	taken = hold_begin(&rig);
	submit(&rig, 1, RINGLANE_OP_READ, 1, true);
	for (unsigned i = 0; i <= KEEPER_REPLAYS_MAX; i++) {
		test_until(fake_scsi_taken(rig.scsi.fake) == taken + 1 + i);
		climb(&rig, 1);
		test_ladder_leave(rig.managed);
	}
	assert_int_equal(test_tally_wait(&rig.late, 1), 1);
	assert_int_equal(rig.late.last, -ETIMEDOUT);
	assert_int_equal(stats_of(&rig).replayed, KEEPER_REPLAYS_MAX);
	assert_int_equal(stats_of(&rig).lun_resets, 0);
	rig_close(&rig);
}

/* ---- the back end goes and comes back ---- */

static void test_adapter_when_it_dies_and_comes_back_then_no_error_is_seen(void **state)
{
	const struct ringlane_managed_options options = { .reconnect_ms = TEST_DEADLINE_MS,
							  .replay = RINGLANE_REPLAY_ALL };
	const struct fake_scsi_setup setup = { .ring_max = 6, .luns = 2, .tricks_max = 1 };
	const struct virtio_scsi_event event = { .event = VIRTIO_SCSI_T_EVENTS_MISSED };
	struct rig rig;

	rig_open(&rig, &setup, &two, &options);
	memset(rig.scsi.buffer, 0x3c, 32 * 512);
	fake_scsi_set_trick(rig.scsi.fake, FAKE_SCSI_DIES);
	for (unsigned i = 0; i < 32; i++)
		submit(&rig, i % 2, RINGLANE_OP_WRITE, i, false);
	assert_int_equal(test_tally_wait(&rig.patient, 32), 32);
	assert_int_equal(rig.patient.failed, 0);
	test_until(stats_of(&rig).reconnects == 1);
	memset(rig.scsi.buffer, 0, 32 * 512);
	for (unsigned i = 0; i < 32; i++)
		submit(&rig, i % 2, RINGLANE_OP_READ, i, false);
	assert_int_equal(test_tally_wait(&rig.patient, 64), 64);
	assert_int_equal(rig.patient.failed, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(rig.scsi.buffer[512 * i], 0x3c);
	assert_true(fake_scsi_send_event(rig.scsi.fake, &event, sizeof(event), sizeof(event)));
	rig_close(&rig);
}

/* Whoever wants to know what the LUN said has it before the callback. */
static void test_request_when_it_fails_then_the_wanted_result_has_the_sense(void **state)
{
	const struct fake_scsi_setup setup = {
		.luns = 2,
		.answer = { .status = 2,
			    .sense_len = 18,
			    .sense = { 0x70, 0, 7, [7] = 10, [12] = 0x27 } },
	};
	struct ringlane_scsi_result results[8];
	struct rig rig;

	rig_open(&rig, &setup, &one, &by_hand);
	fake_scsi_set_trick(rig.scsi.fake, FAKE_SCSI_RESPONDS);
	for (unsigned i = 0; i < 8; i++) {
		const struct ringlane_request request = {
			.op = RINGLANE_OP_WRITE,
			.data = rig.scsi.buffer,
			.bytes = 512,
			.lun = rig.luns[i % 2],
			.scsi_result = i == 5 ? NULL : &results[i],
			.done = test_tally_done,
			.user_data = &rig.patient,
		};

		memset(&results[i], 0x77, sizeof(results[i]));
		assert_int_equal(ringlane_managed_submit(rig.managed, &request, 1), 1);
	}
	assert_int_equal(test_tally_wait(&rig.patient, 8), 8);
	assert_int_equal(rig.patient.failed, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ringlane_scsi_strerror(&results[i], NULL, 0),
				 i == 5 ? -EPROTO : -EROFS);
	rig_close(&rig);
}

/* It was accepted and held, and no LUN has ever seen it. */
static void test_request_when_it_ends_while_held_then_the_wanted_result_is_none(void **state)
{
	const struct fake_scsi_setup setup = { .luns = 2 };
	struct ringlane_scsi_result result = { .response = RINGLANE_SCSI_OK, .sense_len = 18 };
	struct rig rig;
	const struct ringlane_request request = {
		.op = RINGLANE_OP_READ,
		.bytes = 512,
		.scsi_result = &result,
		.done = test_tally_done,
		.user_data = &rig.patient,
	};

	rig_open(&rig, &setup, &one, NULL);
	gate_close(rig.managed->queues[0].gate);
	assert_int_equal(ringlane_managed_submit(rig.managed, &request, 1), 1);
	assert_int_equal(stats_of(&rig).held_now, 1);
	ringlane_managed_stop(rig.managed);
	assert_int_equal(test_tally_wait(&rig.patient, 1), 1);
	assert_int_equal(rig.patient.last, -ECANCELED);
	assert_int_equal(result.response, RINGLANE_SCSI_NONE);
	assert_int_equal(result.sense_len, 0);
	rig_close(&rig);
}

/* Each outstanding command ends, says the device, with all that it can say. */
static void answer_late(struct ringlane_queue *queue)
{
	static const uint8_t id_page[24] = { 0, 0x80, 0, 20, 'x' };
	struct virtq_memory *memory = &queue->ring.memory;
	uint16_t used = le16toh(load_relaxed(&memory->used->idx.raw));

	for (unsigned id = 0; id < queue->ring.size; id++) {
		uint32_t *words = (uint32_t *)queue_response(queue, id);
		bool is_id = queue->scsi.slots[id].kind == SCSI_GET_ID;

		if (!queue->ring.slots[id].count)
			continue;
		memcpy(&queue->ranges[id], id_page, sizeof(id_page));
		store_relaxed(&words[0], htole32(RINGLANE_SCSI_SENSE_MAX));
		store_relaxed(&words[2], htole32(is_id ? 0 : SCSI_STATUS_CHECK_CONDITION << 16));
		store_relaxed(&memory->used->ring[used & queue->ring.mask].id.raw, htole32(id));
		used++;
	}
	store_release(&memory->used->idx.raw, htole16(used));
}

/*
 * It has closed its socket and kept the memory: the requests are told, and what they had for the answer is their owner's again. What it
 * says now goes nowhere.
 */
static void test_device_when_it_answers_after_the_end_then_nobodys_memory_is_written(void **state)
{
	const struct fake_scsi_setup setup = { .luns = 2, .trick = FAKE_SCSI_HONEST };
	struct ringlane_scsi_result results[3], poison;
	struct ringlane_request requests[3];
	struct managed_queue *mq;
	struct rig rig;
	uint64_t polls;
	char id[20];

	rig_open(&rig, &setup, &one, NULL);
	fake_scsi_set_trick(rig.scsi.fake, FAKE_SCSI_DIES);
	for (unsigned i = 0; i < 3; i++)
		requests[i] = (struct ringlane_request){
			.op = i ? RINGLANE_OP_READ : RINGLANE_OP_GET_ID,
			.data = i ? (char *)rig.scsi.buffer : id,
			.bytes = 512,
			.scsi_result = &results[i],
			.done = test_tally_done,
			.user_data = &rig.patient,
		};
	assert_int_equal(ringlane_managed_submit(rig.managed, requests, 3), 3);
	assert_int_equal(test_tally_wait(&rig.patient, 3), 3);
	assert_int_equal(rig.patient.failed, 3);
	assert_int_equal(rig.patient.last, -ECONNRESET);
	memset(&poison, 0x5a, sizeof(poison));
	for (unsigned i = 0; i < 3; i++)
		results[i] = poison;
	memset(id, 0x5a, sizeof(id));
	mq = &rig.managed->queues[0];
	pthread_mutex_lock(&mq->lock);
	answer_late(mq->queue);
	pthread_mutex_unlock(&mq->lock);
	polls = load_relaxed(&mq->source.counts.polls);
	event_fd_signal(mq->queue->call_fd);
	test_until(load_relaxed(&mq->source.counts.polls) > polls);
	ringlane_managed_stop(rig.managed); /* the reaper has ended, so it has looked */
	for (unsigned i = 0; i < 3; i++)
		assert_memory_equal(&results[i], &poison, sizeof(poison));
	assert_memory_equal(id, &poison, sizeof(id));
	assert_int_equal(rig.patient.done, 3);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_command_when_a_rung_ends_it_then_no_further_one_is_climbed),
		driver_test(test_commands_when_some_are_late_then_those_are_aborted),
		driver_test(
			test_resets_when_many_commands_are_late_then_one_for_each_lun_and_target),
		driver_test(test_control_queue_when_it_never_answers_then_the_device_is_reset),
		driver_test(test_command_when_aborted_for_ever_then_etimedout),
		driver_test(test_adapter_when_it_dies_and_comes_back_then_no_error_is_seen),
		driver_test(test_request_when_it_fails_then_the_wanted_result_has_the_sense),
		driver_test(test_request_when_it_ends_while_held_then_the_wanted_result_is_none),
		driver_test(
			test_device_when_it_answers_after_the_end_then_nobodys_memory_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
