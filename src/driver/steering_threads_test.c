// SPDX-License-Identifier: MIT
/*
 * Steering and gates while several threads use them. The thread sanitizer runs this too: what belongs to a flow or to a
 * queue is plain memory here, so an order that steering does not give is a race that it reports.
 */
#include "driver/steering.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUEUES 3u
#define THREADS 3u
#define ROUNDS 20000u
#define TAKES 300u
#define CPUS 6u /* some of them beyond the maps */
#define DEADLINE_NS (120 * NS_PER_S)

struct queue {
	cache_aligned pthread_mutex_t lock;
	unsigned of_flow;    /* requests of the flow that are here; atomic */
	unsigned taken_away; /* the owner has the queue; atomic */
	uint64_t posts; /* plain: by who has the lock, and by the owner when the gate is settled */
	uint64_t generation, generation_seen; /* plain, too */
	bool two_queues, late;                /* what must not happen */
};

struct world {
	cache_aligned struct steering steering;
	struct steer_flow flow;
	struct queue queues[QUEUES];
	uint64_t flow_data; /* plain: by who has the lock of the flow's queue */
	uint64_t posted;    /* atomic */
	bool goes_on;       /* beyond ROUNDS; atomic */
	/* held requests */
	pthread_mutex_t held_lock;
	unsigned held[THREADS * ROUNDS]; /* CPUs they came from */
	unsigned held_first, held_end;
	uint64_t done; /* atomic */
};

struct submitter {
	struct world *world;
	pthread_t thread;
	uint32_t random;
};

/* One that wants to move at the first request from elsewhere, and for ever. */
static const struct steer_limits impatient = { .away_requests = 1, .hold_ns = UINT32_MAX };

static struct world *world_new(enum steer_order order, struct steer_limits limits)
{
	struct steering_config config = { .policy = &steer_policy_sticky,
					  .queue_count = QUEUES,
					  .limits = limits };
	struct world *world = aligned_alloc(CACHE_LINE, sizeof(*world));

	assert_non_null(world);
	memset(world, 0, sizeof(*world));
	assert_int_equal(steering_init(&world->steering, &config), 0);
	steer_flow_init(&world->flow, &world->steering, order);
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_mutex_init(&world->queues[i].lock, NULL);
	pthread_mutex_init(&world->held_lock, NULL);
	return world;
}

static void world_free(struct world *world)
{
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_mutex_destroy(&world->queues[i].lock);
	pthread_mutex_destroy(&world->held_lock);
	steering_fini(&world->steering);
	free(world);
}

static unsigned cpu_next(struct submitter *submitter)
{
	submitter->random = submitter->random * 1664525 + 1013904223;
	return (submitter->random >> 16) % CPUS;
}

static int enter(struct world *world, unsigned cpu)
{
	struct steer_submit submit = { .cpu = cpu, .now_ns = 1 };

	return steer_enter(&world->steering, &world->flow, &submit);
}

/* With a place in this queue. */
static void post(struct world *world, unsigned index)
{
	struct queue *queue = &world->queues[index];

	pthread_mutex_lock(&queue->lock);
	queue->posts++;
	queue->generation_seen = queue->generation;
	if (load_relaxed(&queue->taken_away))
		queue->late = true;
	if (!world->flow.relaxed) {
		world->flow_data++;
		add_relaxed(&queue->of_flow, 1);
		for (unsigned i = 0; i < QUEUES; i++)
			if (i != index && load_relaxed(&world->queues[i].of_flow))
				queue->two_queues = true;
	}
	pthread_mutex_unlock(&queue->lock);
	add_relaxed(&world->posted, 1);
}

/* The flow's part of giving back comes first: of_flow says what is in the queue for certain. */
static bool finish(struct world *world, unsigned index)
{
	if (!world->flow.relaxed)
		add_relaxed(&world->queues[index].of_flow, -1);
	return steer_leave(&world->steering, &world->flow, index);
}

/* Two requests in flight, each from a CPU of its own; what is held is tried again. */
static void *submit_pairs(void *opaque)
{
	struct submitter *submitter = opaque;
	struct world *world = submitter->world;

	for (unsigned round = 0; round < ROUNDS || load_relaxed(&world->goes_on); round++) {
		int queues[2];

		for (unsigned i = 0; i < 2; i++) {
			queues[i] = enter(world, cpu_next(submitter));
			if (queues[i] >= 0)
				post(world, (unsigned)queues[i]);
		}
		for (unsigned i = 0; i < 2; i++)
			if (queues[i] >= 0)
				finish(world, (unsigned)queues[i]);
		if (queues[0] < 0)
			sched_yield();
	}
	return NULL;
}

static void start(struct world *world, struct submitter *submitters, void *(*body)(void *))
{
	for (unsigned i = 0; i < THREADS; i++) {
		submitters[i] = (struct submitter){ .world = world, .random = i };
		assert_int_equal(pthread_create(&submitters[i].thread, NULL, body, &submitters[i]),
				 0);
	}
}

static void join(struct submitter *submitters)
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(submitters[i].thread, NULL);
}

