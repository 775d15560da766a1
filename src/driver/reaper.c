// SPDX-License-Identifier: MIT
/*
 * A turn of the loop: sleep (not at all while something is scheduled), see who called and what others want, schedule,
 * run one pass of the poll.
 *
 * The call fds are watched edge-triggered and never read: each signal of an event fd is an edge, and a read per interrupt
 * is saved. A pass that has caught up with the device but is worth going on is followed by the next; the fds are looked at every few of
 * them.
 *
 * System calls: epoll_pwait2, epoll_create1, epoll_wait, epoll_ctl, read (control fd).
 */
#include "driver/reaper.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS_MAX 16
#define SPINS_PER_LOOK 8 /* short passes between two looks at the fds */

/* Which this thread is. */
static __thread const struct reaper *me;

/* ---- its queues ---- */

static struct managed_queue *queues_next(const struct reaper *reaper, struct managed_queue *mq)
{
	struct managed_queue *end = reaper->managed->queues + reaper->managed->queue_count;

	mq = mq ? mq + 1 : reaper->managed->queues;
	while (mq < end && mq->reaper != reaper)
		mq++;
	return mq < end ? mq : NULL;
}

#define FOR_EACH_QUEUE(mq, reaper) \
	for (struct managed_queue *mq = queues_next(reaper, NULL); mq; mq = queues_next(reaper, mq))

/* At the start, and whenever a queue may have completions of which no interrupt tells. */
static void queues_schedule(struct reaper *reaper)
{
	FOR_EACH_QUEUE(mq, reaper)
	iopoll_schedule(&reaper->iopoll, &mq->source);
}

/* Those of which no interrupt may tell, and perhaps nobody else looks at. */
static void adopted_schedule(struct reaper *reaper)
{
	FOR_EACH_QUEUE(mq, reaper)
	if (load_relaxed(&mq->adopted) || (mq->polled && reaper->draining))
		iopoll_schedule(&reaper->iopoll, &mq->source);
}

static bool queues_are_done(struct reaper *reaper)
{
	bool done = true;

	FOR_EACH_QUEUE(mq, reaper)
	{
		pthread_mutex_lock(&mq->lock);
		done &= reaper_queue_is_done(mq);
		pthread_mutex_unlock(&mq->lock);
	}
	return done;
}

/* ---- what others want ---- */

static void mode_apply(struct reaper *reaper, enum iopoll_mode mode)
{
	FOR_EACH_QUEUE(mq, reaper)
	if (!mq->polled)
		iopoll_set_mode(&mq->source, mode);
}

static bool mode_is_applied(const struct reaper *reaper)
{
	FOR_EACH_QUEUE(mq, reaper)
	if (mq->source.switching_off)
		return false;
	return true;
}

static void finished_tell(struct ringlane_managed *managed, struct managed_request *first)
{
	while (first) {
		const struct managed_request request = *first;

		managed_pool_give(managed, first);
		if (request.want.done)
			request.want.done(request.want.user_data, request.result);
		first = request.next;
	}
}

/* Until the keeper is done with the rings, which may have completions afterwards of which no interrupt tells. */
static void park_wait(struct reaper *reaper)
{
	pthread_mutex_lock(&reaper->lock);
	while (reaper->wishes.park) {
		reaper->parked = true;
		pthread_cond_broadcast(&reaper->changed);
		pthread_cond_wait(&reaper->changed, &reaper->lock);
	}
	reaper->parked = false;
	pthread_mutex_unlock(&reaper->lock);
	queues_schedule(reaper);
}

static void sought_schedule(struct reaper *reaper)
{
	FOR_EACH_QUEUE(mq, reaper)
	if (load_acquire(&mq->sought)) {
		store_relaxed(&mq->sought, false);
		iopoll_schedule(&reaper->iopoll, &mq->source);
	}
}

