/* SPDX-License-Identifier: MIT */
/* For tests: what fake_scsi.c (rings, vhost-user) and fake_scsi_disk.c (a SCSI disk) share. */
#ifndef RINGLANE_DRIVER_FAKE_SCSI_INTERNAL_H
#define RINGLANE_DRIVER_FAKE_SCSI_INTERNAL_H

#include "driver/fake_scsi.h"

/* What the disk is. Its bytes are the same whatever the LUN. */
struct fake_disk_facts {
	struct fake_scsi_setup setup;
	uint32_t last_block; /* atomic */
	uint8_t bytes[FAKE_SCSI_BLOCKS * 512];
};

/* One command. */
struct fake_task {
	const uint8_t *request; /* header and CDB */
	uint32_t out_bytes, in_bytes;
	uint8_t data[65536]; /* to the device, then from it */
	uint32_t got;        /* of what goes back, at most in_bytes */
	struct fake_scsi_answer *answer;
};

void fake_task_run(struct fake_disk_facts *facts, struct fake_task *task);

#endif
