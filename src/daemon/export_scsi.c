/* SPDX-License-Identifier: MIT */
/*
 * A virtio-scsi adapter as an export has it. Its disks come and go by device.c.
 *
 * The protocol feature CONFIG is not offered: QEMU keeps the configuration space of this device itself, and says so in a warning
 * when a back end offers to. Without it there is nothing that the back end could ask the front end (BACKEND_REQ): changes of size
 * reach the driver through the event queue. Main thread.
 */
#include "daemon/export_internal.h"

#include "device/scsi.h"

static int make(struct export *export, struct error *error)
{
	const struct export_spec *spec = export->spec;
	struct scsi_device_config config = {
		.main_loop = export->loop,
		.num_queues = (uint16_t)spec->num_queues,
		.cdb_size = (uint32_t)spec->cdb_size,
		.sense_size = (uint32_t)spec->sense_size,
		.ports = { .initiator = scsi_name_naa("initiator", spec->id),
			   .target = scsi_name_naa("target", spec->id),
			   .relative_target_port = export->config.relative_port },
	};
	struct scsi_device *device;
	int result = scsi_device_new(&config, &device, error);

	if (result == 0)
		export->device = device;
	return result;
}

static void free_device(void *device)
{
	scsi_device_free(device);
}

static uint64_t features(const void *device)
{
	return scsi_device_features(device);
}

static void set_acked(void *device, uint64_t acked)
{
	scsi_device_set_acked(device, acked);
}

static void get_config(const void *device, uint32_t offset, void *bytes, uint32_t size)
{
	scsi_device_get_config(device, offset, bytes, size);
}

static int set_config(void *device, uint32_t offset, const void *bytes, uint32_t size)
{
	return scsi_device_set_config(device, offset, bytes, size);
}

static void reset(void *device)
{
	scsi_device_reset(device);
}

static void set_loop(void *device, unsigned index, struct loop *loop)
{
	if (index >= SCSI_QUEUE_FIRST)
		scsi_device_set_loop(device, index, loop);
}

static void forget_loops(void *device, void (*done)(void *opaque), void *opaque)
{
	scsi_device_forget_loops(device, done, opaque);
}

const struct export_device export_scsi = {
	.protocol_features = 1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |
			     1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS |
			     1ull << VHU_PROTOCOL_RESET_DEVICE | 1ull << VHU_PROTOCOL_STATUS,
	.fixed_queues = SCSI_QUEUE_FIRST,
	.make = make,
	.free = free_device,
	.features = features,
	.set_acked = set_acked,
	.get_config = get_config,
	.set_config = set_config,
	.reset = reset,
	.lane_ops = scsi_lane_ops,
	.queue_name = scsi_queue_name,
	.set_loop = set_loop,
	.forget_loops = forget_loops,
};

struct scsi_device *export_scsi_device(const struct export *export)
{
	return export->type == &export_scsi ? export->device : NULL;
}
