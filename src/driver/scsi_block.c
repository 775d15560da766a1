// SPDX-License-Identifier: MIT
/*
 * Commands of a disk (SBC-4), made from the requests of ringlane.h: checked against the LUN's limits, encoded, queued.
 *
 * Blocks are addressed with 10 bytes while address and length fit, and with 16 beyond: some targets know no others, and the
 * shorter ones are known by all.
 *
 * On the queue's thread. No system calls.
 */
#include "driver/scsi_chain.h"
#include "driver/transfer.h"

#include <string.h>

enum {
	READ_10 = 0x28,
	WRITE_10 = 0x2a,
	SYNCHRONIZE_CACHE_10 = 0x35,
	UNMAP = 0x42,
	INQUIRY = 0x12,
	READ_16 = 0x88,
	COMPARE_AND_WRITE = 0x89,
	WRITE_16 = 0x8a,
	WRITE_SAME_16 = 0x93,
};

#define CDB_BYTES 16
#define WRITE_SAME_UNMAP 0x08
#define WRITE_SAME_NDOB 0x01
#define UNMAP_HEADER_BYTES 8
#define UNMAP_DESCRIPTOR_BYTES 16
#define ID_PAGE_BYTES (4 + 20)

static_assert(UNMAP_HEADER_BYTES + SCSI_RANGES_MAX * UNMAP_DESCRIPTOR_BYTES <=
		      sizeof(struct queue_ranges),
	      "UNMAP's parameters fit where ranges are");

static inline void put16(uint8_t *to, uint16_t value)
{
	value = htobe16(value);
	memcpy(to, &value, sizeof(value));
}

static inline void put32(uint8_t *to, uint32_t value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof(value));
}

static inline void put64(uint8_t *to, uint64_t value)
{
	value = htobe64(value);
	memcpy(to, &value, sizeof(value));
}

/* ---- read and write ---- */

static inline struct scsi_cdb cdb_blocks(bool write, uint64_t lba, uint32_t blocks)
{
	uint64_t first, second;

	if (likely(lba + blocks <= UINT32_MAX && blocks <= UINT16_MAX)) {
		/* LBA in bytes 2 to 5, length in 7 and 8 */
		first = (write ? WRITE_10 : READ_10) |
			(uint64_t)__builtin_bswap32((uint32_t)lba) << 16 |
			(uint64_t)(blocks >> 8) << 56;
		second = blocks & 0xff;
	} else {
		/* LBA in bytes 2 to 9, length in 10 to 13 */
		first = (write ? WRITE_16 : READ_16) | __builtin_bswap64(lba) << 16;
		second = __builtin_bswap64(lba) >> 48 | (uint64_t)__builtin_bswap32(blocks) << 16;
	}
	return (struct scsi_cdb){ { le64_make(first), le64_make(second) } };
}

/* The segments are in sg; all of it was checked. */
static always_inline int transfer_add(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				      struct virtq_sg *sg, unsigned segments, bool write,
				      uint32_t bytes, uint64_t offset, void *user_data)
{
	const struct scsi_request request = {
		.address = lun->address,
		.cdb = cdb_blocks(write, offset >> lun->block_shift, bytes >> lun->block_shift),
		.direction = write ? RINGLANE_SCSI_DATA_OUT : RINGLANE_SCSI_DATA_IN,
		.segments = segments,
		.kind = SCSI_TRANSFER,
		.data_bytes = bytes,
		.user_data = user_data,
	};
	int ret = scsi_chain_add(queue, sg, &request);

	return unlikely(ret < 0) ? ret : 0;
}

static inline int lun_check(const struct ringlane_queue *queue, const struct ringlane_lun *lun)
{
	if (unlikely(!lun))
		return -ENXIO;
	return likely(queue->kind == QUEUE_SCSI) ? 0 : -ENOTSUP;
}

