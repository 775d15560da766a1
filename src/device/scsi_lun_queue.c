/* SPDX-License-Identifier: MIT */
/*
 * The commands of one LUN in one request queue.
 *
 * Theory of operation. In the common case a command is counted (begun), executed and counted again (ended): lq->holds and lq->slow are 0.
 * holds is the main thread's: somebody wants the LUN quiet (drain, exclusive command, reset), and what comes waits in a list. slow is
 * not 0 when
 *
 *   held       commands wait: those that come later queue up behind them
 *   ordered    an ORDERED command is being executed: younger ones wait for its end
 *   alone      an exclusive command is being executed; its end is told to the main thread
 *   parts      somebody waits for commands to end
 *   stepping   this file is at work further up the stack
 *
 * Task attributes (SAM-5, 8.6) hold within a request queue; between queues order is the driver's task (virtio 1.3, 5.6.6.1). SIMPLE
 * runs at once unless something waits or an ORDERED command runs. ORDERED waits until nothing older runs. HEAD OF QUEUE waits for
 * holds alone, and goes before all that wait. ACA is the target's business.
 *
 * Sleepers. A command that the target has may wait for its turn to be alone, or for PREEMPT AND ABORT to take effect. The main
 * thread knows the lun queue, never the request: a sleeper may be aborted and its slot used again while the question is out.
 *
 * Commands in flight are in no list. Who looks for them (TMFs) looks at all slots of the lane.
 *
 * What others want of a lun queue is at the end (struct scsi_work). A loop that sleeps and has nothing of the LUN need not be told: it
 * will see the holds, and the table without the LUN, before it takes a command.
 *
 * All of it on the loop that owns the queue, but for what struct scsi_work says of the main thread.
 */
#include "device/scsi_internal.h"

static uint64_t active(const struct scsi_lun_queue *lq)
{
	return lq->begun - lq->ended;
}

static void lun_queue_update(struct scsi_lun_queue *lq)
{
	lq->slow = lq->held_first || lq->ordered || lq->alone || lq->parts_first || lq->stepping;
}

/* ---- lists of requests ---- */

static void list_append(struct scsi_request **first, struct scsi_request **last,
			struct scsi_request *request)
{
	request->next = NULL;
	if (*first)
		(*last)->next = request;
	else
		*first = request;
	*last = request;
}

static void held_prepend(struct scsi_lun_queue *lq, struct scsi_request *request)
{
	request->next = lq->held_first;
	if (!lq->held_first)
		lq->held_last = request;
	lq->held_first = request;
}

/* Behind previous, or the first when that is NULL. */
static struct scsi_request *list_remove(struct scsi_request **first, struct scsi_request **last,
					struct scsi_request *previous)
{
	struct scsi_request *request = previous ? previous->next : *first;

	if (previous)
		previous->next = request->next;
	else
		*first = request->next;
	if (*last == request)
		*last = previous;
	return request;
}

static struct scsi_request *held_remove(struct scsi_lun_queue *lq, struct scsi_request *previous)
{
	store_relaxed(&lq->held_count, lq->held_count - 1);
	return list_remove(&lq->held_first, &lq->held_last, previous);
}

static void wake_from(struct scsi_errand *errand, const struct scsi_request *request)
{
	struct scsi_request *previous = NULL;

	for (struct scsi_request *at = errand->first; at != request; at = at->next)
		previous = at;
	list_remove(&errand->first, &errand->last, previous);
}

/* ---- running ---- */

struct scsi_lun_queue *scsi_lun_queue_of(struct scsi_lun *lun, const struct scsi_queue *queue)
{
	return &lun->queues[queue->index];
}

static void lun_queue_run(struct scsi_lun_queue *lq, struct scsi_request *request)
{
	request->state = SCSI_REQUEST_RUNS;
	if (request->task.attribute == SCSI_ORDERED)
		lq->ordered = request;
	scsi_lun_queue_begin(lq);
	lun_queue_update(lq);
	scsi_task_execute(&request->task);
}

static bool may_run(const struct scsi_lun_queue *lq, const struct scsi_request *request)
{
	if (load_relaxed(&lq->holds))
		return false;
	if (request->task.attribute == SCSI_HEAD_OF_QUEUE)
		return true;
	if (request->task.attribute == SCSI_ORDERED)
		return active(lq) == 0;
	return !lq->ordered;
}

