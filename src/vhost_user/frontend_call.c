// SPDX-License-Identifier: MIT
/*
 * Requests, replies, acknowledgements and barriers of the front end. System calls: those of conn.c.
 *
 * Whatever leaves request and reply out of step (no answer in time, a reply to something else, a stream that ended) breaks the
 * front end for good.
 */
#include "vhost_user/frontend_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static uint64_t deadline(const struct vhu_frontend *frontend)
{
	return MIN(clock_ns() + frontend->timeout_ms * NS_PER_MS, frontend->deadline);
}

static int frontend_break(struct vhu_frontend *frontend, const struct vhu_message *request,
			  int code, struct error *error)
{
	frontend->broken = code;
	if (error)
		error_prefix(error, "%s", vhu_request_name(request->header.request));
	return code;
}

static int frontend_send(struct vhu_frontend *frontend, const struct vhu_message *request,
			 struct error *error)
{
	int ret;

	if (frontend->broken)
		return error_set(error, frontend->broken, "%s: the connection is over: %s",
				 vhu_request_name(request->header.request),
				 strerrordesc_np(-frontend->broken));
	ret = vhu_conn_send(&frontend->conn, request, deadline(frontend), error);
	return ret < 0 ? frontend_break(frontend, request, ret, error) : 0;
}

static int check_reply(const struct vhu_message *request, const struct vhu_message *reply,
		       struct error *error)
{
	if (reply->header.request != request->header.request)
		return error_set(error, -EPROTO, "the back end answered request %u",
				 reply->header.request);
	if (!vhu_message_flag(reply, VHU_FLAG_REPLY))
		return error_set(error, -EPROTO, "the answer is not marked as a reply");
	return 0;
}

static int frontend_receive(struct vhu_frontend *frontend, const struct vhu_message *request,
			    struct vhu_message *ret_reply, struct error *error)
{
	int ret = vhu_conn_receive_until(&frontend->conn, deadline(frontend), ret_reply, error);

	if (ret > 0) {
		vhu_message_close_fds(ret_reply);
		ret = check_reply(request, ret_reply, error);
	}
	return ret < 0 ? frontend_break(frontend, request, ret, error) : 0;
}

int vhu_frontend_ask(struct vhu_frontend *frontend, const struct vhu_message *request,
		     struct vhu_message *ret_reply, struct error *error)
{
	int ret = frontend_send(frontend, request, error);

	return ret < 0 ? ret : frontend_receive(frontend, request, ret_reply, error);
}

static int check_size(struct vhu_frontend *frontend, const struct vhu_message *request,
		      const struct vhu_message *reply, uint32_t size, struct error *error)
{
	if (reply->header.size == size)
		return 0;
	error_set(error, -EPROTO, "a reply of %u bytes, %u were expected", reply->header.size,
		  size);
	return frontend_break(frontend, request, -EPROTO, error);
}

int vhu_frontend_ask_u64(struct vhu_frontend *frontend, enum vhu_request request,
			 uint64_t *ret_value, struct error *error)
{
	struct vhu_message message = vhu_message_make(request, 0), reply;
	int ret = vhu_frontend_ask(frontend, &message, &reply, error);

	if (ret == 0)
		ret = check_size(frontend, &message, &reply, sizeof(uint64_t), error);
	if (ret == 0)
		*ret_value = reply.payload.u64;
	return ret;
}

int vhu_frontend_tell(struct vhu_frontend *frontend, const struct vhu_message *request,
		      struct error *error)
{
	struct vhu_message message = *request, reply;
	int ret;

	if (!vhu_frontend_has(frontend, VHU_PROTOCOL_REPLY_ACK))
		return frontend_send(frontend, request, error);
	message.header.flags |= VHU_FLAG_NEED_REPLY;
	ret = vhu_frontend_ask(frontend, &message, &reply, error);
	if (ret == 0)
		ret = check_size(frontend, request, &reply, sizeof(uint64_t), error);
	if (ret < 0 || reply.payload.u64 == 0)
		return ret;
	return error_set(error, -EREMOTEIO, "%s: the back end refused (it says %" PRIu64 ")",
			 vhu_request_name(request->header.request), reply.payload.u64);
}

int vhu_frontend_tell_u64(struct vhu_frontend *frontend, enum vhu_request request, uint64_t value,
			  struct error *error)
{
	struct vhu_message message = vhu_message_make(request, sizeof(value));

	message.payload.u64 = value;
	return vhu_frontend_tell(frontend, &message, error);
}

int vhu_frontend_barrier(struct vhu_frontend *frontend, struct error *error)
{
	uint64_t features;

	if (vhu_frontend_has(frontend, VHU_PROTOCOL_REPLY_ACK))
		return 0;
	return vhu_frontend_ask_u64(frontend, VHU_GET_FEATURES, &features, error);
}
