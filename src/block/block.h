/* SPDX-License-Identifier: MIT */
/*
 * What a disk is: a node (shared, read-mostly), a channel to it for each loop (never shared), and requests.
 *
 * block_submit() is the checked gate: range, alignment, read-only, limits and supported operations are decided there, once,
 * so that no driver has to. A driver completes each request it got exactly once through block_complete(), at once (inside
 * submit) or later on the same loop.
 *
 * Nodes are made and deleted on the main thread. A node's geometry may change (resize): `size` is read with load_relaxed.
 */
#ifndef RINGLANE_BLOCK_BLOCK_H
#define RINGLANE_BLOCK_BLOCK_H

#include "base/compiler.h"
#include "base/error.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_NODE_NAME_MAX 63
#define BLOCK_SECTOR 512u
#define BLOCK_FRAMES_MAX 8 /* filters over one another */

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

enum block_flags {
	BLOCK_FUA = 1,       /* on stable storage before it is done (WRITE, WRITE_ZEROES) */
	BLOCK_MAY_UNMAP = 2, /* WRITE_ZEROES may deallocate */
};

struct block_channel;
struct block_request;
typedef void block_done_fn(struct block_request *request, int result);

struct block_request {
	/* the submitter's; result of done is 0 or -errno */
	enum block_op op;
	unsigned flags;
	uint64_t offset, bytes;  /* bytes, multiples of the node's request_alignment */
	struct iovec *iov;       /* READ, WRITE: at least bytes long; a driver may move and shorten it */
	unsigned iov_count;
	block_done_fn *done;
	/* the drivers' */
	struct block_frame { block_done_fn *done; void *opaque; } frames[BLOCK_FRAMES_MAX];
	unsigned frame_count;
	struct block_channel *channel; /* of the driver that has it now */
	struct block_request *next;    /* a driver's queue */
	uint64_t deadline_ns;
	struct loop_op ring_op;
	uint64_t progress;             /* bytes already moved by the bottom driver */
	void *bounce;
};

/* What a node can do; filled by the driver's open, geometry checked by the gate. */
struct block_limits {
	uint32_t request_alignment;   /* bytes: offset and length of READ/WRITE; power of two, 1 … 64 KiB */
	uint32_t memory_alignment;    /* bytes: buffers; a driver that is given others copies */
	uint32_t discard_alignment;   /* bytes, 0 = none wanted */
	uint32_t write_zeroes_alignment;
	uint32_t physical_block_size; /* bytes */
	uint32_t optimal_io_size;     /* bytes, 0 = unknown */
	uint64_t discard_max, write_zeroes_max; /* bytes, 0 = not supported */
	bool discard_zeroes;
};

struct block_node;

struct block_driver {
	const char *name;       /* QEMU's word */
	size_t node_size, channel_size; /* of the driver's structs, which begin with the generic ones */
	/* main thread */
	void (*close)(struct block_node *node);
	int (*resize)(struct block_node *node, uint64_t size, struct error *error); /* NULL: cannot */
	/* channel's loop */
	int (*channel_open)(struct block_channel *channel);
	void (*channel_close)(struct block_channel *channel); /* nothing in flight */
	void (*submit)(struct block_channel *channel, struct block_request *request);
};

struct block_node {
	const struct block_driver *driver;
	char name[BLOCK_NODE_NAME_MAX + 1];
	bool read_only;
	uint64_t size;             /* bytes; atomic, changes with resize */
	struct block_limits limits;
	struct block_node *child;  /* the node under a filter or raw; a reference */
	unsigned refs;             /* main thread: exports and parents */
	struct block_node *list_next;
};

struct block_channel {
	struct block_node *node;
	struct loop *loop;
	struct block_channel *child; /* of node->child */
	unsigned in_flight;
};

/* ---- graph: main thread ---- */

