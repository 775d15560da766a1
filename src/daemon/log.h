/* SPDX-License-Identifier: MIT */
/* Lines for a person, on stderr. Main thread. */
#ifndef RINGLANE_DAEMON_LOG_H
#define RINGLANE_DAEMON_LOG_H

#include "base/compiler.h"

#include <stdint.h>

/* One line, "ringlaned: " before it; control characters in it are replaced. */
void log_line(const char *format, ...) printf_like(1, 2);

/* For lines that a peer can cause: LOG_BURST of them in LOG_WINDOW_NS, then one that says so, then silence until the window ends. */
#define LOG_BURST 10
#define LOG_WINDOW_NS 10000000000ull

struct log_limit {
	uint64_t window_start_ns; /* 0: no line yet */
	unsigned count;
};

/* What may be said now: the line, that others are left out, or nothing. */
enum log_permit { LOG_SAY, LOG_SAY_LAST, LOG_BE_QUIET };
enum log_permit log_ask(struct log_limit *limit, uint64_t now_ns);
void log_line_limited(struct log_limit *limit, const char *format, ...) printf_like(2, 3);

#endif