static void held_run(struct scsi_lun_queue *lq)
{
	while (lq->held_first && may_run(lq, lq->held_first))
		lun_queue_run(lq, held_remove(lq, NULL));
}

/* Does what can be done now. A command that ends at once, inside of this, leaves the rest to us. */
static void lun_queue_step(struct scsi_lun_queue *lq);

void scsi_lun_queue_admit(struct scsi_lun_queue *lq, struct scsi_request *request)
{
	bool first = request->task.attribute == SCSI_HEAD_OF_QUEUE;

	if (may_run(lq, request) && (first || !lq->held_first)) {
		lun_queue_run(lq, request);
		return;
	}
	request->state = SCSI_REQUEST_HELD;
	store_relaxed(&lq->held_count, lq->held_count + 1);
	if (first)
		held_prepend(lq, request);
	else
		list_append(&lq->held_first, &lq->held_last, request);
	lun_queue_update(lq);
}

/* ---- those who wait for the end of commands ---- */

/* Commands of an older part may be waited for by a younger one too, which then waits for that part. */
static bool part_is_met(const struct scsi_lun_queue *lq, const struct scsi_part *part,
			bool older_waits)
{
	switch (part->wait) {
	case SCSI_PART_ENDS:
		return part->left == 0 && !older_waits;
	case SCSI_PART_QUIET:
		return active(lq) == lq->asleep;
	case SCSI_PART_EMPTY:
		return active(lq) == 0 && !lq->held_first;
	}
	__builtin_unreachable();
}

static void parts_answer(struct scsi_lun_queue *lq)
{
	struct scsi_part **link = &lq->parts_first, *part;
	bool older_waits = false;

	lq->parts_last = NULL;
	while ((part = *link)) {
		if (part_is_met(lq, part, older_waits)) {
			*link = part->next_waiting;
			scsi_part_done(part);
			continue;
		}
		older_waits |= part->wait == SCSI_PART_ENDS;
		lq->parts_last = part;
		link = &part->next_waiting;
	}
}

static void part_wait(struct scsi_part *part, enum scsi_part_wait wait)
{
	struct scsi_lun_queue *lq = part->lq;

	part->wait = wait;
	part->next_waiting = NULL;
	if (lq->parts_first)
		lq->parts_last->next_waiting = part;
	else
		lq->parts_first = part;
	lq->parts_last = part;
	lun_queue_step(lq);
}

static void lun_queue_step(struct scsi_lun_queue *lq)
{
	if (lq->stepping)
		return;
	lq->stepping = true;
	held_run(lq);
	parts_answer(lq);
	lq->stepping = false;
	lun_queue_update(lq);
}

/* ---- exclusive commands ---- */

/* All that sleep now run, one after another; then the main thread hears of it. Not entered again by one that ends at once. */
static void exclusive_run(struct scsi_lun_queue *lq)
{
	if (lq->granting)
		return;
	lq->granting = true;
	while (!lq->alone && lq->exclusive.first) {
		struct scsi_request *request =
			list_remove(&lq->exclusive.first, &lq->exclusive.last, NULL);

		lq->alone = request;
		lq->asleep--;
		request->state = SCSI_REQUEST_RUNS;
		lun_queue_update(lq);
		scsi_task_resume(&request->task);
	}
	lq->granting = false;
	if (lq->alone)
		return;
	lq->exclusive.asked = false;
	scsi_disk_end_exclusive(lq);
}

void scsi_lun_queue_grant(struct scsi_lun_queue *lq)
{
	exclusive_run(lq);
}

void scsi_lun_queue_exclusive(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_lun_queue *lq = request->lq;

	request->state = SCSI_REQUEST_WAITS_EXCLUSIVE;
	list_append(&lq->exclusive.first, &lq->exclusive.last, request);
	lq->asleep++;
	if (!lq->exclusive.asked) {
		lq->exclusive.asked = true;
		scsi_disk_ask_exclusive(lq);
	}
	lun_queue_step(lq);
}

static void exclusive_over(struct scsi_lun_queue *lq, const struct scsi_request *request)
{
	if (lq->alone != request)
		return;
	lq->alone = NULL;
	exclusive_run(lq);
}

void scsi_lun_queue_exclusive_end(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);

	exclusive_over(request->lq, request);
	lun_queue_update(request->lq);
}

