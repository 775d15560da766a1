/* SPDX-License-Identifier: MIT */
/*
 * The reservations of a unit: the table of persistent ones, the one of SPC-2 kind, and what they mean for each nexus.
 *
 * Theory of operation. What a command looks at is nexus->slow: a bit for each class of commands that conflicts. Whenever a
 * reservation changes, the bits of all nexuses are set anew, under the unit's lock; a command that meets a bit comes here and is
 * looked at more closely, any other never does.
 *
 * Two ways of managing reservations exclude each other. As long as anybody is registered, RESERVE and RELEASE conflict, whoever
 * sends them (SPC-4, 5.13.3, CRH is 0: no exception is promised in REPORT CAPABILITIES, because a RESERVE that is answered with
 * GOOD and reserves nothing deceives who relies on it). As long as a unit is reserved the SPC-2 way, PERSISTENT RESERVE IN and OUT
 * conflict, the holder's own too (SPC-2, 5.5.1).
 *
 * A change that must outlive the process takes its time: it is written first. Meanwhile it is `pending`, the old table is in force
 * and told, and whoever wants to change something waits.
 */
#include "scsi/reservation_internal.h"

#include <errno.h>
#include <stdlib.h>

#define CONFLICTS                                                                   \
	((uint32_t)(SCSI_CONFLICT_READ | SCSI_CONFLICT_WRITE | SCSI_CONFLICT_SPC2 | \
		    SCSI_CONFLICT_PR))

enum opcodes {
	REQUEST_SENSE = 0x03,
	INQUIRY = 0x12,
	RELEASE_6 = 0x17,
	READ_CAPACITY_10 = 0x25,
	LOG_SENSE = 0x4d,
	RELEASE_10 = 0x57,
	SERVICE_ACTION_IN_16 = 0x9e, /* READ CAPACITY (16) */
	REPORT_LUNS = 0xa0,
	MAINTENANCE_IN = 0xa3, /* REPORT TARGET PORT GROUPS */
};
enum service_actions {
	READ_CAPACITY_16 = 0x10,
	REPORT_TARGET_PORT_GROUPS = 0x0a,
};

int scsi_reservations_new(struct scsi_unit *unit)
{
	unit->reservations = calloc(1, sizeof(*unit->reservations));
	if (!unit->reservations)
		return -ENOMEM;
	TAILQ_INIT(&unit->reservations->waits);
	return 0;
}

void scsi_reservations_free(struct scsi_unit *unit)
{
	if (!unit->reservations)
		return;
	assert(!unit->reservations->pending && TAILQ_EMPTY(&unit->reservations->waits));
	free(unit->reservations);
	unit->reservations = NULL;
}

/* ---- what stands in the way of whom ---- */

static uint32_t nexus_conflicts(const struct scsi_reservations *reservations,
				const struct scsi_nexus *nexus)
{
	uint32_t bits = pr_table_conflicts(&reservations->table, nexus->ports.initiator);

	if (reservations->spc2_holder && reservations->spc2_holder != nexus)
		bits |= SCSI_CONFLICT_SPC2;
	if (reservations->table.count > 0)
		bits |= SCSI_CONFLICT_PR;
	return bits;
}

/* New conflicts stand before old ones go: nobody slips through between. */
static void nexus_set_conflicts(struct scsi_nexus *nexus, uint32_t bits)
{
	or_relaxed(&nexus->slow, bits);
	and_relaxed(&nexus->slow, ~(CONFLICTS & ~bits));
}

void scsi_reservations_refresh(struct scsi_unit *unit)
{
	struct scsi_nexus *nexus;

	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	nexus_set_conflicts(nexus, nexus_conflicts(unit->reservations, nexus));
}

/* SPC-2, table 10: what runs under somebody else's RESERVE, but for what target.c lets through by what the CDB asks for. */
static bool passes_spc2(const uint8_t *cdb)
{
	unsigned service_action = cdb[1] & 0x1f;

	switch (cdb[0]) {
	case REQUEST_SENSE:
	case INQUIRY:
	case RELEASE_6:
	case RELEASE_10:
	case READ_CAPACITY_10:
	case LOG_SENSE:
	case REPORT_LUNS:
		return true;
	case SERVICE_ACTION_IN_16:
		return service_action == READ_CAPACITY_16;
	case MAINTENANCE_IN:
		return service_action == REPORT_TARGET_PORT_GROUPS;
	default:
		return false;
	}
}

