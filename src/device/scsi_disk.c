/* SPDX-License-Identifier: MIT */
/*
 * A disk and everybody who shows it: quiet times (drain, exclusive commands), PREEMPT AND ABORT.
 *
 * Theory of operation. A disk is quiet when no command of it is being executed in any lane of any adapter. Who wants that (a drain, a
 * command that must be alone) makes the main thread hold the disk: it tells each distinct loop (scsi_fanout.c); there, commands that come wait,
 * and the loop answers when those that are there have ended. While it is quiet drains go first, then exclusive commands, one lun
 * queue after another. When nobody wants it any more it is released, with as many messages. enum scsi_disk_phase says where it is;
 * disk_step() makes the next move whenever something has changed.
 *
 * A command that waits to be alone is with the target but does nothing: it does not keep a disk from being quiet. One that came
 * after the hold waits with the others. A SANITIZE that goes on in the background stands still during drains.
 *
 * PREEMPT AND ABORT: the target marks nexuses and asks; here the marks are taken, the commands of those nexuses are aborted, and
 * whoever had asked goes on. One round at a time, for all that have asked until then.
 *
 * A fan-out needs memory. When there is none, the step is tried again a little later; nothing is lost.
 *
 * Main thread, but for the three functions that ask.
 */
#include "base/clock.h"
#include "device/scsi_internal.h"

#include <errno.h>
#include <stdlib.h>

#define RETRY_NS (10 * NS_PER_MS)

static void disk_step(struct scsi_disk *disk);
static void marked_step(struct scsi_disk *disk);
static void disk_end(struct loop_defer *defer);

/* ---- holding ---- */

static unsigned disk_parts(const struct scsi_disk *disk)
{
	const struct scsi_lun *lun;
	unsigned count = 0;

	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	count += lun->device->num_queues;
	return count;
}

/* With room for all its LUNs. */
static struct scsi_fanout *disk_fanout(struct scsi_disk *disk)
{
	struct scsi_fanout *fanout = scsi_fanout_new(disk->loop, disk_parts(disk));

	if (fanout)
		fanout->opaque = disk;
	else
		loop_timer_set(disk->loop, &disk->retry, loop_now(disk->loop) + RETRY_NS);
	return fanout;
}

struct scsi_fanout *scsi_disk_fanout(struct scsi_disk *disk)
{
	struct scsi_fanout *fanout = scsi_fanout_new(disk->loop, disk_parts(disk));
	struct scsi_lun *lun;

	if (!fanout)
		return NULL;
	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	scsi_fanout_add_lun(fanout, lun);
	return fanout;
}

static void phase_reached(struct scsi_fanout *fanout)
{
	struct scsi_disk *disk = fanout->opaque;

	disk->phase = disk->phase == SCSI_DISK_HOLDING ? SCSI_DISK_QUIET : SCSI_DISK_RUNS;
	disk_step(disk);
	scsi_fanout_free(fanout);
	if (disk->phase == SCSI_DISK_RUNS && disk->freed)
		loop_defer(disk->loop, &disk->end);
}

static void disk_hold(struct scsi_disk *disk)
{
	struct scsi_fanout *fanout = disk_fanout(disk);
	struct scsi_lun *lun;

	if (!fanout)
		return;
	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	{
		lun->held = true;
		scsi_fanout_add_lun(fanout, lun);
	}
	disk->phase = SCSI_DISK_HOLDING;
	scsi_fanout_begin(fanout, &scsi_do_hold, phase_reached);
}

static void disk_release(struct scsi_disk *disk)
{
	struct scsi_fanout *fanout = disk_fanout(disk);
	struct scsi_lun *lun;

	if (!fanout)
		return;
	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	{
		assert(lun->held);
		lun->held = false;
		scsi_fanout_add_lun(fanout, lun);
	}
	disk->phase = SCSI_DISK_RELEASING;
	scsi_fanout_begin(fanout, &scsi_do_release, phase_reached);
}

/* ---- while it is quiet ---- */

/* done may drain or release. */
static void drains_answer(struct scsi_disk *disk)
{
	struct scsi_drain *drain;

	while ((drain = STAILQ_FIRST(&disk->drains))) {
		STAILQ_REMOVE_HEAD(&disk->drains, next);
		disk->drained++;
		drain->done(drain->opaque);
	}
}

static void granted_arrived(struct loop_message *message)
{
	scsi_lun_queue_grant(container_of(message, struct scsi_lun_queue, exclusive.answer));
}

/* To the loop of the lun queue's lane. Without one the queue is ours (who slept was aborted, and the lane stopped). */
static void errand_answer(struct scsi_lun_queue *lq, struct scsi_errand *errand,
			  void (*arrived)(struct loop_message *message))
{
	errand->answer.fn = arrived;
	lq->queue->device->out++;
	if (lq->queue->loop)
		loop_post(lq->queue->loop, &errand->answer);
	else
		arrived(&errand->answer);
}

