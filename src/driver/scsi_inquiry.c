// SPDX-License-Identifier: MIT
/*
 * What a LUN says of itself, taken apart: INQUIRY (SPC-4, 6.4 and 7.8), READ CAPACITY and block limits (SBC-4, 5.15 and 6.6),
 * MODE SENSE, REPORT LUNS. Any bytes may come: each function looks only at what is there, and lengths that the bytes claim
 * are cut to it. Pure.
 */
#include "base/overflow.h"
#include "driver/scsi.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define BLOCK_SIZE_MIN 512u
#define BLOCK_SIZE_MAX (1u << 20)
#define PHYSICAL_EXP_MAX 11

static uint16_t get16(const uint8_t *from)
{
	uint16_t value;

	memcpy(&value, from, sizeof(value));
	return be16toh(value);
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return be32toh(value);
}

static uint64_t get64(const uint8_t *from)
{
	uint64_t value;

	memcpy(&value, from, sizeof(value));
	return be64toh(value);
}

/* Up to text_size - 1 bytes; no spaces at either end, other bytes than ASCII are '?'. */
static void text_copy(char *text, size_t text_size, const uint8_t *bytes, size_t size)
{
	size_t length;

	while (size && (*bytes == ' ' || *bytes == 0)) {
		bytes++;
		size--;
	}
	length = MIN(size, text_size - 1);
	for (size_t i = 0; i < length; i++)
		text[i] = (char)(bytes[i] ? bytes[i] : ' ');
	while (length && text[length - 1] == ' ')
		length--;
	text[length] = 0;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
}

bool scsi_parse_inquiry(const uint8_t *bytes, unsigned size, struct ringlane_scsi_unit *unit)
{
	if (size < 36 || bytes[0] >> 5)
		return false;
	unit->type = bytes[0] & 0x1f;
	text_copy(unit->vendor, sizeof(unit->vendor), bytes + 8, 8);
	text_copy(unit->product, sizeof(unit->product), bytes + 16, 16);
	text_copy(unit->revision, sizeof(unit->revision), bytes + 32, 4);
	return true;
}

/* ---- vital product data ---- */

/* Of a page with this code: how many bytes follow its head of four; 0: it is another one or none. */
static unsigned page_length(const uint8_t *bytes, unsigned size, unsigned page)
{
	if (size < 4 || bytes[1] != page)
		return 0;
	return MIN((unsigned)get16(bytes + 2), size - 4);
}

bool scsi_parse_has_page(const uint8_t *bytes, unsigned size, unsigned page)
{
	unsigned length = page_length(bytes, size, 0x00);

	for (unsigned i = 0; i < length; i++)
		if (bytes[4 + i] == page)
			return true;
	return false;
}

void scsi_parse_serial(const uint8_t *bytes, unsigned size, char *text, unsigned text_size)
{
	text_copy(text, text_size, bytes + 4, page_length(bytes, size, 0x80));
}

/* SPC-4, 7.8.6: the first binary NAA designator of the logical unit. */
uint64_t scsi_parse_wwn(const uint8_t *bytes, unsigned size)
{
	unsigned length = page_length(bytes, size, 0x83), at = 0;

	while (length >= 4 && at <= length - 4) {
		const uint8_t *designator = bytes + 4 + at;
		unsigned bytes_max = length - at - 4;

		if (designator[3] > bytes_max)
			return 0;
		if ((designator[0] & 0xf) == 1 && (designator[1] & 0x3f) == 3 && designator[3] >= 8)
			return get64(designator + 4);
		at += 4u + designator[3];
	}
	return 0;
}

void scsi_parse_limits(const uint8_t *bytes, unsigned size, struct scsi_limits *limits)
{
	unsigned length = page_length(bytes, size, 0xb0);

	*limits = (struct scsi_limits){ .transfer_max = 0 };
	if (length >= 12) {
		limits->compare_write_max = bytes[5];
		limits->transfer_max = get32(bytes + 8);
		limits->optimal = get32(bytes + 12);
	}
	if (length >= 28) {
		limits->unmap_max = get32(bytes + 20);
		limits->unmap_ranges = get32(bytes + 24);
		limits->unmap_granularity = get32(bytes + 28);
	}
	if (length >= 40)
		limits->write_same_max = get64(bytes + 36);
}

void scsi_parse_provisioning(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info,
			     bool *ret_unmap)
{
	unsigned length = page_length(bytes, size, 0xb2);

	*ret_unmap = length >= 2 && (bytes[5] & 0x80);
	info->write_zeroes_may_unmap = length >= 2 && (bytes[5] & 0x40);
}

/* ---- capacity and modes ---- */

static int capacity_set(uint64_t last, uint32_t block, struct ringlane_lun_info *info)
{
	uint64_t capacity;

	if (block < BLOCK_SIZE_MIN || block > BLOCK_SIZE_MAX || (block & (block - 1)))
		return -EPROTO;
	if (last == UINT64_MAX || mul_overflows(last + 1, (uint64_t)block, &capacity) ||
	    capacity > INT64_MAX)
		return -EPROTO;
	info->capacity = capacity;
	info->logical_block_size = info->physical_block_size = block;
	return 0;
}

int scsi_parse_capacity10(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info)
{
	if (size < 8)
		return -EPROTO;
	return capacity_set(get32(bytes), get32(bytes + 4), info);
}

int scsi_parse_capacity16(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info)
{
	int ret = size < 12 ? -EPROTO : capacity_set(get64(bytes), get32(bytes + 8), info);

	if (ret < 0)
		return ret;
	info->thin = size >= 15 && (bytes[14] & 0x80);
	info->unmapped_reads_zero = size >= 15 && (bytes[14] & 0x40);
	if (size >= 14)
		info->physical_block_size <<= MIN(bytes[13] & 0xfu, (unsigned)PHYSICAL_EXP_MAX);
	return 0;
}

unsigned scsi_parse_caching(const uint8_t *bytes, unsigned size, bool *ret_write_protected)
{
	unsigned at, end;

	*ret_write_protected = size >= 4 && (bytes[2] & 0x80);
	if (size < 4)
		return 0;
	end = MIN(size, bytes[0] + 1u);
	at = 4u + bytes[3];
	if (at + 3 > end || (bytes[at] & 0x3f) != 0x08 || (bytes[at] & 0x40))
		return 0;
	return at;
}

/* ---- REPORT LUNS: SPC-4, 6.33 ---- */

unsigned scsi_parse_lun_count(const uint8_t *bytes, unsigned size)
{
	return size < 8 ? 0 : MIN(get32(bytes), size - 8) / 8;
}

int scsi_parse_lun(const uint8_t *bytes, unsigned index)
{
	const uint8_t *lun = bytes + 8 + (size_t)index * 8;

	if (lun[2] | lun[3] | lun[4] | lun[5] | lun[6] | lun[7])
		return -1;
	if (lun[0] == 0)
		return lun[1];
	return lun[0] >> 6 == 1 ? (lun[0] & 0x3f) << 8 | lun[1] : -1;
}
