// SPDX-License-Identifier: MIT
/*
 * Starting, stopping and watching a managed device. On the thread that owns the device, except statistics and the switching of
 * polling, which are for any thread.
 *
 * Stopping: nothing new is accepted (each queue is closed under its lock, so that whoever was inside has either got its
 * request into the ring or is refused); held requests are cancelled; the reapers finish what is in flight. What is left
 * after a time is taken from the device by stopping its rings, and then cancelled. At last the reapers end.
 */
#include "driver/managed.h"

#include "base/clock.h"
#include "driver/keeper.h"
#include "driver/reaper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

static const enum iopoll_mode modes[] = {
	[RINGLANE_IOPOLL_ON] = IOPOLL_ON,
	[RINGLANE_IOPOLL_OFF] = IOPOLL_OFF,
	[RINGLANE_IOPOLL_ADAPTIVE] = IOPOLL_ADAPTIVE,
};

static const struct steer_policy *policy_of(const struct ringlane_device *device,
					    enum ringlane_policy policy)
{
	switch (policy) {
	case RINGLANE_POLICY_DEFAULT:
		break;
	case RINGLANE_POLICY_PER_CPU:
		return &steer_policy_per_cpu;
	case RINGLANE_POLICY_STICKY:
		return &steer_policy_sticky;
	case RINGLANE_POLICY_LEAST_LOADED:
		return &steer_policy_least_loaded;
	case RINGLANE_POLICY_SINGLE:
		return &steer_policy_single;
	case RINGLANE_POLICY_PICKED:
		return &steer_policy_picked;
	}
	return device->kind == DEVICE_SCSI ? &steer_policy_sticky : &steer_policy_per_cpu;
}

static void set_default(uint64_t *option, uint64_t value)
{
	if (!*option)
		*option = value;
}

static int options_check(struct ringlane_managed_options *options, struct error *error)
{
	if ((unsigned)options->policy > RINGLANE_POLICY_PICKED)
		return error_set(error, -EINVAL, "there is no policy %d", options->policy);
	if ((unsigned)options->iopoll >= ARRAY_SIZE(modes))
		return error_set(error, -EINVAL, "there is no way to poll %d", options->iopoll);
	if ((unsigned)options->replay > RINGLANE_REPLAY_ALL)
		return error_set(error, -EINVAL, "there is no way to replay %d", options->replay);
	if (options->weight > MANAGED_WEIGHT_MAX)
		return error_set(error, -EINVAL, "a weight of %u: at most %u", options->weight,
				 MANAGED_WEIGHT_MAX);
	set_default(&options->spin_ns, IOPOLL_SPIN_NS_DEFAULT);
	set_default(&options->coalesce_ns, IOPOLL_COALESCE_NS_DEFAULT);
	if (!options->coalesce)
		options->coalesce = IOPOLL_COALESCE_DEFAULT;
	if (!options->stop_ms)
		options->stop_ms = MANAGED_STOP_MS_DEFAULT;
	if (!options->quiesce_ms)
		options->quiesce_ms = MANAGED_QUIESCE_MS_DEFAULT;
	return 0;
}

static unsigned reapers_choose(const struct ringlane_managed_options *options, unsigned queues)
{
	unsigned wanted = options->reapers ? options->reapers : managed_cpu_count(options);

	return MIN(MIN(wanted, queues), MANAGED_REAPERS_MAX);
}

/* ---- making ---- */

static int queue_init(struct ringlane_managed *managed, unsigned index)
{
	struct managed_queue *mq = &managed->queues[index];

	*mq = (struct managed_queue){
		.queue = managed->device->queues[index],
		.managed = managed,
		.index = index,
		.polled = managed_class_of(managed, index) == RINGLANE_POLL_QUEUES,
		.reaper = &managed->reapers[managed_reaper_of(managed, index)],
	};
	pthread_mutex_init(&mq->lock, NULL);
	mq->slot_count = mq->queue->ring.size;
	mq->slots = calloc(mq->slot_count, sizeof(*mq->slots));
	if (!mq->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < mq->slot_count; i++)
		mq->slots[i].next = i + 1 < mq->slot_count ? &mq->slots[i + 1] : NULL;
	mq->free = mq->slots;
	if (mq->polled)
		ringlane_queue_disarm(mq->queue);
	return 0;
}

