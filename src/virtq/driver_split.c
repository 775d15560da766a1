// SPDX-License-Identifier: MIT
/*
 * The driver's end of a split ring (virtio 1.3, 2.7).
 *
 * Theory of operation: which descriptors are free, and which belong to a chain, is known from the shadow slots alone; the
 * device can scribble over the ring and spoils nothing but its own requests. Free descriptors form a stack, so that a
 * shallow queue uses the same few cache lines again and again.
 *
 * A chain goes straight into the ring when it is short and leaves as many descriptors free as it takes: the device then
 * reads one line less. Otherwise, and when the feature and tables are there, it goes into the table of its slot and costs
 * the ring one descriptor.
 *
 * Called by the thread that owns the queue. No system calls.
 */
#include "virtq/event.h"
#include "virtq/split.h"

#include <string.h>

#define DIRECT_DESCS_MAX 4

static int driver_break(struct virtq_driver *q, const char *reason)
{
	q->broken = reason;
	return -EPROTO;
}

void virtq_driver_init_split(struct virtq_driver *q, uint16_t base)
{
	memset(q->memory.desc, 0, virtq_desc_bytes(q->size));
	memset(q->memory.avail, 0, virtq_avail_bytes(q->size));
	memset(q->memory.used, 0, virtq_used_bytes(q->size));
	q->avail_next = q->avail_public = q->avail_kicked = base;
	q->used_next = q->used_seen = base;
	ring_store16(&q->memory.avail->idx, base);
	ring_store16(&q->memory.used->idx, base);
	if (!q->event_idx)
		return;
	ring_store16(split_used_event(&q->memory, q->size), base);
	ring_store16(split_avail_event(&q->memory, q->size), base);
}

/* ---- submitting ---- */

/*
 * Where a chain is written to. What is read for each descriptor is here, in registers, because a store into the ring may change
 * the queue for all that the compiler knows. `table` is apart because it is known where these are taken in.
 */
struct put {
	struct virtq_desc *descs;              /* of the ring, or the table */
	const struct virtq_driver_slot *slots; /* of the ring's descriptors */
};

/* Returns the index of the one that comes behind: on the stack of free ones, or in the table. */
static always_inline unsigned put_desc(struct put put, bool table, unsigned index,
				       const struct virtq_sg *sg, uint16_t flags)
{
	uint16_t next = table ? (uint16_t)(index + 1) : put.slots[index].next;

	desc_store(&put.descs[index], sg->addr, desc_high(sg->len, flags, next));
	return next;
}

/* sg[first .. end), which others follow. Their bytes are added to *bytes. */
static always_inline unsigned put_descs(struct put put, bool table, unsigned index,
					const struct virtq_sg *sg, unsigned first, unsigned end,
					uint16_t flags, uint64_t *bytes)
{
	for (unsigned i = first; i < end; i++) {
		index = put_desc(put, table, index, &sg[i], flags | VRING_DESC_F_NEXT);
		*bytes += sg[i].len;
	}
	return index;
}

/* All of a chain, at least one. *ret_bytes may be written by the device. */
static always_inline unsigned put_chain(struct put put, bool table, unsigned index,
					const struct virtq_sg *sg, unsigned out, unsigned in,
					uint64_t *ret_bytes)
{
	unsigned last = out + in - 1;
	uint64_t readable = 0;

	*ret_bytes = in ? sg[last].len : 0;
	index = put_descs(put, table, index, sg, 0, MIN(out, last), 0, &readable);
	index = put_descs(put, table, index, sg, out, last, VRING_DESC_F_WRITE, ret_bytes);
	return put_desc(put, table, index, &sg[last], in ? VRING_DESC_F_WRITE : 0);
}

/* Nothing is taken from the stack yet. Returns its top afterwards. */
static always_inline uint16_t chain_put_direct(struct virtq_driver *q, const struct virtq_sg *sg,
					       unsigned out, unsigned in, uint64_t *ret_bytes)
{
	const struct put put = { q->memory.desc, q->slots };

	return (uint16_t)put_chain(put, false, q->free_head, sg, out, in, ret_bytes);
}