static never_inline int transfer_scattered(struct ringlane_queue *queue,
					   const struct ringlane_lun *lun, bool write,
					   const struct iovec *iov, unsigned iov_count,
					   uint64_t offset, void *user_data)
{
	enum ringlane_scsi_direction direction = write ? RINGLANE_SCSI_DATA_OUT :
							 RINGLANE_SCSI_DATA_IN;
	int ret = lun_check(queue, lun), segments;
	uint64_t bytes;

	if (ret < 0)
		return ret;
	if (write && lun->limits.read_only)
		return -EROFS;
	ret = transfer_bytes(iov, iov_count, lun->request_max, &bytes);
	if (ret == 0)
		ret = transfer_check(queue, &lun->limits, bytes, offset);
	if (ret < 0)
		return ret;
	segments =
		transfer_segments(queue, &lun->limits, iov, iov_count, scsi_data_first(direction));
	if (segments < 0)
		return segments;
	return transfer_add(queue, lun, queue->sg, (unsigned)segments, write, (uint32_t)bytes,
			    offset, user_data);
}

static always_inline int transfer_plain(struct ringlane_queue *queue,
					const struct ringlane_lun *lun, bool write, void *data,
					size_t bytes, uint64_t offset, void *user_data)
{
	struct virtq_sg sg[3], *segment = &sg[write ? 1 : 2];
	int ret = lun_check(queue, lun);

	if (unlikely(ret < 0))
		return ret;
	if (unlikely(bytes > lun->request_max)) /* a segment may be as large */
		return -EINVAL;
	if (unlikely(write && lun->limits.read_only))
		return -EROFS;
	ret = transfer_check(queue, &lun->limits, bytes, offset);
	if (unlikely(ret < 0))
		return ret;
	if (unlikely(!memory_translate(&queue->cursor, queue->memory, data, bytes, &segment->addr)))
		return -EFAULT;
	segment->len = (uint32_t)bytes;
	return transfer_add(queue, lun, sg, 1, write, (uint32_t)bytes, offset, user_data);
}

int ringlane_lun_read(struct ringlane_queue *queue, const struct ringlane_lun *lun, void *data,
		      size_t bytes, uint64_t offset, void *user_data)
{
	return transfer_plain(queue, lun, false, data, bytes, offset, user_data);
}

int ringlane_lun_write(struct ringlane_queue *queue, const struct ringlane_lun *lun,
		       const void *data, size_t bytes, uint64_t offset, void *user_data)
{
	return transfer_plain(queue, lun, true, (void *)data, bytes, offset, user_data);
}

int ringlane_lun_readv(struct ringlane_queue *queue, const struct ringlane_lun *lun,
		       const struct iovec *iov, unsigned count, uint64_t offset, void *user_data)
{
	return transfer_scattered(queue, lun, false, iov, count, offset, user_data);
}

int ringlane_lun_writev(struct ringlane_queue *queue, const struct ringlane_lun *lun,
			const struct iovec *iov, unsigned count, uint64_t offset, void *user_data)
{
	return transfer_scattered(queue, lun, true, iov, count, offset, user_data);
}

/* ---- the others ---- */

/* At most one segment of data, of the queue's own memory. */
static int simple_add(struct ringlane_queue *queue, const struct ringlane_lun *lun,
		      const uint8_t cdb[CDB_BYTES], enum ringlane_scsi_direction direction,
		      struct virtq_sg data, void *user_data)
{
	struct virtq_sg sg[3] = { [1] = data, [2] = data };
	const struct scsi_request request = {
		.address = lun->address,
		.cdb = scsi_cdb_of(cdb),
		.direction = direction,
		.segments = direction == RINGLANE_SCSI_NO_DATA ? 0 : 1,
		.kind = SCSI_PLAIN,
		.data_bytes = data.len,
		.user_data = user_data,
	};
	int ret = scsi_request_add(queue, sg, &request);

	return ret < 0 ? ret : 0;
}

int ringlane_lun_flush(struct ringlane_queue *queue, const struct ringlane_lun *lun,
		       void *user_data)
{
	const uint8_t cdb[CDB_BYTES] = { SYNCHRONIZE_CACHE_10 }; /* all blocks */
	int ret = lun_check(queue, lun);

	if (ret == 0)
		ret = queue_room(queue);
	if (ret < 0)
		return ret;
	return simple_add(queue, lun, cdb, RINGLANE_SCSI_NO_DATA, (struct virtq_sg){ 0 },
			  user_data);
}

