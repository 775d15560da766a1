/* SPDX-License-Identifier: MIT */
/*
 * How big a file or device is, and what it wants: alignments of direct I/O, block sizes, what it can discard.
 *
 * Alignment is asked from the kernel (STATX_DIOALIGN since 6.1, BLKSSZGET for devices); where neither answers, reads of
 * growing alignment are tried. Main thread.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ALIGNMENT_MAX 65536u

static int probe_device_size(const struct file_node *file, uint64_t *ret_size, struct error *error)
{
	uint64_t size;

	if (ioctl(file->fd, BLKGETSIZE64, &size) < 0)
		return error_set(error, -errno, "Could not get the size of device '%s': %s",
				 file->filename, strerrordesc_np(errno));
	*ret_size = size;
	return 0;
}

int file_probe_size(const struct file_node *file, uint64_t *ret_size, struct error *error)
{
	struct stat stat;

	if (file->host_device)
		return probe_device_size(file, ret_size, error);
	if (fstat(file->fd, &stat) < 0)
		return error_set(error, -errno, "Could not get the size of '%s': %s",
				 file->filename, strerrordesc_np(errno));
	*ret_size = (uint64_t)stat.st_size;
	return 0;
}

static int probe_check_size(struct file_node *file, struct error *error)
{
	uint32_t alignment = MAX(file->node.limits.request_alignment, BLOCK_SECTOR);
	uint64_t size;
	int ret;

	ret = file_probe_size(file, &size, error);
	if (ret < 0)
		return ret;
	if (size == 0)
		return error_set(error, -EINVAL,
				 "Image '%s' is empty: a disk needs at least %u bytes",
				 file->filename, alignment);
	if (size % alignment)
		return error_set(error, -EINVAL,
				 "Size of image '%s' is %llu bytes, which is not a multiple of %u",
				 file->filename, (unsigned long long)size, alignment);
	file->node.size = size;
	return 0;
}

/* ---- alignment of direct I/O ---- */

/* 1: the kernel told; 0: it does not know; -EINVAL: there is no direct I/O on this file. */
static int probe_statx(struct file_node *file, struct error *error)
{
#ifdef STATX_DIOALIGN
	struct statx statx_buffer;

	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &statx_buffer) < 0 ||
	    !(statx_buffer.stx_mask & STATX_DIOALIGN))
		return 0;
	if (statx_buffer.stx_dio_offset_align == 0)
		return error_set(error, -EINVAL, "'%s' does not support O_DIRECT (cache.direct=on)",
				 file->filename);
	file->node.limits.request_alignment = MAX(statx_buffer.stx_dio_offset_align, BLOCK_SECTOR);
	file->node.limits.memory_alignment = MAX(statx_buffer.stx_dio_mem_align, 1u);
	return 1;
#else
	return 0;
#endif
}

/* The smallest power of two with which a read succeeds: as its length, or as the odd part of its address. */
static uint32_t probe_read(int fd, char *buffer, bool of_memory)
{
	uint32_t alignment = of_memory ? 4 : BLOCK_SECTOR;

	for (; alignment < ALIGNMENT_MAX; alignment *= 2) {
		char *start = of_memory ? buffer + alignment : buffer;

		if (pread(fd, start, of_memory ? ALIGNMENT_MAX : alignment, 0) >= 0)
			break;
	}
	return alignment;
}

static int probe_by_reading(struct file_node *file, struct error *error)
{
	char *buffer = aligned_alloc(ALIGNMENT_MAX, 2 * ALIGNMENT_MAX);

	if (!buffer)
		return error_set(error, -ENOMEM, "No memory for node '%s'", file->node.name);
	file->node.limits.request_alignment = probe_read(file->fd, buffer, false);
	file->node.limits.memory_alignment = probe_read(file->fd, buffer, true);
	free(buffer);
	return 0;
}

static int probe_alignment(struct file_node *file, struct error *error)
{
	int ret;

	file->logical_block = BLOCK_SECTOR;
	if (file->host_device) {
		int size;

		if (ioctl(file->fd, BLKSSZGET, &size) == 0 && size > 0)
			file->logical_block = (uint32_t)size;
	}
	if (!file->direct)
		return 0;
	ret = probe_statx(file, error);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	if (!file->host_device)
		return probe_by_reading(file, error);
	file->node.limits.request_alignment = file->logical_block;
	file->node.limits.memory_alignment = file->logical_block;
	return 0;
}

/* ---- limits ---- */

static bool read_number(const char *path, uint64_t *ret_value)
{
	unsigned long long value;
	FILE *file = fopen(path, "re");
	bool found;

	if (!file)
		return false;
	found = fscanf(file, "%llu", &value) == 1;
	fclose(file);
	if (found)
		*ret_value = value;
	return found;
}

/* An attribute of the device's queue; a partition's queue is its disk's. 0 when there is none. */
static uint64_t probe_queue(dev_t device, const char *attribute)
{
	uint64_t value = 0;
	char path[128];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/%s", major(device), minor(device),
		 attribute);
	if (read_number(path, &value))
		return value;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/%s", major(device),
		 minor(device), attribute);
	read_number(path, &value);
	return value;
}

static uint32_t usable_block_size(uint64_t size)
{
	bool power_of_two = size && (size & (size - 1)) == 0;

	return power_of_two && size >= BLOCK_SECTOR && size <= ALIGNMENT_MAX ? (uint32_t)size :
									       4096;
}

static void probe_device_limits(struct file_node *file, dev_t device)
{
	struct block_limits *limits = &file->node.limits;
	unsigned value;

	if (ioctl(file->fd, BLKPBSZGET, &value) == 0)
		limits->physical_block_size = usable_block_size(value);
	if (ioctl(file->fd, BLKIOOPT, &value) == 0)
		limits->optimal_io_size = value;
	limits->discard_alignment =
		(uint32_t)MIN(probe_queue(device, "discard_granularity"), UINT32_MAX);
	limits->write_zeroes_alignment = file->logical_block;
	if (probe_queue(device, "discard_max_bytes") > 0 && file->discard_unmap)
		limits->discard_max = BLOCK_SPACE_MAX;
}

static void probe_file_limits(struct file_node *file, const struct stat *stat)
{
	struct block_limits *limits = &file->node.limits;
	struct statfs statfs;

	limits->physical_block_size = usable_block_size((uint64_t)stat->st_blksize);
	limits->discard_alignment = limits->physical_block_size;
	limits->write_zeroes_alignment = limits->physical_block_size;
	limits->discard_zeroes = true;
	limits->has_status = true;
	if (file->discard_unmap)
		limits->discard_max = BLOCK_SPACE_MAX;
	file->in_memory = fstatfs(file->fd, &statfs) == 0 && statfs.f_type == TMPFS_MAGIC;
}

int file_probe(struct file_node *file, struct error *error)
{
	struct stat stat;
	int ret;

	ret = probe_alignment(file, error);
	if (ret < 0)
		return ret;
	ret = probe_check_size(file, error);
	if (ret < 0)
		return ret;
	if (fstat(file->fd, &stat) < 0)
		return error_set(error, -errno, "Could not stat '%s': %s", file->filename,
				 strerrordesc_np(errno));
	file->node.limits.write_zeroes_max = BLOCK_SPACE_MAX;
	if (file->host_device)
		probe_device_limits(file, stat.st_rdev);
	else
		probe_file_limits(file, &stat);
	file->node.limits.physical_block_size =
		MAX(file->node.limits.physical_block_size, file->node.limits.request_alignment);
	return 0;
}
