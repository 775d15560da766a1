// SPDX-License-Identifier: MIT
/*
 * What a reaper does with one of its queues: taking completions, calling back, and the end of a queue.
 *
 * Completions are taken under the queue's lock, up to a turn's weight; places in steering are given back and callbacks
 * run outside of any lock. A callback may submit: its request's slot and place are free by then.
 *
 * When the device is gone, or has broken the rules of a ring, the queue takes no more requests. What a device that is
 * gone had is finished with -ECONNRESET. What a broken ring had stays until ringlane_managed_stop: its memory may still be
 * written to.
 *
 * On the reaper's thread. No system calls but those of callbacks.
 */
#include "driver/keeper.h"
#include "driver/reaper.h"

#include <errno.h>
#include <sched.h>

static struct managed_queue *queue_of(struct iopoll_source *source)
{
	return container_of(source, struct managed_queue, source);
}

static inline void count(uint64_t *counter, uint64_t more)
{
	store_relaxed(counter, *counter + more);
}

/* ---- completions ---- */

/* The slot is free afterwards. With the queue's lock. */
static void slot_take(struct managed_queue *mq, struct managed_request *slot, int result,
		      struct reaper_done *ret_done)
{
	*ret_done = (struct reaper_done){
		.done = slot->want.done,
		.user_data = slot->want.user_data,
		.flow = slot->flow,
		.result = result,
		.cpu = slot->cpu,
	};
	slot->state = SLOT_FREE;
	slot->next = mq->free;
	mq->free = slot;
	mq->used--;
}

/* A command that task management has ended may be put in again: then it is not done. */
static inline bool is_again(struct managed_queue *mq, struct managed_request *slot, int *result)
{
	return unlikely(*result == -ECANCELED && mq->queue->kind == QUEUE_SCSI) &&
	       managed_replay_ended(mq, slot, result);
}

/*
 * Up to budget of the ring's, or -errno when there are none and will be none. What was cancelled, because the device would
 * not let go of it, may come all the same: nobody is told twice.
 */
static int completions_take(struct managed_queue *mq, unsigned budget, unsigned *ret_taken)
{
	struct reaper *reaper = mq->reaper;
	unsigned taken = 0;
	bool again = false, kick = false;
	int reaped;

	pthread_mutex_lock(&mq->lock);
	reaped = ringlane_reap(mq->queue, reaper->completions, budget);
	for (int i = 0; i < reaped; i++) {
		struct managed_request *slot = reaper->completions[i].user_data;
		int result = reaper->completions[i].result;

		if (unlikely(slot->state != SLOT_IN_FLIGHT))
			continue;
		if (is_again(mq, slot, &result))
			again = true;
		else
			slot_take(mq, slot, result, &reaper->done[taken++]);
	}
	if (unlikely(mq->replay_first))
		again |= managed_replay_pump(mq);
	if (unlikely(again))
		kick = queue_publish(mq->queue);
	pthread_mutex_unlock(&mq->lock);
	if (unlikely(kick))
		queue_ring(mq->queue);
	*ret_taken = taken;
	return reaped;
}

/* Up to a weight of those that will not complete any more. */
static unsigned leftovers_take(struct managed_queue *mq, int result)
{
	struct reaper *reaper = mq->reaper;
	unsigned taken = 0;

	pthread_mutex_lock(&mq->lock);
	mq->replay_first = NULL;
	for (unsigned i = 0; i < mq->slot_count && taken < MANAGED_WEIGHT_MAX; i++)
		if (mq->slots[i].state == SLOT_IN_FLIGHT)
			slot_take(mq, &mq->slots[i], result, &reaper->done[taken++]);
	pthread_mutex_unlock(&mq->lock);
	return taken;
}

static void completions_tell(struct managed_queue *mq, unsigned taken)
{
	int here = sched_getcpu();

	for (unsigned i = 0; i < taken; i++) {
		const struct reaper_done *it = &mq->reaper->done[i];

		managed_leave(mq->managed, it->flow, mq->index);
		count(&mq->local, it->cpu == (unsigned)here);
		count(&mq->failed, it->result != 0);
		count(&mq->completed, 1);
		if (it->done)
			it->done(it->user_data, it->result);
	}
}

/* ---- the end of a queue ---- */

static void queue_close(struct managed_queue *mq, int error)
{
	pthread_mutex_lock(&mq->lock);
	if (!mq->closed)
		store_relaxed(&mq->closed, error);
	pthread_mutex_unlock(&mq->lock);
}

void reaper_queue_finish(struct managed_queue *mq, int result)
{
	unsigned taken;

	while (completions_take(mq, MANAGED_WEIGHT_MAX, &taken) > 0)
		completions_tell(mq, taken);
	do {
		taken = leftovers_take(mq, result);
		completions_tell(mq, taken);
	} while (taken);
}

/* Nothing more will complete. Other queues take over from a broken one; when the device is gone there are none. */
static void queue_lose(struct managed_queue *mq, int error)
{
	queue_close(mq, error);
	if (error == -ECONNRESET)
		reaper_queue_finish(mq, error);
	else
		gate_close(mq->gate);
}

/* The keeper makes the ring anew, or finds the device again: until then there is nothing to take. */
static bool keeper_takes(struct managed_queue *mq, int error)
{
	if (!mq->managed->options.reconnect_ms || load_relaxed(&mq->closed))
		return false;
	if (error == -EPROTO && !mq->told) {
		mq->told = true;
		keeper_tell_broken(mq->managed->keeper);
	}
	return true;
}

/* ---- what the poll asks for ---- */

static int source_poll(struct iopoll_source *source, unsigned budget)
{
	struct managed_queue *mq = queue_of(source);
	bool work = virtq_driver_has_work(&mq->queue->ring) || mq->queue->returned.count;
	unsigned taken;
	int ret;

	if (!work && likely(!mq->queue->ring.broken && !mq->reaper->is_gone))
		return 0;
	ret = completions_take(mq, budget, &taken);
	if (ret == 0 && mq->reaper->is_gone)
		ret = -ECONNRESET;
	if (ret < 0 && keeper_takes(mq, ret))
		return 0;
	if (ret < 0)
		queue_lose(mq, ret);
	else
		completions_tell(mq, taken);
	return ret;
}

static void source_disarm(struct iopoll_source *source)
{
	virtq_driver_calls_suppress(&queue_of(source)->queue->ring);
}

/* The end of a queue is announced by no interrupt: one more look finds it. */
static bool source_rearm(struct iopoll_source *source, unsigned skip)
{
	struct managed_queue *mq = queue_of(source);
	bool again;

	pthread_mutex_lock(&mq->lock); /* what is published counts */
	again = virtq_driver_calls_enable(&mq->queue->ring, (uint16_t)skip);
	if (unlikely(load_relaxed(&mq->muted)))
		virtq_driver_calls_suppress(&mq->queue->ring);
	again |= (mq->queue->ring.broken && !mq->told) || mq->reaper->is_gone;
	again |= mq->queue->returned.count != 0;
	pthread_mutex_unlock(&mq->lock);
	return again;
}

static unsigned source_in_flight(struct iopoll_source *source)
{
	const struct managed_queue *mq = queue_of(source);

	return (unsigned)gate_count(mq->gate);
}

static void source_switched(struct iopoll_source *source)
{
	/* seen at the end of the loop's turn */
}

const struct iopoll_ops reaper_source_ops = {
	.poll = source_poll,
	.disarm = source_disarm,
	.rearm = source_rearm,
	.in_flight = source_in_flight,
	.switched = source_switched,
};
