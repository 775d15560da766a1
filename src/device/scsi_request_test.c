/* SPDX-License-Identifier: MIT */
/* virtio-scsi requests: layouts, addresses, responses. */
#include "device/scsi_fixture.h"
#include "device/scsi_internal.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER 51u
#define RESPONSE 108u
#define READ_10 0x28
#define WRITE_10 0x2a
#define INQUIRY 0x12
#define REPORT_LUNS 0xa0

static struct scsi_world *open_world(const struct scsi_world_config *config)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, config);
	return world;
}

static int setup(void **state)
{
	*state = open_world(&(struct scsi_world_config){ 0 });
	return 0;
}

static int teardown(void **state)
{
	scsi_world_close(*state);
	free(*state);
	return 0;
}

/* ---- the usual ones ---- */

static void assert_filled(const uint8_t *bytes, int byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes[i], byte);
}

static void test_read_when_usual_then_data_behind_the_response(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain =
		scsi_run(world, &(struct scsi_command){ .cdb = { READ_10, [5] = 7, [8] = 2 },
							.in_bytes = 1024 });

	scsi_assert_good(chain);
	assert_int_equal(scsi_residual(chain), 0);
	assert_int_equal(chain->written, RESPONSE + 1024);
	assert_filled(scsi_sense(chain), 0, 96);
	assert_filled(chain->in_part + RESPONSE, 7, 512);
	assert_filled(chain->in_part + RESPONSE + 512, 8, 512);
}

static void test_write_when_usual_then_the_response_alone(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_run(
		world, &(struct scsi_command){ .cdb = { WRITE_10, [8] = 2 }, .out_bytes = 1024 });

	scsi_assert_good(chain);
	assert_int_equal(chain->written, RESPONSE);
	assert_int_equal(world->spies[0].count, 1);
	assert_int_equal(world->spies[1].count, 0);
}

static void test_read_when_buffer_is_longer_then_residual(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_run(
		world, &(struct scsi_command){ .cdb = { READ_10, [8] = 1 }, .in_bytes = 1024 });

	scsi_assert_good(chain);
	assert_int_equal(scsi_residual(chain), 512);
	assert_int_equal(chain->written, RESPONSE + 512);
	assert_filled(chain->in_part + RESPONSE + 512, SCSI_FIXTURE_UNTOUCHED, 512);
}

static void test_read_when_buffer_is_shorter_then_overrun(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_run(
		world, &(struct scsi_command){ .cdb = { READ_10, [8] = 2 }, .in_bytes = 512 });

	assert_int_equal(scsi_response(chain), VIRTIO_SCSI_S_OVERRUN);
	assert_int_equal(scsi_residual(chain), 512);
	assert_int_equal(chain->written, RESPONSE);
	assert_int_equal(world->spies[0].count, 0);
}

