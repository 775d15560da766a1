/* SPDX-License-Identifier: MIT */
/* virtio-scsi requests: layouts, addresses, responses. */
#include "device/scsi_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static void test_read_when_usual_then_data_behind_the_response(void **state)
{
	struct scsi_world *world = *state;
	struct scsi_chain *chain =
		scsi_run(world, &(struct scsi_command){ .cdb = { 0x28, [5] = 7, [8] = 2 },
							.in_bytes = 1024 });

	scsi_assert_good(chain);
	assert_int_equal(scsi_residual(chain), 0);
	assert_int_equal(chain->written, 12 + 96 + 1024);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(chain->in_part[108 + i], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_when_usual_then_data_behind_the_response,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
