// SPDX-License-Identifier: MIT
/*
 * Commands of virtio-scsi (virtio 1.3, 5.6.6.1): header and CDB alone in the first descriptor, then data for the device; the
 * response with its sense data alone, then data from the device.
 *
 * Theory of operation. As in blk.c, the id of a chain finds all that belongs to it. `response` and `status` are preset to what no
 * device writes; the response is read once, `response` counts before `status`, and status before sense data; lengths are cut to
 * what there is room for. The usual end, good and nothing missing, is three loads and a compare.
 *
 * Commands that somebody waits for (scsi_sync.c) go through the same ring. Whoever reaps ends them; what else is reaped while
 * one is waited for lies in the stash until ringlane_reap is called.
 *
 * On the queue's thread. No system calls.
 */
#include "base/endian.h"
#include "driver/scsi.h"
#include "driver/transfer.h"

#include <string.h>

static_assert(offsetof(struct virtio_scsi_cmd_req, tag) == 8, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, task_attr) == 16, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, cdb) == SCSI_HEADER_BYTES,
	      "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_resp, sense) == SCSI_RESPONSE_BYTES,
	      "virtio 1.3, 5.6.6.1");

uint64_t scsi_address(unsigned target, unsigned lun)
{
	unsigned number = lun < 0x4000 ? 0x4000 | lun : lun;
	const uint8_t bytes[8] = { 1, (uint8_t)target, (uint8_t)(number >> 8), (uint8_t)number };
	uint64_t address;

	memcpy(&address, bytes, sizeof(address));
	return address;
}

/* ---- the chain ---- */

/* The first 12 bytes of a response, in host order. */
struct response {
	uint64_t lengths; /* sense_len, resid */
	uint32_t codes;   /* status_qualifier, status, response */
};

#define CODES_NEVER ((uint32_t)RINGLANE_SCSI_NONE << 24 | (uint32_t)SCSI_STATUS_NEVER << 16)

static inline void response_preset(uint8_t *bytes)
{
	store_relaxed((uint64_t *)bytes, 0);
	store_relaxed((uint32_t *)(bytes + 8), htole32(CODES_NEVER));
}

static inline struct response response_load(const uint8_t *bytes)
{
	return (struct response){
		.lengths = le64toh(load_relaxed((const uint64_t *)bytes)),
		.codes = le32toh(load_relaxed((const uint32_t *)(bytes + 8))),
	};
}

static inline void header_fill(struct ringlane_queue *queue, uint8_t *bytes,
			       const struct scsi_request *request)
{
	const uint8_t rest[3] = { request->attribute };
	struct le64 tag = le64_make(++queue->scsi.tag);
	unsigned cdb_size = queue->scsi.cdb_size;

	memcpy(bytes, &request->address, 8);
	memcpy(bytes + 8, &tag, 8);
	memcpy(bytes + 16, rest, 3);
	if (likely(request->cdb_len == 16 && cdb_size == 32)) {
		memcpy(bytes + SCSI_HEADER_BYTES, request->cdb, 16);
		memset(bytes + SCSI_HEADER_BYTES + 16, 0, 16);
		return;
	}
	memcpy(bytes + SCSI_HEADER_BYTES, request->cdb, request->cdb_len);
	memset(bytes + SCSI_HEADER_BYTES + request->cdb_len, 0, cdb_size - request->cdb_len);
}

int scsi_request_add(struct ringlane_queue *queue, struct virtq_sg *sg,
		     const struct scsi_request *request)
{
	uint16_t id = queue->ring.free_head;
	uint8_t *header = queue_request(queue, id), *response = queue_response(queue, id);
	bool data_in = request->direction == RINGLANE_SCSI_DATA_IN;
	unsigned out = data_in ? 1 : 1 + request->segments;
	unsigned in = data_in ? 1 + request->segments : 1;
	int ret;

	header_fill(queue, header, request);
	response_preset(response);
	sg[0] = (struct virtq_sg){ queue_shared_addr(queue, header),
				   SCSI_HEADER_BYTES + queue->scsi.cdb_size };
	sg[out] = (struct virtq_sg){ queue_shared_addr(queue, response),
				     SCSI_RESPONSE_BYTES + queue->scsi.sense_size };
	ret = virtq_driver_add(&queue->ring, sg, out, in, &id);
	if (unlikely(ret < 0))
		return ret == -ENOSPC ? -EAGAIN : ret;
	assert(queue_request(queue, id) == header);
	queue->scsi.slots[id] = request->slot;
	queue->user_data[id] = request->user_data;
	queue->scsi.id_queued = id;
	if (likely(request->slot.kind != SCSI_SYNC))
		queue->in_flight++;
	return id;
}

/* Above it is the ring (device.c:setup_of). */
#define TAG_COUNT_MASK ((1ull << 48) - 1)

uint64_t ringlane_scsi_tag(const struct ringlane_queue *queue)
{
	return queue->kind == QUEUE_SCSI && (queue->scsi.tag & TAG_COUNT_MASK) ? queue->scsi.tag :
										 0;
}

