/* SPDX-License-Identifier: MIT */
/*
 * PERSISTENT RESERVE OUT (SPC-4, 6.16).
 *
 * Theory of operation. The parameter list is copied and taken apart. Then, under the unit's lock, pr_rules.c says what the unit's
 * table becomes. If nothing of it outlives the process, that is put in place at once. Otherwise it is pending: the file is written by
 * a thread of its own, which puts it in place when, and only when, the file has been written; commands that want to change
 * reservations meanwhile wait and are looked at anew. PREEMPT AND ABORT then lets the commands of the preempted end before it is
 * answered.
 */
#include "scsi/reservation_internal.h"

#include <errno.h>
#include <stdlib.h>

#define FLAGS_BYTE 20u
#define MOVE_FLAGS_BYTE 17u
#define MOVE_PORT_BYTE 18u
#define OTHERS_BYTE 24u /* SPEC_I_PT: length of the list; REGISTER AND MOVE: the TransportID */
#define TRANSPORT_ID_SAS 0x06

/* task->state */
struct pr_out {
	struct pr_wait wait;
	struct pr_command command;
	struct pr_change change;
	bool marked;
};

/* ---- parameters ---- */

void pr_transport_id_put(uint8_t bytes[PR_TRANSPORT_ID_BYTES], uint64_t initiator)
{
	bytes[0] = TRANSPORT_ID_SAS;
	be64_put(bytes + 4, initiator);
}

static struct pr_verdict bad_parameter(unsigned byte, int bit)
{
	return (struct pr_verdict){ PR_BAD_PARAMETER, (uint8_t)MIN(byte, UINT8_MAX), (int8_t)bit };
}

/* at: where in the list it begins. */
static struct pr_verdict take_transport_id(const uint8_t *list, unsigned at,
					   uint64_t *ret_initiator)
{
	const uint8_t *bytes = list + at;

	if (bytes[0] != TRANSPORT_ID_SAS)
		return bad_parameter(at, -1);
	*ret_initiator = be64_get(bytes + 4);
	if (*ret_initiator == 0)
		return bad_parameter(at + 4, -1);
	return (struct pr_verdict){ .outcome = PR_GOOD };
}

static struct pr_verdict take_others(const uint8_t *list, uint64_t length,
				     struct pr_command *command)
{
	unsigned first = OTHERS_BYTE + 4;
	struct pr_verdict verdict = { .outcome = PR_GOOD };
	uint32_t bytes;

	if (length < first)
		return (struct pr_verdict){ .outcome = PR_BAD_LENGTH };
	bytes = be32_get(list + OTHERS_BYTE);
	if (bytes != length - first)
		return (struct pr_verdict){ .outcome = PR_BAD_LENGTH };
	if (bytes % PR_TRANSPORT_ID_BYTES)
		return bad_parameter(OTHERS_BYTE, -1);
	command->other_count = bytes / PR_TRANSPORT_ID_BYTES;
	if (command->other_count > PR_REGISTRATIONS_MAX)
		return (struct pr_verdict){ .outcome = PR_NO_ROOM };
	for (unsigned i = 0; i < command->other_count && verdict.outcome == PR_GOOD; i++)
		verdict = take_transport_id(list, first + i * PR_TRANSPORT_ID_BYTES,
					    &command->others[i]);
	return verdict;
}

static struct pr_verdict take_basic(const uint8_t *list, uint64_t length,
				    struct pr_command *command)
{
	uint8_t flags = list[FLAGS_BYTE];
	bool registers = command->action == PR_REGISTER ||
			 command->action == PR_REGISTER_AND_IGNORE;

	command->specify_others = flags & 0x08;
	command->all_ports = flags & 0x04 && registers;
	command->aptpl = flags & 0x01 && registers;
	if (command->specify_others && command->action != PR_REGISTER)
		return bad_parameter(FLAGS_BYTE, 3);
	if (command->specify_others)
		return take_others(list, length, command);
	if (length != PR_LIST_BYTES)
		return (struct pr_verdict){ .outcome = PR_BAD_LENGTH };
	return (struct pr_verdict){ .outcome = PR_GOOD };
}

static struct pr_verdict take_move(const uint8_t *list, uint64_t length, struct pr_command *command)
{
	uint32_t bytes = be32_get(list + FLAGS_BYTE);

	if (bytes != length - PR_LIST_BYTES)
		return (struct pr_verdict){ .outcome = PR_BAD_LENGTH };
	if (bytes != PR_TRANSPORT_ID_BYTES)
		return bad_parameter(FLAGS_BYTE, -1);
	command->unregister = list[MOVE_FLAGS_BYTE] & 0x02;
	command->aptpl = list[MOVE_FLAGS_BYTE] & 0x01;
	command->move_port = be16_get(list + MOVE_PORT_BYTE);
	command->other_count = 1;
	return take_transport_id(list, OTHERS_BYTE, &command->others[0]);
}

/* list: length bytes, at least PR_LIST_BYTES. */
static struct pr_verdict take_list(const struct scsi_unit *unit, const uint8_t *list,
				   uint64_t length, struct pr_command *command)
{
	bool moves = command->action == PR_REGISTER_AND_MOVE;
	struct pr_verdict verdict = moves ? take_move(list, length, command) :
					    take_basic(list, length, command);

	if (verdict.outcome != PR_GOOD)
		return verdict;
	if (command->aptpl && !unit->state)
		return bad_parameter(moves ? MOVE_FLAGS_BYTE : FLAGS_BYTE, 0);
	command->key = be64_get(list);
	command->action_key = be64_get(list + 8);
	return verdict;
}

/* ---- the answer ---- */

