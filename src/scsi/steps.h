/* SPDX-License-Identifier: MIT */
/*
 * A command that does its work in pieces: one I/O after the other, each of at most SCSI_PIECE_MAX bytes, on one loop.
 *
 * Theory of operation. step() is called with the result of the I/O before (0 the first time). It looks at what that brought, then
 * either starts exactly one more and returns true, or ends (the task, or the job) and returns false; after that the steps may be
 * gone. An I/O that is complete before its start returns, as on a disk of memory, does not nest: it is noticed when step() has
 * returned. After SCSI_STEPS_PER_TURN of that kind the others on the loop have their turn.
 *
 * Everything here runs on the loop of the steps.
 */
#ifndef RINGLANE_SCSI_STEPS_H
#define RINGLANE_SCSI_STEPS_H

#include "scsi/internal.h"

#define SCSI_PIECE_MAX (1u << 20)
#define SCSI_STEPS_PER_TURN 4u

struct scsi_steps {
	struct loop *loop;
	struct scsi_task *task; /* NULL: a job in the background */
	bool (*step)(struct scsi_steps *steps, int result);
	/* NULL: the next step() gets -ECANCELED. Else what scsi_task_cancel() calls. */
	void (*cancel)(struct scsi_steps *steps);
	bool cancelled;
	/* steps.c */
	struct loop_defer defer;
	int result;
	bool running, done;
};

/* Zeroed state of `size` bytes, which begins with the steps; freed with the task. NULL: the task has ended (BUSY). */
void *scsi_steps_new(struct scsi_task *task, size_t size);
/* task and loop are set. */
void scsi_steps_start(struct scsi_steps *steps, bool (*step)(struct scsi_steps *steps, int result));
/* The I/O that step() started has ended. */
void scsi_steps_done(struct scsi_steps *steps, int result);
/* The same, as scsi_task_io() wants it; the task's state begins with the steps. */
void scsi_steps_next(struct scsi_task *task, int result);
/* One I/O between the unit and task->buffer, on the task's channel. */
void scsi_steps_io_buffer(struct scsi_task *task, enum block_op op, unsigned flags, uint64_t lba,
			  uint64_t blocks);

/* How many blocks of the unit one piece has, when so many are left. */
static inline uint64_t scsi_piece_blocks(const struct scsi_unit *unit, uint64_t left)
{
	return MIN(left, (uint64_t)SCSI_PIECE_MAX >> unit->block_shift);
}

/*
 * Compares bytes with the part of the list that begins offset bytes into it. Returns where they differ first, size when they do
 * not. The list may be the initiator's memory, which it can change meanwhile.
 */
size_t scsi_compare(const struct iovec *iov, unsigned count, size_t offset, const uint8_t *bytes,
		    size_t size);
/* bytes |= the list from offset on. */
void scsi_merge(const struct iovec *iov, unsigned count, size_t offset, uint8_t *bytes,
		size_t size);
bool scsi_is_zero(const uint8_t *bytes, size_t size);

#endif
