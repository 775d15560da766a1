// SPDX-License-Identifier: MIT
/*
 * The control queue (virtio 1.3, 5.6.6.2): task management functions, each waited for with a deadline, because there are back
 * ends that never answer. Request and response of one that was given up stay the device's until it does.
 *
 * The owner's thread.
 */
#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "driver/device.h"
#include "driver/scsi.h"

#include <errno.h>
#include <string.h>

struct tmf {
	struct le32 type, subtype;
	uint64_t lun;
	struct le64 tag;
};

static_assert(sizeof(struct tmf) == sizeof(struct virtio_scsi_ctrl_tmf_req), "virtio 1.3, 5.6.6.2");
static_assert(offsetof(struct tmf, lun) == 8, "virtio 1.3, 5.6.6.2");

static int result_of(uint8_t response)
{
	switch (response) {
	case VIRTIO_SCSI_S_OK: /* FUNCTION COMPLETE */
		return 0;
	case VIRTIO_SCSI_S_FUNCTION_SUCCEEDED:
		return 1;
	case VIRTIO_SCSI_S_FUNCTION_REJECTED:
		return -EOPNOTSUPP;
	case VIRTIO_SCSI_S_BAD_TARGET:
	case VIRTIO_SCSI_S_INCORRECT_LUN:
		return -ENXIO;
	case VIRTIO_SCSI_S_BUSY:
		return -EBUSY;
	case RINGLANE_SCSI_NONE:
		return -EPROTO;
	}
	return -EIO;
}

/* Takes what was answered, those that were given up included. 0 or -EPROTO. */
static int control_take(struct ringlane_device *device)
{
	struct ringlane_queue *queue = device->scsi.control;
	uint32_t written;
	uint16_t id;
	int ret;

	while ((ret = virtq_driver_take(&queue->ring, &id, &written)) > 0)
		device->scsi.slots[id].done = true;
	return ret;
}

static int control_add(struct ringlane_device *device, const struct tmf *tmf)
{
	struct ringlane_queue *queue = device->scsi.control;
	uint16_t id = queue->ring.free_head;
	uint8_t *request = queue_request(queue, id), *response = queue_response(queue, id);
	const struct virtq_sg sg[] = { { queue_shared_addr(queue, request), sizeof(*tmf) },
				       { queue_shared_addr(queue, response), 1 } };
	int ret;

	memcpy(request, tmf, sizeof(*tmf));
	store_relaxed(response, RINGLANE_SCSI_NONE);
	ret = virtq_driver_add(&queue->ring, sg, 1, 1, &id);
	if (ret < 0)
		return ret == -ENOSPC ? -EBUSY : ret;
	device->scsi.slots[id].done = false;
	return id;
}

static int control_wait(struct ringlane_device *device, unsigned id, uint64_t deadline)
{
	struct ringlane_queue *queue = device->scsi.control;

	for (;;) {
		int ret = control_take(device);

		if (device->scsi.slots[id].done)
			return result_of(load_relaxed(queue_response(queue, id)));
		if (ret < 0)
			return ret;
		if (queue->gone && !virtq_driver_has_work(&queue->ring))
			return -ECONNRESET;
		if (clock_ns() >= deadline)
			return -ETIMEDOUT;
		queue_sleep(queue, deadline);
	}
}

int ringlane_scsi_manage(struct ringlane_device *device, enum ringlane_scsi_function function,
			 unsigned target, unsigned lun, uint64_t tag, unsigned timeout_ms)
{
	const struct tmf tmf = {
		.type = le32_make(VIRTIO_SCSI_T_TMF),
		.subtype = le32_make((uint32_t)function),
		.lun = scsi_address(target, lun),
		.tag = le64_make(tag),
	};
	uint64_t wait_ms = timeout_ms ? timeout_ms : device->scsi.timeout_ms;
	int id;

	if (device->kind != DEVICE_SCSI)
		return -ENOTSUP;
	if ((unsigned)function > RINGLANE_SCSI_QUERY_TASK_SET || target > 255 || lun > 16383)
		return -EINVAL;
	if (control_take(device) < 0)
		return -EPROTO;
	id = control_add(device, &tmf);
	if (id < 0)
		return id;
	ringlane_submit(device->scsi.control);
	return control_wait(device, (unsigned)id, clock_ns() + wait_ms * NS_PER_MS);
}
