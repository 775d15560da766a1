/* SPDX-License-Identifier: MIT */
/**
 * libringlane: what a virtio-scsi device has beside a disk's requests (virtio 1.3, 5.6).
 *
 * A device opened with `vhost-user-scsi:PATH` is an adapter: behind it are targets (0 to 255), behind each target logical units
 * (LUN 0 to 16383). Everything of ringlane.h works on one of them, `?target=T&lun=L` of the URI, 0/0 when that is not said.
 * This header has the others: which there are, handles of LUNs, commands as bytes (CDBs), task management and events.
 *
 *     struct ringlane_scsi_unit units[64];
 *     struct ringlane_lun *lun;
 *     int count = ringlane_scsi_scan(device, NULL, units, 64, &error);
 *
 *     if (count > 0 && ringlane_lun_open(device, NULL, units[0].target, units[0].lun, &lun, &error) == 0)
 *             ringlane_lun_read(queue, lun, buffer, 4096, 0, NULL);
 *
 * Functions that take a queue and a LUN belong to the queue's thread, as those of ringlane.h do; a LUN may be used by all
 * queues at once. The others belong to the thread of ringlane_event, and block, at most timeout_ms of the options for each
 * command. Their commands need a queue: the device's own one (NULL), or one that the caller has at its disposal at the moment.
 * The device has one of its own when it has more queues than are in use (info.queues < info.queue_max); ringlane_open leaves
 * it one when it may choose (options.queues = 0).
 */
#ifndef RINGLANE_SCSI_H
#define RINGLANE_SCSI_H

#include <ringlane/ringlane.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ringlane_lun;

/* ---- which there are ---- */

/* Of INQUIRY (SPC-4, 6.4.2); words end with a NUL and have no spaces around them, other bytes than ASCII are '?'. */
struct ringlane_scsi_unit {
	uint16_t target, lun;
	uint8_t type; /* peripheral device type: 0 is a disk */
	char vendor[9], product[17], revision[5];
};

/**
 * Asks each target that the device may have for its LUNs (REPORT LUNS), and each of them for its INQUIRY data. Units beyond
 * max are counted, not told; so are none that their target does not have at the moment.
 *
 * Returns how many there are; -EBUSY no queue, see above; -ENOTSUP not a SCSI device; -ETIMEDOUT, -ECONNRESET, -EPROTO as
 * ringlane_wait.
 */
RINGLANE_API int ringlane_scsi_scan(struct ringlane_device *device, struct ringlane_queue *queue,
				    struct ringlane_scsi_unit *units, unsigned max,
				    struct ringlane_error *error);

/* ---- LUNs ---- */

struct ringlane_lun_info {
	struct ringlane_scsi_unit unit;
	char serial[64];   /* VPD page 80h; "" = none */
	uint64_t wwn;      /* NAA name of the logical unit, VPD page 83h; 0 = none */
	uint64_t capacity; /* bytes */
	uint32_t logical_block_size, physical_block_size; /* bytes */
	uint64_t optimal_io_size;                         /* bytes, 0 = not told */
	uint64_t request_max;                             /* bytes of a read or write */
	uint64_t discard_max;        /* bytes of a request's ranges together; 0 = no UNMAP */
	uint32_t discard_ranges;     /* of a request */
	uint64_t discard_alignment;  /* bytes, 0 = not told */
	uint64_t write_zeroes_max;   /* bytes; 0 = no WRITE SAME (16) */
	uint32_t compare_write_max;  /* bytes; 0 = no COMPARE AND WRITE */
	bool write_zeroes_may_unmap; /* VPD page B2h: LBPWS */
	bool thin;                   /* READ CAPACITY (16): LBPME */
	bool unmapped_reads_zero;    /* LBPRZ */
	bool read_only;              /* write protected, or options.read_only */
	bool write_cache;            /* mode page 08h: WCE */
	bool can_switch_write_cache; /* the page says that WCE can be changed */
};

