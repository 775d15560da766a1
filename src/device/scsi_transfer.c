/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: the way that nearly all requests take, READ and WRITE that nothing stands in the way of.
 *
 * Theory of operation. What decides is read from guest memory into registers, once: the LUN, the task attribute and the CDB. When the
 * chain has the usual shape (default sizes, header and response in descriptors of their own), the LUN is one whose channel is open,
 * nobody wants anything of its lun queue, and the target sees nothing to object to, the block request is all that is made of it; at
 * the end twelve zeros are the response. Else nothing has happened, and scsi_request.c begins anew. A request whose I/O fails, or
 * somebody waits for, is made into a task when it is done, and ends there as any other.
 *
 * What was not read here is not known of such a request: its task is not set but for the block request.
 *
 * All of it runs on the lane's loop.
 */
#include "base/endian.h"
#include "device/scsi_internal.h"

#include <string.h>

/* Of a request with the default sizes. */
#define PLAIN_HEADER_BYTES (SCSI_HEADER_BYTES + SCSI_CDB_SIZE_DEFAULT)
#define PLAIN_RESPONSE_BYTES (SCSI_RESPONSE_BYTES + SCSI_SENSE_SIZE_DEFAULT)

/* ---- the end ---- */

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
 * GOOD, and nothing to be said. Sense data is seldom anything but the zeros of the response before: lines that are only read stay
 * where they are, and a store has not to wait for them.
 */
static inline void response_put_good(uint8_t *to)
{
	memset(to, 0, SCSI_RESPONSE_BYTES);
	if (unlikely(!sense_is_clear(to + SCSI_RESPONSE_BYTES)))
		memset(to + SCSI_RESPONSE_BYTES, 0, SCSI_SENSE_SIZE_DEFAULT);
}

/* As if it had come the other way. */
static slow_path void transfer_done_any(struct scsi_request *request, int result)
{
	const struct virtq_chain *chain = &request->base.chain;
	struct scsi_task *task = &request->task;

	request->sense_size = SCSI_SENSE_SIZE_DEFAULT;
	request->response_iov = request->base.iov + chain->readable_count;
	request->response_count = 0;
	request->response_last = *request->response_iov;
	task->nexus = request->lq->nexus;
	task->channel = request->lq->channel;
	task->in_bytes = chain->writable_bytes - PLAIN_RESPONSE_BYTES;
	task->out_bytes = chain->readable_bytes - PLAIN_HEADER_BYTES;
	scsi_transfer_end(task, result);
}

static void transfer_done(struct block_request *block, int result)
{
	struct scsi_request *request = container_of(block, struct scsi_request, task.block);
	const struct virtq_chain *chain = &request->base.chain;
	struct scsi_lun_queue *lq = request->lq;

	if (unlikely((unsigned)result | lq->slow)) {
		transfer_done_any(request, result);
		return;
	}
	scsi_lun_queue_end(lq);
	response_put_good(request->base.iov[chain->readable_count].iov_base);
	request->lq = NULL;
	/* published by the lane: the driver sees the response before the used entry. No command moves 4 GiB */
	lane_complete(&request->base, (uint32_t)chain->writable_bytes);
}

/* ---- the beginning ---- */

/* What is read of guest memory. */
struct header {
	uint64_t lun, tag;
	uint64_t cdb[2]; /* big-endian numbers */
	uint8_t attribute;
};

