/* SPDX-License-Identifier: MIT */
/* How a device executes a command: READ and WRITE without a task when scsi_transfer_plan() is sure, else the whole way. */
#include "scsi/fixture.h"

#include "scsi/internal.h"

static void transfer_done(struct block_request *block, int result)
{
	struct scsi_task *task = container_of(block, struct scsi_task, block);

	scsi_transfer_end(task, result);
}

static bool is_planned(struct scsi_task *task)
{
	const uint64_t cdb[2] = { be64_get(task->cdb), be64_get(task->cdb + 8) };
	struct block_request *block = &task->block;
	bool reads;

	if (!task->nexus || task->attribute != SCSI_SIMPLE ||
	    !scsi_transfer_plan(task->nexus, cdb, block))
		return false;
	reads = block->op == BLOCK_READ;
	block->iov = reads ? task->in : task->out;
	block->iov_count = reads ? task->in_count : task->out_count;
	return task->in_bytes == (reads ? block->bytes : 0) &&
	       task->out_bytes == (reads ? 0 : block->bytes);
}

void scsi_fixture_execute(struct scsi_run *run)
{
	struct scsi_task *task = &run->task;

	if (!is_planned(task)) {
		scsi_task_execute(task);
		return;
	}
	run->fixture->planned_count++;
	task->block.done = transfer_done;
	block_submit(task->channel, &task->block);
}
