/* SPDX-License-Identifier: MIT */
/*
 * The gate of a queue (src/driver/gate.h): when it is closed and nobody is inside, nobody posts, and the closer always
 * gets on. The closer closes, waits (or gives up and leaves the queue to an adopter for a while), takes the ring away, gives
 * it back, opens, and does so once more.
 *
 * As built, state and count are one word: the addition that takes the place answers with the state, so the second look costs
 * nothing and no store buffer can hide either from the other.
 *
 * TWO_WORDS is the protocol of the kernel's block layer: a place of each submitter's own and a state; each side stores,
 * fences, and loads what the other stores. Stores go through a buffer that drains at any time (TSO); an addition
 * without order on a weaker machine can be passed by the load just so. With both fences it holds, without either it fails.
 *
 * check: holds
 * check: fails -DPLANT_NO_RECHECK
 * check: holds -DTWO_WORDS
 * check: fails -DTWO_WORDS -DPLANT_NO_RECHECK
 * check: fails -DTWO_WORDS -DPLANT_NO_FENCE_SUBMITTER
 * check: fails -DTWO_WORDS -DPLANT_NO_FENCE_CLOSER
 */
#define SUBMITTERS 2
#define ROUNDS 2
#define CLOSER SUBMITTERS

#define ACTIVE 0
#define DRAINING 1
#define INACTIVE 2
#define ORPHANED 3

byte state, place[SUBMITTERS];
byte posting; /* who is at the ring */
bool taken;   /* the ring is away */

#ifdef TWO_WORDS
/* A store buffer for each process: each stores to one place only. */
chan buffer[SUBMITTERS + 1] = [2] of { byte };

#define STORE(who, value) buffer[who]!value
#define FENCE(who) empty(buffer[who])

active proctype memory()
{
	byte value;

end:	do
	:: atomic { buffer[0]?value -> place[0] = value }
	:: atomic { buffer[1]?value -> place[1] = value }
	:: atomic { buffer[CLOSER]?value -> state = value }
	od
}

inline take_place(me)
{
	STORE(me, 1);
#ifndef PLANT_NO_FENCE_SUBMITTER
	FENCE(me);
#endif
	seen = state
}

inline give_place(me)
{
	STORE(me, 0)
}

inline change_state(value)
{
	STORE(CLOSER, value);
#ifndef PLANT_NO_FENCE_CLOSER
	FENCE(CLOSER)
#endif
}
#else
#define take_place(me) d_step { place[me] = 1; seen = state }
#define give_place(me) place[me] = 0
#define change_state(value) state = value
#endif

#define IDLE (place[0] == 0 && place[1] == 0)

proctype submitter(byte me)
{
	byte seen, round;

	for (round : 1 .. ROUNDS) {
		if
		:: state != ACTIVE /* it goes elsewhere */
		:: state == ACTIVE ->
			take_place(me);
#ifdef PLANT_NO_RECHECK
			seen = ACTIVE;
#endif
			if
			:: seen == ACTIVE ->
				d_step { posting++; assert(!taken) };
				posting--
			:: else
			fi;
			give_place(me)
		fi
	}
}

/* The last look and the change are one compare-exchange; with two words nobody gets in by then, so it does not matter. */
inline settle()
{
#ifdef TWO_WORDS
	IDLE;
	change_state(INACTIVE)
#else
	d_step { IDLE -> state = INACTIVE }
#endif
}

proctype closer()
{
	byte round;

	for (round : 1 .. 2) {
		change_state(DRAINING);
		if
		:: true
		:: change_state(ORPHANED) /* the deadline: somebody else polls, and the ring stays */
		fi;
		settle();
		d_step { taken = true; assert(posting == 0) };
		taken = false;
		change_state(ACTIVE)
	}
}

init {
	atomic {
		run submitter(0);
		run submitter(1);
		run closer()
	}
}