/* That a mode is applied is told at the end of the turn. */
static void wishes_grant(struct reaper *reaper)
{
	struct reaper_wishes wishes;

	pthread_mutex_lock(&reaper->lock);
	wishes = reaper->wishes;
	reaper->wishes.finished = NULL;
	pthread_mutex_unlock(&reaper->lock);
	if (wishes.mode_ticket != reaper->mode_applied) {
		mode_apply(reaper, wishes.mode);
		reaper->mode_applied = wishes.mode_ticket;
	}
	finished_tell(reaper->managed, wishes.finished);
	if (wishes.park)
		park_wait(reaper);
	if (wishes.cancel) {
		FOR_EACH_QUEUE(mq, reaper)
		reaper_queue_finish(mq, wishes.cancel_result);
	}
	reaper->draining = wishes.drain;
	reaper->quit = wishes.quit;
}

static void wishes_answer(struct reaper *reaper)
{
	bool empty = reaper->draining && queues_are_done(reaper);
	bool applied = mode_is_applied(reaper);

	pthread_mutex_lock(&reaper->lock);
	if (applied)
		reaper->mode_done = reaper->mode_applied;
	if (empty && !reaper->wishes.finished)
		reaper->drained = true;
	pthread_cond_broadcast(&reaper->changed);
	pthread_mutex_unlock(&reaper->lock);
	reaper->answers = !applied || (reaper->draining && !empty);
}

/* ---- the loop ---- */

/* The kernel knows milliseconds only before 5.11: those are rounded up. */
static int events_wait(struct reaper *reaper, struct epoll_event *events, uint64_t timeout_ns)
{
	const struct timespec time = { .tv_sec = (time_t)(timeout_ns / NS_PER_S),
				       .tv_nsec = (long)(timeout_ns % NS_PER_S) };
	bool ever = timeout_ns == UINT64_MAX;
	int count = epoll_pwait2(reaper->epoll_fd, events, EVENTS_MAX, ever ? NULL : &time, NULL);

	if (count >= 0 || errno != ENOSYS)
		return count;
	return epoll_wait(reaper->epoll_fd, events, EVENTS_MAX,
			  ever ? -1 : (int)MIN((timeout_ns + NS_PER_MS - 1) / NS_PER_MS, 1000u));
}

static void event_see(struct reaper *reaper, const struct epoll_event *event)
{
	struct managed_queue *mq = event->data.ptr;

	if (event->data.ptr == &reaper->control_fd) {
		event_fd_clear(reaper->control_fd);
		reaper->answers = true;
		wishes_grant(reaper);
		if (reaper->has_polled)
			sought_schedule(reaper);
	} else if (event->data.ptr == &reaper->is_gone) {
		reaper->is_gone = true;
		queues_schedule(reaper);
	} else {
		iopoll_schedule(&reaper->iopoll, &mq->source);
	}
}

/* Held requests are the first reaper's business. */
static bool holds(const struct reaper *reaper)
{
	return reaper->index == 0 && load_relaxed(&reaper->managed->held_now);
}

static bool ticks(const struct reaper *reaper)
{
	return holds(reaper) || load_relaxed(&reaper->adopted) ||
	       (reaper->draining && reaper->has_polled);
}

static uint64_t sleep_ns(const struct reaper *reaper, enum iopoll_outcome outcome)
{
	uint64_t end_ns = iopoll_deadline_ns(&reaper->iopoll), now_ns;

	if (outcome != IOPOLL_IDLE)
		return 0;
	if (ticks(reaper))
		end_ns = MIN(end_ns, reaper->tick_ns);
	if (end_ns == UINT64_MAX)
		return end_ns;
	now_ns = clock_ns();
	return end_ns > now_ns ? end_ns - now_ns : 0;
}

static void timers_run(struct reaper *reaper)
{
	uint64_t now_ns = clock_ns();

	iopoll_expire(&reaper->iopoll, now_ns);
	if (!ticks(reaper) || now_ns < reaper->tick_ns)
		return;
	reaper->tick_ns = now_ns + MANAGED_TICK_NS;
	adopted_schedule(reaper);
	if (holds(reaper))
		managed_flows_try(reaper->managed);
}

