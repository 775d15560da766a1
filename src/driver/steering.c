// SPDX-License-Identifier: MIT
/* See steering.h. Entering and leaving; the maps are in steering_map.c, the policies in steering_policy.c. */
#include "driver/steering.h"

#include <errno.h>

#define OUTSTANDING_MAX UINT32_MAX

/* ---- a place in a gate ---- */

static bool in_pass(const struct steer_choice *choice, unsigned home, unsigned queue, bool near)
{
	const uint16_t *domain = choice->map->domain_of_queue;

	return (domain[queue] == domain[home]) == near;
}

/*
 * The queues after home: first those of its cache domain, then the others, both in rotation. submit->tries active ones are
 * left out, because they were full.
 */
static slow_path int gate_enter_next(const struct steer_choice *choice, unsigned home)
{
	unsigned count = choice->steering->queue_count;
	unsigned full = choice->submit->tries;
	bool any_full = false;

	for (unsigned i = 0; i < 2 * count; i++) {
		unsigned queue = (home + i) % count;
		struct gate *gate = steering_gate(choice->steering, queue);

		if (!in_pass(choice, home, queue, i < count) || !gate_is_active(gate))
			continue;
		if (full) {
			full--;
			any_full = true;
		} else if (gate_enter(gate)) {
			return (int)queue;
		}
	}
	return any_full ? -EAGAIN : -ENXIO;
}

/* The queue, with a place in its gate. */
static int gate_enter_picked(const struct steer_choice *choice)
{
	unsigned home = choice->steering->policy->home(choice);

	if (likely(choice->submit->tries == 0 && gate_enter(steering_gate(choice->steering, home))))
		return (int)home;
	return gate_enter_next(choice, home);
}

/* ---- bounded stickiness ---- */

static bool is_reached(uint64_t now_ns, uint64_t end_ns)
{
	return (int64_t)(now_ns - end_ns) >= 0;
}

/* STAYS, and nothing is counted. */
static void flow_settle(struct steer_flow *flow)
{
	if (likely(!load_relaxed(&flow->away_requests) && !load_relaxed(&flow->hold_until_ns)))
		return;
	store_relaxed(&flow->away_requests, 0);
	store_relaxed(&flow->hold_until_ns, 0);
}

/* A request from home: those from elsewhere are not in a row any more. A hold that was announced keeps its end. */
static void flow_forget_away(struct steer_flow *flow)
{
	if (unlikely(load_relaxed(&flow->away_requests)) && !load_relaxed(&flow->hold_until_ns))
		store_relaxed(&flow->away_requests, 0);
}

/* One more request from elsewhere. True: that is enough. */
static bool flow_count_away(struct steer_flow *flow, const struct steer_limits *limits,
			    uint64_t now_ns)
{
	uint32_t count = load_relaxed(&flow->away_requests);

	if (count == 0)
		store_relaxed(&flow->away_since_ns, now_ns);
	count += count < UINT32_MAX - 1; /* a limit of UINT32_MAX is never reached */
	store_relaxed(&flow->away_requests, count);
	return count >= limits->away_requests ||
	       is_reached(now_ns, load_relaxed(&flow->away_since_ns) + limits->away_ns);
}

/* A request from elsewhere, while the flow is not idle. True: hold it. */
static slow_path bool flow_holds(struct steer_flow *flow, const struct steer_limits *limits,
				 uint64_t now_ns)
{
	uint64_t until = load_relaxed(&flow->hold_until_ns);

	if (until == 0) { /* STAYS */
		if (!flow_count_away(flow, limits, now_ns))
			return false;
		store_relaxed(&flow->hold_until_ns, MAX(now_ns + limits->hold_ns, 1));
		add_relaxed(&flow->holds, 1);
		return true;
	}
	if (!is_reached(now_ns, until)) /* HOLDS */
		return true;
	if (is_reached(now_ns, until + limits->rest_ns)) /* RESTS no longer */
		flow_settle(flow);
	return false;
}

