/* SPDX-License-Identifier: MIT */
/*
 * One task through the checks. The first that objects ends it, in this order:
 *
 *    1. no unit behind the LUN        INQUIRY, REPORT LUNS and REQUEST SENSE answer, the rest is LOGICAL UNIT NOT SUPPORTED
 *    2. operation code                INVALID COMMAND OPERATION CODE; a service action that we do not have is a field of the CDB
 *    3. bits of the CDB               INVALID FIELD IN CDB with the first offending byte and bit: what the row's usage mask leaves
 *                                     out is reserved, obsolete or not supported (xxPROTECT and NACA too)
 *    4. task attribute                ACA without an ACA condition, of which there is none: INVALID MESSAGE ERROR (SAM-5, 8.6.4)
 *    5. unit attention                told once and gone
 *    6. reservations                  RESERVATION CONFLICT
 *    7. readiness                     being sanitized, sanitizing failed, stopped
 *    8. write protection
 *    9. range of blocks               LOGICAL BLOCK ADDRESS OUT OF RANGE, also when no block is named
 *   10. transfer length               longer than VPD page B0h says
 *   11. buffers                       shorter than what the CDB moves: nothing is executed, the caller is told by task->fit
 *
 * READ and WRITE that nothing objects to need no task: scsi_transfer_plan() asks all of it at once; whatever it is not sure of it leaves
 * to the checks, which know how to say what is wrong.
 *
 * 5 to 8 look at two words, of the nexus and of the unit, that are zero when nothing stands in any command's way. A command that must run alone on its unit then waits, and goes
 * through 6 to 9 again when it has been let in: the world may be another by then.
 *
 * All on the task's loop.
 */
#include "scsi/internal.h"

#include <string.h>

/* ---- 1, 2: the command ---- */

/* REQUEST SENSE of a LUN without a unit succeeds and tells why there is none (SPC-4, 6.39). */
static slow_path void request_sense_without_unit(struct scsi_task *task)
{
	const struct scsi_sense none = { .key = SCSI_NO_SENSE };
	const struct scsi_sense no_unit = {
		.key = SCSI_ILLEGAL_REQUEST,
		.asc = SCSI_ASC_LOGICAL_UNIT_NOT_SUPPORTED,
	};
	uint8_t bytes[SCSI_SENSE_MAX];
	unsigned size =
		scsi_sense_format(task->well_known ? &none : &no_unit, task->cdb[1] & 1, bytes);

	scsi_task_data_in(task, bytes, size);
}

/* Commands that need no unit go on. */
static slow_path bool refuse_without_unit(struct scsi_task *task)
{
	const struct scsi_opcode *opcode = task->opcode;
	unsigned flag = task->well_known ? SCSI_OP_WELL_KNOWN : SCSI_OP_WITHOUT_UNIT;

	if (opcode && opcode->flags & flag)
		return false;
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST,
		       task->well_known ? SCSI_ASC_INVALID_OPCODE :
					  SCSI_ASC_LOGICAL_UNIT_NOT_SUPPORTED);
	return true;
}

