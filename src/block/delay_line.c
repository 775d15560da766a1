/* SPDX-License-Identifier: MIT */
/*
 * See delay_line.h. The deadline counts from now, not from the start of the turn: a request never waits less than asked.
 * When the timer fires, everything that is due goes; what was added meanwhile is due later by construction.
 */
#include "block/delay_line.h"

#include "base/clock.h"

static void delay_line_fire(struct loop_timer *timer)
{
	struct delay_line *line = container_of(timer, struct delay_line, timer);
	uint64_t now_ns = clock_ns();

	while (line->first && line->first->deadline_ns <= now_ns) {
		struct block_request *request = line->first;

		line->first = request->next;
		if (!line->first)
			line->last = &line->first;
		line->due(request);
	}
	if (line->first)
		loop_timer_set(line->loop, timer, line->first->deadline_ns);
}

void delay_line_init(struct delay_line *line, struct loop *loop, uint64_t latency_ns,
		     void (*due)(struct block_request *request))
{
	*line = (struct delay_line){
		.loop = loop,
		.latency_ns = latency_ns,
		.due = due,
		.timer = { .fire = delay_line_fire },
		.last = &line->first,
	};
}

void delay_line_fini(struct delay_line *line)
{
	assert(!line->first);
	loop_timer_clear(line->loop, &line->timer);
}

void delay_line_add(struct delay_line *line, struct block_request *request)
{
	bool was_empty = !line->first;

	request->next = NULL;
	request->deadline_ns = clock_ns() + line->latency_ns;
	*line->last = request;
	line->last = &request->next;
	if (was_empty)
		loop_timer_set(line->loop, &line->timer, request->deadline_ns);
}
