/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk: the configuration space (virtio 1.3, 5.2.4), made anew for each read so that it is never stale. Little endian.
 *
 * Fields of features that are not offered stay 0. Main thread.
 */
#include "device/blk_internal.h"

#include <endian.h>
#include <string.h>

static_assert(offsetof(struct virtio_blk_config, capacity) == 0, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, seg_max) == 12, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, blk_size) == 20, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, physical_block_exp) == 24, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, wce) == 32, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, num_queues) == 34, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36, "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, max_write_zeroes_sectors) == 48,
	      "virtio 1.3, 5.2.4");
static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 56,
	      "virtio 1.3, 5.2.4");

static uint8_t log2_of(uint32_t power)
{
	return (uint8_t)__builtin_ctz(power);
}

static void config_topology(const struct blk_device *device, struct virtio_blk_config *config)
{
	const struct block_limits *limits = &device->node->limits;
	uint32_t physical = MAX(limits->physical_block_size, device->block_size);

	config->blk_size = htole32(device->block_size);
	config->physical_block_exp = log2_of(physical / device->block_size);
	config->min_io_size = htole16((uint16_t)MIN(physical / device->block_size, UINT16_MAX));
	config->opt_io_size = htole32(limits->optimal_io_size / device->block_size);
}

static uint32_t alignment_sectors(const struct blk_device *device, uint32_t bytes)
{
	return MAX(bytes, device->block_size) / BLOCK_SECTOR;
}

static void config_discard(const struct blk_device *device, struct virtio_blk_config *config)
{
	const struct block_limits *limits = &device->node->limits;

	if (device->discard_sectors_max == 0)
		return;
	config->max_discard_sectors = htole32(device->discard_sectors_max);
	config->max_discard_seg = htole32(BLK_RANGES_MAX);
	config->discard_sector_alignment =
		htole32(alignment_sectors(device, limits->discard_alignment));
}

static void config_write_zeroes(const struct blk_device *device, struct virtio_blk_config *config)
{
	if (device->zeroes_sectors_max == 0)
		return;
	config->max_write_zeroes_sectors = htole32(device->zeroes_sectors_max);
	config->max_write_zeroes_seg = htole32(BLK_RANGES_MAX);
	config->write_zeroes_may_unmap = device->discard_sectors_max != 0;
}

static void config_make(const struct blk_device *device, struct virtio_blk_config *config)
{
	uint64_t size = block_node_size(device->node) & ~(uint64_t)device->misaligned;

	memset(config, 0, sizeof(*config));
	config->capacity = htole64(size / BLOCK_SECTOR);
	config->size_max = htole32(BLK_SIZE_MAX);
	config->seg_max = htole32(BLK_SEG_MAX);
	config->wce = device->wce;
	config->num_queues = htole16(device->num_queues);
	config_topology(device, config);
	config_discard(device, config);
	config_write_zeroes(device, config);
}

void blk_device_get_config(const struct blk_device *device, uint32_t offset, void *bytes,
			   uint32_t size)
{
	struct virtio_blk_config config;

	memset(bytes, 0, size);
	if (offset >= sizeof(config))
		return;
	config_make(device, &config);
	memcpy(bytes, (const char *)&config + offset, MIN(size, sizeof(config) - offset));
}
