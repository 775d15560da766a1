/* SPDX-License-Identifier: MIT */
/*
 * The error ladder of a queue: what is tried next when requests are late. Pure: knows no clock, no queue and no device; who
 * has one asks now and then, and does what it says.
 *
 * Each rung has its time; when requests are still late after that, the next one is taken. When none is late any more the
 * ladder is left, and the next trouble begins at its foot.
 */
#ifndef RINGLANE_DRIVER_LADDER_H
#define RINGLANE_DRIVER_LADDER_H

#include <stdbool.h>
#include <stdint.h>

enum ladder_rung {
	LADDER_GROUND,       /* nothing is late; to do: nothing */
	LADDER_POLL,         /* look at the ring: an interrupt was lost */
	LADDER_KICK,         /* kick again: a doorbell was lost */
	LADDER_ABORT,        /* ABORT TASK of each that is late */
	LADDER_LUN_RESET,    /* LOGICAL UNIT RESET */
	LADDER_NEXUS_RESET,  /* I_T NEXUS RESET */
	LADDER_QUEUE_RESET,  /* stop its ring alone, confirmed, and start it anew */
	LADDER_DEVICE_RESET, /* stop the rings, confirmed, and start them anew */
	LADDER_RECONNECT,    /* hang up, and look for the device again */
	LADDER_FAIL, /* nothing is left: the queue takes no more requests, and those in it are zombies */
	LADDER_RUNGS,
};

struct ladder {
	enum ladder_rung rung;
	uint64_t until_ns;            /* then the next one */
	uint64_t taken[LADDER_RUNGS]; /* how often; read by others */
};

struct ladder_config {
	uint32_t rungs;   /* bit i: rung i can be taken; FAIL always can */
	uint64_t step_ns; /* what a rung is waited for */
};

/* late: a request's deadline has passed. Returns the rung to act on now; GROUND: nothing to do. */
enum ladder_rung ladder_step(struct ladder *ladder, const struct ladder_config *config, bool late,
			     uint64_t now_ns);

#endif
