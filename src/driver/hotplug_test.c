// SPDX-License-Identifier: MIT
/* Sources of CPU changes: a sysfs folder of the test's own, and uevents over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/hotplug.h"

#include "base/fd.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_MS 10000
#define PERIOD_MS_NEVER 3600000

/* A machine of the test's own. */
struct machine {
	char folder[64];
	int kernel_fd; /* the kernel's end */
	struct hotplug *hotplug;
};

static void online_write(struct machine *machine, const char *list)
{
	char path[96], fresh[112];
	FILE *file;

	snprintf(path, sizeof(path), "%s/online", machine->folder);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	file = fopen(fresh, "w");
	assert_non_null(file);
	assert_true(fprintf(file, "%s\n", list) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, path), 0);
}

static int machine_open(void **state, unsigned period_ms)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct hotplug_options options = { .has_source = true, .period_ms = period_ms };
	int pair[2];

	assert_non_null(machine);
	snprintf(machine->folder, sizeof(machine->folder), "/tmp/ringlane-cpus-XXXXXX");
	assert_non_null(mkdtemp(machine->folder));
	online_write(machine, "0-3,8");
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	machine->kernel_fd = pair[0];
	options.folder = machine->folder;
	options.source_fd = pair[1];
	assert_int_equal(hotplug_open(&options, &machine->hotplug, NULL), 0);
	*state = machine;
	return 0;
}

static int setup(void **state)
{
	return machine_open(state, PERIOD_MS_NEVER);
}

static int setup_with_timer(void **state)
{
	return machine_open(state, 1);
}

static int teardown(void **state)
{
	struct machine *machine = *state;
	char path[96];

	hotplug_close(machine->hotplug);
	fd_close(&machine->kernel_fd);
	snprintf(path, sizeof(path), "%s/online", machine->folder);
	unlink(path);
	rmdir(machine->folder);
	free(machine);
	return 0;
}

static void event_send(struct machine *machine, const char *action, unsigned cpu)
{
	char text[256];
	int length = snprintf(text, sizeof(text),
			      "%s@/devices/system/cpu/cpu%u%cACTION=%s%cDEVPATH=/devices/system/"
			      "cpu/cpu%u%cSUBSYSTEM=cpu%cSEQNUM=17",
			      action, cpu, 0, action, 0, cpu, 0, 0);

	assert_int_equal(send(machine->kernel_fd, text, (size_t)length + 1, 0), length + 1);
}

static bool is_readable(const struct machine *machine, int timeout_ms)
{
	struct pollfd ready = { .fd = hotplug_fd(machine->hotplug), .events = POLLIN };

	return poll(&ready, 1, timeout_ms) == 1;
}

static void test_cpu_when_it_goes_and_comes_is_told_once(void **state)
{
	struct machine *machine = *state;
	struct hotplug_change change;
	uint32_t generation = hotplug_generation(machine->hotplug);

	assert_false(is_readable(machine, 0));
	assert_true(hotplug_cpu_is_online(machine->hotplug, 8));
	online_write(machine, "0-3");
	event_send(machine, "offline", 8);
	assert_true(is_readable(machine, DEADLINE_MS));
	assert_int_equal(hotplug_read(machine->hotplug, &change), 1);
	assert_int_equal(CPU_COUNT(&change.went), 1);
	assert_true(CPU_ISSET(8, &change.went));
	assert_int_equal(CPU_COUNT(&change.came), 0);
	assert_int_equal(CPU_COUNT(&change.online), 4);
	assert_int_not_equal(hotplug_generation(machine->hotplug), generation);
	assert_false(hotplug_cpu_is_online(machine->hotplug, 8));
	assert_int_equal(hotplug_read(machine->hotplug, &change), 0);
	assert_false(is_readable(machine, 0));
	online_write(machine, "0-3,8");
	event_send(machine, "online", 8);
	assert_int_equal(hotplug_read(machine->hotplug, &change), 1);
	assert_true(CPU_ISSET(8, &change.came));
	assert_int_equal(CPU_COUNT(&change.went), 0);
	assert_true(hotplug_cpu_is_online(machine->hotplug, 8));
}

/* The sets show nothing; a thread that was pinned to it is pinned no more. */
static void test_cpu_when_it_is_back_before_the_read_is_told_both_ways(void **state)
{
	struct machine *machine = *state;
	struct hotplug_change change;

	event_send(machine, "offline", 2);
	event_send(machine, "online", 2);
	assert_int_equal(hotplug_read(machine->hotplug, &change), 1);
	assert_true(CPU_ISSET(2, &change.went) && CPU_ISSET(2, &change.came));
	assert_int_equal(CPU_COUNT(&change.went), 1);
	assert_int_equal(CPU_COUNT(&change.came), 1);
	assert_int_equal(CPU_COUNT(&change.online), 5);
}

/* An event for what sysfs had shown before, and one that sysfs does not confirm. */
static void test_event_when_sysfs_disagrees_then_sysfs_is_believed(void **state)
{
	struct machine *machine = *state;
	struct hotplug_change change;

	event_send(machine, "online", 77);
	assert_int_equal(hotplug_read(machine->hotplug, &change), 0);
	online_write(machine, "0-2,8");
	hotplug_poke(machine->hotplug);
	assert_true(is_readable(machine, DEADLINE_MS));
	assert_int_equal(hotplug_read(machine->hotplug, &change), 1);
	assert_true(CPU_ISSET(3, &change.went));
	event_send(machine, "offline", 3);
	assert_int_equal(hotplug_read(machine->hotplug, &change), 0);
}

