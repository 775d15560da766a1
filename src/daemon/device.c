/* SPDX-License-Identifier: MIT */
/* SCSI disks behind adapters: see device.h. A shown disk lives as long as a device or a drain needs it. */
#include "daemon/device.h"

#include "daemon/export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One disk, for all devices of its node. */
struct shown_disk {
	TAILQ_ENTRY(shown_disk) next;
	struct devices *devices;
	struct block_node *node;
	struct scsi_disk *disk;
	uint64_t told_size;
	unsigned users;      /* devices */
	bool ending;         /* waits for what it does by itself, then goes */
	unsigned drains;     /* that were asked for and not released */
	bool joined;         /* those that were there when it came: one of them */
	struct device *last; /* waits until the disk is gone */
};

struct device {
	struct device_spec *spec;
	struct shown_disk *disk;
	struct scsi_lun *lun;
	bool leaving;
	void (*gone)(struct device_spec *spec, void *opaque);
	void *opaque;
};

struct devices_drain {
	LIST_ENTRY(devices_drain) next;
	struct devices *devices;
	const struct block_node *node; /* the caller's, until the release */
	unsigned out;                  /* answers, and one for the asking itself */
	void (*done)(struct devices_drain *drain, void *opaque);
	void *opaque;
	unsigned count;
	struct drained_disk {
		struct shown_disk *disk; /* NULL: gone meanwhile */
		struct scsi_drain drain;
	} disks[];
};

struct devices {
	struct devices_config config;
	TAILQ_HEAD(, shown_disk) disks;
	LIST_HEAD(, devices_drain) drains; /* that are not released */
};

struct devices *devices_new(const struct devices_config *config)
{
	struct devices *devices = calloc(1, sizeof(*devices));

	if (!devices)
		return NULL;
	devices->config = *config;
	TAILQ_INIT(&devices->disks);
	LIST_INIT(&devices->drains);
	return devices;
}

bool devices_are_idle(const struct devices *devices)
{
	return TAILQ_EMPTY(&devices->disks);
}

void devices_free(struct devices *devices)
{
	assert(!devices || TAILQ_EMPTY(&devices->disks));
	free(devices);
}

/* ---- disks ---- */

static struct shown_disk *find_disk(const struct devices *devices, const struct block_node *node)
{
	struct shown_disk *disk;

	TAILQ_FOREACH(disk, &devices->disks, next)
	if (disk->node == node)
		return disk;
	return NULL;
}

static int open_disk(struct shown_disk *disk, const struct device_spec *spec, struct error *error)
{
	struct scsi_unit_config config = {
		.node = disk->node,
		.loop = disk->devices->config.loop,
		.vendor = spec->vendor,
		.product = spec->product,
		.revision = spec->revision,
		.serial = spec->serial,
		.device_id = spec->device_id,
		.wwn = spec->wwn,
		.logical_block_size = (uint32_t)spec->logical_block_size,
		.rotation_rate = (uint16_t)spec->rotation_rate,
		.read_only = spec->read_only || disk->node->read_only,
		.state_path = spec->state_path,
	};

	return scsi_disk_new(&config, &disk->disk, error);
}

/* Whoever sees the same name twice takes it for two ways to one disk, and writes to either. */
static int check_wwn(const struct shown_disk *disk, const struct device_spec *spec,
		     struct error *error)
{
	const struct scsi_unit *unit = scsi_disk_unit(disk->disk);
	const struct shown_disk *other;

	TAILQ_FOREACH(other, &disk->devices->disks, next)
	if (scsi_unit_wwn(scsi_disk_unit(other->disk)) == scsi_unit_wwn(unit))
		break;
	if (!other)
		return 0;
	if (spec->wwn)
		return error_set(error, -EEXIST,
				 "Property 'scsi-hd.wwn' can't take value '0x%016" PRIx64
				 "', it's in use by the disk of node '%s'",
				 scsi_unit_wwn(unit), other->node->name);
	return error_set(
		error, -EEXIST,
		"Property 'scsi-hd.serial' can't take value '%s', the WWN made of it is in use "
		"by the disk of node '%s'",
		scsi_unit_serial(unit), other->node->name);
}

static bool is_drained(const struct devices *devices, const struct block_node *node)
{
	const struct devices_drain *drain;

	LIST_FOREACH(drain, &devices->drains, next)
	if (block_node_lies_on(node, drain->node))
		return true;
	return false;
}