static void *zeroed_alloc(unsigned count, size_t size)
{
	void *block = aligned_alloc(CACHE_LINE, count * size);

	return block ? memset(block, 0, count * size) : NULL;
}

static int arrays_make(struct ringlane_managed *managed)
{
	int ret = managed_pool_init(managed);

	managed->keeper = calloc(1, sizeof(*managed->keeper));
	managed->reapers = zeroed_alloc(managed->reaper_count, sizeof(*managed->reapers));
	managed->queues = zeroed_alloc(managed->queue_count, sizeof(*managed->queues));
	if (!managed->keeper || !managed->reapers || !managed->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_init(&managed->reapers[i], managed, i);
	for (unsigned i = 0; ret == 0 && i < managed->queue_count; i++)
		ret = queue_init(managed, i);
	return ret;
}

static int flows_make(struct ringlane_managed *managed, struct error *error)
{
	const struct steer_policy *policy = policy_of(managed->device, managed->options.policy);
	const struct ringlane_lun *lun = ringlane_lun_default(managed->device);
	int ret = managed_steering_init(managed, policy, error);

	if (ret < 0)
		return ret;
	managed->flow = lun ? managed_lun_flow_add(managed, lun) :
			      managed_flow_new(managed, STEER_AS_POLICY);
	if (managed->flow && managed->options.poll_queues)
		managed->poll_flow = managed_poll_flow_new(managed);
	if (!managed->flow || (managed->options.poll_queues && !managed->poll_flow))
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

static int reapers_start(struct ringlane_managed *managed, struct error *error)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < managed->reaper_count; i++)
		ret = reaper_start(&managed->reapers[i], modes[managed->options.iopoll], error);
	return ret;
}

static int device_check(const struct ringlane_device *device,
			const struct ringlane_managed_options *options, struct error *error)
{
	if (options->poll_queues >= device->info.queues)
		return error_set(error, -EINVAL,
				 "%u poll queues of %u: at least one must have an interrupt",
				 options->poll_queues, device->info.queues);
	for (unsigned i = 0; i < device->info.queues; i++)
		if (device->queues[i]->in_flight)
			return error_set(error, -EBUSY, "queue %u has requests in flight", i);
	return 0;
}

static void queues_count(struct ringlane_managed *managed)
{
	struct managed_class *interrupts = &managed->classes[RINGLANE_INTERRUPT_QUEUES];
	struct managed_class *polled = &managed->classes[RINGLANE_POLL_QUEUES];

	managed->queue_count = managed->device->info.queues;
	polled->count = managed->options.poll_queues;
	polled->first = interrupts->count = managed->queue_count - polled->count;
	managed->reaper_count = reapers_choose(&managed->options, interrupts->count);
}

int ringlane_managed_start(struct ringlane_device *device,
			   const struct ringlane_managed_options *options,
			   struct ringlane_managed **ret_managed,
			   struct ringlane_error *public_error)
{
	struct ringlane_managed_options chosen = options ? *options :
							   (struct ringlane_managed_options){ 0 };
	struct error *error = error_of(public_error);
	struct ringlane_managed *managed;
	int ret = options_check(&chosen, error);

