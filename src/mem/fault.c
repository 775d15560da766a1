/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: a table of mappings that a signal handler can read. Writers exclude each other by a lock; the handler takes
 * none: it reads a slot's start, then the rest, then the start again. The slot that it is after cannot change, because whoever
 * touched the memory holds a reference to the mapping; one that changes meanwhile does not matter.
 *
 * From the touched page on everything is replaced, in one piece: a file that was cut lacks all that follows, and the number of
 * pieces that a process may have is limited.
 *
 * System calls: sigaction, mmap, write (to the event fd).
 */
#include "mem/fault.h"

#include "base/atomic.h"
#include "base/fd.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#define FAULT_SLOTS 8192

struct fault_slot {
	uintptr_t start; /* 0: free */
	size_t size, granule;
	bool *damaged;
};

static struct fault_slot slots[FAULT_SLOTS];
static unsigned slots_used; /* those behind it were never used */
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static int fault_event_fd = -1;

static struct fault_slot *slot_find(uintptr_t start)
{
	for (unsigned i = 0; i < FAULT_SLOTS; i++)
		if (slots[i].start == start)
			return &slots[i];
	return NULL;
}

bool mem_fault_add(void *addr, size_t size, size_t granule, bool *damaged)
{
	struct fault_slot *slot;

	pthread_mutex_lock(&slots_lock);
	slot = slot_find(0);
	if (slot) {
		store_relaxed(&slot->size, size);
		store_relaxed(&slot->granule, granule);
		store_relaxed(&slot->damaged, damaged);
		/* pairs with fault.c:slot_holding */
		store_release(&slot->start, (uintptr_t)addr);
		store_release(&slots_used, MAX(slots_used, (unsigned)(slot - slots) + 1));
	}
	pthread_mutex_unlock(&slots_lock);
	return slot != NULL;
}

void mem_fault_remove(void *addr)
{
	struct fault_slot *slot;

	pthread_mutex_lock(&slots_lock);
	slot = slot_find((uintptr_t)addr);
	if (slot)
		store_release(&slot->start, 0);
	pthread_mutex_unlock(&slots_lock);
}

/* In the handler. Pairs with fault.c:mem_fault_add. */
static bool slot_holding(uintptr_t addr, struct fault_slot *ret_slot)
{
	unsigned used = load_acquire(&slots_used);

	for (unsigned i = 0; i < used; i++) {
		struct fault_slot copy = { .start = load_acquire(&slots[i].start) };

		copy.size = load_acquire(&slots[i].size);
		copy.granule = load_acquire(&slots[i].granule);
		copy.damaged = load_acquire(&slots[i].damaged);
		if (!copy.start || copy.start != load_relaxed(&slots[i].start))
			continue;
		if (addr - copy.start < copy.size) {
			*ret_slot = copy;
			return true;
		}
	}
	return false;
}

static bool slot_cover(const struct fault_slot *slot, uintptr_t addr)
{
	uintptr_t first = addr & ~(uintptr_t)(slot->granule - 1);
	void *got = mmap((void *)first, slot->start + slot->size - first, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	return got != MAP_FAILED;
}

static void fault_taken(int number, siginfo_t *info, void *context)
{
	struct sigaction otherwise = { .sa_handler = SIG_DFL };
	uintptr_t addr = (uintptr_t)info->si_addr;
	struct fault_slot slot;
	int saved = errno;

	if (info->si_code > 0 && slot_holding(addr, &slot) && slot_cover(&slot, addr)) {
		store_relaxed(slot.damaged, true);
		event_fd_signal(load_relaxed(&fault_event_fd));
	} else {
		sigaction(SIGBUS, &otherwise, NULL); /* it happens again, and ends the process */
	}
	errno = saved;
}

int mem_fault_guard(int event_fd)
{
	struct sigaction action = { .sa_sigaction = fault_taken,
				    .sa_flags = SA_SIGINFO | SA_RESTART };

	sigemptyset(&action.sa_mask);
	store_relaxed(&fault_event_fd, event_fd);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}