/* SBC-4, 5.33: its limit is of all descriptors together. */
static int unmap_check(const struct ringlane_queue *queue, const struct ringlane_lun *lun,
		       const struct ringlane_range *ranges, unsigned count)
{
	uint64_t left = lun->limits.discard_max;
	int ret = transfer_check_ranges(queue, &lun->limits, ranges, count,
					lun->limits.discard_ranges, left);

	for (unsigned i = 0; ret == 0 && i < count; left -= ranges[i++].bytes)
		if (ranges[i].bytes > left)
			ret = -EINVAL;
	return ret;
}

int ringlane_lun_discard(struct ringlane_queue *queue, const struct ringlane_lun *lun,
			 const struct ringlane_range *ranges, unsigned count, void *user_data)
{
	uint8_t cdb[CDB_BYTES] = { UNMAP }, *list, *descriptor;
	unsigned bytes = UNMAP_HEADER_BYTES + count * UNMAP_DESCRIPTOR_BYTES;
	int ret = lun_check(queue, lun);

	if (ret == 0)
		ret = unmap_check(queue, lun, ranges, count);
	if (ret < 0)
		return ret;
	list = (uint8_t *)&queue->ranges[queue->ring.free_head];
	memset(list, 0, bytes);
	put16(list, (uint16_t)(bytes - 2));
	put16(list + 2, (uint16_t)(bytes - UNMAP_HEADER_BYTES));
	descriptor = list + UNMAP_HEADER_BYTES;
	for (unsigned i = 0; i < count; i++, descriptor += UNMAP_DESCRIPTOR_BYTES) {
		put64(descriptor, ranges[i].offset >> lun->block_shift);
		put32(descriptor + 8, (uint32_t)(ranges[i].bytes >> lun->block_shift));
	}
	put16(cdb + 7, (uint16_t)bytes);
	return simple_add(queue, lun, cdb, RINGLANE_SCSI_DATA_OUT,
			  (struct virtq_sg){ queue_shared_addr(queue, list), bytes }, user_data);
}

int ringlane_lun_write_zeroes(struct ringlane_queue *queue, const struct ringlane_lun *lun,
			      const struct ringlane_range *range, unsigned flags, void *user_data)
{
	uint8_t cdb[CDB_BYTES] = { WRITE_SAME_16 };
	struct virtq_sg zeroes = { 0 };
	bool ndob;
	int ret = lun_check(queue, lun);

	if (ret == 0 && (flags & ~(unsigned)RINGLANE_UNMAP))
		ret = -EINVAL;
	if (ret == 0)
		ret = transfer_check_ranges(queue, &lun->limits, range, 1, 1,
					    lun->limits.write_zeroes_max);
	if (ret < 0)
		return ret;
	ndob = lun->write_same_ndob;
	if (!ndob)
		zeroes = (struct virtq_sg){
			queue_shared_addr(queue, queue->scsi.scratch + QUEUE_SCRATCH_BYTES),
			1u << lun->block_shift,
		};
	cdb[1] = ndob ? WRITE_SAME_NDOB : 0;
	if ((flags & RINGLANE_UNMAP) && lun->write_same_unmap)
		cdb[1] |= WRITE_SAME_UNMAP;
	put64(cdb + 2, range->offset >> lun->block_shift);
	put32(cdb + 10, (uint32_t)(range->bytes >> lun->block_shift));
	return simple_add(queue, lun, cdb, ndob ? RINGLANE_SCSI_NO_DATA : RINGLANE_SCSI_DATA_OUT,
			  zeroes, user_data);
}

