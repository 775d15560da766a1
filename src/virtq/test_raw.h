/* SPDX-License-Identifier: MIT */
/*
 * For the tests of the device's end: a raw writer of rings that knows no rules.
 *
 * The ring lies in guest memory too, so that tables can point into it. Guest memory: two pages, each a region, then nothing.
 */
#ifndef RINGLANE_VIRTQ_TEST_RAW_H
#define RINGLANE_VIRTQ_TEST_RAW_H

#include "virtq/test_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#define SIZE 4u
#define BASE 65534u
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* Guest addresses */
#define DESC TEST_GUEST
#define AVAIL (TEST_GUEST + 0x100)
#define USED (TEST_GUEST + 0x200)
#define TABLE (TEST_GUEST + 0x400)
#define DATA (TEST_GUEST + 0x800)
#define BORDER (TEST_GUEST + TEST_PAGE)
#define END (TEST_GUEST + 2 * TEST_PAGE)

struct raw_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct raw_ring {
	const char *name, *reason;
	bool no_indirect;
	uint16_t head, ahead; /* avail->idx is BASE + ahead; 0 = 1 */
	uint64_t table;       /* where `indirect` is put; 0 = TABLE */
	struct raw_desc descs[SIZE], indirect[6];
	/* legal ones */
	unsigned readable, writable; /* entries */
	uint64_t readable_bytes, writable_bytes;
};

struct fixture {
	struct test_memory memory;
	struct virtq_device device;
	struct iovec iov[8];
	struct virtq_chain chain;
};

static inline uint8_t *guest(const struct fixture *fixture, uint64_t addr)
{
	return fixture->memory.flat + (addr - TEST_GUEST);
}

static inline void raw_put(const struct fixture *fixture, uint64_t addr,
			   const struct raw_desc *descs, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct virtq_desc desc = { le64_make(descs[i].addr), le32_make(descs[i].len),
					   le16_make(descs[i].flags), le16_make(descs[i].next) };

		if (addr + 16 * (i + 1ull) <= END)
			memcpy(guest(fixture, addr + 16ull * i), &desc, sizeof(desc));
	}
}

static inline void raw_put16(const struct fixture *fixture, uint64_t addr, unsigned value)
{
	struct le16 raw = le16_make((uint16_t)value);

	memcpy(guest(fixture, addr), &raw, sizeof(raw));
}

static inline unsigned raw_get16(const struct fixture *fixture, uint64_t addr)
{
	struct le16 raw;

	memcpy(&raw, guest(fixture, addr), sizeof(raw));
	return le16_get(raw);
}

static inline void raw_write(const struct fixture *fixture, const struct raw_ring *raw)
{
	raw_put(fixture, DESC, raw->descs, SIZE);
	if (raw->indirect[0].len || raw->indirect[0].flags || raw->indirect[0].addr)
		raw_put(fixture, raw->table ? raw->table : TABLE, raw->indirect,
			ARRAY_SIZE(raw->indirect));
	raw_put16(fixture, AVAIL + 4 + 2 * (BASE % SIZE), raw->head);
	raw_put16(fixture, AVAIL + 2, BASE + (raw->ahead ? raw->ahead : 1u));
}

static inline void fixture_init(struct fixture *fixture, bool indirect, bool event_idx)
{
	struct virtq_config config = {
		.size = SIZE, .base = BASE, .indirect = indirect, .event_idx = event_idx
	};

	memset(fixture, 0xa5, sizeof(*fixture));
	test_memory_init(&fixture->memory, 2 * TEST_PAGE);
	config.memory = (struct virtq_memory){ (struct virtq_desc *)guest(fixture, DESC),
					       (struct virtq_avail *)guest(fixture, AVAIL),
					       (struct virtq_used *)guest(fixture, USED) };
	memset(fixture->memory.flat + 0x300, 0xcc, 2 * TEST_PAGE - 0x300);
	raw_put16(fixture, AVAIL + 2, BASE);
	raw_put16(fixture, USED + 2, BASE);
	assert_int_equal(virtq_device_init(&fixture->device, &config, fixture->memory.map), 0);
}

static inline void fixture_fini(struct fixture *fixture)
{
	test_memory_fini(&fixture->memory);
}

static inline int pop(struct fixture *fixture)
{
	return virtq_device_pop(&fixture->device, fixture->iov, ARRAY_SIZE(fixture->iov),
				&fixture->chain);
}

#endif