/**
 * Takes the pending UNIT ATTENTIONs and finds out what the LUN is. What is no disk (unit.type is not 0) has a capacity of 0
 * and takes commands as bytes. -ENXIO no such LUN; -ENOTSUP not a SCSI device; -ENOMEDIUM; -EPROTO answers that make no sense; -EBUSY; -ETIMEDOUT; -ECONNRESET; or what a command gave (see
 * ringlane_scsi_strerror).
 */
RINGLANE_API int ringlane_lun_open(struct ringlane_device *device, struct ringlane_queue *queue,
				   unsigned target, unsigned lun, struct ringlane_lun **ret_lun,
				   struct ringlane_error *error);
/** No request may be using it; not the LUN of ringlane_lun_default. NULL is fine. */
RINGLANE_API void ringlane_lun_close(struct ringlane_lun *lun);
/** The one that the functions of ringlane.h act on; NULL: there was none when the device was opened. */
RINGLANE_API struct ringlane_lun *ringlane_lun_default(struct ringlane_device *device);
RINGLANE_API void ringlane_lun_get_info(const struct ringlane_lun *lun,
					struct ringlane_lun_info *ret_info);
/**
 * Reads capacity, write protection and write cache again, as after RINGLANE_SCSI_PARAM_CHANGE. Queues that use the LUN
 * see the new capacity at once. Errors as ringlane_lun_open.
 */
RINGLANE_API int ringlane_lun_refresh(struct ringlane_lun *lun, struct ringlane_queue *queue,
				      struct ringlane_error *error);
/**
 * Switches the write cache by MODE SELECT. -EOPNOTSUPP: it cannot be switched; -EROFS; others as ringlane_lun_open.
 */
RINGLANE_API int ringlane_lun_set_write_cache(struct ringlane_lun *lun,
					      struct ringlane_queue *queue, bool on,
					      struct ringlane_error *error);

/*
 * The requests of ringlane.h on any LUN: READ and WRITE (10) or (16), SYNCHRONIZE CACHE (10), UNMAP, WRITE SAME (16). Return
 * what those return. A completion's result is one of ringlane_scsi_strerror's.
 */
RINGLANE_API int ringlane_lun_read(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				   void *data, size_t bytes, uint64_t offset, void *user_data);
RINGLANE_API int ringlane_lun_write(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				    const void *data, size_t bytes, uint64_t offset,
				    void *user_data);
RINGLANE_API int ringlane_lun_readv(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				    const struct iovec *iov, unsigned count, uint64_t offset,
				    void *user_data);
RINGLANE_API int ringlane_lun_writev(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				     const struct iovec *iov, unsigned count, uint64_t offset,
				     void *user_data);
RINGLANE_API int ringlane_lun_flush(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				    void *user_data);
RINGLANE_API int ringlane_lun_discard(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				      const struct ringlane_range *ranges, unsigned count,
				      void *user_data);
/** One range. */
RINGLANE_API int ringlane_lun_write_zeroes(struct ringlane_queue *queue,
					   const struct ringlane_lun *lun,
					   const struct ringlane_range *range, unsigned flags,
					   void *user_data);
/**
 * COMPARE AND WRITE (SBC-4, 5.3): bytes of the disk at offset are compared with data, and when they are equal, replaced with
 * the bytes behind it, in one step. data: 2 * bytes, first what is expected, then what is to be written. The result is
 * -EILSEQ when they are not equal.
 */
RINGLANE_API int ringlane_lun_compare_and_write(struct ringlane_queue *queue,
						const struct ringlane_lun *lun, const void *data,
						size_t bytes, uint64_t offset, void *user_data);

/* ---- commands ---- */

#define RINGLANE_SCSI_SENSE_MAX 252 /* SPC-4, 4.5.1 */

/* virtio 1.3, 5.6.6.1 */
enum ringlane_scsi_response {
	RINGLANE_SCSI_OK = 0, /* status, and only then, means something */
	RINGLANE_SCSI_OVERRUN = 1,
	RINGLANE_SCSI_ABORTED = 2,
	RINGLANE_SCSI_BAD_TARGET = 3,
	RINGLANE_SCSI_WAS_RESET = 4,
	RINGLANE_SCSI_BUSY = 5,
	RINGLANE_SCSI_TRANSPORT_FAILURE = 6,
	RINGLANE_SCSI_TARGET_FAILURE = 7,
	RINGLANE_SCSI_NEXUS_FAILURE = 8,
	RINGLANE_SCSI_FAILURE = 9,
	RINGLANE_SCSI_INCORRECT_LUN = 12,
	RINGLANE_SCSI_NONE = 0xff, /* the device wrote none */
};

