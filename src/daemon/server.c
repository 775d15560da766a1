/* SPDX-License-Identifier: MIT */
/*
 * The running daemon: see server.h.
 *
 * Signals are blocked in every thread and read from a signalfd by the main loop, so a handler is an ordinary function:
 *   TERM, INT   shut all exports down; the loop ends when the last one has ended. A second one ends the process at once
 *   HUP         look at the sizes of all nodes again, tell front ends
 *   USR1        print the lane map
 */
#include "daemon/server.h"

#include "base/fd.h"
#include "daemon/blockdev.h"
#include "daemon/export.h"
#include "daemon/iothreads.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "mem/fault.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct server {
	const struct config *config;
	struct loop *loop;
	struct iothreads *iothreads;
	struct block_graph *graph;
	struct export **exports;
	unsigned export_count;
	unsigned live; /* exports that listen or serve */
	struct pidfile pidfile;
	int signal_fd, fault_fd;
	struct loop_fd signals, faults;
	bool stopping;
};

/* ---- ends ---- */

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

static void export_ended(void *opaque)
{
	struct server *server = opaque;

	if (--server->live == 0)
		loop_fd_remove(&server->faults, faults_removed);
}

static void shut_down(struct server *server)
{
	unsigned i;

	server->stopping = true;
	for (i = 0; i < server->export_count; i++)
		export_shut_down(server->exports[i]);
}

/* Somebody asked twice: requests that do not end are not waited for. */
static void end_at_once(struct server *server)
{
	unsigned i;

	for (i = 0; i < server->export_count; i++)
		export_unlink(server->exports[i]);
	pidfile_remove(&server->pidfile);
	log_line("ended with requests in flight");
	_exit(EXIT_FAILURE);
}

/* ---- signals ---- */

static void refresh_node(struct block_node *node, void *opaque)
{
	struct error error;

	if (block_node_refresh(node, &error))
		log_line("node %s: %s", node->name, error.text);
}

static void refresh(struct server *server)
{
	unsigned i;

	block_graph_each(server->graph, refresh_node, server);
	for (i = 0; i < server->export_count; i++)
		export_check_size(server->exports[i]);
}

static void print_map(const struct server *server)
{
	unsigned i;

	for (i = 0; i < server->export_count; i++)
		export_print_map(server->exports[i]);
}

static void take_signal(struct server *server, unsigned number)
{
	switch (number) {
	case SIGTERM:
	case SIGINT:
		if (server->stopping)
			end_at_once(server);
		shut_down(server);
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
	unsigned i;

	event_fd_clear(server->fault_fd);
	for (i = 0; i < server->export_count; i++)
		export_check_memory(server->exports[i]);
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

static int open_nodes(struct server *server, struct error *error)
{
	server->graph = block_graph_new();
	if (!server->graph)
		return error_set(error, -ENOMEM, "out of memory");
	return blockdevs_open(server->config, server->graph, error);
}

static int make_exports(struct server *server, struct error *error)
{
	const struct export_spec *spec;
	unsigned count = 0;
	int result;

	STAILQ_FOREACH(spec, &server->config->exports, next)
	count++;
	server->exports = calloc(count, sizeof(*server->exports));
	if (!server->exports)
		return error_set(error, -ENOMEM, "out of memory");
	STAILQ_FOREACH(spec, &server->config->exports, next)
	{
		struct export_config config = {
			.spec = spec,
			.loop = server->loop,
			.iothreads = server->iothreads,
			.node = block_graph_find(server->graph, spec->node->name),
			.ended = export_ended,
			.opaque = server,
		};

		result = export_new(&config, &server->exports[server->export_count], error);
		if (result)
			return result;
		server->export_count++;
	}
	return 0;
}

/* Last, because it is the first thing that others see. */
static int listen_all(struct server *server, struct error *error)
{
	unsigned i;
	int result;

	for (i = 0; i < server->export_count; i++) {
		result = export_listen(server->exports[i], error);
		if (result)
			return result;
		server->live++;
	}
	return server->config->pidfile ?
		       pidfile_write(&server->pidfile, server->config->pidfile, error) :
		       0;
}

static int open_all(struct server *server, struct error *error)
{
	int result = open_loop(server, error);

	if (result == 0)
		result = iothreads_new(server->config, &server->iothreads, error);
	if (result == 0)
		result = open_nodes(server, error);
	if (result == 0)
		result = make_exports(server, error);
	return result ? result : listen_all(server, error);
}

int server_new(const struct config *config, struct server **ret_server, struct error *error)
{
	struct server *server = calloc(1, sizeof(*server));
	int result;

	if (!server)
		return error_set(error, -ENOMEM, "out of memory");
	server->config = config;
	server->signal_fd = server->fault_fd = server->pidfile.fd = -1;
	result = open_all(server, error);
	if (result) {
		if (server->live) {
			shut_down(server);
			loop_run(server->loop);
		}
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
	while (server->export_count)
		export_free(server->exports[--server->export_count]);
	free(server->exports);
	block_graph_free(server->graph);
	iothreads_free(server->iothreads);
	loop_free(server->loop);
	pidfile_remove(&server->pidfile);
	fd_close(&server->signal_fd);
	fd_close(&server->fault_fd);
	free(server);
}
