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

static_assert(__builtin_strncmp(RINGLANE_VERSION, SCSI_REVISION_DEFAULT ".", 4) == 0,
	      "the revision follows the version");

#define NAA_LOCALLY_ASSIGNED (3ull << 60)
/* With the vendor's 8 bytes a designator of 32. */
#define DEVICE_ID_MAX 24

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
		snprintf(unit->serial, sizeof(unit->serial), "%.*s", SCSI_SERIAL_MAX, node_name);
	else
		snprintf(unit->serial, sizeof(unit->serial), "%016llx",
			 (unsigned long long)scsi_name_naa("", node_name));
}

/* The serial unless it was set; or the hash of it, when it is too long for a short designator. */
static int set_device_id(struct scsi_unit *unit, const char *device_id, struct error *error)
{
	if (device_id)
		return set_name(unit->device_id, DEVICE_ID_MAX + 1, "device_id", device_id, error);
	if (strlen(unit->serial) <= DEVICE_ID_MAX)
		snprintf(unit->device_id, sizeof(unit->device_id), "%s", unit->serial);
	else
		snprintf(unit->device_id, sizeof(unit->device_id), "%016llx",
			 (unsigned long long)scsi_name_naa(unit->vendor, unit->serial));
	return 0;
}

/* Eight bytes are NAA 2h, 3h or 5h (SPC-4, 7.8.6.6). */
static int set_wwn(struct scsi_unit *unit, uint64_t wwn, struct error *error)
{
	unsigned naa = (unsigned)(wwn >> 60);

	if (wwn && naa != 2 && naa != 3 && naa != 5)
		return error_set(error, -EINVAL,
				 "wwn 0x%016llx is no NAA name: its first digit must be 2, 3 or 5",
				 (unsigned long long)wwn);
	unit->wwn = wwn ? wwn : scsi_name_naa(unit->vendor, unit->serial);
	return 0;
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
		  config->vendor ? config->vendor : SCSI_VENDOR_DEFAULT },
		{ unit->product, sizeof(unit->product), "product",
		  config->product ? config->product : SCSI_PRODUCT_DEFAULT },
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
		result = set_device_id(unit, config->device_id, error);
	if (result == 0)
		result = set_wwn(unit, config->wwn, error);
	return result;
}

/* ---- designators (SPC-4, 7.8.6) ---- */

enum code_set { BINARY = 1, ASCII = 2 };
enum association { OF_UNIT = 0x00, OF_PORT = 0x10 };
enum designator_type { T10_VENDOR = 1, NAA = 3, RELATIVE_PORT = 4, PORT_GROUP = 5 };

struct designator {
	enum code_set code_set;
	enum association association;
	enum designator_type type;
	uint8_t length, value[8 + DEVICE_ID_MAX];
};

static unsigned put_designator(const struct designator *designator, uint8_t *bytes)
{
	bytes[0] = (uint8_t)designator->code_set;
	bytes[1] = (uint8_t)(designator->association | designator->type);
	bytes[2] = 0;
	bytes[3] = designator->length;
	memcpy(bytes + 4, designator->value, designator->length);
	return 4u + designator->length;
}

static unsigned put_t10_vendor(const struct scsi_unit *unit, uint8_t *bytes)
{
	struct designator designator = { ASCII, OF_UNIT, T10_VENDOR };
	size_t length = strlen(unit->device_id);

	memset(designator.value, ' ', 8);
	memcpy(designator.value, unit->vendor, strlen(unit->vendor));
	memcpy(designator.value + 8, unit->device_id, length);
	designator.length = (uint8_t)(8 + length);
	return put_designator(&designator, bytes);
}

static unsigned put_naa(enum association association, uint64_t name, uint8_t *bytes)
{
	struct designator designator = { BINARY, association, NAA, .length = 8 };

	be64_put(designator.value, name);
	return put_designator(&designator, bytes);
}

static unsigned put_number(enum designator_type type, uint16_t number, uint8_t *bytes)
{
	struct designator designator = { BINARY, OF_PORT, type, .length = 4 };

	be16_put(designator.value + 2, number);
	return put_designator(&designator, bytes);
}

unsigned scsi_designators(const struct scsi_nexus *nexus, uint8_t *bytes, size_t size)
{
	const struct scsi_unit *unit = nexus->unit;
	unsigned length;

	assert(size >= (4 + 8 + DEVICE_ID_MAX) + 2 * (4 + 8) + 2 * (4 + 4));
	length = put_t10_vendor(unit, bytes);
	length += put_naa(OF_UNIT, unit->wwn, bytes + length);
	length += put_naa(OF_PORT, nexus->ports.target, bytes + length);
	length += put_number(RELATIVE_PORT, nexus->ports.relative_target_port, bytes + length);
	length += put_number(PORT_GROUP, SCSI_TARGET_PORT_GROUP, bytes + length);
	return length;
}
