/* SPDX-License-Identifier: MIT */
/*
 * vhost-user, the back end's side of one connection. Owns no loop and no thread: the owner calls vhu_backend_readable()
 * when the socket is readable, all on one thread (the main loop).
 *
 * One table (backend.c) describes every request: needed protocol feature, payload size, file descriptors, whether it is
 * allowed while the ring runs, handler. A request that is refused, also an unknown one, is answered with an error when the
 * front end asked for a reply (REPLY_ACK), and nothing of it has happened; without that the connection ends with a named
 * reason, because the two sides would disagree from there on. Exceptions are a column of the table.
 *
 * Operations may be asynchronous: the owner answers VHU_PENDING and calls vhu_backend_complete() later (never before the
 * operation has returned); no further message of this connection is read until then, so at most one operation is out at a
 * time.
 *
 * A ring has four things to it: set up (NUM, ADDR, BASE), kick fd, enabled, and told to the owner (`running`). It is handed to
 * the owner by ring_start() as soon as it is set up, has a kick fd, is enabled and a memory table is there; the order in which
 * they come does not matter. The owner begins to process it at its first kick. It ends with GET_VRING_BASE, RESET_DEVICE,
 * status 0 or the connection; each ring for itself. After that NUM, ADDR, BASE and KICK must be sent again. While it runs NUM,
 * ADDR and BASE are refused (-EBUSY); KICK, CALL, ERR and ENABLE change it.
 *
 * Descriptors change hands with the call that carries them, whatever it returns. Those for kick, call and err have been checked
 * to be event fds and set non-blocking.
 */
#ifndef RINGLANE_VHOST_USER_BACKEND_H
#define RINGLANE_VHOST_USER_BACKEND_H

#include "base/error.h"
#include "mem/map.h"

#include <stdbool.h>
#include <stdint.h>

#define VHU_PENDING 1
#define VHU_QUEUES_MAX 256
#define VHU_BUDGET \
	4096 /* messages in one call: more than any front end sends without waiting for an answer */

struct vhu_backend;

struct vhu_ring_memory {
	void *desc, *avail, *used;
};

struct vhu_ring {
	uint16_t size, base;
	struct vhu_ring_memory memory;
	int kick_fd, call_fd,
		err_fd; /* given to the owner, who closes them; call and err may be -1 */
};

/* All return 0, -errno, or, except the getters, VHU_PENDING. */
struct vhu_backend_ops {
	uint64_t (*get_features)(void *opaque); /* bit 30 is added by the protocol */
	int (*set_features)(void *opaque, uint64_t features);
	unsigned (*queue_max)(void *opaque);
	int (*get_config)(void *opaque, uint32_t offset, void *bytes,
			  uint32_t size); /* pads with zeros */
	/* flags: 0 = the driver writes, but rust-vmm's front ends (Cloud Hypervisor, Firecracker) say 1 for the same. */
	int (*set_config)(void *opaque, uint32_t offset, const void *bytes, uint32_t size,
			  uint32_t flags);
	/* The map replaces the one before; the owner moves the rings that run, with addresses from vhu_backend_ring_memory(), and
	 * takes its own reference. Complete when no lane uses the old map for new requests. */
	int (*set_map)(void *opaque, struct mem_map *map);
	int (*ring_start)(void *opaque, unsigned index, const struct vhu_ring *ring);
	/* Finishes what is in flight. PENDING: complete with the next avail index (>= 0). Immediate: returns it through *ret_base, 0. */
	int (*ring_stop)(void *opaque, unsigned index, uint16_t *ret_base);
	/* While the ring runs. fd is given (may be -1). */
	int (*ring_set_call)(void *opaque, unsigned index, int fd);
	int (*ring_set_kick)(void *opaque, unsigned index, int fd);
	int (*ring_set_err)(void *opaque, unsigned index, int fd);
	int (*ring_set_enabled)(void *opaque, unsigned index, bool enabled);
	/* Device state is as new. Each ring that ran has been stopped by ring_stop() before. */
	int (*reset)(void *opaque);
};

/* Takes fd, also when it fails. queue_max() is asked once, here. protocol_features: those the owner wants offered (bits of enum vhu_protocol_feature). */
int vhu_backend_new(int fd, uint64_t protocol_features, const struct vhu_backend_ops *ops,
		    void *opaque, struct vhu_backend **ret_backend);
/* Closes the sockets and fds it still has. The owner has stopped its rings before, and does not complete what was pending. */
void vhu_backend_free(struct vhu_backend *backend);
int vhu_backend_fd(const struct vhu_backend *backend);
/* Handles what is there, until the socket is empty. 0: wait for readability (or for the pending operation). 1: this client
 * sends without end (VHU_BUDGET messages are handled): call again after the others had their turn. -errno: the connection is
 * over: -ECONNRESET when the peer closed in order, anything else with a sentence in vhu_backend_reason(). */
int vhu_backend_readable(struct vhu_backend *backend);
/* The last refusal or the end, in a sentence; empty when there was none. */
const char *vhu_backend_reason(const struct vhu_backend *backend);
/* The pending operation ended; sends its reply, or begins the next operation of the same request. The owner calls
 * vhu_backend_readable() next. result: 0 or -errno, ring_stop: the base. Returns 0, or -errno as vhu_backend_readable(). When
 * the peer has gone meanwhile this is still safe; the owner frees the backend afterwards. */
int vhu_backend_complete(struct vhu_backend *backend, int result);
bool vhu_backend_pending(const struct vhu_backend *backend);
bool vhu_backend_ring_running(const struct vhu_backend *backend, unsigned index);
/* Where a ring lies in map (which need not be the current one). -EFAULT when it does not lie in it. */
int vhu_backend_ring_memory(const struct vhu_backend *backend, unsigned index,
			    const struct mem_map *map, struct vhu_ring_memory *ret_memory);
/* Tells the front end that the configuration space changed. -ENOTCONN when it gave no channel for that or closed it. */
int vhu_backend_config_changed(struct vhu_backend *backend);

#endif
