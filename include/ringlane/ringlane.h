/* SPDX-License-Identifier: MIT */
/**
 * libringlane: drive virtio block devices from user space.
 *
 * A device has queues; each queue belongs to one thread at a time and shares no cache line with another. Requests are
 * asynchronous: queue some, submit them together, reap their completions by polling or when the queue's file descriptor is
 * readable. Data lies in memory that the device can reach: allocate it from the device or register your own.
 *
 *     struct ringlane_device *disk;
 *     struct ringlane_error error;
 *     if (ringlane_open("vhost-user-blk:/run/disk.sock", NULL, &disk, &error) < 0)
 *             fprintf(stderr, "%s\n", error.text);
 *
 * Functions return 0 or a count, or -errno. Offsets and lengths are bytes and multiples of the logical block size.
 * Only ringlane_open, _close, and the memory functions may block; they belong to one thread at a time.
 */
#ifndef RINGLANE_RINGLANE_H
#define RINGLANE_RINGLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ringlane_device;
struct ringlane_queue;

struct ringlane_error {
	int code;       /* -errno */
	char text[496]; /* one line for a person */
};

struct ringlane_options {
	unsigned queues;     /* 0: one per CPU the process may use, at most what the device has */
	unsigned queue_size; /* entries of a ring, power of two, 2 to 1024; 0: 256 */
	unsigned timeout_ms; /* for each answer of the back end; 0: 5000 */
	bool read_only;      /* refuse writes here */
};

/** URI: `vhost-user-blk:PATH`. options may be NULL. */
int ringlane_open(const char *uri, const struct ringlane_options *options, struct ringlane_device **ret_device,
		  struct ringlane_error *error);
/** Waits for nothing: requests in flight are given up when the device has stopped the rings. */
void ringlane_close(struct ringlane_device *device);
const char *ringlane_version(void);

struct ringlane_info {
	uint64_t capacity;            /* bytes */
	uint64_t features;            /* offered, virtio bits */
	uint64_t features_acked;
	uint64_t protocol_features;   /* vhost-user bits negotiated */
	uint32_t logical_block_size, physical_block_size, optimal_io_size; /* bytes */
	uint32_t seg_max, size_max;   /* data segments of a request; bytes of a segment, 0 = no limit */
	uint32_t discard_max, discard_segments, discard_alignment;         /* bytes (max, alignment), count; 0 = unsupported */
	uint32_t write_zeroes_max, write_zeroes_segments;
	bool write_zeroes_may_unmap, read_only, flush, write_cache;
	unsigned queue_max, queues;   /* of the device; in use */
	unsigned queue_size, mem_slots;
};

/** Fresh: a change that the device told is in it. */
void ringlane_get_info(struct ringlane_device *device, struct ringlane_info *ret_info);
/** Readable when the device told a configuration change (resize) or is gone; -1 when it cannot tell. */
int ringlane_event_fd(struct ringlane_device *device);
/** 1: the configuration changed, 0: nothing, -ECONNRESET: the device is gone. */
int ringlane_event(struct ringlane_device *device);

/* ---- memory ---- */

/** Page aligned, zeroed, shared with the device. NULL and *error when it cannot be had. */
void *ringlane_mem_alloc(struct ringlane_device *device, size_t size, struct ringlane_error *error);
void ringlane_mem_free(struct ringlane_device *device, void *addr);
/** Memory of the caller: a MAP_SHARED mapping of fd at offset. It must stay mapped until unregistered. */
int ringlane_mem_register(struct ringlane_device *device, void *addr, size_t size, int fd, uint64_t offset,
			  struct ringlane_error *error);
/** No request may be using it. */
int ringlane_mem_unregister(struct ringlane_device *device, void *addr, struct ringlane_error *error);

/* ---- queues ---- */

/** index: 0 to info.queues - 1. */
struct ringlane_queue *ringlane_queue_get(struct ringlane_device *device, unsigned index);
/** Requests that fit; a request may need more than one entry when its data is scattered. */
unsigned ringlane_queue_depth(const struct ringlane_queue *queue);

enum ringlane_flags {
	RINGLANE_UNMAP = 1, /* write zeroes: the device may deallocate */
};

struct ringlane_range { uint64_t offset, bytes; };

/*
 * Queue one request; it is not sent before ringlane_submit. -EAGAIN: the queue is full, submit and reap first.
 * -EFAULT: memory the device cannot reach. -EINVAL: alignment, too many segments. -EROFS. -EOPNOTSUPP.
 * user_data comes back with the completion.
 */
int ringlane_read(struct ringlane_queue *queue, void *data, size_t bytes, uint64_t offset, void *user_data);
int ringlane_write(struct ringlane_queue *queue, const void *data, size_t bytes, uint64_t offset, void *user_data);
int ringlane_readv(struct ringlane_queue *queue, const struct iovec *iov, unsigned count, uint64_t offset, void *user_data);
int ringlane_writev(struct ringlane_queue *queue, const struct iovec *iov, unsigned count, uint64_t offset, void *user_data);
int ringlane_flush(struct ringlane_queue *queue, void *user_data);
int ringlane_discard(struct ringlane_queue *queue, const struct ringlane_range *ranges, unsigned count, void *user_data);
int ringlane_write_zeroes(struct ringlane_queue *queue, const struct ringlane_range *ranges, unsigned count, unsigned flags,
			  void *user_data);
/** id: 20 bytes of device-reachable memory (virtio 1.3, 5.2.6.1: not terminated when all are used). */
int ringlane_get_id(struct ringlane_queue *queue, char *id, void *user_data);

/** Makes what was queued visible to the device and kicks it if it wants to be. Returns 1 when it kicked, 0 when not. */
int ringlane_submit(struct ringlane_queue *queue);

struct ringlane_completion {
	void *user_data;
	int result; /* 0, -EIO, -EOPNOTSUPP */
};

/** Takes up to max completions that are there. 0: none; -EPROTO: the device broke the ring's rules (for good). */
int ringlane_reap(struct ringlane_queue *queue, struct ringlane_completion *completions, unsigned max);
/**
 * Submits, then waits until min completions are there, timeout_ms passed (-1: never) or the device is gone.
 * Spins for spin_ns first. Returns their number (up to max), which may be below min after a timeout.
 */
int ringlane_wait(struct ringlane_queue *queue, struct ringlane_completion *completions, unsigned min, unsigned max,
		  int timeout_ms, uint64_t spin_ns);
/** Readable when the device called. Reading is done by ringlane_queue_arm. */
int ringlane_queue_fd(struct ringlane_queue *queue);
/** Before sleeping on the fd: 0: sleep; 1: completions are there already. */
int ringlane_queue_arm(struct ringlane_queue *queue);
/** The caller will poll: the device need not call. That is how a queue starts. */
void ringlane_queue_disarm(struct ringlane_queue *queue);
unsigned ringlane_queue_in_flight(const struct ringlane_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
