/* SPDX-License-Identifier: MIT */
/*
 * Vital product data (SPC-4, 7.8; SBC-4, 6.6), and what several commands tell alike: READ CAPACITY, UNMAP, WRITE SAME and WRITE
 * ATOMIC ask the same functions, so that no two of them contradict one another.
 *
 * A table of pages: adding one is a row. A LUN without a unit and the well-known unit have page 00h alone.
 */
#include "scsi/internal.h"

#include <string.h>

#define VPD_BYTES_MAX 256
#define HEADER 4

/* ---- facts ---- */

bool scsi_unit_can_unmap(const struct scsi_unit *unit)
{
	return unit->node->limits.discard_max >= unit->block_size;
}

bool scsi_unit_unmap_zeroes(const struct scsi_unit *unit)
{
	return unit->node->limits.discard_zeroes;
}

static uint32_t blocks_of(const struct scsi_unit *unit, uint32_t bytes)
{
	return MAX(bytes >> unit->block_shift, 1u);
}

uint32_t scsi_unit_atomic_blocks(const struct scsi_unit *unit)
{
	return blocks_of(unit, unit->node->limits.physical_block_size);
}

/* 0 when it is not known, or no multiple of the physical block: such a hint does more harm than good. */
static uint32_t optimal_blocks(const struct scsi_unit *unit)
{
	const struct block_limits *limits = &unit->node->limits;
	uint32_t unit_bytes = MAX(limits->physical_block_size, unit->block_size);

	if (limits->optimal_io_size % unit_bytes ||
	    limits->optimal_io_size > SCSI_TRANSFER_BYTES_MAX)
		return 0;
	return limits->optimal_io_size >> unit->block_shift;
}

/* ---- pages: bytes are zeroed and begin behind the header; each returns its length ---- */

static unsigned put_serial(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	size_t length = strlen(nexus->unit->serial);

	memcpy(bytes, nexus->unit->serial, length);
	return (unsigned)length;
}

static unsigned put_identification(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	return scsi_designators(nexus, bytes, VPD_BYTES_MAX - HEADER);
}

static unsigned put_extended_inquiry(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	bytes[1] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
	bytes[2] = 0x01; /* V_SUP: a volatile cache */
	bytes[9] = SCSI_SENSE_MAX;
	return 0x3c;
}

static void put_unmap_limits(const struct scsi_unit *unit, uint8_t *bytes)
{
	be32_put(bytes + 16, SCSI_UNMAP_BLOCKS_MAX);
	be32_put(bytes + 20, SCSI_UNMAP_DESCRIPTORS_MAX);
	be32_put(bytes + 24, blocks_of(unit, unit->node->limits.discard_alignment));
	be32_put(bytes + 28, 1u << 31); /* UGAVALID, alignment 0 */
}

/* No boundary: a WRITE ATOMIC never becomes two. */
static void put_atomic_limits(const struct scsi_unit *unit, uint8_t *bytes)
{
	uint32_t blocks = scsi_unit_atomic_blocks(unit);

	be32_put(bytes + 40, blocks); /* maximum */
	be32_put(bytes + 44, blocks); /* alignment */
	be32_put(bytes + 48, blocks); /* granularity */
}

static unsigned put_block_limits(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	const struct scsi_unit *unit = nexus->unit;

	bytes[0] = 0x01; /* WSNZ */
	bytes[1] = SCSI_COMPARE_BLOCKS_MAX;
	be16_put(bytes + 2, (uint16_t)MIN(blocks_of(unit, unit->node->limits.physical_block_size),
					  UINT16_MAX));
	be32_put(bytes + 4, SCSI_TRANSFER_BYTES_MAX >> unit->block_shift);
	be32_put(bytes + 8, optimal_blocks(unit));
	if (scsi_unit_can_unmap(unit))
		put_unmap_limits(unit, bytes);
	be64_put(bytes + 32, SCSI_WRITE_SAME_BLOCKS_MAX);
	put_atomic_limits(unit, bytes);
	return 0x3c;
}

static unsigned put_characteristics(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	be16_put(bytes, nexus->unit->rotation_rate);
	bytes[3] = 0x40; /* WABEREQ: after SANITIZE, BLOCK ERASE blocks can be read */
	return 0x3c;
}

static unsigned put_provisioning(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	if (scsi_unit_can_unmap(nexus->unit)) {
		bytes[1] = 0x80 | 0x40 | 0x20; /* LBPU, LBPWS, LBPWS10 */
		if (scsi_unit_unmap_zeroes(nexus->unit))
			bytes[1] |= 0x04; /* LBPRZ */
		bytes[2] = 0x02;          /* thin */
	}
	return 4;
}

static const struct {
	uint8_t code;
	unsigned (*put)(const struct scsi_nexus *nexus, uint8_t *bytes);
} pages[] = {
	/* 00h is made from this table */
	{ 0x80, put_serial },       { 0x83, put_identification },  { 0x86, put_extended_inquiry },
	{ 0xb0, put_block_limits }, { 0xb1, put_characteristics }, { 0xb2, put_provisioning },
};

static unsigned put_supported(const struct scsi_nexus *nexus, uint8_t *bytes)
{
	unsigned count = 1; /* 00h itself */

	for (unsigned i = 0; nexus && i < ARRAY_SIZE(pages); i++)
		bytes[count++] = pages[i].code;
	return count;
}

/* ---- INQUIRY with EVPD ---- */

static bool put_page(const struct scsi_nexus *nexus, uint8_t code, uint8_t *bytes,
		     unsigned *ret_length)
{
	if (code == 0x00) {
		*ret_length = put_supported(nexus, bytes);
		return true;
	}
	for (unsigned i = 0; nexus && i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code == code) {
			*ret_length = pages[i].put(nexus, bytes);
			return true;
		}
	}
	return false;
}

void scsi_vpd(struct scsi_task *task)
{
	uint8_t bytes[VPD_BYTES_MAX] = { 0 };
	unsigned length;

	if (!put_page(task->nexus, task->cdb[2], bytes + HEADER, &length)) {
		scsi_task_bad_cdb(task, 2, -1);
		return;
	}
	bytes[0] = scsi_peripheral(task);
	bytes[1] = task->cdb[2];
	be16_put(bytes + 2, (uint16_t)length);
	scsi_task_data_in(task, bytes, HEADER + length);
}
