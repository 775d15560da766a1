/* SPDX-License-Identifier: MIT */
/*
 * For tests: an adapter with all its rings in guest memory, the driver's end of each, and disks behind it.
 *
 * ctrl and event are on the main loop, which the test turns by hand; so are request queues, unless the test brings loops (threads).
 * Disks are spies: they write down what reaches them, answer at once, a little later on the same loop, or keep it until the test lets
 * go; reads fill each sector with its number. The guest's buffers are found by index, so that a test never handles addresses.
 */
#ifndef RINGLANE_DEVICE_SCSI_FIXTURE_H
#define RINGLANE_DEVICE_SCSI_FIXTURE_H

#include "base/atomic.h"
#include "base/clock.h"
#include "device/scsi_internal.h"

#define SCSI_FIXTURE_MEMORY (16u << 20)
#define SCSI_FIXTURE_GUEST 0x40000000ull
#define SCSI_FIXTURE_RINGS 6u /* ctrl, event, four request queues */
#define SCSI_FIXTURE_RING_SIZE 64u
#define SCSI_FIXTURE_DISKS 4u
#define SCSI_FIXTURE_HELD 128u
#define SCSI_FIXTURE_CUTS 40u
#define SCSI_FIXTURE_DEADLINE_S 20
#define SCSI_FIXTURE_SLOW_NS 30000u
#define SCSI_FIXTURE_UNTOUCHED 0xee /* what a response holds before the device writes it */

struct scsi_world;

/* One chain that the driver has put into a ring. Its parts lie in guest memory. */
struct scsi_chain {
	bool out;         /* not back yet */
	uint32_t written; /* as the used entry says */
	uint8_t *out_part, *in_part;
	uint32_t out_bytes, in_bytes;
};

struct scsi_ring {
	struct scsi_world *world;
	unsigned index;
	struct virtq_config config;
	struct virtq_driver driver;
	struct virtq_driver_slot slots[SCSI_FIXTURE_RING_SIZE];
	struct scsi_chain *by_head[SCSI_FIXTURE_RING_SIZE];
	struct lane *lane;
	struct loop *loop; /* of the lane */
	int kick_fd, call_fd;
	bool running;
	unsigned broken_count;
	const char *broken_reason;
};

struct scsi_spy {
	struct block_node *node;
	struct scsi_disk *disk;
	bool later;      /* keep what comes; of one thread alone */
	bool slow;       /* answer when a timer fires; who writes is to be alone */
	bool writing;    /* atomic */
	unsigned count;  /* requests; atomic */
	unsigned active; /* the same, that are not answered; atomic */
	enum block_op last_op;
	unsigned held_count;
	struct block_request *held[SCSI_FIXTURE_HELD];
};

struct scsi_world {
	struct loop *loop;
	struct block_graph *graph;
	uint8_t *memory;
	size_t allocated;
	struct mem_map *map;
	unsigned adapter_count, ring_count;
	struct scsi_adapter {
		struct scsi_device *device;
		struct scsi_ring rings[SCSI_FIXTURE_RINGS];
	} adapters[2];
	struct scsi_spy spies[SCSI_FIXTURE_DISKS];
	unsigned answers; /* commands of lanes */
	int result;
	unsigned done; /* scsi_fixture_done */
};

struct scsi_world_config {
	unsigned adapters;     /* 0: 1 */
	unsigned queues;       /* request queues; 0: 2 */
	struct loop *loops[4]; /* of them; NULL: the main loop */
	uint64_t acked;        /* 0: HOTPLUG and CHANGE */
	uint32_t cdb_size, sense_size;
	bool event_idx;
	bool no_luns; /* else disk 0 is LUN 0 of target 0, disk 1 LUN 0 of target 1 of each adapter */
	bool stopped; /* lanes are not started */
	bool slow;    /* disks */
};

void scsi_world_open(struct scsi_world *world, const struct scsi_world_config *config);
/* Stops the lanes, removes LUNs, frees everything; fails when something is left. */
void scsi_world_close(struct scsi_world *world);
/* The same in two steps: in between the threads of the test's loops end, which may still be waking the main loop. */
void scsi_world_stop(struct scsi_world *world);
void scsi_world_free(struct scsi_world *world);

/* ---- turning ---- */

void scsi_world_turn(struct scsi_world *world, uint64_t deadline_ns);
void scsi_world_turns(struct scsi_world *world, unsigned count); /* and takes what has come back */
#define scsi_wait(world, condition)                                                      \
	do {                                                                             \
		uint64_t deadline_ns_ = clock_ns() + SCSI_FIXTURE_DEADLINE_S * NS_PER_S; \
		while (!(condition))                                                     \
			scsi_world_turn(world, deadline_ns_);                            \
	} while (0)
