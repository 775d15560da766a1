// SPDX-License-Identifier: MIT
/* The device's words are copied once, checked here, and used from the copy. */
#include "driver/blk_config.h"

#include "base/overflow.h"
#include "driver/queue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#define SECTOR_SHIFT 9
#define BLOCK_SIZE_MIN 512u
#define BLOCK_SIZE_MAX (1u << 20)
#define PHYSICAL_EXP_MAX 11 /* 2 GiB with the largest block */

#define HAS(config_size, field)                                       \
	((config_size) >= offsetof(struct virtio_blk_config, field) + \
				  sizeof(((struct virtio_blk_config *)0)->field))

static const uint8_t features_known[] = {
	VIRTIO_F_VERSION_1,        VIRTIO_RING_F_INDIRECT_DESC,
	VIRTIO_RING_F_EVENT_IDX,   VIRTIO_BLK_F_SIZE_MAX,
	VIRTIO_BLK_F_SEG_MAX,      VIRTIO_BLK_F_BLK_SIZE,
	VIRTIO_BLK_F_TOPOLOGY,     VIRTIO_BLK_F_RO,
	VIRTIO_BLK_F_FLUSH,        VIRTIO_BLK_F_CONFIG_WCE,
	VIRTIO_BLK_F_MQ,           VIRTIO_BLK_F_DISCARD,
	VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_F_SECURE_ERASE,
};

uint64_t blk_features_known(void)
{
	uint64_t features = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(features_known); i++)
		features |= 1ull << features_known[i];
	return features;
}

static bool acked(const struct ringlane_info *info, unsigned feature)
{
	return info->features_acked >> feature & 1;
}

static uint64_t sectors_to_bytes(uint32_t sectors)
{
	return (uint64_t)sectors << SECTOR_SHIFT;
}

static int parse_blocks(const struct virtio_blk_config *config, uint32_t size,
			struct ringlane_info *info, struct error *error)
{
	uint64_t sectors = le64toh(config->capacity);
	uint32_t block = BLOCK_SIZE_MIN;

	if (!HAS(size, capacity))
		return error_set(error, -EPROTO,
				 "the configuration space has %u bytes, no capacity", size);
	if (sectors > INT64_MAX >> SECTOR_SHIFT)
		return error_set(error, -EPROTO, "a capacity of %llu sectors is impossible",
				 (unsigned long long)sectors);
	if (acked(info, VIRTIO_BLK_F_BLK_SIZE) && HAS(size, blk_size))
		block = le32toh(config->blk_size);
	if (block < BLOCK_SIZE_MIN || block > BLOCK_SIZE_MAX || (block & (block - 1)))
		return error_set(error, -EPROTO, "a block size of %u bytes is impossible", block);
	info->capacity = sectors << SECTOR_SHIFT;
	info->logical_block_size = info->physical_block_size = block;
	info->optimal_io_size = 0;
	if (!acked(info, VIRTIO_BLK_F_TOPOLOGY) || !HAS(size, opt_io_size))
		return 0;
	info->physical_block_size = block << MIN(config->physical_block_exp, PHYSICAL_EXP_MAX);
	info->optimal_io_size = (uint64_t)le32toh(config->opt_io_size) * block;
	return 0;
}

/* No limit told means one segment, as Linux understands it, and so does 0. */
static void parse_segments(const struct virtio_blk_config *config, uint32_t size,
			   struct ringlane_info *info)
{
	info->seg_max = 1;
	info->size_max = 0;
	if (acked(info, VIRTIO_BLK_F_SEG_MAX) && HAS(size, seg_max))
		info->seg_max = MAX(1u, le32toh(config->seg_max));
	if (acked(info, VIRTIO_BLK_F_SIZE_MAX) && HAS(size, size_max))
		info->size_max = le32toh(config->size_max);
}

static void parse_ranges(const struct virtio_blk_config *config, uint32_t size,
			 struct ringlane_info *info)
{
	if (acked(info, VIRTIO_BLK_F_DISCARD) && HAS(size, discard_sector_alignment)) {
		info->discard_max = sectors_to_bytes(le32toh(config->max_discard_sectors));
		info->discard_alignment =
			sectors_to_bytes(le32toh(config->discard_sector_alignment));
		info->discard_ranges =
			MIN(MAX(1u, le32toh(config->max_discard_seg)), QUEUE_RANGES_MAX);
	}
	if (acked(info, VIRTIO_BLK_F_SECURE_ERASE) && HAS(size, secure_erase_sector_alignment)) {
		info->secure_erase_max =
			sectors_to_bytes(le32toh(config->max_secure_erase_sectors));
		info->secure_erase_alignment =
			sectors_to_bytes(le32toh(config->secure_erase_sector_alignment));
		info->secure_erase_ranges =
			MIN(MAX(1u, le32toh(config->max_secure_erase_seg)), QUEUE_RANGES_MAX);
	}
	if (acked(info, VIRTIO_BLK_F_WRITE_ZEROES) && HAS(size, write_zeroes_may_unmap)) {
		info->write_zeroes_max =
			sectors_to_bytes(le32toh(config->max_write_zeroes_sectors));
		info->write_zeroes_ranges =
			MIN(MAX(1u, le32toh(config->max_write_zeroes_seg)), QUEUE_RANGES_MAX);
		info->write_zeroes_may_unmap = config->write_zeroes_may_unmap != 0;
	}
}

/* virtio 1.3, 5.2.5: with CONFIG_WCE the byte says; without it, FLUSH means that there is a cache to flush. */
static void parse_cache(const struct virtio_blk_config *config, uint32_t size,
			struct ringlane_info *info)
{
	info->flush = acked(info, VIRTIO_BLK_F_FLUSH);
	info->write_cache = info->flush;
	if (acked(info, VIRTIO_BLK_F_CONFIG_WCE) && HAS(size, wce))
		info->write_cache = config->wce != 0;
}

int blk_config_parse(const struct virtio_blk_config *config, uint32_t size,
		     struct ringlane_info *info, struct error *error)
{
	int ret = parse_blocks(config, size, info, error);

	if (ret < 0)
		return ret;
	parse_segments(config, size, info);
	parse_ranges(config, size, info);
	parse_cache(config, size, info);
	info->read_only = acked(info, VIRTIO_BLK_F_RO);
	info->queue_max = 1;
	if (acked(info, VIRTIO_BLK_F_MQ) && HAS(size, num_queues))
		info->queue_max = MAX(1u, (unsigned)le16toh(config->num_queues));
	return 0;
}
