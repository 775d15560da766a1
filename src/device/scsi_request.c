/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: one request from its chain to its response (virtio 1.3, 5.6.6.1).
 *
 * Theory of operation. The header and the CDB are copied out of guest memory once; what is readable behind them is the data to the
 * disk. The writable part begins with the response and its sense data, and goes on with the data from the disk. No layout of
 * descriptors is assumed (virtio 1.3, 2.7.4). The usual one, each in descriptors of its own and of the default size, is taken apart
 * with constants; else the header is gathered, and the response remembers the entries that it is spread over.
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

/* Of a request with the default sizes. */
#define PLAIN_HEADER_BYTES (SCSI_HEADER_BYTES + SCSI_CDB_SIZE_DEFAULT)
#define PLAIN_RESPONSE_BYTES (SCSI_RESPONSE_BYTES + SCSI_SENSE_SIZE_DEFAULT)

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

static unsigned sense_size(const struct scsi_request *request)
{
	return request->plain ? SCSI_SENSE_SIZE_DEFAULT : request->sense_size;
}

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

/* A plain one is one whose spread begins and ends in its first entry. */
static slow_path void response_write_spread(struct scsi_request *request, struct response response,
					    unsigned sense_length)
{
	static const uint8_t zeros[64];
	unsigned at = SCSI_RESPONSE_BYTES, end;
	uint8_t bytes[SCSI_RESPONSE_BYTES];

	if (request->plain) {
		request->response_count = 0;
		request->response_last = *request->response_iov;
	}
	end = SCSI_RESPONSE_BYTES + sense_size(request);

	response_put(bytes, response);
	response_put_spread(request, 0, bytes, SCSI_RESPONSE_BYTES);
	response_put_spread(request, at, request->task.sense, sense_length);
	for (at += sense_length; at < end; at += MIN(end - at, sizeof(zeros)))
		response_put_spread(request, at, zeros, MIN(end - at, sizeof(zeros)));
}

struct sixteen {
	uint64_t __attribute__((vector_size(16))) bytes;
};

static inline struct sixteen sixteen_load(const uint8_t *from)
{
	struct sixteen sixteen;

	memcpy(&sixteen, from, sizeof(sixteen));
	return sixteen;
}

/* By sixteen bytes, which compilers do not see by themselves. */
static inline bool sense_is_clear(const uint8_t *sense)
{
	struct sixteen any = sixteen_load(sense);

	for (unsigned at = 16; at < SCSI_SENSE_SIZE_DEFAULT; at += 16)
		any.bytes |= sixteen_load(sense + at).bytes;
	return !(any.bytes[0] | any.bytes[1]);
}

/*
 * In one piece, of the default size. Sense data is seldom anything but the zeros of the response before: lines that are only read stay
 * where they are, and a store has not to wait for them.
 */
static inline void response_write_plain(const struct scsi_request *request,
					struct response response)
{
	uint8_t *to = request->response_iov->iov_base, *sense = to + SCSI_RESPONSE_BYTES;

	response_put(to, response);
	if (unlikely(!sense_is_clear(sense)))
		memset(sense, 0, SCSI_SENSE_SIZE_DEFAULT);
}

/* Published by the lane: the driver sees it before the used entry. data_bytes: that went in. */
static slow_path void request_finish(struct scsi_request *request, struct response response,
				     unsigned sense_length, uint64_t data_bytes)
{
	uint64_t written = SCSI_RESPONSE_BYTES + sense_size(request) + data_bytes;

	if (request->plain && sense_length == 0)
		response_write_plain(request, response);
	else
		response_write_spread(request, response, sense_length);
	request->lq = NULL;
	lane_complete(&request->base, (uint32_t)MIN(written, UINT32_MAX));
}

/* All that was asked for has been moved, and there is nothing to be said. */
static inline void request_finish_good(struct scsi_request *request)
{
	response_write_plain(request, (struct response){ 0 });
	request->lq = NULL;
	/* no command moves 4 GiB (SCSI_TRANSFER_BYTES_MAX) */
	lane_complete(&request->base, (uint32_t)(PLAIN_RESPONSE_BYTES + request->task.in_bytes));
}

