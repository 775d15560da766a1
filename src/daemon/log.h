/* SPDX-License-Identifier: MIT */
/* Lines for a person, on stderr. Main thread. */
#ifndef RINGLANE_DAEMON_LOG_H
#define RINGLANE_DAEMON_LOG_H

#include "base/compiler.h"

/* One line, "ringlaned: " before it; control characters in it are replaced. */
void log_line(const char *format, ...) printf_like(1, 2);

#endif
