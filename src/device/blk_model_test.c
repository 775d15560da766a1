/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk against a model: rounds of random requests with random descriptors over real disks; a shadow says what must be there.
 *
 * The disk is cut into stripes, one for each request of a round, so that the requests of a round may finish in any order. Fixed seed.
 */
#include "device/blk_fixture.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STRIPE_BYTES (32u << 10)
#define STRIPES 12u
#define DISK_BYTES (STRIPE_BYTES * STRIPES)
#define ROUNDS 600u
#define HEADER 16u

struct model_op {
	struct blk_shape shape;
	uint32_t type, bytes;
	uint64_t offset;
	uint8_t status;        /* expected */
	uint8_t either_status; /* may also be, BLK_STATUS_NONE: no */
};

struct model {
	struct blk_world world;
	uint8_t shadow[DISK_BYTES];
	struct model_op ops[STRIPES];
	uint64_t seed;
	uint64_t done_by_type[16];
};

static uint32_t random_below(struct model *model, uint32_t limit)
{
	model->seed ^= model->seed << 13;
	model->seed ^= model->seed >> 7;
	model->seed ^= model->seed << 17;
	return (uint32_t)(model->seed >> 33) % limit;
}

/* Cuts into at most 4 descriptors at random places; the header's bound is no bound. */
static void random_cuts(struct model *model, uint32_t cuts[BLK_FIXTURE_CUTS], uint32_t bytes)
{
	unsigned count = 0;

	memset(cuts, 0, sizeof(uint32_t[BLK_FIXTURE_CUTS]));
	while (bytes > 1 && count < 3) {
		cuts[count] = 1 + random_below(model, random_below(model, 3) ? bytes - 1 :
									       MIN(bytes - 1, 20u));
		bytes -= cuts[count++];
	}
	cuts[count] = bytes;
}

static void op_prepare(struct model *model, unsigned stripe)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_IN,
					  VIRTIO_BLK_T_OUT,     VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
					  VIRTIO_BLK_T_FLUSH };
	struct model_op *op = &model->ops[stripe];
	uint32_t first = random_below(model, STRIPE_BYTES / 512);
	uint32_t sectors = 1 + random_below(model, STRIPE_BYTES / 512 - first);

	*op = (struct model_op){
		.type = types[random_below(model, ARRAY_SIZE(types))],
		.offset = stripe * STRIPE_BYTES + first * 512,
		.bytes = sectors * 512,
		.status = VIRTIO_BLK_S_OK,
		.either_status = VIRTIO_BLK_S_OK,
	};
}

static void op_fill_out(struct model *model, struct model_op *op)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = htole64(op->offset / 512),
							 .num_sectors = htole32(op->bytes / 512) };

	if (op->type == VIRTIO_BLK_T_OUT) {
		for (uint32_t i = 0; i < op->bytes; i += 8)
			memcpy(op->shape.out + HEADER + i, &(uint64_t){ model->seed + i * 31 }, 8);
		return;
	}
	if (op->type == VIRTIO_BLK_T_WRITE_ZEROES)
		range.flags = htole32(random_below(model, 2));
	memcpy(op->shape.out + HEADER, &range, sizeof(range));
}

static void op_submit(struct model *model, struct model_op *op)
{
	uint32_t in_bytes = op->type == VIRTIO_BLK_T_IN ? op->bytes : 0, out_bytes = 0;

	if (op->type == VIRTIO_BLK_T_OUT)
		out_bytes = op->bytes;
	else if (op->type == VIRTIO_BLK_T_DISCARD || op->type == VIRTIO_BLK_T_WRITE_ZEROES)
		out_bytes = HEADER; /* one range is as long as the header */
	op->shape = blk_shape(&model->world, op->type, op->offset / 512, out_bytes, in_bytes);
	if (out_bytes)
		op_fill_out(model, op);
	random_cuts(model, op->shape.out_cuts, HEADER + out_bytes);
	random_cuts(model, op->shape.in_cuts, in_bytes + 1);
	blk_submit_shape(&model->world, &op->shape);
}

static void op_check(struct model *model, const struct model_op *op)
{
	uint8_t status = blk_shape_status(&op->shape);

	if (status != op->status && status != op->either_status)
		fail_msg("type %u at %llu: status %u", op->type, (unsigned long long)op->offset,
			 status);
	if (status != VIRTIO_BLK_S_OK)
		return;
	model->done_by_type[op->type]++;
	if (op->type == VIRTIO_BLK_T_IN)
		assert_memory_equal(op->shape.in, model->shadow + op->offset, op->bytes);
	else if (op->type == VIRTIO_BLK_T_OUT)
		memcpy(model->shadow + op->offset, op->shape.out + HEADER, op->bytes);
	else if (op->type != VIRTIO_BLK_T_FLUSH)
		memset(model->shadow + op->offset, 0, op->bytes);
}

static void play_round(struct model *model)
{
	unsigned count = 1 + random_below(model, STRIPES), taken = model->world.f.taken;

	fixture_free_all(&model->world.f);
	for (unsigned i = 0; i < count; i++)
		op_submit(model, &model->ops[i]);
	fixture_wait_taken(&model->world.f, taken + count);
	for (unsigned i = 0; i < count; i++)
		op_check(model, &model->ops[i]);
}

