/* SPDX-License-Identifier: MIT */
/*
 * What the files of reservations share.
 *
 *   pr_rules.c     what a service action does to a table of registrations: pure, from one value to the next
 *   pr_out.c       PERSISTENT RESERVE OUT: parameters, one at a time, kept on disk first, then applied and told
 *   pr_in.c        PERSISTENT RESERVE IN
 *   reservation.c  the unit's table, conflicts, SPC-2 reservations
 *
 * An initiator reaches a unit through one port of ours (scsi_nexus_new), so its id names the I_T nexus. The relative port is kept
 * to be told, not to be compared: ports are numbered anew in each run.
 */
#ifndef RINGLANE_SCSI_RESERVATION_INTERNAL_H
#define RINGLANE_SCSI_RESERVATION_INTERNAL_H

#include "scsi/internal.h"

#define PR_REGISTRATIONS_MAX 128u
#define PR_TRANSPORT_ID_BYTES 24u /* SPC-4, 7.6.4.8: SAS */
#define PR_LIST_BYTES 24u         /* of every service action but those that name others */
#define PR_LIST_BYTES_MAX (PR_LIST_BYTES + 4 + PR_REGISTRATIONS_MAX * PR_TRANSPORT_ID_BYTES)

/* SPC-4, table 204 */
enum pr_type {
	PR_NONE = 0x0, /* ours: there is no reservation */
	PR_WRITE_EXCLUSIVE = 0x1,
	PR_EXCLUSIVE_ACCESS = 0x3,
	PR_WRITE_EXCLUSIVE_REGISTRANTS = 0x5,
	PR_EXCLUSIVE_ACCESS_REGISTRANTS = 0x6,
	PR_WRITE_EXCLUSIVE_ALL = 0x7,
	PR_EXCLUSIVE_ACCESS_ALL = 0x8,
};

/* SPC-4, table 210: the service actions of PERSISTENT RESERVE OUT */
enum pr_action {
	PR_REGISTER = 0x0,
	PR_RESERVE = 0x1,
	PR_RELEASE = 0x2,
	PR_CLEAR = 0x3,
	PR_PREEMPT = 0x4,
	PR_PREEMPT_AND_ABORT = 0x5,
	PR_REGISTER_AND_IGNORE = 0x6,
	PR_REGISTER_AND_MOVE = 0x7,
};

struct pr_registration {
	uint64_t initiator, key;
	uint16_t port; /* relative target port, as far as it is known */
	bool all_ports;
};

/* A value: copied, changed, put in place of the old one. In the order of registration. */
struct pr_table {
	struct pr_registration registrations[PR_REGISTRATIONS_MAX];
	unsigned count;
	enum pr_type type;
	uint64_t holder; /* initiator, which is registered; 0 unless the type is one of a single holder */
	bool aptpl; /* outlives the process; each change is saved */
	uint32_t generation;
};

struct pr_command {
	enum pr_action action;
	uint64_t initiator; /* who sends it */
	uint16_t port;
	uint8_t scope, type; /* as in the CDB */
	uint64_t key, action_key;
	bool aptpl, all_ports, specify_others, unregister;
	/* SPEC_I_PT: who else registers; REGISTER AND MOVE: the one that it moves to */
	uint64_t others[PR_REGISTRATIONS_MAX];
	unsigned other_count;
	uint16_t move_port;
};

enum pr_outcome {
	PR_GOOD,
	PR_CONFLICT,
	PR_BAD_CDB,       /* byte and bit say where */
	PR_BAD_PARAMETER, /* the same */
	PR_BAD_LENGTH,
	PR_INVALID_RELEASE,
	PR_NO_ROOM,
};

struct pr_verdict {
	enum pr_outcome outcome;
	uint8_t byte;
	int8_t bit;
};

/* Who is to be told, and whose commands end. */
struct pr_notice {
	uint64_t initiator;
	enum scsi_asc attention; /* SCSI_ASC_NONE: not told, it knows */
	bool abort;
};

struct pr_change {
	struct pr_table table;
	bool changed;
	struct pr_notice notices[PR_REGISTRATIONS_MAX];
	unsigned notice_count;
};

/* ---- pr_rules.c ---- */

/* What the command makes of the table. *ret_change is only meant when the outcome is PR_GOOD. */
struct pr_verdict pr_decide(const struct pr_table *table, const struct pr_command *command,
			    struct pr_change *ret_change);
const struct pr_registration *pr_table_find(const struct pr_table *table, uint64_t initiator);
bool pr_type_is_known(unsigned type);
bool pr_type_is_all_registrants(enum pr_type type);
/* A holder: of a reservation of all registrants everyone is. */
bool pr_table_holds(const struct pr_table *table, uint64_t initiator);
/* Does it keep what pr_decide() takes for granted? For tables that come from a file. */
bool pr_table_is_sound(const struct pr_table *table);
/* SCSI_CONFLICT_READ and SCSI_CONFLICT_WRITE as this initiator meets them (SPC-4, table 66). */
uint32_t pr_table_conflicts(const struct pr_table *table, uint64_t initiator);

/* ---- pr_out.c ---- */

/* bytes are zeroed. */
void pr_transport_id_put(uint8_t bytes[PR_TRANSPORT_ID_BYTES], uint64_t initiator);

/* ---- reservation.c ---- */

/* A command that waits until a change has been saved; lies in its task->state or begins it. */
struct pr_wait {
	struct scsi_task *task;
	void (*again)(struct scsi_task *task); /* on the task's loop */
	struct loop_message message;
	TAILQ_ENTRY(pr_wait) next;
};

/* All of it under the unit's lock. */
struct scsi_reservations {
	struct pr_table table;
	const struct scsi_nexus *spc2_holder;
	/* is being saved, and is put in place when it has been: until then nobody else may change anything */
	const struct pr_change *pending;
	TAILQ_HEAD(pr_waits, pr_wait) waits;
};

/* Under lock. Is a change under way? Then the task will be called again. */
bool scsi_reservations_wait(struct scsi_unit *unit, struct pr_wait *wait);
/* Under lock: those who waited try again, in their order. */
void scsi_reservations_wake(struct scsi_unit *unit);
/* Under lock: puts the change in place, tells those whom it concerns, marks whose commands end; true if there is any mark. */
bool scsi_reservations_apply(struct scsi_unit *unit, const struct pr_change *change);
struct scsi_nexus *scsi_reservations_nexus(const struct scsi_unit *unit,
					   uint64_t initiator); /* NULL: not here */

/* ---- state.c ---- */

/*
 * As scsi_state_save(), with settled(unit, task, result) called under the unit's lock by the thread that writes, before any other
 * write begins: what depends on the file changes there.
 */
void scsi_state_save_change(struct scsi_task *task,
			    void (*settled)(struct scsi_unit *unit, struct scsi_task *task,
					    int result),
			    void (*next)(struct scsi_task *task, int result));

#endif
