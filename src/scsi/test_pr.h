/* SPDX-License-Identifier: MIT */
/* PERSISTENT RESERVE commands for the tests of reservations and of the state file. */
#ifndef RINGLANE_SCSI_TEST_PR_H
#define RINGLANE_SCSI_TEST_PR_H

#include "scsi/fixture.h"
#include "scsi/reservation_internal.h"

#include <string.h>

#define PR_OUT_CDB(action, type, bytes)                                           \
	CDB(0x5f, (action), (uint8_t)(type), 0, 0, 0, 0, (uint8_t)((bytes) >> 8), \
	    (uint8_t)(bytes), 0)
#define PR_IN_CDB(action, bytes) \
	CDB(0x5e, (action), 0, 0, 0, 0, 0, (uint8_t)((bytes) >> 8), (uint8_t)(bytes), 0)

enum { FLAG_APTPL = 0x01, FLAG_ALL_TG_PT = 0x04, FLAG_SPEC_I_PT = 0x08 };
enum { READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS };

static inline void pr_list(uint8_t list[PR_LIST_BYTES], uint64_t key, uint64_t action_key,
			   uint8_t flags)
{
	memset(list, 0, PR_LIST_BYTES);
	be64_put(list, key);
	be64_put(list + 8, action_key);
	list[20] = flags;
}

struct pr_arguments {
	enum pr_action action;
	uint8_t scope_type;
	uint64_t key, action_key;
	uint8_t flags;
};

static inline void pr_do(struct scsi_fixture *f, enum scsi_who who, struct pr_arguments a)
{
	uint8_t list[PR_LIST_BYTES];

	pr_list(list, a.key, a.action_key, a.flags);
	scsi_do_out(f, who, PR_OUT_CDB(a.action, a.scope_type, PR_LIST_BYTES), list, sizeof(list));
}
#define PR(f, who, ...) pr_do(f, who, (struct pr_arguments){ __VA_ARGS__ })

/* All that there is, and how much that is. */
static inline unsigned pr_in(struct scsi_fixture *f, enum scsi_who who, unsigned action,
			     uint8_t bytes[1024])
{
	scsi_do_in(f, who, PR_IN_CDB(action, 1024), bytes, 1024);
	scsi_assert_good(f);
	return 1024 - (unsigned)f->run.task.residual;
}

static inline uint32_t pr_generation(struct scsi_fixture *f)
{
	uint8_t bytes[1024];

	pr_in(f, FIRST, READ_KEYS, bytes);
	return be32_get(bytes);
}

/* The keys, in the order of registration, are these and no others. */
static inline void assert_keys(struct scsi_fixture *f, const uint64_t *keys, unsigned count)
{
	uint8_t bytes[1024];
	unsigned size = pr_in(f, FIRST, READ_KEYS, bytes);

	assert_int_equal(size, 8 + 8 * count);
	assert_int_equal(be32_get(bytes + 4), 8 * count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(be64_get(bytes + 8 + 8 * i), keys[i]);
}
#define ASSERT_KEYS(f, ...)                                 \
	assert_keys(f, ((const uint64_t[]){ __VA_ARGS__ }), \
		    ARRAY_SIZE(((const uint64_t[]){ __VA_ARGS__ })))

static inline void assert_reserved(struct scsi_fixture *f, uint64_t key, enum pr_type type)
{
	uint8_t bytes[1024];

	assert_int_equal(pr_in(f, FIRST, READ_RESERVATION, bytes), 24);
	assert_int_equal(be32_get(bytes + 4), 16);
	assert_int_equal(be64_get(bytes + 8), key);
	assert_int_equal(bytes[21], type);
}

static inline void assert_not_reserved(struct scsi_fixture *f)
{
	uint8_t bytes[1024];

	assert_int_equal(pr_in(f, FIRST, READ_RESERVATION, bytes), 8);
	assert_int_equal(be32_get(bytes + 4), 0);
}

/* The next command of this initiator is told this, and the one after that nothing. */
static inline void assert_told(struct scsi_fixture *f, enum scsi_who who, enum scsi_asc asc)
{
	scsi_do(f, who, CDB(0x00, 0, 0, 0, 0, 0));
	if (asc == SCSI_ASC_NONE) {
		scsi_assert_good(f);
		return;
	}
	scsi_assert_sense(f, SCSI_UNIT_ATTENTION, asc);
	scsi_do(f, who, CDB(0x00, 0, 0, 0, 0, 0));
	scsi_assert_good(f);
}

static inline void register_both(struct scsi_fixture *f, uint64_t first, uint64_t second)
{
	PR(f, FIRST, PR_REGISTER, .action_key = first);
	scsi_assert_good(f);
	PR(f, SECOND, PR_REGISTER, .action_key = second);
	scsi_assert_good(f);
}

static inline uint64_t initiator_id(struct scsi_fixture *f, enum scsi_who who)
{
	return f->nexuses[who]->ports.initiator;
}

/* ---- one command of each class ---- */

enum command_class { READS, WRITES, ASKS, ALWAYS, RESERVES, LETS_GO };

static inline void send_class(struct scsi_fixture *f, enum scsi_who who, enum command_class class)
{
	uint8_t block[512] = { 0 };

	switch (class) {
	case READS:
		scsi_do_in(f, who, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), block, sizeof(block));
		break;
	case WRITES:
		scsi_do_out(f, who, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0), block, sizeof(block));
		break;
	case ASKS: /* MODE SENSE (6) */
		scsi_do_in(f, who, CDB(0x1a, 0, 0x3f, 0, 255, 0), block, 255);
		break;
	case ALWAYS: /* TEST UNIT READY */
		scsi_do(f, who, CDB(0x00, 0, 0, 0, 0, 0));
		break;
	case RESERVES:
		scsi_do(f, who, CDB(0x16, 0, 0, 0, 0, 0));
		break;
	case LETS_GO:
		scsi_do(f, who, CDB(0x17, 0, 0, 0, 0, 0));
		break;
	}
}

static inline bool conflicts(struct scsi_fixture *f, enum scsi_who who, enum command_class class)
{
	send_class(f, who, class);
	if (f->run.task.status == SCSI_RESERVATION_CONFLICT) {
		assert_int_equal(f->run.task.sense_length, 0);
		return true;
	}
	scsi_assert_good(f);
	return false;
}

#endif
