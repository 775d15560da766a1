/* SPDX-License-Identifier: MIT */
/* `--blockdev`: the drivers' keys as data, and the opening of what they describe. Main thread. */
#ifndef RINGLANE_DAEMON_BLOCKDEV_H
#define RINGLANE_DAEMON_BLOCKDEV_H

#include "block/block.h"
#include "daemon/config.h"

struct blockdev_driver {
	struct schema schema;
	bool has_child; /* takes a node under `file` */
	bool is_window; /* shows a part of its child */
	/* Checks that need more than the table; may be NULL. */
	int (*check)(struct blockdev_spec *spec, struct error *error);
	int (*open)(struct block_graph *graph, const struct blockdev_spec *spec,
		    struct block_node **ret_node, struct error *error);
};

extern const struct blockdev_driver blockdev_drivers[];
extern const unsigned blockdev_driver_count;

/* Opens all nodes, children first. Those that no export writes are opened read-only. */
int blockdevs_open(const struct config *config, struct block_graph *graph, struct error *error);

#endif
