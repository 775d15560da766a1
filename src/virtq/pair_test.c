// SPDX-License-Identifier: MIT
/*
 * Driver's end against device's end, on one thread, one step at a time in random order, against a model that knows what each
 * request must carry. An end acts only while it is awake: it falls asleep when its ring tells it that nothing came, and wakes
 * only when the other end was told to notify it. Whoever loses a notification never finishes.
 */
#include "virtq/test_ring.h"

#include "base/iov.h"

#include <errno.h>

#define DESCS_MAX 9 /* of a chain */
#define AREA_BYTES 2999
#define TABLE_LEN 8

enum request_state { FREE, ADDED, POPPED, PUSHED };

struct request {
	enum request_state state;
	unsigned area; /* number of its memory */
	uint32_t readable, writable, written;
	uint8_t seed;
};

enum phase { SUPPRESS, WORK, PUBLISH, NOTIFY, ENABLE };

struct end {
	bool awake;
	enum phase phase;
};

struct pair {
	struct test_memory memory;
	struct virtq_memory ring;
	struct test_random random;
	struct virtq_driver driver;
	struct virtq_device device;
	struct virtq_driver_slot *slots;
	struct request *requests;    /* by head */
	unsigned *areas, area_count; /* stack of free ones */
	uint16_t *popped;
	unsigned popped_count;
	struct end driver_end, device_end;
	unsigned size, to_add, outstanding, finished, kicks, calls;
};

struct pair_shape {
	unsigned size, requests;
	uint16_t base;
	bool indirect, event_idx;
	uint64_t seed;
};

static size_t area_offset(const struct pair *pair, unsigned area)
{
	return pair->size * TABLE_LEN * sizeof(struct virtq_desc) + (size_t)area * AREA_BYTES;
}

static void pair_init(struct pair *pair, const struct pair_shape *shape)
{
	struct virtq_config config = { .layout = VIRTQ_SPLIT,
				       .size = (uint16_t)shape->size,
				       .base = shape->base,
				       .indirect = shape->indirect,
				       .event_idx = shape->event_idx };
	struct virtq_driver_tables tables = { .tables_addr = TEST_GUEST, .table_len = TABLE_LEN };

	*pair = (struct pair){ .random.state = shape->seed,
			       .size = shape->size,
			       .to_add = shape->requests,
			       .driver_end.awake = true,
			       .device_end.phase = ENABLE,
			       .device_end.awake = true };
	pair->ring = config.memory = test_ring_new(shape->size);
	test_memory_init(&pair->memory, area_offset(pair, shape->size));
	pair->slots = tables.slots = calloc(shape->size, sizeof(*tables.slots));
	tables.tables = (struct virtq_desc *)pair->memory.flat;
	pair->requests = calloc(shape->size, sizeof(*pair->requests));
	pair->popped = calloc(shape->size, sizeof(*pair->popped));
	pair->areas = calloc(shape->size, sizeof(*pair->areas));
	for (; pair->area_count < shape->size; pair->area_count++)
		pair->areas[pair->area_count] = pair->area_count;
	assert_int_equal(virtq_driver_init(&pair->driver, &config, &tables), 0);
	assert_int_equal(virtq_device_init(&pair->device, &config, pair->memory.map), 0);
}

static void pair_fini(struct pair *pair)
{
	free(pair->areas);
	free(pair->popped);
	free(pair->requests);
	free(pair->slots);
	test_ring_free(&pair->ring);
	test_memory_fini(&pair->memory);
}

static uint8_t pattern(uint8_t seed, uint32_t position)
{
	return (uint8_t)(seed + position * 7 + (position >> 8));
}

static void bytes_fill(uint8_t *bytes, uint8_t seed, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		bytes[i] = pattern(seed, i);
}

static void bytes_check(const uint8_t *bytes, uint8_t seed, uint32_t count)
{
	uint8_t expected[AREA_BYTES];

	bytes_fill(expected, seed, count);
	assert_memory_equal(bytes, expected, count);
}

static void untouched_check(const uint8_t *bytes, uint32_t count)
{
	uint8_t expected[AREA_BYTES];

	memset(expected, 0xee, count);
	assert_memory_equal(bytes, expected, count);
}

/* ---- driver ---- */

/* Cuts `bytes` bytes at addr into count pieces of random, often odd, sometimes no size. */
static void cut(struct pair *pair, struct virtq_sg *sg, unsigned count, uint64_t addr,
		uint32_t bytes)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t len = i + 1 == count ? bytes : test_random_below(&pair->random, bytes + 1);

		sg[i] = (struct virtq_sg){ .addr = addr, .len = len };
		addr += len;
		bytes -= len;
	}
}

