/* SPDX-License-Identifier: MIT */
/**
 * libringlane: drive virtio disks from user space.
 *
 * A device has queues; each queue belongs to one thread at a time and shares no cache line with
 * another. Requests are asynchronous: queue some, submit them together, reap their completions by
 * polling or when the queue's file descriptor is readable. Data lies in memory that the device can
 * reach: allocate it from the device or register your own.
 *
 *     struct ringlane_device *disk;
 *     struct ringlane_error error;
 *
 *     if (ringlane_open("vhost-user-blk:/run/disk.sock", NULL, &disk, &error) < 0)
 *             fprintf(stderr, "%s\n", error.text);
 *
 * Functions return 0 or a count, or -errno. Offsets and lengths are bytes and multiples of the
 * logical block size. Only ringlane_open, ringlane_close, ringlane_reset,
 * ringlane_reconnect, ringlane_event and the memory functions may block; they belong to one thread at a time, and the queues' threads may go on meanwhile
 * (except during ringlane_close).
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

#define RINGLANE_API __attribute__((visibility("default")))

struct ringlane_device;
struct ringlane_queue;

/** Arguments called `error` may be NULL; the object is written only when a function fails. */
struct ringlane_error {
	int code;       /* -errno */
	char text[496]; /* one line for a person */
};

/* ---- device ---- */

struct ringlane_options {
	unsigned queues; /* at most what the device has; 0: one per CPU the process may use (an adapter keeps one) */
	unsigned queue_size; /* entries of a ring, power of two, 4 to 1024; 0: 256 */
	unsigned timeout_ms; /* for each answer of the back end; 0: 5000 */
	bool read_only;      /* refuse writes here */
	size_t mem_size;     /* bytes for ringlane_mem_alloc beside the rings; see there */
	unsigned cdb_size;   /* SCSI: bytes of a command, 16 to 260; 0: what the device has (32) */
	unsigned sense_size; /* SCSI: bytes of sense data, 14 to 252; 0: what the device has (96) */
};

/**
 * URI: `vhost-user-blk:PATH` or `vhost-user-scsi:PATH[?target=T&lun=L]` (scsi.h), the path of a
 * listening Unix socket; `vfio-blk:ADDRESS` or `vfio-scsi:ADDRESS[?target=T&lun=L]`, a PCI function
 * that is bound to vfio-pci, such as 0000:00:04.0. options may be NULL.
 *
 * Returns 0; -EINVAL bad URI or option; -ENOTSUP the device
 * lacks what a disk needs (VERSION_1, a configuration space); -EPROTO its answers make no sense;
 * -ETIMEDOUT; -ECONNREFUSED and whatever else connecting to the socket gives.
 */
RINGLANE_API int ringlane_open(const char *uri, const struct ringlane_options *options,
			       struct ringlane_device **ret_device, struct ringlane_error *error);
/**
 * Stops the queues, which makes the device finish what is in flight, at most timeout_ms long (over
 * VFIO it is reset instead: wait first), and frees everything, memory of ringlane_mem_alloc included. NULL is fine.
 */
RINGLANE_API void ringlane_close(struct ringlane_device *device);
RINGLANE_API const char *ringlane_version(void);

struct ringlane_info {
	uint64_t capacity;                                /* bytes */
	uint64_t features;                                /* offered, virtio bits */
	uint64_t features_acked;                          /* in use */
	uint64_t protocol_features;                       /* vhost-user bits in use */
	uint32_t logical_block_size, physical_block_size; /* bytes */
	uint64_t optimal_io_size;                         /* bytes, 0 = not told */
	uint32_t seg_max;                                 /* data segments of a request */
	uint32_t size_max; /* bytes of a segment, 0 = no limit; longer ones are split here */
	uint64_t discard_max, discard_alignment;      /* bytes of a range; 0 = not supported */
	uint64_t write_zeroes_max;                    /* bytes of a range; 0 = not supported */
	uint32_t discard_ranges, write_zeroes_ranges; /* of a request */
	bool write_zeroes_may_unmap;
	bool read_only;
	bool flush;                 /* ringlane_flush does something */
	bool write_cache;           /* what was written is safe only after ringlane_flush */
	unsigned queue_max, queues; /* of the device; in use */
	unsigned queue_size;        /* entries */
	unsigned mem_slots;         /* regions that can be allocated and registered, about */
	unsigned device_id;         /* virtio's: 2 a block device, 8 a SCSI one (scsi.h) */
	uint64_t request_max;       /* bytes of a read or write */
	uint64_t secure_erase_max, secure_erase_alignment; /* bytes of a range; 0 = not supported */
	uint32_t secure_erase_ranges;                      /* of a request */
};

