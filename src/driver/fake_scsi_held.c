// SPDX-License-Identifier: MIT
/* Commands that the test's adapter holds, and which task management functions end them. On the fake's thread. */
#include "driver/fake_scsi_internal.h"

#include "base/compiler.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

void fake_held_add(struct fake_held *held, unsigned ring, const uint8_t *header,
		   const struct virtq_chain *chain, const struct iovec *iov)
{
	unsigned count = chain->readable_count + chain->writable_count, i = 0;
	uint64_t tag;

	while (i < FAKE_HELD_MAX && held[i].ring)
		i++;
	assert(i < FAKE_HELD_MAX && count <= ARRAY_SIZE(held->iov));
	memcpy(&tag, header + 8, sizeof(tag));
	held[i] = (struct fake_held){ .ring = ring,
				      .chain = *chain,
				      .target = header[1],
				      .lun = (header[2] & 0x3fu) << 8 | header[3],
				      .tag = le64toh(tag) };
	memcpy(held[i].iov, iov, count * sizeof(*iov));
}

void fake_held_forget(struct fake_held *held, unsigned ring)
{
	for (unsigned i = 0; i < FAKE_HELD_MAX; i++)
		if (held[i].ring == ring)
			held[i].ring = 0;
}

void fake_tmf_parse(const struct virtio_scsi_ctrl_tmf_req *from, struct fake_scsi_tmf *ret_tmf)
{
	*ret_tmf = (struct fake_scsi_tmf){
		.subtype = le32toh(from->subtype),
		.target = from->lun[1],
		.lun = (from->lun[2] & 0x3fu) << 8 | from->lun[3],
		.tag = le64toh(from->tag),
	};
}

bool fake_tmf_ends(enum fake_scsi_lets_go lets_go, const struct fake_scsi_tmf *tmf,
		   const struct fake_held *held, uint8_t *ret_response)
{
	bool lun = tmf->target == held->target && tmf->lun == held->lun;

	*ret_response = VIRTIO_SCSI_S_RESET;
	switch (tmf->subtype) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
		*ret_response = VIRTIO_SCSI_S_ABORTED;
		return lets_go == FAKE_SCSI_LETS_GO_AT_ABORT && lun && tmf->tag == held->tag;
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		return lets_go == FAKE_SCSI_LETS_GO_AT_LUN_RESET && lun;
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		return lets_go == FAKE_SCSI_LETS_GO_AT_NEXUS_RESET && tmf->target == held->target;
	}
	return false;
}
