// SPDX-License-Identifier: MIT
/*
 * The device's end of a split ring (virtio 1.3, 2.7).
 *
 * Theory of operation: avail->idx is read once and remembered, so a batch costs one shared load. A chain is walked over a
 * table (the ring's own, then at most one indirect table); each descriptor is copied with one read, and only the copy is
 * checked and used. What it describes goes into the caller's iovec in as many pieces as it has regions. The first rule that
 * is broken ends the walk, names itself in q->broken, and from then on the ring is not touched any more.
 *
 * Called by the thread that owns the lane. No system calls.
 */
#include "virtq/event.h"
#include "virtq/split.h"

/* Where the walk reads its next descriptor. */
struct desc_table {
	const struct virtq_desc *flat; /* NULL: not in one aligned piece, read through the cursor */
	uint64_t addr;                 /* guest address, when flat is NULL */
	uint32_t count;
	bool is_indirect;
};

static int device_break(struct virtq_device *q, const char *reason)
{
	q->broken = reason;
	return -EPROTO;
}

void virtq_device_init_split(struct virtq_device *q)
{
	/* Whatever it is, it is only where we go on counting. */
	q->used_next = ring_load16(&q->memory.used->idx);
	q->used_public = q->used_next;
	q->used_called = q->used_next;
}

bool virtq_device_has_work_split(const struct virtq_device *q)
{
	if (unlikely(q->broken))
		return false;
	/* pop reads it again, checks it, and orders what follows */
	return q->avail_next != q->avail_seen ||
	       ring_load16(&q->memory.avail->idx) != q->avail_next;
}

/* Looks how far the driver is. 1: there are chains, 0: none, -EPROTO. */
static int avail_refresh(struct virtq_device *q)
{
	/* pairs with driver_split.c:virtq_driver_publish_split */
	uint16_t seen = ring_acquire16(&q->memory.avail->idx);

	if (unlikely(ring_distance(q->avail_next, seen) > q->size))
		return device_break(q, "the available index is more than the ring size ahead");
	q->avail_seen = seen;
	return seen != q->avail_next;
}

/* ---- the walk over a chain ---- */

/* A descriptor of a table that crosses regions or is oddly aligned: byte by byte, each byte read once. */
static bool desc_gather(struct mem_cursor *cursor, uint64_t addr, struct desc_copy *ret_desc)
{
	union {
		uint8_t bytes[16];
		uint64_t words[2];
	} copy;
	uint64_t run;

	for (unsigned i = 0; i < sizeof(copy.bytes); i++) {
		const uint8_t *byte = mem_cursor_run(cursor, addr + i, 1, &run);

		if (!byte)
			return false;
		copy.bytes[i] = load_relaxed(byte);
	}
	*ret_desc = desc_unpack(copy.words[0], copy.words[1]);
	return true;
}

static inline const char *table_read(struct virtq_device *q, const struct desc_table *table,
				     uint16_t index, struct desc_copy *ret_desc)
{
	if (unlikely(index >= table->count))
		return "a descriptor's next lies outside its table";
	if (likely(table->flat))
		*ret_desc = desc_load(&table->flat[index]);
	else if (!desc_gather(&q->ring_cursor, table->addr + 16ull * index, ret_desc))
		return "an indirect table lies outside guest memory";
	return NULL;
}

/* virtio 1.3, 2.7.5.3: the walk goes on in the table that this descriptor describes. */
static const char *table_enter(struct virtq_device *q, const struct desc_copy *desc,
			       struct desc_table *table)
{
	const void *host;
	uint64_t run;

	if (unlikely(!q->indirect))
		return "an indirect descriptor without the feature";
	if (unlikely(table->is_indirect))
		return "an indirect table inside an indirect table";
	if (unlikely(desc->flags & VRING_DESC_F_NEXT))
		return "an indirect descriptor has a next one";
	if (unlikely(!desc->len || desc->len % sizeof(struct virtq_desc)))
		return "the length of an indirect table is not a multiple of 16";
	host = mem_cursor_run(&q->ring_cursor, desc->addr, desc->len, &run);
	if (unlikely(!host))
		return "an indirect table lies outside guest memory";
	if (unlikely(run < desc->len || (uintptr_t)host % sizeof(uint64_t)))
		host = NULL;
	*table = (struct desc_table){ .flat = host,
				      .addr = desc->addr,
				      .count = desc->len / (uint32_t)sizeof(struct virtq_desc),
				      .is_indirect = true };
	return NULL;
}

/* The memory of one descriptor, in as many pieces as it has regions. */
static inline bool chain_map(struct mem_cursor *cursor, const struct desc_copy *desc,
			     struct iovec *iov, unsigned iov_max, struct virtq_chain *chain)
{
	bool writable = desc->flags & VRING_DESC_F_WRITE;
	uint64_t addr = desc->addr, left = desc->len, run;

	for (; left; addr += run, left -= run) {
		unsigned count = chain->readable_count + chain->writable_count;
		uint8_t *host = mem_cursor_run(cursor, addr, left, &run);

		if (unlikely(!host))
			return false;
		if (writable)
			chain->last_writable = host + run - 1;
		if (unlikely(count == iov_max)) {
			chain->overflow = true;
			continue;
		}
		iov[count] = (struct iovec){ .iov_base = host, .iov_len = run };
		if (writable)
			chain->writable_count++;
		else
			chain->readable_count++;
	}
	return true;
}