static void assert_quiet(struct world *world)
{
	assert_true(steer_flow_is_idle(&world->flow));
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_false(world->queues[i].two_queues);
		assert_false(world->queues[i].late);
		assert_true(gate_is_idle(steering_gate(&world->steering, i)));
		assert_int_equal(world->queues[i].of_flow, 0);
	}
}

static void test_ordered_flow_when_threads_submit_then_it_is_never_in_two_queues(void **state)
{
	struct world *world = world_new(STEER_ORDERED, impatient);
	struct submitter submitters[THREADS];

	start(world, submitters, submit_pairs);
	join(submitters);
	assert_quiet(world);
	assert_int_equal(world->flow_data, world->posted);
	assert_true(world->flow.moves > 0);
	world_free(world);
}

/* The owner's side: takes one queue after the other away for a moment, and changes the map. False: a deadline passed. */
static bool take_away(struct world *world, unsigned index)
{
	static const uint16_t maps[][4] = { { 0, 1, 2, 0 },
					    { 2, 2, 1, STEER_NONE },
					    { 1, 0, 0, 2 } };
	struct steer_map_spec spec = { maps[index], 4, NULL };
	struct gate *gate = steering_gate(&world->steering, index);
	struct queue *queue = &world->queues[index];
	uint64_t deadline = clock_ns() + DEADLINE_NS;

	gate_close(gate);
	while (!gate_settle(gate)) {
		if (clock_ns() > deadline)
			return false;
		sched_yield();
	}
	store_relaxed(&queue->taken_away, 1);
	queue->posts++; /* without its lock: nobody is there */
	queue->generation++;
	if (steering_set_map(&world->steering, &spec) < 0)
		return false;
	store_relaxed(&queue->taken_away, 0);
	gate_open(gate);
	return true;
}

static void queues_come_and_go(enum steer_order order)
{
	struct world *world = world_new(order, impatient);
	struct submitter submitters[THREADS];
	bool ok = true;

	world->goes_on = true;
	start(world, submitters, submit_pairs);
	for (unsigned i = 0; ok && i < TAKES; i++)
		ok = take_away(world, i % QUEUES);
	store_relaxed(&world->goes_on, false);
	join(submitters);
	assert_true(ok);
	assert_quiet(world);
	world_free(world);
}

static void test_gate_when_it_is_closed_and_idle_then_nobody_posts(void **state)
{
	queues_come_and_go(STEER_ORDERED);
}

static void test_gate_when_flows_are_relaxed_then_nobody_posts_either(void **state)
{
	queues_come_and_go(STEER_RELAXED);
}

/* ---- held requests ---- */

/* With the lock. The queue that the oldest held request may go to, or less than 0. */
static int held_start(struct world *world)
{
	int queue;

	if (world->held_first == world->held_end) {
		steer_unhold(&world->flow);
		return -ENOENT;
	}
	queue = enter(world, world->held[world->held_first]);
	if (queue >= 0)
		world->held_first++;
	return queue;
}

static void held_run(struct world *world)
{
	int queue;

	do {
		pthread_mutex_lock(&world->held_lock);
		queue = held_start(world);
		pthread_mutex_unlock(&world->held_lock);
		if (queue >= 0) {
			post(world, (unsigned)queue);
			add_relaxed(&world->done, 1);
		}
	} while (queue >= 0 && finish(world, (unsigned)queue) && steer_has_held(&world->flow));
}

static void request_run(struct world *world, unsigned queue)
{
	post(world, queue);
	add_relaxed(&world->done, 1);
	if (finish(world, queue) && steer_has_held(&world->flow))
		held_run(world);
}

static void request_hold(struct world *world, unsigned cpu)
{
	int queue;

	pthread_mutex_lock(&world->held_lock);
	world->held[world->held_end++] = cpu;
	steer_hold(&world->flow);
	queue = held_start(world); /* once more: the last one may have left before it could see */
	pthread_mutex_unlock(&world->held_lock);
	if (queue >= 0)
		request_run(world, (unsigned)queue);
}

static void *submit_and_hold(void *opaque)
{
	struct submitter *submitter = opaque;
	struct world *world = submitter->world;

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned cpu = cpu_next(submitter);
		int queue = enter(world, cpu);

		if (queue >= 0)
			request_run(world, (unsigned)queue);
		else
			request_hold(world, cpu);
	}
	return NULL;
}

/* No time ends a hold here: a wake-up that is lost leaves requests on the list. */
static void test_held_requests_when_the_flow_becomes_idle_then_none_is_left_behind(void **state)
{
	struct world *world = world_new(STEER_ORDERED, impatient);
	struct submitter submitters[THREADS];

	start(world, submitters, submit_and_hold);
	join(submitters);
	assert_int_equal(world->held_first, world->held_end);
	assert_int_equal(world->done, THREADS * ROUNDS);
	assert_quiet(world);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_ordered_flow_when_threads_submit_then_it_is_never_in_two_queues),
		cmocka_unit_test(test_gate_when_it_is_closed_and_idle_then_nobody_posts),
		cmocka_unit_test(test_gate_when_flows_are_relaxed_then_nobody_posts_either),
		cmocka_unit_test(
			test_held_requests_when_the_flow_becomes_idle_then_none_is_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
