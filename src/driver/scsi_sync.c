// SPDX-License-Identifier: MIT
/*
 * A command that is sent and waited for, as opening a LUN does: on a thread that has the queue at its disposal.
 *
 * Its data lies in the queue's scratch memory. When the wait ends before the command does, the device may still write there: the
 * memory is not used again before the command has come back, and the command's end is nobody's.
 *
 * What else is completed meanwhile is kept for ringlane_reap, and the queue's descriptor is made readable for those who sleep
 * on it.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "driver/scsi.h"
#include "driver/transfer.h"

#include <string.h>

/* A LUN has one for each thing that happened; one that always has another is broken. */
#define ATTENTIONS_MAX 16

static int exec_queue(struct ringlane_queue *queue, const struct scsi_exec *exec,
		      struct scsi_sync *sync)
{
	struct virtq_sg sg[3];
	const struct scsi_request request = {
		.address = exec->address,
		.cdb = scsi_cdb_of(exec->cdb),
		.direction = exec->direction,
		.segments = exec->direction == RINGLANE_SCSI_NO_DATA ? 0 : 1,
		.kind = SCSI_SYNC,
		.data_bytes = exec->bytes,
		.targets = { .data = sync, .result = &sync->result },
	};

	assert(exec->bytes <= QUEUE_SCRATCH_BYTES);
	sg[scsi_data_first(exec->direction)] = (struct virtq_sg){
		queue_shared_addr(queue, queue->scsi.scratch),
		exec->bytes,
	};
	if (exec->direction == RINGLANE_SCSI_DATA_IN)
		memset(queue->scsi.scratch, 0, exec->bytes);
	return scsi_request_add(queue, sg, &request);
}

/* 0: the command has ended. */
static int exec_wait(struct ringlane_queue *queue, const struct scsi_sync *sync, uint64_t deadline)
{
	for (;;) {
		int ret = scsi_queue_stash(queue);

		if (sync->done)
			return 0;
		if (ret < 0)
			return ret;
		if (queue->gone && !virtq_driver_has_work(&queue->ring))
			return -ECONNRESET;
		if (clock_ns() >= deadline)
			return -ETIMEDOUT;
		queue_sleep(queue, deadline);
	}
}

static int exec_once(struct ringlane_queue *queue, const struct scsi_exec *exec, uint64_t deadline,
		     struct ringlane_scsi_result *ret_result)
{
	struct scsi_sync sync = { .done = false };
	int ret = queue_room(queue), id;

	if (ret < 0)
		return ret;
	id = exec_queue(queue, exec, &sync);
	if (id < 0)
		return id;
	queue->scsi.scratch_busy = true;
	ringlane_submit(queue);
	ret = exec_wait(queue, &sync, deadline);
	if (ret < 0) {
		queue->scsi.slots[id] = (struct scsi_slot){ .kind = SCSI_ABANDONED };
		return ret;
	}
	*ret_result = sync.result;
	return scsi_errno(ret_result->response, ret_result->status, ret_result->sense,
			  ret_result->sense_len);
}

static int exec_all(struct ringlane_queue *queue, const struct scsi_exec *exec, uint64_t deadline,
		    struct ringlane_scsi_result *ret_result)
{
	int ret = -ERESTART;

	if (queue->in_flight >= queue->ring.size)
		return -EAGAIN;
	scsi_queue_stash(queue); /* perhaps the one that was given up */
	if (queue->scsi.scratch_busy)
		return -EBUSY;
	for (unsigned i = 0; ret == -ERESTART && i < ATTENTIONS_MAX; i++)
		ret = exec_once(queue, exec, deadline, ret_result);
	return ret;
}

/* Whoever had armed the queue is woken by what we took for him, and by what comes. */
static void exec_leave(struct ringlane_queue *queue, bool armed)
{
	bool more = armed && virtq_driver_calls_enable(&queue->ring, 0);

	if (more || queue->scsi.stashed)
		event_fd_signal(queue->call_fd);
}

int scsi_exec(struct ringlane_queue *queue, const struct scsi_exec *exec, unsigned timeout_ms,
	      struct ringlane_scsi_result *ret_result, unsigned *ret_got)
{
	bool armed = !queue->ring.calls_suppressed;
	int ret;

	*ret_result = (struct ringlane_scsi_result){ .response = RINGLANE_SCSI_NONE,
						     .status = SCSI_STATUS_NEVER };
	ret = exec_all(queue, exec, clock_ns() + (uint64_t)timeout_ms * NS_PER_MS, ret_result);
	exec_leave(queue, armed);
	*ret_got = exec->bytes - MIN(ret_result->residual, exec->bytes);
	return ret;
}
