// SPDX-License-Identifier: MIT
/* See fake_pci.h. */
#include "driver/fake_pci.h"

#include "base/compiler.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define CAPS_AT 0x40
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)
#define COMMON_SIZE 60
#define ISR_AT 0x80

static void rule(struct fake_pci *fake, bool kept, const char *name)
{
	if (!kept && !fake->broken)
		fake->broken = name;
}

/* ---- configuration space ---- */

static int space_read(const struct virtio_pci_access *access, uint32_t offset, unsigned size,
		      uint32_t *ret_value)
{
	const struct fake_pci *fake = container_of(access, struct fake_pci, access);
	uint32_t value = 0;

	if (offset + size > sizeof(fake->space))
		return -EINVAL;
	memcpy(&value, fake->space + offset, size);
	*ret_value = le32toh(value);
	return 0;
}

static void space_put(struct fake_pci *fake, unsigned offset, unsigned size, uint32_t value)
{
	uint32_t raw = htole32(value);

	memcpy(fake->space + offset, &raw, size);
}

unsigned fake_pci_cap_add(struct fake_pci *fake, const struct fake_pci_cap *cap)
{
	unsigned at = fake->cap_end;
	bool notify = cap->type == VIRTIO_PCI_CAP_NOTIFY_CFG;

	space_put(fake, fake->cap_last ? fake->cap_last + 1 : PCI_CAPABILITY_LIST, 1, at);
	space_put(fake, at, 1, PCI_CAP_ID_VNDR);
	space_put(fake, at + 2, 1, cap->cap_length ? cap->cap_length : notify ? 20 : 16);
	space_put(fake, at + 3, 1, cap->type);
	space_put(fake, at + 4, 1, cap->bar);
	space_put(fake, at + 8, 4, cap->offset);
	space_put(fake, at + 12, 4, cap->length);
	space_put(fake, at + 16, 4, cap->multiplier);
	fake->cap_last = at;
	fake->cap_end = at + 20;
	return at;
}

/* ---- registers of the device ---- */

static void device_reset(struct fake_pci *fake)
{
	fake->resets++;
	fake->reads_left = fake->slow;
	fake->acked = 0;
	fake->status = fake->trick == FAKE_PCI_NEVER_RESETS ? fake->status | 1 : 0;
	fake->config_vector = VIRTIO_PCI_NO_VECTOR;
	for (unsigned i = 0; i < FAKE_PCI_QUEUES_MAX; i++) {
		struct fake_pci_queue *queue = &fake->queues[i];

		*queue = (struct fake_pci_queue){ .size_max = queue->size_max,
						  .notify_off = queue->notify_off,
						  .size = queue->size_max,
						  .vector = VIRTIO_PCI_NO_VECTOR };
	}
	if (fake->on_reset)
		fake->on_reset(fake->owner);
}

static void status_write(struct fake_pci *fake, uint8_t value)
{
	uint8_t added = value & ~fake->status;

	if (!value) {
		device_reset(fake);
		return;
	}
	rule(fake, !fake->reads_left && (value & fake->status) == fake->status,
	     "status bits are only added, to a device that has been reset");
	rule(fake,
	     !(added & VIRTIO_CONFIG_S_DRIVER_OK) || (fake->status & VIRTIO_CONFIG_S_FEATURES_OK),
	     "DRIVER_OK after FEATURES_OK");
	if (fake->trick == FAKE_PCI_REFUSES_FEATURES)
		value &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (fake->trick == FAKE_PCI_NEEDS_RESET && (added & VIRTIO_CONFIG_S_DRIVER_OK))
		value |= VIRTIO_CONFIG_S_NEEDS_RESET;
	fake->status = value;
}

static uint8_t status_read(struct fake_pci *fake)
{
	if (!fake->reads_left)
		return fake->status;
	fake->reads_left--;
	return fake->status | VIRTIO_CONFIG_S_ACKNOWLEDGE;
}

static uint16_t vector_take(const struct fake_pci *fake, uint32_t value)
{
	if (fake->trick == FAKE_PCI_REFUSES_VECTORS || value >= fake->vector_count)
		return VIRTIO_PCI_NO_VECTOR;
	return (uint16_t)value;
}

/* ---- registers of a queue ---- */

static void half_write(uint64_t *address, bool high, uint32_t value)
{
	uint64_t keep = high ? 0xffffffffull : ~0xffffffffull;

	*address = (*address & keep) | (uint64_t)value << (high ? 32 : 0);
}

