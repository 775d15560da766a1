// SPDX-License-Identifier: MIT
/*
 * Commands of virtio-scsi (virtio 1.3, 5.6.6.1): header and CDB alone in the first descriptor, then data for the device; the
 * response with its sense data alone, then data from the device.
 *
 * Theory of operation. As in blk.c, the id of a chain finds all that belongs to it. `response` and `status` are preset to what no
 * device writes; `response` counts before `status`, and status before sense data; lengths are cut to what there is room for. The
 * usual end, good and nothing missing, is three loads and a compare; where it is not that, the response is read again, once, and
 * only what it says then counts.
 *
 * Commands that somebody waits for (scsi_sync.c) go through the same ring. Whoever reaps ends them; what else is reaped while
 * one is waited for lies in the stash until ringlane_reap is called.
 *
 * On the queue's thread. No system calls.
 */
#include "driver/scsi_chain.h"
#include "driver/transfer.h"

#include <string.h>

#define PREFETCHES_MAX 32u

uint64_t scsi_address(unsigned target, unsigned lun)
{
	unsigned number = lun < 0x4000 ? 0x4000 | lun : lun;
	const uint8_t bytes[8] = { 1, (uint8_t)target, (uint8_t)(number >> 8), (uint8_t)number };
	uint64_t address;

	memcpy(&address, bytes, sizeof(address));
	return address;
}

/* ---- the chain ---- */

/* The first 12 bytes of a response, in host order. Its place is a multiple of 4 (queue.c:response_offset). */
struct response {
	uint32_t sense_len, residual;
	uint32_t codes; /* status_qualifier, status, response */
};

static inline struct response response_load(const uint8_t *bytes)
{
	const uint32_t *words = (const uint32_t *)bytes;

	return (struct response){
		.sense_len = le32toh(load_relaxed(&words[0])),
		.residual = le32toh(load_relaxed(&words[1])),
		.codes = le32toh(load_relaxed(&words[2])),
	};
}

/* Good, without sense data, and nothing is missing. The status_qualifier tells nothing of a good status. */
static inline bool response_is_good(struct response response)
{
	return !(response.sense_len | response.residual | response.codes >> 16);
}

int scsi_request_add(struct ringlane_queue *queue, struct virtq_sg *sg,
		     const struct scsi_request *request)
{
	return scsi_chain_add(queue, sg, request);
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
	struct scsi_targets *targets;
	struct scsi_slot *slot;

	scsi_result_preset(result);
	if (queue->kind != QUEUE_SCSI)
		return;
	slot = &queue->scsi.slots[queue->scsi.id_queued];
	targets = &queue->scsi.targets[queue->scsi.id_queued];
	if (!slot->has_targets)
		*targets = (struct scsi_targets){ NULL, NULL };
	targets->result = result;
	slot->has_targets = true;
}

/* ---- commands as bytes ---- */

static int command_check(const struct ringlane_queue *queue, const struct ringlane_lun *lun,
			 const struct ringlane_scsi_command *command)
{
	bool has_data = command->direction != RINGLANE_SCSI_NO_DATA;

	if (queue->kind != QUEUE_SCSI)
		return -ENOTSUP;
	if (!lun)
		return -ENXIO;
	if (!command->cdb || !command->cdb_len || command->cdb_len > queue->scsi.cdb_size)
		return -EINVAL;
	if ((unsigned)command->attribute > RINGLANE_SCSI_ACA ||
	    (unsigned)command->direction > RINGLANE_SCSI_DATA_OUT ||
	    has_data != !!command->iov_count)
		return -EINVAL;
	return queue_room(queue);
}

static void command_cdb(const struct ringlane_scsi_command *command, struct scsi_request *request)
{
	unsigned first = MIN(command->cdb_len, (unsigned)sizeof(request->cdb));

	memcpy(&request->cdb, command->cdb, first);
	request->cdb_rest = (const uint8_t *)command->cdb + first;
	request->cdb_rest_len = command->cdb_len - first;
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
		.attribute = (uint8_t)command->attribute,
		.direction = command->direction,
		.segments = (unsigned)segments,
		.kind = SCSI_COMMAND,
		.data_bytes = (uint32_t)bytes,
		.targets = { .result = command->result },
		.user_data = command->user_data,
	};
	command_cdb(command, &request);
	ret = scsi_request_add(queue, queue->sg, &request);
	return ret < 0 ? ret : 0;
}

/* ---- results ---- */

/* Reads the sense data once; whatever the device claims, only what was room for counts. */
static void result_fill(const struct ringlane_queue *queue, uint16_t id, struct response response,
			struct ringlane_scsi_result *result)
{
	uint32_t data_bytes = queue->scsi.slots[id].data_bytes;

