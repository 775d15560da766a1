/* SPDX-License-Identifier: MIT */
/* See test_rig.h. */
#include "block/test_rig.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define RIG_DEADLINE_NS (20 * NS_PER_S)

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	loop_adopt(rig->loop);
	rig->graph = block_graph_new();
	assert_non_null(rig->graph);
	snprintf(rig->dir, sizeof(rig->dir), "block-test-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	*state = rig;
	return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	return remove(path);
}

static void rig_device_remove(struct rig *rig)
{
	if (!rig->device[0])
		return;
	close(rig->device_fd); /* the last close undoes the device */
	close(rig->memory_fd);
}

static void rig_tmpfs_unmount(struct rig *rig)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/small", rig->dir);
	if (rig->tmpfs_mounted)
		umount2(path, MNT_DETACH);
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	block_graph_free(rig->graph);
	loop_free(rig->loop);
	rig_device_remove(rig);
	rig_tmpfs_unmount(rig);
	nftw(rig->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

const char *rig_file_make(struct rig *rig, const char *name, uint64_t size)
{
	int fd;

	snprintf(rig->path, sizeof(rig->path), "%s/%s", rig->dir, name);
	fd = open(rig->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	return rig->path;
}

static void rig_skip(const char *what)
{
	print_message("skipped: %s: %s\n", what, strerrordesc_np(errno));
	skip();
}

/* Another process may take the free number between the two calls: try a few. */
static int loop_device_configure(const struct loop_config *config, char *ret_path, size_t size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;

	for (unsigned attempt = 0; control >= 0 && attempt < 8; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		snprintf(ret_path, size, "/dev/loop%d", number);
		fd = open(ret_path, O_RDWR | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, config) == 0)
			break;
		close(fd);
		fd = -1;
	}
	if (control >= 0)
		close(control);
	return fd;
}

const char *rig_device_make(struct rig *rig, uint64_t size, uint32_t block_size)
{
	struct loop_config config = { .block_size = block_size,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	char path[sizeof(rig->device)];

	rig->memory_fd = memfd_create("device", MFD_CLOEXEC);
	assert_true(rig->memory_fd >= 0);
	assert_int_equal(ftruncate(rig->memory_fd, (off_t)size), 0);
	config.fd = (uint32_t)rig->memory_fd;
	rig->device_fd = loop_device_configure(&config, path, sizeof(path));
	if (rig->device_fd < 0) {
		close(rig->memory_fd);
		rig_skip("no loop device");
	}
	memcpy(rig->device, path, sizeof(path));
	return rig->device;
}

void rig_device_resize(struct rig *rig, uint64_t size)
{
	assert_int_equal(ftruncate(rig->memory_fd, (off_t)size), 0);
	assert_int_equal(ioctl(rig->device_fd, LOOP_SET_CAPACITY), 0);
}

void rig_tmpfs_mount(struct rig *rig)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/small", rig->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	if (mount("small", path, "tmpfs", 0, "size=64k") < 0)
		rig_skip("cannot mount a tmpfs");
	rig->tmpfs_mounted = true;
}

struct block_channel *rig_channel(struct rig *rig, struct block_node *node)
{
	struct block_channel *channel = NULL;

	assert_int_equal(block_channel_open(node, rig->loop, &channel), 0);
	return channel;
}

static void rig_io_done(struct block_request *request, int result)
{
	struct rig_io *io = container_of(request, struct rig_io, request);

	io->done_count++;
	io->result = result;
}

void rig_io_init(struct rig_io *io, enum block_op op, uint64_t offset, void *buffer, uint64_t bytes)
{
	memset(io, 0, sizeof(*io));
	io->iov[0] = (struct iovec){ .iov_base = buffer, .iov_len = bytes };
	io->request = (struct block_request){
		.op = op,
		.offset = offset,
		.bytes = bytes,
		.iov = io->iov,
		.iov_count = 1,
	};
}

void rig_io_submit(struct block_channel *channel, struct rig_io *io)
{
	io->request.done = rig_io_done;
	block_submit(channel, &io->request);
}

int rig_io_wait(struct rig *rig, struct rig_io *io)
{
	uint64_t deadline_ns = clock_ns() + RIG_DEADLINE_NS;

	while (io->done_count == 0) {
		assert_true(clock_ns() < deadline_ns);
		/* Short: what we wait for may come as a message, before the turn goes to sleep. */
		loop_turn(rig->loop, NS_PER_MS);
	}
	assert_int_equal(io->done_count, 1);
	return io->result;
}

int rig_do_flags(struct rig *rig, struct block_channel *channel, enum block_op op, unsigned flags,
		 uint64_t offset, void *buffer, uint64_t bytes)
{
	struct rig_io io;

	rig_io_init(&io, op, offset, buffer, bytes);
	io.request.flags = flags;
	rig_io_submit(channel, &io);
	return rig_io_wait(rig, &io);
}

int rig_do(struct rig *rig, struct block_channel *channel, enum block_op op, uint64_t offset,
	   void *buffer, uint64_t bytes)
{
	return rig_do_flags(rig, channel, op, 0, offset, buffer, bytes);
}

/* splitmix64 */
uint64_t rig_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}
