// SPDX-License-Identifier: MIT
/*
 * libringlane on a real back end's disk, whose URI is the argument: every kind of request, two queues on two threads with a
 * shadow of what must be on the disk, and more requests than a ring's index counts. The disk is overwritten; it has at
 * least 4 MiB and two queues.
 */
#include <ringlane/ringlane.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DEADLINE_MS 60000
#define BLOCK 4096u
#define PART_BYTES (2u << 20) /* of the disk, for each thread */
#define DEPTH 16u
#define OPERATIONS 3000u

static const char *uri;

struct scene {
	struct ringlane_device *disk;
	struct ringlane_info info;
	uint8_t *memory; /* 2 * PART_BYTES */
};

static int scene_open(void **state)
{
	const struct ringlane_options options = { .queues = 2, .timeout_ms = DEADLINE_MS };
	struct scene *scene = calloc(1, sizeof(*scene));
	struct ringlane_error error;

	if (ringlane_open(uri, &options, &scene->disk, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	ringlane_get_info(scene->disk, &scene->info);
	scene->memory = ringlane_mem_alloc(scene->disk, 2 * PART_BYTES, NULL);
	*state = scene;
	return scene->memory && scene->info.queues == 2 ? 0 : -1;
}

static int scene_close(void **state)
{
	struct scene *scene = *state;

	ringlane_close(scene->disk);
	free(scene);
	return 0;
}

static int finish(struct ringlane_queue *queue, int queued)
{
	struct ringlane_completion completion;

	if (queued < 0)
		return queued;
	if (ringlane_wait(queue, &completion, 1, 1, DEADLINE_MS, 0) != 1)
		return -ETIME;
	return completion.result;
}

static void write_all(struct scene *scene, int byte)
{
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 0);

	memset(scene->memory, byte, 65536);
	assert_int_equal(finish(queue, ringlane_write(queue, scene->memory, 65536, 0, NULL)), 0);
}

static void check_range(struct scene *scene, uint64_t offset, size_t bytes, int byte)
{
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 1);

	memset(scene->memory, ~byte, bytes);
	assert_int_equal(finish(queue, ringlane_read(queue, scene->memory, bytes, offset, NULL)),
			 0);
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(scene->memory[i], (uint8_t)byte);
}

static void test_write_zeroes_when_done_then_only_the_range_is_zero(void **state)
{
	struct scene *scene = *state;
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 0);
	const struct ringlane_range ranges[] = { { 4096, 8192 }, { 32768, 4096 } };
	unsigned count = scene->info.write_zeroes_ranges < 2 ? 1 : 2;

	assert_true(scene->info.write_zeroes_max >= 8192);
	write_all(scene, 0x5a);
	assert_int_equal(finish(queue, ringlane_write_zeroes(queue, ranges, count, 0, NULL)), 0);
	check_range(scene, 0, 4096, 0x5a);
	check_range(scene, 4096, 8192, 0);
	check_range(scene, 12288, 20480, 0x5a);
	check_range(scene, 32768, 4096, count == 2 ? 0 : 0x5a);
	check_range(scene, 36864, 4096, 0x5a);
}

static void test_discard_when_done_then_its_neighbours_are_untouched(void **state)
{
	struct scene *scene = *state;
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 0);
	const struct ringlane_range range = { 8192, 16384 };

	assert_true(scene->info.discard_max >= 16384);
	write_all(scene, 0xa5);
	assert_int_equal(finish(queue, ringlane_discard(queue, &range, 1, NULL)), 0);
	check_range(scene, 0, 8192, 0xa5);
	check_range(scene, 24576, 8192, 0xa5);
}

static void test_flush_and_id_when_asked_then_they_answer(void **state)
{
	struct scene *scene = *state;
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 0);

	assert_true(scene->info.flush);
	assert_int_equal(finish(queue, ringlane_flush(queue, NULL)), 0);
	memset(scene->memory, 0, 64);
	assert_int_equal(finish(queue, ringlane_get_id(queue, (char *)scene->memory, NULL)), 0);
	assert_true(scene->memory[0] > ' ');
	assert_int_equal(scene->memory[20], 0);
}

/* ---- two threads ---- */

struct worker {
	struct scene *scene;
	struct ringlane_queue *queue;
	uint64_t first; /* byte of the disk */
	uint8_t *buffers;
	uint32_t random;
	uint8_t shadow[PART_BYTES / BLOCK]; /* what each block is filled with */
	bool busy[PART_BYTES / BLOCK];      /* a request is on it */
	const char *wrong;
};

struct operation {
	struct worker *worker;
	uint8_t *buffer;
	unsigned block, count;
	bool write, busy;
	uint8_t byte;
};

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static bool blocks_are_free(const struct worker *worker, unsigned block, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (worker->busy[block + i])
			return false;
	return true;
}

static void blocks_mark(struct worker *worker, const struct operation *operation, bool busy)
{
	memset(&worker->busy[operation->block], busy, operation->count * sizeof(bool));
}

