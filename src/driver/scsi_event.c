// SPDX-License-Identifier: MIT
/*
 * The event queue (virtio 1.3, 5.6.6.3): what the device says without having been asked.
 *
 * Theory of operation. 16 buffers are with the device; each that comes back is copied, given back at once, and put into words. What
 * the caller has not asked for yet waits in a list of its own: when that is full, the caller will hear that events were missed, as
 * it does when the device says so. EVENTS_MISSED is a bit beside the number of the event, and an event that makes no sense is
 * taken for a missed one: looking again is always right.
 *
 * The owner's thread.
 */
#include "base/endian.h"
#include "base/fd.h"
#include "driver/device.h"
#include "driver/scsi.h"

#include <errno.h>
#include <string.h>

/* At one go; a device that always has another one must not keep us here. */
#define EVENTS_PER_TURN (2 * SCSI_EVENT_BUFFERS)

#define ASC_PARAMETERS_CHANGED 0x2a

struct event {
	struct le32 event;
	uint8_t lun[8];
	struct le32 reason;
} __attribute__((packed));

static_assert(sizeof(struct event) == sizeof(struct virtio_scsi_event), "virtio 1.3, 5.6.6.3");
static_assert(offsetof(struct event, lun) == 4 && offsetof(struct event, reason) == 12,
	      "virtio 1.3, 5.6.6.3");

/* ---- the list ---- */

static void event_keep(struct scsi_events *events, const struct ringlane_scsi_event *event)
{
	if (events->count == SCSI_EVENTS_KEPT) {
		events->lost = true;
		return;
	}
	events->kept[(events->first + events->count++) % SCSI_EVENTS_KEPT] = *event;
}

static void event_keep_missed(struct scsi_events *events)
{
	event_keep(events, &(struct ringlane_scsi_event){ .type = RINGLANE_SCSI_MISSED });
}

/* ---- one event ---- */

/* The three reasons of a transport reset, or MISSED. */
static enum ringlane_scsi_event_type type_of_reset(uint32_t reason)
{
	switch (reason) {
	case VIRTIO_SCSI_EVT_RESET_HARD:
		return RINGLANE_SCSI_RESET_HARD;
	case VIRTIO_SCSI_EVT_RESET_RESCAN:
		return RINGLANE_SCSI_RESCAN;
	case VIRTIO_SCSI_EVT_RESET_REMOVED:
		return RINGLANE_SCSI_REMOVED;
	}
	return RINGLANE_SCSI_MISSED;
}

static enum ringlane_scsi_event_type type_of(uint32_t number, uint32_t reason)
{
	switch (number) {
	case VIRTIO_SCSI_T_TRANSPORT_RESET:
		return type_of_reset(reason);
	case VIRTIO_SCSI_T_ASYNC_NOTIFY:
		return RINGLANE_SCSI_ASYNC_NOTIFY;
	case VIRTIO_SCSI_T_PARAM_CHANGE:
		return RINGLANE_SCSI_PARAM_CHANGE;
	}
	return RINGLANE_SCSI_MISSED;
}

/* The address method is not always there (virtio 1.3, 5.6.6.1 has it, events of some devices do not). */
static bool event_address(const uint8_t lun[8], struct ringlane_scsi_event *event)
{
	event->target = lun[1];
	event->lun = (uint16_t)((lun[2] & 0x3f) << 8 | lun[3]);
	return lun[0] == 1;
}

static void event_handle(struct scsi_events *events, const struct event *wire)
{
	uint32_t number = le32_get(wire->event), reason = le32_get(wire->reason);
	struct ringlane_scsi_event event = { .reason = reason };

	if (number & VIRTIO_SCSI_T_EVENTS_MISSED)
		event_keep_missed(events);
	number &= ~VIRTIO_SCSI_T_EVENTS_MISSED;
	if (number == VIRTIO_SCSI_T_NO_EVENT)
		return;
	event.type = type_of(number, reason);
	if (event.type == RINGLANE_SCSI_MISSED || !event_address(wire->lun, &event)) {
		event_keep_missed(events);
		return;
	}
	if (event.type == RINGLANE_SCSI_PARAM_CHANGE) {
		event.asc = (uint8_t)reason;
		event.ascq = (uint8_t)(reason >> 8);
	}
	event_keep(events, &event);
}

/* ---- the ring ---- */

static int buffer_post(struct ringlane_queue *queue)
{
	const uint8_t *buffer = queue_request(queue, queue->ring.free_head);
	const struct virtq_sg sg = { queue_shared_addr(queue, buffer), sizeof(struct event) };
	uint16_t id;

	return virtq_driver_add(&queue->ring, &sg, 0, 1, &id);
}

/* 1: one was there. */
static int event_take_one(struct ringlane_queue *queue, struct scsi_events *events)
{
	struct event wire;
	uint32_t written;
	uint16_t id;
	int ret = virtq_driver_take(&queue->ring, &id, &written);

	if (ret <= 0)
		return ret;
	memcpy(&wire, queue_request(queue, id), sizeof(wire));
	if (written < sizeof(wire))
		event_keep_missed(events);
	else
		event_handle(events, &wire);
	ret = buffer_post(queue);
	return ret < 0 ? ret : 1;
}

int scsi_event_start(struct ringlane_device *device, struct error *error)
{
	struct ringlane_queue *queue = device->scsi.event;
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < SCSI_EVENT_BUFFERS; i++)
		ret = buffer_post(queue);
	if (ret < 0)
		return error_set(error, ret, "no buffers for events");
	virtq_driver_calls_enable(&queue->ring, 0);
	ringlane_submit(queue);
	return 0;
}

int scsi_event_take(struct ringlane_device *device)
{
	struct ringlane_queue *queue = device->scsi.event;
	unsigned count = 0;
	int ret;

	event_fd_clear(queue->call_fd);
	do {
		ret = event_take_one(queue, &device->scsi.events);
		count += ret > 0;
	} while (ret > 0 && count < EVENTS_PER_TURN);
	if (ret < 0)
		return ret;
	ringlane_submit(queue);
	if (virtq_driver_calls_enable(&queue->ring, 0))
		event_fd_signal(queue->call_fd);
	return count > 0;
}

int ringlane_scsi_event(struct ringlane_device *device, struct ringlane_scsi_event *ret_event)
{
	struct scsi_events *events = &device->scsi.events;

	if (device->kind != DEVICE_SCSI)
		return -ENOTSUP;
	if (events->count) {
		*ret_event = events->kept[events->first];
		events->first = (events->first + 1) % SCSI_EVENTS_KEPT;
		events->count--;
		return 1;
	}
	if (!events->lost)
		return device->scsi.event->ring.broken ? -EPROTO : 0;
	events->lost = false;
	*ret_event = (struct ringlane_scsi_event){ .type = RINGLANE_SCSI_MISSED };
	return 1;
}