static void join_drains(struct shown_disk *disk)
{
	if (!is_drained(disk->devices, disk->node))
		return;
	disk->joined = true;
	disk->drains++;
	scsi_disk_begin_drained(disk->disk);
}

static void discarded(void *opaque)
{
	free(opaque);
}

static int make_disk(struct devices *devices, struct block_node *node,
		     const struct device_spec *spec, struct shown_disk **ret_disk,
		     struct error *error)
{
	struct shown_disk *disk = calloc(1, sizeof(*disk));
	int result;

	if (!disk)
		return error_set(error, -ENOMEM, "out of memory");
	disk->devices = devices;
	disk->node = node;
	disk->told_size = block_node_size(node);
	result = open_disk(disk, spec, error);
	if (result) {
		free(disk);
		return result;
	}
	result = check_wwn(disk, spec, error);
	if (result) {
		scsi_disk_free(disk->disk, discarded, disk);
		return result;
	}
	join_drains(disk);
	TAILQ_INSERT_TAIL(&devices->disks, disk, next);
	*ret_disk = disk;
	return 0;
}

static int use_disk(struct devices *devices, const struct device_spec *spec,
		    struct shown_disk **ret_disk, struct error *error)
{
	struct block_node *node = block_graph_find(devices->config.graph, spec->use.node->name);
	struct shown_disk *disk = find_disk(devices, node);
	int result = 0;

	if (node->read_only && !spec->read_only && !spec->use.node->optional)
		return error_set(error, -EROFS,
				 "node '%s' was opened for reading, because nothing wrote it then",
				 node->name);
	if (disk && disk->users == 0)
		return error_set(error, -EBUSY, "node '%s' is still used by a disk that goes away",
				 node->name);
	if (!disk)
		result = make_disk(devices, node, spec, &disk, error);
	if (result)
		return result;
	disk->users++;
	*ret_disk = disk;
	return 0;
}

/* ---- ends ---- */

static void device_free(struct device *device)
{
	struct device_spec *spec = device->spec;
	void (*gone)(struct device_spec *, void *) = device->gone;
	void *opaque = device->opaque;

	spec->device = NULL;
	free(device);
	if (gone)
		gone(spec, opaque);
}

static void drain_answered(void *opaque)
{
	struct devices_drain *drain = opaque;

	if (--drain->out == 0)
		drain->done(drain, drain->opaque);
}

static bool drain_forget(struct devices_drain *drain, const struct shown_disk *disk)
{
	unsigned i;

	for (i = 0; i < drain->count; i++)
		if (drain->disks[i].disk == disk) {
			drain->disks[i].disk = NULL;
			return true;
		}
	return false;
}

/* Answered drains may end. */
static void answer_drains_of(struct devices *devices, const struct shown_disk *disk)
{
	struct devices_drain *drain, *next;

	for (drain = LIST_FIRST(&devices->drains); drain; drain = next) {
		next = LIST_NEXT(drain, next);
		if (drain_forget(drain, disk))
			drain_answered(drain);
	}
}

static void disk_gone(void *opaque)
{
	struct shown_disk *disk = opaque;
	struct device *last = disk->last;
	struct devices *devices = disk->devices;

	TAILQ_REMOVE(&devices->disks, disk, next);
	answer_drains_of(devices, disk);
	free(disk);
	if (last)
		device_free(last);
	if (devices_are_idle(devices))
		devices->config.idle(devices->config.opaque);
}

static void end_unused_disk(struct shown_disk *disk)
{
	if (disk->users > 0 || disk->drains > 0)
		return;
	disk->ending = true;
	scsi_disk_free(disk->disk, disk_gone, disk);
}

static void lun_removed(void *opaque)
{
	struct device *device = opaque;
	struct shown_disk *disk = device->disk;

	if (--disk->users > 0) {
		device_free(device);
		return;
	}
	disk->last = device;
	end_unused_disk(disk);
}

void device_remove(struct device *device, void (*gone)(struct device_spec *spec, void *opaque),
		   void *opaque)
{
	assert(!device->leaving);
	device->leaving = true;
	device->gone = gone;
	device->opaque = opaque;
	scsi_lun_remove(device->lun, lun_removed, device);
}

