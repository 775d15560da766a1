/* SPDX-License-Identifier: MIT */
/*
 * For tests of the front end: a scripted back end on a thread of its own, which lacks or gets wrong what real ones lack or get
 * wrong. It remembers the requests that it got; they may be looked at after fake_peer_join().
 */
#ifndef RINGLANE_VHOST_USER_FAKE_PEER_H
#define RINGLANE_VHOST_USER_FAKE_PEER_H

#include "vhost_user/conn.h"

#include <pthread.h>

#define PEER_LOG_MAX 256
#define PEER_CONFIG_BYTE(index) ((uint8_t)((index) + 1))

/* What becomes of GET_CONFIG for more than config_size bytes. */
enum peer_config {
	CONFIG_NO_PAYLOAD, /* refused: header size 0 (libvhost-user) */
	CONFIG_ZERO_SIZE,  /* refused: 12 bytes, payload size 0 (rust-vmm) */
	CONFIG_SHORT,      /* answered with what there is */
	CONFIG_AS_ASKED,   /* answered in the size asked for, the rest as it was sent (SPDK) */
	CONFIG_CLOSES,     /* the connection ends */
};

/* What it does when a certain request comes. */
enum peer_trick {
	TRICK_NONE,
	TRICK_CLOSE,
	TRICK_CLOSE_IN_REPLY, /* after half of the reply */
	TRICK_MUTE,
	TRICK_REFUSE, /* acknowledges with 1 */
	TRICK_OTHER_REQUEST,
	TRICK_NO_REPLY_FLAG,
	TRICK_WRONG_SIZE,
	TRICK_WRONG_INDEX,
	TRICK_WRONG_VERSION,
	TRICK_SEND_FDS,
	TRICK_DRIBBLE, /* byte by byte */
};

struct fake_peer {
	/* the script */
	uint64_t features, protocol_features, queue_num, mem_slots;
	uint32_t config_size;
	enum peer_config config;
	enum vhu_request when;
	enum peer_trick trick;
	/* what it got */
	struct vhu_header log[PEER_LOG_MAX];
	unsigned log_count, fds_count;
	struct vhu_message last_table, last_region, last_addr, last_features;
	int channel_fd;

	struct vhu_conn conn;
	pthread_t thread;
};

/* Starts it; returns the front end's socket. */
int fake_peer_start(struct fake_peer *peer);
/* After the front end was closed. */
void fake_peer_join(struct fake_peer *peer);
unsigned fake_peer_count(const struct fake_peer *peer, enum vhu_request request);

#endif
