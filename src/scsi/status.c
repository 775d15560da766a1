/* SPDX-License-Identifier: MIT */
/*
 * How the unit is: TEST UNIT READY, REQUEST SENSE, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, READ CAPACITY, READ DEFECT DATA
 * (SPC-4, 6; SBC-4, 5). LOG SENSE is in log.c.
 *
 * The medium cannot be removed: ejecting is refused, and what PREVENT says is remembered for whoever wants to unplug the disk.
 */
#include "scsi/internal.h"

#include <string.h>

/* ---- TEST UNIT READY, REQUEST SENSE ---- */

/* What could be in the way has been looked at before. */
void scsi_test_unit_ready(struct scsi_task *task)
{
	scsi_task_good(task);
}

/* MRIE 6: told on request. A disk of ours has nothing to tell but a test. */
enum scsi_asc scsi_unit_exception(struct scsi_unit *unit)
{
	const struct scsi_mode_values *mode = &unit->mode;
	bool told;

	scsi_unit_lock(unit);
	told = mode->test && !mode->dexcpt && mode->mrie == 6;
	scsi_unit_unlock(unit);
	return told ? SCSI_ASC_FAILURE_PREDICTION_FALSE : SCSI_ASC_NONE;
}

static bool is_sanitizing(struct scsi_unit *unit, struct scsi_sense *sense)
{
	scsi_unit_lock(unit);
	sense->has_progress = scsi_sanitize_progress(unit, &sense->progress);
	scsi_unit_unlock(unit);
	return sense->has_progress;
}

/* What TEST UNIT READY would say, and what nobody would say unasked. */
static void sense_of_unit(struct scsi_unit *unit, struct scsi_sense *sense)
{
	uint32_t slow = load_relaxed(&unit->slow);

	if (slow & SCSI_UNIT_SANITIZING && is_sanitizing(unit, sense)) {
		sense->key = SCSI_NOT_READY;
		sense->asc = SCSI_ASC_NOT_READY_SANITIZE_IN_PROGRESS;
	} else if (slow & SCSI_UNIT_SANITIZE_FAILED) {
		sense->key = SCSI_MEDIUM_ERROR;
		sense->asc = SCSI_ASC_SANITIZE_FAILED;
	} else if (slow & SCSI_UNIT_STOPPED) {
		sense->key = SCSI_NOT_READY;
		sense->asc = SCSI_ASC_NOT_READY_INITIALIZING_COMMAND;
	} else {
		sense->asc = scsi_unit_exception(unit);
	}
}

void scsi_request_sense(struct scsi_task *task)
{
	struct scsi_sense sense = { .key = SCSI_NO_SENSE, .asc = SCSI_ASC_NONE };
	uint8_t bytes[SCSI_SENSE_MAX];
	unsigned size;

	/* an attention is not taken by somebody who does not look */
	if (task->length > 0)
		sense.asc = scsi_nexus_take_attention(task->nexus);
	if (sense.asc != SCSI_ASC_NONE)
		sense.key = SCSI_UNIT_ATTENTION;
	else
		sense_of_unit(scsi_task_unit(task), &sense);
	size = scsi_sense_format(&sense, task->cdb[1] & 0x01, bytes); /* DESC */
	scsi_task_data_in(task, bytes, size);
}

/* ---- START STOP UNIT ---- */

#define START_STOP_NO_FLUSH 0x04
#define START_STOP_LOEJ 0x02
#define START_STOP_START 0x01

enum power_condition { POWER_START_VALID = 0x0, POWER_ACTIVE = 0x1 };

static void unit_stopped(struct scsi_task *task, int result)
{
	if (result < 0) {
		scsi_task_fail_block(task, BLOCK_FLUSH, result);
		return;
	}
	or_relaxed(&scsi_task_unit(task)->slow, SCSI_UNIT_STOPPED);
	scsi_task_good(task);
}

/* No command runs beside this one, so nothing is written after the flush. */
static void unit_stop(struct scsi_task *task)
{
	if (task->cdb[4] & START_STOP_NO_FLUSH)
		unit_stopped(task, 0);
	else
		scsi_task_io(task, &(struct scsi_io){ .op = BLOCK_FLUSH }, unit_stopped);
}

