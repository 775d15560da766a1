/* SPDX-License-Identifier: MIT */
/*
 * The data path of a lane.
 *
 * Theory of operation. The loop calls lane_poll() with kicks suppressed, when a kick came or while its polling window is open. A
 * poll takes chains in groups: a group is popped first and the lines that its requests will touch are asked for, then each is
 * executed; so the misses of a group overlap. What a group completed is published before the next is popped; the last one, and
 * the call decision, end the batch. Requests that complete later are pushed when they do, and published together at the end of
 * the loop's turn. Kicks are enabled by the loop when it is about to sleep; it looks again then.
 *
 * Slots are handed out last in, first out: a device that completes inside execute() keeps using the same few. A slot that was
 * never used costs no memory. A driver may have at most as many chains in flight as the ring has entries, each head once;
 * anything else breaks the ring (virtio 1.3, 2.7.13: a descriptor is not reused before it was returned).
 *
 * All of it belongs to the lane's loop. It knows no commands; see lane_control.c.
 */
#include "base/fd.h"
#include "device/lane_internal.h"

/* ---- slots ---- */

static void request_take(struct lane_impl *lane, struct lane_request *request)
{
	lane->free = request->next_free;
	lane->taken[request->chain.head] = 1;
	request->map = lane->map;
	lane->map->in_flight++;
	store_relaxed(&lane->in_flight, lane->in_flight + 1);
}

static inline void slot_give_back(struct lane_impl *lane, struct lane_request *request)
{
	lane->taken[request->chain.head] = 0;
	request->next_free = lane->free;
	lane->free = request;
	store_relaxed(&lane->in_flight, lane->in_flight - 1);
}

static void request_release(struct lane_impl *lane, struct lane_request *request)
{
	struct lane_map *map = request->map;

	slot_give_back(lane, request);
	if (unlikely(--map->in_flight == 0 && map != lane->map))
		lane_map_free(map);
}

/* ---- completion ---- */

void lane_flush(struct lane_impl *lane)
{
	unsigned pushed = lane->pushed;

	if (pushed == 0 || unlikely(lane->q.broken))
		return;
	lane->pushed = 0;
	lane_count(lane, requests, pushed); /* before a driver that asks can know of them */
	virtq_device_publish(&lane->q);
	if (!virtq_device_should_call(&lane->q))
		return;
	lane_count(lane, calls, 1);
	loop_signal_raise(&lane->call);
}

/* Outside of a batch, or the last one of an old map. */
static never_inline void complete_any(struct lane_impl *lane, struct lane_request *request,
				      uint32_t written)
{
	request_release(lane, request);
	if (likely(!lane->q.broken)) {
		virtq_device_push(&lane->q, request->chain.head, written);
		lane->pushed++;
	}
	if (!lane->batch_map && !lane->turn_end.queued)
		loop_defer(lane->loop, &lane->turn_end);
}

/* inline: for link-time optimisation, because it is called once for each request. What needs no other function is done here */
inline void lane_complete(struct lane_request *request, uint32_t written)
{
	struct lane_impl *lane = lane_impl(request->lane);
	struct lane_map *map = request->map;

	if (unlikely(map != lane->batch_map)) {
		complete_any(lane, request, written);
		return;
	}
	slot_give_back(lane, request);
	map->in_flight--;
	virtq_device_push(&lane->q, request->chain.head, written); /* nothing when it broke */
	lane->pushed++;
}

void lane_fail(struct lane_request *request, const char *reason)
{
	struct lane_impl *lane = lane_impl(request->lane);

	request_release(lane, request);
	lane_break(lane, reason);
	loop_defer(lane->loop, &lane->turn_end);
}

/* ---- polling ---- */