static void test_command_when_refused_then_sense(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_run(world, &(struct scsi_command){ .cdb = { 0xff } });

	scsi_assert_sense(chain, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	assert_int_equal(chain->written, RESPONSE);
	assert_filled(scsi_sense(chain) + 18, 0, 78);
}

static void test_command_when_disk_fails_then_sense(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain;

	world->spies[0].later = true;
	chain = scsi_submit_read(world, 0, 0, 1);
	scsi_wait(world, world->spies[0].held_count == 1);
	scsi_spy_let_go(&world->spies[0], 0, -EIO);
	scsi_wait(world, !chain->out);
	scsi_assert_sense(chain, SCSI_MEDIUM_ERROR, SCSI_ASC_UNRECOVERED_READ_ERROR);
	assert_int_equal(scsi_residual(chain), 512);
	assert_int_equal(chain->written, RESPONSE);
}

static void test_command_when_disk_was_made_smaller_then_out_of_range(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *spy = &world->spies[0];
	struct scsi_chain *chain;

	spy->later = true;
	chain = scsi_submit(world, &(struct scsi_command){ .cdb = { WRITE_10, [5] = 7, [8] = 2 },
							   .out_bytes = 1024 });
	scsi_wait(world, spy->held_count == 1);
	store_relaxed(&spy->node->size, 8 * 512);
	scsi_spy_let_go(spy, 0, -EIO);
	scsi_wait(world, !chain->out);
	scsi_assert_sense(chain, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	assert_int_equal(scsi_residual(chain), 1024);
}

/* Of the same slot. */
static void test_command_when_the_one_before_had_sense_then_none(void **state)
{
	struct scsi_world *world = *state;

	scsi_run(world, &(struct scsi_command){ .cdb = { 0xff } });
	scsi_assert_good(scsi_run(world, &(struct scsi_command){ .cdb = { 0 } }));
}

/* ---- layouts ---- */

static const struct scsi_shape layouts[] = {
	{ .out_cuts = { HEADER }, .in_cuts = { RESPONSE } },
	{ .out_cuts = { 0 }, .in_cuts = { 0 } }, /* one descriptor each */
	{ .out_cuts = { 8, 8, 1, 1, 1, 32 }, .in_cuts = { 4, 4, 2, 1, 1, 96 } },
	{ .out_cuts = { 50, 1 }, .in_cuts = { 107, 1 } },
	{ .out_cuts = { 1, 50 }, .in_cuts = { 1, 107 } },
	{ .out_cuts = { 52 }, .in_cuts = { 109 } },
	{ .out_cuts = { 19 }, .in_cuts = { 12 } },
	{ .out_cuts = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	  .in_cuts = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
	{ .out_cuts = { 30, 21 }, .in_cuts = { 60, 48, 100, 300 } },
};

static void run_layout(struct scsi_world *world, const struct scsi_shape *layout, bool fails)
{
	struct scsi_chain *chain = scsi_chain_new(world, HEADER, RESPONSE + 1024);

	chain->out_part[0] = 1;
	chain->out_part[2] = 0x40;
	memcpy(chain->out_part + 19, (const uint8_t[10]){ READ_10, [5] = 3, [8] = 2 }, 10);
	if (fails)
		chain->out_part[19] = 0xff;
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain, layout);
	scsi_wait(world, !chain->out);
	if (fails) {
		scsi_assert_sense(chain, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		assert_int_equal(chain->written, RESPONSE);
		assert_filled(chain->in_part + 12 + 18, 0, 78);
		assert_filled(chain->in_part + RESPONSE, SCSI_FIXTURE_UNTOUCHED, 1024);
		return;
	}
	scsi_assert_good(chain);
	assert_int_equal(chain->written, RESPONSE + 1024);
	assert_filled(chain->in_part + 12, 0, 96);
	assert_filled(chain->in_part + RESPONSE, 3, 512);
	assert_filled(chain->in_part + RESPONSE + 512, 4, 512);
}

static bool layout_fits(const struct scsi_shape *layout, uint32_t out_bytes)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < SCSI_FIXTURE_CUTS; i++)
		bytes += layout->out_cuts[i];
	return bytes <= out_bytes;
}

static void test_request_when_cut_anywhere_then_the_same(void **state)
{
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
		if (!layout_fits(&layouts[i], HEADER))
			continue;
		run_layout(world, &layouts[i], false);
		run_layout(world, &layouts[i], true);
	}
}

static void test_write_when_cut_anywhere_then_the_data_arrives(void **state)
{
	struct scsi_world *world = *state;

	world->spies[0].later = true;
	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct scsi_chain *chain = scsi_chain_new(world, HEADER + 512, RESPONSE);
		struct scsi_shape cuts = layouts[i];
		struct block_request *block;
		uint8_t got[512];

		memset(cuts.in_cuts, 0, sizeof(cuts.in_cuts));
		chain->out_part[0] = 1;
		memcpy(chain->out_part + 19, (const uint8_t[10]){ WRITE_10, [8] = 1 }, 10);
		for (unsigned k = 0; k < 512; k++)
			chain->out_part[HEADER + k] = (uint8_t)(k * 7 + i);
		scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain, &cuts);
		scsi_wait(world, world->spies[0].held_count == 1);
		block = world->spies[0].held[0];
		for (unsigned k = 0, at = 0; k < block->iov_count; at += block->iov[k++].iov_len)
			memcpy(got + at, block->iov[k].iov_base, block->iov[k].iov_len);
		assert_memory_equal(got, chain->out_part + HEADER, 512);
		scsi_spy_let_go(&world->spies[0], 0, 0);
		scsi_wait(world, !chain->out);
		scsi_assert_good(chain);
	}
	world->spies[0].later = false;
}

