/* SPDX-License-Identifier: MIT */
/*
 * SANITIZE (SBC-4, 5.26 and 4.11): all blocks are overwritten or erased, by a job on the main loop.
 *
 * Theory of operation. The command runs alone on its unit when it starts the job: nothing else is in flight, and who comes later
 * finds SCSI_UNIT_SANITIZING. The job (struct scsi_sanitize, unit->sanitize while it runs) has a channel of its own, goes through
 * the disk in pieces (steps.h), flushes, and closes the channel in a message to itself, since a channel cannot be closed from
 * inside its own completion. With IMMED the task ends when the job has been handed over, else the job answers it; a task that
 * is aborted meanwhile leaves the job running, as resets do.
 *
 * Blocks that the disk got or lost under way are looked at piece by piece: the end is where it is when it is reached.
 *
 * A drain of the disk is waited for between two pieces, on the main loop as the job is.
 *
 * A job that fails leaves SCSI_UNIT_SANITIZE_FAILED behind, until another one succeeds or EXIT FAILURE MODE, which the failed
 * command must have allowed (AUSE). One that the unit's end cuts short has failed.
 *
 * Threads: scsi_sanitize() runs on the task's loop, the job on the unit's. What both look at is under the unit's lock.
 */
#include "scsi/steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum service_action { OVERWRITE = 0x01, BLOCK_ERASE = 0x02, EXIT_FAILURE_MODE = 0x1f };
enum sanitize_cdb { SANITIZE_IMMED = 0x80, SANITIZE_AUSE = 0x20 };

#define OVERWRITE_HEADER 4u
/* Bytes of zeroes that are asked for at once. */
#define ZEROES_PIECE (128ull << 20)

struct scsi_sanitize {
	struct scsi_steps steps;
	struct loop_message message;
	struct scsi_unit *unit;
	/* set by the command */
	bool restricted; /* AUSE was 0 */
	bool invert;
	unsigned passes;
	/* the job's */
	struct block_channel *channel; /* NULL: not open */
	struct block_request block;
	struct iovec iov;
	bool zeroes; /* the node makes them; else the buffer is written */
	bool flushing;
	bool works;      /* has a piece out */
	bool parked;     /* between two pieces, until the unit's jobs are released */
	uint8_t *buffer; /* NULL: not needed yet */
	size_t buffer_bytes;
	unsigned pass;
	uint64_t position, piece; /* blocks */
	int result;
	/* under the unit's lock */
	struct scsi_task *waiter; /* NULL: nobody waits */
	uint16_t progress;
	void (*end_done)(void *opaque);
	void *end_opaque;
};

/* ---- the end of a job ---- */

static void sanitize_free(struct scsi_sanitize *job)
{
	free(job->buffer);
	free(job);
}

