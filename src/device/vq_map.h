/* SPDX-License-Identifier: MIT */
/*
 * iothread-vq-mapping: which IOThread serves which virtqueue. First everything is validated, then applied; apply cannot fail.
 *
 * The rules, their order and their sentences are those of QEMU, because management software and people know them.
 */
#ifndef RINGLANE_DEVICE_VQ_MAP_H
#define RINGLANE_DEVICE_VQ_MAP_H

#include "base/error.h"

#include <stdint.h>

struct iothread;

struct vq_map_entry {
	const char *iothread; /* id */
	const uint16_t *vqs;
	unsigned vq_count; /* 0 = none given: round robin */
};

struct vq_map_list {
	const struct vq_map_entry *entries;
	unsigned count;
};

/* id -> IOThread, or NULL. */
typedef struct iothread *vq_map_find_fn(void *opaque, const char *id);

/* 0 or -EINVAL (-ENOENT for an unknown IOThread) with the sentence of the first rule that is broken. */
int vq_map_validate(const struct vq_map_list *list, unsigned num_queues, vq_map_find_fn *find,
		    void *opaque, struct error *error);
/* Fills ret_iothreads[num_queues]. The list was validated with the same arguments. */
void vq_map_apply(const struct vq_map_list *list, unsigned num_queues, vq_map_find_fn *find,
		  void *opaque, struct iothread **ret_iothreads);

#endif
