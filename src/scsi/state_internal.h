/* SPDX-License-Identifier: MIT */
/* What a state file says, and how it is written: shared by state.c, state_format.c and their tests. */
#ifndef RINGLANE_SCSI_STATE_INTERNAL_H
#define RINGLANE_SCSI_STATE_INTERNAL_H

#include "scsi/reservation_internal.h"

/* The largest one: PR_REGISTRATIONS_MAX lines and a few. */
#define STATE_BYTES_MAX 16384u

struct state_content {
	uint64_t wwn; /* whose state it is */
	struct scsi_mode_values mode;
	struct pr_table table; /* without generation; empty unless table.aptpl */
};

/* Returns the bytes of text, which is terminated. */
size_t state_encode(const struct state_content *content, char text[STATE_BYTES_MAX]);
/* text[size] is 0. -EINVAL: it says something else than state_encode() would have written. */
int state_decode(const char *text, size_t size, struct state_content *ret_content,
		 struct error *error);

#endif
