/* SPDX-License-Identifier: MIT */
/*
 * A function on the loop of each request queue, and an answer when the last has answered.
 *
 * Theory of operation. A fan-out has a part for each request queue that it concerns: of an adapter, or of some LUNs. When it begins,
 * the parts are grouped by the loop that owns their queue; each group is one message there and back. A part that cannot answer yet
 * (commands are still in the disk) answers later; the loop goes on meanwhile. Queues without a loop are the main thread's: their
 * parts run before scsi_fanout_begin returns, but the answer comes as a message all the same.
 *
 * A loop that sleeps is not woken to find that it has nothing to do (struct scsi_work): other LUNs would notice. What it must know it
 * sees by itself when it wakes up.
 *
 * Order. A group goes back at the end of a turn, after what the lanes of that loop had deferred before: completions that the
 * operation caused are in the ring, and the driver called, before the main thread hears of it. What the main thread wrote before
 * begin is seen by the parts, what the parts wrote by done().
 *
 * A fan-out pins its LUNs, and counts as out for its adapters: neither goes away under it. Main thread, but for the parts.
 */
#include "device/scsi_internal.h"

#include <stdlib.h>

struct scsi_group {
	struct loop_message message;
	struct loop_defer turn_end; /* of the loop that runs the parts */
	struct scsi_fanout *fanout;
	struct loop *loop; /* NULL: the main thread's own */
	struct scsi_part *parts;
	unsigned out; /* parts that have not answered; the loop's */
	bool moot;    /* the loop was not told */
};

/* ---- making ---- */

struct scsi_fanout *scsi_fanout_new(struct loop *main_loop, unsigned part_max)
{
	struct scsi_fanout *fanout =
		calloc(1, sizeof(*fanout) + part_max * sizeof(fanout->parts[0]));

	if (!fanout)
		return NULL;
	fanout->groups = calloc(part_max + 1, sizeof(*fanout->groups));
	if (!fanout->groups) {
		free(fanout);
		return NULL;
	}
	fanout->main_loop = main_loop;
	fanout->part_max = part_max;
	return fanout;
}

static void part_add(struct scsi_fanout *fanout, struct scsi_queue *queue, struct scsi_lun *lun)
{
	assert(fanout->part_count < fanout->part_max);
	fanout->parts[fanout->part_count++] = (struct scsi_part){
		.fanout = fanout,
		.queue = queue,
		.lun = lun,
		.lq = lun ? scsi_lun_queue_of(lun, queue) : NULL,
	};
}

void scsi_fanout_add_device(struct scsi_fanout *fanout, struct scsi_device *device)
{
	for (unsigned i = 0; i < device->num_queues; i++)
		part_add(fanout, &device->queues[i], NULL);
}

void scsi_fanout_add_lun(struct scsi_fanout *fanout, struct scsi_lun *lun)
{
	scsi_lun_pin(lun);
	for (unsigned i = 0; i < lun->device->num_queues; i++)
		part_add(fanout, &lun->device->queues[i], lun);
}

/* Each LUN has as many parts one after another as its adapter has request queues. */
void scsi_fanout_free(struct scsi_fanout *fanout)
{
	unsigned i = 0;

	if (!fanout)
		return;
	assert(fanout->groups_out == 0);
	while (i < fanout->part_count) {
		struct scsi_part *part = &fanout->parts[i];

		i += part->queue->device->num_queues;
		if (part->lun)
			scsi_lun_unpin(part->lun);
	}
	free(fanout->groups);
	free(fanout);
}

unsigned scsi_fanout_count(const struct scsi_fanout *fanout, const struct scsi_lun *lun)
{
	unsigned count = 0;

	for (unsigned i = 0; i < fanout->part_count; i++)
		if (!lun || fanout->parts[i].lun == lun)
			count += fanout->parts[i].count;
	return count;
}

bool scsi_fanout_has_lun(const struct scsi_fanout *fanout, const struct scsi_lun *lun)
{
	for (unsigned i = 0; i < fanout->part_count; i++)
		if (fanout->parts[i].lun == lun)
			return true;
	return false;
}

/* ---- there and back ---- */

static void group_back(struct scsi_group *group)
{
	for (struct scsi_part *part = group->parts; part; part = part->next)
		scsi_device_back(part->queue->device, 1);
}

