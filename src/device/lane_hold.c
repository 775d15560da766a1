/* SPDX-License-Identifier: MIT */
/*
 * A lane that is held: it takes nothing from its ring, and what it has taken is finished.
 *
 * This is beside the states of a lane, which go on meanwhile: it is kicked, enabled, stopped and started, but its poller is not with
 * the loop. So a hold needs no command and may be out while one is. Its answer comes at the end of a turn: what was completed is in
 * the ring, and the driver called, before the main thread hears that the lane is quiet.
 */
#include "device/lane_internal.h"

static void hold_told(struct loop_message *message)
{
	struct lane_hold *hold = container_of(message, struct lane_hold, message);

	hold->busy = false;
	hold->done(hold->opaque);
}

/* ---- the lane's loop ---- */

static void hold_answer(struct lane_impl *lane)
{
	lane->hold.message.fn = hold_told;
	loop_post(lane->main_loop, &lane->hold.message);
}

void lane_hold_turn_end(struct lane_impl *lane)
{
	if (!lane->hold.waits || lane->in_flight > 0)
		return;
	lane->hold.waits = false;
	hold_answer(lane);
}

static struct lane_impl *lane_of(struct loop_message *message)
{
	return container_of(message, struct lane_impl, hold.message);
}

static void hold_arrived(struct loop_message *message)
{
	struct lane_impl *lane = lane_of(message);

	assert(!lane->held);
	lane_rest(lane);
	lane->held = true;
	lane->hold.waits = true;
	loop_defer(lane->loop, &lane->turn_end);
}

/* A poller that comes is looked at once: a kick that came meanwhile is not needed again. */
static void release_arrived(struct loop_message *message)
{
	struct lane_impl *lane = lane_of(message);

	assert(lane->held);
	lane->held = false;
	if (lane->state == LANE_RUNNING)
		loop_poller_add(lane->loop, &lane->poller);
	hold_answer(lane);
}

/* ---- the main thread ---- */

static void hold_send(struct lane_impl *lane, void (*arrived)(struct loop_message *message),
		      void (*done)(void *opaque), void *opaque)
{
	assert(loop_is_mine(lane->main_loop) && !lane->hold.busy && !lane->ops->kicked);
	lane->hold.message.fn = arrived;
	lane->hold.busy = true;
	lane->hold.done = done;
	lane->hold.opaque = opaque;
	loop_post(lane->loop, &lane->hold.message);
}

void lane_hold(struct lane *lane, void (*done)(void *opaque), void *opaque)
{
	hold_send(lane_impl(lane), hold_arrived, done, opaque);
}

void lane_release(struct lane *lane, void (*done)(void *opaque), void *opaque)
{
	hold_send(lane_impl(lane), release_arrived, done, opaque);
}
