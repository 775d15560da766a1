/* SPDX-License-Identifier: MIT */
/*
 * What a disk keeps space for: UNMAP, WRITE SAME (10, 16), GET LBA STATUS (SBC-4, 5.31, 5.49, 5.6).
 *
 * UNMAP checks its whole list before it discards anything, then goes through the ranges one after the other. A node that finds
 * out that it cannot discard after all leaves the blocks mapped, which the standard allows.
 *
 * WRITE SAME of zeroes asks the node for zeroes, with UNMAP for zeroes that need no space; any other block is written from a
 * buffer that repeats it. A node that cannot make zeroes gets them written like anything else.
 *
 * GET LBA STATUS asks the node extent by extent. What is not known is mapped.
 */
#include "scsi/steps.h"

#include "base/iov.h"
#include "base/overflow.h"

#include <errno.h>
#include <string.h>

/* ---- UNMAP ---- */

#define UNMAP_HEADER 8u
#define UNMAP_DESCRIPTOR 16u

struct unmap {
	struct scsi_steps steps;
	unsigned count, index; /* descriptors */
	uint64_t lba, left;    /* of the range that is being discarded */
};

static const uint8_t *unmap_descriptor(const struct scsi_task *task, unsigned index)
{
	return task->buffer + UNMAP_HEADER + index * UNMAP_DESCRIPTOR;
}

/* Each range inside the unit, all of them not longer than VPD page B0h says. False: the task has ended. */
static bool unmap_check(struct scsi_task *task, unsigned count)
{
	uint64_t total = scsi_unit_blocks(scsi_task_unit(task)), sum = 0;

	if (count > SCSI_UNMAP_DESCRIPTORS_MAX) {
		scsi_task_bad_parameter(task, 2, -1);
		return false;
	}
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *descriptor = unmap_descriptor(task, i);
		uint32_t blocks = be32_get(descriptor + 8);

		if (!range_fits(be64_get(descriptor), blocks, total)) {
			scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
			return false;
		}
		sum += blocks;
		if (sum > SCSI_UNMAP_BLOCKS_MAX) {
			scsi_task_bad_parameter(task, UNMAP_HEADER + i * UNMAP_DESCRIPTOR + 8, -1);
			return false;
		}
	}
	return true;
}

/* The number of descriptors; false: the task has ended. */
static bool unmap_count(struct scsi_task *task, unsigned *ret_count)
{
	unsigned bytes;

	if (task->length < UNMAP_HEADER) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return false;
	}
	bytes = be16_get(task->buffer + 2);
	if (bytes > task->length - UNMAP_HEADER) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return false;
	}
	*ret_count = bytes / UNMAP_DESCRIPTOR;
	return true;
}

/* The next range that is not empty. */
static bool unmap_next(struct unmap *unmap)
{
	while (unmap->left == 0 && unmap->index < unmap->count) {
		const uint8_t *descriptor = unmap_descriptor(unmap->steps.task, unmap->index++);

		unmap->lba = be64_get(descriptor);
		unmap->left = be32_get(descriptor + 8);
	}
	return unmap->left > 0;
}

static void unmap_discard(struct unmap *unmap)
{
	struct scsi_task *task = unmap->steps.task;
	const struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t max = MAX(unit->node->limits.discard_max >> unit->block_shift, 1ull);
	uint64_t blocks = MIN(unmap->left, max), lba = unmap->lba;

	unmap->lba += blocks;
	unmap->left -= blocks;
	scsi_task_io(task, &(struct scsi_io){ .op = BLOCK_DISCARD, .lba = lba, .blocks = blocks },
		     scsi_steps_next);
}

static bool unmap_step(struct scsi_steps *steps, int result)
{
	struct unmap *unmap = container_of(steps, struct unmap, steps);

	if (result < 0 && result != -ENOTSUP) {
		scsi_task_fail_block(steps->task, BLOCK_DISCARD, result);
		return false;
	}
	if (result == -ENOTSUP || !unmap_next(unmap)) {
		scsi_task_good(steps->task);
		return false;
	}
	unmap_discard(unmap);
	return true;
}

void scsi_unmap(struct scsi_task *task)
{
	struct unmap *unmap;
	unsigned count;

	if (!scsi_unit_can_unmap(scsi_task_unit(task))) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return;
	}
	if (task->length == 0) {
		scsi_task_good(task);
		return;
	}
	if (!scsi_task_take_parameters(task, UINT16_MAX) || !unmap_count(task, &count) ||
	    !unmap_check(task, count))
		return;
	unmap = scsi_steps_new(task, sizeof(*unmap));
	if (!unmap)
		return;
	unmap->count = count;
	scsi_steps_start(&unmap->steps, unmap_step);
}

