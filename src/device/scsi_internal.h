/* SPDX-License-Identifier: MIT */
/*
 * What the files of virtio-scsi share; nobody else includes this.
 *
 * scsi.c           the adapter: features, reset, which loop serves which queue, lane operations
 * scsi_config.c    the configuration space
 * scsi_transfer.c  one request on the way that nearly all take: READ and WRITE that nothing stands in the way of
 * scsi_request.c   any other, from its chain to its response
 * scsi_lun_queue.c the commands of one LUN in one request queue: who runs, who is held back, who is aborted
 * scsi_lun.c       LUNs and the table in which lanes find them
 * scsi_disk.c      disks: drain, exclusive commands, PREEMPT AND ABORT
 * scsi_fanout.c    one function on the loop of each request queue, and an answer when the last has answered
 * scsi_tmf.c       the control queue
 * scsi_event.c     the event queue
 *
 * Who owns what. A request queue, and in each LUN the scsi_lun_queue of that request queue, belong to the loop that serves the queue;
 * while no loop does (before scsi_device_set_loop, after scsi_device_forget_loops) to the main thread. All else is the main thread's.
 */
#ifndef RINGLANE_DEVICE_SCSI_INTERNAL_H
#define RINGLANE_DEVICE_SCSI_INTERNAL_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "device/scsi.h"
#include "scsi/task.h"

#include <linux/virtio_scsi.h>
#include <sys/queue.h>

#define SCSI_HEADER_BYTES 19u                         /* of a request, before its CDB */
#define SCSI_HEADER_PI_BYTES (SCSI_HEADER_BYTES + 8u) /* the same with T10_PI */
#define SCSI_RESPONSE_BYTES 12u                       /* before the sense data */
#define SCSI_CDB_SIZE_MIN 6u
#define SCSI_SENSE_SIZE_MAX 65535u

struct scsi_fanout;
struct scsi_part;
struct scsi_work;
struct scsi_request;
struct scsi_lun_queue;

/* ---- the adapter ---- */

/* How requests look now. One word, so that a lane sees both sizes of the same moment. */
union scsi_layout {
	struct {
		uint16_t cdb_size, sense_size;
		uint16_t cdb_offset; /* SCSI_HEADER_BYTES, or SCSI_HEADER_PI_BYTES when T10_PI is acknowledged */
		uint16_t zero;
	};
	uint64_t word;
};

/* Where a lane finds LUNs: never changed once published, but that the pointer of a LUN that goes becomes NULL. */
struct scsi_lun_table {
	uint32_t first[SCSI_TARGETS_MAX + 1]; /* entries of target t: first[t] … first[t + 1] - 1 */
	struct scsi_fanout *retire;           /* frees it; made with it, so that this cannot fail */
	struct scsi_lun_entry {
		uint16_t lun;
		struct scsi_lun *pointer; /* atomic */
	} entries[];                      /* ascending */
};

/* A request queue. */
struct scsi_queue {
	struct loop *loop cache_aligned; /* main thread's; NULL: none */
	/* the owner's */
	struct scsi_device *device;
	unsigned index;
	struct loop *lane_loop;
	struct scsi_lun_queue
		*recent;      /* of the last request, its channel open; NULL: none, or it goes */
	uint64_t recent_word; /* its address, as scsi_table_find_fast() has it */
	struct lane *lane;    /* while it is started */
	struct scsi_lun_queue *open; /* those whose channel is open */
};

struct scsi_event_ring {
	struct lane *lane; /* while it is started */
	bool has_run;      /* since the last reset */
	bool missed;       /* an event found no buffer */
};

struct scsi_device {
	/* read for each request */
	union scsi_layout layout cache_aligned; /* atomic */
	struct scsi_lun_table *table;           /* atomic; never NULL */

	/* the main thread's */
	struct loop *main_loop cache_aligned;
	struct scsi_port_ids ports;
	uint16_t num_queues;
	uint16_t cdb_size_default, sense_size_default;
	uint64_t acked;
	TAILQ_HEAD(, scsi_lun) luns; /* ascending; those that go included */
	struct scsi_event_ring event;
	unsigned out; /* parts of fan-outs and answers to errands that have not come back */
	struct loop_defer forget;
	void (*forgotten)(void *opaque); /* NULL: nobody waits */
	void *forgotten_opaque;
	struct scsi_queue *queues;
};

/* Messages to loops have come back; scsi_device_forget_loops may be waiting for them. */
void scsi_device_back(struct scsi_device *device, unsigned count);
void scsi_layout_reset(struct scsi_device *device); /* scsi_config.c */
void scsi_layout_set_pi(struct scsi_device *device, bool pi);

/* ---- LUNs and disks ---- */

