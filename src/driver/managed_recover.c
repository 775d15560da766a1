// SPDX-License-Identifier: MIT
/*
 * Reset and reconnect under a managed device, with replay. On the keeper's thread.
 *
 *     quiet_begin   gates closed (new requests are held), queues paused (who is past its gate comes back and is held too),
 *                   reapers parked
 *     recovery      the device has confirmed that it stopped, or is gone: requests come out of the rings in the order of
 *                   their submission. Those that may be done twice wait in their queue's list of replays
 *     quiet_end     they go into the new ring, before anything that was held; the others are found by the reapers
 *
 * A ring that is filled anew may need more descriptors than it did: what does not fit goes in as others complete.
 * What is not confirmed is not given back: those requests are zombies.
 *
 * System calls: poll (waits between attempts).
 */
#include "driver/keeper.h"

#include "base/clock.h"
#include "driver/reaper.h"

#include <errno.h>
#include <poll.h>

#define BACK_OFF_MS_FIRST 5
#define BACK_OFF_MS_MAX 250

/* ---- quiet ---- */

static void quiet_begin(struct keeper *keeper)
{
	struct ringlane_managed *managed = keeper->managed;

	pthread_mutex_lock(&keeper->lock);
	keeper->quiet = true;
	FOR_EACH_QUEUE(mq, managed)
	gate_close(mq->gate);
	pthread_mutex_unlock(&keeper->lock);
	FOR_EACH_QUEUE(mq, managed)
	{
		pthread_mutex_lock(&mq->lock);
		mq->paused = true;
		pthread_mutex_unlock(&mq->lock);
	}
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_park(&managed->reapers[i]);
}

static void queue_go(struct managed_queue *mq)
{
	bool kick;

	pthread_mutex_lock(&mq->lock);
	mq->paused = mq->told = false;
	managed_replay_pump(mq);
	kick = queue_publish(mq->queue);
	pthread_mutex_unlock(&mq->lock);
	if (kick)
		queue_ring(mq->queue);
}

static void quiet_over(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->quiet = false;
	managed_gates_open(keeper);
	pthread_mutex_unlock(&keeper->lock);
	managed_flows_try(keeper->managed);
}

static void quiet_end(struct keeper *keeper)
{
	struct ringlane_managed *managed = keeper->managed;

	FOR_EACH_QUEUE(mq, managed)
	queue_go(mq);
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_unpark(&managed->reapers[i]);
	quiet_over(keeper);
}

/* One queue, and its reaper; the other queues take requests. */
static void queue_quiet_begin(struct keeper *keeper, struct managed_queue *mq)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->quiet = true;
	gate_close(mq->gate);
	pthread_mutex_unlock(&keeper->lock);
	pthread_mutex_lock(&mq->lock);
	mq->paused = true;
	pthread_mutex_unlock(&mq->lock);
	reaper_park(mq->reaper);
}

static void queue_quiet_end(struct keeper *keeper, struct managed_queue *mq)
{
	queue_go(mq);
	reaper_unpark(mq->reaper);
	quiet_over(keeper);
}

/* ---- replay ---- */

static bool replay_may(const struct ringlane_managed *managed, const struct managed_request *slot)
{
	if (managed->options.replay == RINGLANE_REPLAY_NONE || load_relaxed(&managed->stopping))
		return false;
	if (slot->replays >= KEEPER_REPLAYS_MAX) /* it may be what the device dies of */
		return false;
	switch (slot->want.op) {
	case RINGLANE_OP_READ:
	case RINGLANE_OP_FLUSH:
	case RINGLANE_OP_GET_ID:
		return true;
	default:
		return slot->want.flags & RINGLANE_REPLAYABLE ||
		       managed->options.replay == RINGLANE_REPLAY_ALL;
	}
}

