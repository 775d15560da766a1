// SPDX-License-Identifier: MIT
/*
 * See virtio_pci.h. The capabilities are in virtio_pci_caps.c.
 *
 * System calls: poll (sleeps a millisecond at a time while a reset goes on).
 */
#include "driver/virtio_pci.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/overflow.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <string.h>

#define QUEUE_SIZE_MAX 32768 /* virtio 1.3, 2.7 */
#define STATUS_GONE 0xff     /* all ones: nobody answers */
#define CONFIG_TRIES 64      /* of reading a configuration that changes */
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

/* ---- registers ---- */

static uint32_t read_at(const struct virtio_pci *pci, const struct virtio_pci_window *window,
			uint32_t offset, unsigned width)
{
	return pci->access->ops->read(pci->access, window->bar, window->offset + offset, width);
}

static uint8_t common_read8(const struct virtio_pci *pci, size_t offset)
{
	return (uint8_t)read_at(pci, &pci->common, (uint32_t)offset, 1);
}

static uint16_t common_read16(const struct virtio_pci *pci, size_t offset)
{
	return (uint16_t)read_at(pci, &pci->common, (uint32_t)offset, 2);
}

static uint32_t common_read32(const struct virtio_pci *pci, size_t offset)
{
	return read_at(pci, &pci->common, (uint32_t)offset, 4);
}

static void common_write(const struct virtio_pci *pci, size_t offset, unsigned width,
			 uint32_t value)
{
	pci->access->ops->write(pci->access, pci->common.bar, pci->common.offset + offset, width,
				value);
}

static void common_write64(const struct virtio_pci *pci, size_t offset, uint64_t value)
{
	common_write(pci, offset, 4, (uint32_t)value);
	common_write(pci, offset + 4, 4, (uint32_t)(value >> 32));
}

/* ---- status ---- */

static int gone(struct error *error)
{
	return error_set(error, -ENODEV,
			 "the device does not answer any more: it has been removed");
}

uint8_t virtio_pci_status(const struct virtio_pci *pci)
{
	return common_read8(pci, COMMON(device_status));
}

static void status_add(const struct virtio_pci *pci, uint8_t bits)
{
	common_write(pci, COMMON(device_status), 1, virtio_pci_status(pci) | bits);
}

/* True: the register has become 0 (or all ones, the device is gone) before the deadline. */
static bool wait_zero(const struct virtio_pci *pci, size_t offset, unsigned width,
		      uint32_t *ret_value)
{
	uint64_t end = clock_ns() + pci->timeout_ms * NS_PER_MS;
	uint32_t ones = UINT32_MAX >> (32 - 8 * width);

	for (;;) {
		bool is_over = clock_ns() >= end;

		*ret_value = read_at(pci, &pci->common, (uint32_t)offset, width);
		if (*ret_value == 0 || *ret_value == ones)
			return true;
		if (is_over)
			return false;
		poll(NULL, 0, 1);
	}
}

int virtio_pci_reset(const struct virtio_pci *pci, struct error *error)
{
	uint32_t status;

	common_write(pci, COMMON(device_status), 1, 0);
	if (!wait_zero(pci, COMMON(device_status), 1, &status))
		return error_set(
			error, -ETIMEDOUT,
			"the device has not finished its reset within %u ms (status 0x%02x)",
			pci->timeout_ms, status);
	return status == STATUS_GONE ? gone(error) : 0;
}

