// SPDX-License-Identifier: MIT
/*
 * Handles of LUNs: what a LUN is, asked once, and what requests on it are checked against.
 *
 * Only INQUIRY and a capacity are required of a disk; of the rest, a page or command that the LUN does not know is a limit that
 * it does not have. Queues read only the limits, of which the capacity alone changes, as one word.
 *
 * The owner's thread, which has the queue at its disposal.
 */
#include "driver/device.h"
#include "driver/scsi.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VPD_BYTES 255u
#define CACHING_WCE 0x04
#define CACHING_SAVEABLE 0x80

enum {
	TEST_UNIT_READY = 0x00,
	INQUIRY = 0x12,
	MODE_SELECT_6 = 0x15,
	MODE_SENSE_6 = 0x1a,
	READ_CAPACITY_10 = 0x25,
	SERVICE_ACTION_IN_16 = 0x9e,
	READ_CAPACITY_16 = 0x10,
	MAINTENANCE_IN = 0xa3,
	REPORT_SUPPORTED_OPERATION_CODES = 0x0c,
	WRITE_SAME_16 = 0x93,
};

/* ---- asking ---- */

/* A conversation with one LUN. */
struct talk {
	const struct ringlane_device *device;
	struct ringlane_queue *queue;
	uint64_t address;
	struct error *error;
	unsigned got;       /* bytes of the last answer, in the queue's scratch memory */
	uint8_t bytes[256]; /* a copy of them: the device may go on writing */
};

int scsi_queue_choose(struct ringlane_device *device, struct ringlane_queue *queue,
		      struct ringlane_queue **ret_queue, struct error *error)
{
	if (device->kind != DEVICE_SCSI)
		return error_set(error, -ENOTSUP, "this is no SCSI device");
	if (!queue)
		queue = device->scsi.own;
	if (!queue)
		return error_set(error, -EBUSY,
				 "all queues are in use: name one that is free, or "
				 "open the device with fewer");
	if (queue->kind != QUEUE_SCSI)
		return error_set(error, -ENOTSUP, "this is a queue of another device");
	*ret_queue = queue;
	return 0;
}

static const char *own_words(int ret)
{
	switch (ret) {
	case -EBUSY:
		return "an earlier command has not come back";
	case -EAGAIN:
		return "the queue is full";
	case -ETIMEDOUT:
		return "no answer";
	case -ECONNRESET:
		return "the back end is gone";
	}
	return strerrordesc_np(-ret);
}

int scsi_error(const struct ringlane_device *device, int ret, uint64_t address, const char *name,
	       const struct ringlane_scsi_result *result, struct error *error)
{
	bool own = result->response == RINGLANE_SCSI_NONE && ret != -EPROTO;
	uint8_t bytes[8];
	char words[160];

	memcpy(bytes, &address, sizeof(bytes));
	ringlane_scsi_strerror(result, words, sizeof(words));
	return error_set(error, ret, "target %u, LUN %u: %s: %s", bytes[1],
			 (bytes[2] & 0x3fu) << 8 | bytes[3], name, own ? own_words(ret) : words);
}

static int talk_exec(struct talk *talk, const char *name, const struct scsi_exec *exec)
{
	struct ringlane_scsi_result result;
	int ret = scsi_exec(talk->queue, exec, talk->device->scsi.timeout_ms, &result, &talk->got);

	if (ret < 0) {
		talk->got = 0;
		return scsi_error(talk->device, ret, talk->address, name, &result, talk->error);
	}
	memcpy(talk->bytes, talk->queue->scsi.scratch, MIN(talk->got, sizeof(talk->bytes)));
	return 0;
}

static int talk_ask(struct talk *talk, const char *name, unsigned bytes, const uint8_t cdb[16])
{
	struct scsi_exec exec = { .address = talk->address, .bytes = bytes };

	assert(bytes <= sizeof(talk->bytes));
	exec.direction = bytes ? RINGLANE_SCSI_DATA_IN : RINGLANE_SCSI_NO_DATA;
	memcpy(exec.cdb, cdb, sizeof(exec.cdb));
	return talk_exec(talk, name, &exec);
}

/* A LUN that does not know the page or command has said so; talk->got is 0 then. */
static int talk_ask_perhaps(struct talk *talk, const char *name, unsigned bytes,
			    const uint8_t cdb[16])
{
	int ret = talk_ask(talk, name, bytes, cdb);

	return ret == -EINVAL || ret == -EOPNOTSUPP ? 0 : ret;
}

