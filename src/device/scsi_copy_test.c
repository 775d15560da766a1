/* SPDX-License-Identifier: MIT */
/* EXTENDED COPY: a command of one LUN that uses another one. */
#include "device/scsi_fixture.h"

#include "base/endian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIST_BYTES (16 + 2 * 32 + 28)
#define BLOCKS 4

static int setup(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ 0 });
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	scsi_world_close(*state);
	free(*state);
	return 0;
}

static void put_disk(uint8_t bytes[32], uint64_t naa)
{
	memcpy(bytes, (const uint8_t[8]){ 0xe4, [4] = 1, [5] = 3, [7] = 8 }, 8);
	for (unsigned i = 0; i < 8; i++)
		bytes[8 + i] = (uint8_t)(naa >> (56 - 8 * i));
	bytes[30] = 512 >> 8;
}

/* Of a few blocks from one disk to another, told to the LUN of target 0. */
static struct scsi_chain *submit_copy(struct scsi_world *world, uint64_t from, uint64_t to)
{
	struct scsi_chain *chain = scsi_chain_new(world, 51 + LIST_BYTES, 108);
	const uint8_t cdb[16] = { 0x83, [13] = LIST_BYTES };
	const uint8_t segment[28] = { 2, [3] = 0x18, [7] = 1, [11] = BLOCKS, [27] = 100 };
	uint8_t *list = chain->out_part + 51;

	chain->out_part[0] = 1;
	chain->out_part[8] = 42; /* tag */
	memcpy(chain->out_part + 19, cdb, sizeof(cdb));
	list[3] = 64;
	list[11] = sizeof(segment);
	put_disk(list + 16, from);
	put_disk(list + 48, to);
	memcpy(list + 80, segment, sizeof(segment));
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_FIRST), chain,
			  &(struct scsi_shape){ .out_cuts = { 51 } });
	return chain;
}

static uint64_t name_of(const struct scsi_world *world, unsigned disk)
{
	return scsi_unit_wwn(scsi_disk_unit(world->spies[disk].disk));
}

static void wait_back(struct scsi_world *world, const struct scsi_chain *chain)
{
	scsi_wait(world, !chain->out);
}

static void test_copy_when_it_uses_another_lun_then_drain_and_unplug_of_that_wait(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *to = &world->spies[1];
	struct scsi_chain *copy;

	to->later = true;
	copy = submit_copy(world, name_of(world, 0), name_of(world, 1));
	scsi_wait(world, to->held_count == 1);
	assert_int_equal(to->last_op, BLOCK_WRITE);
	assert_int_equal(to->held[0]->offset, 100 * 512);
	assert_int_equal(to->held[0]->bytes, BLOCKS * 512);
	scsi_fixture_drain(to->disk, scsi_fixture_done, world);
	scsi_lun_remove(scsi_world_lun(world, 0, 1, 0), scsi_fixture_done, world);
	scsi_world_turns(world, 20);
	assert_int_equal(world->done, 0);
	scsi_spy_let_all_go(to);
	wait_back(world, copy);
	scsi_assert_good(copy);
	scsi_wait(world, world->done == 2);
	scsi_disk_release(to->disk);
}

/* It must not run on a disk that somebody wants quiet, nor wait for it while it holds others. */
static void test_copy_when_the_other_lun_is_drained_then_refused(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *copy;

	scsi_fixture_drain(world->spies[1].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == 1);
	copy = submit_copy(world, name_of(world, 0), name_of(world, 1));
	wait_back(world, copy);
	scsi_assert_sense(copy, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
	assert_int_equal(world->spies[0].count + world->spies[1].count, 0);
	scsi_disk_release(world->spies[1].disk);
	copy = submit_copy(world, name_of(world, 0), name_of(world, 1));
	wait_back(world, copy);
	scsi_assert_good(copy);
}

static void test_copy_when_this_initiator_has_no_such_disk_then_refused(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *copy = submit_copy(world, name_of(world, 0), name_of(world, 2));

	wait_back(world, copy);
	scsi_assert_sense(copy, SCSI_COPY_ABORTED, SCSI_ASC_COPY_TARGET_NOT_REACHABLE);
}

static void test_copy_when_to_the_same_disk_then_done(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *copy = submit_copy(world, name_of(world, 0), name_of(world, 0));

	wait_back(world, copy);
	scsi_assert_good(copy);
	assert_int_equal(world->spies[0].count, 2);
	assert_int_equal(world->spies[1].count, 0);
}

static void test_copy_when_its_lun_is_reset_then_it_ends_early_and_lets_the_other_go(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_spy *from = &world->spies[0];
	struct scsi_chain *copy, *tmf;

	from->later = true;
	copy = submit_copy(world, name_of(world, 0), name_of(world, 1));
	scsi_wait(world, from->held_count == 1);
	tmf = scsi_submit_tmf(world, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	scsi_world_turns(world, 10);
	assert_true(tmf->out);
	scsi_spy_let_all_go(from);
	wait_back(world, tmf);
	assert_int_equal(scsi_response(copy), VIRTIO_SCSI_S_RESET);
	assert_int_equal(world->spies[1].count, 0); /* nothing was written any more */
	scsi_fixture_drain(world->spies[1].disk, scsi_fixture_done, world);
	scsi_wait(world, world->done == 1);
	scsi_disk_release(world->spies[1].disk);
}

#define copy_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		copy_case(test_copy_when_it_uses_another_lun_then_drain_and_unplug_of_that_wait),
		copy_case(test_copy_when_the_other_lun_is_drained_then_refused),
		copy_case(test_copy_when_this_initiator_has_no_such_disk_then_refused),
		copy_case(test_copy_when_to_the_same_disk_then_done),
		copy_case(test_copy_when_its_lun_is_reset_then_it_ends_early_and_lets_the_other_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