static slow_path void refuse_opcode(struct scsi_task *task, bool known_opcode)
{
	if (known_opcode)
		scsi_task_bad_cdb(task, 1, 4); /* SERVICE ACTION */
	else
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

/* Sets task->opcode. */
static bool check_opcode(struct scsi_task *task)
{
	bool known = true;

	task->opcode = &scsi_opcodes[scsi_opcode_first[task->cdb[0]]];
	if (unlikely(scsi_opcode_first[task->cdb[0]] == SCSI_OPCODE_UNKNOWN ||
		     task->opcode->service_action >= 0))
		task->opcode = scsi_opcode_find(task->cdb, &known);
	if (unlikely(!task->nexus) && refuse_without_unit(task))
		return false;
	if (likely(task->opcode && task->opcode->cdb_bytes <= task->cdb_length))
		return true;
	refuse_opcode(task, known && !task->opcode);
	return false;
}

/* ---- 3, 4: bits of the CDB, attribute ---- */

static slow_path void refuse_bits(struct scsi_task *task)
{
	const struct scsi_opcode *opcode = task->opcode;

	for (unsigned i = 1; i < opcode->cdb_bytes; i++) {
		unsigned bits = task->cdb[i] & ~opcode->usage[i] & 0xff;

		if (bits) {
			scsi_task_bad_cdb(task, i, 31 - __builtin_clz(bits));
			return;
		}
	}
	assert(!"no bit to be refused");
}

static bool check_cdb(struct scsi_task *task)
{
	const struct scsi_opcode_check *check = &scsi_opcode_checks[task->opcode - scsi_opcodes];
	uint64_t words[2];

	memcpy(words, task->cdb, sizeof(words));
	if (unlikely((words[0] & check->refused[0]) | (words[1] & check->refused[1]))) {
		refuse_bits(task);
		return false;
	}
	if (unlikely(task->attribute == SCSI_ACA)) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_MESSAGE);
		return false;
	}
	return true;
}

/* ---- 5 to 8: what stands in the way ---- */

static bool check_attention(struct scsi_task *task)
{
	enum scsi_asc attention;

	if (task->opcode->flags & SCSI_OP_NO_ATTENTION)
		return true;
	attention = scsi_nexus_take_attention(task->nexus);
	if (attention == SCSI_ASC_NONE)
		return true;
	scsi_task_fail(task, SCSI_UNIT_ATTENTION, attention);
	return false;
}

/* Two commands that conflict or not by what they ask for (SPC-4, table 66; SBC-4, table 13; SPC-2, table 10). */
static bool passes_reservations(const struct scsi_task *task)
{
	switch (task->opcode->opcode) {
	case 0x1b: /* START STOP UNIT that starts, with no power condition */
		return (task->cdb[4] & 0xf1) == 0x01;
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL that allows */
		return (task->cdb[4] & 0x03) == 0;
	default:
		return false;
	}
}

static bool check_reservation(struct scsi_task *task)
{
	uint32_t slow = load_relaxed(&task->nexus->slow) & ~(uint32_t)SCSI_UA_ALL;

	if (!slow || passes_reservations(task) || scsi_reservation_allows(task, slow))
		return true;
	scsi_task_end(task, SCSI_RESERVATION_CONFLICT);
	return false;
}

static void fail_sanitizing(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	uint16_t progress = 0;

	scsi_unit_lock(unit);
	scsi_sanitize_progress(unit, &progress);
	scsi_unit_unlock(unit);
	scsi_task_fail_progress(task, SCSI_NOT_READY, SCSI_ASC_NOT_READY_SANITIZE_IN_PROGRESS,
				progress);
}

static bool check_ready(struct scsi_task *task)
{
	uint32_t slow = load_relaxed(&scsi_task_unit(task)->slow);
	unsigned flags = task->opcode->flags;

	if (slow & SCSI_UNIT_SANITIZING && !(flags & SCSI_OP_DURING_SANITIZE)) {
		fail_sanitizing(task);
		return false;
	}
	/* another SANITIZE may do better (SBC-4, 4.11.4) */
	if (slow & SCSI_UNIT_SANITIZE_FAILED && !(flags & SCSI_OP_DURING_SANITIZE) &&
	    task->opcode->execute != scsi_sanitize) {
		scsi_task_fail(task, SCSI_MEDIUM_ERROR, SCSI_ASC_SANITIZE_FAILED);
		return false;
	}
	if (slow & SCSI_UNIT_STOPPED && !(flags & SCSI_OP_NO_MEDIUM)) {
		scsi_task_fail(task, SCSI_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZING_COMMAND);
		return false;
	}
	return true;
}

