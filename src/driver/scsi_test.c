// SPDX-License-Identifier: MIT
/* Adapters: opening, LUNs, scanning, commands of the device's own, events, on a fake that does as it is told. */
#include "driver/device.h"
#include "driver/test_scsi.h"

#include <endian.h>
#include <poll.h>

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };
static const struct ringlane_options all_queues = { .queues = 2, .timeout_ms = TEST_DEADLINE_MS };
#define SHORT_MS 20 /* for what never comes */

/* ---- opening ---- */

static void test_open_when_no_configuration_then_it_is_made_up(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_lun_info lun;
	struct ringlane_info info;

	ringlane_get_info(scsi.device, &info);
	assert_int_equal(info.device_id, 8);
	assert_int_equal(info.queue_max, 2); /* of four rings */
	assert_int_equal(info.queues, 1);
	assert_int_equal(info.seg_max, 126);
	assert_int_equal(info.capacity, FAKE_SCSI_BLOCKS * 512);
	assert_int_equal(info.request_max, 32 * 512);
	ringlane_lun_get_info(ringlane_lun_default(scsi.device), &lun);
	assert_string_equal(lun.unit.vendor, "FAKE");
	assert_string_equal(lun.unit.product, "A disk?");
	assert_string_equal(lun.unit.revision, "1.0");
	assert_string_equal(lun.serial, FAKE_SCSI_SERIAL);
	assert_true(lun.wwn == FAKE_SCSI_WWN);
	assert_int_equal(lun.physical_block_size, 4096);
	assert_int_equal(lun.discard_max, 64 * 512);
	assert_int_equal(lun.discard_ranges, 4);
	assert_int_equal(lun.write_zeroes_max, 128 * 512);
	assert_int_equal(lun.compare_write_max, 512);
	assert_true(lun.thin && lun.unmapped_reads_zero && lun.write_zeroes_may_unmap);
	assert_true(lun.write_cache && !lun.read_only);
	assert_int_equal(test_scsi_read(&scsi), 0);
	test_scsi_close(&scsi);
}

