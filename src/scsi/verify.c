/* SPDX-License-Identifier: MIT */
/*
 * VERIFY (10, 12, 16) and WRITE AND VERIFY (10, 12, 16) (SBC-4, 5.37 and 5.44).
 *
 * The medium is read in pieces into a buffer: to prove that it can be read (BYTCHK 00), to be compared with the data from the
 * initiator (01), or each block with the one that came (11, VERIFY only). WRITE AND VERIFY makes the data stable first; what it
 * compares with are the same bytes of the initiator's memory, so a program that changes them meanwhile gets what it asked for.
 *
 * The sense of a difference names the block in INFORMATION.
 */
#include "scsi/steps.h"

#include "base/iov.h"

#include <string.h>

enum bytchk { BYTCHK_NONE, BYTCHK_EACH, BYTCHK_RESERVED, BYTCHK_SAME };

struct verify {
	struct scsi_steps steps;
	enum bytchk bytchk;
	uint64_t verified; /* blocks */
	uint64_t piece;    /* blocks that are being read */
	uint8_t *block; /* BYTCHK_SAME: a copy of what all must be like, behind the piece in the task's buffer */
	unsigned data_count;
	struct iovec data[]; /* the initiator's list: writing takes the task's apart */
};

static enum bytchk cdb_bytchk(const struct scsi_task *task)
{
	return (enum bytchk)(task->cdb[1] >> 1 & 3);
}

/* The first block of the piece that is not as it should be; piece when there is none. */
static uint64_t verify_each(const struct verify *verify)
{
	const struct scsi_task *task = verify->steps.task;
	unsigned shift = scsi_task_unit(task)->block_shift;
	size_t offset = (size_t)(verify->verified << shift), size = verify->piece << shift;

	return scsi_compare(verify->data, verify->data_count, offset, task->buffer, size) >> shift;
}

static uint64_t verify_same(const struct verify *verify)
{
	const struct scsi_task *task = verify->steps.task;
	size_t size = scsi_task_unit(task)->block_size;
	uint64_t i;

	for (i = 0; i < verify->piece; i++) {
		if (memcmp(task->buffer + i * size, verify->block, size) != 0)
			break;
	}
	return i;
}

static uint64_t verify_piece(const struct verify *verify)
{
	switch (verify->bytchk) {
	case BYTCHK_EACH:
		return verify_each(verify);
	case BYTCHK_SAME:
		return verify_same(verify);
	default:
		return verify->piece;
	}
}

static bool verify_step(struct scsi_steps *steps, int result)
{
	struct verify *verify = container_of(steps, struct verify, steps);
	struct scsi_task *task = steps->task;
	uint64_t good;

	if (result < 0) {
		scsi_task_fail_block(task, BLOCK_READ, result);
		return false;
	}
	good = verify_piece(verify);
	verify->verified += good;
	if (good < verify->piece) {
		scsi_task_fail_info(task, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY,
				    task->lba + verify->verified);
		return false;
	}
	if (verify->verified == task->blocks) {
		scsi_task_good(task);
		return false;
	}
	verify->piece = scsi_piece_blocks(scsi_task_unit(task), task->blocks - verify->verified);
	scsi_steps_io_buffer(task, BLOCK_READ, 0, task->lba + verify->verified, verify->piece);
	return true;
}

static struct verify *verify_new(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	size_t list_bytes = task->out_count * sizeof(struct iovec);
	size_t piece_bytes = (size_t)scsi_piece_blocks(unit, task->blocks) << unit->block_shift;
	struct verify *verify;

	if (!scsi_task_get_buffer(task, piece_bytes + unit->block_size))
		return NULL;
	verify = scsi_steps_new(task, sizeof(*verify) + list_bytes);
	if (!verify)
		return NULL;
	verify->bytchk = cdb_bytchk(task);
	verify->block = task->buffer + piece_bytes;
	verify->data_count = task->out_count;
	if (list_bytes > 0)
		memcpy(verify->data, task->out, list_bytes);
	return verify;
}

void scsi_verify(struct scsi_task *task)
{
	struct verify *verify;

	if (cdb_bytchk(task) == BYTCHK_RESERVED) {
		scsi_task_bad_cdb(task, 1, 2);
		return;
	}
	if (task->blocks == 0) {
		scsi_task_good(task);
		return;
	}
	verify = verify_new(task);
	if (!verify)
		return;
	if (verify->bytchk == BYTCHK_SAME)
		iov_to_buffer(task->out, task->out_count, 0, verify->block,
			      scsi_task_unit(task)->block_size);
	scsi_steps_start(&verify->steps, verify_step);
}

static void verify_written(struct scsi_task *task, int result)
{
	struct verify *verify = task->state;

	if (result < 0)
		scsi_task_fail_block(task, BLOCK_WRITE, result);
	else
		scsi_steps_start(&verify->steps, verify_step);
}

void scsi_write_and_verify(struct scsi_task *task)
{
	if (cdb_bytchk(task) >= BYTCHK_RESERVED) {
		scsi_task_bad_cdb(task, 1, 2);
		return;
	}
	if (task->blocks == 0) {
		scsi_task_good(task);
		return;
	}
	if (!verify_new(task))
		return;
	scsi_task_io(task,
		     &(struct scsi_io){ .op = BLOCK_WRITE,
					.flags = BLOCK_FUA,
					.lba = task->lba,
					.blocks = task->blocks,
					.iov = task->out,
					.iov_count = task->out_count },
		     verify_written);
}
