/* SPDX-License-Identifier: MIT */
/*
 * The rules of persistent reservations (SPC-4, 5.13): what a service action makes of a table, whom it concerns, and what a table
 * means for everybody's commands. Pure: no lock, no nexus, no memory but the caller's.
 */
#include "scsi/reservation_internal.h"

static const struct pr_verdict good = { .outcome = PR_GOOD };
static const struct pr_verdict conflict = { .outcome = PR_CONFLICT };

#define SERVICE_ACTION_BYTE 1
#define SCOPE_BYTE 2
#define ACTION_KEY_BYTE 8
#define MOVE_TRANSPORT_ID_BYTE 24

/* ---- types ---- */

bool pr_type_is_known(unsigned type)
{
	switch (type) {
	case PR_WRITE_EXCLUSIVE:
	case PR_EXCLUSIVE_ACCESS:
	case PR_WRITE_EXCLUSIVE_REGISTRANTS:
	case PR_EXCLUSIVE_ACCESS_REGISTRANTS:
	case PR_WRITE_EXCLUSIVE_ALL:
	case PR_EXCLUSIVE_ACCESS_ALL:
		return true;
	default:
		return false;
	}
}

bool pr_type_is_all_registrants(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* Who is registered may do what the holder may. */
static bool type_admits_registrants(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_REGISTRANTS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS ||
	       pr_type_is_all_registrants(type);
}

static bool type_excludes_reads(enum pr_type type)
{
	return type == PR_EXCLUSIVE_ACCESS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS ||
	       type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- tables ---- */

const struct pr_registration *pr_table_find(const struct pr_table *table, uint64_t initiator)
{
	for (unsigned i = 0; i < table->count; i++) {
		if (table->registrations[i].initiator == initiator)
			return &table->registrations[i];
	}
	return NULL;
}

bool pr_table_holds(const struct pr_table *table, uint64_t initiator)
{
	if (pr_type_is_all_registrants(table->type))
		return pr_table_find(table, initiator);
	return table->type != PR_NONE && table->holder == initiator;
}

static bool is_twice(const struct pr_table *table, unsigned index)
{
	const struct pr_registration *registration = &table->registrations[index];

	return pr_table_find(table, registration->initiator) != registration;
}

bool pr_table_is_sound(const struct pr_table *table)
{
	if (table->count > PR_REGISTRATIONS_MAX)
		return false;
	for (unsigned i = 0; i < table->count; i++) {
		if (is_twice(table, i) || table->registrations[i].key == 0)
			return false;
	}
	if (table->type == PR_NONE)
		return table->holder == 0;
	if (!pr_type_is_known(table->type) || table->count == 0)
		return false;
	if (pr_type_is_all_registrants(table->type))
		return table->holder == 0;
	return pr_table_find(table, table->holder);
}

uint32_t pr_table_conflicts(const struct pr_table *table, uint64_t initiator)
{
	if (table->type == PR_NONE || pr_table_holds(table, initiator))
		return 0;
	if (type_admits_registrants(table->type) && pr_table_find(table, initiator))
		return 0;
	return type_excludes_reads(table->type) ? SCSI_CONFLICT_READ | SCSI_CONFLICT_WRITE :
						  SCSI_CONFLICT_WRITE;
}

/* ---- steps of a change ---- */

static void tell(struct pr_change *change, uint64_t initiator, enum scsi_asc attention, bool abort)
{
	assert(change->notice_count < PR_REGISTRATIONS_MAX);
	change->notices[change->notice_count++] = (struct pr_notice){
		.initiator = initiator,
		.attention = attention,
		.abort = abort,
	};
}

static void tell_registrants(struct pr_change *change, uint64_t except, enum scsi_asc attention)
{
	const struct pr_table *table = &change->table;

	for (unsigned i = 0; i < table->count; i++) {
		if (table->registrations[i].initiator != except)
			tell(change, table->registrations[i].initiator, attention, false);
	}
}

static void end_reservation(struct pr_table *table)
{
	table->type = PR_NONE;
	table->holder = 0;
}

static struct pr_registration *find(struct pr_table *table, uint64_t initiator)
{
	return (struct pr_registration *)pr_table_find(table, initiator);
}

static void remove_registration(struct pr_table *table, struct pr_registration *registration)
{
	struct pr_registration *end = table->registrations + table->count;

	for (struct pr_registration *next = registration + 1; next < end; next++)
		next[-1] = *next;
	table->count--;
}

static bool add_registration(struct pr_table *table, const struct pr_registration *registration)
{
	if (table->count == PR_REGISTRATIONS_MAX)
		return false;
	table->registrations[table->count++] = *registration;
	return true;
}

static bool keeps_key(const struct pr_table *table, const struct pr_command *command)
{
	const struct pr_registration *own = pr_table_find(table, command->initiator);

	return own && own->key == command->key;
}

static struct pr_verdict done(struct pr_change *change)
{
	change->changed = true;
	return good;
}

/* What PRGENERATION counts. */
static struct pr_verdict done_generation(struct pr_change *change)
{
	change->table.generation++;
	return done(change);
}

static struct pr_verdict bad_cdb(unsigned byte, int bit)
{
	return (struct pr_verdict){ PR_BAD_CDB, (uint8_t)byte, (int8_t)bit };
}

static struct pr_verdict bad_parameter(unsigned byte, int bit)
{
	return (struct pr_verdict){ PR_BAD_PARAMETER, (uint8_t)byte, (int8_t)bit };
}

/* Only the whole unit can be reserved. */
static struct pr_verdict check_scope_and_type(const struct pr_command *command)
{
	if (command->scope != 0)
		return bad_cdb(SCOPE_BYTE, 7);
	if (!pr_type_is_known(command->type))
		return bad_cdb(SCOPE_BYTE, 3);
	return good;
}

/* ---- REGISTER, REGISTER AND IGNORE EXISTING KEY: SPC-4, 5.13.7 and 5.13.11.2 ---- */

static void unregister(struct pr_change *change, uint64_t initiator)
{
	struct pr_table *table = &change->table;
	bool held_alone = table->type != PR_NONE && table->holder == initiator;

	remove_registration(table, find(table, initiator));
	if (held_alone && type_admits_registrants(table->type))
		tell_registrants(change, initiator, SCSI_ASC_RESERVATIONS_RELEASED);
	if (held_alone || table->count == 0)
		end_reservation(table);
}

/* Who is registered already keeps its key: it did not ask for another. */
static struct pr_verdict register_all(const struct pr_command *command, struct pr_change *change)
{
	struct pr_registration registration = {
		.initiator = command->initiator,
		.key = command->action_key,
		.port = command->port,
		.all_ports = command->all_ports,
	};

	if (!add_registration(&change->table, &registration))
		return (struct pr_verdict){ .outcome = PR_NO_ROOM };
	for (unsigned i = 0; i < command->other_count; i++) {
		registration.initiator = command->others[i];
		if (pr_table_find(&change->table, registration.initiator))
			continue;
		if (!add_registration(&change->table, &registration))
			return (struct pr_verdict){ .outcome = PR_NO_ROOM };
	}
	return good;
}

static struct pr_verdict decide_register(const struct pr_command *command, struct pr_change *change)
{
	struct pr_registration *own = find(&change->table, command->initiator);
	struct pr_verdict verdict = good;

	if (command->action == PR_REGISTER && command->key != (own ? own->key : 0))
		return conflict;
	if (own && command->specify_others)
		return bad_cdb(SERVICE_ACTION_BYTE, 4);
	if (!own && command->action_key == 0)
		return good; /* nothing to do, nothing done */

	if (command->action_key == 0) {
		unregister(change, command->initiator);
	} else if (own) {
		own->key = command->action_key;
		own->port = command->port;
		own->all_ports = command->all_ports;
	} else {
		verdict = register_all(command, change);
	}
	if (verdict.outcome != PR_GOOD)
		return verdict;
	change->table.aptpl = command->aptpl;
	return done_generation(change);
}

/* ---- RESERVE: 5.13.9, RELEASE: 5.13.11.3, CLEAR: 5.13.11.6 ---- */

static void establish(struct pr_table *table, const struct pr_command *command)
{
	table->type = command->type;
	table->holder = pr_type_is_all_registrants(table->type) ? 0 : command->initiator;
}

static struct pr_verdict decide_reserve(const struct pr_command *command, struct pr_change *change)
{
	struct pr_table *table = &change->table;
	struct pr_verdict verdict = check_scope_and_type(command);

	if (verdict.outcome != PR_GOOD)
		return verdict;
	if (!keeps_key(table, command))
		return conflict;
	if (table->type == PR_NONE) {
		establish(table, command);
		return done(change);
	}
	if (pr_table_holds(table, command->initiator) && table->type == command->type)
		return good;
	return conflict;
}

static struct pr_verdict decide_release(const struct pr_command *command, struct pr_change *change)
{
	struct pr_table *table = &change->table;

	if (!keeps_key(table, command))
		return conflict;
	if (!pr_table_holds(table, command->initiator))
		return good;
	if (command->scope != 0 || command->type != table->type)
		return (struct pr_verdict){ .outcome = PR_INVALID_RELEASE };
	if (type_admits_registrants(table->type))
		tell_registrants(change, command->initiator, SCSI_ASC_RESERVATIONS_RELEASED);
	end_reservation(table);
	return done(change);
}

static struct pr_verdict decide_clear(const struct pr_command *command, struct pr_change *change)
{
	struct pr_table *table = &change->table;

	if (!keeps_key(table, command))
		return conflict;
	tell_registrants(change, command->initiator, SCSI_ASC_RESERVATIONS_PREEMPTED);
	table->count = 0;
	end_reservation(table);
	return done_generation(change);
}

/* ---- PREEMPT, PREEMPT AND ABORT: 5.13.11.4 and 5.13.11.5 ---- */

/* The sender hears nothing of its own removal. */
static void preempt_registration(struct pr_change *change, const struct pr_command *command,
				 struct pr_registration *registration)
{
	uint64_t initiator = registration->initiator;

	tell(change, initiator,
	     initiator == command->initiator ? SCSI_ASC_NONE : SCSI_ASC_REGISTRATIONS_PREEMPTED,
	     command->action == PR_PREEMPT_AND_ABORT);
	remove_registration(&change->table, registration);
}

/* Key 0, with a reservation of all registrants, means everybody else. */
static struct pr_verdict preempt_reservation(const struct pr_command *command,
					     struct pr_change *change)
{
	struct pr_table *table = &change->table;
	struct pr_verdict verdict = check_scope_and_type(command);
	enum pr_type type_before = table->type;

	if (verdict.outcome != PR_GOOD)
		return verdict;
	for (unsigned i = table->count; i-- > 0;) {
		struct pr_registration *registration = &table->registrations[i];

		if (registration->initiator != command->initiator &&
		    (command->action_key == 0 || registration->key == command->action_key))
			preempt_registration(change, command, registration);
	}
	establish(table, command);
	if (table->type != type_before)
		tell_registrants(change, command->initiator, SCSI_ASC_RESERVATIONS_RELEASED);
	return done_generation(change);
}

static struct pr_verdict preempt_registrations(const struct pr_command *command,
					       struct pr_change *change)
{
	struct pr_table *table = &change->table;
	unsigned count = table->count;

	for (unsigned i = count; i-- > 0;) {
		if (table->registrations[i].key == command->action_key)
			preempt_registration(change, command, &table->registrations[i]);
	}
	if (table->count == count)
		return conflict;
	if (table->count == 0)
		end_reservation(table);
	return done_generation(change);
}

static bool names_reservation(const struct pr_table *table, uint64_t key)
{
	if (table->type == PR_NONE)
		return false;
	if (pr_type_is_all_registrants(table->type))
		return key == 0;
	return pr_table_find(table, table->holder)->key == key;
}

static struct pr_verdict decide_preempt(const struct pr_command *command, struct pr_change *change)
{
	if (!keeps_key(&change->table, command))
		return conflict;
	if (names_reservation(&change->table, command->action_key))
		return preempt_reservation(command, change);
	if (command->action_key == 0)
		return bad_parameter(ACTION_KEY_BYTE, -1);
	return preempt_registrations(command, change);
}

/* ---- REGISTER AND MOVE: 5.13.8 ---- */

static struct pr_verdict check_move(const struct pr_command *command, const struct pr_table *table)
{
	if (!keeps_key(table, command) || pr_type_is_all_registrants(table->type))
		return conflict;
	if (!pr_table_holds(table, command->initiator))
		return bad_cdb(SERVICE_ACTION_BYTE, 4);
	if (command->action_key == 0)
		return bad_parameter(ACTION_KEY_BYTE, -1);
	if (command->others[0] == command->initiator)
		return bad_parameter(MOVE_TRANSPORT_ID_BYTE, -1);
	return good;
}

static struct pr_verdict decide_move(const struct pr_command *command, struct pr_change *change)
{
	struct pr_table *table = &change->table;
	struct pr_verdict verdict = check_move(command, table);
	struct pr_registration *other;
	struct pr_registration moved = {
		.initiator = command->others[0],
		.key = command->action_key,
		.port = command->move_port,
	};

	if (verdict.outcome != PR_GOOD)
		return verdict;
	other = find(table, moved.initiator);
	if (other)
		*other = moved;
	else if (!add_registration(table, &moved))
		return (struct pr_verdict){ .outcome = PR_NO_ROOM };
	table->holder = moved.initiator;
	if (command->unregister)
		remove_registration(table, find(table, command->initiator));
	table->aptpl = command->aptpl;
	return done_generation(change);
}

struct pr_verdict pr_decide(const struct pr_table *table, const struct pr_command *command,
			    struct pr_change *ret_change)
{
	static struct pr_verdict (*const decide[])(const struct pr_command *command,
						   struct pr_change *change) = {
		[PR_REGISTER] = decide_register,
		[PR_RESERVE] = decide_reserve,
		[PR_RELEASE] = decide_release,
		[PR_CLEAR] = decide_clear,
		[PR_PREEMPT] = decide_preempt,
		[PR_PREEMPT_AND_ABORT] = decide_preempt,
		[PR_REGISTER_AND_IGNORE] = decide_register,
		[PR_REGISTER_AND_MOVE] = decide_move,
	};

	assert(command->action < ARRAY_SIZE(decide));
	ret_change->table = *table;
	ret_change->notice_count = 0;
	ret_change->changed = false;
	return decide[command->action](command, ret_change);
}
