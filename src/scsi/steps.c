/* SPDX-License-Identifier: MIT */
/* See steps.h. While step() runs, task->steps is NULL: it may end the task, which then belongs to somebody else. */
#include "scsi/steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *scsi_steps_new(struct scsi_task *task, size_t size)
{
	struct scsi_steps *steps = calloc(1, size);

	if (!steps) {
		scsi_task_end(task, SCSI_BUSY);
		return NULL;
	}
	steps->task = task;
	steps->loop = task->loop;
	task->state = steps;
	return steps;
}

/* False: the steps have ended. */
static bool steps_step(struct scsi_steps *steps)
{
	struct scsi_task *task = steps->task;
	int result = steps->cancelled ? -ECANCELED : steps->result;

	steps->done = false;
	if (task)
		task->steps = NULL;
	if (!steps->step(steps, result))
		return false;
	if (task)
		task->steps = steps;
	return true;
}

static void steps_run(struct scsi_steps *steps)
{
	unsigned count = 0;

	steps->running = true;
	do {
		if (count++ == SCSI_STEPS_PER_TURN) {
			steps->running = false;
			loop_defer(steps->loop, &steps->defer);
			return;
		}
		if (!steps_step(steps))
			return;
	} while (steps->done);
	steps->running = false;
}

static void steps_continue(struct loop_defer *defer)
{
	steps_run(container_of(defer, struct scsi_steps, defer));
}

void scsi_steps_start(struct scsi_steps *steps, bool (*step)(struct scsi_steps *steps, int result))
{
	steps->step = step;
	steps->defer.fn = steps_continue;
	steps->result = 0;
	steps_run(steps);
}

void scsi_steps_done(struct scsi_steps *steps, int result)
{
	assert(!steps->done);
	steps->result = result;
	steps->done = true;
	if (!steps->running)
		steps_run(steps);
}

void scsi_steps_next(struct scsi_task *task, int result)
{
	scsi_steps_done(task->state, result);
}

void scsi_task_cancel(struct scsi_task *task)
{
	struct scsi_steps *steps = task->steps;

	if (!steps)
		return;
	steps->cancelled = true;
	if (steps->cancel)
		steps->cancel(steps);
}

void scsi_steps_io_buffer(struct scsi_task *task, enum block_op op, unsigned flags, uint64_t lba,
			  uint64_t blocks)
{
	size_t bytes = (size_t)(blocks << scsi_task_unit(task)->block_shift);

	assert(bytes <= task->buffer_bytes);
	task->vector = (struct iovec){ .iov_base = task->buffer, .iov_len = bytes };
	scsi_task_io(task,
		     &(struct scsi_io){ .op = op,
					.flags = flags,
					.lba = lba,
					.blocks = blocks,
					.iov = &task->vector,
					.iov_count = 1 },
		     scsi_steps_next);
}

/* ---- bytes ---- */

/* The initiator may change a byte between memcmp and the second look: then the first byte of the piece counts as the one. */
static size_t compare_piece(const uint8_t *theirs, const uint8_t *ours, size_t size)
{
	if (memcmp(theirs, ours, size) == 0)
		return size;
	for (size_t i = 0; i < size; i++) {
		if (load_relaxed(&theirs[i]) != ours[i])
			return i;
	}
	return 0;
}

size_t scsi_compare(const struct iovec *iov, unsigned count, size_t offset, const uint8_t *bytes,
		    size_t size)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < size; i++) {
		size_t length = iov[i].iov_len, piece, same;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		piece = MIN(length - offset, size - done);
		same = compare_piece((const uint8_t *)iov[i].iov_base + offset, bytes + done,
				     piece);
		done += same;
		if (same < piece)
			return done;
		offset = 0;
	}
	return done;
}

void scsi_merge(const struct iovec *iov, unsigned count, size_t offset, uint8_t *bytes, size_t size)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < size; i++) {
		const uint8_t *theirs = iov[i].iov_base;
		size_t length = iov[i].iov_len, piece;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		piece = MIN(length - offset, size - done);
		for (size_t at = 0; at < piece; at++)
			bytes[done + at] |= theirs[offset + at];
		done += piece;
		offset = 0;
	}
}

bool scsi_is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}