struct block_graph; /* the named nodes of a process */
struct block_graph *block_graph_new(void);
void block_graph_free(struct block_graph *graph); /* closes all nodes, parents first; nothing may use them */
struct block_node *block_graph_find(struct block_graph *graph, const char *name);
int block_graph_remove(struct block_graph *graph, struct block_node *node, struct error *error); /* -EBUSY with refs */
typedef void block_node_visit_fn(struct block_node *node, void *opaque);
void block_graph_each(struct block_graph *graph, block_node_visit_fn *visit, void *opaque);
/* Tells what a driver's open does first and last. */
struct block_node *block_node_alloc(const struct block_driver *driver, const char *name);
int block_graph_insert(struct block_graph *graph, struct block_node *node, struct error *error); /* -EEXIST; checks limits */
void block_node_discard(struct block_node *node); /* a node that was never inserted */

struct block_node *block_node_ref(struct block_node *node);
void block_node_unref(struct block_node *node);
int block_node_resize(struct block_node *node, uint64_t size, struct error *error);
static inline uint64_t block_node_size(const struct block_node *node) { return __atomic_load_n(&node->size, __ATOMIC_RELAXED); }

/* ---- opening: one parameter struct per driver; the node is inserted under name ---- */

enum block_cache { BLOCK_CACHE_WRITEBACK };
enum block_locking { BLOCK_LOCK_AUTO, BLOCK_LOCK_ON, BLOCK_LOCK_OFF };

struct block_file_config {
	const char *name, *filename;
	bool host_device;    /* must be a block device; else must be a regular file */
	bool read_only, direct, no_flush;
	bool discard_unmap;  /* discard=unmap: pass discards on */
	enum block_locking locking;
};
struct block_null_config { const char *name; uint64_t size, latency_ns; bool read_zeroes, read_only; };
struct block_ram_config { const char *name; uint64_t size; bool read_only; };
struct block_raw_config { const char *name; struct block_node *child; uint64_t offset, size; bool has_size, read_only; };
struct block_delay_config { const char *name; struct block_node *child; uint64_t latency_ns, busy_ns; };
struct block_error_config { const char *name; struct block_node *child; unsigned op_mask; /* 1 << enum block_op */ int error; uint64_t every, offset, bytes; };
struct block_log_config { const char *name; struct block_node *child; const char *filename; };

int block_file_open(struct block_graph *, const struct block_file_config *, struct block_node **ret_node, struct error *);
int block_null_open(struct block_graph *, const struct block_null_config *, struct block_node **ret_node, struct error *);
int block_ram_open(struct block_graph *, const struct block_ram_config *, struct block_node **ret_node, struct error *);
int block_raw_open(struct block_graph *, const struct block_raw_config *, struct block_node **ret_node, struct error *);
int block_delay_open(struct block_graph *, const struct block_delay_config *, struct block_node **ret_node, struct error *);
int block_error_open(struct block_graph *, const struct block_error_config *, struct block_node **ret_node, struct error *);
int block_log_open(struct block_graph *, const struct block_log_config *, struct block_node **ret_node, struct error *);

/* ---- data path: the channel's loop ---- */

int block_channel_open(struct block_node *node, struct loop *loop, struct block_channel **ret_channel);
void block_channel_close(struct block_channel *channel); /* nothing in flight */
/* The gate. done may be called before this returns. -EIO range, -EINVAL alignment, -EROFS, -ENOTSUP. */
void block_submit(struct block_channel *channel, struct block_request *request);

/* ---- for drivers ---- */

/* Finishes a request: the topmost frame's done, else the submitter's. */
void block_complete(struct block_request *request, int result);
/* A filter that wants to see the completion; done calls block_complete again to go on. */
void block_frame_push(struct block_request *request, block_done_fn *done, void *opaque);
/* Inside a frame's done: its opaque. */
void *block_frame_pop(struct block_request *request);
/* Hands the request to the child (no gate: the checks were made above; raw re-checks its window). */
void block_forward(struct block_channel *channel, struct block_request *request);

#endif
