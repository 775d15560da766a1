// SPDX-License-Identifier: MIT
/*
 * Submitting, from any thread. Steering says the queue and takes a place there; the request is copied into a slot and put
 * into the ring under the queue's lock; the kick is decided inside the lock and the doorbell rung outside of it. Requests
 * of a batch that follow each other into one queue share one round of lock, publishing and kick.
 *
 * Nothing here waits for the device. What steering wants to be held goes to its flow (managed_flow.c).
 *
 * System calls: write (kick).
 */
#include "driver/managed.h"

#include "base/clock.h"
#include "driver/keeper.h"
#include "driver/reaper.h"

#include <errno.h>
#include <sched.h>

/* ---- into the ring ---- */

static int ring_add_transfer(struct ringlane_queue *queue, struct managed_request *slot)
{
	const struct ringlane_request *want = &slot->want;
	bool reads = want->op == RINGLANE_OP_READ;

	if (want->iov_count)
		return (reads ? ringlane_readv : ringlane_writev)(queue, want->iov, want->iov_count,
								  want->offset, slot);
	if (reads)
		return ringlane_read(queue, want->data, want->bytes, want->offset, slot);
	return ringlane_write(queue, want->data, want->bytes, want->offset, slot);
}

static int ring_add_disk(struct ringlane_queue *queue, struct managed_request *slot)
{
	const struct ringlane_request *want = &slot->want;

	switch (want->op) {
	case RINGLANE_OP_READ:
	case RINGLANE_OP_WRITE:
		return ring_add_transfer(queue, slot);
	case RINGLANE_OP_FLUSH:
		return ringlane_flush(queue, slot);
	case RINGLANE_OP_DISCARD:
		return ringlane_discard(queue, want->ranges, want->range_count, slot);
	case RINGLANE_OP_WRITE_ZEROES:
		return ringlane_write_zeroes(queue, want->ranges, want->range_count,
					     want->flags & RINGLANE_UNMAP, slot);
	case RINGLANE_OP_GET_ID:
		return ringlane_get_id(queue, want->data, slot);
	case RINGLANE_OP_SECURE_ERASE:
		return ringlane_secure_erase(queue, want->ranges, want->range_count, slot);
	default:
		return -EINVAL;
	}
}

static int ring_add_lun_transfer(struct ringlane_queue *queue, struct managed_request *slot)
{
	const struct ringlane_request *want = &slot->want;
	bool reads = want->op == RINGLANE_OP_READ;

	if (want->iov_count)
		return (reads ? ringlane_lun_readv : ringlane_lun_writev)(
			queue, want->lun, want->iov, want->iov_count, want->offset, slot);
	if (reads)
		return ringlane_lun_read(queue, want->lun, want->data, want->bytes, want->offset,
					 slot);
	return ringlane_lun_write(queue, want->lun, want->data, want->bytes, want->offset, slot);
}

static int ring_add_command(struct ringlane_queue *queue, struct managed_request *slot)
{
	struct ringlane_scsi_command command;

	if (!slot->want.command)
		return -EINVAL;
	command = *slot->want.command;
	command.user_data = slot;
	return ringlane_lun_command(queue, slot->want.lun, &command);
}

static int ring_add_lun(struct ringlane_queue *queue, struct managed_request *slot)
{
	const struct ringlane_request *want = &slot->want;

	switch (want->op) {
	case RINGLANE_OP_READ:
	case RINGLANE_OP_WRITE:
		return ring_add_lun_transfer(queue, slot);
	case RINGLANE_OP_FLUSH:
		return ringlane_lun_flush(queue, want->lun, slot);
	case RINGLANE_OP_DISCARD:
		return ringlane_lun_discard(queue, want->lun, want->ranges, want->range_count,
					    slot);
	case RINGLANE_OP_WRITE_ZEROES:
		if (want->range_count != 1)
			return -EINVAL;
		return ringlane_lun_write_zeroes(queue, want->lun, want->ranges,
						 want->flags & RINGLANE_UNMAP, slot);
	case RINGLANE_OP_COMPARE_AND_WRITE:
		return ringlane_lun_compare_and_write(queue, want->lun, want->data, want->bytes,
						      want->offset, slot);
	case RINGLANE_OP_COMMAND:
		return ring_add_command(queue, slot);
	default:
		return -EINVAL;
	}
}

