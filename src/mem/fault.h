/* SPDX-License-Identifier: MIT */
/*
 * Memory that its owner takes away. A front end may cut the file whose pages it shared; whoever touches them then gets SIGBUS.
 * With the guard, zeroes of our own stand in from the touched page to the end of the mapping, the mapping is marked as damaged,
 * and the process lives: its owner drops that peer.
 *
 * Only mappings that were added are covered; a SIGBUS of another address kills the process as ever.
 */
#ifndef RINGLANE_MEM_FAULT_H
#define RINGLANE_MEM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* Process-wide, once, before threads touch shared memory; SIGBUS must not be blocked in them. event_fd is signalled when a mapping
 * was damaged. 0 or -errno. */
int mem_fault_guard(int event_fd);

/* Any thread. granule: of the mapping's pages, bytes. damaged lives until the mapping is removed. False: no room. */
bool mem_fault_add(void *addr, size_t size, size_t granule, bool *damaged);
void mem_fault_remove(void *addr);

#endif
