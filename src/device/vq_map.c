/* SPDX-License-Identifier: MIT */
/*
 * iothread-vq-mapping, checked and applied.
 *
 * Theory of operation: one pass over the list in its order; for each element the rules in a fixed order; the first broken rule
 * answers. A bitmap knows which queues are taken; the rule that every queue has an IOThread is the last one. An element without
 * queues stands for round robin, and the first element decides for all.
 *
 * Main thread. Pure but for the caller's find(). An empty list is no mapping at all: the caller's case.
 */
#include "device/vq_map.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define VQ_MAP_QUEUES_MAX 65536u /* an index is 16 bits wide */

struct vq_map_check {
	const struct vq_map_list *list;
	unsigned num_queues;
	struct error *error;
	uint64_t taken[VQ_MAP_QUEUES_MAX / 64];
};

static bool vq_is_taken(const struct vq_map_check *check, unsigned vq)
{
	return check->taken[vq / 64] >> (vq % 64) & 1;
}

static void vq_take(struct vq_map_check *check, unsigned vq)
{
	check->taken[vq / 64] |= 1ull << (vq % 64);
}

static bool name_seen_before(const struct vq_map_list *list, unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (strcmp(list->entries[i].iothread, list->entries[index].iothread) == 0)
			return true;
	return false;
}

static int check_vq(struct vq_map_check *check, const char *iothread, unsigned vq)
{
	if (vq >= check->num_queues)
		return error_set(
			check->error, -EINVAL,
			"vq index %u for IOThread \"%s\" must be less than num_queues %u in "
			"iothread-vq-mapping",
			vq, iothread, check->num_queues);
	if (vq_is_taken(check, vq))
		return error_set(
			check->error, -EINVAL,
			"cannot assign vq %u to IOThread \"%s\" because it is already assigned", vq,
			iothread);
	vq_take(check, vq);
	return 0;
}

static int check_entry(struct vq_map_check *check, unsigned index, bool found)
{
	const struct vq_map_entry *first = check->list->entries, *entry = &first[index];

	if (!found)
		return error_set(check->error, -ENOENT, "IOThread \"%s\" object does not exist",
				 entry->iothread);
	if (name_seen_before(check->list, index))
		return error_set(check->error, -EINVAL,
				 "duplicate IOThread name \"%s\" in iothread-vq-mapping",
				 entry->iothread);
	if (!entry->vq_count != !first->vq_count)
		return error_set(check->error, -EINVAL,
				 "either all items in iothread-vq-mapping must have vqs or none of "
				 "them must have it");
	for (unsigned i = 0; i < entry->vq_count; i++) {
		int rc = check_vq(check, entry->iothread, entry->vqs[i]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_all_taken(struct vq_map_check *check)
{
	for (unsigned vq = 0; vq < check->num_queues; vq++)
		if (!vq_is_taken(check, vq))
			return error_set(check->error, -EINVAL,
					 "missing vq %u IOThread assignment in iothread-vq-mapping",
					 vq);
	return 0;
}

int vq_map_validate(const struct vq_map_list *list, unsigned num_queues, vq_map_find_fn *find,
		    void *opaque, struct error *error)
{
	struct vq_map_check check = { .list = list, .num_queues = num_queues, .error = error };

	assert(list->count > 0 && num_queues <= VQ_MAP_QUEUES_MAX);
	for (unsigned i = 0; i < list->count; i++) {
		bool found = find(opaque, list->entries[i].iothread) != NULL;
		int rc = check_entry(&check, i, found);

		if (rc < 0)
			return rc;
	}
	return list->entries[0].vq_count ? check_all_taken(&check) : 0;
}

static void apply_explicit(const struct vq_map_entry *entry, struct iothread *iothread,
			   struct iothread **ret_iothreads)
{
	for (unsigned i = 0; i < entry->vq_count; i++)
		ret_iothreads[entry->vqs[i]] = iothread;
}

static void apply_round_robin(unsigned index, unsigned count, unsigned num_queues,
			      struct iothread *iothread, struct iothread **ret_iothreads)
{
	for (unsigned vq = index; vq < num_queues; vq += count)
		ret_iothreads[vq] = iothread;
}

void vq_map_apply(const struct vq_map_list *list, unsigned num_queues, vq_map_find_fn *find,
		  void *opaque, struct iothread **ret_iothreads)
{
	for (unsigned i = 0; i < list->count; i++) {
		struct iothread *iothread = find(opaque, list->entries[i].iothread);

		assert(iothread);
		if (list->entries[0].vq_count)
			apply_explicit(&list->entries[i], iothread, ret_iothreads);
		else
			apply_round_robin(i, list->count, num_queues, iothread, ret_iothreads);
	}
}
