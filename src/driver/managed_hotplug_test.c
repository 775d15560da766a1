// SPDX-License-Identifier: MIT
/* Managed devices while CPUs go and come: queues follow them, and what is not done in time is adopted. */
#include "driver/reaper.h"
#include "driver/test_cpus.h"

#define COUNT 40

static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };

static struct ringlane_managed_stats stats_of(struct test_managed *it)
{
	struct ringlane_managed_stats stats;

	ringlane_managed_get_stats(it->managed, &stats);
	return stats;
}

static void submit_count(struct test_managed *it, enum ringlane_op op, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct ringlane_request request = test_request(it, op, i);

		test_submit(it, &request);
	}
}

static unsigned queues_active(struct test_managed *it)
{
	unsigned active = 0;

	for (unsigned i = 0; i < 2; i++)
		active += test_queue_stats(it, i).active;
	return active;
}

static void test_cpu_when_it_goes_and_comes_then_its_queue_does_too(void **state)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PER_CPU };
	struct test_managed it;
	struct cpus cpus;

	if (!cpus_make(&cpus, &options))
		skip();
	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &options);
	for (unsigned round = 1; round <= 3; round++) {
		cpus_write(&cpus, false);
		hotplug_poke(it.managed->keeper->hotplug);
		test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]) == round);
		assert_int_equal(queues_active(&it), 1);
		submit_count(&it, RINGLANE_OP_READ, COUNT);
		cpus_write(&cpus, true);
		hotplug_poke(it.managed->keeper->hotplug);
		test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ACTIVE]) == round);
		assert_int_equal(queues_active(&it), 2);
		submit_count(&it, RINGLANE_OP_READ, COUNT);
		assert_int_equal(test_tally_wait(&it.tally, 2 * COUNT * round), 2 * COUNT * round);
	}
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(stats_of(&it).quiesced, 3);
	test_managed_close(&it);
	cpus_free(&cpus);
}

/* Nobody has told that the CPU is back, but a request comes from there. */
static void test_cpu_when_a_request_comes_from_it_then_it_is_looked_at(void **state)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PER_CPU };
	struct test_managed it;
	struct keeper *keeper;
	struct cpus cpus;
	cpu_set_t mine, there;

	if (!cpus_make(&cpus, &options))
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	CPU_ZERO(&there);
	CPU_SET(cpus.goes, &there);
	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, &options);
	keeper = it.managed->keeper;
	cpus_write(&cpus, false);
	hotplug_poke(keeper->hotplug);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]) == 1);
	assert_int_equal(load_relaxed(&keeper->poked), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(there), &there), 0);
	submit_count(&it, RINGLANE_OP_READ, 1);
	assert_int_equal(load_relaxed(&keeper->poked), hotplug_generation(keeper->hotplug) + 1);
	assert_int_equal(sched_setaffinity(0, sizeof(mine), &mine), 0);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	cpus_write(&cpus, true);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ACTIVE]) == 1);
	test_managed_close(&it);
	cpus_free(&cpus);
}

/* One request, by RINGLANE_POLICY_PICKED. */
static void submit_to(struct test_managed *it, unsigned queue)
{
	struct ringlane_request request = test_request(it, RINGLANE_OP_READ, queue);

	request.queue = queue;
	test_submit(it, &request);
}

/* The thread that serves a queue may not run on the CPU, and may on another. */
static void reaper_check(const struct test_managed *it, unsigned queue, unsigned cpu)
{
	cpu_set_t set;

	assert_int_equal(pthread_getaffinity_np(it->managed->queues[queue].reaper->thread,
						sizeof(set), &set),
			 0);
	assert_false(CPU_ISSET(cpu, &set));
	assert_true(CPU_COUNT(&set) > 0);
}

/*
 * Its requests are not done in time: told, polled for by a reaper on CPUs that are left, also when the interrupt has gone with the
 * CPU, and in the end given back.
 */
