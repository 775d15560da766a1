/* SPDX-License-Identifier: MIT */
/*
 * Requests that are held (src/driver/steering.h, "Holding, for the caller"): none is left behind.
 *
 * The flow holds: whoever comes while it is not idle gets -EBUSY and goes to the list. The holder, with the list's lock: put it
 * on the list; held = 1; fence; try once more. Who leaves: outstanding - 1; if that made the flow idle: fence; read held; if
 * it is 1, take the lock and try the list. Either the holder's second try finds the flow idle, or whoever makes it
 * idle finds held == 1: no time limit is needed for that, and no lock is taken where nothing is held.
 *
 * held is stored through a buffer that drains at any time (TSO). The leaver's subtraction is an atomic operation: a full
 * fence on x86, but on a weaker machine the load of held may pass it, which is what PLANT_NO_FENCE_LEAVER does.
 *
 * Result: with both fences and the second try it holds for all interleavings; without any one of the three a request stays
 * on the list of an idle flow for ever.
 *
 * check: holds
 * check: fails -DPLANT_NO_FENCE_HOLDER
 * check: fails -DPLANT_NO_FENCE_LEAVER
 * check: fails -DPLANT_NO_SECOND_TRY
 */
#define SUBMITTERS 3
#define ROUNDS 2

byte outstanding, list, done, finished;
bit held, lock;

/* Only who has the lock stores held, one after the other: one buffer will do, and an unlock does not drain it. */
chan buffer = [4] of { bit };

active proctype memory()
{
	bit value;

end:	do
	:: atomic { buffer?value -> held = value }
	od
}

inline take_lock()
{
	atomic { lock == 0 -> lock = 1 }
}

inline enter()
{
	d_step {
		entered = (outstanding == 0);
		outstanding = outstanding + entered
	}
}

/* wake: the flow has become idle, and something is held. */
inline leave()
{
#ifdef PLANT_NO_FENCE_LEAVER
	wake = held;
	d_step { outstanding--; wake = wake && outstanding == 0 }
#else
	d_step { outstanding--; wake = (outstanding == 0) };
	if
	:: wake -> wake = held
	:: else
	fi
#endif
}

inline run_request()
{
	done++;
	leave()
}

/* One from the list, if the flow lets it in; again if it was the last one out. */
inline try_list()
{
	do
	:: take_lock();
	   if
	   :: list == 0 -> buffer!0; entered = 0
	   :: else ->
		enter();
		list = list - entered
	   fi;
	   lock = 0;
	   if
	   :: entered -> run_request()
	   :: else -> wake = 0
	   fi;
	   if
	   :: wake
	   :: else -> break
	   fi
	od
}

proctype submitter()
{
	byte round;
	bit entered, wake;

	for (round : 1 .. ROUNDS) {
		wake = 0;
		enter();
		if
		:: entered -> run_request()
		:: else ->
			take_lock();
			list++;
			buffer!1;
#ifndef PLANT_NO_FENCE_HOLDER
			empty(buffer);
#endif
#ifndef PLANT_NO_SECOND_TRY
			enter();
#endif
			list = list - entered;
			lock = 0;
			if
			:: entered -> run_request()
			:: else
			fi
		fi;
		if
		:: wake -> try_list()
		:: else
		fi
	}
	finished++
}

init {
	byte i;

	atomic {
		for (i : 1 .. SUBMITTERS) { run submitter() }
	}
	finished == SUBMITTERS;
	assert(list == 0 && outstanding == 0 && done == SUBMITTERS * ROUNDS)
}
