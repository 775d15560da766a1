/* SPDX-License-Identifier: MIT */
/*
 * INQUIRY (SPC-4, 6.6): the standard data, for a unit, for the REPORT LUNS well-known unit, and for a LUN without a unit. The
 * vital product data pages are in vpd.c.
 */
#include "scsi/internal.h"

#include <string.h>

#define INQUIRY_BYTES 96

static const uint16_t versions[] = {
	0x00a0, /* SAM-5 */
	0x0460, /* SPC-4 */
	0x04c0, /* SBC-3 */
	0x0600, /* SBC-4 */
};

uint8_t scsi_peripheral(const struct scsi_task *task)
{
	if (task->nexus)
		return 0x00; /* connected, direct access */
	return task->well_known ? 0x1e : 0x7f;
}

/* Left-aligned, filled up with spaces. */
static void put_text(uint8_t *bytes, size_t size, const char *text)
{
	memset(bytes, ' ', size);
	memcpy(bytes, text, MIN(strlen(text), size));
}

static void put_names(const struct scsi_unit *unit, uint8_t *bytes)
{
	put_text(bytes + 8, 8, unit ? unit->vendor : SCSI_VENDOR_DEFAULT);
	put_text(bytes + 16, 16, unit ? unit->product : SCSI_PRODUCT_DEFAULT);
	put_text(bytes + 32, 4, unit ? unit->revision : SCSI_REVISION_DEFAULT);
}

static void standard_data(struct scsi_task *task)
{
	uint8_t bytes[INQUIRY_BYTES] = { 0 };

	bytes[0] = scsi_peripheral(task);
	bytes[2] = 0x06;        /* SPC-4 */
	bytes[3] = 0x10 | 0x02; /* HISUP, RESPONSE DATA FORMAT */
	bytes[4] = INQUIRY_BYTES - 5;
	if (task->nexus)
		bytes[5] = 0x10 | 0x08; /* TPGS: implicit; 3PC */
	bytes[7] = 0x02;                /* CMDQUE */
	put_names(task->nexus ? scsi_task_unit(task) : NULL, bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++)
		be16_put(bytes + 58 + 2 * i, versions[i]);
	scsi_task_data_in(task, bytes, sizeof(bytes));
}

void scsi_inquiry(struct scsi_task *task)
{
	if (task->cdb[1] & 0x01)
		scsi_vpd(task);
	else if (task->cdb[2])
		scsi_task_bad_cdb(task, 2, -1);
	else
		standard_data(task);
}
