// SPDX-License-Identifier: MIT
/*
 * What a device said of a command, as -errno and as a sentence. Pure; any thread.
 *
 * The order is the protocol's: response first; status when response is OK; sense data when status is CHECK CONDITION.
 */
#include "driver/scsi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- sense data: SPC-4, 4.5 ---- */

struct scsi_sense scsi_sense_parse(const uint8_t *bytes, unsigned size)
{
	unsigned format = size ? bytes[0] & 0x7f : 0;

	if ((format == 0x72 || format == 0x73) && size >= 4)
		return (struct scsi_sense){ true, bytes[1] & 0xf, bytes[2], bytes[3] };
	if ((format == 0x70 || format == 0x71) && size >= 3)
		return (struct scsi_sense){
			.valid = true,
			.key = bytes[2] & 0xf,
			.asc = size >= 13 ? bytes[12] : 0,
			.ascq = size >= 14 ? bytes[13] : 0,
		};
	return (struct scsi_sense){ .valid = false };
}

/* ---- tables ---- */

struct meaning {
	int code;
	const char *words;
};

#define RESPONSES 13
static const struct meaning responses[RESPONSES] = {
	[RINGLANE_SCSI_OVERRUN] = { -EOVERFLOW,
				    "OVERRUN: more data than the request has room for" },
	[RINGLANE_SCSI_ABORTED] = { -ECANCELED, "ABORTED: a task management function ended it" },
	[RINGLANE_SCSI_BAD_TARGET] = { -ENXIO, "BAD TARGET: there is no such target" },
	[RINGLANE_SCSI_WAS_RESET] = { -ECANCELED, "RESET: a reset ended it" },
	[RINGLANE_SCSI_BUSY] = { -EBUSY, "BUSY: the device cannot take it now" },
	[RINGLANE_SCSI_TRANSPORT_FAILURE] = { -ECOMM,
					      "TRANSPORT FAILURE: the target is not reached" },
	[RINGLANE_SCSI_TARGET_FAILURE] = { -EREMOTEIO, "TARGET FAILURE: the target is broken" },
	[RINGLANE_SCSI_NEXUS_FAILURE] = { -EBADE,
					  "NEXUS FAILURE: the path does not work, another may" },
	[RINGLANE_SCSI_FAILURE] = { -EIO, "FAILURE: the device does not say why" },
	[RINGLANE_SCSI_INCORRECT_LUN] = { -ENXIO, "INCORRECT LUN: the target has no such LUN" },
};

/* SAM-5, 5.3 */
static const struct {
	uint8_t status;
	struct meaning meaning;
} statuses[] = {
	{ 0x00, { 0, "GOOD" } },
	{ 0x04, { 0, "CONDITION MET" } },
	{ 0x08, { -EBUSY, "BUSY: the LUN cannot take it now" } },
	{ 0x18, { -EBADE, "RESERVATION CONFLICT: another initiator has reserved the LUN" } },
	{ 0x28, { -EBUSY, "TASK SET FULL: the LUN has too many commands" } },
	{ 0x30, { -EBUSY, "ACA ACTIVE: an error has to be cleared first" } },
	{ 0x40, { -ECANCELED, "TASK ABORTED: another initiator ended it" } },
};

/* SPC-4, 4.5.6 */
static const struct meaning keys[16] = {
	{ 0, "NO SENSE" },
	{ 0, "RECOVERED ERROR" },
	{ -EIO, "NOT READY" },
	{ -EIO, "MEDIUM ERROR" },
	{ -EREMOTEIO, "HARDWARE ERROR" },
	{ -EINVAL, "ILLEGAL REQUEST" },
	{ -ERESTART, "UNIT ATTENTION" },
	{ -EROFS, "DATA PROTECT" },
	{ -EIO, "BLANK CHECK" },
	{ -EIO, "vendor specific key 9" },
	{ -EIO, "COPY ABORTED" },
	{ -ECANCELED, "ABORTED COMMAND" },
	{ -EIO, "reserved key 12" },
	{ -ENOSPC, "VOLUME OVERFLOW" },
	{ -EILSEQ, "MISCOMPARE" },
	{ -EIO, "COMPLETED" },
};

