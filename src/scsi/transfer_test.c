/* SPDX-License-Identifier: MIT */
/*
 * READ and WRITE by scsi_transfer_plan() and by all checks of a task: what comes of a command is the same. A task attribute that means
 * nothing to the target sends it the long way.
 */
#include "scsi/fixture.h"

#include "scsi/internal.h"
#include "scsi/test_pr.h"

#include <string.h>

#define BLOCK 512
#define DISK_BLOCKS 2048u
#define DATA_MAX (8 * BLOCK)

struct command {
	uint8_t cdb[16];
	uint64_t bytes;
	bool out;
};

/* All that an initiator sees of it. */
struct answer {
	uint8_t status, fit, sense_length;
	uint64_t residual;
	uint8_t sense[SCSI_SENSE_MAX], in[DATA_MAX], disk[DATA_MAX];
};

enum { READ_10 = 0x28, WRITE_10 = 0x2a, READ_16 = 0x88, WRITE_16 = 0x8a };

static const uint8_t opcodes[] = { READ_10, WRITE_10, READ_16, WRITE_16 };

static uint32_t random_below(uint64_t *seed, uint32_t limit)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*seed >> 33) % limit);
}

static uint64_t random_lba(uint64_t *seed, bool wide)
{
	static const uint64_t edges[] = { 0, DISK_BLOCKS - 1, DISK_BLOCKS, UINT32_MAX };
	static const uint64_t far[] = { 1ull << 46, (1ull << 46) + 1, 1ull << 55, UINT64_MAX,
					UINT64_MAX >> 9 };

	if (wide && random_below(seed, 4) == 0)
		return far[random_below(seed, ARRAY_SIZE(far))];
	return random_below(seed, 3) ? random_below(seed, DISK_BLOCKS) :
				       edges[random_below(seed, ARRAY_SIZE(edges))];
}

/* Mostly one that is fine; now and then a bit, the length or the direction is not. */
static void make(struct command *command, uint64_t *seed)
{
	uint8_t opcode = opcodes[random_below(seed, ARRAY_SIZE(opcodes))];
	bool wide = opcode >= 0x80;
	uint32_t blocks = random_below(seed, 9);
	uint64_t lba = random_lba(seed, wide);

	*command = (struct command){ .cdb = { opcode }, .bytes = blocks * BLOCK };
	if (random_below(seed, 8) == 0) {
		static const uint8_t bytes[] = { 0, 1, 255 };

		command->bytes += bytes[random_below(seed, ARRAY_SIZE(bytes))];
		blocks = random_below(seed, 9);
	}
	command->bytes = MIN(command->bytes, (uint64_t)DATA_MAX);
	if (wide) {
		be64_put(command->cdb + 2, lba);
		be32_put(command->cdb + 10, blocks);
	} else {
		be32_put(command->cdb + 2, (uint32_t)lba);
		be16_put(command->cdb + 7, (uint16_t)blocks);
	}
	if (random_below(seed, 6) == 0)
		command->cdb[1] = (uint8_t)(1u << random_below(seed, 8));
	if (random_below(seed, 20) == 0)
		command->cdb[wide ? 15 : 9] = (uint8_t)(1u << random_below(seed, 8));
	command->out = (opcode & 0x0f) == 0x0a;
	if (random_below(seed, 16) == 0)
		command->out = !command->out;
}

static void run(struct scsi_fixture *f, const struct command *command,
		enum scsi_attribute attribute, struct answer *ret_answer)
{
	const struct scsi_task *task = &f->run.task;
	uint8_t data[DATA_MAX];
	uint64_t lba = command->cdb[0] >= 0x80 ? be64_get(command->cdb + 2) :
						 be32_get(command->cdb + 2);
	uint64_t at = MIN(lba, DISK_BLOCKS - 8) * BLOCK;

	memset(ret_answer, 0, sizeof(*ret_answer));
	memset(data, command->out ? 0x5a : 0xa5, sizeof(data));
	memset(ret_answer->disk, 0x11, sizeof(ret_answer->disk));
	scsi_fixture_poke(f, 0, at, ret_answer->disk, DATA_MAX);
	f->attribute = attribute;
	if (command->out)
		scsi_do_out(f, FIRST, command->cdb, sizeof(command->cdb), data, command->bytes);
	else
		scsi_do_in(f, FIRST, command->cdb, sizeof(command->cdb), data, command->bytes);
	ret_answer->status = task->status;
	ret_answer->fit = task->fit;
	ret_answer->residual = task->residual;
	ret_answer->sense_length = task->sense_length;
	memcpy(ret_answer->sense, task->sense, task->sense_length);
	memcpy(ret_answer->in, data, sizeof(data));
	scsi_fixture_peek(f, 0, at, ret_answer->disk, DATA_MAX);
}

