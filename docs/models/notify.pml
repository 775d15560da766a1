/* SPDX-License-Identifier: MIT */
/*
 * The ring's notifications with VIRTIO_F_EVENT_IDX (virtio 1.3, 2.7.7 and 2.7.10; src/virtq/driver_split.c, device_split.c):
 * nobody sleeps while there is work for it. Both directions are one handshake:
 *
 *     publish the index; fence; read the event; notify if the index has passed it
 *     set the event to what is next; fence; look at the index again; sleep only if there is nothing
 *
 * An event that stays behind while its owner is awake suppresses notifications. Indices and events are numbers modulo 4
 * here, modulo 65536 there, and wrap. Stores go through a buffer that drains at any time, in order (TSO). That a process
 * sleeps for ever is an invalid end state to spin. The eventfd is a bit: a write and a read of it are one step each.
 *
 * check: holds
 * check: fails -DPLANT_NO_FENCE_KICK
 * check: fails -DPLANT_NO_FENCE_KICKS_ENABLE
 * check: fails -DPLANT_NO_RECHECK_KICKS_ENABLE
 * check: fails -DPLANT_NO_FENCE_CALL
 * check: fails -DPLANT_NO_FENCE_CALLS_ENABLE
 * check: fails -DPLANT_NO_RECHECK_CALLS_ENABLE
 */
#define REQUESTS 6
#define DEPTH 2
#define MODULO 4

mtype = { AVAIL, USED_EVENT, USED, AVAIL_EVENT };

byte avail, used, avail_event, used_event;
bit kick, call;

chan driver_buffer = [2] of { mtype, byte };
chan device_buffer = [2] of { mtype, byte };

active proctype memory()
{
	byte value;

end:	do
	:: atomic { driver_buffer?AVAIL, value -> avail = value }
	:: atomic { driver_buffer?USED_EVENT, value -> used_event = value }
	:: atomic { device_buffer?USED, value -> used = value }
	:: atomic { device_buffer?AVAIL_EVENT, value -> avail_event = value }
	od
}

#define DISTANCE(from, to) ((to + MODULO - from) % MODULO)
/* ring_event_passed of src/virtq/event.h */
#define PASSED(event, old, new) (DISTANCE(event, (new + MODULO - 1)) < DISTANCE(old, new))

active proctype driver()
{
	byte added, taken;          /* how many in all */
	byte public, kicked, next;  /* indices */
	byte seen;

	do
	:: added < REQUESTS && added - taken < DEPTH ->
		added++;
		public = added % MODULO;
		if
		:: true /* a batch goes on */
		:: true ->
publish:		driver_buffer!AVAIL, public;
#ifndef PLANT_NO_FENCE_KICK
			empty(driver_buffer);
#endif
			seen = avail_event;
			if
			:: PASSED(seen, kicked, public) -> kick = 1
			:: else
			fi;
			kicked = public
		fi
	:: next != used -> taken++; next = taken % MODULO
	:: added > taken && kicked != public -> goto publish
	:: added > taken && kicked == public ->
		driver_buffer!USED_EVENT, next;
#ifndef PLANT_NO_FENCE_CALLS_ENABLE
		empty(driver_buffer);
#endif
		if
#ifndef PLANT_NO_RECHECK_CALLS_ENABLE
		:: next != used
#endif
		:: next == used -> call == 1; call = 0
		fi
	:: taken == REQUESTS -> break
	od
}

active proctype device()
{
	byte done;               /* how many in all */
	byte public, called, next; /* indices */
	byte seen;

end:	do
	:: next != avail ->
		done++;
		next = done % MODULO;
		if
		:: true /* a batch goes on */
		:: true ->
publish:		public = next;
			device_buffer!USED, public;
#ifndef PLANT_NO_FENCE_CALL
			empty(device_buffer);
#endif
			seen = used_event;
			if
			:: PASSED(seen, called, public) -> call = 1
			:: else
			fi;
			called = public
		fi
	:: next == avail && public != next -> goto publish
	:: next == avail && public == next ->
		device_buffer!AVAIL_EVENT, next;
#ifndef PLANT_NO_FENCE_KICKS_ENABLE
		empty(device_buffer);
#endif
		if
#ifndef PLANT_NO_RECHECK_KICKS_ENABLE
		:: next != avail
#endif
		:: next == avail ->
end_asleep:		kick == 1; kick = 0
		fi
	od
}
