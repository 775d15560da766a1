/* SPDX-License-Identifier: MIT */
/*
 * Monitors: see monitor.h.
 *
 * A client has one piece of work, done at the end of a turn when its socket is ready or its session has something to say: send
 * what can be sent, then read as long as the session wants input, then send again. Readiness is told by edges, so both go on until
 * the socket says that it would wait; a client that sends without end lets others have their turn.
 */
#include "daemon/monitor.h"

#include "base/fd.h"
#include "daemon/log.h"
#include "daemon/socket_file.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_SIZE 4096
#define READS_MAX 16 /* in one turn */

struct listener {
	STAILQ_ENTRY(listener) next;
	struct monitors *monitors;
	struct socket_file file;
	struct loop_fd source;
	int fd;
	bool pretty;
};

struct client {
	LIST_ENTRY(client) next;
	struct monitors *monitors;
	struct qmp_session *session;
	struct loop_fd source;
	struct loop_defer work;
	int fd;
};

struct monitors {
	struct loop *loop;
	struct qmp_server *server;
	STAILQ_HEAD(, listener) listeners;
	LIST_HEAD(, client) clients;
	unsigned client_count;
	unsigned sources; /* with the loop */
	bool closing;
	void (*done)(void *opaque);
	void *opaque;
	struct log_limit said;
};

static void accept_all(struct monitors *monitors);

/* ---- one client ---- */

static void source_gone(struct monitors *monitors)
{
	if (--monitors->sources == 0 && monitors->closing)
		monitors->done(monitors->opaque);
}

static void client_removed(struct loop_fd *source)
{
	struct client *client = container_of(source, struct client, source);
	struct monitors *monitors = client->monitors;

	fd_close(&client->fd);
	free(client);
	source_gone(monitors);
}

static void drop_client(struct client *client)
{
	struct monitors *monitors = client->monitors;

	LIST_REMOVE(client, next);
	monitors->client_count--;
	loop_defer_cancel(monitors->loop, &client->work);
	qmp_session_close(client->session);
	loop_fd_remove(&client->source, client_removed);
	if (!monitors->closing)
		accept_all(monitors);
}

/* 0: all is sent, or the socket is full. -errno: the client has gone. */
static int send_output(struct client *client)
{
	const void *bytes;
	ssize_t sent;
	size_t size;

	for (;;) {
		bytes = qmp_session_output(client->session, &size);
		if (size == 0)
			return 0;
		sent = send(client->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		qmp_session_sent(client->session, (size_t)sent);
	}
}

/* 1: there may be more. 0: not now. -errno: the client has gone, or is to go. */
static int read_input(struct client *client)
{
	char bytes[READ_SIZE];
	ssize_t got;

	if (!qmp_session_wants_input(client->session))
		return 0;
	got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got < 0)
		return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;
	if (got == 0)
		return -ECONNRESET;
	if (qmp_session_feed(client->session, bytes, (size_t)got))
		return -EMSGSIZE;
	return 1;
}

static void work(struct loop_defer *defer)
{
	struct client *client = container_of(defer, struct client, work);
	int result = send_output(client);
	unsigned reads;

	for (reads = 0; result == 0 && reads < READS_MAX; reads++) {
		int more = read_input(client);

		result = send_output(client);
		if (more <= 0) {
			if (more < 0 || result < 0)
				drop_client(client);
			return;
		}
	}
	if (result < 0)
		drop_client(client);
	else
		loop_defer(client->monitors->loop, &client->work);
}

static void client_ready(struct loop_fd *source, unsigned revents)
{
	struct client *client = container_of(source, struct client, source);

	loop_defer(client->monitors->loop, &client->work);
}

static void has_output(struct qmp_session *session, void *opaque)
{
	struct client *client = opaque;

	loop_defer(client->monitors->loop, &client->work);
}

/* Takes fd. */
static int serve(struct listener *listener, int fd)
{
	struct monitors *monitors = listener->monitors;
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		fd_close(&fd);
		return -ENOMEM;
	}
	client->monitors = monitors;
	client->fd = fd;
	client->work.fn = work;
	if (qmp_session_new(monitors->server, client, &client->session)) {
		fd_close(&fd);
		free(client);
		return -ENOMEM;
	}
	if (listener->pretty)
		qmp_session_set_pretty(client->session);
	client->source = (struct loop_fd){ .fd = fd,
					   .events = POLLIN | POLLOUT | POLLRDHUP,
					   .ready = client_ready };
	loop_fd_add(monitors->loop, &client->source);
	loop_defer(monitors->loop, &client->work); /* the greeting */
	LIST_INSERT_HEAD(&monitors->clients, client, next);
	monitors->client_count++;
	monitors->sources++;
	return 0;
}

