// SPDX-License-Identifier: MIT
/*
 * CPUs that come and go under a managed device.
 *
 * The last CPU of a queue goes: its gate closes; who was inside is waited for, at most quiesce_ms; then the queue is
 * INACTIVE: it does not ask for interrupts, and its vector is given back to the kernel, unless another queue has the same.
 * Past the deadline it is ORPHANED: its ring stays, and is looked at every
 * millisecond, whatever has become of its interrupt; when the last request is over it is INACTIVE after all. Who looks, the
 * adopter, is the queue's reaper: a thread is not taken away with a CPU, and this one has been put where its other queues
 * are, or on any CPU that is left, when the gate closed. The first CPU comes back: the reaper is put there, the interrupt is
 * had again and sent there, the reaper looks at the ring and asks for calls; then the gate opens. An interrupt that cannot be
 * had is tried for again, and the queue adopted meanwhile. Submitters of a closed queue go to another one (steering.h).
 *
 * A queue is never closed when no other one of its class would be open, and one without CPUs of its own is left alone. A
 * poll queue that drains is polled by its submitters; when it is orphaned its reaper, which was but its deputy, adopts it.
 *
 * States of gates are changed with keeper.lock, by the keeper or by whoever calls ringlane_prepare_offline.
 */
#include "driver/keeper.h"

#include "base/clock.h"
#include "driver/interrupts.h"
#include "driver/reaper.h"

#include <errno.h>

static void tell(const struct managed_queue *mq, enum ringlane_queue_event event)
{
	const struct ringlane_managed_options *options = &mq->managed->options;

	if (options->queue_event)
		options->queue_event(options->queue_event_data, mq->index, event);
}

/* Has it a CPU that is here and stays? One without CPUs of its own has. */
static bool queue_has_cpu(const struct keeper *keeper, const struct managed_queue *mq)
{
	bool has_own = false;
	cpu_set_t mask;

	if (!managed_queue_cpus(mq, &mask))
		return true;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &mask))
			continue;
		has_own = true;
		if (CPU_ISSET(cpu, &keeper->online) && !CPU_ISSET(cpu, &keeper->leaving))
			return true;
	}
	return !has_own;
}

/* With the keeper's lock, all of these. */

/* A reaper's thread is bound to no CPU that is away or about to go. */
static void reaper_pin(const struct keeper *keeper, unsigned reaper)
{
	cpu_set_t left;

	CPU_XOR(&left, &keeper->online, &keeper->leaving);
	CPU_AND(&left, &left, &keeper->online);
	managed_pin_left(keeper->managed, reaper, CPU_COUNT(&left) ? &left : &keeper->online);
}

static void queue_adopt(struct managed_queue *mq)
{
	if (mq->adopted)
		return;
	store_relaxed(&mq->adopted, true);
	add_relaxed(&mq->reaper->adopted, 1);
	reaper_wake(mq->reaper);
}

static void queue_unadopt(struct managed_queue *mq)
{
	if (!mq->adopted)
		return;
	store_relaxed(&mq->adopted, false);
	add_relaxed(&mq->reaper->adopted, -1u);
}

/* When that fails it is merely not masked. */
static void interrupt_mask(struct managed_queue *mq)
{
	struct ringlane_device *device = mq->managed->device;

	if (load_relaxed(&mq->managed->stopping) || !interrupts_can_be_masked(device))
		return;
	pthread_mutex_lock(&device->lock);
	mq->masked = interrupts_mask(device, mq->index, NULL) == 0;
	pthread_mutex_unlock(&device->lock);
}

static void interrupt_unmask(struct managed_queue *mq)
{
	struct ringlane_device *device = mq->managed->device;

	if (!mq->masked)
		return;
	pthread_mutex_lock(&device->lock);
	mq->masked = interrupts_unmask(device, mq->index, NULL) < 0;
	pthread_mutex_unlock(&device->lock);
}

static void queue_settled(struct managed_queue *mq)
{
	queue_unadopt(mq);
	store_relaxed(&mq->muted, true);
	reaper_seek(mq); /* which takes the wish for calls back */
	if (!mq->polled)
		interrupt_mask(mq);
	store_relaxed(&mq->managed->quiesced, mq->managed->quiesced + 1);
	tell(mq, RINGLANE_QUEUE_INACTIVE);
}

