/* SPDX-License-Identifier: MIT */
/* Who may have an image at the same time: two nodes of one process (as foreign as two processes), and QEMU's tools. */
#include "base/clock.h"
#include "block/file.h"
#include "block/test_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define QEMU_DEADLINE_MS 20000

extern char **environ;

static int image_open(struct rig *rig, const char *name, bool read_only, enum block_locking locking,
		      struct error *error)
{
	struct block_file_config config = {
		.name = name, .filename = rig->path, .read_only = read_only, .locking = locking
	};
	struct block_node *node = NULL;

	memset(error, 0, sizeof(*error));
	return block_file_open(rig->graph, &config, &node, error);
}

struct pair_case {
	bool first_reads, second_reads;
	enum block_locking first_locking, second_locking;
	int result;
	const char *sentence;
};

static const struct pair_case pair_cases[] = {
	{ false, false, BLOCK_LOCK_AUTO, BLOCK_LOCK_AUTO, -EAGAIN, "Failed to get \"write\" lock" },
	{ false, false, BLOCK_LOCK_ON, BLOCK_LOCK_ON, -EAGAIN, "Failed to get \"write\" lock" },
	{ false, true, BLOCK_LOCK_AUTO, BLOCK_LOCK_AUTO, -EAGAIN,
	  "Failed to get shared \"write\" lock" },
	{ true, false, BLOCK_LOCK_AUTO, BLOCK_LOCK_AUTO, -EAGAIN, "Failed to get \"write\" lock" },
	{ true, true, BLOCK_LOCK_AUTO, BLOCK_LOCK_AUTO, 0, "" },
	{ false, false, BLOCK_LOCK_OFF, BLOCK_LOCK_AUTO, 0, "" },
	{ false, false, BLOCK_LOCK_AUTO, BLOCK_LOCK_OFF, 0, "" },
};

static void pair_run(struct rig *rig, const struct pair_case *c)
{
	char expected[256];
	struct error error;

	assert_int_equal(image_open(rig, "first", c->first_reads, c->first_locking, &error), 0);
	assert_int_equal(image_open(rig, "second", c->second_reads, c->second_locking, &error),
			 c->result);
	if (c->result < 0) {
		snprintf(expected, sizeof(expected), "%s. Is another process using the image [%s]?",
			 c->sentence, rig->path);
		assert_string_equal(error.text, expected);
	}
	/* When the first has gone, and only then, the second may come. */
	block_graph_remove(rig->graph, block_graph_find(rig->graph, "first"), NULL);
	if (c->result < 0)
		assert_int_equal(
			image_open(rig, "second", c->second_reads, c->second_locking, &error), 0);
	block_graph_remove(rig->graph, block_graph_find(rig->graph, "second"), NULL);
}

static void test_open_when_image_is_open_already_then_by_table(void **state)
{
	rig_file_make(*state, "image", MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(pair_cases); i++)
		pair_run(*state, &pair_cases[i]);
}

static void test_open_when_refused_then_no_lock_is_left(void **state)
{
	struct rig *rig = *state;
	struct error error;
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200
	};
	int fd;

	rig_file_make(rig, "image", MIB + 1); /* locked, then refused for its size */
	assert_int_equal(image_open(rig, "first", false, BLOCK_LOCK_ON, &error), -EINVAL);
	fd = open(rig->path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
	assert_int_equal(lock.l_type, F_UNLCK);
	close(fd);
}

/* ---- QEMU's tools ---- */

struct qemu {
	pid_t pid;
	int in, out;
	char text[4096];
	size_t size;
};

static bool program_exists(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/usr/bin/%s", name);
	return access(path, X_OK) == 0;
}

static void skip_without(const char *program)
{
	if (program_exists(program))
		return;
	print_message("skipped: no %s here (package qemu-utils)\n", program);
	skip();
}