void virtio_pci_greet(const struct virtio_pci *pci)
{
	status_add(pci, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	status_add(pci, VIRTIO_CONFIG_S_DRIVER);
}

int virtio_pci_run(const struct virtio_pci *pci, struct error *error)
{
	uint8_t status;

	status_add(pci, VIRTIO_CONFIG_S_DRIVER_OK);
	status = virtio_pci_status(pci);
	if (status == STATUS_GONE)
		return gone(error);
	if (!(status & VIRTIO_CONFIG_S_DRIVER_OK) || (status & VIRTIO_CONFIG_S_NEEDS_RESET))
		return error_set(error, -EIO, "the device does not start (status 0x%02x)", status);
	return 0;
}

/* ---- features ---- */

uint64_t virtio_pci_features(const struct virtio_pci *pci)
{
	uint64_t features;

	common_write(pci, COMMON(device_feature_select), 4, 1);
	features = (uint64_t)common_read32(pci, COMMON(device_feature)) << 32;
	common_write(pci, COMMON(device_feature_select), 4, 0);
	features |= common_read32(pci, COMMON(device_feature));
	if (pci->common.length < VIRTIO_PCI_COMMON_Q_RESET + sizeof(uint16_t))
		features &= ~(1ull << VIRTIO_F_RING_RESET);
	return features;
}

int virtio_pci_set_features(const struct virtio_pci *pci, uint64_t features, struct error *error)
{
	uint8_t status;

	for (uint32_t i = 0; i < 2; i++) {
		common_write(pci, COMMON(guest_feature_select), 4, i);
		common_write(pci, COMMON(guest_feature), 4, (uint32_t)(features >> (32 * i)));
	}
	status_add(pci, VIRTIO_CONFIG_S_FEATURES_OK);
	status = virtio_pci_status(pci);
	if (status == STATUS_GONE)
		return gone(error);
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return error_set(error, -ENOTSUP, "the device does not accept the features 0x%llx",
				 (unsigned long long)features);
	return 0;
}

/* ---- configuration ---- */

/* The widths of the fields of a device's configuration (virtio 1.3, 5.2.4 and 5.6.4), 64 bits being two halves. */
static const char *config_widths(unsigned device_id)
{
	switch (device_id) {
	case VIRTIO_ID_BLOCK:
		return "44"         /* capacity */
		       "44"         /* size_max, seg_max */
		       "211"        /* geometry */
		       "4"          /* blk_size */
		       "1124"       /* topology */
		       "11"         /* writeback, unused */
		       "2"          /* num_queues */
		       "444"        /* discard */
		       "441111"     /* write zeroes */
		       "444"        /* secure erase */
		       "444441111"; /* zoned */
	case VIRTIO_ID_SCSI:
		return "4444444" /* num_queues to cdb_size */
		       "22"      /* max_channel, max_target */
		       "4";      /* max_lun */
	default:
		return "";
	}
}

/* What is behind the fields that are known is read byte by byte. */
static uint32_t config_read_once(const struct virtio_pci *pci, uint8_t *bytes, uint32_t size)
{
	const char *widths = config_widths(pci->device_id);
	uint32_t offset = 0, width;

	size = MIN(size, pci->device.length);
	for (; offset < size; offset += width) {
		uint32_t value;

		width = *widths ? (uint32_t)(*widths++ - '0') : 1;
		if (width > size - offset)
			break;
		value = htole32(read_at(pci, &pci->device, offset, width));
		memcpy(bytes + offset, &value, width);
	}
	return offset;
}

int virtio_pci_get_config(const struct virtio_pci *pci, void *bytes, uint32_t size,
			  uint32_t *ret_size, struct error *error)
{
	memset(bytes, 0, size);
	if (!pci->device.length)
		return error_set(error, -ENOTSUP, "the device has no configuration");
	for (unsigned i = 0; i < CONFIG_TRIES; i++) {
		uint8_t before = common_read8(pci, COMMON(config_generation));
		uint32_t got = config_read_once(pci, bytes, size);

		if (common_read8(pci, COMMON(config_generation)) != before)
			continue;
		if (virtio_pci_status(pci) == STATUS_GONE)
			return gone(error);
		*ret_size = got;
		return 0;
	}
	return error_set(error, -EPROTO, "the device's configuration changes all the time");
}

/* The width of the field that begins at offset; 0: none does. */
static uint32_t config_width_at(const struct virtio_pci *pci, uint32_t offset)
{
	const char *widths = config_widths(pci->device_id);
	uint32_t at = 0;

	while (*widths && at < offset)
		at += (uint32_t)(*widths++ - '0');
	return *widths && at == offset ? (uint32_t)(*widths - '0') : 0;
}

int virtio_pci_set_config(const struct virtio_pci *pci, uint32_t offset, const void *bytes,
			  uint32_t size, struct error *error)
{
	const uint8_t *from = bytes;
	uint32_t width;

	if (!pci->device.length)
		return error_set(error, -ENOTSUP, "the device has no configuration");
	for (; size; size -= width, offset += width, from += width) {
		uint32_t value = 0;

		width = config_width_at(pci, offset);
		if (!width || width > size || !range_fits(offset, width, pci->device.length))
			return error_set(
				error, -EINVAL,
				"the device's configuration has no field of %u bytes at %u", size,
				offset);
		memcpy(&value, from, width);
		pci->access->ops->write(pci->access, pci->device.bar, pci->device.offset + offset,
					width, le32toh(value));
	}
	return 0;
}

int virtio_pci_set_config_vector(const struct virtio_pci *pci, uint16_t vector, struct error *error)
{
	common_write(pci, COMMON(msix_config), 2, vector);
	if (common_read16(pci, COMMON(msix_config)) != vector)
		return error_set(error, -ENOSPC,
				 "the device refuses vector %u for changes of its configuration",
				 vector);
	return 0;
}

/* ---- queues ---- */

unsigned virtio_pci_queue_count(const struct virtio_pci *pci)
{
	return common_read16(pci, COMMON(num_queues));
}

static void queue_select(const struct virtio_pci *pci, unsigned index)
{
	common_write(pci, COMMON(queue_select), 2, index);
}

uint16_t virtio_pci_queue_size_max(const struct virtio_pci *pci, unsigned index)
{
	unsigned size, power = 1;

	if (index >= virtio_pci_queue_count(pci))
		return 0;
	queue_select(pci, index);
	size = common_read16(pci, COMMON(queue_size));
	if (!size || size > QUEUE_SIZE_MAX)
		return 0;
	while (power * 2 <= size)
		power *= 2;
	return (uint16_t)power;
}

static int size_set(const struct virtio_pci *pci, unsigned index, uint16_t size,
		    struct error *error)
{
	uint16_t max = virtio_pci_queue_size_max(pci, index);

	if (!max)
		return error_set(error, -ENOENT, "the device has no queue %u", index);
	if (common_read16(pci, COMMON(queue_enable)))
		return error_set(error, -EBUSY, "queue %u is running already", index);
	if (size > max)
		return error_set(error, -EINVAL, "queue %u takes %u entries, not %u", index, max,
				 size);
	common_write(pci, COMMON(queue_size), 2, size);
	if (common_read16(pci, COMMON(queue_size)) != size)
		return error_set(error, -EPROTO, "queue %u does not take %u entries", index, size);
	return 0;
}

static int vector_set(const struct virtio_pci *pci, unsigned index, uint16_t vector,
		      struct error *error)
{
	common_write(pci, COMMON(queue_msix_vector), 2, vector);
	if (common_read16(pci, COMMON(queue_msix_vector)) != vector)
		return error_set(error, -ENOSPC, "the device refuses vector %u for queue %u",
				 vector, index);
	return 0;
}

int virtio_pci_queue_start(const struct virtio_pci *pci, unsigned index,
			   const struct virtio_pci_queue *queue, struct error *error)
{
	int ret = size_set(pci, index, queue->size, error);

	if (ret == 0)
		ret = vector_set(pci, index, queue->vector, error);
	if (ret < 0)
		return ret;
	common_write64(pci, COMMON(queue_desc_lo), queue->desc);
	common_write64(pci, COMMON(queue_avail_lo), queue->avail);
	common_write64(pci, COMMON(queue_used_lo), queue->used);
	common_write(pci, COMMON(queue_enable), 2, 1);
	if (common_read16(pci, COMMON(queue_enable)) != 1)
		return error_set(error, -EPROTO, "queue %u cannot be enabled", index);
	return 0;
}

int virtio_pci_queue_reset(const struct virtio_pci *pci, unsigned index, struct error *error)
{
	uint32_t value;

	if (pci->common.length < VIRTIO_PCI_COMMON_Q_RESET + sizeof(uint16_t))
		return error_set(error, -ENOTSUP, "the device cannot reset a queue alone");
	queue_select(pci, index);
	common_write(pci, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	if (!wait_zero(pci, VIRTIO_PCI_COMMON_Q_RESET, 2, &value) ||
	    !wait_zero(pci, COMMON(queue_enable), 2, &value))
		return error_set(error, -ETIMEDOUT,
				 "the device has not finished the reset of queue %u within %u ms",
				 index, pci->timeout_ms);
	return value ? gone(error) : 0;
}

/* virtio 1.3, 4.1.4.4 */
int virtio_pci_queue_doorbell(const struct virtio_pci *pci, unsigned index, unsigned *ret_bar,
			      uint64_t *ret_offset, struct error *error)
{
	uint64_t offset;

	queue_select(pci, index);
	offset = (uint64_t)common_read16(pci, COMMON(queue_notify_off)) * pci->notify_multiplier;
	if (!range_fits(offset, sizeof(uint16_t), pci->notify.length) || offset % 2)
		return error_set(error, -EPROTO,
				 "the doorbell of queue %u is at %llu, outside of %u bytes", index,
				 (unsigned long long)offset, pci->notify.length);
	*ret_bar = pci->notify.bar;
	*ret_offset = pci->notify.offset + offset;
	return 0;
}
