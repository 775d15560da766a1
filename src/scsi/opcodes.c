/* SPDX-License-Identifier: MIT */
/*
 * The commands of the target: what their CDBs look like, what they touch, who executes them (SPC-4, SBC-4).
 *
 * Rows are sorted by operation code, then by service action, so that a command is found by one look into a table of 256 places,
 * which is made from the rows when the program starts. Byte 1 of the usage data holds the service action itself in its low five
 * bits, as REPORT SUPPORTED OPERATION CODES tells it.
 *
 * What a mask leaves out is refused, not ignored: protection information, ANCHOR, RARC, NACA and most of what is obsolete. Three
 * fields are let in though they change nothing, because the standards say that a unit without the feature ignores them: GROUP
 * NUMBER, FUA_NV and SYNC_NV (SBC-3, 4.23; SBC-2, 5.7, 5.18).
 */
#include "scsi/internal.h"

#include <string.h>

/* Is told whatever state the unit is in, and of a LUN without a unit. */
#define ANYWHERE                                                                                \
	(SCSI_OP_NO_ATTENTION | SCSI_OP_NO_MEDIUM | SCSI_OP_WITHOUT_UNIT | SCSI_OP_WELL_KNOWN | \
	 SCSI_OP_DURING_SANITIZE)
/* Only tells what is known without the medium. */
#define TELLS (SCSI_OP_NO_MEDIUM | SCSI_OP_DURING_SANITIZE)
#define MOVES (SCSI_OP_PROTECT | SCSI_OP_FUA)

