/* SPDX-License-Identifier: MIT */
/*
 * For tests: guest memory, a ring in it with the driver's end, and a lane on a loop that the test turns by hand.
 *
 * The lane gets duplicates of the file descriptors, so that a test sees what it signals and that it closes its own. Guest addresses
 * are not host addresses. Everything a test waits for has a deadline.
 */
#ifndef RINGLANE_DEVICE_LANE_FIXTURE_H
#define RINGLANE_DEVICE_LANE_FIXTURE_H

#include "base/clock.h"
#include "device/lane.h"

#define FIXTURE_MEMORY (8u << 20)
#define FIXTURE_GUEST 0x40000000ull
#define FIXTURE_RING_MAX 256u
#define FIXTURE_DEADLINE_S 20

struct lane_fixture {
	struct loop *loop; /* the main loop; the lane's too unless said otherwise */
	uint8_t *memory;
	size_t allocated;
	struct mem_map *map;
	struct virtq_config ring;
	struct virtq_driver driver;
	struct virtq_driver_slot slots[FIXTURE_RING_MAX];
	struct lane *lane;
	int kick_fd, call_fd, err_fd;
	/* what was told */
	unsigned answers, broken_count;
	int result;
	const char *broken_reason;
	unsigned taken;   /* completions */
	uint32_t written; /* of the last */
};

struct lane_fixture_config {
	const struct lane_ops *ops;
	void *device;
	struct loop *lane_loop; /* NULL: the fixture's own */
	uint16_t ring_size;     /* 0: 64 */
	bool event_idx;
};

void fixture_open(struct lane_fixture *fixture, const struct lane_fixture_config *config);
void fixture_close(struct lane_fixture *fixture); /* the lane is stopped */
void fixture_restart_ring(struct lane_fixture *fixture, uint16_t size);

/* A start with duplicates of our fds; done by fixture_answered(). */
struct lane_start fixture_start_args(struct lane_fixture *fixture);
int fixture_start(struct lane_fixture *fixture, uint64_t features); /* waits for the answer */
int fixture_stop(struct lane_fixture *fixture);
lane_done_fn fixture_answered;
int fixture_wait_answer(struct lane_fixture *fixture);
void fixture_turns(struct lane_fixture *fixture, unsigned count);
void fixture_turn(struct lane_fixture *fixture,
		  uint64_t deadline_ns); /* fails the test when it is past */

#define fixture_wait(fixture, condition)                                            \
	do {                                                                        \
		uint64_t deadline_ns_ = clock_ns() + FIXTURE_DEADLINE_S * NS_PER_S; \
		while (!(condition))                                                \
			fixture_turn(fixture, deadline_ns_);                        \
	} while (0)

/* Zeroed guest memory, given back by fixture_close or fixture_free_all. */
void *fixture_alloc(struct lane_fixture *fixture, size_t size);
void fixture_free_all(struct lane_fixture *fixture);
uint64_t fixture_guest(const struct lane_fixture *fixture, const void *host);

/* Adds a chain, publishes, kicks if the device wants it (or always). Returns the head. */
uint16_t fixture_add(struct lane_fixture *fixture, const struct virtq_sg *sg, unsigned out,
		     unsigned in);
void fixture_kick(struct lane_fixture *fixture); /* if it wants to be kicked */
void fixture_kick_always(struct lane_fixture *fixture);
/* One readable and one writable byte. */
uint16_t fixture_add_small(struct lane_fixture *fixture);
/* Takes what is finished now; counts in taken. */
unsigned fixture_take(struct lane_fixture *fixture);
void fixture_wait_taken(struct lane_fixture *fixture, unsigned taken);

/* Counter of an event fd, taken to 0. */
uint64_t fixture_signals(int fd);
unsigned fixture_fd_count(void);

#endif