enum scsi_disk_phase {
	SCSI_DISK_RUNS,    /* -> HOLDING when somebody wants it quiet */
	SCSI_DISK_HOLDING, /* the lanes have been told. -> QUIET when all have answered */
	SCSI_DISK_QUIET, /* nothing is being executed but one exclusive command. -> RELEASING when nobody wants it any more */
	SCSI_DISK_RELEASING, /* the lanes have been told. -> RUNS */
};

struct scsi_disk {
	struct scsi_unit *unit;
	struct loop *loop;
	TAILQ_HEAD(, scsi_lun) luns;
	enum scsi_disk_phase phase;
	STAILQ_HEAD(, scsi_drain) drains; /* not answered yet */
	unsigned drained;                 /* answered and not released */
	STAILQ_HEAD(, scsi_lun_queue) exclusives;
	struct scsi_lun_queue *granted;
	STAILQ_HEAD(, scsi_lun_queue) marked; /* ask for abort_marked */
	STAILQ_HEAD(, scsi_lun_queue) served; /* … of which these are being served */
	bool jobs_held, jobs_quiet;           /* the unit's, for drains: asked for, answered */
	bool stepping, again;
	struct loop_timer retry; /* memory was short */
	struct loop_defer end;
	void (*freed)(void *opaque); /* NULL: nobody frees it */
	void *freed_opaque;
};

struct scsi_lun {
	/* read for each request */
	struct scsi_nexus *nexus;
	struct scsi_lun_queue *queues; /* one for each request queue, aligned */
	struct scsi_device *device;
	struct scsi_disk *disk;
	uint16_t target, lun;

	/* the main thread's */
	TAILQ_ENTRY(scsi_lun) next_of_device, next_of_disk;
	void *queues_memory;
	unsigned pins;                /* fan-outs and errands that are out */
	struct scsi_fanout *farewell; /* for the removal: made with it, so that it cannot fail */
	bool held;                    /* by the disk's phase */
	bool going, empty;            /* the removal has begun; no lane has anything of it */
	struct loop_defer end;
	void (*removed)(void *opaque);
	void *removed_opaque;
};

/* What a lun queue asks the main thread for: two messages, because the next question may be out before the last answer is back. */
struct scsi_errand {
	struct loop_message ask, answer;
	STAILQ_ENTRY(scsi_lun_queue) next; /* in the disk's list */
	struct scsi_request *first, *last; /* who sleeps */
	bool asked;
};

/* The commands of one LUN in one request queue. All zero: nothing is there. Its owner's, but for what is marked. */
struct scsi_lun_queue {
	/* for each command */
	struct scsi_nexus *nexus cache_aligned; /* set with lun */
	struct block_channel *channel;          /* NULL: not opened yet */
	uint32_t slow;  /* anything below that a command must look at: see scsi_lun_queue.c */
	uint32_t holds; /* atomic, the main thread's: somebody wants the LUN quiet */
	/* commands, sleepers and uses as a peer included; atomic for statistics. What has begun and not ended is active */
	uint64_t begun, ended;
	struct scsi_lun *lun;     /* set when the channel is first opened, constant from then on */
	struct scsi_queue *queue; /* the same */

	/* seldom */
	uint32_t held_count;          /* atomic for statistics */
	uint32_t asleep;              /* wait for their turn to be alone */
	struct scsi_request *ordered; /* the ORDERED command that is being executed */
	bool stepping, granting;
	bool served; /* the main thread's while no fan-out is out: its sleepers' abort_marked is being served */
	struct scsi_request *held_first, *held_last;
	struct scsi_request *alone; /* the exclusive command that runs */
	struct scsi_part *parts_first, *parts_last;
	struct scsi_lun_queue *next_open;
	struct scsi_errand exclusive, marked;
};

struct scsi_lun *scsi_table_find(const struct scsi_lun_table *table, unsigned target, unsigned lun);
bool scsi_table_has_target(const struct scsi_lun_table *table, unsigned target);
/* The target's, as scsi_task_ops.list_luns wants them. */
unsigned scsi_table_list(const struct scsi_lun_table *table, unsigned target, uint64_t *luns,
			 unsigned max);
/* An attention that is news no more at any LUN of the target. */
void scsi_table_clear_attention(const struct scsi_lun_table *table, unsigned target,
				enum scsi_asc attention);
struct scsi_lun *scsi_table_find_name(const struct scsi_lun_table *table, uint64_t naa);
struct scsi_lun_table *scsi_table_new(struct scsi_device *device); /* of its LUNs */
void scsi_table_free(struct scsi_lun_table *table);                /* NULL is fine */
/*
 * The way that nearly all requests take: flat space addressing, and the first LUN of its target. word: the 8 bytes of the LUN, little
 * endian. NULL: scsi_lun_decode() knows.
 */
