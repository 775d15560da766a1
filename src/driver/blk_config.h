/* SPDX-License-Identifier: MIT */
/* virtio-blk's configuration space (virtio 1.3, 5.2.4) and features, put into words that a driver uses. Pure. */
#ifndef RINGLANE_DRIVER_BLK_CONFIG_H
#define RINGLANE_DRIVER_BLK_CONFIG_H

#include "base/error.h"

#include <linux/virtio_blk.h>
#include <ringlane/ringlane.h>
#include <stdint.h>

/* The features that this driver can use. */
uint64_t blk_features_known(void);
/*
 * The fields that the device chose: everything of *info from capacity to write_cache, and queue_max. info->features_acked
 * is set. A field counts only with its feature and when the device's space, size bytes long, has it. -EPROTO: nonsense.
 */
int blk_config_parse(const struct virtio_blk_config *config, uint32_t size,
		     struct ringlane_info *info, struct error *error);

#endif
