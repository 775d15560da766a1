// SPDX-License-Identifier: MIT
/* See gate.h. The changes of state: the owner's thread, while others enter and leave. */
#include "driver/gate.h"

static uint64_t word_make(enum gate_state state, uint64_t count)
{
	return ((uint64_t)state << GATE_STATE_SHIFT) | count;
}

static bool is_among(enum gate_state state, unsigned states)
{
	return states & (1u << state);
}

/*
 * From one of some states to another, the count stays. max: only while no more than that are inside. Releases what the
 * owner did before to gate_enter, acquires what those who left did: pairs with gate_leave.
 */
static bool state_change(struct gate *gate, unsigned from, enum gate_state to, uint64_t max,
			 uint64_t *ret_count)
{
	uint64_t word = load_acquire(&gate->word);
	uint64_t count;

	do {
		count = word & GATE_COUNT_MASK;
		if (!is_among(gate_state_of(word), from) || count > max)
			return false;
	} while (!cas_acq_rel(&gate->word, &word, word_make(to, count)));
	*ret_count = count;
	return true;
}

bool gate_close(struct gate *gate)
{
	uint64_t count;

	if (state_change(gate, 1u << GATE_ACTIVE, GATE_DRAINING, GATE_COUNT_MASK, &count))
		return count == 0;
	return gate_is_idle(gate);
}

bool gate_settle(struct gate *gate)
{
	const unsigned from = 1u << GATE_DRAINING | 1u << GATE_ORPHANED;
	uint64_t count;

	return state_change(gate, from, GATE_INACTIVE, 0, &count) ||
	       gate_state(gate) == GATE_INACTIVE;
}

bool gate_orphan(struct gate *gate)
{
	uint64_t count;

	return state_change(gate, 1u << GATE_DRAINING, GATE_ORPHANED, GATE_COUNT_MASK, &count);
}

void gate_open(struct gate *gate)
{
	const unsigned closed = 1u << GATE_DRAINING | 1u << GATE_INACTIVE | 1u << GATE_ORPHANED;
	uint64_t count;

	state_change(gate, closed, GATE_ACTIVE, GATE_COUNT_MASK, &count);
}

const char *gate_state_name(enum gate_state state)
{
	static const char *const names[] = {
		[GATE_ACTIVE] = "active",
		[GATE_DRAINING] = "draining",
		[GATE_INACTIVE] = "inactive",
		[GATE_ORPHANED] = "orphaned",
	};

	return names[state];
}
