/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: one request from its chain to its response (virtio 1.3, 5.6.6.1).
 *
 * Theory of operation. The header and the CDB are copied out of guest memory once; what is readable behind them is the data to the
 * disk. The writable part begins with the response and its sense data, and goes on with the data from the disk. No layout of
 * descriptors is assumed (virtio 1.3, 2.7.4): the usual one, each in descriptors of its own, needs a compare at either end; else the
 * header is gathered, and the response remembers the entries that it is spread over.
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

#define PLAIN_BYTES (SCSI_HEADER_BYTES + SCSI_CDB_SIZE_DEFAULT)

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

struct response {
	struct le32 sense_length, residual;
	struct le16 status_qualifier;
	uint8_t status, response;
};

static_assert(sizeof(struct response) == SCSI_RESPONSE_BYTES, "virtio 1.3, 5.6.6.1");

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

static slow_path void response_write_spread(const struct scsi_request *request,
					    const struct response *response, unsigned sense_length)
{
	static const uint8_t zeros[64];
	unsigned at = SCSI_RESPONSE_BYTES, end = SCSI_RESPONSE_BYTES + request->sense_size;

	response_put_spread(request, 0, response, SCSI_RESPONSE_BYTES);
	response_put_spread(request, at, request->task.sense, sense_length);
	for (at += sense_length; at < end; at += MIN(end - at, sizeof(zeros)))
		response_put_spread(request, at, zeros, MIN(end - at, sizeof(zeros)));
}

/* Published by the lane: the driver sees it before the used entry. */
static void response_write(const struct scsi_request *request, const struct response *response,
			   unsigned sense_length)
{
	uint8_t *to = request->response_last.iov_base;

	if (unlikely(request->response_count || sense_length ||
		     request->sense_size != SCSI_SENSE_SIZE_DEFAULT)) {
		response_write_spread(request, response, sense_length);
		return;
	}
	memcpy(to, response, SCSI_RESPONSE_BYTES);
	memset(to + SCSI_RESPONSE_BYTES, 0, SCSI_SENSE_SIZE_DEFAULT);
}

static void request_finish(struct scsi_request *request, const struct response *response,
			   unsigned sense_length, uint64_t data_bytes)
{
	uint64_t written = SCSI_RESPONSE_BYTES + request->sense_size + data_bytes;

	response_write(request, response, sense_length);
	request->lq = NULL;
	lane_complete(&request->base, (uint32_t)MIN(written, UINT32_MAX));
}

void scsi_request_refuse(struct scsi_request *request, uint8_t code)
{
	struct response response = { .response = code };

	request->state = SCSI_REQUEST_RUNS;
	request_finish(request, &response, 0, 0);
}

static slow_path void request_overrun(struct scsi_request *request, struct le32 residual)
{
	struct response response = { .residual = residual, .response = VIRTIO_SCSI_S_OVERRUN };

	request_finish(request, &response, 0, 0);
}

/* status and sense count only when the response is OK (virtio 1.3, 5.6.6.1). */
static void request_answer(struct scsi_request *request)
{
	const struct scsi_task *task = &request->task;
	unsigned sense_length = MIN(task->sense_length, request->sense_size);
	struct response response = {
		.sense_length = le32_make(sense_length),
		.residual = le32_make((uint32_t)MIN(task->residual, UINT32_MAX)),
		.status = task->status,
	};

	if (unlikely(task->fit == SCSI_OVERFLOW)) {
		request_overrun(request, response.residual);
		return;
	}
	request_finish(request, &response, sense_length,
		       task->in_bytes - MIN(task->residual, task->in_bytes));
}

/* A command of a LUN. */
static void request_done(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_lun_queue *lq = request->lq;

	store_relaxed(&lq->active, lq->active - 1);
	if (likely(!request->aborted))
		request_answer(request);
	else
		scsi_request_refuse(request, request->aborted);
	if (unlikely(lq->slow))
		scsi_lun_queue_ended(lq, request);
}

/* A command without one. */
static void request_done_alone(struct scsi_task *task)
{
	request_answer(container_of(task, struct scsi_request, task));
}

/* ---- what the target asks us ---- */

static struct scsi_queue *queue_of(struct scsi_request *request)
{
	return lane_private(request->base.lane);
}

static unsigned list_luns(struct scsi_task *task, uint64_t *luns, unsigned max)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	const struct scsi_device *device = queue_of(request)->device;
	const struct scsi_lun_table *table = load_acquire(&device->table);

	return scsi_table_list(table, request->target, luns, max);
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
	if (lq->holds && lq != request->lq)
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
	.peer_get = peer_get,
	.peer_put = peer_put,
};

/* ---- taking the chain apart ---- */

/* What is read of it; in host order. */
struct header {
	uint8_t lun[8];
	uint64_t tag;
	uint8_t attribute;
	uint64_t pi_bytes; /* both fields */
};

static_assert(offsetof(struct virtio_scsi_cmd_req, tag) == 8, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, task_attr) == 16, "virtio 1.3, 5.6.6.1");

static void header_read(const uint8_t bytes[SCSI_HEADER_BYTES], struct header *header)
{
	struct le64 tag;

	memcpy(header->lun, bytes, sizeof(header->lun));
	memcpy(&tag, bytes + 8, sizeof(tag));
	header->tag = le64_get(tag);
	header->attribute = bytes[16];
	header->pi_bytes = 0;
}

