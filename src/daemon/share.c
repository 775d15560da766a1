/* SPDX-License-Identifier: MIT */
/*
 * Who may use a node together with whom: any number that only read it, or one that writes it. The rule follows nodes down to what
 * they lie on; windows (raw with offset and size) of one node that do not overlap do not disturb each other.
 *
 * Devices that share (share-rw=on) may show one node on several adapters: they are one disk, and its reservations hold between them.
 *
 * Pure. Main thread.
 */
#include "daemon/blockdev.h"
#include "daemon/config.h"

#include <errno.h>
#include <string.h>

/* What is used of a node: a range of its bytes. */
struct claim {
	const struct blockdev_spec *node;
	uint64_t offset, length;
};

/* Moves the claim to the node below; false when there is none. */
static bool claim_descend(struct claim *claim)
{
	const struct blockdev_spec *node = claim->node;

	if (!node->child)
		return false;
	if (node->driver->is_window) {
		uint64_t size = node->has_size ? node->values.size : UINT64_MAX;
		uint64_t left = size > claim->offset ? size - claim->offset : 0;

		claim->length = MIN(claim->length, left);
		claim->offset +=
			node->values
				.offset; /* past the end of any disk it wraps, and is refused when opened */
	}
	claim->node = node->child;
	return true;
}

static bool claims_overlap(const struct claim *a, const struct claim *b)
{
	const struct claim *low = a->offset <= b->offset ? a : b, *high = low == a ? b : a;

	return high->offset - low->offset < low->length;
}

/* The node where two meet, or NULL. */
static const struct blockdev_spec *find_meeting(const struct node_use *a, const struct node_use *b)
{
	struct claim of_a = { a->node, 0, UINT64_MAX };

	do {
		struct claim of_b = { b->node, 0, UINT64_MAX };

		do {
			if (of_a.node == of_b.node && claims_overlap(&of_a, &of_b))
				return of_a.node;
		} while (claim_descend(&of_b));
	} while (claim_descend(&of_a));
	return NULL;
}

/* Both are devices: exports never say that they share. */
static bool share_a_disk(const struct node_use *a, const struct node_use *b)
{
	return a->shares && b->shares && a->node == b->node;
}

static int refuse(const struct node_use *use, const struct node_use *other,
		  const struct blockdev_spec *node, struct error *error)
{
	bool devices = !strcmp(use->kind, "device") && !strcmp(other->kind, "device");

	return error_set(error, -EPERM, "node '%s' is used by %s '%s' already, and only %s",
			 node->name, other->kind, other->id,
			 devices ? "devices of the same node with share-rw=on can share one" :
				   "exports that do not write can share one");
}

int node_use_add(struct config *config, struct node_use *use, struct error *error)
{
	const struct node_use *other;
	const struct blockdev_spec *node;

	STAILQ_FOREACH(other, &config->uses, next)
	{
		if ((!other->writes && !use->writes) || share_a_disk(use, other))
			continue;
		node = find_meeting(other, use);
		if (node)
			return refuse(use, other, node, error);
	}
	STAILQ_INSERT_TAIL(&config->uses, use, next);
	return 0;
}

void node_use_remove(struct config *config, struct node_use *use)
{
	if (use->node)
		STAILQ_REMOVE(&config->uses, use, node_use, next);
	use->node = NULL;
}

const struct blockdev_spec *blockdev_spec_read_only(const struct blockdev_spec *spec)
{
	for (; spec; spec = spec->child)
		if (spec->values.read_only)
			return spec;
	return NULL;
}

void blockdev_spec_mark_written(struct blockdev_spec *spec)
{
	for (; spec; spec = spec->child)
		spec->written = true;
}