static bool check_write_protection(struct scsi_task *task)
{
	uint32_t slow = load_relaxed(&scsi_task_unit(task)->slow);

	if (!(task->opcode->flags & SCSI_OP_WRITES) ||
	    !(slow & (SCSI_UNIT_WRITE_PROTECTED | SCSI_UNIT_SWP)))
		return true;
	scsi_task_fail(task, SCSI_DATA_PROTECT,
		       slow & SCSI_UNIT_WRITE_PROTECTED ? SCSI_ASC_WRITE_PROTECTED :
							  SCSI_ASC_SOFTWARE_WRITE_PROTECTED);
	return false;
}

static slow_path bool check_state(struct scsi_task *task)
{
	return check_reservation(task) && check_ready(task) && check_write_protection(task);
}

static bool is_in_the_way(const struct scsi_task *task)
{
	return load_relaxed(&task->nexus->slow) | load_relaxed(&scsi_task_unit(task)->slow);
}

/* ---- 9 to 11: blocks and bytes ---- */

static void take_blocks(struct scsi_task *task, uint64_t lba, uint64_t blocks)
{
	task->lba = lba;
	task->blocks = blocks;
}

/* Reads LBA and number of blocks; false when the CDB has none. */
static bool decode_blocks(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	switch ((enum scsi_cdb_layout)task->opcode->layout) {
	case SCSI_CDB_BLOCKS_6:
		take_blocks(task, be24_get(cdb + 1) & 0x1fffff, cdb[4] ? cdb[4] : 256);
		return true;
	case SCSI_CDB_BLOCKS_10:
		take_blocks(task, be32_get(cdb + 2), be16_get(cdb + 7));
		return true;
	case SCSI_CDB_BLOCKS_12:
		take_blocks(task, be32_get(cdb + 2), be32_get(cdb + 6));
		return true;
	case SCSI_CDB_BLOCKS_16:
		take_blocks(task, be64_get(cdb + 2), be32_get(cdb + 10));
		return true;
	case SCSI_CDB_ATOMIC_16:
		take_blocks(task, be64_get(cdb + 2), be16_get(cdb + 12));
		return true;
	case SCSI_CDB_COMPARE_16:
		take_blocks(task, be64_get(cdb + 2), cdb[13]);
		return true;
	case SCSI_CDB_LBA_16:
		take_blocks(task, be64_get(cdb + 2), 0);
		return true;
	default:
		take_blocks(task, 0, 0);
		return false;
	}
}

/* Allocation or parameter list length. */
static uint64_t decode_length(const struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;

	switch ((enum scsi_cdb_layout)task->opcode->layout) {
	case SCSI_CDB_LENGTH_8_AT_4:
		return cdb[4];
	case SCSI_CDB_LENGTH_16_AT_3:
		return be16_get(cdb + 3);
	case SCSI_CDB_LENGTH_16_AT_7:
		return be16_get(cdb + 7);
	case SCSI_CDB_LENGTH_32_AT_5:
		return be32_get(cdb + 5);
	case SCSI_CDB_LENGTH_32_AT_6:
		return be32_get(cdb + 6);
	case SCSI_CDB_LENGTH_32_AT_10:
	case SCSI_CDB_LBA_16:
		return be32_get(cdb + 10);
	default:
		return UINT64_MAX; /* the command returns what it always returns */
	}
}

/* Where the number of blocks is, for a field pointer. */
static unsigned blocks_field(const struct scsi_task *task)
{
	switch ((enum scsi_cdb_layout)task->opcode->layout) {
	case SCSI_CDB_BLOCKS_6:
		return 4;
	case SCSI_CDB_BLOCKS_10:
		return 7;
	case SCSI_CDB_BLOCKS_12:
		return 6;
	case SCSI_CDB_ATOMIC_16:
		return 12;
	case SCSI_CDB_COMPARE_16:
		return 13;
	default:
		return 10;
	}
}

/* An LBA at the end is outside even for no blocks; only on a disk without a block 0 is the start not. */
static bool blocks_fit(const struct scsi_task *task, uint64_t total)
{
	if (task->blocks == 0)
		return task->lba < total || task->lba == 0;
	return task->blocks <= total && task->lba <= total - task->blocks;
}

