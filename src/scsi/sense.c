/* SPDX-License-Identifier: MIT */
/* Sense data in fixed and descriptor format (SPC-4, 4.5). Pure. */
#include "scsi/internal.h"

#include <string.h>

#define FIXED_BYTES 18
#define DESCRIPTOR_HEADER_BYTES 8

/* SPC-4, 4.5.2.4: three bytes that are the same in both formats. */
static void put_key_specific(const struct scsi_sense *sense, uint8_t *bytes)
{
	bytes[0] = 0x80; /* SKSV */
	if (sense->has_progress) {
		be16_put(bytes + 1, sense->progress);
		return;
	}
	if (sense->field_in_cdb)
		bytes[0] |= 0x40; /* C/D */
	if (sense->field_bit >= 0)
		bytes[0] |= (uint8_t)(0x08 | (sense->field_bit & 7)); /* BPV, BIT POINTER */
	be16_put(bytes + 1, sense->field_byte);
}

static unsigned format_fixed(const struct scsi_sense *sense, uint8_t *bytes)
{
	memset(bytes, 0, FIXED_BYTES);
	bytes[0] = 0x70;
	bytes[2] = (uint8_t)sense->key;
	if (sense->has_information && sense->information <= UINT32_MAX) {
		bytes[0] |= 0x80; /* VALID */
		be32_put(bytes + 3, (uint32_t)sense->information);
	}
	bytes[7] = FIXED_BYTES - 8;
	be16_put(bytes + 12, (uint16_t)sense->asc);
	if (sense->has_field || sense->has_progress)
		put_key_specific(sense, bytes + 15);
	return FIXED_BYTES;
}

static unsigned format_descriptor(const struct scsi_sense *sense, uint8_t *bytes)
{
	unsigned size = DESCRIPTOR_HEADER_BYTES;

	memset(bytes, 0, DESCRIPTOR_HEADER_BYTES + 12 + 8);
	bytes[0] = 0x72;
	bytes[1] = (uint8_t)sense->key;
	be16_put(bytes + 2, (uint16_t)sense->asc);
	if (sense->has_information) {
		bytes[size] = 0x00;
		bytes[size + 1] = 10;
		bytes[size + 2] = 0x80; /* VALID */
		be64_put(bytes + size + 4, sense->information);
		size += 12;
	}
	if (sense->has_field || sense->has_progress) {
		bytes[size] = 0x02;
		bytes[size + 1] = 6;
		put_key_specific(sense, bytes + size + 4);
		size += 8;
	}
	bytes[7] = (uint8_t)(size - DESCRIPTOR_HEADER_BYTES);
	return size;
}

unsigned scsi_sense_format(const struct scsi_sense *sense, bool descriptor,
			   uint8_t bytes[SCSI_SENSE_MAX])
{
	return descriptor ? format_descriptor(sense, bytes) : format_fixed(sense, bytes);
}
