/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: the configuration space (virtio 1.3, 5.6.4), and what follows from its two writable fields. Little endian.
 *
 * Main thread.
 */
#include "device/scsi_internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MAX_SECTORS 0xffffu
#define CMD_PER_LUN 128u

static_assert(sizeof(struct virtio_scsi_config) == 36, "virtio 1.3, 5.6.4");
static_assert(offsetof(struct virtio_scsi_config, sense_size) == 20, "virtio 1.3, 5.6.4");
static_assert(offsetof(struct virtio_scsi_config, max_lun) == 32, "virtio 1.3, 5.6.4");

static union scsi_layout layout_get(const struct scsi_device *device)
{
	return (union scsi_layout){ .word = load_relaxed(&device->layout.word) };
}

void scsi_layout_reset(struct scsi_device *device)
{
	union scsi_layout layout = {
		.cdb_size = device->cdb_size_default,
		.sense_size = device->sense_size_default,
		.cdb_offset = SCSI_HEADER_BYTES,
	};

	store_relaxed(&device->layout.word, layout.word);
}

void scsi_layout_set_pi(struct scsi_device *device, bool pi)
{
	union scsi_layout layout = layout_get(device);

	layout.cdb_offset = pi ? SCSI_HEADER_PI_BYTES : SCSI_HEADER_BYTES;
	store_relaxed(&device->layout.word, layout.word);
}

void scsi_device_get_config(const struct scsi_device *device, uint32_t offset, void *bytes,
			    uint32_t size)
{
	union scsi_layout layout = layout_get(device);
	struct virtio_scsi_config config = {
		.num_queues = htole32(device->num_queues),
		.seg_max = htole32(SCSI_SEG_MAX),
		.max_sectors = htole32(MAX_SECTORS),
		.cmd_per_lun = htole32(CMD_PER_LUN),
		.event_info_size = htole32(sizeof(struct virtio_scsi_event)),
		.sense_size = htole32(layout.sense_size),
		.cdb_size = htole32(layout.cdb_size),
		.max_target = htole16(SCSI_TARGETS_MAX - 1),
		.max_lun = htole32(SCSI_LUNS_MAX - 1),
	};

	memset(bytes, 0, size);
	if (offset < sizeof(config))
		memcpy(bytes, (const char *)&config + offset, MIN(size, sizeof(config) - offset));
}

int scsi_device_set_config(struct scsi_device *device, uint32_t offset, const void *bytes,
			   uint32_t size)
{
	union scsi_layout layout = layout_get(device);
	uint32_t value;

	if (size != sizeof(value))
		return -EINVAL;
	memcpy(&value, bytes, sizeof(value));
	value = le32toh(value);
	if (offset == offsetof(struct virtio_scsi_config, sense_size)) {
		if (value > SCSI_SENSE_SIZE_MAX)
			return -EINVAL;
		layout.sense_size = (uint16_t)value;
	} else if (offset == offsetof(struct virtio_scsi_config, cdb_size)) {
		if (value < SCSI_CDB_SIZE_MIN || value > SCSI_CDB_MAX)
			return -EINVAL;
		layout.cdb_size = (uint16_t)value;
	} else {
		return -EINVAL;
	}
	store_relaxed(&device->layout.word, layout.word);
	return 0;
}
