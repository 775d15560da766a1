// SPDX-License-Identifier: MIT
/*
 * Readiness of file descriptors: one multishot poll in the ring for each.
 *
 * The loop's thread calls everything here. A multishot poll reports edges: a completion for each
 * wake-up of the descriptor's wait queue. It may end by itself (the completion lacks
 * IORING_CQE_F_MORE: the completion ring was full, memory was short), then it is set up again; the
 * kernel looks at the descriptor's state then, so an edge in between is not lost, and one that was
 * seen already may be reported again.
 *
 * Removal cancels the poll and waits for its last completion: until then the kernel may still
 * report with the address of the source.
 */
#include "loop/loop_internal.h"

#include <errno.h>
#include <poll.h>

static void source_arm(struct loop_fd *source)
{
	struct io_uring_sqe *sqe = loop_sqe(source->loop);

	io_uring_prep_poll_multishot(sqe, source->fd, source->events);
	loop_sqe_bind(source->loop, sqe, &source->op);
	source->loop->fds_armed++;
	source->armed = true;
}

static void source_end_removal(struct loop_fd *source)
{
	source->removing = false;
	source->loop = NULL;
	source->removed(source); /* may free it */
}

/* A poll that failed for good is told to the owner as an error condition of the descriptor. */
static unsigned source_revents(int result)
{
	if (result >= 0)
		return (unsigned)result;
	if (result == -ECANCELED) /* the kernel's way out when the completion ring was full */
		return 0;
	return result == -EBADF ? POLLNVAL : POLLERR;
}

static void source_done(struct loop_op *op, int result, uint32_t cqe_flags)
{
	struct loop_fd *source = container_of(op, struct loop_fd, op);
	unsigned revents = source_revents(result);

	if (!(cqe_flags & IORING_CQE_F_MORE)) {
		source->armed = false;
		source->loop->fds_armed--;
	}
	if (source->removing) {
		if (!source->armed)
			source_end_removal(source);
		return;
	}
	if (!source->armed && (result >= 0 || result == -ECANCELED))
		source_arm(source);
	if (revents)
		source->ready(source, revents); /* may remove it */
}

void loop_fd_add(struct loop *loop, struct loop_fd *source)
{
	assert(loop_is_mine(loop));
	assert(!source->armed && !source->removing && source->ready);
	source->loop = loop;
	source->op.done = source_done;
	source->removed = NULL;
	source_arm(source);
}

void loop_fd_remove(struct loop_fd *source, void (*removed)(struct loop_fd *source))
{
	assert(loop_is_mine(source->loop));
	assert(!source->removing && removed);
	source->removed = removed;
	source->removing = true;
	if (source->armed)
		loop_op_cancel(source->loop, &source->op);
	else
		source_end_removal(source);
}
