/* SPDX-License-Identifier: MIT */
/* Two initiators on two threads change reservations that are kept on disk: each command ends once, and the file says what is in force. */
#include "scsi/test_pr.h"

#include "base/clock.h"

enum { COMMANDS = 120, CHANGES = 30 };

static unsigned changes; /* atomic: those that are counted in the table, too */

/* Sends one command after another, on a thread of its own. */
struct initiator {
	struct scsi_fixture *fixture;
	enum scsi_who who;
	struct loop *loop;
	pthread_t thread;
	struct loop_message message; /* the next one is due, or there will be none */
	uint64_t seed;
	unsigned ended, bad;
	bool is_counted; /* the command: when it is good */
	bool done;       /* atomic */

	struct scsi_task task;
	struct iovec out;
	uint8_t list[PR_LIST_BYTES];
};

static unsigned random_below(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*seed >> 33) % n;
}

static void command_done(struct scsi_task *task);

static void command_make(struct initiator *initiator)
{
	static const enum pr_action actions[] = { PR_REGISTER_AND_IGNORE,
						  PR_REGISTER_AND_IGNORE,
						  PR_RESERVE,
						  PR_RELEASE,
						  PR_CLEAR,
						  PR_PREEMPT };
	struct scsi_task *task = &initiator->task;
	uint64_t *seed = &initiator->seed;
	uint64_t key = 1 + initiator->who, other = 2 - initiator->who;
	enum pr_action action = actions[random_below(seed, ARRAY_SIZE(actions))];
	bool old_way = random_below(seed, 8) == 0;

	memset(task, 0, sizeof(*task));
	pr_list(initiator->list, key, action == PR_PREEMPT ? other : key, FLAG_APTPL);
	if (old_way)
		task->cdb[0] = random_below(seed, 2) ? 0x16 : 0x17;
	else
		memcpy(task->cdb, PR_OUT_CDB(action, PR_WRITE_EXCLUSIVE, PR_LIST_BYTES));
	/* PRGENERATION knows nothing of RESERVE and RELEASE */
	initiator->is_counted = !old_way && action != PR_RESERVE && action != PR_RELEASE;
	task->cdb_length = 32;
	task->nexus = initiator->fixture->nexuses[initiator->who];
	task->loop = initiator->loop;
	initiator->out = (struct iovec){ initiator->list, sizeof(initiator->list) };
	task->out = &initiator->out;
	task->out_count = !old_way;
	task->out_bytes = old_way ? 0 : sizeof(initiator->list);
	task->done = command_done;
}

static bool status_is_expected(const struct scsi_task *task)
{
	if (task->status == SCSI_CHECK_CONDITION)
		return scsi_sense_key_of(task) == SCSI_UNIT_ATTENTION;
	return task->status == SCSI_GOOD || task->status == SCSI_RESERVATION_CONFLICT;
}

static void command_next(struct loop_message *message)
{
	struct initiator *initiator = container_of(message, struct initiator, message);

	command_make(initiator);
	scsi_task_execute(&initiator->task);
}

/*
 * One that holds by RESERVE (6) while it stands still lets the other one's commands be in vain: so both go on until there were enough
 * changes.
 */
static void command_done(struct scsi_task *task)
{
	struct initiator *initiator = container_of(task, struct initiator, task);

	assert(loop_is_mine(task->loop) && !initiator->done);
	initiator->bad += !status_is_expected(task);
	if (task->status == SCSI_GOOD && initiator->is_counted)
		add_relaxed(&changes, 1);
	if (++initiator->ended >= COMMANDS && load_relaxed(&changes) >= CHANGES)
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
		.seed = 77u + who,
		.message = { .fn = command_next },
	};
	assert_int_equal(loop_new(&initiator->loop, NULL), 0);
	assert_int_equal(pthread_create(&initiator->thread, NULL, initiator_main, initiator), 0);
	loop_post(initiator->loop, &initiator->message);
}

static void stop_here(struct loop_message *message)
{
	loop_stop(container_of(message, struct initiator, message)->loop);
}

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
	assert_int_equal(initiator->bad, 0);
}

static void assert_same(const struct pr_table *a, const struct pr_table *b)
{
	assert_int_equal(a->count, b->count);
	for (unsigned i = 0; i < a->count; i++) {
		assert_int_equal(a->registrations[i].initiator, b->registrations[i].initiator);
		assert_int_equal(a->registrations[i].key, b->registrations[i].key);
	}
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->holder, b->holder);
}

static void test_changes_when_two_threads_make_them_then_the_file_says_what_holds(void **state)
{
	struct scsi_fixture *f = scsi_fixture_new();
	struct scsi_unit_config config = { .state_path = scsi_fixture_path(f, "disk.state") };
	struct initiator initiators[SCSI_INITIATORS];
	struct pr_table before;

	scsi_fixture_add(f, scsi_fixture_ram(f, "disk", 1 << 20), &config);
	for (enum scsi_who who = FIRST; who <= SECOND; who++)
		initiator_start(&initiators[who], f, who);
	for (enum scsi_who who = FIRST; who <= SECOND; who++)
		wait_for(&initiators[who]);
	assert_null(f->unit->reservations->pending);
	before = f->unit->reservations->table;
	assert_int_equal(before.generation, load_relaxed(&changes));
	assert_true(before.generation >= CHANGES);
	scsi_fixture_restart(f, 0, &config);
	assert_same(&f->unit->reservations->table, &before);
	/* the old writer has ended: nobody posts to their loops any more */
	for (enum scsi_who who = FIRST; who <= SECOND; who++)
		initiator_stop(&initiators[who]);
	scsi_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_changes_when_two_threads_make_them_then_the_file_says_what_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