static void qemu_start(struct qemu *qemu, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int in[2], out[2];

	memset(qemu, 0, sizeof(*qemu));
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_adddup2(&actions, out[1], 2);
	assert_int_equal(posix_spawnp(&qemu->pid, argv[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	qemu->in = in[1];
	qemu->out = out[0];
}

/* Reads until the text has come, or until the end for NULL. */
static void qemu_expect(struct qemu *qemu, const char *text)
{
	struct pollfd pollfd = { .fd = qemu->out, .events = POLLIN };
	ssize_t count = 1;

	while (count > 0 && !(text && strstr(qemu->text, text))) {
		assert_int_equal(poll(&pollfd, 1, QEMU_DEADLINE_MS), 1);
		count = read(qemu->out, qemu->text + qemu->size,
			     sizeof(qemu->text) - 1 - qemu->size);
		assert_true(count >= 0);
		qemu->size += (size_t)count;
	}
	if (text && !strstr(qemu->text, text))
		fail_msg("'%s' is not in: %s", text, qemu->text);
}

/* Closes its standard input, collects what it says; returns its exit status. */
static int qemu_end(struct qemu *qemu)
{
	int status;

	close(qemu->in);
	qemu_expect(qemu, NULL);
	close(qemu->out);
	assert_int_equal(waitpid(qemu->pid, &status, 0), qemu->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* qemu-io lets others write, we do not: whoever comes second is refused, by us or by it. */
static void qemu_has_it_run(struct rig *rig, bool qemu_reads, bool we_read, int result)
{
	char *argv[] = { "qemu-io", "-f", "raw", qemu_reads ? "-r" : rig->path, rig->path, NULL };
	struct error error;
	struct qemu qemu;

	if (!qemu_reads)
		argv[4] = NULL;
	qemu_start(&qemu, argv);
	qemu_expect(&qemu, "qemu-io>"); /* the image is open */
	assert_int_equal(image_open(rig, "disk", we_read, BLOCK_LOCK_AUTO, &error), result);
	if (result < 0)
		assert_non_null(
			strstr(error.text, "Failed to get shared \"write\" lock. Is another"));
	else
		block_graph_remove(rig->graph, block_graph_find(rig->graph, "disk"), NULL);
	assert_int_equal(qemu_end(&qemu), 0);
}

static void test_open_when_qemu_has_it_then_only_readers_share(void **state)
{
	skip_without("qemu-io");
	rig_file_make(*state, "image", MIB);
	qemu_has_it_run(*state, false, false, -EAGAIN);
	qemu_has_it_run(*state, false, true, -EAGAIN);
	qemu_has_it_run(*state, true, false, 0);
	qemu_has_it_run(*state, true, true, 0);
}

static void we_have_it_run(struct rig *rig, bool we_read, char *const argv[], const char *sentence)
{
	struct error error;
	struct qemu qemu;
	int status;

	assert_int_equal(image_open(rig, "disk", we_read, BLOCK_LOCK_AUTO, &error), 0);
	qemu_start(&qemu, argv);
	status = qemu_end(&qemu);
	block_graph_remove(rig->graph, block_graph_find(rig->graph, "disk"), NULL);
	if (sentence && !strstr(qemu.text, sentence))
		fail_msg("%s did not say '%s' but: %s", argv[0], sentence, qemu.text);
	assert_int_equal(status != 0, sentence != NULL);
}

static void test_qemu_io_when_we_have_it_then_it_may_only_read(void **state)
{
	struct rig *rig = *state;
	char *reader[] = { "qemu-io", "-r", "-f", "raw", "-c", "read 0 512", rig->path, NULL };
	char *writer[] = { "qemu-io", "-f", "raw", "-c", "write 0 512", rig->path, NULL };

	skip_without("qemu-io");
	rig_file_make(rig, "image", MIB);
	we_have_it_run(rig, false, writer, "Failed to get \"write\" lock");
	we_have_it_run(rig, true, writer, "Failed to get \"write\" lock");
	we_have_it_run(rig, false, reader, NULL);
	we_have_it_run(rig, true, reader, NULL);
}

static void test_qemu_img_when_we_have_it_then_it_may_not_resize(void **state)
{
	struct rig *rig = *state;
	char *resize[] = { "qemu-img", "resize", "-f", "raw", rig->path, "2M", NULL };

	skip_without("qemu-img");
	rig_file_make(rig, "image", MIB);
	we_have_it_run(rig, false, resize, "Failed to get \"write\" lock");
}

static void test_lock_when_wanted_now_then_refused_without_waiting(void **state)
{
	struct rig *rig = *state;
	struct block_file_config config = { .name = "second", .lock_now = true };
	struct block_node *node = NULL;
	struct error error = { 0 };
	uint64_t start_ns, took_ns = UINT64_MAX;

	rig_file_make(rig, "image", MIB);
	assert_int_equal(image_open(rig, "first", false, BLOCK_LOCK_AUTO, &error), 0);
	config.filename = rig->path;
	/* one that waits takes a second each time, one that does not only where it is put aside for so long */
	for (unsigned i = 0; i < 10 && took_ns >= NS_PER_S; i++) {
		start_ns = clock_ns();
		assert_int_equal(block_file_open(rig->graph, &config, &node, &error), -EAGAIN);
		took_ns = clock_ns() - start_ns;
	}
	assert_true(took_ns < NS_PER_S);
	block_graph_remove(rig->graph, block_graph_find(rig->graph, "first"), NULL);
	assert_int_equal(block_file_open(rig->graph, &config, &node, &error), 0);
	block_graph_remove(rig->graph, node, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_open_when_image_is_open_already_then_by_table),
		rig_test(test_open_when_refused_then_no_lock_is_left),
		rig_test(test_lock_when_wanted_now_then_refused_without_waiting),
		rig_test(test_open_when_qemu_has_it_then_only_readers_share),
		rig_test(test_qemu_io_when_we_have_it_then_it_may_only_read),
		rig_test(test_qemu_img_when_we_have_it_then_it_may_not_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
