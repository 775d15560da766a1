// SPDX-License-Identifier: MIT
/* The device's words are copied once, checked here, and used from the copy. */
#include "driver/scsi_config.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#define SEG_MAX_USUAL 126u /* of QEMU, SPDK, rust-vmm, ringlaned */
#define MAX_SECTORS_USUAL 0xffffu
#define SECTOR_SHIFT 9
#define TARGETS_MAX 256u
#define LUNS_MAX 16384u

#define HAS(config_size, field)                                        \
	((config_size) >= offsetof(struct virtio_scsi_config, field) + \
				  sizeof(((struct virtio_scsi_config *)0)->field))

uint64_t scsi_features_known(void)
{
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
	       1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_SCSI_F_HOTPLUG |
	       1ull << VIRTIO_SCSI_F_CHANGE;
}

void scsi_config_make_up(struct scsi_config *config, unsigned ring_max)
{
	*config = (struct scsi_config){
		.queue_max = ring_max > SCSI_RINGS_FIXED ? ring_max - SCSI_RINGS_FIXED : 0,
		.seg_max = SEG_MAX_USUAL,
		.request_max = (uint64_t)MAX_SECTORS_USUAL << SECTOR_SHIFT,
		.cdb_size = VIRTIO_SCSI_CDB_DEFAULT_SIZE,
		.sense_size = VIRTIO_SCSI_SENSE_DEFAULT_SIZE,
		.target_max = TARGETS_MAX - 1,
		.lun_max = LUNS_MAX - 1,
	};
}

/* virtio 1.3, 5.6.4: both sizes are at their defaults after a reset, whatever they were before. */
static int parse_sizes(const struct virtio_scsi_config *wire, uint32_t size,
		       struct scsi_config *config, struct error *error)
{
	if (HAS(size, sense_size))
		config->sense_size = le32toh(wire->sense_size);
	if (HAS(size, cdb_size))
		config->cdb_size = le32toh(wire->cdb_size);
	if (!scsi_sense_size_is_valid(config->sense_size))
		return error_set(error, -EPROTO,
				 "sense data of %u bytes are impossible: is it a SCSI adapter?",
				 config->sense_size);
	if (!scsi_cdb_size_is_valid(config->cdb_size))
		return error_set(error, -EPROTO, "CDBs of %u bytes are impossible",
				 config->cdb_size);
	return 0;
}

int scsi_config_parse(const struct virtio_scsi_config *wire, uint32_t size, unsigned ring_max,
		      struct scsi_config *config, struct error *error)
{
	scsi_config_make_up(config, ring_max);
	if (HAS(size, num_queues))
		config->queue_max = MIN(le32toh(wire->num_queues), config->queue_max);
	if (HAS(size, seg_max))
		config->seg_max = MAX(1u, le32toh(wire->seg_max));
	if (HAS(size, max_sectors) && wire->max_sectors)
		config->request_max = (uint64_t)le32toh(wire->max_sectors) << SECTOR_SHIFT;
	if (HAS(size, max_target))
		config->target_max = MIN(le16toh(wire->max_target), TARGETS_MAX - 1);
	if (HAS(size, max_lun))
		config->lun_max = MIN(le32toh(wire->max_lun), LUNS_MAX - 1);
	return parse_sizes(wire, size, config, error);
}
