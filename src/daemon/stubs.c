/* SPDX-License-Identifier: MIT */
/* Stands in for the adapter until it is written. */
#include "device/scsi.h"

#include <errno.h>

int scsi_device_new(const struct scsi_device_config *config, struct scsi_device **ret_device,
		    struct error *error)
{
	return error_set(error, -ENOTSUP, "no SCSI adapter yet");
}
void scsi_device_free(struct scsi_device *device)
{
}
const struct lane_ops *scsi_lane_ops(unsigned index)
{
	return NULL;
}
const char *scsi_queue_name(unsigned index, char *text, size_t size)
{
	return text;
}
uint64_t scsi_device_features(const struct scsi_device *device)
{
	return 0;
}
void scsi_device_set_acked(struct scsi_device *device, uint64_t features)
{
}
void scsi_device_get_config(const struct scsi_device *device, uint32_t offset, void *bytes,
			    uint32_t size)
{
}
int scsi_device_set_config(struct scsi_device *device, uint32_t offset, const void *bytes,
			   uint32_t size)
{
	return -EINVAL;
}
void scsi_device_reset(struct scsi_device *device)
{
}
void scsi_device_set_loop(struct scsi_device *device, unsigned index, struct loop *loop)
{
}
void scsi_device_forget_loops(struct scsi_device *device, void (*done)(void *opaque), void *opaque)
{
	done(opaque);
}
int scsi_disk_new(const struct scsi_unit_config *config, struct scsi_disk **ret_disk,
		  struct error *error)
{
	return -ENOTSUP;
}
void scsi_disk_free(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque)
{
	done(opaque);
}
struct scsi_unit *scsi_disk_unit(const struct scsi_disk *disk)
{
	return NULL;
}
int scsi_device_pick_address(const struct scsi_device *device, int target, int lun,
			     uint16_t *ret_target, uint16_t *ret_lun, struct error *error)
{
	return -ENOSPC;
}
int scsi_device_add_lun(struct scsi_device *device, struct scsi_disk *disk, uint16_t target,
			uint16_t lun, struct scsi_lun **ret_lun, struct error *error)
{
	return -ENOTSUP;
}
void scsi_lun_remove(struct scsi_lun *lun, void (*done)(void *opaque), void *opaque)
{
	done(opaque);
}
void scsi_lun_get_address(const struct scsi_lun *lun, uint16_t *ret_target, uint16_t *ret_lun)
{
	*ret_target = *ret_lun = 0;
}
void scsi_disk_drain(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque)
{
	done(opaque);
}
void scsi_disk_release(struct scsi_disk *disk)
{
}
void scsi_disk_capacity_changed(struct scsi_disk *disk)
{
}
void scsi_lun_get_stats(const struct scsi_lun *lun, struct scsi_lun_stats *ret_stats)
{
	*ret_stats = (struct scsi_lun_stats){ 0 };
}
