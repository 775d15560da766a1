// SPDX-License-Identifier: MIT
/*
 * The control path's error object. Pure; any thread, each with an object of its own.
 *
 * The text may quote what a user or a peer wrote: control characters are replaced, so that it stays one line and
 * cannot speak to a terminal.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void text_tame(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* As much of text as fits, terminated. */
static void text_append(char *at, size_t room, const char *text)
{
	size_t length = strnlen(text, room - 1);

	memcpy(at, text, length);
	at[length] = '\0';
}

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list args;

	assert(code < 0);
	if (!error)
		return code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	text_tame(error->text);
	error->code = code;
	return code;
}

int error_prefix(struct error *error, const char *format, ...)
{
	char rest[sizeof(error->text)];
	size_t length;
	va_list args;

	memcpy(rest, error->text, sizeof(rest));
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	length = strlen(error->text);
	text_append(error->text + length, sizeof(error->text) - length, ": ");
	length = strlen(error->text);
	text_append(error->text + length, sizeof(error->text) - length, rest);
	text_tame(error->text);
	return error->code;
}
