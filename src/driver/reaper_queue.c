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
 * On the reaper's thread; what is done with a poll queue, on that of any submitter too, each with a batch of its own. No
 * system calls but those of callbacks.
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
 * not let go of it, may come all the same: nobody is told twice. With the queue's lock, which is given back.
 */
static int completions_take(struct managed_queue *mq, struct reaper_batch *batch, unsigned budget)
{
	bool again = false, kick = false;
	int reaped = ringlane_reap(mq->queue, batch->completions, budget);

	batch->taken = 0;
	for (int i = 0; i < reaped; i++) {
		struct managed_request *slot = batch->completions[i].user_data;
		int result = batch->completions[i].result;

		if (unlikely(slot->state != SLOT_IN_FLIGHT))
			continue;
		if (is_again(mq, slot, &result))
			again = true;
		else
			slot_take(mq, slot, result, &batch->done[batch->taken++]);
	}
	if (unlikely(mq->replay_first))
		again |= managed_replay_pump(mq);
	if (unlikely(again))
		kick = queue_publish(mq->queue);
	pthread_mutex_unlock(&mq->lock);
	if (unlikely(kick))
		queue_ring(mq->queue);
	return reaped;
}

/*
 * Up to a weight of those that will not complete any more. A device that says otherwise later says it to nobody. With the
 * queue's lock.
 */
static void leftovers_take(struct managed_queue *mq, struct reaper_batch *batch, int result)
{
	batch->taken = 0;
	mq->replay_first = NULL;
	if (mq->queue->kind == QUEUE_SCSI)
		scsi_queue_forget(mq->queue);
	for (unsigned i = 0; i < mq->slot_count && batch->taken < MANAGED_WEIGHT_MAX; i++)
		if (mq->slots[i].state == SLOT_IN_FLIGHT)
			slot_take(mq, &mq->slots[i], result, &batch->done[batch->taken++]);
}

/* Poll queues have many who write their figures. */
static void batch_count(struct managed_queue *mq, const struct reaper_batch *batch)
{
	unsigned here = (unsigned)sched_getcpu(), local = 0, failed = 0;

	for (unsigned i = 0; i < batch->taken; i++) {
		local += batch->done[i].cpu == here;
		failed += batch->done[i].result != 0;
	}
	if (mq->polled) {
		add_relaxed(&mq->local, local);
		add_relaxed(&mq->failed, failed);
		add_relaxed(&mq->completed, batch->taken);
		return;
	}
	count(&mq->local, local);
	count(&mq->failed, failed);
	count(&mq->completed, batch->taken);
}

static void completions_tell(struct managed_queue *mq, const struct reaper_batch *batch)
{
	batch_count(mq, batch);
	for (unsigned i = 0; i < batch->taken; i++) {
		const struct reaper_done *it = &batch->done[i];

		managed_leave(mq->managed, it->flow, mq->index);
		if (it->done)
			it->done(it->user_data, it->result);
	}
	if (mq->polled)
		add_release(&mq->ended, batch->taken); /* with reaper_queue_is_done */
}

/* Pollers tell what they have taken when its slots are free already. */
bool reaper_queue_is_done(const struct managed_queue *mq)
{
	return mq->polled ? load_acquire(&mq->ended) == mq->submitted : mq->used == 0;
}

/* ---- the end of a queue ---- */

/* False: the keeper has it, and sees to what is in it. */
static bool queue_lock(struct managed_queue *mq)
{
	pthread_mutex_lock(&mq->lock);
	if (likely(!mq->paused))
		return true;
	pthread_mutex_unlock(&mq->lock);
	return false;
}

/* The keeper may come in between: a poller is not parked. */
static void queue_finish(struct managed_queue *mq, struct reaper_batch *batch, int result)
{
	while (queue_lock(mq) && completions_take(mq, batch, MANAGED_WEIGHT_MAX) > 0)
		completions_tell(mq, batch);
	do {
		if (!queue_lock(mq))
			return;
		leftovers_take(mq, batch, result);
		pthread_mutex_unlock(&mq->lock);
		completions_tell(mq, batch);
	} while (batch->taken);
}

void reaper_queue_finish(struct managed_queue *mq, int result)
{
	queue_finish(mq, &mq->reaper->batch, result);
}

