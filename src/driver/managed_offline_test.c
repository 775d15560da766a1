// SPDX-License-Identifier: MIT
/* ringlane_prepare_offline: who is waited for, and for how long. */
#include "driver/test_cpus.h"

#define COUNT 40

static const struct ringlane_options two = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };

static void test_offline_when_no_queue_would_be_left_then_ebusy(void **state)
{
	struct ringlane_options options = two;
	struct test_managed it;
	cpu_set_t mine;
	int ret = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	options.queues =
		(unsigned)MIN(CPU_COUNT(&mine), 2); /* one without a CPU would always be left */
	test_managed_open(&it, &(struct fake_setup){ 0 }, &options, NULL);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && ret == 0; cpu++)
		if (CPU_ISSET(cpu, &mine))
			ret = ringlane_prepare_offline(it.managed, cpu, TEST_DEADLINE_MS);
	assert_int_equal(ret, -EBUSY);
	assert_int_equal(ringlane_prepare_offline(it.managed, CPU_SETSIZE, 0), -EINVAL);
	for (unsigned i = 0; i < COUNT; i++) {
		const struct ringlane_request request = test_request(&it, RINGLANE_OP_READ, i);

		test_submit(&it, &request);
	}
	assert_int_equal(test_tally_wait(&it.tally, COUNT), COUNT);
	test_managed_close(&it);
}

struct busy {
	struct test_managed it;
	struct cpus cpus;
	struct fake_setup setup;
	bool returned; /* atomic */
	int ret;
};

/* Queues do not get idle: the device drops what they have. False: the machine has one CPU for us. */
static bool busy_open(struct busy *busy)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED,
						    .stop_ms = 10 };

	*busy = (struct busy){ .setup = { .trick = FAKE_DROPS } };
	if (!cpus_make(&busy->cpus, &options))
		return false;
	test_managed_open(&busy->it, &busy->setup, &two, &options);
	for (unsigned i = 0; i < 2; i++) {
		struct ringlane_request request = test_request(&busy->it, RINGLANE_OP_READ, i);

		request.queue = i;
		test_submit(&busy->it, &request);
	}
	test_until(fake_disk_taken(busy->it.disk.fake) == 2);
	return true;
}

static void busy_close(struct busy *busy)
{
	test_managed_close(&busy->it);
	cpus_free(&busy->cpus);
}

static void *busy_prepare(void *opaque)
{
	struct busy *busy = opaque;

	busy->ret = ringlane_prepare_offline(busy->it.managed, busy->cpus.goes, TEST_DEADLINE_MS);
	store_release(&busy->returned, true);
	return NULL;
}

/* Nobody would tell it any more. */
static void test_offline_when_the_device_stops_then_who_waits_goes_on(void **state)
{
	struct busy busy;
	pthread_t thread;

	if (!busy_open(&busy))
		skip();
	assert_int_equal(pthread_create(&thread, NULL, busy_prepare, &busy), 0);
	test_until(!test_queue_stats(&busy.it, 0).active || !test_queue_stats(&busy.it, 1).active);
	assert_int_equal(ringlane_managed_stop(busy.it.managed), -ECANCELED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(busy.ret, -ESHUTDOWN);
	assert_int_equal(ringlane_prepare_offline(busy.it.managed, busy.cpus.goes, 0), -ESHUTDOWN);
	assert_int_equal(ringlane_finish_online(busy.it.managed, busy.cpus.goes), -ESHUTDOWN);
	busy_close(&busy);
}

/* One that is late is no business of whoever takes another CPU away. */
static void test_offline_when_another_cpus_queue_is_busy_then_it_is_not_waited_for(void **state)
{
	struct busy busy;

	if (!busy_open(&busy))
		skip();
	assert_int_equal(ringlane_prepare_offline(busy.it.managed, busy.cpus.goes, 0), -ETIMEDOUT);
	assert_int_equal(ringlane_prepare_offline(busy.it.managed, CPU_SETSIZE - 1, 0), 0);
	assert_int_equal(ringlane_prepare_offline(busy.it.managed, busy.cpus.goes, 0), -ETIMEDOUT);
	busy_close(&busy);
}

/* Somebody has the device for long: the owner with a command, the keeper with a reset. There is no interrupt to be given back. */
static void test_offline_when_the_device_is_busy_then_its_time_is_kept(void **state)
{
	struct ringlane_managed_options options = { .policy = RINGLANE_POLICY_PICKED };
	struct busy busy = { .returned = false };
	pthread_t thread;

	if (!cpus_make(&busy.cpus, &options))
		skip();
	test_managed_open(&busy.it, &busy.setup, &two, &options);
	pthread_mutex_lock(&busy.it.disk.device->lock);
	assert_int_equal(pthread_create(&thread, NULL, busy_prepare, &busy), 0);
	test_until(load_acquire(&busy.returned));
	pthread_mutex_unlock(&busy.it.disk.device->lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(busy.ret, 0);
	busy_close(&busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_offline_when_no_queue_would_be_left_then_ebusy),
		driver_test(test_offline_when_the_device_stops_then_who_waits_goes_on),
		driver_test(test_offline_when_another_cpus_queue_is_busy_then_it_is_not_waited_for),
		driver_test(test_offline_when_the_device_is_busy_then_its_time_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
