/* SPDX-License-Identifier: MIT */
/* One write per line, so that lines of several processes do not mix. See log.h. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void log_line(const char *format, ...)
{
	static const char prefix[] = "ringlaned: ";
	char line[1024];
	size_t used = sizeof(prefix) - 1, i;
	va_list args;
	int length;

	memcpy(line, prefix, used);
	va_start(args, format);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
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