/* In two to five segments of unequal size. */
static int operation_queue(struct worker *worker, struct operation *operation)
{
	size_t left = operation->count * BLOCK, done = 0;
	uint64_t offset = worker->first + (uint64_t)operation->block * BLOCK;
	struct iovec iov[5];
	unsigned count = 0;

	while (left) {
		size_t bytes = count == 4 ? left : 1 + random_next(&worker->random) % left;

		iov[count++] = (struct iovec){ operation->buffer + done, bytes };
		done += bytes;
		left -= bytes;
	}
	return operation->write ? ringlane_writev(worker->queue, iov, count, offset, operation) :
				  ringlane_readv(worker->queue, iov, count, offset, operation);
}

static void operation_begin(struct worker *worker, struct operation *operation)
{
	unsigned count = 1 + random_next(&worker->random) % 4;
	unsigned block = random_next(&worker->random) % (PART_BYTES / BLOCK - count);

	if (!blocks_are_free(worker, block, count))
		return;
	operation->write = random_next(&worker->random) & 1;
	operation->byte = (uint8_t)random_next(&worker->random);
	operation->block = block;
	operation->count = count;
	if (operation->write)
		memset(operation->buffer, operation->byte, count * BLOCK);
	if (operation_queue(worker, operation) < 0) {
		worker->wrong = "a request was refused";
		return;
	}
	operation->busy = true;
	blocks_mark(worker, operation, true);
}

static void operation_end(struct worker *worker, struct operation *operation, int result)
{
	operation->busy = false;
	blocks_mark(worker, operation, false);
	if (result < 0)
		worker->wrong = "a request failed";
	for (unsigned i = 0; i < operation->count * BLOCK && !operation->write; i++)
		if (operation->buffer[i] != worker->shadow[operation->block + i / BLOCK])
			worker->wrong = "a block is not what was written";
	if (operation->write)
		memset(&worker->shadow[operation->block], operation->byte, operation->count);
}

static void *worker_run(void *opaque)
{
	struct worker *worker = opaque;
	struct operation operations[DEPTH] = { 0 };
	struct ringlane_completion done[DEPTH];
	unsigned ended = 0;

	while (!worker->wrong && ended < OPERATIONS) {
		int got;

		for (unsigned i = 0; i < DEPTH; i++) {
			operations[i].buffer = worker->buffers + i * 4 * BLOCK;
			if (!operations[i].busy)
				operation_begin(worker, &operations[i]);
		}
		got = ringlane_wait(worker->queue, done, 1, DEPTH, DEADLINE_MS, 0);
		if (got <= 0)
			worker->wrong = "nothing was completed";
		for (int i = 0; i < got; i++)
			operation_end(worker, done[i].user_data, done[i].result);
		ended += got > 0 ? (unsigned)got : 0;
	}
	while (!worker->wrong && ringlane_queue_in_flight(worker->queue))
		if (ringlane_wait(worker->queue, done, 1, DEPTH, DEADLINE_MS, 0) <= 0)
			worker->wrong = "nothing was completed at the end";
	return NULL;
}

static void worker_zero(struct worker *worker)
{
	struct scene *scene = worker->scene;

	memset(scene->memory, 0, PART_BYTES);
	for (unsigned at = 0; at < PART_BYTES; at += 65536)
		assert_int_equal(finish(worker->queue,
					ringlane_write(worker->queue, scene->memory, 65536,
						       worker->first + at, NULL)),
				 0);
}

static void test_two_queues_when_two_threads_use_them_then_data_is_right(void **state)
{
	struct scene *scene = *state;
	struct worker *workers = calloc(2, sizeof(*workers));
	pthread_t threads[2];

	assert_non_null(workers);
	for (unsigned i = 0; i < 2; i++) {
		workers[i].scene = scene;
		workers[i].queue = ringlane_queue_get(scene->disk, i);
		workers[i].first = i * PART_BYTES;
		workers[i].buffers = scene->memory + i * PART_BYTES;
		workers[i].random = 7 + i;
		worker_zero(&workers[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 2; i++)
		if (workers[i].wrong)
			fail_msg("queue %u: %s", i, workers[i].wrong);
	free(workers);
}

/* More than 65536, polled, at a depth. */
static void test_ring_when_its_indices_wrap_then_all_requests_end(void **state)
{
	struct scene *scene = *state;
	struct ringlane_queue *queue = ringlane_queue_get(scene->disk, 0);
	struct ringlane_completion done[32];
	unsigned begun = 0, ended = 0;

	while (ended < 70000) {
		int got;

		while (begun < 70000 && begun - ended < 32) {
			assert_int_equal(ringlane_read(queue, scene->memory, 512, 0, NULL), 0);
			begun++;
		}
		got = ringlane_wait(queue, done, 1, 32, DEADLINE_MS, 20000);
		assert_true(got > 0);
		for (int i = 0; i < got; i++)
			assert_int_equal(done[i].result, 0);
		ended += (unsigned)got;
	}
	assert_int_equal(ringlane_queue_in_flight(queue), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_zeroes_when_done_then_only_the_range_is_zero),
		cmocka_unit_test(test_discard_when_done_then_its_neighbours_are_untouched),
		cmocka_unit_test(test_flush_and_id_when_asked_then_they_answer),
		cmocka_unit_test(test_two_queues_when_two_threads_use_them_then_data_is_right),
		cmocka_unit_test(test_ring_when_its_indices_wrap_then_all_requests_end),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: driver_disk_test URI\n");
		return 1;
	}
	uri = argv[1];
	return cmocka_run_group_tests(tests, scene_open, scene_close);
}