static void compare(struct scsi_fixture *f, uint64_t seed, unsigned count)
{
	unsigned good = 0, planned = f->planned_count;

	for (unsigned i = 0; i < count; i++) {
		struct answer fast, slow;
		struct command command;

		make(&command, &seed);
		run(f, &command, SCSI_SIMPLE, &fast);
		run(f, &command, SCSI_HEAD_OF_QUEUE, &slow);
		assert_memory_equal(&fast, &slow, sizeof(fast));
		good += fast.status == SCSI_GOOD && fast.fit == SCSI_FITS;
	}
	assert_in_range(good, count / 10, count - count / 10);
	assert_in_range(f->planned_count - planned, count / 10, good + count / 10);
}

static void test_transfer_when_any_then_both_ways_agree(void **state)
{
	compare(*state, 1, 4000);
}

/* With FUA for each write. */
static void test_transfer_when_write_cache_is_off_then_both_ways_agree(void **state)
{
	struct scsi_fixture *f = *state;

	store_relaxed(&f->unit->write_through, 1);
	compare(f, 2, 1000);
	store_relaxed(&f->unit->write_through, 0);
}

static void run_alike(struct scsi_fixture *f, uint8_t opcode, enum scsi_status status)
{
	struct command command = { .cdb = { opcode, [8] = opcode < 0x80, [13] = opcode >= 0x80 },
				   .bytes = BLOCK,
				   .out = (opcode & 0x0f) == 0x0a };
	struct answer fast, slow;

	run(f, &command, SCSI_SIMPLE, &fast);
	run(f, &command, SCSI_HEAD_OF_QUEUE, &slow);
	assert_memory_equal(&fast, &slow, sizeof(fast));
	assert_int_equal(fast.status, status);
}

static void assert_all_alike(struct scsi_fixture *f, enum scsi_status status)
{
	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++)
		run_alike(f, opcodes[i], status);
}

/* Reads go the short way all the same; writes are refused as they should. */
static void assert_only_writes_refused(struct scsi_fixture *f, enum scsi_status status)
{
	unsigned planned = f->planned_count;

	run_alike(f, READ_10, SCSI_GOOD);
	run_alike(f, READ_16, SCSI_GOOD);
	assert_int_equal(f->planned_count - planned, 2);
	run_alike(f, WRITE_10, status);
	run_alike(f, WRITE_16, status);
	assert_int_equal(f->planned_count - planned, 2);
}

static void test_transfer_when_only_writes_are_refused_then_reads_are_planned(void **state)
{
	struct scsi_fixture *f = *state;
	static const uint32_t protections[] = { SCSI_UNIT_WRITE_PROTECTED, SCSI_UNIT_SWP };

	for (unsigned i = 0; i < ARRAY_SIZE(protections); i++) {
		or_relaxed(&f->unit->slow, protections[i]);
		assert_only_writes_refused(f, SCSI_CHECK_CONDITION);
		and_relaxed(&f->unit->slow, ~protections[i]);
	}
	PR(f, SECOND, .action = PR_REGISTER, .action_key = 1);
	scsi_assert_good(f);
	PR(f, SECOND, .action = PR_RESERVE, .scope_type = PR_WRITE_EXCLUSIVE, .key = 1);
	scsi_assert_good(f);
	assert_only_writes_refused(f, SCSI_RESERVATION_CONFLICT);
}

/* A cluster whose members have all registered pays nothing for that. */
static void test_transfer_when_registered_then_planned(void **state)
{
	struct scsi_fixture *f = *state;
	unsigned planned;

	for (enum scsi_who who = FIRST; who <= SECOND; who++) {
		PR(f, who, .action = PR_REGISTER, .action_key = 1 + (uint64_t)who);
		scsi_assert_good(f);
	}
	PR(f, SECOND, .action = PR_RESERVE, .scope_type = PR_WRITE_EXCLUSIVE_REGISTRANTS, .key = 2);
	scsi_assert_good(f);
	planned = f->planned_count;
	assert_all_alike(f, SCSI_GOOD);
	assert_int_equal(f->planned_count - planned, ARRAY_SIZE(opcodes));
}

static void test_transfer_when_something_is_in_the_way_then_both_ways_agree(void **state)
{
	struct scsi_fixture *f = *state;

	assert_all_alike(f, SCSI_GOOD);
	or_relaxed(&f->unit->slow, SCSI_UNIT_STOPPED);
	assert_all_alike(f, SCSI_CHECK_CONDITION);
	and_relaxed(&f->unit->slow, ~(uint32_t)SCSI_UNIT_STOPPED);
	scsi_do(f, SECOND, CDB(0x16, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
	assert_all_alike(f, SCSI_RESERVATION_CONFLICT);
	f->without_unit = true;
	assert_all_alike(f, SCSI_CHECK_CONDITION);
	f->without_unit = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_transfer_when_any_then_both_ways_agree),
		scsi_test(test_transfer_when_write_cache_is_off_then_both_ways_agree),
		scsi_test(test_transfer_when_something_is_in_the_way_then_both_ways_agree),
		scsi_test(test_transfer_when_only_writes_are_refused_then_reads_are_planned),
		scsi_test(test_transfer_when_registered_then_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
