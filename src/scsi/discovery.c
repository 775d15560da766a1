/* SPDX-License-Identifier: MIT */
/*
 * What there is: REPORT LUNS, REPORT SUPPORTED OPERATION CODES, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, REPORT TARGET PORT
 * GROUPS (SPC-4, 6). Which commands there are and what their CDBs look like is told from the table that executes them.
 */
#include "scsi/internal.h"

#include <string.h>

/* ---- REPORT LUNS ---- */

#define LUNS_HEADER_BYTES 8
#define LUN_BYTES 8

/* SELECT REPORT. There are no administrative units, so all are simple ones, and nothing is subsidiary. */
enum select_report {
	SELECT_LUNS = 0x00,
	SELECT_WELL_KNOWN = 0x01,
	SELECT_ALL = 0x02,
	SELECT_ADMINISTRATIVE = 0x10,
	SELECT_SIMPLE = 0x11,
	SELECT_SUBSIDIARY = 0x12,
};

static const uint8_t well_known_lun[LUN_BYTES] = { 0xc1, 0x01 };

/* False: reserved. */
static bool select_decode(uint8_t select, bool *ret_luns, bool *ret_well_known)
{
	*ret_luns = select == SELECT_LUNS || select == SELECT_ALL || select == SELECT_SIMPLE;
	*ret_well_known = select == SELECT_WELL_KNOWN || select == SELECT_ALL;
	return *ret_luns || *ret_well_known || select == SELECT_ADMINISTRATIVE ||
	       select == SELECT_SUBSIDIARY;
}

/* Into task->buffer, behind the header. LUNs may come and go at any time: what is told is what was there for the buffer and is there
 * now. False: the task has ended. */
static bool collect_luns(struct scsi_task *task, unsigned *ret_count)
{
	uint64_t none;
	unsigned max = task->ops->list_luns(task, &none, 0), count;

	if (!scsi_task_get_buffer(task, LUNS_HEADER_BYTES + LUN_BYTES * (max + 1)))
		return false;
	count = task->ops->list_luns(task, (uint64_t *)(task->buffer + LUNS_HEADER_BYTES), max);
	*ret_count = MIN(count, max);
	return true;
}