static bool check_range(struct scsi_task *task)
{
	if (likely(blocks_fit(task, scsi_unit_blocks(scsi_task_unit(task)))))
		return true;
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	return false;
}

/* Blocks of data that the initiator sends for a VERIFY: by BYTCHK. */
static uint64_t verify_blocks(const struct scsi_task *task)
{
	switch (task->cdb[1] >> 1 & 3) {
	case 1:
		return task->blocks;
	case 3:
		return task->blocks ? 1 : 0;
	default:
		return 0;
	}
}

/* WRITE SAME (16) with NDOB sends nothing. */
static uint64_t same_blocks(const struct scsi_task *task)
{
	return task->opcode->opcode == 0x93 && task->cdb[1] & 0x01 ? 0 : 1;
}

/* Blocks that move between the initiator and us, of a command that moves others than it names. */
static slow_path uint64_t moved_blocks(const struct scsi_task *task)
{
	switch ((enum scsi_data)task->opcode->data) {
	case SCSI_DATA_OUT_BLOCK:
		return same_blocks(task);
	case SCSI_DATA_OUT_TWICE:
		return 2 * task->blocks;
	case SCSI_DATA_OUT_BYTCHK:
		return verify_blocks(task);
	default:
		return 0;
	}
}

/* The caller says it in its transport's own words; the sense is for those that have none. */
static slow_path bool refuse_overflow(struct scsi_task *task, uint64_t missing)
{
	task->fit = SCSI_OVERFLOW;
	task->residual = missing;
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_COMMAND_IU);
	return false;
}

/* What is compared with or repeated is of one size: another was meant otherwise, and neither cut nor filled up. */
static bool must_fit_exactly(const struct scsi_task *task)
{
	return task->opcode->data == SCSI_DATA_OUT_BLOCK ||
	       task->opcode->data == SCSI_DATA_OUT_TWICE;
}

static slow_path bool refuse_size(struct scsi_task *task)
{
	scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	return false;
}

/* wanted: bytes that the CDB moves, in one direction. */
static bool check_fit(struct scsi_task *task, uint64_t wanted)
{
	uint64_t have = task->opcode->data == SCSI_DATA_IN_BLOCKS ? task->in_bytes :
								    task->out_bytes;

	if (unlikely(wanted != have) && must_fit_exactly(task))
		return refuse_size(task);
	if (unlikely(wanted > have))
		return refuse_overflow(task, wanted - have);
	task->residual = task->in_bytes + task->out_bytes - wanted;
	return true;
}

static bool check_blocks(struct scsi_task *task)
{
	uint8_t shift = scsi_task_unit(task)->block_shift;
	uint8_t data = task->opcode->data;
	bool plain = data == SCSI_DATA_IN_BLOCKS || data == SCSI_DATA_OUT_BLOCKS;
	uint64_t moved = likely(plain) ? task->blocks : moved_blocks(task);

	if (!check_range(task))
		return false;
	if (unlikely(moved > SCSI_TRANSFER_BYTES_MAX >> shift)) {
		scsi_task_bad_cdb(task, blocks_field(task), -1);
		return false;
	}
	return check_fit(task, moved << shift);
}

static bool check_data(struct scsi_task *task)
{
	if (likely(decode_blocks(task))) {
		task->length = task->opcode->layout == SCSI_CDB_LBA_16 ? decode_length(task) : 0;
		return check_blocks(task);
	}
	task->length = decode_length(task);
	return check_fit(task, task->opcode->data == SCSI_DATA_OUT_LENGTH ? task->length : 0);
}

/* ---- execution ---- */

static void execute_alone(struct scsi_task *task, int result)
{
	assert(result == 0);
	if (is_in_the_way(task) && !check_state(task))
		return;
	if (check_data(task))
		task->opcode->execute(task);
}

