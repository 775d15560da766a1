/* SPDX-License-Identifier: MIT */
/* Finds the end of each value, byte by byte, and has it parsed; see json_stream.h. */
#include "control/json_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define RESET_BYTE 0xff

enum step {
	STEP_MORE,
	STEP_VALUE, /* it ends before stream->next */
	STEP_CUT,   /* a string or an object that ends too early */
	STEP_MISMATCH,
	STEP_TOO_DEEP,
};

void json_stream_init(struct json_stream *stream, size_t value_max)
{
	*stream = (struct json_stream){ .value_max = value_max };
}

void json_stream_fini(struct json_stream *stream)
{
	free(stream->bytes);
}

size_t json_stream_pending(const struct json_stream *stream)
{
	return stream->size - stream->head;
}

/* What was given out is forgotten only here, so that many small values cost one move. */
static void forget_used(struct json_stream *stream)
{
	memmove(stream->bytes, stream->bytes + stream->head, stream->size - stream->head);
	stream->size -= stream->head;
	stream->next -= stream->head;
	stream->head = 0;
}

int json_stream_append(struct json_stream *stream, const void *bytes, size_t size)
{
	size_t wanted, capacity;
	char *grown;

	if (size == 0)
		return 0;
	if (stream->head)
		forget_used(stream);
	wanted = stream->size + size;
	if (wanted > stream->capacity) {
		capacity = MAX(wanted, 2 * stream->capacity);
		grown = realloc(stream->bytes, capacity);
		if (!grown)
			return -ENOMEM;
		stream->bytes = grown;
		stream->capacity = capacity;
	}
	memcpy(stream->bytes + stream->size, bytes, size);
	stream->size = wanted;
	return 0;
}

/* ---- one byte ---- */

static enum step open_bracket(struct json_stream *stream, unsigned char byte)
{
	uint64_t bit;

	if (stream->depth == JSON_STREAM_DEPTH)
		return STEP_TOO_DEEP;
	bit = UINT64_C(1) << stream->depth++;
	stream->arrays = byte == '[' ? stream->arrays | bit : stream->arrays & ~bit;
	stream->state = JSON_STREAM_INSIDE;
	return STEP_MORE;
}

static enum step close_bracket(struct json_stream *stream, unsigned char byte)
{
	bool is_array = stream->arrays >> (stream->depth - 1) & 1;

	if (is_array != (byte == ']'))
		return STEP_MISMATCH;
	return --stream->depth ? STEP_MORE : STEP_VALUE;
}

static bool is_space(unsigned char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static enum step step_outside(struct json_stream *stream, unsigned char byte)
{
	if (is_space(byte) || byte == RESET_BYTE) {
		stream->head = stream->next;
		return STEP_MORE;
	}
	stream->head = stream->next - 1;
	if (byte == '{' || byte == '[')
		return open_bracket(stream, byte);
	stream->state = JSON_STREAM_WORD;
	return STEP_MORE;
}

static enum step step_word(struct json_stream *stream, unsigned char byte)
{
	if (byte == '\n' || byte == RESET_BYTE)
		return STEP_VALUE;
	if (byte != '{' && byte != '[')
		return STEP_MORE;
	stream->next--; /* it belongs to the next one */
	return STEP_VALUE;
}

static enum step step_inside(struct json_stream *stream, unsigned char byte)
{
	switch (byte) {
	case '{':
	case '[':
		return open_bracket(stream, byte);
	case '}':
	case ']':
		return close_bracket(stream, byte);
	case '"':
		stream->state = JSON_STREAM_STRING;
		return STEP_MORE;
	case RESET_BYTE:
		return STEP_CUT;
	default:
		return STEP_MORE;
	}
}

static enum step step_string(struct json_stream *stream, unsigned char byte)
{
	if (byte == '\n' || byte == RESET_BYTE)
		return STEP_CUT;
	if (stream->state == JSON_STREAM_ESCAPE || byte == '"')
		stream->state = stream->state == JSON_STREAM_ESCAPE ? JSON_STREAM_STRING :
								      JSON_STREAM_INSIDE;
	else if (byte == '\\')
		stream->state = JSON_STREAM_ESCAPE;
	return STEP_MORE;
}

static enum step step(struct json_stream *stream)
{
	unsigned char byte = (unsigned char)stream->bytes[stream->next++];

	switch (stream->state) {
	case JSON_STREAM_OUTSIDE:
		return step_outside(stream, byte);
	case JSON_STREAM_WORD:
		return step_word(stream, byte);
	case JSON_STREAM_INSIDE:
		return step_inside(stream, byte);
	case JSON_STREAM_STRING:
	case JSON_STREAM_ESCAPE:
		return step_string(stream, byte);
	case JSON_STREAM_SKIP:
		stream->head = stream->next;
		if (byte == '\n' || byte == RESET_BYTE)
			stream->state = JSON_STREAM_OUTSIDE;
		return STEP_MORE;
	}
	return STEP_MORE;
}

/* ---- one value ---- */

static int parse(const char *bytes, size_t size, json_t **ret_value, struct error *error)
{
	json_error_t reason;
	json_t *value = json_loadb(bytes, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &reason);

	if (!value)
		return error_set(error, -EINVAL, "JSON parse error, %s", reason.text);
	*ret_value = value;
	return 1;
}

static int finish(struct json_stream *stream, enum step step, json_t **ret_value,
		  struct error *error)
{
	const char *value = stream->bytes + stream->head;
	size_t size = stream->next - stream->head;

	stream->head = stream->next;
	stream->state = step == STEP_TOO_DEEP ? JSON_STREAM_SKIP : JSON_STREAM_OUTSIDE;
	stream->depth = 0;
	switch (step) {
	case STEP_CUT:
		return error_set(error, -EINVAL, "JSON parse error, it ends within a value");
	case STEP_MISMATCH:
		return error_set(error, -EINVAL, "JSON parse error, brackets do not match");
	case STEP_TOO_DEEP:
		return error_set(error, -EINVAL, "JSON parse error, more than %d levels of nesting",
				 JSON_STREAM_DEPTH);
	default:
		if (size > stream->value_max)
			return error_set(error, -EMSGSIZE, "a value of %zu bytes is too long",
					 size);
		/* A word may have the byte that ended it. */
		return parse(value, size - ((unsigned char)value[size - 1] == RESET_BYTE),
			     ret_value, error);
	}
}

int json_stream_next(struct json_stream *stream, json_t **ret_value, struct error *error)
{
	while (stream->next < stream->size) {
		enum step found = step(stream);

		if (found != STEP_MORE)
			return finish(stream, found, ret_value, error);
	}
	return 0;
}
