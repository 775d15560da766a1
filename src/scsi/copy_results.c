/* SPDX-License-Identifier: MIT */
/*
 * RECEIVE COPY RESULTS (LID1) (SPC-4, 6.18 to 6.21), and what it tells: what became of the last copies of each nexus, by their list
 * identifiers. A result is forgotten when it has been told (the status of a copy that went well, the details of one that did not),
 * when another copy with its identifier comes, when the nexus is lost or the unit reset, or when there are too many.
 */
#include "scsi/copy_results.h"

#include <stdlib.h>
#include <string.h>

struct copy_results {
	uint64_t count;
	struct copy_result entries[COPY_RESULTS_MAX];
};

static struct copy_result *results_find(const struct scsi_nexus *nexus, uint8_t list_id)
{
	struct copy_results *results = nexus->copy_results;

	for (unsigned i = 0; results && i < COPY_RESULTS_MAX; i++) {
		if (results->entries[i].used && results->entries[i].list_id == list_id)
			return &results->entries[i];
	}
	return NULL;
}

/* A place that is free, or that of the oldest copy that has ended. */
static struct copy_result *results_place(struct copy_results *results)
{
	struct copy_result *oldest = NULL;

	for (unsigned i = 0; i < COPY_RESULTS_MAX; i++) {
		struct copy_result *entry = &results->entries[i];

		if (!entry->used)
			return entry;
		if (entry->status != COPY_IN_PROGRESS && (!oldest || entry->age < oldest->age))
			oldest = entry;
	}
	return oldest;
}

void scsi_copy_results_forget(struct scsi_nexus *nexus)
{
	struct copy_results *results = nexus->copy_results;

	for (unsigned i = 0; results && i < COPY_RESULTS_MAX; i++)
		results->entries[i].used &= results->entries[i].status == COPY_IN_PROGRESS;
}

void scsi_copy_results_free(struct scsi_nexus *nexus)
{
	free(nexus->copy_results);
	nexus->copy_results = NULL;
}

/* ---- for copy.c ---- */

bool copy_result_forget(struct scsi_nexus *nexus, uint8_t list_id)
{
	struct copy_result *result;
	bool running = false;

	scsi_unit_lock(nexus->unit);
	result = results_find(nexus, list_id);
	if (result) {
		running = result->status == COPY_IN_PROGRESS;
		result->used = running;
	}
	scsi_unit_unlock(nexus->unit);
	return !running;
}

static struct copy_result *begin_locked(struct scsi_nexus *nexus, uint8_t list_id)
{
	struct copy_results *results = nexus->copy_results;
	struct copy_result *result;

	if (!results)
		results = nexus->copy_results = calloc(1, sizeof(*results));
	if (!results || results_find(nexus, list_id))
		return NULL;
	result = results_place(results);
	if (result)
		*result = (struct copy_result){ .used = true,
						.list_id = list_id,
						.status = COPY_IN_PROGRESS,
						.age = results->count++ };
	return result;
}

struct copy_result *copy_result_begin(struct scsi_nexus *nexus, uint8_t list_id)
{
	struct copy_result *result;

	scsi_unit_lock(nexus->unit);
	result = begin_locked(nexus, list_id);
	scsi_unit_unlock(nexus->unit);
	return result;
}

void copy_result_update(struct scsi_nexus *nexus, struct copy_result *result, unsigned segments,
			uint64_t bytes)
{
	scsi_unit_lock(nexus->unit);
	result->segments = (uint16_t)segments;
	result->bytes = bytes;
	scsi_unit_unlock(nexus->unit);
}

void copy_result_end(struct scsi_nexus *nexus, struct copy_result *result, enum copy_status status,
		     enum scsi_asc asc)
{
	const struct scsi_sense sense = { .key = SCSI_COPY_ABORTED, .asc = asc };
	bool descriptor = load_relaxed(&nexus->unit->d_sense);

	scsi_unit_lock(nexus->unit);
	result->status = (uint8_t)status;
	if (status == COPY_FAILED)
		result->sense_length =
			(uint8_t)scsi_sense_format(&sense, descriptor, result->sense);
	scsi_unit_unlock(nexus->unit);
}

