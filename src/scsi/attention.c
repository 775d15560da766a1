/* SPDX-License-Identifier: MIT */
/*
 * Unit attentions of a nexus (SAM-5, 5.14): a set, not a queue, because each condition is told once however often it arose, and
 * because the standard gives the order (SAM-5, table 41): resets first. It is the lower bits of nexus->slow, so a command that has
 * nothing to be told looks at one word that is zero.
 *
 * Any thread. Two commands of one nexus may look at the same time, on two loops: the one that clears the bit tells it.
 */
#include "scsi/internal.h"

static const struct {
	uint32_t bit;
	enum scsi_asc asc;
} attentions[] = {
	/* in the order in which they are told, that of their bits */
	{ SCSI_UA_POWER_ON, SCSI_ASC_POWER_ON_OR_RESET },
	{ SCSI_UA_BUS_RESET, SCSI_ASC_BUS_RESET },
	{ SCSI_UA_DEVICE_RESET, SCSI_ASC_BUS_DEVICE_RESET },
	{ SCSI_UA_NEXUS_LOSS, SCSI_ASC_NEXUS_LOSS },
	{ SCSI_UA_COMMANDS_CLEARED, SCSI_ASC_COMMANDS_CLEARED_BY_ANOTHER },
	{ SCSI_UA_RESERVATIONS_PREEMPTED, SCSI_ASC_RESERVATIONS_PREEMPTED },
	{ SCSI_UA_RESERVATIONS_RELEASED, SCSI_ASC_RESERVATIONS_RELEASED },
	{ SCSI_UA_REGISTRATIONS_PREEMPTED, SCSI_ASC_REGISTRATIONS_PREEMPTED },
	{ SCSI_UA_CAPACITY_CHANGED, SCSI_ASC_CAPACITY_CHANGED },
	{ SCSI_UA_MODE_CHANGED, SCSI_ASC_MODE_PARAMETERS_CHANGED },
	{ SCSI_UA_LUNS_CHANGED, SCSI_ASC_REPORTED_LUNS_CHANGED },
	{ SCSI_UA_INQUIRY_CHANGED, SCSI_ASC_INQUIRY_DATA_CHANGED },
};

static_assert(SCSI_UA_ALL == (1u << ARRAY_SIZE(attentions)) - 1, "one row for each attention");

static uint32_t bit_of(enum scsi_asc asc)
{
	for (unsigned i = 0; i < ARRAY_SIZE(attentions); i++) {
		if (attentions[i].asc == asc)
			return attentions[i].bit;
	}
	assert(!"not a unit attention");
	return 0;
}

enum scsi_asc scsi_nexus_peek_attention(const struct scsi_nexus *nexus)
{
	uint32_t pending = load_relaxed(&nexus->slow) & SCSI_UA_ALL;

	return pending ? attentions[__builtin_ctz(pending)].asc : SCSI_ASC_NONE;
}

enum scsi_asc scsi_nexus_take_attention(struct scsi_nexus *nexus)
{
	uint32_t pending;

	while ((pending = load_relaxed(&nexus->slow) & SCSI_UA_ALL)) {
		uint32_t bit = pending & -pending;

		/* who clears it tells it */
		if (and_relaxed(&nexus->slow, ~bit) & bit)
			return attentions[__builtin_ctz(bit)].asc;
	}
	return SCSI_ASC_NONE;
}

void scsi_nexus_clear_attention(struct scsi_nexus *nexus, enum scsi_asc attention)
{
	and_relaxed(&nexus->slow, ~bit_of(attention));
}

void scsi_nexus_attention(struct scsi_nexus *nexus, enum scsi_asc attention)
{
	or_relaxed(&nexus->slow, bit_of(attention));
}

void scsi_unit_attention_others(struct scsi_unit *unit, const struct scsi_nexus *except,
				enum scsi_asc attention)
{
	struct scsi_nexus *nexus;

	TAILQ_FOREACH(nexus, &unit->nexuses, next)
	{
		if (nexus != except)
			scsi_nexus_attention(nexus, attention);
	}
}
