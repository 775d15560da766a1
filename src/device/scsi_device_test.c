/* SPDX-License-Identifier: MIT */
/* virtio-scsi as the driver sees it before the first request: refusals, features, configuration space, names, addresses. */
#include "device/scsi_fixture.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIT(bit) (1ull << (bit))
#define SENSE_SIZE 20u
#define CDB_SIZE 24u

static int setup(void **state)
{
	struct scsi_world *world = calloc(1, sizeof(*world));

	scsi_world_open(world, &(struct scsi_world_config){ .queues = 4, .no_luns = true });
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	scsi_world_close(*state);
	free(*state);
	return 0;
}

static struct scsi_device *device_of(void **state)
{
	struct scsi_world *world = *state;

	return world->adapters[0].device;
}

/* ---- refusals ---- */

static void test_new_when_config_is_wrong_then_a_sentence(void **state)
{
	static const struct {
		uint16_t queues;
		uint32_t cdb_size, sense_size;
		const char *sentence;
	} cases[] = {
		{ 0, 0, 0, "an adapter needs at least one request queue" },
		{ 1, 5, 0, "the CDB size 5 is not from 6 to 64 bytes" },
		{ 1, 65, 0, "the CDB size 65 is not from 6 to 64 bytes" },
		{ 1, 0, 65536, "the sense size 65536 is larger than 65535 bytes" },
	};
	struct scsi_world *world = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scsi_device_config config = { .main_loop = world->loop,
						     .num_queues = cases[i].queues,
						     .cdb_size = cases[i].cdb_size,
						     .sense_size = cases[i].sense_size };
		struct scsi_device *device = NULL;
		struct error error = { 0 };

		assert_int_equal(scsi_device_new(&config, &device, &error), -EINVAL);
		assert_string_equal(error.text, cases[i].sentence);
		assert_null(device);
	}
}

/* ---- features, configuration space ---- */

static void test_features_when_offered_then_hotplug_and_change_but_no_inout(void **state)
{
	assert_int_equal(scsi_device_features(device_of(state)),
			 BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
				 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_SCSI_F_HOTPLUG) |
				 BIT(VIRTIO_SCSI_F_CHANGE));
}

static uint32_t config_read(struct scsi_device *device, uint32_t offset)
{
	uint32_t value;

	scsi_device_get_config(device, offset, &value, sizeof(value));
	return le32toh(value);
}

