/* SPDX-License-Identifier: MIT */
/*
 * The life of an export: its device, its socket, and one connection at a time. States: export_internal.h.
 *
 * A second client that connects while one is served waits in the socket's backlog; it is accepted when the first has gone and all
 * that was its is forgotten. Nothing here waits: each step of closing is taken when the one before has been answered. The last
 * step runs at the end of a loop's turn, so that nothing is freed below its own callback. Main thread.
 */
#include "daemon/export_internal.h"
#include "daemon/log.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_AGAIN_NS NS_PER_S

static void try_accept(struct export *export);

/* ---- closing ---- */

/* Not before those who drain it have let go. */
static bool must_await_quiet(struct export *export)
{
	export->quiet_awaited = export->quiet != EXPORT_RUNS;
	return export->quiet_awaited;
}

static void end(struct export *export)
{
	if (must_await_quiet(export))
		return;
	export->state = EXPORT_ENDED;
	export->config.ended(export, export->config.opaque);
}

static void listener_removed(struct loop_fd *source)
{
	struct export *export = container_of(source, struct export, listener);

	fd_close(&export->listen_fd);
	end(export);
}

static void stop_listening(struct export *export)
{
	loop_timer_clear(export->loop, &export->accept_again);
	export_unlink(export);
	if (export->listen_fd < 0)
		end(export);
	else
		loop_fd_remove(&export->listener, listener_removed);
}

static void finish_close(struct loop_defer *defer)
{
	struct export *export = container_of(defer, struct export, finish);

	if (must_await_quiet(export))
		return;
	if (export->state == EXPORT_IDLE) {
		end(export);
		return;
	}
	export_forget_rings(export);
	vhu_backend_free(export->backend);
	export->backend = NULL;
	export->state = EXPORT_IDLE;
	if (export->shutting_down || export->listen_fd < 0)
		stop_listening(export);
	else
		try_accept(export);
}

static void loops_forgotten(void *opaque)
{
	struct export *export = opaque;

	loop_defer(export->loop, &export->finish);
}

static void connection_removed(struct loop_fd *source)
{
	struct export *export = container_of(source, struct export, connection);

	if (export->type->forget_loops)
		export->type->forget_loops(export->device, loops_forgotten, export);
	else
		loops_forgotten(export);
}

static void close_when_stopped(struct export *export, int result)
{
	loop_fd_remove(&export->connection, connection_removed);
}

static void stop_lanes_and_close(struct export *export)
{
	if (!export_stop_lanes(export, close_when_stopped))
		close_when_stopped(export, 0);
}

static void close_connection(struct export *export)
{
	if (export->state != EXPORT_SERVING)
		return;
	export->state = EXPORT_CLOSING;
	if (!export->operation_out)
		stop_lanes_and_close(export);
}

/* ---- the connection ---- */

/* result: of a call that read from or wrote to the connection; 1: there is more to read, after the others had their turn. */
static void judge_connection(struct export *export, int result)
{
	if (export->state != EXPORT_SERVING || result == 0)
		return;
	if (result > 0) {
		loop_defer(export->loop, &export->read_on);
		return;
	}
	if (result != -ECONNRESET)
		log_line_limited(&export->said, "export %s: client dropped: %s", export->spec->id,
				 vhu_backend_reason(export->backend));
	close_connection(export);
}

static void read_connection(struct export *export)
{
	if (export->state == EXPORT_SERVING)
		judge_connection(export, vhu_backend_readable(export->backend));
}

static void read_on(struct loop_defer *defer)
{
	read_connection(container_of(defer, struct export, read_on));
}

static void connection_ready(struct loop_fd *source, unsigned revents)
{
	read_connection(container_of(source, struct export, connection));
}

void export_operation_done(struct export *export, int result)
{
	export->operation_out = false;
	if (export->state == EXPORT_CLOSING) {
		stop_lanes_and_close(export);
		return;
	}
	result = vhu_backend_complete(export->backend, result);
	if (result < 0)
		judge_connection(export, result);
	else
		read_connection(export);
}

/* Takes fd. */
static int serve(struct export *export, int fd, struct error *error)
{
	int result = vhu_backend_new(fd, export->type->protocol_features, export_backend_ops(),
				     export, &export->backend);

	if (result)
		return error_set(error, result, "cannot serve a client: %s",
				 strerrordesc_np(-result));
	export->state = EXPORT_SERVING;
	export->operation_out = false;
	export->connection = (struct loop_fd){
		.fd = vhu_backend_fd(export->backend),
		.events = POLLIN | POLLRDHUP,
		.ready = connection_ready,
	};
	loop_fd_add(export->loop, &export->connection);
	return 0;
}

