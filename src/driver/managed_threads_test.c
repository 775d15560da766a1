// SPDX-License-Identifier: MIT
/*
 * The managed mode under load, for the thread sanitizer too: many submitters, flows that move, polling that is switched, maps and
 * gates that change, stopping in the middle of it.
 *
 * The device is in a process of its own (the sanitizer does not see the order that a ring makes between two mappings of one
 * memory) and watches the order of each flow: a flow has its own sectors, and reads one after the other, in a circle.
 */
#include "driver/managed.h"
#include "driver/test_managed.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOWS 4
#define FLOW_SECTORS 512u
#define WINDOW 24u
#define ROUNDS 3000u

/* ---- the device's process ---- */

/* Shared by both; written by the device. */
struct watch {
	unsigned next[FLOWS]; /* the sector, within its flow's, that is to come */
	unsigned wrong;       /* others that came */
};

struct remote {
	pid_t pid;
	int end_fd; /* closing it ends the device */
	char uri[128];
	struct watch *watch;
};

static void watch_request(void *opaque, uint64_t sector)
{
	struct watch *watch = opaque;
	unsigned flow = (unsigned)(sector / FLOW_SECTORS) % FLOWS, number = sector % FLOW_SECTORS;

	if (number != watch->next[flow])
		add_relaxed(&watch->wrong, 1);
	watch->next[flow] = (number + 1) % FLOW_SECTORS;
}

static void remote_run(struct watch *watch, int uri_fd, int end_fd)
{
	const struct fake_setup setup = { .watch = watch_request, .watch_opaque = watch };
	struct fake_disk *fake = fake_disk_new(&setup);
	char byte;

	if (write(uri_fd, fake_disk_uri(fake), strlen(fake_disk_uri(fake)) + 1) < 0)
		_exit(1);
	while (read(end_fd, &byte, 1) > 0)
		;
	fake_disk_free(fake);
	_exit(0);
}

