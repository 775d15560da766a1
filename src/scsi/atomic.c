/* SPDX-License-Identifier: MIT */
/*
 * COMPARE AND WRITE and ORWRITE (16) (SBC-4, 5.4 and 5.18): read, then write, with nobody in between. They run alone on their unit
 * (SCSI_OP_EXCLUSIVE), so they may take their time and go in pieces.
 *
 * COMPARE AND WRITE compares everything before it writes anything. Its sense of a difference has the offset of the first byte in
 * the data-out buffer in INFORMATION.
 */
#include "scsi/steps.h"

#include "base/iov.h"

struct atomic {
	struct scsi_steps steps;
	uint64_t finished; /* blocks */
	uint64_t piece;    /* blocks that are under way */
	bool writing;
};

static struct atomic *atomic_new(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t piece = scsi_piece_blocks(unit, task->blocks);

	if (!scsi_task_get_buffer(task, (size_t)piece << unit->block_shift))
		return NULL;
	return scsi_steps_new(task, sizeof(struct atomic));
}

static void atomic_read(struct atomic *atomic)
{
	struct scsi_task *task = atomic->steps.task;

	atomic->writing = false;
	atomic->piece = scsi_piece_blocks(scsi_task_unit(task), task->blocks - atomic->finished);
	scsi_steps_io_buffer(task, BLOCK_READ, 0, task->lba + atomic->finished, atomic->piece);
}

/* ---- COMPARE AND WRITE ---- */

static bool compare_failed(struct atomic *atomic, size_t offset)
{
	scsi_task_fail_info(atomic->steps.task, SCSI_MISCOMPARE, SCSI_ASC_MISCOMPARE_DURING_VERIFY,
			    offset);
	return false;
}

/* The second half of the data. */
static bool compare_write(struct atomic *atomic)
{
	struct scsi_task *task = atomic->steps.task;
	unsigned shift = scsi_task_unit(task)->block_shift;

	atomic->writing = true;
	iov_advance(&task->out, &task->out_count, (size_t)(task->blocks << shift));
	scsi_task_io(task,
		     &(struct scsi_io){ .op = BLOCK_WRITE,
					.flags = scsi_task_write_flags(task),
					.lba = task->lba,
					.blocks = task->blocks,
					.iov = task->out,
					.iov_count = task->out_count },
		     scsi_steps_next);
	return true;
}

static bool compare_step(struct scsi_steps *steps, int result)
{
	struct atomic *atomic = container_of(steps, struct atomic, steps);
	struct scsi_task *task = steps->task;
	unsigned shift = scsi_task_unit(task)->block_shift;
	size_t offset = (size_t)(atomic->finished << shift);
	size_t size = (size_t)(atomic->piece << shift), same;

	if (result < 0) {
		scsi_task_fail_block(task, atomic->writing ? BLOCK_WRITE : BLOCK_READ, result);
		return false;
	}
	if (atomic->writing) {
		scsi_task_good(task);
		return false;
	}
	same = scsi_compare(task->out, task->out_count, offset, task->buffer, size);
	if (same < size)
		return compare_failed(atomic, offset + same);
	atomic->finished += atomic->piece;
	if (atomic->finished == task->blocks)
		return compare_write(atomic);
	atomic_read(atomic);
	return true;
}

void scsi_compare_and_write(struct scsi_task *task)
{
	struct atomic *atomic;

	if (task->blocks == 0) {
		scsi_task_good(task);
		return;
	}
	atomic = atomic_new(task);
	if (atomic)
		scsi_steps_start(&atomic->steps, compare_step);
}

/* ---- ORWRITE ---- */

static void or_write(struct atomic *atomic)
{
	struct scsi_task *task = atomic->steps.task;
	unsigned shift = scsi_task_unit(task)->block_shift;

	atomic->writing = true;
	scsi_merge(task->out, task->out_count, (size_t)(atomic->finished << shift), task->buffer,
		   (size_t)(atomic->piece << shift));
	scsi_steps_io_buffer(task, BLOCK_WRITE, scsi_task_write_flags(task),
			     task->lba + atomic->finished, atomic->piece);
}

static bool or_step(struct scsi_steps *steps, int result)
{
	struct atomic *atomic = container_of(steps, struct atomic, steps);
	struct scsi_task *task = steps->task;

	if (result < 0) {
		scsi_task_fail_block(task, atomic->writing ? BLOCK_WRITE : BLOCK_READ, result);
		return false;
	}
	if (!atomic->writing && atomic->piece > 0) {
		or_write(atomic);
		return true;
	}
	atomic->finished += atomic->piece;
	if (atomic->finished == task->blocks) {
		scsi_task_good(task);
		return false;
	}
	atomic_read(atomic);
	return true;
}

void scsi_orwrite(struct scsi_task *task)
{
	struct atomic *atomic;

	if (task->blocks == 0) {
		scsi_task_good(task);
		return;
	}
	atomic = atomic_new(task);
	if (atomic)
		scsi_steps_start(&atomic->steps, or_step);
}
