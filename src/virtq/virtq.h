/* SPDX-License-Identifier: MIT */
/*
 * Both ends of a virtqueue: no file descriptors, threads, time or block.
 *
 * The ring answers ("must the peer be notified?"), the caller acts. Each end belongs to one thread. The layout is a
 * field and a `switch` to direct calls (split today; packed is laid out for), never a function pointer.
 *
 * Everything the peer wrote is read once into locals and checked there. A ring that broke the rules is broken for good:
 * `broken` names the reason, each call answers -EPROTO, and nothing more is read or written.
 */
#ifndef RINGLANE_VIRTQ_VIRTQ_H
#define RINGLANE_VIRTQ_VIRTQ_H

#include "base/compiler.h"
#include "base/endian.h"
#include "mem/map.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIRTQ_SIZE_MAX 1024 /* entries; ours, the specification allows 32768 */

enum virtq_layout {
	VIRTQ_SPLIT,
	/* VIRTQ_PACKED comes with virtio 1.3, 2.8; each switch over this enum names what is missing */
};

/* virtio 1.3, 2.7.5 */
struct virtq_desc {
	struct le64 addr;
	struct le32 len;
	struct le16 flags;
	struct le16 next;
};
struct virtq_used_elem {
	struct le32 id;
	struct le32 len;
};
struct virtq_avail {
	struct le16 flags;
	struct le16 idx;
	struct le16 ring[];
}; /* then used_event */
struct virtq_used {
	struct le16 flags;
	struct le16 idx;
	struct virtq_used_elem ring[];
}; /* then avail_event */

/* Where the three parts lie in this process. */
struct virtq_memory {
	struct virtq_desc *desc;   /* 16 bytes aligned, 16 * size bytes */
	struct virtq_avail *avail; /* 2 bytes aligned, 6 + 2 * size bytes */
	struct virtq_used *used;   /* 4 bytes aligned, 6 + 8 * size bytes */
};

static inline uint64_t virtq_desc_bytes(unsigned size)
{
	return 16ull * size;
}
static inline uint64_t virtq_avail_bytes(unsigned size)
{
	return 6ull + 2ull * size;
}
static inline uint64_t virtq_used_bytes(unsigned size)
{
	return 6ull + 8ull * size;
}

struct virtq_config {
	enum virtq_layout layout;
	uint16_t size; /* power of two, at most VIRTQ_SIZE_MAX */
	uint16_t base; /* the index to start at: for the device's end from SET_VRING_BASE, for the driver's end 0 */
	bool indirect;  /* VIRTIO_F_INDIRECT_DESC negotiated */
	bool event_idx; /* VIRTIO_F_EVENT_IDX negotiated */
	/* The driver's end: there are devices that count what they read, too. More than fits is taken for all that fits. */
	bool lengths_are_vague;
	struct virtq_memory memory;
};

/* ---- device's end ------------------------------------------------------------------------------------------- */

/*
 * One chain, translated. The caller brings iov[] of iov_max entries (at least 2); readable entries come first.
 * A chain that needs more entries than iov_max is not an error of the ring: `overflow` is set, iov holds what fitted,
 * and last_writable still names the chain's last device-writable byte, so that a device can answer with an error.
 * readable_bytes and writable_bytes are of the whole chain, whether it fitted or not. Descriptors of length 0 are nothing.
 */
struct virtq_chain {
	uint16_t head; /* id: unique among chains in flight (checked by the caller's slot table) */
	bool overflow;
	unsigned readable_count; /* iov[0 .. readable_count) */
	unsigned writable_count; /* iov[readable_count .. readable_count + writable_count) */
	uint64_t readable_bytes, writable_bytes;
	uint8_t *last_writable; /* NULL when nothing is writable */
};

struct virtq_device {
	/* read-mostly */
	enum virtq_layout layout;
	uint16_t size, mask;
	bool indirect, event_idx;
	struct virtq_memory memory;
	struct mem_cursor ring_cursor; /* for indirect tables */
	struct mem_cursor data_cursor;
	const char *broken; /* NULL, or the reason */
	/* written for each chain */
	uint16_t avail_next;  /* next avail entry to take */
	uint16_t avail_seen;  /* avail->idx when we last looked */
	uint16_t head_last;   /* of the last pop */
	uint16_t used_next;   /* next used entry to fill */
	uint16_t used_public; /* used->idx as the driver sees it */
	uint16_t used_called; /* used_public when the driver was last told (EVENT_IDX) */
	bool called_valid;    /* false until used_called means something */
	bool kicks_suppressed;
};

bool virtq_size_is_valid(unsigned size);

/* The memory is checked by the caller (inside the map, aligned). Publishes nothing. -EINVAL for a size we cannot serve. */
int virtq_device_init(struct virtq_device *q, const struct virtq_config *config,
		      const struct mem_map *map);