bool device_is_leaving(const struct device *device)
{
	return device->leaving;
}

/* ---- devices ---- */

static int show(struct device *device, struct error *error)
{
	const struct device_spec *spec = device->spec;
	struct scsi_device *adapter = export_scsi_device(spec->export->export);
	uint16_t target, lun;
	int result = scsi_device_pick_address(adapter, spec->has_scsi_id ? (int)spec->scsi_id : -1,
					      spec->has_lun ? (int)spec->lun : -1, &target, &lun,
					      error);

	if (result == 0)
		result = scsi_device_add_lun(adapter, device->disk->disk, target, lun, &device->lun,
					     error);
	return result;
}

int device_new(struct devices *devices, struct device_spec *spec, struct error *error)
{
	struct device *device = calloc(1, sizeof(*device));
	int result;

	if (!device)
		return error_set(error, -ENOMEM, "out of memory");
	device->spec = spec;
	result = use_disk(devices, spec, &device->disk, error);
	if (result) {
		free(device);
		return result;
	}
	result = show(device, error);
	if (result) {
		device->disk->users--;
		end_unused_disk(device->disk);
		free(device);
		return result;
	}
	spec->device = device;
	return 0;
}

struct scsi_lun *device_lun(const struct device *device)
{
	return device->lun;
}

struct scsi_unit *device_unit(const struct device *device)
{
	return scsi_disk_unit(device->disk->disk);
}

/* ---- sizes and drains ---- */

void devices_check_sizes(struct devices *devices)
{
	struct shown_disk *disk;

	TAILQ_FOREACH(disk, &devices->disks, next)
	{
		uint64_t size = block_node_size(disk->node);

		if (size == disk->told_size || disk->users == 0)
			continue;
		disk->told_size = size;
		scsi_disk_capacity_changed(disk->disk);
	}
}

static unsigned count_disks(const struct devices *devices)
{
	const struct shown_disk *disk;
	unsigned count = 0;

	TAILQ_FOREACH(disk, &devices->disks, next)
	count++;
	return count;
}

static void drain_disk(struct devices_drain *drain, struct drained_disk *drained)
{
	drained->drain = (struct scsi_drain){ .done = drain_answered, .opaque = drain };
	scsi_disk_drain(drained->disk->disk, &drained->drain);
}

/*
 * A disk that goes away while it is drained is kept until the release. One that is ending already has no commands any more, but may
 * still write by itself (SANITIZE): its end is awaited.
 */
bool devices_drain(struct devices *devices, const struct block_node *node,
		   void (*done)(struct devices_drain *drain, void *opaque), void *opaque)
{
	struct devices_drain *drain =
		calloc(1, sizeof(*drain) + count_disks(devices) * sizeof(drain->disks[0]));
	struct shown_disk *disk;
	unsigned i;

	if (!drain)
		return false;
	drain->devices = devices;
	drain->node = node;
	drain->done = done;
	drain->opaque = opaque;
	LIST_INSERT_HEAD(&devices->drains, drain, next);
	TAILQ_FOREACH(disk, &devices->disks, next)
	if (block_node_lies_on(disk->node, node)) {
		disk->drains += !disk->ending;
		drain->disks[drain->count++].disk = disk;
	}
	drain->out = drain->count + 1;
	for (i = 0; i < drain->count; i++)
		if (!drain->disks[i].disk->ending)
			drain_disk(drain, &drain->disks[i]);
	drain_answered(drain);
	return true;
}

static void release_disk(struct shown_disk *disk)
{
	scsi_disk_release(disk->disk);
	disk->drains--;
	end_unused_disk(disk);
}

static void release_joined(struct devices *devices)
{
	struct shown_disk *disk, *next;

	for (disk = TAILQ_FIRST(&devices->disks); disk; disk = next) {
		next = TAILQ_NEXT(disk, next);
		if (!disk->joined || is_drained(devices, disk->node))
			continue;
		disk->joined = false;
		release_disk(disk);
	}
}

void devices_release(struct devices_drain *drain)
{
	unsigned i;

	LIST_REMOVE(drain, next);
	for (i = 0; i < drain->count; i++)
		if (drain->disks[i].disk)
			release_disk(drain->disks[i].disk);
	release_joined(drain->devices);
	free(drain);
}
