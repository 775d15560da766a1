// SPDX-License-Identifier: MIT
/*
 * Messages between loops: a list that many threads push to and its loop takes as a whole.
 *
 * loop_post() runs on any thread, the rest on the loop's. The list is newest first and reversed
 * when it is taken, so each sender's messages run in the order in which it posted them.
 *
 * Sleeping is a handshake of two stores and two loads: the poster stores the list and then looks
 * whether the loop sleeps, the loop stores that it sleeps and then looks at the list. A full fence
 * between store and load on both sides makes sure that at least one of them sees the other. The
 * flag is taken down by whoever wakes the loop, so many posters cost one write to the event fd.
 * That fd is polled by the loop's ring and never read: each write is a new edge.
 *
 * loop_is_asleep() is the same handshake without a message: the asker stores and then looks whether the loop sleeps, the loop stores
 * that it is awake and then looks at everything.
 *
 * A message may be run, and be what ends the loop, before its poster has come out of loop_post(): a
 * thread that nobody joins first (a worker of a disk or of a state file) would look at a loop that is
 * gone. So posters count themselves, and the loop is not freed before the last one has come out. What
 * they do there is a few instructions and at most one write.
 *
 * System calls: eventfd2, write (by the poster, only when the loop sleeps), sched_yield (at the end).
 */
#include "base/fd.h"
#include "loop/loop_internal.h"

#include <poll.h>
#include <sched.h>
#include <string.h>

static void wake_ready(struct loop_fd *source, unsigned revents)
{
	/* The next turn begins with the messages. */
}

int loop_messages_init(struct loop *loop, struct error *error)
{
	loop->wake_fd = event_fd_new();
	if (loop->wake_fd < 0)
		return error_set(error, loop->wake_fd, "cannot make an event fd for a loop: %s",
				 strerrordesc_np(-loop->wake_fd));
	loop->wake = (struct loop_fd){ .fd = loop->wake_fd, .events = POLLIN, .ready = wake_ready };
	return 0;
}

void loop_messages_fini(struct loop *loop)
{
	assert(!loop_messages_any(loop));
	while (load_acquire(&loop->posting) > 0) /* pairs with loop_post */
		sched_yield();
	fd_close(&loop->wake_fd);
}

void loop_messages_adopt(struct loop *loop)
{
	loop_fd_add(loop, &loop->wake);
}

void loop_post(struct loop *loop, struct loop_message *message)
{
	struct loop_message *head;

	add_relaxed(&loop->posting, 1); /* before the message: it is published by the cas below */
	head = load_relaxed(&loop->messages);
	do
		message->next = head;
	while (!cas_release(&loop->messages, &head, message)); /* pairs with loop_messages_run */
	fence_full();                                          /* pairs with loop_messages_sleep */
	if (load_relaxed(&loop->sleeping) && exchange_acq_rel(&loop->sleeping, false))
		event_fd_signal(loop->wake_fd);
	sub_release(&loop->posting, 1); /* pairs with loop_messages_fini */
}

static struct loop_message *list_reverse(struct loop_message *list)
{
	struct loop_message *reversed = NULL;

	while (list) {
		struct loop_message *next = list->next;

		list->next = reversed;
		reversed = list;
		list = next;
	}
	return reversed;
}

bool loop_messages_run(struct loop *loop)
{
	struct loop_message *list;

	if (likely(!loop_messages_any(loop)))
		return false;
	list = list_reverse(exchange_acquire(&loop->messages, NULL)); /* pairs with loop_post */
	while (list) {
		struct loop_message *message = list;

		list = message->next;
		loop_count(loop, messages);
		message->fn(message); /* may post it again or free it */
	}
	return true;
}

bool loop_messages_sleep(struct loop *loop)
{
	store_release(&loop->sleeping, true); /* pairs with loop_is_asleep */
	fence_full();                         /* pairs with loop_post */
	if (!loop_messages_any(loop))
		return true;
	loop_messages_awake(loop);
	return false;
}

void loop_messages_awake(struct loop *loop)
{
	/* A poster that took it down already has signalled or will: one look too many, no harm. */
	store_relaxed(&loop->sleeping, false);
	fence_full(); /* pairs with loop_is_asleep */
}

bool loop_is_asleep(const struct loop *loop)
{
	fence_full();                         /* pairs with loop_messages_awake */
	return load_acquire(&loop->sleeping); /* pairs with loop_messages_sleep */
}