/* SPC-4, table 66 */
static bool passes_persistent(const struct scsi_task *task, uint32_t slow)
{
	switch ((enum scsi_reservation_class)task->opcode->reservation) {
	case SCSI_RES_READ:
		return !(slow & SCSI_CONFLICT_READ);
	case SCSI_RES_WRITE:
		return !(slow & SCSI_CONFLICT_WRITE);
	case SCSI_RES_SPC2:
		return !(slow & SCSI_CONFLICT_PR);
	case SCSI_RES_ALWAYS:
	case SCSI_RES_PR_IN_OUT:
		return true;
	}
	return false;
}

bool scsi_reservation_allows(const struct scsi_task *task, uint32_t slow)
{
	if (slow & SCSI_CONFLICT_SPC2 && !passes_spc2(task->cdb))
		return false;
	return passes_persistent(task, slow);
}

/* ---- changes ---- */

bool scsi_reservations_wait(struct scsi_unit *unit, struct pr_wait *wait)
{
	struct scsi_reservations *reservations = unit->reservations;

	if (!reservations->pending)
		return false;
	TAILQ_INSERT_TAIL(&reservations->waits, wait, next);
	return true;
}

static void wait_ended(struct loop_message *message)
{
	struct pr_wait *wait = container_of(message, struct pr_wait, message);

	wait->again(wait->task);
}

void scsi_reservations_wake(struct scsi_unit *unit)
{
	struct pr_waits *waits = &unit->reservations->waits;
	struct pr_wait *wait;

	while ((wait = TAILQ_FIRST(waits))) {
		TAILQ_REMOVE(waits, wait, next);
		wait->message.fn = wait_ended;
		loop_post(wait->task->loop, &wait->message);
	}
}

struct scsi_nexus *scsi_reservations_nexus(const struct scsi_unit *unit, uint64_t initiator)
{
	struct scsi_nexus *nexus;

	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		if (nexus->ports.initiator == initiator)
			return nexus;
	}
	return NULL;
}

bool scsi_reservations_apply(struct scsi_unit *unit, const struct pr_change *change)
{
	bool marked = false;

	unit->reservations->table = change->table;
	for (unsigned i = 0; i < change->notice_count; i++) {
		const struct pr_notice *notice = &change->notices[i];
		struct scsi_nexus *nexus = scsi_reservations_nexus(unit, notice->initiator);

		if (!nexus)
			continue;
		if (notice->attention != SCSI_ASC_NONE)
			scsi_nexus_attention(nexus, notice->attention);
		nexus->abort_marked |= notice->abort;
		marked |= notice->abort;
	}
	scsi_reservations_refresh(unit);
	return marked;
}

/* ---- RESERVE and RELEASE: SPC-2, 7.21 and 7.16 ---- */

void scsi_reservations_release_spc2(struct scsi_unit *unit, const struct scsi_nexus *only)
{
	struct scsi_reservations *reservations = unit->reservations;

	if (!reservations->spc2_holder || (only && reservations->spc2_holder != only))
		return;
	reservations->spc2_holder = NULL;
	scsi_reservations_refresh(unit);
}

static enum scsi_status take_spc2(struct scsi_unit *unit, const struct scsi_nexus *nexus)
{
	struct scsi_reservations *reservations = unit->reservations;

	if (reservations->table.count > 0)
		return SCSI_RESERVATION_CONFLICT;
	if (reservations->spc2_holder && reservations->spc2_holder != nexus)
		return SCSI_RESERVATION_CONFLICT;
	reservations->spc2_holder = nexus;
	scsi_reservations_refresh(unit);
	return SCSI_GOOD;
}

/* Somebody is about to register: whether that succeeds decides what RESERVE does. */
static void reserve(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct pr_wait *wait = task->state;
	enum scsi_status status = SCSI_GOOD;
	bool waits;

	wait->task = task;
	wait->again = reserve;
	scsi_unit_lock(unit);
	waits = scsi_reservations_wait(unit, wait);
	if (!waits)
		status = take_spc2(unit, task->nexus);
	scsi_unit_unlock(unit);
	if (!waits)
		scsi_task_end(task, status);
}

/* Third parties and extents were refused with the CDB's bits. */
void scsi_reserve(struct scsi_task *task)
{
	task->state = calloc(1, sizeof(struct pr_wait));
	if (!task->state)
		scsi_task_end(task, SCSI_BUSY);
	else
		reserve(task);
}

/* Of what somebody else holds, or nobody: nothing happens, and that is good. */
void scsi_release(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	bool registrants;

	scsi_unit_lock(unit);
	registrants = unit->reservations->table.count > 0;
	if (!registrants)
		scsi_reservations_release_spc2(unit, task->nexus);
	scsi_unit_unlock(unit);
	scsi_task_end(task, registrants ? SCSI_RESERVATION_CONFLICT : SCSI_GOOD);
}
