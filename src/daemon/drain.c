/* SPDX-License-Identifier: MIT */
/* See drain.h: an answer from each export that shows the node, one from all SCSI disks, and one for the asking itself. */
#include "daemon/drain.h"

#include <stdlib.h>

struct drain {
	unsigned out; /* answers */
	void (*done)(struct drain *drain, void *opaque);
	void *opaque;
	struct devices_drain *devices;
	unsigned count;
	struct drained_export {
		struct export *export;
		struct export_drain drain;
	} exports[];
};

static void answered(void *opaque)
{
	struct drain *drain = opaque;

	if (--drain->out == 0)
		drain->done(drain, drain->opaque);
}

static void devices_answered(struct devices_drain *devices, void *opaque)
{
	struct drain *drain = opaque;

	drain->devices = devices;
	answered(drain);
}

static unsigned count_exports(const struct server *server)
{
	const struct export_spec *spec;
	unsigned count = 0;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	count++;
	return count;
}

static bool concerns(const struct export_spec *spec, const struct block_node *node)
{
	return spec->export && !export_is_ended(spec->export) && export_node(spec->export) &&
	       block_node_lies_on(export_node(spec->export), node);
}

static void collect_exports(struct drain *drain, const struct server *server,
			    const struct block_node *node)
{
	const struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (concerns(spec, node))
		drain->exports[drain->count++] =
			(struct drained_export){ spec->export,
						 { .done = answered, .opaque = drain } };
}

bool drain_begin(struct server *server, const struct block_node *node,
		 void (*done)(struct drain *drain, void *opaque), void *opaque)
{
	struct drain *drain =
		calloc(1, sizeof(*drain) + count_exports(server) * sizeof(drain->exports[0]));
	unsigned i;

	if (!drain)
		return false;
	drain->done = done;
	drain->opaque = opaque;
	collect_exports(drain, server, node);
	drain->out = drain->count + 2;
	if (!devices_drain(server->devices, node, devices_answered, drain)) {
		free(drain);
		return false;
	}
	for (i = 0; i < drain->count; i++)
		export_drain(drain->exports[i].export, &drain->exports[i].drain);
	answered(drain);
	return true;
}

void drain_end(struct drain *drain)
{
	unsigned i;

	devices_release(drain->devices);
	for (i = 0; i < drain->count; i++)
		export_release(drain->exports[i].export);
	free(drain);
}