/* The same with the table that belongs to the top of the stack. */
static always_inline uint16_t chain_put_indirect(struct virtq_driver *q, const struct virtq_sg *sg,
						 unsigned out, unsigned in, uint64_t *ret_bytes)
{
	size_t first = (size_t)q->free_head * q->table_len;
	const struct put table = { &q->tables[first], NULL };
	unsigned count = put_chain(table, true, 0, sg, out, in, ret_bytes);

	desc_store(&q->memory.desc[q->free_head], q->tables_addr + first * sizeof(*table.descs),
		   desc_high(count * (uint32_t)sizeof(*table.descs), VRING_DESC_F_INDIRECT, 0));
	return q->slots[q->free_head].next;
}

static inline bool chain_goes_indirect(const struct virtq_driver *q, unsigned count)
{
	if (count == 1 || count > q->table_len)
		return false;
	return count > DIRECT_DESCS_MAX || q->free_count < 2 * count;
}

/* Inline: the path of reads and writes takes it in, with the numbers of descriptors that it knows. */
inline int virtq_driver_add_split(struct virtq_driver *q, const struct virtq_sg *sg, unsigned out,
				  unsigned in, uint16_t *ret_head)
{
	unsigned count = out + in, taken = count;
	uint16_t head = q->free_head, rest;
	struct virtq_driver_slot *slot;
	uint64_t bytes;

	if (unlikely(q->broken))
		return -EPROTO;
	/* virtio 1.3, 2.7.5.3.1: no chain is longer than the ring, not in a table either */
	if (unlikely(count < 1 || out > q->size || in > q->size || count > q->size))
		return -EINVAL;
	if (chain_goes_indirect(q, count))
		taken = 1;
	if (unlikely(q->free_count < taken))
		return -ENOSPC;
	if (likely(taken == count))
		rest = chain_put_direct(q, sg, out, in, &bytes);
	else
		rest = chain_put_indirect(q, sg, out, in, &bytes);
	if (unlikely(bytes > UINT32_MAX)) /* a used entry could not tell it */
		return -EINVAL;
	slot = &q->slots[head];
	slot->count = (uint16_t)taken;
	slot->writable = (uint32_t)bytes;
	q->free_head = rest;
	q->free_count -= (uint16_t)taken;
	ring_store16(&q->memory.avail->ring[q->avail_next++ & q->mask], head);
	*ret_head = head;
	return 0;
}

void virtq_driver_publish_split(struct virtq_driver *q)
{
	if (unlikely(q->broken) || q->avail_public == q->avail_next)
		return;
	/* pairs with device_split.c:avail_refresh */
	ring_publish16(&q->memory.avail->idx, q->avail_next);
	q->avail_kicked = ring_mark_keep(q->avail_kicked, q->avail_public, q->avail_next);
	q->avail_public = q->avail_next;
}

/* ---- reaping ---- */

bool virtq_driver_has_work_split(const struct virtq_driver *q)
{
	if (unlikely(q->broken))
		return false;
	/* take reads it again, checks it, and orders what follows */
	return q->used_next != q->used_seen || ring_load16(&q->memory.used->idx) != q->used_next;
}

/* Looks how far the device is. 1: something is finished, 0: nothing, -EPROTO. */
static int used_refresh(struct virtq_driver *q)
{
	/* pairs with device_split.c:virtq_device_publish_split */
	uint16_t seen = ring_acquire16(&q->memory.used->idx);

	if (unlikely(ring_distance(q->used_next, seen) >
		     ring_distance(q->used_next, q->avail_public)))
		return driver_break(q, "the used index is ahead of what was made available");
	if (seen == q->used_next)
		return 0;
	q->used_seen = seen;
	/* what comes back is usually followed by something new */
	prefetch_for_write(&q->memory.avail->ring[q->avail_next & q->mask]);
	prefetch_for_write(&q->memory.avail->idx);
	return 1;
}

unsigned virtq_driver_peek_split(struct virtq_driver *q, uint16_t *ids, unsigned max)
{
	const struct virtq_used_elem *ring = q->memory.used->ring;
	uint16_t mask = q->mask, first = q->used_next; /* kept, as in struct put */
	unsigned count;

	if (unlikely(q->broken) || (first == q->used_seen && used_refresh(q) <= 0))
		return 0;
	count = MIN(max, (unsigned)ring_distance(first, q->used_seen));
	for (unsigned i = 0; i < count; i++)
		ids[i] = le32toh(load_relaxed(&ring[(first + i) & mask].id.raw)) & mask;
	return count;
}

