/* SPDX-License-Identifier: MIT */
/*
 * Four threads write and read back their own part of a disk, each in order, through all of its queues: the managed way.
 *
 *     cc many_queues.c $(pkg-config --cflags --libs ringlane) -pthread && ./a.out vhost-user-blk:/run/disk.sock
 *
 * Overwrites the first mebibyte of the disk.
 */
#include <errno.h>
#include <pthread.h>
#include <ringlane/managed.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#define THREADS 4
#define BLOCKS 64 /* of each thread */
#define BLOCK 4096

struct worker {
	struct ringlane_managed *managed;
	struct ringlane_flow *flow;
	char *buffer;
	unsigned index;
	sem_t done;
	int error; /* the last that came; callbacks of one flow may run on several threads */
};

/* On a thread of the library. */
static void on_done(void *user_data, int result)
{
	struct worker *worker = user_data;

	if (result < 0)
		__atomic_store_n(&worker->error, result, __ATOMIC_RELAXED);
	sem_post(&worker->done);
}

/* All blocks of a worker, in order; waits for them. */
static void transfer(struct worker *worker, enum ringlane_op op)
{
	unsigned submitted = 0;

	for (; submitted < BLOCKS; submitted++) {
		struct ringlane_request request = {
			.op = op,
			.data = worker->buffer + submitted * BLOCK,
			.bytes = BLOCK,
			.offset = (uint64_t)BLOCK * (worker->index * BLOCKS + submitted),
			.flow = worker->flow,
			.done = on_done,
			.user_data = worker,
		};
		int ret = ringlane_managed_submit(worker->managed, &request, 1);

		for (; ret == -EAGAIN; ret = ringlane_managed_submit(worker->managed, &request, 1))
			sched_yield(); /* the queues are full */
		if (ret < 0) {
			worker->error = ret;
			break;
		}
	}
	while (submitted--)
		sem_wait(&worker->done);
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	int byte = 'a' + (int)worker->index;

	memset(worker->buffer, byte, BLOCKS * BLOCK);
	transfer(worker, RINGLANE_OP_WRITE);
	memset(worker->buffer, 0, BLOCKS * BLOCK);
	if (!worker->error)
		transfer(worker, RINGLANE_OP_READ);
	for (unsigned i = 0; !worker->error && i < BLOCKS * BLOCK; i++)
		if (worker->buffer[i] != byte)
			worker->error = -EBADMSG;
	return NULL;
}

static int run(struct ringlane_managed *managed, char *buffer)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	int error = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .managed = managed, .index = i };
		workers[i].flow = ringlane_flow_new(managed, RINGLANE_ORDERED);
		workers[i].buffer = buffer + (size_t)i * BLOCKS * BLOCK;
		sem_init(&workers[i].done, 0, 0);
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ringlane_flow_free(workers[i].flow);
		if (workers[i].error)
			error = workers[i].error;
	}
	return error;
}

static void print_queues(struct ringlane_managed *managed)
{
	struct ringlane_queue_stats stats;

	for (unsigned i = 0; ringlane_managed_get_queue_stats(managed, i, &stats) == 0; i++)
		printf("queue %u: %llu requests, %llu interrupts, %llu kicks\n", i,
		       (unsigned long long)stats.completed, (unsigned long long)stats.interrupts,
		       (unsigned long long)stats.kicks);
}

int main(int argc, char **argv)
{
	struct ringlane_managed *managed = NULL;
	struct ringlane_device *disk = NULL;
	struct ringlane_error error = { .text = "usage: many_queues URI     (overwrites 1 MiB)" };
	char *buffer = NULL;
	int ret = 1;

	if (argc == 2 && ringlane_open(argv[1], NULL, &disk, &error) == 0)
		buffer = ringlane_mem_alloc(disk, THREADS * BLOCKS * BLOCK, &error);
	if (buffer && ringlane_managed_start(disk, NULL, &managed, &error) == 0)
		ret = run(managed, buffer);
	if (!managed)
		fprintf(stderr, "many_queues: %s\n", error.text);
	errno = -ret;
	if (managed && ret < 0)
		perror("many_queues");
	else if (managed)
		print_queues(managed);
	ringlane_managed_free(managed);
	ringlane_close(disk);
	return ret != 0;
}
