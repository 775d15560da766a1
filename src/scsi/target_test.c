/* SPDX-License-Identifier: MIT */
/* The order of the checks, and what each says. */
#include "scsi/fixture.h"

#include <string.h>

static void test_opcode_when_unknown_then_refused(void **state)
{
	struct scsi_fixture *f = *state;

	scsi_do(f, FIRST, CDB(0xff, 0, 0, 0, 0, 0));
	scsi_assert_sense(f, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scsi_test(test_opcode_when_unknown_then_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