static void test_config_when_read_then_the_standards_fields(void **state)
{
	static const uint32_t expected[] = { 4, 126, 0xffff, 128, 16, 96, 32, 255 << 16, 16383 };
	uint8_t beyond[8];

	for (uint32_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(config_read(device_of(state), 4 * i), expected[i]);
	memset(beyond, 0xff, sizeof(beyond));
	scsi_device_get_config(device_of(state), 32, beyond, sizeof(beyond));
	assert_memory_equal(beyond, ((const uint8_t[8]){ 0xff, 0x3f }), sizeof(beyond));
	scsi_device_get_config(device_of(state), 1000, beyond, sizeof(beyond));
	assert_memory_equal(beyond, (const uint8_t[8]){ 0 }, sizeof(beyond));
}

static int config_write(struct scsi_device *device, uint32_t offset, uint32_t value)
{
	value = htole32(value);
	return scsi_device_set_config(device, offset, &value, sizeof(value));
}

static void test_config_when_sizes_are_written_then_kept_until_reset(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_device *device = device_of(state);

	assert_int_equal(config_write(device, SENSE_SIZE, 252), 0);
	assert_int_equal(config_write(device, CDB_SIZE, 64), 0);
	assert_int_equal(config_read(device, SENSE_SIZE), 252);
	assert_int_equal(config_read(device, CDB_SIZE), 64);
	for (unsigned i = 0; i < world->ring_count; i++)
		scsi_ring_stop(scsi_ring_of(world, 0, i));
	scsi_device_reset(device);
	assert_int_equal(config_read(device, SENSE_SIZE), 96);
	assert_int_equal(config_read(device, CDB_SIZE), 32);
}

static void test_config_when_something_else_is_written_then_refused(void **state)
{
	struct scsi_device *device = device_of(state);
	uint32_t value = 0;

	for (uint32_t offset = 0; offset <= 40; offset++)
		if (offset != SENSE_SIZE && offset != CDB_SIZE)
			assert_int_equal(config_write(device, offset, 64), -EINVAL);
	assert_int_equal(scsi_device_set_config(device, SENSE_SIZE, &value, 2), -EINVAL);
	assert_int_equal(config_write(device, SENSE_SIZE, 65536), -EINVAL);
	assert_int_equal(config_write(device, CDB_SIZE, 5), -EINVAL);
	assert_int_equal(config_write(device, CDB_SIZE, 65), -EINVAL);
	assert_int_equal(config_read(device, SENSE_SIZE), 96);
	assert_int_equal(config_read(device, CDB_SIZE), 32);
}

static void test_queue_name_when_asked_then_as_people_count(void **state)
{
	char text[8];

	assert_string_equal(scsi_queue_name(0, text, sizeof(text)), "ctrl");
	assert_string_equal(scsi_queue_name(1, text, sizeof(text)), "event");
	assert_string_equal(scsi_queue_name(2, text, sizeof(text)), "0");
	assert_string_equal(scsi_queue_name(13, text, sizeof(text)), "11");
}

/* ---- addresses ---- */

static void assert_pick(struct scsi_device *device, int target, int lun, int ret,
			uint16_t target_is, uint16_t lun_is)
{
	uint16_t got_target = 0, got_lun = 0;
	struct error error = { 0 };

	assert_int_equal(
		scsi_device_pick_address(device, target, lun, &got_target, &got_lun, &error), ret);
	if (ret == 0) {
		assert_int_equal(got_target, target_is);
		assert_int_equal(got_lun, lun_is);
	} else {
		assert_int_not_equal(error.text[0], 0);
	}
}

static void test_address_when_picked_then_qemus_way(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_device *device = device_of(state);

	assert_pick(device, -1, -1, 0, 0, 0);
	scsi_world_add_lun(world, 0, 0, 0, 0);
	assert_pick(device, -1, -1, 0, 1, 0);
	assert_pick(device, 0, -1, 0, 0, 1);
	assert_pick(device, 0, 0, -EEXIST, 0, 0);
	assert_pick(device, 0, 7, 0, 0, 7);
	scsi_world_add_lun(world, 0, 1, 0, 7);
	assert_pick(device, -1, 7, 0, 1, 7);
	scsi_world_add_lun(world, 0, 2, 2, 0);
	assert_pick(device, -1, -1, 0, 1, 0);
	assert_pick(device, 256, 0, -EINVAL, 0, 0);
	assert_pick(device, -2, 0, -EINVAL, 0, 0);
	assert_pick(device, 0, 16384, -EINVAL, 0, 0);
	assert_pick(device, 255, 16383, 0, 255, 16383);
}

static void test_add_when_address_or_disk_is_taken_then_a_sentence(void **state)
{
	struct scsi_world *world = *state;
	struct error error = { 0 };
	struct scsi_lun *lun;
	uint16_t target, number;

	lun = scsi_world_add_lun(world, 0, 0, 3, 9);
	scsi_lun_get_address(lun, &target, &number);
	assert_int_equal(target, 3);
	assert_int_equal(number, 9);
	assert_int_equal(scsi_device_add_lun(device_of(state), world->spies[1].disk, 3, 9, &lun,
					     &error),
			 -EEXIST);
	assert_string_equal(error.text, "LUN 9 of target 3 is taken");
	assert_int_equal(scsi_device_add_lun(device_of(state), world->spies[0].disk, 4, 9, &lun,
					     &error),
			 -EEXIST);
	assert_string_equal(error.text,
			    "the adapter shows this disk already, as LUN 9 of target 3");
	assert_int_equal(scsi_device_add_lun(device_of(state), world->spies[1].disk, 256, 0, &lun,
					     &error),
			 -EINVAL);
}

/* Three LUNs in a row, found by their numbers whatever the order was in which they came. */
static void test_table_when_luns_come_in_any_order_then_each_is_found(void **state)
{
	static const struct {
		uint8_t target;
		uint16_t lun;
	} places[SCSI_FIXTURE_DISKS] = { { 7, 300 }, { 7, 2 }, { 0, 5 }, { 7, 40 } };
	struct scsi_world *world = *state;
	struct scsi_lun *luns[SCSI_FIXTURE_DISKS];

	for (unsigned i = 0; i < SCSI_FIXTURE_DISKS; i++)
		luns[i] = scsi_world_add_lun(world, 0, i, places[i].target, places[i].lun);
	for (unsigned i = 0; i < SCSI_FIXTURE_DISKS; i++)
		assert_ptr_equal(scsi_world_lun(world, 0, places[i].target, places[i].lun),
				 luns[i]);
	assert_null(scsi_world_lun(world, 0, 7, 0));
	assert_null(scsi_world_lun(world, 0, 7, 301));
	assert_null(scsi_world_lun(world, 0, 6, 2));
	assert_null(scsi_world_lun(world, 0, 255, 0));
	scsi_world_remove_lun(world, luns[3]);
	assert_null(scsi_world_lun(world, 0, 7, 40));
	assert_ptr_equal(scsi_world_lun(world, 0, 7, 300), luns[0]);
	scsi_world_remove_lun(world, luns[1]);
	scsi_world_remove_lun(world, luns[0]);
	assert_false(scsi_table_has_target(device_of(state)->table, 7));
	assert_true(scsi_table_has_target(device_of(state)->table, 0));
}

#define device_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		device_case(test_new_when_config_is_wrong_then_a_sentence),
		device_case(test_features_when_offered_then_hotplug_and_change_but_no_inout),
		device_case(test_config_when_read_then_the_standards_fields),
		device_case(test_config_when_sizes_are_written_then_kept_until_reset),
		device_case(test_config_when_something_else_is_written_then_refused),
		device_case(test_queue_name_when_asked_then_as_people_count),
		device_case(test_address_when_picked_then_qemus_way),
		device_case(test_add_when_address_or_disk_is_taken_then_a_sentence),
		device_case(test_table_when_luns_come_in_any_order_then_each_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
