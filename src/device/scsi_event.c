/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi: the event queue (virtio 1.3, 5.6.6.3): what the driver hears without having asked.
 *
 * Theory of operation. The driver leaves buffers in the ring, for as long as nothing happens; so nobody polls it, and a buffer is
 * taken when there is an event to put into it. An event that finds none is lost, but not silently: the next one says EVENTS_MISSED,
 * and if the driver brings buffers before there is another, NO_EVENT says it. Before the ring has run for the first time there is no
 * driver that could miss something: it will look at the LUNs that are there.
 *
 * LUNs are named as REPORT LUNS names them, because drivers (Linux) look them up by those very bytes.
 *
 * On the main loop, which serves this lane.
 */
#include "base/endian.h"
#include "base/iov.h"
#include "device/scsi_internal.h"

#define FEATURE(bit) (1ull << (bit))

struct event {
	struct le32 event;
	uint8_t lun[8];
	struct le32 reason;
} __attribute__((packed));

static_assert(sizeof(struct event) == sizeof(struct virtio_scsi_event), "virtio 1.3, 5.6.6.3");

/* ---- one event ---- */

static bool event_put(struct scsi_device *device, struct event event)
{
	struct lane_request *request = device->event.lane ? lane_take(device->event.lane) : NULL;
	const struct virtq_chain *chain;

	if (!request)
		return false;
	chain = &request->chain;
	if (device->event.missed)
		event.event = le32_make(le32_get(event.event) | VIRTIO_SCSI_T_EVENTS_MISSED);
	if (iov_from_buffer(request->iov + chain->readable_count, chain->writable_count, 0, &event,
			    sizeof(event)) < sizeof(event)) {
		lane_fail(request, "an event buffer that is too short");
		return false;
	}
	device->event.missed = false;
	lane_complete(request, sizeof(event));
	return true;
}

static void event_send(const struct scsi_lun *lun, uint32_t number, uint32_t reason)
{
	struct scsi_device *device = lun->device;
	uint16_t encoded = scsi_lun_encode(lun->lun);
	struct event event = {
		.event = le32_make(number),
		.lun = { 1, (uint8_t)lun->target, (uint8_t)(encoded >> 8), (uint8_t)encoded },
		.reason = le32_make(reason),
	};

	if (!event_put(device, event) && device->event.has_run)
		device->event.missed = true;
}

/* ---- what happens ---- */

static void event_transport_reset(const struct scsi_lun *lun, uint32_t reason)
{
	if (lun->device->acked & FEATURE(VIRTIO_SCSI_F_HOTPLUG))
		event_send(lun, VIRTIO_SCSI_T_TRANSPORT_RESET, reason);
}

void scsi_event_lun_added(const struct scsi_lun *lun)
{
	event_transport_reset(lun, VIRTIO_SCSI_EVT_RESET_RESCAN);
}

void scsi_event_lun_removed(const struct scsi_lun *lun)
{
	event_transport_reset(lun, VIRTIO_SCSI_EVT_RESET_REMOVED);
}

void scsi_event_capacity_changed(const struct scsi_lun *lun)
{
	uint32_t asc = SCSI_ASC_CAPACITY_CHANGED >> 8, ascq = SCSI_ASC_CAPACITY_CHANGED & 0xff;

	if (lun->device->acked & FEATURE(VIRTIO_SCSI_F_CHANGE))
		event_send(lun, VIRTIO_SCSI_T_PARAM_CHANGE, asc | ascq << 8);
}

/* ---- the lane ---- */

static int event_lane_start(struct lane *lane)
{
	struct scsi_device *device = lane_device(lane);

	assert(lane_loop(lane) == device->main_loop);
	device->event.lane = lane;
	return 0;
}

static void event_lane_stop(struct lane *lane)
{
	struct scsi_device *device = lane_device(lane);

	device->event.lane = NULL;
}

static void event_lane_kicked(struct lane *lane)
{
	struct scsi_device *device = lane_device(lane);

	device->event.has_run = true;
	if (device->event.missed)
		event_put(device, (struct event){ .event = le32_make(VIRTIO_SCSI_T_NO_EVENT) });
}

void scsi_event_reset(struct scsi_device *device)
{
	assert(!device->event.lane);
	device->event.has_run = device->event.missed = false;
}

const struct lane_ops *scsi_event_ops(void)
{
	static const struct lane_ops ops = {
		.request_size = sizeof(struct lane_request),
		.start = event_lane_start,
		.stop = event_lane_stop,
		.kicked = event_lane_kicked,
	};

	return &ops;
}
