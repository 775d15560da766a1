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
	if (seen == q->avail_next)
		return 0;
	q->avail_seen = seen;
	/* what was asked for is usually answered soon */
	prefetch_for_write(&q->memory.used->ring[q->used_next & q->mask]);
	prefetch_for_write(&q->memory.used->idx);
	return 1;
}

/* ---- reading a chain ---- */

/* A descriptor of a table that crosses regions or is oddly aligned: byte by byte, each byte read once. */
static slow_path bool desc_gather(struct mem_cursor *cursor, uint64_t addr,
				  struct desc_copy *ret_desc)
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

/* What is known of a chain so far. Lives in registers: only copies of it go to the function that is rarely called. */
struct walk {
	struct iovec *at, *end;  /* the next entry to fill, the one that is too far */
	struct iovec *writable;  /* the first entry of the writable part, NULL before it begins */
	uint64_t bytes;          /* of all descriptors */
	uint64_t readable_bytes; /* of those before the writable part */
	uint8_t *overflow;       /* the last byte of this part that found no entry */
	bool overflows;
};

/* The memory of one descriptor, in as many pieces as it has regions. */
static slow_path bool desc_map(struct mem_cursor *cursor, uint64_t addr, uint64_t left,
			       struct walk *walk)
{
	for (uint64_t run; left; addr += run, left -= run) {
		uint8_t *host = mem_cursor_run(cursor, addr, left, &run);

		if (!host)
			return false;
		if (walk->at < walk->end) {
			*walk->at++ = (struct iovec){ .iov_base = host, .iov_len = run };
			continue;
		}
		walk->overflows = true;
		walk->overflow = host + run - 1;
	}
	return true;
}

static inline void walk_turn_writable(struct walk *walk)
{
	walk->writable = walk->at;
	walk->readable_bytes = walk->bytes;
	walk->overflow = NULL;
}

/* A descriptor of length 0 is legal and describes nothing. */
static inline const char *walk_add(struct mem_cursor *cursor, const struct desc_copy *desc,
				   struct walk *walk)
{
	const struct mem_window *window = mem_cursor_find(cursor, desc->addr);
	struct walk copy;

	if (!(desc->flags & VRING_DESC_F_WRITE)) {
		if (unlikely(walk->writable))
			return "a readable descriptor after a writable one";
	} else if (!walk->writable) {
		walk_turn_writable(walk);
	}
	walk->bytes += desc->len;
	/* not empty, as a whole in one region, and there is an entry for it */
	if (likely(window && walk->at < walk->end)) {
		uint64_t offset = desc->addr - window->first;

		if (likely(desc->len - 1ull < window->size - offset)) {
			*walk->at++ = (struct iovec){ .iov_base = window->host + offset,
						      .iov_len = desc->len };
			return NULL;
		}
	}
	copy = *walk;
	if (unlikely(!desc_map(cursor, desc->addr, desc->len, &copy)))
		return "a descriptor lies outside guest memory";
	*walk = copy;
	return NULL;
}

static inline uint8_t *walk_last_writable(const struct walk *walk)
{
	if (unlikely(walk->overflow))
		return walk->overflow;
	if (walk->at == walk->writable)
		return NULL;
	return (uint8_t *)walk->at[-1].iov_base + walk->at[-1].iov_len - 1;
}

static inline void walk_finish(struct walk *walk, const struct iovec *iov, uint16_t head,
			       struct virtq_chain *chain)
{
	if (!walk->writable)
		walk_turn_writable(walk);
	*chain = (struct virtq_chain){
		.head = head,
		.overflow = walk->overflows,
		.readable_count = (unsigned)(walk->writable - iov),
		.writable_count = (unsigned)(walk->at - walk->writable),
		.readable_bytes = walk->readable_bytes,
		.writable_bytes = walk->bytes - walk->readable_bytes,
		.last_writable = walk_last_writable(walk),
	};
}

/* An indirect table: where descriptors are read when they do not come from the ring. */
struct desc_table {
	const struct virtq_desc
		*flat; /* NULL: crosses regions or is oddly aligned, read through the cursor */
	uint64_t addr; /* guest address */
	uint32_t count;
};

/* virtio 1.3, 2.7.5.3 */
static inline const char *table_open(struct virtq_device *q, const struct desc_copy *desc,
				     struct desc_table *ret_table)
{
	const void *host;
	uint64_t run;

	if (unlikely(!q->indirect))
		return "an indirect descriptor without the feature";
	if (unlikely(desc->flags & VRING_DESC_F_NEXT))
		return "an indirect descriptor has a next one";
	if (unlikely(!desc->len || desc->len % sizeof(struct virtq_desc)))
		return "the length of an indirect table is not a multiple of 16";
	host = mem_cursor_run(&q->ring_cursor, desc->addr, desc->len, &run);
	if (unlikely(!host))
		return "an indirect table lies outside guest memory";
	if (unlikely(run < desc->len || (uintptr_t)host % sizeof(uint64_t)))
		host = NULL;
	*ret_table =
		(struct desc_table){ .flat = host,
				     .addr = desc->addr,
				     .count = desc->len / (uint32_t)sizeof(struct virtq_desc) };
	return NULL;
}