static int ask_page(struct talk *talk, uint8_t page)
{
	const uint8_t cdb[16] = { INQUIRY, 1, page, 0, VPD_BYTES };

	return talk_ask_perhaps(talk, "INQUIRY of a page", VPD_BYTES, cdb);
}

/* ---- what a LUN is ---- */

static int ask_identity(struct talk *talk, struct ringlane_lun_info *info)
{
	const uint8_t inquiry[16] = { INQUIRY, 0, 0, 0, 96 }, ready[16] = { TEST_UNIT_READY };
	int ret = talk_ask(talk, "INQUIRY", 96, inquiry);

	if (ret < 0)
		return ret;
	if (!scsi_parse_inquiry(talk->bytes, talk->got, &info->unit))
		return error_set(talk->error, -ENXIO, "target %u has no LUN %u", info->unit.target,
				 info->unit.lun);
	return talk_ask(talk, "TEST UNIT READY", 0, ready);
}

static int ask_capacity(struct talk *talk, struct ringlane_lun_info *info)
{
	const uint8_t long_form[16] = { SERVICE_ACTION_IN_16, READ_CAPACITY_16, [13] = 32 };
	const uint8_t short_form[16] = { READ_CAPACITY_10 };
	int ret = talk_ask_perhaps(talk, "READ CAPACITY (16)", 32, long_form);

	if (ret < 0)
		return ret;
	if (talk->got) {
		ret = scsi_parse_capacity16(talk->bytes, talk->got, info);
	} else {
		ret = talk_ask(talk, "READ CAPACITY (10)", 8, short_form);
		if (ret < 0)
			return ret;
		ret = scsi_parse_capacity10(talk->bytes, talk->got, info);
	}
	return ret < 0 ? error_set(talk->error, ret, "target %u, LUN %u: an impossible capacity",
				   info->unit.target, info->unit.lun) :
			 0;
}

/* pages: 0x00 the current values, 0x40 which bits can be changed. Returns where the page is, 0: nowhere. */
static int ask_caching(struct talk *talk, uint8_t values, bool *ret_write_protected)
{
	const uint8_t cdb[16] = { MODE_SENSE_6, 0x08, 0x08 | values, 0, 192 };
	int ret = talk_ask_perhaps(talk, "MODE SENSE (6)", 192, cdb);

	return ret < 0 ? ret : (int)scsi_parse_caching(talk->bytes, talk->got, ret_write_protected);
}

static int ask_modes(struct talk *talk, struct ringlane_lun_info *info)
{
	bool write_protected, nothing;
	int at = ask_caching(talk, 0x00, &write_protected);

	if (at < 0)
		return at;
	info->read_only = write_protected;
	info->write_cache = at && (talk->bytes[at + 2] & CACHING_WCE);
	at = at ? ask_caching(talk, 0x40, &nothing) : 0;
	if (at < 0)
		return at;
	info->can_switch_write_cache = at && (talk->bytes[at + 2] & CACHING_WCE);
	return 0;
}

static int ask_pages(struct talk *talk, struct ringlane_lun_info *info, struct scsi_limits *limits,
		     bool *ret_unmap)
{
	bool has_serial, has_names, has_limits, has_provisioning;
	int ret = ask_page(talk, 0x00);

	*ret_unmap = false;
	*limits = (struct scsi_limits){ .transfer_max = 0 };
	has_serial = scsi_parse_has_page(talk->bytes, talk->got, 0x80);
	has_names = scsi_parse_has_page(talk->bytes, talk->got, 0x83);
	has_limits = scsi_parse_has_page(talk->bytes, talk->got, 0xb0);
	has_provisioning = scsi_parse_has_page(talk->bytes, talk->got, 0xb2);
	if (ret == 0 && has_serial && (ret = ask_page(talk, 0x80)) == 0)
		scsi_parse_serial(talk->bytes, talk->got, info->serial, sizeof(info->serial));
	if (ret == 0 && has_names && (ret = ask_page(talk, 0x83)) == 0)
		info->wwn = scsi_parse_wwn(talk->bytes, talk->got);
	if (ret == 0 && has_limits && (ret = ask_page(talk, 0xb0)) == 0)
		scsi_parse_limits(talk->bytes, talk->got, limits);
	if (ret == 0 && has_provisioning && (ret = ask_page(talk, 0xb2)) == 0)
		scsi_parse_provisioning(talk->bytes, talk->got, info, ret_unmap);
	return ret;
}