static void look(struct reaper *reaper, enum iopoll_outcome outcome)
{
	struct epoll_event events[EVENTS_MAX];
	int count = events_wait(reaper, events, sleep_ns(reaper, outcome));

	for (int i = 0; i < count; i++)
		event_see(reaper, &events[i]);
	timers_run(reaper);
}

static void *reaper_run(void *opaque)
{
	struct reaper *reaper = opaque;
	enum iopoll_outcome outcome;

	me = reaper;
	queues_schedule(reaper);
	while (!reaper->quit) {
		outcome = iopoll_run(&reaper->iopoll);
		for (unsigned i = 1; i < SPINS_PER_LOOK && outcome == IOPOLL_SPIN; i++) {
			cpu_relax();
			outcome = iopoll_run(&reaper->iopoll);
		}
		if (reaper->answers)
			wishes_answer(reaper);
		look(reaper, outcome);
	}
	return NULL;
}

/* ---- what others do ---- */

bool reaper_is_me(const struct reaper *reaper)
{
	return me == reaper;
}

static void wish_end(struct reaper *reaper)
{
	pthread_mutex_unlock(&reaper->lock);
	event_fd_signal(reaper->control_fd);
}

unsigned reaper_set_mode(struct reaper *reaper, enum iopoll_mode mode)
{
	unsigned ticket;

	if (reaper_is_me(reaper))
		mode_apply(reaper, mode);
	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.mode = mode;
	ticket = ++reaper->wishes.mode_ticket;
	wish_end(reaper);
	return ticket;
}

void reaper_wait_mode(struct reaper *reaper, unsigned ticket)
{
	pthread_mutex_lock(&reaper->lock);
	while ((int)(reaper->mode_done - ticket) < 0 && !reaper->wishes.quit)
		pthread_cond_wait(&reaper->changed, &reaper->lock);
	pthread_mutex_unlock(&reaper->lock);
}

void reaper_finish(struct reaper *reaper, struct managed_request *request)
{
	request->next = NULL;
	pthread_mutex_lock(&reaper->lock);
	if (reaper->wishes.finished)
		reaper->finished_last->next = request;
	else
		reaper->wishes.finished = request;
	reaper->finished_last = request;
	wish_end(reaper);
}

void reaper_wake(struct reaper *reaper)
{
	event_fd_signal(reaper->control_fd);
}

/* Pairs with sought_schedule. A device may call for a poll queue now and then (virtio 1.3, 2.7.7.1): nobody listens. */
void reaper_seek(struct managed_queue *mq)
{
	if (!mq->polled) {
		event_fd_signal(mq->queue->call_fd);
		return;
	}
	store_release(&mq->sought, true);
	reaper_wake(mq->reaper);
}

void reaper_park(struct reaper *reaper)
{
	if (!reaper->started)
		return;
	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.park = true;
	wish_end(reaper);
	pthread_mutex_lock(&reaper->lock);
	while (!reaper->parked)
		pthread_cond_wait(&reaper->changed, &reaper->lock);
	pthread_mutex_unlock(&reaper->lock);
}

void reaper_unpark(struct reaper *reaper)
{
	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.park = false;
	pthread_cond_broadcast(&reaper->changed);
	wish_end(reaper);
}

bool reaper_drain(struct reaper *reaper, uint64_t deadline_ns)
{
	const struct timespec end = { .tv_sec = (time_t)(deadline_ns / NS_PER_S),
				      .tv_nsec = (long)(deadline_ns % NS_PER_S) };
	bool drained;
	int ret = 0;

	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.drain = true;
	wish_end(reaper);
	pthread_mutex_lock(&reaper->lock);
	while (!reaper->drained && ret == 0)
		ret = pthread_cond_timedwait(&reaper->changed, &reaper->lock, &end);
	drained = reaper->drained;
	pthread_mutex_unlock(&reaper->lock);
	return drained;
}

