/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: the control queue (virtio 1.3, 5.6.6.2): task management functions, asynchronous notifications.
 *
 * Theory of operation. What a TMF does is a row of a table: which LUNs it concerns, what happens to their commands in each lane, and
 * what follows when all lanes have answered. The chain is kept until then; any number of TMFs may be out. Commands that the disk has
 * are waited for, by nobody in particular: the loops go on, and the lane that completes the last one answers.
 *
 * Resets hold back what comes from the moment at which a lane hears of them until the reset has taken effect on the unit.
 *
 * A TMF is answered after the completions that it caused are in their rings (scsi_fanout.c).
 *
 * Nobody else's commands notice: only lun queues of the LUNs concerned are touched.
 *
 * On the main loop, which serves this lane.
 */
#include "base/endian.h"
#include "base/iov.h"
#include "device/scsi_internal.h"

#include <stdlib.h>

/* ---- requests ---- */

struct tmf_wire {
	struct le32 type, subtype;
	uint8_t lun[8];
	struct le64 tag;
} __attribute__((packed));

struct notify_wire {
	struct le32 type;
	uint8_t lun[8];
	struct le32 event_requested;
} __attribute__((packed));

struct notify_answer {
	struct le32 event_actual;
	uint8_t response;
} __attribute__((packed));

static_assert(sizeof(struct tmf_wire) == sizeof(struct virtio_scsi_ctrl_tmf_req),
	      "virtio 1.3, 5.6.6.2");
static_assert(sizeof(struct notify_wire) == sizeof(struct virtio_scsi_ctrl_an_req),
	      "virtio 1.3, 5.6.6.2");
static_assert(sizeof(struct notify_answer) == sizeof(struct virtio_scsi_ctrl_an_resp),
	      "virtio 1.3, 5.6.6.2");

#define FUNCTION_COMPLETE VIRTIO_SCSI_S_OK /* its other name */

enum scope { OF_LUN, OF_UNIT, OF_TARGET };

struct tmf;

struct tmf_kind {
	enum scope scope;
	const struct scsi_work *work; /* NULL: rejected */
	bool by_tag;
	uint8_t answer; /* of the commands that it ends */
	/* All lanes have answered. Returns the response. */
	uint8_t (*finish)(struct tmf *tmf, struct scsi_fanout *fanout);
	bool holds; /* what the work held back is to be released */
};

/* A slot of the control lane. */
struct tmf {
	struct lane_request base; /* must be first */
	struct scsi_device *device;
	const struct tmf_kind *kind;
	struct scsi_lun *lun; /* that it names; NULL for a target */
	uint8_t target;
};

/* ---- the end ---- */

static void tmf_answer(struct tmf *tmf, uint8_t response)
{
	const struct virtq_chain *chain = &tmf->base.chain;

	iov_from_buffer(tmf->base.iov + chain->readable_count, chain->writable_count, 0, &response,
			sizeof(response));
	lane_complete(&tmf->base, sizeof(response));
}

static void tmf_released(struct scsi_fanout *fanout)
{
	scsi_fanout_free(fanout);
}

static void tmf_done(struct scsi_fanout *fanout)
{
	struct tmf *tmf = fanout->opaque;
	bool holds = tmf->kind->holds;

	tmf_answer(tmf, tmf->kind->finish(tmf, fanout));
	if (holds)
		scsi_fanout_begin(fanout, &scsi_do_release, tmf_released);
	else
		scsi_fanout_free(fanout);
}

/* ---- what follows ---- */

static uint8_t finish_abort(struct tmf *tmf, struct scsi_fanout *fanout)
{
	return FUNCTION_COMPLETE;
}

static uint8_t finish_query(struct tmf *tmf, struct scsi_fanout *fanout)
{
	return scsi_fanout_count(fanout, NULL) ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED :
						 FUNCTION_COMPLETE;
}