static inline struct scsi_lun *scsi_table_find_fast(const struct scsi_lun_table *table,
						    uint64_t word)
{
	unsigned target = word >> 8 & 0xff, lun = (word >> 8 & 0x3f00) | (word >> 24 & 0xff);
	uint32_t first = table->first[target];

	if (unlikely((word & 0xffffffff00c000ff) != 0x400001 || first == table->first[target + 1]))
		return NULL;
	if (unlikely(table->entries[first].lun != lun))
		return NULL;
	return load_acquire(&table->entries[first].pointer); /* pairs with scsi_lun.c:lun_hide */
}
/* By the 8 bytes of a request. SCSI_LUN_BAD: no such target, or not the format that we know. */
enum scsi_lun_kind { SCSI_LUN_OK, SCSI_LUN_ABSENT, SCSI_LUN_WELL_KNOWN, SCSI_LUN_BAD };
enum scsi_lun_kind scsi_lun_decode(const struct scsi_lun_table *table, const uint8_t bytes[8],
				   struct scsi_lun **ret_lun);
/* Bytes 2 and 3 of a LUN: peripheral device addressing below 256, as REPORT LUNS, QEMU and Linux have it, else flat space. */
static inline uint16_t scsi_lun_encode(unsigned lun)
{
	return (uint16_t)(lun < 256 ? lun : 0x4000 | lun);
}
void scsi_lun_pin(struct scsi_lun *lun);
void scsi_lun_unpin(struct scsi_lun *lun); /* the LUN may be gone then */

/* For all LUNs that show it. NULL: no memory. */
struct scsi_fanout *scsi_disk_fanout(struct scsi_disk *disk);
void scsi_disk_add_lun(struct scsi_disk *disk, struct scsi_lun *lun);
void scsi_disk_remove_lun(struct scsi_disk *disk, struct scsi_lun *lun);
/* On the owner's loop: a command of this lun queue sleeps in ->exclusive or ->marked, and nobody has asked for it. */
void scsi_disk_ask_exclusive(struct scsi_lun_queue *lq);
void scsi_disk_ask_marked(struct scsi_lun_queue *lq);
void scsi_disk_end_exclusive(struct scsi_lun_queue *lq); /* what was granted is over */

/* ---- requests ---- */

enum scsi_request_state {
	SCSI_REQUEST_RUNS,
	SCSI_REQUEST_HELD,            /* not yet with the target */
	SCSI_REQUEST_WAITS_EXCLUSIVE, /* with the target, asleep */
	SCSI_REQUEST_WAITS_MARKED,
};

struct scsi_request {
	struct lane_request base; /* must be first */
	/* for each request */
	struct scsi_lun_queue *lq; /* NULL: not in flight, or of no LUN */
	uint64_t tag;
	uint8_t aborted; /* VIRTIO_SCSI_S_ABORTED, _RESET: its answer, whatever comes */
	uint8_t state;
	bool asked; /* WAITS_MARKED: before the question that is out */
	struct scsi_task task;
	/* seldom */
	uint8_t target; /* of one without a LUN */
	/* where the response goes; not set on the way of scsi_transfer.c */
	struct iovec *response_iov;
	unsigned response_count; /* whole entries before response_last */
	uint16_t sense_size;
	struct iovec response_last;
	struct scsi_request *next; /* held, asleep */
	struct scsi_part *part;    /* waits for its end */
};

void scsi_request_prepare(struct lane *lane, struct lane_request *base);
void scsi_transfer_execute(struct lane *lane, struct lane_request *base); /* whatever it is */
void scsi_request_execute(struct lane *lane, struct lane_request *base);
/* Answers without the target: never begun. */
void scsi_request_refuse(struct scsi_request *request, uint8_t response);

/* ---- lun queues: the owner's loop ---- */

