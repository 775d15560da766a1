// SPDX-License-Identifier: MIT
/* What devices say of commands and functions, lies and silence included. */
#include "driver/device.h"
#include "driver/scsi.h"
#include "driver/test_scsi.h"

#include <endian.h>

static const struct ringlane_options one_queue = { .queues = 1, .timeout_ms = TEST_DEADLINE_MS };

static struct test_scsi open_for(const struct fake_scsi_answer *answer)
{
	const struct fake_scsi_setup setup = { .answer = *answer };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);

	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_RESPONDS);
	return scsi;
}

static int run(struct test_scsi *scsi, enum ringlane_scsi_direction direction, size_t bytes,
	       struct ringlane_scsi_result *result)
{
	static const uint8_t cdb[6] = { 0 };
	const struct iovec iov = { scsi->buffer, bytes };
	const struct ringlane_scsi_command command = {
		.cdb = cdb,
		.cdb_len = sizeof(cdb),
		.direction = direction,
		.iov = &iov,
		.iov_count = direction != RINGLANE_SCSI_NO_DATA,
		.result = result,
	};

	return test_scsi_finish(scsi,
				ringlane_lun_command(scsi->queue,
						     ringlane_lun_default(scsi->device), &command));
}

#define SENSE(key, asc, ascq)         \
	.status = 2, .sense_len = 18, \
	.sense = { 0x70, 0, (key), [7] = 10, [12] = (asc), [13] = (ascq) }

static const struct {
	struct fake_scsi_answer answer;
	int code;
	const char *text;
} answers[] = {
	{ { 0 }, 0, "GOOD" },
	{ { .status = 4 }, 0, "CONDITION MET" },
	/* A status beside a response that is not OK means nothing, GOOD least of all. */
	{ { .response = 3, .status = 0 }, -ENXIO, "BAD TARGET: there is no such target" },
	{ { .response = 1 }, -EOVERFLOW, NULL },
	{ { .response = 2 }, -ECANCELED, NULL },
	{ { .response = 4 }, -ECANCELED, NULL },
	{ { .response = 5 }, -EBUSY, NULL },
	{ { .response = 6 }, -ECOMM, NULL },
	{ { .response = 7 }, -EREMOTEIO, NULL },
	{ { .response = 8 }, -EBADE, NULL },
	{ { .response = 9, SENSE(3, 0x11, 0) }, -EIO, "FAILURE: the device does not say why" },
	{ { .response = 10 }, -EPROTO, NULL },
	{ { .response = 12 }, -ENXIO, NULL },
	{ { .response = 200 }, -EPROTO, "the device gave a response that there is not: 200" },
	{ { .response = 0xff }, -EPROTO, "the device did not say how it went" },
	{ { .status = 0xff }, -EPROTO, "the device gave a status that there is not: ffh" },
	{ { .status = 8 }, -EBUSY, NULL },
	{ { .status = 0x18 }, -EBADE, NULL },
	{ { .status = 0x28 }, -EBUSY, NULL },
	{ { .status = 0x40 }, -ECANCELED, NULL },
	{ { .status = 2 }, -EIO, "CHECK CONDITION without sense data" },
	{ { SENSE(0, 0, 0) }, 0, NULL },
	{ { SENSE(1, 0, 0) }, 0, NULL },
	{ { SENSE(2, 4, 1) }, -EBUSY, "NOT READY: becoming ready (sense 2/04/01)" },
	{ { SENSE(2, 0x3a, 0) }, -ENOMEDIUM, NULL },
	{ { SENSE(2, 0x30, 0) }, -EIO, "NOT READY (sense 2/30/00)" },
	{ { SENSE(3, 0x11, 0) }, -EIO, NULL },
	{ { SENSE(4, 0x44, 0) }, -EREMOTEIO, NULL },
	{ { SENSE(5, 0x20, 0) }, -EOPNOTSUPP, NULL },
	{ { SENSE(5, 0x21, 0) }, -ERANGE, NULL },
	{ { SENSE(5, 0x24, 0) }, -EINVAL, NULL },
	{ { SENSE(5, 0x25, 0) }, -ENXIO, NULL },
	{ { SENSE(6, 0x29, 0) }, -ERESTART, NULL },
	{ { SENSE(7, 0x27, 0) }, -EROFS, NULL },
	{ { SENSE(7, 0x27, 7) }, -ENOSPC, NULL },
	{ { SENSE(0xb, 0, 0) }, -ECANCELED, NULL },
	{ { SENSE(0xd, 0, 0) }, -ENOSPC, NULL },
	{ { SENSE(0xe, 0x1d, 0) }, -EILSEQ, NULL },
	{ { .status = 2, .sense_len = 8, .sense = { 0x72, 5, 0x20, 0 } }, -EOPNOTSUPP, NULL },
	{ { .status = 2, .sense_len = 2, .sense = { 0x70, 0 } }, -EIO, NULL },
	{ { .status = 2, .sense_len = 18, .sense = { 0x11 } }, -EIO, NULL },
};

