// SPDX-License-Identifier: MIT
/*
 * Submitting, reaping and waiting. All of it on the queue's own thread, except queue_new and queue_free.
 *
 * Nothing here trusts the device: the ring checks ids and lengths against its shadow, and a status byte is preset to a
 * value that no device writes. That a back end is gone shows at its socket, which ringlane_wait sleeps on too and
 * ringlane_reap looks at when it has come back with nothing many times in a row.
 *
 * System calls: write (kick), read, poll.
 */
#include "driver/queue.h"

#include "base/clock.h"
#include "base/fd.h"
#include "driver/scsi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_REAPS_MAX 16384 /* between two looks at the socket: some tens of microseconds */
#define QUEUE_PAGE 4096
#define SPINS_PER_CLOCK 16

/* ---- making ---- */

struct layout {
	size_t avail, used, lines, ranges, scratch, tables, end; /* desc is at 0 */
};

/* Bytes of shared memory for what stands before and behind the data of a request. */
struct wire {
	size_t request, response, stride;
};

static size_t align_to(size_t offset, size_t unit)
{
	return (offset + unit - 1) / unit * unit;
}

/* Two lines, because the hardware prefetches lines in pairs. */
static size_t layout_next(size_t offset, size_t bytes)
{
	return align_to(offset + bytes, 2 * CACHE_LINE);
}

/*
 * From one request to the next a power of two, so that none of them, and no response, lies across two pages. QEMU takes a
 * command's first segment for its header, and the first that it may write to for the response. Behind an IOMMU it has cut them
 * at the ends of pages before: the rest would be data (7.2: hw/scsi/virtio-scsi.c, virtio_scsi_parse_req).
 */
static size_t wire_stride(size_t bytes)
{
	size_t stride = CACHE_LINE;

	while (stride < bytes)
		stride *= 2;
	assert(stride <= QUEUE_PAGE);
	return stride;
}

/*
 * A response begins with what is always looked at; that lies in one line, and in the line that the request ends with if there is room.
 * So a request of the usual sizes takes one line to the device and back, as in virtio-blk. Its sense data is in lines behind.
 */
static size_t response_offset(size_t request_bytes)
{
	size_t offset = align_to(request_bytes, sizeof(uint32_t));
	bool straddles = offset % CACHE_LINE + SCSI_RESPONSE_BYTES > CACHE_LINE;

	return straddles ? align_to(offset, CACHE_LINE) : offset;
}

static struct wire wire_make(const struct queue_setup *setup)
{
	struct wire wire = { CACHE_LINE, 0, 0 };

	switch (setup->kind) {
	case QUEUE_BLK:
		wire.request = sizeof(struct queue_line);
		break;
	case QUEUE_SCSI:
		wire.request = response_offset(SCSI_HEADER_BYTES + setup->cdb_size);
		wire.response = SCSI_RESPONSE_BYTES + setup->sense_size;
		break;
	case QUEUE_CONTROL:
		wire.response = CACHE_LINE;
		break;
	case QUEUE_EVENT:
		break;
	}
	wire.stride = wire_stride(wire.request + wire.response);
	return wire;
}

static uint16_t table_len(const struct queue_setup *setup)
{
	return setup->indirect ? (uint16_t)MIN(setup->limits->seg_max + 2, QUEUE_TABLE_MAX) : 0;
}

static struct layout layout_make(const struct queue_setup *setup)
{
	const struct wire wire = wire_make(setup);
	bool scsi = setup->kind == QUEUE_SCSI;
	size_t size = setup->size;
	struct layout at;

	at.avail = layout_next(0, virtq_desc_bytes(setup->size));
	at.used = layout_next(at.avail, virtq_avail_bytes(setup->size));
	at.lines = align_to(layout_next(at.used, virtq_used_bytes(setup->size)), wire.stride);
	at.ranges = layout_next(at.lines, size * wire.stride);
	at.scratch =
		layout_next(at.ranges, setup->has_ranges ? size * sizeof(struct queue_ranges) : 0);
	at.tables = layout_next(at.scratch, scsi ? QUEUE_SCRATCH_BYTES + QUEUE_ZEROES_BYTES : 0);
	/*
	 * Each queue begins with a page, so that the used ring of up to 256 entries does not lie across two: behind an IOMMU,
	 * QEMU 7.2 writes a used entry that does in two halves, and the second one to a wrong address.
	 */
	at.end = align_to(at.tables + size * table_len(setup) * sizeof(struct virtq_desc),
			  QUEUE_PAGE);
	return at;
}

size_t queue_shared_bytes(const struct queue_setup *setup)
{
	return layout_make(setup).end;
}