/* The listener tells of each new connection once, so what waits is asked for whenever the export becomes idle too. */
static void try_accept(struct export *export)
{
	struct error error = { 0 };
	int fd;

	if (export->state != EXPORT_IDLE || export->shutting_down || export->listen_fd < 0)
		return;
	do {
		fd = accept4(export->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0 && errno == EAGAIN)
		return;
	if (fd < 0)
		error_set(&error, -errno, "cannot accept a client: %s", strerrordesc_np(errno));
	else if (serve(export, fd, &error) == 0)
		return;
	log_line_limited(&export->said, "export %s: %s", export->spec->id, error.text);
	loop_timer_set(export->loop, &export->accept_again, clock_ns() + ACCEPT_AGAIN_NS);
}

static void listener_ready(struct loop_fd *source, unsigned revents)
{
	try_accept(container_of(source, struct export, listener));
}

static void accept_again(struct loop_timer *timer)
{
	try_accept(container_of(timer, struct export, accept_again));
}

/* ---- the socket ---- */

static int listen_at_path(struct export *export, struct error *error)
{
	int fd = socket_file_listen(&export->socket, export->spec->path, error);

	if (fd < 0)
		return fd;
	export->listen_fd = fd;
	return 0;
}

void export_unlink(struct export *export)
{
	socket_file_unlink(&export->socket);
}

static int use_fd(struct export *export, struct error *error)
{
	const struct export_spec *spec = export->spec;
	int result = fd_set_nonblocking(spec->fd);

	fcntl(spec->fd, F_SETFD, FD_CLOEXEC);
	if (result == 0 && !spec->fd_listens)
		return serve(export, spec->fd, error);
	if (result)
		return error_set(error, result, "cannot use file descriptor %d: %s", spec->fd,
				 strerrordesc_np(-result));
	export->listen_fd = spec->fd;
	return 0;
}

int export_listen(struct export *export, struct error *error)
{
	int result = export->spec->address == EXPORT_FD ? use_fd(export, error) :
							  listen_at_path(export, error);

	if (result)
		return result;
	if (export->state == EXPORT_SERVING)
		return 0;
	export->state = EXPORT_IDLE;
	export->listener = (struct loop_fd){ .fd = export->listen_fd,
					     .events = POLLIN,
					     .ready = listener_ready };
	loop_fd_add(export->loop, &export->listener);
	return 0;
}

void export_shut_down(struct export *export)
{
	if (export->shutting_down || export->state == EXPORT_ENDED)
		return;
	export->shutting_down = true;
	export_unlink(export); /* nobody finds us any more */
	if (export->state == EXPORT_IDLE)
		stop_listening(export);
	else
		close_connection(export);
}

/* ---- the whole ---- */

static struct iothread *find_iothread(void *opaque, const char *id)
{
	return iothreads_find(opaque, id);
}

static int map_queues(struct export *export, struct error *error)
{
	const struct export_spec *spec = export->spec;
	struct iothreads *iothreads = export->config.iothreads;
	struct iothread **mapped = calloc(export->queue_count, sizeof(*mapped));
	unsigned i, fixed = export->type->fixed_queues;

	if (!mapped)
		return error_set(error, -ENOMEM, "out of memory");
	if (spec->map.count)
		vq_map_apply(&spec->map, export->queue_count - fixed, find_iothread, iothreads,
			     mapped + fixed);
	for (i = 0; i < export->queue_count; i++) {
		export->queues[i].export = export;
		if (spec->iothread && i >= fixed)
			mapped[i] = iothreads_find(iothreads, spec->iothread);
		export->queues[i].mapped = mapped[i];
		if (mapped[i])
			iothread_ref(mapped[i]);
	}
	free(mapped);
	return 0;
}

static const struct export_device
	*const types[] = { [EXPORT_BLK] = &export_blk, [EXPORT_SCSI] = &export_scsi };

int export_new(const struct export_config *config, struct export **ret_export, struct error *error)
{
	const struct export_device *type = types[config->spec->type];
	unsigned count = type->fixed_queues + (unsigned)config->spec->num_queues;
	struct export *export = calloc(1, sizeof(*export) + count * sizeof(export->queues[0]));
	int result;

	if (!export)
		return error_set(error, -ENOMEM, "out of memory");
	export->config = *config;
	export->spec = config->spec;
	export->type = type;
	export->loop = config->loop;
	export->state = EXPORT_ENDED;
	export->listen_fd = -1;
	export->accept_again.fire = accept_again;
	export->finish.fn = finish_close;
	export->read_on.fn = read_on;
	STAILQ_INIT(&export->drains);
	if (config->drained)
		export_begin_drained(export);
	export->queue_count = count;
	export->told_size = type->size ? type->size(export) : 0;
	result = map_queues(export, error);
	if (result == 0)
		result = type->make(export, error);
	if (result) {
		export_free(export);
		return result;
	}
	*ret_export = export;
	return 0;
}

void export_free(struct export *export)
{
	unsigned i;

	if (!export)
		return;
	assert(export->state == EXPORT_ENDED);
	if (export->device)
		export->type->free(export->device);
	for (i = 0; i < export->queue_count; i++)
		if (export->queues[i].mapped)
			iothread_unref(export->queues[i].mapped);
	free(export);
}

bool export_is_ended(const struct export *export)
{
	return export->state == EXPORT_ENDED;
}

bool export_is_connected(const struct export *export)
{
	return export->state == EXPORT_SERVING || export->state == EXPORT_CLOSING;
}

const struct block_node *export_node(const struct export *export)
{
	return export->config.node;
}

const char *export_id(const struct export *export)
{
	return export->spec->id;
}

/* ---- what a person or a signal asks for ---- */

void export_check_size(struct export *export)
{
	uint64_t size = export->type->size ? export->type->size(export) : 0;

	if (size == export->told_size)
		return;
	export->told_size = size;
	if (export->state == EXPORT_SERVING && vhu_backend_config_changed(export->backend))
		log_line(
			"export %s: the size is now %llu bytes, but the client has no channel to be told so",
			export->spec->id, (unsigned long long)size);
}

void export_check_memory(struct export *export)
{
	if (export->state != EXPORT_SERVING || !export->map || !mem_map_is_damaged(export->map))
		return;
	log_line_limited(&export->said,
			 "export %s: client dropped: it took away memory that it had shared",
			 export->spec->id);
	close_connection(export);
}