/* The rest of a chain lies in the table that desc describes; left more descriptors are allowed. */
static never_inline const char *walk_table(struct virtq_device *q, struct desc_copy desc,
					   struct walk *walk)
{
	struct walk copy = *walk;
	struct desc_table table;
	const char *reason = table_open(q, &desc, &table);

	desc.next = 0;
	for (unsigned left = VIRTQ_SIZE_MAX; !reason && left > 0; left--) {
		if (unlikely(desc.next >= table.count))
			return "a descriptor's next lies outside its table";
		if (likely(table.flat))
			desc = desc_load(&table.flat[desc.next]);
		else if (!desc_gather(&q->ring_cursor, table.addr + 16ull * desc.next, &desc))
			return "an indirect table lies outside guest memory";
		if (unlikely(desc.flags & VRING_DESC_F_INDIRECT))
			return "an indirect table inside an indirect table";
		reason = walk_add(&q->data_cursor, &desc, &copy);
		if (!(desc.flags & VRING_DESC_F_NEXT)) {
			*walk = copy;
			return reason;
		}
	}
	return reason ? reason : "a chain is longer than any ring";
}

/*
 * virtio 1.3, 2.7.5.3.1 forbids chains longer than the ring, in a table too. In the ring the length is what ends a circle. In a
 * table we allow what any ring could hold: Linux fills tables by the device's seg_max, whatever the size of the ring.
 */
static inline const char *walk_ring(struct virtq_device *q, uint16_t index, struct walk *walk)
{
	for (unsigned left = q->size; left > 0; left--) {
		struct desc_copy desc;
		const char *reason;

		if (unlikely(index >= q->size))
			return "a descriptor's next lies outside its table";
		desc = desc_load(&q->memory.desc[index]);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			struct walk copy = *walk;

			reason = walk_table(q, desc, &copy);
			*walk = copy;
			return reason;
		}
		reason = walk_add(&q->data_cursor, &desc, walk);
		if (unlikely(reason) || !(desc.flags & VRING_DESC_F_NEXT))
			return reason;
		index = desc.next;
	}
	return "a chain is longer than the ring";
}

/*
 * A miss lasts longer than a pop. So descriptors are asked for so many chains ahead that several are on their way at once, and an
 * indirect table a few chains ahead, when its descriptor has arrived. These are wishes only: what the driver wrote is neither
 * checked nor used, and read again by the walk.
 */
#define DESC_AHEAD 8
#define TABLE_AHEAD 3

static inline uint16_t head_ahead(const struct virtq_device *q, unsigned ahead)
{
	return ring_load16(&q->memory.avail->ring[(q->avail_next + ahead) & q->mask]) & q->mask;
}

/* The lines of a chain of three. */
static inline void desc_prefetch(const struct virtq_device *q, unsigned ahead)
{
	uint16_t head = head_ahead(q, ahead);

	__builtin_prefetch(&q->memory.desc[head]);
	__builtin_prefetch(&q->memory.desc[(head + 2) & q->mask]);
}

static inline void table_prefetch(struct virtq_device *q, unsigned ahead)
{
	struct desc_copy desc = desc_load(&q->memory.desc[head_ahead(q, ahead)]);
	const void *table;
	uint64_t run;

	if (!(desc.flags & VRING_DESC_F_INDIRECT))
		return;
	table = mem_cursor_run(&q->ring_cursor, desc.addr, 1, &run);
	if (likely(table))
		__builtin_prefetch(table);
}

/*
 * After a look at avail->idx: the first of what is new; the rest is asked for pop by pop. A driver that waits for each answer
 * usually takes the same descriptors again: they are asked for before the entry that will say so has arrived.
 */
static void prefetch_first(const struct virtq_device *q)
{
	unsigned count = MIN(ring_distance(q->avail_next, q->avail_seen), DESC_AHEAD);

	__builtin_prefetch(&q->memory.desc[q->head_last]);
	__builtin_prefetch(&q->memory.desc[(q->head_last + 2) & q->mask]);
	for (unsigned ahead = 1; ahead < count; ahead++)
		desc_prefetch(q, ahead);
}

static inline void prefetch_next(struct virtq_device *q)
{
	unsigned left = ring_distance(q->avail_next, q->avail_seen);

	if (left >= TABLE_AHEAD)
		table_prefetch(q, TABLE_AHEAD - 1);
	if (left >= DESC_AHEAD)
		desc_prefetch(q, DESC_AHEAD - 1);
}

int virtq_device_pop_split(struct virtq_device *q, struct iovec *iov, unsigned iov_max,
			   struct virtq_chain *chain)
{
	struct walk walk = { .at = iov, .end = iov + iov_max };
	const char *reason;
	uint16_t head;

	if (unlikely(q->broken))
		return -EPROTO;
	if (q->avail_next == q->avail_seen) {
		int found = avail_refresh(q);

		if (found <= 0)
			return found;
		prefetch_first(q);
	}
	head = ring_load16(&q->memory.avail->ring[q->avail_next & q->mask]);
	if (unlikely(head >= q->size))
		return device_break(q, "an available entry names no descriptor");
	reason = walk_ring(q, head, &walk);
	if (unlikely(reason))
		return device_break(q, reason);
	walk_finish(&walk, iov, head, chain);
	q->head_last = head;
	q->avail_next++;
	prefetch_next(q);
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
