/* SPDX-License-Identifier: MIT */
/*
 * What copy.c and copy_results.c share: the limits that the one keeps and the other tells, and what became of each copy.
 *
 * Results lie in the nexus, under the lock of its unit; they are changed on the copy's loop and read on any.
 */
#ifndef RINGLANE_SCSI_COPY_RESULTS_H
#define RINGLANE_SCSI_COPY_RESULTS_H

#include "scsi/internal.h"

#define COPY_CSCD_BYTES 32u
#define COPY_CSCD_IDENTIFICATION 0xe4
#define COPY_SEGMENT_BYTES 28u
#define COPY_SEGMENT_BLOCK_TO_BLOCK 0x02

#define COPY_TARGETS_MAX 8u
#define COPY_SEGMENTS_MAX 64u
#define COPY_DESCRIPTORS_MAX \
	(COPY_TARGETS_MAX * COPY_CSCD_BYTES + COPY_SEGMENTS_MAX * COPY_SEGMENT_BYTES)
#define COPY_RESULTS_MAX 4u /* copies that are remembered, and that may run at once */

enum copy_status { COPY_IN_PROGRESS = 0, COPY_DONE = 1, COPY_FAILED = 2 };

struct copy_result {
	bool used;
	uint8_t list_id;
	uint8_t status; /* enum copy_status */
	uint8_t sense_length;
	uint16_t segments;
	uint64_t bytes;
	uint64_t age; /* when it began, in copies */
	uint8_t sense[SCSI_SENSE_MAX];
};

/* Each takes the lock. */

/* Forgets what an earlier copy with this identifier left behind. False: it is still running. */
bool copy_result_forget(struct scsi_nexus *nexus, uint8_t list_id);
/* NULL: too many are running, or one with this identifier, or there is no memory. */
struct copy_result *copy_result_begin(struct scsi_nexus *nexus, uint8_t list_id);
/* How far it is. */
void copy_result_update(struct scsi_nexus *nexus, struct copy_result *result, unsigned segments,
			uint64_t bytes);
/* The result is not the copy's any more. asc: of a failure, whose sense FAILED SEGMENT DETAILS tells again. */
void copy_result_end(struct scsi_nexus *nexus, struct copy_result *result, enum copy_status status,
		     enum scsi_asc asc);
/* Ended and forgotten at once. */
void copy_result_discard(struct scsi_nexus *nexus, struct copy_result *result);

#endif
