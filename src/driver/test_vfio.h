/* SPDX-License-Identifier: MIT */
/*
 * For tests: the VFIO transport between a fake kernel and the registers of a fake device. The device's end of the rings
 * is played here, and reaches only what the fake IOMMU lets it reach.
 */
#ifndef RINGLANE_DRIVER_TEST_VFIO_H
#define RINGLANE_DRIVER_TEST_VFIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fd.h"
#include "driver/fake_pci.h"
#include "driver/queue.h"
#include "driver/transport_vfio.h"
#include "vfio/fake_kernel.h"
#include "vfio/test_fds.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define TIMEOUT_SHORT_MS 30
#define QUEUES 2
#define QUEUE_SIZE 16
#define BLOCK 512

struct rig {
	struct fake_kernel kernel;
	struct fake_pci pci;
	struct transport *transport;
	struct queue_limits limits;
	struct memory memory;
	struct dma_region region; /* the rings, then a page of data */
	uint8_t *data;
	struct ringlane_queue *queues[QUEUES];
	uint16_t taken[QUEUES]; /* by the device */
};

/* ---- the device's end ---- */

static inline void *reach(struct rig *rig, uint64_t addr, uint64_t size)
{
	void *here = fake_kernel_reach(&rig->kernel, addr, size);

	assert_non_null(here);
	return here;
}

/* Header, data, status: a read that fills the data with a pattern. */
static inline void device_serve(struct rig *rig, const struct virtq_desc *table, unsigned head)
{
	const struct virtq_desc *data = &table[le16_get(table[head].next)];
	const struct virtq_desc *status = &table[le16_get(data->next)];
	uint32_t size = le32_get(data->len);

	memset(reach(rig, le64_get(data->addr), size), 0xd5, size);
	*(uint8_t *)reach(rig, le64_get(status->addr), 1) = VIRTIO_BLK_S_OK;
}

/* What the doorbell of the queue makes the device do. */
static inline void device_run(struct rig *rig, unsigned index)
{
	const struct fake_pci_queue *queue = &rig->pci.queues[index];
	uint16_t *avail = reach(rig, queue->avail, 4 + 2 * queue->size);
	uint16_t *used = reach(rig, queue->used, 4 + 8 * queue->size);

	for (; rig->taken[index] != load_acquire(&avail[1]); rig->taken[index]++) {
		uint32_t head = avail[2 + rig->taken[index] % queue->size];
		uint32_t entry[2] = { head, BLOCK + 1 };

		device_serve(rig, reach(rig, queue->desc, 16 * queue->size), head);
		memcpy(used + 2 + 4 * (rig->taken[index] % queue->size), entry, sizeof(entry));
		store_release(&used[1], (uint16_t)(rig->taken[index] + 1));
	}
}

/* The doorbell's register, and rings no more. */
static inline uint16_t doorbell_take(struct rig *rig, unsigned index)
{
	uint8_t *reg = rig->kernel.bars[FAKE_PCI_DOORBELLS].memory + FAKE_PCI_NOTIFY_AT +
		       index * FAKE_PCI_MULTIPLIER;
	uint16_t value;

	memcpy(&value, reg, sizeof(value));
	memset(reg, 0xff, sizeof(value));
	return value;
}

/* ---- the driver's end ---- */

static inline void on_reset(void *owner)
{
	fake_kernel_trace(owner, "virtio-reset ");
}

static inline void rig_init(struct rig *rig)
{
	*rig = (struct rig){ 0 };
	fake_kernel_init(&rig->kernel);
	fake_pci_init(&rig->pci, VIRTIO_ID_BLOCK);
	memcpy(rig->kernel.config, rig->pci.space, sizeof(rig->kernel.config));
	rig->kernel.owner = &rig->pci;
	rig->kernel.bars[FAKE_PCI_REGISTERS] = (struct fake_bar){ .size = FAKE_PCI_BAR_SIZE,
								  .memory_fd = -1,
								  .read = fake_pci_read,
								  .write = fake_pci_write };
	fake_kernel_bar_memory(&rig->kernel, FAKE_PCI_DOORBELLS, FAKE_PCI_BAR_SIZE);
	rig->pci.owner = &rig->kernel;
	rig->pci.on_reset = on_reset;
	assert_int_equal(memory_init(&rig->memory), 0);
}

static inline int rig_open_with(struct rig *rig, unsigned timeout_ms, struct error *error)
{
	return transport_vfio_open_on(&rig->kernel.base, FAKE_ADDRESS, VIRTIO_ID_BLOCK, timeout_ms,
				      &rig->transport, error);
}