static void answer(struct scsi_task *task, struct pr_verdict verdict)
{
	switch (verdict.outcome) {
	case PR_GOOD:
		scsi_task_good(task);
		return;
	case PR_CONFLICT:
		scsi_task_end(task, SCSI_RESERVATION_CONFLICT);
		return;
	case PR_BAD_CDB:
		scsi_task_bad_cdb(task, verdict.byte, verdict.bit);
		return;
	case PR_BAD_PARAMETER:
		scsi_task_bad_parameter(task, verdict.byte, verdict.bit);
		return;
	case PR_BAD_LENGTH:
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return;
	case PR_INVALID_RELEASE:
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST,
			       SCSI_ASC_INVALID_RELEASE_OF_PERSISTENT_RESERVATION);
		return;
	case PR_NO_ROOM:
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST,
			       SCSI_ASC_INSUFFICIENT_REGISTRATION_RESOURCES);
		return;
	}
	assert(!"no such outcome");
}

static void answer_not_saved(struct scsi_task *task, int result)
{
	bool room = result != -ENOSPC && result != -EDQUOT && result != -ENOMEM;

	scsi_task_fail(task, SCSI_HARDWARE_ERROR,
		       room ? SCSI_ASC_INTERNAL_TARGET_FAILURE : SCSI_ASC_INSUFFICIENT_RESOURCES);
}

static void others_aborted(struct scsi_task *task, int result)
{
	assert(result == 0);
	scsi_task_good(task);
}

static void finish(struct scsi_task *task)
{
	struct pr_out *out = task->state;

	if (!out->marked) {
		scsi_task_good(task);
		return;
	}
	task->next = others_aborted;
	task->ops->abort_marked(task);
}

/* ---- the change ---- */

/* The writer's thread, under the unit's lock. */
static void settled(struct scsi_unit *unit, struct scsi_task *task, int result)
{
	struct pr_out *out = task->state;

	unit->reservations->pending = NULL;
	if (result == 0)
		out->marked = scsi_reservations_apply(unit, &out->change);
	scsi_reservations_wake(unit);
}

static void saved(struct scsi_task *task, int result)
{
	if (result < 0)
		answer_not_saved(task, result);
	else
		finish(task);
}

enum next_step { STEP_ANSWER, STEP_WAIT, STEP_SAVE, STEP_FINISH };

/* Under the unit's lock. */
static enum next_step decide(struct scsi_unit *unit, struct pr_out *out,
			     struct pr_verdict *ret_verdict)
{
	struct scsi_reservations *reservations = unit->reservations;
	struct pr_change *change = &out->change;

	if (reservations->spc2_holder) {
		*ret_verdict = (struct pr_verdict){ .outcome = PR_CONFLICT };
		return STEP_ANSWER;
	}
	if (scsi_reservations_wait(unit, &out->wait))
		return STEP_WAIT;
	*ret_verdict = pr_decide(&reservations->table, &out->command, change);
	if (ret_verdict->outcome != PR_GOOD || !change->changed)
		return STEP_ANSWER;
	if (reservations->table.aptpl || change->table.aptpl) {
		reservations->pending = change;
		return STEP_SAVE;
	}
	out->marked = scsi_reservations_apply(unit, change);
	return STEP_FINISH;
}

static void run(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct pr_out *out = task->state;
	struct pr_verdict verdict;
	enum next_step step;

	scsi_unit_lock(unit);
	step = decide(unit, out, &verdict);
	scsi_unit_unlock(unit);
	switch (step) {
	case STEP_ANSWER:
		answer(task, verdict);
		return;
	case STEP_WAIT:
		return;
	case STEP_SAVE:
		scsi_state_save_change(task, settled, saved);
		return;
	case STEP_FINISH:
		finish(task);
		return;
	}
}

/* A port that shows this unit; and if we know where the initiator is, that one. */
static bool has_port(struct scsi_unit *unit, uint64_t initiator, uint16_t port)
{
	const struct scsi_nexus *nexus;
	bool found = false;

	scsi_unit_lock(unit);
	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		if (nexus->ports.relative_target_port == port)
			found = true;
		if (nexus->ports.initiator == initiator) {
			found = nexus->ports.relative_target_port == port;
			break;
		}
	}
	scsi_unit_unlock(unit);
	return found;
}

static struct pr_verdict prepare(struct scsi_task *task, struct pr_out *out)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct pr_command *command = &out->command;
	struct pr_verdict verdict;

	out->wait.task = task;
	out->wait.again = run;
	command->action = (enum pr_action)(task->cdb[1] & 0x1f);
	command->initiator = task->nexus->ports.initiator;
	command->port = task->nexus->ports.relative_target_port;
	command->scope = task->cdb[2] >> 4;
	command->type = task->cdb[2] & 0x0f;
	verdict = take_list(unit, task->buffer, task->length, command);
	if (verdict.outcome == PR_GOOD && command->action == PR_REGISTER_AND_MOVE &&
	    !has_port(unit, command->others[0], command->move_port))
		return bad_parameter(MOVE_PORT_BYTE, -1);
	return verdict;
}

void scsi_pr_out(struct scsi_task *task)
{
	struct pr_out *out;
	struct pr_verdict verdict;

	if (task->length < PR_LIST_BYTES) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
		return;
	}
	if (!scsi_task_take_parameters(task, PR_LIST_BYTES_MAX))
		return;
	out = task->state = calloc(1, sizeof(*out));
	if (!out) {
		scsi_task_end(task, SCSI_BUSY);
		return;
	}
	verdict = prepare(task, out);
	if (verdict.outcome == PR_GOOD)
		run(task);
	else
		answer(task, verdict);
}