static int ring_init(struct ringlane_queue *queue, const struct queue_setup *setup, uint8_t *shared,
		     struct virtq_driver_slot *slots)
{
	const struct layout at = layout_make(setup);
	const struct virtq_config config = {
		.layout = VIRTQ_SPLIT,
		.size = setup->size,
		.indirect = setup->indirect,
		.event_idx = setup->event_idx,
		/* QEMU's virtio-scsi counts data that it read (7.2: hw/scsi/virtio-scsi.c, virtio_scsi_complete_req) */
		.lengths_are_vague = setup->kind == QUEUE_SCSI,
		.memory = { .desc = (void *)shared,
			    .avail = (void *)(shared + at.avail),
			    .used = (void *)(shared + at.used) },
	};
	const struct virtq_driver_tables tables = {
		.slots = slots,
		.tables = setup->indirect ? (void *)(shared + at.tables) : NULL,
		.tables_addr = (uintptr_t)shared + at.tables + setup->shared_delta,
		.table_len = table_len(setup),
	};

	queue->lines = (void *)(shared + at.lines);
	queue->wire = shared + at.lines;
	queue->wire_responses = queue->wire + wire_make(setup).request;
	queue->wire_shift = (uint8_t)__builtin_ctzl(wire_make(setup).stride);
	queue->scsi.scratch = shared + at.scratch;
	queue->ranges = setup->has_ranges ? (void *)(shared + at.ranges) : NULL;
	return virtq_driver_init(&queue->ring, &config, &tables);
}

void queue_ring_make(struct ringlane_queue *queue, const struct queue_setup *setup)
{
	uint8_t *shared = (uint8_t *)queue->ring.memory.desc;
	int ret;

	queue->shared_delta = setup->shared_delta;
	queue->gone_fd = setup->gone_fd;
	queue->gone_events = setup->gone_events;
	queue->gone = false;
	queue->empty_reaps = 0;
	queue->id_last = 0;
	ret = ring_init(queue, setup, shared, queue->ring.slots);
	assert(ret == 0); /* the size was good before */
	virtq_driver_calls_suppress(&queue->ring);
	event_fd_clear(queue->kick_fd); /* meant for the ring before */
}

/* The arrays that the device does not see, behind the queue itself. */
static struct ringlane_queue *queue_alloc(const struct queue_setup *setup,
					  struct virtq_driver_slot **ret_slots)
{
	size_t scsi = setup->kind == QUEUE_SCSI ? setup->size : 0, sgs = setup->limits->seg_max + 2;
	size_t at_slots = layout_next(0, sizeof(struct ringlane_queue));
	size_t at_user_data = layout_next(at_slots, setup->size * sizeof(struct virtq_driver_slot));
	size_t at_sg = layout_next(at_user_data, setup->size * sizeof(void *));
	size_t at_scsi_slots = layout_next(at_sg, sgs * sizeof(struct virtq_sg));
	size_t at_targets = layout_next(at_scsi_slots, scsi * sizeof(struct scsi_slot));
	size_t at_stash = layout_next(at_targets, scsi * sizeof(struct scsi_targets));
	size_t bytes = layout_next(at_stash, scsi * sizeof(struct ringlane_completion));
	uint8_t *block = aligned_alloc(2 * CACHE_LINE, bytes);
	struct ringlane_queue *queue = (void *)block;

	if (!block)
		return NULL;
	*queue = (struct ringlane_queue){
		.kind = setup->kind,
		.scsi = { .cdb_size = setup->cdb_size,
			  .sense_size = setup->sense_size,
			  .request_bytes = SCSI_HEADER_BYTES + setup->cdb_size,
			  .response_bytes = SCSI_RESPONSE_BYTES + setup->sense_size,
			  .slots = (void *)(block + at_scsi_slots),
			  .targets = (void *)(block + at_targets),
			  .stash = (void *)(block + at_stash),
			  .tag = setup->tag_base },
		.limits = setup->limits,
		.memory = setup->memory,
		.shared_delta = setup->shared_delta,
		.user_data = (void *)(block + at_user_data),
		.sg = (void *)(block + at_sg),
		.kick_fd = -1,
		.call_fd = -1,
		.gone_fd = setup->gone_fd,
		.gone_events = setup->gone_events,
	};
	*ret_slots = (void *)(block + at_slots);
	return queue;
}

/* Header, data and status take three descriptors at most, whatever the ring decides about tables. */
static unsigned depth_of(const struct queue_setup *setup)
{
	return setup->size / 3;
}

