// SPDX-License-Identifier: MIT
/* File descriptors, event fds, and who may have a socket's path. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ALARM_S 10

static char folder[64], path[96];

static int folder_make(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/ringlane-fd-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", folder);
	return 0;
}

static int folder_remove(void **state)
{
	unlink(path);
	return rmdir(folder);
}

static void test_close_when_open_then_closed_and_minus_one(void **state)
{
	int fd = open("/dev/null", O_RDONLY), copy = fd;

	errno = EDOM;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EDOM);
	assert_int_equal(fcntl(copy, F_GETFD), -1);
	fd_close(&fd);
	assert_int_equal(fd, -1);
}

static void test_event_fd_when_signalled_then_cleared_once(void **state)
{
	fd_auto fd = event_fd_new();
	uint64_t full = UINT64_MAX - 1;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_false(event_fd_clear(fd));
	event_fd_signal(fd);
	event_fd_signal(fd);
	assert_true(event_fd_clear(fd));
	assert_false(event_fd_clear(fd));
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	event_fd_signal(fd); /* full: neither blocks nor fails */
	assert_true(event_fd_clear(fd));
}

/* Whoever shares an event fd may change its flags. */
static void test_event_fd_clear_when_made_blocking_then_does_not_wait(void **state)
{
	fd_auto fd = event_fd_new();

	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
	alarm(ALARM_S); /* ends the test if it waits */
	assert_false(event_fd_clear(fd));
	alarm(0);
	event_fd_signal(fd);
	assert_true(event_fd_clear(fd));
}

static void test_event_fd_clear_when_not_an_event_fd_then_false(void **state)
{
	fd_auto fd = open("/dev/null", O_RDONLY);

	assert_false(event_fd_clear(fd));
	assert_int_equal(fd_set_nonblocking(fd), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fd_set_nonblocking(-1), -EBADF);
}

static void test_listen_when_path_is_free_then_connect_works(void **state)
{
	struct error error = { 0 };
	fd_auto server = unix_listen(path, &error);
	fd_auto client = unix_connect(path, &error);
	fd_auto accepted = -1;

	assert_true(server >= 0);
	assert_true(client >= 0);
	accepted = accept(server, NULL, NULL);
	assert_true(accepted >= 0);
	assert_int_equal(error.code, 0);
}

static void test_listen_when_socket_is_live_then_not_stolen(void **state)
{
	struct error error = { 0 };
	fd_auto server = unix_listen(path, &error);
	fd_auto client = -1;

	assert_int_equal(unix_listen(path, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, path));
	client = unix_connect(path, NULL);
	assert_true(client >= 0);
}

static void test_listen_when_backlog_is_full_then_still_not_stolen(void **state)
{
	fd_auto server = unix_listen(path, NULL);
	int clients[64], count = 0;

	assert_int_equal(listen(server, 0), 0);
	while (count < 64) {
		fd_auto probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);

		assert_int_equal(getsockname(server, (struct sockaddr *)&address, &size), 0);
		if (connect(probe, (struct sockaddr *)&address, size) < 0)
			break;
		clients[count++] = probe;
		probe = -1;
	}
	assert_in_range(count, 1, 63);
	assert_int_equal(unix_listen(path, NULL), -EADDRINUSE);
	while (count)
		fd_close(&clients[--count]);
}

static void test_listen_when_socket_is_stale_then_replaced(void **state)
{
	int first = unix_listen(path, NULL);
	fd_auto second = -1, client = -1;

	fd_close(&first);
	second = unix_listen(path, NULL);
	assert_true(second >= 0);
	client = unix_connect(path, NULL);
	assert_true(client >= 0);
}

/* A socket whose listener has ended while we still hold it. */
static int listener_of_ended_process(void)
{
	int fd = unix_listen(path, NULL);
	pid_t pid = fork();

	assert_true(fd >= 0);
	if (pid == 0)
		_exit(listen(fd, 1));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return fd;
}

static void *let_go_after_a_probe(void *opaque)
{
	int *fd = opaque;
	struct pollfd probe = { .fd = *fd, .events = POLLIN };

	poll(&probe, 1, 10000);
	fd_close(fd);
	return NULL;
}

static void test_listen_when_listener_is_ending_then_waits_and_replaces(void **state)
{
	int held = listener_of_ended_process();
	fd_auto second = -1;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, let_go_after_a_probe, &held), 0);
	second = unix_listen(path, NULL);
	pthread_join(thread, NULL);
	assert_true(second >= 0);
}

static void test_listen_when_listener_was_handed_on_then_not_stolen(void **state)
{
	fd_auto held = listener_of_ended_process();

	assert_int_equal(unix_listen(path, NULL), -EADDRINUSE);
}

static void test_listen_when_path_is_a_file_then_refused_and_file_kept(void **state)
{
	fd_auto file = open(path, O_CREAT | O_WRONLY, 0600);
	struct stat info;

	assert_true(file >= 0);
	assert_int_equal(unix_listen(path, NULL), -EEXIST);
	assert_int_equal(lstat(path, &info), 0);
	assert_true(S_ISREG(info.st_mode));
}

static void test_listen_when_path_is_impossible_then_one_sentence(void **state)
{
	struct error error = { 0 };
	char name[200];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(unix_listen(name, &error), -ENAMETOOLONG);
	assert_int_equal(unix_listen("", &error), -EINVAL);
	assert_int_equal(unix_listen("/nowhere/at/all", &error), -ENOENT);
	assert_int_equal(unix_connect(path, &error), -ENOENT);
	assert_non_null(strstr(error.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_close_when_open_then_closed_and_minus_one,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(test_event_fd_when_signalled_then_cleared_once,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(
			test_event_fd_clear_when_made_blocking_then_does_not_wait, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(test_event_fd_clear_when_not_an_event_fd_then_false,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(test_listen_when_path_is_free_then_connect_works,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(test_listen_when_socket_is_live_then_not_stolen,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(
			test_listen_when_backlog_is_full_then_still_not_stolen, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(test_listen_when_socket_is_stale_then_replaced,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(
			test_listen_when_listener_is_ending_then_waits_and_replaces, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(
			test_listen_when_listener_was_handed_on_then_not_stolen, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(
			test_listen_when_path_is_a_file_then_refused_and_file_kept, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(
			test_listen_when_path_is_impossible_then_one_sentence, folder_make,
			folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
