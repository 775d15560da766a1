// SPDX-License-Identifier: MIT
/* IOThreads: made, pinned, idle, refused, freed; and a peer that kicks one through every race. */
#include "base/atomic.h"
#include "base/cpu_list.h"
#include "base/fd.h"
#include "loop/iothread.h"
#include "loop/loop_internal.h"
#include "loop/test_loop.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct iothread *test_iothread_new(uint64_t poll_max_ns)
{
	const struct iothread_config config = { .id = "lane0", .poll.max_ns = poll_max_ns };
	struct iothread *iothread = NULL;
	struct error error = { 0 };

	if (iothread_new(&config, &iothread, &error) < 0)
		fail_msg("%s", error.text);
	return iothread;
}

/* ---- calling something over there and waiting for it here ---- */

struct test_call {
	struct loop_message message, answer;
	struct loop *from;
	void (*fn)(struct test_call *call);
	bool posted; /* atomic */
	unsigned answered;
	struct loop_stats stats;
	uint64_t cpu_ns;
	struct poll_params poll;
	pid_t tid;
};

static void call_answered(struct loop_message *message)
{
	container_of(message, struct test_call, answer)->answered = 1;
}

/* Who posts may wake us after we have seen the message: that wake-up belongs to this turn, not to what is counted next. */
static void call_run(struct loop_message *message)
{
	struct test_call *call = container_of(message, struct test_call, message);

	while (!load_acquire(&call->posted)) /* pairs with test_call */
		sched_yield();
	call->fn(call);
	loop_post(call->from, &call->answer);
}

static struct test_call test_call(struct loop *from, struct iothread *to,
				  void (*fn)(struct test_call *call))
{
	struct test_call call = { { .fn = call_run }, { .fn = call_answered }, from, fn };

	loop_post(iothread_loop(to), &call.message);
	store_release(&call.posted, true); /* pairs with call_run */
	test_loop_until(from, &call.answered, 1);
	return call;
}

static void call_note(struct test_call *call)
{
	struct timespec cpu;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	call->cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec;
	loop_get_stats(loop_current(), &call->stats);
	call->tid = gettid();
}

static void test_iothread_when_made_runs_its_loop_and_says_what_it_is(void **state)
{
	struct loop *loop = test_loop_new();
	struct iothread *iothread = test_iothread_new(1234);
	struct poll_params poll;

	assert_string_equal(iothread_id(iothread), "lane0");
	assert_int_equal(test_call(loop, iothread, call_note).tid, iothread_tid(iothread));
	assert_int_not_equal(iothread_tid(iothread), gettid());
	iothread_get_poll(iothread, &poll);
	assert_true(poll.max_ns == 1234);
	iothread_ref(iothread);
	assert_int_equal(iothread_refs(iothread), 1);
	iothread_unref(iothread);
	assert_int_equal(iothread_refs(iothread), 0);
	iothread_free(iothread);
	loop_free(loop);
}

static void test_iothreads_when_several_live_and_die_do_not_disturb_each_other(void **state)
{
	struct loop *loop = test_loop_new();
	struct iothread *iothreads[4];

	for (unsigned i = 0; i < 4; i++)
		iothreads[i] = test_iothread_new(0);
	for (unsigned i = 0; i < 4; i++) {
		test_call(loop, iothreads[i], call_note);
		iothread_free(iothreads[i]);
	}
	loop_turn(loop, 0); /* our own ring still works */
	loop_free(loop);
}

/* ---- idle ---- */

static void pause_over(struct loop_timer *timer)
{
	timer->fire = NULL;
}

