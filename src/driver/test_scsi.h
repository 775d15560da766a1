/* SPDX-License-Identifier: MIT */
/* For tests: a fake adapter, opened, with a buffer. */
#ifndef RINGLANE_DRIVER_TEST_SCSI_H
#define RINGLANE_DRIVER_TEST_SCSI_H

#include "driver/test_disk.h"

#include "base/compiler.h"
#include "driver/fake_scsi.h"

#include <ringlane/scsi.h>

struct test_scsi {
	struct fake_scsi *fake;
	struct ringlane_device *device;
	struct ringlane_queue *queue; /* the first */
	uint8_t *buffer;              /* TEST_BUFFER_BYTES that the device reaches */
};

static inline struct test_scsi test_scsi_open(const struct fake_scsi_setup *setup,
					      const struct ringlane_options *options)
{
	struct test_scsi scsi = { .fake = fake_scsi_new(setup) };
	struct ringlane_error error = { 0 };

	if (ringlane_open(fake_scsi_uri(scsi.fake), options, &scsi.device, &error) < 0)
		fail_msg("open: %s", error.text);
	scsi.queue = ringlane_queue_get(scsi.device, 0);
	scsi.buffer = ringlane_mem_alloc(scsi.device, TEST_BUFFER_BYTES, &error);
	if (!scsi.queue || !scsi.buffer)
		fail_msg("alloc: %s", error.text);
	return scsi;
}

static inline void test_scsi_close(struct test_scsi *scsi)
{
	ringlane_close(scsi->device);
	fake_scsi_free(scsi->fake);
}

/* Submits and waits for one completion, unless queueing has failed. */
static inline int test_scsi_finish(struct test_scsi *scsi, int queued)
{
	struct ringlane_completion completion = { .result = -ETIME };
	int ret;

	if (queued < 0)
		return queued;
	ret = ringlane_wait(scsi->queue, &completion, 1, 1, TEST_DEADLINE_MS, 0);
	return ret == 1 ? completion.result : ret < 0 ? ret : -ETIME;
}

static inline int test_scsi_read(struct test_scsi *scsi)
{
	return test_scsi_finish(scsi, ringlane_read(scsi->queue, scsi->buffer, 512, 0, NULL));
}

#endif
