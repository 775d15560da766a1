/* SPDX-License-Identifier: MIT */
/*
 * What the files of the target share; nobody else includes this.
 *
 * opcodes.c      the table that drives everything: which commands there are, what their CDBs look like, what they touch
 * target.c       one task through the checks: unit, CDB, attention, reservation, readiness, write protection, ranges, buffer
 * task.c         the end of a task, data in and out, block I/O with a continuation
 * sense.c        fixed and descriptor sense
 * attention.c    unit attentions of a nexus
 * unit.c         unit and nexus: made, freed, named, reset
 * names.c        serial, designators, WWN
 * inquiry.c      standard data; vpd.c: the pages
 * discovery.c    REPORT LUNS, REPORT SUPPORTED OPERATION CODES / TASK MANAGEMENT FUNCTIONS, TARGET PORT GROUPS
 * mode.c         MODE SENSE and SELECT; mode_page.c: the pages as data
 * status.c       TEST UNIT READY, REQUEST SENSE, START STOP UNIT, PREVENT ALLOW, READ DEFECT DATA, READ CAPACITY
 * log.c          LOG SENSE
 * reservation.c  SPC-2 reservations; pr_in.c, pr_out.c: persistent ones; state.c: what is kept in a file
 * block_io.c     READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH, WRITE ATOMIC
 * verify.c       VERIFY, WRITE AND VERIFY
 * space.c        UNMAP, WRITE SAME, GET LBA STATUS
 * atomic.c       COMPARE AND WRITE, ORWRITE
 * copy.c         EXTENDED COPY; copy_results.c: RECEIVE COPY RESULTS
 * sanitize.c     SANITIZE: a background job
 */
#ifndef RINGLANE_SCSI_INTERNAL_H
#define RINGLANE_SCSI_INTERNAL_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/error.h"
#include "scsi/task.h"
#include "scsi/unit.h"

#include <pthread.h>
#include <sys/queue.h>

/* ---- big-endian fields (no alignment assumed) ---- */