static void test_iothread_when_nothing_happens_makes_no_turn(void **state)
{
	struct loop *loop = test_loop_new();
	struct iothread *iothread = test_iothread_new(POLL_MAX_NS_DEFAULT);
	struct loop_timer pause = { .fire = pause_over };
	struct test_call before, after;

	before = test_call(loop, iothread, call_note);
	loop_timer_set(loop, &pause, clock_ns() + 50 * NS_PER_MS);
	while (pause.fire)
		loop_turn(loop, NS_PER_S);
	after = test_call(loop, iothread, call_note);
	/* The turn that slept and was woken by the call, and the one that runs it: no more, however
	 * long the pause was. */
	assert_true(after.stats.turns - before.stats.turns <= 2);
	assert_true(after.stats.waits - before.stats.waits <= 1);
	assert_true(after.cpu_ns - before.cpu_ns < 25 * NS_PER_MS);
	iothread_free(iothread);
	loop_free(loop);
}

/* ---- where it runs ---- */

static void first_cpu(cpu_set_t *ret_cpus)
{
	cpu_set_t all;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(ret_cpus);
	CPU_SET(cpu, ret_cpus);
}

static void test_iothread_when_pinned_runs_there_only(void **state)
{
	struct iothread_config config = { .id = "pinned", .pinned = true };
	struct iothread *iothread;
	struct error error;
	cpu_set_t cpus;

	first_cpu(&config.cpus);
	assert_int_equal(iothread_new(&config, &iothread, &error), 0);
	iothread_get_cpus(iothread, &cpus);
	assert_true(CPU_EQUAL(&cpus, &config.cpus));
	iothread_free(iothread);
}

/* ---- the kernel's helpers ---- */

struct slow_op {
	struct loop_op op;
	struct loop_message done;
	struct loop *from;
	unsigned finished;
};

static struct slow_op slow_op;

static void slow_finished(struct loop_message *message)
{
	slow_op.finished = 1;
}

static void slow_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	loop_post(slow_op.from, &slow_op.done);
}

static void call_slow_op(struct test_call *call)
{
	struct io_uring_sqe *sqe = loop_sqe(loop_current());

	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC; /* by a helper */
	loop_sqe_bind(loop_current(), sqe, &slow_op.op);
}

/* The helpers of thread tid are threads of the process that are named after it. */
static unsigned helpers_check_cpus(pid_t tid, const cpu_set_t *cpus)
{
	char wanted[32], path[64], name[32];
	unsigned found = 0;
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");

	snprintf(wanted, sizeof(wanted), "iou-wrk-%d\n", tid);
	while ((entry = readdir(tasks))) {
		cpu_set_t got;
		FILE *comm;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", entry->d_name);
		comm = fopen(path, "r");
		if (comm && fgets(name, sizeof(name), comm) && strcmp(name, wanted) == 0) {
			int helper = (int)strtol(entry->d_name, NULL, 10);

			assert_int_equal(sched_getaffinity(helper, sizeof(got), &got), 0);
			assert_true(CPU_EQUAL(&got, cpus));
			found++;
		}
		if (comm)
			fclose(comm);
	}
	closedir(tasks);
	return found;
}

static void test_iothread_when_pinned_keeps_the_kernels_helpers_there(void **state)
{
	struct iothread_config config = { .id = "pinned", .pinned = true };
	struct loop *loop = test_loop_new();
	struct iothread *iothread;
	struct error error;

	first_cpu(&config.cpus);
	assert_int_equal(iothread_new(&config, &iothread, &error), 0);
	slow_op = (struct slow_op){ { slow_done }, { .fn = slow_finished }, loop };
	test_call(loop, iothread, call_slow_op);
	test_loop_until(loop, &slow_op.finished, 1);
	assert_true(helpers_check_cpus(iothread_tid(iothread), &config.cpus) > 0);
	iothread_free(iothread);
	loop_free(loop);
}

