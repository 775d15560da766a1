// SPDX-License-Identifier: MIT
/*
 * A device that writes anything into used rings, responses and event buffers of both drivers, virtio-blk and virtio-scsi, between the
 * requests of a caller who keeps to the rules. Whatever it does: each request that was accepted is completed once at most, with its own
 * user_data and a result that is documented; nothing is written beyond a result; and a queue that is broken stays so.
 *
 * The queues are made as device.c makes them, in memory that no device has; the input plays the device.
 */
#include "driver/device.h"
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_SIZE 16u
#define TOKENS 64u
#define DATA_BYTES 16384u
#define STEPS_MAX 4096u

enum { BLK, SCSI, EVENT, QUEUES };

struct guarded_result {
	struct ringlane_scsi_result result;
	uint64_t guard;
};

#define GUARD 0x5ca1ab1e0ddba11ull

/* A request that is out; its address is the user_data. */
struct token {
	unsigned queue;
	bool out;
	struct guarded_result result;
	char id[20 + 4];
};

struct rig {
	struct ringlane_device device;
	struct queue_limits limits;
	struct ringlane_lun lun;
	struct memory memory;
	struct ringlane_queue *queues[QUEUES];
	uint8_t *shared[QUEUES];
	size_t shared_bytes[QUEUES];
	uint16_t avail_next[QUEUES]; /* of the device */
	uint8_t *data;
	struct token tokens[TOKENS];
	unsigned out[QUEUES];
};

static void check(bool fine)
{
	if (!fine)
		abort();
}

/* ---- making ---- */

static void queue_make(struct rig *rig, unsigned index, enum queue_kind kind)
{
	struct queue_setup setup = {
		.kind = kind,
		.tag_base = (uint64_t)index << 48,
		.cdb_size = 32,
		.sense_size = 96,
		.limits = &rig->limits,
		.memory = &rig->memory,
		.size = RING_SIZE,
		.indirect = true,
		.event_idx = true,
		.has_ranges = true,
		.gone_fd = -1,
	};

	rig->shared_bytes[index] = queue_shared_bytes(&setup);
	rig->shared[index] = aligned_alloc(4096, (rig->shared_bytes[index] + 4095) / 4096 * 4096);
	check(rig->shared[index]);
	memset(rig->shared[index], 0, rig->shared_bytes[index]);
	check(queue_new(&setup, rig->shared[index], &rig->queues[index], NULL) == 0);
}

static void limits_make(struct queue_limits *limits)
{
	*limits = (struct queue_limits){
		.capacity = 1 << 20,
		.block_mask = 511,
		.discard_max = 1 << 16,
		.write_zeroes_max = 1 << 16,
		.discard_ranges = 8,
		.write_zeroes_ranges = 8,
		.seg_max = 6,
		.segment_bytes_max = 4096,
		.flush = true,
	};
}

static struct rig *rig_new(void)
{
	struct rig *rig = aligned_alloc(CACHE_LINE, sizeof(*rig));

	check(rig);
	memset(rig, 0, sizeof(*rig));
	limits_make(&rig->limits);
	limits_make(&rig->lun.limits);
	rig->lun.address = scsi_address(0, 0);
	rig->lun.block_shift = 9;
	rig->lun.write_same_unmap = true;
	rig->lun.request_max = 1 << 16;
	rig->lun.compare_write_max = 4096;
	rig->data = malloc(DATA_BYTES);
	check(rig->data && memory_init(&rig->memory) == 0);
	check(memory_add(&rig->memory, rig->data, DATA_BYTES, 0) == 0);
	queue_make(rig, BLK, QUEUE_BLK);
	queue_make(rig, SCSI, QUEUE_SCSI);
	queue_make(rig, EVENT, QUEUE_EVENT);
	rig->queues[SCSI]->scsi.lun = &rig->lun;
	rig->device.kind = DEVICE_SCSI;
	rig->device.scsi.event = rig->queues[EVENT];
	check(scsi_event_start(&rig->device, NULL) == 0);
	return rig;
}

static void rig_free(struct rig *rig)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		queue_free(rig->queues[i]);
		free(rig->shared[i]);
	}
	memory_fini(&rig->memory);
	free(rig->data);
	free(rig);
}

/* ---- the caller ---- */

static struct token *token_find(struct rig *rig, unsigned queue)
{
	for (unsigned i = 0; i < TOKENS; i++)
		if (!rig->tokens[i].out) {
			rig->tokens[i] = (struct token){ .queue = queue, .result.guard = GUARD };
			return &rig->tokens[i];
		}
	return NULL;
}

