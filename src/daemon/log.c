/* SPDX-License-Identifier: MIT */
/* One write per line, so that lines of several processes do not mix. See log.h. */
#include "daemon/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void log_words(const char *format, va_list args) printf_like(1, 0);

static void log_words(const char *format, va_list args)
{
	static const char prefix[] = "ringlaned: ";
	char line[1024];
	size_t used = sizeof(prefix) - 1, i;
	int length;

	memcpy(line, prefix, used);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	if (length < 0)
		return;
	used = MIN(used + (size_t)length, sizeof(line) - 2);
	for (i = 0; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[used] = '\n';
	if (write(STDERR_FILENO, line, used + 1) < 0)
		return; /* nobody listens: nothing to do about it */
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_words(format, args);
	va_end(args);
}

enum log_permit log_ask(struct log_limit *limit, uint64_t now_ns)
{
	if (!limit->window_start_ns || now_ns - limit->window_start_ns >= LOG_WINDOW_NS)
		*limit = (struct log_limit){ .window_start_ns = now_ns };
	if (limit->count > LOG_BURST)
		return LOG_BE_QUIET;
	return ++limit->count > LOG_BURST ? LOG_SAY_LAST : LOG_SAY;
}

void log_line_limited(struct log_limit *limit, const char *format, ...)
{
	va_list args;

	switch (log_ask(limit, clock_ns())) {
	case LOG_SAY:
		va_start(args, format);
		log_words(format, args);
		va_end(args);
		break;
	case LOG_SAY_LAST:
		log_line("more of this is left out for some seconds");
		break;
	case LOG_BE_QUIET:
		break;
	}
}