/* Its time begins anew. */
static void replay_count(const struct managed_queue *mq, struct managed_request *slot,
			 uint64_t now_ns)
{
	uint64_t timeout_ns = slot->want.timeout_ns ? slot->want.timeout_ns :
						      mq->managed->options.timeout_ns;

	slot->replays++;
	if (slot->deadline_ns != UINT64_MAX)
		slot->deadline_ns = now_ns + timeout_ns;
	add_relaxed(&mq->managed->keeper->replayed, 1);
}

static void replay_push(struct managed_queue *mq, struct managed_request *slot, uint64_t now_ns)
{
	slot->next = NULL;
	replay_count(mq, slot, now_ns);
	if (mq->replay_first)
		mq->replay_last->next = slot;
	else
		mq->replay_first = slot;
	mq->replay_last = slot;
}

static struct managed_request *replay_pop(struct managed_queue *mq)
{
	struct managed_request *slot = mq->replay_first;

	mq->replay_first = slot->next;
	return slot;
}

bool managed_replay_pump(struct managed_queue *mq)
{
	bool added = false;

	while (mq->replay_first) {
		int ret = managed_ring_add(mq->queue, mq->replay_first);

		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			queue_returned_add(mq->queue, replay_pop(mq), ret);
		else
			replay_pop(mq);
		added |= ret == 0;
	}
	return added;
}

/* How a request ends that came out of a ring and is not put in again. */
static int verdict(const struct managed_request *slot, int reason, uint64_t now_ns)
{
	return reason == -ECANCELED && slot->deadline_ns <= now_ns ? -ETIMEDOUT : reason;
}

bool managed_replay_ended(struct managed_queue *mq, struct managed_request *slot, int *result)
{
	uint64_t now_ns = clock_ns();

	/* Its descriptors are free again: when it does not fit all the same, others wait for the ring already. */
	if (!mq->closed && !mq->replay_first && replay_may(mq->managed, slot) &&
	    managed_ring_add(mq->queue, slot) == 0) {
		replay_count(mq, slot, now_ns);
		return true;
	}
	*result = verdict(slot, *result, now_ns);
	return false;
}

/* Of those that came out: who is replayed leaves the list, the others are left to the reaper. The queue is paused. */
static void queue_sort(struct managed_queue *mq, int reason, uint64_t now_ns)
{
	struct ringlane_queue *queue = mq->queue;
	struct queue_returned *returned = &queue->returned;
	unsigned end = returned->first + returned->count, kept = returned->first;

	for (unsigned i = returned->first; i < end; i++) {
		struct ringlane_completion completion = returned->completions[i];
		struct managed_request *slot = completion.user_data;

		if (completion.result == reason && slot->state == SLOT_IN_FLIGHT &&
		    replay_may(mq->managed, slot)) {
			replay_push(mq, slot, now_ns);
			queue->in_flight--;
			continue;
		}
		if (completion.result == reason)
			completion.result = verdict(slot, reason, now_ns);
		returned->completions[kept++] = completion;
	}
	returned->count = kept - returned->first;
}

static void queues_sort(struct keeper *keeper, int reason)
{
	uint64_t now_ns = clock_ns();

	FOR_EACH_QUEUE(mq, keeper->managed)
	queue_sort(mq, reason, now_ns);
}

/* Nothing is replayed after all. in_flight: those of the ring are zombies when it could not be taken back. */
static void queues_give_up(struct keeper *keeper, int error)
{
	struct ringlane_managed *managed = keeper->managed;
	unsigned zombies = 0;

	for (unsigned i = 0; i < managed->queue_count; i++) {
		struct managed_queue *mq = &managed->queues[i];

		while (mq->replay_first)
			queue_returned_add(mq->queue, replay_pop(mq), -ECONNRESET);
		zombies += mq->queue->in_flight - mq->queue->returned.count;
		managed_queue_close(mq, error);
	}
	store_relaxed(&keeper->zombies, zombies);
}

/* What is late from here on is late anew; how often a request is put in again is bounded. */
static void ladders_leave(struct keeper *keeper)
{
	for (unsigned i = 0; i < keeper->managed->queue_count; i++)
		keeper->ladders[i].rung = LADDER_GROUND;
}