void ringlane_scsi_want_result(struct ringlane_queue *queue, struct ringlane_scsi_result *result)
{
	result->response = RINGLANE_SCSI_NONE;
	result->status = SCSI_STATUS_NEVER;
	result->status_qualifier = 0;
	result->residual = result->sense_len = 0;
	if (queue->kind == QUEUE_SCSI)
		queue->scsi.slots[queue->scsi.id_queued].result = result;
}

/* ---- commands as bytes ---- */

static int command_check(const struct ringlane_queue *queue, const struct ringlane_lun *lun,
			 const struct ringlane_scsi_command *command)
{
	bool has_data = command->direction != RINGLANE_SCSI_NO_DATA;

	if (queue->kind != QUEUE_SCSI || !lun)
		return -ENOTSUP;
	if (!command->cdb || !command->cdb_len || command->cdb_len > queue->scsi.cdb_size)
		return -EINVAL;
	if ((unsigned)command->attribute > RINGLANE_SCSI_ACA ||
	    (unsigned)command->direction > RINGLANE_SCSI_DATA_OUT ||
	    has_data != !!command->iov_count)
		return -EINVAL;
	return queue_room(queue);
}

int ringlane_lun_command(struct ringlane_queue *queue, const struct ringlane_lun *lun,
			 const struct ringlane_scsi_command *command)
{
	struct scsi_request request;
	uint64_t bytes = 0;
	int ret = command_check(queue, lun, command), segments;

	if (ret == 0)
		ret = transfer_bytes(command->iov, command->iov_count, QUEUE_REQUEST_MAX, &bytes);
	if (ret < 0)
		return ret;
	segments = transfer_segments(queue, &lun->limits, command->iov, command->iov_count,
				     scsi_data_first(command->direction));
	if (segments < 0)
		return segments;
	request = (struct scsi_request){
		.address = lun->address,
		.cdb = command->cdb,
		.cdb_len = command->cdb_len,
		.attribute = (uint8_t)command->attribute,
		.direction = command->direction,
		.segments = (unsigned)segments,
		.slot = { .kind = SCSI_COMMAND,
			  .data_bytes = (uint32_t)bytes,
			  .result = command->result },
		.user_data = command->user_data,
	};
	ret = scsi_request_add(queue, queue->sg, &request);
	return ret < 0 ? ret : 0;
}

/* ---- results ---- */

/* Reads the sense data once; whatever the device claims, only what was room for counts. */
static void result_fill(const struct ringlane_queue *queue, uint16_t id, struct response response,
			struct ringlane_scsi_result *result)
{
	uint32_t sense_len = (uint32_t)response.lengths;
	uint32_t residual = (uint32_t)(response.lengths >> 32);
	uint32_t data_bytes = queue->scsi.slots[id].data_bytes;

	*result = (struct ringlane_scsi_result){
		.response = (uint8_t)(response.codes >> 24),
		.status = SCSI_STATUS_NEVER,
		.residual = data_bytes,
	};
	if (result->response == RINGLANE_SCSI_OK || result->response == RINGLANE_SCSI_OVERRUN)
		result->residual = MIN(residual, data_bytes);
	if (result->response != RINGLANE_SCSI_OK)
		return;
	result->status = (uint8_t)(response.codes >> 16);
	result->status_qualifier = (uint16_t)response.codes;
	result->sense_len = MIN(sense_len, MIN(queue->scsi.sense_size, RINGLANE_SCSI_SENSE_MAX));
	memcpy(result->sense, queue_response(queue, id) + SCSI_RESPONSE_BYTES, result->sense_len);
}

/* VPD page 80h, which has come into the request's ranges (SPC-4, 7.8.15). */
static int id_copy(const struct ringlane_queue *queue, uint16_t id, char *to)
{
	const uint8_t *page = (const uint8_t *)&queue->ranges[id];
	uint8_t bytes[4 + 20];
	unsigned length;

	memcpy(bytes, page, sizeof(bytes));
	if (bytes[1] != 0x80)
		return -EPROTO;
	length = MIN(bytes[3], 20u);
	memset(to, 0, 20);
	memcpy(to, bytes + 4, length);
	return 0;
}

/* What is not simply good. */
static slow_path int result_of(struct ringlane_queue *queue, uint16_t id, struct response response)
{
	const struct scsi_slot *slot = &queue->scsi.slots[id];
	struct ringlane_scsi_result own, *result = slot->result ? slot->result : &own;
	int ret;

	result_fill(queue, id, response, result);
	ret = scsi_errno(result->response, result->status, result->sense, result->sense_len);
	if (ret == 0 && slot->kind == SCSI_GET_ID)
		return id_copy(queue, id, slot->target);
	if (ret == 0 && slot->kind == SCSI_TRANSFER && result->residual)
		return -ENODATA;
	return ret;
}