/* The waiter's loop. */
static void sanitize_answer(struct loop_message *message)
{
	struct scsi_sanitize *job = container_of(message, struct scsi_sanitize, message);
	struct scsi_task *task = job->waiter;
	int result = job->result;

	sanitize_free(job);
	if (result < 0)
		scsi_task_fail(task, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
	else
		scsi_task_good(task);
}

/* Failure is seen before the job is over, so that no command slips through in between. */
static void sanitize_tell_unit(struct scsi_sanitize *job)
{
	struct scsi_unit *unit = job->unit;

	scsi_unit_lock(unit);
	if (job->result < 0)
		or_relaxed(&unit->slow, SCSI_UNIT_SANITIZE_FAILED);
	if (job->result < 0 && job->restricted)
		or_relaxed(&unit->slow, SCSI_UNIT_SANITIZE_RESTRICTED);
	and_relaxed(&unit->slow, ~(uint32_t)SCSI_UNIT_SANITIZING);
	unit->sanitize = NULL;
	scsi_unit_unlock(unit);
}

/* Whoever waits for that is told. */
static void jobs_stand_still(struct scsi_unit *unit)
{
	void (*done)(void *opaque) = unit->held_done;

	unit->held_done = NULL;
	if (done)
		done(unit->held_opaque);
}

static void sanitize_close(struct loop_message *message)
{
	struct scsi_sanitize *job = container_of(message, struct scsi_sanitize, message);
	void (*end_done)(void *opaque);
	void *end_opaque;

	if (job->channel)
		block_channel_close(job->channel);
	sanitize_tell_unit(job);
	/* nobody else finds the job any more */
	end_done = job->end_done;
	end_opaque = job->end_opaque;
	if (job->waiter) {
		job->message.fn = sanitize_answer;
		loop_post(job->waiter->loop, &job->message);
	} else {
		sanitize_free(job);
	}
	if (end_done)
		end_done(end_opaque);
}

static void sanitize_finish(struct scsi_sanitize *job, int result)
{
	job->result = result;
	job->works = false;
	job->message.fn = sanitize_close;
	loop_post(job->unit->loop, &job->message);
	jobs_stand_still(job->unit);
}

/* ---- the job ---- */

static void sanitize_io_done(struct block_request *block, int result)
{
	struct scsi_sanitize *job = container_of(block, struct scsi_sanitize, block);

	scsi_steps_done(&job->steps, result);
}

static void sanitize_submit(struct scsi_sanitize *job, enum block_op op, unsigned flags)
{
	uint8_t shift = job->unit->block_shift;

	job->iov = (struct iovec){ .iov_base = job->buffer, .iov_len = job->piece << shift };
	job->block = (struct block_request){
		.op = op,
		.flags = flags,
		.offset = job->position << shift,
		.bytes = job->piece << shift,
		.iov = &job->iov,
		.iov_count = 1,
		.done = sanitize_io_done,
	};
	block_submit(job->channel, &job->block);
}

/* A buffer of zeroes, or of the pattern that the command made. */
static bool sanitize_has_buffer(struct scsi_sanitize *job)
{
	if (!job->buffer) {
		job->buffer_bytes = SCSI_PIECE_MAX;
		job->buffer = calloc(1, job->buffer_bytes);
	}
	return job->buffer;
}

static void sanitize_next_pass(struct scsi_sanitize *job)
{
	job->pass++;
	job->position = 0;
	if (!job->invert)
		return;
	for (size_t i = 0; i < job->buffer_bytes; i++)
		job->buffer[i] ^= 0xff;
}

/* Of 65536, never all of it. */
static uint16_t progress_of(const struct scsi_sanitize *job, uint64_t total)
{
	uint64_t part = total >= 65536 ? job->position / (total >> 16) :
					 (job->position << 16) / MAX(total, 1ull);

	return (uint16_t)MIN(((uint64_t)job->pass * 65536 + part) / job->passes, 65535ull);
}

static void sanitize_tell_progress(struct scsi_sanitize *job, uint64_t total)
{
	uint16_t progress = progress_of(job, total);

	if (progress == job->progress)
		return;
	scsi_unit_lock(job->unit);
	job->progress = progress;
	scsi_unit_unlock(job->unit);
}

/* 0, or what ends the job. A piece that lies beyond an end that has moved is no failure. */
static int sanitize_look_at(struct scsi_sanitize *job, int result, uint64_t total)
{
	if (result == -ENOTSUP && job->zeroes) {
		job->zeroes = false;
		job->piece = 0;
		return 0;
	}
	if (result == -EIO && !job->flushing && job->piece > 0 &&
	    job->position + job->piece > total)
		return 0;
	return result;
}

/* One piece, or the flush at the end; false: there is no memory. */
static bool sanitize_go_on(struct scsi_sanitize *job, uint64_t total)
{
	uint8_t shift = job->unit->block_shift;
	uint64_t left = total - job->position;

	if (job->pass == job->passes) {
		job->flushing = true;
		job->piece = 0;
		sanitize_submit(job, BLOCK_FLUSH, 0);
	} else if (job->zeroes) {
		uint64_t bytes = MIN(job->unit->node->limits.write_zeroes_max, ZEROES_PIECE);

		job->piece = MIN(left, MAX(bytes >> shift, 1ull));
		sanitize_submit(job, BLOCK_WRITE_ZEROES, BLOCK_MAY_UNMAP);
	} else {
		if (!sanitize_has_buffer(job))
			return false;
		job->piece = MIN(left, job->buffer_bytes >> shift);
		sanitize_submit(job, BLOCK_WRITE, 0);
	}
	return true;
}

/* It goes on with nothing having been done: see scsi_unit_release_jobs. */
static void sanitize_park(struct scsi_sanitize *job)
{
	job->piece = 0;
	job->works = false;
	job->parked = true;
	jobs_stand_still(job->unit);
}

static bool sanitize_step(struct scsi_steps *steps, int result)
{
	struct scsi_sanitize *job = container_of(steps, struct scsi_sanitize, steps);
	uint64_t total = scsi_unit_blocks(job->unit);

	result = sanitize_look_at(job, result, total);
	if (result < 0 || job->flushing) {
		sanitize_finish(job, result);
		return false;
	}
	job->position += job->piece;
	while (job->position >= total && job->pass < job->passes)
		sanitize_next_pass(job);
	sanitize_tell_progress(job, total);
	if (job->unit->jobs_held) {
		sanitize_park(job);
		return true;
	}
	job->works = true;
	if (!sanitize_go_on(job, total)) {
		sanitize_finish(job, -ENOMEM);
		return false;
	}
	return true;
}

static void sanitize_begin(struct loop_message *message)
{
	struct scsi_sanitize *job = container_of(message, struct scsi_sanitize, message);
	struct scsi_unit *unit = job->unit;
	int ret = block_channel_open(unit->node, unit->loop, &job->channel);

	if (ret < 0)
		sanitize_finish(job, ret);
	else
		scsi_steps_start(&job->steps, sanitize_step);
}

/* ---- what others want to know ---- */

bool scsi_sanitize_progress(struct scsi_unit *unit, uint16_t *ret_progress)
{
	if (!unit->sanitize)
		return false;
	*ret_progress = unit->sanitize->progress;
	return true;
}

static struct scsi_sanitize *job_of(struct scsi_unit *unit)
{
	struct scsi_sanitize *job;

	scsi_unit_lock(unit);
	job = unit->sanitize;
	scsi_unit_unlock(unit);
	return job;
}

/* One that has not begun will park. */
void scsi_unit_hold_jobs(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque)
{
	const struct scsi_sanitize *job = job_of(unit);

	assert(loop_is_mine(unit->loop) && !unit->jobs_held);
	unit->jobs_held = true;
	unit->held_done = done;
	unit->held_opaque = opaque;
	if (!job || !job->works)
		jobs_stand_still(unit);
}

void scsi_unit_release_jobs(struct scsi_unit *unit)
{
	struct scsi_sanitize *job = job_of(unit);

	assert(loop_is_mine(unit->loop) && unit->jobs_held && !unit->held_done);
	unit->jobs_held = false;
	if (!job || !job->parked)
		return;
	job->parked = false;
	scsi_steps_done(&job->steps, 0);
}

void scsi_sanitize_end(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque)
{
	struct scsi_sanitize *job;

	assert(loop_is_mine(unit->loop) && !unit->jobs_held);
	scsi_unit_lock(unit);
	job = unit->sanitize;
	if (job) {
		job->end_done = done;
		job->end_opaque = opaque;
		job->steps.cancelled = true;
	}
	scsi_unit_unlock(unit);
	if (!job)
		done(opaque);
}

/* ---- the command ---- */

/* The job goes on; the task ends, unless its answer is under way. */
static void sanitize_abandon(struct scsi_steps *steps)
{
	struct scsi_task *task = steps->task;
	struct scsi_unit *unit = scsi_task_unit(task);
	bool waits;

	scsi_unit_lock(unit);
	waits = unit->sanitize && unit->sanitize->waiter == task;
	if (waits)
		unit->sanitize->waiter = NULL;
	scsi_unit_unlock(unit);
	if (waits)
		scsi_task_end(task, SCSI_TASK_ABORTED);
}

/* The job becomes the unit's. False: it cannot, and the task has ended. */
static bool sanitize_install(struct scsi_task *task, struct scsi_sanitize *job)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	bool busy;

	scsi_unit_lock(unit);
	busy = unit->ending || unit->sanitize;
	if (!busy) {
		unit->sanitize = job;
		or_relaxed(&unit->slow, SCSI_UNIT_SANITIZING);
		and_relaxed(&unit->slow,
			    ~(uint32_t)(SCSI_UNIT_SANITIZE_FAILED | SCSI_UNIT_SANITIZE_RESTRICTED));
	}
	scsi_unit_unlock(unit);
	if (busy) {
		sanitize_free(job);
		scsi_task_end(task, SCSI_BUSY);
	}
	return !busy;
}