static void test_iothread_when_pinned_to_a_cpu_that_is_not_there_is_refused(void **state)
{
	for (unsigned with_good = 0; with_good < 2; with_good++) {
		struct iothread_config config = { .id = "lost", .pinned = true };
		struct iothread *iothread = NULL;
		struct error error = { 0 };

		CPU_ZERO(&config.cpus);
		if (with_good)
			first_cpu(&config.cpus);
		CPU_SET(CPU_SETSIZE - 1, &config.cpus);
		assert_int_equal(iothread_new(&config, &iothread, &error), -EINVAL);
		assert_null(iothread);
		assert_string_equal(error.text, "iothread 'lost' cannot run on CPU 1023");
	}
}

static void test_iothread_when_pinned_to_no_cpu_is_refused(void **state)
{
	struct iothread_config config = { .id = "lost", .pinned = true };
	struct iothread *iothread = NULL;
	struct error error = { 0 };

	CPU_ZERO(&config.cpus);
	assert_int_equal(iothread_new(&config, &iothread, &error), -EINVAL);
	assert_string_equal(error.text, "iothread 'lost' has no CPU to run on");
}

static void test_iothread_when_its_id_is_too_long_or_empty_is_refused(void **state)
{
	char id[IOTHREAD_ID_MAX + 2] = "";
	struct iothread_config config = { .id = id };
	struct iothread *iothread = NULL;
	struct error error = { 0 };

	assert_int_equal(iothread_new(&config, &iothread, &error), -EINVAL);
	memset(id, 'x', IOTHREAD_ID_MAX + 1);
	assert_int_equal(iothread_new(&config, &iothread, &error), -EINVAL);
	id[IOTHREAD_ID_MAX] = '\0';
	assert_int_equal(iothread_new(&config, &iothread, &error), 0);
	iothread_free(iothread);
}

/*
 * ---- a peer that kicks: the model of a lane ----
 *
 * The peer produces one item after another, signals only when it is asked to, and waits until each
 * is consumed. An item that came just when the loop went to sleep and was missed would stop both.
 */

#define PEER_ITEMS 10000

struct peer {
	unsigned produced, consumed; /* by the peer, by the loop */
	bool asked;                  /* written by the loop, read by the peer */
	struct loop_poller poller;
	struct loop_fd kick;
	struct loop *loop;
	unsigned removed;
};

static bool peer_has_work(struct peer *peer)
{
	return load_acquire(&peer->produced) != peer->consumed; /* pairs with peer_produce */
}

static bool peer_poll(struct loop_poller *poller)
{
	struct peer *peer = container_of(poller, struct peer, poller);

	if (!peer_has_work(peer))
		return false;
	store_release(&peer->consumed, peer->consumed + 1); /* pairs with peer_produce */
	return true;
}

static bool peer_enable(struct loop_poller *poller)
{
	struct peer *peer = container_of(poller, struct peer, poller);

	store_relaxed(&peer->asked, true);
	fence_full(); /* pairs with peer_produce */
	return peer_has_work(peer);
}

static void peer_suppress(struct loop_poller *poller)
{
	store_relaxed(&container_of(poller, struct peer, poller)->asked, false);
}

static void peer_kicked(struct loop_fd *source, unsigned revents)
{
	struct peer *peer = container_of(source, struct peer, kick);

	loop_poller_hit(peer->loop, &peer->poller);
}

static void peer_removed(struct loop_fd *source)
{
	store_release(&container_of(source, struct peer, kick)->removed, 1);
}

static struct peer peers[2];

static void call_add_peers(struct test_call *call)
{
	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++) {
		peers[i].loop = loop_current();
		loop_poller_add(peers[i].loop, &peers[i].poller);
		loop_fd_add(peers[i].loop, &peers[i].kick);
	}
}

static void call_remove_peers(struct test_call *call)
{
	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++) {
		loop_poller_remove(peers[i].loop, &peers[i].poller);
		loop_fd_remove(&peers[i].kick, peer_removed);
	}
}

