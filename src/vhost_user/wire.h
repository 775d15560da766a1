/* SPDX-License-Identifier: MIT */
/* vhost-user on the wire: request numbers, payloads, feature bits. Facts of the specification only; native endian. */
#ifndef RINGLANE_VHOST_USER_WIRE_H
#define RINGLANE_VHOST_USER_WIRE_H

#include <stdint.h>

enum vhu_request {
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_RESET_OWNER = 4,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_LOG_BASE = 6,
	VHU_SET_LOG_FD = 7,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_SEND_RARP = 19,
	VHU_NET_SET_MTU = 20,
	VHU_SET_BACKEND_REQ_FD = 21,
	VHU_IOTLB_MSG = 22,
	VHU_SET_VRING_ENDIAN = 23,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
	VHU_CREATE_CRYPTO_SESSION = 26,
	VHU_CLOSE_CRYPTO_SESSION = 27,
	VHU_POSTCOPY_ADVISE = 28,
	VHU_POSTCOPY_LISTEN = 29,
	VHU_POSTCOPY_END = 30,
	VHU_GET_INFLIGHT_FD = 31,
	VHU_SET_INFLIGHT_FD = 32,
	VHU_GPU_SET_SOCKET = 33,
	VHU_RESET_DEVICE = 34,
	VHU_VRING_KICK = 35,
	VHU_GET_MAX_MEM_SLOTS = 36,
	VHU_ADD_MEM_REG = 37,
	VHU_REM_MEM_REG = 38,
	VHU_SET_STATUS = 39,
	VHU_GET_STATUS = 40,
	VHU_REQUEST_MAX
};

enum vhu_backend_request { VHU_BACKEND_IOTLB_MSG = 1, VHU_BACKEND_CONFIG_CHANGE_MSG = 2 };

enum vhu_protocol_feature {
	VHU_PROTOCOL_MQ = 0,
	VHU_PROTOCOL_LOG_SHMFD = 1,
	VHU_PROTOCOL_REPLY_ACK = 3,
	VHU_PROTOCOL_BACKEND_REQ = 5,
	VHU_PROTOCOL_CONFIG = 9,
	VHU_PROTOCOL_BACKEND_SEND_FD = 10,
	VHU_PROTOCOL_INFLIGHT_SHMFD = 12,
	VHU_PROTOCOL_RESET_DEVICE = 13,
	VHU_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
	VHU_PROTOCOL_STATUS = 16,
};

#define VHU_F_PROTOCOL_FEATURES 30 /* in the virtio feature word: bit 30 */

#define VHU_VERSION 1u
#define VHU_FLAG_VERSION_MASK 3u
#define VHU_FLAG_REPLY (1u << 2)
#define VHU_FLAG_NEED_REPLY (1u << 3)

#define VHU_VRING_INDEX_MASK 0xffu
#define VHU_VRING_NOFD (1u << 8)

#define VHU_CONFIG_MAX 256u
#define VHU_FDS_MAX 8u
#define VHU_BASELINE_REGIONS 8u
#define VHU_RING_SIZE_MAX 1024u
#define VHU_PAYLOAD_MAX 268u /* struct vhu_config is the longest */

struct vhu_header {
	uint32_t request, flags, size;
};
struct vhu_vring_state {
	uint32_t index, num;
};
struct vhu_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};
struct vhu_region {
	uint64_t guest_addr, size, user_addr, mmap_offset;
};
struct vhu_memory {
	uint32_t count, padding;
	struct vhu_region regions[VHU_BASELINE_REGIONS];
};
struct vhu_single_region {
	uint64_t padding;
	struct vhu_region region;
};
struct vhu_config {
	uint32_t offset, size, flags;
	uint8_t bytes[VHU_CONFIG_MAX];
};

/* What a request is called in a sentence: "SET_MEM_TABLE"; "request 99" has no name: NULL. */
const char *vhu_request_name(uint32_t request);

union vhu_payload {
	uint64_t u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_memory memory;
	struct vhu_single_region region;
	struct vhu_config config;
};

#endif
