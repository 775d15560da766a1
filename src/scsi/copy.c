/* SPDX-License-Identifier: MIT */
/*
 * EXTENDED COPY (LID1) (SPC-4, 6.4): blocks from one disk to another, or within one, without a detour through the initiator.
 *
 * Theory of operation. The whole parameter list is parsed and checked before anything is copied: lengths, types, that each disk
 * can be reached (ops->peer_get), may be read or written, and has the blocks. The disks are held until the end. Then segment after
 * segment is read and written in pieces. Supported are identification descriptors with an NAA name (E4h) and block to block
 * segments (02h) that need no padding.
 *
 * What became of a copy is kept for RECEIVE COPY RESULTS (copy_results.c), unless the list wants no such thing. A list that is
 * refused before the first segment leaves nothing behind.
 */
#include "scsi/copy_results.h"
#include "scsi/steps.h"

#include "base/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 16u

enum list_id_usage {
	LIST_ID_HOLD = 0,
	LIST_ID_RESERVED = 1,
	LIST_ID_DISCARD = 2,
	LIST_ID_NONE = 3
};

struct copy {
	struct scsi_steps steps;
	uint8_t list_id;
	enum list_id_usage usage;
	struct copy_result *result; /* NULL: not kept; under the unit's lock */
	struct scsi_peer peers[COPY_TARGETS_MAX];
	unsigned peer_count; /* that are held */
	const uint8_t *targets, *segments;
	unsigned target_count, segment_count;
	uint8_t *data; /* one piece */
	struct iovec vector;
	/* the segment that is being copied, in bytes */
	unsigned index;
	struct scsi_peer *source, *destination;
	uint64_t from, to, left, piece;
	uint64_t copied; /* of all segments */
	bool writing;
};

static const struct scsi_unit *peer_unit(const struct scsi_peer *peer)
{
	return peer->nexus->unit;
}

/* Lets go of everything but the task's own memory. */
static void copy_fini(struct copy *copy)
{
	struct scsi_task *task = copy->steps.task;

	while (copy->peer_count > 0)
		task->ops->peer_put(task, &copy->peers[--copy->peer_count]);
	free(copy->data);
	copy->data = NULL;
}

/* Refused before anything was copied. Returns false, as the checks do. */
static bool copy_refuse(struct copy *copy, enum scsi_sense_key key, enum scsi_asc asc)
{
	copy_fini(copy);
	scsi_task_fail(copy->steps.task, key, asc);
	return false;
}

static bool copy_bad_parameter(struct copy *copy, const uint8_t *at, int bit)
{
	struct scsi_task *task = copy->steps.task;

	copy_fini(copy);
	scsi_task_bad_parameter(task, (unsigned)(at - task->buffer), bit);
	return false;
}

