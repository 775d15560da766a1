/* SPDX-License-Identifier: MIT */
/*
 * One command: bytes in, bytes out, status, sense. The target sees no virtqueue and no thread but the task's own loop.
 *
 * The caller (a virtio device) owns the struct, which lies in its request slot, zeroed once; it fills its part and calls
 * scsi_task_execute(). Exactly one done() follows, perhaps before that returns, on the task's loop. What the task points to (data,
 * channel, nexus) stays until then.
 *
 * What a command needs from those who know the other lanes it asks through scsi_task_ops, and sleeps until scsi_task_resume().
 */
#ifndef RINGLANE_SCSI_TASK_H
#define RINGLANE_SCSI_TASK_H

#include "block/block.h"
#include "scsi/scsi.h"
#include "scsi/unit.h"

/* SAM-5, 8.6; the numbers are virtio's. */
enum scsi_attribute { SCSI_SIMPLE = 0, SCSI_ORDERED = 1, SCSI_HEAD_OF_QUEUE = 2, SCSI_ACA = 3 };

/* How the data buffers fitted what the CDB wanted to move. */
enum scsi_fit {
	SCSI_FITS,     /* residual: bytes of the buffer that were not used */
	SCSI_OVERFLOW, /* the CDB wanted residual bytes more than the buffer has. Nothing was executed if data goes out, or if the
			* command moves blocks; data that a command returns up to an allocation length was cut */
};

struct scsi_task;
struct scsi_opcode;
struct scsi_steps;

/* Another unit that the same initiator sees: EXTENDED COPY. Found by its NAA name, held until it is put back. */
struct scsi_peer {
	struct scsi_nexus *nexus;
	struct block_channel *channel; /* on the task's loop */
	void *opaque;                  /* the caller's */
};

struct scsi_task_ops {
	/* Runs alone on its unit: no other command of any nexus is being executed, none starts before this one is done. Answer:
	 * scsi_task_resume(). A command that is aborted while it waits is not resumed: it is completed by scsi_task_abandon(). */
	void (*exclusive)(struct scsi_task *task);
	/* What exclusive() granted is over, though the task is not done: others run again. NULL: not before it is done. */
	void (*exclusive_end)(struct scsi_task *task);
	/* Abort the commands of all nexuses of the unit that scsi_nexus_take_abort() names, then scsi_task_resume(). */
	void (*abort_marked)(struct scsi_task *task);
	/* The LUNs of the task's target, as REPORT LUNS wants them (SAM-5, 4.7: 8 bytes each, big-endian), ascending; returns how
	 * many there are, fills at most max. */
	unsigned (*list_luns)(struct scsi_task *task, uint64_t *luns, unsigned max);
	/* The initiator is about to be told the LUNs: REPORTED LUNS DATA HAS CHANGED is news no more at any LUN of the target. */
	void (*luns_reported)(struct scsi_task *task);
	/* -ENOENT when this initiator sees no such unit. */
	int (*peer_get)(struct scsi_task *task, uint64_t naa, struct scsi_peer *ret_peer);
	void (*peer_put)(struct scsi_task *task, struct scsi_peer *peer);
};

/* C the caller's, A the answer, T the target's own. */
struct scsi_task {
	/* C */
	const struct scsi_task_ops *ops;
	struct scsi_nexus
		*nexus; /* NULL: no such LUN, though the target exists, or the well-known LUN */
	struct block_channel *channel; /* of the unit's node, on loop; NULL without nexus */
	struct loop *loop;
	void (*done)(struct scsi_task *task);
	struct iovec *out,
		*in; /* data from and to the initiator; the target moves and shortens them */
	uint64_t out_bytes, in_bytes;
	unsigned out_count, in_count;
	unsigned cdb_length; /* bytes that may be meant: the transport's CDB size */
	enum scsi_attribute attribute;
	bool well_known; /* REPORT LUNS well-known logical unit */

	/* A */
	union {
		struct {
			uint8_t status; /* enum scsi_status */
			uint8_t sense_length;
			uint8_t fit; /* enum scsi_fit */
		};
		uint32_t outcome; /* all of them. 0: GOOD, nothing to be said, it fits */
	};
	uint64_t residual;

	/* T; internal.h says more */
	const struct scsi_opcode *opcode;
	uint64_t lba;             /* in logical blocks */
	uint64_t blocks;          /* that the command names */
	uint64_t length;          /* allocation or parameter list length, bytes; 0 with blocks */
	uint8_t *buffer;          /* of a command that needs one; freed at the end */
	void *state;              /* of a command with many steps; freed at the end */
	struct scsi_steps *steps; /* in state; NULL: it ends as soon as its I/O does */

	/* C */
	uint8_t cdb[SCSI_CDB_BYTES]; /* a copy; what the initiator did not send is 0 */

	/* T */
	struct block_request block;
	size_t buffer_bytes;
	void (*next)(struct scsi_task *task,
		     int result); /* after block I/O, exclusive(), abort_marked() */
	struct iovec vector;

	/* A */
	uint8_t sense[SCSI_SENSE_MAX];
};

void scsi_task_execute(struct scsi_task *task);

/*
 * READ and WRITE (10, 16) that nothing at all objects to, decided without a task. cdb: its 16 bytes as two big-endian numbers. Fills op,
 * flags, offset and bytes of the block request; the caller gives it to the gate if bytes is what the initiator has. Such a command
 * is GOOD when its I/O succeeds, and has no residual. False: it takes a task to tell.
 */
bool scsi_transfer_plan(const struct scsi_nexus *nexus, const uint64_t cdb[2],
			struct block_request *block);
/* The end of one whose I/O (task->block) had this result, as that of a task: nexus, channel, in_bytes and out_bytes are set. */
void scsi_transfer_end(struct scsi_task *task, int result);
/* Any of the asynchronous ops has done what it was asked for. On the task's loop. */
void scsi_task_resume(struct scsi_task *task);
/* The command has been aborted while it is executed: if it has many steps, it ends after the one that is under way. done() comes as
 * always, perhaps before this returns. On the task's loop. */
void scsi_task_cancel(struct scsi_task *task);
/* The command is aborted before it was resumed: frees what it has and completes it (its status means nothing). */
void scsi_task_abandon(struct scsi_task *task);
#endif