/** As of ringlane_open or the last ringlane_event. On the thread of that. */
RINGLANE_API void ringlane_get_info(const struct ringlane_device *device,
				    struct ringlane_info *ret_info);
/** Readable when the device told a configuration change (resize), sent an event (scsi.h) or is gone. */
RINGLANE_API int ringlane_event_fd(const struct ringlane_device *device);
/**
 * 1: the configuration changed and info is fresh, or SCSI events came; 0: nothing; -ECONNRESET: the device is gone; any
 * other -errno: it changed and could not be read, info is as before.
 */
RINGLANE_API int ringlane_event(struct ringlane_device *device);

/*
 * When it goes wrong. No thread may be in a function of one of the device's queues meanwhile; the queues, memory and file
 * descriptors stay what they are. What is in flight comes out of ringlane_reap afterwards, each request once: with its own
 * result when the device had finished it, else as said here, in the order of submission. Only then its memory is the
 * caller's again, who may submit it once more.
 */

/**
 * Stops the queues of a device that hangs, and starts them anew; what was in flight is -ECANCELED, and may have happened.
 * -ETIMEDOUT, -ECONNRESET: the device did not confirm that it stopped (many back ends finish what is in flight first); the
 * requests stay in flight, and ringlane_reconnect and ringlane_close are what is left.
 */
RINGLANE_API int ringlane_reset(struct ringlane_device *device, struct ringlane_error *error);
/**
 * After -ECONNRESET, or to be rid of a device that cannot be reset: hangs up, waits until the other side has done so too, and
 * tries to connect again, all of it at most timeout_ms long and once at least. What was in flight is -ECONNRESET, and may have
 * happened; that is so too when only connecting failed, after which it can be tried again.
 *
 * -ETIMEDOUT: the other side does not hang up, the requests stay in flight; or nobody answered. -ENODEV: what is there now is
 * not the disk that was: features in use are missing, the block size is another, or something is smaller. -ENOTSUP: this
 * transport cannot. Else as ringlane_open.
 */
RINGLANE_API int ringlane_reconnect(struct ringlane_device *device, unsigned timeout_ms,
				    struct ringlane_error *error);

/**
 * Switches the write cache and brings info up to date (virtio 1.3, 5.2.5.1; of a SCSI disk by MODE SELECT, which needs a queue as
 * scsi.h says). Without a cache each write is safe when it has completed. -EOPNOTSUPP it cannot be switched; -ETIMEDOUT,
 * -ECONNRESET, -EREMOTEIO the device refused; -EBUSY, -ENXIO of a SCSI device.
 */
RINGLANE_API int ringlane_set_write_cache(struct ringlane_device *device, bool on,
					  struct ringlane_error *error);

/* ---- memory ---- */

/**
 * Page aligned, zeroed, shared with the device. NULL and *error when it cannot be had. What fits into
 * options.mem_size lies in one region with the rings, where back ends find it quickest; the rest is
 * a region for each call.
 */
RINGLANE_API void *ringlane_mem_alloc(struct ringlane_device *device, size_t size,
				      struct ringlane_error *error);
/** No request may be using it. NULL is fine. */
RINGLANE_API void ringlane_mem_free(struct ringlane_device *device, void *addr);
/**
 * Memory of the caller: a MAP_SHARED mapping of fd at offset, all of them page aligned. It must
 * stay mapped until unregistered; the fd may be closed. -EINVAL, -EEXIST when it overlaps a region
 * that is there, -ENOSPC when the device takes no further region.
 */
RINGLANE_API int ringlane_mem_register(struct ringlane_device *device, void *addr, size_t size,
				       int fd, uint64_t offset, struct ringlane_error *error);
/** No request may be using it. -ENOENT when addr was not registered. */
RINGLANE_API int ringlane_mem_unregister(struct ringlane_device *device, void *addr,
					 struct ringlane_error *error);

/* ---- queues ---- */

/** index: 0 to info.queues - 1; NULL beyond. */
RINGLANE_API struct ringlane_queue *ringlane_queue_get(struct ringlane_device *device,
						       unsigned index);