static void enable_write(struct fake_pci *fake, struct fake_pci_queue *queue, uint32_t value)
{
	rule(fake, value == 1, "queue_enable is never written 0");
	rule(fake, fake->status & VIRTIO_CONFIG_S_FEATURES_OK, "queues after FEATURES_OK");
	rule(fake, queue->desc && queue->avail && queue->used, "addresses before queue_enable");
	if (fake->trick != FAKE_PCI_NEVER_ENABLES)
		queue->enable = 1;
}

static void queue_write(struct fake_pci *fake, struct fake_pci_queue *queue, uint64_t offset,
			uint32_t value)
{
	bool high = offset % 8 != 0;

	rule(fake, !queue->enable || offset == VIRTIO_PCI_COMMON_Q_RESET,
	     "a running queue is left alone");
	switch (offset) {
	case COMMON(queue_size):
		if (fake->trick != FAKE_PCI_FORGETS_SIZE)
			queue->size = (uint16_t)value;
		return;
	case COMMON(queue_msix_vector):
		queue->vector = vector_take(fake, value);
		return;
	case COMMON(queue_enable):
		enable_write(fake, queue, value);
		return;
	case VIRTIO_PCI_COMMON_Q_RESET:
		rule(fake, fake->acked >> VIRTIO_F_RING_RESET & 1, "queue_reset is negotiated");
		fake->reads_left = fake->slow;
		if (fake->trick == FAKE_PCI_NEVER_RESETS_QUEUES)
			queue->reset = 1;
		else
			queue->enable = 0;
		return;
	}
	if (offset >= COMMON(queue_used_lo))
		half_write(&queue->used, high, value);
	else if (offset >= COMMON(queue_avail_lo))
		half_write(&queue->avail, high, value);
	else
		half_write(&queue->desc, high, value);
}

static uint32_t queue_read(struct fake_pci *fake, const struct fake_pci_queue *queue,
			   uint64_t offset)
{
	switch (offset) {
	case COMMON(queue_size):
		return queue->size;
	case COMMON(queue_msix_vector):
		return queue->vector;
	case COMMON(queue_enable):
		return queue->enable;
	case COMMON(queue_notify_off):
		return queue->notify_off;
	case VIRTIO_PCI_COMMON_Q_RESET:
		if (!fake->reads_left)
			return queue->reset;
		fake->reads_left--;
		return 1;
	}
	rule(fake, false, "nobody needs to read this");
	return 0;
}

/* ---- all registers ---- */

static unsigned common_width(uint64_t offset)
{
	if (offset < COMMON(msix_config))
		return 4;
	if (offset == COMMON(device_status) || offset == COMMON(config_generation))
		return 1;
	if (offset < COMMON(queue_desc_lo) || offset >= 56)
		return 2;
	return 4;
}

static struct fake_pci_queue *queue_selected(struct fake_pci *fake)
{
	static struct fake_pci_queue none;

	none = (struct fake_pci_queue){ 0 };
	return fake->queue_select < fake->queue_count ? &fake->queues[fake->queue_select] : &none;
}

static uint32_t common_read(struct fake_pci *fake, uint64_t offset)
{
	switch (offset) {
	case COMMON(device_feature):
		return fake->device_select > 1 ?
			       0 :
			       (uint32_t)(fake->features >> (32 * fake->device_select));
	case COMMON(num_queues):
		return fake->queue_count;
	case COMMON(device_status):
		return status_read(fake);
	case COMMON(config_generation):
		return fake->generation;
	case COMMON(msix_config):
		return fake->config_vector;
	}
	return queue_read(fake, queue_selected(fake), offset);
}

static uint32_t config_read(struct fake_pci *fake, uint64_t offset, unsigned width)
{
	uint32_t value = 0;

	rule(fake, offset + width <= fake->config_length, "the configuration's length");
	memcpy(&value, fake->config + offset, width);
	if (fake->trick == FAKE_PCI_CONFIG_CHANGES_ALWAYS)
		fake_pci_config_change(fake);
	if (fake->trick == FAKE_PCI_CONFIG_CHANGES_ONCE && offset > 0) {
		fake_pci_config_change(fake);
		fake->trick = FAKE_PCI_HONEST;
	}
	return le32toh(value);
}

static void config_write(struct fake_pci *fake, uint64_t offset, unsigned width, uint32_t value)
{
	uint32_t raw = htole32(value);

	rule(fake, offset % width == 0 && offset + width <= fake->config_length,
	     "the configuration's length");
	memcpy(fake->config + offset, &raw, width);
}

void fake_pci_config_change(struct fake_pci *fake)
{
	fake->config[0]++;
	fake->generation++;
}

