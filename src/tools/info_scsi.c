// SPDX-License-Identifier: MIT
/* Asks an adapter for its LUNs and each of them for what it is; a LUN that cannot be opened is told with the reason. */
#include "tools/info_scsi.h"

#include <stdio.h>
#include <string.h>

static void lun_read(struct ringlane_device *device, struct ringlane_queue *queue,
		     const struct ringlane_scsi_unit *unit, struct ringlane_lun_info *info,
		     char *text, size_t size)
{
	struct error error = { .code = 0 };
	struct ringlane_lun *lun;

	*info = (struct ringlane_lun_info){ .unit = *unit };
	if (ringlane_lun_open(device, queue, unit->target, unit->lun, &lun, public_error(&error)) <
	    0) {
		snprintf(text, size, "%.*s", (int)size - 1, error.text);
		return;
	}
	ringlane_lun_get_info(lun, info);
	ringlane_lun_close(lun);
}

int info_luns_read(struct ringlane_device *device, struct info_luns *luns, struct error *error)
{
	struct ringlane_queue *queue = ringlane_queue_get(device, 0);
	struct ringlane_scsi_unit units[INFO_LUNS_MAX];
	int count = ringlane_scsi_scan(device, queue, units, INFO_LUNS_MAX, public_error(error));

	if (count < 0)
		return count;
	*luns = (struct info_luns){ .there = (unsigned)count };
	luns->count = MIN(luns->there, INFO_LUNS_MAX);
	for (unsigned i = 0; i < luns->count; i++)
		lun_read(device, queue, &units[i], &luns->luns[i].info, luns->luns[i].error,
			 sizeof(luns->luns[i].error));
	return 0;
}

/* ---- for a person ---- */

static void print_lun(const struct ringlane_lun_info *info, const char *error)
{
	const struct ringlane_scsi_unit *unit = &info->unit;
	char title[32];

	snprintf(title, sizeof(title), "target %u, LUN %u", unit->target, unit->lun);
	printf("%-22s %s %s %s", title, unit->vendor, unit->product, unit->revision);
	if (unit->type)
		printf(", device type %u", unit->type);
	if (info->serial[0])
		printf(", serial %s", info->serial);
	if (info->wwn)
		printf(", naa.%016llx", (unsigned long long)info->wwn);
	if (*error)
		printf("\n%-22s %s\n", "", error);
	else if (unit->type)
		putchar('\n');
	else
		printf("\n%-22s %llu bytes, blocks of %u (physical %u), %s, write cache %s%s\n", "",
		       (unsigned long long)info->capacity, info->logical_block_size,
		       info->physical_block_size, info->read_only ? "read-only" : "read-write",
		       info->write_cache ? "on" : "off", info->thin ? ", thin" : "");
}

void info_luns_print(const struct info_luns *luns)
{
	printf("%-22s %u\n", "LUNs", luns->there);
	for (unsigned i = 0; i < luns->count; i++)
		print_lun(&luns->luns[i].info, luns->luns[i].error);
	if (luns->count < luns->there)
		printf("%-22s and %u more\n", "", luns->there - luns->count);
}

/* ---- for a program ---- */

static json_t *lun_json(const struct ringlane_lun_info *info, const char *error)
{
	const struct ringlane_scsi_unit *unit = &info->unit;
	char wwn[24] = "";
	json_t *object;

	if (info->wwn)
		snprintf(wwn, sizeof(wwn), "naa.%016llx", (unsigned long long)info->wwn);
	object = json_pack("{s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "target", unit->target,
			   "lun", unit->lun, "device-type", unit->type, "vendor", unit->vendor,
			   "product", unit->product, "revision", unit->revision, "serial",
			   info->serial, "wwn", wwn);
	if (*error) {
		json_object_set_new(object, "error", json_string(error));
		return object;
	}
	json_object_update_new(
		object, json_pack("{s:I, s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:I, s:I}", "capacity",
				  (json_int_t)info->capacity, "logical-block-size",
				  (json_int_t)info->logical_block_size, "physical-block-size",
				  (json_int_t)info->physical_block_size, "read-only",
				  info->read_only, "write-cache", info->write_cache, "thin",
				  info->thin, "request-max", (json_int_t)info->request_max,
				  "discard-max", (json_int_t)info->discard_max, "write-zeroes-max",
				  (json_int_t)info->write_zeroes_max, "compare-write-max",
				  (json_int_t)info->compare_write_max));
	return object;
}

json_t *info_luns_json(const struct info_luns *luns)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < luns->count; i++)
		json_array_append_new(array, lun_json(&luns->luns[i].info, luns->luns[i].error));
	return array;
}
