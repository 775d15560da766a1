// SPDX-License-Identifier: MIT
/*
 * A device that hangs is reset, one that is gone is found again. On the thread that owns the device; its queues are quiet.
 *
 * The rule for both: a request's memory goes back to its owner when the device has finished it, has confirmed that it
 * stopped, or is gone (its end of the socket is closed, which a process that ends does last). Everything before that bounds
 * its wait and leaves the requests where they are.
 *
 * System calls: poll (waits between attempts).
 */
#include "base/clock.h"
#include "driver/device.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <poll.h>

#define BACK_OFF_MS_FIRST 5
#define BACK_OFF_MS_MAX 500

/* So that device_rings_renew cannot fail. */
static int rings_reserve(struct ringlane_device *device, struct error *error)
{
	for (unsigned i = 0; i < device->ring_count; i++)
		if (queue_returned_reserve(device->rings[i]) < 0)
			return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

/* ---- reset ---- */

int ringlane_reset(struct ringlane_device *device, struct ringlane_error *public_error)
{
	struct error *error = error_of(public_error);
	const struct transport_ops *ops = device->transport->ops;
	int ret = rings_reserve(device, error);

	if (ret == 0 && !ops->reset)
		ret = error_set(error, -ENOTSUP, "this transport cannot reset a device");
	if (ret == 0)
		ret = ops->reset(device->transport, device->started, error);
	if (ret < 0)
		return ret;
	device_rings_renew(device, -ECANCELED);
	return device_rings_start(device, error);
}

/* ---- is it the same disk? ---- */

struct figure {
	const char *name;
	uint64_t before, now;
};

/* Requests that were fine before must be fine now: nothing may have shrunk. A size_max of 0 is none. */
static int figures_check(const struct ringlane_info *before, const struct ringlane_info *now,
			 struct error *error)
{
	const struct figure figures[] = {
		{ "capacity", before->capacity, now->capacity },
		{ "segments of a request", before->seg_max, MIN(now->seg_max, before->seg_max) },
		{ "bytes of a segment", before->size_max - 1u, now->size_max - 1u },
		{ "queues", before->queues, now->queue_max },
		{ "bytes of a discard", before->discard_max, now->discard_max },
		{ "ranges of a discard", before->discard_ranges, now->discard_ranges },
		{ "bytes of zeroes", before->write_zeroes_max, now->write_zeroes_max },
		{ "ranges of zeroes", before->write_zeroes_ranges, now->write_zeroes_ranges },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(figures); i++)
		if (figures[i].now < figures[i].before)
			return error_set(error, -ENODEV,
					 "what is back has a smaller %s: %" PRIu64
					 ", it was %" PRIu64,
					 figures[i].name, figures[i].now, figures[i].before);
	return 0;
}

static int info_check(const struct ringlane_info *before, const struct ringlane_info *now,
		      struct error *error)
{
	if (now->logical_block_size != before->logical_block_size)
		return error_set(error, -ENODEV, "what is back has blocks of %u bytes, it were %u",
				 now->logical_block_size, before->logical_block_size);
	if (before->device_id == VIRTIO_ID_BLOCK && now->features >> VIRTIO_BLK_F_RO & 1 &&
	    !before->read_only)
		return error_set(error, -ENODEV, "what is back is read-only");
	return figures_check(before, now, error);
}

static void info_take(struct ringlane_device *device, const struct ringlane_info *now)
{
	struct ringlane_info *info = &device->info;

	info->features = now->features;
	info->protocol_features = now->protocol_features;
	info->mem_slots = now->mem_slots;
	info->write_cache = now->write_cache;
	info->capacity = now->capacity;
	store_relaxed(&device->limits.capacity, now->capacity);
}

/* ---- memory ---- */

/* The device may have another address for it now. */
static int region_share_again(struct ringlane_device *device, struct dma_region *region,
			      const void *first, size_t size, struct error *error)
{
	uint64_t delta = dma_region_delta(region);
	int ret = device->transport->ops->mem_add(device->transport, region, error);

	if (ret < 0 || !size || dma_region_delta(region) == delta)
		return ret;
	ret = memory_remove(&device->memory, first);
	if (ret == 0)
		ret = memory_add(&device->memory, first, size, dma_region_delta(region));
	return ret < 0 ? error_set(error, ret, "out of memory") : 0;
}

static int memory_share_again(struct ringlane_device *device, struct error *error)
{
	int ret = region_share_again(device, &device->shared, device->arena.first,
				     device->arena.size, error);

	for (unsigned i = 0; ret == 0 && i < device->region_count; i++) {
		struct dma_region *dma = &device->regions[i].dma;

		ret = region_share_again(device, dma, dma->addr, dma->size, error);
	}
	return ret;
}

/* ---- reconnect ---- */

int device_let_go(struct ringlane_device *device, unsigned timeout_ms, struct error *error)
{
	const struct transport_ops *ops = device->transport->ops;
	int ret = rings_reserve(device, error);

	if (ret == 0 && !ops->reconnect)
		ret = error_set(error, -ENOTSUP, "this transport cannot find a device again");
	if (ret == 0)
		ret = ops->hang_up(device->transport, timeout_ms, error);
	if (ret == 0)
		device_rings_renew(device, -ECONNRESET);
	return ret;
}

/* What it says of its LUNs is for them to find out. */
static int scsi_negotiate_again(struct ringlane_device *device, unsigned ring_max,
				struct ringlane_info *info, struct error *error)
{
	const struct ringlane_options options = {
		.cdb_size = (unsigned)device->scsi.config.cdb_size,
		.sense_size = (unsigned)device->scsi.config.sense_size,
	};
	int ret = scsi_device_config(device, &options, ring_max, info, error);

	info->logical_block_size = device->info.logical_block_size;
	info->physical_block_size = device->info.physical_block_size;
	return ret;
}

/* Takes the features in use, reads the rest into *info. -ENODEV: they are not all there. */
static int negotiate_again(struct ringlane_device *device, struct ringlane_info *info,
			   struct error *error)
{
	struct transport_facts facts;
	int ret;

	device->transport->ops->get_facts(device->transport, &facts);
	*info = device->info;
	info->features = facts.features;
	info->protocol_features = facts.protocol_features;
	info->mem_slots = facts.mem_slots;
	if (info->features_acked & ~facts.features)
		return error_set(error, -ENODEV,
				 "what is back lacks features that are in use: 0x%" PRIx64,
				 info->features_acked & ~facts.features);
	ret = device->transport->ops->set_features(device->transport, info->features_acked, error);
	if (ret == 0 && device->kind == DEVICE_SCSI)
		return scsi_negotiate_again(device, facts.queue_max, info, error);
	if (ret == 0)
		ret = device_config_read(device, info, error);
	info->queue_max = MIN(info->queue_max, facts.queue_max);
	return ret;
}

/* The order is that of opening. */
static int setup_again(struct ringlane_device *device, struct error *error)
{
	struct ringlane_info info;
	int ret = negotiate_again(device, &info, error);

	if (ret == 0)
		ret = info_check(&device->info, &info, error);
	if (ret == 0)
		ret = memory_share_again(device, error);
	if (ret == 0)
		ret = device_events_watch(device, error);
	if (ret < 0)
		return ret;
	info_take(device, &info);
	device_rings_renew(device, -ECONNRESET); /* with the new connection and addresses */
	return device_rings_start(device, error);
}

static unsigned ms_until(uint64_t deadline)
{
	uint64_t now = clock_ns();

	return now < deadline ? (unsigned)((deadline - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

int device_reconnect_once(struct ringlane_device *device, uint64_t deadline, struct error *error)
{
	int ret = device->transport->ops->reconnect(device->transport, deadline, error);

	if (ret < 0)
		return ret;
	ret = setup_again(device, error);
	if (ret < 0) /* what has been told half is forgotten before anything else is tried */
		device->transport->ops->hang_up(device->transport, ms_until(deadline), NULL);
	return ret;
}

bool device_error_is_final(int code)
{
	switch (code) {
	case -ENODEV:
	case -ENOMEM:
	case -ENOSPC:
	case -ENOTSUP:
	case -EINVAL:
	case -E2BIG:
		return true;
	}
	return false;
}

int ringlane_reconnect(struct ringlane_device *device, unsigned timeout_ms,
		       struct ringlane_error *public_error)
{
	struct error *error = error_of(public_error);
	uint64_t deadline = clock_ns() + timeout_ms * NS_PER_MS;
	unsigned back_off_ms = BACK_OFF_MS_FIRST;

	for (;;) {
		int ret = device_let_go(device, ms_until(deadline), error);

		if (ret < 0)
			return ret;
		ret = device_reconnect_once(device, deadline, error);
		if (ret == 0 || device_error_is_final(ret) || !ms_until(deadline))
			return ret;
		poll(NULL, 0, (int)MIN(back_off_ms, ms_until(deadline)));
		back_off_ms = MIN(2 * back_off_ms, BACK_OFF_MS_MAX);
	}
}