/* Those that only LUNs have are for the default one when none is named. */
static const struct ringlane_lun *lun_of(const struct ringlane_queue *queue,
					 const struct ringlane_request *want)
{
	return want->op >= RINGLANE_OP_COMPARE_AND_WRITE && !want->lun ? queue->scsi.lun :
									 want->lun;
}

int managed_ring_add(struct ringlane_queue *queue, struct managed_request *slot)
{
	int ret;

	slot->want.lun = lun_of(queue, &slot->want);
	ret = slot->want.lun ? ring_add_lun(queue, slot) : ring_add_disk(queue, slot);
	if (unlikely(queue->kind != QUEUE_BLK) && ret == 0) {
		slot->tag = ringlane_scsi_tag(queue);
		if (slot->want.scsi_result)
			ringlane_scsi_want_result(queue, slot->want.scsi_result);
	}
	return ret;
}

static struct managed_queue *post_lock(struct managed_post *post, unsigned index)
{
	struct managed_queue *mq = &post->managed->queues[index];

	if (post->locked == mq)
		return mq;
	managed_post_end(post);
	pthread_mutex_lock(&mq->lock);
	post->locked = mq;
	return mq;
}

static int post_full(struct managed_queue *mq)
{
	store_relaxed(&mq->full, mq->full + 1);
	return -EAGAIN;
}

/* A ring that the keeper can make anew is worth waiting for. */
static slow_path int post_failed(struct managed_queue *mq, int error)
{
	if (error == -EAGAIN)
		return post_full(mq);
	if (error != -EPROTO || !mq->managed->options.reconnect_ms)
		return error;
	keeper_tell_broken(mq->managed->keeper);
	return -EBUSY;
}

int managed_post_add(struct managed_post *post, unsigned queue, const struct managed_request *from)
{
	struct managed_queue *mq = post_lock(post, queue);
	struct managed_request *slot = mq->free;
	int ret;

	if (unlikely(mq->closed))
		return mq->closed;
	if (unlikely(!slot || mq->paused || mq->replay_first))
		return post_full(mq);
	slot->want = from->want;
	slot->flow = from->flow;
	slot->cpu = from->cpu;
	slot->deadline_ns = from->deadline_ns;
	slot->replays = 0;
	ret = managed_ring_add(mq->queue, slot);
	if (unlikely(ret < 0))
		return post_failed(mq, ret);
	mq->free = slot->next;
	mq->used++;
	slot->state = SLOT_IN_FLIGHT;
	mq->unkicked = true;
	store_relaxed(&mq->submitted, mq->submitted + 1);
	return 0;
}

void managed_post_end(struct managed_post *post)
{
	struct managed_queue *mq = post->locked;
	bool kick = false;

	if (!mq)
		return;
	post->locked = NULL;
	if (mq->unkicked) {
		mq->unkicked = false;
		kick = queue_publish(mq->queue);
		store_relaxed(&mq->batches, mq->batches + 1);
		store_relaxed(&mq->kicks, mq->kicks + kick);
	}
	pthread_mutex_unlock(&mq->lock);
	if (kick)
		queue_ring(mq->queue);
}

/* ---- one request ---- */

void managed_leave(struct ringlane_managed *managed, struct ringlane_flow *flow, unsigned queue)
{
	if (unlikely(managed_exit(managed, flow, queue) && steer_has_held(&flow->steer)))
		managed_flow_try(flow);
}

/* A LUN's flow is made with a lock that comes before the queues'. */
static struct ringlane_flow *flow_of(struct managed_post *post, const struct ringlane_request *want)
{
	struct ringlane_flow *flow = want->flow;

	if (unlikely(want->flags & RINGLANE_POLLED) && post->managed->poll_flow)
		return post->managed->poll_flow;
	if (flow || !want->lun)
		return flow ? flow : post->managed->flow;
	flow = managed_lun_flow_find(post->managed, want->lun);
	if (likely(flow))
		return flow;
	managed_post_end(post);
	return managed_lun_flow_add(post->managed, want->lun);
}

/* From the first deadline on they are looked at. */
static slow_path void deadlines_begin(struct ringlane_managed *managed)
{
	store_relaxed(&managed->has_deadlines, true);
	keeper_wake(managed->keeper);
}