/* SPC-4, 6.35. A LUN that does not tell has the command when a page speaks of it. */
static int ask_write_same(struct talk *talk, const struct scsi_limits *limits,
			  struct ringlane_lun *lun, bool *ret_has)
{
	const uint8_t cdb[16] = { MAINTENANCE_IN, REPORT_SUPPORTED_OPERATION_CODES, 0x01,
				  WRITE_SAME_16, [9] = 20 };
	int ret = talk_ask_perhaps(talk, "REPORT SUPPORTED OPERATION CODES", 20, cdb);

	*ret_has = limits->write_same_max || lun->info.write_zeroes_may_unmap;
	if (ret < 0 || talk->got < 6)
		return ret;
	*ret_has = (talk->bytes[1] & 0x07) == 0x03;
	lun->write_same_ndob = *ret_has && (talk->bytes[5] & 0x01);
	return 0;
}

/* ---- limits ---- */

static uint64_t blocks_to_bytes(uint64_t blocks, uint32_t block)
{
	return MIN(blocks, (uint64_t)UINT32_MAX) * block;
}

static void limits_set(struct ringlane_lun *lun, const struct scsi_limits *said, bool unmap,
		       bool write_same)
{
	const struct scsi_config *config = &lun->device->scsi.config;
	struct ringlane_lun_info *info = &lun->info;
	uint32_t block = info->logical_block_size;

	info->request_max = MIN((uint64_t)QUEUE_REQUEST_MAX, config->request_max);
	if (said->transfer_max)
		info->request_max = MIN(info->request_max, said->transfer_max * block);
	info->request_max = MAX(info->request_max / block, 1u) * block;
	info->optimal_io_size = said->optimal * block;
	info->compare_write_max = said->compare_write_max * block;
	if (unmap && said->unmap_max && said->unmap_ranges) {
		info->discard_max = blocks_to_bytes(said->unmap_max, block);
		info->discard_ranges = MIN(said->unmap_ranges, SCSI_RANGES_MAX);
		info->discard_alignment = said->unmap_granularity * block;
	}
	lun->write_same_unmap = info->write_zeroes_may_unmap;
	if (write_same && (lun->write_same_ndob || block <= QUEUE_ZEROES_BYTES))
		info->write_zeroes_max = blocks_to_bytes(
			said->write_same_max ? said->write_same_max : UINT32_MAX, block);
}

/* What queues look at. */
static void limits_publish(struct ringlane_lun *lun)
{
	const struct ringlane_lun_info *info = &lun->info;
	struct queue_limits *limits = &lun->limits;

	*limits = lun->device->limits;
	limits->capacity = info->capacity;
	limits->block_mask = info->logical_block_size - 1;
	limits->discard_max = info->discard_max;
	limits->discard_ranges = info->discard_ranges;
	limits->write_zeroes_max = info->write_zeroes_max;
	limits->write_zeroes_ranges = 1;
	limits->read_only = info->read_only;
	limits->flush = true;
	lun->block_shift = (uint8_t)__builtin_ctz(info->logical_block_size);
	lun->request_max = info->request_max;
	lun->compare_write_max = info->compare_write_max;
}

static int lun_ask(struct ringlane_lun *lun, struct talk *talk)
{
	struct ringlane_lun_info *info = &lun->info;
	bool unmap = false, write_same = false;
	struct scsi_limits limits = { 0 };
	int ret = ask_identity(talk, info);

	info->logical_block_size = info->physical_block_size = 512;
	if (ret == 0 && info->unit.type == 0)
		ret = ask_capacity(talk, info);
	if (ret == 0)
		ret = ask_pages(talk, info, &limits, &unmap);
	if (ret == 0 && info->unit.type == 0)
		ret = ask_modes(talk, info);
	if (ret == 0 && info->unit.type == 0)
		ret = ask_write_same(talk, &limits, lun, &write_same);
	if (ret < 0)
		return ret;
	info->read_only |= lun->device->scsi.read_only;
	limits_set(lun, &limits, unmap, write_same);
	limits_publish(lun);
	return 0;
}

/* ---- handles ---- */

static struct talk talk_make(const struct ringlane_device *device, struct ringlane_queue *queue,
			     uint64_t address, struct ringlane_error *error)
{
	return (struct talk){
		.device = device, .queue = queue, .address = address, .error = (struct error *)error
	};
}

