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

	config_remove_device(server->config, spec);
	loop_defer(server->loop, &server->reap);
}

void server_remove_device(struct server *server, struct device_spec *spec)
{
	device_remove(spec->device, device_gone, server);
}

static struct device_spec *find_device_of(const struct server *server,
					  const struct export_spec *export, bool leaving)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (spec->export == export && spec->device && device_is_leaving(spec->device) == leaving)
		return spec;
	return NULL;
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
	struct device_spec *device;

	while ((device = find_device_of(server, spec, false)))
		server_remove_device(server, device);
	if (find_device_of(server, spec, true))
		return;
	export_free(spec->export);
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

static void reap(struct loop_defer *defer)
{
	struct server *server = container_of(defer, struct server, reap);

	reap_exports(server);
	if (server->ending || !STAILQ_EMPTY(&server->config->exports) ||
	    !devices_are_idle(server->devices))
		return;
	server->ending = true;
	loop_fd_remove(&server->faults, faults_removed);
}

void server_end_init(struct server *server)
{
	server->reap.fn = reap;
}

void server_shut_down(struct server *server)
{
	struct export_spec *spec;

	if (server->stopping)
		return;
	server->stopping = true;
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
	pidfile_remove(&server->pidfile);
	log_line("ended with requests in flight");
	_exit(EXIT_FAILURE);
}
