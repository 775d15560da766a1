// SPDX-License-Identifier: MIT
/*
 * The test's back end: vhost_user/backend.h and the device's end of the ring on one thread (fake_disk_protocol.c,
 * fake_disk_ring.c). Other threads speak to it by wishes, under a lock, and atomic fields.
 */
#include "driver/fake_disk_internal.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "vhost_user/wire.h"

#include <assert.h>
#include <dirent.h>
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECTORS_DEFAULT 2048

/* ---- the thread ---- */

static void client_accept(struct fake_disk *disk)
{
	const uint64_t features = 1ull << VHU_PROTOCOL_MQ | 1ull << VHU_PROTOCOL_REPLY_ACK |
				  1ull << VHU_PROTOCOL_BACKEND_REQ | 1ull << VHU_PROTOCOL_CONFIG |
				  1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS |
				  1ull << VHU_PROTOCOL_STATUS | 1ull << VHU_PROTOCOL_RESET_DEVICE;
	int fd = accept4(disk->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	disk->dead = false;
	disk->turns = 0;
	add_relaxed(&disk->clients, 1);
	if (vhu_backend_new(fd, features & ~disk->setup.protocol_features_off, &fake_disk_ops, disk,
			    &disk->backend) < 0)
		disk->backend = NULL;
}

static void client_forget(struct fake_disk *disk)
{
	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++)
		fake_ring_forget(&disk->rings[i]);
	if (disk->backend)
		vhu_backend_free(disk->backend);
	disk->backend = NULL;
	mem_map_unref(disk->map);
	disk->map = NULL;
}

/* True: this client's time is over. */
static bool turn_is_last(struct fake_disk *disk)
{
	const struct fake_setup *setup = &disk->setup;

	if (!setup->dies_at_turn || ++disk->turns != setup->dies_at_turn)
		return false;
	return !setup->dying_clients || load_relaxed(&disk->clients) <= setup->dying_clients;
}

static void listening_set(struct fake_disk *disk, bool wanted)
{
	if (wanted && disk->listen_fd < 0) {
		disk->listen_fd = unix_listen(disk->path, NULL);
		assert(disk->listen_fd >= 0);
	}
	if (!wanted && disk->listen_fd >= 0) {
		fd_close(&disk->listen_fd);
		unlink(disk->path);
		client_forget(disk);
	}
}

static void held_release(struct fake_disk *disk)
{
	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++)
		if (disk->rings[i].running)
			fake_ring_release(disk, &disk->rings[i]);
	fake_stop_finish(disk);
}

/* False: the fake shall end. */
static bool wishes_grant(struct fake_disk *disk)
{
	uint64_t sectors = load_acquire(&disk->sectors);
	bool quit;

	event_fd_clear(disk->wake_fd);
	if (disk->backend && sectors != disk->sectors_told)
		vhu_backend_config_changed(disk->backend);
	disk->sectors_told = sectors;
	pthread_mutex_lock(&disk->lock);
	quit = disk->wishes.quit;
	if (disk->wishes.hang_up)
		client_forget(disk);
	if (disk->wishes.release)
		held_release(disk);
	listening_set(disk, !disk->wishes.away);
	disk->wishes.hang_up = disk->wishes.release = false;
	disk->wishes.done = disk->wishes.asked;
	pthread_cond_broadcast(&disk->granted);
	pthread_mutex_unlock(&disk->lock);
	return !quit;
}

static void ready_wait(const struct fake_disk *disk, struct pollfd *fds)
{
	fds[0] = (struct pollfd){ .fd = disk->wake_fd, .events = POLLIN };
	fds[1].fd = disk->backend ? vhu_backend_fd(disk->backend) : disk->listen_fd;
	fds[1].events = POLLIN;
	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++) {
		fds[2 + i].fd = disk->rings[i].running ? disk->rings[i].kick_fd : -1;
		fds[2 + i].events = POLLIN;
	}
	poll(fds, 2 + FAKE_RINGS_MAX, -1);
}

static void turn(struct fake_disk *disk, const struct pollfd *fds)
{
	int status = 0;

	if (fds[1].revents && !disk->backend)
		client_accept(disk);
	else if (fds[1].revents && turn_is_last(disk))
		disk->dead = true;
	else if (fds[1].revents)
		status = vhu_backend_readable(disk->backend);
	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++)
		if (fds[2 + i].revents && disk->rings[i].running && !disk->dead)
			fake_ring_process(disk, &disk->rings[i]);
	if (status < 0 || disk->dead)
		client_forget(disk);
}

/* Wishes come after a turn, so that what is there is not looked at with the eyes of a client before. */
static void *thread_run(void *opaque)
{
	struct fake_disk *disk = opaque;
	bool goes_on = true;

	while (goes_on) {
		struct pollfd fds[2 + FAKE_RINGS_MAX];

		ready_wait(disk, fds);
		turn(disk, fds);
		goes_on = wishes_grant(disk);
		if (disk->dead)
			client_forget(disk);
		disk->dead = false;
	}
	client_forget(disk);
	return NULL;
}

