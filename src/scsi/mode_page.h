/* SPDX-License-Identifier: MIT */
/* Mode pages as data (SPC-4, 7.5; SBC-4, 6.5). Pure. */
#ifndef RINGLANE_SCSI_MODE_PAGE_H
#define RINGLANE_SCSI_MODE_PAGE_H

#include "scsi/internal.h"

#define SCSI_MODE_PAGE_MAX 32 /* bytes of the longest page */
#define SCSI_MODE_ALL_PAGES 0x3f
#define SCSI_MODE_ALL_SUBPAGES 0xff

struct scsi_mode_page {
	uint8_t page, subpage;
	uint8_t bytes;                        /* all of it */
	uint8_t header_bytes;                 /* 2, or 4 with a subpage code */
	uint8_t constant[SCSI_MODE_PAGE_MAX]; /* what no field of struct scsi_mode_values says */
};

/* Ascending. */
extern const struct scsi_mode_page scsi_mode_pages[];
extern const unsigned scsi_mode_page_count;

/* NULL: there is no such page. */
const struct scsi_mode_page *scsi_mode_page_find(uint8_t page, uint8_t subpage);
/* Its bytes with these values; the PS bit is the caller's. */
void scsi_mode_page_format(const struct scsi_mode_page *page, const struct scsi_mode_values *values,
			   uint8_t bytes[SCSI_MODE_PAGE_MAX]);
/* The same with a one in each bit that MODE SELECT may change. */
void scsi_mode_page_format_changeable(const struct scsi_mode_page *page,
				      uint8_t bytes[SCSI_MODE_PAGE_MAX]);

/* A bit of a page that cannot be as the initiator wants it. */
struct scsi_mode_fault {
	unsigned byte;
	int bit;
};
/* Takes what is changeable in a page of the right length into *values. False: *ret_fault is at fault, *values is half changed. */
bool scsi_mode_page_take(const struct scsi_mode_page *page, const uint8_t *bytes,
			 struct scsi_mode_values *values, struct scsi_mode_fault *ret_fault);

#endif