static void orphan_check(unsigned reapers, enum ringlane_iopoll iopoll)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
						    .reapers = reapers,
						    .iopoll = iopoll,
						    .quiesce_ms = 10 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_managed it;
	struct cpus cpus;
	unsigned orphan;

	if (!cpus_make(&cpus, &options))
		skip();
	test_managed_open(&it, &setup, &two, &options);
	orphan = steer_map_queue(it.managed->classes[RINGLANE_INTERRUPT_QUEUES].steering.map,
				 cpus.goes);
	submit_to(&it, orphan);
	test_until(fake_disk_taken(it.disk.fake) == 1);
	assert_int_equal(ringlane_prepare_offline(it.managed, cpus.goes, 50), -ETIMEDOUT);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ORPHANED]) == 1);
	assert_int_equal(stats_of(&it).orphaned, 1);
	reaper_check(&it, orphan, cpus.goes);
	fake_disk_set_trick(it.disk.fake, FAKE_LOSES_CALL);
	fake_disk_release(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]) == 1);
	assert_int_equal(ringlane_finish_online(it.managed, cpus.goes), 0);
	assert_int_equal(queues_active(&it), 2);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	for (unsigned i = 0; i < 2; i++)
		submit_to(&it, i);
	assert_int_equal(test_tally_wait(&it.tally, 3), 3);
	assert_int_equal(it.tally.failed, 0);
	test_managed_close(&it);
	cpus_free(&cpus);
}

static void test_cpu_when_its_queue_does_not_get_idle_then_it_is_adopted(void **state)
{
	for (unsigned reapers = 1; reapers <= 2; reapers++) {
		orphan_check(reapers, RINGLANE_IOPOLL_ON);
		orphan_check(reapers, RINGLANE_IOPOLL_OFF);
		orphan_check(reapers, RINGLANE_IOPOLL_ADAPTIVE);
	}
}

/* Its CPU is back before it got idle: nobody looks at every tick any more. */
static void test_orphan_when_its_cpu_is_back_then_it_is_a_queue_again(void **state)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
						    .quiesce_ms = 10 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct test_managed it;
	struct cpus cpus;

	if (!cpus_make(&cpus, &options))
		skip();
	test_managed_open(&it, &setup, &two, &options);
	for (unsigned i = 0; i < 2; i++)
		submit_to(&it, i);
	test_until(fake_disk_taken(it.disk.fake) == 2);
	assert_int_equal(ringlane_prepare_offline(it.managed, cpus.goes, 50), -ETIMEDOUT);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ORPHANED]) == 1);
	assert_int_equal(ringlane_finish_online(it.managed, cpus.goes), 0);
	assert_int_equal(load_relaxed(&cpus.events[RINGLANE_QUEUE_ACTIVE]), 1);
	assert_int_equal(queues_active(&it), 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(load_relaxed(&it.managed->queues[i].reaper->adopted), 0);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	for (unsigned i = 0; i < 2; i++)
		submit_to(&it, i);
	assert_int_equal(test_tally_wait(&it.tally, 4), 4);
	assert_int_equal(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]), 0);
	test_managed_close(&it);
	cpus_free(&cpus);
}