int queue_new(const struct queue_setup *setup, void *shared, struct ringlane_queue **ret_queue,
	      struct error *error)
{
	struct virtq_driver_slot *slots;
	struct ringlane_queue *queue = queue_alloc(setup, &slots);
	int ret;

	if (!queue)
		return error_set(error, -ENOMEM, "out of memory");
	queue->kick_fd = event_fd_new();
	queue->call_fd = event_fd_new();
	ret = MIN(queue->kick_fd, queue->call_fd);
	if (ret >= 0)
		ret = ring_init(queue, setup, shared, slots);
	if (ret < 0) {
		queue_free(queue);
		return error_set(error, ret, "cannot make a queue of %u entries: %s", setup->size,
				 strerrordesc_np(-ret));
	}
	queue->depth = depth_of(setup);
	virtq_driver_calls_suppress(&queue->ring);
	memory_cursor_add(setup->memory, &queue->cursor);
	*ret_queue = queue;
	return 0;
}

void queue_free(struct ringlane_queue *queue)
{
	if (!queue)
		return;
	fd_close(&queue->kick_fd);
	fd_close(&queue->call_fd);
	free(queue->returned.completions);
	free(queue);
}

unsigned ringlane_queue_depth(const struct ringlane_queue *queue)
{
	return queue->depth;
}

unsigned ringlane_queue_in_flight(const struct ringlane_queue *queue)
{
	return queue->in_flight;
}

/* ---- submitting and reaping ---- */

bool queue_publish(struct ringlane_queue *queue)
{
	struct virtq_driver *ring = &queue->ring;

	if (ring->avail_next == ring->avail_public)
		return false;
	virtq_driver_publish(ring);
	return virtq_driver_should_kick(ring);
}

void queue_ring(const struct ringlane_queue *queue)
{
	if (queue->doorbell.reg)
		doorbell_ring(&queue->doorbell);
	else
		event_fd_signal(queue->kick_fd);
}

int ringlane_submit(struct ringlane_queue *queue)
{
	if (!queue_publish(queue))
		return 0;
	queue_ring(queue);
	return 1;
}

static int result_of(uint8_t status)
{
	switch (status) {
	case VIRTIO_BLK_S_OK:
		return 0;
	case VIRTIO_BLK_S_IOERR:
		return -EIO;
	case VIRTIO_BLK_S_UNSUPP:
		return -EOPNOTSUPP;
	default:
		return -EPROTO;
	}
}

/* The peer has closed the socket. Readability alone says nothing: another thread may be in a dialogue. */
static bool is_gone(struct ringlane_queue *queue)
{
	struct pollfd socket = { .fd = queue->gone_fd, .events = queue->gone_events };

	if (!queue->gone && poll(&socket, 1, 0) > 0)
		queue->gone = true;
	return queue->gone;
}

/* took: what virtq_driver_take said. One more look after the socket: the last completions came before the end. */
int queue_reap_nothing(struct ringlane_queue *queue, int took)
{
	if (took < 0)
		return took;
	if (likely(++queue->empty_reaps < EMPTY_REAPS_MAX && !queue->gone))
		return 0;
	queue->empty_reaps = 0;
	if (!is_gone(queue) || virtq_driver_has_work(&queue->ring))
		return 0;
	return -ECONNRESET;
}

/* Takes ids first and looks at the statuses then, so that the misses of a batch overlap. */
int ringlane_reap(struct ringlane_queue *queue, struct ringlane_completion *completions,
		  unsigned max)
{
	unsigned count = 0;
	int took = 0;

	if (unlikely(queue->returned.count))
		return (int)queue_returned_take(queue, completions, max);
	if (unlikely(queue->kind != QUEUE_BLK))
		return scsi_queue_reap(queue, completions, max);
	if (virtq_driver_has_work(&queue->ring)) /* often the same one again */
		prefetch_for_write(&queue->lines[queue->id_last]);
	for (; count < max; count++) {
		uint32_t written;
		uint16_t id;

		took = virtq_driver_take(&queue->ring, &id, &written);
		if (took <= 0)
			break;
		queue->id_last = id;
		prefetch_for_write(&queue->lines[id]); /* the next request's header */
		completions[count].user_data = queue->user_data[id];
		completions[count].result = id;
	}
	for (unsigned i = 0; i < count; i++) {
		const struct queue_line *line = &queue->lines[completions[i].result];

		completions[i].result = result_of(load_relaxed(&line->status));
	}
	if (!count)
		return max ? queue_reap_nothing(queue, took) : 0;
	queue->in_flight -= count;
	queue->empty_reaps = 0;
	return (int)count;
}

/* ---- waiting ---- */