static void test_open_when_lun_knows_little_then_its_limits_are_none(void **state)
{
	const struct fake_scsi_setup setup = { .no_pages = true,
					       .no_mode_page = true,
					       .short_capacity = true };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	const struct ringlane_range range = { 0, 512 };
	struct ringlane_lun_info lun;

	ringlane_lun_get_info(ringlane_lun_default(scsi.device), &lun);
	assert_int_equal(lun.capacity, FAKE_SCSI_BLOCKS * 512);
	assert_string_equal(lun.serial, "");
	assert_true(!lun.wwn && !lun.discard_max && !lun.write_zeroes_max && !lun.write_cache);
	assert_int_equal(ringlane_discard(scsi.queue, &range, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(ringlane_write_zeroes(scsi.queue, &range, 1, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(ringlane_lun_compare_and_write(scsi.queue,
							ringlane_lun_default(scsi.device),
							scsi.buffer, 512, 0, NULL),
			 -EOPNOTSUPP);
	assert_int_equal(ringlane_lun_set_write_cache(ringlane_lun_default(scsi.device), NULL, true,
						      NULL),
			 -EOPNOTSUPP);
	assert_int_equal(test_scsi_read(&scsi), 0);
	test_scsi_close(&scsi);
}

static struct virtio_scsi_config config_of(uint32_t cdb_size, uint32_t sense_size)
{
	return (struct virtio_scsi_config){
		.num_queues = htole32(2),
		.seg_max = htole32(8),
		.max_sectors = htole32(16),
		.cdb_size = htole32(cdb_size),
		.sense_size = htole32(sense_size),
		.max_target = htole16(3),
	};
}

static void test_open_when_sizes_differ_then_requests_have_them(void **state)
{
	static const struct {
		bool has_config;
		unsigned device_cdb, device_sense, cdb, sense;
	} cases[] = {
		{ true, 64, 32, 0, 0 },    /* told by the device */
		{ true, 32, 96, 64, 32 },  /* written by the driver */
		{ false, 64, 32, 64, 32 }, /* known to both */
		{ true, 16, 252, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_scsi_setup setup = {
			.has_config = cases[i].has_config,
			.config = config_of(cases[i].device_cdb, cases[i].device_sense),
			.cdb_size = cases[i].device_cdb,
			.sense_size = cases[i].device_sense,
		};
		struct ringlane_options options = one_queue;
		struct test_scsi scsi;

		options.cdb_size = cases[i].cdb;
		options.sense_size = cases[i].sense;
		scsi = test_scsi_open(&setup, &options);
		memset(scsi.buffer, 0x5a, 512);
		assert_int_equal(test_scsi_finish(&scsi, ringlane_write(scsi.queue, scsi.buffer,
									512, 512, NULL)),
				 0);
		assert_int_equal(fake_scsi_last_request(scsi.fake)[19], 0x2a);
		memset(scsi.buffer, 0, 512);
		assert_int_equal(test_scsi_finish(&scsi, ringlane_read(scsi.queue, scsi.buffer, 512,
								       512, NULL)),
				 0);
		assert_int_equal(scsi.buffer[511], 0x5a);
		test_scsi_close(&scsi);
	}
}

static int open_error(const struct fake_scsi_setup *setup, const char *query,
		      const struct ringlane_options *options, struct ringlane_error *error)
{
	struct fake_scsi *fake = fake_scsi_new(setup);
	struct ringlane_device *device = NULL;
	char uri[160];
	int ret;

	snprintf(uri, sizeof(uri), "%s%s", fake_scsi_uri(fake), query);
	ret = ringlane_open(uri, options, &device, error);
	if (ret == 0)
		ringlane_close(device);
	fake_scsi_free(fake);
	return ret;
}

/* With so short a time that a busy machine may not come as far as the command that has no answer: then once more. */
static void test_open_when_a_command_is_not_answered_then_etimedout(void **state)
{
	static const char expected[] = "target 0, LUN 0: INQUIRY: no answer";
	const struct ringlane_options options = { .queues = 1, .timeout_ms = SHORT_MS };
	const struct fake_scsi_setup setup = { .trick = FAKE_SCSI_HOLDS };
	uint64_t end = clock_ns() + TEST_DEADLINE_MS * NS_PER_MS;
	struct ringlane_error error = { 0 };

	do {
		assert_int_equal(open_error(&setup, "", &options, &error), -ETIMEDOUT);
	} while (strcmp(error.text, expected) != 0 && clock_ns() < end);
	assert_string_equal(error.text, expected);
}

/* Each command of opening, one after the other. */
static void test_open_when_the_adapter_dies_at_any_command_then_a_clean_error(void **state)
{
	struct fake_scsi_setup setup = { .trick = FAKE_SCSI_DIES };
	int ret = -ECONNRESET;

	while (ret == -ECONNRESET && setup.honest_first < 64) {
		struct ringlane_error error = { 0 };

		ret = open_error(&setup, "", &one_queue, &error);
		if (ret < 0)
			assert_non_null(strstr(error.text, "the back end is gone"));
		setup.honest_first++;
	}
	assert_int_equal(ret, 0);
	assert_true(setup.honest_first > 5); /* there were some commands to die at */
}

static void test_open_when_it_makes_no_sense_then_an_error(void **state)
{
	static const struct {
		struct fake_scsi_setup setup;
		const char *query, *text;
		int code;
	} cases[] = {
		{ { .ring_max = 2 },
		  "",
		  "a SCSI device with 2 rings has no request queue",
		  -EPROTO },
		{ { .has_config = true, .config = { .cdb_size = 0 } },
		  "",
		  "sense data of 0 bytes are impossible: is it a SCSI adapter?",
		  -EPROTO },
		{ { 0 },
		  "?lun=1",
		  "target 0, LUN 1: INQUIRY: ILLEGAL REQUEST: logical unit not supported (sense 5/25/00)",
		  -ENXIO },
		{ { 0 },
		  "?target=256",
		  "'?target=256': target=0…255 and lun=0…16383 are wanted",
		  -EINVAL },
		{ { .last_block = 0xffffffff }, "", NULL, 0 },
		{ { .trick = FAKE_SCSI_NO_RESPONSE },
		  "",
		  "target 0, LUN 0: INQUIRY: the device did not say how it went",
		  -EPROTO },
		{ { .trick = FAKE_SCSI_DIES },
		  "",
		  "target 0, LUN 0: INQUIRY: the back end is gone",
		  -ECONNRESET },
		{ { .trick = FAKE_SCSI_BAD_ID }, "", NULL, -EPROTO },
		{ { .trick = FAKE_SCSI_TWICE, .honest_first = 2 }, "", NULL, -EPROTO },
		{ { .trick = FAKE_SCSI_ATTENTION }, "", NULL, -ERESTART },
		{ { .trick = FAKE_SCSI_RESPONDS, .answer = { .response = 5 } },
		  "",
		  "target 0, LUN 0: INQUIRY: BUSY: the device cannot take it now",
		  -EBUSY },
		/* good, but every byte is 0: a disk with an impossible block size */
		{ { .trick = FAKE_SCSI_RESPONDS, .honest_first = 2 },
		  "",
		  "target 0, LUN 0: an impossible capacity",
		  -EPROTO },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ringlane_error error = { 0 };
		int ret = open_error(&cases[i].setup, cases[i].query, &one_queue, &error);

		if (ret != cases[i].code)
			fail_msg("case %u: %d instead of %d: %s", i, ret, cases[i].code,
				 error.text);
		if (cases[i].text)
			assert_string_equal(error.text, cases[i].text);
	}
}

static void test_open_when_sizes_are_impossible_then_einval(void **state)
{
	static const struct {
		unsigned cdb, sense;
		const char *text;
	} cases[] = {
		{ 15, 0, "CDBs of 15 bytes: 16 to 260 are possible" },
		{ 261, 0, "CDBs of 261 bytes: 16 to 260 are possible" },
		{ 0, 13, "sense data of 13 bytes: 14 to 252 are possible" },
		{ 0, 253, "sense data of 253 bytes: 14 to 252 are possible" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_scsi_setup setup = { .cdb_size = cases[i].cdb,
						       .sense_size = cases[i].sense };
		struct ringlane_options options = one_queue;
		struct ringlane_error error = { 0 };

		options.cdb_size = cases[i].cdb;
		options.sense_size = cases[i].sense;
		assert_int_equal(open_error(&setup, "", &options, &error), -EINVAL);
		assert_string_equal(error.text, cases[i].text);
	}
}

static void test_open_when_no_lun_is_named_nor_there_then_requests_say_enxio(void **state)
{
	const struct fake_scsi_setup setup = { .first_lun = 300 };
	const struct ringlane_range range = { 0, 512 };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	struct ringlane_queue *queue = scsi.queue;
	struct iovec iov = { scsi.buffer, 512 };
	struct ringlane_lun *lun;

	assert_null(ringlane_lun_default(scsi.device));
	assert_int_equal(ringlane_read(queue, scsi.buffer, 512, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_write(queue, scsi.buffer, 512, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_readv(queue, &iov, 1, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_writev(queue, &iov, 1, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_flush(queue, NULL), -ENXIO);
	assert_int_equal(ringlane_discard(queue, &range, 1, NULL), -ENXIO);
	assert_int_equal(ringlane_write_zeroes(queue, &range, 1, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_get_id(queue, (char *)scsi.buffer, NULL), -ENXIO);
	assert_int_equal(ringlane_lun_command(queue, ringlane_lun_default(scsi.device),
					      &(struct ringlane_scsi_command){ 0 }),
			 -ENXIO);
	assert_int_equal(ringlane_lun_open(scsi.device, NULL, 0, 300, &lun, NULL), 0);
	assert_int_equal(test_scsi_finish(&scsi,
					  ringlane_lun_read(queue, lun, scsi.buffer, 512, 0, NULL)),
			 0);
	ringlane_lun_close(lun);
	test_scsi_close(&scsi);
}

static void test_functions_when_device_is_a_block_device_then_enotsup(void **state)
{
	struct test_disk disk = test_disk_open(&(struct fake_setup){ 0 }, &one_queue);
	struct ringlane_scsi_event event;
	struct ringlane_lun *lun;

	assert_int_equal(ringlane_scsi_scan(disk.device, NULL, NULL, 0, NULL), -ENOTSUP);
	assert_int_equal(ringlane_lun_open(disk.device, disk.queue, 0, 0, &lun, NULL), -ENOTSUP);
	assert_int_equal(ringlane_scsi_manage(disk.device, RINGLANE_SCSI_QUERY_TASK, 0, 0, 1, 1),
			 -ENOTSUP);
	assert_int_equal(ringlane_scsi_event(disk.device, &event), -ENOTSUP);
	assert_int_equal(ringlane_scsi_tag(disk.queue), 0);
	assert_null(ringlane_lun_default(disk.device));
	test_disk_close(&disk);
}

/* ---- scanning ---- */

static void test_scan_when_lists_differ_then_all_units_are_found(void **state)
{
	static const struct {
		struct fake_scsi_setup setup;
		unsigned count, first;
	} cases[] = {
		{ { .luns = 3 }, 3, 0 },
		{ { .luns = 2, .first_lun = 7 }, 2, 7 }, /* no LUN 0: the well-known one is asked */
		{ { .luns = 4, .first_lun = 254 }, 4, 254 }, /* both ways to write a number */
		{ { .luns = 1, .no_report_luns = true }, 1, 0 },
		{ { .luns = 300 }, 300, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_scsi scsi = test_scsi_open(&cases[i].setup, &one_queue);
		struct ringlane_scsi_unit units[8];

		assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, units, 8, NULL),
				 cases[i].count);
		for (unsigned n = 0; n < MIN(cases[i].count, 8u); n++) {
			assert_int_equal(units[n].lun, cases[i].first + n);
			assert_string_equal(units[n].product, "A disk?");
		}
		test_scsi_close(&scsi);
	}
}

static void test_scan_when_target_hint_is_small_then_no_more_are_asked(void **state)
{
	const struct fake_scsi_setup setup = { .has_config = true, .config = config_of(32, 96) };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	unsigned before = fake_scsi_taken(scsi.fake);

	assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, NULL, 0, NULL), 1);
	assert_int_equal(fake_scsi_taken(scsi.fake) - before, 2 + 3);
	test_scsi_close(&scsi);
}

static void test_scan_when_device_stops_to_answer_then_it_ends(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);

	scsi.device->scsi.timeout_ms = SHORT_MS;
	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_HOLDS);
	assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, NULL, 0, NULL), -ETIMEDOUT);
	/* Its memory is the device's: it is not used again. */
	assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, NULL, 0, NULL), -EBUSY);
	/* Another queue has its own. */
	scsi.device->scsi.timeout_ms = TEST_DEADLINE_MS;
	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_HONEST);
	assert_int_equal(ringlane_scsi_scan(scsi.device, scsi.queue, NULL, 0, NULL), 1);
	test_scsi_close(&scsi);
}

/* ---- a queue that is lent ---- */

static void test_command_when_no_queue_is_spare_then_one_must_be_named(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &all_queues);
	struct ringlane_completion completions[8];
	struct ringlane_error error;
	uintptr_t seen = 0;
	int got = 0;

	assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, NULL, 0, &error), -EBUSY);
	for (uintptr_t i = 0; i < 5; i++)
		assert_int_equal(ringlane_read(scsi.queue, scsi.buffer, 512, 0, (void *)i), 0);
	assert_int_equal(ringlane_queue_arm(scsi.queue), 0);
	assert_int_equal(ringlane_scsi_scan(scsi.device, scsi.queue, NULL, 0, NULL), 1);
	/* What was in flight has been completed on the way, and whoever sleeps is woken. */
	assert_int_equal(poll(&(struct pollfd){ ringlane_queue_fd(scsi.queue), POLLIN, 0 }, 1, 0),
			 1);
	assert_int_equal(ringlane_queue_arm(scsi.queue), 1);
	assert_int_equal(ringlane_queue_in_flight(scsi.queue), 5);
	while (got < 5) {
		int ret = ringlane_reap(scsi.queue, completions, 2);

		assert_in_range(ret, 1, 2);
		for (int i = 0; i < ret; i++, got++) {
			seen |= 1u << (uintptr_t)completions[i].user_data;
			assert_int_equal(completions[i].result, 0);
		}
	}
	assert_int_equal(seen, 0x1f);
	assert_int_equal(ringlane_queue_in_flight(scsi.queue), 0);
	assert_int_equal(ringlane_reap(scsi.queue, completions, 2), 0);
	test_scsi_close(&scsi);
}