static int command_queue(struct rig *rig, struct token *token, unsigned how)
{
	const uint8_t cdb[32] = { (uint8_t)how };
	const struct iovec iov = { rig->data, 512 };
	const struct ringlane_scsi_command command = {
		.cdb = cdb,
		.cdb_len = 1 + how % 32,
		.attribute = how % 4,
		.direction = how % 3,
		.iov = &iov,
		.iov_count = how % 3 ? 1 : 0,
		.result = how & 0x80 ? NULL : &token->result.result,
		.user_data = token,
	};

	return ringlane_lun_command(rig->queues[SCSI], &rig->lun, &command);
}

static int request_queue(struct rig *rig, struct token *token, unsigned kind, unsigned how)
{
	struct ringlane_queue *queue = rig->queues[token->queue];
	const struct iovec iov[] = { { rig->data, 100 }, { rig->data + 5000, 412 } };
	const struct ringlane_range ranges[] = { { 0, 512 }, { how * 512, 1024 } };

	switch (kind) {
	case 0:
		return ringlane_read(queue, rig->data, 512 + how % 8 * 512, how * 512, token);
	case 1:
		return ringlane_write(queue, rig->data, 512, how * 512, token);
	case 2:
		return ringlane_readv(queue, iov, 2, 0, token);
	case 3:
		return ringlane_flush(queue, token);
	case 4:
		return ringlane_discard(queue, ranges, 1 + how % 2, token);
	case 5:
		return ringlane_write_zeroes(queue, ranges, 1, how % 2, token);
	case 6:
		return ringlane_get_id(queue, token->queue == SCSI ? token->id : (char *)rig->data,
				       token);
	}
	if (token->queue == SCSI)
		return command_queue(rig, token, how);
	return ringlane_writev(queue, iov, 2, 0, token);
}

static void step_request(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	struct token *token = token_find(rig, queue);
	unsigned kind = fuzz_byte(bytes) % 8, how = fuzz_byte(bytes);
	int ret;

	if (!token)
		return;
	ret = request_queue(rig, token, kind, how);
	check(ret == 0 || ret == -EAGAIN || ret == -EPROTO);
	check(ret != 0 || !rig->queues[queue]->ring.broken);
	token->out = ret == 0;
	rig->out[queue] += ret == 0;
	check(ringlane_queue_in_flight(rig->queues[queue]) == rig->out[queue]);
}

static void step_reap(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	struct ringlane_completion completions[8];
	bool wait = fuzz_byte(bytes) & 1;
	unsigned max = fuzz_byte(bytes) % 9;
	int ret = wait ? ringlane_wait(rig->queues[queue], completions, 1, max, 0, 0) :
			 ringlane_reap(rig->queues[queue], completions, max);

	check(ret <= (int)max && (ret >= 0 || ret == -EPROTO));
	for (int i = 0; i < ret; i++) {
		struct token *token = completions[i].user_data;

		check(token >= rig->tokens && token < rig->tokens + TOKENS);
		check(token->out && token->queue == queue && token->result.guard == GUARD);
		check(completions[i].result <= 0 && completions[i].result > -4096);
		check(token->result.result.sense_len <= 96);
		token->out = false;
		rig->out[queue]--;
	}
	check(ringlane_queue_in_flight(rig->queues[queue]) == rig->out[queue]);
}

static void step_events(struct rig *rig)
{
	struct ringlane_scsi_event event;
	unsigned count = 0;
	int ret = scsi_event_take(&rig->device);

	check(ret == 0 || ret == 1 || ret == -EPROTO);
	while (ringlane_scsi_event(&rig->device, &event) == 1) {
		check(event.type <= RINGLANE_SCSI_ASYNC_NOTIFY && event.lun < 16384 &&
		      event.target < 256);
		check(++count <= SCSI_EVENTS_KEPT + 1);
	}
}

/* ---- the device ---- */

static void used_put(struct virtq_driver *ring, uint16_t index, uint32_t id, uint32_t len)
{
	ring->memory.used->ring[index & ring->mask] =
		(struct virtq_used_elem){ { htole32(id) }, { htole32(len) } };
}

static uint16_t used_index(const struct virtq_driver *ring)
{
	return le16toh(ring->memory.used->idx.raw);
}

