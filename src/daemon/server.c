/* SPDX-License-Identifier: MIT */
/*
 * The running daemon: see server.h.
 *
 * Signals are blocked in every thread and read from a signalfd by the main loop, so a handler is an ordinary function:
 *   TERM, INT   shut all exports down; the loop ends when the last one has ended. A second one ends the process at once
 *   HUP         look at the sizes of all nodes again, tell front ends
 *   USR1        print the lane map
 */
#include "daemon/server_internal.h"

#include "base/fd.h"
#include "daemon/blockdev.h"
#include "daemon/commands.h"
#include "daemon/drain.h"
#include "daemon/log.h"
#include "mem/fault.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* ---- signals ---- */

static void refresh_node(struct block_node *node, void *opaque)
{
	struct error error;

	if (block_node_refresh(node, &error))
		log_line("node %s: %s", node->name, error.text);
}

void server_check_sizes(struct server *server)
{
	struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export)
		export_check_size(spec->export);
	devices_check_sizes(server->devices);
}

static void refresh(struct server *server)
{
	block_graph_each(server->graph, refresh_node, server);
	server_check_sizes(server);
}

static void print_map(const struct server *server)
{
	const struct export_spec *spec;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export)
		export_print_map(spec->export);
}

static void take_signal(struct server *server, unsigned number)
{
	switch (number) {
	case SIGTERM:
	case SIGINT:
		if (server->stopping)
			server_end_at_once(server);
		server_shut_down(server, "host-signal");
		break;
	case SIGHUP:
		refresh(server);
		break;
	case SIGUSR1:
		print_map(server);
		break;
	}
}

static void signals_ready(struct loop_fd *source, unsigned revents)
{
	struct server *server = container_of(source, struct server, signals);
	struct signalfd_siginfo info;

	while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info))
		take_signal(server, info.ssi_signo);
}

/* A mapping of some client was damaged. */
static void faults_ready(struct loop_fd *source, unsigned revents)
{
	struct server *server = container_of(source, struct server, faults);
	struct export_spec *spec;

	event_fd_clear(server->fault_fd);
	STAILQ_FOREACH(spec, &server->config->exports, next)
	if (spec->export)
		export_check_memory(spec->export);
}

static int open_faults(struct server *server, struct error *error)
{
	int result;

	server->fault_fd = event_fd_new();
	result = server->fault_fd < 0 ? server->fault_fd : mem_fault_guard(server->fault_fd);
	if (result < 0)
		return error_set(error, result, "cannot guard shared memory: %s",
				 strerrordesc_np(-result));
	server->faults =
		(struct loop_fd){ .fd = server->fault_fd, .events = POLLIN, .ready = faults_ready };
	loop_fd_add(server->loop, &server->faults);
	return 0;
}

/* Before any thread is made: threads have the mask of the one that makes them. */
static int open_signals(struct server *server, struct error *error)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	server->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (server->signal_fd < 0)
		return error_set(error, -errno, "cannot listen for signals: %s",
				 strerrordesc_np(errno));
	server->signals = (struct loop_fd){ .fd = server->signal_fd,
					    .events = POLLIN,
					    .ready = signals_ready };
	loop_fd_add(server->loop, &server->signals);
	return 0;
}

/* ---- life ---- */

static int open_loop(struct server *server, struct error *error)
{
	int result = loop_new(&server->loop, error);

	if (result)
		return result;
	loop_adopt(server->loop);
	result = open_faults(server, error);
	return result ? result : open_signals(server, error);
}

static void devices_idle(void *opaque)
{
	struct server *server = opaque;

	loop_defer(server->loop, &server->reap);
}

static int make_monitors(struct server *server, struct error *error)
{
	struct monitors_config config = { .loop = server->loop, .opaque = server };

	config.handlers = server->handlers = commands_collect(&config.handler_count);
	if (!config.handlers)
		return error_set(error, -ENOMEM, "out of memory");
	return monitors_new(&config, &server->monitors, error);
}

