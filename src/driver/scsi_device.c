// SPDX-License-Identifier: MIT
/*
 * Opening and closing an adapter: the steps of device.c that a SCSI device does in its own way.
 *
 * Rings: control (0), event (1), request queues from 2 on (virtio 1.3, 5.6.2). When the device has more request queues than are
 * used, the next one is kept for commands of the device itself.
 *
 * The owner's thread.
 */
#include "driver/scsi.h"

#include "driver/device.h"
#include "driver/uri.h"

#include <endian.h>
#include <errno.h>

void scsi_device_init(struct ringlane_device *device, const struct uri *uri,
		      const struct ringlane_options *options)
{
	device->kind = DEVICE_SCSI;
	device->ring_first = SCSI_RINGS_FIXED;
	device->scsi.timeout_ms = options->timeout_ms;
	device->scsi.read_only = options->read_only;
}

void scsi_device_set_rings(struct ringlane_device *device)
{
	unsigned used = device->ring_first + device->info.queues;

	device->scsi.control = device->rings[0];
	device->scsi.event = device->rings[1];
	device->scsi.own = used < device->ring_count ? device->rings[used] : NULL;
}

/* ---- configuration ---- */

/* virtio 1.3, 5.6.4: the driver may write the two sizes. A back end without a configuration space was told them elsewhere. */
static int size_set(struct ringlane_device *device, bool has_config, size_t offset, uint32_t size,
		    struct error *error)
{
	const uint32_t wire = htole32(size);
	const struct transport_ops *ops = device->transport->ops;

	if (!has_config)
		return 0;
	return ops->set_config(device->transport, (uint32_t)offset, &wire, sizeof(wire), error);
}

static int sizes_check(const struct ringlane_options *options, struct error *error)
{
	if (options->cdb_size && !scsi_cdb_size_is_valid(options->cdb_size))
		return error_set(error, -EINVAL, "CDBs of %u bytes: %u to %u are possible",
				 options->cdb_size, SCSI_CDB_SIZE_MIN, SCSI_CDB_SIZE_MAX);
	if (options->sense_size && !scsi_sense_size_is_valid(options->sense_size))
		return error_set(error, -EINVAL, "sense data of %u bytes: %u to %u are possible",
				 options->sense_size, SCSI_SENSE_SIZE_MIN, SCSI_SENSE_SIZE_MAX);
	return 0;
}

static int sizes_choose(struct ringlane_device *device, const struct ringlane_options *options,
			bool has_config, struct error *error)
{
	struct scsi_config *config = &device->scsi.config;
	int ret = sizes_check(options, error);

	if (ret == 0 && options->cdb_size && options->cdb_size != config->cdb_size) {
		config->cdb_size = options->cdb_size;
		ret = size_set(device, has_config, offsetof(struct virtio_scsi_config, cdb_size),
			       config->cdb_size, error);
	}
	if (ret == 0 && options->sense_size && options->sense_size != config->sense_size) {
		config->sense_size = options->sense_size;
		ret = size_set(device, has_config, offsetof(struct virtio_scsi_config, sense_size),
			       config->sense_size, error);
	}
	return ret;
}

int scsi_device_config(struct ringlane_device *device, const struct ringlane_options *options,
		       unsigned ring_max, struct ringlane_info *info, struct error *error)
{
	struct scsi_config *config = &device->scsi.config;
	struct virtio_scsi_config wire;
	uint32_t size;
	int ret = device->transport->ops->get_config(device->transport, &wire, sizeof(wire), &size,
						     error);
	bool has_config = ret == 0;

	if (ret == 0)
		ret = scsi_config_parse(&wire, MIN(size, (uint32_t)sizeof(wire)), ring_max, config,
					error);
	else if (ret == -ENOTSUP)
		scsi_config_make_up(config, ring_max);
	if (ret < 0 && ret != -ENOTSUP)
		return ret;
	if (!config->queue_max)
		return error_set(error, -EPROTO, "a SCSI device with %u rings has no request queue",
				 ring_max);
	info->queue_max = config->queue_max;
	info->seg_max = config->seg_max;
	info->logical_block_size = info->physical_block_size = 512;
	return sizes_choose(device, options, has_config, error);
}

/* ---- the LUN that functions of ringlane.h act on ---- */

/* Of the device's description, what a LUN decides. */
void scsi_device_info_update(struct ringlane_device *device)
{
	const struct ringlane_lun_info *lun = &device->scsi.lun->info;
	struct ringlane_info *info = &device->info;

	info->capacity = lun->capacity;
	info->logical_block_size = lun->logical_block_size;
	info->physical_block_size = lun->physical_block_size;
	info->optimal_io_size = lun->optimal_io_size;
	info->discard_max = lun->discard_max;
	info->discard_alignment = lun->discard_alignment;
	info->discard_ranges = lun->discard_ranges;
	info->write_zeroes_max = lun->write_zeroes_max;
	info->write_zeroes_ranges = lun->write_zeroes_max ? 1 : 0;
	info->write_zeroes_may_unmap = lun->write_zeroes_may_unmap;
	info->request_max = lun->request_max;
	info->read_only = lun->read_only;
	info->write_cache = lun->write_cache;
	info->flush = true;
}

static int default_open(struct ringlane_device *device, const struct uri *uri, struct error *error)
{
	struct scsi_adapter *scsi = &device->scsi;
	struct ringlane_queue *queue = scsi->own ? scsi->own : device->queues[0];
	int ret = ringlane_lun_open(device, queue, uri->target, uri->lun, &scsi->lun,
				    (struct ringlane_error *)error);

	if (ret == -ENXIO && !uri->has_lun)
		return 0;
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < device->info.queues; i++)
		device->queues[i]->scsi.lun = scsi->lun;
	scsi_device_info_update(device);
	return 0;
}

int scsi_device_start(struct ringlane_device *device, const struct uri *uri, struct error *error)
{
	int ret;

	device->scsi.lun = NULL;
	ret = scsi_event_start(device, error);
	return ret < 0 ? ret : default_open(device, uri, error);
}

void scsi_device_fini(struct ringlane_device *device)
{
	ringlane_lun_close(device->scsi.lun);
}

/* ---- events ---- */

/* Does one of the events that wait concern what we told of the LUN? The latest are at the end; looking at all is as good. */
static bool refresh_is_due(const struct ringlane_device *device)
{
	const struct scsi_events *events = &device->scsi.events;
	const struct ringlane_scsi_unit *unit = &device->scsi.lun->info.unit;

	for (unsigned i = 0; i < events->count; i++) {
		const struct ringlane_scsi_event *event =
			&events->kept[(events->first + i) % SCSI_EVENTS_KEPT];

		if (event->type == RINGLANE_SCSI_MISSED)
			return true;
		if (event->type == RINGLANE_SCSI_PARAM_CHANGE && event->target == unit->target &&
		    event->lun == unit->lun)
			return true;
	}
	return events->lost;
}

int scsi_device_event(struct ringlane_device *device)
{
	int ret = scsi_event_take(device);

	if (ret <= 0 || !device->scsi.lun || !refresh_is_due(device))
		return ret;
	ret = ringlane_lun_refresh(device->scsi.lun, NULL, NULL);
	return ret < 0 ? ret : 1;
}