/* SAM-5, 5.6 and 7.4: initiators that had nothing to do with it hear that they lost commands. */
static uint8_t finish_clear(struct tmf *tmf, struct scsi_fanout *fanout)
{
	struct scsi_lun *lun;

	TAILQ_FOREACH(lun, &tmf->lun->disk->luns, next_of_disk)
	if (lun != tmf->lun && scsi_fanout_count(fanout, lun))
		scsi_nexus_attention(lun->nexus, SCSI_ASC_COMMANDS_CLEARED_BY_ANOTHER);
	return FUNCTION_COMPLETE;
}

static uint8_t finish_unit_reset(struct tmf *tmf, struct scsi_fanout *fanout)
{
	scsi_unit_reset(tmf->lun->disk->unit);
	return FUNCTION_COMPLETE;
}

static uint8_t finish_nexus_reset(struct tmf *tmf, struct scsi_fanout *fanout)
{
	struct scsi_lun *lun;

	TAILQ_FOREACH(lun, &tmf->device->luns, next_of_device)
	if (lun->target == tmf->target)
		scsi_nexus_lost(lun->nexus, SCSI_ASC_NEXUS_LOSS);
	return FUNCTION_COMPLETE;
}

static const struct tmf_kind kinds[] = {
	[VIRTIO_SCSI_T_TMF_ABORT_TASK] = { OF_LUN, &scsi_do_abort, true, VIRTIO_SCSI_S_ABORTED,
					   finish_abort, false },
	[VIRTIO_SCSI_T_TMF_ABORT_TASK_SET] = { OF_LUN, &scsi_do_abort, false, VIRTIO_SCSI_S_ABORTED,
					       finish_abort, false },
	[VIRTIO_SCSI_T_TMF_CLEAR_ACA] = { .work = NULL }, /* NORMACA is 0 */
	[VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET] = { OF_UNIT, &scsi_do_abort, false,
					       VIRTIO_SCSI_S_ABORTED, finish_clear, false },
	[VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET] = { OF_TARGET, &scsi_do_reset, false,
						VIRTIO_SCSI_S_RESET, finish_nexus_reset, true },
	[VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET] = { OF_UNIT, &scsi_do_reset, false,
						   VIRTIO_SCSI_S_RESET, finish_unit_reset, true },
	[VIRTIO_SCSI_T_TMF_QUERY_TASK] = { OF_LUN, &scsi_do_query, true, 0, finish_query, false },
	[VIRTIO_SCSI_T_TMF_QUERY_TASK_SET] = { OF_LUN, &scsi_do_query, false, 0, finish_query,
					       false },
};

/* ---- the beginning ---- */

/* 0, or the response. */
static uint8_t tmf_find_lun(struct tmf *tmf, const uint8_t bytes[8])
{
	enum scsi_lun_kind kind = scsi_lun_decode(tmf->device->table, bytes, &tmf->lun);

	tmf->target = bytes[1];
	if (kind == SCSI_LUN_BAD)
		return VIRTIO_SCSI_S_BAD_TARGET;
	if (kind == SCSI_LUN_OK || tmf->kind->scope == OF_TARGET)
		return 0;
	return VIRTIO_SCSI_S_INCORRECT_LUN;
}

static bool tmf_concerns(const struct tmf *tmf, const struct scsi_lun *lun)
{
	return lun->target == tmf->target && !lun->going;
}

static struct scsi_fanout *fanout_of_target(const struct tmf *tmf)
{
	struct scsi_fanout *fanout;
	struct scsi_lun *lun;
	unsigned parts = 0;

	TAILQ_FOREACH(lun, &tmf->device->luns, next_of_device)
	parts += tmf_concerns(tmf, lun) ? tmf->device->num_queues : 0;
	fanout = scsi_fanout_new(tmf->device->main_loop, parts);
	if (!fanout)
		return NULL;
	TAILQ_FOREACH(lun, &tmf->device->luns, next_of_device)
	if (tmf_concerns(tmf, lun))
		scsi_fanout_add_lun(fanout, lun);
	return fanout;
}

