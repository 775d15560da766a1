// SPDX-License-Identifier: MIT
/*
 * Signals to a peer: one write in the ring at a time for each event fd.
 *
 * The flags and the counter of an event fd belong to everybody who has it. A peer can make it blocking again and fill the
 * counter; a plain write would then hold the thread for as long as the peer likes. The ring's write waits inside the kernel
 * instead, and is taken back when the signal ends. With an honest peer it is done while it is submitted.
 *
 * A signal that is raised while a write is out is raised again after it: the write may have happened before what it is to tell.
 *
 * The loop's thread calls everything here.
 */
#include "base/fd.h"
#include "loop/loop_internal.h"

static const uint64_t one = 1;

static void signal_write(struct loop_signal *signal)
{
	struct io_uring_sqe *sqe = loop_sqe(signal->loop);

	signal->busy = true;
	signal->again = false;
	io_uring_prep_write(sqe, signal->fd, &one, sizeof(one), 0);
	loop_sqe_bind(signal->loop, sqe, &signal->op);
}

static void signal_end(struct loop_signal *signal)
{
	if (signal->again && !signal->last && signal->fd >= 0) {
		signal->last = true;
		signal_write(signal);
		loop_op_cancel(signal->loop, &signal->op);
		return;
	}
	fd_close(&signal->fd);
	signal->ended(signal); /* may free it */
}

/* Nothing is out: what comes next? */
static void signal_go_on(struct loop_signal *signal)
{
	if (signal->has_next) {
		fd_close(&signal->fd);
		signal->fd = signal->next_fd;
		signal->has_next = false;
	}
	if (signal->ended)
		signal_end(signal);
	else if (signal->again && signal->fd >= 0)
		signal_write(signal);
}

static void signal_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct loop_signal *signal = container_of(op, struct loop_signal, op);

	signal->busy = false;
	signal_go_on(signal);
}

void loop_signal_init(struct loop *loop, struct loop_signal *signal, int fd)
{
	*signal = (struct loop_signal){ .op = { .done = signal_done }, .loop = loop, .fd = fd };
}

void loop_signal_raise(struct loop_signal *signal)
{
	assert(loop_is_mine(signal->loop) && !signal->ended);
	if (signal->busy || unlikely(signal->fd < 0))
		signal->again = true;
	else
		signal_write(signal);
}

void loop_signal_replace(struct loop_signal *signal, int fd)
{
	assert(loop_is_mine(signal->loop) && !signal->ended);
	if (signal->has_next)
		fd_close(&signal->next_fd);
	signal->has_next = true;
	signal->next_fd = fd;
	if (signal->busy)
		loop_op_cancel(signal->loop, &signal->op);
	else
		signal_go_on(signal);
}

void loop_signal_renew(struct loop_signal *signal, int fd)
{
	signal->again = true;
	loop_signal_replace(signal, fd);
}

void loop_signal_end(struct loop_signal *signal, void (*ended)(struct loop_signal *signal))
{
	assert(loop_is_mine(signal->loop) && !signal->ended);
	signal->ended = ended;
	if (signal->busy)
		loop_op_cancel(signal->loop, &signal->op);
	else
		signal_go_on(signal);
}
