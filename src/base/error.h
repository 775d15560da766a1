/* SPDX-License-Identifier: MIT */
/*
 * A sentence for a person beside an errno: the control path's error object.
 *
 *     return error_set(err, -EINVAL, "iothread '%s' does not exist", id);
 */
#ifndef RINGLANE_BASE_ERROR_H
#define RINGLANE_BASE_ERROR_H

#include "base/compiler.h"

struct error {
	int code;       /* -errno, 0 while nothing has gone wrong */
	char text[496]; /* one line, no final full stop, names the culprit */
};

/* Fills *error (which may be NULL) and returns code. code must be negative. */
int error_set(struct error *error, int code, const char *format, ...) printf_like(3, 4);
/* Puts "prefix: " before the sentence that is there. Returns error->code. */
int error_prefix(struct error *error, const char *format, ...) printf_like(2, 3);

#endif