/* ---- events ---- */

static bool send_event(struct test_scsi *scsi, uint32_t number, unsigned target, unsigned lun,
		       uint32_t reason)
{
	const struct virtio_scsi_event event = {
		.event = htole32(number),
		.lun = { 1, (uint8_t)target, (uint8_t)(lun >> 8), (uint8_t)lun },
		.reason = htole32(reason),
	};

	return fake_scsi_send_event(scsi->fake, &event, sizeof(event), sizeof(event));
}

static struct ringlane_scsi_event next_event(struct test_scsi *scsi)
{
	struct ringlane_scsi_event event = { 0 };

	assert_int_equal(ringlane_scsi_event(scsi->device, &event), 1);
	return event;
}

static void take_events(struct test_scsi *scsi, int expected)
{
	struct pollfd fd = { .fd = ringlane_event_fd(scsi->device), .events = POLLIN };

	assert_int_equal(poll(&fd, 1, TEST_DEADLINE_MS), 1);
	assert_int_equal(ringlane_event(scsi->device), expected);
}

static void test_event_when_sent_then_told_in_words(void **state)
{
	static const struct {
		uint32_t number, lun, reason;
		enum ringlane_scsi_event_type types[2];
		unsigned count;
	} cases[] = {
		{ 1, 0x4005, 1, { RINGLANE_SCSI_RESCAN }, 1 },
		{ 1, 0x0005, 2, { RINGLANE_SCSI_REMOVED }, 1 }, /* without the address method */
		{ 1, 0x4005, 0, { RINGLANE_SCSI_RESET_HARD }, 1 },
		{ 2, 0x4005, 9, { RINGLANE_SCSI_ASYNC_NOTIFY }, 1 },
		{ 3, 0x4005, 0x092a, { RINGLANE_SCSI_PARAM_CHANGE }, 1 },
		{ 0x80000000, 0, 0, { RINGLANE_SCSI_MISSED }, 1 },
		{ 0x80000001, 0x4005, 1, { RINGLANE_SCSI_MISSED, RINGLANE_SCSI_RESCAN }, 2 },
		{ 1, 0x4005, 77, { RINGLANE_SCSI_MISSED }, 1 },
		{ 99, 0x4005, 1, { RINGLANE_SCSI_MISSED }, 1 },
	};
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_scsi_event event;

	assert_int_equal(ringlane_event(scsi.device), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(send_event(&scsi, cases[i].number, 3, cases[i].lun, cases[i].reason));
		take_events(&scsi, 1);
		for (unsigned n = 0; n < cases[i].count; n++) {
			event = next_event(&scsi);
			assert_int_equal(event.type, cases[i].types[n]);
			if (event.type == RINGLANE_SCSI_MISSED)
				continue;
			assert_int_equal(event.target, 3);
			assert_int_equal(event.lun, 5);
			assert_int_equal(event.reason, cases[i].reason);
		}
		assert_int_equal(ringlane_scsi_event(scsi.device, &event), 0);
	}
	assert_int_equal(ringlane_event(scsi.device), 0);
	test_scsi_close(&scsi);
}

