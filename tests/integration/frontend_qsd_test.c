// SPDX-License-Identifier: MIT
/*
 * The vhost-user front end against qemu-storage-daemon (path as argument): every request that a driver needs, and real reads
 * through a ring that is written by hand here. The daemon gets a listening socket, so there is nothing to wait for; it is
 * ended by its pid, and by the kernel when this test dies.
 */
#include "vhost_user/frontend.h"

#include "base/atomic.h"
#include "base/fd.h"
#include "vhost_user/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TIMEOUT_MS 60000u
#define DISK_SIZE (1u << 20)
#define SECTOR 512u
#define RING_SIZE 16u
#define QUEUES 2u
#define WANTED                                                               \
	(1ull << 32 | 1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_FLUSH | \
	 1ull << VIRTIO_BLK_F_CONFIG_WCE)

static const char *daemon_path;

struct scene {
	char dir[64], disk[96];
	pid_t daemon;
	struct vhu_frontend *frontend;
	struct dma_region memory;
	struct error error;
	int kick, call;
	uint16_t next; /* index of the ring's next request */
};

static void disk_make(struct scene *scene)
{
	uint8_t sector[SECTOR];
	int fd;

	snprintf(scene->dir, sizeof(scene->dir), "/tmp/vhu-qsd-XXXXXX");
	assert_non_null(mkdtemp(scene->dir));
	snprintf(scene->disk, sizeof(scene->disk), "%s/disk", scene->dir);
	fd = open(scene->disk, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (unsigned i = 0; i < DISK_SIZE / SECTOR; i++) {
		memset(sector, (int)(i % 251), sizeof(sector));
		assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	close(fd);
}

/* A socket that listens in the scene's folder; connect and accept need no path after this. */
static int listen_at(const char *path)
{
	struct error error;
	int fd = unix_listen(path, &error), flags;

	if (fd < 0)
		fail_msg("%s", error.text);
	flags = fcntl(fd, F_GETFL);
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	return fd;
}

static void daemon_exec(struct scene *scene, int listener)
{
	char blockdev[160], export[200];

	snprintf(blockdev, sizeof(blockdev), "driver=file,node-name=disk,filename=%s", scene->disk);
	snprintf(
		export, sizeof(export),
		"type=vhost-user-blk,id=e,node-name=disk,addr.type=fd,addr.str=%d,writable=on,num-queues=%u",
		listener, QUEUES);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fcntl(listener, F_SETFD, 0);
	execl(daemon_path, daemon_path, "--blockdev", blockdev, "--export", export, (char *)NULL);
	_exit(127);
}

static int scene_setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	char path[96];
	int listener;

	assert_non_null(scene);
	disk_make(scene);
	snprintf(path, sizeof(path), "%s/sock", scene->dir);
	listener = listen_at(path);
	scene->daemon = fork();
	if (scene->daemon == 0)
		daemon_exec(scene, listener);
	assert_true(scene->daemon > 0);
	close(listener);
	scene->kick = event_fd_new();
	scene->call = event_fd_new();
	assert_int_equal(dma_region_alloc(65536, &scene->memory, NULL), 0);
	if (vhu_frontend_open(path, TIMEOUT_MS, &scene->frontend, &scene->error) != 0)
		fail_msg("%s", scene->error.text);
	unlink(path);
	*state = scene;
	return 0;
}

static int scene_teardown(void **state)
{
	struct scene *scene = *state;

	vhu_frontend_close(scene->frontend);
	kill(scene->daemon, SIGKILL);
	waitpid(scene->daemon, NULL, 0);
	dma_region_free(&scene->memory);
	fd_close(&scene->kick);
	fd_close(&scene->call);
	unlink(scene->disk);
	rmdir(scene->dir);
	free(scene);
	return 0;
}

#define WORKS(scene, call)                                              \
	do {                                                            \
		if ((call) != 0)                                        \
			fail_msg("%s: %s", #call, (scene)->error.text); \
	} while (0)

/* Ring in the first page, used ring in the second; request head, status and data behind them. */
static void *at(struct scene *scene, size_t offset)
{
	return (char *)scene->memory.addr + offset;
}

static void ring_begin(struct scene *scene, unsigned index, uint16_t base)
{
	uint64_t addr = (uintptr_t)scene->memory.addr;
	struct vhu_frontend_ring ring = { .size = RING_SIZE,
					  .base = base,
					  .desc = addr,
					  .avail = addr + RING_SIZE * sizeof(struct vring_desc),
					  .used = addr + 4096,
					  .kick_fd = scene->kick,
					  .call_fd = scene->call };

	WORKS(scene, vhu_frontend_ring_start(scene->frontend, index, &ring, &scene->error));
}

static void desc_fill(struct scene *scene, uint16_t id, void *data, uint32_t size, uint16_t flags)
{
	struct vring_desc *desc = at(scene, id * sizeof(*desc));

	*desc = (struct vring_desc){ (uintptr_t)data, size, flags, (uint16_t)(id + 1) };
}

/* Reads one sector through the ring; its bytes lie at 16384 then. */
static void read_sector(struct scene *scene, uint64_t sector)
{
	struct virtio_blk_outhdr *head = at(scene, 8192);
	uint8_t *status = at(scene, 12288);
	struct vring_avail *avail = at(scene, RING_SIZE * sizeof(struct vring_desc));
	struct vring_used *used = at(scene, 4096);
	struct pollfd entry = { scene->call, POLLIN, 0 };

	*head = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN, .sector = sector };
	*status = 0xff;
	memset(at(scene, 16384), 0xee, SECTOR);
	desc_fill(scene, 0, head, sizeof(*head), VRING_DESC_F_NEXT);
	desc_fill(scene, 1, at(scene, 16384), SECTOR, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	desc_fill(scene, 2, status, 1, VRING_DESC_F_WRITE);
	avail->ring[scene->next % RING_SIZE] = 0;
	scene->next++;
	store_release(&avail->idx, scene->next); /* pairs with the device's read of the index */
	event_fd_signal(scene->kick);
	while (load_acquire(&used->idx) != scene->next) { /* pairs with the device's write of it */
		assert_int_equal(poll(&entry, 1, TIMEOUT_MS), 1);
		event_fd_clear(scene->call);
	}
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < SECTOR; i++)
		assert_int_equal(((uint8_t *)at(scene, 16384))[i], sector % 251);
}

static void test_qsd_when_opened_offers_what_is_known_of_it(void **state)
{
	struct scene *scene = *state;
	uint64_t protocol = vhu_frontend_protocol_features(scene->frontend);

	assert_true(vhu_frontend_features(scene->frontend) & 1ull << VHU_F_PROTOCOL_FEATURES);
	assert_true(protocol & 1ull << VHU_PROTOCOL_REPLY_ACK);
	assert_true(protocol & 1ull << VHU_PROTOCOL_CONFIG);
	assert_true(protocol & 1ull << VHU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	assert_int_equal(vhu_frontend_queue_max(scene->frontend), QUEUES);
	assert_in_range(vhu_frontend_mem_slots(scene->frontend), 8, 512);
	assert_true(vhu_frontend_backend_fd(scene->frontend) >= 0);
}

static void test_qsd_when_asked_for_too_much_configuration_gives_what_it_has(void **state)
{
	static const uint32_t sizes[] = { 256, 96, 60, 36, 8 };
	struct scene *scene = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t bytes[256];
		uint32_t got;
		uint64_t capacity;

		WORKS(scene, vhu_frontend_get_config(scene->frontend, bytes, sizes[i], &got,
						     &scene->error));
		assert_in_range(got, MIN(sizes[i], 36), sizes[i]);
		memcpy(&capacity, bytes, sizeof(capacity));
		assert_int_equal(capacity, DISK_SIZE / SECTOR);
	}
}

static void test_qsd_when_the_write_cache_is_switched_says_so(void **state)
{
	struct scene *scene = *state;
	uint32_t where = offsetof(struct virtio_blk_config, wce), got;
	uint8_t bytes[60], values[] = { 0, 1 };

	WORKS(scene, vhu_frontend_set_features(scene->frontend,
					       WANTED & vhu_frontend_features(scene->frontend),
					       &scene->error));
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		WORKS(scene, vhu_frontend_set_config(scene->frontend, where, &values[i], 1,
						     &scene->error));
		WORKS(scene, vhu_frontend_get_config(scene->frontend, bytes, sizeof(bytes), &got,
						     &scene->error));
		assert_int_equal(bytes[where], values[i]);
	}
}

