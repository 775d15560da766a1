/* SPDX-License-Identifier: MIT */
/*
 * How things end while the loop runs: an export, a device, the server.
 *
 * An export first lets its client go and closes its socket; then its devices are taken away; then it is freed with its spec. The
 * server ends when no export is left and it was told to stop, or when there is no monitor through which another export could
 * come. Ends are noticed by flags and looked at together at the end of a turn, so that nothing is freed below its own callback.
 */
#include "daemon/server_internal.h"

#include "daemon/log.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- devices ---- */

static void device_gone(struct device_spec *spec, void *opaque)
{
	struct server *server = opaque;

	spec->gone = true;
	loop_defer(server->loop, &server->reap);
}

void server_remove_device(struct server *server, struct device_spec *spec)
{
	device_remove(spec->device, device_gone, server);
}

static struct device_spec *find_device_of(const struct server *server,
					  const struct export_spec *export)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (spec->export == export && spec->device)
		return spec;
	return NULL;
}

static void remove_devices_of(struct server *server, const struct export_spec *export)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (spec->export == export && spec->device && !device_is_leaving(spec->device))
		server_remove_device(server, spec);
}

static void reap_devices(struct server *server)
{
	struct device_spec *spec, *next;
	char path[CONFIG_ID_MAX + 32];

	for (spec = STAILQ_FIRST(&server->config->devices); spec; spec = next) {
		next = STAILQ_NEXT(spec, next);
		if (!spec->gone)
			continue;
		snprintf(path, sizeof(path), "/machine/peripheral/%s", spec->id);
		monitors_event(server->monitors, "DEVICE_DELETED",
			       json_pack("{s:s, s:s}", "device", spec->id, "path", path));
		config_remove_device(server->config, spec);
	}
}

/* ---- exports ---- */

static struct export_spec *find_spec(const struct server *server, const struct export *export)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export == export)
		return spec;
	return NULL;
}

void server_export_ended(struct export *export, void *opaque)
{
	struct server *server = opaque;

	find_spec(server, export)->ended = true;
	loop_defer(server->loop, &server->reap);
}

void server_remove_export(struct server *server, struct export_spec *spec)
{
	spec->leaving = true;
	if (spec->export && !export_is_ended(spec->export)) {
		export_shut_down(spec->export);
		return;
	}
	spec->ended = true;
	loop_defer(server->loop, &server->reap);
}

/* An export that has ended goes when its devices have gone. */
static void reap_export(struct server *server, struct export_spec *spec)
{
	remove_devices_of(server, spec);
	if (find_device_of(server, spec))
		return;
	export_free(spec->export);
	monitors_event(server->monitors, "BLOCK_EXPORT_DELETED",
		       json_pack("{s:s}", "id", spec->id));
	config_remove_export(server->config, spec);
}

static void reap_exports(struct server *server)
{
	struct export_spec *spec, *next;

	for (spec = STAILQ_FIRST(&server->config->exports); spec; spec = next) {
		next = STAILQ_NEXT(spec, next);
		if (spec->ended)
			reap_export(server, spec);
	}
}

/* ---- the server ---- */

static void signals_removed(struct loop_fd *source)
{
	struct server *server = container_of(source, struct server, signals);

	loop_stop(server->loop);
}

static void faults_removed(struct loop_fd *source)
{
	struct server *server = container_of(source, struct server, faults);

	loop_fd_remove(&server->signals, signals_removed);
}

static void monitors_closed(void *opaque)
{
	struct server *server = opaque;

	loop_fd_remove(&server->faults, faults_removed);
}

static bool may_end(const struct server *server)
{
	if (server->ending || !STAILQ_EMPTY(&server->config->exports) ||
	    !STAILQ_EMPTY(&server->config->devices) || !devices_are_idle(server->devices))
		return false;
	return server->stopping || STAILQ_EMPTY(&server->config->monitors);
}

static void reap(struct loop_defer *defer)
{
	struct server *server = container_of(defer, struct server, reap);

	reap_devices(server);
	reap_exports(server);
	if (!may_end(server))
		return;
	server->ending = true;
	monitors_close(server->monitors, monitors_closed, server);
}

void server_end_init(struct server *server)
{
	server->reap.fn = reap;
}

static void drop_unmade_devices(struct server *server)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (!spec->device)
		spec->gone = true;
}

void server_shut_down(struct server *server, const char *cause)
{
	struct export_spec *spec;

	if (server->stopping)
		return;
	server->stopping = true;
	monitors_event(server->monitors, "SHUTDOWN",
		       json_pack("{s:b, s:s}", "guest", 0, "reason", cause));
	drop_unmade_devices(server);
	STAILQ_FOREACH(spec, &server->config->exports, next)
	server_remove_export(server, spec);
	loop_defer(server->loop, &server->reap);
}

void server_end_at_once(struct server *server)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export)
		export_unlink(spec->export);
	monitors_unlink(server->monitors);
	pidfile_remove(&server->pidfile);
	log_line("ended with requests in flight");
	_exit(EXIT_FAILURE);
}