static void test_event_when_malformed_then_taken_for_missed(void **state)
{
	static const uint8_t bytes[16] = { 1, 0, 0, 0, 1, 0, 0x40, 0, [12] = 1 };
	static const uint8_t no_lun[16] = { 1, 0, 0, 0, 7, 0, 0x40, 0, [12] = 1 };
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);

	assert_true(fake_scsi_send_event(scsi.fake, bytes, sizeof(bytes), 3));
	take_events(&scsi, 1);
	assert_int_equal(next_event(&scsi).type, RINGLANE_SCSI_MISSED);
	assert_true(fake_scsi_send_event(scsi.fake, no_lun, sizeof(no_lun), 16));
	take_events(&scsi, 1);
	assert_int_equal(next_event(&scsi).type, RINGLANE_SCSI_MISSED);
	/* More bytes than the buffer has: the ring's rules are broken. */
	assert_true(fake_scsi_send_event(scsi.fake, bytes, sizeof(bytes), 17));
	take_events(&scsi, -EPROTO);
	assert_int_equal(ringlane_scsi_event(scsi.device, &(struct ringlane_scsi_event){ 0 }),
			 -EPROTO);
	assert_int_equal(test_scsi_read(&scsi), 0);
	test_scsi_close(&scsi);
}

static void test_events_when_many_then_buffers_come_back_and_none_is_lost_silently(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_scsi_event event;
	unsigned count = 0;

	for (unsigned i = 0; i < 16; i++)
		assert_true(send_event(&scsi, 1, 0, 0x4000 | i, 1));
	assert_false(send_event(&scsi, 1, 0, 0x4010, 1)); /* no buffer */
	take_events(&scsi, 1);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(next_event(&scsi).lun, i);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(send_event(&scsi, 1, 0, 0x4000 | i, 1));
		take_events(&scsi, 1);
	}
	while (ringlane_scsi_event(scsi.device, &event) == 1 && event.type == RINGLANE_SCSI_RESCAN)
		assert_int_equal(event.lun, count++);
	assert_int_equal(event.type, RINGLANE_SCSI_MISSED);
	assert_true(count >= 16 && count < 100);
	assert_int_equal(ringlane_scsi_event(scsi.device, &event), 0);
	test_scsi_close(&scsi);
}