uint32_t fake_pci_read(void *owner, uint64_t offset, unsigned width)
{
	struct fake_pci *fake = owner;

	if (fake->trick == FAKE_PCI_GONE)
		return UINT32_MAX >> (32 - 8 * width);
	rule(fake, offset % width == 0, "accesses are aligned");
	rule(fake, offset != ISR_AT, "the interrupt status is left alone");
	if (offset >= FAKE_PCI_DEVICE_AT)
		return config_read(fake, offset - FAKE_PCI_DEVICE_AT, width);
	rule(fake, offset < COMMON_SIZE && width == common_width(offset),
	     "accesses have the width of the field");
	return common_read(fake, offset);
}

void fake_pci_write(void *owner, uint64_t offset, unsigned width, uint32_t value)
{
	struct fake_pci *fake = owner;

	if (fake->trick == FAKE_PCI_GONE)
		return;
	if (offset >= FAKE_PCI_DEVICE_AT) {
		config_write(fake, offset - FAKE_PCI_DEVICE_AT, width, value);
		return;
	}
	rule(fake, offset < COMMON_SIZE && width == common_width(offset),
	     "accesses have the width of the field");
	switch (offset) {
	case COMMON(device_feature_select):
		fake->device_select = value;
		return;
	case COMMON(guest_feature_select):
		fake->driver_select = value;
		return;
	case COMMON(guest_feature):
		rule(fake, !(fake->status & VIRTIO_CONFIG_S_FEATURES_OK), "features are final");
		half_write(&fake->acked, fake->driver_select, value);
		return;
	case COMMON(msix_config):
		fake->config_vector = vector_take(fake, value);
		return;
	case COMMON(device_status):
		status_write(fake, (uint8_t)value);
		return;
	case COMMON(queue_select):
		fake->queue_select = (uint16_t)value;
		return;
	}
	queue_write(fake, queue_selected(fake), offset, value);
}

/* ---- the face that unit tests use ---- */

static uint64_t bar_size(const struct virtio_pci_access *access, unsigned bar)
{
	return container_of(access, struct fake_pci, access)->bar_sizes[bar];
}

static uint32_t access_read(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
			    unsigned width)
{
	return fake_pci_read(container_of(access, struct fake_pci, access), offset, width);
}

static void access_write(const struct virtio_pci_access *access, unsigned bar, uint64_t offset,
			 unsigned width, uint32_t value)
{
	fake_pci_write(container_of(access, struct fake_pci, access), offset, width, value);
}

static const struct virtio_pci_access_ops access_ops = {
	.config_read = space_read,
	.bar_size = bar_size,
	.read = access_read,
	.write = access_write,
};

void fake_pci_init_bare(struct fake_pci *fake, unsigned device_id)
{
	*fake = (struct fake_pci){
		.access = { &access_ops },
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
			    1ull << VIRTIO_F_RING_RESET,
		.config_length = 60,
		.queue_count = 3,
		.vector_count = 4,
		.cap_end = CAPS_AT,
		.config_vector = VIRTIO_PCI_NO_VECTOR,
	};
	fake->bar_sizes[FAKE_PCI_REGISTERS] = FAKE_PCI_BAR_SIZE;
	fake->bar_sizes[FAKE_PCI_DOORBELLS] = FAKE_PCI_BAR_SIZE;
	space_put(fake, PCI_VENDOR_ID, 2, 0x1af4);
	space_put(fake, PCI_DEVICE_ID, 2, 0x1040 + device_id);
	space_put(fake, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	for (uint16_t i = 0; i < FAKE_PCI_QUEUES_MAX; i++)
		fake->queues[i] = (struct fake_pci_queue){ .size_max = 256,
							   .size = 256,
							   .vector = VIRTIO_PCI_NO_VECTOR,
							   .notify_off = i };
}

void fake_pci_init(struct fake_pci *fake, unsigned device_id)
{
	fake_pci_init_bare(fake, device_id);
	fake_pci_cap_add(fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_COMMON_CFG,
						       .bar = FAKE_PCI_REGISTERS,
						       .length = COMMON_SIZE });
	fake_pci_cap_add(fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_NOTIFY_CFG,
						       .bar = FAKE_PCI_DOORBELLS,
						       .offset = FAKE_PCI_NOTIFY_AT,
						       .length = 64,
						       .multiplier = FAKE_PCI_MULTIPLIER });
	fake_pci_cap_add(fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_ISR_CFG,
						       .bar = FAKE_PCI_REGISTERS,
						       .offset = ISR_AT,
						       .length = 1 });
	fake_pci_cap_add(fake, &(struct fake_pci_cap){ .type = VIRTIO_PCI_CAP_DEVICE_CFG,
						       .bar = FAKE_PCI_REGISTERS,
						       .offset = FAKE_PCI_DEVICE_AT,
						       .length = fake->config_length });
}