struct ringlane_scsi_result {
	uint8_t response; /* enum ringlane_scsi_response, or whatever the device wrote */
	uint8_t status;   /* SAM-5, 5.3; 0xff when response is not OK */
	uint16_t status_qualifier;
	uint32_t residual;  /* bytes of the data that were not transferred */
	uint32_t sense_len; /* bytes of sense[] that count */
	uint8_t sense[RINGLANE_SCSI_SENSE_MAX];
};

enum ringlane_scsi_direction {
	RINGLANE_SCSI_NO_DATA,
	RINGLANE_SCSI_DATA_IN,
	RINGLANE_SCSI_DATA_OUT
};

/* virtio 1.3, 5.6.6.1 and SAM-5, 8.6 */
enum ringlane_scsi_attribute {
	RINGLANE_SCSI_SIMPLE,
	RINGLANE_SCSI_ORDERED,
	RINGLANE_SCSI_HEAD_OF_QUEUE,
	RINGLANE_SCSI_ACA,
};

struct ringlane_scsi_command {
	const uint8_t *cdb;
	unsigned cdb_len; /* at most the device's cdb_size, 32 unless it was opened with another */
	enum ringlane_scsi_attribute attribute;
	enum ringlane_scsi_direction direction;
	const struct iovec *iov; /* data, at most 1 GiB; memory that the device can reach */
	unsigned iov_count;
	struct ringlane_scsi_result
		*result; /* NULL, or where it is put before the completion is reaped */
	void *user_data;
};

/**
 * Queues a command as it is. Its completion's result is 0 when response is OK and status GOOD or CONDITION MET, or one of
 * ringlane_scsi_strerror's; a residual is no error here. A LUN opened read only does not keep commands from writing.
 *
 * Returns 0, or as in ringlane.h: -EAGAIN, -EINVAL, -EFAULT, -EPROTO; -ENXIO lun is NULL; -ENOTSUP not a SCSI device.
 */
RINGLANE_API int ringlane_lun_command(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				      const struct ringlane_scsi_command *command);
/**
 * The tag of the request that was queued last, whichever function queued it: unique among all that the device has. For
 * RINGLANE_SCSI_ABORT_TASK and RINGLANE_SCSI_QUERY_TASK. 0: none, or no SCSI device.
 */
RINGLANE_API uint64_t ringlane_scsi_tag(const struct ringlane_queue *queue);
/**
 * Where the device's answer to the request that was queued last shall be, whichever function queued it: put there before
 * its completion is reaped, when the answer is not simply good (of a command: always). Until then, and when the request ends
 * without an answer, response is RINGLANE_SCSI_NONE; so it stays on a queue of another device. Before ringlane_submit.
 */
RINGLANE_API void ringlane_scsi_want_result(struct ringlane_queue *queue,
					    struct ringlane_scsi_result *result);

