// SPDX-License-Identifier: MIT
/*
 * A ring that is made anew under its queue. What was in it is taken out first: completions that the device had told come
 * with their results, everything else with the reason; ringlane_reap hands them out before it looks at the new ring. So each
 * request comes back exactly once, and only after somebody has made sure that the device does not touch its memory.
 *
 * The queue is quiet: no thread is in a function of its own. System calls: write (a sleeper shall look).
 */
#include "driver/queue.h"

#include "base/fd.h"
#include "driver/scsi.h"

#include <errno.h>
#include <stdlib.h>

#define BATCH 32

int queue_returned_reserve(struct ringlane_queue *queue)
{
	struct queue_returned *returned = &queue->returned;
	size_t room = (size_t)returned->first + queue->in_flight;
	struct ringlane_completion *grown;

	if (room <= returned->room)
		return 0;
	grown = reallocarray(returned->completions, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	returned->completions = grown;
	returned->room = room;
	return 0;
}

unsigned queue_returned_take(struct ringlane_queue *queue, struct ringlane_completion *completions,
			     unsigned max)
{
	struct queue_returned *returned = &queue->returned;
	unsigned count = MIN(max, returned->count);

	for (unsigned i = 0; i < count; i++)
		completions[i] = returned->completions[returned->first + i];
	returned->first = returned->count == count ? 0 : returned->first + count;
	returned->count -= count;
	queue->in_flight -= count;
	return count;
}

/* Room has been reserved. */
static void returned_add(struct ringlane_queue *queue, void *user_data, int result)
{
	struct queue_returned *returned = &queue->returned;
	size_t at = (size_t)returned->first + returned->count++;

	assert(at < returned->room);
	returned->completions[at] =
		(struct ringlane_completion){ .user_data = user_data, .result = result };
}

/* What the device had finished. A ring that is or gets broken has told nothing more. */
static unsigned finished_collect(struct ringlane_queue *queue)
{
	struct queue_returned held = queue->returned;
	struct ringlane_completion completions[BATCH];
	unsigned total = 0;
	int got;

	queue->returned.count = 0; /* so that reaping looks at the ring */
	while ((got = ringlane_reap(queue, completions, BATCH)) > 0) {
		queue->returned = held;
		for (int i = 0; i < got; i++)
			returned_add(queue, completions[i].user_data, completions[i].result);
		held = queue->returned;
		queue->returned.count = 0;
		queue->in_flight += (unsigned)got; /* until they are handed out */
		total += (unsigned)got;
	}
	queue->returned = held;
	return total;
}

/* True when it was outstanding; it is not afterwards. */
static bool chain_collect(struct ringlane_queue *queue, unsigned id, int result)
{
	struct virtq_driver_slot *slot = &queue->ring.slots[id];

	if (id >= queue->ring.size || !slot->count)
		return false;
	slot->count = 0;
	if (queue->kind == QUEUE_SCSI && queue->scsi.slots[id].kind >= SCSI_SYNC)
		return false; /* nobody's: whoever waited for it has given up */
	returned_add(queue, queue->user_data[id], result);
	return true;
}

/* Those from the given one on. */
static void returned_reverse(struct queue_returned *returned, unsigned from)
{
	unsigned low = returned->first + from, high = returned->first + returned->count;

	for (; high > low + 1; low++, high--) {
		struct ringlane_completion swap = returned->completions[low];

		returned->completions[low] = returned->completions[high - 1];
		returned->completions[high - 1] = swap;
	}
}

/*
 * The ring of what was made available knows the order, backwards; the device could have changed it, so that what it does
 * not name comes too.
 */
static unsigned outstanding_collect(struct ringlane_queue *queue, int result)
{
	struct virtq_driver *ring = &queue->ring;
	unsigned from = queue->returned.count, total = 0;

	for (unsigned i = 1; i <= ring->size; i++) {
		const struct le16 *entry =
			&ring->memory.avail->ring[(uint16_t)(ring->avail_next - i) & ring->mask];

		total += chain_collect(queue, le16toh(load_relaxed(&entry->raw)), result);
	}
	returned_reverse(&queue->returned, from);
	for (unsigned id = 0; id < ring->size; id++)
		total += chain_collect(queue, id, result);
	return total;
}

unsigned queue_renew(struct ringlane_queue *queue, const struct queue_setup *setup, int result)
{
	bool has_requests = queue->kind == QUEUE_BLK || queue->kind == QUEUE_SCSI;
	unsigned count = has_requests ? finished_collect(queue) : 0;

	count += has_requests ? outstanding_collect(queue, result) : 0;
	queue_ring_make(queue, setup);
	queue->scsi.scratch_busy = false;
	if (queue->returned.count)
		event_fd_signal(queue->call_fd);
	return count;
}

void queue_returned_add(struct ringlane_queue *queue, void *user_data, int result)
{
	returned_add(queue, user_data, result);
	queue->in_flight++;
}
