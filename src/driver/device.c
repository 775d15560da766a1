// SPDX-License-Identifier: MIT
/*
 * Opening and closing a device, its description and its events. One thread at a time; blocks on the transport.
 *
 * Opening is a row of steps over one half-built object; ringlane_close copes with any prefix of them.
 *
 * System calls: epoll_create1, epoll_ctl, poll, sched_getaffinity, sysconf, close.
 */
#include "driver/device.h"

#include "base/fd.h"
#include "base/overflow.h"
#include "driver/interrupts.h"
#include "driver/uri.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TIMEOUT_MS_DEFAULT 5000
#define QUEUE_SIZE_DEFAULT 256
#define QUEUE_SIZE_MIN 4 /* header, data, status */
#define QUEUES_MAX 256

const char *ringlane_version(void)
{
	return RINGLANE_VERSION;
}

/* ---- options ---- */

static int options_check(struct ringlane_options *options, struct error *error)
{
	unsigned size;

	if (!options->timeout_ms)
		options->timeout_ms = TIMEOUT_MS_DEFAULT;
	if (!options->queue_size)
		options->queue_size = QUEUE_SIZE_DEFAULT;
	size = options->queue_size;
	if (size < QUEUE_SIZE_MIN || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
		return error_set(error, -EINVAL,
				 "a queue of %u entries: it must be a power of two from %d to %d",
				 size, QUEUE_SIZE_MIN, VIRTQ_SIZE_MAX);
	return 0;
}

static unsigned cpu_count(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

/* Who leaves the choice leaves a queue to the device of a kind that needs one, where there are several. */
static unsigned queues_choose(const struct ringlane_device *device, unsigned wanted)
{
	unsigned max = MIN(device->info.queue_max, QUEUES_MAX);

	if (wanted)
		return MIN(wanted, max);
	if (device->kind == DEVICE_SCSI && max > 1)
		max--;
	return MIN(cpu_count(), max);
}

static void rings_choose(struct ringlane_device *device, const struct ringlane_options *options)
{
	struct ringlane_info *info = &device->info;
	bool spare;

	info->queues = queues_choose(device, options->queues);
	spare = device->kind == DEVICE_SCSI && info->queues < MIN(info->queue_max, QUEUES_MAX);
	device->ring_count = device->ring_first + info->queues + spare;
}

/* ---- what the device says of itself ---- */

int device_config_read(struct ringlane_device *device, struct ringlane_info *info,
		       struct error *error)
{
	struct virtio_blk_config config;
	uint32_t size;
	int ret = device->transport->ops->get_config(device->transport, &config, sizeof(config),
						     &size, error);

	if (ret == -ENOTSUP)
		return error_set(error, ret,
				 "the back end tells no configuration, so no size: "
				 "is it a SCSI adapter (vhost-user-scsi:PATH)?");
	if (ret < 0)
		return ret;
	return blk_config_parse(&config, MIN(size, (uint32_t)sizeof(config)), info, error);
}

static uint64_t features_known(const struct ringlane_device *device)
{
	return device->kind == DEVICE_SCSI ? scsi_features_known() : blk_features_known();
}

static int negotiate(struct ringlane_device *device, const struct ringlane_options *options,
		     struct error *error)
{
	struct ringlane_info *info = &device->info;
	struct transport_facts facts;
	int ret;

	device->transport->ops->get_facts(device->transport, &facts);
	info->features = facts.features;
	info->features_acked = facts.features & features_known(device);
	info->protocol_features = facts.protocol_features;
	info->mem_slots = facts.mem_slots;
	info->device_id = device->kind == DEVICE_SCSI ? VIRTIO_ID_SCSI : VIRTIO_ID_BLOCK;
	info->request_max = QUEUE_REQUEST_MAX;
	if (!(info->features_acked >> VIRTIO_F_VERSION_1 & 1))
		return error_set(error, -ENOTSUP, "the device does not offer VIRTIO_F_VERSION_1");
	ret = device->transport->ops->set_features(device->transport, info->features_acked, error);
	info->features_acked |= facts.features_own;
	info->queue_size = facts.queue_size_max;
	if (ret == 0 && device->kind == DEVICE_SCSI)
		return scsi_device_config(device, options, facts.queue_max, info, error);
	if (ret == 0)
		ret = device_config_read(device, info, error);
	info->queue_max = MIN(info->queue_max, facts.queue_max);
	return ret;
}

/* What queues check requests against. */
static void limits_set(struct ringlane_device *device, const struct ringlane_options *options)
{
	struct ringlane_info *info = &device->info;
	struct queue_limits *limits = &device->limits;

	info->queue_size = info->queue_size ? MIN(info->queue_size, options->queue_size) :
					      options->queue_size;
	info->read_only |= options->read_only;
	info->seg_max = MIN(info->seg_max, info->queue_size - 2);
	limits->capacity = info->capacity;
	limits->block_mask = info->logical_block_size - 1;
	limits->discard_max = info->discard_max;
	limits->discard_ranges = info->discard_ranges;
	limits->write_zeroes_max = info->write_zeroes_max;
	limits->write_zeroes_ranges = info->write_zeroes_ranges;
	limits->secure_erase_max = info->secure_erase_max;
	limits->secure_erase_ranges = info->secure_erase_ranges;
	limits->seg_max = info->seg_max;
	limits->segment_bytes_max = QUEUE_REQUEST_MAX;
	if (info->size_max)
		limits->segment_bytes_max = MIN(info->size_max, QUEUE_REQUEST_MAX);
	limits->read_only = info->read_only;
	limits->flush = info->flush;
}

/* ---- queues ---- */

static bool device_acked(const struct ringlane_device *device, unsigned feature)
{
	return device->info.features_acked >> feature & 1;
}

static enum queue_kind ring_kind(const struct ringlane_device *device, unsigned ring)
{
	if (device->kind == DEVICE_BLK)
		return QUEUE_BLK;
	return ring == 0 ? QUEUE_CONTROL : ring == 1 ? QUEUE_EVENT : QUEUE_SCSI;
}

static uint16_t ring_size(const struct ringlane_device *device, enum queue_kind kind)
{
	switch (kind) {
	case QUEUE_CONTROL:
		return SCSI_CONTROL_SIZE;
	case QUEUE_EVENT:
		return SCSI_EVENT_BUFFERS;
	default:
		return (uint16_t)device->info.queue_size;
	}
}

static struct queue_setup setup_of(struct ringlane_device *device, unsigned ring)
{
	enum queue_kind kind = ring_kind(device, ring);

	return (struct queue_setup){
		.kind = kind,
		.tag_base = (uint64_t)ring << 48,
		.cdb_size = (uint16_t)device->scsi.config.cdb_size,
		.sense_size = (uint16_t)device->scsi.config.sense_size,
		.limits = &device->limits,
		.memory = &device->memory,
		.size = ring_size(device, kind),
		.indirect = device_acked(device, VIRTIO_RING_F_INDIRECT_DESC),
		.event_idx = device_acked(device, VIRTIO_RING_F_EVENT_IDX),
		.has_ranges = kind == QUEUE_SCSI || device->info.discard_max ||
			      device->info.write_zeroes_max || device->info.secure_erase_max,
		.gone_fd = device->transport->ops->gone_fd(device->transport),
		.gone_events = device->transport->gone_events,
		.shared_delta = dma_region_delta(&device->shared),
	};
}

static int queue_start(struct ringlane_device *device, unsigned index, struct error *error)
{
	const struct transport_ops *ops = device->transport->ops;
	struct ringlane_queue *queue = device->rings[index];
	const struct virtq_memory *memory = &queue->ring.memory;
	const struct transport_ring ring = {
		.size = queue->ring.size,
		.desc = memory->desc,
		.avail = memory->avail,
		.used = memory->used,
		.desc_device = (uintptr_t)memory->desc + queue->shared_delta,
		.avail_device = (uintptr_t)memory->avail + queue->shared_delta,
		.used_device = (uintptr_t)memory->used + queue->shared_delta,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};
	int ret = ops->queue_start(device->transport, index, &ring, error);

	if (ret < 0)
		return ret;
	if (ops->queue_doorbell)
		ops->queue_doorbell(device->transport, index, &queue->doorbell);
	device->started++;
	return 0;
}

/* Of all rings together. */
static size_t rings_bytes(struct ringlane_device *device)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < device->ring_count; i++) {
		const struct queue_setup setup = setup_of(device, i);

		bytes += queue_shared_bytes(&setup);
	}
	return bytes;
}