static void test_result_when_any_answer_then_the_documented_error(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(answers); i++) {
		struct test_scsi scsi = open_for(&answers[i].answer);
		struct ringlane_scsi_result result;
		char text[128];
		int ret = run(&scsi, RINGLANE_SCSI_NO_DATA, 0, &result);

		if (ret != answers[i].code)
			fail_msg("case %u: %d instead of %d", i, ret, answers[i].code);
		assert_int_equal(ringlane_scsi_strerror(&result, text, sizeof(text)), ret);
		assert_int_equal(result.response, answers[i].answer.response);
		assert_int_equal(result.status,
				 answers[i].answer.response ? 0xff : answers[i].answer.status);
		if (answers[i].text)
			assert_string_equal(text, answers[i].text);
		assert_int_equal(test_scsi_read(&scsi), ret);
		test_scsi_close(&scsi);
	}
}

static void test_result_when_lengths_are_lies_then_they_are_cut(void **state)
{
	const struct fake_scsi_answer answer = { .status = 2,
						 .sense_len = 0xffffffff,
						 .residual = 0xffffffff,
						 .qualifier = 0x1234,
						 .sense = { 0x70, 0,
							    5, [12] = 0x20, [95] = 0xee } };
	struct test_scsi scsi = open_for(&answer);
	struct {
		struct ringlane_scsi_result result;
		uint8_t guard[64];
	} area;

	memset(&area, 0x77, sizeof(area));
	assert_int_equal(run(&scsi, RINGLANE_SCSI_DATA_IN, 4096, &area.result), -EOPNOTSUPP);
	assert_int_equal(area.result.sense_len, 96);
	assert_int_equal(area.result.sense[95], 0xee);
	assert_int_equal(area.result.sense[96], 0);
	assert_int_equal(area.result.residual, 4096);
	assert_int_equal(area.result.status_qualifier, 0x1234);
	for (unsigned i = 0; i < sizeof(area.guard); i++)
		assert_int_equal(area.guard[i], 0x77);
	assert_int_equal(run(&scsi, RINGLANE_SCSI_DATA_OUT, 512, &area.result), -EOPNOTSUPP);
	assert_int_equal(area.result.residual, 512);
	assert_int_equal(run(&scsi, RINGLANE_SCSI_NO_DATA, 0, NULL), -EOPNOTSUPP);
	test_scsi_close(&scsi);
}

static void test_read_when_bytes_are_missing_then_that_is_no_success(void **state)
{
	struct test_scsi scsi = open_for(&(struct fake_scsi_answer){ .residual = 1 });
	struct ringlane_scsi_result result;

	assert_int_equal(test_scsi_read(&scsi), -ENODATA);
	assert_int_equal(test_scsi_finish(&scsi,
					  ringlane_write(scsi.queue, scsi.buffer, 512, 0, NULL)),
			 -ENODATA);
	assert_int_equal(run(&scsi, RINGLANE_SCSI_DATA_IN, 512, &result), 0);
	assert_int_equal(result.residual, 1);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_flush(scsi.queue, NULL)), 0);
	test_scsi_close(&scsi);
}