	*result = (struct ringlane_scsi_result){
		.response = (uint8_t)(response.codes >> 24),
		.status = SCSI_STATUS_NEVER,
		.residual = data_bytes,
	};
	if (result->response == RINGLANE_SCSI_OK || result->response == RINGLANE_SCSI_OVERRUN)
		result->residual = MIN(response.residual, data_bytes);
	if (result->response != RINGLANE_SCSI_OK)
		return;
	result->status = (uint8_t)(response.codes >> 16);
	result->status_qualifier = (uint16_t)response.codes;
	result->sense_len =
		MIN(response.sense_len, MIN(queue->scsi.sense_size, RINGLANE_SCSI_SENSE_MAX));
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
	const struct scsi_targets none = { NULL, NULL };
	const struct scsi_targets *targets = slot->has_targets ? &queue->scsi.targets[id] : &none;
	struct ringlane_scsi_result own, *result = targets->result ? targets->result : &own;
	int ret;

	result_fill(queue, id, response, result);
	ret = scsi_errno(result->response, result->status, result->sense, result->sense_len);
	if (ret == 0 && slot->kind == SCSI_GET_ID)
		return id_copy(queue, id, targets->data);
	if (ret == 0 && slot->kind == SCSI_TRANSFER && result->residual)
		return -ENODATA;
	return ret;
}

/* ---- UNIT ATTENTION ---- */

/* A LUN has one for each thing that happened to it (SPC-4, 5.14); one that always has another gets its error through. */
#define ATTENTIONS_MAX 16

/*
 * Something happened to the LUN, and this request is the one that is told (another LUN came, a reset, a new size): it was
 * not executed. Requests for blocks are sent again; who sends commands as bytes wants to know.
 */
static slow_path bool attention_is_due(struct ringlane_queue *queue, uint16_t id,
				       struct response response)
{
	struct scsi_slot *slot = &queue->scsi.slots[id];
	struct ringlane_scsi_result result;

	if (slot->kind == SCSI_COMMAND || slot->kind >= SCSI_SYNC ||
	    slot->attentions == ATTENTIONS_MAX)
		return false;
	result_fill(queue, id, response, &result);
	if (scsi_errno(result.response, result.status, result.sense, result.sense_len) != -ERESTART)
		return false;
	slot->attentions++;
	return true;
}

/* ---- reaping ---- */

enum end {
	END_COMPLETION,
	END_OURS,  /* nobody's completion */
	END_AGAIN, /* it is on its way again */
};

/* Just taken, from a chain of so many descriptors, and not simply good. */
static slow_path enum end request_end(struct ringlane_queue *queue, uint16_t id, unsigned descs,
				      int *ret_result)
{
	const struct response response = response_load(queue_response(queue, id));
	const struct scsi_slot *slot = &queue->scsi.slots[id];
	bool check = (response.codes >> 16) == SCSI_STATUS_CHECK_CONDITION;

	if (slot->kind >= SCSI_SYNC) {
		if (slot->kind == SCSI_SYNC) {
			result_of(queue, id, response);
			((struct scsi_sync *)queue->scsi.targets[id].data)->done = true;
		}
		queue->scsi.scratch_busy = false;
		return END_OURS;
	}
	if (check && attention_is_due(queue, id, response)) {
		scsi_response_preset(queue_response(queue, id));
		virtq_driver_untake(&queue->ring, id, descs);
		return END_AGAIN;
	}
	*ret_result = result_of(queue, id, response);
	return END_COMPLETION;
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

/* The lines of what has come are fetched first, all at once, to be written soon: the next requests' headers are there too. */
static inline void responses_prefetch(struct ringlane_queue *queue, unsigned max)
{
	uint16_t ids[PREFETCHES_MAX];
	unsigned count = 0;

	if (queue->in_flight > 1)
		count = virtq_driver_peek(&queue->ring, ids, MIN(max, PREFETCHES_MAX));
	for (unsigned i = 0; i < count; i++)
		prefetch_for_write(queue_response(queue, ids[i]));
}

static int ring_reap(struct ringlane_queue *queue, struct ringlane_completion *completions,
		     unsigned max)
{
	unsigned count = 0, ours = 0, again = 0;
	int took = 0;

	responses_prefetch(queue, max);
	while (count < max) {
		uint16_t id, free_before = queue->ring.free_count;
		enum end end;
		uint32_t written;

		took = virtq_driver_take(&queue->ring, &id, &written);
		if (took <= 0)
			break;
		completions[count].user_data = queue->user_data[id];
		completions[count].result = 0;
		if (likely(response_is_good(response_load(queue_response(queue, id))) &&
			   queue->scsi.slots[id].kind <= SCSI_PLAIN)) {
			count++;
			continue;
		}
		end = request_end(queue, id, queue->ring.free_count - free_before,
				  &completions[count].result);
		count += end == END_COMPLETION;
		ours += end == END_OURS;
		again += end == END_AGAIN;
		if (again == queue->ring.size)
			break;
	}
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

void scsi_queue_forget(struct ringlane_queue *queue)
{
	for (unsigned id = 0; id < queue->ring.size; id++) {
		struct scsi_slot *slot = &queue->scsi.slots[id];

		if (queue->ring.slots[id].count && slot->kind < SCSI_SYNC)
			*slot = (struct scsi_slot){ .kind = SCSI_PLAIN };
	}
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
