/* SPDX-License-Identifier: MIT */
/*
 * ram: a disk of anonymous memory. One lazy mapping per node; pages come into being when they are written and go away when
 * they are discarded. Everything is done inside submit by memcpy; several loops may work on the same node, as several CPUs
 * may on a real disk: overlapping requests that are in flight together have no order.
 *
 * submit runs on the channel's loop; open and close on the main thread.
 */
#include "block/block.h"

#include "base/iov.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct ram_node {
	struct block_node node;
	char *base; /* NULL until mapped */
	uintptr_t page_size;
};

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

static int ram_do(const struct ram_node *ram, const struct block_request *request)
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
	ret = ram_map(ram, config->size, error);
	return block_graph_add(graph, node, ret, ret_node, error);
}