/* Requests for blocks, of each shape. Returns what queueing did. */
static int block_request(struct test_scsi *scsi, unsigned shape)
{
	const struct ringlane_range range = { 0, 512 };

	switch (shape) {
	case 0:
		return ringlane_read(scsi->queue, scsi->buffer, 512, 0, NULL);
	case 1:
		return ringlane_write(scsi->queue, scsi->buffer, 512, 0, NULL);
	case 2:
		return ringlane_flush(scsi->queue, NULL);
	case 3:
		return ringlane_discard(scsi->queue, &range, 1, NULL);
	case 4:
		return ringlane_write_zeroes(scsi->queue, &range, 1, 0, NULL);
	}
	return ringlane_get_id(scsi->queue, (char *)scsi->buffer, NULL);
}

#define SHAPES 6

static void test_wanted_result_when_a_block_request_fails_then_it_has_the_sense(void **state)
{
	struct test_scsi scsi = open_for(&(struct fake_scsi_answer){ SENSE(5, 0x21, 0) });
	struct ringlane_scsi_result results[SHAPES];
	char text[128];

	for (unsigned i = 0; i < SHAPES; i++) {
		assert_int_equal(block_request(&scsi, i), 0);
		memset(&results[i], 0x77, sizeof(results[i]));
		ringlane_scsi_want_result(scsi.queue, &results[i]);
		assert_int_equal(results[i].response, RINGLANE_SCSI_NONE);
	}
	for (unsigned i = 0; i < SHAPES; i++)
		assert_int_equal(test_scsi_finish(&scsi, 0), -ERANGE);
	for (unsigned i = 0; i < SHAPES; i++) {
		assert_int_equal(ringlane_scsi_strerror(&results[i], text, sizeof(text)), -ERANGE);
		assert_string_equal(
			text,
			"ILLEGAL REQUEST: logical block address out of range (sense 5/21/00)");
	}
	test_scsi_close(&scsi);
}

static void test_wanted_result_when_bytes_are_missing_then_it_says_how_many(void **state)
{
	struct test_scsi scsi = open_for(&(struct fake_scsi_answer){ .residual = 24 });
	struct ringlane_scsi_result result;
	char text[128];

	assert_int_equal(block_request(&scsi, 0), 0);
	ringlane_scsi_want_result(scsi.queue, &result);
	assert_int_equal(test_scsi_finish(&scsi, 0), -ENODATA);
	assert_int_equal(ringlane_scsi_strerror(&result, text, sizeof(text)), 0);
	assert_string_equal(text, "GOOD, but 24 bytes were not transferred");
	test_scsi_close(&scsi);
}

/* Neither by a good end, nor by one without an answer, nor for the next request. */
static void test_wanted_result_when_there_is_no_bad_answer_then_it_says_none(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_scsi_result result;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(block_request(&scsi, 0), 0);
		ringlane_scsi_want_result(scsi.queue, &result);
		assert_int_equal(test_scsi_finish(&scsi, 0), i ? -EPROTO : 0);
		assert_int_equal(result.response, RINGLANE_SCSI_NONE);
		fake_scsi_set_trick(scsi.fake, FAKE_SCSI_NO_RESPONSE);
	}
	memset(&result, 0x77, sizeof(result));
	assert_int_equal(test_scsi_read(&scsi), -EPROTO);
	assert_int_equal(result.response, 0x77);
	test_scsi_close(&scsi);
}

static void test_wanted_result_when_good_with_a_qualifier_then_it_says_none(void **state)
{
	struct test_scsi scsi = open_for(&(struct fake_scsi_answer){ .qualifier = 0x1234 });
	struct ringlane_scsi_result result;

	for (unsigned i = 0; i < 2; i++) { /* a read and a write */
		assert_int_equal(block_request(&scsi, i), 0);
		ringlane_scsi_want_result(scsi.queue, &result);
		assert_int_equal(test_scsi_finish(&scsi, 0), 0);
		assert_int_equal(result.response, RINGLANE_SCSI_NONE);
	}
	test_scsi_close(&scsi);
}