static int queues_new(struct ringlane_device *device, struct error *error)
{
	uint8_t *shared = device->shared.addr;
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < device->ring_count; i++) {
		const struct queue_setup setup = setup_of(device, i);

		ret = queue_new(&setup, shared, &device->rings[i], error);
		shared += queue_shared_bytes(&setup);
	}
	if (ret == 0 && device->kind == DEVICE_SCSI)
		scsi_device_set_rings(device);
	return ret;
}

/* One region for all rings and the arena: some devices take few regions. */
static int queues_make(struct ringlane_device *device, size_t arena_size, struct error *error)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), total;
	size_t rings = (rings_bytes(device) + page - 1) / page * page;
	int ret;

	if (add_overflows(rings, arena_size, &total))
		return error_set(error, -EINVAL, "mem_size is too large");
	device->rings = calloc(device->ring_count, sizeof(struct ringlane_queue *));
	if (!device->rings)
		return error_set(error, -ENOMEM, "out of memory");
	device->queues = device->rings + device->ring_first;
	ret = dma_region_alloc(total, &device->shared, error);
	if (ret == 0)
		ret = device->transport->ops->mem_add(device->transport, &device->shared, error);
	if (ret == 0)
		ret = queues_new(device, error);
	if (ret == 0)
		ret = device_arena_init(device, (uint8_t *)device->shared.addr + rings, arena_size,
					error);
	for (unsigned i = 0; ret == 0 && i < device->ring_count; i++)
		ret = queue_start(device, i, error);
	return ret;
}

