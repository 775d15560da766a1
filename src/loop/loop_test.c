// SPDX-License-Identifier: MIT
/* The turn: deferred calls, operations of the ring, and that a loop without work does nothing. */
#include "base/fd.h"
#include "loop/test_loop.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- deferred calls ---- */

static char order[16];

struct named_defer {
	struct loop_defer defer;
	char name;
	struct loop *loop;
	struct loop_defer *queue, *cancel; /* by fn */
};

static void defer_note(struct loop_defer *defer)
{
	struct named_defer *named = container_of(defer, struct named_defer, defer);

	order[strlen(order)] = named->name;
	if (named->queue)
		loop_defer(named->loop, named->queue);
	if (named->cancel)
		loop_defer_cancel(named->loop, named->cancel);
	named->queue = named->cancel = NULL;
}

static void named_init(struct named_defer *named, unsigned count, struct loop *loop)
{
	memset(order, 0, sizeof(order));
	for (unsigned i = 0; i < count; i++)
		named[i] = (struct named_defer){ .defer.fn = defer_note, (char)('a' + i), loop };
}

static void test_defers_when_queued_several_times_run_once_in_order_at_the_turns_end(void **state)
{
	struct loop *loop = test_loop_new();
	struct named_defer named[3];

	named_init(named, 3, loop);
	for (unsigned i = 0; i < 3; i++)
		loop_defer(loop, &named[i].defer);
	loop_defer(loop, &named[0].defer);
	assert_string_equal(order, "");
	loop_turn(loop, UINT64_MAX); /* does not sleep with a call outstanding */
	assert_string_equal(order, "abc");
	loop_turn(loop, 0);
	assert_string_equal(order, "abc");
	assert_int_equal(test_loop_stats(loop).waits, 0);
	loop_free(loop);
}

static void test_defer_when_queued_by_a_deferred_call_runs_in_the_next_turn(void **state)
{
	struct loop *loop = test_loop_new();
	struct named_defer named[2];

	named_init(named, 2, loop);
	named[0].queue = &named[0].defer;
	named[1].queue = &named[0].defer;
	loop_defer(loop, &named[0].defer);
	loop_defer(loop, &named[1].defer);
	loop_turn(loop, UINT64_MAX);
	assert_string_equal(order, "ab");
	loop_turn(loop, UINT64_MAX);
	assert_string_equal(order, "aba");
	loop_free(loop);
}

static void test_defer_when_cancelled_does_not_run(void **state)
{
	for (unsigned victim = 0; victim < 3; victim++) {
		static const char *const left[] = { "bcd", "acd", "abd" };
		struct loop *loop = test_loop_new();
		struct named_defer named[4];

		named_init(named, 4, loop);
		for (unsigned i = 0; i < 3; i++)
			loop_defer(loop, &named[i].defer);
		loop_defer_cancel(loop, &named[victim].defer);
		loop_defer_cancel(loop, &named[victim].defer);
		loop_defer(loop, &named[3].defer);
		loop_turn(loop, 0);
		assert_string_equal(order, left[victim]);
		loop_free(loop);
	}
}

static void test_defer_when_cancelled_by_an_earlier_one_does_not_run(void **state)
{
	struct loop *loop = test_loop_new();
	struct named_defer named[3];

	named_init(named, 3, loop);
	for (unsigned i = 0; i < 3; i++)
		loop_defer(loop, &named[i].defer);
	named[0].cancel = &named[2].defer;
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_string_equal(order, "ab");
	loop_free(loop);
}

/* ---- operations ---- */

struct test_op {
	struct loop_op op;
	unsigned done;
	int result;
};

static void note_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct test_op *test = container_of(op, struct test_op, op);

	test->done++;
	test->result = result;
}

static void op_nop(struct loop *loop, struct test_op *test)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_nop(sqe);
	loop_sqe_bind(loop, sqe, &test->op);
}

static void op_read(struct loop *loop, struct test_op *test, int fd, void *buffer, unsigned size)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_read(sqe, fd, buffer, size, 0);
	loop_sqe_bind(loop, sqe, &test->op);
}

static void test_op_nop_when_submitted_is_done_once(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_op test = { .op.done = note_done, .result = 1 };

	op_nop(loop, &test);
	test_loop_until(loop, &test.done, 1);
	loop_turn(loop, 0);
	assert_int_equal(test.done, 1);
	assert_int_equal(test.result, 0);
	loop_free(loop);
}

static void test_op_nop_when_more_are_queued_than_both_rings_hold_are_all_done(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_op test = { .op.done = note_done };

	for (unsigned i = 0; i < 10000; i++)
		op_nop(loop, &test);
	test_loop_until(loop, &test.done, 10000);
	assert_int_equal(test.done, 10000);
	loop_free(loop);
}

static void test_op_read_from_a_pipe_when_written_later_gives_the_bytes(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_op test = { .op.done = note_done };
	char buffer[8] = "";
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	op_read(loop, &test, ends[0], buffer, sizeof(buffer));
	loop_turn(loop, 0);
	loop_turn(loop, NS_PER_US);
	assert_int_equal(test.done, 0);
	assert_int_equal(write(ends[1], "lane", 4), 4);
	test_loop_until(loop, &test.done, 1);
	assert_int_equal(test.result, 4);
	assert_string_equal(buffer, "lane");
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	loop_free(loop);
}

