// SPDX-License-Identifier: MIT
/*
 * The transport over a PCI function that VFIO gave to this process: the registers of virtio_pci.h in its BARs, memory in
 * its IOMMU, MSI-X interrupts as event fds, a doorbell register instead of a kick fd.
 *
 * queue_start only takes notes and start does everything, because only then it is known how many vectors are wanted: the
 * kernels up to 6.4 want to hear it all at once. A queue that is started while the device runs (after queue_reset) is
 * started at once, on its old vector.
 *
 * There is no stopping a queue that finishes what is in flight: the first queue_stop resets the device, which is waited
 * for; what it had not finished it never will, and it reaches no memory any more. If it does not confirm, the kernel
 * resets the function. The end: the device is reset, the right to be bus master is taken away, memory is unmapped.
 *
 * The device may be removed, report an error of the bus, or want a reset; the kernel may want the function back for
 * another driver. All of that makes gone_fd readable.
 *
 * On the thread that owns the device.
 */
#include "driver/transport_vfio.h"

#include "base/fd.h"
#include "vfio/sysfs.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_GONE 0xff
#define QUEUE_SIZE_MIN 4 /* header, data, status */

static struct transport_vfio *self_of(const struct transport *transport)
{
	return container_of(transport, struct transport_vfio, base);
}

/* ---- access to registers ---- */

static const struct vfio_pci *function_of(const struct virtio_pci_access *access)
{
	return &container_of(access, struct transport_vfio, access)->function;
}

static int access_config_read(const struct virtio_pci_access *access, uint32_t offset,
			      unsigned size, uint32_t *ret_value)
{
	return vfio_pci_config_read(function_of(access), offset, size, ret_value);
}

static uint64_t access_bar_size(const struct virtio_pci_access *access, unsigned bar)
{
	return function_of(access)->bars[bar].size;
}

static uint32_t access_read(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
			    unsigned width)
{
	return vfio_pci_bar_read(function_of(access), bar, offset, width);
}

static void access_write(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
			 unsigned width, uint32_t value)
{
	vfio_pci_bar_write(function_of(access), bar, offset, width, value);
}

static const struct virtio_pci_access_ops access_ops = {
	.config_read = access_config_read,
	.bar_size = access_bar_size,
	.read = access_read,
	.write = access_write,
};

/* ---- features and configuration ---- */

uint64_t transport_vfio_features(void)
{
	return 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_F_ORDER_PLATFORM |
	       1ull << VIRTIO_F_RING_RESET;
}

/* Those of the device's that are taken by itself. A queue is reset only where that means what it says. */
static uint64_t features_own(const struct transport_vfio *self)
{
	uint64_t own = self->features & transport_vfio_features();

	return self->device.resets_no_queue ? own & ~(1ull << VIRTIO_F_RING_RESET) : own;
}

static void get_facts_vfio(const struct transport *transport, struct transport_facts *ret_facts)
{
	const struct transport_vfio *self = self_of(transport);

	*ret_facts = (struct transport_facts){
		.features = self->features,
		.features_own = features_own(self),
		.queue_max = self->queue_count,
		.queue_size_max = self->queue_size_max,
		.mem_slots = vfio_container_maps_max(&self->container),
	};
}

static int negotiate(struct transport_vfio *self, struct error *error)
{
	int ret;

	virtio_pci_greet(&self->device);
	ret = virtio_pci_set_features(&self->device, self->acked, error);
	self->negotiated = ret == 0;
	return ret;
}

static int set_features_vfio(struct transport *transport, uint64_t features, struct error *error)
{
	struct transport_vfio *self = self_of(transport);

	self->acked = features | features_own(self);
	return negotiate(self, error);
}

static int get_config_vfio(struct transport *transport, void *bytes, uint32_t size,
			   uint32_t *ret_size, struct error *error)
{
	return virtio_pci_get_config(&self_of(transport)->device, bytes, size, ret_size, error);
}

static int set_config_vfio(struct transport *transport, uint32_t offset, const void *bytes,
			   uint32_t size, struct error *error)
{
	return virtio_pci_set_config(&self_of(transport)->device, offset, bytes, size, error);
}

/* ---- memory ---- */