static void exclusive_grant(struct scsi_disk *disk)
{
	struct scsi_lun_queue *lq = STAILQ_FIRST(&disk->exclusives);

	STAILQ_REMOVE_HEAD(&disk->exclusives, exclusive.next);
	disk->granted = lq;
	errand_answer(lq, &lq->exclusive, granted_arrived);
}

static bool disk_is_wanted_quiet(const struct scsi_disk *disk)
{
	return !STAILQ_EMPTY(&disk->drains) || disk->drained || !STAILQ_EMPTY(&disk->exclusives);
}

static void jobs_stand_still(void *opaque)
{
	struct scsi_disk *disk = opaque;

	disk->jobs_quiet = true;
	disk_step(disk);
}

/* What the target does by itself (SANITIZE) is held for drains, not for exclusive commands. False: not yet. */
static bool jobs_hold(struct scsi_disk *disk)
{
	if (!disk->jobs_held && !STAILQ_EMPTY(&disk->drains)) {
		disk->jobs_held = true;
		scsi_unit_hold_jobs(disk->unit, jobs_stand_still, disk);
	}
	return !disk->jobs_held || disk->jobs_quiet;
}

static void jobs_release(struct scsi_disk *disk)
{
	if (!disk->jobs_held)
		return;
	disk->jobs_held = disk->jobs_quiet = false;
	scsi_unit_release_jobs(disk->unit);
}

static void quiet_step(struct scsi_disk *disk)
{
	if (disk->granted || !jobs_hold(disk))
		return;
	drains_answer(disk);
	if (disk->drained)
		return;
	jobs_release(disk);
	if (!STAILQ_EMPTY(&disk->exclusives))
		exclusive_grant(disk);
	else
		disk_release(disk);
}

static void disk_step_once(struct scsi_disk *disk)
{
	if (disk->phase == SCSI_DISK_RUNS && disk_is_wanted_quiet(disk))
		disk_hold(disk);
	else if (disk->phase == SCSI_DISK_QUIET)
		quiet_step(disk);
}

static void disk_step(struct scsi_disk *disk)
{
	disk->again = true;
	if (disk->stepping)
		return;
	disk->stepping = true;
	while (disk->again) {
		disk->again = false;
		disk_step_once(disk);
	}
	disk->stepping = false;
}

static void retry_fired(struct loop_timer *timer)
{
	struct scsi_disk *disk = container_of(timer, struct scsi_disk, retry);

	disk_step(disk);
	marked_step(disk);
}

void scsi_disk_drain(struct scsi_disk *disk, struct scsi_drain *drain)
{
	assert(loop_is_mine(disk->loop));
	STAILQ_INSERT_TAIL(&disk->drains, drain, next);
	disk_step(disk);
}

void scsi_disk_begin_drained(struct scsi_disk *disk)
{
	assert(disk->phase == SCSI_DISK_RUNS && TAILQ_EMPTY(&disk->luns) &&
	       !disk_is_wanted_quiet(disk));
	disk->phase = SCSI_DISK_QUIET;
	disk->drained = 1;
}

void scsi_disk_release(struct scsi_disk *disk)
{
	assert(loop_is_mine(disk->loop) && disk->drained > 0);
	disk->drained--;
	disk_step(disk);
}

/* ---- exclusive commands ---- */

static void exclusive_asked(struct loop_message *message)
{
	struct scsi_lun_queue *lq = container_of(message, struct scsi_lun_queue, exclusive.ask);
	struct scsi_disk *disk = lq->lun->disk;

	scsi_lun_pin(lq->lun);
	STAILQ_INSERT_TAIL(&disk->exclusives, lq, exclusive.next);
	disk_step(disk);
}

void scsi_disk_ask_exclusive(struct scsi_lun_queue *lq)
{
	lq->exclusive.ask.fn = exclusive_asked;
	loop_post(lq->lun->disk->loop, &lq->exclusive.ask);
}

static void exclusive_ended(struct loop_message *message)
{
	struct scsi_lun_queue *lq = container_of(message, struct scsi_lun_queue, exclusive.answer);
	struct scsi_disk *disk = lq->lun->disk;

	assert(disk->granted == lq);
	disk->granted = NULL;
	scsi_device_back(lq->queue->device, 1);
	scsi_lun_unpin(lq->lun);
	disk_step(disk);
}

void scsi_disk_end_exclusive(struct scsi_lun_queue *lq)
{
	lq->exclusive.answer.fn = exclusive_ended;
	loop_post(lq->lun->disk->loop, &lq->exclusive.answer);
}

/* ---- PREEMPT AND ABORT ---- */

static void marked_came_back(struct loop_message *message)
{
	struct scsi_lun_queue *lq = container_of(message, struct scsi_lun_queue, marked.answer);

	scsi_device_back(lq->queue->device, 1);
	scsi_lun_unpin(lq->lun);
}

/* On the lun queue's loop. Back first: a new question may follow. */
static void marked_arrived(struct loop_message *message)
{
	struct scsi_lun_queue *lq = container_of(message, struct scsi_lun_queue, marked.answer);

	lq->marked.answer.fn = marked_came_back;
	loop_post(lq->lun->disk->loop, &lq->marked.answer);
	scsi_lun_queue_resume_marked(lq);
}