/* ---- WRITE SAME ---- */

/* Bytes of zeroes that are asked for at once; the disk may take its time for each. */
#define ZEROES_PIECE (128ull << 20)

enum same_cdb { SAME_NDOB = 0x01, SAME_UNMAP = 0x08 };

struct same {
	struct scsi_steps steps;
	uint64_t blocks, written;
	uint64_t piece;
	unsigned flags;
	bool zeroes;            /* the node makes them */
	uint64_t buffer_blocks; /* repetitions in the task's buffer; 0: not there yet */
};

static bool same_has_data(const struct scsi_task *task)
{
	return !(task->cdb[0] == 0x93 && task->cdb[1] & SAME_NDOB);
}

/* The buffer has the block at its beginning. */
static void same_repeat(struct same *same)
{
	struct scsi_task *task = same->steps.task;
	const struct scsi_unit *unit = scsi_task_unit(task);

	same->buffer_blocks = task->buffer_bytes >> unit->block_shift;
	for (uint64_t i = 1; i < same->buffer_blocks; i++)
		memcpy(task->buffer + (i << unit->block_shift), task->buffer, unit->block_size);
}

static void same_write_zeroes(struct same *same)
{
	struct scsi_task *task = same->steps.task;
	const struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t bytes = MIN(unit->node->limits.write_zeroes_max, ZEROES_PIECE);

	same->piece = MIN(same->blocks - same->written, MAX(bytes >> unit->block_shift, 1ull));
	scsi_task_io(task,
		     &(struct scsi_io){ .op = BLOCK_WRITE_ZEROES,
					.flags = same->flags,
					.lba = task->lba + same->written,
					.blocks = same->piece },
		     scsi_steps_next);
}

static void same_write(struct same *same)
{
	struct scsi_task *task = same->steps.task;

	if (same->buffer_blocks == 0)
		same_repeat(same);
	same->piece = MIN(same->blocks - same->written, same->buffer_blocks);
	scsi_steps_io_buffer(task, BLOCK_WRITE, same->flags & BLOCK_FUA, task->lba + same->written,
			     same->piece);
}

static bool same_step(struct scsi_steps *steps, int result)
{
	struct same *same = container_of(steps, struct same, steps);

	if (result == -ENOTSUP && same->zeroes) {
		same->zeroes = false;
		same->piece = 0;
	} else if (result < 0) {
		scsi_task_fail_block(steps->task, BLOCK_WRITE, result);
		return false;
	}
	same->written += same->piece;
	if (same->written == same->blocks) {
		scsi_task_good(steps->task);
		return false;
	}
	if (same->zeroes)
		same_write_zeroes(same);
	else
		same_write(same);
	return true;
}

static struct same *same_new(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	size_t piece = (size_t)scsi_piece_blocks(unit, task->blocks) << unit->block_shift;
	struct same *same;

	if (!scsi_task_get_buffer(task, piece))
		return NULL;
	same = scsi_steps_new(task, sizeof(*same));
	if (!same)
		return NULL;
	/* the initiator's memory is read here, once */
	if (same_has_data(task))
		iov_to_buffer(task->out, task->out_count, 0, task->buffer, unit->block_size);
	same->blocks = task->blocks;
	same->zeroes = scsi_is_zero(task->buffer, unit->block_size) &&
		       unit->node->limits.write_zeroes_max > 0;
	same->flags = scsi_task_write_flags(task);
	if (task->cdb[1] & SAME_UNMAP)
		same->flags |= BLOCK_MAY_UNMAP;
	return same;
}

void scsi_write_same(struct scsi_task *task)
{
	struct same *same;

	if (task->cdb[1] & SAME_UNMAP && !scsi_unit_can_unmap(scsi_task_unit(task))) {
		scsi_task_bad_cdb(task, 1, 3);
		return;
	}
	if (task->blocks == 0 || task->blocks > SCSI_WRITE_SAME_BLOCKS_MAX) {
		scsi_task_bad_cdb(task, task->opcode->layout == SCSI_CDB_BLOCKS_10 ? 7 : 10, -1);
		return;
	}
	same = same_new(task);
	if (same)
		scsi_steps_start(&same->steps, same_step);
}

/* ---- GET LBA STATUS ---- */

