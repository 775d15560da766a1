// SPDX-License-Identifier: MIT
/*
 * Which LUNs there are: REPORT LUNS (SPC-4, 6.33) to LUN 0 of each target that the device may have, or to the target's well-known
 * LUN when there is no LUN 0; then INQUIRY. A target that does not know REPORT LUNS has a LUN 0 at most.
 *
 * The list comes from the device: as many entries as fit into the scratch memory are looked at.
 *
 * The owner's thread, which has the queue at its disposal.
 */
#include "driver/device.h"
#include "driver/scsi.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	INQUIRY = 0x12,
	REPORT_LUNS = 0xa0,
};

struct scan {
	struct ringlane_device *device;
	struct ringlane_queue *queue;
	struct ringlane_scsi_unit *units;
	unsigned max, count;
	struct error *error;
	uint8_t *list; /* a copy of the answer */
};

static bool ends_scan(int ret)
{
	return ret == -ETIMEDOUT || ret == -ECONNRESET || ret == -EAGAIN || ret == -EBUSY ||
	       ret == -EPROTO;
}

/* 0: whatever there is has been counted. */
static int scan_unit(struct scan *scan, unsigned target, unsigned lun)
{
	const struct scsi_exec exec = {
		.address = scsi_address(target, lun),
		.cdb = { INQUIRY, 0, 0, 0, 96 },
		.direction = RINGLANE_SCSI_DATA_IN,
		.bytes = 96,
	};
	struct ringlane_scsi_unit unit = { (uint16_t)target, (uint16_t)lun, 0, "", "", "" };
	struct ringlane_scsi_result result;
	uint8_t bytes[96];
	unsigned got;
	int ret = scsi_exec(scan->queue, &exec, scan->device->scsi.timeout_ms, &result, &got);

	if (ends_scan(ret))
		return scsi_error(scan->device, ret, exec.address, "INQUIRY", &result, scan->error);
	if (ret < 0)
		return 0;
	memcpy(bytes, scan->queue->scsi.scratch, got);
	if (!scsi_parse_inquiry(bytes, got, &unit))
		return 0;
	if (scan->count < scan->max)
		scan->units[scan->count] = unit;
	scan->count++;
	return 0;
}

static int scan_list(struct scan *scan, unsigned target, unsigned bytes)
{
	unsigned count = scsi_parse_lun_count(scan->list, bytes);
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < count; i++) {
		int lun = scsi_parse_lun(scan->list, i);

		if (lun >= 0)
			ret = scan_unit(scan, target, (unsigned)lun);
	}
	return ret;
}

/* *ret_got: bytes of the list. Returns what scsi_exec does. */
static int report_luns(struct scan *scan, unsigned target, unsigned lun, unsigned *ret_got,
		       struct ringlane_scsi_result *ret_result)
{
	struct scsi_exec exec = {
		.address = scsi_address(target, lun),
		.cdb = { REPORT_LUNS },
		.direction = RINGLANE_SCSI_DATA_IN,
		.bytes = QUEUE_SCRATCH_BYTES,
	};
	const uint32_t room = htobe32(QUEUE_SCRATCH_BYTES);
	int ret;

	memcpy(exec.cdb + 6, &room, sizeof(room));
	ret = scsi_exec(scan->queue, &exec, scan->device->scsi.timeout_ms, ret_result, ret_got);
	if (ret == 0)
		memcpy(scan->list, scan->queue->scsi.scratch, *ret_got);
	else if (ends_scan(ret))
		scsi_error(scan->device, ret, exec.address, "REPORT LUNS", ret_result, scan->error);
	return ret;
}

static int scan_target(struct scan *scan, unsigned target)
{
	struct ringlane_scsi_result result;
	unsigned got;
	int ret = report_luns(scan, target, 0, &got, &result);

	if (result.response == RINGLANE_SCSI_BAD_TARGET)
		return 0;
	if (ret == -ENXIO) /* it has no LUN 0 */
		ret = report_luns(scan, target, SCSI_LUN_REPORT_LUNS, &got, &result);
	if (ends_scan(ret))
		return ret;
	if (ret == -ENXIO)
		return 0;
	return ret < 0 ? scan_unit(scan, target, 0) : scan_list(scan, target, got);
}

int ringlane_scsi_scan(struct ringlane_device *device, struct ringlane_queue *queue,
		       struct ringlane_scsi_unit *units, unsigned max, struct ringlane_error *error)
{
	struct scan scan = { .device = device, .units = units, .max = max };
	int ret = scsi_queue_choose(device, queue, &scan.queue, error_of(error));

	if (ret < 0)
		return ret;
	scan.error = error_of(error);
	scan.list = malloc(QUEUE_SCRATCH_BYTES);
	if (!scan.list)
		return error_set(scan.error, -ENOMEM, "out of memory");
	for (unsigned target = 0; ret == 0 && target <= device->scsi.config.target_max; target++)
		ret = scan_target(&scan, target);
	free(scan.list);
	return ret < 0 ? ret : (int)scan.count;
}
