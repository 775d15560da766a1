// SPDX-License-Identifier: MIT
/*
 * See hotplug.h. An epoll fd over a netlink socket, a timer and an event fd. An event only says which CPUs to look at: a CPU
 * may have gone and come back before we read, and the set of online CPUs alone would not show that.
 *
 * Datagrams are taken from the kernel only (port 0, which no process can have); anybody may send to our socket.
 *
 * On the thread that owns it, except what hotplug.h lists.
 * System calls: socket, bind, recvmsg, epoll_create1, epoll_ctl, timerfd_create, timerfd_settime, eventfd, open, read, close.
 */
#include "driver/hotplug.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/cpu_list.h"
#include "base/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FOLDER_DEFAULT "/sys/devices/system/cpu"
#define PERIOD_MS_DEFAULT 2000
#define KERNEL_GROUP 1    /* 2 is what udev says to its friends */
#define DATAGRAMS_MAX 256 /* in one read */
#define DATAGRAM_BYTES 8192
#define LIST_BYTES 8192
#define WORD_BITS 64

struct hotplug {
	/* the owner's */
	char *folder;
	int epoll_fd, source_fd, timer_fd, poke_fd;
	bool source_is_trusted;
	cpu_set_t online;
	/* any thread's: read at each submission, written when something changed */
	cache_aligned uint64_t online_words[CPU_SETSIZE / WORD_BITS];
	uint32_t generation;
};

/* ---- events ---- */

/* The value of "key=value" when text begins with key, which ends in '='. */
static const char *value_of(const char *text, const char *key)
{
	size_t length = strlen(key);

	return strncmp(text, key, length) ? NULL : text + length;
}

/* ".../cpu7": 7; -EINVAL. */
static int cpu_of_path(const char *path)
{
	const char *name = strrchr(path, '/');
	unsigned cpu = 0;

	if (!name || strncmp(name, "/cpu", 4))
		return -EINVAL;
	name += 4;
	if (!*name)
		return -EINVAL;
	for (; *name; name++) {
		if (!isdigit((unsigned char)*name))
			return -EINVAL;
		cpu = cpu * 10 + (unsigned)(*name - '0');
		if (cpu >= CPU_SETSIZE)
			return -EINVAL;
	}
	return (int)cpu;
}

bool hotplug_event_parse(const char *bytes, size_t size, struct hotplug_event *ret_event)
{
	const char *action = NULL, *path = NULL, *subsystem = NULL;
	int cpu;

	if (!size || bytes[size - 1])
		return false;
	for (size_t at = 0; at < size; at += strlen(bytes + at) + 1) {
		const char *value;

		if ((value = value_of(bytes + at, "ACTION=")))
			action = value;
		else if ((value = value_of(bytes + at, "DEVPATH=")))
			path = value;
		else if ((value = value_of(bytes + at, "SUBSYSTEM=")))
			subsystem = value;
	}
	if (!action || !path || !subsystem || strcmp(subsystem, "cpu"))
		return false;
	cpu = cpu_of_path(path);
	if (cpu < 0 || (strcmp(action, "online") && strcmp(action, "offline")))
		return false;
	*ret_event = (struct hotplug_event){ (unsigned)cpu, !strcmp(action, "online") };
	return true;
}

static bool is_from_kernel(const struct hotplug *hotplug, const struct msghdr *message)
{
	const struct sockaddr_nl *sender = message->msg_name;

	if (message->msg_flags & MSG_TRUNC)
		return false;
	if (hotplug->source_is_trusted)
		return true;
	return message->msg_namelen == sizeof(*sender) && sender->nl_family == AF_NETLINK &&
	       sender->nl_pid == 0;
}

/* 1: event or not, there was a datagram; 0: none is left; -ENOBUFS: some were lost; other -errno: the source is over. */
static int event_receive(struct hotplug *hotplug, struct hotplug_change *change)
{
	char bytes[DATAGRAM_BYTES];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct sockaddr_nl sender = { 0 };
	struct msghdr message = {
		.msg_name = &sender, .msg_namelen = sizeof(sender), .msg_iov = &iov, .msg_iovlen = 1
	};
	struct hotplug_event event;
	ssize_t got = recvmsg(hotplug->source_fd, &message, MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (is_from_kernel(hotplug, &message) && hotplug_event_parse(bytes, (size_t)got, &event))
		CPU_SET(event.cpu, event.online ? &change->came : &change->went);
	return 1;
}

static void events_receive(struct hotplug *hotplug, struct hotplug_change *change)
{
	for (unsigned i = 0; i < DATAGRAMS_MAX && hotplug->source_fd >= 0; i++) {
		int ret = event_receive(hotplug, change);

		if (ret == 0)
			return;
		if (ret == -ENOBUFS)
			change->missed = true;
		else if (ret < 0)
			fd_close(&hotplug->source_fd); /* the timer is left */
	}
}

/* ---- sysfs ---- */

static int online_read(const struct hotplug *hotplug, cpu_set_t *ret_online, struct error *error)
{
	char path[512], text[LIST_BYTES];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/online", hotplug->folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(error, -errno, "'%s': %s", path, strerrordesc_np(errno));
	got = read(fd, text, sizeof(text) - 1);
	if (got < 0)
		got = -errno;
	fd_close(&fd);
	if (got < 0)
		return error_set(error, (int)got, "'%s': %s", path, strerrordesc_np((int)-got));
	text[got] = '\0';
	return cpu_list_parse(text, ret_online, error);
}

static void online_store(struct hotplug *hotplug, const cpu_set_t *online)
{
	uint64_t words[CPU_SETSIZE / WORD_BITS] = { 0 };

	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, online))
			words[cpu / WORD_BITS] |= 1ull << cpu % WORD_BITS;
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		store_relaxed(&hotplug->online_words[i], words[i]);
	hotplug->online = *online;
}

