/* SPDX-License-Identifier: MIT */
/*
 * Mode pages as data: constant bytes, and over them the fields whose values lie in struct scsi_mode_values. The defaults, what can
 * be changed and what it can be changed to are columns of one table.
 *
 * Changeable is what has an effect: WCE, D_SENSE, SWP, and how informational exceptions are told. A disk of ours has none to tell,
 * but TEST makes one up, which REQUEST SENSE and LOG SENSE then show (MRIE 6, the only method beside none). Retries, reallocation
 * and read-ahead are the host's business, so their fields say how it is and cannot be changed.
 *
 * Pure; any thread.
 */
#include "scsi/mode_page.h"

#include <string.h>

const struct scsi_mode_page scsi_mode_pages[] = {
	{ .page = 0x01, .bytes = 12, .header_bytes = 2 }, /* Read-Write Error Recovery */
	{ .page = 0x08, .bytes = 20, .header_bytes = 2 }, /* Caching */
	{
		.page = 0x0a, /* Control */
		.bytes = 12,
		.header_bytes = 2,
		.constant = {
			[3] = 0x10,               /* QUEUE ALGORITHM MODIFIER: unrestricted reordering */
			[8] = 0xff, [9] = 0xff,   /* BUSY TIMEOUT PERIOD: no limit is promised */
		},
	},
	{ .page = 0x0a, .subpage = 0x01, .bytes = 32, .header_bytes = 4 }, /* Control Extension */
	{ .page = 0x1c, .bytes = 12, .header_bytes = 2 }, /* Informational Exceptions Control */
};

const unsigned scsi_mode_page_count = ARRAY_SIZE(scsi_mode_pages);

struct mode_field {
	uint8_t page, byte, mask; /* of pages without subpage */
	uint8_t member;           /* its place in struct scsi_mode_values */
	uint8_t initial;
	uint16_t changeable; /* bit n: can be changed to n; 0: not at all */
};

#define MEMBER(name) offsetof(struct scsi_mode_values, name)
#define CONSTANT 0
#define SWITCH 0x0003 /* off and on */

/* clang-format off */
static const struct mode_field mode_fields[] = {
	{ 0x01, 2, 0x80, MEMBER(awre), 1, CONSTANT },
	{ 0x01, 2, 0x40, MEMBER(arre), 1, CONSTANT },
	{ 0x01, 3, 0xff, MEMBER(read_retries), 0, CONSTANT },
	{ 0x01, 8, 0xff, MEMBER(write_retries), 0, CONSTANT },
	{ 0x08, 2, 0x04, MEMBER(wce), 1, SWITCH },
	{ 0x08, 12, 0x20, MEMBER(dra), 0, CONSTANT },
	{ 0x0a, 2, 0x04, MEMBER(d_sense), 0, SWITCH },
	{ 0x0a, 2, 0x02, MEMBER(gltsd), 1, CONSTANT },
	{ 0x0a, 3, 0x06, MEMBER(qerr), 0, CONSTANT },
	{ 0x0a, 4, 0x08, MEMBER(swp), 0, SWITCH },
	{ 0x0a, 5, 0x40, MEMBER(tas), 0, CONSTANT },
	{ 0x1c, 2, 0x80, MEMBER(perf), 0, CONSTANT },
	{ 0x1c, 2, 0x10, MEMBER(ewasc), 0, SWITCH },
	{ 0x1c, 2, 0x08, MEMBER(dexcpt), 0, SWITCH },
	{ 0x1c, 2, 0x04, MEMBER(test), 0, SWITCH },
	{ 0x1c, 3, 0x0f, MEMBER(mrie), 6, 1 << 0 | 1 << 6 },
};
/* clang-format on */

static_assert(ARRAY_SIZE(mode_fields) == sizeof(struct scsi_mode_values), "a row for each value");

static bool is_in(const struct mode_field *field, const struct scsi_mode_page *page)
{
	return field->page == page->page && page->subpage == 0;
}

