// SPDX-License-Identifier: MIT
/*
 * See struct vfio_hub. Who listens gets more wake-ups than it needs, which are harmless; one that needs it gets each.
 *
 * The thread sleeps in poll until a vector's event fd is readable, and ends when stop_fd is.
 */
#include "base/fd.h"
#include "driver/transport_vfio.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void pass_on(const struct vfio_hub *hub, unsigned vector)
{
	event_fd_clear(hub->vector_fds[vector]);
	for (unsigned i = 0; i < hub->listener_count; i++)
		if (hub->listeners[i].vector == vector && hub->listeners[i].fd >= 0)
			event_fd_signal(hub->listeners[i].fd);
}

static void *run(void *argument)
{
	struct vfio_hub *hub = argument;
	unsigned count = hub->vector_count;
	struct pollfd fds[VFIO_QUEUES_MAX + 2];

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = hub->vector_fds[i], .events = POLLIN };
	fds[count] = (struct pollfd){ .fd = hub->stop_fd, .events = POLLIN };
	for (;;) {
		if (poll(fds, count + 1, -1) < 0)
			continue;
		if (fds[count].revents)
			return NULL;
		for (unsigned i = 0; i < count; i++)
			if (fds[i].revents)
				pass_on(hub, i);
	}
}

static void hub_free(struct vfio_hub *hub)
{
	for (unsigned i = 0; hub->vector_fds && i < hub->vector_count; i++)
		fd_close(&hub->vector_fds[i]);
	if (hub->vector_count)
		fd_close(&hub->stop_fd);
	free(hub->vector_fds);
	free(hub->listeners);
	*hub = (struct vfio_hub){ 0 };
}

/* Signals are for the threads of the program. */
static int thread_start(struct vfio_hub *hub)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&hub->thread, NULL, run, hub);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -ret;
}

static int hub_make(struct vfio_hub *hub, const struct vfio_listener *listeners)
{
	int worst = 0;

	hub->vector_fds = calloc(hub->vector_count, sizeof(int));
	hub->listeners = calloc(hub->listener_count, sizeof(*listeners));
	for (unsigned i = 0; hub->vector_fds && i < hub->vector_count; i++)
		worst = MIN(worst, hub->vector_fds[i] = event_fd_new());
	hub->stop_fd = event_fd_new();
	if (!hub->vector_fds || !hub->listeners)
		return -ENOMEM;
	memcpy(hub->listeners, listeners, hub->listener_count * sizeof(*listeners));
	worst = MIN(worst, hub->stop_fd);
	return worst < 0 ? worst : thread_start(hub);
}

int vfio_hub_start(struct vfio_hub *hub, unsigned vectors, const struct vfio_listener *listeners,
		   unsigned count, struct error *error)
{
	int ret;

	assert(vectors && vectors <= VFIO_QUEUES_MAX + 1);
	*hub = (struct vfio_hub){ .vector_count = vectors, .listener_count = count };
	ret = hub_make(hub, listeners);
	if (ret == 0)
		return 0;
	hub_free(hub);
	return error_set(error, ret, "a thread for shared interrupts: %s", strerrordesc_np(-ret));
}

void vfio_hub_stop(struct vfio_hub *hub)
{
	if (!hub->vector_count)
		return;
	event_fd_signal(hub->stop_fd);
	pthread_join(hub->thread, NULL);
	hub_free(hub);
}