#define STATUS_HEADER 8u
#define STATUS_DESCRIPTOR 16u
/* What one command tells at most, and how often it asks. */
#define STATUS_DESCRIPTORS_MAX 1024u
#define STATUS_QUESTIONS_MAX 4096u

enum provisioning { PROVISIONING_MAPPED = 0, PROVISIONING_DEALLOCATED = 1 };

struct status {
	struct scsi_steps steps;
	uint64_t lba, total; /* how far it has been told, and the unit's blocks */
	unsigned count, max; /* descriptors */
	unsigned questions;
	/* the extent that goes on until another kind comes */
	uint64_t extent_lba, extent_blocks;
	enum provisioning extent;
};

/* Writes the extent down; the standard has 32 bits for its length. */
static void status_put(struct status *status)
{
	while (status->extent_blocks > 0 && status->count < status->max) {
		uint8_t *bytes = status->steps.task->buffer + STATUS_HEADER +
				 status->count++ * STATUS_DESCRIPTOR;
		uint32_t blocks = (uint32_t)MIN(status->extent_blocks, UINT32_MAX);

		be64_put(bytes, status->extent_lba);
		be32_put(bytes + 8, blocks);
		bytes[12] = (uint8_t)status->extent;
		status->extent_lba += blocks;
		status->extent_blocks -= blocks;
	}
}

static void status_add(struct status *status, enum provisioning provisioning, uint64_t blocks)
{
	if (status->extent_blocks > 0 && provisioning != status->extent)
		status_put(status);
	if (status->extent_blocks == 0) {
		status->extent = provisioning;
		status->extent_lba = status->lba;
	}
	status->extent_blocks += blocks;
	status->lba += blocks;
}

/* A block of which a part is stored is mapped. */
static void status_add_extent(struct status *status, const struct block_extent *extent)
{
	uint8_t shift = scsi_task_unit(status->steps.task)->block_shift;
	uint64_t whole = extent->bytes >> shift, left = status->total - status->lba;

	if (extent->hole && whole > 0)
		status_add(status, PROVISIONING_DEALLOCATED, MIN(whole, left));
	else
		status_add(status, PROVISIONING_MAPPED,
			   MIN(MAX((extent->bytes + (1ull << shift) - 1) >> shift, 1ull), left));
}

static void status_finish(struct status *status)
{
	struct scsi_task *task = status->steps.task;
	uint32_t size;

	status_put(status);
	size = STATUS_HEADER + status->count * STATUS_DESCRIPTOR;
	be32_put(task->buffer, size - 4);
	scsi_task_data_in(task, task->buffer, size);
}

static bool status_wants_more(const struct status *status)
{
	return status->lba < status->total && status->count < status->max &&
	       status->questions < STATUS_QUESTIONS_MAX;
}

static bool status_step(struct scsi_steps *steps, int result)
{
	struct status *status = container_of(steps, struct status, steps);
	struct scsi_task *task = steps->task;
	uint64_t left = status->total - status->lba;

	if (result < 0 && result != -ENOTSUP) {
		scsi_task_fail_block(task, BLOCK_READ, result);
		return false;
	}
	if (result == -ENOTSUP)
		status_add(status, PROVISIONING_MAPPED, left);
	else if (status->questions > 0)
		status_add_extent(status, &task->block.extent);
	if (!status_wants_more(status)) {
		status_finish(status);
		return false;
	}
	status->questions++;
	scsi_task_io(task,
		     &(struct scsi_io){ .op = BLOCK_STATUS,
					.lba = status->lba,
					.blocks = status->total - status->lba },
		     scsi_steps_next);
	return true;
}

void scsi_get_lba_status(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t room = (MAX(task->length, STATUS_HEADER) - STATUS_HEADER) / STATUS_DESCRIPTOR;
	unsigned max = (unsigned)MIN(MAX(room, 1ull), STATUS_DESCRIPTORS_MAX);
	uint64_t total = scsi_unit_blocks(unit);
	struct status *status;

	if (task->lba >= total) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
		return;
	}
	if (!scsi_task_get_buffer(task, STATUS_HEADER + max * STATUS_DESCRIPTOR))
		return;
	status = scsi_steps_new(task, sizeof(*status));
	if (!status)
		return;
	status->lba = task->lba;
	status->total = total;
	status->max = max;
	if (!scsi_unit_can_unmap(unit))
		status_add(status, PROVISIONING_MAPPED, total - task->lba);
	scsi_steps_start(&status->steps, status_step);
}