static void test_event_when_capacity_changed_then_the_info_is_fresh(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_info info;

	fake_scsi_resize(scsi.fake, 99);
	assert_true(send_event(&scsi, 3, 0, 1, 0x092a)); /* of another LUN */
	take_events(&scsi, 1);
	ringlane_get_info(scsi.device, &info);
	assert_int_equal(info.capacity, FAKE_SCSI_BLOCKS * 512);
	assert_true(send_event(&scsi, 3, 0, 0, 0x092a));
	take_events(&scsi, 1);
	ringlane_get_info(scsi.device, &info);
	assert_int_equal(info.capacity, 100 * 512);
	assert_int_equal(ringlane_read(scsi.queue, scsi.buffer, 512, 100 * 512, NULL), -EINVAL);
	test_scsi_close(&scsi);
}

static void test_event_when_no_queue_is_spare_then_info_is_as_before(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &all_queues);
	struct ringlane_lun *lun = ringlane_lun_default(scsi.device);
	struct ringlane_info info;

	fake_scsi_resize(scsi.fake, 99);
	assert_true(send_event(&scsi, 3, 0, 0, 0x092a));
	take_events(&scsi, -EBUSY);
	ringlane_get_info(scsi.device, &info);
	assert_int_equal(info.capacity, FAKE_SCSI_BLOCKS * 512);
	assert_int_equal(next_event(&scsi).type, RINGLANE_SCSI_PARAM_CHANGE);
	assert_int_equal(ringlane_lun_refresh(lun, scsi.queue, NULL), 0);
	ringlane_get_info(scsi.device, &info);
	assert_int_equal(info.capacity, 100 * 512);
	test_scsi_close(&scsi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_open_when_no_configuration_then_it_is_made_up),
		driver_test(test_open_when_lun_knows_little_then_its_limits_are_none),
		driver_test(test_open_when_sizes_differ_then_requests_have_them),
		driver_test(test_open_when_a_command_is_not_answered_then_etimedout),
		driver_test(test_open_when_the_adapter_dies_at_any_command_then_a_clean_error),
		driver_test(test_open_when_sizes_are_impossible_then_einval),
		driver_test(test_open_when_it_makes_no_sense_then_an_error),
		driver_test(test_open_when_no_lun_is_named_nor_there_then_requests_say_enxio),
		driver_test(test_functions_when_device_is_a_block_device_then_enotsup),
		driver_test(test_scan_when_lists_differ_then_all_units_are_found),
		driver_test(test_scan_when_target_hint_is_small_then_no_more_are_asked),
		driver_test(test_scan_when_device_stops_to_answer_then_it_ends),
		driver_test(test_command_when_no_queue_is_spare_then_one_must_be_named),
		driver_test(test_event_when_sent_then_told_in_words),
		driver_test(test_event_when_malformed_then_taken_for_missed),
		driver_test(test_events_when_many_then_buffers_come_back_and_none_is_lost_silently),
		driver_test(test_event_when_capacity_changed_then_the_info_is_fresh),
		driver_test(test_event_when_no_queue_is_spare_then_info_is_as_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