static bool flow_wants_away(const struct steer_choice *choice, struct steer_flow *flow,
			    unsigned queue)
{
	if (unlikely(!choice->steering->policy->keeps(choice, queue)))
		return flow_holds(flow, &choice->steering->limits, choice->submit->now_ns);
	flow_forget_away(flow);
	return false;
}

/* ---- a place in a flow ---- */

/* The flow's word was not what the caller had read: look again. */
#define WORD_CHANGED (-ECANCELED)

static uint64_t word_start(uint64_t word, unsigned queue)
{
	uint64_t generation = steer_word_generation(word) + (steer_word_queue(word) != queue);

	return generation << 48 | (uint64_t)queue << 32 | 1; /* the generation wraps at 16 bits */
}

/*
 * The flow is idle in *word. The compare-exchange acquires what was done before the steer_leave that made it idle, and
 * fails if anything has happened to the flow since. Had it become idle again in the same queue, nothing is lost: it is idle.
 */
static int flow_start(const struct steer_choice *choice, struct steer_flow *flow, uint64_t *word)
{
	uint64_t before = *word;
	int queue = gate_enter_picked(choice);

	if (unlikely(queue < 0))
		return queue;
	if (unlikely(!cas_acquire(&flow->word, word, word_start(before, (unsigned)queue)))) {
		gate_leave(steering_gate(choice->steering, (unsigned)queue));
		return WORD_CHANGED;
	}
	if (steer_word_queue(before) != (unsigned)queue)
		add_relaxed(&flow->moves, 1);
	flow_settle(flow);
	return queue;
}

static bool word_is_in(uint64_t word, unsigned queue)
{
	uint32_t outstanding = steer_word_outstanding(word);

	return steer_word_queue(word) == queue && outstanding != 0 &&
	       outstanding != OUTSTANDING_MAX;
}

/*
 * The flow has requests in a queue: this one goes there or is held. The gate comes first, so that the flow never counts a
 * request which is not let in: only then does each -EBUSY mean that a steer_leave is still to come.
 */
static int flow_join(const struct steer_choice *choice, struct steer_flow *flow, uint64_t *word)
{
	unsigned queue = steer_word_queue(*word);
	struct gate *gate = steering_gate(choice->steering, queue);

	if (unlikely(steer_word_outstanding(*word) == OUTSTANDING_MAX) ||
	    flow_wants_away(choice, flow, queue) || unlikely(!gate_enter(gate)))
		return -EBUSY;
	do {
		if (likely(cas_acquire(&flow->word, word, *word + 1)))
			return (int)queue;
	} while (word_is_in(*word, queue));
	gate_leave(gate);
	return WORD_CHANGED;
}

static int ordered_enter(const struct steer_choice *choice, struct steer_flow *flow)
{
	uint64_t word = load_relaxed(&flow->word);
	int queue;

	do
		queue = steer_word_outstanding(word) ? flow_join(choice, flow, &word) :
						       flow_start(choice, flow, &word);
	while (unlikely(queue == WORD_CHANGED));
	return queue;
}

int steer_enter(struct steering *steering, struct steer_flow *flow,
		const struct steer_submit *submit)
{
	const struct steer_choice choice = {
		.steering = steering,
		.map = load_acquire(&steering->map), /* pairs with steering_set_map */
		.submit = submit,
	};

	return flow->relaxed ? gate_enter_picked(&choice) : ordered_enter(&choice, flow);
}

/* The flow last: who hears that it is idle finds that the gate has been left, too. */
bool steer_leave(struct steering *steering, struct steer_flow *flow, unsigned queue)
{
	bool relaxed = flow->relaxed;
	uint64_t before;

	gate_leave(steering_gate(steering, queue));
	if (relaxed)
		return false;
	before = sub_acq_rel(&flow->word, 1); /* pairs with flow_start */
	assert(steer_word_outstanding(before) != 0 && steer_word_queue(before) == queue);
	return steer_word_outstanding(before) == 1;
}

void steer_flow_init(struct steer_flow *flow, const struct steering *steering,
		     enum steer_order order)
{
	*flow = (struct steer_flow){
		.relaxed = order == STEER_RELAXED ||
			   (order == STEER_AS_POLICY && !steering->policy->ordered),
	};
}