void reaper_cancel(struct reaper *reaper, int result)
{
	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.cancel = true;
	reaper->wishes.cancel_result = result;
	wish_end(reaper);
}

/* ---- life ---- */

static uint64_t reaper_clock(void *opaque)
{
	return clock_ns();
}

static void poll_init(struct reaper *reaper)
{
	const struct ringlane_managed_options *options = &reaper->managed->options;
	const struct iopoll_params params = {
		.weight = options->weight,
		.pass_budget = options->pass_budget,
		.slice_ns = options->slice_ns,
		.window = { .spin_ns_max = options->spin_ns,
			    .coalesce_ns_max = options->coalesce_ns,
			    .coalesce_max = options->coalesce },
		.clock = reaper_clock,
	};

	iopoll_init(&reaper->iopoll, &params);
	FOR_EACH_QUEUE(mq, reaper)
	{
		iopoll_add(&reaper->iopoll, &mq->source, &reaper_source_ops,
			   mq->polled ? IOPOLL_ON : reaper->wishes.mode);
		reaper->has_polled |= mq->polled;
	}
}

static int watch(const struct reaper *reaper, int fd, uint32_t events, void *what)
{
	struct epoll_event event = { .events = events, .data.ptr = what };

	if (fd < 0)
		return 0;
	return epoll_ctl(reaper->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int fds_open(struct reaper *reaper)
{
	const struct transport *transport = reaper->managed->device->transport;
	int ret;

	reaper->control_fd = event_fd_new();
	reaper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (reaper->control_fd < 0 || reaper->epoll_fd < 0)
		return reaper->control_fd < 0 ? reaper->control_fd : -errno;
	ret = watch(reaper, reaper->control_fd, EPOLLIN, &reaper->control_fd);
	if (ret == 0 && !reaper->managed->options.reconnect_ms) /* or else it is the keeper's */
		ret = watch(reaper, transport->ops->gone_fd(transport),
			    (uint32_t)transport->gone_events | EPOLLET, &reaper->is_gone);
	FOR_EACH_QUEUE(mq, reaper)
	if (ret == 0 && !mq->polled)
		ret = watch(reaper, mq->queue->call_fd, EPOLLIN | EPOLLET, mq);
	return ret;
}

/* Signals are the program's own business. */
static int thread_start(struct reaper *reaper)
{
	sigset_t all, before;
	char name[16];
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&reaper->thread, NULL, reaper_run, reaper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret)
		return -ret;
	reaper->started = true;
	snprintf(name, sizeof(name), "reaper-%u", reaper->index);
	pthread_setname_np(reaper->thread, name);
	managed_pin(reaper->managed, reaper->index, reaper->thread);
	return 0;
}

void reaper_init(struct reaper *reaper, struct ringlane_managed *managed, unsigned index)
{
	pthread_condattr_t attributes;

	reaper->managed = managed;
	reaper->index = index;
	reaper->epoll_fd = reaper->control_fd = -1;

	pthread_mutex_init(&reaper->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&reaper->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

int reaper_start(struct reaper *reaper, enum iopoll_mode mode, struct error *error)
{
	int ret;

	reaper->wishes.mode = mode;
	poll_init(reaper);
	ret = fds_open(reaper);
	if (ret == 0)
		ret = thread_start(reaper);
	if (ret < 0)
		return error_set(error, ret, "cannot start a reaper: %s", strerrordesc_np(-ret));
	return 0;
}

void reaper_stop(struct reaper *reaper)
{
	if (!reaper->started)
		return;
	pthread_mutex_lock(&reaper->lock);
	reaper->wishes.quit = true;
	pthread_cond_broadcast(&reaper->changed);
	wish_end(reaper);
	pthread_join(reaper->thread, NULL);
	reaper->started = false;
}

void reaper_fini(struct reaper *reaper)
{
	fd_close(&reaper->epoll_fd);
	fd_close(&reaper->control_fd);
	pthread_cond_destroy(&reaper->changed);
	pthread_mutex_destroy(&reaper->lock);
}