static int mem_add_vfio(struct transport *transport, struct dma_region *region, struct error *error)
{
	return vfio_container_map(&self_of(transport)->container, region->addr, region->size,
				  &region->device_addr, error);
}

static int mem_remove_vfio(struct transport *transport, const struct dma_region *region,
			   struct error *error)
{
	return vfio_container_unmap(&self_of(transport)->container, region->addr, error);
}

/* ---- the device as a whole ---- */

/*
 * 0: it reaches no memory any more, whatever it was doing, and can be started again. A device that does not confirm is not
 * left on the bus.
 */
static int device_stop(struct transport_vfio *self, struct error *error)
{
	int ret = virtio_pci_reset(&self->device, error);

	self->running = self->negotiated = false;
	for (unsigned i = 0; i < self->queue_count; i++)
		self->queues[i].running = false;
	if (ret == 0 || vfio_pci_reset(&self->function, NULL) == 0)
		return 0;
	vfio_pci_bus_master_disable(&self->function, NULL);
	return ret;
}

static int queue_run(struct transport_vfio *self, unsigned index, struct error *error)
{
	struct vfio_queue *queue = &self->queues[index];
	const struct virtio_pci_queue wire = {
		.size = queue->ring.size,
		.vector = (uint16_t)transport_vfio_queue_vector(self, index),
		.desc = queue->ring.desc_device,
		.avail = queue->ring.avail_device,
		.used = queue->ring.used_device,
	};
	int ret = virtio_pci_queue_start(&self->device, index, &wire, error);

	queue->running = ret == 0;
	return ret;
}

/* With at most so many vectors. -ENOSPC: the device refuses one. */
static int device_run(struct transport_vfio *self, unsigned vectors_max, struct error *error)
{
	int ret = self->negotiated ? 0 : negotiate(self, error);

	if (ret == 0)
		ret = transport_vfio_irqs_start(self, vectors_max, error);
	if (ret == 0)
		ret = vfio_pci_bus_master_enable(&self->function, error);
	if (ret == 0)
		ret = virtio_pci_set_config_vector(&self->device, 0, error);
	for (unsigned i = 0; ret == 0 && i < self->queue_count; i++)
		if (self->queues[i].known)
			ret = queue_run(self, i, error);
	if (ret == 0)
		ret = virtio_pci_run(&self->device, error);
	self->running = ret == 0;
	return ret;
}

/* A vector each, or one for the queues and one for the configuration, or one: as Linux does. */
static int start_vfio(struct transport *transport, struct error *error)
{
	static const unsigned vectors_max[] = { VFIO_QUEUES_MAX + 1, 2, 1 };
	struct transport_vfio *self = self_of(transport);
	int ret = -ENOSPC;

	for (unsigned i = 0; ret == -ENOSPC && i < ARRAY_SIZE(vectors_max); i++) {
		if (i && device_stop(self, NULL) < 0)
			return ret;
		ret = device_run(self, vectors_max[i], error);
	}
	return ret;
}

/* ---- queues ---- */

/* Rung through the mapping where there is one, else by the kernel when the kick fd is signalled. */
static int doorbell_find(struct transport_vfio *self, unsigned index, struct error *error)
{
	struct vfio_queue *queue = &self->queues[index];
	uint64_t offset;
	unsigned bar;
	int ret = virtio_pci_queue_doorbell(&self->device, index, &bar, &offset, error);

	if (ret < 0)
		return ret;
	queue->doorbell.value = (uint16_t)index;
	queue->doorbell.reg = vfio_pci_bar_pointer(&self->function, bar, offset, sizeof(uint16_t));
	if (queue->doorbell.reg)
		return 0;
	return vfio_pci_bar_write_on_event(&self->function, bar, offset, sizeof(uint16_t), index,
					   queue->ring.kick_fd, error);
}

static int queue_start_vfio(struct transport *transport, unsigned index,
			    const struct transport_ring *ring, struct error *error)
{
	struct transport_vfio *self = self_of(transport);
	struct vfio_queue *queue;
	int ret;

	if (index >= self->queue_count)
		return error_set(error, -ENOENT, "the device has no queue %u", index);
	queue = &self->queues[index];
	queue->ring = *ring;
	ret = doorbell_find(self, index, error);
	if (ret < 0)
		return ret;
	if (self->running && !queue->known)
		return error_set(error, -EBUSY, "queue %u comes too late: the device runs", index);
	queue->known = true;
	return self->running ? queue_run(self, index, error) : 0;
}