static inline uint16_t be16_get(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t be24_get(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}
static inline uint32_t be32_get(const uint8_t *p)
{
	return (uint32_t)be16_get(p) << 16 | be16_get(p + 2);
}
static inline uint64_t be64_get(const uint8_t *p)
{
	return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}
static inline void be16_put(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void be24_put(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	be16_put(p + 1, (uint16_t)v);
}
static inline void be32_put(uint8_t *p, uint32_t v)
{
	be16_put(p, (uint16_t)(v >> 16));
	be16_put(p + 2, (uint16_t)v);
}
static inline void be64_put(uint8_t *p, uint64_t v)
{
	be32_put(p, (uint32_t)(v >> 32));
	be32_put(p + 4, (uint32_t)v);
}

/* Bytes that one command moves at most: VPD page B0h tells it, target.c checks it. */
#define SCSI_TRANSFER_BYTES_MAX (64u << 20)

/* ---- the table ---- */

/* Where a CDB has its LBA and number of blocks, or its allocation or parameter list length. */
enum scsi_cdb_layout {
	SCSI_CDB_NOTHING,
	/* LBA and blocks */
	SCSI_CDB_BLOCKS_6,   /* 21 bits at 1, 8 bits at 4, 0 means 256 */
	SCSI_CDB_BLOCKS_10,  /* 32 at 2, 16 at 7 */
	SCSI_CDB_BLOCKS_12,  /* 32 at 2, 32 at 6 */
	SCSI_CDB_BLOCKS_16,  /* 64 at 2, 32 at 10 */
	SCSI_CDB_ATOMIC_16,  /* 64 at 2, 16 at 12: WRITE ATOMIC (16) */
	SCSI_CDB_COMPARE_16, /* 64 at 2, 8 at 13: COMPARE AND WRITE */
	SCSI_CDB_LBA_16,     /* 64 at 2, allocation length 32 at 10: GET LBA STATUS */
	/* length only */
	SCSI_CDB_LENGTH_8_AT_4,
	SCSI_CDB_LENGTH_16_AT_3,
	SCSI_CDB_LENGTH_16_AT_7,
	SCSI_CDB_LENGTH_32_AT_5,
	SCSI_CDB_LENGTH_32_AT_6,
	SCSI_CDB_LENGTH_32_AT_10,
};

/* How the data is measured: by bytes of `length`, or by blocks. */
enum scsi_data {
	SCSI_DATA_NONE,
	SCSI_DATA_IN_LENGTH,  /* at most `length` bytes: an allocation length */
	SCSI_DATA_OUT_LENGTH, /* exactly `length` bytes: a parameter list */
	SCSI_DATA_IN_BLOCKS,  /* blocks * block size */
	SCSI_DATA_OUT_BLOCKS, /* the same, from the initiator */
	SCSI_DATA_OUT_BLOCK,  /* one block, whatever `blocks` says: WRITE SAME, none with NDOB */
	SCSI_DATA_OUT_TWICE,  /* 2 * blocks: COMPARE AND WRITE */
	SCSI_DATA_OUT_BYTCHK, /* by the BYTCHK field: none (00), blocks (01), one block (11): VERIFY */
};

/* What a reservation of another initiator says to it (SPC-4, table 66; SBC-4, table 13; SPC-2, table 10). */
enum scsi_reservation_class {
	SCSI_RES_ALWAYS, /* runs whoever holds what */
	SCSI_RES_READ,   /* conflicts with exclusive access (EA, EAAR, EARO) */
	SCSI_RES_WRITE,  /* conflicts with write exclusive too */
	SCSI_RES_PR_IN_OUT, /* decides by itself (PERSISTENT RESERVE), conflicts with an SPC-2 reservation */
	SCSI_RES_SPC2, /* RESERVE, RELEASE: decides by itself, conflicts with any persistent reservation or registration */
};

enum scsi_opcode_flags {
	SCSI_OP_NO_ATTENTION =
		1, /* a pending unit attention is neither told nor cleared: INQUIRY, REPORT LUNS, REQUEST SENSE */
	SCSI_OP_NO_MEDIUM = 2, /* runs while the unit is stopped */
	SCSI_OP_WRITES = 4,    /* refused when write protected; counts as a change of the medium */
	SCSI_OP_EXCLUSIVE = 8, /* ops->exclusive() before execute() */
	SCSI_OP_PROTECT =
		16, /* bits 7-5 of byte 1 are xxPROTECT: must be 0, because no unit has protection information */
	SCSI_OP_WITHOUT_UNIT = 32, /* answers also for a LUN that is not there */
	SCSI_OP_WELL_KNOWN = 64,   /* the well-known unit has it */
	SCSI_OP_DURING_SANITIZE =
		128, /* REQUEST SENSE, INQUIRY, REPORT LUNS and what SBC-4, 4.11.2 lets through */
	SCSI_OP_FUA = 256, /* bit 3 of byte 1 is FUA */
};

struct scsi_opcode {
	uint8_t opcode;
	int16_t service_action; /* -1: the opcode has none */
	uint8_t cdb_bytes;
	uint8_t layout, data, reservation; /* the enums above */
	unsigned flags;
	/* CDB usage data (SPC-4, 6.35.3): which bits are evaluated; bits outside must be zero. usage[0] is the opcode, the
	 * low five bits of usage[1] are the service action. */
	uint8_t usage[16];
	const char *name; /* as the standard writes it */
	/* All checks have passed; ends in exactly one of the functions of task.c. */
	void (*execute)(struct scsi_task *task);
};

extern const struct scsi_opcode scsi_opcodes[];
extern const unsigned scsi_opcode_count;
/* Made from the table: the first row of each opcode, and for each row the bits of bytes 0 … 15 that must be zero. */
#define SCSI_OPCODE_UNKNOWN 255u
struct scsi_opcode_check {
	uint64_t refused[2];
};
extern uint8_t scsi_opcode_first[256];
extern struct scsi_opcode_check scsi_opcode_checks[];
/* By operation code, made from the table: what scsi_transfer_plan() needs of READ and WRITE (10 and 16), in half a cache line. */
struct scsi_transfer {
	/* Bits of the CDB, as big-endian numbers; FUA too: that is not the usual case. All ones: another command (TEST UNIT READY
	 * moves no blocks) */
	uint64_t refused[2];
	uint32_t nexus_slow, unit_slow; /* bits that stand in its way, or may */
	uint8_t op;                     /* enum block_op */
	bool wide;                      /* SCSI_CDB_BLOCKS_16 */
} __attribute__((aligned(32)));
extern struct scsi_transfer scsi_transfers[256];
/* NULL: there is no such command. *ret_known_opcode: the opcode exists, its service action does not. */
const struct scsi_opcode *scsi_opcode_find(const uint8_t *cdb, bool *ret_known_opcode);

/* One execute function for each name; where commands of several lengths do the same they share one. */
void scsi_test_unit_ready(struct scsi_task *task); /* status.c */
void scsi_request_sense(struct scsi_task *task);
void scsi_start_stop_unit(struct scsi_task *task);
void scsi_prevent_allow(struct scsi_task *task);
void scsi_log_sense(struct scsi_task *task);        /* log.c */
void scsi_read_defect_data(struct scsi_task *task); /* 10, 12 */
void scsi_read_capacity_10(struct scsi_task *task);
void scsi_read_capacity_16(struct scsi_task *task);
void scsi_inquiry(struct scsi_task *task);     /* inquiry.c */
void scsi_report_luns(struct scsi_task *task); /* discovery.c */
void scsi_report_opcodes(struct scsi_task *task);
void scsi_report_tmfs(struct scsi_task *task);
void scsi_report_target_port_groups(struct scsi_task *task);
void scsi_mode_sense(struct scsi_task *task);  /* mode.c: 6, 10 */
void scsi_mode_select(struct scsi_task *task); /* 6, 10 */
void scsi_reserve(struct scsi_task *task);     /* reservation.c: 6, 10 */
void scsi_release(struct scsi_task *task);     /* 6, 10 */
void scsi_pr_in(struct scsi_task *task);       /* pr_in.c: every service action */
void scsi_pr_out(struct scsi_task *task);      /* pr_out.c: every service action */
void scsi_read(struct scsi_task *task);        /* block_io.c: 6, 10, 12, 16 */
void scsi_write(struct scsi_task *task);       /* 6, 10, 12, 16 */
void scsi_write_atomic(struct scsi_task *task);
/* The end of the block I/O of all these: the task's too. */
void scsi_transfer_done(struct block_request *block, int result);
void scsi_synchronize_cache(struct scsi_task *task); /* 10, 16 */
void scsi_prefetch(struct scsi_task *task);          /* 10, 16 */
void scsi_verify(struct scsi_task *task);            /* verify.c: 10, 12, 16 */
void scsi_write_and_verify(struct scsi_task *task);  /* 10, 12, 16 */
void scsi_unmap(struct scsi_task *task);             /* space.c */
void scsi_write_same(struct scsi_task *task);        /* 10, 16 */
void scsi_get_lba_status(struct scsi_task *task);
void scsi_compare_and_write(struct scsi_task *task); /* atomic.c */
void scsi_orwrite(struct scsi_task *task);
void scsi_extended_copy(struct scsi_task *task);        /* copy.c */
void scsi_receive_copy_results(struct scsi_task *task); /* every service action */
void scsi_sanitize(struct scsi_task *task);             /* sanitize.c: every service action */

/* ---- what stands in the way of a command: zero in the common case ---- */

/* scsi_nexus.slow. The attentions come first, in the order in which they are told. */
enum scsi_nexus_bits {
	SCSI_UA_POWER_ON = 1 << 0,
	SCSI_UA_BUS_RESET = 1 << 1,
	SCSI_UA_DEVICE_RESET = 1 << 2,
	SCSI_UA_NEXUS_LOSS = 1 << 3,
	SCSI_UA_COMMANDS_CLEARED = 1 << 4,
	SCSI_UA_RESERVATIONS_PREEMPTED = 1 << 5,
	SCSI_UA_RESERVATIONS_RELEASED = 1 << 6,
	SCSI_UA_REGISTRATIONS_PREEMPTED = 1 << 7,
	SCSI_UA_CAPACITY_CHANGED = 1 << 8,
	SCSI_UA_MODE_CHANGED = 1 << 9,
	SCSI_UA_LUNS_CHANGED = 1 << 10,
	SCSI_UA_INQUIRY_CHANGED = 1 << 11,
	SCSI_UA_ALL = (1 << 12) - 1,
	/* set by the reservations whenever they change */
	SCSI_CONFLICT_READ = 1 << 16,
	SCSI_CONFLICT_WRITE = 1 << 17,
	SCSI_CONFLICT_SPC2 = 1 << 18, /* another initiator holds an SPC-2 reservation */
	SCSI_CONFLICT_PR =
		1 << 19, /* there are persistent registrations: RESERVE and RELEASE conflict */
};

/* scsi_unit.slow */
enum scsi_unit_bits {
	SCSI_UNIT_STOPPED = 1,         /* START STOP UNIT */
	SCSI_UNIT_WRITE_PROTECTED = 2, /* the node is read-only */
	SCSI_UNIT_SWP = 4,             /* software write protect */
	SCSI_UNIT_SANITIZING = 8,
	SCSI_UNIT_SANITIZE_FAILED = 16,
	SCSI_UNIT_SANITIZE_RESTRICTED = 32, /* EXIT FAILURE MODE is not allowed */
};

struct scsi_reservations; /* reservation_internal.h */
struct scsi_state;        /* state.c: the file */
struct scsi_sanitize;     /* sanitize.c */

/* mode.c: values that MODE SELECT may change, as one compact block that is kept, compared and copied. */
struct scsi_mode_values {
	uint8_t wce, dra, d_sense, swp, tas, gltsd, qerr, mrie, perf, dexcpt, test, ewasc;
	uint8_t awre, arre, read_retries, write_retries;
};

struct scsi_unit {
	/* read by each command */
	uint32_t slow cache_aligned; /* atomic: enum scsi_unit_bits */
	uint8_t write_through;       /* atomic: WCE is off, each write is made stable */
	uint8_t d_sense;             /* atomic: descriptor sense wanted */
	uint8_t block_shift;         /* log2 of the logical block size */
	uint32_t block_size;
	struct block_node *node;

	/* constant */
	struct loop *loop cache_aligned;
	char vendor[9], product[17], revision[5], serial[SCSI_SERIAL_MAX + 1],
		device_id[SCSI_SERIAL_MAX + 1];
	uint64_t wwn;
	uint16_t rotation_rate;
	bool read_only;

	/* under lock */
	pthread_mutex_t lock;
	TAILQ_HEAD(, scsi_nexus) nexuses;
	struct scsi_mode_values mode, mode_saved;
	struct scsi_reservations *reservations;
	struct scsi_state *state; /* NULL: nothing is kept */
	struct scsi_sanitize *sanitize;
	bool ending; /* scsi_unit_end_jobs */

	/* main thread: of scsi_unit_end_jobs, of scsi_unit_hold_jobs */
	void (*end_done)(void *opaque);
	void *end_opaque;
	bool jobs_held;
	void (*held_done)(void *opaque); /* NULL: nobody waits until they stand still */
	void *held_opaque;
};

struct scsi_nexus {
	uint32_t slow cache_aligned; /* atomic: enum scsi_nexus_bits */
	/* constant */
	struct scsi_unit *unit;
	struct scsi_port_ids ports;
	uint16_t target, lun;
	/* under the unit's lock */
	TAILQ_ENTRY(scsi_nexus) next;
	bool removal_prevented;
	bool abort_marked;
	void *copy_results; /* copy.c: of the last EXTENDED COPY; freed by copy_results_free */
};

static inline void scsi_unit_lock(struct scsi_unit *unit)
{
	pthread_mutex_lock(&unit->lock);
}
static inline void scsi_unit_unlock(struct scsi_unit *unit)
{
	pthread_mutex_unlock(&unit->lock);
}
static inline struct scsi_unit *scsi_task_unit(const struct scsi_task *task)
{
	return task->nexus->unit;
}
static inline uint64_t scsi_unit_blocks(const struct scsi_unit *unit)
{
	return block_node_size(unit->node) >> unit->block_shift;
}

/* ---- task.c: a task ends in exactly one of these ---- */

void scsi_task_good(
	struct scsi_task *task); /* what was not moved of the buffer counts as residual */
void scsi_task_end(struct scsi_task *task, enum scsi_status status); /* without sense */
void scsi_task_fail(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc);
/* ILLEGAL REQUEST, INVALID FIELD IN CDB / PARAMETER LIST with a field pointer; bit -1: the whole byte. */
void scsi_task_bad_cdb(struct scsi_task *task, unsigned byte, int bit);
void scsi_task_bad_parameter(struct scsi_task *task, unsigned byte, int bit);
/* Sense with the INFORMATION field (an LBA, or the offset of a miscompare). */
void scsi_task_fail_info(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc,
			 uint64_t information);
/* Sense with the progress of what the unit is busy with, of 65536. */
void scsi_task_fail_progress(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc,
			     uint16_t progress);
/* Copies data to the initiator: at most `length` bytes (the allocation length), and GOOD. */
void scsi_task_data_in(struct scsi_task *task, const void *bytes, size_t size);
/* The result of a block operation that failed, as the standard's sense: EIO, ENOSPC, EROFS, … */
void scsi_task_fail_block(struct scsi_task *task, enum block_op op, int result);

/* The parameter list: all `length` bytes (at most max) in task->buffer. False: the task has ended (too long, no memory). */
bool scsi_task_take_parameters(struct scsi_task *task, size_t max);
/* A zeroed task->buffer of so many bytes. False: the task has ended (BUSY). */
bool scsi_task_get_buffer(struct scsi_task *task, size_t bytes);
/* Block I/O on the task's channel: into or from iov (the task's data, or a buffer of task.vector), then next(task, result).
 * next may be called before this returns. lba and blocks in logical blocks. */
struct scsi_io {
	enum block_op op;
	unsigned flags;
	uint64_t lba, blocks;
	struct iovec *iov;
	unsigned iov_count;
	struct block_channel *channel; /* NULL: the task's */
};
void scsi_task_io(struct scsi_task *task, const struct scsi_io *io,
		  void (*next)(struct scsi_task *task, int result));
/* FUA if the CDB asks for it (bit 3 of byte 1) or the write cache is off. */
unsigned scsi_task_write_flags(const struct scsi_task *task);

/* ---- sense.c ---- */

struct scsi_sense {
	enum scsi_sense_key key;
	enum scsi_asc asc;
	bool has_information, has_field, field_in_cdb, has_progress;
	uint64_t information;
	uint16_t field_byte;
	int8_t field_bit;  /* -1: none */
	uint16_t progress; /* of 65536 */
};
/* Returns the length; descriptor or fixed format. */
unsigned scsi_sense_format(const struct scsi_sense *sense, bool descriptor,
			   uint8_t bytes[SCSI_SENSE_MAX]);

/* ---- attention.c ---- */

/* Takes the first pending one; SCSI_ASC_NONE when there is none. Exactly one of two concurrent callers gets it. */
enum scsi_asc scsi_nexus_take_attention(struct scsi_nexus *nexus);
enum scsi_asc scsi_nexus_peek_attention(const struct scsi_nexus *nexus);
/* Every nexus of the unit but `except` (may be NULL). Under the unit's lock. */
void scsi_unit_attention_others(struct scsi_unit *unit, const struct scsi_nexus *except,
				enum scsi_asc attention);

/* ---- inquiry.c ---- */

/* PERIPHERAL QUALIFIER and PERIPHERAL DEVICE TYPE: of a unit, of the well-known one, of none. */
uint8_t scsi_peripheral(const struct scsi_task *task);

/* ---- status.c ---- */

/* What REQUEST SENSE and LOG SENSE tell of informational exceptions. */
enum scsi_asc scsi_unit_exception(struct scsi_unit *unit);

/* ---- vpd.c: what several commands tell alike ---- */

/* Logical block provisioning: UNMAP and WRITE SAME with UNMAP deallocate. */
bool scsi_unit_can_unmap(const struct scsi_unit *unit);
/* What was unmapped reads as zeroes. */
bool scsi_unit_unmap_zeroes(const struct scsi_unit *unit);
/* What the disk below writes whole: one physical block, in logical ones. Alignment, granularity and limit of WRITE ATOMIC. */
uint32_t scsi_unit_atomic_blocks(const struct scsi_unit *unit);
/* INQUIRY with EVPD. */
void scsi_vpd(struct scsi_task *task);
/* Limits of space.c and atomic.c, in blocks: page B0h tells them. WRITE SAME of no blocks is refused (WSNZ 1). */
#define SCSI_UNMAP_DESCRIPTORS_MAX 256u
#define SCSI_UNMAP_BLOCKS_MAX (1u << 20)
#define SCSI_WRITE_SAME_BLOCKS_MAX 0xffffu /* what WRITE SAME (10) can say */
#define SCSI_COMPARE_BLOCKS_MAX 255u
/* The only target port group: in its designator and in REPORT TARGET PORT GROUPS. */
#define SCSI_TARGET_PORT_GROUP 1u

/* ---- names.c ---- */

/* INQUIRY has four characters for it: major.minor of the version. */
#define SCSI_REVISION_DEFAULT "0.1"
#define SCSI_VENDOR_DEFAULT "RINGLANE"
#define SCSI_PRODUCT_DEFAULT "Ringlane disk"
/* The names and the WWN of the settings, or made; -EINVAL and a sentence. */
int scsi_unit_set_names(struct scsi_unit *unit, const struct scsi_unit_config *config,
			struct error *error);

/* The identification designators of VPD page 83h (unit, target port, relative port, port group); returns their bytes. */
unsigned scsi_designators(const struct scsi_nexus *nexus, uint8_t *bytes, size_t size);

/* ---- reservations ---- */

int scsi_reservations_new(struct scsi_unit *unit);
void scsi_reservations_free(struct scsi_unit *unit);
/* Sets the conflict bits of all nexuses anew. Under lock. */
void scsi_reservations_refresh(struct scsi_unit *unit);
void scsi_reservations_release_spc2(
	struct scsi_unit *unit,
	const struct scsi_nexus *only); /* NULL: whoever holds it. Under lock */
/* May this task run? nexus->slow has a conflict bit. */
bool scsi_reservation_allows(const struct scsi_task *task, uint32_t slow);

/* ---- state.c: a file, written by a thread of its own, whole and atomically ---- */

int scsi_state_open(struct scsi_unit *unit, const char *path,
		    struct error *error); /* reads what is there */
void scsi_state_free(struct scsi_unit *unit);
/* Writes what is to be kept now, then next(task, 0 or -errno) on the task's loop. The unit has a state file. */
void scsi_state_save(struct scsi_task *task, void (*next)(struct scsi_task *task, int result));

/* No write to the file begins any more; done on the main loop when none is under way, perhaps before this returns. */
void scsi_state_end(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque);

/* ---- mode.c, sanitize.c, copy.c ---- */

void scsi_mode_default(struct scsi_mode_values *values);
/* Sets unit->slow, write_through, d_sense from the values. Under lock. */
void scsi_mode_apply(struct scsi_unit *unit);
bool scsi_sanitize_progress(struct scsi_unit *unit, uint16_t *ret_progress); /* under lock */
void scsi_sanitize_end(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque);
void scsi_copy_results_forget(struct scsi_nexus *nexus); /* of copies that have ended; under lock */
void scsi_copy_results_free(struct scsi_nexus *nexus);

#endif