/* Nothing more will complete. Other queues take over from a broken one; when the device is gone there are none. */
static void queue_lose(struct managed_queue *mq, struct reaper_batch *batch, int error)
{
	managed_queue_close(mq, error);
	if (error == -ECONNRESET)
		queue_finish(mq, batch, error);
	else
		gate_close(mq->gate);
}

/*
 * The keeper makes the ring anew, or finds the device again: until then there is nothing to take. Perhaps it is at it. It is told with the
 * lock, so not after it has made the ring anew: a poller is not parked.
 */
static bool keeper_takes(struct managed_queue *mq, int error)
{
	if (!mq->managed->options.reconnect_ms || load_relaxed(&mq->closed))
		return false;
	pthread_mutex_lock(&mq->lock);
	if (error == -EPROTO && !mq->paused && mq->queue->ring.broken && !mq->told) {
		mq->told = true;
		keeper_tell_broken(mq->managed->keeper);
	}
	pthread_mutex_unlock(&mq->lock);
	return true;
}

/* What completions_take has brought. Returns how many requests are done, -errno: there will be none any more. */
static int batch_end(struct managed_queue *mq, struct reaper_batch *batch, int reaped)
{
	if (reaped < 0 && keeper_takes(mq, reaped))
		return 0;
	if (reaped < 0)
		queue_lose(mq, batch, reaped);
	else
		completions_tell(mq, batch);
	return reaped;
}

/* ---- what the poll asks for ---- */

/* Is it worth taking the lock? Of a poll queue only the lock tells. */
static inline bool has_work(const struct managed_queue *mq)
{
	const struct ringlane_queue *queue = mq->queue;

	return unlikely(mq->polled) || virtq_driver_has_work(&queue->ring) ||
	       queue->returned.count || unlikely(queue->ring.broken || mq->reaper->is_gone);
}

static int source_poll(struct iopoll_source *source, unsigned budget)
{
	struct managed_queue *mq = queue_of(source);
	struct reaper *reaper = mq->reaper;
	int reaped;

	if (!has_work(mq))
		return 0;
	pthread_mutex_lock(&mq->lock);
	reaped = completions_take(mq, &reaper->batch, budget);
	return batch_end(mq, &reaper->batch, reaped == 0 && reaper->is_gone ? -ECONNRESET : reaped);
}

/* A poll queue never is anything else. */
static void source_disarm(struct iopoll_source *source)
{
	struct managed_queue *mq = queue_of(source);

	if (likely(!mq->polled))
		virtq_driver_calls_suppress(&mq->queue->ring);
}

/* The end of a queue is announced by no interrupt: one more look finds it. */
static bool source_rearm(struct iopoll_source *source, unsigned skip)
{
	struct managed_queue *mq = queue_of(source);
	bool again;

	pthread_mutex_lock(&mq->lock); /* what is published counts */
	again = mq->polled ? virtq_driver_has_work(&mq->queue->ring) :
			     virtq_driver_calls_enable(&mq->queue->ring, (uint16_t)skip);
	if (unlikely(load_relaxed(&mq->muted) && !mq->polled))
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

/* ---- what submitters do ---- */

static void polls_count(struct managed_queue *mq, bool empty)
{
	count(&mq->polls, 1);
	count(&mq->polls_empty, empty);
}

/* Whose callbacks this thread makes as a poller. */
static __thread const struct ringlane_managed *called_back;

bool reaper_queue_calls_back(const struct ringlane_managed *managed)
{
	return called_back == managed;
}

/* Whoever has the lock looks for us, or is about to make it worth looking. */
int reaper_queue_poll(struct managed_queue *mq)
{
	const struct ringlane_managed *outer = called_back;
	unsigned weight = mq->reaper->iopoll.params.weight;
	struct reaper_batch batch;
	bool empty;
	int reaped;

	if (!gate_count(mq->gate) || pthread_mutex_trylock(&mq->lock) != 0)
		return 0;
	if (mq->paused) {
		pthread_mutex_unlock(&mq->lock);
		return 0;
	}
	empty = !virtq_driver_has_work(&mq->queue->ring);
	polls_count(mq, empty);
	reaped = completions_take(mq, &batch, weight);
	called_back = mq->managed;
	reaped = batch_end(mq, &batch, reaped);
	called_back = outer;
	return reaped <= 0 ? 0 : (int)batch.taken;
}

const struct iopoll_ops reaper_source_ops = {
	.poll = source_poll,
	.disarm = source_disarm,
	.rearm = source_rearm,
	.in_flight = source_in_flight,
	.switched = source_switched,
};
