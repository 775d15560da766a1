/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: one request from its chain to its response (virtio 1.3, 5.6.6.1). Nearly all take the short way of scsi_transfer.c; here
 * is what any may need.
 *
 * Theory of operation. The header and the CDB are copied out of guest memory once; what is readable behind them is the data to the
 * disk. The writable part begins with the response and its sense data, and goes on with the data from the disk. No layout of
 * descriptors is assumed (virtio 1.3, 2.7.4): the header is gathered, and the response remembers the entries that it is spread over.
 *
 * A chain that is not understood is answered with FAILURE when it has room for a response, and breaks the queue when it has none.
 *
 * The response is always written whole, its sense field padded with zeros, because the used length counts from its beginning.
 *
 * All of it runs on the lane's loop.
 */
#include "base/endian.h"
#include "base/iov.h"
#include "device/scsi_internal.h"

#include <errno.h>
#include <string.h>

static_assert(offsetof(struct virtio_scsi_cmd_req, cdb) == SCSI_HEADER_BYTES,
	      "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req_pi, cdb) == SCSI_HEADER_PI_BYTES,
	      "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_resp, sense) == SCSI_RESPONSE_BYTES,
	      "virtio 1.3, 5.6.6.1");
static_assert(SCSI_SEG_MAX + 2 <= LANE_IOV_MAX, "a request of seg_max segments fits a slot");
static_assert(VIRTIO_SCSI_S_SIMPLE == SCSI_SIMPLE && VIRTIO_SCSI_S_ORDERED == SCSI_ORDERED &&
		      VIRTIO_SCSI_S_HEAD == SCSI_HEAD_OF_QUEUE && VIRTIO_SCSI_S_ACA == SCSI_ACA,
	      "the target's numbers are virtio's");

/* ---- the response ---- */

/* Two words, so that it travels in registers: what is written to memory in pieces and read at once makes a CPU wait. */
struct response {
	uint64_t lengths; /* sense_len, resid */
	uint32_t codes;   /* status_qualifier, status, response */
};

static_assert(offsetof(struct virtio_scsi_cmd_resp, resid) == 4, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_resp, status) == 10, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_resp, response) == 11, "virtio 1.3, 5.6.6.1");

static struct response response_make(uint8_t code, uint8_t status, uint64_t residual,
				     unsigned sense_length)
{
	return (struct response){
		.lengths = sense_length | MIN(residual, UINT32_MAX) << 32,
		.codes = (uint32_t)status << 16 | (uint32_t)code << 24,
	};
}

static void response_put(uint8_t bytes[SCSI_RESPONSE_BYTES], struct response response)
{
	struct le64 lengths = le64_make(response.lengths);
	struct le32 codes = le32_make(response.codes);

	memcpy(bytes, &lengths, sizeof(lengths));
	memcpy(bytes + sizeof(lengths), &codes, sizeof(codes));
}

static void response_put_spread(const struct scsi_request *request, size_t offset,
				const void *bytes, size_t size)
{
	const struct iovec *iov = request->response_iov;
	size_t whole = iov_size(iov, request->response_count), put = 0;

	if (offset < whole)
		put = iov_from_buffer(iov, request->response_count, offset, bytes, size);
	offset = offset + put - whole;
	iov_from_buffer(&request->response_last, 1, offset, (const uint8_t *)bytes + put,
			size - put);
}

static void response_write(struct scsi_request *request, struct response response,
			   unsigned sense_length)
{
	static const uint8_t zeros[64];
	unsigned at = SCSI_RESPONSE_BYTES, end = SCSI_RESPONSE_BYTES + request->sense_size;
	uint8_t bytes[SCSI_RESPONSE_BYTES];

	response_put(bytes, response);
	response_put_spread(request, 0, bytes, SCSI_RESPONSE_BYTES);
	response_put_spread(request, at, request->task.sense, sense_length);
	for (at += sense_length; at < end; at += MIN(end - at, sizeof(zeros)))
		response_put_spread(request, at, zeros, MIN(end - at, sizeof(zeros)));
}

/* Published by the lane: the driver sees it before the used entry. data_bytes: that went in. */
static void request_finish(struct scsi_request *request, struct response response,
			   unsigned sense_length, uint64_t data_bytes)
{
	uint64_t written = SCSI_RESPONSE_BYTES + request->sense_size + data_bytes;

	response_write(request, response, sense_length);
	request->lq = NULL;
	lane_complete(&request->base, (uint32_t)MIN(written, UINT32_MAX));
}

void scsi_request_refuse(struct scsi_request *request, uint8_t code)
{
	request->state = SCSI_REQUEST_RUNS;
	request_finish(request, response_make(code, 0, 0, 0), 0, 0);
}

static slow_path void request_overrun(struct scsi_request *request)
{
	uint64_t residual = request->task.residual;

	request_finish(request, response_make(VIRTIO_SCSI_S_OVERRUN, 0, residual, 0), 0, 0);
}