/* The lines that execute() reads and completion writes: first readable byte, status. */
static void request_prefetch(const struct lane_impl *lane, const struct lane_request *request)
{
	const struct virtq_chain *chain = &request->chain;

	if (lane->ops->answer_first && chain->writable_count) {
		const uint8_t *answer = request->iov[chain->readable_count].iov_base;
		prefetch_for_write(answer);
		__builtin_prefetch(answer + CACHE_LINE); /* sense data, seldom written */
	} else if (chain->last_writable)
		prefetch_for_write(chain->last_writable);
	__builtin_prefetch(request->iov[0].iov_base);
}

/* A slot, with its chain; NULL when there is none (left), the ring may be broken then. */
static struct lane_request *pop_one(struct lane_impl *lane)
{
	struct lane_request *request = lane->free;
	int popped;

	if (unlikely(!request)) {
		request = lane_slot_new(lane);
		if (!request) {
			if (virtq_device_has_work(&lane->q))
				lane_break(lane, "more chains in flight than the ring has entries");
			return NULL;
		}
	}
	popped = virtq_device_pop(&lane->q, request->iov, LANE_IOV_MAX, &request->chain);
	if (unlikely(popped < 0))
		lane_break(lane, lane->q.broken);
	if (popped <= 0)
		return NULL;
	if (unlikely(lane->taken[request->chain.head])) {
		lane_break(lane, "a chain that is in flight was made available again");
		return NULL;
	}
	request_take(lane, request);
	return request;
}

static unsigned pop_group(struct lane_impl *lane, struct lane_request *group[LANE_PUBLISH],
			  uint64_t *bytes)
{
	unsigned count = 0;

	while (count < LANE_PUBLISH && *bytes < LANE_BATCH_BYTES &&
	       (group[count] = pop_one(lane))) {
		const struct virtq_chain *chain = &group[count]->chain;

		*bytes += chain->readable_bytes + chain->writable_bytes;
		request_prefetch(lane, group[count++]);
	}
	return count;
}

/* A ring that broke while the group was gathered, or at one of its requests, takes the rest with it. */
static void execute_group(struct lane_impl *lane, struct lane_request **group, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (likely(!lane->q.broken))
			lane->ops->execute(&lane->lane, group[i]);
		else
			request_release(lane, group[i]);
	}
}

static void run_batch(struct lane_impl *lane)
{
	struct lane_request *group[LANE_PUBLISH];
	uint64_t bytes = 0;

	lane->batch_map = lane->map;
	for (unsigned left = LANE_BATCH / LANE_PUBLISH; left > 0; left--) {
		unsigned count = pop_group(lane, group, &bytes);

		execute_group(lane, group, count);
		if (count < LANE_PUBLISH || lane->q.broken)
			break;
		if (left > 1 && lane->pushed > 0)
			virtq_device_publish(&lane->q);
	}
	lane->batch_map = NULL;
	lane_flush(lane);
	lane_count(lane, batches, 1);
}

bool lane_poll(struct loop_poller *poller)
{
	struct lane_impl *lane = container_of(poller, struct lane_impl, poller);

	if (!virtq_device_has_work(&lane->q))
		return false;
	if (lane->free)
		request_prefetch(lane, lane->free); /* often where it was last time */
	run_batch(lane);
	return true;
}

struct lane_request *lane_take(struct lane *base)
{
	struct lane_impl *lane = lane_impl(base);
	struct lane_request *request;

	assert(loop_is_mine(lane->loop) && lane->ops->kicked);
	if (lane->state != LANE_RUNNING)
		return NULL;
	request = pop_one(lane);
	if (!request && virtq_device_kicks_enable(&lane->q)) /* one came meanwhile */
		request = pop_one(lane);
	return request;
}

bool lane_notify_enable(struct loop_poller *poller)
{
	struct lane_impl *lane = container_of(poller, struct lane_impl, poller);

	return virtq_device_kicks_enable(&lane->q);
}

void lane_notify_suppress(struct loop_poller *poller)
{
	struct lane_impl *lane = container_of(poller, struct lane_impl, poller);

	virtq_device_kicks_suppress(&lane->q);
}