/* ---- PREEMPT AND ABORT ---- */

static void marked_ask(struct scsi_lun_queue *lq)
{
	for (struct scsi_request *at = lq->marked.first; at; at = at->next)
		at->asked = true;
	lq->marked.asked = true;
	scsi_disk_ask_marked(lq);
}

void scsi_lun_queue_abort_marked(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	struct scsi_lun_queue *lq = request->lq;

	request->state = SCSI_REQUEST_WAITS_MARKED;
	request->asked = false;
	list_append(&lq->marked.first, &lq->marked.last, request);
	if (!lq->marked.asked)
		marked_ask(lq);
}

/* Those that came after the question are in front of a new one. */
void scsi_lun_queue_resume_marked(struct scsi_lun_queue *lq)
{
	while (lq->marked.first && lq->marked.first->asked) {
		struct scsi_request *request =
			list_remove(&lq->marked.first, &lq->marked.last, NULL);

		request->state = SCSI_REQUEST_RUNS;
		scsi_task_resume(&request->task);
	}
	lq->marked.asked = false;
	if (lq->marked.first)
		marked_ask(lq);
}

/* ---- the end of a command ---- */

void scsi_lun_queue_ended(struct scsi_lun_queue *lq, struct scsi_request *request)
{
	if (lq->ordered == request)
		lq->ordered = NULL;
	if (request->part)
		request->part->left--;
	request->part = NULL;
	request->aborted = 0;
	exclusive_over(lq, request);
	lun_queue_step(lq);
}

/* ---- aborting ---- */

static bool request_matches(const struct scsi_request *request, const struct scsi_match *match)
{
	return !match->by_tag || request->tag == match->tag;
}

static void abort_held(struct scsi_part *part, const struct scsi_match *match)
{
	struct scsi_lun_queue *lq = part->lq;
	struct scsi_request *previous = NULL, *next;

	for (struct scsi_request *at = lq->held_first; at; at = next) {
		next = at->next;
		if (!request_matches(at, match)) {
			previous = at;
			continue;
		}
		held_remove(lq, previous);
		part->count++;
		scsi_request_refuse(at, match->answer);
	}
}

static void abandon(struct scsi_lun_queue *lq, struct scsi_request *request)
{
	if (request->state == SCSI_REQUEST_WAITS_EXCLUSIVE) {
		wake_from(&lq->exclusive, request);
		lq->asleep--;
	} else {
		wake_from(&lq->marked, request);
	}
	request->state = SCSI_REQUEST_RUNS;
	scsi_task_abandon(&request->task);
}

/* It is with the target. A sleeper ends now, one with many steps soon; what the disk has is waited for. */
static void abort_active(struct scsi_part *part, struct scsi_request *request, uint8_t answer)
{
	part->count++;
	if (!request->part) {
		request->part = part;
		part->left++;
		request->aborted = answer;
	}
	if (request->state == SCSI_REQUEST_RUNS)
		scsi_task_cancel(&request->task);
	else
		abandon(part->lq, request);
}

static struct scsi_request *request_at(const struct scsi_part *part, unsigned index)
{
	struct lane_request *base = lane_slot(part->queue->lane, index);

	return container_of(base, struct scsi_request, base);
}

static unsigned request_count(const struct scsi_part *part)
{
	return part->queue->lane ? lane_slot_count(part->queue->lane) : 0;
}

static bool is_kept(const struct scsi_lun_queue *lq, const struct scsi_request *request,
		    const struct scsi_match *match)
{
	return match->keep_served && lq->served && request->state == SCSI_REQUEST_WAITS_MARKED &&
	       request->asked;
}

/* Held ones first: nothing that waits behind an aborted command begins before it is aborted itself. */
static void abort_matching(struct scsi_part *part)
{
	const struct scsi_match *match = &part->fanout->match;
	struct scsi_lun_queue *lq = part->lq;
	bool stepping = lq->stepping;

	lq->stepping = true;
	lun_queue_update(lq);
	abort_held(part, match);
	for (unsigned i = 0; i < request_count(part); i++) {
		struct scsi_request *request = request_at(part, i);

		if (request->lq == lq && request->state != SCSI_REQUEST_HELD &&
		    request_matches(request, match) && !is_kept(lq, request, match))
			abort_active(part, request, match->answer);
	}
	lq->stepping = stepping;
}