	if (ret == 0)
		ret = device_check(device, &chosen, error);
	if (ret < 0)
		return ret;
	managed = zeroed_alloc(1, sizeof(*managed));
	if (!managed)
		return error_set(error, -ENOMEM, "out of memory");
	managed->device = device;
	managed->options = chosen;
	queues_count(managed);
	pthread_mutex_init(&managed->flows_lock, NULL);
	pthread_mutex_init(&managed->pool_lock, NULL);
	ret = arrays_make(managed);
	if (ret < 0)
		error_set(error, ret, "out of memory");
	else
		ret = flows_make(managed, error);
	if (ret == 0)
		ret = keeper_init(managed->keeper, managed, error);
	if (ret == 0)
		ret = reapers_start(managed, error);
	if (ret == 0)
		managed_interrupts_place(managed);
	if (ret == 0)
		ret = keeper_start(managed->keeper, error);
	if (ret < 0) {
		ringlane_managed_free(managed);
		return ret;
	}
	*ret_managed = managed;
	return 0;
}

/* ---- stopping ---- */

void managed_queue_close(struct managed_queue *mq, int error)
{
	pthread_mutex_lock(&mq->lock);
	if (!mq->closed)
		store_relaxed(&mq->closed, error);
	pthread_mutex_unlock(&mq->lock);
}

static bool reapers_drain(struct ringlane_managed *managed)
{
	uint64_t deadline_ns = clock_ns() + managed->options.stop_ms * NS_PER_MS;
	bool drained = true;

	for (unsigned i = 0; i < managed->reaper_count; i++)
		drained &= !managed->reapers[i].started ||
			   reaper_drain(&managed->reapers[i], deadline_ns);
	return drained;
}

static int reapers_cancel(struct ringlane_managed *managed)
{
	int ret = device_queues_stop(managed->device) < 0 ? -ETIMEDOUT : -ECANCELED;

	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_cancel(&managed->reapers[i], ret);
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_drain(&managed->reapers[i], UINT64_MAX / 2);
	return ret;
}

bool managed_calls_back(const struct ringlane_managed *managed)
{
	if (reaper_queue_calls_back(managed))
		return true;
	for (unsigned i = 0; i < managed->reaper_count; i++)
		if (managed->reapers[i].started && reaper_is_me(&managed->reapers[i]))
			return true;
	return false;
}

int ringlane_managed_stop(struct ringlane_managed *managed)
{
	int ret = 0;

	if (managed->stopped)
		return 0;
	if (managed_calls_back(managed))
		return -EDEADLK;
	store_relaxed(&managed->stopping, true);
	FOR_EACH_QUEUE(mq, managed)
	managed_queue_close(mq, -ESHUTDOWN);
	keeper_stop(managed->keeper);
	managed_flows_try(managed);
	if (!reapers_drain(managed))
		ret = reapers_cancel(managed);
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_stop(&managed->reapers[i]);
	managed->stopped = true;
	return ret;
}

static void flows_free(struct ringlane_managed *managed)
{
	while (managed->flows)
		ringlane_flow_free(managed->flows);
}

void ringlane_managed_free(struct ringlane_managed *managed)
{
	if (!managed)
		return;
	if (managed->flow)
		ringlane_managed_stop(managed);
	flows_free(managed);
	for (unsigned i = 0; managed->reapers && i < managed->reaper_count; i++)
		reaper_fini(&managed->reapers[i]);
	for (unsigned i = 0; managed->queues && i < managed->queue_count; i++)
		free(managed->queues[i].slots);
	managed_steering_fini(managed);
	if (managed->keeper)
		keeper_fini(managed->keeper);
	free(managed->keeper);
	free(managed->queues);
	free(managed->reapers);
	free(managed->pool);
	free(managed);
}

/* ---- polling ---- */

int ringlane_managed_set_iopoll(struct ringlane_managed *managed, enum ringlane_iopoll iopoll)
{
	unsigned tickets[MANAGED_REAPERS_MAX];

	if ((unsigned)iopoll >= ARRAY_SIZE(modes))
		return -EINVAL;
	if (load_relaxed(&managed->stopping))
		return -ESHUTDOWN;
	for (unsigned i = 0; i < managed->reaper_count; i++)
		tickets[i] = reaper_set_mode(&managed->reapers[i], modes[iopoll]);
	if (managed_calls_back(managed))
		return 0;
	for (unsigned i = 0; i < managed->reaper_count; i++)
		reaper_wait_mode(&managed->reapers[i], tickets[i]);
	return 0;
}