static void cdb_set(struct scsi_task *task, const uint8_t *bytes, unsigned size)
{
	memcpy(task->cdb, bytes, size);
	memset(task->cdb + size, 0, sizeof(task->cdb) - size);
}

static slow_path bool header_gather(struct scsi_request *request, union scsi_layout layout,
				    struct header *header)
{
	uint8_t bytes[SCSI_HEADER_PI_BYTES + SCSI_CDB_MAX];
	unsigned size = layout.cdb_offset + layout.cdb_size;
	struct scsi_task *task = &request->task;

	if (iov_to_buffer(task->out, task->out_count, 0, bytes, size) < size)
		return false;
	iov_advance(&task->out, &task->out_count, size);
	header_read(bytes, header);
	if (layout.cdb_offset == SCSI_HEADER_PI_BYTES)
		memcpy(&header->pi_bytes, bytes + SCSI_HEADER_BYTES, sizeof(header->pi_bytes));
	cdb_set(task, bytes + layout.cdb_offset, layout.cdb_size);
	return true;
}

static bool is_plain(union scsi_layout layout)
{
	return layout.cdb_size == SCSI_CDB_SIZE_DEFAULT && layout.cdb_offset == SCSI_HEADER_BYTES;
}

/* Moves task->out behind the header. */
static bool header_take(struct scsi_request *request, union scsi_layout layout,
			struct header *header)
{
	struct scsi_task *task = &request->task;
	uint8_t bytes[SCSI_HEADER_BYTES];

	if (unlikely(!is_plain(layout) || !task->out_count || task->out->iov_len != PLAIN_BYTES))
		return header_gather(request, layout, header);
	memcpy(bytes, task->out->iov_base, SCSI_HEADER_BYTES);
	memcpy(task->cdb, (const uint8_t *)task->out->iov_base + SCSI_HEADER_BYTES,
	       SCSI_CDB_SIZE_DEFAULT);
	memset(task->cdb + SCSI_CDB_SIZE_DEFAULT, 0, SCSI_CDB_MAX - SCSI_CDB_SIZE_DEFAULT);
	__asm__ volatile("" ::: "memory"); /* read once: the guest may write there now */
	header_read(bytes, header);
	task->out++;
	task->out_count--;
	return true;
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
	if (unlikely(!task->in_count))
		return false;
	request->response_last = (struct iovec){ task->in->iov_base, size };
	if (likely(task->in->iov_len == size)) {
		task->in++;
		task->in_count--;
	} else {
		task->in->iov_base = (uint8_t *)task->in->iov_base + size;
		task->in->iov_len -= size;
	}
	return true;
}

/* False: the request has been answered. */
static bool request_parse(struct scsi_request *request, union scsi_layout layout,
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
	if (unlikely(!response_take(request, response_bytes))) {
		lane_fail(&request->base, "a request without room for its response");
		return false;
	}
	if (unlikely(chain->overflow || !header_take(request, layout, header))) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_FAILURE);
		return false;
	}
	task->out_bytes = chain->readable_bytes - layout.cdb_offset - layout.cdb_size;
	task->in_bytes = chain->writable_bytes - response_bytes;
	/* INOUT and protection information are not offered */
	if (unlikely((task->out_bytes && task->in_bytes) || header->pi_bytes)) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_FAILURE);
		return false;
	}
	return true;
}

/* ---- execution ---- */

static slow_path void execute_without_lun(struct scsi_request *request, enum scsi_lun_kind kind)
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

static void execute_on_lun(struct scsi_request *request, struct scsi_queue *queue,
			   struct scsi_lun *lun)
{
	struct scsi_lun_queue *lq = scsi_lun_queue_of(lun, queue);
	struct scsi_task *task = &request->task;

	if (unlikely(!lq->channel) && scsi_lun_queue_open(lun, queue) < 0) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_BUSY);
		return;
	}
	request->lq = lq;
	task->nexus = lun->nexus;
	task->channel = lq->channel;
	task->well_known = false;
	task->done = request_done;
	store_relaxed(&lq->commands, lq->commands + 1);
	if (unlikely(lq->slow || task->attribute != SCSI_SIMPLE)) {
		scsi_lun_queue_admit(lq, request);
		return;
	}
	store_relaxed(&lq->active, lq->active + 1);
	scsi_task_execute(task);
}

static void request_prepare(struct scsi_request *request, struct scsi_queue *queue,
			    union scsi_layout layout, const struct header *header)
{
	struct scsi_task *task = &request->task;

	request->tag = header->tag;
	request->target = header->lun[1];
	task->ops = &task_ops;
	task->loop = queue->lane_loop;
	task->cdb_length = layout.cdb_size;
	task->attribute = likely(header->attribute <= SCSI_ACA) ? header->attribute : SCSI_SIMPLE;
}

void scsi_request_execute(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct scsi_queue *queue = lane_private(lane);
	struct scsi_device *device = queue->device;
	union scsi_layout layout = { .word = load_relaxed(&device->layout.word) };
	struct scsi_lun *lun = NULL;
	enum scsi_lun_kind kind;
	struct header header;

	if (!request_parse(request, layout, &header))
		return;
	request_prepare(request, queue, layout, &header);
	/* pairs with scsi_lun.c:table_replace */
	kind = scsi_lun_decode(load_acquire(&device->table), header.lun, &lun);
	if (likely(kind == SCSI_LUN_OK))
		execute_on_lun(request, queue, lun);
	else
		execute_without_lun(request, kind);
}
