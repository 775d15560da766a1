/* SPDX-License-Identifier: MIT */
/*
 * LOG SENSE (SPC-4, 7.3). The pages are a table; each is a list of parameters.
 *
 * The error counters are there because tools ask for them. What the host recovers from, we do not hear, so the counters of errors
 * that were corrected are zero; how much was moved and what could not be corrected nobody counts, so those parameters are left
 * out. Nothing is ever saved (GLTSD in the control mode page).
 */
#include "scsi/internal.h"

#include <string.h>

#define LOG_MAX 256 /* bytes of the longest page */
#define LOG_HEADER_BYTES 4
#define LOG_SUBPAGES 0xff

/* Control byte of a parameter: what there is to say about saving, thresholds and the format. */
#define PARAMETER_COUNTER 0x22 /* TSD, unbounded data counter */
#define PARAMETER_BINARY 0x23  /* TSD, binary format list */

struct log_answer {
	uint8_t bytes[LOG_MAX];
	unsigned size;
	uint16_t pointer; /* parameters below it are not wanted */
};

struct log_page {
	uint8_t page;
	bool counters; /* has cumulative values only, no thresholds */
	uint16_t last; /* parameter code */
	void (*put)(struct scsi_unit *unit, struct log_answer *answer);
};

static void put_parameter(struct log_answer *answer, uint16_t code, uint8_t control,
			  const uint8_t *value, uint8_t size)
{
	uint8_t *bytes = answer->bytes + answer->size;

	if (code < answer->pointer)
		return;
	assert(answer->size + 4 + size <= LOG_MAX);
	be16_put(bytes, code);
	bytes[2] = control;
	bytes[3] = size;
	memcpy(bytes + 4, value, size);
	answer->size += 4 + size;
}

/* ---- the pages ---- */

/* Corrected without and with substantial delay, rewritten or reread, corrected in all, times the correction was tried. */
#define COUNTER_LAST 0x0004

static void put_error_counters(struct scsi_unit *unit, struct log_answer *answer)
{
	static const uint8_t none[8];

	for (uint16_t code = 0; code <= COUNTER_LAST; code++)
		put_parameter(answer, code, PARAMETER_COUNTER, none, sizeof(none));
}

static void put_exceptions(struct scsi_unit *unit, struct log_answer *answer)
{
	uint8_t value[3] = { 0, 0, 0xff }; /* the temperature is not known */

	be16_put(value, (uint16_t)scsi_unit_exception(unit));
	put_parameter(answer, 0x0000, PARAMETER_BINARY, value, sizeof(value));
}

static void put_supported(struct scsi_unit *unit, struct log_answer *answer);

static const struct log_page log_pages[] = {
	{ .page = 0x00, .put = put_supported },
	{ .page = 0x02, .counters = true, .last = COUNTER_LAST, .put = put_error_counters },
	{ .page = 0x03, .counters = true, .last = COUNTER_LAST, .put = put_error_counters },
	{ .page = 0x05, .counters = true, .last = COUNTER_LAST, .put = put_error_counters },
	{ .page = 0x2f, .put = put_exceptions },
};

static void put_supported(struct scsi_unit *unit, struct log_answer *answer)
{
	for (unsigned i = 0; i < ARRAY_SIZE(log_pages); i++)
		answer->bytes[answer->size++] = log_pages[i].page;
}

/* Subpage FFh of page 00h: pages with their subpages. Page 00h is there twice, with and without. */
static void put_supported_subpages(struct log_answer *answer)
{
	for (unsigned i = 0; i < ARRAY_SIZE(log_pages); i++) {
		answer->bytes[answer->size++] = log_pages[i].page;
		answer->bytes[answer->size++] = 0x00;
		if (log_pages[i].page == 0x00) {
			answer->bytes[answer->size++] = 0x00;
			answer->bytes[answer->size++] = LOG_SUBPAGES;
		}
	}
}

/* ---- the command ---- */

static const struct log_page *log_page_find(uint8_t page)
{
	for (unsigned i = 0; i < ARRAY_SIZE(log_pages); i++) {
		if (log_pages[i].page == page)
			return &log_pages[i];
	}
	return NULL;
}

/* Threshold values are even page controls, cumulative ones odd; what is no counter does not care. */
static bool has_control(const struct log_page *page, uint8_t control)
{
	return !page->counters || control & 1;
}

void scsi_log_sense(struct scsi_task *task)
{
	const struct log_page *page = log_page_find(task->cdb[2] & 0x3f);
	uint8_t control = task->cdb[2] >> 6, subpage = task->cdb[3];
	struct log_answer answer = { .size = LOG_HEADER_BYTES, .pointer = be16_get(task->cdb + 5) };

	if (!page) {
		scsi_task_bad_cdb(task, 2, 5);
		return;
	}
	if (subpage != 0 && (page->page != 0 || subpage != LOG_SUBPAGES)) {
		scsi_task_bad_cdb(task, 3, -1);
		return;
	}
	if (!has_control(page, control)) {
		scsi_task_bad_cdb(task, 2, 7);
		return;
	}
	if (answer.pointer > page->last) {
		scsi_task_bad_cdb(task, 5, -1);
		return;
	}
	if (subpage)
		put_supported_subpages(&answer);
	else
		page->put(scsi_task_unit(task), &answer);
	answer.bytes[0] = page->page | (subpage ? 0x40 : 0); /* SPF */
	answer.bytes[1] = subpage;
	be16_put(answer.bytes + 2, (uint16_t)(answer.size - LOG_HEADER_BYTES));
	scsi_task_data_in(task, answer.bytes, answer.size);
}
