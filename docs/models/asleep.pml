/* SPDX-License-Identifier: MIT */
/*
 * A loop that sleeps is not told that a LUN is held (src/loop/messages.c, src/device/scsi_fanout.c): it has nothing of it, or is told
 * after all.
 *
 *     the main thread: holds = 1; fence; sleeping? active == 0? sleeping still? then it is quiet, else a message is sent and awaited
 *     the loop: sleeping = 1; fence; a message? else sleeps; sleeping = 0; fence; looks at holds for each command
 *
 * The release is the same with holds = 0 and held == 0. What the loop does in a turn is published at its end: the main thread must not
 * take the LUN for quiet in the middle of the turn that completes its last command, which is what the second look at sleeping is for.
 * Stores go through a buffer for each side that drains at any time, in order (TSO). Commands stay in the disk as long as they like.
 *
 * Result: while the main thread takes it for quiet nothing begins and nothing is unpublished, and no command stays held. Without
 * any one of the two fences that are new, or without the second look, that is not so.
 *
 * check: holds
 * check: fails -DPLANT_NO_FENCE_MAIN
 * check: fails -DPLANT_NO_FENCE_AWAKE
 * check: fails -DPLANT_NO_SECOND_LOOK
 */
#define COMMANDS 2

#define SLEEPING 0
#define EXECUTING 1
#define HELD 2
#define UNPUBLISHED 3

byte seen[4];                       /* what others see of the loop's stores */
byte executing, held;               /* what the loop knows itself */
byte holds;                         /* what the loop sees */
byte ring, in_disk, ended;          /* commands: in the ring, with the disk, completed by it */
byte begun;
bit message, answered, quiet, over;
chan loop_buffer = [6] of { byte, byte };
chan main_buffer = [2] of { byte };

active proctype memory()
{
	byte what, value;

end:	do
	:: atomic { loop_buffer?what, value -> seen[what] = value }
	:: atomic { main_buffer?value -> holds = value }
	od
}

active proctype driver()
{
	byte i;

	for (i : 1 .. COMMANDS) { ring++ }
}

active proctype disk()
{
end:	do
	:: atomic { in_disk > 0 -> in_disk--; ended++ }
	od
}

inline begin()
{
	assert(!quiet);
	executing++;
	begun++;
	loop_buffer!EXECUTING, executing;
	in_disk++
}

inline take_commands()
{
	do
	:: ring > 0 ->
		ring--;
		if
		:: holds || held -> held++; loop_buffer!HELD, held
		:: else -> begin()
		fi
	:: else -> break
	od
}

inline run_held()
{
	do
	:: held > 0 && !holds -> held--; loop_buffer!HELD, held; begin()
	:: else -> break
	od
}

inline complete()
{
	if
	:: ended > 0 ->
		loop_buffer!UNPUBLISHED, 1;
		d_step { executing = executing - ended; ended = 0 };
		loop_buffer!EXECUTING, executing
	:: else
	fi
}

/* A message is answered when it finds nothing in the disk: hold, and release. */
active proctype loop()
{
	bit asked;

end:	do
	:: over && !message && ring == 0 && ended == 0 && in_disk == 0 && held == 0 -> break
	:: else ->
		loop_buffer!SLEEPING, 1;
		empty(loop_buffer);
		(message || ring > 0 || ended > 0 || over);
		loop_buffer!SLEEPING, 0;
#ifndef PLANT_NO_FENCE_AWAKE
		empty(loop_buffer);
#endif
		if
		:: message -> message = 0; asked = 1
		:: else
		fi;
		run_held();
		take_commands();
		complete();
		loop_buffer!UNPUBLISHED, 0;
		if
		:: asked && (executing == 0 || !holds) -> empty(loop_buffer); asked = 0; answered = 1
		:: else
		fi
	od
}

inline tell()
{
	message = 1;
	answered == 1;
	answered = 0
}

active proctype main_thread()
{
	bit asleep;

	main_buffer!1;
#ifndef PLANT_NO_FENCE_MAIN
	empty(main_buffer);
#endif
	asleep = seen[SLEEPING];
	asleep = asleep && seen[EXECUTING] == 0;
#ifndef PLANT_NO_SECOND_LOOK
	asleep = asleep && seen[SLEEPING];
#endif
	if
	:: asleep
	:: else -> empty(main_buffer); tell()
	fi;
	atomic { quiet = 1; assert(seen[UNPUBLISHED] == 0) }
	atomic { quiet = 0; main_buffer!0 }
#ifndef PLANT_NO_FENCE_MAIN
	empty(main_buffer);
#endif
	asleep = seen[SLEEPING];
	asleep = asleep && seen[HELD] == 0;
	asleep = asleep && seen[SLEEPING];
	if
	:: asleep
	:: else -> empty(main_buffer); tell()
	fi;
	begun == COMMANDS;
	over = 1
}