/* Before the first thread of the test. */
static void remote_open(struct remote *remote)
{
	int uri_fds[2], end_fds[2];

	remote->watch = mmap(NULL, sizeof(*remote->watch), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(remote->watch, MAP_FAILED);
	assert_int_equal(pipe(uri_fds), 0);
	assert_int_equal(pipe(end_fds), 0);
	remote->pid = fork();
	assert_true(remote->pid >= 0);
	if (remote->pid == 0) {
		close(end_fds[1]);
		remote_run(remote->watch, uri_fds[1], end_fds[0]);
	}
	assert_true(read(uri_fds[0], remote->uri, sizeof(remote->uri)) > 0);
	close(uri_fds[0]);
	close(uri_fds[1]);
	close(end_fds[0]);
	remote->end_fd = end_fds[1];
}

static void remote_close(struct remote *remote)
{
	int status = -1;

	close(remote->end_fd);
	assert_int_equal(waitpid(remote->pid, &status, 0), remote->pid);
	assert_int_equal(status, 0);
	munmap(remote->watch, sizeof(*remote->watch));
}

/* What the device leaves behind when it is killed. */
static void remote_kill(struct remote *remote)
{
	char *path = strchr(remote->uri, '/');

	kill(remote->pid, SIGKILL);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

/* ---- submitters ---- */

struct submitter {
	struct bed *bed;
	pthread_t thread;
	struct ringlane_flow *flow;
	unsigned index, rounds; /* at least; 0: until nothing is accepted any more */
	bool polls;             /* its requests are polled, by itself and whoever else does */
	unsigned accepted, end; /* end: what the last submission returned */
	uint8_t *buffer;
	unsigned done, failed, twice; /* atomic */
	bool out[FLOW_SECTORS];       /* atomic; a request of that sector is under way */
};

struct bed {
	struct remote remote;
	struct ringlane_device *device;
	struct ringlane_managed *managed;
	struct submitter submitters[FLOWS];
	bool quit;    /* atomic */
	bool goes_on; /* atomic: beyond the rounds, so that what is to happen meanwhile can happen */
};

struct ticket {
	struct submitter *submitter;
	unsigned sector;
};

static void request_done(void *opaque, int result)
{
	struct ticket *ticket = opaque;
	struct submitter *submitter = ticket->submitter;

	if (!__atomic_exchange_n(&submitter->out[ticket->sector], false, __ATOMIC_RELEASE))
		add_relaxed(&submitter->twice, 1);
	add_relaxed(&submitter->failed, result != 0);
	sub_release(&submitter->done, (unsigned)-1);
}

/* Moves between the CPUs, so that its flow wants to move, too. */
static void wander(unsigned round)
{
	cpu_set_t all, one;
	unsigned cpu = 0, skip;

	if (round % 500 || sched_getaffinity(getpid(), sizeof(all), &all) < 0)
		return;
	skip = round / 500 % (unsigned)CPU_COUNT(&all);
	while (!CPU_ISSET(cpu, &all) || skip--)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

/* Others shall run, too. */
static void submitter_wait(const struct submitter *submitter)
{
	if (submitter->polls)
		ringlane_managed_poll(submitter->bed->managed);
	sched_yield();
}

static bool submitter_has_more(const struct submitter *submitter)
{
	return !submitter->rounds || submitter->accepted < submitter->rounds ||
	       load_relaxed(&submitter->bed->goes_on);
}

static void *submit_run(void *opaque)
{
	struct submitter *submitter = opaque;
	struct ticket tickets[FLOW_SECTORS];
	int ret = 1;

	while (ret != -ESHUTDOWN && submitter_has_more(submitter)) {
		unsigned sector = submitter->accepted % FLOW_SECTORS;
		struct ringlane_request request = {
			.op = RINGLANE_OP_READ,
			.flags = submitter->polls ? RINGLANE_POLLED : 0,
			.data = submitter->buffer + 512 * sector,
			.bytes = 512,
			.offset = 512ull * (submitter->index * FLOW_SECTORS + sector),
			.flow = submitter->flow,
			.done = request_done,
			.user_data = &tickets[sector],
		};

		wander(submitter->accepted);
		/* one that is slow may still be out when its sector's turn comes again */
		if (submitter->accepted - load_acquire(&submitter->done) >= WINDOW ||
		    load_acquire(&submitter->out[sector])) {
			submitter_wait(submitter);
			continue;
		}
		tickets[sector] = (struct ticket){ submitter, sector };
		store_relaxed(&submitter->out[sector], true);
		ret = ringlane_managed_submit(submitter->bed->managed, &request, 1);
		submitter->accepted += ret == 1;
		if (ret != 1)
			store_relaxed(&submitter->out[sector], false);
		if (ret == -EAGAIN)
			submitter_wait(submitter);
		else if (ret < 0 && ret != -ESHUTDOWN)
			break;
	}
	submitter->end = (unsigned)-ret;
	while (load_acquire(&submitter->done) < submitter->accepted)
		submitter_wait(
			submitter); /* the tickets are on the stack; the test program has a deadline */
	return NULL;
}

/* ---- the bed ---- */

static void bed_open(struct bed *bed, enum ringlane_order order, unsigned rounds, bool goes_on,
		     const struct ringlane_managed_options *options)
{
	const struct ringlane_options some = { .queues = 2 + options->poll_queues,
					       .queue_size = 64 };
	struct ringlane_error error = { 0 };

	memset(bed, 0, sizeof(*bed));
	bed->goes_on = goes_on;
	remote_open(&bed->remote);
	if (ringlane_open(bed->remote.uri, &some, &bed->device, &error) < 0 ||
	    ringlane_managed_start(bed->device, options, &bed->managed, &error) < 0)
		fail_msg("%s", error.text);
	for (unsigned i = 0; i < FLOWS; i++)
		bed->submitters[i] = (struct submitter){
			.bed = bed,
			.index = i,
			.rounds = rounds,
			.polls = options->poll_queues && i % 2,
			.flow = ringlane_flow_new(bed->managed, order),
			.buffer = ringlane_mem_alloc(bed->device, 512 * FLOW_SECTORS, NULL),
		};
	for (unsigned i = 0; i < FLOWS; i++) {
		struct submitter *submitter = &bed->submitters[i];

		assert_non_null(submitter->buffer);
		assert_int_equal(pthread_create(&submitter->thread, NULL, submit_run, submitter),
				 0);
	}
}

static bool bed_is_done(const struct bed *bed)
{
	bool done = !load_relaxed(&bed->goes_on);

	for (unsigned i = 0; i < FLOWS; i++)
		done &= load_acquire(&bed->submitters[i].done) >= bed->submitters[i].rounds;
	return done;
}

static unsigned bed_done(const struct bed *bed)
{
	unsigned done = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		done += load_acquire(&bed->submitters[i].done);
	return done;
}

static void bed_join(struct bed *bed)
{
	for (unsigned i = 0; i < FLOWS; i++)
		pthread_join(bed->submitters[i].thread, NULL);
}

/* All that was accepted was done once. */
static void bed_check(struct bed *bed)
{
	for (unsigned i = 0; i < FLOWS; i++) {
		const struct submitter *submitter = &bed->submitters[i];

		assert_int_equal(load_relaxed(&submitter->done), submitter->accepted);
		assert_int_equal(load_relaxed(&submitter->twice), 0);
		assert_true(steer_flow_is_idle(&submitter->flow->steer));
	}
	for (unsigned i = 0; i < bed->managed->queue_count; i++)
		assert_true(gate_is_idle(bed->managed->queues[i].gate));
}

static void bed_close(struct bed *bed)
{
	for (unsigned i = 0; i < FLOWS; i++)
		ringlane_flow_free(bed->submitters[i].flow);
	ringlane_managed_free(bed->managed);
	ringlane_close(bed->device);
	remote_close(&bed->remote);
}

/* ---- tests ---- */

/* Moves as soon as may be, so that holding happens a lot. */
static const struct ringlane_managed_options restless = {
	.policy = RINGLANE_POLICY_STICKY,
	.move_ns = 1000,
	.hold_ns = 2000000,
	.weight = 4,
};

static void test_load_when_polling_is_switched_then_flows_keep_their_order(void **state)
{
	struct ringlane_managed_stats stats;
	struct bed bed;

	bed_open(&bed, RINGLANE_ORDERED, ROUNDS, false, &restless);
	for (unsigned i = 0; !bed_is_done(&bed); i++) {
		assert_int_equal(
			ringlane_managed_set_iopoll(bed.managed, (enum ringlane_iopoll)(i % 3)), 0);
		sched_yield();
	}
	bed_join(&bed);
	bed_check(&bed);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(load_relaxed(&bed.submitters[i].failed), 0);
	assert_int_equal(load_relaxed(&bed.remote.watch->wrong), 0);
	ringlane_managed_get_stats(bed.managed, &stats);
	print_message("%llu held, %llu moved, %llu wishes\n", (unsigned long long)stats.held,
		      (unsigned long long)stats.moved, (unsigned long long)stats.wishes);
	bed_close(&bed);
}

/* Two maps, and a gate that is closed and opened; the other one stays open. */
static void test_load_when_maps_and_gates_change_then_flows_keep_their_order(void **state)
{
	const uint16_t one_way[] = { 0, 1 }, other_way[] = { 1, 0 };
	struct bed bed;
	struct gate *gate;

	bed_open(&bed, RINGLANE_ORDERED, ROUNDS, false, &restless);
	gate = bed.managed->queues[1].gate;
	for (unsigned i = 0; !bed_is_done(&bed); i++) {
		const struct steer_map_spec spec = { .queue_of_cpu = i % 2 ? one_way : other_way,
						     .cpu_count = 2 };

		assert_int_equal(
			steering_set_map(&bed.managed->classes[RINGLANE_INTERRUPT_QUEUES].steering,
					 &spec),
			0);
		if (i % 4 == 1)
			gate_close(gate);
		if (i % 4 == 3)
			gate_open(gate);
		sched_yield();
	}
	gate_open(gate);
	bed_join(&bed);
	bed_check(&bed);
	assert_int_equal(load_relaxed(&bed.remote.watch->wrong), 0);
	bed_close(&bed);
}

static const struct ringlane_managed_options polled = { .poll_queues = 2 };

/*
 * Submitters that poll and others, and a device that is reset again and again, each time after it has got on: a request is put
 * in again five times at most. The test does the keeper's work.
 */
static void test_load_when_polled_and_reset_then_what_was_accepted_is_done_once(void **state)
{
	struct bed bed;
	unsigned resets = 0, reset_at = 0;

	bed_open(&bed, RINGLANE_RELAXED, ROUNDS, true, &polled);
	test_ladder_take(bed.managed);
	while (!bed_is_done(&bed)) {
		if (bed_done(&bed) - reset_at > 8 * FLOWS * WINDOW) {
			assert_true(managed_reset(bed.managed->keeper));
			reset_at = bed_done(&bed);
			resets++;
			store_relaxed(&bed.goes_on, false); /* that was seen */
		}
		sched_yield();
	}
	assert_true(resets > 0);
	bed_join(&bed);
	bed_check(&bed);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(load_relaxed(&bed.submitters[i].failed), 0);
	print_message("%u resets, %llu replayed\n", resets,
		      (unsigned long long)load_relaxed(&bed.managed->keeper->replayed));
	bed_close(&bed);
}

/* ---- CPUs ---- */

static int no_mask(struct transport *transport, unsigned index, struct error *error)
{
	return 0;
}

/* The kernel has no interrupt for us every other time. */
static int seldom_unmask(struct transport *transport, unsigned index, struct error *error)
{
	static unsigned times;

	return add_relaxed(&times, 1) % 2 ? 0 : error_set(error, -ENOSPC, "no interrupt left");
}

/* Takes the last CPU away and brings it back, until there is nothing to be done any more. */
static void *cpus_run(void *opaque)
{
	struct bed *bed = opaque;
	unsigned cpu = CPU_SETSIZE - 1;
	cpu_set_t mine;

	if (sched_getaffinity(getpid(), sizeof(mine), &mine) < 0)
		return NULL;
	while (cpu && !CPU_ISSET(cpu, &mine))
		cpu--;
	while (!load_relaxed(&bed->quit)) {
		ringlane_prepare_offline(bed->managed, cpu, 1);
		sched_yield();
		ringlane_finish_online(bed->managed, cpu);
	}
	return NULL;
}

static const struct ringlane_managed_options flighty = { .poll_queues = 2, .quiesce_ms = 1 };

/* The keeper's work is the test's: resets, and a look at the gates whenever there is time. */
static void test_load_when_cpus_go_and_the_device_is_reset_then_all_is_done_once(void **state)
{
	struct ringlane_managed_stats stats;
	unsigned resets = 0, reset_at = 0;
	struct transport_ops ops;
	pthread_t thread;
	struct bed bed;

	bed_open(&bed, RINGLANE_RELAXED, ROUNDS, true, &flighty);
	test_ladder_take(bed.managed);
	ops = *bed.device->transport->ops;
	ops.queue_mask = no_mask;
	ops.queue_unmask = seldom_unmask;
	bed.device->transport->ops = &ops;
	assert_int_equal(pthread_create(&thread, NULL, cpus_run, &bed), 0);
	while (!bed_is_done(&bed)) {
		if (bed_done(&bed) - reset_at > 8 * FLOWS * WINDOW) {
			assert_true(managed_reset(bed.managed->keeper));
			reset_at = bed_done(&bed);
			resets++;
			store_relaxed(&bed.goes_on, false); /* that was seen */
		}
		managed_cpus_look(bed.managed->keeper, clock_ns());
		sched_yield();
	}
	store_relaxed(&bed.quit, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(resets > 0);
	bed_join(&bed);
	bed_check(&bed);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(load_relaxed(&bed.submitters[i].failed), 0);
	ringlane_managed_get_stats(bed.managed, &stats);
	print_message("%u resets, %llu quiesced, %llu orphaned\n", resets,
		      (unsigned long long)stats.quiesced, (unsigned long long)stats.orphaned);
	bed_close(&bed);
}

static void test_stop_when_under_load_then_what_was_accepted_is_done_once(void **state)
{
	static const enum ringlane_order orders[] = { RINGLANE_ORDERED, RINGLANE_RELAXED };

	for (unsigned i = 0; i < 6; i++) {
		struct bed bed;

		bed_open(&bed, orders[i % 2], 0, false, i < 3 ? &restless : &polled);
		test_until(load_relaxed(&bed.submitters[0].done) > 50 * i);
		assert_int_equal(ringlane_managed_stop(bed.managed), 0);
		bed_join(&bed);
		bed_check(&bed);
		for (unsigned k = 0; k < FLOWS; k++)
			assert_int_equal(bed.submitters[k].end, ESHUTDOWN);
		bed_close(&bed);
	}
}

static void test_load_when_the_device_dies_then_what_was_accepted_is_done_once(void **state)
{
	struct bed bed;

	bed_open(&bed, RINGLANE_ORDERED, 0, false, &restless);
	test_until(load_relaxed(&bed.submitters[0].done) > 50);
	remote_kill(&bed.remote);
	bed_join(&bed);
	bed_check(&bed);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(bed.submitters[i].end, ECONNRESET);
	for (unsigned i = 0; i < FLOWS; i++)
		ringlane_flow_free(bed.submitters[i].flow);
	ringlane_managed_free(bed.managed);
	ringlane_close(bed.device);
	close(bed.remote.end_fd);
	waitpid(bed.remote.pid, NULL, 0);
	munmap(bed.remote.watch, sizeof(*bed.remote.watch));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_when_polling_is_switched_then_flows_keep_their_order),
		cmocka_unit_test(test_load_when_maps_and_gates_change_then_flows_keep_their_order),
		cmocka_unit_test(
			test_load_when_polled_and_reset_then_what_was_accepted_is_done_once),
		cmocka_unit_test(
			test_load_when_cpus_go_and_the_device_is_reset_then_all_is_done_once),
		cmocka_unit_test(test_stop_when_under_load_then_what_was_accepted_is_done_once),
		cmocka_unit_test(
			test_load_when_the_device_dies_then_what_was_accepted_is_done_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
