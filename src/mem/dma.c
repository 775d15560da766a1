// SPDX-License-Identifier: MIT
/*
 * Memory for rings and requests: a sealed memfd, so that the other end of a socket can trust its size, with all of its
 * pages there from the start, so that neither end meets a page fault or an empty machine while requests run.
 *
 * Any thread. System calls: memfd_create, fallocate, fcntl, mmap, munmap, close, sysconf.
 */
#include "mem/dma.h"

#include "base/fd.h"
#include "base/overflow.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int step_failed(struct error *error, size_t size, const char *step)
{
	int code = -errno;

	return error_set(error, code, "cannot allocate %zu bytes of shared memory: %s: %s", size,
			 step, strerrordesc_np(-code));
}

int dma_region_alloc(size_t size, struct dma_region *ret_region, struct error *error)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded;
	fd_auto fd = -1;
	void *addr;

	if (!size || add_overflows(size, page - 1, &rounded) || rounded > INT64_MAX)
		return error_set(error, -EINVAL, "cannot allocate %zu bytes of shared memory",
				 size);
	rounded &= ~(page - 1);
	/* The kernel would try, and end other processes for it. */
	if (rounded / page > (size_t)sysconf(_SC_PHYS_PAGES))
		return error_set(error, -ENOMEM,
				 "cannot allocate %zu bytes of shared memory: the machine has less",
				 size);
	fd = memfd_create("ringlane", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return step_failed(error, size, "memfd_create");
	if (fallocate(fd, 0, 0, (off_t)rounded) < 0)
		return step_failed(error, size, "fallocate");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return step_failed(error, size, "F_ADD_SEALS");
	addr = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (addr == MAP_FAILED)
		return step_failed(error, size, "mmap");
	*ret_region = (struct dma_region){ .addr = addr, .size = rounded, .fd = fd };
	fd = -1;
	return 0;
}

void dma_region_free(struct dma_region *region)
{
	if (region->addr)
		munmap(region->addr, region->size);
	fd_close(&region->fd);
	*region = (struct dma_region){ .fd = -1 };
}