static void test_change_when_nothing_is_told_is_seen_by_the_timer(void **state)
{
	struct machine *machine = *state;
	struct hotplug_change change;
	int ret = 0;

	assert_true(is_readable(machine, DEADLINE_MS));
	assert_int_equal(hotplug_read(machine->hotplug, &change), 0);
	online_write(machine, "0");
	while (ret == 0 && is_readable(machine, DEADLINE_MS))
		ret = hotplug_read(machine->hotplug, &change);
	assert_int_equal(ret, 1);
	assert_int_equal(CPU_COUNT(&change.went), 4);
}

static void test_read_when_sysfs_is_gone_keeps_what_was_known(void **state)
{
	struct machine *machine = *state;
	struct hotplug_change change;
	char path[96];

	snprintf(path, sizeof(path), "%s/online", machine->folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(hotplug_read(machine->hotplug, &change), -ENOENT);
	assert_true(hotplug_cpu_is_online(machine->hotplug, 8));
	online_write(machine, "nonsense");
	assert_int_equal(hotplug_read(machine->hotplug, &change), -EINVAL);
	online_write(machine, "0-3");
	assert_int_equal(hotplug_read(machine->hotplug, &change), 1);
}

static void test_open_when_sysfs_is_missing_names_the_file(void **state)
{
	const struct hotplug_options options = { .folder = "/nowhere" };
	struct hotplug *hotplug = NULL;
	struct error error;

	assert_int_equal(hotplug_open(&options, &hotplug, &error), -ENOENT);
	assert_null(hotplug);
	assert_non_null(strstr(error.text, "/nowhere/online"));
}

static void test_datagrams_when_they_are_no_cpu_events_are_ignored(void **state)
{
#define EVENT(action, path, subsystem) \
	"x@y\0ACTION=" action "\0DEVPATH=" path "\0SUBSYSTEM=" subsystem
#define CASE(text)                 \
	{                          \
		text, sizeof(text) \
	}
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		{ "", 0 },
		CASE(""),
		CASE("online@/devices/system/cpu/cpu1"),
		{ EVENT("online", "/devices/system/cpu/cpu1", "cpu"),
		  sizeof(EVENT("online", "/devices/system/cpu/cpu1", "cpu")) - 1 }, /* no end */
		CASE(EVENT("change", "/devices/system/cpu/cpu1", "cpu")),
		CASE(EVENT("online", "/devices/system/cpu/cpu1", "memory")),
		CASE(EVENT("online", "/devices/system/cpu/cpu", "cpu")),
		CASE(EVENT("online", "/devices/system/cpu/cpu1x", "cpu")),
		CASE(EVENT("online", "/devices/system/cpu/cpu-1", "cpu")),
		CASE(EVENT("online", "/devices/system/cpu/cpu99999999999999999999", "cpu")),
		CASE(EVENT("online", "/devices/system/cpu/cpufreq", "cpu")),
		CASE(EVENT("online", "cpu1", "cpu")),
		CASE(EVENT("online", "", "cpu")),
		CASE("x\0ACTION=online\0SUBSYSTEM=cpu"),
	};
	struct hotplug_event event = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		if (hotplug_event_parse(cases[i].bytes, cases[i].size, &event))
			fail_msg("case %u is taken for CPU %u", i, event.cpu);
	assert_true(hotplug_event_parse(
		EVENT("offline", "/devices/system/cpu/cpu1023", "cpu"),
		sizeof(EVENT("offline", "/devices/system/cpu/cpu1023", "cpu")), &event));
	assert_int_equal(event.cpu, 1023);
	assert_false(event.online);
}

/* Its own netlink socket, and another process's (here: ours) that says something to it. */
static void test_netlink_when_a_stranger_sends_is_ignored(void **state)
{
	static const char forged[] = EVENT("offline", "/devices/system/cpu/cpu0", "cpu");
	const struct hotplug_options options = { .period_ms = PERIOD_MS_NEVER };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = (uint32_t)getpid() };
	struct hotplug_change change;
	struct hotplug *hotplug;
	fd_auto stranger = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	assert_int_equal(hotplug_open(&options, &hotplug, NULL), 0);
	if (stranger < 0 || sendto(stranger, forged, sizeof(forged), 0,
				   (const struct sockaddr *)&to, sizeof(to)) < 0) {
		hotplug_close(hotplug);
		skip(); /* not allowed here, so there are no strangers either */
	}
	assert_int_equal(hotplug_read(hotplug, &change), 0);
	assert_true(hotplug_cpu_is_online(hotplug, 0));
	hotplug_close(hotplug);
}

#define MACHINE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MACHINE(test_cpu_when_it_goes_and_comes_is_told_once),
		MACHINE(test_cpu_when_it_is_back_before_the_read_is_told_both_ways),
		MACHINE(test_event_when_sysfs_disagrees_then_sysfs_is_believed),
		cmocka_unit_test_setup_teardown(
			test_change_when_nothing_is_told_is_seen_by_the_timer, setup_with_timer,
			teardown),
		MACHINE(test_read_when_sysfs_is_gone_keeps_what_was_known),
		cmocka_unit_test(test_open_when_sysfs_is_missing_names_the_file),
		cmocka_unit_test(test_datagrams_when_they_are_no_cpu_events_are_ignored),
		cmocka_unit_test(test_netlink_when_a_stranger_sends_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
