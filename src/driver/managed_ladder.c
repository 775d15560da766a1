// SPDX-License-Identifier: MIT
/*
 * What the rungs of the error ladder do. On the keeper's thread, which looks at the deadlines of all requests every half a
 * step while any has one.
 *
 * The first two rungs cost nothing: the queue's own call fd is signalled, as the interrupt that was lost would have done, and
 * the doorbell is rung again whatever the device said about wanting it. Task management is for SCSI; when it works the
 * commands come back by themselves, and are put in again as after a reset when they may be. After that the queue,
 * and then the device, is stopped, which gives back what it has confirmed to have let go.
 */
#include "driver/keeper.h"

#include "base/clock.h"
#include "driver/reaper.h"

#include <errno.h>

#define BIT(rung) (1u << (rung))
#define RUNGS_OF_ALL (BIT(LADDER_POLL) | BIT(LADDER_KICK) | BIT(LADDER_DEVICE_RESET))
#define RUNGS_OF_SCSI (BIT(LADDER_ABORT) | BIT(LADDER_LUN_RESET) | BIT(LADDER_NEXUS_RESET))
#define COMMANDS_MAX 64 /* of one look */
#define STEP_NS_DEFAULT (100 * NS_PER_MS)

void managed_ladder_init(struct keeper *keeper)
{
	struct ringlane_managed_options *options = &keeper->managed->options;

	if (!options->step_ns)
		options->step_ns = STEP_NS_DEFAULT;
	keeper->ladder_config = (struct ladder_config){
		.rungs = RUNGS_OF_ALL,
		.step_ns = options->step_ns,
	};
	if (keeper->managed->device->kind == DEVICE_SCSI)
		keeper->ladder_config.rungs |= RUNGS_OF_SCSI;
	if (device_can_reset_ring(keeper->managed->device))
		keeper->ladder_config.rungs |= BIT(LADDER_QUEUE_RESET);
	if (options->reconnect_ms)
		keeper->ladder_config.rungs |= BIT(LADDER_RECONNECT);
}

/* ---- what is late ---- */

/* A SCSI command that is late. A copy: it may end, and the handle of its LUN be closed, before it is acted on. */
struct late {
	unsigned target, lun;
	uint64_t tag;
};

struct look {
	unsigned timed; /* requests in flight that have a deadline */
	unsigned late;
	unsigned command_count;
	struct late commands[COMMANDS_MAX]; /* the first of those that are late */
};

static void late_add(struct look *look, const struct managed_queue *mq,
		     const struct managed_request *slot)
{
	const struct ringlane_lun *lun = slot->want.lun ? slot->want.lun : mq->queue->scsi.lun;

	if (!lun || look->command_count == COMMANDS_MAX)
		return;
	look->commands[look->command_count++] =
		(struct late){ lun->info.unit.target, lun->info.unit.lun, slot->tag };
}

static void queue_look(struct managed_queue *mq, uint64_t now_ns, struct look *look)
{
	*look = (struct look){ 0 };
	pthread_mutex_lock(&mq->lock);
	for (unsigned i = 0; mq->used && i < mq->slot_count; i++) {
		const struct managed_request *slot = &mq->slots[i];

		if (slot->state != SLOT_IN_FLIGHT || slot->deadline_ns == UINT64_MAX)
			continue;
		look->timed++;
		if (slot->deadline_ns > now_ns)
			continue;
		look->late++;
		if (mq->queue->kind == QUEUE_SCSI)
			late_add(look, mq, slot);
	}
	pthread_mutex_unlock(&mq->lock);
}

/* ---- what is done ---- */

/* Waits for the answer, at most a step. False: there was none, and the next one would not be answered either. */
static bool task_manage(struct keeper *keeper, enum ringlane_scsi_function function,
			const struct late *command)
{
	struct ringlane_device *device = keeper->managed->device;
	unsigned timeout_ms = (unsigned)(keeper->ladder_config.step_ns / NS_PER_MS);
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = ringlane_scsi_manage(device, function, command->target, command->lun, command->tag,
				   MAX(timeout_ms, 1u));
	pthread_mutex_unlock(&device->lock);
	return ret != -ETIMEDOUT;
}

/* Has one before it been for the same LUN, or target? */
static bool is_managed(const struct look *look, unsigned index,
		       enum ringlane_scsi_function function)
{
	const struct late *it = &look->commands[index];

	if (function == RINGLANE_SCSI_ABORT_TASK)
		return false;
	for (unsigned i = 0; i < index; i++) {
		const struct late *before = &look->commands[i];

		if (before->target == it->target &&
		    (function == RINGLANE_SCSI_I_T_NEXUS_RESET || before->lun == it->lun))
			return true;
	}
	return false;
}

/* Each command, or each LUN or target once. A control queue that is silent is waited for once. */
static void tasks_manage(struct keeper *keeper, enum ringlane_scsi_function function,
			 const struct look *look)
{
	for (unsigned i = 0; i < look->command_count && !load_acquire(&keeper->quit); i++) {
		if (is_managed(look, i, function))
			continue;
		if (!task_manage(keeper, function, &look->commands[i]))
			return;
	}
}

/* Its requests will not end, and their memory cannot be given back. */
static void queue_fail(struct keeper *keeper, struct managed_queue *mq)
{
	pthread_mutex_lock(&mq->lock);
	if (!mq->closed) {
		store_relaxed(&mq->closed, -ETIMEDOUT);
		store_relaxed(&keeper->zombies, keeper->zombies + mq->used);
	}
	pthread_mutex_unlock(&mq->lock);
}

static void rung_take(struct keeper *keeper, struct managed_queue *mq, enum ladder_rung rung,
		      const struct look *look)
{
	switch (rung) {
	case LADDER_GROUND:
	case LADDER_RUNGS:
		return;
	case LADDER_KICK:
		queue_ring(mq->queue);
		return;
	case LADDER_ABORT:
		tasks_manage(keeper, RINGLANE_SCSI_ABORT_TASK, look);
		break;
	case LADDER_LUN_RESET:
		tasks_manage(keeper, RINGLANE_SCSI_LOGICAL_UNIT_RESET, look);
		break;
	case LADDER_NEXUS_RESET:
		tasks_manage(keeper, RINGLANE_SCSI_I_T_NEXUS_RESET, look);
		break;
	case LADDER_QUEUE_RESET:
		managed_queue_reset(keeper, mq);
		return;
	case LADDER_DEVICE_RESET:
		managed_reset(keeper);
		return;
	case LADDER_RECONNECT:
		keeper_find_again(keeper);
		return;
	case LADDER_FAIL:
		queue_fail(keeper, mq);
		return;
	case LADDER_POLL:
		break;
	}
	/* After task management too: what was aborted may be in the ring, and not called for. */
	reaper_seek(mq);
}

bool managed_ladder_look(struct keeper *keeper, uint64_t now_ns)
{
	struct ringlane_managed *managed = keeper->managed;
	unsigned timed = 0;

	for (unsigned i = 0; load_relaxed(&managed->has_deadlines) && i < managed->queue_count;
	     i++) {
		struct managed_queue *mq = &managed->queues[i];
		enum ladder_rung rung;
		struct look look;

		queue_look(mq, now_ns, &look);
		timed += look.timed;
		rung = ladder_step(&keeper->ladders[i], &keeper->ladder_config, look.late, now_ns);
		rung_take(keeper, mq, rung, &look);
	}
	return timed || load_relaxed(&managed->has_deadlines);
}
