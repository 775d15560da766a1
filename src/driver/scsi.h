/* SPDX-License-Identifier: MIT */
/*
 * What the files of the virtio-scsi driver share; nobody else includes this but queue.c, blk.c and device.c.
 *
 * scsi_config.c    the configuration space
 * scsi_device.c    opening and closing an adapter
 * scsi_request.c   a command, from its chain to its result
 * scsi_chain.h     a command on its way into the ring
 * scsi_block.c     commands of a disk
 * scsi_result.c    what a result means
 * scsi_sync.c      a command that is waited for
 * scsi_inquiry.c   what a LUN says of itself, taken apart
 * scsi_lun.c       handles of LUNs
 * scsi_scan.c      which LUNs there are
 * scsi_control.c   the control queue
 * scsi_event.c     the event queue
 */
#ifndef RINGLANE_DRIVER_SCSI_H
#define RINGLANE_DRIVER_SCSI_H

#include "base/endian.h"
#include "driver/queue.h"
#include "driver/scsi_config.h"

#include <linux/virtio_scsi.h>
#include <ringlane/scsi.h>
#include <string.h>

#define SCSI_HEADER_BYTES 19u   /* of a request, before its CDB: virtio 1.3, 5.6.6.1 */
#define SCSI_RESPONSE_BYTES 12u /* before the sense data */
#define SCSI_RANGES_MAX 15u     /* of an UNMAP */
#define SCSI_STATUS_CHECK_CONDITION 0x02
#define SCSI_STATUS_NEVER 0xff

/* SPC-4, 4.5.6: those that the driver itself looks at. */
enum scsi_key {
	SCSI_KEY_NOT_READY = 0x2,
	SCSI_KEY_ILLEGAL_REQUEST = 0x5,
	SCSI_KEY_UNIT_ATTENTION = 0x6,
	SCSI_KEY_DATA_PROTECT = 0x7,
};

struct ringlane_lun {
	struct queue_limits limits; /* lines of its own: read by all queues */
	/* set up once */
	uint64_t address; /* as its 8 bytes lie in memory */
	uint8_t block_shift;
	bool write_same_ndob, write_same_unmap; /* what WRITE SAME (16) can do */
	uint64_t request_max;                   /* bytes of a read or write */
	uint32_t compare_write_max;
	/* the owner's thread */
	struct ringlane_device *device;
	bool force_read_only;
	struct ringlane_lun_info info;
};

/* virtio 1.3, 5.6.6.1: single level, flat space. Above 16383: taken as it is (well-known LUNs). */
uint64_t scsi_address(unsigned target, unsigned lun);
#define SCSI_LUN_REPORT_LUNS 0xc101u

/* ---- scsi_result.c ---- */

struct scsi_sense {
	bool valid;
	uint8_t key, asc, ascq;
};

struct scsi_sense scsi_sense_parse(const uint8_t *bytes, unsigned size);
/* There is no answer. The sense data is left as it is. */
static inline void scsi_result_preset(struct ringlane_scsi_result *result)
{
	result->response = RINGLANE_SCSI_NONE;
	result->status = SCSI_STATUS_NEVER;
	result->status_qualifier = 0;
	result->residual = result->sense_len = 0;
}

int scsi_errno(unsigned response, unsigned status, const uint8_t *sense, unsigned sense_len);

/* ---- scsi_request.c: on the queue's thread ---- */

enum scsi_kind {
	SCSI_TRANSFER,  /* a residual is an error */
	SCSI_PLAIN,     /* nothing to be looked at but how it went */
	SCSI_COMMAND,   /* its result is wanted whatever it is */
	SCSI_GET_ID,    /* to char[20]; the page is in the request's ranges */
	SCSI_SYNC,      /* to struct scsi_sync. No completion of the caller's */
	SCSI_ABANDONED, /* a SCSI_SYNC that nobody waits for any more */
};

/* A request that is out; the device cannot reach it. Small, so that many share a line. */
struct scsi_slot {
	uint16_t kind;      /* as wide as this, so that the first three are one word to be stored */
	uint8_t attentions; /* how often it was sent again */
	bool has_targets;
	uint32_t data_bytes;
};