static void test_qsd_when_rings_are_stopped_and_started_goes_on(void **state)
{
	struct scene *scene = *state;
	uint16_t base;

	WORKS(scene, vhu_frontend_set_features(scene->frontend,
					       WANTED & vhu_frontend_features(scene->frontend),
					       &scene->error));
	WORKS(scene, vhu_frontend_set_mem(scene->frontend, &scene->memory, 1, &scene->error));
	for (unsigned round = 0; round < 3; round++) {
		ring_begin(scene, QUEUES - 1, scene->next);
		WORKS(scene, vhu_frontend_set_status(scene->frontend, 15, &scene->error));
		for (unsigned i = 0; i < RING_SIZE + 1; i++)
			read_sector(scene, round * 100 + i);
		WORKS(scene,
		      vhu_frontend_ring_stop(scene->frontend, QUEUES - 1, &base, &scene->error));
		assert_int_equal(base, scene->next);
	}
}

static void test_qsd_when_memory_comes_and_goes_takes_it(void **state)
{
	struct scene *scene = *state;
	struct dma_region extra[4];

	WORKS(scene, vhu_frontend_set_features(scene->frontend, 1ull << 32, &scene->error));
	WORKS(scene, vhu_frontend_set_mem(scene->frontend, &scene->memory, 1, &scene->error));
	ring_begin(scene, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(extra); i++) {
		assert_int_equal(dma_region_alloc(4096, &extra[i], NULL), 0);
		WORKS(scene, vhu_frontend_add_mem(scene->frontend, &extra[i], &scene->error));
		read_sector(scene, i);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(extra); i++) {
		WORKS(scene, vhu_frontend_remove_mem(scene->frontend, &extra[i], &scene->error));
		dma_region_free(&extra[i]);
		read_sector(scene, i);
	}
}