/* A poll queue that nobody polls: its reaper was but its deputy, and adopts it. Another poll queue takes what is new. */
static void test_poll_queue_when_its_cpu_goes_and_nobody_polls_then_it_is_adopted(void **state)
{
	static const struct ringlane_options four = { .queues = 4, .timeout_ms = TEST_DEADLINE_MS };
	struct ringlane_managed_options options = { .poll_queues = 2, .quiesce_ms = 10 };
	const struct fake_setup setup = { .trick = FAKE_HOLDS };
	struct ringlane_request request;
	struct managed_class *polled;
	struct test_managed it;
	struct cpus cpus;
	cpu_set_t mine, there;
	unsigned orphan;

	if (!cpus_make(&cpus, &options))
		skip();
	test_managed_open(&it, &setup, &four, &options);
	polled = &it.managed->classes[RINGLANE_POLL_QUEUES];
	orphan = polled->first + steer_map_queue(polled->steering.map, cpus.goes);
	request = test_request(&it, RINGLANE_OP_READ, 0);
	request.flags = RINGLANE_POLLED;
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	CPU_ZERO(&there);
	CPU_SET(cpus.goes, &there);
	assert_int_equal(sched_setaffinity(0, sizeof(there), &there), 0);
	test_submit(&it, &request);
	assert_int_equal(sched_setaffinity(0, sizeof(mine), &mine), 0);
	assert_int_equal(test_queue_stats(&it, orphan).submitted, 1);
	test_until(fake_disk_taken(it.disk.fake) == 1);
	ringlane_prepare_offline(it.managed, cpus.goes, 50);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ORPHANED]) == 1);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]) ==
		   2); /* and the interrupt queue */
	assert_false(test_queue_stats(&it, orphan).active);
	assert_int_equal(test_queue_stats(&it, orphan).in_flight, 0);
	/* its place in the queue is given back before it is told */
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	test_submit(&it, &request);
	test_until((ringlane_managed_poll(it.managed), test_tally_wait(&it.tally, 0)) == 2);
	assert_int_equal(test_queue_stats(&it, orphan).submitted, 1);
	assert_int_equal(it.tally.failed, 0);
	assert_int_equal(ringlane_finish_online(it.managed, cpus.goes), 0);
	assert_true(test_queue_stats(&it, orphan).active);
	test_managed_close(&it);
	cpus_free(&cpus);
}

/* ---- interrupts ---- */

/* The fake disk's transport gets the functions that it lacks. */
struct rig {
	struct test_managed it;
	struct cpus cpus;
	struct transport_ops ops;
	struct ringlane_managed *managed; /* atomic: it.managed, for the keeper's thread */
	bool refuses;                     /* atomic: the kernel has no interrupt for us */
	bool too_early; /* atomic: somebody was let in without one, or before it was gone */
	unsigned masks, unmasks; /* atomic */
	bool off[2];             /* atomic: the queue has no interrupt */
	unsigned refused;        /* atomic */
};

static struct rig
	*the_rig; /* of the test that runs: the transport's functions have no other way to it */

static bool queue_is_closed(unsigned index)
{
	struct ringlane_queue_stats stats;

	ringlane_managed_get_queue_stats(load_acquire(&the_rig->managed), index, &stats);
	return !stats.active;
}

static int queue_mask(struct transport *transport, unsigned index, struct error *error)
{
	const struct ringlane_managed *managed = load_acquire(&the_rig->managed);

	if (managed && (!queue_is_closed(index) || !load_relaxed(&managed->queues[index].muted)))
		store_relaxed(&the_rig->too_early, true);
	add_relaxed(&the_rig->masks, 1);
	store_relaxed(&the_rig->off[index], true);
	return 0;
}

static int queue_unmask(struct transport *transport, unsigned index, struct error *error)
{
	if (load_relaxed(&the_rig->refuses)) {
		add_relaxed(&the_rig->refused, 1);
		return error_set(error, -ENOSPC, "no interrupt left");
	}
	if (!load_relaxed(&the_rig->refused) && !queue_is_closed(index))
		store_relaxed(&the_rig->too_early, true);
	add_relaxed(&the_rig->unmasks, 1);
	store_relaxed(&the_rig->off[index], false);
	return 0;
}

static void queue_vector(const struct transport *transport, unsigned index,
			 struct transport_vector *ret_vector)
{
	*ret_vector = (struct transport_vector){ "nowhere", index + 1,
						 load_relaxed(&the_rig->off[index]) };
}

