/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait for the same time each: a FIFO and one timer. A channel embeds it; the channel's loop calls it.
 * Since all wait equally long, the first in the queue is always the first that is due.
 */
#ifndef RINGLANE_BLOCK_DELAY_LINE_H
#define RINGLANE_BLOCK_DELAY_LINE_H

#include "block/block.h"

struct delay_line {
	struct loop *loop;
	uint64_t latency_ns;
	void (*due)(struct block_request *request); /* may add to the line again */
	struct loop_timer timer;
	struct block_request *first, **last;
};

void delay_line_init(struct delay_line *line, struct loop *loop, uint64_t latency_ns,
		     void (*due)(struct block_request *request));
void delay_line_fini(struct delay_line *line); /* it is empty */
void delay_line_add(struct delay_line *line, struct block_request *request);

#endif
