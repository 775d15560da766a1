/* SPDX-License-Identifier: MIT */
/*
 * The split ring (virtio 1.3, 2.7), shared by its two ends: reading and writing single fields, and the functions that
 * device.c and driver.c dispatch to. Private to this folder.
 *
 * Everything here is one load or one store: what the peer can change is never read twice.
 */
#ifndef RINGLANE_VIRTQ_SPLIT_H
#define RINGLANE_VIRTQ_SPLIT_H

#include "base/atomic.h"
#include "virtq/virtq.h"

#include <errno.h>
#include <linux/virtio_ring.h>

static_assert(sizeof(struct virtq_desc) == 16, "virtio 1.3, 2.7.5");
static_assert(sizeof(struct virtq_used_elem) == 8, "virtio 1.3, 2.7.8");

static inline uint16_t ring_load16(const struct le16 *field)
{
	return le16toh(load_relaxed(&field->raw));
}

static inline void ring_store16(struct le16 *field, uint16_t value)
{
	store_relaxed(&field->raw, htole16(value));
}

/* What the other end wrote before it published this index is seen. Pairs with ring_publish16 of the other end. */
static inline uint16_t ring_acquire16(const struct le16 *field)
{
	return le16toh(load_acquire(&field->raw));
}

static inline void ring_publish16(struct le16 *field, uint16_t value)
{
	store_release(&field->raw, htole16(value));
}

/* A descriptor in host order, out of the peer's reach. */
struct desc_copy {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static inline struct desc_copy desc_unpack(uint64_t low, uint64_t high)
{
	low = le64toh(low);
	high = le64toh(high);
	return (struct desc_copy){ .addr = low,
				   .len = (uint32_t)high,
				   .flags = (uint16_t)(high >> 32),
				   .next = (uint16_t)(high >> 48) };
}

/* desc is aligned to 8 bytes at least. */
static inline struct desc_copy desc_load(const struct virtq_desc *desc)
{
	const uint64_t *words = (const uint64_t *)desc;

	return desc_unpack(load_relaxed(&words[0]), load_relaxed(&words[1]));
}

/* The second half of a descriptor. */
static inline uint64_t desc_high(uint32_t len, uint16_t flags, uint16_t next)
{
	return (uint64_t)next << 48 | (uint64_t)flags << 32 | len;
}

static inline void desc_store_high(struct virtq_desc *desc, uint64_t high)
{
	store_relaxed((uint64_t *)desc + 1, htole64(high));
}

static inline void desc_store(struct virtq_desc *desc, uint64_t addr, uint64_t high)
{
	store_relaxed((uint64_t *)desc, htole64(addr));
	desc_store_high(desc, high);
}

/* virtio 1.3, 2.7.10: where the driver's end says at which used entry it wants an interrupt. */
static inline struct le16 *split_used_event(const struct virtq_memory *memory, uint16_t size)
{
	return &memory->avail->ring[size];
}

/* virtio 1.3, 2.7.10: where the device's end says at which avail entry it wants a kick. */
static inline struct le16 *split_avail_event(const struct virtq_memory *memory, uint16_t size)
{
	return (struct le16 *)&memory->used->ring[size];
}

void virtq_device_init_split(struct virtq_device *q);
bool virtq_device_has_work_split(const struct virtq_device *q);
int virtq_device_pop_split(struct virtq_device *q, struct iovec *iov, unsigned iov_max,
			   struct virtq_chain *chain);
void virtq_device_push_split(struct virtq_device *q, uint16_t head, uint32_t written);
void virtq_device_publish_split(struct virtq_device *q);
bool virtq_device_should_call_split(struct virtq_device *q);
void virtq_device_kicks_suppress_split(struct virtq_device *q);
bool virtq_device_kicks_enable_split(struct virtq_device *q);

void virtq_driver_init_split(struct virtq_driver *q, uint16_t base);
int virtq_driver_add_split(struct virtq_driver *q, const struct virtq_sg *sg, unsigned out,
			   unsigned in, uint16_t *ret_head);
void virtq_driver_publish_split(struct virtq_driver *q);
bool virtq_driver_should_kick_split(struct virtq_driver *q);
bool virtq_driver_has_work_split(const struct virtq_driver *q);
int virtq_driver_take_split(struct virtq_driver *q, uint16_t *ret_head, uint32_t *ret_written);
unsigned virtq_driver_peek_split(struct virtq_driver *q, uint16_t *ids, unsigned max);
void virtq_driver_untake_split(struct virtq_driver *q, uint16_t head, unsigned count);
void virtq_driver_calls_suppress_split(struct virtq_driver *q);
bool virtq_driver_calls_enable_split(struct virtq_driver *q, uint16_t skip);

#endif
