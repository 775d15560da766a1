/* SPDX-License-Identifier: MIT */
/*
 * Bytes in, JSON values out, however they were cut. Whoever owns a stream may be talked to by anybody:
 *
 * - nesting is bounded (JSON_STREAM_DEPTH), and so is the length of a value; the owner asks how much waits for its end
 *   (json_stream_pending());
 * - after what is no JSON the stream goes on with what follows: after a bracket that does not match or a line that ends within a
 *   string at once, after too much nesting with the next line;
 * - a byte 0xff, which JSON never has, ends what was left incomplete.
 *
 * No threads, no files.
 */
#ifndef RINGLANE_CONTROL_JSON_STREAM_H
#define RINGLANE_CONTROL_JSON_STREAM_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

#define JSON_STREAM_DEPTH 64

enum json_stream_state {
	JSON_STREAM_OUTSIDE, /* between values. A bracket -> INSIDE; anything but white space -> WORD */
	JSON_STREAM_WORD, /* a value without brackets, or garbage: to the end of the line or the next bracket */
	JSON_STREAM_INSIDE, /* depth > 0. '"' -> STRING; the last bracket -> OUTSIDE, a value */
	JSON_STREAM_STRING, /* '\' -> ESCAPE; '"' -> INSIDE */
	JSON_STREAM_ESCAPE, /* anything -> STRING */
	JSON_STREAM_SKIP,   /* the rest of a line that nests too deeply -> OUTSIDE */
};

struct json_stream {
	char *bytes;
	size_t size, capacity;
	size_t value_max; /* bytes of one value */
	size_t head;      /* of the value that is being looked at */
	size_t next;      /* the next byte to look at */
	enum json_stream_state state;
	unsigned depth;
	uint64_t arrays; /* bit n: the bracket at depth n + 1 is '[' */
};

void json_stream_init(struct json_stream *stream, size_t value_max);
void json_stream_fini(struct json_stream *stream);
/* -ENOMEM: nothing was added. */
int json_stream_append(struct json_stream *stream, const void *bytes, size_t size);
/* 1: *ret_value is the next value, the caller's; 0: there is none yet; -EINVAL: what came was no JSON, the sentence says why;
 * -EMSGSIZE: it is too long. */
int json_stream_next(struct json_stream *stream, json_t **ret_value, struct error *error);
/* Bytes that belong to no value that was given out. */
size_t json_stream_pending(const struct json_stream *stream);

#endif