/* ---- the test's side ---- */

struct virtio_blk_config fake_config(uint64_t sectors)
{
	return (struct virtio_blk_config){
		.capacity = htole64(sectors),
		.seg_max = htole32(32),
		.blk_size = htole32(512),
		.wce = 1,
		.num_queues = htole16(4),
		.max_discard_sectors = htole32(1024),
		.max_discard_seg = htole32(8),
		.discard_sector_alignment = htole32(8),
		.max_write_zeroes_sectors = htole32(512),
		.max_write_zeroes_seg = htole32(8),
		.write_zeroes_may_unmap = 1,
		.max_secure_erase_sectors = htole32(256),
		.max_secure_erase_seg = htole32(2),
		.secure_erase_sector_alignment = htole32(8),
	};
}

static void setup_take(struct fake_disk *disk, const struct fake_setup *setup)
{
	disk->setup = *setup;
	if (!disk->setup.queue_max)
		disk->setup.queue_max = 4;
	if (!disk->setup.config.capacity)
		disk->setup.config = fake_config(SECTORS_DEFAULT);
	store_release(&disk->sectors, disk->setup.config.capacity);
	store_relaxed(&disk->trick, setup->trick);
}

struct fake_disk *fake_disk_new(const struct fake_setup *setup)
{
	struct fake_disk *disk = calloc(1, sizeof(*disk));
	bool made;

	assert(disk);
	setup_take(disk, setup);
	disk->sectors_told = disk->sectors;
	disk->bytes = calloc(MIN(disk->sectors, (uint64_t)1 << 16), 512);
	snprintf(disk->folder, sizeof(disk->folder), "/tmp/ringlane-fake-XXXXXX");
	made = mkdtemp(disk->folder) != NULL;
	assert(disk->bytes && made);
	snprintf(disk->path, sizeof(disk->path), "%s/socket", disk->folder);
	snprintf(disk->uri, sizeof(disk->uri), "vhost-user-blk:%s", disk->path);
	disk->listen_fd = unix_listen(disk->path, NULL);
	disk->wake_fd = event_fd_new();
	assert(disk->listen_fd >= 0 && disk->wake_fd >= 0);
	for (unsigned i = 0; i < FAKE_RINGS_MAX; i++)
		disk->rings[i].kick_fd = disk->rings[i].call_fd = -1;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->granted, NULL);
	made = pthread_create(&disk->thread, NULL, thread_run, disk) == 0;
	assert(made);
	return disk;
}

/* The lock is held; wishes has been changed. */
static void wish_end(struct fake_disk *disk)
{
	pthread_mutex_unlock(&disk->lock);
	event_fd_signal(disk->wake_fd);
}

/* The same, and waits. */
static void wish_wait(struct fake_disk *disk)
{
	unsigned round = ++disk->wishes.asked;

	event_fd_signal(disk->wake_fd);
	while ((int)(disk->wishes.done - round) < 0)
		pthread_cond_wait(&disk->granted, &disk->lock);
	pthread_mutex_unlock(&disk->lock);
}

void fake_disk_free(struct fake_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->wishes.quit = true;
	wish_end(disk);
	pthread_join(disk->thread, NULL);
	pthread_mutex_destroy(&disk->lock);
	pthread_cond_destroy(&disk->granted);
	fd_close(&disk->listen_fd);
	fd_close(&disk->wake_fd);
	unlink(disk->path);
	rmdir(disk->folder);
	free(disk->bytes);
	free(disk);
}

const char *fake_disk_uri(const struct fake_disk *disk)
{
	return disk->uri;
}

/* That a ring orders what both threads do is hidden from a sanitizer; a wish that is granted is not. */
uint8_t *fake_disk_bytes(struct fake_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	wish_wait(disk);
	return disk->bytes;
}

void fake_disk_resize(struct fake_disk *disk, uint64_t sectors)
{
	store_release(&disk->sectors, sectors);
	event_fd_signal(disk->wake_fd);
}

void fake_disk_hang_up(struct fake_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->wishes.hang_up = true;
	wish_wait(disk);
}

void fake_disk_set_trick(struct fake_disk *disk, enum fake_trick trick)
{
	store_relaxed(&disk->trick, trick);
}

void fake_disk_go_away(struct fake_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->wishes.away = true;
	wish_wait(disk);
}

void fake_disk_come_back(struct fake_disk *disk, const struct fake_setup *setup)
{
	setup_take(disk, setup);
	pthread_mutex_lock(&disk->lock);
	disk->wishes.away = false;
	wish_wait(disk);
}

void fake_disk_release(struct fake_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->wishes.release = true;
	wish_wait(disk);
}

unsigned fake_disk_taken(const struct fake_disk *disk)
{
	return load_relaxed(&disk->taken);
}

unsigned fake_disk_tricks(const struct fake_disk *disk)
{
	return load_relaxed(&disk->tricks);
}

unsigned fake_disk_clients(const struct fake_disk *disk)
{
	return load_relaxed(&disk->clients);
}

unsigned fake_open_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}