/* What the disk writes whole, nobody sees half of. */
static bool must_be_alone(const struct scsi_task *task)
{
	return task->opcode->execute != scsi_write_atomic ||
	       task->blocks > scsi_unit_atomic_blocks(scsi_task_unit(task));
}

static slow_path void wait_for_others(struct scsi_task *task)
{
	task->next = execute_alone;
	task->ops->exclusive(task);
}

static slow_path void execute_without_unit(struct scsi_task *task)
{
	if (!check_data(task))
		return;
	if (task->opcode->execute == scsi_request_sense)
		request_sense_without_unit(task);
	else
		task->opcode->execute(task);
}

static void execute_checked(struct scsi_task *task)
{
	if (!check_opcode(task) || !check_cdb(task))
		return;
	if (unlikely(!task->nexus)) {
		execute_without_unit(task);
		return;
	}
	if (unlikely(is_in_the_way(task)) && (!check_attention(task) || !check_state(task)))
		return;
	if (!check_data(task))
		return;
	if (unlikely(task->opcode->flags & SCSI_OP_EXCLUSIVE) && must_be_alone(task))
		wait_for_others(task);
	else
		task->opcode->execute(task);
}

/* ---- the way of nearly all ---- */

/* Its byte, and that of the end of the longest transfer, can be told in 63 bits whatever the block size. */
#define LBA_SURE (1ull << 46)

struct transfer_range {
	uint64_t lba, blocks;
};

static inline struct transfer_range transfer_decode(const uint64_t cdb[2], bool wide)
{
	if (wide)
		return (struct transfer_range){ cdb[0] << 16 | cdb[1] >> 48,
						(uint32_t)(cdb[1] >> 16) };
	return (struct transfer_range){ (uint32_t)(cdb[0] >> 16),
					(cdb[0] & 0xff) << 8 | cdb[1] >> 56 };
}

/* The range of the disk is the block gate's to decide. inline: for link-time optimisation, because it is called for each request */
inline bool scsi_transfer_plan(const struct scsi_nexus *nexus, const uint64_t cdb[2],
			       struct block_request *block)
{
	const struct scsi_transfer *transfer = &scsi_transfers[cdb[0] >> 56];
	const struct scsi_unit *unit = nexus->unit;
	unsigned shift = unit->block_shift, op = transfer->op;
	struct transfer_range range;
	uint64_t bytes;

	if (unlikely((cdb[0] & transfer->refused[0]) | (cdb[1] & transfer->refused[1]) |
		     (load_relaxed(&nexus->slow) & transfer->nexus_slow) |
		     (load_relaxed(&unit->slow) & transfer->unit_slow)))
		return false;
	range = transfer_decode(cdb, transfer->wide);
	bytes = range.blocks << shift;
	if (unlikely(bytes - 1 >= SCSI_TRANSFER_BYTES_MAX || range.lba > LBA_SURE))
		return false;
	block->op = op;
	block->flags = op & load_relaxed(&unit->write_through);
	block->offset = range.lba << shift;
	block->bytes = bytes;
	return true;
}

static_assert(BLOCK_READ == 0 && BLOCK_WRITE == 1 && BLOCK_FUA == 1,
	      "a WRITE's number and a bool make a flag");

void scsi_transfer_end(struct scsi_task *task, int result)
{
	uint8_t shift = scsi_task_unit(task)->block_shift;

	task->outcome = 0;
	task->residual = 0;
	take_blocks(task, task->block.offset >> shift, task->block.bytes >> shift);
	scsi_transfer_done(&task->block, result);
}

/* ---- any ---- */

void scsi_task_execute(struct scsi_task *task)
{
	task->outcome = 0;
	execute_checked(task);
}

void scsi_task_resume(struct scsi_task *task)
{
	task->next(task, 0);
}

void scsi_task_abandon(struct scsi_task *task)
{
	scsi_task_end(task, SCSI_TASK_ABORTED);
}