/* status and sense count only when the response is OK (virtio 1.3, 5.6.6.1). */
static void request_answer(struct scsi_request *request)
{
	const struct scsi_task *task = &request->task;
	uint64_t residual = task->residual;
	unsigned sense_length = MIN(task->sense_length, request->sense_size);

	if (unlikely(task->fit == SCSI_OVERFLOW)) {
		request_overrun(request);
		return;
	}
	request_finish(request,
		       response_make(VIRTIO_SCSI_S_OK, task->status, residual, sense_length),
		       sense_length, task->in_bytes - MIN(residual, task->in_bytes));
}

/* A command of a LUN. */
static void request_done(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_lun_queue *lq = request->lq;

	scsi_lun_queue_end(lq);
	if (request->aborted)
		scsi_request_refuse(request, request->aborted);
	else
		request_answer(request);
	if (lq->slow)
		scsi_lun_queue_ended(lq, request);
}

/* A command without one. Its slot is as it was prepared again. */
static void request_done_alone(struct scsi_task *task)
{
	task->done = request_done;
	task->well_known = false;
	request_answer(container_of(task, struct scsi_request, task));
}

/* ---- what the target asks us ---- */

static struct scsi_queue *queue_of(struct scsi_request *request)
{
	return lane_private(request->base.lane);
}

/* Each target is a SCSI device of its own, with an inventory of its own. */
static unsigned target_of(const struct scsi_request *request)
{
	return request->lq ? request->lq->lun->target : request->target;
}

static void luns_reported(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	const struct scsi_lun_table *table = load_acquire(&queue_of(request)->device->table);

	scsi_table_clear_attention(table, target_of(request), SCSI_ASC_REPORTED_LUNS_CHANGED);
}

static unsigned list_luns(struct scsi_task *task, uint64_t *luns, unsigned max)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	const struct scsi_lun_table *table = load_acquire(&queue_of(request)->device->table);

	return scsi_table_list(table, target_of(request), luns, max);
}

/* A LUN that is held now would be disturbed; what waits for us does not wait for its own peer use. */
static int peer_get(struct scsi_task *task, uint64_t naa, struct scsi_peer *ret_peer)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_queue *queue = queue_of(request);
	const struct scsi_lun_table *table = load_acquire(&queue->device->table);
	struct scsi_lun *lun = scsi_table_find_name(table, naa);
	struct scsi_lun_queue *lq;
	int ret;

	if (!lun)
		return -ENOENT;
	lq = scsi_lun_queue_of(lun, queue);
	if (load_relaxed(&lq->holds) && lq != request->lq)
		return -EBUSY;
	ret = scsi_lun_queue_open(lun, queue);
	if (ret < 0)
		return ret;
	scsi_lun_queue_use(lq);
	*ret_peer = (struct scsi_peer){ .nexus = lun->nexus, .channel = lq->channel, .opaque = lq };
	return 0;
}

static void peer_put(struct scsi_task *task, struct scsi_peer *peer)
{
	scsi_lun_queue_put(peer->opaque);
}

static const struct scsi_task_ops task_ops = {
	.exclusive = scsi_lun_queue_exclusive,
	.exclusive_end = scsi_lun_queue_exclusive_end,
	.abort_marked = scsi_lun_queue_abort_marked,
	.list_luns = list_luns,
	.luns_reported = luns_reported,
	.peer_get = peer_get,
	.peer_put = peer_put,
};

/* ---- taking the chain apart ---- */

/* What is read of it. */
struct header {
	uint64_t lun; /* its 8 bytes, little endian */
	uint8_t attribute;
};

static_assert(offsetof(struct virtio_scsi_cmd_req, tag) == 8, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, task_attr) == 16, "virtio 1.3, 5.6.6.1");

static uint64_t le64_at(const uint8_t *bytes)
{
	struct le64 value;

	memcpy(&value, bytes, sizeof(value));
	return le64_get(value);
}

/* Reads each byte once. */
static struct header header_read(struct scsi_request *request,
				 const uint8_t bytes[SCSI_HEADER_BYTES])
{
	request->tag = le64_at(bytes + 8);
	return (struct header){ .lun = le64_at(bytes), .attribute = bytes[16] };
}

static void cdb_set(struct scsi_task *task, const uint8_t *bytes, unsigned size)
{
	size = MIN(size, SCSI_CDB_BYTES);
	memcpy(task->cdb, bytes, size);
	memset(task->cdb + size, 0, SCSI_CDB_BYTES - size);
}

/* Both fields. */
static uint64_t pi_bytes(const uint8_t *bytes, union scsi_layout layout)
{
	return layout.cdb_offset == SCSI_HEADER_PI_BYTES ? le64_at(bytes + SCSI_HEADER_BYTES) : 0;
}

static bool header_gather(struct scsi_request *request, union scsi_layout layout,
			  struct header *header)
{
	uint8_t bytes[SCSI_HEADER_PI_BYTES + SCSI_CDB_MAX];
	unsigned size = layout.cdb_offset + layout.cdb_size;
	struct scsi_task *task = &request->task;