void copy_result_discard(struct scsi_nexus *nexus, struct copy_result *result)
{
	scsi_unit_lock(nexus->unit);
	result->used = false;
	scsi_unit_unlock(nexus->unit);
}

/* ---- RECEIVE COPY RESULTS ---- */

enum results_action {
	COPY_STATUS = 0x00,
	RECEIVE_DATA = 0x01,
	OPERATING_PARAMETERS = 0x03,
	FAILED_SEGMENT_DETAILS = 0x04
};

static void tell_operating_parameters(struct scsi_task *task)
{
	static const uint8_t implemented[] = { COPY_SEGMENT_BLOCK_TO_BLOCK,
					       COPY_CSCD_IDENTIFICATION };
	uint8_t bytes[44 + sizeof(implemented)] = { 0 };

	be32_put(bytes, sizeof(bytes) - 4);
	bytes[4] = 0x01; /* SNLID: a list may be without identifier */
	be16_put(bytes + 8, COPY_TARGETS_MAX);
	be16_put(bytes + 10, COPY_SEGMENTS_MAX);
	be32_put(bytes + 12, COPY_DESCRIPTORS_MAX);
	be16_put(bytes + 34, COPY_RESULTS_MAX); /* TOTAL CONCURRENT COPIES */
	bytes[36] = COPY_RESULTS_MAX;           /* MAXIMUM CONCURRENT COPIES */
	bytes[37] = 9;                          /* DATA SEGMENT GRANULARITY: 512 bytes */
	bytes[43] = sizeof(implemented);
	memcpy(bytes + 44, implemented, sizeof(implemented));
	scsi_task_data_in(task, bytes, sizeof(bytes));
}

/* In the smallest unit in which it fits. */
static void tell_status(struct scsi_task *task, const struct copy_result *result)
{
	uint64_t count = result->bytes;
	uint8_t bytes[12] = { 0 }, unit = 0; /* bytes, KiB, MiB, … */

	while (count > UINT32_MAX) {
		count >>= 10;
		unit++;
	}
	be32_put(bytes, sizeof(bytes) - 4);
	bytes[4] = result->status;
	be16_put(bytes + 5, result->segments);
	bytes[7] = unit;
	be32_put(bytes + 8, (uint32_t)count);
	scsi_task_data_in(task, bytes, sizeof(bytes));
}

/* Nothing is available of a copy that has not failed. */
static void tell_failure(struct scsi_task *task, const struct copy_result *result)
{
	uint8_t bytes[60 + SCSI_SENSE_MAX] = { 0 };
	unsigned size = 60u + result->sense_length;

	if (result->status != COPY_FAILED) {
		scsi_task_data_in(task, bytes, 4);
		return;
	}
	be32_put(bytes, size - 4);
	bytes[56] = result->status;
	be16_put(bytes + 58, result->sense_length);
	memcpy(bytes + 60, result->sense, result->sense_length);
	scsi_task_data_in(task, bytes, size);
}

/* What has been told is forgotten: the status of a copy that went well, the details of one that did not. */
static bool is_last_word(unsigned action, const struct copy_result *result)
{
	return (action == COPY_STATUS && result->status == COPY_DONE) ||
	       (action == FAILED_SEGMENT_DETAILS && result->status == COPY_FAILED);
}

/* False: there is none with this identifier. */
static bool take_result(struct scsi_task *task, unsigned action, struct copy_result *ret_result)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct copy_result *result;

	scsi_unit_lock(unit);
	result = results_find(task->nexus, task->cdb[2]);
	if (result) {
		*ret_result = *result;
		result->used = !is_last_word(action, result);
	}
	scsi_unit_unlock(unit);
	return result;
}

void scsi_receive_copy_results(struct scsi_task *task)
{
	unsigned action = task->cdb[1] & 0x1f;
	static const uint8_t no_data[4];
	struct copy_result result;

	if (action == OPERATING_PARAMETERS)
		tell_operating_parameters(task);
	else if (!take_result(task, action, &result))
		scsi_task_bad_cdb(task, 2, -1);
	else if (action == COPY_STATUS)
		tell_status(task, &result);
	else if (action == FAILED_SEGMENT_DETAILS)
		tell_failure(task, &result);
	else /* RECEIVE DATA: no segment holds any */
		scsi_task_data_in(task, no_data, sizeof(no_data));
}