/** One-segment requests that are sure to fit at the same time. */
RINGLANE_API unsigned ringlane_queue_depth(const struct ringlane_queue *queue);
/** Requests queued or submitted and not reaped yet. */
RINGLANE_API unsigned ringlane_queue_in_flight(const struct ringlane_queue *queue);

enum ringlane_flags {
	RINGLANE_UNMAP = 1, /* write zeroes: the device may deallocate */
};

struct ringlane_range {
	uint64_t offset, bytes;
};

/*
 * Queue one request; it is not sent before ringlane_submit. user_data comes back with the
 * completion. A segment lies in one region of memory; at most 1 GiB altogether. Returns 0 or
 *
 * -EAGAIN      the queue is full: submit and reap first
 * -EINVAL      not a multiple of the block size, past the end, too long, too many segments
 * -EFAULT      memory that the device cannot reach
 * -EROFS       a write to a read-only disk
 * -EOPNOTSUPP  the device does not have this request
 * -EPROTO      the device has broken the rules of the ring: the queue is dead
 */
RINGLANE_API int ringlane_read(struct ringlane_queue *queue, void *data, size_t bytes,
			       uint64_t offset, void *user_data);
RINGLANE_API int ringlane_write(struct ringlane_queue *queue, const void *data, size_t bytes,
				uint64_t offset, void *user_data);
RINGLANE_API int ringlane_readv(struct ringlane_queue *queue, const struct iovec *iov,
				unsigned count, uint64_t offset, void *user_data);
RINGLANE_API int ringlane_writev(struct ringlane_queue *queue, const struct iovec *iov,
				 unsigned count, uint64_t offset, void *user_data);
RINGLANE_API int ringlane_flush(struct ringlane_queue *queue, void *user_data);
RINGLANE_API int ringlane_discard(struct ringlane_queue *queue, const struct ringlane_range *ranges,
				  unsigned count, void *user_data);
RINGLANE_API int ringlane_write_zeroes(struct ringlane_queue *queue,
				       const struct ringlane_range *ranges, unsigned count,
				       unsigned flags, void *user_data);
/** Discards so that nothing can be read again by any means. Ranges as of a discard. */
RINGLANE_API int ringlane_secure_erase(struct ringlane_queue *queue,
				       const struct ringlane_range *ranges, unsigned count,
				       void *user_data);
/** id: 20 bytes that the device can reach (not terminated when all are used). */
RINGLANE_API int ringlane_get_id(struct ringlane_queue *queue, char *id, void *user_data);

/**
 * Makes what was queued visible to the device and kicks it if it wants to be. Returns 1 when it
 * kicked, 0 when not.
 */
RINGLANE_API int ringlane_submit(struct ringlane_queue *queue);

struct ringlane_completion {
	void *user_data;
	int result; /* 0, -EIO, -EOPNOTSUPP, -EPROTO: the device did not say how it went; SCSI: also others (scsi.h) */
};

/**
 * Takes up to max completions that are there; never blocks. 0: none. When there are none:
 * -EPROTO: the device broke the ring's rules; -ECONNRESET: it is gone (noticed only now and then by
 * this function). What is in flight will not be completed before ringlane_reset or ringlane_reconnect.
 */
RINGLANE_API int ringlane_reap(struct ringlane_queue *queue,
			       struct ringlane_completion *completions, unsigned max);
/**
 * Submits, then waits until min completions are there (or all that are in flight, when those are
 * fewer), timeout_ms passed (-1: never) or the device is gone. Polls for spin_ns before it sleeps.
 * Returns their number, up to max, which may be below min after a timeout or a signal; else as
 * ringlane_reap.
 */
RINGLANE_API int ringlane_wait(struct ringlane_queue *queue,
			       struct ringlane_completion *completions, unsigned min, unsigned max,
			       int timeout_ms, uint64_t spin_ns);

/*
 * For an event loop of one's own: arm the queue; when that says 0, sleep until the queue's fd (or
 * ringlane_event_fd) is readable; then reap until nothing is left, and so on.
 */

/** Readable when the device called since the queue was armed. Not to be read. */
RINGLANE_API int ringlane_queue_fd(const struct ringlane_queue *queue);
/** Asks the device to call. 0: sleep; 1: completions are there already. */
RINGLANE_API int ringlane_queue_arm(struct ringlane_queue *queue);
/** The caller will poll: the device need not call. That is how a queue starts. */
RINGLANE_API void ringlane_queue_disarm(struct ringlane_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
