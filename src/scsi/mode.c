/* SPDX-License-Identifier: MIT */
/*
 * MODE SENSE and MODE SELECT, 6 and 10 (SPC-4, 6 and 7.5; SBC-4, 6.5). What the pages hold is in mode_page.c.
 *
 * MODE SELECT runs alone on its unit, and in this order: the whole list is checked against a copy of the values; what a switched
 * off cache or a write protection leaves behind is flushed; with SP the values go to the state file; then they take effect, all at
 * once, and the other nexuses are told. Whatever fails on the way leaves everything as it was.
 */
#include "scsi/mode_page.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_DESCRIPTOR_BYTES 8
#define LONG_BLOCK_DESCRIPTOR_BYTES 16
#define PARAMETERS_MAX 4096 /* bytes; far more than all pages together */
#define SENSE_MAX 256       /* the same, with header and block descriptor */

#define DEVICE_WP 0x80
#define DEVICE_DPOFUA 0x10
#define PAGE_PS 0x80
#define PAGE_SPF 0x40

enum page_control { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

/* The parameter list header of the two lengths of commands. */
struct mode_header {
	uint8_t bytes, medium_type, device, descriptor_length;
};

static const struct mode_header header_6 = { 4, 1, 2, 3 };
static const struct mode_header header_10 = { 8, 2, 3, 6 };
#define HEADER_10_LONGLBA 4 /* byte */

static const struct mode_header *header_of(const struct scsi_task *task)
{
	return task->opcode->cdb_bytes == 6 ? &header_6 : &header_10;
}

/* ---- what takes effect ---- */

void scsi_mode_apply(struct scsi_unit *unit)
{
	store_relaxed(&unit->write_through, !unit->mode.wce);
	store_relaxed(&unit->d_sense, unit->mode.d_sense);
	if (unit->mode.swp)
		or_relaxed(&unit->slow, SCSI_UNIT_SWP);
	else
		and_relaxed(&unit->slow, ~(uint32_t)SCSI_UNIT_SWP);
}

/* ---- MODE SENSE ---- */

struct mode_sense {
	const struct mode_header *header;
	enum page_control control;
	uint8_t page, subpage;
	bool saveable, long_lba, has_descriptor;
	struct scsi_mode_values values;
	uint8_t bytes[SENSE_MAX];
	unsigned size;
};

static void mode_sense_parse(const struct scsi_task *task, struct mode_sense *sense)
{
	sense->header = header_of(task);
	sense->has_descriptor = !(task->cdb[1] & 0x08);                       /* DBD */
	sense->long_lba = sense->header == &header_10 && task->cdb[1] & 0x10; /* LLBAA */
	sense->control = task->cdb[2] >> 6;
	sense->page = task->cdb[2] & 0x3f;
	sense->subpage = task->cdb[3];
	sense->saveable = scsi_task_unit(task)->state;
}

static void mode_sense_take_values(struct scsi_unit *unit, struct mode_sense *sense)
{
	if (sense->control == PC_DEFAULT) {
		scsi_mode_default(&sense->values);
		return;
	}
	scsi_unit_lock(unit);
	sense->values = sense->control == PC_SAVED ? unit->mode_saved : unit->mode;
	scsi_unit_unlock(unit);
}

static void put_descriptor(const struct scsi_unit *unit, struct mode_sense *sense)
{
	uint8_t *bytes = sense->bytes + sense->size;
	uint64_t blocks = scsi_unit_blocks(unit);

	if (sense->long_lba) {
		be64_put(bytes, blocks);
		be32_put(bytes + 12, unit->block_size);
		sense->size += LONG_BLOCK_DESCRIPTOR_BYTES;
	} else {
		be32_put(bytes, (uint32_t)MIN(blocks, UINT32_MAX));
		be24_put(bytes + 5, unit->block_size);
		sense->size += BLOCK_DESCRIPTOR_BYTES;
	}
}

static void put_header(const struct scsi_unit *unit, struct mode_sense *sense)
{
	uint32_t protected = SCSI_UNIT_WRITE_PROTECTED | SCSI_UNIT_SWP;
	const struct mode_header *header = sense->header;
	unsigned descriptor_bytes;

	sense->size = header->bytes;
	sense->bytes[header->device] = DEVICE_DPOFUA;
	if (load_relaxed(&unit->slow) & protected)
		sense->bytes[header->device] |= DEVICE_WP;
	if (sense->has_descriptor)
		put_descriptor(unit, sense);
	descriptor_bytes = sense->size - header->bytes;
	if (header == &header_6) {
		sense->bytes[header->descriptor_length] = (uint8_t)descriptor_bytes;
		return;
	}
	sense->bytes[HEADER_10_LONGLBA] = sense->long_lba && sense->has_descriptor;
	be16_put(sense->bytes + header->descriptor_length, (uint16_t)descriptor_bytes);
}

static void put_page(const struct scsi_mode_page *page, struct mode_sense *sense)
{
	uint8_t *bytes = sense->bytes + sense->size;

	assert(sense->size + page->bytes <= SENSE_MAX);
	if (sense->control == PC_CHANGEABLE)
		scsi_mode_page_format_changeable(page, bytes);
	else
		scsi_mode_page_format(page, &sense->values, bytes);
	if (sense->saveable)
		bytes[0] |= PAGE_PS;
	sense->size += page->bytes;
}

/* One page, all subpages of one, all pages, everything. */
static bool is_wanted(const struct scsi_mode_page *page, const struct mode_sense *sense)
{
	if (sense->page != SCSI_MODE_ALL_PAGES && sense->page != page->page)
		return false;
	return sense->subpage == SCSI_MODE_ALL_SUBPAGES || sense->subpage == page->subpage;
}

/* Which pages there are does not depend on the page control. False: none that fits. */
static bool put_pages(struct mode_sense *sense)
{
	unsigned before = sense->size;

	for (unsigned i = 0; i < scsi_mode_page_count; i++) {
		if (is_wanted(&scsi_mode_pages[i], sense))
			put_page(&scsi_mode_pages[i], sense);
	}
	return sense->size > before;
}

static bool has_page(uint8_t page)
{
	return page == SCSI_MODE_ALL_PAGES || scsi_mode_page_find(page, 0);
}

void scsi_mode_sense(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct mode_sense sense = { 0 };

	mode_sense_parse(task, &sense);
	if (!has_page(sense.page)) {
		scsi_task_bad_cdb(task, 2, 5);
		return;
	}
	/* any page but all of them may have the subpage; all of them only none or all */
	if (sense.page == SCSI_MODE_ALL_PAGES && sense.subpage != 0 &&
	    sense.subpage != SCSI_MODE_ALL_SUBPAGES) {
		scsi_task_bad_cdb(task, 3, -1);
		return;
	}
	if (sense.control == PC_SAVED && !sense.saveable) {
		scsi_task_fail(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
		return;
	}
	mode_sense_take_values(unit, &sense);
	put_header(unit, &sense);
	if (!put_pages(&sense)) {
		scsi_task_bad_cdb(task, 3, -1);
		return;
	}
	/* the length does not count itself */
	if (sense.header == &header_6)
		sense.bytes[0] = (uint8_t)(sense.size - 1);
	else
		be16_put(sense.bytes, (uint16_t)(sense.size - 2));
	scsi_task_data_in(task, sense.bytes, sense.size);
}

/* ---- MODE SELECT: the list ---- */

/* Where the list has been read to, and what it says so far. Each step returns false when the task has ended. */
struct mode_list {
	struct scsi_task *task;
	const uint8_t *bytes;
	unsigned size, offset;
	struct scsi_mode_values values;
};

static bool list_has(struct mode_list *list, unsigned bytes)
{
	if (bytes <= list->size - list->offset)
		return true;
	scsi_task_fail(list->task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	return false;
}

static bool list_refuse(struct mode_list *list, unsigned byte, int bit)
{
	scsi_task_bad_parameter(list->task, byte, bit);
	return false;
}

/* The medium stays as it is: only what describes it as it is, or says nothing, is taken (SBC-4, 6.5). */
static bool list_take_descriptor(struct mode_list *list, bool long_lba)
{
	const struct scsi_unit *unit = scsi_task_unit(list->task);
	const uint8_t *bytes = list->bytes + list->offset;
	uint64_t all = long_lba ? UINT64_MAX : UINT32_MAX;
	uint64_t blocks = long_lba ? be64_get(bytes) : be32_get(bytes);
	uint32_t block_size = long_lba ? be32_get(bytes + 12) : be24_get(bytes + 5);

	if (blocks != 0 && blocks != all && blocks != scsi_unit_blocks(unit))
		return list_refuse(list, list->offset, -1);
	if (block_size != unit->block_size)
		return list_refuse(list, list->offset + (long_lba ? 12 : 5), -1);
	list->offset += long_lba ? LONG_BLOCK_DESCRIPTOR_BYTES : BLOCK_DESCRIPTOR_BYTES;
	return true;
}

static bool list_take_header(struct mode_list *list)
{
	const struct mode_header *header = header_of(list->task);
	const uint8_t *bytes = list->bytes;
	bool long_lba = header == &header_10 && bytes[HEADER_10_LONGLBA] & 1;
	unsigned one = long_lba ? LONG_BLOCK_DESCRIPTOR_BYTES : BLOCK_DESCRIPTOR_BYTES;
	unsigned length = header == &header_6 ? bytes[header->descriptor_length] :
						be16_get(bytes + header->descriptor_length);

	if (bytes[header->medium_type] != 0)
		return list_refuse(list, header->medium_type, -1);
	list->offset = header->bytes;
	if (length == 0)
		return true;
	if (length != one)
		return list_refuse(list, header->descriptor_length, -1);
	return list_has(list, one) && list_take_descriptor(list, long_lba);
}

static bool list_take_page(struct mode_list *list)
{
	const uint8_t *bytes = list->bytes + list->offset;
	bool has_subpage = bytes[0] & PAGE_SPF;
	const struct scsi_mode_page *page;
	struct scsi_mode_fault fault;
	unsigned length;

	if (!list_has(list, has_subpage ? 4 : 2))
		return false;
	page = scsi_mode_page_find(bytes[0] & 0x3f, has_subpage ? bytes[1] : 0);
	if (!page || has_subpage != (page->header_bytes == 4))
		return list_refuse(list, list->offset, 5);
	length = has_subpage ? be16_get(bytes + 2) + 4u : bytes[1] + 2u;
	if (length != page->bytes)
		return list_refuse(list, list->offset + (has_subpage ? 2 : 1), -1);
	if (!list_has(list, length))
		return false;
	if (!scsi_mode_page_take(page, bytes, &list->values, &fault))
		return list_refuse(list, list->offset + fault.byte, fault.bit);
	list->offset += length;
	return true;
}

static bool list_take(struct mode_list *list)
{
	if (!list_has(list, header_of(list->task)->bytes) || !list_take_header(list))
		return false;
	while (list->offset < list->size) {
		if (!list_take_page(list))
			return false;
	}
	return true;
}

/* ---- MODE SELECT: what follows from it ---- */

/* task->state */
struct mode_change {
	struct scsi_mode_values wanted, saved_before;
	bool save;
};

static bool equal_values(const struct scsi_mode_values *a, const struct scsi_mode_values *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void mode_commit(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	const struct mode_change *change = task->state;

	scsi_unit_lock(unit);
	if (!equal_values(&unit->mode, &change->wanted)) {
		unit->mode = change->wanted;
		scsi_mode_apply(unit);
		scsi_unit_attention_others(unit, task->nexus, SCSI_ASC_MODE_PARAMETERS_CHANGED);
	}
	scsi_unit_unlock(unit);
	scsi_task_good(task);
}

static void mode_saved(struct scsi_task *task, int result)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	const struct mode_change *change = task->state;

	if (result == 0) {
		mode_commit(task);
		return;
	}
	scsi_unit_lock(unit);
	unit->mode_saved = change->saved_before;
	scsi_unit_unlock(unit);
	scsi_task_fail(task, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
}

static void mode_save(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct mode_change *change = task->state;

	if (!change->save) {
		mode_commit(task);
		return;
	}
	scsi_unit_lock(unit);
	change->saved_before = unit->mode_saved;
	unit->mode_saved = change->wanted;
	scsi_unit_unlock(unit);
	scsi_state_save(task, mode_saved);
}

static void mode_flushed(struct scsi_task *task, int result)
{
	if (result < 0)
		scsi_task_fail_block(task, BLOCK_FLUSH, result);
	else
		mode_save(task);
}

/* WCE going off (SBC-4, 6.5) and SWP going on (SPC-4, 7.5) both want the medium to have what was written. */
static bool wants_flush(const struct scsi_mode_values *now, const struct scsi_mode_values *wanted)
{
	return (now->wce && !wanted->wce) || (!now->swp && wanted->swp);
}

static bool check_select_cdb(struct scsi_task *task)
{
	const struct scsi_unit *unit = scsi_task_unit(task);

	if (task->cdb[1] & 0x01 && !unit->state) { /* SP */
		scsi_task_bad_cdb(task, 1, 0);
		return false;
	}
	/* without PF the pages would be of a vendor's format */
	if (!(task->cdb[1] & 0x10) && task->length > 0) {
		scsi_task_bad_cdb(task, 1, 4);
		return false;
	}
	return true;
}

/* False: the task has ended. */
static bool mode_select_parse(struct scsi_task *task, struct mode_change *change)
{
	struct mode_list list = { .task = task, .values = change->wanted };

	if (task->length == 0)
		return true;
	if (!scsi_task_take_parameters(task, PARAMETERS_MAX))
		return false;
	list.bytes = task->buffer;
	list.size = (unsigned)task->buffer_bytes;
	if (!list_take(&list))
		return false;
	change->wanted = list.values;
	return true;
}

void scsi_mode_select(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	struct mode_change *change;
	struct scsi_mode_values now;

	if (!check_select_cdb(task))
		return;
	change = task->state = calloc(1, sizeof(*change));
	if (!change) {
		scsi_task_end(task, SCSI_BUSY);
		return;
	}
	scsi_unit_lock(unit);
	now = unit->mode;
	scsi_unit_unlock(unit);
	change->wanted = now;
	change->save = task->cdb[1] & 0x01;
	if (!mode_select_parse(task, change))
		return;
	if (wants_flush(&now, &change->wanted))
		scsi_task_io(task, &(struct scsi_io){ .op = BLOCK_FLUSH }, mode_flushed);
	else
		mode_save(task);
}