static inline uint64_t word_at(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline struct header header_read(const uint8_t *bytes)
{
	struct header header = {
		.lun = le64toh(word_at(bytes)),
		.tag = le64toh(word_at(bytes + 8)),
		.attribute = bytes[16],
		.cdb = { be64toh(word_at(bytes + SCSI_HEADER_BYTES)),
			 be64toh(word_at(bytes + SCSI_HEADER_BYTES + 8)) },
	};

	__asm__ volatile("" ::: "memory"); /* read once: the guest may write there now */
	return header;
}

/* Default sizes, header and response in descriptors of their own: what drivers do. */
static inline bool chain_is_plain(const struct lane_request *base, const struct scsi_queue *queue)
{
	static const union scsi_layout plain = { .cdb_size = SCSI_CDB_SIZE_DEFAULT,
						 .sense_size = SCSI_SENSE_SIZE_DEFAULT,
						 .cdb_offset = SCSI_HEADER_BYTES };
	const struct virtq_chain *chain = &base->chain;

	/* no readable entry: then the first one has not both lengths */
	return load_relaxed(&queue->device->layout.word) == plain.word &&
	       chain->writable_count > 0 && !chain->overflow &&
	       base->iov->iov_len == PLAIN_HEADER_BYTES &&
	       base->iov[chain->readable_count].iov_len == PLAIN_RESPONSE_BYTES;
}

/* False: it is not as long as the CDB says, or there is some in the other direction. */
static inline bool data_take(const struct lane_request *base, struct block_request *block)
{
	const struct virtq_chain *chain = &base->chain;
	uint64_t out_bytes = chain->readable_bytes - PLAIN_HEADER_BYTES;
	uint64_t in_bytes = chain->writable_bytes - PLAIN_RESPONSE_BYTES;
	unsigned readable = chain->readable_count;

	if (block->op == BLOCK_READ) {
		block->iov = base->iov + readable + 1;
		block->iov_count = chain->writable_count - 1;
		return block->bytes == in_bytes && out_bytes == 0;
	}
	block->iov = base->iov + 1;
	block->iov_count = readable - 1;
	return block->bytes == out_bytes && in_bytes == 0;
}

/* False: nothing has happened. */
static always_inline bool transfer_begin(struct scsi_request *request, struct scsi_lun_queue *lq,
					 const struct header *header)
{
	struct block_request *block = &request->task.block;

	if (unlikely(lq->slow | load_relaxed(&lq->holds) | header->attribute) ||
	    unlikely(!scsi_transfer_plan(lq->nexus, header->cdb, block)) ||
	    unlikely(!data_take(&request->base, block)))
		return false;
	block->done = transfer_done;
	request->lq = lq;
	request->tag = header->tag;
	scsi_lun_queue_begin(lq);
	block_submit(lq->channel, block);
	return true;
}

/* NULL: not by this way. What is found is remembered, however it is addressed. */
static struct scsi_lun_queue *find_lun_queue(struct scsi_queue *queue, uint64_t word)
{
	/* pairs with scsi_lun.c:table_replace */
	const struct scsi_lun_table *table = load_acquire(&queue->device->table);
	struct scsi_lun *lun = scsi_table_find_fast(table, word);
	struct le64 bytes = le64_make(word);

	if (!lun && scsi_lun_decode(table, (const uint8_t *)&bytes, &lun) != SCSI_LUN_OK)
		return NULL;
	if (unlikely(scsi_lun_queue_open(lun, queue) < 0))
		return NULL;
	queue->recent = scsi_lun_queue_of(lun, queue);
	queue->recent_word = word;
	return queue->recent;
}

/* The header is read anew: what it was when somebody looked before has decided nothing. */
static never_inline void execute_on_other_lun(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct header header = header_read(base->iov->iov_base);
	struct scsi_lun_queue *lq = find_lun_queue(lane_private(lane), header.lun);

	if (unlikely(!lq || !transfer_begin(request, lq, &header)))
		scsi_request_execute(lane, base);
}

/*
 * Most requests go to the LUN of the one before. That guess lets the CPU go on while it waits for the header's cache line; looking
 * the LUN up would wait for it.
 */
void scsi_transfer_execute(struct lane *lane, struct lane_request *base)
{
	struct scsi_request *request = container_of(base, struct scsi_request, base);
	struct scsi_queue *queue = lane_private(lane);
	struct scsi_lun_queue *lq = queue->recent;
	struct header header;

	if (unlikely(!chain_is_plain(base, queue))) {
		scsi_request_execute(lane, base);
		return;
	}
	header = header_read(base->iov->iov_base);
	if (unlikely(!lq || header.lun != queue->recent_word))
		execute_on_other_lun(lane, base);
	else if (unlikely(!transfer_begin(request, lq, &header)))
		scsi_request_execute(lane, base);
}
