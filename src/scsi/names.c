/* SPDX-License-Identifier: MIT */
/*
 * What a unit is called: vendor, product, revision, serial, WWN, and the designators of VPD page 83h.
 *
 * A name that nobody set is made from the node's name, so that it is the same in each run. Designators are short: a guest's
 * driver is known to hang on long ones.
 */
#include "scsi/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAA_LOCALLY_ASSIGNED (3ull << 60)

/* FNV-1a, 64 bits: short, and the same for ever. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

uint64_t scsi_name_naa(const char *vendor, const char *text)
{
	uint64_t hash = hash_text(0xcbf29ce484222325ull, vendor);

	hash = hash_text((hash ^ 0xff) * 0x100000001b3ull, text);
	/* the high bits of this hash are the well mixed ones */
	return NAA_LOCALLY_ASSIGNED | hash >> 4;
}

/* ---- settings ---- */

static bool is_printable(const char *text)
{
	for (; *text; text++) {
		if (*text < 0x20 || *text > 0x7e)
			return false;
	}
	return true;
}

static int check_name(const char *key, const char *value, size_t max, struct error *error)
{
	size_t length = strlen(value);

	if (length == 0 || length > max)
		return error_set(error, -EINVAL, "%s must have 1 to %zu characters, not %zu", key,
				 max, length);
	if (!is_printable(value))
		return error_set(error, -EINVAL, "%s must be printable ASCII", key);
	return 0;
}

/* size: of the field with its NUL. */
static int set_name(char *field, size_t size, const char *key, const char *value,
		    struct error *error)
{
	int result = check_name(key, value, size - 1, error);

	if (result == 0)
		snprintf(field, size, "%s", value);
	return result;
}

/* A node's name may be longer than a serial: then the hash of it. */
static void default_serial(struct scsi_unit *unit, const char *node_name)
{
	if (strlen(node_name) <= SCSI_SERIAL_MAX)
		snprintf(unit->serial, sizeof(unit->serial), "%s", node_name);
	else
		snprintf(unit->serial, sizeof(unit->serial), "%016llx",
			 (unsigned long long)scsi_name_naa("", node_name));
}

int scsi_unit_set_names(struct scsi_unit *unit, const struct scsi_unit_config *config,
			struct error *error)
{
	const struct {
		char *field;
		size_t size;
		const char *key, *value;
	} names[] = {
		{ unit->vendor, sizeof(unit->vendor), "vendor",
		  config->vendor ? config->vendor : "RINGLANE" },
		{ unit->product, sizeof(unit->product), "product",
		  config->product ? config->product : "Ringlane disk" },
		{ unit->revision, sizeof(unit->revision), "ver",
		  config->revision ? config->revision : SCSI_REVISION_DEFAULT },
	};
	int result = 0;

	for (unsigned i = 0; result == 0 && i < ARRAY_SIZE(names); i++)
		result = set_name(names[i].field, names[i].size, names[i].key, names[i].value,
				  error);
	if (result == 0 && config->serial)
		result = set_name(unit->serial, sizeof(unit->serial), "serial", config->serial,
				  error);
	else
		default_serial(unit, config->node->name);
	if (result == 0)
		result = set_name(unit->device_id, sizeof(unit->device_id), "device_id",
				  config->device_id ? config->device_id : unit->serial, error);
	unit->wwn = config->wwn ? config->wwn : scsi_name_naa(unit->vendor, unit->serial);
	return result;
}