static void queue_go_offline(struct managed_queue *mq)
{
	mq->offline = true;
	mq->drain_deadline_ns = clock_ns() + mq->managed->options.quiesce_ms * NS_PER_MS;
	reaper_pin(mq->managed->keeper, mq->reaper->index);
	gate_close(mq->gate);
	if (gate_settle(mq->gate))
		queue_settled(mq);
}

/* Of a queue that has a CPU: its interrupt, or the adopter. What came in between, the look at the ring finds. */
static void interrupt_return(struct managed_queue *mq)
{
	if (!mq->polled)
		interrupt_unmask(mq);
	if (mq->masked && !mq->polled)
		queue_adopt(mq);
	else
		queue_unadopt(mq);
}

/* Interrupt, then queue. */
static void queue_come_online(struct managed_queue *mq)
{
	mq->offline = false;
	reaper_pin(mq->managed->keeper, mq->reaper->index);
	interrupt_return(mq);
	store_relaxed(&mq->muted, false);
	reaper_seek(mq); /* which asks for calls */
	if (!mq->managed->keeper->quiet && !load_relaxed(&mq->closed))
		gate_open(mq->gate);
	tell(mq, RINGLANE_QUEUE_ACTIVE);
}

static bool any_has_cpu(const struct keeper *keeper, bool polled)
{
	FOR_EACH_QUEUE(mq, keeper->managed)
	if (mq->polled == polled && queue_has_cpu(keeper, mq))
		return true;
	return false;
}

/* Each class has a queue left. */
static bool all_have_cpu(const struct keeper *keeper)
{
	return any_has_cpu(keeper, false) &&
	       (!keeper->managed->poll_flow || any_has_cpu(keeper, true));
}

static void queues_update_class(struct keeper *keeper, bool polled)
{
	bool any = any_has_cpu(keeper, polled);

	FOR_EACH_QUEUE(mq, keeper->managed)
	if (mq->polled == polled && mq->offline && (!any || queue_has_cpu(keeper, mq)))
		queue_come_online(mq);
	FOR_EACH_QUEUE(mq, keeper->managed)
	if (mq->polled == polled && !mq->offline && any && !queue_has_cpu(keeper, mq))
		queue_go_offline(mq);
}

static void queues_update(struct keeper *keeper)
{
	queues_update_class(keeper, false);
	queues_update_class(keeper, true);
}

void managed_gates_open(struct keeper *keeper)
{
	FOR_EACH_QUEUE(mq, keeper->managed)
	if (!mq->offline && !load_relaxed(&mq->closed))
		gate_open(mq->gate);
}

/* ---- the keeper's thread ---- */

/* A thread that was pinned to a CPU that went is pinned no more, also when the CPU is back. */
static void reapers_pin(struct keeper *keeper)
{
	for (unsigned i = 0; i < keeper->managed->reaper_count; i++)
		reaper_pin(keeper, i);
}

void managed_cpus_read(struct keeper *keeper)
{
	struct hotplug_change change;

	if (hotplug_read(keeper->hotplug, &change) <= 0)
		return;
	pthread_mutex_lock(&keeper->lock);
	keeper->online = change.online;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu,
			      &change.came)) /* it has been away: what was prepared has happened */
			CPU_CLR(cpu, &keeper->leaving);
	reapers_pin(keeper);
	queues_update(keeper);
	pthread_cond_broadcast(&keeper->changed);
	pthread_mutex_unlock(&keeper->lock);
	keeper_doubt_interrupts(keeper);
	managed_flows_try(keeper->managed);
}

/* True: it is waited for, or its interrupt is. */
static bool gate_look(struct managed_queue *mq, uint64_t now_ns)
{
	if (!mq->offline && mq->masked && !mq->polled) {
		interrupt_return(mq);
		reaper_seek(mq);
		return mq->masked;
	}
	if (!mq->offline || gate_state(mq->gate) == GATE_INACTIVE)
		return false;
	if (gate_settle(mq->gate)) {
		queue_settled(mq);
		return false;
	}
	if (now_ns >= mq->drain_deadline_ns && gate_orphan(mq->gate)) {
		queue_adopt(mq);
		store_relaxed(&mq->managed->orphaned, mq->managed->orphaned + 1);
		tell(mq, RINGLANE_QUEUE_ORPHANED);
	}
	return true;
}

bool managed_cpus_look(struct keeper *keeper, uint64_t now_ns)
{
	bool waits = false;

	pthread_mutex_lock(&keeper->lock);
	FOR_EACH_QUEUE(mq, keeper->managed)
	waits |= gate_look(mq, now_ns);
	pthread_cond_broadcast(&keeper->changed);
	pthread_mutex_unlock(&keeper->lock);
	return waits;
}

