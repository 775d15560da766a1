// SPDX-License-Identifier: MIT
/*
 * Flows, and the requests that they hold: an ordered flow that is to move is held until it is idle, and any flow while
 * there is no queue that takes requests. Held requests lie in slots of the managed device's pool, in a list of their flow.
 *
 * The handshake is steering's (steering.h, docs/models/hold.pml): put into the list, steer_hold, try. Who makes the flow
 * idle looks at the flag after that and tries too. What neither of them sees (a ring that was full, a time that is over) is
 * found by the first reaper, which looks at all flows every millisecond while anything is held.
 *
 * Any thread, callbacks included.
 */
#include "driver/managed.h"

#include "base/clock.h"
#include "driver/reaper.h"

#include <errno.h>
#include <stdlib.h>

/* ---- slots ---- */

int managed_pool_init(struct ringlane_managed *managed)
{
	managed->pool = calloc(MANAGED_HELD_MAX, sizeof(*managed->pool));
	if (!managed->pool)
		return -ENOMEM;
	for (unsigned i = 0; i + 1 < MANAGED_HELD_MAX; i++)
		managed->pool[i].next = &managed->pool[i + 1];
	managed->pool_free = managed->pool;
	return 0;
}

/* *ret_first: nothing was held before. NULL: there is none. */
static struct managed_request *pool_take(struct ringlane_managed *managed, bool *ret_first)
{
	struct managed_request *slot;

	pthread_mutex_lock(&managed->pool_lock);
	slot = managed->pool_free;
	if (slot) {
		managed->pool_free = slot->next;
		*ret_first = managed->held_now == 0;
		store_relaxed(&managed->held_now, managed->held_now + 1);
		store_relaxed(&managed->held, managed->held + 1);
	}
	pthread_mutex_unlock(&managed->pool_lock);
	return slot;
}

void managed_pool_give(struct ringlane_managed *managed, struct managed_request *request)
{
	pthread_mutex_lock(&managed->pool_lock);
	request->state = SLOT_FREE;
	request->next = managed->pool_free;
	managed->pool_free = request;
	store_relaxed(&managed->held_now, managed->held_now - 1);
	pthread_mutex_unlock(&managed->pool_lock);
}

/* ---- held requests; with the flow's lock ---- */

static void held_push(struct ringlane_flow *flow, struct managed_request *slot)
{
	slot->next = NULL;
	if (flow->held_first)
		flow->held_last->next = slot;
	else
		flow->held_first = slot;
	flow->held_last = slot;
}

static struct managed_request *held_pop(struct ringlane_flow *flow)
{
	struct managed_request *slot = flow->held_first;

	flow->held_first = slot->next;
	return slot;
}

/* 0: it is in a ring. -EAGAIN: not now. Else: it will never be. */
static int held_post(struct ringlane_flow *flow, const struct managed_request *slot,
		     uint64_t now_ns)
{
	struct ringlane_managed *managed = flow->managed;
	struct managed_post post = { .managed = managed, .now_ns = now_ns, .cpu = slot->cpu };
	const struct steer_submit submit = { .cpu = slot->cpu,
					     .wish = slot->want.queue,
					     .now_ns = now_ns };
	int queue, ret;

	if (load_relaxed(&managed->stopping))
		return -ECANCELED;
	queue = managed_enter(managed, flow, &submit);
	if (queue == -ENXIO && managed_closed(managed, flow))
		return managed_closed(managed, flow);
	if (queue < 0)
		return -EAGAIN;
	ret = managed_post_add(&post, (unsigned)queue, slot);
	managed_post_end(&post);
	if (ret < 0)
		managed_exit(managed, flow, (unsigned)queue);
	if (ret == -EBUSY || managed_queue_is_lost(managed, flow, (unsigned)queue, ret))
		return -EAGAIN;
	return ret;
}

static void held_finish(struct ringlane_managed *managed, struct managed_request *slot, int result)
{
	slot->result = result;
	if (slot->want.scsi_result) /* of which no ring has heard */
		scsi_result_preset(slot->want.scsi_result);
	reaper_finish(&managed->reapers[0], slot);
}

static void held_try(struct ringlane_flow *flow, uint64_t now_ns)
{
	struct ringlane_managed *managed = flow->managed;

	while (flow->held_first) {
		int ret = held_post(flow, flow->held_first, now_ns);

		if (ret == -EAGAIN)
			return;
		if (ret < 0)
			held_finish(managed, held_pop(flow), ret == -ESHUTDOWN ? -ECANCELED : ret);
		else
			managed_pool_give(managed, held_pop(flow));
	}
	steer_unhold(&flow->steer);
}

/* With the flow's lock: ringlane_managed_stop takes it after it has said that it stops, and finds what is held by then. */
static int held_add(struct ringlane_flow *flow, const struct managed_request *request,
		    bool *ret_first)
{
	struct managed_request *slot;

	if (load_relaxed(&flow->managed->stopping))
		return -ESHUTDOWN;
	slot = pool_take(flow->managed, ret_first);
	if (!slot)
		return -EAGAIN;
	*slot = *request;
	slot->state = SLOT_HELD;
	held_push(flow, slot);
	steer_hold(&flow->steer);
	held_try(flow, clock_ns());
	return 0;
}