/* clang-format off */
const struct scsi_opcode scsi_opcodes[] = {
	{ 0x00, -1, 6, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_ALWAYS, SCSI_OP_WELL_KNOWN,
	  { 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "TEST UNIT READY", scsi_test_unit_ready },
	{ 0x03, -1, 6, SCSI_CDB_LENGTH_8_AT_4, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, ANYWHERE,
	  { 0x03, 0x01, 0x00, 0x00, 0xff, 0x00 },
	  "REQUEST SENSE", scsi_request_sense },
	{ 0x08, -1, 6, SCSI_CDB_BLOCKS_6, SCSI_DATA_IN_BLOCKS, SCSI_RES_READ, 0,
	  { 0x08, 0x1f, 0xff, 0xff, 0xff, 0x00 },
	  "READ (6)", scsi_read },
	{ 0x0a, -1, 6, SCSI_CDB_BLOCKS_6, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, SCSI_OP_WRITES,
	  { 0x0a, 0x1f, 0xff, 0xff, 0xff, 0x00 },
	  "WRITE (6)", scsi_write },
	{ 0x12, -1, 6, SCSI_CDB_LENGTH_16_AT_3, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, ANYWHERE,
	  { 0x12, 0x01, 0xff, 0xff, 0xff, 0x00 },
	  "INQUIRY", scsi_inquiry },
	{ 0x15, -1, 6, SCSI_CDB_LENGTH_8_AT_4, SCSI_DATA_OUT_LENGTH, SCSI_RES_WRITE, SCSI_OP_NO_MEDIUM | SCSI_OP_EXCLUSIVE,
	  { 0x15, 0x11, 0x00, 0x00, 0xff, 0x00 },
	  "MODE SELECT (6)", scsi_mode_select },
	{ 0x16, -1, 6, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_SPC2, SCSI_OP_NO_MEDIUM,
	  { 0x16, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "RESERVE (6)", scsi_reserve },
	{ 0x17, -1, 6, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_SPC2, SCSI_OP_NO_MEDIUM,
	  { 0x17, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "RELEASE (6)", scsi_release },
	{ 0x1a, -1, 6, SCSI_CDB_LENGTH_8_AT_4, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, TELLS,
	  { 0x1a, 0x08, 0xff, 0xff, 0xff, 0x00 },
	  "MODE SENSE (6)", scsi_mode_sense },
	{ 0x1b, -1, 6, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_WRITE, SCSI_OP_NO_MEDIUM | SCSI_OP_EXCLUSIVE,
	  { 0x1b, 0x01, 0x00, 0x0f, 0xf7, 0x00 },
	  "START STOP UNIT", scsi_start_stop_unit },
	{ 0x1e, -1, 6, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_WRITE, SCSI_OP_NO_MEDIUM,
	  { 0x1e, 0x00, 0x00, 0x00, 0x03, 0x00 },
	  "PREVENT ALLOW MEDIUM REMOVAL", scsi_prevent_allow },
	{ 0x25, -1, 10, SCSI_CDB_NOTHING, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, TELLS,
	  { 0x25, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "READ CAPACITY (10)", scsi_read_capacity_10 },
	{ 0x28, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_IN_BLOCKS, SCSI_RES_READ, MOVES,
	  { 0x28, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "READ (10)", scsi_read },
	{ 0x2a, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES,
	  { 0x2a, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "WRITE (10)", scsi_write },
	{ 0x2e, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, SCSI_OP_PROTECT | SCSI_OP_WRITES,
	  { 0x2e, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "WRITE AND VERIFY (10)", scsi_write_and_verify },
	{ 0x2f, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_OUT_BYTCHK, SCSI_RES_READ, SCSI_OP_PROTECT,
	  { 0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "VERIFY (10)", scsi_verify },
	{ 0x34, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_NONE, SCSI_RES_READ, 0,
	  { 0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "PRE-FETCH (10)", scsi_prefetch },
	{ 0x35, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_NONE, SCSI_RES_WRITE, 0,
	  { 0x35, 0x06, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "SYNCHRONIZE CACHE (10)", scsi_synchronize_cache },
	{ 0x37, -1, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, 0,
	  { 0x37, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "READ DEFECT DATA (10)", scsi_read_defect_data },
	{ 0x41, -1, 10, SCSI_CDB_BLOCKS_10, SCSI_DATA_OUT_BLOCK, SCSI_RES_WRITE, SCSI_OP_PROTECT | SCSI_OP_WRITES,
	  { 0x41, 0x08, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00 },
	  "WRITE SAME (10)", scsi_write_same },
	{ 0x42, -1, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_OUT_LENGTH, SCSI_RES_WRITE, SCSI_OP_WRITES,
	  { 0x42, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1f, 0xff, 0xff, 0x00 },
	  "UNMAP", scsi_unmap },
	{ 0x48, 0x01, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_OUT_LENGTH, SCSI_RES_WRITE, SCSI_OP_WRITES | SCSI_OP_EXCLUSIVE,
	  { 0x48, 0xe1, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "SANITIZE: OVERWRITE", scsi_sanitize },
	{ 0x48, 0x02, 10, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_WRITE, SCSI_OP_WRITES | SCSI_OP_EXCLUSIVE,
	  { 0x48, 0xe2, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "SANITIZE: BLOCK ERASE", scsi_sanitize },
	{ 0x48, 0x1f, 10, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_WRITE, SCSI_OP_WRITES,
	  { 0x48, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "SANITIZE: EXIT FAILURE MODE", scsi_sanitize },
	{ 0x4d, -1, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, TELLS,
	  { 0x4d, 0x00, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "LOG SENSE", scsi_log_sense },
	{ 0x55, -1, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_OUT_LENGTH, SCSI_RES_WRITE, SCSI_OP_NO_MEDIUM | SCSI_OP_EXCLUSIVE,
	  { 0x55, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "MODE SELECT (10)", scsi_mode_select },
	{ 0x56, -1, 10, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_SPC2, SCSI_OP_NO_MEDIUM,
	  { 0x56, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "RESERVE (10)", scsi_reserve },
	{ 0x57, -1, 10, SCSI_CDB_NOTHING, SCSI_DATA_NONE, SCSI_RES_SPC2, SCSI_OP_NO_MEDIUM,
	  { 0x57, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 },
	  "RELEASE (10)", scsi_release },
	{ 0x5a, -1, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, TELLS,
	  { 0x5a, 0x18, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "MODE SENSE (10)", scsi_mode_sense },
	{ 0x5e, 0x00, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_PR_IN_OUT, TELLS,
	  { 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE IN: READ KEYS", scsi_pr_in },
	{ 0x5e, 0x01, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_PR_IN_OUT, TELLS,
	  { 0x5e, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE IN: READ RESERVATION", scsi_pr_in },
	{ 0x5e, 0x02, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_PR_IN_OUT, TELLS,
	  { 0x5e, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE IN: REPORT CAPABILITIES", scsi_pr_in },
	{ 0x5e, 0x03, 10, SCSI_CDB_LENGTH_16_AT_7, SCSI_DATA_IN_LENGTH, SCSI_RES_PR_IN_OUT, TELLS,
	  { 0x5e, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE IN: READ FULL STATUS", scsi_pr_in },
	{ 0x5f, 0x00, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x00, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: REGISTER", scsi_pr_out },
	{ 0x5f, 0x01, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x01, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: RESERVE", scsi_pr_out },
	{ 0x5f, 0x02, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x02, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: RELEASE", scsi_pr_out },
	{ 0x5f, 0x03, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x03, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: CLEAR", scsi_pr_out },
	{ 0x5f, 0x04, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x04, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: PREEMPT", scsi_pr_out },
	{ 0x5f, 0x05, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x05, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: PREEMPT AND ABORT", scsi_pr_out },
	{ 0x5f, 0x06, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x06, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: REGISTER AND IGNORE EXISTING KEY", scsi_pr_out },
	{ 0x5f, 0x07, 10, SCSI_CDB_LENGTH_32_AT_5, SCSI_DATA_OUT_LENGTH, SCSI_RES_PR_IN_OUT, SCSI_OP_NO_MEDIUM,
	  { 0x5f, 0x07, 0xff, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00 },
	  "PERSISTENT RESERVE OUT: REGISTER AND MOVE", scsi_pr_out },
	{ 0x83, 0x00, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_OUT_LENGTH, SCSI_RES_WRITE, 0,
	  { 0x83, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "EXTENDED COPY (LID1)", scsi_extended_copy },
	{ 0x84, 0x00, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, SCSI_OP_NO_MEDIUM,
	  { 0x84, 0x00, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "RECEIVE COPY RESULTS: COPY STATUS (LID1)", scsi_receive_copy_results },
	{ 0x84, 0x01, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, SCSI_OP_NO_MEDIUM,
	  { 0x84, 0x01, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "RECEIVE COPY RESULTS: RECEIVE DATA (LID1)", scsi_receive_copy_results },
	{ 0x84, 0x03, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, SCSI_OP_NO_MEDIUM,
	  { 0x84, 0x03, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "RECEIVE COPY RESULTS: OPERATING PARAMETERS", scsi_receive_copy_results },
	{ 0x84, 0x04, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, SCSI_OP_NO_MEDIUM,
	  { 0x84, 0x04, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "RECEIVE COPY RESULTS: FAILED SEGMENT DETAILS (LID1)", scsi_receive_copy_results },
	{ 0x88, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_IN_BLOCKS, SCSI_RES_READ, MOVES,
	  { 0x88, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "READ (16)", scsi_read },
	{ 0x89, -1, 16, SCSI_CDB_COMPARE_16, SCSI_DATA_OUT_TWICE, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES | SCSI_OP_EXCLUSIVE,
	  { 0x89, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0x1f, 0x00 },
	  "COMPARE AND WRITE", scsi_compare_and_write },
	{ 0x8a, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES,
	  { 0x8a, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE (16)", scsi_write },
	{ 0x8b, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES | SCSI_OP_EXCLUSIVE,
	  { 0x8b, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "ORWRITE (16)", scsi_orwrite },
	{ 0x8e, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, SCSI_OP_PROTECT | SCSI_OP_WRITES,
	  { 0x8e, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE AND VERIFY (16)", scsi_write_and_verify },
	{ 0x8f, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_OUT_BYTCHK, SCSI_RES_READ, SCSI_OP_PROTECT,
	  { 0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "VERIFY (16)", scsi_verify },
	{ 0x90, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_NONE, SCSI_RES_READ, 0,
	  { 0x90, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "PRE-FETCH (16)", scsi_prefetch },
	{ 0x91, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_NONE, SCSI_RES_WRITE, 0,
	  { 0x91, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "SYNCHRONIZE CACHE (16)", scsi_synchronize_cache },
	{ 0x93, -1, 16, SCSI_CDB_BLOCKS_16, SCSI_DATA_OUT_BLOCK, SCSI_RES_WRITE, SCSI_OP_PROTECT | SCSI_OP_WRITES,
	  { 0x93, 0x09, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE SAME (16)", scsi_write_same },
	{ 0x9c, -1, 16, SCSI_CDB_ATOMIC_16, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES | SCSI_OP_EXCLUSIVE,
	  { 0x9c, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE ATOMIC (16)", scsi_write_atomic },
	{ 0x9e, 0x10, 16, SCSI_CDB_LENGTH_32_AT_10, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, TELLS,
	  { 0x9e, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "READ CAPACITY (16)", scsi_read_capacity_16 },
	{ 0x9e, 0x12, 16, SCSI_CDB_LBA_16, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, 0,
	  { 0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "GET LBA STATUS", scsi_get_lba_status },
	{ 0xa0, -1, 12, SCSI_CDB_LENGTH_32_AT_6, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, ANYWHERE,
	  { 0xa0, 0x00, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "REPORT LUNS", scsi_report_luns },
	{ 0xa3, 0x0a, 12, SCSI_CDB_LENGTH_32_AT_6, SCSI_DATA_IN_LENGTH, SCSI_RES_ALWAYS, TELLS,
	  { 0xa3, 0x2a, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "REPORT TARGET PORT GROUPS", scsi_report_target_port_groups },
	{ 0xa3, 0x0c, 12, SCSI_CDB_LENGTH_32_AT_6, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, TELLS,
	  { 0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "REPORT SUPPORTED OPERATION CODES", scsi_report_opcodes },
	{ 0xa3, 0x0d, 12, SCSI_CDB_LENGTH_32_AT_6, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, TELLS,
	  { 0xa3, 0x0d, 0x80, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", scsi_report_tmfs },
	{ 0xa8, -1, 12, SCSI_CDB_BLOCKS_12, SCSI_DATA_IN_BLOCKS, SCSI_RES_READ, MOVES,
	  { 0xa8, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "READ (12)", scsi_read },
	{ 0xaa, -1, 12, SCSI_CDB_BLOCKS_12, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, MOVES | SCSI_OP_WRITES,
	  { 0xaa, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE (12)", scsi_write },
	{ 0xae, -1, 12, SCSI_CDB_BLOCKS_12, SCSI_DATA_OUT_BLOCKS, SCSI_RES_WRITE, SCSI_OP_PROTECT | SCSI_OP_WRITES,
	  { 0xae, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "WRITE AND VERIFY (12)", scsi_write_and_verify },
	{ 0xaf, -1, 12, SCSI_CDB_BLOCKS_12, SCSI_DATA_OUT_BYTCHK, SCSI_RES_READ, SCSI_OP_PROTECT,
	  { 0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00 },
	  "VERIFY (12)", scsi_verify },
	{ 0xb7, -1, 12, SCSI_CDB_LENGTH_32_AT_6, SCSI_DATA_IN_LENGTH, SCSI_RES_READ, 0,
	  { 0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00 },
	  "READ DEFECT DATA (12)", scsi_read_defect_data },
};
/* clang-format on */

const unsigned scsi_opcode_count = ARRAY_SIZE(scsi_opcodes);

struct scsi_opcode_check scsi_opcode_checks[ARRAY_SIZE(scsi_opcodes)];
uint8_t scsi_opcode_first[256];
struct scsi_transfer scsi_transfers[256];

static_assert(ARRAY_SIZE(scsi_opcodes) < SCSI_OPCODE_UNKNOWN, "a row's index is a byte");

static void transfers_add(const struct scsi_opcode *opcode, const uint8_t refused[16])
{
	struct scsi_transfer *transfer = &scsi_transfers[opcode->opcode];
	bool reads = opcode->execute == scsi_read, wide = opcode->layout == SCSI_CDB_BLOCKS_16;

	if (!(reads || opcode->execute == scsi_write) ||
	    !(wide || opcode->layout == SCSI_CDB_BLOCKS_10))
		return;
	transfer->refused[0] = be64_get(refused) | 0x08ull << 48; /* FUA */
	transfer->refused[1] = be64_get(refused + 8);
	/* neither write protection nor a reservation that excludes only writes concerns a READ; registrations concern none */
	transfer->nexus_slow = SCSI_UA_ALL | SCSI_CONFLICT_SPC2 |
			       (reads ? SCSI_CONFLICT_READ : SCSI_CONFLICT_WRITE);
	transfer->unit_slow = reads ? ~(uint32_t)(SCSI_UNIT_WRITE_PROTECTED | SCSI_UNIT_SWP) :
				      UINT32_MAX;
	transfer->op = reads ? BLOCK_READ : BLOCK_WRITE;
	transfer->wide = wide;
}

static void __attribute__((constructor)) opcodes_index(void)
{
	memset(scsi_opcode_first, SCSI_OPCODE_UNKNOWN, sizeof(scsi_opcode_first));
	for (unsigned i = 0; i < ARRAY_SIZE(scsi_transfers); i++)
		scsi_transfers[i].refused[0] = scsi_transfers[i].refused[1] = UINT64_MAX;
	for (unsigned row = scsi_opcode_count; row-- > 0;) {
		const struct scsi_opcode *opcode = &scsi_opcodes[row];
		uint8_t refused[16] = { 0 };

		for (unsigned i = 0; i < opcode->cdb_bytes; i++)
			refused[i] = (uint8_t)~opcode->usage[i];
		refused[0] = 0;
		memcpy(scsi_opcode_checks[row].refused, refused, sizeof(refused));
		scsi_opcode_first[opcode->opcode] = (uint8_t)row;
		transfers_add(opcode, refused);
	}
}

static slow_path const struct scsi_opcode *find_service_action(const struct scsi_opcode *opcode,
							       unsigned service_action)
{
	const struct scsi_opcode *end = scsi_opcodes + scsi_opcode_count;

	for (uint8_t code = opcode->opcode; opcode < end && opcode->opcode == code; opcode++) {
		if (opcode->service_action == (int)service_action)
			return opcode;
	}
	return NULL;
}

const struct scsi_opcode *scsi_opcode_find(const uint8_t *cdb, bool *ret_known_opcode)
{
	uint8_t row = scsi_opcode_first[cdb[0]];
	const struct scsi_opcode *opcode;

	*ret_known_opcode = row != SCSI_OPCODE_UNKNOWN;
	if (unlikely(row == SCSI_OPCODE_UNKNOWN))
		return NULL;
	opcode = &scsi_opcodes[row];
	if (likely(opcode->service_action < 0))
		return opcode;
	return find_service_action(opcode, cdb[1] & 0x1f);
}