/* The guest changes the CDB after it was read: the command is the one that was there. */
static void test_request_when_the_guest_changes_it_then_it_was_read_once(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain;

	world->spies[0].later = true;
	chain = scsi_submit_read(world, 0, 0, 1);
	scsi_wait(world, world->spies[0].held_count == 1);
	memset(chain->out_part, 0xff, chain->out_bytes);
	assert_int_equal(world->spies[0].held[0]->bytes, 512);
	scsi_spy_let_all_go(&world->spies[0]);
	scsi_wait(world, !chain->out);
	scsi_assert_good(chain);
}

/* ---- chains that are not understood ---- */

static struct scsi_chain *run_raw(struct scsi_world *world, uint32_t out_bytes, uint32_t in_bytes)
{
	struct scsi_chain *chain = scsi_chain_new(world, out_bytes, in_bytes);

	if (out_bytes > 0)
		chain->out_part[0] = 1;
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ 0 });
	return chain;
}

static void test_request_when_header_is_short_then_failure(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 18, 19, 50 };
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct scsi_chain *chain = run_raw(world, sizes[i], RESPONSE);

		scsi_wait(world, !chain->out);
		assert_int_equal(scsi_response(chain), VIRTIO_SCSI_S_FAILURE);
		assert_int_equal(chain->written, RESPONSE);
	}
}

static void test_request_when_no_room_for_response_then_the_queue_breaks(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 12, 107 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct scsi_world *world = open_world(&(struct scsi_world_config){ 0 });
		struct scsi_ring *ring = scsi_ring_of(world, 0, SCSI_QUEUE_FIRST);
		struct scsi_chain *chain = run_raw(world, HEADER, sizes[i]);

		scsi_wait(world, ring->broken_count == 1);
		assert_string_equal(ring->broken_reason, "a request without room for its response");
		assert_true(chain->out);
		assert_filled(chain->in_part, SCSI_FIXTURE_UNTOUCHED, sizes[i]);
		/* the other queue is served */
		scsi_assert_good(scsi_run(world, &(struct scsi_command){ .queue = 1 }));
		scsi_world_close(world);
		free(world);
	}
}

static void test_request_when_data_goes_both_ways_then_failure(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_run(
		world, &(struct scsi_command){
			       .cdb = { READ_10, [8] = 1 }, .out_bytes = 1, .in_bytes = 512 });

	assert_int_equal(scsi_response(chain), VIRTIO_SCSI_S_FAILURE);
	assert_int_equal(scsi_sense_length(chain), 0);
	assert_int_equal(world->spies[0].count, 0);
}

/* ---- protection information ---- */

static struct scsi_chain *run_pi(struct scsi_world *world, unsigned pi_byte)
{
	struct scsi_chain *chain = scsi_chain_new(world, HEADER + 8, RESPONSE + 512);

	chain->out_part[0] = 1;
	if (pi_byte)
		chain->out_part[pi_byte] = 1;
	memcpy(chain->out_part + 27, (const uint8_t[10]){ READ_10, [5] = 9, [8] = 1 }, 10);
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ .out_cuts = { HEADER + 8 },
						.in_cuts = { RESPONSE } });
	scsi_wait(world, !chain->out);
	return chain;
}

static void test_request_when_pi_is_acknowledged_then_its_layout(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain;

	scsi_device_set_acked(world->adapters[0].device, 1ull << VIRTIO_SCSI_F_T10_PI);
	chain = run_pi(world, 0);
	scsi_assert_good(chain);
	assert_filled(chain->in_part + RESPONSE, 9, 512);
	for (unsigned byte = 19; byte < 27; byte++)
		assert_int_equal(scsi_response(run_pi(world, byte)), VIRTIO_SCSI_S_FAILURE);
	assert_int_equal(world->spies[0].count, 1);
}

/* ---- addresses ---- */

static const struct {
	uint8_t lun[8];
	uint8_t response;
	bool refused; /* by the target */
} addresses[] = {
	{ { 1, 0, 0x40, 0 }, VIRTIO_SCSI_S_OK, false },
	{ { 1, 0, 0, 0 }, VIRTIO_SCSI_S_OK, false },
	{ { 1, 1, 0x40, 0 }, VIRTIO_SCSI_S_OK, false },
	{ { 1, 0, 0x40, 1 }, VIRTIO_SCSI_S_OK, true },
	{ { 1, 0, 0x7f, 0xff }, VIRTIO_SCSI_S_OK, true },
	{ { 1, 0, 0xc1, 0x01 }, VIRTIO_SCSI_S_OK, false },
	{ { 1, 2, 0x40, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 2, 0xc1, 0x01 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 255, 0, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 0, 0, 0x40, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 2, 0, 0x40, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 0, 0x01, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 0, 0x80, 0 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 0, 0xc1, 0x02 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 0, 0x40, 0, 1 }, VIRTIO_SCSI_S_BAD_TARGET, false },
	{ { 1, 0, 0x40, 0, 0, 0, 0, 1 }, VIRTIO_SCSI_S_BAD_TARGET, false },
};

