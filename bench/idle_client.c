// SPDX-License-Identifier: MIT
/*
 * A client that has used every queue of a disk once and then asks for nothing: what does the daemon cost meanwhile?
 *
 *     idle_client URI
 *
 * prints "idle" when it has become so, and stays until its standard input ends.
 */
#include <ringlane/ringlane.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct ringlane_device *disk;
	struct ringlane_info info;
	struct ringlane_error error;
	void *data;

	if (argc != 2)
		return fprintf(stderr, "usage: idle_client URI\n"), 1;
	if (ringlane_open(argv[1], NULL, &disk, &error) < 0)
		return fprintf(stderr, "idle_client: %s\n", error.text), 1;
	data = ringlane_mem_alloc(disk, 4096, &error);
	ringlane_get_info(disk, &info);
	for (unsigned i = 0; data && i < info.queues; i++) {
		struct ringlane_queue *queue = ringlane_queue_get(disk, i);
		struct ringlane_completion done;

		if (ringlane_read(queue, data, 4096, 0, NULL) < 0 ||
		    ringlane_wait(queue, &done, 1, 1, 1000, 0) != 1 || done.result)
			return fprintf(stderr, "idle_client: a read failed\n"), 1;
	}
	printf("idle\n");
	fflush(stdout);
	getchar();
	ringlane_close(disk);
	return 0;
}