static void sanitize_hand_over(struct scsi_task *task, struct scsi_sanitize *job)
{
	struct loop *loop = job->unit->loop;

	if (!sanitize_install(task, job))
		return;
	job->message.fn = sanitize_begin;
	if (!job->waiter) {
		loop_post(loop, &job->message);
		scsi_task_good(task);
		return;
	}
	if (task->ops->exclusive_end)
		task->ops->exclusive_end(task);
	loop_post(loop, &job->message);
}

static void sanitize_start(struct scsi_task *task, struct scsi_sanitize *job)
{
	job->unit = scsi_task_unit(task);
	job->steps.loop = job->unit->loop;
	job->restricted = !(task->cdb[1] & SANITIZE_AUSE);
	if (!(task->cdb[1] & SANITIZE_IMMED)) {
		struct scsi_steps *wait = scsi_steps_new(task, sizeof(*wait));

		if (!wait) {
			sanitize_free(job);
			return;
		}
		wait->cancel = sanitize_abandon;
		task->steps = wait;
		job->waiter = task;
	}
	sanitize_hand_over(task, job);
}

static struct scsi_sanitize *sanitize_new(struct scsi_task *task)
{
	struct scsi_sanitize *job = calloc(1, sizeof(*job));

	if (!job)
		scsi_task_end(task, SCSI_BUSY);
	return job;
}

