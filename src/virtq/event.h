/* SPDX-License-Identifier: MIT */
/* Index arithmetic: the one place where wrapping ring indices are compared. Pure. */
#ifndef RINGLANE_VIRTQ_EVENT_H
#define RINGLANE_VIRTQ_EVENT_H

#include <stdbool.h>
#include <stdint.h>

/* Entries from `from` up to `to`, both free-running 16-bit indices. */
static inline uint16_t ring_distance(uint16_t from, uint16_t to)
{
	return (uint16_t)(to - from);
}

/*
 * virtio 1.3, 2.7.7.2: the index moved from old_index to new_index; did it pass event, that is, was the entry at
 * position `event` among the new ones?
 */
static inline bool ring_event_passed(uint16_t event, uint16_t old_index, uint16_t new_index)
{
	return ring_distance(event, new_index) - 1u < ring_distance(old_index, new_index);
}

/*
 * A mark in the past (the index at the last decision) while the index moves from old_index to new_index: it would be met
 * again after 65536 entries, so one that old stays as far behind as an index can.
 */
static inline uint16_t ring_mark_keep(uint16_t mark, uint16_t old_index, uint16_t new_index)
{
	if (ring_distance(mark, new_index) < ring_distance(mark, old_index))
		return (uint16_t)(new_index + 1);
	return mark;
}

#endif
