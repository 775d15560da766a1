/* SPDX-License-Identifier: MIT */
/* What the files of the front end share. */
#ifndef RINGLANE_VHOST_USER_FRONTEND_INTERNAL_H
#define RINGLANE_VHOST_USER_FRONTEND_INTERNAL_H

#include "mem/map.h"
#include "vhost_user/conn.h"
#include "vhost_user/frontend.h"

struct vhu_frontend {
	struct vhu_conn conn;
	struct vhu_conn channel; /* the back end's messages; fd -1 without BACKEND_REQ */
	unsigned timeout_ms;
	uint64_t deadline; /* of everything; UINT64_MAX: none */
	int broken;        /* 0, or what every call returns from now on */
	uint64_t features; /* offered */
	uint64_t acked;    /* set by us */
	uint64_t protocol_features;
	unsigned queue_max, mem_slots;
	unsigned region_count; /* what the back end has */
	struct dma_region regions[MEM_MAP_REGIONS_MAX];
};

static inline bool vhu_frontend_has(const struct vhu_frontend *frontend,
				    enum vhu_protocol_feature feature)
{
	return frontend->protocol_features & 1ull << feature;
}

/* frontend_call.c. Names of requests in the sentences come from the message. */

/* Sends a request that has a reply of its own and waits for it. Descriptors that came with it are closed. */
int vhu_frontend_ask(struct vhu_frontend *frontend, const struct vhu_message *request,
		     struct vhu_message *ret_reply, struct error *error);
/* The same for a request without payload and a reply of 64 bits. */
int vhu_frontend_ask_u64(struct vhu_frontend *frontend, enum vhu_request request,
			 uint64_t *ret_value, struct error *error);
/* Sends a request without reply; waits for the acknowledgement if there is REPLY_ACK. */
int vhu_frontend_tell(struct vhu_frontend *frontend, const struct vhu_message *request,
		      struct error *error);
int vhu_frontend_tell_u64(struct vhu_frontend *frontend, enum vhu_request request, uint64_t value,
			  struct error *error);
/* After one or more requests of vhu_frontend_tell(): returns when they have been handled. */
int vhu_frontend_barrier(struct vhu_frontend *frontend, struct error *error);

#endif