/* After a stop that failed nothing more is asked: the transport's end is all that is left. */
int device_queues_stop(struct ringlane_device *device)
{
	int ret = 0;

	for (unsigned i = 0; i < device->started && ret == 0; i++)
		ret = device->transport->ops->queue_stop(device->transport, i, NULL);
	device->started = 0;
	return ret;
}

static void queues_free(struct ringlane_device *device)
{
	for (unsigned i = 0; device->rings && i < device->ring_count; i++)
		queue_free(device->rings[i]);
	free(device->rings);
	dma_region_free(&device->shared);
}

/* ---- the same again (device_recover.c) ---- */

void device_rings_renew(struct ringlane_device *device, int result)
{
	for (unsigned i = 0; i < device->ring_count; i++) {
		const struct queue_setup setup = setup_of(device, i);

		queue_renew(device->rings[i], &setup, result);
	}
	device->started = 0;
}

bool device_can_reset_ring(const struct ringlane_device *device)
{
	return device->transport->ops->queue_reset &&
	       device->info.features_acked >> VIRTIO_F_RING_RESET & 1;
}

int device_ring_reset(struct ringlane_device *device, unsigned ring, struct error *error)
{
	const struct queue_setup setup = setup_of(device, ring);
	int ret = queue_returned_reserve(device->rings[ring]);

	if (ret == 0)
		ret = device->transport->ops->queue_reset(device->transport, ring, error);
	if (ret < 0)
		return ret;
	queue_renew(device->rings[ring], &setup, -ECANCELED);
	ret = queue_start(device, ring, error);
	if (ret == 0)
		device->started--; /* it was among them before */
	return ret;
}

