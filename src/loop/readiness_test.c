// SPDX-License-Identifier: MIT
/* Readiness of file descriptors: edges, removal at every moment, and an overfull completion ring. */
#include "base/fd.h"
#include "loop/test_loop.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

struct test_source {
	struct loop_fd source;
	unsigned ready, removed, revents;
};

static void source_removed(struct loop_fd *source)
{
	container_of(source, struct test_source, source)->removed++;
}

static void source_ready(struct loop_fd *source, unsigned revents)
{
	struct test_source *test = container_of(source, struct test_source, source);

	test->ready++;
	test->revents = revents;
}

static void remove_when_ready(struct loop_fd *source, unsigned revents)
{
	source_ready(source, revents);
	loop_fd_remove(source, source_removed);
}

static void test_source_add(struct loop *loop, struct test_source *test, int fd)
{
	test->source.fd = fd;
	test->source.events = POLLIN;
	if (!test->source.ready)
		test->source.ready = source_ready;
	loop_fd_add(loop, &test->source);
}

static void test_source_remove(struct loop *loop, struct test_source *test)
{
	loop_fd_remove(&test->source, source_removed);
	test_loop_until(loop, &test->removed, 1);
	fd_close(&test->source.fd);
}

static void test_event_fd_when_never_read_gives_an_edge_for_each_signal(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };

	test_source_add(loop, &test, event_fd_new());
	loop_turn(loop, 0);
	assert_int_equal(test.ready, 0);
	for (unsigned i = 1; i <= 10; i++) {
		event_fd_signal(test.source.fd);
		test_loop_until(loop, &test.ready, i);
		assert_int_equal(test.ready, i);
		assert_int_equal(test.revents, POLLIN);
	}
	loop_turn(loop, NS_PER_MS);
	assert_int_equal(test.ready, 10);
	test_source_remove(loop, &test);
	loop_free(loop);
}

static void test_event_fd_when_signalled_before_it_is_added_is_ready(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };
	int fd = event_fd_new();

	event_fd_signal(fd);
	test_source_add(loop, &test, fd);
	test_loop_until(loop, &test.ready, 1);
	test_source_remove(loop, &test);
	loop_free(loop);
}

static void test_event_fd_when_removed_while_signalled_is_not_ready_any_more(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };

	test_source_add(loop, &test, event_fd_new());
	loop_turn(loop, 0);
	event_fd_signal(test.source.fd); /* its completion may be in the ring already */
	loop_fd_remove(&test.source, source_removed);
	event_fd_signal(test.source.fd);
	test_loop_until(loop, &test.removed, 1);
	assert_int_equal(test.ready, 0);
	fd_close(&test.source.fd);
	loop_turn(loop, NS_PER_MS);
	assert_int_equal(test.removed, 1);
	loop_free(loop);
}

static void test_event_fd_when_removed_before_the_kernel_saw_it_is_let_go(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };

	test_source_add(loop, &test, event_fd_new());
	test_source_remove(loop, &test);
	assert_int_equal(test.ready, 0);
	loop_free(loop);
}

static void test_event_fd_when_removed_by_its_own_ready_is_let_go_once(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { .source.ready = remove_when_ready };

	test_source_add(loop, &test, event_fd_new());
	loop_turn(loop, 0);
	event_fd_signal(test.source.fd);
	event_fd_signal(test.source.fd);
	test_loop_until(loop, &test.removed, 1);
	assert_int_equal(test.ready, 1);
	fd_close(&test.source.fd);
	loop_turn(loop, NS_PER_MS);
	assert_int_equal(test.removed, 1);
	loop_free(loop);
}

static void test_source_when_added_again_after_removal_works(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };
	int fd = event_fd_new();

	for (unsigned i = 1; i <= 50; i++) {
		test_source_add(loop, &test, fd);
		event_fd_signal(fd);
		test_loop_until(loop, &test.ready, i);
		loop_fd_remove(&test.source, source_removed);
		test_loop_until(loop, &test.removed, i);
		event_fd_clear(fd);
		assert_int_equal(test.ready, i);
	}
	fd_close(&fd);
	loop_free(loop);
}

static void test_source_when_the_fd_is_bad_is_told_once_and_can_be_removed(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };

	test_source_add(loop, &test, 1 << 20);
	test_loop_until(loop, &test.ready, 1);
	assert_int_equal(test.revents, POLLNVAL);
	loop_turn(loop, NS_PER_MS);
	assert_int_equal(test.ready, 1);
	loop_fd_remove(&test.source, source_removed);
	assert_int_equal(test.removed, 1); /* at once: the kernel has nothing of it */
	loop_free(loop);
}

static void test_pipe_when_the_writer_closes_reports_the_hang_up(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source test = { 0 };
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	test_source_add(loop, &test, ends[0]);
	loop_turn(loop, 0);
	fd_close(&ends[1]);
	test_loop_until(loop, &test.ready, 1);
	assert_true(test.revents & POLLHUP);
	test_source_remove(loop, &test);
	loop_free(loop);
}

static void test_event_fd_when_the_completion_ring_overflowed_still_reports_edges(void **state)
{
	struct loop *loop = test_loop_new();
	struct test_source a = { 0 }, b = { 0 };
	unsigned seen;

	test_source_add(loop, &a, event_fd_new());
	test_source_add(loop, &b, event_fd_new());
	loop_turn(loop, 0);
	for (unsigned i = 0; i < 6000; i++) /* more than the ring has places */
		event_fd_signal(a.source.fd);
	event_fd_signal(b.source.fd);
	test_loop_until(loop, &b.ready, 1);
	assert_true(a.ready > 0);
	for (unsigned i = 0; i < 4; i++)
		loop_turn(loop, NS_PER_MS);
	seen = a.ready;
	event_fd_signal(a.source.fd);
	test_loop_until(loop, &a.ready, seen + 1);
	test_source_remove(loop, &a);
	test_source_remove(loop, &b);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_fd_when_never_read_gives_an_edge_for_each_signal),
		cmocka_unit_test(test_event_fd_when_signalled_before_it_is_added_is_ready),
		cmocka_unit_test(test_event_fd_when_removed_while_signalled_is_not_ready_any_more),
		cmocka_unit_test(test_event_fd_when_removed_before_the_kernel_saw_it_is_let_go),
		cmocka_unit_test(test_event_fd_when_removed_by_its_own_ready_is_let_go_once),
		cmocka_unit_test(test_source_when_added_again_after_removal_works),
		cmocka_unit_test(test_source_when_the_fd_is_bad_is_told_once_and_can_be_removed),
		cmocka_unit_test(test_pipe_when_the_writer_closes_reports_the_hang_up),
		cmocka_unit_test(
			test_event_fd_when_the_completion_ring_overflowed_still_reports_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
