/* SPDX-License-Identifier: MIT */
/*
 * Prints the first 4096 bytes of a disk: the least that a program does.
 *
 *     cc hello_read.c $(pkg-config --cflags --libs ringlane) && ./a.out vhost-user-blk:/run/disk.sock | hexdump -C
 */
#include <ringlane/ringlane.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct ringlane_completion done = { .result = -1 };
	struct ringlane_device *disk;
	struct ringlane_error error;
	char *buffer;

	if (argc < 2 || ringlane_open(argv[1], NULL, &disk, &error) < 0)
		return fprintf(stderr, "%s\n", argc < 2 ? "usage: hello_read URI" : error.text), 1;
	buffer = ringlane_mem_alloc(disk, 4096, &error);
	if (buffer && ringlane_read(ringlane_queue_get(disk, 0), buffer, 4096, 0, NULL) == 0)
		ringlane_wait(ringlane_queue_get(disk, 0), &done, 1, 1, 5000, 0);
	if (done.result == 0)
		fwrite(buffer, 1, 4096, stdout);
	ringlane_close(disk);
	return done.result != 0;
}