/* A descriptor of length 0 is legal and describes nothing. */
static inline const char *chain_add(struct virtq_device *q, const struct desc_copy *desc,
				    bool *writable_seen, struct iovec *iov, unsigned iov_max,
				    struct virtq_chain *chain)
{
	if (desc->flags & VRING_DESC_F_WRITE) {
		*writable_seen = true;
		chain->writable_bytes += desc->len;
	} else {
		if (unlikely(*writable_seen))
			return "a readable descriptor after a writable one";
		chain->readable_bytes += desc->len;
	}
	if (unlikely(!chain_map(&q->data_cursor, desc, iov, iov_max, chain)))
		return "a descriptor lies outside guest memory";
	return NULL;
}

/* virtio 1.3, 2.7.4.2 and 2.7.5.3: at most `size` descriptors in all; the one that names a table is not counted. */
static inline const char *chain_walk(struct virtq_device *q, uint16_t index, struct iovec *iov,
				     unsigned iov_max, struct virtq_chain *chain)
{
	struct desc_table table = { .flat = q->memory.desc, .count = q->size };
	bool writable_seen = false;
	struct desc_copy desc;
	const char *reason;

	for (unsigned count = 0; count < q->size; index = desc.next) {
		reason = table_read(q, &table, index, &desc);
		if (unlikely(reason))
			return reason;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			reason = table_enter(q, &desc, &table);
			if (unlikely(reason))
				return reason;
			desc.next = 0;
			continue;
		}
		reason = chain_add(q, &desc, &writable_seen, iov, iov_max, chain);
		if (unlikely(reason))
			return reason;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return NULL;
		count++;
	}
	return "a chain is longer than the ring";
}

/* A miss lasts longer than a pop: so far ahead that several are on their way at once. */
#define PREFETCH_AHEAD 6

/* The lines of a chain of three that a later pop will read. */
static inline void head_prefetch(const struct virtq_device *q)
{
	uint16_t ahead = (uint16_t)(q->avail_next + PREFETCH_AHEAD - 1);
	uint16_t head = ring_load16(&q->memory.avail->ring[ahead & q->mask]);

	__builtin_prefetch(&q->memory.desc[head & q->mask]);
	__builtin_prefetch(&q->memory.desc[(head + 2) & q->mask]);
}

int virtq_device_pop_split(struct virtq_device *q, struct iovec *iov, unsigned iov_max,
			   struct virtq_chain *chain)
{
	struct virtq_chain found = { 0 };
	const char *reason;

	if (unlikely(q->broken))
		return -EPROTO;
	if (q->avail_next == q->avail_seen) {
		int found_new = avail_refresh(q);

		if (found_new <= 0)
			return found_new;
	}
	found.head = ring_load16(&q->memory.avail->ring[q->avail_next & q->mask]);
	if (unlikely(found.head >= q->size))
		return device_break(q, "an available entry names no descriptor");
	reason = chain_walk(q, found.head, iov, iov_max, &found);
	if (unlikely(reason))
		return device_break(q, reason);
	q->avail_next++;
	if (ring_distance(q->avail_next, q->avail_seen) >= PREFETCH_AHEAD)
		head_prefetch(q);
	*chain = found;
	return 1;
}

/* ---- giving back ---- */

void virtq_device_push_split(struct virtq_device *q, uint16_t head, uint32_t written)
{
	if (unlikely(q->broken))
		return;
	q->memory.used->ring[q->used_next++ & q->mask] =
		(struct virtq_used_elem){ .id = le32_make(head), .len = le32_make(written) };
}

void virtq_device_publish_split(struct virtq_device *q)
{
	if (unlikely(q->broken) || q->used_public == q->used_next)
		return;
	/* pairs with driver_split.c:virtq_driver_take_split */
	ring_publish16(&q->memory.used->idx, q->used_next);
	q->used_called = ring_mark_keep(q->used_called, q->used_public, q->used_next);
	q->used_public = q->used_next;
}

/* ---- notifications: virtio 1.3, 2.7.7 and 2.7.10 ---- */

bool virtq_device_should_call_split(struct virtq_device *q)
{
	uint16_t event, called = q->used_called;

	if (unlikely(q->broken))
		return false;
	/* used->idx is out before we read what the driver wants: pairs with virtq_driver_calls_enable_split */
	fence_full();
	if (!q->event_idx)
		return !(ring_load16(&q->memory.avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = ring_load16(split_used_event(&q->memory, q->size));
	q->used_called = q->used_public;
	if (unlikely(!q->called_valid)) {
		q->called_valid = true;
		return true;
	}
	return ring_event_passed(event, called, q->used_public);
}

/* With EVENT_IDX an event that stays behind is silence enough: it is passed once in 65536 entries. */
void virtq_device_kicks_suppress_split(struct virtq_device *q)
{
	if (q->kicks_suppressed || unlikely(q->broken))
		return;
	q->kicks_suppressed = true;
	if (!q->event_idx)
		ring_store16(&q->memory.used->flags, VRING_USED_F_NO_NOTIFY);
}

bool virtq_device_kicks_enable_split(struct virtq_device *q)
{
	if (unlikely(q->broken))
		return false;
	q->kicks_suppressed = false;
	if (q->event_idx)
		ring_store16(split_avail_event(&q->memory, q->size), q->avail_next);
	else
		ring_store16(&q->memory.used->flags, 0);
	/* our wish is out before we look again: pairs with driver_split.c:virtq_driver_should_kick_split */
	fence_full();
	return ring_load16(&q->memory.avail->idx) != q->avail_next;
}