/**
 * What a result means: 0 or the completion's -errno, and a sentence in text, such as "ILLEGAL REQUEST: logical block address
 * out of range (sense 5/21/00)". text may be NULL.
 *
 *     -ENXIO        BAD_TARGET, INCORRECT_LUN, logical unit not supported (ASC 25h)
 *     -ECANCELED    ABORTED, RESET, TASK ABORTED, ABORTED COMMAND: it may have been done or not
 *     -EBUSY        BUSY, TASK SET FULL, ACA ACTIVE, not ready (ASC 04h)
 *     -ERESTART     UNIT ATTENTION: nothing was done; the attention is told, so queue it again (all requests but
 *                   ringlane_lun_command are sent again by the library, 16 times at most)
 *     -EBADE        NEXUS_FAILURE, RESERVATION CONFLICT
 *     -EOVERFLOW    OVERRUN: more data than the request has room for
 *     -ECOMM        TRANSPORT_FAILURE
 *     -EREMOTEIO    TARGET_FAILURE, HARDWARE ERROR
 *     -EOPNOTSUPP   invalid command operation code (ASC 20h)
 *     -ERANGE       logical block address out of range (ASC 21h)
 *     -EINVAL       every other ILLEGAL REQUEST
 *     -EROFS        DATA PROTECT
 *     -ENOSPC       DATA PROTECT, space allocation failed (ASC/ASCQ 27h/07h); VOLUME OVERFLOW
 *     -ENOMEDIUM    medium not present (ASC 3Ah)
 *     -EILSEQ       MISCOMPARE
 *     -ENODATA      fewer bytes were transferred than a read or write has (not told here: of completions only)
 *     -EIO          FAILURE, MEDIUM ERROR, every other sense key
 *     -EPROTO       the device did not say how it went, or said nonsense
 */
RINGLANE_API int ringlane_scsi_strerror(const struct ringlane_scsi_result *result, char *text,
					size_t size);

/* ---- task management ---- */

/* virtio 1.3, 5.6.6.2 and SAM-5, 7 */
enum ringlane_scsi_function {
	RINGLANE_SCSI_ABORT_TASK,
	RINGLANE_SCSI_ABORT_TASK_SET,
	RINGLANE_SCSI_CLEAR_ACA,
	RINGLANE_SCSI_CLEAR_TASK_SET,
	RINGLANE_SCSI_I_T_NEXUS_RESET,
	RINGLANE_SCSI_LOGICAL_UNIT_RESET,
	RINGLANE_SCSI_QUERY_TASK,
	RINGLANE_SCSI_QUERY_TASK_SET,
};

/**
 * Sends a function on the control queue and waits for its answer, at most timeout_ms (0: as the options say). tag: of the
 * task functions. What a function ends comes as completions of the queues, which may be reaped only afterwards.
 *
 * Returns 1 FUNCTION SUCCEEDED (a query found a task); 0 FUNCTION COMPLETE; -EOPNOTSUPP rejected; -ENXIO BAD_TARGET or
 * INCORRECT_LUN; -ETIMEDOUT no answer: nothing is known, and the function may still happen; -EBUSY too many without an
 * answer; -ENOTSUP not a SCSI device; -ECONNRESET; -EPROTO; -EIO every other response.
 */
RINGLANE_API int ringlane_scsi_manage(struct ringlane_device *device,
				      enum ringlane_scsi_function function, unsigned target,
				      unsigned lun, uint64_t tag, unsigned timeout_ms);

/* ---- events ---- */

/* virtio 1.3, 5.6.6.3 */
enum ringlane_scsi_event_type {
	RINGLANE_SCSI_MISSED,  /* events were lost: look at everything again (ringlane_scsi_scan) */
	RINGLANE_SCSI_RESCAN,  /* a LUN came; LUN 0: the whole target may have changed */
	RINGLANE_SCSI_REMOVED, /* a LUN went; LUN 0: the whole target may have */
	RINGLANE_SCSI_RESET_HARD,   /* a LUN was reset */
	RINGLANE_SCSI_PARAM_CHANGE, /* asc and ascq say what; 2Ah/09h: the capacity */
	RINGLANE_SCSI_ASYNC_NOTIFY, /* reason: virtio's bits */
};

struct ringlane_scsi_event {
	enum ringlane_scsi_event_type type;
	uint16_t target, lun; /* not of MISSED */
	uint8_t asc, ascq;
	uint32_t reason; /* as the device wrote it */
};

/**
 * ringlane_event takes what the device sent and returns 1; this gives one event after the other. 1: *ret_event; 0: no more;
 * -ENOTSUP not a SCSI device; -EPROTO the device broke the rules of the event queue: there will be no more.
 */
RINGLANE_API int ringlane_scsi_event(struct ringlane_device *device,
				     struct ringlane_scsi_event *ret_event);

#ifdef __cplusplus
}
#endif

#endif