/* The memory map has been replaced: the same ring in the new map. */
void virtq_device_remap(struct virtq_device *q, const struct virtq_memory *memory,
			const struct mem_map *map);
/* Is there a chain that has not been taken? One shared load at most; cheap enough for a polling loop. */
bool virtq_device_has_work(struct virtq_device *q);
/* 1 and a chain, 0 when the ring is empty, -EPROTO when the ring is broken (q->broken says why). */
int virtq_device_pop(struct virtq_device *q, struct iovec *iov, unsigned iov_max,
		     struct virtq_chain *chain);
/* Gives back the chain taken last, so that it is popped again (SUSPEND, full tables). */
void virtq_device_unpop(struct virtq_device *q);
/* Fills a used entry; the driver does not see it before the next publish. written: bytes the device wrote. */
void virtq_device_push(struct virtq_device *q, uint16_t head, uint32_t written);
/* Shows the driver all pushed entries. */
void virtq_device_publish(struct virtq_device *q);
/* After publish: does the driver want an interrupt? Full fence inside; pairs with virtq_driver_calls_enable. */
bool virtq_device_should_call(struct virtq_device *q);
/* While we poll or work through a batch the driver need not kick. Idempotent. */
void virtq_device_kicks_suppress(struct virtq_device *q);
/* Asks for kicks again. True: chains came meanwhile, so look again (kicks stay asked for). */
bool virtq_device_kicks_enable(struct virtq_device *q);

/* ---- driver's end ------------------------------------------------------------------------------------------- */

struct virtq_sg {
	uint64_t addr;
	uint32_t len;
}; /* as the device sees it */

struct virtq_driver_slot { /* shadow: the device cannot reach it */
	uint16_t next;     /* free list, or descs in the chain */
	uint16_t count;    /* descriptors in use; 0 = not outstanding */
	uint32_t writable; /* bytes the device may write */
};

struct virtq_driver {
	/* read-mostly */
	enum virtq_layout layout;
	uint16_t size, mask;
	bool indirect, event_idx, lengths_are_vague;
	struct virtq_memory memory;
	struct virtq_driver_slot *slots; /* caller's, `size` of them */
	struct virtq_desc *
		tables; /* caller's, shared memory: `table_len` descriptors per slot; NULL without indirect */
	uint64_t tables_addr; /* as the device sees them */
	uint16_t table_len;
	const char *broken;
	/* submitting side */
	uint16_t free_head, free_count;
	uint16_t avail_next;
	uint16_t avail_public;
	uint16_t avail_kicked; /* avail_public when the kick was last decided */
	/* reaping side */
	uint16_t used_next;
	uint16_t used_seen; /* used->idx when we last looked */
	bool calls_suppressed;
};

struct virtq_driver_tables {
	struct virtq_driver_slot *slots;
	struct virtq_desc *tables;
	uint64_t tables_addr;
	uint16_t table_len;
};

/* Zeroes the ring's memory. */
int virtq_driver_init(struct virtq_driver *q, const struct virtq_config *config,
		      const struct virtq_driver_tables *tables);
/* Adds one chain: sg[0 .. out) readable, then sg[out .. out + in) writable. *ret_head is its id.
 * -ENOSPC when the ring is full, -EINVAL for an empty or too long chain (more than `size` descriptors, 4 GiB writable), -EPROTO when
 * the ring is broken. Not visible before publish. */
int virtq_driver_add(struct virtq_driver *q, const struct virtq_sg *sg, unsigned out, unsigned in,
		     uint16_t *ret_head);
void virtq_driver_publish(struct virtq_driver *q);
/* After publish: does the device want a kick? Full fence inside; pairs with virtq_device_kicks_enable. */
bool virtq_driver_should_kick(struct virtq_driver *q);
bool virtq_driver_has_work(const struct virtq_driver *q);
/* Looks ahead: ids of up to max finished chains, the next to be taken first, so that their memory can be fetched. Only below size, not checked. */
unsigned virtq_driver_peek(struct virtq_driver *q, uint16_t *ids, unsigned max);
/* 1 and the id of a finished chain, 0 none, -EPROTO: the device wrote nonsense (bad id, not outstanding, len too large). */
int virtq_driver_take(struct virtq_driver *q, uint16_t *ret_head, uint32_t *ret_written);
/* Makes the chain that was taken last, of so many descriptors, available again as it is; nothing was added since. */
void virtq_driver_untake(struct virtq_driver *q, uint16_t head, unsigned count);
void virtq_driver_calls_suppress(struct virtq_driver *q);
/* Asks for interrupts again, after `skip` further completions (0 = the next one; EVENT_IDX only). True: look again. */
bool virtq_driver_calls_enable(struct virtq_driver *q, uint16_t skip);

#endif
