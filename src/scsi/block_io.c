/* SPDX-License-Identifier: MIT */
/*
 * READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH, WRITE ATOMIC.
 *
 * READ and WRITE are the data path: the initiator's buffers go to the block gate as they are, one request for one command. What
 * nothing at all objects to never comes here: see scsi_transfer_plan().
 *
 * - FUA on READ wants data that is on the medium (SBC-4, 4.15): with a write cache the node is flushed first. FUA on WRITE and a
 *   cache that is switched off are the gate's BLOCK_FUA. DPO is a hint that the block layer has no use for.
 * - SYNCHRONIZE CACHE flushes the whole node, whatever range it names, and answers when that is done even with IMMED: an error
 *   must not get lost.
 * - PRE-FETCH reads nothing ahead. GOOD says that not all blocks were put into the cache (SBC-4, 5.12); CONDITION MET would claim
 *   that they were.
 * - WRITE ATOMIC: what fits into one physical block is written whole by the disk below, and that is what VPD page B0h offers.
 *   Longer ones run alone on the unit (target.c), so that no command sees half of one, but no promise is made for a power failure
 *   in their midst.
 */
#include "scsi/internal.h"

static void submit(struct scsi_task *task, enum block_op op, unsigned flags, block_done_fn *done)
{
	struct block_request *block = &task->block;
	uint8_t shift = scsi_task_unit(task)->block_shift;

	block->op = op;
	block->flags = flags;
	block->offset = task->lba << shift;
	block->bytes = task->blocks << shift;
	block->done = done;
	block_submit(task->channel, block);
}

static struct scsi_task *task_of(struct block_request *block)
{
	return container_of(block, struct scsi_task, block);
}

/* These commands have no memory that scsi_task_good() would have to look for. */
void scsi_transfer_done(struct block_request *block, int result)
{
	struct scsi_task *task = task_of(block);

	if (unlikely(result < 0)) {
		scsi_task_fail_block(task, block->op, result);
		return;
	}
	/* GOOD since it began: a byte that is written now would delay whoever reads the whole outcome */
	task->done(task);
}

/* ---- READ ---- */

static void read_now(struct scsi_task *task)
{
	task->block.iov = task->in;
	task->block.iov_count = task->in_count;
	submit(task, BLOCK_READ, 0, scsi_transfer_done);
}

static void flushed_for_read(struct block_request *block, int result)
{
	struct scsi_task *task = task_of(block);

	if (result == 0)
		read_now(task);
	else
		scsi_task_fail_block(task, BLOCK_FLUSH, result);
}

static bool wants_medium(const struct scsi_task *task)
{
	return task->cdb[1] & 0x08 && task->opcode->flags & SCSI_OP_FUA &&
	       !load_relaxed(&scsi_task_unit(task)->write_through);
}

void scsi_read(struct scsi_task *task)
{
	if (unlikely(wants_medium(task)))
		submit(task, BLOCK_FLUSH, 0, flushed_for_read);
	else
		read_now(task);
}

/* ---- WRITE ---- */

void scsi_write(struct scsi_task *task)
{
	task->block.iov = task->out;
	task->block.iov_count = task->out_count;
	submit(task, BLOCK_WRITE, scsi_task_write_flags(task), scsi_transfer_done);
}

void scsi_write_atomic(struct scsi_task *task)
{
	uint32_t unit_blocks = scsi_unit_atomic_blocks(scsi_task_unit(task));

	if (task->lba % unit_blocks)
		scsi_task_bad_cdb(task, 2, -1);
	else if (task->blocks % unit_blocks)
		scsi_task_bad_cdb(task, 12, -1);
	else
		scsi_write(task);
}

/* ---- the cache ---- */

void scsi_synchronize_cache(struct scsi_task *task)
{
	submit(task, BLOCK_FLUSH, 0, scsi_transfer_done);
}

void scsi_prefetch(struct scsi_task *task)
{
	scsi_task_good(task);
}