static void marked_served(struct scsi_fanout *fanout)
{
	struct scsi_disk *disk = fanout->opaque;
	struct scsi_lun_queue *lq;

	while ((lq = STAILQ_FIRST(&disk->served))) {
		STAILQ_REMOVE_HEAD(&disk->served, marked.next);
		lq->served = false;
		errand_answer(lq, &lq->marked, marked_arrived);
	}
	marked_step(disk);
	scsi_fanout_free(fanout);
}

static void marked_step(struct scsi_disk *disk)
{
	struct scsi_fanout *fanout;
	struct scsi_lun_queue *lq;
	struct scsi_lun *lun;

	if (STAILQ_EMPTY(&disk->marked) || !STAILQ_EMPTY(&disk->served))
		return;
	fanout = disk_fanout(disk);
	if (!fanout)
		return;
	STAILQ_CONCAT(&disk->served, &disk->marked);
	STAILQ_FOREACH(lq, &disk->served, marked.next)
	lq->served = true;
	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	if (scsi_nexus_take_abort(lun->nexus))
		scsi_fanout_add_lun(fanout, lun);
	fanout->match = (struct scsi_match){ .answer = VIRTIO_SCSI_S_ABORTED, .keep_served = true };
	scsi_fanout_begin(fanout, &scsi_do_abort, marked_served);
}

static void marked_asked(struct loop_message *message)
{
	struct scsi_lun_queue *lq = container_of(message, struct scsi_lun_queue, marked.ask);
	struct scsi_disk *disk = lq->lun->disk;

	scsi_lun_pin(lq->lun);
	STAILQ_INSERT_TAIL(&disk->marked, lq, marked.next);
	marked_step(disk);
}

void scsi_disk_ask_marked(struct scsi_lun_queue *lq)
{
	lq->marked.ask.fn = marked_asked;
	loop_post(lq->lun->disk->loop, &lq->marked.ask);
}

/* ---- LUNs of it ---- */

/* No loop knows it yet, so its queues are ours. */
static void lun_hold(struct scsi_lun *lun)
{
	lun->held = true;
	for (unsigned i = 0; i < lun->device->num_queues; i++)
		lun->queues[i].holds = 1;
}

void scsi_disk_add_lun(struct scsi_disk *disk, struct scsi_lun *lun)
{
	TAILQ_INSERT_TAIL(&disk->luns, lun, next_of_disk);
	if (disk->phase == SCSI_DISK_HOLDING || disk->phase == SCSI_DISK_QUIET)
		lun_hold(lun);
}

void scsi_disk_remove_lun(struct scsi_disk *disk, struct scsi_lun *lun)
{
	TAILQ_REMOVE(&disk->luns, lun, next_of_disk);
}

void scsi_disk_capacity_changed(struct scsi_disk *disk)
{
	struct scsi_lun *lun;

	scsi_unit_capacity_changed(disk->unit);
	TAILQ_FOREACH(lun, &disk->luns, next_of_disk)
	scsi_event_capacity_changed(lun);
}

/* ---- life ---- */

int scsi_disk_new(const struct scsi_unit_config *config, struct scsi_disk **ret_disk,
		  struct error *error)
{
	struct scsi_disk *disk = calloc(1, sizeof(*disk));
	int ret;

	if (!disk)
		return error_set(error, -ENOMEM, "not enough memory for a disk");
	disk->loop = config->loop;
	disk->retry.fire = retry_fired;
	disk->end.fn = disk_end;
	TAILQ_INIT(&disk->luns);
	STAILQ_INIT(&disk->drains);
	STAILQ_INIT(&disk->exclusives);
	STAILQ_INIT(&disk->marked);
	STAILQ_INIT(&disk->served);
	ret = scsi_unit_new(config, &disk->unit, error);
	if (ret < 0) {
		free(disk);
		return ret;
	}
	*ret_disk = disk;
	return 0;
}

static void disk_jobs_ended(void *opaque)
{
	struct scsi_disk *disk = opaque;
	void (*freed)(void *opaque) = disk->freed;
	void *freed_opaque = disk->freed_opaque;

	assert(disk->phase == SCSI_DISK_RUNS && !disk_is_wanted_quiet(disk));
	scsi_unit_free(disk->unit);
	free(disk);
	freed(freed_opaque);
}

static void disk_end(struct loop_defer *defer)
{
	struct scsi_disk *disk = container_of(defer, struct scsi_disk, end);

	scsi_unit_end_jobs(disk->unit, disk_jobs_ended, disk);
}

/* One that was drained a moment ago is being released: it ends when it runs. */
void scsi_disk_free(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque)
{
	assert(loop_is_mine(disk->loop) && TAILQ_EMPTY(&disk->luns));
	disk->freed = done;
	disk->freed_opaque = opaque;
	if (disk->phase == SCSI_DISK_RUNS)
		disk_end(&disk->end);
}

struct scsi_unit *scsi_disk_unit(const struct scsi_disk *disk)
{
	return disk->unit;
}