static void block_erase(struct scsi_task *task)
{
	struct scsi_sanitize *job = sanitize_new(task);

	if (!job)
		return;
	job->passes = 1;
	job->zeroes = scsi_task_unit(task)->node->limits.write_zeroes_max > 0;
	sanitize_start(task, job);
}

/* Each block has the pattern from its beginning, as often as it fits, the last time perhaps only a part of it. */
static void overwrite_fill(struct scsi_sanitize *job, const struct scsi_unit *unit,
			   const uint8_t *pattern, size_t size)
{
	for (size_t at = 0; at < unit->block_size; at++)
		job->buffer[at] = pattern[at % size];
	for (size_t at = unit->block_size; at < job->buffer_bytes; at += unit->block_size)
		memcpy(job->buffer + at, job->buffer, unit->block_size);
}

/* False: the task has ended. */
static bool overwrite_check(struct scsi_task *task)
{
	uint32_t block_size = scsi_task_unit(task)->block_size;
	const uint8_t *list;
	unsigned size;

	if (task->length <= OVERWRITE_HEADER || task->length > block_size + OVERWRITE_HEADER) {
		scsi_task_bad_cdb(task, 7, -1);
		return false;
	}
	if (!scsi_task_take_parameters(task, block_size + OVERWRITE_HEADER))
		return false;
	list = task->buffer;
	size = be16_get(list + 2);
	if (list[0] & 0x60)
		scsi_task_bad_parameter(task, 0, 6); /* TEST: vendor specific */
	else if ((list[0] & 0x1f) == 0)
		scsi_task_bad_parameter(task, 0, 4); /* OVERWRITE COUNT */
	else if (size == 0 || size > block_size)
		scsi_task_bad_parameter(task, 2, -1);
	else if (size > task->length - OVERWRITE_HEADER)
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	else
		return true;
	return false;
}

static void overwrite(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	struct scsi_sanitize *job;

	if (!overwrite_check(task))
		return;
	job = sanitize_new(task);
	if (!job)
		return;
	job->passes = task->buffer[0] & 0x1f;
	job->invert = task->buffer[0] & 0x80;
	job->buffer_bytes = SCSI_PIECE_MAX;
	job->buffer = malloc(job->buffer_bytes);
	if (!job->buffer) {
		sanitize_free(job);
		scsi_task_end(task, SCSI_BUSY);
		return;
	}
	overwrite_fill(job, unit, task->buffer + OVERWRITE_HEADER, be16_get(task->buffer + 2));
	sanitize_start(task, job);
}

static void exit_failure_mode(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	bool restricted;

	scsi_unit_lock(unit);
	restricted = load_relaxed(&unit->slow) & SCSI_UNIT_SANITIZE_RESTRICTED;
	if (!restricted)
		and_relaxed(&unit->slow, ~(uint32_t)SCSI_UNIT_SANITIZE_FAILED);
	scsi_unit_unlock(unit);
	if (restricted)
		scsi_task_bad_cdb(task, 1, 4);
	else
		scsi_task_good(task);
}

void scsi_sanitize(struct scsi_task *task)
{
	uint32_t slow = load_relaxed(&scsi_task_unit(task)->slow);
	unsigned action = task->cdb[1] & 0x1f;

	if (action == EXIT_FAILURE_MODE) {
		exit_failure_mode(task);
		return;
	}
	/* who failed without an unrestricted exit may not get one afterwards */
	if (slow & SCSI_UNIT_SANITIZE_RESTRICTED && task->cdb[1] & SANITIZE_AUSE) {
		scsi_task_bad_cdb(task, 1, 5);
		return;
	}
	if (action == OVERWRITE)
		overwrite(task);
	else
		block_erase(task);
}