/* The response before was a good one. */
static void test_result_when_nothing_was_written_then_that_is_no_success(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	struct ringlane_scsi_result result;

	assert_int_equal(test_scsi_read(&scsi), 0);
	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_NO_RESPONSE);
	assert_int_equal(test_scsi_read(&scsi), -EPROTO);
	assert_int_equal(run(&scsi, RINGLANE_SCSI_NO_DATA, 0, &result), -EPROTO);
	assert_int_equal(result.response, RINGLANE_SCSI_NONE);
	test_scsi_close(&scsi);
}

/* Fifteen attentions, and requests of every shape: each is done once in the end. */
static void test_requests_when_lun_has_attentions_then_they_are_sent_again(void **state)
{
	const struct fake_scsi_setup setup = { .tricks_max = 15 };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	const struct ringlane_range range = { 0, 512 };
	struct iovec iov[6];
	struct ringlane_completion done[16];
	unsigned before = fake_scsi_taken(scsi.fake), seen = 0, got = 0;

	for (unsigned i = 0; i < 6; i++)
		iov[i] = (struct iovec){ scsi.buffer + 8192 * i, 256 };
	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_ATTENTION);
	for (uintptr_t i = 0; i < 10; i++) {
		memset(scsi.buffer + 65536 + 512 * i, (int)i + 1, 512);
		assert_int_equal(ringlane_write(scsi.queue, scsi.buffer + 65536 + 512 * i, 512,
						512 * i, (void *)i),
				 0);
	}
	assert_int_equal(ringlane_readv(scsi.queue, iov, 6, 16384, (void *)10), 0);
	assert_int_equal(ringlane_flush(scsi.queue, (void *)11), 0);
	assert_int_equal(ringlane_discard(scsi.queue, &range, 1, (void *)12), 0);
	assert_int_equal(ringlane_get_id(scsi.queue, (char *)scsi.buffer + 200000, (void *)13), 0);
	while (got < 14) {
		int ret = ringlane_wait(scsi.queue, done, 14 - got, 16, TEST_DEADLINE_MS, 0);

		assert_true(ret > 0);
		for (int i = 0; i < ret; i++, got++) {
			assert_int_equal(done[i].result, 0);
			seen |= 1u << (uintptr_t)done[i].user_data;
		}
	}
	assert_int_equal(seen, (1u << 14) - 1);
	assert_int_equal(ringlane_queue_in_flight(scsi.queue), 0);
	assert_int_equal(fake_scsi_taken(scsi.fake) - before, 14 + 15);
	assert_string_equal((char *)scsi.buffer + 200000, FAKE_SCSI_SERIAL);
	assert_int_equal(
		test_scsi_finish(&scsi, ringlane_read(scsi.queue, scsi.buffer, 5120, 0, NULL)), 0);
	for (unsigned i = 0; i < 5120; i++)
		assert_int_equal(scsi.buffer[i], i / 512 + 1);
	test_scsi_close(&scsi);
}

static void test_request_when_attentions_never_end_then_erestart(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	unsigned before = fake_scsi_taken(scsi.fake);

	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_ATTENTION);
	assert_int_equal(test_scsi_read(&scsi), -ERESTART);
	assert_int_equal(fake_scsi_taken(scsi.fake) - before, 1 + 16);
	assert_int_equal(run(&scsi, RINGLANE_SCSI_NO_DATA, 0, NULL), -ERESTART);
	assert_int_equal(fake_scsi_taken(scsi.fake) - before, 1 + 16 + 1);
	test_scsi_close(&scsi);
}

static bool is_in_one_page(const uint8_t *bytes, size_t size)
{
	return (uintptr_t)bytes / 4096 == ((uintptr_t)bytes + size - 1) / 4096;
}