static void queue_doorbell_vfio(const struct transport *transport, unsigned index,
				struct doorbell *ret_doorbell)
{
	*ret_doorbell = self_of(transport)->queues[index].doorbell;
}

static void queue_vector_vfio(const struct transport *transport, unsigned index,
			      struct transport_vector *ret_vector)
{
	const struct transport_vfio *self = self_of(transport);
	unsigned vector = transport_vfio_queue_vector(self, index);

	*ret_vector = (struct transport_vector){
		.address = self->function.address,
		.number = vector,
		.is_off = !transport_vfio_vector_is_wanted(self, vector),
	};
}

static int queue_stop_vfio(struct transport *transport, unsigned index, struct error *error)
{
	struct transport_vfio *self = self_of(transport);
	int ret = self->running ? device_stop(self, error) : 0;

	self->queues[index].known = false;
	return ret;
}

/* Its doorbell and vector stay; queue_start finds the device running. */
static int queue_reset_vfio(struct transport *transport, unsigned index, struct error *error)
{
	struct transport_vfio *self = self_of(transport);
	int ret;

	if (!self->running || index >= self->queue_count || !self->queues[index].known)
		return error_set(error, -ENOTSUP, "queue %u does not run", index);
	ret = virtio_pci_queue_reset(&self->device, index, error);
	if (ret == 0)
		self->queues[index].running = false;
	return ret;
}

static int reset_vfio(struct transport *transport, unsigned count, struct error *error)
{
	struct transport_vfio *self = self_of(transport);
	int ret = device_stop(self, error);

	for (unsigned i = 0; i < MIN(count, self->queue_count); i++)
		self->queues[i].known = false;
	return ret < 0 ? ret : negotiate(self, error);
}

/* ---- events ---- */

static int gone_fd_vfio(const struct transport *transport)
{
	return self_of(transport)->gone_fd;
}

static int event_fd_vfio(const struct transport *transport)
{
	return self_of(transport)->event_fd;
}