/* False when the loop did not consume it in time. */
static bool peer_produce(struct peer *peer, unsigned item, unsigned delay)
{
	uint64_t deadline_ns;

	while (delay--)
		cpu_relax();
	store_release(&peer->produced, item); /* pairs with peer_has_work */
	fence_full();                         /* pairs with peer_enable */
	if (load_relaxed(&peer->asked))
		event_fd_signal(peer->kick.fd);
	deadline_ns = clock_ns() + TEST_DEADLINE_NS;
	while (load_acquire(&peer->consumed) != item) { /* pairs with peer_poll */
		if (clock_ns() > deadline_ns)
			return false;
		sched_yield();
	}
	return true;
}

static void peers_run_against(uint64_t poll_max_ns, unsigned items)
{
	struct loop *loop = test_loop_new();
	struct iothread *iothread = test_iothread_new(poll_max_ns);
	uint64_t seed = poll_max_ns;

	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++)
		peers[i] = (struct peer){
			.poller = { peer_poll, peer_enable, peer_suppress },
			.kick = { .fd = event_fd_new(), .events = POLLIN, .ready = peer_kicked },
		};
	test_call(loop, iothread, call_add_peers);
	for (unsigned i = 0; i < items; i++) {
		struct peer *peer = &peers[test_random(&seed, ARRAY_SIZE(peers))];

		if (!peer_produce(peer, peer->produced + 1, test_random(&seed, 400)))
			fail_msg("item %u with poll-max-ns %ju was lost", i,
				 (uintmax_t)poll_max_ns);
	}
	assert_int_equal(peers[0].consumed + peers[1].consumed, items);
	test_call(loop, iothread, call_remove_peers);
	iothread_free(iothread);
	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++)
		fd_close(&peers[i].kick.fd);
	loop_free(loop);
}

static void test_peer_when_kicks_race_with_the_sleep_never_loses_an_item(void **state)
{
	peers_run_against(0, PEER_ITEMS);
	peers_run_against(1000, PEER_ITEMS);
	peers_run_against(5000, PEER_ITEMS);
	peers_run_against(POLL_MAX_NS_DEFAULT, PEER_ITEMS);
}

static void call_note_poll(struct test_call *call)
{
	call->poll = loop_current()->poll;
}

static void test_poll_when_set_while_it_runs_then_its_loop_goes_by_it(void **state)
{
	const struct poll_params first = { 7, 3, 2 }, last = { 0, 0, 5 };
	struct iothread *iothread = test_iothread_new(1234);
	struct loop *loop = test_loop_new();
	struct poll_params told;
	struct test_call call;

	assert_int_equal(iothread_set_poll(iothread, &first), 0);
	assert_int_equal(iothread_set_poll(iothread, &last), 0);
	iothread_get_poll(iothread, &told);
	assert_memory_equal(&told, &last, sizeof(told));
	call = test_call(loop, iothread, call_note_poll);
	assert_memory_equal(&call.poll, &last, sizeof(last));
	assert_int_equal(iothread_set_poll(iothread, &first), 0); /* freed with it on its way */
	iothread_free(iothread);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iothread_when_made_runs_its_loop_and_says_what_it_is),
		cmocka_unit_test(
			test_iothreads_when_several_live_and_die_do_not_disturb_each_other),
		cmocka_unit_test(test_iothread_when_nothing_happens_makes_no_turn),
		cmocka_unit_test(test_iothread_when_pinned_runs_there_only),
		cmocka_unit_test(test_iothread_when_pinned_keeps_the_kernels_helpers_there),
		cmocka_unit_test(test_iothread_when_pinned_to_a_cpu_that_is_not_there_is_refused),
		cmocka_unit_test(test_iothread_when_pinned_to_no_cpu_is_refused),
		cmocka_unit_test(test_iothread_when_its_id_is_too_long_or_empty_is_refused),
		cmocka_unit_test(test_poll_when_set_while_it_runs_then_its_loop_goes_by_it),
		cmocka_unit_test(test_peer_when_kicks_race_with_the_sleep_never_loses_an_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