static inline int result_get(struct ringlane_queue *queue, uint16_t id)
{
	const struct scsi_slot *slot = &queue->scsi.slots[id];
	struct response response = response_load(queue_response(queue, id));

	if (likely(!response.lengths && !(response.codes >> 16) && slot->kind <= SCSI_PLAIN))
		return 0;
	return result_of(queue, id, response);
}

/* ---- UNIT ATTENTION ---- */

/* A LUN has one for each thing that happened to it (SPC-4, 5.14); one that always has another gets its error through. */
#define ATTENTIONS_MAX 16

/*
 * Something happened to the LUN, and this request is the one that is told (another LUN came, a reset, a new size): it was
 * not executed. Requests for blocks are sent again; who sends commands as bytes wants to know.
 */
static slow_path bool attention_is_due(struct ringlane_queue *queue, uint16_t id)
{
	struct scsi_slot *slot = &queue->scsi.slots[id];
	struct ringlane_scsi_result result;

	if (slot->kind == SCSI_COMMAND || slot->kind >= SCSI_SYNC ||
	    slot->attentions == ATTENTIONS_MAX)
		return false;
	result_fill(queue, id, response_load(queue_response(queue, id)), &result);
	if (scsi_errno(result.response, result.status, result.sense, result.sense_len) != -ERESTART)
		return false;
	slot->attentions++;
	return true;
}

/* Just taken: the chain of id had so many descriptors. True: it is on its way again. */
static inline bool request_again(struct ringlane_queue *queue, uint16_t id, unsigned descs)
{
	uint32_t codes = le32toh(load_relaxed((const uint32_t *)(queue_response(queue, id) + 8)));

	if (likely(codes >> 16 != SCSI_STATUS_CHECK_CONDITION) || !attention_is_due(queue, id))
		return false;
	response_preset(queue_response(queue, id));
	virtq_driver_untake(&queue->ring, id, descs);
	return true;
}

/* ---- reaping ---- */

/* A command that is not the caller's. */
static slow_path void ours_end(struct ringlane_queue *queue, uint16_t id)
{
	const struct scsi_slot *slot = &queue->scsi.slots[id];

	if (slot->kind == SCSI_SYNC) {
		result_get(queue, id);
		((struct scsi_sync *)slot->target)->done = true;
	}
	queue->scsi.scratch_busy = false;
}

static slow_path int stash_take(struct ringlane_queue *queue,
				struct ringlane_completion *completions, unsigned max)
{
	struct queue_scsi *scsi = &queue->scsi;
	unsigned count = MIN(max, scsi->stashed);

	memcpy(completions, scsi->stash + scsi->stash_first, count * sizeof(*completions));
	scsi->stash_first += count;
	scsi->stashed -= count;
	queue->in_flight -= count;
	return (int)count;
}

/* The same order of things as in ringlane_reap. */
static int ring_reap(struct ringlane_queue *queue, struct ringlane_completion *completions,
		     unsigned max)
{
	unsigned count = 0, ours = 0, again = 0;
	int took = 0;

	while (count < max && again < queue->ring.size) {
		uint16_t id, free_before = queue->ring.free_count;
		uint32_t written;

		took = virtq_driver_take(&queue->ring, &id, &written);
		if (took <= 0)
			break;
		if (unlikely(queue->scsi.slots[id].kind >= SCSI_SYNC)) {
			ours_end(queue, id);
			ours++;
			continue;
		}
		if (unlikely(request_again(queue, id, queue->ring.free_count - free_before))) {
			again++;
			continue;
		}
		queue->id_last = id;
		prefetch_for_write(queue_response(queue, id));
		completions[count].user_data = queue->user_data[id];
		completions[count++].result = id;
	}
	for (unsigned i = 0; i < count; i++)
		completions[i].result = result_get(queue, (uint16_t)completions[i].result);
	if (unlikely(again))
		ringlane_submit(queue);
	if (!count)
		return ours || again || !max ? 0 : queue_reap_nothing(queue, took);
	queue->empty_reaps = 0;
	return (int)count;
}

int scsi_queue_reap(struct ringlane_queue *queue, struct ringlane_completion *completions,
		    unsigned max)
{
	int count;

	if (unlikely(queue->scsi.stashed))
		return stash_take(queue, completions, max);
	count = ring_reap(queue, completions, max);
	if (count > 0)
		queue->in_flight -= (unsigned)count;
	return count;
}

int scsi_queue_stash(struct ringlane_queue *queue)
{
	struct queue_scsi *scsi = &queue->scsi;
	unsigned room = queue->ring.size - scsi->stashed;
	int count;

	memmove(scsi->stash, scsi->stash + scsi->stash_first, scsi->stashed * sizeof(*scsi->stash));
	scsi->stash_first = 0;
	count = ring_reap(queue, scsi->stash + scsi->stashed, room);
	if (count < 0)
		return count;
	scsi->stashed += (unsigned)count;
	return 0;
}
