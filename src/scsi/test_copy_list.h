/* SPDX-License-Identifier: MIT */
/* For the tests of EXTENDED COPY: parameter lists. */
#ifndef RINGLANE_SCSI_TEST_COPY_LIST_H
#define RINGLANE_SCSI_TEST_COPY_LIST_H

#include "scsi/fixture.h"

#include <string.h>

#define BLOCK 512u
#define DISK_BLOCKS 2048u
#define DISK_BYTES (DISK_BLOCKS * BLOCK)
#define COPY_LIST_MAX 4096u

/* A parameter list that grows. */
struct list {
	uint8_t bytes[COPY_LIST_MAX];
	size_t size;
};

struct segment {
	uint16_t source, destination, blocks;
	uint64_t from, to;
	bool destination_counts; /* DC */
};

static inline void list_begin(struct list *list, uint8_t list_id, uint8_t usage)
{
	memset(list, 0, sizeof(*list));
	list->bytes[0] = list_id;
	list->bytes[1] = (uint8_t)(usage << 3);
	list->size = 16;
}

/* An identification descriptor with the unit's NAA name. */
static inline uint8_t *list_add_unit(struct list *list, const struct scsi_unit *unit)
{
	uint8_t *bytes = list->bytes + list->size;

	bytes[0] = 0xe4;
	bytes[4] = 0x01;
	bytes[5] = 0x03;
	bytes[7] = 8;
	be64_put(bytes + 8, scsi_unit_wwn(unit));
	be24_put(bytes + 29, unit->block_size);
	list->size += 32;
	be16_put(list->bytes + 2, (uint16_t)(be16_get(list->bytes + 2) + 32));
	return bytes;
}

static inline uint8_t *list_add_segment(struct list *list, struct segment segment)
{
	uint8_t *bytes = list->bytes + list->size;

	bytes[0] = 0x02;
	bytes[1] = segment.destination_counts ? 0x02 : 0;
	be16_put(bytes + 2, 0x18);
	be16_put(bytes + 4, segment.source);
	be16_put(bytes + 6, segment.destination);
	be16_put(bytes + 10, segment.blocks);
	be64_put(bytes + 12, segment.from);
	be64_put(bytes + 20, segment.to);
	list->size += 28;
	be32_put(list->bytes + 8, be32_get(list->bytes + 8) + 28);
	return bytes;
}

static inline void do_copy_size(struct scsi_fixture *f, const struct list *list, size_t size)
{
	scsi_do_out(f, FIRST,
		    CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size,
			0, 0),
		    list->bytes, size);
	assert_int_equal(f->peers_out, 0);
}

static inline void do_copy(struct scsi_fixture *f, const struct list *list)
{
	do_copy_size(f, list, list->size);
}

/* Within units[0]. */
static inline void make_list(struct scsi_fixture *f, struct list *list, uint8_t list_id,
			     struct segment segment)
{
	list_begin(list, list_id, 0);
	list_add_unit(list, f->unit);
	list_add_segment(list, segment);
}

#endif