slow_path void scsi_request_refuse(struct scsi_request *request, uint8_t code)
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
static never_inline void request_answer_any(struct scsi_request *request)
{
	const struct scsi_task *task = &request->task;
	uint64_t residual = task->residual;
	unsigned sense_length = MIN(task->sense_length, sense_size(request));

	if (unlikely(task->fit == SCSI_OVERFLOW)) {
		request_overrun(request);
		return;
	}
	request_finish(request,
		       response_make(VIRTIO_SCSI_S_OK, task->status, residual, sense_length),
		       sense_length, task->in_bytes - MIN(residual, task->in_bytes));
}

static inline bool request_is_good(const struct scsi_request *request)
{
	const struct scsi_task *task = &request->task;

	return request->plain && !(task->residual | task->outcome);
}

static void request_answer(struct scsi_request *request)
{
	if (likely(request_is_good(request)))
		request_finish_good(request);
	else
		request_answer_any(request);
}

/* Somebody waits for its end, or has ended it. */
static slow_path void request_done_noticed(struct scsi_request *request, struct scsi_lun_queue *lq)
{
	if (request->aborted)
		scsi_request_refuse(request, request->aborted);
	else
		request_answer(request);
	scsi_lun_queue_ended(lq, request);
}

/* A command of a LUN. */
static void request_done(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_lun_queue *lq = request->lq;

	store_relaxed(&lq->active, lq->active - 1);
	if (likely(!lq->slow))
		request_answer(request);
	else
		request_done_noticed(request, lq);
}