void scsi_report_luns(struct scsi_task *task)
{
	unsigned count, size = LUNS_HEADER_BYTES;
	bool luns, well_known;

	if (!select_decode(task->cdb[2], &luns, &well_known)) {
		scsi_task_bad_cdb(task, 2, -1);
		return;
	}
	/* before the list is made: a change after it is news again (SPC-3, 6.21: for all units of the target) */
	task->ops->luns_reported(task);
	if (!collect_luns(task, &count))
		return;
	if (luns)
		size += LUN_BYTES * count;
	if (well_known) { /* the highest of all */
		memcpy(task->buffer + size, well_known_lun, LUN_BYTES);
		size += LUN_BYTES;
	}
	be32_put(task->buffer, size - LUNS_HEADER_BYTES);
	scsi_task_data_in(task, task->buffer, size);
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

#define OPCODES_HEADER_BYTES 4
#define OPCODE_DESCRIPTOR_BYTES 8
#define TIMEOUTS_BYTES 12
#define RCTD 0x80

enum reporting_options { REPORT_ALL, REPORT_OPCODE, REPORT_SERVICE_ACTION, REPORT_EITHER };

#define SUPPORT_NONE 1
#define SUPPORT_STANDARD 3

/* No command has a time that could be told. */
static unsigned put_timeouts(uint8_t *bytes)
{
	memset(bytes, 0, TIMEOUTS_BYTES);
	be16_put(bytes, TIMEOUTS_BYTES - 2);
	return TIMEOUTS_BYTES;
}

static unsigned put_opcode(const struct scsi_opcode *opcode, bool timeouts, uint8_t *bytes)
{
	memset(bytes, 0, OPCODE_DESCRIPTOR_BYTES);
	bytes[0] = opcode->opcode;
	if (opcode->service_action >= 0) {
		be16_put(bytes + 2, (uint16_t)opcode->service_action);
		bytes[5] |= 0x01; /* SERVACTV */
	}
	be16_put(bytes + 6, opcode->cdb_bytes);
	if (!timeouts)
		return OPCODE_DESCRIPTOR_BYTES;
	bytes[5] |= 0x02; /* CTDP */
	return OPCODE_DESCRIPTOR_BYTES + put_timeouts(bytes + OPCODE_DESCRIPTOR_BYTES);
}

static void report_all(struct scsi_task *task, bool timeouts)
{
	size_t each = OPCODE_DESCRIPTOR_BYTES + (timeouts ? TIMEOUTS_BYTES : 0);
	unsigned size = OPCODES_HEADER_BYTES;

	if (!scsi_task_get_buffer(task, OPCODES_HEADER_BYTES + scsi_opcode_count * each))
		return;
	for (unsigned i = 0; i < scsi_opcode_count; i++)
		size += put_opcode(&scsi_opcodes[i], timeouts, task->buffer + size);
	be32_put(task->buffer, size - OPCODES_HEADER_BYTES);
	scsi_task_data_in(task, task->buffer, size);
}

/* opcode NULL: not supported */
static void report_one(struct scsi_task *task, const struct scsi_opcode *opcode, bool timeouts)
{
	uint8_t bytes[4 + sizeof(opcode->usage) + TIMEOUTS_BYTES] = { 0 };
	unsigned size = 4;

	if (!opcode) {
		bytes[1] = SUPPORT_NONE;
		scsi_task_data_in(task, bytes, size);
		return;
	}
	bytes[1] = SUPPORT_STANDARD;
	be16_put(bytes + 2, opcode->cdb_bytes);
	memcpy(bytes + size, opcode->usage, opcode->cdb_bytes);
	size += opcode->cdb_bytes;
	if (timeouts) {
		bytes[1] |= 0x80; /* CTDP */
		size += put_timeouts(bytes + size);
	}
	scsi_task_data_in(task, bytes, size);
}

static const struct scsi_opcode *find_command(const struct scsi_opcode *first, uint16_t action)
{
	const struct scsi_opcode *end = scsi_opcodes + scsi_opcode_count;

	for (const struct scsi_opcode *row = first; row < end && row->opcode == first->opcode;
	     row++) {
		if (MAX(row->service_action, 0) == action)
			return row;
	}
	return NULL;
}

/* Asked for without service action what has some, or the other way round. */
static bool is_contradiction(const struct scsi_opcode *first, enum reporting_options options)
{
	bool has_actions = first->service_action >= 0;

	return (options == REPORT_OPCODE && has_actions) ||
	       (options == REPORT_SERVICE_ACTION && !has_actions);
}

void scsi_report_opcodes(struct scsi_task *task)
{
	enum reporting_options options = task->cdb[2] & 0x07;
	uint16_t action = options == REPORT_OPCODE ? 0 : be16_get(task->cdb + 4);
	uint8_t row = scsi_opcode_first[task->cdb[3]];
	bool timeouts = task->cdb[2] & RCTD;

	if (options == REPORT_ALL)
		report_all(task, timeouts);
	else if (options > REPORT_EITHER)
		scsi_task_bad_cdb(task, 2, 2);
	else if (row == SCSI_OPCODE_UNKNOWN)
		report_one(task, NULL, timeouts);
	else if (is_contradiction(&scsi_opcodes[row], options))
		scsi_task_bad_cdb(task, 2, 2);
	else
		report_one(task, find_command(&scsi_opcodes[row], action), timeouts);
}

/* ---- REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS ---- */

/* All but those of ACA, which the unit does not know (NORMACA is 0), and the obsolete ones. */
void scsi_report_tmfs(struct scsi_task *task)
{
	bool extended = task->cdb[2] & 0x80; /* REPD */
	uint8_t bytes[16] = {
		[0] = 0x80 /* ATS */ | 0x40 /* ATSS */ | 0x10 /* CTSS */ | 0x08 /* LURS */ |
		      0x04 /* QTS */,
		[1] = 0x02 /* QTSS */ | 0x01 /* ITNRS */,
	};

	/* the timeouts that follow are not told: TMFTMOV and all values are 0 */
	if (extended)
		bytes[3] = 12;
	scsi_task_data_in(task, bytes, extended ? 16 : 4);
}

/* ---- REPORT TARGET PORT GROUPS ---- */

#define GROUP_BYTES 8
#define PORT_BYTES 4
#define PORTS_MAX 255u
#define FORMAT_EXTENDED 1

/* The ports that show the unit, ascending as the nexuses are. */
static unsigned collect_ports(struct scsi_unit *unit, uint16_t ports[PORTS_MAX])
{
	struct scsi_nexus *nexus;
	unsigned count = 0;

	scsi_unit_lock(unit);
	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		uint16_t port = nexus->ports.relative_target_port;

		if (count < PORTS_MAX && (count == 0 || ports[count - 1] != port))
			ports[count++] = port;
	}
	scsi_unit_unlock(unit);
	return count;
}

/* Every way to the unit is as good as the others: active/optimized, and no other state is known. */
static unsigned put_group(struct scsi_unit *unit, uint8_t *bytes)
{
	uint16_t ports[PORTS_MAX];
	unsigned count = collect_ports(unit, ports);

	bytes[1] = 0x01; /* AO_SUP */
	be16_put(bytes + 2, SCSI_TARGET_PORT_GROUP);
	bytes[7] = (uint8_t)count;
	for (unsigned i = 0; i < count; i++)
		be16_put(bytes + GROUP_BYTES + PORT_BYTES * i + 2, ports[i]);
	return GROUP_BYTES + PORT_BYTES * count;
}

void scsi_report_target_port_groups(struct scsi_task *task)
{
	uint8_t bytes[8 + GROUP_BYTES + PORT_BYTES * PORTS_MAX] = { 0 };
	uint8_t format = task->cdb[1] >> 5;
	unsigned size = 4;

	if (format > FORMAT_EXTENDED) {
		scsi_task_bad_cdb(task, 1, 7);
		return;
	}
	if (format == FORMAT_EXTENDED) {
		bytes[4] = FORMAT_EXTENDED << 4;
		size = 8;
	}
	size += put_group(scsi_task_unit(task), bytes + size);
	be32_put(bytes, size - 4);
	scsi_task_data_in(task, bytes, size);
}