/* Where things go that most requests do not have; by id, and not looked at without has_targets. */
struct scsi_targets {
	void *data;
	struct ringlane_scsi_result *result; /* where it is wanted; NULL: nowhere */
};

struct scsi_sync {
	struct ringlane_scsi_result result;
	bool done;
};

/* A CDB of up to 16 bytes, as it lies in memory; in words, so that one that is made from a request stays in registers. */
struct scsi_cdb {
	struct le64 words[2];
};

static inline struct scsi_cdb scsi_cdb_of(const uint8_t bytes[16])
{
	struct scsi_cdb cdb;

	memcpy(&cdb, bytes, sizeof(cdb));
	return cdb;
}

/* A command to be queued. Its data: segments that lie in queue->sg from scsi_data_first(direction) on. */
struct scsi_request {
	uint64_t address;
	struct scsi_cdb cdb;
	const uint8_t *cdb_rest; /* what comes behind; NULL: zeros */
	unsigned cdb_rest_len;
	uint8_t attribute;
	enum ringlane_scsi_direction direction;
	unsigned segments;
	enum scsi_kind kind;
	uint32_t data_bytes;
	struct scsi_targets targets;
	void *user_data;
};

/* The request stands before data that is written, request and response before data that is read. */
static inline unsigned scsi_data_first(enum ringlane_scsi_direction direction)
{
	return direction == RINGLANE_SCSI_DATA_IN ? 2 : 1;
}

/* There is room (queue_room). Returns the id, or -EAGAIN, -EINVAL, -EPROTO. sg: queue->sg, or two entries more than segments. */
int scsi_request_add(struct ringlane_queue *queue, struct virtq_sg *sg,
		     const struct scsi_request *request);
int scsi_queue_reap(struct ringlane_queue *queue, struct ringlane_completion *completions,
		    unsigned max);
/* What is outstanding has been told as ended without the device: should it answer, nothing of the callers' is written to. */
void scsi_queue_forget(struct ringlane_queue *queue);
/* Reaps into the stash; fewer than ring.size requests are in flight, so that there is room. 0 or -errno. */
int scsi_queue_stash(struct ringlane_queue *queue);

/* ---- scsi_block.c: the functions of ringlane.h on a queue of this kind ---- */

int scsi_queue_read(struct ringlane_queue *queue, void *data, size_t bytes, uint64_t offset,
		    void *user_data);
int scsi_queue_write(struct ringlane_queue *queue, const void *data, size_t bytes, uint64_t offset,
		     void *user_data);
int scsi_queue_readv(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		     uint64_t offset, void *user_data);
int scsi_queue_writev(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		      uint64_t offset, void *user_data);
int scsi_queue_flush(struct ringlane_queue *queue, void *user_data);
int scsi_queue_discard(struct ringlane_queue *queue, const struct ringlane_range *ranges,
		       unsigned count, void *user_data);
int scsi_queue_write_zeroes(struct ringlane_queue *queue, const struct ringlane_range *ranges,
			    unsigned count, unsigned flags, void *user_data);
int scsi_queue_get_id(struct ringlane_queue *queue, char *id, void *user_data);

/* ---- scsi_sync.c: on a thread that has the queue at its disposal ---- */

struct scsi_exec {
	uint64_t address;
	uint8_t cdb[16];
	enum ringlane_scsi_direction direction;
	unsigned bytes; /* of data, in queue->scsi.scratch, at most QUEUE_SCRATCH_BYTES */
};

/*
 * Sends it, waits for its result, and again as long as the LUN has UNIT ATTENTIONs. *ret_got: bytes of data that came. Other
 * requests' completions are kept for ringlane_reap. Returns 0 or as ringlane_scsi_strerror says, or -ETIMEDOUT (the queue's scratch
 * memory is the device's until it answers), -EBUSY (that is so), -EAGAIN (the queue is full), -EPROTO, -ECONNRESET.
 */
int scsi_exec(struct ringlane_queue *queue, const struct scsi_exec *exec, unsigned timeout_ms,
	      struct ringlane_scsi_result *ret_result, unsigned *ret_got);

/* ---- scsi_inquiry.c: bytes from a LUN, any of them. Pure. ---- */

