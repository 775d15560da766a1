/* SPDX-License-Identifier: MIT */
/* For tests: see blk_fixture.h. */
#include "device/blk_fixture.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- the spy ---- */

struct spy_node {
	struct block_node node;
	struct blk_spy *spy;
};

static void spy_submit(struct block_channel *channel, struct block_request *request)
{
	struct blk_spy *spy = container_of(channel->node, struct spy_node, node)->spy;
	int result = spy->count + 1 == spy->fail_at ? spy->fail_result : 0;

	assert_true(spy->count < BLK_FIXTURE_SEEN);
	spy->seen[spy->count++] = (struct blk_seen){ request->op, request->flags,
						     request->iov_count, request->offset,
						     request->bytes };
	if (!spy->later) {
		block_complete(request, result);
		return;
	}
	assert_null(spy->held);
	spy->held = request;
}

void blk_spy_let_go(struct blk_spy *spy, int result)
{
	struct block_request *request = spy->held;

	assert_non_null(request);
	spy->held = NULL;
	block_complete(request, result);
}

static int spy_resize(struct block_node *node, uint64_t size, struct error *error)
{
	store_relaxed(&node->size, size);
	return 0;
}

static struct block_node *spy_open(struct blk_world *world, const struct blk_world_config *config)
{
	static const struct block_driver driver = {
		.name = "spy",
		.node_size = sizeof(struct spy_node),
		.channel_size = sizeof(struct block_channel),
		.resize = spy_resize,
		.submit = spy_submit,
	};
	struct block_node *node;
	struct error error = { 0 };

	assert_int_equal(block_node_alloc(&driver, "spy", &node, &error), 0);
	container_of(node, struct spy_node, node)->spy = &world->spy;
	node->size = config->spy_size ? config->spy_size : 1 << 20;
	node->limits.request_alignment = MAX(config->spy_alignment, 1u);
	node->limits.physical_block_size = 4096;
	node->limits.optimal_io_size = 65536;
	if (!config->spy_no_discard) {
		node->limits.discard_max = node->limits.write_zeroes_max = 256 << 10;
		node->limits.discard_alignment = 8192;
	}
	if (block_graph_insert(world->graph, node, &error) < 0)
		fail_msg("%s", error.text);
	return node;
}

/* ---- the world ---- */

void blk_world_open(struct blk_world *world, const struct blk_world_config *config)
{
	struct lane_fixture_config fixture = { .ops = blk_lane_ops(),
					       .ring_size = 128,
					       .event_idx = config->event_idx };
	struct blk_config blk = { .serial = "ringlane-test", .num_queues = 4 };
	struct error error = { 0 };

	memset(world, 0, sizeof(*world));
	world->graph = block_graph_new();
	world->node = config->open_node ? config->open_node(world->graph) : spy_open(world, config);
	blk.node = world->node;
	blk.writable = !config->read_only;
	blk.logical_block_size = config->logical_block_size;
	if (blk_device_new(&blk, &world->device, &error) < 0)
		fail_msg("%s", error.text);
	blk_device_set_acked(world->device,
			     config->acked ? config->acked : 1ull << VIRTIO_BLK_F_FLUSH);
	fixture.device = world->device;
	fixture_open(&world->f, &fixture);
	assert_int_equal(fixture_start(&world->f, 0), 0);
	fixture_kick_always(&world->f);
}

void blk_world_close(struct blk_world *world)
{
	assert_true(fixture_stop(&world->f) >= 0);
	fixture_close(&world->f);
	blk_device_free(world->device);
	block_graph_free(world->graph);
}

/* ---- requests ---- */

struct blk_shape blk_shape(struct blk_world *world, uint32_t type, uint64_t sector,
			   uint32_t out_bytes, uint32_t in_bytes)
{
	struct virtio_blk_outhdr header = { .type = htole32(type), .sector = htole64(sector) };
	struct blk_shape shape = {
		.out = fixture_alloc(&world->f, sizeof(header) + out_bytes),
		.in = fixture_alloc(&world->f, in_bytes + 1),
		.out_cuts = { sizeof(header), out_bytes },
		.in_cuts = { in_bytes ? in_bytes : 1, in_bytes ? 1 : 0 },
	};

	memcpy(shape.out, &header, sizeof(header));
	shape.in[in_bytes] = BLK_STATUS_NONE;
	return shape;
}

static unsigned sg_fill(struct blk_world *world, struct virtq_sg *sg, const uint8_t *host,
			const uint32_t *cuts)
{
	uint64_t guest = fixture_guest(&world->f, host);
	unsigned count = 0;

	for (; count < BLK_FIXTURE_CUTS && cuts[count]; guest += cuts[count++])
		sg[count] = (struct virtq_sg){ guest, cuts[count] };
	return count;
}

void blk_submit_shape(struct blk_world *world, const struct blk_shape *shape)
{
	struct virtq_sg sg[2 * BLK_FIXTURE_CUTS];
	unsigned out = sg_fill(world, sg, shape->out, shape->out_cuts);
	unsigned in = sg_fill(world, sg + out, shape->in, shape->in_cuts);

	fixture_add(&world->f, sg, out, in);
	fixture_kick(&world->f);
}

uint32_t blk_shape_in_bytes(const struct blk_shape *shape)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < BLK_FIXTURE_CUTS && shape->in_cuts[i]; i++)
		bytes += shape->in_cuts[i];
	return bytes;
}

uint8_t blk_shape_status(const struct blk_shape *shape)
{
	return shape->in[blk_shape_in_bytes(shape) - 1];
}

uint8_t blk_run_shape(struct blk_world *world, const struct blk_shape *shape)
{
	unsigned taken = world->f.taken;

	blk_submit_shape(world, shape);
	fixture_wait_taken(&world->f, taken + 1);
	assert_int_equal(world->f.written, blk_shape_in_bytes(shape));
	return blk_shape_status(shape);
}

const char *blk_break_shape(struct blk_world *world, const struct blk_shape *shape)
{
	unsigned broken = world->f.broken_count;

	blk_submit_shape(world, shape);
	fixture_wait(&world->f, world->f.broken_count > broken);
	assert_int_equal(fixture_take(&world->f), 0);
	return world->f.broken_reason;
}

uint8_t blk_run(struct blk_world *world, uint32_t type, uint64_t sector, const void *out,
		uint32_t out_bytes, void *ret_in, uint32_t in_bytes)
{
	struct blk_shape shape;
	uint8_t status;

	fixture_free_all(&world->f);
	shape = blk_shape(world, type, sector, out_bytes, in_bytes);
	if (out_bytes)
		memcpy(shape.out + sizeof(struct virtio_blk_outhdr), out, out_bytes);
	else
		shape.out_cuts[1] = 0;
	status = blk_run_shape(world, &shape);
	if (in_bytes)
		memcpy(ret_in, shape.in, in_bytes);
	return status;
}
