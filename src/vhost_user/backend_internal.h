/* SPDX-License-Identifier: MIT */
/*
 * What the files of the back end share.
 *
 * A request goes through: checks of the table -> its handler -> rings that became ready are started -> reply. Each step may
 * have to wait for the owner: the step that follows is then in `then`, and vhu_backend_complete() goes on from there.
 */
#ifndef RINGLANE_VHOST_USER_BACKEND_INTERNAL_H
#define RINGLANE_VHOST_USER_BACKEND_INTERNAL_H

#include "vhost_user/backend.h"
#include "vhost_user/conn.h"

struct vhu_handler;

struct vhu_backend_ring {
	/* what the front end said; the fds are here until the owner gets them */
	uint16_t size, base;
	struct vhu_vring_addr addr;
	int kick_fd, call_fd, err_fd;
	bool num_set, addr_set, base_set, enabled;
	bool running; /* the owner has it */
};

/* Goes on when the owner's operation has ended. Returns as a handler does. */
typedef int vhu_then_fn(struct vhu_backend *backend, int result);

/* The request that is being handled, also while it waits. */
struct vhu_now {
	const struct vhu_handler *handler;
	struct vhu_header header;
	unsigned ring;        /* the index in its payload, when it has one */
	unsigned start_next;  /* rings below have been looked at */
	unsigned stop_next;   /* rings below are stopped */
	vhu_then_fn *stopped; /* when all are */
	uint64_t value;       /* what the handler wants to know again later */
	struct mem_map *map;  /* about to replace backend->map */
	vhu_then_fn *then;    /* set: an operation is pending */
};

struct vhu_backend {
	struct vhu_conn conn;
	const struct vhu_backend_ops *ops;
	void *opaque;
	uint64_t protocol_offered, protocol_features; /* negotiated */
	uint64_t features;                            /* negotiated, bit 30 included */
	bool auto_enabled;                            /* bit 30 was not negotiated */
	uint8_t status;
	int channel_fd; /* for our own messages; -1 */
	struct mem_map *map;
	struct vhu_now now;
	struct vhu_message reply;
	struct error error;
	int ended; /* 0, or the -errno that ended the connection */
	unsigned queue_max;
	struct vhu_backend_ring rings[];
};

/* Returns 0, -errno (nothing has happened, a sentence if there is more to say than errno does) or VHU_PENDING. Descriptors
 * that it does not take from the message are closed afterwards. */
typedef int vhu_handle_fn(struct vhu_backend *backend, struct vhu_message *message);

/* The result of an owner's operation: goes on with then, now or when it is complete. */
int vhu_backend_follow(struct vhu_backend *backend, int result, vhu_then_fn *then);

/* backend_ring.c */
vhu_handle_fn vhu_handle_set_vring_num, vhu_handle_set_vring_addr, vhu_handle_set_vring_base,
	vhu_handle_get_vring_base, vhu_handle_set_vring_kick, vhu_handle_set_vring_call,
	vhu_handle_set_vring_err, vhu_handle_set_vring_enable;
/* Starts every ring that is ready, from now.start_next. */
int vhu_backend_start_rings(struct vhu_backend *backend);
/* Stops the rings that run, one after the other, then goes on with then. */
int vhu_backend_stop_rings(struct vhu_backend *backend, vhu_then_fn *then);
void vhu_backend_enable_rings(struct vhu_backend *backend, bool enabled);
void vhu_backend_reset_rings(struct vhu_backend *backend);
bool vhu_backend_any_running(const struct vhu_backend *backend);
void vhu_backend_ring_init(struct vhu_backend_ring *ring);
void vhu_backend_ring_fini(struct vhu_backend_ring *ring);

/* backend_mem.c */
vhu_handle_fn vhu_handle_set_mem_table, vhu_handle_add_mem_reg, vhu_handle_rem_mem_reg;

/* backend_device.c */
vhu_handle_fn vhu_handle_get_features, vhu_handle_set_features, vhu_handle_get_protocol_features,
	vhu_handle_set_protocol_features, vhu_handle_get_queue_num, vhu_handle_nothing,
	vhu_handle_get_config, vhu_handle_set_config, vhu_handle_get_max_mem_slots,
	vhu_handle_set_backend_req_fd, vhu_handle_reset_device, vhu_handle_set_status,
	vhu_handle_get_status;

#endif