/* What pages say, in blocks, before it becomes ringlane_lun_info. */
struct scsi_limits {
	uint64_t transfer_max, unmap_max, write_same_max, optimal, unmap_granularity;
	uint32_t unmap_ranges, compare_write_max;
};

bool scsi_parse_inquiry(const uint8_t *bytes, unsigned size, struct ringlane_scsi_unit *unit);
/* Does the list of VPD pages (page 00h) have this one? */
bool scsi_parse_has_page(const uint8_t *bytes, unsigned size, unsigned page);
void scsi_parse_serial(const uint8_t *bytes, unsigned size, char *text, unsigned text_size);
uint64_t scsi_parse_wwn(const uint8_t *bytes, unsigned size);
void scsi_parse_limits(const uint8_t *bytes, unsigned size, struct scsi_limits *limits);
void scsi_parse_provisioning(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info,
			     bool *ret_unmap);
/* -EPROTO */
int scsi_parse_capacity10(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info);
int scsi_parse_capacity16(const uint8_t *bytes, unsigned size, struct ringlane_lun_info *info);
/* Of a MODE SENSE (6) with page 08h or 3Fh: where the page is, 0: not there. *ret_write_protected counts always. */
unsigned scsi_parse_caching(const uint8_t *bytes, unsigned size, bool *ret_write_protected);
/* REPORT LUNS: the index-th entry as a number; -1: none that this driver can address. */
unsigned scsi_parse_lun_count(const uint8_t *bytes, unsigned size);
int scsi_parse_lun(const uint8_t *bytes, unsigned index);

/* ---- the owner's thread ---- */

#define SCSI_EVENT_BUFFERS 16u /* also the size of that ring */
#define SCSI_CONTROL_SIZE 16u
#define SCSI_EVENTS_KEPT 64u

/* Events that came and were not asked for yet. */
struct scsi_events {
	struct ringlane_scsi_event kept[SCSI_EVENTS_KEPT];
	unsigned first, count;
	bool lost; /* there was no room: MISSED is due */
};

/* A task management function that is out, by id. */
struct scsi_control_slot {
	bool out, done;
};

struct scsi_adapter {
	struct scsi_config config;
	unsigned timeout_ms;
	bool read_only;
	struct ringlane_queue *control, *event; /* of the device's rings */
	struct ringlane_queue
		*own; /* for commands of the device itself; NULL: none could be spared */
	struct ringlane_lun *lun; /* that functions of ringlane.h act on; NULL: it was not there */
	struct scsi_events events;
	struct scsi_control_slot slots[SCSI_CONTROL_SIZE];
};

/* scsi_lun.c. The queue for a command: the caller's, the device's own, or -ENOTSUP, -EBUSY. */
int scsi_queue_choose(struct ringlane_device *device, struct ringlane_queue *queue,
		      struct ringlane_queue **ret_queue, struct error *error);
/* What scsi_exec returned, as an error that begins with the LUN and the command's name. */
int scsi_error(const struct ringlane_device *device, int ret, uint64_t address, const char *name,
	       const struct ringlane_scsi_result *result, struct error *error);

/* scsi_event.c. All buffers into the ring, which the device knows; once. */
int scsi_event_start(struct ringlane_device *device, struct error *error);
/* Takes what there is. 1: something came, 0: nothing, -EPROTO. */
int scsi_event_take(struct ringlane_device *device);

/* scsi_device.c: steps of opening and closing (device.c) */
struct uri;
void scsi_device_init(struct ringlane_device *device, const struct uri *uri,
		      const struct ringlane_options *options);
/* The rings are there, the device has not seen them. */
void scsi_device_set_rings(struct ringlane_device *device);
/* Into device->scsi.config and *info: what does not depend on a LUN. */
int scsi_device_config(struct ringlane_device *device, const struct ringlane_options *options,
		       unsigned ring_max, struct ringlane_info *info, struct error *error);
/* The device runs: events, and the LUN that the URI names. */
int scsi_device_start(struct ringlane_device *device, const struct uri *uri, struct error *error);
/* The default LUN has said something new. */
void scsi_device_info_update(struct ringlane_device *device);
void scsi_device_fini(struct ringlane_device *device);
/* 1: an event, perhaps with a new size; 0: nothing; -errno. */
int scsi_device_event(struct ringlane_device *device);

#endif
