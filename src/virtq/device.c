// SPDX-License-Identifier: MIT
/*
 * The device's end, whatever the layout: checks what is asked for, then goes to the layout's function. With one layout the
 * switch costs nothing; a second one makes it a compare that is always predicted.
 *
 * Called by the thread that owns the lane.
 */
#include "virtq/split.h"

bool virtq_size_is_valid(unsigned size)
{
	return size > 0 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0;
}

int virtq_device_init(struct virtq_device *q, const struct virtq_config *config,
		      const struct mem_map *map)
{
	if (!virtq_size_is_valid(config->size))
		return -EINVAL;
	*q = (struct virtq_device){
		.layout = config->layout,
		.size = config->size,
		.mask = config->size - 1,
		.indirect = config->indirect,
		.event_idx = config->event_idx,
		.avail_next = config->base,
		.avail_seen = config->base,
	};
	virtq_device_remap(q, &config->memory, map);
	switch (config->layout) {
	case VIRTQ_SPLIT:
		virtq_device_init_split(q);
		return 0;
	}
	return -EINVAL;
}

void virtq_device_remap(struct virtq_device *q, const struct virtq_memory *memory,
			const struct mem_map *map)
{
	q->memory = *memory;
	mem_cursor_init(&q->ring_cursor, map);
	mem_cursor_init(&q->data_cursor, map);
}

bool virtq_device_has_work(struct virtq_device *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_device_has_work_split(q);
	}
	__builtin_unreachable();
}

int virtq_device_pop(struct virtq_device *q, struct iovec *iov, unsigned iov_max,
		     struct virtq_chain *chain)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_device_pop_split(q, iov, iov_max, chain);
	}
	__builtin_unreachable();
}

void virtq_device_unpop(struct virtq_device *q)
{
	if (!q->broken)
		q->avail_next--;
}

void virtq_device_push(struct virtq_device *q, uint16_t head, uint32_t written)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_device_push_split(q, head, written);
		return;
	}
	__builtin_unreachable();
}

void virtq_device_publish(struct virtq_device *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_device_publish_split(q);
		return;
	}
	__builtin_unreachable();
}

bool virtq_device_should_call(struct virtq_device *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_device_should_call_split(q);
	}
	__builtin_unreachable();
}

void virtq_device_kicks_suppress(struct virtq_device *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_device_kicks_suppress_split(q);
		return;
	}
	__builtin_unreachable();
}

bool virtq_device_kicks_enable(struct virtq_device *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_device_kicks_enable_split(q);
	}
	__builtin_unreachable();
}
