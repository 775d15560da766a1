/* SPDX-License-Identifier: MIT */
/* What `ringlane map` was asked for. */
#ifndef RINGLANE_TOOLS_MAP_H
#define RINGLANE_TOOLS_MAP_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum map_format { MAP_NORMAL, MAP_JSON, MAP_MASKS };

struct map_options {
	unsigned format; /* enum map_format */
	/* of a daemon */
	bool all;
	uint64_t timeout_ns;
	/* of a machine */
	const char *topology, *possible, *present, *isolated, *allowed, *poll_allowed, *queue_cpus;
	uint64_t queues, poll_queues;
	bool keep_isolated;
};

/* Prints how queues spread over a machine's CPUs. 0, or -errno with a sentence. */
int map_spread(const struct map_options *options, struct error *error);

/* Prints how the queues of the device at uri lie on this machine's CPUs, and where their interrupts go. As above. */
int map_device(const char *uri, const struct map_options *options, struct error *error);

#endif