static void group_came_back(struct loop_message *message)
{
	struct scsi_group *group = container_of(message, struct scsi_group, message);
	struct scsi_fanout *fanout = group->fanout;

	group_back(group);
	if (--fanout->groups_out > 0)
		return;
	for (unsigned i = 1; i < fanout->group_count; i++)
		if (fanout->groups[i].moot)
			group_back(&fanout->groups[i]);
	fanout->done(fanout);
}

/* Here and not when the last command ends: that is told by the channel's own driver, which may still look at it. */
static void close_channels(const struct scsi_group *group)
{
	for (struct scsi_part *part = group->parts; part; part = part->next)
		if (part->lq && part->wait == SCSI_PART_EMPTY)
			scsi_lun_queue_close(part->lq);
}

static void group_turn_end(struct loop_defer *defer)
{
	struct scsi_group *group = container_of(defer, struct scsi_group, turn_end);

	close_channels(group);
	group->message.fn = group_came_back;
	loop_post(group->fanout->main_loop, &group->message);
}

static struct loop *group_loop(const struct scsi_group *group)
{
	return group->loop ? group->loop : group->fanout->main_loop;
}

static void group_answered(struct scsi_group *group)
{
	if (--group->out == 0)
		loop_defer(group_loop(group), &group->turn_end);
}

void scsi_part_done(struct scsi_part *part)
{
	assert(loop_is_mine(group_loop(part->group)));
	group_answered(part->group);
}

static void group_run(struct scsi_group *group)
{
	struct scsi_part *next;

	for (struct scsi_part *part = group->parts; part; part = next) {
		next = part->next;
		group->fanout->work->run(part);
	}
	group_answered(group); /* ours: it did not go back before all had begun */
}

static void group_arrived(struct loop_message *message)
{
	group_run(container_of(message, struct scsi_group, message));
}

/* ---- beginning ---- */

static struct scsi_group *group_find(struct scsi_fanout *fanout, struct loop *loop)
{
	unsigned i = 0;

	while (i < fanout->group_count && fanout->groups[i].loop != loop)
		i++;
	if (i == fanout->group_count) {
		fanout->groups[i] = (struct scsi_group){
			.message = { .fn = group_arrived },
			.turn_end = { .fn = group_turn_end },
			.fanout = fanout,
			.loop = loop,
			.out = 1,
		};
		fanout->group_count++;
	}
	return &fanout->groups[i];
}

static void part_join(struct scsi_part *part, struct scsi_group *group)
{
	part->group = group;
	part->next = group->parts;
	part->left = part->count = 0;
	group->parts = part;
	group->out++;
	part->queue->device->out++;
}

static bool parts_are_moot(const struct scsi_group *group)
{
	for (const struct scsi_part *part = group->parts; part; part = part->next)
		if (!group->fanout->work->is_moot(part))
			return false;
	return true;
}

/* It still sleeps, or again: what was seen is not from the middle of a turn, whose completions the driver has not seen yet. */
static bool group_is_moot(const struct scsi_group *group)
{
	return loop_is_asleep(group->loop) && parts_are_moot(group) && loop_is_asleep(group->loop);
}

static void group_send(struct scsi_group *group)
{
	group->moot = group_is_moot(group);
	if (group->moot)
		return;
	group->fanout->groups_out++;
	loop_post(group->loop, &group->message);
}

static void gather_parts(struct scsi_fanout *fanout)
{
	fanout->group_count = 0;
	group_find(fanout, NULL);
	for (unsigned i = 0; i < fanout->part_count; i++) {
		struct scsi_part *part = &fanout->parts[i];

		part_join(part, group_find(fanout, part->queue->loop));
		if (fanout->work->announce)
			fanout->work->announce(part);
	}
}

/* The main thread's own group goes last, and comes back as a message like the others. */
void scsi_fanout_begin(struct scsi_fanout *fanout, const struct scsi_work *work,
		       scsi_fanout_fn *done)
{
	assert(loop_is_mine(fanout->main_loop) && fanout->groups_out == 0);
	fanout->work = work;
	fanout->done = done;
	gather_parts(fanout);
	fanout->groups_out = 1;
	for (unsigned i = 1; i < fanout->group_count; i++)
		group_send(&fanout->groups[i]);
	group_run(&fanout->groups[0]);
}