static bool copy_bad_length(struct copy *copy)
{
	return copy_refuse(copy, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
}

/* ---- the parameter list ---- */

/* Lengths and counts. */
static bool parse_header(struct copy *copy)
{
	struct scsi_task *task = copy->steps.task;
	const uint8_t *list = task->buffer;
	uint64_t targets = be16_get(list + 2), segments = be32_get(list + 8);
	uint64_t inline_bytes = be32_get(list + 12);

	copy->list_id = list[0];
	copy->usage = (enum list_id_usage)(list[1] >> 3 & 3);
	if (copy->usage == LIST_ID_RESERVED)
		return copy_bad_parameter(copy, list + 1, 4);
	if (copy->usage == LIST_ID_NONE && copy->list_id != 0)
		return copy_bad_parameter(copy, list, -1);
	if (HEADER_BYTES + targets + segments + inline_bytes > task->length ||
	    targets + segments > COPY_DESCRIPTORS_MAX)
		return copy_bad_length(copy);
	if (inline_bytes > 0)
		return copy_refuse(copy, SCSI_ILLEGAL_REQUEST,
				   SCSI_ASC_INLINE_DATA_LENGTH_EXCEEDED);
	if (targets % COPY_CSCD_BYTES)
		return copy_bad_parameter(copy, list + 2, -1);
	copy->targets = list + HEADER_BYTES;
	copy->segments = copy->targets + targets;
	copy->target_count = (unsigned)targets / COPY_CSCD_BYTES;
	copy->segment_count = (unsigned)(segments + COPY_SEGMENT_BYTES - 1) / COPY_SEGMENT_BYTES;
	if (copy->target_count > COPY_TARGETS_MAX)
		return copy_refuse(copy, SCSI_ILLEGAL_REQUEST,
				   SCSI_ASC_TOO_MANY_TARGET_DESCRIPTORS);
	if (copy->segment_count > COPY_SEGMENTS_MAX)
		return copy_refuse(copy, SCSI_ILLEGAL_REQUEST,
				   SCSI_ASC_TOO_MANY_SEGMENT_DESCRIPTORS);
	return true;
}

/* Types; the last segment may be cut. */
static bool parse_types(struct copy *copy)
{
	const uint8_t *end = copy->segments + be32_get(copy->steps.task->buffer + 8);

	for (unsigned i = 0; i < copy->target_count; i++) {
		if (copy->targets[i * COPY_CSCD_BYTES] != COPY_CSCD_IDENTIFICATION)
			return copy_refuse(copy, SCSI_ILLEGAL_REQUEST,
					   SCSI_ASC_UNSUPPORTED_TARGET_DESCRIPTOR);
	}
	for (const uint8_t *at = copy->segments; at < end; at += COPY_SEGMENT_BYTES) {
		if (at[0] != COPY_SEGMENT_BLOCK_TO_BLOCK)
			return copy_refuse(copy, SCSI_ILLEGAL_REQUEST,
					   SCSI_ASC_UNSUPPORTED_SEGMENT_DESCRIPTOR);
		if (end - at < COPY_SEGMENT_BYTES)
			return copy_bad_length(copy);
		if (be16_get(at + 2) != COPY_SEGMENT_BYTES - 4)
			return copy_bad_parameter(copy, at + 2, -1);
	}
	return true;
}

/* ---- the disks ---- */

/* The NAA name in an identification descriptor: of a logical unit, binary, 8 bytes. 0: another designator. */
static uint64_t cscd_name(const uint8_t *cscd)
{
	bool is_naa = (cscd[4] & 0x0f) == 1 && (cscd[5] & 0x3f) == 3 && cscd[7] == 8;

	return is_naa ? be64_get(cscd + 8) : 0;
}

static bool peer_get(struct copy *copy, const uint8_t *cscd)
{
	struct scsi_task *task = copy->steps.task;
	struct scsi_peer *peer = &copy->peers[copy->peer_count];
	uint64_t name = cscd_name(cscd);

	if (cscd[1] & 0x1f)
		return copy_refuse(copy, SCSI_COPY_ABORTED, SCSI_ASC_INCORRECT_COPY_TARGET_TYPE);
	if (name == 0 || task->ops->peer_get(task, name, peer) < 0)
		return copy_refuse(copy, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	copy->peer_count++;
	if (be24_get(cscd + 29) != peer_unit(peer)->block_size)
		return copy_refuse(copy, SCSI_COPY_ABORTED, SCSI_ASC_INCORRECT_COPY_TARGET_TYPE);
	return true;
}

static bool get_peers(struct copy *copy)
{
	for (unsigned i = 0; i < copy->target_count; i++) {
		if (!peer_get(copy, copy->targets + i * COPY_CSCD_BYTES))
			return false;
	}
	return true;
}

/* What target.c asks of a command that reads or writes. */
static bool may_read(const struct scsi_peer *peer)
{
	uint32_t unready = SCSI_UNIT_STOPPED | SCSI_UNIT_SANITIZING | SCSI_UNIT_SANITIZE_FAILED;

	return !(load_relaxed(&peer_unit(peer)->slow) & unready) &&
	       !(load_relaxed(&peer->nexus->slow) & (SCSI_CONFLICT_READ | SCSI_CONFLICT_SPC2));
}

static bool may_write(const struct scsi_peer *peer)
{
	uint32_t protected = SCSI_UNIT_WRITE_PROTECTED | SCSI_UNIT_SWP;

	return may_read(peer) && !(load_relaxed(&peer_unit(peer)->slow) & protected) &&
	       !(load_relaxed(&peer->nexus->slow) & SCSI_CONFLICT_WRITE);
}

/* ---- segments ---- */

static bool range_of(const struct scsi_peer *peer, uint64_t lba, uint64_t bytes,
		     uint64_t *ret_offset)
{
	const struct scsi_unit *unit = peer_unit(peer);

	if (!range_fits(lba, bytes >> unit->block_shift, scsi_unit_blocks(unit)))
		return false;
	*ret_offset = lba << unit->block_shift;
	return true;
}

/* Sets the segment that is to be copied. False: *ret_asc says why it cannot be; NONE: the blocks are not there. */
static bool segment_take(struct copy *copy, unsigned index, enum scsi_asc *ret_asc)
{
	const uint8_t *segment = copy->segments + index * COPY_SEGMENT_BYTES;
	unsigned source = be16_get(segment + 4), destination = be16_get(segment + 6);
	const struct scsi_unit *from, *to;
	uint64_t bytes = be16_get(segment + 10);

	*ret_asc = SCSI_ASC_COPY_TARGET_NOT_REACHABLE;
	if (source >= copy->target_count || destination >= copy->target_count)
		return false;
	copy->source = &copy->peers[source];
	copy->destination = &copy->peers[destination];
	from = peer_unit(copy->source);
	to = peer_unit(copy->destination);
	bytes <<= segment[1] & 0x02 ? to->block_shift : from->block_shift; /* DC: whose blocks */
	*ret_asc = SCSI_ASC_UNEXPECTED_INEXACT_SEGMENT;
	if (bytes & ((from->block_size - 1) | (to->block_size - 1)))
		return false;
	*ret_asc = SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE;
	if (!may_read(copy->source) || !may_write(copy->destination))
		return false;
	*ret_asc = SCSI_ASC_NONE;
	copy->left = bytes;
	return range_of(copy->source, be64_get(segment + 12), bytes, &copy->from) &&
	       range_of(copy->destination, be64_get(segment + 20), bytes, &copy->to);
}

static bool check_segments(struct copy *copy)
{
	enum scsi_asc asc;

	for (unsigned i = 0; i < copy->segment_count; i++) {
		if (!segment_take(copy, i, &asc))
			return copy_refuse(copy, SCSI_COPY_ABORTED, asc);
	}
	copy->left = 0;
	return true;
}

/* ---- its result ---- */

static struct scsi_nexus *copy_nexus(const struct copy *copy)
{
	return copy->steps.task->nexus;
}

/* False: a copy with this identifier is running, and the task has ended. */
static bool result_forget(struct copy *copy)
{
	if (copy->usage == LIST_ID_NONE || copy_result_forget(copy_nexus(copy), copy->list_id))
		return true;
	return copy_refuse(copy, SCSI_ILLEGAL_REQUEST, SCSI_ASC_OPERATION_IN_PROGRESS);
}

/* False: too many are running, and the task has ended. */
static bool result_begin(struct copy *copy)
{
	struct scsi_task *task = copy->steps.task;

	if (copy->usage == LIST_ID_NONE)
		return true;
	copy->result = copy_result_begin(task->nexus, copy->list_id);
	if (copy->result)
		return true;
	copy_fini(copy);
	scsi_task_end(task, SCSI_BUSY);
	return false;
}

static void result_end(struct copy *copy, enum copy_status status, enum scsi_asc asc)
{
	struct copy_result *result = copy->result;

	if (!result)
		return;
	copy_result_update(copy_nexus(copy), result, copy->index, copy->copied);
	if (copy->usage == LIST_ID_DISCARD)
		copy_result_discard(copy_nexus(copy), result);
	else
		copy_result_end(copy_nexus(copy), result, status, asc);
}

/* ---- copying ---- */

static bool copy_end(struct copy *copy)
{
	struct scsi_task *task = copy->steps.task;

	result_end(copy, COPY_DONE, SCSI_ASC_NONE);
	copy_fini(copy);
	scsi_task_good(task);
	return false;
}

static bool copy_fail(struct copy *copy, enum scsi_asc asc)
{
	result_end(copy, COPY_FAILED, asc);
	return copy_refuse(copy, SCSI_COPY_ABORTED, asc);
}

static void copy_io_done(struct block_request *block, int result)
{
	scsi_steps_done(container_of(block, struct scsi_task, block)->state, result);
}

/* In bytes: the disks may have blocks of different sizes. */
static bool copy_submit(struct copy *copy, const struct scsi_peer *peer, enum block_op op,
			uint64_t offset)
{
	struct block_request *block = &copy->steps.task->block;
	bool stable = op == BLOCK_WRITE && load_relaxed(&peer_unit(peer)->write_through);

	copy->writing = op == BLOCK_WRITE;
	copy->vector = (struct iovec){ .iov_base = copy->data, .iov_len = copy->piece };
	block->op = op;
	block->flags = stable ? BLOCK_FUA : 0;
	block->offset = offset;
	block->bytes = copy->piece;
	block->iov = &copy->vector;
	block->iov_count = 1;
	block->done = copy_io_done;
	block_submit(peer->channel, block);
	return true;
}

static void copy_advance(struct copy *copy)
{
	copy->from += copy->piece;
	copy->to += copy->piece;
	copy->left -= copy->piece;
	copy->copied += copy->piece;
	copy->piece = 0;
	if (copy->left > 0)
		return;
	copy->index++;
	if (copy->result)
		copy_result_update(copy_nexus(copy), copy->result, copy->index, copy->copied);
}

/* The next segment that has blocks. False: there is none, or it cannot be copied any more, and the task has ended. */
static bool copy_find_segment(struct copy *copy)
{
	enum scsi_asc asc;

	while (copy->left == 0) {
		if (copy->index == copy->segment_count)
			return copy_end(copy);
		if (!segment_take(copy, copy->index, &asc))
			return copy_fail(copy, asc);
		if (copy->left == 0)
			copy->index++;
	}
	return true;
}

static bool copy_step(struct scsi_steps *steps, int result)
{
	struct copy *copy = container_of(steps, struct copy, steps);

	if (result < 0)
		return copy_fail(copy, SCSI_ASC_THIRD_PARTY_DEVICE_FAILURE);
	if (copy->piece > 0 && !copy->writing)
		return copy_submit(copy, copy->destination, BLOCK_WRITE, copy->to);
	if (copy->piece > 0)
		copy_advance(copy);
	if (!copy_find_segment(copy))
		return false;
	copy->piece = MIN(copy->left, SCSI_PIECE_MAX);
	return copy_submit(copy, copy->source, BLOCK_READ, copy->from);
}

static bool copy_get_memory(struct copy *copy)
{
	copy->data = malloc(SCSI_PIECE_MAX);
	if (copy->data)
		return true;
	copy_fini(copy);
	scsi_task_end(copy->steps.task, SCSI_BUSY);
	return false;
}

void scsi_extended_copy(struct scsi_task *task)
{
	struct copy *copy;

	if (task->length == 0) {
		scsi_task_good(task);
		return;
	}
	if (task->length < HEADER_BYTES) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return;
	}
	if (!scsi_task_take_parameters(task, HEADER_BYTES + COPY_DESCRIPTORS_MAX))
		return;
	copy = scsi_steps_new(task, sizeof(*copy));
	if (!copy)
		return;
	if (parse_header(copy) && parse_types(copy) && result_forget(copy) && get_peers(copy) &&
	    check_segments(copy) && copy_get_memory(copy) && result_begin(copy))
		scsi_steps_start(&copy->steps, copy_step);
}