static uintptr_t line_of(const uint8_t *byte)
{
	return (uintptr_t)byte / CACHE_LINE;
}

/* What is looked at of every response: in one line, with the usual sizes in that of the request. */
static void assert_lines(const struct ringlane_queue *queue, unsigned id)
{
	const uint8_t *request = queue_request(queue, id), *response = queue_response(queue, id);

	assert_int_equal((uintptr_t)response % sizeof(uint32_t), 0);
	assert_true(response >= request + 19 + queue->scsi.cdb_size);
	assert_int_equal(line_of(response), line_of(response + 11));
	if (queue->scsi.cdb_size == 32)
		assert_int_equal(line_of(request), line_of(response));
}

/* QEMU behind an IOMMU would take what lies in the next page for data. */
static void test_requests_when_sizes_vary_then_none_lies_across_pages(void **state)
{
	static const unsigned sizes[][2] = { { 32, 96 }, { 16, 18 }, { 64, 252 }, { 260, 252 } };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct fake_scsi_setup setup = { .cdb_size = sizes[i][0],
						       .sense_size = sizes[i][1] };
		struct ringlane_options options = one_queue;
		struct test_scsi scsi;

		options.cdb_size = sizes[i][0];
		options.sense_size = sizes[i][1];
		scsi = test_scsi_open(&setup, &options);
		for (unsigned ring = 0; ring < scsi.device->ring_count; ring++) {
			const struct ringlane_queue *queue = scsi.device->rings[ring];
			bool scsi_kind = queue->kind == QUEUE_SCSI;

			for (unsigned id = 0; id < queue->ring.size; id++) {
				assert_true(is_in_one_page(queue_request(queue, id),
							   scsi_kind ? 19 + sizes[i][0] : 24));
				assert_true(is_in_one_page(queue_response(queue, id),
							   scsi_kind ? 12 + sizes[i][1] : 1));
				if (scsi_kind)
					assert_lines(queue, id);
			}
		}
		assert_int_equal(test_scsi_read(&scsi), 0);
		test_scsi_close(&scsi);
	}
}

static void test_id_when_asked_then_it_is_the_serial(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	char *id = (char *)scsi.buffer;

	memset(id, 0xee, 20);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_get_id(scsi.queue, id, NULL)), 0);
	assert_string_equal(id, FAKE_SCSI_SERIAL);
	/* Good, but what came is no such page. */
	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_RESPONDS);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_get_id(scsi.queue, id, NULL)), -EPROTO);
	test_scsi_close(&scsi);
}

static void test_request_when_ring_is_broken_then_eproto_for_good(void **state)
{
	static const enum fake_scsi_trick tricks[] = { FAKE_SCSI_BAD_ID, FAKE_SCSI_TWICE };

	for (unsigned i = 0; i < ARRAY_SIZE(tricks); i++) {
		struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
		struct ringlane_lun *lun = ringlane_lun_default(scsi.device);
		struct ringlane_completion completion;
		int ret;

		fake_scsi_set_trick(scsi.fake, tricks[i]);
		for (unsigned n = 0; n < 2; n++)
			assert_int_equal(ringlane_read(scsi.queue, scsi.buffer, 512, 0, NULL), 0);
		do {
			ret = ringlane_wait(scsi.queue, &completion, 1, 1, TEST_DEADLINE_MS, 0);
		} while (ret > 0);
		assert_int_equal(ret, -EPROTO);
		assert_int_equal(ringlane_read(scsi.queue, scsi.buffer, 512, 0, NULL), -EPROTO);
		assert_int_equal(ringlane_flush(scsi.queue, NULL), -EPROTO);
		assert_int_equal(run(&scsi, RINGLANE_SCSI_NO_DATA, 0, NULL), -EPROTO);
		assert_int_equal(ringlane_lun_refresh(lun, scsi.queue, NULL), -EPROTO);
		test_scsi_close(&scsi);
	}
}