/* False: the machine has one CPU for us. */
static bool rig_open(struct rig *rig, unsigned poll_queues)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
						    .poll_queues = poll_queues };

	*rig = (struct rig){ .refuses = false };
	the_rig = rig;
	if (!cpus_make(&rig->cpus, &options))
		return false;
	rig->it.disk = test_disk_open(&(struct fake_setup){ 0 }, &two);
	rig->ops = *rig->it.disk.device->transport->ops;
	rig->ops.queue_mask = queue_mask;
	rig->ops.queue_unmask = queue_unmask;
	rig->it.disk.device->transport->ops = &rig->ops;
	test_managed_start(&rig->it, &options);
	store_release(&rig->managed, rig->it.managed);
	return true;
}

static void rig_go(struct rig *rig)
{
	unsigned before = load_relaxed(&rig->cpus.events[RINGLANE_QUEUE_INACTIVE]);

	cpus_write(&rig->cpus, false);
	hotplug_poke(rig->it.managed->keeper->hotplug);
	test_until(load_relaxed(&rig->cpus.events[RINGLANE_QUEUE_INACTIVE]) == before + 1);
}

static void rig_come(struct rig *rig)
{
	unsigned before = load_relaxed(&rig->cpus.events[RINGLANE_QUEUE_ACTIVE]);

	cpus_write(&rig->cpus, true);
	hotplug_poke(rig->it.managed->keeper->hotplug);
	test_until(load_relaxed(&rig->cpus.events[RINGLANE_QUEUE_ACTIVE]) == before + 1);
}

/* One at a time, so that each needs its own call. */
static void rig_submit(struct rig *rig, unsigned count)
{
	for (unsigned i = 0; i < 2 * count; i++) {
		struct ringlane_request request = test_request(&rig->it, RINGLANE_OP_READ, i);
		unsigned before = test_tally_wait(&rig->it.tally, 0);

		request.queue = i % 2;
		test_submit(&rig->it, &request);
		assert_int_equal(test_tally_wait(&rig->it.tally, before + 1), before + 1);
	}
	assert_int_equal(rig->it.tally.failed, 0);
}

static void rig_close(struct rig *rig)
{
	assert_false(load_relaxed(&rig->too_early));
	test_managed_close(&rig->it);
	cpus_free(&rig->cpus);
}

static void test_interrupt_when_its_queue_goes_and_comes_then_in_that_order(void **state)
{
	struct rig rig;

	if (!rig_open(&rig, 0))
		skip();
	for (unsigned round = 1; round <= 3; round++) {
		rig_go(&rig);
		test_until(load_relaxed(&rig.masks) == round);
		rig_submit(&rig, COUNT);
		assert_int_equal(load_relaxed(&rig.unmasks), round - 1);
		rig_come(&rig);
		assert_int_equal(load_relaxed(&rig.unmasks), round);
		rig_submit(&rig, COUNT);
	}
	rig_close(&rig);
}

static void test_interrupt_when_it_was_freed_and_the_device_stops_then_it_is_returned(void **state)
{
	struct rig rig;

	if (!rig_open(&rig, 0))
		skip();
	rig_go(&rig);
	test_until(load_relaxed(&rig.masks) == 1);
	assert_int_equal(ringlane_managed_stop(rig.it.managed), 0);
	assert_int_equal(load_relaxed(&rig.unmasks), 1);
	rig_close(&rig);
}

static void test_interrupt_when_its_queue_is_polled_then_it_is_freed_until_the_end(void **state)
{
	struct ringlane_request request;
	struct rig rig;

	if (!rig_open(&rig, 1))
		skip();
	assert_int_equal(load_relaxed(&rig.masks), 1);
	request = test_request(&rig.it, RINGLANE_OP_READ, 0);
	request.flags = RINGLANE_POLLED;
	test_submit(&rig.it, &request);
	test_until((ringlane_managed_poll(rig.it.managed), test_tally_wait(&rig.it.tally, 0)) == 1);
	assert_int_equal(load_relaxed(&rig.unmasks), 0);
	assert_int_equal(ringlane_managed_stop(rig.it.managed), 0);
	assert_int_equal(load_relaxed(&rig.masks), 1);
	assert_int_equal(load_relaxed(&rig.unmasks), 1);
	test_managed_close(&rig.it);
	cpus_free(&rig.cpus);
}