/* A command without one. Its slot is as it was prepared again. */
static void request_done_alone(struct scsi_task *task)
{
	task->done = request_done;
	task->well_known = false;
	request_answer_any(container_of(task, struct scsi_request, task));
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

/* Any layout. False: the request has been answered. */
static slow_path bool request_take_apart(struct scsi_request *request, union scsi_layout layout,
					 struct header *header)
{
	const struct virtq_chain *chain = &request->base.chain;
	struct scsi_task *task = &request->task;
	unsigned response_bytes = SCSI_RESPONSE_BYTES + layout.sense_size;

	task->out = request->base.iov;
	task->out_count = chain->readable_count;
	task->in = task->out + task->out_count;
	task->in_count = chain->writable_count;
	request->plain = false;
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

/* What drivers do: default sizes, header and response in descriptors of their own. */
static bool request_is_plain(const struct scsi_request *request, union scsi_layout layout)
{
	static const union scsi_layout plain = { .cdb_size = SCSI_CDB_SIZE_DEFAULT,
						 .sense_size = SCSI_SENSE_SIZE_DEFAULT,
						 .cdb_offset = SCSI_HEADER_BYTES };
	const struct virtq_chain *chain = &request->base.chain;
	const struct iovec *iov = request->base.iov;

	return layout.word == plain.word && chain->readable_count > 0 &&
	       chain->writable_count > 0 && iov->iov_len == PLAIN_HEADER_BYTES &&
	       iov[chain->readable_count].iov_len == PLAIN_RESPONSE_BYTES && !chain->overflow;
}

/* What request_take_apart() does, with constants. */
static struct header request_take_plain(struct scsi_request *request)
{
	const struct virtq_chain *chain = &request->base.chain;
	struct scsi_task *task = &request->task;
	struct iovec *iov = request->base.iov, *response = iov + chain->readable_count;
	const uint8_t *bytes = iov->iov_base;
	struct header header = header_read(request, bytes);
	unsigned readable = chain->readable_count, writable = chain->writable_count;

	cdb_set(task, bytes + SCSI_HEADER_BYTES, SCSI_CDB_SIZE_DEFAULT);
	__asm__ volatile("" ::: "memory"); /* read once: the guest may write there now */
	task->out = iov + 1;
	task->out_count = readable - 1;
	task->in = response + 1;
	task->in_count = writable - 1;
	task->out_bytes = chain->readable_bytes - PLAIN_HEADER_BYTES;
	task->in_bytes = chain->writable_bytes - PLAIN_RESPONSE_BYTES;
	task->cdb_length = SCSI_CDB_SIZE_DEFAULT;
	request->plain = true;
	request->response_iov = response;
	return header;
}

/* ---- execution ---- */

/* Somebody wants to know, or it wants something of the others. */
static slow_path void execute_admitted(struct scsi_request *request, struct scsi_lun_queue *lq,
				       uint8_t attribute)
{
	request->task.attribute = attribute <= SCSI_ACA ? attribute : SCSI_SIMPLE;
	scsi_lun_queue_admit(lq, request);
}

static inline void execute_on_lun(struct scsi_request *request, struct scsi_lun_queue *lq,
				  uint8_t attribute)
{
	struct scsi_task *task = &request->task;

	request->lq = lq;
	task->nexus = lq->nexus;
	task->channel = lq->channel;
	store_relaxed(&lq->commands, lq->commands + 1);
	if (unlikely(lq->slow | load_relaxed(&lq->holds) | attribute)) {
		execute_admitted(request, lq, attribute);
		return;
	}
	task->attribute = SCSI_SIMPLE;
	store_relaxed(&lq->active, lq->active + 1);
	scsi_task_execute(task);
}

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

/* NULL: the request has been answered. */
static slow_path struct scsi_lun *
find_decoded(struct scsi_request *request, const struct scsi_lun_table *table, struct header header)
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

/* The same. What is found is remembered. */
static struct scsi_lun_queue *find_lun_queue(struct scsi_request *request, struct scsi_queue *queue,
					     struct header header)
{
	/* pairs with scsi_lun.c:table_replace */
	const struct scsi_lun_table *table = load_acquire(&queue->device->table);
	struct scsi_lun *lun = scsi_table_find_fast(table, header.lun);

	if (unlikely(!lun))
		lun = find_decoded(request, table, header);
	if (unlikely(!lun))
		return NULL;
	if (unlikely(scsi_lun_queue_open(lun, queue) < 0)) {
		scsi_request_refuse(request, VIRTIO_SCSI_S_BUSY);
		return NULL;
	}
	queue->recent = scsi_lun_queue_of(lun, queue);
	queue->recent_word = header.lun;
	return queue->recent;
}

/* INOUT is not offered. False: the request has been answered. */
static inline bool direction_is_one(struct scsi_request *request)
{
	if (likely(!(request->task.out_bytes && request->task.in_bytes)))
		return true;
	scsi_request_refuse(request, VIRTIO_SCSI_S_FAILURE);
	return false;
}

static never_inline void execute_found(struct scsi_request *request, struct scsi_queue *queue,
				       struct header header)
{
	struct scsi_lun_queue *lq = find_lun_queue(request, queue, header);

	if (likely(lq))
		execute_on_lun(request, lq, header.attribute);
}

static slow_path void execute_any(struct scsi_request *request, struct scsi_queue *queue,
				  union scsi_layout layout)
{
	struct header header;

	if (request_take_apart(request, layout, &header) && direction_is_one(request))
		execute_found(request, queue, header);
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

/*
 * Most requests go to the LUN of the one before. That guess lets the CPU go on while it waits for the header's cache line; looking
 * the LUN up would wait for it.
 */
void scsi_request_execute(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct scsi_queue *queue = lane_private(lane);
	union scsi_layout layout = { .word = load_relaxed(&queue->device->layout.word) };
	struct header header;

	if (unlikely(!request_is_plain(request, layout))) {
		execute_any(request, queue, layout);
		return;
	}
	header = request_take_plain(request);
	if (unlikely(!direction_is_one(request)))
		return;
	if (likely(queue->recent && header.lun == queue->recent_word))
		execute_on_lun(request, queue->recent, header.attribute);
	else
		execute_found(request, queue, header);
}
