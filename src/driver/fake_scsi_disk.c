// SPDX-License-Identifier: MIT
/* The test's SCSI disk: as little of SPC-4 and SBC-4 as a driver asks for. On the fake's thread. */
#include "driver/fake_scsi_internal.h"

#include "base/atomic.h"
#include "base/compiler.h"

#include <endian.h>
#include <string.h>

static void put16(uint8_t *to, uint16_t value)
{
	value = htobe16(value);
	memcpy(to, &value, sizeof(value));
}

static void put32(uint8_t *to, uint32_t value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof(value));
}

static void put64(uint8_t *to, uint64_t value)
{
	value = htobe64(value);
	memcpy(to, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return be32toh(value);
}

static void refuse(struct fake_task *task, uint8_t key, uint8_t asc)
{
	task->answer->status = 2;
	task->answer->sense_len = 18;
	task->answer->sense[0] = 0x70;
	task->answer->sense[2] = key;
	task->answer->sense[7] = 10;
	task->answer->sense[12] = asc;
}

static void give(struct fake_task *task, const void *bytes, uint32_t size)
{
	task->got = MIN(size, task->in_bytes);
	memcpy(task->data, bytes, task->got);
}

static void inquiry_page(const struct fake_disk_facts *facts, struct fake_task *task, uint8_t page)
{
	uint8_t bytes[64] = { 0, page };

	if (facts->setup.no_pages) {
		refuse(task, 5, 0x24);
		return;
	}
	switch (page) {
	case 0x00:
		memcpy(bytes + 4, "\x00\x80\x83\xb0\xb2", 5);
		put16(bytes + 2, 5);
		break;
	case 0x80:
		memcpy(bytes + 4, FAKE_SCSI_SERIAL, sizeof(FAKE_SCSI_SERIAL) - 1);
		put16(bytes + 2, sizeof(FAKE_SCSI_SERIAL) - 1);
		break;
	case 0x83:
		memcpy(bytes + 4, "\x01\x03\x00\x08", 4);
		put64(bytes + 8, FAKE_SCSI_WWN);
		put16(bytes + 2, 12);
		break;
	case 0xb0:
		bytes[5] = 1;
		put32(bytes + 8, 32);
		put32(bytes + 20, 64);
		put32(bytes + 24, 4);
		put64(bytes + 36, 128);
		put16(bytes + 2, 0x3c);
		break;
	case 0xb2:
		bytes[5] = 0xc0;
		put16(bytes + 2, 4);
		break;
	default:
		refuse(task, 5, 0x24);
		return;
	}
	give(task, bytes, sizeof(bytes));
}

static void inquiry(const struct fake_disk_facts *facts, struct fake_task *task, const uint8_t *cdb)
{
	uint8_t bytes[36] = { 0, 0, 6, 2, 31 };

	if (cdb[1] & 1) {
		inquiry_page(facts, task, cdb[2]);
		return;
	}
	memcpy(bytes + 8, "FAKE    A disk\xff          1.0 ", 28);
	give(task, bytes, sizeof(bytes));
}

static void read_capacity(const struct fake_disk_facts *facts, struct fake_task *task,
			  bool long_form)
{
	uint32_t last = load_acquire(&facts->last_block);
	uint8_t bytes[32] = { 0 };

	if (long_form && facts->setup.short_capacity) {
		refuse(task, 5, 0x20);
		return;
	}
	if (long_form) {
		put64(bytes, last);
		put32(bytes + 8, 512);
		bytes[13] = 3;
		bytes[14] = 0xc0;
	} else {
		put32(bytes, last);
		put32(bytes + 4, 512);
	}
	give(task, bytes, long_form ? 32 : 8);
}

static void mode_sense(const struct fake_disk_facts *facts, struct fake_task *task)
{
	const uint8_t bytes[24] = { 23, 0, 0x10, 0, 0x08, 18, 0x04 };

	if (facts->setup.no_mode_page)
		refuse(task, 5, 0x24);
	else
		give(task, bytes, sizeof(bytes));
}

static void report_luns(const struct fake_disk_facts *facts, struct fake_task *task)
{
	static uint8_t bytes[8 + 8 * 512];
	unsigned count = MIN(facts->setup.luns, 512u);

	if (facts->setup.no_report_luns) {
		refuse(task, 5, 0x20);
		return;
	}
	memset(bytes, 0, sizeof(bytes));
	put32(bytes, facts->setup.luns * 8);
	for (unsigned i = 0; i < count; i++)
		put16(bytes + 8 + 8 * i, (uint16_t)(facts->setup.first_lun + i < 256 ?
							    facts->setup.first_lun + i :
							    0x4000 | (facts->setup.first_lun + i)));
	give(task, bytes, 8 + 8 * count);
}

static void transfer(struct fake_disk_facts *facts, struct fake_task *task, const uint8_t *cdb)
{
	uint32_t lba = get32(cdb + 2), blocks = (uint32_t)cdb[7] << 8 | cdb[8];
	bool write = cdb[0] == 0x2a;

	if (lba + blocks > FAKE_SCSI_BLOCKS || blocks > 128) {
		refuse(task, 5, 0x21);
		return;
	}
	if (write)
		memcpy(facts->bytes + lba * 512, task->data, (size_t)blocks * 512);
	else
		give(task, facts->bytes + lba * 512, blocks * 512);
}

static bool has_lun(const struct fake_disk_facts *facts, const uint8_t *request)
{
	unsigned lun = (request[2] & 0x3fu) << 8 | request[3];

	return lun - facts->setup.first_lun < facts->setup.luns;
}

void fake_task_run(struct fake_disk_facts *facts, struct fake_task *task)
{
	const uint8_t *cdb = task->request + 19;
	bool well_known = task->request[2] == 0xc1 && cdb[0] == 0xa0;

	if (task->request[1] != 0) {
		task->answer->response = VIRTIO_SCSI_S_BAD_TARGET;
		return;
	}
	if (!has_lun(facts, task->request) && !well_known) {
		refuse(task, 5, 0x25);
		return;
	}
	switch (cdb[0]) {
	case 0x00:
	case 0x35:
	case 0x42:
	case 0x93:
	case 0x15:
		return;
	case 0x12:
		inquiry(facts, task, cdb);
		return;
	case 0x1a:
		mode_sense(facts, task);
		return;
	case 0x25:
		read_capacity(facts, task, false);
		return;
	case 0x9e:
		read_capacity(facts, task, true);
		return;
	case 0xa0:
		report_luns(facts, task);
		return;
	case 0x28:
	case 0x2a:
		transfer(facts, task, cdb);
		return;
	}
	refuse(task, 5, 0x20);
}
