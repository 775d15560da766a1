// SPDX-License-Identifier: MIT
/* Managed devices while CPUs go and come: queues follow them, and what is not done in time is adopted. */
#include "driver/reaper.h"
#include "driver/test_managed.h"

#include <unistd.h>

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

static void test_offline_when_no_queue_would_be_left_then_ebusy(void **state)
{
	struct test_managed it;
	cpu_set_t mine;
	int ret = 0;

	test_managed_open(&it, &(struct fake_setup){ 0 }, &two, NULL);
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && ret == 0; cpu++)
		if (CPU_ISSET(cpu, &mine))
			ret = ringlane_prepare_offline(it.managed, cpu, TEST_DEADLINE_MS);
	assert_int_equal(ret, -EBUSY);
	assert_int_equal(ringlane_prepare_offline(it.managed, CPU_SETSIZE, 0), -EINVAL);
	submit_count(&it, RINGLANE_OP_READ, COUNT);
	assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
	test_managed_close(&it);
}

struct cpus {
	char folder[64], path[96];
	unsigned events[3];
	unsigned first, second; /* two CPUs whose queues are two */
};

static void cpus_write(const struct cpus *cpus, bool both)
{
	char fresh[112];
	FILE *file;

	snprintf(fresh, sizeof(fresh), "%s.new", cpus->path);
	file = fopen(fresh, "w");
	assert_non_null(file);
	fprintf(file, both ? "0-1023\n" : "0-%u,%u-1023\n", cpus->first - 1, cpus->first + 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, cpus->path), 0);
}

static void cpus_event(void *data, unsigned queue, enum ringlane_queue_event event)
{
	struct cpus *cpus = data;

	add_relaxed(&cpus->events[event], 1);
}

static unsigned queues_active(struct test_managed *it)
{
	unsigned active = 0;

	for (unsigned i = 0; i < 2; i++)
		active += test_queue_stats(it, i).active;
	return active;
}

/* False: the machine has one CPU for us. */
static bool cpus_make(struct cpus *cpus, struct ringlane_managed_options *options)
{
	unsigned count = 0;
	cpu_set_t mine;

	*cpus = (struct cpus){ .first = 0 };
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mine)) {
			cpus->first = count++ ? cpu : 0; /* the last: there is one before it */
		}
	if (count < 2)
		return false;
	snprintf(cpus->folder, sizeof(cpus->folder), "/tmp/ringlane-cpus-XXXXXX");
	assert_non_null(mkdtemp(cpus->folder));
	snprintf(cpus->path, sizeof(cpus->path), "%s/online", cpus->folder);
	cpus_write(cpus, true);
	options->cpu_folder = cpus->folder;
	options->queue_event = cpus_event;
	options->queue_event_data = cpus;
	return true;
}

static void cpus_free(struct cpus *cpus)
{
	unlink(cpus->path);
	rmdir(cpus->folder);
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
	orphan = steer_map_queue(it.managed->steering.map, cpus.first);
	submit_to(&it, orphan);
	test_until(fake_disk_taken(it.disk.fake) == 1);
	assert_int_equal(ringlane_prepare_offline(it.managed, cpus.first, 50), -ETIMEDOUT);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ORPHANED]) == 1);
	assert_int_equal(stats_of(&it).orphaned, 1);
	reaper_check(&it, orphan, cpus.first);
	fake_disk_set_trick(it.disk.fake, FAKE_LOSES_CALL);
	fake_disk_release(it.disk.fake);
	assert_int_equal(test_tally_wait(&it.tally, 1), 1);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]) == 1);
	assert_int_equal(ringlane_finish_online(it.managed, cpus.first), 0);
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
	assert_int_equal(ringlane_prepare_offline(it.managed, cpus.first, 50), -ETIMEDOUT);
	test_until(load_relaxed(&cpus.events[RINGLANE_QUEUE_ORPHANED]) == 1);
	assert_int_equal(ringlane_finish_online(it.managed, cpus.first), 0);
	assert_int_equal(load_relaxed(&cpus.events[RINGLANE_QUEUE_ACTIVE]), 1);
	assert_int_equal(queues_active(&it), 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(load_relaxed(&it.managed->queues[i].reaper->orphans), 0);
	fake_disk_set_trick(it.disk.fake, FAKE_HONEST);
	fake_disk_release(it.disk.fake);
	for (unsigned i = 0; i < 2; i++)
		submit_to(&it, i);
	assert_int_equal(test_tally_wait(&it.tally, 4), 4);
	assert_int_equal(load_relaxed(&cpus.events[RINGLANE_QUEUE_INACTIVE]), 0);
	test_managed_close(&it);
	cpus_free(&cpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_offline_when_no_queue_would_be_left_then_ebusy),
		driver_test(test_cpu_when_it_goes_and_comes_then_its_queue_does_too),
		driver_test(test_cpu_when_its_queue_does_not_get_idle_then_it_is_adopted),
		driver_test(test_orphan_when_its_cpu_is_back_then_it_is_a_queue_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
