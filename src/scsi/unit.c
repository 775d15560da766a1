/* SPDX-License-Identifier: MIT */
/*
 * Units and nexuses: made, reset, freed. What a unit is called is in names.c, what it tells in inquiry.c and vpd.c.
 *
 * The list of nexuses lies under the unit's lock. nexus->slow is changed bit by bit with atomics, so that attentions may be
 * established from any thread while commands take them.
 */
#include "scsi/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE_MIN 512u
#define BLOCK_SIZE_MAX 65536u

/* ---- a new unit ---- */

/* The struct is aligned to cache lines; malloc is not. */
static void *alloc_aligned(size_t size)
{
	void *memory = NULL;

	if (posix_memalign(&memory, CACHE_LINE, size))
		return NULL;
	return memset(memory, 0, size);
}

static int set_block_size(struct scsi_unit *unit, const struct scsi_unit_config *config,
			  struct error *error)
{
	uint32_t smallest = MAX(config->node->limits.request_alignment, BLOCK_SIZE_MIN);
	uint32_t size = config->logical_block_size ? config->logical_block_size : smallest;

	if ((size & (size - 1)) || size < BLOCK_SIZE_MIN || size > BLOCK_SIZE_MAX)
		return error_set(
			error, -EINVAL,
			"logical_block_size must be a power of two between 512 and 65536, not %u",
			size);
	if (size < smallest)
		return error_set(error, -EINVAL,
				 "logical_block_size %u is smaller than the %u bytes that "
				 "node '%s' reads and writes at once",
				 size, smallest, config->node->name);
	unit->block_size = size;
	unit->block_shift = (uint8_t)__builtin_ctz(size);
	return 0;
}

static int unit_set_up(struct scsi_unit *unit, const struct scsi_unit_config *config,
		       struct error *error)
{
	int result = set_block_size(unit, config, error);

	if (result == 0)
		result = scsi_unit_set_names(unit, config, error);
	if (result == 0 && scsi_reservations_new(unit) < 0)
		result = error_set(error, -ENOMEM, "no memory for a disk");
	if (result < 0)
		return result;
	scsi_mode_default(&unit->mode);
	unit->mode_saved = unit->mode;
	if (config->state_path)
		result = scsi_state_open(unit, config->state_path, error);
	if (result < 0)
		return result;
	if (unit->read_only)
		or_relaxed(&unit->slow, SCSI_UNIT_WRITE_PROTECTED);
	scsi_mode_apply(unit);
	return 0;
}

int scsi_unit_new(const struct scsi_unit_config *config, struct scsi_unit **ret_unit,
		  struct error *error)
{
	struct scsi_unit *unit = alloc_aligned(sizeof(*unit));
	int result;

	if (!unit)
		return error_set(error, -ENOMEM, "no memory for a disk");
	unit->node = block_node_ref(config->node);
	unit->loop = config->loop;
	unit->rotation_rate = config->rotation_rate;
	unit->read_only = config->read_only || config->node->read_only;
	pthread_mutex_init(&unit->lock, NULL);
	TAILQ_INIT(&unit->nexuses);
	result = unit_set_up(unit, config, error);
	if (result < 0) {
		scsi_unit_free(unit);
		return result;
	}
	*ret_unit = unit;
	return 0;
}

/* Also of one that was only half set up. */
void scsi_unit_free(struct scsi_unit *unit)
{
	if (!unit)
		return;
	assert(TAILQ_EMPTY(&unit->nexuses) && !unit->sanitize);
	scsi_state_free(unit);
	scsi_reservations_free(unit);
	pthread_mutex_destroy(&unit->lock);
	block_node_unref(unit->node);
	free(unit);
}

/* ---- the end of its jobs ---- */

static void state_ended(void *opaque)
{
	struct scsi_unit *unit = opaque;

	unit->end_done(unit->end_opaque);
}

static void sanitize_ended(void *opaque)
{
	scsi_state_end(opaque, state_ended, opaque);
}

void scsi_unit_end_jobs(struct scsi_unit *unit, void (*done)(void *opaque), void *opaque)
{
	scsi_unit_lock(unit);
	unit->ending = true;
	scsi_unit_unlock(unit);
	unit->end_done = done;
	unit->end_opaque = opaque;
	scsi_sanitize_end(unit, sanitize_ended, unit);
}

/* ---- what others ask and tell ---- */

struct block_node *scsi_unit_node(const struct scsi_unit *unit)
{
	return unit->node;
}

const char *scsi_unit_serial(const struct scsi_unit *unit)
{
	return unit->serial;
}

