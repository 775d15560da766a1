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

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/error.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_NODE_NAME_MAX 63
#define BLOCK_SECTOR 512u
/* Filters over one another. */
#define BLOCK_FRAMES_MAX 8
/* Bytes: the longest DISCARD and WRITE_ZEROES of our drivers. */
#define BLOCK_SPACE_MAX (1ull << 30)
/* Bytes: null-co without a size. */
#define BLOCK_NULL_SIZE_DEFAULT (1ull << 30)

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,
	BLOCK_DISCARD,
	BLOCK_WRITE_ZEROES,
	BLOCK_STATUS, /* is what lies at the beginning of the range stored, and how far does that go? */
};

enum block_flags {
	BLOCK_FUA = 1,       /* on stable storage before it is done (WRITE, WRITE_ZEROES) */
	BLOCK_MAY_UNMAP = 2, /* WRITE_ZEROES may deallocate */
};

struct block_channel;
struct block_node;
struct block_request;
typedef void block_done_fn(struct block_request *request, int result);

struct block_frame {
	block_done_fn *done;
	void *opaque;
};

struct block_request {
	/* The submitter's. The result that done gets is 0 or -errno. */
	enum block_op op;
	unsigned flags;
	uint64_t offset, bytes; /* bytes, multiples of the node's request_alignment */
	struct iovec *iov;      /* READ, WRITE: at least bytes long; drivers move and shorten it */
	unsigned iov_count;
	block_done_fn *done;
	/* The answer to STATUS: what lies from offset on, and for how many bytes, at least one and at most bytes. */
	struct block_extent {
		uint64_t bytes;
		bool hole; /* nothing is stored, it reads as zeroes; else stored, or not known */
	} extent;
	/* The drivers'. */
	unsigned frame_count;
	struct block_channel *top;     /* where it was submitted */
	struct block_channel *channel; /* of the driver that has it now */
	struct block_request *next;    /* a driver's queue */
	uint64_t deadline_ns;
	struct loop_op ring_op;
	uint64_t progress; /* bytes already moved by the bottom driver */
	void *bounce;
	struct block_frame frames[BLOCK_FRAMES_MAX];
};

/* What a node can do; filled by the driver's open, used by the gate. All in bytes. */
struct block_limits {
	uint32_t request_alignment; /* of offset and length: power of two, 1 … 64 KiB */
	uint32_t memory_alignment;  /* of buffers; a driver that is given others copies */
	uint32_t discard_alignment; /* 0 = none wanted */
	uint32_t write_zeroes_alignment;
	uint32_t physical_block_size;
	uint32_t optimal_io_size; /* 0 = unknown */
	uint64_t discard_max;     /* 0 = not supported */
	uint64_t write_zeroes_max;
	bool discard_zeroes; /* what was discarded reads as zeroes */
	bool has_status;     /* can answer STATUS */
};

struct block_driver {
	const char *name; /* QEMU's word */
	/* Of the driver's structs, which begin with the generic ones; 0 = those alone. */
	size_t node_size, channel_size;

	/* Main thread. NULL: nothing to do. close copes with a half-opened node. */
	void (*close)(struct block_node *node);
	/* NULL: cannot. Sets node->size. */
	int (*resize)(struct block_node *node, uint64_t size, struct error *error);
	/* NULL: its size cannot change by itself. Sets node->size. */
	int (*refresh)(struct block_node *node, struct error *error);
	/* NULL: its size does not depend on the child's. */
	void (*child_resized)(struct block_node *node);

	/* Channel's loop. open and close may be NULL; when close is called, nothing is in flight. */
	int (*channel_open)(struct block_channel *channel);
	void (*channel_close)(struct block_channel *channel);
	void (*submit)(struct block_channel *channel, struct block_request *request);
};

struct block_node {
	const struct block_driver *driver;
	char name[BLOCK_NODE_NAME_MAX + 1];
	bool read_only;
	uint64_t size; /* bytes; atomic, changes with resize */
	struct block_limits limits;
	struct block_node *child;  /* the node under a filter or raw; a reference */
	unsigned refs;             /* main thread: exports and parents */
	unsigned depth;            /* filters under it */
	struct block_graph *graph; /* NULL until inserted */
	struct block_node *list_next;
};

struct block_channel {
	struct block_node *node;
	struct loop *loop;
	struct block_channel *child; /* of node->child */
	unsigned in_flight;          /* submitted here and not yet completed */
};

/* ---- graph: main thread ---- */

struct block_graph; /* the named nodes of a process */
typedef void block_node_visit_fn(struct block_node *node, void *opaque);

struct block_graph *block_graph_new(void);
/* Closes all nodes, parents first; nothing may use them. */
void block_graph_free(struct block_graph *graph);
struct block_node *block_graph_find(struct block_graph *graph, const char *name);
/* -EBUSY with refs. */
int block_graph_remove(struct block_graph *graph, struct block_node *node, struct error *error);
void block_graph_each(struct block_graph *graph, block_node_visit_fn *visit, void *opaque);

/* What a driver's open does first and last. A name: a letter, then letters, digits, '-', '.', '_'. */
int block_node_alloc(const struct block_driver *driver, const char *name,
		     struct block_node **ret_node, struct error *error);