	if (iov_to_buffer(task->out, task->out_count, 0, bytes, size) < size)
		return false;
	iov_advance(&task->out, &task->out_count, size);
	*header = header_read(request, bytes);
	cdb_set(task, bytes + layout.cdb_offset, layout.cdb_size);
	return !pi_bytes(bytes, layout); /* protection information is not offered */
}

/* Moves task->in behind the response and remembers where that lies. False: there is no room for it. */
static bool response_take(struct scsi_request *request, unsigned size)
{
	struct scsi_task *task = &request->task;

	request->response_iov = task->in;
	request->response_count = 0;
	while (task->in_count && task->in->iov_len < size) {
		size -= (unsigned)task->in->iov_len;
		request->response_count++;
		task->in++;
		task->in_count--;
	}
	if (!task->in_count)
		return false;
	request->response_last = (struct iovec){ task->in->iov_base, size };
	iov_advance(&task->in, &task->in_count, size);
	return true;
}

/* False: the request has been answered. */
static bool request_take_apart(struct scsi_request *request, union scsi_layout layout,
			       struct header *header)
{
	const struct virtq_chain *chain = &request->base.chain;
	struct scsi_task *task = &request->task;
	unsigned response_bytes = SCSI_RESPONSE_BYTES + layout.sense_size;

	task->out = request->base.iov;
	task->out_count = chain->readable_count;
	task->in = task->out + task->out_count;
	task->in_count = chain->writable_count;
	request->sense_size = layout.sense_size;
	if (!response_take(request, response_bytes)) {
		lane_fail(&request->base, "a request without room for its response");
		return false;
	}
	if (chain->overflow || !header_gather(request, layout, header)) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_FAILURE);
		return false;
	}
	task->out_bytes = chain->readable_bytes - layout.cdb_offset - layout.cdb_size;
	task->in_bytes = chain->writable_bytes - response_bytes;
	task->cdb_length = layout.cdb_size;
	return true;
}

/* ---- execution ---- */

static void execute_without_lun(struct scsi_request *request, enum scsi_lun_kind kind)
{
	struct scsi_task *task = &request->task;

	if (kind == SCSI_LUN_BAD) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	task->nexus = NULL;
	task->channel = NULL;
	task->well_known = kind == SCSI_LUN_WELL_KNOWN;
	task->done = request_done_alone;
	scsi_task_execute(task);
}

/* NULL: the request has been answered. */
static struct scsi_lun *find_decoded(struct scsi_request *request,
				     const struct scsi_lun_table *table, struct header header)
{
	struct le64 bytes = le64_make(header.lun);
	struct scsi_lun *lun;
	enum scsi_lun_kind kind = scsi_lun_decode(table, (const uint8_t *)&bytes, &lun);

	if (kind == SCSI_LUN_OK)
		return lun;
	request->target = (uint8_t)(header.lun >> 8);
	request->task.attribute = header.attribute <= SCSI_ACA ? header.attribute : SCSI_SIMPLE;
	execute_without_lun(request, kind);
	return NULL;
}

/* The same. */
static struct scsi_lun_queue *find_lun_queue(struct scsi_request *request, struct scsi_queue *queue,
					     struct header header)
{
	/* pairs with scsi_lun.c:table_replace */
	const struct scsi_lun_table *table = load_acquire(&queue->device->table);
	struct scsi_lun *lun = find_decoded(request, table, header);

	if (lun && scsi_lun_queue_open(lun, queue) < 0) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_BUSY);
		return NULL;
	}
	return lun ? scsi_lun_queue_of(lun, queue) : NULL;
}

/* INOUT is not offered. False: the request has been answered. */
static bool direction_is_one(struct scsi_request *request)
{
	if (likely(!(request->task.out_bytes && request->task.in_bytes)))
		return true;
	scsi_request_refuse(request, VIRTIO_SCSI_S_FAILURE);
	return false;
}

slow_path void scsi_request_execute(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct scsi_queue *queue = lane_private(lane);
	union scsi_layout layout = { .word = load_relaxed(&queue->device->layout.word) };
	struct scsi_task *task = &request->task;
	struct scsi_lun_queue *lq;
	struct header header;

	if (!request_take_apart(request, layout, &header) || !direction_is_one(request))
		return;
	lq = find_lun_queue(request, queue, header);
	if (!lq)
		return;
	request->lq = lq;
	task->nexus = lq->nexus;
	task->channel = lq->channel;
	task->attribute = header.attribute <= SCSI_ACA ? header.attribute : SCSI_SIMPLE;
	scsi_lun_queue_admit(lq, request);
}

/* What is the same for all that will lie in this slot. */
void scsi_request_prepare(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct scsi_queue *queue = lane_private(lane);

	request->task.ops = &task_ops;
	request->task.loop = queue->lane_loop;
	request->task.done = request_done;
}
