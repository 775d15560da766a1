// SPDX-License-Identifier: MIT
/*
 * See keeper.h: the thread and what it sleeps on. System calls: epoll_create1, epoll_ctl, epoll_wait, read (control fd).
 */
#include "driver/keeper.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS_MAX 8
#define CPUS_TICK_MS 5
#define INTERRUPTS_MS 5000 /* between two looks at where they go */

static int watch(const struct keeper *keeper, int fd, uint32_t events, void *what)
{
	struct epoll_event event = { .events = events, .data.ptr = what };

	if (fd < 0)
		return 0;
	return epoll_ctl(keeper->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The fd of a connection that is over has left the set by being closed. */
static int watch_device(struct keeper *keeper)
{
	const struct transport *transport = keeper->managed->device->transport;

	if (!keeper->managed->options.reconnect_ms)
		return 0;
	return watch(keeper, transport->ops->gone_fd(transport),
		     (uint32_t)transport->gone_events | EPOLLET, &keeper->given_up);
}

void keeper_find_again(struct keeper *keeper)
{
	if (keeper->given_up)
		return;
	if (!managed_reconnect(keeper) || watch_device(keeper) < 0)
		keeper->given_up = true;
}

/* A ring that is broken needs a device that has forgotten it. */
static void device_mend(struct keeper *keeper)
{
	store_relaxed(&keeper->broken, false);
	if (keeper->given_up || managed_reset(keeper))
		return;
	if (keeper->managed->options.reconnect_ms)
		keeper_find_again(keeper);
}

static void event_see(struct keeper *keeper, const struct epoll_event *event)
{
	if (event->data.ptr == &keeper->control_fd)
		event_fd_clear(keeper->control_fd);
	else if (event->data.ptr == &keeper->hotplug)
		managed_cpus_read(keeper);
	else
		keeper_find_again(keeper);
}

void keeper_doubt_interrupts(struct keeper *keeper)
{
	keeper->interrupts_ns = 0;
}

/* irqbalance does as it likes, a reset gives interrupts other numbers, and the kernel moves those of a CPU that goes. */
static void interrupts_look(struct keeper *keeper, uint64_t now_ns)
{
	if (!keeper->has_interrupts || now_ns < keeper->interrupts_ns)
		return;
	ringlane_interrupts_verify(keeper->managed->device, NULL);
	keeper->interrupts_ns = now_ns + INTERRUPTS_MS * NS_PER_MS;
}

static int sleep_ms(const struct keeper *keeper, bool deadlines, bool gates)
{
	uint64_t step_ms = keeper->managed->options.step_ns / NS_PER_MS;
	int ladder = (int)MIN(MAX(step_ms / 2, 1ull), 1000ull);

	if (gates)
		return deadlines ? MIN(ladder, CPUS_TICK_MS) : CPUS_TICK_MS;
	if (deadlines)
		return ladder;
	return keeper->has_interrupts ? INTERRUPTS_MS : -1;
}

static void *keeper_run(void *opaque)
{
	struct keeper *keeper = opaque;

	while (!load_acquire(&keeper->quit)) {
		struct epoll_event events[EVENTS_MAX];
		uint64_t now_ns = clock_ns();
		bool deadlines = managed_ladder_look(keeper, now_ns);
		bool gates = managed_cpus_look(keeper, now_ns);
		int count;

		interrupts_look(keeper, now_ns);
		count = epoll_wait(keeper->epoll_fd, events, EVENTS_MAX,
				   sleep_ms(keeper, deadlines, gates));
		for (int i = 0; i < count && !load_acquire(&keeper->quit); i++)
			event_see(keeper, &events[i]);
		if (load_relaxed(&keeper->broken) && !load_acquire(&keeper->quit))
			device_mend(keeper);
	}
	return NULL;
}

void keeper_wake(struct keeper *keeper)
{
	event_fd_signal(keeper->control_fd);
}

void keeper_tell_broken(struct keeper *keeper)
{
	store_relaxed(&keeper->broken, true);
	keeper_wake(keeper);
}

/* ---- life ---- */

static void cpus_open(struct keeper *keeper)
{
	const struct hotplug_options options = { .folder = keeper->managed->options.cpu_folder };

	if (hotplug_open(&options, &keeper->hotplug, NULL) == 0)
		hotplug_get_online(keeper->hotplug, &keeper->online);
	else
		keeper->hotplug = NULL;
	for (unsigned cpu = 0; !keeper->hotplug && cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, &keeper->online); /* for all we know */
}

static int keeper_setup(struct keeper *keeper)
{
	int ret;

	keeper->ladders = calloc(keeper->managed->queue_count, sizeof(*keeper->ladders));
	if (!keeper->ladders)
		return -ENOMEM;
	keeper->control_fd = event_fd_new();
	keeper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (keeper->control_fd < 0 || keeper->epoll_fd < 0)
		return keeper->control_fd < 0 ? keeper->control_fd : -errno;
	cpus_open(keeper);
	managed_ladder_init(keeper);
	ret = watch(keeper, keeper->control_fd, EPOLLIN, &keeper->control_fd);
	if (ret == 0 && keeper->hotplug)
		ret = watch(keeper, hotplug_fd(keeper->hotplug), EPOLLIN, &keeper->hotplug);
	return ret < 0 ? ret : watch_device(keeper);
}

int keeper_init(struct keeper *keeper, struct ringlane_managed *managed, struct error *error)
{
	pthread_condattr_t attributes;
	int ret;

	*keeper = (struct keeper){ .managed = managed, .epoll_fd = -1, .control_fd = -1 };
	pthread_mutex_init(&keeper->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&keeper->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	ret = keeper_setup(keeper);
	if (ret < 0)
		return error_set(error, ret, "cannot make the keeper: %s", strerrordesc_np(-ret));
	return 0;
}

int keeper_start(struct keeper *keeper, struct error *error)
{
	sigset_t all, before;
	int ret;

	keeper->has_interrupts = keeper->managed->device->interrupts != NULL;
	keeper->interrupts_ns = clock_ns() + INTERRUPTS_MS * NS_PER_MS;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = -pthread_create(&keeper->thread, NULL, keeper_run, keeper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret < 0)
		return error_set(error, ret, "cannot start the keeper: %s", strerrordesc_np(-ret));
	keeper->started = true;
	managed_interrupts_begin(keeper);
	pthread_setname_np(keeper->thread, "keeper");
	return 0;
}

void keeper_stop(struct keeper *keeper)
{
	if (!keeper->started)
		return;
	store_release(&keeper->quit, true);
	keeper_wake(keeper);
	pthread_join(keeper->thread, NULL);
	keeper->started = false;
	managed_interrupts_return(keeper);
}

/* A keeper that was never begun is all zeros. */
void keeper_fini(struct keeper *keeper)
{
	if (!keeper->managed)
		return;
	hotplug_close(keeper->hotplug);
	fd_close(&keeper->epoll_fd);
	fd_close(&keeper->control_fd);
	free(keeper->ladders);
	pthread_cond_destroy(&keeper->changed);
	pthread_mutex_destroy(&keeper->lock);
}