static void test_wait_when_back_end_dies_then_econnreset(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);

	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_DIES);
	assert_int_equal(test_scsi_read(&scsi), -ECONNRESET);
	assert_int_equal(ringlane_scsi_manage(scsi.device, RINGLANE_SCSI_QUERY_TASK, 0, 0, 1, 0),
			 -ECONNRESET);
	assert_int_equal(ringlane_scsi_scan(scsi.device, NULL, NULL, 0, NULL), -ECONNRESET);
	test_scsi_close(&scsi);
}

/* ---- limits ---- */

static void test_requests_when_beyond_the_limits_then_refused(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	const struct ringlane_range many[5] = {
		{ 0, 512 }, { 512, 512 }, { 1024, 512 }, { 1536, 512 }, { 2048, 512 }
	};
	const struct ringlane_range wide[2] = { { 0, 63 * 512 }, { 65536, 2 * 512 } };
	const struct ringlane_lun *lun = ringlane_lun_default(scsi.device);
	struct ringlane_queue *queue = scsi.queue;
	uint8_t *buffer = scsi.buffer, outside[512];

	assert_int_equal(ringlane_read(queue, buffer, 511, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_read(queue, buffer, 0, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_read(queue, buffer, 512, 513, NULL), -EINVAL);
	assert_int_equal(ringlane_read(queue, buffer, 512, FAKE_SCSI_BLOCKS * 512, NULL), -EINVAL);
	assert_int_equal(ringlane_read(queue, buffer, 33 * 512, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_read(queue, outside, 512, 0, NULL), -EFAULT);
	assert_int_equal(ringlane_discard(queue, many, 5, NULL), -EINVAL);
	assert_int_equal(ringlane_discard(queue, wide, 2, NULL), -EINVAL);
	assert_int_equal(ringlane_discard(queue, many, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_write_zeroes(queue, many, 2, 0, NULL), -EINVAL);
	assert_int_equal(ringlane_write_zeroes(queue, many, 1, 2, NULL), -EINVAL);
	assert_int_equal(ringlane_lun_compare_and_write(queue, lun, buffer, 1024, 0, NULL),
			 -EINVAL);
	assert_int_equal(ringlane_lun_read(queue, NULL, buffer, 512, 0, NULL), -ENXIO);
	assert_int_equal(ringlane_queue_in_flight(queue), 0);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_discard(queue, many, 4, NULL)), 0);
	test_scsi_close(&scsi);
}

static void test_disk_when_read_only_then_writes_are_refused(void **state)
{
	const struct ringlane_options options = { .queues = 1, .read_only = true };
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &options);
	const struct ringlane_range range = { 0, 512 };
	const struct iovec iov = { scsi.buffer, 512 };

	assert_int_equal(ringlane_write(scsi.queue, scsi.buffer, 512, 0, NULL), -EROFS);
	assert_int_equal(ringlane_writev(scsi.queue, &iov, 1, 0, NULL), -EROFS);
	assert_int_equal(ringlane_discard(scsi.queue, &range, 1, NULL), -EROFS);
	assert_int_equal(ringlane_write_zeroes(scsi.queue, &range, 1, 0, NULL), -EROFS);
	assert_int_equal(ringlane_lun_compare_and_write(scsi.queue,
							ringlane_lun_default(scsi.device),
							scsi.buffer, 512, 0, NULL),
			 -EROFS);
	assert_int_equal(test_scsi_read(&scsi), 0);
	test_scsi_close(&scsi);
}

/* READ (16) where 10 bytes do not suffice. */
static void test_cdb_when_address_is_beyond_32_bits_then_16_bytes(void **state)
{
	const struct fake_scsi_setup setup = { .last_block = 0xfffffffe };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	uint64_t last = 0xfffffffeull * 512;

	fake_scsi_set_trick(scsi.fake, FAKE_SCSI_RESPONDS);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_read(scsi.queue, scsi.buffer, 512,
							       last - 512, NULL)),
			 0);
	assert_int_equal(fake_scsi_last_request(scsi.fake)[19], 0x28);
	assert_int_equal(test_scsi_finish(&scsi, ringlane_write(scsi.queue, scsi.buffer, 1024,
								last - 512, NULL)),
			 0);
	assert_memory_equal(fake_scsi_last_request(scsi.fake) + 19,
			    "\x2a\0\xff\xff\xff\xfd\0\0\2\0", 10);
	test_scsi_close(&scsi);
}

