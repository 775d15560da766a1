// SPDX-License-Identifier: MIT
/* Names as the specifications have them (virtio 1.3, 5.2.3 and 6; vhost-user, protocol features), without prefix. Pure. */
#include "tools/info_names.h"

#include "base/compiler.h"

#include <stdio.h>

static const char *const features[64] = {
	[1] = "SIZE_MAX",
	[2] = "SEG_MAX",
	[4] = "GEOMETRY",
	[5] = "RO",
	[6] = "BLK_SIZE",
	[9] = "FLUSH",
	[10] = "TOPOLOGY",
	[11] = "CONFIG_WCE",
	[12] = "MQ",
	[13] = "DISCARD",
	[14] = "WRITE_ZEROES",
	[15] = "LIFETIME",
	[16] = "SECURE_ERASE",
	[17] = "ZONED",
	[24] = "NOTIFY_ON_EMPTY",
	[26] = "LOG_ALL",
	[27] = "ANY_LAYOUT",
	[28] = "INDIRECT_DESC",
	[29] = "EVENT_IDX",
	[30] = "PROTOCOL_FEATURES",
	[32] = "VERSION_1",
	[33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED",
	[35] = "IN_ORDER",
	[36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",
	[38] = "NOTIFICATION_DATA",
	[39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",
	[41] = "ADMIN_VQ",
};

/* virtio 1.3, 5.6.3; above them the same as of every device */
static const char *const scsi_features[] = { "INOUT", "HOTPLUG", "CHANGE", "T10_PI" };

static const char *const protocol_features[64] = {
	[0] = "MQ",
	[1] = "LOG_SHMFD",
	[2] = "RARP",
	[3] = "REPLY_ACK",
	[4] = "NET_MTU",
	[5] = "BACKEND_REQ",
	[6] = "CROSS_ENDIAN",
	[7] = "CRYPTO_SESSION",
	[8] = "PAGEFAULT",
	[9] = "CONFIG",
	[10] = "BACKEND_SEND_FD",
	[11] = "HOST_NOTIFIER",
	[12] = "INFLIGHT_SHMFD",
	[13] = "RESET_DEVICE",
	[14] = "INBAND_NOTIFICATIONS",
	[15] = "CONFIGURE_MEM_SLOTS",
	[16] = "STATUS",
	[17] = "XEN_MMAP",
	[18] = "SHARED_OBJECT",
	[19] = "DEVICE_STATE",
	[20] = "GET_VRING_BASE_INFLIGHT",
};

static const char *name_of(const char *const *names, unsigned bit, char *buffer, size_t size)
{
	if (bit < 64 && names[bit])
		return names[bit];
	snprintf(buffer, size, "bit %u", bit);
	return buffer;
}

const char *info_feature_name(unsigned bit, char *buffer, size_t size)
{
	return name_of(features, bit, buffer, size);
}

const char *info_scsi_feature_name(unsigned bit, char *buffer, size_t size)
{
	if (bit < ARRAY_SIZE(scsi_features))
		return scsi_features[bit];
	if (bit >= 24)
		return name_of(features, bit, buffer, size);
	snprintf(buffer, size, "bit %u", bit);
	return buffer;
}

const char *info_protocol_feature_name(unsigned bit, char *buffer, size_t size)
{
	return name_of(protocol_features, bit, buffer, size);
}