static void test_request_when_addressed_then_who_answers(void **state)
{
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		struct scsi_chain *chain = scsi_chain_new(world, HEADER, RESPONSE);

		memcpy(chain->out_part, addresses[i].lun, 8);
		scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
				  &(struct scsi_shape){ 0 });
		scsi_wait(world, !chain->out);
		assert_int_equal(scsi_response(chain), addresses[i].response);
		if (scsi_response(chain) == VIRTIO_SCSI_S_OK)
			assert_int_equal(scsi_status(chain),
					 addresses[i].refused ? SCSI_CHECK_CONDITION : SCSI_GOOD);
	}
}

static void read_at(struct scsi_world *world, const uint8_t address[4])
{
	struct scsi_chain *chain = scsi_chain_new(world, HEADER, RESPONSE + 512);

	memcpy(chain->out_part, address, 4);
	memcpy(chain->out_part + 19, (const uint8_t[10]){ READ_10, [8] = 1 }, 10);
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ .out_cuts = { HEADER },
						.in_cuts = { RESPONSE, 512 } });
	scsi_wait(world, !chain->out);
}

/* So that the next one goes the short way: a LUN that is not the first of its target, and peripheral device addressing, too. */
static void test_read_when_lun_is_any_then_it_is_remembered(void **state)
{
	static const uint8_t places[][4] = { { 1, 0, 0x40, 5 },
					     { 1, 0, 0x40, 0 },
					     { 1, 0, 0, 5 },
					     { 1, 1, 0, 0 },
					     { 1, 1, 0x40, 0 } };
	struct scsi_world *world = *state;
	struct scsi_queue *queue = &world->adapters[0].device->queues[0];

	scsi_world_add_lun(world, 0, 2, 0, 5);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		struct scsi_lun *lun = scsi_world_lun(world, 0, places[i][1], places[i][3]);

		read_at(world, places[i]);
		assert_ptr_equal(queue->recent, scsi_lun_queue_of(lun, queue));
		assert_memory_equal(&queue->recent_word, places[i], 4);
	}
}

static void test_report_luns_when_asked_of_any_lun_then_those_of_the_target(void **state)
{
	static const uint8_t expected[8 + 3 * 8] = {
		[3] = 24, [16 + 1] = 255, [24] = 0x41, [24 + 1] = 0x2c
	};
	struct scsi_world *world = *state;
	struct scsi_command command = { .cdb = { REPORT_LUNS, [9] = 64 }, .in_bytes = 64 };

	scsi_world_add_lun(world, 0, 2, 0, 300);
	scsi_world_add_lun(world, 0, 3, 0, 255);
	for (unsigned i = 0; i < 2; i++, command.lun = 77) { /* 77 is not there */
		struct scsi_chain *chain = scsi_run(world, &command);

		scsi_assert_good(chain);
		assert_int_equal(scsi_residual(chain), 64 - sizeof(expected));
		assert_int_equal(chain->written, RESPONSE + sizeof(expected));
		assert_memory_equal(chain->in_part + RESPONSE, expected, sizeof(expected));
	}
}

static void test_inquiry_when_lun_is_absent_then_the_target_says_so(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain =
		scsi_run(world, &(struct scsi_command){
					.lun = 5, .cdb = { INQUIRY, [4] = 36 }, .in_bytes = 36 });

	scsi_assert_good(chain);
	assert_int_equal(chain->in_part[RESPONSE], 0x7f);
}

static void test_inquiry_when_lun_is_the_well_known_one_then_it_answers(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain = scsi_chain_new(world, HEADER, RESPONSE + 36);

	memcpy(chain->out_part, (const uint8_t[4]){ 1, 0, 0xc1, 0x01 }, 4);
	memcpy(chain->out_part + 19, (const uint8_t[5]){ INQUIRY, [4] = 36 }, 5);
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ 0 });
	scsi_wait(world, !chain->out);
	scsi_assert_good(chain);
	assert_int_equal(chain->in_part[RESPONSE], 0x1e);
}