/* A device that wants a reset, or is not there any more, will finish nothing. */
static int event_vfio(struct transport *transport)
{
	struct transport_vfio *self = self_of(transport);
	uint8_t status;

	if (!event_fd_clear(self->event_fd))
		return 0;
	status = virtio_pci_status(&self->device);
	if (self->running && (status == STATUS_GONE || status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		event_fd_signal(self->gone_fd);
		return 0;
	}
	return 1;
}

/* ---- opening and closing ---- */

static void close_vfio(struct transport *transport)
{
	struct transport_vfio *self = self_of(transport);

	if (self->running || self->negotiated)
		device_stop(self, NULL);
	if (self->has_function) {
		transport_vfio_irqs_stop(self);
		vfio_pci_close(&self->function);
	}
	vfio_container_close(&self->container);
	fd_close(&self->event_fd);
	fd_close(&self->gone_fd);
	free(self->queues);
	free(self);
}

static const struct transport_ops ops_vfio = {
	.close = close_vfio,
	.get_facts = get_facts_vfio,
	.set_features = set_features_vfio,
	.get_config = get_config_vfio,
	.set_config = set_config_vfio,
	.mem_add = mem_add_vfio,
	.mem_remove = mem_remove_vfio,
	.queue_start = queue_start_vfio,
	.queue_doorbell = queue_doorbell_vfio,
	.queue_vector = queue_vector_vfio,
	.queue_mask = transport_vfio_queue_mask,
	.queue_unmask = transport_vfio_queue_unmask,
	.queue_stop = queue_stop_vfio,
	.queue_reset = queue_reset_vfio,
	.reset = reset_vfio,
	.start = start_vfio,
	.gone_fd = gone_fd_vfio,
	.event_fd = event_fd_vfio,
	.event = event_vfio,
};

static const char *kind_of(unsigned device_id)
{
	switch (device_id) {
	case VIRTIO_ID_BLOCK:
		return "virtio-blk (vfio-blk:)";
	case VIRTIO_ID_SCSI:
		return "virtio-scsi (vfio-scsi:)";
	default:
		return "no disk's";
	}
}

/* Without ACCESS_PLATFORM an emulated device takes addresses for physical ones and writes past the IOMMU. */
static int device_check(const struct transport_vfio *self, unsigned device_id, struct error *error)
{
	const char *address = self->function.address;

	if (self->device.device_id != device_id)
		return error_set(error, -ENODEV, "%s is of another kind: %s, device type %u",
				 address, kind_of(self->device.device_id), self->device.device_id);
	if (!(self->features >> VIRTIO_F_ACCESS_PLATFORM & 1))
		return error_set(
			error, -ENOTSUP,
			"%s does not offer VIRTIO_F_ACCESS_PLATFORM: it would reach memory "
			"around the IOMMU (QEMU: iommu_platform=on)",
			address);
	return 0;
}

static int queues_find(struct transport_vfio *self, struct error *error)
{
	unsigned size_max = UINT16_MAX;

	self->queue_count = MIN(virtio_pci_queue_count(&self->device), (unsigned)VFIO_QUEUES_MAX);
	self->queues = calloc(self->queue_count + 1, sizeof(*self->queues));
	if (!self->queues)
		return error_set(error, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < self->queue_count; i++)
		size_max = MIN(size_max, virtio_pci_queue_size_max(&self->device, i));
	if (!self->queue_count || size_max < QUEUE_SIZE_MIN)
		return error_set(error, -EPROTO, "%s has %u queues, the shortest of %u entries",
				 self->function.address, self->queue_count,
				 self->queue_count ? size_max : 0);
	self->queue_size_max = (uint16_t)size_max;
	return 0;
}

static int device_open(struct transport_vfio *self, unsigned device_id, unsigned timeout_ms,
		       struct error *error)
{
	int ret = virtio_pci_init(&self->access, timeout_ms, &self->device, error);

	if (ret < 0) {
		if (error)
			error_prefix(error, "%s", self->function.address);
		return ret;
	}
	ret = virtio_pci_reset(&self->device, error);
	if (ret == 0) {
		virtio_pci_greet(&self->device);
		self->features = virtio_pci_features(&self->device);
		ret = device_check(self, device_id, error);
	}
	return ret == 0 ? queues_find(self, error) : ret;
}

static int open_steps(struct transport_vfio *self, const struct vfio_kernel *kernel,
		      const char *address, unsigned device_id, unsigned timeout_ms,
		      struct error *error)
{
	int ret = vfio_container_open(kernel, address, &self->container, error);

	if (ret == 0)
		ret = vfio_pci_open(&self->container, address, &self->function, error);
	if (ret < 0)
		return ret;
	self->has_function = true;
	self->event_fd = event_fd_new();
	self->gone_fd = event_fd_new();
	ret = MIN(self->event_fd, self->gone_fd);
	if (ret < 0)
		return error_set(error, ret, "event fd: %s", strerrordesc_np(-ret));
	ret = transport_vfio_irqs_init(self, error);
	return ret == 0 ? device_open(self, device_id, timeout_ms, error) : ret;
}

int transport_vfio_open_on(const struct vfio_kernel *kernel, const char *address,
			   unsigned device_id, unsigned timeout_ms,
			   struct transport **ret_transport, struct error *error)
{
	struct transport_vfio *self;
	int ret;

	if (!vfio_address_is_valid(address))
		return error_set(error, -EINVAL,
				 "'%s' is no address of a PCI function: 0000:00:04.0 is", address);
	self = calloc(1, sizeof(*self));
	if (!self)
		return error_set(error, -ENOMEM, "out of memory");
	*self = (struct transport_vfio){
		.base = { .ops = &ops_vfio, .gone_events = POLLIN },
		.container = { .fd = -1, .group_fd = -1 },
		.access = { &access_ops },
		.event_fd = -1,
		.gone_fd = -1,
	};
	ret = open_steps(self, kernel, address, device_id, timeout_ms, error);
	if (ret < 0) {
		close_vfio(&self->base);
		return ret;
	}
	*ret_transport = &self->base;
	return 0;
}

int transport_vfio_open(const char *address, unsigned device_id, unsigned timeout_ms,
			struct transport **ret_transport, struct error *error)
{
	return transport_vfio_open_on(&vfio_kernel_real, address, device_id, timeout_ms,
				      ret_transport, error);
}