/* A filter's node: takes a reference to the child and its geometry. -EINVAL when it is too deep. */
int block_node_set_child(struct block_node *node, struct block_node *child, struct error *error);
/* Checks the limits. -EEXIST when the name is taken. */
int block_graph_insert(struct block_graph *graph, struct block_node *node, struct error *error);
/* A node that was never inserted; may be NULL. */
void block_node_discard(struct block_node *node);
/* The end of a driver's open, whose setting up had this result: inserted and handed out, or discarded. */
int block_graph_add(struct block_graph *graph, struct block_node *node, int result,
		    struct block_node **ret_node, struct error *error);

struct block_node *block_node_ref(struct block_node *node);
void block_node_unref(struct block_node *node);
/* It is this node, or stands over it. */
bool block_node_lies_on(const struct block_node *upper, const struct block_node *node);
/*
 * size is in bytes, a multiple of the sector; nodes above it follow. host_device only looks again at how big the device
 * is now, and refuses more than that.
 */
int block_node_resize(struct block_node *node, uint64_t size, struct error *error);

/*
 * Looks how big the node's own image is now, which somebody else may have changed; nodes above it follow. Nothing to do
 * for a node without an image of its own. On error the size stays.
 */
int block_node_refresh(struct block_node *node, struct error *error);

/* Any thread. */
static inline uint64_t block_node_size(const struct block_node *node)
{
	return load_relaxed(&node->size);
}

/* ---- opening: one parameter struct per driver; the node is inserted under name ---- */

enum block_locking { BLOCK_LOCK_AUTO, BLOCK_LOCK_ON, BLOCK_LOCK_OFF };

struct block_file_config {
	const char *name, *filename;
	bool host_device; /* must be a block device; else must be a regular file */
	bool read_only, direct, no_flush;
	bool discard_unmap; /* discard=unmap: pass discards on */
	enum block_locking locking;
	bool lock_now; /* a lock that somebody else holds is not waited for */
};

struct block_null_config {
	const char *name;
	uint64_t size, latency_ns;
	bool read_zeroes, read_only;
};

struct block_ram_config {
	const char *name;
	uint64_t size;
	bool read_only;
};

struct block_raw_config {
	const char *name;
	struct block_node *child;
	uint64_t offset, size;
	bool has_size, read_only;
};

struct block_delay_config {
	const char *name;
	struct block_node *child;
	uint64_t latency_ns, busy_ns;
};

struct block_error_config {
	const char *name;
	struct block_node *child;
	unsigned op_mask;       /* 1 << enum block_op; 0 = all */
	int error;              /* -errno */
	uint64_t every;         /* n-th matching request; 0 and 1 = all */
	uint64_t offset, bytes; /* requests that touch this range; bytes 0 = the whole disk */
};

struct block_log_config {
	const char *name;
	struct block_node *child;
	const char *filename;
};

int block_file_open(struct block_graph *graph, const struct block_file_config *config,
		    struct block_node **ret_node, struct error *error);
int block_null_open(struct block_graph *graph, const struct block_null_config *config,
		    struct block_node **ret_node, struct error *error);
int block_ram_open(struct block_graph *graph, const struct block_ram_config *config,
		   struct block_node **ret_node, struct error *error);
int block_raw_open(struct block_graph *graph, const struct block_raw_config *config,
		   struct block_node **ret_node, struct error *error);
int block_delay_open(struct block_graph *graph, const struct block_delay_config *config,
		     struct block_node **ret_node, struct error *error);
int block_error_open(struct block_graph *graph, const struct block_error_config *config,
		     struct block_node **ret_node, struct error *error);
int block_log_open(struct block_graph *graph, const struct block_log_config *config,
		   struct block_node **ret_node, struct error *error);

/* ---- data path: the channel's loop ---- */

int block_channel_open(struct block_node *node, struct loop *loop,
		       struct block_channel **ret_channel);
/* Nothing is in flight. */
void block_channel_close(struct block_channel *channel);
/*
 * The gate; done may be called before this returns. It refuses, in this order: -ENOTSUP (operation or flag that the node
 * does not have), -EROFS, -EINVAL (alignment, longer than the limit), -EIO (outside the disk), -EINVAL (iov shorter than
 * bytes). Nothing to do (0 bytes) is done at once.
 */
void block_submit(struct block_channel *channel, struct block_request *request);

/* ---- for drivers ---- */

/* Finishes a request: the topmost frame's done, else the submitter's. */
void block_complete(struct block_request *request, int result);
/* A filter that wants to see the completion; done pops, and calls block_complete again to go on. */
void block_frame_push(struct block_request *request, block_done_fn *done, void *opaque);
/* Inside a frame's done: its opaque. */
void *block_frame_pop(struct block_request *request);
/* For filters that show all of their child, neither less nor more. */
int block_filter_resize(struct block_node *node, uint64_t size, struct error *error);
void block_filter_child_resized(struct block_node *node);
/* Hands the request to the child (no gate: the checks were made above; raw re-checks its window). */
void block_forward(struct block_channel *channel, struct block_request *request);

#endif