static bool driver_add(struct pair *pair)
{
	unsigned count = 1 + test_random_below(&pair->random, MIN(pair->size, DESCS_MAX));
	unsigned out = test_random_below(&pair->random, count + 1), in = count - out;
	unsigned area = pair->areas[pair->area_count - 1];
	uint8_t *bytes = pair->memory.flat + area_offset(pair, area);
	uint64_t addr = TEST_GUEST + area_offset(pair, area);
	struct request request = { .state = ADDED,
				   .area = area,
				   .readable = out ? test_random_below(&pair->random, 1400) : 0,
				   .writable = in ? test_random_below(&pair->random, 1400) : 0,
				   .seed = (uint8_t)test_random(&pair->random) };
	struct virtq_sg sg[DESCS_MAX];
	uint16_t head;
	int ret;

	cut(pair, sg, out, addr, request.readable);
	cut(pair, sg + out, in, addr + request.readable, request.writable);
	bytes_fill(bytes, request.seed, request.readable);
	memset(bytes + request.readable, 0xee, AREA_BYTES - request.readable);
	ret = virtq_driver_add(&pair->driver, sg, out, in, &head);
	if (ret == -ENOSPC)
		return false;
	assert_int_equal(ret, 0);
	assert_int_equal(pair->requests[head].state, FREE);
	pair->requests[head] = request;
	pair->area_count--;
	pair->to_add--;
	pair->outstanding++;
	return true;
}

static void driver_take_all(struct pair *pair)
{
	uint32_t written;
	uint16_t head;
	int ret;

	while ((ret = virtq_driver_take(&pair->driver, &head, &written)) == 1) {
		struct request *request = &pair->requests[head];
		const uint8_t *bytes = pair->memory.flat + area_offset(pair, request->area);

		assert_int_equal(request->state, PUSHED);
		assert_int_equal(written, request->written);
		bytes_check(bytes, request->seed, request->readable);
		bytes_check(bytes + request->readable, (uint8_t)~request->seed, written);
		untouched_check(bytes + request->readable + written,
				AREA_BYTES - request->readable - written);
		request->state = FREE;
		pair->areas[pair->area_count++] = request->area;
		pair->outstanding--;
		pair->finished++;
	}
	assert_int_equal(ret, 0);
}

static void driver_work(struct pair *pair)
{
	unsigned batch = 1 + test_random_below(&pair->random, 2 * pair->size);

	driver_take_all(pair);
	while (pair->to_add && pair->area_count && batch-- && driver_add(pair))
		;
}

/* One step; an end that has room and requests never sleeps. */
static void driver_step(struct pair *pair)
{
	struct end *end = &pair->driver_end;

	switch (end->phase) {
	case SUPPRESS:
		virtq_driver_calls_suppress(&pair->driver);
		break;
	case WORK:
		driver_work(pair);
		break;
	case PUBLISH:
		virtq_driver_publish(&pair->driver);
		break;
	case NOTIFY:
		if (virtq_driver_should_kick(&pair->driver)) {
			pair->device_end.awake = true;
			pair->kicks++;
		}
		break;
	case ENABLE:
		end->awake =
			virtq_driver_calls_enable(&pair->driver,
						  (uint16_t)test_random_below(&pair->random, 5)) ||
			(pair->to_add && !pair->outstanding);
		break;
	}
	end->phase = end->phase == ENABLE ? SUPPRESS : end->phase + 1;
}

/* ---- device ---- */

static void device_pop_all(struct pair *pair)
{
	unsigned batch = 1 + test_random_below(&pair->random, 2 * pair->size);
	struct iovec iov[64];
	struct virtq_chain chain;
	uint8_t bytes[AREA_BYTES];

	for (; batch; batch--) {
		int ret = virtq_device_pop(&pair->device, iov, ARRAY_SIZE(iov), &chain);
		struct request *request;

		if (ret == 0)
			return;
		assert_int_equal(ret, 1);
		if (test_random_below(&pair->random, 16) == 0) {
			virtq_device_unpop(&pair->device);
			continue;
		}
		request = &pair->requests[chain.head];
		assert_int_equal(request->state, ADDED);
		assert_false(chain.overflow);
		assert_int_equal(chain.readable_bytes, request->readable);
		assert_int_equal(chain.writable_bytes, request->writable);
		assert_int_equal(iov_to_buffer(iov, chain.readable_count, 0, bytes, sizeof(bytes)),
				 request->readable);
		bytes_check(bytes, request->seed, request->readable);
		assert_int_equal(iov_size(iov + chain.readable_count, chain.writable_count),
				 request->writable);
		request->written = test_random_below(&pair->random, request->writable + 1);
		bytes_fill(bytes, (uint8_t)~request->seed, request->written);
		iov_from_buffer(iov + chain.readable_count, chain.writable_count, 0, bytes,
				request->written);
		request->state = POPPED;
		pair->popped[pair->popped_count++] = chain.head;
	}
}