/* ---- listening ---- */

static bool accept_one(struct listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int result = fd < 0 ? -errno : serve(listener, fd);

	if (result == -EAGAIN)
		return false;
	if (result && result != -EINTR && result != -ECONNABORTED) {
		log_line_limited(&listener->monitors->said, "monitor: cannot accept a client: %s",
				 strerrordesc_np(-result));
		return false; /* asked again when a client goes or another one comes */
	}
	return true;
}

static void accept_all(struct monitors *monitors)
{
	struct listener *listener;

	STAILQ_FOREACH(listener, &monitors->listeners, next)
	while (monitors->client_count < MONITOR_CLIENTS_MAX && accept_one(listener))
		;
}

static void listener_ready(struct loop_fd *source, unsigned revents)
{
	struct monitors *monitors = container_of(source, struct listener, source)->monitors;

	if (!monitors->closing)
		accept_all(monitors);
}

int monitors_listen(struct monitors *monitors, const struct monitor_spec *spec, struct error *error)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int fd;

	if (!listener)
		return error_set(error, -ENOMEM, "out of memory");
	fd = socket_file_listen(&listener->file, spec->chardev->path, error);
	if (fd < 0) {
		free(listener);
		return error_prefix(error, "%s", spec->chardev->origin);
	}
	listener->monitors = monitors;
	listener->fd = fd;
	listener->pretty = spec->pretty;
	listener->source = (struct loop_fd){ .fd = fd, .events = POLLIN, .ready = listener_ready };
	loop_fd_add(monitors->loop, &listener->source);
	monitors->sources++;
	STAILQ_INSERT_TAIL(&monitors->listeners, listener, next);
	return 0;
}

/* ---- all ---- */

int monitors_new(const struct monitors_config *config, struct monitors **ret_monitors,
		 struct error *error)
{
	struct qmp_server_config server = { .handlers = config->handlers,
					    .handler_count = config->handler_count,
					    .opaque = config->opaque,
					    .output = has_output };
	struct monitors *monitors = calloc(1, sizeof(*monitors));

	if (!monitors || qmp_server_new(&server, &monitors->server)) {
		free(monitors);
		return error_set(error, -ENOMEM, "out of memory");
	}
	monitors->loop = config->loop;
	STAILQ_INIT(&monitors->listeners);
	LIST_INIT(&monitors->clients);
	*ret_monitors = monitors;
	return 0;
}

void monitors_event(struct monitors *monitors, const char *name, json_t *data)
{
	qmp_event(monitors->server, name, data);
}

void monitors_unlink(struct monitors *monitors)
{
	struct listener *listener;

	STAILQ_FOREACH(listener, &monitors->listeners, next)
	socket_file_unlink(&listener->file);
}

static void listener_removed(struct loop_fd *source)
{
	source_gone(container_of(source, struct listener, source)->monitors);
}

void monitors_close(struct monitors *monitors, void (*done)(void *opaque), void *opaque)
{
	struct client *client, *next;
	struct listener *listener;

	monitors->done = done;
	monitors->opaque = opaque;
	monitors_unlink(monitors);
	monitors->sources++; /* this function */
	monitors->closing = true;
	for (client = LIST_FIRST(&monitors->clients); client; client = next) {
		next = LIST_NEXT(client, next);
		send_output(client);
		drop_client(client);
	}
	STAILQ_FOREACH(listener, &monitors->listeners, next)
	loop_fd_remove(&listener->source, listener_removed);
	source_gone(monitors);
}

void monitors_free(struct monitors *monitors)
{
	struct listener *listener;

	if (!monitors)
		return;
	while ((listener = STAILQ_FIRST(&monitors->listeners))) {
		STAILQ_REMOVE_HEAD(&monitors->listeners, next);
		fd_close(&listener->fd);
		free(listener);
	}
	qmp_server_free(monitors->server);
	free(monitors);
}
