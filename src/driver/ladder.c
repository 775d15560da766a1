// SPDX-License-Identifier: MIT
/* See ladder.h. A table of what each rung is waited for, and the walk over it. */
#include "driver/ladder.h"

#include "base/atomic.h"

/* In steps. A notification that was lost shows at once; management functions are waited for where they are sent. */
static const uint8_t steps_of[LADDER_RUNGS] = {
	[LADDER_POLL] = 1,         [LADDER_KICK] = 2,        [LADDER_ABORT] = 1,
	[LADDER_LUN_RESET] = 1,    [LADDER_NEXUS_RESET] = 1, [LADDER_QUEUE_RESET] = 1,
	[LADDER_DEVICE_RESET] = 1, [LADDER_RECONNECT] = 1,
};

static enum ladder_rung rung_above(const struct ladder_config *config, enum ladder_rung rung)
{
	do {
		rung++;
	} while (rung < LADDER_FAIL && !(config->rungs >> rung & 1));
	return rung;
}

enum ladder_rung ladder_step(struct ladder *ladder, const struct ladder_config *config, bool late,
			     uint64_t now_ns)
{
	if (!late) {
		ladder->rung = LADDER_GROUND;
		return LADDER_GROUND;
	}
	if (ladder->rung == LADDER_FAIL)
		return LADDER_GROUND;
	if (ladder->rung != LADDER_GROUND && now_ns < ladder->until_ns)
		return LADDER_GROUND;
	ladder->rung = rung_above(config, ladder->rung);
	ladder->until_ns = now_ns + steps_of[ladder->rung] * config->step_ns;
	store_relaxed(&ladder->taken[ladder->rung], ladder->taken[ladder->rung] + 1);
	return ladder->rung;
}