/* The chain's descriptors go back onto the stack in their old order. */
static inline void chain_free(struct virtq_driver *q, uint16_t head)
{
	struct virtq_driver_slot *slots = q->slots;
	uint16_t count = slots[head].count, tail = head;

	for (unsigned left = count; left > 1; left--)
		tail = slots[tail].next;
	/* the next chain goes there */
	prefetch_for_write(&q->memory.desc[head]);
	prefetch_for_write(&q->memory.desc[tail]);
	slots[tail].next = q->free_head;
	slots[head].count = 0;
	q->free_head = head;
	q->free_count += count;
}

/* Inline as virtq_driver_add_split. */
inline int virtq_driver_take_split(struct virtq_driver *q, uint16_t *ret_head,
				   uint32_t *ret_written)
{
	const struct virtq_used_elem *elem;
	const struct virtq_driver_slot *slot;
	uint32_t id, written;

	if (unlikely(q->broken))
		return -EPROTO;
	if (q->used_next == q->used_seen) {
		int found = used_refresh(q);

		if (found <= 0)
			return found;
	}
	elem = &q->memory.used->ring[q->used_next & q->mask];
	id = le32toh(load_relaxed(&elem->id.raw));
	written = le32toh(load_relaxed(&elem->len.raw));
	if (unlikely(id >= q->size))
		return driver_break(q, "a used entry names no descriptor");
	slot = &q->slots[id];
	if (unlikely(!slot->count))
		return driver_break(q, "a used entry names a chain that is not outstanding");
	if (unlikely(written > slot->writable)) {
		if (!q->lengths_are_vague)
			return driver_break(
				q, "a used entry says that more was written than there is room");
		written = slot->writable;
	}
	q->used_next++;
	chain_free(q, (uint16_t)id);
	*ret_head = (uint16_t)id;
	*ret_written = written;
	return 1;
}

/* The stack of free descriptors has the chain on top, in its old order; descriptors and table are as they were. */
void virtq_driver_untake_split(struct virtq_driver *q, uint16_t head, unsigned count)
{
	uint16_t rest = head;

	assert(head == q->free_head && count >= 1 && count <= q->free_count);
	for (unsigned i = 0; i < count; i++)
		rest = q->slots[rest].next;
	q->slots[head].count = (uint16_t)count;
	q->free_head = rest;
	q->free_count -= (uint16_t)count;
	ring_store16(&q->memory.avail->ring[q->avail_next++ & q->mask], head);
}

/* ---- notifications: virtio 1.3, 2.7.7 and 2.7.10 ---- */

bool virtq_driver_should_kick_split(struct virtq_driver *q)
{
	uint16_t event, kicked = q->avail_kicked;

	if (unlikely(q->broken))
		return false;
	/* avail->idx is out before we read what the device wants: pairs with virtq_device_kicks_enable_split */
	fence_full();
	if (!q->event_idx)
		return !(ring_load16(&q->memory.used->flags) & VRING_USED_F_NO_NOTIFY);
	event = ring_load16(split_avail_event(&q->memory, q->size));
	q->avail_kicked = q->avail_public;
	return ring_event_passed(event, kicked, q->avail_public);
}

/* With EVENT_IDX the flags stay 0 (2.7.7.1), and an event that stays behind is silence enough. */
void virtq_driver_calls_suppress_split(struct virtq_driver *q)
{
	if (q->calls_suppressed || unlikely(q->broken))
		return;
	q->calls_suppressed = true;
	if (!q->event_idx)
		ring_store16(&q->memory.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

bool virtq_driver_calls_enable_split(struct virtq_driver *q, uint16_t skip)
{
	uint16_t outstanding = ring_distance(q->used_next, q->avail_public);

	if (unlikely(q->broken))
		return false;
	q->calls_suppressed = false;
	skip = q->event_idx && outstanding ? MIN(skip, (uint16_t)(outstanding - 1)) : 0;
	if (q->event_idx)
		ring_store16(split_used_event(&q->memory, q->size),
			     (uint16_t)(q->used_next + skip));
	else
		ring_store16(&q->memory.avail->flags, 0);
	/* our wish is out before we look again: pairs with device_split.c:virtq_device_should_call_split */
	fence_full();
	return ring_distance(q->used_next, ring_load16(&q->memory.used->idx)) > skip;
}