static void
test_interrupt_when_the_kernel_refuses_it_then_the_queue_works_all_the_same(void **state)
{
	struct rig rig;

	if (!rig_open(&rig, 0))
		skip();
	rig_go(&rig);
	test_until(load_relaxed(&rig.masks) == 1);
	store_relaxed(&rig.refuses, true);
	rig_come(&rig);
	fake_disk_set_trick(rig.it.disk.fake, FAKE_LOSES_CALL);
	for (unsigned i = 0; i < COUNT; i++) {
		struct ringlane_request request = test_request(&rig.it, RINGLANE_OP_READ, i);

		request.queue = steer_map_queue(
			rig.managed->classes[RINGLANE_INTERRUPT_QUEUES].steering.map,
			rig.cpus.goes);
		test_submit(&rig.it, &request);
		assert_int_equal(test_tally_wait(&rig.it.tally, i + 1), i + 1);
	}
	fake_disk_set_trick(rig.it.disk.fake, FAKE_HONEST);
	assert_true(load_relaxed(&rig.refused) > 0);
	assert_int_equal(load_relaxed(&rig.unmasks), 0);
	store_relaxed(&rig.refuses, false);
	test_until(load_relaxed(&rig.unmasks) == 1);
	rig_submit(&rig, COUNT);
	rig_close(&rig);
}

/* The kernel did not give it back when the device stopped. The next managed device finds that out, and does without. */
static void
test_interrupt_when_refused_at_the_stop_then_the_next_start_does_without_it(void **state)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
						    .interrupts = RINGLANE_INTERRUPTS_LEAVE };
	struct ringlane_request request;
	struct rig rig;

	if (!rig_open(&rig, 0))
		skip();
	rig.ops.queue_vector = queue_vector;
	rig_go(&rig);
	test_until(load_relaxed(&rig.masks) == 1);
	store_relaxed(&rig.refuses, true);
	store_release(&rig.managed, NULL);
	ringlane_managed_free(rig.it.managed);
	assert_true(load_relaxed(&rig.refused) > 0);
	options.cpus = rig.cpus.both;
	test_managed_start(&rig.it, &options);
	fake_disk_set_trick(rig.it.disk.fake, FAKE_LOSES_CALL);
	request = test_request(&rig.it, RINGLANE_OP_READ, 0);
	request.queue = load_relaxed(&rig.off[1]);
	for (unsigned i = 1; i <= COUNT; i++) {
		test_submit(&rig.it, &request);
		assert_int_equal(test_tally_wait(&rig.it.tally, i), i);
	}
	fake_disk_set_trick(rig.it.disk.fake, FAKE_HONEST);
	store_relaxed(&rig.refuses, false);
	test_until(load_relaxed(&rig.unmasks) == 1);
	rig_submit(&rig, COUNT);
	test_managed_close(&rig.it);
	cpus_free(&rig.cpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_cpu_when_it_goes_and_comes_then_its_queue_does_too),
		driver_test(test_cpu_when_a_request_comes_from_it_then_it_is_looked_at),
		driver_test(test_cpu_when_its_queue_does_not_get_idle_then_it_is_adopted),
		driver_test(test_poll_queue_when_its_cpu_goes_and_nobody_polls_then_it_is_adopted),
		driver_test(test_orphan_when_its_cpu_is_back_then_it_is_a_queue_again),
		driver_test(test_interrupt_when_its_queue_goes_and_comes_then_in_that_order),
		driver_test(
			test_interrupt_when_it_was_freed_and_the_device_stops_then_it_is_returned),
		driver_test(test_interrupt_when_its_queue_is_polled_then_it_is_freed_until_the_end),
		driver_test(
			test_interrupt_when_the_kernel_refuses_it_then_the_queue_works_all_the_same),
		driver_test(
			test_interrupt_when_refused_at_the_stop_then_the_next_start_does_without_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