static void play(struct model *model, bool errors)
{
	struct lane_stats stats;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < STRIPES; i++) {
			op_prepare(model, i);
			if (errors && model->ops[i].type != VIRTIO_BLK_T_OUT)
				model->ops[i].either_status = VIRTIO_BLK_S_IOERR;
		}
		play_round(model);
	}
	lane_get_stats(model->world.f.lane, &stats);
	assert_int_equal(stats.requests, model->world.f.taken);
	assert_int_equal(stats.in_flight, 0);
}

static struct model *model_open(const struct blk_world_config *config)
{
	struct model *model = calloc(1, sizeof(*model));

	model->seed = 0x2545f4914f6cdd1dull;
	blk_world_open(&model->world, config);
	return model;
}

/* The whole disk is as the shadow says. */
static void model_close(struct model *model)
{
	uint8_t *disk = malloc(DISK_BYTES);

	assert_int_equal(blk_run(&model->world, VIRTIO_BLK_T_IN, 0, NULL, 0, disk, DISK_BYTES),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(disk, model->shadow, DISK_BYTES);
	blk_world_close(&model->world);
	free(disk);
	free(model);
}

static struct block_node *open_ram(struct block_graph *graph)
{
	struct block_ram_config config = { .name = "ram", .size = DISK_BYTES };
	struct block_node *node;

	assert_int_equal(block_ram_open(graph, &config, &node, NULL), 0);
	return node;
}

static struct block_node *open_delayed(struct block_graph *graph)
{
	struct block_delay_config config = { .name = "delay",
					     .child = open_ram(graph),
					     .latency_ns = 20000 };
	struct block_node *node;

	assert_int_equal(block_delay_open(graph, &config, &node, NULL), 0);
	return node;
}

/* Every third request that is no write fails. */
static struct block_node *open_failing(struct block_graph *graph)
{
	struct block_error_config config = { .name = "error",
					     .child = open_delayed(graph),
					     .op_mask = 1u << BLOCK_READ | 1u << BLOCK_DISCARD |
							1u << BLOCK_FLUSH,
					     .error = -EIO,
					     .every = 3 };
	struct block_node *node;

	assert_int_equal(block_error_open(graph, &config, &node, NULL), 0);
	return node;
}

static struct block_node *open_null(struct block_graph *graph)
{
	struct block_null_config config = { .name = "null",
					    .size = DISK_BYTES,
					    .read_zeroes = true };
	struct block_node *node;

	assert_int_equal(block_null_open(graph, &config, &node, NULL), 0);
	return node;
}

static void play_and_compare(struct block_node *(*open_node)(struct block_graph *), bool event_idx)
{
	struct model *model = model_open(
		&(struct blk_world_config){ .open_node = open_node, .event_idx = event_idx });

	play(model, false);
	assert_true(model->done_by_type[VIRTIO_BLK_T_IN] > 500);
	assert_true(model->done_by_type[VIRTIO_BLK_T_OUT] > 500);
	assert_true(model->done_by_type[VIRTIO_BLK_T_DISCARD] > 200);
	assert_true(model->done_by_type[VIRTIO_BLK_T_WRITE_ZEROES] > 200);
	assert_true(model->done_by_type[VIRTIO_BLK_T_FLUSH] > 200);
	model_close(model);
}

static void test_model_when_disk_is_ram_then_it_holds(void **state)
{
	play_and_compare(open_ram, false);
	play_and_compare(open_ram, true);
}

static void test_model_when_requests_finish_later_then_it_holds(void **state)
{
	play_and_compare(open_delayed, false);
	play_and_compare(open_delayed, true);
}

static void test_model_when_some_fail_then_the_others_are_right(void **state)
{
	struct model *model = model_open(&(struct blk_world_config){ .open_node = open_failing });
	play(model, true);
	assert_true(model->done_by_type[VIRTIO_BLK_T_IN] > 200);
	blk_world_close(&model->world);
	free(model);
}

static void test_model_when_disk_is_null_then_reads_give_zeros(void **state)
{
	struct model *model = model_open(&(struct blk_world_config){ .open_node = open_null });

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < STRIPES; i++)
			op_prepare(model, i);
		play_round(model);
		memset(model->shadow, 0, DISK_BYTES);
	}
	model_close(model);
}

/* Requests are in flight when the stop comes: all of them are finished first, none is lost. */
static void test_stop_when_disk_is_slow_then_all_in_flight_are_finished(void **state)
{
	struct model *model = model_open(&(struct blk_world_config){ .open_node = open_delayed });
	struct lane_fixture *f = &model->world.f;

	for (unsigned round = 0; round < 50; round++) {
		unsigned count = 0, base;

		fixture_free_all(f);
		for (unsigned i = 0; i < STRIPES; i++, count++) {
			op_prepare(model, i);
			op_submit(model, &model->ops[i]);
		}
		fixture_turns(f, round % 4);
		base = (unsigned)fixture_stop(f);
		fixture_take(f);
		assert_int_equal(f->taken, base);
		f->ring.base = (uint16_t)base;
		assert_int_equal(fixture_start(f, 0), 0);
		fixture_kick_always(f);
		fixture_wait_taken(f, (round + 1) * STRIPES);
		for (unsigned i = 0; i < count; i++)
			op_check(model, &model->ops[i]);
	}
	model_close(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_when_disk_is_ram_then_it_holds),
		cmocka_unit_test(test_model_when_requests_finish_later_then_it_holds),
		cmocka_unit_test(test_model_when_some_fail_then_the_others_are_right),
		cmocka_unit_test(test_model_when_disk_is_null_then_reads_give_zeros),
		cmocka_unit_test(test_stop_when_disk_is_slow_then_all_in_flight_are_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
