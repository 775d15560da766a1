/* SPDX-License-Identifier: MIT */
/*
 * What commands are made of: the end of a task, data in and out, block I/O with a continuation.
 *
 * A task ends in exactly one of the functions of the first part. task->residual holds what the buffers have more than the command
 * moves: target.c sets it when it has looked at the CDB, data_in() when the length turns out to be another, and a command that
 * fails has moved nothing that counts.
 *
 * All on the task's loop.
 */
#include "base/iov.h"
#include "scsi/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the end ---- */

static slow_path void task_free_memory(struct scsi_task *task)
{
	free(task->buffer);
	free(task->state);
	task->buffer = NULL;
	task->buffer_bytes = 0;
	task->state = NULL;
	task->steps = NULL; /* they lie in it */
}

static void task_finish(struct scsi_task *task, enum scsi_status status)
{
	task->status = (uint8_t)status;
	if (unlikely(task->buffer || task->state))
		task_free_memory(task);
	task->done(task);
}

void scsi_task_good(struct scsi_task *task)
{
	task_finish(task, SCSI_GOOD);
}

static uint64_t buffer_bytes(const struct scsi_task *task)
{
	return task->in_bytes + task->out_bytes;
}

void scsi_task_end(struct scsi_task *task, enum scsi_status status)
{
	if (status != SCSI_GOOD && status != SCSI_CONDITION_MET && task->fit == SCSI_FITS)
		task->residual = buffer_bytes(task);
	task_finish(task, status);
}

static slow_path void task_fail_sense(struct scsi_task *task, const struct scsi_sense *sense)
{
	bool descriptor = task->nexus && load_relaxed(&scsi_task_unit(task)->d_sense);

	task->sense_length = (uint8_t)scsi_sense_format(sense, descriptor, task->sense);
	scsi_task_end(task, SCSI_CHECK_CONDITION);
}

void scsi_task_fail(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc)
{
	task_fail_sense(task, &(struct scsi_sense){ .key = key, .asc = asc });
}

void scsi_task_bad_cdb(struct scsi_task *task, unsigned byte, int bit)
{
	task_fail_sense(task, &(struct scsi_sense){
				      .key = SCSI_ILLEGAL_REQUEST,
				      .asc = SCSI_ASC_INVALID_FIELD_IN_CDB,
				      .has_field = true,
				      .field_in_cdb = true,
				      .field_byte = (uint16_t)byte,
				      .field_bit = (int8_t)bit,
			      });
}

void scsi_task_bad_parameter(struct scsi_task *task, unsigned byte, int bit)
{
	task_fail_sense(task, &(struct scsi_sense){
				      .key = SCSI_ILLEGAL_REQUEST,
				      .asc = SCSI_ASC_INVALID_FIELD_IN_PARAMETER_LIST,
				      .has_field = true,
				      .field_byte = (uint16_t)MIN(byte, UINT16_MAX),
				      .field_bit = (int8_t)bit,
			      });
}

void scsi_task_fail_info(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc,
			 uint64_t information)
{
	task_fail_sense(task, &(struct scsi_sense){
				      .key = key,
				      .asc = asc,
				      .has_information = true,
				      .information = information,
			      });
}

void scsi_task_fail_progress(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc,
			     uint16_t progress)
{
	task_fail_sense(task, &(struct scsi_sense){
				      .key = key,
				      .asc = asc,
				      .has_progress = true,
				      .progress = progress,
			      });
}

/* The node was made smaller after the range had been checked. */
static bool task_beyond_end(const struct scsi_task *task)
{
	uint64_t blocks = scsi_unit_blocks(scsi_task_unit(task));

	return task->lba > blocks || task->blocks > blocks - task->lba;
}

static void task_fail_io(struct scsi_task *task, enum block_op op)
{
	if (task_beyond_end(task))
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	else
		scsi_task_fail(task, SCSI_MEDIUM_ERROR,
			       op == BLOCK_READ ? SCSI_ASC_UNRECOVERED_READ_ERROR :
						  SCSI_ASC_WRITE_ERROR);
}

slow_path void scsi_task_fail_block(struct scsi_task *task, enum block_op op, int result)
{
	switch (result) {
	case -EIO:
		task_fail_io(task, op);
		break;
	case -ENOSPC:
	case -EDQUOT:
		scsi_task_fail(task, SCSI_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED);
		break;
	case -EROFS:
	case -EPERM:
		scsi_task_fail(task, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
		break;
	case -ENOMEM:
	case -EAGAIN:
		scsi_task_end(task, SCSI_BUSY);
		break;
	default:
		scsi_task_fail(task, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
		break;
	}
}

/* ---- data ---- */

void scsi_task_data_in(struct scsi_task *task, const void *bytes, size_t size)
{
	uint64_t wanted = MIN(size, task->length);

	if (wanted > task->in_bytes) {
		task->fit = SCSI_OVERFLOW;
		task->residual = wanted - task->in_bytes;
		wanted = task->in_bytes;
	} else {
		task->residual = buffer_bytes(task) - wanted;
	}
	iov_from_buffer(task->in, task->in_count, 0, bytes, wanted);
	scsi_task_good(task);
}

bool scsi_task_get_buffer(struct scsi_task *task, size_t bytes)
{
	free(task->buffer);
	task->buffer = calloc(1, MAX(bytes, 1u));
	task->buffer_bytes = task->buffer ? bytes : 0;
	if (!task->buffer)
		scsi_task_end(task, SCSI_BUSY);
	return task->buffer;
}

bool scsi_task_take_parameters(struct scsi_task *task, size_t max)
{
	if (task->length > max) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return false;
	}
	if (!scsi_task_get_buffer(task, task->length))
		return false;
	/* the initiator's memory is read here, once */
	iov_to_buffer(task->out, task->out_count, 0, task->buffer, task->length);
	return true;
}

/* ---- block I/O ---- */

static void task_io_done(struct block_request *request, int result)
{
	struct scsi_task *task = container_of(request, struct scsi_task, block);

	task->next(task, result);
}

void scsi_task_io(struct scsi_task *task, const struct scsi_io *io,
		  void (*next)(struct scsi_task *task, int result))
{
	struct block_request *block = &task->block;
	uint8_t shift = scsi_task_unit(task)->block_shift;

	block->op = io->op;
	block->flags = io->flags;
	block->offset = io->lba << shift;
	block->bytes = io->blocks << shift;
	block->iov = io->iov;
	block->iov_count = io->iov_count;
	block->done = task_io_done;
	task->next = next;
	block_submit(io->channel ? io->channel : task->channel, block);
}

unsigned scsi_task_write_flags(const struct scsi_task *task)
{
	bool fua = task->opcode->flags & SCSI_OP_FUA && task->cdb[1] & 0x08;

	return fua || load_relaxed(&scsi_task_unit(task)->write_through) ? BLOCK_FUA : 0;
}
