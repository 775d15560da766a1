/* SPDX-License-Identifier: MIT */
/*
 * The yardstick: two bare threads exchange three-descriptor chains over a split ring and do nothing else.
 *
 * No checks, no translation, no free list, no protocol: what two CPUs can pass to one another through this data structure. It
 * uses nothing of Ringlane's own ring code on purpose; everything else is compared with it.
 *
 *     bare_ring DEPTH SECONDS [CPU CPU]
 *
 * prints requests per second.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/compiler.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE 256u
#define MASK (SIZE - 1u)
#define BURST 8u /* entries shown to the other side at once */

struct bare_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
struct bare_used {
	uint32_t id, len;
};

static struct bare_ring {
	struct bare_desc desc[SIZE] cache_aligned;
	uint16_t avail_flags cache_aligned, avail_idx, avail[SIZE];
	uint16_t used_flags cache_aligned, used_idx;
	struct bare_used used[SIZE];
} ring cache_aligned;

static bool stop cache_aligned;
static uint64_t device_sum cache_aligned; /* keeps the compiler from dropping the reads */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("sched_setaffinity");
}

static uint64_t device_chain(uint16_t head)
{
	uint64_t sum = 0;
	uint16_t index = head;

	for (unsigned i = 0; i < 3; i++) {
		const struct bare_desc *desc = &ring.desc[index & MASK];

		sum += load_relaxed(&desc->addr) + desc->len;
		index = desc->next;
	}
	return sum;
}

static void *device_thread(void *cpu)
{
	uint16_t next = 0, seen = 0;
	uint64_t sum = 0;

	pin((int)(intptr_t)cpu);
	while (!load_relaxed(&stop)) {
		seen = load_acquire(&ring.avail_idx); /* pairs with drive(): publish */
		while (next != seen) {
			uint16_t until = (uint16_t)(next + MIN((uint16_t)(seen - next), BURST));

			for (; next != until; next++) {
				uint16_t head = ring.avail[next & MASK];

				sum += device_chain(head);
				ring.used[next & MASK] = (struct bare_used){ head, 1 };
			}
			store_release(&ring.used_idx, next); /* pairs with drive(): reap */
		}
	}
	device_sum = sum;
	return NULL;
}

static void driver_fill(uint16_t slot, uint64_t value)
{
	uint16_t first = (uint16_t)(slot * 3u);

	ring.desc[first] = (struct bare_desc){ value, 16, 1, (uint16_t)(first + 1) };
	ring.desc[first + 1] = (struct bare_desc){ value + 4096, 4096, 3, (uint16_t)(first + 2) };
	ring.desc[first + 2] = (struct bare_desc){ value + 16, 1, 2, 0 };
}

static uint64_t drive(unsigned depth, uint64_t deadline)
{
	uint16_t avail = 0, used = 0;
	uint64_t done = 0;

	for (uint16_t slot = 0; slot < depth; slot++) {
		driver_fill(slot, slot);
		ring.avail[avail++ & MASK] = (uint16_t)(slot * 3u);
	}
	store_release(&ring.avail_idx, avail); /* publish: pairs with device_thread() */
	for (unsigned turn = 0;; turn++) {
		uint16_t seen = load_acquire(&ring.used_idx); /* reap: pairs with device_thread() */

		while (used != seen) {
			uint16_t until = (uint16_t)(used + MIN((uint16_t)(seen - used), BURST));

			for (; used != until; used++) {
				uint16_t head = (uint16_t)ring.used[used & MASK].id;

				driver_fill(head / 3u, done++);
				ring.avail[avail++ & MASK] = head;
			}
			store_release(&ring.avail_idx, avail);
		}
		if (turn % 4096 == 0 && clock_ns() > deadline)
			return done;
	}
}

int main(int argc, char **argv)
{
	unsigned depth = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 64;
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
	int device_cpu = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 1;
	uint64_t start, done;
	pthread_t thread;

	if (depth < 1 || depth * 3 > SIZE)
		return fprintf(stderr, "bare_ring: depth must be 1 to %u\n", SIZE / 3), 1;
	if (pthread_create(&thread, NULL, device_thread, (void *)(intptr_t)device_cpu))
		return 1;
	pin(argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0);
	start = clock_ns();
	done = drive(depth, start + (uint64_t)(seconds * 1e9));
	printf("%.0f\n", (double)done * 1e9 / (double)(clock_ns() - start));
	store_relaxed(&stop, true);
	pthread_join(thread, NULL);
	return device_sum == 0;
}