/* Some of what was popped, in any order. */
static void device_push_some(struct pair *pair)
{
	unsigned batch = test_random_below(&pair->random, pair->popped_count + 1);

	while (batch--) {
		unsigned index = test_random_below(&pair->random, pair->popped_count);
		uint16_t head = pair->popped[index];

		pair->popped[index] = pair->popped[--pair->popped_count];
		pair->requests[head].state = PUSHED;
		virtq_device_push(&pair->device, head, pair->requests[head].written);
	}
}

static void device_call(struct pair *pair)
{
	if (!virtq_device_should_call(&pair->device))
		return;
	pair->driver_end.awake = true;
	pair->calls++;
}

static void device_step(struct pair *pair)
{
	struct end *end = &pair->device_end;

	switch (end->phase) {
	case SUPPRESS:
		virtq_device_kicks_suppress(&pair->device);
		break;
	case WORK:
		device_pop_all(pair);
		device_push_some(pair);
		break;
	case PUBLISH:
		virtq_device_publish(&pair->device);
		break;
	case NOTIFY:
		device_call(pair);
		break;
	case ENABLE:
		end->awake = virtq_device_kicks_enable(&pair->device);
		assert_true(!end->awake || virtq_device_has_work(&pair->device));
		break;
	}
	end->phase = end->phase == ENABLE ? SUPPRESS : end->phase + 1;
}

/* The disk behind a sleeping device finishes something. */
static void device_complete(struct pair *pair)
{
	device_push_some(pair);
	virtq_device_publish(&pair->device);
	device_call(pair);
}

/* ---- play ---- */

static void pair_step(struct pair *pair)
{
	unsigned dice = test_random_below(&pair->random, 8);

	if (pair->device_end.awake && (dice < 4 || !pair->driver_end.awake))
		device_step(pair);
	else if (pair->driver_end.awake && dice < 7)
		driver_step(pair);
	else
		device_complete(pair);
}

static void play(const struct pair_shape *shape)
{
	struct pair pair;

	pair_init(&pair, shape);
	while (pair.finished < shape->requests) {
		/* both asleep and nothing under way: a notification was lost */
		assert_true(pair.driver_end.awake || pair.device_end.awake || pair.popped_count ||
			    pair.device.used_next != pair.device.used_public);
		pair_step(&pair);
	}
	assert_int_equal(pair.outstanding, 0);
	assert_int_equal(pair.driver.free_count, shape->size);
	assert_int_equal(pair.area_count, shape->size);
	assert_false(virtq_driver_has_work(&pair.driver));
	assert_false(virtq_device_has_work(&pair.device));
	assert_null(pair.driver.broken);
	assert_null(pair.device.broken);
	assert_true(pair.kicks > 0 && pair.calls > 0);
	pair_fini(&pair);
}

static void play_sizes(bool indirect, bool event_idx)
{
	static const uint16_t bases[] = { 0, 65500, 65535 };

	for (unsigned size = 1; size <= VIRTQ_SIZE_MAX; size *= 2)
		for (unsigned b = 0; b < ARRAY_SIZE(bases); b++)
			play(&(struct pair_shape){ .size = size,
						   .requests = 200 + 2 * size,
						   .base = bases[b],
						   .indirect = indirect,
						   .event_idx = event_idx,
						   .seed = size * 3 + b + 1 });
}

static void test_pair_when_plain_then_each_request_is_done_once(void **state)
{
	play_sizes(false, false);
}

static void test_pair_when_event_idx_then_each_request_is_done_once(void **state)
{
	play_sizes(false, true);
}

static void test_pair_when_indirect_then_each_request_is_done_once(void **state)
{
	play_sizes(true, false);
}

static void test_pair_when_indirect_and_event_idx_then_each_request_is_done_once(void **state)
{
	play_sizes(true, true);
}

static void test_pair_when_indices_wrap_whole_then_no_notification_is_lost(void **state)
{
	for (unsigned event_idx = 0; event_idx < 2; event_idx++)
		play(&(struct pair_shape){
			.size = 16, .requests = 140000, .event_idx = event_idx, .seed = 77 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pair_when_plain_then_each_request_is_done_once),
		cmocka_unit_test(test_pair_when_event_idx_then_each_request_is_done_once),
		cmocka_unit_test(test_pair_when_indirect_then_each_request_is_done_once),
		cmocka_unit_test(
			test_pair_when_indirect_and_event_idx_then_each_request_is_done_once),
		cmocka_unit_test(test_pair_when_indices_wrap_whole_then_no_notification_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
