// SPDX-License-Identifier: MIT
/*
 * Scatter lists: one walk, three things done to each piece. The memory may change under our feet (a guest owns it), so
 * nothing here decides by what it copies.
 */
#include "base/iov.h"

#include "base/compiler.h"

#include <stdint.h>
#include <string.h>

typedef void piece_fn(void *piece, size_t bytes, void *opaque, size_t done);

static size_t iov_walk(const struct iovec *iov, unsigned count, size_t offset, size_t size,
		       piece_fn *fn, void *opaque)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < size; i++) {
		size_t bytes;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		bytes = MIN(iov[i].iov_len - offset, size - done);
		fn((uint8_t *)iov[i].iov_base + offset, bytes, opaque, done);
		done += bytes;
		offset = 0;
	}
	return done;
}

static void piece_read(void *piece, size_t bytes, void *opaque, size_t done)
{
	memcpy((uint8_t *)opaque + done, piece, bytes);
}

static void piece_write(void *piece, size_t bytes, void *opaque, size_t done)
{
	memcpy(piece, *(const uint8_t **)opaque + done, bytes);
}

static void piece_fill(void *piece, size_t bytes, void *opaque, size_t done)
{
	memset(piece, *(int *)opaque, bytes);
}

size_t iov_size(const struct iovec *iov, unsigned count)
{
	size_t size = 0;

	for (unsigned i = 0; i < count; i++)
		size += iov[i].iov_len;
	return size;
}

size_t iov_to_buffer(const struct iovec *iov, unsigned count, size_t offset, void *buffer,
		     size_t size)
{
	return iov_walk(iov, count, offset, size, piece_read, buffer);
}

size_t iov_from_buffer(const struct iovec *iov, unsigned count, size_t offset, const void *buffer,
		       size_t size)
{
	return iov_walk(iov, count, offset, size, piece_write, &buffer);
}

size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int byte, size_t size)
{
	return iov_walk(iov, count, offset, size, piece_fill, &byte);
}

void iov_advance(struct iovec **iov, unsigned *count, size_t bytes)
{
	while (*count && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (!*count)
		return;
	(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
	(*iov)->iov_len -= bytes;
}

void iov_truncate(struct iovec *iov, unsigned *count, size_t size)
{
	unsigned i;

	for (i = 0; i < *count && size; i++) {
		iov[i].iov_len = MIN(iov[i].iov_len, size);
		size -= iov[i].iov_len;
	}
	*count = i;
}
