/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi's configuration space (virtio 1.3, 5.6.4) and features, put into words that a driver uses. Pure.
 *
 * Many back ends have none (vhost-user leaves it to the front end): then it is made up, with the limits that all of them
 * honour.
 */
#ifndef RINGLANE_DRIVER_SCSI_CONFIG_H
#define RINGLANE_DRIVER_SCSI_CONFIG_H

#include "base/error.h"

#include <linux/virtio_scsi.h>
#include <ringlane/ringlane.h>
#include <stdbool.h>
#include <stdint.h>

#define SCSI_CDB_SIZE_MIN 16u
#define SCSI_CDB_SIZE_MAX 260u  /* SPC-4: of a variable length CDB */
#define SCSI_SENSE_SIZE_MIN 14u /* response code to ASCQ */
#define SCSI_SENSE_SIZE_MAX 252u
#define SCSI_RINGS_FIXED 2u /* control, event */

/* In host order, checked. */
struct scsi_config {
	unsigned queue_max; /* request queues */
	uint32_t seg_max;
	uint64_t request_max; /* bytes */
	unsigned cdb_size, sense_size;
	unsigned target_max, lun_max; /* inclusive */
};

static inline bool scsi_cdb_size_is_valid(unsigned size)
{
	return size >= SCSI_CDB_SIZE_MIN && size <= SCSI_CDB_SIZE_MAX;
}

static inline bool scsi_sense_size_is_valid(unsigned size)
{
	return size >= SCSI_SENSE_SIZE_MIN && size <= SCSI_SENSE_SIZE_MAX;
}

/* The features that this driver can use. */
uint64_t scsi_features_known(void);
/* What a back end without a configuration space is taken to have. ring_max: all rings. */
void scsi_config_make_up(struct scsi_config *config, unsigned ring_max);
/* A field counts only when the device's space, size bytes long, has it. -EPROTO: nonsense. */
int scsi_config_parse(const struct virtio_scsi_config *wire, uint32_t size, unsigned ring_max,
		      struct scsi_config *config, struct error *error);

#endif
