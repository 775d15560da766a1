// SPDX-License-Identifier: MIT
/* The scripted back end of the front end's tests. */
#include "vhost_user/fake_peer.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_DEADLINE_NS (20 * NS_PER_S)

static struct vhu_message reply_u64(uint64_t value)
{
	struct vhu_message reply = vhu_message_make(0, sizeof(value));

	reply.payload.u64 = value;
	return reply;
}

static struct vhu_message reply_config(const struct fake_peer *peer,
				       const struct vhu_message *request)
{
	uint32_t asked = request->payload.config.size, size = MIN(asked, peer->config_size);
	struct vhu_message reply = *request;

	reply.fd_count = 0;
	for (uint32_t i = 0; i < size; i++)
		reply.payload.config.bytes[i] = PEER_CONFIG_BYTE(i);
	if (asked <= peer->config_size || peer->config == CONFIG_AS_ASKED)
		return reply;
	if (peer->config == CONFIG_NO_PAYLOAD)
		return vhu_message_make(0, 0);
	reply.payload.config.size = peer->config == CONFIG_SHORT ? size : 0;
	reply.header.size = 12 + reply.payload.config.size;
	return reply;
}

/* False: this request has no reply of its own. */
static bool own_reply(const struct fake_peer *peer, const struct vhu_message *request,
		      struct vhu_message *ret_reply)
{
	switch (request->header.request) {
	case VHU_GET_FEATURES:
		*ret_reply = reply_u64(peer->features);
		return true;
	case VHU_GET_PROTOCOL_FEATURES:
		*ret_reply = reply_u64(peer->protocol_features);
		return true;
	case VHU_GET_QUEUE_NUM:
		*ret_reply = reply_u64(peer->queue_num);
		return true;
	case VHU_GET_MAX_MEM_SLOTS:
		*ret_reply = reply_u64(peer->mem_slots);
		return true;
	case VHU_GET_CONFIG:
		*ret_reply = reply_config(peer, request);
		return true;
	case VHU_GET_VRING_BASE:
		*ret_reply = *request;
		ret_reply->payload.state.num = 77;
		return true;
	}
	return false;
}

static void peer_remember(struct fake_peer *peer, struct vhu_message *request)
{
	if (peer->log_count < PEER_LOG_MAX)
		peer->log[peer->log_count++] = request->header;
	peer->fds_count += request->fd_count;
	if (request->header.request == VHU_SET_MEM_TABLE)
		peer->last_table = *request;
	if (request->header.request == VHU_ADD_MEM_REG ||
	    request->header.request == VHU_REM_MEM_REG)
		peer->last_region = *request;
	if (request->header.request == VHU_SET_VRING_ADDR)
		peer->last_addr = *request;
	if (request->header.request == VHU_SET_FEATURES)
		peer->last_features = *request;
	if (request->header.request == VHU_SET_BACKEND_REQ_FD)
		peer->channel_fd = vhu_message_take_fd(request, 0);
}

static void apply_trick(enum peer_trick trick, struct vhu_message *reply)
{
	switch (trick) {
	case TRICK_REFUSE:
		reply->payload.u64 = 1;
		break;
	case TRICK_OTHER_REQUEST:
		reply->header.request++;
		break;
	case TRICK_NO_REPLY_FLAG:
		reply->header.flags &= ~VHU_FLAG_REPLY;
		break;
	case TRICK_WRONG_SIZE:
		reply->header.size = 4;
		break;
	case TRICK_WRONG_INDEX:
		reply->payload.state.index++;
		break;
	case TRICK_WRONG_VERSION:
		reply->header.flags ^= 3;
		break;
	default:
		break;
	}
}

static bool send_bytes(struct fake_peer *peer, const struct vhu_message *reply, size_t size)
{
	char bytes[sizeof(*reply)];

	memcpy(bytes, &reply->header, sizeof(reply->header));
	memcpy(bytes + sizeof(reply->header), &reply->payload, reply->header.size);
	for (size_t i = 0; i < size; i++)
		if (send(peer->conn.fd, bytes + i, 1, MSG_NOSIGNAL) != 1)
			return false;
	return true;
}

static bool peer_send(struct fake_peer *peer, enum peer_trick trick, struct vhu_message *reply)
{
	bool sent;

	if (trick == TRICK_DRIBBLE)
		return send_bytes(peer, reply, sizeof(reply->header) + reply->header.size);
	if (trick == TRICK_CLOSE_IN_REPLY) {
		send_bytes(peer, reply, 14);
		return false;
	}
	if (trick == TRICK_SEND_FDS)
		while (reply->fd_count < 3)
			reply->fds[reply->fd_count++] = dup(peer->conn.fd);
	sent = vhu_conn_send(&peer->conn, reply, clock_ns() + PEER_DEADLINE_NS, NULL) == 0;
	vhu_message_close_fds(reply);
	return sent;
}

/* False: the connection ends. */
static bool peer_handle(struct fake_peer *peer, const struct vhu_message *request)
{
	enum peer_trick trick = request->header.request == peer->when ? peer->trick : TRICK_NONE;
	struct vhu_message reply;

	if (trick == TRICK_MUTE)
		return true;
	if (trick == TRICK_CLOSE)
		return false;
	if (request->header.request == VHU_GET_CONFIG && peer->config == CONFIG_CLOSES &&
	    request->payload.config.size > peer->config_size)
		return false;
	if (!own_reply(peer, request, &reply)) {
		if (!vhu_message_flag(request, VHU_FLAG_NEED_REPLY))
			return true;
		reply = reply_u64(0);
	}
	reply.header.request = request->header.request;
	reply.header.flags = VHU_VERSION | VHU_FLAG_REPLY;
	apply_trick(trick, &reply);
	return peer_send(peer, trick, &reply);
}

static void *peer_run(void *opaque)
{
	struct fake_peer *peer = opaque;
	struct vhu_message request;
	bool goes_on = true;

	while (goes_on && vhu_conn_receive_until(&peer->conn, clock_ns() + PEER_DEADLINE_NS,
						 &request, NULL) == 1) {
		peer_remember(peer, &request);
		vhu_message_close_fds(&request);
		goes_on = peer_handle(peer, &request);
	}
	vhu_conn_fini(&peer->conn);
	return NULL;
}

int fake_peer_start(struct fake_peer *peer)
{
	int pair[2];

	peer->channel_fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	vhu_conn_init(&peer->conn, pair[1]);
	if (pthread_create(&peer->thread, NULL, peer_run, peer) != 0)
		abort();
	return pair[0];
}

void fake_peer_join(struct fake_peer *peer)
{
	pthread_join(peer->thread, NULL);
	fd_close(&peer->channel_fd);
}

unsigned fake_peer_count(const struct fake_peer *peer, enum vhu_request request)
{
	unsigned count = 0;

	for (unsigned i = 0; i < peer->log_count; i++)
		count += peer->log[i].request == request;
	return count;
}