/* ---- sizes ---- */

static void test_request_when_sizes_are_configured_then_its_layout(void **state)
{
	static const struct {
		uint32_t cdb_size, sense_size, sense_length;
	} sizes[] = { { 16, 18, 18 }, { 64, 252, 18 }, { 10, 8, 8 }, { 6, 1, 1 }, { 33, 96, 18 } };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct scsi_world *world =
			open_world(&(struct scsi_world_config){ .cdb_size = sizes[i].cdb_size,
								.sense_size = sizes[i].sense_size,
								.stopped = true });
		struct scsi_command command = { .cdb_size = sizes[i].cdb_size,
						.sense_size = sizes[i].sense_size };
		struct scsi_chain *chain;

		scsi_ring_start(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST));
		chain = scsi_run(world, &command); /* the attention after power on */
		assert_int_equal(scsi_status(chain), SCSI_CHECK_CONDITION);
		assert_int_equal(scsi_sense_length(chain), sizes[i].sense_length);
		assert_int_equal(scsi_sense(chain)[0], 0x70);
		assert_int_equal(chain->written, 12 + sizes[i].sense_size);
		scsi_assert_good(scsi_run(world, &command));
		scsi_world_close(world);
		free(world);
	}
}

static void test_request_when_driver_sets_sizes_then_its_layout(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_device *device = world->adapters[0].device;
	struct scsi_command command = { .cdb = { 0xff }, .cdb_size = 16 };

	assert_int_equal(scsi_device_set_config(device, 24, &(uint32_t){ htole32(16) }, 4), 0);
	scsi_assert_sense(scsi_run(world, &command), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	assert_int_equal(scsi_device_set_config(device, 20, &(uint32_t){ 0 }, 4), 0);
	command = (struct scsi_command){ .cdb = { 0 }, .cdb_size = 16, .sense_size = 0 };
	assert_int_equal(scsi_run(world, &command)->written, 12);
}

/* ---- attributes that mean nothing special ---- */

static void test_request_when_attribute_is_unknown_then_simple(void **state)
{
	struct scsi_world *world = *state;

	scsi_assert_good(scsi_run(world, &(struct scsi_command){ .attribute = 4 }));
	scsi_assert_good(scsi_run(world, &(struct scsi_command){ .attribute = 255 }));
}

static void test_request_when_aca_then_the_target_refuses(void **state)
{
	struct scsi_world *world = *state;

	scsi_assert_sense(scsi_run(world, &(struct scsi_command){ .attribute = SCSI_ACA }),
			  SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_MESSAGE);
}

#define request_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		request_case(test_read_when_usual_then_data_behind_the_response),
		request_case(test_write_when_usual_then_the_response_alone),
		request_case(test_read_when_buffer_is_longer_then_residual),
		request_case(test_read_when_buffer_is_shorter_then_overrun),
		request_case(test_command_when_refused_then_sense),
		request_case(test_command_when_disk_fails_then_sense),
		request_case(test_command_when_disk_was_made_smaller_then_out_of_range),
		request_case(test_command_when_the_one_before_had_sense_then_none),
		request_case(test_request_when_cut_anywhere_then_the_same),
		request_case(test_write_when_cut_anywhere_then_the_data_arrives),
		request_case(test_request_when_the_guest_changes_it_then_it_was_read_once),
		request_case(test_request_when_header_is_short_then_failure),
		cmocka_unit_test(test_request_when_no_room_for_response_then_the_queue_breaks),
		request_case(test_request_when_data_goes_both_ways_then_failure),
		request_case(test_request_when_pi_is_acknowledged_then_its_layout),
		request_case(test_request_when_addressed_then_who_answers),
		request_case(test_read_when_lun_is_any_then_it_is_remembered),
		request_case(test_report_luns_when_asked_of_any_lun_then_those_of_the_target),
		request_case(test_inquiry_when_lun_is_absent_then_the_target_says_so),
		request_case(test_inquiry_when_lun_is_the_well_known_one_then_it_answers),
		cmocka_unit_test(test_request_when_sizes_are_configured_then_its_layout),
		request_case(test_request_when_driver_sets_sizes_then_its_layout),
		request_case(test_request_when_attribute_is_unknown_then_simple),
		request_case(test_request_when_aca_then_the_target_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