/* SPC-4, annex F.2: those that disks send. ascq ANY: of every qualifier that is not listed before. */
#define ANY 0xff
static const struct {
	uint8_t asc, ascq;
	const char *words;
} additional[] = {
	{ 0x04, 0x00, "not ready, the cause is not reported" },
	{ 0x04, 0x01, "becoming ready" },
	{ 0x04, 0x02, "initializing command required" },
	{ 0x04, 0x04, "format in progress" },
	{ 0x04, 0x1b, "sanitize in progress" },
	{ 0x04, ANY, "not ready" },
	{ 0x0c, ANY, "write error" },
	{ 0x11, ANY, "unrecovered read error" },
	{ 0x1a, 0x00, "parameter list length error" },
	{ 0x1d, 0x00, "miscompare during verify operation" },
	{ 0x20, 0x00, "invalid command operation code" },
	{ 0x21, ANY, "logical block address out of range" },
	{ 0x24, 0x00, "invalid field in CDB" },
	{ 0x25, 0x00, "logical unit not supported" },
	{ 0x26, ANY, "invalid field in parameter list" },
	{ 0x27, 0x07, "space allocation failed" },
	{ 0x27, ANY, "write protected" },
	{ 0x29, 0x07, "I_T nexus loss occurred" },
	{ 0x29, ANY, "power on, reset, or bus device reset occurred" },
	{ 0x2a, 0x01, "mode parameters changed" },
	{ 0x2a, 0x03, "reservations preempted" },
	{ 0x2a, 0x04, "reservations released" },
	{ 0x2a, 0x05, "registrations preempted" },
	{ 0x2a, 0x09, "capacity data has changed" },
	{ 0x2a, ANY, "parameters changed" },
	{ 0x2c, ANY, "command sequence error" },
	{ 0x2f, ANY, "commands cleared by another initiator" },
	{ 0x3a, ANY, "medium not present" },
	{ 0x3f, 0x03, "inquiry data has changed" },
	{ 0x3f, 0x0e, "reported LUNs data has changed" },
	{ 0x3f, ANY, "target operating conditions have changed" },
	{ 0x44, ANY, "internal target failure" },
	{ 0x55, ANY, "insufficient resources" },
};

static const char *additional_words(const struct scsi_sense *sense)
{
	for (unsigned i = 0; i < ARRAY_SIZE(additional); i++) {
		bool any = additional[i].ascq == ANY || additional[i].ascq == sense->ascq;

		if (additional[i].asc == sense->asc && any)
			return additional[i].words;
	}
	return NULL;
}

/* ---- -errno ---- */

static int errno_of_illegal(const struct scsi_sense *sense)
{
	switch (sense->asc) {
	case 0x20:
		return -EOPNOTSUPP;
	case 0x21:
		return -ERANGE;
	case 0x25:
		return -ENXIO;
	}
	return -EINVAL;
}

static int errno_of_sense(const struct scsi_sense *sense)
{
	if (!sense->valid)
		return -EIO;
	if (sense->key == SCSI_KEY_ILLEGAL_REQUEST)
		return errno_of_illegal(sense);
	if (sense->key == SCSI_KEY_NOT_READY && sense->asc == 0x04)
		return -EBUSY;
	if (sense->key == SCSI_KEY_NOT_READY && sense->asc == 0x3a)
		return -ENOMEDIUM;
	if (sense->key == SCSI_KEY_DATA_PROTECT && sense->asc == 0x27 && sense->ascq == 0x07)
		return -ENOSPC;
	return keys[sense->key].code;
}

int scsi_errno(unsigned response, unsigned status, const uint8_t *sense, unsigned sense_len)
{
	struct scsi_sense parsed;

	if (response != RINGLANE_SCSI_OK)
		return response < RESPONSES && responses[response].words ?
			       responses[response].code :
			       -EPROTO;
	if (status == SCSI_STATUS_CHECK_CONDITION) {
		parsed = scsi_sense_parse(sense, sense_len);
		return errno_of_sense(&parsed);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].meaning.code;
	return -EPROTO;
}

/* ---- the sentence ---- */

static void words_of_sense(const struct scsi_sense *sense, char *text, size_t size)
{
	const char *more = additional_words(sense);

	if (!sense->valid)
		snprintf(text, size, "CHECK CONDITION without sense data");
	else if (more)
		snprintf(text, size, "%s: %s (sense %x/%02x/%02x)", keys[sense->key].words, more,
			 sense->key, sense->asc, sense->ascq);
	else
		snprintf(text, size, "%s (sense %x/%02x/%02x)", keys[sense->key].words, sense->key,
			 sense->asc, sense->ascq);
}

static void words_of_response(unsigned response, char *text, size_t size)
{
	if (response == RINGLANE_SCSI_NONE)
		snprintf(text, size, "the device did not say how it went");
	else if (response < RESPONSES && responses[response].words)
		snprintf(text, size, "%s", responses[response].words);
	else
		snprintf(text, size, "the device gave a response that there is not: %u", response);
}

static void words_of_status(unsigned status, char *text, size_t size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (statuses[i].status == status) {
			snprintf(text, size, "%s", statuses[i].meaning.words);
			return;
		}
	}
	snprintf(text, size, "the device gave a status that there is not: %02xh", status);
}

static void words_add_residual(uint32_t residual, char *text, size_t size)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, ", but %u bytes were not transferred", residual);
}

int ringlane_scsi_strerror(const struct ringlane_scsi_result *result, char *text, size_t size)
{
	unsigned sense_len = MIN(result->sense_len, RINGLANE_SCSI_SENSE_MAX);
	int ret = scsi_errno(result->response, result->status, result->sense, sense_len);
	struct scsi_sense sense;

	if (!text || !size)
		return ret;
	if (result->response != RINGLANE_SCSI_OK) {
		words_of_response(result->response, text, size);
	} else if (result->status == SCSI_STATUS_CHECK_CONDITION) {
		sense = scsi_sense_parse(result->sense, sense_len);
		words_of_sense(&sense, text, size);
	} else {
		words_of_status(result->status, text, size);
		if (ret == 0 && result->residual)
			words_add_residual(result->residual, text, size);
	}
	return ret;
}
