// SPDX-License-Identifier: MIT
/* See iova.h. Pure; the caller's thread. */
#include "vfio/iova.h"

#include "base/compiler.h"
#include "base/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The index of the first range that ends at or behind address. */
static unsigned rank_of(const struct iova_range *ranges, unsigned count, uint64_t address)
{
	unsigned index = 0;

	while (index < count && ranges[index].last < address)
		index++;
	return index;
}

static void insert(struct iova_range *ranges, unsigned *count, struct iova_range range)
{
	unsigned index = rank_of(ranges, *count, range.first);

	memmove(&ranges[index + 1], &ranges[index], (*count - index) * sizeof(*ranges));
	ranges[index] = range;
	(*count)++;
}

int iova_space_init(struct iova_space *space, const struct iova_range *ranges, unsigned count)
{
	*space = (struct iova_space){ .usable = calloc(count + 1, sizeof(*ranges)) };
	if (!space->usable)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		struct iova_range range = ranges[i];
		unsigned at;

		range.first = MAX(range.first, (uint64_t)IOVA_FIRST);
		if (range.first > range.last)
			continue;
		at = rank_of(space->usable, space->usable_count, range.first);
		if (at < space->usable_count && space->usable[at].first <= range.last)
			continue;
		insert(space->usable, &space->usable_count, range);
	}
	return 0;
}

void iova_space_fini(struct iova_space *space)
{
	free(space->usable);
	free(space->taken);
	*space = (struct iova_space){ 0 };
}

/* Sets *address to the next one from there on that is like modulo align. False: there is none. */
static bool align_up(uint64_t *address, uint64_t align, uint64_t like)
{
	return !add_overflows(*address, (like - *address) & (align - 1), address);
}

/* False: the usable range has no gap that is large enough. */
static bool fit(const struct iova_space *space, const struct iova_range *usable, uint64_t size,
		uint64_t align, uint64_t like, uint64_t *ret_first)
{
	unsigned next = rank_of(space->taken, space->taken_count, usable->first);
	uint64_t first = usable->first;

	for (; align_up(&first, align, like) && range_fits(first, size - 1, usable->last); next++) {
		uint64_t last = first + (size - 1);

		if (next == space->taken_count || space->taken[next].first > last) {
			*ret_first = first;
			return true;
		}
		if (add_overflows(space->taken[next].last, 1, &first))
			return false;
	}
	return false;
}

int iova_take(struct iova_space *space, uint64_t size, uint64_t align, uint64_t like,
	      uint64_t *ret_first)
{
	struct iova_range *taken;
	uint64_t first;

	if (!size)
		return -EINVAL;
	taken = reallocarray(space->taken, space->taken_count + 1, sizeof(*taken));
	if (!taken)
		return -ENOMEM;
	space->taken = taken;
	for (unsigned i = 0; i < space->usable_count; i++) {
		if (!fit(space, &space->usable[i], size, align, like, &first))
			continue;
		insert(taken, &space->taken_count,
		       (struct iova_range){ first, first + (size - 1) });
		*ret_first = first;
		return 0;
	}
	return -ENOSPC;
}

int iova_give_back(struct iova_space *space, uint64_t first)
{
	unsigned index = rank_of(space->taken, space->taken_count, first);

	if (index == space->taken_count || space->taken[index].first != first)
		return -ENOENT;
	space->taken_count--;
	memmove(&space->taken[index], &space->taken[index + 1],
		(space->taken_count - index) * sizeof(*space->taken));
	return 0;
}
