/* SPDX-License-Identifier: MIT */
/*
 * See drain.h: an answer from each export that shows the node, one from all SCSI disks, and one for the asking itself.
 *
 * An export that comes while its node is drained has nothing in flight, and is made drained (spec->joined). It is let go when no drain
 * covers its node any more; drains that begin later count it as they do the others. device.c does the same with disks.
 */
#include "daemon/drain.h"

#include <stdlib.h>

struct drain {
	LIST_ENTRY(drain) next;
	struct server *server;
	const struct block_node *node; /* the caller's, until the end */
	unsigned out;                  /* answers */
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
	drain->server = server;
	drain->node = node;
	drain->done = done;
	drain->opaque = opaque;
	collect_exports(drain, server, node);
	drain->out = drain->count + 2;
	if (!devices_drain(server->devices, node, devices_answered, drain)) {
		free(drain);
		return false;
	}
	LIST_INSERT_HEAD(&server->drains, drain, next);
	for (i = 0; i < drain->count; i++)
		export_drain(drain->exports[i].export, &drain->exports[i].drain);
	answered(drain);
	return true;
}

bool drain_covers(const struct server *server, const struct block_node *node)
{
	const struct drain *drain;

	LIST_FOREACH(drain, &server->drains, next)
	if (block_node_lies_on(node, drain->node))
		return true;
	return false;
}

static void release_joined(struct server *server)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	{
		if (!spec->joined || drain_covers(server, export_node(spec->export)))
			continue;
		spec->joined = false;
		export_release(spec->export);
	}
}

void drain_end(struct drain *drain)
{
	unsigned i;

	LIST_REMOVE(drain, next);
	devices_release(drain->devices);
	for (i = 0; i < drain->count; i++)
		export_release(drain->exports[i].export);
	release_joined(drain->server);
	free(drain);
}