uint64_t scsi_unit_wwn(const struct scsi_unit *unit)
{
	return unit->wwn;
}

void scsi_unit_capacity_changed(struct scsi_unit *unit)
{
	scsi_unit_lock(unit);
	scsi_unit_attention_others(unit, NULL, SCSI_ASC_CAPACITY_CHANGED);
	scsi_unit_unlock(unit);
}

void scsi_unit_reset(struct scsi_unit *unit)
{
	struct scsi_nexus *nexus;

	scsi_unit_lock(unit);
	scsi_reservations_release_spc2(unit, NULL);
	unit->mode = unit->mode_saved;
	scsi_mode_apply(unit);
	and_relaxed(&unit->slow, ~(uint32_t)SCSI_UNIT_STOPPED);
	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		nexus->removal_prevented = false;
		scsi_copy_results_forget(nexus);
	}
	scsi_unit_attention_others(unit, NULL, SCSI_ASC_BUS_DEVICE_RESET);
	scsi_unit_unlock(unit);
}

bool scsi_unit_removal_prevented(struct scsi_unit *unit)
{
	struct scsi_nexus *nexus;
	bool prevented = false;

	scsi_unit_lock(unit);
	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	prevented |= nexus->removal_prevented;
	scsi_unit_unlock(unit);
	return prevented;
}

/* ---- nexuses ---- */

static bool has_initiator(const struct scsi_unit *unit, const struct scsi_port_ids *ports)
{
	const struct scsi_nexus *nexus;

	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		if (nexus->ports.initiator == ports->initiator)
			return true;
	}
	return false;
}

/* By target port, so that what is told of all ports has an order. */
static void nexus_insert(struct scsi_unit *unit, struct scsi_nexus *nexus)
{
	struct scsi_nexus *other;

	TAILQ_FOREACH(other, &unit->nexuses, next)
	{
		if (other->ports.relative_target_port > nexus->ports.relative_target_port) {
			TAILQ_INSERT_BEFORE(other, nexus, next);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&unit->nexuses, nexus, next);
}

int scsi_nexus_new(const struct scsi_nexus_config *config, struct scsi_nexus **ret_nexus,
		   struct error *error)
{
	struct scsi_unit *unit = config->unit;
	struct scsi_nexus *nexus = alloc_aligned(sizeof(*nexus));
	bool taken;

	if (!nexus)
		return error_set(error, -ENOMEM, "no memory for a LUN");
	nexus->unit = unit;
	nexus->ports = config->ports;
	nexus->target = config->target;
	nexus->lun = config->lun;
	nexus->slow = SCSI_UA_POWER_ON;
	scsi_unit_lock(unit);
	taken = has_initiator(unit, &config->ports);
	if (!taken) {
		nexus_insert(unit, nexus);
		scsi_reservations_refresh(unit);
	}
	scsi_unit_unlock(unit);
	if (taken) {
		free(nexus);
		return error_set(error, -EEXIST, "this adapter already shows node '%s'",
				 unit->node->name);
	}
	*ret_nexus = nexus;
	return 0;
}

void scsi_nexus_free(struct scsi_nexus *nexus)
{
	struct scsi_unit *unit;

	if (!nexus)
		return;
	unit = nexus->unit;
	scsi_unit_lock(unit);
	scsi_reservations_release_spc2(unit, nexus);
	TAILQ_REMOVE(&unit->nexuses, nexus, next);
	scsi_reservations_refresh(unit);
	scsi_unit_unlock(unit);
	scsi_copy_results_free(nexus);
	free(nexus);
}

struct scsi_unit *scsi_nexus_unit(const struct scsi_nexus *nexus)
{
	return nexus->unit;
}

void scsi_nexus_lost(struct scsi_nexus *nexus, enum scsi_asc attention)
{
	struct scsi_unit *unit = nexus->unit;

	scsi_unit_lock(unit);
	scsi_reservations_release_spc2(unit, nexus);
	nexus->removal_prevented = false;
	scsi_copy_results_forget(nexus);
	and_relaxed(&nexus->slow, ~(uint32_t)SCSI_UA_ALL);
	scsi_nexus_attention(nexus, attention);
	scsi_unit_unlock(unit);
}

bool scsi_nexus_take_abort(struct scsi_nexus *nexus)
{
	struct scsi_unit *unit = nexus->unit;
	bool marked;

	scsi_unit_lock(unit);
	marked = nexus->abort_marked;
	nexus->abort_marked = false;
	scsi_unit_unlock(unit);
	return marked;
}
