/* SPDX-License-Identifier: MIT */
/*
 * For tests: an owner of a back end that remembers what it was told, and a bench that connects a back end to a socket whose
 * other end the test holds. One thread. Fails the test through cmocka's assertions.
 */
#ifndef RINGLANE_VHOST_USER_FAKE_OWNER_H
#define RINGLANE_VHOST_USER_FAKE_OWNER_H

#include "vhost_user/backend.h"
#include "vhost_user/conn.h"

#define FAKE_QUEUES 4
#define FAKE_CONFIG_SIZE 60
#define FAKE_FEATURES (1ull << 32 | 1ull << 28 | 1ull << 29 | 1ull << 12)
#define FAKE_PROTOCOL                                                                   \
	(1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |                     \
	 1ull << VHU_PROTOCOL_BACKEND_REQ | 1ull << VHU_PROTOCOL_CONFIG |               \
	 1ull << VHU_PROTOCOL_RESET_DEVICE | 1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS | \
	 1ull << VHU_PROTOCOL_STATUS)

#define FAKE_MEMORY_SIZE (64u * 1024u)
#define FAKE_GUEST 0x100000ull
#define FAKE_USER 0x7f0000000000ull

enum fake_op {
	FAKE_NONE,
	FAKE_SET_FEATURES,
	FAKE_SET_CONFIG,
	FAKE_SET_MAP,
	FAKE_RING_START,
	FAKE_RING_STOP,
	FAKE_SET_CALL,
	FAKE_SET_KICK,
	FAKE_SET_ERR,
	FAKE_SET_ENABLED,
	FAKE_RESET,
	FAKE_OPS
};

struct fake_ring {
	bool running, enabled;
	struct vhu_ring given; /* the fds are open while it runs */
	uint16_t base;         /* what a stop answers */
};

struct fake_owner {
	uint64_t features;
	uint8_t config[FAKE_CONFIG_SIZE];
	struct mem_map *map;
	struct fake_ring rings[FAKE_QUEUES];
	unsigned calls[FAKE_OPS];
	enum fake_op last;
	int answers[FAKE_OPS]; /* 0, -errno or VHU_PENDING */
	struct mem_map *pending_map;
	unsigned pending_ring;
};

extern const struct vhu_backend_ops fake_owner_ops;
void fake_owner_init(struct fake_owner *owner);
/* Lets go of everything, as an owner does when the connection is over. */
void fake_owner_fini(struct fake_owner *owner);

struct fake_bench {
	struct fake_owner owner;
	struct vhu_backend *backend;
	struct vhu_conn client;
	int memory_fd;
	unsigned fds_before;
};

/* cmocka's set-up and tear-down; the latter fails when a file descriptor is left over. */
int fake_bench_setup(void **state);
int fake_bench_teardown(void **state);

unsigned fake_count_fds(void);
int fake_event_fd(void); /* a new one, checked */

/* Sends; fds in the message are closed here afterwards. */
void fake_send(struct fake_bench *bench, struct vhu_message *message);
/* Sends, lets the back end read; returns what vhu_backend_readable() says. */
int fake_give(struct fake_bench *bench, struct vhu_message message);
/* True when a message is there. */
bool fake_receive(struct fake_bench *bench, struct vhu_message *ret_message);
/* Sends with NEED_REPLY and returns the acknowledged value, which must be there. */
uint64_t fake_ack(struct fake_bench *bench, struct vhu_message message);
/* A question and its answer of 64 bits. */
uint64_t fake_ask(struct fake_bench *bench, enum vhu_request request);

struct vhu_message fake_u64(enum vhu_request request, uint64_t value);
struct vhu_message fake_state(enum vhu_request request, unsigned index, uint32_t value);
struct vhu_message fake_addr(unsigned index, uint64_t user_addr);
struct vhu_message fake_vring_fd(enum vhu_request request, unsigned index, int fd);
/* The whole memory as one region. */
struct vhu_message fake_table(struct fake_bench *bench);
struct vhu_message fake_region(struct fake_bench *bench, enum vhu_request request, unsigned page);

/* Protocol features and features (bit 30 included) are negotiated. */
void fake_negotiate(struct fake_bench *bench);
/* Everything of one ring but ENABLE; then with it. */
void fake_set_up_ring(struct fake_bench *bench, unsigned index);
void fake_start_ring(struct fake_bench *bench, unsigned index);

#endif
