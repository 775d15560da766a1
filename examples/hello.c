/* SPDX-License-Identifier: MIT */
/*
 * Writes the first block of a disk, reads it back and compares: all of libringlane that most programs need.
 *
 *     cc hello.c $(pkg-config --cflags --libs ringlane) && ./a.out vhost-user-blk:/run/disk.sock
 */
#include <errno.h>
#include <ringlane/ringlane.h>
#include <stdio.h>
#include <string.h>

/* Sends what was queued and waits for it. Returns 0 or -errno. */
static int finish(struct ringlane_queue *queue)
{
	struct ringlane_completion completion;
	int ret = ringlane_wait(queue, &completion, 1, 1, -1, 0);

	return ret < 0 ? ret : completion.result;
}

static int write_and_compare(struct ringlane_queue *queue, char *written, char *read, size_t size)
{
	int ret;

	memset(written, 'r', size);
	snprintf(written, size, "hello, disk");
	ret = ringlane_write(queue, written, size, 0, NULL);
	if (ret == 0)
		ret = finish(queue);
	if (ret == 0)
		ret = ringlane_read(queue, read, size, 0, NULL);
	if (ret == 0)
		ret = finish(queue);
	errno = -ret;
	if (ret < 0)
		perror("hello");
	else if (memcmp(written, read, size) != 0)
		fprintf(stderr, "hello: read something else than was written\n");
	else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct ringlane_device *disk;
	struct ringlane_error error;
	struct ringlane_info info;
	char *buffer;
	int status = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: hello URI     (overwrites the disk's first block)\n");
		return 1;
	}
	if (ringlane_open(argv[1], NULL, &disk, &error) < 0) {
		fprintf(stderr, "hello: %s\n", error.text);
		return 1;
	}
	ringlane_get_info(disk, &info);
	buffer = ringlane_mem_alloc(disk, 2 * (size_t)info.logical_block_size, &error);
	if (!buffer)
		fprintf(stderr, "hello: %s\n", error.text);
	else
		status = write_and_compare(ringlane_queue_get(disk, 0), buffer,
					   buffer + info.logical_block_size,
					   info.logical_block_size);
	if (status == 0)
		printf("%llu bytes, %u queues: wrote a block and read it back\n",
		       (unsigned long long)info.capacity, info.queues);
	ringlane_close(disk);
	return status;
}