/* ---- tags and functions ---- */

static void test_tags_when_many_requests_then_each_has_its_own(void **state)
{
	struct test_scsi scsi = test_scsi_open(&(struct fake_scsi_setup){ 0 }, &one_queue);
	uint64_t last = 0, wire;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(test_scsi_read(&scsi), 0);
		memcpy(&wire, fake_scsi_last_request(scsi.fake) + 8, 8);
		assert_true(wire && ringlane_scsi_tag(scsi.queue) == le64toh(wire));
		assert_true(le64toh(wire) > last);
		last = le64toh(wire);
	}
	test_scsi_close(&scsi);
}

static void test_function_when_answered_then_its_result(void **state)
{
	static const struct {
		uint8_t response;
		int code;
	} cases[] = { { 0, 0 },      { 10, 1 },     { 11, -EOPNOTSUPP }, { 12, -ENXIO },
		      { 3, -ENXIO }, { 5, -EBUSY }, { 9, -EIO },         { 0xff, -EPROTO } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fake_scsi_setup setup = { .tmf_response = cases[i].response };
		struct test_scsi scsi = test_scsi_open(&setup, &one_queue);

		for (unsigned n = 0; n < 40; n++)
			assert_int_equal(ringlane_scsi_manage(scsi.device, RINGLANE_SCSI_QUERY_TASK,
							      0, 0, n, 0),
					 cases[i].code);
		test_scsi_close(&scsi);
	}
}

static void test_function_when_never_answered_then_it_is_bounded(void **state)
{
	const struct fake_scsi_setup setup = { .silent_control = true };
	struct test_scsi scsi = test_scsi_open(&setup, &one_queue);
	unsigned out = 0;
	int ret;

	do {
		ret = ringlane_scsi_manage(scsi.device, RINGLANE_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0,
					   1);
		out += ret == -ETIMEDOUT;
	} while (ret == -ETIMEDOUT && out < 100);
	assert_int_equal(ret, -EBUSY);
	assert_in_range(out, 8, 16);
	assert_int_equal(test_scsi_read(&scsi), 0);
	test_scsi_close(&scsi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		driver_test(test_result_when_any_answer_then_the_documented_error),
		driver_test(test_result_when_lengths_are_lies_then_they_are_cut),
		driver_test(test_read_when_bytes_are_missing_then_that_is_no_success),
		driver_test(test_wanted_result_when_a_block_request_fails_then_it_has_the_sense),
		driver_test(test_wanted_result_when_bytes_are_missing_then_it_says_how_many),
		driver_test(test_wanted_result_when_there_is_no_bad_answer_then_it_says_none),
		driver_test(test_wanted_result_when_good_with_a_qualifier_then_it_says_none),
		driver_test(test_result_when_nothing_was_written_then_that_is_no_success),
		driver_test(test_requests_when_lun_has_attentions_then_they_are_sent_again),
		driver_test(test_request_when_attentions_never_end_then_erestart),
		driver_test(test_requests_when_sizes_vary_then_none_lies_across_pages),
		driver_test(test_id_when_asked_then_it_is_the_serial),
		driver_test(test_request_when_ring_is_broken_then_eproto_for_good),
		driver_test(test_wait_when_back_end_dies_then_econnreset),
		driver_test(test_requests_when_beyond_the_limits_then_refused),
		driver_test(test_disk_when_read_only_then_writes_are_refused),
		driver_test(test_cdb_when_address_is_beyond_32_bits_then_16_bytes),
		driver_test(test_tags_when_many_requests_then_each_has_its_own),
		driver_test(test_function_when_answered_then_its_result),
		driver_test(test_function_when_never_answered_then_it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