int device_rings_start(struct ringlane_device *device, struct error *error)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < device->ring_count; i++)
		ret = queue_start(device, i, error);
	if (ret == 0)
		ret = device->transport->ops->start(device->transport, error);
	return ret == 0 && device->kind == DEVICE_SCSI ? scsi_event_start(device, error) : ret;
}

struct ringlane_queue *ringlane_queue_get(struct ringlane_device *device, unsigned index)
{
	return index < device->info.queues ? device->queues[index] : NULL;
}

/* ---- events ---- */

static int event_watch(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (fd < 0)
		return 0;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int events_open(struct ringlane_device *device, struct error *error)
{
	int ret;

	device->event_fd = epoll_create1(EPOLL_CLOEXEC);
	if (device->event_fd < 0)
		return error_set(error, -errno, "epoll_create1: %s", strerrordesc_np(errno));
	ret = device->kind == DEVICE_SCSI ?
		      event_watch(device->event_fd, device->scsi.event->call_fd, EPOLLIN) :
		      0;
	return ret < 0 ? error_set(error, ret, "epoll_ctl: %s", strerrordesc_np(-ret)) :
			 device_events_watch(device, error);
}

int device_events_watch(struct ringlane_device *device, struct error *error)
{
	const struct transport *transport = device->transport;
	int ret = event_watch(device->event_fd, transport->ops->gone_fd(transport),
			      (uint32_t)transport->gone_events);

	if (ret == 0)
		ret = event_watch(device->event_fd, transport->ops->event_fd(transport), EPOLLIN);
	return ret < 0 ? error_set(error, ret, "epoll_ctl: %s", strerrordesc_np(-ret)) : 0;
}

int ringlane_event_fd(const struct ringlane_device *device)
{
	return device->event_fd;
}

bool device_is_gone(const struct ringlane_device *device)
{
	struct pollfd socket = { .fd = device->transport->ops->gone_fd(device->transport),
				 .events = device->transport->gone_events };

	return poll(&socket, 1, 0) > 0;
}

/* A configuration that cannot be read or makes no sense changes nothing. */
static int config_refresh(struct ringlane_device *device)
{
	struct ringlane_info info = device->info;
	int ret = device_config_read(device, &info, NULL);

	if (ret < 0)
		return ret;
	device->info.capacity = info.capacity;
	device->info.write_cache = info.write_cache;
	store_relaxed(&device->limits.capacity, info.capacity);
	return 1;
}

/* The device applies it before it answers; the byte that it has then is the truth (virtio 1.3, 5.2.5.2). */
static int blk_set_write_cache(struct ringlane_device *device, bool on, struct error *error)
{
	const uint8_t byte = on;
	int ret;

	if (!device_acked(device, VIRTIO_BLK_F_CONFIG_WCE))
		return error_set(error, -EOPNOTSUPP,
				 "the device does not offer to switch its write cache");
	ret = device->transport->ops->set_config(device->transport,
						 offsetof(struct virtio_blk_config, wce), &byte,
						 sizeof(byte), error);
	if (ret < 0)
		return ret;
	ret = config_refresh(device);
	if (ret < 0)
		return error_set(error, ret, "the configuration cannot be read again");
	if (device->info.write_cache != on)
		return error_set(error, -EREMOTEIO, "the device keeps its write cache as it is");
	return 0;
}

static int write_cache_set(struct ringlane_device *device, bool on, struct ringlane_error *error)
{
	if (device->kind == DEVICE_BLK)
		return blk_set_write_cache(device, on, error_of(error));
	if (!device->scsi.lun)
		return error_set(error_of(error), -ENXIO, "the URI's LUN is not there");
	return ringlane_lun_set_write_cache(device->scsi.lun, NULL, on, error);
}

int ringlane_set_write_cache(struct ringlane_device *device, bool on, struct ringlane_error *error)
{
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = write_cache_set(device, on, error);
	pthread_mutex_unlock(&device->lock);
	return ret;
}

static int event_handle(struct ringlane_device *device)
{
	int ret = device->transport->ops->event(device->transport);

	if (ret < 0)
		epoll_ctl(device->event_fd, EPOLL_CTL_DEL,
			  device->transport->ops->event_fd(device->transport), NULL);
	if (device->kind == DEVICE_SCSI)
		ret = scsi_device_event(device);
	else
		ret = ret > 0 ? config_refresh(device) : 0;
	return device_is_gone(device) ? -ECONNRESET : ret;
}

int ringlane_event(struct ringlane_device *device)
{
	int ret;

	pthread_mutex_lock(&device->lock);
	ret = event_handle(device);
	pthread_mutex_unlock(&device->lock);
	return ret;
}

void ringlane_get_info(const struct ringlane_device *device, struct ringlane_info *ret_info)
{
	pthread_mutex_t *lock = &((struct ringlane_device *)device)->lock;

	pthread_mutex_lock(lock);
	*ret_info = device->info;
	pthread_mutex_unlock(lock);
}

/* ---- open and close ---- */

static int transport_open(const struct uri *uri, const struct ringlane_options *options,
			  struct transport **ret_transport, struct error *error)
{
	switch (uri->transport) {
	case URI_VFIO:
		return transport_vfio_open(uri->address,
					   uri->is_scsi ? VIRTIO_ID_SCSI : VIRTIO_ID_BLOCK,
					   options->timeout_ms, ret_transport, error);
	case URI_VHOST_USER:
		return transport_vhost_user_open(uri->address, options->timeout_ms, ret_transport,
						 error);
	}
	return error_set(error, -EINVAL, "unknown transport");
}

static int device_setup(struct ringlane_device *device, const struct uri *uri,
			const struct ringlane_options *options, struct error *error)
{
	int ret = memory_init(&device->memory);

	if (ret < 0)
		return error_set(error, ret, "out of memory");
	if (uri->is_scsi)
		scsi_device_init(device, uri, options);
	ret = transport_open(uri, options, &device->transport, error);
	if (ret == 0)
		ret = negotiate(device, options, error);
	if (ret < 0)
		return ret;
	rings_choose(device, options);
	limits_set(device, options);
	ret = queues_make(device, options->mem_size, error);
	if (ret == 0)
		ret = events_open(device, error);
	if (ret == 0)
		ret = device->transport->ops->start(device->transport, error);
	if (ret == 0 && device->kind == DEVICE_SCSI)
		ret = scsi_device_start(device, uri, error);
	return ret;
}

/* Functions that take it call each other. */
static void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

int ringlane_open(const char *uri, const struct ringlane_options *options,
		  struct ringlane_device **ret_device, struct ringlane_error *public_error)
{
	struct ringlane_options chosen = options ? *options : (struct ringlane_options){ 0 };
	struct error *error = error_of(public_error);
	struct ringlane_device *device;
	struct uri parsed;
	int ret = uri_parse(uri, &parsed, error);

	if (ret == 0)
		ret = options_check(&chosen, error);
	if (ret < 0)
		return ret;
	device = aligned_alloc(CACHE_LINE, sizeof(*device));
	if (!device)
		return error_set(error, -ENOMEM, "out of memory");
	*device = (struct ringlane_device){ .event_fd = -1, .shared.fd = -1 };
	lock_init(&device->lock);
	ret = device_setup(device, &parsed, &chosen, error);
	if (ret < 0) {
		ringlane_close(device);
		return ret;
	}
	*ret_device = device;
	return 0;
}

void ringlane_close(struct ringlane_device *device)
{
	if (!device)
		return;
	device_queues_stop(device);
	interrupts_free(device);
	fd_close(&device->event_fd);
	if (device->transport)
		device->transport->ops->close(device->transport);
	scsi_device_fini(device);
	queues_free(device);
	device_regions_free(device);
	if (device->memory.table)
		memory_fini(&device->memory);
	pthread_mutex_destroy(&device->lock);
	free(device);
}