/* ---- making ---- */

static int netlink_open(void)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		fd_close(&fd);
	return fd;
}

static int timer_open(unsigned period_ms)
{
	const struct timespec period = { period_ms / 1000, (long)(period_ms % 1000 * NS_PER_MS) };
	const struct itimerspec spec = { period, period };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd >= 0)
		timerfd_settime(fd, 0, &spec, NULL);
	return fd >= 0 ? fd : -errno;
}

static int watch(int epoll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		return 0;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int sources_open(struct hotplug *hotplug, unsigned period_ms)
{
	int ret;

	if (!hotplug->source_is_trusted)
		hotplug->source_fd = netlink_open();
	hotplug->timer_fd = timer_open(period_ms ? period_ms : PERIOD_MS_DEFAULT);
	hotplug->poke_fd = event_fd_new();
	hotplug->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (hotplug->epoll_fd < 0)
		return -errno;
	ret = MIN(hotplug->timer_fd, hotplug->poke_fd);
	if (ret >= 0)
		ret = watch(hotplug->epoll_fd, hotplug->source_fd);
	if (ret == 0)
		ret = watch(hotplug->epoll_fd, hotplug->timer_fd);
	if (ret == 0)
		ret = watch(hotplug->epoll_fd, hotplug->poke_fd);
	return MIN(ret, 0);
}

/* The sources first: what changes between them and sysfs is told, what changed before is read. */
static int hotplug_setup(struct hotplug *hotplug, const struct hotplug_options *options,
			 struct error *error)
{
	cpu_set_t online;
	int ret;

	hotplug->folder = strdup(options->folder ? options->folder : FOLDER_DEFAULT);
	if (!hotplug->folder)
		return error_set(error, -ENOMEM, "out of memory");
	ret = sources_open(hotplug, options->period_ms);
	if (ret < 0)
		return error_set(error, ret, "watching CPUs: %s", strerrordesc_np(-ret));
	ret = online_read(hotplug, &online, error);
	if (ret == 0)
		online_store(hotplug, &online);
	return ret;
}

int hotplug_open(const struct hotplug_options *options, struct hotplug **ret_hotplug,
		 struct error *error)
{
	struct hotplug *hotplug = aligned_alloc(CACHE_LINE, sizeof(*hotplug));
	int source_fd = options->has_source ? options->source_fd : -1, ret;

	if (!hotplug) {
		fd_close(&source_fd);
		return error_set(error, -ENOMEM, "out of memory");
	}
	*hotplug = (struct hotplug){ .epoll_fd = -1,
				     .source_fd = source_fd,
				     .timer_fd = -1,
				     .poke_fd = -1,
				     .source_is_trusted = options->has_source };
	ret = hotplug_setup(hotplug, options, error);
	if (ret < 0) {
		hotplug_close(hotplug);
		return ret;
	}
	*ret_hotplug = hotplug;
	return 0;
}

void hotplug_close(struct hotplug *hotplug)
{
	if (!hotplug)
		return;
	fd_close(&hotplug->epoll_fd);
	fd_close(&hotplug->source_fd);
	fd_close(&hotplug->timer_fd);
	fd_close(&hotplug->poke_fd);
	free(hotplug->folder);
	free(hotplug);
}

/* ---- reading ---- */

int hotplug_fd(const struct hotplug *hotplug)
{
	return hotplug->epoll_fd;
}

void hotplug_get_online(const struct hotplug *hotplug, cpu_set_t *ret_online)
{
	*ret_online = hotplug->online;
}

/* What events said and what the sets show, together. An event that was late for a set says nothing new: harmless. */
static void change_add_sets(struct hotplug_change *change, const cpu_set_t *before,
			    const cpu_set_t *now)
{
	change->online = *now;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		bool was = CPU_ISSET(cpu, before), is = CPU_ISSET(cpu, now);
		bool told = CPU_ISSET(cpu, &change->went) || CPU_ISSET(cpu, &change->came);

		if (was && (!is || told))
			CPU_SET(cpu, &change->went);
		else
			CPU_CLR(cpu, &change->went);
		if (is && (!was || told))
			CPU_SET(cpu, &change->came);
		else
			CPU_CLR(cpu, &change->came);
	}
}

int hotplug_read(struct hotplug *hotplug, struct hotplug_change *ret_change)
{
	struct hotplug_change change = { .missed = false };
	cpu_set_t online;
	int ret;

	event_fd_clear(hotplug->poke_fd);
	event_fd_clear(hotplug->timer_fd); /* eight bytes to read, too */
	events_receive(hotplug, &change);
	ret = online_read(hotplug, &online, NULL);
	if (ret < 0)
		return ret;
	change_add_sets(&change, &hotplug->online, &online);
	if (!change.missed && !CPU_COUNT(&change.went) && !CPU_COUNT(&change.came))
		return 0;
	online_store(hotplug, &online);
	store_release(&hotplug->generation, hotplug->generation + 1); /* with hotplug_generation */
	*ret_change = change;
	return 1;
}

/* ---- any thread ---- */

uint32_t hotplug_generation(const struct hotplug *hotplug)
{
	return load_acquire(&hotplug->generation); /* pairs with hotplug_read */
}

bool hotplug_cpu_is_online(const struct hotplug *hotplug, unsigned cpu)
{
	if (cpu >= CPU_SETSIZE)
		return false;
	return load_relaxed(&hotplug->online_words[cpu / WORD_BITS]) >> cpu % WORD_BITS & 1;
}

void hotplug_poke(struct hotplug *hotplug)
{
	event_fd_signal(hotplug->poke_fd);
}
