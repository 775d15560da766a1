/* SPDX-License-Identifier: MIT */
/*
 * file and host_device: a disk that is a regular file or a block device of the host.
 *
 * Theory of operation. open does everything that may fail and says in a sentence what was wrong: the kind of file, locks
 * (file_lock.c), size and alignments (file_probe.c). Afterwards requests go to file_io.c (data, flush) or file_space.c
 * (discard, zeroes); both run on the channel's loop and use its ring, so that no call of theirs waits for a disk, except
 * where file_io.c says so. There is one fd per node, shared by all loops; nothing else is.
 *
 * open, close and resize run on the main thread. A shrinking file does not wait for requests beyond its new end: who
 * shrinks drains first.
 */
#include "block/file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void file_submit(struct block_channel *channel, struct block_request *request)
{
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		file_io_submit(channel, request);
		return;
	case BLOCK_FLUSH:
		file_io_flush(request);
		return;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		file_space_submit(channel, request);
		return;
	case BLOCK_STATUS:
		file_status_submit(channel, request);
		return;
	}
	block_complete(request, -ENOTSUP);
}

static void file_close(struct block_node *node)
{
	struct file_node *file = file_node_of(node);

	worker_free(file->worker);
	fd_close(&file->fd);
	free(file->filename);
}

static int file_resize(struct block_node *node, uint64_t size, struct error *error)
{
	struct file_node *file = file_node_of(node);

	/* Smaller: first refuse new requests beyond the end, then cut. Larger: the other way round. */
	if (size < block_node_size(node))
		store_relaxed(&node->size, size);
	if (ftruncate(file->fd, (off_t)size) < 0) {
		int ret = -errno;

		file_probe_size(file, &size, NULL);
		store_relaxed(&node->size, size);
		return error_set(error, ret, "Could not resize '%s': %s", file->filename,
				 strerrordesc_np(-ret));
	}
	store_relaxed(&node->size, size);
	return 0;
}

/* A device is as big as it is: somebody else changed it, we look again. */
static int host_device_resize(struct block_node *node, uint64_t size, struct error *error)
{
	struct file_node *file = file_node_of(node);
	uint64_t device_size;
	int ret;

	ret = file_probe_size(file, &device_size, error);
	if (ret < 0)
		return ret;
	if (size > device_size)
		return error_set(error, -EINVAL,
				 "Cannot grow device '%s' to %llu bytes: it has %llu",
				 file->filename, (unsigned long long)size,
				 (unsigned long long)device_size);
	store_relaxed(&node->size, device_size);
	return 0;
}

/* Somebody else changed the file or the device. */
static int file_refresh(struct block_node *node, struct error *error)
{
	struct file_node *file = file_node_of(node);
	uint32_t alignment = MAX(node->limits.request_alignment, BLOCK_SECTOR);
	uint64_t size;
	int ret;

	ret = file_probe_size(file, &size, error);
	if (ret < 0)
		return ret;
	if (size == 0 || size % alignment)
		return error_set(
			error, -EINVAL,
			"Size of image '%s' is now %llu bytes, which is not a multiple of %u: "
			"the disk keeps its size",
			file->filename, (unsigned long long)size, alignment);
	store_relaxed(&node->size, size);
	return 0;
}

static const struct block_driver file_driver = {
	.name = "file",
	.node_size = sizeof(struct file_node),
	.channel_size = sizeof(struct file_channel),
	.close = file_close,
	.resize = file_resize,
	.refresh = file_refresh,
	.submit = file_submit,
};

static const struct block_driver host_device_driver = {
	.name = "host_device",
	.node_size = sizeof(struct file_node),
	.channel_size = sizeof(struct file_channel),
	.close = file_close,
	.resize = host_device_resize,
	.refresh = file_refresh,
	.submit = file_submit,
};

/* ---- opening ---- */

static int file_check_kind(const struct file_node *file, struct error *error)
{
	struct stat stat;

	if (fstat(file->fd, &stat) < 0)
		return error_set(error, -errno, "Could not stat '%s': %s", file->filename,
				 strerrordesc_np(errno));
	if (file->host_device && !S_ISBLK(stat.st_mode))
		return error_set(error, -EINVAL,
				 "'host_device' driver requires '%s' to be a block device",
				 file->filename);
	if (!file->host_device && S_ISBLK(stat.st_mode))
		return error_set(error, -EINVAL,
				 "'file' driver requires '%s' to be a regular file (a block device "
				 "needs driver 'host_device')",
				 file->filename);
	if (!file->host_device && !S_ISREG(stat.st_mode))
		return error_set(error, -EINVAL, "'file' driver requires '%s' to be a regular file",
				 file->filename);
	return 0;
}

/* O_NONBLOCK only for the open itself: a FIFO would make us wait for its other end. */
static int file_open_fd(struct file_node *file, struct error *error)
{
	int flags = (file->node.read_only ? O_RDONLY : O_RDWR) | (file->direct ? O_DIRECT : 0);

	file->fd = open(file->filename, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file->fd < 0 && errno == EINVAL && file->direct)
		return error_set(
			error, -EINVAL,
			"The file system of '%s' does not support O_DIRECT (cache.direct=on)",
			file->filename);
	if (file->fd < 0)
		return error_set(error, -errno, "Could not open '%s': %s", file->filename,
				 strerrordesc_np(errno));
	if (fcntl(file->fd, F_SETFL, flags) < 0)
		return error_set(error, -errno, "Could not set the flags of '%s': %s",
				 file->filename, strerrordesc_np(errno));
	return 0;
}

static int file_start_worker(struct file_node *file, struct error *error)
{
	int ret = worker_new(&file->worker);

	if (ret < 0)
		return error_set(error, ret, "Node '%s': cannot start a worker thread: %s",
				 file->node.name, strerrordesc_np(-ret));
	return 0;
}

static int file_setup(struct file_node *file, const struct block_file_config *config,
		      struct error *error)
{
	int ret;

	file->filename = strdup(config->filename);
	if (!file->filename)
		return error_set(error, -ENOMEM, "No memory for node '%s'", config->name);
	ret = file_open_fd(file, error);
	if (ret == 0)
		ret = file_check_kind(file, error);
	if (ret == 0)
		ret = file_lock_take(file->fd, config, error);
	if (ret == 0)
		ret = file_probe(file, error);
	if (ret == 0 && file->host_device && file->node.limits.discard_max > 0)
		ret = file_start_worker(file, error);
	return ret;
}

int block_file_open(struct block_graph *graph, const struct block_file_config *config,
		    struct block_node **ret_node, struct error *error)
{
	const struct block_driver *driver = config->host_device ? &host_device_driver :
								  &file_driver;
	struct block_node *node;
	struct file_node *file;
	int ret;

	if (!config->filename || !*config->filename)
		return error_set(error, -EINVAL, "Driver '%s' needs a filename", driver->name);
	ret = block_node_alloc(driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	file = file_node_of(node);
	file->fd = -1;
	file->host_device = config->host_device;
	file->direct = config->direct;
	file->no_flush = config->no_flush;
	file->discard_unmap = config->discard_unmap;
	node->read_only = config->read_only;
	ret = file_setup(file, config, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