int ringlane_queue_fd(const struct ringlane_queue *queue)
{
	return queue->call_fd;
}

int ringlane_queue_arm(struct ringlane_queue *queue)
{
	event_fd_clear(queue->call_fd);
	return virtq_driver_calls_enable(&queue->ring, 0) || queue->scsi.stashed ||
	       queue->returned.count || queue->ring.broken || is_gone(queue);
}

void ringlane_queue_disarm(struct ringlane_queue *queue)
{
	virtq_driver_calls_suppress(&queue->ring);
}

struct wait {
	struct ringlane_completion *completions;
	unsigned min, max, got;
	uint64_t spin_ns, deadline;
	int error; /* of the last reap */
};

/* True: the wait is over. */
static bool wait_reap(struct ringlane_queue *queue, struct wait *wait)
{
	int ret = ringlane_reap(queue, wait->completions + wait->got, wait->max - wait->got);

	if (ret < 0)
		wait->error = ret;
	else
		wait->got += (unsigned)ret;
	return ret < 0 || wait->got >= wait->min;
}

/* Polls as long as something comes in each window of spin_ns. True: the wait is over. */
static bool wait_spin(struct ringlane_queue *queue, struct wait *wait)
{
	uint64_t end = clock_ns() + wait->spin_ns;

	while (clock_ns() < MIN(end, wait->deadline)) {
		unsigned before = wait->got;

		for (unsigned i = 0; i < SPINS_PER_CLOCK; i++) {
			if (wait_reap(queue, wait))
				return true;
			cpu_relax();
		}
		if (wait->got != before)
			end = clock_ns() + wait->spin_ns;
	}
	return false;
}

/* Rounded up, so that the last wait does not turn into a loop of zeros. */
static int timeout_until(uint64_t deadline)
{
	uint64_t now = clock_ns(), left_ms;

	if (deadline == UINT64_MAX)
		return -1;
	if (deadline <= now)
		return 0;
	left_ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
	return (int)MIN(left_ms, (uint64_t)INT32_MAX);
}

void queue_sleep(struct ringlane_queue *queue, uint64_t deadline)
{
	struct pollfd fds[] = {
		{ .fd = queue->call_fd, .events = POLLIN },
		{ .fd = queue->gone_fd, .events = queue->gone_events },
	};
	bool suppressed = queue->ring.calls_suppressed;

	if (!virtq_driver_calls_enable(&queue->ring, 0) && !queue->ring.broken)
		poll(fds, ARRAY_SIZE(fds), timeout_until(deadline));
	if (fds[0].revents)
		event_fd_clear(queue->call_fd);
	if (fds[1].revents)
		queue->gone = true;
	if (suppressed)
		virtq_driver_calls_suppress(&queue->ring);
}

/* Sleeps until the device calls or is gone. True: the wait is over. */
static bool wait_sleep(struct ringlane_queue *queue, struct wait *wait)
{
	struct pollfd fds[] = {
		{ .fd = queue->call_fd, .events = POLLIN },
		{ .fd = queue->gone_fd, .events = queue->gone_events },
	};
	unsigned missing = MIN(wait->min - wait->got, queue->in_flight);
	int ready;

	if (virtq_driver_calls_enable(&queue->ring, (uint16_t)(missing - 1)))
		return wait_reap(queue, wait) || clock_ns() >= wait->deadline;
	ready = poll(fds, ARRAY_SIZE(fds), timeout_until(wait->deadline));
	if (fds[0].revents)
		event_fd_clear(queue->call_fd);
	if (ready > 0 && fds[1].revents)
		queue->gone = true;
	return wait_reap(queue, wait) || ready < 0 || clock_ns() >= wait->deadline;
}

int ringlane_wait(struct ringlane_queue *queue, struct ringlane_completion *completions,
		  unsigned min, unsigned max, int timeout_ms, uint64_t spin_ns)
{
	struct wait wait = { .completions = completions, .max = max, .deadline = UINT64_MAX };

	ringlane_submit(queue);
	wait.min = MIN(MIN(min, max), queue->in_flight);
	wait.spin_ns = MIN(spin_ns, UINT64_MAX / 2); /* for ever, and no clock overflows */
	if (wait_reap(queue, &wait))
		return wait.got ? (int)wait.got : wait.error;
	if (timeout_ms >= 0)
		wait.deadline = clock_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	if (!spin_ns || !wait_spin(queue, &wait)) {
		while (!wait_sleep(queue, &wait))
			;
		virtq_driver_calls_suppress(&queue->ring);
	}
	return wait.got ? (int)wait.got : wait.error;
}
