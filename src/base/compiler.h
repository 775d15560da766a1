/* SPDX-License-Identifier: MIT */
/* Words of the compiler that several folders need. */
#ifndef RINGLANE_BASE_COMPILER_H
#define RINGLANE_BASE_COMPILER_H

#include <assert.h>
#include <stddef.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define CACHE_LINE 64
#define cache_aligned __attribute__((aligned(CACHE_LINE)))
/* A function that shall not cost its callers registers; slow_path: one that is rarely called, too. */
#define never_inline __attribute__((noinline))
#define slow_path __attribute__((noinline, cold))
/* For the path of each request, where a call would have to carry more than there are registers. */
#define always_inline inline __attribute__((always_inline))
#define must_check __attribute__((warn_unused_result))
#define printf_like(index, first) __attribute__((format(printf, index, first)))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/*
 * Asks for a line that will be written. Compilers make a read of __builtin_prefetch(, 1) on x86-64 unless they are told
 * that the CPU knows better; those that do not know prefetchw take it for a no-op.
 */
static inline void prefetch_for_write(const void *address)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
	__builtin_prefetch(address, 1);
#endif
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif
