/* SPDX-License-Identifier: MIT */
/* For tests: what a guest puts into the queues, and what came of it; see scsi_fixture.h. */
#include "device/scsi_fixture.h"

#include "base/endian.h"
#include "base/fd.h"
#include "base/iov.h"

#include <linux/virtio_scsi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- chains ---- */

struct scsi_chain *scsi_chain_new(struct scsi_world *world, uint32_t out_bytes, uint32_t in_bytes)
{
	struct scsi_chain *chain = scsi_guest_alloc(world, sizeof(*chain));

	*chain = (struct scsi_chain){ .out_bytes = out_bytes, .in_bytes = in_bytes };
	chain->out_part = scsi_guest_alloc(world, out_bytes);
	chain->in_part = scsi_guest_alloc(world, in_bytes);
	memset(chain->out_part, 0, out_bytes);
	memset(chain->in_part, SCSI_FIXTURE_UNTOUCHED, in_bytes);
	return chain;
}

static unsigned sg_fill(const struct scsi_world *world, struct virtq_sg *sg, const uint8_t *host,
			uint32_t bytes, const uint32_t *cuts)
{
	uint64_t guest = scsi_guest_address(world, host);
	unsigned count = 0;

	for (; count < SCSI_FIXTURE_CUTS && cuts[count]; count++) {
		sg[count] = (struct virtq_sg){ guest, cuts[count] };
		guest += cuts[count];
		assert_true(cuts[count] <= bytes);
		bytes -= cuts[count];
	}
	if (bytes)
		sg[count++] = (struct virtq_sg){ guest, bytes };
	return count;
}

void scsi_chain_submit(struct scsi_ring *ring, struct scsi_chain *chain,
		       const struct scsi_shape *cuts)
{
	struct virtq_sg sg[2 * SCSI_FIXTURE_CUTS + 2];
	unsigned out = sg_fill(ring->world, sg, chain->out_part, chain->out_bytes, cuts->out_cuts);
	unsigned in =
		sg_fill(ring->world, sg + out, chain->in_part, chain->in_bytes, cuts->in_cuts);
	uint16_t head;

	assert_int_equal(virtq_driver_add(&ring->driver, sg, out, in, &head), 0);
	ring->by_head[head] = chain;
	chain->out = true;
	virtq_driver_publish(&ring->driver);
	if (virtq_driver_should_kick(&ring->driver))
		event_fd_signal(ring->kick_fd);
}

/* ---- commands ---- */

static void lun_put(uint8_t bytes[8], unsigned target, unsigned lun)
{
	bytes[0] = 1;
	bytes[1] = (uint8_t)target;
	bytes[2] = (uint8_t)(0x40 | lun >> 8);
	bytes[3] = (uint8_t)lun;
}

struct scsi_chain *scsi_submit(struct scsi_world *world, const struct scsi_command *command)
{
	uint32_t cdb_size = command->cdb_size ? command->cdb_size : SCSI_CDB_SIZE_DEFAULT;
	uint32_t sense_size = command->sense_size ? command->sense_size : SCSI_SENSE_SIZE_DEFAULT;
	uint32_t header = SCSI_HEADER_BYTES + cdb_size, response = SCSI_RESPONSE_BYTES + sense_size;
	struct scsi_chain *chain =
		scsi_chain_new(world, header + command->out_bytes, response + command->in_bytes);
	struct scsi_shape cuts = { .out_cuts = { header }, .in_cuts = { response } };
	struct le64 tag = le64_make(command->tag);

	lun_put(chain->out_part, command->target, command->lun);
	memcpy(chain->out_part + 8, &tag, sizeof(tag));
	chain->out_part[16] = command->attribute;
	memcpy(chain->out_part + SCSI_HEADER_BYTES, command->cdb, MIN(cdb_size, 32u));
	scsi_chain_submit(scsi_ring_of(world, command->adapter, SCSI_QUEUE_FIRST + command->queue),
			  chain, &cuts);
	return chain;
}

struct scsi_chain *scsi_submit_read(struct scsi_world *world, unsigned queue, unsigned target,
				    uint64_t tag)
{
	return scsi_submit(world, &(struct scsi_command){ .queue = queue,
							  .target = (uint8_t)target,
							  .tag = tag,
							  .cdb = { 0x28, [8] = 1 },
							  .in_bytes = 512 });
}

struct scsi_chain *scsi_run(struct scsi_world *world, const struct scsi_command *command)
{
	struct scsi_chain *chain = scsi_submit(world, command);

	scsi_wait(world, !chain->out);
	return chain;
}

uint8_t scsi_response(const struct scsi_chain *chain)
{
	assert_false(chain->out);
	return chain->in_part[11];
}

uint8_t scsi_status(const struct scsi_chain *chain)
{
	assert_int_equal(scsi_response(chain), VIRTIO_SCSI_S_OK);
	return chain->in_part[10];
}

static uint32_t le32_at(const uint8_t *bytes)
{
	struct le32 value;

	memcpy(&value, bytes, sizeof(value));
	return le32_get(value);
}

uint32_t scsi_residual(const struct scsi_chain *chain)
{
	return le32_at(chain->in_part + 4);
}

uint32_t scsi_sense_length(const struct scsi_chain *chain)
{
	return le32_at(chain->in_part);
}

const uint8_t *scsi_sense(const struct scsi_chain *chain)
{
	return chain->in_part + SCSI_RESPONSE_BYTES;
}

void scsi_assert_good(const struct scsi_chain *chain)
{
	assert_int_equal(scsi_status(chain), SCSI_GOOD);
	assert_int_equal(scsi_sense_length(chain), 0);
}

void scsi_assert_sense(const struct scsi_chain *chain, unsigned key, unsigned asc)
{
	const uint8_t *sense = scsi_sense(chain);

	assert_int_equal(scsi_status(chain), SCSI_CHECK_CONDITION);
	assert_int_equal(scsi_sense_length(chain), 18);
	assert_int_equal(sense[0] & 0x7f, 0x70);
	assert_int_equal(sense[2] & 0xf, key);
	assert_int_equal(sense[12] << 8 | sense[13], asc);
}

unsigned scsi_take_attention(struct scsi_world *world, unsigned adapter, unsigned target)
{
	struct scsi_chain *chain = scsi_run(
		world, &(struct scsi_command){ .adapter = adapter, .target = (uint8_t)target });
	const uint8_t *sense = scsi_sense(chain);

	if (scsi_status(chain) == SCSI_GOOD)
		return 0;
	assert_int_equal(sense[2] & 0xf, SCSI_UNIT_ATTENTION);
	return (unsigned)(sense[12] << 8 | sense[13]);
}

void scsi_clear_attention(struct scsi_world *world, unsigned adapter, unsigned target)
{
	while (scsi_take_attention(world, adapter, target))
		;
}

/* ---- control queue ---- */

struct scsi_chain *scsi_submit_tmf(struct scsi_world *world, unsigned subtype, unsigned target,
				   unsigned lun, uint64_t tag)
{
	struct scsi_chain *chain =
		scsi_chain_new(world, sizeof(struct virtio_scsi_ctrl_tmf_req), 1);
	struct le32 le_subtype = le32_make(subtype);
	struct le64 le_tag = le64_make(tag);

	memcpy(chain->out_part + 4, &le_subtype, sizeof(le_subtype));
	lun_put(chain->out_part + 8, target, lun);
	memcpy(chain->out_part + 16, &le_tag, sizeof(le_tag));
	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_CTRL), chain,
			  &(struct scsi_shape){ 0 });
	return chain;
}

uint8_t scsi_tmf_response(const struct scsi_chain *chain)
{
	assert_false(chain->out);
	assert_int_equal(chain->written, 1);
	return chain->in_part[0];
}

uint8_t scsi_run_tmf(struct scsi_world *world, unsigned subtype, unsigned target, unsigned lun,
		     uint64_t tag)
{
	struct scsi_chain *chain = scsi_submit_tmf(world, subtype, target, lun, tag);

	scsi_wait(world, !chain->out);
	return scsi_tmf_response(chain);
}

/* ---- events ---- */

struct scsi_chain *scsi_event_buffer(struct scsi_world *world, uint32_t bytes)
{
	struct scsi_chain *chain = scsi_chain_new(world, 0, bytes);

	scsi_chain_submit(scsi_ring_of(world, 0, SCSI_QUEUE_EVENT), chain,
			  &(struct scsi_shape){ 0 });
	return chain;
}

void scsi_assert_event(const struct scsi_chain *chain, uint32_t event, unsigned target,
		       unsigned lun_bytes, uint32_t reason)
{
	const uint8_t lun[8] = { event & 0xff ? 1 : 0, (uint8_t)target, (uint8_t)(lun_bytes >> 8),
				 (uint8_t)lun_bytes };

	assert_false(chain->out);
	assert_int_equal(chain->written, 16);
	assert_int_equal(le32_at(chain->in_part), event);
	assert_memory_equal(chain->in_part + 4, lun, sizeof(lun));
	assert_int_equal(le32_at(chain->in_part + 12), reason);
}