/* ---- figures ---- */

static void ladder_stats_add(const struct keeper *keeper, struct ringlane_managed_stats *stats)
{
	for (unsigned i = 0; i < keeper->managed->queue_count; i++) {
		const uint64_t *taken = keeper->ladders[i].taken;

		stats->late_polls += load_relaxed(&taken[LADDER_POLL]);
		stats->late_kicks += load_relaxed(&taken[LADDER_KICK]);
		stats->aborts += load_relaxed(&taken[LADDER_ABORT]);
		stats->lun_resets += load_relaxed(&taken[LADDER_LUN_RESET]);
		stats->nexus_resets += load_relaxed(&taken[LADDER_NEXUS_RESET]);
	}
	stats->queue_resets = load_relaxed(&keeper->queue_resets);
	stats->resets = load_relaxed(&keeper->resets);
	stats->reconnects = load_relaxed(&keeper->reconnects);
	stats->replayed = load_relaxed(&keeper->replayed);
	stats->zombies = load_relaxed(&keeper->zombies);
	stats->quiesced = load_relaxed(&keeper->managed->quiesced);
	stats->orphaned = load_relaxed(&keeper->managed->orphaned);
}

void ringlane_managed_get_stats(struct ringlane_managed *managed,
				struct ringlane_managed_stats *ret_stats)
{
	struct ringlane_managed_stats stats = {
		.held = load_relaxed(&managed->held),
		.held_now = load_relaxed(&managed->held_now),
		.queues = managed->queue_count,
		.reapers = managed->reaper_count,
		.poll_queues = managed->classes[RINGLANE_POLL_QUEUES].count,
	};

	ladder_stats_add(managed->keeper, &stats);
	pthread_mutex_lock(&managed->flows_lock);
	stats.moved = managed->moved;
	stats.wishes = managed->wishes;
	for (struct ringlane_flow *flow = managed->flows; flow; flow = flow->next) {
		stats.moved += load_relaxed(&flow->steer.moves);
		stats.wishes += load_relaxed(&flow->steer.holds);
	}
	pthread_mutex_unlock(&managed->flows_lock);
	*ret_stats = stats;
}

int ringlane_managed_get_queue_stats(const struct ringlane_managed *managed, unsigned queue,
				     struct ringlane_queue_stats *ret_stats)
{
	const struct iopoll_counts *counts;
	const struct managed_queue *mq;

	if (queue >= managed->queue_count)
		return -EINVAL;
	mq = &managed->queues[queue];
	counts = &mq->source.counts;
	*ret_stats = (struct ringlane_queue_stats){
		.submitted = load_relaxed(&mq->submitted),
		.completed = load_relaxed(&mq->completed),
		.failed = load_relaxed(&mq->failed),
		.batches = load_relaxed(&mq->batches),
		.kicks = load_relaxed(&mq->kicks),
		.full = load_relaxed(&mq->full),
		.interrupts = load_relaxed(&counts->interrupts),
		.polls = load_relaxed(&counts->polls) + load_relaxed(&mq->polls),
		.polls_full = load_relaxed(&counts->full),
		.polls_empty = load_relaxed(&counts->empty) + load_relaxed(&mq->polls_empty),
		.rearm_races = load_relaxed(&counts->rearm_races),
		.coalesced = load_relaxed(&counts->coalesced),
		.deadlines = load_relaxed(&counts->deadlines),
		.local = load_relaxed(&mq->local),
		.in_flight = (unsigned)gate_count(mq->gate),
		.reaper = mq->reaper->index,
		.polled = mq->polled,
		.active = gate_is_active(mq->gate) && !load_relaxed(&mq->closed),
	};
	return 0;
}