static void test_op_when_cancelled_is_done_once_with_ecanceled(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_op test = { .op.done = note_done };
	char buffer[8];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	op_read(loop, &test, ends[0], buffer, sizeof(buffer));
	loop_turn(loop, 0);
	loop_op_cancel(loop, &test.op);
	test_loop_until(loop, &test.done, 1);
	assert_int_equal(test.result, -ECANCELED);
	loop_op_cancel(loop, &test.op); /* too late: nothing happens */
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_int_equal(test.done, 1);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	loop_free(loop);
}

#define TIMEOUT_ROUNDS 100

static struct loop *timeout_loop;
static struct __kernel_timespec timeout = { .tv_nsec = 1000 };

/* An operation that the kernel never completes at once. */
static void op_timeout(struct loop *loop, struct test_op *test)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_timeout(sqe, &timeout, 0, 0);
	loop_sqe_bind(loop, sqe, &test->op);
}

static void timeout_again_or_stop(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct test_op *test = container_of(op, struct test_op, op);

	if (++test->done < TIMEOUT_ROUNDS)
		op_timeout(timeout_loop, test);
	else
		loop_stop(timeout_loop);
}

static void test_loop_run_when_each_turn_queues_an_op_submits_it_with_the_wait(void **state)
{
	struct test_op test = { .op.done = timeout_again_or_stop };
	struct loop_stats stats;

	timeout_loop = test_loop_new();
	op_timeout(timeout_loop, &test);
	loop_run(timeout_loop);
	stats = test_loop_stats(timeout_loop);
	assert_int_equal(test.done, TIMEOUT_ROUNDS);
	assert_true(stats.waits >= TIMEOUT_ROUNDS);
	assert_true(stats.submits < TIMEOUT_ROUNDS / 2); /* would be one per round */
	loop_free(timeout_loop);
}

/* ---- a system without io_uring ---- */

/* Makes io_uring_setup fail with code in this process. */
static void forbid_io_uring(unsigned code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const struct refusal {
	int code;
	const char *text;
} refusals[] = {
	{ ENOSYS,
	  "cannot make an io_uring: this kernel has no io_uring, or one from before Linux 5.13" },
	{ EPERM, "cannot make an io_uring: io_uring is not permitted here "
		 "(sysctl kernel.io_uring_disabled, or a system call filter)" },
	{ ENOMEM, "cannot make an io_uring: not enough memory that may be locked (ulimit -l)" },
	{ EMFILE, "cannot make an io_uring: Too many open files" },
};

/* Exits with 0 when all is as it should be: a child has no other way to tell. */
static void child_checks_refusal(const struct refusal *refusal)
{
	struct loop *loop = NULL;
	struct error error = { 0 };

	forbid_io_uring((unsigned)refusal->code);
	if (loop_new(&loop, &error) != -refusal->code)
		_exit(1);
	_exit(strcmp(error.text, refusal->text) || loop ? 2 : 0);
}

static void test_loop_new_when_the_kernel_refuses_says_why_in_one_sentence(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		int status = -1;
		pid_t child = fork();

		if (child == 0)
			child_checks_refusal(&refusals[i]);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* ---- time and sleep ---- */

static void test_loop_now_when_called_twice_in_a_turn_is_the_same(void **state)
{
	struct loop *loop = test_loop_new();
	uint64_t now_ns = loop_now(loop), start_ns = clock_ns();

	while (clock_ns() == start_ns)
		;
	assert_true(loop_now(loop) == now_ns);
	loop_turn(loop, 0);
	assert_true(loop_now(loop) > now_ns);
	loop_free(loop);
}

static void test_loop_current_when_adopted_and_freed_is_the_loop_and_then_none(void **state)
{
	struct loop *loop = test_loop_new();

	assert_ptr_equal(loop_current(), loop);
	assert_true(loop_is_mine(loop));
	loop_free(loop);
	assert_null(loop_current());
}

static void test_loop_turn_when_there_is_nothing_waits_only_as_long_as_told(void **state)
{
	struct loop *loop = test_loop_new();
	uint64_t start_ns = clock_ns();

	loop_turn(loop, NS_PER_MS); /* comes back at all */
	assert_true(clock_ns() - start_ns >= NS_PER_MS);
	assert_int_equal(test_loop_stats(loop).waits, 1);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_defers_when_queued_several_times_run_once_in_order_at_the_turns_end),
		cmocka_unit_test(test_defer_when_queued_by_a_deferred_call_runs_in_the_next_turn),
		cmocka_unit_test(test_defer_when_cancelled_does_not_run),
		cmocka_unit_test(test_defer_when_cancelled_by_an_earlier_one_does_not_run),
		cmocka_unit_test(test_op_nop_when_submitted_is_done_once),
		cmocka_unit_test(
			test_op_nop_when_more_are_queued_than_both_rings_hold_are_all_done),
		cmocka_unit_test(test_op_read_from_a_pipe_when_written_later_gives_the_bytes),
		cmocka_unit_test(test_op_when_cancelled_is_done_once_with_ecanceled),
		cmocka_unit_test(
			test_loop_run_when_each_turn_queues_an_op_submits_it_with_the_wait),
		cmocka_unit_test(test_loop_new_when_the_kernel_refuses_says_why_in_one_sentence),
		cmocka_unit_test(test_loop_now_when_called_twice_in_a_turn_is_the_same),
		cmocka_unit_test(
			test_loop_current_when_adopted_and_freed_is_the_loop_and_then_none),
		cmocka_unit_test(test_loop_turn_when_there_is_nothing_waits_only_as_long_as_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
