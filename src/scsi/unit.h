/* SPDX-License-Identifier: MIT */
/*
 * A logical unit and the I_T_L nexuses through which initiators see it.
 *
 *   scsi_unit   one disk: a block node, its names, mode pages, reservations. Shared by everybody who sees the disk.
 *   scsi_nexus  one initiator's view of it (SAM-5, 4.7): unit attentions, registration, what stands in its way. An adapter is one
 *               initiator; two adapters that show one disk are two nexuses of one unit.
 *
 * Threads. Units and nexuses are made and freed on the main thread; nothing may be in flight on a nexus that is freed. Everything
 * that seldom changes (mode pages, reservations, the list of nexuses) lies under the unit's lock, held for microseconds and never
 * across I/O. What each command looks at are two words that are zero in the common case: unit->slow and nexus->slow.
 */
#ifndef RINGLANE_SCSI_UNIT_H
#define RINGLANE_SCSI_UNIT_H

#include "base/error.h"
#include "block/block.h"
#include "scsi/scsi.h"

#define SCSI_SERIAL_MAX 36 /* bytes, as QEMU takes it */

struct scsi_unit_config {
	struct block_node *node; /* a reference is taken */
	struct loop *loop;       /* the main loop: background jobs (SANITIZE) run there */
	/* NULL: "RINGLANE", "Ringlane disk", the version. At most 8, 16, 4 characters of printable ASCII */
	const char *vendor, *product, *revision;
	const char *
		serial; /* 1 … SCSI_SERIAL_MAX printable ASCII characters; NULL: none, made from the node's name */
	const char *device_id; /* T10 vendor identification designator; NULL: the serial */
	uint64_t wwn; /* NAA of the unit; 0: made from vendor and serial, so that it survives restarts */
	uint32_t logical_block_size; /* bytes: 512 … 64 KiB, power of two; 0: the smallest possible */
	uint16_t rotation_rate;      /* B1h: 1 = no rotation */
	bool read_only;
	const char *
		state_path; /* where reservations with APTPL and saved mode pages are kept; NULL: nowhere, and both are refused */
};

struct scsi_unit;

/* -EINVAL and one sentence that names the key (QEMU's words: serial, wwn, …). Reads the state file if there is one. */
int scsi_unit_new(const struct scsi_unit_config *config, struct scsi_unit **ret_unit,
		  struct error *error);
void scsi_unit_free(struct scsi_unit *unit); /* no nexus, no background job left; NULL is fine */
/* SANITIZE or a state file being written: ends what can be ended early, then calls done on the main loop (perhaps before this
 * returns). No new one begins. */
void scsi_unit_end_jobs(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque);
/* A drain: from done() on, on the main loop and perhaps before this returns, a SANITIZE stands still until it is released. One at a
 * time. */
void scsi_unit_hold_jobs(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque);
void scsi_unit_release_jobs(struct scsi_unit *unit);
struct block_node *scsi_unit_node(const struct scsi_unit *unit);
const char *scsi_unit_serial(const struct scsi_unit *unit);
uint64_t scsi_unit_wwn(const struct scsi_unit *unit);

/* The node has another size: CAPACITY DATA HAS CHANGED for every nexus. Any thread. */
void scsi_unit_capacity_changed(struct scsi_unit *unit);
/*
 * The effect of LOGICAL UNIT RESET after its tasks have ended (SAM-5, 6.3.3): SPC-2 reservations released, medium removal allowed,
 * mode pages as saved, BUS DEVICE RESET FUNCTION OCCURRED for every nexus. Any thread.
 */
void scsi_unit_reset(struct scsi_unit *unit);

/* Who sees it: the names of one adapter's two ports. Ids are NAA names made from the export's id: the same in each run. */
struct scsi_port_ids {
	uint64_t initiator, target;
	uint16_t relative_target_port; /* 1 … */
};

/* A locally assigned NAA 3h name, the same for the same two texts. */
uint64_t scsi_name_naa(const char *vendor, const char *text);

struct scsi_nexus_config {
	struct scsi_unit *unit;
	struct scsi_port_ids
		ports; /* unit and initiator make the nexus: no two of one unit are the same */
	uint16_t target, lun; /* where the initiator finds it */
	/* all LUNs of that target and adapter, for REPORT LUNS; see scsi_lun_list */
};

struct scsi_nexus;

/* With the unit attention POWER ON, RESET, OR BUS DEVICE RESET OCCURRED. A registration kept for this initiator is found again. */
int scsi_nexus_new(const struct scsi_nexus_config *config, struct scsi_nexus **ret_nexus,
		   struct error *error);
void scsi_nexus_free(struct scsi_nexus *nexus);
struct scsi_unit *scsi_nexus_unit(const struct scsi_nexus *nexus);

/*
 * The initiator has gone or was reset (I_T NEXUS RESET, virtio device reset, a new client): reservations of SPC-2 kind and
 * prevented removal end, unit attentions of old are forgotten, attention is established. Any thread.
 */
void scsi_nexus_lost(struct scsi_nexus *nexus, enum scsi_asc attention);
/* Establishes a unit attention: one of those of attention.c. Any thread. */
void scsi_nexus_attention(struct scsi_nexus *nexus, enum scsi_asc attention);
/* That one is news no more. Any thread. */
void scsi_nexus_clear_attention(struct scsi_nexus *nexus, enum scsi_asc attention);
/* May the medium be taken away (PREVENT ALLOW MEDIUM REMOVAL by anybody)? Any thread. */
bool scsi_unit_removal_prevented(struct scsi_unit *unit);

/* PREEMPT AND ABORT: takes the mark from a nexus whose commands are to be aborted; false when there is none. Any thread. */
bool scsi_nexus_take_abort(struct scsi_nexus *nexus);

#endif