int ringlane_lun_open(struct ringlane_device *device, struct ringlane_queue *queue, unsigned target,
		      unsigned number, struct ringlane_lun **ret_lun, struct ringlane_error *error)
{
	struct ringlane_lun *lun;
	struct talk talk;
	int ret = scsi_queue_choose(device, queue, &queue, error_of(error));

	if (ret < 0)
		return ret;
	if (target > 255 || number > 16383)
		return error_set(error_of(error), -EINVAL,
				 "target %u, LUN %u: they go to 255 and 16383", target, number);
	lun = aligned_alloc(CACHE_LINE, sizeof(*lun));
	if (!lun)
		return error_set(error_of(error), -ENOMEM, "out of memory");
	*lun = (struct ringlane_lun){ .device = device, .address = scsi_address(target, number) };
	lun->info.unit.target = (uint16_t)target;
	lun->info.unit.lun = (uint16_t)number;
	talk = talk_make(device, queue, lun->address, error);
	ret = lun_ask(lun, &talk);
	if (ret < 0) {
		free(lun);
		return ret;
	}
	*ret_lun = lun;
	return 0;
}

void ringlane_lun_close(struct ringlane_lun *lun)
{
	free(lun);
}

struct ringlane_lun *ringlane_lun_default(struct ringlane_device *device)
{
	return device->scsi.lun;
}

void ringlane_lun_get_info(const struct ringlane_lun *lun, struct ringlane_lun_info *ret_info)
{
	*ret_info = lun->info;
}

int ringlane_lun_refresh(struct ringlane_lun *lun, struct ringlane_queue *queue,
			 struct ringlane_error *error)
{
	struct ringlane_lun_info info = lun->info;
	struct talk talk;
	int ret = scsi_queue_choose(lun->device, queue, &queue, error_of(error));

	if (ret < 0)
		return ret;
	talk = talk_make(lun->device, queue, lun->address, error);
	if (info.unit.type != 0)
		return 0;
	ret = ask_capacity(&talk, &info);
	if (ret == 0)
		ret = ask_modes(&talk, &info);
	if (ret < 0)
		return ret;
	if (info.logical_block_size != lun->info.logical_block_size)
		return error_set(error_of(error), -EPROTO,
				 "target %u, LUN %u: another block size, open it again",
				 info.unit.target, info.unit.lun);
	info.read_only |= lun->device->scsi.read_only;
	lun->info = info;
	store_relaxed(&lun->limits.capacity, info.capacity);
	if (lun == lun->device->scsi.lun)
		scsi_device_info_update(lun->device);
	return 0;
}

/* ---- the write cache: SPC-4, 6.9 and SBC-4, 6.5.6 ---- */

static int caching_select(struct talk *talk, unsigned at, bool on)
{
	struct scsi_exec exec = {
		.address = talk->address,
		.cdb = { MODE_SELECT_6, 0x10 },
		.direction = RINGLANE_SCSI_DATA_OUT,
	};
	unsigned page_bytes = MIN(talk->bytes[at + 1] + 2u, talk->got - at);
	uint8_t *list = talk->queue->scsi.scratch, *page = talk->bytes + at;

	if (talk->queue->scsi.scratch_busy)
		return error_set(talk->error, -EBUSY, "an earlier command has not come back");
	page[0] &= (uint8_t)~CACHING_SAVEABLE;
	page[2] = (uint8_t)((page[2] & ~CACHING_WCE) | (on ? CACHING_WCE : 0));
	memset(list, 0, 4);
	memcpy(list + 4, page, page_bytes);
	exec.bytes = 4 + page_bytes;
	exec.cdb[4] = (uint8_t)exec.bytes;
	return talk_exec(talk, "MODE SELECT (6)", &exec);
}

int ringlane_lun_set_write_cache(struct ringlane_lun *lun, struct ringlane_queue *queue, bool on,
				 struct ringlane_error *error)
{
	struct talk talk;
	bool write_protected;
	int ret = scsi_queue_choose(lun->device, queue, &queue, error_of(error));

	if (ret < 0)
		return ret;
	if (!lun->info.can_switch_write_cache)
		return error_set(error_of(error), -EOPNOTSUPP,
				 "the LUN's write cache cannot be switched");
	talk = talk_make(lun->device, queue, lun->address, error);
	ret = ask_caching(&talk, 0x00, &write_protected);
	if (ret == 0)
		return error_set(error_of(error), -EPROTO, "the LUN has no caching page any more");
	if (ret > 0)
		ret = caching_select(&talk, (unsigned)ret, on);
	return ret < 0 ? ret : ringlane_lun_refresh(lun, queue, error);
}
