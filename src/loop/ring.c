// SPDX-License-Identifier: MIT
/*
 * The loop's io_uring: made by whoever makes the loop, used by the loop's thread.
 *
 * The kernel completes requests in our own thread's context when we are in the kernel anyway, and
 * does not interrupt us for it: a thread that polls sees IORING_SQ_TASKRUN in shared memory and
 * then enters. Kernels before 5.19 interrupt.
 *
 * An SQE's user_data is its loop_op; 0 is for those whose result nobody wants (cancel).
 *
 * System calls: io_uring_setup, io_uring_enter, io_uring_register, mmap, munmap, close.
 */
#include "base/clock.h"
#include "loop/loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_SQ_ENTRIES 512
#define RING_CQ_ENTRIES 4096
/* No lost completions; a wait with a timeout is one call; the last one came with multishot polls. */
#define RING_FEATURES (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS)

/*
 * Best first: Linux 5.19, older. The kernel refuses flags that it does not know. DEFER_TASKRUN was
 * measured and left out: kicks and disk reads took as long with it, but a thread that polls had to
 * enter the kernel for completions that an interrupt on its own CPU delivers for nothing here.
 */
static const unsigned ring_modes[] = {
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
	0,
};

static const char *setup_advice(int code)
{
	switch (code) {
	case -ENOSYS:
		return "this kernel has no io_uring, or one from before Linux 5.13";
	case -EPERM:
	case -EACCES:
		return "io_uring is not permitted here (sysctl kernel.io_uring_disabled, "
		       "or a system call filter)";
	case -ENOMEM:
		return "not enough memory that may be locked (ulimit -l)";
	default:
		return strerrordesc_np(-code);
	}
}

static int ring_setup(struct io_uring *ring, unsigned mode)
{
	struct io_uring_params params = {
		.flags = mode | IORING_SETUP_CQSIZE,
		.cq_entries = RING_CQ_ENTRIES,
	};
	int ret = io_uring_queue_init_params(RING_SQ_ENTRIES, ring, &params);

	if (ret < 0 || (params.features & RING_FEATURES) == RING_FEATURES)
		return ret;
	io_uring_queue_exit(ring);
	return -ENOSYS;
}

int loop_ring_init(struct loop *loop, struct error *error)
{
	int ret = -EINVAL;

	for (unsigned i = 0; i < ARRAY_SIZE(ring_modes) && ret == -EINVAL; i++)
		ret = ring_setup(&loop->ring, ring_modes[i]);
	if (ret < 0)
		return error_set(error, ret, "cannot make an io_uring: %s", setup_advice(ret));
	return 0;
}

void loop_ring_fini(struct loop *loop)
{
	/* Else the kernel would write into freed memory; a poll writes nothing. */
	assert(loop->ops_in_flight == loop->fds_armed);
	loop_ring_release(loop);
	io_uring_queue_exit(&loop->ring);
}

void loop_ring_adopt(struct loop *loop)
{
	/* Saves looking up the fd in each call; kernels before 5.18 refuse, no harm. */
	loop->ring_registered = io_uring_register_ring_fd(&loop->ring) == 1;
}

/* The registration belongs to the thread, not to the ring: another thread must not undo it. */
void loop_ring_release(struct loop *loop)
{
	if (!loop->ring_registered)
		return;
	assert(loop_is_mine(loop));
	io_uring_unregister_ring_fd(&loop->ring);
	loop->ring_registered = false;
}

/*
 * The helpers that the kernel starts for this thread's slow operations stay where the thread may
 * run. Kernels from 6.2 on see to that by themselves; where this fails they only wander.
 */
void loop_ring_confine_workers(struct loop *loop, const cpu_set_t *cpus)
{
	assert(loop_is_mine(loop));
	io_uring_register_iowq_aff(&loop->ring, sizeof(*cpus), cpus);
}

/* Nothing that a peer or a disk does makes these calls fail: what is left is our own mistake. */
static void ring_check(int ret)
{
	switch (ret) {
	case -EAGAIN: /* memory is short now: the SQEs stay queued */
	case -EBUSY:  /* completions must be taken first */
	case -EINTR:
	case -ETIME:
		return;
	default:
		assert(ret >= 0); /* EBADR, a completion was lost, means no memory at all */
	}
}

void loop_ring_submit(struct loop *loop)
{
	loop_count(loop, submits);
	ring_check(io_uring_submit_and_get_events(&loop->ring));
}

void loop_ring_wait(struct loop *loop, uint64_t wait_ns)
{
	struct __kernel_timespec timeout = {
		.tv_sec = (int64_t)(wait_ns / NS_PER_S),
		.tv_nsec = (long long)(wait_ns % NS_PER_S),
	};
	struct io_uring_cqe *cqe;

	loop_count(loop, waits);
	if (wait_ns == LOOP_FOREVER)
		ring_check(io_uring_submit_and_wait(&loop->ring, 1));
	else
		ring_check(io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &timeout, NULL));
}

void loop_ring_dispatch(struct loop *loop)
{
	struct io_uring *ring = &loop->ring;
	unsigned tail = load_acquire(ring->cq.ktail); /* pairs with the kernel's release */

	while (*ring->cq.khead != tail) {
		struct io_uring_cqe cqe = ring->cq.cqes[*ring->cq.khead & *ring->cq.kring_mask];
		struct loop_op *op = (struct loop_op *)(uintptr_t)cqe.user_data;

		io_uring_cq_advance(ring, 1); /* first: done() may need room in the ring */
		if (!op)
			continue;
		if (!(cqe.flags & IORING_CQE_F_MORE))
			loop->ops_in_flight--;
		op->done(op, cqe.res, cqe.flags);
	}
}

struct io_uring_sqe *loop_sqe(struct loop *loop)
{
	struct io_uring_sqe *sqe;

	assert(loop_is_mine(loop));
	while (unlikely(!(sqe = io_uring_get_sqe(&loop->ring))))
		loop_ring_submit(loop);
	return sqe;
}

void loop_sqe_bind(struct loop *loop, struct io_uring_sqe *sqe, struct loop_op *op)
{
	io_uring_sqe_set_data(sqe, op);
	loop->ops_in_flight++;
}

void loop_op_cancel(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data(sqe, NULL);
}