/* All rings are new, and who could say that one is broken is kept out: what was said is over. */
static void troubles_forget(struct keeper *keeper)
{
	store_relaxed(&keeper->broken, false);
	ladders_leave(keeper);
}

/* ---- reset ---- */

bool managed_reset(struct keeper *keeper)
{
	struct ringlane_device *device = keeper->managed->device;
	int ret;

	quiet_begin(keeper);
	pthread_mutex_lock(&device->lock);
	ret = ringlane_reset(device, NULL);
	pthread_mutex_unlock(&device->lock);
	queues_sort(keeper, -ECANCELED); /* nothing, when it did not stop */
	if (ret == 0)
		store_relaxed(&keeper->resets, keeper->resets + 1);
	else if (!keeper->managed->options.reconnect_ms || ret == -ENOTSUP)
		queues_give_up(keeper, ret == -ECONNRESET ? ret : -ETIMEDOUT);
	if (ret == 0)
		troubles_forget(keeper);
	keeper_doubt_interrupts(keeper);
	quiet_end(keeper);
	return ret == 0;
}

bool managed_queue_reset(struct keeper *keeper, struct managed_queue *mq)
{
	struct ringlane_device *device = keeper->managed->device;
	int ret;

	queue_quiet_begin(keeper, mq);
	pthread_mutex_lock(&device->lock);
	ret = device_ring_reset(device, device->ring_first + mq->index, NULL);
	pthread_mutex_unlock(&device->lock);
	queue_sort(mq, -ECANCELED, clock_ns()); /* nothing, when it did not stop */
	if (ret == 0) {
		store_relaxed(&keeper->queue_resets, keeper->queue_resets + 1);
		keeper->ladders[mq->index].rung = LADDER_GROUND;
	}
	queue_quiet_end(keeper, mq);
	return ret == 0;
}

/* ---- reconnect ---- */

static unsigned ms_until(uint64_t deadline)
{
	uint64_t now = clock_ns();

	return now < deadline ? (unsigned)((deadline - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

static void back_off(struct keeper *keeper, unsigned ms)
{
	struct pollfd control = { .fd = keeper->control_fd, .events = POLLIN };

	if (!load_acquire(&keeper->quit))
		poll(&control, 1, (int)ms);
}

/* One attempt. *ret_gone: it is certain that the old connection is over. */
static int attempt(struct keeper *keeper, uint64_t deadline, bool *ret_gone)
{
	struct ringlane_device *device = keeper->managed->device;
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = device_let_go(device, ms_until(deadline), NULL);
	*ret_gone = ret == 0;
	if (ret == 0)
		ret = device_reconnect_once(device, deadline, NULL);
	pthread_mutex_unlock(&device->lock);
	return ret;
}

static int device_find(struct keeper *keeper)
{
	uint64_t deadline = clock_ns() + keeper->managed->options.reconnect_ms * NS_PER_MS;
	unsigned back_off_ms = BACK_OFF_MS_FIRST;
	bool gone;

	for (;;) {
		int ret = attempt(keeper, deadline, &gone);

		if (gone)
			queues_sort(keeper, -ECONNRESET);
		if (ret == 0 || device_error_is_final(ret) || load_acquire(&keeper->quit))
			return ret;
		if (!gone || !ms_until(deadline))
			return gone ? -ECONNRESET : -ETIMEDOUT;
		back_off(keeper, MIN(back_off_ms, ms_until(deadline)));
		back_off_ms = MIN(2 * back_off_ms, BACK_OFF_MS_MAX);
	}
}

bool managed_reconnect(struct keeper *keeper)
{
	int ret;

	quiet_begin(keeper);
	ret = device_find(keeper);
	if (ret == 0)
		store_relaxed(&keeper->reconnects, keeper->reconnects + 1);
	else
		queues_give_up(keeper, ret == -ETIMEDOUT ? ret : -ECONNRESET);
	if (ret == 0)
		troubles_forget(keeper);
	quiet_end(keeper);
	return ret == 0;
}