static inline void rig_open(struct rig *rig)
{
	struct error error = { 0 };
	int ret = rig_open_with(rig, TIMEOUT_MS, &error);

	if (ret == 0)
		ret = rig->transport->ops->set_features(rig->transport, 1ull << VIRTIO_F_VERSION_1,
							&error);
	if (ret < 0)
		fail_msg("open: %s", error.text);
}

static inline void queues_make(struct rig *rig)
{
	struct queue_setup setup = {
		.limits = &rig->limits, .memory = &rig->memory, .size = QUEUE_SIZE, .gone_fd = -1
	};
	size_t bytes;

	rig->limits = (struct queue_limits){ .capacity = 1 << 20,
					     .block_mask = BLOCK - 1,
					     .seg_max = 4,
					     .segment_bytes_max = 1 << 20 };
	bytes = queue_shared_bytes(&setup);
	assert_int_equal(dma_region_alloc(QUEUES * bytes + 4096, &rig->region, NULL), 0);
	assert_int_equal(rig->transport->ops->mem_add(rig->transport, &rig->region, NULL), 0);
	rig->data = (uint8_t *)rig->region.addr + QUEUES * bytes;
	memory_add(&rig->memory, rig->data, BLOCK, dma_region_delta(&rig->region));
	setup.shared_delta = dma_region_delta(&rig->region);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(queue_new(&setup, (uint8_t *)rig->region.addr + i * bytes,
					   &rig->queues[i], NULL),
				 0);
}

static inline int queue_start(struct rig *rig, unsigned index, struct error *error)
{
	const struct transport_ops *ops = rig->transport->ops;
	struct ringlane_queue *queue = rig->queues[index];
	const struct transport_ring ring = {
		.size = QUEUE_SIZE,
		.desc_device = (uintptr_t)queue->ring.memory.desc + queue->shared_delta,
		.avail_device = (uintptr_t)queue->ring.memory.avail + queue->shared_delta,
		.used_device = (uintptr_t)queue->ring.memory.used + queue->shared_delta,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};
	int ret = ops->queue_start(rig->transport, index, &ring, error);

	if (ret == 0)
		ops->queue_doorbell(rig->transport, index, &queue->doorbell);
	return ret;
}

static inline int queues_start(struct rig *rig, struct error *error)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < QUEUES; i++)
		ret = queue_start(rig, i, error);
	return ret == 0 ? rig->transport->ops->start(rig->transport, error) : ret;
}

static inline void rig_start(struct rig *rig)
{
	struct error error = { 0 };

	rig_open(rig);
	queues_make(rig);
	if (queues_start(rig, &error) < 0)
		fail_msg("start: %s", error.text);
}

static inline void rig_close(struct rig *rig)
{
	if (rig->transport)
		rig->transport->ops->close(rig->transport);
	rig->transport = NULL;
}

static inline void rig_fini(struct rig *rig)
{
	rig_close(rig);
	for (unsigned i = 0; i < QUEUES; i++)
		queue_free(rig->queues[i]);
	if (rig->region.addr)
		dma_region_free(&rig->region);
	memory_fini(&rig->memory);
	assert_int_equal(rig->kernel.map_count, 0);
	assert_false(fake_kernel_masters(&rig->kernel));
	if (rig->pci.broken)
		fail_msg("a rule was broken: %s", rig->pci.broken);
	fake_kernel_fini(&rig->kernel);
}

static inline bool becomes_readable(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	return poll(&one, 1, TIMEOUT_MS) == 1;
}

static inline bool is_readable(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	return poll(&one, 1, 0) == 1;
}

/* One read, through the doorbell, the device and the interrupt. */
static inline void queue_reads(struct rig *rig, unsigned index)
{
	struct ringlane_queue *queue = rig->queues[index];
	struct ringlane_completion completion = { .result = -ETIME };

	assert_int_equal(ringlane_read(queue, rig->data, BLOCK, 0, rig), 0);
	assert_int_equal(ringlane_queue_arm(queue), 0);
	assert_int_equal(ringlane_submit(queue), 1);
	assert_int_equal(doorbell_take(rig, index), index);
	device_run(rig, index);
	assert_true(fake_kernel_raise(&rig->kernel, rig->pci.queues[index].vector));
	assert_true(becomes_readable(ringlane_queue_fd(queue)));
	assert_int_equal(ringlane_reap(queue, &completion, 1), 1);
	assert_int_equal(completion.result, 0);
	assert_ptr_equal(completion.user_data, rig);
	assert_int_equal(rig->data[BLOCK - 1], 0xd5);
}

#endif
