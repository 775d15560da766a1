/* SPDX-License-Identifier: MIT */
/* Scatter lists of memory that this process may touch. Pure; any thread. */
#ifndef RINGLANE_BASE_IOV_H
#define RINGLANE_BASE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

size_t iov_size(const struct iovec *iov, unsigned count);
/* Copy up to size bytes, starting offset bytes into the list; return the bytes copied. */
size_t iov_to_buffer(const struct iovec *iov, unsigned count, size_t offset, void *buffer,
		     size_t size);
size_t iov_from_buffer(const struct iovec *iov, unsigned count, size_t offset, const void *buffer,
		       size_t size);
size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int byte, size_t size);
/* Drop bytes from the front / keep only the first size bytes; *iov and *count are moved in place. */
void iov_advance(struct iovec **iov, unsigned *count, size_t bytes);
void iov_truncate(struct iovec *iov, unsigned *count, size_t size);

#endif
