/* SPDX-License-Identifier: MIT */
/*
 * LUNs of an adapter, and the table in which its lanes find them.
 *
 * Theory of operation. The table is one object: for each target the range of its entries, which ascend. A LUN that comes makes a new
 * table, published with one store; the old one is freed when the loops of all request queues have answered a message, because a lane
 * keeps no pointer into it from one request to the next. A LUN that goes only takes its pointer out of the table, so that a removal
 * needs no memory and cannot fail. Then a message goes round: behind it no lane finds the LUN any more (nor remembers it), and each
 * answers when it has nothing of it left. What other operations are out (drain, TMF) pins it until they are back.
 *
 * scsi_table_* and scsi_lun_decode run on any loop, the rest on the main thread.
 */
#include "device/scsi_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

/* ---- the table ---- */

/* The first entry of the target that is not below lun. */
static uint32_t table_lower_bound(const struct scsi_lun_table *table, unsigned target, unsigned lun)
{
	uint32_t low = table->first[target], high = table->first[target + 1];

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (table->entries[middle].lun < lun)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct scsi_lun *scsi_table_find(const struct scsi_lun_table *table, unsigned target, unsigned lun)
{
	uint32_t index = table_lower_bound(table, target, lun);

	if (index == table->first[target + 1] || table->entries[index].lun != lun)
		return NULL;
	return load_acquire(&table->entries[index].pointer); /* pairs with lun_hide */
}

bool scsi_table_has_target(const struct scsi_lun_table *table, unsigned target)
{
	for (uint32_t i = table->first[target]; i < table->first[target + 1]; i++)
		if (load_relaxed(&table->entries[i].pointer))
			return true;
	return false;
}

unsigned scsi_table_list(const struct scsi_lun_table *table, unsigned target, uint64_t *luns,
			 unsigned max)
{
	unsigned count = 0;

	for (uint32_t i = table->first[target]; i < table->first[target + 1]; i++) {
		if (!load_relaxed(&table->entries[i].pointer))
			continue;
		if (count < max)
			luns[count] =
				htobe64((uint64_t)scsi_lun_encode(table->entries[i].lun) << 48);
		count++;
	}
	return count;
}

void scsi_table_clear_attention(const struct scsi_lun_table *table, unsigned target,
				enum scsi_asc attention)
{
	for (uint32_t i = table->first[target]; i < table->first[target + 1]; i++) {
		struct scsi_lun *lun = load_acquire(&table->entries[i].pointer); /* lun_hide */

		if (lun)
			scsi_nexus_clear_attention(lun->nexus, attention);
	}
}

struct scsi_lun *scsi_table_find_name(const struct scsi_lun_table *table, uint64_t naa)
{
	for (uint32_t i = 0; i < table->first[SCSI_TARGETS_MAX]; i++) {
		struct scsi_lun *lun = load_acquire(&table->entries[i].pointer); /* lun_hide */

		if (lun && scsi_unit_wwn(lun->disk->unit) == naa)
			return lun;
	}
	return NULL;
}

static unsigned lun_count(const struct scsi_device *device)
{
	const struct scsi_lun *lun;
	unsigned count = 0;

	TAILQ_FOREACH(lun, &device->luns, next_of_device)
	count += !lun->going;
	return count;
}

/* device->luns ascend. */
static void table_fill(struct scsi_lun_table *table, const struct scsi_device *device)
{
	struct scsi_lun *lun;
	uint32_t count = 0;

	TAILQ_FOREACH(lun, &device->luns, next_of_device)
	{
		if (lun->going)
			continue;
		table->entries[count++] = (struct scsi_lun_entry){ lun->lun, lun };
		table->first[lun->target + 1] = count;
	}
	for (unsigned target = 0; target < SCSI_TARGETS_MAX; target++)
		table->first[target + 1] = MAX(table->first[target + 1], table->first[target]);
}

void scsi_table_free(struct scsi_lun_table *table)
{
	if (!table)
		return;
	scsi_fanout_free(table->retire);
	free(table);
}

struct scsi_lun_table *scsi_table_new(struct scsi_device *device)
{
	size_t bytes = lun_count(device) * sizeof(struct scsi_lun_entry);
	struct scsi_lun_table *table = calloc(1, sizeof(*table) + bytes);

	if (!table)
		return NULL;
	table->retire = scsi_fanout_new(device->main_loop, device->num_queues);
	if (!table->retire) {
		scsi_table_free(table);
		return NULL;
	}
	table_fill(table, device);
	table->retire->opaque = table;
	scsi_fanout_add_device(table->retire, device);
	return table;
}

static void table_retired(struct scsi_fanout *fanout)
{
	scsi_table_free(fanout->opaque);
}

/* The old one goes when each loop that may look into it has answered. */
static void table_replace(struct scsi_device *device, struct scsi_lun_table *table)
{
	struct scsi_lun_table *old = device->table;

	store_release(&device->table,
		      table); /* pairs with find_lun_queue of scsi_transfer.c and scsi_request.c */
	scsi_fanout_begin(old->retire, &scsi_do_look, table_retired);
}

/* ---- addresses ---- */

/* virtio 1.3, 5.6.6.1: 1, target, single level LUN structure, zeros; the well-known LUN instead of the third. */
enum scsi_lun_kind scsi_lun_decode(const struct scsi_lun_table *table, const uint8_t bytes[8],
				   struct scsi_lun **ret_lun)
{
	unsigned method = bytes[2] >> 6, lun = (bytes[2] & 0x3fu) << 8 | bytes[3];

	if (bytes[0] != 1 || bytes[4] | bytes[5] | bytes[6] | bytes[7])
		return SCSI_LUN_BAD;
	if (bytes[2] == 0xc1 && bytes[3] == 0x01)
		return scsi_table_has_target(table, bytes[1]) ? SCSI_LUN_WELL_KNOWN : SCSI_LUN_BAD;
	if (method != 1 && bytes[2] != 0)
		return SCSI_LUN_BAD;
	*ret_lun = scsi_table_find(table, bytes[1], lun);
	if (*ret_lun)
		return SCSI_LUN_OK;
	return scsi_table_has_target(table, bytes[1]) ? SCSI_LUN_ABSENT : SCSI_LUN_BAD;
}

void scsi_lun_get_address(const struct scsi_lun *lun, uint16_t *ret_target, uint16_t *ret_lun)
{
	*ret_target = lun->target;
	*ret_lun = lun->lun;
}

/* One that goes has its address until it is gone. */
static struct scsi_lun *lun_at(const struct scsi_device *device, unsigned target, unsigned number)
{
	struct scsi_lun *lun;

	TAILQ_FOREACH(lun, &device->luns, next_of_device)
	if (lun->target == target && lun->lun == number)
		return lun;
	return NULL;
}

static int address_check(const struct scsi_device *device, int target, int lun, struct error *error)
{
	if (target < -1 || target >= (int)SCSI_TARGETS_MAX)
		return error_set(error, -EINVAL, "there is no target %d, they are 0 to %u", target,
				 SCSI_TARGETS_MAX - 1);
	if (lun < -1 || lun >= (int)SCSI_LUNS_MAX)
		return error_set(error, -EINVAL, "there is no LUN %d, they are 0 to %u", lun,
				 SCSI_LUNS_MAX - 1);
	return 0;
}

static int address_check_free(const struct scsi_device *device, unsigned target, unsigned lun,
			      struct error *error)
{
	if (lun_at(device, target, lun))
		return error_set(error, -EEXIST, "LUN %u of target %u is taken", lun, target);
	return 0;
}

static int pick_target(const struct scsi_device *device, unsigned lun, uint16_t *ret_target,
		       struct error *error)
{
	for (unsigned target = 0; target < SCSI_TARGETS_MAX; target++)
		if (!lun_at(device, target, lun)) {
			*ret_target = (uint16_t)target;
			return 0;
		}
	return error_set(error, -ENOSPC, "no target is left that has no LUN %u", lun);
}

static int pick_lun(const struct scsi_device *device, unsigned target, uint16_t *ret_lun,
		    struct error *error)
{
	for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
		if (!lun_at(device, target, lun)) {
			*ret_lun = (uint16_t)lun;
			return 0;
		}
	return error_set(error, -ENOSPC, "no LUN of target %u is left", target);
}

int scsi_device_pick_address(const struct scsi_device *device, int target, int lun,
			     uint16_t *ret_target, uint16_t *ret_lun, struct error *error)
{
	int ret = address_check(device, target, lun, error);

	if (ret < 0)
		return ret;
	if (target < 0) {
		*ret_lun = (uint16_t)MAX(lun, 0);
		return pick_target(device, *ret_lun, ret_target, error);
	}
	*ret_target = (uint16_t)target;
	if (lun < 0)
		return pick_lun(device, (unsigned)target, ret_lun, error);
	*ret_lun = (uint16_t)lun;
	return address_check_free(device, (unsigned)target, (unsigned)lun, error);
}

/* ---- adding ---- */

static void lun_insert(struct scsi_device *device, struct scsi_lun *lun)
{
	struct scsi_lun *at;

	TAILQ_FOREACH(at, &device->luns, next_of_device)
	if (at->target > lun->target || (at->target == lun->target && at->lun > lun->lun)) {
		TAILQ_INSERT_BEFORE(at, lun, next_of_device);
		return;
	}
	TAILQ_INSERT_TAIL(&device->luns, lun, next_of_device);
}

/* The initiator sees other LUNs at this target now. */
static void luns_changed(const struct scsi_lun *changed)
{
	struct scsi_lun *lun;

	TAILQ_FOREACH(lun, &changed->device->luns, next_of_device)
	if (lun != changed && lun->target == changed->target && !lun->going)
		scsi_nexus_attention(lun->nexus, SCSI_ASC_REPORTED_LUNS_CHANGED);
}

static void lun_end(struct loop_defer *defer);

static void lun_free(struct scsi_lun *lun)
{
	scsi_fanout_free(lun->farewell);
	if (lun->nexus)
		scsi_nexus_free(lun->nexus);
	free(lun->queues_memory);
	free(lun);
}

/* Zeroed pages that nobody has touched cost nothing: many LUNs on many queues do not either. */
static int lun_alloc(struct scsi_device *device, struct scsi_lun **ret_lun)
{
	struct scsi_lun *lun = calloc(1, sizeof(*lun));

	if (!lun)
		return -ENOMEM;
	lun->device = device;
	lun->end.fn = lun_end;
	lun->queues_memory = calloc(device->num_queues + 1, sizeof(struct scsi_lun_queue));
	lun->farewell = scsi_fanout_new(device->main_loop, device->num_queues);
	if (!lun->queues_memory || !lun->farewell) {
		lun_free(lun);
		return -ENOMEM;
	}
	lun->queues = (void *)(((uintptr_t)lun->queues_memory + CACHE_LINE - 1) &
			       ~(uintptr_t)(CACHE_LINE - 1));
	*ret_lun = lun;
	return 0;
}

static int lun_connect(struct scsi_lun *lun, struct scsi_disk *disk, struct error *error)
{
	struct scsi_nexus_config config = {
		.unit = disk->unit,
		.ports = lun->device->ports,
		.target = lun->target,
		.lun = lun->lun,
	};

	lun->disk = disk;
	return scsi_nexus_new(&config, &lun->nexus, error);
}

static int add_check(const struct scsi_device *device, const struct scsi_disk *disk,
		     uint16_t target, uint16_t number, struct error *error)
{
	const struct scsi_lun *lun;
	int ret = address_check(device, target, number, error);

	if (ret == 0)
		ret = address_check_free(device, target, number, error);
	if (ret < 0)
		return ret;
	TAILQ_FOREACH(lun, &device->luns, next_of_device)
	if (lun->disk == disk)
		return error_set(error, -EEXIST,
				 "the adapter shows this disk already, as LUN %u of target %u",
				 lun->lun, lun->target);
	return 0;
}

int scsi_device_add_lun(struct scsi_device *device, struct scsi_disk *disk, uint16_t target,
			uint16_t number, struct scsi_lun **ret_lun, struct error *error)
{
	struct scsi_lun_table *table;
	struct scsi_lun *lun;
	int ret;

	assert(loop_is_mine(device->main_loop));
	ret = add_check(device, disk, target, number, error);
	if (ret < 0)
		return ret;
	if (lun_alloc(device, &lun) < 0)
		return error_set(error, -ENOMEM, "not enough memory for a LUN");
	lun->target = target;
	lun->lun = number;
	ret = lun_connect(lun, disk, error);
	if (ret < 0) {
		lun_free(lun);
		return ret;
	}
	lun_insert(device, lun);
	table = scsi_table_new(device);
	if (!table) {
		TAILQ_REMOVE(&device->luns, lun, next_of_device);
		lun_free(lun);
		return error_set(error, -ENOMEM, "not enough memory for a LUN");
	}
	scsi_disk_add_lun(disk, lun);
	table_replace(device, table);
	luns_changed(lun);
	scsi_event_lun_added(lun);
	*ret_lun = lun;
	return 0;
}

/* ---- removing ---- */

void scsi_lun_pin(struct scsi_lun *lun)
{
	lun->pins++;
}

/* Not at once: whoever unpins it may still be at work. */
void scsi_lun_unpin(struct scsi_lun *lun)
{
	assert(lun->pins > 0);
	lun->pins--;
	if (lun->empty && lun->pins == 0)
		loop_defer(lun->device->main_loop, &lun->end);
}

static void lun_end(struct loop_defer *defer)
{
	struct scsi_lun *lun = container_of(defer, struct scsi_lun, end);
	void (*removed)(void *opaque) = lun->removed;
	void *opaque = lun->removed_opaque;

	if (lun->pins > 0)
		return;
	scsi_event_lun_removed(lun);
	luns_changed(lun);
	TAILQ_REMOVE(&lun->device->luns, lun, next_of_device);
	scsi_disk_remove_lun(lun->disk, lun);
	lun_free(lun);
	removed(opaque);
}

static void lun_is_empty(struct scsi_fanout *fanout)
{
	struct scsi_lun *lun = fanout->opaque;

	lun->farewell = NULL;
	lun->empty = true;
	scsi_fanout_free(fanout);
}

/* Behind this no lane takes it from the table; those that have, have counted what they took. */
static void lun_hide(struct scsi_lun *lun)
{
	struct scsi_lun_table *table = lun->device->table;
	uint32_t index = table_lower_bound(table, lun->target, lun->lun);

	assert(table->entries[index].pointer == lun);
	store_release(&table->entries[index].pointer, NULL); /* pairs with scsi_table_find */
}

void scsi_lun_remove(struct scsi_lun *lun, void (*done)(void *opaque), void *opaque)
{
	assert(loop_is_mine(lun->device->main_loop) && !lun->going);
	lun->going = true;
	lun->removed = done;
	lun->removed_opaque = opaque;
	lun_hide(lun);
	lun->farewell->opaque = lun;
	scsi_fanout_add_lun(lun->farewell, lun);
	scsi_fanout_begin(lun->farewell, &scsi_do_empty, lun_is_empty);
}

/* ---- for people ---- */

void scsi_lun_get_stats(const struct scsi_lun *lun, struct scsi_lun_stats *ret_stats)
{
	*ret_stats = (struct scsi_lun_stats){ 0 };
	for (unsigned i = 0; i < lun->device->num_queues; i++) {
		const struct scsi_lun_queue *lq = &lun->queues[i];
		uint64_t begun, ended;

		do { /* both of one moment */
			ended = load_acquire(&lq->ended);
			begun = load_acquire(&lq->begun);
		} while (load_relaxed(&lq->ended) != ended);
		ret_stats->commands += begun;
		ret_stats->in_flight += (unsigned)(begun - ended);
		ret_stats->held += load_relaxed(&lq->held_count);
	}
}