int managed_flow_hold(struct ringlane_managed *managed, const struct managed_request *request)
{
	struct ringlane_flow *flow = request->flow;
	bool first = false;
	int ret;

	pthread_mutex_lock(&flow->lock);
	ret = held_add(flow, request, &first);
	pthread_mutex_unlock(&flow->lock);
	if (first)
		reaper_wake(&managed->reapers[0]);
	return ret;
}

void managed_flow_try(struct ringlane_flow *flow)
{
	pthread_mutex_lock(&flow->lock);
	held_try(flow, clock_ns());
	pthread_mutex_unlock(&flow->lock);
}

void managed_flows_try(struct ringlane_managed *managed)
{
	pthread_mutex_lock(&managed->flows_lock);
	for (struct ringlane_flow *flow = managed->flows; flow; flow = flow->next)
		managed_flow_try(flow);
	pthread_mutex_unlock(&managed->flows_lock);
}

/* ---- flows ---- */

static struct ringlane_flow *flow_make(struct ringlane_managed *managed,
				       enum ringlane_queue_class queues, enum steer_order order)
{
	struct ringlane_flow *flow = aligned_alloc(CACHE_LINE, sizeof(*flow));

	if (!flow)
		return NULL;
	*flow = (struct ringlane_flow){ .managed = managed };
	steer_flow_init(&flow->steer, &managed->classes[queues].steering, order);
	pthread_mutex_init(&flow->lock, NULL);
	return flow;
}

/* With flows_lock. */
static void flow_link(struct ringlane_flow *flow)
{
	struct ringlane_managed *managed = flow->managed;

	flow->next = managed->flows;
	if (flow->next)
		flow->next->previous = flow;
	managed->flows = flow;
}

static struct ringlane_flow *flow_new(struct ringlane_managed *managed,
				      enum ringlane_queue_class queues, enum steer_order order)
{
	struct ringlane_flow *flow = flow_make(managed, queues, order);

	if (!flow)
		return NULL;
	pthread_mutex_lock(&managed->flows_lock);
	flow_link(flow);
	pthread_mutex_unlock(&managed->flows_lock);
	return flow;
}

struct ringlane_flow *managed_flow_new(struct ringlane_managed *managed, enum steer_order order)
{
	return flow_new(managed, RINGLANE_INTERRUPT_QUEUES, order);
}

struct ringlane_flow *managed_poll_flow_new(struct ringlane_managed *managed)
{
	return flow_new(managed, RINGLANE_POLL_QUEUES, STEER_RELAXED);
}

/* ---- flows of LUNs ---- */

/* The LUN's place, or the empty one where it would be; NULL: there is neither. Pairs with managed_lun_flow_add. */
static struct ringlane_flow **lun_flow_find(struct ringlane_managed *managed, uint64_t address)
{
	uint64_t hash = address * 0x9e3779b97f4a7c15ull >> 32; /* Knuth: the golden ratio */

	for (unsigned i = 0; i < MANAGED_LUNS_MAX; i++) {
		struct ringlane_flow **place = &managed->lun_flows[(hash + i) % MANAGED_LUNS_MAX];
		const struct ringlane_flow *flow = load_acquire(place);

		if (!flow || flow->lun_address == address)
			return place;
	}
	return NULL;
}

struct ringlane_flow *managed_lun_flow_find(struct ringlane_managed *managed,
					    const struct ringlane_lun *lun)
{
	struct ringlane_flow **place = lun_flow_find(managed, lun->address);

	return likely(place != NULL) ? load_acquire(place) : NULL;
}

/* Another thread may have been first. */
struct ringlane_flow *managed_lun_flow_add(struct ringlane_managed *managed,
					   const struct ringlane_lun *lun)
{
	struct ringlane_flow **place, *flow = NULL;

	pthread_mutex_lock(&managed->flows_lock);
	place = lun_flow_find(managed, lun->address);
	if (place)
		flow = *place ? *place :
				flow_make(managed, RINGLANE_INTERRUPT_QUEUES, STEER_AS_POLICY);
	if (flow && !*place) {
		flow->lun_address = lun->address;
		flow_link(flow);
		store_release(place, flow);
	}
	pthread_mutex_unlock(&managed->flows_lock);
	return flow ? flow : managed->flow;
}

struct ringlane_flow *ringlane_flow_new(struct ringlane_managed *managed, enum ringlane_order order)
{
	static const enum steer_order orders[] = {
		[RINGLANE_ORDER_DEFAULT] = STEER_AS_POLICY,
		[RINGLANE_ORDERED] = STEER_ORDERED,
		[RINGLANE_RELAXED] = STEER_RELAXED,
	};

	return (unsigned)order < ARRAY_SIZE(orders) ? managed_flow_new(managed, orders[order]) :
						      NULL;
}

void ringlane_flow_free(struct ringlane_flow *flow)
{
	struct ringlane_managed *managed;

	if (!flow)
		return;
	managed = flow->managed;
	pthread_mutex_lock(&managed->flows_lock);
	if (flow->previous)
		flow->previous->next = flow->next;
	else
		managed->flows = flow->next;
	if (flow->next)
		flow->next->previous = flow->previous;
	managed->moved += load_relaxed(&flow->steer.moves);
	managed->wishes += load_relaxed(&flow->steer.holds);
	pthread_mutex_unlock(&managed->flows_lock);
	assert(!flow->held_first);
	pthread_mutex_destroy(&flow->lock);
	free(flow);
}

unsigned ringlane_flow_queue(const struct ringlane_flow *flow)
{
	return steer_word_queue(load_relaxed(&flow->steer.word));
}