static uint8_t *value_of(const struct mode_field *field, struct scsi_mode_values *values)
{
	return (uint8_t *)values + field->member;
}

static int top_bit(uint8_t bits)
{
	return 31 - __builtin_clz(bits);
}

void scsi_mode_default(struct scsi_mode_values *values)
{
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++)
		*value_of(&mode_fields[i], values) = mode_fields[i].initial;
}

const struct scsi_mode_page *scsi_mode_page_find(uint8_t page, uint8_t subpage)
{
	for (unsigned i = 0; i < scsi_mode_page_count; i++) {
		if (scsi_mode_pages[i].page == page && scsi_mode_pages[i].subpage == subpage)
			return &scsi_mode_pages[i];
	}
	return NULL;
}

static void put_header(const struct scsi_mode_page *page, uint8_t *bytes)
{
	bytes[0] = page->page;
	if (page->header_bytes == 2) {
		bytes[1] = page->bytes - 2;
		return;
	}
	bytes[0] |= 0x40; /* SPF */
	bytes[1] = page->subpage;
	be16_put(bytes + 2, page->bytes - 4);
}

void scsi_mode_page_format(const struct scsi_mode_page *page, const struct scsi_mode_values *values,
			   uint8_t bytes[SCSI_MODE_PAGE_MAX])
{
	struct scsi_mode_values copy = *values;

	memcpy(bytes, page->constant, page->bytes);
	put_header(page, bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++) {
		const struct mode_field *field = &mode_fields[i];
		uint8_t shifted = (uint8_t)(*value_of(field, &copy) << __builtin_ctz(field->mask));

		if (is_in(field, page))
			bytes[field->byte] |= shifted & field->mask;
	}
}

void scsi_mode_page_format_changeable(const struct scsi_mode_page *page,
				      uint8_t bytes[SCSI_MODE_PAGE_MAX])
{
	memset(bytes, 0, page->bytes);
	put_header(page, bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++) {
		if (is_in(&mode_fields[i], page) && mode_fields[i].changeable)
			bytes[mode_fields[i].byte] |= mode_fields[i].mask;
	}
}

/* A bit beyond the changeable ones that is not as it is now. */
static bool finds_constant_changed(const struct scsi_mode_page *page, const uint8_t *bytes,
				   const struct scsi_mode_values *values,
				   struct scsi_mode_fault *ret_fault)
{
	uint8_t now[SCSI_MODE_PAGE_MAX], mask[SCSI_MODE_PAGE_MAX];

	scsi_mode_page_format(page, values, now);
	scsi_mode_page_format_changeable(page, mask);
	for (unsigned i = page->header_bytes; i < page->bytes; i++) {
		uint8_t wrong = (bytes[i] ^ now[i]) & ~mask[i];

		if (wrong) {
			*ret_fault = (struct scsi_mode_fault){ i, top_bit(wrong) };
			return true;
		}
	}
	return false;
}

/* TEST of what DEXCPT has switched off. */
static bool finds_contradiction(const struct scsi_mode_page *page,
				const struct scsi_mode_values *values,
				struct scsi_mode_fault *ret_fault)
{
	if (page->page != 0x1c || !values->test || !values->dexcpt)
		return false;
	*ret_fault = (struct scsi_mode_fault){ 2, 2 };
	return true;
}

bool scsi_mode_page_take(const struct scsi_mode_page *page, const uint8_t *bytes,
			 struct scsi_mode_values *values, struct scsi_mode_fault *ret_fault)
{
	if (finds_constant_changed(page, bytes, values, ret_fault))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++) {
		const struct mode_field *field = &mode_fields[i];
		uint8_t wanted;

		if (!is_in(field, page) || !field->changeable)
			continue;
		wanted = (bytes[field->byte] & field->mask) >> __builtin_ctz(field->mask);
		if (!(field->changeable >> wanted & 1)) {
			*ret_fault = (struct scsi_mode_fault){ field->byte, top_bit(field->mask) };
			return false;
		}
		*value_of(field, values) = wanted;
	}
	return !finds_contradiction(page, values, ret_fault);
}