static void unit_start(struct scsi_task *task)
{
	and_relaxed(&scsi_task_unit(task)->slow, ~(uint32_t)SCSI_UNIT_STOPPED);
	scsi_task_good(task);
}

/*
 * Idle and standby are nothing that a disk made of memory and files could enter, and ACTIVE has no modifier: others are refused.
 * IMMED changes nothing: the answer comes when it is done, which is soon, and tells of a flush that failed.
 */
void scsi_start_stop_unit(struct scsi_task *task)
{
	uint8_t condition = task->cdb[4] >> 4;

	if (condition > POWER_ACTIVE) {
		scsi_task_bad_cdb(task, 4, 7);
		return;
	}
	if (task->cdb[3] & 0x0f) { /* POWER CONDITION MODIFIER */
		scsi_task_bad_cdb(task, 3, 3);
		return;
	}
	if (condition == POWER_START_VALID && task->cdb[4] & START_STOP_LOEJ) {
		scsi_task_bad_cdb(task, 4, 1);
		return;
	}
	/* with a power condition START means nothing */
	if (condition == POWER_ACTIVE || task->cdb[4] & START_STOP_START)
		unit_start(task);
	else
		unit_stop(task);
}

/* ---- PREVENT ALLOW MEDIUM REMOVAL ---- */

void scsi_prevent_allow(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);

	if (task->cdb[4] & 0x02) { /* obsolete: prevents the changer, not the medium */
		scsi_task_bad_cdb(task, 4, 1);
		return;
	}
	scsi_unit_lock(unit);
	task->nexus->removal_prevented = task->cdb[4] & 0x01;
	scsi_unit_unlock(unit);
	scsi_task_good(task);
}

/* ---- READ CAPACITY ---- */

/* A disk without blocks has no last one that could be told. */
static bool refuse_without_blocks(struct scsi_task *task, uint64_t blocks)
{
	if (blocks > 0)
		return false;
	scsi_task_fail(task, SCSI_NOT_READY, SCSI_ASC_MEDIUM_NOT_PRESENT);
	return true;
}

void scsi_read_capacity_10(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t blocks = scsi_unit_blocks(unit);
	uint8_t bytes[8];

	if (refuse_without_blocks(task, blocks))
		return;
	be32_put(bytes, (uint32_t)MIN(blocks - 1, UINT32_MAX));
	be32_put(bytes + 4, unit->block_size);
	scsi_task_data_in(task, bytes, sizeof(bytes));
}

void scsi_read_capacity_16(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);
	uint64_t blocks = scsi_unit_blocks(unit);
	uint8_t bytes[32] = { 0 };

	if (refuse_without_blocks(task, blocks))
		return;
	be64_put(bytes, blocks - 1);
	be32_put(bytes + 8, unit->block_size);
	/* log2 of the logical blocks in a physical one */
	bytes[13] = (uint8_t)(31 - __builtin_clz(scsi_unit_atomic_blocks(unit)));
	if (scsi_unit_can_unmap(unit))
		bytes[14] |= 0x80; /* LBPME */
	if (scsi_unit_can_unmap(unit) && scsi_unit_unmap_zeroes(unit))
		bytes[14] |= 0x40; /* LBPRZ */
	scsi_task_data_in(task, bytes, sizeof(bytes));
}

/* ---- READ DEFECT DATA ---- */

/*
 * Nobody knows of defects: each list is empty, in whatever format it was asked for. The flags of the answer are those of the CDB:
 * which lists, which format.
 */
void scsi_read_defect_data(struct scsi_task *task)
{
	bool long_list = task->opcode->cdb_bytes == 12;
	unsigned byte = long_list ? 1 : 2;
	uint8_t bytes[8] = { 0 };

	if ((task->cdb[byte] & 0x07) >= 6) { /* vendor's, reserved */
		scsi_task_bad_cdb(task, byte, 2);
		return;
	}
	bytes[1] = task->cdb[byte] & 0x1f;
	scsi_task_data_in(task, bytes, long_list ? 8 : 4);
}