static int open_nodes(struct server *server, struct error *error)
{
	struct devices_config config = { .loop = server->loop,
					 .idle = devices_idle,
					 .opaque = server };

	config.graph = server->graph = block_graph_new();
	server->devices = server->graph ? devices_new(&config) : NULL;
	if (!server->devices)
		return error_set(error, -ENOMEM, "out of memory");
	return blockdevs_open(server->config, server->graph, error);
}

/* The first one that no adapter has: in the order of their making, as long as none goes. */
static uint16_t pick_relative_port(const struct server *server)
{
	const struct export_spec *spec = STAILQ_FIRST(&server->config->exports);
	uint16_t port = 1;

	while (spec) {
		if (spec->relative_port == port) {
			port++;
			spec = STAILQ_FIRST(&server->config->exports);
		} else {
			spec = STAILQ_NEXT(spec, next);
		}
	}
	return port;
}

int server_make_export(struct server *server, struct export_spec *spec, struct error *error)
{
	struct export_config config = {
		.spec = spec,
		.loop = server->loop,
		.iothreads = server->iothreads,
		.ended = server_export_ended,
		.opaque = server,
	};

	if (spec->use.node)
		config.node = block_graph_find(server->graph, spec->use.node->name);
	else
		spec->relative_port = pick_relative_port(server);
	if (config.node && spec->writable && config.node->read_only)
		return error_set(error, -EROFS, "Cannot export read-only node '%s' as writable",
				 config.node->name);
	config.relative_port = spec->relative_port;
	config.drained = spec->joined = config.node && drain_covers(server, config.node);
	return export_new(&config, &spec->export, error);
}

static int make_exports(struct server *server, struct error *error)
{
	struct export_spec *spec;
	int result;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	{
		result = server_make_export(server, spec, error);
		if (result)
			return error_prefix(error, "%s", spec->origin);
	}
	return 0;
}

static int make_devices(struct server *server, struct error *error)
{
	struct device_spec *spec;

	STAILQ_FOREACH(spec, &server->config->devices, next)
	if (device_new(server->devices, spec, error))
		return error_prefix(error, "%s", spec->origin);
	return 0;
}

/* Last, because it is the first thing that others see. */
static int listen_all(struct server *server, struct error *error)
{
	struct monitor_spec *monitor;
	struct export_spec *spec;
	int result;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	{
		result = export_listen(spec->export, error);
		if (result)
			return error_prefix(error, "%s", spec->origin);
	}
	STAILQ_FOREACH(monitor, &server->config->monitors, next)
	{
		result = monitors_listen(server->monitors, monitor, error);
		if (result)
			return result;
	}
	return server->config->pidfile ?
		       pidfile_write(&server->pidfile, server->config->pidfile, error) :
		       0;
}

static int open_all(struct server *server, struct error *error)
{
	int result = iothreads_new(server->config, &server->iothreads, error);

	if (result == 0)
		result = open_nodes(server, error);
	if (result == 0)
		result = make_exports(server, error);
	if (result == 0)
		result = make_devices(server, error);
	return result ? result : listen_all(server, error);
}

int server_new(struct config *config, struct server **ret_server, struct error *error)
{
	struct server *server = calloc(1, sizeof(*server));
	int result;

	if (!server)
		return error_set(error, -ENOMEM, "out of memory");
	server->config = config;
	LIST_INIT(&server->drains);
	server->signal_fd = server->fault_fd = server->pidfile.fd = -1;
	server_end_init(server);
	result = open_loop(server, error);
	if (result == 0)
		result = make_monitors(server, error);
	if (result == 0) {
		result = open_all(server, error);
		if (result && server->devices) {
			server_shut_down(server, "host-signal");
			loop_run(server->loop);
		}
	}
	if (result) {
		server_free(server);
		return result;
	}
	*ret_server = server;
	return 0;
}

int server_run(struct server *server)
{
	loop_run(server->loop);
	return EXIT_SUCCESS;
}

void server_free(struct server *server)
{
	devices_free(server->devices);
	block_graph_free(server->graph);
	iothreads_free(server->iothreads);
	monitors_free(server->monitors);
	free(server->handlers);
	loop_free(server->loop);
	pidfile_remove(&server->pidfile);
	fd_close(&server->signal_fd);
	fd_close(&server->fault_fd);
	free(server);
}