/* One chain as a device should, but with any length. */
static void step_complete(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	struct virtq_driver *ring = &rig->queues[queue]->ring;
	uint16_t next = rig->avail_next[queue], used = used_index(ring);
	uint32_t len = fuzz_byte(bytes);

	if (next == le16toh(ring->memory.avail->idx.raw))
		return;
	used_put(ring, used, le16toh(ring->memory.avail->ring[next & ring->mask].raw), len);
	rig->avail_next[queue]++;
	ring->memory.used->idx.raw = htole16((uint16_t)(used + 1));
}

static void step_lie(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	struct virtq_driver *ring = &rig->queues[queue]->ring;
	uint16_t used = used_index(ring);
	uint32_t id = fuzz_byte(bytes);

	used_put(ring, used, id & 0x80 ? id << 24 | id : id, fuzz_u16(bytes));
	ring->memory.used->idx.raw = htole16((uint16_t)(used + fuzz_byte(bytes) % 4));
}

/* Into the response of a request, or the buffer of an event: where what is written is looked at. */
static void step_answer(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	unsigned id = fuzz_byte(bytes) % RING_SIZE, size = fuzz_byte(bytes) % 32;
	struct ringlane_queue *of = rig->queues[queue];
	uint8_t *to;

	if (queue == BLK)
		to = &of->lines[id].status;
	else
		to = queue == SCSI ? queue_response(of, id) : queue_request(of, id);
	fuzz_fill(bytes, to, queue == BLK ? 1 : size);
}

static void step_scribble(struct rig *rig, unsigned queue, struct fuzz_bytes *bytes)
{
	size_t at = fuzz_u16(bytes) % rig->shared_bytes[queue], size = fuzz_byte(bytes) % 16;

	fuzz_fill(bytes, rig->shared[queue] + at, MIN(size, rig->shared_bytes[queue] - at));
}

/* What a LUN says of itself goes through these. */
static void step_parse(struct fuzz_bytes *bytes)
{
	struct ringlane_lun_info info = { 0 };
	unsigned size = fuzz_byte(bytes), at;
	struct scsi_limits limits;
	uint8_t *page = malloc(size ? size : 1); /* exactly as long as it is */
	bool flag;

	check(page);
	fuzz_fill(bytes, page, size);
	scsi_parse_inquiry(page, size, &info.unit);
	scsi_parse_has_page(page, size, 0xb0);
	scsi_parse_serial(page, size, info.serial, sizeof(info.serial));
	scsi_parse_wwn(page, size);
	scsi_parse_limits(page, size, &limits);
	scsi_parse_provisioning(page, size, &info, &flag);
	at = scsi_parse_caching(page, size, &flag);
	check(at == 0 || at + 3 <= size);
	if (scsi_parse_capacity10(page, size, &info) == 0)
		check(info.capacity && info.logical_block_size >= 512);
	if (scsi_parse_capacity16(page, size, &info) == 0)
		check(info.capacity && info.physical_block_size >= info.logical_block_size);
	for (unsigned i = 0; i < scsi_parse_lun_count(page, size); i++)
		check(scsi_parse_lun(page, i) < 16384);
	check(strlen(info.serial) < sizeof(info.serial));
	free(page);
}

static void step(struct rig *rig, struct fuzz_bytes *bytes)
{
	unsigned what = fuzz_byte(bytes), queue = (what >> 4) % 2;

	switch (what % 16) {
	case 0:
	case 1:
	case 2:
		step_request(rig, queue, bytes);
		return;
	case 3:
	case 4:
		ringlane_submit(rig->queues[queue]);
		return;
	case 5:
	case 6:
		step_complete(rig, what & 0x80 ? EVENT : queue, bytes);
		return;
	case 7:
		step_lie(rig, what & 0x80 ? EVENT : queue, bytes);
		return;
	case 8:
	case 9:
		step_answer(rig, what & 0x80 ? EVENT : queue, bytes);
		return;
	case 10:
		step_scribble(rig, what & 0x80 ? EVENT : queue, bytes);
		return;
	case 11:
	case 12:
		step_reap(rig, queue, bytes);
		return;
	case 13:
		step_events(rig);
		return;
	case 14:
		step_parse(bytes);
		return;
	}
	if (!ringlane_queue_arm(rig->queues[queue]))
		ringlane_queue_disarm(rig->queues[queue]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct rig *rig = rig_new();

	for (unsigned i = 0; bytes.size && i < STEPS_MAX; i++)
		step(rig, &bytes);
	rig_free(rig);
	return 0;
}
