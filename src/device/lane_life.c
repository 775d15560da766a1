/* SPDX-License-Identifier: MIT */
/* A lane is made and freed, and tells what it is. Main thread, but for the statistics. */
#include "device/lane_internal.h"

#include <errno.h>
#include <stdlib.h>

int lane_new(const struct lane_config *config, struct lane **ret_lane)
{
	struct lane_impl *lane = aligned_alloc(_Alignof(struct lane_impl), sizeof(*lane));

	if (!lane)
		return -ENOMEM;
	*lane = (struct lane_impl){
		.lane = { .device = config->device },
		.ops = config->ops,
		.state = LANE_STOPPED,
		.kick = { .fd = -1 },
		.poller = { .poll = lane_poll,
			    .notify_enable = lane_notify_enable,
			    .notify_suppress = lane_notify_suppress },
		.turn_end = { .fn = lane_turn_end },
		.loop = config->loop,
		.main_loop = config->main_loop,
		.index = config->index,
		.held = config->held,
		.broken = config->broken,
		.opaque = config->opaque,
	};
	*ret_lane = &lane->lane;
	return 0;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	assert(lane_impl(lane)->state == LANE_STOPPED && !lane_impl(lane)->command.busy);
	assert(!lane_impl(lane)->hold.busy);
	free(lane_impl(lane));
}

unsigned lane_index(const struct lane *lane)
{
	return ((const struct lane_impl *)lane)->index;
}

struct loop *lane_loop(const struct lane *lane)
{
	return ((const struct lane_impl *)lane)->loop;
}

void lane_get_stats(const struct lane *base, struct lane_stats *ret_stats)
{
	const struct lane_impl *lane = (const struct lane_impl *)base;

	ret_stats->requests = load_relaxed(&lane->stats.requests);
	ret_stats->batches = load_relaxed(&lane->stats.batches);
	ret_stats->calls = load_relaxed(&lane->stats.calls);
	ret_stats->kicks = load_relaxed(&lane->stats.kicks);
	ret_stats->in_flight = load_relaxed(&lane->in_flight);
}