static struct managed_request request_of(struct managed_post *post,
					 const struct ringlane_request *want)
{
	const struct ringlane_managed *managed = post->managed;
	uint64_t timeout = want->timeout_ns ? want->timeout_ns : managed->options.timeout_ns;

	if (unlikely(timeout && !load_relaxed(&managed->has_deadlines)))
		deadlines_begin(post->managed);
	return (struct managed_request){
		.want = *want,
		.flow = flow_of(post, want),
		.cpu = post->cpu,
		.deadline_ns = timeout ? post->now_ns + timeout : UINT64_MAX,
	};
}

int managed_closed(const struct ringlane_managed *managed, const struct ringlane_flow *flow)
{
	const struct managed_class *class = &managed->classes[managed_class_of_flow(managed, flow)];
	int closed = 0;

	for (unsigned i = 0; i < class->count; i++) {
		closed = load_relaxed(&managed->queues[class->first + i].closed);
		if (!closed)
			return 0;
	}
	return closed;
}

static slow_path int post_hold(struct managed_post *post, const struct managed_request *request)
{
	int closed = managed_closed(post->managed, request->flow);

	managed_post_end(post);
	return closed ? closed : managed_flow_hold(post->managed, request);
}

/* The queue would not have it. True: try again, elsewhere if may be. */
static bool post_refused(struct managed_post *post, const struct managed_request *request,
			 unsigned queue, int error)
{
	managed_post_end(post);
	managed_leave(post->managed, request->flow, queue);
	return error == -EAGAIN;
}

slow_path bool managed_queue_is_lost(struct ringlane_managed *managed,
				     const struct ringlane_flow *flow, unsigned queue, int error)
{
	if (error != -EPROTO || managed_closed(managed, flow))
		return false;
	gate_close(managed->queues[queue].gate);
	return true;
}

/* An ordered flow that is busy is sent to the same full queue again, and that is the end of it. */
static int post_request(struct managed_post *post, const struct managed_request *request)
{
	struct ringlane_managed *managed = post->managed;
	struct ringlane_flow *flow = request->flow;
	struct steer_submit submit = { .cpu = request->cpu,
				       .wish = request->want.queue,
				       .now_ns = post->now_ns };
	int queue, ret, full = -1;

	if (unlikely(load_relaxed(&flow->steer.held)))
		return post_hold(post, request);
	while (submit.tries <= managed->queue_count) {
		queue = managed_enter(managed, flow, &submit);
		if (queue == -EAGAIN)
			return queue;
		if (unlikely(queue < 0))
			return post_hold(post, request);
		ret = queue == full ? -EAGAIN : managed_post_add(post, (unsigned)queue, request);
		if (likely(ret == 0))
			return 0;
		if (post_refused(post, request, (unsigned)queue, ret) && queue != full) {
			full = queue;
			submit.tries++;
		} else if (!managed_queue_is_lost(managed, flow, (unsigned)queue, ret)) {
			return ret == -EBUSY ? post_hold(post, request) : ret;
		}
	}
	return -EAGAIN;
}

#define OWN_LOOKS 16 /* of a queue that always has something, to one of another */

/* A thread that has moved since it submitted finds its requests too, also when there is always something in its new queue. */
int ringlane_managed_poll(struct ringlane_managed *managed)
{
	struct managed_class *class = &managed->classes[RINGLANE_POLL_QUEUES];
	struct managed_queue *queues = managed->queues + class->first;
	static __thread unsigned turn, looks;
	int cpu, done;

	if (!class->count)
		return 0;
	cpu = sched_getcpu();
	done = reaper_queue_poll(
		&queues[steer_map_queue(load_acquire(&class->steering.map), MAX(cpu, 0))]);
	if (class->count > 1 && (!done || ++looks % OWN_LOOKS == 0))
		done += reaper_queue_poll(&queues[turn++ % class->count]);
	return done;
}

int ringlane_managed_submit(struct ringlane_managed *managed,
			    const struct ringlane_request *requests, unsigned count)
{
	struct managed_post post = { .managed = managed, .now_ns = clock_ns() };
	unsigned accepted;
	int cpu = sched_getcpu(), ret = 0;

	if (unlikely(load_relaxed(&managed->stopping)))
		return -ESHUTDOWN;
	post.cpu = cpu < 0 ? 0 : (unsigned)cpu;
	managed_cpu_doubt(managed->keeper, post.cpu);
	for (accepted = 0; accepted < count && ret == 0; accepted += ret == 0) {
		const struct managed_request request = request_of(&post, &requests[accepted]);

		ret = post_request(&post, &request);
	}
	managed_post_end(&post);
	return accepted ? (int)accepted : ret;
}
