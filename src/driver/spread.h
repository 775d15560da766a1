/* SPDX-License-Identifier: MIT */
/* What is behind the public handles of <ringlane/affinity.h>. */
#ifndef RINGLANE_DRIVER_SPREAD_H
#define RINGLANE_DRIVER_SPREAD_H

#include "driver/affinity.h"

#include <ringlane/affinity.h>

struct ringlane_topology {
	struct topology view;
};

struct spread_class {
	struct affinity_spread spread;
	uint16_t *queue_of_cpu; /* cpu_count entries; NULL: no queue of this class */
};

/* A list of CPUs for each of so many queues, said by somebody. Errors as affinity_spread_explicit. */
int spread_by_lists(const struct topology *topology, const char *const *lists, unsigned count,
		    struct affinity_spread *ret_spread, struct error *error);

struct ringlane_spread {
	struct spread_class classes[2]; /* by enum ringlane_queue_class */
	unsigned cpu_count;
};

#endif
