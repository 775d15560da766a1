/* SPDX-License-Identifier: MIT */
/*
 * The word of a flow (src/driver/steering.c): an ordered flow never has requests in two queues at once, and when all
 * requests are over it is idle, so nothing pins it.
 *
 * Each process is one request after the other: it enters, is posted or fails to be, and leaves. The queue that an idle flow
 * gets is anything, which is what policies, CPUs that change and maps that are swapped amount to. The word has no
 * generation here: the order does not depend on it, so its wrap cannot break anything, nor can a word that has gone away and
 * come back between a read and the compare-exchange. One word is always coherent, so that weak memory adds nothing.
 *
 * NAIVE: increment; more than 1: read the queue, else write it. PLANT_LEAK: a failed post keeps its count, as in the
 * kernel's version of 2013.
 *
 * check: holds
 * check: fails -DNAIVE
 * check: fails -DPLANT_LEAK
 */
#define REQUESTS 3
#define ROUNDS 2
#define QUEUES 2

byte word_queue, word_outstanding;
byte posted[QUEUES]; /* what is in the queues for certain */
byte finished;

#ifdef NAIVE
inline enter()
{
	d_step { word_outstanding++; count = word_outstanding }
	if
	:: count > 1 -> queue = word_queue
	:: else -> queue = pick; word_queue = pick
	fi
}
#else
inline enter()
{
	do
	:: d_step { queue = word_queue; count = word_outstanding }
	   if
	   :: atomic { word_queue == queue && word_outstanding == count ->
			if
			:: count == 0 -> queue = pick; word_queue = pick; word_outstanding = 1
			:: else -> word_outstanding++
			fi };
	      break
	   :: atomic { word_queue != queue || word_outstanding != count -> skip }
	   fi
	od
}
#endif

inline leave()
{
	word_outstanding--
}

proctype request()
{
	byte queue, count, pick, round;

	do
	:: round == ROUNDS -> break
	:: else ->
		round++;
		select (pick : 0 .. QUEUES - 1);
		enter();
		if
		:: d_step { posted[queue]++; assert(posted[1 - queue] == 0) };
		   d_step { posted[queue]--; leave() }
		:: /* the ring is full */
#ifndef PLANT_LEAK
		   leave()
#else
		   skip
#endif
		fi;
		d_step { queue = 0; count = 0; pick = 0 }
	od;
	finished++
}

init {
	byte i;

	atomic {
		for (i : 1 .. REQUESTS) { run request() }
	}
	finished == REQUESTS;
	assert(word_outstanding == 0)
}