static inline void scsi_lun_queue_begin(struct scsi_lun_queue *lq)
{
	store_relaxed(&lq->begun, lq->begun + 1);
}
static inline void scsi_lun_queue_end(struct scsi_lun_queue *lq)
{
	store_release(&lq->ended, lq->ended + 1); /* whoever sees it sees what has begun */
}
struct scsi_lun_queue *scsi_lun_queue_of(struct scsi_lun *lun, const struct scsi_queue *queue);
int scsi_lun_queue_open(struct scsi_lun *lun, struct scsi_queue *queue);
void scsi_lun_queue_close(struct scsi_lun_queue *lq);
/* A command that may not run at once perhaps. */
void scsi_lun_queue_admit(struct scsi_lun_queue *lq, struct scsi_request *request);
/* A command has ended, and lq->slow says that somebody cares; its slot is not reused yet. */
void scsi_lun_queue_ended(struct scsi_lun_queue *lq, struct scsi_request *request);
void scsi_lun_queue_use(struct scsi_lun_queue *lq); /* as a peer of an EXTENDED COPY */
void scsi_lun_queue_put(struct scsi_lun_queue *lq);
/* From the main thread: run those that sleep in lq->exclusive one after another; go on with those asked in lq->marked. */
void scsi_lun_queue_grant(struct scsi_lun_queue *lq);
void scsi_lun_queue_resume_marked(struct scsi_lun_queue *lq);
void scsi_lun_queue_exclusive(struct scsi_task *task); /* scsi_task_ops */
void scsi_lun_queue_exclusive_end(struct scsi_task *task);
void scsi_lun_queue_abort_marked(struct scsi_task *task);

/* What a fan-out does. */
extern const struct scsi_work scsi_do_hold, /* answers when nothing is being executed */
	scsi_do_release,
	scsi_do_empty, /* the LUN goes: answers when no command is left; the channel is closed */
	scsi_do_abort, /* those that fanout->match names; answers when they have ended */
	scsi_do_reset, /* all of them, and holds back what comes */
	scsi_do_query, /* counts those that match */
	scsi_do_look;  /* whoever has answered sees what was published before */

/* ---- fan-out ---- */

struct scsi_match {
	bool by_tag;
	uint64_t tag;
	uint8_t answer;   /* of those that are aborted */
	bool keep_served; /* not those whose abort_marked it is */
};

enum scsi_part_wait { SCSI_PART_ENDS, SCSI_PART_QUIET, SCSI_PART_EMPTY };

/* One request queue's share of an operation. */
struct scsi_part {
	struct scsi_group *group;
	struct scsi_fanout *fanout;
	struct scsi_queue *queue;
	struct scsi_lun_queue *lq; /* NULL: the adapter's, not a LUN's */
	struct scsi_lun *lun;
	struct scsi_part *next;         /* of the same group */
	struct scsi_part *next_waiting; /* of the same lun queue */
	enum scsi_part_wait wait;
	unsigned left;  /* ENDS: commands that have not ended */
	unsigned count; /* of commands that were found or aborted */
};

typedef void scsi_fanout_fn(struct scsi_fanout *fanout);

struct scsi_work {
	/* Main thread, before any loop is told: what lanes see for themselves. NULL: nothing. */
	void (*announce)(struct scsi_part *part);
	/* Main thread, after that, of a loop that sleeps: run() would find nothing to do. */
	bool (*is_moot)(const struct scsi_part *part);
	/* On the loop that owns the queue; ends in scsi_part_done. */
	void (*run)(struct scsi_part *part);
};

/* For those who began it: match before, the counts of the parts after. */
struct scsi_fanout {
	struct scsi_match match;
	scsi_fanout_fn *done;
	void *opaque;
	/* its own */
	struct loop *main_loop;
	const struct scsi_work *work;
	unsigned part_count, part_max, group_count, groups_out;
	struct scsi_group
		*groups; /* one for each distinct loop; the first is the main thread's own */
	struct scsi_part parts[];
};

/* NULL: no memory. */
struct scsi_fanout *scsi_fanout_new(struct loop *main_loop, unsigned part_max);
void scsi_fanout_free(
	struct scsi_fanout *fanout); /* not out; NULL is fine; LUNs of it may be gone then */
void scsi_fanout_add_device(struct scsi_fanout *fanout, struct scsi_device *device);
void scsi_fanout_add_lun(struct scsi_fanout *fanout, struct scsi_lun *lun); /* pins it */
/* The work for each part, on the loop that owns its queue. Then done(fanout) on the main loop, never before this returns. May be begun
 * again when it is done. */
void scsi_fanout_begin(struct scsi_fanout *fanout, const struct scsi_work *work,
		       scsi_fanout_fn *done);
/* On the owner's loop. What the lane completed before is published before the main thread hears of it. */
void scsi_part_done(struct scsi_part *part);
unsigned scsi_fanout_count(const struct scsi_fanout *fanout,
			   const struct scsi_lun *lun); /* NULL: all */

bool scsi_fanout_has_lun(const struct scsi_fanout *fanout, const struct scsi_lun *lun);

/* ---- control and event queue: the main loop ---- */

const struct lane_ops *scsi_ctrl_ops(void);
const struct lane_ops *scsi_event_ops(void);
void scsi_event_reset(struct scsi_device *device);
void scsi_event_lun_added(const struct scsi_lun *lun);
void scsi_event_lun_removed(const struct scsi_lun *lun);
void scsi_event_capacity_changed(const struct scsi_lun *lun);

#endif