static struct scsi_fanout *tmf_fanout(const struct tmf *tmf)
{
	struct scsi_fanout *fanout;

	switch (tmf->kind->scope) {
	case OF_LUN:
		fanout = scsi_fanout_new(tmf->device->main_loop, tmf->device->num_queues);
		if (fanout)
			scsi_fanout_add_lun(fanout, tmf->lun);
		return fanout;
	case OF_UNIT:
		return scsi_disk_fanout(tmf->lun->disk);
	case OF_TARGET:
		return fanout_of_target(tmf);
	}
	__builtin_unreachable();
}

static void tmf_execute(struct tmf *tmf, const struct tmf_wire *wire)
{
	uint32_t subtype = le32_get(wire->subtype);
	struct scsi_fanout *fanout;
	uint8_t response;

	if (subtype >= ARRAY_SIZE(kinds) || !kinds[subtype].work) {
		tmf_answer(tmf, VIRTIO_SCSI_S_FUNCTION_REJECTED);
		return;
	}
	tmf->kind = &kinds[subtype];
	response = tmf_find_lun(tmf, wire->lun);
	if (response) {
		tmf_answer(tmf, response);
		return;
	}
	fanout = tmf_fanout(tmf);
	if (!fanout) {
		tmf_answer(tmf, VIRTIO_SCSI_S_FAILURE);
		return;
	}
	fanout->opaque = tmf;
	fanout->match = (struct scsi_match){
		.by_tag = tmf->kind->by_tag,
		.tag = le64_get(wire->tag),
		.answer = tmf->kind->answer,
	};
	scsi_fanout_begin(fanout, tmf->kind->work, tmf_done);
}

/* ---- asynchronous notifications: there are none to subscribe to ---- */

static void notify_execute(struct tmf *tmf)
{
	const struct notify_answer answer = { .response = VIRTIO_SCSI_S_OK };
	const struct virtq_chain *chain = &tmf->base.chain;
	size_t put = iov_from_buffer(tmf->base.iov + chain->readable_count, chain->writable_count,
				     0, &answer, sizeof(answer));

	if (put < sizeof(answer))
		lane_fail(&tmf->base, "a control request without room for its response");
	else
		lane_complete(&tmf->base, sizeof(answer));
}

/* ---- the lane ---- */

static void ctrl_execute(struct lane *lane, struct lane_request *base)
{
	struct tmf *tmf = container_of(base, struct tmf, base);
	const struct virtq_chain *chain = &base->chain;
	struct tmf_wire wire = { 0 };
	size_t size = iov_to_buffer(base->iov, chain->readable_count, 0, &wire, sizeof(wire));
	uint32_t type = le32_get(wire.type);

	tmf->device = lane_device(lane);
	tmf->lun = NULL;
	if (chain->writable_count == 0)
		lane_fail(base, "a control request without room for its response");
	else if (type == VIRTIO_SCSI_T_TMF && size == sizeof(wire))
		tmf_execute(tmf, &wire);
	else if ((type == VIRTIO_SCSI_T_AN_QUERY || type == VIRTIO_SCSI_T_AN_SUBSCRIBE) &&
		 size >= sizeof(struct notify_wire))
		notify_execute(tmf);
	else
		lane_fail(base, "a control request of a kind or size that nobody knows");
}

static int ctrl_start(struct lane *lane)
{
	const struct scsi_device *device = lane_device(lane);

	assert(lane_loop(lane) == device->main_loop);
	return 0;
}

static void ctrl_stop(struct lane *lane)
{
}

const struct lane_ops *scsi_ctrl_ops(void)
{
	static const struct lane_ops ops = {
		.request_size = sizeof(struct tmf),
		.answer_first = true,
		.start = ctrl_start,
		.stop = ctrl_stop,
		.execute = ctrl_execute,
	};

	return &ops;
}
