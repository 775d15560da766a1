/* SPDX-License-Identifier: MIT */
/* For tests: what fake_scsi.c (rings, vhost-user), fake_scsi_held.c (commands that are held) and
 * fake_scsi_disk.c (a SCSI disk) share. */
#ifndef RINGLANE_DRIVER_FAKE_SCSI_INTERNAL_H
#define RINGLANE_DRIVER_FAKE_SCSI_INTERNAL_H

#include "driver/fake_scsi.h"
#include "virtq/virtq.h"

#include <sys/uio.h>

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

#define FAKE_HELD_MAX 16u

/* A command that is held. */
struct fake_held {
	unsigned ring; /* 0: none */
	struct virtq_chain chain;
	struct iovec iov[8];
	unsigned target, lun;
	uint64_t tag;
};

/* held: FAKE_HELD_MAX of them; the test holds no more. */
void fake_held_add(struct fake_held *held, unsigned ring, const uint8_t *header,
		   const struct virtq_chain *chain, const struct iovec *iov);
/* Those of a ring, which is not the device's any more. */
void fake_held_forget(struct fake_held *held, unsigned ring);
/* Does this function end that command? With what response. */
bool fake_tmf_ends(enum fake_scsi_lets_go lets_go, const struct fake_scsi_tmf *tmf,
		   const struct fake_held *held, uint8_t *ret_response);
void fake_tmf_parse(const struct virtio_scsi_ctrl_tmf_req *from, struct fake_scsi_tmf *ret_tmf);
void fake_task_run(struct fake_disk_facts *facts, struct fake_task *task);

#endif
