/* SPDX-License-Identifier: MIT */
/*
 * The whole memory-ordering vocabulary of Ringlane.
 *
 * Every use names its partner: "pairs with <file>:<function>". Plain objects are accessed through
 * these functions when another thread (or the peer behind shared memory) may touch them.
 */
#ifndef RINGLANE_BASE_ATOMIC_H
#define RINGLANE_BASE_ATOMIC_H

/* No order, no tearing. */
#define load_relaxed(pointer) __atomic_load_n((pointer), __ATOMIC_RELAXED)
#define store_relaxed(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELAXED)

/* What the releasing side wrote before its store is seen after this load. */
#define load_acquire(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
#define store_release(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)

/* Store, then load of something else: the only order that x86 does not give by itself. */
static inline void fence_full(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
/* gcc's sanitizer executes fences but does not reason about them, and says so at each use */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#pragma GCC diagnostic pop
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#define add_relaxed(pointer, value) __atomic_fetch_add((pointer), (value), __ATOMIC_RELAXED)
#define add_acquire(pointer, value) __atomic_fetch_add((pointer), (value), __ATOMIC_ACQUIRE)
/* Sets, and keeps only, these bits; what was there before. */
#define or_relaxed(pointer, bits) __atomic_fetch_or((pointer), (bits), __ATOMIC_RELAXED)
#define and_relaxed(pointer, bits) __atomic_fetch_and((pointer), (bits), __ATOMIC_RELAXED)
#define add_release(pointer, value) __atomic_fetch_add((pointer), (value), __ATOMIC_RELEASE)
#define sub_release(pointer, value) __atomic_fetch_sub((pointer), (value), __ATOMIC_RELEASE)
#define sub_acq_rel(pointer, value) __atomic_fetch_sub((pointer), (value), __ATOMIC_ACQ_REL)
#define exchange_acquire(pointer, value) __atomic_exchange_n((pointer), (value), __ATOMIC_ACQUIRE)
#define exchange_acq_rel(pointer, value) __atomic_exchange_n((pointer), (value), __ATOMIC_ACQ_REL)
#define cas_release(pointer, expected, desired)                                            \
	__atomic_compare_exchange_n((pointer), (expected), (desired), 1, __ATOMIC_RELEASE, \
				    __ATOMIC_RELAXED)
#define cas_acquire(pointer, expected, desired)                                            \
	__atomic_compare_exchange_n((pointer), (expected), (desired), 1, __ATOMIC_ACQUIRE, \
				    __ATOMIC_ACQUIRE)
#define cas_acq_rel(pointer, expected, desired)                                            \
	__atomic_compare_exchange_n((pointer), (expected), (desired), 1, __ATOMIC_ACQ_REL, \
				    __ATOMIC_ACQUIRE)

#endif
