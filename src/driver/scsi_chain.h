/* SPDX-License-Identifier: MIT */
/*
 * The chain of a command (virtio 1.3, 5.6.6.1). It is in a header so that the path of reads and writes takes it in: what a request is
 * made of stays in registers on its way into shared memory.
 *
 * On the queue's thread. No system calls.
 */
#ifndef RINGLANE_DRIVER_SCSI_CHAIN_H
#define RINGLANE_DRIVER_SCSI_CHAIN_H

#include "driver/scsi.h"

#include <errno.h>

static_assert(offsetof(struct virtio_scsi_cmd_req, tag) == 8, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, task_attr) == 16, "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_req, cdb) == SCSI_HEADER_BYTES,
	      "virtio 1.3, 5.6.6.1");
static_assert(offsetof(struct virtio_scsi_cmd_resp, sense) == SCSI_RESPONSE_BYTES,
	      "virtio 1.3, 5.6.6.1");

#define SCSI_CODES_NEVER ((uint32_t)RINGLANE_SCSI_NONE << 24 | (uint32_t)SCSI_STATUS_NEVER << 16)

static inline void scsi_response_preset(uint8_t *bytes)
{
	uint32_t *words = (uint32_t *)bytes;

	store_relaxed(&words[0], 0);
	store_relaxed(&words[1], 0);
	store_relaxed(&words[2], htole32(SCSI_CODES_NEVER));
}

/* What comes behind the first 16 bytes of a CDB, when that is not 16 bytes of nothing. */
static slow_path void scsi_cdb_rest_fill(const struct ringlane_queue *queue, uint8_t *to,
					 const uint8_t *bytes, unsigned count)
{
	memset(to, 0, queue->scsi.cdb_size - sizeof(struct scsi_cdb));
	if (count)
		memcpy(to, bytes, count);
}

/* 19 bytes and the CDB. */
static inline void scsi_header_fill(struct ringlane_queue *queue, uint8_t *bytes,
				    const struct scsi_request *request)
{
	struct le64 tag = le64_make(++queue->scsi.tag);
	struct le32 attribute = le32_make(request->attribute); /* the byte too many is the CDB's */
	uint8_t *rest = bytes + SCSI_HEADER_BYTES + sizeof(request->cdb);

	memcpy(bytes, &request->address, 8);
	memcpy(bytes + 8, &tag, 8);
	memcpy(bytes + 16, &attribute, 4);
	memcpy(bytes + SCSI_HEADER_BYTES, &request->cdb.words[0], 8);
	memcpy(bytes + SCSI_HEADER_BYTES + 8, &request->cdb.words[1], 8);
	if (likely(queue->scsi.cdb_size == VIRTIO_SCSI_CDB_DEFAULT_SIZE && !request->cdb_rest_len))
		memset(rest, 0, VIRTIO_SCSI_CDB_DEFAULT_SIZE - sizeof(request->cdb));
	else
		scsi_cdb_rest_fill(queue, rest, request->cdb_rest, request->cdb_rest_len);
}

/* See scsi_request_add (scsi.h). */
static always_inline int scsi_chain_add(struct ringlane_queue *queue, struct virtq_sg *sg,
					const struct scsi_request *request)
{
	uint16_t head = queue->ring.free_head, id;
	uint8_t *header = queue_request(queue, head), *response = queue_response(queue, head);
	bool data_in = request->direction == RINGLANE_SCSI_DATA_IN;
	unsigned out = data_in ? 1 : 1 + request->segments;
	unsigned in = data_in ? 1 + request->segments : 1;
	struct scsi_slot *slot;
	int ret;

	scsi_header_fill(queue, header, request);
	scsi_response_preset(response);
	sg[0] = (struct virtq_sg){ queue_shared_addr(queue, header), queue->scsi.request_bytes };
	sg[out] =
		(struct virtq_sg){ queue_shared_addr(queue, response), queue->scsi.response_bytes };
	ret = virtq_driver_add(&queue->ring, sg, out, in, &id);
	if (unlikely(ret < 0))
		return ret == -ENOSPC ? -EAGAIN : ret;
	assert(id == head);
	slot = &queue->scsi.slots[id];
	slot->kind =
		(uint16_t)request->kind; /* by member: nothing is put together in memory first */
	slot->attentions = 0;
	slot->has_targets = request->targets.data || request->targets.result;
	slot->data_bytes = request->data_bytes;
	if (slot->has_targets)
		queue->scsi.targets[id] = request->targets;
	queue->scsi.id_queued = id;
	queue->user_data[id] = request->user_data;
	if (likely(request->kind != SCSI_SYNC))
		queue->in_flight++;
	return id;
}

#endif
