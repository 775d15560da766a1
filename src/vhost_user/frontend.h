/* SPDX-License-Identifier: MIT */
/*
 * vhost-user, the front end's side: one call per request, blocking with a deadline. Any one thread at a time.
 *
 * Works with back ends that lack any of REPLY_ACK, CONFIG, CONFIGURE_MEM_SLOTS, MQ: calls that get no acknowledgement are
 * followed by GET_FEATURES as a barrier, so that their effect holds when they return (and a back end that hung up over them is
 * noticed); configuration is read with descending sizes; without CONFIGURE_MEM_SLOTS the whole table is sent again. Bit 30 is
 * always negotiated when offered and every ring is then enabled by SET_VRING_ENABLE.
 *
 * Order of use: open, set_features, set_mem, ring_start for each ring, set_status.
 *
 * Errors come with a sentence: -EREMOTEIO the back end refused (the connection lives); -ECONNRESET it is gone; -ETIMEDOUT no
 * answer within timeout_ms of each request; -EPROTO it answered nonsense. After the last three every further call returns the
 * same at once.
 */
#ifndef RINGLANE_VHOST_USER_FRONTEND_H
#define RINGLANE_VHOST_USER_FRONTEND_H

#include "base/error.h"
#include "mem/dma.h"

#include <stdbool.h>
#include <stdint.h>

struct vhu_frontend;

struct vhu_frontend_ring {
	uint16_t size, base;
	uint64_t desc, avail, used; /* addresses in this process */
	int kick_fd, call_fd;       /* borrowed */
};

/* Connects, SET_OWNER, reads features and protocol features, negotiates protocol features. */
int vhu_frontend_open(const char *path, unsigned timeout_ms, struct vhu_frontend **ret_frontend,
		      struct error *error);
/* The same, and everything from here on ends by deadline (clock_ns()), whatever the timeout, until vhu_frontend_no_deadline. */
int vhu_frontend_open_until(const char *path, unsigned timeout_ms, uint64_t deadline,
			    struct vhu_frontend **ret_frontend, struct error *error);
void vhu_frontend_no_deadline(struct vhu_frontend *frontend);
/* Takes a connected socket instead of a path, also when it fails. */
int vhu_frontend_attach(int fd, unsigned timeout_ms, struct vhu_frontend **ret_frontend,
			struct error *error);
/*
 * Says that no more is coming, and waits until the peer has closed its end, at most so long: it has let go of memory and rings
 * then. 0 (also when it had closed before), -ETIMEDOUT. Every further call but close returns -ECONNRESET, or what broke it.
 */
int vhu_frontend_hang_up(struct vhu_frontend *frontend, unsigned timeout_ms, struct error *error);
void vhu_frontend_close(struct vhu_frontend *frontend);
int vhu_frontend_fd(
	const struct vhu_frontend *frontend); /* readable = the peer is gone (or nonsense) */
int vhu_frontend_backend_fd(
	const struct vhu_frontend
		*frontend); /* readable = a message of the back end; -1 without BACKEND_REQ */

uint64_t vhu_frontend_features(const struct vhu_frontend *frontend); /* offered, bit 30 included */
uint64_t vhu_frontend_protocol_features(const struct vhu_frontend *frontend); /* negotiated */
unsigned vhu_frontend_queue_max(const struct vhu_frontend *frontend); /* all rings; 1 without MQ */
unsigned
vhu_frontend_mem_slots(const struct vhu_frontend *frontend); /* 8 without CONFIGURE_MEM_SLOTS */

int vhu_frontend_set_features(struct vhu_frontend *frontend, uint64_t features,
			      struct error *error);
/* Reads up to size bytes at offset 0 into bytes (zeroed first); *ret_size tells how many the back end has. -ENOTSUP without
 * CONFIG, -EREMOTEIO when it refuses every size. */
int vhu_frontend_get_config(struct vhu_frontend *frontend, void *bytes, uint32_t size,
			    uint32_t *ret_size, struct error *error);
int vhu_frontend_set_config(struct vhu_frontend *frontend, uint32_t offset, const void *bytes,
			    uint32_t size, struct error *error);
/* The whole table at the start, or one more / one less while rings run. Guest address = user address = address here. Regions
 * need an fd. -E2BIG: more than vhu_frontend_mem_slots(). The fds are borrowed until the region is removed or
 * its removal was refused. */
int vhu_frontend_set_mem(struct vhu_frontend *frontend, const struct dma_region *regions,
			 unsigned count, struct error *error);
int vhu_frontend_add_mem(struct vhu_frontend *frontend, const struct dma_region *region,
			 struct error *error);
int vhu_frontend_remove_mem(struct vhu_frontend *frontend, const struct dma_region *region,
			    struct error *error);
/* One that runs is to be stopped first. Kick and call fd of -1 say that the other side has to poll. */
int vhu_frontend_ring_start(struct vhu_frontend *frontend, unsigned index,
			    const struct vhu_frontend_ring *ring, struct error *error);
/* Returns when the back end has finished what is in flight. */
int vhu_frontend_ring_stop(struct vhu_frontend *frontend, unsigned index, uint16_t *ret_base,
			   struct error *error);
/* STATUS when negotiated (else does nothing): ACKNOWLEDGE|DRIVER|FEATURES_OK|DRIVER_OK after the rings are set. */
int vhu_frontend_set_status(struct vhu_frontend *frontend, uint8_t status, struct error *error);
/* Reads what the back end sent on its channel. 1: configuration changed, 0: nothing, -errno: channel is over (and closed). */
int vhu_frontend_backend_event(struct vhu_frontend *frontend);

#endif
