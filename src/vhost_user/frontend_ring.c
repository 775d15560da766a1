// SPDX-License-Identifier: MIT
/* The front end's rings: start and stop. */
#include "vhost_user/frontend_internal.h"

#include <errno.h>

static int tell_state(struct vhu_frontend *frontend, enum vhu_request request, unsigned index,
		      uint32_t value, struct error *error)
{
	struct vhu_message message = vhu_message_make(request, sizeof(struct vhu_vring_state));

	message.payload.state = (struct vhu_vring_state){ index, value };
	return vhu_frontend_tell(frontend, &message, error);
}

static int tell_addr(struct vhu_frontend *frontend, unsigned index,
		     const struct vhu_frontend_ring *ring, struct error *error)
{
	struct vhu_message message =
		vhu_message_make(VHU_SET_VRING_ADDR, sizeof(struct vhu_vring_addr));

	message.payload.addr = (struct vhu_vring_addr){
		.index = index, .desc = ring->desc, .avail = ring->avail, .used = ring->used
	};
	return vhu_frontend_tell(frontend, &message, error);
}

static int tell_fd(struct vhu_frontend *frontend, enum vhu_request request, unsigned index, int fd,
		   struct error *error)
{
	struct vhu_message message = vhu_message_make(request, sizeof(uint64_t));

	message.payload.u64 = index;
	if (fd >= 0)
		message.fds[message.fd_count++] = fd;
	else
		message.payload.u64 |= VHU_VRING_NOFD;
	return vhu_frontend_tell(frontend, &message, error);
}

static int check_index(const struct vhu_frontend *frontend, unsigned index, struct error *error)
{
	if (index < frontend->queue_max)
		return 0;
	return error_set(error, -EINVAL, "there is no ring %u, the back end has %u", index,
			 frontend->queue_max);
}

/* Call before kick: some back ends start with the kick and would miss the call. Enable last, and only where rings begin
 * disabled. */
int vhu_frontend_ring_start(struct vhu_frontend *frontend, unsigned index,
			    const struct vhu_frontend_ring *ring, struct error *error)
{
	int ret = check_index(frontend, index, error);

	if (ret == 0)
		ret = tell_state(frontend, VHU_SET_VRING_NUM, index, ring->size, error);
	if (ret == 0)
		ret = tell_state(frontend, VHU_SET_VRING_BASE, index, ring->base, error);
	if (ret == 0)
		ret = tell_addr(frontend, index, ring, error);
	if (ret == 0)
		ret = tell_fd(frontend, VHU_SET_VRING_CALL, index, ring->call_fd, error);
	if (ret == 0)
		ret = tell_fd(frontend, VHU_SET_VRING_KICK, index, ring->kick_fd, error);
	if (ret == 0 && frontend->acked & 1ull << VHU_F_PROTOCOL_FEATURES)
		ret = tell_state(frontend, VHU_SET_VRING_ENABLE, index, 1, error);
	return ret < 0 ? ret : vhu_frontend_barrier(frontend, error);
}

int vhu_frontend_ring_stop(struct vhu_frontend *frontend, unsigned index, uint16_t *ret_base,
			   struct error *error)
{
	struct vhu_message request = vhu_message_make(VHU_GET_VRING_BASE,
						      sizeof(struct vhu_vring_state)),
			   reply;
	int ret = check_index(frontend, index, error);

	if (ret < 0)
		return ret;
	request.payload.state.index = index;
	ret = vhu_frontend_ask(frontend, &request, &reply, error);
	if (ret < 0)
		return ret;
	if (reply.header.size != sizeof(struct vhu_vring_state) ||
	    reply.payload.state.index != index || reply.payload.state.num > UINT16_MAX) {
		frontend->broken = -EPROTO;
		return error_set(error, -EPROTO,
				 "GET_VRING_BASE: the back end's answer for ring %u makes no sense",
				 index);
	}
	*ret_base = (uint16_t)reply.payload.state.num;
	return 0;
}
