// SPDX-License-Identifier: MIT
/*
 * Two initiators that send any CDB with any data to a disk and to its neighbour, one command after another, so that what one leaves behind
 * (reservations, mode pages, a stopped unit) meets the next.
 *
 * Each command ends exactly once, with a status that exists, with sense exactly when the status says so, and has not moved more than
 * its buffers hold.
 */
#include "fuzz.h"
#include "scsi/fixture.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 32
#define DATA_MAX 4096u

static void check_answer(const struct scsi_task *task, size_t out_bytes, size_t in_bytes)
{
	switch (task->status) {
	case SCSI_CHECK_CONDITION:
		assert(task->sense_length >= 8 && task->sense_length <= SCSI_SENSE_MAX);
		assert((task->sense[0] & 0x7e) >= 0x70 && (task->sense[0] & 0x7f) <= 0x73);
		break;
	case SCSI_GOOD:
	case SCSI_CONDITION_MET:
	case SCSI_BUSY:
	case SCSI_RESERVATION_CONFLICT:
		assert(task->sense_length == 0);
		break;
	default:
		abort();
	}
	if (task->fit == SCSI_FITS)
		assert(task->residual <= out_bytes + in_bytes);
}

static void one_command(struct scsi_fixture *fixture, struct fuzz_bytes *bytes)
{
	uint8_t cdb[16], data[DATA_MAX], how = fuzz_byte(bytes);
	size_t size = fuzz_u16(bytes) % (DATA_MAX + 1), given = fuzz_byte(bytes);
	enum scsi_who who = how & 1 ? FIRST : SECOND;

	fuzz_fill(bytes, cdb, sizeof(cdb));
	fixture->target_unit = how >> 1 & 1;
	fixture->attribute = how >> 2 & 3;
	fixture->without_unit = (how >> 4 & 7) == 7;
	fixture->well_known = (how >> 4 & 7) == 6;
	memset(data, 0, sizeof(data));
	if (how & 0x80) {
		fuzz_fill(bytes, data, MIN(given, size));
		scsi_do_out(fixture, who, cdb, sizeof(cdb), data, size);
		check_answer(&fixture->run.task, size, 0);
	} else {
		scsi_do_in(fixture, who, cdb, sizeof(cdb), data, size);
		check_answer(&fixture->run.task, 0, size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct scsi_fixture *fixture;
	void *state = NULL;

	scsi_fixture_setup(&state);
	fixture = state;
	scsi_fixture_add(fixture, scsi_fixture_ram(fixture, "neighbour", 1 << 16), NULL);
	for (unsigned i = 0; i < COMMANDS_MAX && bytes.size > 0; i++)
		one_command(fixture, &bytes);
	scsi_fixture_teardown(&state);
	return 0;
}