static void test_qsd_when_killed_is_told_as_a_reset(void **state)
{
	struct scene *scene = *state;
	struct pollfd entry = { vhu_frontend_fd(scene->frontend), POLLIN, 0 };
	uint16_t base;

	kill(scene->daemon, SIGKILL);
	assert_int_equal(poll(&entry, 1, TIMEOUT_MS), 1);
	assert_int_equal(vhu_frontend_ring_stop(scene->frontend, 0, &base, &scene->error),
			 -ECONNRESET);
	assert_true(scene->error.text[0]);
}

#define STAGED(function) cmocka_unit_test_setup_teardown(function, scene_setup, scene_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STAGED(test_qsd_when_opened_offers_what_is_known_of_it),
		STAGED(test_qsd_when_asked_for_too_much_configuration_gives_what_it_has),
		STAGED(test_qsd_when_the_write_cache_is_switched_says_so),
		STAGED(test_qsd_when_rings_are_stopped_and_started_goes_on),
		STAGED(test_qsd_when_memory_comes_and_goes_takes_it),
		STAGED(test_qsd_when_killed_is_told_as_a_reset),
	};

	if (argc < 2 || access(argv[1], X_OK) != 0) {
		fprintf(stderr, "skipped: qemu-storage-daemon is not installed\n");
		return 77;
	}
	daemon_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
