/* SPDX-License-Identifier: MIT */
/*
 * Quiet times of an export: its lanes are held, and have nothing in flight, while somebody needs it so.
 *
 * Theory of operation. enum export_quiet says where it is; quiet_step() makes the next move whenever something has changed. Lanes that
 * are made meanwhile are made held. What belongs to the connection is not freed, and the export does not end, before its lanes have
 * been let go: whoever drains need not care whether the client or the export goes. Other exports never notice. Main thread.
 */
#include "daemon/export_internal.h"

static void quiet_step(struct export *export);

static void lane_answered(void *opaque)
{
	struct export *export = opaque;

	assert(export->quiet_out > 0);
	export->quiet_out--;
	quiet_step(export);
}

typedef void lane_hold_fn(struct lane *lane, void (*done)(void *opaque), void *opaque);

static void tell_lanes(struct export *export, enum export_quiet quiet, lane_hold_fn *tell)
{
	unsigned i;

	export->quiet = quiet;
	for (i = 0; i < export->queue_count; i++) {
		if (!export->queues[i].lane)
			continue;
		export->quiet_out++;
		tell(export->queues[i].lane, lane_answered, export);
	}
}

/* done may release. */
static void answer_drains(struct export *export)
{
	struct export_drain *drain;

	while ((drain = STAILQ_FIRST(&export->drains))) {
		STAILQ_REMOVE_HEAD(&export->drains, next);
		export->drained++;
		drain->done(drain->opaque);
	}
}

/* True: it has made a move. */
static bool quiet_move(struct export *export)
{
	if (export->quiet_out > 0)
		return false;
	switch (export->quiet) {
	case EXPORT_RUNS:
		if (STAILQ_EMPTY(&export->drains))
			return false;
		tell_lanes(export, EXPORT_HOLDING, lane_hold);
		return true;
	case EXPORT_HOLDING:
		export->quiet = EXPORT_QUIET;
		return true;
	case EXPORT_QUIET:
		answer_drains(export);
		if (export->drained > 0)
			return false;
		tell_lanes(export, EXPORT_RELEASING, lane_release);
		return true;
	case EXPORT_RELEASING:
		export->quiet = EXPORT_RUNS;
		return true;
	}
	__builtin_unreachable();
}

static void quiet_step(struct export *export)
{
	if (export->quiet_stepping)
		return;
	export->quiet_stepping = true;
	while (quiet_move(export))
		;
	export->quiet_stepping = false;
	if (export->quiet == EXPORT_RUNS && export->quiet_awaited)
		loop_defer(export->loop, &export->finish);
}

void export_begin_drained(struct export *export)
{
	assert(export->quiet == EXPORT_RUNS && export->state == EXPORT_ENDED);
	export->quiet = EXPORT_QUIET;
	export->drained = 1;
}

bool export_lanes_are_held(const struct export *export)
{
	return export->quiet == EXPORT_HOLDING || export->quiet == EXPORT_QUIET;
}

void export_drain(struct export *export, struct export_drain *drain)
{
	assert(export->state != EXPORT_ENDED);
	STAILQ_INSERT_TAIL(&export->drains, drain, next);
	quiet_step(export);
}

void export_release(struct export *export)
{
	assert(export->drained > 0);
	export->drained--;
	quiet_step(export);
}
