/* SPDX-License-Identifier: MIT */
/*
 * ram: a disk of anonymous memory. One lazy mapping per node; pages come into being when they are written and go away when
 * they are discarded. Everything is done inside submit by memcpy; several loops may work on the same node, as several CPUs
 * may on a real disk: overlapping requests that are in flight together have no order.
 *
 * Which pages there are the kernel knows (/proc/self/pagemap). One that was only read has the kernel's page of zeroes behind it
 * and counts as present there, so a page of nothing but zeroes is a hole to us, whether somebody wrote them or not.
 *
 * submit runs on the channel's loop; open and close on the main thread.
 */
#include "block/block.h"

#include "base/iov.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct ram_node {
	struct block_node node;
	char *base; /* NULL until mapped */
	uintptr_t page_size;
	int pagemap_fd; /* -1: none, so no STATUS */
};

/* Entries that are looked at in one go, and in one request. */
#define PAGEMAP_BATCH 512u
#define PAGEMAP_MAX (32 * PAGEMAP_BATCH)
/* Documentation/admin-guide/mm/pagemap.rst: present or swapped. */
#define PAGEMAP_STORED (3ull << 62)

/* Whole pages go back to the kernel, the edges are overwritten. */
static void ram_zero(const struct ram_node *ram, uint64_t offset, uint64_t bytes)
{
	char *start = ram->base + offset, *end = start + bytes;
	char *inner = (char *)(((uintptr_t)start + ram->page_size - 1) & ~(ram->page_size - 1));
	char *inner_end = (char *)((uintptr_t)end & ~(ram->page_size - 1));

	if (inner >= inner_end) {
		memset(start, 0, bytes);
		return;
	}
	memset(start, 0, inner - start);
	memset(inner_end, 0, end - inner_end);
	if (madvise(inner, inner_end - inner, MADV_DONTNEED) < 0)
		memset(inner, 0, inner_end - inner);
}

static bool is_zero(const char *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Adds pages to the extent as long as they are like its first one. False: it ends here. */
static bool ram_extend(const struct ram_node *ram, struct block_extent *extent, char *page,
		       const uint64_t *entries, size_t count)
{
	for (size_t i = 0; i < count; i++, page += ram->page_size) {
		bool hole = !(entries[i] & PAGEMAP_STORED) || is_zero(page, ram->page_size);

		if (extent->bytes == 0)
			extent->hole = hole;
		if (hole != extent->hole)
			return false;
		extent->bytes += ram->page_size;
	}
	return true;
}

static int ram_status(const struct ram_node *ram, struct block_request *request)
{
	uintptr_t start = (uintptr_t)ram->base + request->offset;
	uintptr_t end = start + request->bytes, skipped = start & (ram->page_size - 1);
	uintptr_t page = start - skipped;
	size_t left = MIN((end - page + ram->page_size - 1) / ram->page_size, PAGEMAP_MAX);
	struct block_extent extent = { 0 };
	uint64_t entries[PAGEMAP_BATCH];
	bool more = true;

	while (more && left > 0) {
		size_t count = MIN(left, PAGEMAP_BATCH);
		off_t offset = (off_t)((page + extent.bytes) / ram->page_size * sizeof(*entries));
		ssize_t got = pread(ram->pagemap_fd, entries, count * sizeof(*entries), offset);

		if (got < (ssize_t)sizeof(*entries))
			return got < 0 ? -errno : -EIO;
		count = (size_t)got / sizeof(*entries);
		more = ram_extend(ram, &extent, (char *)page + extent.bytes, entries, count);
		left -= count;
	}
	extent.bytes = MIN(extent.bytes - skipped, request->bytes);
	request->extent = extent;
	return 0;
}

static int ram_do(const struct ram_node *ram, struct block_request *request)
{
	char *data = ram->base + request->offset;

	switch (request->op) {
	case BLOCK_READ:
		iov_from_buffer(request->iov, request->iov_count, 0, data, request->bytes);
		return 0;
	case BLOCK_WRITE:
		iov_to_buffer(request->iov, request->iov_count, 0, data, request->bytes);
		return 0;
	case BLOCK_FLUSH:
		return 0;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		ram_zero(ram, request->offset, request->bytes);
		return 0;
	case BLOCK_STATUS:
		return ram_status(ram, request);
	}
	return -ENOTSUP;
}

static void ram_submit(struct block_channel *channel, struct block_request *request)
{
	block_complete(request,
		       ram_do(container_of(channel->node, struct ram_node, node), request));
}

static void ram_close(struct block_node *node)
{
	struct ram_node *ram = container_of(node, struct ram_node, node);

	if (ram->base)
		munmap(ram->base, node->size);
	fd_close(&ram->pagemap_fd);
}

static const struct block_driver ram_driver = {
	.name = "ram",
	.node_size = sizeof(struct ram_node),
	.close = ram_close,
	.submit = ram_submit,
};

static int ram_map(struct ram_node *ram, uint64_t size, struct error *error)
{
	void *base;

	if (size == 0 || size % BLOCK_SECTOR || size > SIZE_MAX / 2)
		return error_set(error, -EINVAL,
				 "Node '%s': size %llu is not a multiple of %u above 0",
				 ram->node.name, (unsigned long long)size, BLOCK_SECTOR);
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (base == MAP_FAILED)
		return error_set(error, -errno, "Node '%s': cannot map %llu bytes: %s",
				 ram->node.name, (unsigned long long)size, strerrordesc_np(errno));
	ram->base = base;
	ram->node.size = size;
	return 0;
}

int block_ram_open(struct block_graph *graph, const struct block_ram_config *config,
		   struct block_node **ret_node, struct error *error)
{
	struct block_node *node;
	struct ram_node *ram;
	int ret;

	ret = block_node_alloc(&ram_driver, config->name, &node, error);
	if (ret < 0)
		return ret;
	ram = container_of(node, struct ram_node, node);
	ram->page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	node->read_only = config->read_only;
	node->limits.discard_alignment = ram->page_size;
	node->limits.write_zeroes_alignment = ram->page_size;
	node->limits.discard_max = BLOCK_SPACE_MAX;
	node->limits.write_zeroes_max = BLOCK_SPACE_MAX;
	node->limits.discard_zeroes = true;
	ram->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	node->limits.has_status = ram->pagemap_fd >= 0;
	ret = ram_map(ram, config->size, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
