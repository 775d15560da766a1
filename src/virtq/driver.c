// SPDX-License-Identifier: MIT
/*
 * The driver's end, whatever the layout: see device.c for how it dispatches.
 *
 * Called by the thread that owns the queue.
 */
#include "virtq/split.h"

int virtq_driver_init(struct virtq_driver *q, const struct virtq_config *config,
		      const struct virtq_driver_tables *tables)
{
	bool indirect = config->indirect && tables->tables && tables->table_len;

	if (!virtq_size_is_valid(config->size) || !tables->slots)
		return -EINVAL;
	*q = (struct virtq_driver){
		.layout = config->layout,
		.size = config->size,
		.mask = config->size - 1,
		.indirect = indirect,
		.event_idx = config->event_idx,
		.lengths_are_vague = config->lengths_are_vague,
		.memory = config->memory,
		.slots = tables->slots,
		.tables = tables->tables,
		.tables_addr = tables->tables_addr,
		.table_len = indirect ? tables->table_len : 0,
		.free_count = config->size,
	};
	for (unsigned i = 0; i < config->size; i++)
		q->slots[i] = (struct virtq_driver_slot){ .next = (uint16_t)((i + 1) & q->mask) };
	switch (config->layout) {
	case VIRTQ_SPLIT:
		virtq_driver_init_split(q, config->base);
		return 0;
	}
	return -EINVAL;
}

/* Inline, as are the functions that it calls: on the path of each request. */
inline int virtq_driver_add(struct virtq_driver *q, const struct virtq_sg *sg, unsigned out,
			    unsigned in, uint16_t *ret_head)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_add_split(q, sg, out, in, ret_head);
	}
	__builtin_unreachable();
}

void virtq_driver_publish(struct virtq_driver *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_driver_publish_split(q);
		return;
	}
	__builtin_unreachable();
}

bool virtq_driver_should_kick(struct virtq_driver *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_should_kick_split(q);
	}
	__builtin_unreachable();
}

bool virtq_driver_has_work(const struct virtq_driver *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_has_work_split(q);
	}
	__builtin_unreachable();
}

unsigned virtq_driver_peek(struct virtq_driver *q, uint16_t *ids, unsigned max)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_peek_split(q, ids, max);
	}
	__builtin_unreachable();
}

inline int virtq_driver_take(struct virtq_driver *q, uint16_t *ret_head, uint32_t *ret_written)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_take_split(q, ret_head, ret_written);
	}
	__builtin_unreachable();
}

void virtq_driver_untake(struct virtq_driver *q, uint16_t head, unsigned count)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_driver_untake_split(q, head, count);
		return;
	}
	__builtin_unreachable();
}

void virtq_driver_calls_suppress(struct virtq_driver *q)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		virtq_driver_calls_suppress_split(q);
		return;
	}
	__builtin_unreachable();
}

bool virtq_driver_calls_enable(struct virtq_driver *q, uint16_t skip)
{
	switch (q->layout) {
	case VIRTQ_SPLIT:
		return virtq_driver_calls_enable_split(q, skip);
	}
	__builtin_unreachable();
}
