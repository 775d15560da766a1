/* SPDX-License-Identifier: MIT */
/*
 * The text of a state file: a few lines that a person can read, and a checksum, because a file that was changed by accident is
 * worse than none.
 *
 *     ringlane scsi state 1
 *     unit 3…                                     NAA of the unit
 *     mode wce=1 dra=0 …                          saved mode pages
 *     persist 1                                   APTPL
 *     registration initiator=… key=… port=1 all-ports=0
 *     reservation type=5 holder=…
 *     crc32 …                                     of all that stands above
 *
 * There is one text for each content. So the reader may be simple: what it understood is written again, and must be what was there.
 */
#include "scsi/state_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "ringlane scsi state "
#define VERSION 1u
#define CRC_LINE "crc32 %08" PRIx32 "\n"
#define CRC_LINE_BYTES 15u /* "crc32 ", 8 digits, newline */

static const struct {
	const char *name;
	size_t offset;
} mode_fields[] = {
#define FIELD(member)                                              \
	{                                                          \
#member, offsetof(struct scsi_mode_values, member) \
	}
	FIELD(wce),  FIELD(dra),    FIELD(d_sense),      FIELD(swp),
	FIELD(tas),  FIELD(gltsd),  FIELD(qerr),         FIELD(mrie),
	FIELD(perf), FIELD(dexcpt), FIELD(test),         FIELD(ewasc),
	FIELD(awre), FIELD(arre),   FIELD(read_retries), FIELD(write_retries),
#undef FIELD
};

static_assert(ARRAY_SIZE(mode_fields) == sizeof(struct scsi_mode_values),
	      "each mode value is kept: a new one needs a row and another version");

/* CRC-32 of IEEE 802.3. */
static uint32_t crc32(const char *bytes, size_t size)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < size; i++) {
		crc ^= (uint8_t)bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* ---- writing ---- */

struct text {
	char *bytes;
	size_t used;
};

static void printf_like(2, 3) put(struct text *text, const char *format, ...)
{
	va_list arguments;
	int bytes;

	va_start(arguments, format);
	bytes = vsnprintf(text->bytes + text->used, STATE_BYTES_MAX - text->used, format,
			  arguments);
	va_end(arguments);
	assert(bytes >= 0 && (size_t)bytes < STATE_BYTES_MAX - text->used);
	text->used += (size_t)bytes;
}

static void put_mode(struct text *text, const struct scsi_mode_values *mode)
{
	put(text, "mode");
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++)
		put(text, " %s=%u", mode_fields[i].name,
		    ((const uint8_t *)mode)[mode_fields[i].offset]);
	put(text, "\n");
}

static void put_table(struct text *text, const struct pr_table *table)
{
	put(text, "persist %u\n", table->aptpl);
	for (unsigned i = 0; i < table->count; i++) {
		const struct pr_registration *registration = &table->registrations[i];

		put(text,
		    "registration initiator=%016" PRIx64 " key=%016" PRIx64
		    " port=%u all-ports=%u\n",
		    registration->initiator, registration->key, registration->port,
		    registration->all_ports);
	}
	if (table->type != PR_NONE)
		put(text, "reservation type=%u holder=%016" PRIx64 "\n", table->type,
		    table->holder);
}

size_t state_encode(const struct state_content *content, char bytes[STATE_BYTES_MAX])
{
	struct text text = { .bytes = bytes };

	put(&text, MAGIC "%u\nunit %016" PRIx64 "\n", VERSION, content->wwn);
	put_mode(&text, &content->mode);
	put_table(&text, &content->table);
	put(&text, CRC_LINE, crc32(bytes, text.used));
	return text.used;
}

/* ---- reading ---- */

/* Skips what is expected to stand there. */
static bool take(const char **at, const char *expected)
{
	size_t length = strlen(expected);

	if (strncmp(*at, expected, length) != 0)
		return false;
	*at += length;
	return true;
}

static bool take_number(const char **at, const char *name, int base, uint64_t max,
			uint64_t *ret_value)
{
	uint64_t value;
	char *end;

	if (!take(at, name))
		return false;
	errno = 0;
	value = strtoull(*at, &end, base);
	if (errno != 0 || end == *at || value > max)
		return false;
	*at = end;
	*ret_value = value;
	return true;
}

static bool take_mode(const char **at, struct scsi_mode_values *mode)
{
	uint64_t value;

	if (!take(at, "mode"))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(mode_fields); i++) {
		if (!take(at, " ") || !take(at, mode_fields[i].name) ||
		    !take_number(at, "=", 10, UINT8_MAX, &value))
			return false;
		((uint8_t *)mode)[mode_fields[i].offset] = (uint8_t)value;
	}
	return take(at, "\n");
}

static bool take_registration(const char **at, struct pr_registration *registration)
{
	uint64_t port, all_ports;

	if (!take_number(at, "registration initiator=", 16, UINT64_MAX, &registration->initiator) ||
	    !take_number(at, " key=", 16, UINT64_MAX, &registration->key) ||
	    !take_number(at, " port=", 10, UINT16_MAX, &port) ||
	    !take_number(at, " all-ports=", 10, 1, &all_ports))
		return false;
	registration->port = (uint16_t)port;
	registration->all_ports = all_ports;
	return take(at, "\n");
}

static bool take_table(const char **at, struct pr_table *table)
{
	uint64_t number;

	if (!take_number(at, "persist ", 10, 1, &number) || !take(at, "\n"))
		return false;
	table->aptpl = number;
	while (table->count < PR_REGISTRATIONS_MAX &&
	       take_registration(at, &table->registrations[table->count]))
		table->count++;
	if (take_number(at, "reservation type=", 10, 15, &number)) {
		table->type = (enum pr_type)number;
		return take_number(at, " holder=", 16, UINT64_MAX, &table->holder);
	}
	return true;
}

static bool take_content(const char *at, struct state_content *content)
{
	return take_number(&at, "unit ", 16, UINT64_MAX, &content->wwn) && take(&at, "\n") &&
	       take_mode(&at, &content->mode) && take_table(&at, &content->table) &&
	       pr_table_is_sound(&content->table);
}

static bool is_intact(const char *text, size_t size)
{
	char line[CRC_LINE_BYTES + 1];

	if (size < CRC_LINE_BYTES)
		return false;
	snprintf(line, sizeof(line), CRC_LINE, crc32(text, size - CRC_LINE_BYTES));
	return memcmp(text + size - CRC_LINE_BYTES, line, CRC_LINE_BYTES) == 0;
}

static bool is_canonical(const struct state_content *content, const char *text, size_t size)
{
	char again[STATE_BYTES_MAX];

	return state_encode(content, again) == size && memcmp(again, text, size) == 0;
}

int state_decode(const char *text, size_t size, struct state_content *ret_content,
		 struct error *error)
{
	struct state_content content = { 0 };
	const char *at = text;
	uint64_t version;

	if (!take_number(&at, MAGIC, 10, UINT32_MAX, &version) || !take(&at, "\n"))
		return error_set(error, -EINVAL, "it is not a state file of a SCSI disk");
	if (version != VERSION)
		return error_set(error, -EINVAL,
				 "it is of version %" PRIu64 ", and only version %u is known",
				 version, VERSION);
	if (!is_intact(text, size))
		return error_set(error, -EINVAL, "it is damaged, its checksum does not fit");
	if (!take_content(at, &content) || !is_canonical(&content, text, size))
		return error_set(error, -EINVAL, "it says something that makes no sense");
	*ret_content = content;
	return 0;
}
