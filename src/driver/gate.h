/* SPDX-License-Identifier: MIT */
/*
 * The gate of a queue: who wants to put a request into the queue enters, and leaves when the request is over. A closed gate
 * lets nobody in; when nobody is inside any more the queue is quiet, and its interrupt or its ring may be taken away.
 *
 * The state and the number of those inside are one 64-bit word. A submitter looks, takes its place by one addition, and
 * the value that the addition found is the second look: if the gate was closed in between it gives its place back and goes
 * elsewhere. The closer changes the state by a compare-exchange of the same word. All of them fall into one order, so
 * whoever was admitted is in the count that the closer reads afterwards. With two words the same protocol needs a full
 * fence on both sides; docs/models/quiesce.pml proves both forms and shows what goes wrong without the fence or without
 * the second look.
 *
 * gate_enter and gate_leave are for any thread. The state is changed by one thread at a time (the owner of the device).
 * Nothing here waits: the owner looks at gate_is_idle until its deadline.
 */
#ifndef RINGLANE_DRIVER_GATE_H
#define RINGLANE_DRIVER_GATE_H

#include "base/atomic.h"
#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum gate_state {
	/* Takes requests. gate_close leads to DRAINING. A zeroed gate is active. */
	GATE_ACTIVE,
	/* Takes none, those inside finish. gate_settle leads to INACTIVE when it is idle, gate_orphan to ORPHANED when the
	 * deadline has passed, gate_open back to ACTIVE. */
	GATE_DRAINING,
	/* Takes none and nobody is inside: interrupt and ring may be taken away. gate_open leads to ACTIVE. */
	GATE_INACTIVE,
	/* Takes none, those inside are late, and somebody else polls the ring for them: it must stay. gate_settle leads to
	 * INACTIVE when it is idle at last, gate_open to ACTIVE. */
	GATE_ORPHANED,
};

#define GATE_STATE_SHIFT 62 /* the count cannot reach it: more requests than there is memory */
#define GATE_COUNT_MASK ((1ull << GATE_STATE_SHIFT) - 1)

/* Two lines, because the hardware prefetches lines in pairs. */
struct gate {
	uint64_t word; /* {state:2, count:62} */
} __attribute__((aligned(2 * CACHE_LINE)));

static inline enum gate_state gate_state_of(uint64_t word)
{
	return (enum gate_state)(word >> GATE_STATE_SHIFT);
}

static inline enum gate_state gate_state(const struct gate *gate)
{
	return gate_state_of(load_acquire(&gate->word));
}

/* Would gate_enter have worked just now? */
static inline bool gate_is_active(const struct gate *gate)
{
	return gate_state_of(load_relaxed(&gate->word)) == GATE_ACTIVE;
}

/* How many are inside, among them for a moment some who found the gate closed and are about to give their place back. */
static inline uint64_t gate_count(const struct gate *gate)
{
	return load_relaxed(&gate->word) & GATE_COUNT_MASK;
}

/* Nobody is inside, and all that they did has happened before: pairs with gate_leave. */
static inline bool gate_is_idle(const struct gate *gate)
{
	return (load_acquire(&gate->word) & GATE_COUNT_MASK) == 0;
}

/* True: this was the last one inside a closed gate, whoever waits for it may look. Pairs with gate_is_idle. */
static inline bool gate_leave(struct gate *gate)
{
	uint64_t before = sub_release(&gate->word, 1);

	assert((before & GATE_COUNT_MASK) != 0);
	return unlikely(gate_state_of(before) != GATE_ACTIVE) && (before & GATE_COUNT_MASK) == 1;
}

/* A test may act between the two looks of gate_enter. */
#ifndef GATE_BETWEEN_LOOKS
#define GATE_BETWEEN_LOOKS(gate)
#endif

/* True: a place is taken, and what the opener did before is seen (pairs with gate_open). False: the gate is closed. */
static inline bool gate_enter(struct gate *gate)
{
	if (unlikely(!gate_is_active(gate)))
		return false;
	GATE_BETWEEN_LOOKS(gate);
	if (likely(gate_state_of(add_acquire(&gate->word, 1)) == GATE_ACTIVE))
		return true;
	gate_leave(gate);
	return false;
}

/* ACTIVE to DRAINING. True: the gate is closed and nobody is inside. */
bool gate_close(struct gate *gate);
/* DRAINING or ORPHANED to INACTIVE if nobody is inside. True: it is INACTIVE. */
bool gate_settle(struct gate *gate);
/* DRAINING to ORPHANED. False: it was in another state. */
bool gate_orphan(struct gate *gate);
/* Any state to ACTIVE. What the caller did before is seen by who enters. */
void gate_open(struct gate *gate);

/* For people. */
const char *gate_state_name(enum gate_state state);

#endif
