/* SPDX-License-Identifier: MIT */
/* A virtio-blk device as an export has it. Main thread. */
#include "daemon/export_internal.h"

#include "device/blk.h"

#include <errno.h>
#include <stdio.h>

static int make(struct export *export, struct error *error)
{
	const struct export_spec *spec = export->spec;
	struct blk_config config = {
		.node = export->config.node,
		.serial = spec->serial_text,
		.logical_block_size = (uint32_t)MIN(spec->logical_block_size, UINT32_MAX),
		.num_queues = (uint16_t)spec->num_queues,
		.writable = spec->writable,
	};
	struct blk_device *device;
	int result;

	if (schema_get(spec->tree, "logical-block-size") && config.logical_block_size == 0)
		return error_set(error, -EINVAL, "Parameter 'logical-block-size' must not be 0");
	result = blk_device_new(&config, &device, error);
	if (result == 0)
		export->device = device;
	return result;
}

static void free_device(void *device)
{
	blk_device_free(device);
}

static uint64_t features(const void *device)
{
	return blk_device_features(device);
}

static void set_acked(void *device, uint64_t acked)
{
	blk_device_set_acked(device, acked);
}

static void get_config(const void *device, uint32_t offset, void *bytes, uint32_t size)
{
	blk_device_get_config(device, offset, bytes, size);
}

static int set_config(void *device, uint32_t offset, const void *bytes, uint32_t size)
{
	return blk_device_set_config(device, offset, bytes, size);
}

static void reset(void *device)
{
	blk_device_reset(device);
}

static const struct lane_ops *lane_ops(unsigned index)
{
	return blk_lane_ops();
}

static const char *queue_name(unsigned index, char *text, size_t size)
{
	snprintf(text, size, "%u", index);
	return text;
}

static uint64_t node_size(const struct export *export)
{
	return block_node_size(export->config.node);
}

const struct export_device export_blk = {
	.protocol_features = 1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |
			     1ull << VHU_PROTOCOL_CONFIG |
			     1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS |
			     1ull << VHU_PROTOCOL_BACKEND_REQ | 1ull << VHU_PROTOCOL_RESET_DEVICE |
			     1ull << VHU_PROTOCOL_STATUS,
	.make = make,
	.free = free_device,
	.features = features,
	.set_acked = set_acked,
	.get_config = get_config,
	.set_config = set_config,
	.reset = reset,
	.lane_ops = lane_ops,
	.queue_name = queue_name,
	.size = node_size,
};