void managed_interrupts_begin(struct keeper *keeper)
{
	struct ringlane_device *device = keeper->managed->device;

	pthread_mutex_lock(&keeper->lock);
	pthread_mutex_lock(&device->lock);
	FOR_EACH_QUEUE(mq, keeper->managed)
	if (mq->polled)
		interrupt_mask(mq);
	else
		mq->masked = interrupts_is_masked(device, mq->index);
	pthread_mutex_unlock(&device->lock);
	pthread_mutex_unlock(&keeper->lock);
	keeper_wake(keeper);
}

void managed_interrupts_return(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	FOR_EACH_QUEUE(mq, keeper->managed)
	interrupt_unmask(mq);
	pthread_cond_broadcast(&keeper->changed);
	pthread_mutex_unlock(&keeper->lock);
}

/* ---- any thread ---- */

void managed_cpu_doubt(struct keeper *keeper, unsigned cpu)
{
	uint32_t doubt;

	if (likely(!keeper->hotplug || hotplug_cpu_is_online(keeper->hotplug, cpu)))
		return;
	doubt = hotplug_generation(keeper->hotplug) + 1;
	if (load_relaxed(&keeper->poked) == doubt)
		return;
	store_relaxed(&keeper->poked, doubt);
	hotplug_poke(keeper->hotplug);
}

static bool queue_is_of_cpu(const struct managed_queue *mq, unsigned cpu)
{
	cpu_set_t mask;

	return managed_queue_cpus(mq, &mask) && CPU_ISSET(cpu, &mask);
}

static bool offline_is_done(const struct ringlane_managed *managed, unsigned cpu)
{
	FOR_EACH_QUEUE(mq, managed)
	if (mq->offline && gate_state(mq->gate) != GATE_INACTIVE && queue_is_of_cpu(mq, cpu))
		return false;
	return true;
}

/* Nobody looks at gates any more when the device stops. */
static int offline_wait(struct keeper *keeper, unsigned cpu, uint64_t deadline_ns)
{
	const struct ringlane_managed *managed = keeper->managed;
	const struct timespec end = { .tv_sec = (time_t)(deadline_ns / NS_PER_S),
				      .tv_nsec = (long)(deadline_ns % NS_PER_S) };
	int ret = 0;

	while (!offline_is_done(managed, cpu) && !load_relaxed(&managed->stopping) && ret == 0)
		ret = pthread_cond_timedwait(&keeper->changed, &keeper->lock, &end);
	if (offline_is_done(managed, cpu))
		return 0;
	return load_relaxed(&managed->stopping) ? -ESHUTDOWN : -ETIMEDOUT;
}

/* With the keeper's lock. The reapers of a device that stops are about to go: they must not be pinned. */
static int offline_prepare(struct keeper *keeper, unsigned cpu)
{
	if (load_relaxed(&keeper->managed->stopping))
		return -ESHUTDOWN;
	CPU_SET(cpu, &keeper->leaving);
	if (!all_have_cpu(keeper)) {
		CPU_CLR(cpu, &keeper->leaving);
		return -EBUSY;
	}
	queues_update(keeper);
	keeper_wake(keeper);
	return 0;
}

int ringlane_prepare_offline(struct ringlane_managed *managed, unsigned cpu, unsigned timeout_ms)
{
	struct keeper *keeper = managed->keeper;
	int ret;

	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	if (managed_calls_back(managed))
		return -EDEADLK;
	pthread_mutex_lock(&keeper->lock);
	ret = offline_prepare(keeper, cpu);
	if (ret == 0)
		ret = offline_wait(keeper, cpu, clock_ns() + timeout_ms * NS_PER_MS);
	pthread_mutex_unlock(&keeper->lock);
	return ret;
}

int ringlane_finish_online(struct ringlane_managed *managed, unsigned cpu)
{
	struct keeper *keeper = managed->keeper;
	bool stopping;

	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	pthread_mutex_lock(&keeper->lock);
	stopping = load_relaxed(&managed->stopping);
	CPU_CLR(cpu, &keeper->leaving);
	if (!stopping)
		queues_update(keeper);
	pthread_mutex_unlock(&keeper->lock);
	if (stopping)
		return -ESHUTDOWN;
	if (keeper->hotplug)
		hotplug_poke(keeper->hotplug);
	keeper_wake(keeper); /* an interrupt may have to be tried for */
	managed_flows_try(managed);
	return 0;
}