int ringlane_lun_compare_and_write(struct ringlane_queue *queue, const struct ringlane_lun *lun,
				   const void *data, size_t bytes, uint64_t offset, void *user_data)
{
	uint8_t cdb[CDB_BYTES] = { COMPARE_AND_WRITE };
	const struct iovec iov = { (void *)data, 2 * bytes };
	struct scsi_request request;
	int ret = lun_check(queue, lun), segments;

	if (ret < 0)
		return ret;
	if (!lun->compare_write_max)
		return -EOPNOTSUPP;
	if (lun->limits.read_only)
		return -EROFS;
	if (bytes > lun->compare_write_max)
		return -EINVAL;
	ret = transfer_check(queue, &lun->limits, bytes, offset);
	if (ret < 0)
		return ret;
	segments = transfer_segments(queue, &lun->limits, &iov, 1, 1);
	if (segments < 0)
		return segments;
	put64(cdb + 2, offset >> lun->block_shift);
	cdb[13] = (uint8_t)(bytes >> lun->block_shift);
	request = (struct scsi_request){
		.address = lun->address,
		.cdb = scsi_cdb_of(cdb),
		.direction = RINGLANE_SCSI_DATA_OUT,
		.segments = (unsigned)segments,
		.kind = SCSI_TRANSFER,
		.data_bytes = (uint32_t)(2 * bytes),
		.user_data = user_data,
	};
	ret = scsi_request_add(queue, queue->sg, &request);
	return ret < 0 ? ret : 0;
}

/* ---- the functions that name no LUN ---- */

never_inline int scsi_queue_read(struct ringlane_queue *queue, void *data, size_t bytes,
				 uint64_t offset, void *user_data)
{
	return transfer_plain(queue, queue->scsi.lun, false, data, bytes, offset, user_data);
}

never_inline int scsi_queue_write(struct ringlane_queue *queue, const void *data, size_t bytes,
				  uint64_t offset, void *user_data)
{
	return transfer_plain(queue, queue->scsi.lun, true, (void *)data, bytes, offset, user_data);
}

int scsi_queue_readv(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		     uint64_t offset, void *user_data)
{
	return transfer_scattered(queue, queue->scsi.lun, false, iov, count, offset, user_data);
}

int scsi_queue_writev(struct ringlane_queue *queue, const struct iovec *iov, unsigned count,
		      uint64_t offset, void *user_data)
{
	return transfer_scattered(queue, queue->scsi.lun, true, iov, count, offset, user_data);
}

int scsi_queue_flush(struct ringlane_queue *queue, void *user_data)
{
	return ringlane_lun_flush(queue, queue->scsi.lun, user_data);
}

int scsi_queue_discard(struct ringlane_queue *queue, const struct ringlane_range *ranges,
		       unsigned count, void *user_data)
{
	return ringlane_lun_discard(queue, queue->scsi.lun, ranges, count, user_data);
}

int scsi_queue_write_zeroes(struct ringlane_queue *queue, const struct ringlane_range *ranges,
			    unsigned count, unsigned flags, void *user_data)
{
	if (count != 1)
		return -EINVAL;
	return ringlane_lun_write_zeroes(queue, queue->scsi.lun, ranges, flags, user_data);
}

int scsi_queue_get_id(struct ringlane_queue *queue, char *id, void *user_data)
{
	const struct ringlane_lun *lun = queue->scsi.lun;
	const uint8_t cdb[CDB_BYTES] = { INQUIRY, 1, 0x80, 0, ID_PAGE_BYTES };
	struct scsi_request request;
	struct virtq_sg sg[3];
	uint8_t *page;
	int ret = lun_check(queue, lun);

	if (ret == 0)
		ret = queue_room(queue);
	if (ret < 0)
		return ret;
	page = (uint8_t *)&queue->ranges[queue->ring.free_head];
	memset(page, 0, ID_PAGE_BYTES);
	sg[2] = (struct virtq_sg){ queue_shared_addr(queue, page), ID_PAGE_BYTES };
	request = (struct scsi_request){
		.address = lun->address,
		.cdb = scsi_cdb_of(cdb),
		.direction = RINGLANE_SCSI_DATA_IN,
		.segments = 1,
		.kind = SCSI_GET_ID,
		.data_bytes = ID_PAGE_BYTES,
		.targets = { .data = id },
		.user_data = user_data,
	};
	ret = scsi_request_add(queue, sg, &request);
	return ret < 0 ? ret : 0;
}