void scsi_fixture_done(void *world); /* counts in world->done */
void scsi_fixture_drain(struct scsi_disk *disk, void (*done)(void *opaque), void *opaque);

/* ---- the adapter ---- */

struct scsi_ring *scsi_ring_of(struct scsi_world *world, unsigned adapter, unsigned index);
void scsi_ring_start(struct scsi_ring *ring);
int scsi_ring_stop(struct scsi_ring *ring); /* waits; the next avail index */
void scsi_ring_stop_begin(struct scsi_ring *ring);
struct scsi_lun *scsi_world_lun(struct scsi_world *world, unsigned adapter, unsigned target,
				unsigned lun);
struct scsi_lun *scsi_world_add_lun(struct scsi_world *world, unsigned adapter, unsigned disk,
				    unsigned target, unsigned lun);
void scsi_world_remove_lun(struct scsi_world *world, struct scsi_lun *lun); /* waits */

/* ---- disks ---- */

void scsi_spy_let_go(struct scsi_spy *spy, unsigned index, int result);
void scsi_spy_let_all_go(struct scsi_spy *spy);

/* ---- requests ---- */

/* A chain of these bytes, one descriptor each part unless cuts say otherwise (lengths, 0 ends). */
struct scsi_shape {
	uint32_t out_bytes, in_bytes;
	uint32_t out_cuts[SCSI_FIXTURE_CUTS], in_cuts[SCSI_FIXTURE_CUTS];
};
struct scsi_chain *scsi_chain_new(struct scsi_world *world, uint32_t out_bytes, uint32_t in_bytes);
void scsi_chain_submit(struct scsi_ring *ring, struct scsi_chain *chain,
		       const struct scsi_shape *cuts);

struct scsi_command {
	unsigned adapter, queue; /* queue: from 0, request queues */
	uint8_t target;
	uint16_t lun;
	uint64_t tag;
	uint8_t attribute;
	uint8_t cdb[32];
	uint32_t out_bytes, in_bytes;  /* data */
	uint32_t cdb_size, sense_size; /* 0: the defaults */
};
/* Puts it into its ring and kicks. Valid until scsi_world_close. */
struct scsi_chain *scsi_submit(struct scsi_world *world, const struct scsi_command *command);
struct scsi_chain *scsi_submit_read(struct scsi_world *world, unsigned queue, unsigned target,
				    uint64_t tag);
struct scsi_chain *scsi_run(struct scsi_world *world, const struct scsi_command *command);
uint8_t scsi_response(const struct scsi_chain *chain);
uint8_t scsi_status(const struct scsi_chain *chain);
uint32_t scsi_residual(const struct scsi_chain *chain);
uint32_t scsi_sense_length(const struct scsi_chain *chain);
const uint8_t *scsi_sense(const struct scsi_chain *chain);
/* CHECK CONDITION with this fixed format sense; takes it for granted that the response is OK. */
void scsi_assert_sense(const struct scsi_chain *chain, unsigned key, unsigned asc);
void scsi_assert_good(const struct scsi_chain *chain);
/* Unit attentions of the beginning, so that later commands run. */
void scsi_clear_attention(struct scsi_world *world, unsigned adapter, unsigned target);
unsigned scsi_take_attention(struct scsi_world *world, unsigned adapter,
			     unsigned target); /* ASC << 8 | ASCQ, 0 */

struct scsi_chain *scsi_submit_tmf(struct scsi_world *world, unsigned subtype, unsigned target,
				   unsigned lun, uint64_t tag);
uint8_t scsi_tmf_response(const struct scsi_chain *chain);
uint8_t scsi_run_tmf(struct scsi_world *world, unsigned subtype, unsigned target, unsigned lun,
		     uint64_t tag);

/* ---- events ---- */

struct scsi_chain *scsi_event_buffer(struct scsi_world *world, uint32_t bytes);
void scsi_assert_event(const struct scsi_chain *chain, uint32_t event, unsigned target,
		       unsigned lun_bytes, uint32_t reason);

/* ---- inside of the fixture: memory of the guest, zeroed; where the guest finds it ---- */

void *scsi_guest_alloc(struct scsi_world *world, size_t size);
uint64_t scsi_guest_address(const struct scsi_world *world, const void *host);

#endif
