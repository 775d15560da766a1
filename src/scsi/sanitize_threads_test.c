/* SPDX-License-Identifier: MIT */
/*
 * SANITIZE from other threads while the job runs on the main loop: one initiator begins jobs, waits for some and aborts others at any
 * moment, the other one asks how the unit is. Each command ends once, and the last job leaves nothing behind.
 */
#include "scsi/fixture.h"

#include "base/clock.h"

#include <string.h>

enum { COMMANDS = 200 };

struct initiator {
	struct scsi_fixture *fixture;
	enum scsi_who who;
	struct loop *loop;
	pthread_t thread;
	struct loop_message message; /* the next command is due, or there will be none */
	struct loop_message cancel;
	uint64_t seed;
	unsigned left, bad;
	bool running, cancelling;
	bool done; /* atomic */

	struct scsi_task task;
	struct iovec in;
	uint8_t bytes[96];
};

static unsigned random_below(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*seed >> 33) % n;
}

static void exclusive(struct scsi_task *task)
{
	scsi_task_resume(task);
}

static void exclusive_end(struct scsi_task *task)
{
}

static const struct scsi_task_ops ops = { .exclusive = exclusive, .exclusive_end = exclusive_end };

static void command_done(struct scsi_task *task);

static void command_make(struct initiator *initiator)
{
	static const uint8_t sanitize[][2] = { { 0x48, 0x02 }, { 0x48, 0x82 }, { 0x00, 0x00 } };
	struct scsi_task *task = &initiator->task;
	bool begins = initiator->who == FIRST;

	memset(task, 0, sizeof(*task));
	if (begins) {
		memcpy(task->cdb, sanitize[random_below(&initiator->seed, 3)], 2);
	} else if (random_below(&initiator->seed, 2)) {
		memcpy(task->cdb, (const uint8_t[]){ 0x03, 0, 0, 0, 96, 0 }, 6);
		initiator->in = (struct iovec){ initiator->bytes, sizeof(initiator->bytes) };
		task->in = &initiator->in;
		task->in_count = 1;
		task->in_bytes = sizeof(initiator->bytes);
	}
	task->cdb_length = 32;
	task->ops = &ops;
	task->nexus = initiator->fixture->nexuses[initiator->who];
	task->loop = initiator->loop;
	task->done = command_done;
}

static void command_next(struct loop_message *message)
{
	struct initiator *initiator = container_of(message, struct initiator, message);

	command_make(initiator);
	initiator->running = true;
	scsi_task_execute(&initiator->task);
	if (initiator->running && !initiator->cancelling && random_below(&initiator->seed, 2)) {
		initiator->cancelling = true;
		loop_post(initiator->loop, &initiator->cancel);
	}
}

static void command_cancel(struct loop_message *message)
{
	struct initiator *initiator = container_of(message, struct initiator, cancel);

	initiator->cancelling = false;
	if (initiator->running)
		scsi_task_cancel(&initiator->task);
}

static bool status_is_expected(const struct scsi_task *task)
{
	if (task->status == SCSI_CHECK_CONDITION)
		return scsi_sense_key_of(task) == SCSI_NOT_READY;
	return task->status == SCSI_GOOD || task->status == SCSI_TASK_ABORTED;
}

static void command_done(struct scsi_task *task)
{
	struct initiator *initiator = container_of(task, struct initiator, task);

	assert(loop_is_mine(task->loop) && initiator->running && initiator->left > 0);
	initiator->running = false;
	initiator->bad += !status_is_expected(task);
	if (--initiator->left == 0)
		store_release(&initiator->done, true); /* pairs with wait_for */
	else
		loop_post(task->loop, &initiator->message);
}

static void *initiator_main(void *opaque)
{
	loop_run(((struct initiator *)opaque)->loop);
	return NULL;
}

static void initiator_start(struct initiator *initiator, struct scsi_fixture *fixture,
			    enum scsi_who who)
{
	*initiator = (struct initiator){
		.fixture = fixture,
		.who = who,
		.seed = 5u + who,
		.left = COMMANDS,
		.message = { .fn = command_next },
		.cancel = { .fn = command_cancel },
	};
	assert_int_equal(loop_new(&initiator->loop, NULL), 0);
	assert_int_equal(pthread_create(&initiator->thread, NULL, initiator_main, initiator), 0);
	loop_post(initiator->loop, &initiator->message);
}

static void stop_here(struct loop_message *message)
{
	loop_stop(container_of(message, struct initiator, message)->loop);
}

/* Its last command has ended, so the message is free. */
static void initiator_stop(struct initiator *initiator)
{
	initiator->message.fn = stop_here;
	loop_post(initiator->loop, &initiator->message);
	pthread_join(initiator->thread, NULL);
	loop_free(initiator->loop);
}

static void wait_for(struct initiator *initiator)
{
	uint64_t deadline_ns = clock_ns() + 60 * NS_PER_S;

	while (!load_acquire(&initiator->done)) { /* pairs with command_done */
		assert_true(clock_ns() < deadline_ns);
		scsi_fixture_turn(initiator->fixture);
	}
}

static void test_sanitize_when_begun_and_aborted_on_other_threads_then_each_ends_once(void **state)
{
	struct scsi_fixture *f = *state;
	struct initiator initiators[SCSI_INITIATORS];
	bool ended = false;

	for (enum scsi_who who = FIRST; who <= SECOND; who++)
		initiator_start(&initiators[who], f, who);
	for (enum scsi_who who = FIRST; who <= SECOND; who++)
		wait_for(&initiators[who]);
	while (!ended) {
		scsi_fixture_turn(f);
		ended = !(load_relaxed(&f->unit->slow) & SCSI_UNIT_SANITIZING);
	}
	for (enum scsi_who who = FIRST; who <= SECOND; who++) {
		initiator_stop(&initiators[who]);
		assert_int_equal(initiators[who].bad, 0);
	}
	assert_int_equal(load_relaxed(&f->unit->slow), 0);
	assert_null(f->unit->sanitize);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(
			test_sanitize_when_begun_and_aborted_on_other_threads_then_each_ends_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