/* ---- what others want: announced by the main thread ---- */

static void announce_hold(struct scsi_part *part)
{
	store_relaxed(&part->lq->holds, part->lq->holds + 1);
}

static void announce_release(struct scsi_part *part)
{
	assert(part->lq->holds > 0);
	store_relaxed(&part->lq->holds, part->lq->holds - 1);
}

static bool nothing_runs(const struct scsi_part *part)
{
	uint64_t ended = load_acquire(&part->lq->ended); /* pairs with loop_is_asleep */

	/* read in this order: what begins meanwhile is seen, or sees what was announced */
	return load_relaxed(&part->lq->begun) == ended;
}

static bool nothing_waits(const struct scsi_part *part)
{
	return load_acquire(&part->lq->held_count) == 0; /* the same */
}

static bool nothing_is_there(const struct scsi_part *part)
{
	return nothing_runs(part) && nothing_waits(part);
}

/* Then it is no queue's recent one either. The table has lost the LUN: no lane opens it again. */
static bool nothing_is_open(const struct scsi_part *part)
{
	return !load_acquire(&part->lq->channel); /* pairs with scsi_lun_queue_close */
}

static bool always(const struct scsi_part *part)
{
	return true;
}

/* ---- what others want: on the loop ---- */

static void run_abort(struct scsi_part *part)
{
	abort_matching(part);
	part_wait(part, SCSI_PART_ENDS);
}

static void run_hold(struct scsi_part *part)
{
	part_wait(part, SCSI_PART_QUIET);
}

static void run_release(struct scsi_part *part)
{
	scsi_part_done(part);
	lun_queue_step(part->lq);
}

static void run_empty(struct scsi_part *part)
{
	part->queue->recent = NULL;
	part_wait(part, SCSI_PART_EMPTY);
}

static void run_query(struct scsi_part *part)
{
	for (unsigned i = 0; i < request_count(part); i++) {
		const struct scsi_request *request = request_at(part, i);

		if (request->lq == part->lq && request_matches(request, &part->fanout->match))
			part->count++;
	}
	scsi_part_done(part);
}

const struct scsi_work scsi_do_hold = { announce_hold, nothing_runs, run_hold };
const struct scsi_work scsi_do_release = { announce_release, nothing_waits, run_release };
const struct scsi_work scsi_do_empty = { NULL, nothing_is_open, run_empty };
const struct scsi_work scsi_do_abort = { NULL, nothing_is_there, run_abort };
const struct scsi_work scsi_do_reset = { announce_hold, nothing_is_there, run_abort };
const struct scsi_work scsi_do_query = { NULL, nothing_is_there, run_query };
const struct scsi_work scsi_do_look = { NULL, always, scsi_part_done };

/* ---- the channel ---- */

int scsi_lun_queue_open(struct scsi_lun *lun, struct scsi_queue *queue)
{
	struct scsi_lun_queue *lq = scsi_lun_queue_of(lun, queue);
	int ret;

	if (lq->channel)
		return 0;
	ret = block_channel_open(scsi_unit_node(lun->disk->unit), queue->lane_loop, &lq->channel);
	if (ret < 0)
		return ret;
	if (!lq->lun) { /* once: from then on the main thread may look at them */
		lq->lun = lun;
		lq->queue = queue;
		lq->nexus = lun->nexus;
	}
	lq->next_open = queue->open;
	queue->open = lq;
	return 0;
}

/* What the main thread finds closed it may free: nothing of it is touched after that is written. */
void scsi_lun_queue_close(struct scsi_lun_queue *lq)
{
	struct scsi_lun_queue **link;

	if (!lq->channel)
		return;
	assert(active(lq) == 0 && !lq->held_first);
	link = &lq->queue->open;
	while (*link != lq)
		link = &(*link)->next_open;
	*link = lq->next_open;
	block_channel_close(lq->channel);
	store_release(&lq->channel, NULL); /* pairs with nothing_is_open */
}

void scsi_lun_queue_use(struct scsi_lun_queue *lq)
{
	scsi_lun_queue_begin(lq);
}

void scsi_lun_queue_put(struct scsi_lun_queue *lq)
{
	scsi_lun_queue_end(lq);
	if (lq->slow)
		lun_queue_step(lq);
}
