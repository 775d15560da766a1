/* SPDX-License-Identifier: MIT */
/*
 * PERSISTENT RESERVE IN (SPC-4, 6.15): what is registered and reserved, as it is in force. A change that is still being saved is
 * not told yet.
 */
#include "scsi/reservation_internal.h"

#define HEADER_BYTES 8u
#define RESERVATION_BYTES 16u
#define CAPABILITIES_BYTES 8u
#define STATUS_BYTES 24u /* of a full status descriptor, before the TransportID */
#define FULL_STATUS_BYTES_MAX \
	(HEADER_BYTES + PR_REGISTRATIONS_MAX * (STATUS_BYTES + PR_TRANSPORT_ID_BYTES))

enum service_actions { READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS };

enum capabilities {
	/* byte 2 */
	SPECIFY_INITIATOR_PORTS = 0x08,
	ALL_TARGET_PORTS = 0x04,
	PERSIST = 0x01,
	/* byte 3 */
	TYPE_MASK_VALID = 0x80,
	/* TEST UNIT READY through every reservation, MODE SENSE and the like through write exclusive ones */
	ALLOW_COMMANDS = 3 << 4,
	PERSIST_ACTIVE = 0x01,
};
#define TYPE_MASK 0xea01u /* all six */

static void put_header(uint8_t *bytes, const struct pr_table *table, unsigned additional)
{
	be32_put(bytes, table->generation);
	be32_put(bytes + 4, additional);
}

static unsigned read_keys(const struct scsi_unit *unit, uint8_t *bytes)
{
	const struct pr_table *table = &unit->reservations->table;

	for (unsigned i = 0; i < table->count; i++)
		be64_put(bytes + HEADER_BYTES + 8 * i, table->registrations[i].key);
	put_header(bytes, table, 8 * table->count);
	return HEADER_BYTES + 8 * table->count;
}

/* The key of a reservation of all registrants is 0. */
static unsigned read_reservation(const struct scsi_unit *unit, uint8_t *bytes)
{
	const struct pr_table *table = &unit->reservations->table;

	if (table->type == PR_NONE) {
		put_header(bytes, table, 0);
		return HEADER_BYTES;
	}
	put_header(bytes, table, RESERVATION_BYTES);
	if (!pr_type_is_all_registrants(table->type))
		be64_put(bytes + 8, pr_table_find(table, table->holder)->key);
	bytes[21] = (uint8_t)table->type;
	return HEADER_BYTES + RESERVATION_BYTES;
}

static unsigned report_capabilities(const struct scsi_unit *unit, uint8_t *bytes)
{
	be16_put(bytes, CAPABILITIES_BYTES);
	bytes[2] = SPECIFY_INITIATOR_PORTS | ALL_TARGET_PORTS | (unit->state ? PERSIST : 0);
	bytes[3] = TYPE_MASK_VALID | ALLOW_COMMANDS |
		   (unit->reservations->table.aptpl ? PERSIST_ACTIVE : 0);
	be16_put(bytes + 4, TYPE_MASK);
	return CAPABILITIES_BYTES;
}

static uint16_t port_of(const struct scsi_unit *unit, const struct pr_registration *registration)
{
	const struct scsi_nexus *nexus = scsi_reservations_nexus(unit, registration->initiator);

	return nexus ? nexus->ports.relative_target_port : registration->port;
}

static unsigned put_full_status(const struct scsi_unit *unit,
				const struct pr_registration *registration, uint8_t *bytes)
{
	const struct pr_table *table = &unit->reservations->table;

	be64_put(bytes, registration->key);
	if (registration->all_ports)
		bytes[12] = 0x02;
	else
		be16_put(bytes + 18, port_of(unit, registration));
	if (pr_table_holds(table, registration->initiator)) {
		bytes[12] |= 0x01;
		bytes[13] = (uint8_t)table->type;
	}
	be32_put(bytes + 20, PR_TRANSPORT_ID_BYTES);
	pr_transport_id_put(bytes + STATUS_BYTES, registration->initiator);
	return STATUS_BYTES + PR_TRANSPORT_ID_BYTES;
}

static unsigned read_full_status(const struct scsi_unit *unit, uint8_t *bytes)
{
	const struct pr_table *table = &unit->reservations->table;
	unsigned used = HEADER_BYTES;

	for (unsigned i = 0; i < table->count; i++)
		used += put_full_status(unit, &table->registrations[i], bytes + used);
	put_header(bytes, table, used - HEADER_BYTES);
	return used;
}

static unsigned read_in(const struct scsi_unit *unit, unsigned service_action, uint8_t *bytes)
{
	switch (service_action) {
	case READ_KEYS:
		return read_keys(unit, bytes);
	case READ_RESERVATION:
		return read_reservation(unit, bytes);
	case REPORT_CAPABILITIES:
		return report_capabilities(unit, bytes);
	default:
		assert(service_action == READ_FULL_STATUS);
		return read_full_status(unit, bytes);
	}
}

void scsi_pr_in(struct scsi_task *task)
{
	struct scsi_unit *unit = scsi_task_unit(task);
	uint8_t bytes[FULL_STATUS_BYTES_MAX] = { 0 };
	unsigned used = 0;

	scsi_unit_lock(unit);
	if (!unit->reservations->spc2_holder)
		used = read_in(unit, task->cdb[1] & 0x1f, bytes);
	scsi_unit_unlock(unit);
	if (used == 0)
		scsi_task_end(task, SCSI_RESERVATION_CONFLICT);
	else
		scsi_task_data_in(task, bytes, used);
}
